//! A conversation: the 24-hour customer service window and the counts of its messages.

use super::{Journal, join_earliest, join_max};
use crate::ids::WabaId;
use crate::time::{HOUR_MS, Timestamp};

/// How long a customer's message keeps the customer service window open.
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
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConversationFacts {
    /// Account; the least, should two ever claim it.
    pub waba_id: Option<WabaId>,
    /// Event time of the customer's first message, as far as known.
    pub first_inbound: Option<Timestamp>,
    /// Event time of the customer's latest message: what the window counts from.
    pub last_inbound: Option<Timestamp>,
    /// Latest event time of a `sent` of ours.
    pub last_outbound: Option<Timestamp>,
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
    /// Learns everything the other knows.
    pub fn join(&mut self, other: Self) {
        super::join_min(&mut self.waba_id, other.waba_id);
        self.first_inbound = join_earliest(self.first_inbound, other.first_inbound);
        join_max(&mut self.last_inbound, other.last_inbound);
        join_max(&mut self.last_outbound, other.last_outbound);
    }

    /// When the customer service window closes or closed.
    pub fn window_expires(&self) -> Option<Timestamp> {
        self.last_inbound.map(|time| time.plus(WINDOW_MS))
    }

    /// The window at a log time: open while the log time is before its expiry.
    pub fn window(&self, log_time: Timestamp) -> WindowState {
        match self.window_expires() {
            Some(expires) if log_time < expires => WindowState::Open,
            Some(_) | None => WindowState::Closed,
        }
    }
}
