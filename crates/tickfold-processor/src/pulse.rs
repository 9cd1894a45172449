//! What a task tells of itself while it runs: to the lag, and to the watchdog.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tickfold_core::time::Timestamp;
use tickfold_log::Offset;
use tokio::sync::Notify;

/// Written by the task of a partition, on its way; read by whoever watches it.
#[derive(Debug)]
pub(crate) struct Pulse {
    position: AtomicU64,
    /// Milliseconds; [`UNKNOWN`] before a store was opened, and while it is empty.
    log_time: AtomicI64,
    log_away: AtomicU64,
    stands_still: AtomicBool,
    claimed: Notify,
}

const UNKNOWN: i64 = i64::MIN;

impl Default for Pulse {
    fn default() -> Self {
        Self {
            position: AtomicU64::new(0),
            log_time: AtomicI64::new(UNKNOWN),
            log_away: AtomicU64::new(0),
            stands_still: AtomicBool::new(false),
            claimed: Notify::new(),
        }
    }
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

    /// The state that readers see is of this log time, if it is of any.
    pub(crate) fn shows(&self, log_time: Option<Timestamp>) {
        self.log_time.store(log_time.map_or(UNKNOWN, Timestamp::as_millis), Ordering::Relaxed);
    }

    /// Log time of the state that readers see.
    pub(crate) fn log_time(&self) -> Option<Timestamp> {
        let ms = self.log_time.load(Ordering::Relaxed);
        (ms != UNKNOWN).then(|| Timestamp::from_millis(ms))
    }

    /// The log answered that it can do nothing now.
    pub(crate) fn log_away(&self) {
        self.log_away.fetch_add(1, Ordering::Relaxed);
    }

    /// It stands still since somebody has it in hand, or no longer.
    pub(crate) fn stand_still(&self, stands: bool) {
        self.stands_still.store(stands, Ordering::Relaxed);
    }

    /// Whether somebody has it in hand.
    pub(crate) fn stands_still(&self) -> bool {
        self.stands_still.load(Ordering::Relaxed)
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
