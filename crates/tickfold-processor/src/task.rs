//! The shell of a driver: executes its commands on the ports and brings the answers.
//!
//! It decides nothing. Meant for a thread of its own ([`crate::Processor`]), since folding and the
//! store block.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::fold::Partition;
use tickfold_core::json::Json;
use tickfold_core::records::Topic;
use tickfold_log::{Append, CommitError, Error as LogError, Log, OwnedPartition, TopicPartition};
use tickfold_store::Stores;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::clock::{Clock, age_ms};
use crate::driver::{Command, Derived, Driver, Input, Lost, Progress, Purpose, Refusal};
use crate::options::{Options, fail_point};
use crate::outputs::{DerivedTopics, derived_topic, raw_topic, source_offset};
use crate::{metrics, status::PartitionStatus};

/// What a partition runs on.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The stores of this process.
    pub stores: Arc<dyn Stores>,
    /// Options.
    pub options: Arc<Options>,
    /// The partition.
    pub partition: Partition,
}

/// How a partition came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Stopped as told.
    Stopped,
    /// A person must act.
    Refused(Refusal),
    /// It may be started anew.
    Lost(Lost),
}

/// Runs a partition from its claim to its end. When `stop` is cancelled, a commit in flight and
/// the store write that follows it are finished first.
pub async fn run_partition(
    parts: &Parts,
    status: &watch::Sender<PartitionStatus>,
    stop: &CancellationToken,
) -> End {
    let mut shell = Shell::new(parts);
    let mut driver = Driver::new(Arc::clone(&parts.options), parts.partition);
    let mut commands = driver.step(Input::Start, shell.clock.now_ms());
    loop {
        let mut answers = Vec::new();
        for command in commands {
            match shell.execute(command, stop).await {
                Ok(input) => answers.push(input),
                Err(end) => return end,
            }
        }
        commands = Vec::new();
        if stop.is_cancelled() {
            commands.extend(driver.step(Input::Stop, shell.clock.now_ms()));
        }
        for input in answers {
            commands.extend(driver.step(input, shell.clock.now_ms()));
        }
        shell.publish(driver.progress(), status);
    }
}

struct Shell<'a> {
    parts: &'a Parts,
    raw: TopicPartition,
    derived: DerivedTopics,
    clock: Clock,
    /// The right to commit, by the latest claim.
    owned: Option<Box<dyn OwnedPartition>>,
}

impl<'a> Shell<'a> {
    fn new(parts: &'a Parts) -> Self {
        let Parts { options, partition, .. } = parts;
        Self {
            parts,
            raw: TopicPartition::new(raw_topic(&options.topic_prefix), partition.id),
            derived: DerivedTopics::new(&options.topic_prefix, partition.id),
            clock: Clock::start(),
            owned: None,
        }
    }

    async fn execute(&mut self, command: Command, stop: &CancellationToken) -> Result<Input, End> {
        match command {
            Command::Commit { purpose, outputs, position } => {
                Ok(self.commit(purpose, outputs, position).await)
            }
            Command::WriteStore { mut store, write } => {
                let result = write.apply(&mut *store);
                if write.purpose == Purpose::Batch && result.is_ok() {
                    (self.parts.options.fail_point)(fail_point::AFTER_STORE);
                    if let Some(log_time) = write.to.head.log_time {
                        metrics::event_age(age_ms(log_time.as_millis()));
                    }
                    self.measure_lag(write.to.cursor).await;
                }
                Ok(Input::StoreWritten { store, result })
            }
            Command::OpenStore => Ok(Input::StoreOpened(self.parts.stores.open(self.id()))),
            Command::ListCheckpoints => {
                Ok(Input::CheckpointsListed(self.parts.stores.checkpoints(self.id())))
            }
            Command::Reject(reason) => {
                warn!(partition = self.id(), reason = reason.as_str(), "store set aside");
                Ok(Input::Rejected(self.parts.stores.reject(self.id(), reason.as_str())))
            }
            Command::Restore(checkpoint) => {
                info!(partition = self.id(), checkpoint = checkpoint.id, "restoring checkpoint");
                Ok(Input::Restored(self.parts.stores.restore(self.id(), &checkpoint)))
            }
            Command::Refused(refusal) => Err(End::Refused(refusal)),
            Command::Lost(lost) => Err(End::Lost(lost)),
            Command::Stopped => Err(End::Stopped),
            // The others change nothing, so leaving them half done is as good as a stop before
            // them: a log that does not answer must not hold up the way out.
            harmless => {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => Err(End::Stopped),
                    input = self.ask(harmless) => Ok(input),
                }
            }
        }
    }

    /// Commands that may be dropped half way.
    async fn ask(&mut self, command: Command) -> Input {
        let log = &self.parts.log;
        match command {
            Command::Claim => {
                // An older claim is void from here on.
                self.owned = None;
                let claim = log.claim(&self.parts.options.group, &self.raw).await;
                Input::Claimed(claim.map(|claim| {
                    self.owned = Some(claim.partition);
                    claim.committed
                }))
            }
            Command::ReadBounds => Input::BoundsRead(log.bounds(&self.raw).await),
            Command::ReadLastOutputs => Input::LastOutputsRead(self.last_outputs().await),
            Command::ReadRaw { from, max_records, max_bytes } => {
                Input::RawRead(log.read(&self.raw, from, max_records, max_bytes).await)
            }
            Command::Wait { past: Some(offset), until } => {
                tokio::select! {
                    result = log.wait_past(&self.raw, offset) => match result {
                        Ok(()) => Input::Woken,
                        // The next read would say the same.
                        Err(error) => Input::RawRead(Err(error)),
                    },
                    () = self.clock.wait_until(until) => Input::Woken,
                }
            }
            Command::Wait { past: None, until } => {
                self.clock.wait_until(until).await;
                Input::Woken
            }
            // Executed before this is called. The driver takes such an answer for the defect it is.
            Command::Commit { .. }
            | Command::WriteStore { .. }
            | Command::OpenStore
            | Command::ListCheckpoints
            | Command::Reject(_)
            | Command::Restore(_)
            | Command::Refused(_)
            | Command::Lost(_)
            | Command::Stopped => Input::Woken,
        }
    }

    async fn commit(
        &mut self,
        purpose: Purpose,
        outputs: Vec<Append>,
        position: tickfold_log::Committed,
    ) -> Input {
        let Some(owned) = &mut self.owned else {
            return Input::CommitDone(Err(CommitError::Fenced));
        };
        let counts = Counts::of(&outputs, &self.parts.options.topic_prefix);
        let hook = self.parts.options.fail_point;
        if purpose == Purpose::Batch {
            hook(fail_point::BEFORE_COMMIT);
        }
        let (begun_ms, records, offset) = (self.clock.now_ms(), outputs.len(), position.offset);
        let result = owned.commit(outputs, position).await;
        if purpose == Purpose::Batch && result.is_ok() {
            hook(fail_point::AFTER_COMMIT_BEFORE_STORE);
        }
        let took_ms = self.clock.now_ms().saturating_sub(begun_ms);
        let partition = self.id();
        match &result {
            Ok(()) => {
                metrics::commit("committed", took_ms);
                counts.count();
                debug!(partition, offset, records, took_ms, "committed");
            }
            Err(CommitError::Aborted { reason }) => {
                metrics::commit("aborted", took_ms);
                warn!(partition, offset, reason, "commit aborted, will be sent again");
            }
            Err(CommitError::Fenced) => metrics::commit("fenced", took_ms),
            Err(error) => {
                metrics::commit("unclear", took_ms);
                warn!(partition, offset, %error, "commit in doubt, claiming anew to find out");
            }
        }
        Input::CommitDone(result)
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

    async fn measure_lag(&self, cursor: u64) {
        if let Ok(bounds) = self.parts.log.bounds(&self.raw).await {
            metrics::lag(self.id(), bounds.end.saturating_sub(cursor));
        }
    }

    fn publish(&self, progress: Progress, status: &watch::Sender<PartitionStatus>) {
        let now = match progress {
            Progress::Starting => PartitionStatus::Starting,
            Progress::Restoring { remaining } => PartitionStatus::Restoring { remaining },
            Progress::Live { position } => PartitionStatus::Live { position },
            Progress::Over => return,
        };
        let partition = self.id();
        status.send_if_modified(|before| {
            if *before == now {
                return false;
            }
            match &now {
                PartitionStatus::Restoring { remaining } => {
                    metrics::restore_remaining(partition, *remaining);
                }
                PartitionStatus::Live { position }
                    if !matches!(before, PartitionStatus::Live { .. }) =>
                {
                    metrics::restore_remaining(partition, 0);
                    info!(partition, position, "partition is live");
                }
                _ => {}
            }
            *before = now;
            true
        });
    }

    fn id(&self) -> u32 {
        self.parts.partition.id
    }
}

/// Outputs of a commit, to be counted once it is certain.
struct Counts {
    by_topic: BTreeMap<String, u64>,
    dead_letters: Vec<Bytes>,
}

impl Counts {
    fn of(outputs: &[Append], prefix: &str) -> Self {
        let dead_letter = derived_topic(prefix, Topic::DeadLetter);
        let mut counts = Self { by_topic: BTreeMap::new(), dead_letters: Vec::new() };
        for output in outputs {
            match counts.by_topic.get_mut(&output.to.topic) {
                Some(count) => *count += 1,
                None => _ = counts.by_topic.insert(output.to.topic.clone(), 1),
            }
            if output.to.topic == dead_letter {
                counts.dead_letters.extend(output.value.clone());
            }
        }
        counts
    }

    fn count(self) {
        for (topic, records) in self.by_topic {
            metrics::outputs(&topic, records);
        }
        for value in self.dead_letters {
            let record = Json::parse(&value).ok().and_then(Json::object);
            let reason = record.and_then(|record| record.text("reason"));
            metrics::dead_letter(reason.unwrap_or_else(|| "unknown".to_owned()));
        }
    }
}
