//! The one place where domain types and persisted records are converted.
//!
//! Encoding is canonical: equal values give equal bytes, since the digest of the store is taken
//! over them. Decoding is total: any bytes give a value or [`Damage`], and what decodes encodes to
//! the same value again. Keys are in [`crate::key`].

mod account;
mod call;
mod content;
mod conversation;
mod decided;
#[cfg(feature = "rocks")]
mod generations;
mod group;
mod head;
#[cfg(feature = "rocks")]
mod manifest;
mod message;
mod natural;
mod number;
mod payment;
mod standing;
mod template;
#[cfg(test)]
mod tests;
mod user;

#[cfg(feature = "rocks")]
pub(crate) use generations::{Generations, Next};
pub(crate) use head::{FORMAT_VERSION, FORMAT_VERSION_MIN};
#[cfg(feature = "rocks")]
pub(crate) use manifest::{FileSums, Manifest};
use prost::Message as _;
use tickfold_core::state::{Journal, Status};
use tickfold_core::time::Timestamp;
use tickfold_proto::store::v1 as proto;
#[cfg(feature = "rocks")]
use xxhash_rust::xxh3::xxh3_128;

/// Stored bytes that no version of the codec can have written.
#[derive(Debug)]
pub(crate) struct Damage(pub(crate) String);

impl Damage {
    fn missing(field: &str) -> Self {
        Self(format!("{field} is missing"))
    }
}

impl From<prost::DecodeError> for Damage {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// A record that is a file of its own, with a checksum behind it: a file system does not check its
/// files as RocksDB checks its blocks.
#[cfg(feature = "rocks")]
fn with_sum(mut record: Vec<u8>) -> Vec<u8> {
    let sum = xxh3_128(&record).to_be_bytes();
    record.extend_from_slice(&sum);
    record
}

/// The record of such a file; `what` it is, for the refusal.
#[cfg(feature = "rocks")]
fn without_sum<'a>(file: &'a [u8], what: &str) -> Result<&'a [u8], Damage> {
    let (record, sum) =
        file.split_last_chunk::<16>().ok_or_else(|| Damage(format!("{what} is too short")))?;
    if xxh3_128(record).to_be_bytes() != *sum {
        return Err(Damage(format!("{what} does not match its checksum")));
    }
    Ok(record)
}

/// A domain type that is the value of a row.
pub(crate) trait Persist: Sized {
    /// The record it is kept as.
    type Record: prost::Message + Default;

    /// Into the record, with repeated entries in canonical order.
    fn to_record(&self) -> Self::Record;

    /// Out of the record.
    fn from_record(record: Self::Record) -> Result<Self, Damage>;

    /// The bytes of the row.
    fn encode(&self) -> Vec<u8> {
        self.to_record().encode_to_vec()
    }

    /// The value of the bytes.
    fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        Self::from_record(Self::Record::decode(bytes)?)
    }
}

/// Collects entries that must rise strictly. Others would decode to a value that encodes to other
/// bytes, and the digest would no longer be that of the bytes.
fn rising<T, C: FromIterator<T>>(
    entries: impl IntoIterator<Item = Result<T, Damage>>,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
    what: &str,
) -> Result<C, Damage> {
    let entries: Vec<T> = entries.into_iter().collect::<Result<_, _>>()?;
    if !entries.is_sorted_by(|a, b| order(a, b).is_lt()) {
        return Err(Damage(format!("{what} do not rise")));
    }
    Ok(entries.into_iter().collect())
}

/// As [`rising`], for entries of a map.
fn rising_map<K: Ord, V, M: FromIterator<(K, V)>>(
    entries: impl IntoIterator<Item = Result<(K, V), Damage>>,
    what: &str,
) -> Result<M, Damage> {
    rising(entries, |a: &(K, V), b: &(K, V)| a.0.cmp(&b.0), what)
}

fn to_ms(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}

fn from_ms(ms: Option<i64>) -> Option<Timestamp> {
    ms.map(Timestamp::from_millis)
}

fn to_journal(journal: Journal) -> Option<proto::Journal> {
    Some(proto::Journal {
        revision: journal.revision,
        created_ms: journal.created.as_millis(),
        changed_ms: journal.changed.as_millis(),
    })
}

fn from_journal(journal: Option<proto::Journal>) -> Result<Journal, Damage> {
    let journal = journal.ok_or_else(|| Damage::missing("journal"))?;
    Ok(Journal {
        revision: journal.revision,
        created: Timestamp::from_millis(journal.created_ms),
        changed: Timestamp::from_millis(journal.changed_ms),
    })
}

fn to_status(status: &Status) -> proto::Status {
    use proto::KnownStatus as Known;
    use proto::status::Word;
    let known = |known: Known| Word::Known(known.into());
    let word = match status {
        Status::Pending => known(Known::Pending),
        Status::Sent => known(Known::Sent),
        Status::Delivered => known(Known::Delivered),
        Status::Read => known(Known::Read),
        Status::Played => known(Known::Played),
        Status::Failed => known(Known::Failed),
        Status::Received => known(Known::Received),
        Status::Other(word) => Word::Other(word.clone()),
    };
    proto::Status { word: Some(word) }
}

fn from_status(status: Option<proto::Status>) -> Result<Status, Damage> {
    use proto::KnownStatus as Known;
    use proto::status::Word;
    let word = status.and_then(|status| status.word).ok_or_else(|| Damage::missing("status"))?;
    Ok(match word {
        Word::Other(word) => Status::Other(word),
        Word::Known(number) => match Known::try_from(number) {
            Ok(Known::Pending) => Status::Pending,
            Ok(Known::Sent) => Status::Sent,
            Ok(Known::Delivered) => Status::Delivered,
            Ok(Known::Read) => Status::Read,
            Ok(Known::Played) => Status::Played,
            Ok(Known::Failed) => Status::Failed,
            Ok(Known::Received) => Status::Received,
            Ok(Known::Unspecified) | Err(_) => {
                return Err(Damage(format!("no status has number {number}")));
            }
        },
    })
}
