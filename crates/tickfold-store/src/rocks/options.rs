//! Options of the rocks stores, and what RocksDB makes of them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options,
    WriteBufferManager,
};

use super::lock;

/// Memory and places of the stores of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RocksOptions {
    /// Block cache of all partitions together, in bytes. Default: 64 MiB.
    pub block_cache_bytes: usize,
    /// Rows in the write buffers of all partitions together, in bytes; what each buffer has beside its rows
    /// is not counted. Default: 64 MiB.
    pub write_buffer_bytes_total: usize,
    /// Files that each partition keeps open at most. Default: 256.
    pub open_files_max: u16,
    /// Flushes and compactions that each partition runs at most at a time; a quarter of them are
    /// flushes. RocksDB's threads are shared by all partitions and are as many. Default: 4.
    pub background_jobs_max: u8,
    /// Where checkpoints go: outside the data directory, or they are lost with it. Without it no
    /// checkpoint can be made. Default: none.
    pub checkpoint_dir: Option<PathBuf>,
    /// Write without RocksDB's log: a crash loses what was not flushed, from some batch on. For
    /// stores that are folded on from wherever they are found. Default: false.
    pub without_log: bool,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 << 20,
            write_buffer_bytes_total: 64 << 20,
            open_files_max: 256,
            background_jobs_max: 4,
            checkpoint_dir: None,
            without_log: false,
        }
    }
}

/// The part of a write buffer that its bloom filter takes is one in so many: ten bits for each of 250,000
/// rows of the default budget, and buffers are flushed long before.
const BUFFER_BLOOM_PART: u8 = 200;

/// What a write buffer grows by. RocksDB would take 1 MiB for the default budget, which each partition's
/// buffer then has for its first row.
const BUFFER_BLOCK_BYTES: usize = 64 << 10;

/// The budgets that all partitions share.
#[derive(Clone)]
pub(super) struct Shared {
    block_cache: Cache,
    write_buffers: WriteBufferManager,
    /// Databases that are open.
    open: Arc<Mutex<usize>>,
    options: RocksOptions,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A database that is open.
#[derive(Debug)]
pub(super) struct Counted(Shared);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.budget(|open| open.saturating_sub(1));
    }
}

impl Shared {
    pub(super) fn new(options: RocksOptions) -> Self {
        Self {
            // Readers of all partitions meet here; this kind has no locks.
            block_cache: Cache::new_hyper_clock_cache(options.block_cache_bytes, 0),
            // Without stalls: a partition over the budget flushes, it does not stop the others.
            write_buffers: WriteBufferManager::new_write_buffer_manager(
                options.write_buffer_bytes_total,
                false,
            ),
            open: Arc::default(),
            options,
        }
    }

    /// Counts a database that is open for as long as what this returns lives.
    pub(super) fn count(&self) -> Counted {
        self.budget(|open| open.saturating_add(1));
        Counted(self.clone())
    }

    /// Sets the budget of write buffers. RocksDB counts what each has beside its rows too, and where that alone is
    /// as much as the budget, with some dozens of partitions, it flushes a buffer for each batch.
    fn budget(&self, change: impl FnOnce(usize) -> usize) {
        let mut open = lock(&self.open);
        *open = change(*open);
        let size = self.write_buffer_size();
        let beside = size / usize::from(BUFFER_BLOOM_PART) + BUFFER_BLOCK_BYTES;
        // It flushes at seven eighths.
        let beside = beside.saturating_mul(*open).saturating_mul(8) / 7;
        self.write_buffers.set_buffer_size(size.saturating_add(beside));
    }

    /// One partition alone may use the whole budget, not more.
    fn write_buffer_size(&self) -> usize {
        self.options.write_buffer_bytes_total.max(1 << 20)
    }

    pub(super) fn block_cache_usage(&self) -> u64 {
        u64::try_from(self.block_cache.get_usage()).unwrap_or(u64::MAX)
    }

    pub(super) fn options(&self) -> &RocksOptions {
        &self.options
    }

    /// Options of the database of one partition.
    pub(super) fn database(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.block_cache);
        // Lookups by wamid ask every partition, and most have never heard of it.
        blocks.set_bloom_filter(10.0, false);
        // Indexes and filters count against the budget too. In parts of a block each: as one piece per
        // file they are megabytes, and a look at a file whose piece was evicted reads all of it.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);

        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_write_buffer_size(self.write_buffer_size());
        options.set_arena_block_size(BUFFER_BLOCK_BYTES);
        // Most keys that the fold asks for are not in the buffer, and a search through it would tell.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(f64::from(BUFFER_BLOOM_PART).recip());
        // A store has one writer, so nothing needs to be inserted side by side.
        options.set_allow_concurrent_memtable_write(false);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_max_open_files(self.options.open_files_max.into());
        options.set_max_background_jobs(self.options.background_jobs_max.max(1).into());
        // What is not synced may be lost, from some batch on: raw has it. Damage shows in the
        // digest, so a store that opens to fewer batches is as good as one that was behind.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_paranoid_checks(true);
        // Timers are deleted from the front of their family. Compacting runs of deletions keeps the
        // search for the first that is left short.
        options.add_compact_on_deletion_collector_factory(1_024, 512, 0.5);
        // RocksDB's own text log, which nothing reads until something is wrong.
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(4 << 20);
        options
    }
}
