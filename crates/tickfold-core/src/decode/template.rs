//! The fields of templates: status, quality, category, its detection, components.
//!
//! The field name may lie (a documented quality update carries that of the status), so the shape of
//! a value decides what it is, and its natural key has the field of that shape.

use super::{Change, Details, Item, TemplateItem, bounded, future_time, short_id, short_text};
use crate::ids::{TemplateId, TemplateKey};
use crate::json::{Json, Object};
use crate::state::{
    CategoryAnnouncement, CategoryChange, CategoryDetection, ComponentsFact, Named, QualityFact,
    TemplateEventFact, TemplateFacts, quality_rank,
};

/// What a value turned out to be.
struct Form {
    /// Field whose shape it has.
    field: &'static str,
    /// What happened, in Meta's word or that of the form.
    event: String,
    /// How the natural key ends.
    key_word: String,
    facts: TemplateFacts,
    details: Details,
}

/// Decodes a value of one of the fields; one of no known shape is kept as an event.
pub(super) fn decode(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let Some(id) = short_id(members.get("message_template_id")) else {
        return change.other(value);
    };
    let form = quality(change, &members)
        .or_else(|| status(change, &members))
        .or_else(|| detection(change, &members))
        .or_else(|| category(change, &members))
        .or_else(|| components(change, &members, value));
    let Some(mut form) = form else { return change.other(value) };
    let text = |name: &str| members.get(name).and_then(short_text);
    let language = text("message_template_language").unwrap_or_default();
    if form.facts.events.is_empty() {
        let name = text("message_template_name");
        form.facts.named = name.map(|name| Named { time: change.entry_time, name });
    }
    let subject = format!("{id}/{language}");
    let natural_key = change.management_key(form.field, &subject, &form.key_word, value);
    let key = TemplateKey::new(change.waba_id.clone(), TemplateId::new(id), &language);
    Item::Template(Box::new(TemplateItem {
        key,
        event: form.event,
        time: change.entry_time,
        facts: form.facts,
        details: form.details,
        natural_key,
    }))
}

fn word(members: &Object<'_>, name: &str) -> Option<String> {
    members.text(name).map(|word| bounded(&word).to_ascii_uppercase())
}

/// `event`.
fn status(change: &Change<'_>, members: &Object<'_>) -> Option<Form> {
    let event = word(members, "event")?;
    let text = |name: &str| members.get(name).and_then(short_text);
    let inner = |object: &str, name: &str| members.object(object)?.get(name).and_then(short_text);
    let fact = TemplateEventFact {
        time: change.entry_time,
        name: text("message_template_name"),
        reason: text("reason").or_else(|| inner("rejection_info", "reason")),
        category: text("message_template_category"),
        title: inner("other_info", "title").map(|title| title.to_ascii_uppercase()),
        description: inner("other_info", "description")
            .or_else(|| inner("rejection_info", "recommendation")),
        disable_date: inner("disable_info", "disable_date"),
    };
    Some(Form {
        field: "message_template_status_update",
        key_word: event.clone(),
        details: Details {
            new_value: Some(event.clone()),
            reason: fact.reason.clone(),
            description: fact.description.clone(),
            ..Details::default()
        },
        facts: TemplateFacts { events: [(event.clone(), fact)].into(), ..Default::default() },
        event,
    })
}

/// `new_quality_score`.
fn quality(change: &Change<'_>, members: &Object<'_>) -> Option<Form> {
    let score = word(members, "new_quality_score")?;
    let previous = word(members, "previous_quality_score");
    Some(Form {
        field: "message_template_quality_update",
        event: "quality".to_owned(),
        key_word: format!("quality:{score}"),
        details: Details {
            old_value: previous.clone(),
            new_value: Some(score.clone()),
            ..Details::default()
        },
        facts: TemplateFacts {
            quality: Some(QualityFact {
                time: change.entry_time,
                rank: quality_rank(&score),
                score,
                previous,
            }),
            ..Default::default()
        },
    })
}

/// `category` beside `correct_category`: Meta found a misclassification.
fn detection(change: &Change<'_>, members: &Object<'_>) -> Option<Form> {
    let correct = word(members, "correct_category")?;
    if members.get("new_category").is_some() {
        return None;
    }
    let category = word(members, "category");
    Some(Form {
        field: "template_correct_category_detection",
        event: "category_detected".to_owned(),
        key_word: format!("detected:{correct}"),
        details: Details {
            old_value: category.clone(),
            new_value: Some(correct.clone()),
            ..Details::default()
        },
        facts: TemplateFacts {
            detection: Some(CategoryDetection { time: change.entry_time, correct, category }),
            ..Default::default()
        },
    })
}

/// `new_category` in its two opposite forms: with `correct_category` it is the present category and
/// the change is announced, without it is the new one and the change is done.
fn category(change: &Change<'_>, members: &Object<'_>) -> Option<Form> {
    let new = word(members, "new_category")?;
    let field = "template_category_update";
    let Some(coming) = word(members, "correct_category") else {
        let previous = word(members, "previous_category");
        return Some(Form {
            field,
            event: "category_changed".to_owned(),
            key_word: format!("completed:{new}"),
            details: Details {
                old_value: previous.clone(),
                new_value: Some(new.clone()),
                ..Details::default()
            },
            facts: TemplateFacts {
                category_change: Some(CategoryChange {
                    time: change.entry_time,
                    category: new,
                    previous,
                }),
                ..Default::default()
            },
        });
    };
    let effective = members.get("category_update_timestamp").and_then(future_time);
    Some(Form {
        field,
        event: "category_change_announced".to_owned(),
        key_word: format!("impending:{coming}"),
        details: Details {
            old_value: Some(new.clone()),
            new_value: Some(coming.clone()),
            effective_time: effective,
            ..Details::default()
        },
        facts: TemplateFacts {
            announcement: Some(CategoryAnnouncement {
                time: change.entry_time,
                coming,
                present: Some(new),
                effective,
            }),
            ..Default::default()
        },
    })
}

/// `message_template_element`, the body, or whatever else was edited.
fn components(change: &Change<'_>, members: &Object<'_>, value: Json<'_>) -> Option<Form> {
    const FIELD: &str = "message_template_components_update";
    let parts = ["element", "title", "footer", "buttons"];
    let edited = |part: &&str| members.get(&format!("message_template_{part}")).is_some();
    if change.field != FIELD && !parts.iter().any(edited) {
        return None;
    }
    let digest = super::digest(value);
    let digest = digest.get(..32).unwrap_or(&digest).to_owned();
    Some(Form {
        field: FIELD,
        event: "components_changed".to_owned(),
        key_word: FIELD.to_owned(),
        details: Details {
            description: members.get("message_template_element").and_then(short_text),
            ..Details::default()
        },
        facts: TemplateFacts {
            components: Some(ComponentsFact { time: change.entry_time, digest }),
            ..Default::default()
        },
    })
}
