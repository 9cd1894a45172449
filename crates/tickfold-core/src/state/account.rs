//! An account (WABA): the latest event per kind, what is restricted, its limits and prices, its
//! display numbers, and the state that follows.

use std::collections::BTreeMap;

use super::group::learn_latest;
use super::restriction::Restrictions;
use super::standing::Line;
use super::{Journal, Told, learn_max};
use crate::time::Timestamp;

/// An account: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What is known, in whatever order it came.
    pub facts: AccountFacts,
    /// Journal: what was told of it last.
    pub told: Told,
    /// Journal: likewise of its display numbers, by their digits.
    pub lines_told: BTreeMap<String, Told>,
    /// Journal: what came of it at all.
    pub seen: Seen,
    /// When and where it changed.
    pub journal: Journal,
}

/// Journal of what came of an account at all: fields that are not subscribed never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Something of a number by its id came, such as a message.
    pub messages: bool,
    /// Something of a template, a number's standing or the account itself came.
    pub management: bool,
    /// Hour of log time, since the epoch, in which something of one of its numbers came last. By the
    /// hour, so that it costs no write per event.
    pub hour: i64,
}

/// The facts of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFacts {
    /// The latest of each event of `account_update`, by (event, phone number or empty).
    pub events: BTreeMap<(String, String), AccountEventFact>,
    /// What is restricted of the account itself.
    pub restrictions: Restrictions,
    /// The latest review.
    pub review: Option<Review>,
    /// The latest limits.
    pub capability: Option<Capability>,
    /// Volume tiers.
    pub tiers: BTreeMap<TierKey, Tier>,
    /// From when on international authentication has a rate of its own.
    pub rates: Option<RateEligibility>,
    /// Where the business is.
    pub country: Option<Country>,
    /// Its display numbers, by their digits.
    pub lines: BTreeMap<String, Line>,
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
    /// `ban_info.waba_ban_date`, the beginning of that day in UTC.
    pub ban_date: Option<Timestamp>,
    /// `violation_info.violation_type`.
    pub violation_type: Option<String>,
    /// `remediation`, wherever it stands.
    pub remediation: Option<String>,
    /// `disconnection_info.reason`.
    pub disconnection_reason: Option<String>,
    /// Restriction types, with their expiry if they have one, in order of type.
    pub restrictions: Vec<(String, Option<Timestamp>)>,
}

/// A review. Ordered by time; of equal times what is not approved counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Review {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `decision` is anything but `APPROVED`.
    pub refused: bool,
    /// `decision`.
    pub decision: String,
}

/// Limits. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Capability {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `max_daily_conversations_per_business`, or `max_daily_conversation_per_phone` of before: a
    /// number or a tier, as Meta wrote it.
    pub daily_limit: Option<String>,
    /// `max_phone_numbers_per_business`.
    pub numbers_per_business: Option<i64>,
    /// `max_phone_numbers_per_waba`.
    pub numbers_per_account: Option<i64>,
}

/// What a volume tier is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TierKey {
    /// `effective_month`, `2026-11`.
    pub month: String,
    /// `region`.
    pub region: String,
    /// `pricing_category`.
    pub category: String,
    /// `tier`: the bounds, `100001:500000`.
    pub tier: String,
}

/// When a volume tier was reached. Several webhooks tell of one change: the least time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tier {
    /// `tier_update_time`.
    pub updated: Option<Timestamp>,
}

/// When rates of international authentication begin. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RateEligibility {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `start_time`.
    pub start: Option<Timestamp>,
    /// `exception_countries`: country code → `start_time`.
    pub exceptions: BTreeMap<String, Option<Timestamp>>,
}

/// A country. Ordered by time, then by code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Country {
    /// `entry.time`.
    pub time: Option<Timestamp>,
    /// `country`.
    pub country: String,
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
    /// It was taken away from the partner or app: nothing more will come.
    Disconnected,
    /// Disabled by Meta.
    Disabled,
    /// Left the platform.
    Offboarded,
    /// Deleted.
    Deleted,
}

/// Kinds of events kept, display numbers, and volume tiers. An account has at most about twenty of
/// each; of tiers the latest months are kept.
const EVENTS_MAX: usize = 256;

/// What takes an account away and what gives it back.
const PARTINGS: [(&str, &str); 2] =
    [("PARTNER_REMOVED", "PARTNER_ADDED"), ("PARTNER_APP_UNINSTALLED", "PARTNER_APP_INSTALLED")];

/// The events that we know, and the only ones that are not told as new words.
pub(crate) const ACCOUNT_EVENTS: [&str; 18] = [
    "VERIFIED_ACCOUNT",
    "ACCOUNT_DELETED",
    "ACCOUNT_OFFBOARDED",
    "ACCOUNT_RECONNECTED",
    "ACCOUNT_VIOLATION",
    "ACCOUNT_RESTRICTION",
    "DISABLED_UPDATE",
    "PARTNER_ADDED",
    "PARTNER_REMOVED",
    "PARTNER_APP_INSTALLED",
    "PARTNER_APP_UNINSTALLED",
    "PARTNER_CLIENT_CERTIFICATION_NEEDED",
    "PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE",
    "AD_ACCOUNT_LINKED",
    "MM_LITE_TERMS_SIGNED",
    "AUTH_INTL_PRICE_ELIGIBILITY_UPDATE",
    "BUSINESS_PRIMARY_LOCATION_COUNTRY_UPDATE",
    "VOLUME_BASED_PRICING_TIER_UPDATE",
];

impl AccountState {
    /// The word of the topic and of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Restricted => "restricted",
            Self::ScheduledForDisable => "scheduled_for_disable",
            Self::Disconnected => "disconnected",
            Self::Disabled => "disabled",
            Self::Offboarded => "offboarded",
            Self::Deleted => "deleted",
        }
    }
}

impl AccountFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let mut learned = self.restrictions.join(other.restrictions)
            | learn_max(&mut self.review, other.review)
            | learn_max(&mut self.capability, other.capability)
            | learn_max(&mut self.rates, other.rates)
            | learn_max(&mut self.country, other.country);
        for (kind, fact) in other.events {
            learned |= learn_latest(&mut self.events, kind, fact, EVENTS_MAX);
        }
        for (key, tier) in other.tiers {
            learned |= self.learn_tier(key, tier);
        }
        for (digits, line) in other.lines {
            learned |= self.learn_line(digits, line);
        }
        learned
    }

    fn learn_tier(&mut self, key: TierKey, tier: Tier) -> bool {
        if let Some(mine) = self.tiers.get_mut(&key) {
            return super::learn_earliest(&mut mine.updated, tier.updated);
        }
        // The greatest so many of a union are a join too, and those are the latest months.
        if self.tiers.len() >= EVENTS_MAX {
            if self.tiers.keys().next().is_none_or(|first| key < *first) {
                return false;
            }
            self.tiers.pop_first();
        }
        self.tiers.insert(key, tier);
        true
    }

    fn learn_line(&mut self, digits: String, line: Line) -> bool {
        if let Some(mine) = self.lines.get_mut(&digits) {
            return mine.join(line);
        }
        if self.lines.len() >= EVENTS_MAX {
            if self.lines.keys().next_back().is_none_or(|last| *last < digits) {
                return false;
            }
            self.lines.pop_last();
        }
        self.lines.insert(digits, line);
        true
    }

    fn event(&self, name: &str) -> Option<&AccountEventFact> {
        self.events.get(&(name.to_owned(), String::new()))
    }

    /// The shown state at a log time: the worst that holds. Restrictions end by their expiry
    /// without a webhook; restrictions of a single number are not the account's.
    pub fn state(&self, log_time: Timestamp) -> AccountState {
        if self.event("ACCOUNT_DELETED").is_some() {
            return AccountState::Deleted;
        }
        // Of equal times the parting counts.
        let parted = |parted: &str, back: &str| {
            self.event(parted)
                .is_some_and(|parted| self.event(back).is_none_or(|back| back.time <= parted.time))
        };
        if parted("ACCOUNT_OFFBOARDED", "ACCOUNT_RECONNECTED") {
            return AccountState::Offboarded;
        }
        let ban = self.event("DISABLED_UPDATE");
        let scheduled = match ban.and_then(|fact| fact.ban_state.as_deref()) {
            Some("DISABLE") => return AccountState::Disabled,
            Some("SCHEDULE_FOR_DISABLE") => true,
            Some(_) | None => false,
        };
        if scheduled && ban.and_then(|fact| fact.ban_date).is_some_and(|date| date <= log_time) {
            return AccountState::Disabled;
        }
        if PARTINGS.into_iter().any(|(away, back)| parted(away, back)) {
            return AccountState::Disconnected;
        }
        if scheduled {
            return AccountState::ScheduledForDisable;
        }
        match self.restrictions.in_force(log_time).next() {
            Some(_) => AccountState::Restricted,
            None => AccountState::Active,
        }
    }

    /// Meta would refuse what the account sends.
    pub fn forbids_sending(&self, log_time: Timestamp) -> bool {
        match self.state(log_time) {
            // A ban that is only announced leaves a restriction in force.
            AccountState::Active | AccountState::Restricted | AccountState::ScheduledForDisable => {
                self.restrictions.forbid_messages(log_time)
            }
            AccountState::Disconnected
            | AccountState::Disabled
            | AccountState::Offboarded
            | AccountState::Deleted => true,
        }
    }

    /// When the state of the account or of one of its numbers changes by itself next, or a rate
    /// begins.
    pub fn next_change(&self, log_time: Timestamp) -> Option<Timestamp> {
        let ban = self
            .event("DISABLED_UPDATE")
            .filter(|fact| fact.ban_state.as_deref() == Some("SCHEDULE_FOR_DISABLE"));
        let ban = ban.and_then(|fact| fact.ban_date);
        let of_lines =
            self.lines.values().filter_map(|line| line.standing.restrictions.next_end(log_time));
        let rates = self.rates.as_ref().and_then(|rates| rates.start);
        let mut next = self.restrictions.next_end(log_time);
        for time in of_lines.chain(ban).chain(rates).filter(|time| log_time < *time) {
            next = Some(next.map_or(time, |next| next.min(time)));
        }
        next
    }

    /// The newest event of the account itself or of one of its numbers.
    pub fn newest_event(&self) -> Option<(&str, &AccountEventFact)> {
        let newest = self.events.iter().max_by_key(|(kind, fact)| (fact.time, *kind));
        newest.map(|((event, _), fact)| (event.as_str(), fact))
    }
}
