//! Calls: facts, journal.

use tickfold_core::ids::{PartyId, PhoneNumberId, WabaId};
use tickfold_core::state::{Call, CallFacts};
use tickfold_proto::store::v1 as proto;

use super::content::{from_failures, from_media, from_times, to_failures, to_media, to_times};
use super::{Damage, Persist, from_journal, from_ms, rising, rising_map, to_journal, to_ms};

impl Persist for Call {
    type Record = proto::Call;

    fn to_record(&self) -> proto::Call {
        let facts = &self.facts;
        let media = facts.media.iter();
        proto::Call {
            waba_id: facts.waba_id.as_ref().map(|id| id.as_str().to_owned()),
            phone_number_id: facts.phone_number_id.as_ref().map(|id| id.as_str().to_owned()),
            parties: facts.parties.iter().map(|party| party.as_str().to_owned()).collect(),
            direction: facts.direction.clone(),
            events: to_times(&facts.events, String::as_str),
            statuses: to_times(&facts.statuses, String::as_str),
            errors: to_failures(&facts.errors),
            start_ms: to_ms(facts.start),
            end_ms: to_ms(facts.end),
            duration_s: facts.duration_s,
            callback_data: facts.callback_data.clone(),
            media: media
                .map(|(kind, media)| proto::CallMedia {
                    kind: kind.clone(),
                    media: Some(to_media(media)),
                })
                .collect(),
            journal: to_journal(self.journal),
        }
    }

    fn from_record(record: proto::Call) -> Result<Self, Damage> {
        let parties = record.parties.into_iter().map(|party| Ok(PartyId::new(party)));
        let media = record.media.into_iter().map(|entry| {
            let media = entry.media.ok_or_else(|| Damage::missing("media"))?;
            Ok((entry.kind, from_media(media)))
        });
        Ok(Self {
            facts: CallFacts {
                waba_id: record.waba_id.map(WabaId::new),
                phone_number_id: record.phone_number_id.map(PhoneNumberId::new),
                parties: rising(parties, PartyId::cmp, "parties")?,
                direction: record.direction,
                events: from_times(record.events, String::from, "events")?,
                statuses: from_times(record.statuses, String::from, "statuses")?,
                errors: from_failures(record.errors)?,
                start: from_ms(record.start_ms),
                end: from_ms(record.end_ms),
                duration_s: record.duration_s,
                callback_data: record.callback_data,
                media: rising_map(media, "media")?,
            },
            journal: from_journal(record.journal)?,
        })
    }
}
