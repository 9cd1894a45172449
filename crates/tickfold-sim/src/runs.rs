//! Runs of many seeds, part by part: how far they are, what came of all of them, the rows of a soak.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use tickfold_sim::{Fault, Outcome, Plan, minimise, run};

use crate::REPLAY;
use crate::cores::on_all_cores;

/// After so many seeds it is told how far the run is. Only sums are kept of them: what a million
/// outcomes say one by one takes gigabytes.
const PART: u64 = 5_000;

/// Seeds of which every so many-th is run twice.
const TWICE_EVERY: u64 = 50;

/// Of as many seeds that fail it is said how.
const TOLD_MAX: usize = 10;

/// What came of seeds.
#[derive(Debug, Default)]
struct Tally {
    /// Of each thing that happened: in how many seeds, and how often.
    landed: BTreeMap<&'static str, (u64, u64)>,
    steps: u64,
    outputs: u64,
    failing: Vec<u64>,
    /// Over the hashes of all, in order: the same seeds on another commit are the same runs.
    hash: u64,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome, is_same: bool) {
        let Outcome { broke, landed, hash, steps, outputs } = outcome;
        for (what, count) in landed {
            let (seeds, times) = self.landed.entry(what).or_default();
            (*seeds, *times) = (*seeds + 1, *times + count);
        }
        (self.steps, self.outputs) = (self.steps + steps, self.outputs + outputs as u64);
        self.hash = (self.hash ^ hash).wrapping_mul(0x0000_0100_0000_01b3);
        let other = (!is_same).then(|| "the same seed gives another run".to_owned());
        if let Some(text) = broke.or(other) {
            // At once: a run of hours may be ended before its end.
            if self.failing.len() < TOLD_MAX {
                println!("seed {seed}: {text}");
            }
            self.failing.push(seed);
        }
    }

    /// Adds rows to the table of a soak, if this is one.
    fn append_to_soak_table(&self, from: u64, seeds: u64) -> Result<()> {
        let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") else { return Ok(()) };
        let file = std::fs::File::options().append(true).create(true).open(path);
        let mut file = file.context("open the table of the soak")?;
        let failing = self.failing.len();
        let last = from + seeds.saturating_sub(1);
        let worlds = format!("simulated worlds, seeds {from} to {last}");
        writeln!(file, "| {worlds} | {seeds} | {seeds} | {failing} | {failing} |")?;
        for (what, (_, times)) in &self.landed {
            writeln!(file, "| simulation: {what} | {times} | {times} | {failing} | {failing} |")?;
        }
        Ok(())
    }
}

/// Runs seeds and says what happened; an error if one fails, which is made smaller.
pub(crate) fn run_seeds(from: u64, seeds: u64, is_calm: bool) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "how fast it is")]
    let begin = std::time::Instant::now();
    let plan = |seed| if is_calm { Plan::calm(seed) } else { Plan::seed(seed) };
    let mut tally = Tally::default();
    let mut done = 0;
    let how_far = |done: u64, failing: usize| {
        let seconds = begin.elapsed().as_secs_f64();
        let rate = done as f64 / seconds * 60.0;
        format!("{done} seeds from {from} in {seconds:.1} s, {rate:.0} a minute, {failing} failing")
    };
    while done < seeds {
        let part = from + done..from + seeds.min(done + PART);
        done += part.end - part.start;
        let outcomes = on_all_cores(
            part,
            |seed| plan(seed).to_string(),
            |seed| {
                let outcome = run(&plan(seed), None, None);
                let is_same =
                    !seed.is_multiple_of(TWICE_EVERY) || run(&plan(seed), None, None) == outcome;
                (seed, outcome, is_same)
            },
        );
        for (seed, outcome, is_same) in outcomes {
            tally.add(seed, outcome, is_same);
        }
        if done < seeds {
            eprintln!("{}", how_far(done, tally.failing.len()));
        }
    }
    println!("{:32} {:>9} {:>11}", "what happened", "in seeds", "times");
    for (what, (seeds, times)) in &tally.landed {
        println!("{what:32} {seeds:>9} {times:>11}");
    }
    let Tally { steps, outputs, hash, failing, .. } = &tally;
    println!(
        "{}: {steps} steps, {outputs} outputs, hash {hash:016x}",
        how_far(seeds, failing.len())
    );
    tally.append_to_soak_table(from, seeds)?;
    if let Some(seed) = failing.first() {
        let small = minimise(&plan(*seed), None, 1_000);
        println!("{REPLAY} {small}");
        bail!("{} of {seeds} seeds fail", failing.len());
    }
    let missing: Vec<_> = strikes().filter(|word| !tally.landed.contains_key(word)).collect();
    if !is_calm && seeds >= PART && !missing.is_empty() {
        bail!("faults that never struck: {}", missing.join(", "));
    }
    if is_calm && !tally.landed.keys().all(|what| HAPPENS_IN_PEACE.contains(what)) {
        bail!("the null control met a fault");
    }
    Ok(())
}

/// Faults that strike at a moment; the others are how traffic is.
fn strikes() -> impl Iterator<Item = &'static str> {
    let is_traffic = |fault: &Fault| {
        use Fault::{Broken, Disorder, Duplicates, Redrives, Rules};
        matches!(fault, Duplicates | Disorder | Broken | Rules | Redrives)
    };
    Fault::ALL.iter().filter(move |fault| !is_traffic(fault)).map(|fault| fault.word())
}

/// What happens without any fault.
const HAPPENS_IN_PEACE: [&str; 14] = [
    "claimed",
    "commit done",
    "folded on top of a commit",
    "fallback by deadline",
    // Processes come up one after the other, and the group shares among those that are there. A
    // commit that meets that is aborted and sent again; one that was dropped goes on.
    "commit aborted",
    "revoked",
    "driver stopped",
    "dropped when revoked",
    "orphan committed",
    "orphan failed",
    // A driver whose partition is revoked while its claim or commit is on the way is refused, and its
    // transaction stands open until the next owner comes, or expires.
    "lost: log",
    "lost: fenced",
    "commit fenced",
    "transaction expired",
];
