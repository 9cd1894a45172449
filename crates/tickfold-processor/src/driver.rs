//! The driver of one partition: a deterministic state machine between a raw partition, the derived
//! topics and the store. `step(input, now)` gives commands; the shell executes them and brings the
//! answers.
//!
//! It reads no clock, awaits nothing, and does no IO but reads of its own store while it folds.
//! Every write is a command. The order that makes it exactly-once is kept here:
//!
//! 1. fold a batch into an overlay, in memory;
//! 2. commit outputs, next input position and token to the log, as one unit;
//! 3. only then write the overlay and its cursor to the store.
//!
//! So the store never runs ahead of the log, nothing of a batch is visible before it is committed,
//! and a crash anywhere leaves a store that is folded on to the committed position, silently.
//!
//! One driver lives from one claim to its end: [`Command::Refused`], [`Command::Lost`] or
//! [`Command::Stopped`]. At most one commit is in flight, and the next batch is folded after it.

mod batch;
mod command;
mod refusal;
mod start;
mod starting;

use std::collections::VecDeque;
use std::sync::Arc;

use tickfold_core::FOLD_VERSION;
use tickfold_core::fold::Partition;
use tickfold_core::overlay::Head;
use tickfold_log::{Append, CommitError, Committed, Error as LogError, Offset, Record};
use tickfold_store::{Error as StoreError, PartitionStore, StoreHead};

use batch::{Batch, Limits};
use refusal::LogFailure;
use starting::Starting;

pub use command::{Command, Input, Purpose, StoreWrite};
pub use refusal::{Lost, RawDamage, Refusal};
pub use start::{
    Decision, Derived, Emitted, Found, LastFolded, Reason, StoreFound, Target, choose_checkpoint,
    decide,
};

use crate::bugs::planted;
use crate::options::{Options, backoff_ms};
use crate::outputs::{DerivedTopics, transitions};
use crate::token::Token;

/// The driver. See the module's description.
#[derive(Debug)]
pub struct Driver {
    options: Arc<Options>,
    partition: Partition,
    topics: DerivedTopics,
    phase: Phase,
    /// `None` before it is opened and while it is away to be written.
    store: Option<Box<dyn PartitionStore>>,
    in_flight: Option<InFlight>,
    /// True while the shell waits for our sake and not for an answer.
    waiting: bool,
    stopping: bool,
}

/// How far a driver has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Claiming and looking around.
    Starting,
    /// Folding silently up to the committed position.
    Restoring {
        /// Raw offsets still to go.
        remaining: u64,
    },
    /// Folding and committing new records.
    Live {
        /// The committed position.
        position: Offset,
    },
    /// It gave its last command.
    Over,
}

#[derive(Debug)]
enum Phase {
    New,
    Starting(Starting),
    Refolding(Refolding),
    Live(Live),
    Over,
}

/// Folding S→E without outputs.
#[derive(Debug)]
struct Refolding {
    /// Kept for another attempt, should the digest differ.
    starting: Starting,
    target: Target,
    /// S, as it moves.
    cursor: Offset,
    /// Folded from nothing: if the digest differs then, it is not the store's fault.
    from_empty: bool,
    /// Read and not yet folded.
    queue: VecDeque<Record>,
}

/// Folding and committing from E on.
#[derive(Debug)]
struct Live {
    /// What the group's position is, by the last answer; `None` before the first start's commit.
    committed: Option<Committed>,
    /// What is being folded on top of it.
    batch: Batch,
    /// Read and not yet folded.
    queue: VecDeque<Record>,
}

/// A commit that was sent and has no certain outcome yet. It keeps its bytes: whatever becomes of
/// it, only the very same bytes may be sent again.
#[derive(Debug)]
struct InFlight {
    purpose: Purpose,
    outputs: Vec<Append>,
    /// The position before it, exactly as committed.
    before: Option<Committed>,
    position: Committed,
    /// For the store, once it is committed.
    write: Option<Box<StoreWrite>>,
    attempts: u32,
}

impl Driver {
    /// A driver that has not begun.
    pub fn new(options: Arc<Options>, partition: Partition) -> Self {
        let topics = DerivedTopics::new(&options.topic_prefix, partition.id);
        Self {
            options,
            partition,
            topics,
            phase: Phase::New,
            store: None,
            in_flight: None,
            waiting: false,
            stopping: false,
        }
    }

    /// Takes what happened and says what to do, in order. `now_ms` never falls.
    pub fn step(&mut self, input: Input, now_ms: u64) -> Vec<Command> {
        if matches!(self.phase, Phase::Over) {
            return Vec::new();
        }
        let command = match input {
            Input::Stop => {
                self.stopping = true;
                if !self.waiting && !matches!(self.phase, Phase::New) {
                    // An answer is on its way, and may be that of a commit.
                    return Vec::new();
                }
                Command::Stopped
            }
            input => self.react(input, now_ms),
        };
        let command = match command {
            // What the log has committed goes to the store before leaving; nothing else is begun.
            write @ Command::WriteStore { .. } => write,
            end @ (Command::Refused(_) | Command::Lost(_)) => end,
            _ if self.stopping => Command::Stopped,
            command => command,
        };
        self.waiting = matches!(command, Command::Wait { .. });
        if matches!(command, Command::Refused(_) | Command::Lost(_) | Command::Stopped) {
            self.phase = Phase::Over;
            self.store = None;
            self.in_flight = None;
        }
        vec![command]
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        match &self.phase {
            Phase::New | Phase::Starting(_) => Progress::Starting,
            Phase::Refolding(Refolding { target, cursor, .. }) => {
                Progress::Restoring { remaining: target.emitted.saturating_sub(*cursor) }
            }
            Phase::Live(live) => match (&self.in_flight, &live.committed) {
                (Some(InFlight { purpose: Purpose::Start, .. }), _) | (_, None) => {
                    Progress::Starting
                }
                (_, Some(committed)) => Progress::Live { position: committed.offset },
            },
            Phase::Over => Progress::Over,
        }
    }

    fn react(&mut self, input: Input, now_ms: u64) -> Command {
        // The phase is put back by whatever goes on; what does not go on ends the driver.
        match (std::mem::replace(&mut self.phase, Phase::Over), input) {
            (Phase::New, Input::Start) => self.ask(Starting::default()),
            (Phase::Starting(starting), input) => self.starting(starting, input),
            (Phase::Refolding(refolding), input) => self.refolding(refolding, input, now_ms),
            (Phase::Live(live), input) => {
                self.phase = Phase::Live(live);
                self.live(input, now_ms)
            }
            (Phase::New | Phase::Over, input) => Command::Lost(Lost::Defect(input.name())),
        }
    }

    // ── Start ──────────────────────────────────────────────────────────────────────────────────

    fn starting(&mut self, mut starting: Starting, input: Input) -> Command {
        match input {
            Input::Claimed(Ok(committed)) => starting.committed = Some(committed),
            Input::BoundsRead(Ok(bounds)) => starting.bounds = Some(bounds),
            Input::LastOutputsRead(Ok(derived)) => starting.derived = Some(derived),
            Input::RawRead(Ok(records)) => starting.last_folded_read(&records),
            Input::StoreOpened(Ok(store)) => {
                starting.store = Some(StoreFound::Readable(store.store_head()));
                self.store = Some(store);
            }
            Input::StoreOpened(Err(StoreError::Unreadable { .. })) => {
                starting.store = Some(StoreFound::Unreadable);
            }
            Input::CheckpointsListed(Ok(checkpoints)) => {
                return self.replace(starting, checkpoints);
            }
            Input::Rejected(Ok(())) => {
                let checkpoint = starting.replacing.take().and_then(|r| r.checkpoint);
                if let Some(checkpoint) = checkpoint {
                    self.phase = Phase::Starting(starting);
                    return Command::Restore(checkpoint);
                }
            }
            // One that cannot be restored is like none: it is among those tried.
            Input::Restored(Ok(()) | Err(StoreError::Unreadable { .. })) => {}
            Input::Claimed(Err(error))
            | Input::BoundsRead(Err(error))
            | Input::LastOutputsRead(Err(error))
            | Input::RawRead(Err(error)) => return log_failed(error),
            Input::StoreOpened(Err(error))
            | Input::CheckpointsListed(Err(error))
            | Input::Rejected(Err(error))
            | Input::Restored(Err(error)) => return store_failed(&error),
            input @ (Input::Start
            | Input::CommitDone(_)
            | Input::StoreWritten { .. }
            | Input::Woken
            | Input::Stop) => return Command::Lost(Lost::Defect(input.name())),
        }
        self.ask(starting)
    }

    /// The next question, or what the table says once there is none.
    fn ask(&mut self, mut starting: Starting) -> Command {
        let found = match starting.found(self.partition) {
            Ok(found) => found,
            Err(question) => {
                self.phase = Phase::Starting(starting);
                return question;
            }
        };
        #[cfg(feature = "planted-bugs")]
        let found = crate::bugs::spoil(self.options.bug, found);
        match decide(&found) {
            Decision::FirstStart => {
                let target = Target { emitted: 0, digest: None, crc: 0 };
                self.commit_start(None, target)
            }
            Decision::Refold(target) => self.refold(starting, target),
            Decision::Replace { reason, emitted }
                if starting.emptied && reason != Reason::Missing =>
            {
                nothing_left(reason, emitted, &found)
            }
            Decision::Replace { reason, emitted } => {
                let command = starting.replace(reason, emitted);
                self.phase = Phase::Starting(starting);
                command
            }
            Decision::Refuse(refusal) => Command::Refused(refusal),
        }
    }

    /// Chooses what comes in the store's place.
    fn replace(
        &mut self,
        mut starting: Starting,
        checkpoints: Vec<tickfold_store::Checkpoint>,
    ) -> Command {
        let (Ok(found), Some(replacing)) =
            (starting.found(self.partition), &mut starting.replacing)
        else {
            return Command::Lost(Lost::Defect("checkpoints listed"));
        };
        let (reason, emitted, start) = (replacing.reason, replacing.emitted, found.bounds.start);
        let chosen = choose_checkpoint(checkpoints, &starting.tried, found.bounds, emitted);
        match &chosen {
            Some(checkpoint) => _ = starting.tried.insert(checkpoint.id.clone()),
            None if start > 0 => {
                // The store stays where it is: readers may still be served from it.
                let reason = reason.as_str();
                return Command::Refused(Refusal::RawGap { start, emitted, reason });
            }
            None if reason == Reason::Missing => {
                starting.replacing = None;
                return self.refold(starting, start::target(&found, emitted));
            }
            None => starting.emptied = true,
        }
        replacing.checkpoint = chosen;
        starting.store = None;
        self.store = None;
        self.phase = Phase::Starting(starting);
        Command::Reject(reason)
    }

    // ── Refold ─────────────────────────────────────────────────────────────────────────────────

    fn refold(&mut self, starting: Starting, target: Target) -> Command {
        let Some(store) = &self.store else { return Command::Lost(Lost::Defect("refold")) };
        let head = store.store_head();
        if planted!(self.options, RefoldEmits) && head.cursor < target.emitted {
            let (committed, batch) = (starting.committed.flatten(), Batch::at(head.cursor, 0));
            self.phase = Phase::Live(Live { committed, batch, queue: VecDeque::new() });
            return self.read_raw(head.cursor);
        }
        let from_empty = head == StoreHead::EMPTY;
        let (cursor, queue) = (head.cursor, VecDeque::new());
        self.refold_on(Refolding { starting, target, cursor, from_empty, queue })
    }

    /// Reads on, or goes live once the cursor is at E.
    fn refold_on(&mut self, mut refolding: Refolding) -> Command {
        let Some(store) = &self.store else { return Command::Lost(Lost::Defect("refold")) };
        let cursor = store.store_head().cursor;
        refolding.cursor = cursor;
        if cursor >= refolding.target.emitted {
            let before = refolding.starting.committed.flatten();
            return self.commit_start(before, refolding.target);
        }
        let from = cursor + u64::from(planted!(self.options, RefoldSkipsOne));
        self.phase = Phase::Refolding(refolding);
        self.read_raw(from)
    }

    fn refolding(&mut self, mut refolding: Refolding, input: Input, now_ms: u64) -> Command {
        match input {
            Input::RawRead(Ok(records)) => {
                refolding.queue = records.into();
                self.refold_batch(refolding, now_ms)
            }
            Input::RawRead(Err(error)) => log_failed(error),
            Input::StoreWritten { store, result: Ok(()) } => {
                self.store = Some(store);
                if refolding.queue.is_empty() {
                    self.refold_on(refolding)
                } else {
                    self.refold_batch(refolding, now_ms)
                }
            }
            Input::StoreWritten { store: _, result: Err(error) } => store_failed(&error),
            input => Command::Lost(Lost::Defect(input.name())),
        }
    }

    /// Folds what was read, below E only, and writes it to the store. That is no write ahead of
    /// the log: everything below E is committed, by whoever folded it first.
    fn refold_batch(&mut self, mut refolding: Refolding, now_ms: u64) -> Command {
        let Some(store) = self.store.take() else { return Command::Lost(Lost::Defect("refold")) };
        let Target { emitted, digest: expected, .. } = refolding.target;
        let from = store.store_head().cursor;
        let mut batch = Batch::at(from, 0);
        let limits = self.limits(now_ms);
        let queue = &mut refolding.queue;
        if let Err(error) = batch.fold(&*store, self.partition, queue, Some(emitted), &limits) {
            return source_failed(&error);
        }
        // At the end of raw, or before a record at or above E: offsets need not be dense.
        let last = queue.front().is_some_and(|record| record.offset >= emitted);
        if last || batch.next == from {
            batch.next = emitted;
            queue.clear();
        }
        let to = match store_head_after(&*store, &batch) {
            Ok(to) => to,
            Err(error) => return store_failed(&error),
        };
        if let Some(token) = expected
            && to.cursor == emitted
            && to.digest != token
            && !planted!(self.options, DigestNotCompared)
        {
            if refolding.from_empty {
                let found = to.digest;
                let damage = RawDamage::DigestDiffers { emitted, found, token };
                return Command::Refused(Refusal::RawDamaged(damage));
            }
            self.store = Some(store);
            let mut starting = refolding.starting;
            let command = starting.replace(Reason::DigestDiffers, emitted);
            self.phase = Phase::Starting(starting);
            return command;
        }
        self.phase = Phase::Refolding(refolding);
        // Watchers resume over refolded records too, so their transitions are kept. The outputs
        // themselves are dropped here: they were emitted.
        let transitions = transitions(&batch.outputs);
        let overlay = batch.overlay;
        let write = StoreWrite { purpose: Purpose::Start, from, overlay, transitions, to };
        Command::WriteStore { store, write: Box::new(write) }
    }

    /// State and log agree: commit once, with nothing but our token. It proves the claim and
    /// publishes the address, and on a first start it puts a token before the first output.
    fn commit_start(&mut self, before: Option<Committed>, target: Target) -> Command {
        let Some(store) = &self.store else { return Command::Lost(Lost::Defect("start")) };
        let Target { emitted, digest: _, crc } = target;
        let head = store.store_head();
        let position = self.position(emitted, head.head, head.digest, crc);
        let batch = Batch::at(emitted, crc);
        let committed = before.clone();
        self.phase = Phase::Live(Live { committed, batch, queue: VecDeque::new() });
        let (purpose, outputs) = (Purpose::Start, Vec::new());
        self.send(InFlight { purpose, outputs, before, position, write: None, attempts: 0 })
    }

    // ── Live ───────────────────────────────────────────────────────────────────────────────────

    fn live(&mut self, input: Input, now_ms: u64) -> Command {
        match (input, self.in_flight.take()) {
            (Input::CommitDone(outcome), Some(in_flight)) => {
                self.commit_done(outcome, in_flight, now_ms)
            }
            (Input::Claimed(Ok(found)), Some(in_flight)) => {
                self.doubt_resolved(found, in_flight, now_ms)
            }
            (Input::Claimed(Err(error)), Some(_)) => log_failed(error),
            // The pause after an aborted commit is over.
            (Input::Woken, Some(in_flight)) => self.send(in_flight),
            (Input::StoreWritten { store, result: Ok(()) }, in_flight) => {
                self.store = Some(store);
                match in_flight {
                    // Only a planted bug writes before it commits.
                    Some(in_flight) => self.send(in_flight),
                    None => self.fold_on(now_ms),
                }
            }
            // The log has the batch and the store has not. It is behind, which is allowed; a new
            // start folds it on.
            (Input::StoreWritten { store: _, result: Err(error) }, _) => store_failed(&error),
            (Input::RawRead(Ok(records)), None) => self.raw_read(records, now_ms),
            (Input::RawRead(Err(error)), None) => log_failed(error),
            (Input::Woken, None) if self.tick_due(now_ms) => self.close(),
            (Input::Woken, None) => self.fold_on(now_ms),
            (input, _) => Command::Lost(Lost::Defect(input.name())),
        }
    }

    /// Folds what is left from the last read, or reads on.
    fn fold_on(&mut self, now_ms: u64) -> Command {
        let Phase::Live(live) = &self.phase else { return Command::Lost(Lost::Defect("fold")) };
        if live.queue.is_empty() {
            let from = live.batch.next;
            return self.read_raw(from);
        }
        self.fold_queue(now_ms)
    }

    fn raw_read(&mut self, records: Vec<Record>, now_ms: u64) -> Command {
        let due = self.tick_due(now_ms);
        let interval_ms = self.options.tick_commit_interval_ms;
        let Phase::Live(live) = &mut self.phase else { return Command::Lost(Lost::Defect("read")) };
        if !records.is_empty() {
            live.queue.extend(records);
            return self.fold_queue(now_ms);
        }
        if due {
            return self.close();
        }
        let until = live.batch.since_ms.map(|since| since.saturating_add(interval_ms));
        Command::Wait { past: Some(live.batch.next), until }
    }

    fn fold_queue(&mut self, now_ms: u64) -> Command {
        let limits = self.limits(now_ms);
        let (Phase::Live(live), Some(store)) = (&mut self.phase, &self.store) else {
            return Command::Lost(Lost::Defect("fold"));
        };
        let folded = live.batch.fold(&**store, self.partition, &mut live.queue, None, &limits);
        if let Err(error) = folded {
            return source_failed(&error);
        }
        // Committed at once, with what is there: while the commit is under way more records
        // arrive, so batches grow by themselves as load does.
        if live.batch.urgent { self.close() } else { self.read_raw_next() }
    }

    fn read_raw_next(&mut self) -> Command {
        let Phase::Live(live) = &self.phase else { return Command::Lost(Lost::Defect("read")) };
        self.read_raw(live.batch.next)
    }

    /// True if only time has passed since the last commit, for long enough.
    fn tick_due(&self, now_ms: u64) -> bool {
        let Phase::Live(live) = &self.phase else { return false };
        live.batch.since_ms.is_some_and(|since| {
            now_ms >= since.saturating_add(self.options.tick_commit_interval_ms)
        })
    }

    /// Closes the batch and sends its commit.
    fn close(&mut self) -> Command {
        let (Phase::Live(live), Some(store)) = (&mut self.phase, &self.store) else {
            return Command::Lost(Lost::Defect("close"));
        };
        let next = Batch::at(live.batch.next, live.batch.crc);
        let batch = std::mem::replace(&mut live.batch, next);
        let before = live.committed.clone();
        let from = store.store_head().cursor;
        debug_assert!(
            planted!(self.options, RefoldEmits)
                || Some(from) == before.as_ref().map(|before| before.offset),
            "a batch begins where the last commit ended"
        );
        let to = match store_head_after(&**store, &batch) {
            Ok(to) => to,
            Err(error) => return store_failed(&error),
        };
        let position = self.position(to.cursor, to.head, to.digest, batch.crc);
        let transitions = transitions(&batch.outputs);
        let outputs = batch.outputs.into_iter().filter_map(|output| self.topics.append(output));
        let outputs = outputs.collect();
        let overlay = batch.overlay;
        let purpose = Purpose::Batch;
        let write = Some(Box::new(StoreWrite { purpose, from, overlay, transitions, to }));
        let mut in_flight = InFlight { purpose, outputs, before, position, write, attempts: 0 };
        if planted!(self.options, StoreBeforeCommit)
            && let Some(store) = self.store.take()
            && let Some(write) = in_flight.write.take()
        {
            self.in_flight = Some(in_flight);
            return Command::WriteStore { store, write };
        }
        // The overlay stays in memory, out of anybody's sight, until the commit is certain.
        self.send(in_flight)
    }

    // ── Commit ─────────────────────────────────────────────────────────────────────────────────

    fn send(&mut self, in_flight: InFlight) -> Command {
        let (purpose, outputs) = (in_flight.purpose, in_flight.outputs.clone());
        let position = in_flight.position.clone();
        self.in_flight = Some(in_flight);
        Command::Commit { purpose, outputs, position }
    }

    fn commit_done(
        &mut self,
        outcome: Result<(), CommitError>,
        mut in_flight: InFlight,
        now_ms: u64,
    ) -> Command {
        match outcome {
            Ok(()) => self.committed(in_flight, now_ms),
            Err(CommitError::Aborted { .. }) if planted!(self.options, AbortedIsSuccess) => {
                self.committed(in_flight, now_ms)
            }
            Err(CommitError::Aborted { .. }) => {
                let Options { commit_backoff_ms, commit_backoff_ms_max, .. } = *self.options;
                let pause =
                    backoff_ms(commit_backoff_ms, commit_backoff_ms_max, in_flight.attempts);
                in_flight.attempts = in_flight.attempts.saturating_add(1);
                self.in_flight = Some(in_flight);
                Command::Wait { past: None, until: Some(now_ms.saturating_add(pause)) }
            }
            Err(CommitError::Unclear { .. }) if planted!(self.options, UnclearIsSuccess) => {
                self.committed(in_flight, now_ms)
            }
            Err(CommitError::Fenced) if planted!(self.options, FencedIsSuccess) => {
                self.committed(in_flight, now_ms)
            }
            Err(CommitError::Fenced) => Command::Lost(Lost::Fenced),
            // Kinds to come are doubts too: to look before sending again is always safe.
            Err(CommitError::Unclear { .. } | _) => {
                self.in_flight = Some(in_flight);
                Command::Claim
            }
        }
    }

    /// Claimed anew after an unclear commit: the position tells what became of it. It is compared
    /// with its token, since another owner may have stood at the same offset meanwhile.
    fn doubt_resolved(
        &mut self,
        found: Option<Committed>,
        in_flight: InFlight,
        now_ms: u64,
    ) -> Command {
        if planted!(self.options, UnclearAlwaysResent) {
            return self.send(in_flight);
        }
        if found.as_ref() == Some(&in_flight.position) {
            return self.committed(in_flight, now_ms);
        }
        if found == in_flight.before {
            return self.send(in_flight);
        }
        Command::Lost(Lost::NotOwner {
            found: found.map(|found| found.offset),
            from: in_flight.before.map(|before| before.offset),
            to: in_flight.position.offset,
        })
    }

    /// The commit is certain: only now may the store follow.
    fn committed(&mut self, in_flight: InFlight, now_ms: u64) -> Command {
        let Phase::Live(live) = &mut self.phase else {
            return Command::Lost(Lost::Defect("commit"));
        };
        live.committed = Some(in_flight.position);
        match (in_flight.write, self.store.take()) {
            (Some(write), Some(store)) => Command::WriteStore { store, write },
            (None, store) => {
                self.store = store;
                self.fold_on(now_ms)
            }
            (Some(_), None) => Command::Lost(Lost::Defect("commit")),
        }
    }

    // ── Leaves ─────────────────────────────────────────────────────────────────────────────────

    fn read_raw(&self, from: Offset) -> Command {
        let Options { batch_records_max, batch_bytes_max, .. } = *self.options;
        Command::ReadRaw { from, max_records: batch_records_max, max_bytes: batch_bytes_max }
    }

    fn limits(&self, now_ms: u64) -> Limits {
        Limits { outputs_max: self.options.batch_outputs_max, now_ms }
    }

    fn position(&self, offset: Offset, head: Head, digest: u128, crc: u32) -> Committed {
        let token = Token {
            fold_version: FOLD_VERSION,
            head,
            partition_count: self.partition.count,
            digest,
            crc,
            address: self.options.address.clone(),
        };
        Committed { offset, metadata: token.to_string() }
    }
}

/// The head of the store once the batch is in it.
fn store_head_after(store: &dyn PartitionStore, batch: &Batch) -> Result<StoreHead, StoreError> {
    Ok(StoreHead {
        cursor: batch.next,
        fold_version: FOLD_VERSION,
        head: batch.overlay.head.unwrap_or_else(|| store.store_head().head),
        digest: store.digest_after(&batch.overlay)?,
    })
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

fn log_failed(error: LogError) -> Command {
    match LogFailure::from(error) {
        LogFailure::Refuse(refusal) => Command::Refused(refusal),
        LogFailure::Lose(lost) => Command::Lost(lost),
    }
}

fn store_failed(error: &StoreError) -> Command {
    Command::Lost(Lost::Store(error_chain(error)))
}

fn source_failed(error: &tickfold_core::overlay::SourceError) -> Command {
    Command::Lost(Lost::Store(error_chain(error)))
}

/// An error with its causes, as one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
