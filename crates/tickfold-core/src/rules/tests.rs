//! The document: what is read, what is refused and where, and what the built-in table says.

use serde_json::{Value, json};

use super::*;

fn built_in_json() -> Value {
    serde_json::from_slice(&Rules::built_in().canonical()).unwrap()
}

fn parse(document: &Value) -> Result<Rules, Invalid> {
    Rules::parse(document.to_string().as_bytes())
}

/// The built-in document with one member, by JSON pointer, replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = built_in_json();
    match document.pointer_mut(pointer) {
        Some(member) => *member = value,
        None => {
            let name = pointer.trim_start_matches('/');
            document.as_object_mut().unwrap().insert(name.to_owned(), value);
        }
    }
    document
}

#[test]
fn the_built_in_table_is_a_valid_document_and_reads_back() {
    let built_in = Rules::built_in();
    assert_eq!(Rules::parse(&built_in.canonical()).unwrap(), *built_in);
    assert_eq!(Rules::parse(built_in.pretty().as_bytes()).unwrap(), *built_in);
    assert_eq!(built_in.version(), BUILT_IN_RULES);
    assert_eq!(built_in.retention_ms(), 90 * crate::time::DAY_MS);
}

#[test]
fn one_meaning_has_one_canonical_form() {
    let mut document = with("/retention", json!("2160h"));
    document["inbound"] = json!([]);
    let rules = parse(&document).unwrap();
    assert_eq!(rules.canonical(), Rules::built_in().canonical());
    assert_eq!(rules.digest(), Rules::built_in().digest());
    let other = parse(&with("/version", json!(2))).unwrap();
    assert_ne!(other.digest(), rules.digest());
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let alert = json!({"do": "alert"});
    let cases = [
        ("/versoin", json!(2), "versoin"),
        ("/version", json!("2"), "version"),
        ("/retention", json!("7d"), "retention"),
        ("/retention", json!("90 days"), "retention"),
        ("/codes/0/codes/0", json!("131026"), "codes[0].codes[0]"),
        ("/codes/1/codes/2", json!(131_026), "codes[1].codes[2]"),
        ("/codes/0/codes/0", json!({"from": 5, "to": 4}), "codes[0].codes[0]"),
        ("/codes/0/codes", json!([]), "codes[0].codes"),
        ("/codes/0/actions/0", json!({"do": "sms"}), "codes[0].actions[0]"),
        ("/codes/0/actions/0", json!({"do": "alert", "loud": true}), "codes[0].actions[0]"),
        ("/codes/0/actions", json!([alert, alert]), "codes[0].actions[1]"),
        (
            "/unknown_code/0",
            json!({"do": "resend", "delay": "1s", "attempts_max": 11}),
            "unknown_code[0].attempts_max",
        ),
        (
            "/unknown_code/0",
            json!({"do": "back_off", "scope": "app", "delay": "31d"}),
            "unknown_code[0].delay",
        ),
        ("/deadlines/1/category", json!("authentication"), "deadlines[1].category"),
        ("/deadlines/0/category", json!("Authentication"), "deadlines[0].category"),
        ("/deadlines/0/ttl", json!("5s"), "deadlines[0].ttl"),
        ("/fallbacks/0/waba_id", json!(""), "fallbacks"),
        (
            "/inbound",
            json!([{"when": {"keyword": " stop"}, "then": {"do": "route", "queue": "q"}}]),
            "inbound[0].when.keyword",
        ),
        (
            "/inbound",
            json!([{"when": {"word": "stop"}, "then": {"do": "route", "queue": "q"}}]),
            "inbound[0].when",
        ),
        (
            "/inbound",
            json!([{"when": {"list_id": "1"}, "then": {"do": "route", "queue": ""}}]),
            "inbound[0].then.queue",
        ),
    ];
    for (pointer, value, path) in cases {
        let invalid = parse(&with(pointer, value.clone())).expect_err(pointer);
        assert!(invalid.path.starts_with(path), "{pointer} {value}: {invalid}");
        assert!(!invalid.reason.is_empty());
    }
    let long = with("/retention", json!("8d"));
    let mut long = with_into(long, "/deadlines/0/ttl", json!("7d"));
    assert_eq!(parse(&long).unwrap_err().path, "deadlines[0].ttl");
    long["deadlines"][0]["ttl"] = json!("5d");
    parse(&long).unwrap();
}

fn with_into(mut document: Value, pointer: &str, value: Value) -> Value {
    *document.pointer_mut(pointer).unwrap() = value;
    document
}

#[test]
fn rubbish_is_refused_without_panic() {
    for rubbish in [&b""[..], b"[]", b"null", b"\xff", b"{", b"{}", b"{\"version\":2}"] {
        assert!(Rules::parse(rubbish).is_err());
    }
    let twice = [Rules::built_in().canonical(), b"{}".to_vec()].concat();
    assert_eq!(Rules::parse(&twice).unwrap_err().path, ".");
    assert_eq!(Rules::parse(&vec![b' '; RULES_BYTES_MAX + 1]).unwrap_err().path, ".");
}

#[test]
fn the_first_rule_that_names_code_and_category_counts() {
    let rules = Rules::built_in();
    let sms = [Directive::SmsFallback {}];
    assert_eq!(rules.on_code(Some(131_026), None), sms);
    assert_eq!(rules.on_code(Some(131_049), Some("authentication-international")), sms);
    let waits = |category| {
        matches!(
            rules.on_code(Some(131_049), category),
            [Directive::BackOff { scope: BackOffScope::Recipient, .. }]
        )
    };
    assert!(waits(Some("marketing")) && waits(None));
    assert_eq!(rules.on_code(Some(250), None).len(), 2, "inside 200 to 299");
    assert_eq!(rules.on_code(Some(300), None), [Directive::Alert {}], "unknown codes alert");
    assert_eq!(rules.on_code(None, None), [Directive::Alert {}], "as do failures without one");
    assert!(rules.on_code(Some(131_009), None).is_empty(), "known, and nothing to be done");
}

#[test]
fn an_entry_of_the_account_goes_before_that_of_all() {
    let own = json!([
        {"category": "authentication", "ttl": "10m", "buffer": "1m"},
        {"category": "authentication", "waba_id": "7", "ttl": "30s", "buffer": "5s"},
    ]);
    let rules = parse(&with("/deadlines", own)).unwrap();
    let ttl = |waba_id| rules.deadline(waba_id, Some("authentication")).unwrap().ttl;
    assert_eq!((ttl(Some("7")), ttl(Some("8"))), (Span::seconds(30), Span::minutes(10)));
    assert_eq!(rules.deadline(Some("7"), Some("utility")), None);
    assert_eq!(rules.deadline(Some("7"), None), None);
    assert_eq!(rules.fallback_valid_ms(None, Some("marketing")), None, "never by itself");
    assert!(rules.fallback_valid_ms(None, None).is_some());
}

#[test]
fn inbound_rules_match_what_they_name_and_nothing_more() {
    let rules = json!([
        {"when": {"button_payload": "STOP"}, "then": {"do": "suppress_recipient", "category": "marketing"}},
        {"waba_id": "7", "when": {"keyword": "Hilfe"}, "then": {"do": "route", "queue": "de"}},
        {"when": {"keyword": "hilfe"}, "then": {"do": "route", "queue": "all"}},
        {"when": {"button_text": "Talk to us"}, "then": {"do": "route", "queue": "sales"}},
        {"when": {"list_id": "row-1"}, "then": {"do": "route", "queue": "list"}},
    ]);
    let rules = parse(&with("/inbound", rules)).unwrap();
    let queue = |waba_id, inbound| match rules.on_inbound(Some(waba_id), &inbound) {
        Some(InboundDirective::Route { queue }) => queue.clone(),
        Some(InboundDirective::SuppressRecipient { category }) => format!("-{category}"),
        None => String::new(),
    };
    let text = |text| Inbound { text: Some(text), ..Inbound::default() };
    assert_eq!(queue("7", text(" HILFE\n")), "de");
    assert_eq!(queue("8", text("hilfe")), "all");
    assert_eq!(queue("8", text("hilfe bitte")), "");
    let payload = |payload| Inbound { button_payload: Some(payload), ..Inbound::default() };
    assert_eq!(queue("8", payload("STOP")), "-marketing");
    assert_eq!(queue("8", payload("stop")), "", "payloads are the sender's own, byte by byte");
    let button = Inbound { button_text: Some("talk to US"), ..Inbound::default() };
    assert_eq!(queue("8", button), "sales");
    assert_eq!(queue("8", Inbound { list_id: Some("row-1"), ..Inbound::default() }), "list");
    assert_eq!(queue("8", Inbound::default()), "");
}
