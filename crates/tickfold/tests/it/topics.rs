//! `tickfold topics --check` and `--create` on a real broker: what they print, what they leave alone,
//! and that a node starts on what they created and on nothing they call wrong.

use std::process::Command;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use serde_json::Value;
use tempfile::TempDir;

use crate::kafka::{broker, with_one_replica};
use tickfold_core::records::Topic;

use crate::support::{
    Ended, Node, eventually, role_args, run, status_body, tickfold, up, with_secrets,
};

/// Topics of a configuration: raw, the derived ones, and the quarantine.
const TOPICS: usize = 2 + Topic::ALL.len();

/// A command with the settings of the nodes, by their variables.
fn configured(mut command: Command, prefix: &str) -> Command {
    with_one_replica(&mut command);
    command.env("TICKFOLD_KAFKA_BROKERS", broker::shared());
    command.env("TICKFOLD_TOPIC_PREFIX", prefix).env("TICKFOLD_GROUP", prefix);
    command.env("TICKFOLD_INGRESS_QUARANTINE_BYTES_MAX", "8MiB");
    command
}

fn topics(prefix: &str, args: &[&str]) -> Ended {
    let mut command = configured(tickfold(), prefix);
    command.arg("topics").args(args);
    run(command, b"")
}

/// The reports, and the exit code that came with them.
fn reports(prefix: &str, args: &[&str]) -> (Vec<Value>, Option<i32>) {
    let ended = topics(prefix, &[args, &["-o", "jsonl"]].concat());
    let lines = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    (lines.collect(), ended.code)
}

fn report<'a>(reports: &'a [Value], topic: &str) -> &'a Value {
    let found = reports.iter().find(|report| report["topic"] == topic);
    found.unwrap_or_else(|| panic!("no {topic} in {reports:#?}"))
}

/// Names of the settings of a report with a verdict.
fn settings<'a>(report: &'a Value, verdict: &str) -> Vec<&'a str> {
    let settings = report["settings"].as_array().unwrap().iter();
    let settings = settings.filter(|setting| setting["verdict"] == verdict);
    settings.map(|setting| setting["name"].as_str().unwrap()).collect()
}

/// Has Kafka's own administration do something, which must come to its end.
fn administer(
    work: impl AsyncFnOnce(&AdminClient<DefaultClientContext>) -> KafkaResult<Vec<TopicResult>>,
) {
    let admin: AdminClient<DefaultClientContext> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", broker::shared()).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = runtime.block_on(work(&admin)).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

fn make(topics: &[NewTopic<'_>]) {
    administer(async |admin| admin.create_topics(topics, &AdminOptions::new()).await);
}

#[test]
fn topics_are_created_as_a_node_wants_them_and_found_right() {
    let prefix = "fresh";
    let (missing, code) = reports(prefix, &["--check"]);
    assert_eq!((missing.len(), code), (TOPICS, Some(2)));
    for report in &missing {
        assert_eq!(
            (&report["verdict"], &report["to_do"][0]),
            (&"missing".into(), &"tickfold topics --create".into())
        );
    }
    assert_eq!(reports(prefix, &["--check"]).0, missing, "looking changes nothing");

    let (created, code) = reports(prefix, &["--create"]);
    assert_eq!(code, Some(0), "{created:#?}");
    assert!(created.iter().all(|report| report["created"] == true && report["verdict"] == "ok"));
    let (checked, code) = reports(prefix, &["--check"]);
    assert_eq!(code, Some(0), "{checked:#?}");
    for report in &checked {
        assert!(report.get("created").is_none() && report.get("to_do").is_none(), "{report:#}");
        assert_eq!(settings(report, "ok").len(), report["settings"].as_array().unwrap().len());
    }

    let text = topics(prefix, &["--check"]).stdout;
    let head = text.lines().next().unwrap();
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>(),
        ["TOPIC", "SETTING", "WANTED", "FOUND", "VERDICT"]
    );
    assert!(text.contains("\nfresh.webhook.raw.v1: ok\n"), "{text}");

    let dir = TempDir::new().unwrap();
    let node = Node::spawn(dir.path(), configured(up(dir.path()), prefix));
    let node = node.unwrap_or_else(|ended| panic!("{ended:?}"));
    node.post(status_body("wamid.TOPICS", "sent", 1));
    node.stop();

    // The topic grows. What is there was routed by the old count, so ingress must not use another.
    let grown = NewPartitions::new("fresh.webhook.raw.v1", 16);
    administer(async |admin| admin.create_partitions([&grown], &AdminOptions::new()).await);
    let ingress = |partitions: &str| {
        let mut command = configured(tickfold(), prefix);
        command.args(role_args("ingress", dir.path())).env("TICKFOLD_PARTITIONS", partitions);
        with_secrets(&mut command);
        Node::spawn(dir.path(), command)
    };
    let refused = ingress("16").expect_err("it routes by another count");
    assert!(refused.stderr.contains("was folded with 8"), "{refused:?}");
    for partitions in ["8", "0"] {
        let node = ingress(partitions).unwrap_or_else(|ended| panic!("{ended:?}"));
        node.post(status_body("wamid.TOPICS", "delivered", 2));
        node.stop();
    }
}

#[test]
fn what_a_node_would_refuse_is_named_with_the_way_out_and_left_alone() {
    let prefix = "odd";
    let (raw, few, many) = ("odd.webhook.raw.v1", "odd.transition.v1", "odd.message.state.v1");
    let one = || TopicReplication::Fixed(1);
    make(&[
        NewTopic::new(raw, 8, one()).set("retention.ms", "604800000").set("retention.bytes", "-1"),
        NewTopic::new(few, 3, one()),
        NewTopic::new(many, 12, one())
            .set("cleanup.policy", "compact")
            .set("max.message.bytes", "6000000")
            .set("message.timestamp.after.max.ms", "9223372036854775807"),
    ]);
    // A broker answers a creation a moment before it shows the topic.
    let (checked, code) = eventually("the topics are shown", || {
        let (checked, code) = reports(prefix, &["--check"]);
        let shown = |topic: &&str| report(&checked, topic)["verdict"] != "missing";
        [raw, few, many].iter().all(shown).then_some((checked, code))
    });
    assert_eq!(code, Some(2));
    let command = format!(
        "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {raw} --add-config \
         max.message.bytes=5505024,message.timestamp.type=LogAppendTime,retention.ms=-1",
        broker::shared()
    );
    let found = report(&checked, raw);
    assert_eq!((&found["verdict"], &found["to_do"]), (&"wrong".into(), &vec![command].into()));
    assert_eq!(
        settings(found, "wrong"),
        ["max.message.bytes", "message.timestamp.type", "retention.ms"]
    );
    let found = report(&checked, few);
    assert_eq!(found["verdict"], "wrong");
    assert!(found["to_do"][0].as_str().unwrap().contains("partitions = 3"), "{found:#}");
    let found = report(&checked, many);
    assert_eq!(found["verdict"], "ok", "{found:#}");
    assert_eq!(found["to_do"][0], "nothing: partitions from 8 on are not used");
    assert!(!settings(found, "differs").is_empty(), "advice is shown: {found:#}");

    let (after, code) = reports(prefix, &["--create"]);
    assert_eq!(code, Some(2), "what is wrong stays wrong");
    for topic in [raw, few, many] {
        assert_eq!(report(&after, topic), report(&checked, topic), "{topic} is left alone");
    }
    assert_eq!(after.iter().filter(|report| report["created"] == true).count(), TOPICS - 3);

    let dir = TempDir::new().unwrap();
    let refused = Node::spawn(dir.path(), configured(up(dir.path()), prefix)).unwrap_err();
    assert!(refused.stderr.contains("does not match"), "{refused:?}");
}

#[test]
fn a_look_that_fails_is_neither_right_nor_wrong() {
    let none = run(
        {
            let mut command = tickfold();
            command.args(["topics", "--check"]);
            command
        },
        b"",
    );
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("kafka.brokers"), "{none:?}");
    let away = topics("away", &["--check", "--kafka", "127.0.0.1:1", "--timeout", "1"]);
    assert_eq!(away.code, Some(1));
    assert!(away.stderr.contains("look at topic") && away.stdout.is_empty(), "{away:?}");
}
