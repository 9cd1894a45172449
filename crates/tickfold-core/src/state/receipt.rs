//! What Meta reports of a message, per participant: statuses, failures, pricing.

use std::collections::BTreeMap;

use super::{Few, drop_last, learn_earliest, learn_max, learn_true};
use crate::charge::is_billable;
use crate::planted::planted;
use crate::rules::normal_category;
use crate::time::Timestamp;

/// What Meta reports of a message. The order of the variants is no order of states; see
/// [`Status::rank`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Accepted by the API and not sent yet (`accepted`, `held_for_quality_assessment`, `paused`).
    Pending,
    /// Left Meta towards the device.
    Sent,
    /// Reached a device.
    Delivered,
    /// Shown to the user.
    Read,
    /// Voice message played.
    Played,
    /// Not sent or not delivered. Not final: a delivery may still be reported.
    Failed,
    /// An inbound message: we received it.
    Received,
    /// A word we do not know, or one that annotates (`deleted`, `warning`, and our own
    /// [`ECHO`](Self::ECHO)), in lower case.
    Other(String),
}

impl Status {
    /// Our word for a message that was sent in the business app: it has no statuses.
    pub const ECHO: &str = "echo";
    /// Our word for an edit of a message, in its history.
    pub const EDITED: &str = "edited";
    /// Our word for the revocation of a message, in its history.
    pub const REVOKED: &str = "revoked";
    /// Our word for a reaction to a message or its removal, in its history.
    pub const REACTED: &str = "reacted";

    /// Reads Meta's word, in any case.
    pub fn parse(word: &str) -> Self {
        let is = |known: &str| word.eq_ignore_ascii_case(known);
        match () {
            () if is("sent") => Self::Sent,
            () if is("delivered") => Self::Delivered,
            () if is("read") => Self::Read,
            () if is("failed") => Self::Failed,
            () if is("played") => Self::Played,
            () if is("received") => Self::Received,
            () if ["pending", "accepted", "held_for_quality_assessment", "paused"]
                .into_iter()
                .any(is) =>
            {
                Self::Pending
            }
            () => Self::Other(word.to_ascii_lowercase()),
        }
    }

    /// Meta's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
            Self::Received => "received",
            Self::Other(word) => word,
        }
    }

    /// Evidence that the message reached the customer.
    pub fn is_delivery(&self) -> bool {
        match self {
            Self::Delivered | Self::Read | Self::Played => true,
            Self::Pending | Self::Sent | Self::Failed | Self::Received | Self::Other(_) => false,
        }
    }

    /// The ladder. Rank, not time, orders it: times are when webhooks were triggered and may tie
    /// or invert. A failure stands above `sent`, since a late `sent` must not hide it, and below
    /// every evidence of delivery, since it must not hide that.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Other(_) => 0,
            Self::Pending => 1,
            Self::Sent => 2,
            Self::Failed => 3,
            Self::Delivered => 4,
            Self::Read => 5,
            Self::Played => 6,
            Self::Received => 7,
        }
    }

    /// A word that nobody has told us of: not the ladder, and not one that only annotates.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Other(word) => {
                !["deleted", "warning", Self::ECHO, Self::EDITED, Self::REVOKED, Self::REACTED]
                    .contains(&word.as_str())
            }
            Self::Pending
            | Self::Sent
            | Self::Delivered
            | Self::Read
            | Self::Played
            | Self::Failed
            | Self::Received => false,
        }
    }
}

/// Statuses kept of a participant: those we know and as many again. Meta has had about ten in all.
const STATUSES_MAX: usize = 20;

/// Error codes kept of a participant. One or two are what is seen.
const FAILURES_MAX: usize = 32;

/// The facts of one participant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Earliest known event time per status; `None` is a status whose time is unknown.
    pub statuses: Few<Status, Option<Timestamp>>,
    /// Failures by code.
    pub failures: Failures,
    /// Best evidence of the price.
    pub pricing: Option<Pricing>,
    /// Statuses that are evidence of a delivery named different prices.
    pub pricing_disputed: bool,
}

/// Error codes with what is known of each.
pub type Failures = BTreeMap<i64, Failure>;

/// One error code of a failed message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// Earliest known event time.
    pub time: Option<Timestamp>,
    /// Deprecated by Meta in favour of code and details.
    pub title: Option<String>,
    /// Usually equal to the title.
    pub message: Option<String>,
    /// `error_data.details`, or `details` of bodies before v16.
    pub details: Option<String>,
}

/// What a status said of the price. Ordered by evidence, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Pricing {
    /// 2 on `delivered`, `read`, `played`: the charge. 1 on others: a quote.
    pub evidence: u8,
    /// `billable`, where it is still sent.
    pub billable: Option<bool>,
    /// `pricing_model`.
    pub model: Option<String>,
    /// `type`: billable exactly if `regular`.
    pub kind: Option<String>,
    /// `category`.
    pub category: Option<String>,
}

impl Pricing {
    /// It came with evidence of a delivery: it is charged.
    pub fn is_of_delivery(&self) -> bool {
        self.evidence >= 2
    }
}

/// Two prices of a delivery that would be charged differently. Of a set of prices the greatest is
/// kept, so asking it alone is asking the set, as long as the set is not disputed already.
fn disputes(mine: Option<&Pricing>, theirs: Option<&Pricing>) -> bool {
    let charged = |price: &Pricing| {
        let category = price.category.as_deref().map(|name| normal_category(name).into_owned());
        let kind = price.kind.as_deref();
        let counted = kind.or(price.model.as_deref()).map(str::to_owned);
        (category, counted, is_billable(kind, price.billable))
    };
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => {
            mine.is_of_delivery() && theirs.is_of_delivery() && charged(mine) != charged(theirs)
        }
        (Some(_), None) | (None, _) => false,
    }
}

impl Receipt {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { statuses, failures, pricing, pricing_disputed } = other;
        let disputed = pricing_disputed || disputes(self.pricing.as_ref(), pricing.as_ref());
        let mut learned = learn_true(&mut self.pricing_disputed, disputed);
        for (status, time) in statuses {
            learned |= self.learn_status(status, time);
        }
        learned |= join_failures(&mut self.failures, failures);
        learned | learn_max(&mut self.pricing, pricing)
    }

    /// What a participant of whom nothing was known learns of it.
    pub(super) fn within_bounds(self) -> Self {
        if self.statuses.len() <= STATUSES_MAX && self.failures.len() <= FAILURES_MAX {
            return self;
        }
        let mut mine = Self::default();
        mine.join(self);
        mine
    }

    /// As [`learn_time`].
    fn learn_status(&mut self, status: Status, time: Option<Timestamp>) -> bool {
        if let Some(mine) = self.statuses.get_mut(&status) {
            if planted!(TimeByArrival) && time.is_some() {
                return std::mem::replace(mine, time) != time;
            }
            return learn_earliest(mine, time);
        }
        let full = self.statuses.len() >= STATUSES_MAX;
        if full && self.statuses.last().is_none_or(|(last, _)| *last < status) {
            return false;
        }
        self.statuses.insert(status, time);
        if full {
            drop_last(&mut self.statuses);
        }
        true
    }

    /// The shown state of this participant.
    pub fn state(&self) -> Option<&Status> {
        self.statuses.keys().max_by_key(|status| (status.rank(), *status))
    }

    /// The earliest known time of a status; `None` if not reported or time unknown.
    pub fn time_of(&self, status: &Status) -> Option<Timestamp> {
        self.statuses.get(status).copied().flatten()
    }

    /// The code shown: the failure with the earliest known time, then the lowest code.
    pub fn error_code(&self) -> Option<i64> {
        first_code(&self.failures)
    }
}

/// The failure with the earliest known time, then the lowest code.
pub(crate) fn first_code(failures: &Failures) -> Option<i64> {
    let by_time =
        |(code, failure): &(&i64, &Failure)| (failure.time.is_none(), failure.time, **code);
    failures.iter().min_by_key(by_time).map(|(code, _)| *code)
}

/// Learns the earliest time of something, and keeps the least `max` of all: the least so many of a
/// union are a join too. True if anything was learned that is kept.
pub(crate) fn learn_time<K: Ord + Clone>(
    times: &mut BTreeMap<K, Option<Timestamp>>,
    key: K,
    time: Option<Timestamp>,
    max: usize,
) -> bool {
    if let Some(mine) = times.get_mut(&key) {
        return learn_earliest(mine, time);
    }
    if times.len() >= max && times.last_key_value().is_none_or(|(last, _)| *last < key) {
        return false;
    }
    times.insert(key, time);
    if times.len() > max {
        times.pop_last();
    }
    true
}

/// Joins failures code by code, within the bound; true if anything was learned that is kept.
pub(crate) fn join_failures(mine: &mut Failures, theirs: Failures) -> bool {
    let mut learned = false;
    for (code, failure) in theirs {
        let Failure { time, title, message, details } = failure;
        if !mine.contains_key(&code) {
            if mine.len() >= FAILURES_MAX && mine.keys().next_back().is_none_or(|last| *last < code)
            {
                continue;
            }
            learned = true;
        }
        let known = mine.entry(code).or_default();
        learned |= learn_earliest(&mut known.time, time);
        learned |= learn_max(&mut known.title, title);
        learned |= learn_max(&mut known.message, message);
        learned |= learn_max(&mut known.details, details);
        if mine.len() > FAILURES_MAX {
            mine.pop_last();
        }
    }
    learned
}
