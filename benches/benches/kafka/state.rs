//! What a program holds of the raw topic, counted by kind, and compared: a program that keeps less
//! has less to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tickfold_store::{RocksOptions, RocksStores, Stores as _};

use crate::programs::{Program, Running, counts};
use crate::progress::Watch;
use crate::raw::Raw;
use crate::{Outcome, PARTITIONS};

/// What a partition goes by: rules, and how long no deadline is judged after a gap in the log. The
/// peer has the built-in rules in its code and judges no deadline, so it has no such row.
const NOT_COMPARED: &str = "regime";

/// How many of each kind, by tickfold's names ([`tickfold_store::Census`]).
type Counts = BTreeMap<String, u64>;

/// Runs a program until it has folded the whole raw topic, also what came while others were
/// measured, and counts what it holds then.
pub(crate) fn settled(program: Program, brokers: &str, raw: &Raw, state: &Path) -> Outcome<Counts> {
    let prefix = program.prefix(raw);
    let watch = Watch::to_the_end(brokers, &program.group(&prefix), raw)?;
    let mut running = Running::start(program, brokers, raw, &prefix, state)?;
    watch.until(1.0, || running.check())?;
    running.stop()?;
    match program {
        Program::Tickfold => of_tickfold(state),
        Program::StreamsLean | Program::StreamsSame => of_streams(state),
    }
}

/// Prints both, and fails if they differ.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
pub(crate) fn compare(ours: &Counts, theirs: &Counts, peer: Program) -> Outcome<()> {
    println!("      state behind all of the raw topic: tickfold, {}", peer.name());
    let kinds: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for kind in kinds {
        let of = |counts: &Counts| counts.get(kind).copied().unwrap_or(0);
        println!("      {kind:32} {:9} {:9}", of(ours), of(theirs));
    }
    if ours.is_empty() {
        return Err("tickfold holds nothing".into());
    }
    if ours == theirs { Ok(()) } else { Err("the states differ".into()) }
}

fn of_tickfold(state: &Path) -> Outcome<Counts> {
    let stores = RocksStores::open(state.join("state"), RocksOptions::default())?;
    let mut counts = Counts::new();
    for partition in 0..PARTITIONS {
        let census = stores.open(partition)?.census()?;
        for (kind, count) in census.into_iter().filter(|(kind, _)| *kind != NOT_COMPARED) {
            *counts.entry(kind.to_owned()).or_default() += count;
        }
    }
    Ok(counts)
}

fn of_streams(state: &Path) -> Outcome<Counts> {
    let text = fs::read_to_string(counts(state))?;
    let lines = text.lines().map(|line| {
        let (kind, count) = line.split_once(' ').ok_or("a count of another form")?;
        Ok((kind.to_owned(), count.parse()?))
    });
    lines.collect()
}
