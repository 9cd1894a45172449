//! Errors by what the caller can do about them.

use crate::{Offset, TopicPartition};

/// Why an append, a read or a claim failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log cannot take or give anything now and may later: retry after a pause. Nothing is
    /// promised about records of the failed append: they may or may not become readable.
    #[error("log is unavailable: {reason}")]
    Unavailable {
        /// What was attempted and on what.
        reason: String,
    },
    /// A write or sync failed before: the adapter refuses every further write until it is opened
    /// anew, since what the disk holds is no longer known.
    #[error("log refuses writes since an earlier failure: {reason}")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The log is closing or closed.
    #[error("log is closed")]
    Closed,
    /// The topic or partition does not exist.
    #[error("no such partition: {0}")]
    UnknownPartition(TopicPartition),
    /// The group does not assign the partition to this member, or no longer.
    #[error("partition is not assigned to this member: {0}")]
    NotAssigned(TopicPartition),
    /// The group does not go on with this member, for instance since another goes by its instance
    /// name. A person must act.
    #[error("group refuses this member: {reason}")]
    MemberRefused {
        /// Why.
        reason: String,
    },
    /// A topic exists with other settings than asked for.
    #[error("topic {topic} does not match: {reason}")]
    TopicMismatch {
        /// Full topic name.
        topic: String,
        /// Which setting, wanted and found.
        reason: String,
    },
    /// A record above the size limit of the log: it will never be accepted.
    #[error("record of {size_bytes} bytes for {to} exceeds {limit_bytes}")]
    TooLarge {
        /// Where it was to go.
        to: TopicPartition,
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// Written by a version of this program that knows more than this one. A person must act.
    #[error("log has a later format: {reason}")]
    Incompatible {
        /// What was found and what is known.
        reason: String,
    },
    /// Stored data is damaged: acknowledged records are missing or unreadable. A person must act.
    #[error("log is damaged: {reason}; first lost position {}", first_lost.as_ref().map_or_else(|| "unknown".into(), |(p, o)| format!("{p}@{o}")))]
    Damaged {
        /// What does not add up.
        reason: String,
        /// The first position known to be lost or unreadable.
        first_lost: Option<(TopicPartition, Offset)>,
    },
}

/// Why a commit did not return success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Nothing of this commit took or will take effect; the claim still holds. The same commit may
    /// be sent again, which helps unless it can never be accepted (see
    /// [`OwnedPartition::commit`](crate::OwnedPartition::commit)) or the log was closed.
    #[error("commit aborted: {reason}")]
    Aborted {
        /// What failed.
        reason: String,
    },
    /// The commit may or may not have taken effect, and the claim must not be used again: claim
    /// anew and read the committed offset to find out. A poisoned log answers every commit so,
    /// and refuses the new claim as [`Error::Poisoned`].
    #[error("commit outcome unknown: {reason}")]
    Unclear {
        /// What failed.
        reason: String,
    },
    /// Another owner claimed the partition since, or the group took it away. Nothing of this commit took or will take effect.
    #[error("fenced: another owner has the partition")]
    Fenced,
}
