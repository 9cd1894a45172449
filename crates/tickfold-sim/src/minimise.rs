//! Makes a failing plan smaller as long as it fails in the same way: faults, steps and webhooks are
//! left out one after the other.

use crate::bug::Planted;
use crate::plan::{Fault, Plan};
use crate::run;

/// The smallest plan that was found, within so many runs.
pub fn minimise(plan: &Plan, bug: Option<Planted>, runs_max: usize) -> Plan {
    let mut left = runs_max;
    let mut best = plan.clone();
    let way = |plan: &Plan| run(plan, bug, None).broke.map(|text| way(&text));
    let same = way(plan);
    let mut fails = |plan: &Plan| {
        left = left.saturating_sub(1);
        left > 0 && way(plan) == same
    };
    // Steps first: everything after is quicker then.
    let mut steps = plan.swarm().steps;
    let mut by = steps / 2;
    while by > 0 {
        let shorter = Plan { steps: Some(steps - by), ..best.clone() };
        if fails(&shorter) {
            (steps, best) = (steps - by, shorter);
        } else {
            by /= 2;
        }
        by = by.min(steps / 2);
    }
    for fault in Fault::ALL {
        let calmer = Plan { off: best.off.with(*fault), ..best.clone() };
        if fails(&calmer) {
            best = calmer;
        }
    }
    for webhook in 1..=plan.swarm().webhooks {
        let mut fewer = best.clone();
        fewer.skip.insert(webhook);
        if fails(&fewer) {
            best = fewer;
        }
    }
    best
}

/// What went wrong, whatever the numbers: the beginning of the text without them.
fn way(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_digit()).take(20).collect()
}
