//! Options of the embedded log, and what they mean for RocksDB.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, LogLevel,
    Options as DbOptions,
    properties::{BLOCK_CACHE_USAGE, CUR_SIZE_ALL_MEM_TABLES},
};

/// Options of [`EmbeddedLog`](super::EmbeddedLog).
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Bytes of appended records that may wait for the writer or be on their way to the disk; beyond
    /// it appends are refused as `Unavailable`. Commits are not counted: each owner has one at most.
    /// Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Appends that may wait likewise. Default 65,536.
    pub queue_requests_max: usize,
    /// Bytes of records written and synced as one group; more waiting requests make the next
    /// group. Commits that wait beside appends have a quarter on top. Default 16 MiB.
    pub group_bytes_max: usize,
    /// RocksDB's write buffer: what is in memory and in the WAL before it becomes a table file. Up
    /// to three exist while full ones are flushed; then writes wait. Default 64 MiB.
    pub write_buffer_bytes: usize,
    /// Cache of blocks read from table files, their indexes included. Default 64 MiB.
    pub block_cache_bytes: usize,
    /// Files RocksDB keeps open. Default 512.
    pub open_files_max: i32,
    /// Where append times come from. Default: the system clock.
    pub clock: Clock,
    /// Opens without comparing what was recovered with the damage mark: the null control of the
    /// damage tests.
    #[cfg(any(test, feature = "test-util"))]
    pub skip_mark_check: bool,
    /// Lets several full write buffers wait for one flush, so that several WALs are alive at once,
    /// as they are under load.
    #[cfg(any(test, feature = "test-util"))]
    pub delay_flush: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            queue_bytes_max: 64 << 20,
            queue_requests_max: 65_536,
            group_bytes_max: 16 << 20,
            write_buffer_bytes: 64 << 20,
            block_cache_bytes: 64 << 20,
            open_files_max: 512,
            clock: Clock::system(),
            #[cfg(any(test, feature = "test-util"))]
            skip_mark_check: false,
            #[cfg(any(test, feature = "test-util"))]
            delay_flush: false,
        }
    }
}

impl EmbeddedOptions {
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn skip_mark_check(&self) -> bool {
        self.skip_mark_check
    }

    #[cfg(not(any(test, feature = "test-util")))]
    #[expect(clippy::unused_self, reason = "the field exists in tests only")]
    pub(super) fn skip_mark_check(&self) -> bool {
        false
    }

    /// The same for the read-only check and for the real open, so that both recover alike.
    pub(super) fn rocksdb(&self) -> DbOptions {
        let mut options = DbOptions::default();
        options.create_if_missing(true);
        // Damage is found by the mark; a torn tail, which a crash leaves, must open.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_paranoid_checks(true);
        // A WAL that is not the newest and was cut at a record boundary looks whole; only its size
        // in the manifest gives it away.
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(3);
        #[cfg(any(test, feature = "test-util"))]
        if self.delay_flush {
            options.set_max_write_buffer_number(10);
            options.set_min_write_buffer_number_to_merge(8);
        }
        // RocksDB has one pool of threads in a process, for the log and all stores, of the most that one
        // of them asks for: a flush and three compactions. With one compaction at a time the log waits
        // for those of the stores, until its files are so many that RocksDB brakes whoever writes.
        options.set_max_background_jobs(4);
        options.set_max_subcompactions(2);
        options.set_max_open_files(self.open_files_max);
        options.set_manifest_preallocation_size(64 << 10);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(16 << 20);
        options.set_log_level(LogLevel::Warn);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(self.block_cache_bytes));
        table.set_block_size(16 << 10);
        // Otherwise the indexes of all files that are open are beside the cache, in no budget.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        options.set_block_based_table_factory(&table);
        options
    }
}

/// What RocksDB has in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Those included that are being flushed.
    pub(super) write_buffers: usize,
    pub(super) block_cache: usize,
}

impl Memory {
    pub(super) fn of(db: &DB) -> Self {
        let bytes = |property: &_| {
            let bytes = db.property_int_value(property).ok().flatten().unwrap_or_default();
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        Self {
            write_buffers: bytes(CUR_SIZE_ALL_MEM_TABLES),
            block_cache: bytes(BLOCK_CACHE_USAGE),
        }
    }
}

/// A source of append times in milliseconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that asks `now_ms`.
    pub fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// The system's wall clock.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }

    /// What it shows now.
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
