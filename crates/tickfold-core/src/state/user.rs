//! A user as one of its identifiers: preferences, names, and the edges to its other identifiers.
//!
//! Identifiers come and go: a phone number is left out once a user has a username, a
//! business-scoped id is made anew with a number. Rows keep the identifier they came with; the
//! dated edges say which identifiers were one user, and queries follow them at read time.

use std::collections::BTreeMap;

use super::receipt::learn_time;
use super::{Journal, learn_max};
use crate::ids::PartyId;
use crate::time::{DAY_MS, Timestamp};

/// A user: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What is known, in whatever order it came.
    pub facts: UserFacts,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserFacts {
    /// The latest preference per category, such as `marketing_messages`.
    pub preferences: BTreeMap<String, Preference>,
    /// Edges to other identifiers, each with the earliest event time at which it was seen.
    pub aliases: BTreeMap<Alias, Option<Timestamp>>,
    /// The profile as it was shown last.
    pub profile: Option<Profile>,
}

/// What a user wants. Ordered by time; of equal times `stop` counts, then content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Preference {
    /// Event time; unknown is before every known time.
    pub time: Option<Timestamp>,
    /// The value is `stop`.
    pub stop: bool,
    /// `value`: `stop`, `resume`, `signup`, in Meta's word.
    pub value: String,
}

/// An edge to another identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alias {
    /// The other identifier.
    pub party: PartyId,
    /// How the two belong together.
    pub relation: Relation,
}

/// How two identifiers belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// Both named one user at the same time.
    Same,
    /// The other is the id of the user at the business's parent.
    Parent,
    /// The other is the id of the user at one business of this parent.
    Child,
    /// The user left this identifier for the other.
    Became,
    /// The user had the other identifier before this.
    Was,
}

/// Name and username. The greatest of the latest day, so that a customer who writes often costs no
/// write per message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Profile {
    /// Day on which it was seen: days since the epoch.
    pub day: i64,
    /// `profile.username`.
    pub username: Option<String>,
    /// `profile.name`.
    pub name: Option<String>,
}

/// Categories kept. Meta has one.
const PREFERENCES_MAX: usize = 16;

/// Edges kept of one identifier.
const ALIASES_MAX: usize = 64;

impl Relation {
    /// The word of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Parent => "parent",
            Self::Child => "child",
            Self::Became => "became",
            Self::Was => "was",
        }
    }

    /// The relation seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Same => Self::Same,
            Self::Parent => Self::Child,
            Self::Child => Self::Parent,
            Self::Became => Self::Was,
            Self::Was => Self::Became,
        }
    }
}

impl Profile {
    /// The profile as seen at a time.
    pub fn seen(time: Timestamp, name: Option<String>, username: Option<String>) -> Self {
        Self { day: time.as_millis().div_euclid(DAY_MS), username, name }
    }
}

impl UserFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { preferences, aliases, profile } = other;
        let mut learned = learn_max(&mut self.profile, profile);
        for (category, preference) in preferences {
            learned |= self.prefer(category, preference);
        }
        for (alias, time) in aliases {
            learned |= learn_time(&mut self.aliases, alias, time, ALIASES_MAX);
        }
        learned
    }

    fn prefer(&mut self, category: String, preference: Preference) -> bool {
        if let Some(mine) = self.preferences.get_mut(&category) {
            let newer = preference > *mine;
            if newer {
                *mine = preference;
            }
            return newer;
        }
        let full = self.preferences.len() >= PREFERENCES_MAX;
        if full && self.preferences.keys().next_back().is_none_or(|last| *last < category) {
            return false;
        }
        self.preferences.insert(category, preference);
        if full {
            self.preferences.pop_last();
        }
        true
    }

    /// The user stopped messages of a category.
    pub fn has_stopped(&self, category: &str) -> bool {
        self.preferences.get(category).is_some_and(|preference| preference.stop)
    }
}
