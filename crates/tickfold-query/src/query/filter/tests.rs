//! The filter: what it takes, what it refuses and where, and that no text makes it panic.

use super::messages::{OF_SEARCH, Of};
use super::*;

fn search(text: &str) -> Result<Vec<Comparison<Of>>, Failure> {
    parse(text, OF_SEARCH)
}

/// Where and why a filter is refused, and what could stand there.
fn refusal(text: &str) -> (usize, String, String) {
    let failure = search(text).unwrap_err();
    assert_eq!(failure.reason(), Reason::FilterInvalid, "{text}");
    let of = |key: &str| failure.metadata(key).unwrap().to_owned();
    (of("position").parse().unwrap(), failure.message().to_owned(), of("allowed"))
}

#[test]
fn comparisons_are_read_as_they_are_written() {
    for (text, canonical) in [
        ("", ""),
        (" \n\t ", ""),
        ("state=FAILED", "state = FAILED"),
        ("state != failed", "state != FAILED"),
        ("state = MESSAGE_STATE_SENT", "state = SENT"),
        ("  state\n=\tFAILED  AND error_code=131026", "state = FAILED AND error_code = 131026"),
        ("error_code = -1", "error_code = -1"),
        (r#"error_code = "131026""#, "error_code = 131026"),
        (r#"list_time>="2026-11-20T01:00:00+01:00""#, r#"list_time >= "2026-11-20T00:00:00.000Z""#),
        ("list_time < 2026-11-20T00:00:00.5Z", r#"list_time < "2026-11-20T00:00:00.500Z""#),
        ("labels.campaign = spring", r#"labels.campaign = "spring""#),
        (r#"labels.campaign="a \"b\" \\ é""#, r#"labels.campaign = "a \"b\" \\ é""#),
        (r#"labels.intent="x"AND waba_id != 1"#, r#"labels.intent = "x" AND waba_id != "1""#),
        (r#"fbtrace_id = "AND""#, r#"fbtrace_id = "AND""#),
    ] {
        let read = search(text).unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
        assert_eq!(Comparison::join(&read), canonical, "{text}");
    }
}

#[test]
fn what_is_refused_is_refused_at_its_place_with_what_could_stand_there() {
    for (text, position, said, allowed) in [
        ("party = 49170", 1, "no field", "state, direction"),
        ("State = SENT", 1, "no field", "state, direction"),
        ("state = SENT AND party = 1", 18, "no field", "state, direction"),
        ("(state = SENT)", 1, "no field", "state, direction"),
        ("NOT state = SENT", 1, "no field", "state, direction"),
        ("state", 6, "no operator", "=, !="),
        ("state > SENT", 7, "no operator", "=, !="),
        ("state : SENT", 7, "no operator", "=, !="),
        ("labels.campaign != x", 17, "no operator", "="),
        ("list_time != 2026-11-20T00:00:00Z", 11, "no operator", "=, <, <=, >, >="),
        ("state == SENT", 8, "no value", "PENDING, SENT"),
        ("state =", 8, "no value", "PENDING, SENT"),
        ("state = BROKEN", 9, "no value", "PENDING, SENT"),
        ("error_code = 1.5", 14, "no value", "a whole number"),
        ("error_code = 99999999999999999999", 14, "no value", "a whole number"),
        ("list_time > 2026-11-20", 13, "no value", "a time"),
        (r#"waba_id = """#, 11, "no value", "not empty"),
        ("waba_id = é", 11, "no value", "not empty"),
        ("state = SENT direction = INBOUND", 14, "neither AND nor", "AND"),
        ("state = SENT OR state = READ", 14, "neither AND nor", "AND"),
        ("state = SENT and state = READ", 14, "neither AND nor", "AND"),
        ("state = SENT ANDstate = READ", 14, "neither AND nor", "AND"),
        ("state = SENT)", 13, "neither AND nor", "AND"),
        ("state = SENT AND", 17, "no field", "state, direction"),
        ("state = SENT AND ", 18, "no field", "state, direction"),
        (r#"waba_id = "éé" AND waba_id = "x"#, 30, "no end", "\""),
        (r#"waba_id = "é\n""#, 13, "before nothing", "\\\" and \\\\"),
        (r#"waba_id = "\"#, 12, "before nothing", "\\\" and \\\\"),
    ] {
        let (at, message, could) = refusal(text);
        assert_eq!(at, position, "{text}: {message}");
        assert!(message.contains(said) && could.contains(allowed), "{text}: {message}");
    }
}

#[test]
fn texts_and_lists_have_a_bound() {
    let long = format!("waba_id = {}", "1".repeat(BYTES_MAX - "waba_id = ".len()));
    assert_eq!(search(&long).unwrap().len(), 1);
    assert!(refusal(&format!("{long}1")).1.contains("4096"));
    let many = vec!["error_code != 1"; COMPARISONS_MAX].join(" AND ");
    assert_eq!(search(&many).unwrap().len(), COMPARISONS_MAX);
    let (at, message, _) = refusal(&format!("{many} AND error_code != 1"));
    assert!(at > many.len() && message.contains("32"), "{at} {message}");
}

/// Random numbers, the same in each run.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn text(&mut self, chars: &str, max: usize) -> String {
        let chars: Vec<_> = chars.chars().collect();
        (0..self.below(max + 1)).map(|_| chars[self.below(chars.len())]).collect()
    }
}

#[test]
fn whatever_is_written_is_read_as_it_was_meant_and_again_from_what_it_is_shown_as() {
    let mut rng = Rng(1);
    for _ in 0..5_000 {
        let one = |rng: &mut Rng| {
            let field = &OF_SEARCH[rng.below(OF_SEARCH.len())];
            let value = match field.kind {
                Kind::Word { words, .. } => Value::Word(words[rng.below(words.len())]),
                Kind::Text => Value::Text(rng.text("aZ9\"\\ =é\n\u{1F600}AND", 12) + "."),
                Kind::Number => Value::Number(rng.0.cast_signed() >> rng.below(64)),
                Kind::Time => {
                    let ms = i64::try_from(rng.below(1 << 31)).unwrap() * 1_000 - 7;
                    Value::Time(Timestamp::from_millis(ms))
                }
            };
            let operator = field.operators[rng.below(field.operators.len())];
            Comparison { of: field.of, name: field.name, operator, value, at: 0 }
        };
        let wanted: Vec<_> = (0..=rng.below(5)).map(|_| one(&mut rng)).collect();
        let text = Comparison::join(&wanted);
        let unplaced = |one: Comparison<Of>| Comparison { at: 0, ..one };
        let read: Vec<_> = search(&text).unwrap().into_iter().map(unplaced).collect();
        assert_eq!(read, wanted, "{text}");
    }
}

#[test]
fn no_text_does_more_than_be_refused_within_it() {
    const PIECES: &[&str] = &[
        "state",
        "error_code",
        "labels.campaign",
        "list_time",
        "fbtrace_id",
        "=",
        "!=",
        "<",
        ">=",
        " ",
        " AND ",
        "FAILED",
        "131026",
        "\"",
        "\\",
        "\"x\"",
        "2026-11-20T00:00:00Z",
        "é",
        "\0",
        "(",
        "*",
        "-",
        "\u{85}",
        "\u{1F600}",
        ".",
    ];
    let (mut rng, mut read, mut refused) = (Rng(7), 0, 0);
    for _ in 0..20_000 {
        let pieces = 1 + rng.below(12);
        let text: String = (0..pieces).map(|_| PIECES[rng.below(PIECES.len())]).collect();
        match search(&text) {
            Ok(comparisons) => {
                read += 1;
                let again = Comparison::join(&search(&Comparison::join(&comparisons)).unwrap());
                assert_eq!(again, Comparison::join(&comparisons), "{text:?}");
            }
            Err(_) => {
                refused += 1;
                let (at, message, allowed) = refusal(&text);
                assert!((1..=text.chars().count() + 1).contains(&at), "{text:?}: {message}");
                assert!(!allowed.is_empty(), "{text:?}");
            }
        }
    }
    assert!(read > 100 && refused > 1_000, "{read} read, {refused} refused");
}
