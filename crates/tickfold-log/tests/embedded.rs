//! The embedded adapter: the conformance suite, restarts, poisoning, refusals.

#![cfg(feature = "embedded")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test: whatever is unexpected fails it"
)]

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use tempfile::TempDir;
use tickfold_log::{
    Append, Clock, CommitError, Committed, EmbeddedLog, EmbeddedOptions, Error, Log, LogFuture,
    TopicPartition, TopicSpec,
    conformance::{self, Fixture},
};

/// Each log in its own directory, all removed at the end.
struct Embedded {
    dir: TempDir,
    opened: AtomicUsize,
    last: Mutex<PathBuf>,
}

impl Fixture for Embedded {
    fn open(&self) -> LogFuture<'_, Arc<dyn Log>> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.path().join(number.to_string());
        *self.last.lock().unwrap() = dir.clone();
        Box::pin(async { EmbeddedLog::open(dir, small()).unwrap() as Arc<dyn Log> })
    }

    fn reopen(&self, log: Arc<dyn Log>) -> LogFuture<'_, Option<Arc<dyn Log>>> {
        let dir = self.last.lock().unwrap().clone();
        Box::pin(async move {
            log.close().await.unwrap();
            Some(EmbeddedLog::open(dir, small()).unwrap() as Arc<dyn Log>)
        })
    }

    fn now_ms(&self) -> i64 {
        Clock::system().now_ms()
    }
}

fn small() -> EmbeddedOptions {
    EmbeddedOptions { write_buffer_bytes: 1 << 20, ..EmbeddedOptions::default() }
}

#[tokio::test]
async fn conformance_on_one_thread() {
    run_conformance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conformance_on_many_threads() {
    run_conformance().await;
}

async fn run_conformance() {
    let fixture = Embedded {
        dir: TempDir::new().unwrap(),
        opened: AtomicUsize::new(0),
        last: Mutex::default(),
    };
    let ran = conformance::run_all(&fixture).await;
    println!("embedded: {} cases: {}", ran.len(), ran.join(" "));
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn value(partition: u32, value: impl Into<String>) -> Append {
    let value = Some(Bytes::from(value.into()));
    Append { to: at(partition), key: None, value, headers: vec![], timestamp_ms: None }
}

fn position(offset: u64) -> Committed {
    Committed { offset, metadata: format!("m{offset}") }
}

async fn open(dir: &TempDir, options: EmbeddedOptions) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(dir.path(), options).unwrap();
    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, compacted: false };
    log.ensure_topics(&[spec]).await.unwrap();
    log
}

async fn values(log: &EmbeddedLog, partition: u32) -> Vec<String> {
    let read = log.read(&at(partition), 0, usize::MAX, usize::MAX).await.unwrap();
    read.into_iter().map(|r| String::from_utf8(r.value.unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn dropping_without_close_keeps_everything() {
    let dir = TempDir::new().unwrap();
    for round in 0..5 {
        let log = open(&dir, small()).await;
        assert_eq!(values(&log, 0).await.len(), round);
        log.append(vec![value(0, round.to_string())]).await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, small()).await;
    let second = EmbeddedLog::open(dir.path(), small());
    let Err(Error::Unavailable { reason }) = second else { panic!("a second owner: {second:?}") };
    assert!(reason.contains("in use by another owner"), "{reason}");
    log.close().await.unwrap();
    EmbeddedLog::open(dir.path(), small()).unwrap();
    drop(log);
}

#[tokio::test]
async fn a_failed_sync_poisons_writes_and_spares_reads() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, small()).await;
    log.append(vec![value(0, "synced")]).await.unwrap();
    let mut owned = log.claim("g", &at(0)).await.unwrap().partition;
    let first = at(0);
    let mut waiting = log.wait_past(&first, 1);
    assert!((&mut waiting).now_or_never().is_none());

    log.fail_next_sync();
    let (append, commit) = tokio::join!(
        log.append(vec![value(0, "unsynced")]),
        owned.commit([value(1, "unsynced")].into(), position(1))
    );
    assert!(matches!(append, Err(Error::Poisoned { .. })), "{append:?}");
    assert!(matches!(commit, Err(CommitError::Unclear { .. })), "{commit:?}");
    assert_eq!(values(&log, 0).await, ["synced"], "what was not synced is not readable");
    assert_eq!(values(&log, 1).await, [""; 0]);
    assert!((&mut waiting).now_or_never().is_none(), "and wakes nobody");

    let later = log.append(vec![value(0, "later")]).await;
    assert!(matches!(later, Err(Error::Poisoned { .. })), "{later:?}");
    let claim = log.claim("g", &at(0)).await;
    assert!(matches!(claim, Err(Error::Poisoned { .. })), "{claim:?}");
    let commit = owned.commit([].into(), position(2)).await;
    assert!(matches!(commit, Err(CommitError::Unclear { .. })), "{commit:?}");
    assert!(matches!(log.close().await, Err(Error::Poisoned { .. })));
    drop(waiting);
    drop(log);

    // What became of the unanswered is open, but a commit is there whole or not at all.
    let log = open(&dir, small()).await;
    let committed = log.claim("g", &at(0)).await.unwrap().committed;
    assert_eq!(committed.is_some(), values(&log, 1).await.len() == 1);
    assert!(values(&log, 0).await.starts_with(&["synced".to_owned()]));
    log.append(vec![value(0, "again")]).await.unwrap();
}

#[tokio::test]
async fn a_trim_whose_sync_failed_is_whole_or_nothing() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, small()).await;
    log.append((0..10).map(|n| value(0, n.to_string())).collect()).await.unwrap();
    log.trim(&at(0), 2).await.unwrap();
    log.fail_next_sync();
    let failed = log.trim(&at(0), 6).await;
    assert!(matches!(failed, Err(Error::Poisoned { .. })), "{failed:?}");
    let later = log.trim(&at(0), 7).await;
    assert!(matches!(later, Err(Error::Poisoned { .. })), "{later:?}");
    assert_eq!(log.bounds(&at(0)).await.unwrap().start, 2, "not told before it was synced");
    let left = values(&log, 0).await.len();
    assert!(matches!(left, 4 | 8), "reads go on: {left}");
    drop(log);
    let log = open(&dir, small()).await;
    let start = log.bounds(&at(0)).await.unwrap().start;
    assert!(matches!(start, 2 | 6), "{start}");
    let expected: Vec<String> = (start..10).map(|n| n.to_string()).collect();
    assert_eq!(values(&log, 0).await, expected);
}

/// Real threads: a reader looks at the bounds, a trim lands, and only then does the reader look at
/// the records. None of that is damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_meet_trims_and_no_damage() {
    const RECORDS: u64 = 2_000;
    let dir = TempDir::new().unwrap();
    let log = open(&dir, small()).await;
    log.append((0..RECORDS).map(|n| value(0, n.to_string())).collect()).await.unwrap();
    let reads = (0..2).map(|_| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut reads = 0;
            loop {
                let read = log.read(&at(0), 0, 3, usize::MAX).await.unwrap();
                let Some(first) = read.first() else { return reads };
                assert_eq!(first.value, Some(Bytes::from(first.offset.to_string())));
                reads += 1;
            }
        })
    });
    let reads: Vec<_> = reads.collect();
    for before in 1..=RECORDS {
        assert_eq!(log.trim(&at(0), before).await.unwrap().start, before);
    }
    for reads in reads {
        assert!(reads.await.unwrap() > 0);
    }
}

/// Files that hold nothing but trimmed records go with the trim; what is left of them goes with a
/// compaction, and a file that ends with the first record to be kept stays.
#[tokio::test]
async fn a_trim_gives_the_space_back() {
    const RECORDS: u64 = 2_000;
    let dir = TempDir::new().unwrap();
    let log = open(&dir, small()).await;
    let mut noise = 1_u64;
    let mut incompressible = || {
        let mut next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_be_bytes()
        };
        Bytes::from((0..1_000).flat_map(|_| next()).collect::<Vec<u8>>())
    };
    let all: Vec<Bytes> = (0..RECORDS).map(|_| incompressible()).collect();
    for some in all.chunks(50) {
        let append = |bytes: &Bytes| Append { value: Some(bytes.clone()), ..value(0, "") };
        log.append(some.iter().map(append).collect()).await.unwrap();
    }
    log.append(vec![value(1, "other")]).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    // Everything into files of the lowest level, as it would be after some time.
    let ends = compact(&dir);
    let full = size(&dir);
    assert!(full > RECORDS * 8_000, "{full} bytes");
    let start = RECORDS * 9 / 10;
    let ends: Vec<u64> = ends.into_iter().filter(|end| *end < start).collect();
    assert!(ends.len() > 2, "several files: {ends:?}");

    let log = open(&dir, small()).await;
    for end in ends {
        log.trim(&at(0), end).await.unwrap();
        // The next trim is answered after the files of the one before were dropped.
        log.trim(&at(0), 0).await.unwrap();
        let first = log.read(&at(0), 0, 1, usize::MAX).await.unwrap();
        assert_eq!(first[0].offset, end);
        assert_eq!(first[0].value.as_ref(), all.get(usize::try_from(end).unwrap()));
    }
    log.trim(&at(0), start).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let dropped = size(&dir);
    assert!(dropped < full / 2, "{dropped} of {full} bytes after the trim");

    let log = open(&dir, small()).await;
    let left = log.read(&at(0), 0, usize::MAX, usize::MAX).await.unwrap();
    let left: Vec<_> = left.into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(left, all[usize::try_from(start).unwrap()..]);
    log.trim(&at(0), RECORDS).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    compact(&dir);
    let nothing = size(&dir);
    println!("{full} bytes, {dropped} after trimming nine tenths, {nothing} after all");
    assert!(nothing < full / 20, "{nothing} of {full} bytes after a compaction");
    let log = open(&dir, small()).await;
    assert_eq!(log.append(vec![value(0, "next")]).await.unwrap(), [RECORDS]);
    assert_eq!(values(&log, 1).await, ["other"]);
}

/// Rewrites everything into files of 2 MiB, and says with which offsets of the first partition
/// they end.
fn compact(dir: &TempDir) -> Vec<u64> {
    let mut options = rocksdb::Options::default();
    options.set_target_file_size_base(2 << 20);
    let db = rocksdb::DB::open(&options, dir.path().join("db")).unwrap();
    let mut how = rocksdb::CompactOptions::default();
    how.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
    db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &how);
    // Prefix, topic, partition, offset.
    let offset = |key: Vec<u8>| match key.split_at_checked(7)? {
        ([0x10, 0, 0, 0, 0, 0, 0], offset) => Some(u64::from_be_bytes(offset.try_into().unwrap())),
        _ => None,
    };
    let mut ends: Vec<u64> =
        db.live_files().unwrap().into_iter().filter_map(|file| offset(file.end_key?)).collect();
    ends.sort_unstable();
    ends
}

/// Bytes of all table files.
fn size(dir: &TempDir) -> u64 {
    let files = std::fs::read_dir(dir.path().join("db")).unwrap().map(Result::unwrap);
    let tables = files.filter(|file| file.path().extension().is_some_and(|e| e == "sst"));
    tables.map(|file| file.metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn a_full_queue_refuses_appends_but_not_commits() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, EmbeddedOptions { queue_bytes_max: 4_096, ..small() }).await;
    let mut owned = log.claim("g", &at(0)).await.unwrap().partition;
    // On one thread nothing is awaited between the pushes, so at most the writer's first group
    // leaves the queue, and its room is held until it is answered.
    let appends = (0..40).map(|n| log.append(vec![value(0, "x".repeat(1_000) + &n.to_string())]));
    let commit = owned.commit([value(1, "x".repeat(8_192))].into(), position(1));
    let (appends, commit) = tokio::join!(join_all(appends), commit);
    let refused = |a: &&Result<_, _>| matches!(a, Err(Error::Unavailable { .. }));
    let refused = appends.iter().filter(refused).count();
    let taken = appends.iter().filter(|a| a.is_ok()).count();
    assert_eq!(refused + taken, 40);
    assert!(refused > 0 && taken > 0, "{taken} taken, {refused} refused");
    assert_eq!(values(&log, 0).await.len(), taken);
    commit.unwrap();
    log.append(vec![value(0, "x".repeat(10_000))]).await.expect("an empty queue takes any record");
}

#[tokio::test]
async fn commits_take_no_room_from_appends() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, EmbeddedOptions { queue_bytes_max: 4_096, ..small() }).await;
    let mut owned = log.claim("g", &at(0)).await.unwrap().partition;
    let commit = owned.commit([value(1, "x".repeat(1 << 20))].into(), position(1));
    let appends = (0..2).map(|n| log.append(vec![value(0, n.to_string())]));
    // Pushed while the commit holds its room, as nothing is awaited between.
    let (commit, appends) = tokio::join!(commit, join_all(appends));
    commit.unwrap();
    for append in appends {
        append.expect("a commit is no append");
    }
}

#[tokio::test]
async fn append_times_never_fall_within_a_partition() {
    let dir = TempDir::new().unwrap();
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = || {
        let now = Arc::clone(&now);
        Clock::new(move || now.load(Ordering::SeqCst))
    };
    let mut log = open(&dir, EmbeddedOptions { clock: clock(), ..small() }).await;
    log.append(vec![value(0, "a")]).await.unwrap();
    now.store(400, Ordering::SeqCst);
    log.append(vec![value(0, "b"), value(1, "other")]).await.unwrap();
    log.close().await.unwrap();
    log = open(&dir, EmbeddedOptions { clock: clock(), ..small() }).await;
    let given = Append { timestamp_ms: Some(7), ..value(0, "given") };
    log.append(vec![value(0, "c"), given, value(0, "d")]).await.unwrap();
    now.store(2_000, Ordering::SeqCst);
    log.append(vec![value(0, "e")]).await.unwrap();
    let read = log.read(&at(0), 0, 99, usize::MAX).await.unwrap();
    let times: Vec<_> = read.iter().map(|r| r.timestamp_ms).collect();
    assert_eq!(times, [1_000, 1_000, 1_000, 7, 1_000, 2_000]);
    assert_eq!(log.read(&at(1), 0, 99, 99).await.unwrap()[0].timestamp_ms, 400);
}

#[tokio::test]
async fn more_partitions_than_the_mark_holds_are_refused() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, small()).await;
    let spec = |n: u32| TopicSpec { name: format!("t{n}"), partitions: 5_000, compacted: false };
    log.ensure_topics(&[spec(1)]).await.unwrap();
    let refused = log.ensure_topics(&[spec(1), spec(2)]).await;
    assert!(matches!(refused, Err(Error::TopicMismatch { .. })), "{refused:?}");
    assert_eq!(log.topics().await.unwrap().len(), 2);
}

/// Real threads: appenders, an owner and a reader that never sees part of a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_all_of_a_commit_or_nothing() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, small()).await;
    let mut owned = log.claim("g", &at(0)).await.unwrap().partition;
    let appends = (0..3).map(|n| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for _ in 0..100 {
                log.append(vec![value(1, format!("append {n}"))]).await.unwrap();
            }
        })
    });
    let appends: Vec<_> = appends.collect();
    let commits = tokio::spawn(async move {
        for n in 0..300 {
            let both = [value(0, n.to_string()), value(1, n.to_string())];
            owned.commit(both.into(), position(n)).await.unwrap();
        }
    });
    let count = |values: Vec<String>| values.iter().filter(|v| !v.starts_with("append")).count();
    loop {
        let first = count(values(&log, 0).await);
        let second = count(values(&log, 1).await);
        assert!(second >= first, "{first} outputs in one partition and then {second} in the other");
        if first == 300 {
            break;
        }
    }
    commits.await.unwrap();
    for appends in appends {
        appends.await.unwrap();
    }
    assert_eq!(values(&log, 1).await.len(), 600);
}

/// How fast it is: `cargo test --release -p tickfold-log --test embedded -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn records_per_second() {
    for (records, rounds) in [(1, 2_000), (100, 500), (1_000, 200)] {
        let dir = TempDir::new().unwrap();
        let log = open(&dir, EmbeddedOptions::default()).await;
        let began = std::time::Instant::now();
        for _ in 0..rounds {
            let group = (0..records).map(|_| value(0, "x".repeat(500))).collect();
            log.append(group).await.unwrap();
        }
        let rate = f64::from(records * rounds) / began.elapsed().as_secs_f64();
        println!("groups of {records}: {rate:.0} records/s");
    }
}
