//! A broker that is killed with SIGKILL under load and comes back with what it had; and one that is
//! stopped with SIGSTOP until nobody waits any more, and goes on.
//!
//! And one that comes back without the records that it had written last, as after a loss of power.
//!
//! Else its process dies, not its machine, so what it had written is there again; what is tested is our
//! side: that a call says Ok only for what the broker has, and that doubt is resolved rightly.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tickfold_log::{
    Append, CommitError, Committed, Error, KafkaLog, KafkaOptions, Log, Offset, OwnedPartition,
    TopicPartition,
};

use crate::{
    bench::{all, append, options, position, stream, unique, values},
    broker::Broker,
};

/// Appends and commits before the kill, and again after the restart, before the run may end.
const AT_LEAST: usize = 200;
const COMMITS: usize = 20;
/// Those that append and the one that commits.
const TASKS: usize = 5;

/// Whoever waits behind them would else never see what takes their places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_behind_records_that_a_broker_lost_is_told() {
    let broker = Arc::new(Broker::start());
    let log = KafkaLog::connect(options(&broker.plain)).unwrap();
    let at = TopicPartition::new(unique("tail"), 0);
    log.ensure_topics(&[stream(&at.topic, 1)]).await.unwrap();
    for n in 0..5 {
        log.append(vec![append(&at, &n.to_string())]).await.unwrap();
    }
    // An owner that is caught up, and has a cursor at the end.
    let owner = KafkaLog::connect(options(&broker.plain)).unwrap();
    assert_eq!(owner.read(&at, 0, 10, usize::MAX).await.unwrap().len(), 5);
    let (waited, appended) =
        tokio::join!(owner.wait_past(&at, 5), log.append(vec![append(&at, "5")]));
    waited.unwrap();
    appended.unwrap();
    assert_eq!(owner.read(&at, 5, 10, usize::MAX).await.unwrap().len(), 1);
    let waits = tokio::spawn({
        let (owner, at) = (Arc::clone(&owner), at.clone());
        async move { owner.wait_past(&at, 6).await }
    });
    let data = broker.ca_file.parent().unwrap().join("data");
    let segment = data.join(format!("{}-0/00000000000000000000.log", at.topic));
    let loses = Arc::clone(&broker);
    let restarted = tokio::task::spawn_blocking(move || {
        loses.kill();
        keep_batches(&segment, 3);
        loses.restart();
    });
    restarted.await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), waits).await.expect("in time");
    let error = told.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("records below it are gone"), "{error}");
    // It is no trouble that lasts. Another appends: who appended what is lost is told of it, too.
    let log = KafkaLog::connect(options(&broker.plain)).unwrap();
    log.topics().await.unwrap();
    assert_eq!(log.append(vec![append(&at, "new")]).await.unwrap(), [3]);
    let read = owner.read(&at, 0, 10, usize::MAX).await.unwrap();
    assert_eq!(values(&read), ["0", "1", "2", "new"]);
}

/// Cuts a segment of a log behind its first batches: each begins with its offset and its length.
fn keep_batches(segment: &Path, batches: usize) {
    let bytes = std::fs::read(segment).unwrap();
    let mut end = 0;
    for _ in 0..batches {
        let length: [u8; 4] = bytes[end + 8..end + 12].try_into().unwrap();
        end += 12 + usize::try_from(u32::from_be_bytes(length)).unwrap();
    }
    assert!(end < bytes.len());
    std::fs::File::options().write(true).open(segment).unwrap().set_len(end as u64).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let broker = Arc::new(Broker::start());
    let options = KafkaOptions {
        append_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(3),
        claim_timeout: Duration::from_secs(5),
        transaction_timeout: Duration::from_secs(5),
        ..options(&broker.plain)
    };
    let log = KafkaLog::connect(options).unwrap();
    let topic = unique("crash");
    log.ensure_topics(&[stream(&topic, 3)]).await.unwrap();
    let progress = Arc::new(Progress::default());
    let appends: Vec<_> = (0..4)
        .map(|task| {
            let at = TopicPartition::new(topic.as_str(), task % 2);
            tokio::spawn(append_on(Arc::clone(&log), at, task, Arc::clone(&progress)))
        })
        .collect();
    let out = TopicPartition::new(topic.as_str(), 2);
    let input = TopicPartition::new(topic.as_str(), 0);
    let commits = tokio::spawn(commit_on(
        Arc::clone(&log),
        input.clone(),
        out.clone(),
        Arc::clone(&progress),
    ));

    // The first claim may have to ask again while a new broker makes its own topics.
    progress.reach(1, 1).await;
    let failed_before = progress.failed.load(Ordering::SeqCst);
    progress.reach(AT_LEAST, COMMITS).await;
    let failed = progress.failed.load(Ordering::SeqCst);
    assert_eq!(failed, failed_before, "the null control: nothing fails on a broker that lives");
    let killed = Arc::clone(&broker);
    let before = progress.now();
    tokio::task::spawn_blocking(move || killed.kill()).await.unwrap();
    // The four that append and the one that commits have all given up at least once, so it struck.
    progress.fail_more(2 * TASKS).await;
    let restarted = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || restarted.restart()).await.unwrap();
    let (appended, committed) = progress.now();
    progress.reach(appended + AT_LEAST, committed + COMMITS).await;
    let paused = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || paused.pause()).await.unwrap();
    progress.fail_more(2 * TASKS).await;
    broker.resume();
    let (appended, committed) = progress.now();
    progress.reach(appended + AT_LEAST, committed + COMMITS).await;
    progress.stop.store(true, Ordering::SeqCst);

    let mut acknowledged = BTreeMap::new();
    for task in appends {
        acknowledged.extend(task.await.unwrap());
    }
    let (position, sent, unclear) = commits.await.unwrap();
    let failed = progress.failed.load(Ordering::SeqCst);
    println!(
        "killed after {before:?} appends and commits; {} appends acknowledged, {failed} calls \
         failed, {unclear} commits in doubt, {sent} committed",
        acknowledged.len()
    );
    for partition in 0..2 {
        let at = TopicPartition::new(topic.as_str(), partition);
        let found = all(&*log, &at).await;
        let found: BTreeMap<_, _> = found.iter().map(|r| r.offset).zip(values(&found)).collect();
        let wanted = acknowledged.iter().filter(|((p, _), _)| *p == partition);
        for ((_, offset), value) in wanted {
            assert_eq!(found.get(offset), Some(value), "acknowledged at {at}@{offset}");
        }
    }
    // Each commit's output exactly once, in order, and the position is that of the last.
    let outputs = values(&all(&*log, &out).await);
    assert_eq!(outputs, (0..sent).map(|n| format!("c{n}")).collect::<Vec<_>>());
    let committed = log.claim("g", &input).await.unwrap().committed;
    assert_eq!(committed, position);
    log.close().await.unwrap();
}

#[derive(Default)]
struct Progress {
    appended: AtomicUsize,
    committed: AtomicUsize,
    failed: AtomicUsize,
    moved: tokio::sync::Notify,
    stop: AtomicBool,
}

impl Progress {
    fn now(&self) -> (usize, usize) {
        (self.appended.load(Ordering::SeqCst), self.committed.load(Ordering::SeqCst))
    }

    fn step(&self, counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::SeqCst);
        self.moved.notify_one();
    }

    async fn reach(&self, appended: usize, committed: usize) {
        while self.now().0 < appended || self.now().1 < committed {
            self.moved.notified().await;
        }
    }

    /// Waits until so many more calls have failed.
    async fn fail_more(&self, times: usize) {
        let wanted = self.failed.load(Ordering::SeqCst) + times;
        let failing = async {
            while self.failed.load(Ordering::SeqCst) < wanted {
                self.moved.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), failing).await.expect("the fault strikes");
    }
}

/// Appends one by one and returns what was acknowledged, and where.
async fn append_on(
    log: Arc<KafkaLog>,
    at: TopicPartition,
    task: u32,
    progress: Arc<Progress>,
) -> BTreeMap<(u32, Offset), String> {
    let mut acknowledged = BTreeMap::new();
    for n in 0.. {
        if progress.stop.load(Ordering::SeqCst) {
            break;
        }
        let value = format!("{task}:{n}");
        match log.append(vec![append(&at, &value)]).await {
            Ok(offsets) => {
                let before = acknowledged.insert((at.partition, offsets[0]), value);
                assert_eq!(before, None, "an offset given twice");
                progress.step(&progress.appended);
            }
            Err(Error::Unavailable { .. }) => progress.step(&progress.failed),
            Err(error) => panic!("append: {error}"),
        }
    }
    acknowledged
}

/// Commits one output at a time and resolves doubt as the processor does: claim anew and look at
/// the position. Returns the last position, the number of commits and how many were in doubt.
async fn commit_on(
    log: Arc<KafkaLog>,
    input: TopicPartition,
    out: TopicPartition,
    progress: Arc<Progress>,
) -> (Option<Committed>, usize, usize) {
    let (mut before, mut owned) = claim(&log, &input, &progress).await;
    let (mut sent, mut unclear) = (0, 0);
    while !progress.stop.load(Ordering::SeqCst) {
        let output: Append = append(&out, &format!("c{sent}"));
        let to = position(sent as u64 + 1, &format!("t{sent}"));
        match owned.commit([output].into(), to.clone()).await {
            Ok(()) => before = Some(to),
            Err(CommitError::Aborted { .. }) => {
                progress.step(&progress.failed);
                continue;
            }
            Err(CommitError::Unclear { .. }) => {
                progress.step(&progress.failed);
                unclear += 1;
                let (found, anew) = claim(&log, &input, &progress).await;
                owned = anew;
                if found == before {
                    continue;
                }
                assert_eq!(found, Some(to.clone()), "neither before nor after");
                before = Some(to);
            }
            Err(error) => panic!("commit: {error}"),
        }
        sent += 1;
        progress.step(&progress.committed);
    }
    (before, sent, unclear)
}

async fn claim(
    log: &KafkaLog,
    input: &TopicPartition,
    progress: &Progress,
) -> (Option<Committed>, Box<dyn OwnedPartition>) {
    loop {
        match log.claim("g", input).await {
            Ok(claim) => return (claim.committed, claim.partition),
            Err(Error::Unavailable { .. }) => progress.step(&progress.failed),
            Err(error) => panic!("claim: {error}"),
        }
    }
}
