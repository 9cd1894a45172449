//! Stores in memory, deterministic, with the failures a test wants to see.
//!
//! [`MemStores`] is the disk: clones share it, and dropping a [`PartitionStore`] is a crash that it
//! survives. Behind `test-util` it can also lose the newest batches, as a machine that lost power
//! does, lose a whole store, change a digest, and fail.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::batch::Batch;
use crate::store::{Backend, Store};
use crate::tables::{Row, Rows, RowsSnapshot};
use crate::{Checkpoint, Error, NextStore, PartitionStore, ReadView, Snapshot, StoreHead, Stores};

#[cfg(any(test, feature = "test-util"))]
mod faults;
#[cfg(test)]
mod tests;

/// How many of the newest batches can be lost.
const UNDO_BATCHES_MAX: usize = 256;

type RowMap = BTreeMap<Vec<u8>, Vec<u8>>;

/// What each row of a batch was before.
type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Stores of all partitions in one memory.
#[derive(Debug, Clone, Default)]
pub struct MemStores {
    disk: Arc<Disk>,
}

#[derive(Debug, Default)]
struct Disk {
    partitions: Mutex<BTreeMap<u32, Partition>>,
    rejected: Mutex<Vec<(u32, String)>>,
    fail_writes: AtomicBool,
    fail_reads: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Partition {
    /// `None` if there is no store. Snapshots share the rows; a write while one is held copies.
    rows: Option<Arc<RowMap>>,
    /// What the newest batches replaced, the newest last.
    undo: VecDeque<Undo>,
    checkpoints: BTreeMap<u64, (StoreHead, Arc<RowMap>)>,
    /// What was prepared to take the place of the store.
    next: Option<(NextStore, Arc<RowMap>)>,
    /// How often something did.
    succeeded: u64,
    cursor: watch::Sender<u64>,
    /// Rises with each writer; one that is not the latest is dead and writes nothing.
    writer: u64,
    has_writer: bool,
    /// A row of the store cannot be what was written.
    is_damaged: bool,
    /// The store was opened since it came to be; else views have nothing to show.
    is_served: bool,
}

impl MemStores {
    /// An empty memory.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Disk {
    fn partitions(&self) -> MutexGuard<'_, BTreeMap<u32, Partition>> {
        // A test that panicked while it held the lock fails anyway; the others go on.
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rejected(&self) -> MutexGuard<'_, Vec<(u32, String)>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_writes(&self, attempted: &str, partition: u32) -> Result<(), Error> {
        if self.fail_writes.load(Ordering::SeqCst) {
            return Err(refused(attempted, partition, "writes fail by injection"));
        }
        Ok(())
    }

    fn check_reads(&self, partition: u32) -> Result<(), Error> {
        check_reads(&self.fail_reads, partition)
    }
}

fn check_reads(fail_reads: &AtomicBool, partition: u32) -> Result<(), Error> {
    if fail_reads.load(Ordering::SeqCst) {
        return Err(refused("read store", partition, "reads fail by injection"));
    }
    Ok(())
}

fn refused(attempted: &str, partition: u32, why: &str) -> Error {
    Error::Io { attempted: format!("{attempted} of partition {partition}"), source: why.into() }
}

impl Stores for MemStores {
    fn open(&self, partition: u32) -> Result<Box<dyn PartitionStore>, Error> {
        let (backend, cursor) = {
            let mut partitions = self.disk.partitions();
            let found = partitions.entry(partition).or_default();
            if found.has_writer {
                return Err(refused("open store", partition, "it is open already"));
            }
            if found.is_damaged {
                return Err(Error::found_damaged(partition));
            }
            if found.rows.is_none() {
                self.disk.check_writes("create store", partition)?;
            }
            found.has_writer = true;
            found.writer += 1;
            found.rows.get_or_insert_default();
            let disk = Arc::clone(&self.disk);
            (MemBackend { disk, partition, writer: found.writer }, found.cursor.clone())
        };
        let store = Store::open(partition, backend, cursor)?;
        if let Some(found) = self.disk.partitions().get_mut(&partition) {
            found.is_served = true;
        }
        Ok(Box::new(store))
    }

    fn reject(&self, partition: u32, reason: &str) -> Result<(), Error> {
        self.disk.check_writes("reject store", partition)?;
        let mut partitions = self.disk.partitions();
        let found = partitions.entry(partition).or_default();
        if found.has_writer {
            return Err(refused("reject store", partition, "it is open"));
        }
        (found.is_served, found.is_damaged) = (false, false);
        if found.rows.take().is_some() {
            found.undo.clear();
            self.disk.rejected().push((partition, reason.to_owned()));
        }
        Ok(())
    }

    fn checkpoints(&self, partition: u32) -> Result<Vec<Checkpoint>, Error> {
        let partitions = self.disk.partitions();
        let found = partitions.get(&partition).map(|found| &found.checkpoints);
        let newest_first = found.into_iter().flatten().rev();
        Ok(newest_first
            .map(|(id, (head, _))| Checkpoint { id: id.to_string(), head: *head })
            .collect())
    }

    fn remove_checkpoint(&self, partition: u32, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.disk.check_writes("remove checkpoint", partition)?;
        let mut partitions = self.disk.partitions();
        if let Ok(id) = checkpoint.id.parse::<u64>()
            && let Some(found) = partitions.get_mut(&partition)
        {
            found.checkpoints.remove(&id);
        }
        Ok(())
    }

    fn restore(&self, partition: u32, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.disk.check_writes("restore store", partition)?;
        let mut partitions = self.disk.partitions();
        let found = partitions.entry(partition).or_default();
        if found.rows.is_some() {
            return Err(refused("restore store", partition, "there is a store"));
        }
        let id = checkpoint.id.parse::<u64>().ok();
        let Some((_, rows)) = id.and_then(|id| found.checkpoints.get(&id)) else {
            return Err(refused("restore store", partition, "there is no such checkpoint"));
        };
        found.rows = Some(Arc::clone(rows));
        Ok(())
    }

    fn next_generation(&self, partition: u32) -> Result<Option<NextStore>, Error> {
        let partitions = self.disk.partitions();
        let next = partitions.get(&partition).and_then(|found| found.next.as_ref());
        Ok(next.map(|(next, _)| *next))
    }

    fn succeed(&self, partition: u32) -> Result<(), Error> {
        let attempted = "open the next store";
        self.disk.check_writes(attempted, partition)?;
        let mut partitions = self.disk.partitions();
        let found = partitions.entry(partition).or_default();
        if found.has_writer {
            return Err(refused(attempted, partition, "it is open"));
        }
        let next = found.next.take();
        let (_, rows) = next.ok_or_else(|| refused(attempted, partition, "there is none"))?;
        found.rows = Some(rows);
        found.is_damaged = false;
        found.undo.clear();
        found.succeeded += 1;
        Ok(())
    }

    fn view(&self, partition: u32) -> Arc<dyn ReadView> {
        let cursor = self.disk.partitions().entry(partition).or_default().cursor.clone();
        Arc::new(MemView { disk: Arc::clone(&self.disk), partition, cursor })
    }
}

/// The writer's hands on the memory.
#[derive(Debug)]
struct MemBackend {
    disk: Arc<Disk>,
    partition: u32,
    writer: u64,
}

impl MemBackend {
    /// Does something with the partition as it is now, if this writer is still its writer.
    fn with<T>(
        &self,
        attempted: &str,
        act: impl FnOnce(&mut Partition, &mut Arc<RowMap>) -> T,
    ) -> Result<T, Error> {
        let mut partitions = self.disk.partitions();
        let found = partitions.get_mut(&self.partition);
        let Some(found) = found.filter(|found| found.writer == self.writer) else {
            return Err(refused(attempted, self.partition, "another writer has it"));
        };
        let Some(mut rows) = found.rows.take() else {
            return Err(refused(attempted, self.partition, "it is gone"));
        };
        let done = act(found, &mut rows);
        found.rows = Some(rows);
        Ok(done)
    }
}

impl Rows for MemBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.disk.check_reads(self.partition)?;
        self.with("read store", |_, rows| rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Error> {
        self.disk.check_reads(self.partition)?;
        self.with("read store", |_, rows| scan(rows, from, until, limit))
    }
}

impl Backend for MemBackend {
    fn apply(&mut self, batch: Batch) -> Result<(), Error> {
        self.disk.check_writes("write to store", self.partition)?;
        self.with("write to store", |found, rows| {
            let rows = Arc::make_mut(rows);
            let mut undo = Vec::with_capacity(batch.entries.len());
            for (key, value) in batch.entries {
                let before = match (rows.get_mut(&key), value) {
                    (Some(row), Some(value)) => Some(std::mem::replace(row, value)),
                    (None, Some(value)) => rows.insert(key.clone(), value),
                    (Some(_), None) => rows.remove(&key),
                    (None, None) => None,
                };
                undo.push((key, before));
            }
            found.undo.push_back(undo);
            if found.undo.len() > UNDO_BATCHES_MAX {
                found.undo.pop_front();
            }
        })
    }

    fn found_damaged(&self) {
        if let Some(found) = self.disk.partitions().get_mut(&self.partition)
            && found.writer == self.writer
        {
            found.is_damaged = true;
        }
    }

    fn checkpoint(&mut self, head: StoreHead) -> Result<Checkpoint, Error> {
        self.disk.check_writes("checkpoint store", self.partition)?;
        self.with("checkpoint store", |found, rows| {
            found.checkpoints.insert(head.cursor, (head, Arc::clone(rows)));
            Checkpoint { id: head.cursor.to_string(), head }
        })
    }
}

impl Drop for MemBackend {
    fn drop(&mut self) {
        if let Some(found) = self.disk.partitions().get_mut(&self.partition)
            && found.writer == self.writer
        {
            found.has_writer = false;
        }
    }
}

/// Rows that do not move.
#[derive(Debug)]
struct MemRows {
    rows: Arc<RowMap>,
    partition: u32,
    fail_reads: Arc<AtomicBool>,
}

impl Rows for MemRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        check_reads(&self.fail_reads, self.partition)?;
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Error> {
        check_reads(&self.fail_reads, self.partition)?;
        Ok(scan(&self.rows, from, until, limit))
    }
}

fn scan(rows: &RowMap, from: &[u8], until: &[u8], limit: usize) -> Vec<Row> {
    if from >= until {
        return Vec::new();
    }
    let range = (Bound::Included(from), Bound::Excluded(until));
    let found = rows.range::<[u8], _>(range).take(limit);
    found.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[derive(Debug)]
struct MemView {
    disk: Arc<Disk>,
    partition: u32,
    cursor: watch::Sender<u64>,
}

impl ReadView for MemView {
    fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>, Error> {
        let rows = self.disk.partitions().get(&self.partition).and_then(|found| {
            // What is restored but not yet opened is nobody's state yet.
            found.rows.clone().filter(|_| found.is_served)
        });
        let Some(rows) = rows else { return Ok(None) };
        let fail_reads = Arc::clone(&self.disk.fail_reads);
        let rows = MemRows { rows, partition: self.partition, fail_reads };
        Ok(Some(Box::new(RowsSnapshot::new(rows, self.partition)?)))
    }

    fn cursor(&self) -> watch::Receiver<u64> {
        self.cursor.subscribe()
    }
}
