//! Looking at a partition as a start would, without claiming it: what a start would refuse, and from
//! where it could go on.
//!
//! It asks the questions of a start and answers none of them by itself. Nothing is committed, set
//! aside or restored, and the position may move while one looks: what is done upon it is done by
//! [`Driver::recovering`](super::Driver::recovering), which claims first and compares.

use std::collections::BTreeSet;

use tickfold_core::fold::Partition;
use tickfold_log::{Bounds, Committed, Offset};
use tickfold_store::{Checkpoint, Error as StoreError};

use super::command::{Command, Input};
use super::refusal::Refusal;
use super::start::{
    self, Decision, Derived, Emitted, Found, LastFolded, Position, StoreFound, choose_checkpoint,
    decide,
};
use super::starting::Starting;
use super::{defect, log_failed, store_failed};

/// A look that is under way.
#[derive(Debug)]
pub struct Looking {
    partition: Partition,
    starting: Starting,
    checkpoints: Option<Vec<Checkpoint>>,
}

/// What is seen of a partition.
#[derive(Debug, Clone)]
pub struct Look {
    /// The group's position, as it was read.
    pub committed: Option<Committed>,
    /// All that the start table is given.
    pub found: Found,
    /// What the ends of the derived partitions tell.
    pub derived: Derived,
    /// What a start would be refused for. A state whose fold gives another digest is found only by
    /// folding it.
    pub refusal: Option<Refusal>,
}

impl Looking {
    /// Begins at this position of the group.
    pub fn new(partition: Partition, committed: Option<Committed>) -> Self {
        let starting = Starting { committed: Some(committed), ..Starting::default() };
        Self { partition, starting, checkpoints: None }
    }

    /// What is seen, or the next question.
    pub fn next(&self) -> Result<Look, Command> {
        let found = self.starting.found(self.partition)?;
        let derived = self.starting.derived.ok_or(Command::ReadLastOutputs)?;
        let refusal = match decide(&found) {
            Decision::Refuse(refusal) => Some(refusal),
            Decision::FirstStart | Decision::Refold(_) => None,
            Decision::Replace { reason, emitted } => {
                let checkpoints = self.checkpoints.clone().ok_or(Command::ListCheckpoints)?;
                let tried = BTreeSet::new();
                let (chosen, start) = (
                    choose_checkpoint(checkpoints, &tried, found.bounds, emitted),
                    found.bounds.start,
                );
                let reason = reason.as_str();
                (chosen.is_none() && start > 0).then_some(Refusal::RawGap {
                    start,
                    emitted,
                    reason,
                })
            }
        };
        let committed = self.starting.committed.clone().flatten();
        Ok(Look { committed, found, derived, refusal })
    }

    /// Takes the answer to the last question.
    pub fn answer(&mut self, input: Input) -> Result<(), Command> {
        let starting = &mut self.starting;
        match input {
            Input::BoundsRead(bounds) => starting.bounds = Some(bounds.map_err(log_failed)?),
            Input::LastOutputsRead(derived) => {
                starting.derived = Some(derived.map_err(log_failed)?);
            }
            Input::RawRead(records) => {
                starting.last_folded_read(self.partition, &records.map_err(log_failed)?);
            }
            Input::NextFound(next) => {
                starting.next = Some(next.map_err(|error| store_failed(&error))?);
            }
            Input::StoreOpened(Ok(store)) => {
                starting.store = Some(StoreFound::Readable(store.store_head()));
            }
            Input::StoreOpened(Err(StoreError::Unreadable { .. })) => {
                starting.store = Some(StoreFound::Unreadable);
            }
            Input::StoreOpened(Err(error)) => return Err(store_failed(&error)),
            Input::CheckpointsListed(checkpoints) => {
                self.checkpoints = Some(checkpoints.map_err(|error| store_failed(&error))?);
            }
            other => return Err(defect(&other)),
        }
        Ok(())
    }
}

impl Look {
    /// Up to where outputs are known to be emitted: by the position, if it is ours and raw is what
    /// was folded, else by store and derived topics. A lower bound, and all outputs below it are
    /// there; what lies between it and the true position had none. `None`: nothing tells.
    pub fn emitted(&self) -> Option<Offset> {
        if let (Emitted::Ours { offset, .. }, None | Some(Refusal::RawGap { .. })) =
            (&self.found.emitted, &self.refusal)
        {
            return Some(*offset);
        }
        match start::position(&Emitted::None(self.derived), &self.found.store) {
            Position::First => Some(0),
            Position::At(offset) => Some(offset),
            Position::Unknown => None,
        }
    }

    /// Bounds of raw.
    pub fn bounds(&self) -> Bounds {
        self.found.bounds
    }

    /// Cursor of the store; `None` if it cannot be understood.
    pub fn cursor(&self) -> Option<Offset> {
        match self.found.store {
            StoreFound::Readable(head) => Some(head.cursor),
            StoreFound::Unreadable => None,
        }
    }

    /// Whether the record below the position is the one that was folded; `None` if that cannot be
    /// said.
    pub fn is_last_folded(&self) -> Option<bool> {
        match (&self.found.emitted, self.found.last_folded) {
            (_, LastFolded::Missing) => Some(false),
            (Emitted::Ours { token, .. }, LastFolded::Crc(crc)) => Some(crc == token.crc),
            (_, LastFolded::Crc(_) | LastFolded::NotReadable) => None,
        }
    }
}
