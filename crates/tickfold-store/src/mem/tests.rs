//! The suite on mem, and that its failures do what they say.

use std::sync::Arc;

use super::*;
use crate::conformance::random::Random;
use crate::conformance::{Disk, run_all, write};
use tickfold_core::overlay::Overlay;

impl Disk for MemStores {
    fn stores(&self) -> Arc<dyn Stores> {
        Arc::new(self.clone())
    }
}

#[test]
fn passes_the_suite() {
    run_all(&|| Box::new(MemStores::new()));
}

fn message(id: &str, seed: u64) -> Overlay {
    let mut overlay = Overlay::default();
    *overlay.messages.entry(&id.into(), |_| Ok(None)).unwrap() = Some(Random::new(seed).message());
    overlay
}

/// A store of as many batches, and its bytes after each.
fn filled(stores: &MemStores, batches: u64) -> Vec<Vec<Row>> {
    let mut store = stores.open(0).unwrap();
    let mut dumps = vec![stores.dump(0)];
    for batch in 0..batches {
        write(&mut *store, 1, &message(&batch.to_string(), batch), &[]);
        dumps.push(stores.dump(0));
    }
    dumps
}

#[test]
fn a_crash_may_lose_the_newest_batches() {
    let stores = MemStores::new();
    let dumps = filled(&stores, 9);
    stores.lose_last_batches(0, 3);
    assert_eq!(stores.dump(0), dumps[6]);
    let store = stores.open(0).unwrap();
    assert_eq!(store.store_head().cursor, 6);
    assert_eq!(store.recompute_digest().unwrap(), store.store_head().digest);
    drop(store);
    // More than there were: a new store, since its first batch is lost too.
    stores.lose_last_batches(0, 99);
    assert_eq!(stores.open(0).unwrap().store_head(), StoreHead::EMPTY);
}

#[test]
fn a_writer_that_a_crash_has_outlived_is_dead() {
    let stores = MemStores::new();
    let mut dead = stores.open(0).unwrap();
    stores.lose_last_batches(0, 0);
    let mut next = stores.open(0).unwrap();
    let to = StoreHead { cursor: 1, ..StoreHead::EMPTY };
    assert!(dead.write(0, &message("m", 1), &[], to).is_err());
    assert!(dead.message(&"m".into()).is_err());
    drop(dead);
    assert!(stores.open(0).is_err(), "the next writer still lives");
    write(&mut *next, 1, &message("m", 1), &[]);
}

#[test]
fn a_failed_write_is_not_there_and_nothing_follows_it() {
    let stores = MemStores::new();
    let mut store = stores.open(0).unwrap();
    let overlay = message("m", 1);
    let to =
        StoreHead { cursor: 1, digest: store.digest_after(&overlay).unwrap(), ..StoreHead::EMPTY };
    stores.fail_writes(true);
    assert!(matches!(store.write(0, &overlay, &[], to), Err(Error::Io { .. })));
    stores.fail_writes(false);
    assert!(matches!(store.write(0, &overlay, &[], to), Err(Error::Io { .. })), "not poisoned");
    assert_eq!(stores.dump(0), []);
    drop(store);
    write(&mut *stores.open(0).unwrap(), 1, &overlay, &[]);
}

#[test]
fn a_digest_that_cannot_be_read_is_an_error() {
    let stores = MemStores::new();
    let store = stores.open(0).unwrap();
    let timers = [(Random::new(1).timer_key(), true)].into();
    let overlay = Overlay { timers, ..Overlay::default() };
    stores.fail_reads(true);
    assert!(store.digest_after(&overlay).is_err());
    assert!(store.message(&"m".into()).is_err());
    assert!(stores.view(0).snapshot().is_err());
    stores.fail_reads(false);
    assert!(store.digest_after(&overlay).is_ok());
}

#[test]
fn a_wiped_store_opens_empty_and_a_changed_digest_shows() {
    let stores = MemStores::new();
    filled(&stores, 2);
    stores.corrupt_digest(0);
    let store = stores.open(0).unwrap();
    assert_ne!(store.recompute_digest().unwrap(), store.store_head().digest);
    drop(store);
    stores.reject(0, "digest").unwrap();
    assert_eq!(stores.rejected(), [(0, "digest".to_owned())]);
    filled(&stores, 2);
    stores.wipe(0);
    assert!(stores.view(0).snapshot().unwrap().is_none());
    assert_eq!(stores.open(0).unwrap().store_head(), StoreHead::EMPTY);
    assert_eq!(stores.rejected().len(), 1);
}

#[test]
fn another_format_is_unreadable() {
    let stores = MemStores::new();
    filled(&stores, 1);
    stores.corrupt_format(0);
    assert!(matches!(stores.open(0), Err(Error::Unreadable { partition: 0, .. })));
    stores.reject(0, "format").unwrap();
    assert_eq!(stores.open(0).unwrap().store_head(), StoreHead::EMPTY);
}
