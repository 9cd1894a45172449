//! How fast `tickfold replay run` folds history, beside how fast the same node folded the same
//! records live, exactly once, in the same run; on the embedded log and on Kafka.
//!
//! The log is full before the node starts. Both rates are taken between a quarter and 95 % of it, so that
//! neither a start nor an end counts, nor what a broker compiles for them.
//! For the same reason a replay goes before the one that is measured, and is discarded: a broker compiles
//! anew for a reader like that, for half a core over seconds, where it has been compiled for the live fold long
//! ago.
//! A replay gives way to everything else, so on a machine with other work its rate says little; the
//! CPU time of the node per record, beside it, says what either costs. The replay begins once the node has
//! compacted what it folded live: that work is of the live fold.
//! Afterwards the shadow is compared with the live state: a difference fails the benchmark.
//!
//! `TICKFOLD_BENCH_REPLAY_EMBEDDED` (400,000) and `TICKFOLD_BENCH_REPLAY_KAFKA` (200,000) say how many
//! webhooks, 0 leaves one out, and `TICKFOLD_BENCH_ROUNDS` (2) how often. `TICKFOLD_BIN` is the binary.

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
#[allow(dead_code, reason = "the other benchmark asks for the broker's as well")]
#[path = "../kafka/cpu.rs"]
mod cpu;
mod fill;
#[allow(dead_code, reason = "another benchmark asks for more")]
mod node;

use std::path::Path;
use std::time::{Duration, Instant};

use broker::Broker;
use node::{Node, Replays};
use tickfold_benches::median;
use tickfold_log::{EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PARTITIONS: u32 = 8;
/// The part of the log over which the live rate is taken.
const WINDOW: (f64, f64) = (0.25, 0.95);
const BROKER_JVM: [&str; 2] = ["-Xmx1g", "-XX:+UseParallelGC"];
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks at a replay, each of which takes views of all its stores.
const LOOK: Duration = Duration::from_millis(50);

#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn main() -> Outcome<()> {
    let number = |name, default| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let embedded: usize = number("TICKFOLD_BENCH_REPLAY_EMBEDDED", 400_000)?;
    let kafka: usize = number("TICKFOLD_BENCH_REPLAY_KAFKA", 200_000)?;
    let rounds: usize = number("TICKFOLD_BENCH_ROUNDS", 2)?;
    println!(
        "{:5} {:9} {:>9} {:>14} {:>14} {:>6} {:>8} {:>10}",
        "round", "log", "records", "live, per s", "replay, per s", "ratio", "live µs", "replay µs"
    );
    let (mut on_embedded, mut on_kafka) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if embedded > 0 {
            on_embedded.push(measure_embedded(round, embedded)?);
        }
        if kafka > 0 {
            on_kafka.push(measure_kafka(round, kafka)?);
        }
    }
    for (log, mut ratios) in [("embedded", on_embedded), ("kafka", on_kafka)] {
        if !ratios.is_empty() {
            println!("replay / live exactly once, {log}: median {:.2}", median(&mut ratios));
        }
    }
    Ok(())
}

fn measure_embedded(round: usize, webhooks: usize) -> Outcome<f64> {
    let dir = tempfile::tempdir()?;
    let log_dir = dir.path().join("data/log");
    std::fs::create_dir_all(&log_dir)?;
    let log = EmbeddedLog::open(&log_dir, EmbeddedOptions::default())?;
    let records = fill::fill(log, round, webhooks)?;
    measure("embedded", round, &Node::start(dir.path(), None, &[])?, records)
}

fn measure_kafka(round: usize, webhooks: usize) -> Outcome<f64> {
    let dir = tempfile::tempdir()?;
    let broker = Broker::start_with(&BROKER_JVM);
    let options = KafkaOptions {
        replication_factor: 1,
        min_insync_replicas: 1,
        append_time_topics: vec![tickfold_processor::raw_topic(fill::PREFIX)],
        ..KafkaOptions::new(&broker.plain)
    };
    let records = fill::fill(KafkaLog::connect(options)?, round, webhooks)?;
    measure("kafka", round, &Node::start(dir.path(), Some(&broker.plain), &[])?, records)
}

/// The ratio of the two rates.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn measure(log: &str, round: usize, node: &Node, records: u64) -> Outcome<f64> {
    let (live, live_us) = rate(node, records, PAUSE, || node.position())?;
    while node.position()? < records {
        std::thread::sleep(PAUSE);
    }
    node.at_rest()?;
    let replays = node.replays()?;
    node.replay()?;
    until_done(&replays)?;
    node.discard()?;
    node.at_rest()?;
    node.replay()?;
    let (replayed, replay_us) = rate(node, records, LOOK, || Ok(replays.folded()?.0))?;
    until_done(&replays)?;
    node.compare()?;
    let ratio = replayed / live;
    println!(
        "{round:5} {log:9} {records:9} {live:14.0} {replayed:14.0} {ratio:6.2} {live_us:8.1} \
         {replay_us:10.1}"
    );
    Ok(ratio)
}

fn until_done(replays: &Replays) -> Outcome<()> {
    while !replays.folded()?.1 {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Records per second, and CPU µs of the node for each, within the window, by looks at how many there
/// are.
fn rate(
    node: &Node,
    records: u64,
    pause: Duration,
    folded: impl Fn() -> Outcome<u64>,
) -> Outcome<(f64, f64)> {
    let until = |share: f64| -> Outcome<(Instant, f64, f64)> {
        loop {
            let now = folded()? as f64;
            if now >= share * records as f64 {
                return Ok((Instant::now(), now, node.cpu()?));
            }
            std::thread::sleep(pause);
        }
    };
    let (begin, end) = (until(WINDOW.0)?, until(WINDOW.1)?);
    let folded = end.1 - begin.1;
    Ok((folded / (end.0 - begin.0).as_secs_f64(), (end.2 - begin.2) * 1e6 / folded))
}

/// The binary's directory, unless it is named.
fn binary() -> std::path::PathBuf {
    let named = std::env::var_os("TICKFOLD_BIN").map(std::path::PathBuf::from);
    named.unwrap_or_else(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(std::path::PathBuf::from);
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        target.unwrap_or(ours).join("release/tickfold")
    })
}
