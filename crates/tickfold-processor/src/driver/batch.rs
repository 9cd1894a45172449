//! Folding records that were read into an overlay, up to the bounds of one commit.

use std::collections::VecDeque;

use tickfold_core::fold::{Output, Partition};
use tickfold_core::overlay::{Overlay, Source, SourceError};
use tickfold_core::raw::{CONTROL_TICK, KIND_CONTROL, RawRecord, header};
use tickfold_core::time::Timestamp;
use tickfold_log::{Offset, Record, RecordDigest};

use crate::options::Options;

/// Records folded and not yet committed: on top of the store, or of the batch being committed.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) overlay: Overlay,
    pub(super) outputs: Vec<Output>,
    /// The next input offset.
    pub(super) next: Offset,
    /// CRC of the last record below it.
    crc_below: u32,
    /// Digest of the records folded.
    pub(super) raw: RecordDigest,
    /// True once there is anything but the passing of time: then it is committed at once.
    pub(super) urgent: bool,
    /// True once nothing more fits: then it is committed too.
    pub(super) full: bool,
    /// When the first record was folded, on the driver's clock; `None` while empty.
    pub(super) since_ms: Option<u64>,
    /// What was folded, to fold it anew without a last record that does not fit.
    records: Vec<Record>,
    /// Bytes of these.
    bytes: usize,
    /// What a planted bug takes for the digest.
    #[cfg(feature = "planted-bugs")]
    pub(super) digest: Option<u128>,
}

/// Where and how far to fold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) partition: Partition,
    /// Stop before a record at or above this offset.
    pub(super) end: Option<Offset>,
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
    pub(super) outputs_max: usize,
    pub(super) now_ms: u64,
}

impl Limits {
    /// Those of the options.
    pub(super) fn new(options: &Options, partition: Partition, now_ms: u64) -> Self {
        Self {
            partition,
            end: None,
            records_max: options.batch_records_max,
            bytes_max: options.batch_bytes_max,
            outputs_max: options.batch_outputs_max,
            now_ms,
        }
    }
}

impl Batch {
    /// Nothing yet, after a position.
    pub(super) fn at(next: Offset, crc_below: u32) -> Self {
        Self {
            overlay: Overlay::default(),
            outputs: Vec::new(),
            next,
            crc_below,
            raw: RecordDigest::default(),
            urgent: false,
            full: false,
            since_ms: None,
            records: Vec::new(),
            bytes: 0,
            #[cfg(feature = "planted-bugs")]
            digest: None,
        }
    }

    /// Nothing again, with its records back at the front of the queue: what it was folded on is no
    /// longer what is below.
    pub(super) fn unfold(self, below: Offset, queue: &mut VecDeque<Record>) -> Self {
        self.records.into_iter().rev().for_each(|record| queue.push_front(record));
        Self::at(below, self.crc_below)
    }

    /// CRC of the last record folded.
    pub(super) fn crc(&self) -> u32 {
        self.records.last().map_or(self.crc_below, Record::crc)
    }

    /// Records and bytes that may still be read for it; not 0 unless it is full.
    pub(super) fn room(&self, options: &Options) -> (usize, usize) {
        let records = options.batch_records_max.saturating_sub(self.records.len());
        (records, options.batch_bytes_max.saturating_sub(self.bytes))
    }

    /// Folds records from the front of the queue on top of what is `below`, until it is empty or
    /// the batch is full. What is left in the queue belongs to the next batch.
    pub(super) fn fold<S: Source + ?Sized>(
        &mut self,
        below: &S,
        queue: &mut VecDeque<Record>,
        limits: &Limits,
    ) -> Result<(), SourceError> {
        while !self.full
            && let Some(record) = queue.pop_front()
        {
            let bytes = self.bytes.saturating_add(record.size_bytes());
            let too_large = bytes > limits.bytes_max && !self.records.is_empty();
            if too_large || limits.end.is_some_and(|end| record.offset >= end) {
                self.full = true;
                queue.push_front(record);
                break;
            }
            let outputs = tickfold_core::fold(
                &mut self.overlay,
                below,
                limits.partition,
                &raw_record(&record),
            )?;
            let count = self.outputs.len().saturating_add(outputs.len());
            if count > limits.outputs_max && !self.outputs.is_empty() {
                // Its outputs do not fit, and a record is never split. What came before is folded
                // anew without it: rare, and cheaper than a copy of the overlay per record. The
                // fold is deterministic, so the outputs at hand stay good.
                self.overlay = Overlay::default();
                for earlier in &self.records {
                    let earlier = raw_record(earlier);
                    tickfold_core::fold(&mut self.overlay, below, limits.partition, &earlier)?;
                }
                self.full = true;
                queue.push_front(record);
                break;
            }
            self.urgent |= !outputs.is_empty() || !is_tick(&record);
            self.outputs.extend(outputs);
            self.next = record.offset.saturating_add(1);
            self.raw.add(&record);
            self.since_ms.get_or_insert(limits.now_ms);
            self.records.push(record);
            self.bytes = bytes;
            // A timer may change state without an output, so timers count by themselves.
            let changes = self.outputs.len().max(self.overlay.timers.len());
            self.full = self.records.len() >= limits.records_max
                || bytes >= limits.bytes_max
                || changes >= limits.outputs_max;
        }
        // A tick without outputs may still forget a natural key or an expired timer.
        self.urgent = self.urgent || !self.overlay.is_unchanged();
        Ok(())
    }
}

/// A record of the log as the fold takes it.
pub fn raw_record(record: &Record) -> RawRecord<'_> {
    RawRecord {
        offset: record.offset,
        appended: Timestamp::from_millis(record.timestamp_ms),
        headers: record.headers.iter().map(|h| (&*h.name, h.value.as_ref())).collect(),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tickfold_core::overlay::Nothing;
    use tickfold_core::raw::tick_headers;
    use tickfold_log::Header;

    use super::*;

    const ALL: Limits = Limits {
        partition: Partition { id: 0, count: 1 },
        end: None,
        records_max: usize::MAX,
        bytes_max: usize::MAX,
        outputs_max: usize::MAX,
        now_ms: 0,
    };

    /// A broken webhook, whose one output is a dead letter.
    fn record(offset: Offset) -> Record {
        Record { value: Some(Bytes::from_static(b"{")), headers: Vec::new(), ..tick(offset) }
    }

    fn tick(offset: Offset) -> Record {
        let header = |(name, value): (&'static str, String)| Header {
            name: name.into(),
            value: value.into_bytes().into(),
        };
        let headers = tick_headers(1).into_iter().map(header).collect();
        Record { offset, timestamp_ms: 1_795_132_800_000, key: None, value: None, headers }
    }

    /// How many of three records a batch takes, and whether it is full.
    fn taken(limits: Limits) -> (u64, bool) {
        let (mut batch, mut queue) = (Batch::at(0, 0), (0..3).map(record).collect::<VecDeque<_>>());
        batch.fold(&Nothing, &mut queue, &limits).unwrap();
        assert_eq!(batch.next + queue.len() as u64, 3, "none is lost between the two");
        assert_eq!(batch.records.len() as u64, batch.next);
        (batch.next, batch.full)
    }

    #[test]
    fn each_limit_alone_fills_a_batch_and_what_just_fits_belongs_to_it() {
        let size = record(0).size_bytes();
        let outputs = {
            let (mut batch, mut queue) = (Batch::at(0, 0), VecDeque::from([record(0)]));
            batch.fold(&Nothing, &mut queue, &ALL).unwrap();
            batch.outputs.len()
        };
        assert_eq!(outputs, 1);
        assert_eq!(taken(ALL), (3, false));
        assert_eq!(taken(Limits { records_max: 2, ..ALL }), (2, true));
        assert_eq!(taken(Limits { bytes_max: 2 * size, ..ALL }), (2, true));
        assert_eq!(taken(Limits { bytes_max: 2 * size - 1, ..ALL }), (1, true));
        assert_eq!(taken(Limits { bytes_max: size - 1, ..ALL }), (1, true), "always one record");
        assert_eq!(taken(Limits { outputs_max: 2, ..ALL }), (2, true));
        assert_eq!(taken(Limits { end: Some(2), ..ALL }), (2, true));
        assert_eq!(taken(Limits { end: Some(3), ..ALL }), (3, false));
    }

    #[test]
    fn only_time_that_passes_can_wait() {
        for (record, is_urgent) in [(tick(0), false), (record(0), true)] {
            let (mut batch, mut queue) = (Batch::at(0, 0), VecDeque::from([record]));
            batch.fold(&Nothing, &mut queue, &ALL).unwrap();
            assert_eq!(batch.urgent, is_urgent);
        }
    }
}
