//! The digest of a store: Σ hash128(family, key, value) mod 2^128 over its state.
//!
//! A sum, so that it moves by h(new) − h(old) per changed row, whatever the order of changes, and
//! two stores with the same rows have the same digest however they came to them. It finds defects
//! and damage, not forgery.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use tickfold_core::overlay::{Change, Overlay, Table};
use xxhash_rust::xxh3::xxh3_128;

use crate::batch::Entry;
use crate::codec::Persist;
use crate::key::DIGESTED;
use crate::tables::{Rows, Tables};
use crate::{Error, key};

/// Rows read at a time when a digest is recomputed.
const SCAN_ROWS: usize = 1_000;

/// Sums rows in and out. Reuses one buffer, since most rows are small and there are many.
#[derive(Debug)]
pub(crate) struct Digest {
    sum: u128,
    buffer: Vec<u8>,
}

impl Digest {
    pub(crate) fn new(sum: u128) -> Self {
        Self { sum, buffer: Vec::new() }
    }

    pub(crate) fn sum(&self) -> u128 {
        self.sum
    }

    /// Returns the hash that was added.
    fn add(&mut self, key: &[u8], value: &[u8]) -> u128 {
        let hash = hash(&mut self.buffer, key, value);
        self.sum = self.sum.wrapping_add(hash);
        hash
    }

    fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_sub(hash(&mut self.buffer, key, value));
    }
}

/// Family byte, length of the rest of the key in four bytes, rest of the key, value. The length
/// keeps apart two rows whose keys and values only together are the same bytes.
fn hash(buffer: &mut Vec<u8>, key: &[u8], value: &[u8]) -> u128 {
    let (family, rest) = key.split_at_checked(1).unwrap_or((key, &[]));
    // Keys are bounded by the ids in them, far below 4 GiB; the cut would only weaken the hash.
    let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    buffer.clear();
    buffer.extend_from_slice(family);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(rest);
    buffer.extend_from_slice(value);
    xxh3_128(buffer)
}

/// The changed rows of an overlay, and the digest of a store once it has them. Rows are encoded
/// once, for both.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) digest: u128,
    pub(crate) entries: Vec<Entry>,
    /// The hashes of the new rows, in the order of the first entries; 0 for one that goes.
    hashes: Vec<u128>,
}

/// The hashes of rows as the store has them, of those that were read or written lately: a row that
/// changes has mostly been read just before, and so need not be encoded again to be summed out.
///
/// A batch may be folded while the one before is being committed, so what is known outlives one
/// write, and goes with the next.
#[derive(Debug, Default)]
pub(crate) struct Known {
    newer: HashMap<Vec<u8>, u128, RandomState>,
    older: HashMap<Vec<u8>, u128, RandomState>,
    buffer: Vec<u8>,
}

impl Known {
    /// The store has this row.
    pub(crate) fn read(&mut self, key: Vec<u8>, value: &[u8]) {
        let hash = hash(&mut self.buffer, &key, value);
        self.newer.insert(key, hash);
    }

    /// The store has these changes now.
    pub(crate) fn written(&mut self, changed: &Changed) {
        self.older = std::mem::take(&mut self.newer);
        for ((key, value), hash) in changed.entries.iter().zip(&changed.hashes) {
            self.older.remove(key);
            if value.is_some() {
                self.newer.insert(key.clone(), *hash);
            }
        }
    }

    fn get(&self, key: &[u8]) -> Option<u128> {
        self.newer.get(key).or_else(|| self.older.get(key)).copied()
    }
}

/// Sums changes and keeps the new rows.
struct Changes<'a> {
    digest: Digest,
    entries: Vec<Entry>,
    hashes: Vec<u128>,
    known: &'a Known,
}

impl Changes<'_> {
    fn table<K, V>(&mut self, table: &Table<K, V>, key: impl Fn(&K) -> Vec<u8>)
    where
        K: Eq + Hash + Clone,
        V: Clone + PartialEq + Persist,
    {
        for (id, Change { before, after }) in table.changes() {
            let (key, after) = (key(id), after.as_ref().map(V::encode));
            if let Some(before) = before {
                match self.known.get(&key) {
                    Some(hash) => self.digest.sum = self.digest.sum.wrapping_sub(hash),
                    None => self.digest.subtract(&key, &before.encode()),
                }
            }
            self.hashes.push(after.as_ref().map_or(0, |after| self.digest.add(&key, after)));
            self.entries.push((key, after));
        }
    }
}

/// The overlay's changes applied to a store that has this digest. Timers are compared with the
/// store: to arm an armed one or to remove an absent one changes nothing.
pub(crate) fn after<R: Rows + ?Sized>(
    digest: u128,
    overlay: &Overlay,
    tables: Tables<'_, R>,
    known: &Known,
) -> Result<Changed, Error> {
    let digest = Digest::new(digest);
    let mut changes = Changes { digest, entries: Vec::new(), hashes: Vec::new(), known };
    changes.table(&overlay.messages, key::message);
    changes.table(&overlay.conversations, key::conversation);
    changes.table(&overlay.templates, key::template);
    changes.table(&overlay.accounts, key::account);
    changes.table(&overlay.numbers, key::number);
    changes.table(&overlay.users, key::user);
    changes.table(&overlay.calls, key::call);
    changes.table(&overlay.groups, key::group);
    changes.table(&overlay.payments, key::payment);
    changes.table(&overlay.naturals, key::natural);
    changes.table(&overlay.regime, |()| key::regime());
    changes.table(&overlay.decided, key::decided);
    changes.table(&overlay.totals, key::total);
    for (timer, armed) in &overlay.timers {
        let key = key::timer(timer);
        match (tables.rows.get(&key)?.is_some(), armed) {
            (false, true) => _ = changes.digest.add(&key, &[]),
            (true, false) => changes.digest.subtract(&key, &[]),
            (true, true) | (false, false) => {}
        }
        changes.entries.push((key, armed.then(Vec::new)));
    }
    let Changes { digest, entries, hashes, known: _ } = changes;
    Ok(Changed { digest: digest.sum(), entries, hashes })
}

/// The digest from all rows.
pub(crate) fn recompute<R: Rows + ?Sized>(rows: &R) -> Result<u128, Error> {
    let mut digest = Digest::new(0);
    for family in DIGESTED {
        let (from, until) = family.bounds();
        let mut from = from.to_vec();
        loop {
            let found = rows.scan(&from, &until, SCAN_ROWS)?;
            for (key, value) in &found {
                digest.add(key, value);
            }
            let Some((last, _)) = found.into_iter().last() else { break };
            from = key::after(last);
        }
    }
    Ok(digest.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(&[u8], &[u8])]) -> u128 {
        let mut digest = Digest::new(0);
        rows.iter().for_each(|(key, value)| _ = digest.add(key, value));
        digest.sum()
    }

    #[test]
    fn order_does_not_matter_and_removing_undoes_adding() {
        let a: (&[u8], &[u8]) = (b"\x10a", b"1");
        let b: (&[u8], &[u8]) = (b"\x10b", b"2");
        assert_eq!(of(&[a, b]), of(&[b, a]));
        let mut digest = Digest::new(of(&[a, b]));
        digest.subtract(a.0, a.1);
        assert_eq!(digest.sum(), of(&[b]));
    }

    #[test]
    fn family_key_and_value_do_not_run_into_each_other() {
        assert_ne!(of(&[(b"\x10ab", b"c")]), of(&[(b"\x10a", b"bc")]));
        assert_ne!(of(&[(b"\x10a", b"")]), of(&[(b"\x11a", b"")]));
        assert_ne!(of(&[(b"\x10a", b"")]), 0);
    }
}
