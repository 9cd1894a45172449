//! Folding raw onto a store that nobody else has, without outputs: for replays, for the state of
//! then, and for whoever wants to see that state follows from raw.
//!
//! It is the fold of a restart, without the group and without making outputs only to drop them: the
//! same digests and cursor. What a selection leaves out is folded as a tick, so that time passes as it
//! did.

use std::sync::Arc;

use tickfold_core::fold::{Partition, fold_muted};
use tickfold_core::overlay::{Overlay, SourceError};
use tickfold_core::raw::{CONTROL_RULES, header, tick_headers};
use tickfold_core::rules::Rules;
use tickfold_core::state::Regime;
use tickfold_log::{Error as LogError, Header, Log, Offset, Record, RecordDigest, TopicPartition};
use tickfold_store::{Error as StoreError, PartitionStore, StoreHead};

use super::batch::raw_record;
use super::live::head_after;
use crate::options::Options;
use crate::selection::Selection;

/// How a partition is folded without outputs.
#[derive(Debug, Clone)]
pub struct MutedFold {
    partition: Partition,
    options: Arc<Options>,
    selection: Selection,
    rules: Option<Arc<Rules>>,
}

/// What one batch was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folded {
    /// Records read.
    pub records: u64,
    /// Those of them that the selection takes; with the others only time passes.
    pub selected: u64,
    /// Bytes of the records read.
    pub bytes: u64,
}

/// Why folding did not go on. What was folded before is in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MutedError {
    /// The log could not be read.
    #[error("read the log")]
    Log(#[source] LogError),
    /// The store could not be read.
    #[error("read the store")]
    Source(#[source] SourceError),
    /// The store could not be read or written.
    #[error("write the store")]
    Store(#[source] StoreError),
    /// The log was trimmed up to above the cursor of the store.
    #[error("the log begins at {start}, above {cursor}, where the store stands")]
    Trimmed {
        /// First readable offset.
        start: Offset,
        /// Cursor of the store.
        cursor: Offset,
    },
}

impl MutedFold {
    /// Everything, by the rules in the log. The options give the bounds of a batch.
    pub fn new(partition: Partition, options: Arc<Options>) -> Self {
        Self { partition, options, selection: Selection::default(), rules: None }
    }

    /// Only these records.
    #[must_use]
    pub fn select(self, selection: Selection) -> Self {
        Self { selection, ..self }
    }

    /// By these rules, whatever the log says.
    #[must_use]
    pub fn under(self, rules: Option<Arc<Rules>>) -> Self {
        Self { rules, ..self }
    }

    /// With so many records in a batch at most.
    #[must_use]
    pub fn in_batches_of(self, records: usize) -> Self {
        let batch_records_max = records.clamp(1, self.options.batch_records_max.max(1));
        let options = Arc::new(Options { batch_records_max, ..(*self.options).clone() });
        Self { options, ..self }
    }

    /// Gives an empty store the offset to begin at, and any store the rules to go by. Not to be done
    /// again once something is folded.
    pub fn begin(&self, store: &mut dyn PartitionStore, at: Offset) -> Result<(), StoreError> {
        let before = store.store_head();
        let mut overlay = Overlay::default();
        let mut head = before.head;
        if let Some(rules) = &self.rules {
            let known = store.regime().map_err(|SourceError(source)| StoreError::Io {
                attempted: format!("read the rules of partition {}", self.partition.id),
                source,
            })?;
            let regime = Regime { rules: Arc::clone(rules), ..known.clone().unwrap_or_default() };
            if let Ok(entry) = overlay.regime.entry(&(), |()| Ok(known)) {
                *entry = Some(regime);
            }
            head.rules_version = rules.version();
        }
        let cursor = before.cursor.max(at);
        let digest = store.digest_after(&overlay)?;
        store.write(before.cursor, &overlay, StoreHead { cursor, head, digest, ..before })
    }

    /// Reads one batch from where the store stands, folds what of it is below `until`, and writes the
    /// store. `None` once the store is there. The cursor comes to `until` also where no record is left
    /// below it.
    pub async fn step(
        &self,
        log: &dyn Log,
        raw: &TopicPartition,
        store: &mut dyn PartitionStore,
        until: Offset,
    ) -> Result<Option<Folded>, MutedError> {
        let cursor = store.store_head().cursor;
        if cursor >= until {
            return Ok(None);
        }
        let (records_max, bytes_max) =
            (self.options.batch_records_max, self.options.batch_bytes_max);
        let records = log.read(raw, cursor, records_max, bytes_max).await;
        let records = records.map_err(MutedError::Log)?;
        // A trimmed log goes on at its start without a word.
        if records.first().is_none_or(|first| first.offset > cursor) {
            let start = log.bounds(raw).await.map_err(MutedError::Log)?.start;
            if start > cursor {
                return Err(MutedError::Trimmed { start, cursor });
            }
        }
        self.fold(store, records, until).map(Some)
    }

    /// Folds records that follow on where the store stands.
    pub fn fold(
        &self,
        store: &mut dyn PartitionStore,
        mut records: Vec<Record>,
        until: Offset,
    ) -> Result<Folded, MutedError> {
        let reached = records.last().is_none_or(|last| last.offset.saturating_add(1) >= until);
        records.retain(|record| record.offset < until);
        let mut folded = Folded::default();
        for record in &mut records {
            folded.records += 1;
            folded.bytes += u64::try_from(record.size_bytes()).unwrap_or(u64::MAX);
            if self.takes(record) {
                folded.selected += 1;
            } else {
                become_tick(record, self.partition.count);
            }
        }
        let mut rest = records.as_slice();
        loop {
            let from = store.store_head().cursor;
            let mut overlay = Overlay::default();
            let mut next = from;
            let mut raw = RecordDigest::default();
            while let Some((record, behind)) = rest.split_first() {
                raw.add(record);
                fold_muted(&mut overlay, &*store, self.partition, &raw_record(record))
                    .map_err(MutedError::Source)?;
                (next, rest) = (record.offset.saturating_add(1), behind);
                // One record may fire many.
                if overlay.timers.len() >= self.options.batch_outputs_max {
                    break;
                }
            }
            if rest.is_empty() && reached {
                next = until;
            }
            let to = head_after(&*store, &overlay, next, &raw).map_err(MutedError::Store)?;
            store.write(from, &overlay, to).map_err(MutedError::Store)?;
            if rest.is_empty() {
                return Ok(folded);
            }
        }
    }

    fn takes(&self, record: &Record) -> bool {
        let raw = raw_record(record);
        if self.rules.is_some() && raw.header(header::CONTROL) == Some(CONTROL_RULES) {
            return false;
        }
        self.selection.takes(self.partition, &raw)
    }
}

/// Leaves nothing of a record but its place and its time.
fn become_tick(record: &mut Record, partition_count: u32) {
    let header = |(name, value): (&'static str, String)| Header {
        name: name.into(),
        value: value.into_bytes().into(),
    };
    record.headers = tick_headers(partition_count).into_iter().map(header).collect();
    record.value = None;
    record.key = None;
}
