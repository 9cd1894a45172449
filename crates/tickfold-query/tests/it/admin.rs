//! Tail and ListTopics on a log with tombstones, binary values and several partitions.

use std::time::Duration;

use bytes::Bytes;
use tickfold_log::mem::ReadFault;
use tickfold_log::{Append, Header, MemLog, TopicPartition, TopicSpec};
use tickfold_proto::admin::v1::tail_request::Start;
use tickfold_proto::admin::v1::{self as pb, TopicKind};
use tickfold_query::QueryOptions;
use tokio_stream::StreamExt;
use tonic::{Code, Streaming};

use crate::world::{T0, World, reason};

const TOPIC: &str = "wa.message.state.v1";

fn create(log: &MemLog) {
    let spec =
        |name: &str, compacted| TopicSpec { name: name.to_owned(), partitions: 2, compacted };
    let specs = [spec("wa.webhook.raw.v1", false), spec(TOPIC, true), spec("foreign", false)];
    log.ensure_topics_now(&specs).unwrap();
}

fn append(log: &MemLog, partition: u32, key: &str, value: Option<&[u8]>) {
    log.append_now(vec![Append {
        to: TopicPartition::new(TOPIC, partition),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(Bytes::copy_from_slice),
        headers: vec![Header { name: "h".into(), value: Bytes::from_static(&[0xff, 0]) }],
        timestamp_ms: Some(T0 * 1_000 + 5),
    }])
    .unwrap();
}

fn tail(start: Option<Start>, until_end: bool) -> pb::TailRequest {
    pb::TailRequest { topic: TOPIC.into(), start, until_end, ..Default::default() }
}

async fn keys(stream: Streaming<pb::TailResponse>) -> Vec<(u32, u64, String)> {
    let records: Vec<_> = stream.map(|item| item.unwrap().record.unwrap()).collect().await;
    let key = |r: pb::Record| {
        (r.partition, r.offset, String::from_utf8(r.key.unwrap().to_vec()).unwrap())
    };
    let mut keys: Vec<_> = records.into_iter().map(key).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn from_beginning_until_end_has_tombstones_and_bytes_as_they_are() {
    let (world, _writers) = World::open().await;
    create(&world.log);
    append(&world.log, 0, "a", Some(&[0, 159, 146, 150]));
    append(&world.log, 0, "b", None);
    append(&world.log, 0, "c", Some(b""));
    for n in 0..600 {
        append(&world.log, 1, &n.to_string(), Some(b"{}"));
    }
    let stream = world.admin().tail(tail(Some(Start::FromBeginning(())), true)).await.unwrap();
    let records: Vec<_> = stream.into_inner().map(|r| r.unwrap().record.unwrap()).collect().await;
    assert_eq!(records.len(), 603);
    let first: Vec<_> = records.iter().filter(|record| record.partition == 0).collect();
    let values: Vec<_> = first.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [Some(&[0, 159, 146, 150][..]), None, Some(&[][..])]);
    assert_eq!(first[0].headers[0].value.as_ref(), [0xff, 0]);
    assert_eq!(first[0].timestamp.unwrap().nanos, 5_000_000);
    let offsets: Vec<_> =
        records.iter().filter(|record| record.partition == 1).map(|record| record.offset).collect();
    assert_eq!(offsets, (0..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_end_is_where_it_was_when_the_call_began() {
    let (world, _writers) = World::open().await;
    create(&world.log);
    append(&world.log, 0, "before", Some(b"1"));
    let stream = world.admin().tail(tail(Some(Start::FromBeginning(())), true)).await.unwrap();
    append(&world.log, 0, "after", Some(b"2"));
    append(&world.log, 1, "after", Some(b"2"));
    assert_eq!(keys(stream.into_inner()).await, [(0, 0, "before".to_owned())]);
    // Nothing to read is an end at once.
    let stream = world.admin().tail(tail(None, true)).await.unwrap();
    assert!(keys(stream.into_inner()).await.is_empty());
}

#[tokio::test]
async fn from_the_end_it_follows_and_a_limit_ends_it() {
    let (world, _writers) = World::open().await;
    create(&world.log);
    append(&world.log, 0, "old", Some(b"1"));
    let request = pb::TailRequest { limit: 2, ..tail(None, false) };
    let stream = world.admin().tail(request).await.unwrap();
    append(&world.log, 1, "x", Some(b"2"));
    append(&world.log, 0, "y", None);
    append(&world.log, 0, "z", None);
    let seen = keys(stream.into_inner()).await;
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|(_, _, key)| key != "old"), "{seen:?}");
}

#[tokio::test]
async fn positions_and_partitions_choose_where_to_read() {
    let (world, _writers) = World::open().await;
    create(&world.log);
    for n in 0..4 {
        append(&world.log, 0, &format!("a{n}"), None);
        append(&world.log, 1, &format!("b{n}"), None);
    }
    let from = |partition, offset| {
        let positions = vec![pb::StartPosition { partition, offset }];
        Some(Start::FromPositions(pb::StartPositions { positions }))
    };
    let stream = world.admin().tail(tail(from(0, 3), true)).await.unwrap().into_inner();
    let seen = keys(stream).await;
    assert_eq!((seen.len(), &seen[0]), (5, &(0, 3, "a3".to_owned())));
    let request = pb::TailRequest { partitions: vec![1], ..tail(from(1, 2), true) };
    let stream = world.admin().tail(request).await.unwrap().into_inner();
    assert_eq!(keys(stream).await, [(1, 2, "b2".to_owned()), (1, 3, "b3".to_owned())]);
}

#[tokio::test]
async fn what_does_not_exist_is_refused() {
    let (world, _writers) = World::open().await;
    create(&world.log);
    let no_topic = pb::TailRequest { topic: "nowhere".into(), ..tail(None, true) };
    let no_partition = pb::TailRequest { partitions: vec![7], ..tail(None, true) };
    let empty = pb::TailRequest::default();
    for (request, code, word) in [
        (no_topic, Code::NotFound, "TOPIC_NOT_FOUND"),
        (no_partition, Code::NotFound, "PARTITION_NOT_FOUND"),
        (empty, Code::InvalidArgument, "INVALID_ARGUMENT"),
    ] {
        let error = world.admin().tail(request).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).0.as_str()), (code, word));
    }
    world.log.close_now();
    let error = world.admin().tail(tail(None, true)).await.unwrap_err();
    assert_eq!(reason(&error).0, "SHUTTING_DOWN");
}

#[tokio::test]
async fn a_tail_ends_with_an_error_at_shutdown_and_gives_its_slot_back_when_dropped() {
    let options = QueryOptions { tail_streams_max: 1, ..QueryOptions::default() };
    let (world, _writers) = World::open_with(options).await;
    create(&world.log);
    let first = world.admin().tail(tail(None, false)).await.unwrap();
    let refused = world.admin().tail(tail(None, false)).await.unwrap_err();
    assert_eq!(reason(&refused).0, "OVERLOADED");
    // The client goes away; the server learns of it and has room again.
    drop(first);
    let again = async {
        loop {
            match world.admin().tail(tail(None, false)).await {
                Ok(stream) => break stream.into_inner(),
                Err(error) => assert_eq!(reason(&error).0, "OVERLOADED"),
            }
        }
    };
    let mut stream = tokio::time::timeout(Duration::from_secs(5), again).await.unwrap();
    world.shutdown.cancel();
    let end = stream.next().await.unwrap().unwrap_err();
    assert_eq!(reason(&end).0, "SHUTTING_DOWN");
    world.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn topics_are_listed_with_kind_range_and_description() {
    let (world, _writers) = World::open().await;
    create(&world.log);
    append(&world.log, 1, "a", None);
    let reply = world.admin().list_topics(pb::ListTopicsRequest {}).await.unwrap().into_inner();
    let names: Vec<_> = reply.topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, [TOPIC, "wa.webhook.raw.v1"], "those under the prefix");
    assert_eq!(reply.topics[0].kind(), TopicKind::Table);
    let range = pb::TopicPartition { partition: 1, start_offset: 0, end_offset: 1 };
    assert_eq!(reply.topics[0].partitions[1], range);
    assert_eq!(reply.topics[1].kind(), TopicKind::Stream);
    assert!(reply.topics[1].description.starts_with("Webhooks exactly"));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_told_apart_from_one_that_is_damaged() {
    let (world, _writers) = World::open().await;
    create(&world.log);
    append(&world.log, 1, "a", None);
    for (fault, code, word) in [
        (ReadFault::Unavailable, Code::Unavailable, "LOG_UNAVAILABLE"),
        (ReadFault::Damaged, Code::DataLoss, "LOG_DAMAGED"),
    ] {
        world.log.fail_reads_with(Some(fault));
        let listed = world.admin().list_topics(pb::ListTopicsRequest {}).await.map(drop);
        let tailed = match world.admin().tail(tail(None, false)).await {
            Ok(stream) => stream.into_inner().next().await.unwrap().map(drop),
            Err(refused) => Err(refused),
        };
        for answered in [listed, tailed] {
            let error = answered.unwrap_err();
            assert_eq!((error.code(), reason(&error).0.as_str()), (code, word));
        }
        world.log.fail_reads_with(None);
        world.admin().list_topics(pb::ListTopicsRequest {}).await.unwrap();
    }
}
