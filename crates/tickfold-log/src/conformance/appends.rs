//! Promises about appends and reads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: a broken promise panics"
)]

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Fixture, header, open_with};
use crate::{Append, Bounds, Error, RECORD_BYTES_MAX, Record, TopicPartition};

/// Offsets come back in the order of the call, and one call's records keep their order.
pub async fn offsets_follow_the_order_of_the_call(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "order", 2).await;
    let mixed = [(0, "a"), (1, "x"), (0, "b"), (1, "y"), (0, "c")];
    let offsets = bench.append(mixed.map(|(p, v)| bench.value(p, v)).into()).await;
    assert_eq!(offsets.len(), mixed.len());
    for ((partition, value), offset) in mixed.iter().zip(offsets) {
        let at = bench.at(*partition);
        let read = bench.log.read(&at, offset, 1, usize::MAX).await.expect("read");
        assert_eq!(read[0].offset, offset);
        assert_eq!(read[0].value.as_deref(), Some(value.as_bytes()));
    }
    bench.append(vec![bench.value(0, "d")]).await;
    assert_eq!(bench.values(0).await, ["a", "b", "c", "d"]);
    assert_eq!(bench.values(1).await, ["x", "y"]);
}

/// What is appended to one partition shows in no other.
pub async fn partitions_are_independent(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "independent", 3).await;
    bench.append(vec![bench.value(1, "only")]).await;
    assert_eq!(bench.values(0).await, [""; 0]);
    assert_eq!(bench.values(1).await, ["only"]);
    assert_eq!(bench.values(2).await, [""; 0]);
}

/// A given timestamp is kept, also an odd one; an absent one is set from the log's clock.
pub async fn timestamps_are_kept_or_set(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "timestamps", 2).await;
    let given = [1_700_000_000_123, 0, 5];
    let appends = given.map(|t| Append { timestamp_ms: Some(t), ..bench.value(0, "given") });
    bench.append(appends.into()).await;
    let kept: Vec<_> = bench.all(0).await.iter().map(|r| r.timestamp_ms).collect();
    assert_eq!(kept, given.map(|t| t.max(fixture.least_timestamp_ms())));

    let before = fixture.now_ms();
    bench.append(vec![Append { timestamp_ms: None, ..bench.value(1, "set") }]).await;
    let after = fixture.now_ms();
    let set = bench.all(1).await[0].timestamp_ms;
    assert!((before..=after).contains(&set), "{set} is not between {before} and {after}");
}

/// Absent key and value differ from empty ones.
pub async fn absent_and_empty_differ(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "absent", 1).await;
    let parts = [None, Some(Bytes::new()), Some(Bytes::from_static(b"\0\xff"))];
    let mut wanted = Vec::new();
    for key in &parts {
        for value in &parts {
            wanted.push((key.clone(), value.clone()));
        }
    }
    let append = |(key, value)| Append { key, value, ..bench.value(0, "") };
    bench.append(wanted.iter().cloned().map(append).collect()).await;
    let found: Vec<_> = bench.all(0).await.into_iter().map(|r| (r.key, r.value)).collect();
    assert_eq!(found, wanted);
}

/// Headers keep their order, their repeats and their bytes.
pub async fn headers_keep_order_and_repeat(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "headers", 1).await;
    let mut headers = vec![header("b", "1"), header("a", "2"), header("b", "3"), header("c", "")];
    headers[3].value = Bytes::from_static(b"\xff\0");
    headers.push(header("empty", ""));
    bench.append(vec![Append { headers: headers.clone(), ..bench.value(0, "v") }]).await;
    let read = bench.all(0).await;
    assert_eq!(read[0].headers, headers);
    assert_eq!(read[0].header("b").map(|v| &v[..]), Some(&b"1"[..]), "header() gives the first");
}

/// Both limits hold, but where there is a record one is given.
pub async fn reads_are_limited_but_give_one(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "limits", 1).await;
    let ten: Vec<_> = (0..10).map(|_| bench.value(0, "0123456789")).collect();
    let at = bench.at(0);
    let offsets = bench.append(ten).await;
    let read = async |records, bytes| {
        let read = bench.log.read(&at, offsets[2], records, bytes).await.expect("read");
        read.iter().map(|r| r.offset).collect::<Vec<_>>()
    };
    assert_eq!(read(3, usize::MAX).await, offsets[2..5]);
    assert_eq!(read(usize::MAX, 35).await, offsets[2..5], "three of 10 bytes fit into 35");
    assert_eq!(read(usize::MAX, 30).await, offsets[2..5], "three of 10 bytes fit into 30");
    assert_eq!(read(usize::MAX, 1).await, offsets[2..3], "always one");
    assert_eq!(read(usize::MAX, 0).await, offsets[2..3], "always one");
    assert_eq!(read(usize::MAX, usize::MAX).await, offsets[2..]);
    assert_eq!(read(0, usize::MAX).await, [0; 0]);
}

/// Reading at or past the end returns at once and empty.
pub async fn reads_at_and_past_the_end_are_empty(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "end", 1).await;
    let at = bench.at(0);
    for offset in [0, 1, 1_000] {
        assert_eq!(bench.log.read(&at, offset, 10, 10).await.expect("read"), [] as [Record; 0]);
    }
    bench.append(vec![bench.value(0, "a")]).await;
    let end = bench.log.bounds(&at).await.expect("bounds").end;
    for offset in [end, end + 1, u64::MAX] {
        assert_eq!(bench.log.read(&at, offset, 10, 10).await.expect("read"), [] as [Record; 0]);
    }
}

/// What an append returned is in the bounds and readable, without waiting.
pub async fn appended_is_readable_at_once(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "readable", 1).await;
    for round in 0..20 {
        let offset = bench.append(vec![bench.value(0, &round.to_string())]).await[0];
        let at = bench.at(0);
        let read = bench.log.read(&at, offset, 1, usize::MAX).await.expect("read");
        assert_eq!(read.len(), 1, "round {round}");
        assert!(bench.log.bounds(&at).await.expect("bounds").end > offset);
    }
}

/// A reader beside appenders sees a growing prefix: nothing beyond the bounds, nothing missing,
/// nothing changed later.
pub async fn readers_see_a_prefix(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "prefix", 1).await;
    let writes = async {
        for n in 0..60 {
            bench.append(vec![bench.value(0, &n.to_string()), bench.value(0, "more")]).await;
        }
    };
    let reads = async {
        let mut seen: Vec<Record> = Vec::new();
        while seen.len() < 120 {
            let end = bench.log.bounds(&bench.at(0)).await.expect("bounds").end;
            let read = bench.log.read(&bench.at(0), 0, usize::MAX, usize::MAX).await.expect("read");
            assert!(read.starts_with(&seen), "an earlier read is no prefix of a later one");
            let below_end = read.iter().filter(|r| r.offset < end).count();
            assert!(below_end >= seen.len());
            seen = read;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writes, reads);
}

/// Bounds and the last record follow the appends, per partition.
pub async fn bounds_and_last_record_follow(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "bounds", 2).await;
    let (at, other) = (bench.at(0), bench.at(1));
    let empty = bench.log.bounds(&other).await.expect("bounds");
    assert_eq!(empty, Bounds { start: 0, end: 0 });
    assert_eq!(bench.log.last_record(&at).await.expect("last_record"), None);
    for value in ["a", "b", "c"] {
        let offset = bench.append(vec![bench.value(0, value)]).await[0];
        let bounds = bench.log.bounds(&at).await.expect("bounds");
        assert_eq!(bounds.start, 0);
        assert!(bounds.end > offset);
        let last = bench.log.last_record(&at).await.expect("last_record").expect("a record");
        assert_eq!((last.offset, last.value.as_deref()), (offset, Some(value.as_bytes())));
    }
    assert_eq!(bench.log.bounds(&other).await.expect("bounds"), empty);
    assert_eq!(bench.log.last_record(&other).await.expect("last_record"), None);
}

/// Concurrent appends all arrive, each call's records in order, no offset given twice.
pub async fn concurrent_appends_all_arrive(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "concurrent", 2).await;
    let calls = (0..50_u32).map(|call| {
        let values = (0..4).map(|n| bench.value(call % 2, &format!("{call:02}-{n}"))).collect();
        let log = Arc::clone(&bench.log);
        async move { log.append(values).await.expect("append") }
    });
    let offsets = join_all(calls).await;
    for partition in 0..2 {
        let records = bench.all(partition).await;
        assert_eq!(records.len(), 100);
        for (call, offsets) in
            offsets.iter().enumerate().filter(|(c, _)| c % 2 == partition as usize)
        {
            assert!(offsets.is_sorted_by(|a, b| a < b), "call {call}: {offsets:?}");
            for (n, offset) in offsets.iter().enumerate() {
                let record = records.iter().find(|r| r.offset == *offset).expect("appended");
                assert_eq!(record.value.as_deref(), Some(format!("{call:02}-{n}").as_bytes()));
            }
        }
    }
}

/// A record at the limit is taken; one above it is refused with everything in its call.
pub async fn too_large_is_refused_whole(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "large", 1).await;
    let sized = |len: usize| {
        let (key, headers) = (Some(Bytes::from_static(b"key")), vec![header("name", "value")]);
        let value = Some(Bytes::from(vec![b'x'; len - 3 - 9]));
        Append { key, value, headers, ..bench.value(0, "") }
    };
    let largest = sized(RECORD_BYTES_MAX);
    assert_eq!(largest.size_bytes(), RECORD_BYTES_MAX);
    bench.append(vec![largest.clone()]).await;
    assert_eq!(bench.all(0).await[0].value, largest.value);

    let refused = bench.log.append(vec![bench.value(0, "ok"), sized(RECORD_BYTES_MAX + 1)]).await;
    let Err(Error::TooLarge { to, size_bytes, limit_bytes }) = refused else {
        panic!("above the limit: {refused:?}");
    };
    assert_eq!(
        (to, size_bytes, limit_bytes),
        (bench.at(0), RECORD_BYTES_MAX + 1, RECORD_BYTES_MAX)
    );
    assert_eq!(bench.all(0).await.len(), 1, "the call was refused whole");
}

/// Each method names the partition that does not exist; an append with one is refused whole.
pub async fn unknown_partitions_are_refused(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "known", 1).await;
    for unknown in [bench.at(1), TopicPartition::new(fixture.name("unknown"), 0)] {
        let log = &bench.log;
        let append =
            vec![bench.value(0, "ok"), Append { to: unknown.clone(), ..bench.value(0, "not ok") }];
        let errors = [
            log.append(append).await.err(),
            log.read(&unknown, 0, 1, 1).await.err(),
            log.last_record(&unknown).await.err(),
            log.bounds(&unknown).await.err(),
            log.trim(&unknown, 1).await.err(),
            log.wait_past(&unknown, 0).await.err(),
            log.claim("group", &unknown).await.err(),
        ];
        for (n, error) in errors.into_iter().enumerate() {
            let named = matches!(&error, Some(Error::UnknownPartition(of)) if *of == unknown);
            assert!(named, "call {n} on {unknown}: {error:?}");
        }
    }
    assert_eq!(bench.values(0).await, [""; 0]);
}

/// Appending nothing succeeds and changes nothing.
pub async fn an_empty_append_is_nothing(fixture: &dyn Fixture) {
    let bench = open_with(fixture, "nothing", 1).await;
    assert_eq!(bench.append(vec![]).await, [0; 0]);
    assert_eq!(bench.values(0).await, [""; 0]);
}
