//! Outputs of one record: ordinals, headers, encoding and the size limits. Where outputs are muted they
//! are counted and nothing of them is made.

use bytes::Bytes;
use serde::Serialize;

use super::{Output, Place};
use crate::decode::{Site, cut};
use crate::json::Path;
use crate::records::{
    DeadLetterRecord, EventRecord, REDRIVE_SCOPE, REDRIVEN, SCHEMA_VERSION, Source, Topic,
    TransitionRecord, flat,
};
use crate::route::RawText;
use crate::time::Timestamp;

/// How much raw text an output carries, in bytes. Quoting can double it: a field full of `\uXXXX`
/// would otherwise exceed what the log takes and stop the partition for ever.
pub(crate) const FRAGMENT_BYTES_MAX: usize = 256 * 1024;

/// The longest encoded output, in bytes; the log takes 5 MiB.
const OUTPUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most records are shorter than this.
const SCRATCH_BYTES: usize = 1024;

/// Collects the outputs of one record.
pub(super) struct Emitter {
    place: Place,
    /// Of a redrive: the offset of the webhook that it repeats.
    redrive_of: Option<u64>,
    /// Dead letters so far.
    dead_letters: u64,
    /// What all outputs share; none where they are muted.
    shared: Option<Shared>,
    outputs: Vec<Output>,
    /// Outputs so far, also where they are dropped.
    count: usize,
    news: News,
}

/// Events and transitions so far; none where outputs are muted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) all: u64,
    /// Transitions that came late.
    pub(super) late: u64,
}

/// What all outputs of a record share.
struct Shared {
    /// What event ids begin with: all but the ordinal.
    event_id: String,
    /// Values of headers.
    source: Bytes,
    time: Bytes,
    /// Id of the record that was begun.
    begun: Option<Bytes>,
    /// Where records are written, of whatever length, before they are copied to their size.
    scratch: Vec<u8>,
}

/// Raw text as an output carries it.
pub(super) struct Fragment {
    pub raw: String,
    pub truncated: bool,
}

impl Fragment {
    pub(super) fn of(raw: RawText<'_>) -> Self {
        match raw {
            RawText::Json(text) => {
                let raw = cut(text, FRAGMENT_BYTES_MAX);
                Self { truncated: raw.len() < text.len(), raw: raw.to_owned() }
            }
            RawText::Bytes(bytes) => {
                let kept = bytes.get(..FRAGMENT_BYTES_MAX).unwrap_or(bytes);
                let raw = String::from_utf8_lossy(kept).into_owned();
                Self { truncated: kept.len() < bytes.len(), raw }
            }
        }
    }
}

impl Emitter {
    pub(super) fn new(place: Place, redrive_of: Option<u64>, is_muted: bool) -> Self {
        let Place { partition, offset, log_time, .. } = place;
        let shared = (!is_muted).then(|| Shared {
            event_id: format!("{}-{offset}-", partition.id),
            source: format!("tickfold/raw/{}", partition.id).into(),
            time: log_time.to_string().into(),
            begun: None,
            scratch: Vec::with_capacity(SCRATCH_BYTES),
        });
        let (outputs, news) = (Vec::new(), News::default());
        Self { place, redrive_of, dead_letters: 0, shared, outputs, count: 0, news }
    }

    /// The same, whose first output has this ordinal.
    pub(super) fn at_ordinal(self, ordinal: usize) -> Self {
        Self { count: ordinal, ..self }
    }

    /// The outputs. A redrive that left no dead letter says so: of one position the records with
    /// the highest offset count, and without this one the old dead letters would.
    pub(super) fn into_outputs(mut self) -> Vec<Output> {
        if self.redrive_of.is_some() && self.dead_letters == 0 {
            let raw = RawText::Bytes(b"");
            let site = Site { path: Path::Root, waba_id: None, field: None, raw };
            self.dead_letter(REDRIVE_SCOPE, REDRIVEN, &site);
        }
        self.outputs
    }

    /// Outputs so far.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn news(&self) -> News {
        self.news
    }

    pub(super) fn is_muted(&self) -> bool {
        self.shared.is_none()
    }

    /// Ordinal of the next output.
    pub(super) fn ordinal(&self) -> u32 {
        // A record has far fewer outputs than that; see `ITEMS_MAX`.
        u32::try_from(self.count).unwrap_or(u32::MAX)
    }

    /// The common fields of the next record, which is to follow. `None` where outputs are muted: then
    /// it is counted already, since how much one record does depends on it, and need not be made.
    pub(super) fn begin(&mut self, event_time: Option<Timestamp>) -> Option<Source> {
        let ordinal = self.ordinal();
        let Some(shared) = &mut self.shared else {
            self.count += 1;
            return None;
        };
        let event_id = shared.event_id(ordinal);
        shared.begun = Some(Bytes::copy_from_slice(event_id.as_bytes()));
        let Place { partition, offset, log_time, received } = self.place;
        Some(Source {
            event_id,
            revision: offset,
            event_time: event_time.unwrap_or(log_time),
            event_time_estimated: event_time.is_none(),
            received_time: received,
            source_partition: partition.id,
            source_offset: offset,
            schema_version: SCHEMA_VERSION,
        })
    }

    /// Appends the event that was begun.
    pub(super) fn event(&mut self, key: String, event: &EventRecord) {
        self.news.all += 1;
        self.record(Topic::Event, key, event);
    }

    /// Appends the transition that was begun.
    pub(super) fn transition<T: Serialize>(&mut self, key: String, told: &TransitionRecord<T>) {
        self.news.all += 1;
        self.news.late += u64::from(told.late);
        self.record(Topic::Transition, key, told);
    }

    /// Appends the record that was begun. One that is too large, decided by its encoded length so that
    /// every replay decides the same, becomes a dead letter that names it.
    pub(super) fn record(&mut self, topic: Topic, key: String, record: &impl Serialize) {
        let Some(Shared { scratch, .. }) = &mut self.shared else { return };
        scratch.clear();
        // Our records are structs of scalars with text keys, which always encode.
        let encoded = flat::write(scratch, record);
        debug_assert!(encoded.is_ok(), "{encoded:?}");
        if scratch.len() <= OUTPUT_BYTES_MAX {
            let value = Bytes::copy_from_slice(scratch);
            self.push(topic, key, Some(value));
            return;
        }
        let raw = RawText::Json(topic.name());
        let site = Site { path: Path::Root, waba_id: None, field: None, raw };
        self.dead_letter("output", "output_too_large", &site);
    }

    /// Appends a tombstone: the row is gone.
    pub(super) fn tombstone(&mut self, topic: Topic, key: String) {
        self.push(topic, key, None);
    }

    pub(super) fn dead_letter(&mut self, scope: &str, reason: &str, site: &Site<'_>) {
        let Some(source) = self.begin(None) else { return };
        let Fragment { raw, truncated } = Fragment::of(site.raw);
        self.dead_letters += 1;
        let own = self.place.offset;
        let position_of = |offset: u64| format!("{}-{offset}", self.place.partition.id);
        let position = position_of(self.redrive_of.unwrap_or(own));
        let record = DeadLetterRecord {
            source,
            position: position.clone(),
            redrive_position: self.redrive_of.map(|_| position_of(own)),
            path: site.path.to_string(),
            scope: scope.to_owned(),
            reason: reason.to_owned(),
            field: site.field.map(str::to_owned),
            waba_id: site.waba_id.as_ref().map(ToString::to_string),
            raw_truncated: truncated,
            raw,
        };
        let mut value = Vec::new();
        let encoded = flat::write(&mut value, &record);
        debug_assert!(encoded.is_ok(), "{encoded:?}");
        self.push(Topic::DeadLetter, position, Some(value.into()));
    }

    fn push(&mut self, topic: Topic, key: String, value: Option<Bytes>) {
        let ordinal = self.ordinal();
        self.count += 1;
        let Some(shared) = &mut self.shared else { return };
        let id = shared.begun.take().unwrap_or_else(|| shared.event_id(ordinal).into());
        let Place { offset, log_time, .. } = self.place;
        // In order of name: header order is part of the golden bytes.
        let mut headers = Vec::with_capacity(6);
        headers.extend([
            ("ce_id", id),
            ("ce_source", shared.source.clone()),
            ("ce_specversion", Bytes::from_static(b"1.0")),
            ("ce_time", shared.time.clone()),
            ("ce_type", Bytes::from_static(topic.event_type().as_bytes())),
        ]);
        if value.is_some() {
            headers.push(("content-type", Bytes::from_static(b"application/json")));
        }
        self.outputs.push(Output {
            topic,
            key,
            headers,
            value,
            timestamp: log_time,
            offset,
            ordinal,
        });
    }
}

impl Shared {
    fn event_id(&self, ordinal: u32) -> String {
        format!("{}{ordinal}", self.event_id)
    }
}
