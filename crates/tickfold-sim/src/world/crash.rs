//! Trouble of processes, their machines, and what operators do.

use tickfold_log::Committed;
use tickfold_processor::driver::Input;

use super::World;
use super::process::Leaving;
use crate::broker::TRANSACTION_MS;
use crate::plan::Fault;

impl World {
    /// Something goes wrong, perhaps.
    pub(super) fn trouble(&mut self) -> Result<(), String> {
        let now_ms = self.broker.now_ms;
        // Most of all one with a commit under way.
        let committing = self.processes.iter().position(|process| {
            let mut running = process.slots.values().filter_map(|slot| slot.running.as_ref());
            running.any(|running| running.is_committing() || running.is_in_doubt())
        });
        let any = self.dice.index(self.processes.len());
        let id = committing.filter(|_| self.dice.one_in(2)).unwrap_or(any);
        if self.processes[id].is_alive {
            if self.strikes(Fault::Kill, 6) {
                self.kill(id, false);
                self.land(Fault::Kill.word());
            } else if self.strikes(Fault::PowerLoss, 10) {
                self.kill(id, true);
                self.land(Fault::PowerLoss.word());
            } else if self.strikes(Fault::Pause, 10) {
                let ms = self.dice.pick(&[2_000, 12_000, 70_000]);
                self.processes[id].paused_until_ms = now_ms + ms;
                // It goes on for a while before it hears what it missed.
                self.processes[id].beats_ms = now_ms + ms + self.dice.pick(&[0, 1_000, 3_000]);
                self.counts.begin(Fault::Pause, id);
                self.event("process pauses", id, 0, ms);
            } else if self.strikes(Fault::Cut, 10) {
                let ms = self.dice.pick(&[2_000, 12_000]);
                self.processes[id].cut_until_ms = now_ms + ms;
                self.processes[id].beats_ms = now_ms + ms + self.dice.pick(&[0, 1_000, 3_000]);
                self.counts.begin(Fault::Cut, id);
                self.event("process is cut off", id, 0, ms);
            } else if self.strikes(Fault::DiskFull, 10) {
                let ms = self.dice.pick(&[500, 5_000]);
                self.processes[id].full_until_ms = now_ms + ms;
                self.counts.begin(Fault::DiskFull, id);
                self.event("disk is full", id, 0, ms);
            } else if self.strikes(Fault::Leave, 15) {
                self.leave(id, Leaving::Leave)?;
            } else if self.strikes(Fault::Restart, 15) {
                self.leave(id, Leaving::Restart)?;
            }
        }
        if self.processes[id].is_running(now_ms) && self.strikes(Fault::Replay, 3) {
            self.replay(id)?;
        }
        if self.strikes(Fault::Takeover, 10) && self.broker.group.shuffle() {
            self.land(Fault::Takeover.word());
        }
        // Everybody goes for either; which of the two is done then, the dice say.
        if self.strikes(Fault::OffsetMoved, 40) || self.strikes(Fault::OffsetExpired, 40) {
            self.everybody_is_away()?;
        }
        Ok(())
    }

    /// A process dies; with its machine, what was not synced is lost.
    pub(super) fn kill(&mut self, id: usize, is_power_loss: bool) {
        let now_ms = self.broker.now_ms;
        let overlaps = |process: &super::Process| {
            let running = process.slots.values().filter_map(|slot| slot.running.as_ref());
            running.fold((0, 0), |(committing, two), running| {
                (
                    committing + u64::from(running.is_committing()),
                    two + u64::from(running.overlaps()),
                )
            })
        };
        let (committing, two) = overlaps(&self.processes[id]);
        if committing > 0 {
            self.land("killed in a commit");
        }
        if two > 0 {
            self.land("killed with two overlays");
        }
        let mut running =
            self.processes[id].slots.values().filter_map(|slot| slot.running.as_ref());
        if running.any(|running| running.owes.swap) {
            self.land("killed in a swap");
        }
        self.processes[id].die();
        self.processes[id].starts_ms = now_ms + self.dice.pick(&[50, 3_000, 8_000, 25_000]);
        self.event("process dies", id, 0, u64::from(is_power_loss));
        if is_power_loss {
            if self.swarm.embedded {
                let kept = self.dice.index(4);
                if self.broker.lose_unsynced(kept) > 0 {
                    self.land("unsynced commits lost");
                }
            }
            for (partition, unsynced) in std::mem::take(&mut self.processes[id].unsynced) {
                let lost = self.dice.index(unsynced + 1);
                if lost > 0 {
                    self.processes[id].stores.lose_last_batches(partition, lost);
                    self.land("unsynced batches lost");
                    self.event("batches lost", id, partition, lost as u64);
                }
            }
        }
        if is_power_loss {
            for (partition, shadow) in &self.processes[id].shadows {
                shadow.lose_last_batches(*partition, self.dice.index(4));
            }
        }
        let partition = u32::try_from(self.dice.index(self.audits.len())).expect("few");
        let had = self.processes[id].cursor(partition) > 0;
        if had && self.strikes(Fault::StoreWiped, 8) {
            self.processes[id].stores.wipe(partition);
            self.processes[id].rotten.remove(&partition);
            self.forget(id, partition);
            self.land(Fault::StoreWiped.word());
        } else if had && self.strikes(Fault::StoreTorn, 8) {
            self.processes[id].stores.corrupt_format(partition);
            self.forget(id, partition);
            self.land(Fault::StoreTorn.word());
        // Without a position nothing tells what the digest should be.
        } else if had
            && !self.swarm.faults.has(Fault::OffsetExpired)
            && self.strikes(Fault::StoreRots, 8)
        {
            self.processes[id].stores.corrupt_digest(partition);
            self.processes[id].rotten.insert(partition, true);
            self.land(Fault::StoreRots.word());
        }
    }

    fn forget(&mut self, id: usize, partition: u32) {
        self.processes[id].unsynced.remove(&partition);
        self.event("store is gone", id, partition, 0);
    }

    /// A process is told to stop.
    fn leave(&mut self, id: usize, leaving: Leaving) -> Result<(), String> {
        let now_ms = self.broker.now_ms;
        if self.processes[id].leaving.is_some() {
            return Ok(());
        }
        self.processes[id].leaving = Some(leaving);
        self.event("process is told to stop", id, 0, 0);
        for slot in self.processes[id].slots.values_mut() {
            if let Some(running) = &mut slot.running {
                running.tell(Input::Stop, now_ms)?;
            }
            // Nothing is begun any more.
            slot.restarts_ms = u64::MAX;
        }
        Ok(())
    }

    /// The group is empty for a while, and its positions are not what they were.
    fn everybody_is_away(&mut self) -> Result<(), String> {
        for id in 0..self.processes.len() {
            if self.processes[id].is_alive {
                self.kill(id, false);
            }
            self.processes[id].starts_ms = self.broker.now_ms + 75_000;
        }
        self.broker.sync();
        self.pass(70_000)?;
        loop {
            for partition in self.broker.ending() {
                self.broker.mark(partition, 0);
            }
            if self.broker.is_settled() {
                break;
            }
            if self.broker.ending().is_empty() {
                // What came late began a transaction, and nobody is there to end it: its time does.
                self.land("begun by a late request");
                self.pass(TRANSACTION_MS)?;
            }
        }
        self.settle_decisions()?;
        let partition = u32::try_from(self.dice.index(self.audits.len())).expect("few");
        if !self.broker.limbo.is_empty() || self.moved.contains_key(&partition) {
            return Ok(());
        }
        let Some(position) = self.broker.position(partition).cloned() else { return Ok(()) };
        if self.swarm.faults.has(Fault::OffsetMoved) && self.dice.one_in(2) {
            let offset = self.dice.below(position.offset + 1);
            let moved = Committed { offset, metadata: String::new() };
            self.broker.set_position(partition, Some(moved));
            self.audits[partition as usize].position_moved();
            self.moved.insert(partition, position);
            self.event("position moved", 0, partition, offset);
            self.land(Fault::OffsetMoved.word());
        } else if self.swarm.faults.has(Fault::OffsetExpired) {
            let derived = |topic| self.broker.part(topic, partition).visible(0).next().is_some();
            let any = tickfold_core::records::Topic::ALL.map(crate::broker::Broker::topic);
            // Where nothing tells how far outputs were emitted, a start is refused, and rightly.
            if any.into_iter().any(derived) {
                self.broker.set_position(partition, None);
                self.audits[partition as usize].position_moved();
                self.event("position expired", 0, partition, 0);
                self.land(Fault::OffsetExpired.word());
            }
        }
        Ok(())
    }

    /// Nothing hinders anybody any more.
    pub(super) fn relieve(&mut self) {
        let now_ms = self.broker.now_ms;
        for process in &mut self.processes {
            (process.paused_until_ms, process.cut_until_ms, process.full_until_ms) = (0, 0, 0);
            process.beats_ms = 0;
            process.starts_ms = process.starts_ms.min(now_ms);
            process.stores.fail_writes(false);
        }
    }
}
