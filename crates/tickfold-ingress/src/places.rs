//! The places under the connection cap, and who gives way when they are all taken.
//!
//! A connection *waits* while it has no complete head of a request: just accepted, in its TLS
//! handshake, between requests, or sending a head. When no place is free, the connection that has
//! waited longest is told to close and its place goes to the new one; so neither silent
//! connections nor ones that send a byte now and then can lock a real sender out. A connection
//! with a request under way is never closed for another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Time a connection that was told to make room gets for it; then the new one is refused.
const ROOM_DEADLINE: Duration = Duration::from_secs(1);

/// All places of a listener.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    stop: CancellationToken,
}

/// The connections that wait, longest first: tickets are handed out in order, from 1.
#[derive(Debug, Default)]
struct Waiting {
    by_ticket: BTreeMap<u64, CancellationToken>,
    last_ticket: u64,
}

/// One connection's place, given back when dropped. Begins as waiting.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    close: CancellationToken,
    /// 0 while a request is under way.
    ticket: AtomicU64,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { free, waiting: Mutex::default(), stop: CancellationToken::new() })
    }

    /// A place, if one is free or can be made free; at the latest after [`ROOM_DEADLINE`].
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Place> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if self.make_room() => {
                let permit = Arc::clone(&self.free).acquire_owned();
                timeout(ROOM_DEADLINE, permit).await.ok()?.ok()?
            }
            Err(_) => return None,
        };
        let close = self.stop.child_token();
        let place =
            Place { places: Arc::clone(self), close, ticket: AtomicU64::new(0), _permit: permit };
        place.wait();
        metrics::connections(1.0);
        Some(place)
    }

    /// Tells the connection that has waited longest to close; false if none waits.
    pub(crate) fn make_room(&self) -> bool {
        let Some((_, close)) = self.waiting().by_ticket.pop_first() else { return false };
        close.cancel();
        true
    }

    /// Tells all connections to close, those with a request under way after its answer.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No method leaves it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A request is complete enough to be handled.
    pub(crate) fn work(&self) {
        let ticket = self.ticket.swap(0, Ordering::Relaxed);
        self.places.waiting().by_ticket.remove(&ticket);
    }

    /// The request is answered.
    pub(crate) fn wait(&self) {
        self.work();
        let mut waiting = self.places.waiting();
        waiting.last_ticket += 1;
        let ticket = waiting.last_ticket;
        waiting.by_ticket.insert(ticket, self.close.clone());
        self.ticket.store(ticket, Ordering::Relaxed);
    }

    /// Cancelled when the connection is to close: to make room, or because the listener stops.
    pub(crate) fn close(&self) -> &CancellationToken {
        &self.close
    }

    /// Whether the listener stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.places.stop.is_cancelled()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.work();
        metrics::connections(-1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_waiting_gives_way_and_one_at_work_does_not() {
        let places = Places::new(3);
        let first = places.take().await.unwrap();
        let second = places.take().await.unwrap();
        let third = places.take().await.unwrap();
        second.work();
        // The first was at work since, so now the third has waited longest.
        first.work();
        first.wait();
        let leave = async {
            third.close().cancelled().await;
            drop(third);
        };
        let (fourth, ()) = tokio::join!(places.take(), leave);
        let fourth = fourth.unwrap();
        assert!(!first.close().is_cancelled());
        first.work();
        fourth.work();
        assert!(places.take().await.is_none(), "all are at work");
        drop(second);
        assert!(places.take().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_leave_in_time_costs_the_new_one_its_place() {
        let places = Places::new(1);
        let stuck = places.take().await.unwrap();
        assert!(places.take().await.is_none());
        assert!(stuck.close().is_cancelled());
        assert!(!stuck.is_stopping());
        places.stop();
        assert!(stuck.is_stopping());
    }
}
