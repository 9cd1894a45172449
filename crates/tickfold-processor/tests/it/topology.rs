//! The driver, live: records in, derived records out, the clock moved by hand.

use tickfold_log::mem::CommitFault;
use tickfold_processor::driver::{Input, Lost};
use tickfold_processor::{Options, Token};
use tickfold_store::{Checkpoint, Stores};

use crate::workload::{PARTITION, append_tick, append_webhook, broken, status};
use crate::world::{End, Executed, Rest, World};

const TIME: i64 = 1_795_132_700;

fn live(options: &Options) -> World {
    let mut world = World::new(2, options);
    assert_eq!(world.start_and_settle(0), Rest::Idle { until: None });
    world.trace.clear();
    world
}

fn count(world: &World, kind: &str) -> usize {
    world.trace.iter().filter(|executed| **executed == kind).count()
}

fn keys(world: &World, topic: &str) -> Vec<String> {
    let records = world.log.records(topic, PARTITION);
    let keys = records.into_iter().map(|record| record.key.unwrap_or_default());
    keys.map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
}

#[test]
fn a_status_becomes_a_row_and_a_transition_and_moves_the_position() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    assert_eq!(keys(&world, "wa.message.state.v1"), ["wamid.1"]);
    assert_eq!(keys(&world, "wa.transition.v1"), ["wamid.1"]);
    assert_eq!(world.emitted(), 1);
    let token = Token::parse(&world.token()).unwrap();
    let crc = world.log.records(&world.raw.topic, PARTITION)[0].crc();
    assert_eq!(token.crc, crc);
    world.equals_golden(0).unwrap();
}

/// Told to stop while the last write of a refold is under way, it ends: it begins no commit, whose
/// outcome nobody would bring.
#[test]
fn a_stop_during_the_last_write_of_a_refold_ends_the_driver() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.settle(0);
    world.crash(0);
    world.processes[0].stores.lose_last_batches(PARTITION, 1);
    world.start(0);
    world.run_to(0, "write_store");
    let Executed::Answer(written) = world.execute(0) else { panic!("it was to be written") };
    world.stop(0);
    world.deliver(0, written);
    assert_eq!(world.settle(0), Rest::Ended(End::Stopped));
}

#[test]
fn a_broken_body_becomes_a_dead_letter_and_stops_nothing() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &broken());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.settle(0);
    assert_eq!(keys(&world, "wa.dead-letter.v1").len(), 1);
    assert_eq!(keys(&world, "wa.message.state.v1"), ["wamid.1"]);
    world.equals_golden(0).unwrap();
}

#[test]
fn the_log_is_committed_before_the_store_is_written_and_nothing_is_visible_before() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.run_to(0, "commit");
    assert_eq!((world.emitted(), world.cursor(0)), (0, 0));
    assert!(keys(&world, "wa.message.state.v1").is_empty());
    world.run_to(0, "write_store");
    assert_eq!((world.emitted(), world.cursor(0)), (1, 0));
    assert_eq!(keys(&world, "wa.message.state.v1"), ["wamid.1"]);
    world.run_to(0, "wait");
    assert_eq!((world.emitted(), world.cursor(0)), (1, 1));
}

#[test]
fn ticks_are_committed_at_most_every_ten_seconds() {
    let mut world = live(&Options::default());
    world.pass(3_000);
    append_tick(&world.log);
    assert_eq!(world.settle(0), Rest::Idle { until: Some(13_000) });
    world.pass(5_000);
    append_tick(&world.log);
    assert_eq!(world.settle(0), Rest::Idle { until: Some(13_000) }, "counted from the first");
    assert_eq!((world.emitted(), count(&world, "commit")), (0, 0));
    world.pass(4_999);
    assert_eq!(world.settle(0), Rest::Idle { until: Some(13_000) });
    world.pass(1);
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    assert_eq!((world.emitted(), count(&world, "commit")), (2, 1));
    world.equals_golden(0).unwrap();
}

#[test]
fn a_tick_goes_with_the_next_real_batch() {
    let mut world = live(&Options::default());
    append_tick(&world.log);
    world.settle(0);
    world.pass(1_000);
    append_webhook(&world.log, &status(1, "sent", TIME));
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    assert_eq!((world.emitted(), count(&world, "commit")), (2, 1));
    world.equals_golden(0).unwrap();
}

#[test]
fn a_tick_that_fires_a_timer_is_committed_at_once() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.settle(0);
    world.pass(91 * 24 * 3_600_000);
    append_tick(&world.log);
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    assert_eq!(world.emitted(), 2);
    assert_eq!(keys(&world, "wa.message.state.v1").len(), 2, "a tombstone follows");
    world.equals_golden(0).unwrap();
}

#[test]
fn a_webhook_that_changes_nothing_is_committed_at_once() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.settle(0);
    append_webhook(&world.log, &status(1, "sent", TIME));
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    assert_eq!(world.emitted(), 2, "somebody may wait for its position");
}

#[test]
fn what_has_gathered_is_committed_together_up_to_the_record_bound() {
    let mut world = live(&Options { batch_records_max: 4, ..Options::default() });
    for n in 0..10 {
        append_webhook(&world.log, &status(n, "sent", TIME));
    }
    world.settle(0);
    assert_eq!(count(&world, "commit"), 3);
    world.equals_golden(0).unwrap();
}

#[test]
fn the_byte_bound_holds_but_one_record_always_fits() {
    let mut world = live(&Options { batch_bytes_max: 1, ..Options::default() });
    for n in 0..3 {
        append_webhook(&world.log, &status(n, "sent", TIME));
    }
    world.settle(0);
    assert_eq!(count(&world, "commit"), 3);
    world.equals_golden(0).unwrap();
}

#[test]
fn the_output_bound_never_splits_a_record_and_is_never_passed_by_two() {
    // Each of these records has at least two outputs.
    let mut world = live(&Options { batch_outputs_max: 5, ..Options::default() });
    append_tick(&world.log);
    for n in 0..6 {
        append_webhook(&world.log, &status(n, "sent", TIME));
    }
    let derived = |world: &World| {
        let topics = world.log.topics_now().unwrap();
        let derived = topics.iter().filter(|topic| !topic.spec.name.contains("raw"));
        derived.map(|topic| topic.bounds[PARTITION as usize].end).sum::<u64>()
    };
    let mut before = derived(&world);
    let mut batches = Vec::new();
    loop {
        let is_commit = world.next_kind(0) == Some("commit");
        match world.execute(0) {
            Executed::Answer(input) => world.deliver(0, input),
            Executed::Waits { .. } => break,
            Executed::End(end) => panic!("{end:?}"),
        }
        if is_commit {
            batches.push(derived(&world) - before);
            before = derived(&world);
        }
    }
    assert!(batches.iter().all(|outputs| *outputs <= 5), "{batches:?}");
    assert!(batches.len() >= 2, "{batches:?}");
    assert_eq!(count(&world, "read_raw"), 2, "what was read is folded before more is read");
    world.equals_golden(0).unwrap();

    // A single record above the bound is a batch of its own.
    let mut world = live(&Options { batch_outputs_max: 1, ..Options::default() });
    append_webhook(&world.log, &status(1, "sent", TIME));
    append_webhook(&world.log, &status(2, "sent", TIME));
    world.settle(0);
    assert_eq!(count(&world, "commit"), 2);
    world.equals_golden(0).unwrap();
}

#[test]
fn an_aborted_commit_is_sent_again_with_the_same_bytes_after_growing_pauses() {
    let mut world = live(&Options { commit_backoff_ms: 20, ..Options::default() });
    append_webhook(&world.log, &status(1, "sent", TIME));
    for _ in 0..3 {
        world.log.fail_next_commit(CommitFault::Aborted);
    }
    for pause in [20, 40, 80] {
        assert_eq!(world.settle(0), Rest::Idle { until: Some(world.now_ms + pause) });
        append_webhook(&world.log, &status(2, "sent", TIME));
        world.pass(pause);
    }
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    world.equals_golden(0).unwrap();
}

#[test]
fn an_unclear_commit_that_took_effect_is_applied_and_not_sent_again() {
    for fault in [CommitFault::UnclearApplied, CommitFault::UnclearAppliedLate] {
        let mut world = live(&Options::default());
        append_webhook(&world.log, &status(1, "sent", TIME));
        world.log.fail_next_commit(fault);
        world.settle(0);
        assert_eq!((count(&world, "commit"), count(&world, "claim")), (1, 1));
        world.equals_golden(0).unwrap();
    }
}

#[test]
fn an_unclear_commit_that_took_no_effect_is_sent_again() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.log.fail_next_commit(CommitFault::UnclearNotApplied);
    world.settle(0);
    assert_eq!((count(&world, "commit"), count(&world, "claim")), (2, 1));
    world.equals_golden(0).unwrap();
}

#[test]
fn an_unclear_commit_overtaken_by_another_owner_is_dropped() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.log.fail_next_commit(CommitFault::UnclearNotApplied);
    world.run_to(0, "claim");
    assert_eq!(world.start_and_settle(1), Rest::Idle { until: None });
    let rest = world.settle(0);
    assert!(matches!(rest, Rest::Ended(End::Lost(Lost::NotOwner { .. }))), "{rest:?}");
    world.equals_golden(1).unwrap();
}

#[test]
fn a_fenced_owner_drops_its_batch() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.run_to(0, "commit");
    assert_eq!(world.start_and_settle(1), Rest::Idle { until: None });
    assert_eq!(world.settle(0), Rest::Ended(End::Lost(Lost::Fenced)));
    assert_eq!(world.cursor(0), 0);
    world.equals_golden(1).unwrap();
}

#[test]
fn a_store_write_that_fails_after_the_commit_is_made_up_at_the_next_start() {
    let mut world = live(&Options::default());
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.run_to(0, "write_store");
    world.processes[0].stores.fail_writes(true);
    let rest = world.settle(0);
    assert!(matches!(rest, Rest::Ended(End::Lost(Lost::Store(_)))), "{rest:?}");
    world.processes[0].stores.fail_writes(false);
    assert_eq!((world.emitted(), world.cursor(0)), (1, 0));
    assert_eq!(world.start_and_settle(0), Rest::Idle { until: None });
    world.equals_golden(0).unwrap();
}

#[test]
fn a_stop_finishes_the_commit_in_flight_and_the_store_write_and_begins_nothing_new() {
    let mut world = live(&Options { batch_records_max: 1, ..Options::default() });
    append_webhook(&world.log, &status(1, "sent", TIME));
    append_webhook(&world.log, &status(2, "sent", TIME));
    world.run_to(0, "commit");
    world.stop(0);
    assert_eq!(world.settle(0), Rest::Ended(End::Stopped));
    assert_eq!((world.emitted(), world.cursor(0)), (1, 1));

    let mut world = live(&Options::default());
    world.stop(0);
    assert_eq!(world.settle(0), Rest::Ended(End::Stopped));
}

/// A commit of the first record is executed and not answered, and two more records are folded on
/// top of it.
fn with_two_overlays(options: &Options, fault: Option<CommitFault>) -> (World, Input) {
    let mut world = live(options);
    append_webhook(&world.log, &status(1, "sent", TIME));
    world.run_to(0, "commit");
    if let Some(fault) = fault {
        world.log.fail_next_commit(fault);
    }
    let Executed::Answer(outcome) = world.execute(0) else { panic!("a commit answers") };
    append_webhook(&world.log, &status(1, "read", TIME));
    append_webhook(&world.log, &status(2, "sent", TIME));
    while !world.ready(0).is_empty() {
        match world.execute(0) {
            Executed::Answer(input) => world.deliver(0, input),
            other => panic!("{other:?}"),
        }
    }
    assert!(world.has_two_overlays(0));
    (world, outcome)
}

#[test]
fn what_is_folded_on_top_of_a_commit_leaves_as_soon_as_the_store_has_the_first() {
    for fault in [None, Some(CommitFault::UnclearApplied), Some(CommitFault::UnclearNotApplied)] {
        let (mut world, outcome) = with_two_overlays(&Options::default(), fault);
        assert_eq!(count(&world, "commit"), 1);
        let reads = count(&world, "read_raw");
        world.deliver(0, outcome);
        world.run_to(0, "write_store");
        let before = count(&world, "commit");
        world.run_to(0, "commit");
        assert_eq!((world.emitted(), world.cursor(0)), (1, 1), "{fault:?}");
        assert_eq!(count(&world, "read_raw"), reads, "it is folded already");
        // It looks once more, as what was due meanwhile might have been ticks only.
        assert_eq!(world.settle(0), Rest::Idle { until: Some(10_000) });
        assert_eq!((world.emitted(), count(&world, "commit")), (3, before + 1), "{fault:?}");
        world.equals_golden(0).unwrap();
    }
}

#[test]
fn two_overlays_are_dropped_together() {
    let (mut world, outcome) =
        with_two_overlays(&Options::default(), Some(CommitFault::UnclearNotApplied));
    assert_eq!(world.start_and_settle(1), Rest::Idle { until: None });
    world.deliver(0, outcome);
    let rest = world.settle(0);
    assert!(matches!(rest, Rest::Ended(End::Lost(Lost::NotOwner { .. }))), "{rest:?}");
    assert_eq!(world.cursor(0), 0);
    world.equals_golden(1).unwrap();
}

#[test]
fn a_stop_with_two_overlays_finishes_the_first_and_drops_the_second() {
    let (mut world, outcome) = with_two_overlays(&Options::default(), None);
    world.stop(0);
    world.deliver(0, outcome);
    assert_eq!(world.settle(0), Rest::Ended(End::Stopped));
    assert_eq!((world.emitted(), world.cursor(0)), (1, 1));
    assert_eq!(world.start_and_settle(0), Rest::Idle { until: None });
    world.equals_golden(0).unwrap();
}

#[test]
fn what_is_folded_on_top_of_a_commit_keeps_to_the_bounds_of_a_batch() {
    let options = Options { batch_records_max: 2, ..Options::default() };
    let (mut world, outcome) = with_two_overlays(&options, None);
    append_webhook(&world.log, &status(3, "sent", TIME));
    assert!(world.ready(0).is_empty(), "it is full, so nothing more is read");
    world.deliver(0, outcome);
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    assert_eq!((world.emitted(), count(&world, "commit")), (4, 3));
    world.equals_golden(0).unwrap();
}

#[test]
fn checkpoints_are_made_after_a_store_write_and_the_oldest_go() {
    let options =
        Options { checkpoint_interval_ms: Some(1_000), checkpoints_kept: 2, ..Options::default() };
    let mut world = live(&options);
    for n in 1..=4 {
        world.pass(999);
        append_webhook(&world.log, &status(n, "sent", TIME));
        world.settle(0);
        world.pass(1);
        append_webhook(&world.log, &status(n, "read", TIME));
        world.settle(0);
        assert_eq!(count(&world, "checkpoint"), n as usize);
    }
    let stores = &world.processes[0].stores;
    let cursors = |found: Vec<Checkpoint>| found.iter().map(|c| c.head.cursor).collect::<Vec<_>>();
    assert_eq!(cursors(stores.checkpoints(PARTITION).unwrap()), [8, 6]);

    // One that fails is tried again an interval later, and stops nothing.
    world.pass(1_000);
    append_webhook(&world.log, &status(1, "failed", TIME));
    world.run_to(0, "checkpoint");
    world.processes[0].stores.fail_writes(true);
    world.settle(0);
    world.processes[0].stores.fail_writes(false);
    assert_eq!(world.emitted(), 9);
    world.pass(1_000);
    append_webhook(&world.log, &status(2, "failed", TIME));
    world.settle(0);
    let stores = &world.processes[0].stores;
    assert_eq!(cursors(stores.checkpoints(PARTITION).unwrap()), [10, 8]);
    world.equals_golden(0).unwrap();
}

#[test]
fn a_checkpoint_that_is_asked_for_is_made_between_two_batches() {
    let options = Options { checkpoint_interval_ms: Some(3_600_000), ..Options::default() };
    let mut world = World::new(1, &options);
    let checkpoints = |world: &World| {
        let found = world.processes[0].stores.checkpoints(PARTITION).unwrap();
        found.into_iter().map(|found| found.head.cursor).collect::<Vec<_>>()
    };
    // Before it is live it makes none, and goes on.
    world.start(0);
    world.deliver(0, Input::CheckpointAsked);
    world.settle(0);
    append_webhook(&world.log, &status(1, "sent", 1_795_132_700));
    world.settle(0);
    assert_eq!(checkpoints(&world), [0; 0]);
    // At rest, at once.
    world.deliver(0, Input::CheckpointAsked);
    world.settle(0);
    assert_eq!(checkpoints(&world), [1]);
    // While a commit is under way, behind its store write and before the next batch.
    append_webhook(&world.log, &status(1, "delivered", 1_795_132_701));
    world.run_to(0, "commit");
    world.deliver(0, Input::CheckpointAsked);
    append_webhook(&world.log, &status(1, "read", 1_795_132_702));
    world.settle(0);
    assert_eq!(checkpoints(&world), [2, 1]);
    world.equals_golden(0).unwrap();
    // Asked once, made once.
    assert_eq!(world.trace.iter().filter(|kind| **kind == "checkpoint").count(), 2);
}
