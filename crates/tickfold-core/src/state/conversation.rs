//! A conversation: the 24-hour customer service window, the free entry point, first contact and the
//! counts of its messages.

use super::{Journal, learn_earliest, learn_max, learn_min, learn_true};
use crate::ids::WabaId;
use crate::time::{HOUR_MS, Timestamp};

/// How long a customer's message or call keeps the customer service window open.
pub const WINDOW_MS: i64 = 24 * HOUR_MS;

/// A conversation: facts, totals and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// What is known, in whatever order it came.
    pub facts: ConversationFacts,
    /// Distinct inbound messages: Σ over messages, moved when a message's facts move.
    pub inbound_count: u64,
    /// Distinct outbound messages, likewise.
    pub outbound_count: u64,
    /// Journal: the window was told to be open, and a timer is armed to tell that it closed.
    pub window_told_open: bool,
    /// Journal: likewise the free entry point.
    pub free_entry_told_open: bool,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConversationFacts {
    /// Account; the least, should two ever claim it.
    pub waba_id: Option<WabaId>,
    /// The customer wrote or called, be the time of it known or not.
    pub contacted: bool,
    /// Event time of the customer's first message or call, as far as known.
    pub first_inbound: Option<Timestamp>,
    /// Event time of the customer's latest message or call: what the window counts from.
    pub last_inbound: Option<Timestamp>,
    /// Latest event time of a `sent` of ours.
    pub last_outbound: Option<Timestamp>,
    /// When the free entry point ends: the latest that a status of ours said.
    pub free_entry_expires: Option<Timestamp>,
    /// The advert or post the customer came from last.
    pub referral: Option<Referral>,
    /// The customer's latest word on being called.
    pub call_permission: Option<CallPermission>,
}

/// The advert or post a customer came from. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Referral {
    /// Event time of the message that carried it.
    pub time: Option<Timestamp>,
    /// `source_type`: `ad` or `post`.
    pub source_type: Option<String>,
    /// `source_id`.
    pub source_id: Option<String>,
    /// `ctwa_clid`, which Status adverts lack.
    pub ctwa_clid: Option<String>,
}

/// A customer's answer to a request to be called. Ordered by time; of equal times the refusal
/// counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CallPermission {
    /// Event time of the answer.
    pub time: Option<Timestamp>,
    /// The customer refused.
    pub refused: bool,
    /// When the permission ends; `None` for never.
    pub expires: Option<Timestamp>,
}

/// Whether free-form messages may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowState {
    /// The customer wrote within 24 hours.
    Open,
    /// Only templates may be sent.
    Closed,
}

impl ConversationFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        learn_min(&mut self.waba_id, other.waba_id)
            | learn_true(&mut self.contacted, other.contacted)
            | learn_earliest(&mut self.first_inbound, other.first_inbound)
            | learn_max(&mut self.last_inbound, other.last_inbound)
            | learn_max(&mut self.last_outbound, other.last_outbound)
            | learn_max(&mut self.free_entry_expires, other.free_entry_expires)
            | learn_max(&mut self.referral, other.referral)
            | learn_max(&mut self.call_permission, other.call_permission)
    }

    /// Nothing but the account is known.
    pub fn is_empty(&self) -> bool {
        Self { waba_id: self.waba_id.clone(), ..Self::default() } == *self
    }

    /// When the customer service window closes or closed.
    pub fn window_expires(&self) -> Option<Timestamp> {
        self.last_inbound.map(|time| time.plus(WINDOW_MS))
    }

    /// The window at a log time: open while the log time is before its expiry.
    pub fn window(&self, log_time: Timestamp) -> WindowState {
        open_until(self.window_expires(), log_time)
    }

    /// The free entry point at a log time: while it is open everything is free.
    pub fn free_entry(&self, log_time: Timestamp) -> WindowState {
        open_until(self.free_entry_expires, log_time)
    }
}

fn open_until(expires: Option<Timestamp>, log_time: Timestamp) -> WindowState {
    match expires {
        Some(expires) if log_time < expires => WindowState::Open,
        Some(_) | None => WindowState::Closed,
    }
}
