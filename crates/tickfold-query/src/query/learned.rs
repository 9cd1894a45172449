//! What a record taught of a message, fact by fact: the difference between two states of it.

use std::collections::{BTreeMap, BTreeSet};

use tickfold_core::ids::Participant;
use tickfold_core::state::{Content, Message, MessageFacts};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;

use super::arguments::View;
use super::decisions::{Charged, charges};

/// One fact, as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fact {
    participant: String,
    name: String,
    value: String,
    /// The value is personal data, or may hold some.
    personal: bool,
}

impl Fact {
    pub(super) fn told(self, view: View) -> pb::LearnedFact {
        let Self { participant, name, value, personal } = self;
        let shown = |text: String, personal: bool| match personal && view < View::Full {
            true => String::new(),
            false => text,
        };
        pb::LearnedFact {
            name,
            value: shown(value, personal),
            participant: shown(participant, true),
        }
    }
}

/// The facts that are there now and were not, or had another value.
pub(super) fn learned(before: Option<&Message>, now: Option<&Message>) -> BTreeSet<Fact> {
    let of = |message: Option<&Message>| message.map(|message| all(&message.facts));
    let before = of(before).unwrap_or_default();
    of(now).unwrap_or_default().into_iter().filter(|fact| !before.contains(fact)).collect()
}

/// The charges that a record told.
pub(super) fn charged(offset: u64, now: Option<&Message>) -> BTreeMap<Participant, Charged> {
    let mut told = now.map(charges).unwrap_or_default();
    told.retain(|_, charged| charged.sequence == offset);
    told
}

fn all(facts: &MessageFacts) -> BTreeSet<Fact> {
    let mut all = Facts::default();
    let text = |id: Option<&str>| id.map(str::to_owned);
    all.open("waba_id", text(facts.waba_id.as_ref().map(|id| id.as_str())));
    all.open("phone_number_id", text(facts.phone_number_id.as_ref().map(|id| id.as_str())));
    all.open("template_id", facts.template_id.clone());
    all.open("group", facts.group.then(String::new));
    all.open("standby", facts.standby.then(String::new));
    all.open("inbound", facts.inbound.as_ref().map(|_| String::new()));
    all.open("echo", facts.echo.as_ref().map(|_| String::new()));
    all.personal("callback_data", facts.callback_data.clone());
    facts.parties.iter().for_each(|party| all.personal("party", Some(party.to_string())));
    facts.traces.iter().for_each(|trace| all.open("fbtrace_id", Some(trace.clone())));
    facts.content().into_iter().for_each(|content| all.content(content));
    if let Some(billing) = facts.billing.as_deref() {
        all.open("billing_conversation", billing.id.clone());
        all.open("billing_origin", billing.origin.clone());
        all.open("billing_expire_time", billing.expires.map(|time| time.to_string()));
    }
    if let Some(annotations) = facts.annotations.as_deref() {
        for (wamid, at) in &annotations.edits {
            all.personal("edit", Some(with_time(wamid.as_str(), *at)));
        }
        for (wamid, at) in &annotations.revokes {
            all.personal("revoke", Some(with_time(wamid.as_str(), *at)));
        }
        for (party, reaction) in &annotations.reactions {
            let emoji = reaction.emoji.as_deref().unwrap_or("-");
            let value = format!("{emoji} {}", with_time(party.as_str(), reaction.time));
            all.personal("reaction", Some(value.trim_end().to_owned()));
        }
    }
    for (participant, receipt) in &facts.receipts {
        all.participant = participant.to_string();
        for (status, at) in &receipt.statuses {
            all.open(&format!("status {}", status.as_str()), Some(with_time("", *at)));
        }
        for (code, failure) in &receipt.failures {
            all.open(&format!("error {code}"), Some(with_time("", failure.time)));
            let texts = [&failure.title, &failure.message, &failure.details];
            let texts: Vec<_> = texts.into_iter().flatten().map(String::as_str).collect();
            let texts = (!texts.is_empty()).then(|| texts.join(" / "));
            all.personal(&format!("error {code} text"), texts);
        }
        if let Some(pricing) = &receipt.pricing {
            let words = [&pricing.category, &pricing.kind, &pricing.model];
            let mut words: Vec<_> = words.into_iter().flatten().map(String::as_str).collect();
            words.extend(pricing.billable.map(|is| if is { "billable" } else { "not billable" }));
            words.push(if pricing.is_of_delivery() { "of a delivery" } else { "a quote" });
            all.open("pricing", Some(words.join(", ")));
        }
        all.open("pricing_conflict", receipt.pricing_disputed.then(String::new));
    }
    all.set
}

fn with_time(text: &str, at: Option<Timestamp>) -> String {
    let at = at.map(|at| at.to_string()).unwrap_or_default();
    format!("{text} {at}").trim().to_owned()
}

/// Facts as they are collected.
#[derive(Default)]
struct Facts {
    set: BTreeSet<Fact>,
    participant: String,
}

impl Facts {
    fn open(&mut self, name: &str, value: Option<String>) {
        self.add(name, value, false);
    }

    fn personal(&mut self, name: &str, value: Option<String>) {
        self.add(name, value, true);
    }

    fn add(&mut self, name: &str, value: Option<String>, personal: bool) {
        let (name, participant) = (name.to_owned(), self.participant.clone());
        self.set.extend(value.map(|value| Fact { participant, name, value, personal }));
    }

    fn content(&mut self, content: &Content) {
        self.open("message_type", content.message_type.clone());
        self.open("forwarded", content.forwarded.then(String::new));
        self.open("media", content.media.as_ref().map(|media| media.id.clone()));
        self.personal("reply_to", content.reply_to.clone());
        self.personal("target", content.target.as_ref().map(ToString::to_string));
        self.personal("sender", content.sender.as_ref().map(ToString::to_string));
        for (code, failure) in &content.errors {
            self.open(&format!("content error {code}"), Some(with_time("", failure.time)));
        }
    }
}
