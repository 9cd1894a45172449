//! Messages: facts, what was charged and decided, and what later messages did to them.

use std::collections::BTreeMap;

use tickfold_core::action::Decision;
use tickfold_core::charge::ChargeId;
use tickfold_core::ids::{Participant, PartyId, Wamid};
use tickfold_core::mention::{Mention, Naming};
use tickfold_core::state::{
    Direction, Failure, HistoryEntry, Labels, Pricing, Reaction, Receipt, Status,
};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;

use super::{maybe, text, time, word};
use crate::query::{Charged, DecidedFor, JoinedMessage, View};

/// A message within a view.
pub(crate) fn message(message: &JoinedMessage, view: View) -> pb::Message {
    let facts = &message.facts;
    let nothing = Receipt::default();
    let whole = facts.receipts.get(&Participant::whole()).unwrap_or(&nothing);
    let participants = facts.receipts.iter().filter(|(participant, _)| !participant.is_whole());
    let direction = match facts.direction() {
        Direction::Inbound => pb::MessageDirection::Inbound,
        Direction::Outbound => pb::MessageDirection::Outbound,
    };
    let mut told = pb::Message {
        wamid: message.wamid.to_string(),
        direction: direction.into(),
        state: state(facts.state()).into(),
        state_text: facts.state().map(|status| status.as_str().to_owned()).unwrap_or_default(),
        waba_id: text(facts.waba_id.as_ref()),
        phone_number_id: text(facts.phone_number_id.as_ref()),
        list_time: Some(time(message.list_time)),
        pending_time: maybe(whole.time_of(&Status::Pending)),
        sent_time: maybe(whole.time_of(&Status::Sent)),
        delivered_time: maybe(whole.time_of(&Status::Delivered)),
        read_time: maybe(whole.time_of(&Status::Read)),
        played_time: maybe(whole.time_of(&Status::Played)),
        failed_time: maybe(whole.time_of(&Status::Failed)),
        inbound_time: maybe(whole.time_of(&Status::Received)),
        facts: status_facts(whole),
        error_code: whole.error_code(),
        errors: errors(&whole.failures, view),
        pricing: whole.pricing.as_ref().map(pricing),
        participants: participants
            .map(|(id, receipt)| participant(id, receipt, message, view))
            .collect(),
        message_type: word(facts.content().and_then(|content| content.message_type.as_ref())),
        revision: message.journal.revision,
        first_log_time: Some(time(message.journal.created)),
        last_log_time: Some(time(message.journal.changed)),
        charge: charge_of(message, &Participant::whole(), view),
        actions: actions(&message.decisions, message, view),
        alerts: alerts(&message.decisions, message, view),
        template_id: word(facts.template_id.as_ref()),
        media: media(message, view),
        forwarded: facts.content().is_some_and(|content| content.forwarded),
        echo: facts.echo.is_some(),
        standby: facts.standby,
        group: facts.group,
        content_errors: errors(
            facts.content().map(|content| &content.errors).into_iter().flatten(),
            view,
        ),
        fbtrace_ids: facts.traces.iter().cloned().collect(),
        billing_conversation: facts.billing.as_deref().map(|billing| pb::BillingConversation {
            id: word(billing.id.as_ref()),
            origin: word(billing.origin.as_ref()),
            expire_time: maybe(billing.expires),
        }),
        ..pb::Message::default()
    };
    if let Some(annotations) = facts.annotations.as_deref() {
        told.edits = changes(&annotations.edits, view);
        told.revokes = changes(&annotations.revokes, view);
        told.reactions = annotations.reactions.iter().map(|one| reaction(one, view)).collect();
    }
    if view >= View::Full {
        told.party = text(facts.parties.first());
        told.parties = facts.parties.iter().map(ToString::to_string).collect();
        told.callback_data = word(facts.callback_data.as_ref());
        told.labels = labels(&facts.labels());
        let content = facts.content();
        told.sender = text(content.and_then(|content| content.sender.as_ref()));
        told.reply_to = word(content.and_then(|content| content.reply_to.as_ref()));
        told.target_wamid = text(content.and_then(|content| content.target.as_ref()));
    }
    if view == View::History {
        told.history =
            message.history.iter().map(|(from, entry)| transition(*from, entry, view)).collect();
    }
    told
}

fn participant(
    id: &Participant,
    receipt: &Receipt,
    message: &JoinedMessage,
    view: View,
) -> pb::Participant {
    pb::Participant {
        participant: personal(id.as_str(), view),
        state: state(receipt.state()).into(),
        facts: status_facts(receipt),
        errors: errors(&receipt.failures, view),
        pricing: receipt.pricing.as_ref().map(pricing),
        charge: charge_of(message, id, view),
    }
}

/// What only the views with personal data have.
fn personal(text: &str, view: View) -> String {
    if view >= View::Full { text.to_owned() } else { String::new() }
}

/// A charge that was told.
pub(crate) fn charge(
    wamid: &Wamid,
    participant: &Participant,
    charged: &Charged,
    view: View,
) -> pb::Charge {
    let Charged { charge, sequence } = charged;
    pb::Charge {
        charge_id: ChargeId::new(wamid, participant).to_string(),
        sequence: *sequence,
        month: charge.total.month.clone(),
        category: charge.total.category.clone(),
        r#type: charge.total.kind.clone(),
        billable: charge.billable,
        country: charge.country.unwrap_or_default().to_owned(),
        conflicting: charge.conflicting,
        delivery_time: Some(time(charge.time)),
        participant: personal(participant.as_str(), view),
    }
}

fn charge_of(message: &JoinedMessage, participant: &Participant, view: View) -> Option<pb::Charge> {
    let charged = message.charges.get(participant)?;
    Some(charge(&message.wamid, participant, charged, view))
}

/// The actions among what was decided for a message.
pub(crate) fn actions(
    decided: &[DecidedFor],
    message: &JoinedMessage,
    view: View,
) -> Vec<pb::Decision> {
    let actions = decided.iter().filter_map(|one| match one.what {
        Decision::Action(kind) => Some(decision(kind.as_str(), one, message, view)),
        Decision::Alert(_) => None,
    });
    actions.collect()
}

/// The alerts among it.
pub(crate) fn alerts(
    decided: &[DecidedFor],
    message: &JoinedMessage,
    view: View,
) -> Vec<pb::Decision> {
    let alerts = decided.iter().filter_map(|one| match one.what {
        Decision::Alert(kind) => Some(decision(kind.as_str(), one, message, view)),
        Decision::Action(_) => None,
    });
    alerts.collect()
}

fn decision(kind: &str, one: &DecidedFor, message: &JoinedMessage, view: View) -> pb::Decision {
    pb::Decision {
        kind: kind.to_owned(),
        id: one.id.to_string(),
        decided_time: Some(time(one.decided.decided)),
        expired: one.decided.expired,
        superseded: message.is_superseded(one),
        participant: personal(one.participant.as_str(), view),
        source: Some(pb::SourcePosition { partition: one.partition, offset: one.decided.offset }),
    }
}

fn labels(labels: &Labels) -> Option<pb::Labels> {
    (*labels != Labels::default()).then(|| pb::Labels {
        template: word(labels.template.as_ref()),
        language: word(labels.language.as_ref()),
        campaign: word(labels.campaign.as_ref()),
        intent: word(labels.intent.as_ref()),
    })
}

fn media(message: &JoinedMessage, view: View) -> Option<pb::Media> {
    let media = message.facts.content()?.media.as_ref()?;
    Some(pb::Media {
        id: media.id.clone(),
        mime_type: word(media.mime_type.as_ref()),
        sha256: word(media.sha256.as_ref()),
        filename: personal(media.filename.as_deref().unwrap_or_default(), view),
        voice: media.voice,
        animated: media.animated,
        expire_time: maybe(message.facts.media_expires(message.media_valid_ms)),
    })
}

fn changes(changes: &BTreeMap<Wamid, Option<Timestamp>>, view: View) -> Vec<pb::MessageChange> {
    let change = |(wamid, at): (&Wamid, &Option<Timestamp>)| pb::MessageChange {
        wamid: personal(wamid.as_str(), view),
        event_time: maybe(*at),
    };
    changes.iter().map(change).collect()
}

fn reaction((party, reaction): (&PartyId, &Reaction), view: View) -> pb::MessageReaction {
    pb::MessageReaction {
        party: personal(party.as_str(), view),
        emoji: personal(reaction.emoji.as_deref().unwrap_or_default(), view),
        event_time: maybe(reaction.time),
        wamid: personal(reaction.wamid.as_str(), view),
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

fn errors<'a>(
    failures: impl IntoIterator<Item = (&'a i64, &'a Failure)>,
    view: View,
) -> Vec<pb::MessageError> {
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
    failures.into_iter().map(error).collect()
}

fn pricing(pricing: &Pricing) -> pb::Pricing {
    pb::Pricing {
        billable: pricing.billable,
        model: word(pricing.model.as_ref()),
        r#type: word(pricing.kind.as_ref()),
        category: word(pricing.category.as_ref()),
    }
}

/// A line of a history.
pub(crate) fn transition(partition: u32, entry: &HistoryEntry, view: View) -> pb::Transition {
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
        participant: personal(entry.participant.as_str(), view),
        error_code: entry.error_code,
        source: Some(pb::SourcePosition { partition, offset: entry.offset }),
        ordinal: entry.ordinal,
    }
}

/// An item that names a message.
pub(crate) fn mention(mention: &Mention, view: View) -> pb::ExplainedItem {
    let naming = match mention.naming {
        Naming::Itself => "itself",
        Naming::Changes => "changes",
        Naming::Answers => "answers",
        Naming::Beside => "beside",
        Naming::Broken => "broken",
        Naming::Elsewhere => "elsewhere",
    };
    pb::ExplainedItem {
        path: mention.path.clone(),
        word: mention.word.clone(),
        naming: naming.to_owned(),
        participant: personal(mention.participant.as_str(), view),
        event_time: maybe(mention.time),
    }
}
