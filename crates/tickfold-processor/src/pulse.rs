//! What a task tells of itself while it runs: to the lag, and to the watchdog.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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
    commit_late: AtomicU64,
    stands_still: AtomicBool,
    claimed: Notify,
    doing: Mutex<Doing>,
}

/// The kinds of the commands whose answers a task waits for, by lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Doing {
    /// A commit, a claim, or a pause before one.
    pub(crate) commit: Option<&'static str>,
    /// A read of the log, or a wait for it.
    pub(crate) raw: Option<&'static str>,
    /// What it is at itself: the store takes its time.
    pub(crate) store: Option<&'static str>,
}

const UNKNOWN: i64 = i64::MIN;

impl Default for Pulse {
    fn default() -> Self {
        Self {
            position: AtomicU64::new(0),
            log_time: AtomicI64::new(UNKNOWN),
            log_away: AtomicU64::new(0),
            commit_late: AtomicU64::new(0),
            stands_still: AtomicBool::new(false),
            claimed: Notify::new(),
            doing: Mutex::default(),
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

    /// A commit was aborted, or the log takes its time over it.
    pub(crate) fn commit_late(&self) {
        self.commit_late.fetch_add(1, Ordering::Relaxed);
    }

    /// It waits for this from now on.
    pub(crate) fn does(&self, doing: Doing) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }

    /// What it waits for.
    pub(crate) fn doing(&self) -> Doing {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// How often a commit was late.
    pub(crate) fn times_commit_late(&self) -> u64 {
        self.commit_late.load(Ordering::Relaxed)
    }
}

impl Doing {
    /// It opens or copies a whole store.
    pub(crate) fn copies(self) -> bool {
        matches!(self.store, Some("open_store" | "restore" | "checkpoint" | "succeed"))
    }
}

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = [self.store, self.commit, self.raw];
        let mut kinds = kinds.into_iter().flatten();
        f.write_str(kinds.next().unwrap_or("nothing"))?;
        kinds.try_for_each(|kind| write!(f, " and {kind}"))
    }
}
