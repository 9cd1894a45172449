//! Folding from the store's cursor to the committed position without outputs, and the commit that
//! ends every start.

use std::collections::VecDeque;

use tickfold_log::{Committed, Offset, Record};
use tickfold_store::StoreHead;

use super::batch::{Batch, Limits};
use super::command::{Command, Input, Purpose, StoreWrite};
use super::commit::InFlight;
use super::live::{Live, head_after_batch};
use super::refusal::{Lost, RawDamage, Refusal};
use super::start::{Reason, Target};
use super::starting::Starting;
use super::{Driver, Next, Phase, defect, log_failed, source_failed, store_failed};
use crate::bugs::planted;
use crate::options::Options;

/// Folding S→E without outputs.
#[derive(Debug)]
pub(super) struct Refolding {
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

impl Refolding {
    /// Raw offsets still to go.
    pub(super) fn remaining(&self) -> u64 {
        self.target.emitted.saturating_sub(self.cursor)
    }
}

impl Driver {
    /// Begins to fold from the store's cursor to E.
    pub(super) fn refold(&mut self, starting: Starting, target: Target, now_ms: u64) -> Next {
        let Some(store) = &self.store else { return Err(Command::Lost(Lost::Defect("refold"))) };
        let head = store.store_head();
        if planted!(self.options, RefoldEmits) && head.cursor < target.emitted {
            return self.go_live(Live::at(starting.committed.flatten(), head.cursor, 0), now_ms);
        }
        let from_empty = head == StoreHead::EMPTY;
        let (cursor, queue) = (head.cursor, VecDeque::new());
        self.refold_on(Refolding { starting, target, cursor, from_empty, queue }, now_ms)
    }

    /// Reads on, or goes live once the cursor is at E.
    fn refold_on(&mut self, mut refolding: Refolding, now_ms: u64) -> Next {
        let Some(store) = &self.store else { return Err(Command::Lost(Lost::Defect("refold"))) };
        let cursor = store.store_head().cursor;
        refolding.cursor = cursor;
        if cursor >= refolding.target.emitted {
            let before = refolding.starting.committed.flatten();
            return self.commit_start(before, refolding.target, now_ms);
        }
        let from = cursor + u64::from(planted!(self.options, RefoldSkipsOne));
        self.phase = Phase::Refolding(refolding);
        let Options { batch_records_max, batch_bytes_max, .. } = *self.options;
        let (max_records, max_bytes) = (batch_records_max, batch_bytes_max);
        Ok(vec![Command::ReadRaw { from, max_records, max_bytes }])
    }

    /// Takes an answer, and folds on.
    pub(super) fn refolding(
        &mut self,
        mut refolding: Refolding,
        input: Input,
        now_ms: u64,
    ) -> Next {
        match input {
            Input::RawRead(Ok(records)) => {
                refolding.queue = records.into();
                self.refold_batch(refolding, now_ms)
            }
            Input::RawRead(Err(error)) => Err(log_failed(error)),
            Input::StoreWritten { store, result: Ok(()) } => {
                self.store = Some(store);
                if self.stopping {
                    // The last write may have reached E, and its commit would never be sent.
                    return Err(Command::Stopped);
                }
                if refolding.queue.is_empty() {
                    self.refold_on(refolding, now_ms)
                } else {
                    self.refold_batch(refolding, now_ms)
                }
            }
            Input::StoreWritten { store: _, result: Err(error) } => Err(store_failed(&error)),
            input => Err(defect(&input)),
        }
    }

    /// Folds what was read, below E only, and writes it to the store. That is no write ahead of
    /// the log: everything below E is committed, by whoever folded it first.
    fn refold_batch(&mut self, mut refolding: Refolding, now_ms: u64) -> Next {
        let Some(store) = self.store.take() else {
            return Err(Command::Lost(Lost::Defect("refold")));
        };
        let Target { emitted, digest: expected, .. } = refolding.target;
        let from = store.store_head().cursor;
        let mut batch = Batch::at(from, 0);
        let end = Some(emitted);
        let limits = Limits { end, ..Limits::new(&self.options, self.partition, now_ms) };
        let queue = &mut refolding.queue;
        batch.fold(&*store, queue, &limits).map_err(|error| source_failed(&error))?;
        // At the end of raw, or before a record at or above E: offsets need not be dense.
        let last = queue.front().is_some_and(|record| record.offset >= emitted);
        if last || batch.next == from {
            batch.next = emitted;
            queue.clear();
        }
        let to = head_after_batch(&*store, &batch).map_err(|error| store_failed(&error))?;
        if let Some(token) = expected
            && to.cursor == emitted
            && to.digest != token
            && !planted!(self.options, DigestNotCompared)
        {
            if refolding.from_empty {
                let found = to.digest;
                let damage = RawDamage::DigestDiffers { emitted, found, token };
                return Err(Command::Refused(Refusal::RawDamaged(damage)));
            }
            self.store = Some(store);
            let mut starting = refolding.starting;
            let command = starting.replace(Reason::DigestDiffers, emitted);
            self.phase = Phase::Starting(starting);
            return Ok(vec![command]);
        }
        self.phase = Phase::Refolding(refolding);
        // The outputs are dropped here: they were emitted.
        let write = StoreWrite { purpose: Purpose::Start, from, overlay: batch.overlay, to };
        Ok(vec![Command::WriteStore { store, write: Box::new(write) }])
    }

    /// State and log agree: commit once, with nothing but our token. It proves the claim and
    /// publishes the address, and on a first start it puts a token before the first output.
    pub(super) fn commit_start(
        &mut self,
        before: Option<Committed>,
        target: Target,
        now_ms: u64,
    ) -> Next {
        let Some(store) = &self.store else { return Err(Command::Lost(Lost::Defect("start"))) };
        let Target { emitted, digest: _, crc } = target;
        let head = store.store_head();
        let position = self.position(emitted, &head, crc);
        let mut live = Live::at(before.clone(), emitted, crc);
        live.in_flight = Some(InFlight::new(Purpose::Start, Vec::new(), before, position, None));
        self.go_live(live, now_ms)
    }
}
