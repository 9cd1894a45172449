//! Who reads a record is sent those behind it, up to a bound: counted on the wire, between the broker and
//! its client. And what stands at the end and waits is not taken for the end where others append.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{producer::Producer, util::Timeout};
use tickfold_log::{
    Append, Change, Compression, GroupSpec, KafkaLog, KafkaOptions, Log, TopicPartition,
};

use crate::{
    bench::{Bench, append, options, stream, unique},
    broker,
    proxy::{self, Proxy},
};

const AHEAD: usize = 2 << 20;
/// What the broker adds to a queue that is not full yet: one answer, of as many bytes as librdkafka asks for.
const ANSWER: usize = 1 << 20;
const RECORDS: u64 = 96;
const RECORD: usize = 256 << 10;
/// In each record, so that the proxy knows its bytes.
const TEXT: &str = "read ahead of those who wait";
const OF_GROUPS: &str = "not for those who only share the partitions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_much_is_read_ahead_and_the_rest_when_it_is_asked_for() {
    let (_present, proxy) = (proxy::PRESENT.read().await, proxy::shared());
    let topic = unique("ahead");
    let at = TopicPartition::new(topic.as_str(), 0);
    let log = KafkaLog::connect(KafkaOptions {
        read_ahead_bytes: AHEAD,
        compression: Compression::None,
        ..options(&broker::own().proxy)
    });
    let log = log.unwrap();
    log.ensure_topics(&[stream(&topic, 1)]).await.unwrap();
    let value = Bytes::from(TEXT.repeat(RECORD / TEXT.len()));
    for _ in 0..RECORDS {
        let record = Append { value: Some(value.clone()), ..append(&at, "") };
        log.append(vec![record]).await.unwrap();
    }
    assert_eq!(proxy.carried(TEXT), 0, "appends are not answered with records");

    assert_eq!(log.read(&at, 0, 1, 1).await.unwrap().len(), 1);
    let standing = standing(proxy).await;
    println!("read one record of {RECORD} bytes: {standing} bytes came");
    assert!((AHEAD..=RECORD + AHEAD + ANSWER + RECORD).contains(&standing), "{standing}");

    let mut next = 1;
    while next < RECORDS {
        let read = log.read(&at, next, 10, usize::MAX).await.unwrap();
        assert!(read.iter().zip(next..).all(|(record, offset)| record.offset == offset));
        next += u64::try_from(read.len()).unwrap();
    }
    let carried = proxy.carried(TEXT);
    assert!(carried > usize::try_from(RECORDS).unwrap() * value.len(), "{carried}");
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_shares_the_partitions_is_sent_no_records() {
    const PARTITIONS: u32 = 4;
    let (_present, proxy) = (proxy::PRESENT.read().await, proxy::shared());
    let topic = unique("shared");
    let options = KafkaOptions { compression: Compression::None, ..options(&broker::own().proxy) };
    let log = KafkaLog::connect(options).unwrap();
    log.ensure_topics(&[stream(&topic, PARTITIONS)]).await.unwrap();
    let places: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new(topic.as_str(), p)).collect();
    let value = Bytes::from(OF_GROUPS.repeat(RECORD / OF_GROUPS.len()));
    let record = |at| Append { value: Some(value.clone()), ..append(at, "") };
    for _ in 0..4 {
        log.append(places.iter().map(record).collect()).await.unwrap();
    }
    assert_eq!(proxy.carried(OF_GROUPS), 0, "appends are not answered with records");
    // The control: the proxy knows those that are read.
    assert_eq!(log.read(&places[0], 3, 1, 1).await.unwrap().len(), 1);
    assert!(proxy.carried(OF_GROUPS) >= value.len());

    let spec = GroupSpec { group: topic.clone(), topic: topic.clone(), instance: "one".to_owned() };
    let member = Arc::clone(&log).join(spec).await.unwrap();
    let assigned = member.next().await.unwrap();
    assert!(matches!(&assigned, Change::Assigned(all) if all.len() == 4), "{assigned:?}");
    // What was under way when they were paused.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = proxy.carried(OF_GROUPS);
    log.append(places.iter().map(record).collect()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let came = proxy.carried(OF_GROUPS) - before;
    println!("{before} bytes came until partitions were paused, {came} since");
    assert_eq!(came, 0, "records are sent to a member that reads none");
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_appended_is_read_once_its_end_is_told() {
    let bench = Bench::new(broker::shared(), "others").await;
    let (at, reader) = (bench.at(0), KafkaLog::connect(options(&bench.brokers)).unwrap());
    let (mut next, mut late) = (0, 0);
    for round in 0..300 {
        bench.log.append(vec![append(&at, "of another process")]).await.unwrap();
        // The control: what stands at the end has not heard of it yet. A read that finds it leaves a cursor
        // that stands there, too.
        let unaware = reader.read(&at, next, 10, usize::MAX).await.unwrap();
        let end = reader.bounds(&at).await.unwrap().end;
        assert_eq!(end, round + 1);
        let read = if unaware.is_empty() {
            late += 1;
            reader.read(&at, next, 10, usize::MAX).await.unwrap()
        } else {
            unaware
        };
        assert_eq!(read.last().map(|record| record.offset + 1), Some(end), "round {round}");
        next = end;
    }
    println!("a standing cursor was late in {late} of 300 rounds");
    assert!(late > 30, "only {late} reads were ahead of the cursor");
    reader.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_at_the_end_that_was_told_is_no_record_to_wait_for() {
    let bench = Bench::new(broker::shared(), "told-marker").await;
    let at = bench.at(0);
    let producer = bench.foreign_owner("told-marker", 0);
    bench.begin(&producer, 0, &["a"]);
    producer.commit_transaction(Timeout::Never).unwrap();
    // The record, and its marker, which comes a moment after the answer.
    while bench.log.bounds(&at).await.unwrap().end < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.values(0).await, ["a"]);
    let mut reading = Duration::ZERO;
    for _ in 0..200 {
        assert_eq!(bench.log.bounds(&at).await.unwrap().end, 2);
        let begun = Instant::now();
        assert!(bench.log.read(&at, 1, 10, usize::MAX).await.unwrap().is_empty());
        reading += begun.elapsed();
    }
    println!("200 reads before a marker: {reading:?}");
    // Each that did not believe the cursor would have waited, and opened another.
    assert!(reading < Duration::from_secs(1), "a cursor that came to the end is believed");
}

/// The bytes that came, once nothing more comes for a second.
async fn standing(proxy: &Proxy) -> usize {
    let mut before = usize::MAX;
    loop {
        let carried = proxy.carried(TEXT);
        if carried == before {
            return carried;
        }
        before = carried;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
