//! State: facts and journal of each entity.
//!
//! *Facts* are a join: commutative, associative, idempotent. What is shown is a function of the
//! facts, so no order and no repetition of events changes it. The *journal* (revision, history,
//! timers) is a deterministic function of the raw log in its order.

mod account;
mod conversation;
mod message;
mod number;
mod template;
mod timer;

pub use account::{Account, AccountEventFact, AccountFacts, AccountState};
pub use conversation::{Conversation, ConversationFacts, WINDOW_MS, WindowState};
pub use message::{
    Direction, Failure, HistoryEntry, InboundFacts, Message, MessageFacts, Pricing, Receipt, Status,
};
pub use number::{Number, NumberFacts};
pub use template::{Template, TemplateEventFact, TemplateFacts};
pub use timer::{Natural, TimerKey, TimerKind};

use crate::time::Timestamp;

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

/// Joins two times of one fact: a known time is better than none, the earlier of two is better.
pub fn join_earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (known, None) | (None, known) => known,
    }
}

/// Joins two optional values by taking the greater, any value above none.
pub(crate) fn join_max<T: Ord>(mine: &mut Option<T>, theirs: Option<T>) {
    if theirs > *mine {
        *mine = theirs;
    }
}

/// Joins two optional ids by taking the lesser, any value above none. Ids of one thing should
/// agree; where they do not, a fixed choice keeps the join a join.
pub(crate) fn join_min<T: Ord>(mine: &mut Option<T>, theirs: Option<T>) {
    if let Some(theirs) = theirs
        && mine.as_ref().is_none_or(|mine| theirs < *mine)
    {
        *mine = Some(theirs);
    }
}
