//! What cannot be understood is kept and named, and stops nothing.

use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::records::Topic;
use tickfold_proto::query::v1 as pb;

use crate::support::{
    NUMBER, Node, PARTY, Record, Rpc, WABA, assert_golden, base, eventually, messages_of, status,
    status_body, topic,
};

fn wait_for(rpc: &mut Rpc, wamid: &str) -> pb::Message {
    eventually("the message becomes visible", || rpc.message(wamid))
}

fn dead_letters(node: &Node) -> Vec<Value> {
    node.tail(&topic(Topic::DeadLetter)).iter().map(Record::json).collect()
}

#[test]
fn broken_statuses_among_good_ones_become_dead_letters_with_path_and_position() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let time = base();
    let statuses = [
        status("wamid.GOOD1", "sent", 1),
        format!(r#"{{"status":"sent","timestamp":"{time}","recipient_id":"{PARTY}"}}"#),
        status("wamid.GOOD2", "delivered", 2),
        "17".to_owned(),
        format!(r#"{{"id":"","status":"read","timestamp":"{time}"}}"#),
        format!(r#"{{"id":"wamid.NOWORD","timestamp":"{time}"}}"#),
        r#"{"id":"wamid.ODDWORD","status":{"is":"an object"}}"#.to_owned(),
        status("wamid.GOOD3", "read", 3),
    ];
    node.post(messages_of(WABA, &format!(r#""statuses":[{}]"#, statuses.join(","))));

    let mut rpc = node.rpc();
    for (wamid, state) in [
        ("wamid.GOOD1", pb::MessageState::Sent),
        ("wamid.GOOD2", pb::MessageState::Delivered),
        ("wamid.GOOD3", pb::MessageState::Read),
    ] {
        assert_eq!(wait_for(&mut rpc, wamid).state(), state, "{wamid}");
    }
    assert_golden(&node);
    for wamid in ["wamid.NOWORD", "wamid.ODDWORD"] {
        assert!(rpc.message(wamid).is_none(), "{wamid}");
    }
    let [raw] = node.raw_webhooks().try_into().unwrap();
    let letters = dead_letters(&node);
    let broken = [1, 3, 4, 5, 6];
    assert_eq!(letters.len(), broken.len(), "{letters:?}");
    for (letter, index) in letters.iter().zip(broken) {
        assert_eq!(letter["path"], format!("$.entry[0].changes[0].value.statuses[{index}]"));
        assert_eq!(letter["position"], format!("{}-{}", raw.partition, raw.offset));
        assert_eq!((&letter["scope"], &letter["field"]), (&"status".into(), &"messages".into()));
        assert_eq!(letter["raw"], statuses[index], "the fragment as it was sent");
        assert!(!letter["reason"].as_str().unwrap().is_empty());
    }
    node.stop();
}

#[test]
fn bodies_that_are_no_json_are_taken_and_become_one_dead_letter_each() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let whole = status_body("wamid.CUT", "sent", 1);
    let cut = &whole.as_bytes()[..whole.len() - 10];
    let bodies: [&[u8]; 4] = [cut, b"", b"\xff\xfe not text", b"{}{}"];
    for body in bodies {
        node.post(body);
    }
    assert_golden(&node);
    let raw = node.raw_webhooks();
    let letters = dead_letters(&node);
    assert_eq!((raw.len(), letters.len()), (bodies.len(), bodies.len()));
    for letter in &letters {
        assert_eq!((&letter["path"], &letter["scope"]), (&"$".into(), &"body".into()), "{letter}");
        let position = letter["position"].as_str().unwrap();
        let of = |record: &&Record| format!("{}-{}", record.partition, record.offset) == position;
        let body = raw.iter().find(of).and_then(Record::bytes).unwrap();
        assert!(bodies.contains(&body.as_slice()), "{position}");
    }
    assert!(node.rpc().message("wamid.CUT").is_none());
    node.stop();
}

/// A change of a field that nobody knows, whose value grows when it is quoted in an output.
pub(crate) fn monster(filler: &str, bytes: usize) -> String {
    let filler = filler.repeat(bytes / filler.len());
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{WABA}","changes":[{{"field":"brand_new_field","value":{{"metadata":{{"phone_number_id":"{NUMBER}"}},"junk":"{filler}"}}}}]}}]}}"#
    )
}

#[test]
fn a_huge_unknown_field_of_backslashes_does_not_stop_its_partition() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    // 3.9 MiB; in the output each backslash and each escape would be quoted once more.
    let bytes = 39 * 1024 * 1024 / 10;
    let bodies = [monster(r"\\", bytes), monster(r"\u005c", bytes), monster(r#"\""#, bytes)];
    for body in &bodies {
        node.post(body);
    }
    node.post(status_body("wamid.AFTER", "delivered", 1));
    let message = wait_for(&mut node.rpc(), "wamid.AFTER");
    assert_eq!(message.state(), pb::MessageState::Delivered);

    assert_golden(&node);
    let raw = node.raw_webhooks();
    assert_eq!(raw.len(), 4);
    for (record, body) in raw.iter().zip(&bodies) {
        assert!(record.bytes().unwrap() == body.as_bytes(), "raw differs from what was posted");
    }
    let events: Vec<_> = node.tail(&topic(Topic::Event));
    assert_eq!(events.len(), 3);
    for event in &events {
        assert_eq!(event.json()["raw_truncated"], true);
        assert_eq!(event.json()["field"], "brand_new_field");
        assert!(event.text().unwrap().len() < 2 * 1024 * 1024);
    }
    assert!(dead_letters(&node).is_empty());
    node.stop();
}
