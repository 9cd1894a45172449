//! The world of one run: one log, processes with their disks, Meta, an operator, one clock. Each step
//! lets one of them do one thing, chosen by the dice.

mod crash;
mod group;
mod heal;
mod meta;
mod process;
mod replay;

use std::collections::BTreeMap;

use tickfold_core::fold::Partition;
use tickfold_core::planted;
use tickfold_log::Committed;
use tickfold_processor::driver::{Command, Input, Lost, Progress, Refusal};
use tickfold_processor::{Address, Options};

use crate::audit::Audit;
use crate::broker::{Broker, Decision};
use crate::bug::{Planted, PortBug};
use crate::client::{Claiming, Committing, Fate, Step, Wire, Writing};
use crate::counts::Counts;
use crate::plan::{Fault, Plan, Swarm};
use crate::rng::Dice;
use crate::traffic::Traffic;
use meta::Meta;
use process::{End, Process, Running, Work};
pub(crate) use replay::is_of_a_swap;

/// 2026-11-20.
const NOON_MS: i64 = 1_795_132_800_000;

/// The golden fold folds as if it was so much later: history is replayed some day.
const LATER_MS: i64 = 45 * 86_400_000;

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    plan: Plan,
    swarm: Swarm,
    bug: Option<Planted>,
    /// What is done next.
    dice: Dice,
    /// Whether each fault strikes.
    strikes: Vec<Dice>,
    /// How requests fare.
    net: Dice,
    broker: Broker,
    processes: Vec<Process>,
    audits: Vec<Audit>,
    traffic: Traffic,
    meta: Meta,
    /// Positions that the operator moved, to be put back.
    moved: BTreeMap<u32, Committed>,
    claims: u64,
    is_healing: bool,
    counts: Counts,
    hash: u64,
    steps: u64,
    tell: Option<fn(&str)>,
}

impl World {
    pub(crate) fn new(plan: &Plan, bug: Option<Planted>, tell: Option<fn(&str)>) -> Self {
        let swarm = plan.swarm();
        let mut dice = Dice::of(plan.seed, "world");
        let options = Options {
            batch_records_max: usize::try_from(dice.pick(&[1, 2, 5, 100_u64])).expect("small"),
            batch_outputs_max: usize::try_from(dice.pick(&[4, 12, 20_000_u64])).expect("small"),
            tick_commit_interval_ms: dice.pick(&[1_000, 10_000]),
            checkpoint_interval_ms: dice.pick(&[None, Some(3_000), Some(30_000)]),
            checkpoints_kept: usize::try_from(dice.pick(&[1, 3_u64])).expect("small"),
            bug: match bug {
                Some(Planted::Driver(bug)) => Some(bug),
                Some(Planted::Fold(_) | Planted::Port(_)) | None => None,
            },
            ..Options::default()
        };
        let processes = if swarm.embedded { 1 } else { swarm.processes };
        let process = |id: usize| {
            let address = Address::parse(&format!("http://p{id}")).expect("it is one");
            Process::new(id, Options { address, ..options.clone() })
        };
        let partition = |id| Partition { id, count: swarm.partitions };
        let strike = |fault: &Fault| Dice::of(plan.seed, fault.word());
        Self {
            broker: Broker::new(swarm.partitions, NOON_MS),
            processes: (0..processes).map(process).collect(),
            audits: (0..swarm.partitions).map(|id| Audit::new(partition(id))).collect(),
            traffic: Traffic::new(plan.seed, swarm.faults),
            meta: Meta::new(plan.seed, &swarm, plan.skip.clone()),
            moved: BTreeMap::new(),
            claims: 0,
            is_healing: false,
            counts: Counts::default(),
            hash: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            tell,
            strikes: Fault::ALL.iter().map(strike).collect(),
            net: Dice::of(plan.seed, "net"),
            plan: plan.clone(),
            swarm,
            bug,
            dice,
        }
    }

    /// Trouble, then health. What broke, if anything did.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.swarm.steps {
            self.step()?;
        }
        self.heal()
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Outputs that are due in all partitions.
    pub(crate) fn outputs(&self) -> usize {
        let outputs = self.audits.iter().flat_map(|audit| &audit.golden.outputs);
        outputs.map(Vec::len).sum()
    }

    /// Notes that something happened.
    fn event(&mut self, what: &'static str, process: usize, partition: u32, detail: u64) {
        let numbers = [process as u64, u64::from(partition), detail, self.broker.now_ms];
        self.mix(what.bytes().chain(numbers.into_iter().flat_map(u64::to_be_bytes)));
        if let Some(tell) = self.tell {
            let now_ms = self.broker.now_ms;
            tell(&format!("{now_ms:>10} p{process} /{partition} {what} {detail}"));
        }
    }

    fn mix(&mut self, bytes: impl Iterator<Item = u8>) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// What was committed, to the byte.
    fn mix_in(&mut self, decision: &Decision) {
        let Decision { position, outputs, .. } = decision;
        self.mix(position.iter().flat_map(|position| position.metadata.bytes()));
        for (topic, record) in outputs {
            let headers = record.headers.iter().flat_map(|header| header.value.iter());
            let bytes = record.key.iter().flatten().chain(record.value.iter().flatten());
            let topic = topic.to_be_bytes().into_iter();
            self.mix(topic.chain(bytes.chain(headers).copied()));
        }
    }

    /// Something that is not for certain in a run happened.
    fn land(&mut self, what: &'static str) {
        self.counts.land(what);
    }

    /// True if a fault is to strike, once in so many chances. Whoever makes it strike says that it landed.
    fn strikes(&mut self, fault: Fault, once_in: u64) -> bool {
        let often = self.swarm.often;
        let dice = &mut self.strikes[fault as usize];
        let strikes = dice.one_in((once_in * often / 20).max(2));
        let strikes = strikes && !self.is_healing && self.swarm.faults.has(fault);
        if strikes {
            self.counts.attempt(fault);
        }
        strikes
    }

    /// One thing is done.
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        match self.dice.below(100) {
            0..=6 => self.meta_step(),
            7..=8 => {
                let ms = self.dice.pick(&[10, 200, 1_000, 3_000]);
                self.pass(ms)?;
            }
            9 => self.rest()?,
            10..=13 => self.trouble()?,
            14..=18 => self.mark(),
            19..=20 => self.look()?,
            _ => {
                let process = self.dice.index(self.processes.len());
                if !self.process_step(process)? {
                    let ms = self.dice.pick(&[0, 0, 1, 20, 300]);
                    self.pass(ms)?;
                }
            }
        }
        self.settle_decisions()
    }

    /// A longer while in which nothing else happens.
    fn rest(&mut self) -> Result<(), String> {
        let mut ms = self.dice.pick(&[5_000, 15_000, 29_000]);
        if self.strikes(Fault::Outages, 3) {
            ms = self.dice.pick(&[31_000, 180_000, 1_200_000]);
            self.land(Fault::Outages.word());
        } else if self.strikes(Fault::Days, 6) {
            ms = self.dice.pick(&[1, 8, 40, 91]) * 86_400_000;
            self.land(Fault::Days.word());
        }
        self.pass(ms)
    }

    /// Time passes: members that are well say so, sessions and transactions end, what is late
    /// arrives, ingress appends its ticks.
    fn pass(&mut self, ms: u64) -> Result<(), String> {
        let until_ms = self.broker.now_ms + ms;
        let chunk_ms = (ms / 10).max(2_500);
        loop {
            let now_ms = (self.broker.now_ms + chunk_ms).min(until_ms);
            self.broker.now_ms = now_ms;
            self.arrive();
            (0..4).for_each(|_| self.mark());
            self.heartbeats()?;
            let expired = self.broker.expire_transactions();
            if expired > 0 {
                self.land("transaction expired");
            }
            if now_ms >= until_ms {
                break;
            }
        }
        self.tick();
        self.settle_decisions()
    }

    /// What was under way for long arrives.
    fn arrive(&mut self) {
        let now_ms = self.broker.now_ms;
        let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.broker.limbo)
            .into_iter()
            .partition(|late| late.due_ms <= now_ms);
        self.broker.limbo = later;
        due.sort_by_key(|late| late.due_ms);
        for late in due {
            let reply = self.broker.handle(late.partition, late.epoch, late.by, late.request);
            self.event("late request arrives", late.by.0, late.partition, late.by.1);
            self.land(late.fault.word());
            self.land(match reply {
                crate::broker::Reply::Ok => "late request taken",
                _ => "late request refused",
            });
        }
    }

    /// A marker is written.
    fn mark(&mut self) {
        for partition in self.broker.ending() {
            if self.strikes(Fault::SlowMarkers, 2) {
                self.land(Fault::SlowMarkers.word());
                continue;
            }
            let choice = self.net.index(64);
            self.broker.mark(partition, choice);
            self.event("marker", 0, partition, 0);
        }
    }

    /// Whatever was decided since is looked at.
    fn settle_decisions(&mut self) -> Result<(), String> {
        for decision in std::mem::take(&mut self.broker.decisions) {
            let partition = decision.partition;
            let position = decision.position.as_ref().map_or(0, |position| position.offset);
            self.event("commits", decision.by.0, partition, position);
            self.mix_in(&decision);
            let Process { options, stores, .. } = &self.processes[decision.by.0];
            self.ambient(None);
            self.audits[partition as usize].decided(&self.broker, &decision, options, stores)?;
        }
        Ok(())
    }

    /// Somebody reads on any process, and a watcher goes on.
    fn look(&mut self) -> Result<(), String> {
        let process = self.dice.index(self.processes.len());
        let partition = self.dice.index(self.audits.len());
        let at = u32::try_from(partition).expect("few");
        let process = &self.processes[process];
        if process.rotten.contains_key(&at) {
            return Ok(());
        }
        let audit = &mut self.audits[partition];
        audit.shown(&process.stores)?;
        audit.watch(&self.broker, 50)
    }

    /// What a broken fold of this process looks at; of `None`, of the golden fold.
    fn ambient(&self, process: Option<usize>) {
        let bug = match self.bug {
            Some(Planted::Fold(bug)) => Some(bug),
            Some(Planted::Driver(_) | Planted::Port(_)) | None => None,
        };
        let skew_ms = process.map_or(LATER_MS, |process| self.processes[process].skew_ms);
        let wall_ms = self.broker.log_time_ms() + skew_ms;
        planted::set(planted::Ambient { bug, wall_ms, config_ms: skew_ms / 100 });
    }

    /// One step of a process; false if it has nothing to do now.
    fn process_step(&mut self, id: usize) -> Result<bool, String> {
        let now_ms = self.broker.now_ms;
        if !self.processes[id].is_alive {
            if now_ms >= self.processes[id].starts_ms {
                self.start(id);
                return Ok(true);
            }
            return Ok(false);
        }
        if !self.processes[id].is_running(now_ms) {
            self.counts.hinder(Fault::Pause, id);
            return Ok(false);
        }
        if self.leave_step(id) || self.orphan_step(id) {
            return Ok(true);
        }
        // Whatever can go on, of all partitions.
        let mut choices = Vec::new();
        for (partition, slot) in &self.processes[id].slots {
            match &slot.running {
                Some(running) => {
                    let works = running.works.iter().enumerate();
                    let ready = works.filter(|(_, work)| work.is_ready(&self.broker, *partition));
                    choices.extend(ready.map(|(at, _)| (*partition, Some(at))));
                }
                None if slot.revoked_until_ms.is_some() => choices.push((*partition, None)),
                None if slot.refused.is_some() => choices.push((*partition, None)),
                None if now_ms >= slot.restarts_ms => choices.push((*partition, None)),
                None => {}
            }
        }
        if choices.is_empty() {
            return Ok(false);
        }
        let (partition, at) = self.dice.pick(&choices);
        match at {
            Some(at) => self.work(id, partition, at)?,
            None => self.slot_step(id, partition),
        }
        Ok(true)
    }

    /// A commit that nobody waits for goes on; false if there is none that can.
    fn orphan_step(&mut self, id: usize) -> bool {
        let now_ms = self.broker.now_ms;
        let ready = |(_, committing): &(u32, Committing)| committing.again_ms() <= now_ms;
        let orphans = &self.processes[id].orphans;
        let Some(at) = orphans.iter().position(ready) else { return false };
        if !self.is_healing && self.dice.one_in(2) {
            return false;
        }
        let (partition, committing) = self.processes[id].orphans.remove(at);
        match committing.step(&mut self.wire_of(id, partition)) {
            Step::Goes(committing) => self.processes[id].orphans.push((partition, committing)),
            Step::Done(input, _) => {
                self.event("orphan done", id, partition, 0);
                self.land(match input {
                    Input::CommitDone(Ok(())) => "orphan committed",
                    _ => "orphan failed",
                });
            }
        }
        true
    }

    /// A partition without a driver: it gets one, or is given back.
    fn slot_step(&mut self, id: usize, partition: u32) {
        let now_ms = self.broker.now_ms;
        let count = self.broker.partitions();
        let process = &mut self.processes[id];
        let slot = process.slots.get_mut(&partition).expect("it was chosen");
        if slot.revoked_until_ms.is_some() {
            self.release(id, partition);
        } else if slot.refused.take().is_some() {
            // The operator puts the position back, unless that was done when another was refused.
            if let Some(original) = self.moved.remove(&partition) {
                self.broker.set_position(partition, Some(original));
                self.audits[partition as usize].position_back();
                self.event("position put back", id, partition, 0);
            }
        } else {
            let running =
                Running::start(&process.options, Partition { id: partition, count }, now_ms);
            slot.running = Some(running);
            self.event("driver starts", id, partition, 0);
        }
    }

    /// One step of something that is under way.
    fn work(&mut self, id: usize, partition: u32, at: usize) -> Result<(), String> {
        let work = self.running(id, partition).works.remove(at);
        let next = match work {
            Work::Done(kind, input) => return self.deliver(id, partition, kind, input),
            Work::Todo(Command::Claim) if self.swarm.embedded => {
                self.claims += 1;
                let by = (id, self.claims);
                if self.broker.poisoned {
                    let reason = "a sync failed".to_owned();
                    let error = tickfold_log::Error::Poisoned { reason };
                    Work::Done("claim", Input::Claimed(Err(error)))
                } else {
                    // What is left unfinished is finished first.
                    self.broker.sync();
                    self.settle_decisions()?;
                    let found = self.broker.position(partition).cloned();
                    self.audits[partition as usize].claimed(by);
                    Work::Done("claim", Input::Claimed(Ok(found)))
                }
            }
            Work::Todo(Command::Claim) => {
                self.claims += 1;
                let (by, bug) = ((id, self.claims), self.bug);
                let running = self.running(id, partition);
                let before = running.producer.take();
                if before.is_some() && running.driver.progress() == Progress::Starting {
                    // It would be refused.
                    self.land("looked again");
                }
                Work::Claim(Claiming::new(by, before.as_ref(), bug))
            }
            Work::Todo(Command::Commit { outputs, position, .. }) => {
                self.event("commit begins", id, partition, position.offset);
                if self.swarm.embedded {
                    Work::Write(Writing::new((id, self.claims), outputs, position))
                } else {
                    match self.running(id, partition).producer.take() {
                        Some(producer) => {
                            let assigned = &self.processes[id].view.assigned;
                            let tenure = assigned.get(&partition).copied().unwrap_or(0);
                            Work::Commit(Committing::new(producer, outputs, position, tenure))
                        }
                        None => {
                            let fenced = tickfold_log::CommitError::Fenced;
                            Work::Done("commit", Input::CommitDone(Err(fenced)))
                        }
                    }
                }
            }
            Work::Todo(Command::StandStill(head)) => {
                self.running(id, partition).owes.stand = false;
                let takeover = self.in_hand(id, partition, &head)?;
                Work::Done("stand_still", Input::Released(takeover))
            }
            Work::Todo(command) => {
                match command {
                    Command::Succeed => self.may_succeed(id, partition)?,
                    Command::Checkpoint { .. } => {
                        self.running(id, partition).owes.checkpoint = false;
                    }
                    _ => {}
                }
                let (kind, bug) = (command.kind(), self.bug);
                let process = &mut self.processes[id];
                let is_write = matches!(command, Command::WriteStore { .. });
                let (now_ms, full_until_ms) = (self.broker.now_ms, process.full_until_ms);
                if asks_the_log(&command) && now_ms < process.cut_until_ms {
                    self.counts.hinder(Fault::Cut, id);
                }
                match process.execute(&self.broker, partition, command, bug) {
                    Ok(input) => {
                        self.event(kind, id, partition, 0);
                        if is_refused_write(&input) && now_ms < full_until_ms {
                            self.counts.hinder(Fault::DiskFull, id);
                        }
                        if let Input::Succeeded(Ok(_)) = input {
                            self.running(id, partition).owes.swap = false;
                        }
                        if is_write {
                            self.written(id, partition, &input)?;
                        }
                        Work::Done(kind, input)
                    }
                    Err(end) => return self.ended(id, partition, end),
                }
            }
            Work::Claim(claiming) => self.wire(id, partition, |wire| match claiming.step(wire) {
                Step::Goes(claiming) => (Work::Claim(claiming), None),
                Step::Done(input, producer) => (Work::Done("claim", input), producer),
            }),
            Work::Commit(committing) => {
                self.wire(id, partition, |wire| match committing.step(wire) {
                    Step::Goes(committing) => (Work::Commit(committing), None),
                    Step::Done(input, producer) => (Work::Done("commit", input), producer),
                })
            }
            Work::Write(writing) => {
                let sync_fails = self.strikes(Fault::SyncFails, 30);
                self.wire(id, partition, |wire| match writing.step(wire, sync_fails) {
                    Step::Goes(writing) => (Work::Write(writing), None),
                    Step::Done(input, _) => (Work::Done("commit", input), None),
                })
            }
        };
        if let Work::Done("claim", Input::Claimed(Ok(_))) = &next {
            let by = (id, self.claimed_by(id, partition));
            self.audits[partition as usize].claimed(by);
            let found_moved = self.moved.contains_key(&partition);
            self.running(id, partition).found_moved = found_moved;
        }
        if let Work::Done(kind, input) = &next {
            self.event(outcome(input).unwrap_or(kind), id, partition, 1);
            if let Some(outcome) = outcome(input) {
                self.land(outcome);
                // Whoever loses an answer is likely to lose more: it finds out late.
                if outcome == "commit unclear" && self.strikes(Fault::Pause, 4) {
                    let now_ms = self.broker.now_ms;
                    let ms = self.dice.pick(&[12_000, 30_000]);
                    self.processes[id].paused_until_ms = now_ms + ms;
                    self.processes[id].beats_ms = now_ms + ms + 3_000;
                    self.counts.begin(Fault::Pause, id);
                    self.event("process pauses in doubt", id, partition, ms);
                }
            }
        }
        if self.running(id, partition).overlaps() {
            self.land("folded on top of a commit");
        }
        self.running(id, partition).works.push(next);
        self.settle_decisions()
    }

    fn running(&mut self, id: usize, partition: u32) -> &mut Running {
        let slot = self.processes[id].slots.get_mut(&partition).expect("it is assigned");
        slot.running.as_mut().expect("it runs")
    }

    fn claimed_by(&self, id: usize, partition: u32) -> u64 {
        let slot = self.processes[id].slots.get(&partition);
        let producer = slot.and_then(|slot| slot.running.as_ref()?.producer.as_ref());
        producer.map_or(0, |producer| producer.by().1)
    }

    /// What the next request of a process goes over, with what becomes of it.
    fn wire_of(&mut self, id: usize, partition: u32) -> Wire<'_> {
        let fate = self.fate(id);
        Wire {
            broker: &mut self.broker,
            dice: &mut self.net,
            fate,
            process: id,
            partition,
            view: &self.processes[id].view,
            bug: self.bug,
            counts: &mut self.counts,
        }
    }

    /// Lets a client take one step.
    fn wire(
        &mut self,
        id: usize,
        partition: u32,
        step: impl FnOnce(&mut Wire<'_>) -> (Work, Option<crate::client::Producer>),
    ) -> Work {
        let (work, producer) = step(&mut self.wire_of(id, partition));
        if let Some(producer) = producer {
            self.running(id, partition).producer = Some(producer);
        }
        work
    }

    /// How the next request fares.
    fn fate(&mut self, id: usize) -> Fate {
        if self.broker.now_ms < self.processes[id].cut_until_ms {
            return Fate::Cut;
        }
        let after_ms = self.net.pick(&[5, 100, 2_000, 30_000]);
        if self.strikes(Fault::RequestLost, 40) {
            Fate::Lost
        } else if self.strikes(Fault::AnswerLost, 40) {
            Fate::AnswerLost
        } else if self.strikes(Fault::RequestLate, 40) {
            Fate::Late(after_ms)
        } else if self.strikes(Fault::RequestRepeated, 30) {
            Fate::Repeated(after_ms)
        } else if self.strikes(Fault::Refusal, 40) {
            Fate::Refused
        } else {
            Fate::Arrives
        }
    }

    /// A store was written, or not.
    fn written(&mut self, id: usize, partition: u32, input: &Input) -> Result<(), String> {
        let Input::StoreWritten { store, result: Ok(()) } = input else { return Ok(()) };
        if self.processes[id].rotten.contains_key(&partition) {
            return Ok(());
        }
        self.audits[partition as usize].written(&store.store_head())?;
        // The disk syncs now and then by itself.
        if self.dice.one_in(6) {
            self.processes[id].unsynced.remove(&partition);
        }
        Ok(())
    }

    /// The driver learns of an answer.
    fn deliver(
        &mut self,
        id: usize,
        partition: u32,
        kind: &'static str,
        input: Input,
    ) -> Result<(), String> {
        let now_ms = self.broker.now_ms;
        self.event("answer", id, partition, kind.len() as u64);
        let read_fails = matches!(input, Input::RawRead(_)) && self.strikes(Fault::ReadError, 60);
        self.ambient(Some(id));
        self.processes[id].stores.fail_reads(read_fails);
        let told = self.running(id, partition).tell(input, now_ms);
        self.processes[id].stores.fail_reads(false);
        // Not every record makes the fold read something.
        if read_fails && self.running(id, partition).lost_its_store() {
            self.land(Fault::ReadError.word());
        }
        told
    }

    /// A driver ended.
    fn ended(&mut self, id: usize, partition: u32, end: End) -> Result<(), String> {
        let now_ms = self.broker.now_ms;
        let is_leaving = self.processes[id].leaving.is_some();
        let slot = self.processes[id].slots.get_mut(&partition).expect("it is assigned");
        let running = slot.running.take();
        let was_live = running.as_ref().is_some_and(Running::is_live);
        let found_moved = running.as_ref().is_some_and(|running| running.found_moved);
        let orphan = running.and_then(Running::into_orphan);
        self.processes[id].orphans.extend(orphan.map(|committing| (partition, committing)));
        let slot = self.processes[id].slots.get_mut(&partition).expect("it is assigned");
        slot.failures = if was_live { 0 } else { slot.failures + 1 };
        slot.restarts_ms = match is_leaving {
            true => u64::MAX,
            false => now_ms + (100 << slot.failures.min(6)),
        };
        let what = match end {
            End::Stopped => "driver stopped",
            End::Lost(Lost::Defect(what)) => return Err(format!("defect: {what}")),
            End::Lost(Lost::NotOwner { .. }) => "lost: not the owner",
            End::Lost(Lost::Fenced) => "lost: fenced",
            End::Lost(Lost::NotAssigned) => "lost: not assigned",
            End::Lost(Lost::Store(_)) => "lost: store",
            End::Lost(Lost::SwapUndone(_)) => "lost: swap undone",
            End::Lost(_) => "lost: log",
            End::Refused(refusal @ Refusal::OffsetMoved { .. }) if found_moved => {
                slot.refused = Some(refusal);
                "refused: offset moved"
            }
            End::Refused(refusal) => return Err(format!("refused: {refusal}")),
        };
        self.land(what);
        self.event(what, id, partition, 0);
        Ok(())
    }

    fn has(&self, bug: PortBug) -> bool {
        self.bug == Some(Planted::Port(bug))
    }
}

/// It reads from the log by itself. What a client sends for it has a fate of its own.
fn asks_the_log(command: &Command) -> bool {
    matches!(command, Command::ReadBounds | Command::ReadLastOutputs | Command::ReadRaw { .. })
}

/// The disk refused to write something.
fn is_refused_write(input: &Input) -> bool {
    use tickfold_store::Error::Io;
    matches!(
        input,
        Input::StoreOpened(Err(Io { .. }))
            | Input::Rejected(Err(Io { .. }))
            | Input::Restored(Err(Io { .. }))
            | Input::Succeeded(Err(Io { .. }))
            | Input::StoreWritten { result: Err(Io { .. }), .. }
            | Input::Checkpointed { result: Err(Io { .. }), .. }
    )
}

/// How a commit, swap or claim came out, if it is one.
fn outcome(input: &Input) -> Option<&'static str> {
    use tickfold_log::CommitError;
    Some(match input {
        Input::CommitDone(Ok(())) => "commit done",
        Input::CommitDone(Err(CommitError::Aborted { .. })) => "commit aborted",
        Input::CommitDone(Err(CommitError::Fenced)) => "commit fenced",
        Input::CommitDone(Err(_)) => "commit unclear",
        Input::Succeeded(Ok(_)) => "swapped",
        Input::Claimed(Ok(_)) => "claimed",
        Input::Claimed(Err(_)) => "claim failed",
        _ => return None,
    })
}
