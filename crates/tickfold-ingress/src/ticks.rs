//! Ticks: empty control records that let log time pass on partitions nothing else is written to,
//! so that timers of the fold fire there too.
//!
//! A tick is appended to each raw partition that nothing was written to for the interval. It is
//! also the probe by which ingress notices that a failing log works again. A tick that fails is
//! counted and tried again at the next interval, never sooner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tickfold_core::raw::tick_headers;
use tickfold_log::{Append, TopicPartition};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::append::{RawTopic, encode};
use crate::lanes::NotAppended;
use crate::metrics;

/// When each raw partition was last written by this process.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    /// Milliseconds since the start, by partition.
    written_ms: Vec<AtomicU64>,
}

impl Activity {
    /// All partitions count as written now, so that the first ticks come after one interval.
    pub(crate) fn new(partition_count: u32) -> Self {
        let written_ms = (0..partition_count).map(|_| AtomicU64::new(0)).collect();
        Self { start: Instant::now(), written_ms }
    }

    /// How many there are.
    pub(crate) fn partitions(&self) -> usize {
        self.written_ms.len()
    }

    pub(crate) fn written(&self, partition: u32) {
        let written = usize::try_from(partition).ok().and_then(|at| self.written_ms.get(at));
        if let Some(written) = written {
            let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            written.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    fn last_written(&self) -> impl Iterator<Item = Instant> {
        let at = |ms: &AtomicU64| self.start + Duration::from_millis(ms.load(Ordering::Relaxed));
        self.written_ms.iter().map(at)
    }
}

/// Appends ticks until `stop`.
pub(crate) async fn run(
    raw: Arc<RawTopic>,
    interval: Duration,
    append_deadline: Duration,
    stop: CancellationToken,
) {
    let mut tried = vec![raw.activity.start; raw.activity.partitions()];
    loop {
        let due = |tried: &[Instant]| -> Vec<Instant> {
            let last_written = raw.activity.last_written();
            last_written.zip(tried).map(|(written, &tried)| written.max(tried) + interval).collect()
        };
        let Some(next) = due(&tried).into_iter().min() else { return };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(next) => (),
        }
        // Some may have been written meanwhile, so what is due is looked at again.
        let now = Instant::now();
        let mut idle: Vec<u32> = Vec::new();
        for ((partition, due), tried) in (0..).zip(due(&tried)).zip(&mut tried) {
            if due <= now {
                idle.push(partition);
                *tried = now;
            }
        }
        // At shutdown nobody waits for the ticks: whether they are there does not matter.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = append(&raw, &idle, append_deadline) => (),
        }
    }
}

/// The record of a tick, for a partition of a raw topic that is routed by so many.
pub fn tick(to: TopicPartition, partition_count: u32) -> Append {
    Append {
        to,
        key: None,
        // Empty, not absent: absent would be a tombstone.
        value: Some(Bytes::new()),
        headers: encode(tick_headers(partition_count)),
        timestamp_ms: None,
    }
}

async fn append(raw: &RawTopic, partitions: &[u32], append_deadline: Duration) {
    let deadline = Instant::now() + append_deadline;
    // Each counts for itself: a partition that is away must not hide that others got their ticks.
    let ticks = partitions.iter().map(|&partition| {
        let tick = tick(TopicPartition::new(&*raw.name, partition), raw.partition_count);
        raw.lanes.append(vec![tick], None, deadline)
    });
    let failed: Vec<_> = join_all(ticks).await.into_iter().filter_map(Result::err).collect();
    metrics::ticks(partitions.len() - failed.len());
    let Some(NotAppended { reason, .. }) = failed.first() else { return };
    metrics::tick_failures(failed.len());
    if let Some(count) = raw.failures.pass() {
        let reason: &str = reason;
        warn!(count, reason, "append of ticks failed, tried again at the next interval");
    }
}
