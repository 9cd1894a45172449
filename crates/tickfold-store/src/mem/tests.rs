//! The suite on mem, and that its failures do what they say.

use std::sync::Arc;

use super::*;
use crate::conformance::random::Random;
use crate::conformance::{Disk, run_all, write};
use crate::key::{self, Family};
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
        write(&mut *store, 1, &message(&batch.to_string(), batch));
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
    assert!(dead.write(0, &message("m", 1), to).is_err());
    assert!(dead.message(&"m".into()).is_err());
    drop(dead);
    assert!(stores.open(0).is_err(), "the next writer still lives");
    write(&mut *next, 1, &message("m", 1));
}

#[test]
fn a_failed_write_is_not_there_and_nothing_follows_it() {
    let stores = MemStores::new();
    let mut store = stores.open(0).unwrap();
    let overlay = message("m", 1);
    let to =
        StoreHead { cursor: 1, digest: store.digest_after(&overlay).unwrap(), ..StoreHead::EMPTY };
    stores.fail_writes(true);
    assert!(matches!(store.write(0, &overlay, to), Err(Error::Io { .. })));
    stores.fail_writes(false);
    assert!(matches!(store.write(0, &overlay, to), Err(Error::Io { .. })), "not poisoned");
    assert_eq!(stores.dump(0), []);
    drop(store);
    write(&mut *stores.open(0).unwrap(), 1, &overlay);
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

#[test]
fn a_row_that_means_nothing_makes_the_store_unreadable_until_it_is_set_aside() {
    let stores = MemStores::new();
    filled(&stores, 2);
    stores.garble_messages(0);
    let store = stores.open(0).expect("nobody read one yet");
    assert!(store.message(&"1".into()).is_err());
    drop(store);
    for _ in 0..2 {
        assert!(matches!(stores.open(0), Err(Error::Unreadable { partition: 0, .. })));
    }
    stores.reject(0, "unreadable").unwrap();
    assert_eq!(stores.open(0).unwrap().store_head(), StoreHead::EMPTY);
}

/// Every row of partition 0, also those that the digest is not of.
fn rows(stores: &MemStores) -> RowMap {
    RowMap::clone(stores.disk.partitions()[&0].rows.as_ref().unwrap())
}

fn lines_of_numbers(rows: &RowMap) -> usize {
    rows.keys().filter(|key| key[0] == Family::MessageOfNumber as u8).count()
}

/// Makes it a store as format 1 wrote it: without a list of messages by number.
fn set_back_to_format_1(stores: &MemStores) {
    let mut partitions = stores.disk.partitions();
    let rows = Arc::make_mut(partitions.get_mut(&0).unwrap().rows.as_mut().unwrap());
    rows.retain(|key, _| key[0] != Family::MessageOfNumber as u8);
    rows.insert(key::FORMAT.to_vec(), 1_u32.to_be_bytes().to_vec());
}

#[test]
fn a_store_of_the_first_format_gets_the_lines_it_lacks_however_often_that_ends_early() {
    let stores = MemStores::new();
    let mut store = stores.open(0).unwrap();
    let mut overlay = Overlay::default();
    for n in 0..2_500_u64 {
        let message = Random::new(n).message();
        *overlay.messages.entry(&n.to_string().as_str().into(), |_| Ok(None)).unwrap() =
            Some(message);
    }
    let head = write(&mut *store, 1, &overlay);
    drop(store);
    let wanted = rows(&stores);
    let lines = lines_of_numbers(&wanted);
    assert!(lines > 1_000 && lines < 2_500, "{lines}");

    set_back_to_format_1(&stores);
    assert_eq!(lines_of_numbers(&rows(&stores)), 0);
    let store = stores.open(0).unwrap();
    assert_eq!((store.store_head(), store.recompute_digest().unwrap()), (head, head.digest));
    drop(store);
    assert!(rows(&stores) == wanted, "the rows are those of a store that was written so");

    // It raises the format, writes three batches of lines, and says that it is done.
    for (lost, has_lines) in [(1, true), (2, true), (4, false), (5, false)] {
        set_back_to_format_1(&stores);
        drop(stores.open(0).unwrap());
        stores.lose_last_batches(0, lost);
        let left = rows(&stores);
        assert_eq!(lines_of_numbers(&left) > 0, has_lines, "{lost}");
        let format = left[key::FORMAT.as_slice()].as_slice();
        assert_eq!(format == [0, 0, 0, 1], lost == 5, "an earlier program could write into it");
        drop(stores.open(0).unwrap());
        assert!(rows(&stores) == wanted, "{lost} batches lost");
    }

    set_back_to_format_1(&stores);
    stores.fail_writes(true);
    assert!(matches!(stores.open(0), Err(Error::Io { .. })));
    stores.fail_writes(false);
    drop(stores.open(0).unwrap());
    assert!(rows(&stores) == wanted);
}

#[test]
fn transitions_that_an_earlier_version_kept_are_gone_once_a_store_is_opened() {
    let stores = MemStores::new();
    let head = write(&mut *stores.open(0).unwrap(), 1, &message("m", 1));
    let wanted = rows(&stores);
    // More than go with one batch.
    let keep = || {
        let mut partitions = stores.disk.partitions();
        let rows = Arc::make_mut(partitions.get_mut(&0).unwrap().rows.as_mut().unwrap());
        for offset in 0..2_500_u64 {
            let key = [&[Family::Change as u8][..], &offset.to_be_bytes(), &[0; 4]].concat();
            rows.insert(key, b"a transition".to_vec());
        }
        rows.insert(key::CHANGE_LOG.to_vec(), vec![8, 1]);
    };
    keep();
    assert_eq!(rows(&stores).len(), wanted.len() + 2_501);
    let store = stores.open(0).unwrap();
    assert_eq!((store.store_head(), store.recompute_digest().unwrap()), (head, head.digest));
    drop(store);
    assert!(rows(&stores) == wanted);

    // They go with three batches, and what was said of them with one more.
    for lost in [1, 2, 4] {
        keep();
        drop(stores.open(0).unwrap());
        stores.lose_last_batches(0, lost);
        assert!(rows(&stores) != wanted, "{lost}");
        drop(stores.open(0).unwrap());
        assert!(rows(&stores) == wanted, "{lost} batches lost");
    }
}

#[test]
fn a_message_costs_its_number_one_line_that_is_written_once() {
    let stores = MemStores::new();
    let mut store = stores.open(0).unwrap();
    // Ids of the lengths that Meta gives them.
    let (wamid, number) = (format!("wamid.{}", "H".repeat(56)), "1".repeat(15));
    let mut message = Random::new(1).message();
    message.facts.phone_number_id = Some(number.as_str().into());
    let mut written = Vec::new();
    for group in [true, false, true] {
        message.facts.group = group;
        let mut overlay = Overlay::default();
        let key = wamid.as_str().into();
        *overlay.messages.entry(&key, |key| store.message(key)).unwrap() = Some(message.clone());
        write(&mut *store, 1, &overlay);
        let partitions = stores.disk.partitions();
        let touched = partitions[&0].undo.back().unwrap().iter();
        let lines = touched.filter(|(key, _)| key[0] == Family::MessageOfNumber as u8);
        written.push(lines.map(|(key, _)| key.len()).sum::<usize>());
    }
    // Family, number and its end, time, wamid and its end; the value is empty.
    assert_eq!(written, [1 + 17 + 8 + 64, 0, 0]);
}
