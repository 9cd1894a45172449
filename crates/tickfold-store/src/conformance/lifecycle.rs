//! Promises of the stores as such: opening, setting aside, checkpoints.

use super::model::{Model, random_batch};
use super::random::Random;
use super::{Disk, at, write};
use crate::{Checkpoint, Error, PartitionStore, StoreHead};

/// Some batches, and what they make.
fn fill(store: &mut dyn PartitionStore, seed: u64) -> (StoreHead, Model) {
    let (mut random, mut model) = (Random::new(seed), Model::default());
    for _ in 0..30 {
        let overlay = random_batch(&mut random, store);
        write(store, 1, &overlay);
        model.apply(&overlay);
    }
    (store.store_head(), model)
}

pub fn partitions_do_not_share_anything(disk: &dyn Disk) {
    let stores = disk.stores();
    let (mut one, mut other) = (stores.open(1).unwrap(), stores.open(2).unwrap());
    let (head_one, model_one) = fill(&mut *one, 1);
    assert_eq!(other.store_head(), StoreHead::EMPTY);
    let (_, model_other) = fill(&mut *other, 2);
    model_one.check_store(&*one, "one");
    model_other.check_store(&*other, "other");
    drop(other);
    stores.reject(2, "test").unwrap();
    assert_eq!(one.store_head(), head_one);
    model_one.check_store(&*one, "one, with the other gone");
}

pub fn there_is_one_writer(disk: &dyn Disk) {
    let stores = disk.stores();
    let store = stores.open(0).unwrap();
    assert!(matches!(stores.open(0).unwrap_err(), Error::Io { .. }));
    assert!(matches!(stores.reject(0, "test").unwrap_err(), Error::Io { .. }));
    drop(store);
    drop(stores.open(0).unwrap());
    stores.open(0).unwrap();
}

pub fn a_reopened_store_has_everything(disk: &dyn Disk) {
    let stores = disk.stores();
    let (head, model) = fill(&mut *stores.open(0).unwrap(), 3);
    // Another writer of the same process, then another process.
    let store = stores.open(0).unwrap();
    assert_eq!(store.store_head(), head);
    model.check_store(&*store, "reopened");
    drop(store);
    drop(stores);
    let stores = disk.stores();
    let view = stores.view(0);
    let store = stores.open(0).unwrap();
    assert_eq!(store.store_head(), head);
    model.check_store(&*store, "opened by another process");
    model.check_snapshot(&*view.snapshot().unwrap().unwrap(), "opened by another process");
    assert_eq!(*view.cursor().borrow(), head.cursor);
}

pub fn a_rejected_store_is_out_of_the_way(disk: &dyn Disk) {
    let stores = disk.stores();
    stores.reject(0, "never-there").unwrap();
    let view = stores.view(0);
    for _ in 0..2 {
        let mut store = stores.open(0).unwrap();
        assert_eq!(store.store_head(), StoreHead::EMPTY);
        assert_eq!(*view.cursor().borrow(), 0);
        fill(&mut *store, 4);
        drop(store);
        stores.reject(0, "digest").unwrap();
        assert!(view.snapshot().unwrap().is_none(), "a rejected store is served");
    }
    assert_eq!(stores.open(0).unwrap().store_head(), StoreHead::EMPTY);
}

pub fn a_restored_checkpoint_is_the_store_it_was_made_of(disk: &dyn Disk) {
    let stores = disk.stores();
    assert_eq!(stores.checkpoints(0).unwrap(), []);
    let mut store = stores.open(0).unwrap();
    let (head, model) = fill(&mut *store, 5);
    let old = store.checkpoint().unwrap();
    assert_eq!(old.head, head);
    assert_eq!(store.checkpoint().unwrap(), old, "made once");
    fill(&mut *store, 6);
    let new = store.checkpoint().unwrap();
    fill(&mut *store, 7);
    drop(store);
    drop(stores);

    let stores = disk.stores();
    assert_eq!(stores.checkpoints(0).unwrap(), [new, old.clone()]);
    assert_eq!(stores.checkpoints(1).unwrap(), []);
    // Twice, since a restored store that is written must leave its checkpoint alone.
    for _ in 0..2 {
        stores.open(0).map(drop).unwrap();
        stores.reject(0, "test").unwrap();
        stores.restore(0, &old).unwrap();
        assert!(stores.view(0).snapshot().unwrap().is_none(), "served before it was opened");
        let mut store = stores.open(0).unwrap();
        assert_eq!(store.store_head(), head);
        model.check_store(&*store, "restored");
        model.check_snapshot(&*stores.view(0).snapshot().unwrap().unwrap(), "restored");
        fill(&mut *store, 8);
    }
}

pub fn a_restore_does_not_overwrite(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let checkpoint = store.checkpoint().unwrap();
    let head = write(&mut *store, 1, &at(1));
    assert!(stores.restore(0, &checkpoint).is_err());
    drop(store);
    assert!(stores.restore(0, &checkpoint).is_err());
    assert_eq!(stores.open(0).unwrap().store_head(), head);
    stores.reject(0, "test").unwrap();
    let unknown = Checkpoint { id: "../0".to_owned(), ..checkpoint };
    assert!(stores.restore(0, &unknown).is_err());
}

pub fn a_removed_checkpoint_is_gone_and_the_others_stay(disk: &dyn Disk) {
    let stores = disk.stores();
    let (mut one, mut other) = (stores.open(0).unwrap(), stores.open(1).unwrap());
    let (head, model) = fill(&mut *one, 9);
    let old = one.checkpoint().unwrap();
    fill(&mut *one, 10);
    let new = one.checkpoint().unwrap();
    fill(&mut *other, 9);
    let others = other.checkpoint().unwrap();
    assert_eq!(others.id, old.id, "another partition's of the same name");
    drop((one, other));
    // A store that came from it keeps what it shares with it.
    stores.reject(0, "test").unwrap();
    stores.restore(0, &old).unwrap();
    stores.remove_checkpoint(0, &old).unwrap();
    stores.remove_checkpoint(0, &old).unwrap();
    stores.remove_checkpoint(0, &Checkpoint { id: "../1".to_owned(), ..old }).unwrap();
    assert_eq!(stores.checkpoints(0).unwrap(), std::slice::from_ref(&new));
    assert_eq!(stores.checkpoints(1).unwrap(), std::slice::from_ref(&others));
    let store = stores.open(0).unwrap();
    assert_eq!(store.store_head(), head);
    model.check_store(&*store, "restored from a checkpoint that is gone");
    drop(store);
    drop(stores);
    let stores = disk.stores();
    assert_eq!(stores.checkpoints(0).unwrap(), [new]);
    assert_eq!(stores.checkpoints(1).unwrap(), [others]);
    stores.reject(0, "test").unwrap();
    assert!(stores.restore(0, &old).is_err());
}
