//! `calls[]` and statuses of `type` `call`.

use super::identity::{Identity, Link};
use super::{
    Change, Item, MessageSide, Metadata, bounded, errors, future_time, short_id, short_text,
};
use crate::ids::{CallId, NaturalKey};
use crate::json::{Json, Object};
use crate::state::{CallFacts, Failures, Media};
use crate::time::Timestamp;

/// Something of a call.
#[derive(Debug)]
pub(crate) struct CallItem {
    pub id: CallId,
    /// What it says, in lower case: an event, or a status.
    pub word: String,
    /// It is a status.
    pub is_status: bool,
    pub time: Option<Timestamp>,
    pub metadata: Option<Metadata>,
    pub facts: CallFacts,
    pub links: Vec<Link>,
    /// When the user called, if this says so: that opens the window.
    pub user_called: Option<Option<Timestamp>>,
    pub natural_key: NaturalKey,
    /// What the button or link that led to it carried.
    pub payload: Option<String>,
}

/// Decodes an element of `calls[]`. `of_value` are the errors of a value with one call: they belong
/// to it.
pub(super) fn call(
    change: &Change<'_>,
    json: Json<'_>,
    metadata: Option<&Metadata>,
    of_value: Failures,
) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("call", "not_an_object");
    };
    let Some(id) = short_id(members.get("id")) else {
        return Change::broken("call", "id_missing_or_too_long");
    };
    let event = members.text("event").map_or_else(|| "unknown".to_owned(), |word| bounded(&word));
    let event = event.to_ascii_lowercase();
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let at = |name: &str| Timestamp::of_event(members.get(name), change.appended);
    let direction = members.get("direction").and_then(short_text);
    let direction = direction.map(|word| word.to_ascii_uppercase());
    let side = user_side(direction.as_deref(), &members, metadata);
    let user = Identity::of_message(&members, side);
    let begins = match event.as_str() {
        "connect" | "call_created" => Some(time),
        "terminate" => at("start_time").map(Some),
        _ => None,
    };
    let mut errors = errors::errors(&members, time);
    crate::state::join_failures(&mut errors, of_value);
    let facts = CallFacts {
        waba_id: Some(change.waba_id.clone()),
        phone_number_id: metadata.map(|metadata| metadata.phone_number_id.clone()),
        parties: user.parties().into_iter().collect(),
        direction,
        events: [(event.clone(), time)].into(),
        statuses: status_word(&members).map(|word| (word, time)).into_iter().collect(),
        errors,
        start: at("start_time"),
        end: at("end_time"),
        duration_s: members.get("duration").and_then(Json::integer).and_then(|s| s.try_into().ok()),
        callback_data: members.get("biz_opaque_callback_data").and_then(short_text),
        media: media(&members),
    };
    let natural_key = NaturalKey::new(format!("call:{id}:{event}"));
    Item::Call(CallItem {
        id: CallId::new(id),
        word: event,
        is_status: false,
        time,
        metadata: metadata.cloned(),
        facts,
        links: user.links(),
        user_called: begins.filter(|_| side == MessageSide::From),
        natural_key,
        payload: ["cta_payload", "deeplink_payload"]
            .into_iter()
            .find_map(|name| members.get(name).and_then(short_text)),
    })
}

/// Decodes a status of `type` `call`, its object opened already.
pub(super) fn status(
    change: &Change<'_>,
    members: &Object<'_>,
    metadata: Option<&Metadata>,
) -> Item {
    let Some(id) = short_id(members.get("id")) else {
        return Change::broken("status", "id_missing_or_too_long");
    };
    let Some(word) = status_word(members) else {
        return Change::broken("status", "status_missing_or_not_a_word");
    };
    let user = Identity::read(
        members,
        ["recipient_id", "recipient_user_id"],
        ["recipient_parent_user_id", "parent_recipient_user_id"],
    );
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let natural_key = NaturalKey::new(format!("callst:{id}:{word}"));
    Item::Call(CallItem {
        id: CallId::new(id),
        word: word.to_ascii_lowercase(),
        is_status: true,
        time,
        metadata: metadata.cloned(),
        links: user.links(),
        facts: CallFacts {
            waba_id: Some(change.waba_id.clone()),
            phone_number_id: metadata.map(|metadata| metadata.phone_number_id.clone()),
            parties: user.parties().into_iter().collect(),
            statuses: [(word, time)].into(),
            errors: errors::errors(members, time),
            callback_data: members.get("biz_opaque_callback_data").and_then(short_text),
            ..CallFacts::default()
        },
        user_called: None,
        natural_key,
        payload: None,
    })
}

/// `status` in upper case; documented once as an array, and seen in title case.
fn status_word(members: &Object<'_>) -> Option<String> {
    let status = members.get("status")?;
    let first = || status.array()?.next()?.text();
    let word = status.text().or_else(first).filter(|word| word.len() <= 64)?;
    Some(word.to_ascii_uppercase())
}

/// On which side of the call the user is. Some events name no direction and only one side.
fn user_side(
    direction: Option<&str>,
    members: &Object<'_>,
    metadata: Option<&Metadata>,
) -> MessageSide {
    match direction {
        Some("USER_INITIATED") => MessageSide::From,
        Some("BUSINESS_INITIATED") => MessageSide::To,
        Some(_) | None => {
            let ours = metadata.and_then(|metadata| metadata.display_phone_number.as_deref());
            let from = members.text("from");
            match ours.is_some() && from.as_deref() == ours {
                true => MessageSide::To,
                false => MessageSide::From,
            }
        }
    }
}

/// `call_recording.audio` and `call_transcript.document`.
fn media(members: &Object<'_>) -> std::collections::BTreeMap<String, Media> {
    let of =
        |outer: &str, inner: &str| super::content::media(&members.object(outer)?.object(inner)?);
    let recording = of("call_recording", "audio").map(|media| ("recording".to_owned(), media));
    let transcript =
        of("call_transcript", "document").map(|media| ("transcript".to_owned(), media));
    recording.into_iter().chain(transcript).collect()
}

/// `call_permission_reply` of an interactive message.
pub(super) fn permission(
    interactive: &Object<'_>,
    time: Option<Timestamp>,
) -> Option<crate::state::CallPermission> {
    let reply = interactive.object("call_permission_reply")?;
    Some(crate::state::CallPermission {
        time,
        refused: reply.text("response").as_deref() != Some("accept"),
        expires: reply.get("expiration_timestamp").and_then(future_time),
    })
}
