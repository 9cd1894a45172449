//! The whole process with its log on a real Kafka broker.

#[allow(dead_code, reason = "the log's own tests use the rest of it")]
#[path = "../../../tickfold-log/tests/kafka/broker.rs"]
pub(crate) mod broker;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    Node, Record, assert_golden, eventually, run, say, soak_row, status_body, tickfold, up,
    with_secrets,
};
use crate::support_crash::Load;

const KILLS: u64 = 4;

/// Topics of one replica: the broker is alone.
pub(crate) fn with_one_replica(command: &mut Command) {
    command.env("TICKFOLD_KAFKA_REPLICATION_FACTOR", "1");
    command.env("TICKFOLD_KAFKA_MIN_INSYNC_REPLICAS", "1");
}

/// `tickfold up` on the broker.
fn up_on_kafka(root: &Path) -> Command {
    let mut command = up(root);
    command.args(["--kafka", &broker::shared()]);
    with_one_replica(&mut command);
    command
}

fn start(root: &Path) -> Node {
    Node::spawn(root, up_on_kafka(root)).unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
}

/// One test, since all nodes share the topics: statuses in the wrong order, verified load, kill -9
/// under load, and a start on an empty directory. After each, what is committed is the golden fold
/// of raw, byte for byte.
#[test]
fn everything_holds_with_the_log_on_kafka() {
    let dir = TempDir::new().unwrap();
    let node = start(dir.path());
    for (word, after_s) in [("read", 3), ("sent", 1), ("delivered", 2)] {
        node.post(status_body("wamid.KAFKA", word, after_s));
    }
    let message = eventually("the message is read", || {
        node.rpc().message("wamid.KAFKA").filter(|message| message.history.len() == 3)
    });
    assert_eq!(message.wamid, "wamid.KAFKA");
    assert_golden(&node);

    let mut command = tickfold();
    let url = format!("http://{}/webhook/main", node.http);
    command.args(["load", "--url", &url, "--grpc-addr", &node.grpc, "-o", "json", "--verify"]);
    command.args(["--rate", "200", "--duration", "5s", "--duplicates", "0.2"]);
    with_secrets(&mut command);
    let ended = run(command, b"");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["verify"]["ok"], true, "{report:#}");
    assert_eq!(report["accepted"], report["good"], "{report:#}");
    say(&format!("load on kafka: {} accepted, {}", report["accepted"], report["latency_ms"]));

    let load = Load::new(21);
    let mut acknowledged = Vec::new();
    let mut node = node;
    for life in 0..KILLS {
        let posted = load.run(&node.http, 60, |progress| {
            progress.wait_for(40 + life);
            node.signal(Signal::KILL);
        });
        assert!(posted.acknowledged.len() >= 40, "{} answers", posted.acknowledged.len());
        acknowledged.extend(posted.acknowledged);
        node = start(dir.path());
        let outputs: usize = assert_golden(&node).outputs.values().map(Vec::len).sum();
        say(&format!("kill -9 {life} on kafka: {outputs} outputs are golden"));
    }
    let raw = node.raw_webhooks();
    let raw: BTreeSet<Vec<u8>> = raw.iter().filter_map(Record::bytes).collect();
    let missing = acknowledged.iter().filter(|body| !raw.contains(*body)).count();
    soak_row("kill -9 with the log on kafka", KILLS, KILLS, missing as u64, 0);
    assert_eq!(missing, 0, "of {} acknowledged", acknowledged.len());

    node.stop();
    let afresh = TempDir::new().unwrap();
    let node = start(afresh.path());
    eventually("the state is folded again", || {
        node.rpc().message("wamid.KAFKA").filter(|message| message.history.len() == 3)
    });
    assert_golden(&node);
    node.stop();
}
