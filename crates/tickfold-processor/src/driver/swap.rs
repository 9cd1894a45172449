//! Another store in the place of the live one: the partition stands still between two commits, one
//! commit has the rows that differ and the token of the other store, and only then that one is opened.
//!
//! What was folded on top of the old store is folded again on the new one.

use tickfold_log::Committed;
use tickfold_store::{Error as StoreError, PartitionStore, StoreHead};

use super::batch::Batch;
use super::command::{Command, Purpose};
use super::commit::InFlight;
use super::live::Live;
use super::refusal::Lost;
use super::{Driver, store_failed};
use crate::swap::Takeover;
use crate::token::Token;

/// How far a swap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swap {
    /// There is none.
    None,
    /// Somebody has the partition in hand.
    Standing,
    /// The commit, or the opening after it, of a store that stands there.
    Taking(StoreHead),
}

/// A turn of a store's generations as a token has it.
pub(super) fn swap_of(turn: u64) -> u8 {
    turn.to_le_bytes().first().copied().unwrap_or_default()
}

impl Driver {
    /// Gives the partition in hand, if its store is here.
    pub(super) fn stand_still(&self, live: &mut Live) -> Option<Command> {
        let head = self.store.as_ref()?.store_head();
        live.swap_asked = false;
        live.swap = Swap::Standing;
        let batch = std::mem::replace(&mut live.batch, Batch::at(head.cursor, 0));
        live.batch = batch.unfold(head.cursor, &mut live.queue);
        Some(Command::StandStill(head))
    }

    /// Goes on, or commits what it is given.
    pub(super) fn released(
        &self,
        live: &mut Live,
        takeover: Option<Box<Takeover>>,
    ) -> Result<Option<Command>, Command> {
        live.swap = Swap::None;
        let Some(takeover) = takeover else { return Ok(None) };
        let Takeover { rows, head, turn } = *takeover;
        let at = self.store.as_ref().map(|store| store.store_head().cursor);
        if at != Some(head.cursor) {
            return Err(Command::Lost(Lost::Defect("a store that stands elsewhere")));
        }
        let token = Token { swap: Some(swap_of(turn)), ..self.token(&head, live.batch.crc()) };
        let position = Committed { offset: head.cursor, metadata: token.to_string() };
        let rows = rows.into_iter().filter_map(|row| self.topics.append(row)).collect();
        let before = live.committed.clone();
        let mut in_flight = InFlight::new(Purpose::Swap, rows, before, position, None);
        let command = in_flight.send();
        live.in_flight = Some(in_flight);
        live.swap = Swap::Taking(head);
        Ok(Some(command))
    }

    /// The log names the store, and it is open: go on with it. A checkpoint of it is due, since those
    /// that there are lead to the old one.
    pub(super) fn succeeded(
        &mut self,
        live: &mut Live,
        opened: Result<Box<dyn PartitionStore>, StoreError>,
    ) -> Result<(), Command> {
        let store = opened.map_err(|error| store_failed(&error))?;
        let (found, expected) = (store.store_head(), live.swap);
        live.swap = Swap::None;
        if expected != Swap::Taking(found) {
            let what = format!("the next store stands at {} and not where it was", found.cursor);
            return Err(Command::Lost(Lost::Store(what)));
        }
        self.store = Some(store);
        live.checkpoint_asked |= self.options.checkpoint_interval_ms.is_some();
        Ok(())
    }
}
