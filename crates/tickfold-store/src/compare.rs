//! Two states of one partition, row by row: what differs, with samples and the fields.
//!
//! Both are merged in the order of their keys, a thousand rows at a time, so it takes no more memory
//! for a large state than for a small one.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::fields::differing;
use crate::key::shown;
use crate::{Error, RowKind, Snapshot, StateRow};

/// Rows read at a time, of each side.
const SCAN_ROWS: usize = 1_000;

/// What to compare.
#[derive(Debug, Clone, Copy)]
pub struct Compare {
    /// Differences told of each kind; all are counted.
    pub samples_max: usize,
    /// Whether the second state is only a part of the history: then what only the first one has says
    /// nothing, and is not a difference.
    pub is_part: bool,
    /// Whether other rules are no difference, as they are the reason of the comparison.
    pub other_rules: bool,
}

/// In which way a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Both have it, with other values.
    Changed,
    /// Only the second state has it.
    Added,
    /// Only the first state has it.
    Gone,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its key, in words. Personal data.
    pub key: String,
    /// How.
    pub difference: Difference,
    /// Of a changed one: paths of the fields.
    pub fields: Vec<String>,
}

/// What was found of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Kind.
    pub kind: RowKind,
    /// Rows that are the same.
    pub same: u64,
    /// Rows that both have, with other values.
    pub changed: u64,
    /// Rows that only the second state has.
    pub added: u64,
    /// Rows that only the first state has.
    pub gone: u64,
    /// How often each field is among those that changed.
    pub fields: BTreeMap<String, u64>,
    /// The first differences, in the order of their keys.
    pub samples: Vec<Sample>,
}

impl Compared {
    /// True if nothing of the kind differs.
    pub fn is_same(&self) -> bool {
        self.changed == 0 && self.added == 0 && self.gone == 0
    }

    fn add(
        &mut self,
        kind: RowKind,
        key: &[u8],
        found: Difference,
        fields: Vec<String>,
        max: usize,
    ) {
        let count = match found {
            Difference::Changed => &mut self.changed,
            Difference::Added => &mut self.added,
            Difference::Gone => &mut self.gone,
        };
        *count += 1;
        for field in &fields {
            *self.fields.entry(field.clone()).or_default() += 1;
        }
        if self.samples.len() < max {
            self.samples.push(Sample { key: shown(kind, key), difference: found, fields });
        }
    }
}

/// Compares the rows of one kind. `go_on` is asked between two reads; where it says no the
/// comparison ends without a result.
pub fn compare(
    before: &dyn Snapshot,
    after: &dyn Snapshot,
    kind: RowKind,
    how: Compare,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Compared>, Error> {
    let mut found = Compared {
        kind,
        same: 0,
        changed: 0,
        added: 0,
        gone: 0,
        fields: BTreeMap::new(),
        samples: Vec::new(),
    };
    let (mut old, mut new) = (Side::new(before, kind), Side::new(after, kind));
    loop {
        if (old.is_spent() || new.is_spent()) && !go_on() {
            return Ok(None);
        }
        let order = match (old.peek()?, new.peek()?) {
            (None, None) => return Ok(Some(found)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.key.cmp(&new.key),
        };
        let max = how.samples_max;
        match order {
            Ordering::Less => {
                if let Some(row) = old.next()
                    && !how.is_part
                {
                    found.add(kind, &row.key, Difference::Gone, Vec::new(), max);
                }
            }
            Ordering::Greater => {
                if let Some(row) = new.next() {
                    // A regime that only says which rules hold.
                    let fields = differing(kind, &[], &row.value);
                    if is_difference(kind, how, fields.iter()) {
                        found.add(kind, &row.key, Difference::Added, Vec::new(), max);
                    }
                }
            }
            Ordering::Equal => {
                let (Some(old), Some(new)) = (old.next(), new.next()) else { continue };
                if old.value == new.value {
                    found.same += 1;
                    continue;
                }
                let fields = differing(kind, &old.value, &new.value);
                if is_difference(kind, how, fields.iter()) {
                    let fields = fields.into_iter().collect();
                    found.add(kind, &new.key, Difference::Changed, fields, max);
                } else {
                    found.same += 1;
                }
            }
        }
    }
}

fn is_difference<'a>(
    kind: RowKind,
    how: Compare,
    mut fields: impl Iterator<Item = &'a String>,
) -> bool {
    kind != RowKind::Regime || !how.other_rules || fields.any(|field| field != "rules")
}

/// The rows of one state, as far as they are read.
pub(crate) struct Side<'a> {
    snapshot: &'a dyn Snapshot,
    kind: RowKind,
    rows: std::vec::IntoIter<StateRow>,
    last: Option<Vec<u8>>,
    ended: bool,
}

impl<'a> Side<'a> {
    pub(crate) fn new(snapshot: &'a dyn Snapshot, kind: RowKind) -> Self {
        Self { snapshot, kind, rows: Vec::new().into_iter(), last: None, ended: false }
    }

    /// True if the next look reads.
    fn is_spent(&self) -> bool {
        !self.ended && self.rows.as_slice().is_empty()
    }

    pub(crate) fn peek(&mut self) -> Result<Option<&StateRow>, Error> {
        if self.is_spent() {
            let rows = self.snapshot.state_rows(self.kind, self.last.as_deref(), SCAN_ROWS)?;
            self.ended = rows.is_empty();
            self.last = rows.last().map(|row| row.key.clone()).or_else(|| self.last.take());
            self.rows = rows.into_iter();
        }
        Ok(self.rows.as_slice().first())
    }

    pub(crate) fn next(&mut self) -> Option<StateRow> {
        self.rows.next()
    }
}

#[cfg(test)]
mod tests {
    use tickfold_core::overlay::Overlay;
    use tickfold_core::rules::Rules;
    use tickfold_core::state::Regime;

    use super::*;
    use crate::conformance::random::Random;
    use crate::{MemStores, StoreHead, Stores};

    const WHOLE: Compare = Compare { samples_max: 2, is_part: false, other_rules: false };

    /// A state with these messages, each by its seed, and perhaps a regime.
    fn state(messages: &[(&str, u64)], regime: Option<Regime>) -> MemStores {
        let stores = MemStores::new();
        let mut store = stores.open(0).unwrap();
        let mut overlay = Overlay::default();
        for (id, seed) in messages {
            *overlay.messages.entry(&(*id).into(), |_| Ok(None)).unwrap() =
                Some(Random::new(*seed).message());
        }
        *overlay.regime.entry(&(), |()| Ok(None)).unwrap() = regime;
        let digest = store.digest_after(&overlay).unwrap();
        store.write(0, &overlay, StoreHead { cursor: 1, digest, ..StoreHead::EMPTY }).unwrap();
        stores
    }

    fn compared(before: &MemStores, after: &MemStores, kind: RowKind, how: Compare) -> Compared {
        let [before, after] =
            [before, after].map(|stores| stores.view(0).snapshot().unwrap().unwrap());
        compare(&*before, &*after, kind, how, &|| true).unwrap().unwrap()
    }

    #[test]
    fn rows_are_the_same_changed_added_or_gone() {
        let before = state(&[("a", 1), ("b", 2), ("d", 4)], None);
        let after = state(&[("a", 1), ("b", 3), ("c", 3), ("e", 5)], None);
        let found = compared(&before, &after, RowKind::Message, WHOLE);
        let counts = (found.same, found.changed, found.added, found.gone);
        assert_eq!(counts, (1, 1, 2, 1));
        let samples: Vec<_> =
            found.samples.iter().map(|one| (one.key.as_str(), one.difference)).collect();
        assert_eq!(samples, [("b", Difference::Changed), ("c", Difference::Added)]);
        assert!(!found.samples[0].fields.is_empty());
        assert!(compared(&before, &before, RowKind::Message, WHOLE).is_same());
        let part = Compare { is_part: true, ..WHOLE };
        assert_eq!(compared(&before, &after, RowKind::Message, part).gone, 0);
    }

    #[test]
    fn more_rows_than_are_read_at_a_time_are_all_compared() {
        let ids: Vec<_> = (0..2_500_u64).map(|id| format!("{id:05}")).collect();
        let all: Vec<_> = ids.iter().map(|id| (id.as_str(), 1)).collect();
        let mut other = all.clone();
        other[1_500].1 = 2;
        other.pop();
        let found = compared(&state(&all, None), &state(&other, None), RowKind::Message, WHOLE);
        assert_eq!((found.same, found.changed, found.gone), (2_498, 1, 1));
    }

    #[test]
    fn other_rules_are_no_difference_where_they_are_the_question() {
        let text = Rules::built_in().pretty().replace("\"version\": 1", "\"version\": 2");
        let rules = std::sync::Arc::new(Rules::parse(text.as_bytes()).unwrap());
        let regime = Regime { rules, ..Regime::default() };
        let (before, after) = (state(&[], Some(Regime::default())), state(&[], Some(regime)));
        assert_eq!(compared(&before, &after, RowKind::Regime, WHOLE).changed, 1);
        let asked = Compare { other_rules: true, ..WHOLE };
        assert!(compared(&before, &after, RowKind::Regime, asked).is_same());
        assert!(compared(&state(&[], None), &after, RowKind::Regime, asked).is_same());
    }

    #[test]
    fn a_comparison_ends_where_it_is_told() {
        let stores = state(&[("a", 1)], None);
        let snapshot = stores.view(0).snapshot().unwrap().unwrap();
        let ended = compare(&*snapshot, &*snapshot, RowKind::Message, WHOLE, &|| false).unwrap();
        assert_eq!(ended, None);
    }
}
