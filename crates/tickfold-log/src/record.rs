//! What is appended and what is read: records, their places, their headers.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::Error;

/// The largest record any log takes, by [`Append::size_bytes`]: 5 MiB. The body limit of ingress
/// is 4 MiB, so a webhook with its headers always fits.
pub const RECORD_BYTES_MAX: usize = 5 * 1024 * 1024;

/// The index of a partition within its topic, from 0.
pub type PartitionId = u32;

/// A record's place in its partition, from 0. Offsets rise; they need not be dense: an adapter may
/// leave gaps (Kafka's transaction markers do), so "the next offset" is the read position after a
/// record, never an arithmetic promise about the next record.
pub type Offset = u64;

/// A partition of a topic, by the topic's full name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Full topic name, prefix included. Shared, since each record on its way in has it.
    pub topic: Arc<str>,
    /// Partition of that topic.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: PartitionId) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A header: an ASCII name and opaque bytes. Order is kept and names may repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Lower-case ASCII name.
    pub name: Cow<'static, str>,
    /// Value, often but not always UTF-8.
    pub value: Bytes,
}

/// Headers in the order they were appended.
pub type Headers = Vec<Header>;

/// A record on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Where it goes. The caller chooses the partition; the log never does.
    pub to: TopicPartition,
    /// Key, absent where nothing can be compacted by it.
    pub key: Option<Bytes>,
    /// Value; absent is a tombstone.
    pub value: Option<Bytes>,
    /// Headers, kept in order.
    pub headers: Headers,
    /// Milliseconds since the Unix epoch, stored as given; an adapter may raise those below 1 to 1.
    /// `None`: the log sets its own append time when it accepts the record (`LogAppendTime`), which
    /// is what raw topics use.
    pub timestamp_ms: Option<i64>,
}

/// A record read from the log: what was appended, its place, and its timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Place in its partition.
    pub offset: Offset,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Key as appended.
    pub key: Option<Bytes>,
    /// Value as appended; absent is a tombstone.
    pub value: Option<Bytes>,
    /// Headers as appended, in order.
    pub headers: Headers,
}

impl Append {
    /// Bytes of key, value and headers: what [`RECORD_BYTES_MAX`] limits.
    pub fn size_bytes(&self) -> usize {
        size_bytes(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

impl Record {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|h| h.name == name).map(|h| &h.value)
    }

    /// CRC-32C over key, value and headers with their lengths: what a token keeps of the last
    /// record folded, to notice that an input log was replaced. The timestamp is included, the
    /// offset is not.
    pub fn crc(&self) -> u32 {
        let mut crc = crc32c::crc32c(&self.timestamp_ms.to_be_bytes());
        let mut part = |tag: u8, bytes: Option<&[u8]>| {
            crc = crc32c::crc32c_append(crc, &[tag, u8::from(bytes.is_some())]);
            let bytes = bytes.unwrap_or_default();
            crc = crc32c::crc32c_append(crc, &(bytes.len() as u64).to_be_bytes());
            crc = crc32c::crc32c_append(crc, bytes);
        };
        part(b'k', self.key.as_deref());
        part(b'v', self.value.as_deref());
        for header in &self.headers {
            part(b'n', Some(header.name.as_bytes()));
            part(b'h', Some(&header.value));
        }
        crc
    }

    /// Bytes of key, value and headers: what read limits count.
    pub fn size_bytes(&self) -> usize {
        size_bytes(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

/// Refuses a record above the limit, for every adapter alike.
pub(crate) fn check_size(append: &Append) -> Result<(), Error> {
    let size_bytes = append.size_bytes();
    if size_bytes <= RECORD_BYTES_MAX {
        return Ok(());
    }
    Err(Error::TooLarge { to: append.to.clone(), size_bytes, limit_bytes: RECORD_BYTES_MAX })
}

fn size_bytes(key: Option<&Bytes>, value: Option<&Bytes>, headers: &[Header]) -> usize {
    let headers: usize = headers.iter().map(|h| h.name.len() + h.value.len()).sum();
    key.map_or(0, Bytes::len) + value.map_or(0, Bytes::len) + headers
}
