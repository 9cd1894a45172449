//! Templates, numbers and accounts: what their webhooks make known, what halts and resumes, and what
//! time alone changes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::{Folded, NOON, change, status_body, values};
use tickfold_core::fold::Output;
use tickfold_core::records::Topic;
use tickfold_core::state::{TOLD_MAX, ToldEntry};
use tickfold_core::time::{DAY_MS, HOUR_MS, SECOND_MS, Timestamp};

const WABA: &str = "215589900000101";
const NUMBER: &str = "318840000000202";

/// A body of a management field, so many seconds after noon.
fn told(field: &str, after_s: i64, value: &str) -> Vec<u8> {
    let time = NOON + after_s;
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{WABA}","time":{time},"changes":[{{"field":"{field}","value":{{{value}}}}}]}}]}}"#
    )
    .into_bytes()
}

fn template(after_s: i64, rest: &str) -> Vec<u8> {
    let value = format!(
        r#""message_template_id":9,"message_template_name":"otp","message_template_language":"en_US",{rest}"#
    );
    told("message_template_status_update", after_s, &value)
}

fn event(after_s: i64, event: &str) -> Vec<u8> {
    template(after_s, &format!(r#""event":"{event}""#))
}

fn account(after_s: i64, value: &str) -> Vec<u8> {
    told("account_update", after_s, value)
}

fn restriction(after_s: i64, rest: &str) -> Vec<u8> {
    account(after_s, &format!(r#""event":"ACCOUNT_RESTRICTION",{rest}"#))
}

fn kinds(outputs: &[Output], topic: Topic) -> Vec<String> {
    let kind = |value: &Value| value["kind"].as_str().unwrap().to_owned();
    values(outputs, topic).iter().map(kind).collect()
}

fn actions(outputs: &[Output]) -> Vec<String> {
    kinds(outputs, Topic::Action)
}

fn alerts(outputs: &[Output]) -> Vec<String> {
    let said = |alert: &Value| {
        let reason = alert["reason"].as_str().unwrap_or("-");
        format!(
            "{} {reason} {}",
            alert["kind"].as_str().unwrap(),
            alert["severity"].as_str().unwrap()
        )
    };
    values(outputs, Topic::Alert).iter().map(said).collect()
}

fn row(folded: &Folded, key: &str) -> Value {
    folded.rows().get(key).unwrap_or(&Value::Null).clone()
}

fn template_row(folded: &Folded) -> Value {
    row(folded, &format!("template.state.v1 {WABA}/9/en_US"))
}

/// What an account's restriction does to messages.
const NO_MESSAGES: &str = "RESTRICTED_BIZ_INITIATED_MESSAGING";

#[test]
fn a_pause_halts_at_once_and_its_reinstatement_resumes() {
    let mut folded = Folded::default();
    folded.webhook(&event(0, "APPROVED"));
    let outputs = folded.webhook(&event(10, "PAUSED"));
    assert_eq!(actions(&outputs), ["halt_template"]);
    assert_eq!(alerts(&outputs), ["template_status PAUSED critical"]);
    let halt = values(&outputs, Topic::Action).remove(0);
    assert_eq!((&halt["template"], &halt["template_name"]), (&json!("9"), &json!("otp")));
    assert!(folded.webhook(&event(10, "PAUSED")).is_empty(), "once");
    let outputs = folded.webhook(&event(20, "REINSTATED"));
    assert_eq!(actions(&outputs), ["resume_template"]);
    assert_eq!(values(&outputs, Topic::Action)[0]["supersedes"], halt["action_id"]);
    assert!(alerts(&outputs).is_empty());
    let outputs = folded.webhook(&event(15, "APPROVED"));
    assert!(actions(&outputs).is_empty(), "a late approval resumes nothing again");
}

#[test]
fn a_first_pause_ends_after_three_hours_without_a_webhook() {
    for (title, hours) in [("FIRST_PAUSE", 3), ("SECOND_PAUSE", 6)] {
        let mut folded = Folded::default();
        folded.webhook(&event(0, "APPROVED"));
        let pause = format!(r#""event":"PAUSED","other_info":{{"title":"{title}"}}"#);
        assert_eq!(actions(&folded.webhook(&template(60, &pause))), ["halt_template"]);
        assert_eq!(template_row(&folded)["status"], "PAUSED");
        let end = format!("2026-11-20T0{hours}:01:00.000Z");
        assert_eq!(template_row(&folded)["pause_end_time"], end);
        // Log time is a minute past noon, as the pause is.
        let before = folded.advance(hours * HOUR_MS - SECOND_MS).tick();
        assert!(before.is_empty(), "{before:?}");
        let outputs = folded.advance(SECOND_MS).tick();
        assert_eq!(actions(&outputs), ["resume_template"], "{title}");
        let transition = values(&outputs, Topic::Transition).remove(0);
        assert_eq!(
            (&transition["from"], &transition["to"], &transition["state"]),
            (&json!("PAUSED"), &json!("pause_ended"), &json!("APPROVED"))
        );
        assert_eq!(template_row(&folded)["status"], "APPROVED");
        let late = folded.webhook(&event(hours * 3_600 + 120, "APPROVED"));
        assert!(actions(&late).is_empty(), "the webhook that comes after all resumes nothing more");
    }
}

#[test]
fn a_pause_of_pacing_has_to_be_ended_by_hand() {
    let mut folded = Folded::default();
    folded
        .webhook(&template(0, r#""event":"PAUSED","other_info":{"title":"RATE_LIMITING_PAUSE"}"#));
    let outputs = folded.advance(3 * DAY_MS).tick();
    assert!(actions(&outputs).is_empty());
    assert_eq!(template_row(&folded)["status"], "PAUSED");
    let unpaused = r#""event":"APPROVED","other_info":{"title":"UNPAUSE"}"#;
    assert_eq!(actions(&folded.webhook(&template(3 * 86_400, unpaused))), ["resume_template"]);
}

#[test]
fn a_disabled_template_resumes_only_by_what_is_later() {
    let mut folded = Folded::default();
    assert_eq!(actions(&folded.webhook(&event(10, "DISABLED"))), ["halt_template"]);
    assert!(actions(&folded.webhook(&event(5, "APPROVED"))).is_empty());
    assert_eq!(template_row(&folded)["status"], "DISABLED");
    assert_eq!(actions(&folded.webhook(&event(20, "APPROVED"))), ["resume_template"]);
}

#[test]
fn a_halted_template_goes_on_by_nothing_but_what_allows_it() {
    let pacing = r#""event":"PAUSED","other_info":{"title":"RATE_LIMITING_PAUSE"}"#;
    for word in [
        "PENDING",
        "IN_APPEAL",
        "REJECTED",
        "LIMIT_EXCEEDED",
        "LOCKED",
        "ARCHIVED",
        "FLAGGED",
        "PENDING_DELETION",
        "DELETED",
    ] {
        let mut folded = Folded::default();
        assert_eq!(actions(&folded.webhook(&template(0, pacing))), ["halt_template"]);
        assert_eq!(actions(&folded.webhook(&event(60, word))), [""; 0], "{word}");
        assert_eq!(template_row(&folded)["status"], word);
        let allowed = folded.webhook(&event(120, "APPROVED"));
        assert_eq!(actions(&allowed), ["resume_template"], "{word}");
    }
    let mut folded = Folded::default();
    folded.webhook(&event(0, "DISABLED"));
    assert_eq!(actions(&folded.webhook(&event(60, "DELETED"))), [""; 0]);

    // It was flagged before, and is so after the pause.
    let mut folded = Folded::default();
    folded.webhook(&event(0, "FLAGGED"));
    let first = r#""event":"PAUSED","other_info":{"title":"FIRST_PAUSE"}"#;
    assert_eq!(actions(&folded.webhook(&template(60, first))), ["halt_template"]);
    assert_eq!(actions(&folded.advance(3 * HOUR_MS).tick()), ["resume_template"]);
    assert_eq!(template_row(&folded)["status"], "FLAGGED");

    // It is flagged meanwhile: shown so before and after the end of the pause.
    let mut folded = Folded::default();
    folded.webhook(&template(0, first));
    assert_eq!(actions(&folded.webhook(&event(60, "FLAGGED"))), [""; 0]);
    let outputs = folded.advance(3 * HOUR_MS).tick();
    assert_eq!(actions(&outputs), ["resume_template"]);
    assert!(values(&outputs, Topic::Transition).is_empty(), "{outputs:?}");
    assert!(folded.webhook(&event(60, "FLAGGED")).is_empty(), "once");
}

#[test]
fn a_pause_that_gets_another_end_is_told_anew() {
    let mut folded = Folded::default();
    let pause = |after_s, title: &str| {
        template(after_s, &format!(r#""event":"PAUSED","other_info":{{"title":"{title}"}}"#))
    };
    let outputs = folded.webhook(&pause(0, "FIRST_PAUSE"));
    assert_eq!(values(&outputs, Topic::Action)[0]["not_after"], "2026-11-20T03:00:00.000Z");
    let outputs = folded.webhook(&pause(60, "RATE_LIMITING_PAUSE"));
    let halt = values(&outputs, Topic::Action).remove(0);
    assert_eq!((&halt["kind"], halt.get("not_after")), (&json!("halt_template"), None));
    assert_eq!(alerts(&outputs), [""; 0], "it is paused as before");
    assert_eq!(actions(&folded.advance(4 * HOUR_MS).tick()), [""; 0]);
    let outputs = folded.webhook(&event(5 * 3_600, "APPROVED"));
    assert_eq!(values(&outputs, Topic::Action)[0]["supersedes"], halt["action_id"]);
}

#[test]
fn what_comes_behind_the_end_of_a_pause_does_not_hide_it() {
    let first = template(0, r#""event":"PAUSED","other_info":{"title":"FIRST_PAUSE"}"#);
    let late = event(-60, "APPROVED");
    for behind in [&first, &late] {
        let mut folded = Folded::default();
        folded.webhook(&first);
        let outputs = folded.advance(3 * HOUR_MS).webhook(behind);
        assert_eq!(actions(&outputs), ["resume_template"]);
        let ended = values(&outputs, Topic::Transition).remove(0);
        assert_eq!(
            (&ended["to"], &ended["event_time"]),
            (&json!("pause_ended"), &json!("2026-11-20T03:00:00.000Z"))
        );
        assert_eq!(template_row(&folded)["status"], "APPROVED");
        assert!(folded.tick().is_empty(), "the timer has nothing to add");
    }
}

/// Bodies folded in either order, and each twice: the row is the same.
fn shown_in_any_order(bodies: [&[u8]; 2], key: &str) -> Value {
    let [first, second] = [[0, 1], [1, 0]].map(|order| {
        let mut folded = Folded::default();
        order.iter().chain(&order).for_each(|index| drop(folded.webhook(bodies[*index])));
        let mut shown = row(&folded, key);
        // Where it was said last is of the journal.
        for name in ["event_id", "revision", "source_offset"] {
            shown[name].take();
        }
        shown
    });
    assert_eq!(first, second, "{key}");
    first
}

#[test]
fn of_equal_times_the_more_restrictive_counts_and_a_known_time_before_an_unknown_one() {
    let template_key = format!("template.state.v1 {WABA}/9/en_US");
    let template_of = |a: &[u8], b: &[u8]| shown_in_any_order([a, b], &template_key);
    let account_key = format!("account.state.v1 {WABA}");
    let account_of = |a: &[u8], b: &[u8]| shown_in_any_order([a, b], &account_key);
    let without_time = |body: Vec<u8>| {
        let text = String::from_utf8(body).unwrap();
        text.replace(&format!(r#","time":{}"#, NOON + 7), "").into_bytes()
    };
    for (one, other, shown) in [
        ("APPROVED", "PAUSED", "PAUSED"),
        ("APPROVED", "DISABLED", "DISABLED"),
        ("PAUSED", "REJECTED", "REJECTED"),
        ("REINSTATED", "DISABLED", "DISABLED"),
    ] {
        assert_eq!(template_of(&event(7, one), &event(7, other))["status"], shown, "{one} {other}");
        let untimed = without_time(event(7, other));
        assert_eq!(untimed.windows(6).filter(|part| *part == b"\"time\"").count(), 0);
        // Of unknown time it is before everything.
        let shown = template_of(&event(1, one), &untimed);
        assert_eq!(shown["status"], one, "{other} without a time");
    }
    let scores = |score: &str| template(7, &format!(r#""new_quality_score":"{score}""#));
    assert_eq!(template_of(&scores("GREEN"), &scores("RED"))["quality"], "RED");
    let green = without_time(scores("GREEN"));
    assert_eq!(template_of(&scores("RED"), &green)["quality"], "RED");
    let review =
        |decision: &str| told("account_review_update", 7, &format!(r#""decision":"{decision}""#));
    let shown = account_of(&review("APPROVED"), &review("REJECTED"));
    assert_eq!(shown["review_decision"], "REJECTED");
    let partner = |event: &str| account(7, &format!(r#""event":"{event}""#));
    let shown = account_of(&partner("PARTNER_ADDED"), &partner("PARTNER_REMOVED"));
    assert_eq!(shown["state"], "disconnected");
    let limit = |limit: &str| {
        told("business_capability_update", 7, &format!(r#""max_phone_numbers_per_waba":{limit}"#))
    };
    let shown = account_of(&limit("20"), &without_time(limit("25")));
    assert_eq!(shown["numbers_per_account_max"], 20);
}

#[test]
fn the_same_content_at_another_time_is_told_anew_and_at_the_same_time_once() {
    let quality = |after_s| template(after_s, r#""new_quality_score":"RED""#);
    let mut folded = Folded::default();
    assert_eq!(alerts(&folded.webhook(&quality(0))).len(), 1);
    assert!(folded.webhook(&quality(0)).is_empty(), "a retry");
    // Meta says it again: an event and a transition, and no second fall.
    let outputs = folded.webhook(&quality(5));
    assert_eq!(values(&outputs, Topic::Event).len(), 1);
    assert_eq!(values(&outputs, Topic::Transition).len(), 1);
    assert!(alerts(&outputs).is_empty(), "it fell once");
    let pause = |after_s| event(after_s, "PAUSED");
    assert_eq!(actions(&folded.webhook(&pause(10))), ["halt_template"]);
    let outputs = folded.webhook(&pause(20));
    assert_eq!(values(&outputs, Topic::Transition).len(), 1);
    assert!(actions(&outputs).is_empty() && alerts(&outputs).is_empty(), "it is halted already");
}

#[test]
fn quality_that_falls_is_told_once_and_by_how_bad_it_is() {
    let quality = |after_s, old: &str, new: &str| {
        template(
            after_s,
            &format!(r#""previous_quality_score":"{old}","new_quality_score":"{new}""#),
        )
    };
    let mut folded = Folded::default();
    assert!(alerts(&folded.webhook(&quality(0, "UNKNOWN", "GREEN"))).is_empty());
    let outputs = folded.webhook(&quality(5, "GREEN", "YELLOW"));
    assert_eq!(alerts(&outputs), ["template_quality YELLOW warning"]);
    let outputs = folded.webhook(&quality(9, "YELLOW", "RED"));
    assert_eq!(alerts(&outputs), ["template_quality RED critical"]);
    assert!(folded.webhook(&quality(9, "YELLOW", "RED")).is_empty());
    assert!(alerts(&folded.webhook(&quality(7, "GREEN", "YELLOW"))).is_empty(), "overtaken");
    assert!(alerts(&folded.webhook(&quality(20, "RED", "GREEN"))).is_empty());
    let shown = template_row(&folded);
    assert_eq!((&shown["quality"], &shown["status"]), (&json!("GREEN"), &json!("unknown")));
    assert_eq!(shown["name"], "otp");
}

#[test]
fn both_forms_of_a_category_change_say_what_they_mean() {
    let category = |after_s, rest: &str| {
        let value = format!(
            r#""message_template_id":9,"message_template_language":"en_US","new_category":"{rest}"#
        );
        told("template_category_update", after_s, &value)
    };
    let announced = category(
        0,
        &format!(
            r#"UTILITY","correct_category":"MARKETING","category_update_timestamp":{}"#,
            NOON + 86_400
        ),
    );
    let done = category(86_400, r#"MARKETING","previous_category":"UTILITY""#);
    for order in [[&announced, &done], [&done, &announced]] {
        let mut folded = Folded::default();
        folded.advance(DAY_MS);
        order.iter().for_each(|body| drop(folded.webhook(body)));
        let shown = template_row(&folded);
        assert_eq!((&shown["category"], shown.get("coming_category")), (&json!("MARKETING"), None));
    }
    let mut folded = Folded::default();
    let outputs = folded.webhook(&announced);
    assert_eq!(alerts(&outputs), ["template_category category_change_announced warning"]);
    let shown = template_row(&folded);
    assert_eq!(
        (&shown["category"], &shown["coming_category"], &shown["coming_category_time"]),
        (&json!("UTILITY"), &json!("MARKETING"), &json!("2026-11-21T00:00:00.000Z"))
    );
}

#[test]
fn a_restriction_halts_until_it_expires() {
    let mut folded = Folded::default();
    let restricted = restriction(
        0,
        &format!(
            r#""restriction_info":[{{"restriction_type":"{NO_MESSAGES}","expiration":{}}}]"#,
            NOON + 7_200
        ),
    );
    let outputs = folded.webhook(&restricted);
    assert_eq!(actions(&outputs), ["halt_account"]);
    assert_eq!(alerts(&outputs), ["account_state restricted critical"]);
    let key = format!("account.state.v1 {WABA}/restriction/{NO_MESSAGES}");
    assert_eq!(row(&folded, &key)["restriction_state"], "in_force");
    let outputs = folded.advance(2 * HOUR_MS).tick();
    assert_eq!(actions(&outputs), ["resume_account"]);
    let ended = &values(&outputs, Topic::Transition)[0];
    assert_eq!(ended["to"], "restriction_ended");
    assert_eq!(ended["event_time"], "2026-11-20T02:00:00.000Z", "when it was to end");
    assert_eq!(row(&folded, &key)["restriction_state"], "ended");
    assert_eq!(row(&folded, &format!("account.state.v1 {WABA}"))["state"], "active");
    assert!(folded.webhook(&restricted).is_empty(), "the retry of a week later");
}

fn imposed(kind: &str, end_s: Option<i64>) -> String {
    let end = end_s.map_or_else(String::new, |end| format!(r#","expiration":{}"#, NOON + end));
    format!(r#"{{"restriction_type":"RESTRICTED_{kind}"{end}}}"#)
}

#[test]
fn a_halt_ends_with_what_forbids_messages_and_is_told_anew_when_that_changes() {
    const DAY_S: i64 = 86_400;
    let messages = |end_s| imposed("BIZ_INITIATED_MESSAGING", end_s);
    let info = |after_s, infos: &[String]| {
        restriction(after_s, &format!(r#""restriction_info":[{}]"#, infos.join(",")))
    };
    let mut folded = Folded::default();
    let numbers = imposed("ADD_PHONE_NUMBER_ACTION", Some(3_600));
    let outputs = folded.webhook(&info(0, &[numbers, messages(Some(7 * DAY_S))]));
    assert_eq!(actions(&outputs), ["halt_account"]);
    let ends = |outputs: &[Output]| values(outputs, Topic::Action)[0].get("not_after").cloned();
    assert_eq!(ends(&outputs), Some(json!("2026-11-27T00:00:00.000Z")));
    assert_eq!(actions(&folded.advance(HOUR_MS).tick()), [""; 0], "the other one ended");

    let outputs = folded.webhook(&info(7_200, &[messages(Some(9 * DAY_S))]));
    assert_eq!(actions(&outputs), ["halt_account"]);
    assert_eq!(ends(&outputs), Some(json!("2026-11-29T00:00:00.000Z")));
    assert_eq!(alerts(&outputs), [""; 0], "the account is restricted as before");
    let endless = info(7_300, &[messages(None)]);
    let outputs = folded.webhook(&endless);
    assert_eq!((actions(&outputs), ends(&outputs)), (vec!["halt_account".to_owned()], None));
    assert!(folded.webhook(&endless).is_empty(), "once");
    assert_eq!(actions(&folded.advance(10 * DAY_MS).tick()), [""; 0]);
    let lifted = restriction(10 * DAY_S, r#""violation_info":{"violation_type":"SPAM_UNBAN"}"#);
    let resumed = values(&folded.webhook(&lifted), Topic::Action).remove(0);
    assert_eq!(resumed["supersedes"], values(&outputs, Topic::Action)[0]["action_id"]);
}

#[test]
fn each_restriction_of_a_number_ends_for_itself() {
    let mut folded = Folded::default();
    folded.webhook(&status_body("wamid.S", "sent", 1));
    let infos =
        [imposed("USER_INITIATED_CALLING", Some(3_600)), imposed("BIZ_INITIATED_MESSAGING", None)];
    folded.webhook(&restriction(
        0,
        &format!(r#""phone_number":"15550100001","restriction_info":[{}]"#, infos.join(",")),
    ));
    let shown = |folded: &Folded, kind: &str| {
        let key = format!("number.state.v1 {NUMBER}/restriction/RESTRICTED_{kind}");
        row(folded, &key)["restriction_state"].clone()
    };
    assert_eq!(shown(&folded, "USER_INITIATED_CALLING"), "in_force");
    folded.advance(HOUR_MS).tick();
    assert_eq!(shown(&folded, "USER_INITIATED_CALLING"), "ended");
    assert_eq!(shown(&folded, "BIZ_INITIATED_MESSAGING"), "in_force");
    assert_eq!(row(&folded, &format!("number.state.v1 {NUMBER}"))["state"], "restricted");
}

#[test]
fn a_restriction_that_was_lifted_before_it_came_halts_nothing() {
    let imposed =
        restriction(0, &format!(r#""restriction_info":[{{"restriction_type":"{NO_MESSAGES}"}}]"#));
    let lifted = restriction(9, r#""violation_info":{"violation_type":"SPAM_UNBAN"}"#);
    let mut folded = Folded::default();
    folded.webhook(&lifted);
    assert!(actions(&folded.webhook(&imposed)).is_empty());
    let mut folded = Folded::default();
    assert_eq!(actions(&folded.webhook(&imposed)), ["halt_account"]);
    assert_eq!(actions(&folded.webhook(&lifted)), ["resume_account"]);
    // What lifts the restriction of templates leaves that of messages.
    let other = restriction(
        9,
        r#""violation_info":{"violation_type":"DIRECT_SEND_UTILITY_TEMPLATES_UNBAN"}"#,
    );
    let mut folded = Folded::default();
    folded.webhook(&imposed);
    assert!(actions(&folded.webhook(&other)).is_empty());
}

#[test]
fn what_is_said_of_a_display_number_waits_for_its_id() {
    let restricted = restriction(
        0,
        &format!(
            r#""phone_number":"+1 555-010-0001","restriction_info":[{{"restriction_type":"{NO_MESSAGES}","expiration":{}}}]"#,
            NOON + 7_200
        ),
    );
    let flagged = told(
        "phone_number_quality_update",
        5,
        r#""display_phone_number":"15550100001","event":"FLAGGED","current_limit":"TIER_1K""#,
    );
    let sent = status_body("wamid.S", "sent", 1);
    let key = format!("number.state.v1 {NUMBER}");
    for order in support::permutations(&[&restricted, &flagged, &sent]) {
        let mut folded = Folded::default();
        order.iter().for_each(|body| drop(folded.webhook(body)));
        let shown = row(&folded, &key);
        assert_eq!(
            (&shown["state"], &shown["quality_event"]),
            (&json!("restricted"), &json!("FLAGGED"))
        );
        assert_eq!(shown["messaging_limit"], "TIER_1K");
        assert_eq!(actions(&folded.outputs), ["halt_number"]);
        // The account itself may send.
        assert_eq!(row(&folded, &format!("account.state.v1 {WABA}"))["state"], "active");
        let restriction = row(&folded, &format!("{key}/restriction/{NO_MESSAGES}"));
        assert_eq!(restriction["restriction_state"], "in_force");
        let outputs = folded.advance(2 * HOUR_MS).tick();
        assert_eq!(actions(&outputs), ["resume_number"]);
        assert_eq!(values(&outputs, Topic::Action)[0]["phone_number_id"], NUMBER);
        assert_eq!(row(&folded, &key)["state"], "flagged");
    }
    let mut folded = Folded::default();
    let outputs = folded.webhook(&restricted);
    assert_eq!(values(&outputs, Topic::Action)[0]["subject"], format!("{WABA}/15550100001"));
    assert_eq!(row(&folded, &key), Value::Null, "no id is known yet");
}

#[test]
fn a_limit_that_fell_and_a_pin_and_a_name_are_told() {
    let mut folded = Folded::default();
    let quality = |after_s, rest: &str| {
        let value = format!(r#""display_phone_number":"15550100001",{rest}"#);
        told("phone_number_quality_update", after_s, &value)
    };
    let up = r#""event":"THROUGHPUT_UPGRADE","max_daily_conversations_per_business":"TIER_10K""#;
    assert!(alerts(&folded.webhook(&quality(0, up))).is_empty());
    let down = r#""event":"ONBOARDING","max_daily_conversations_per_business":"TIER_250""#;
    assert_eq!(alerts(&folded.webhook(&quality(5, down))), ["limit_fell TIER_250 warning"]);
    let legacy = r#""event":"DOWNGRADE","old_limit":"TIER_1K","current_limit":"TIER_250""#;
    let outputs = Folded::default().webhook(&quality(5, legacy));
    assert_eq!(alerts(&outputs), ["limit_fell TIER_250 warning"]);
    let number = r#""display_phone_number":"15550100001""#;
    let pin = told("security", 6, &format!(r#"{number},"event":"PIN_CHANGED""#));
    assert_eq!(alerts(&folded.webhook(&pin)), ["security PIN_CHANGED critical"]);
    let name = told(
        "phone_number_name_update",
        7,
        &format!(r#"{number},"decision":"REJECTED","rejection_reason":"X""#),
    );
    assert_eq!(alerts(&folded.webhook(&name)), ["number_name REJECTED warning"]);
    // What was overtaken is no reason to call anybody.
    let mut late = Folded::default();
    let current = |event: &str, limit: &str| {
        format!(r#""event":"{event}","max_daily_conversations_per_business":"{limit}""#)
    };
    late.webhook(&quality(10, &current("UPGRADE", "TIER_10K")));
    assert_eq!(alerts(&late.webhook(&quality(0, &current("ONBOARDING", "TIER_1K")))), [""; 0]);
    let approved = format!(r#"{number},"decision":"APPROVED","requested_verified_name":"A""#);
    late.webhook(&told("phone_number_name_update", 20, &approved));
    assert_eq!(alerts(&late.webhook(&name)), [""; 0]);
    let capability = |after_s, limit: &str| {
        let value = format!(r#""max_daily_conversations_per_business":{limit}"#);
        told("business_capability_update", after_s, &value)
    };
    assert!(alerts(&folded.webhook(&capability(8, "\"TIER_2K\""))).is_empty());
    assert_eq!(alerts(&folded.webhook(&capability(9, "250"))), ["limit_fell 250 warning"]);
    assert_eq!(alerts(&folded.webhook(&capability(10, "-1"))), [""; 0], "unlimited");
}

#[test]
fn a_ban_that_was_announced_begins_on_its_day() {
    let ban = |after_s, state: &str| {
        account(
            after_s,
            &format!(
                r#""event":"DISABLED_UPDATE","ban_info":{{"waba_ban_state":"{state}","waba_ban_date":"November 30, 2026"}}"#
            ),
        )
    };
    let mut folded = Folded::default();
    let outputs = folded.webhook(&ban(0, "SCHEDULE_FOR_DISABLE"));
    assert!(actions(&outputs).is_empty());
    assert_eq!(alerts(&outputs), ["account_state scheduled_for_disable warning"]);
    let key = format!("account.state.v1 {WABA}");
    assert_eq!(row(&folded, &key)["ban_time"], "2026-11-30T00:00:00.000Z");
    let outputs = folded.advance(10 * DAY_MS).tick();
    assert_eq!(actions(&outputs), ["halt_account"]);
    assert_eq!(values(&outputs, Topic::Transition)[0]["to"], "ban_date_reached");
    assert_eq!(row(&folded, &key)["state"], "disabled");
    let outputs = folded.webhook(&ban(10 * 86_400, "REINSTATE"));
    assert_eq!(actions(&outputs), ["resume_account"]);
}

#[test]
fn an_account_that_was_taken_away_halts_and_comes_back() {
    let partner = |after_s, event: &str| {
        let value = format!(
            r#""event":"{event}","waba_info":{{"waba_id":"{WABA}","owner_business_id":"6"}},"disconnection_info":{{"reason":"PRIMARY_INACTIVITY"}}"#
        );
        account(after_s, &value)
    };
    let mut folded = Folded::default();
    assert!(actions(&folded.webhook(&partner(0, "PARTNER_ADDED"))).is_empty());
    let outputs = folded.webhook(&partner(5, "PARTNER_REMOVED"));
    assert_eq!(actions(&outputs), ["halt_account"]);
    assert_eq!(alerts(&outputs), ["account_state disconnected critical"]);
    let shown = row(&folded, &format!("account.state.v1 {WABA}"));
    assert_eq!(shown["disconnection_reason"], "PRIMARY_INACTIVITY");
    assert_eq!(actions(&folded.webhook(&partner(9, "PARTNER_ADDED"))), ["resume_account"]);
}

#[test]
fn rates_are_told_when_they_begin_and_of_tiers_the_first_time_counts() {
    let mut folded = Folded::default();
    folded.webhook(&account(
        0,
        &format!(
            r#""event":"AUTH_INTL_PRICE_ELIGIBILITY_UPDATE","auth_international_rate_eligibility":{{"start_time":{}}}"#,
            NOON + 86_400
        ),
    ));
    assert!(alerts(&folded.outputs).is_empty());
    let outputs = folded.advance(DAY_MS).tick();
    assert_eq!(alerts(&outputs), ["rate_begins authentication_international info"]);
    let tier = |after_s: i64, at: i64| {
        account(
            after_s,
            &format!(
                r#""event":"VOLUME_BASED_PRICING_TIER_UPDATE","volume_tier_info":{{"tier_update_time":{at},"pricing_category":"UTILITY","tier":"1:2","effective_month":"2026-11","region":"India"}}"#
            ),
        )
    };
    folded.webhook(&tier(10, NOON + 5));
    folded.webhook(&tier(20, NOON));
    folded.webhook(&tier(30, NOON + 9));
    let shown = row(&folded, &format!("account.state.v1 {WABA}/tier/2026-11/India/UTILITY/1:2"));
    assert_eq!(
        (&shown["tier_time"], &shown["tier"]),
        (&json!("2026-11-20T00:00:00.000Z"), &json!("1:2"))
    );
}

#[test]
fn violations_reviews_flows_payments_and_metas_own_alerts_are_told() {
    let cases = [
        (
            account(0, r#""event":"ACCOUNT_VIOLATION","violation_info":{"violation_type":"SPAM"}"#),
            "account_violation SPAM warning",
        ),
        (
            told("account_review_update", 0, r#""decision":"REJECTED""#),
            "account_review REJECTED warning",
        ),
        (told("account_review_update", 0, r#""decision":"APPROVED""#), ""),
        (
            told(
                "flows",
                0,
                r#""flow_id":"7","event":"ENDPOINT_LATENCY","alert_state":"ACTIVATED""#,
            ),
            "flow ENDPOINT_LATENCY warning",
        ),
        (
            told(
                "flows",
                0,
                r#""flow_id":"7","event":"ENDPOINT_LATENCY","alert_state":"DEACTIVATED""#,
            ),
            "",
        ),
        (
            told(
                "flows",
                0,
                r#""flow_id":"7","event":"FLOW_STATUS_CHANGE","new_status":"THROTTLED""#,
            ),
            "flow THROTTLED warning",
        ),
        (
            told(
                "payment_configuration_update",
                0,
                r#""configuration_name":"u","status":"Needs Testing""#,
            ),
            "payment_configuration Needs Testing warning",
        ),
        (
            told(
                "payment_configuration_update",
                0,
                r#""configuration_name":"u","status":"Active""#,
            ),
            "",
        ),
        (
            told(
                "account_alerts",
                0,
                r#""entity_id":7,"alert_type":"T","alert_severity":"CRITICAL""#,
            ),
            "account_alert critical critical",
        ),
    ];
    for (body, expected) in cases {
        let mut folded = Folded::default();
        let outputs = folded.webhook(&body);
        assert_eq!(alerts(&outputs).join(","), expected);
        let alert = values(&outputs, Topic::Alert);
        assert!(alert.iter().all(|alert| alert["next_step"].as_str().unwrap().len() > 10));
        assert!(folded.webhook(&body).is_empty());
    }
}

#[test]
fn an_event_has_in_its_fields_what_its_webhook_says() {
    let number = r#""display_phone_number":"15550100001""#;
    let cases = [
        (
            told(
                "account_alerts",
                0,
                r#""entity_id":7,"alert_type":"T","alert_status":"ACTIVE","alert_severity":"CRITICAL","alert_description":"why""#,
            ),
            json!({"subject": "7", "new_value": "ACTIVE", "severity": "critical", "description": "why"}),
        ),
        (
            told(
                "security",
                0,
                &format!(r#"{number},"event":"PIN_CHANGED","requester":"15550100009""#),
            ),
            json!({"display_phone_number": "15550100001", "requester": "15550100009"}),
        ),
        (
            told(
                "phone_number_quality_update",
                0,
                &format!(
                    r#"{number},"event":"DOWNGRADE","old_limit":"TIER_1K","current_limit":"TIER_250""#
                ),
            ),
            json!({"old_value": "TIER_1K", "new_value": "TIER_250"}),
        ),
        (
            told(
                "phone_number_name_update",
                0,
                &format!(
                    r#"{number},"decision":"REJECTED","requested_verified_name":"Shop","rejection_reason":"NAME_TOO_SHORT""#
                ),
            ),
            json!({"new_value": "Shop", "reason": "NAME_TOO_SHORT"}),
        ),
        (
            told(
                "template_category_update",
                0,
                &format!(
                    r#""message_template_id":9,"message_template_name":"otp","message_template_language":"en_US","new_category":"UTILITY","correct_category":"MARKETING","category_update_timestamp":{}"#,
                    NOON + 86_400
                ),
            ),
            json!({"old_value": "UTILITY", "new_value": "MARKETING", "effective_time": "2026-11-21T00:00:00.000Z"}),
        ),
    ];
    for (body, expected) in cases {
        let outputs = Folded::default().webhook(&body);
        let event = values(&outputs, Topic::Event).remove(0);
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&event[name], value, "{name} of {event}");
        }
    }
}

#[test]
fn a_word_that_is_new_is_told_once() {
    let cases = [
        (told("field_of_next_year", 0, r#""a":1"#), "unknown_word field_of_next_year info"),
        (event(0, "QUARANTINED"), "unknown_word QUARANTINED info"),
        (account(0, r#""event":"ACCOUNT_TELEPORTED""#), "unknown_word ACCOUNT_TELEPORTED info"),
        (
            support::messages(r#""messages":[{"id":"w","from":"4","type":"hologram"}]"#),
            "unknown_word hologram info",
        ),
        (status_body("w", "pondered", 1), "unknown_word pondered info"),
        (told("flows", 0, r#""flow":"is gone""#), "unknown_word flows info"),
    ];
    for (body, expected) in cases {
        let mut folded = Folded::default();
        assert_eq!(alerts(&folded.webhook(&body)).join(","), expected);
        let again = String::from_utf8(body).unwrap().replace(r#""id":"w""#, r#""id":"v""#);
        let again = again.replace(&NOON.to_string(), &(NOON + 7).to_string());
        assert!(alerts(&folded.webhook(again.as_bytes())).is_empty(), "{expected}: once");
    }
}

#[test]
fn content_that_is_lost_is_critical() {
    let lost = support::messages(r#""errors":[{"code":131035,"title":"content lost"}]"#);
    assert_eq!(alerts(&Folded::default().webhook(&lost)), ["content_lost - critical"]);
    let switched_off = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{WABA}","time":{NOON},"changed_fields":["messages"]}}]}}"#
    );
    let outputs = Folded::default().webhook(switched_off.as_bytes());
    assert_eq!(alerts(&outputs), ["content_lost changed_fields critical"]);
}

#[test]
fn a_number_that_falls_silent_while_others_speak_is_told_once() {
    let of = |number: &str, wamid: &str, after_s: i64| {
        let body = String::from_utf8(status_body(wamid, "sent", after_s)).unwrap();
        body.replace(NUMBER, number).replace("15550100001", number).into_bytes()
    };
    let mut folded = Folded::default();
    folded.webhook(&of("1", "wamid.1", 0));
    let mut heard = Vec::new();
    for hour in 1..60 {
        let body = of("2", &format!("wamid.{hour}"), hour * 3_600);
        heard.extend(alerts(&folded.advance(HOUR_MS).webhook(&body)));
    }
    assert_eq!(heard, ["number_silent silent warning"]);
    assert_eq!(folded.values(Topic::Alert)[0]["phone_number_id"], "1");
    // When all are silent, nobody can tell whose fault it is.
    let mut folded = Folded::default();
    folded.webhook(&of("1", "wamid.1", 0));
    folded.webhook(&of("2", "wamid.2", 0));
    for _ in 0..50 {
        folded.advance(HOUR_MS).tick();
    }
    assert!(alerts(&folded.outputs).is_empty());
}

#[test]
fn fields_that_never_come_are_told() {
    let mut folded = Folded::default();
    folded.webhook(&status_body("wamid.1", "sent", 0));
    assert!(alerts(&folded.advance(29 * DAY_MS).tick()).is_empty());
    let outputs = folded.advance(DAY_MS).tick();
    assert_eq!(alerts(&outputs), ["subscription_missing management info"]);
    let mut folded = Folded::default();
    folded.webhook(&event(0, "APPROVED"));
    assert!(alerts(&folded.advance(7 * DAY_MS - SECOND_MS).tick()).is_empty());
    let outputs = folded.advance(SECOND_MS).tick();
    assert_eq!(alerts(&outputs), ["subscription_missing messages info"]);
    let mut folded = Folded::default();
    folded.webhook(&event(0, "APPROVED"));
    folded.webhook(&change("messages", r#""statuses":[]"#));
    folded.webhook(&status_body("wamid.1", "sent", 0));
    assert!(alerts(&folded.advance(40 * DAY_MS).tick()).is_empty());
}

/// The history of the template, as text.
fn history(folded: &Folded) -> Vec<String> {
    let (_, change) = folded.overlay.templates.changes().next().unwrap();
    let lines = change.after.as_ref().unwrap().told.history.iter();
    let line = |line: &ToldEntry| {
        let from = line.from.as_deref().unwrap_or("-");
        let values = [&line.reason, &line.old_value, &line.new_value];
        let [reason, old, new] = values.map(|text| text.as_deref().unwrap_or("-"));
        let late = if line.late { " late" } else { "" };
        format!("{from} {} {} {reason} {old} {new}{late}", line.to, line.state)
    };
    lines.map(line).collect()
}

#[test]
fn what_was_told_is_kept_with_what_meta_said() {
    let mut folded = Folded::default();
    folded.webhook(&event(0, "APPROVED"));
    let pause = r#""event":"PAUSED","reason":"LOW","other_info":{"title":"FIRST_PAUSE"}"#;
    folded.webhook(&template(10, pause));
    let quality = r#""previous_quality_score":"GREEN","new_quality_score":"RED""#;
    folded.webhook(&template(20, quality));
    folded.webhook(&event(-5, "APPROVED"));
    folded.webhook(&event(10, "PAUSED"));
    folded.advance(3 * HOUR_MS).tick();
    assert_eq!(
        history(&folded),
        [
            "- APPROVED APPROVED - - APPROVED",
            "APPROVED PAUSED PAUSED LOW - PAUSED",
            "PAUSED quality PAUSED - GREEN RED",
            "PAUSED APPROVED PAUSED - - APPROVED late",
            "PAUSED PAUSED PAUSED - - PAUSED late",
            "PAUSED pause_ended APPROVED - - -",
        ]
    );
    let (_, change) = folded.overlay.templates.changes().next().unwrap();
    let told = &change.after.as_ref().unwrap().told;
    let paused = &told.history[1];
    let ms = |time: Option<Timestamp>| time.unwrap().as_millis();
    assert_eq!(ms(paused.event_time), (NOON + 10) * 1_000);
    assert_eq!(ms(paused.received_time), (NOON + 60) * 1_000 - 5);
    assert_eq!(paused.log_time.as_millis(), (NOON + 60) * 1_000);
    // A restriction of one number is of the account that told it, and of the number.
    let restricted = restriction(
        0,
        &format!(
            r#""phone_number":"15550100001","restriction_info":[{{"restriction_type":"{NO_MESSAGES}"}}]"#
        ),
    );
    let outputs = folded.webhook(&restricted);
    let told: Vec<_> = values(&outputs, Topic::Transition)
        .iter()
        .map(|one| (one["entity"].clone(), one["to"].clone(), one["state"].clone()))
        .collect();
    let one =
        |entity: &str, state: &str| (json!(entity), json!("ACCOUNT_RESTRICTION"), json!(state));
    assert_eq!(told, [one("account", "active"), one("number", "restricted")]);
}

#[test]
fn of_the_past_of_a_template_the_last_hundred_are_kept() {
    let mut folded = Folded::default();
    for round in 0..130 {
        let event = if round % 2 == 0 { "PAUSED" } else { "APPROVED" };
        folded.advance(SECOND_MS).webhook(&self::event(round, event));
    }
    let kept = history(&folded);
    assert_eq!(kept.len(), TOLD_MAX);
    assert_eq!(kept.last().unwrap(), "PAUSED APPROVED APPROVED - - APPROVED");
    assert_eq!(folded.values(Topic::Transition).len(), 130, "the topic has them all");
}

#[test]
fn what_is_older_than_the_memory_halts_nothing() {
    let mut folded = Folded::default();
    folded.advance(90 * DAY_MS);
    let outputs = folded.webhook(&event(0, "DISABLED"));
    assert!(actions(&outputs).is_empty() && alerts(&outputs).is_empty());
    assert_eq!(template_row(&folded)["status"], "DISABLED", "but it is known");
}

#[test]
fn what_belongs_to_a_portfolio_makes_no_account() {
    let certification = r#""event":"PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE","partner_client_certification_info":{"client_business_id":"6","status":"FAILED"}"#;
    let outputs = Folded::default().webhook(&account(0, certification));
    assert!(outputs.iter().all(|output| output.topic == Topic::Event), "{outputs:?}");
    let solution = r#""event":"SOLUTION_CREATED","solution_id":"9","solution_status":"INITIATED""#;
    let outputs = Folded::default().webhook(&told("partner_solutions", 0, solution));
    assert_eq!(values(&outputs, Topic::Event)[0]["subject"], "9");
    assert!(outputs.iter().all(|output| output.topic == Topic::Event), "{outputs:?}");
}

fn ban(after_s: i64, state: &str, date: &str) -> Vec<u8> {
    let date =
        if date.is_empty() { String::new() } else { format!(r#","waba_ban_date":"{date}""#) };
    let info = format!(r#""ban_info":{{"waba_ban_state":"{state}"{date}}}"#);
    account(after_s, &format!(r#""event":"DISABLED_UPDATE",{info}"#))
}

#[test]
fn a_ban_that_is_announced_neither_lifts_nor_hides_a_restriction() {
    let info = imposed("BIZ_INITIATED_MESSAGING", Some(7_200));
    let restricted = restriction(0, &format!(r#""restriction_info":[{info}]"#));
    let announced = ban(10, "SCHEDULE_FOR_DISABLE", "");
    for order in [[&restricted, &announced], [&announced, &restricted]] {
        let mut folded = Folded::default();
        let outputs: Vec<_> = order.iter().flat_map(|body| folded.webhook(body)).collect();
        let told = values(&outputs, Topic::Action);
        assert!(told.iter().all(|action| action["kind"] == "halt_account"), "{told:?}");
        assert_eq!(told.last().unwrap()["not_after"], "2026-11-20T02:00:00.000Z");
        let shown = row(&folded, &format!("account.state.v1 {WABA}"));
        assert_eq!(shown["state"], "scheduled_for_disable");
        let outputs = folded.advance(2 * HOUR_MS).tick();
        assert_eq!(actions(&outputs), ["resume_account"], "the restriction is over");
    }
}

#[test]
fn rates_that_began_while_something_else_was_due_are_told() {
    let rates = |after_s, start_s: i64| {
        let start = NOON + start_s;
        account(
            after_s,
            &format!(
                r#""event":"AUTH_INTL_PRICE_ELIGIBILITY_UPDATE","auth_international_rate_eligibility":{{"start_time":{start}}}"#
            ),
        )
    };
    let mut folded = Folded::default();
    let info = imposed("ADD_PHONE_NUMBER_ACTION", Some(3_600));
    folded.webhook(&restriction(0, &format!(r#""restriction_info":[{info}]"#)));
    folded.webhook(&rates(10, 7_200));
    let outputs = folded.advance(3 * HOUR_MS).tick();
    let told = values(&outputs, Topic::Alert);
    let begin: Vec<_> = told.iter().filter(|alert| alert["kind"] == "rate_begins").collect();
    assert_eq!(begin.len(), 1, "{told:?}");
    assert_eq!(begin[0]["event_time"], "2026-11-20T02:00:00.000Z");
    assert_eq!(alerts(&folded.advance(HOUR_MS).tick()), [""; 0], "once");
}

/// What is halted in the end: what `folded` told of halts, and the last not taken back.
fn halted(folded: &Folded) -> Option<Value> {
    let told = folded.values(Topic::Action);
    let last = told.last()?;
    (last["kind"] == "halt_template").then(|| last.get("not_after").cloned().unwrap_or_default())
}

#[test]
fn a_pause_that_comes_behind_a_later_word_halts_as_before_it() {
    let first = r#""event":"PAUSED","other_info":{"title":"FIRST_PAUSE"}"#;
    let pacing = r#""event":"PAUSED","other_info":{"title":"RATE_LIMITING_PAUSE"}"#;
    let disabled = r#""event":"DISABLED""#;
    let words =
        ["PENDING", "IN_APPEAL", "REJECTED", "LIMIT_EXCEEDED", "LOCKED", "ARCHIVED", "FLAGGED"];
    for stop in [first, pacing] {
        for word in words {
            let [stop, word] = [template(0, stop), event(60, word)];
            let [in_order, late] = [[&stop, &word], [&word, &stop]].map(|order| {
                let mut folded = Folded::default();
                order.iter().for_each(|body| drop(folded.webhook(body)));
                assert_eq!(actions(&folded.outputs), ["halt_template"]);
                assert!(alerts(&folded.outputs).contains(&paused()));
                folded
            });
            assert_eq!(halted(&in_order), halted(&late));
            for mut folded in [in_order, late] {
                folded.webhook(&stop);
                assert_eq!(actions(&folded.webhook(&event(120, "APPROVED"))), ["resume_template"]);
            }
        }
        // What had lifted it before it came, or is gone, halts nothing.
        for word in ["APPROVED", "REINSTATED", "UNARCHIVED", "DELETED"] {
            let mut folded = Folded::default();
            folded.webhook(&event(60, word));
            assert_eq!(actions(&folded.webhook(&template(0, stop))), [""; 0], "{word}");
        }
    }
    let mut folded = Folded::default();
    folded.webhook(&event(60, "PENDING_DELETION"));
    assert_eq!(actions(&folded.webhook(&template(0, disabled))), ["halt_template"]);

    // Flagged meanwhile, it goes on when the pause is over.
    let mut folded = Folded::default();
    folded.webhook(&event(60, "FLAGGED"));
    folded.webhook(&template(0, first));
    assert_eq!(actions(&folded.advance(3 * HOUR_MS).tick()), ["resume_template"]);
}

fn paused() -> String {
    "template_status PAUSED critical".to_owned()
}

#[test]
fn what_lifts_a_pause_lifts_it_behind_a_later_word_too() {
    for word in ["FLAGGED", "LOCKED"] {
        let mut folded = Folded::default();
        folded.webhook(&event(0, "PAUSED"));
        folded.webhook(&event(60, word));
        assert_eq!(actions(&folded.webhook(&event(30, "REINSTATED"))), ["resume_template"]);
        assert_eq!(template_row(&folded)["status"], word);
    }
    let mut folded = Folded::default();
    folded.webhook(&event(0, "PAUSED"));
    folded.webhook(&event(60, "DELETED"));
    assert_eq!(actions(&folded.webhook(&event(30, "REINSTATED"))), [""; 0], "it is gone");
}
