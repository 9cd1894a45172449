//! From an overlay to rows: what one write puts and deletes, the same for all adapters.

use tickfold_core::ids::{PhoneNumberId, TemplateKey, WabaId, Wamid};
use tickfold_core::overlay::{Change, Overlay};
use tickfold_core::state::{Account, Message, Number, Template};
use tickfold_core::time::{DAY_MS, Timestamp};

use crate::codec::{self, ChangeLog, FORMAT_VERSION, Persist as _};
use crate::key::Family;
use crate::tables::{Rows, Tables};
use crate::{Error, MessageListItem, StoreHead, Transition, key};

/// How long transitions are kept for watchers, in log time.
const CHANGES_KEPT_MS: i64 = DAY_MS;
/// How many transitions are kept at most.
const CHANGES_KEPT_ROWS: u64 = 1_000_000;
/// Transitions pruned with one batch beyond those it adds twice over, so that pruning catches up
/// with any load and yet no batch stalls on a day's worth.
const PRUNED_ROWS: usize = 1_000;
/// Transitions taken over from another store, or deleted for that, at a time.
pub(crate) const INHERITED_ROWS: usize = 10_000;
/// Transitions read at a time while pruning.
const SCAN_ROWS: usize = 64;

/// Puts and deletes that are applied together or not at all. A key occurs once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) entries: Vec<Entry>,
}

/// A key and its value; `None` deletes.
pub(crate) type Entry = (Vec<u8>, Option<Vec<u8>>);

impl Batch {
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.entries.push((key, Some(value)));
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.entries.push((key, None));
    }
}

/// The first batch of a store, which makes it one of this format.
pub(crate) fn of_new_store() -> Batch {
    let mut batch = Batch::default();
    batch.put(key::FORMAT.to_vec(), FORMAT_VERSION.to_be_bytes().to_vec());
    batch
}

/// Everything one write does: the rows of entities and timers that the overlay changes (`state`),
/// the index rows that follow from them, the transitions with those they push out, and the head.
/// Returns the changes then kept.
pub(crate) fn of_write<R: Rows + ?Sized>(
    state: Vec<Entry>,
    overlay: &Overlay,
    transitions: &[Transition],
    to: StoreHead,
    changes: ChangeLog,
    tables: Tables<'_, R>,
) -> Result<(Batch, ChangeLog), Error> {
    let mut batch = Batch { entries: state };
    let moved = overlay.messages.changes().filter(|(_, change)| !is_listed_alike(change));
    index(&mut batch, moved, message_rows);
    index(&mut batch, overlay.templates.changes(), template_rows);
    index(&mut batch, overlay.accounts.changes(), account_rows);
    index(&mut batch, overlay.numbers.changes(), number_rows);
    let changes = extend_changes(&mut batch, transitions, to.head.log_time, changes, tables)?;
    batch.put(key::HEAD.to_vec(), to.encode());
    Ok((batch, changes))
}

/// Moves the index rows that follow from changed entries of a table.
fn index<'a, K: 'a, V: 'a>(
    batch: &mut Batch,
    changes: impl Iterator<Item = (&'a K, &'a Change<V>)>,
    rows: impl Fn(&K, &V) -> Vec<Vec<u8>>,
) {
    for (key, change) in changes {
        let of = |value: &Option<V>| value.as_ref().map(|value| rows(key, value));
        let (before, after) = (of(&change.before), of(&change.after));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        for row in &before {
            if !after.contains(row) {
                batch.delete(row.clone());
            }
        }
        for row in after {
            if !before.contains(&row) {
                batch.put(row, Vec::new());
            }
        }
    }
}

/// The index rows of a message: its lines in the lists of its conversation and of its number, and more
/// where it has labels or trace ids.
fn message_rows(wamid: &Wamid, message: &Message) -> Vec<Vec<u8>> {
    let item = MessageListItem { list_time: message.list_time, wamid: wamid.clone() };
    let facts = &message.facts;
    let conversation = facts.conversation();
    let mut rows: Vec<_> = conversation
        .iter()
        .map(|conversation| key::listed(key::messages_of(conversation), &item))
        .collect();
    rows.extend(number_row(wamid, message));
    if facts.callback_data.is_some() {
        let labels = facts.labels();
        let lists = labels.iter().map(|(name, value)| key::messages_of_label(name, value));
        rows.extend(lists.map(|list| key::listed(list, &item)));
    }
    rows.extend(facts.traces.iter().map(|trace| key::message_of_trace(trace, wamid)));
    rows
}

/// The line of a message in the list of its number, if it has one.
pub(crate) fn number_row(wamid: &Wamid, message: &Message) -> Option<Vec<u8>> {
    let number = message.facts.phone_number_id.as_ref()?;
    let item = MessageListItem { list_time: message.list_time, wamid: wamid.clone() };
    Some(key::listed(key::messages_of_number(number), &item))
}

/// True if a message has the same index rows before and after: most statuses move none.
fn is_listed_alike(change: &Change<Message>) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return false };
    let (a, b) = (&before.facts, &after.facts);
    before.list_time == after.list_time
        && a.phone_number_id == b.phone_number_id
        && a.parties == b.parties
        && a.callback_data == b.callback_data
        && a.traces == b.traces
}

fn template_rows(key: &TemplateKey, template: &Template) -> Vec<Vec<u8>> {
    let listed = template.facts.listed().into_iter();
    listed.map(|(by, word)| key::template_listed(by, word, key)).collect()
}

fn account_rows(key: &WabaId, account: &Account) -> Vec<Vec<u8>> {
    let listed = account.facts.listed().into_iter();
    listed.map(|(by, word)| key::account_listed(by, word, key)).collect()
}

fn number_rows(key: &PhoneNumberId, number: &Number) -> Vec<Vec<u8>> {
    let listed = number.facts.listed().into_iter();
    listed.map(|(by, word)| key::number_listed(by, word, key)).collect()
}

/// Deletes transitions from this key on, some at a time, and says where to go on; `None` once none is
/// left.
pub(crate) fn without_changes<R: Rows + ?Sized>(
    tables: Tables<'_, R>,
    from: &[u8],
) -> Result<Option<(Batch, Vec<u8>)>, Error> {
    let (_, until) = Family::Change.bounds();
    let rows = tables.rows.scan(from, &until, INHERITED_ROWS)?;
    let Some((last, _)) = rows.last() else { return Ok(None) };
    let next = key::after(last.clone());
    let mut batch = Batch::default();
    rows.into_iter().for_each(|(key, _)| batch.delete(key));
    Ok(Some((batch, next)))
}

/// Keeps transitions of another store, and what is kept then.
pub(crate) fn of_changes(transitions: &[Transition], changes: ChangeLog) -> Batch {
    let mut batch = Batch::default();
    keep(&mut batch, transitions);
    batch.put(key::CHANGE_LOG.to_vec(), changes.encode());
    batch
}

fn keep(batch: &mut Batch, transitions: &[Transition]) {
    for transition in transitions {
        let change =
            codec::Change { log_time: transition.log_time, value: transition.value.clone() };
        batch.put(key::change((transition.offset, transition.ordinal)), change.encode());
    }
}

/// Adds transitions and deletes from the front those that are too old or too many.
fn extend_changes<R: Rows + ?Sized>(
    batch: &mut Batch,
    transitions: &[Transition],
    log_time: Option<Timestamp>,
    changes: ChangeLog,
    tables: Tables<'_, R>,
) -> Result<ChangeLog, Error> {
    let added = u64::try_from(transitions.len()).unwrap_or(u64::MAX);
    let mut kept = ChangeLog { rows: changes.rows.saturating_add(added), ..changes };
    keep(batch, transitions);
    let prunable = PRUNED_ROWS.saturating_add(transitions.len().saturating_mul(2));
    let mut pruned = 0_usize;
    'prune: while pruned < prunable {
        // Nothing is kept below `since`, so the scan meets no deleted rows on its way. Most batches
        // prune nothing and look at one row.
        let front = tables.transitions(kept.since, if pruned == 0 { 1 } else { SCAN_ROWS })?;
        if front.is_empty() {
            break;
        }
        for row in front {
            let old = log_time.is_some_and(|now| row.log_time.plus(CHANGES_KEPT_MS) < now);
            if !(old || kept.rows > CHANGES_KEPT_ROWS) {
                break 'prune;
            }
            batch.delete(key::change((row.offset, row.ordinal)));
            let since = (row.offset, row.ordinal.saturating_add(1));
            kept = ChangeLog { rows: kept.rows.saturating_sub(1), since };
            pruned += 1;
        }
    }
    if kept != changes {
        batch.put(key::CHANGE_LOG.to_vec(), kept.encode());
    }
    Ok(kept)
}
