//! tickfold's binary and the Kafka Streams program of `peers/kafka-streams` in its two modes, one
//! after the other on one broker, over the same raw topic, which is full before any starts.
//!
//! All write their outputs exactly once; the derived topics are compared afterwards, record by
//! record, and so is how much tickfold and the mode with the same state hold, row by row of each
//! kind. Per program: the rate at which it catches up and the CPU time that takes, of its process
//! and of the broker, between a quarter and 95 % of the topic, so that neither a start nor a warm-up
//! counts; the most memory it had; then, live, the time from the append of a raw record to the moment at which a
//! read_committed reader has what follows from it.
//!
//! `TICKFOLD_BENCH_EVENTS` (400,000) and `TICKFOLD_BENCH_ROUNDS` (2) say how much, and
//! `TICKFOLD_BENCH_ONLY` names the programs, by what their names begin with: `kafka-streams` both
//! modes, `tickfold,kafka-streams-same` ours and one. `TICKFOLD_BIN` is the binary; the jars are where
//! `make bench` puts them.

#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "of the tests of tickfold-log, which use the rest of it and fail by panicking"
)]
#[path = "../../../crates/tickfold-log/tests/kafka/broker.rs"]
mod broker;
mod cpu;
mod latency;
mod outputs;
mod programs;
mod progress;
mod raw;
mod state;

use std::path::Path;
use std::time::Duration;

use broker::Broker;
use cpu::Cpu;
use programs::{Program, Running};
use progress::Watch;
use raw::Raw;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PARTITIONS: u32 = 8;
/// Events per second, and for how long, while latency is measured.
const LIVE_RATE: u32 = 500;
const LIVE_FOR: Duration = Duration::from_secs(10);
/// The part of the topic over which rates are taken.
const WINDOW: (f64, f64) = (0.25, 0.95);
/// A broker as it would be run, but for its size; that of the tests spares compile time.
const BROKER_JVM: [&str; 2] = ["-Xmx1g", "-XX:+UseParallelGC"];

/// What was measured of one program in one round.
#[derive(Debug, Clone, Copy)]
struct Measured {
    program: Program,
    events_per_second: f64,
    cpu_us: f64,
    broker_cpu_us: f64,
    peak_mib: f64,
    p50_ms: f64,
    p99_ms: f64,
}

#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn main() -> Outcome<()> {
    let number = |name, default| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let events: usize = number("TICKFOLD_BENCH_EVENTS", 400_000)?;
    let rounds: usize = number("TICKFOLD_BENCH_ROUNDS", 2)?;
    let chosen = chosen()?;
    let dir = tempfile::tempdir()?;
    programs::check(&chosen)?;
    let broker = Broker::start_with(&BROKER_JVM);
    println!(
        "{events} statuses, one per body, in {PARTITIONS} partitions; {} cores with the broker on \
         them",
        std::thread::available_parallelism()?
    );
    println!(
        "{:5} {:18} {:>9} {:>14} {:>13} {:>8} {:>8} {:>8}",
        "round",
        "program",
        "events/s",
        "CPU µs/event",
        "of the broker",
        "peak MiB",
        "p50 ms",
        "p99 ms"
    );
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut programs = chosen.clone();
        if round % 2 == 1 {
            programs.reverse();
        }
        let mut raw = Raw::fill(&broker.plain, &format!("raw{round}"), round, events)?;
        for program in programs {
            let prefix = program.prefix(&raw);
            let measured = measure(program, &broker, &mut raw, &dir.path().join(prefix))?;
            println!(
                "{round:5} {:18} {:9.0} {:14.1} {:13.1} {:8.0} {:8.1} {:8.1}",
                program.name(),
                measured.events_per_second,
                measured.cpu_us,
                measured.broker_cpu_us,
                measured.peak_mib,
                measured.p50_ms,
                measured.p99_ms
            );
            all.push(measured);
        }
        compare(&chosen, &broker, &raw, dir.path())?;
    }
    for peer in Program::PEERS {
        print_ratios(&all, peer);
    }
    Ok(())
}

/// The programs whose names begin as `TICKFOLD_BENCH_ONLY` says, else all.
fn chosen() -> Outcome<Vec<Program>> {
    let only = std::env::var("TICKFOLD_BENCH_ONLY").unwrap_or_default();
    let named = |program: &Program| only.split(',').any(|name| program.name().starts_with(name));
    let chosen: Vec<_> = Program::ALL.into_iter().filter(named).collect();
    if chosen.is_empty() { Err(format!("no program is named {only}").into()) } else { Ok(chosen) }
}

/// What the programs of a round wrote, and what those that should hold the same hold.
fn compare(chosen: &[Program], broker: &Broker, raw: &Raw, dir: &Path) -> Outcome<()> {
    let brokers = &broker.plain;
    if chosen.contains(&Program::Tickfold) {
        for peer in Program::PEERS.into_iter().filter(|peer| chosen.contains(peer)) {
            outputs::compare(brokers, raw, peer)?;
        }
        if chosen.contains(&Program::StreamsSame) {
            let held = |program: Program| {
                state::settled(program, brokers, raw, &dir.join(program.prefix(raw)))
            };
            let peer = Program::StreamsSame;
            state::compare(&held(Program::Tickfold)?, &held(peer)?, peer)?;
        }
    }
    for program in chosen {
        std::fs::remove_dir_all(dir.join(program.prefix(raw)))?;
    }
    Ok(())
}

/// Runs a program over the raw topic from its start to the end of a while of live traffic.
fn measure(program: Program, broker: &Broker, raw: &mut Raw, state: &Path) -> Outcome<Measured> {
    let prefix = program.prefix(raw);
    let watch = Watch::new(&broker.plain, &program.group(&prefix), raw)?;
    let mut running = Running::start(program, &broker.plain, raw, &prefix, state)?;
    let of_broker = cpu::broker()?;
    let look = |running: &mut Running, share: f64| -> Outcome<(Duration, Cpu, Cpu, f64)> {
        let (at, share) = watch.until(share, || running.check())?;
        Ok((at, cpu::of(running.pid())?, cpu::of(of_broker)?, share))
    };
    let begin = look(&mut running, WINDOW.0)?;
    let end = look(&mut running, WINDOW.1)?;
    watch.until(1.0, || running.check())?;
    let folded = (end.3 - begin.3) * raw.events as f64;
    let mut latencies = latency::live(&broker.plain, raw, &prefix, LIVE_RATE, LIVE_FOR)?;
    let peak_mib = cpu::peak_mib(running.pid())?;
    running.stop()?;
    Ok(Measured {
        program,
        events_per_second: folded / (end.0 - begin.0).as_secs_f64(),
        cpu_us: (end.1 - begin.1) * 1e6 / folded,
        broker_cpu_us: (end.2 - begin.2) * 1e6 / folded,
        peak_mib,
        p50_ms: latency::quantile(&mut latencies, 500),
        p99_ms: latency::quantile(&mut latencies, 990),
    })
}

/// tickfold beside a peer: of each round the ratio, and the median of them.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn print_ratios(all: &[Measured], peer: Program) {
    let [ours, theirs] =
        [Program::Tickfold, peer].map(|program| all.iter().filter(move |m| m.program == program));
    let pairs: Vec<_> = ours.zip(theirs).collect();
    if pairs.is_empty() {
        return;
    }
    let ratio = |of: fn(&Measured) -> f64| {
        let mut ratios: Vec<f64> = pairs.iter().map(|(a, b)| of(a) / of(b)).collect();
        ratios.sort_by(f64::total_cmp);
        // Of an even number the two in the middle: one of them would be the better or the worse.
        let at = |index: usize| ratios.get(index).copied().unwrap_or_default();
        f64::midpoint(at((ratios.len() - 1) / 2), at(ratios.len() / 2))
    };
    println!(
        "tickfold / {}, median of {} rounds: events/s {:.2}, CPU per event {:.2}, with the broker's \
         {:.2}, memory {:.2}, p50 {:.2}, p99 {:.2}",
        peer.name(),
        pairs.len(),
        ratio(|m| m.events_per_second),
        ratio(|m| m.cpu_us),
        ratio(|m| m.cpu_us + m.broker_cpu_us),
        ratio(|m| m.peak_mib),
        ratio(|m| m.p50_ms),
        ratio(|m| m.p99_ms)
    );
}
