//! `tickfold recover` on both logs: each refusal that names it is met, looked at and recovered, one per
//! partition. Then the committed outputs are those of the golden fold, but for exactly what the command
//! said.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::ids::WabaId;
use tickfold_core::raw::partition_of;
use tickfold_core::records::Topic;
use tickfold_log::{
    Append, Committed, EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, Log, TopicPartition,
};
use tickfold_store::{CheckpointDir, RocksOptions, RocksStores, Stores};

use crate::kafka::broker::Broker;
use crate::kafka_run::{at_rest_on, command_on};
use crate::kafka_state::assert_refused;
use crate::support::{
    Ended, Golden, Node, PARTITIONS, RAW, Record, assert_golden, derived, difference, eventually,
    run, say, status_body_of, tickfold, topic, up,
};

/// The partitions and what is done to each. The others stay as they are.
const MOVED: u32 = 0;
const MOVED_AND_REPEATED: u32 = 1;
const DAMAGED: u32 = 2;
const GAP: u32 = 3;
/// Where positions are moved to, and where raw is made to begin.
const LOW: u64 = 2;

/// A log, and how a node on it is started.
struct Place {
    root: TempDir,
    broker: Option<Broker>,
}

impl Place {
    fn node(&self) -> Node {
        let command = match &self.broker {
            None => up(self.root.path()),
            Some(broker) => command_on(self.root.path(), &broker.plain),
        };
        Node::spawn(self.root.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"))
    }

    fn data_dir(&self) -> std::path::PathBuf {
        self.root.path().join("data")
    }

    /// Where checkpoints are for who recovers; nodes make none.
    fn checkpoints(&self) -> std::path::PathBuf {
        self.root.path().join("checkpoints")
    }

    /// `tickfold recover` with these further arguments.
    fn recover(&self, args: &[&str]) -> Ended {
        self.recover_in(&self.data_dir(), args)
    }

    fn recover_in(&self, data_dir: &std::path::Path, args: &[&str]) -> Ended {
        let mut command: Command = match &self.broker {
            None => tickfold(),
            Some(broker) => at_rest_on(self.root.path(), &broker.plain),
        };
        command.env("TICKFOLD_STORE_CHECKPOINT_DIR", self.checkpoints());
        command.arg("recover").arg("--data-dir").arg(data_dir).args(args);
        run(command, b"")
    }

    /// What a look says, by partition.
    fn look(&self, code: i32) -> BTreeMap<u32, Value> {
        let looked = self.recover(&["-o", "jsonl"]);
        assert_eq!(looked.code, Some(code), "{looked:?}");
        let lines = looked.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        let by_partition =
            |shown: Value| (u32::try_from(shown["partition"].as_u64().unwrap()).unwrap(), shown);
        lines.map(by_partition).collect()
    }

    /// Opens the log as another tool would, while no node has it.
    fn on_the_log<T>(&self, work: impl AsyncFnOnce(Arc<dyn Log>) -> T) -> T {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let log: Arc<dyn Log> = match &self.broker {
            None => {
                let (dir, options) = (self.data_dir().join("log"), EmbeddedOptions::default());
                eventually("the node let go of the log", || {
                    EmbeddedLog::open(&dir, options.clone()).ok()
                })
            }
            Some(broker) => KafkaLog::connect(KafkaOptions::new(&broker.plain)).unwrap(),
        };
        runtime.block_on(async {
            let done = work(Arc::clone(&log)).await;
            log.close().await.unwrap();
            done
        })
    }
}

/// An account of each of the first partitions.
fn accounts() -> Vec<String> {
    let of = |partition: u32| {
        let accounts = (1_u64..).map(|n| (700_000_000_000_000 + n).to_string());
        accounts
            .into_iter()
            .find(|waba| partition_of(&WabaId::new(waba.as_str()), PARTITIONS) == partition)
    };
    (0..=GAP).map(|partition| of(partition).unwrap()).collect()
}

/// Each account sends messages and hears of them, in records of their own.
fn post(node: &Node, accounts: &[String], round: i64) {
    for (word, after_s) in [("sent", 1), ("delivered", 2), ("read", 3)] {
        for waba in accounts {
            let wamid = format!("wamid.RECOVER-{waba}-{round}");
            node.post(status_body_of(waba, &wamid, word, 10 * round + after_s));
        }
    }
}

fn raw(partition: u32) -> TopicPartition {
    TopicPartition::new(RAW, partition)
}

/// Puts the group's position elsewhere.
async fn set_position(log: &dyn Log, partition: u32, position: Committed) {
    let mut claim = log.claim("tickfold", &raw(partition)).await.unwrap();
    claim.partition.commit([].into(), position).await.unwrap();
}

/// Positions of the group.
async fn positions(log: &dyn Log) -> Vec<Committed> {
    let found = log.positions("tickfold", RAW).await.unwrap();
    found
        .into_iter()
        .map(|found| found.unwrap_or(Committed { offset: 0, metadata: String::new() }))
        .collect()
}

fn each_refusal(place: &Place) {
    let accounts = accounts();
    let node = place.node();
    for round in 0..3 {
        post(&node, &accounts, round);
    }
    assert_golden(&node);
    let before: Vec<Record> = node.tail(RAW);

    // Not beside a node that has the directory.
    let refused = place.recover(&[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("in use by another process"), "{refused:?}");
    node.stop();

    // The null control: nothing is wrong, and a look changes nothing.
    let found = place.on_the_log(async |log| positions(&*log).await);
    let looked = place.look(0);
    assert_eq!(looked.len(), PARTITIONS as usize);
    assert!(looked.values().all(|shown| shown["verdict"] == "ok"), "{looked:?}");
    assert_eq!(place.on_the_log(async |log| positions(&*log).await), found);

    // The faults.
    let emitted = |partition: u32| found[partition as usize].offset;
    place.on_the_log(async |log| {
        for partition in [MOVED, MOVED_AND_REPEATED] {
            let moved = Committed { offset: LOW, metadata: String::new() };
            set_position(&*log, partition, moved).await;
        }
        let Committed { offset, metadata } = found[DAMAGED as usize].clone();
        set_position(&*log, DAMAGED, Committed { offset: offset + 1_000, metadata }).await;
        log.trim(&raw(GAP), LOW).await.unwrap();
    });
    std::fs::remove_dir_all(place.data_dir().join("state").join(GAP.to_string())).unwrap();
    // It does not reach raw, and is of a state that will be none of what is folded anew.
    let options = RocksOptions { checkpoint_dir: Some(place.checkpoints()), ..Default::default() };
    let stores = RocksStores::open(place.root.path().join("other"), options).unwrap();
    stores.open(GAP).unwrap().checkpoint().unwrap();
    let words = BTreeMap::from([
        (MOVED, "offset_moved"),
        (MOVED_AND_REPEATED, "offset_moved"),
        (DAMAGED, "raw_damaged"),
        (GAP, "raw_gap"),
    ]);
    let node = place.node();
    assert_refused(&node, &words);
    if place.broker.is_some() {
        // Not beside a member that has another directory.
        let elsewhere = TempDir::new().unwrap();
        let args = ["--partition", "0", "--accept-offset", "2", "--yes"];
        let refused = place.recover_in(elsewhere.path(), &args);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("group tickfold has members"), "{refused:?}");
    }
    node.stop();

    // What a look says, and that acceptance without --yes does nothing.
    let looked = place.look(2);
    for (partition, shown) in &looked {
        assert_eq!(shown["verdict"], *words.get(partition).unwrap_or(&"ok"), "{shown}");
    }
    for partition in [MOVED, GAP] {
        let first = &looked[&partition]["ways"][0];
        assert_eq!(first["offset"], emitted(partition), "{first}");
        assert!(first["consequence"].as_str().unwrap().starts_with("no output is lost"), "{first}");
    }
    let asked = place.recover(&["--partition", "1", "--accept-offset"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let repeated = format!("records 2 to {} are emitted a second time", emitted(1) - 1);
    assert!(
        asked.stderr.contains(&repeated) && asked.stderr.contains("--yes does it"),
        "{asked:?}"
    );
    let refused = place.recover(&["--partition", "3", "--accept-offset", "--yes"]);
    assert!(refused.stderr.contains("--fold-anew"), "{refused:?}");
    let refused = place.recover(&["--partition", "0", "--accept-offset", "999999", "--yes"]);
    assert!(refused.stderr.contains("outside of raw"), "{refused:?}");
    assert_eq!(place.look(2).len(), looked.len());

    // The first of the ways, as it is printed; but the repetition for one.
    for partition in [MOVED, DAMAGED, GAP] {
        let way = looked[&partition]["ways"][0]["command"].as_str().unwrap().to_owned();
        let args: Vec<_> = way.split(' ').skip(2).collect();
        let done = place.recover(&args);
        assert_eq!(done.code, Some(0), "{way}: {done:?}");
    }
    let done = place.recover(&["--partition", "1", "--accept-offset", "--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    // What is folded anew is not reached from the checkpoints of before.
    let found = CheckpointDir::new(place.checkpoints()).list().unwrap();
    let found: Vec<_> = found.iter().map(|one| (one.partition, one.cursor)).collect();
    assert_eq!(found, [DAMAGED, GAP].map(|partition| (partition, emitted(partition))));
    // All that is left is to fold what lies above.
    assert!(place.look(0).values().all(|shown| shown["verdict"] == "ok"));

    let node = place.node();
    post(&node, &accounts, 3);
    let full = |node: &Node| -> Vec<Record> {
        let now = node.tail(RAW);
        let gone = before.iter().filter(|record| record.partition == GAP && record.offset < LOW);
        let mut full: Vec<_> = gone.cloned().chain(now).collect();
        full.sort_by_key(|record| (record.partition, record.offset));
        full
    };
    let expected = |node: &Node| {
        let full = full(node);
        let mut golden = Golden::of(&full).outputs;
        let rest: Vec<_> =
            full.into_iter().filter(|r| r.partition != GAP || r.offset >= LOW).collect();
        let without_beginning = Golden::of(&rest).outputs;
        for ((_, partition), outputs) in &mut golden {
            if *partition == MOVED_AND_REPEATED {
                let at = outputs.iter().position(|plain| plain.source() >= emitted(1));
                let again: Vec<_> = outputs.iter().filter(|p| p.source() >= LOW).cloned().collect();
                outputs.truncate(at.unwrap_or(outputs.len()));
                outputs.extend(again);
            }
        }
        // What came after the gap was folded by a state that knows nothing of what was before.
        for of in Topic::ALL {
            let outputs = golden.entry((of, GAP)).or_default();
            outputs.retain(|plain| plain.source() < emitted(GAP));
            let after = without_beginning.get(&(of, GAP)).into_iter().flatten();
            outputs.extend(after.filter(|plain| plain.source() >= emitted(GAP)).cloned());
        }
        golden.retain(|_, outputs| !outputs.is_empty());
        golden
    };
    eventually("outputs are what the commands said", || {
        let found = difference(&expected(&node), &derived(&node));
        found.map_or(Some(()), |found| {
            say(&format!("{} lost, {} twice", found.lost, found.twice));
            None
        })
    });
    // The faults were no part of it: without the repetition it would differ.
    assert_ne!(difference(&Golden::of(&full(&node)).outputs, &derived(&node)), None);
    node.stop();
}

#[test]
fn each_refusal_is_recovered_on_the_embedded_log() {
    each_refusal(&Place { root: TempDir::new().unwrap(), broker: None });
}

#[test]
fn kafka_each_refusal_is_recovered() {
    let place = Place { root: TempDir::new().unwrap(), broker: Some(Broker::start()) };
    each_refusal(&place);
    nothing_is_readable(&place);
}

/// The group and the state of a partition are gone, and the last records of its derived topics are
/// somebody else's.
fn nothing_is_readable(place: &Place) {
    let broker = place.broker.as_ref().unwrap();
    let derived = |of| TopicPartition::new(topic(of), MOVED);
    let ends = place.on_the_log(async |log| {
        let foreign = Topic::ALL.map(|of| Append {
            to: derived(of),
            key: Some("foreign".into()),
            value: Some("x".into()),
            headers: Vec::new(),
            timestamp_ms: Some(1),
        });
        log.append(foreign.to_vec()).await.unwrap();
        log.bounds(&raw(MOVED)).await.unwrap()
    });
    std::fs::remove_dir_all(place.data_dir().join("state").join(MOVED.to_string())).unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &broker.plain).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    eventually("the group is empty and gone", || {
        let deleted = runtime.block_on(admin.delete_groups(&["tickfold"], &AdminOptions::new()));
        deleted.unwrap().pop().unwrap().ok()
    });
    let looked = place.look(2);
    let refused: Vec<_> =
        looked.values().filter(|shown| shown["verdict"] != "ok").map(|s| &s["verdict"]).collect();
    assert_eq!(refused, ["nothing_readable"], "{looked:?}");
    let (partition, end) = (MOVED.to_string(), ends.end.to_string());
    let refused = place.recover(&["--partition", &partition, "--accept-offset", "--yes"]);
    assert!(refused.stderr.contains("give --accept-offset an offset"), "{refused:?}");
    let done = place.recover(&["--partition", &partition, "--accept-offset", &end, "--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let node = place.node();
    let message = format!("wamid.RECOVER-{}-0", accounts()[MOVED as usize]);
    assert_eq!(node.rpc().message(&message).unwrap().state_text, "read", "the state has all");
    node.stop();
    place.on_the_log(async |log| {
        for of in Topic::ALL {
            let last = log.last_record(&derived(of)).await.unwrap().unwrap();
            assert_eq!(last.key.as_deref(), Some(&b"foreign"[..]), "nothing is emitted again");
        }
    });
}
