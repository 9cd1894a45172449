//! What `docs/operations.md` has operators do on Kafka, done as it stands there: the topics are
//! created, the access lists are set and are enough, and a partition whose position somebody moved is
//! recovered, with nothing lost and nothing repeated.

use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::docs::commands;
use crate::kafka::broker;
use crate::kafka::with_one_replica;
use crate::kafka_run::{Run, at_rest_on, command_on, role_on};
use crate::support::{Ended, PARTITIONS, RAW, eventually, run, tickfold};

const PAGE: &str = include_str!("../../../../docs/operations.md");

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_operations_are_as_documented() {
    let mut life = Run::new(71);
    topics_are_created(&life);
    // The null control: without the access lists nothing starts.
    let ended = life.spawn(limited(&life)).expect_err("it started without any right");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for line in commands(PAGE, "kafka-acls.sh") {
        kafkas_own_tool(&life, "org.apache.kafka.tools.AclCommand", &line);
    }
    let mut node =
        eventually("it starts with the rights of the page", || life.spawn(limited(&life)).ok());
    let posted = life.load.run(&node.http, 40, |_| ());
    // The first append to a partition may be slow, and then what follows it is refused.
    assert!(posted.acknowledged.len() > 40, "{}", node.log());
    life.acknowledge(&posted);
    assert!(life.look(&mut node));
    node.stop();
    an_ingress_needs_no_more_than_its_lines(&mut life);

    let emitted = move_positions(&life);
    let node = life.node();
    let ready = node.admin("/readyz");
    assert!(ready.status == 503 && ready.text().contains("offset_moved"), "{}", ready.text());
    node.stop();
    let mut lines = commands(PAGE, "tickfold");
    lines.retain(|line| line.starts_with("tickfold recover"));
    let [look, accept] = &lines[..] else { panic!("{lines:#?}") };
    let looked = recover(&life, look);
    assert_eq!(looked.code, Some(2), "{looked:?}");
    for (partition, offset) in emitted {
        let named = format!("--partition {partition} --accept-offset {offset}");
        assert!(looked.stdout.contains(&named), "{named}: {looked:?}");
        let line = accept.replace("--partition 3 --accept-offset 1042", &named);
        let accepted = recover(&life, &line);
        assert!(line.contains(&named) && accepted.code == Some(0), "{line}: {accepted:?}");
    }
    // The last life looks at everything again.
    life.finish();
    let lines = commands(PAGE, "kafka-consumer-groups.sh");
    let [describe] = &lines[..] else { panic!("{lines:#?}") };
    let tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let shown = kafkas_own_tool(&life, tool, describe);
    let lines = shown.lines().filter(|line| line.contains(RAW)).count();
    assert_eq!(lines, PARTITIONS as usize, "{shown}");
}

/// `up` as a user with no rights but those that the page gives; it has those of both roles.
fn limited(run: &Run) -> Command {
    as_user(command_on(run.root.path(), &run.broker.secure), run, broker::LIMITED[0])
}

/// Its user has the rights of that role only. Doctor says so too.
fn an_ingress_needs_no_more_than_its_lines(life: &mut Run) {
    let ingress = || {
        let mut command = role_on("ingress", life.root.path(), &life.broker.secure);
        with_quarantine(&mut command);
        as_user(command, life, broker::LIMITED[1])
    };
    let node = life.spawn(ingress()).unwrap_or_else(|ended| panic!("{ended:?}"));
    let posted = life.load.run(&node.http, 10, |_| ());
    assert!(!posted.acknowledged.is_empty(), "{}", node.log());
    life.acknowledge(&posted);
    node.stop();
    let mut doctor = as_user(tickfold(), life, broker::LIMITED[1]);
    doctor.args(["doctor", "--role", "ingress", "--kafka", &life.broker.secure, "--json"]);
    with_one_replica(&mut doctor);
    let said = run(doctor, b"").stdout;
    let findings: serde_json::Value = serde_json::from_str(&said).unwrap();
    let rights = findings.as_array().unwrap().iter().find(|one| one["name"] == "rights");
    assert_eq!(rights.unwrap()["status"], "ok", "{said}");
}

fn as_user(mut command: Command, run: &Run, user: &str) -> Command {
    command.env("TICKFOLD_KAFKA_TLS", "true");
    command.env("TICKFOLD_KAFKA_CA_FILE", &run.broker.ca_file);
    command.env("TICKFOLD_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512");
    command.env("TICKFOLD_KAFKA_SASL_USERNAME", user);
    command.env("TICKFOLD_KAFKA_PASSWORD", broker::PASSWORD);
    command.env("TICKFOLD_KAFKA_PATIENCE_MS", "20000");
    command
}

/// By somebody who may.
fn topics_are_created(life: &Run) {
    let lines = commands(PAGE, "tickfold topics");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for line in lines {
        let mut command = tickfold();
        let line = line.replace("127.0.0.1:9092", &life.broker.plain);
        command.args(line.split_whitespace().skip(1));
        with_one_replica(&mut command);
        with_quarantine(&mut command);
        let ended = run(command, b"");
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
    }
}

fn with_quarantine(command: &mut Command) {
    command.env("TICKFOLD_INGRESS_QUARANTINE_BYTES_MAX", "8MiB");
}

/// A line of the page, with the settings of the node.
fn recover(life: &Run, line: &str) -> Ended {
    let mut command = at_rest_on(life.root.path(), &life.broker.plain);
    command.args(line.split_whitespace().skip(1)).arg("--data-dir").arg(life.data_dir());
    run(command, b"")
}

/// A line of the page, run by the class that its script would run.
fn kafkas_own_tool(life: &Run, class: &str, line: &str) -> String {
    let line = line.replace("127.0.0.1:9092", &life.broker.plain);
    let [both, ingress] = broker::LIMITED.map(|name| format!("User:{name}"));
    let line = line.replace(
        "--allow-principal User:ingress",
        &format!("--allow-principal {both} --allow-principal {ingress}"),
    );
    let line = line.replace("User:processor", &both);
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
    command.args(["-cp", &format!("{}/*", broker::jars().display()), class]);
    command.args(line.split_whitespace().skip(1));
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
    ended.stdout
}

/// To where they were half-way, as another tool would. Returns where they were.
fn move_positions(run: &Run) -> Vec<(i32, i64)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &run.broker.plain)
        .set("group.id", "tickfold")
        .create()
        .unwrap();
    let partitions = || (0..PARTITIONS).map(|partition| i32::try_from(partition).unwrap());
    let mut asked = TopicPartitionList::new();
    partitions().for_each(|partition| _ = asked.add_partition(RAW, partition));
    let found = consumer.committed_offsets(asked, Duration::from_secs(10)).unwrap();
    let (mut to, mut emitted) = (TopicPartitionList::new(), Vec::new());
    for partition in partitions() {
        let Offset::Offset(offset) = found.find_partition(RAW, partition).unwrap().offset() else {
            panic!("{found:?}");
        };
        to.add_partition_offset(RAW, partition, Offset::Offset(offset / 2)).unwrap();
        emitted.push((partition, offset));
    }
    eventually("the group is empty and its position moved", || {
        consumer.commit(&to, CommitMode::Sync).ok()
    });
    emitted
}
