//! What Meta bills, as a finance department would add it up: charges on evidence of delivery only,
//! one per message and participant, corrections by sequence, and the totals of the account.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tickfold_core::records::Topic;

use crate::flows::{Flow, Stage, kinds, price, to};

pub(crate) const FLOWS: &[Flow] = &[
    Flow { name: "campaign cost", begins: campaign_begins, ends: campaign_ends },
    Flow { name: "quote", begins: quote_begins, ends: quote_ends },
    Flow { name: "participants", begins: group_begins, ends: group_ends },
    Flow { name: "conflicting prices", begins: conflict_begins, ends: conflict_ends },
];

const CAMPAIGN: &str = "300000000000021";
/// Category, type, messages of it.
const PARTS: [(&str, &str, u32); 4] = [
    ("marketing", "regular", 7),
    ("utility", "regular", 4),
    ("utility", "free_customer_service", 3),
    ("authentication", "regular", 2),
];

fn campaign_message(stage: &Stage, part: usize, n: u32, word: &str) {
    let (category, kind, _) = PARTS[part];
    let label = r#","biz_opaque_callback_data":"campaign=autumn""#;
    let members = to(&format!("4477009004{part}{n}")) + &price(category, kind) + label;
    let time = stage.ago(7_200 + i64::from(n));
    stage.status(CAMPAIGN, &format!("wamid.CAMPAIGN.{part}.{n}"), word, time, &members);
}

/// Everything is sent; of each part all but one are delivered, some before they were sent.
fn campaign_begins(stage: &Stage) {
    for (part, (_, _, messages)) in PARTS.iter().enumerate() {
        for n in 0..*messages {
            if n % 2 == 1 {
                campaign_message(stage, part, n, "delivered");
            }
            campaign_message(stage, part, n, "sent");
        }
    }
}

/// The rest is delivered, and everything read and told again.
fn campaign_ends(stage: &Stage) {
    for (part, (_, _, messages)) in PARTS.iter().enumerate() {
        for n in 1..*messages {
            campaign_message(stage, part, n, "delivered");
            campaign_message(stage, part, n, "read");
        }
    }
    stage.settled();
    let charges = stage.of(CAMPAIGN, Topic::Charge);
    assert!(charges.iter().all(|charge| charge["callback_data"] == "campaign=autumn"));
    // Of one charge the highest sequence counts.
    let mut newest: BTreeMap<String, &Value> = BTreeMap::new();
    for charge in &charges {
        let known = newest.entry(charge["charge_id"].to_string()).or_insert(charge);
        if charge["sequence"].as_u64() > known["sequence"].as_u64() {
            *known = charge;
        }
    }
    let key = |row: &Value, category: &str| {
        ["month", category, "pricing_type"].map(|name| row[name].as_str().unwrap().to_owned())
    };
    let mut summed: BTreeMap<[String; 3], (u64, u64)> = BTreeMap::new();
    for charge in newest.values() {
        let (charges, billable) = summed.entry(key(charge, "category")).or_default();
        *charges += 1;
        *billable += u64::from(charge["billable"] == true);
    }
    // A campaign may run over the end of a month.
    let mut by_part: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for ([_, category, kind], (charges, _)) in &summed {
        *by_part.entry((category, kind)).or_default() += charges;
    }
    let sent = PARTS.map(|(category, kind, messages)| ((category, kind), u64::from(messages) - 1));
    assert_eq!(by_part, BTreeMap::from(sent));

    let count = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let mut totals: BTreeMap<[String; 3], (u64, u64)> = BTreeMap::new();
    for row in stage.of(CAMPAIGN, Topic::AccountState).iter().filter(|row| row["month"].is_string())
    {
        let counts = (count(row, "charge_count"), count(row, "billable_count"));
        totals.insert(key(row, "pricing_category"), counts);
    }
    totals.retain(|_, (charges, _)| *charges > 0);
    assert_eq!(totals, summed, "the account's totals are the sums of its charges");
}

const QUOTE: &str = "300000000000022";

fn quote(stage: &Stage, wamid: &str, word: &str) {
    let members = to("447700900501") + &price("utility", "regular");
    stage.status(QUOTE, wamid, word, stage.ago(60), &members);
}

/// A price on what was only sent; prices on the receipt of delivery and on that of reading.
fn quote_begins(stage: &Stage) {
    quote(stage, "wamid.QUOTE", "sent");
    quote(stage, "wamid.TWICE", "sent");
    quote(stage, "wamid.TWICE", "delivered");
}

fn quote_ends(stage: &Stage) {
    quote(stage, "wamid.QUOTE", "sent");
    quote(stage, "wamid.TWICE", "read");
    stage.settled();
    let charges = stage.of(QUOTE, Topic::Charge);
    let of: Vec<_> = charges.iter().map(|charge| charge["wamid"].as_str().unwrap()).collect();
    assert_eq!(of, ["wamid.TWICE"], "a quote is no charge, and two receipts are one");
    assert_eq!(charges[0]["conflicting"], false);
}

const GROUP: &str = "300000000000023";
const PARTICIPANTS: [&str; 3] = ["447700900511", "12025550143", "5511970000001"];

/// One receipt for several participants; its price is inside the conversation.
fn group(stage: &Stage, word: &str, participants: &[&str]) {
    let time = stage.ago(60);
    let of = |participant: &&str| {
        format!(
            r#"{{"id":"wamid.GROUP","status":"{word}","timestamp":"{time}","recipient_id":"Y2FwaV9ncm91cDox","recipient_type":"group","recipient_participant_id":"{participant}","conversation":{{"id":"c1","origin":{{"type":"group_utility"}},"pricing":{{"billable":true,"pricing_model":"PMP","category":"group_utility","type":"regular"}}}}}}"#
        )
    };
    let statuses: Vec<_> = participants.iter().map(of).collect();
    stage.post(GROUP, &format!(r#""statuses":[{}]"#, statuses.join(",")));
}

fn group_begins(stage: &Stage) {
    group(stage, "delivered", &PARTICIPANTS[..2]);
}

fn group_ends(stage: &Stage) {
    group(stage, "delivered", &PARTICIPANTS[1..]);
    group(stage, "read", &PARTICIPANTS[..1]);
    stage.settled();
    let charges = stage.of(GROUP, Topic::Charge);
    let mut told: Vec<_> = charges
        .iter()
        .map(|charge| {
            let text = |name: &str| charge[name].as_str().unwrap();
            (text("participant"), text("country"))
        })
        .collect();
    told.sort();
    let [gb, us, br] = PARTICIPANTS;
    assert_eq!(told, [(us, "US"), (gb, "GB"), (br, "BR")]);
    let ids: std::collections::BTreeSet<_> =
        charges.iter().map(|charge| charge["charge_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), PARTICIPANTS.len());
    for participant in PARTICIPANTS {
        let row = stage.row(Topic::MessageState, &format!("wamid.GROUP/{participant}"));
        assert_eq!(row.unwrap()["participant"], participant);
    }
}

const CONFLICT: &str = "300000000000024";

fn conflict_begins(stage: &Stage) {
    let members = to("447700900521") + &price("utility", "free_customer_service");
    stage.status(CONFLICT, "wamid.CONFLICT", "delivered", stage.ago(60), &members);
}

/// Another price with evidence as good: the charge is corrected and flagged, and a human is told.
fn conflict_ends(stage: &Stage) {
    let members = to("447700900521") + &price("utility", "regular");
    stage.status(CONFLICT, "wamid.CONFLICT", "read", stage.ago(50), &members);
    stage.status(CONFLICT, "wamid.CONFLICT", "read", stage.ago(50), &members);
    stage.settled();
    let charges = stage.of(CONFLICT, Topic::Charge);
    let flags: Vec<_> = charges.iter().map(|charge| charge["conflicting"].clone()).collect();
    assert_eq!(flags, [json!(false), json!(true)]);
    assert_eq!(charges[0]["charge_id"], charges[1]["charge_id"]);
    assert!(charges[0]["sequence"].as_u64() < charges[1]["sequence"].as_u64());
    let alerts = stage.of(CONFLICT, Topic::Alert);
    assert_eq!(kinds(&alerts), ["pricing_conflict"]);
}
