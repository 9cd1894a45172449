//! What the embedded log reads from disk: its records and its other values, keys, the damage mark, and the
//! framing of RocksDB's files.
//!
//! Behind a right sum stands anything. What is read is written as the same bytes; the walk over a file finds the
//! first record that RocksDB hangs on, and no other. The first byte says what the others are.

#[path = "../../crates/tickfold-log/src/embedded/framing.rs"]
#[allow(dead_code, reason = "of the crate it is from")]
mod framing;
#[path = "../../crates/tickfold-log/src/embedded/layout.rs"]
#[allow(dead_code, reason = "of the crate it is from")]
mod layout;
#[path = "../../crates/tickfold-log/src/embedded/mark.rs"]
#[allow(dead_code, reason = "of the crate it is from")]
mod mark;

use std::collections::BTreeMap;

use bytes::Bytes;
use mark::MarkError;

use crate::{Append, Record, TopicPartition};

/// The sum and the version of a value stand before its content.
const SEAL: usize = 5;
/// As RocksDB has them.
const BLOCK: usize = 32 * 1024;
const HEADER: usize = 7;

/// See the module's description.
pub fn check(bytes: &[u8]) {
    let Some((what, content)) = bytes.split_first() else { return };
    match what % 8 {
        0 => others(content),
        1 => keys(content),
        2 | 3 => marked(content),
        4 => walked(content),
        5 => any_file(content),
        _ => record(content),
    }
}

fn record(content: &[u8]) {
    let key = layout::record_key(1, 2, 3);
    let value = layout::seal(&key, |out| out.extend_from_slice(content));
    assert!(layout::decode_record(&layout::record_key(1, 2, 4), 4, &value).is_err(), "moved");
    let Ok((record, set_by_log)) = layout::decode_record(&key, 3, &value) else { return };
    let Record { offset, timestamp_ms, key: of, value: text, headers } = record;
    assert_eq!(offset, 3);
    let given = (!set_by_log).then_some(timestamp_ms);
    let to = TopicPartition::new("t", 2);
    let append = Append { to, key: of, value: text, headers, timestamp_ms: given };
    let again = layout::encode_record(&key, &append, timestamp_ms);
    let mut expected = content.to_vec();
    // Five of the flags mean nothing.
    expected[0] &= 7;
    assert_eq!(again[SEAL..], expected);
}

fn others(content: &[u8]) {
    let key = layout::topic_key(7);
    let value = layout::seal(&key, |out| out.extend_from_slice(content));
    if let Ok(spec) = layout::decode_topic(&key, &value) {
        let mut expected = content.to_vec();
        // Whatever is not 0 is yes.
        expected[4] = expected[4].min(1);
        assert_eq!(layout::encode_topic(&key, &spec)[SEAL..], expected);
    }
    if let Ok(committed) = layout::decode_committed(&key, &value) {
        assert_eq!(layout::encode_committed(&key, &committed), value);
    }
    if let Ok(start) = layout::decode_start(&key, &value) {
        assert!(value[SEAL..].starts_with(&layout::encode_start(&key, start)[SEAL..]));
    }
    let value = layout::seal(&layout::FORMAT_KEY, |out| out.extend_from_slice(content));
    let format = layout::decode_format(&value).ok();
    let first = content.first_chunk().map(|first| u32::from_be_bytes(*first));
    assert_eq!(format, first);
    assert!(layout::decode_topic(&key, &value).is_err(), "the value of another key");
}

fn keys(content: &[u8]) {
    if let Some(id) = layout::parse_topic_key(content) {
        assert_eq!(layout::topic_key(id), content);
    }
    if let Some((id, partition, group)) = layout::parse_group_key(content) {
        assert_eq!(layout::group_key(id, partition, &group), content);
    }
    if let Some(offset) = layout::parse_record_key(content, 1, 2) {
        assert_eq!(layout::record_key(1, 2, offset), content);
    }
}

/// The first byte of the content is the version, the second how much follows that is of no mark.
fn marked(content: &[u8]) {
    let Some(([version, behind], content)) = content.split_first_chunk::<2>() else { return };
    let behind = content.len().min(usize::from(*behind));
    let (content, behind) = content.split_at(content.len() - behind);
    let version = u16::from(version % 4);
    let mut slot = Vec::new();
    slot.extend(0x7466_6d6b_u32.to_be_bytes());
    slot.extend(version.to_be_bytes());
    slot.extend(8_u64.to_be_bytes());
    slot.extend(9_u64.to_be_bytes());
    slot.extend(u32::try_from(content.len()).expect("short").to_be_bytes());
    slot.extend(content);
    slot.extend(crc32c::crc32c(&slot).to_be_bytes());
    let length = slot.len();
    slot.extend(behind);
    let mark = match mark::decode(Bytes::from(slot.clone())) {
        Ok(mark) => mark,
        Err(MarkError::UnknownVersion(unknown)) => {
            return assert!(unknown == version && unknown != 1);
        }
        Err(MarkError::Unreadable) => return assert!(version == 1 && topics(content).is_none()),
        Err(MarkError::Io(error)) => panic!("{error}"),
    };
    assert_eq!((version, mark.sequence), (1, 9));
    let found =
        mark.topics.iter().map(|(id, topic)| (*id, (topic.name.clone(), topic.ends.clone())));
    assert_eq!(Some(found.collect()), topics(content));
    let written = mark::encode(8, 9, &mark.topics);
    let again = mark::decode(Bytes::from(written)).expect("what is written is read");
    assert_eq!(again, mark);
    slot[length - 1] ^= 1;
    assert!(matches!(mark::decode(Bytes::from(slot)), Err(MarkError::Unreadable)), "a flipped bit");
}

/// By the description of the slot: per topic its id, its name and the ends of its partitions. The last of two
/// with one id counts.
fn topics(mut content: &[u8]) -> Option<BTreeMap<u16, (String, Vec<u64>)>> {
    let mut topics = BTreeMap::new();
    while !content.is_empty() {
        let id = u16::from_be_bytes(take(&mut content)?);
        let length = u32::from_be_bytes(take(&mut content)?);
        let (name, rest) = content.split_at_checked(usize::try_from(length).ok()?)?;
        content = rest;
        let name = String::from_utf8(name.to_vec()).ok()?;
        let count = u32::from_be_bytes(take(&mut content)?);
        let ends: Option<_> =
            (0..count).map(|_| take(&mut content).map(u64::from_be_bytes)).collect();
        topics.insert(id, (name, ends?));
    }
    Some(topics)
}

fn take<const N: usize>(content: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = content.split_first_chunk()?;
    *content = rest;
    Some(*taken)
}

/// A file made of records, each of its length, kind and some bytes: the walk finds what was put there.
fn walked(content: &[u8]) {
    let Some((filler, mut rest)) = content.split_first_chunk::<2>() else { return };
    let mut file = Vec::new();
    // So that the others stand at the end of a block, or begin the next one.
    let filler = usize::from(u16::from_le_bytes(*filler)) % (BLOCK - HEADER);
    put(&mut file, 1, &vec![0; filler], true);
    let (mut trap, mut lost_in) = (None, None);
    while let Some(([length, kind, sound], behind)) = rest.split_first_chunk::<3>() {
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let left = BLOCK - file.len() % BLOCK;
        if left < HEADER + bytes.len() {
            file.resize(file.len() + left, 0);
        }
        let (at, block) = (file.len() as u64, file.len() / BLOCK);
        let is_trap = matches!(kind, 5..=8 | 11 | 131);
        if is_trap && lost_in != Some(block) {
            trap = trap.or(Some(at));
        }
        // Behind a record whose sum is wrong the rest of its block is not looked at.
        let is_sound = *sound != 0;
        if !is_sound {
            lost_in = Some(block);
        }
        put(&mut file, *kind, bytes, is_sound);
    }
    assert_eq!(framing::trap_in(file.as_slice()).expect("memory reads"), trap);
}

fn put(file: &mut Vec<u8>, kind: u8, content: &[u8], is_sound: bool) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), content);
    let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8) ^ u32::from(!is_sound);
    file.extend(masked.to_le_bytes());
    file.extend(u16::try_from(content.len()).expect("less than a block").to_le_bytes());
    file.push(kind);
    file.extend(content);
}

fn any_file(content: &[u8]) {
    let Some(at) = framing::trap_in(content).expect("memory reads") else { return };
    let kind = usize::try_from(at).expect("within it") + HEADER - 1;
    assert!(matches!(content[kind], 5..=8 | 11 | 131));
    assert_eq!(framing::trap_in(&content[..kind]).expect("memory reads"), None);
}
