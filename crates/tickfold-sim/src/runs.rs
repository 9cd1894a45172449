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

/// How the laws begin that see that something is missing.
const LOST: [&str; 3] = ["outputs lost", "a webhook that is not in raw", "a status told nowhere"];

/// And those that see something once too often.
const TWICE: [&str; 4] =
    ["outputs twice", "an action twice", "a row twice of one raw record", "a status in "];

/// What came of seeds.
#[derive(Debug, Default)]
struct Tally {
    /// Of each fault and of whatever else happened.
    of: BTreeMap<&'static str, Count>,
    /// In which a fault landed, in which something was lost, in which something came twice.
    worlds: Count,
    steps: u64,
    outputs: u64,
    failing: Vec<u64>,
    /// Over the hashes of all, in order: the same seeds on another commit are the same runs.
    hash: u64,
}

/// Counts of one thing.
#[derive(Debug, Default)]
struct Count {
    attempted: u64,
    /// Seeds in which it landed.
    seeds: u64,
    landed: u64,
    /// Seeds in which it landed, and something was lost.
    lost: u64,
    /// And in which something came twice.
    twice: u64,
}

impl Count {
    fn add(&mut self, landed: u64, broke: Option<&str>) {
        let is_of =
            |laws: &[&str]| broke.is_some_and(|text| laws.iter().any(|law| text.starts_with(law)));
        self.seeds += 1;
        self.landed += landed;
        self.lost += u64::from(is_of(&LOST));
        self.twice += u64::from(is_of(&TWICE));
    }

    fn row(&self, what: &str) -> String {
        let Self { attempted, landed, lost, twice, .. } = self;
        format!("| {what} | {attempted} | {landed} | {lost} | {twice} |")
    }
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome, is_same: bool) {
        let Outcome { broke, attempted, landed, hash, steps, outputs } = outcome;
        let is_hit = Fault::ALL.iter().any(|fault| landed.contains_key(fault.word()));
        self.worlds.attempted += 1;
        self.worlds.add(u64::from(is_hit), broke.as_deref());
        for (what, times) in attempted {
            self.of.entry(what).or_default().attempted += times;
        }
        for (what, times) in landed {
            self.of.entry(what).or_default().add(times, broke.as_deref());
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

    /// Rows of a soak: of all worlds, of each fault, and of what else happened, which nothing aims at.
    fn rows(&self, from: u64) -> Vec<String> {
        let last = from + self.worlds.attempted.saturating_sub(1);
        let mut rows = vec![self.worlds.row(&format!("simulated worlds, seeds {from} to {last}"))];
        rows.extend(self.of.iter().map(|(what, count)| {
            let of = if is_fault(what) { "simulation" } else { "simulation, seen" };
            count.row(&format!("{of}: {what}"))
        }));
        rows
    }

    /// Faults that never had an effect.
    fn without_effect(&self) -> Vec<&'static str> {
        let words = Fault::ALL.iter().map(|fault| fault.word());
        words.filter(|word| self.of.get(word).is_none_or(|count| count.landed == 0)).collect()
    }

    /// Adds rows to the table of a soak, if this is one.
    fn append_to_soak_table(&self, from: u64) -> Result<()> {
        let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") else { return Ok(()) };
        let file = std::fs::File::options().append(true).create(true).open(path);
        let mut file = file.context("open the table of the soak")?;
        for row in self.rows(from) {
            writeln!(file, "{row}")?;
        }
        Ok(())
    }
}

fn is_fault(what: &str) -> bool {
    Fault::ALL.iter().any(|fault| fault.word() == what)
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
    println!("{:40} {:>11} {:>9} {:>11}", "what happened", "attempted", "in seeds", "landed");
    for (what, Count { attempted, seeds, landed, .. }) in &tally.of {
        let attempted = if is_fault(what) { attempted.to_string() } else { String::new() };
        println!("{what:40} {attempted:>11} {seeds:>9} {landed:>11}");
    }
    let Tally { steps, outputs, hash, failing, .. } = &tally;
    println!(
        "{}: {steps} steps, {outputs} outputs, hash {hash:016x}",
        how_far(seeds, failing.len())
    );
    tally.append_to_soak_table(from)?;
    if let Some(seed) = failing.first() {
        let small = minimise(&plan(*seed), None, 1_000);
        println!("{REPLAY} {small}");
        bail!("{} of {seeds} seeds fail", failing.len());
    }
    let missing = tally.without_effect();
    if !is_calm && seeds >= PART && !missing.is_empty() {
        bail!("faults that never had an effect: {}", missing.join(", "));
    }
    if is_calm && !tally.of.keys().all(|what| HAPPENS_IN_PEACE.contains(what)) {
        bail!("the null control met a fault");
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(broke: &str, attempted: u64, landed: u64) -> Outcome {
        let of = |times: u64| (times > 0).then_some(("kill", times)).into_iter().collect();
        let broke = (!broke.is_empty()).then(|| broke.to_owned());
        Outcome { broke, attempted: of(attempted), landed: of(landed), ..Outcome::default() }
    }

    #[test]
    fn rows_say_what_was_attempted_what_landed_and_what_the_laws_saw() {
        let mut tally = Tally::default();
        tally.add(7, outcome("", 5, 2), true);
        tally.add(8, outcome("outputs lost: topic 1", 1, 1), true);
        tally.add(9, outcome("a status in 2 partitions: x", 1, 1), true);
        tally.add(10, outcome("an action twice: x", 1, 0), true);
        tally.add(11, outcome("does not come to rest: x", 0, 0), true);
        tally.of.entry("claimed").or_default().add(3, None);
        let rows = [
            "| simulated worlds, seeds 7 to 11 | 5 | 3 | 1 | 2 |",
            "| simulation, seen: claimed | 0 | 3 | 0 | 0 |",
            "| simulation: kill | 8 | 4 | 1 | 1 |",
        ];
        assert_eq!(tally.rows(7), rows);
        assert_eq!(tally.failing, [8, 9, 10, 11]);
    }

    #[test]
    fn a_fault_that_is_only_attempted_is_missing() {
        let mut tally = Tally::default();
        let is_missing = |tally: &Tally| tally.without_effect().contains(&"kill");
        tally.add(0, outcome("", 1, 0), true);
        assert!(is_missing(&tally));
        tally.add(1, outcome("", 1, 1), true);
        assert!(!is_missing(&tally));
    }
}
