//! Entities with table rows in which two states of one partition differ, as the fold has them.

use std::ops::ControlFlow;

use tickfold_core::ids::WabaId;
use tickfold_core::overlay::{Overlay, Table};

use crate::codec::{Damage, Persist};
use crate::compare::Side;
use crate::key;
use crate::{Error, RowKind, Snapshot, StateRow};

/// Entities told at a time.
const ENTITIES: usize = 1_000;

/// Rows looked at until it is asked whether to go on, also where none differs.
const LOOKED_AT: usize = 10_000;

/// Kinds that have rows in the tables.
const KINDS: [RowKind; 7] = [
    RowKind::Message,
    RowKind::Conversation,
    RowKind::Template,
    RowKind::Account,
    RowKind::Number,
    RowKind::User,
    RowKind::ChargeTotal,
];

/// Tells the entities in which two states differ: some of the first state and those of the second, on
/// nothing, until all are told or the answer is to stop. An entity of the first state that cannot be
/// read counts as absent there, since the second state has what it should be. Where little differs nothing
/// is told now and then, so that it can be stopped.
pub fn differing(
    partition: u32,
    before: &dyn Snapshot,
    after: &dyn Snapshot,
    tell: &mut dyn FnMut(Overlay, Overlay) -> ControlFlow<()>,
) -> Result<(), Error> {
    let unreadable = |Damage(reason)| Error::Unreadable { partition, reason };
    for kind in KINDS {
        let (mut old, mut new) = (Side::new(before, kind), Side::new(after, kind));
        let (mut was, mut is) = (Overlay::default(), Overlay::default());
        let (mut count, mut seen) = (0, 0);
        loop {
            let (first, second) = match (old.peek()?, new.peek()?) {
                (None, None) => break,
                (Some(_), None) => (old.next(), None),
                (None, Some(_)) => (None, new.next()),
                (Some(a), Some(b)) => match a.key.cmp(&b.key) {
                    std::cmp::Ordering::Less => (old.next(), None),
                    std::cmp::Ordering::Greater => (None, new.next()),
                    std::cmp::Ordering::Equal => (old.next(), new.next()),
                },
            };
            seen += 1;
            if first != second {
                count += 1;
                if let Some(row) = first
                    && let Err(Damage(reason)) = put(&mut was, kind, &row)
                {
                    tracing::warn!(
                        partition,
                        kind = kind.word(),
                        reason,
                        "row of the old state unread"
                    );
                }
                if let Some(row) = second {
                    put(&mut is, kind, &row).map_err(unreadable)?;
                }
            }
            if count == ENTITIES || seen == LOOKED_AT {
                (count, seen) = (0, 0);
                if tell(std::mem::take(&mut was), std::mem::take(&mut is)).is_break() {
                    return Ok(());
                }
            }
        }
        if count > 0 && tell(was, is).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn put(state: &mut Overlay, kind: RowKind, row: &StateRow) -> Result<(), Damage> {
    let StateRow { key, value } = row;
    let rest = key.get(1..).unwrap_or_default();
    match kind {
        RowKind::Message => set(&mut state.messages, key::parse_message(rest)?, value),
        RowKind::Conversation => {
            set(&mut state.conversations, key::parse_conversation(rest)?, value)
        }
        RowKind::Template => set(&mut state.templates, key::parse_template(rest)?, value),
        RowKind::Account => set::<WabaId, _>(&mut state.accounts, key::parse_account(rest)?, value),
        RowKind::Number => set(&mut state.numbers, key::parse_number(rest)?, value),
        RowKind::User => set(&mut state.users, key::parse_user(rest)?, value),
        RowKind::ChargeTotal => set(&mut state.totals, key::parse_total(key)?, value),
        RowKind::Call
        | RowKind::Group
        | RowKind::Payment
        | RowKind::Decided
        | RowKind::Natural
        | RowKind::Timer
        | RowKind::Regime => Ok(()),
    }
}

fn set<K, V>(table: &mut Table<K, V>, key: K, value: &[u8]) -> Result<(), Damage>
where
    K: Eq + std::hash::Hash + Clone,
    V: Clone + PartialEq + Persist,
{
    let value = V::decode(value)?;
    // Loading nothing cannot fail.
    if let Ok(entry) = table.entry(&key, |_| Ok(None)) {
        *entry = Some(value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::random::Random;
    use crate::{MemStores, StoreHead, Stores};

    fn state(messages: &[(&str, u64)]) -> Box<dyn Snapshot> {
        let stores = MemStores::new();
        let mut store = stores.open(0).unwrap();
        let mut overlay = Overlay::default();
        for (id, seed) in messages {
            *overlay.messages.entry(&(*id).into(), |_| Ok(None)).unwrap() =
                Some(Random::new(*seed).message());
        }
        let digest = store.digest_after(&overlay).unwrap();
        store.write(0, &overlay, StoreHead { cursor: 1, digest, ..StoreHead::EMPTY }).unwrap();
        stores.view(0).snapshot().unwrap().unwrap()
    }

    #[test]
    fn entities_that_differ_are_told_as_both_states_have_them() {
        let ids: Vec<_> = (0..2_100_u64).map(|id| format!("{id:05}")).collect();
        let before: Vec<_> = ids.iter().map(|id| (id.as_str(), 1)).collect();
        let mut after: Vec<_> = ids.iter().map(|id| (id.as_str(), 2)).collect();
        // The same, gone, added.
        after[7].1 = 1;
        after.pop();
        after.push(("x", 1));
        let mut told = Vec::new();
        let keys = |state: &Overlay| -> Vec<String> {
            state.messages.changes().map(|(key, _)| key.to_string()).collect()
        };
        differing(0, &*state(&before), &*state(&after), &mut |was, is| {
            told.push((keys(&was), keys(&is)));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(told.iter().map(|(was, _)| was.len()).collect::<Vec<_>>(), [1_000, 1_000, 99]);
        let was: Vec<_> = told.iter().flat_map(|(was, _)| was.clone()).collect();
        let is: Vec<_> = told.iter().flat_map(|(_, is)| is.clone()).collect();
        let differ = |id: &&String| id.as_str() != "00007";
        assert_eq!(was, ids.iter().filter(differ).cloned().collect::<Vec<_>>());
        assert_eq!(is.len(), 2_099);
        assert_eq!(is.last().map(String::as_str), Some("x"));
    }

    #[test]
    fn it_ends_where_it_is_told() {
        let mut told = 0;
        differing(0, &*state(&[]), &*state(&[("a", 1)]), &mut |_, _| {
            told += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(told, 1);
        let same = state(&[("a", 1)]);
        differing(0, &*same, &*same, &mut |_, _| panic!("nothing differs")).unwrap();
    }

    #[test]
    fn it_can_be_stopped_where_nothing_differs() {
        let ids: Vec<_> = (0..25_000_u64).map(|id| id.to_string()).collect();
        let same = state(&ids.iter().map(|id| (id.as_str(), 1)).collect::<Vec<_>>());
        let mut told = 0;
        differing(0, &*same, &*same, &mut |was, is| {
            assert!(was.is_unchanged() && is.is_unchanged());
            told += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(told, 2);
    }
}
