//! Who reads a record is sent those behind it, up to a bound: counted on the wire, between the broker and
//! its client.

use std::time::Duration;

use bytes::Bytes;
use tickfold_log::{Append, Compression, KafkaLog, KafkaOptions, Log, TopicPartition};

use crate::{
    bench::{append, options, stream, unique},
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
