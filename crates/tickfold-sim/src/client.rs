//! What stands for the Kafka adapter: a claim and a commit as the requests that they are made of,
//! each with its own fate.
//!
//! It keeps the rules of `tickfold-log`'s committer, which is made of librdkafka: nothing took effect
//! before the end of the transaction was asked for; after anything uncertain the producer is given
//! up, and so it is after a commit under which a connection failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickfold_log::{Append, CommitError, Committed, Error as LogError, TopicPartition};
use tickfold_processor::driver::Input;
use tickfold_processor::raw_topic;

use crate::broker::{Broker, Claimant, Late, MemberId, Reply, Request, Speaker};
use crate::bug::{Planted, PortBug};
use crate::counts::Counts;
use crate::plan::Fault;
use crate::rng::Dice;

/// A client that is told to ask again does so after that time.
const RETRY_MS: u64 = 20;

/// A client that was told to ask again for so long, and so often, gives up.
const PATIENCE_MS: u64 = 45_000;
const TRIES: u32 = 12;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, and so does the answer.
    Arrives,
    /// It never arrives.
    Lost,
    /// Nor does this: its process reaches no broker.
    Cut,
    /// It takes effect, and the client does not hear of it.
    AnswerLost,
    /// It takes effect after that time, and the client does not hear of it.
    Late(u64),
    /// A copy of it takes effect after that time too.
    Repeated(u64),
    /// The broker states that this transaction cannot go on.
    Refused,
}

/// What a process believes of the group.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) member: MemberId,
    pub(crate) generation: u32,
    /// Partitions, each with the number of its assignment.
    pub(crate) assigned: BTreeMap<u32, u64>,
    /// Counts assignments.
    pub(crate) tenures: u64,
}

/// The world as a client sees it while it takes one step.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    pub(crate) broker: &'a mut Broker,
    pub(crate) dice: &'a mut Dice,
    pub(crate) fate: Fate,
    pub(crate) process: usize,
    pub(crate) partition: u32,
    pub(crate) view: &'a View,
    pub(crate) bug: Option<Planted>,
    pub(crate) counts: &'a mut Counts,
}

impl Wire<'_> {
    fn has(&self, bug: PortBug) -> bool {
        self.bug == Some(Planted::Port(bug))
    }

    /// The assignment is not this process's any more, as far as it knows.
    fn is_over(&self, tenure: u64) -> bool {
        self.view.assigned.get(&self.partition) != Some(&tenure)
    }

    fn speaker(&self) -> Speaker {
        let speaker = (self.process, self.view.member, self.view.generation);
        (!self.has(PortBug::NoGeneration)).then_some(speaker)
    }

    /// Sends a request; `None` if no answer comes. True: a copy of it is still under way.
    fn send(&mut self, epoch: u32, by: Claimant, request: Request) -> (Option<Reply>, bool) {
        let (partition, now_ms) = (self.partition, self.broker.now_ms);
        // Records carry sequence numbers: a copy or a late one is recognised and dropped.
        let is_counted = matches!(request, Request::Produce(_));
        let mut later = |fault: Fault, after_ms: u64, request: &Request| {
            if !is_counted {
                let (due_ms, request) = (now_ms + after_ms, request.clone());
                self.broker.limbo.push(Late { due_ms, fault, partition, epoch, by, request });
            }
        };
        match self.fate {
            Fate::Arrives => (Some(self.broker.handle(partition, epoch, by, request)), false),
            Fate::Lost => {
                self.counts.land(Fault::RequestLost.word());
                (None, false)
            }
            Fate::Cut => {
                self.counts.hinder(Fault::Cut, self.process);
                (None, false)
            }
            Fate::AnswerLost => {
                self.broker.handle(partition, epoch, by, request);
                self.counts.land(Fault::AnswerLost.word());
                (None, false)
            }
            // These two land when what is late arrives.
            Fate::Late(after_ms) => {
                later(Fault::RequestLate, after_ms, &request);
                (None, false)
            }
            Fate::Repeated(after_ms) => {
                later(Fault::RequestRepeated, after_ms, &request);
                (Some(self.broker.handle(partition, epoch, by, request)), true)
            }
            Fate::Refused => {
                self.counts.land(Fault::Refusal.word());
                (Some(Reply::Refused), false)
            }
        }
    }

    /// No answer comes to a question that changes nothing.
    fn hears_nothing(&mut self) -> bool {
        match self.fate {
            Fate::Arrives | Fate::Repeated(_) | Fate::Refused => return false,
            Fate::Lost => self.counts.land(Fault::RequestLost.word()),
            Fate::AnswerLost => self.counts.land(Fault::AnswerLost.word()),
            Fate::Cut => self.counts.hinder(Fault::Cut, self.process),
            // It makes no difference when it arrives.
            Fate::Late(_) => {}
        }
        true
    }
}

/// The right to commit, as far as the client knows.
#[derive(Debug, Clone)]
pub(crate) struct Producer {
    epoch: u32,
    by: Claimant,
    state: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ready,
    /// A request may still be under way.
    Spent,
    Fenced,
}

impl Producer {
    /// The claim that it is of.
    pub(crate) fn by(&self) -> Claimant {
        self.by
    }
}

/// Since when a client asks for one thing, and when it asks again.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    since_ms: Option<u64>,
    again_ms: u64,
    tries: u32,
}

impl Asked {
    /// Told to ask again; false once that has taken too long.
    fn again(&mut self, now_ms: u64) -> bool {
        self.again_ms = now_ms + RETRY_MS;
        self.tries += 1;
        self.tries < TRIES || now_ms - *self.since_ms.get_or_insert(now_ms) < PATIENCE_MS
    }
}

/// A claim under way.
#[derive(Debug)]
pub(crate) struct Claiming {
    by: Claimant,
    epoch: Option<u32>,
    asked: Asked,
    /// What a bug read too early.
    early: Option<Option<Committed>>,
}

/// What a step of a claim or commit came to.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// There is more to do.
    Goes(T),
    /// The answer for the driver, and the producer to keep.
    Done(Input, Option<Producer>),
}

impl Claiming {
    /// Begins. `before` is the producer that the claim replaces.
    pub(crate) fn new(by: Claimant, before: Option<&Producer>, bug: Option<Planted>) -> Self {
        let reused = before.filter(|_| bug == Some(Planted::Port(PortBug::ProducerReused)));
        let by = reused.map_or(by, |producer| (by.0, producer.by.1));
        Self {
            by,
            epoch: reused.map(|producer| producer.epoch),
            asked: Asked::default(),
            early: None,
        }
    }

    /// When it asks again.
    pub(crate) fn again_ms(&self) -> u64 {
        self.asked.again_ms
    }

    /// One request, or one look at its answer.
    pub(crate) fn step(mut self, wire: &mut Wire<'_>) -> Step<Self> {
        let refuse = |error| Step::Done(Input::Claimed(Err(error)), None);
        let away = |reason: &str| refuse(LogError::Unavailable { reason: reason.to_owned() });
        if !wire.view.assigned.contains_key(&wire.partition) {
            let place = TopicPartition::new(raw_topic("wa"), wire.partition);
            return refuse(LogError::NotAssigned(place));
        }
        if wire.has(PortBug::PositionBeforeInit) && self.early.is_none() {
            self.early = Some(wire.broker.position(wire.partition).cloned());
            return Step::Goes(self);
        }
        let Some(epoch) = self.epoch else {
            match wire.send(0, self.by, Request::Init).0 {
                // Of two claims the one that was initialised last counts, whichever began first.
                Some(Reply::Epoch(epoch)) => {
                    (self.epoch, self.by.1) = (Some(epoch), u64::from(epoch));
                }
                Some(Reply::Busy | Reply::State | Reply::Refused) => {
                    if !self.asked.again(wire.broker.now_ms) {
                        return away("an earlier transaction does not end");
                    }
                }
                Some(reply) => return away(&format!("init: {reply:?}")),
                None => return away("init: no answer"),
            }
            return Step::Goes(self);
        };
        if wire.hears_nothing() {
            return away("position: no answer");
        }
        let Ok(found) = wire.broker.stable_position(wire.partition) else {
            if !self.asked.again(wire.broker.now_ms) {
                return away("the position does not become stable");
            }
            return Step::Goes(self);
        };
        let found = self.early.unwrap_or(found);
        let producer = Producer { epoch, by: self.by, state: Standing::Ready };
        Step::Done(Input::Claimed(Ok(found)), Some(producer))
    }
}

/// A commit under way.
#[derive(Debug)]
pub(crate) struct Committing {
    producer: Producer,
    outputs: Arc<[Append]>,
    /// Of these, sent.
    sent: usize,
    position: Committed,
    stage: Stage,
    asked: Asked,
    /// A copy of a request is still under way.
    cut: bool,
    /// The assignment that it is of.
    tenure: u64,
}

#[derive(Debug)]
enum Stage {
    Produce,
    Offsets,
    End,
    /// Taking it back, and what to say then.
    Abort(CommitError),
}

impl Committing {
    pub(crate) fn new(
        producer: Producer,
        outputs: Arc<[Append]>,
        position: Committed,
        tenure: u64,
    ) -> Self {
        let stage = Stage::Produce;
        let asked = Asked::default();
        Self { producer, outputs, sent: 0, position, stage, asked, cut: false, tenure }
    }

    fn done(mut self, outcome: Result<(), CommitError>, wire: &Wire<'_>) -> Step<Self> {
        self.producer.state = match &outcome {
            Err(CommitError::Fenced) => Standing::Fenced,
            Err(CommitError::Unclear { .. }) => Standing::Spent,
            _ if self.cut && !wire.has(PortBug::RepeatedTrusted) => Standing::Spent,
            _ => Standing::Ready,
        };
        Step::Done(Input::CommitDone(outcome), Some(self.producer))
    }

    fn unclear(self, what: &str, wire: &Wire<'_>) -> Step<Self> {
        self.done(Err(CommitError::Unclear { reason: what.to_owned() }), wire)
    }

    /// When it asks again.
    pub(crate) fn again_ms(&self) -> u64 {
        self.asked.again_ms
    }

    /// One request, or one look at its answer.
    pub(crate) fn step(mut self, wire: &mut Wire<'_>) -> Step<Self> {
        match self.producer.state {
            Standing::Ready => {}
            Standing::Spent => return self.unclear("an earlier request may be under way", wire),
            Standing::Fenced => return self.done(Err(CommitError::Fenced), wire),
        }
        let (epoch, by) = (self.producer.epoch, self.producer.by);
        let mut chunk = 0;
        let request = match &self.stage {
            Stage::Produce if self.sent == self.outputs.len() => {
                self.stage = Stage::Offsets;
                return self.step(wire);
            }
            Stage::Produce => {
                let left = self.outputs.len() - self.sent;
                chunk = if wire.dice.one_in(3) { 1 + wire.dice.index(left) } else { left };
                Request::Produce(self.outputs[self.sent..self.sent + chunk].to_vec())
            }
            Stage::Offsets if wire.is_over(self.tenure) => {
                self.stage = Stage::Abort(CommitError::Fenced);
                return Step::Goes(self);
            }
            Stage::Offsets => {
                let (speaker, position) = (wire.speaker(), self.position.clone());
                Request::Offsets { speaker, position }
            }
            Stage::End => Request::End { commit: true },
            Stage::Abort(_) => Request::End { commit: false },
        };
        let (reply, repeated) = wire.send(epoch, by, request);
        self.cut |= repeated;
        let Some(reply) = reply else { return self.unclear("no answer", wire) };
        let abort = |reason: String| Stage::Abort(CommitError::Aborted { reason });
        match (reply, self.stage) {
            (Reply::Ok, Stage::Produce) => {
                self.sent += chunk;
                (self.stage, self.asked) = (Stage::Produce, Asked::default());
            }
            (Reply::Ok, Stage::Offsets) => {
                (self.stage, self.asked) = (Stage::End, Asked::default());
            }
            (Reply::Ok, Stage::End) => {
                self.stage = Stage::End;
                return self.done(Ok(()), wire);
            }
            (Reply::Ok | Reply::State, Stage::Abort(error)) => {
                self.stage = Stage::End;
                return self.done(Err(error), wire);
            }
            (Reply::Busy, stage) => {
                self.stage = stage;
                if !self.asked.again(wire.broker.now_ms) {
                    return self.unclear("told to ask again for too long", wire);
                }
            }
            (Reply::Fenced, _) => {
                self.stage = Stage::End;
                return self.done(Err(CommitError::Fenced), wire);
            }
            (Reply::Generation, _) if wire.is_over(self.tenure) => {
                self.stage = Stage::Abort(CommitError::Fenced);
            }
            (Reply::Generation, _) => self.stage = abort("the group moved on".to_owned()),
            (Reply::State | Reply::Refused, Stage::End) | (Reply::Refused, Stage::Abort(_)) => {
                self.stage = Stage::End;
                return self.unclear("end: refused", wire);
            }
            (Reply::State | Reply::Refused, _) => {
                self.stage = abort("the broker refuses".to_owned());
            }
            (Reply::Epoch(_), _) => {
                self.stage = Stage::End;
                return self.unclear("an answer to nothing", wire);
            }
        }
        Step::Goes(self)
    }
}

/// A commit to the embedded log: written, then synced.
#[derive(Debug)]
pub(crate) struct Writing {
    by: Claimant,
    /// `None` once it is written.
    batch: Option<(Arc<[Append]>, Committed)>,
}

impl Writing {
    pub(crate) fn new(by: Claimant, outputs: Arc<[Append]>, position: Committed) -> Self {
        Self { by, batch: Some((outputs, position)) }
    }

    /// Writes, then syncs.
    pub(crate) fn step(mut self, wire: &mut Wire<'_>, sync_fails: bool) -> Step<Self> {
        if let Some((outputs, position)) = self.batch.take() {
            if wire.broker.poisoned {
                let reason = "the log is poisoned".to_owned();
                return Step::Done(Input::CommitDone(Err(CommitError::Unclear { reason })), None);
            }
            wire.broker.write(wire.partition, self.by, &outputs, position);
            if wire.has(PortBug::NoSync) {
                return Step::Done(Input::CommitDone(Ok(())), None);
            }
            return Step::Goes(self);
        }
        if sync_fails {
            wire.broker.poisoned = true;
            wire.counts.land(Fault::SyncFails.word());
            let reason = "the sync failed".to_owned();
            return Step::Done(Input::CommitDone(Err(CommitError::Unclear { reason })), None);
        }
        wire.broker.sync();
        Step::Done(Input::CommitDone(Ok(())), None)
    }
}
