//! What a watcher of states was told to look at: changed things by partition, each once however often
//! it changed. So its memory is bounded by what it watches, whether or not anybody reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Notes for one watcher.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    notes: Mutex<BTreeMap<u32, Notes>>,
    /// Rung when a note comes.
    pub(super) bell: Notify,
}

/// What changed in one partition, by the name under which it is watched.
pub(super) type Notes = BTreeMap<Arc<str>, Change>;

/// A change, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Raw offset of the last one: the state has it once its position is above.
    pub(super) revision: u64,
    /// How many raw records there were.
    pub(super) count: u64,
}

impl Mailbox {
    /// Notes a change. Several rows of one raw record are one.
    pub(super) fn note(&self, partition: u32, name: &Arc<str>, revision: u64) {
        let change = Change { revision, count: 1 };
        add(self.notes().entry(partition).or_default(), name, change);
        self.bell.notify_one();
    }

    /// Takes up to `max` notes of one partition that is not held.
    pub(super) fn take(&self, max: usize, held: &BTreeMap<u32, Instant>) -> Option<(u32, Notes)> {
        let mut notes = self.notes();
        let partition = notes.keys().copied().find(|partition| !held.contains_key(partition))?;
        let mut all = notes.remove(&partition)?;
        if let Some(rest) = all.keys().nth(max).cloned() {
            let rest = all.split_off(&rest);
            notes.insert(partition, rest);
        }
        Some((partition, all))
    }

    /// Puts back what could not be looked at.
    pub(super) fn put_back(&self, partition: u32, taken: Notes) {
        let mut notes = self.notes();
        let there = notes.entry(partition).or_default();
        for (name, change) in taken {
            add(there, &name, change);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.notes().is_empty()
    }

    /// Whether nothing of a partition is noted.
    pub(super) fn is_empty_of(&self, partition: u32) -> bool {
        !self.notes().contains_key(&partition)
    }

    /// What this guards is whole at any moment, so a panic elsewhere does not spoil it.
    fn notes(&self) -> MutexGuard<'_, BTreeMap<u32, Notes>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(notes: &mut Notes, name: &Arc<str>, change: Change) {
    match notes.get_mut(name) {
        Some(noted) if noted.revision == change.revision => {}
        Some(noted) => {
            noted.revision = noted.revision.max(change.revision);
            noted.count = noted.count.saturating_add(change.count);
        }
        None => {
            notes.insert(Arc::clone(name), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn changes_of_one_thing_are_one_note_and_are_counted() {
        let mailbox = Mailbox::default();
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        for revision in [3, 3, 4, 7] {
            mailbox.note(1, &a, revision);
        }
        mailbox.note(1, &b, 5);
        mailbox.note(2, &a, 1);
        let none = BTreeMap::new();
        let first = mailbox.take(1, &none).unwrap();
        assert_eq!(first, (1, Notes::from([(Arc::clone(&a), Change { revision: 7, count: 3 })])));
        // More came before it could be looked at.
        mailbox.note(1, &a, 9);
        mailbox.put_back(first.0, first.1);
        let held = BTreeMap::from([(1, Instant::now() + Duration::from_secs(60))]);
        assert_eq!(mailbox.take(9, &held).unwrap().0, 2);
        assert_eq!(mailbox.take(9, &held), None);
        let rest = mailbox.take(9, &none).unwrap().1;
        assert_eq!(rest.get("a"), Some(&Change { revision: 9, count: 4 }));
        assert_eq!(rest.get("b"), Some(&Change { revision: 5, count: 1 }));
        assert!(mailbox.is_empty());
    }
}
