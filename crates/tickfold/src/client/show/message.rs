//! A message as people and scripts see it.

use serde::Serialize;
use tickfold_proto::query::v1 as query;

use super::{AsOf, position, text, time};

#[derive(Serialize)]
pub(in crate::client) struct Message {
    wamid: String,
    direction: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waba_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    played_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbound_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<Pricing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<Charge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_wamid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<Media>,
    /// `echo`, `standby`, `group`, `forwarded`: whichever of them it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    marks: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_conversation: Option<BillingConversation>,
    revision: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parties: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fbtrace_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<MessageError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content_errors: Vec<MessageError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    participants: Vec<Participant>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    edits: Vec<Change>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revokes: Vec<Change>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<Reaction>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Decision>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alerts: Vec<Decision>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<Transition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

#[derive(Serialize)]
struct Pricing {
    #[serde(skip_serializing_if = "Option::is_none")]
    billable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
}

#[derive(Serialize)]
struct MessageError {
    code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_time: Option<String>,
}

#[derive(Serialize)]
struct Participant {
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    state: String,
    facts: Vec<Fact>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<MessageError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<Pricing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<Charge>,
}

#[derive(Serialize)]
struct Fact {
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
}

#[derive(Serialize)]
pub(in crate::client) struct Charge {
    charge_id: String,
    sequence: u64,
    month: String,
    category: String,
    #[serde(rename = "type")]
    kind: String,
    billable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    conflicting: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_time: Option<String>,
}

#[derive(Serialize)]
pub(in crate::client) struct Decision {
    kind: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_time: Option<String>,
    expired: bool,
    superseded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

#[derive(Serialize)]
struct Labels {
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<String>,
}

#[derive(Serialize)]
struct Media {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    animated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
}

#[derive(Serialize)]
struct BillingConversation {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
}

/// An edit or a revocation.
#[derive(Serialize)]
struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    wamid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
}

#[derive(Serialize)]
struct Reaction {
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wamid: Option<String>,
}

#[derive(Serialize)]
pub(in crate::client) struct Transition {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    to: String,
    state: String,
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

#[derive(Serialize)]
pub(in crate::client) struct Source {
    partition: u32,
    offset: u64,
}

pub(in crate::client) fn message(message: query::Message, as_of: Option<query::AsOf>) -> Message {
    let direction = match message.direction() {
        query::MessageDirection::Inbound => "inbound",
        query::MessageDirection::Outbound => "outbound",
        query::MessageDirection::Unspecified => "unspecified",
    };
    let marks = [
        ("echo", message.echo),
        ("standby", message.standby),
        ("group", message.group),
        ("forwarded", message.forwarded),
    ];
    let marks = marks.into_iter().filter_map(|(word, is)| is.then_some(word)).collect();
    Message {
        direction: direction.to_owned(),
        state: state(message.state(), &message.state_text),
        wamid: message.wamid,
        waba_id: text(message.waba_id),
        phone_number_id: text(message.phone_number_id),
        party: text(message.party),
        pending_time: time(message.pending_time),
        sent_time: time(message.sent_time),
        delivered_time: time(message.delivered_time),
        read_time: time(message.read_time),
        played_time: time(message.played_time),
        failed_time: time(message.failed_time),
        inbound_time: time(message.inbound_time),
        error_code: message.error_code,
        pricing: message.pricing.map(pricing),
        charge: message.charge.map(charge),
        labels: message.labels.map(labels),
        callback_data: text(message.callback_data),
        template_id: text(message.template_id),
        message_type: text(message.message_type),
        sender: text(message.sender),
        reply_to: text(message.reply_to),
        target_wamid: text(message.target_wamid),
        media: message.media.map(media),
        marks,
        billing_conversation: message.billing_conversation.map(|of| BillingConversation {
            id: text(of.id),
            origin: text(of.origin),
            expire_time: time(of.expire_time),
        }),
        revision: message.revision,
        // One is `party`.
        parties: if message.parties.len() > 1 { message.parties } else { Vec::new() },
        fbtrace_ids: message.fbtrace_ids,
        errors: message.errors.into_iter().map(error).collect(),
        content_errors: message.content_errors.into_iter().map(error).collect(),
        participants: message.participants.into_iter().map(participant).collect(),
        edits: message.edits.into_iter().map(change).collect(),
        revokes: message.revokes.into_iter().map(change).collect(),
        reactions: message.reactions.into_iter().map(reaction).collect(),
        actions: message.actions.into_iter().map(decision).collect(),
        alerts: message.alerts.into_iter().map(decision).collect(),
        history: message.history.into_iter().map(transition).collect(),
        as_of: as_of.map(position),
    }
}

fn error(error: query::MessageError) -> MessageError {
    MessageError {
        code: error.code,
        title: text(error.title),
        message: text(error.message),
        details: text(error.details),
        first_time: time(error.first_time),
    }
}

fn participant(participant: query::Participant) -> Participant {
    let known = participant.facts.iter().find(|fact| fact.state == participant.state);
    let word = known.map(|fact| fact.state_text.clone()).unwrap_or_default();
    let fact = |fact: query::StatusFact| Fact {
        state: state(fact.state(), &fact.state_text),
        event_time: time(fact.event_time),
    };
    Participant {
        state: state(participant.state(), &word),
        participant: text(participant.participant),
        facts: participant.facts.into_iter().map(fact).collect(),
        errors: participant.errors.into_iter().map(error).collect(),
        pricing: participant.pricing.map(pricing),
        charge: participant.charge.map(charge),
    }
}

fn pricing(pricing: query::Pricing) -> Pricing {
    Pricing {
        billable: pricing.billable,
        model: text(pricing.model),
        kind: text(pricing.r#type),
        category: text(pricing.category),
    }
}

pub(in crate::client) fn charge(charge: query::Charge) -> Charge {
    Charge {
        charge_id: charge.charge_id,
        sequence: charge.sequence,
        month: charge.month,
        category: charge.category,
        kind: charge.r#type,
        billable: charge.billable,
        country: text(charge.country),
        conflicting: charge.conflicting,
        delivery_time: time(charge.delivery_time),
    }
}

pub(in crate::client) fn decision(decision: query::Decision) -> Decision {
    Decision {
        kind: decision.kind,
        id: decision.id,
        decided_time: time(decision.decided_time),
        expired: decision.expired,
        superseded: decision.superseded,
        participant: text(decision.participant),
        source: decision.source.map(source),
    }
}

pub(in crate::client) fn source(source: query::SourcePosition) -> Source {
    Source { partition: source.partition, offset: source.offset }
}

fn labels(labels: query::Labels) -> Labels {
    Labels {
        template: text(labels.template),
        language: text(labels.language),
        campaign: text(labels.campaign),
        intent: text(labels.intent),
    }
}

fn media(media: query::Media) -> Media {
    Media {
        id: media.id,
        mime_type: text(media.mime_type),
        sha256: text(media.sha256),
        filename: text(media.filename),
        voice: media.voice,
        animated: media.animated,
        expire_time: time(media.expire_time),
    }
}

fn change(change: query::MessageChange) -> Change {
    Change { wamid: text(change.wamid), event_time: time(change.event_time) }
}

fn reaction(reaction: query::MessageReaction) -> Reaction {
    Reaction {
        party: text(reaction.party),
        emoji: text(reaction.emoji),
        event_time: time(reaction.event_time),
        wamid: text(reaction.wamid),
    }
}

pub(in crate::client) fn transition(transition: query::Transition) -> Transition {
    let from = match transition.from() {
        query::MessageState::Unspecified => None,
        from => Some(state(from, &transition.from_text)),
    };
    Transition {
        event_time: time(transition.event_time),
        from,
        to: state(transition.to(), &transition.to_text),
        state: state(transition.state(), &transition.state_text),
        late: transition.late,
        participant: text(transition.participant),
        error_code: transition.error_code,
        log_time: time(transition.log_time),
        received_time: time(transition.received_time),
        source: transition.source.map(source),
    }
}

/// The word of the topics, or Meta's own where it is new to us.
fn state(state: query::MessageState, word: &str) -> String {
    let known = match state {
        query::MessageState::Pending => "pending",
        query::MessageState::Sent => "sent",
        query::MessageState::Delivered => "delivered",
        query::MessageState::Read => "read",
        query::MessageState::Played => "played",
        query::MessageState::Failed => "failed",
        query::MessageState::Received => "received",
        query::MessageState::Unspecified => "unspecified",
        query::MessageState::Unknown if word.is_empty() => "unknown",
        query::MessageState::Unknown => word,
    };
    known.to_owned()
}

impl Message {
    /// One line: when it was first told of, what it is, and where it stands.
    pub(in crate::client) fn line(&self) -> String {
        let times = [&self.inbound_time, &self.pending_time, &self.sent_time, &self.delivered_time];
        let later = [&self.read_time, &self.played_time, &self.failed_time];
        let time = times.into_iter().chain(later).flatten().min().map_or("-", String::as_str);
        let code = self.error_code.map(|code| format!(" {code}")).unwrap_or_default();
        let party = self.party.as_deref().unwrap_or("-");
        format!("{}  {time}  {}  {party}  {}{code}\n", self.wamid, self.direction, self.state)
    }
}

impl Source {
    /// As `tail` writes it.
    pub(in crate::client) fn place(&self) -> String {
        format!("{}@{}", self.partition, self.offset)
    }
}
