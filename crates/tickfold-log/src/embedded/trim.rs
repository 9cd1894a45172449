//! Deleting the head of a partition: what a trim writes, and how its space comes back.
//!
//! The new start and the deletion of everything below it are in the batch of one group, so a crash
//! leaves both or nothing. The records go by one range tombstone, not by one tombstone each: a trim
//! costs the same however much it deletes, and a reader that begins at the start has nothing to
//! step over. It always begins at offset 0, so that it also covers what a tombstone of an earlier
//! trim covered, if the file of that one is dropped first.
//!
//! Nobody is shown a record below the start in any case, so the rest is about space only. Files
//! that hold nothing else are dropped at once. What shares a file with other records, is in the
//! youngest level or still in the write buffer goes with RocksDB's background compaction, under
//! load soon, on an idle log late. Compacting here would rewrite neighbours for the sake of the
//! space, and the writer would wait.

use rocksdb::{DB, WriteBatch};

use super::layout::{self, TopicId};
use crate::{Offset, PartitionId};

/// A partition whose records below `start` are trimmed; `start` is above 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trimmed {
    pub(super) topic: TopicId,
    pub(super) partition: PartitionId,
    pub(super) start: Offset,
    /// How many went with this trim.
    pub(super) records: u64,
}

impl Trimmed {
    /// Adds start and deletion to the batch of a group.
    pub(super) fn put(&self, batch: &mut WriteBatch) {
        let key = layout::start_key(self.topic, self.partition);
        batch.put(&key, layout::encode_start(&key, self.start));
        batch.delete_range(self.record_key(0), self.record_key(self.start));
    }

    /// Drops the files that hold trimmed records only, once their trim is synced. It edits the
    /// manifest and reads nothing. A failure costs space until the next compaction; if it means
    /// more than that, the next write fails by itself.
    pub(super) fn drop_files(&self, db: &DB) {
        // Both ends are inclusive here: a file that ends with the record at the start must stay.
        let last = self.start.saturating_sub(1);
        if let Err(error) = db.delete_file_in_range(self.record_key(0), self.record_key(last)) {
            tracing::warn!(%error, "files of trimmed records not dropped, compaction will");
        }
    }

    fn record_key(&self, offset: Offset) -> Vec<u8> {
        layout::record_key(self.topic, self.partition, offset)
    }
}
