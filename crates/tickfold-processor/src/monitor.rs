//! Looks at a partition from outside, every now and then: how far it lags, how old its state is,
//! whether it is live, what it has still to restore, and whether it is stuck.
//!
//! It shares no thread with the task, so it sees also what hangs. One runs per partition, for as
//! long as the processor: it looks while the partition is assigned here, also while that starts,
//! restores, or is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use tickfold_log::TopicPartition;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::clock::Clock;
use crate::lag::Lag;
use crate::metrics;
use crate::outputs::raw_topic;
use crate::status::PartitionStatus;
use crate::task::Parts;
use crate::tenure::Tenure;
use crate::watchdog::{Seen, Watchdog};

/// How long the log has to tell its bounds; after that it counts as away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The parts of the time to be stuck after which a warning says that a partition does not get on: one
/// that starts has nothing to wait for, ticks may wait for their commit.
const EARLY: u64 = 6;
const LATE: u64 = 2;

/// Milliseconds without progress, by partition.
pub(crate) type Stuck = BTreeMap<u32, u64>;

/// Watches until the stop. A partition that is stuck is put into `stuck` and stays there.
pub(crate) async fn watch_partition(
    parts: Parts,
    status: watch::Receiver<PartitionStatus>,
    tenures: watch::Receiver<Option<Tenure>>,
    lag: watch::Sender<Option<Lag>>,
    stuck: watch::Sender<Stuck>,
    stop: CancellationToken,
) {
    let partition = parts.partition.id;
    let raw = TopicPartition::new(raw_topic(&parts.options.topic_prefix), partition);
    let clock = Clock::start();
    let mut dog = Watchdog::new(parts.options.stuck_ms_max, clock.now_ms());
    // Says so long before the other ends the process.
    let early = |now_ms| Watchdog::new(parts.options.stuck_ms_max / EARLY, now_ms);
    let mut pup = early(clock.now_ms());
    let mut was_assigned = false;
    let mut records = 0;
    metrics::live(partition, false);
    metrics::restore_remaining(partition, 0);
    loop {
        // Looks at once when a position is known; a claim that takes its time is itself a lag.
        let next_ms = clock.now_ms().saturating_add(parts.options.poll_interval_ms);
        tokio::select! {
            () = parts.pulse.wait_claimed() => {}
            () = clock.wait_until(Some(next_ms)) => {}
            () = stop.cancelled() => return,
        }
        let is_assigned = tenures.borrow().as_ref().is_some_and(|tenure| !tenure.is_over());
        if !is_assigned {
            if std::mem::take(&mut was_assigned) {
                metrics::lag(partition, &Lag::default());
                metrics::clock_behind(partition, 0);
                metrics::live(partition, false);
                metrics::restore_remaining(partition, 0);
                lag.send_replace(None);
                records = 0;
            }
            dog = Watchdog::new(parts.options.stuck_ms_max, clock.now_ms());
            pup = early(clock.now_ms());
            continue;
        }
        was_assigned = true;
        let bounds = tokio::select! {
            bounds = tokio::time::timeout(ANSWER_TIMEOUT, parts.log.bounds(&raw)) => {
                bounds.ok().and_then(Result::ok)
            }
            () = stop.cancelled() => return,
        };
        let position = parts.pulse.position();
        if let Some(bounds) = bounds {
            // Nothing is committed below the start where nothing was claimed yet.
            records = bounds.end.saturating_sub(position.max(bounds.start));
        }
        let (is_starting, restore_remaining, is_over) = match &*status.borrow() {
            // Assigned and still shown elsewhere: its thread has yet to take it up.
            PartitionStatus::Starting | PartitionStatus::Elsewhere => (true, None, false),
            PartitionStatus::Live { .. } | PartitionStatus::Following { .. } => {
                (false, None, false)
            }
            PartitionStatus::Restoring { remaining, .. } => (true, Some(*remaining), false),
            PartitionStatus::Refused(_) | PartitionStatus::Stopped => (false, None, true),
        };
        metrics::live(partition, status.borrow().is_live());
        // One that is started anew has still to restore what it had before.
        if restore_remaining.is_some() || !is_starting {
            metrics::restore_remaining(partition, restore_remaining.unwrap_or(0));
        }
        // While the log is away what waits is what waited last.
        let is_behind = records > 0 || restore_remaining.is_some();
        let seen = Lag { records, shown: parts.pulse.log_time().filter(|_| is_behind) };
        metrics::lag(partition, &seen);
        lag.send_replace(Some(seen));
        let end = bounds.map(|bounds| bounds.end);
        let times_log_away = parts.pulse.times_log_away();
        let times_commit_late = parts.pulse.times_commit_late();
        // What it is in hand for takes as long as there are rows.
        let is_over = is_over || parts.pulse.stands_still();
        let copies = parts.pulse.doing().copies();
        let seen = Seen {
            position,
            end,
            restore_remaining,
            is_starting,
            times_log_away,
            times_commit_late,
            is_over,
            copies,
        };
        let now_ms = clock.now_ms();
        // That a commit takes long is no reason to end, and one to say so.
        if let Some(for_ms) = pup.see(&Seen { times_commit_late: 0, ..seen }, now_ms)
            && (is_starting || for_ms >= parts.options.stuck_ms_max / LATE)
        {
            let waits_for = parts.pulse.doing();
            warn!(partition, position, end, for_ms, %waits_for, "partition does not get on");
            pup = early(now_ms);
        }
        if let Some(stuck_ms) = dog.see(&seen, now_ms) {
            let waits_for = parts.pulse.doing();
            error!(partition, position, end, stuck_ms, %waits_for, "partition is stuck");
            stuck.send_modify(|stuck| _ = stuck.insert(partition, stuck_ms));
            // Said once; whoever listens ends the process.
            return;
        }
    }
}
