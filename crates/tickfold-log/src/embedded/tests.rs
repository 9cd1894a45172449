//! The bytes on disk: they must not change, and a mark must survive a torn write.

use std::{fs, os::unix::fs::FileExt};

use bytes::Bytes;
use proptest::prelude::*;
use rocksdb::{DB, WriteBatch};
use tempfile::TempDir;

use super::{
    EmbeddedLog, EmbeddedOptions,
    layout::{self, Unreadable},
    mark::{self, Mark, MarkError, MarkFile, MarkedTopic},
    options::Memory,
};
use crate::{Append, Committed, Error, Header, Log as _, Record, TopicPartition, TopicSpec};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sample() -> Append {
    Append {
        to: TopicPartition::new("t", 2),
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from_static(b"vv")),
        headers: vec![Header { name: "h".into(), value: Bytes::from_static(b"x") }],
        timestamp_ms: None,
    }
}

#[test]
fn keys_sort_by_offset_and_do_not_change() {
    assert_eq!(hex(&layout::FORMAT_KEY), "01");
    assert_eq!(hex(&layout::topic_key(1)), "020001");
    assert_eq!(hex(&layout::group_key(1, 2, "g")), "0300010000000267");
    assert_eq!(hex(&layout::start_key(1, 2)), "04000100000002");
    assert_eq!(hex(&layout::record_key(1, 2, 258)), "100001000000020000000000000102");
    assert!(layout::record_key(1, 2, 255) < layout::record_key(1, 2, 256));
    assert!(layout::record_key(1, 2, u64::MAX) < layout::record_key(1, 3, 0));
    assert_eq!(layout::parse_record_key(&layout::record_key(1, 2, 7), 1, 2), Some(7));
    assert_eq!(layout::parse_record_key(&layout::record_key(1, 3, 7), 1, 2), None);
}

#[test]
fn values_do_not_change() {
    let key = layout::record_key(1, 2, 3);
    let value = layout::encode_record(&key, &sample(), 5);
    let text = hex(&value);
    let (crc, content) = text.split_at(8);
    assert_eq!(content, "01070000000000000005000000016b0000000276760000000100000001680000000178");
    assert_eq!(crc, format!("{:08x}", crc32c::crc32c(&[&key[..], &value[4..]].concat())));
    let (record, set_by_log) = layout::decode_record(&key, 3, &value).unwrap();
    assert!(set_by_log);
    assert_eq!((record.offset, record.timestamp_ms), (3, 5));
    assert_eq!((record.key, record.value, record.headers), {
        let Append { key, value, headers, .. } = sample();
        (key, value, headers)
    });

    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, compacted: true };
    let key = layout::topic_key(1);
    let value = layout::encode_topic(&key, &spec);
    assert_eq!(hex(&value[4..]), "01000000020174");
    assert_eq!(layout::decode_topic(&key, &value).unwrap(), spec);

    let key = layout::start_key(1, 2);
    let value = layout::encode_start(&key, 258);
    assert_eq!(hex(&value[4..]), "010000000000000102");
    assert_eq!(layout::decode_start(&key, &value).unwrap(), 258);

    let committed = Committed { offset: 9, metadata: "m".to_owned() };
    let key = layout::group_key(1, 2, "g");
    let value = layout::encode_committed(&key, &committed);
    assert_eq!(hex(&value[4..]), "0100000000000000096d");
    assert_eq!(layout::decode_committed(&key, &value).unwrap(), committed);
}

#[test]
fn every_flipped_bit_and_every_other_key_is_noticed() {
    let key = layout::record_key(1, 2, 3);
    let value = layout::encode_record(&key, &sample(), 5);
    for bit in 0..value.len() * 8 {
        let mut flipped = value.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(layout::decode_record(&key, 3, &flipped).is_err(), "bit {bit}");
    }
    for len in 0..value.len() {
        assert!(layout::decode_record(&key, 3, &value[..len]).is_err(), "cut at {len}");
    }
    let other = layout::decode_record(&layout::record_key(1, 2, 4), 4, &value);
    assert_eq!(other, Err(Unreadable("checksum of the value does not match")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// A sum is no signature: what it is right for may still be anything.
    #[test]
    fn any_content_behind_a_right_sum_is_read_or_refused(
        content in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..60)
    ) {
        let key = layout::record_key(1, 2, 3);
        let value = layout::seal(&key, |out| out.extend_from_slice(&content));
        if let Ok((record, _)) = layout::decode_record(&key, 3, &value) {
            let Record { key: of, value: text, headers, timestamp_ms, .. } = record;
            let to = TopicPartition::new("t", 2);
            let timestamp_ms = Some(timestamp_ms);
            let append = Append { to, key: of, value: text, headers, timestamp_ms };
            let again = layout::encode_record(&key, &append, 0);
            // But for the flags, of which some mean nothing.
            prop_assert_eq!(&again[6..], &value[6..]);
        }
        let _ = layout::decode_topic(&key, &value);
        let _ = layout::decode_committed(&key, &value);
        let _ = layout::decode_start(&key, &value);
        let _ = layout::parse_group_key(&content);
        let _ = layout::parse_topic_key(&content);
        let _ = layout::parse_record_key(&content, 1, 2);
    }
}

fn topics(end: u64) -> std::collections::BTreeMap<u16, MarkedTopic> {
    let topic = |name: &str, ends| MarkedTopic { name: name.to_owned(), ends };
    [(0, topic("a", vec![0, end])), (3, topic("b", vec![end + 1]))].into()
}

#[test]
fn a_mark_comes_back_and_a_torn_one_falls_back() {
    let dir = TempDir::new().unwrap();
    assert!(Mark::read(dir.path()).unwrap().is_none());
    let mut file = MarkFile::create(dir.path()).unwrap();
    assert_eq!(Mark::read(dir.path()).unwrap().unwrap().sequence, 0);
    for round in 1..6 {
        file.write(round, &topics(round)).unwrap();
        assert!(file.due_in().is_some());
        let mark = Mark::read(dir.path()).unwrap().unwrap();
        assert_eq!((mark.sequence, &mark.topics), (round, &topics(round)));
        assert_eq!(mark.first_position(), Some((TopicPartition::new("a", 1), 0)));
    }
    file.sync().unwrap();
    assert!(file.due_in().is_none());

    let newest = Mark::read(dir.path()).unwrap().unwrap();
    let mut file = MarkFile::open(dir.path(), &newest).unwrap();
    file.write(6, &topics(6)).unwrap();
    let path = dir.path().join(mark::FILE);
    let whole = fs::read(&path).unwrap();
    // Five went to the first slot until the sync; so this one is in the second.
    for at in [0, 5, 9, 17, 30, 40] {
        let mut torn = whole.clone();
        torn[64 * 1024 + at] ^= 4;
        fs::write(&path, &torn).unwrap();
        assert_eq!(Mark::read(dir.path()).unwrap().unwrap().sequence, 5, "byte {at}");
        torn[at] ^= 4;
        fs::write(&path, &torn).unwrap();
        assert!(matches!(Mark::read(dir.path()), Err(MarkError::Unreadable)), "byte {at}");
    }
    for len in [0, 10, 64 * 1024] {
        fs::write(&path, &whole[..len]).unwrap();
        let read = Mark::read(dir.path());
        match len {
            65_536 => assert_eq!(read.unwrap().unwrap().sequence, 5),
            _ => assert!(matches!(read, Err(MarkError::Unreadable)), "{len}: {read:?}"),
        }
    }
}

/// A crash may tear whatever was written since the last sync, in several pages of a slot.
#[test]
fn between_two_syncs_of_the_mark_one_slot_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let mut file = MarkFile::create(dir.path()).unwrap();
    let slots = || {
        let bytes = fs::read(dir.path().join(mark::FILE)).unwrap();
        let (first, second) = bytes.split_at(64 * 1024);
        [first.to_vec(), second.to_vec()]
    };
    let (mut round, mut left_alone) = (0, Vec::new());
    for life in 0..3 {
        if life > 0 {
            let newest = Mark::read(dir.path()).unwrap().unwrap();
            assert_eq!(newest.sequence, round);
            file = MarkFile::open(dir.path(), &newest).unwrap();
        }
        for _ in 0..3 {
            let before = slots();
            for _ in 0..3 {
                round += 1;
                file.write(round, &topics(round)).unwrap();
            }
            let same: Vec<_> = (0..2).filter(|&slot| slots()[slot] == before[slot]).collect();
            assert_eq!(same.len(), 1, "round {round}");
            let kept = &slots()[same[0]];
            let durable = mark::decode(Bytes::from(kept.clone())).unwrap();
            assert_eq!(durable.sequence, round - 3, "it has what the last sync made durable");
            left_alone.push(same[0]);
            file.sync().unwrap();
        }
    }
    assert!(left_alone.windows(2).all(|pair| pair[0] != pair[1]), "{left_alone:?}");
}

#[test]
fn a_later_format_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let mut value = vec![0, 0, 0, 0, 1, 0, 0, 0, 2];
    let crc = crc32c::crc32c_append(crc32c::crc32c(&layout::FORMAT_KEY), &value[4..]);
    value[..4].copy_from_slice(&crc.to_be_bytes());
    let db = DB::open_default(dir.path().join("db")).unwrap();
    let mut batch = WriteBatch::default();
    batch.put(layout::FORMAT_KEY, &value);
    db.write(batch).unwrap();
    drop(db);
    let refused = EmbeddedLog::open(dir.path(), EmbeddedOptions::default());
    let Err(Error::Incompatible { reason }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("format version 2"), "{reason}");
}

#[test]
fn a_later_mark_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let path = dir.path().join(mark::FILE);
    let mut slot = fs::read(&path).unwrap()[..30].to_vec();
    slot[5] = 2;
    let crc = crc32c::crc32c(&slot[..26]);
    slot[26..].copy_from_slice(&crc.to_be_bytes());
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&slot, 0).unwrap();
    let refused = EmbeddedLog::open(dir.path(), EmbeddedOptions::default());
    let Err(Error::Incompatible { reason }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("unknown version 2"), "{reason}");
}

#[tokio::test]
async fn the_budgets_of_rocksdb_hold_while_far_more_is_written_and_read() {
    const BUDGET: usize = 1 << 20;
    let dir = TempDir::new().unwrap();
    let log = EmbeddedLog::open(
        dir.path(),
        EmbeddedOptions {
            write_buffer_bytes: BUDGET,
            block_cache_bytes: BUDGET,
            ..EmbeddedOptions::default()
        },
    )
    .unwrap();
    let spec = TopicSpec { name: "t".to_owned(), partitions: 1, compacted: false };
    log.ensure_topics(&[spec]).await.unwrap();
    let memory = || Memory::of(log.shared.db().as_ref().unwrap());
    let (appends, size) = (400_u64, 64 << 10);
    let mut most = Memory { write_buffers: 0, block_cache: 0 };
    // Something that does not compress, so that it is as many bytes in files.
    let mut random = 1_u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random.to_be_bytes()[0]
    };
    for _ in 0..appends {
        let value: Bytes = (0..size).map(|_| noise()).collect();
        let to = TopicPartition::new("t", 0);
        log.append(vec![Append { to, value: Some(value), ..sample() }]).await.unwrap();
        most.write_buffers = most.write_buffers.max(memory().write_buffers);
    }
    for offset in 0..appends {
        let read = log.read(&TopicPartition::new("t", 0), offset, 1, usize::MAX).await.unwrap();
        assert_eq!(read.len(), 1);
        most.block_cache = most.block_cache.max(memory().block_cache);
    }
    // One is being filled and two are being flushed; a record may end beyond the end of the buffer.
    assert!((BUDGET / 2..=3 * (BUDGET + 2 * size)).contains(&most.write_buffers), "{most:?}");
    // A block is as long as the record in it, and is there while it is read.
    assert!((BUDGET / 2..=BUDGET + 2 * size).contains(&most.block_cache), "{most:?}");
    log.close().await.unwrap();
}
