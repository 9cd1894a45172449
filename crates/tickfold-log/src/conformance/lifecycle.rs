//! Promises about topics, waiting, closing and restarting.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: a broken promise panics"
)]

use std::sync::Arc;

use futures_util::FutureExt;

use super::{Bench, Fixture, expect_closed, header, open_with, position, stream};
use crate::{Append, Bounds, Error, TopicSpec};

/// Creating topics again changes nothing; `topics` lists all of them by name.
pub async fn topics_are_created_once(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let names = ["b", "a", "c"].map(|n| fixture.name(&format!("once-{n}")));
    let specs = [
        stream(&names[0], 1),
        TopicSpec { compacted: true, ..stream(&names[1], 3) },
        stream(&names[2], 2),
    ];
    let created = log.ensure_topics(&specs).await.expect("ensure_topics");
    for (spec, info) in specs.iter().zip(&created) {
        assert_eq!(info.spec, *spec, "in the order of the call");
        assert_eq!(info.bounds, vec![Bounds { start: 0, end: 0 }; spec.partitions as usize]);
    }
    let bench = Bench { log: Arc::clone(&log), topic: names[2].clone() };
    bench.append(vec![bench.value(1, "kept")]).await;
    let again = log.ensure_topics(&specs).await.expect("ensure_topics again");
    assert_eq!(again.iter().map(|t| &t.spec).collect::<Vec<_>>(), specs.iter().collect::<Vec<_>>());
    assert_eq!(bench.values(1).await, ["kept"]);
    assert_eq!(again[2].bounds[1], log.bounds(&bench.at(1)).await.expect("bounds"));

    let ours = |name: &String| names.contains(name);
    let listed = log.topics().await.expect("topics");
    let listed: Vec<_> = listed.into_iter().map(|t| t.spec.name).filter(ours).collect();
    assert_eq!(listed, [names[1].clone(), names[0].clone(), names[2].clone()]);
}

/// Fewer partitions, another kind or a bad name are a mismatch, and the call creates nothing;
/// more partitions are reported.
pub async fn topics_that_differ_are_refused(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "differ", 3).await;
    let fresh = fixture.name("differ-fresh");
    let bad = [
        stream(&bench.topic, 4),
        TopicSpec { compacted: true, ..stream(&bench.topic, 3) },
        stream("Upper", 1),
        stream("under_score", 1),
        stream("", 1),
        stream(&fixture.name("none"), 0),
    ];
    for spec in bad {
        let specs = [stream(&fresh, 1), spec.clone()];
        let refused = bench.log.ensure_topics(&specs).await;
        let named =
            matches!(&refused, Err(Error::TopicMismatch { topic, .. }) if *topic == spec.name);
        assert!(named, "{spec:?}: {refused:?}");
        let listed = bench.log.topics().await.expect("topics");
        assert!(listed.iter().all(|t| t.spec.name != fresh), "{spec:?} let others be created");
    }
    let fewer = bench.log.ensure_topics(&[stream(&bench.topic, 2)]).await.expect("fewer wanted");
    assert_eq!((fewer[0].spec.partitions, fewer[0].bounds.len()), (3, 3), "more are reported");
}

/// `wait_past` returns at once below the end, pends at it, and wakes on an append or commit.
pub async fn wait_past_wakes(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "wait", 2).await;
    let at = bench.at(0);
    let mut first = bench.log.wait_past(&at, 0);
    assert!((&mut first).now_or_never().is_none(), "an empty partition has no end above 0");
    let offset = bench.append(vec![bench.value(0, "a")]).await[0];
    first.await.expect("woken by an append");
    bench.log.wait_past(&at, offset).await.expect("at once below the end");

    let end = bench.log.bounds(&at).await.expect("bounds").end;
    let mut second = bench.log.wait_past(&at, end);
    assert!((&mut second).now_or_never().is_none(), "pends at the end");
    bench.append(vec![bench.value(1, "other partition")]).await;
    assert!((&mut second).now_or_never().is_none(), "another partition does not wake it");
    let mut owned = bench.log.claim("g", &at).await.expect("claim").partition;
    owned.commit([bench.value(0, "b")].into(), position(1, "")).await.expect("commit");
    second.await.expect("woken by a commit");
}

/// Closing ends waiting with `Closed`.
pub async fn wait_past_ends_with_the_log(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "wait-close", 1).await;
    let at = bench.at(0);
    let mut waiting = bench.log.wait_past(&at, 0);
    assert!((&mut waiting).now_or_never().is_none());
    bench.log.close().await.expect("close");
    expect_closed("a wait", waiting.await);
}

/// Closing answers what was accepted; after it every call is refused, and closing again is fine.
pub async fn a_closed_log_refuses_everything(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "closed", 1).await;
    let at = bench.at(0);
    let mut owned = bench.log.claim("g", &at).await.expect("claim").partition;
    let accepted = bench.log.append(vec![bench.value(0, "accepted")]);
    let (accepted, closed) = tokio::join!(accepted, bench.log.close());
    accepted.expect("accepted before the close");
    closed.expect("close");

    let log = &bench.log;
    expect_closed("append", log.append(vec![bench.value(0, "late")]).await);
    expect_closed("read", log.read(&at, 0, 1, 1).await);
    expect_closed("last_record", log.last_record(&at).await);
    expect_closed("bounds", log.bounds(&at).await);
    expect_closed("trim", log.trim(&at, 1).await);
    expect_closed("wait_past", log.wait_past(&at, 0).await);
    expect_closed("claim", log.claim("g", &at).await);
    expect_closed("topics", log.topics().await);
    expect_closed("ensure_topics", log.ensure_topics(&[stream(&bench.topic, 1)]).await);
    let commit = owned.commit([bench.value(0, "late")].into(), position(1, "")).await;
    assert!(commit.is_err(), "commit on a closed log: {commit:?}");
    log.close().await.expect("closing twice");
}

/// Topics, records with all their parts, positions and offsets survive a restart, and a claim
/// from before it is worth nothing.
pub async fn everything_survives_a_restart(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "restart", 2).await;
    let at = bench.at(0);
    let odd = Append {
        key: Some(bytes::Bytes::from_static(b"k")),
        value: None,
        headers: vec![header("h", "1"), header("h", "2")],
        ..bench.value(0, "")
    };
    bench.append(vec![bench.value(0, "a"), odd, bench.value(1, "b")]).await;
    let mut owned = bench.log.claim("g", &at).await.expect("claim").partition;
    owned.commit([bench.value(1, "c")].into(), position(2, "token")).await.expect("commit");
    let (records, others) = (bench.all(0).await, bench.all(1).await);
    // Others may work on the same log.
    let listed = async |bench: &Bench| {
        let mut topics = bench.log.topics().await.expect("topics");
        topics.retain(|topic| topic.spec.name == bench.topic);
        topics
    };
    let topics = listed(&bench).await;
    assert_eq!(topics.len(), 1);

    let topic = bench.topic.clone();
    let Some(log) = fixture.reopen(bench.log).await else { return };
    let bench = Bench { log, topic };
    assert_eq!(listed(&bench).await, topics);
    assert_eq!(bench.all(0).await, records);
    assert_eq!(bench.all(1).await, others);
    let stale = owned.commit([bench.value(1, "stale")].into(), position(3, "stale")).await;
    assert!(stale.is_err(), "a claim from before the restart: {stale:?}");
    let claim = bench.log.claim("g", &at).await.expect("claim");
    assert_eq!(claim.committed, Some(position(2, "token")));
    let offset = bench.append(vec![bench.value(0, "after")]).await[0];
    assert!(records.iter().all(|r| r.offset < offset), "offsets go on after a restart");
    assert_eq!(bench.all(1).await, others);
}
