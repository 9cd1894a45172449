//! Templates: the latest event per kind, quality, category, journal.

use tickfold_core::state::{
    CategoryAnnouncement, CategoryChange, CategoryDetection, ComponentsFact, Named, QualityFact,
    Template, TemplateEventFact, TemplateFacts, quality_rank,
};
use tickfold_proto::store::v1 as proto;

use super::standing::{from_told, to_told};
use super::{Damage, Persist, from_journal, from_ms, rising_map, to_journal, to_ms};

impl Persist for Template {
    type Record = proto::Template;

    fn to_record(&self) -> proto::Template {
        let facts = &self.facts;
        proto::Template {
            events: facts.events.iter().map(to_event).collect(),
            journal: to_journal(self.journal),
            quality: facts.quality.as_ref().map(|quality| proto::TemplateQuality {
                time_ms: to_ms(quality.time),
                score: quality.score.clone(),
                previous: quality.previous.clone(),
            }),
            category_change: facts.category_change.as_ref().map(|fact| proto::TemplateCategory {
                time_ms: to_ms(fact.time),
                category: fact.category.clone(),
                other: fact.previous.clone(),
                effective_ms: None,
            }),
            announcement: facts.announcement.as_ref().map(|fact| proto::TemplateCategory {
                time_ms: to_ms(fact.time),
                category: fact.coming.clone(),
                other: fact.present.clone(),
                effective_ms: to_ms(fact.effective),
            }),
            detection: facts.detection.as_ref().map(|fact| proto::TemplateCategory {
                time_ms: to_ms(fact.time),
                category: fact.correct.clone(),
                other: fact.category.clone(),
                effective_ms: None,
            }),
            components: facts.components.as_ref().map(|edit| proto::TemplateComponents {
                time_ms: to_ms(edit.time),
                digest: edit.digest.clone(),
            }),
            named: facts.named.as_ref().map(|named| proto::TemplateName {
                time_ms: to_ms(named.time),
                name: named.name.clone(),
            }),
            told: to_told(&self.told),
        }
    }

    fn from_record(record: proto::Template) -> Result<Self, Damage> {
        let events = rising_map(record.events.into_iter().map(from_event), "template events")?;
        let facts = TemplateFacts {
            events,
            // How bad a score is follows from it.
            quality: record.quality.map(|quality| QualityFact {
                time: from_ms(quality.time_ms),
                rank: quality_rank(&quality.score),
                score: quality.score,
                previous: quality.previous,
            }),
            category_change: record.category_change.map(|fact| CategoryChange {
                time: from_ms(fact.time_ms),
                category: fact.category,
                previous: fact.other,
            }),
            announcement: record.announcement.map(|fact| CategoryAnnouncement {
                time: from_ms(fact.time_ms),
                coming: fact.category,
                present: fact.other,
                effective: from_ms(fact.effective_ms),
            }),
            detection: record.detection.map(|fact| CategoryDetection {
                time: from_ms(fact.time_ms),
                correct: fact.category,
                category: fact.other,
            }),
            components: record
                .components
                .map(|edit| ComponentsFact { time: from_ms(edit.time_ms), digest: edit.digest }),
            named: record
                .named
                .map(|named| Named { time: from_ms(named.time_ms), name: named.name }),
        };
        Ok(Self { facts, told: from_told(record.told)?, journal: from_journal(record.journal)? })
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
