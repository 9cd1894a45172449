//! The shell and the processor on the mem adapters, on real threads: live, fenced, refused, an
//! orderly stop, fail points.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tickfold_log::mem::CommitFault;
use tickfold_log::{Log, MemLog, TopicPartition};
use tickfold_processor::{
    Options, PartitionStatus, Processor, ensure_topics, fail_point, raw_topic,
};
use tickfold_store::{MemStores, Stores};
use tokio::runtime::Handle;

use crate::oracle::Golden;
use crate::workload::{NOON_MS, PARTITION, PARTITIONS, append_tick, append_webhook, status};

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Here {
    log: MemLog,
    stores: MemStores,
    processor: Processor,
}

impl Here {
    async fn start(log: &MemLog, stores: &MemStores, options: Options) -> Self {
        let (port, disk): (Arc<dyn Log>, Arc<dyn Stores>) =
            (Arc::new(log.clone()), Arc::new(stores.clone()));
        ensure_topics(&*port, &options, PARTITIONS).await.unwrap();
        let runtime = Handle::current();
        let processor = Processor::spawn(&port, &disk, options, PARTITIONS, &runtime).unwrap();
        Self { log: log.clone(), stores: stores.clone(), processor }
    }

    async fn status(&self, wanted: impl FnMut(&PartitionStatus) -> bool) -> PartitionStatus {
        let mut status = self.processor.statuses()[&PARTITION].clone();
        let found = tokio::time::timeout(PATIENCE, status.wait_for(wanted)).await;
        found.expect("the status in time").expect("a running task").clone()
    }

    async fn live_at(&self, wanted: u64) {
        self.status(|status| *status == PartitionStatus::Live { position: wanted }).await;
    }

    /// Stops, and compares with the golden fold.
    async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.processor.stop()).await.expect("in time").unwrap();
        let golden = Golden::of(&self.log);
        golden.compare_outputs(&self.log).unwrap();
        assert_eq!(self.stores.dump(PARTITION), golden.dump);
    }
}

fn options() -> Options {
    Options { restart_backoff_ms: 1, restart_backoff_ms_max: 5, ..Options::default() }
}

fn world() -> (MemLog, MemStores) {
    (MemLog::new(NOON_MS), MemStores::new())
}

#[tokio::test]
async fn records_are_folded_until_an_orderly_stop_and_again_after_a_restart() {
    let (log, stores) = world();
    let here = Here::start(&log, &stores, options()).await;
    here.live_at(0).await;
    for n in 0..20 {
        append_webhook(&log, &status(n, "sent", 1_795_132_700));
    }
    here.live_at(20).await;
    here.stop().await;

    append_webhook(&log, &status(1, "read", 1_795_132_800));
    let here = Here::start(&log, &stores, options()).await;
    here.live_at(21).await;
    here.stop().await;
}

#[tokio::test]
async fn ticks_alone_are_committed_when_the_interval_has_passed() {
    let (log, stores) = world();
    let here =
        Here::start(&log, &stores, Options { tick_commit_interval_ms: 30, ..options() }).await;
    here.live_at(0).await;
    append_tick(&log);
    here.live_at(1).await;
    here.stop().await;
}

#[tokio::test]
async fn a_fenced_partition_is_started_anew() {
    let (log, stores) = world();
    let here = Here::start(&log, &stores, options()).await;
    here.live_at(0).await;
    // Somebody else claims, and leaves.
    let raw = TopicPartition::new(raw_topic("wa"), PARTITION);
    drop(log.claim_now("tickfold", &raw).unwrap());
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    here.live_at(1).await;
    here.stop().await;
}

#[tokio::test]
async fn commits_in_doubt_and_aborted_are_settled() {
    let (log, stores) = world();
    let here = Here::start(&log, &stores, options()).await;
    here.live_at(0).await;
    for fault in [
        CommitFault::Aborted,
        CommitFault::UnclearApplied,
        CommitFault::UnclearNotApplied,
        CommitFault::UnclearAppliedLate,
    ] {
        log.fail_next_commit(fault);
    }
    for n in 0..8 {
        append_webhook(&log, &status(n, "sent", 1_795_132_700));
    }
    here.live_at(8).await;
    here.stop().await;
}

#[tokio::test]
async fn a_store_that_fails_is_opened_anew_until_it_works() {
    let (log, stores) = world();
    let here = Here::start(&log, &stores, options()).await;
    here.live_at(0).await;
    stores.fail_writes(true);
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    here.status(|status| *status == PartitionStatus::Starting).await;
    stores.fail_writes(false);
    here.live_at(1).await;
    here.stop().await;
}

#[tokio::test]
async fn a_refused_partition_says_so_and_the_others_go_on() {
    let (log, stores) = world();
    let raw = TopicPartition::new(raw_topic("wa"), PARTITION);
    let moved = tickfold_log::Committed { offset: 0, metadata: String::new() };
    log.set_committed("tickfold", &raw, Some(moved));
    let here = Here::start(&log, &stores, options()).await;
    match here.status(|status| matches!(status, PartitionStatus::Refused(_))).await {
        PartitionStatus::Refused(refusal) => assert_eq!(refusal.code(), "offset_moved"),
        other => panic!("{other}"),
    }
    let mut other = here.processor.statuses()[&0].clone();
    other.wait_for(PartitionStatus::is_live).await.unwrap();
    here.processor.stop().await.unwrap();
    assert!(matches!(&*other.borrow(), PartitionStatus::Stopped));
}

/// The stop comes between commit and store write: the store write is still made.
#[tokio::test]
async fn fail_points_are_passed_in_order_and_a_stop_between_them_loses_no_store_write() {
    static PASSED: [AtomicU32; 3] = [AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)];
    static ORDER: AtomicU32 = AtomicU32::new(0);
    fn pass(name: &'static str) {
        let at = fail_point::ALL.iter().position(|known| *known == name).unwrap();
        PASSED[at].store(1 + ORDER.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
    }
    let (log, stores) = world();
    let here = Here::start(&log, &stores, Options { fail_point: pass, ..options() }).await;
    here.live_at(0).await;
    assert_eq!(ORDER.load(Ordering::SeqCst), 0, "the start passes none");
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    here.live_at(1).await;
    here.stop().await;
    let passed: Vec<u32> = PASSED.iter().map(|passed| passed.load(Ordering::SeqCst)).collect();
    assert_eq!(passed, [1, 2, 3]);
}

#[tokio::test]
async fn a_panicking_task_is_reported() {
    fn panic(_: &'static str) {
        panic!("planted");
    }
    let (log, stores) = world();
    let mut here = Here::start(&log, &stores, Options { fail_point: panic, ..options() }).await;
    here.live_at(0).await;
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    let ended = tokio::time::timeout(PATIENCE, here.processor.ended()).await.expect("in time");
    assert_eq!(ended.to_string(), format!("the task of partition {PARTITION} panicked"));
    assert!(here.processor.stop().await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_log_that_is_gone() {
    let (log, stores) = world();
    let here = Here::start(&log, &stores, options()).await;
    here.live_at(0).await;
    log.close_now();
    here.status(|status| *status == PartitionStatus::Starting).await;
    tokio::time::timeout(PATIENCE, here.processor.stop()).await.expect("in time").unwrap();
}
