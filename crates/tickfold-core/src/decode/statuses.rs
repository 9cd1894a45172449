//! `statuses[]`: what Meta reports of our messages. Payments and calls have machines of their own.

use super::identity::{Identity, Link};
use super::{
    Change, Item, Metadata, Origin, calls, errors, id_text, payments, short_id, short_text, traces,
};
use crate::ids::{Participant, PartyId, Wamid};
use crate::json::{Json, Object};
use crate::state::{BillingConversation, Failures, Pricing, Status};
use crate::time::Timestamp;

/// A status of a message.
#[derive(Debug)]
pub(crate) struct StatusItem {
    pub wamid: Wamid,
    pub status: Status,
    pub time: Option<Timestamp>,
    pub participant: Participant,
    pub group: bool,
    pub origin: Origin,
    /// Identifiers of the other side: the group for group messages.
    pub parties: Vec<PartyId>,
    /// What the identifiers say of each other.
    pub links: Vec<Link>,
    pub metadata: Option<Metadata>,
    pub errors: Failures,
    pub pricing: Option<Pricing>,
    pub billing: Option<BillingConversation>,
    pub callback_data: Option<String>,
    pub template_id: Option<String>,
    pub traces: Vec<String>,
}

/// Decodes an element of `statuses[]`.
pub(super) fn status(
    change: &Change<'_>,
    json: Json<'_>,
    metadata: Option<&Metadata>,
    origin: Origin,
) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("status", "not_an_object");
    };
    let kind = members.get("type").and_then(Json::text);
    match kind.as_deref() {
        Some("payment") => return payments::payment(change, &members, metadata),
        Some("call") => return calls::status(change, &members, metadata),
        Some(_) | None => {}
    }
    let Some(wamid) = short_id(members.get("id")) else {
        return Change::broken("status", "id_missing_or_too_long");
    };
    let word = members.get("status").and_then(Json::text).filter(|word| word.len() <= 64);
    let Some(word) = word else {
        return Change::broken("status", "status_missing_or_not_a_word");
    };
    // `received` is our own word for inbound messages; here it is one that we do not know.
    let mut status = Status::parse(&word);
    if status == Status::Received {
        status = Status::Other("received".to_owned());
    }
    let group = members.get("recipient_type").is_some_and(|kind| kind.raw() == "\"group\"");
    let mut recipient = Identity::read(
        &members,
        ["recipient_id", "recipient_user_id"],
        ["recipient_parent_user_id", "parent_recipient_user_id"],
    );
    // Where legacy bodies have it, sometimes only there.
    if let (None, Some(message)) = (recipient.party(), members.object("message")) {
        recipient.phone = short_id(message.get("recipient_id")).map(PartyId::new);
    }
    let participant = participant(&members);
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    Item::Status(StatusItem {
        wamid: Wamid::new(wamid),
        time,
        group,
        origin,
        parties: recipient.parties(),
        links: if group { participant.links() } else { recipient.links() },
        participant: participant
            .party()
            .map_or_else(Participant::whole, |party| Participant::new(party.as_str())),
        metadata: metadata.cloned(),
        errors: errors::errors(&members, time),
        pricing: pricing(&members, &status),
        billing: billing(&members),
        callback_data: members.get("biz_opaque_callback_data").and_then(short_text),
        template_id: id_text(members.get("template_id")),
        traces: traces::of(json),
        status,
    })
}

/// The recipient within a group. Three spellings are documented.
fn participant(members: &Object<'_>) -> Identity {
    let names = ["recipient_participant_id", "recipient_participant_user_id"];
    let mut identity = Identity::read(members, names, ["recipient_participant_parent_user_id"; 2]);
    if identity.phone.is_none() {
        let other = short_id(members.get("participant_recipient_id")).map(PartyId::new);
        identity.phone = other.filter(|id| identity.user.as_ref() != Some(id));
    }
    identity
}

/// `pricing`, at the top level or nested in `conversation` as group examples have it.
fn pricing(members: &Object<'_>, status: &Status) -> Option<Pricing> {
    let nested = || members.object("conversation")?.object("pricing");
    let pricing = members.object("pricing").or_else(nested)?;
    let kind = pricing.get("type").or_else(|| pricing.get("pricing_type"));
    let evidence = match status {
        Status::Delivered | Status::Read | Status::Played => 2,
        Status::Pending | Status::Sent | Status::Failed | Status::Received | Status::Other(_) => 1,
    };
    Some(Pricing {
        evidence,
        billable: pricing.get("billable").and_then(Json::boolean),
        model: pricing.get("pricing_model").and_then(short_text),
        kind: kind.and_then(short_text),
        category: pricing.get("category").and_then(short_text),
    })
}

/// `conversation`. Its expiry lies in the future, so it is not judged as an event time is.
fn billing(members: &Object<'_>) -> Option<BillingConversation> {
    let conversation = members.object("conversation")?;
    let origin = conversation.object("origin");
    Some(BillingConversation {
        id: id_text(conversation.get("id")),
        origin: origin.and_then(|origin| origin.get("type").and_then(short_text)),
        expires: conversation.get("expiration_timestamp").and_then(super::future_time),
    })
}
