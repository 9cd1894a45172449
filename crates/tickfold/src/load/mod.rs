//! `tickfold load`: generated traffic sent at intended times, the answers counted, and afterwards
//! the state compared with what was accepted.
//!
//! Open loop: a thread of its own keeps the schedule and starts each request when its time has
//! come, so a slow server meets as many requests as a fast one, and latency from the intended time
//! contains every wait. When the generator itself is late the report says so.

mod pool;
mod report;
mod schedule;
mod tally;
pub(crate) mod target;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tickfold_workload::{Expectation, Spec, Taken, Traffic, Webhook};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::Load;
use crate::{client, fail_points, node, secrets};
pub(crate) use pool::{Outcome, Pool};
use report::Report;
use schedule::Schedule;
use tally::{Done, Tally};
pub(crate) use target::Target;
use verify::Verification;

/// Sends, reports, and is a failure if the verdict is.
pub(crate) async fn run(load: Load) -> Result<ExitCode> {
    fail_points::arm_load()?;
    let secret = secrets::require(
        "TICKFOLD_APP_SECRET",
        "the app secret that the node has",
        crate::environment,
    )?;
    let target = Target::new(&load.url, load.tls_ca.as_deref())?;
    let schedule = Schedule::new(&load)?;
    let seed = load.seed.map_or_else(any_seed, Ok)?;
    let traffic = Traffic::new(&spec(&load, seed, &schedule), secret.as_bytes(), node::now())?;
    if load.verify {
        // A wrong address is better known before the load than after it.
        client::connect(&load.client).await?;
    }

    let intended = schedule.len();
    let mut interrupts = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut sent = send(&load, target, schedule, traffic, &mut interrupts).await?;
    let verify = match sent.expectation.take() {
        Some(expectation) => {
            let verify = verify::verify(&load.client, &expectation, load.verify_timeout);
            Some(tokio::select! {
                verification = verify => verification,
                _ = interrupts.recv() => Verification::interrupted(),
            })
        }
        None => None,
    };
    let report = Report::new(&load.url, seed, intended, sent.interrupted, &sent.tally, verify);
    client::document(load.client.output, &report)?;
    Ok(if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What became of the traffic.
struct Sent {
    tally: Tally,
    /// Present if the state is to be compared with it.
    expectation: Option<Expectation>,
    interrupted: bool,
}

/// Sends until the schedule ends or Ctrl-C comes, and waits for every answer that is still out.
async fn send(
    load: &Load,
    target: Target,
    schedule: Schedule,
    traffic: Traffic,
    interrupts: &mut Signal,
) -> Result<Sent> {
    let pool = Arc::new(Pool::new(target, load.connections as usize));
    let timeout = load.request_timeout;
    let (stop, stopped) = std::sync::mpsc::channel();
    let (done, mut all_done) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    let begin = Instant::now();
    // Each request holds an end of the channel, so the channel ends when the last one has.
    let start = move |at: Duration, webhook: Webhook| {
        let (pool, done) = (Arc::clone(&pool), done.clone());
        runtime.spawn(async move {
            let started = begin.elapsed();
            let outcome = pool.post(&webhook, (begin + at + timeout).into()).await;
            let ended = begin.elapsed();
            fail_points::posted();
            // Nobody listens only after a second Ctrl-C.
            let _ = done.send(Done { webhook, outcome, intended: at, started, ended });
        });
    };
    let pace = move || pace(begin, schedule.times().zip(traffic), &stopped, start);
    let thread = std::thread::Builder::new().name("load-pace".to_owned()).spawn(pace);
    let thread = thread.context("start the thread that keeps the schedule")?;

    let mut tally = Tally::new().context("make a histogram")?;
    let mut expectation = load.verify.then(Expectation::default);
    let mut stop = Some(stop);
    loop {
        tokio::select! {
            next = all_done.recv() => {
                let Some(done) = next else { break };
                let taken: Taken = tally.add(&done);
                if let Some(expectation) = &mut expectation {
                    expectation.add(&done.webhook.facts, taken);
                }
            }
            _ = interrupts.recv() => {
                // The thread hears that its other end is gone. A second Ctrl-C waits for nothing.
                stop.take().context("interrupted again while waiting for the last answers")?;
            }
        }
    }
    thread.join().map_err(|_| anyhow!("the thread that keeps the schedule panicked"))?;
    Ok(Sent { tally, expectation, interrupted: stop.is_none() })
}

/// Starts each webhook at its time. One whose time is past is started at once, never left out.
fn pace(
    begin: Instant,
    webhooks: impl Iterator<Item = (Duration, Webhook)>,
    stopped: &Receiver<()>,
    start: impl Fn(Duration, Webhook),
) {
    // Made and signed before its time, so that this costs no lateness.
    for (at, webhook) in webhooks {
        match stopped.recv_timeout((begin + at).saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => start(at, webhook),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn spec(load: &Load, seed: u64, schedule: &Schedule) -> Spec {
    let default = Spec::default();
    Spec {
        seed,
        wabas: load.wabas,
        inbound: load.inbound,
        templates: load.templates,
        batches: load.batches,
        duplicates: load.duplicates,
        disorder: load.disorder,
        bad_signatures: load.bad_signatures,
        webhooks_per_second: per_second(schedule.peak()),
        ..default
    }
}

/// Event time never runs ahead of the clock, also in a burst.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn per_second(rate: f64) -> u32 {
    rate.ceil().clamp(1.0, f64::from(u32::MAX)) as u32
}

fn any_seed() -> Result<u64> {
    let seed = getrandom::u64().map_err(|error| anyhow!("draw a seed: {error}"))?;
    // Short enough for every JSON reader.
    Ok(seed >> 11)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tickfold_core::time::Timestamp;

    use super::*;

    fn webhooks(times: &[u64]) -> impl Iterator<Item = (Duration, Webhook)> {
        let traffic = Traffic::new(&Spec::default(), b"s", Timestamp::from_millis(0)).unwrap();
        times
            .iter()
            .map(|ms| Duration::from_millis(*ms))
            .collect::<Vec<_>>()
            .into_iter()
            .zip(traffic)
    }

    #[test]
    fn nothing_starts_before_its_time_and_what_is_late_starts_at_once() {
        let (_stop, stopped) = std::sync::mpsc::channel();
        // The schedule began 50 ms ago: the first two are late.
        let begin = Instant::now().checked_sub(Duration::from_millis(50)).unwrap();
        let started = RefCell::new(Vec::new());
        pace(begin, webhooks(&[0, 10, 60, 70]), &stopped, |at, _| {
            started.borrow_mut().push((at, begin.elapsed()));
        });
        let started = started.into_inner();
        assert_eq!(started.len(), 4);
        assert!(started.iter().all(|(at, then)| then >= at), "{started:?}");
    }

    #[test]
    fn stopping_ends_the_schedule_while_it_waits() {
        let (stop, stopped) = std::sync::mpsc::channel();
        let stop = RefCell::new(Some(stop));
        let count = RefCell::new(0);
        // The second is an hour away.
        pace(Instant::now(), webhooks(&[0, 3_600_000]), &stopped, |_, _| {
            *count.borrow_mut() += 1;
            stop.take();
        });
        assert_eq!(count.into_inner(), 1);
    }
}
