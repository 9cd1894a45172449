//! A group of one of our numbers: settings, members, requests to join, suspension.

use std::collections::BTreeMap;

use super::{Journal, learn_earliest, learn_max, learn_min};
use crate::ids::{PartyId, WabaId};
use crate::time::Timestamp;

/// A group: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What is known, in whatever order it came.
    pub facts: GroupFacts,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupFacts {
    /// Account; the least, should two ever claim it.
    pub waba_id: Option<WabaId>,
    /// The latest time of each event (`group_create`, `group_suspend` …).
    pub events: BTreeMap<String, Option<Timestamp>>,
    /// The latest value of each setting (`subject`, `description` …).
    pub settings: BTreeMap<String, Setting>,
    /// The latest word on each participant.
    pub participants: BTreeMap<PartyId, Membership>,
    /// Requests to join, by id.
    pub join_requests: BTreeMap<String, JoinRequest>,
}

/// A value of a setting. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Setting {
    /// Event time; unknown is before every known time.
    pub time: Option<Timestamp>,
    /// The value.
    pub value: String,
}

/// Whether somebody is in the group. Ordered by time; of equal times who left is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Membership {
    /// Event time; unknown is before every known time.
    pub time: Option<Timestamp>,
    /// Removed, or left.
    pub left: bool,
}

/// A request to join.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinRequest {
    /// Who asks.
    pub party: Option<PartyId>,
    /// When it was made, as far as known.
    pub created: Option<Timestamp>,
    /// It was taken back.
    pub revoked: bool,
}

/// Kinds of events kept, and of settings. Meta has about ten.
const WORDS_MAX: usize = 64;

/// Participants kept, and requests to join. WhatsApp's own groups end at 1,024.
const PARTICIPANTS_MAX: usize = 2_048;

/// The shown state of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// It can be used.
    Active,
    /// Suspended by Meta.
    Suspended,
    /// Deleted.
    Deleted,
}

impl GroupState {
    /// The word of topic and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }
}

impl GroupFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let mut learned = learn_min(&mut self.waba_id, other.waba_id);
        for (event, time) in other.events {
            learned |= learn_latest(&mut self.events, event, time, WORDS_MAX);
        }
        for (name, setting) in other.settings {
            learned |= learn_latest(&mut self.settings, name, setting, WORDS_MAX);
        }
        for (party, membership) in other.participants {
            learned |= learn_latest(&mut self.participants, party, membership, PARTICIPANTS_MAX);
        }
        for (id, request) in other.join_requests {
            learned |= self.request(id, request);
        }
        learned
    }

    fn request(&mut self, id: String, theirs: JoinRequest) -> bool {
        let mut learned = false;
        if !self.join_requests.contains_key(&id) {
            let full = self.join_requests.len() >= PARTICIPANTS_MAX;
            if full && self.join_requests.keys().next_back().is_none_or(|last| *last < id) {
                return false;
            }
            if full {
                self.join_requests.pop_last();
            }
            learned = true;
        }
        let mine = self.join_requests.entry(id).or_default();
        learned |= learn_max(&mut mine.party, theirs.party);
        learned |= learn_earliest(&mut mine.created, theirs.created);
        learned |= super::learn_true(&mut mine.revoked, theirs.revoked);
        learned
    }

    /// The shown state: deleted for good; suspended unless a later event cleared it.
    pub fn state(&self) -> GroupState {
        if self.events.contains_key("group_delete") {
            return GroupState::Deleted;
        }
        let suspended = self.events.get("group_suspend");
        let cleared = self.events.get("group_suspend_cleared");
        match (suspended, cleared) {
            (Some(since), cleared) if cleared.is_none_or(|at| at <= since) => GroupState::Suspended,
            (Some(_) | None, _) => GroupState::Active,
        }
    }

    /// How many are known to be in it.
    pub fn member_count(&self) -> usize {
        self.participants.values().filter(|membership| !membership.left).count()
    }
}

/// Learns the greatest value of a key, and keeps the least `max` keys of all: the least so many of
/// a union are a join too. True if anything was learned that is kept.
pub(crate) fn learn_latest<K: Ord, V: Ord>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    max: usize,
) -> bool {
    if let Some(mine) = map.get_mut(&key) {
        let newer = value > *mine;
        if newer {
            *mine = value;
        }
        return newer;
    }
    if map.len() >= max {
        if map.keys().next_back().is_none_or(|last| *last < key) {
            return false;
        }
        map.pop_last();
    }
    map.insert(key, value);
    true
}
