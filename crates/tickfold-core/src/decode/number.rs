//! The fields of a number: quality, name, security, username. They name it only as it is displayed.

use super::{Change, Details, Item, NumberItem, bounded, short_text};
use crate::json::{Json, Object};
use crate::state::{LimitFact, NameDecision, SecurityFact, Standing, UsernameFact, digits_of};

/// What a value says of a number.
struct Said {
    event: String,
    standing: Standing,
    details: Details,
}

/// Decodes a value of one of the fields; one of another shape is kept as an event.
pub(super) fn decode(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let said = match change.field {
        "phone_number_quality_update" => quality(change, &members),
        "phone_number_name_update" => name(change, &members),
        "security" => security(change, &members),
        _ => username(change, &members),
    };
    let display = members.get("display_phone_number").and_then(short_text).unwrap_or_default();
    let (Some(Said { event, standing, mut details }), false) =
        (said, digits_of(&display).is_empty())
    else {
        return change.other(value);
    };
    let natural_key = change.management_key(change.field, &display, &event, value);
    details.display_phone_number = Some(display.clone());
    Item::Number(Box::new(NumberItem {
        waba_id: change.waba_id.clone(),
        digits: digits_of(&display),
        event,
        time: change.entry_time,
        standing,
        details,
        natural_key,
    }))
}

fn quality(change: &Change<'_>, members: &Object<'_>) -> Option<Said> {
    let event = bounded(&members.text("event")?).to_ascii_uppercase();
    let text = |name: &str| members.get(name).and_then(short_text);
    let limit = text("max_daily_conversations_per_business").or_else(|| text("current_limit"));
    let old_limit = text("old_limit");
    let details =
        Details { old_value: old_limit.clone(), new_value: limit.clone(), ..Details::default() };
    let fact = LimitFact { time: change.entry_time, limit, old_limit };
    let standing = Standing { quality: [(event.clone(), fact)].into(), ..Standing::default() };
    Some(Said { event, standing, details })
}

fn name(change: &Change<'_>, members: &Object<'_>) -> Option<Said> {
    let decision = bounded(&members.text("decision")?).to_ascii_uppercase();
    let text = |name: &str| members.get(name).and_then(short_text);
    let fact = NameDecision {
        time: change.entry_time,
        refused: decision != "APPROVED",
        decision: decision.clone(),
        requested_name: text("requested_verified_name"),
        rejection_reason: text("rejection_reason"),
    };
    let details = Details {
        new_value: fact.requested_name.clone(),
        reason: fact.rejection_reason.clone(),
        ..Details::default()
    };
    let standing = Standing { name: Some(fact), ..Standing::default() };
    Some(Said { event: decision, standing, details })
}

fn security(change: &Change<'_>, members: &Object<'_>) -> Option<Said> {
    let event = bounded(&members.text("event")?).to_ascii_uppercase();
    let requester = members.get("requester").and_then(short_text);
    let fact = SecurityFact { time: change.entry_time, requester: requester.clone() };
    let standing = Standing { security: [(event.clone(), fact)].into(), ..Standing::default() };
    Some(Said { event, standing, details: Details { requester, ..Details::default() } })
}

fn username(change: &Change<'_>, members: &Object<'_>) -> Option<Said> {
    let status = bounded(&members.text("status")?).to_ascii_lowercase();
    let username = members.get("username").and_then(short_text);
    let fact = UsernameFact {
        time: change.entry_time,
        status: status.clone(),
        username: username.clone(),
    };
    let standing = Standing { username: Some(fact), ..Standing::default() };
    let details = Details { new_value: username, ..Details::default() };
    Some(Said { event: status, standing, details })
}
