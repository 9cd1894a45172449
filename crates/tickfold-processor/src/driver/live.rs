//! Folding and committing from E on: which records are folded on top of what, and what is asked
//! for next.
//!
//! While a commit is in flight the next batch is folded on top of it, within the same bounds. It
//! is closed, given its digest and sent only when the one below is in the store: so a batch always
//! lies on a certain position when it leaves, and if the one below is lost, it is lost with it.

use std::collections::VecDeque;

use tickfold_core::FOLD_VERSION;
use tickfold_core::overlay::{Layered, Overlay};
use tickfold_log::{Committed, Offset, Record, RecordDigest};
use tickfold_store::{Error as StoreError, PartitionStore, StoreHead};

use super::batch::{Batch, Limits};
use super::command::{Command, Input, Purpose, StoreWrite};
use super::commit::{InFlight, Outcome};
use super::refusal::Lost;
use super::swap::Swap;
use super::{Driver, Next, Phase, Progress, defect, log_failed, source_failed, store_failed};
use crate::bugs::planted;

/// Who waits for a commit in flight does not look at raw more often.
const LOOK_AGAIN_MS_MIN: u64 = 1_000;

/// State of a live partition.
#[derive(Debug)]
pub(super) struct Live {
    /// What the group's position is, by the last answer; `None` before the first start's commit.
    pub(super) committed: Option<Committed>,
    /// A commit that is not certain yet, or not yet in the store.
    pub(super) in_flight: Option<InFlight>,
    /// What is being folded on top of it.
    pub(super) batch: Batch,
    /// Read and not yet folded.
    pub(super) queue: VecDeque<Record>,
    asked: Asked,
    /// True if raw had nothing more when it was last read.
    drained: bool,
    /// When the next checkpoint is due; `None`: never.
    checkpoint_due_ms: Option<u64>,
    /// Somebody waits for one.
    pub(super) checkpoint_asked: bool,
    /// Somebody wants to have the partition in hand.
    pub(super) swap_asked: bool,
    /// Whether somebody has.
    pub(super) swap: Swap,
    /// There is a store to read; not yet where the driver began with a swap.
    pub(super) is_open: bool,
}

/// What the shell owes about raw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Read,
    /// Where raw begins: what was read does not follow on what was folded.
    Bounds,
    Wait,
}

impl Live {
    /// At a position whose last record below has this CRC.
    pub(super) fn at(committed: Option<Committed>, next: u64, crc: u32) -> Self {
        Self {
            committed,
            in_flight: None,
            batch: Batch::at(next, crc),
            queue: VecDeque::new(),
            asked: Asked::Nothing,
            drained: false,
            checkpoint_due_ms: None,
            checkpoint_asked: false,
            swap_asked: false,
            swap: Swap::None,
            is_open: true,
        }
    }

    /// True while a commit may be taking effect.
    pub(super) fn is_committing(&self) -> bool {
        self.in_flight.as_ref().is_some_and(InFlight::is_sent)
    }

    pub(super) fn progress(&self) -> Progress {
        match (&self.in_flight, &self.committed) {
            (Some(InFlight { purpose: Purpose::Start, .. }), _) | (_, None) => Progress::Starting,
            _ if !self.is_open => Progress::Starting,
            (_, Some(committed)) => Progress::Live { position: committed.offset },
        }
    }
}

impl Driver {
    /// Takes an answer and says what comes next.
    pub(super) fn live(&mut self, mut live: Box<Live>, input: Input, now_ms: u64) -> Next {
        let mut commands = Vec::new();
        match input {
            Input::RawRead(result) if matches!(live.asked, Asked::Read | Asked::Wait) => {
                live.asked = Asked::Nothing;
                let records = result.map_err(log_failed)?;
                live.drained = records.is_empty();
                if records.first().is_some_and(|first| first.offset > live.batch.next) {
                    live.asked = Asked::Bounds;
                    commands.push(Command::ReadBounds);
                }
                live.queue.extend(records);
            }
            Input::BoundsRead(result) if live.asked == Asked::Bounds => {
                live.asked = Asked::Nothing;
                let (start, next) = (result.map_err(log_failed)?.start, live.batch.next);
                // Offsets need not be dense. But a log that was trimmed goes on at its start without a
                // word; the start that follows refuses the gap.
                if start > next {
                    let reason = format!("raw was read up to {next} and now begins at {start}");
                    return Err(Command::Lost(Lost::Log(reason)));
                }
            }
            Input::Woken if live.asked == Asked::Wait => {
                live.asked = Asked::Nothing;
                live.drained = false;
            }
            Input::StoreWritten { store, result } if self.store.is_none() => {
                // If it failed, the log has the batch and the store has not. It is behind, which
                // is allowed; a new start folds it on.
                result.map_err(|error| store_failed(&error))?;
                self.store = Some(store);
                self.written(&mut live, now_ms, &mut commands)?;
            }
            Input::Checkpointed { store, result } if self.store.is_none() => {
                self.store = Some(store);
                // Else some of before may be left: the next one tries again.
                self.checkpoints_are_old &= result.is_err();
            }
            Input::CheckpointAsked => live.checkpoint_asked = true,
            Input::SwapAsked => live.swap_asked = true,
            Input::Released(takeover) if live.swap == Swap::Standing => {
                commands.extend(self.released(&mut live, takeover)?);
            }
            Input::Succeeded(opened) if self.store.is_none() => {
                self.succeeded(&mut live, opened)?;
            }
            input @ (Input::CommitDone(_) | Input::Claimed(_) | Input::Paused) => {
                match self.settle(&mut live, input, now_ms)? {
                    Outcome::Open(command) => commands.extend(command),
                    Outcome::Certain => commands.extend(self.apply(&mut live)?),
                }
            }
            input => return Err(defect(&input)),
        }
        if !self.stopping && self.accepted.is_none() {
            self.go_on(&mut live, now_ms, &mut commands)?;
        }
        self.phase = Phase::Live(live);
        Ok(commands)
    }

    /// Begins with a read or a commit, whatever is there to do.
    pub(super) fn go_live(&mut self, mut live: Live, now_ms: u64) -> Next {
        let mut commands = Vec::new();
        if let Some(in_flight) = &mut live.in_flight {
            commands.push(in_flight.send());
        }
        live.checkpoint_due_ms = self.first_checkpoint_ms(now_ms);
        // Its process ended between the swap and the checkpoint after it.
        live.checkpoint_asked |=
            self.checkpoints_are_old && self.options.checkpoint_interval_ms.is_some();
        if self.accepted.is_none() {
            self.go_on(&mut live, now_ms, &mut commands)?;
        }
        self.phase = Phase::Live(Box::new(live));
        Ok(commands)
    }

    /// Closes what is due, folds what is there, asks for more. Where a commit is to leave, folding
    /// waits for the next step, since the shell sends it only when this one is over.
    fn go_on(
        &mut self,
        live: &mut Live,
        now_ms: u64,
        commands: &mut Vec<Command>,
    ) -> Result<(), Command> {
        // Who asks while somebody has the partition in hand waits until that is over.
        let may_ask = live.swap == Swap::None && live.in_flight.is_none();
        if live.checkpoint_asked && may_ask && commands.is_empty() {
            commands.extend(self.checkpoint(live, now_ms));
        }
        if live.swap_asked && may_ask && commands.is_empty() {
            commands.extend(self.stand_still(live));
        }
        if live.swap != Swap::None || live.asked == Asked::Bounds {
            return Ok(());
        }
        if self.store.is_some() && commands.is_empty() {
            if !self.is_due(live, now_ms) {
                self.fold(live, now_ms)?;
            }
            if self.is_due(live, now_ms) {
                commands.push(self.close(live)?);
            }
        }
        commands.extend(self.ask_for_more(live, now_ms));
        Ok(())
    }

    /// True if the batch is to be committed now. At once with what is there, if there is anything
    /// but time: while a commit is under way more records arrive, so batches grow by themselves as
    /// load does.
    fn is_due(&self, live: &Live, now_ms: u64) -> bool {
        let Batch { urgent, full, since_ms, .. } = live.batch;
        let tick_due = self.tick_due_ms(since_ms).is_some_and(|due| now_ms >= due);
        live.in_flight.is_none() && (urgent || full || tick_due)
    }

    /// When a batch in which only time has passed is committed.
    fn tick_due_ms(&self, since_ms: Option<u64>) -> Option<u64> {
        if planted!(self.options, TicksNeverCommitted) {
            return None;
        }
        since_ms.map(|since| since.saturating_add(self.options.tick_commit_interval_ms))
    }

    /// Folds the queue on top of the store, or of the commit in flight.
    fn fold(&self, live: &mut Live, now_ms: u64) -> Result<(), Command> {
        let Some(store) = self.store.as_deref() else { return Ok(()) };
        let Live { batch, queue, in_flight, .. } = live;
        let limits = Limits::new(&self.options, self.partition, now_ms);
        let below = in_flight.as_ref().and_then(|in_flight| in_flight.write.as_ref());
        let below = below.filter(|_| !planted!(self.options, SecondIgnoresFirst));
        let folded = match below {
            Some(write) => {
                let below = Layered { upper: &write.overlay, lower: store };
                batch.fold(&below, queue, &limits)
            }
            None => batch.fold(store, queue, &limits),
        };
        #[cfg(feature = "planted-bugs")]
        if planted!(self.options, SecondDigestIgnoresFirst) && in_flight.is_some() {
            batch.digest = store.digest_after(&batch.overlay).ok();
        }
        folded.map_err(|error| source_failed(&error))
    }

    /// Reads on, or waits if there is nothing to read; nothing while an answer is owed or the
    /// batch is full.
    fn ask_for_more(&self, live: &mut Live, now_ms: u64) -> Option<Command> {
        if live.asked != Asked::Nothing || live.batch.full {
            return None;
        }
        let wait = |past, until| Some(Command::Wait { past, until });
        if !live.queue.is_empty() {
            // A commit or a store write leaves first. After that there is something to fold.
            self.store.as_ref()?;
            live.asked = Asked::Wait;
            return wait(None, Some(now_ms));
        }
        if live.drained {
            live.asked = Asked::Wait;
            // What is due already waits for the commit in flight. Should it be let go meanwhile and be
            // folded anew, it is nothing but ticks perhaps, and waits for time after all.
            let due = self.tick_due_ms(live.batch.since_ms);
            let is_due = |due: u64| live.batch.urgent || due <= now_ms;
            let patience = self.options.tick_commit_interval_ms.max(LOOK_AGAIN_MS_MIN);
            let later = now_ms.saturating_add(patience);
            let until = due.map(|due| if is_due(due) { later } else { due });
            return wait(Some(live.batch.next), until);
        }
        live.asked = Asked::Read;
        let (max_records, max_bytes) = live.batch.room(&self.options);
        Some(Command::ReadRaw { from: live.batch.next, max_records, max_bytes })
    }

    /// Closes the batch and sends its commit.
    fn close(&mut self, live: &mut Live) -> Result<Command, Command> {
        let Some(store) = self.store.as_deref() else {
            return Err(Command::Lost(Lost::Defect("close")));
        };
        let crc = live.batch.crc();
        let next = Batch::at(live.batch.next, crc);
        let batch = std::mem::replace(&mut live.batch, next);
        let before = live.committed.clone();
        let from = store.store_head().cursor;
        debug_assert!(
            planted!(self.options, RefoldEmits)
                || planted!(self.options, SecondBeforeFirst)
                || planted!(self.options, SecondOutlivesFirst)
                || Some(from) == before.as_ref().map(|before| before.offset),
            "a batch begins where the last commit ended"
        );
        let to = head_after_batch(store, &batch).map_err(|error| store_failed(&error))?;
        let position = self.position(to.cursor, &to, crc);
        let outputs = batch.outputs.into_iter().filter_map(|output| self.topics.append(output));
        let outputs = outputs.collect();
        let (purpose, overlay) = (Purpose::Batch, batch.overlay);
        let write = Box::new(StoreWrite { purpose, from, overlay, to });
        let mut in_flight = InFlight::new(purpose, outputs, before, position, Some(write));
        if planted!(self.options, StoreBeforeCommit)
            && let Some(store) = self.store.take()
            && let Some(write) = in_flight.write.take()
        {
            live.in_flight = Some(in_flight);
            return Ok(Command::WriteStore { store, write });
        }
        // The overlay stays in memory, out of anybody's sight, until the commit is certain.
        let command = in_flight.send();
        live.in_flight = Some(in_flight);
        Ok(command)
    }

    /// The commit is certain: only now may the store follow.
    fn apply(&mut self, live: &mut Live) -> Result<Option<Command>, Command> {
        let Some(in_flight) = live.in_flight.take() else {
            return Err(Command::Lost(Lost::Defect("commit")));
        };
        live.committed = Some(in_flight.position);
        // One that was accepted by a person is left to an ordinary start: it has its token now.
        self.stopping |= self.accepted.is_some();
        if in_flight.purpose == Purpose::Swap {
            // Readers go on with what it served.
            self.store = None;
            return Ok(Some(Command::Succeed));
        }
        let Some(write) = in_flight.write else { return Ok(None) };
        match self.store.take() {
            Some(store) => Ok(Some(Command::WriteStore { store, write })),
            None => Err(Command::Lost(Lost::Defect("commit"))),
        }
    }

    /// The store has what was committed. A checkpoint is made of it before the next batch leaves,
    /// so that log, store and checkpoint stand at one position.
    fn written(
        &mut self,
        live: &mut Live,
        now_ms: u64,
        commands: &mut Vec<Command>,
    ) -> Result<(), Command> {
        if let Some(in_flight) = &mut live.in_flight {
            // Only a planted bug writes before it commits.
            commands.push(in_flight.send());
            return Ok(());
        }
        if planted!(self.options, StoreHasBoth) && live.batch.urgent {
            let _ = self.close(live)?;
            let write = live.in_flight.as_mut().and_then(|in_flight| in_flight.write.take());
            if let (Some(store), Some(write)) = (self.store.take(), write) {
                commands.push(Command::WriteStore { store, write });
            }
            return Ok(());
        }
        commands.extend(self.checkpoint(live, now_ms));
        Ok(())
    }
}

impl Driver {
    /// The first checkpoint of a life. Partitions take turns within the interval, as they go live
    /// together and each stands still while it is copied.
    fn first_checkpoint_ms(&self, now_ms: u64) -> Option<u64> {
        let turn = u64::from(self.partition.id).saturating_add(1);
        let interval = self.options.checkpoint_interval_ms?;
        let first = interval.saturating_mul(turn) / u64::from(self.partition.count.max(1));
        Some(now_ms.saturating_add(first))
    }

    /// Has the store copied, if it is time or somebody asked.
    fn checkpoint(&mut self, live: &mut Live, now_ms: u64) -> Option<Command> {
        let interval = self.options.checkpoint_interval_ms?;
        let is_due = live.checkpoint_due_ms.is_some_and(|due| now_ms >= due);
        if self.stopping || !(is_due || live.checkpoint_asked) {
            return None;
        }
        let store = self.store.take()?;
        live.checkpoint_due_ms = Some(now_ms.saturating_add(interval));
        live.checkpoint_asked = false;
        // None of another state may count as one from which this one is reached.
        let kept = if self.checkpoints_are_old { 1 } else { self.options.checkpoints_kept };
        Some(Command::Checkpoint { store, kept })
    }
}

/// The head of the store once the batch is in it.
pub(super) fn head_after_batch(
    store: &dyn PartitionStore,
    batch: &Batch,
) -> Result<StoreHead, StoreError> {
    let head = head_after(store, &batch.overlay, batch.next, &batch.raw)?;
    #[cfg(feature = "planted-bugs")]
    let head = StoreHead { digest: batch.digest.unwrap_or(head.digest), ..head };
    Ok(head)
}

/// The head of the store once these records, which end below `next`, are folded in.
pub(super) fn head_after(
    store: &dyn PartitionStore,
    overlay: &Overlay,
    next: Offset,
    raw: &RecordDigest,
) -> Result<StoreHead, StoreError> {
    let head = store.store_head();
    Ok(StoreHead {
        cursor: next,
        fold_version: FOLD_VERSION,
        head: overlay.head.unwrap_or(head.head),
        digest: store.digest_after(overlay)?,
        raw_digest: head.raw_digest.wrapping_add(raw.sum()),
    })
}
