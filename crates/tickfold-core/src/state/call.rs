//! A call between one of our numbers and a user, as its events and statuses tell of it.

use std::collections::{BTreeMap, BTreeSet};

use super::content::Media;
use super::receipt::{Failures, join_failures, learn_time};
use super::{Journal, PARTIES_MAX, join_least, learn_earliest, learn_max, learn_min};
use crate::ids::{PartyId, PhoneNumberId, WabaId};
use crate::time::Timestamp;

/// A call: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What is known, in whatever order it came.
    pub facts: CallFacts,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFacts {
    /// Account; the least, should two ever claim it.
    pub waba_id: Option<WabaId>,
    /// Our number; the least, should two ever claim it.
    pub phone_number_id: Option<PhoneNumberId>,
    /// Every identifier of the other side.
    pub parties: BTreeSet<PartyId>,
    /// `direction`: `USER_INITIATED` or `BUSINESS_INITIATED`.
    pub direction: Option<String>,
    /// Events (`connect`, `terminate` …) in lower case, each with its earliest time.
    pub events: BTreeMap<String, Option<Timestamp>>,
    /// Statuses (`RINGING`, `COMPLETED` …) in upper case, likewise.
    pub statuses: BTreeMap<String, Option<Timestamp>>,
    /// Errors by code.
    pub errors: Failures,
    /// `start_time`.
    pub start: Option<Timestamp>,
    /// `end_time`.
    pub end: Option<Timestamp>,
    /// `duration`, in seconds.
    pub duration_s: Option<u64>,
    /// `biz_opaque_callback_data`.
    pub callback_data: Option<String>,
    /// What was recorded of it, by kind: `recording`, `transcript`.
    pub media: BTreeMap<String, Media>,
}

/// Words kept of one kind. Meta has about five.
const WORDS_MAX: usize = 32;

impl CallFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let mut learned = learn_min(&mut self.waba_id, other.waba_id)
            | learn_min(&mut self.phone_number_id, other.phone_number_id)
            | learn_max(&mut self.direction, other.direction)
            | join_failures(&mut self.errors, other.errors)
            | learn_earliest(&mut self.start, other.start)
            | learn_max(&mut self.end, other.end)
            | learn_max(&mut self.duration_s, other.duration_s)
            | learn_max(&mut self.callback_data, other.callback_data);
        learned |= join_least(&mut self.parties, other.parties, PARTIES_MAX);
        for (event, time) in other.events {
            learned |= learn_time(&mut self.events, event, time, WORDS_MAX);
        }
        for (status, time) in other.statuses {
            learned |= learn_time(&mut self.statuses, status, time, WORDS_MAX);
        }
        for (kind, media) in other.media {
            // Only the kinds we name get here, so they need no bound.
            let mine = self.media.entry(kind).or_default();
            if media > *mine {
                *mine = media;
                learned = true;
            }
        }
        learned
    }

    /// The shown state: how far the call got. Rank, not time, orders it, since `terminate` may
    /// precede `connect`.
    pub fn state(&self) -> &str {
        let status = |word: &str| self.statuses.contains_key(word);
        let event = |word: &str| self.events.contains_key(word);
        match () {
            () if status("FAILED") => "failed",
            () if status("REJECTED") => "rejected",
            () if status("COMPLETED") => "completed",
            () if event("terminate") => "terminated",
            () if status("ACCEPTED") => "accepted",
            () if event("connect") => "connected",
            () if status("RINGING") => "ringing",
            () if event("call_created") => "created",
            () => "unknown",
        }
    }
}
