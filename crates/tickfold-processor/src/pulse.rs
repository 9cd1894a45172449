//! What a task tells of itself while it runs: to the lag, and to the watchdog.

use std::sync::atomic::{AtomicU64, Ordering};

use tickfold_log::Offset;
use tokio::sync::Notify;

/// Written by the task of a partition, on its way; read by whoever watches it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    position: AtomicU64,
    log_away: AtomicU64,
    claimed: Notify,
}

impl Pulse {
    /// The committed position as a claim found it, if there is one.
    pub(crate) fn claimed(&self, position: Option<Offset>) {
        if let Some(position) = position {
            self.committed(position);
        }
        self.claimed.notify_one();
    }

    /// Waits for a claim, also for one before this call.
    pub(crate) async fn wait_claimed(&self) {
        self.claimed.notified().await;
    }

    /// The committed position, as a commit made it.
    pub(crate) fn committed(&self, position: Offset) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// The log answered that it can do nothing now.
    pub(crate) fn log_away(&self) {
        self.log_away.fetch_add(1, Ordering::Relaxed);
    }

    /// The committed position as far as known; 0 before the first claim.
    pub(crate) fn position(&self) -> Offset {
        self.position.load(Ordering::Relaxed)
    }

    /// How often the log was away.
    pub(crate) fn times_log_away(&self) -> u64 {
        self.log_away.load(Ordering::Relaxed)
    }
}
