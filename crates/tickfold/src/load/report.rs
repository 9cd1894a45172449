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
    /// Webhooks answered 503, by code.
    refused: BTreeMap<u16, u64>,
    refused_without_retry_after: u64,
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
