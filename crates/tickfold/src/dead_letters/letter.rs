//! A dead letter as its topic has it, and what a position's redrives came to.

use serde::Deserialize;
use tickfold_core::raw::parse_position;
use tickfold_core::records::REDRIVEN;
use tickfold_core::time::Timestamp;
use tickfold_log::{Offset, Record};
use tickfold_proto::admin::v1 as pb;

use super::{Position, told, told_time};

/// What is read of a record; it has more.
#[derive(Debug, Deserialize)]
struct Value {
    position: String,
    redrive_position: Option<String>,
    source_offset: Offset,
    event_id: String,
    reason: String,
    scope: String,
    path: String,
    field: Option<String>,
    waba_id: Option<String>,
    received_time: Option<String>,
    raw: String,
    #[serde(default)]
    raw_truncated: bool,
}

/// A dead letter, or the word of a redrive that it left none.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) position: Position,
    /// The redrive that left it.
    pub(super) redrive: Option<Position>,
    pub(super) log_time_ms: i64,
    /// Which of the outputs of its raw record it is.
    pub(super) ordinal: u32,
    value: Value,
}

/// The redrives of a position.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempts {
    pub(super) count: u32,
    /// Offset of the newest, and how many dead letters it left.
    pub(super) newest: Offset,
    pub(super) left: u32,
    pub(super) newest_time_ms: i64,
}

impl Letter {
    /// Reads a record of the dead-letter topic.
    pub(super) fn read(record: &Record) -> Option<Self> {
        let value: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
        let redrive = match &value.redrive_position {
            Some(text) => Some(parse_position(text)?),
            None => None,
        };
        let (_, ordinal) = value.event_id.rsplit_once('-')?;
        Some(Self {
            position: parse_position(&value.position)?,
            redrive,
            log_time_ms: record.timestamp_ms,
            ordinal: ordinal.parse().ok()?,
            value,
        })
    }

    /// It says that a redrive left no dead letter, and is none itself.
    pub(super) fn is_redriven(&self) -> bool {
        self.redrive.is_some() && self.value.reason == REDRIVEN
    }

    /// Drops the broken text, which may be long.
    pub(super) fn forget_raw(&mut self) {
        self.value.raw = String::new();
    }

    /// Order of dead letters over partitions.
    pub(super) fn place(&self) -> (i64, u32, Offset, u32) {
        (self.log_time_ms, self.position.0, self.value.source_offset, self.ordinal)
    }

    /// How it stands, by the redrives of its position.
    pub(super) fn state(&self, attempts: Option<&Attempts>) -> pb::DeadLetterState {
        match (attempts, self.redrive) {
            (None, _) => pb::DeadLetterState::Open,
            (Some(attempts), Some((_, offset))) if offset == attempts.newest => {
                pb::DeadLetterState::FailedAgain
            }
            (Some(Attempts { left: 0, .. }), _) => pb::DeadLetterState::Redriven,
            (Some(_), _) => pb::DeadLetterState::Superseded,
        }
    }

    /// Whether all that a filter sets holds.
    pub(super) fn is_meant(&self, filter: &pb::DeadLetterFilter) -> bool {
        let is = |wanted: &str, found: Option<&String>| {
            wanted.is_empty() || found.is_some_and(|found| found == wanted)
        };
        self.position.1 >= filter.from_offset
            && is(&filter.reason, Some(&self.value.reason))
            && is(&filter.field, self.value.field.as_ref())
            && is(&filter.waba_id, self.value.waba_id.as_ref())
    }

    pub(super) fn told(self, attempts: Option<&Attempts>) -> pb::DeadLetter {
        let (state, Value { received_time, .. }) = (self.state(attempts), &self.value);
        let received = received_time.as_deref().and_then(Timestamp::parse_rfc3339);
        pb::DeadLetter {
            position: Some(told(self.position)),
            redrive: self.redrive.map(told),
            state: state.into(),
            redrives: attempts.map_or(0, |attempts| attempts.count),
            log_time: Some(told_time(self.log_time_ms)),
            received_time: received.map(|time| told_time(time.as_millis())),
            reason: self.value.reason,
            scope: self.value.scope,
            path: self.value.path,
            field: self.value.field.unwrap_or_default(),
            waba_id: self.value.waba_id.unwrap_or_default(),
            raw: self.value.raw,
            raw_truncated: self.value.raw_truncated,
        }
    }
}

impl Attempts {
    /// Counts what a redrive left, in the order of the topic: dead letters, or the word that there are
    /// none.
    pub(super) fn add(&mut self, letter: &Letter) {
        let Some((_, offset)) = letter.redrive else { return };
        if self.count == 0 || offset != self.newest {
            *self = Self { count: self.count.saturating_add(1), newest: offset, ..Self::default() };
            self.newest_time_ms = letter.log_time_ms;
        }
        if !letter.is_redriven() {
            self.left = self.left.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn letter(position: &str, redrive: &str, reason: &str) -> Option<Letter> {
        let redrive = match redrive {
            "" => String::new(),
            text => format!(r#""redrive_position":"{text}","#),
        };
        let value = format!(
            r#"{{"event_id":"3-9-1","position":"{position}",{redrive}"source_offset":9,"path":"$","scope":"body","reason":"{reason}","raw":"x","new":1}}"#
        );
        Letter::read(&Record {
            offset: 0,
            timestamp_ms: 1_500,
            key: None,
            value: Some(Bytes::from(value)),
            headers: Vec::new(),
        })
    }

    #[test]
    fn of_a_position_what_its_newest_redrive_left_is_what_counts() {
        let history = [
            letter("3-1", "", "not_json").unwrap(),
            letter("3-1", "3-5", "not_json").unwrap(),
            letter("3-1", "3-5", "not_json").unwrap(),
            letter("3-1", "3-9", "redriven").unwrap(),
        ];
        let states = |upto: usize| -> Vec<_> {
            let mut attempts = Attempts::default();
            history[..upto].iter().for_each(|letter| attempts.add(letter));
            let attempts = (attempts.count > 0).then_some(attempts);
            let states = history[..upto].iter().map(|letter| letter.state(attempts.as_ref()));
            let left = attempts.map_or(0, |attempts| attempts.left);
            states
                .map(|state| state.as_str_name().rsplit_once("STATE_").unwrap().1)
                .zip(std::iter::repeat(left))
                .collect()
        };
        assert_eq!(states(1), [("OPEN", 0)]);
        assert_eq!(states(3), [("SUPERSEDED", 2), ("FAILED_AGAIN", 2), ("FAILED_AGAIN", 2)]);
        let words: Vec<_> = states(4).into_iter().map(|(word, _)| word).collect();
        assert_eq!(words[..3], ["REDRIVEN"; 3]);
        assert!(history[3].is_redriven() && !history[2].is_redriven());
    }

    #[test]
    fn what_is_no_dead_letter_of_ours_is_left_out() {
        assert!(letter("3-1", "", "not_json").is_some());
        for (position, redrive) in [("3@1", ""), ("", ""), ("3-1", "x")] {
            assert!(letter(position, redrive, "not_json").is_none(), "{position} {redrive}");
        }
        let tombstone =
            Record { offset: 0, timestamp_ms: 0, key: None, value: None, headers: Vec::new() };
        assert!(Letter::read(&tombstone).is_none());
    }
}
