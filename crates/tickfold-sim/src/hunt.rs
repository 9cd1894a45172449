//! Hunts planted bugs: each is caught within so many seeds, by the law that is named for it; one that
//! needs a fault is not caught on the same seeds without it; and without a bug nothing is caught at all.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use tickfold_sim::{Faults, Plan, Planted, minimise, run};

use crate::cores::on_all_cores;

/// Runs with the faults of a bug switched off are those up to its catch, and so many more.
const BEYOND: u64 = 100;

/// Hunts one or all.
pub(crate) fn hunt(seeds: u64, only: Option<&str>, is_small: bool) -> Result<()> {
    let bugs = Planted::all().into_iter().filter(|bug| only.is_none_or(|name| bug.name() == name));
    let mut missed = Vec::new();
    println!("{:26} {:>6}  {:40} what was seen", "bug", "seed", "needs one of");
    for bug in bugs {
        let name = bug.name();
        let law = bug.caught_by();
        let is_of_law = |text: &str| law.is_some_and(|law| text.starts_with(law));
        // What other laws see of it does not count. A panic is one of the harness, and an end.
        let counts = |text: &str| law.is_none() || is_of_law(text) || text.starts_with("panicked:");
        let Some((seed, text)) = first(seeds, Plan::seed, bug, counts) else {
            if let Some(law) = law {
                missed.push(format!("{name} is not caught within {seeds} seeds by {law:?}"));
            }
            println!(
                "{name:26} {:>6}  {:40} {}",
                "-",
                "",
                bug.other_catcher().unwrap_or("NOTHING")
            );
            continue;
        };
        let needs = bug.needs();
        let words = match needs.len() {
            0..=2 => needs.iter().map(|fault| fault.word()).collect::<Vec<_>>().join(" "),
            many => format!("{many} faults of processes and requests"),
        };
        if !is_of_law(&text) {
            let wanted = law.unwrap_or("no law");
            missed.push(format!("{name} is caught by seed {seed}, not by {wanted:?}: {text}"));
        }
        let text: String = text.chars().take(90).collect();
        println!("{name:26} {seed:>6}  {words:40} {text}");
        if is_small {
            let small = minimise(&Plan::seed(seed), Some(bug), 300);
            let faults = small.faults().map(|fault| fault.word()).collect::<Vec<_>>().join(" ");
            let calm = first(100, Plan::calm, bug, |_| true)
                .map_or_else(|| "no".to_owned(), |(seed, _)| seed.to_string());
            println!("  smallest has: {faults}; calm seed: {calm}");
        }
        if !needs.is_empty() {
            let off: Faults = needs.iter().copied().collect();
            let without = |seed| Plan { off, ..Plan::seed(seed) };
            if let Some((seed, text)) = first(seed + BEYOND, without, bug, |_| true) {
                missed.push(format!("{name} is caught without its faults by seed {seed}: {text}"));
            }
        }
    }
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("\n")) }
}

/// The first seed whose text counts as a catch of a bug, in rounds, so that little is run beyond it.
fn first(
    seeds: u64,
    plan: impl Fn(u64) -> Plan + Sync,
    bug: Planted,
    counts: impl Fn(&str) -> bool + Sync,
) -> Option<(u64, String)> {
    let mut from = 0;
    while from < seeds {
        let until = (from + 16).min(seeds);
        let is_caught = AtomicBool::new(false);
        let with_bug = |seed| format!("{} --bug {}", plan(seed), bug.name());
        let caught = on_all_cores(from..until, with_bug, |seed| {
            // A later one than a catch says nothing new.
            let broke = (!is_caught.load(Ordering::Relaxed))
                .then(|| run(&plan(seed), Some(bug), None).broke)
                .flatten()
                .filter(|text| counts(text));
            if broke.is_some() {
                is_caught.store(true, Ordering::Relaxed);
            }
            broke.map(|text| (seed, text))
        });
        if let Some(first) = caught.into_iter().flatten().next() {
            return Some(first);
        }
        from = until;
    }
    None
}
