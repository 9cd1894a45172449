//! Statuses and inbound messages: message facts, history, conversation windows and counts.

use super::{Event, Run};
use crate::decode::{InboundItem, Metadata, Site, StatusItem};
use crate::ids::{ConversationKey, NaturalKey, Participant, PartyId, PhoneNumberId, WabaId, Wamid};
use crate::overlay::{Source, SourceError};
use crate::records::{Topic, TransitionRecord};
use crate::state::{
    Conversation, ConversationFacts, Direction, Failure, HistoryEntry, InboundFacts, Message,
    MessageFacts, Natural, NumberFacts, Receipt, Status, TimerKey, TimerKind,
};
use crate::time::Timestamp;

/// A new fact of a message, for its transition.
struct NewFact {
    status: Status,
    participant: Participant,
    event_time: Option<Timestamp>,
    /// The status is new to the participant, and not only one of its error codes.
    new_status: bool,
    error_code: Option<i64>,
}

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn status(&mut self, item: StatusItem, site: &Site<'_>) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref();
        if let Some(metadata) = &item.metadata {
            self.number(metadata, waba_id, item.time)?;
        }
        let mut receipt = Receipt { pricing: item.pricing, ..Receipt::default() };
        receipt.statuses.insert(item.status.clone(), item.time);
        for error in item.errors {
            let failure = Failure {
                time: item.time,
                title: error.title,
                message: error.message,
                details: error.details,
            };
            receipt
                .join(Receipt { failures: [(error.code, failure)].into(), ..Receipt::default() });
        }
        let phone_number_id = item.metadata.map(|metadata| metadata.phone_number_id);
        let facts = MessageFacts {
            waba_id: waba_id.cloned(),
            phone_number_id: phone_number_id.clone(),
            parties: item.parties.iter().cloned().collect(),
            group: item.group,
            inbound: None,
            receipts: [(item.participant.clone(), receipt)].into(),
            callback_data: item.callback_data,
        };
        let sent = item.status == Status::Sent;
        self.message(&item.wamid, facts, item.status, item.participant, item.time)?;
        if sent {
            let facts =
                ConversationFacts { last_outbound: item.time, ..ConversationFacts::default() };
            self.window(phone_number_id, item.parties, waba_id, facts)?;
        }
        Ok(())
    }

    pub(super) fn inbound(
        &mut self,
        item: InboundItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref();
        if let Some(metadata) = &item.metadata {
            self.number(metadata, waba_id, item.time)?;
        }
        let system = item.message_type == "system";
        let phone_number_id = item.metadata.map(|metadata| metadata.phone_number_id);
        let receipt =
            Receipt { statuses: [(Status::Received, item.time)].into(), ..Receipt::default() };
        let inbound =
            InboundFacts { message_type: Some(item.message_type.clone()), reply_to: item.reply_to };
        let facts = MessageFacts {
            waba_id: waba_id.cloned(),
            phone_number_id: phone_number_id.clone(),
            parties: item.parties.iter().cloned().collect(),
            group: item.group,
            inbound: Some(inbound),
            receipts: [(Participant::whole(), receipt)].into(),
            callback_data: None,
        };
        let known = self.overlay.messages.entry(&item.wamid, |key| self.below.message(key))?;
        let first = known.as_ref().is_none_or(|message| message.facts.inbound.is_none());
        if first {
            let natural_key = NaturalKey::new(format!("msg:{}", item.wamid));
            self.event(
                site,
                Event {
                    key: item.wamid.to_string(),
                    kind: item.message_type,
                    natural_key: natural_key.as_str(),
                    time: item.time,
                    phone_number_id: phone_number_id.as_ref(),
                    party: item.parties.first().map(ToString::to_string),
                    wamid: Some(&item.wamid),
                    text: item.text,
                },
            );
        }
        self.message(&item.wamid, facts, Status::Received, Participant::whole(), item.time)?;
        // WhatsApp itself wrote it, on the customer's behalf.
        if system {
            return Ok(());
        }
        let facts = ConversationFacts {
            first_inbound: item.time,
            last_inbound: item.time,
            ..ConversationFacts::default()
        };
        self.window(phone_number_id, item.parties, waba_id, facts)
    }

    /// Joins new facts into a message; a fact that was not known becomes a transition, a better
    /// value of a known one only a new row.
    fn message(
        &mut self,
        wamid: &Wamid,
        learned: MessageFacts,
        status: Status,
        participant: Participant,
        event_time: Option<Timestamp>,
    ) -> Result<(), SourceError> {
        let before = self.overlay.messages.entry(wamid, |key| self.below.message(key))?.clone();
        let mut facts = before.as_ref().map(|message| message.facts.clone()).unwrap_or_default();
        facts.join(learned);
        if before.as_ref().is_some_and(|message| message.facts == facts) {
            return Ok(());
        }
        let log_time = self.place.log_time;
        let mut message = Message {
            journal: self.journal(before.as_ref().map(|message| message.journal)),
            list_time: before
                .as_ref()
                .map_or_else(|| event_time.unwrap_or(log_time), |message| message.list_time),
            history: before.as_ref().map(|message| message.history.clone()).unwrap_or_default(),
            facts,
        };
        let known = before.as_ref().and_then(|message| message.facts.receipts.get(&participant));
        for (new_status, error_code) in
            new_facts(known, message.facts.receipts.get(&participant), &status)
        {
            let fact = NewFact {
                status: status.clone(),
                participant: participant.clone(),
                event_time,
                new_status,
                error_code,
            };
            // A further code of a status finds the state as the status left it.
            let from = if new_status { before.as_ref() } else { Some(&message) };
            let entry = self.transition(wamid, from, &message, fact);
            message.history.push(entry);
        }
        self.move_counts(before.as_ref(), &message)?;
        if before.is_none() {
            self.arm(message.journal.changed, TimerKind::ExpireMessage(wamid.clone()));
        }
        if !participant.is_whole() {
            self.dirty.messages.insert((wamid.clone(), participant));
        }
        self.dirty.messages.insert((wamid.clone(), Participant::whole()));
        *self.overlay.messages.entry(wamid, |key| self.below.message(key))? = Some(message);
        Ok(())
    }

    fn transition(
        &mut self,
        wamid: &Wamid,
        before: Option<&Message>,
        after: &Message,
        fact: NewFact,
    ) -> HistoryEntry {
        // Of the participant, or of the message: what the row of the same key shows.
        let shown = |message: &Message| message.facts.shown(&fact.participant).cloned();
        let from = before.and_then(shown);
        let state = shown(after).unwrap_or_else(|| fact.status.clone());
        let raised = from.as_ref().is_none_or(|from| from.rank() < state.rank());
        let late = fact.new_status && fact.status.rank() > 0 && !raised;
        let key = match fact.participant.is_whole() {
            true => wamid.to_string(),
            false => format!("{wamid}/{}", fact.participant),
        };
        let record = TransitionRecord {
            source: self.emit.source(fact.event_time),
            entity: "message".to_owned(),
            key: key.clone(),
            waba_id: after.facts.waba_id.as_ref().map(WabaId::to_string),
            phone_number_id: after.facts.phone_number_id.as_ref().map(PhoneNumberId::to_string),
            wamid: Some(wamid.to_string()),
            participant: (!fact.participant.is_whole()).then(|| fact.participant.to_string()),
            from: from.as_ref().map(|status| status.as_str().to_owned()),
            to: fact.status.as_str().to_owned(),
            state: state.as_str().to_owned(),
            late,
            error_code: fact.error_code,
            reason: None,
        };
        let entry = HistoryEntry {
            to: fact.status,
            from,
            state,
            participant: fact.participant,
            late,
            event_time: fact.event_time,
            log_time: self.place.log_time,
            received_time: self.place.received,
            error_code: fact.error_code,
            offset: self.place.offset,
            ordinal: self.emit.ordinal(),
        };
        self.emit.record(Topic::Transition, key, &record);
        entry
    }

    /// Counts are Σ g(facts) over messages, moved by g(new) − g(old): a message counts once in the
    /// conversation and direction that its facts show, and moves when they do.
    fn move_counts(
        &mut self,
        before: Option<&Message>,
        after: &Message,
    ) -> Result<(), SourceError> {
        let place = |facts: &MessageFacts| Some((facts.conversation()?, facts.direction()));
        let old = before.and_then(|message| place(&message.facts));
        let new = place(&after.facts);
        if old == new {
            return Ok(());
        }
        let waba_id = after.facts.waba_id.clone();
        if let Some((key, direction)) = old {
            self.conversation(key, |conversation| {
                let count = conversation.count_mut(direction);
                *count = count.saturating_sub(1);
            })?;
        }
        if let Some((key, direction)) = new {
            self.conversation(key, |conversation| {
                conversation
                    .facts
                    .join(ConversationFacts { waba_id, ..ConversationFacts::default() });
                let count = conversation.count_mut(direction);
                *count = count.saturating_add(1);
            })?;
        }
        Ok(())
    }

    /// Joins window facts into the conversation that the item itself names.
    fn window(
        &mut self,
        phone_number_id: Option<PhoneNumberId>,
        parties: Vec<PartyId>,
        waba_id: Option<&WabaId>,
        facts: ConversationFacts,
    ) -> Result<(), SourceError> {
        let (Some(phone_number_id), Some(party)) = (phone_number_id, parties.into_iter().next())
        else {
            return Ok(());
        };
        let facts = ConversationFacts { waba_id: waba_id.cloned(), ..facts };
        self.conversation(ConversationKey { phone_number_id, party }, |c| c.facts.join(facts))
    }

    /// Changes a conversation, which appears if it is not there.
    fn conversation(
        &mut self,
        key: ConversationKey,
        change: impl FnOnce(&mut Conversation),
    ) -> Result<(), SourceError> {
        let before =
            self.overlay.conversations.entry(&key, |key| self.below.conversation(key))?.clone();
        let mut after = before.clone().unwrap_or_else(|| Conversation {
            facts: ConversationFacts::default(),
            inbound_count: 0,
            outbound_count: 0,
            journal: self.journal(None),
        });
        change(&mut after);
        if before.as_ref() == Some(&after) || (before.is_none() && after.is_empty()) {
            return Ok(());
        }
        after.journal = self.journal(before.as_ref().map(|conversation| conversation.journal));
        if before.is_none() {
            self.arm(after.journal.changed, TimerKind::ExpireConversation(key.clone()));
        }
        // A conversation whose last message moved away was never one: the identifiers came late.
        let after = (!after.is_empty()).then_some(after);
        *self.overlay.conversations.entry(&key, |key| self.below.conversation(key))? = after;
        self.dirty.conversations.insert(key);
        Ok(())
    }

    /// Learns of a number from `metadata`.
    pub(super) fn number(
        &mut self,
        metadata: &Metadata,
        waba_id: Option<&WabaId>,
        time: Option<Timestamp>,
    ) -> Result<(), SourceError> {
        let key = &metadata.phone_number_id;
        let before = self.overlay.numbers.entry(key, |key| self.below.number(key))?.clone();
        let mut facts = before.as_ref().map(|number| number.facts.clone()).unwrap_or_default();
        let displays =
            metadata.display_phone_number.iter().map(|display| (display.clone(), time)).collect();
        facts.join(NumberFacts { waba_id: waba_id.cloned(), displays });
        if before.as_ref().is_some_and(|number| number.facts == facts) {
            return Ok(());
        }
        let journal = self.journal(before.map(|number| number.journal));
        let after = Some(crate::state::Number { facts, journal });
        *self.overlay.numbers.entry(key, |key| self.below.number(key))? = after;
        self.dirty.numbers.insert(key.clone());
        Ok(())
    }

    /// True the first time a natural key is met within the retention.
    pub(super) fn first_time(&mut self, key: &NaturalKey) -> Result<bool, SourceError> {
        let known = self.overlay.naturals.entry(key, |key| self.below.natural(key))?;
        if known.is_some() {
            return Ok(false);
        }
        *known = Some(Natural { offset: self.place.offset, changed: self.place.log_time });
        self.arm(self.place.log_time, TimerKind::ExpireNatural(key.clone()));
        Ok(true)
    }

    /// Arms the expiry timer of something that changed at `changed`.
    pub(super) fn arm(&mut self, changed: Timestamp, kind: TimerKind) {
        self.overlay.timers.insert(TimerKey { due: changed.plus(super::RETENTION_MS), kind }, true);
    }
}

impl Conversation {
    fn is_empty(&self) -> bool {
        let ConversationFacts { waba_id: _, first_inbound, last_inbound, last_outbound } =
            self.facts;
        let times = first_inbound.or(last_inbound).or(last_outbound);
        times.is_none() && self.inbound_count == 0 && self.outbound_count == 0
    }

    fn count_mut(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::Inbound => &mut self.inbound_count,
            Direction::Outbound => &mut self.outbound_count,
        }
    }
}

/// The facts of a status item that were not known: the status, with its first new error code, and
/// each further new code. What was evicted again by a bound is not a fact.
fn new_facts(
    before: Option<&Receipt>,
    after: Option<&Receipt>,
    status: &Status,
) -> Vec<(bool, Option<i64>)> {
    let Some(after) = after else { return Vec::new() };
    let new_status = after.statuses.contains_key(status)
        && before.is_none_or(|before| !before.statuses.contains_key(status));
    let is_new = |code: &i64| before.is_none_or(|before| !before.failures.contains_key(code));
    let mut codes = after.failures.keys().copied().filter(is_new);
    let mut facts = Vec::new();
    if new_status {
        facts.push((true, codes.next()));
    }
    facts.extend(codes.map(|code| (false, Some(code))));
    facts
}
