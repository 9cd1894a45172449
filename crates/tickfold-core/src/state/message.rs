//! A message, ours or the customer's, as its statuses and its webhook tell of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Journal, join_earliest, join_max, join_min};
use crate::ids::{ConversationKey, Participant, PartyId, PhoneNumberId, WabaId};
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
    /// A word we do not know, or one that annotates (`deleted`, `warning`), in lower case.
    Other(String),
}

impl Status {
    /// Reads Meta's word, in any case.
    pub fn parse(word: &str) -> Self {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "pending" | "accepted" | "held_for_quality_assessment" | "paused" => Self::Pending,
            "sent" => Self::Sent,
            "delivered" => Self::Delivered,
            "read" => Self::Read,
            "played" => Self::Played,
            "failed" => Self::Failed,
            "received" => Self::Received,
            _ => Self::Other(word),
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
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a customer to us.
    Inbound,
    /// From us to a customer.
    Outbound,
}

/// A message: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What is known, in whatever order it came.
    pub facts: MessageFacts,
    /// When and where it changed.
    pub journal: Journal,
    /// Place in the list of its conversation: event time of the first event seen, or log time.
    /// Fixed then, so that page tokens stay good.
    pub list_time: Timestamp,
    /// Each new fact once, in the order of the raw log.
    pub history: Vec<HistoryEntry>,
}

/// The facts of a message. [`MessageFacts::join`] is commutative, associative and idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageFacts {
    /// Account; the least, should two ever claim it.
    pub waba_id: Option<WabaId>,
    /// Our number; the least, should two ever claim it.
    pub phone_number_id: Option<PhoneNumberId>,
    /// Every identifier of the other side that came with the message.
    pub parties: BTreeSet<PartyId>,
    /// True once a status or message named a group.
    pub group: bool,
    /// Present once the message itself came in.
    pub inbound: Option<InboundFacts>,
    /// What is known per participant; the whole message is the empty participant.
    pub receipts: BTreeMap<Participant, Receipt>,
    /// `biz_opaque_callback_data`; the greatest, should two differ.
    pub callback_data: Option<String>,
}

/// Facts of an inbound message beside its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InboundFacts {
    /// `type`, as Meta wrote it.
    pub message_type: Option<String>,
    /// `context.id`: the message it answers.
    pub reply_to: Option<String>,
}

/// Statuses kept of a participant: those we know and as many again. Meta has had about ten in all.
const STATUSES_MAX: usize = 20;

/// Error codes kept of a participant. One or two are what is seen.
const FAILURES_MAX: usize = 32;

/// The facts of one participant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Earliest known event time per status; `None` is a status whose time is unknown.
    pub statuses: BTreeMap<Status, Option<Timestamp>>,
    /// Failures by code.
    pub failures: BTreeMap<i64, Failure>,
    /// Best evidence of the price.
    pub pricing: Option<Pricing>,
}

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

/// One line of a message's history: a new fact, where it came from and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The fact.
    pub to: Status,
    /// The shown state before it; `None` for the first fact.
    pub from: Option<Status>,
    /// The shown state after it.
    pub state: Status,
    /// Whose fact.
    pub participant: Participant,
    /// It did not raise the shown state although it belongs to the ladder.
    pub late: bool,
    /// When it happened, if Meta said so.
    pub event_time: Option<Timestamp>,
    /// Log time at which it was folded.
    pub log_time: Timestamp,
    /// When ingress received it.
    pub received_time: Option<Timestamp>,
    /// The new error code, if this is one.
    pub error_code: Option<i64>,
    /// Raw offset of the record.
    pub offset: u64,
    /// Ordinal of the transition among the outputs of that record.
    pub ordinal: u32,
}

impl MessageFacts {
    /// Learns everything the other knows.
    pub fn join(&mut self, other: Self) {
        join_min(&mut self.waba_id, other.waba_id);
        join_min(&mut self.phone_number_id, other.phone_number_id);
        self.parties.extend(other.parties);
        self.group |= other.group;
        if let Some(theirs) = other.inbound {
            let mine = self.inbound.get_or_insert_default();
            join_max(&mut mine.message_type, theirs.message_type);
            join_max(&mut mine.reply_to, theirs.reply_to);
        }
        for (participant, receipt) in other.receipts {
            self.receipts.entry(participant).or_default().join(receipt);
        }
        join_max(&mut self.callback_data, other.callback_data);
    }

    /// The shown state: the highest rank over all participants. Of unknown words the greatest
    /// stands, so that it too is a function of the facts.
    pub fn state(&self) -> Option<&Status> {
        let statuses = self.receipts.values().flat_map(|receipt| receipt.statuses.keys());
        statuses.max_by_key(|status| (status.rank(), *status))
    }

    /// What the row of a participant shows, or of the message itself.
    pub fn shown(&self, participant: &Participant) -> Option<&Status> {
        match participant.is_whole() {
            true => self.state(),
            false => self.receipts.get(participant)?.state(),
        }
    }

    /// Inbound once the message itself came, else ours.
    pub fn direction(&self) -> Direction {
        if self.inbound.is_some() { Direction::Inbound } else { Direction::Outbound }
    }

    /// The conversation it is listed and counted in: our number and the least identifier of the
    /// other side. Identifiers that arrive later may move it; counts move with it.
    pub fn conversation(&self) -> Option<ConversationKey> {
        let party = self.parties.first()?.clone();
        Some(ConversationKey { phone_number_id: self.phone_number_id.clone()?, party })
    }
}

impl Receipt {
    /// Learns everything the other knows.
    pub fn join(&mut self, other: Self) {
        for (status, time) in other.statuses {
            let mine = self.statuses.entry(status).or_insert(time);
            *mine = join_earliest(*mine, time);
        }
        for (code, theirs) in other.failures {
            let mine = self.failures.entry(code).or_default();
            mine.time = join_earliest(mine.time, theirs.time);
            join_max(&mut mine.title, theirs.title);
            join_max(&mut mine.message, theirs.message);
            join_max(&mut mine.details, theirs.details);
        }
        join_max(&mut self.pricing, other.pricing);
        // The least so many of a union are a join too. The words we know come first in the order.
        while self.statuses.len() > STATUSES_MAX {
            self.statuses.pop_last();
        }
        while self.failures.len() > FAILURES_MAX {
            self.failures.pop_last();
        }
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
        let by_time =
            |(code, failure): &(&i64, &Failure)| (failure.time.is_none(), failure.time, **code);
        self.failures.iter().min_by_key(by_time).map(|(code, _)| *code)
    }
}
