//! What a message may have asked for: the names of actions and alerts, as its facts and history give
//! them.
//!
//! The fold remembers a decision by its name alone. A name follows from what is done, to what and
//! why, so whoever knows the message can make every name that it may have asked for, and look which
//! of them were decided. Which of them the rules asked for does not matter here: what they did not
//! ask for was not decided.

use std::collections::BTreeMap;

use super::react::{fallback_key, suppression};
use super::{Action, ActionId, ActionKind, AlertKind, Failed, Sender, Terms, superseded};
use crate::charge::{ChargeId, country_of};
use crate::ids::{Participant, PartyId, WabaId, Wamid};
use crate::rules::HaltScope;
use crate::state::{HistoryEntry, Labels, Message, MessageFacts, Status};
use crate::time::Timestamp;

/// An action or an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Something to be done.
    Action(ActionKind),
    /// Something to look at.
    Alert(AlertKind),
}

/// What a message may have asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub what: Decision,
    /// Its name.
    pub id: ActionId,
    /// For whom of a group; the message itself otherwise.
    pub participant: Participant,
}

/// Everything that a message may have asked for, by kind. What it was known under when it asked
/// (parties, labels, template) must still be known: facts are kept, so that holds unless the sender
/// gave two callback data for one message.
pub fn asked_for(wamid: &Wamid, message: &Message) -> Vec<Asked> {
    let (mut names, facts) = (Names::default(), &message.facts);
    if facts.inbound.is_some() {
        names.inbound(wamid, message);
    }
    let labels = facts.labels();
    for (participant, receipt) in &facts.receipts {
        // Most inbound messages have nothing else; one with statuses beside was taken for ours.
        if receipt.statuses.keys().all(|status| *status == Status::Received) {
            continue;
        }
        let of = Of { wamid, participant, facts, labels: &labels };
        let history = message.history.iter();
        let failures = history.filter(|e| e.participant == *participant && e.to == Status::Failed);
        names.outbound(&of, failures);
    }
    let mut asked: Vec<_> = names
        .0
        .into_iter()
        .map(|(id, (what, participant))| Asked { what, id, participant })
        .collect();
    asked.sort_by(|a, b| (a.what, &a.participant, &a.id).cmp(&(b.what, &b.participant, &b.id)));
    asked
}

/// One participant of a message of ours.
struct Of<'a> {
    wamid: &'a Wamid,
    participant: &'a Participant,
    facts: &'a MessageFacts,
    labels: &'a Labels,
}

impl<'a> Of<'a> {
    fn sender(&self) -> Sender<'a> {
        Sender {
            waba_id: self.facts.waba_id.as_ref().map(WabaId::as_str),
            phone_number_id: self.facts.phone_number_id.as_ref().map(|id| id.as_str()),
            wamid: Some(self.wamid.as_str()),
            participant: (!self.participant.is_whole()).then(|| self.participant.as_str()),
            ..Sender::default()
        }
    }

    fn recipients(&self) -> Vec<&'a str> {
        match self.participant.is_whole() {
            true => self.facts.parties.iter().map(PartyId::as_str).collect(),
            false => vec![self.participant.as_str()],
        }
    }

    fn with_and_without_intent(&self) -> impl Iterator<Item = Sender<'a>> {
        let intent = self.labels.intent.as_deref();
        Sender { intent, ..self.sender() }.with_and_without_intent()
    }

    /// Every template that a halt may have been about.
    fn templates(&self) -> [Option<&'a str>; 3] {
        [None, self.facts.template_id.as_deref(), self.labels.template.as_deref()]
    }
}

/// Names, each once.
#[derive(Default)]
struct Names(BTreeMap<ActionId, (Decision, Participant)>);

impl Names {
    fn action(&mut self, action: Option<Action>, participant: &Participant) {
        if let Some(action) = action {
            let entry = (Decision::Action(action.kind), participant.clone());
            self.0.entry(action.id()).or_insert(entry);
        }
    }

    fn alert(&mut self, kind: AlertKind, subject: &str, cause: &str, participant: &Participant) {
        let id = ActionId::of_alert(kind, subject, cause);
        let entry = self.0.entry(id);
        entry.or_insert_with(|| (Decision::Alert(kind), participant.clone()));
    }

    fn inbound(&mut self, wamid: &Wamid, message: &Message) {
        let whole = Participant::whole();
        let facts = &message.facts;
        let cause = format!("msg:{wamid}");
        let account = facts.waba_id.as_ref().map(WabaId::as_str);
        for party in &facts.parties {
            if let Some(number) = &facts.phone_number_id {
                let subject = format!("{number}/{party}");
                let kind = ActionKind::Route;
                let (cause, terms) = (cause.clone(), Terms::default());
                self.action(Some(Action { kind, subject, cause, terms }), &whole);
            }
            let recipient = Some(party.as_str());
            let sender = Sender { waba_id: account, recipient, ..Sender::default() };
            self.action(suppression(&sender, cause.clone(), String::new()), &whole);
        }
        let received = message.history.iter().filter(|entry| entry.to == Status::Received);
        for entry in received {
            let cause = ActionKind::Route.expired(time_of(entry));
            self.alert(AlertKind::ActionExpired, account.unwrap_or("-"), &cause, &whole);
        }
    }

    fn outbound<'a>(&mut self, of: &Of<'_>, failures: impl Iterator<Item = &'a HistoryEntry>) {
        let participant = of.participant;
        for sender in of.with_and_without_intent() {
            let Some((subject, cause)) = fallback_key(&sender) else { continue };
            self.alert(AlertKind::FallbackExpired, &subject, &cause, participant);
            let kind = ActionKind::SmsFallback;
            let id = ActionId::new(kind.as_str(), &subject, &cause);
            self.action(superseded(&id, &sender), participant);
            let terms = Terms::default();
            self.action(Some(Action { kind, subject, cause, terms }), participant);
        }
        if participant.is_whole() {
            let (subject, cause) = (of.wamid.to_string(), format!("read:{}", of.wamid));
            let (kind, terms) = (ActionKind::OfferResend, Terms::default());
            self.action(Some(Action { kind, subject, cause, terms }), participant);
        }
        let disputed = of.facts.receipts.get(participant).is_some_and(|r| r.pricing_disputed);
        if disputed {
            let cause = format!("charge:{}", ChargeId::new(of.wamid, participant));
            let subject = of.wamid.as_str();
            self.alert(AlertKind::PricingConflict, subject, &cause, participant);
        }
        for entry in failures {
            self.failure(of, entry);
        }
    }

    fn failure(&mut self, of: &Of<'_>, entry: &HistoryEntry) {
        let participant = of.participant;
        let (sender, code, time) = (of.sender(), entry.error_code, time_of(entry));
        let failed = |sender| Failed { sender, code, time };
        let plain = failed(sender);
        let of_message =
            [ActionKind::SendTemplate, ActionKind::BackOff, ActionKind::ReverifyRecipient];
        for kind in of_message {
            self.action(plain.of_message(kind, Terms::default()), participant);
        }
        for sender in of.with_and_without_intent() {
            if let (Some(subject), Some(cause)) = (sender.subject(), plain.cause()) {
                let (kind, terms) = (ActionKind::Resend, Terms::default());
                self.action(Some(Action { kind, subject, cause, terms }), participant);
            }
        }
        for recipient in of.recipients() {
            let sender = Sender { recipient: Some(recipient), ..sender };
            if let Some(cause) = plain.cause() {
                self.action(suppression(&sender, cause, String::new()), participant);
            }
            let country = country_of(recipient);
            let in_country = failed(Sender { country, ..sender });
            self.action(in_country.halt(HaltScope::Country), participant);
        }
        for template in of.templates() {
            let with_template = failed(Sender { template, ..sender });
            self.action(with_template.halt(HaltScope::Template), participant);
        }
        self.action(plain.halt(HaltScope::Number), participant);
        self.action(plain.halt(HaltScope::Account), participant);
        self.alert(AlertKind::of_code(plain.code), &plain.widest(), &plain.hourly(), participant);
        for kind in [ActionKind::SendTemplate, ActionKind::BackOff, ActionKind::Resend] {
            let account = sender.waba_id.unwrap_or("-");
            self.alert(AlertKind::ActionExpired, account, &kind.expired(time), participant);
        }
    }
}

/// What the fold judged by: log time where Meta gave no time.
fn time_of(entry: &HistoryEntry) -> Timestamp {
    entry.event_time.unwrap_or(entry.log_time)
}
