//! A commit on its way: sent, in doubt, sent again, certain.

use std::sync::Arc;

use tickfold_core::FOLD_VERSION;
use tickfold_log::{Append, CommitError, Committed, Offset};
use tickfold_store::StoreHead;

use super::command::{Command, Input, Purpose, StoreWrite};
use super::live::Live;
use super::refusal::Lost;
use super::{Driver, Next, defect, log_failed};
use crate::bugs::planted;
use crate::options::{Options, backoff_ms};
use crate::token::Token;

/// How often the commit of a swap is sent again after it was aborted. The partition folds nothing
/// meanwhile, and what it has may be more than ever gets through.
const SWAP_ATTEMPTS_MAX: u32 = 5;

/// A commit that was sent and has no certain outcome yet. It keeps its bytes: whatever becomes of
/// it, only the very same bytes may be sent again.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) purpose: Purpose,
    outputs: Arc<[Append]>,
    /// The position before it, exactly as committed.
    before: Option<Committed>,
    pub(super) position: Committed,
    /// For the store, once it is committed. Meanwhile the next batch is folded on top of it.
    pub(super) write: Option<Box<StoreWrite>>,
    attempts: u32,
    owed: Owed,
}

/// What the shell owes about the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    /// Its outcome.
    Outcome,
    /// A new claim, which tells.
    Claim,
    /// The end of a pause before it is sent again.
    Pause,
}

/// Where an answer leaves a commit.
pub(super) enum Outcome {
    /// Not yet certain; this is to be done about it.
    Open(Option<Command>),
    /// It took effect.
    Certain,
}

impl InFlight {
    /// One that is yet to be sent.
    pub(super) fn new(
        purpose: Purpose,
        outputs: Vec<Append>,
        before: Option<Committed>,
        position: Committed,
        write: Option<Box<StoreWrite>>,
    ) -> Self {
        let outputs = outputs.into();
        Self { purpose, outputs, before, position, write, attempts: 0, owed: Owed::Outcome }
    }

    /// Sends it, each time with the same bytes.
    pub(super) fn send(&mut self) -> Command {
        self.owed = Owed::Outcome;
        let (outputs, position) = (Arc::clone(&self.outputs), self.position.clone());
        Command::Commit { purpose: self.purpose, outputs, position }
    }

    /// True while it may be taking effect.
    pub(super) fn is_sent(&self) -> bool {
        self.owed == Owed::Outcome
    }
}

impl Driver {
    /// An answer about the commit in flight.
    pub(super) fn settle(&mut self, live: &mut Live, input: Input, now_ms: u64) -> Next<Outcome> {
        let Some(in_flight) = &mut live.in_flight else { return Err(defect(&input)) };
        match (input, in_flight.owed) {
            (Input::CommitDone(outcome), Owed::Outcome) => self.commit_done(live, outcome, now_ms),
            (Input::Claimed(found), Owed::Claim) => {
                let found = found.map_err(log_failed)?;
                self.doubt_resolved(live, found)
            }
            (Input::Paused, Owed::Pause) => Ok(Outcome::Open(Some(in_flight.send()))),
            (input, _) => Err(defect(&input)),
        }
    }

    fn commit_done(
        &mut self,
        live: &mut Live,
        outcome: Result<(), CommitError>,
        now_ms: u64,
    ) -> Next<Outcome> {
        let Some(in_flight) = &mut live.in_flight else {
            return Err(Command::Lost(Lost::Defect("commit done")));
        };
        match outcome {
            Ok(()) => Ok(Outcome::Certain),
            Err(CommitError::Aborted { .. }) if planted!(self.options, AbortedIsSuccess) => {
                Ok(Outcome::Certain)
            }
            Err(CommitError::Aborted { .. })
                if planted!(self.options, SecondBeforeFirst) && live.batch.urgent =>
            {
                live.in_flight = None;
                Ok(Outcome::Open(None))
            }
            Err(CommitError::Aborted { .. })
                if in_flight.purpose == Purpose::Swap
                    && in_flight.attempts >= SWAP_ATTEMPTS_MAX =>
            {
                Err(Command::Lost(Lost::SwapUndone("it was aborted again and again")))
            }
            Err(CommitError::Aborted { .. }) => {
                let Options { commit_backoff_ms, commit_backoff_ms_max, .. } = *self.options;
                let pause =
                    backoff_ms(commit_backoff_ms, commit_backoff_ms_max, in_flight.attempts);
                in_flight.attempts = in_flight.attempts.saturating_add(1);
                in_flight.owed = Owed::Pause;
                Ok(Outcome::Open(Some(Command::Pause { until: now_ms.saturating_add(pause) })))
            }
            Err(CommitError::Unclear { .. }) if planted!(self.options, UnclearIsSuccess) => {
                Ok(Outcome::Certain)
            }
            Err(CommitError::Unclear { .. }) if planted!(self.options, UnclearOnOldClaim) => {
                Ok(Outcome::Open(Some(in_flight.send())))
            }
            Err(CommitError::Fenced) if planted!(self.options, FencedIsSuccess) => {
                Ok(Outcome::Certain)
            }
            Err(CommitError::Fenced) => Err(Command::Lost(Lost::Fenced)),
            // Kinds to come are doubts too: to look before sending again is always safe.
            Err(CommitError::Unclear { .. } | _) => {
                in_flight.owed = Owed::Claim;
                Ok(Outcome::Open(Some(Command::Claim)))
            }
        }
    }

    /// Claimed anew after an unclear commit: the position tells what became of it. It is compared
    /// with its token, since another owner may have stood at the same offset meanwhile. What was
    /// folded on top stays good in the first two cases and is dropped with it in the third.
    fn doubt_resolved(&mut self, live: &mut Live, found: Option<Committed>) -> Next<Outcome> {
        let Some(in_flight) = &mut live.in_flight else {
            return Err(Command::Lost(Lost::Defect("claimed")));
        };
        if planted!(self.options, UnclearAlwaysResent) {
            return Ok(Outcome::Open(Some(in_flight.send())));
        }
        if found.as_ref() == Some(&in_flight.position) {
            return Ok(Outcome::Certain);
        }
        if found == in_flight.before {
            return match in_flight.purpose {
                // It may be one that never comes to its end in time, however often it is sent.
                Purpose::Swap => Err(Command::Lost(Lost::SwapUndone("it was not done in time"))),
                Purpose::Start | Purpose::Batch => Ok(Outcome::Open(Some(in_flight.send()))),
            };
        }
        if planted!(self.options, SecondOutlivesFirst) && live.batch.urgent {
            live.in_flight = None;
            return Ok(Outcome::Open(None));
        }
        Err(Command::Lost(Lost::NotOwner {
            found: found.map(|found| found.offset),
            from: in_flight.before.as_ref().map(|before| before.offset),
            to: in_flight.position.offset,
        }))
    }

    /// A position with its token, of a store that stands there.
    pub(super) fn position(&self, offset: Offset, head: &StoreHead, crc: u32) -> Committed {
        Committed { offset, metadata: self.token(head, crc).to_string() }
    }

    /// The token of a store.
    pub(super) fn token(&self, head: &StoreHead, crc: u32) -> Token {
        Token {
            fold_version: FOLD_VERSION,
            head: head.head,
            partition_count: self.partition.count,
            digest: head.digest,
            raw_digest: head.raw_digest,
            crc,
            swap: None,
            address: self.options.address.clone(),
        }
    }
}
