//! Transactions as readers and owners meet them, with Kafka's own producer as the other party.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    error::RDKafkaErrorCode,
    producer::{BaseProducer, Producer},
    util::Timeout,
};
use tickfold_log::{
    Bounds, CommitError, Error, KafkaLog, KafkaOptions, Log, TopicPartition, kafka_fail_point,
};

use crate::{
    bench::{Bench, admin, all, append, options, position, unique, values},
    broker,
};

/// A claim ends what an earlier owner has open at once, long before its transaction would time out,
/// and that owner can commit nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_ends_the_open_transaction_of_the_older() {
    let bench = Bench::new(broker::shared(), "fence").await;
    let older = bench.foreign_owner("g", 0);
    bench.begin(&older, 1, &["never", "seen"]);
    assert_eq!(bench.log.bounds(&bench.at(1)).await.unwrap(), Bounds { start: 0, end: 0 });

    let begun = Instant::now();
    let mut claim = bench.log.claim("g", &bench.at(0)).await.unwrap();
    println!("claim over an open transaction: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(15), "waited for the transaction's timeout");
    assert_eq!(claim.committed, None);
    assert_eq!(bench.log.bounds(&bench.at(1)).await.unwrap().end, 3, "two records and a marker");
    assert_eq!(bench.values(1).await, [""; 0]);

    let fenced = older.commit_transaction(Timeout::Never).unwrap_err();
    assert_eq!(fenced.rdkafka_error_code(), Some(RDKafkaErrorCode::Fenced), "{fenced}");
    let commit = claim.partition.commit([append(&bench.at(1), "newer")].into(), position(1, "t"));
    commit.await.expect("the claim holds");
    assert_eq!(bench.values(1).await, ["newer"]);
}

/// Whichever step of a commit meets the newer owner first, the older learns that it was fenced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_learns_that_it_was_fenced() {
    let bench = Bench::new(broker::shared(), "fenced").await;
    for (n, outputs) in [vec![append(&bench.at(1), "late")], vec![]].into_iter().enumerate() {
        let (mine, before) = (format!("mine{n}"), position(n as u64, "before"));
        let mut owned = bench.log.claim("g", &bench.at(0)).await.unwrap().partition;
        owned.commit([append(&bench.at(1), &mine)].into(), before.clone()).await.unwrap();
        let _newer = bench.foreign_owner("g", 0);
        for round in 0..2 {
            let fenced = owned.commit(outputs.clone().into(), position(9, "late")).await;
            assert!(matches!(fenced, Err(CommitError::Fenced)), "{n}, {round}: {fenced:?}");
        }
        assert_eq!(bench.values(1).await.last(), Some(&mine));
        let committed = bench.log.claim("g", &bench.at(0)).await.unwrap().committed;
        assert_eq!(committed, Some(before));
    }
}

/// What the brokers refuse takes no effect, and the claim still holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_output_aborts_the_commit() {
    let bench = Bench::new(broker::shared(), "refused").await;
    let small = unique("small");
    let topic =
        NewTopic::new(&small, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "999");
    let created = admin().create_topics([&topic], &AdminOptions::new()).await.unwrap();
    created[0].as_ref().unwrap();
    let small = TopicPartition::new(small, 0);
    // Not to be compressed below the limit.
    let large: String = (0..2_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect();

    let mut owned = bench.log.claim("g", &bench.at(0)).await.unwrap().partition;
    for _ in 0..2 {
        let outputs = [append(&bench.at(1), "with it"), append(&small, &large)];
        let aborted = owned.commit(outputs.into(), position(1, "never")).await;
        assert!(matches!(aborted, Err(CommitError::Aborted { .. })), "{aborted:?}");
    }
    // The refused ones left a gap in librdkafka's sequence, which costs one more abort.
    let mut aborts = 0;
    while let Err(error) = owned.commit([append(&small, "fits")].into(), position(2, "t")).await {
        assert!(matches!(error, CommitError::Aborted { .. }), "the claim holds: {error}");
        aborts += 1;
        assert!(aborts < 3, "sent again and again: {error}");
    }
    assert_eq!(bench.values(1).await, [""; 0]);
    assert_eq!(values(&all(&*bench.log, &small).await), ["fits"]);
    let committed = bench.log.claim("g", &bench.at(0)).await.unwrap().committed;
    assert_eq!(committed, Some(position(2, "t")));
    let refused = bench.log.append(vec![append(&small, &large)]).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}

/// Aborted records are never read, wherever they lie, and reading goes on behind them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_records_are_never_read() {
    let bench = Bench::new(broker::shared(), "aborted").await;
    let (log, at) = (&bench.log, bench.at(0));
    let other = bench.foreign_owner("other", 1);
    let abort = |producer: &BaseProducer, values: &[&str]| {
        bench.begin(producer, 0, values);
        producer.abort_transaction(Timeout::Never).unwrap();
    };
    abort(&other, &["x"; 3]);
    let mut owned = log.claim("g", &at).await.unwrap().partition;
    owned.commit([append(&at, "a"), append(&at, "b")].into(), position(1, "")).await.unwrap();
    abort(&other, &["x"; 40]);
    log.append(vec![append(&at, "c")]).await.unwrap();
    abort(&other, &["x"; 200]);

    let all = bench.all(0).await;
    assert_eq!(values(&all), ["a", "b", "c"]);
    let [first, _, third] = [0, 1, 2].map(|n| all[n].offset);
    assert!(first >= 3 && third >= first + 42, "aborted records keep their offsets");
    let last = log.last_record(&at).await.unwrap();
    assert_eq!(last.as_ref(), all.last(), "though aborted records and markers follow it");
    let end = log.bounds(&at).await.unwrap().end;
    for from in [0, first, first + 1, first + 2, third - 1, third, third + 1, end, end + 99] {
        let wanted: Vec<_> = all.iter().filter(|r| r.offset >= from).cloned().collect();
        assert_eq!(log.read(&at, from, 9, usize::MAX).await.unwrap(), wanted, "from {from}");
    }
}

/// An open transaction holds back what follows it, until it ends, and then wakes who waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_past_an_open_transaction() {
    let bench = Bench::new(broker::shared(), "open").await;
    let (log, at) = (&bench.log, bench.at(0));
    log.append(vec![append(&at, "before")]).await.unwrap();
    let other = bench.foreign_owner("other", 1);
    bench.begin(&other, 0, &["open"]);
    assert_eq!(bench.values(0).await, ["before"]);
    assert_eq!(log.bounds(&at).await.unwrap().end, 1);
    let mut waiting = log.wait_past(&at, 1);
    assert!((&mut waiting).now_or_never().is_none());
    other.commit_transaction(Timeout::Never).unwrap();
    waiting.await.unwrap();
    assert_eq!(bench.values(0).await, ["before", "open"]);
}

/// After a commit the end lies behind a marker: there is nothing to wait for but a record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_wakes_nobody() {
    let bench = Bench::new(broker::shared(), "marker").await;
    let (log, at) = (&bench.log, bench.at(0));
    let mut owned = log.claim("g", &at).await.unwrap().partition;
    owned.commit([append(&at, "a")].into(), position(1, "")).await.unwrap();
    assert_eq!(log.bounds(&at).await.unwrap().end, 2);
    let next = bench.all(0).await[0].offset + 1;
    let other = bench.foreign_owner("other", 1);
    let mut waiting = log.wait_past(&at, next);
    for _ in 0..3 {
        bench.begin(&other, 0, &["x"]);
        other.abort_transaction(Timeout::Never).unwrap();
        assert_eq!(log.read(&at, next, 1, 1).await.unwrap(), []);
        assert!((&mut waiting).now_or_never().is_none(), "woken by a marker");
    }
    let offset = log.append(vec![append(&at, "b")]).await.unwrap()[0];
    waiting.await.unwrap();
    assert_eq!(log.read(&at, next, 1, 1).await.unwrap()[0].offset, offset);
}

/// librdkafka may never come back from adding a position. That leaves a commit in doubt, and neither
/// the partition nor the way out waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_client_does_not_come_back_from_is_in_doubt() {
    const LIMIT: Duration = Duration::from_secs(3);
    const HELD: Duration = Duration::from_secs(12);
    static HOLDS: AtomicBool = AtomicBool::new(false);
    fn hold(place: &'static str) {
        if place == kafka_fail_point::ADDING_POSITION && HOLDS.swap(false, Ordering::SeqCst) {
            std::thread::sleep(HELD);
        }
    }
    let bench = Bench::new(broker::shared(), "held").await;
    let with = KafkaOptions { call_timeout: LIMIT, fail_point: hold, ..options(&bench.brokers) };
    let log = KafkaLog::connect(with).unwrap();
    let (at, commit) = (bench.at(0), |value| [append(&bench.at(1), value)].into());
    let mut older = log.claim("g", &at).await.unwrap().partition;
    older.commit(commit("a"), position(1, "a")).await.expect("nothing is held");

    HOLDS.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let unclear = older.commit(commit("never"), position(2, "never")).await;
    let took = begun.elapsed();
    assert!(matches!(unclear, Err(CommitError::Unclear { .. })), "{unclear:?}");
    assert!(took >= LIMIT && took < HELD, "{took:?}");
    let again = older.commit([].into(), position(2, "never")).await;
    assert!(matches!(again, Err(CommitError::Unclear { .. })), "{again:?}");

    let mut claim = log.claim("g", &at).await.unwrap();
    assert_eq!(claim.committed, Some(position(1, "a")));
    claim.partition.commit(commit("b"), position(2, "b")).await.unwrap();
    assert!(begun.elapsed() < HELD, "it is held all the while");
    HOLDS.store(true, Ordering::SeqCst);
    let last = claim.partition.commit(commit("never"), position(3, "never")).await;
    assert!(matches!(last, Err(CommitError::Unclear { .. })), "{last:?}");
    let closing = Instant::now();
    log.close().await.unwrap();
    assert!(closing.elapsed() < HELD - LIMIT, "closed after {:?}", closing.elapsed());

    // The first goes on when the position is another's: it is refused.
    tokio::time::sleep(HELD.saturating_sub(begun.elapsed()) + Duration::from_secs(1)).await;
    assert_eq!(bench.log.claim("g", &at).await.unwrap().committed, Some(position(2, "b")));
    assert_eq!(bench.values(1).await, ["a", "b"]);
}
