//! Points in time, as data: nothing here reads a clock.

use std::fmt;

use crate::json::Json;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// One second in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 3_600 * SECOND_MS;
/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// 2009-01-01, before which no WhatsApp event can have happened.
const EARLIEST_MS: i64 = 1_230_768_000_000;

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Later by so many milliseconds; saturates.
    #[must_use]
    pub const fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// The month in UTC, `2026-11`.
    pub fn month(self) -> String {
        self.to_string().chars().take(7).collect()
    }

    /// Reads what [`Display`](fmt::Display) writes, or any RFC 3339 time.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }

    /// Reads Meta's time of an event: seconds as text or number, 13 digits are milliseconds.
    ///
    /// Missing, zero, negative, or absurd values are `None`, "time unknown". Absurd is judged
    /// against the append time of the record that carries it and not against a clock, so a replay
    /// judges the same: more than a day after it, or before 2009.
    pub fn of_event(json: Option<Json<'_>>, appended: Self) -> Option<Self> {
        let text = json?.scalar_text()?;
        Self::of_event_number(text.trim().parse().ok()?, appended)
    }

    /// [`of_event`](Self::of_event) of a number that was read already.
    pub(crate) fn of_event_number(number: i64, appended: Self) -> Option<Self> {
        let ms = if number >= 1_000_000_000_000 { number } else { number.checked_mul(1_000)? };
        let plausible = EARLIEST_MS..=appended.0.saturating_add(DAY_MS);
        plausible.contains(&ms).then_some(Self(ms))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds. Times outside years −9999 to 9999 are clamped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clamped = jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        write!(f, "{clamped:.3}")
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPENDED: Timestamp = Timestamp::from_millis(1_795_132_800_000);

    fn event(json: &str) -> Option<i64> {
        let json = Json::parse(json.as_bytes()).unwrap();
        Timestamp::of_event(Some(json), APPENDED).map(Timestamp::as_millis)
    }

    #[test]
    fn event_times_come_as_text_or_number_in_seconds_or_milliseconds() {
        assert_eq!(event(r#""1795132800""#), Some(1_795_132_800_000));
        assert_eq!(event("1795132800"), Some(1_795_132_800_000));
        assert_eq!(event("1795132800123"), Some(1_795_132_800_123));
    }

    #[test]
    fn absurd_times_are_unknown() {
        for absurd in ["0", "-5", r#""""#, "null", "[]", "12", r#""soon""#, "1795999999", "1e30"] {
            assert_eq!(event(absurd), None, "{absurd}");
        }
    }

    #[test]
    fn prints_rfc3339_with_milliseconds_and_reads_it_back() {
        assert_eq!(APPENDED.to_string(), "2026-11-20T00:00:00.000Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-20T00:00:00.000Z"), Some(APPENDED));
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string().len(), 24);
    }
}
