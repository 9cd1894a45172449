//! Field `messages`: statuses, inbound messages, value-level errors and user actions.

use std::ops::ControlFlow;

use super::{
    Change, InboundItem, Item, Metadata, OtherItem, OtherKey, StatusError, StatusItem, Visit,
    bounded, metadata, short_id, short_text,
};
use crate::ids::{NaturalKey, Participant, PartyId, Wamid};
use crate::json::{Json, Object, without_whitespace};
use crate::state::{Pricing, Status};
use crate::time::Timestamp;

/// Decodes a value of the field, array by array and item by item. A value with something else in
/// it and no item, such as one that belongs to another field, is kept as an event.
pub(super) fn decode<'a>(
    change: &Change<'_>,
    value: Json<'a>,
    visit: &mut Visit<'_, 'a>,
) -> ControlFlow<()> {
    let Some(members) = value.object() else {
        let broken = Change::broken("messages", "value_is_not_an_object");
        return visit(change.item(value, broken));
    };
    let metadata = metadata(members.get("metadata"));
    let metadata = metadata.as_ref();
    for name in ITEM_ARRAYS {
        let Some(array) = members.get(name) else { continue };
        let path = format!("{}.value.{name}", change.path);
        let Some(elements) = array.array() else {
            visit(change.at(path, array, Change::broken(name, "not_an_array")))?;
            continue;
        };
        for (index, json) in elements.into_iter().enumerate() {
            let item = match name {
                "messages" => inbound(change, json, metadata),
                "statuses" => status(change, json, metadata),
                "errors" => value_error(change, json, metadata),
                _ => plain(change, json, metadata, "user_action"),
            };
            visit(change.at(format!("{path}[{index}]"), json, item))?;
        }
    }
    let known = |name: &&str| ITEM_ARRAYS.contains(name) || BESIDE_ITEMS.contains(name);
    let unknown = members.names().any(|name| !known(&name) && members.get(name).is_some());
    let items = ITEM_ARRAYS.iter().any(|name| members.get(name).is_some());
    if unknown && !items {
        visit(change.item(value, change.other(value)))?;
    }
    ControlFlow::Continue(())
}

/// Arrays of items in a value, in the order in which they are folded.
const ITEM_ARRAYS: [&str; 4] = ["messages", "statuses", "errors", "user_actions"];

/// Members that say nothing by themselves.
const BESIDE_ITEMS: [&str; 3] = ["messaging_product", "metadata", "contacts"];

fn inbound(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("message", "not_an_object");
    };
    let Some(wamid) = short_id(members.get("id")) else {
        return Change::broken("message", "id_missing_or_too_long");
    };
    let group = short_id(members.get("group_id"));
    let parties = match &group {
        Some(group) => vec![PartyId::new(group)],
        None => parties(&members, ["from", "from_user_id"]),
    };
    let message_type = members.get("type").and_then(|json| json.text());
    Item::Inbound(InboundItem {
        wamid: Wamid::new(wamid),
        time: Timestamp::of_event(members.get("timestamp"), change.appended),
        group: group.is_some(),
        parties,
        metadata: metadata.cloned(),
        message_type: message_type.map_or_else(|| "unknown".to_owned(), |text| bounded(&text)),
        reply_to: members.object("context").and_then(|context| short_id(context.get("id"))),
        text: customer_text(&members).map(|text| bounded(&text)),
    })
}

/// What the customer wrote or chose, where the type has one obvious text.
fn customer_text(message: &Object<'_>) -> Option<String> {
    let inner = |object: &str, name: &str| message.object(object)?.text(name);
    let reply = |name: &str| message.object("interactive")?.object(name)?.text("title");
    inner("text", "body")
        .or_else(|| inner("button", "text"))
        .or_else(|| inner("reaction", "emoji"))
        .or_else(|| reply("button_reply"))
        .or_else(|| reply("list_reply"))
        .or_else(|| {
            ["image", "video", "document"].into_iter().find_map(|kind| inner(kind, "caption"))
        })
}

fn status(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("status", "not_an_object");
    };
    // Order payments and calls have machines of their own.
    if let Some(kind) = members.text("type")
        && (kind == "payment" || kind == "call")
    {
        return plain(change, json, metadata, &format!("{kind}_status"));
    }
    let Some(wamid) = short_id(members.get("id")) else {
        return Change::broken("status", "id_missing_or_too_long");
    };
    let Some(status) = members.text("status").filter(|word| word.len() <= 64) else {
        return Change::broken("status", "status_missing_or_not_a_word");
    };
    // `received` is our own word for inbound messages; here it is one that we do not know.
    let status = match status.eq_ignore_ascii_case("received") {
        true => Status::Other("received".to_owned()),
        false => Status::parse(&status),
    };
    let group = members.text("recipient_type").is_some_and(|kind| kind == "group");
    // Three spellings of the participant are documented.
    let participant =
        ["recipient_participant_id", "participant_recipient_id", "recipient_participant_user_id"];
    let participant = participant.into_iter().find_map(|name| short_id(members.get(name)));
    Item::Status(StatusItem {
        wamid: Wamid::new(wamid),
        time: Timestamp::of_event(members.get("timestamp"), change.appended),
        participant: participant.map_or_else(Participant::whole, Participant::new),
        group,
        parties: parties(&members, ["recipient_id", "recipient_user_id"]),
        metadata: metadata.cloned(),
        errors: errors(&members),
        pricing: pricing(&members, &status),
        callback_data: members.get("biz_opaque_callback_data").and_then(short_text),
        status,
    })
}

/// The identifiers that are there: phone keys are left out or empty for users with a username.
fn parties(members: &Object<'_>, names: [&str; 2]) -> Vec<PartyId> {
    names.into_iter().filter_map(|name| short_id(members.get(name))).map(PartyId::new).collect()
}

/// `errors[]` in its shapes: code as number or text, details inside `error_data`, as `error_data`
/// itself, or beside the code. Entries without a code are left to raw.
fn errors(members: &Object<'_>) -> Vec<StatusError> {
    let entries = members.get("errors").and_then(Json::array).unwrap_or_default();
    let error = |entry: Json<'_>| {
        let entry = entry.object()?;
        let data = entry.get("error_data");
        let inner = data.and_then(Json::object).and_then(|data| data.get("details"));
        let details = inner.or_else(|| entry.get("details")).or(data);
        Some(StatusError {
            code: entry.get("code")?.integer()?,
            title: entry.get("title").and_then(short_text),
            message: entry.get("message").and_then(short_text),
            details: details.and_then(short_text),
        })
    };
    entries.into_iter().filter_map(error).collect()
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

/// An element kept whole.
fn plain(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>, kind: &str) -> Item {
    let digest = crate::hash::sha256_hex(without_whitespace(json.raw()).as_bytes());
    let number = metadata.map_or("-", |metadata| metadata.phone_number_id.as_str());
    let key = NaturalKey::new(format!("raw:messages/{kind}:{number}:{digest}"));
    other(change, json, metadata, kind, OtherKey::Once(key))
}

/// An error of the value as a whole. It names no message and has no time, so two that look alike
/// are two: 131035, content lost, may come again.
fn value_error(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let code = json.object().and_then(|error| error.get("code")?.integer());
    let code = code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    let number = metadata.map_or("-", |metadata| metadata.phone_number_id.as_str());
    let key = NaturalKey::new(format!("verr:{number}:{code}"));
    other(change, json, metadata, "error", OtherKey::Each(key))
}

fn other(
    change: &Change<'_>,
    json: Json<'_>,
    metadata: Option<&Metadata>,
    kind: &str,
    key: OtherKey,
) -> Item {
    let time = json.object().and_then(|members| members.get("timestamp"));
    Item::Other(OtherItem {
        kind: kind.to_owned(),
        time: Timestamp::of_event(time, change.appended),
        key,
        metadata: metadata.cloned(),
    })
}
