//! How fast a message is looked up by its wamid, beside an empty call to a bare tonic server in the same
//! run; how many watch responses a second a node gives; and the time from a POST to the watch that tells of
//! it, on the embedded log and on Kafka.
//!
//! Node and floor are processes of their own, so their CPU time is their own; the callers share the machine
//! with them. Rounds alternate between the two. *Warm* is a node at rest whose block cache has room for the
//! whole state, after every message was read; *cold* is a node that was started again after the pages of its
//! files were dropped from the kernel's cache, with the default cache: each of its lookups is of another message.
//!
//! `TICKFOLD_BENCH_MESSAGES` (1,000,000) is how many messages there are, `TICKFOLD_BENCH_ROUNDS` (5) how often
//! is measured, `TICKFOLD_BENCH_KAFKA=0` leaves Kafka out. `TICKFOLD_BIN` is the binary.

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
mod callers;
#[allow(dead_code, reason = "another benchmark asks for the broker's as well")]
#[path = "../kafka/cpu.rs"]
mod cpu;
mod fill;
mod floor;
#[allow(dead_code, reason = "another benchmark replays by it")]
#[path = "../replay/node.rs"]
mod node;
mod watches;

use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::Broker;
use callers::{Called, Callers};
use floor::Floor;
use node::Node;
use tickfold_benches::median;
use tickfold_log::{EmbeddedLog, EmbeddedOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PARTITIONS: u32 = 8;
const BROKER_JVM: [&str; 2] = ["-Xmx1g", "-XX:+UseParallelGC"];
const PAUSE: Duration = Duration::from_millis(20);
/// How long each round calls.
const ROUND: Duration = Duration::from_secs(3);
/// Lookups of a node that has nothing in memory.
const COLD: usize = 2_000;
/// Of *warm*: a block cache that holds the state.
const WARM: [(&str, &str); 1] = [("TICKFOLD_STORE_BLOCK_CACHE_BYTES", "2GiB")];
/// Wamids of one LookupMessages.
const MANY: usize = 100;

#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn main() -> Outcome<()> {
    if std::env::var_os(floor::SERVE).is_some() {
        return floor::serve();
    }
    let number = |name, default| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let messages: usize = number("TICKFOLD_BENCH_MESSAGES", 1_000_000)?;
    let rounds: usize = number("TICKFOLD_BENCH_ROUNDS", 5)?;
    let kafka: usize = number("TICKFOLD_BENCH_KAFKA", 1)?;

    let dir = tempfile::tempdir()?;
    let log_dir = dir.path().join("data/log");
    std::fs::create_dir_all(&log_dir)?;
    let log = EmbeddedLog::open(&log_dir, EmbeddedOptions::default())?;
    let records = fill::fill(log, messages)?;
    let node = Node::start(dir.path(), None, &WARM)?;
    while node.position()? < records {
        std::thread::sleep(PAUSE);
    }
    node.at_rest()?;
    Callers::connect(&node.grpc, 4)?.read_all(messages, MANY)?;
    println!("{messages} messages, each sent, delivered and read");
    let floor = Floor::start()?;
    println!(
        "{:18} {:>11} {:>11} {:>11} {:>6} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "lookups",
        "connections",
        "per s",
        "empty/s",
        "ratio",
        "p50 µs",
        "p99 µs",
        "empty p50",
        "empty p99",
        "CPU µs",
        "empty"
    );
    for connections in [1, 64] {
        beside("warm", connections, &node, &floor, messages, rounds)?;
    }
    let many = Callers::connect(&node.grpc, 4)?.look_up(messages, MANY, ROUND)?;
    println!(
        "LookupMessages of {MANY}, 4 connections: {:.0} wamids/s",
        many.per_second * MANY as f64
    );

    node.stop()?;
    drop_pages(&dir.path().join("data"))?;
    let node = Node::start(dir.path(), None, &[])?;
    for connections in [1, 64] {
        let cold = Callers::connect(&node.grpc, connections)?.each_once(messages, COLD)?;
        println!(
            "{:18} {connections:11} {:11.0} {:>11} {:>6} {:9.0} {:9.0}",
            "cold", cold.per_second, "", "", cold.p50_us, cold.p99_us
        );
    }
    watches::fan_out(&node)?;
    watches::delays("embedded", &node)?;
    node.stop()?;
    if kafka > 0 {
        let dir = tempfile::tempdir()?;
        let broker = Broker::start_with(&BROKER_JVM);
        let node = Node::start(dir.path(), Some(&broker.plain), &[])?;
        watches::delays("kafka", &node)?;
        node.stop()?;
    }
    Ok(())
}

/// Calls node and floor in turn and prints the medians.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn beside(
    name: &str,
    connections: usize,
    node: &Node,
    floor: &Floor,
    messages: usize,
    rounds: usize,
) -> Outcome<()> {
    let (ours, empty) =
        (Callers::connect(&node.grpc, connections)?, Callers::connect(&floor.grpc, connections)?);
    // The first calls fill caches and connections.
    ours.get(messages, ROUND)?;
    empty.get(messages, ROUND)?;
    let (mut all, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        let before = floor.cpu()?;
        let mut called = empty.get(messages, ROUND)?;
        called.cpu_us = (floor.cpu()? - before) * 1e6 / called.calls as f64;
        let rate = called.per_second;
        floors.push(called);
        let before = node.cpu()?;
        let mut called = ours.get(messages, ROUND)?;
        called.cpu_us = (node.cpu()? - before) * 1e6 / called.calls as f64;
        ratios.push(called.per_second / rate);
        all.push(called);
    }
    let of = |all: &[Called], what: fn(&Called) -> f64| {
        median(&mut all.iter().map(what).collect::<Vec<_>>())
    };
    println!(
        "{name:18} {connections:11} {:11.0} {:11.0} {:6.2} {:9.0} {:9.0} {:9.0} {:9.0} {:8.1} {:8.1}",
        of(&all, |of| of.per_second),
        of(&floors, |of| of.per_second),
        median(&mut ratios),
        of(&all, |of| of.p50_us),
        of(&all, |of| of.p99_us),
        of(&floors, |of| of.p50_us),
        of(&floors, |of| of.p99_us),
        of(&all, |of| of.cpu_us),
        of(&floors, |of| of.cpu_us),
    );
    Ok(())
}

/// Writes everything back and lets the kernel forget the files below a directory.
fn drop_pages(dir: &Path) -> Outcome<()> {
    rustix::fs::sync();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            drop_pages(&path)?;
        } else {
            let file = std::fs::File::open(&path)?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// The binary's directory, unless it is named.
fn binary() -> PathBuf {
    let named = std::env::var_os("TICKFOLD_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        target.unwrap_or(ours).join("release/tickfold")
    })
}
