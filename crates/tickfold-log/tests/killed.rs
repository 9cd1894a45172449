//! The embedded log under kill -9: a child process appends, commits and trims, the parent kills it
//! at some moment, and everything the child had acknowledged is there. The opening after each kill is
//! also the proof that the damage checks do not refuse a log that only crashed. The null control is a
//! child that ends in order: exactly what it had acknowledged is there.

#![cfg(feature = "embedded")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test: whatever is unexpected fails it"
)]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use tempfile::TempDir;
use tickfold_log::{
    Append, Committed, EmbeddedLog, EmbeddedOptions, Log, TopicPartition, TopicSpec,
};
use tokio::runtime::Runtime;

const DIR: &str = "TICKFOLD_TEST_KILLED_DIR";
/// After how many groups the child ends in order; without it, it goes on until it is killed.
const GROUPS: &str = "TICKFOLD_TEST_KILLED_GROUPS";

#[test]
fn killed_processes_lose_nothing_acknowledged() {
    let rounds =
        if std::env::var("TICKFOLD_SOAK").is_ok_and(|soak| soak == "1") { 150 } else { 15 };
    let dir = TempDir::new().unwrap();
    let mut acknowledged = 0;
    let mut unacknowledged = 0;
    let mut killed = 0;
    for round in 0..rounds {
        let mut child = child(dir.path(), None);
        // Moments spread over opening, the first groups, and flushes in the background.
        let wanted = [1, 300, 40, 600, 7, 150][round % 6];
        for (seen, count) in (1..).zip(counts(&mut child)) {
            acknowledged = count;
            if seen == wanted {
                child.kill().unwrap();
            }
        }
        // A child that failed by itself can be sent the signal, too.
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "round {round}: the child ended by itself: {status}");
        killed += 1;

        let found = check(dir.path(), acknowledged);
        assert!(found >= acknowledged, "round {round}: {found} of {acknowledged} groups are there");
        unacknowledged += found - acknowledged;
    }
    println!("{killed} kills: {acknowledged} groups acknowledged, {unacknowledged} more written");
    if let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") {
        let mut table = std::fs::File::options().append(true).create(true).open(path).unwrap();
        // Whatever was lost or written twice has failed the test before.
        writeln!(table, "| embedded log: kill -9 | {rounds} | {killed} | 0 | 0 |").unwrap();
    }

    let mut child = child(dir.path(), Some(100));
    let last = counts(&mut child).last().unwrap();
    assert!(last > acknowledged, "the null control");
    assert!(child.wait().unwrap().success(), "the null control");
    assert_eq!(check(dir.path(), last), last, "the null control");
}

/// A process that appends, until it is killed or has appended so many groups.
fn child(dir: &std::path::Path, groups: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "child_appends_until_killed", "--nocapture"]);
    command.env(DIR, dir).envs(groups.map(|groups| (GROUPS, groups.to_string())));
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// How many groups it has acknowledged, each time that it says so, until it is gone.
fn counts(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.filter_map(|line| Some(line.strip_prefix("acknowledged ")?.parse().unwrap()))
}

/// The outputs are trimmed up to every so many of them.
const TRIM_EVERY: u64 = 7;

/// Opens the log and returns how many groups are there, each of them whole. Of what was trimmed
/// nothing is back, and above it nothing is missing.
fn check(dir: &std::path::Path, acknowledged: u64) -> u64 {
    let runtime = runtime();
    let log = open(dir);
    let read = |partition| {
        let at = TopicPartition::new("t", partition);
        let bounds = runtime.block_on(log.bounds(&at)).unwrap();
        let read = runtime.block_on(log.read(&at, 0, usize::MAX, usize::MAX)).unwrap();
        assert_eq!(read.len() as u64, bounds.end - bounds.start);
        for (n, record) in (bounds.start..).zip(&read) {
            assert_eq!(record.value, Some(value(n)), "record {n} of {at}");
        }
        (bounds.start, bounds.end)
    };
    let ((_, inputs), (start, outputs)) = (read(0), read(1));
    let trimmed = acknowledged.saturating_sub(1) / TRIM_EVERY * TRIM_EVERY;
    assert!(start >= trimmed, "outputs begin at {start}, trimmed to {trimmed}");
    assert_eq!(start % TRIM_EVERY, 0, "a trim is there as a whole");
    let input = TopicPartition::new("t", 0);
    let committed = runtime.block_on(log.claim("g", &input)).unwrap().committed;
    assert_eq!(committed.map_or(0, |c| c.offset), outputs, "outputs and position together");
    assert!(inputs == outputs || inputs == outputs + 1, "{inputs} inputs, {outputs} outputs");
    outputs
}

/// Run by the test above in a process of its own; by itself it does nothing.
#[test]
#[ignore = "the child of another test"]
fn child_appends_until_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = runtime();
    let log = open(dir.as_ref());
    let input = TopicPartition::new("t", 0);
    let mut owned = runtime.block_on(log.claim("g", &input)).unwrap().partition;
    let groups = std::env::var(GROUPS).map_or(u64::MAX, |groups| groups.parse().unwrap());
    for _ in 0..groups {
        let of = |partition| TopicPartition::new("t", partition);
        let outputs = runtime.block_on(log.bounds(&of(1))).unwrap().end;
        let inputs = runtime.block_on(log.bounds(&of(0))).unwrap().end;
        let append = |partition, n| Append {
            to: of(partition),
            key: None,
            value: Some(value(n)),
            headers: vec![],
            timestamp_ms: None,
        };
        if inputs == outputs {
            runtime.block_on(log.append(vec![append(0, inputs)])).unwrap();
        }
        let position = Committed { offset: outputs + 1, metadata: "token".to_owned() };
        runtime.block_on(owned.commit([append(1, outputs)].into(), position)).unwrap();
        if outputs.is_multiple_of(TRIM_EVERY) {
            runtime.block_on(log.trim(&of(1), outputs)).unwrap();
        }
        println!("acknowledged {}", outputs + 1);
    }
    runtime.block_on(log.close()).unwrap();
}

/// Small buffers, so that flushes and new WALs are part of it.
fn open(dir: &std::path::Path) -> Arc<EmbeddedLog> {
    let options = EmbeddedOptions { write_buffer_bytes: 128 << 10, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(dir, options).unwrap();
    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, compacted: false };
    runtime().block_on(log.ensure_topics(&[spec])).unwrap();
    log
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Of various sizes, and known from the number.
fn value(n: u64) -> Bytes {
    let size = usize::try_from(n % 700).unwrap();
    Bytes::from(format!("{n} {}", "x".repeat(size)))
}
