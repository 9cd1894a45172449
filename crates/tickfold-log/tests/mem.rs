//! The mem adapter: the conformance suite, and the faults a harness can ask for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test: whatever is unexpected fails it"
)]

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tickfold_log::{
    Append, CommitError, Committed, Error, Log, LogFuture, MemLog, TopicPartition, TopicSpec,
    conformance::{self, Fixture},
    mem::{AppendFault, CommitFault},
};

struct Mem;

impl Fixture for Mem {
    fn open(&self) -> LogFuture<'_, Arc<dyn Log>> {
        Box::pin(async { Arc::new(MemLog::new(self.now_ms())) as Arc<dyn Log> })
    }

    fn reopen(&self, _: Arc<dyn Log>) -> LogFuture<'_, Option<Arc<dyn Log>>> {
        Box::pin(async { None })
    }

    fn now_ms(&self) -> i64 {
        1_760_000_000_000
    }
}

#[tokio::test]
async fn conformance() {
    let ran = conformance::run_all(&Mem).await;
    println!("mem: {} cases: {}", ran.len(), ran.join(" "));
}

fn log() -> MemLog {
    let log = MemLog::new(1_000);
    let spec = |name: &str| TopicSpec { name: name.to_owned(), partitions: 1, compacted: false };
    log.ensure_topics_now(&[spec("in"), spec("out")]).unwrap();
    log
}

fn at(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

fn value(topic: &str, value: &str) -> Append {
    let value = Some(Bytes::from(value.to_owned()));
    Append { to: at(topic), key: None, value, headers: vec![], timestamp_ms: None }
}

fn position(offset: u64) -> Committed {
    Committed { offset, metadata: format!("m{offset}") }
}

/// Commits "x" under a fault; then says what readers saw before the next claim, what that claim
/// returned, and what readers see after it.
fn under(fault: CommitFault) -> (Result<(), CommitError>, usize, Option<Committed>, usize) {
    let log = log();
    let (_, mut owned) = log.claim_now("g", &at("in")).unwrap();
    log.fail_next_commit(fault);
    let outcome = owned.commit_now([value("out", "x")].into(), position(1));
    assert!(!log.forget_commit_faults(), "the fault landed");
    let before = log.records("out", 0).len();
    if matches!(outcome, Err(CommitError::Unclear { .. })) {
        let spent = owned.commit_now([value("out", "again")].into(), position(1));
        assert!(matches!(spent, Err(CommitError::Fenced)), "a spent claim: {spent:?}");
    }
    let (committed, _) = log.claim_now("g", &at("in")).unwrap();
    (outcome, before, committed, log.records("out", 0).len())
}

#[test]
fn an_aborted_commit_leaves_the_claim() {
    let log = log();
    let (_, mut owned) = log.claim_now("g", &at("in")).unwrap();
    log.fail_next_commit(CommitFault::Aborted);
    let aborted = owned.commit_now([value("out", "x")].into(), position(1));
    assert!(matches!(aborted, Err(CommitError::Aborted { .. })));
    assert_eq!(log.committed("g", &at("in")), None);
    owned.commit_now([value("out", "x")].into(), position(1)).unwrap();
    assert_eq!(log.records("out", 0).len(), 1);
}

#[test]
fn unclear_commits_are_settled_by_the_next_claim() {
    let applied = under(CommitFault::UnclearApplied);
    assert!(
        matches!(applied, (Err(CommitError::Unclear { .. }), 1, Some(p), 1) if p == position(1))
    );
    let lost = under(CommitFault::UnclearNotApplied);
    assert!(matches!(lost, (Err(CommitError::Unclear { .. }), 0, None, 0)), "{lost:?}");
    let late = under(CommitFault::UnclearAppliedLate);
    assert!(matches!(late, (Err(CommitError::Unclear { .. }), 0, Some(p), 1) if p == position(1)));
}

#[tokio::test]
async fn held_appends_finish_when_released_or_closed() {
    let log = log();
    log.hold_appends(true);
    assert!(matches!(log.append_now(vec![value("in", "now")]), Err(Error::Unavailable { .. })));
    let mut first = log.append(vec![value("in", "a")]);
    assert!((&mut first).now_or_never().is_none());
    assert_eq!(log.records("in", 0).len(), 0);
    log.hold_appends(false);
    assert_eq!(first.await.unwrap(), [0]);
    log.hold_appends(true);
    let mut second = log.append(vec![value("in", "b")]);
    assert!((&mut second).now_or_never().is_none());
    log.close().await.unwrap();
    assert!(matches!(second.await, Err(Error::Closed)));
    assert_eq!(log.records("in", 0).len(), 1);
}

#[test]
fn operators_and_damage() {
    let log = log();
    log.append_now(vec![value("in", "a"), value("in", "b"), value("in", "c")]).unwrap();
    assert!(log.replace_record(&at("in"), 1, Some(Bytes::from_static(b"B"))));
    assert!(!log.replace_record(&at("in"), 9, None));
    log.trim_now(&at("in"), 1).unwrap();
    log.fail_trims(true);
    assert!(matches!(log.trim_now(&at("in"), 2), Err(Error::Unavailable { .. })));
    let read = log.read_now(&at("in"), 0, 9, 9).unwrap();
    assert_eq!(read.iter().map(|r| r.offset).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(read[0].value.as_deref(), Some(&b"B"[..]));
    let bounds = log.bounds_now(&at("in")).unwrap();
    assert_eq!((bounds.start, bounds.end), (1, 3));

    log.set_committed("g", &at("in"), Some(position(2)));
    assert_eq!(log.claim_now("g", &at("in")).unwrap().0, Some(position(2)));
    log.set_committed("g", &at("in"), None);
    assert_eq!(log.claim_now("g", &at("in")).unwrap().0, None);

    log.clear_partition(&at("in")).unwrap();
    assert_eq!(log.last_record_now(&at("in")).unwrap(), None);
    log.set_now_ms(5);
    assert_eq!(log.append_now(vec![value("in", "new")]).unwrap(), [0]);
    assert_eq!(log.records("in", 0)[0].timestamp_ms, 5);
}

#[tokio::test]
async fn appends_fail_as_asked_and_are_counted() {
    let log = log();
    let two = || vec![value("in", "a"), value("in", "b")];
    log.fail_appends(true);
    assert!(matches!(log.append_now(two()), Err(Error::Unavailable { .. })));
    for (fault, readable) in [
        (AppendFault::Unavailable, 0),
        (AppendFault::Full, 0),
        (AppendFault::Poisoned, 0),
        (AppendFault::HalfWay, 1),
    ] {
        log.fail_appends_with(Some(fault));
        let poisoned = fault == AppendFault::Poisoned;
        match log.append(two()).await {
            Err(Error::Poisoned { .. }) if poisoned => {}
            Err(Error::Unavailable { .. }) if !poisoned => {}
            other => panic!("{fault:?}: {other:?}"),
        }
        assert_eq!(log.records("in", 0).len(), readable, "{fault:?}");
    }
    log.fail_appends_with(None);
    log.append(two()).await.unwrap();
    assert_eq!(log.append_faults_met(), 5);
}

#[tokio::test]
async fn a_delayed_append_is_readable_only_after_its_delay() {
    let log = log();
    let delay = std::time::Duration::from_millis(20);
    log.delay_appends(Some(delay));
    let began = std::time::Instant::now();
    let mut append = log.append(vec![value("in", "a")]);
    assert!((&mut append).now_or_never().is_none());
    assert_eq!(log.records("in", 0).len(), 0);
    append.await.unwrap();
    assert!(began.elapsed() >= delay);
    assert_eq!((log.records("in", 0).len(), log.append_faults_met()), (1, 1));
}
