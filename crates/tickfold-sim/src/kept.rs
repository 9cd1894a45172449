//! Plans that are kept: each a file with a line on what it exercises, the plan, and what has to
//! happen in it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tickfold_sim::{Plan, run};

/// Runs them all, twice each.
pub(crate) fn run_all() -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .context("list the kept plans")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for path in &files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(path).with_context(|| format!("read {name}"))?;
        let line = |word: &str| text.lines().find_map(|line| line.strip_prefix(word));
        let plan: Plan = line("plan: ").with_context(|| format!("{name} has no plan"))?.parse()?;
        let happens = line("happens: ").with_context(|| format!("{name} says not what happens"))?;
        let outcome = run(&plan, None, None);
        ensure!(outcome.broke.is_none(), "{name}: {}", outcome.broke.unwrap_or_default());
        for what in happens.split(", ") {
            ensure!(outcome.landed.contains_key(what), "{name}: {what:?} does not happen any more");
        }
        ensure!(outcome == run(&plan, None, None), "{name}: the same plan gives another run");
        println!("{name:40} {:016x} {} steps", outcome.hash, outcome.steps);
    }
    ensure!(files.len() >= 20, "only {} plans are kept", files.len());
    Ok(())
}
