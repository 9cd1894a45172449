//! Promises about members of groups, positions seen from outside, and the search by time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: a broken promise panics"
)]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::FutureExt;

use super::{Fixture, open_with, position};
use crate::{Append, Change, CommitError, Departure, Error, GroupSpec, Log, Member, PartitionId};

/// How long a change of a group may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn join(log: &Arc<dyn Log>, topic: &str) -> Arc<dyn Member> {
    let instance = "the-only-one".to_owned();
    let spec = GroupSpec { group: format!("{topic}-group"), topic: topic.to_owned(), instance };
    Arc::clone(log).join(spec).await.expect("join")
}

/// Waits until these are assigned, however many changes it takes.
async fn assigned(member: &dyn Member, partitions: &[PartitionId]) {
    let mut missing: BTreeSet<_> = partitions.iter().copied().collect();
    while !missing.is_empty() {
        let next = tokio::time::timeout(PATIENCE, member.next()).await;
        match next.expect("a change in time").expect("a change") {
            Change::Assigned(some) => {
                assert!(some.is_subset(&missing), "{some:?} assigned, {missing:?} missing");
                missing.retain(|partition| !some.contains(partition));
            }
            other => panic!("{other:?} while {missing:?} are missing"),
        }
    }
}

/// Who is alone in a group is assigned everything, once, and claims and commits as a member.
pub async fn a_member_alone_is_assigned_everything(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "member", 3).await;
    let member = join(&bench.log, &bench.topic).await;
    assigned(&*member, &[0, 1, 2]).await;
    assert!(member.next().now_or_never().is_none(), "nothing changes by itself");
    member.release(&BTreeSet::from([0, 1]));
    assert!(member.next().now_or_never().is_none(), "nothing was to be released");

    let mut claim = member.claim(1).await.expect("claim");
    assert_eq!(claim.committed, None);
    let commit = claim.partition.commit([bench.value(2, "out")].into(), position(7, "token"));
    commit.await.expect("commit");
    assert_eq!(bench.values(2).await, ["out"]);
    let again = member.claim(1).await.expect("claim again");
    assert_eq!(again.committed, Some(position(7, "token")));
    let late = claim.partition.commit([bench.value(2, "late")].into(), position(8, "")).await;
    assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
    let unknown = member.claim(3).await;
    assert!(
        matches!(unknown, Err(Error::NotAssigned(_) | Error::UnknownPartition(_))),
        "{unknown:?}"
    );
}

/// Who has gone is told nothing more and claims nothing; who comes back under the same name finds
/// the partitions and the positions.
pub async fn a_member_that_went_finds_its_partitions_again(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "went", 2).await;
    for (round, how) in [(0, Departure::Restart), (1, Departure::Leave), (2, Departure::Restart)] {
        let member = join(&bench.log, &bench.topic).await;
        assigned(&*member, &[0, 1]).await;
        let mut claim = member.claim(0).await.expect("claim");
        let before = (round > 0).then(|| position(round, "t"));
        assert_eq!(claim.committed, before, "round {round}");
        claim.partition.commit([].into(), position(round + 1, "t")).await.expect("commit");
        drop(claim);
        member.go(how).await;
        member.go(how).await;
        let next = member.next().await;
        assert!(matches!(next, Err(Error::Closed)), "{next:?}");
        let claim = member.claim(0).await;
        assert!(matches!(claim, Err(Error::NotAssigned(_))), "{claim:?}");
    }
}

/// Positions are seen without claiming, by partition, also of a group that never committed.
pub async fn positions_are_seen_from_outside(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "positions", 3).await;
    let (log, topic) = (&bench.log, bench.topic.as_str());
    let group = fixture.name("positions-group");
    let none: Vec<Option<crate::Committed>> = vec![None; 3];
    assert_eq!(log.positions(&group, topic).await.expect("positions"), none);
    let mut owned = log.claim(&group, &bench.at(1)).await.expect("claim").partition;
    for offset in [5, 3] {
        owned.commit([].into(), position(offset, "somebody")).await.expect("commit");
        let seen = log.positions(&group, topic).await.expect("positions");
        assert_eq!(seen, [None, Some(position(offset, "somebody")), None]);
    }
    owned.commit([].into(), position(4, "still the owner")).await.expect("looking fences nobody");
    let unknown = log.positions(&group, &fixture.name("positions-none")).await;
    assert!(matches!(unknown, Err(Error::UnknownPartition(_))), "{unknown:?}");
}

/// The first record at or after a time is found, also behind gaps and trimmed records.
pub async fn records_are_found_by_time(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "by-time", 2).await;
    let (log, at) = (&bench.log, bench.at(0));
    let find = async |time_ms| {
        let from = log.offset_at(&at, time_ms).await.expect("offset_at");
        let read = log.read(&at, from, 1, usize::MAX).await.expect("read");
        read.first().map(|record| record.offset)
    };
    assert_eq!(find(1).await, None, "there is none");
    let begin = fixture.now_ms() - 100_000;
    let at_time = |n: i64| Append { timestamp_ms: Some(begin + n * 10), ..bench.value(0, "x") };
    let first = bench.append((0..50).map(at_time).collect()).await;
    // What a commit leaves between records, where it leaves anything.
    let mut owned = log.claim(&fixture.name("by-time-group"), &at).await.expect("claim").partition;
    owned.commit([at_time(50)].into(), position(1, "")).await.expect("commit");
    let last = bench.append((51..100).map(at_time).collect()).await;
    assert_eq!(find(0).await, Some(first[0]), "before the first");
    assert_eq!(find(begin).await, Some(first[0]));
    assert_eq!(find(begin + 1).await, Some(first[1]));
    assert_eq!(find(begin + 490).await, Some(first[49]));
    assert_eq!(find(begin + 501).await, Some(last[0]));
    assert_eq!(find(begin + 990).await, Some(last[48]));
    assert_eq!(find(begin + 991).await, None, "after the last");
    log.trim(&at, first[20]).await.expect("trim");
    assert_eq!(find(begin).await, Some(first[20]), "the first that is left");
    assert_eq!(find(begin + 250).await, Some(first[25]));
}
