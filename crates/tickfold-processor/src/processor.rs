//! All partitions of a raw topic in one process: a thread each, run while the consumer group assigns
//! them to this process, an orderly stop.
//!
//! A lost partition is started anew, a refused one stays stopped and says so; the others go on
//! either way. A panic of a partition, one that is stuck, and a group that refuses this member are
//! reported by [`Processor::ended`] and [`Processor::stop`]; the process should end on it, and be
//! started anew by whoever supervises it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use tickfold_core::fold::Partition;
use tickfold_log::{Departure, Error as LogError, Log, Member, TopicInfo};
use tickfold_store::Stores;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::checkpoint::{Asks, Checkpoints};
use crate::clock::Clock;
use crate::group::{Reach, Reaches, follow_group};
use crate::keep::keep_partition;
use crate::lag::Lags;
use crate::monitor::{Stuck, watch_partition};
use crate::options::Options;
use crate::outputs::topic_specs;
use crate::status::PartitionStatus;
use crate::swap::{SwapAsks, Swaps};
use crate::task::Parts;
use crate::tenure::Ends;

/// The partitions of a topic in this process.
#[derive(Debug)]
pub struct Processor {
    member: Arc<dyn Member>,
    release_ms_max: u64,
    tasks: Vec<Task>,
    /// The group's side and the monitors; none has a result.
    beside: Vec<tokio::task::JoinHandle<()>>,
    /// What the group refuses this member for.
    refused: oneshot::Receiver<LogError>,
    statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
    lags: BTreeMap<u32, Lags>,
    asks: BTreeMap<u32, Arc<Asks>>,
    swaps: BTreeMap<u32, Arc<SwapAsks>>,
    stuck: watch::Sender<Stuck>,
    ends: Ends,
}

#[derive(Debug)]
struct Task {
    partition: u32,
    thread: JoinHandle<()>,
    /// Ends when the thread does, also when it panics.
    ended: oneshot::Receiver<()>,
}

/// Why the processor did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topics are not as they must be.
    #[error("check the topics of the processor")]
    Topics(#[source] LogError),
    /// The consumer group does not go on with this member: a person must act. All partitions are
    /// given up.
    #[error("be a member of the consumer group")]
    Group(#[source] LogError),
    /// The thread of a partition could not be started.
    #[error("start the thread of partition {partition}")]
    Thread {
        /// Partition.
        partition: u32,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The task of a partition panicked: a defect. What it had committed is safe.
    #[error("the task of partition {partition} panicked")]
    Panicked {
        /// Partition.
        partition: u32,
    },
    /// Input waits for a partition, the log answers, and nothing was committed for too long: a
    /// defect, or a disk that hangs. What it had committed is safe. Its thread is left behind.
    #[error("partition {partition} is stuck: no progress for {stuck_ms} ms while input waits")]
    Stuck {
        /// Partition.
        partition: u32,
        /// Milliseconds without progress.
        stuck_ms: u64,
    },
}

/// Creates the raw and derived topics that do not exist and checks the others. To be called before
/// [`Processor::spawn`], and before ingress takes requests.
pub async fn ensure_topics(
    log: &dyn Log,
    options: &Options,
    partitions: u32,
) -> Result<Vec<TopicInfo>, Error> {
    log.ensure_topics(&topic_specs(&options.topic_prefix, partitions)).await.map_err(Error::Topics)
}

impl Processor {
    /// Runs those of the `partitions` of the raw topic that the group assigns to `member`, on
    /// threads of their own whose waiting is done by `runtime`. Nothing else may listen to the
    /// member or claim through it.
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts threads")]
    pub fn spawn(
        log: &Arc<dyn Log>,
        stores: &Arc<dyn Stores>,
        member: Arc<dyn Member>,
        options: Options,
        partitions: u32,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let options = Arc::new(options);
        let (refuse, refused) = oneshot::channel();
        let mut processor = Self {
            member: Arc::clone(&member),
            release_ms_max: options.release_ms_max,
            tasks: Vec::new(),
            beside: Vec::new(),
            refused,
            statuses: BTreeMap::new(),
            lags: BTreeMap::new(),
            asks: BTreeMap::new(),
            swaps: BTreeMap::new(),
            stuck: watch::Sender::default(),
            ends: Ends::default(),
        };
        let mut reaches = Reaches::new();
        for id in 0..partitions {
            let parts = Parts {
                log: Arc::clone(log),
                stores: Arc::clone(stores),
                member: Arc::clone(&member),
                options: Arc::clone(&options),
                partition: Partition { id, count: partitions },
                pulse: Arc::default(),
                asks: Arc::default(),
                swaps: Arc::default(),
            };
            let (status, statuses) = watch::channel(PartitionStatus::Elsewhere);
            let (tenure, assigned) = watch::channel(None);
            reaches.insert(id, Reach { tenure, status: status.clone() });
            let (lag, lags) = watch::channel(None);
            let (alive, ended) = oneshot::channel::<()>();
            let monitor = watch_partition(
                parts.clone(),
                statuses.clone(),
                assigned.clone(),
                lag,
                processor.stuck.clone(),
                processor.ends.stop.clone(),
            );
            processor.beside.push(runtime.spawn(monitor));
            processor.asks.insert(id, Arc::clone(&parts.asks));
            processor.swaps.insert(id, Arc::clone(&parts.swaps));
            let (runtime, stop) = (runtime.clone(), processor.ends.stop.clone());
            let run = move || {
                // Dropped with the thread, however it ends.
                let _alive = alive;
                runtime.block_on(keep_partition(&parts, &status, assigned, &stop));
            };
            let name = format!("partition-{id}");
            let thread = std::thread::Builder::new().name(name).spawn(run);
            let thread = thread.map_err(|source| {
                // Those that run are told to leave; their threads end by themselves.
                processor.ends.stop.cancel();
                Error::Thread { partition: id, source }
            })?;
            processor.tasks.push(Task { partition: id, thread, ended });
            processor.statuses.insert(id, statuses);
            processor.lags.insert(id, lags);
        }
        let ends = processor.ends.clone();
        processor.beside.push(runtime.spawn(async move {
            if let Err(error) = follow_group(member, options, reaches, ends).await {
                // Nobody to tell is left only while the processor is being dropped.
                let _ = refuse.send(error);
            }
        }));
        Ok(processor)
    }

    /// Where each partition of the topic stands, by partition; the receivers follow. All are
    /// [`PartitionStatus::Elsewhere`] until the group first speaks.
    pub fn statuses(&self) -> &BTreeMap<u32, watch::Receiver<PartitionStatus>> {
        &self.statuses
    }

    /// How far each partition is behind, as seen every second.
    pub fn lags(&self) -> &BTreeMap<u32, Lags> {
        &self.lags
    }

    /// Through which checkpoints are asked for.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.asks.clone(), self.statuses.clone())
    }

    /// Through which partitions are given other stores.
    pub fn swaps(&self) -> Swaps {
        Swaps::new(self.swaps.clone(), self.statuses.clone())
    }

    /// Ends when a task panics or is stuck, or the group refuses this member; never otherwise,
    /// before [`Self::stop`]. For `main` to watch beside its signals.
    pub async fn ended(&mut self) -> Error {
        let stop = self.ends.stop.clone();
        let mut stuck = self.stuck.subscribe();
        let running = self.tasks.iter_mut().filter(|task| !task.ended.is_terminated());
        let ended = running.map(|task| {
            Box::pin(async move {
                // Every thread lives until it is told to stop.
                let _ = (&mut task.ended).await;
                task.partition
            })
        });
        let first_stuck = async {
            let found = stuck.wait_for(|stuck| !stuck.is_empty()).await;
            found.ok().and_then(|stuck| stuck.first_key_value().map(|(p, ms)| (*p, *ms)))
        };
        let refused = async {
            if self.refused.is_terminated() { None } else { (&mut self.refused).await.ok() }
        };
        let error = tokio::select! {
            partition = first_of(ended.collect()) => Error::Panicked { partition },
            Some((partition, stuck_ms)) = first_stuck => Error::Stuck { partition, stuck_ms },
            Some(error) = refused => Error::Group(error),
        };
        if stop.is_cancelled() {
            std::future::pending::<()>().await;
        }
        error
    }

    /// Lets each task finish the commit in flight and the store write that follows it, joins them
    /// all, but those that are stuck since they might never end, and leaves the group as told. A
    /// task that waits for the log longer than [`Options::release_ms_max`] is dropped: its
    /// partition is found as after a crash.
    pub async fn stop(mut self, departure: Departure) -> Result<(), Error> {
        let (ends, member) = (self.ends.clone(), Arc::clone(&self.member));
        ends.stop.cancel();
        let (clock, patience_ms) = (Clock::start(), self.release_ms_max);
        let refused = self.refused.try_recv().ok();
        let mut joined = std::pin::pin!(self.join());
        let joined = tokio::select! {
            joined = &mut joined => joined,
            () = clock.wait_until(Some(patience_ms)) => {
                ends.abandon.cancel();
                joined.await
            }
        };
        member.go(departure).await;
        match refused {
            Some(error) if joined.is_ok() => Err(Error::Group(error)),
            Some(_) | None => joined,
        }
    }

    async fn join(self) -> Result<(), Error> {
        for beside in self.beside {
            // It has no result, and its panic would tell nothing of a partition.
            let _ = beside.await;
        }
        let stuck = self.stuck.borrow().clone();
        let mut failed = None;
        for Task { partition, thread, ended } in self.tasks {
            if let Some(stuck_ms) = stuck.get(&partition).copied() {
                failed.get_or_insert(Error::Stuck { partition, stuck_ms });
                continue;
            }
            // Either way it is at its end, so the join does not block the runtime.
            if !ended.is_terminated() {
                let _ = ended.await;
            }
            if thread.join().is_err() {
                failed.get_or_insert(Error::Panicked { partition });
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// The first result of several futures.
async fn first_of<T, F: Future<Output = T> + Unpin>(mut futures: Vec<F>) -> T {
    std::future::poll_fn(|context| {
        for future in &mut futures {
            if let std::task::Poll::Ready(value) = std::pin::Pin::new(future).poll(context) {
                return std::task::Poll::Ready(value);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
