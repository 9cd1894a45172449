//! Log lines that the internet can provoke: one per interval, with the number of the others.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Lets one occurrence pass per [`INTERVAL`].
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Passed>);

#[derive(Debug, Default)]
struct Passed {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// If a line may be written now: how many occurrences it stands for, this one included.
    pub(crate) fn pass(&self) -> Option<u64> {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passed.suppressed += 1;
        let now = Instant::now();
        if passed.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return None;
        }
        passed.last = Some(now);
        Some(std::mem::take(&mut passed.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_per_interval_counts_the_rest() {
        let throttle = Throttle::default();
        assert_eq!(throttle.pass(), Some(1));
        assert_eq!((throttle.pass(), throttle.pass()), (None, None));
        tokio::time::advance(INTERVAL).await;
        assert_eq!(throttle.pass(), Some(3));
        assert_eq!(throttle.pass(), None);
    }
}
