//! A partition for as long as the processor runs: owned while it is assigned to this process, at
//! rest otherwise.
//!
//! An owner that is lost is started anew after a pause that grows while it does not get live, for
//! as long as its tenure lasts; a refused one stays stopped and says so, unless it is given another store
//! to start with.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::busy;
use crate::clock::Clock;
use crate::driver::{Driver, Lost};
use crate::metrics;
use crate::options::{Options, backoff_ms};
use crate::status::PartitionStatus;
use crate::task::{End, Parts, run_driver};
use crate::tenure::Tenure;

/// Keeps a partition until the stop.
pub(crate) async fn keep_partition(
    parts: &Parts,
    status: &watch::Sender<PartitionStatus>,
    mut tenures: watch::Receiver<Option<Tenure>>,
    stop: &CancellationToken,
) {
    let partition = parts.partition.id;
    while !stop.is_cancelled() {
        let tenure = tenures.borrow_and_update().clone();
        if let Some(tenure) = tenure.filter(|tenure| !tenure.has_ended()) {
            own(parts, status, &tenure).await;
            continue;
        }
        status.send_replace(PartitionStatus::Elsewhere);
        tokio::select! {
            changed = tenures.changed() => if changed.is_err() { break },
            () = stop.cancelled() => break,
        }
    }
    // One that is refused stays so to whoever still asks.
    if !matches!(*status.borrow(), PartitionStatus::Refused(_)) {
        status.send_replace(PartitionStatus::Stopped);
    }
    info!(partition, "partition stopped");
}

/// Runs a partition until its tenure is over, starting it anew whenever it is lost for another
/// reason.
async fn own(parts: &Parts, status: &watch::Sender<PartitionStatus>, tenure: &Tenure) {
    let _ended = tenure.guard();
    let partition = parts.partition.id;
    let Options { restart_backoff_ms, restart_backoff_ms_max, .. } = *parts.options;
    let (mut failures, mut with) = (0, None);
    status.send_replace(PartitionStatus::Starting);
    while !tenure.is_over() {
        let options = std::sync::Arc::clone(&parts.options);
        let driver = match with.take() {
            None => Driver::new(options, parts.partition),
            Some(with) => Driver::starting_with(options, parts.partition, with),
        };
        let asks = (parts.asks.of_this_life(), parts.swaps.of_this_life());
        let end = busy::counted(partition, run_driver(parts, driver, status, tenure)).await;
        let was_live = status.borrow().is_live();
        if was_live {
            status.send_replace(PartitionStatus::Starting);
        }
        // Whoever waits for a checkpoint waits no longer, nor who has it in hand. What became of a swap the
        // next start finds out, so it no longer counts as live before they learn of the end.
        drop(asks);
        match end {
            End::Stopped | End::Lost(Lost::TakenAway) => break,
            End::Refused(refusal) => {
                error!(partition, %refusal, "partition refused");
                let code = refusal.code();
                metrics::refused(partition, code, true);
                status.send_replace(PartitionStatus::Refused(refusal));
                tokio::select! {
                    () = tenure.over() => {}
                    found = parts.swaps.to_start_with() => with = Some(found),
                }
                metrics::refused(partition, code, false);
            }
            End::Lost(lost) => {
                metrics::lost(partition);
                if was_live {
                    failures = 0;
                }
                let pause_ms = backoff_ms(restart_backoff_ms, restart_backoff_ms_max, failures);
                failures = failures.saturating_add(1);
                warn!(partition, %lost, pause_ms, "partition lost, will be started anew");
                status.send_replace(PartitionStatus::Starting);
                let clock = Clock::start();
                tokio::select! {
                    () = clock.wait_until(Some(pause_ms)) => {}
                    () = tenure.over() => {}
                }
            }
        }
    }
    info!(partition, "partition given up");
}
