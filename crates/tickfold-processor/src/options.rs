//! Options of the processor: what it is called, where it answers, and its named bounds.

use crate::token::Address;

/// Options of one processor, the same for all its partitions.
#[derive(Debug, Clone)]
pub struct Options {
    /// Prefix of all topic names, without the dot.
    pub topic_prefix: String,
    /// Consumer group under which positions are committed.
    pub group: String,
    /// Where the owner answers queries, kept in every token.
    pub address: Address,
    /// Raw records read and folded for one commit, at most.
    pub batch_records_max: usize,
    /// Bytes of raw records read for one commit, at most, but always one record.
    pub batch_bytes_max: usize,
    /// Outputs of one commit, at most, unless a single raw record has more: a raw record is never
    /// split over two commits.
    pub batch_outputs_max: usize,
    /// Milliseconds for which records that only move log time may stay uncommitted.
    pub tick_commit_interval_ms: u64,
    /// Milliseconds before an aborted commit is sent again; doubles per attempt.
    pub commit_backoff_ms: u64,
    /// Upper bound of the above.
    pub commit_backoff_ms_max: u64,
    /// Milliseconds before a lost partition is started anew; doubles while it does not get live.
    pub restart_backoff_ms: u64,
    /// Upper bound of the above.
    pub restart_backoff_ms_max: u64,
    /// Milliseconds that a partition to be given back has to finish its commit; then it is dropped
    /// and given back all the same. To be well below the time that the group waits for a member.
    pub release_ms_max: u64,
    /// Milliseconds between two looks at how far each partition lags and whether it is stuck.
    pub poll_interval_ms: u64,
    /// Milliseconds without progress, while input waits and the log answers, after which a
    /// partition is stuck. To be well above `tick_commit_interval_ms`, for which input may wait.
    pub stuck_ms_max: u64,
    /// Milliseconds between checkpoints of a live partition; `None` makes none. A partition stands
    /// still while it is copied, and they take turns.
    pub checkpoint_interval_ms: Option<u64>,
    /// Checkpoints kept of each partition; older ones are removed after a new one is made.
    pub checkpoints_kept: usize,
    /// Whether partitions that are not assigned to this process are folded silently, so that it can
    /// take over with little to refold.
    pub follow: bool,
    /// Milliseconds between two looks at the group's positions, while any partition is followed.
    pub follow_interval_ms: u64,
    /// Called at named places of the shell, for tests that kill the process there.
    pub fail_point: fn(&'static str),
    /// A bug to plant, for the tests that must catch it.
    #[cfg(feature = "planted-bugs")]
    pub bug: Option<crate::bugs::Bug>,
}

/// Names of the places at which [`Options::fail_point`] is called.
pub mod fail_point {
    /// A batch is folded; nothing of it has left the process.
    pub const BEFORE_COMMIT: &str = "before_commit";
    /// The log has committed the batch; the store has not.
    pub const AFTER_COMMIT_BEFORE_STORE: &str = "after_commit_before_store";
    /// Log and store have the batch.
    pub const AFTER_STORE: &str = "after_store";
    /// A partition that stands still is given another store; its commit has not left the process.
    pub const BEFORE_SWAP: &str = "before_swap";
    /// The log names the other store; the disk does not.
    pub const AFTER_SWAP_COMMIT: &str = "after_swap_commit";
    /// Log and disk name the other store, which is open.
    pub const AFTER_SWAP: &str = "after_swap";

    /// Those of a swap.
    pub const SWAP: [&str; 3] = [BEFORE_SWAP, AFTER_SWAP_COMMIT, AFTER_SWAP];
    /// Those of a batch.
    pub const ALL: [&str; 3] = [BEFORE_COMMIT, AFTER_COMMIT_BEFORE_STORE, AFTER_STORE];
}

impl Default for Options {
    fn default() -> Self {
        Self {
            topic_prefix: "wa".to_owned(),
            group: "tickfold".to_owned(),
            address: Address::default(),
            batch_records_max: 5_000,
            batch_bytes_max: 8 * 1024 * 1024,
            batch_outputs_max: 20_000,
            tick_commit_interval_ms: 10_000,
            commit_backoff_ms: 20,
            commit_backoff_ms_max: 5_000,
            restart_backoff_ms: 100,
            restart_backoff_ms_max: 10_000,
            release_ms_max: 5_000,
            poll_interval_ms: 1_000,
            stuck_ms_max: 60_000,
            checkpoint_interval_ms: None,
            checkpoints_kept: 3,
            follow: false,
            follow_interval_ms: 1_000,
            fail_point: |_| (),
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }
}

/// `first` doubled per earlier attempt, never above `max`.
pub(crate) fn backoff_ms(first: u64, max: u64, earlier_attempts: u32) -> u64 {
    let factor = 1_u64.checked_shl(earlier_attempts.min(32)).unwrap_or(u64::MAX);
    first.saturating_mul(factor).min(max)
}

#[cfg(test)]
mod tests {
    use super::backoff_ms;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let waits: Vec<u64> = (0..6).map(|attempt| backoff_ms(20, 500, attempt)).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 500]);
        assert_eq!(backoff_ms(20, 500, u32::MAX), 500);
    }
}
