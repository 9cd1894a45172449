//! What Meta says of a business phone number beside `metadata`: its limit, name, username, security
//! and restrictions.
//!
//! These webhooks name the number only as it is displayed, so an account keeps the standing of each
//! of its display numbers, and a number that `metadata` links to one has it too.

use std::collections::{BTreeMap, BTreeSet};

use super::group::learn_latest;
use super::learn_max;
use super::restriction::Restrictions;
use crate::ids::PhoneNumberId;
use crate::time::Timestamp;

/// Meta's word on a number: a join, like all facts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The latest of each event of `phone_number_quality_update` (`FLAGGED`, `ONBOARDING` …), upper
    /// case.
    pub quality: BTreeMap<String, LimitFact>,
    /// The latest decision on its name.
    pub name: Option<NameDecision>,
    /// The latest of each event of `security` (`PIN_CHANGED` …), upper case.
    pub security: BTreeMap<String, SecurityFact>,
    /// The latest word on its username.
    pub username: Option<UsernameFact>,
    /// What is restricted of this number alone.
    pub restrictions: Restrictions,
}

/// An event about the limit of a number. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LimitFact {
    /// `entry.time`; unknown is before every known time.
    pub time: Option<Timestamp>,
    /// The limit from then on: `max_daily_conversations_per_business`, before `current_limit`.
    pub limit: Option<String>,
    /// `old_limit`.
    pub old_limit: Option<String>,
}

/// A decision on a name. Ordered by time; of equal times what is not approved counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NameDecision {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `decision` is anything but `APPROVED`.
    pub refused: bool,
    /// `decision`.
    pub decision: String,
    /// `requested_verified_name`.
    pub requested_name: Option<String>,
    /// `rejection_reason`.
    pub rejection_reason: Option<String>,
}

/// An event about the PIN of a number. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SecurityFact {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `requester`.
    pub requester: Option<String>,
}

/// The state of a username. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct UsernameFact {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `status`: `approved`, `reserved`, `deleted`.
    pub status: String,
    /// `username`; left out once deleted.
    pub username: Option<String>,
}

/// A display number of an account: which ids `metadata` gave it, and its standing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Numbers that were displayed so.
    pub number_ids: BTreeSet<PhoneNumberId>,
    /// What Meta said of it.
    pub standing: Standing,
}

/// The shown state of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberState {
    /// Nothing known against it.
    Active,
    /// Its quality is low.
    Flagged,
    /// Something of it is restricted.
    Restricted,
}

/// Kinds of events kept. Meta has had about seven.
const EVENTS_MAX: usize = 32;

/// Ids kept of one display number.
const NUMBER_IDS_MAX: usize = 16;

impl NumberState {
    /// The word of the topic and of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Flagged => "flagged",
            Self::Restricted => "restricted",
        }
    }
}

impl Standing {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { quality, name, security, username, restrictions } = other;
        let mut learned = learn_max(&mut self.name, name)
            | learn_max(&mut self.username, username)
            | self.restrictions.join(restrictions);
        for (event, fact) in quality {
            learned |= learn_latest(&mut self.quality, event, fact, EVENTS_MAX);
        }
        for (event, fact) in security {
            learned |= learn_latest(&mut self.security, event, fact, EVENTS_MAX);
        }
        learned
    }

    /// The shown state at a log time.
    pub fn state(&self, log_time: Timestamp) -> NumberState {
        if self.restrictions.in_force(log_time).next().is_some() {
            return NumberState::Restricted;
        }
        let time = |event: &str| self.quality.get(event).map(|fact| fact.time);
        match time("FLAGGED") {
            Some(since) if time("UNFLAGGED").is_none_or(|at| at <= since) => NumberState::Flagged,
            Some(_) | None => NumberState::Active,
        }
    }

    /// The newest event about its limit or quality.
    pub fn newest_quality(&self) -> Option<(&str, &LimitFact)> {
        let newest = self.quality.iter().max_by_key(|(event, fact)| (fact.time, *event));
        newest.map(|(event, fact)| (event.as_str(), fact))
    }

    /// The limit that the newest event with one named.
    pub fn limit(&self) -> Option<&str> {
        let named = self.quality.values().filter(|fact| fact.limit.is_some());
        named.max().and_then(|fact| fact.limit.as_deref())
    }

    /// The newest event about its PIN.
    pub fn newest_security(&self) -> Option<(&str, &SecurityFact)> {
        let newest = self.security.iter().max_by_key(|(event, fact)| (fact.time, *event));
        newest.map(|(event, fact)| (event.as_str(), fact))
    }
}

impl Line {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let mut learned = self.standing.join(other.standing);
        for id in other.number_ids {
            // The least so many of a union are a join too.
            let full = self.number_ids.len() >= NUMBER_IDS_MAX;
            if full && self.number_ids.last().is_none_or(|last| *last < id) {
                continue;
            }
            learned |= self.number_ids.insert(id);
            if self.number_ids.len() > NUMBER_IDS_MAX {
                self.number_ids.pop_last();
            }
        }
        learned
    }
}

/// The digits of a display number, which is written with and without signs.
pub fn digits_of(display: &str) -> String {
    display.chars().filter(char::is_ascii_digit).collect()
}

/// How many users a limit allows in a day; `None` for words without a number.
pub(crate) fn limit_size(limit: &str) -> Option<u64> {
    let word = limit.strip_prefix("TIER_").unwrap_or(limit);
    if word == "UNLIMITED" || word == "-1" {
        return Some(u64::MAX);
    }
    match word.strip_suffix('K') {
        Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1_000),
        None => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_compared_by_their_size() {
        let sizes = ["TIER_50", "TIER_250", "TIER_1K", "2000", "TIER_10K", "TIER_UNLIMITED"];
        let sizes: Vec<_> = sizes.iter().map(|limit| limit_size(limit).unwrap()).collect();
        assert!(sizes.is_sorted());
        assert_eq!(limit_size("-1"), Some(u64::MAX));
        for word in ["TIER_NOT_SET", "", "TIER_K", "TIER_99999999999999999999K", "1.5"] {
            assert_eq!(limit_size(word), None, "{word}");
        }
    }

    #[test]
    fn a_number_is_flagged_until_it_is_unflagged_later() {
        let at = |seconds| Some(Timestamp::from_millis(seconds));
        let fact = |seconds| LimitFact { time: at(seconds), ..LimitFact::default() };
        let state = |unflagged| {
            let quality = [("FLAGGED", 5), ("UNFLAGGED", unflagged)];
            let quality = quality.map(|(event, time)| (event.to_owned(), fact(time))).into();
            Standing { quality, ..Standing::default() }.state(Timestamp::from_millis(9))
        };
        assert_eq!(state(4), NumberState::Flagged);
        assert_eq!(state(5), NumberState::Flagged);
        assert_eq!(state(6), NumberState::Active);
    }
}
