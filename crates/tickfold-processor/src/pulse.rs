//! What a task tells of itself while it runs: to the lag, and to the watchdog.

use std::sync::atomic::{AtomicU64, Ordering};

use tickfold_log::Offset;

/// Written by the task of a partition, on its way; read by whoever watches it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    position: AtomicU64,
    log_away: AtomicU64,
}

impl Pulse {
    /// The committed position, as a claim found it or a commit made it.
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
