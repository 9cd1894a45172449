//! What a connection is doing, and by when it has to be done with it.
//!
//! Its stream reports the heads, its service the requests, and its task looks after each step of
//! the two. All three run as one task, so they never see each other half-way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::IngressOptions;
use crate::places::Place;

/// Shared by the parts of one connection. Holds its place under the cap.
#[derive(Debug)]
pub(crate) struct Course {
    place: Place,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    last: bool,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for the first byte of its first request.
    Fresh { since: Instant },
    /// Waiting for the first byte of a further request.
    Idle { since: Instant },
    /// Receiving the head of a request.
    Head { since: Instant },
    /// Receiving a body, or having its request handled.
    Request,
}

/// Which deadline of a connection comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The head of a request.
    Head,
    /// The next request.
    Idle,
}

impl Course {
    pub(crate) fn new(place: Place) -> Self {
        let phase = Phase::Fresh { since: Instant::now() };
        Self { place, state: Mutex::new(State { phase, last: false }) }
    }

    /// The TLS handshake is over: time for the first head counts from here.
    pub(crate) fn restart(&self) {
        self.state().phase = Phase::Fresh { since: Instant::now() };
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// The next deadline. Requests under way have none here: body, append and drain have theirs.
    pub(crate) fn due(&self, options: &IngressOptions) -> Option<(Instant, Overdue)> {
        match self.phase() {
            Phase::Fresh { since } | Phase::Head { since } => {
                Some((since + options.header_deadline, Overdue::Head))
            }
            Phase::Idle { since } => Some((since + options.idle_deadline, Overdue::Idle)),
            Phase::Request => None,
        }
    }

    /// The first byte of a head is there. For the first head the time since the
    /// connection was made counts.
    pub(crate) fn head_begins(&self) {
        let mut state = self.state();
        match state.phase {
            Phase::Fresh { since } => state.phase = Phase::Head { since },
            Phase::Idle { .. } => state.phase = Phase::Head { since: Instant::now() },
            // Known already, or the next request is sent before the answer to this one.
            Phase::Head { .. } | Phase::Request => {}
        }
    }

    /// No head can be found behind the one that was opened: the next answer closes the connection.
    pub(crate) fn set_last(&self) {
        self.state().last = true;
    }

    pub(crate) fn request_begins(&self) {
        self.state().phase = Phase::Request;
        self.place.work();
    }

    /// The answer is there; true if it has to close the connection.
    pub(crate) fn request_ends(&self) -> bool {
        let mut state = self.state();
        state.phase = Phase::Idle { since: Instant::now() };
        self.place.wait();
        state.last || self.place.close().is_cancelled()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
