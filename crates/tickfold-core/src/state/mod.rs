//! State: facts and journal of each entity.
//!
//! *Facts* are a join: commutative, associative, idempotent. What is shown is a function of the
//! facts, so no order and no repetition of events changes it. The *journal* (revision, history,
//! timers) is a deterministic function of the raw log in its order.

mod account;
mod call;
mod content;
mod conversation;
mod group;
mod labels;
mod listing;
mod message;
mod number;
mod payment;
mod receipt;
mod regime;
mod restriction;
mod standing;
mod template;
mod timer;
mod told;
mod user;

pub use account::{
    Account, AccountEventFact, AccountFacts, AccountState, Capability, Country, RateEligibility,
    Review, Seen, Tier, TierKey,
};
pub use call::{Call, CallFacts};
pub use content::{Annotations, Content, Media, Reaction};
pub use conversation::{
    CallPermission, Conversation, ConversationFacts, Referral, WINDOW_MS, WindowState,
};
pub use group::{Group, GroupFacts, GroupState, JoinRequest, Membership, Setting};
pub use labels::{LABEL_BYTES_MAX, LABEL_NAMES, Labels};
pub use listing::{LISTED_BYTES_MAX, ListedBy};
pub use message::{BillingConversation, Direction, HistoryEntry, Message, MessageFacts};
pub use number::{Number, NumberFacts};
pub use payment::{Amount, Payment, PaymentFacts, Refund};
pub use receipt::{Failure, Failures, Pricing, Receipt, Status};
pub use regime::{Decided, Regime};
pub use restriction::{Imposed, RESTRICTION_TYPES, Restrictions};
pub use standing::{
    LimitFact, Line, NameDecision, NumberState, SecurityFact, Standing, UsernameFact, digits_of,
};
pub use template::{
    CategoryAnnouncement, CategoryChange, CategoryDetection, ComponentsFact, Named, QualityFact,
    Template, TemplateEventFact, TemplateFacts, quality_rank,
};
pub use timer::{Natural, TimerKey, TimerKind};
pub use told::{TOLD_MAX, Told, ToldEntry};
pub use user::{Alias, Preference, Profile, Relation, User, UserFacts};

pub(crate) use account::ACCOUNT_EVENTS;
pub(crate) use receipt::{first_code, join_failures};
pub(crate) use restriction::is_known_restriction;
pub(crate) use standing::limit_size;
pub(crate) use template::TEMPLATE_EVENTS;

use std::collections::BTreeSet;

use crate::time::Timestamp;

/// A map of few entries, mostly one: sorted in one piece of memory. A `BTreeMap` has room for eleven
/// as soon as it has one, which for a message's receipts is kilobytes, made and copied with each event.
pub type Few<K, V> = litemap::LiteMap<K, V>;

/// Identifiers of the other side kept of a message or a call. One user has two or three.
pub(crate) const PARTIES_MAX: usize = 32;

/// What every entity's journal keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    /// Raw offset of the last record that changed the entity.
    pub revision: u64,
    /// Log time at which the entity appeared.
    pub created: Timestamp,
    /// Log time of the last change: expiry counts from here.
    pub changed: Timestamp,
}

// The joins that facts are made of. Each returns true if it learned anything.

/// Two times of one fact: a known time is better than none, the earlier of two is better.
pub(crate) fn learn_earliest(mine: &mut Option<Timestamp>, theirs: Option<Timestamp>) -> bool {
    learn_min(mine, theirs)
}

/// Takes the greater, any value above none.
pub(crate) fn learn_max<T: Ord>(mine: &mut Option<T>, theirs: Option<T>) -> bool {
    let better = theirs > *mine;
    if better {
        *mine = theirs;
    }
    better
}

/// Takes the lesser, any value above none. Ids of one thing should agree; where they do not, a
/// fixed choice keeps the join a join.
pub(crate) fn learn_min<T: Ord>(mine: &mut Option<T>, theirs: Option<T>) -> bool {
    let Some(theirs) = theirs else { return false };
    let better = mine.as_ref().is_none_or(|mine| theirs < *mine);
    if better {
        *mine = Some(theirs);
    }
    better
}

/// Adds to a set, and keeps the least `max` of all: the least so many of a union are a join too.
/// True if anything was learned that is kept.
pub(crate) fn join_least<T: Ord>(mine: &mut BTreeSet<T>, theirs: BTreeSet<T>, max: usize) -> bool {
    // Mostly one side knows nothing.
    if mine.is_empty() && theirs.len() <= max {
        *mine = theirs;
        return !mine.is_empty();
    }
    let mut learned = false;
    for theirs in theirs {
        if mine.len() >= max && mine.last().is_none_or(|last| *last < theirs) {
            break;
        }
        learned |= mine.insert(theirs);
        if mine.len() > max {
            mine.pop_last();
        }
    }
    learned
}

/// Takes true if either is.
pub(crate) fn learn_true(mine: &mut bool, theirs: bool) -> bool {
    let better = theirs && !*mine;
    *mine |= theirs;
    better
}

/// Drops the greatest entry.
pub(crate) fn drop_last<K: Ord + Clone, V>(few: &mut Few<K, V>) {
    if let Some(last) = few.last().map(|(key, _)| key.clone()) {
        few.remove(&last);
    }
}

/// Joins facts that may be there or not, and are rare enough to stand apart.
pub(crate) fn join_boxed<T: Default>(
    mine: &mut Option<Box<T>>,
    theirs: Option<Box<T>>,
    join: impl FnOnce(&mut T, T) -> bool,
) -> bool {
    let Some(theirs) = theirs else { return false };
    let appears = mine.is_none();
    join(mine.get_or_insert_default(), *theirs) | appears
}
