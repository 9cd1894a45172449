//! What people and disks do to a node with its log on Kafka: bodies as large and as awkward as they
//! may be, a state directory that is gone, a position that another tool moved, a raw topic that was
//! deleted and created again.
//!
//! What can be folded again is, silently. What cannot be judged by a program is refused by name,
//! partition by partition, while queries go on and say that they stand still.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use tickfold_core::records::Topic;
use tickfold_log::{Bounds, Log as _};
use tickfold_proto::query::v1::Role;

use crate::kafka_run::{Row, Run};
use crate::poison::monster;
use crate::support::{
    NUMBER, Node, PARTITIONS, PARTY, RAW, WABA, base, eventually, messages_of, say, soak_row,
    status_body, topic,
};
use crate::support_crash::set_aside;

/// The greatest body that is taken.
const BODY_BYTES_MAX: usize = 4 << 20;
const STATE: &str = "kafka: state directory deleted";
const STATE_WITH_CHECKPOINTS: &str = "kafka: state directory deleted, with checkpoints";
const MOVED: &str = "kafka: position moved by another tool";
const RAW_GONE: &str = "kafka: raw deleted and created again";

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_state_is_folded_again_or_refused_by_name() {
    let mut run = Run::new(51);
    let mut node = run.node();
    let posted = run.load.run(&node.http, 60, |_| ());
    run.acknowledge(&posted);
    awkward_bodies(&node);
    // The null control: nothing is refused, nothing set aside.
    assert!(run.look(&mut node));
    node.stop();
    run.look_at_stores();

    state_is_gone(&mut run);
    state_is_gone_but_checkpoints(&mut run);
    position_was_moved(&mut run);
    let rows = run.finish();
    for fault in [STATE, STATE_WITH_CHECKPOINTS, MOVED] {
        assert_eq!(rows[fault], Row { attempted: 1, landed: 1, lost: 0, twice: 0 }, "{fault}");
    }
    raw_was_replaced(&mut run);
}

/// As large as a body may be, of what grows when it is quoted, and what comes after it.
fn awkward_bodies(node: &Node) {
    let full = |filler: &str| monster(filler, BODY_BYTES_MAX - monster(filler, 0).len());
    let callback = r"\\".repeat(BODY_BYTES_MAX / 2 - 300);
    let status = format!(
        r#""statuses":[{{"id":"wamid.CALLBACK","status":"sent","timestamp":"{}","recipient_id":"{PARTY}","biz_opaque_callback_data":"{callback}"}}]"#,
        base()
    );
    let bodies =
        [full(r"\\"), full(r"\u005c"), messages_of(WABA, &status), "\\".repeat(BODY_BYTES_MAX)];
    for body in &bodies {
        assert!(
            body.len() <= BODY_BYTES_MAX && body.len() > BODY_BYTES_MAX - 512,
            "{}",
            body.len()
        );
        node.post(body);
    }
    node.post(status_body("wamid.AFTER", "delivered", 1));
    let after = eventually("what follows is folded", || node.rpc().message("wamid.AFTER"));
    assert_eq!(after.state_text, "delivered");
    let events = node.values(Topic::Event);
    let cut = events.iter().filter(|event| event["raw_truncated"] == true).count();
    let letters = node.values(Topic::DeadLetter);
    let cut_letters = letters.iter().filter(|letter| letter["raw_truncated"] == true).count();
    assert_eq!(
        (cut, cut_letters),
        (2, 1),
        "{NUMBER}: two unknown fields and a body of backslashes"
    );
    say(&format!("{} bodies of 4 MiB of backslashes are folded", bodies.len()));
}

/// Equal state from raw, and nothing emitted again.
fn state_is_gone(run: &mut Run) {
    run.strikes(STATE);
    let raw: u64 = positions(run).values().map(|(offset, _)| offset).sum();
    std::fs::remove_dir_all(run.data_dir().join("state")).unwrap();
    let begun = Instant::now();
    let mut node = run.node();
    let took = begun.elapsed();
    let log = node.log();
    let restored = log.rsplit("--- start").next().unwrap().contains("restoring checkpoint");
    assert!(run.look(&mut node));
    node.stop();
    run.look_at_stores();
    run.struck(!restored);
    say(&format!("start with {raw} raw records to fold again: {took:.1?}"));
}

/// The same from checkpoints and what came after them.
fn state_is_gone_but_checkpoints(run: &mut Run) {
    run.strikes(STATE_WITH_CHECKPOINTS);
    let dir = run.root.path().join("checkpoints");
    let command = |run: &Run| {
        let mut command = run.command();
        command.env("TICKFOLD_STORE_CHECKPOINT_DIR", &dir);
        command.env("TICKFOLD_PROCESSOR_CHECKPOINT_INTERVAL", "1s");
        command
    };
    let mut node = run.spawn(command(run)).unwrap();
    // A checkpoint is made when something was committed; raw ticks, so every partition's turn comes.
    eventually("every partition has a checkpoint", || {
        let posted = run.load.run(&node.http, 5, |_| ());
        run.acknowledge(&posted);
        let log = node.log();
        let made = |p: u32| log.contains(&format!("checkpoint made partition={p} "));
        (0..PARTITIONS).all(made).then_some(())
    });
    let posted = run.load.run(&node.http, 10, |_| ());
    run.acknowledge(&posted);
    assert!(run.look(&mut node));
    node.stop();
    std::fs::remove_dir_all(run.data_dir().join("state")).unwrap();
    let mut node = run.spawn(command(run)).unwrap();
    let log = node.log();
    let life = log.rsplit("--- start").next().unwrap();
    let restored = life.matches("restoring checkpoint").count();
    // Of what the test took away nothing but the empty place was there to be set aside.
    for name in set_aside(&run.data_dir()) {
        assert!(name.contains("rejected-missing"), "{name}");
        std::fs::remove_dir_all(run.data_dir().join("state").join(name)).unwrap();
    }
    assert!(run.look(&mut node));
    node.stop();
    run.look_at_stores();
    run.struck(restored == PARTITIONS as usize);
    say(&format!("{restored} of {PARTITIONS} partitions restored a checkpoint"));
}

/// `offset_moved`, for that partition alone; the position put back heals it.
fn position_was_moved(run: &mut Run) {
    run.strikes(MOVED);
    let before = positions(run);
    let (&partition, (offset, metadata)) =
        before.iter().max_by_key(|(_, (offset, _))| *offset).unwrap();
    move_position(run, partition, offset / 2, "");
    let node = run.node();
    assert_refused(&node, &BTreeMap::from([(partition, "offset_moved")]));
    assert_frozen(&node, partition);
    node.stop();
    assert_eq!(positions(run)[&partition], (offset / 2, String::new()), "nobody touched it");
    move_position(run, partition, *offset, metadata);
    let mut node = run.node();
    assert!(run.look(&mut node));
    node.stop();
    run.struck(true);
}

/// `raw_damaged`, for the partitions that had been folded.
fn raw_was_replaced(run: &mut Run) {
    run.strikes(RAW_GONE);
    let (before, derived) = (positions(run), derived_bounds(run));
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &run.broker.plain).create().unwrap();
    let deleted = runtime().block_on(admin.delete_topics(&[RAW], &AdminOptions::new())).unwrap();
    deleted[0].as_ref().unwrap();
    eventually("the topic is gone", || {
        let known = admin.inner().fetch_metadata(None, Duration::from_secs(5)).ok()?;
        (!known.topics().iter().any(|topic| topic.name() == RAW)).then_some(())
    });
    run.struck(true);
    // It creates the topic.
    let node = run.node();
    let folded = before.iter().filter(|(_, (offset, _))| *offset > 0);
    let refused: BTreeMap<_, _> = folded.map(|(&p, _)| (p, "raw_damaged")).collect();
    assert!(!refused.is_empty());
    assert_refused(&node, &refused);
    let (&busiest, _) = before.iter().max_by_key(|(_, (offset, _))| *offset).unwrap();
    assert_frozen(&node, busiest);
    node.stop();
    let after = derived_bounds(run);
    let (lost, twice) = (after.start - derived.start, after.end - derived.end);
    let Row { attempted, landed, .. } = run.rows[RAW_GONE];
    soak_row(RAW_GONE, attempted, landed, lost, twice);
    assert_eq!((landed, lost, twice), (1, 0, 0));
    assert!(after.end > 0, "there are outputs");
}

/// The bounds of all derived partitions, added up: nothing comes or goes without moving them.
fn derived_bounds(run: &Run) -> Bounds {
    let topics = Topic::ALL.map(topic);
    let all = runtime().block_on(async { run.log().topics().await.unwrap() });
    let derived = all.into_iter().filter(|of| topics.contains(&of.spec.name));
    let nothing = Bounds::default();
    derived
        .flat_map(|of| of.bounds)
        .fold(nothing, |sum, of| Bounds { start: sum.start + of.start, end: sum.end + of.end })
}

/// These partitions are refused for these reasons, the others live.
pub(crate) fn assert_refused(node: &Node, refused: &BTreeMap<u32, &str>) {
    let page: Value = serde_json::from_str(&node.admin("/statusz").text()).unwrap();
    let listed = page["partitions"].as_array().unwrap();
    let ids = listed.iter().map(|partition| partition["partition"].as_u64().unwrap());
    assert!(ids.eq(0..u64::from(PARTITIONS)), "{page:#}");
    for partition in listed {
        let id = u32::try_from(partition["partition"].as_u64().unwrap()).unwrap();
        let detail = partition["detail"].as_str().unwrap();
        match refused.get(&id) {
            Some(code) => assert!(detail.starts_with(&format!("refused: {code}")), "{partition}"),
            None => assert_eq!(partition["state"], "live", "{partition}"),
        }
    }
    assert_eq!(node.admin("/readyz").status, 503);
    // Webhooks are taken all the same.
    let ingress = node.admin("/readyz/ingress");
    assert_eq!(ingress.status, 200, "{}", ingress.text());
}

/// Messages of a partition that stands still are told all the same, and as standing still.
fn assert_frozen(node: &Node, partition: u32) {
    let rows = node.values(Topic::MessageState);
    let row = rows.iter().find(|row| row["source_partition"] == partition);
    let wamid = row.expect("the partition has messages")["wamid"].as_str().unwrap();
    let found = node.rpc().try_message(wamid, &[]).unwrap().expect("it was folded before");
    assert_eq!(found.as_of.unwrap().role(), Role::Frozen, "{wamid}");
}

fn consumer(run: &Run) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &run.broker.plain)
        .set("group.id", "tickfold")
        .create()
        .unwrap()
}

/// Positions of the group, with what is written beside them.
fn positions(run: &Run) -> BTreeMap<u32, (u64, String)> {
    let mut asked = TopicPartitionList::new();
    (0..PARTITIONS).for_each(|p| _ = asked.add_partition(RAW, i32::try_from(p).unwrap()));
    let found = consumer(run).committed_offsets(asked, Duration::from_secs(10)).unwrap();
    let position = |partition: u32| {
        let found = found.find_partition(RAW, i32::try_from(partition).unwrap()).unwrap();
        let Offset::Offset(offset) = found.offset() else { panic!("{partition}: {found:?}") };
        (partition, (u64::try_from(offset).unwrap(), found.metadata().to_owned()))
    };
    (0..PARTITIONS).map(position).collect()
}

/// As `kafka-consumer-groups --reset-offsets` does: brokers allow it once the group has no member.
fn move_position(run: &Run, partition: u32, offset: u64, metadata: &str) {
    let mut to = TopicPartitionList::new();
    let (partition, offset) = (i32::try_from(partition).unwrap(), i64::try_from(offset).unwrap());
    to.add_partition_offset(RAW, partition, Offset::Offset(offset)).unwrap();
    for mut place in to.elements() {
        place.set_metadata(metadata);
    }
    let consumer = consumer(run);
    eventually("the group is empty and its position moved", || {
        consumer.commit(&to, CommitMode::Sync).ok()
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
