//! The questions of a start: what has been asked, what was answered, what is next.

use std::collections::BTreeSet;

use tickfold_core::fold::Partition;
use tickfold_log::{Bounds, Committed, Offset, Record};
use tickfold_store::Checkpoint;

use super::command::Command;
use super::start::{self, Derived, Emitted, Found, LastFolded, Position, Reason, StoreFound};
use crate::token::Token;

/// Answers so far; `None` has not been asked, or must be asked again.
#[derive(Debug, Default)]
pub(super) struct Starting {
    /// The answer of the claim. Nothing else is asked before it: only behind the claim is the
    /// position stable, and everything else is judged by it.
    pub(super) committed: Option<Option<Committed>>,
    pub(super) store: Option<StoreFound>,
    pub(super) bounds: Option<Bounds>,
    pub(super) derived: Option<Derived>,
    pub(super) last_folded: Option<LastFolded>,
    /// The replacement under way.
    pub(super) replacing: Option<Replacing>,
    /// Checkpoints that were restored before and did not do.
    pub(super) tried: BTreeSet<String>,
    /// True once the store was rejected for an empty one: there is nothing left to try.
    pub(super) emptied: bool,
}

/// A store on its way out, and what comes in its place.
#[derive(Debug)]
pub(super) struct Replacing {
    pub(super) reason: Reason,
    pub(super) emitted: Offset,
    /// `None`: not chosen yet, or the empty store.
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Starting {
    /// Everything the table needs, or the next question.
    pub(super) fn found(&self, partition: Partition) -> Result<Found, Command> {
        let committed = self.committed.as_ref().ok_or(Command::Claim)?;
        let store = self.store.ok_or(Command::OpenStore)?;
        let emitted = match committed {
            None => Emitted::None(self.derived.ok_or(Command::ReadLastOutputs)?),
            Some(Committed { offset, metadata }) => match Token::parse(metadata) {
                Ok(token) => Emitted::Ours { offset: *offset, token },
                Err(_) => Emitted::Foreign { offset: *offset, metadata: metadata.clone() },
            },
        };
        // Read after everything that E is made of: another owner may commit meanwhile, and an E
        // that raw had not reached yet when its end was read would look like damage.
        let bounds = self.bounds.ok_or(Command::ReadBounds)?;
        let last_folded = match (self.last_folded, start::position(&emitted, &store)) {
            (Some(answer), _) => answer,
            (None, Position::At(e)) if bounds.start < e && e <= bounds.end => {
                return Err(Command::ReadRaw { from: e - 1, max_records: 1, max_bytes: 0 });
            }
            (None, Position::At(_) | Position::First | Position::Unknown) => {
                LastFolded::NotReadable
            }
        };
        Ok(Found { partition, emitted, store, bounds, last_folded })
    }

    /// The answer to the question for the raw record just below E.
    pub(super) fn last_folded_read(&mut self, records: &[Record]) {
        let store = self.store.unwrap_or(StoreFound::Unreadable);
        let emitted = match (&self.committed, self.derived) {
            (Some(Some(committed)), _) => Position::At(committed.offset),
            (_, derived) => start::position(&Emitted::None(derived.unwrap_or_default()), &store),
        };
        let at = records.first().filter(|record| {
            matches!(emitted, Position::At(emitted) if record.offset.checked_add(1) == Some(emitted))
        });
        self.last_folded = Some(at.map_or(LastFolded::Missing, |r| LastFolded::Crc(r.crc())));
    }

    /// Begins to replace the store.
    pub(super) fn replace(&mut self, reason: Reason, emitted: Offset) -> Command {
        self.replacing = Some(Replacing { reason, emitted, checkpoint: None });
        Command::ListCheckpoints
    }
}
