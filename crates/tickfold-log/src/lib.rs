//! The Log port: topics of partitions of records, appended durably, read by offset, and written
//! exactly once together with a consumer group's next input offset.
//!
//! It knows bytes, offsets and transactions; it knows no WhatsApp. Every adapter passes the whole
//! conformance suite (`conformance`, behind `test-util`); a promise below without a case in
//! that suite is not yet a promise.
//!
//! Adapters: `mem` (deterministic, with fault injection for tests), `embedded` (RocksDB, one
//! machine; feature `embedded`), `kafka` (a cluster, by librdkafka; feature `kafka`).

#[cfg(feature = "test-util")]
pub mod conformance;
mod digest;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod group;
#[cfg(feature = "kafka")]
mod kafka;
pub mod mem;
#[cfg(any(feature = "embedded", feature = "kafka"))]
pub mod metrics;
mod port;
mod record;
mod search;

pub use digest::RecordDigest;
#[cfg(feature = "embedded")]
pub use embedded::{Clock, EmbeddedLog, EmbeddedOptions};
pub use error::{CommitError, Error};
pub use group::{Change, Departure, GroupSpec, Member};
#[cfg(feature = "kafka")]
pub use kafka::{
    Compression, Ends, Found, GroupMember, KafkaLog, KafkaOptions, KafkaProbe, KafkaTopics,
    Password, Sasl, SaslMechanism, Security, Setting, Survey, Tls, Weight,
    fail_point as kafka_fail_point, panic_is_caught,
};
pub use mem::MemLog;
pub use port::{Bounds, Claim, Committed, Log, LogFuture, OwnedPartition, TopicInfo, TopicSpec};
pub use record::{
    Append, Header, Headers, Offset, PartitionId, RECORD_BYTES_MAX, Record, TopicPartition,
};
