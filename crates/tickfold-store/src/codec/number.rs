//! Business phone numbers: account, display numbers, standing, journal.

use tickfold_core::ids::WabaId;
use tickfold_core::state::{Number, NumberFacts};
use tickfold_proto::store::v1 as proto;

use super::standing::{from_standing, to_standing};
use super::{Damage, Persist, from_journal, from_ms, rising, rising_map, to_journal, to_ms};

impl Persist for Number {
    type Record = proto::Number;

    fn to_record(&self) -> proto::Number {
        let displays = self.facts.displays.iter();
        let lines = self.facts.lines.iter();
        proto::Number {
            waba_id: self.facts.waba_id.as_ref().map(|id| id.as_str().to_owned()),
            displays: displays
                .map(|(display, time)| proto::Display {
                    display_phone_number: display.clone(),
                    time_ms: to_ms(*time),
                })
                .collect(),
            journal: to_journal(self.journal),
            lines: lines
                .map(|(waba_id, digits)| proto::NumberLine {
                    waba_id: waba_id.as_str().to_owned(),
                    digits: digits.clone(),
                })
                .collect(),
            standing: to_standing(&self.facts.standing),
            active_hour: self.active_hour,
        }
    }

    fn from_record(record: proto::Number) -> Result<Self, Damage> {
        let displays = record.displays.into_iter();
        let displays =
            displays.map(|display| Ok((display.display_phone_number, from_ms(display.time_ms))));
        let lines =
            record.lines.into_iter().map(|line| Ok((WabaId::new(line.waba_id), line.digits)));
        Ok(Self {
            facts: NumberFacts {
                waba_id: record.waba_id.map(WabaId::new),
                displays: rising_map(displays, "displays")?,
                lines: rising(lines, Ord::cmp, "lines")?,
                standing: from_standing(record.standing)?,
            },
            active_hour: record.active_hour,
            journal: from_journal(record.journal)?,
        })
    }
}
