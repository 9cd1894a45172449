//! Where a store stands.

use tickfold_core::overlay::Head;
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
