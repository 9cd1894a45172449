//! Redrives: a webhook that the log repeats, so that a decoder that was mended reads what an older one
//! could not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::{Folded, messages, status, status_body, values};
use tickfold_core::fold::{Output, Partition};
use tickfold_core::ids::WabaId;
use tickfold_core::raw::{self, parse_position};
use tickfold_core::records::Topic;

const WAMID: &str = "wamid.REDRIVEN";
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// A body of a status that is read and one that today's decoder reads, but the decoder of then could
/// not: what it saw of it is the second text.
fn body_and_what_was_seen(word: &str) -> (Vec<u8>, Vec<u8>) {
    let both = [status("wamid.SIBLING", "delivered", 1), status(WAMID, word, 2)];
    let body = messages(&format!(r#""statuses":[{}]"#, both.join(",")));
    let text = String::from_utf8(body.clone()).unwrap();
    let seen = text.replace(&format!(r#""id":"{WAMID}""#), r#""idea":"""#);
    assert_ne!(text, seen);
    (body, seen.into_bytes())
}

/// A partition that an older decoder folded up to here: raw holds the body, state and outputs are of
/// what that decoder saw.
fn folded_by_an_older_decoder(word: &str) -> Folded {
    let (body, seen) = body_and_what_was_seen(word);
    let mut folded = Folded::default();
    let outputs = folded.webhook(&seen);
    folded.kept[0].value = Some(body);
    assert_eq!(letters(&outputs)[0]["reason"], "id_missing_or_too_long");
    folded
}

fn letters(outputs: &[Output]) -> Vec<Value> {
    values(outputs, Topic::DeadLetter)
}

fn topics(outputs: &[Output]) -> Vec<Topic> {
    outputs.iter().map(|output| output.topic).collect()
}

#[test]
fn what_a_mended_decoder_reads_is_folded_as_if_it_had_been_read_at_once() {
    let mut folded = folded_by_an_older_decoder("sent");
    // Later events of the key were not held up.
    folded.webhook(&status_body(WAMID, "read", 30));
    assert_eq!(folded.values(Topic::MessageState).last().unwrap()["state"], "read");

    folded.advance(20 * DAY_MS);
    let outputs = folded.redrive(0);
    let transitions = values(&outputs, Topic::Transition);
    assert_eq!(transitions.len(), 1, "the sibling was known: {transitions:?}");
    let transition = &transitions[0];
    assert_eq!((&transition["to"], &transition["late"]), (&json!("sent"), &json!(true)));
    // Times of the body are judged as if it had just come, and it was received when it was.
    assert_eq!(transition["event_time"], "2026-11-20T00:00:02.000Z");
    assert_eq!(transition["received_time"], "2026-11-20T00:00:59.995Z");
    let row = &values(&outputs, Topic::MessageState)[0];
    assert_eq!((&row["state"], &row["sent_time"]), (&json!("read"), &transition["event_time"]));
    let settled = &letters(&outputs)[0];
    for (name, value) in [
        ("reason", json!("redriven")),
        ("scope", json!("redrive")),
        ("position", json!("0-0")),
        ("redrive_position", json!("0-2")),
        ("source_offset", json!(2)),
        ("raw", json!("")),
    ] {
        assert_eq!(settled[name], value, "{name}");
    }
    assert_eq!(outputs.last().unwrap().key, "0-0", "the key is that of the dead letter");

    let mut never_broken = Folded::default();
    never_broken.webhook(&body_and_what_was_seen("sent").0);
    never_broken.webhook(&status_body(WAMID, "read", 30));
    assert_eq!(folded.facts(), never_broken.facts());
    // Once more, and of the redrive itself: nothing but that nothing is left.
    for of in [0, 2, 3] {
        let again = folded.redrive(of);
        assert_eq!(topics(&again), [Topic::DeadLetter], "{of}");
        assert_eq!(letters(&again)[0]["position"], "0-0", "{of}");
    }
    assert_eq!(folded.facts(), never_broken.facts());
}

#[test]
fn an_action_of_what_was_redriven_is_asked_for_once_or_is_too_late() {
    for (after_ms, kind) in [(10 * MINUTE_MS, "sms_fallback"), (2 * DAY_MS, "fallback_expired")] {
        let mut folded = folded_by_an_older_decoder("failed");
        assert!(folded.values(Topic::Action).is_empty());
        folded.advance(after_ms);
        folded.tick();
        let outputs = folded.redrive(0);
        let asked = values(&outputs, Topic::Action);
        assert_eq!(asked.iter().map(|one| &one["kind"]).collect::<Vec<_>>(), [kind]);
        assert_eq!(topics(&folded.redrive(0)), [Topic::DeadLetter]);
        // Meta's own repeat finds it done as well.
        let body = body_and_what_was_seen("failed").0;
        assert!(folded.webhook(&body).is_empty());
    }
}

#[test]
fn what_still_cannot_be_read_names_the_webhook_and_the_attempt() {
    let good = status("wamid.SIBLING", "sent", 1);
    let mut folded = Folded::default();
    let first = folded.webhook(&messages(&format!(r#""statuses":[{good},7,{{}}]"#)));
    let first = letters(&first);
    for (of, own) in [(0, "0-1"), (1, "0-2"), (0, "0-3")] {
        let outputs = folded.advance(MINUTE_MS).redrive(of);
        assert_eq!(topics(&outputs), [Topic::DeadLetter; 2], "the sibling is told once");
        assert!(outputs.iter().all(|output| output.key == "0-0"));
        for (letter, first) in letters(&outputs).iter().zip(&first) {
            for name in ["position", "path", "scope", "reason", "raw", "received_time"] {
                assert_eq!(letter[name], first[name], "{name}");
            }
            assert_eq!(letter["redrive_position"], own);
            assert_eq!(letter["event_id"].as_str().unwrap().rsplit_once('-').unwrap().0, own);
        }
        assert!(first.iter().all(|letter| letter["redrive_position"].is_null()));
    }
}

#[test]
fn a_redrive_folds_what_its_partition_folds_and_nothing_else() {
    const COUNT: u32 = 4;
    let ids: Vec<String> = (0..40).map(|n| format!("2155899000001{n:02}")).collect();
    let at = |id: &&String| raw::partition_of(&WabaId::from(id.as_str()), COUNT) == 2;
    let (here, there) = (ids.iter().find(at).unwrap(), ids.iter().find(|id| !at(id)).unwrap());
    let text = String::from_utf8(status_body(WAMID, "sent", 1)).unwrap();
    let (begin, end) = (text.find('[').unwrap() + 1, text.rfind(']').unwrap());
    let entry = |id: &str, wamid: &str| {
        text[begin..end].replace("215589900000101", id).replace(WAMID, wamid)
    };
    let (mine, others) = (entry(here, "wamid.MINE"), entry(there, "wamid.OTHERS"));
    let body = format!("{}{mine},{others}{}", &text[..begin], &text[end..]);
    let mut folded = Folded::new(Partition { id: 2, count: COUNT });
    folded.webhook(b"{");
    folded.kept[0].value = Some(body.into_bytes());
    let outputs = folded.redrive(0);
    let rows = values(&outputs, Topic::MessageState);
    assert_eq!(rows.iter().map(|row| &row["wamid"]).collect::<Vec<_>>(), ["wamid.MINE"]);
    assert_eq!(letters(&outputs)[0]["position"], "2-0");
}

#[test]
fn a_redrive_that_names_nothing_is_a_dead_letter_of_its_own() {
    let mut folded = Folded::default();
    folded.webhook(&status_body(WAMID, "sent", 1));
    let good = folded.redrive_headers(0);
    let body = status_body(WAMID, "sent", 1);
    let with = |name: &str, value: &str| {
        let mut headers = good.clone();
        headers.iter_mut().filter(|(key, _)| *key == name).for_each(|(_, of)| *of = value.into());
        headers
    };
    let without = |name: &str| {
        let headers = good.iter().filter(|(key, _)| *key != name);
        headers.cloned().collect::<Vec<_>>()
    };
    let of = "wa-redrive-of";
    let bad = [
        with(of, "1-0"),
        with(of, "0-9"),
        with(of, "0"),
        with(of, "0-+0"),
        with(of, ""),
        without(of),
        with("wa-redrive-appended", "yesterday"),
        without("wa-redrive-appended"),
    ];
    for headers in bad {
        let own = format!("0-{}", folded.kept.len());
        let letter = &letters(&folded.record(&headers, Some(&body)))[0];
        assert_eq!(
            (&letter["reason"], &letter["position"]),
            (&json!("redrive_invalid"), &json!(own))
        );
        assert!(letter["redrive_position"].is_null());
    }
    let letter = &letters(&folded.record(&good, None))[0];
    assert_eq!(letter["reason"], "redrive_invalid", "without a body");
    // What was routed by another rule was refused whole, and is again until that rule is known.
    let letter = &letters(&folded.record(&with("wa-partition-count", "4"), Some(&body)))[0];
    assert_eq!(
        (&letter["reason"], &letter["position"]),
        (&json!("routed_otherwise"), &json!("0-0"))
    );
    assert!(letters(&folded.record(&good, Some(&body)))[0]["reason"] == "redriven");
}

#[test]
fn positions_are_two_numbers() {
    assert_eq!(parse_position("3-42"), Some((3, 42)));
    for bad in ["", "-", "3", "3-", "-42", "3--42", "+3-42", "3-42-0", "3@42", "9999999999-0"] {
        assert_eq!(parse_position(bad), None, "{bad:?}");
    }
}
