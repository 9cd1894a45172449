//! Seeds that judge a mutant of the driver (`scripts/mutants.sh`), each of which is a build and a run. Empty without
//! the feature: `make sim` runs a hundred times as many.

#![cfg(feature = "mutants")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

use tickfold_sim::{Plan, run};

#[test]
fn seeds_hold() {
    for seed in 0..300 {
        if let Some(broke) = run(&Plan::seed(seed), None, None).broke {
            panic!("seed {seed}: {broke}");
        }
    }
}
