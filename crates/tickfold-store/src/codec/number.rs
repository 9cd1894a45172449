//! Business phone numbers: account, display numbers, journal.

use tickfold_core::ids::WabaId;
use tickfold_core::state::{Number, NumberFacts};
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist, from_journal, from_ms, rising_map, to_journal, to_ms};

impl Persist for Number {
    type Record = proto::Number;

    fn to_record(&self) -> proto::Number {
        let displays = self.facts.displays.iter();
        proto::Number {
            waba_id: self.facts.waba_id.as_ref().map(|id| id.as_str().to_owned()),
            displays: displays
                .map(|(display, time)| proto::Display {
                    display_phone_number: display.clone(),
                    time_ms: to_ms(*time),
                })
                .collect(),
            journal: to_journal(self.journal),
        }
    }

    fn from_record(record: proto::Number) -> Result<Self, Damage> {
        let displays = record.displays.into_iter();
        let displays =
            displays.map(|display| Ok((display.display_phone_number, from_ms(display.time_ms))));
        Ok(Self {
            facts: NumberFacts {
                waba_id: record.waba_id.map(WabaId::new),
                displays: rising_map(displays, "displays")?,
            },
            journal: from_journal(record.journal)?,
        })
    }
}
