//! Runs seeds, replays a plan with its trace, makes a failing one smaller, and hunts planted bugs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the tool of developers")]
#![allow(clippy::expect_used, reason = "a simulation that is wrong about its world should fail")]

mod cores;
mod hunt;
mod kept;
mod runs;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tickfold_sim::{Plan, Planted, minimise, run};

/// As in the binary: a fifth of a run was the system's allocator.
#[global_allocator]
static ALLOCATOR: jemallocator::Jemalloc = jemallocator::Jemalloc;

/// What the tool does, for whoever asks.
const HELP: &str = "\
tickfold-sim: deterministic simulation of the processor

  tickfold-sim run [--from N] [--seeds N]     run seeds, telling now and then how far it is; a failing one
                                              is made smaller and printed
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
    // Asked for behind a command, it must not start a run of minutes.
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    match command.as_str() {
        "run" | "calm" => {
            let from = option(&arguments, "--from")?.unwrap_or(0);
            let seeds = option(&arguments, "--seeds")?.unwrap_or(20_000);
            runs::run_seeds(from, seeds, command == "calm")
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
