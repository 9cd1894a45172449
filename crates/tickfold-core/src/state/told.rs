//! Journal of what may be halted: templates, accounts and the display numbers of accounts.
//!
//! These never expire, so what is kept of their past has a bound.

use std::collections::VecDeque;

use crate::action::ActionId;
use crate::decode::cut;
use crate::time::Timestamp;

/// What was told last of something that may be halted, so that a state that changes by itself is
/// told too, and a halt is taken back; and what was told before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// The shown state; `None` before the first.
    pub state: Option<String>,
    /// The halt that was asked for and not taken back.
    pub halt: Option<ActionId>,
    /// When that halt was told to end by itself.
    pub halt_ends: Option<Timestamp>,
    /// The last transitions in the order of the raw log, at most [`TOLD_MAX`].
    pub history: VecDeque<ToldEntry>,
}

/// One transition of a template, an account or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldEntry {
    /// The shown state before it; `None` for the first.
    pub from: Option<String>,
    /// What was reported, in Meta's word or ours, or what changed by itself.
    pub to: String,
    /// The shown state after it.
    pub state: String,
    /// It taught nothing: something later was known.
    pub late: bool,
    /// When it happened, if Meta said so.
    pub event_time: Option<Timestamp>,
    /// Log time at which it was folded.
    pub log_time: Timestamp,
    /// When ingress received the record.
    pub received_time: Option<Timestamp>,
    /// Reason given with it.
    pub reason: Option<String>,
    /// What it was before, such as a quality or a limit.
    pub old_value: Option<String>,
    /// What it is from then on.
    pub new_value: Option<String>,
    /// Raw offset of the record.
    pub offset: u64,
    /// Ordinal of the transition among the outputs of that record.
    pub ordinal: u32,
}

/// Transitions kept of one entity. A busy template has a few a week; what is older is in the
/// transition topic.
pub const TOLD_MAX: usize = 100;

/// Bytes kept of a text in the history. Whole texts are in the event topic.
const TEXT_BYTES_MAX: usize = 256;

impl Told {
    /// A halt was told, and with another end than this.
    pub(crate) fn halts_until_other_than(&self, ends: Option<Timestamp>) -> bool {
        self.halt.is_some() && self.halt_ends != ends
    }

    /// Adds a transition; the oldest makes room.
    pub(crate) fn add(&mut self, entry: ToldEntry) {
        let short = |text: Option<String>| text.map(|text| cut(&text, TEXT_BYTES_MAX).to_owned());
        while self.history.len() >= TOLD_MAX {
            self.history.pop_front();
        }
        self.history.push_back(ToldEntry {
            to: cut(&entry.to, TEXT_BYTES_MAX).to_owned(),
            from: short(entry.from),
            state: cut(&entry.state, TEXT_BYTES_MAX).to_owned(),
            reason: short(entry.reason),
            old_value: short(entry.old_value),
            new_value: short(entry.new_value),
            ..entry
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_long_texts_are_cut() {
        let mut told = Told::default();
        for offset in 0..250 {
            told.add(ToldEntry {
                from: None,
                to: "PAUSED".to_owned(),
                state: "PAUSED".to_owned(),
                late: false,
                event_time: None,
                log_time: Timestamp::from_millis(0),
                received_time: None,
                reason: Some("é".repeat(1_000)),
                old_value: None,
                new_value: None,
                offset,
                ordinal: 0,
            });
        }
        let offsets: Vec<_> = told.history.iter().map(|entry| entry.offset).collect();
        assert_eq!((offsets.len(), offsets.first(), offsets.last()), (100, Some(&150), Some(&249)));
        let longest =
            told.history.iter().filter_map(|entry| entry.reason.as_ref()).map(String::len);
        assert_eq!(longest.max(), Some(256));
    }
}
