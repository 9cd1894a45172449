//! Messages that came to us, and what is learned of any message: facts, history, transitions.

use super::charges::bill_of;
use super::outbound::{Told, category, is_awaited, is_read_code};
use super::{Event, Run};
use crate::decode::{MessageItem, Origin, Site, Target};
use crate::ids::{NaturalKey, Participant, PartyId, PhoneNumberId, WabaId, Wamid};
use crate::overlay::{Source, SourceError};
use crate::records::{EventDetails, TransitionRecord};
use crate::state::{
    Annotations, Content, ConversationFacts, Direction, Few, HistoryEntry, Message, MessageFacts,
    Reaction, Receipt, Status, TimerKind, first_code,
};
use crate::time::Timestamp;

/// What an item says of a message.
pub(super) struct Learned {
    pub(super) facts: MessageFacts,
    /// The status among the facts, and whose it is.
    pub(super) status: Status,
    pub(super) participant: Participant,
    pub(super) time: Option<Timestamp>,
    pub(super) origin: Origin,
}

/// A new fact of a message, for its transition.
struct NewFact<'a> {
    status: &'a Status,
    participant: &'a Participant,
    time: Option<Timestamp>,
    /// The status is new to the participant, and not only one of its error codes.
    new_status: bool,
    error_code: Option<i64>,
    origin: Origin,
    /// The message that did it, of an edit, a revocation or a reaction.
    cause: Option<&'a Wamid>,
    /// What is known already is newer.
    superseded: bool,
}

/// What a message does to another one.
struct Annotation<'a> {
    cause: &'a Wamid,
    target: Target,
    by: Option<PartyId>,
    time: Option<Timestamp>,
    origin: Origin,
    /// The message that does it comes for the first time.
    first: bool,
}

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn message_item(
        &mut self,
        item: MessageItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref();
        if let Some(metadata) = &item.metadata {
            self.number(metadata, waba_id, item.time)?;
        }
        self.link(waba_id, &item.links, item.time)?;
        let first = self.is_new_message(&item)?;
        if first {
            self.message_event(&item, site);
            self.notice_message(&item, site)?;
        }
        // Also of one that the history or another owner's copy told of first: those ask for nothing.
        self.choice(&item, waba_id)?;
        let MessageItem { wamid, time, direction, origin, group, parties, sender, .. } = item;
        let phone_number_id = item.metadata.map(|metadata| metadata.phone_number_id);
        let system = item.message_type == "system";
        let placeholder = item.message_type == "media_placeholder";
        let by = sender.clone().or_else(|| match direction {
            Direction::Inbound => parties.first().cloned(),
            Direction::Outbound => None,
        });
        let content = Content {
            message_type: (!placeholder).then_some(item.message_type),
            reply_to: item.reply_to,
            target: item.said.target.as_ref().map(|target| target.wamid().clone()),
            sender,
            forwarded: item.forwarded,
            media: item.said.media,
            errors: item.errors,
        };
        let content = Some(Box::new(content));
        let (inbound, echo, status) = match direction {
            Direction::Inbound => (content, None, Status::Received),
            Direction::Outbound => {
                let past = item.past_status.filter(|status| *status != Status::Received);
                (None, content, past.unwrap_or_else(|| Status::Other(Status::ECHO.to_owned())))
            }
        };
        // Of a status in the history only the message's own time is told.
        let of_past = direction == Direction::Outbound && status.rank() > 0;
        let receipt = Receipt {
            statuses: [(status.clone(), time.filter(|_| !of_past))].into_iter().collect(),
            ..Receipt::default()
        };
        let facts = MessageFacts {
            waba_id: waba_id.cloned(),
            phone_number_id: phone_number_id.clone(),
            parties: parties.iter().cloned().collect(),
            group,
            standby: origin == Origin::Standby,
            inbound,
            echo,
            receipts: [(Participant::whole(), receipt)].into_iter().collect(),
            traces: item.traces.into_iter().collect(),
            ..MessageFacts::default()
        };
        let participant = Participant::whole();
        self.message(&wamid, Learned { facts, status, participant, time, origin })?;
        if let Some(target) = item.said.target {
            let annotation = Annotation { cause: &wamid, target, by, time, origin, first };
            self.annotate(annotation, waba_id)?;
        }
        // WhatsApp itself wrote it, on the customer's behalf; the past opens nothing; what the app
        // sent moves no window.
        if system || origin == Origin::History || direction == Direction::Outbound {
            return Ok(());
        }
        let facts = ConversationFacts {
            waba_id: waba_id.cloned(),
            contacted: true,
            first_inbound: time,
            last_inbound: time,
            referral: item.referral,
            call_permission: item.call_permission,
            ..ConversationFacts::default()
        };
        self.learn_conversation(phone_number_id, parties.into_iter().next(), time, facts)
    }

    /// True unless the message itself was told to us before.
    fn is_new_message(&mut self, item: &MessageItem) -> Result<bool, SourceError> {
        let known = self.overlay.messages.entry(&item.wamid, |key| self.below.message(key))?;
        let told = |message: &Message| match item.direction {
            Direction::Inbound => message.facts.inbound.is_some(),
            Direction::Outbound => message.facts.echo.is_some(),
        };
        Ok(!known.as_ref().is_some_and(told))
    }

    fn message_event(&mut self, item: &MessageItem, site: &Site<'_>) {
        let family = match (item.origin, item.direction) {
            (Origin::History, _) => "hmsg",
            (Origin::Live, Direction::Inbound) => "msg",
            (Origin::Live, Direction::Outbound) => "echo",
            (Origin::Standby, Direction::Inbound) => "standby/msg",
            (Origin::Standby, Direction::Outbound) => "standby/echo",
        };
        let said = &item.said;
        let media = said.media.as_ref();
        let total = said.order.as_ref().and_then(|order| order.total.as_ref());
        let media_valid_ms = self.rules.media_valid_ms();
        let details = || EventDetails {
            origin: item.origin.word().map(str::to_owned),
            sender: item.sender.as_ref().map(ToString::to_string),
            subtype: said.subtype.clone(),
            payload: said.payload.clone(),
            reply_to: item.reply_to.clone(),
            target_wamid: said.target.as_ref().map(|target| target.wamid().to_string()),
            forwarded: item.forwarded,
            media_id: media.map(|media| media.id.clone()),
            media_mime_type: media.and_then(|media| media.mime_type.clone()),
            media_sha256: media.and_then(|media| media.sha256.clone()),
            media_filename: media.and_then(|media| media.filename.clone()),
            media_expire_time: media.and(item.time).map(|time| time.plus(media_valid_ms)),
            latitude: said.location.map(|(latitude, _)| latitude),
            longitude: said.location.map(|(_, longitude)| longitude),
            address: said.address.clone(),
            catalog_id: said.catalog_id.clone(),
            product_id: said.product_id.clone(),
            item_count: said.order.as_ref().map(|order| order.item_count),
            total_price: total.map(|(price, _)| *price),
            currency: total.map(|(_, currency)| currency.clone()),
            card_count: said.card_count,
            reply_name: said.reply_name.clone(),
            reference_id: said.reference_id.clone(),
            new_value: said.new_value.clone(),
            referral_source_type: item.referral.as_ref().and_then(|r| r.source_type.clone()),
            referral_source_id: item.referral.as_ref().and_then(|r| r.source_id.clone()),
            ctwa_clid: item.referral.as_ref().and_then(|r| r.ctwa_clid.clone()),
            error_code: first_code(&item.errors),
            ..EventDetails::default()
        };
        self.event(site, item.time, || Event {
            key: item.wamid.to_string(),
            kind: item.message_type.clone(),
            natural_key: NaturalKey::new(format!("{family}:{}", item.wamid)).into_text(),
            phone_number_id: item.metadata.as_ref().map(|metadata| &metadata.phone_number_id),
            party: item.parties.first().map(ToString::to_string),
            wamid: Some(&item.wamid),
            text: said.text.clone(),
            details: details(),
        });
    }

    /// A status whose word nobody told us of: kept in the message like any other, and counted as an
    /// event once, so that it is seen.
    pub(super) fn unknown_status(
        &mut self,
        wamid: &Wamid,
        status: &Status,
        participant: &Participant,
        time: Option<Timestamp>,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let known = self.overlay.messages.entry(wamid, |key| self.below.message(key))?;
        let receipt = known.as_ref().and_then(|message| message.facts.receipts.get(participant));
        if receipt.is_some_and(|receipt| receipt.statuses.contains_key(status)) {
            return Ok(());
        }
        let whose = if participant.is_whole() { String::new() } else { format!(":{participant}") };
        self.event(site, time, || Event {
            key: wamid.to_string(),
            kind: "unknown_status".to_owned(),
            natural_key: NaturalKey::new(format!("st:{wamid}:{}{whose}", status.as_str()))
                .into_text(),
            wamid: Some(wamid),
            ..Event::default()
        });
        self.new_word("status", status.as_str(), site.waba_id.as_ref())
    }

    /// Joins new facts into a message; a fact that was not known becomes a transition, a better
    /// value of a known one only a new row.
    pub(super) fn message(&mut self, wamid: &Wamid, learned: Learned) -> Result<(), SourceError> {
        let Learned { facts, status, participant, time, origin } = learned;
        let before = self.overlay.messages.take(wamid, |key| self.below.message(key))?;
        let is_new = before.is_none();
        let mut message = before.unwrap_or_else(|| self.new_message());
        let known = message.facts.receipts.get(&participant);
        let new_status = known.is_none_or(|known| !known.statuses.contains_key(&status));
        // A code that another status named first is judged by the failure, as if it had come alone.
        let fails = new_status && status == Status::Failed;
        let codes: Vec<i64> = facts
            .receipts
            .get(&participant)
            .into_iter()
            .flat_map(|receipt| receipt.failures.keys().copied())
            .filter(|code| fails || known.is_none_or(|known| !known.failures.contains_key(code)))
            .collect();
        // What was never told to us live is nothing to act on.
        let acts = origin != Origin::History && message.facts.direction() == Direction::Outbound;
        let bill = if acts { bill_of(&message, &participant) } else { None };
        let was_awaited = is_awaited(&message.facts, &participant);
        let was_read_code = is_read_code(&message.facts, &participant);
        let was_priced = category(&message.facts, &participant).is_some();
        // Of two the greatest counts, as the facts join them.
        let is_relabelled = !is_new && facts.callback_data > message.facts.callback_data;
        let from = message.facts.shown(&participant).cloned();
        let appeared = message.facts.has_appeared();
        let place = place(&message.facts);
        if !message.facts.join(facts) {
            self.overlay.messages.put(wamid, (!is_new).then_some(message));
            return Ok(());
        }
        if !appeared {
            message.list_time = time.unwrap_or(self.place.log_time);
        }
        message.journal = self.journal((!is_new).then_some(message.journal));
        // What a bound left out is not a fact.
        let kept = message.facts.receipts.get(&participant);
        let new_status = new_status && kept.is_some_and(|kept| kept.statuses.contains_key(&status));
        let mut codes = codes
            .into_iter()
            .filter(|code| kept.is_some_and(|kept| kept.failures.contains_key(code)))
            .collect::<Vec<_>>()
            .into_iter();
        let new = |new_status, error_code| NewFact {
            status: &status,
            participant: &participant,
            time,
            new_status,
            error_code,
            origin,
            cause: None,
            superseded: false,
        };
        let mut news = Vec::new();
        if new_status {
            let code = codes.next();
            self.transition(wamid, from, &mut message, new(true, code));
            news.push((true, code));
        }
        for code in codes {
            // A further code of a status finds the state as the status left it.
            let from = message.facts.shown(&participant).cloned();
            self.transition(wamid, from, &mut message, new(false, Some(code)));
            news.push((false, Some(code)));
        }
        if acts {
            let (status, participant) = (&status, &participant);
            let (event_time, news) = (time, news.as_slice());
            let told = Told {
                status,
                participant,
                event_time,
                news,
                was_awaited,
                was_read_code,
                was_priced,
                is_relabelled,
            };
            self.note_charge(wamid, &message, participant, bill);
            self.follow(wamid, &message, &told)?;
        }
        self.move_counts(place, self::place(&message.facts), &message.facts.waba_id)?;
        if is_new {
            self.arm(message.journal.changed, TimerKind::ExpireMessage(wamid.clone()));
        }
        if !participant.is_whole() {
            self.dirty.messages.insert((wamid.clone(), participant));
        }
        self.dirty.messages.insert((wamid.clone(), Participant::whole()));
        self.overlay.messages.put(wamid, Some(message));
        Ok(())
    }

    /// Keeps an edit, a revocation or a reaction with the message it is about, which may not have
    /// come yet.
    fn annotate(
        &mut self,
        annotation: Annotation<'_>,
        waba_id: Option<&WabaId>,
    ) -> Result<(), SourceError> {
        let Annotation { cause, target, by, time, origin, first } = annotation;
        let wamid = target.wamid().clone();
        let mut annotations = Annotations::default();
        let word = match target {
            Target::Edits(_) => {
                annotations.edits.insert(cause.clone(), time);
                Status::EDITED
            }
            Target::Revokes(_) => {
                annotations.revokes.insert(cause.clone(), time);
                Status::REVOKED
            }
            Target::Reacts { emoji, .. } => {
                let reaction = Reaction { time, wamid: cause.clone(), emoji };
                // Ours have no identifier beside our own number, which every one of them shares.
                let by = by.unwrap_or_else(|| PartyId::new(""));
                annotations.reactions.insert(by, reaction);
                Status::REACTED
            }
        };
        let status = Status::Other(word.to_owned());
        let before = self.overlay.messages.take(&wamid, |key| self.below.message(key))?;
        let is_new = before.is_none();
        let mut message = before.unwrap_or_else(|| self.new_message());
        let from = message.facts.shown(&Participant::whole()).cloned();
        let facts = MessageFacts {
            waba_id: waba_id.cloned(),
            annotations: Some(Box::new(annotations)),
            ..MessageFacts::default()
        };
        let learned = message.facts.join(facts);
        if !learned && !first {
            self.overlay.messages.put(&wamid, (!is_new).then_some(message));
            return Ok(());
        }
        message.journal = self.journal((!is_new).then_some(message.journal));
        if first {
            let fact = NewFact {
                status: &status,
                participant: &Participant::whole(),
                time,
                new_status: true,
                error_code: None,
                origin,
                cause: Some(cause),
                superseded: !learned,
            };
            self.transition(&wamid, from, &mut message, fact);
        }
        if is_new {
            self.arm(message.journal.changed, TimerKind::ExpireMessage(wamid.clone()));
        }
        self.dirty.messages.insert((wamid.clone(), Participant::whole()));
        self.overlay.messages.put(&wamid, Some(message));
        Ok(())
    }

    fn new_message(&self) -> Message {
        Message {
            facts: MessageFacts::default(),
            journal: self.journal(None),
            list_time: self.place.log_time,
            history: Vec::new(),
            charged: Few::new(),
        }
    }

    /// Writes the transition of a new fact, which the message has joined, and its line of history.
    fn transition(
        &mut self,
        wamid: &Wamid,
        from: Option<Status>,
        message: &mut Message,
        fact: NewFact<'_>,
    ) {
        // Of the participant, or of the message: what the row of the same key shows.
        let state = message.facts.shown(fact.participant).unwrap_or(fact.status).clone();
        let raised = from.as_ref().is_none_or(|from| from.rank() < state.rank());
        let late = fact.superseded || (fact.new_status && fact.status.rank() > 0 && !raised);
        let ordinal = self.emit.ordinal();
        if let Some(source) = self.emit.begin(fact.time) {
            let facts = &message.facts;
            let key = wamid.row_key(fact.participant);
            let record = TransitionRecord {
                source,
                entity: "message",
                key: key.as_str(),
                waba_id: facts.waba_id.as_ref().map(WabaId::as_str),
                phone_number_id: facts.phone_number_id.as_ref().map(PhoneNumberId::as_str),
                wamid: Some(wamid.as_str()),
                participant: (!fact.participant.is_whole()).then(|| fact.participant.as_str()),
                from: from.as_ref().map(Status::as_str),
                to: fact.status.as_str(),
                state: state.as_str(),
                late,
                error_code: fact.error_code,
                reason: None,
                party: None,
                origin: fact.origin.word(),
                cause_wamid: fact.cause.map(Wamid::as_str),
            };
            self.emit.transition(key.clone(), &record);
        }
        message.history.push(HistoryEntry {
            to: fact.status.clone(),
            from,
            state,
            participant: fact.participant.clone(),
            late,
            event_time: fact.time,
            log_time: self.place.log_time,
            received_time: self.place.received,
            error_code: fact.error_code,
            offset: self.place.offset,
            ordinal,
        });
    }
}

/// Where a message counts: the conversation and direction that its facts show.
fn place(facts: &MessageFacts) -> Option<(crate::ids::ConversationKey, Direction)> {
    Some((facts.conversation()?, facts.direction()))
}
