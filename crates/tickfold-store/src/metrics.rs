//! Names and descriptions of this crate's metrics, and the function that sets them. All are read from
//! RocksDB when somebody asks, so they cost nothing in between.

use metrics::{Unit, describe_gauge, gauge};

const KEYS: &str = "tickfold_store_keys";
const DISK_BYTES: &str = "tickfold_store_disk_bytes";
const BUFFER_BYTES: &str = "tickfold_store_write_buffer_bytes";
const PENDING_BYTES: &str = "tickfold_store_compaction_pending_bytes";
const STOPPED: &str = "tickfold_store_writes_stopped";
const CACHE_BYTES: &str = "tickfold_store_block_cache_bytes";

/// Describes the metrics to the installed recorder.
pub fn describe() {
    describe_gauge!(
        KEYS,
        Unit::Count,
        "Keys in the state, as RocksDB estimates them, by partition"
    );
    describe_gauge!(DISK_BYTES, Unit::Bytes, "Table files of the state, by partition");
    describe_gauge!(BUFFER_BYTES, Unit::Bytes, "Write buffers of the state, by partition");
    describe_gauge!(
        PENDING_BYTES,
        Unit::Bytes,
        "What compaction has still to rewrite, as RocksDB estimates it, by partition"
    );
    describe_gauge!(
        STOPPED,
        Unit::Count,
        "1 while RocksDB takes no writes because flush or compaction cannot keep up, by partition"
    );
    describe_gauge!(CACHE_BYTES, Unit::Bytes, "Block cache of all partitions together");
}

/// What RocksDB says of one partition's database.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    pub(crate) keys: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) buffer_bytes: u64,
    pub(crate) pending_bytes: u64,
    pub(crate) stopped: u64,
}

pub(crate) fn sizes(partition: u32, sizes: &Sizes) {
    let Sizes { keys, disk_bytes, buffer_bytes, pending_bytes, stopped } = *sizes;
    let all = [
        (KEYS, keys),
        (DISK_BYTES, disk_bytes),
        (BUFFER_BYTES, buffer_bytes),
        (PENDING_BYTES, pending_bytes),
        (STOPPED, stopped),
    ];
    for (name, value) in all {
        gauge!(name, "partition" => partition.to_string()).set(as_f64(value));
    }
}

pub(crate) fn block_cache(bytes: u64) {
    gauge!(CACHE_BYTES).set(as_f64(bytes));
}

/// Gauges are floating point; what they count stays far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "display only")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
