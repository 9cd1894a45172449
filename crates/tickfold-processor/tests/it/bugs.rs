//! Planted bugs: each must be caught, by seeded runs or by a row of the start table, and with the
//! bug off the same check passes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tickfold_processor::{Bug, Options};

use crate::seeds;
use crate::start_table;

/// Seeds within which a bug must be caught.
const SEEDS: u64 = 200;

/// What looks for a bug.
enum Catcher {
    /// Seeded runs.
    Seeds,
    /// A row of the start table.
    Row(&'static str, fn(&Options) -> Result<(), String>),
}

fn catcher(bug: Bug) -> Catcher {
    match bug {
        Bug::StoreBeforeCommit
        | Bug::UnclearIsSuccess
        | Bug::UnclearAlwaysResent
        | Bug::AbortedIsSuccess
        | Bug::FencedIsSuccess
        | Bug::RefoldSkipsOne
        | Bug::RefoldEmits
        | Bug::SecondIgnoresFirst
        | Bug::SecondDigestIgnoresFirst
        | Bug::StoreHasBoth
        | Bug::SecondBeforeFirst
        | Bug::SecondOutlivesFirst
        | Bug::StoreAfterLoss => Catcher::Seeds,
        Bug::TokenNotChecked => Catcher::Row("offset moved", offset_moved),
        Bug::DigestNotCompared => {
            Catcher::Row("digest differs after refold", start_table::digest_differs_after_refold)
        }
        Bug::StoreAheadAccepted => Catcher::Row("store ahead", start_table::store_ahead),
        Bug::CrcNotCompared => {
            Catcher::Row("last record replaced", start_table::last_record_replaced)
        }
    }
}

fn offset_moved(options: &Options) -> Result<(), String> {
    let mut world = start_table::folded_with(options);
    world.set_committed(Some((3, String::new())));
    match world.start_and_settle(0) {
        crate::world::Rest::Ended(_) => Ok(()),
        idle @ crate::world::Rest::Idle { .. } => Err(format!("not refused but {idle:?}")),
    }
}

/// Runs a check; a panic is a catch too.
fn caught<T>(check: impl FnOnce() -> Result<T, String>) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(Ok(_)) => None,
        Ok(Err(text)) => Some(text),
        Err(_) => Some("panicked".to_owned()),
    }
}

#[test]
fn every_planted_bug_is_caught_and_nothing_is_caught_without_it() {
    let sound = Options::default();
    println!("{:24} {:28} what was seen", "bug", "caught by");
    for bug in Bug::ALL {
        let options = Options { bug: Some(bug), ..Options::default() };
        let (by, seen) = match catcher(bug) {
            Catcher::Seeds => {
                let run = |seed, options: &Options| {
                    seeds::run(seed, options, true).map_err(|failure| failure.text)
                };
                let first = (0..SEEDS)
                    .find_map(|seed| caught(|| run(seed, &options)).map(|text| (seed, text)));
                let (seed, text) = first.unwrap_or_else(|| panic!("{bug:?} is not caught"));
                for seed in 0..=seed {
                    assert_eq!(caught(|| run(seed, &sound)), None, "TICKFOLD_SEED={seed}");
                }
                (format!("seed {seed}"), text)
            }
            Catcher::Row(name, row) => {
                let seen = caught(|| row(&options));
                assert_eq!(caught(|| row(&sound)), None, "{name} without a bug");
                (name.to_owned(), seen.unwrap_or_else(|| panic!("{bug:?} is not caught")))
            }
        };
        let seen: String = seen.lines().next().unwrap_or_default().chars().take(90).collect();
        println!("{:24} {by:28} {seen}", format!("{bug:?}"));
    }
}

#[test]
fn the_digest_at_e_is_compared_too() {
    let options = Options { bug: Some(Bug::DigestNotCompared), ..Options::default() };
    assert!(caught(|| start_table::digest_differs_at_e(&options)).is_some());
}

/// Without faults these bugs do not show: it is the faults that find them.
#[test]
fn bugs_that_need_a_fault_are_not_caught_without_one() {
    for bug in [
        Bug::UnclearIsSuccess,
        Bug::UnclearAlwaysResent,
        Bug::AbortedIsSuccess,
        Bug::FencedIsSuccess,
        Bug::SecondBeforeFirst,
        Bug::SecondOutlivesFirst,
    ] {
        let options = Options { bug: Some(bug), ..Options::default() };
        for seed in 0..10 {
            let run = || seeds::run(seed, &options, false).map_err(|failure| failure.text);
            assert_eq!(caught(run), None, "{bug:?}, TICKFOLD_SEED={seed}");
        }
    }
}
