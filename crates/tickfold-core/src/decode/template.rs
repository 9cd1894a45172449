//! Field `message_template_status_update`.

use super::{Change, Item, TemplateItem, bounded, short_id, short_text};
use crate::ids::{TemplateId, TemplateKey};
use crate::json::Json;
use crate::state::TemplateEventFact;

/// Decodes a value of the field. The field name may lie (a documented quality update carries it),
/// so a value of another shape is kept as an event.
pub(super) fn decode(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let id = short_id(members.get("message_template_id"));
    let (Some(event), Some(id)) = (members.text("event"), id) else {
        return change.other(value);
    };
    let text = |name: &str| members.get(name).and_then(short_text);
    let inner = |object: &str, name: &str| members.object(object)?.get(name).and_then(short_text);
    let language = text("message_template_language").unwrap_or_default();
    let event = bounded(&event).to_ascii_uppercase();
    let fact = TemplateEventFact {
        time: change.entry_time,
        name: text("message_template_name"),
        reason: text("reason").or_else(|| inner("rejection_info", "reason")),
        category: text("message_template_category"),
        title: inner("other_info", "title"),
        description: inner("other_info", "description")
            .or_else(|| inner("rejection_info", "recommendation")),
        disable_date: inner("disable_info", "disable_date"),
    };
    let natural_key = change.management_key(&format!("{id}/{language}"), &event, value);
    let key = TemplateKey::new(change.waba_id.clone(), TemplateId::new(id), &language);
    Item::Template(TemplateItem { key, event, fact, natural_key })
}
