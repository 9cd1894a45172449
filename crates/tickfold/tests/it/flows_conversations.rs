//! Workflows around customers: a CRM that is told of each one once, leads by buttons, from bot to
//! agent, users without a phone number, the window that closes.

use serde_json::{Value, json};
use tickfold_core::records::Topic;

use crate::flows::{Flow, Stage, kinds, price, to};
use crate::support::NUMBER;

pub(crate) const FLOWS: &[Flow] = &[
    Flow { name: "crm upsert", begins: crm_begins, ends: crm_ends },
    Flow { name: "lead routing", begins: leads_begin, ends: leads_end },
    Flow { name: "bot to agent", begins: bot_begins, ends: bot_ends },
    Flow { name: "username without phone", begins: username_begins, ends: username_ends },
    Flow { name: "window closes", begins: window_begins, ends: window_ends },
];

const CRM: &str = "300000000000011";
const CRM_NUMBER: &str = "318840000000299";
const CRM_PARTIES: [&str; 2] = ["447700900301", "447700900302"];

/// A text of a customer to one of two numbers of the account.
fn crm_text(stage: &Stage, number: &str, party: &str, wamid: &str, ago_s: i64) {
    let time = stage.ago(ago_s);
    let body = crate::support::messages_of(
        CRM,
        &format!(
            r#""contacts":[{{"profile":{{"name":"Customer {party}"}},"wa_id":"{party}"}}],"messages":[{{"id":"{wamid}","from":"{party}","timestamp":"{time}","type":"text","text":{{"body":"hello"}}}}]"#
        ),
    );
    stage.node.post(body.replace(NUMBER, number));
}

/// The first customer's second message comes before the first one; the other customer is written to
/// before they ever write.
fn crm_begins(stage: &Stage) {
    let [one, other] = CRM_PARTIES;
    crm_text(stage, NUMBER, one, "wamid.CRM.2", 10);
    crm_text(stage, NUMBER, one, "wamid.CRM.1", 20);
    stage.status(CRM, "wamid.CRM.OURS", "sent", stage.ago(40), &to(other));
}

fn crm_ends(stage: &Stage) {
    let [one, other] = CRM_PARTIES;
    crm_text(stage, NUMBER, one, "wamid.CRM.1", 20);
    crm_text(stage, CRM_NUMBER, one, "wamid.CRM.3", 5);
    crm_text(stage, NUMBER, other, "wamid.CRM.5", 3);
    crm_text(stage, NUMBER, other, "wamid.CRM.4", 30);
    stage.settled();
    let mut contacts: Vec<_> = stage
        .of(CRM, Topic::Transition)
        .into_iter()
        .filter(|one| one["to"] == "first_contact")
        .map(|one| one["key"].as_str().unwrap().to_owned())
        .collect();
    contacts.sort();
    let key = |number: &str, party: &str| format!("{number}/{party}");
    assert_eq!(contacts, [key(NUMBER, one), key(NUMBER, other), key(CRM_NUMBER, one)]);
    let row = stage.row(Topic::ConversationState, &key(NUMBER, one)).unwrap();
    assert_eq!(row["inbound_count"], 2, "each message once, however often it came");
    assert!(row["first_inbound_time"].as_str() < row["last_inbound_time"].as_str(), "{row}");
    let user = stage.row(Topic::UserState, &format!("{CRM}/{one}")).unwrap();
    assert_eq!(user["name"], format!("Customer {one}"));
}

const LEADS: &str = "300000000000012";

/// Buttons of a template, of a message, and one whose text only is told.
fn leads_begin(stage: &Stage) {
    let reply = |id: &str| {
        format!(
            r#","type":"interactive","interactive":{{"type":"button_reply","button_reply":{{"id":"{id}","title":"x"}}}}"#
        )
    };
    let button = r#","type":"button","button":{"payload":"LEAD_BUY","text":"Buy"}"#.to_owned();
    let choices = [button, reply("LEAD_RENT"), reply("LEAD_OTHER"), reply("LEAD_UNKNOWN")];
    for (n, choice) in choices.iter().enumerate() {
        let members = format!(r#","from":"44770090031{n}"{choice}"#);
        for _ in 0..2 {
            stage.inbound(LEADS, &format!("wamid.LEAD.{n}"), stage.ago(60), &members);
        }
    }
}

fn leads_end(stage: &Stage) {
    leads_begin(stage);
    stage.settled();
    let actions = stage.actions(LEADS);
    assert_eq!(kinds(&actions), ["route"; 3]);
    let told: Vec<_> = actions
        .iter()
        .map(|action| (action["queue"].as_str().unwrap(), action["subject"].as_str().unwrap()))
        .collect();
    let subject = |n: u32| format!("{NUMBER}/44770090031{n}");
    let (buy, rent, other) = (subject(0), subject(1), subject(2));
    assert_eq!(told, [("sales", &*buy), ("rentals", &*rent), ("front-desk", &*other)]);
}

const BOT: &str = "300000000000013";
const BOT_PARTY: &str = "447700900321";

fn said(stage: &Stage, n: u32, text: &str) {
    let members = format!(r#","from":"{BOT_PARTY}","type":"text","text":{{"body":"{text}"}}"#);
    stage.inbound(BOT, &format!("wamid.BOT.{n}"), stage.ago(60 - i64::from(n)), &members);
}

fn bot_begins(stage: &Stage) {
    said(stage, 1, "hello");
    stage.status(BOT, "wamid.BOT.2", "delivered", stage.ago(58), &to(BOT_PARTY));
    said(stage, 3, "my agent is away");
}

/// The keyword and nothing else, in any case. Whoever gets the conversation asks once, and one answer
/// says both: is the window open, and which messages were there?
fn bot_ends(stage: &Stage) {
    said(stage, 4, " Agent ");
    stage.settled();
    let actions = stage.actions(BOT);
    assert_eq!(kinds(&actions), ["route"]);
    assert_eq!(
        (&actions[0]["queue"], &actions[0]["wamid"]),
        (&json!("agents"), &json!("wamid.BOT.4"))
    );
    let args = ["get", "conversation", NUMBER, BOT_PARTY, "--messages", "10"];
    let shown = stage.shown(&args, "inbound_count", json!(3));
    assert_eq!((&shown["window_state"], &shown["outbound_count"]), (&json!("open"), &json!(1)));
    assert!(shown["window_expire_time"].is_string(), "{shown}");
    let told: Vec<_> = shown["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["wamid"].as_str().unwrap(), one["direction"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("wamid.BOT.4", "inbound"),
            ("wamid.BOT.3", "inbound"),
            ("wamid.BOT.2", "outbound"),
            ("wamid.BOT.1", "inbound"),
        ]
    );
}

const USERNAME: &str = "300000000000014";
const BSUID: &str = "GB.48210093377120064511";

/// Neither of them has a phone number anywhere: once the members are left out, once they are empty.
fn username_begins(stage: &Stage) {
    let contacts = format!(
        r#""contacts":[{{"profile":{{"name":"imo","username":"@imogen.farrow"}},"user_id":"{BSUID}"}}]"#
    );
    let time = stage.ago(30);
    stage.post(
        USERNAME,
        &format!(
            r#"{contacts},"messages":[{{"id":"wamid.BSUID.1","timestamp":"{time}","type":"text","text":{{"body":"agent"}},"from_user_id":"{BSUID}"}}]"#
        ),
    );
    let members = format!(
        r#","recipient_id":"","recipient_user_id":"{BSUID}"{}"#,
        price("utility", "regular")
    );
    stage.status(USERNAME, "wamid.BSUID.2", "delivered", stage.ago(20), &members);
}

fn username_ends(stage: &Stage) {
    let members = format!(
        r#","recipient_user_id":"{BSUID}","errors":[{{"code":131026,"title":"Message undeliverable"}}]"#
    );
    stage.status(USERNAME, "wamid.BSUID.3", "failed", stage.ago(10), &members);
    stage.settled();
    let actions = stage.actions(USERNAME);
    assert_eq!(kinds(&actions), ["route", "sms_fallback"]);
    assert_eq!(actions[0]["subject"], format!("{NUMBER}/{BSUID}"));
    // Whoever carries it out sees that there is no number to call.
    assert_eq!(actions[1]["party"], BSUID);
    let key = format!("{NUMBER}/{BSUID}");
    let row = stage.row(Topic::ConversationState, &key).unwrap();
    assert_eq!((&row["inbound_count"], &row["outbound_count"]), (&json!(1), &json!(2)));
    assert_eq!(row["window_state"], "open");
    let user = stage.row(Topic::UserState, &format!("{USERNAME}/{BSUID}")).unwrap();
    assert_eq!((&user["username"], &user["name"]), (&json!("@imogen.farrow"), &json!("imo")));
    let charges = stage.of(USERNAME, Topic::Charge);
    assert_eq!(charges.len(), 1);
    assert_eq!(charges[0]["country"], Value::Null, "no calling code, no country");
    let shown = stage.shown(&["get", "conversation", NUMBER, BSUID], "outbound_count", json!(2));
    assert_eq!((&shown["party"], &shown["waba_id"]), (&json!(BSUID), &json!(USERNAME)));
}

const WINDOW: &str = "300000000000015";
const WINDOW_PARTY: &str = "447700900331";

/// A message of a day ago but for a minute and a quarter, in which the rest goes on.
fn window_begins(stage: &Stage) {
    let members = format!(r#","from":"{WINDOW_PARTY}","type":"text","text":{{"body":"hi"}}"#);
    stage.inbound(WINDOW, "wamid.WINDOW", stage.ago(24 * 3_600 - 75), &members);
}

fn window_ends(stage: &Stage) {
    let told = |stage: &Stage| -> Vec<Value> {
        let transitions = stage.of(WINDOW, Topic::Transition).into_iter();
        transitions.filter(|one| one["entity"] == "conversation").collect()
    };
    stage.eventually("the window closes", |stage| {
        told(stage).iter().any(|one| one["to"] == "window_closed").then_some(())
    });
    let words: Vec<_> = told(stage).into_iter().map(|mut one| one["to"].take()).collect();
    assert_eq!(words, ["first_contact", "window_opened", "window_closing", "window_closed"]);
    let row = stage.row(Topic::ConversationState, &format!("{NUMBER}/{WINDOW_PARTY}")).unwrap();
    assert_eq!(row["window_state"], "closed");
}
