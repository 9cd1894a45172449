//! A partition: records and markers, each with its place, and what readers see of them.

use std::collections::BTreeMap;

use tickfold_log::{Append, Record};

/// Whose record it is, and what became of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not of a transaction, or of one that committed.
    Committed,
    /// Of a transaction that has no marker here yet.
    Open {
        /// The producer.
        producer: u32,
    },
    /// Of a transaction that was aborted.
    Aborted,
}

/// A record or a marker.
#[derive(Debug)]
struct Entry {
    /// `None` is a marker.
    record: Option<Record>,
    state: State,
}

/// A partition.
#[derive(Debug, Default)]
pub(crate) struct Part {
    entries: Vec<Entry>,
    /// Where the open transaction of each producer begins.
    open: BTreeMap<u32, u64>,
}

impl Part {
    /// Appends a record; `now_ms` stamps one that brings no time.
    pub(crate) fn push(&mut self, append: &Append, now_ms: i64, producer: Option<u32>) {
        let record = Record {
            offset: self.end(),
            timestamp_ms: append.timestamp_ms.unwrap_or(now_ms),
            key: append.key.clone(),
            value: append.value.clone(),
            headers: append.headers.clone(),
        };
        if let Some(producer) = producer {
            self.open.entry(producer).or_insert(record.offset);
        }
        let state = producer.map_or(State::Committed, |producer| State::Open { producer });
        self.entries.push(Entry { record: Some(record), state });
    }

    /// Ends the transaction of a producer here. The marker takes an offset.
    pub(crate) fn mark(&mut self, producer: u32, commit: bool) {
        let state = if commit { State::Committed } else { State::Aborted };
        let first = self.open.remove(&producer).unwrap_or_else(|| self.end());
        for entry in self.entries.iter_mut().skip(usize::try_from(first).expect("small")) {
            if entry.state == (State::Open { producer }) {
                entry.state = state;
            }
        }
        self.entries.push(Entry { record: None, state: State::Committed });
    }

    /// The offset of the next entry.
    pub(crate) fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The offset of the first record of an open transaction, or the end.
    pub(crate) fn stable_end(&self) -> u64 {
        self.open.values().copied().min().unwrap_or_else(|| self.end())
    }

    /// Committed records from an offset on, below the stable end.
    pub(crate) fn visible(&self, from: u64) -> impl DoubleEndedIterator<Item = &Record> {
        let end = usize::try_from(self.stable_end()).expect("small");
        let from = usize::try_from(from).expect("small").min(end);
        let entries = self.entries[from..end].iter();
        let committed = entries.filter(|entry| entry.state == State::Committed);
        committed.filter_map(|entry| entry.record.as_ref())
    }

    /// Records of the open transaction of a producer.
    pub(crate) fn open(&self, of: u32) -> impl Iterator<Item = &Record> {
        let first = self.open.get(&of).copied().unwrap_or_else(|| self.end());
        let entries = self.entries.iter().skip(usize::try_from(first).expect("small"));
        let open = move |entry: &&Entry| entry.state == State::Open { producer: of };
        entries.filter(open).filter_map(|entry| entry.record.as_ref())
    }

    /// All records that a reader of everything is given, from an offset on.
    pub(crate) fn uncommitted(&self, from: u64) -> impl Iterator<Item = &Record> {
        let entries = self.entries.iter().skip(usize::try_from(from).expect("small"));
        entries.filter_map(|entry| entry.record.as_ref())
    }

    /// Entries that are neither records nor readable, and those of aborted transactions.
    pub(crate) fn gaps(&self) -> u64 {
        let gap = |entry: &&Entry| entry.record.is_none() || entry.state == State::Aborted;
        self.entries.iter().filter(gap).count() as u64
    }

    /// A power loss takes back what is above.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.entries.truncate(usize::try_from(end).expect("small"));
    }
}
