//! The budget of bytes in flight: bodies being read and bodies on their way into the log.
//!
//! What is counted is what arrived, not what a Content-Length promised, so that slow senders of
//! large promises do not use up the budget. A reservation lives until the log has let go of the
//! bytes, also when the request was answered 503 long before: a hanging log fills the budget, and
//! then requests are refused before their bodies are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics;

/// Counted for each request beside its body: headers, buffers, its tasks.
pub(crate) const REQUEST_OVERHEAD_BYTES: usize = 4 * 1024;

/// Clones share one count.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// Bytes of one request, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Admits a request whose body is expected to have so many bytes, if all of it would fit now.
    pub(crate) fn admit(&self, expected_bytes: usize) -> Option<Reservation> {
        let used = self.used.load(Ordering::Relaxed);
        let wanted = used.saturating_add(expected_bytes).saturating_add(REQUEST_OVERHEAD_BYTES);
        if wanted > self.limit {
            return None;
        }
        let mut reservation = Reservation { budget: self.clone(), bytes: 0 };
        reservation.grow(REQUEST_OVERHEAD_BYTES).then_some(reservation)
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Takes more; false if the budget is used up, and then nothing is taken.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let limit = self.budget.limit;
        let more = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= limit);
        let counter = &self.budget.used;
        let Ok(before) = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) else {
            return false;
        };
        self.bytes += bytes;
        metrics::inflight_bytes(before + bytes);
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let before = self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        metrics::inflight_bytes(before.saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_the_limit_holds() {
        let budget = Budget::new(REQUEST_OVERHEAD_BYTES * 2 + 100);
        let mut first = budget.admit(100).unwrap();
        assert!(first.grow(60));
        assert!(budget.admit(100).is_none(), "the expected body would not fit");
        let mut second = budget.admit(10).unwrap();
        assert!(!second.grow(41));
        assert!(second.grow(40));
        assert!(budget.admit(0).is_none());
        drop(first);
        assert_eq!(budget.used(), REQUEST_OVERHEAD_BYTES + 40);
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
