//! Bringing a store of an earlier version to this one: it gets the index rows that it does not have,
//! and loses the transitions that it kept.
//!
//! The index rows follow from rows that are there, so neither raw nor a checkpoint is needed, and state and
//! digest stay as they are. The format is raised first, so that no earlier program writes into a store
//! that is half indexed; how far it came is kept with each batch, so a process that ends meanwhile
//! costs one batch.

use crate::Error;
use crate::batch::{Batch, number_row, of_new_store};
use crate::codec::Persist as _;
use crate::key::{self, Family};
use crate::store::Backend;
use crate::tables::Tables;

use tickfold_core::state::Message;

/// Messages read at a time, and lines written with one batch.
const BATCH_ROWS: usize = 1_000;

/// Makes it a store of this format that lacks every line of messages by number.
pub(crate) fn begin<B: Backend>(backend: &mut B) -> Result<(), Error> {
    let mut batch = of_new_store();
    batch.put(key::UNINDEXED.to_vec(), Family::Message.bounds().0.to_vec());
    backend.apply(batch)
}

/// Writes the lines that are lacking, if any are.
pub(crate) fn go_on<B: Backend>(backend: &mut B, partition: u32) -> Result<(), Error> {
    let Some(mut from) = backend.get(&key::UNINDEXED)? else { return Ok(()) };
    tracing::info!(partition, "the list of messages by number is written into an earlier store");
    let (_, until) = Family::Message.bounds();
    let mut lines = 0_usize;
    loop {
        let messages = backend.scan(&from, &until, BATCH_ROWS)?;
        let mut batch = Batch::default();
        let Some((last, _)) = messages.last() else {
            batch.delete(key::UNINDEXED.to_vec());
            backend.apply(batch)?;
            tracing::info!(partition, lines, "the list of messages by number is complete");
            return Ok(());
        };
        from = key::after(last.clone());
        let tables = Tables { rows: &*backend, partition };
        for (key, value) in &messages {
            let wamid = tables.read(key::parse_message(key.get(1..).unwrap_or_default()))?;
            let line = number_row(&wamid, &tables.read(Message::decode(value))?);
            line.into_iter().for_each(|line| batch.put(line, Vec::new()));
        }
        lines = lines.saturating_add(batch.entries.len());
        batch.put(key::UNINDEXED.to_vec(), from.clone());
        backend.apply(batch)?;
    }
}

/// Deletes the transitions that earlier versions kept for watchers, who follow their topic. No
/// version misses them, so a store of either kind has the same format.
pub(crate) fn forget_transitions<B: Backend>(backend: &mut B, partition: u32) -> Result<(), Error> {
    let (first, until) = Family::Change.bounds();
    let mut from = first.to_vec();
    let mut deleted = 0_usize;
    loop {
        let rows = backend.scan(&from, &until, BATCH_ROWS)?;
        let mut batch = Batch::default();
        let Some((last, _)) = rows.last() else { break };
        from = key::after(last.clone());
        deleted = deleted.saturating_add(rows.len());
        rows.into_iter().for_each(|(key, _)| batch.delete(key));
        backend.apply(batch)?;
    }
    if deleted > 0 {
        tracing::info!(partition, deleted, "transitions that an earlier version kept are deleted");
    }
    if backend.get(&key::CHANGE_LOG)?.is_some() {
        let mut batch = Batch::default();
        batch.delete(key::CHANGE_LOG.to_vec());
        backend.apply(batch)?;
    }
    Ok(())
}
