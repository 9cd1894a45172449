//! A writer that gathers its rows in memory and puts them into the database as sorted files.
//!
//! For whoever folds a lot that nobody reads meanwhile: a row that is written in memory again costs no
//! second one, and none passes through RocksDB's own buffer, where a random place has to be found for
//! each. Views show what is in the files. A crash loses what is gathered, as a whole, so the store is at an
//! earlier batch.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::PathBuf;

use foldhash::fast::RandomState;
use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};

use super::RocksBackend;
use super::checkpoints::io_error;
use crate::batch::{Batch, Entry};
use crate::key::Family;
use crate::store::Backend;
use crate::tables::{Row, Rows};
use crate::{Checkpoint, Error, StoreHead};

/// What a row takes beside its bytes: its places in the table and on the heap.
const ROW_BYTES: usize = 96;

/// The backend of such a writer.
pub(super) struct BulkBackend {
    rocks: RocksBackend,
    /// Those of the database: the files are written as it would write them.
    options: Options,
    gathered: Gathered,
    bytes_max: usize,
}

impl std::fmt::Debug for BulkBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkBackend").field("rocks", &self.rocks).finish_non_exhaustive()
    }
}

/// Rows that are not in the database yet; `None` is one that is to go.
#[derive(Default)]
struct Gathered {
    /// Of the family that is looked through in order while it is gathered.
    ordered: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    others: HashMap<Vec<u8>, Option<Vec<u8>>, RandomState>,
    bytes: usize,
}

/// A row that is gathered.
type Found<'a> = (&'a Vec<u8>, &'a Option<Vec<u8>>);

impl Gathered {
    fn add(&mut self, (key, value): Entry) {
        let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let (key_bytes, value_bytes) = (key.len(), size(&value));
        let before = match is_ordered(&key) {
            true => self.ordered.insert(key, value),
            false => self.others.insert(key, value),
        };
        let replaced = before.map(|before| size(&before));
        self.bytes += replaced.map_or(ROW_BYTES + key_bytes, |_| 0) + value_bytes;
        self.bytes -= replaced.unwrap_or_default();
    }

    fn get(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        if is_ordered(key) { self.ordered.get(key) } else { self.others.get(key) }
    }

    /// Rows with `from` ≤ key < `until`, rising. Of the other families all are looked at first.
    fn range(&self, from: &[u8], until: &[u8]) -> Box<dyn Iterator<Item = Found<'_>> + '_> {
        if from >= until {
            return Box::new(std::iter::empty());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(until));
        let ordered = self.ordered.range::<[u8], _>(bounds);
        if is_within_ordered(from, until) {
            return Box::new(ordered);
        }
        let within = |(key, _): &Found<'_>| (from..until).contains(&key.as_slice());
        let mut found: Vec<_> = ordered.chain(self.others.iter().filter(within)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        Box::new(found.into_iter())
    }

    /// All rows, rising. The table keeps its room: one that grows moves its rows about.
    fn take(&mut self) -> Vec<Entry> {
        self.bytes = 0;
        let ordered = std::mem::take(&mut self.ordered);
        let mut rows: Vec<_> = ordered.into_iter().chain(self.others.drain()).collect();
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }
}

/// That of timers: the first of them is looked for while they are gathered.
const ORDERED: Family = Family::Timer;

fn is_ordered(key: &[u8]) -> bool {
    key.first() == Some(&(ORDERED as u8))
}

fn is_within_ordered(from: &[u8], until: &[u8]) -> bool {
    let (first, end) = ORDERED.bounds();
    first.as_slice() <= from && until <= end.as_slice()
}

impl BulkBackend {
    /// Gathers rows up to so many bytes.
    pub(super) fn new(rocks: RocksBackend, options: Options, bytes_max: usize) -> Self {
        Self { rocks, options, gathered: Gathered::default(), bytes_max }
    }

    /// Puts what is gathered into the database. What fails stays gathered: a checkpoint may fail, and the
    /// writer goes on.
    fn put(&mut self) -> Result<(), Error> {
        let rows = self.gathered.take();
        if rows.is_empty() {
            return Ok(());
        }
        let put = self.put_file(&rows);
        if put.is_err() {
            rows.into_iter().for_each(|row| self.gathered.add(row));
        }
        self.rocks.changed();
        put
    }

    /// Puts these rows, rising, into the database.
    fn put_file(&self, rows: &[Entry]) -> Result<(), Error> {
        let path = self.file();
        // A crash may have left one that the database has already, under another name: one file, which
        // must not be written to.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error(format!("remove {}", path.display()), error));
            }
            Ok(()) | Err(_) => {}
        }
        let write = || {
            let mut writer = SstFileWriter::create(&self.options);
            writer.open(&path)?;
            for (key, value) in rows {
                match value {
                    Some(value) => writer.put(key, value)?,
                    None => writer.delete(key)?,
                }
            }
            writer.finish()?;
            drop(writer);
            let mut ingested = IngestExternalFileOptions::default();
            ingested.set_move_files(true);
            self.rocks.database.db.ingest_external_file_opts(&ingested, vec![&path])
        };
        write().map_err(|error| {
            // Where the disk is full its place is wanted back.
            let _ = std::fs::remove_file(&path);
            self.rocks.database.failed("put a file", error)
        })
    }

    /// Beside the database, so that it can be moved there.
    fn file(&self) -> PathBuf {
        self.rocks.database.db.path().with_extension("gathered")
    }
}

impl Rows for BulkBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.gathered.get(key).map_or_else(|| self.rocks.get(key), |value| Ok(value.clone()))
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Error> {
        let mut gathered = self.gathered.range(from, until).peekable();
        let mut stored = self.rocks.database.rows(from, until).peekable();
        let mut rows = Vec::new();
        while rows.len() < limit {
            let is_next = match (gathered.peek(), stored.peek()) {
                (None, None) => break,
                (None, Some(_)) | (_, Some(Err(_))) => false,
                (Some(_), None) => true,
                (Some((key, _)), Some(Ok((below, _)))) => *key <= below,
            };
            if !is_next {
                rows.extend(stored.next().transpose()?);
                continue;
            }
            let Some((key, value)) = gathered.next() else { break };
            stored.next_if(|below| below.as_ref().is_ok_and(|(below, _)| below == key));
            rows.extend(value.as_ref().map(|value| (key.clone(), value.clone())));
        }
        Ok(rows)
    }
}

impl Backend for BulkBackend {
    fn apply(&mut self, batch: Batch) -> Result<(), Error> {
        batch.entries.into_iter().for_each(|entry| self.gathered.add(entry));
        if self.gathered.bytes < self.bytes_max { Ok(()) } else { self.put() }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.put()?;
        self.rocks.flush()
    }

    fn found_damaged(&self) {
        self.rocks.found_damaged();
    }

    fn checkpoint(&mut self, head: StoreHead) -> Result<Checkpoint, Error> {
        self.put()?;
        self.rocks.checkpoint(head)
    }
}
