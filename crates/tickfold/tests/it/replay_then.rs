//! The state of then: what `get` and `explain` say with `--at` is what the golden fold of the records
//! up to there has, from nothing and from a checkpoint.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::ids::{ConversationKey, PartyId, PhoneNumberId, UserKey, WabaId, Wamid};
use tickfold_core::overlay::Overlay;
use tickfold_core::state::Preference;
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;

use crate::standing;
use crate::support::{
    Golden, NUMBER, Node, PARTY, RAW, Record, WABA, assert_golden, base, cli, eventually,
    messages_of, status_body, up,
};
use crate::support_crash::{answered, told};

const WORDS: [&str; 3] = ["sent", "delivered", "read"];
const MESSAGES: usize = 12;

fn wamid(index: usize) -> String {
    format!("wamid.T{index}")
}

/// Each message is sent, then each delivered, then each read, and after each of these steps something is
/// told of the number, the account and the user: offsets of one partition.
fn post_all(node: &Node) {
    let mut http = node.webhooks();
    for (step, word) in (0_i64..).zip(WORDS) {
        let statuses = (0..MESSAGES).map(|index| status_body(&wamid(index), word, step));
        for body in statuses.chain(standings(step)) {
            assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
        }
    }
}

/// What is told after a step.
fn standings(step: i64) -> [String; 4] {
    let time = base() + step;
    let odd = step % 2 == 1;
    let inbound = messages_of(
        WABA,
        &format!(
            r#""contacts":[{{"profile":{{"name":"Name {step}"}},"wa_id":"{PARTY}"}}],"messages":[{{"id":"wamid.IN{step}","from":"{PARTY}","timestamp":"{time}","type":"text","text":{{"body":"hello"}}}}]"#
        ),
    );
    let quality = if odd { "UNFLAGGED" } else { "FLAGGED" };
    let quality = format!(
        r#""display_phone_number":"15550100001","event":"{quality}","current_limit":"TIER_{step}K""#
    );
    let decision = if odd { "APPROVED" } else { "REJECTED" };
    let wanted = if odd { "resume" } else { "stop" };
    let wanted = format!(
        r#""user_preferences":[{{"wa_id":"{PARTY}","category":"marketing_messages","value":"{wanted}","timestamp":{time}}}]"#
    );
    [
        inbound,
        standing::told(WABA, "phone_number_quality_update", time, &quality),
        standing::told(WABA, "account_review_update", time, &format!(r#""decision":"{decision}""#)),
        standing::told(WABA, "user_preferences", time, &wanted),
    ]
}

fn of_then(node: &Node, args: &[&str], at: &str) -> Value {
    node.cli_json(&[args, &["--at", at]].concat())
}

/// The records below an offset of their partition.
fn below(raw: &[Record], partition: u32, offset: u64) -> Vec<Record> {
    raw.iter().filter(|r| r.partition == partition && r.offset < offset).cloned().collect()
}

/// Which of [`wanted`] is the user.
const USER: usize = 2;

/// A lookup that is no message's, and fields of what it must tell; `None`: that it is not there.
type Wanted = (Vec<&'static str>, Option<Value>);

/// What the golden state has of the number, the account, the user and the conversation.
fn wanted(state: &Overlay) -> [Wanted; 4] {
    let (waba_id, number, party) =
        (WabaId::from(WABA), PhoneNumberId::from(NUMBER), PartyId::from(PARTY));
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let of_number = state.numbers.get(&number).cloned().flatten().map(|row| {
        json!({
            "waba_id": row.facts.waba_id.as_ref().map(ToString::to_string),
            "display_phone_number": row.facts.display_phone_number(),
            "quality_event": row.facts.standing.newest_quality().map(|(event, _)| event),
            "messaging_limit": row.facts.standing.limit(),
            "first_seen_time": time(Some(row.journal.created)),
            "revision": row.journal.revision,
        })
    });
    let of_account = state.accounts.get(&waba_id).cloned().flatten().map(|row| {
        let review = row.facts.review.as_ref();
        json!({
            "review_decision": review.map(|review| review.decision.clone()),
            "review_time": time(review.and_then(|review| review.time)),
            "revision": row.journal.revision,
        })
    });
    let key = UserKey { waba_id, party: party.clone() };
    let of_user = state.users.get(&key).cloned().flatten().map(|row| {
        let preferences = row.facts.preferences.iter().map(|(category, preference)| {
            let Preference { time: at, stop, value } = preference;
            let mut told = json!({
                "category": category,
                "value": value,
                "stopped": stop,
                "party": PARTY,
            });
            if let Some(at) = time(*at) {
                told["event_time"] = at.into();
            }
            told
        });
        let preferences: Vec<_> = preferences.collect();
        json!({
            "name": row.facts.profile.as_ref().and_then(|profile| profile.name.clone()),
            "preferences": if preferences.is_empty() { Value::Null } else { preferences.into() },
            "revision": row.journal.revision,
        })
    });
    let key = ConversationKey { phone_number_id: number, party };
    let of_conversation = state.conversations.get(&key).cloned().flatten().map(|row| {
        json!({
            "first_inbound_time": time(row.facts.first_inbound),
            "last_inbound_time": time(row.facts.last_inbound),
            "last_outbound_time": time(row.facts.last_outbound),
            "inbound_count": row.inbound_count,
            "outbound_count": row.outbound_count,
            "revision": row.journal.revision,
        })
    });
    [
        (vec!["get", "number", NUMBER], of_number),
        (vec!["get", "account", WABA], of_account),
        (vec!["get", "user", WABA, PARTY], of_user),
        (vec!["get", "conversation", NUMBER, PARTY, "--messages", "50"], of_conversation),
    ]
}

/// Every kind of lookup tells what the golden state of then has, and nothing that it has not. Which of
/// them it has.
fn check_others(node: &Node, state: &Overlay, at: &str) -> [bool; 4] {
    wanted(state).map(|(args, wanted)| {
        let Some(wanted) = wanted else {
            let ended = node.cli(&[&args[..], &["--at", at]].concat());
            assert_eq!(ended.code, Some(3), "{args:?} at {at}: {ended:?}");
            return false;
        };
        let shown = of_then(node, &args, at);
        for (field, value) in wanted.as_object().unwrap() {
            assert_eq!(shown[field], *value, "{field} of {args:?} at {at}: {shown:#}");
        }
        // All messages are of the one conversation.
        if let Some(listed) = shown["messages"].as_array() {
            assert_eq!(listed.len(), state.messages.changes().count(), "{args:?} at {at}");
        }
        true
    })
}

fn check(node: &Node) {
    let raw = node.tail(RAW);
    let ours: Vec<_> = raw.iter().filter(|record| record.is_webhook()).collect();
    let partition = ours[0].partition;
    assert!(ours.iter().all(|record| record.partition == partition));
    // Also backwards: what is kept of a later moment is no use then.
    let (mut rpc, mut found) = (node.rpc(), Vec::new());
    for nth in [5, 20, ours.len() - 1, 13, 30, 14] {
        let offset = ours[nth].offset + 1;
        let golden = Golden::of(&below(&raw, partition, offset));
        let then = format!("{partition}@{offset}");
        found.push(check_others(node, &golden.state[&partition], &then));
        for index in [0, MESSAGES / 2, MESSAGES - 1] {
            let id = wamid(index);
            let entry = golden.state[&partition].messages.get(&Wamid::from(id.as_str()));
            let args = ["get", "message", id.as_str()];
            let Some(Some(expected)) = entry else {
                let at = offset.to_string();
                let ended = node.cli(&[&args[..], &["--at", &at]].concat());
                assert_eq!(ended.code, Some(3), "{id} at {at}: {ended:?}");
                continue;
            };
            let at = format!("{partition}@{offset}");
            let shown = of_then(node, &args, &at);
            assert_eq!(shown["state"], expected.facts.state().unwrap().as_str(), "{id} at {at}");
            let history = shown["history"].as_array().unwrap();
            assert_eq!(history.len(), expected.history.len(), "{id} at {at}");
            let moment = pb::moment::Moment::Position(pb::Position { partition, offset });
            let message = rpc.message_then(&id, pb::Moment { moment: Some(moment) }).unwrap();
            assert_eq!(answered(&message), told(partition, &id, expected), "{at}");
            assert_eq!(shown["as_of"]["positions"][0]["offset"], offset);
            let explained = of_then(node, &["explain", &id], &offset.to_string());
            let records = explained["records"].as_array().unwrap();
            assert_eq!(records.len(), expected.history.len(), "{explained}");
            assert_eq!(explained["ranges"][0]["until_offset"], offset);
        }
    }
    // By time: everything appended up to it.
    let last_sent = ours[MESSAGES - 1];
    let time = last_sent.timestamp().to_string();
    let until = ours.iter().filter(|record| record.timestamp() <= last_sent.timestamp()).count();
    let shown = of_then(node, &["get", "message", &wamid(0)], &time);
    let golden = Golden::of(&below(&raw, partition, ours[until - 1].offset + 1));
    let state = golden.state[&partition].messages.get(&Wamid::from(wamid(0).as_str()));
    let expected = state.cloned().flatten().unwrap();
    assert_eq!(shown["state"], expected.facts.state().unwrap().as_str());
    // The user was not known at first, and all of them are in the end.
    let met = |kind: usize, known: bool| found.iter().any(|found| found[kind] == known);
    assert!(met(USER, false) && (0..4).all(|kind| met(kind, true)), "{found:?}");
    // A page of messages is of then, too.
    let early = ours[0].offset + 1;
    let shown = of_then(
        node,
        &["get", "conversation", NUMBER, PARTY, "--messages", "5"],
        &early.to_string(),
    );
    assert_eq!(shown["messages"].as_array().unwrap().len(), 1, "{shown}");
    let now = node.cli_json(&["get", "conversation", NUMBER, PARTY, "--messages", "5"]);
    assert_eq!(now["messages"].as_array().unwrap().len(), 5);
    // What is not there yet, or nowhere.
    let ahead = node.cli(&["get", "message", &wamid(0), "--at", "1000000000"]);
    assert_eq!(ahead.code, Some(1), "{ahead:?}");
    assert!(ahead.stderr.contains("is not there yet (INVALID_ARGUMENT)"), "{ahead:?}");
    let nobody = node.cli(&["get", "message", "wamid.NOBODY", "--at", "1"]);
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    let absent = node.cli(&["get", "message", &wamid(0), "--at", "99@1"]);
    assert!(absent.code == Some(1) && absent.stderr.contains("is no partition"), "{absent:?}");
    let odd = cli(&["get", "message", "w", "--at", "yesterday"]);
    assert_eq!(odd.code, Some(2), "{odd:?}");
}

#[test]
fn the_state_of_then_is_the_golden_fold_up_to_then() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    post_all(&node);
    assert_golden(&node);
    check(&node);
    node.stop();
    // Nothing is left of it but for a moment.
    let node = Node::start(dir.path());
    assert!(!dir.path().join("data/state/then").exists());
    node.stop();
}

fn with_checkpoints(root: &std::path::Path) -> Command {
    let mut command = up(root);
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", root.join("checkpoints"));
    command.env("TICKFOLD_PROCESSOR_CHECKPOINT_INTERVAL", "1s");
    command.env("TICKFOLD_PROCESSOR_CHECKPOINTS_KEPT", "1000");
    command
}

#[test]
fn the_state_of_then_begins_on_a_checkpoint() {
    let dir = TempDir::new().unwrap();
    let node = Node::spawn(dir.path(), with_checkpoints(dir.path())).unwrap();
    post_all(&node);
    let partition = node.raw_webhooks()[0].partition;
    let place = dir.path().join("checkpoints").join(partition.to_string());
    let offsets = || -> Vec<u64> {
        let listed = std::fs::read_dir(&place).into_iter().flatten();
        let names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| name.parse().ok()).collect()
    };
    let mut extra = 0;
    eventually("a checkpoint is made", || {
        extra += 1;
        node.post(status_body(&format!("wamid.X{extra}"), "sent", 1));
        offsets().into_iter().max().filter(|offset| *offset > 0)
    });
    assert_golden(&node);
    // A message of after the checkpoint, so that its state of then can begin there.
    let newest = offsets().into_iter().max().unwrap();
    for index in 0..3 {
        node.post(status_body(&format!("wamid.Y{index}"), "sent", 1));
    }
    let golden = assert_golden(&node);
    let message = golden.state[&partition].messages.get(&Wamid::from("wamid.Y1")).cloned();
    let at = message.flatten().unwrap().journal.revision + 1;
    assert!(at > newest);
    let shown = of_then(&node, &["get", "message", "wamid.Y1"], &at.to_string());
    assert_eq!(shown["state"], "sent");
    let ended = node.cli(&["get", "message", "wamid.Y2", "--at", &at.to_string()]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    // The private store was made of the checkpoint's table files, not folded from nothing.
    let log = node.log();
    assert!(log.contains("state of then begins"), "{log}");
    let line = log.lines().rfind(|line| line.contains("state of then begins")).unwrap();
    let from = line.rsplit("from=").next().unwrap();
    let from: u64 = from.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    assert!(from >= newest, "{line}");
    node.stop();
}
