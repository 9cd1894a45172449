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
use super::{Driver, Next, store_failed};
use crate::bugs::planted;
use crate::swap::{StartWith, Takeover};
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
        &mut self,
        live: &mut Live,
        takeover: Option<Box<Takeover>>,
    ) -> Result<Option<Command>, Command> {
        live.swap = Swap::None;
        let Some(takeover) = takeover else { return Ok(None) };
        let at = self.store.as_ref().map(|store| store.store_head().cursor);
        if at != Some(takeover.head.cursor) {
            return Err(Command::Lost(Lost::Defect("a store that stands elsewhere")));
        }
        if planted!(self.options, SwapBeforeCommit) {
            live.swap = Swap::Taking(takeover.head);
            self.store = None;
            return Ok(Some(Command::Succeed));
        }
        let command = self.take(live, *takeover).send();
        Ok(Some(command))
    }

    /// Starts with another store than there is, where the group stands as it was found. That raw is the
    /// log that was folded its digest says.
    pub(super) fn start_with(
        &mut self,
        with: StartWith,
        committed: Option<Committed>,
        now_ms: u64,
    ) -> Next {
        let StartWith { found, takeover } = with;
        let head = takeover.head;
        let token = Token::parse(&found.metadata).ok().filter(|token| {
            token.partition_count == self.partition.count && token.raw_digest == head.raw_digest
        });
        let Some(token) = token.filter(|_| committed.as_ref() == Some(&found)) else {
            return Err(Command::Lost(Lost::NotOwner {
                found: committed.map(|found| found.offset),
                from: Some(found.offset),
                to: head.cursor,
            }));
        };
        if head.cursor != found.offset {
            return Err(Command::Lost(Lost::Defect("a store that stands elsewhere")));
        }
        let mut live = Live::at(committed, head.cursor, token.crc);
        live.is_open = false;
        self.take(&mut live, takeover);
        self.go_live(live, now_ms)
    }

    /// The commit by which a store becomes the live one, yet to be sent.
    fn take<'a>(&self, live: &'a mut Live, takeover: Takeover) -> &'a mut InFlight {
        let Takeover { rows, head, turn } = takeover;
        let token = Token { swap: Some(swap_of(turn)), ..self.token(&head, live.batch.crc()) };
        let position = Committed { offset: head.cursor, metadata: token.to_string() };
        let rows = rows.into_iter().filter_map(|row| self.topics.append(row)).collect();
        let before = live.committed.clone();
        live.swap = Swap::Taking(head);
        live.in_flight.insert(InFlight::new(Purpose::Swap, rows, before, position, None))
    }

    /// The log names the store, and it is open: go on with it. A checkpoint of it is due, since those
    /// that there are lead to the old one; they go once it is complete.
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
        live.is_open = true;
        self.checkpoints_are_old = true;
        live.checkpoint_asked |= self.options.checkpoint_interval_ms.is_some();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tickfold_core::fold::Partition;
    use tickfold_log::CommitError;

    use super::*;
    use crate::driver::{Input, Progress};
    use crate::options::Options;

    const HERE: Partition = Partition { id: 0, count: 1 };
    const HEAD: StoreHead = StoreHead { cursor: 6, raw_digest: 3, ..StoreHead::EMPTY };

    /// A position that a partition of so many committed with a store of this head.
    fn position(head: StoreHead, count: u32) -> Committed {
        let of = Partition { count, ..HERE };
        let token = Driver::new(Arc::new(Options::default()), of).token(&head, 0);
        Committed { offset: head.cursor, metadata: token.to_string() }
    }

    /// What a driver does that begins with a swap of a store with `head`, prepared for `found`, whose claim
    /// finds `committed`.
    fn begin(
        found: Committed,
        head: StoreHead,
        committed: Option<Committed>,
    ) -> (Driver, Vec<Command>) {
        let takeover = Takeover { rows: Vec::new(), head, turn: 1 };
        let with = StartWith { found, takeover };
        let mut driver = Driver::starting_with(Arc::new(Options::default()), HERE, with);
        assert_eq!(kinds(&driver.step(Input::Start, 0)), ["claim"]);
        let commands = driver.step(Input::Claimed(Ok(committed)), 0);
        (driver, commands)
    }

    /// A driver whose first commit, that of a swap, is on its way.
    fn begun() -> Driver {
        let found = position(HEAD, 1);
        let (driver, commands) = begin(found.clone(), HEAD, Some(found));
        assert_eq!(kinds(&commands), ["commit"]);
        driver
    }

    fn kinds(commands: &[Command]) -> Vec<&'static str> {
        commands.iter().map(Command::kind).collect()
    }

    fn aborted() -> Input {
        Input::CommitDone(Err(CommitError::Aborted { reason: "a test".to_owned() }))
    }

    #[test]
    fn a_swap_to_begin_with_is_for_one_position_one_raw_log_and_one_count() {
        let other_log = StoreHead { raw_digest: 4, ..HEAD };
        let later = StoreHead { cursor: 7, ..HEAD };
        let foreign = Committed { offset: 6, metadata: "foreign".to_owned() };
        let cases = [
            (position(HEAD, 1), other_log, Some(position(HEAD, 1)), "another log was folded"),
            (position(HEAD, 2), HEAD, Some(position(HEAD, 2)), "another count of partitions"),
            (foreign.clone(), HEAD, Some(foreign), "a position of somebody else"),
            (position(HEAD, 1), HEAD, Some(position(later, 1)), "the group has gone on"),
            (position(HEAD, 1), HEAD, None, "the group's position is gone"),
        ];
        for (found, head, committed, what) in cases {
            let (driver, commands) = begin(found, head, committed);
            assert!(
                matches!(&commands[..], [Command::Lost(Lost::NotOwner { from: Some(6), .. })]),
                "{what}: {commands:?}"
            );
            assert_eq!(driver.progress(), Progress::Over, "{what}");
        }
        let found = position(HEAD, 1);
        let (_, commands) = begin(found.clone(), later, Some(found));
        assert!(matches!(&commands[..], [Command::Lost(Lost::Defect(_))]), "{commands:?}");
    }

    #[test]
    fn one_that_begins_with_a_swap_is_not_live_before_its_store_is_open() {
        let mut driver = begun();
        assert_eq!(driver.progress(), Progress::Starting);
        assert_eq!(kinds(&driver.step(aborted(), 0)), ["pause"]);
        assert_eq!(driver.progress(), Progress::Starting);
        assert_eq!(kinds(&driver.step(Input::Paused, 100)), ["commit"]);
        assert_eq!(kinds(&driver.step(Input::CommitDone(Ok(())), 100)), ["succeed"]);
        assert_eq!(driver.progress(), Progress::Starting);
    }

    #[test]
    fn one_that_is_told_to_stop_in_the_commit_it_begins_with_ends() {
        let mut driver = begun();
        assert!(driver.step(Input::Stop, 0).is_empty(), "its outcome is waited for");
        assert_eq!(kinds(&driver.step(aborted(), 0)), ["stopped"]);
        let mut driver = begun();
        driver.step(aborted(), 0);
        assert_eq!(kinds(&driver.step(Input::Stop, 0)), ["stopped"]);
        let mut driver = begun();
        driver.step(Input::Stop, 0);
        assert_eq!(kinds(&driver.step(Input::CommitDone(Ok(())), 0)), ["succeed"]);
    }
}
