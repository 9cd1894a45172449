//! Folding records that were read into an overlay, up to the bounds of one commit.

use std::collections::VecDeque;

use tickfold_core::fold::{Output, Partition};
use tickfold_core::overlay::{Overlay, Source, SourceError};
use tickfold_core::raw::{CONTROL_TICK, KIND_CONTROL, RawRecord, header};
use tickfold_core::time::Timestamp;
use tickfold_log::{Offset, Record};

/// Records folded on top of the store and not yet committed.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) overlay: Overlay,
    pub(super) outputs: Vec<Output>,
    /// The next input offset.
    pub(super) next: Offset,
    /// CRC of the last record folded.
    pub(super) crc: u32,
    /// True once there is anything but the passing of time: then it is committed at once.
    pub(super) urgent: bool,
    /// When the first record was folded, on the driver's clock; `None` while empty.
    pub(super) since_ms: Option<u64>,
}

impl Batch {
    /// Nothing yet, after a position.
    pub(super) fn at(next: Offset, crc: u32) -> Self {
        let overlay = Overlay::default();
        Self { overlay, outputs: Vec::new(), next, crc, urgent: false, since_ms: None }
    }

    /// Folds records from the front of the queue, until it is empty or the batch is full. Stops
    /// before a record at or above `end`. What is left in the queue belongs to the next batch.
    pub(super) fn fold<S: Source + ?Sized>(
        &mut self,
        store: &S,
        partition: Partition,
        queue: &mut VecDeque<Record>,
        end: Option<Offset>,
        limits: &Limits,
    ) -> Result<(), SourceError> {
        let before = self.overlay.head;
        let unurgent = !self.urgent;
        let mut folded: Vec<Record> = Vec::new();
        while let Some(record) = queue.pop_front() {
            if end.is_some_and(|end| record.offset >= end) {
                queue.push_front(record);
                break;
            }
            let outputs =
                tickfold_core::fold(&mut self.overlay, store, partition, &raw_record(&record))?;
            let full = self.outputs.len().saturating_add(outputs.len()) > limits.outputs_max;
            if full && !self.outputs.is_empty() && unurgent {
                // Its outputs do not fit, and a record is never split. What came before is folded
                // anew without it: rare, and cheaper than a copy of the overlay per record. The
                // fold is deterministic, so the outputs at hand stay good. Before this call the
                // overlay had nothing but a head, or the batch would have been committed.
                self.overlay = Overlay { head: before, ..Overlay::default() };
                for earlier in &folded {
                    let earlier = raw_record(earlier);
                    tickfold_core::fold(&mut self.overlay, store, partition, &earlier)?;
                }
                queue.push_front(record);
                break;
            }
            self.urgent |= !outputs.is_empty() || !is_tick(&record);
            self.outputs.extend(outputs);
            self.next = record.offset.saturating_add(1);
            self.crc = record.crc();
            self.since_ms.get_or_insert(limits.now_ms);
            folded.push(record);
            // A timer may change state without an output, so timers count by themselves.
            let changes = self.outputs.len().max(self.overlay.timers.len());
            if changes >= limits.outputs_max {
                break;
            }
        }
        // A tick without outputs may still forget a natural key or an expired timer.
        self.urgent |= !self.overlay.is_unchanged();
        Ok(())
    }
}

/// Bounds of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) outputs_max: usize,
    pub(super) now_ms: u64,
}

/// A record of the log as the fold takes it.
fn raw_record(record: &Record) -> RawRecord<'_> {
    RawRecord {
        offset: record.offset,
        appended: Timestamp::from_millis(record.timestamp_ms),
        headers: record.headers.iter().map(|h| (h.name.as_str(), h.value.as_ref())).collect(),
        value: record.value.as_deref(),
    }
}

/// A record that carries nothing but time. Any other is committed at once even if it changes
/// nothing, since whoever appended it may wait for its position to be applied.
fn is_tick(record: &Record) -> bool {
    let is = |name: &str, value: &str| {
        record.header(name).is_some_and(|found| found.as_ref() == value.as_bytes())
    };
    is(header::KIND, KIND_CONTROL) && is(header::CONTROL, CONTROL_TICK)
}
