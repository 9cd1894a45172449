//! A template: the latest event per kind, its quality and category, and the status that follows.

use std::collections::BTreeMap;

use super::group::learn_latest;
use super::{Journal, Told, learn_max};
use crate::time::{HOUR_MS, Timestamp};

/// A template: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What is known, in whatever order it came.
    pub facts: TemplateFacts,
    /// Journal: what was told of it last.
    pub told: Told,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateFacts {
    /// The latest of each event (`APPROVED`, `PAUSED` …, upper case).
    pub events: BTreeMap<String, TemplateEventFact>,
    /// The latest quality.
    pub quality: Option<QualityFact>,
    /// The latest category change that is done.
    pub category_change: Option<CategoryChange>,
    /// The latest category change that was announced.
    pub announcement: Option<CategoryAnnouncement>,
    /// The latest category that Meta found to be the right one.
    pub detection: Option<CategoryDetection>,
    /// The latest edit of its components.
    pub components: Option<ComponentsFact>,
    /// The name that came with anything but a status event last.
    pub named: Option<Named>,
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

/// A quality. Ordered by time; of equal times the worse counts, then content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct QualityFact {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// How bad it is: see [`quality_rank`].
    pub rank: u8,
    /// `new_quality_score`, upper case.
    pub score: String,
    /// `previous_quality_score`, upper case.
    pub previous: Option<String>,
}

/// A category change that is done. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CategoryChange {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `new_category`.
    pub category: String,
    /// `previous_category`.
    pub previous: Option<String>,
}

/// A category change that Meta announced a day ahead. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CategoryAnnouncement {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `correct_category`: the one that comes.
    pub coming: String,
    /// `new_category`, which is the present one here.
    pub present: Option<String>,
    /// `category_update_timestamp`.
    pub effective: Option<Timestamp>,
}

/// A misclassification that Meta found. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CategoryDetection {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `correct_category`.
    pub correct: String,
    /// `category`.
    pub category: Option<String>,
}

/// An edit of the components. Ordered by time, then by content. The text is in the event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ComponentsFact {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// Digest of the value, which tells one edit from another.
    pub digest: String,
}

/// A name with when it was seen. Ordered by time, then by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Named {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `message_template_name`.
    pub name: String,
}

/// Kinds of events kept. Meta has about fifteen.
const EVENTS_MAX: usize = 64;

/// The status events that we know, and the only ones that are not told as new words.
pub(crate) const TEMPLATE_EVENTS: [&str; 14] = [
    "APPROVED",
    "REJECTED",
    "PENDING",
    "PAUSED",
    "DISABLED",
    "FLAGGED",
    "IN_APPEAL",
    "REINSTATED",
    "PENDING_DELETION",
    "DELETED",
    "ARCHIVED",
    "UNARCHIVED",
    "LIMIT_EXCEEDED",
    "LOCKED",
];

/// What is shown after a pause that ended by itself, and nothing else is known.
const AFTER_PAUSE: &str = "APPROVED";

impl TemplateFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { events, quality, category_change, announcement, detection, components, named } =
            other;
        let mut learned = learn_max(&mut self.quality, quality)
            | learn_max(&mut self.category_change, category_change)
            | learn_max(&mut self.announcement, announcement)
            | learn_max(&mut self.detection, detection)
            | learn_max(&mut self.components, components)
            | learn_max(&mut self.named, named);
        for (event, fact) in events {
            learned |= learn_latest(&mut self.events, event, fact, EVENTS_MAX);
        }
        learned
    }

    /// The shown status at a log time: the latest event, of equal times the more restrictive.
    /// `DISABLED` stays until a later `REINSTATED` or `APPROVED`, whatever else comes, but deletion.
    /// A pause with an end ends without a webhook.
    pub fn status(&self, log_time: Timestamp) -> Option<&str> {
        let over = self.pause_ends().is_some_and(|end| end <= log_time);
        let shown = self.latest_event(|event| !(over && event == "PAUSED")).map(|(event, _)| event);
        shown.or_else(|| over.then_some(AFTER_PAUSE))
    }

    /// The event of the shown status; none after a pause that ended with nothing else known.
    pub fn status_fact(&self, log_time: Timestamp) -> Option<&TemplateEventFact> {
        self.events.get(self.status(log_time)?)
    }

    fn latest_event(&self, counts: impl Fn(&str) -> bool) -> Option<(&str, &TemplateEventFact)> {
        let sticks = self.stands("DISABLED");
        let counts = |event: &str| match event {
            "DISABLED" | "DELETED" | "PENDING_DELETION" => true,
            _ => !sticks && counts(event),
        };
        self.events
            .iter()
            .filter(|(event, _)| counts(event))
            .max_by_key(|(event, fact)| (fact.time, restrictiveness(event), *event))
            .map(|(event, fact)| (event.as_str(), fact))
    }

    /// It was stopped by this event, and nothing later lifts it.
    fn stands(&self, stop: &str) -> bool {
        let lifting: &[&str] = match stop {
            "PAUSED" => &["REINSTATED", "APPROVED", "UNARCHIVED"],
            _ => &["REINSTATED", "APPROVED"],
        };
        self.events.get(stop).is_some_and(|stopped| {
            let mut lifting = lifting.iter().filter_map(|event| self.events.get(*event));
            !lifting.any(|fact| fact.time > stopped.time)
        })
    }

    /// What stops its use: it was disabled, or paused and that is not over. A later word that lifts
    /// nothing, such as a flag or an appeal, is shown and leaves the stop as it is, whichever came first.
    pub(crate) fn stop(&self, log_time: Timestamp) -> Option<&'static str> {
        let over = self.pause_ends().is_some_and(|end| end <= log_time);
        match () {
            () if self.stands("DISABLED") => Some("DISABLED"),
            () if self.stands("PAUSED") && !over => Some("PAUSED"),
            () => None,
        }
    }

    /// When the latest pause ends by itself; `None` for one that has to be ended.
    pub fn pause_ends(&self) -> Option<Timestamp> {
        let paused = self.events.get("PAUSED")?;
        let hours = match paused.title.as_deref()? {
            "FIRST_PAUSE" => 3,
            "SECOND_PAUSE" => 6,
            _ => return None,
        };
        Some(paused.time?.plus(hours * HOUR_MS))
    }

    /// It may be used again where its use was stopped. Words of reviews, archives and deletion say nothing
    /// of that, and a flag nothing of a pause that is not over; what lifted the stop before them does.
    pub(crate) fn allows_sending(&self, log_time: Timestamp) -> bool {
        match self.status(log_time) {
            Some("APPROVED" | "REINSTATED" | "UNARCHIVED") => true,
            None | Some("DELETED" | "PENDING_DELETION") => false,
            Some("FLAGGED") if self.pause_ends().is_some_and(|end| end <= log_time) => true,
            Some(_) => !self.stands("PAUSED") && !self.stands("DISABLED"),
        }
    }

    /// When the shown status or what may be sent changes by itself next.
    pub fn next_change(&self, log_time: Timestamp) -> Option<Timestamp> {
        self.pause_ends().filter(|_| self.stop(log_time) == Some("PAUSED"))
    }

    /// The name that came with the latest event that has one.
    pub fn name(&self) -> Option<&str> {
        let of_events = self.latest(|fact| fact.name.as_deref());
        let named = self.named.as_ref().map(|named| (named.time, named.name.as_str()));
        of_events.max(named).map(|(_, name)| name)
    }

    /// The category that came with the latest event that has one.
    pub fn category(&self) -> Option<&str> {
        let of_events = self.latest(|fact| fact.category.as_deref());
        let changed = self.category_change.as_ref().map(|fact| (fact.time, fact.category.as_str()));
        let present = self.announcement.as_ref();
        let present = present.and_then(|fact| Some((fact.time, fact.present.as_deref()?)));
        let detected = self.detection.as_ref();
        let detected = detected.and_then(|fact| Some((fact.time, fact.category.as_deref()?)));
        of_events.max(changed).max(present).max(detected).map(|(_, category)| category)
    }

    /// The change of category that was announced and is not known to be done.
    pub fn coming_category(&self) -> Option<&CategoryAnnouncement> {
        let done = self.category_change.as_ref().map(|fact| fact.time);
        self.announcement.as_ref().filter(|fact| done < Some(fact.time))
    }

    fn latest<'a>(
        &'a self,
        get: impl Fn(&'a TemplateEventFact) -> Option<&'a str>,
    ) -> Option<(Option<Timestamp>, &'a str)> {
        self.events.values().filter_map(|fact| Some((fact.time, get(fact)?))).max()
    }
}

/// How bad a quality is. Words that we do not know are better than the worst, and no reason to act.
pub fn quality_rank(score: &str) -> u8 {
    match score {
        "RED" => 3,
        "YELLOW" => 2,
        "GREEN" => 1,
        _ => 0,
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
