//! Fields that are events and nothing else: flows, payment configurations, partner solutions, Meta's
//! own alerts, settings and business status. Each has its natural key and says what it is about.

use super::{Change, Details, Item, OtherItem, OtherKey, bounded, id_text, short_text};
use crate::ids::NaturalKey;
use crate::json::{Json, Object};
use crate::time::Timestamp;

/// Decodes a value of one of the fields; one of another shape is kept as an event.
pub(super) fn decode(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let item = match change.field {
        "flows" => flow(change, &members, value),
        "payment_configuration_update" => payment_configuration(change, &members, value),
        "partner_solutions" => solution(change, &members, value),
        "account_alerts" => alert(change, &members, value),
        "account_settings_update" => settings(change, &members),
        _ => status(change, &members, value),
    };
    item.unwrap_or_else(|| change.other(value))
}

fn text(members: &Object<'_>, name: &str) -> Option<String> {
    members.get(name).and_then(short_text)
}

fn event(members: &Object<'_>) -> Option<String> {
    members.text("event").map(|word| bounded(&word).to_ascii_uppercase())
}

/// `flows`: status, error rates, latency, availability, expiry of a version.
fn flow(change: &Change<'_>, members: &Object<'_>, value: Json<'_>) -> Option<Item> {
    let event = event(members)?;
    let flow = id_text(members.get("flow_id"))?;
    let alert_state = text(members, "alert_state").map(|word| word.to_ascii_uppercase());
    let key_word = alert_state.as_deref().map_or_else(|| event.clone(), |s| format!("{event}:{s}"));
    let key = change.management_key(change.field, &flow, &key_word, value);
    let details = Details {
        subject: Some(flow),
        old_value: text(members, "old_status"),
        new_value: text(members, "new_status").or(alert_state),
        description: text(members, "message").or_else(|| text(members, "warning")),
        ..Details::default()
    };
    Some(change.told(&event, key, details))
}

/// `payment_configuration_update`, which is ordered by its own time.
fn payment_configuration(
    change: &Change<'_>,
    members: &Object<'_>,
    value: Json<'_>,
) -> Option<Item> {
    let name = text(members, "configuration_name")?;
    let status = text(members, "status")?;
    let key = change.management_key(change.field, &name, &status, value);
    let details = Details {
        subject: Some(name),
        new_value: Some(status),
        reason: text(members, "provider_name"),
        ..Details::default()
    };
    let updated = Timestamp::of_event(members.get("updated_timestamp"), change.appended);
    Some(change.told_at("payment_configuration", updated.or(change.entry_time), key, details))
}

/// `partner_solutions`, of a portfolio and not of an account.
fn solution(change: &Change<'_>, members: &Object<'_>, value: Json<'_>) -> Option<Item> {
    let event = event(members)?;
    let solution = id_text(members.get("solution_id"))?;
    let key = change.management_key(change.field, &solution, &event, value);
    let details = Details {
        subject: Some(solution),
        new_value: text(members, "solution_status"),
        ..Details::default()
    };
    Some(change.told(&event, key, details))
}

/// `account_alerts`: with `alert_info`, or flat as before.
fn alert(change: &Change<'_>, members: &Object<'_>, value: Json<'_>) -> Option<Item> {
    let info = members.object("alert_info");
    let info = info.as_ref().unwrap_or(members);
    let kind = text(info, "alert_type")?;
    let status = text(info, "alert_status");
    let entity = id_text(members.get("entity_id")).unwrap_or_default();
    let key_word = format!("{kind}:{}", status.as_deref().unwrap_or("-"));
    let key = change.management_key(change.field, &entity, &key_word, value);
    let details = Details {
        subject: Some(entity).filter(|entity| !entity.is_empty()),
        new_value: status,
        severity: text(info, "alert_severity").map(|word| word.to_ascii_lowercase()),
        description: text(info, "alert_description"),
        ..Details::default()
    };
    Some(change.told(&kind, key, details))
}

/// `account_settings_update`, which has a time of its own and names the number by its id.
fn settings(change: &Change<'_>, members: &Object<'_>) -> Option<Item> {
    let kind = text(members, "type")?;
    let settings = members.object(&kind);
    let number = settings.as_ref().and_then(|of| id_text(of.get("phone_number_id")));
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let key = NaturalKey::new(format!(
        "set:{}:{kind}@{}",
        number.as_deref().unwrap_or("-"),
        super::users::seconds(time)
    ));
    let calling = settings.as_ref().and_then(|of| of.object("calling"));
    let details = Details {
        subject: number,
        new_value: calling.as_ref().and_then(|calling| text(calling, "status")),
        ..Details::default()
    };
    Some(change.told_at(&kind, time.or(change.entry_time), key, details))
}

/// `business_status_update`, of which little more than an event is known.
fn status(change: &Change<'_>, members: &Object<'_>, value: Json<'_>) -> Option<Item> {
    let event = event(members)?;
    let key = change.management_key(change.field, "", &event, value);
    Some(change.told(&event, key, Details::default()))
}

impl Change<'_> {
    /// An event of this change, at its time.
    pub(super) fn told(&self, kind: &str, key: NaturalKey, details: Details) -> Item {
        self.told_at(kind, self.entry_time, key, details)
    }

    fn told_at(
        &self,
        kind: &str,
        time: Option<Timestamp>,
        key: NaturalKey,
        details: Details,
    ) -> Item {
        Item::Other(OtherItem {
            time,
            details,
            // Of a portfolio, which is no account, though its id stands where that of one does.
            management: !matches!(self.field, "partner_solutions" | "account_update"),
            ..OtherItem::new(kind, OtherKey::Once(key))
        })
    }
}
