//! Ways on from refusals: each is looked at first, accepted, started once, and then started as usual.
//! What comes of it is the golden fold, but for what the acceptance said is lost or repeated.

use bytes::Bytes;
use tickfold_core::FOLD_VERSION;
use tickfold_core::records::Topic;
use tickfold_log::Committed;
use tickfold_processor::driver::{Acceptance, Lost, RawDamage, Refusal};
use tickfold_processor::{Options, Token, derived_topic, source_offset};

use crate::oracle::{Difference, Golden};
use crate::start_table::{checkpoint, folded_with, gets_live, rejected};
use crate::workload::{PARTITION, append_tick, append_webhook, status};
use crate::world::{End, Rest, World};

/// Six records are folded and committed. Three more came since.
fn folded() -> World {
    let world = folded_with(&Options::default());
    for n in 0..3 {
        append_webhook(&world.log, &status(n, "delivered", 1_795_132_750));
    }
    world
}

/// The same with the position moved by another tool.
fn moved(to: u64) -> World {
    let world = folded();
    world.set_committed(Some((to, String::new())));
    world
}

fn acceptance(world: &World, offset: u64, anew: bool) -> Acceptance {
    Acceptance { found: world.look(0).committed, offset, anew }
}

/// Starts process 0 as accepted, which ends by itself and emits nothing.
fn recover(world: &mut World, offset: u64, anew: bool) {
    let accepted = acceptance(world, offset, anew);
    let before = outputs_from(world, 0);
    world.trace.clear();
    // Below what is accepted everything counts as emitted.
    world.tolerate_store_at(offset.max(world.cursor(0)));
    world.start_recovering(0, accepted);
    assert_eq!(world.settle(0), Rest::Ended(End::Stopped));
    assert_eq!((world.emitted(), world.cursor(0)), (offset, offset));
    assert!(Token::parse(&world.token()).is_ok(), "{}", world.token());
    assert_eq!(outputs_from(world, 0), before, "nothing is emitted by it");
    assert_eq!(world.trace.iter().filter(|kind| **kind == "commit").count(), 1);
}

/// How many outputs there are of raw records at or above an offset.
fn outputs_from(world: &World, offset: u64) -> usize {
    let of = |topic| world.log.records(&derived_topic("wa", topic), PARTITION);
    let records = Topic::ALL.into_iter().flat_map(of);
    records.filter(|record| source_offset(record).is_some_and(|from| from >= offset)).count()
}

fn lives(world: &mut World) {
    assert!(matches!(world.start_and_settle(0), Rest::Idle { .. }));
    world.crash(0);
}

fn difference(world: &World) -> Difference {
    Golden::of(&world.log)
        .compare_outputs(&world.log)
        .map_or_else(|(found, _)| found, |()| Difference::default())
}

#[test]
fn a_moved_position_goes_on_where_outputs_end_and_loses_and_repeats_nothing() {
    for to in [0, 3, 6, 8] {
        let mut world = moved(to);
        let look = world.look(0);
        assert!(matches!(look.refusal, Some(Refusal::OffsetMoved { offset, .. }) if offset == to));
        assert_eq!((look.emitted(), look.cursor()), (Some(6), Some(6)));
        recover(&mut world, 6, false);
        assert!(rejected(&world).is_empty(), "the state is right");
        gets_live(&mut world).unwrap();
    }
}

#[test]
fn without_a_store_the_outputs_tell_where_they_end() {
    let mut world = moved(3);
    world.processes[0].stores.wipe(PARTITION);
    let emitted = world.look(0).emitted().unwrap();
    // The last records may have had no output; then they have none again.
    assert!((4..=6).contains(&emitted), "{emitted}");
    recover(&mut world, emitted, false);
    gets_live(&mut world).unwrap();
}

#[test]
fn an_offset_below_repeats_the_outputs_from_there_on_and_no_other() {
    let mut world = moved(3);
    let again = outputs_from(&world, 3);
    assert!(again > 0);
    recover(&mut world, 3, false);
    assert_eq!(rejected(&world), ["ahead-of-log"]);
    lives(&mut world);
    assert_eq!(difference(&world), Difference { lost: 0, twice: again });
    assert_eq!(world.emitted(), 9);
}

#[test]
fn an_offset_above_never_tells_what_lies_between_but_the_state_has_it() {
    let mut world = moved(3);
    recover(&mut world, 8, false);
    lives(&mut world);
    let golden = Golden::of(&world.log);
    let (found, _) = golden.compare_outputs(&world.log).unwrap_err();
    assert_eq!(found.twice, 0);
    assert!(found.lost > 0);
    assert_eq!(world.processes[0].stores.dump(PARTITION), golden.dump);
    assert_eq!(outputs_from(&world, 6), outputs_from(&world, 8));
}

#[test]
fn nothing_readable_goes_on_from_the_offset_that_is_given() {
    for offset in [0, 6] {
        let mut world = folded();
        world.processes[0].stores.wipe(PARTITION);
        world.set_committed(None);
        // Retention has taken what the derived topics had.
        for topic in Topic::ALL {
            let place = tickfold_log::TopicPartition::new(derived_topic("wa", topic), PARTITION);
            let end = world.log.bounds_now(&place).unwrap().end;
            world.log.trim_now(&place, end).unwrap();
        }
        let look = world.look(0);
        assert_eq!((look.refusal.clone(), look.emitted()), (Some(Refusal::NothingReadable), None));
        recover(&mut world, offset, false);
        lives(&mut world);
        let golden = Golden::of(&world.log);
        assert_eq!(world.emitted(), 9);
        assert_eq!(world.processes[0].stores.dump(PARTITION), golden.dump);
        let all = golden.outputs();
        let emitted = outputs_from(&world, 0);
        assert!(emitted > 0 && (emitted == all) == (offset == 0), "{emitted} of {all}");
    }
}

#[test]
fn raw_that_is_another_one_is_folded_anew_without_the_state_of_the_old_one() {
    // The last record that was folded is another one; the checkpoint is of the old one.
    let mut world = folded();
    checkpoint(&world);
    let other = status(9, "read", 1_795_132_700);
    assert!(world.log.replace_record(&world.raw, 5, Some(Bytes::from(other))));
    let look = world.look(0);
    let replaced = Refusal::RawDamaged(RawDamage::LastReplaced { offset: 5, found: 0, token: 0 });
    assert_eq!(look.refusal.as_ref().map(Refusal::code), Some(replaced.code()));
    assert_eq!(look.is_last_folded(), Some(false));
    recover(&mut world, 6, true);
    assert_eq!(rejected(&world), ["folded-anew"]);
    assert!(!world.trace.contains(&"restore"));
    lives(&mut world);
    let golden = Golden::of(&world.log);
    assert_eq!(world.processes[0].stores.dump(PARTITION), golden.dump);

    // Raw was emptied and begins anew, below the position.
    let mut world = folded();
    world.log.clear_partition(&world.raw).unwrap();
    append_webhook(&world.log, &status(1, "read", 1_795_132_700));
    let look = world.look(0);
    assert_eq!(look.refusal.as_ref().map(Refusal::code), Some("raw_damaged"));
    recover(&mut world, 1, true);
    lives(&mut world);
    assert_eq!(world.processes[0].stores.dump(PARTITION), Golden::of(&world.log).dump);
}

#[test]
fn a_state_that_raw_does_not_give_is_accepted_as_raw_gives_it() {
    let mut world = folded();
    let other = status(9, "read", 1_795_132_700);
    assert!(world.log.replace_record(&world.raw, 2, Some(Bytes::from(other))));
    world.processes[0].stores.wipe(PARTITION);
    assert_eq!(world.look(0).refusal, None, "only the fold finds it");
    let Rest::Ended(End::Refused(refusal)) = world.start_and_settle(0) else { panic!("starts") };
    assert_eq!(refusal.code(), "raw_damaged");
    recover(&mut world, 6, false);
    lives(&mut world);
    assert_eq!(world.processes[0].stores.dump(PARTITION), Golden::of(&world.log).dump);
}

#[test]
fn a_gap_goes_on_with_a_state_that_begins_where_raw_does() {
    let mut world = folded();
    world.processes[0].stores.wipe(PARTITION);
    world.log.trim_now(&world.raw, 2).unwrap();
    let look = world.look(0);
    assert!(matches!(look.refusal, Some(Refusal::RawGap { start: 2, emitted: 6, .. })));
    assert_eq!(look.emitted(), Some(6));
    let outputs = outputs_from(&world, 0);
    recover(&mut world, 6, true);
    lives(&mut world);
    // The oracle folds what the log has, which begins at 2.
    assert_eq!(world.processes[0].stores.dump(PARTITION), Golden::of(&world.log).dump);
    assert_eq!(outputs_from(&world, 0) - outputs, outputs_from(&world, 6));

    // One that was never started.
    let mut world = World::single();
    append_tick(&world.log);
    append_webhook(&world.log, &status(1, "sent", 1_795_132_700));
    world.log.trim_now(&world.raw, 1).unwrap();
    assert!(matches!(world.look(0).refusal, Some(Refusal::RawGap { start: 1, .. })));
    recover(&mut world, 1, true);
    gets_live(&mut world).unwrap();
}

#[test]
fn no_acceptance_makes_another_fold_version_or_partition_count_right() {
    let version = format!("f={FOLD_VERSION};");
    for (ours, other) in [(version.as_str(), "f=9999;"), ("p=2;", "p=8;")] {
        let mut world = folded();
        let token = world.token().replace(ours, other);
        world.set_committed(Some((6, token.clone())));
        let accepted = acceptance(&world, 6, true);
        world.start_recovering(0, accepted);
        assert!(matches!(world.settle(0), Rest::Ended(End::Refused(_))), "{token}");
        assert_eq!(world.token(), token);
    }
}

#[test]
fn a_position_that_moved_since_it_was_looked_at_is_another_case() {
    let mut world = moved(3);
    let accepted = acceptance(&world, 6, false);
    world.set_committed(Some((4, String::new())));
    world.start_recovering(0, accepted);
    let lost = Lost::NotOwner { found: Some(4), from: Some(3), to: 6 };
    assert_eq!(world.settle(0), Rest::Ended(End::Lost(lost)));
    let found = Committed { offset: 4, metadata: String::new() };
    assert_eq!(world.look(0).committed, Some(found), "nothing was committed");
}
