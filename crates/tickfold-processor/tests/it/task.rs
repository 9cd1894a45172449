//! The shell and the processor on the mem adapters, on real threads: live, fenced, refused, an
//! orderly stop, fail points.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use tickfold_core::time::Timestamp;
use tickfold_log::mem::CommitFault;
use tickfold_log::{Departure, GroupSpec, Log, MemLog, Member, TopicPartition};
use tickfold_processor::{
    Error, Lag, Options, PartitionStatus, Processor, ensure_topics, fail_point, raw_topic,
};
use tickfold_store::{MemStores, Stores};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::oracle::Golden;
use crate::workload::{NOON_MS, PARTITION, PARTITIONS, append_tick, append_webhook, status};

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Joins the group, alone.
pub(crate) async fn join(log: &Arc<dyn Log>, options: &Options) -> Arc<dyn Member> {
    let (group, topic) = (options.group.clone(), raw_topic(&options.topic_prefix));
    let spec = GroupSpec { group, topic, instance: "here".to_owned() };
    Arc::clone(log).join(spec).await.unwrap()
}

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
        let member = join(&port, &options).await;
        let processor =
            Processor::spawn(&port, &disk, member, options, PARTITIONS, &runtime).unwrap();
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

    /// Waits for all partitions: whatever befalls commits then befalls those of records.
    async fn all_live(&self) {
        for mut status in self.processor.statuses().values().cloned() {
            let live = status.wait_for(PartitionStatus::is_live);
            drop(tokio::time::timeout(PATIENCE, live).await.expect("in time").unwrap());
        }
    }

    /// Waits until the partition is seen to be as far behind, also while it does not get on.
    async fn lag(&self, records: u64, shown_ms: Option<i64>) {
        let wanted = Lag { records, shown: shown_ms.map(Timestamp::from_millis) };
        let mut lags = self.processor.lags()[&PARTITION].clone();
        let found = tokio::time::timeout(PATIENCE, lags.wait_for(|lag| *lag == Some(wanted))).await;
        found.unwrap_or_else(|_| panic!("{wanted:?} in time")).unwrap();
    }

    /// Stops, and compares with the golden fold.
    async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.processor.stop(Departure::Restart))
            .await
            .expect("in time")
            .unwrap();
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

/// Readers go by it: what grows from nothing is not a state of an earlier time.
#[tokio::test]
async fn a_restore_tells_whether_it_began_with_a_state() {
    let (log, stores) = world();
    // Many small writes, so that it is seen.
    let options = || Options { batch_records_max: 1, ..options() };
    let here = Here::start(&log, &stores, options()).await;
    for n in 0..1_000 {
        append_webhook(&log, &status(n, "sent", 1_795_132_700));
    }
    here.live_at(1_000).await;
    here.stop().await;
    let lose: [(&dyn Fn(), bool); 2] =
        [(&|| stores.lose_last_batches(PARTITION, 500), false), (&|| stores.wipe(PARTITION), true)];
    for (lose, wanted) in lose {
        lose();
        let here = Here::start(&log, &stores, options()).await;
        let is_restoring = |status: &PartitionStatus| {
            // The last of it, long after the first batch.
            matches!(status, PartitionStatus::Restoring { remaining, .. } if *remaining < 300)
        };
        let status = here.status(is_restoring).await;
        assert!(
            matches!(status, PartitionStatus::Restoring { from_empty, .. } if from_empty == wanted),
            "{status:?}"
        );
        here.live_at(1_000).await;
        here.stop().await;
    }
}

#[tokio::test]
async fn the_state_is_as_old_as_its_newest_record_while_others_wait_and_not_old_while_none_do() {
    let (log, stores) = world();
    let options = || Options { poll_interval_ms: 5, ..options() };
    let here = Here::start(&log, &stores, options()).await;
    here.live_at(0).await;
    log.hold_commits(true);
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    // Nothing was ever folded, so nothing is old.
    here.lag(1, None).await;
    log.hold_commits(false);
    here.live_at(1).await;
    here.lag(0, None).await;

    log.hold_commits(true);
    log.set_now_ms(NOON_MS + 90_000);
    append_webhook(&log, &status(1, "delivered", 1_795_132_760));
    append_webhook(&log, &status(1, "read", 1_795_132_770));
    here.lag(2, Some(NOON_MS)).await;
    log.hold_commits(false);
    here.lag(0, None).await;
    here.stop().await;

    // One that is started anew knows from its store how old it is.
    append_webhook(&log, &status(2, "sent", 1_795_132_800));
    log.hold_commits(true);
    let here = Here::start(&log, &stores, options()).await;
    here.lag(1, Some(NOON_MS + 90_000)).await;
    log.hold_commits(false);
    here.lag(0, None).await;
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

/// A checkpoint that is copied to another volume takes minutes. Meanwhile queries must ask the new owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_taken_away_is_elsewhere_though_its_thread_is_at_the_store() {
    static AT_STORE: AtomicBool = AtomicBool::new(false);
    static GO_ON: AtomicBool = AtomicBool::new(false);
    fn slow(name: &'static str) {
        if name == fail_point::AFTER_STORE && !AT_STORE.swap(true, Ordering::SeqCst) {
            while !GO_ON.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
    }
    let (log, stores) = world();
    let here = Here::start(&log, &stores, Options { fail_point: slow, ..options() }).await;
    here.all_live().await;
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    while !AT_STORE.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    assert!(log.expire_member("tickfold", "here"));
    here.status(|status| *status == PartitionStatus::Elsewhere).await;
    GO_ON.store(true, Ordering::SeqCst);
    // It is assigned anew, as it is alone.
    here.live_at(1).await;
    here.stop().await;
}

#[tokio::test]
async fn commits_in_doubt_and_aborted_are_settled() {
    let (log, stores) = world();
    let here = Here::start(&log, &stores, options()).await;
    here.all_live().await;
    let faults = [
        CommitFault::Aborted,
        CommitFault::UnclearApplied,
        CommitFault::UnclearNotApplied,
        CommitFault::UnclearAppliedLate,
    ];
    // One record at a time: a commit of several would settle several faults by its first ones.
    for (n, fault) in (0..).zip(faults) {
        log.fail_next_commit(fault);
        append_webhook(&log, &status(n, "sent", 1_795_132_700));
        here.live_at(n + 1).await;
        assert!(!log.forget_commit_faults(), "{fault:?} landed");
    }
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
    here.processor.stop(Departure::Restart).await.unwrap();
    assert!(matches!(&*other.borrow(), PartitionStatus::Stopped));
}

/// All replicas lost power before they synced the newest records, and what ingress takes from then on gets
/// their offsets.
#[tokio::test]
async fn a_live_partition_whose_raw_lost_records_is_refused_and_folds_nothing_in_their_place() {
    for appended_after in [0, 1] {
        let (log, stores) = world();
        let raw = TopicPartition::new(raw_topic("wa"), PARTITION);
        let here = Here::start(&log, &stores, Options { poll_interval_ms: 5, ..options() }).await;
        here.live_at(0).await;
        for n in 0..5 {
            append_webhook(&log, &status(n, "sent", 1_795_132_700));
        }
        here.live_at(5).await;
        log.lose_tail(&raw, 3).unwrap();
        for n in 0..appended_after {
            append_webhook(&log, &status(n, "read", 1_795_132_800));
        }
        match here.status(|status| matches!(status, PartitionStatus::Refused(_))).await {
            PartitionStatus::Refused(refusal) => assert_eq!(refusal.code(), "raw_damaged"),
            other => panic!("{other}"),
        }
        assert_eq!(log.committed("tickfold", &raw).unwrap().offset, 5, "nothing goes on");
        here.processor.stop(Departure::Restart).await.unwrap();
    }
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
    assert!(here.processor.stop(Departure::Restart).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_log_that_is_gone() {
    let (log, stores) = world();
    let here = Here::start(&log, &stores, options()).await;
    here.live_at(0).await;
    log.close_now();
    here.status(|status| *status == PartitionStatus::Starting).await;
    tokio::time::timeout(PATIENCE, here.processor.stop(Departure::Restart))
        .await
        .expect("in time")
        .unwrap();
}

/// The task hangs in its own code, not in the log: the process is told, and can be stopped.
#[tokio::test]
async fn a_stuck_task_is_reported_and_does_not_hold_up_the_stop() {
    fn hang(_: &'static str) {
        loop {
            std::thread::park();
        }
    }
    let (log, stores) = world();
    let options = Options { fail_point: hang, poll_interval_ms: 1, stuck_ms_max: 50, ..options() };
    let mut here = Here::start(&log, &stores, options).await;
    here.live_at(0).await;
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    let ended = tokio::time::timeout(PATIENCE, here.processor.ended()).await.expect("in time");
    assert!(matches!(ended, Error::Stuck { partition: PARTITION, .. }), "{ended}");
    let stopped = tokio::time::timeout(PATIENCE, here.processor.stop(Departure::Restart))
        .await
        .expect("in time");
    assert!(matches!(stopped, Err(Error::Stuck { partition: PARTITION, .. })), "{stopped:?}");
}

/// One derived partition is below its replicas while raw is well: a new process would wait as long.
#[tokio::test]
async fn a_commit_that_waits_for_the_log_is_not_stuck() {
    let (log, stores) = world();
    let options = Options { poll_interval_ms: 5, stuck_ms_max: 2_000, ..options() };
    let mut here = Here::start(&log, &stores, options).await;
    here.all_live().await;
    log.hold_commits(true);
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    let ended = tokio::time::timeout(Duration::from_secs(4), here.processor.ended()).await;
    assert!(ended.is_err(), "{ended:?}");
    log.hold_commits(false);
    here.live_at(1).await;
    here.stop().await;
}

#[tokio::test]
async fn commits_in_doubt_again_and_again_are_not_stuck() {
    let (log, stores) = world();
    let options = Options { poll_interval_ms: 5, stuck_ms_max: 2_000, ..options() };
    let mut here = Here::start(&log, &stores, options).await;
    here.all_live().await;
    (0..2_000_000).for_each(|_| log.fail_next_commit(CommitFault::UnclearNotApplied));
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    let ended = tokio::time::timeout(Duration::from_secs(4), here.processor.ended()).await;
    assert!(ended.is_err(), "{ended:?}");
    assert!(log.forget_commit_faults(), "they lasted");
    here.live_at(1).await;
    here.stop().await;
}

/// It may be what can never be accepted, as a record that is too large for its topic.
#[tokio::test]
async fn commits_that_are_aborted_for_good_are_stuck_after_a_while() {
    let (log, stores) = world();
    let options = Options { commit_backoff_ms: 1, commit_backoff_ms_max: 5, ..options() };
    let options = Options { poll_interval_ms: 5, stuck_ms_max: 1_000, ..options };
    let mut here = Here::start(&log, &stores, options).await;
    here.all_live().await;
    (0..100_000).for_each(|_| log.fail_next_commit(CommitFault::Aborted));
    append_webhook(&log, &status(1, "sent", 1_795_132_700));
    let ended = tokio::time::timeout(Duration::from_secs(3), here.processor.ended()).await;
    assert!(ended.is_err(), "it may pass: {ended:?}");
    let ended = tokio::time::timeout(PATIENCE, here.processor.ended()).await.expect("in time");
    assert!(matches!(ended, Error::Stuck { partition: PARTITION, .. }), "{ended}");
    assert!(log.forget_commit_faults(), "they lasted");
}

/// Gauges as they are set, by name and partition.
#[derive(Debug, Default)]
struct Gauges(Arc<watch::Sender<BTreeMap<String, f64>>>);

impl Gauges {
    /// Waits until that of the partition has this value.
    async fn come_to(&self, name: &str, wanted: f64) {
        let name = format!("{name} {PARTITION}");
        let mut seen = self.0.subscribe();
        let found = seen.wait_for(|gauges| gauges.get(&name) == Some(&wanted));
        drop(tokio::time::timeout(PATIENCE, found).await.expect("in time").unwrap());
    }
}

#[derive(Debug)]
struct Set(Arc<watch::Sender<BTreeMap<String, f64>>>, String);

impl metrics::GaugeFn for Set {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.0.send_modify(|gauges| _ = gauges.insert(self.1.clone(), value));
    }
}

impl metrics::Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Gauge::from_arc(Arc::new(Set(Arc::clone(&self.0), name)))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Monitors run on this thread, so its recorder is theirs.
#[tokio::test]
async fn the_lag_is_true_for_a_live_a_refused_and_a_stuck_partition() {
    fn hang(_: &'static str) {
        loop {
            std::thread::park();
        }
    }
    let gauges = Gauges::default();
    let _recorder = metrics::set_default_local_recorder(&gauges);
    let lags = async |wanted: f64| gauges.come_to("tickfold_processor_lag_records", wanted).await;
    let status = |n| status(n, "sent", 1_795_132_700);
    let options = Options { poll_interval_ms: 1, ..options() };

    let (log, stores) = world();
    let here = Here::start(&log, &stores, options.clone()).await;
    lags(0.0).await;
    append_webhook(&log, &status(1));
    here.live_at(1).await;
    lags(0.0).await;
    here.processor.stop(Departure::Restart).await.unwrap();

    // Somebody moved the position back, so nothing is folded, and the lag grows with the input.
    let raw = TopicPartition::new(raw_topic("wa"), PARTITION);
    let moved = tickfold_log::Committed { offset: 0, metadata: String::new() };
    log.set_committed("tickfold", &raw, Some(moved));
    let here = Here::start(&log, &stores, options.clone()).await;
    lags(1.0).await;
    append_webhook(&log, &status(2));
    lags(2.0).await;
    here.processor.stop(Departure::Restart).await.unwrap();

    // One that never gets to commit.
    let (log, stores) = world();
    let here = Here::start(&log, &stores, Options { fail_point: hang, ..options }).await;
    here.live_at(0).await;
    for n in 0..5 {
        append_webhook(&log, &status(n));
    }
    lags(5.0).await;
}

#[tokio::test]
async fn what_remains_to_be_restored_is_nothing_once_the_partition_is_taken_away() {
    let gauges = Gauges::default();
    let _recorder = metrics::set_default_local_recorder(&gauges);
    let remaining = async |wanted: f64| {
        gauges.come_to("tickfold_processor_restore_remaining_records", wanted).await;
    };
    let options = Options { poll_interval_ms: 1, ..options() };
    let (log, stores) = world();
    let here = Here::start(&log, &stores, options.clone()).await;
    here.all_live().await;
    remaining(0.0).await;
    here.stop().await;
    // Another store goes on; this one stays behind.
    let here = Here::start(&log, &MemStores::new(), options.clone()).await;
    for n in 0..3 {
        append_webhook(&log, &status(n, "sent", 1_795_132_700));
    }
    here.live_at(3).await;
    here.processor.stop(Departure::Restart).await.unwrap();

    // It restores, again and again, for as long as it cannot be written.
    stores.fail_writes(true);
    let here = Here::start(&log, &stores, options.clone()).await;
    remaining(3.0).await;
    let (group, topic) = (options.group, raw_topic(&options.topic_prefix));
    let there = log.join_now(&GroupSpec { group, topic, instance: "there".to_owned() }).unwrap();
    remaining(0.0).await;
    stores.fail_writes(false);
    here.processor.stop(Departure::Restart).await.unwrap();
    drop(there);
}
