//! How far a partition is behind, as the monitor last saw it: for `/metrics` and `/statusz`.

use std::time::Duration;

use tickfold_core::time::Timestamp;
use tokio::sync::watch;

use crate::clock::age_ms;

/// How far a partition is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Raw offsets at and above the committed position.
    pub records: u64,
    /// What the age of the state is counted from: the log time of the newest record in it, while
    /// others wait. Absent if none wait, or if nothing was ever folded.
    pub shown: Option<Timestamp>,
}

impl Lag {
    /// How old the state is that readers see: time since the append of the newest record in it,
    /// while others wait; 0 if none do.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.shown.map_or(0, |shown| age_ms(shown.as_millis())))
    }
}

/// The lag of a partition as it changes; `None` while it is not assigned to this process.
pub type Lags = watch::Receiver<Option<Lag>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_counted_from_what_is_shown_and_is_nothing_where_nothing_waits() {
        let age = |ms| Lag { records: 1, shown: Some(Timestamp::from_millis(ms)) }.age();
        assert!(age(0) > Duration::from_secs(50 * 365 * 86_400), "since 1970: {:?}", age(0));
        // The log's clock may be ahead of ours.
        assert_eq!(age(i64::MAX), Duration::ZERO);
        assert_eq!(Lag::default().age(), Duration::ZERO);
    }
}
