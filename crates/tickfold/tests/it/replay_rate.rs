//! How fast history is replayed, beside how fast the same records were folded live, exactly once, in
//! the same run: a log that was filled beforehand, a node that catches up on it, and a replay of it.
//!
//! Prints both rates, and asserts that nothing differs afterwards. The ratio is not asserted: a replay
//! gives way to everything else on the machine, so it says something on an idle one only.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::raw::WebhookHeaders;
use tickfold_core::time::Timestamp;
use tickfold_log::{
    Append, EmbeddedLog, EmbeddedOptions, Header, KafkaLog, KafkaOptions, Log, TopicPartition,
};
use tickfold_processor::{raw_topic, topic_specs};
use tickfold_workload::{Spec, Traffic};

use crate::kafka::{broker, with_one_replica};
use crate::support::{Node, PARTITIONS, Quiet, SECRET, base, is_soak, say, up};

/// Records appended at once.
const CHUNK: usize = 1_000;

/// How long a node may take to catch up on everything, unless it is a soak.
const CATCH_UP: Duration = Duration::from_secs(300);

/// Appends webhooks as ingress would, without their HTTP. Returns where the partitions end.
fn fill(log: Arc<dyn Log>, prefix: &str, webhooks: usize) -> Vec<u64> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let base = Timestamp::from_millis(base() * 1_000);
    let spec = Spec { webhooks_per_second: 1_000, batches: 0.0, ..Spec::default() };
    let mut traffic = Traffic::new(&spec, SECRET.as_bytes(), base).unwrap();
    let raw = raw_topic(prefix);
    runtime.block_on(async {
        log.ensure_topics(&topic_specs(prefix, PARTITIONS)).await.unwrap();
        for chunk in 0..webhooks.div_ceil(CHUNK) {
            let count = CHUNK.min(webhooks - chunk * CHUNK);
            let appends: Vec<_> =
                traffic.by_ref().take(count).flat_map(|webhook| appends(&raw, webhook)).collect();
            log.append(appends).await.unwrap();
        }
        let topics = log.topics().await.unwrap();
        let filled = topics.iter().find(|topic| topic.spec.name == raw).unwrap();
        let ends = filled.bounds.iter().map(|bounds| bounds.end).collect();
        log.close().await.unwrap();
        ends
    })
}

fn appends(raw: &str, webhook: tickfold_workload::Webhook) -> Vec<Append> {
    let headers = WebhookHeaders {
        signature: webhook.signature.unwrap(),
        received_time: Timestamp::from_millis(base() * 1_000),
        app: "main".to_owned(),
        secret_id: "primary".to_owned(),
        request_id: "r".to_owned(),
        partition_count: PARTITIONS,
    };
    let header = |(name, value): (&'static str, String)| Header {
        name: name.into(),
        value: Bytes::from(value),
    };
    let headers: Vec<_> = headers.encode().into_iter().map(header).collect();
    let places = tickfold_core::route(&webhook.body, PARTITIONS).into_iter();
    places
        .map(|place| Append {
            to: TopicPartition::new(raw, place.partition),
            key: Some(Bytes::from(place.key)),
            value: Some(webhook.body.clone()),
            headers: headers.clone(),
            timestamp_ms: None,
        })
        .collect()
}

/// The node folds what is there, then folds it once more beside.
fn measure(what: &str, root: &Path, command: Command, ends: &[u64], quiet: bool) {
    let records: u64 = ends.iter().sum();
    let begun = Instant::now();
    let node = Node::spawn(root, command).unwrap_or_else(|ended| panic!("{ended:?}"));
    let caught_up = |status: &Value| {
        let partitions = status["partitions"].as_array().unwrap();
        ends.iter().zip(partitions).all(|(end, of)| of["position"].as_u64() >= Some(*end))
    };
    loop {
        let status: Value = serde_json::from_str(&node.admin("/statusz").text()).unwrap();
        if caught_up(&status) {
            break;
        }
        assert!(is_soak() || begun.elapsed() < CATCH_UP, "{status}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let live = begun.elapsed();

    let status = node.cli_json(&["replay", "run"]);
    assert_eq!(status["state"], "done");
    let (read, rate) = (status["records"].as_u64().unwrap(), &status["records_per_second"]);
    assert!(read >= records, "{read} of {records}");
    let replayed = rate.as_f64().unwrap();
    let begun = Instant::now();
    let ended = node.cli(&["replay", "diff"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let compared = begun.elapsed();
    let live = records as f64 / live.as_secs_f64();
    let load = if quiet { "idle machine" } else { "beside other tests" };
    let ratio = replayed / live;
    say(&format!(
        "{what}, {records} records, {load}: live exactly once {live:.0}/s, replayed {replayed:.0}/s: \
         {ratio:.1} times; compared in {compared:.1?} without a difference"
    ));
    node.stop();
}

#[test]
fn a_replay_is_faster_than_what_it_repeats() {
    let quiet = Quiet::within(Duration::from_secs(15));
    let dir = TempDir::new().unwrap();
    let webhooks = if is_soak() { 2_000_000 } else { 20_000 };
    let log_dir = dir.path().join("data/log");
    std::fs::create_dir_all(&log_dir).unwrap();
    let log = EmbeddedLog::open(&log_dir, EmbeddedOptions::default()).unwrap();
    let ends = fill(log, "wa", webhooks);
    drop_quiet_then(quiet, |quiet| {
        measure("embedded", dir.path(), up(dir.path()), &ends, quiet);
    });
}

#[test]
fn a_replay_is_faster_than_what_it_repeats_on_kafka() {
    let quiet = Quiet::within(Duration::from_secs(15));
    let dir = TempDir::new().unwrap();
    let webhooks = if is_soak() { 500_000 } else { 10_000 };
    let brokers = broker::shared();
    let options = KafkaOptions {
        replication_factor: 1,
        min_insync_replicas: 1,
        append_time_topics: vec![raw_topic("rate")],
        ..KafkaOptions::new(&brokers)
    };
    let ends = fill(KafkaLog::connect(options).unwrap(), "rate", webhooks);
    let mut command = up(dir.path());
    command.args(["--kafka", &brokers]);
    with_one_replica(&mut command);
    command.env("TICKFOLD_TOPIC_PREFIX", "rate").env("TICKFOLD_GROUP", "rate");
    drop_quiet_then(quiet, |quiet| measure("kafka", dir.path(), command, &ends, quiet));
}

/// A node started by the usual way waits for the holder of [`Quiet`], which is us.
fn drop_quiet_then(quiet: Option<Quiet>, measure: impl FnOnce(bool)) {
    let was_quiet = quiet.is_some();
    drop(quiet);
    measure(was_quiet);
}
