//! Replays: an operator has a partition folded once more beside its live store, a bit now and a bit
//! then, and has what came out take the place of the store.

use tickfold_core::fold::{AsOf, Output, Partition, differing_rows};
use tickfold_core::overlay::Overlay;
use tickfold_log::Record;
use tickfold_processor::driver::Input;
use tickfold_processor::{MutedFold, Takeover};
use tickfold_store::{MemStores, PartitionStore, StoreHead, Stores};

use super::World;
use super::process::Process;
use crate::broker::RAW;
use crate::plan::Fault;

/// Rows that a swap publishes have ordinals from here on, above those of all other outputs.
const ORDINALS: u32 = 1 << 31;

/// Messages whose rows are published again with a swap. Both states are equal here, so that without
/// these none would be.
const ROWS_MAX: u64 = 3;

impl World {
    /// The operator goes on with the replay of a partition that is live on this process: folds some
    /// more, or asks it to stand still once there is nothing more to fold.
    pub(super) fn replay(&mut self, id: usize) -> Result<(), String> {
        let slots = &self.processes[id].slots;
        let live =
            slots.iter().filter(|(_, slot)| slot.running.as_ref().is_some_and(|r| r.is_live()));
        let live: Vec<u32> = live.map(|(partition, _)| *partition).collect();
        if live.is_empty() {
            return Ok(());
        }
        let partition = self.dice.pick(&live);
        let records = self.dice.pick(&[5, 50, 500]);
        let (until, now_ms) = (self.processes[id].cursor(partition), self.broker.now_ms);
        let shadow = self.processes[id].shadows.entry(partition).or_default().clone();
        let mut store = shadow.open(partition).map_err(|error| error.to_string())?;
        if store.store_head().cursor < until {
            self.fold_shadow(id, partition, &mut *store, until, records)?;
            self.event("replay goes on", id, partition, store.store_head().cursor);
        }
        // It folded some more, or has nothing more to fold.
        if until > 0 {
            self.land(Fault::Replay.word());
        }
        if until == 0 || store.store_head().cursor < until {
            return Ok(());
        }
        self.event("asked to stand still", id, partition, until);
        let stands = self.running(id, partition).stands();
        self.land(if stands {
            "asked again while it stands still"
        } else {
            "asked to stand still"
        });
        let running = self.running(id, partition);
        running.owes.stand = true;
        running.tell(Input::SwapAsked, now_ms)?;
        if self.dice.one_in(3) {
            self.event("asked for a checkpoint", id, partition, until);
            if self.running(id, partition).stands() {
                self.land("checkpoint asked while it stands still");
            }
            let makes_some = self.processes[id].options.checkpoint_interval_ms.is_some();
            let running = self.running(id, partition);
            running.owes.checkpoint = makes_some;
            running.tell(Input::CheckpointAsked, now_ms)?;
        }
        Ok(())
    }

    /// Folds records that the shadow has not, below a position.
    fn fold_shadow(
        &self,
        id: usize,
        partition: u32,
        store: &mut dyn PartitionStore,
        until: u64,
        records: usize,
    ) -> Result<(), String> {
        self.ambient(Some(id));
        let count = self.broker.partitions();
        let options = &self.processes[id].options;
        let muted = MutedFold::new(Partition { id: partition, count }, options.clone());
        let raw = self.broker.part(RAW, partition).visible(store.store_head().cursor);
        let raw: Vec<Record> =
            raw.take_while(|record| record.offset < until).take(records).cloned().collect();
        let folded = muted.fold(store, raw, until);
        folded.map(drop).map_err(|error| format!("a replay fails: {error:?}"))
    }

    /// The operator has a partition in hand: prepares what is to take its place, or lets it go.
    pub(super) fn in_hand(
        &mut self,
        id: usize,
        partition: u32,
        live: &StoreHead,
    ) -> Result<Option<Box<Takeover>>, String> {
        let is_full = self.broker.now_ms < self.processes[id].full_until_ms;
        if is_full {
            self.counts.hinder(Fault::DiskFull, id);
        }
        if is_full || self.dice.one_in(4) {
            self.land("let go");
            return Ok(None);
        }
        let Some(shadow) = self.processes[id].shadows.remove(&partition) else { return Ok(None) };
        let mut store = shadow.open(partition).map_err(|error| error.to_string())?;
        if store.store_head().cursor < live.cursor {
            self.fold_shadow(id, partition, &mut *store, live.cursor, usize::MAX)?;
        }
        let replayed = store.store_head();
        // The group's position expired, and the live state went on from an earlier one.
        if replayed.cursor > live.cursor {
            self.land("shadow beyond the live state");
            return Ok(None);
        }
        if replayed != *live {
            return Err(format!("a replay is {replayed:?}, what was folded at first {live:?}"));
        }
        let rows = self.rows_again(partition, live, &*store);
        let process = &mut self.processes[id];
        process.stores.fail_writes(false);
        let turn = process.prepare(partition, &shadow)?;
        self.audits[partition as usize].prepared(id, turn, live.cursor, &rows);
        self.running(id, partition).owes.swap = true;
        self.event("prepared", id, partition, turn);
        Ok(Some(Box::new(Takeover { rows, head: *live, turn })))
    }

    /// Rows of some messages, as if the state before had not had them.
    fn rows_again(
        &mut self,
        partition: u32,
        live: &StoreHead,
        store: &dyn PartitionStore,
    ) -> Vec<Output> {
        let mut after = Overlay::default();
        for _ in 0..self.dice.below(ROWS_MAX + 1) {
            if self.meta.webhooks.is_empty() {
                break;
            }
            let webhook = self.dice.index(self.meta.webhooks.len());
            for stated in &self.meta.webhooks[webhook].stated {
                let wamid = stated.wamid.as_str().into();
                let found = after.messages.entry(&wamid, |wamid| store.message(wamid));
                found.expect("memory reads");
            }
        }
        let regime = store.regime().expect("memory reads").unwrap_or_default();
        let as_of = AsOf {
            partition: Partition { id: partition, count: self.broker.partitions() },
            offset: live.cursor.saturating_sub(1),
            log_time: live.head.log_time_or_epoch(),
            rules: regime.rules,
            first_ordinal: ORDINALS,
        };
        differing_rows(&as_of, &mut Overlay::default(), &mut after)
    }

    /// The store that was prepared takes the place of the live one: the log has to say so.
    pub(super) fn may_succeed(&mut self, id: usize, partition: u32) -> Result<(), String> {
        let is_start = !self.running(id, partition).is_live();
        match self.processes[id].stores.next_generation(partition) {
            Ok(Some(next)) => self.audits[partition as usize].may_succeed(id, &next, is_start),
            Ok(None) => Err("a store is to be taken, and none was prepared".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Process {
    /// Puts the shadow beside the store, to take its place some day; which of its turns that is.
    fn prepare(&mut self, partition: u32, shadow: &MemStores) -> Result<u64, String> {
        let text = |error: tickfold_store::Error| error.to_string();
        let turns = self.turns.entry(partition).or_default();
        *turns += 1;
        let head = self.stores.prepare(partition, shadow, *turns).ok_or("a shadow has no rows")?;
        // One of the old state at this very position would be taken for one of the new state.
        for checkpoint in self.stores.checkpoints(partition).map_err(text)? {
            if checkpoint.head.cursor == head.cursor {
                self.stores.remove_checkpoint(partition, &checkpoint).map_err(text)?;
            }
        }
        Ok(*turns)
    }
}

/// A row that a swap published.
pub(crate) fn is_of_a_swap(record: &Record) -> bool {
    let id = record.header("ce_id").and_then(|id| std::str::from_utf8(id).ok());
    let ordinal = id.and_then(|id| id.rsplit('-').next()?.parse::<u32>().ok());
    ordinal.is_some_and(|ordinal| ordinal >= ORDINALS)
}
