//! A business phone number, as `metadata` of its webhooks tells of it, and what Meta says of the
//! numbers it is displayed as.

use std::collections::{BTreeMap, BTreeSet};

use super::receipt::learn_time;
use super::standing::Standing;
use super::{Journal, learn_min};
use crate::ids::WabaId;
use crate::time::Timestamp;

/// A number: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// What is known, in whatever order it came.
    pub facts: NumberFacts,
    /// Journal: hour of log time, since the epoch, in which something of it came last. By the hour,
    /// so that it costs no write per event.
    pub active_hour: i64,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NumberFacts {
    /// Account; the least, should two ever claim it.
    pub waba_id: Option<WabaId>,
    /// Display numbers, each with the earliest event time at which it was seen.
    pub displays: BTreeMap<String, Option<Timestamp>>,
    /// The lines that it is: account, and digits of the display number or none.
    pub lines: BTreeSet<(WabaId, String)>,
    /// What is known of those lines.
    pub standing: Standing,
}

/// Display numbers kept, and lines. A number has one, and now and then another.
const DISPLAYS_MAX: usize = 32;

impl NumberFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { waba_id, displays, lines, standing } = other;
        let mut learned = learn_min(&mut self.waba_id, waba_id) | self.standing.join(standing);
        for (display, time) in displays {
            learned |= learn_time(&mut self.displays, display, time, DISPLAYS_MAX);
        }
        for line in lines {
            let full = self.lines.len() >= DISPLAYS_MAX;
            if full && self.lines.last().is_none_or(|last| *last < line) {
                continue;
            }
            learned |= self.lines.insert(line);
            if self.lines.len() > DISPLAYS_MAX {
                self.lines.pop_last();
            }
        }
        learned
    }

    /// The display number that appeared last.
    pub fn display_phone_number(&self) -> Option<&str> {
        self.displays
            .iter()
            .max_by_key(|(display, time)| (**time, *display))
            .map(|(display, _)| display.as_str())
    }
}
