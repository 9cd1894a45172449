//! The endless sequence of webhooks of a [`Spec`]: messages that live through their statuses,
//! in order or not, beside inbound messages, template events, repetitions and forgeries.
//!
//! A function of spec, secret and base time: the same three give the same bytes. What is kept is
//! bounded: the statuses still to come of messages in the window, and the last good bodies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::ids::TemplateKey;
use tickfold_core::signature::sign;
use tickfold_core::state::Status;
use tickfold_core::time::{SECOND_MS, Timestamp};

use crate::Error;
use crate::body::{Style, render};
use crate::fact::{Direction, Fact, Message};
use crate::forgery::Forgery;
use crate::ids::Ids;
use crate::rng::Rng;
use crate::spec::Spec;

/// Good bodies that may be repeated, in number.
const RECENT_MAX: usize = 256;
/// Facts in a repetition of another body: two at least, or it could be the same body after all.
const REGROUPED: std::ops::RangeInclusive<usize> = 2..=4;
/// Template events without `DISABLED`, which sticks: of these the latest is the one shown.
const TEMPLATE_EVENTS: [&str; 6] =
    ["APPROVED", "PENDING", "REJECTED", "PAUSED", "FLAGGED", "REINSTATED"];

/// One POST as Meta would send it, or as somebody else would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The body, byte for byte what the signature is over.
    pub body: Bytes,
    /// Value of the [signature header](tickfold_core::signature::SIGNATURE_HEADER); `None` is a
    /// request without it.
    pub signature: Option<String>,
    /// How the signature is wrong; `None` is a good webhook, which has to be accepted.
    pub forgery: Option<Forgery>,
    /// What the body asserts. Those of a forged one were never asserted by Meta: they are of a
    /// message that no good webhook names, or a `played` of one whose good webhooks never say so.
    pub facts: Arc<[Fact]>,
}

impl Webhook {
    /// Whether it has to be accepted.
    pub fn is_good(&self) -> bool {
        self.forgery.is_none()
    }
}

/// The sequence; it does not end.
#[derive(Debug, Clone)]
pub struct Traffic {
    spec: Spec,
    secret: Vec<u8>,
    base: Timestamp,
    rng: Rng,
    ids: Ids,
    /// Webhooks made: how far event time is.
    made: u64,
    /// Statuses taken: what the window counts.
    taken: u64,
    /// Statuses to come, by when they are due and the order in which they were made.
    to_come: BTreeMap<(u64, u64), Fact>,
    queued: u64,
    /// Event time of the next event of each template: no two of one template share a second.
    template_times: Vec<Timestamp>,
    /// Template events that were overtaken by a later one.
    overtaken: Vec<Fact>,
    recent: VecDeque<Webhook>,
}

impl Traffic {
    /// Traffic signed with this app secret, with event times from `base` on.
    ///
    /// Receivers judge event times against their clock: for a running node `base` is its now.
    ///
    /// # Errors
    /// A spec that [`Spec::check`] refuses.
    pub fn new(spec: &Spec, secret: &[u8], base: Timestamp) -> Result<Self, Error> {
        spec.check()?;
        let ids = Ids::new(spec);
        Ok(Self {
            secret: secret.to_owned(),
            base,
            rng: Rng::new(spec.seed),
            made: 0,
            taken: 0,
            to_come: BTreeMap::new(),
            queued: 0,
            template_times: vec![whole_seconds(base); ids.templates.len()],
            overtaken: Vec::new(),
            recent: VecDeque::new(),
            ids,
            spec: spec.clone(),
        })
    }

    fn webhook(&mut self) -> Webhook {
        let progress_ms = self.made * 1_000 / u64::from(self.spec.webhooks_per_second);
        let now = self.base.plus(i64::try_from(progress_ms).unwrap_or(i64::MAX));
        self.made += 1;
        if self.rng.chance(self.spec.bad_signatures) {
            return self.forged(now);
        }
        if !self.recent.is_empty() && self.rng.chance(self.spec.duplicates) {
            return self.repeated();
        }
        let facts = self.fresh(now);
        let webhook = self.signed(facts);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(webhook.clone());
        webhook
    }

    fn signed(&mut self, facts: Vec<Fact>) -> Webhook {
        let body = render(&facts, Style::draw(&mut self.rng), self.spec.body_bytes_min);
        let signature = Some(sign(&self.secret, &body));
        Webhook { body: body.into(), signature, forgery: None, facts: facts.into() }
    }

    fn fresh(&mut self, now: Timestamp) -> Vec<Fact> {
        let (inbound, templates) = (self.spec.inbound, self.spec.templates);
        if self.rng.chance(inbound + templates) {
            let fact = match self.rng.chance(inbound / (inbound + templates)) {
                true => self.inbound(now),
                false => self.template(now),
            };
            return fact.into_iter().collect();
        }
        let count = match self.rng.chance(self.spec.batches) {
            true => 2 + self.rng.index(self.spec.batch_statuses_max - 1),
            false => 1,
        };
        (0..count).filter_map(|_| self.status(now)).collect()
    }

    fn inbound(&mut self, now: Timestamp) -> Option<Fact> {
        let message = self.ids.message(&mut self.rng, Direction::Inbound)?;
        Some(Fact::Message { message, status: Status::Received, time: whole_seconds(now) })
    }

    /// The next status that is due, or the first one of a new message.
    fn status(&mut self, now: Timestamp) -> Option<Fact> {
        self.taken += 1;
        let due = self.to_come.first_key_value().is_some_and(|((due, _), _)| *due <= self.taken);
        if !due {
            self.send(now);
        }
        self.to_come.pop_first().map(|(_, fact)| fact)
    }

    /// A new message of ours, with all statuses it will have.
    fn send(&mut self, now: Timestamp) {
        let Some(message) = self.ids.message(&mut self.rng, Direction::Outbound) else { return };
        let statuses: &[Status] = match self.rng.below(100) {
            0..50 => &[Status::Sent, Status::Delivered, Status::Read],
            50..80 => &[Status::Sent, Status::Delivered],
            // Skipped while the chat is open.
            80..85 => &[Status::Sent, Status::Read],
            85..93 => &[Status::Sent, Status::Failed],
            93..97 => &[Status::Failed],
            // Failed on one device, delivered to another.
            _ => &[Status::Sent, Status::Delivered, Status::Failed],
        };
        let window = u64::from(self.spec.disorder_window);
        let disorder = self.rng.chance(self.spec.disorder);
        let mut time = whole_seconds(now);
        for (step, status) in (0..).zip(statuses) {
            let after = match disorder {
                true => self.rng.below(window),
                false => window * step / 3,
            };
            let fact =
                Fact::Message { message: Arc::clone(&message), status: status.clone(), time };
            self.to_come.insert((self.taken + after, self.queued), fact);
            self.queued += 1;
            time = time.plus(SECOND_MS);
        }
    }

    fn template(&mut self, now: Timestamp) -> Option<Fact> {
        if !self.overtaken.is_empty() && self.rng.chance(0.5) {
            return self.overtaken.pop();
        }
        let index = self.rng.index(self.ids.templates.len());
        let key = Arc::clone(self.ids.templates.get(index)?);
        if self.rng.chance(self.spec.disorder) {
            let earlier = self.template_event(index, &key, now)?;
            self.overtaken.push(earlier);
        }
        self.template_event(index, &key, now)
    }

    fn template_event(
        &mut self,
        index: usize,
        key: &Arc<TemplateKey>,
        now: Timestamp,
    ) -> Option<Fact> {
        let next = self.template_times.get_mut(index)?;
        let time = whole_seconds(now).max(*next);
        *next = time.plus(SECOND_MS);
        let event = self.rng.pick(&TEMPLATE_EVENTS)?;
        Some(Fact::Template { key: Arc::clone(key), event, time })
    }

    /// Nothing new: a body again, or facts of several in another.
    fn repeated(&mut self) -> Webhook {
        let again = self.rng.index(self.recent.len());
        if self.rng.chance(0.5)
            && let Some(webhook) = self.recent.get(again)
        {
            return webhook.clone();
        }
        let count = REGROUPED.start() + self.rng.index(REGROUPED.end() - REGROUPED.start() + 1);
        let old = |_| {
            let of = self.recent.get(self.rng.index(self.recent.len()))?;
            self.rng.pick(&of.facts).cloned()
        };
        let facts = (0..count).filter_map(old).collect();
        self.signed(facts)
    }

    /// A body that Meta never sent. What it asserts nobody else does, so that a node that took it
    /// can be told.
    fn forged(&mut self, now: Timestamp) -> Webhook {
        let about = match self.rng.chance(0.5) {
            true => self.known_message(),
            false => None,
        };
        let message = about.or_else(|| self.ids.message(&mut self.rng, Direction::Outbound));
        let assert = |status| {
            let message = message.clone()?;
            Some(Fact::Message { message, status, time: whole_seconds(now) })
        };
        let style = Style::draw(&mut self.rng);
        let bytes_min = self.spec.body_bytes_min;
        let body_of = |facts: &[Fact]| render(facts, style, bytes_min);
        let signed = body_of(&assert(Status::Sent).into_iter().collect::<Vec<_>>());
        let facts: Vec<_> = assert(Status::Played).into_iter().collect();
        let body = body_of(&facts);
        let forgery = *self.rng.pick(&Forgery::ALL).unwrap_or(&Forgery::Missing);
        let signature = forgery.signature(&self.secret, &body, &signed);
        Webhook { body: body.into(), signature, forgery: Some(forgery), facts: facts.into() }
    }

    fn known_message(&mut self) -> Option<Arc<Message>> {
        let index = self.rng.index(self.recent.len());
        match self.rng.pick(&self.recent.get(index)?.facts)? {
            Fact::Message { message, .. } => Some(Arc::clone(message)),
            Fact::Template { .. } => None,
        }
    }
}

impl Iterator for Traffic {
    type Item = Webhook;

    /// Always another one.
    fn next(&mut self) -> Option<Webhook> {
        Some(self.webhook())
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis().div_euclid(SECOND_MS).saturating_mul(SECOND_MS))
}

#[cfg(test)]
mod tests;
