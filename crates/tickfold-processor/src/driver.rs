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
//! # Overlap
//!
//! While the commit of one batch is in flight, the next is folded on top of it: there are never
//! more than these two overlays. The second lies on a position that is not certain yet, so it gets
//! no digest, no commit and no store write until the first is committed and in the store. If the
//! first turns out not to be ours to commit, both are dropped with the driver.
//!
//! # Commands and answers
//!
//! Before it is live, a driver has one command outstanding at a time. A live one has at most two,
//! one of each lane, and takes their answers in any order:
//!
//! - *batch*: `Commit`, and after it `Pause` if it was aborted or `Claim` if it is in doubt, until
//!   it is certain; then `WriteStore`; after that, now and then, `Checkpoint`, or `StandStill` and what
//!   follows from it;
//! - *raw*: `ReadRaw`, after one whose answer leaves a gap `ReadBounds`, or `Wait`; none while what is
//!   folded on top is full.
//!
//! What is read while the store is away waits for its return. A step that sends a commit folds
//! nothing, so that the commit is on its way before time is spent on the next batch.
//!
//! One driver lives from one claim to its end: [`Command::Refused`], [`Command::Lost`] or
//! [`Command::Stopped`]. What is outstanding then is void. [`Input::Stop`] lets a commit that may
//! be taking effect, and the store write that follows it, come to their end first; everything else
//! it drops at once, with what is folded on top. [`Input::TakenAway`] waits for nothing: a commit
//! without an outcome is not followed by the store.

mod batch;
mod command;
mod commit;
mod live;
mod look;
mod muted;
mod refold;
mod refusal;
mod start;
mod starting;
mod swap;

use std::sync::Arc;

use tickfold_core::fold::Partition;
use tickfold_log::{Error as LogError, Offset};
use tickfold_store::{Error as StoreError, PartitionStore};

use live::Live;
use refold::Refolding;
use refusal::LogFailure;
use starting::Starting;

pub use batch::raw_record;
pub use command::{Command, Input, Purpose, StoreWrite};
pub use look::{Look, Looking};
pub use muted::{Folded, MutedError, MutedFold};
pub use refusal::{Lost, RawDamage, Refusal};
pub use start::{
    Acceptance, Decision, Derived, Emitted, Found, LastFolded, Reason, StoreFound, Target,
    choose_checkpoint, decide,
};

use crate::bugs::planted;
use crate::options::Options;
use crate::outputs::DerivedTopics;
use crate::swap::StartWith;

/// The driver. See the module's description.
#[derive(Debug)]
pub struct Driver {
    options: Arc<Options>,
    partition: Partition,
    topics: DerivedTopics,
    phase: Phase,
    /// `None` before it is opened and while it is away to be written.
    store: Option<Box<dyn PartitionStore>>,
    stopping: bool,
    /// What a person decided about a refusal: then it ends with the start's commit.
    accepted: Option<Acceptance>,
    /// The store that it starts with, in the place of the one that there is.
    with: Option<StartWith>,
    /// Another store took the place of the one before, and no checkpoint was made since: those that there
    /// are lead to the one before.
    checkpoints_are_old: bool,
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
    Live(Box<Live>),
    Over,
}

/// The commands that come next, or the one that ends the driver.
type Next<T = Vec<Command>> = Result<T, Command>;

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
            stopping: false,
            accepted: None,
            with: None,
            checkpoints_are_old: false,
        }
    }

    /// A driver that goes on as a person decided where another would be refused. It ends, with
    /// [`Command::Stopped`], once the start's commit is done; nothing of raw is emitted by it.
    pub fn recovering(options: Arc<Options>, partition: Partition, accepted: Acceptance) -> Self {
        Self { accepted: Some(accepted), ..Self::new(options, partition) }
    }

    /// A driver that begins with a swap, whatever another would refuse the state for that there is.
    pub(crate) fn starting_with(
        options: Arc<Options>,
        partition: Partition,
        with: StartWith,
    ) -> Self {
        Self { with: Some(with), ..Self::new(options, partition) }
    }

    /// Takes what happened and says what to do, in order. `now_ms` never falls.
    pub fn step(&mut self, input: Input, now_ms: u64) -> Vec<Command> {
        if matches!(self.phase, Phase::Over) {
            return Vec::new();
        }
        let next = match input {
            Input::Stop => {
                self.stopping = true;
                Ok(Vec::new())
            }
            // Without an outcome of the commit in flight the store must not follow it.
            Input::TakenAway => self.taken_away(),
            input => self.react(input, now_ms),
        };
        let next = match next {
            // What the log has committed goes to the store before leaving; nothing else is begun.
            Ok(commands) if self.stopping => {
                let is_write = |command: &Command| {
                    matches!(command, Command::WriteStore { .. } | Command::Succeed)
                };
                let write: Vec<_> = commands.into_iter().filter(is_write).collect();
                let must_finish = !write.is_empty() || self.must_finish();
                if must_finish { Ok(write) } else { Err(Command::Stopped) }
            }
            next => next,
        };
        next.unwrap_or_else(|end| {
            self.phase = Phase::Over;
            self.store = None;
            vec![end]
        })
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        match &self.phase {
            Phase::New | Phase::Starting(_) => Progress::Starting,
            Phase::Refolding(refolding) => Progress::Restoring { remaining: refolding.remaining() },
            Phase::Live(live) => live.progress(),
            Phase::Over => Progress::Over,
        }
    }

    /// True while a commit may be taking effect or the store is being written.
    fn must_finish(&self) -> bool {
        match &self.phase {
            Phase::New | Phase::Starting(_) | Phase::Over => false,
            Phase::Refolding(_) => self.store.is_none(),
            Phase::Live(live) => {
                let is_being_written = self.store.is_none() && live.in_flight.is_none();
                is_being_written || live.is_committing()
            }
        }
    }

    /// The end, unless a planted bug has the store follow a commit without an outcome.
    fn taken_away(&mut self) -> Next {
        if planted!(self.options, StoreAfterLoss)
            && let Phase::Live(live) = &mut self.phase
            && let Some(write) = live.in_flight.take().and_then(|in_flight| in_flight.write)
            && let Some(store) = self.store.take()
        {
            self.stopping = true;
            return Ok(vec![Command::WriteStore { store, write }]);
        }
        Err(Command::Lost(Lost::TakenAway))
    }

    fn react(&mut self, input: Input, now_ms: u64) -> Next {
        // The phase is put back by whatever goes on; what does not go on ends the driver.
        match (std::mem::replace(&mut self.phase, Phase::Over), input) {
            (Phase::New, Input::Start) => {
                let accepted = self.accepted.clone();
                self.ask(Starting { accepted, ..Starting::default() }, now_ms)
            }
            (
                phase @ (Phase::New | Phase::Starting(_) | Phase::Refolding(_) | Phase::Over),
                Input::CheckpointAsked | Input::SwapAsked,
            ) => {
                self.phase = phase;
                Ok(Vec::new())
            }
            (Phase::Starting(starting), input) => self.starting(starting, input, now_ms),
            (Phase::Refolding(refolding), input) => self.refolding(refolding, input, now_ms),
            (Phase::Live(live), input) => self.live(live, input, now_ms),
            (Phase::New | Phase::Over, input) => Err(defect(&input)),
        }
    }
}

/// The shell answered something else than what was asked.
fn defect(input: &Input) -> Command {
    Command::Lost(Lost::Defect(input.name()))
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
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
