//! Domain to proto, in one place: what is told of an entity, and what a view leaves out.

use tickfold_core::ids::{ConversationKey, Participant, PhoneNumberId, TemplateKey, WabaId, Wamid};
use tickfold_core::state::{
    Account, Conversation, Direction, Failure, HistoryEntry, Number, Pricing, Receipt, Status,
    Template, WindowState,
};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;

use crate::query::{JoinedMessage, View};

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

/// A message within a view.
pub(crate) fn message(wamid: &Wamid, message: &JoinedMessage, view: View) -> pb::Message {
    let facts = &message.facts;
    let nothing = Receipt::default();
    let whole = facts.receipts.get(&Participant::whole()).unwrap_or(&nothing);
    let participants = facts.receipts.iter().filter(|(participant, _)| !participant.is_whole());
    let direction = match facts.direction() {
        Direction::Inbound => pb::MessageDirection::Inbound,
        Direction::Outbound => pb::MessageDirection::Outbound,
    };
    let mut told = pb::Message {
        wamid: wamid.to_string(),
        direction: direction.into(),
        state: state(facts.state()).into(),
        state_text: facts.state().map(|status| status.as_str().to_owned()).unwrap_or_default(),
        waba_id: text(facts.waba_id.as_ref()),
        phone_number_id: text(facts.phone_number_id.as_ref()),
        pending_time: maybe(whole.time_of(&Status::Pending)),
        sent_time: maybe(whole.time_of(&Status::Sent)),
        delivered_time: maybe(whole.time_of(&Status::Delivered)),
        read_time: maybe(whole.time_of(&Status::Read)),
        played_time: maybe(whole.time_of(&Status::Played)),
        failed_time: maybe(whole.time_of(&Status::Failed)),
        inbound_time: maybe(whole.time_of(&Status::Received)),
        facts: status_facts(whole),
        error_code: whole.error_code(),
        errors: errors(whole, view),
        pricing: whole.pricing.as_ref().map(pricing),
        participants: participants.map(|(id, receipt)| participant(id, receipt, view)).collect(),
        message_type: word(facts.content().and_then(|content| content.message_type.as_ref())),
        revision: message.journal.revision,
        first_log_time: Some(time(message.journal.created)),
        last_log_time: Some(time(message.journal.changed)),
        ..pb::Message::default()
    };
    if view >= View::Full {
        told.party = text(facts.parties.first());
        told.parties = facts.parties.iter().map(ToString::to_string).collect();
        told.callback_data = word(facts.callback_data.as_ref());
    }
    if view == View::History {
        told.history =
            message.history.iter().map(|(from, entry)| transition(*from, entry)).collect();
    }
    told
}

fn participant(id: &Participant, receipt: &Receipt, view: View) -> pb::Participant {
    pb::Participant {
        participant: if view >= View::Full { id.to_string() } else { String::new() },
        state: state(receipt.state()).into(),
        facts: status_facts(receipt),
        errors: errors(receipt, view),
        pricing: receipt.pricing.as_ref().map(pricing),
    }
}

fn state(status: Option<&Status>) -> pb::MessageState {
    match status {
        None => pb::MessageState::Unspecified,
        Some(Status::Pending) => pb::MessageState::Pending,
        Some(Status::Sent) => pb::MessageState::Sent,
        Some(Status::Delivered) => pb::MessageState::Delivered,
        Some(Status::Read) => pb::MessageState::Read,
        Some(Status::Played) => pb::MessageState::Played,
        Some(Status::Failed) => pb::MessageState::Failed,
        Some(Status::Received) => pb::MessageState::Received,
        Some(Status::Other(_)) => pb::MessageState::Unknown,
    }
}

/// Facts in the order of the states of the API, unknown words last.
fn status_facts(receipt: &Receipt) -> Vec<pb::StatusFact> {
    let fact = |(status, at): (&Status, &Option<Timestamp>)| pb::StatusFact {
        state: state(Some(status)).into(),
        state_text: status.as_str().to_owned(),
        event_time: maybe(*at),
    };
    let mut facts: Vec<_> = receipt.statuses.iter().map(fact).collect();
    facts.sort_by(|a, b| (a.state, &a.state_text).cmp(&(b.state, &b.state_text)));
    facts
}

fn errors(receipt: &Receipt, view: View) -> Vec<pb::MessageError> {
    let error = |(code, failure): (&i64, &Failure)| {
        let mut error = pb::MessageError {
            code: *code,
            first_time: maybe(failure.time),
            ..pb::MessageError::default()
        };
        if view >= View::Full {
            error.title = word(failure.title.as_ref());
            error.message = word(failure.message.as_ref());
            error.details = word(failure.details.as_ref());
        }
        error
    };
    receipt.failures.iter().map(error).collect()
}

fn pricing(pricing: &Pricing) -> pb::Pricing {
    pb::Pricing {
        billable: pricing.billable,
        model: word(pricing.model.as_ref()),
        r#type: word(pricing.kind.as_ref()),
        category: word(pricing.category.as_ref()),
    }
}

fn transition(partition: u32, entry: &HistoryEntry) -> pb::Transition {
    pb::Transition {
        from: state(entry.from.as_ref()).into(),
        from_text: entry.from.as_ref().map(|from| from.as_str().to_owned()).unwrap_or_default(),
        to: state(Some(&entry.to)).into(),
        to_text: entry.to.as_str().to_owned(),
        state: state(Some(&entry.state)).into(),
        state_text: entry.state.as_str().to_owned(),
        late: entry.late,
        event_time: maybe(entry.event_time),
        log_time: Some(time(entry.log_time)),
        received_time: maybe(entry.received_time),
        participant: entry.participant.to_string(),
        error_code: entry.error_code,
        source: Some(pb::SourcePosition { partition, offset: entry.offset }),
        ordinal: entry.ordinal,
    }
}

/// A conversation, its window judged at a log time.
pub(crate) fn conversation(
    key: &ConversationKey,
    conversation: &Conversation,
    log_time: Timestamp,
) -> pb::Conversation {
    let facts = &conversation.facts;
    let window_state = match (facts.window_expires(), facts.window(log_time)) {
        (None, _) => pb::WindowState::Unspecified,
        (Some(_), WindowState::Open) => pb::WindowState::Open,
        (Some(_), WindowState::Closed) => pb::WindowState::Closed,
    };
    pb::Conversation {
        phone_number_id: key.phone_number_id.to_string(),
        party: key.party.to_string(),
        waba_id: text(facts.waba_id.as_ref()),
        window_state: window_state.into(),
        window_expire_time: maybe(facts.window_expires()),
        first_inbound_time: maybe(facts.first_inbound),
        last_inbound_time: maybe(facts.last_inbound),
        last_outbound_time: maybe(facts.last_outbound),
        inbound_count: conversation.inbound_count,
        outbound_count: conversation.outbound_count,
        revision: conversation.journal.revision,
    }
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

/// An account, its state judged at a log time.
pub(crate) fn account(waba_id: &WabaId, account: &Account, log_time: Timestamp) -> pb::Account {
    let events = account.facts.events.iter().map(|((event, subject), fact)| pb::AccountEvent {
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
        state: account.facts.state(log_time).as_str().to_owned(),
        events: events.collect(),
        revision: account.journal.revision,
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
