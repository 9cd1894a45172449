//! The start: what has been asked, what was answered, what is next, until the table can decide.

use std::collections::BTreeSet;

use tickfold_core::FOLD_VERSION;
use tickfold_core::fold::Partition;
use tickfold_log::{Bounds, Committed, Offset, Record};
use tickfold_store::{Checkpoint, Error as StoreError, NextStore};

use super::command::{Command, Input};
use super::refusal::{Lost, RawDamage, Refusal};
use super::start::{
    self, Acceptance, Decision, Derived, Emitted, Found, LastFolded, Position, Reason, StoreFound,
    Target, choose_checkpoint, decide,
};
use super::swap::swap_of;
use super::{Driver, Next, Phase, defect, log_failed, store_failed};
use crate::bugs::planted;
use crate::token::Token;

/// Answers so far; `None` has not been asked, or must be asked again.
#[derive(Debug, Default)]
pub(super) struct Starting {
    /// What a person decided, if this start is to go on where another would be refused.
    pub(super) accepted: Option<Acceptance>,
    /// The answer of the claim. Nothing else is asked before it: only behind the claim is the
    /// position stable, and everything else is judged by it.
    pub(super) committed: Option<Option<Committed>>,
    pub(super) store: Option<StoreFound>,
    pub(super) bounds: Option<Bounds>,
    pub(super) derived: Option<Derived>,
    pub(super) last_folded: Option<LastFolded>,
    /// What was prepared to take the place of the store, where the last commit was a swap.
    pub(super) next: Option<Option<NextStore>>,
    /// The replacement under way.
    pub(super) replacing: Option<Replacing>,
    /// Checkpoints that were restored before and did not do.
    pub(super) tried: BTreeSet<String>,
    /// True once the store was rejected for an empty one: there is nothing left to try.
    pub(super) emptied: bool,
    /// True once the table refused what was found, and everything was asked again.
    pub(super) looked_again: bool,
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
        let store = match (&self.committed, self.store) {
            (None, _) => return Err(Command::Claim),
            (Some(_), None) if self.next.is_none() && self.swap().is_some() => {
                return Err(Command::LookForNext);
            }
            (Some(_), None) => return Err(Command::OpenStore),
            (Some(_), Some(store)) => store,
        };
        let emitted = self.emitted(partition)?;
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

    /// The group's position, or what a person says in its place. What was written by another fold
    /// or routed by another count stays refused: no acceptance makes that right.
    fn emitted(&self, partition: Partition) -> Result<Emitted, Command> {
        let committed = self.committed.as_ref().ok_or(Command::Claim)?;
        let found = committed.as_ref().map(|found| (found, Token::parse(&found.metadata)));
        let accepted = self.accepted.as_ref().map(|accepted| {
            let Acceptance { found: _, offset, anew } = *accepted;
            Emitted::Accepted { offset, anew }
        });
        Ok(match (found, accepted) {
            (Some((found, Ok(token))), accepted) => {
                let is_ours =
                    token.fold_version == FOLD_VERSION && token.partition_count == partition.count;
                let ours = Emitted::Ours { offset: found.offset, token };
                accepted.filter(|_| is_ours).unwrap_or(ours)
            }
            (_, Some(accepted)) => accepted,
            (Some((Committed { offset, metadata }, Err(_))), None) => {
                Emitted::Foreign { offset: *offset, metadata: metadata.clone() }
            }
            (None, None) => Emitted::None(self.derived.ok_or(Command::ReadLastOutputs)?),
        })
    }

    /// The answer to the question for the raw record just below E.
    pub(super) fn last_folded_read(&mut self, partition: Partition, records: &[Record]) {
        let store = self.store.unwrap_or(StoreFound::Unreadable);
        let emitted = self.emitted(partition);
        let emitted = emitted.map_or(Position::Unknown, |found| start::position(&found, &store));
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

    /// Which swap the last commit was, if it was one.
    fn swap(&self) -> Option<(Offset, Token)> {
        let committed = self.committed.as_ref()?.as_ref()?;
        let token = Token::parse(&committed.metadata).ok()?;
        token.swap.is_some().then_some((committed.offset, token))
    }

    /// Whether that swap was to make this the store: then its process ended before it had done so.
    fn takes_over(&self, next: &NextStore) -> bool {
        self.swap().is_some_and(|(offset, token)| {
            token.swap == Some(swap_of(next.turn))
                && (offset, token.digest) == (next.head.cursor, next.head.digest)
        })
    }
}

impl Driver {
    /// Takes an answer, and asks on.
    pub(super) fn starting(&mut self, mut starting: Starting, input: Input, now_ms: u64) -> Next {
        match input {
            Input::Claimed(Ok(committed)) => {
                if let Some(with) = self.with.take() {
                    return self.start_with(with, committed, now_ms);
                }
                if let Some(accepted) = &starting.accepted
                    && accepted.found != committed
                {
                    return Err(Command::Lost(Lost::NotOwner {
                        found: committed.map(|found| found.offset),
                        from: accepted.found.as_ref().map(|found| found.offset),
                        to: accepted.offset,
                    }));
                }
                starting.committed = Some(committed);
                self.checkpoints_are_old = starting.swap().is_some();
            }
            Input::BoundsRead(Ok(bounds)) => starting.bounds = Some(bounds),
            Input::LastOutputsRead(Ok(derived)) => starting.derived = Some(derived),
            Input::RawRead(Ok(records)) => starting.last_folded_read(self.partition, &records),
            Input::StoreOpened(Ok(store)) => {
                starting.store = Some(StoreFound::Readable(store.store_head()));
                self.store = Some(store);
            }
            Input::StoreOpened(Err(StoreError::Unreadable { .. })) => {
                starting.store = Some(StoreFound::Unreadable);
            }
            Input::NextFound(Ok(next)) => {
                let next = next.filter(|_| !planted!(self.options, SwapNotLookedFor));
                starting.next = Some(next);
                if next.is_some_and(|next| starting.takes_over(&next)) {
                    self.phase = Phase::Starting(starting);
                    return Ok(vec![Command::Succeed]);
                }
            }
            Input::Succeeded(Ok(store)) => {
                starting.store = Some(StoreFound::Readable(store.store_head()));
                self.store = Some(store);
            }
            Input::Succeeded(Err(StoreError::Unreadable { .. })) => {
                starting.store = Some(StoreFound::Unreadable);
            }
            Input::CheckpointsListed(Ok(checkpoints)) => {
                return self.replace(starting, checkpoints, now_ms);
            }
            Input::Rejected(Ok(())) => {
                let checkpoint = starting.replacing.take().and_then(|r| r.checkpoint);
                if let Some(checkpoint) = checkpoint {
                    self.phase = Phase::Starting(starting);
                    return Ok(vec![Command::Restore(checkpoint)]);
                }
            }
            // One that cannot be restored is like none: it is among those tried.
            Input::Restored(Ok(()) | Err(StoreError::Unreadable { .. })) => {}
            Input::Claimed(Err(error))
            | Input::BoundsRead(Err(error))
            | Input::LastOutputsRead(Err(error))
            | Input::RawRead(Err(error)) => return Err(log_failed(error)),
            Input::StoreOpened(Err(error))
            | Input::NextFound(Err(error))
            | Input::CheckpointsListed(Err(error))
            | Input::Rejected(Err(error))
            | Input::Succeeded(Err(error))
            | Input::Restored(Err(error)) => return Err(store_failed(&error)),
            input @ (Input::Start
            | Input::CommitDone(_)
            | Input::StoreWritten { .. }
            | Input::Checkpointed { .. }
            | Input::CheckpointAsked
            | Input::SwapAsked
            | Input::Released(_)
            | Input::Woken
            | Input::Paused
            | Input::Stop
            | Input::TakenAway) => return Err(defect(&input)),
        }
        self.ask(starting, now_ms)
    }

    /// The next question, or what the table says once there is none.
    pub(super) fn ask(&mut self, mut starting: Starting, now_ms: u64) -> Next {
        let found = match starting.found(self.partition) {
            Ok(found) => found,
            Err(question) => {
                self.phase = Phase::Starting(starting);
                return Ok(vec![question]);
            }
        };
        #[cfg(feature = "planted-bugs")]
        let found = crate::bugs::spoil(self.options.bug, found);
        match decide(&found) {
            Decision::FirstStart => {
                let target = Target { emitted: 0, digest: None, crc: 0 };
                self.commit_start(starting.committed.flatten(), target, now_ms)
            }
            Decision::Refold(target) => self.refold(starting, target, now_ms),
            Decision::Replace { reason, emitted }
                if starting.emptied && reason != Reason::Missing =>
            {
                Err(nothing_left(reason, emitted, &found))
            }
            Decision::Replace { reason, emitted } => {
                let command = starting.replace(reason, emitted);
                self.phase = Phase::Starting(starting);
                Ok(vec![command])
            }
            Decision::Refuse(refusal) if starting.looked_again => Err(Command::Refused(refusal)),
            Decision::Refuse(_) => Ok(self.look_again(starting)),
        }
    }

    /// Asks everything once more. A refusal calls a person, and it compares what the claim found with
    /// what was read after it: a process that stood still in between compares an old position with
    /// what another owner did since. A claim of now finds that owner's position, or none to claim.
    fn look_again(&mut self, starting: Starting) -> Vec<Command> {
        self.store = None;
        let Starting { accepted, tried, emptied, .. } = starting;
        let again =
            Starting { accepted, tried, emptied, looked_again: true, ..Starting::default() };
        self.phase = Phase::Starting(again);
        vec![Command::Claim]
    }

    /// Chooses what comes in the store's place.
    fn replace(
        &mut self,
        mut starting: Starting,
        checkpoints: Vec<Checkpoint>,
        now_ms: u64,
    ) -> Next {
        let (Ok(found), Some(replacing)) =
            (starting.found(self.partition), &mut starting.replacing)
        else {
            return Err(Command::Lost(Lost::Defect("checkpoints listed")));
        };
        let (reason, emitted, start) = (replacing.reason, replacing.emitted, found.bounds.start);
        let anew = starting.accepted.as_ref().is_some_and(|accepted| accepted.anew);
        let checkpoints = if anew { Vec::new() } else { checkpoints };
        let chosen = choose_checkpoint(checkpoints, &starting.tried, found.bounds, emitted);
        match &chosen {
            Some(checkpoint) => _ = starting.tried.insert(checkpoint.id.clone()),
            None if start > 0 && !anew => {
                // The store stays where it is: readers may still be served from it.
                let reason = reason.as_str();
                return Err(Command::Refused(Refusal::RawGap { start, emitted, reason }));
            }
            None if reason == Reason::Missing => {
                starting.replacing = None;
                return self.refold(starting, start::target(&found, emitted), now_ms);
            }
            None => starting.emptied = true,
        }
        replacing.checkpoint = chosen;
        starting.store = None;
        self.store = None;
        self.phase = Phase::Starting(starting);
        Ok(vec![Command::Reject(reason)])
    }
}

/// Not even the empty store does: either raw does not give the committed state, or the disk does
/// not keep a store.
fn nothing_left(reason: Reason, emitted: Offset, found: &Found) -> Command {
    if let (Emitted::Ours { token, .. }, StoreFound::Readable(store)) =
        (&found.emitted, found.store)
    {
        let (found, token) = (store.digest, token.digest);
        let damage = RawDamage::DigestDiffers { emitted, found, token };
        return Command::Refused(Refusal::RawDamaged(damage));
    }
    Command::Lost(Lost::Store(format!("a new store is {} again", reason.as_str())))
}
