//! Keys and values of the embedded log in RocksDB. Append-only: a retired prefix stays reserved.
//!
//! | key | value |
//! |---|---|
//! | `01` | format version, u32 |
//! | `02` topic id u16 | partitions u32, compacted u8, name |
//! | `03` topic id u16, partition u32, group | offset u64, metadata |
//! | `04` topic id u16, partition u32 | start offset u64, absent while it is 0 |
//! | `10` topic id u16, partition u32, offset u64 | record |
//!
//! All integers are big-endian, so key order is offset order. Every value is sealed: CRC-32C u32
//! over key and all that follows, value version u8, then the content above. The key is in the CRC,
//! so a value under a wrong key is noticed as well as a changed one.
//!
//! A record is: flags u8 (1 key present, 2 value present, 4 timestamp set by the log), timestamp
//! i64, then key and value if present (length u32 and bytes each), number of headers u32, and per
//! header name and value (length u32 and bytes each).

use bytes::{Buf, Bytes};

use crate::{Append, Committed, Header, Offset, PartitionId, Record, TopicSpec};

/// Version of the whole layout; another one is refused on open.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Version of a single value.
const VALUE_VERSION: u8 = 1;

pub(super) const FORMAT_KEY: [u8; 1] = [0x01];
pub(super) const TOPIC: u8 = 0x02;
pub(super) const GROUP: u8 = 0x03;
const START: u8 = 0x04;
const RECORD: u8 = 0x10;

const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;
const TIME_SET_BY_LOG: u8 = 4;

/// A topic's number in keys, given at creation, never reused.
pub(super) type TopicId = u16;

/// A value that cannot be what was written, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

pub(super) fn topic_key(id: TopicId) -> Vec<u8> {
    key(TOPIC, &[&id.to_be_bytes()])
}

pub(super) fn group_key(id: TopicId, partition: PartitionId, group: &str) -> Vec<u8> {
    key(GROUP, &[&id.to_be_bytes(), &partition.to_be_bytes(), group.as_bytes()])
}

pub(super) fn start_key(id: TopicId, partition: PartitionId) -> Vec<u8> {
    key(START, &[&id.to_be_bytes(), &partition.to_be_bytes()])
}

pub(super) fn record_key(id: TopicId, partition: PartitionId, offset: Offset) -> Vec<u8> {
    key(RECORD, &[&id.to_be_bytes(), &partition.to_be_bytes(), &offset.to_be_bytes()])
}

fn key(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![prefix];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// The topic id of a topic key.
pub(super) fn parse_topic_key(mut key: &[u8]) -> Option<TopicId> {
    (key.len() == 3 && key.get_u8() == TOPIC).then(|| key.get_u16())
}

/// Topic id, partition and group of a group key.
pub(super) fn parse_group_key(mut key: &[u8]) -> Option<(TopicId, PartitionId, String)> {
    if key.len() < 7 || key.get_u8() != GROUP {
        return None;
    }
    let (id, partition) = (key.get_u16(), key.get_u32());
    Some((id, partition, String::from_utf8(key.to_vec()).ok()?))
}

/// The offset of a record key of that partition; `None` for any other key.
pub(super) fn parse_record_key(
    mut key: &[u8],
    id: TopicId,
    partition: PartitionId,
) -> Option<Offset> {
    let ours = key.len() == 15
        && key.get_u8() == RECORD
        && key.get_u16() == id
        && key.get_u32() == partition;
    ours.then(|| key.get_u64())
}

pub(super) fn encode_format() -> Vec<u8> {
    seal(&FORMAT_KEY, |out| out.extend_from_slice(&FORMAT_VERSION.to_be_bytes()))
}

pub(super) fn decode_format(value: &[u8]) -> Result<u32, Unreadable> {
    let mut content = open_seal(&FORMAT_KEY, value)?;
    content.try_get_u32().map_err(|_| SHORT)
}

pub(super) fn encode_topic(key: &[u8], spec: &TopicSpec) -> Vec<u8> {
    seal(key, |out| {
        out.extend_from_slice(&spec.partitions.to_be_bytes());
        out.push(u8::from(spec.compacted));
        out.extend_from_slice(spec.name.as_bytes());
    })
}

pub(super) fn decode_topic(key: &[u8], value: &[u8]) -> Result<TopicSpec, Unreadable> {
    let mut content = open_seal(key, value)?;
    let partitions = content.try_get_u32().map_err(|_| SHORT)?;
    let compacted = content.try_get_u8().map_err(|_| SHORT)? != 0;
    Ok(TopicSpec { name: text(content)?, partitions, compacted })
}

pub(super) fn encode_committed(key: &[u8], committed: &Committed) -> Vec<u8> {
    seal(key, |out| {
        out.extend_from_slice(&committed.offset.to_be_bytes());
        out.extend_from_slice(committed.metadata.as_bytes());
    })
}

pub(super) fn decode_committed(key: &[u8], value: &[u8]) -> Result<Committed, Unreadable> {
    let mut content = open_seal(key, value)?;
    let offset = content.try_get_u64().map_err(|_| SHORT)?;
    Ok(Committed { offset, metadata: text(content)? })
}

pub(super) fn encode_start(key: &[u8], start: Offset) -> Vec<u8> {
    seal(key, |out| out.extend_from_slice(&start.to_be_bytes()))
}

pub(super) fn decode_start(key: &[u8], value: &[u8]) -> Result<Offset, Unreadable> {
    open_seal(key, value)?.try_get_u64().map_err(|_| SHORT)
}

/// Seals a record; `log_time` is used where the appender gave no timestamp.
pub(super) fn encode_record(key: &[u8], append: &Append, log_time: i64) -> Vec<u8> {
    let mut flags = 0;
    flags |= if append.key.is_some() { HAS_KEY } else { 0 };
    flags |= if append.value.is_some() { HAS_VALUE } else { 0 };
    flags |= if append.timestamp_ms.is_none() { TIME_SET_BY_LOG } else { 0 };
    seal(key, |out| {
        out.reserve(append.size_bytes() + 32 + 8 * append.headers.len());
        out.push(flags);
        out.extend_from_slice(&append.timestamp_ms.unwrap_or(log_time).to_be_bytes());
        append.key.iter().chain(&append.value).for_each(|part| put_sized(out, part));
        put_len(out, append.headers.len());
        for header in &append.headers {
            put_sized(out, header.name.as_bytes());
            put_sized(out, &header.value);
        }
    })
}

/// A record, and whether its timestamp is the log's own append time.
pub(super) fn decode_record(
    key: &[u8],
    offset: Offset,
    value: &[u8],
) -> Result<(Record, bool), Unreadable> {
    let mut content = Bytes::copy_from_slice(open_seal(key, value)?);
    let content = &mut content;
    let flags = content.try_get_u8().map_err(|_| SHORT)?;
    let timestamp_ms = content.try_get_i64().map_err(|_| SHORT)?;
    let key = (flags & HAS_KEY != 0).then(|| get_sized(content)).transpose()?;
    let value = (flags & HAS_VALUE != 0).then(|| get_sized(content)).transpose()?;
    let count = content.try_get_u32().map_err(|_| SHORT)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = text(&get_sized(content)?)?;
        headers.push(Header { name: name.into(), value: get_sized(content)? });
    }
    if content.has_remaining() {
        return Err(Unreadable("value is longer than its content"));
    }
    let record = Record { offset, timestamp_ms, key, value, headers };
    Ok((record, flags & TIME_SET_BY_LOG != 0))
}

const SHORT: Unreadable = Unreadable("value is shorter than its content");

/// Builds CRC, version and content of a value in one buffer.
pub(super) fn seal(key: &[u8], content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut value = vec![0, 0, 0, 0, VALUE_VERSION];
    content(&mut value);
    if let Some((crc, sealed)) = value.split_first_chunk_mut::<4>() {
        *crc = seal_crc(key, sealed).to_be_bytes();
    }
    value
}

/// The content of a value whose CRC and version hold.
fn open_seal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let (crc, sealed) = value.split_first_chunk::<4>().ok_or(SHORT)?;
    if seal_crc(key, sealed) != u32::from_be_bytes(*crc) {
        return Err(Unreadable("checksum of the value does not match"));
    }
    match sealed.split_first() {
        Some((&VALUE_VERSION, content)) => Ok(content),
        Some(_) => Err(Unreadable("value has an unknown version")),
        None => Err(SHORT),
    }
}

fn seal_crc(key: &[u8], sealed: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), sealed)
}

pub(super) fn put_sized(out: &mut Vec<u8>, part: &[u8]) {
    put_len(out, part.len());
    out.extend_from_slice(part);
}

/// Lengths come from records below 5 MiB, so they fit; one that did not would be refused by the
/// reader instead of being believed.
pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    debug_assert!(u32::try_from(len).is_ok());
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

pub(super) fn get_sized(content: &mut Bytes) -> Result<Bytes, Unreadable> {
    let len = content.try_get_u32().map_err(|_| SHORT)?;
    let len = usize::try_from(len).map_err(|_| SHORT)?;
    if len > content.len() {
        return Err(SHORT);
    }
    Ok(content.split_to(len))
}

pub(super) fn text(bytes: &[u8]) -> Result<String, Unreadable> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Unreadable("text is not UTF-8"))
}
