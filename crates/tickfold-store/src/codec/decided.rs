//! What the partition goes by, what it decided, and what was charged.

use std::cell::RefCell;
use std::sync::Arc;

use tickfold_core::charge::Total;
use tickfold_core::rules::{BUILT_IN_RULES, Rules};
use tickfold_core::state::{Decided, Regime};
use tickfold_core::time::Timestamp;
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist, from_ms, to_ms};

impl Persist for Regime {
    type Record = proto::Regime;

    fn to_record(&self) -> proto::Regime {
        proto::Regime {
            // The built-in table is in the binary of the fold version that wrote the store.
            rules: match self.rules.version() {
                BUILT_IN_RULES => None,
                _ => Some(self.rules.canonical().into()),
            },
            deadlines_wait_until_ms: to_ms(self.deadlines_wait_until),
        }
    }

    fn from_record(record: proto::Regime) -> Result<Self, Damage> {
        let rules = match record.rules {
            None => Rules::built_in(),
            Some(json) => canonical(&json)?,
        };
        let deadlines_wait_until = from_ms(record.deadlines_wait_until_ms);
        Ok(Self { rules, deadlines_wait_until })
    }
}

thread_local! {
    /// The rules that were read last, with what they were read from. They change seldom and are read
    /// with every batch; parsing and checking them takes as long as folding several statuses.
    static LAST: RefCell<Option<(Vec<u8>, Arc<Rules>)>> = const { RefCell::new(None) };
}

fn canonical(json: &[u8]) -> Result<Arc<Rules>, Damage> {
    let last = LAST.with_borrow(|last| {
        last.as_ref().filter(|(of, _)| of == json).map(|(_, rules)| Arc::clone(rules))
    });
    if let Some(rules) = last {
        return Ok(rules);
    }
    let rules =
        Rules::parse(json).map_err(|invalid| Damage(format!("rules are not valid: {invalid}")))?;
    if rules.version() <= BUILT_IN_RULES || rules.canonical() != json {
        return Err(Damage("rules are not in their canonical form".to_owned()));
    }
    let rules = Arc::new(rules);
    LAST.set(Some((json.to_vec(), Arc::clone(&rules))));
    Ok(rules)
}

impl Persist for Decided {
    type Record = proto::Decided;

    fn to_record(&self) -> proto::Decided {
        let Self { offset, decided, expired } = *self;
        proto::Decided { offset, decided_ms: decided.as_millis(), expired }
    }

    fn from_record(record: proto::Decided) -> Result<Self, Damage> {
        let proto::Decided { offset, decided_ms, expired } = record;
        Ok(Self { offset, decided: Timestamp::from_millis(decided_ms), expired })
    }
}

impl Persist for Total {
    type Record = proto::ChargeTotal;

    fn to_record(&self) -> proto::ChargeTotal {
        let Self { charges, billable } = *self;
        proto::ChargeTotal { charges, billable }
    }

    fn from_record(record: proto::ChargeTotal) -> Result<Self, Damage> {
        let proto::ChargeTotal { charges, billable } = record;
        Ok(Self { charges, billable })
    }
}
