//! Facts do not depend on order or repetition: the webhooks of a partition, shuffled and some of them
//! repeated, teach the same.

use std::fmt::Debug;

use tickfold_core::Overlay;
use tickfold_core::fold::Partition;
use tickfold_core::overlay::Nothing;
use tickfold_core::raw::KIND_WEBHOOK;
use tickfold_core::raw::header;
use tickfold_log::Record;
use tickfold_processor::raw_record;

use crate::rng::Dice;

/// The records as they came and in another order, at one pace: each an hour after everything that
/// they tell of, so that nothing expires and no time is absurd.
pub(crate) fn are_the_same_in_any_order(
    partition: Partition,
    raw: &[Record],
    seed: u64,
) -> Result<(), String> {
    let is_webhook = |record: &&Record| {
        record.header(header::KIND).is_some_and(|kind| kind.as_ref() == KIND_WEBHOOK.as_bytes())
    };
    let records: Vec<&Record> = raw.iter().filter(is_webhook).collect();
    let last_ms = raw.iter().map(|record| record.timestamp_ms).max().unwrap_or(0);
    let mut dice = Dice::of(seed, "order");
    let mut shuffled = records.clone();
    for at in (1..shuffled.len()).rev() {
        shuffled.swap(at, dice.index(at + 1));
    }
    let again: Vec<&Record> = shuffled.iter().copied().filter(|_| dice.one_in(4)).collect();
    shuffled.extend(again);
    let (came, other) =
        (learned(partition, &records, last_ms), learned(partition, &shuffled, last_ms));
    match came.iter().zip(&other).find(|(came, other)| came != other) {
        Some((came, other)) => Err(format!("facts that depend on order: {came} and {other}")),
        None if came.len() != other.len() => Err("facts that depend on order".to_owned()),
        None => Ok(()),
    }
}

fn learned(partition: Partition, records: &[&Record], last_ms: i64) -> Vec<String> {
    let mut overlay = Overlay::default();
    for (offset, record) in records.iter().enumerate() {
        let offset = offset as u64;
        let timestamp_ms = last_ms + 1_000 * i64::try_from(offset).expect("few");
        let record = Record { offset, timestamp_ms, ..(*record).clone() };
        let folded = tickfold_core::fold(&mut overlay, &Nothing, partition, &raw_record(&record));
        folded.expect("nothing can always be read");
    }
    lines(&overlay)
}

/// Facts of all entities, as lines in order.
fn lines(overlay: &Overlay) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |key: &dyn Debug, facts: &dyn Debug| lines.push(format!("{key:?} {facts:?}"));
    for (key, change) in overlay.messages.changes() {
        line(key, &change.after.as_ref().map(|message| &message.facts));
    }
    for (key, change) in overlay.conversations.changes() {
        line(key, &change.after.as_ref().map(|conversation| &conversation.facts));
    }
    for (key, change) in overlay.numbers.changes() {
        line(key, &change.after.as_ref().map(|number| &number.facts));
    }
    for (key, change) in overlay.users.changes() {
        line(key, &change.after.as_ref().map(|user| &user.facts));
    }
    for (key, change) in overlay.templates.changes() {
        line(key, &change.after.as_ref().map(|template| &template.facts));
    }
    for (key, change) in overlay.accounts.changes() {
        line(key, &change.after.as_ref().map(|account| &account.facts));
    }
    lines.sort_unstable();
    lines
}
