//! Items that are events and nothing else: clicks, tracking, automatic events, contact sync,
//! handovers, chunks of the history. Each has the natural key of its family.

use super::users::seconds;
use super::{Change, Item, Metadata, OtherItem, OtherKey, bounded, errors, id_text, key_part};
use crate::ids::{NaturalKey, PartyId, Wamid};
use crate::json::{Json, Object};
use crate::time::Timestamp;

/// An element of `user_actions[]`: a click on a link in a marketing message.
pub(super) fn user_action(
    change: &Change<'_>,
    json: Json<'_>,
    metadata: Option<&Metadata>,
) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("user_action", "not_an_object");
    };
    let kind = word(&members, "action_type");
    let data = members.object(&format!("{kind}_data"));
    match data.and_then(|data| id_text(data.get("click_id"))) {
        Some(click) => {
            let key = format!("ua:{kind}:{click}");
            Item::Other(event(change, &members, metadata, kind, key))
        }
        None => unkeyed(change, json, &members, metadata, &kind),
    }
}

/// An element of `automatic_events[]`. Its id is that of the user's message.
pub(super) fn automatic(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("automatic_event", "not_an_object");
    };
    let kind = word(&members, "event_name");
    let Some(wamid) = id_text(members.get("id")) else {
        return unkeyed(change, json, &members, metadata, &kind);
    };
    let key = format!("auto:{wamid}:{kind}");
    let event = event(change, &members, metadata, kind, key);
    Item::Other(OtherItem { wamid: Some(Wamid::new(wamid)), ..event })
}

/// An element of `events[]` of `tracking_events`.
pub(super) fn tracking(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("tracking_event", "not_an_object");
    };
    let kind = word(&members, "event_name");
    let data = members.object("tracking_data");
    let Some(click) = data.and_then(|data| id_text(data.get("click_id"))) else {
        return unkeyed(change, json, &members, metadata, &kind);
    };
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let key = format!("trk:{click}:{kind}@{}", seconds(time));
    Item::Other(event(change, &members, metadata, kind, key))
}

/// An element of `state_sync[]`: a contact of the business app.
pub(super) fn contact_sync(
    change: &Change<'_>,
    json: Json<'_>,
    metadata: Option<&Metadata>,
) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("state_sync", "not_an_object");
    };
    let action = word(&members, "action");
    let contact = members.object("contact");
    let Some(phone) = contact.and_then(|contact| id_text(contact.get("phone_number"))) else {
        return unkeyed(change, json, &members, metadata, &action);
    };
    let stamp = members.object("metadata");
    let stamp = stamp.as_ref().and_then(|stamp| stamp.get("timestamp"));
    let time = Timestamp::of_event(stamp, change.appended);
    let key = format!("sync:{}:{phone}:{action}@{}", Metadata::word(metadata), seconds(time));
    Item::Other(OtherItem {
        time,
        party: Some(PartyId::new(phone)),
        metadata: metadata.cloned(),
        ..OtherItem::new(&action, OtherKey::Once(NaturalKey::new(key)))
    })
}

/// A value of `messaging_handovers`, which has no `metadata`: the number is in `recipient`.
pub(super) fn handover(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let metadata = super::metadata(members.get("recipient"));
    let sender = members.object("sender");
    let user = ["phone_number", "wa_id", "user_id"].into_iter();
    let user = user.filter_map(|name| id_text(sender.as_ref()?.get(name))).next();
    let (Some(metadata), true) = (metadata, members.get("type").is_some()) else {
        return change.other(value);
    };
    let kind = word(&members, "type");
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let key = format!(
        "hand:{}:{}:{kind}@{}",
        metadata.phone_number_id,
        key_part(user.as_deref().unwrap_or_default()),
        seconds(time)
    );
    Item::Other(OtherItem {
        time,
        party: user.map(PartyId::new),
        metadata: Some(metadata),
        ..OtherItem::new(&kind, OtherKey::Once(NaturalKey::new(key)))
    })
}

/// `metadata` of a chunk of the history.
pub(super) fn history_chunk(chunk: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let members = chunk.object();
    let part = |name: &str| members.as_ref().and_then(|members| id_text(members.get(name)));
    let word = |name: &str| part(name).unwrap_or_else(|| "-".to_owned());
    let (phase, order) = (word("phase"), word("chunk_order"));
    let key = format!("hist:{}:{phase}:{order}", Metadata::word(metadata));
    Item::Other(OtherItem {
        metadata: metadata.cloned(),
        ..OtherItem::new("history_chunk", OtherKey::Once(NaturalKey::new(key)))
    })
}

/// An error of a chunk of the history, such as sharing declined.
pub(super) fn history_error(json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let code = errors::error(json, None).map(|(code, _)| code);
    let word = code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    let key = format!("hist:{}:error:{word}", Metadata::word(metadata));
    Item::Other(OtherItem {
        error_code: code,
        metadata: metadata.cloned(),
        ..OtherItem::new("history_error", OtherKey::Once(NaturalKey::new(key)))
    })
}

/// A word that names what happened.
fn word(members: &Object<'_>, name: &str) -> String {
    members.get(name).and_then(Json::text).map_or_else(|| "unknown".to_owned(), |w| bounded(&w))
}

/// An event with its time at `timestamp`.
fn event(
    change: &Change<'_>,
    members: &Object<'_>,
    metadata: Option<&Metadata>,
    kind: String,
    key: String,
) -> OtherItem {
    OtherItem {
        time: Timestamp::of_event(members.get("timestamp"), change.appended),
        metadata: metadata.cloned(),
        ..OtherItem::new(&kind, OtherKey::Once(NaturalKey::new(key)))
    }
}

/// An element that lacks what its key is made of: told apart by its content.
fn unkeyed(
    change: &Change<'_>,
    json: Json<'_>,
    members: &Object<'_>,
    metadata: Option<&Metadata>,
    kind: &str,
) -> Item {
    let digest = super::digest(json);
    let number = Metadata::word(metadata);
    let key = format!("raw:{}/{kind}:{number}:{digest}", change.field);
    Item::Other(event(change, members, metadata, kind.to_owned(), key))
}
