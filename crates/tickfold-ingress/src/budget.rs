//! The budget of bytes in flight: bodies being read and bodies on their way into the log.
//!
//! What is counted is what arrived, not what a Content-Length promised, so that slow senders of
//! large promises do not use up the budget. A reservation lives until the log has let go of the
//! bytes, also when the request was answered 503 long before: a hanging log fills the budget, and
//! then requests are refused before their bodies are read.
//!
//! Bodies that are still being read give way. When there is no room, the one that began longest ago
//! is cut, unless it began only just now; so senders that stop in the middle of large bodies do not
//! keep others out. A new request waits a moment for that. A body that grows waits only for what
//! was cut already, and else gives back what it has: bodies that wait for each other would all be late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Counted for each request beside its body: headers, buffers, its tasks.
pub(crate) const REQUEST_OVERHEAD_BYTES: usize = 4 * 1024;

/// A body is not cut before this age, so that those of a burst do not cut each other.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// Time to wait for room, at most; longer than [`GRACE`].
const ROOM_DEADLINE: Duration = Duration::from_secs(1);

/// Clones share one count.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    state: Mutex<State>,
    /// A body that was cut gave its bytes back, or will not.
    given_back: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// Bodies being read, oldest first: tickets are handed out in order.
    reading: BTreeMap<u64, Reading>,
    last_ticket: u64,
    /// Bytes of bodies that were cut and have not given them back yet.
    leaving: usize,
}

#[derive(Debug)]
struct Reading {
    since: Instant,
    bytes: usize,
    cut: CancellationToken,
}

/// Whether there is room.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Free,
    /// Bodies were cut that will give back enough.
    Coming,
    /// The oldest body may be cut from then on.
    Later(Instant),
    /// Cutting would not be enough.
    None,
}

/// Bytes of one request, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Budget,
    bytes: usize,
    /// Until the body is there.
    ticket: Option<u64>,
    cut: CancellationToken,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        let (state, given_back) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { limit, state, given_back }))
    }

    /// Admits a request whose body is expected to have so many bytes, once all of it would fit; or
    /// not, at the latest after [`ROOM_DEADLINE`].
    pub(crate) async fn admit(&self, expected_bytes: usize) -> Option<Reservation> {
        let wanted = expected_bytes.saturating_add(REQUEST_OVERHEAD_BYTES);
        let until = Instant::now() + ROOM_DEADLINE;
        loop {
            // Made before the look, so that nothing given back since is missed.
            let given_back = self.0.given_back.notified();
            let look_again = match self.room(wanted) {
                Ok(reservation) => return Some(reservation),
                Err(Room::Free | Room::None) => return None,
                Err(Room::Coming) => until,
                Err(Room::Later(from)) => from.min(until),
            };
            let is_late = timeout_at(look_again, given_back).await.is_err();
            if is_late && look_again == until {
                return None;
            }
        }
    }

    /// The overhead of a request, if all that it wants would fit now.
    fn room(&self, wanted: usize) -> Result<Reservation, Room> {
        let mut state = self.state();
        let room = state.room(wanted, self.0.limit);
        if room != Room::Free {
            return Err(room);
        }
        state.used += REQUEST_OVERHEAD_BYTES;
        state.last_ticket += 1;
        let (used, ticket, cut) = (state.used, state.last_ticket, CancellationToken::new());
        let bytes = REQUEST_OVERHEAD_BYTES;
        state.reading.insert(ticket, Reading { since: Instant::now(), bytes, cut: cut.clone() });
        drop(state);
        metrics::inflight_bytes(used);
        Ok(Reservation { budget: self.clone(), bytes, ticket: Some(ticket), cut })
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.state().used
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method leaves it half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Looks for room, and cuts what has to be cut for it.
    fn room(&mut self, bytes: usize, limit: usize) -> Room {
        let free = limit.saturating_sub(self.used);
        if bytes <= free {
            return Room::Free;
        }
        let being_read: usize = self.reading.values().map(|reading| reading.bytes).sum();
        if bytes > free + self.leaving + being_read {
            return Room::None;
        }
        while bytes > free + self.leaving {
            let Some(oldest) = self.reading.first_entry() else { return Room::None };
            let from = oldest.get().since + GRACE;
            if Instant::now() < from {
                return Room::Later(from);
            }
            let oldest = oldest.remove();
            self.leaving += oldest.bytes;
            oldest.cut.cancel();
        }
        Room::Coming
    }
}

impl Reservation {
    /// Takes more while the body is read; false if there is no room, and then nothing is taken, or
    /// if the body was cut.
    pub(crate) async fn grow(&mut self, bytes: usize, deadline: Instant) -> bool {
        let until = deadline.min(Instant::now() + ROOM_DEADLINE);
        let budget = self.budget.clone();
        loop {
            let given_back = budget.0.given_back.notified();
            match self.try_grow(bytes) {
                Room::Free => return true,
                Room::Later(_) | Room::None => return false,
                Room::Coming if timeout_at(until, given_back).await.is_err() => return false,
                Room::Coming => {}
            }
        }
    }

    fn try_grow(&mut self, bytes: usize) -> Room {
        let mut state = self.budget.state();
        let room = state.room(bytes, self.budget.0.limit);
        // The oldest may be this one.
        if self.cut.is_cancelled() {
            return Room::None;
        }
        if room == Room::Free {
            state.used += bytes;
            if let Some(reading) = self.ticket.and_then(|ticket| state.reading.get_mut(&ticket)) {
                reading.bytes += bytes;
            }
            let used = state.used;
            drop(state);
            self.bytes += bytes;
            metrics::inflight_bytes(used);
        }
        room
    }

    /// Cancelled when the body is to give its bytes back.
    pub(crate) fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// The body is there: from now on it gives way to nobody.
    pub(crate) fn arrived(&mut self) {
        self.end_reading(0);
    }

    /// Gives so many bytes back.
    fn end_reading(&mut self, bytes: usize) {
        let mut state = self.budget.state();
        state.used = state.used.saturating_sub(bytes);
        let used = state.used;
        let ticket = self.ticket.take();
        let was_cut = ticket.is_some_and(|ticket| state.reading.remove(&ticket).is_none());
        if was_cut {
            state.leaving = state.leaving.saturating_sub(self.bytes);
        }
        drop(state);
        metrics::inflight_bytes(used);
        if was_cut {
            self.budget.0.given_back.notify_waiters();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.end_reading(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const OVERHEAD: usize = REQUEST_OVERHEAD_BYTES;

    /// A body of which so much is there.
    async fn stalled(budget: &Budget, bytes: usize) -> Reservation {
        let mut reservation = budget.admit(bytes).await.unwrap();
        assert!(grow(&mut reservation, bytes).await);
        reservation
    }

    async fn grow(reservation: &mut Reservation, bytes: usize) -> bool {
        reservation.grow(bytes, Instant::now() + Duration::from_secs(10)).await
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_come_back_and_the_limit_holds() {
        let budget = Budget::new(OVERHEAD * 2 + 100);
        let mut first = budget.admit(100).await.unwrap();
        assert!(grow(&mut first, 60).await);
        first.arrived();
        assert!(budget.admit(100).await.is_none(), "the expected body would not fit");
        let mut second = budget.admit(10).await.unwrap();
        assert!(!grow(&mut second, 41).await);
        assert!(grow(&mut second, 40).await);
        second.arrived();
        assert!(budget.admit(0).await.is_none());
        drop(first);
        assert_eq!(budget.used(), OVERHEAD + 40);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_that_is_still_read_gives_way_and_no_more_than_needed() {
        let budget = Budget::new(3 * OVERHEAD + 300);
        let mut arrived = stalled(&budget, 100).await;
        arrived.arrived();
        let (oldest, next) = (stalled(&budget, 100).await, stalled(&budget, 100).await);
        advance(GRACE).await;
        let cut = oldest.cut();
        let leave = async {
            cut.cancelled().await;
            tokio::task::yield_now().await;
            drop(oldest);
        };
        let (one, other, ()) = tokio::join!(budget.admit(10), budget.admit(100), leave);
        assert!(one.is_some());
        assert!(other.is_none(), "the next one does not leave, which costs the other its room");
        assert!(next.cut().is_cancelled(), "only once the first of the two had what there was");
        assert!(!arrived.cut().is_cancelled());
        assert!(budget.admit(0).await.is_none(), "none that is there is cut");
    }

    #[tokio::test(start_paused = true)]
    async fn a_young_body_is_cut_once_it_is_of_age() {
        let budget = Budget::new(OVERHEAD + 100);
        let young = stalled(&budget, 100).await;
        let began = Instant::now();
        let cut = young.cut();
        let leave = async {
            cut.cancelled().await;
            drop(young);
        };
        let (admitted, ()) = tokio::join!(budget.admit(0), leave);
        assert!(admitted.is_some());
        assert_eq!(began.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_grows_waits_for_what_was_cut_and_cuts_itself_if_it_is_the_oldest() {
        let budget = Budget::new(2 * OVERHEAD + 200);
        let oldest = stalled(&budget, 100).await;
        let mut growing = stalled(&budget, 100).await;
        assert!(!grow(&mut growing, 1).await, "none is of age, so it does not wait");
        advance(GRACE).await;
        let cut = oldest.cut();
        let leave = async {
            cut.cancelled().await;
            drop(oldest);
        };
        let (grown, ()) = tokio::join!(grow(&mut growing, OVERHEAD), leave);
        assert!(grown);
        assert!(!grow(&mut growing, 101).await);
        assert!(growing.cut().is_cancelled());
        drop(growing);
        assert_eq!((budget.used(), budget.state().leaving), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_came_whole_as_it_was_cut_keeps_its_bytes_and_another_one_gives_way() {
        let budget = Budget::new(2 * OVERHEAD);
        let (mut first, second) = (stalled(&budget, 0).await, stalled(&budget, 0).await);
        advance(GRACE).await;
        let (cut, cut_second) = (first.cut(), second.cut());
        let arrive = async {
            cut.cancelled().await;
            first.arrived();
        };
        let leave = async {
            cut_second.cancelled().await;
            drop(second);
        };
        let (admitted, (), ()) = tokio::join!(budget.admit(0), arrive, leave);
        assert!(admitted.is_some());
        assert_eq!(budget.used(), 2 * OVERHEAD);
        assert_eq!(budget.state().leaving, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_make_room_is_neither_cut_nor_waited_for() {
        let budget = Budget::new(2 * OVERHEAD + 100);
        let mut in_the_log = stalled(&budget, 100).await;
        in_the_log.arrived();
        let reading = stalled(&budget, 0).await;
        advance(GRACE).await;
        let at_once = timeout(Duration::ZERO, budget.admit(1));
        assert!(at_once.await.unwrap().is_none());
        assert!(!reading.cut().is_cancelled());
    }
}
