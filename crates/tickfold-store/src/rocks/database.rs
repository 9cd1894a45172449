//! One RocksDB: rows as they are now, rows as they were, and an end that can be waited for.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use rocksdb::{
    DB, Direction, ErrorKind, FlushOptions, IteratorMode, ReadOptions, ReadTier, WriteBatch,
    WriteOptions, properties,
};
use self_cell::self_cell;

use super::options::{Counted, Shared};
use crate::Error;
use crate::batch::Batch;
use crate::metrics::Sizes;
use crate::tables::{Row, Rows};

/// An open database. Its directory is in use until the last `Arc` to it is dropped.
pub(super) struct Database {
    pub(super) db: DB,
    partition: u32,
    writes: WriteOptions,
    /// A write failed: RocksDB may accept the next one, on top of a hole.
    poisoned: AtomicBool,
    /// Something in it cannot be what was written, or the disk does not give it.
    damaged: AtomicBool,
    _counted: Counted,
    /// Dropped after `db`, as fields are dropped in their order.
    closed: SignalClosed,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn open(shared: &Shared, path: &Path, partition: u32) -> Result<Self, Error> {
        let db = DB::open(&shared.database(), path)
            .map_err(|error| failed(partition, &format!("open {}", path.display()), error))?;
        // Not synced: the log has committed the records, and what is lost is folded again.
        let mut writes = WriteOptions::default();
        writes.set_sync(false);
        writes.disable_wal(shared.options().without_log);
        Ok(Self {
            db,
            partition,
            writes,
            poisoned: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            _counted: shared.count(),
            closed: SignalClosed::default(),
        })
    }

    /// Whether it lies there.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.db.path() == path
    }

    /// Writes what is only in memory and its log to table files.
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.db.flush().map_err(|error| self.failed("flush", error))
    }

    /// Begins to write what is only in memory to table files.
    pub(super) fn begin_flush(&self) {
        let mut options = FlushOptions::default();
        options.set_wait(false);
        // Whoever writes next hears of what is wrong.
        let _ = self.db.flush_opt(&options);
    }

    /// Rows with `from` ≤ key < `until`, rising.
    pub(super) fn rows(
        &self,
        from: &[u8],
        until: &[u8],
    ) -> impl Iterator<Item = Result<Row, Error>> {
        let rows = rows(&self.db, ReadOptions::default(), from, until);
        rows.map(|row| row.map_err(|error| self.failed("scan", error)))
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::SeqCst)
    }

    /// A row of it cannot be what was written.
    pub(super) fn found_damaged(&self) {
        self.damaged.store(true, Ordering::SeqCst);
    }

    pub(super) fn apply(&self, batch: Batch) -> Result<(), Error> {
        let mut writes = WriteBatch::default();
        for (key, value) in batch.entries {
            match value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        self.db.write_opt(writes, &self.writes).map_err(|error| {
            self.poisoned.store(true, Ordering::SeqCst);
            self.failed("write batch", error)
        })
    }

    /// Gives up this handle and waits until readers have given up theirs and RocksDB has let go of
    /// the directory. If they do not in time, the handle comes back.
    pub(super) fn close(self: Arc<Self>, timeout: Duration) -> Result<(), Arc<Self>> {
        let closed = Arc::clone(&self.closed.0);
        let weak = Arc::downgrade(&self);
        drop(self);
        wait_closed(&closed, &weak, timeout)
    }

    /// What RocksDB says of itself; 0 where it says nothing.
    pub(super) fn sizes(&self) -> Sizes {
        let value = |name| self.db.property_int_value(name).ok().flatten().unwrap_or_default();
        Sizes {
            keys: value(properties::ESTIMATE_NUM_KEYS),
            disk_bytes: value(properties::TOTAL_SST_FILES_SIZE),
            buffer_bytes: value(properties::SIZE_ALL_MEM_TABLES),
            pending_bytes: value(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            stopped: value(properties::IS_WRITE_STOPPED),
        }
    }

    pub(super) fn failed(&self, attempted: &str, error: rocksdb::Error) -> Error {
        let error = failed(self.partition, attempted, error);
        if matches!(error, Error::Unreadable { .. }) {
            self.found_damaged();
        }
        error
    }
}

/// A store that RocksDB cannot make sense of is unreadable; trying again would not help.
fn failed(partition: u32, attempted: &str, error: rocksdb::Error) -> Error {
    let damaged = match error.kind() {
        ErrorKind::Corruption | ErrorKind::NotSupported | ErrorKind::InvalidArgument => true,
        // A file that the manifest names is gone, or the disk does not give it.
        ErrorKind::IOError => {
            error.as_ref().contains("No such file") || is_not_read(error.as_ref())
        }
        ErrorKind::NotFound
        | ErrorKind::MergeInProgress
        | ErrorKind::Incomplete
        | ErrorKind::ShutdownInProgress
        | ErrorKind::TimedOut
        | ErrorKind::Aborted
        | ErrorKind::Busy
        | ErrorKind::Expired
        | ErrorKind::TryAgain
        | ErrorKind::CompactionTooLarge
        | ErrorKind::ColumnFamilyDropped
        | ErrorKind::Unknown => false,
    };
    if damaged {
        return Error::Unreadable { partition, reason: format!("{attempted}: {error}") };
    }
    let attempted = format!("{attempted} in store of partition {partition}");
    Error::Io { attempted, source: Box::new(error) }
}

/// Whether the device could not read (EIO), by the text, which is all that RocksDB tells. Writes that it
/// could not do are none of damage: what was written before may be whole.
fn is_not_read(error: &str) -> bool {
    let is_read = ["While pread", "While reading", "While mmap read"];
    error.contains("Input/output error") && is_read.iter().any(|read| error.contains(read))
}

/// Waits until what tells of its end has come to it. If somebody still has it in the end, the waiter has it
/// too.
fn wait_closed<T>(
    (closed, told): &(Mutex<bool>, Condvar),
    weak: &Weak<T>,
    timeout: Duration,
) -> Result<(), Arc<T>> {
    let flag = closed.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = told.wait_timeout_while(flag, timeout, |closed| !*closed);
    let (flag, _) = waited.unwrap_or_else(PoisonError::into_inner);
    if *flag {
        return Ok(());
    }
    if let Some(held) = weak.upgrade() {
        return Err(held);
    }
    // The last reader gave it up just now, and RocksDB is at it.
    drop(told.wait_while(flag, |closed| !*closed).unwrap_or_else(PoisonError::into_inner));
    Ok(())
}

/// Tells those who wait that the database is closed.
#[derive(Debug, Default)]
struct SignalClosed(Arc<(Mutex<bool>, Condvar)>);

impl Drop for SignalClosed {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

impl Rows for Database {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.db.get(key).map_err(|error| self.failed("read", error))
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Error> {
        self.rows(from, until).take(limit).collect()
    }
}

fn rows<'a>(
    db: &'a DB,
    mut options: ReadOptions,
    from: &[u8],
    until: &[u8],
) -> impl Iterator<Item = Result<Row, rocksdb::Error>> + use<'a> {
    options.set_iterate_upper_bound(until);
    let rows = db.iterator_opt(IteratorMode::From(from, Direction::Forward), options);
    rows.map(|row| row.map(|(key, value)| (key.into(), value.into())))
}

type DbSnapshot<'a> = rocksdb::SnapshotWithThreadMode<'a, DB>;

/// A snapshot, and how it is read.
struct Pinned<'a> {
    /// Dropped after the options, which point to it.
    from_disk: ReadOptions,
    from_memory: ReadOptions,
    snapshot: DbSnapshot<'a>,
}

impl<'a> Pinned<'a> {
    fn new(database: &'a Database) -> Self {
        let snapshot = database.db.snapshot();
        let [from_disk, from_memory] =
            [Reads::Disk, Reads::Memory].map(|reads| options(&snapshot, reads));
        Self { from_disk, from_memory, snapshot }
    }
}

fn options(snapshot: &DbSnapshot<'_>, reads: Reads) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_snapshot(snapshot);
    if reads == Reads::Memory {
        options.set_read_tier(ReadTier::BlockCache);
    }
    options
}

self_cell!(
    /// A snapshot and the database it is of. RocksDB's own snapshot borrows the database, and one
    /// taken anew inside each call would not be the same state from call to call.
    struct SnapshotCell {
        owner: Arc<Database>,
        #[covariant]
        dependent: Pinned,
    }
);

/// What a read may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    Disk,
    /// Buffers and block cache only: what is not there is [`Error::NotInMemory`].
    Memory,
}

/// Rows as they were when it was made. Clones are of the same moment.
#[derive(Clone)]
pub(super) struct SnapshotRows {
    cell: Arc<SnapshotCell>,
    reads: Reads,
}

impl SnapshotRows {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let cell = SnapshotCell::new(database, |database| Pinned::new(database));
        Self { cell: Arc::new(cell), reads: Reads::Disk }
    }

    /// The same rows, read in this way.
    pub(super) fn reading(&self, reads: Reads) -> Self {
        Self { cell: Arc::clone(&self.cell), reads }
    }

    fn options(&self) -> &ReadOptions {
        let pinned = self.cell.borrow_dependent();
        match self.reads {
            Reads::Disk => &pinned.from_disk,
            Reads::Memory => &pinned.from_memory,
        }
    }

    fn failed(&self, attempted: &str, error: rocksdb::Error) -> Error {
        match (self.reads, error.kind()) {
            (Reads::Memory, ErrorKind::Incomplete) => Error::NotInMemory,
            _ => self.cell.borrow_owner().failed(attempted, error),
        }
    }
}

impl std::fmt::Debug for SnapshotRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let database = self.cell.borrow_owner();
        f.debug_struct("SnapshotRows").field("of", database).field("reads", &self.reads).finish()
    }
}

impl Rows for SnapshotRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = self.cell.borrow_owner().db.get_opt(key, self.options());
        found.map_err(|error| self.failed("read", error))
    }

    fn get_each(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let found = self.cell.borrow_owner().db.multi_get_opt(keys, self.options());
        let found = found.into_iter().collect::<Result<_, _>>();
        found.map_err(|error| self.failed("read", error))
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Error> {
        let options = options(&self.cell.borrow_dependent().snapshot, self.reads);
        let found = rows(&self.cell.borrow_owner().db, options, from, until).take(limit);
        found.collect::<Result<_, _>>().map_err(|error| self.failed("scan", error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Something whose end takes as long as it is told to.
    struct Slow {
        go_on: Mutex<mpsc::Receiver<()>>,
        closed: SignalClosed,
    }

    impl Drop for Slow {
        fn drop(&mut self) {
            self.go_on.lock().unwrap().recv().unwrap();
        }
    }

    #[test]
    fn one_that_is_being_closed_when_the_time_is_up_is_waited_for() {
        let (go_on, told) = mpsc::channel();
        let slow = Arc::new(Slow { go_on: Mutex::new(told), closed: SignalClosed::default() });
        let (signal, weak) = (Arc::clone(&slow.closed.0), Arc::downgrade(&slow));
        let held = wait_closed(&signal, &weak, Duration::ZERO).expect_err("it is here");
        drop(held);
        let reader = std::thread::spawn(move || drop(slow));
        while weak.strong_count() > 0 {
            std::thread::yield_now();
        }
        let (done, waited) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let closed = wait_closed(&signal, &weak, Duration::ZERO).is_ok();
            done.send(closed && *signal.0.lock().unwrap()).unwrap();
        });
        let early = waited.recv_timeout(Duration::from_millis(100));
        assert!(early.is_err(), "it was not closed yet");
        go_on.send(()).unwrap();
        assert!(waited.recv().unwrap());
        reader.join().unwrap();
        waiter.join().unwrap();
    }

    #[test]
    fn what_the_device_does_not_give_is_damage_and_what_it_does_not_take_is_not() {
        let of =
            |what: &str, why: &str| is_not_read(&format!("IO error: {what}: /0/000012.sst: {why}"));
        for read in ["While pread offset 0 len 4096", "While reading file sequentially"] {
            assert!(of(read, "Input/output error"), "{read}");
            assert!(!of(read, "Too many open files"), "{read}");
        }
        for write in ["While appending to file", "While fdatasync", "While fsync"] {
            assert!(!of(write, "Input/output error"), "{write}");
        }
    }
}
