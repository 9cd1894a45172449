//! A tenure: one assignment of a partition to this process, from the group's word until the task
//! let go of the partition.
//!
//! It ends in one of two ways. *Revoked*: what may be taking effect is finished first. *Lost*: at
//! once, whatever is under way. It is over for the task with the first word of either kind; it has
//! *ended* when the task holds neither claim nor store any more.

use tokio_util::sync::{CancellationToken, DropGuard};

/// Shared by the group's side, which says when it is over, and the task, which says when it ended.
#[derive(Debug, Clone)]
pub(crate) struct Tenure {
    revoked: CancellationToken,
    lost: CancellationToken,
    ended: CancellationToken,
}

/// What ends all tenures of a processor.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// All are to finish and leave; no new one begins.
    pub(crate) stop: CancellationToken,
    /// All are to leave at once.
    pub(crate) abandon: CancellationToken,
}

impl Tenure {
    /// Begins one that ends with all others at the latest.
    pub(crate) fn begin(ends: &Ends) -> Self {
        let ended = CancellationToken::new();
        Self { revoked: ends.stop.child_token(), lost: ends.abandon.child_token(), ended }
    }

    /// The group wants the partition back.
    pub(crate) fn revoke(&self) {
        self.revoked.cancel();
    }

    /// The group took it away, or does not wait any longer.
    pub(crate) fn lose(&self) {
        self.lost.cancel();
    }

    /// True once it is to be given back, in whichever way.
    pub(crate) fn is_over(&self) -> bool {
        self.revoked.is_cancelled() || self.lost.is_cancelled()
    }

    /// True once everything is to be dropped.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Waits until it is to be given back in order.
    pub(crate) async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// Waits until everything is to be dropped.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Waits until it is to be given back, in whichever way.
    pub(crate) async fn over(&self) {
        tokio::select! {
            () = self.revoked() => {}
            () = self.lost() => {}
        }
    }

    /// Ends it when dropped, also by a panic.
    pub(crate) fn guard(&self) -> DropGuard {
        self.ended.clone().drop_guard()
    }

    /// True once the task let go.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until the task let go.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}
