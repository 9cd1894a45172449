//! Why a partition stops: refused until a person acts, or lost and to be started anew.

use tickfold_log::{Bounds, Error as LogError, Offset};

/// Starting the partition could lose or repeat something, so a person must decide. Each message
/// says what was found and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The group's position carries no token of ours.
    #[error(
        "offset_moved: the group stands at {offset} with metadata {metadata:?}, which tickfold did \
         not write: another tool moved the offset; set it back, or see the ways on with `tickfold \
         recover`"
    )]
    OffsetMoved {
        /// Position found.
        offset: Offset,
        /// Text found beside it, cut at 64 characters.
        metadata: String,
    },
    /// Raw is not the log that was folded.
    #[error(
        "raw_damaged: {0}; restore the raw topic, begin a new group on the new log, or see with \
         `tickfold recover` what going on would lose"
    )]
    RawDamaged(RawDamage),
    /// What would have to be folded was trimmed, and no checkpoint covers it.
    #[error(
        "raw_gap: state has to be folded up to {emitted}, raw begins at {start}, the store cannot \
         be used ({reason}) and no checkpoint stands between them; give a checkpoint of this \
         partition back to the checkpoint directory, or see with `tickfold recover` what going on \
         would lose"
    )]
    RawGap {
        /// First readable raw offset.
        start: Offset,
        /// Position to reach.
        emitted: Offset,
        /// Why the store there is does not do.
        reason: &'static str,
    },
    /// The group's position is gone, and nothing tells how far outputs were emitted.
    #[error(
        "nothing_readable: the group has no position, the derived topics had records but none can \
         be read, and there is no store: how far outputs were emitted is unknown; see the \
         ways on with `tickfold recover`"
    )]
    NothingReadable,
    /// State or position belong to another fold version.
    #[error(
        "fold_version: the {of} was written by fold version {found}, this program folds version \
         {ours}; run the program that wrote it, or go over to this version with `tickfold replay run` \
         and `tickfold replay swap`"
    )]
    FoldVersion {
        /// `store` or `group's position`.
        of: &'static str,
        /// Version found.
        found: u32,
        /// Version of this program.
        ours: u32,
    },
    /// The position was committed for another partition count.
    #[error(
        "partition_count: the group's position was committed with {found} raw partitions, the \
         configuration says {ours}: the count is fixed at creation; set it back"
    )]
    PartitionCount {
        /// Count in the token.
        found: u32,
        /// Count in the configuration.
        ours: u32,
    },
    /// The log lacks what it must have, or has it otherwise.
    #[error("log_unusable: {0}; check the topics with `tickfold topics`")]
    LogUnusable(String),
}

impl Refusal {
    /// A short fixed word for labels and `/readyz`: the first word of the message.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OffsetMoved { .. } => "offset_moved",
            Self::RawDamaged(_) => "raw_damaged",
            Self::RawGap { .. } => "raw_gap",
            Self::NothingReadable => "nothing_readable",
            Self::FoldVersion { .. } => "fold_version",
            Self::PartitionCount { .. } => "partition_count",
            Self::LogUnusable(_) => "log_unusable",
        }
    }
}

/// In which way raw is not what was folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawDamage {
    /// The position lies outside what raw has.
    #[error("the group stands at {emitted}, raw has {} to {}", bounds.start, bounds.end)]
    OutOfBounds {
        /// Position found.
        emitted: Offset,
        /// Readable range of raw.
        bounds: Bounds,
    },
    /// The last record folded is not there.
    #[error("record {offset}, the last one folded, is missing")]
    LastMissing {
        /// Its offset.
        offset: Offset,
    },
    /// The last record folded is another one now.
    #[error(
        "record {offset}, the last one folded, has CRC {found:08x}, the token says {token:08x}"
    )]
    LastReplaced {
        /// Its offset.
        offset: Offset,
        /// CRC of what is there.
        found: u32,
        /// CRC of what was folded.
        token: u32,
    },
    /// Folding everything from the beginning does not give the committed state.
    #[error("folding 0 to {emitted} gives digest {found:032x}, the token says {token:032x}")]
    DigestDiffers {
        /// Position reached.
        emitted: Offset,
        /// Digest of the state folded.
        found: u128,
        /// Digest that was committed.
        token: u128,
    },
    /// The log itself says so.
    #[error("{0}")]
    Reported(String),
}

/// The partition cannot go on as it is: everything in memory is dropped. It may be started anew,
/// and the start table finds out where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// Another owner claimed the partition.
    #[error("fenced: another owner has the partition")]
    Fenced,
    /// The group does not assign the partition to this process any more, as a claim found.
    #[error("not assigned to this process any more")]
    NotAssigned,
    /// The group took the partition away.
    #[error("taken away by the group")]
    TakenAway,
    /// After an unclear commit, the group stands neither where the commit began nor where it ended.
    #[error("not the owner: the group stands at {found:?}, the batch goes from {from:?} to {to}")]
    NotOwner {
        /// Position found.
        found: Option<Offset>,
        /// Position before the commit.
        from: Option<Offset>,
        /// Position after it.
        to: Offset,
    },
    /// The commit of a swap did not take effect. Whoever asked for the swap may ask again.
    #[error("the commit of a swap did not take effect: {0}")]
    SwapUndone(&'static str),
    /// The log could not answer.
    #[error("log: {0}")]
    Log(String),
    /// The store could not be opened, read or written.
    #[error("store: {0}")]
    Store(String),
    /// The shell answered something else than what was asked: a defect, healed by a new start.
    #[error("defect: {0} while nothing asked for it")]
    Defect(&'static str),
}

/// Sorts errors of the log by what to do.
pub(super) enum LogFailure {
    Refuse(Refusal),
    Lose(Lost),
}

impl From<LogError> for LogFailure {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Damaged { .. } => {
                Self::Refuse(Refusal::RawDamaged(RawDamage::Reported(error.to_string())))
            }
            LogError::UnknownPartition(_)
            | LogError::TopicMismatch { .. }
            | LogError::TooLarge { .. } => Self::Refuse(Refusal::LogUnusable(error.to_string())),
            LogError::NotAssigned(_) => Self::Lose(Lost::NotAssigned),
            // `Unavailable`, `Poisoned`, `Closed`, and kinds to come: try again later.
            _ => Self::Lose(Lost::Log(error.to_string())),
        }
    }
}
