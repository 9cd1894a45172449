//! Failures on demand, and a look at the bytes. Behind `test-util`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{MemStores, RowMap};
use crate::codec::Persist;
use crate::key::{self, DIGESTED, Family};
use crate::{NextStore, StoreHead};

/// The family of messages.
const MESSAGE: u8 = Family::Message as u8;

impl MemStores {
    /// A crash that loses the newest `n` batches, of which at most the last 256 can be lost. The
    /// writer, should it still live, is dead: its reads and writes fail. Readers see what is left
    /// at once, the cursor goes back at the next `open`.
    pub fn lose_last_batches(&self, partition: u32, n: usize) {
        let mut partitions = self.disk.partitions();
        let found = partitions.entry(partition).or_default();
        found.writer += 1;
        found.has_writer = false;
        let Some(rows) = &mut found.rows else { return };
        for _ in 0..n {
            let Some(undo) = found.undo.pop_back() else { return };
            let rows = Arc::make_mut(rows);
            for (key, before) in undo.into_iter().rev() {
                match before {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
            }
        }
    }

    /// Turns a bit of the stored digest, so that state and digest disagree: seen at the next
    /// `open`. Does nothing to a store that was never written.
    pub fn corrupt_digest(&self, partition: u32) {
        self.change_rows(partition, |rows| {
            let head = rows.get(key::HEAD.as_slice()).and_then(|head| StoreHead::decode(head).ok());
            if let Some(head) = head {
                let head = StoreHead { digest: head.digest ^ 1, ..head };
                rows.insert(key::HEAD.to_vec(), head.encode());
            }
        });
    }

    /// Makes the format version one that nothing reads: the next `open` is
    /// [`crate::Error::Unreadable`].
    pub fn corrupt_format(&self, partition: u32) {
        self.change_rows(partition, |rows| {
            rows.insert(key::FORMAT.to_vec(), u32::MAX.to_be_bytes().to_vec());
        });
    }

    /// Overwrites the messages with bytes that mean nothing: reading one is
    /// [`crate::Error::Unreadable`].
    pub fn garble_messages(&self, partition: u32) {
        self.change_rows(partition, |rows| {
            let messages = rows.iter_mut().filter(|(key, _)| key.first() == Some(&MESSAGE));
            messages.for_each(|(_, value)| value.fill(u8::MAX));
        });
    }

    /// Prepares a copy of the store that another memory has, to take the place of this one's.
    pub fn prepare(&self, partition: u32, of: &Self, turn: u64) -> Option<StoreHead> {
        let rows = of.disk.partitions().get(&partition)?.rows.clone()?;
        let head = StoreHead::decode(rows.get(key::HEAD.as_slice())?).ok()?;
        let next = Some((NextStore { turn, head }, rows));
        self.disk.partitions().entry(partition).or_default().next = next;
        Some(head)
    }

    /// How often one that was prepared took the place of the store.
    pub fn succeeded(&self, partition: u32) -> u64 {
        self.disk.partitions().get(&partition).map_or(0, |found| found.succeeded)
    }

    /// Deletes the store, as `rm -r` of its directory does. Checkpoints stay.
    pub fn wipe(&self, partition: u32) {
        let mut partitions = self.disk.partitions();
        let found = partitions.entry(partition).or_default();
        found.writer += 1;
        found.has_writer = false;
        (found.is_served, found.is_damaged) = (false, false);
        found.rows = None;
        found.undo.clear();
    }

    /// From now on whatever changes something fails, checkpoints too, or works again.
    pub fn fail_writes(&self, fail: bool) {
        self.disk.fail_writes.store(fail, Ordering::SeqCst);
    }

    /// From now on reads fail, also those of snapshots, or work again.
    pub fn fail_reads(&self, fail: bool) {
        self.disk.fail_reads.store(fail, Ordering::SeqCst);
    }

    /// The stores that were set aside, with their reasons, in order.
    pub fn rejected(&self) -> Vec<(u32, String)> {
        self.disk.rejected().clone()
    }

    /// All rows that the digest is of, in order: two partitions with equal state dump equally.
    pub fn dump(&self, partition: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
        let partitions = self.disk.partitions();
        let rows = partitions.get(&partition).and_then(|found| found.rows.as_ref());
        let digested = |key: &[u8]| {
            key.first().is_some_and(|first| DIGESTED.iter().any(|family| *family as u8 == *first))
        };
        let rows = rows.into_iter().flat_map(|rows| rows.iter());
        rows.filter(|(key, _)| digested(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    fn change_rows(&self, partition: u32, change: impl FnOnce(&mut RowMap)) {
        let mut partitions = self.disk.partitions();
        if let Some(rows) = partitions.get_mut(&partition).and_then(|found| found.rows.as_mut()) {
            change(Arc::make_mut(rows));
        }
    }
}
