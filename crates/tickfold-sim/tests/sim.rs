//! The simulation itself: it is deterministic, its null control is one, it sees what is planted, and
//! it makes what it sees smaller. The counts are small; `make sim` runs many.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use tickfold_processor::Bug;
use tickfold_sim::{Fault, Plan, Planted, minimise, run};

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let mut hashes = Vec::new();
    for seed in 0..4 {
        let (first, second) =
            (run(&Plan::seed(seed), None, None), run(&Plan::seed(seed), None, None));
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(first.broke, None, "seed {seed}");
        assert!(first.steps > 100, "seed {seed}");
        hashes.push(first.hash);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 4, "{hashes:?}");
}

#[test]
fn without_faults_none_happens() {
    for seed in 0..4 {
        let outcome = run(&Plan::calm(seed), None, None);
        assert_eq!(outcome.broke, None, "seed {seed}");
        let faults: Vec<_> =
            Fault::ALL.iter().filter(|f| outcome.landed.contains_key(f.word())).collect();
        assert!(faults.is_empty(), "seed {seed}: {faults:?}");
        assert!(outcome.attempted.is_empty(), "seed {seed}: {:?}", outcome.attempted);
        assert_eq!(Plan::calm(seed).faults().count(), 0);
    }
}

#[test]
fn a_planted_bug_is_seen_and_made_smaller() {
    let bug = Some(Planted::Driver(Bug::UnclearIsSuccess));
    let law = bug.and_then(Planted::caught_by).unwrap();
    let is_caught =
        |plan: &Plan| run(plan, bug, None).broke.is_some_and(|text| text.starts_with(law));
    let failing = (0..60).map(Plan::seed).find(is_caught);
    let failing = failing.unwrap_or_else(|| panic!("it is not seen"));
    assert_eq!(run(&failing, None, None).broke, None, "without the bug: {failing}");
    let small = minimise(&failing, bug, 120);
    assert!(is_caught(&small), "{small}");
    let (before, after) = (failing.faults().count(), small.faults().count());
    assert!(after < before, "{before} faults, then {after}: {small}");
    assert_eq!(small.to_string().parse::<Plan>().unwrap(), small);
}
