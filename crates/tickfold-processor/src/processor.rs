//! All partitions of a raw topic in one process: a thread each, restarts, an orderly stop.
//!
//! A lost partition is started anew after a pause that grows while it does not get live; a refused
//! one stays stopped and says so. The others go on either way. A panic of a partition, and one that
//! is stuck, are reported by [`Processor::ended`] and [`Processor::stop`]; the process should end
//! on it, and be started anew by whoever supervises it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use tickfold_core::fold::Partition;
use tickfold_log::{Error as LogError, Log, TopicInfo};
use tickfold_store::Stores;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::metrics;
use crate::monitor::{Stuck, watch_partition};
use crate::options::{Options, backoff_ms};
use crate::outputs::topic_specs;
use crate::status::PartitionStatus;
use crate::task::{End, Parts, run_partition};

/// The running partitions.
#[derive(Debug)]
pub struct Processor {
    tasks: Vec<Task>,
    monitors: Vec<tokio::task::JoinHandle<()>>,
    statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
    stuck: watch::Sender<Stuck>,
    stop: CancellationToken,
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
    /// Starts a task for each of the `partitions` of the raw topic, on threads of their own whose
    /// waiting is done by `runtime`.
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts threads")]
    pub fn spawn(
        log: &Arc<dyn Log>,
        stores: &Arc<dyn Stores>,
        options: Options,
        partitions: u32,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let options = Arc::new(options);
        let stop = CancellationToken::new();
        let mut processor = Self {
            tasks: Vec::new(),
            monitors: Vec::new(),
            statuses: BTreeMap::new(),
            stuck: watch::Sender::default(),
            stop,
        };
        for id in 0..partitions {
            let parts = Parts {
                log: Arc::clone(log),
                stores: Arc::clone(stores),
                options: Arc::clone(&options),
                partition: Partition { id, count: partitions },
                pulse: Arc::default(),
            };
            let (status, statuses) = watch::channel(PartitionStatus::Starting);
            let (alive, ended) = oneshot::channel::<()>();
            let monitor = watch_partition(
                parts.clone(),
                statuses.clone(),
                processor.stuck.clone(),
                processor.stop.clone(),
            );
            processor.monitors.push(runtime.spawn(monitor));
            let (runtime, stop) = (runtime.clone(), processor.stop.clone());
            let run = move || {
                // Dropped with the thread, however it ends.
                let _alive = alive;
                runtime.block_on(keep_partition(&parts, &status, &stop));
            };
            let name = format!("partition-{id}");
            let thread = std::thread::Builder::new().name(name).spawn(run);
            let thread = thread.map_err(|source| {
                // Those that run are told to leave; their threads end by themselves.
                processor.stop.cancel();
                Error::Thread { partition: id, source }
            })?;
            processor.tasks.push(Task { partition: id, thread, ended });
            processor.statuses.insert(id, statuses);
        }
        Ok(processor)
    }

    /// Where each partition stands, by partition; the receivers follow.
    pub fn statuses(&self) -> &BTreeMap<u32, watch::Receiver<PartitionStatus>> {
        &self.statuses
    }

    /// Ends when a task panics or is stuck; never otherwise, before [`Self::stop`]. For `main` to
    /// watch beside its signals.
    pub async fn ended(&mut self) -> Error {
        let stop = self.stop.clone();
        let mut stuck = self.stuck.subscribe();
        let running = self.tasks.iter_mut().filter(|task| !task.ended.is_terminated());
        let ended = running.map(|task| {
            Box::pin(async move {
                // A task that was refused keeps its thread until it is told to stop.
                let _ = (&mut task.ended).await;
                task.partition
            })
        });
        let first_stuck = async {
            let found = stuck.wait_for(|stuck| !stuck.is_empty()).await;
            found.ok().and_then(|stuck| stuck.first_key_value().map(|(p, ms)| (*p, *ms)))
        };
        let error = tokio::select! {
            partition = first_of(ended.collect()) => Error::Panicked { partition },
            Some((partition, stuck_ms)) = first_stuck => Error::Stuck { partition, stuck_ms },
        };
        if stop.is_cancelled() {
            std::future::pending::<()>().await;
        }
        error
    }

    /// Lets each task finish the commit in flight and the store write that follows it, and joins
    /// them all, but those that are stuck: they might never end.
    pub async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        for monitor in self.monitors {
            // It has no result, and its panic would tell nothing of the partition.
            let _ = monitor.await;
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

/// Runs a partition until the stop, starting it anew whenever it is lost.
async fn keep_partition(
    parts: &Parts,
    status: &watch::Sender<PartitionStatus>,
    stop: &CancellationToken,
) {
    let partition = parts.partition.id;
    let Options { restart_backoff_ms, restart_backoff_ms_max, .. } = *parts.options;
    let mut failures = 0;
    loop {
        match run_partition(parts, status, stop).await {
            End::Stopped => break,
            End::Refused(refusal) => {
                error!(partition, %refusal, "partition refused");
                metrics::refused(partition, refusal.code());
                status.send_replace(PartitionStatus::Refused(refusal));
                stop.cancelled().await;
                // It stays refused to whoever still asks.
                return;
            }
            End::Lost(lost) => {
                metrics::lost();
                if status.borrow().is_live() {
                    failures = 0;
                }
                let pause_ms = backoff_ms(restart_backoff_ms, restart_backoff_ms_max, failures);
                failures = failures.saturating_add(1);
                warn!(partition, %lost, pause_ms, "partition lost, will be started anew");
                status.send_replace(PartitionStatus::Starting);
                let clock = Clock::start();
                tokio::select! {
                    () = clock.wait_until(Some(pause_ms)) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
    }
    info!(partition, "partition stopped");
    status.send_replace(PartitionStatus::Stopped);
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
