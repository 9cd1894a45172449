//! Accounts: the latest event per kind and number, journal.

use tickfold_core::state::{Account, AccountEventFact, AccountFacts};
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist, from_journal, from_ms, rising_map, to_journal, to_ms};

impl Persist for Account {
    type Record = proto::Account;

    fn to_record(&self) -> proto::Account {
        proto::Account {
            events: self.facts.events.iter().map(to_event).collect(),
            journal: to_journal(self.journal),
        }
    }

    fn from_record(record: proto::Account) -> Result<Self, Damage> {
        let events = rising_map(record.events.into_iter().map(from_event), "account events")?;
        Ok(Self { facts: AccountFacts { events }, journal: from_journal(record.journal)? })
    }
}

fn to_event(
    ((event, phone_number), fact): (&(String, String), &AccountEventFact),
) -> proto::AccountEvent {
    let restrictions = fact.restrictions.iter();
    proto::AccountEvent {
        event: event.clone(),
        phone_number: phone_number.clone(),
        time_ms: to_ms(fact.time),
        restrictive: fact.restrictive,
        ban_state: fact.ban_state.clone(),
        violation_type: fact.violation_type.clone(),
        // Their order is part of the value: two accounts that differ in it are not equal.
        restrictions: restrictions
            .map(|(kind, expires)| proto::Restriction {
                restriction_type: kind.clone(),
                expires_ms: to_ms(*expires),
            })
            .collect(),
    }
}

fn from_event(event: proto::AccountEvent) -> Result<((String, String), AccountEventFact), Damage> {
    let restrictions = event.restrictions.into_iter();
    let fact = AccountEventFact {
        time: from_ms(event.time_ms),
        restrictive: event.restrictive,
        ban_state: event.ban_state,
        violation_type: event.violation_type,
        restrictions: restrictions
            .map(|restriction| (restriction.restriction_type, from_ms(restriction.expires_ms)))
            .collect(),
    };
    Ok(((event.event, event.phone_number), fact))
}
