//! What follows from new facts of a message of ours: failures act, a delivery takes a fallback back
//! and is charged, a message on its way is waited for, and one that was read may get an offer.

use std::collections::BTreeSet;

use super::Run;
use super::reactions::About;
use crate::action::{Action, ActionKind, Sender, Terms, fallback, fallback_id, superseded};
use crate::charge::country_of;
use crate::ids::{ConversationKey, Participant, PartyId, WabaId, Wamid};
use crate::overlay::{Source, SourceError};
#[cfg(feature = "planted-bugs")]
use crate::planted::planted;
use crate::records::AboutFields;
use crate::rules::{Directive, normal_category};
use crate::state::{HistoryEntry, Labels, Message, MessageFacts, Receipt, Status, TimerKind};
use crate::time::{SECOND_MS, Timestamp};

/// The least time between the first sight of a message and the judgement of its deadline.
const DEADLINE_AFTER_SIGHT_MS: i64 = 60 * SECOND_MS;

/// A status with the facts that it made known.
pub(super) struct Told<'a> {
    pub status: &'a Status,
    pub participant: &'a Participant,
    pub event_time: Option<Timestamp>,
    /// The status is new to the participant, then each new error code.
    pub news: &'a [(bool, Option<i64>)],
    /// What [`is_awaited`] said before.
    pub was_awaited: bool,
    /// What [`is_read_code`] said before.
    pub was_read_code: bool,
    /// A [`category`] was known before.
    pub was_priced: bool,
    /// The message was known, and the sender's labels came or changed.
    pub is_relabelled: bool,
}

/// A login code that the customer has seen. Status and category come in any order.
pub(super) fn is_read_code(facts: &MessageFacts, participant: &Participant) -> bool {
    facts.receipts.get(participant).is_some_and(|receipt| {
        let category = receipt.pricing.as_ref().and_then(|pricing| pricing.category.as_deref());
        receipt.statuses.contains_key(&Status::Read)
            && category.is_some_and(|name| normal_category(name).starts_with("authentication"))
    })
}

/// Pricing category of a participant, or of the message where the participant has none of its own.
pub(super) fn category<'a>(facts: &'a MessageFacts, participant: &Participant) -> Option<&'a str> {
    let of = |receipt: &'a Receipt| receipt.pricing.as_ref()?.category.as_deref();
    let whole = || facts.receipts.get(&Participant::whole()).and_then(of);
    facts.receipts.get(participant).and_then(of).or_else(whole)
}

/// A message is on its way, and how long that may take can be told.
pub(super) fn is_awaited(facts: &MessageFacts, participant: &Participant) -> bool {
    facts.receipts.get(participant).is_some_and(|receipt| {
        let on_its_way = [Status::Sent, Status::Pending];
        receipt.pricing.as_ref().is_some_and(|pricing| pricing.category.is_some())
            && on_its_way.iter().any(|status| receipt.statuses.contains_key(status))
    })
}

/// A message of ours in one of its states, as actions look at it.
struct Outbound<'a> {
    wamid: &'a Wamid,
    participant: &'a Participant,
    facts: &'a MessageFacts,
    labels: &'a Labels,
}

impl<'a> Outbound<'a> {
    /// Of the participant, or of the message where the participant has none of its own.
    fn receipt(&self) -> Option<&'a Receipt> {
        self.facts.receipts.get(self.participant)
    }

    fn category(&self) -> Option<&'a str> {
        category(self.facts, self.participant)
    }

    fn recipient(&self) -> Option<&'a str> {
        match self.participant.is_whole() {
            true => self.facts.parties.first().map(PartyId::as_str),
            false => Some(self.participant.as_str()),
        }
    }

    fn country(&self) -> Option<&'static str> {
        let parties: &BTreeSet<PartyId> = &self.facts.parties;
        match self.participant.is_whole() {
            true => parties.iter().find_map(|party| country_of(party.as_str())),
            false => country_of(self.participant.as_str()),
        }
    }

    fn sender(&self) -> Sender<'a> {
        Sender {
            waba_id: self.facts.waba_id.as_ref().map(WabaId::as_str),
            phone_number_id: self.facts.phone_number_id.as_ref().map(|id| id.as_str()),
            wamid: Some(self.wamid.as_str()),
            participant: (!self.participant.is_whole()).then(|| self.participant.as_str()),
            recipient: self.recipient(),
            country: self.country(),
            category: self.category(),
            template: self.facts.template_id.as_deref().or(self.labels.template.as_deref()),
            intent: self.labels.intent.as_deref(),
        }
    }

    fn about(&self, event_time: Option<Timestamp>, error_code: Option<i64>) -> About {
        let sender = self.sender();
        let text = |text: Option<&str>| text.map(str::to_owned);
        let fields = AboutFields {
            waba_id: text(sender.waba_id),
            phone_number_id: text(sender.phone_number_id),
            wamid: text(sender.wamid),
            participant: text(sender.participant),
            party: text(sender.recipient),
            template: text(sender.template),
            error_code,
            callback_data: self.facts.callback_data.clone(),
            ..AboutFields::default()
        };
        About { fields, event_time }
    }

    /// Evidence that it reached the customer, whoever of a group.
    fn is_delivered(&self) -> bool {
        match self.participant.is_whole() {
            true => self.facts.state().is_some_and(Status::is_delivery),
            false => self.receipt().and_then(Receipt::state).is_some_and(Status::is_delivery),
        }
    }
}

impl<S: Source + ?Sized> Run<'_, S> {
    /// What follows from a status of a message of ours.
    pub(super) fn follow(
        &mut self,
        wamid: &Wamid,
        message: &Message,
        told: &Told<'_>,
    ) -> Result<(), SourceError> {
        let time = told.event_time.unwrap_or(self.place.log_time);
        if !self.moment().remembers(time) {
            return Ok(());
        }
        let participant = told.participant;
        let (facts, created) = (&message.facts, message.journal.created);
        let history = &message.history;
        let labels = facts.labels();
        let of = |participant| Outbound { wamid, participant, facts, labels: &labels };
        let message = of(participant);
        for &(new_status, code) in told.news {
            if *told.status == Status::Failed {
                let about = message.about(told.event_time, code);
                self.failure(&message.sender(), code, message.is_delivered(), &about)?;
            } else if new_status && told.status.is_delivery() {
                self.delivered(&message, created, told.event_time)?;
            }
        }
        if !told.was_priced && message.category().is_some() {
            self.judge_again(&message, history, told.event_time)?;
        }
        if told.is_relabelled && labels.intent.is_some() {
            for participant in facts.receipts.keys() {
                self.belongs(&of(participant), told.event_time)?;
            }
        }
        if participant.is_whole() && !told.was_read_code && is_read_code(facts, participant) {
            // Of what was read in the history no time is known, and nothing acts on it.
            let now = (*told.status == Status::Read).then_some(time);
            let read = message.receipt().and_then(|receipt| receipt.time_of(&Status::Read));
            if let Some(read) = read.or(now) {
                self.arm_offer(&message, read);
            }
        }
        if participant.is_whole() && !told.was_awaited && is_awaited(facts, participant) {
            self.arm_deadline(&message, created);
        }
        Ok(())
    }

    /// The intent is reached, and a fallback that was asked for is taken back. That can only have been
    /// if the message failed, or was awaited for some time, or another one of its intent did, whatever is
    /// known of this one yet: most deliveries are spared the look.
    fn delivered(
        &mut self,
        message: &Outbound<'_>,
        first_seen: Timestamp,
        event_time: Option<Timestamp>,
    ) -> Result<(), SourceError> {
        let receipt = message.receipt();
        let failed = receipt.is_some_and(|of| of.statuses.contains_key(&Status::Failed));
        let judged = first_seen.plus(DEADLINE_AFTER_SIGHT_MS) <= self.place.log_time;
        let may_have = message.labels.intent.is_some()
            || (judged && is_awaited(message.facts, message.participant));
        if !failed && !may_have {
            return Ok(());
        }
        self.reach(&message.sender())?;
        self.take_back(message, event_time)
    }

    /// The category becomes known: failures of before were judged without it. What was told of them has
    /// its name, and is not told again; a fallback that the category may not have is taken back.
    fn judge_again(
        &mut self,
        message: &Outbound<'_>,
        history: &[HistoryEntry],
        event_time: Option<Timestamp>,
    ) -> Result<(), SourceError> {
        // A failure without a time is one of the past, or there is none: nothing was judged.
        if message.receipt().and_then(|receipt| receipt.time_of(&Status::Failed)).is_none() {
            return Ok(());
        }
        let failures = history.iter().filter(|entry| {
            entry.to == Status::Failed && entry.participant == *message.participant
        });
        for entry in failures {
            // By its own time, as it was judged and named then.
            let about = message.about(entry.event_time, entry.error_code);
            self.failure(&message.sender(), entry.error_code, message.is_delivered(), &about)?;
        }
        let sender = message.sender();
        match self.rules.fallback_valid_ms(sender.waba_id, sender.category) {
            Some(_) => Ok(()),
            None => self.take_back(message, event_time),
        }
    }

    /// The intent of a message that was known becomes known: it may have asked for a fallback alone
    /// before, and one of the two may have been reached.
    fn belongs(
        &mut self,
        message: &Outbound<'_>,
        event_time: Option<Timestamp>,
    ) -> Result<(), SourceError> {
        if message.is_delivered() {
            self.reach(&message.sender())?;
            return self.take_back(message, event_time);
        }
        match self.is_reached(&message.sender())? {
            true => self.take_back(message, event_time),
            false => Ok(()),
        }
    }

    /// Takes back the fallbacks that the message alone and its intent asked for.
    fn take_back(
        &mut self,
        message: &Outbound<'_>,
        event_time: Option<Timestamp>,
    ) -> Result<(), SourceError> {
        let about = message.about(event_time, None);
        for sender in message.sender().with_and_without_intent() {
            let Some(id) = fallback_id(&sender) else { continue };
            if self.decided(&id)?.is_none_or(|decided| decided.expired) {
                continue;
            }
            if let Some(action) = superseded(&id, &sender) {
                self.act(action, &about)?;
            }
        }
        Ok(())
    }

    fn arm_deadline(&mut self, message: &Outbound<'_>, first_seen: Timestamp) {
        if message.facts.group || message.is_delivered() {
            return;
        }
        let Some(due) = self.deadline(message, first_seen) else { return };
        let due = due.max(first_seen.plus(DEADLINE_AFTER_SIGHT_MS));
        self.arm_later(due, TimerKind::DeliveryDeadline(message.wamid.clone()));
    }

    /// When the delivery should have been told, by the rules of now.
    fn deadline(&self, message: &Outbound<'_>, first_seen: Timestamp) -> Option<Timestamp> {
        let waba_id = message.facts.waba_id.as_ref().map(WabaId::as_str);
        let deadline = self.rules.deadline(waba_id, message.category())?;
        let receipt = message.receipt()?;
        let times = [Status::Pending, Status::Sent].map(|status| receipt.time_of(&status));
        let sent = times.into_iter().flatten().min().unwrap_or(first_seen);
        #[cfg(feature = "planted-bugs")]
        let sent = match planted!(ConfigInFold) {
            true => sent.plus(crate::planted::ambient().config_ms),
            false => sent,
        };
        Some(sent.plus(deadline.ttl.as_millis()).plus(deadline.buffer.as_millis()))
    }

    /// Nobody told of a delivery in time: Meta drops such a message without a word.
    pub(super) fn miss_deadline(&mut self, wamid: Wamid) -> Result<(), SourceError> {
        if let Some(until) = self.deadlines_wait() {
            self.arm_later(until, TimerKind::DeliveryDeadline(wamid));
            return Ok(());
        }
        let known = self.overlay.messages.entry(&wamid, |key| self.below.message(key))?.clone();
        let Some(known) = known else { return Ok(()) };
        let participant = Participant::whole();
        let (participant, labels) = (&participant, &known.facts.labels());
        let message = Outbound { wamid: &wamid, participant, facts: &known.facts, labels };
        let Some(due) = self.deadline(&message, known.journal.created) else { return Ok(()) };
        let open = !message.is_delivered() && !self.has_final_failure(&message);
        // By rules that came meanwhile it may have more time.
        if open && due > self.place.log_time {
            self.arm_later(due, TimerKind::DeliveryDeadline(wamid.clone()));
            return Ok(());
        }
        let sender = message.sender();
        match fallback(&self.rules, &sender, due) {
            Some(action) if open => {
                self.fall_back(action, &sender, &message.about(Some(due), None))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// It failed, and a rule said what to do then.
    fn has_final_failure(&self, message: &Outbound<'_>) -> bool {
        let Some(receipt) = message.receipt() else { return false };
        let waits = |code: &i64| {
            let directives = self.rules.on_code(Some(*code), message.category());
            directives.contains(&Directive::AwaitDeadline {})
        };
        receipt.statuses.contains_key(&Status::Failed)
            && !(receipt.failures.keys().any(waits) && receipt.failures.keys().all(waits))
    }

    /// A login code that was read and not used: the customer may need another one.
    fn arm_offer(&mut self, message: &Outbound<'_>, read: Timestamp) {
        let Some(offer) = self.rules.offer_resend() else { return };
        let due = read.plus(offer.after.as_millis());
        let last = due.plus(offer.valid_for.as_millis());
        if !message.facts.group && self.place.log_time <= last {
            self.arm_later(due, TimerKind::OfferResend(message.wamid.clone()));
        }
    }

    pub(super) fn offer_resend(&mut self, wamid: Wamid) -> Result<(), SourceError> {
        if let Some(until) = self.deadlines_wait() {
            self.arm_later(until, TimerKind::OfferResend(wamid));
            return Ok(());
        }
        let known = self.overlay.messages.entry(&wamid, |key| self.below.message(key))?.clone();
        let (Some(known), Some(offer)) = (known, self.rules.offer_resend()) else { return Ok(()) };
        let participant = Participant::whole();
        let (participant, labels) = (&participant, &known.facts.labels());
        let message = Outbound { wamid: &wamid, participant, facts: &known.facts, labels };
        let read = message.receipt().and_then(|receipt| receipt.time_of(&Status::Read));
        let read = read.unwrap_or(known.journal.created);
        let due = read.plus(offer.after.as_millis());
        if due > self.place.log_time {
            self.arm_later(due, TimerKind::OfferResend(wamid.clone()));
            return Ok(());
        }
        let not_after = due.plus(offer.valid_for.as_millis());
        if not_after < self.place.log_time || self.came_back(&known.facts, read)? {
            return Ok(());
        }
        let action = Action {
            kind: ActionKind::OfferResend,
            subject: wamid.to_string(),
            cause: format!("read:{wamid}"),
            terms: Terms { not_after: Some(not_after), ..Terms::default() },
        };
        self.act(action, &message.about(Some(read), None)).map(drop)
    }

    /// The customer wrote or called since, under any identifier that is known to be theirs: a phone
    /// number in a receipt and a user id in the answer are one customer.
    fn came_back(&mut self, facts: &MessageFacts, since: Timestamp) -> Result<bool, SourceError> {
        let Some(phone_number_id) = &facts.phone_number_id else { return Ok(false) };
        let mut parties = facts.parties.clone();
        if let Some(waba_id) = &facts.waba_id {
            parties.extend(self.aliases_of(waba_id, &facts.parties)?);
        }
        for party in parties {
            let key = ConversationKey { phone_number_id: phone_number_id.clone(), party };
            let known =
                self.overlay.conversations.entry(&key, |key| self.below.conversation(key))?;
            let last = known.as_ref().and_then(|conversation| conversation.facts.last_inbound);
            if last.is_some_and(|last| last >= since) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Until when no deadline is judged, if that is so now.
    fn deadlines_wait(&self) -> Option<Timestamp> {
        self.deadlines_wait_until.filter(|until| self.place.log_time < *until)
    }

    /// Arms a timer that fires with a later record.
    fn arm_later(&mut self, due: Timestamp, kind: TimerKind) {
        // What is due by now has fired in order; one behind that order would never be found.
        let due = due.max(self.place.log_time.plus(1));
        self.arm_at(due, kind);
    }
}
