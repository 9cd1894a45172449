//! Names and descriptions of this crate's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Records written and synced together.
pub const GROUP_RECORDS: &str = "tickfold_log_group_records";
/// Bytes written and synced together.
pub const GROUP_BYTES: &str = "tickfold_log_group_bytes";
/// Time of one sync.
pub const SYNC_SECONDS: &str = "tickfold_log_sync_seconds";
/// Bytes waiting for the writer or on their way to the disk.
pub const QUEUE_BYTES: &str = "tickfold_log_queue_bytes";
/// Write buffers of the embedded log's database.
pub const WRITE_BUFFER_BYTES: &str = "tickfold_log_write_buffer_bytes";
/// Block cache of the embedded log's database.
pub const BLOCK_CACHE_BYTES: &str = "tickfold_log_block_cache_bytes";
/// Appends refused because the queue was full.
pub const APPENDS_REFUSED: &str = "tickfold_log_appends_refused_total";
/// Kafka clients that knew no broker any more and were given their addresses again, by what they do.
pub const CLIENTS_RESCUED: &str = "tickfold_log_clients_rescued_total";
/// Commits refused because another owner has the partition.
pub const FENCED: &str = "tickfold_log_commits_fenced_total";
/// Commits left in doubt since the Kafka client did not come back from them.
pub const COMMITS_ABANDONED: &str = "tickfold_log_commits_abandoned_total";
/// Records deleted on purpose.
pub const RECORDS_TRIMMED: &str = "tickfold_log_records_trimmed_total";
/// 1 once a write or sync failed.
pub const POISONED: &str = "tickfold_log_poisoned";

/// Describes all of them to the recorder that is installed.
pub fn describe() {
    describe_histogram!(GROUP_RECORDS, Unit::Count, "Records written and synced together");
    describe_histogram!(GROUP_BYTES, Unit::Bytes, "Bytes written and synced together");
    describe_histogram!(SYNC_SECONDS, Unit::Seconds, "Time of one sync of the log");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "Bytes waiting to be written and synced");
    describe_gauge!(
        WRITE_BUFFER_BYTES,
        Unit::Bytes,
        "Write buffers of the embedded log, those included that are being flushed"
    );
    describe_gauge!(BLOCK_CACHE_BYTES, Unit::Bytes, "Block cache of the embedded log");
    describe_counter!(APPENDS_REFUSED, Unit::Count, "Appends refused, the queue being full");
    describe_counter!(CLIENTS_RESCUED, Unit::Count, "Kafka clients that had lost their brokers");
    describe_counter!(
        COMMITS_ABANDONED,
        Unit::Count,
        "Commits in doubt since the Kafka client did not come back"
    );
    describe_counter!(FENCED, Unit::Count, "Commits refused, another owner having claimed");
    describe_counter!(RECORDS_TRIMMED, Unit::Count, "Records deleted on purpose by trimming");
    describe_gauge!(POISONED, Unit::Count, "1 once a write or sync of the log failed");
}
