//! Promises about claims, commits and group positions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: a broken promise panics"
)]

use bytes::Bytes;

use super::{Bench, Fixture, open_with, position};
use crate::{Append, Claim, CommitError, Committed, RECORD_BYTES_MAX, TopicPartition};

async fn claim(bench: &Bench, group: &str, input: &TopicPartition) -> Claim {
    bench.log.claim(group, input).await.expect("claim")
}

/// A commit's outputs appear in order in all their partitions, and the next claim finds the
/// position.
pub async fn outputs_and_position_move_together(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "together", 3).await;
    let input = bench.at(0);
    let mut first = claim(&bench, "g", &input).await;
    assert_eq!(first.committed, None, "a group that never committed");
    let outputs = [(1, "a"), (2, "x"), (1, "b"), (2, "y")];
    let outputs = outputs.map(|(p, v)| bench.value(p, v));
    first.partition.commit(outputs.into(), position(7, "token")).await.expect("commit");
    assert_eq!(bench.values(1).await, ["a", "b"]);
    assert_eq!(bench.values(2).await, ["x", "y"]);
    first.partition.commit([bench.value(1, "c")].into(), position(9, "t2")).await.expect("commit");
    assert_eq!(bench.values(1).await, ["a", "b", "c"]);
    assert_eq!(claim(&bench, "g", &input).await.committed, Some(position(9, "t2")));
}

/// A commit may have no outputs, and the position may stay or go back: the log does not judge it.
pub async fn a_commit_without_outputs_moves_the_position(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "empty-commit", 1).await;
    let input = bench.at(0);
    for offset in [3, 3, 1, 0] {
        let mut owned = claim(&bench, "g", &input).await.partition;
        owned.commit([].into(), position(offset, "")).await.expect("commit");
        assert_eq!(claim(&bench, "g", &input).await.committed, Some(position(offset, "")));
    }
    assert_eq!(bench.values(0).await, [""; 0]);
}

/// After a claim, the older handle commits nothing, and learns it.
pub async fn a_claim_fences_the_older(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "fences", 2).await;
    let input = bench.at(0);
    let mut older = claim(&bench, "g", &input).await.partition;
    older.commit([bench.value(1, "older")].into(), position(1, "older")).await.expect("commit");
    let mut newer = claim(&bench, "g", &input).await;
    assert_eq!(newer.committed, Some(position(1, "older")));

    for round in 0..2 {
        let fenced = older.commit([bench.value(1, "late")].into(), position(2, "late")).await;
        assert!(matches!(fenced, Err(CommitError::Fenced)), "round {round}: {fenced:?}");
    }
    assert_eq!(bench.values(1).await, ["older"]);
    let commit = newer.partition.commit([bench.value(1, "newer")].into(), position(2, "newer"));
    commit.await.expect("the newer claim holds");
    let fenced = older.commit([].into(), position(3, "late")).await;
    assert!(matches!(fenced, Err(CommitError::Fenced)), "after a newer commit: {fenced:?}");
    assert_eq!(bench.values(1).await, ["older", "newer"]);
    assert_eq!(claim(&bench, "g", &input).await.committed, Some(position(2, "newer")));
}

/// Claims of other groups, partitions and topics do not touch each other.
pub async fn claims_of_others_are_independent(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "others", 3).await;
    let other_topic = fixture.name("others-too");
    bench.log.ensure_topics(&[super::stream(&other_topic, 1)]).await.expect("ensure_topics");
    let places = [
        ("g", bench.at(0)),
        ("h", bench.at(0)),
        ("g", bench.at(1)),
        ("g", TopicPartition::new(other_topic, 0)),
    ];
    let mut owned = Vec::new();
    for (group, input) in &places {
        owned.push(claim(&bench, group, input).await.partition);
    }
    for (n, owned) in owned.iter_mut().enumerate() {
        let output = bench.value(2, &n.to_string());
        owned
            .commit([output].into(), position(n as u64 + 1, &format!("m{n}")))
            .await
            .expect("commit");
    }
    for (n, (group, input)) in places.iter().enumerate() {
        let committed = claim(&bench, group, input).await.committed;
        assert_eq!(committed, Some(position(n as u64 + 1, &format!("m{n}"))));
    }
    assert_eq!(bench.values(2).await, ["0", "1", "2", "3"]);
}

/// Offset and metadata come back as committed, up to the limits.
pub async fn metadata_comes_back(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "metadata", 1).await;
    let input = bench.at(0);
    let longest = "~".repeat(Committed::METADATA_BYTES_MAX);
    for (offset, metadata) in [(0, ""), (1, "a b;c=\"d\"\t"), (u64::MAX >> 1, longest.as_str())] {
        let mut owned = claim(&bench, "g", &input).await.partition;
        owned.commit([].into(), position(offset, metadata)).await.expect("commit");
        assert_eq!(claim(&bench, "g", &input).await.committed, Some(position(offset, metadata)));
    }
}

/// A commit that can never be accepted is aborted whole, and the claim still holds.
pub async fn bad_commits_are_aborted_and_may_be_corrected(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "bad-commits", 1).await;
    let input = bench.at(0);
    let mut owned = claim(&bench, "g", &input).await.partition;
    let unknown = Append { to: bench.at(1), ..bench.value(0, "nowhere") };
    let large = Bytes::from(vec![b'x'; RECORD_BYTES_MAX + 1]);
    let large = Append { value: Some(large), ..bench.value(0, "") };
    let long = "x".repeat(Committed::METADATA_BYTES_MAX + 1);
    let cases = [
        ("unknown partition", vec![bench.value(0, "ok"), unknown], position(1, "m")),
        ("too large", vec![bench.value(0, "ok"), large], position(1, "m")),
        ("metadata too long", vec![bench.value(0, "ok")], position(1, &long)),
        ("metadata not ASCII", vec![bench.value(0, "ok")], position(1, "ü")),
    ];
    for (case, outputs, to) in cases {
        let aborted = owned.commit(outputs.into(), to).await;
        assert!(matches!(aborted, Err(CommitError::Aborted { .. })), "{case}: {aborted:?}");
    }
    assert_eq!(bench.values(0).await, [""; 0]);
    owned.commit([bench.value(0, "good")].into(), position(1, "m")).await.expect("the claim holds");
    assert_eq!(bench.values(0).await, ["good"]);
}

/// Appends and commits to one partition both arrive, in their own order.
pub async fn commits_and_appends_share_a_partition(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "shared", 1).await;
    let input = bench.at(0);
    let mut owned = claim(&bench, "g", &input).await.partition;
    let commits = async {
        for n in 0..20_u64 {
            let output = bench.value(0, &format!("c{n:02}"));
            owned.commit([output].into(), position(n, "")).await.expect("commit");
        }
    };
    let appends = async {
        for n in 0..20 {
            bench.append(vec![bench.value(0, &format!("a{n:02}"))]).await;
        }
    };
    tokio::join!(commits, appends);
    let values = bench.values(0).await;
    assert_eq!(values.len(), 40);
    for kind in ["a", "c"] {
        let own: Vec<_> = values.iter().filter(|v| v.starts_with(kind)).collect();
        assert_eq!(own.len(), 20);
        assert!(own.is_sorted(), "{own:?}");
    }
}
