//! `messages[]` and `message_echoes[]`: messages of customers, and ours that the business app sent.

use super::content::{Said, said};
use super::errors;
use super::identity::{Identity, Link, became};
use super::{
    Change, Item, MessageSide, Metadata, Origin, bounded, calls, id_text, short_id, short_text,
    traces,
};
use crate::ids::{PartyId, Wamid};
use crate::json::{Json, Object};
use crate::state::{CallPermission, Direction, Failures, Referral, Relation, Status};
use crate::time::Timestamp;

/// A message that itself came to us.
#[derive(Debug)]
pub(crate) struct MessageItem {
    pub wamid: Wamid,
    pub time: Option<Timestamp>,
    pub direction: Direction,
    pub origin: Origin,
    pub group: bool,
    /// Identifiers of the other side: the group for group messages.
    pub parties: Vec<PartyId>,
    /// Who wrote it, where that is not the other side.
    pub sender: Option<PartyId>,
    /// What the identifiers say of each other.
    pub links: Vec<Link>,
    pub metadata: Option<Metadata>,
    /// `type`, or `unknown`.
    pub message_type: String,
    pub reply_to: Option<String>,
    pub forwarded: bool,
    pub said: Box<Said>,
    pub referral: Option<Referral>,
    pub call_permission: Option<CallPermission>,
    pub errors: Failures,
    /// Of the history: what its status was then.
    pub past_status: Option<Status>,
    pub traces: Vec<String>,
}

/// The thread of a message in the history: whose it is.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) user: Identity,
}

/// How to read a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) metadata: Option<&'a Metadata>,
    pub(super) origin: Origin,
    /// `None` where the message itself has to tell.
    pub(super) direction: Option<Direction>,
    pub(super) thread: Option<&'a Thread>,
}

/// Decodes a message.
pub(super) fn message(change: &Change<'_>, json: Json<'_>, reading: Reading<'_>) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("message", "not_an_object");
    };
    let Some(wamid) = short_id(members.get("id")) else {
        return Change::broken("message", "id_missing_or_too_long");
    };
    let Reading { metadata, origin, direction, thread } = reading;
    let direction = direction.unwrap_or_else(|| direction_of(&members, metadata));
    // What an agent sent stands in an object of its own.
    let inner = if members.get("type").is_none() { members.object("message") } else { None };
    let body = inner.as_ref().unwrap_or(&members);
    let (side, other) = match direction {
        Direction::Inbound => (MessageSide::From, &members),
        Direction::Outbound => (MessageSide::To, body),
    };
    let mut user = Identity::of_message(other, side);
    if let (None, Some(thread)) = (user.party(), thread) {
        let Identity { phone, user: id, parent } = &thread.user;
        user = Identity { phone: phone.clone(), user: id.clone(), parent: parent.clone() };
    }
    let group = short_id(members.get("group_id"));
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let word = body.get("type").and_then(Json::text);
    let message_type = word.map_or_else(|| "unknown".to_owned(), |word| bounded(&word));
    let mut links = user.links();
    links.extend(thread.map(|thread| thread.user.links()).unwrap_or_default());
    if direction == Direction::Inbound {
        taught(&members, &message_type, &user, &mut links);
    }
    let context = body.object("context");
    let in_context = |name: &str| context.as_ref()?.get(name);
    let flag = |name: &str| in_context(name).and_then(Json::boolean) == Some(true);
    let past = members.object("history_context");
    let past = past.and_then(|past| past.text("status")).filter(|word| word.len() <= 64);
    Item::Message(MessageItem {
        wamid: Wamid::new(wamid),
        time,
        direction,
        origin,
        sender: group.as_ref().and_then(|_| user.party().cloned()),
        parties: group.as_ref().map_or_else(|| user.parties(), |id| vec![PartyId::from(&**id)]),
        group: group.is_some(),
        links,
        metadata: metadata.cloned(),
        reply_to: id_text(in_context("id")),
        forwarded: flag("forwarded") || flag("frequently_forwarded"),
        said: Box::new(said(body)),
        referral: referral(&members, time),
        call_permission: body
            .object("interactive")
            .and_then(|interactive| calls::permission(&interactive, time)),
        errors: errors::errors(&members, time),
        past_status: past.map(|word| Status::parse(&word)),
        traces: traces::of(json),
        message_type,
    })
}

/// Which way a message of the history went: ours name a recipient, or our own number as sender.
fn direction_of(members: &Object<'_>, metadata: Option<&Metadata>) -> Direction {
    let ours = metadata.and_then(|metadata| metadata.display_phone_number.as_deref());
    let from = members.text("from");
    let sent = members.get("to").is_some() || members.get("to_user_id").is_some();
    match sent || (from.is_some() && from.as_deref() == ours) {
        true => Direction::Outbound,
        false => Direction::Inbound,
    }
}

/// What the message itself teaches about who its user is.
fn taught(members: &Object<'_>, message_type: &str, user: &Identity, links: &mut Vec<Link>) {
    match message_type {
        "system" => {
            let Some(system) = members.object("system") else { return };
            let id = |name: &str| short_id(system.get(name)).map(PartyId::new);
            let phone = id("wa_id").or_else(|| id("new_wa_id"));
            let now = Identity { phone, user: id("user_id"), parent: id("parent_user_id") };
            links.extend(now.links());
            links.extend(became(user.phone.clone(), now.phone));
            links.extend(became(user.user.clone(), now.user));
            links.extend(became(user.parent.clone(), now.parent));
        }
        "contacts" => {
            let Some(from) = user.user.as_ref().or(user.phone.as_ref()) else { return };
            let cards = members.get("contacts").and_then(Json::array).unwrap_or_default();
            let requested =
                |members: &Object<'_>| members.text("origin").as_deref() == Some("contact_request");
            let on_message = requested(members);
            for card in cards.filter_map(Json::object) {
                // Any other card is of somebody else and must not link identities.
                if !(on_message || requested(&card)) {
                    continue;
                }
                let phones = card.get("phones").and_then(Json::array).unwrap_or_default();
                for to in phones.filter_map(phone) {
                    if to != *from {
                        links.push(Link { from: from.clone(), to, relation: Relation::Same });
                    }
                }
            }
        }
        _ => {}
    }
}

/// A phone number of a contact card: `wa_id`, else `phone` without what people put between digits.
/// It is known to be a phone number here, so this cannot mangle a user id.
fn phone(json: Json<'_>) -> Option<PartyId> {
    let members = json.object()?;
    if let Some(id) = short_id(members.get("wa_id")) {
        return Some(PartyId::new(id));
    }
    let written = members.text("phone").filter(|phone| phone.len() <= 64)?;
    let between = |c: &char| !matches!(c, '+' | '-' | '(' | ')' | '.' | '/') && !c.is_whitespace();
    let digits: String = written.chars().filter(between).collect();
    let is_phone = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_phone.then(|| PartyId::new(digits))
}

/// `referral`: the advert or post the customer came from.
fn referral(members: &Object<'_>, time: Option<Timestamp>) -> Option<Referral> {
    let referral = members.object("referral")?;
    let text = |name: &str| referral.get(name).and_then(short_text);
    Some(Referral {
        time,
        source_type: text("source_type"),
        source_id: text("source_id"),
        ctwa_clid: text("ctwa_clid"),
    })
}
