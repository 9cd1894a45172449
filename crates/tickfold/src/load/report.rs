//! What a run found, as it is printed, and whether it passes.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::tally::{LATE, Tally};
use super::verify::Verification;

/// Meta's bound for the median.
const MEDIAN_MAX_MS: f64 = 250.0;
/// Meta's bound for the share of webhooks above a second.
const OVER_SHARE_MAX: f64 = 0.01;
/// A generator that is late with more than this share did not keep its schedule.
const LATE_SHARE_MAX: f64 = 0.01;

/// Members stand in the order in which they are read.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    seed: u64,
    /// Webhooks of the whole schedule.
    intended: u64,
    /// Webhooks that the generator came to; fewer than intended only after Ctrl-C.
    sent: u64,
    interrupted: bool,
    /// Good webhooks among those sent.
    good: u64,
    /// Good webhooks answered 200.
    accepted: u64,
    /// Answers that ask for the webhook again: 503.
    refused: BTreeMap<u16, u64>,
    refused_without_retry_after: u64,
    /// The longest time in which good webhooks ended and none of them was accepted.
    longest_refusal_seconds: f64,
    bad_signatures: u64,
    /// Bad signatures answered 401, as they should be.
    bad_signatures_refused: u64,
    unexpected: BTreeMap<String, u64>,
    errors: BTreeMap<&'static str, u64>,
    /// Started per second while sending.
    achieved_rate: f64,
    /// Of good webhooks answered 200, from the intended time to the end of the answer.
    latency_ms: Percentiles,
    /// Good webhooks not answered 200 within a second.
    over_1s: u64,
    over_1s_share: f64,
    /// From the intended time to the start of the request.
    generator_lag_ms: Percentiles,
    generator_late: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<Verification>,
    /// The first things that verification found wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<String>,
    verdict: Verdict,
    /// Every reason why it does not pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

/// Whether the run passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Fail,
}

impl Report {
    /// Makes the report, with its verdict.
    pub(super) fn new(
        url: &str,
        seed: u64,
        intended: u64,
        interrupted: bool,
        tally: &Tally,
        mut verify: Option<Verification>,
    ) -> Self {
        let sent = tally.good + tally.bad;
        let over_1s = tally.over();
        let share = |count: u64, of: u64| if of == 0 { 0.0 } else { count as f64 / of as f64 };
        let latency_ms = percentiles(&tally.latency);
        let over_1s_share = share(over_1s, tally.good);
        let mut reasons = Vec::new();
        if tally.accepted == 0 {
            reasons.push("no webhook was accepted".to_owned());
        }
        if latency_ms.p50 > MEDIAN_MAX_MS {
            reasons.push(format!("median {} ms, above {MEDIAN_MAX_MS} ms", latency_ms.p50));
        }
        if over_1s_share >= OVER_SHARE_MAX {
            let percent = over_1s_share * 100.0;
            reasons.push(format!("{percent:.2} % not accepted within 1 s, not below 1 %"));
        }
        for (what, count) in &tally.unexpected {
            reasons.push(format!("{count} unexpected answers: {what}"));
        }
        if tally.retry_after_missing > 0 {
            reasons.push(format!("{} times 503 without Retry-After", tally.retry_after_missing));
        }
        if verify.as_ref().is_some_and(|verify| !verify.ok) {
            reasons.push(
                "the state is not what was accepted, or could not be read: see verify".to_owned(),
            );
        }
        let behind = share(tally.late, sent) > LATE_SHARE_MAX;
        let note = behind.then(|| {
            let late = LATE.as_millis();
            format!(
                "the generator fell behind its schedule, {} of {sent} webhooks started more than \
                 {late} ms late: latencies and rate are of the generator, not of the node",
                tally.late
            )
        });
        Self {
            url: url.to_owned(),
            seed,
            intended,
            sent,
            interrupted,
            good: tally.good,
            accepted: tally.accepted,
            refused: tally.refused.clone(),
            refused_without_retry_after: tally.retry_after_missing,
            longest_refusal_seconds: rounded(tally.longest_refusal.as_secs_f64()),
            bad_signatures: tally.bad,
            bad_signatures_refused: tally.bad_refused,
            unexpected: tally.unexpected.clone(),
            errors: tally.errors.clone(),
            achieved_rate: rounded(rate(sent, tally.last_started)),
            latency_ms,
            over_1s,
            over_1s_share: rounded(over_1s_share),
            generator_lag_ms: percentiles(&tally.lag),
            generator_late: tally.late,
            note,
            findings: verify.as_mut().map(|v| std::mem::take(&mut v.examples)).unwrap_or_default(),
            verify,
            verdict: if reasons.is_empty() { Verdict::Pass } else { Verdict::Fail },
            reasons,
        }
    }

    /// Whether the run passes.
    pub(super) fn passes(&self) -> bool {
        self.verdict == Verdict::Pass
    }
}

/// Of events evenly spaced, the first at the beginning and the last at `last`.
fn rate(count: u64, last: Duration) -> f64 {
    if last.is_zero() { count as f64 } else { count.saturating_sub(1) as f64 / last.as_secs_f64() }
}

fn percentiles(of: &Histogram<u64>) -> Percentiles {
    let ms = |micros: u64| rounded(micros as f64 / 1_000.0);
    let at = |quantile| ms(of.value_at_quantile(quantile));
    Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: ms(of.max()) }
}

/// To four decimals: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use tickfold_core::time::Timestamp;
    use tickfold_workload::{Spec, Taken, Traffic, Webhook};

    use super::*;
    use crate::load::pool::Outcome;
    use crate::load::tally::Done;

    const OK: Outcome = Outcome::Answered { status: 200, retry_after: false };
    const REFUSED: Outcome = Outcome::Answered { status: 503, retry_after: true };

    fn webhook(good: bool) -> Webhook {
        let spec = Spec { bad_signatures: if good { 0.0 } else { 1.0 }, ..Spec::default() };
        let mut traffic = Traffic::new(&spec, b"s", Timestamp::from_millis(0)).unwrap();
        traffic.next().unwrap()
    }

    /// A run of these outcomes, one each second: whether good, how it ended, after how many ms.
    fn run(all: &[(u32, bool, Outcome, u64)]) -> (Report, Vec<Taken>) {
        let (mut tally, mut taken) = (Tally::new().unwrap(), Vec::new());
        let mut second = 0;
        for &(times, good, outcome, ms) in all {
            for _ in 0..times {
                let intended = Duration::from_secs(second);
                let ended = intended + Duration::from_millis(ms);
                let webhook = webhook(good);
                let done = Done { webhook, outcome, intended, started: intended, ended };
                taken.push(tally.add(&done));
                second += 1;
            }
        }
        (Report::new("http://x/", 1, second, false, &tally, None), taken)
    }

    fn reasons(all: &[(u32, bool, Outcome, u64)]) -> usize {
        let (report, _) = run(all);
        assert_eq!(report.passes(), report.reasons.is_empty());
        report.reasons.len()
    }

    #[test]
    fn the_verdict_is_by_metas_bounds_and_by_what_no_node_may_answer() {
        let answered = |status| Outcome::Answered { status, retry_after: false };
        assert_eq!(reasons(&[(100, true, OK, 249), (9, false, answered(401), 1)]), 0);
        assert_eq!(reasons(&[(100, true, OK, 252)]), 1, "the median");
        // Less than 1 % is let pass, whether slow, refused or lost.
        for (outcome, ms) in [(OK, 1_500), (REFUSED, 1), (Outcome::TimedOut, 10_000)] {
            assert_eq!(reasons(&[(200, true, OK, 1), (1, true, outcome, ms)]), 0, "{outcome:?}");
            assert_eq!(reasons(&[(98, true, OK, 1), (2, true, outcome, ms)]), 1, "{outcome:?}");
        }
        // A single one is too many.
        for (good, outcome) in
            [(true, answered(401)), (true, answered(503)), (false, OK), (false, answered(400))]
        {
            assert_eq!(reasons(&[(500, true, OK, 1), (1, good, outcome, 1)]), 1, "{outcome:?}");
        }
        assert!(reasons(&[(1, false, answered(401), 1)]) > 0, "nothing was accepted");
    }

    #[test]
    fn what_was_taken_follows_from_the_outcome() {
        let answered = |status| Outcome::Answered { status, retry_after: true };
        let (_, taken) = run(&[
            (1, true, OK, 1),
            (1, true, answered(401), 1),
            (1, true, REFUSED, 1),
            (1, true, Outcome::TimedOut, 1),
            (1, true, Outcome::ConnectionLost, 1),
            (1, true, Outcome::ConnectionFailed, 1),
            (1, true, Outcome::NotSentInTime, 1),
            (1, false, OK, 1),
            (1, false, Outcome::TimedOut, 1),
        ]);
        let (yes, no, unclear) = (Taken::Yes, Taken::No, Taken::Unclear);
        assert_eq!(taken, [yes, no, unclear, unclear, unclear, no, no, no, no]);
    }

    #[test]
    fn the_longest_refusal_is_between_two_accepted_webhooks() {
        let (report, _) = run(&[
            (2, true, OK, 1),
            (3, true, REFUSED, 1),
            (1, true, OK, 1),
            (5, true, Outcome::ConnectionFailed, 1),
            (1, true, OK, 1),
        ]);
        assert!((report.longest_refusal_seconds - 4.0).abs() < 0.01, "{report:?}");
    }

    #[test]
    fn a_generator_that_is_late_says_whose_the_numbers_are() {
        let mut tally = Tally::new().unwrap();
        for late in [false, true] {
            let started = if late { LATE * 2 } else { LATE };
            let done = Done {
                webhook: webhook(true),
                outcome: OK,
                intended: Duration::ZERO,
                started,
                ended: started,
            };
            tally.add(&done);
            let report = Report::new("http://x/", 1, 1, false, &tally, None);
            assert_eq!(report.note.is_some(), late, "{report:?}");
        }
    }
}
