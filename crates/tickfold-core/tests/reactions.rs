//! Charges, actions and alerts through the fold: what follows from which webhook, once, in time,
//! and the same on every replay.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Folded, NOON, messages, values};
use tickfold_core::fold::{Output, Partition};
use tickfold_core::overlay::{Layered, Nothing};
use tickfold_core::raw;
use tickfold_core::raw::RawRecord;
use tickfold_core::records::Topic;
use tickfold_core::rules::Rules;
use tickfold_core::time::{DAY_MS, HOUR_MS, SECOND_MS, Timestamp};
use tickfold_core::{Overlay, fold};

const MINUTE_MS: i64 = 60 * SECOND_MS;

/// A body with one status, so many seconds after noon, with members of its own.
fn body(wamid: &str, word: &str, after_s: i64, rest: &str) -> Vec<u8> {
    let time = NOON + after_s;
    messages(&format!(
        r#""statuses":[{{"id":"{wamid}","status":"{word}","timestamp":"{time}","recipient_id":"447700900123"{rest}}}]"#
    ))
}

fn price(category: &str, kind: &str) -> String {
    format!(
        r#","pricing":{{"billable":true,"pricing_model":"PMP","type":"{kind}","category":"{category}"}}"#
    )
}

fn sent(wamid: &str, after_s: i64, category: &str) -> Vec<u8> {
    body(wamid, "sent", after_s, &price(category, "regular"))
}

fn delivered(wamid: &str, after_s: i64, category: &str) -> Vec<u8> {
    body(wamid, "delivered", after_s, &price(category, "regular"))
}

fn failed(wamid: &str, after_s: i64, code: i64) -> Vec<u8> {
    body(wamid, "failed", after_s, &format!(r#","errors":[{{"code":{code}}}]"#))
}

fn inbound(wamid: &str, after_s: i64, content: &str) -> Vec<u8> {
    let time = NOON + after_s;
    messages(&format!(
        r#""messages":[{{"id":"{wamid}","from":"447700900123","timestamp":"{time}",{content}}}]"#
    ))
}

/// Lets time pass as it does while ingress listens: a tick every 5 seconds.
fn pass(folded: &mut Folded, ms: i64) -> Vec<Output> {
    let ticks = ms / (5 * SECOND_MS);
    (0..ticks).flat_map(|_| folded.advance(5 * SECOND_MS).tick()).collect()
}

fn apply(folded: &mut Folded, change: impl FnOnce(&mut Value)) -> Vec<Output> {
    let mut document: Value = serde_json::from_slice(&Rules::built_in().canonical()).unwrap();
    document["version"] = json!(2);
    change(&mut document);
    folded.record(&raw::rules_headers(1), Some(document.to_string().as_bytes()))
}

/// Kinds of actions, in order.
fn actions(outputs: &[Output]) -> Vec<String> {
    kinds(outputs, Topic::Action)
}

fn kinds(outputs: &[Output], topic: Topic) -> Vec<String> {
    values(outputs, topic).iter().map(|value| value["kind"].as_str().unwrap().to_owned()).collect()
}

fn reactions(outputs: &[Output]) -> Vec<&Output> {
    let of = [Topic::Charge, Topic::Action, Topic::Alert];
    outputs.iter().filter(|output| of.contains(&output.topic)).collect()
}

/// The rows of the table of error codes: codes, what follows for a utility message.
const ROWS: &[(&[i64], &[&str])] = &[
    (&[131_026], &["sms_fallback"]),
    (&[131_047, 470, 131_027, 130_470], &["send_template"]),
    (&[131_050], &["suppress_recipient"]),
    (&[130_472], &["sms_fallback"]),
    (&[131_051, 131_052, 131_053, 131_014], &[]),
    (&[130_429, 131_056, 4, 80_007], &["back_off"]),
    (&[131_048], &["halt_number", "alert"]),
    (&[131_064], &["halt_number"]),
    (&[131_000, 135_000, 1, 2], &["resend"]),
    (&[131_016, 133_004, 131_057, 2_494_100], &["back_off"]),
    (&[0, 3, 10, 190, 200, 250, 299, 131_005], &["halt_account", "alert"]),
    (&[33, 100, 131_008, 131_009, 131_021, 131_055, 131_030], &[]),
    (&[131_031, 368], &["halt_account", "alert"]),
    (&[130_497], &["halt_country"]),
    (&[131_035], &["alert"]),
    (&[131_036], &[]),
    (&[131_037], &["halt_number"]),
    (&[131_042, 131_044], &["halt_account", "alert"]),
    (&[131_045, 133_010], &["halt_number"]),
    (&[131_060, 131_062, 131_063], &[]),
    (&[132_000, 132_001, 132_005, 132_008, 132_012, 132_018], &["halt_template"]),
    (&[132_007, 132_015, 132_016], &["halt_template"]),
    (&[132_068], &[]),
    (&[132_069, 134_100, 134_101, 134_102], &["back_off"]),
    (&[134_011], &["alert"]),
    (&[137_000], &["reverify_recipient"]),
    (&[131_020, 131_041, 131_200, 131_299], &[]),
    (&[138_000, 138_099, 2_593_107, 2_593_109, 2_046, 2_047], &[]),
    (&[999_999, 130_999, -7], &["alert"]),
];

#[test]
fn each_row_of_the_table_of_codes_does_what_it_says() {
    let mut codes = 0;
    for (row, expected) in ROWS {
        for &code in *row {
            let mut folded = Folded::default();
            folded.webhook(&sent("wamid.R", 1, "utility"));
            let outputs = folded.webhook(&failed("wamid.R", 2, code));
            let told: Vec<_> = reactions(&outputs)
                .iter()
                .map(|output| match output.topic {
                    Topic::Alert => "alert".to_owned(),
                    _ => values(&[(*output).clone()], output.topic)[0]["kind"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                })
                .collect();
            assert_eq!(told, *expected, "{code}");
            codes += 1;
        }
    }
    assert_eq!(codes, 82);
}

#[test]
fn categories_decide_where_the_table_says_so() {
    let follow = |category: &str, code| {
        let mut folded = Folded::default();
        folded.webhook(&sent("wamid.C", 1, category));
        actions(&folded.webhook(&failed("wamid.C", 2, code)))
    };
    assert_eq!(follow("marketing", 131_049), ["back_off"]);
    assert_eq!(follow("utility", 131_049), ["sms_fallback"]);
    assert_eq!(follow("authentication-international", 132_015), ["halt_template", "sms_fallback"]);
    assert_eq!(follow("marketing", 131_026), [""; 0], "no marketing by another channel");
}

#[test]
fn an_undeliverable_message_asks_for_one_fallback_however_often_it_is_told() {
    let mut folded = Folded::default();
    let outputs = folded.webhook(&failed("wamid.U", 2, 131_026));
    let action = &values(&outputs, Topic::Action)[0];
    assert_eq!(action["kind"], "sms_fallback");
    assert_eq!(action["wamid"], "wamid.U");
    assert_eq!(action["error_code"], 131_026);
    assert_eq!(action["not_after"], "2026-11-20T01:00:02.000Z");
    assert_eq!(action["rules_version"], 1);
    assert_eq!(outputs.iter().find(|o| o.topic == Topic::Action).unwrap().key, action["action_id"]);
    for code in [131_026, 130_472] {
        let outputs = folded.advance(HOUR_MS / 2).webhook(&failed("wamid.U", 9, code));
        assert!(reactions(&outputs).is_empty(), "{code}");
    }
}

#[test]
fn an_opt_out_suppresses_the_recipient_once_and_nothing_is_retried() {
    let mut folded = Folded::default();
    folded.webhook(&sent("wamid.O", 1, "marketing"));
    let outputs = folded.webhook(&failed("wamid.O", 2, 131_050));
    assert_eq!(actions(&outputs), ["suppress_recipient"]);
    let action = &values(&outputs, Topic::Action)[0];
    assert_eq!(action["subject"], "215589900000101/447700900123");
    assert_eq!((&action["category"], action.get("not_after")), (&json!("marketing"), None));
    folded.webhook(&failed("wamid.O", 2, 131_050));
    pass(&mut folded, HOUR_MS);
    assert_eq!(actions(&folded.outputs), ["suppress_recipient"]);
}

#[test]
fn what_is_no_live_message_of_ours_asks_for_nothing() {
    let rest = r#","errors":[{"code":131026}]"#;
    let live = body("wamid.G", "failed", 2, rest);
    assert_eq!(actions(&Folded::default().webhook(&live)), ["sms_fallback"], "the control");
    let text = String::from_utf8(live).unwrap();
    let thread = format!(
        r#""history":[{{"threads":[{{"id":"447700900123","messages":[{{"id":"wamid.G","from":"15550100001","to":"447700900123","timestamp":"{NOON}","type":"text","history_context":{{"status":"ERROR"}}{rest}}}]}}]}}]"#
    );
    let guarded = [
        ("payment", text.replace(r#""status":"failed""#, r#""type":"payment","status":"failed""#)),
        ("call", text.replace(r#""status":"failed""#, r#""type":"call","status":"FAILED""#)),
        ("test account", text.replace("215589900000101", "0")),
        ("test number", text.replace("318840000000202", "123456123")),
        ("history", String::from_utf8(support::change("history", &thread)).unwrap()),
    ];
    for (name, body) in guarded {
        let mut folded = Folded::default();
        let outputs = folded.webhook(body.as_bytes());
        assert!(!outputs.is_empty(), "{name} is told");
        assert!(actions(&outputs).is_empty(), "{name}: {:?}", actions(&outputs));
        assert!(actions(&pass(&mut folded, HOUR_MS)).is_empty(), "{name}, later");
        let outputs = folded.webhook(&sent("wamid.G", 1, "utility"));
        assert!(actions(&outputs).is_empty(), "{name}, whatever its category");
    }
}

#[test]
fn a_deadline_that_passed_before_anybody_listened_waits_a_minute_from_the_first_sight() {
    let mut folded = Folded::default();
    // Ten minutes and one of buffer from the event were over a minute ago.
    folded.advance(12 * MINUTE_MS);
    folded.webhook(&sent("wamid.late", 60, "authentication"));
    assert!(actions(&pass(&mut folded, MINUTE_MS - 5 * SECOND_MS)).is_empty());
    let outputs = pass(&mut folded, 5 * SECOND_MS);
    assert_eq!(actions(&outputs), ["sms_fallback"]);
    assert_eq!(
        values(&outputs, Topic::Action)[0]["event_time"],
        "2026-11-20T00:12:00.000Z",
        "but it is judged by the deadline itself"
    );
}

#[test]
fn a_medium_of_a_customer_can_be_fetched_for_seven_days_by_the_rules() {
    let picture = inbound(
        "wamid.pic",
        0,
        r#""type":"image","image":{"id":"77","mime_type":"image/jpeg","sha256":"aGFzaA=="}"#,
    );
    let mut folded = Folded::default();
    let outputs = folded.webhook(&picture);
    for told in [values(&outputs, Topic::Event), values(&outputs, Topic::MessageState)] {
        let told = &told[0];
        assert_eq!((&told["media_id"], &told["media_sha256"]), (&json!("77"), &json!("aGFzaA==")));
        assert_eq!(told["media_mime_type"], "image/jpeg");
        assert_eq!(told["media_expire_time"], "2026-11-27T00:00:00.000Z");
    }
    let mut folded = Folded::default();
    apply(&mut folded, |document| document["media_valid_for"] = json!("30d"));
    let outputs = folded.webhook(&picture);
    let told = &values(&outputs, Topic::Event)[0];
    assert_eq!(told["media_expire_time"], "2026-12-20T00:00:00.000Z");
}

#[test]
fn every_participant_of_a_group_is_charged() {
    let of = |participant: &str, word: &str, priced: &str| {
        let rest = format!(
            r#","recipient_type":"group","recipient_participant_id":"{participant}"{priced}"#
        );
        body("wamid.group", word, 1, &rest)
    };
    let priced = price("group_utility", "regular");
    let mut folded = Folded::default();
    for participant in ["4915100000001", "4915100000002"] {
        folded.webhook(&of(participant, "delivered", &priced));
        folded.webhook(&of(participant, "read", &priced));
    }
    let charges = folded.values(Topic::Charge);
    assert_eq!(charges.len(), 2, "{charges:?}");
    assert_ne!(charges[0]["charge_id"], charges[1]["charge_id"]);
    assert!(charges.iter().all(|charge| charge["country"] == "DE"));
    assert!(charges.iter().all(|charge| charge["conflicting"] == false));
}

#[test]
fn nothing_reaches_out_again_after_evidence_of_delivery() {
    let mut folded = Folded::default();
    folded.webhook(&delivered("wamid.D", 1, "utility"));
    for code in [131_026, 131_000, 131_056, 131_047] {
        assert_eq!(actions(&folded.webhook(&failed("wamid.D", 2, code))), [""; 0], "{code}");
    }
    assert_eq!(actions(&folded.webhook(&failed("wamid.D", 2, 131_042))), ["halt_account"]);
}

#[test]
fn a_storm_of_one_code_halts_and_alerts_once_an_hour() {
    let mut folded = Folded::default();
    for n in 0..50 {
        folded.webhook(&failed(&format!("wamid.{n}"), n, 131_042));
    }
    assert_eq!(actions(&folded.outputs), ["halt_account"]);
    assert_eq!(kinds(&folded.outputs, Topic::Alert), ["error_code"]);
    folded.advance(HOUR_MS).webhook(&failed("wamid.next", 3_600, 131_042));
    assert_eq!(actions(&folded.outputs), ["halt_account", "halt_account"]);
}

#[test]
fn a_login_code_that_nobody_sees_delivered_falls_back_and_a_late_delivery_takes_it_back() {
    let mut folded = Folded::default();
    folded.webhook(&sent("wamid.otp", 60, "authentication"));
    assert!(reactions(&pass(&mut folded, 11 * MINUTE_MS - 5 * SECOND_MS)).is_empty());
    let outputs = pass(&mut folded, 5 * SECOND_MS);
    let action = values(&outputs, Topic::Action).remove(0);
    assert_eq!(action["kind"], "sms_fallback");
    assert_eq!(action["not_after"], "2026-11-20T00:22:00.000Z", "ten minutes from the deadline");
    let outputs = folded.webhook(&delivered("wamid.otp", 90, "authentication"));
    let taken_back = values(&outputs, Topic::Action).remove(0);
    assert_eq!(taken_back["kind"], "fallback_superseded");
    assert_eq!(taken_back["supersedes"], action["action_id"]);
    let outputs = folded.webhook(&body("wamid.otp", "read", 95, ""));
    assert_eq!(actions(&outputs), [""; 0], "once");
    assert_eq!(values(&folded.outputs, Topic::Charge).len(), 1, "it was delivered, so it costs");
}

#[test]
fn another_message_of_the_intent_takes_a_fallback_back_in_whatever_order_it_is_told() {
    let label = r#","biz_opaque_callback_data":"intent=o7""#;
    let of = |wamid: &str, word: &str, after_s| {
        let rest = format!("{}{label}", price("authentication", "regular"));
        body(wamid, word, after_s, &rest)
    };
    let words = ["sent", "delivered"];
    for order in [words, [words[1], words[0]]] {
        let mut folded = Folded::default();
        folded.webhook(&of("wamid.first", "sent", 60));
        let fallback = values(&pass(&mut folded, 11 * MINUTE_MS), Topic::Action).remove(0);
        assert_eq!(fallback["kind"], "sms_fallback");
        let outputs: Vec<_> =
            order.iter().flat_map(|word| folded.webhook(&of("wamid.again", word, 700))).collect();
        assert_eq!(actions(&outputs), ["fallback_superseded"], "{order:?}");
        assert_eq!(values(&outputs, Topic::Action)[0]["supersedes"], fallback["action_id"]);
    }
}

#[test]
fn a_delivery_in_time_and_a_handled_failure_stop_the_deadline() {
    let mut folded = Folded::default();
    for wamid in ["wamid.a", "wamid.b", "wamid.c"] {
        folded.webhook(&sent(wamid, 60, "authentication"));
    }
    folded.webhook(&delivered("wamid.a", 61, "authentication"));
    assert_eq!(actions(&folded.webhook(&failed("wamid.b", 61, 131_056))), ["back_off"]);
    // Another device may have it.
    assert_eq!(actions(&folded.webhook(&failed("wamid.c", 61, 131_036))), [""; 0]);
    let outputs = pass(&mut folded, HOUR_MS);
    let fallbacks = values(&outputs, Topic::Action);
    assert_eq!(fallbacks.len(), 1);
    assert_eq!(fallbacks[0]["wamid"], "wamid.c");
}

#[test]
fn an_outage_with_retries_in_the_wrong_order_fires_no_false_fallback() {
    let mut folded = Folded::default();
    folded.webhook(&sent("wamid.before", 60, "authentication"));
    // Nobody listens for 20 minutes; Meta keeps trying.
    folded.advance(20 * MINUTE_MS).tick();
    pass(&mut folded, 30 * SECOND_MS);
    folded.webhook(&sent("wamid.during", 120, "authentication"));
    pass(&mut folded, 45 * SECOND_MS);
    folded.webhook(&delivered("wamid.during", 121, "authentication"));
    folded.webhook(&delivered("wamid.before", 62, "authentication"));
    let outputs = pass(&mut folded, HOUR_MS);
    assert!(actions(&outputs).is_empty(), "{:?}", actions(&folded.outputs));
    assert!(kinds(&folded.outputs, Topic::Alert).is_empty());
}

#[test]
fn what_an_outage_really_lost_is_told_as_expired() {
    let mut folded = Folded::default();
    folded.webhook(&sent("wamid.lost", 60, "authentication"));
    folded.advance(40 * MINUTE_MS).tick();
    let outputs = pass(&mut folded, 120 * SECOND_MS);
    assert_eq!(actions(&outputs), ["fallback_expired"]);
    assert_eq!(kinds(&outputs, Topic::Alert), ["fallback_expired"]);
    let outputs = folded.webhook(&delivered("wamid.lost", 70, "authentication"));
    assert_eq!(actions(&outputs), [""; 0], "nothing was asked for, so nothing is taken back");
}

#[test]
fn while_ingress_is_down_nothing_fires() {
    let mut folded = Folded::default();
    folded.webhook(&sent("wamid.down", 60, "authentication"));
    let before = folded.outputs.len();
    // Without records log time stands still, however late it is.
    folded.advance(3 * HOUR_MS);
    assert_eq!(folded.outputs.len(), before);
    assert!(reactions(&folded.tick()).is_empty(), "and the first record fires no deadline either");
}

#[test]
fn a_fact_older_than_the_memory_never_acts_or_charges() {
    let mut folded = Folded::default();
    folded.advance(90 * DAY_MS);
    folded.webhook(&failed("wamid.old", 0, 131_026));
    folded.webhook(&delivered("wamid.older", 0, "utility"));
    assert!(reactions(&folded.outputs).is_empty());
    let hour = 3_600;
    assert_eq!(
        actions(&folded.webhook(&failed("wamid.young", 2 * 24 * hour, 131_050))),
        ["suppress_recipient"]
    );
}

#[test]
fn a_code_that_was_read_and_not_used_gets_an_offer() {
    let read = |folded: &mut Folded| {
        folded.webhook(&delivered("wamid.code", 58, "authentication"));
        folded.webhook(&body("wamid.code", "read", 60, ""));
    };
    let mut folded = Folded::default();
    read(&mut folded);
    let outputs = pass(&mut folded, 2 * MINUTE_MS);
    let action = values(&outputs, Topic::Action).remove(0);
    assert_eq!((&action["kind"], &action["wamid"]), (&json!("offer_resend"), &json!("wamid.code")));
    assert_eq!(action["not_after"], "2026-11-20T00:12:00.000Z");

    let mut folded = Folded::default();
    read(&mut folded);
    folded.webhook(&inbound("wamid.back", 70, r#""type":"text","text":{"body":"done"}"#));
    assert!(actions(&pass(&mut folded, HOUR_MS)).is_empty(), "the customer came back");

    let mut folded = Folded::default();
    folded.webhook(&body("wamid.code", "read", 60, &price("utility", "regular")));
    assert!(actions(&pass(&mut folded, HOUR_MS)).is_empty(), "it was no code");
}

#[test]
fn an_offer_comes_whichever_status_names_the_category() {
    let priced = price("authentication", "regular");
    let statuses = [("sent", 57, priced.as_str()), ("delivered", 58, ""), ("read", 60, "")];
    for order in support::permutations(&statuses) {
        let mut folded = Folded::default();
        for (word, after_s, rest) in &order {
            folded.webhook(&body("wamid.code", word, *after_s, rest));
        }
        let outputs = pass(&mut folded, HOUR_MS);
        assert_eq!(actions(&outputs), ["offer_resend"], "{order:?}");
        assert_eq!(values(&outputs, Topic::Action)[0]["event_time"], "2026-11-20T00:01:00.000Z");
    }
}

#[test]
fn a_customer_who_answers_under_another_identifier_came_back() {
    let answer = |user: &str| {
        let body = inbound("wamid.back", 70, r#""type":"text","text":{"body":"done"}"#);
        let body = String::from_utf8(body).unwrap();
        body.replace(r#""from":"447700900123""#, &format!(r#""from_user_id":"{user}""#))
            .into_bytes()
    };
    let read =
        |rest: &str| body("wamid.code", "read", 60, &(price("authentication", "regular") + rest));
    let told = |bodies: &[Vec<u8>]| {
        let mut folded = Folded::default();
        bodies.iter().for_each(|body| drop(folded.webhook(body)));
        actions(&pass(&mut folded, HOUR_MS))
    };
    let receipt = read(r#","recipient_user_id":"GB.1""#);
    assert_eq!(told(&[receipt.clone(), answer("GB.1")]), [""; 0], "the receipt names both");
    assert_eq!(told(&[receipt, answer("GB.2")]), ["offer_resend"], "the control");
    let known = support::change(
        "user_preferences",
        r#""user_preferences":[{"wa_id":"447700900123","user_id":"GB.1","value":"resume","timestamp":1795132800}]"#,
    );
    assert_eq!(told(&[read(""), answer("GB.1"), known]), [""; 0], "as an edge says");
}

#[test]
fn rules_that_give_more_time_give_it_to_what_is_on_its_way() {
    let mut folded = Folded::default();
    folded.webhook(&sent("wamid.otp", 60, "authentication"));
    folded.webhook(&body("wamid.code", "read", 60, &price("authentication", "regular")));
    apply(&mut folded, |document| {
        document["deadlines"][0]["ttl"] = json!("30m");
        document["offer_resend"]["after"] = json!("20m");
    });
    assert_eq!(actions(&pass(&mut folded, 19 * MINUTE_MS)), [""; 0]);
    assert_eq!(actions(&pass(&mut folded, MINUTE_MS)), ["offer_resend"]);
    assert_eq!(actions(&pass(&mut folded, 11 * MINUTE_MS - 5 * SECOND_MS)), [""; 0]);
    let outputs = pass(&mut folded, 5 * SECOND_MS);
    assert_eq!(actions(&outputs), ["sms_fallback"]);
    assert_eq!(values(&outputs, Topic::Action)[0]["event_time"], "2026-11-20T00:32:00.000Z");
}

#[test]
fn a_choice_that_the_past_told_of_first_is_still_one() {
    let live = inbound("wamid.h", 2, HELP);
    let text = String::from_utf8(live.clone()).unwrap();
    let standby = text.replace(r#""field":"messages""#, r#""field":"standby""#);
    let standby = standby.replace(r#""messages":["#, r#""standby":{"messages":["#);
    let standby = standby.replace("]}}]}]}", "]}}}]}]}").into_bytes();
    let past = text.replace(r#""field":"messages""#, r#""field":"history""#);
    let past = past
        .replace(r#""messages":["#, r#""history":[{"threads":[{"id":"447700900123","messages":["#);
    let past = past.replace("]}}]}]}", "]}]}]}}]}]}").into_bytes();
    for first in [&standby, &past, &live] {
        let mut folded = Folded::default();
        apply(&mut folded, |document| {
            document["inbound"] =
                json!([{"when": {"keyword": "help"}, "then": {"do": "route", "queue": "support"}}]);
        });
        for body in [first, &live, &live] {
            folded.webhook(body);
        }
        assert!(folded.values(Topic::DeadLetter).is_empty());
        assert_eq!(actions(&folded.outputs), ["route"]);
    }
}

#[test]
fn a_delivery_is_charged_once_whichever_status_carries_the_price() {
    let mut folded = Folded::default();
    assert!(reactions(&folded.webhook(&sent("wamid.M", 1, "marketing"))).is_empty(), "a quote");
    assert!(reactions(&folded.webhook(&body("wamid.M", "delivered", 2, ""))).is_empty());
    let outputs = folded.webhook(&body("wamid.M", "read", 3, &price("marketing", "regular")));
    let charge = values(&outputs, Topic::Charge).remove(0);
    assert_eq!(charge["category"], "marketing");
    assert_eq!((&charge["country"], &charge["billable"]), (&json!("GB"), &json!(true)));
    assert_eq!(charge["event_time"], "2026-11-20T00:00:02.000Z", "when it was delivered");
    let again = folded.webhook(&delivered("wamid.M", 2, "marketing"));
    assert!(reactions(&again).is_empty(), "the same price again");
    let total = |folded: &Folded| {
        let rows = folded.values(Topic::AccountState);
        let row = rows.iter().rfind(|row| row.get("charge_count").is_some()).unwrap();
        (row["charge_count"].as_u64().unwrap(), row["billable_count"].as_u64().unwrap())
    };
    assert_eq!(total(&folded), (1, 1));
    folded.webhook(&delivered("wamid.N", 2, "marketing"));
    assert_eq!(total(&folded), (2, 2));
}

#[test]
fn a_label_that_comes_after_the_charge_is_told_with_it() {
    let priced = price("marketing", "regular");
    let label = r#","biz_opaque_callback_data":"campaign=autumn""#;
    let statuses = [
        body("wamid.L", "sent", 1, &format!("{priced}{label}")),
        body("wamid.L", "delivered", 2, &priced),
        body("wamid.L", "read", 3, ""),
    ];
    for order in support::permutations(&statuses) {
        let mut folded = Folded::default();
        order.iter().for_each(|body| drop(folded.webhook(body)));
        let charges = folded.values(Topic::Charge);
        assert_eq!(charges.last().unwrap()["callback_data"], "campaign=autumn");
        let ids: std::collections::BTreeSet<_> =
            charges.iter().map(|charge| charge["charge_id"].to_string()).collect();
        assert_eq!(ids.len(), 1);
        let rows = folded.values(Topic::AccountState);
        let row = rows.iter().rfind(|row| row.get("charge_count").is_some()).unwrap();
        assert_eq!(row["charge_count"], 1);
    }
}

#[test]
fn a_correction_replaces_and_a_conflict_is_told() {
    let mut folded = Folded::default();
    folded.webhook(&body("wamid.X", "delivered", 2, &price("utility", "free_customer_service")));
    let outputs = folded.webhook(&body("wamid.X", "read", 3, &price("utility", "regular")));
    let charges = folded.values(Topic::Charge);
    assert_eq!(charges[0]["charge_id"], charges[1]["charge_id"]);
    assert!(charges[0]["sequence"].as_u64() < charges[1]["sequence"].as_u64());
    assert_eq!(
        (&charges[0]["conflicting"], &charges[1]["conflicting"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(kinds(&outputs, Topic::Alert), ["pricing_conflict"]);
    let rows = folded.values(Topic::AccountState);
    let counts: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row["pricing_type"].as_str()?, row["charge_count"].as_u64()?)))
        .collect();
    assert_eq!(
        counts,
        [("free_customer_service", 1), ("free_customer_service", 0), ("regular", 1)],
        "the total moved with it"
    );
}

/// The bodies of the corpus, in order of name.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut bodies: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    bodies.sort();
    bodies
}

#[test]
fn charges_follow_the_words_of_every_era() {
    type Expected = &'static [(&'static str, &'static str, bool)];
    let cases: &[(&str, Expected)] = &[
        ("status.delivered.legacy_nbp.json", &[("unknown", "nbp", false)]),
        ("status.delivered.cbp.json", &[("utility", "cbp", true)]),
        ("status.sent.cbp_straddles_pmp.json", &[]),
        ("status.delivered.pmp_v23.json", &[("marketing", "regular", true)]),
        ("status.delivered.pmp_v24.json", &[("utility", "regular", true)]),
        ("status.delivered.no_billable.json", &[("utility", "regular", true)]),
        ("status.delivered.billable_string.json", &[("utility", "regular", true)]),
        ("status.delivered.pricing_type_key.json", &[("service", "free_customer_service", false)]),
        (
            "status.delivered.auth_international_hyphen.json",
            &[("authentication_international", "regular", true)],
        ),
        (
            "status.delivered.auth_international_underscore.json",
            &[("authentication_international", "regular", true)],
        ),
        (
            "status.delivered.free_utility_in_window.json",
            &[("utility", "free_customer_service", false)],
        ),
        ("status.delivered.service_billed_2026_10.json", &[("service", "regular", true)]),
        ("status.delivered.general_purpose_ai.json", &[("general_purpose_ai", "regular", true)]),
        (
            "status.delivered.free_group_customer_service.json",
            &[("group_service", "free_group_customer_service", false)],
        ),
        ("status.delivered.unknown_category.json", &[("hologram", "promo_credit", false)]),
        ("status.group.delivered_aggregated.json", &[("group_utility", "pmp", true); 3]),
        ("status.group.sent.json", &[]),
        ("status.sent.fep.json", &[]),
        ("status.sent.pmp_v24.json", &[]),
        ("status.failed.with_pricing.json", &[]),
        ("status.read.pmp_v24_with_pricing.json", &[("marketing", "regular", true)]),
        ("status.read.pmp_v24_no_pricing.json", &[]),
        ("status.dup.identical_twice.json", &[("utility", "regular", true)]),
        ("status.dup.same_key_pricing_arrives_later.json", &[("utility", "regular", true)]),
        ("status.dup.conflicting_same_status.json", &[("utility", "regular", true)]),
        ("status.failed.then_delivered.json", &[("utility", "regular", true)]),
    ];
    let corpus: std::collections::BTreeMap<_, _> = corpus().into_iter().collect();
    for (name, expected) in cases {
        let mut folded = Folded::default();
        // Some are of 2021, long forgotten by the built-in rules.
        apply(&mut folded, |document| document["retention"] = json!("3650d"));
        folded.webhook(&corpus[*name]);
        let charges = folded.values(Topic::Charge);
        let told: Vec<_> = charges
            .iter()
            .map(|charge| {
                let text = |name: &str| charge[name].as_str().unwrap();
                (text("category"), text("pricing_type"), charge["billable"].as_bool().unwrap())
            })
            .collect();
        assert_eq!(told, *expected, "{name}");
        let conflicting = charges.iter().any(|charge| charge["conflicting"] == true);
        assert_eq!(conflicting, *name == "status.dup.conflicting_same_status.json", "{name}");
    }
}

#[test]
fn folding_everything_twice_charges_and_acts_once() {
    let corpus = corpus();
    let mut folded = Folded::default();
    for (_, body) in &corpus {
        folded.webhook(body);
    }
    let once = reactions(&folded.outputs).len();
    assert!(once > 90, "{once}");
    for (name, body) in &corpus {
        let outputs = folded.webhook(body);
        assert!(reactions(&outputs).is_empty(), "{name}: {:?}", reactions(&outputs));
    }
    let mut ids: Vec<_> = folded.values(Topic::Action);
    ids.iter_mut().for_each(|action| *action = action["action_id"].take());
    let distinct: std::collections::BTreeSet<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), ids.len(), "each id once");
}

#[test]
fn a_customers_choice_goes_where_the_rules_say_once_and_only_live() {
    let rules = |document: &mut Value| {
        document["inbound"] = json!([
            {"when": {"button_payload": "STOP"}, "then": {"do": "suppress_recipient", "category": "marketing"}},
            {"when": {"list_id": "row-2"}, "then": {"do": "route", "queue": "billing"}},
            {"when": {"button_text": "Talk to us"}, "then": {"do": "route", "queue": "sales"}},
            {"when": {"keyword": "help"}, "then": {"do": "route", "queue": "support"}},
        ]);
    };
    let mut folded = Folded::default();
    folded.webhook(&inbound("wamid.0", 1, r#""type":"text","text":{"body":"help"}"#));
    assert!(actions(&folded.outputs).is_empty(), "the built-in rules route nothing");
    apply(&mut folded, rules);
    let cases = [
        (r#""type":"button","button":{"payload":"STOP","text":"Stop promotions"}"#, "marketing"),
        (
            r#""type":"interactive","interactive":{"type":"list_reply","list_reply":{"id":"row-2","title":"Bills"}}"#,
            "billing",
        ),
        (
            r#""type":"interactive","interactive":{"type":"button_reply","button_reply":{"id":"x","title":"talk to us"}}"#,
            "sales",
        ),
        (r#""type":"text","text":{"body":" HELP "}"#, "support"),
        (r#""type":"text","text":{"body":"help me"}"#, ""),
        // What an image says under it is no choice.
        (r#""type":"image","image":{"id":"1","caption":"help"}"#, ""),
    ];
    for (n, (content, expected)) in cases.into_iter().enumerate() {
        let body = inbound(&format!("wamid.c{n}"), 2, content);
        let outputs = folded.webhook(&body);
        let told = values(&outputs, Topic::Action);
        let word = |action: &Value| {
            let word = action.get("queue").or_else(|| action.get("category"));
            word.unwrap().as_str().unwrap().to_owned()
        };
        assert_eq!(told.iter().map(word).collect::<Vec<_>>().join(","), expected, "{content}");
        assert!(told.iter().all(|action| action["party"] == "447700900123"), "{told:?}");
        assert!(actions(&folded.webhook(&body)).is_empty(), "once");
    }
    let live = String::from_utf8(inbound("wamid.h", 2, HELP)).unwrap();
    let standby = live.replace(r#""field":"messages""#, r#""field":"standby""#);
    let standby = standby.replace(r#""messages":["#, r#""standby":{"messages":["#);
    let outputs = folded.webhook(standby.replace("]}}]}]}", "]}}}]}]}").as_bytes());
    assert_eq!(values(&outputs, Topic::Event)[0]["origin"], "standby");
    assert!(actions(&outputs).is_empty(), "another owner answers");
}

/// A message that the rules of the test above route.
const HELP: &str = r#""type":"text","text":{"body":"help"}"#;

#[test]
fn the_label_of_an_intent_counts_its_retries_and_then_it_falls_back() {
    let failure = |wamid: &str| {
        let rest = r#","errors":[{"code":131000}],"biz_opaque_callback_data":"intent=order-7;template=order_update""#;
        body(wamid, "failed", 2, rest)
    };
    let mut folded = Folded::default();
    for n in 1..=5 {
        folded.webhook(&failure(&format!("wamid.{n}")));
    }
    assert_eq!(actions(&folded.outputs), ["resend", "resend", "resend", "sms_fallback"]);
    let told = folded.values(Topic::Action);
    let attempts: Vec<_> = told.iter().map(|action| action["attempt"].as_u64()).collect();
    assert_eq!(attempts, [Some(1), Some(2), Some(3), None]);
    assert_eq!(told[0]["subject"], "intent:215589900000101/order-7");
    assert_eq!(told[0]["template"], "order_update");
}

#[test]
fn an_error_of_a_value_acts_on_what_is_wider_than_a_message() {
    let error = |code: i64| messages(&format!(r#""errors":[{{"code":{code},"title":"t"}}]"#));
    let mut folded = Folded::default();
    let outputs = folded.webhook(&error(131_035));
    assert_eq!((actions(&outputs).len(), kinds(&outputs, Topic::Alert).len()), (0, 1));
    assert!(reactions(&folded.webhook(&error(131_035))).is_empty(), "told within the hour");
    assert_eq!(actions(&folded.webhook(&error(130_429))), ["back_off"]);
    assert!(actions(&folded.webhook(&error(131_026))).is_empty(), "of which message?");
}

#[test]
fn what_is_told_of_the_past_asks_for_nothing() {
    for (name, body) in corpus().iter().filter(|(name, _)| name.starts_with("history.")) {
        let mut folded = Folded::default();
        folded.webhook(body);
        pass(&mut folded, HOUR_MS);
        assert!(reactions(&folded.outputs).is_empty(), "{name}");
    }
}

/// A status of a message of an intent.
fn of_intent(wamid: &str, word: &str, after_s: i64, rest: &str) -> Vec<u8> {
    let label = r#","biz_opaque_callback_data":"intent=login-7""#;
    body(wamid, word, after_s, &format!("{rest}{label}"))
}

#[test]
fn an_intent_that_was_reached_asks_for_nothing_more_whichever_message_reached_it() {
    let priced = price("authentication", "regular");
    let code = |code: i64| format!(r#","errors":[{{"code":{code}}}]"#);
    let mut folded = Folded::default();
    folded.webhook(&of_intent("wamid.1", "sent", 60, &priced));
    folded.webhook(&of_intent("wamid.2", "sent", 90, &priced));
    folded.webhook(&of_intent("wamid.2", "delivered", 91, &priced));
    assert_eq!(actions(&pass(&mut folded, HOUR_MS)), [""; 0], "of its deadline");
    for failure in [131_026, 131_000] {
        let outputs = folded.webhook(&of_intent("wamid.3", "failed", 95, &code(failure)));
        assert_eq!(actions(&outputs), [""; 0], "{failure}");
    }

    // The label comes behind the delivery.
    let mut folded = Folded::default();
    folded.webhook(&delivered("wamid.2", 91, "authentication"));
    folded.webhook(&of_intent("wamid.2", "sent", 90, &priced));
    let outputs = folded.webhook(&of_intent("wamid.3", "failed", 95, &code(131_026)));
    assert_eq!(actions(&outputs), [""; 0]);

    let mut folded = Folded::default();
    folded.webhook(&delivered("wamid.2", 91, "authentication"));
    let outputs = folded.webhook(&of_intent("wamid.3", "failed", 95, &code(131_026)));
    assert_eq!(actions(&outputs), ["sms_fallback"], "the control");
}

#[test]
fn a_fallback_of_before_the_intent_was_known_is_taken_back_and_not_asked_for_again() {
    let priced = price("authentication", "regular");
    let undeliverable = r#","errors":[{"code":131026}]"#;
    let failure = || failed("wamid.L", 61, 131_026);
    let taken_back = |outputs: &[Output], fallback: &[Output]| {
        assert_eq!(actions(fallback), ["sms_fallback"]);
        assert_eq!(actions(outputs), ["fallback_superseded"]);
        let fallback = &values(fallback, Topic::Action)[0]["action_id"];
        assert_eq!(values(outputs, Topic::Action)[0]["supersedes"], *fallback);
    };
    // The delivery brings the label.
    let mut folded = Folded::default();
    let fallback = folded.webhook(&failure());
    let outputs = folded.webhook(&of_intent("wamid.L", "delivered", 62, &priced));
    taken_back(&outputs, &fallback);
    let outputs = folded.webhook(&of_intent("wamid.L", "read", 63, &priced));
    assert_eq!(actions(&outputs), [""; 0], "once");

    // The label brings the message to an intent that was reached.
    let mut folded = Folded::default();
    folded.webhook(&of_intent("wamid.M", "delivered", 60, &priced));
    let fallback = folded.webhook(&failure());
    let outputs = folded.webhook(&of_intent("wamid.L", "sent", 60, &priced));
    taken_back(&outputs, &fallback);

    // A second code with the label asks for no second fallback.
    let mut folded = Folded::default();
    folded.webhook(&failure());
    let again = undeliverable.replace("131026", "130472");
    assert_eq!(actions(&folded.webhook(&of_intent("wamid.L", "failed", 61, &again))), [""; 0]);

    // What both it and another message of the intent asked for is taken back.
    let mut folded = Folded::default();
    folded.webhook(&failure());
    folded.webhook(&of_intent("wamid.M", "failed", 60, undeliverable));
    assert_eq!(actions(&folded.outputs), ["sms_fallback"; 2]);
    let outputs = folded.webhook(&of_intent("wamid.L", "delivered", 62, &priced));
    assert_eq!(actions(&outputs), ["fallback_superseded"; 2]);
}

#[test]
fn each_member_of_a_group_has_a_fallback_of_its_own_under_an_intent() {
    let of = |participant: &str, word: &str, rest: &str| {
        let rest = format!(
            r#","recipient_type":"group","recipient_participant_id":"{participant}"{rest}"#
        );
        of_intent("wamid.group", word, 1, &rest)
    };
    let undeliverable = r#","errors":[{"code":131026}]"#;
    let mut folded = Folded::default();
    folded.webhook(&of("4915100000003", "delivered", ""));
    for participant in ["4915100000001", "4915100000002"] {
        let outputs = folded.webhook(&of(participant, "failed", undeliverable));
        assert_eq!(actions(&outputs), ["sms_fallback"], "{participant}");
        let told = &values(&outputs, Topic::Action)[0];
        assert_eq!(told["participant"], participant);
    }
    let first = folded.values(Topic::Action)[0]["action_id"].clone();
    let outputs = folded.webhook(&of("4915100000001", "delivered", ""));
    assert_eq!(actions(&outputs), ["fallback_superseded"]);
    assert_eq!(values(&outputs, Topic::Action)[0]["supersedes"], first);
}

#[test]
fn a_code_that_another_status_named_first_is_judged_when_the_message_fails() {
    let errors = r#","errors":[{"code":131026}]"#;
    let bodies = [body("wamid.W", "sent", 1, errors), failed("wamid.W", 2, 131_026)];
    for order in support::permutations(&bodies) {
        let mut folded = Folded::default();
        order.iter().chain(&order).for_each(|body| drop(folded.webhook(body)));
        assert_eq!(actions(&folded.outputs), ["sms_fallback"]);
        assert_eq!(folded.values(Topic::Action)[0]["error_code"], 131_026);
        assert_eq!(kinds(&folded.outputs, Topic::Alert), [""; 0]);
    }
    let mut folded = Folded::default();
    assert_eq!(actions(&folded.webhook(&bodies[0])), [""; 0], "it did not fail");
}

#[test]
fn a_failure_is_judged_by_its_category_in_whatever_order_the_two_are_told() {
    // Code, category, whether another channel is asked for in the end.
    let cases = [
        (131_049, "authentication", true),
        (131_049, "marketing", false),
        (131_026, "utility", true),
        (131_026, "marketing", false),
    ];
    for (code, category, falls_back) in cases {
        let bodies = [sent("wamid.K", 1, category), failed("wamid.K", 2, code)];
        for order in support::permutations(&bodies) {
            let mut folded = Folded::default();
            order.iter().chain(&order).for_each(|body| drop(folded.webhook(body)));
            let told = actions(&folded.outputs);
            let count = |kind: &str| told.iter().filter(|told| *told == kind).count();
            let open = count("sms_fallback") - count("fallback_superseded");
            assert_eq!(open, usize::from(falls_back), "{code} {category}: {told:?}");
            assert!(count("sms_fallback") < 2 && count("back_off") < 2, "{told:?}");
        }
    }
    // An alert is not told again either, hours later.
    let mut folded = Folded::default();
    folded.webhook(&failed("wamid.K", 2, 131_042));
    folded.advance(3 * HOUR_MS).webhook(&sent("wamid.K", 1, "utility"));
    assert_eq!(actions(&folded.outputs), ["halt_account"]);
    assert_eq!(kinds(&folded.outputs, Topic::Alert), ["error_code"]);
}

#[test]
fn an_opt_out_of_before_the_customer_resumed_suppresses_nobody() {
    let resumed = |whom: &str| {
        let time = NOON + 30;
        let preference = format!(
            r#""user_preferences":[{{{whom},"category":"marketing_messages","value":"resume","timestamp":{time}}}]"#
        );
        support::change("user_preferences", &preference)
    };
    let told = |bodies: &[Vec<u8>]| {
        let mut folded = Folded::default();
        bodies.iter().for_each(|body| drop(folded.webhook(body)));
        actions(&folded.outputs)
    };
    let stopped = |after_s| failed("wamid.O", after_s, 131_050);
    for whom in [r#""wa_id":"447700900123""#, r#""wa_id":"447700900123","user_id":"GB.1""#] {
        assert_eq!(told(&[resumed(whom), stopped(20)]), [""; 0], "{whom}");
        assert_eq!(told(&[resumed(whom), stopped(30)]), ["suppress_recipient"], "a stop counts");
        assert_eq!(told(&[resumed(whom), stopped(40)]), ["suppress_recipient"]);
    }
    let other = r#""wa_id":"447700900124""#;
    assert_eq!(told(&[resumed(other), stopped(20)]), ["suppress_recipient"], "somebody else");
}

fn management(field: &str, value: &str) -> Vec<u8> {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","time":{NOON},"changes":[{{"field":"{field}","value":{value}}}]}}]}}"#
    )
    .into_bytes()
}

#[test]
fn a_template_that_is_paused_halts_and_alerts_once_and_its_approval_does_not() {
    let event = |event: &str| {
        let value = format!(
            r#"{{"event":"{event}","message_template_id":9,"message_template_name":"otp","message_template_language":"en_US"}}"#
        );
        management("message_template_status_update", &value)
    };
    let mut folded = Folded::default();
    assert!(reactions(&folded.webhook(&event("APPROVED"))).is_empty());
    let outputs = folded.webhook(&event("PAUSED"));
    assert_eq!(actions(&outputs), ["halt_template"]);
    assert_eq!(values(&outputs, Topic::Action)[0]["subject"], "215589900000101/9");
    assert_eq!(values(&outputs, Topic::Alert)[0]["reason"], "PAUSED");
    assert!(reactions(&folded.webhook(&event("PAUSED"))).is_empty());
    assert_eq!(values(&outputs, Topic::Alert)[0]["severity"], "critical");
    let mut folded = Folded::default();
    let outputs = folded.webhook(&event("REJECTED"));
    assert_eq!((actions(&outputs).len(), kinds(&outputs, Topic::Alert).len()), (0, 1));
}

#[test]
fn an_account_that_may_not_send_halts_and_one_that_is_back_does_not() {
    let ban = |state: &str| {
        let value =
            format!(r#"{{"event":"DISABLED_UPDATE","ban_info":{{"waba_ban_state":"{state}"}}}}"#);
        management("account_update", &value)
    };
    let follow = |body: &[u8]| {
        let outputs = Folded::default().webhook(body);
        (actions(&outputs).join(","), kinds(&outputs, Topic::Alert).join(","))
    };
    let both = |action: &str, alert: &str| (action.to_owned(), alert.to_owned());
    assert_eq!(follow(&ban("DISABLE")), both("halt_account", "account_state"));
    assert_eq!(follow(&ban("SCHEDULE_FOR_DISABLE")), both("", "account_state"));
    assert_eq!(follow(&ban("REINSTATE")), both("", ""));
    let restricted = |kind: &str| {
        management(
            "account_update",
            &format!(
                r#"{{"event":"ACCOUNT_RESTRICTION","restriction_info":[{{"restriction_type":"{kind}"}}]}}"#
            ),
        )
    };
    assert_eq!(
        follow(&restricted("RESTRICTED_BIZ_INITIATED_MESSAGING")),
        both("halt_account", "account_state")
    );
    assert_eq!(
        follow(&restricted("RESTRICTED_ADD_PHONE_NUMBER_ACTION")),
        both("", "account_state")
    );
}

#[test]
fn rules_hold_from_their_position_on() {
    let mut folded = Folded::default();
    assert_eq!(actions(&folded.webhook(&failed("wamid.1", 1, 131_026))), ["sms_fallback"]);
    apply(&mut folded, |document| document["codes"][0]["actions"] = json!([{"do": "alert"}]));
    let outputs = folded.webhook(&failed("wamid.2", 1, 131_026));
    assert_eq!(
        (actions(&outputs), kinds(&outputs, Topic::Alert)),
        (vec![], vec!["error_code".to_owned()])
    );
    assert_eq!(values(&outputs, Topic::Alert)[0]["rules_version"], 2);
    assert_eq!(folded.overlay.head.unwrap().rules_version, 2);
}

#[test]
fn rules_that_are_not_newer_or_not_valid_change_nothing_and_are_dead_letters() {
    let mut folded = Folded::default();
    let outputs = apply(&mut folded, |document| document["version"] = json!(1));
    assert_eq!(values(&outputs, Topic::DeadLetter)[0]["reason"], "rules_version_not_above");
    let outputs = apply(&mut folded, |document| document["retention"] = json!("1d"));
    let letter = &values(&outputs, Topic::DeadLetter)[0];
    assert_eq!(
        (&letter["reason"], &letter["path"]),
        (&json!("rules_invalid"), &json!("$.retention"))
    );
    let outputs = folded.record(&raw::rules_headers(1), None);
    assert_eq!(values(&outputs, Topic::DeadLetter)[0]["path"], "$");
    assert_eq!(folded.overlay.head.unwrap().rules_version, 1);
    assert!(apply(&mut folded, |_| {}).is_empty());
    let outputs = apply(&mut folded, |_| {});
    assert_eq!(values(&outputs, Topic::DeadLetter).len(), 1, "the same version again");
    assert_eq!(actions(&folded.webhook(&failed("wamid.1", 1, 131_026))), ["sms_fallback"]);
}

#[test]
fn windows_are_told_to_be_closing_when_the_rules_say() {
    let told = |before: Value| {
        let mut folded = Folded::default();
        apply(&mut folded, |document| document["window_closing_before"] = before);
        folded.webhook(&inbound("wamid.w", 0, HELP));
        let from = folded.outputs.len();
        for _ in 0..=24 * 4 {
            folded.advance(15 * MINUTE_MS).tick();
        }
        let told = values(&folded.outputs[from..], Topic::Transition).into_iter();
        told.map(|one| format!("{} {}", one["to"], one["event_time"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let closed = "window_closed 2026-11-21T00:00:00.000Z";
    assert_eq!(told(json!("2h")), ["window_closing 2026-11-20T22:00:00.000Z", closed]);
    assert_eq!(told(json!("15m")), ["window_closing 2026-11-20T23:45:00.000Z", closed]);
    assert_eq!(told(Value::Null), [closed]);
}

#[test]
fn the_retention_of_the_rules_decides_what_expires() {
    let mut folded = Folded::default();
    apply(&mut folded, |document| document["retention"] = json!("8d"));
    folded.webhook(&sent("wamid.short", 1, "utility"));
    folded.advance(8 * DAY_MS);
    let outputs = folded.tick();
    let gone = outputs.iter().find(|output| output.topic == Topic::MessageState).unwrap();
    assert_eq!((gone.key.as_str(), &gone.value), ("wamid.short", &None));
}

/// Everything of the catalogue, and then half a year in which nothing comes.
#[test]
fn after_the_retention_nothing_of_messages_and_users_doings_is_left() {
    let mut folded = Folded::default();
    corpus().iter().for_each(|(_, body)| drop(folded.webhook(body)));
    let kept = |folded: &Folded| {
        let overlay = &folded.overlay;
        [
            overlay.messages.changes().filter(|(_, change)| change.after.is_some()).count(),
            overlay.conversations.changes().filter(|(_, change)| change.after.is_some()).count(),
            overlay.calls.changes().filter(|(_, change)| change.after.is_some()).count(),
            overlay.payments.changes().filter(|(_, change)| change.after.is_some()).count(),
            overlay.naturals.changes().filter(|(_, change)| change.after.is_some()).count(),
        ]
    };
    assert!(kept(&folded).iter().all(|count| *count > 2), "{:?}", kept(&folded));
    (0..40).for_each(|_| drop(folded.advance(5 * DAY_MS).tick()));
    assert_eq!(kept(&folded), [0; 5]);
    let table = |key: &String| key.starts_with("message.") || key.starts_with("conversation.");
    assert_eq!(folded.rows().into_keys().find(table), None, "no row is left either");
    // What was told of accounts meanwhile is forgotten in its turn.
    let forgotten = Timestamp::from_millis((NOON + 60) * 1_000 + (200 - 95) * DAY_MS);
    let decided = folded.overlay.decided.changes().filter_map(|(_, change)| change.after);
    assert!(decided.into_iter().all(|one| one.decided > forgotten));
    let armed = folded.overlay.timers.iter().filter(|(_, armed)| **armed).map(|(timer, _)| timer);
    let of_messages: Vec<_> = armed
        .filter(|timer| {
            use tickfold_core::state::TimerKind::{
                AccountDue, ForgetDecided, SilenceDue, TemplateDue,
            };
            !matches!(timer.kind, AccountDue(_) | ForgetDecided(_) | SilenceDue(_) | TemplateDue(_))
        })
        .collect();
    assert!(of_messages.is_empty(), "{of_messages:?}");
}

/// Append time in milliseconds, headers, value.
type StoryRecord = (i64, Vec<(&'static str, String)>, Vec<u8>);

/// A story with rules that change in the middle, an outage, deadlines and corrections.
fn story() -> Vec<StoryRecord> {
    let mut records = Vec::new();
    let mut now_ms = (NOON + 60) * 1_000;
    let webhook = |body: Vec<u8>| {
        let headers = raw::WebhookHeaders {
            signature: format!("sha256={}", "0".repeat(64)),
            received_time: Timestamp::from_millis((NOON + 60) * 1_000),
            app: "main".into(),
            secret_id: "s1".into(),
            request_id: "r".into(),
            partition_count: 1,
        };
        (headers.encode(), body)
    };
    let mut add = |after_ms: i64, (headers, body): (Vec<_>, Vec<u8>)| {
        now_ms += after_ms;
        records.push((now_ms, headers, body));
    };
    let mut rules: Value = serde_json::from_slice(&Rules::built_in().canonical()).unwrap();
    rules["version"] = json!(2);
    rules["deadlines"][0]["ttl"] = json!("1m");
    let tick = || (raw::tick_headers(1), Vec::new());
    for n in 0..4 {
        add(1_000, webhook(sent(&format!("wamid.{n}"), 60, "authentication")));
        add(1_000, webhook(failed(&format!("wamid.f{n}"), 60, [131_026, 131_000, 131_042, 7][n])));
    }
    add(0, (raw::rules_headers(1), rules.to_string().into_bytes()));
    add(1_000, webhook(sent("wamid.new", 70, "authentication")));
    (0..30).for_each(|_| add(5_000, tick()));
    add(0, webhook(delivered("wamid.new", 71, "authentication")));
    add(20 * MINUTE_MS, tick());
    add(1_000, webhook(delivered("wamid.0", 72, "authentication")));
    add(1_000, webhook(body("wamid.0", "read", 73, &price("utility", "regular"))));
    (0..60).for_each(|_| add(5_000, tick()));
    records
}

/// Folds the story in overlays that end where it is told, each written into the ones below it.
fn folded_with_cuts(cuts: &[usize]) -> Vec<Output> {
    let partition = Partition { id: 0, count: 1 };
    let (mut below, mut overlay, mut outputs) =
        (Overlay::default(), Overlay::default(), Vec::new());
    for (at, (now_ms, headers, body)) in story().into_iter().enumerate() {
        if cuts.contains(&at) {
            below = overlay;
            overlay = Overlay::default();
        }
        let record = RawRecord {
            offset: at as u64,
            appended: Timestamp::from_millis(now_ms),
            headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
            value: Some(&body),
        };
        let lower = Layered { upper: &below, lower: &Nothing };
        outputs.extend(fold(&mut overlay, &lower, partition, &record).unwrap());
    }
    outputs
}

#[test]
fn a_replay_over_a_change_of_rules_gives_the_same_bytes() {
    let golden = folded_with_cuts(&[]);
    let told = actions(&golden);
    let (first, rest) = told.split_at(5);
    assert_eq!(
        first,
        ["sms_fallback", "resend", "halt_account", "sms_fallback", "fallback_superseded"]
    );
    assert_eq!(rest, ["fallback_expired"; 3], "of the four before the outage one was delivered");
    let length = story().len();
    assert!(length > 100);
    for cut in 0..length {
        assert!(folded_with_cuts(&[cut]) == golden, "cut at {cut}");
    }
}
