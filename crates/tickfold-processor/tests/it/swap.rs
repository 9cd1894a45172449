//! Another store in the place of the live one: with every outcome of the commit that makes it so, and
//! with a crash at each step.

use bytes::Bytes;
use tickfold_core::fold::Output;
use tickfold_core::records::Topic;
use tickfold_core::time::Timestamp;
use tickfold_log::mem::CommitFault;
use tickfold_processor::driver::{Input, Lost};
use tickfold_processor::{Options, Takeover, Token};
use tickfold_store::Stores;

use crate::start_table::{checkpoint, folded_with};
use crate::workload::{PARTITION, append_tick, append_webhook, status};
use crate::world::{End, Rest, World};

const TIME: i64 = 1_795_132_700;
const TURN: u64 = 300;

/// Process 0 is live, and the store that process 1 has folded is prepared to take the place of its own.
fn prepared(rows: Vec<Output>) -> World {
    prepare(folded_with(&Options::default()), rows)
}

fn prepare(mut world: World, rows: Vec<Output>) -> World {
    world.start_and_settle(1);
    world.crash(1);
    assert_eq!(world.start_and_settle(0), Rest::Idle { until: None });
    let other = world.processes[1].stores.clone();
    let head = world.processes[0].stores.prepare(PARTITION, &other, TURN).unwrap();
    world.takeover = Some(Takeover { rows, head, turn: TURN });
    world.trace.clear();
    world
}

fn row() -> Output {
    Output {
        topic: Topic::MessageState,
        key: "swapped".to_owned(),
        headers: vec![("ce_id", "0-5-2147483648".into())],
        value: Some(Bytes::from_static(b"{}")),
        timestamp: Timestamp::from_millis(5),
        offset: 5,
        ordinal: 1 << 31,
    }
}

fn count(world: &World, kind: &str) -> usize {
    world.trace.iter().filter(|executed| **executed == kind).count()
}

fn succeeded(world: &World) -> u64 {
    world.processes[0].stores.succeeded(PARTITION)
}

fn rows_published(world: &World) -> usize {
    let rows = world.log.records("wa.message.state.v1", PARTITION);
    rows.iter().filter(|row| row.key.as_deref() == Some(b"swapped")).count()
}

/// The same, with two checkpoints of the state that gives way, below where it stands.
fn prepared_with_checkpoints() -> World {
    let options = Options {
        checkpoint_interval_ms: Some(3_600_000),
        checkpoints_kept: 3,
        ..Options::default()
    };
    let mut world = folded_with(&options);
    for n in 7..9 {
        checkpoint(&world);
        world.start_and_settle(0);
        append_webhook(&world.log, &status(n, "sent", TIME));
        world.settle(0);
        world.crash(0);
    }
    let world = prepare(world, vec![row()]);
    assert_eq!(checkpoints(&world), [7, 6]);
    world
}

fn checkpoints(world: &World) -> Vec<u64> {
    let found = world.processes[0].stores.checkpoints(PARTITION).unwrap();
    found.into_iter().map(|found| found.head.cursor).collect()
}

/// It makes a checkpoint of what comes next.
fn asked(world: &mut World, n: u64) {
    append_webhook(&world.log, &status(n, "sent", TIME));
    world.settle(0);
    world.deliver(0, Input::CheckpointAsked);
    world.settle(0);
}

#[test]
fn the_first_checkpoint_of_another_store_takes_the_place_of_those_of_before() {
    let mut world = prepared_with_checkpoints();
    world.deliver(0, Input::SwapAsked);
    world.run_to(0, "checkpoint");
    assert_eq!((succeeded(&world), checkpoints(&world)), (1, vec![7, 6]), "not before it is made");
    world.settle(0);
    assert_eq!(checkpoints(&world), [8]);
    // Those of the new store are kept as ever.
    (9..12).for_each(|n| asked(&mut world, n));
    assert_eq!(checkpoints(&world), [11, 10, 9]);
}

#[test]
fn checkpoints_of_before_stay_until_one_of_the_other_store_is_made() {
    let mut world = prepared_with_checkpoints();
    world.deliver(0, Input::SwapAsked);
    world.run_to(0, "checkpoint");
    world.processes[0].stores.fail_writes(true);
    world.settle(0);
    world.processes[0].stores.fail_writes(false);
    assert_eq!(checkpoints(&world), [7, 6]);
    asked(&mut world, 9);
    assert_eq!(checkpoints(&world), [9]);
}

#[test]
fn a_crash_before_the_first_checkpoint_of_another_store_leaves_it_to_the_start() {
    for before in ["succeed", "checkpoint"] {
        let mut world = prepared_with_checkpoints();
        world.deliver(0, Input::SwapAsked);
        world.run_to(0, before);
        world.crash(0);
        assert_eq!(checkpoints(&world), [7, 6], "{before}");
        assert_eq!(world.start_and_settle(0), Rest::Idle { until: None }, "{before}");
        assert_eq!((succeeded(&world), checkpoints(&world)), (1, vec![8]), "{before}");
    }
}

/// It folds on as if there was no swap.
fn goes_on(world: &mut World) {
    append_webhook(&world.log, &status(7, "sent", TIME));
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    world.equals_golden(0).unwrap();
}

#[test]
fn a_store_takes_over_with_one_commit_that_says_so() {
    let mut world = prepared(Vec::new());
    let before = world.token();
    world.deliver(0, Input::SwapAsked);
    world.settle(0);
    assert_eq!(["stand_still", "commit", "succeed"].map(|kind| count(&world, kind)), [1, 1, 1]);
    assert_eq!((succeeded(&world), world.emitted()), (1, 6));
    let (before, token) = (Token::parse(&before).unwrap(), Token::parse(&world.token()).unwrap());
    assert_eq!(token, Token { swap: Some(44), ..before }, "300, as far as a byte tells");
    goes_on(&mut world);
    assert_eq!(Token::parse(&world.token()).unwrap().swap, None);
}

#[test]
fn one_that_is_let_go_goes_on() {
    let mut world = prepared(Vec::new());
    world.takeover = None;
    world.deliver(0, Input::SwapAsked);
    world.settle(0);
    assert_eq!((count(&world, "stand_still"), count(&world, "commit")), (1, 0));
    goes_on(&mut world);
    assert_eq!(succeeded(&world), 0);
}

#[test]
fn what_was_folded_on_top_is_folded_again_on_the_other_store() {
    let mut world = prepared(Vec::new());
    // Nothing but time: it waits to be committed.
    append_tick(&world.log);
    world.settle(0);
    assert_eq!(world.emitted(), 6);
    world.deliver(0, Input::SwapAsked);
    world.settle(0);
    assert_eq!((succeeded(&world), world.emitted()), (1, 6));
    goes_on(&mut world);
    assert_eq!(world.emitted(), 8);
}

#[test]
fn every_outcome_of_its_commit_is_found_out() {
    for (fault, commits, claims) in [
        (CommitFault::Aborted, 2, 0),
        (CommitFault::UnclearApplied, 1, 1),
        (CommitFault::UnclearAppliedLate, 1, 1),
    ] {
        let mut world = prepared(vec![row()]);
        world.log.fail_next_commit(fault);
        world.deliver(0, Input::SwapAsked);
        while world.settle(0) != (Rest::Idle { until: None }) {
            world.pass(1_000);
        }
        assert_eq!(
            (count(&world, "commit"), count(&world, "claim")),
            (commits, claims),
            "{fault:?}"
        );
        assert_eq!((succeeded(&world), rows_published(&world)), (1, 1), "{fault:?}");
    }
}

/// It may be one that never gets through, and the partition folds nothing meanwhile.
#[test]
fn a_commit_that_does_not_take_effect_is_given_up_and_the_partition_goes_on_as_it_was() {
    for (fault, commits, claims) in
        [(CommitFault::UnclearNotApplied, 1, 1), (CommitFault::Aborted, 6, 0)]
    {
        let mut world = prepared(vec![row()]);
        (0..commits).for_each(|_| world.log.fail_next_commit(fault));
        world.deliver(0, Input::SwapAsked);
        let ended = loop {
            match world.settle(0) {
                Rest::Ended(end) => break end,
                Rest::Idle { .. } => world.pass(1_000),
            }
        };
        assert!(matches!(ended, End::Lost(Lost::SwapUndone(_))), "{fault:?}: {ended:?}");
        assert_eq!(
            (count(&world, "commit"), count(&world, "claim")),
            (commits, claims),
            "{fault:?}"
        );
        assert_eq!((succeeded(&world), rows_published(&world)), (0, 0), "{fault:?}");
        assert_eq!(world.start_and_settle(0), Rest::Idle { until: None }, "{fault:?}");
        goes_on(&mut world);
        assert_eq!((succeeded(&world), rows_published(&world)), (0, 0), "{fault:?}");
    }
}

#[test]
fn an_owner_that_is_fenced_takes_nothing_over() {
    let mut world = prepared(vec![row()]);
    world.deliver(0, Input::SwapAsked);
    world.run_to(0, "commit");
    world.start_and_settle(1);
    assert_eq!(world.settle(0), Rest::Ended(End::Lost(Lost::Fenced)));
    assert_eq!((succeeded(&world), rows_published(&world)), (0, 0));
    world.crash(1);
    assert_eq!(world.start_and_settle(0), Rest::Idle { until: None });
    assert_eq!(succeeded(&world), 0, "the token is of no swap");
    goes_on(&mut world);
}

#[test]
fn a_crash_leaves_the_one_store_or_the_other() {
    // The command that is not executed any more, and whether the commit was.
    for (kind, committed) in [("stand_still", false), ("commit", false), ("succeed", true)] {
        let mut world = prepared(vec![row()]);
        world.deliver(0, Input::SwapAsked);
        world.run_to(0, kind);
        world.crash(0);
        world.trace.clear();
        assert_eq!(world.start_and_settle(0), Rest::Idle { until: None }, "before {kind}");
        let expected = (usize::from(committed), u64::from(committed));
        assert_eq!((rows_published(&world), succeeded(&world)), expected, "before {kind}");
        assert_eq!(count(&world, "look_for_next"), usize::from(committed));
        assert_eq!((count(&world, "reject"), world.cursor(0)), (0, 6), "before {kind}");
        append_webhook(&world.log, &status(7, "sent", TIME));
        assert_eq!(world.settle(0), Rest::Idle { until: None });
        assert_eq!((world.cursor(0), rows_published(&world)), (7, expected.0));
    }
}

#[test]
fn one_of_another_turn_or_digest_does_not_take_over() {
    let mut world = prepared(Vec::new());
    world.deliver(0, Input::SwapAsked);
    world.run_to(0, "succeed");
    world.crash(0);
    let other = world.processes[1].stores.clone();
    world.processes[0].stores.prepare(PARTITION, &other, TURN + 1).unwrap();
    assert_eq!(world.start_and_settle(0), Rest::Idle { until: None });
    assert_eq!((count(&world, "look_for_next"), succeeded(&world)), (1, 0));
    goes_on(&mut world);
}

#[test]
fn one_that_is_told_to_stop_finishes_what_the_log_has() {
    let mut world = prepared(vec![row()]);
    world.deliver(0, Input::SwapAsked);
    world.run_to(0, "succeed");
    world.stop(0);
    assert_eq!(world.settle(0), Rest::Ended(End::Stopped));
    assert_eq!((succeeded(&world), rows_published(&world)), (1, 1));

    let mut world = prepared(vec![row()]);
    world.deliver(0, Input::SwapAsked);
    world.run_to(0, "stand_still");
    world.stop(0);
    assert_eq!(world.settle(0), Rest::Ended(End::Stopped));
    assert_eq!((succeeded(&world), rows_published(&world)), (0, 0));
}
