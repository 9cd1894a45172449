//! What a record does, case by case; and the golden bytes of a small story.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::json;
use support::{Folded, NOON, messages, status, status_body, values};
use tickfold_core::ids::{TemplateKey, WabaId, Wamid};
use tickfold_core::overlay::Tally;
use tickfold_core::records::Topic;
use tickfold_core::time::{DAY_MS, HOUR_MS};

const WAMID: &str = "wamid.FOLD";

fn last(folded: &Folded, topic: Topic) -> serde_json::Value {
    folded.values(topic).pop().expect("a record of the topic")
}

fn template_body(event: &str, time: i64, rest: &str) -> Vec<u8> {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","time":{time},"changes":[{{"field":"message_template_status_update","value":{{"event":"{event}","message_template_id":9,"message_template_name":"otp","message_template_language":"en-US"{rest}}}}}]}}]}}"#
    )
    .into_bytes()
}

fn account_body(event: &str, time: i64, rest: &str) -> Vec<u8> {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","time":{time},"changes":[{{"field":"account_update","value":{{"event":"{event}"{rest}}}}}]}}]}}"#
    )
    .into_bytes()
}

#[test]
fn a_late_status_is_a_transition_that_does_not_lower_the_state() {
    let mut folded = Folded::default();
    folded.webhook(&status_body(WAMID, "read", 3));
    let outputs = folded.webhook(&status_body(WAMID, "sent", 1));
    let transition = &values(&outputs, Topic::Transition)[0];
    assert_eq!(transition["from"], "read");
    assert_eq!(transition["to"], "sent");
    assert_eq!(transition["state"], "read");
    assert_eq!(transition["late"], true);
    assert_eq!(last(&folded, Topic::MessageState)["sent_time"], "2026-11-20T00:00:01.000Z");
}

#[test]
fn an_earlier_time_amends_the_row_without_a_transition() {
    let mut folded = Folded::default();
    folded.webhook(&status_body(WAMID, "sent", 5));
    let outputs = folded.webhook(&status_body(WAMID, "sent", 1));
    assert!(values(&outputs, Topic::Transition).is_empty());
    assert_eq!(values(&outputs, Topic::MessageState)[0]["sent_time"], "2026-11-20T00:00:01.000Z");
    let outputs = folded.webhook(&status_body(WAMID, "sent", 9));
    assert!(values(&outputs, Topic::MessageState).is_empty(), "a worse time changes nothing");
}

#[test]
fn a_second_error_code_is_a_new_fact() {
    let mut folded = Folded::default();
    folded.webhook(&status_body(WAMID, "failed", 1));
    let other = status(WAMID, "failed", 2).replace("131026", "131000");
    folded.webhook(&messages(&format!(r#""statuses":[{other}]"#)));
    let transitions = folded.values(Topic::Transition);
    let codes: Vec<_> = transitions.iter().map(|t| t["error_code"].as_i64().unwrap()).collect();
    assert_eq!(codes, [131_026, 131_000]);
    assert_eq!(transitions[1]["late"], false);
    assert_eq!(last(&folded, Topic::MessageState)["error_code"], 131_026, "the earliest is shown");
}

#[test]
fn items_are_counted_by_what_became_of_them() {
    let mut folded = Folded::default();
    let mut tally = move |body: &[u8]| {
        let before = folded.overlay.tally;
        folded.webhook(body);
        let Tally { applied, stale, duplicate, unknown } = folded.overlay.tally;
        [
            applied - before.applied,
            stale - before.stale,
            duplicate - before.duplicate,
            unknown - before.unknown,
        ]
    };
    assert_eq!(tally(&status_body(WAMID, "read", 3)), [1, 0, 0, 0]);
    assert_eq!(tally(&status_body(WAMID, "read", 3)), [0, 0, 1, 0]);
    assert_eq!(tally(&status_body(WAMID, "read", 1)), [0, 0, 1, 0], "a better time is no news");
    assert_eq!(tally(&status_body(WAMID, "sent", 1)), [0, 1, 0, 0]);
    let both = [status(WAMID, "sent", 1), status(WAMID, "delivered", 2), status("b", "sent", 1)];
    let both = messages(&format!(r#""statuses":[{},7]"#, both.join(",")));
    assert_eq!(tally(&both), [1, 1, 1, 0], "a dead letter is none of them");

    let inbound = messages(&format!(
        r#""contacts":[{{"wa_id":"447700900123","profile":{{"name":"n"}}}}],"messages":[{{"id":"wamid.IN","from":"447700900123","timestamp":"{NOON}","type":"text","text":{{"body":"hi"}},"news":1}}]"#
    ));
    assert_eq!(tally(&inbound), [1, 0, 0, 0], "nor a contact, nor a new member");
    assert_eq!(tally(&inbound), [0, 0, 1, 0]);

    let strange = br#"{"object":"whatsapp_business_account","entry":[{"id":"215589900000101","time":1795132800,"changes":[{"field":"of_tomorrow","value":{"a":1}}]}]}"#;
    assert_eq!(tally(strange), [0, 0, 0, 1]);
    assert_eq!(tally(strange), [0, 0, 1, 0]);
}

#[test]
fn at_most_one_row_per_key_and_record() {
    let mut folded = Folded::default();
    let statuses: Vec<_> =
        ["sent", "delivered", "read"].iter().map(|word| status(WAMID, word, 1)).collect();
    let outputs = folded.webhook(&messages(&format!(r#""statuses":[{}]"#, statuses.join(","))));
    assert_eq!(values(&outputs, Topic::MessageState).len(), 1);
    assert_eq!(values(&outputs, Topic::Transition).len(), 3);
    let ids: Vec<_> = outputs.iter().map(|output| output.ordinal).collect();
    assert_eq!(ids, (0..u32::try_from(outputs.len()).unwrap()).collect::<Vec<_>>());
}

#[test]
fn an_inbound_message_opens_the_window_once() {
    let inbound = format!(
        r#""messages":[{{"id":"wamid.IN","from":"447700900123","timestamp":"{NOON}","type":"text","text":{{"body":"hi"}}}}]"#
    );
    let mut folded = Folded::default();
    folded.webhook(&messages(&inbound));
    assert!(folded.webhook(&messages(&inbound)).is_empty(), "the second copy changes nothing");
    let row = last(&folded, Topic::ConversationState);
    assert_eq!(row["window_expire_time"], "2026-11-21T00:00:00.000Z");
    assert_eq!((&row["inbound_count"], &row["outbound_count"]), (&json!(1), &json!(0)));
    let events = folded.values(Topic::Event);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["natural_key"], "msg:wamid.IN");
    assert_eq!(events[0]["text"], "hi");
}

#[test]
fn one_broken_status_is_one_dead_letter_with_its_path() {
    let good = status(WAMID, "sent", 1);
    let mut folded = Folded::default();
    folded.webhook(&messages(&format!(r#""statuses":[{good},{{"status":"sent"}},7,{good}]"#)));
    let letters = folded.values(Topic::DeadLetter);
    let paths: Vec<_> = letters.iter().map(|letter| letter["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        ["$.entry[0].changes[0].value.statuses[1]", "$.entry[0].changes[0].value.statuses[2]"]
    );
    assert_eq!(letters[0]["position"], "0-0");
    assert_eq!(folded.values(Topic::Transition).len(), 1);
}

#[test]
fn truncated_json_and_broken_records_are_dead_letters() {
    let mut folded = Folded::default();
    folded.webhook(b"{\"object\":\"whatsapp");
    folded.record(&[], Some(b"x"));
    folded.record(&[("wa-kind", "webhook".into())], None);
    folded.record(&[("wa-kind", "control".into()), ("wa-control", "later".into())], Some(b""));
    let scopes: Vec<_> =
        folded.values(Topic::DeadLetter).iter().map(|l| l["reason"].clone()).collect();
    let expected =
        ["not_json", "unknown_kind_or_no_value", "unknown_kind_or_no_value", "unknown_control"];
    assert_eq!(scopes, expected);
}

#[test]
fn an_unknown_field_full_of_backslashes_is_cut_and_stays_below_the_limit() {
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"new","value":"{}"}}]}}]}}"#,
        r"\u005c".repeat(650_000)
    );
    assert!(body.len() > 3_900_000);
    let mut folded = Folded::default();
    let outputs = folded.webhook(body.as_bytes());
    let event = &values(&outputs, Topic::Event)[0];
    assert_eq!(event["raw_truncated"], true);
    assert_eq!(event["raw"].as_str().unwrap().len(), 256 * 1024);
    assert!(outputs[0].value.as_ref().unwrap().len() < 1024 * 1024);
}

#[test]
fn a_body_of_very_many_items_stays_one_bounded_record() {
    let items = vec!["1"; 300_000].join(",");
    let mut folded = Folded::default();
    let outputs = folded.webhook(&messages(&format!(r#""statuses":[{items}]"#)));
    assert_eq!(outputs.len(), tickfold_core::fold::ITEMS_MAX + 1);
    assert_eq!(last(&folded, Topic::DeadLetter)["reason"], "too_many_items");
}

#[test]
fn a_body_of_very_many_broken_entries_is_routed_and_folded_in_one_pass() {
    let entries = vec!["0"; 500_000].join(",");
    let body = format!(r#"{{"object":"whatsapp_business_account","entry":[{entries}]}}"#);
    assert_eq!(tickfold_core::route(body.as_bytes(), 8).len(), 1);
    let outputs = Folded::default().webhook(body.as_bytes());
    assert_eq!(outputs.len(), tickfold_core::fold::ITEMS_MAX + 1);
}

#[test]
fn a_record_routed_by_another_rule_is_one_dead_letter() {
    let body = status_body(WAMID, "sent", 1);
    let kind = ("wa-kind", "webhook".to_owned());
    let headers = |version: &str, count: &str| {
        let version = ("wa-route-version", version.to_owned());
        vec![kind.clone(), version, ("wa-partition-count", count.to_owned())]
    };
    for (version, count) in [("1", "4"), ("2", "1"), ("", "")] {
        let mut folded = Folded::default();
        let outputs = folded.record(&headers(version, count), Some(&body));
        assert_eq!(outputs.len(), 1, "{version} {count}");
        assert_eq!(last(&folded, Topic::DeadLetter)["reason"], "routed_otherwise");
    }
    assert!(Folded::default().record(&headers("1", "1"), Some(&body)).len() > 1);
}

#[test]
fn an_error_of_the_value_is_an_event_each_time() {
    let error = r#""errors":[{"code":131035,"title":"content lost"}]"#;
    let mut folded = Folded::default();
    folded.webhook(&messages(error));
    folded.webhook(&messages(error));
    let events = folded.values(Topic::Event);
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["natural_key"], "verr:318840000000202:131035");
}

#[test]
fn the_same_content_at_another_time_is_another_event() {
    let body = |time: i64| {
        format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","time":{time},"changes":[{{"field":"security","value":{{"event":"PIN_CHANGED"}}}}]}}]}}"#
        )
    };
    let mut folded = Folded::default();
    for time in [NOON, NOON, NOON + 1] {
        folded.webhook(body(time).as_bytes());
    }
    assert_eq!(folded.values(Topic::Event).len(), 2);
}

#[test]
fn a_value_of_messages_with_nothing_known_in_it_is_kept() {
    let mut folded = Folded::default();
    folded.webhook(&messages(r#""polls":[{"id":"p"}]"#));
    assert_eq!(folded.values(Topic::Event)[0]["kind"], "unknown");
    assert!(
        Folded::default()
            .webhook(&messages(r#""contacts":[{}]"#))
            .iter()
            .all(|o| o.topic != Topic::Event)
    );
}

#[test]
fn each_error_code_is_a_fact_however_they_are_grouped() {
    let both = status(WAMID, "failed", 1).replace(r#""errors":["#, r#""errors":[{"code":131047},"#);
    let mut folded = Folded::default();
    folded.webhook(&messages(&format!(r#""statuses":[{both}]"#)));
    let transitions = folded.values(Topic::Transition);
    let codes: Vec<_> = transitions.iter().map(|t| t["error_code"].as_i64().unwrap()).collect();
    assert_eq!(codes, [131_026, 131_047]);
    assert_eq!(
        (&transitions[0]["from"], &transitions[1]["from"]),
        (&json!(null), &json!("failed"))
    );
    assert!(transitions.iter().all(|t| t["late"] == false && t["state"] == "failed"));
}

#[test]
fn a_participant_has_a_ladder_of_its_own() {
    let of = |participant: &str, word: &str, after_s: i64| {
        let group = format!(
            r#""recipient_type":"group","recipient_participant_id":"{participant}","recipient_id""#
        );
        let group = if participant.is_empty() {
            r#""recipient_type":"group","recipient_id""#.into()
        } else {
            group
        };
        messages(&format!(
            r#""statuses":[{}]"#,
            status(WAMID, word, after_s).replace(r#""recipient_id""#, &group)
        ))
    };
    let mut folded = Folded::default();
    for (participant, word) in [("1", "read"), ("2", "delivered"), ("", "sent")] {
        folded.webhook(&of(participant, word, 1));
    }
    let transitions = folded.values(Topic::Transition);
    let shown: Vec<_> = transitions
        .iter()
        .map(|t| (t["from"].as_str(), t["state"].as_str().unwrap(), t["late"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [(None, "read", false), (None, "delivered", false), (Some("read"), "read", true)]
    );
    let rows = folded.values(Topic::MessageState);
    let row = rows.iter().rfind(|row| row["participant"] == "2").unwrap();
    assert_eq!((&row["state"], row.get("party")), (&json!("delivered"), None));
}

#[test]
fn a_message_of_whatsapp_itself_opens_no_window() {
    let system = format!(
        r#""messages":[{{"id":"wamid.S","from":"447700900123","timestamp":"{NOON}","type":"system","system":{{"type":"user_changed_number"}}}}]"#
    );
    let mut folded = Folded::default();
    folded.webhook(&messages(&system));
    assert_eq!(last(&folded, Topic::ConversationState).get("window_expire_time"), None);
    assert_eq!(folded.values(Topic::Event)[0]["kind"], "system");
}

#[test]
fn the_test_button_of_the_dashboard_makes_events_only() {
    let body =
        String::from_utf8(status_body(WAMID, "sent", 1)).unwrap().replace("215589900000101", "0");
    let outputs = Folded::default().webhook(body.as_bytes());
    assert!(outputs.iter().all(|output| output.topic == Topic::Event), "{outputs:?}");
    assert_eq!(values(&outputs, Topic::Event)[0]["kind"], "test");
    // Some of its bodies name a real account, but always the same number.
    let body = String::from_utf8(status_body(WAMID, "failed", 1)).unwrap();
    let outputs =
        Folded::default().webhook(body.replace("318840000000202", "123456123").as_bytes());
    assert!(outputs.iter().all(|output| output.topic == Topic::Event), "{outputs:?}");
}

#[test]
fn a_conversation_that_never_was_leaves_no_tombstone() {
    let by = |party: &str, word: &str, time: &str| {
        let json = status(WAMID, word, 1).replace("447700900123", party);
        messages(&format!(r#""statuses":[{}]"#, json.replace(&(NOON + 1).to_string(), time)))
    };
    let mut folded = Folded::default();
    folded.webhook(&by("1", "delivered", "1795132801"));
    folded.webhook(&by("9", "sent", ""));
    assert!(folded.outputs.iter().all(|output| output.value.is_some()));
    assert!(folded.webhook(&by("9", "sent", "")).is_empty());
}

#[test]
fn a_retry_of_an_unknown_event_is_the_same_event() {
    let body = br#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"new","value":{"a": 1}}]}]}"#;
    let other = br#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"a":1},"field":"new"}]}]}"#;
    let mut folded = Folded::default();
    folded.webhook(body);
    assert!(folded.webhook(other).is_empty(), "{:?}", folded.outputs);
}

#[test]
fn a_disabled_template_stays_disabled_until_it_is_reinstated() {
    let mut folded = Folded::default();
    folded.webhook(&template_body("DISABLED", NOON, ""));
    folded.webhook(&template_body("PAUSED", NOON + 5, ""));
    assert_eq!(last(&folded, Topic::TemplateState)["status"], "DISABLED");
    folded.webhook(&template_body("APPROVED", NOON - 5, ""));
    assert_eq!(
        last(&folded, Topic::TemplateState)["status"],
        "DISABLED",
        "an older approval lifts nothing"
    );
    folded.webhook(&template_body("REINSTATED", NOON + 9, ""));
    assert_eq!(last(&folded, Topic::TemplateState)["status"], "REINSTATED");
    let key = TemplateKey::new(
        WabaId::from("215589900000101"),
        tickfold_core::ids::TemplateId::from("9"),
        "en_US",
    );
    assert!(folded.overlay.templates.get(&key).unwrap().is_some(), "en-US and en_US are one");
}

#[test]
fn a_tie_of_template_events_shows_the_more_restrictive() {
    for order in [["APPROVED", "PAUSED"], ["PAUSED", "APPROVED"]] {
        let mut folded = Folded::default();
        order.iter().for_each(|event| drop(folded.webhook(&template_body(event, NOON, ""))));
        assert_eq!(last(&folded, Topic::TemplateState)["status"], "PAUSED");
    }
}

#[test]
fn the_same_restriction_event_imposes_and_lifts() {
    let impose =
        r#","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING"}]"#;
    let lift = r#","violation_info":{"violation_type":"SPAM_UNBAN"}"#;
    let key = "account.state.v1 215589900000101";
    for order in [[(impose, 0), (lift, 9)], [(lift, 9), (impose, 0)]] {
        let mut folded = Folded::default();
        for (rest, after_s) in order {
            folded.webhook(&account_body("ACCOUNT_RESTRICTION", NOON + after_s, rest));
        }
        assert_eq!(folded.rows()[key]["state"], "active");
    }
    let mut folded = Folded::default();
    folded.webhook(&account_body("ACCOUNT_RESTRICTION", NOON, impose));
    assert_eq!(folded.rows()[key]["state"], "restricted");
}

#[test]
fn identifiers_that_come_late_move_the_count() {
    let by = |party: &str, word: &str| status(WAMID, word, 1).replace("447700900123", party);
    let mut folded = Folded::default();
    folded.webhook(&messages(&format!(r#""statuses":[{}]"#, by("GB.48", "delivered"))));
    folded.webhook(&messages(&format!(r#""statuses":[{}]"#, by("447700900123", "read"))));
    let rows = folded.values(Topic::ConversationState);
    assert_eq!(rows.last().unwrap()["party"], "447700900123");
    assert_eq!(rows.last().unwrap()["outbound_count"], 1);
    let gone =
        folded.outputs.iter().filter(|o| o.topic == Topic::ConversationState && o.value.is_none());
    assert_eq!(gone.map(|o| o.key.as_str()).collect::<Vec<_>>(), ["318840000000202/GB.48"]);
}

#[test]
fn messages_expire_by_log_time_and_only_when_unchanged() {
    let mut folded = Folded::default();
    folded.webhook(&status_body(WAMID, "sent", 1));
    folded.advance(60 * DAY_MS);
    folded.webhook(&status_body(WAMID, "delivered", 2));
    let quiet = folded.advance(31 * DAY_MS).tick();
    assert!(quiet.iter().all(|o| o.topic != Topic::MessageState), "it changed 31 days ago");
    let outputs = folded.advance(60 * DAY_MS).tick();
    let tombstone = outputs.iter().find(|o| o.topic == Topic::MessageState).unwrap();
    assert_eq!((tombstone.key.as_str(), &tombstone.value), (WAMID, &None));
    assert_eq!(folded.overlay.messages.get(&Wamid::from(WAMID)), Some(&None));
}

/// After a long silence a thousand timers are due at once. No record fires more, and none is left over.
#[test]
fn timers_that_one_record_does_not_fire_are_fired_by_the_next() {
    const MESSAGES: usize = 1_500;
    let mut folded = Folded::default();
    for webhook in 0..MESSAGES / 50 {
        let statuses: Vec<_> =
            (0..50).map(|n| status(&format!("wamid.{webhook}.{n}"), "sent", 1)).collect();
        folded.webhook(&messages(&format!(r#""statuses":[{}]"#, statuses.join(","))));
    }
    folded.advance(365 * DAY_MS);
    let known = |folded: &Folded| {
        folded.overlay.messages.changes().filter(|(_, message)| message.after.is_some()).count()
    };
    let mut left = vec![known(&folded)];
    for _ in 0..5 {
        folded.tick();
        left.push(known(&folded));
    }
    assert_eq!((left[0], left[5]), (MESSAGES, 0), "{left:?}");
    assert!(left[1] > 0 && left.windows(2).all(|pair| pair[0] - pair[1] <= 1_000), "{left:?}");
}

#[test]
fn a_tick_moves_nothing_but_log_time() {
    let mut folded = Folded::default();
    folded.webhook(&status_body(WAMID, "sent", 1));
    let before = folded.overlay.clone();
    assert!(folded.advance(HOUR_MS).tick().is_empty());
    assert!(folded.overlay.head.unwrap().log_time > before.head.unwrap().log_time);
    folded.advance(-10 * HOUR_MS);
    let held = folded.overlay.head;
    folded.tick();
    assert_eq!(folded.overlay.head, held, "log time never falls");
}

/// The bytes of a small story. `UPDATE_EXPECT=1` rewrites them; a change of them is a change of
/// the fold version.
#[test]
fn golden_bytes() {
    let mut folded = Folded::default();
    let inbound = format!(
        r#""messages":[{{"id":"wamid.IN","from":"447700900123","timestamp":"{NOON}","type":"text","text":{{"body":"h\u00e9 \\ud83d"}}}}]"#
    );
    folded.webhook(&messages(&inbound));
    for (word, after_s) in [("read", 3), ("sent", 1), ("failed", 4)] {
        folded.advance(1_000);
        folded.webhook(&status_body(WAMID, word, after_s));
    }
    let group = status("wamid.G", "delivered", 2)
        .replace(r#""recipient_id""#, r#""recipient_type":"group","recipient_participant_id":"49151","recipient_id""#)
        .replace('}', r#","pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}}"#);
    folded.webhook(&messages(&format!(r#""statuses":[{group}]"#)));
    folded.webhook(&template_body(
        "PAUSED",
        NOON,
        r#","reason":"NONE","other_info":{"title":"FIRST_PAUSE"}"#,
    ));
    folded.webhook(&account_body(
        "DISABLED_UPDATE",
        NOON,
        r#","ban_info":{"waba_ban_state":["DISABLE"]}"#,
    ));
    folded.webhook(b"[]");
    let mut text = String::new();
    for output in &folded.outputs {
        let headers: Vec<_> = output
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", str::from_utf8(value).unwrap()))
            .collect();
        let value = output.value.as_deref().map_or_else(|| "-".into(), String::from_utf8_lossy);
        text += &format!(
            "{} {}\n  {}\n  {value}\n",
            output.topic.name(),
            output.key,
            headers.join(" ")
        );
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path).unwrap_or_default());
}
