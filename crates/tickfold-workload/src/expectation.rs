//! What must be true of the state once webhooks were answered: the facts of accepted ones are there
//! exactly once, those of refused ones are not, and of the rest nobody can tell.
//!
//! Compares; it does not ask. Whoever reads the state hands in what it shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickfold_core::ids::{ConversationKey, TemplateKey};
use tickfold_core::state::Status;
use tickfold_core::time::Timestamp;

use crate::fact::{Direction, Fact, Message};

/// What is known of a webhook after its answer. The greater wins where a fact came in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// Not taken: answered 4xx, or never sent.
    No,
    /// May have been taken: answered 503, or not answered.
    Unclear,
    /// Taken: answered 200.
    Yes,
}

/// What must be true, by message and template.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    messages: BTreeMap<Arc<Message>, ExpectedMessage>,
    templates: BTreeMap<Arc<TemplateKey>, ExpectedTemplate>,
}

impl Expectation {
    /// Adds the facts of a webhook. Repetitions change nothing, in any order.
    pub fn add(&mut self, facts: &[Fact], taken: Taken) {
        for fact in facts {
            match fact {
                Fact::Message { message, status, time } => {
                    let expected = self.messages.entry(Arc::clone(message)).or_default();
                    join(&mut expected.statuses, status.clone(), *time, taken);
                }
                Fact::Template { key, event, time } => {
                    let expected = self.templates.entry(Arc::clone(key)).or_default();
                    join(&mut expected.events, event, *time, taken);
                }
            }
        }
    }

    /// Messages that any webhook named, also those that must not be there, by wamid.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = (&Message, &ExpectedMessage)> {
        self.messages.iter().map(|(message, expected)| (&**message, expected))
    }

    /// Templates likewise.
    pub fn templates(&self) -> impl ExactSizeIterator<Item = (&TemplateKey, &ExpectedTemplate)> {
        self.templates.iter().map(|(key, expected)| (&**key, expected))
    }

    /// Conversations of those messages, with how many each must count.
    pub fn conversations(&self) -> BTreeMap<ConversationKey, ExpectedConversation> {
        let mut all: BTreeMap<_, ExpectedConversation> = BTreeMap::new();
        for (message, expected) in self.messages() {
            let key = ConversationKey {
                phone_number_id: message.number.phone_number_id.clone(),
                party: message.party.clone(),
            };
            let conversation = all.entry(key).or_default();
            let count = match message.direction {
                Direction::Inbound => &mut conversation.inbound,
                Direction::Outbound => &mut conversation.outbound,
            };
            match expected.statuses.iter().map(|(_, _, taken)| *taken).max() {
                Some(Taken::Yes) => {
                    count.least += 1;
                    count.most += 1;
                }
                Some(Taken::Unclear) => count.most += 1,
                Some(Taken::No) | None => {}
            }
        }
        all
    }
}

/// What is wrong with one thing, in Meta's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Accepted and not there.
    pub missing: Vec<String>,
    /// There more than once.
    pub twice: Vec<String>,
    /// There although nobody sent it, or although it was refused.
    pub unexplained: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.twice.is_empty() && self.unexplained.is_empty()
    }
}

/// The statuses of a message, and what became of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectedMessage {
    statuses: Vec<(Status, Timestamp, Taken)>,
}

impl ExpectedMessage {
    /// Statuses that must have exactly one transition.
    pub fn must(&self) -> impl Iterator<Item = &Status> {
        self.statuses.iter().filter(|one| one.2 == Taken::Yes).map(|one| &one.0)
    }

    /// Statuses that may have one transition or none.
    pub fn may(&self) -> impl Iterator<Item = &Status> {
        self.statuses.iter().filter(|one| one.2 == Taken::Unclear).map(|one| &one.0)
    }

    /// Compares with the transitions of the message: status and event time of each. A message that
    /// is not known has none.
    pub fn judge(&self, history: &[(Status, Option<Timestamp>)]) -> Findings {
        let mut findings = Findings::default();
        for (status, time, taken) in &self.statuses {
            let count = history.iter().filter(|one| one.0 == *status && one.1 == Some(*time));
            let found = match (taken, count.count()) {
                (Taken::Yes, 0) => &mut findings.missing,
                (Taken::Yes | Taken::Unclear, 2..) => &mut findings.twice,
                (Taken::No, 1..) => &mut findings.unexplained,
                (Taken::Yes | Taken::Unclear | Taken::No, _) => continue,
            };
            found.push(status.as_str().to_owned());
        }
        for (status, time) in history {
            let known = |one: &(Status, Timestamp, Taken)| one.0 == *status && Some(one.1) == *time;
            if !self.statuses.iter().any(known) {
                findings.unexplained.push(status.as_str().to_owned());
            }
        }
        findings
    }
}

/// The events of a template, and what became of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectedTemplate {
    events: Vec<(&'static str, Timestamp, Taken)>,
}

impl ExpectedTemplate {
    /// Compares with the latest event of each kind and the status shown. Of the events in traffic
    /// none outlasts a later one, so the status has to be the latest event.
    pub fn judge(&self, status: Option<&str>, events: &[(&str, Option<Timestamp>)]) -> Findings {
        let mut findings = Findings::default();
        for (event, time, taken) in &self.events {
            let shown = events.iter().find(|one| one.0 == *event).and_then(|one| one.1);
            if *taken == Taken::Yes && shown.is_none_or(|shown| shown < *time) {
                findings.missing.push((*event).to_owned());
            }
        }
        for (event, time) in events {
            let sent = |one: &(&str, Timestamp, Taken)| {
                one.0 == *event && Some(one.1) == *time && one.2 != Taken::No
            };
            if !self.events.iter().any(sent) {
                findings.unexplained.push((*event).to_owned());
            }
        }
        let latest = events.iter().max_by_key(|one| one.1).map(|one| one.0);
        if status != latest {
            findings.unexplained.push(format!("status {}", status.unwrap_or("none")));
        }
        findings
    }
}

/// How many messages a conversation must count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpectedConversation {
    /// Inbound messages.
    pub inbound: Count,
    /// Messages of ours.
    pub outbound: Count,
}

/// A number that is known up to what nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Messages that were accepted.
    pub least: u64,
    /// The same with those that may have been.
    pub most: u64,
}

impl ExpectedConversation {
    /// Compares with the counts shown; a conversation that is not known counts none.
    pub fn judge(&self, inbound: u64, outbound: u64) -> Findings {
        let mut findings = Findings::default();
        let counts = [("inbound", self.inbound, inbound), ("outbound", self.outbound, outbound)];
        for (name, Count { least, most }, shown) in counts {
            let text = || format!("{name}_count {shown}, {least} to {most} sent");
            if shown < least {
                findings.missing.push(text());
            } else if shown > most {
                findings.unexplained.push(text());
            }
        }
        findings
    }
}

fn join<T: PartialEq>(
    known: &mut Vec<(T, Timestamp, Taken)>,
    what: T,
    time: Timestamp,
    taken: Taken,
) {
    match known.iter_mut().find(|one| one.0 == what && one.1 == time) {
        Some(one) => one.2 = one.2.max(taken),
        None => known.push((what, time, taken)),
    }
}

#[cfg(test)]
mod tests {
    use tickfold_core::ids::{PartyId, PhoneNumberId, TemplateId, WabaId, Wamid};

    use super::*;
    use crate::fact::Number;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn message(wamid: &str, direction: Direction) -> Arc<Message> {
        let number = Number {
            phone_number_id: PhoneNumberId::from("3"),
            waba_id: WabaId::from("2"),
            display: "1".to_owned(),
        };
        let (wamid, party) = (Wamid::from(wamid), PartyId::from("49"));
        Arc::new(Message { wamid, direction, number: Arc::new(number), party })
    }

    fn status(message: &Arc<Message>, status: Status, second: i64) -> Fact {
        Fact::Message { message: Arc::clone(message), status, time: at(second) }
    }

    fn words(missing: &[&str], twice: &[&str], unexplained: &[&str]) -> Findings {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Findings { missing: own(missing), twice: own(twice), unexplained: own(unexplained) }
    }

    #[test]
    fn accepted_statuses_are_there_once_unclear_ones_at_most_once_and_no_others() {
        let one = message("w", Direction::Outbound);
        let mut expectation = Expectation::default();
        // Refused once and accepted later, or the other way round: accepted.
        expectation.add(&[status(&one, Status::Sent, 1)], Taken::Unclear);
        expectation.add(&[status(&one, Status::Sent, 1)], Taken::Yes);
        expectation.add(&[status(&one, Status::Sent, 1)], Taken::No);
        expectation.add(&[status(&one, Status::Read, 2)], Taken::Unclear);
        expectation.add(&[status(&one, Status::Played, 3)], Taken::No);
        let (_, expected) = expectation.messages().next().unwrap();
        assert_eq!(expected.must().collect::<Vec<_>>(), [&Status::Sent]);
        assert_eq!(expected.may().collect::<Vec<_>>(), [&Status::Read]);

        let sent = (Status::Sent, Some(at(1)));
        let read = (Status::Read, Some(at(2)));
        let played = (Status::Played, Some(at(3)));
        let nobodys = (Status::Delivered, Some(at(2)));
        let moved = (Status::Read, Some(at(9)));
        for (history, findings) in [
            (vec![sent.clone()], words(&[], &[], &[])),
            (vec![read.clone(), sent.clone()], words(&[], &[], &[])),
            (vec![], words(&["sent"], &[], &[])),
            (vec![sent.clone(), sent.clone()], words(&[], &["sent"], &[])),
            (vec![sent.clone(), read.clone(), read], words(&[], &["read"], &[])),
            (vec![sent.clone(), played], words(&[], &[], &["played"])),
            (vec![sent.clone(), nobodys], words(&[], &[], &["delivered"])),
            (vec![sent, moved], words(&[], &[], &["read"])),
        ] {
            assert_eq!(expected.judge(&history), findings, "{history:?}");
        }
    }

    #[test]
    fn conversations_count_what_was_accepted_and_up_to_what_was_unclear() {
        let mut expectation = Expectation::default();
        let names = [("a", Taken::Yes), ("b", Taken::Unclear), ("c", Taken::No)];
        for (wamid, taken) in names {
            let of = message(wamid, Direction::Outbound);
            expectation.add(&[status(&of, Status::Sent, 1), status(&of, Status::Read, 1)], taken);
        }
        let inbound = message("d", Direction::Inbound);
        expectation.add(&[status(&inbound, Status::Received, 1)], Taken::Yes);
        let conversations = expectation.conversations();
        assert_eq!(conversations.len(), 1);
        let expected = conversations.values().next().unwrap();
        for (inbound, outbound, right) in
            [(1, 1, true), (1, 2, true), (1, 0, false), (1, 3, false), (0, 1, false), (2, 1, false)]
        {
            let findings = expected.judge(inbound, outbound);
            assert_eq!(findings.is_empty(), right, "{inbound} {outbound}: {findings:?}");
        }
    }

    #[test]
    fn a_template_shows_the_latest_event_of_each_kind_and_the_latest_of_all() {
        let id = TemplateId::from("9");
        let key = Arc::new(TemplateKey::new(WabaId::from("2"), id, "de"));
        let event =
            |event, second| Fact::Template { key: Arc::clone(&key), event, time: at(second) };
        let mut expectation = Expectation::default();
        expectation
            .add(&[event("APPROVED", 5), event("PAUSED", 3), event("PAUSED", 2)], Taken::Yes);
        expectation.add(&[event("PAUSED", 7)], Taken::Unclear);
        expectation.add(&[event("REJECTED", 9)], Taken::No);
        let (_, expected) = expectation.templates().next().unwrap();
        let judge = |status, events: &[(&'static str, i64)]| {
            let events: Vec<_> = events.iter().map(|one| (one.0, Some(at(one.1)))).collect();
            expected.judge(status, &events)
        };
        let none = words(&[], &[], &[]);
        assert_eq!(judge(Some("APPROVED"), &[("APPROVED", 5), ("PAUSED", 3)]), none);
        assert_eq!(judge(Some("PAUSED"), &[("APPROVED", 5), ("PAUSED", 7)]), none);
        let older = judge(Some("APPROVED"), &[("APPROVED", 5), ("PAUSED", 2)]);
        assert_eq!(older, words(&["PAUSED"], &[], &[]));
        let absent = judge(None, &[]);
        assert_eq!(absent, words(&["APPROVED", "PAUSED", "PAUSED"], &[], &[]));
        let refused = judge(Some("REJECTED"), &[("APPROVED", 5), ("PAUSED", 3), ("REJECTED", 9)]);
        assert_eq!(refused, words(&[], &[], &["REJECTED"]));
        let wrong = judge(Some("PAUSED"), &[("APPROVED", 5), ("PAUSED", 3)]);
        assert_eq!(wrong, words(&[], &[], &["status PAUSED"]));
    }
}
