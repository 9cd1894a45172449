//! Workflows around messages of ours: login codes that fall back, offers of another code, order
//! tracking, undeliverable messages, opt-outs.

use serde_json::{Value, json};
use tickfold_core::records::Topic;

use crate::flows::{Flow, Stage, kinds, price, to};
use crate::support::topic;

pub(crate) const FLOWS: &[Flow] = &[
    Flow { name: "otp fallback", begins: otp_begins, ends: otp_ends },
    Flow { name: "offer of a code", begins: offer_begins, ends: offer_ends },
    Flow { name: "order tracking", begins: order_begins, ends: order_ends },
    Flow { name: "undeliverable", begins: undeliverable_begins, ends: undeliverable_ends },
    Flow { name: "opt-out", begins: opt_out_begins, ends: opt_out_ends },
];

const OTP: &str = "300000000000001";
const OTP_PARTY: &str = "447700900201";

fn otp(word: &str, wamid: &str, stage: &Stage, ago_s: i64) {
    let members = to(OTP_PARTY) + &price("authentication", "regular");
    stage.status(OTP, wamid, word, stage.ago(ago_s), &members);
}

/// A login code sent ten minutes ago and not delivered: its time to live is over, the buffer of a
/// minute is not. Beside it one whose delivery comes with the same webhook.
fn otp_begins(stage: &Stage) {
    otp("sent", "wamid.OTP", stage, 600);
    let members = to(OTP_PARTY) + &price("authentication", "regular");
    let of = |word: &str, ago_s: i64| {
        let time = stage.ago(ago_s);
        format!(r#"{{"id":"wamid.OTP.INTIME","status":"{word}","timestamp":"{time}"{members}}}"#)
    };
    stage.post(OTP, &format!(r#""statuses":[{},{}]"#, of("sent", 600), of("delivered", 599)));
}

fn otp_ends(stage: &Stage) {
    let fallback = stage
        .eventually("the fallback is asked for", |stage| stage.actions(OTP).into_iter().next());
    assert_eq!(
        (&fallback["kind"], &fallback["wamid"], &fallback["party"]),
        (&json!("sms_fallback"), &json!("wamid.OTP"), &json!(OTP_PARTY))
    );
    assert!(fallback["not_after"].is_string());
    // By log time, not before the deadline and not within a minute of the first sight.
    let logged = |of: Topic, key: &Value| {
        let records = stage.node.tail(&topic(of));
        let record = records.iter().find(|record| record.key.as_deref() == key.as_str());
        record.unwrap().timestamp().as_millis()
    };
    let seen = logged(Topic::Transition, &json!("wamid.OTP"));
    let asked = logged(Topic::Action, &fallback["action_id"]);
    assert!(asked >= seen + 60_000, "{asked} is too soon after {seen}");
    // It is delivered after all, long after the SMS was asked for.
    otp("delivered", "wamid.OTP", stage, 0);
    let taken_back =
        stage.eventually("it is taken back", |stage| stage.actions(OTP).into_iter().nth(1));
    assert_eq!(taken_back["kind"], "fallback_superseded");
    assert_eq!(taken_back["supersedes"], fallback["action_id"]);
    otp("read", "wamid.OTP", stage, 0);
    otp("sent", "wamid.OTP", stage, 600);
    otp("delivered", "wamid.OTP", stage, 0);
    stage.settled();
    // What was read may be offered again, which is another workflow.
    let mut actions = stage.actions(OTP);
    actions.retain(|action| action["kind"] != "offer_resend");
    assert_eq!(kinds(&actions), ["sms_fallback", "fallback_superseded"]);
    let row = stage.row(Topic::MessageState, "wamid.OTP").unwrap();
    assert_eq!(row["state"], "read");
    let charges = stage.of(OTP, Topic::Charge);
    let charged = charges.iter().filter(|charge| charge["wamid"] == "wamid.OTP");
    assert_eq!(charged.count(), 1, "it was delivered, so it costs, once");
}

const OFFER: &str = "300000000000002";

fn offer(stage: &Stage, word: &str, party: &str) {
    let members = to(party) + &price("authentication", "regular");
    stage.status(OFFER, &format!("wamid.OFFER.{party}"), word, stage.ago(0), &members);
}

/// Two codes are read. One customer comes back, which is told first: no machine is too slow for it.
fn offer_begins(stage: &Stage) {
    let text = r#","from":"447700900212","type":"text","text":{"body":"in"}"#;
    stage.inbound(OFFER, "wamid.OFFER.BACK", stage.ago(0) + 1, text);
    for party in ["447700900212", "447700900211"] {
        offer(stage, "delivered", party);
        offer(stage, "read", party);
    }
}

fn offer_ends(stage: &Stage) {
    let offer = stage
        .eventually("another code is offered", |stage| stage.actions(OFFER).into_iter().next());
    assert_eq!(
        (&offer["kind"], &offer["wamid"]),
        (&json!("offer_resend"), &json!("wamid.OFFER.447700900211"))
    );
    self::offer(stage, "read", "447700900211");
    stage.settled();
    assert_eq!(stage.actions(OFFER).len(), 1, "one, and none for who came back");
}

const ORDER: &str = "300000000000003";
const ORDER_PARTY: &str = "447700900221";
const LABELS: &str = r#","biz_opaque_callback_data":"{\"template\":\"order_update\",\"language\":\"en\",\"campaign\":\"autumn\",\"intent\":\"order-7\"}""#;

fn order(stage: &Stage, word: &str, ago_s: i64) {
    let members = to(ORDER_PARTY) + &price("utility", "regular") + LABELS;
    stage.status(ORDER, "wamid.ORDER", word, stage.ago(ago_s), &members);
}

/// The receipt of reading comes first, and some of it twice.
fn order_begins(stage: &Stage) {
    order(stage, "read", 10);
    order(stage, "read", 10);
}

fn order_ends(stage: &Stage) {
    order(stage, "sent", 3_000);
    order(stage, "delivered", 2_000);
    order(stage, "sent", 3_000);
    stage.settled();
    let row = stage.row(Topic::MessageState, "wamid.ORDER").unwrap();
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let labels = ["label_template", "label_language", "label_campaign", "label_intent"].map(text);
    assert_eq!(labels, ["order_update", "en", "autumn", "order-7"]);
    assert_eq!((text("state"), text("party")), ("read".to_owned(), ORDER_PARTY.to_owned()));
    let times = ["sent_time", "delivered_time", "read_time"].map(text);
    assert!(times.is_sorted() && !times[0].is_empty(), "{times:?}");

    let transitions = stage.of(ORDER, Topic::Transition);
    let of_message = transitions.iter().filter(|one| one["entity"] == "message");
    let told: Vec<_> = of_message.map(|one| (one["to"].clone(), one["late"].clone())).collect();
    let fact = |to: &str, late: bool| (json!(to), json!(late));
    assert_eq!(told, [fact("read", false), fact("sent", true), fact("delivered", true)]);

    let charges = stage.of(ORDER, Topic::Charge);
    let last = charges.last().unwrap();
    assert!(charges.iter().all(|charge| charge["charge_id"] == last["charge_id"]), "{charges:?}");
    assert_eq!((&last["category"], &last["country"]), (&json!("utility"), &json!("GB")));
    // The charge is of the delivery, whichever status told of it first.
    assert_eq!(last["event_time"].as_str().unwrap(), times[1]);

    // The same, as a person asks.
    let shown = stage.shown(&["get", "message", "wamid.ORDER"], "delivered_time", json!(times[1]));
    assert_eq!((&shown["state"], &shown["party"]), (&json!("read"), &json!(ORDER_PARTY)));
}

const UNDELIVERABLE: &str = "300000000000004";

fn undeliverable(stage: &Stage) {
    let members =
        to("447700900231") + r#","errors":[{"code":131026,"title":"Message undeliverable"}]"#;
    stage.status(UNDELIVERABLE, "wamid.UNDELIVERABLE", "failed", stage.ago(5), &members);
}

fn undeliverable_begins(stage: &Stage) {
    undeliverable(stage);
    undeliverable(stage);
}

fn undeliverable_ends(stage: &Stage) {
    undeliverable(stage);
    stage.settled();
    let actions = stage.actions(UNDELIVERABLE);
    assert_eq!(kinds(&actions), ["sms_fallback"]);
    assert_eq!(actions[0]["error_code"], 131_026);
}

const OPT_OUT: &str = "300000000000005";
const OPT_OUT_PARTY: &str = "447700900241";

fn opt_out(stage: &Stage) {
    let errors = r#","errors":[{"code":131050,"title":"User stopped marketing"}]"#;
    let members = to(OPT_OUT_PARTY) + &price("marketing", "regular") + errors;
    stage.status(OPT_OUT, "wamid.OPTOUT", "failed", stage.ago(5), &members);
}

fn opt_out_begins(stage: &Stage) {
    let members = to(OPT_OUT_PARTY) + &price("marketing", "regular");
    stage.status(OPT_OUT, "wamid.OPTOUT", "sent", stage.ago(6), &members);
    opt_out(stage);
}

/// Once, and nothing is sent again: by now the deadline of the login code has passed too.
fn opt_out_ends(stage: &Stage) {
    opt_out(stage);
    stage.settled();
    let actions = stage.actions(OPT_OUT);
    assert_eq!(kinds(&actions), ["suppress_recipient"]);
    let action = &actions[0];
    assert_eq!(action["subject"], format!("{OPT_OUT}/{OPT_OUT_PARTY}"));
    assert_eq!((&action["category"], &action["not_after"]), (&json!("marketing"), &Value::Null));
    assert_eq!(stage.of(OPT_OUT, Topic::Charge), [Value::Null; 0]);
}
