//! The whole process with its log on a real Kafka broker, without faults: those are in `kafka_crash`,
//! `kafka_broker`, `kafka_state` and `kafka_restart`.

#[allow(dead_code, reason = "the log's own tests use the rest of it")]
#[path = "../../../tickfold-log/tests/kafka/broker.rs"]
pub(crate) mod broker;

use std::process::Command;

use tempfile::TempDir;

use crate::support::{
    Node, PARTITIONS, assert_golden, eventually, run, say, status_body, tickfold, up, with_secrets,
};

/// Topics of one replica, since the broker is alone, and as many partitions as on the embedded log.
pub(crate) fn with_one_replica(command: &mut Command) {
    command.env("TICKFOLD_PARTITIONS", PARTITIONS.to_string());
    command.env("TICKFOLD_KAFKA_REPLICATION_FACTOR", "1");
    command.env("TICKFOLD_KAFKA_MIN_INSYNC_REPLICAS", "1");
}

/// Statuses in the wrong order, then verified load: what is committed is the golden fold of raw,
/// byte for byte.
#[test]
fn everything_holds_with_the_log_on_kafka() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    command.args(["--kafka", &broker::shared()]);
    with_one_replica(&mut command);
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("ended: {ended:?}"));
    for (word, after_s) in [("read", 3), ("sent", 1), ("delivered", 2)] {
        node.post(status_body("wamid.KAFKA", word, after_s));
    }
    let message = eventually("the message is read", || {
        node.rpc().message("wamid.KAFKA").filter(|message| message.history.len() == 3)
    });
    assert_eq!(message.state_text, "read");
    assert_golden(&node);
    // Whoever posts reads it at the place that the answer names.
    let mut rpc = node.rpc();
    for n in 0..20 {
        let wamid = format!("wamid.OWN{n}");
        let positions = node.post(status_body(&wamid, "sent", n));
        assert!(rpc.try_message(&wamid, &positions).unwrap().is_some(), "{wamid} {positions:?}");
    }

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
    assert_golden(&node);
    node.stop();
}
