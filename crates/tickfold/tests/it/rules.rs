//! Rules through the command line: shown, compared, applied, refused, and in force after a crash.

use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::records::Topic;

use crate::support::{Ended, Node, assert_golden, cli, eventually, status_body};

/// Ten minutes ago: a fallback is asked for within the hour only.
const RECENT_S: i64 = 3_000;

/// Kinds of actions and reasons of alerts, in order.
fn kinds(node: &Node, topic: Topic) -> Vec<Value> {
    node.values(topic).into_iter().map(|mut value| value["kind"].take()).collect()
}

fn refused(ended: &Ended, by: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(by), "{ended:?}");
}

/// The version that all partitions have, if they agree.
fn version(node: &Node) -> Option<u64> {
    let shown = node.cli_json(&["rules", "show"]);
    let of: Vec<_> = shown["partitions"].as_array().unwrap().iter().collect();
    assert_eq!(of.len(), 8);
    let version = of[0]["version"].as_u64();
    of.iter().all(|one| one["version"].as_u64() == version).then_some(version).flatten()
}

#[test]
fn rules_are_shown_compared_and_applied_and_hold_after_a_crash() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("rules.json");
    let path = file.to_str().unwrap();
    let built_in = cli(&["rules", "show", "--built-in"]);
    assert_eq!(built_in.code, Some(0));

    let node = Node::start(dir.path());
    let shown = node.cli(&["rules", "show"]);
    assert_eq!((shown.code, &shown.stdout), (Some(0), &built_in.stdout));
    assert!(shown.stderr.contains("version 1 on 8 of 8 partitions"), "{}", shown.stderr);
    node.post(status_body("wamid.BEFORE", "failed", RECENT_S));

    // What is shown can be edited and compared.
    std::fs::write(&file, &shown.stdout).unwrap();
    assert_eq!(node.cli(&["rules", "diff", path]).code, Some(0));
    let mut document: Value = serde_json::from_str(&shown.stdout).unwrap();
    document["codes"][0]["actions"] = json!([{"do": "alert"}]);
    document["version"] = json!(2);
    std::fs::write(&file, document.to_string()).unwrap();
    let diff = node.cli(&["rules", "diff", path]);
    assert_eq!(diff.code, Some(1));
    for line in ["-  \"version\": 1,", "+  \"version\": 2,", "+          \"do\": \"alert\""] {
        assert!(diff.stdout.lines().any(|one| one == line), "{line}: {}", diff.stdout);
    }

    let applied = node.cli_json(&["rules", "apply", path]);
    assert_eq!((&applied["version"], &applied["current"]), (&json!(2), &json!([])));
    assert_eq!(applied["appended"].as_array().unwrap().len(), 8);
    eventually("all partitions have version 2", || (version(&node)? == 2).then_some(()));
    let again = node.cli_json(&["rules", "apply", path]);
    assert_eq!(
        (again["appended"].as_array().unwrap().len(), again["current"][7].as_u64()),
        (0, Some(7))
    );
    node.post(status_body("wamid.AFTER", "failed", RECENT_S));

    // What is refused appends nothing.
    document["retention"] = json!("90d");
    document["media_valid_for"] = json!("6d");
    std::fs::write(&file, document.to_string()).unwrap();
    refused(&node.cli(&["rules", "apply", path]), "RULES_VERSION_NOT_ABOVE");
    document["retention"] = json!("1d");
    std::fs::write(&file, document.to_string()).unwrap();
    refused(&node.cli(&["rules", "apply", path]), "retention: is 1d, not between 8d");
    refused(&node.cli(&["rules", "apply", "rules.yaml"]), ".json or .toml");

    assert_golden(&node);
    node.kill9();
    let node = Node::start(dir.path());
    assert_eq!(version(&node), Some(2));
    node.post(status_body("wamid.LATER", "failed", RECENT_S));
    assert_golden(&node);
    assert_eq!(kinds(&node, Topic::Action), ["sms_fallback"]);
    // One for the account and hour, or two if the hour ended in between.
    let alerts = kinds(&node, Topic::Alert);
    assert!((1..=2).contains(&alerts.len()), "{alerts:?}");
    assert!(node.values(Topic::DeadLetter).is_empty());
    node.stop();
}
