//! Counting outcomes while they come.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tickfold_workload::{Taken, Webhook};

use super::pool::Outcome;

/// Meta's bound for the slowest webhooks.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// A webhook that starts so long after its time is one that the generator was late with. Well above
/// what timers and a busy machine cost, well below the 250 ms that are judged.
pub(super) const LATE: Duration = Duration::from_millis(50);
/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 600_000_000;

/// A webhook that was sent, or was to be sent. Times are since the beginning of the run.
pub(super) struct Done {
    pub(super) webhook: Webhook,
    pub(super) outcome: Outcome,
    /// When it should have been sent.
    pub(super) intended: Duration,
    /// When the generator came to it.
    pub(super) started: Duration,
    /// When its answer was read, or it was given up.
    pub(super) ended: Duration,
}

/// Everything counted.
pub(super) struct Tally {
    /// Good webhooks and bad ones that were started.
    pub(super) good: u64,
    pub(super) bad: u64,
    /// Good webhooks answered 200.
    pub(super) accepted: u64,
    /// Bad signatures answered 401.
    pub(super) bad_refused: u64,
    /// Answers that ask for the webhook again, by code, to good and bad ones alike.
    pub(super) refused: BTreeMap<u16, u64>,
    /// Answers that no node should give, by what they were to.
    pub(super) unexpected: BTreeMap<String, u64>,
    /// Requests without an answer, by why.
    pub(super) errors: BTreeMap<&'static str, u64>,
    pub(super) retry_after_missing: u64,
    pub(super) late: u64,
    /// Good webhooks answered 200, but above [`SLOW`].
    pub(super) slow: u64,
    /// Of good webhooks answered 200, in microseconds from the intended time.
    pub(super) latency: Histogram<u64>,
    /// How long after its time a webhook was started, in microseconds.
    pub(super) lag: Histogram<u64>,
    pub(super) last_started: Duration,
    pub(super) last_ended: Duration,
    /// End of the first good webhook that was not accepted since the last one that was.
    refusing_since: Option<Duration>,
    pub(super) longest_refusal: Duration,
}

impl Tally {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_MAX_US, 3);
        Ok(Self {
            good: 0,
            bad: 0,
            accepted: 0,
            bad_refused: 0,
            refused: BTreeMap::new(),
            unexpected: BTreeMap::new(),
            errors: BTreeMap::new(),
            retry_after_missing: 0,
            late: 0,
            slow: 0,
            latency: histogram()?,
            lag: histogram()?,
            last_started: Duration::ZERO,
            last_ended: Duration::ZERO,
            refusing_since: None,
            longest_refusal: Duration::ZERO,
        })
    }

    /// Counts one, and says whether its facts were taken.
    pub(super) fn add(&mut self, done: &Done) -> Taken {
        let good = done.webhook.is_good();
        *(if good { &mut self.good } else { &mut self.bad }) += 1;
        let lag = done.started.saturating_sub(done.intended);
        self.lag.saturating_record(micros(lag));
        self.late += u64::from(lag > LATE);
        self.last_started = self.last_started.max(done.started);
        self.last_ended = self.last_ended.max(done.ended);
        let taken = self.outcome(done, good);
        if good {
            self.streak(taken == Taken::Yes, done.ended);
        }
        taken
    }

    fn outcome(&mut self, done: &Done, good: bool) -> Taken {
        let (name, taken) = match done.outcome {
            Outcome::Answered { status, retry_after } => {
                return self.answer(done, good, status, retry_after);
            }
            Outcome::NotSentInTime => ("not_sent_in_time", Taken::No),
            Outcome::ConnectionFailed => ("connection_failed", Taken::No),
            Outcome::ConnectionLost => ("connection_lost", Taken::Unclear),
            Outcome::TimedOut => ("timed_out", Taken::Unclear),
        };
        *self.errors.entry(name).or_default() += 1;
        // However it ended, nobody should have taken a bad signature.
        if good { taken } else { Taken::No }
    }

    fn answer(&mut self, done: &Done, good: bool, status: u16, retry_after: bool) -> Taken {
        match (good, status) {
            (true, 200) => {
                let latency = done.ended.saturating_sub(done.intended);
                self.accepted += 1;
                self.slow += u64::from(latency > SLOW);
                self.latency.saturating_record(micros(latency));
                return Taken::Yes;
            }
            (false, 401) => self.bad_refused += 1,
            (_, 503) => {
                *self.refused.entry(status).or_default() += 1;
                self.retry_after_missing += u64::from(!retry_after);
            }
            (true | false, _) => {
                let to = if good { "good" } else { "bad_signature" };
                *self.unexpected.entry(format!("{status} to {to}")).or_default() += 1;
            }
        }
        // A server that failed may have kept the body before it did.
        if good && status >= 500 { Taken::Unclear } else { Taken::No }
    }

    fn streak(&mut self, accepted: bool, at: Duration) {
        if accepted {
            self.refusing_since = None;
        } else {
            let since = *self.refusing_since.get_or_insert(at);
            self.longest_refusal = self.longest_refusal.max(at.saturating_sub(since));
        }
    }

    /// Good webhooks that were not answered 200 within [`SLOW`].
    pub(super) fn over(&self) -> u64 {
        self.good - self.accepted + self.slow
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
