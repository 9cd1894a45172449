//! Where each partition stands, for `/readyz` and `/statusz`.

use std::fmt;

use crate::driver::Refusal;

/// State of one partition of the topic in this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PartitionStatus {
    /// Claiming and looking around, or waiting to be started anew.
    #[default]
    Starting,
    /// Folding silently up to the committed position.
    Restoring {
        /// Raw offsets still to go.
        remaining: u64,
        /// True if there was no state to begin with: until it is live, what it has is part of what
        /// there is, and never was the state of anything that was served.
        from_empty: bool,
    },
    /// Folding and committing.
    Live {
        /// The committed position: the next raw offset.
        position: u64,
    },
    /// Stopped until a person acts. What the store has is still readable.
    Refused(Refusal),
    /// Not assigned to this process. The state kept here, if any, is of some time ago.
    Elsewhere,
    /// Not assigned to this process, which folds it silently all the same, up to the group's
    /// position.
    Following {
        /// How far the state kept here is: the next raw offset.
        position: u64,
    },
    /// Stopped as told.
    Stopped,
}

impl PartitionStatus {
    /// A fixed word: `starting`, `restoring`, `live`, `refused`, `elsewhere`, `following` or
    /// `stopped`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Restoring { .. } => "restoring",
            Self::Live { .. } => "live",
            Self::Refused(_) => "refused",
            Self::Elsewhere => "elsewhere",
            Self::Following { .. } => "following",
            Self::Stopped => "stopped",
        }
    }

    /// True once queries answer with current state.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live { .. })
    }
}

impl fmt::Display for PartitionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting | Self::Live { .. } | Self::Elsewhere | Self::Stopped => {
                f.write_str(self.word())
            }
            Self::Restoring { remaining, .. } => write!(f, "restoring, {remaining} offsets to go"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Following { position } => write!(f, "following, at {position}"),
        }
    }
}
