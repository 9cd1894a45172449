//! Domain to proto, in one place: what is told of an entity, and what a view leaves out.

mod message;
mod party;

use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{PhoneNumberId, TemplateKey, WabaId};
use tickfold_core::state::{Account, Number, Template};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;

pub(crate) use message::{actions, alerts, charge, mention, message, transition};
pub(crate) use party::{conversation, user};

/// A time, to the millisecond.
pub(crate) fn time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = split_ms(time.as_millis());
    prost_types::Timestamp { seconds, nanos }
}

/// A duration that is not negative.
pub(crate) fn duration_ms(ms: i64) -> prost_types::Duration {
    let (seconds, nanos) = split_ms(ms);
    prost_types::Duration { seconds, nanos }
}

fn split_ms(ms: i64) -> (i64, i32) {
    let nanos = ms.rem_euclid(1_000) * 1_000_000;
    (ms.div_euclid(1_000), i32::try_from(nanos).unwrap_or(0))
}

fn maybe(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(time)
}

fn text<T: ToString>(id: Option<&T>) -> String {
    id.map(ToString::to_string).unwrap_or_default()
}

fn word(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

/// A template, its status judged at a log time.
pub(crate) fn template(
    key: &TemplateKey,
    template: &Template,
    log_time: Timestamp,
) -> pb::Template {
    let facts = &template.facts;
    let shown = facts.status_fact(log_time);
    let events = facts.events.iter().map(|(event, fact)| pb::TemplateEvent {
        event: event.clone(),
        event_time: maybe(fact.time),
        reason: word(fact.reason.as_ref()),
        category: word(fact.category.as_ref()),
        title: word(fact.title.as_ref()),
        description: word(fact.description.as_ref()),
        disable_date: word(fact.disable_date.as_ref()),
    });
    pb::Template {
        waba_id: key.waba_id.to_string(),
        template_id: key.template_id.to_string(),
        language: key.language.clone(),
        name: facts.name().unwrap_or_default().to_owned(),
        status: facts.status(log_time).unwrap_or_default().to_owned(),
        reason: word(shown.and_then(|fact| fact.reason.as_ref())),
        category: facts.category().unwrap_or_default().to_owned(),
        event_time: maybe(shown.and_then(|fact| fact.time)),
        events: events.collect(),
        revision: template.journal.revision,
    }
}

/// An account, its state judged at a log time, with its totals. One that no event has named has
/// nothing against it.
pub(crate) fn account(
    waba_id: &WabaId,
    account: Option<&Account>,
    totals: Vec<(TotalKey, Total)>,
    log_time: Timestamp,
) -> pb::Account {
    let facts = account.map(|account| account.facts.clone()).unwrap_or_default();
    let events = facts.events.iter().map(|((event, subject), fact)| pb::AccountEvent {
        event: event.clone(),
        subject: subject.clone(),
        event_time: maybe(fact.time),
        restrictive: fact.restrictive,
        ban_state: word(fact.ban_state.as_ref()),
        violation_type: word(fact.violation_type.as_ref()),
        restrictions: fact
            .restrictions
            .iter()
            .map(|(kind, expires)| pb::AccountRestriction {
                r#type: kind.clone(),
                expire_time: maybe(*expires),
            })
            .collect(),
    });
    pb::Account {
        waba_id: waba_id.to_string(),
        state: facts.state(log_time).as_str().to_owned(),
        events: events.collect(),
        revision: account.map(|account| account.journal.revision).unwrap_or_default(),
        // A charge that moved to another total leaves an empty one behind.
        totals: totals.into_iter().filter(|(_, total)| total.charges > 0).map(total).collect(),
    }
}

fn total((key, total): (TotalKey, Total)) -> pb::ChargeTotal {
    pb::ChargeTotal {
        month: key.month,
        category: key.category,
        r#type: key.kind,
        charges: total.charges,
        billable: total.billable,
    }
}

/// A number.
pub(crate) fn number(key: &PhoneNumberId, number: &Number) -> pb::Number {
    pb::Number {
        phone_number_id: key.to_string(),
        waba_id: text(number.facts.waba_id.as_ref()),
        display_phone_number: number.facts.display_phone_number().unwrap_or_default().to_owned(),
        first_seen_time: Some(time(number.journal.created)),
        revision: number.journal.revision,
    }
}
