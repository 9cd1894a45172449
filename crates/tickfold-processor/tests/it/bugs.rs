//! Planted bugs of the start that need what no world of the simulation has: a position, a store or a
//! record that somebody else put there, or two owners without a group. Each is caught by a row of the start table, and with the bug
//! off the same row passes. All others are hunted by `tickfold-sim`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tickfold_processor::{Bug, Options};

use crate::seeds;
use crate::start_table;

/// A row of the start table.
type Row = fn(&Options) -> Result<(), String>;

/// What looks for each bug.
const ROWS: [(Bug, Row); 5] = [
    (Bug::TokenNotChecked, offset_moved),
    (Bug::DigestNotCompared, start_table::digest_differs_after_refold),
    (Bug::DigestNotCompared, start_table::digest_differs_at_e),
    (Bug::StoreAheadAccepted, start_table::store_ahead),
    (Bug::CrcNotCompared, start_table::last_record_replaced),
];

fn offset_moved(options: &Options) -> Result<(), String> {
    let mut world = start_table::folded_with(options);
    world.set_committed(Some((3, String::new())));
    match world.start_and_settle(0) {
        crate::world::Rest::Ended(_) => Ok(()),
        idle @ crate::world::Rest::Idle { .. } => Err(format!("not refused but {idle:?}")),
    }
}

/// Whether a row sees something; a panic counts.
fn sees(row: Row, options: &Options) -> bool {
    !matches!(catch_unwind(AssertUnwindSafe(|| row(options))), Ok(Ok(())))
}

#[test]
fn rows_of_the_start_table_catch_what_is_planted_and_nothing_without_it() {
    for (bug, row) in ROWS {
        assert!(!sees(row, &Options::default()), "the row of {bug:?} fails without it");
        let planted = Options { bug: Some(bug), ..Options::default() };
        assert!(sees(row, &planted), "{bug:?} is not caught");
    }
}

/// In the seeded runs two owners fight without a group, so that one overtakes the other in doubt.
#[test]
fn seeded_runs_catch_what_outlives_a_commit_that_is_not_ours() {
    let fails = |seed: u64, options: &Options| {
        let run = || seeds::run(seed, options, true).map_err(|failure| failure.text);
        !matches!(catch_unwind(AssertUnwindSafe(run)), Ok(Ok(_)))
    };
    let planted = Options { bug: Some(Bug::SecondOutlivesFirst), ..Options::default() };
    let caught = (0..200).find(|seed| fails(*seed, &planted));
    let caught = caught.expect("SecondOutlivesFirst is not caught");
    assert!(!fails(caught, &Options::default()), "TICKFOLD_SEED={caught}");
}
