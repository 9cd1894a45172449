//! Runs seeds, replays a plan with its trace, makes a failing one smaller, and hunts planted bugs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the tool of developers")]
#![allow(clippy::expect_used, reason = "a simulation that is wrong about its world should fail")]

mod cores;
mod hunt;
mod kept;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tickfold_sim::{Outcome, Plan, Planted, minimise, run};

use crate::cores::on_all_cores;

/// What the tool does, for whoever asks.
const HELP: &str = "\
tickfold-sim: deterministic simulation of the processor

  tickfold-sim run [--from N] [--seeds N]     run seeds; a failing one is made smaller and printed
  tickfold-sim calm [--from N] [--seeds N]    the same without any fault: the null control
  tickfold-sim replay PLAN [--bug NAME]       run a plan and print everything that happens
  tickfold-sim minimise PLAN [--bug NAME]     make a failing plan smaller
  tickfold-sim bugs [--seeds N] [--bug NAME]  every planted bug is caught, and not without its faults;
                                              with --small also what the smallest catching plan needs
  tickfold-sim find \"WHAT, WHAT\"             the first seed in which all of that happens
  tickfold-sim kept                           run the plans of crates/tickfold-sim/seeds

A PLAN is a seed and what is left out of it: 17 --off kill,pause --steps 200 --skip 3,4";

/// The command that replays a plan.
pub(crate) const REPLAY: &str = "cargo run --profile sim -p tickfold-sim -- replay";

/// Seeds of which every so many-th is run twice.
const TWICE_EVERY: u64 = 50;

fn main() -> ExitCode {
    match tool() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tickfold-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tool() -> Result<()> {
    // A run that panics is a failing run, told by its plan.
    std::panic::set_hook(Box::new(|_| ()));
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match command.as_str() {
        "run" | "calm" => {
            let from = option(&arguments, "--from")?.unwrap_or(0);
            let seeds = option(&arguments, "--seeds")?.unwrap_or(20_000);
            run_seeds(from, seeds, command == "calm")
        }
        "replay" => {
            let (plan, bug) = plan_and_bug(&arguments)?;
            let outcome = run(&plan, bug, Some(|line| println!("{line}")));
            println!("plan {plan}: hash {:016x}, {} steps", outcome.hash, outcome.steps);
            println!("landed: {:?}", outcome.landed);
            match outcome.broke {
                Some(text) => bail!("{text}"),
                None => Ok(()),
            }
        }
        "minimise" => {
            let (plan, bug) = plan_and_bug(&arguments)?;
            println!("{}", minimise(&plan, bug, 2_000));
            Ok(())
        }
        "bugs" => {
            let seeds = option(&arguments, "--seeds")?.unwrap_or(2_000);
            let at = arguments.iter().position(|argument| argument == "--bug");
            let only = at.and_then(|at| arguments.get(at + 1)).map(String::as_str);
            hunt::hunt(seeds, only, arguments.iter().any(|argument| argument == "--small"))
        }
        "kept" => kept::run_all(),
        "find" => {
            let wanted: Vec<&str> =
                arguments.first().map_or("", String::as_str).split(", ").collect();
            for seed in 0..option(&arguments, "--seeds")?.unwrap_or(20_000) {
                let landed = run(&Plan::seed(seed), None, None).landed;
                if wanted.iter().all(|what| landed.contains_key(what)) {
                    println!("{seed}");
                    return Ok(());
                }
            }
            bail!("no seed has it")
        }
        _ => {
            println!("{HELP}");
            Ok(())
        }
    }
}

fn option(arguments: &[String], name: &str) -> Result<Option<u64>> {
    let Some(at) = arguments.iter().position(|argument| argument == name) else { return Ok(None) };
    let value = arguments.get(at + 1).with_context(|| format!("{name} has no value"))?;
    value.parse().map(Some).with_context(|| format!("read {name}"))
}

fn plan_and_bug(arguments: &[String]) -> Result<(Plan, Option<Planted>)> {
    let at = arguments.iter().position(|argument| argument == "--bug");
    let bug = match at.and_then(|at| arguments.get(at + 1)) {
        Some(name) => Some(Planted::of_name(name).with_context(|| format!("no bug {name:?}"))?),
        None => None,
    };
    let words = arguments.get(..at.unwrap_or(arguments.len())).unwrap_or_default();
    Ok((words.join(" ").parse()?, bug))
}

fn run_seeds(from: u64, seeds: u64, is_calm: bool) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "how fast it is")]
    let begin = std::time::Instant::now();
    let plan = |seed| if is_calm { Plan::calm(seed) } else { Plan::seed(seed) };
    let outcomes = on_all_cores(
        from..from + seeds,
        |seed| plan(seed).to_string(),
        |seed| {
            let outcome = run(&plan(seed), None, None);
            let is_same =
                !seed.is_multiple_of(TWICE_EVERY) || run(&plan(seed), None, None) == outcome;
            (seed, outcome, is_same)
        },
    );
    let seconds = begin.elapsed().as_secs_f64();
    let mut landed: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let (mut steps, mut outputs, mut failing) = (0, 0, Vec::new());
    for (seed, outcome, is_same) in &outcomes {
        let Outcome { broke, landed: here, hash: _, steps: of, outputs: due } = outcome;
        for (what, count) in here {
            let (seeds, times) = landed.entry(what).or_default();
            (*seeds, *times) = (*seeds + 1, *times + count);
        }
        (steps, outputs) = (steps + of, outputs + due);
        if let Some(text) = broke {
            failing.push((*seed, text.clone()));
        } else if !is_same {
            failing.push((*seed, "the same seed gives another run".to_owned()));
        }
    }
    println!("{:32} {:>9} {:>11}", "what happened", "in seeds", "times");
    for (what, (seeds, times)) in &landed {
        println!("{what:32} {seeds:>9} {times:>11}");
    }
    let rate = seeds as f64 / seconds * 60.0;
    println!(
        "{seeds} seeds from {from} in {seconds:.1} s, {rate:.0} a minute: {steps} steps, {outputs} \
         outputs, {} failing",
        failing.len()
    );
    append_to_soak_table(&landed, failing.len())?;
    for (seed, text) in failing.iter().take(10) {
        println!("seed {seed}: {text}");
    }
    if let Some((seed, _)) = failing.first() {
        let small = minimise(&plan(*seed), None, 1_000);
        println!("{REPLAY} {small}");
        bail!("{} of {seeds} seeds fail", failing.len());
    }
    if is_calm && !landed.keys().all(|what| HAPPENS_IN_PEACE.contains(what)) {
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

/// Adds the rows to the table of a soak, if this is one.
fn append_to_soak_table(landed: &BTreeMap<&str, (u64, u64)>, failing: usize) -> Result<()> {
    let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") else { return Ok(()) };
    let file = std::fs::File::options().append(true).create(true).open(path);
    let mut file = file.context("open the table of the soak")?;
    for (what, (_, times)) in landed {
        writeln!(file, "| simulation: {what} | {times} | {times} | {failing} | {failing} |")?;
    }
    Ok(())
}
