//! The shell of a driver: executes its commands on the ports and brings the answers.
//!
//! It decides nothing. Meant for a thread of its own ([`crate::Processor`]), since folding and the
//! store block. A commit runs beside reads and waits; what concerns the store is done at once,
//! since nothing can be folded without it.
//!
//! A commit is begun before the driver folds on, but while it folds nobody asks how the commit
//! fares: the log must get on with it by itself, as the port's adapters do.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::fold::Partition;
use tickfold_core::json::Document;
use tickfold_core::records::{REDRIVEN, Topic};
use tickfold_log::{
    Append, Bounds, CommitError, Committed, Error as LogError, Log, LogFuture, Member, Offset,
    OwnedPartition, TopicPartition,
};
use tickfold_store::Stores;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::checkpoint::{Asks, take_checkpoint};
use crate::clock::{Clock, age_ms, ahead_ms};
use crate::driver::{Command, Derived, Driver, Input, Lost, Progress, Purpose, Refusal};
use crate::metrics;
use crate::options::{Options, fail_point};
use crate::outputs::{DerivedTopics, derived_topic, raw_topic, source_offset};
use crate::pulse::{Doing, Pulse};
use crate::status::PartitionStatus;
use crate::swap::SwapAsks;
use crate::tenure::Tenure;

/// A commit that has no outcome for this part of the time to be stuck waits for the log: its brokers may
/// have lost a derived partition while raw is well.
const COMMIT_LATE: u64 = 6;

/// What a partition runs on.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// The log.
    pub(crate) log: Arc<dyn Log>,
    /// What the partition is claimed through.
    pub(crate) member: Arc<dyn Member>,
    /// The stores of this process.
    pub(crate) stores: Arc<dyn Stores>,
    /// Options.
    pub(crate) options: Arc<Options>,
    /// The partition.
    pub(crate) partition: Partition,
    /// What others are told of it.
    pub(crate) pulse: Arc<Pulse>,
    /// Who waits for a checkpoint of it.
    pub(crate) asks: Arc<Asks>,
    /// Who wants to give it another store.
    pub(crate) swaps: Arc<SwapAsks>,
}

/// How a partition came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Stopped as told.
    Stopped,
    /// A person must act.
    Refused(Refusal),
    /// It may be started anew.
    Lost(Lost),
}

/// Runs a driver from its claim to its end. When the tenure is revoked, a commit in flight and the
/// store write that follows it are finished first, and nothing else holds up the way out. When it is
/// lost, nothing does.
pub(crate) async fn run_driver(
    parts: &Parts,
    mut driver: Driver,
    status: &watch::Sender<PartitionStatus>,
    tenure: &Tenure,
) -> End {
    let ports = Ports::new(parts);
    let mut lanes = Lanes::default();
    let mut commands = driver.step(Input::Start, ports.clock.now_ms());
    let mut told = false;
    loop {
        for command in commands {
            if let Err(end) = ports.begin(command, &mut lanes) {
                return end;
            }
        }
        ports.publish(driver.progress(), status, tenure);
        parts.pulse.does(lanes.doing());
        let input = tokio::select! {
            biased;
            () = tenure.lost() => Input::TakenAway,
            () = tenure.revoked(), if !told => {
                told = true;
                Input::Stop
            }
            () = parts.asks.asked() => Input::CheckpointAsked,
            () = parts.swaps.asked() => Input::SwapAsked,
            input = lanes.next() => input,
        };
        commands = driver.step(input, ports.clock.now_ms());
    }
}

type Owned = Option<Box<dyn OwnedPartition>>;

/// What is waited for, and the kind of the command that it answers.
type Lane<'a, T> = Option<(&'static str, LogFuture<'a, T>)>;

/// What is outstanding.
#[derive(Default)]
struct Lanes<'a> {
    /// A commit, or what finds out about it. It has the claim in its hands and gives it back.
    commit: Lane<'a, (Owned, Input)>,
    /// A read of the log, or a wait for it.
    raw: Lane<'a, Input>,
    /// Answers of the store.
    ready: VecDeque<Input>,
    /// The right to commit, by the latest claim.
    owned: Owned,
}

impl Lanes<'_> {
    /// As others may be told.
    fn doing(&self) -> Doing {
        let commit = self.commit.as_ref().map(|(kind, _)| *kind);
        let raw = self.raw.as_ref().map(|(kind, _)| *kind);
        Doing { store: None, commit, raw }
    }

    /// The next answer. A commit is looked at first: that is what sends it.
    async fn next(&mut self) -> Input {
        std::future::poll_fn(|context| {
            use std::task::Poll::{Pending, Ready};
            if let Some((_, commit)) = &mut self.commit
                && let Ready((owned, input)) = commit.as_mut().poll(context)
            {
                self.commit = None;
                self.owned = owned;
                return Ready(input);
            }
            if let Some(input) = self.ready.pop_front() {
                return Ready(input);
            }
            if let Some((_, raw)) = &mut self.raw
                && let Ready(input) = raw.as_mut().poll(context)
            {
                self.raw = None;
                return Ready(input);
            }
            Pending
        })
        .await
    }
}

/// Everything commands are executed on.
pub(crate) struct Ports<'a> {
    parts: &'a Parts,
    raw: TopicPartition,
    derived: DerivedTopics,
    clock: Clock,
}

impl<'a> Ports<'a> {
    pub(crate) fn new(parts: &'a Parts) -> Self {
        let Parts { options, partition, .. } = parts;
        Self {
            parts,
            raw: TopicPartition::new(raw_topic(&options.topic_prefix), partition.id),
            derived: DerivedTopics::new(&options.topic_prefix, partition.id),
            clock: Clock::start(),
        }
    }

    /// Executes one command and waits for its answer; or the end, if it is one.
    pub(crate) async fn ask(&self, command: Command) -> Result<Input, End> {
        let mut lanes = Lanes::default();
        self.begin(command, &mut lanes)?;
        Ok(lanes.next().await)
    }

    /// Begins a command of the log, or does one of the store.
    fn begin<'b>(&'b self, command: Command, lanes: &mut Lanes<'b>) -> Result<(), End> {
        let (id, stores, kind) = (self.id(), &self.parts.stores, command.kind());
        self.parts.pulse.does(Doing { store: Some(kind), ..lanes.doing() });
        let done = match command {
            Command::Claim => {
                // An older claim is void from here on.
                lanes.owned = None;
                lanes.commit = Some((kind, Box::pin(self.claim())));
                return Ok(());
            }
            Command::Commit { purpose, outputs, position } => {
                let owned = lanes.owned.take();
                lanes.commit =
                    Some((kind, Box::pin(self.commit(owned, purpose, outputs, position))));
                return Ok(());
            }
            Command::Pause { until } => {
                let owned = lanes.owned.take();
                lanes.commit = Some((
                    kind,
                    Box::pin(async move {
                        self.clock.wait_until(Some(until)).await;
                        (owned, Input::Paused)
                    }),
                ));
                return Ok(());
            }
            Command::StandStill(head) => {
                let owned = lanes.owned.take();
                lanes.commit = Some((
                    kind,
                    Box::pin(async move {
                        self.parts.pulse.stand_still(true);
                        let _goes_on = GoesOn(&self.parts.pulse);
                        (owned, Input::Released(self.parts.swaps.stand(head).await))
                    }),
                ));
                return Ok(());
            }
            Command::ReadBounds => {
                let bounds = self.parts.log.bounds(&self.raw);
                lanes.raw =
                    Some((kind, Box::pin(async { Input::BoundsRead(self.heard(bounds.await)) })));
                return Ok(());
            }
            Command::ReadLastOutputs => {
                let outputs = self.last_outputs();
                lanes.raw = Some((
                    kind,
                    Box::pin(async { Input::LastOutputsRead(self.heard(outputs.await)) }),
                ));
                return Ok(());
            }
            Command::ReadRaw { from, max_records, max_bytes } => {
                let read = self.parts.log.read(&self.raw, from, max_records, max_bytes);
                lanes.raw =
                    Some((kind, Box::pin(async { Input::RawRead(self.heard(read.await)) })));
                return Ok(());
            }
            Command::Wait { past, until } => {
                lanes.raw = Some((kind, Box::pin(self.wait(past, until))));
                return Ok(());
            }
            Command::WriteStore { mut store, write } => {
                let result = write.apply(&mut *store);
                if result.is_ok() {
                    self.parts.pulse.shows(write.to.head.log_time);
                }
                if write.purpose == Purpose::Batch && result.is_ok() {
                    (self.parts.options.fail_point)(fail_point::AFTER_STORE);
                    metrics::folded(write.overlay.tally);
                    if let Some(log_time) = write.to.head.log_time {
                        metrics::event_age(age_ms(log_time.as_millis()));
                        metrics::clock_behind(id, ahead_ms(log_time.as_millis()));
                    }
                }
                Input::StoreWritten { store, result }
            }
            Command::Checkpoint { mut store, kept } => {
                // Whoever asks from here on waits for the next.
                let waiting = self.parts.asks.take();
                let result = take_checkpoint(&mut *store, &**stores, id, kept);
                waiting.answer(&result);
                metrics::checkpoint(result.is_ok());
                match &result {
                    Ok(made) => info!(partition = id, checkpoint = made.id, "checkpoint made"),
                    Err(error) => warn!(partition = id, %error, "checkpoint failed, going on"),
                }
                Input::Checkpointed { store, result }
            }
            Command::OpenStore => {
                let opened = stores.open(id);
                if let Ok(store) = &opened {
                    self.parts.pulse.shows(store.store_head().head.log_time);
                }
                Input::StoreOpened(opened)
            }
            Command::LookForNext => Input::NextFound(stores.next_generation(id)),
            Command::Succeed => {
                info!(partition = id, "the next generation of the store takes over");
                let opened = stores.succeed(id).and_then(|()| stores.open(id));
                if opened.is_ok() {
                    (self.parts.options.fail_point)(fail_point::AFTER_SWAP);
                    self.parts.swaps.done();
                }
                Input::Succeeded(opened)
            }
            Command::ListCheckpoints => Input::CheckpointsListed(stores.checkpoints(id)),
            Command::Reject(reason) => {
                warn!(partition = id, reason = reason.as_str(), "store set aside");
                Input::Rejected(stores.reject(id, reason.as_str()))
            }
            Command::Restore(checkpoint) => {
                info!(partition = id, checkpoint = checkpoint.id, "restoring checkpoint");
                Input::Restored(stores.restore(id, &checkpoint))
            }
            Command::Refused(refusal) => return Err(End::Refused(refusal)),
            Command::Lost(lost) => return Err(End::Lost(lost)),
            Command::Stopped => return Err(End::Stopped),
        };
        lanes.ready.push_back(done);
        Ok(())
    }

    async fn claim(&self) -> (Owned, Input) {
        let claim = self.parts.member.claim(self.id()).await;
        match self.heard(claim) {
            Ok(claim) => {
                self.parts.pulse.claimed(claim.committed.as_ref().map(|found| found.offset));
                (Some(claim.partition), Input::Claimed(Ok(claim.committed)))
            }
            Err(error) => (None, Input::Claimed(Err(error))),
        }
    }

    async fn wait(&self, past: Option<Offset>, until: Option<u64>) -> Input {
        let Some(offset) = past else {
            self.clock.wait_until(until).await;
            return Input::Woken;
        };
        tokio::select! {
            result = self.parts.log.wait_past(&self.raw, offset) => match self.heard(result) {
                Ok(()) => Input::Woken,
                // The next read would say the same.
                Err(error) => Input::RawRead(Err(error)),
            },
            error = self.recedes(offset) => Input::RawRead(self.heard(Err(error))),
            () = self.clock.wait_until(until) => Input::Woken,
        }
    }

    /// Waits until raw ends below `offset`, to where it was read: records are gone, and what is appended now
    /// takes their places without anybody who waits for more. The start that follows judges it.
    async fn recedes(&self, offset: Offset) -> LogError {
        loop {
            let next_ms = self.clock.now_ms().saturating_add(self.parts.options.poll_interval_ms);
            self.clock.wait_until(Some(next_ms)).await;
            // Of a log that does not answer, whoever waits for records hears.
            if let Ok(Bounds { end, .. }) = self.parts.log.bounds(&self.raw).await
                && end < offset
            {
                let reason = format!("{} was read up to {offset} and now ends at {end}", self.raw);
                return LogError::Unavailable { reason };
            }
        }
    }

    /// Notes an answer that says the log can do nothing now. That is no fault of the partition.
    fn heard<T>(&self, answer: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(LogError::Unavailable { .. } | LogError::Closed) = &answer {
            self.parts.pulse.log_away();
        }
        answer
    }

    async fn commit(
        &self,
        owned: Owned,
        purpose: Purpose,
        outputs: Arc<[Append]>,
        position: Committed,
    ) -> (Owned, Input) {
        let Some(mut owned) = owned else {
            return (None, Input::CommitDone(Err(CommitError::Fenced)));
        };
        let counts = Counts::of(&outputs, &self.parts.options.topic_prefix);
        let hook = self.parts.options.fail_point;
        match purpose {
            Purpose::Batch => hook(fail_point::BEFORE_COMMIT),
            Purpose::Swap => hook(fail_point::BEFORE_SWAP),
            Purpose::Start => {}
        }
        let (begun_ms, records, offset) = (self.clock.now_ms(), outputs.len(), position.offset);
        let result = self.outcome(owned.commit(outputs, position)).await;
        match purpose {
            Purpose::Batch if result.is_ok() => hook(fail_point::AFTER_COMMIT_BEFORE_STORE),
            Purpose::Swap if result.is_ok() => hook(fail_point::AFTER_SWAP_COMMIT),
            Purpose::Batch | Purpose::Swap | Purpose::Start => {}
        }
        let took_ms = self.clock.now_ms().saturating_sub(begun_ms);
        let partition = self.id();
        match &result {
            Ok(()) => {
                let before = self.parts.pulse.position();
                metrics::records(partition, offset.saturating_sub(before));
                self.parts.pulse.committed(offset);
                metrics::commit("committed", took_ms);
                counts.count();
                debug!(partition, offset, records, took_ms, "committed");
            }
            Err(CommitError::Aborted { reason }) => {
                // Most pass. What can never be accepted is aborted for good.
                self.parts.pulse.commit_late();
                metrics::commit("aborted", took_ms);
                warn!(partition, offset, reason, "commit aborted, will be sent again");
            }
            Err(CommitError::Fenced) => metrics::commit("fenced", took_ms),
            Err(error) => {
                // It did not answer. Where a new process would get further, the claim that follows fails.
                self.parts.pulse.log_away();
                metrics::commit("unclear", took_ms);
                warn!(partition, offset, %error, "commit in doubt, claiming anew to find out");
            }
        }
        (Some(owned), Input::CommitDone(result))
    }

    /// Waits for a commit, and tells as long as it waits for the log. One that hangs in this process, as in a fail
    /// point, tells nothing.
    async fn outcome(
        &self,
        mut commit: LogFuture<'_, Result<(), CommitError>>,
    ) -> Result<(), CommitError> {
        loop {
            let pause_ms = (self.parts.options.stuck_ms_max / COMMIT_LATE).max(1);
            let late_ms = self.clock.now_ms().saturating_add(pause_ms);
            tokio::select! {
                biased;
                result = &mut commit => return result,
                () = self.clock.wait_until(Some(late_ms)) => self.parts.pulse.commit_late(),
            }
        }
    }

    /// What the ends of the derived partitions tell of outputs emitted before.
    async fn last_outputs(&self) -> Result<Derived, LogError> {
        let log = &self.parts.log;
        let mut derived = Derived::default();
        for place in self.derived.places() {
            // Records may have been there and be gone by retention: the end tells.
            derived.had_records |= log.bounds(place).await?.end > 0;
            let last = log.last_record(place).await?;
            derived.highest_source =
                derived.highest_source.max(last.as_ref().and_then(source_offset));
        }
        Ok(derived)
    }

    fn publish(
        &self,
        progress: Progress,
        status: &watch::Sender<PartitionStatus>,
        tenure: &Tenure,
    ) {
        let partition = self.id();
        status.send_if_modified(|before| {
            let now = match progress {
                Progress::Starting => PartitionStatus::Starting,
                Progress::Restoring { remaining } => {
                    // Told before its first batch is written: later the store does not tell.
                    let from_empty = match *before {
                        PartitionStatus::Restoring { from_empty, .. } => from_empty,
                        _ => *self.parts.stores.view(partition).cursor().borrow() == 0,
                    };
                    PartitionStatus::Restoring { remaining, from_empty }
                }
                Progress::Live { position } => PartitionStatus::Live { position },
                Progress::Over => return false,
            };
            // The group says first that it is lost, and then so to everybody.
            if *before == now || tenure.is_lost() {
                return false;
            }
            if let PartitionStatus::Live { position } = &now
                && !before.is_live()
            {
                metrics::live(partition, true);
                info!(partition, position, "partition is live");
            }
            *before = now;
            true
        });
    }

    fn id(&self) -> u32 {
        self.parts.partition.id
    }
}

/// Says that a partition no longer stands still, also where what it waited in is dropped.
struct GoesOn<'a>(&'a Pulse);

impl Drop for GoesOn<'_> {
    fn drop(&mut self) {
        self.0.stand_still(false);
    }
}

/// Outputs of a commit, to be counted once it is certain.
struct Counts {
    /// Topics are few and shared, so that the same one is the same memory.
    by_topic: Vec<(Arc<str>, u64)>,
    /// Those that are counted also by what they say.
    told: Vec<(Topic, Bytes)>,
}

/// The topics of which a person asks not only how many.
const TOLD: [Topic; 3] = [Topic::Action, Topic::Alert, Topic::DeadLetter];

impl Counts {
    fn of(outputs: &[Append], prefix: &str) -> Self {
        let topics = TOLD.map(|topic| (derived_topic(prefix, topic), topic));
        let mut counts = Self { by_topic: Vec::new(), told: Vec::new() };
        for output in outputs {
            let topic = &output.to.topic;
            match counts.by_topic.iter_mut().find(|(met, _)| Arc::ptr_eq(met, topic)) {
                Some((_, count)) => *count += 1,
                None => counts.by_topic.push((Arc::clone(topic), 1)),
            }
        }
        let told = |of: &Arc<str>| topics.iter().find(|(name, _)| **name == **of);
        let met = counts.by_topic.iter().filter_map(|(of, _)| Some((of, told(of)?.1)));
        for (of, topic) in met {
            let outputs = outputs.iter().filter(|output| Arc::ptr_eq(of, &output.to.topic));
            let values = outputs.filter_map(|output| output.value.clone());
            counts.told.extend(values.map(|value| (topic, value)));
        }
        counts
    }

    fn count(self) {
        for (topic, records) in self.by_topic {
            metrics::outputs(&topic, records);
        }
        for (topic, value) in self.told {
            let document = Document::parse(&value).ok();
            let record = document.as_ref().and_then(|document| document.root().object());
            let text = |name| record.as_ref().and_then(|record| record.text(name));
            let word = |name| text(name).unwrap_or_else(|| "unknown".to_owned());
            match topic {
                Topic::Action => metrics::action(word("kind")),
                Topic::Alert => metrics::alert(word("kind"), word("severity"), text("reason")),
                _ if text("reason").as_deref() == Some(REDRIVEN) => metrics::redriven(),
                _ => metrics::dead_letter(word("reason")),
            }
        }
    }
}
