//! A business phone number, as `metadata` of its webhooks tells of it.

use std::collections::BTreeMap;

use super::{Journal, learn_earliest, learn_min};
use crate::ids::WabaId;
use crate::time::Timestamp;

/// A number: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// What is known, in whatever order it came.
    pub facts: NumberFacts,
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
}

impl NumberFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let mut learned = learn_min(&mut self.waba_id, other.waba_id);
        for (display, time) in other.displays {
            match self.displays.get_mut(&display) {
                Some(mine) => learned |= learn_earliest(mine, time),
                None => {
                    self.displays.insert(display, time);
                    learned = true;
                }
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
