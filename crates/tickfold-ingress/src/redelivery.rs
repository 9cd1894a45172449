//! What Meta sends again: bodies that were here before, and how long Meta has been waiting for a
//! 200 to the ones that got a 503.
//!
//! A webhook is known by its signature: an HMAC of the body names the body. Memory is bounded and
//! lost at a restart, so all of it is for metrics and decides no answer. A request that was refused
//! before its body was read has a signature that nobody verified. It is counted all the same, since
//! that is what an outage looks like, and so anybody can add refusals that are never settled; they
//! end at the horizon.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tickfold_core::signature::Signature;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// After this time Meta gives a webhook up. Two of its pages say 7 days, a third 36 hours; for a
/// warning the shorter is the safe one.
pub(crate) const HORIZON: Duration = Duration::from_secs(36 * 60 * 60);

/// Accepted bodies remembered: a minute of a busy listener. 8 bytes each in a ring, and in a set.
const ACCEPTED_MAX: usize = 65_536;

/// Refusals tracked at once; the oldest count, so further ones are left out until some are settled.
const REFUSED_MAX: usize = 65_536;

/// The window of the ratio.
const WINDOW_SECONDS: usize = 60;

/// How often the gauges are set anew.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A signature, shortened to what a process can meet within its memory without a collision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of(signature: &Signature) -> Self {
        let first = signature.digest().first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }
}

/// How a body that is here again was answered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Accepted,
    Refused,
}

/// Shared by all requests.
#[derive(Debug)]
pub(crate) struct Redelivery(Mutex<State>);

#[derive(Debug)]
struct State {
    start: Instant,
    accepted: HashSet<Fingerprint>,
    /// The same in the order in which they came.
    ring: VecDeque<Fingerprint>,
    /// Refusals that were not settled yet, with the time of the first one.
    refused: HashMap<Fingerprint, Instant>,
    /// The same, oldest first.
    oldest: BTreeSet<(Instant, Fingerprint)>,
    window: Window,
}

/// What the gauges show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Report {
    pub(crate) redelivered_ratio: f64,
    /// Zero if none is outstanding.
    pub(crate) oldest_refusal: Duration,
    pub(crate) refusals: usize,
}

impl Default for Redelivery {
    fn default() -> Self {
        Self(Mutex::new(State {
            start: Instant::now(),
            accepted: HashSet::new(),
            ring: VecDeque::new(),
            refused: HashMap::new(),
            oldest: BTreeSet::new(),
            window: Window::default(),
        }))
    }
}

impl Redelivery {
    /// A body whose signature held; says whether it was here before. Once per request.
    pub(crate) fn arrived(&self, body: Fingerprint) -> Option<Before> {
        let mut state = self.state();
        let before = if state.refused.contains_key(&body) {
            Some(Before::Refused)
        } else {
            state.accepted.contains(&body).then_some(Before::Accepted)
        };
        let second = state.start.elapsed().as_secs();
        state.window.count(second, before.is_some());
        drop(state);
        if let Some(before) = before {
            metrics::redelivered(match before {
                Before::Accepted => "accepted",
                Before::Refused => "refused",
            });
        }
        before
    }

    /// It was answered 200.
    pub(crate) fn accepted(&self, body: Fingerprint) {
        let mut state = self.state();
        state.settle(body);
        if state.accepted.insert(body) {
            state.ring.push_back(body);
            if state.ring.len() > ACCEPTED_MAX
                && let Some(first) = state.ring.pop_front()
            {
                state.accepted.remove(&first);
            }
        }
    }

    /// It was answered 503, and Meta will send it again.
    pub(crate) fn refused(&self, body: Fingerprint) {
        let mut state = self.state();
        if state.refused.len() < REFUSED_MAX && !state.refused.contains_key(&body) {
            let now = Instant::now();
            state.refused.insert(body, now);
            state.oldest.insert((now, body));
        }
    }

    /// It was refused for what it is, so no repetition will help: nothing waits for it any more.
    pub(crate) fn refused_for_good(&self, body: Fingerprint) {
        self.state().settle(body);
    }

    /// What the gauges show now. Forgets refusals that Meta gave up, and counts them.
    pub(crate) fn report(&self) -> Report {
        let mut state = self.state();
        let now = Instant::now();
        let mut expired = 0;
        while let Some(&(since, body)) = state.oldest.first()
            && now.saturating_duration_since(since) >= HORIZON
        {
            state.settle(body);
            expired += 1;
        }
        let second = state.start.elapsed().as_secs();
        let oldest = state.oldest.first().map(|(since, _)| now.saturating_duration_since(*since));
        let report = Report {
            redelivered_ratio: state.window.ratio(second),
            oldest_refusal: oldest.unwrap_or_default(),
            refusals: state.refused.len(),
        };
        drop(state);
        metrics::refusals_expired(expired);
        report
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn settle(&mut self, body: Fingerprint) {
        if let Some(since) = self.refused.remove(&body) {
            self.oldest.remove(&(since, body));
        }
    }
}

/// Keeps the gauges up to date until `stop`.
pub(crate) async fn run(redelivery: Arc<Redelivery>, stop: CancellationToken) {
    let mut due = interval(REPORT_INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = due.tick() => metrics::redelivery(redelivery.report()),
        }
    }
}

/// Bodies of the last minute, by second.
#[derive(Debug)]
struct Window {
    seconds: [Second; WINDOW_SECONDS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    at: u64,
    bodies: u64,
    redelivered: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { seconds: [Second::default(); WINDOW_SECONDS] }
    }
}

impl Window {
    fn count(&mut self, at: u64, redelivered: bool) {
        let slot = usize::try_from(at % WINDOW_SECONDS as u64).unwrap_or_default();
        let Some(second) = self.seconds.get_mut(slot) else { return };
        if second.at != at {
            *second = Second { at, ..Second::default() };
        }
        second.bodies += 1;
        second.redelivered += u64::from(redelivered);
    }

    /// Zero without bodies.
    fn ratio(&self, now: u64) -> f64 {
        let recent =
            self.seconds.iter().filter(|s| now.saturating_sub(s.at) < WINDOW_SECONDS as u64);
        let (bodies, redelivered) =
            recent.fold((0, 0), |sum, s| (sum.0 + s.bodies, sum.1 + s.redelivered));
        if bodies == 0 { 0.0 } else { metrics::exact(redelivered) / metrics::exact(bodies) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(n: u64) -> Fingerprint {
        Fingerprint(n)
    }

    fn pass(secs: u64) -> impl Future<Output = ()> {
        tokio::time::advance(Duration::from_secs(secs))
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_outstanding_until_the_same_body_is_accepted() {
        let redelivery = Redelivery::default();
        assert_eq!(redelivery.arrived(body(1)), None);
        redelivery.refused(body(1));
        pass(100).await;
        redelivery.refused(body(2));
        redelivery.refused(body(1));
        pass(20).await;
        let report = redelivery.report();
        assert_eq!((report.oldest_refusal.as_secs(), report.refusals), (120, 2), "the first time");
        assert_eq!(redelivery.arrived(body(1)), Some(Before::Refused));
        redelivery.accepted(body(1));
        assert_eq!(redelivery.report().oldest_refusal.as_secs(), 20);
        assert_eq!(redelivery.arrived(body(1)), Some(Before::Accepted));
        redelivery.refused_for_good(body(2));
        let report = redelivery.report();
        assert_eq!((report.oldest_refusal, report.refusals), (Duration::ZERO, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_end_at_the_horizon_and_are_bounded() {
        let redelivery = Redelivery::default();
        redelivery.refused(body(0));
        pass(10).await;
        (1..REFUSED_MAX as u64 + 10).for_each(|n| redelivery.refused(body(n)));
        assert_eq!(redelivery.report().refusals, REFUSED_MAX);
        tokio::time::advance(HORIZON - Duration::from_secs(11)).await;
        assert_eq!(redelivery.report().refusals, REFUSED_MAX);
        pass(1).await;
        let report = redelivery.report();
        assert_eq!(
            (report.refusals, report.oldest_refusal),
            (REFUSED_MAX - 1, HORIZON - Duration::from_secs(10))
        );
        pass(10).await;
        assert_eq!(redelivery.report().refusals, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_was_accepted_the_oldest_is_forgotten() {
        let redelivery = Redelivery::default();
        (0..=ACCEPTED_MAX as u64).for_each(|n| redelivery.accepted(body(n)));
        let before = [0, 1, ACCEPTED_MAX as u64].map(|n| redelivery.arrived(body(n)));
        assert_eq!(before, [None, Some(Before::Accepted), Some(Before::Accepted)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_ratio_is_of_the_last_minute() {
        let redelivery = Redelivery::default();
        for n in 0..3 {
            redelivery.arrived(body(n));
            redelivery.accepted(body(n));
        }
        redelivery.arrived(body(0));
        assert!((redelivery.report().redelivered_ratio - 0.25).abs() < 1e-9);
        pass(30).await;
        redelivery.arrived(body(1));
        pass(30).await;
        assert!((redelivery.report().redelivered_ratio - 1.0).abs() < 1e-9);
        pass(60).await;
        assert!(redelivery.report().redelivered_ratio.abs() < 1e-9);
    }

    #[test]
    fn accepted_bodies_are_forgotten_oldest_first() {
        let redelivery = Redelivery::default();
        (0..=ACCEPTED_MAX as u64).for_each(|n| redelivery.accepted(body(n)));
        assert_eq!(redelivery.arrived(body(0)), None);
        assert_eq!(redelivery.arrived(body(1)), Some(Before::Accepted));
        let state = redelivery.state();
        assert_eq!((state.ring.len(), state.accepted.len()), (ACCEPTED_MAX, ACCEPTED_MAX));
    }
}
