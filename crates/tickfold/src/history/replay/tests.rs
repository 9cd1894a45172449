//! What becomes of a replay whose caller goes away, whose partitions or checkpoints do, or that cannot be
//! opened: in the parts of a node on a log in memory.

use bytes::Bytes;
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tickfold_core::raw::tick_headers;
use tickfold_log::{Append, GroupSpec, Header, Log, MemLog, TopicPartition};
use tickfold_processor::{Options, Processor, topic_specs};
use tickfold_proto::admin::v1::diff_replay_response::Part;
use tickfold_proto::admin::v1::replay_service_server::ReplayService as _;
use tickfold_store::{RocksOptions, RocksStores, StoreHead, Stores};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tonic::Request;

use super::*;
use crate::config::Layers;
use crate::raw_topic::RawTopic;

const PARTITIONS: u32 = 3;
const RECORDS: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(30);
/// A caller's time that is up before anything is done.
const SHORT: Duration = Duration::from_millis(100);

/// A node that folds.
struct Here {
    dir: TempDir,
    log: MemLog,
    processor: Processor,
    replays: Replays,
}

/// A log whose partitions have a few records.
fn log() -> MemLog {
    let log = MemLog::new(1_795_132_800_000);
    log.ensure_topics_now(&topic_specs("wa", PARTITIONS)).unwrap();
    for partition in 0..PARTITIONS {
        (0..RECORDS).for_each(|_| append(&log, partition));
    }
    log
}

/// A body that nothing is made of but a dead letter.
fn append(log: &MemLog, partition: u32) {
    let header = |(name, value): (&str, String)| Header {
        name: name.to_owned().into(),
        value: Bytes::from(value),
    };
    let append = Append {
        to: TopicPartition::new("wa.webhook.raw.v1", partition),
        key: None,
        value: Some(Bytes::from_static(b"{")),
        headers: tick_headers(PARTITIONS).into_iter().map(header).collect(),
        timestamp_ms: None,
    };
    log.append_now(vec![append]).unwrap();
}

impl Here {
    /// Starts on a log, in a directory that is new or that an earlier one left.
    async fn start(log: &MemLog, dir: TempDir) -> Self {
        let raw = RawTopic { name: "wa.webhook.raw.v1".to_owned(), partitions: PARTITIONS };
        let (state_dir, port) = (dir.path().join("state"), Arc::new(log.clone()) as Arc<dyn Log>);
        let options = RocksOptions {
            checkpoint_dir: Some(dir.path().join("checkpoints")),
            ..RocksOptions::default()
        };
        let rocks = Arc::new(RocksStores::open(&state_dir, options).unwrap());
        let stores = Arc::clone(&rocks) as Arc<dyn Stores>;
        let spec = GroupSpec {
            group: "tickfold".to_owned(),
            topic: raw.name.clone(),
            instance: dir.path().display().to_string(),
        };
        let member = Arc::clone(&port).join(spec).await.unwrap();
        let options = Options {
            tick_commit_interval_ms: 1,
            // None but those that are asked for.
            checkpoint_interval_ms: Some(3_600_000),
            ..Options::default()
        };
        let runtime = Handle::current();
        let processor =
            Processor::spawn(&port, &stores, member, options, PARTITIONS, &runtime).unwrap();
        let mut config = Layers::defaults().unwrap().read().unwrap();
        config.store.checkpoint_dir = Some(dir.path().join("checkpoints"));
        let ground = Ground::new(&config, &port, &raw, &rocks, state_dir);
        let then = Arc::new(Then::new(ground.clone()).unwrap());
        let (statuses, swaps) = (processor.statuses().clone(), processor.swaps());
        let replays = Replays::open(ground, then, statuses, swaps);
        Self { dir, log: log.clone(), processor, replays }
    }

    async fn new(log: &MemLog) -> Self {
        let here = Self::start(log, TempDir::new().unwrap()).await;
        here.is_live().await;
        here
    }

    /// Waits until all of the log is folded here.
    async fn is_live(&self) {
        for (partition, status) in self.processor.statuses() {
            let end = self.log.bounds_now(&self.parts().ground.place(*partition)).unwrap().end;
            let is_at_end = |status: &PartitionStatus| matches!(status, PartitionStatus::Live { position } if *position == end);
            let mut status = status.clone();
            timeout(PATIENCE, status.wait_for(is_at_end)).await.unwrap().unwrap();
        }
    }

    fn parts(&self) -> &Arc<Parts> {
        &self.replays.0
    }

    /// Runs a replay of everything to its end.
    async fn run(&self) -> u64 {
        let run = self.parts().run(pb::RunReplayRequest::default()).await.unwrap();
        let shadow = self.parts().current().await.unwrap();
        let _ended = timeout(PATIENCE, shadow.work.lock()).await.unwrap();
        assert_eq!(shadow.progress().state, State::Done);
        run.generation
    }

    /// Partitions that are compared, and how it ended.
    async fn diff(&self) -> (Vec<u32>, Result<(), Status>) {
        let request = Request::new(pb::DiffReplayRequest::default());
        let mut parts = match self.replays.diff_replay(request).await {
            Ok(parts) => parts.into_inner(),
            Err(status) => return (Vec::new(), Err(status)),
        };
        let (mut compared, mut ended) = (BTreeSet::new(), Ok(()));
        while let Some(part) = timeout(PATIENCE, parts.next()).await.unwrap() {
            match part.map(|part| part.part.unwrap()) {
                Ok(Part::Difference(found)) => {
                    assert_eq!(found.changed + found.added + found.gone, 0, "{found:?}");
                    compared.insert(found.partition);
                }
                Ok(Part::Progress(_) | Part::End(_)) => {}
                Err(status) => ended = Err(status),
            }
        }
        (compared.into_iter().collect(), ended)
    }

    /// Waits until it has so many partitions, and returns them.
    async fn has(&self, count: usize) -> Vec<u32> {
        let look = async {
            loop {
                let statuses = self.processor.statuses().iter();
                let live = statuses.filter(|(_, status)| status.borrow().is_live());
                let live: Vec<_> = live.map(|(partition, _)| *partition).collect();
                let is_settled = self.parts().here() == live;
                if live.len() == count && is_settled {
                    return live;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, look).await.expect("in time")
    }

    /// Swaps or rolls back, and returns the partitions that were swapped and how it ended.
    async fn swap(&self, by: By) -> (Vec<u32>, Result<(), Status>) {
        let mut told = match self.parts().swap(by, 1_000).await {
            Ok(told) => told,
            Err(status) => return (Vec::new(), Err(status)),
        };
        let mut swapped = Vec::new();
        while let Some(part) = timeout(PATIENCE, told.recv()).await.unwrap() {
            match part {
                Ok(part) => swapped.push(part.partition),
                Err(status) => return (swapped, Err(status)),
            }
        }
        (swapped, Ok(()))
    }

    /// Numbers of the live and of the kept states.
    fn states(&self) -> Vec<(u64, Option<u64>)> {
        let of = |partition| self.parts().ground.live.generations(partition).unwrap();
        (0..PARTITIONS).map(of).map(|of| (of.live, of.kept)).collect()
    }

    async fn stop(self) -> TempDir {
        self.replays.stop().await;
        self.processor.stop(tickfold_log::Departure::Leave).await.unwrap();
        self.dir
    }
}

fn all() -> Vec<u32> {
    (0..PARTITIONS).collect()
}

/// One that has states to go back to, and a replay beside them.
async fn with_kept_and_replay() -> Here {
    let here = Here::new(&log()).await;
    assert_eq!(here.run().await, 1);
    let (swapped, ended) = here.swap(By::Replay).await;
    assert_eq!((swapped, ended.is_ok()), (all(), true));
    assert_eq!(here.run().await, 2);
    assert_eq!(here.states(), [(1, Some(0)); 3]);
    here
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_whose_time_is_up_while_somebody_works_on_the_replay_changes_nothing() {
    let here = with_kept_and_replay().await;
    let shadow = here.parts().current().await.unwrap();
    let work = Arc::clone(&shadow.work).lock_owned().await;
    assert!(timeout(SHORT, here.parts().discard()).await.is_err());
    assert_eq!(here.parts().current().await.unwrap().spec.generation, 2);
    drop((shadow, work));
    let discarded = here.parts().discard().await.unwrap();
    assert_eq!((discarded.generation, discarded.kept_partitions), (2, vec![]));
    assert_eq!(here.states(), [(1, Some(0)); 3]);
    assert!(!here.dir.path().join("state/replay-2").exists());
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_hear_of_his_discard_does_not_discard_the_kept_states_by_asking_again() {
    let here = with_kept_and_replay().await;
    let work = here.parts().current().await.unwrap().stop().await;
    // The caller is gone before this is done.
    let discarded = here.parts().discard_found(Some((2, work))).await.unwrap();
    let again = here.parts().discard().await.unwrap();
    assert_eq!((&again, discarded.generation), (&discarded, 2));
    assert_eq!(here.states(), [(1, Some(0)); 3]);
    // Who did hear of it means them.
    let kept = here.parts().discard().await.unwrap();
    assert_eq!((kept.generation, kept.kept_partitions), (0, all()));
    assert_eq!(here.states(), [(1, None); 3]);
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_states_stay_while_a_start_may_turn_to_one_of_them() {
    let here = Here::new(&log()).await;
    here.run().await;
    let (swapped, ended) = here.swap(By::Replay).await;
    assert_eq!((swapped, ended.is_ok()), (all(), true));
    // What a rollback leaves whose process ends with its commit, and the process after that.
    let Parts { ground, then, .. } = &**here.parts();
    ground.live.prepare(1, 0, None, StoreHead::EMPTY).unwrap();
    let (status, starting) = watch::channel(PartitionStatus::Starting);
    let mut statuses = here.processor.statuses().clone();
    statuses.insert(1, starting);
    let swaps = here.processor.swaps();
    let next = Replays::open(ground.clone(), Arc::clone(then), statuses, swaps);
    let refused = next.0.discard().await.unwrap_err();
    assert!(refused.message().ends_with(": partitions 1"), "{refused:?}");
    assert_eq!(here.states(), [(1, Some(0)); 3]);
    assert!(here.dir.path().join("state/1").exists());
    // It did not: then nothing needs the state.
    status.send_replace(PartitionStatus::Live { position: RECORDS });
    assert_eq!(next.0.discard().await.unwrap().kept_partitions, all());
    assert!(!here.dir.path().join("state/1").exists());
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_discarded_while_nobody_reads_what_it_is_compared_with() {
    let here = with_kept_and_replay().await;
    let request = Request::new(pb::DiffReplayRequest::default());
    let unread = here.replays.diff_replay(request).await.unwrap();
    let discarded = timeout(PATIENCE, here.parts().discard()).await.expect("in time").unwrap();
    assert_eq!(discarded.generation, 2);
    drop(unread);
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_cannot_be_opened_is_shown_and_discarded_and_its_number_is_not_given_again() {
    let log = log();
    let here = Here::new(&log).await;
    assert_eq!(here.run().await, 1);
    let dir = here.stop().await;
    let state = dir.path().join("state");
    std::fs::rename(state.join("replay-1"), state.join("replay-7")).unwrap();
    std::fs::write(state.join("replay-7/replay.json"), "{").unwrap();
    // What is left of one that was discarded.
    std::fs::create_dir(state.join("replay-9")).unwrap();

    let here = Here::start(&log, dir).await;
    here.is_live().await;
    let shown = here.replays.get_replay(Request::new(pb::GetReplayRequest {})).await.unwrap();
    let shown = shown.into_inner();
    assert_eq!((shown.generation, shown.state()), (7, pb::ReplayState::Failed));
    assert!(shown.error.contains("replay.json"), "{shown:?}");
    for scope in [None, Some(pb::ReplayScope::default())] {
        let request = pb::RunReplayRequest { scope, records_per_second_max: 0 };
        let refused = here.parts().run(request).await.unwrap_err();
        assert!(refused.message().contains("discard it first"), "{refused:?}");
    }
    let (swapped, ended) = here.swap(By::Replay).await;
    assert!(swapped.is_empty() && ended.is_err());
    assert!(state.join("replay-7").exists() && !state.join("replay-9").exists());
    assert_eq!(here.parts().discard().await.unwrap().generation, 7);
    assert!(!state.join("replay-7").exists());
    assert_eq!(here.run().await, 10);
    here.stop().await;
}

/// The partitions that an error names.
fn named(ended: Result<(), Status>) -> Vec<u32> {
    let status = ended.expect_err("some are elsewhere");
    let (_, list) = status.message().split_once(": partitions ").unwrap();
    list.split(", ").map(|partition| partition.parse().unwrap()).collect()
}

fn but(all: Vec<u32>, without: &[u32]) -> Vec<u32> {
    all.into_iter().filter(|partition| !without.contains(partition)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_moved_away_are_named_and_the_others_are_compared_and_swapped() {
    let log = log();
    let first = Here::new(&log).await;
    first.run().await;
    let second = Here::start(&log, TempDir::new().unwrap()).await;
    let held = first.has(2).await;
    let (compared, ended) = first.diff().await;
    assert_eq!((compared, named(ended)), (held.clone(), but(all(), &held)));
    let (swapped, ended) = first.swap(By::Replay).await;
    assert_eq!((swapped, named(ended)), (held.clone(), but(all(), &held)));

    // One that was swapped moves away too, and is in nobody's way.
    let third = Here::start(&log, TempDir::new().unwrap()).await;
    first.has(1).await;
    let (swapped, ended) = first.swap(By::Replay).await;
    assert_eq!((swapped, named(ended)), (vec![], but(all(), &held)));
    second.stop().await;
    third.stop().await;
    first.has(3).await;
    let (swapped, ended) = first.swap(By::Replay).await;
    assert_eq!((swapped, ended.is_ok()), (but(all(), &held), true));
    assert_eq!(first.states(), [(1, Some(0)); 3]);
    first.stop().await;
}

/// Raw that was trimmed up to the older one of two checkpoints of each partition, and a replay of it that
/// has not come to the last partition yet.
async fn trimmed() -> (MemLog, TempDir) {
    let log = log();
    let here = Here::new(&log).await;
    for _ in 0..2 {
        for partition in all() {
            let checkpoints = here.processor.checkpoints();
            let made = timeout(PATIENCE, checkpoints.make(partition)).await.unwrap().unwrap();
            assert_eq!(made.head.cursor % RECORDS, 0);
            (0..RECORDS).for_each(|_| append(&log, partition));
        }
        here.is_live().await;
    }
    for partition in all() {
        log.trim_now(&here.parts().ground.place(partition), RECORDS).unwrap();
    }
    here.run().await;
    let dir = here.stop().await;
    std::fs::remove_dir_all(dir.path().join("state/replay-1/2")).unwrap();
    (log, dir)
}

/// Where each partition begins.
async fn begins(here: &Here) -> Vec<u64> {
    let shown = here.replays.get_replay(Request::new(pb::GetReplayRequest {})).await.unwrap();
    shown.into_inner().partitions.iter().map(|of| of.from_offset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_checkpoint_was_removed_before_its_turn_begins_on_another() {
    let (log, dir) = trimmed().await;
    std::fs::remove_dir_all(dir.path().join("checkpoints/2/5")).unwrap();
    let here = Here::start(&log, dir).await;
    here.is_live().await;
    assert_eq!(begins(&here).await, [5, 5, 5]);
    here.run().await;
    assert_eq!(begins(&here).await, [5, 5, 10]);
    let (compared, ended) = here.diff().await;
    assert_eq!((compared, ended.is_ok()), (all(), true));
    // It is so from now on, and is still the whole of what there is.
    let here = Here::start(&log, here.stop().await).await;
    here.is_live().await;
    assert_eq!(begins(&here).await, [5, 5, 10]);
    let scope = Some(pb::ReplayScope { partitions: all(), ..pb::ReplayScope::default() });
    let request = pb::RunReplayRequest { scope, records_per_second_max: 0 };
    assert!(here.parts().run(request).await.unwrap().goes_on);
    let shadow = here.parts().current().await.unwrap();
    drop(timeout(PATIENCE, shadow.work.lock()).await.unwrap());
    drop(shadow);
    let (swapped, ended) = here.swap(By::Replay).await;
    assert_eq!((swapped, ended.is_ok()), (all(), true));
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_checkpoint_is_left_to_begin_on_it_says_what_to_do() {
    let (log, dir) = trimmed().await;
    std::fs::remove_dir_all(dir.path().join("checkpoints/2")).unwrap();
    let here = Here::start(&log, dir).await;
    here.is_live().await;
    here.parts().run(pb::RunReplayRequest::default()).await.unwrap();
    let shadow = here.parts().current().await.unwrap();
    drop(timeout(PATIENCE, shadow.work.lock()).await.unwrap());
    let State::Failed(why) = shadow.progress().state else { panic!("{:?}", shadow.progress()) };
    assert!(why.contains("checkpoint 5") && why.contains("discard the replay"), "{why}");
    drop(shadow);
    here.stop().await;
}
