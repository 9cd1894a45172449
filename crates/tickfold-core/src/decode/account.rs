//! Field `account_update`.

use super::{AccountItem, Change, Item, bounded, short_id, short_text};
use crate::json::{Json, Object};
use crate::state::AccountEventFact;
use crate::time::Timestamp;

/// Decodes a value of the field; one without an event is kept as an event of its own.
pub(super) fn decode(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let Some(event) = members.text("event") else {
        return change.other(value);
    };
    let event = bounded(&event).to_ascii_uppercase();
    let inner = |object: &str, name: &str| members.object(object)?.get(name);
    // The state is shown once as an array.
    let first = |json: Json<'_>| {
        json.array().and_then(|states| states.first().copied()).and_then(short_text)
    };
    let ban_state = inner("ban_info", "waba_ban_state")
        .and_then(|json| short_text(json).or_else(|| first(json)));
    let violation_type = inner("violation_info", "violation_type").and_then(short_text);
    let restrictions = restrictions(&members);
    let subject = short_id(members.get("phone_number")).unwrap_or_default();
    let restrictive = match event.as_str() {
        "ACCOUNT_RESTRICTION" => !restrictions.is_empty(),
        "DISABLED_UPDATE" => ban_state.as_deref() != Some("REINSTATE"),
        _ => false,
    };
    let account = short_id(inner("waba_info", "waba_id"));
    let key_subject = account.as_deref().unwrap_or(&subject);
    let natural_key = change.management_key(key_subject, &event, value);
    let fact = AccountEventFact {
        time: change.entry_time,
        restrictive,
        ban_state,
        violation_type,
        restrictions,
    };
    Item::Account(AccountItem {
        waba_id: change.waba_id.clone(),
        event,
        subject,
        fact,
        natural_key,
    })
}

/// `restriction_info[]`, in order of type. Its expiry lies in the future, so it is not judged as an
/// event time is; one that cannot be read is no expiry, which is the safe reading.
fn restrictions(members: &Object<'_>) -> Vec<(String, Option<Timestamp>)> {
    let entries = members.get("restriction_info").and_then(Json::array).unwrap_or_default();
    let restriction = |entry: Json<'_>| {
        let entry = entry.object()?;
        let expires = entry.get("expiration").and_then(super::future_time);
        Some((entry.get("restriction_type").and_then(short_text)?, expires))
    };
    let mut restrictions: Vec<_> = entries.into_iter().filter_map(restriction).collect();
    restrictions.sort();
    restrictions.dedup();
    restrictions
}
