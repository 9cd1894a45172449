//! What the driver asks of its shell, and what the shell answers.
//!
//! Except for [`Command::Refused`], [`Command::Lost`] and [`Command::Stopped`], which end the
//! driver, each command is answered by the input of the same name, or of its passing:
//! [`Command::Wait`] by [`Input::Woken`], or by [`Input::RawRead`] if the log cannot tell. Which of
//! them may be outstanding at once is said in the driver. [`Input::Start`] comes first;
//! [`Input::Stop`], [`Input::TakenAway`] and
//! [`Input::CheckpointAsked`] and [`Input::SwapAsked`] may come at any time.

use std::sync::Arc;

use tickfold_core::overlay::Overlay;
use tickfold_log::{Append, Bounds, CommitError, Committed, Error as LogError, Offset, Record};
use tickfold_store::{Checkpoint, Error as StoreError, NextStore, PartitionStore, StoreHead};

use super::refusal::{Lost, Refusal};
use super::start::{Derived, Reason};
use crate::swap::Takeover;

/// To do, in order.
#[derive(Debug)]
pub enum Command {
    /// Claim the partition; keep the handle for commits and drop an older one first.
    Claim,
    /// Open the store of the partition.
    OpenStore,
    /// Read the bounds of raw.
    ReadBounds,
    /// Look at the ends of the derived partitions.
    ReadLastOutputs,
    /// Read raw records.
    ReadRaw {
        /// From here on.
        from: Offset,
        /// At most so many.
        max_records: usize,
        /// At most so many bytes, but always one record.
        max_bytes: usize,
    },
    /// List the checkpoints of the partition.
    ListCheckpoints,
    /// Set the store aside. The driver has dropped it.
    Reject(Reason),
    /// Make the checkpoint the store.
    Restore(Checkpoint),
    /// Look whether another store was prepared to take the place of the one that there is. Answered by
    /// [`Input::NextFound`].
    LookForNext,
    /// Make that one the store of the partition, and open it. The driver does not have the other.
    /// Answered by [`Input::Succeeded`].
    Succeed,
    /// Give whoever asked the partition in hand, with where its store stands. Answered by
    /// [`Input::Released`].
    StandStill(StoreHead),
    /// Commit through the claim. To be on its way before the driver's next step, since that may
    /// fold for long.
    Commit {
        /// What for.
        purpose: Purpose,
        /// Records for derived topics.
        outputs: Arc<[Append]>,
        /// Next input position and token.
        position: Committed,
    },
    /// Write the store and give it back.
    WriteStore {
        /// The store. While it is away the driver cannot fold, so no read meets half a batch.
        store: Box<dyn PartitionStore>,
        /// What to write.
        write: Box<StoreWrite>,
    },
    /// Make a checkpoint of the store, remove the oldest beyond so many, and give it back.
    Checkpoint {
        /// The store.
        store: Box<dyn PartitionStore>,
        /// Checkpoints to keep.
        kept: usize,
    },
    /// Wait until raw has a record at or above `past`, or it is `until`, whichever is first.
    Wait {
        /// Offset to wait for.
        past: Option<Offset>,
        /// Time to wait for, on the clock that is given to the driver.
        until: Option<u64>,
    },
    /// Wait until then, before an aborted commit is sent again.
    Pause {
        /// Time to wait for, on the clock that is given to the driver.
        until: u64,
    },
    /// A person must act. The end.
    Refused(Refusal),
    /// Drop everything; the partition may be started anew. The end.
    Lost(Lost),
    /// Stopped as told; log and store agree on everything that was committed. The end.
    Stopped,
}

/// What a commit or a store write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Getting to the committed position and proving the claim.
    Start,
    /// New records.
    Batch,
    /// Another store in the place of the one that was.
    Swap,
}

/// A batch for the store, as [`PartitionStore::write`] takes it.
#[derive(Debug)]
pub struct StoreWrite {
    /// What for.
    pub purpose: Purpose,
    /// Cursor at which it begins.
    pub from: Offset,
    /// Changes.
    pub overlay: Overlay,
    /// Head after it.
    pub to: StoreHead,
}

impl StoreWrite {
    /// Writes it.
    pub fn apply(&self, store: &mut dyn PartitionStore) -> Result<(), StoreError> {
        store.write(self.from, &self.overlay, self.to)
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Begin.
    Start,
    /// Position of the group, or why the claim failed.
    Claimed(Result<Option<Committed>, LogError>),
    /// The store.
    StoreOpened(Result<Box<dyn PartitionStore>, StoreError>),
    /// Bounds of raw.
    BoundsRead(Result<Bounds, LogError>),
    /// What the derived partitions tell.
    LastOutputsRead(Result<Derived, LogError>),
    /// Raw records, in order.
    RawRead(Result<Vec<Record>, LogError>),
    /// Checkpoints.
    CheckpointsListed(Result<Vec<Checkpoint>, StoreError>),
    /// The store is set aside.
    Rejected(Result<(), StoreError>),
    /// The checkpoint is the store.
    Restored(Result<(), StoreError>),
    /// The commit's outcome.
    CommitDone(Result<(), CommitError>),
    /// The store comes back.
    StoreWritten {
        /// The store.
        store: Box<dyn PartitionStore>,
        /// Whether the batch is in it.
        result: Result<(), StoreError>,
    },
    /// The store comes back.
    Checkpointed {
        /// The store.
        store: Box<dyn PartitionStore>,
        /// The checkpoint. Without it the partition goes on all the same.
        result: Result<Checkpoint, StoreError>,
    },
    /// Somebody asks for a checkpoint, to be made between two batches. Comes at any time; a driver
    /// that is not live makes none.
    CheckpointAsked,
    /// The store that was prepared to take the place of the one that there is.
    NextFound(Result<Option<NextStore>, StoreError>),
    /// It is the store.
    Succeeded(Result<Box<dyn PartitionStore>, StoreError>),
    /// Somebody wants to have the partition in hand. Comes at any time; a driver that is not live
    /// gives itself to nobody.
    SwapAsked,
    /// It is let go, with a store to take or without.
    Released(Option<Box<Takeover>>),
    /// Something that was waited for may be there.
    Woken,
    /// The pause is over.
    Paused,
    /// Finish what is committed, begin nothing new, leave.
    Stop,
    /// The partition is taken away: drop everything, now.
    TakenAway,
}

impl Command {
    /// What it is, for traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::OpenStore => "open_store",
            Self::ReadBounds => "read_bounds",
            Self::ReadLastOutputs => "read_last_outputs",
            Self::ReadRaw { .. } => "read_raw",
            Self::LookForNext => "look_for_next",
            Self::Succeed => "succeed",
            Self::StandStill(_) => "stand_still",
            Self::ListCheckpoints => "list_checkpoints",
            Self::Reject(_) => "reject",
            Self::Restore(_) => "restore",
            Self::Commit { .. } => "commit",
            Self::WriteStore { .. } => "write_store",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Wait { .. } => "wait",
            Self::Pause { .. } => "pause",
            Self::Refused(_) => "refused",
            Self::Lost(_) => "lost",
            Self::Stopped => "stopped",
        }
    }
}

impl Input {
    /// For messages about defects.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Claimed(_) => "claimed",
            Self::StoreOpened(_) => "store opened",
            Self::BoundsRead(_) => "bounds read",
            Self::LastOutputsRead(_) => "last outputs read",
            Self::RawRead(_) => "raw read",
            Self::CheckpointsListed(_) => "checkpoints listed",
            Self::Rejected(_) => "store rejected",
            Self::Restored(_) => "checkpoint restored",
            Self::CommitDone(_) => "commit done",
            Self::StoreWritten { .. } => "store written",
            Self::Checkpointed { .. } => "checkpointed",
            Self::CheckpointAsked => "checkpoint asked",
            Self::NextFound(_) => "next generation found",
            Self::Succeeded(_) => "succeeded",
            Self::SwapAsked => "swap asked",
            Self::Released(_) => "released",
            Self::Woken => "woken",
            Self::Paused => "paused",
            Self::Stop => "stop",
            Self::TakenAway => "taken away",
        }
    }
}
