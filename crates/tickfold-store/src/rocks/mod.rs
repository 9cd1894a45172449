//! Stores on RocksDB: one database per partition in `<data_dir>/<partition>/`, one block cache and
//! one budget of write buffers for the process.
//!
//! A batch is one write to RocksDB's log, not synced: a killed process loses nothing, a machine
//! that loses power loses the newest batches, never one in the middle. A database stays open after
//! its writer is dropped, for readers and for the next writer; it is closed to be set aside.

mod bulk;
mod checkpoints;
mod database;
mod generations;
mod inspect;
mod options;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use self::bulk::BulkBackend;
pub use self::checkpoints::free_bytes;
use self::checkpoints::{TableSums, io_error, sync_dir};
use self::database::{Database, Reads, SnapshotRows};
pub use self::generations::StoreGenerations;
pub use self::inspect::{
    CheckpointDamage, CheckpointDir, CheckpointFound, CheckpointState, DamagedPart,
};
pub use self::options::RocksOptions;
use self::options::Shared;
use crate::batch::Batch;
use crate::metrics;
use crate::store::{Backend, Store};
use crate::tables::{Row, Rows, RowsSnapshot};
use crate::{Checkpoint, Error, NextStore, PartitionStore, ReadView, Snapshot, StoreHead, Stores};

/// How long to wait for readers to give up their snapshots before a store is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many stores of a partition are kept that were set aside for the same reason: one that stays refused
/// sets one aside with each start.
const ASIDE_MAX: u32 = 3;

/// Stores of all partitions in one directory.
#[derive(Debug)]
pub struct RocksStores {
    data_dir: PathBuf,
    /// Partitions whose stores lie elsewhere.
    paths: BTreeMap<u32, PathBuf>,
    shared: Shared,
    slots: Mutex<BTreeMap<u32, Arc<Slot>>>,
}

/// What the process knows of one partition.
#[derive(Debug, Default)]
struct Slot {
    /// Held while a store is opened, set aside or restored: one at a time.
    lifecycle: Mutex<Restored>,
    has_writer: AtomicBool,
    /// What readers are served from; kept after the writer is gone.
    served: Mutex<Option<Served>>,
    cursor: watch::Sender<u64>,
}

/// Where the store of a partition is from.
#[derive(Debug, Default)]
struct Restored {
    /// The checkpoint, if it was restored by this process.
    from: Option<String>,
    /// Checkpoints from which a damaged store came: made of one that was damaged already, each of them is
    /// as it was made and would lead to the same damage again and again.
    unfit: BTreeSet<String>,
}

/// What readers are served from.
#[derive(Debug)]
struct Served {
    database: Arc<Database>,
    /// Rows and head as they are since the last write, once a reader asked for them: all who ask
    /// before the next write share them. Dropped by the next write, or RocksDB would keep what is
    /// written over.
    latest: Option<(SnapshotRows, StoreHead)>,
    /// Writes so far.
    writes: u64,
}

impl Served {
    fn of(database: Arc<Database>) -> Self {
        Self { database, latest: None, writes: 0 }
    }

    /// Has those who ask before the next write share this moment, if it is not over already: `writes` were
    /// there before it was looked at.
    fn share(&mut self, database: &Arc<Database>, writes: u64, latest: (SnapshotRows, StoreHead)) {
        if Arc::ptr_eq(&self.database, database) && self.writes == writes {
            self.latest = Some(latest);
        }
    }
}

impl RocksStores {
    /// Stores in this directory, which is created if it is not there. No partition is opened yet.
    pub fn open(data_dir: impl Into<PathBuf>, options: RocksOptions) -> Result<Self, Error> {
        Self::at(BTreeMap::new(), options).beside(data_dir)
    }

    /// Stores that are there, each in a directory of its own.
    pub fn at(paths: BTreeMap<u32, PathBuf>, options: RocksOptions) -> Self {
        let (data_dir, slots) = (PathBuf::new(), Mutex::default());
        Self { data_dir, paths, shared: Shared::new(options), slots }
    }

    /// Stores in another directory, which is created if it is not there, that share the memory of these.
    pub fn beside(&self, data_dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let data_dir = data_dir.into();
        fs::create_dir_all(&data_dir)
            .map_err(|error| io_error(format!("create {}", data_dir.display()), error))?;
        checkpoints::sweep_restores(&data_dir);
        let (paths, slots) = (BTreeMap::new(), Mutex::default());
        Ok(Self { data_dir, paths, shared: self.shared.clone(), slots })
    }

    /// Sets the gauges of all databases that are open.
    pub fn observe(&self) {
        let slots: Vec<_> =
            lock(&self.slots).iter().map(|(id, slot)| (*id, Arc::clone(slot))).collect();
        for (partition, slot) in slots {
            // In use until the end of the turn, as by a reader.
            if let Some(database) = slot.database() {
                metrics::sizes(partition, &database.sizes());
            }
        }
        metrics::block_cache(self.shared.block_cache_usage());
    }

    fn slot(&self, partition: u32) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry(partition).or_default())
    }

    /// Where the store of a partition is, or would be made.
    pub fn path(&self, partition: u32) -> Result<PathBuf, Error> {
        self.paths.get(&partition).cloned().map_or_else(|| self.live_dir(partition), Ok)
    }

    /// Opens the store of a partition as [`Stores::open`] does, for a writer that writes a lot while nobody
    /// reads: up to so many bytes of rows are gathered in memory before they go to a file. Until its
    /// [`flush`](PartitionStore::flush) views show an earlier batch, and waiters for the cursor do not
    /// wake.
    pub fn open_bulk(
        &self,
        partition: u32,
        gathered_bytes_max: usize,
    ) -> Result<Box<dyn PartitionStore>, Error> {
        let unseen = watch::Sender::default();
        self.open_as(partition, unseen, |rocks| {
            BulkBackend::new(rocks, self.shared.database(), gathered_bytes_max)
        })
    }

    fn open_as<B: Backend + std::fmt::Debug + 'static>(
        &self,
        partition: u32,
        cursor: watch::Sender<u64>,
        backend: impl FnOnce(RocksBackend) -> B,
    ) -> Result<Box<dyn PartitionStore>, Error> {
        let slot = self.slot(partition);
        let mut lifecycle = lock(&slot.lifecycle);
        slot.refuse_writer("open store", partition)?;
        let path = self.path(partition)?;
        let served = slot.database();
        let is_here = served.as_ref().is_some_and(|database| database.is_at(&path));
        let database = match served {
            // Readers go on with it until it is set aside.
            Some(database) if is_here && database.is_damaged() => {
                let from = lifecycle.from.take();
                lifecycle.unfit.extend(from);
                return Err(Error::found_damaged(partition));
            }
            Some(database) if is_here && !database.is_poisoned() => database,
            other_or_none => {
                drop(other_or_none);
                // One of another generation serves its readers until they are gone.
                if is_here {
                    slot.close("open store", partition)?;
                }
                Arc::new(Database::open(&self.shared, &path, partition)?)
            }
        };
        slot.has_writer.store(true, Ordering::SeqCst);
        let rocks = RocksBackend {
            database: Arc::clone(&database),
            slot: Arc::clone(&slot),
            checkpoint_dir: self.checkpoint_dir().map(Path::to_owned),
            tables: TableSums::new(),
            partition,
        };
        let store = Store::open(partition, backend(rocks), cursor)?;
        *lock(&slot.served) = Some(Served::of(database));
        Ok(Box::new(store))
    }

    /// Writes everything of a partition to its files and closes it, so that its directory can be
    /// moved. Its [`PartitionStore`] must have been dropped.
    pub fn close(&self, partition: u32) -> Result<(), Error> {
        let slot = self.slot(partition);
        let _lifecycle = lock(&slot.lifecycle);
        slot.refuse_writer("close store", partition)?;
        if let Some(database) = slot.database() {
            database.flush()?;
        }
        slot.close("close store", partition)
    }

    fn checkpoint_dir(&self) -> Option<&Path> {
        self.shared.options().checkpoint_dir.as_deref()
    }
}

/// What these mutexes guard is whole at any moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(attempted: &str, partition: u32, why: &str) -> Error {
    Error::Io { attempted: format!("{attempted} of partition {partition}"), source: why.into() }
}

impl Slot {
    /// The database that is open.
    fn database(&self) -> Option<Arc<Database>> {
        lock(&self.served).as_ref().map(|served| Arc::clone(&served.database))
    }

    /// Closes the database, if it is open, so that its directory can be moved or opened anew.
    fn close(&self, attempted: &str, partition: u32) -> Result<(), Error> {
        let served = lock(&self.served).take();
        let Some(Served { database, latest, .. }) = served else { return Ok(()) };
        drop(latest);
        database.close(CLOSE_TIMEOUT).map_err(|database| {
            *lock(&self.served) = Some(Served::of(database));
            refused(attempted, partition, "readers still hold snapshots")
        })
    }

    fn refuse_writer(&self, attempted: &str, partition: u32) -> Result<(), Error> {
        if self.has_writer.load(Ordering::SeqCst) {
            return Err(refused(attempted, partition, "it is open"));
        }
        Ok(())
    }
}

impl Stores for RocksStores {
    fn open(&self, partition: u32) -> Result<Box<dyn PartitionStore>, Error> {
        self.open_as(partition, self.slot(partition).cursor.clone(), |rocks| rocks)
    }

    fn reject(&self, partition: u32, reason: &str) -> Result<(), Error> {
        let slot = self.slot(partition);
        let mut lifecycle = lock(&slot.lifecycle);
        slot.refuse_writer("reject store", partition)?;
        let path = self.path(partition)?;
        // It has its format, and nothing else. One of another generation, which is served still, does not tell.
        let here = slot.database().filter(|database| database.is_at(&path));
        let is_new = here.is_some_and(|database| {
            database.scan(&[], &[0xff], 2).is_ok_and(|rows| rows.len() < 2)
        });
        slot.close("reject store", partition)?;
        lifecycle.from = None;
        if !path.exists() {
            return Ok(());
        }
        if is_new {
            return fs::remove_dir_all(&path)
                .and_then(|()| sync_dir(&self.data_dir))
                .map_err(|error| io_error(format!("remove {}", path.display()), error));
        }
        let word = file_word(reason);
        let name = |n: u32| self.data_dir.join(format!("{partition}.rejected-{word}-{n}"));
        let aside = (1..ASIDE_MAX).map(name).find(|aside| !aside.exists());
        let aside = aside.unwrap_or_else(|| name(ASIDE_MAX));
        checkpoints::remove_if_there(&aside)
            .and_then(|()| fs::rename(&path, &aside))
            .and_then(|()| sync_dir(&self.data_dir))
            .map_err(|error| io_error(format!("rename {}", path.display()), error))
    }

    fn checkpoints(&self, partition: u32) -> Result<Vec<Checkpoint>, Error> {
        self.checkpoint_dir()
            .map_or_else(|| Ok(Vec::new()), |dir| checkpoints::list(dir, partition))
    }

    fn remove_checkpoint(&self, partition: u32, checkpoint: &Checkpoint) -> Result<(), Error> {
        let dir = self.checkpoint_dir();
        dir.map_or(Ok(()), |dir| checkpoints::remove(dir, partition, checkpoint))
    }

    fn restore(&self, partition: u32, checkpoint: &Checkpoint) -> Result<(), Error> {
        let slot = self.slot(partition);
        let mut lifecycle = lock(&slot.lifecycle);
        let path = self.path(partition)?;
        if path.exists() {
            return Err(refused("restore store", partition, "there is a store"));
        }
        // The directory was deleted from under a database that is still open.
        slot.close("restore store", partition)?;
        let Some(dir) = self.checkpoint_dir() else {
            return Err(refused("restore store", partition, "no checkpoint directory is set"));
        };
        if lifecycle.unfit.contains(&checkpoint.id) {
            let reason =
                format!("the store that came from checkpoint {} was damaged", checkpoint.id);
            return Err(Error::Unreadable { partition, reason });
        }
        checkpoints::restore(dir, partition, checkpoint, &path, free_bytes)?;
        lifecycle.from = Some(checkpoint.id.clone());
        Ok(())
    }

    fn next_generation(&self, partition: u32) -> Result<Option<NextStore>, Error> {
        self.next(partition)
    }

    fn succeed(&self, partition: u32) -> Result<(), Error> {
        let slot = self.slot(partition);
        let _lifecycle = lock(&slot.lifecycle);
        slot.refuse_writer("open the next store", partition)?;
        self.advance(partition)
    }

    fn view(&self, partition: u32) -> Arc<dyn ReadView> {
        Arc::new(RocksView { slot: self.slot(partition), partition })
    }
}

/// A reason as part of a file name, whatever it contains.
fn file_word(reason: &str) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    reason.chars().map(plain).collect()
}

/// The writer's hands on the database.
#[derive(Debug)]
struct RocksBackend {
    database: Arc<Database>,
    slot: Arc<Slot>,
    checkpoint_dir: Option<PathBuf>,
    tables: TableSums,
    partition: u32,
}

impl RocksBackend {
    /// Readers see what is in the database from now on.
    fn changed(&self) {
        if let Some(served) = lock(&self.slot.served).as_mut() {
            served.latest = None;
            served.writes = served.writes.wrapping_add(1);
        }
    }
}

impl Rows for RocksBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.database.get(key)
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Error> {
        self.database.scan(from, until, limit)
    }
}

impl Backend for RocksBackend {
    fn apply(&mut self, batch: Batch) -> Result<(), Error> {
        let applied = self.database.apply(batch);
        self.changed();
        applied
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.database.flush()
    }

    fn found_damaged(&self) {
        self.database.found_damaged();
    }

    fn checkpoint(&mut self, head: StoreHead) -> Result<Checkpoint, Error> {
        let Some(dir) = &self.checkpoint_dir else {
            return Err(refused("checkpoint store", self.partition, "no directory is set"));
        };
        // Those that there are may be of before the damage.
        if self.database.is_damaged() {
            let reason = "damage was found: no checkpoint is made of it".to_owned();
            return Err(Error::Unreadable { partition: self.partition, reason });
        }
        checkpoints::create(&self.database.db, dir, self.partition, head, &mut self.tables)
    }
}

impl Drop for RocksBackend {
    fn drop(&mut self) {
        // Where the partition moves away nobody writes again, and only who writes is flushed: its rows would
        // have their part of the budget for as long as the process lives.
        if !self.database.is_poisoned() {
            self.database.begin_flush();
        }
        self.slot.has_writer.store(false, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct RocksView {
    slot: Arc<Slot>,
    partition: u32,
}

impl RocksView {
    fn latest(&self, reads: Reads) -> Result<Option<Box<dyn Snapshot>>, Error> {
        let (database, writes) = {
            let served = lock(&self.slot.served);
            let Some(Served { database, latest, writes }) = served.as_ref() else {
                return Ok(None);
            };
            if let Some((rows, head)) = latest {
                let (rows, head) = (rows.reading(reads), *head);
                return Ok(Some(Box::new(RowsSnapshot::with_head(rows, self.partition, head))));
            }
            (Arc::clone(database), *writes)
        };
        // The head may be on the disk only, and those who must not wait for that take the same lock.
        let rows = SnapshotRows::new(Arc::clone(&database));
        let snapshot = RowsSnapshot::new(rows.reading(reads), self.partition)?;
        if let Some(served) = lock(&self.slot.served).as_mut() {
            served.share(&database, writes, (rows, snapshot.store_head()));
        }
        Ok(Some(Box::new(snapshot)))
    }
}

impl ReadView for RocksView {
    fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>, Error> {
        self.latest(Reads::Disk)
    }

    fn snapshot_in_memory(&self) -> Result<Option<Box<dyn Snapshot>>, Error> {
        self.latest(Reads::Memory)
    }

    fn cursor(&self) -> watch::Receiver<u64> {
        self.slot.cursor.subscribe()
    }
}
