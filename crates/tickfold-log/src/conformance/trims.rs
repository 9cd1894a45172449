//! Promises about deleting the head of a partition on purpose.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: a broken promise panics"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;

use super::{Bench, Fixture, open_with, position};
use crate::{Append, Bounds, Offset};

/// `count` appends to the first partition whose values are the numbers from 0 on.
fn numbers(bench: &Bench, count: usize) -> Vec<Append> {
    (0..count).map(|n| bench.value(0, &n.to_string())).collect()
}

async fn trim(bench: &Bench, before: Offset) -> Bounds {
    let at = bench.at(0);
    let trimmed = bench.log.trim(&at, before).await.expect("trim");
    assert_eq!(bench.log.bounds(&at).await.expect("bounds"), trimmed, "what it returned");
    trimmed
}

/// Records below are gone, those from `before` on untouched, and reads from below begin there.
pub async fn a_trim_moves_the_start(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "trim", 2).await;
    let offsets = bench.append(numbers(&bench, 10)).await;
    bench.append(vec![bench.value(1, "other")]).await;
    let before = bench.log.bounds(&bench.at(0)).await.expect("bounds");
    let kept = bench.all(0).await.split_off(4);

    let trimmed = trim(&bench, offsets[4]).await;
    assert_eq!(trimmed, Bounds { start: offsets[4], end: before.end });
    assert_eq!(bench.all(0).await, kept);
    for from in [0, offsets[3], offsets[4]] {
        let read = bench.log.read(&bench.at(0), from, 2, usize::MAX).await.expect("read");
        assert_eq!(read, kept[..2], "from {from}");
    }
    let last = bench.log.last_record(&bench.at(0)).await.expect("last_record");
    assert_eq!(last.as_ref(), kept.last());
    assert_eq!(bench.values(1).await, ["other"], "another partition is not touched");
    let topics = bench.log.topics().await.expect("topics");
    let topic = topics.iter().find(|t| t.spec.name == bench.topic).expect("the topic");
    assert_eq!(topic.bounds[0], trimmed);
}

/// The start never moves back, and trimming at or below it is nothing.
pub async fn a_trim_again_changes_nothing(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "trim-again", 1).await;
    let offsets = bench.append(numbers(&bench, 6)).await;
    assert_eq!(trim(&bench, 0).await.start, 0);
    assert_eq!(bench.all(0).await.len(), 6);
    let trimmed = trim(&bench, offsets[3]).await;
    for before in [offsets[3], offsets[1], 0] {
        assert_eq!(trim(&bench, before).await, trimmed, "before {before}");
        assert_eq!(bench.values(0).await, ["3", "4", "5"]);
    }
    // At once and out of order: the highest counts.
    let at = bench.at(0);
    let (low, high) =
        tokio::join!(bench.log.trim(&at, offsets[4]), bench.log.trim(&at, offsets[5]));
    assert!(low.expect("trim").start <= high.expect("trim").start);
    let (high, low) =
        tokio::join!(bench.log.trim(&at, offsets[5]), bench.log.trim(&at, offsets[4]));
    assert_eq!(high.expect("trim"), low.expect("trim"));
    assert_eq!(bench.values(0).await, ["5"]);
}

/// Nothing is left, and what comes after goes on behind the end: also after a restart, when only
/// the start can tell where that is.
pub async fn a_trim_of_everything_reuses_no_offset(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "trim-all", 1).await;
    let at = bench.at(0);
    assert_eq!(trim(&bench, 7).await, Bounds::default(), "nothing to trim");
    let mut last = 0;
    for before in [|end: Offset| end, |end| end + 1, |_| Offset::MAX] {
        bench.append(numbers(&bench, 3)).await;
        let end = bench.log.bounds(&at).await.expect("bounds").end;
        assert_eq!(trim(&bench, before(end)).await, Bounds { start: end, end });
        assert_eq!(bench.values(0).await, [""; 0]);
        assert_eq!(bench.log.last_record(&at).await.expect("last_record"), None);
        let offset = bench.append(vec![bench.value(0, "next")]).await[0];
        assert!(offset >= end && offset > last, "{offset} was given before");
        assert_eq!(bench.values(0).await, ["next"]);
        last = offset;
    }
    let trimmed = trim(&bench, Offset::MAX).await;
    let topic = bench.topic.clone();
    let Some(log) = fixture.reopen(bench.log).await else { return };
    let bench = Bench { log, topic };
    assert_eq!(bench.log.bounds(&at).await.expect("bounds"), trimmed);
    assert_eq!(bench.log.last_record(&at).await.expect("last_record"), None);
    let offset = bench.append(vec![bench.value(0, "next")]).await[0];
    assert!(offset >= trimmed.end, "{offset} was given before");
    assert_eq!(bench.values(0).await, ["next"]);
}

/// Appends, trims and a reader at once: nothing from the start on is missing or changed, the reader
/// skips only what somebody asked to be trimmed, and no call fails.
pub async fn trims_and_appends_go_on_side_by_side(fixture: &dyn Fixture) {
    const END: Offset = 120;
    let bench = open_with(fixture, "trim-beside", 1).await;
    let at = bench.at(0);
    let asked = AtomicU64::new(0);
    let appends = async {
        while bench.log.bounds(&at).await.expect("bounds").end < END {
            bench.append(numbers(&bench, 2)).await;
        }
    };
    let trims = async {
        let mut last = Bounds::default();
        while last.end < END {
            let end = bench.log.bounds(&at).await.expect("bounds").end;
            asked.fetch_max(end.saturating_sub(3), Ordering::SeqCst);
            let trimmed = bench.log.trim(&at, end.saturating_sub(3)).await.expect("trim");
            assert!(
                trimmed.start >= last.start && trimmed.end >= end,
                "{trimmed:?} after {last:?}"
            );
            last = trimmed;
            tokio::task::yield_now().await;
        }
    };
    let reads = async {
        let mut next = 0;
        while next < END {
            let start = bench.log.bounds(&at).await.expect("bounds").start;
            // Below the start, as a reader that fell behind.
            let first = bench.log.read(&at, 0, 1, usize::MAX).await.expect("read");
            assert!(first.iter().all(|record| record.offset >= start));
            for record in bench.log.read(&at, next, 7, usize::MAX).await.expect("read") {
                let trimmed = record.offset <= asked.load(Ordering::SeqCst);
                assert!(record.offset == next || trimmed, "{} after {next}", record.offset);
                next = record.offset + 1;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(appends, trims, reads);
    let left = bench.all(0).await;
    let bounds = bench.log.bounds(&at).await.expect("bounds");
    assert_eq!(left.first().map(|r| r.offset), Some(bounds.start));
    assert_eq!(left.last().map(|r| r.offset + 1), Some(bounds.end));
}

/// Waiting is about the end; a group's position is its own affair.
pub async fn a_trim_wakes_nobody_and_moves_no_position(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "trim-wait", 1).await;
    let at = bench.at(0);
    bench.append(numbers(&bench, 3)).await;
    let mut owned = bench.log.claim("g", &at).await.expect("claim").partition;
    owned.commit([].into(), position(1, "one")).await.expect("commit");
    let end = bench.log.bounds(&at).await.expect("bounds").end;
    let mut waiting = bench.log.wait_past(&at, end);
    assert!((&mut waiting).now_or_never().is_none());
    trim(&bench, Offset::MAX).await;
    assert!((&mut waiting).now_or_never().is_none(), "the end did not move");
    owned
        .commit([bench.value(0, "after")].into(), position(2, "two"))
        .await
        .expect("the claim holds");
    waiting.await.expect("woken by the commit");
    assert_eq!(bench.values(0).await, ["after"]);
    let claim = bench.log.claim("g", &at).await.expect("claim");
    assert_eq!(claim.committed, Some(position(2, "two")), "also below the start");
}

/// The start and what is left are there after a restart, and both go on from there.
pub async fn trims_survive_a_restart(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "trim-restart", 2).await;
    let at = bench.at(0);
    let offsets = bench.append(numbers(&bench, 8)).await;
    bench.append(vec![bench.value(1, "other")]).await;
    let trimmed = trim(&bench, offsets[5]).await;
    let left = bench.all(0).await;
    assert_eq!(left.len(), 3);

    let topic = bench.topic.clone();
    let Some(log) = fixture.reopen(bench.log).await else { return };
    let bench = Bench { log, topic };
    assert_eq!(bench.log.bounds(&at).await.expect("bounds"), trimmed);
    assert_eq!(bench.all(0).await, left);
    assert_eq!(bench.values(1).await, ["other"]);
    assert_eq!(trim(&bench, offsets[2]).await, trimmed, "not back");
    bench.append(vec![bench.value(0, "8")]).await;
    trim(&bench, offsets[7]).await;
    assert_eq!(bench.values(0).await, ["7", "8"]);
}
