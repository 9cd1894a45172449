//! The state of then: what `get` and `explain` say with `--at` is what the golden fold of the records
//! up to there has, from nothing and from a checkpoint.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::ids::Wamid;

use crate::support::{
    Golden, NUMBER, Node, PARTY, RAW, Record, WABA, assert_golden, cli, eventually, status_body, up,
};

const WORDS: [&str; 3] = ["sent", "delivered", "read"];
const MESSAGES: usize = 12;

fn wamid(index: usize) -> String {
    format!("wamid.T{index}")
}

/// Each message is sent, then each delivered, then each read: offsets of one partition.
fn post_all(node: &Node) {
    let mut http = node.webhooks();
    for (step, word) in WORDS.iter().enumerate() {
        for index in 0..MESSAGES {
            let body = status_body(&wamid(index), word, i64::try_from(step).unwrap());
            assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
        }
    }
}

fn of_then(node: &Node, args: &[&str], at: &str) -> Value {
    node.cli_json(&[args, &["--at", at]].concat())
}

/// The records below an offset of their partition.
fn below(raw: &[Record], partition: u32, offset: u64) -> Vec<Record> {
    raw.iter().filter(|r| r.partition == partition && r.offset < offset).cloned().collect()
}

fn check(node: &Node) {
    let raw = node.tail(RAW);
    let ours: Vec<_> = raw.iter().filter(|record| record.is_webhook()).collect();
    let partition = ours[0].partition;
    assert!(ours.iter().all(|record| record.partition == partition));
    // Also backwards: what is kept of a later moment is no use then.
    for nth in [5, 20, ours.len() - 1, 13, 30] {
        let offset = ours[nth].offset + 1;
        let golden = Golden::of(&below(&raw, partition, offset));
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
            assert_eq!(shown["as_of"]["positions"][0]["offset"], offset);
            let told = of_then(node, &["explain", &id], &offset.to_string());
            let records = told["records"].as_array().unwrap();
            assert_eq!(records.len(), expected.history.len(), "{told}");
            assert_eq!(told["ranges"][0]["until_offset"], offset);
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
    // Every kind of lookup has it.
    let early = ours[0].offset + 1;
    let shown = of_then(
        node,
        &["get", "conversation", NUMBER, PARTY, "--messages", "5"],
        &early.to_string(),
    );
    assert_eq!(shown["messages"].as_array().unwrap().len(), 1, "{shown}");
    let now = node.cli_json(&["get", "conversation", NUMBER, PARTY, "--messages", "5"]);
    assert_eq!(now["messages"].as_array().unwrap().len(), 5);
    for args in
        [&["get", "number", NUMBER][..], &["get", "account", WABA], &["get", "user", WABA, PARTY]]
    {
        let ended = node.cli(&[args, &["--at", &early.to_string()]].concat());
        assert!(matches!(ended.code, Some(0 | 3)), "{args:?}: {ended:?}");
    }
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
