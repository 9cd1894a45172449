//! Folding without outputs, as replays do it: up to an offset and no further, in batches of any size, and
//! with the rest as time that passes.

use std::collections::BTreeSet;
use std::sync::Arc;

use tickfold_core::ids::Wamid;
use tickfold_log::Log;
use tickfold_processor::{Folded, MutedError, MutedFold, Options, Selection, raw_topic};
use tickfold_store::{MemStores, StoreHead, Stores};

use crate::oracle::{Golden, HERE};
use crate::workload::{PARTITION, append_tick, append_webhook, status};
use crate::world::World;

const RECORDS: u64 = 7;

/// A log with the first so many of seven records, of two messages.
fn log_of(records: u64) -> World {
    let mut world = World::single();
    for n in 0..records {
        world.pass(100);
        match n {
            3 => append_tick(&world.log),
            _ => append_webhook(
                &world.log,
                &status(n % 2, ["sent", "delivered", "read"][n as usize % 3], 1_795_132_700),
            ),
        }
    }
    assert_eq!(world.log.records(&raw_topic("wa"), PARTITION).len() as u64, records);
    world
}

fn muted() -> MutedFold {
    MutedFold::new(HERE, Arc::new(Options::default()))
}

/// Folds up to `until`, and gives what each batch was.
async fn fold(fold: &MutedFold, world: &World, stores: &MemStores, until: u64) -> Vec<Folded> {
    let mut store = stores.open(PARTITION).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = fold.step(&world.log, &world.raw, &mut *store, until).await.unwrap() {
        batches.push(batch);
    }
    batches
}

fn head(stores: &MemStores) -> StoreHead {
    stores.open(PARTITION).unwrap().store_head()
}

#[tokio::test]
async fn what_lies_at_the_end_and_above_is_left_alone() {
    let world = log_of(RECORDS);
    for until in 0..=RECORDS {
        let golden = Golden::of(&log_of(until).log);
        for batch in [1, 2, 3, 100] {
            let stores = MemStores::new();
            let batches = fold(&muted().in_batches_of(batch), &world, &stores, until).await;
            assert_eq!(head(&stores), golden.head, "up to {until} by {batch}");
            assert_eq!(stores.dump(PARTITION), golden.dump, "up to {until} by {batch}");
            let sizes = world.log.records(&raw_topic("wa"), PARTITION);
            let sizes = sizes.iter().take(until as usize).map(|record| record.size_bytes() as u64);
            let sum = batches.iter().fold(Folded::default(), |sum, one| Folded {
                records: sum.records + one.records,
                selected: sum.selected + one.selected,
                bytes: sum.bytes + one.bytes,
            });
            let all = Folded { records: until, selected: until, bytes: sizes.sum() };
            assert_eq!(sum, all, "up to {until} by {batch}");
            assert!(batches.iter().all(|one| one.records <= batch as u64), "{batches:?}");
        }
    }
}

#[tokio::test]
async fn an_end_behind_the_last_record_is_reached() {
    let (world, stores) = (log_of(2), MemStores::new());
    let batches = fold(&muted(), &world, &stores, 9).await;
    assert_eq!(batches.iter().map(|batch| batch.records).collect::<Vec<_>>(), [2, 0]);
    assert_eq!(head(&stores).cursor, 9);
}

#[tokio::test]
async fn what_is_not_selected_is_time_that_passes() {
    let (world, stores) = (log_of(RECORDS), MemStores::new());
    let wamids = BTreeSet::from([Wamid::from("wamid.1")]);
    let one = muted().select(Selection { wamids, ..Selection::default() });
    let batches = fold(&one, &world, &stores, RECORDS).await;
    // Control records are always taken.
    assert_eq!(batches.iter().map(|batch| (batch.records, batch.selected)).max(), Some((7, 3)));
    let store = stores.open(PARTITION).unwrap();
    assert!(store.message(&"wamid.1".into()).unwrap().is_some());
    assert!(store.message(&"wamid.0".into()).unwrap().is_none());
    let all = Golden::of(&world.log).head;
    assert_eq!((store.store_head().cursor, store.store_head().head), (all.cursor, all.head));
}

#[tokio::test]
async fn a_log_that_was_trimmed_above_the_store_is_refused() {
    let (world, stores) = (log_of(RECORDS), MemStores::new());
    fold(&muted(), &world, &stores, 2).await;
    Log::trim(&world.log, &world.raw, 2).await.unwrap();
    fold(&muted(), &world, &stores, 3).await;
    let bounds = Log::trim(&world.log, &world.raw, 5).await.unwrap();
    assert_eq!(bounds.start, 5);
    let mut store = stores.open(PARTITION).unwrap();
    let refused = muted().step(&world.log, &world.raw, &mut *store, RECORDS).await;
    assert!(matches!(refused, Err(MutedError::Trimmed { start: 5, cursor: 3 })), "{refused:?}");
}
