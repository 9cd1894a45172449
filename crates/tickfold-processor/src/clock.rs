//! The clocks of the shell: the only place of this crate where time is read or waited for.

use std::time::Duration;

use tokio::time::Instant;

/// A clock that starts at 0 and never falls: the time the driver is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the shell's clock")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the start.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits until that time of this clock, or for ever. One that has come costs no turn of the
    /// timer.
    pub(crate) async fn wait_until(&self, until_ms: Option<u64>) {
        if until_ms.is_some_and(|until| until <= self.now_ms()) {
            return;
        }
        let until = until_ms.and_then(|ms| self.start.checked_add(Duration::from_millis(ms)));
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

/// Milliseconds from a log timestamp to now by the wall clock, for metrics only.
pub(crate) fn age_ms(timestamp_ms: i64) -> u64 {
    u64::try_from(unix_ms().saturating_sub(timestamp_ms)).unwrap_or(0)
}

/// Milliseconds that a log timestamp is ahead of the wall clock, for metrics only; 0 if it is not.
pub(crate) fn ahead_ms(timestamp_ms: i64) -> u64 {
    u64::try_from(timestamp_ms.saturating_sub(unix_ms())).unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "for metrics; no effect depends on it")]
fn unix_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}
