//! Groups of the mem adapter: who is assigned what, in which order changes are told, and what of a
//! member's claims is left when it loses a partition.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: whatever is unexpected fails it"
)]

use std::collections::BTreeSet;

use tickfold_log::{
    Change, CommitError, Committed, Departure, Error, GroupSpec, MemLog, Member, TopicSpec,
    mem::MemMember,
};

const PARTITIONS: u32 = 6;

fn log() -> MemLog {
    let log = MemLog::new(1_000);
    let spec = TopicSpec { name: "in".to_owned(), partitions: PARTITIONS, compacted: false };
    log.ensure_topics_now(&[spec]).unwrap();
    log
}

fn join(log: &MemLog, instance: &str) -> MemMember {
    let [group, topic, instance] = ["g", "in", instance].map(str::to_owned);
    log.join_now(&GroupSpec { group, topic, instance }).unwrap()
}

fn set<const N: usize>(partitions: [u32; N]) -> BTreeSet<u32> {
    BTreeSet::from(partitions)
}

/// The next change, which must be there.
fn told(member: &MemMember) -> Change {
    member.next_now().expect("a change").expect("a member")
}

fn position(offset: u64) -> Committed {
    Committed { offset, metadata: String::new() }
}

#[test]
fn partitions_move_to_a_new_member_only_once_they_are_released() {
    let log = log();
    let a = join(&log, "a");
    assert_eq!(told(&a), Change::Assigned((0..PARTITIONS).collect()));
    assert!(a.next_now().is_none());
    let b = join(&log, "b");
    assert!(b.next_now().is_none(), "all are in use");
    a.release(&set([5]));
    assert!(b.next_now().is_none(), "it was not asked for that one yet");
    assert_eq!(told(&a), Change::Revoked(set([3, 4, 5])));
    let (_, mut owned) = a.claim_now(4).unwrap();
    owned.commit_now([].into(), position(1)).unwrap();
    a.release(&set([0, 4]));
    assert_eq!(told(&b), Change::Assigned(set([4])));
    assert!(matches!(owned.commit_now([].into(), position(2)), Err(CommitError::Fenced)));
    assert!(matches!(a.claim_now(4), Err(Error::NotAssigned(_))));
    a.release(&set([3, 5]));
    assert_eq!(told(&b), Change::Assigned(set([3, 5])));
    assert_eq!(b.claim_now(4).unwrap().0, Some(position(1)));
    assert_eq!(log.commits_fenced_by_group(), 1);
}

#[test]
fn a_third_member_takes_its_share_of_both_and_gives_it_back_when_it_leaves() {
    let log = log();
    let (a, b) = (join(&log, "a"), join(&log, "b"));
    told(&a);
    assert_eq!(told(&a), Change::Revoked(set([3, 4, 5])));
    a.release(&set([3, 4, 5]));
    assert_eq!(told(&b), Change::Assigned(set([3, 4, 5])));
    let c = join(&log, "c");
    assert_eq!((told(&a), told(&b)), (Change::Revoked(set([2])), Change::Revoked(set([5]))));
    a.release(&set([2]));
    b.release(&set([5]));
    assert_eq!((told(&c), told(&c)), (Change::Assigned(set([2])), Change::Assigned(set([5]))));
    c.go_now(Departure::Leave);
    assert!(matches!(c.next_now(), Some(Err(Error::Closed))));
    assert_eq!((told(&a), told(&b)), (Change::Assigned(set([2])), Change::Assigned(set([5]))));
}

#[test]
fn an_expired_member_has_lost_everything_before_it_looks_and_joins_anew_after_that() {
    let log = log();
    let (a, b) = (join(&log, "a"), join(&log, "b"));
    told(&a);
    told(&a);
    let (_, mut zombie) = a.claim_now(0).unwrap();
    log.pause_member("g", "a", true);
    assert!(log.expire_member("g", "a"));
    assert_eq!(told(&b), Change::Assigned((0..PARTITIONS).collect()));
    assert_eq!(log.owner("g", 0).as_deref(), Some("b"));
    assert!(matches!(zombie.commit_now([].into(), position(1)), Err(CommitError::Fenced)));
    assert!(matches!(a.claim_now(0), Err(Error::NotAssigned(_))));
    assert!(a.next_now().is_none(), "paused");
    log.pause_member("g", "a", false);
    assert_eq!(told(&a), Change::Lost((0..PARTITIONS).collect()));
    assert!(a.next_now().is_none());
    assert_eq!(told(&b), Change::Revoked(set([3, 4, 5])));
    b.release(&set([3, 4, 5]));
    assert_eq!(told(&a), Change::Assigned(set([3, 4, 5])));
}

#[test]
fn a_member_that_comes_back_by_its_name_finds_its_partitions_and_its_older_self_is_refused() {
    let log = log();
    let (a, b) = (join(&log, "a"), join(&log, "b"));
    told(&a);
    told(&a);
    a.release(&set([3, 4, 5]));
    told(&b);
    let (_, mut before) = a.claim_now(0).unwrap();
    a.go_now(Departure::Restart);
    assert!(b.next_now().is_none(), "its session lasts");
    let again = join(&log, "a");
    assert_eq!(told(&again), Change::Assigned(set([0, 1, 2])));
    assert!(matches!(before.commit_now([].into(), position(1)), Err(CommitError::Fenced)));

    let newer = join(&log, "a");
    assert!(matches!(again.next_now(), Some(Err(Error::MemberRefused { .. }))));
    assert!(matches!(again.claim_now(0), Err(Error::NotAssigned(_))));
    // Its going, and its being dropped, are nobody's business any more.
    again.go_now(Departure::Leave);
    drop(again);
    assert_eq!(told(&newer), Change::Assigned(set([0, 1, 2])));

    drop(newer);
    assert!(b.next_now().is_none(), "dead, and its session lasts");
    assert!(log.expire_member("g", "a"));
    assert_eq!(told(&b), Change::Assigned(set([0, 1, 2])));
    assert!(!log.expire_member("g", "a"));
}

#[test]
fn what_is_committed_without_the_group_is_counted() {
    let log = log();
    let input = tickfold_log::TopicPartition::new("in", 0);
    let (_, mut foreign) = log.claim_now("g", &input).unwrap();
    foreign.commit_now([].into(), position(1)).unwrap();
    assert_eq!(log.commits_unasked(), 0);
    let a = join(&log, "a");
    foreign.commit_now([].into(), position(2)).unwrap();
    assert_eq!(log.commits_unasked(), 1);
    a.claim_now(0).unwrap();
    assert!(matches!(foreign.commit_now([].into(), position(3)), Err(CommitError::Fenced)));
}

#[tokio::test]
async fn a_member_waits_for_its_change_and_a_held_commit_for_its_end() {
    let log = log();
    let a = join(&log, "a");
    a.next().await.unwrap();
    let waiting = a.next();
    let (changed, b) = tokio::join!(waiting, async { join(&log, "b") });
    assert_eq!(changed.unwrap(), Change::Revoked(set([3, 4, 5])));
    let mut claim = a.claim(5).await.unwrap().partition;
    log.hold_commits(true);
    let commit = claim.commit([].into(), position(7));
    let released = async {
        tokio::task::yield_now().await;
        assert_eq!(log.positions_now("g", "in").unwrap()[5], None);
        log.hold_commits(false);
    };
    let (committed, ()) = tokio::join!(commit, released);
    committed.unwrap();
    assert_eq!(log.positions_now("g", "in").unwrap()[5], Some(position(7)));
    a.release(&set([3, 4, 5]));
    assert_eq!(b.next().await.unwrap(), Change::Assigned(set([3, 4, 5])));
    log.close_now();
    assert!(matches!(a.next().await, Err(Error::Closed)));
}
