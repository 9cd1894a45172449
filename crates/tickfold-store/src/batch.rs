//! From an overlay to rows: what one write puts and deletes, the same for all adapters.

use tickfold_core::ids::{PhoneNumberId, TemplateKey, WabaId, Wamid};
use tickfold_core::overlay::{Change, Overlay};
use tickfold_core::state::{Account, Message, Number, Template};

use crate::codec::{FORMAT_VERSION, Persist as _};
use crate::{MessageListItem, StoreHead, key};

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
/// the index rows that follow from them, and the head.
pub(crate) fn of_write(state: Vec<Entry>, overlay: &Overlay, to: StoreHead) -> Batch {
    let mut batch = Batch { entries: state };
    let moved = overlay.messages.changes().filter(|(_, change)| !is_listed_alike(change));
    index(&mut batch, moved, message_rows);
    index(&mut batch, overlay.templates.changes(), template_rows);
    index(&mut batch, overlay.accounts.changes(), account_rows);
    index(&mut batch, overlay.numbers.changes(), number_rows);
    batch.put(key::HEAD.to_vec(), to.encode());
    batch
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
