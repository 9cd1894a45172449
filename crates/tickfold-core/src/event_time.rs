//! The newest of Meta's times in a body, for one figure only: how old an event is when it arrives.
//!
//! A scan, not a parse: ingress looks at every body and has already paid for routing it. It finds
//! the members `timestamp` and `time` at any depth, wherever Meta puts them (statuses, messages,
//! calls, entries). No text of a customer can pass for one, since quotes inside a string are
//! escaped. The fold does not use this: it knows which time belongs to which item.

use crate::time::Timestamp;

/// The newest plausible time that a body names, judged against the time it was received, as
/// [`Timestamp::of_event`] judges: `None` where all are missing, zero or absurd. Total, linear in
/// the body, and without allocation.
pub fn newest_event_time(body: &[u8], received: Timestamp) -> Option<Timestamp> {
    let mut newest = None;
    let mut rest = body;
    while let Some(quote) = rest.iter().position(|&byte| byte == b'"') {
        rest = rest.get(quote + 1..).unwrap_or_default();
        let Some(after) = rest.strip_prefix(b"time") else { continue };
        let after = after.strip_prefix(b"stamp").unwrap_or(after);
        let value = after.strip_prefix(b"\"").map(<[u8]>::trim_ascii_start);
        let Some(value) = value.and_then(|value| value.strip_prefix(b":")) else { continue };
        newest = newest.max(
            whole_number(value.trim_ascii_start())
                .and_then(|number| Timestamp::of_event_number(number, received)),
        );
    }
    newest
}

/// A whole number, bare or as text, with its end. Longer ones than any time are none.
fn whole_number(value: &[u8]) -> Option<i64> {
    const DIGITS_MAX: usize = 16;
    let (digits, quoted) = value.strip_prefix(b"\"").map_or((value, false), |rest| (rest, true));
    let count = digits.iter().take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(count)?;
    let ends = match rest.first() {
        Some(b'"') => quoted,
        Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t') => !quoted,
        Some(_) | None => false,
    };
    if count == 0 || !ends {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: Timestamp = Timestamp::from_millis(1_795_132_800_000);

    fn newest(body: &str) -> Option<i64> {
        newest_event_time(body.as_bytes(), RECEIVED).map(Timestamp::as_millis)
    }

    #[test]
    fn the_newest_of_all_times_wins_wherever_it_stands() {
        let body = r#"{"entry":[{"time":1795132000,"changes":[{"value":{"statuses":
            [{"timestamp":"1795132500"},{"timestamp" : 1795132799123 }],"messages":
            [{"timestamp":"1795132600"}]}}]}]}"#;
        assert_eq!(newest(body), Some(1_795_132_799_123));
        assert_eq!(newest(r#"{"time":1795132000}"#), Some(1_795_132_000_000));
    }

    #[test]
    fn missing_zero_and_absurd_times_are_none() {
        for value in ["0", "\"\"", "null", "-1795132800", "1795132800.5", "17951328000000000000"] {
            assert_eq!(newest(&format!("{{\"timestamp\":{value}}}")), None, "{value}");
        }
        // A week ahead; a second of 1970; other members; no number at all.
        assert_eq!(newest(r#"{"timestamp":"1795737600","time":12}"#), None);
        assert_eq!(newest(r#"{"expiration_timestamp":"1795132000","times":1795132000}"#), None);
        for cut in
            ["", "\"", "\"timestamp", "\"time\"", "\"time\":", "\"time\":17951", "\"time\":\""]
        {
            assert_eq!(newest(cut), None, "{cut}");
        }
    }

    #[test]
    fn what_a_customer_writes_is_no_time() {
        let text = serde_json::to_string(r#"{"timestamp":"1795132000"}"#).unwrap();
        assert_eq!(newest(&format!("{{\"text\":{{\"body\":{text}}}}}")), None);
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        assert_eq!(newest_event_time(b"\xff\"time\":\xff\"timestamp\":\"\xff", RECEIVED), None);
    }
}
