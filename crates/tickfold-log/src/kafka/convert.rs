//! Records as librdkafka takes and gives them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use rdkafka::{
    error::KafkaError,
    message::{BorrowedMessage, Header as KafkaHeader, Headers as _, Message, OwnedHeaders},
    producer::BaseRecord,
    util::IntoOpaque,
};

use super::options::MESSAGE_BYTES_MAX;
use crate::{Append, Error, Header, Offset, PartitionId, RECORD_BYTES_MAX, Record, record};

/// Bytes the format spends at most on a record besides its parts: batch and record head, lengths.
const RECORD_HEAD_BYTES: usize = 128;
/// Likewise on a header.
const HEADER_HEAD_BYTES: usize = 10;

/// Refuses what the brokers would refuse for its size.
pub(super) fn check_size(append: &Append) -> Result<(), Error> {
    record::check_size(append)?;
    let heads = RECORD_HEAD_BYTES + append.headers.len().saturating_mul(HEADER_HEAD_BYTES);
    let size_bytes = append.size_bytes();
    if size_bytes.saturating_add(heads) <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::TooLarge { to: append.to.clone(), size_bytes, limit_bytes: RECORD_BYTES_MAX })
}

/// A record for a producer, with what shall come back in its delivery report.
pub(super) fn to_kafka<D: IntoOpaque>(append: &Append, opaque: D) -> BaseRecord<'_, [u8], [u8], D> {
    let mut record = BaseRecord::with_opaque_to(&append.to.topic, opaque);
    record.partition = Some(partition_id(append.to.partition));
    record.key = append.key.as_deref();
    record.payload = append.value.as_deref();
    // librdkafka takes 0 for none, and would set its own clock's time.
    record.timestamp = append.timestamp_ms.map(|ms| ms.max(1));
    if !append.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(append.headers.len());
        record.headers = Some(append.headers.iter().fold(headers, |headers, header| {
            headers.insert(KafkaHeader { key: &header.name, value: Some(&header.value[..]) })
        }));
    }
    record
}

/// A record from a consumer; an error if it is none of ours.
pub(super) fn from_kafka(message: &BorrowedMessage<'_>) -> Result<Record, &'static str> {
    let offset = u64::try_from(message.offset()).map_err(|_| "its offset is negative")?;
    let headers = headers(message)?;
    let (key, value) = (message.key(), message.payload());
    // One piece of memory for all that the record holds; each part is a view of it.
    let of_headers = headers.iter().map(|(_, value)| value.len()).sum::<usize>();
    let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + of_headers;
    let mut rest = BytesMut::with_capacity(bytes);
    let mut copy = |part: &[u8]| {
        rest.extend_from_slice(part);
        rest.split().freeze()
    };
    Ok(Record {
        offset,
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: key.map(&mut copy),
        value: value.map(&mut copy),
        headers: headers
            .into_iter()
            .map(|(name, value)| Header { name: name.to_owned().into(), value: copy(value) })
            .collect(),
    })
}

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// True while a panic of this thread would be caught: a hook for panics has nothing to do then.
pub fn panic_is_caught() -> bool {
    CAUGHT.get()
}

/// Names and values.
fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Result<Vec<(&'a str, &'a [u8])>, &'static str> {
    let Some(headers) = message.headers() else { return Ok(Vec::new()) };
    let part = |header: KafkaHeader<'a, &'a [u8]>| (header.key, header.value.unwrap_or_default());
    // The binding panics on a name that is no UTF-8. We write none, but others may write here.
    CAUGHT.set(true);
    let all = catch_unwind(AssertUnwindSafe(|| headers.iter().map(part).collect()));
    CAUGHT.set(false);
    all.map_err(|_| "the name of a header is not UTF-8")
}

/// Partitions are `i32` in Kafka; the port's bound of 65,536 is far below.
pub(super) fn partition_id(partition: PartitionId) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// Offsets are `i64` in Kafka. Negative ones stand for "unknown".
pub(super) fn offset(kafka: i64) -> Option<Offset> {
    Offset::try_from(kafka).ok()
}

/// An error that may pass.
pub(super) fn unavailable(what: impl std::fmt::Display, error: &KafkaError) -> Error {
    Error::Unavailable { reason: format!("{what}: {error}") }
}
