//! Errors by what the caller can do about them.

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused. What was being written is not applied, or the store refuses further
    /// writes: open it anew.
    #[error("{attempted}")]
    Io {
        /// What was attempted on what.
        attempted: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored cannot be what was written. Reject the store and restore.
    #[error("store of partition {partition} is unreadable: {reason}")]
    Unreadable {
        /// Partition.
        partition: u32,
        /// What does not add up.
        reason: String,
    },
    /// What was to be read from memory alone is only on the disk.
    #[error("not in memory")]
    NotInMemory,
    /// A batch that does not continue the store: a defect of the caller; nothing was written.
    #[error("batch from {batch_from} does not continue store at {cursor}")]
    NotContinuous {
        /// Cursor of the store.
        cursor: u64,
        /// Where the batch begins.
        batch_from: u64,
    },
}

impl Error {
    /// Of a store that is open: what was read of it cannot be what was written.
    pub(crate) fn found_damaged(partition: u32) -> Self {
        Self::Unreadable { partition, reason: "damage was found while it was read".to_owned() }
    }
}
