//! A template: the latest event per kind, and the status that follows from them.

use std::collections::BTreeMap;

use super::Journal;
use crate::time::Timestamp;

/// A template: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What is known, in whatever order it came.
    pub facts: TemplateFacts,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateFacts {
    /// The latest of each event (`APPROVED`, `PAUSED` …, upper case).
    pub events: BTreeMap<String, TemplateEventFact>,
}

/// One template event. Ordered by time, then by content: the greatest is the latest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TemplateEventFact {
    /// `entry.time`; unknown is before every known time.
    pub time: Option<Timestamp>,
    /// `message_template_name`.
    pub name: Option<String>,
    /// `reason`.
    pub reason: Option<String>,
    /// `message_template_category`.
    pub category: Option<String>,
    /// `other_info.title`, such as `FIRST_PAUSE`.
    pub title: Option<String>,
    /// `other_info.description`, or the rejection's recommendation.
    pub description: Option<String>,
    /// `disable_info.disable_date`, as text.
    pub disable_date: Option<String>,
}

impl TemplateFacts {
    /// Learns everything the other knows.
    pub fn join(&mut self, other: Self) {
        for (event, theirs) in other.events {
            let mine = self.events.entry(event).or_default();
            if theirs > *mine {
                *mine = theirs;
            }
        }
    }

    /// The shown status: the latest event, of equal times the more restrictive. `DISABLED` stays
    /// until a later `REINSTATED` or `APPROVED`, whatever else comes, but deletion.
    pub fn status(&self) -> Option<(&str, &TemplateEventFact)> {
        let disabled = self.events.get("DISABLED").map(|fact| fact.time);
        let sticks = disabled.is_some_and(|since| {
            let lifts =
                ["REINSTATED", "APPROVED"].iter().filter_map(|event| self.events.get(*event));
            !lifts.into_iter().any(|fact| fact.time > since)
        });
        let counts = |event: &str| match event {
            "DISABLED" | "DELETED" | "PENDING_DELETION" => true,
            _ => !sticks,
        };
        self.events
            .iter()
            .filter(|(event, _)| counts(event))
            .max_by_key(|(event, fact)| (fact.time, restrictiveness(event), *event))
            .map(|(event, fact)| (event.as_str(), fact))
    }

    /// The name that came with the latest event that has one.
    pub fn name(&self) -> Option<&str> {
        self.latest(|fact| fact.name.as_deref())
    }

    /// The category that came with the latest event that has one.
    pub fn category(&self) -> Option<&str> {
        self.latest(|fact| fact.category.as_deref())
    }

    fn latest<'a>(
        &'a self,
        get: impl Fn(&'a TemplateEventFact) -> Option<&'a str>,
    ) -> Option<&'a str> {
        let known = self.events.values().filter_map(|fact| Some((fact.time, get(fact)?)));
        known.max().map(|(_, text)| text)
    }
}

/// How much an event forbids, to break ties of time. Unknown words forbid least: they must not
/// hide a known one.
fn restrictiveness(event: &str) -> u8 {
    match event {
        "DELETED" => 9,
        "DISABLED" => 8,
        "PENDING_DELETION" => 7,
        "REJECTED" | "LIMIT_EXCEEDED" => 6,
        "PAUSED" | "LOCKED" => 5,
        "ARCHIVED" => 4,
        "FLAGGED" | "IN_APPEAL" | "PENDING" => 3,
        "APPROVED" | "REINSTATED" | "UNARCHIVED" => 2,
        _ => 1,
    }
}
