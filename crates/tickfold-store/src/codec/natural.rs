//! Natural keys: where an event came first.

use tickfold_core::state::Natural;
use tickfold_core::time::Timestamp;
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist};

impl Persist for Natural {
    type Record = proto::Natural;

    fn to_record(&self) -> proto::Natural {
        proto::Natural { offset: self.offset, changed_ms: self.changed.as_millis() }
    }

    fn from_record(record: proto::Natural) -> Result<Self, Damage> {
        Ok(Self { offset: record.offset, changed: Timestamp::from_millis(record.changed_ms) })
    }
}
