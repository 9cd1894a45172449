//! An account (WABA): the latest event per kind, and the state that follows from them.

use std::collections::BTreeMap;

use super::Journal;
use crate::time::Timestamp;

/// An account: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What is known, in whatever order it came.
    pub facts: AccountFacts,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFacts {
    /// The latest of each event, by (event, phone number or empty): a restriction of one number
    /// does not replace that of the account.
    pub events: BTreeMap<(String, String), AccountEventFact>,
}

/// One account event. Ordered by time, then by what it forbids, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct AccountEventFact {
    /// `entry.time`; unknown is before every known time.
    pub time: Option<Timestamp>,
    /// It forbids something, as opposed to lifting it.
    pub restrictive: bool,
    /// `ban_info.waba_ban_state`.
    pub ban_state: Option<String>,
    /// `violation_info.violation_type`.
    pub violation_type: Option<String>,
    /// Restriction types, with their expiry if they have one, in order of type.
    pub restrictions: Vec<(String, Option<Timestamp>)>,
}

/// The shown state of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    /// Nothing known against it.
    Active,
    /// Some sending is restricted.
    Restricted,
    /// Meta announced that it will be disabled.
    ScheduledForDisable,
    /// Disabled by Meta.
    Disabled,
    /// Left the platform.
    Offboarded,
    /// Deleted.
    Deleted,
}

impl AccountState {
    /// The word of the topic and of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Restricted => "restricted",
            Self::ScheduledForDisable => "scheduled_for_disable",
            Self::Disabled => "disabled",
            Self::Offboarded => "offboarded",
            Self::Deleted => "deleted",
        }
    }
}

impl AccountFacts {
    /// Learns everything the other knows.
    pub fn join(&mut self, other: Self) {
        for (kind, theirs) in other.events {
            let mine = self.events.entry(kind).or_default();
            if theirs > *mine {
                *mine = theirs;
            }
        }
    }

    /// The shown state at a log time: the worst that holds. Restrictions end by their expiry
    /// without a webhook; restrictions of a single number are not the account's.
    pub fn state(&self, log_time: Timestamp) -> AccountState {
        let event = |name: &str| self.events.get(&(name.to_owned(), String::new()));
        if event("ACCOUNT_DELETED").is_some() {
            return AccountState::Deleted;
        }
        if let Some(left) = event("ACCOUNT_OFFBOARDED")
            && event("ACCOUNT_RECONNECTED").is_none_or(|back| back.time < left.time)
        {
            return AccountState::Offboarded;
        }
        match event("DISABLED_UPDATE").and_then(|fact| fact.ban_state.as_deref()) {
            Some("DISABLE") => return AccountState::Disabled,
            Some("SCHEDULE_FOR_DISABLE") => return AccountState::ScheduledForDisable,
            Some(_) | None => {}
        }
        let restricted = event("ACCOUNT_RESTRICTION").is_some_and(|fact| {
            fact.restrictions.iter().any(|(_, expires)| expires.is_none_or(|at| log_time < at))
        });
        if restricted { AccountState::Restricted } else { AccountState::Active }
    }
}
