//! What processes hear of their group, and what they do about it.

use tickfold_processor::driver::Input;

use super::World;
use super::process::{Leaving, Slot};
use crate::plan::Fault;

/// A member says that it lives every so often.
const BEAT_MS: u64 = 2_500;

impl World {
    /// A process comes up: it joins, and has what its session kept.
    pub(super) fn start(&mut self, id: usize) {
        let now_ms = self.broker.now_ms;
        let count = self.broker.partitions();
        let process = &mut self.processes[id];
        (process.is_alive, process.leaving) = (true, None);
        if self.swarm.embedded {
            self.broker.poisoned = false;
            self.broker.sync();
            process.view.assigned = (0..count).map(|partition| (partition, 0)).collect();
            process.slots = (0..count).map(|partition| (partition, Slot::default())).collect();
        } else {
            process.view.member = self.broker.group.join(id, now_ms);
            process.beats_ms = now_ms;
        }
        self.event("process starts", id, 0, 0);
    }

    /// Members that are well say that they live and hear what is new.
    pub(super) fn heartbeats(&mut self) -> Result<(), String> {
        if self.swarm.embedded {
            return Ok(());
        }
        let now_ms = self.broker.now_ms;
        for id in 0..self.processes.len() {
            let process = &mut self.processes[id];
            if process.is_healthy(now_ms) && now_ms >= process.beats_ms {
                process.beats_ms = now_ms + BEAT_MS;
                self.heartbeat(id)?;
            }
        }
        if self.broker.group.expire(now_ms) > 0 {
            self.land("session expired");
        }
        Ok(())
    }

    fn heartbeat(&mut self, id: usize) -> Result<(), String> {
        let now_ms = self.broker.now_ms;
        let member = self.processes[id].view.member;
        let Some(told) = self.broker.group.heartbeat(id, member, now_ms) else {
            let lost: Vec<u32> = self.processes[id].view.assigned.keys().copied().collect();
            for partition in lost {
                self.lose(id, partition)?;
            }
            if self.processes[id].leaving.is_none() {
                self.processes[id].view.member = self.broker.group.join(id, now_ms);
                self.event("joins anew", id, 0, 0);
            }
            return Ok(());
        };
        self.processes[id].view.generation = told.generation;
        let had = self.processes[id].view.assigned.keys();
        let gone = had.filter(|partition| !told.assigned.contains(partition)).copied();
        for partition in gone.collect::<Vec<_>>() {
            self.lose(id, partition)?;
        }
        for partition in told.assigned {
            let process = &mut self.processes[id];
            let view = &mut process.view;
            if process.leaving.is_none() && !view.assigned.contains_key(&partition) {
                view.tenures += 1;
                view.assigned.insert(partition, view.tenures);
                process.slots.insert(partition, Slot::default());
                self.event("assigned", id, partition, u64::from(told.generation));
            }
        }
        for partition in told.revoked {
            self.revoke(id, partition)?;
        }
        Ok(())
    }

    /// The group wants a partition back: what may be taking effect is finished first.
    fn revoke(&mut self, id: usize, partition: u32) -> Result<(), String> {
        let now_ms = self.broker.now_ms;
        let process = &mut self.processes[id];
        let patience_ms = process.options.release_ms_max;
        let Some(slot) = process.slots.get_mut(&partition) else { return Ok(()) };
        match slot.revoked_until_ms {
            None => {
                slot.revoked_until_ms = Some(now_ms + patience_ms);
                if let Some(running) = &mut slot.running {
                    running.tell(Input::Stop, now_ms)?;
                }
                self.event("revoked", id, partition, 0);
                self.land("revoked");
            }
            Some(until_ms) if now_ms >= until_ms && slot.running.is_some() => {
                self.drop_driver(id, partition)?;
                self.land("dropped when revoked");
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// A partition is given back.
    pub(super) fn release(&mut self, id: usize, partition: u32) {
        let process = &mut self.processes[id];
        process.slots.remove(&partition);
        process.view.assigned.remove(&partition);
        self.broker.group.release(id, process.view.member, partition);
        self.event("released", id, partition, 0);
    }

    /// The group took a partition away.
    fn lose(&mut self, id: usize, partition: u32) -> Result<(), String> {
        if self.processes[id].slots.get(&partition).is_some_and(|slot| slot.running.is_some()) {
            self.drop_driver(id, partition)?;
            self.land("taken away");
        }
        let process = &mut self.processes[id];
        process.slots.remove(&partition);
        process.view.assigned.remove(&partition);
        self.event("lost", id, partition, 0);
        Ok(())
    }

    /// The driver is told that its partition is gone, and does what it says then: one that goes on
    /// is broken, and is let go on.
    fn drop_driver(&mut self, id: usize, partition: u32) -> Result<(), String> {
        let now_ms = self.broker.now_ms;
        self.ambient(Some(id));
        self.running(id, partition).tell(Input::TakenAway, now_ms)?;
        for _ in 0..4 {
            let slot = self.processes[id].slots.get_mut(&partition);
            let Some(running) = slot.and_then(|slot| slot.running.as_mut()) else { break };
            if running.works.is_empty() {
                break;
            }
            self.work(id, partition, 0)?;
        }
        let process = &mut self.processes[id];
        if let Some(running) = process.slots.get_mut(&partition).and_then(|s| s.running.take()) {
            let orphan = running.into_orphan();
            process.orphans.extend(orphan.map(|committing| (partition, committing)));
        }
        Ok(())
    }

    /// A process on its way out leaves once its drivers stopped; true if it did something.
    pub(super) fn leave_step(&mut self, id: usize) -> bool {
        let Some(leaving) = self.processes[id].leaving else { return false };
        if self.processes[id].slots.values().any(|slot| slot.running.is_some()) {
            return false;
        }
        let now_ms = self.broker.now_ms;
        let member = self.processes[id].view.member;
        if leaving == Leaving::Leave && !self.swarm.embedded {
            self.broker.group.leave(id, member);
        }
        let process = &mut self.processes[id];
        process.die();
        process.starts_ms = now_ms + self.dice.pick(&[100, 4_000, 20_000]);
        self.land(match leaving {
            Leaving::Leave => Fault::Leave.word(),
            Leaving::Restart => Fault::Restart.word(),
        });
        self.event("process left", id, 0, 0);
        true
    }
}
