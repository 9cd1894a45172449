//! Where a store stands, and the changes it keeps.

use bytes::Bytes;
use tickfold_core::overlay::Head;
use tickfold_core::time::Timestamp;
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist, from_ms, to_ms};
use crate::StoreHead;

/// Version of keys and records together. A store of a later version is refused and folded anew from
/// raw; new families of state and new optional fields do not raise it. A new index does: what an
/// earlier program writes into a store has no rows in it.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// The oldest version that can be read. A store of it is brought to [`FORMAT_VERSION`] when it is
/// opened ([`crate::upgrade`]). Version 1 has no list of messages by number.
pub(crate) const FORMAT_VERSION_MIN: u32 = 1;

impl Persist for StoreHead {
    type Record = proto::Head;

    fn to_record(&self) -> proto::Head {
        proto::Head {
            cursor: self.cursor,
            fold_version: self.fold_version,
            log_time_ms: to_ms(self.head.log_time),
            rules_version: self.head.rules_version,
            digest: self.digest.to_be_bytes().to_vec().into(),
            raw_digest: self.raw_digest.to_be_bytes().to_vec().into(),
        }
    }

    fn from_record(record: proto::Head) -> Result<Self, Damage> {
        let digest = |bytes: &[u8]| {
            let bytes = <[u8; 16]>::try_from(bytes);
            let bytes = bytes.map_err(|_| Damage("digest is not 16 bytes".to_owned()))?;
            Ok::<_, Damage>(u128::from_be_bytes(bytes))
        };
        Ok(Self {
            cursor: record.cursor,
            fold_version: record.fold_version,
            head: Head {
                log_time: from_ms(record.log_time_ms),
                rules_version: record.rules_version,
            },
            digest: digest(&record.digest)?,
            raw_digest: digest(&record.raw_digest)?,
        })
    }
}

/// Value of a row of the change family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) log_time: Timestamp,
    pub(crate) value: Bytes,
}

impl Persist for Change {
    type Record = proto::Change;

    fn to_record(&self) -> proto::Change {
        proto::Change { log_time_ms: self.log_time.as_millis(), value: self.value.clone() }
    }

    fn from_record(record: proto::Change) -> Result<Self, Damage> {
        let log_time = Timestamp::from_millis(record.log_time_ms);
        Ok(Self { log_time, value: record.value })
    }
}

/// Which changes are kept: how many, and from where on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ChangeLog {
    pub(crate) rows: u64,
    pub(crate) since: (u64, u32),
}

impl Persist for ChangeLog {
    type Record = proto::ChangeLog;

    fn to_record(&self) -> proto::ChangeLog {
        let (since_offset, since_ordinal) = self.since;
        proto::ChangeLog { rows: self.rows, since_offset, since_ordinal }
    }

    fn from_record(record: proto::ChangeLog) -> Result<Self, Damage> {
        Ok(Self { rows: record.rows, since: (record.since_offset, record.since_ordinal) })
    }
}
