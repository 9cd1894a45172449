//! What a run counts: how often the dice fell for each fault, and how often it then struck.
//!
//! The two are counted in different places: an attempt where the dice are thrown, a landing where the
//! effect is seen, such as a position that was set or a read that failed. A fault without an effect is
//! an attempt for ever.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::Fault;

/// How often, by what it is.
pub(crate) type Times = BTreeMap<&'static str, u64>;

/// The counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// How often the dice fell for each fault.
    pub(crate) attempted: Times,
    /// How often each fault struck, and whatever else need not happen happened.
    pub(crate) landed: Times,
    /// Faults that last for a while and have hindered nothing yet, each with its process.
    lasting: BTreeSet<(Fault, usize)>,
}

impl Counts {
    /// The dice fell for a fault.
    pub(crate) fn attempt(&mut self, fault: Fault) {
        *self.attempted.entry(fault.word()).or_default() += 1;
    }

    /// Something happened that is not for certain in a run.
    pub(crate) fn land(&mut self, what: &'static str) {
        *self.landed.entry(what).or_default() += 1;
    }

    /// A fault of a process begins that lasts for a while.
    pub(crate) fn begin(&mut self, fault: Fault, process: usize) {
        self.lasting.insert((fault, process));
    }

    /// It hinders something. It struck once, however much it hinders.
    pub(crate) fn hinder(&mut self, fault: Fault, process: usize) {
        if self.lasting.remove(&(fault, process)) {
            self.land(fault.word());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_lasts_struck_once_it_hinders_something() {
        let mut counts = Counts::default();
        counts.begin(Fault::Pause, 1);
        counts.hinder(Fault::Pause, 0);
        counts.hinder(Fault::Cut, 1);
        assert!(counts.landed.is_empty(), "{counts:?}");
        (0..3).for_each(|_| counts.hinder(Fault::Pause, 1));
        assert_eq!(counts.landed, Times::from([(Fault::Pause.word(), 1)]));
    }
}
