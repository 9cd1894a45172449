//! A message, ours or the customer's, as its statuses and its webhook tell of it.

use std::collections::BTreeSet;

use super::content::{Annotations, Content};
use super::labels::Labels;
use super::receipt::{Receipt, Status};
use super::{Few, Journal, PARTIES_MAX, join_boxed, join_least, learn_max, learn_min, learn_true};
use crate::ids::{ConversationKey, Participant, PartyId, PhoneNumberId, WabaId};
use crate::time::Timestamp;

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
    /// Fixed once the message has appeared, so that page tokens stay good.
    pub list_time: Timestamp,
    /// Each new fact once, in the order of the raw log.
    pub history: Vec<HistoryEntry>,
    /// Journal: raw offset of the record that told the charge of a participant last, which is the
    /// charge's sequence. None was told of those that are not here.
    pub charged: Few<Participant, u64>,
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
    /// True once something of it came by `standby`: another owner held the thread then.
    pub standby: bool,
    /// Present once the message itself came in.
    pub inbound: Option<Box<Content>>,
    /// Present once a message of ours was told to us: by an echo of the business app, or by the
    /// history.
    pub echo: Option<Box<Content>>,
    /// What is known per participant; the whole message is the empty participant.
    pub receipts: Few<Participant, Receipt>,
    /// `biz_opaque_callback_data`; the greatest, should two differ.
    pub callback_data: Option<String>,
    /// `template_id` of a direct send.
    pub template_id: Option<String>,
    /// `conversation` of its statuses. Since July 2025 its id is one per message.
    pub billing: Option<Box<BillingConversation>>,
    /// Every `fbtrace_id` that came with it: what Meta's support asks for.
    pub traces: BTreeSet<String>,
    /// What later messages did to it.
    pub annotations: Option<Box<Annotations>>,
}

/// `conversation` of a status: what Meta billed by until July 2025, and free entry points since.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BillingConversation {
    /// `id`.
    pub id: Option<String>,
    /// `origin.type`.
    pub origin: Option<String>,
    /// `expiration_timestamp`, on `sent` only.
    pub expires: Option<Timestamp>,
}

/// Trace ids kept of a message. Meta gives one per error.
const TRACES_MAX: usize = 16;

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
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let mut learned = learn_min(&mut self.waba_id, other.waba_id)
            | learn_min(&mut self.phone_number_id, other.phone_number_id)
            | learn_true(&mut self.group, other.group)
            | learn_true(&mut self.standby, other.standby)
            | join_boxed(&mut self.inbound, other.inbound, Content::join)
            | join_boxed(&mut self.echo, other.echo, Content::join)
            | learn_max(&mut self.callback_data, other.callback_data)
            | learn_max(&mut self.template_id, other.template_id)
            | join_boxed(&mut self.billing, other.billing, BillingConversation::join)
            | join_boxed(&mut self.annotations, other.annotations, Annotations::join);
        learned |= join_least(&mut self.parties, other.parties, PARTIES_MAX);
        for (participant, receipt) in other.receipts {
            match self.receipts.get_mut(&participant) {
                Some(mine) => learned |= mine.join(receipt),
                None => {
                    self.receipts.insert(participant, receipt.within_bounds());
                    learned = true;
                }
            }
        }
        learned | join_least(&mut self.traces, other.traces, TRACES_MAX)
    }

    /// True once something told of the message itself, and not only of what was done to it.
    pub fn has_appeared(&self) -> bool {
        !self.receipts.is_empty()
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

    /// What is known of the message itself.
    pub fn content(&self) -> Option<&Content> {
        self.inbound.as_deref().or(self.echo.as_deref())
    }

    /// When its media can no longer be fetched: so many milliseconds after the message, if its time
    /// is known.
    pub fn media_expires(&self, valid_ms: i64) -> Option<Timestamp> {
        self.content()?.media.as_ref()?;
        let receipt = self.receipts.get(&Participant::whole())?;
        let told = receipt.statuses.values().copied().flatten().min();
        told.map(|time| time.plus(valid_ms))
    }

    /// What the sender wrote about it into `biz_opaque_callback_data`.
    pub fn labels(&self) -> Labels {
        self.callback_data.as_deref().map(Labels::parse).unwrap_or_default()
    }

    /// The conversation it is listed and counted in: our number and the least identifier of the
    /// other side. Identifiers that arrive later may move it; counts move with it.
    pub fn conversation(&self) -> Option<ConversationKey> {
        let party = self.parties.first()?.clone();
        Some(ConversationKey { phone_number_id: self.phone_number_id.clone()?, party })
    }
}

impl BillingConversation {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { id, origin, expires } = other;
        learn_max(&mut self.id, id)
            | learn_max(&mut self.origin, origin)
            | learn_max(&mut self.expires, expires)
    }
}
