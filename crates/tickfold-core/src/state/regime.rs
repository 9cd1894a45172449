//! What the partition itself goes by, and what it remembers of what it decided.

use std::sync::Arc;

use crate::rules::Rules;
use crate::time::Timestamp;

/// What a partition goes by from one record to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regime {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// Log time before which no deadline is judged: after a gap in the log the retries of what was
    /// missed come first.
    pub deadlines_wait_until: Option<Timestamp>,
}

impl Default for Regime {
    fn default() -> Self {
        Self { rules: Rules::built_in(), deadlines_wait_until: None }
    }
}

/// What is remembered of an action or alert that was decided, so that it is decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// Raw offset of the record that decided it.
    pub offset: u64,
    /// Log time of that record: it is forgotten the retention after it.
    pub decided: Timestamp,
    /// It came too late to be asked for.
    pub expired: bool,
}
