//! The start table of the design, row by row: each test makes the situation on the mem adapters,
//! starts a driver, and looks at what it did.

use bytes::Bytes;
use tickfold_core::FOLD_VERSION;
use tickfold_log::{Append, TopicPartition};
use tickfold_processor::driver::{Input, Lost, Progress, RawDamage, Refusal};
use tickfold_processor::{Options, Token};
use tickfold_store::{StoreHead, Stores};

use crate::workload::{PARTITION, PARTITIONS, append_tick, append_webhook, status};
use crate::world::{End, Executed, Rest, World};

const WORDS: [&str; 6] = ["sent", "delivered", "read", "failed", "sent", "read"];

/// A world in which process 0 has folded and committed six records, one batch each, and stopped.
/// `options` are those of the processes.
pub(crate) fn folded_with(options: &Options) -> World {
    let mut world = World::new(2, options);
    world.start(0);
    assert_eq!(world.settle(0), Rest::Idle { until: None });
    for (n, word) in WORDS.into_iter().enumerate() {
        world.pass(100);
        append_webhook(&world.log, &status(n as u64 % 2, word, 1_795_132_700));
        assert_eq!(world.settle(0), Rest::Idle { until: None });
    }
    world.crash(0);
    assert_eq!((world.emitted(), world.cursor(0)), (6, 6));
    world.trace.clear();
    world
}

fn folded() -> World {
    folded_with(&Options::default())
}

/// Starts process 0, and expects it to get live with everything equal to the golden fold, also
/// after one more record.
pub(crate) fn gets_live(world: &mut World) -> Result<(), String> {
    match world.start_and_settle(0) {
        Rest::Idle { .. } => {}
        Rest::Ended(end) => return Err(format!("ended: {end:?}")),
    }
    world.equals_golden(0)?;
    append_webhook(&world.log, &status(5, "sent", 1_795_132_800));
    match world.settle(0) {
        Rest::Idle { .. } => world.equals_golden(0),
        Rest::Ended(end) => Err(format!("ended: {end:?}")),
    }
}

fn refused(world: &mut World) -> Refusal {
    match world.start_and_settle(0) {
        Rest::Ended(End::Refused(refusal)) => {
            let text = refusal.to_string();
            assert!(text.starts_with(&format!("{}: ", refusal.code())), "{text}");
            refusal
        }
        other => panic!("not refused but {other:?}"),
    }
}

pub(crate) fn rejected(world: &World) -> Vec<String> {
    let rejected = world.processes[0].stores.rejected();
    rejected.into_iter().map(|(_, reason)| reason).collect()
}

fn outputs(world: &World) -> usize {
    let topics = world.log.topics_now().unwrap();
    let derived = topics.iter().filter(|topic| !topic.spec.name.contains("raw"));
    derived.map(|topic| topic.bounds[PARTITION as usize].end as usize).sum()
}

/// Process 0 of a world takes a checkpoint of its store.
pub(crate) fn checkpoint(world: &World) {
    world.processes[0].stores.open(PARTITION).unwrap().checkpoint().unwrap();
}

// ── no E, derived partitions empty ─────────────────────────────────────────────────────────────

#[test]
fn no_e_and_derived_empty_is_a_first_start_that_commits_a_token_before_any_output() {
    let mut world = World::single();
    append_webhook(&world.log, &status(1, "sent", 1_795_132_700));
    world.start(0);
    world.run_to(0, "commit");
    world.execute(0);
    assert_eq!((world.emitted(), outputs(&world)), (0, 0), "the token comes first");
    let token = Token::parse(&world.token()).unwrap();
    assert_eq!((token.partition_count, token.address.as_str()), (PARTITIONS, "http://p0"));
    world.crash(0);
    gets_live(&mut world).unwrap();
}

#[test]
fn a_first_start_on_a_trimmed_log_is_refused_raw_gap() {
    let mut world = World::single();
    append_tick(&world.log);
    append_tick(&world.log);
    world.log.trim_now(&world.raw, 1).unwrap();
    assert!(matches!(refused(&mut world), Refusal::RawGap { start: 1, .. }));
}

#[test]
fn a_first_start_with_an_unreadable_store_puts_it_aside() {
    let mut world = folded();
    let mut new = World::single();
    std::mem::swap(&mut new.processes[0].stores, &mut world.processes[0].stores);
    new.processes[0].stores.corrupt_format(PARTITION);
    new.tolerate_store_at(6);
    gets_live(&mut new).unwrap();
    assert_eq!(rejected(&new), ["unreadable"]);
}

#[test]
fn a_row_that_turns_out_damaged_while_it_is_folded_has_the_next_start_replace_the_store() {
    let mut world = folded();
    checkpoint(&world);
    assert!(matches!(world.start_and_settle(0), Rest::Idle { .. }));
    world.processes[0].stores.garble_messages(PARTITION);
    append_webhook(&world.log, &status(1, "read", 1_795_132_900));
    let ended = world.settle(0);
    assert!(matches!(ended, Rest::Ended(End::Lost(Lost::Store(_)))), "{ended:?}");
    world.crash(0);
    gets_live(&mut world).unwrap();
    assert_eq!(rejected(&world), ["unreadable"]);
}

// ── no E, derived has records ──────────────────────────────────────────────────────────────────

#[test]
fn no_e_and_derived_has_records_goes_on_after_the_greater_of_store_and_highest_source() {
    // The store knows more: the last record was committed without an output.
    let mut world = folded();
    append_webhook(&world.log, &status(1, "read", 1_795_132_900));
    gets_live(&mut world).unwrap();
    world.crash(0);
    world.set_committed(None);
    let before = outputs(&world);
    world.start(0);
    world.run_to(0, "commit");
    world.execute(0);
    assert_eq!(outputs(&world), before);
    assert_eq!(world.emitted(), world.cursor(0));
    world.crash(0);
    gets_live(&mut world).unwrap();

    // The outputs know more: the store is gone.
    let mut world = folded();
    world.processes[0].stores.wipe(PARTITION);
    world.set_committed(None);
    gets_live(&mut world).unwrap();
}

#[test]
fn no_e_nothing_readable_and_no_store_is_refused() {
    let mut world = World::single();
    let foreign = Append {
        to: TopicPartition::new("wa.event.v1", PARTITION),
        key: None,
        value: Some(Bytes::from("x")),
        headers: Vec::new(),
        timestamp_ms: None,
    };
    world.log.append_now(vec![foreign]).unwrap();
    assert_eq!(refused(&mut world), Refusal::NothingReadable);
}

#[test]
fn what_another_owner_did_since_the_claim_is_no_reason_to_refuse() {
    let foreign = |world: &World| {
        let append = Append {
            to: TopicPartition::new("wa.event.v1", PARTITION),
            key: None,
            value: Some(Bytes::from("x")),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        world.log.append_now(vec![append]).unwrap();
    };
    // Process 0 claims, finds no position, and stands still. Process 1 is the owner meanwhile, and of its
    // first transaction the derived topics have records that nobody can read.
    let mut world = World::new(2, &Options::default());
    world.start(0);
    world.run_to(0, "read_last_outputs");
    assert_eq!(world.start_and_settle(1), Rest::Idle { until: None });
    foreign(&world);
    world.trace.clear();
    assert_eq!(world.settle(0), Rest::Idle { until: None }, "{:?}", world.trace);
    assert_eq!(world.trace.iter().filter(|kind| **kind == "claim").count(), 1, "looked again");

    // The same without another owner is a reason, and is looked at twice.
    let mut world = World::single();
    foreign(&world);
    assert_eq!(refused(&mut world), Refusal::NothingReadable);
    assert_eq!(world.trace.iter().filter(|kind| **kind == "claim").count(), 2);
}

// ── E without our token ────────────────────────────────────────────────────────────────────────

#[test]
fn e_without_our_token_is_refused_offset_moved() {
    for metadata in ["", "NaN", "tf1;f=1"] {
        let mut world = folded();
        world.set_committed(Some((3, metadata.to_owned())));
        let moved = Refusal::OffsetMoved { offset: 3, metadata: metadata.to_owned() };
        assert_eq!(refused(&mut world), moved);
        assert_eq!(world.emitted(), 3, "nothing was committed");
        assert!(rejected(&world).is_empty(), "the store stays");
    }
}

/// A version that is not ours.
const OTHER_FOLD: u32 = FOLD_VERSION + 1;

#[test]
fn a_token_of_another_fold_version_is_refused() {
    let mut world = folded();
    let token = world.token().replace(&format!("f={FOLD_VERSION};"), &format!("f={OTHER_FOLD};"));
    world.set_committed(Some((6, token)));
    let refusal = refused(&mut world);
    assert!(matches!(refusal, Refusal::FoldVersion { found: OTHER_FOLD, ours: FOLD_VERSION, .. }));
}

#[test]
fn a_store_of_another_fold_version_is_refused() {
    let mut world = folded();
    let mut store = world.processes[0].stores.open(PARTITION).unwrap();
    let head = StoreHead { fold_version: OTHER_FOLD, ..store.store_head() };
    store.write(6, &tickfold_core::Overlay::default(), head).unwrap();
    drop(store);
    let refusal = refused(&mut world);
    assert!(matches!(refusal, Refusal::FoldVersion { of: "store", found: OTHER_FOLD, .. }));
}

#[test]
fn a_token_of_another_partition_count_is_refused() {
    let mut world = folded();
    let token = world.token().replace("p=2;", "p=8;");
    world.set_committed(Some((6, token)));
    assert!(matches!(refused(&mut world), Refusal::PartitionCount { found: 8, ours: 2 }));
}

// ── E outside B..N, or CRC of raw[E−1] ≠ token ─────────────────────────────────────────────────

#[test]
fn e_above_n_is_refused_raw_damaged_and_the_store_stays_readable() {
    let mut world = folded();
    world.log.clear_partition(&world.raw).unwrap();
    let refusal = refused(&mut world);
    let damage = RawDamage::OutOfBounds { emitted: 6, bounds: tickfold_log::Bounds::default() };
    assert_eq!(refusal, Refusal::RawDamaged(damage));
    assert!(rejected(&world).is_empty());
    assert_eq!(world.cursor(0), 6, "queries stay up");
}

#[test]
fn e_below_b_is_refused_raw_damaged() {
    let mut world = folded();
    let old = world.token();
    append_tick(&world.log);
    append_tick(&world.log);
    world.log.trim_now(&world.raw, 8).unwrap();
    world.set_committed(Some((6, old)));
    let refusal = refused(&mut world);
    assert!(matches!(refusal, Refusal::RawDamaged(RawDamage::OutOfBounds { emitted: 6, .. })));
}

/// Also for the planted bug.
pub(crate) fn last_record_replaced(options: &Options) -> Result<(), String> {
    let mut world = folded_with(options);
    let other = status(9, "read", 1_795_132_700);
    assert!(world.log.replace_record(&world.raw, 5, Some(Bytes::from(other))));
    match world.start_and_settle(0) {
        Rest::Ended(End::Refused(Refusal::RawDamaged(RawDamage::LastReplaced {
            offset: 5,
            ..
        }))) => Ok(()),
        other => Err(format!("not refused but {other:?}")),
    }
}

#[test]
fn another_crc_of_the_last_folded_record_is_refused_raw_damaged() {
    last_record_replaced(&Options::default()).unwrap();
}

// ── S > E, S < B, no or unreadable store, digest ≠ token at E ──────────────────────────────────

/// A store copied over from a machine that was ahead of this log. Also for the planted bug.
pub(crate) fn store_ahead(options: &Options) -> Result<(), String> {
    let fold = |words: &[&str]| {
        let mut world = World::new(1, options);
        for word in words {
            append_webhook(&world.log, &status(1, word, 1_795_132_700));
        }
        world.start(0);
        world.settle(0);
        world.crash(0);
        world
    };
    let ahead = fold(&["sent", "read"]);
    let mut fork = fold(&["sent"]);
    fork.processes[0].stores = ahead.processes[0].stores.clone();
    assert_eq!((fork.emitted(), fork.cursor(0)), (1, 2));
    append_webhook(&fork.log, &status(2, "delivered", 1_795_132_702));
    fork.tolerate_store_at(2);
    gets_live(&mut fork)?;
    match &rejected(&fork)[..] {
        [reason] if reason == "ahead-of-log" => Ok(()),
        other => Err(format!("rejected {other:?}")),
    }
}

#[test]
fn s_above_e_is_replaced() {
    store_ahead(&Options::default()).unwrap();
}

#[test]
fn s_below_b_is_replaced_by_the_newest_checkpoint_or_refused_raw_gap() {
    let mut world = folded();
    checkpoint(&world);
    world.processes[0].stores.lose_last_batches(PARTITION, 3);
    assert_eq!(world.cursor(0), 3);
    world.log.trim_now(&world.raw, 5).unwrap();
    world.start(0);
    world.settle(0);
    assert_eq!((world.cursor(0), world.emitted()), (6, 6));
    assert_eq!(rejected(&world), ["below-raw"]);

    let mut world = folded();
    world.processes[0].stores.lose_last_batches(PARTITION, 3);
    world.log.trim_now(&world.raw, 5).unwrap();
    let refusal = refused(&mut world);
    assert_eq!(refusal, Refusal::RawGap { start: 5, emitted: 6, reason: "below-raw" });
    assert!(rejected(&world).is_empty(), "nothing takes its place, so it stays readable");
}

#[test]
fn a_live_partition_does_not_walk_over_what_raw_has_lost() {
    let mut world = folded();
    gets_live(&mut world).unwrap();
    for word in ["delivered", "read", "failed"] {
        append_webhook(&world.log, &status(5, word, 1_795_132_900));
    }
    world.log.trim_now(&world.raw, 9).unwrap();
    match world.settle(0) {
        Rest::Ended(End::Lost(Lost::Log(reason))) => {
            assert_eq!(reason, "raw was read up to 7 and now begins at 9");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((world.emitted(), world.cursor(0)), (7, 7));
    let refusal = refused(&mut world);
    assert!(
        matches!(refusal, Refusal::RawDamaged(RawDamage::OutOfBounds { emitted: 7, .. })),
        "{refusal}"
    );
}

#[test]
fn offsets_of_raw_need_not_be_dense() {
    let mut world = folded();
    gets_live(&mut world).unwrap();
    append_webhook(&world.log, &status(5, "read", 1_795_132_900));
    world.run_to(0, "read_raw");
    let Executed::Answer(Input::RawRead(Ok(mut records))) = world.execute(0) else {
        panic!("there is a record");
    };
    records[0].offset += 2;
    world.deliver(0, Input::RawRead(Ok(records)));
    assert_eq!(world.outstanding(0), ["read_bounds"]);
    assert!(matches!(world.settle(0), Rest::Idle { .. }));
    assert_eq!((world.emitted(), world.cursor(0)), (10, 10));
}

#[test]
fn no_store_is_folded_from_the_newest_checkpoint_else_from_empty_else_refused_raw_gap() {
    let mut world = folded();
    world.processes[0].stores.wipe(PARTITION);
    gets_live(&mut world).unwrap();
    assert!(!world.trace.contains(&"restore"), "there is none");

    let mut world = folded();
    checkpoint(&world);
    world.processes[0].stores.wipe(PARTITION);
    gets_live(&mut world).unwrap();
    assert!(world.trace.contains(&"restore"));

    let mut world = folded();
    world.processes[0].stores.wipe(PARTITION);
    world.log.trim_now(&world.raw, 1).unwrap();
    assert!(matches!(refused(&mut world), Refusal::RawGap { start: 1, emitted: 6, .. }));
}

#[test]
fn a_checkpoint_above_e_or_below_b_is_not_used() {
    let mut world = World::single();
    world.start(0);
    for n in 0..4 {
        append_webhook(&world.log, &status(n, "sent", 1_795_132_700));
        world.settle(0);
        if n == 0 || n == 3 {
            world.crash(0);
            checkpoint(&world);
            world.start(0);
            world.settle(0);
        }
    }
    world.crash(0);
    // Checkpoints stand at 1 and 4; the position is set back to 3, raw begins at 2.
    let stores = world.processes[0].stores.clone();
    stores.lose_last_batches(PARTITION, 1);
    let digest = stores.view(PARTITION).snapshot().unwrap().unwrap().store_head().digest;
    stores.wipe(PARTITION);
    let crc = world.log.records(&world.raw.topic, PARTITION)[2].crc();
    let token = Token { digest, crc, ..Token::parse(&world.token()).unwrap() };
    world.set_committed(Some((3, token.to_string())));
    world.log.trim_now(&world.raw, 2).unwrap();
    assert!(matches!(refused(&mut world), Refusal::RawGap { start: 2, emitted: 3, .. }));
}

#[test]
fn an_unreadable_store_is_replaced() {
    let mut world = folded();
    world.processes[0].stores.corrupt_format(PARTITION);
    gets_live(&mut world).unwrap();
    assert_eq!(rejected(&world), ["unreadable"]);
}

/// Also for the planted bug.
pub(crate) fn digest_differs_at_e(options: &Options) -> Result<(), String> {
    let mut world = folded_with(options);
    world.processes[0].stores.corrupt_digest(PARTITION);
    gets_live(&mut world)?;
    match &rejected(&world)[..] {
        [reason] if reason == "digest-differs" => Ok(()),
        other => Err(format!("rejected {other:?}")),
    }
}

#[test]
fn another_digest_at_e_is_replaced() {
    digest_differs_at_e(&Options::default()).unwrap();
}

// ── B ≤ S ≤ E ──────────────────────────────────────────────────────────────────────────────────

#[test]
fn s_below_e_is_refolded_silently_committed_once_and_goes_live_at_e() {
    let mut world = folded();
    world.processes[0].stores.lose_last_batches(PARTITION, 4);
    assert_eq!(world.cursor(0), 2);
    let before = outputs(&world);
    world.start(0);
    world.run_to(0, "write_store");
    assert_eq!(world.progress(0), Some(Progress::Restoring { remaining: 4 }));
    world.run_to(0, "wait");
    assert_eq!(outputs(&world), before, "nothing is emitted again");
    assert_eq!(world.trace.iter().filter(|kind| **kind == "commit").count(), 1);
    assert_eq!(world.progress(0), Some(Progress::Live { position: 6 }));
    world.crash(0);
    gets_live(&mut world).unwrap();
}

#[test]
fn s_at_e_commits_a_new_token_that_names_the_new_owner() {
    let mut world = folded();
    assert_eq!(Token::parse(&world.token()).unwrap().address.as_str(), "http://p0");
    assert_eq!(world.start_and_settle(1), Rest::Idle { until: None });
    assert_eq!(Token::parse(&world.token()).unwrap().address.as_str(), "http://p1");
    world.equals_golden(1).unwrap();
}

/// Also for the planted bug.
pub(crate) fn digest_differs_after_refold(options: &Options) -> Result<(), String> {
    let mut world = folded_with(options);
    let stores = world.processes[0].stores.clone();
    stores.lose_last_batches(PARTITION, 4);
    stores.corrupt_digest(PARTITION);
    gets_live(&mut world)?;
    match &rejected(&world)[..] {
        [reason] if reason == "digest-differs" => Ok(()),
        other => Err(format!("rejected {other:?}")),
    }
}

#[test]
fn another_digest_after_refolding_replaces_the_store() {
    digest_differs_after_refold(&Options::default()).unwrap();
}

#[test]
fn checkpoints_whose_refold_gives_another_digest_are_each_tried_once() {
    let mut world = folded();
    let stores = world.processes[0].stores.clone();
    stores.lose_last_batches(PARTITION, 4);
    stores.corrupt_digest(PARTITION);
    checkpoint(&world);
    gets_live(&mut world).unwrap();
    assert_eq!(rejected(&world), ["digest-differs", "digest-differs"]);
    assert_eq!(world.trace.iter().filter(|kind| **kind == "restore").count(), 1);
}

#[test]
fn another_digest_after_refolding_from_nothing_is_refused_raw_damaged() {
    // A record below the last one was replaced behind our back.
    for (store, rejections) in [(false, 0), (true, 1)] {
        let mut world = folded();
        let other = status(9, "read", 1_795_132_700);
        assert!(world.log.replace_record(&world.raw, 2, Some(Bytes::from(other))));
        match store {
            true => world.processes[0].stores.lose_last_batches(PARTITION, 5),
            false => world.processes[0].stores.wipe(PARTITION),
        }
        let refusal = refused(&mut world);
        let differs = RawDamage::DigestDiffers { emitted: 6, found: 0, token: 0 };
        match refusal {
            Refusal::RawDamaged(RawDamage::DigestDiffers { emitted: 6, .. }) => {}
            other => panic!("{other:?} and not {differs:?}"),
        }
        assert_eq!(rejected(&world).len(), rejections);
    }
}

#[test]
fn everything_trimmed_below_e_still_starts_and_keeps_the_crc_in_the_token() {
    let mut world = folded();
    let crc = Token::parse(&world.token()).unwrap().crc;
    world.log.trim_now(&world.raw, 6).unwrap();
    assert_eq!(world.start_and_settle(0), Rest::Idle { until: None });
    assert_eq!(Token::parse(&world.token()).unwrap().crc, crc);
    assert_ne!(crc, 0);
}

// ── errors on the way ──────────────────────────────────────────────────────────────────────────

#[test]
fn a_store_that_cannot_be_created_or_read_loses_the_partition_and_nothing_else() {
    let mut world = folded();
    world.processes[0].stores.wipe(PARTITION);
    world.processes[0].stores.fail_writes(true);
    let rest = world.start_and_settle(0);
    assert!(matches!(rest, Rest::Ended(End::Lost(Lost::Store(_)))), "{rest:?}");
    world.processes[0].stores.fail_writes(false);
    gets_live(&mut world).unwrap();
}

#[test]
fn a_missing_topic_is_refused() {
    let options = Options { topic_prefix: "other".to_owned(), ..Options::default() };
    let mut world = World::new(1, &options);
    world.raw = TopicPartition::new("other.webhook.raw.v1", PARTITION);
    assert!(matches!(refused(&mut world), Refusal::LogUnusable(_)));
}
