//! Templates: the latest event per kind, journal.

use tickfold_core::state::{Template, TemplateEventFact, TemplateFacts};
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist, from_journal, from_ms, rising_map, to_journal, to_ms};

impl Persist for Template {
    type Record = proto::Template;

    fn to_record(&self) -> proto::Template {
        proto::Template {
            events: self.facts.events.iter().map(to_event).collect(),
            journal: to_journal(self.journal),
        }
    }

    fn from_record(record: proto::Template) -> Result<Self, Damage> {
        let events = rising_map(record.events.into_iter().map(from_event), "template events")?;
        Ok(Self { facts: TemplateFacts { events }, journal: from_journal(record.journal)? })
    }
}

fn to_event((event, fact): (&String, &TemplateEventFact)) -> proto::TemplateEvent {
    proto::TemplateEvent {
        event: event.clone(),
        time_ms: to_ms(fact.time),
        name: fact.name.clone(),
        reason: fact.reason.clone(),
        category: fact.category.clone(),
        title: fact.title.clone(),
        description: fact.description.clone(),
        disable_date: fact.disable_date.clone(),
    }
}

fn from_event(event: proto::TemplateEvent) -> Result<(String, TemplateEventFact), Damage> {
    let fact = TemplateEventFact {
        time: from_ms(event.time_ms),
        name: event.name,
        reason: event.reason,
        category: event.category,
        title: event.title,
        description: event.description,
        disable_date: event.disable_date,
    };
    Ok((event.event, fact))
}
