//! A world for drivers: one log, processes with their own disks, a clock moved by hand. Executes
//! commands one by one and in any order, and delivers their answers when it is told, so that a
//! test decides what happens between any two.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use tickfold_log::mem::MemOwned;
use tickfold_log::{CommitError, Error as LogError, MemLog, TopicPartition};
use tickfold_processor::driver::{
    Acceptance, Command, Derived, Driver, Input, Look, Looking, Lost, Progress, Refusal,
};
use tickfold_processor::{
    Address, DerivedTopics, Options, Takeover, raw_topic, source_offset, take_checkpoint,
    topic_specs,
};
use tickfold_store::{MemStores, Stores};

use crate::oracle::{Golden, HERE};
use crate::workload::{NOON_MS, PARTITION, PARTITIONS};

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    /// The one log.
    pub(crate) log: MemLog,
    /// Raw, the partition that is looked at.
    pub(crate) raw: TopicPartition,
    /// The clock that drivers are given.
    pub(crate) now_ms: u64,
    /// Processes, each with its own disk.
    pub(crate) processes: Vec<Process>,
    /// Names of all commands executed.
    pub(crate) trace: Vec<&'static str>,
    /// How often something was folded on top of a commit in flight.
    pub(crate) overlaps: u64,
    /// What a partition that stands still is given.
    pub(crate) takeover: Option<Takeover>,
    /// The greatest position ever committed: a position that expired was emitted all the same.
    emitted_max: Cell<u64>,
    derived: DerivedTopics,
    group: String,
}

/// A process: a disk that survives crashes, and perhaps a running driver.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its disk.
    pub(crate) stores: MemStores,
    /// Options of its drivers.
    pub(crate) options: Arc<Options>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    driver: Driver,
    owned: Option<MemOwned>,
    /// Outstanding, not executed.
    commands: VecDeque<Command>,
    /// Executed, not answered.
    held: Vec<(&'static str, Input)>,
    /// Position of the commit that is not answered.
    committing: Option<u64>,
    /// Something is folded on top of it.
    two_overlays: bool,
}

/// What executing a command came to.
#[derive(Debug)]
pub(crate) enum Executed {
    /// An answer, to be delivered or lost in a crash.
    Answer(Input),
    /// It waits for something that has not come.
    Waits {
        /// Time at which it wakes by itself.
        until: Option<u64>,
    },
    /// The driver is at its end.
    End(End),
}

/// How a driver ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Refused(Refusal),
    Lost(Lost),
    Stopped,
}

/// How a process came to rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// All there is is folded; it waits for more, or until then.
    Idle { until: Option<u64> },
    /// Its driver ended.
    Ended(End),
}

/// Kinds of commands that answer.
pub(crate) const KINDS: [&str; 13] = [
    "claim",
    "open_store",
    "read_bounds",
    "read_last_outputs",
    "read_raw",
    "list_checkpoints",
    "reject",
    "restore",
    "commit",
    "write_store",
    "checkpoint",
    "wait",
    "pause",
];

impl World {
    /// A log with the topics, and so many processes with these options.
    pub(crate) fn new(processes: usize, options: &Options) -> Self {
        let log = MemLog::new(NOON_MS);
        log.ensure_topics_now(&topic_specs("wa", PARTITIONS)).unwrap();
        let process = |n: usize| {
            let address = Address::parse(&format!("http://p{n}")).unwrap();
            let options = Arc::new(Options { address, ..options.clone() });
            Process { stores: MemStores::new(), options, running: None }
        };
        Self {
            log,
            raw: TopicPartition::new(raw_topic("wa"), PARTITION),
            now_ms: 0,
            processes: (0..processes).map(process).collect(),
            trace: Vec::new(),
            overlaps: 0,
            takeover: None,
            emitted_max: Cell::new(0),
            derived: DerivedTopics::new("wa", PARTITION),
            group: options.group.clone(),
        }
    }

    /// One process with default options.
    pub(crate) fn single() -> Self {
        Self::new(1, &Options::default())
    }

    /// Moves both clocks.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.log.set_now_ms(self.log.now_ms() + i64::try_from(ms).unwrap());
    }

    /// Starts a driver on a process.
    pub(crate) fn start(&mut self, process: usize) {
        let driver = Driver::new(Arc::clone(&self.processes[process].options), HERE);
        self.start_driver(process, driver);
    }

    /// Starts one that goes on as a person decided.
    pub(crate) fn start_recovering(&mut self, process: usize, accepted: Acceptance) {
        let options = Arc::clone(&self.processes[process].options);
        self.start_driver(process, Driver::recovering(options, HERE, accepted));
    }

    fn start_driver(&mut self, process: usize, mut driver: Driver) {
        let commands = driver.step(Input::Start, self.now_ms).into();
        self.processes[process].running = Some(Running {
            driver,
            owned: None,
            commands,
            held: Vec::new(),
            committing: None,
            two_overlays: false,
        });
    }

    /// True if the process has a driver.
    pub(crate) fn is_running(&self, process: usize) -> bool {
        self.processes[process].running.is_some()
    }

    /// The process dies where it stands. Its disk stays.
    pub(crate) fn crash(&mut self, process: usize) {
        self.processes[process].running = None;
    }

    /// The kind of the command that [`Self::execute`] would execute; a wait if all wait.
    pub(crate) fn next_kind(&self, process: usize) -> Option<&'static str> {
        let at = self.ready(process).first().copied().unwrap_or(0);
        self.processes[process].running.as_ref()?.commands.get(at).map(Command::kind)
    }

    /// The kind of a command.
    pub(crate) fn kind_of(&self, process: usize, at: usize) -> &'static str {
        self.processes[process].running.as_ref().unwrap().commands[at].kind()
    }

    /// Which commands can be executed now: all but waits for what has not come.
    pub(crate) fn ready(&self, process: usize) -> Vec<usize> {
        let Some(running) = &self.processes[process].running else { return Vec::new() };
        let is_ready = |command: &Command| match command {
            Command::Wait { past, until } => {
                let end = self.log.bounds_now(&self.raw).map_or(u64::MAX, |bounds| bounds.end);
                past.is_some_and(|past| end > past)
                    || until.is_some_and(|until| self.now_ms >= until)
            }
            Command::Pause { until } => self.now_ms >= *until,
            _ => true,
        };
        let commands = running.commands.iter().enumerate();
        commands.filter(|(_, command)| is_ready(command)).map(|(at, _)| at).collect()
    }

    /// True while a commit is not answered.
    pub(crate) fn is_committing(&self, process: usize) -> bool {
        self.processes[process].running.as_ref().is_some_and(|r| r.committing.is_some())
    }

    /// True while something is known to be folded on top of a commit that is not answered.
    pub(crate) fn has_two_overlays(&self, process: usize) -> bool {
        self.processes[process].running.as_ref().is_some_and(|r| r.two_overlays)
    }

    /// How far the driver is.
    pub(crate) fn progress(&self, process: usize) -> Option<Progress> {
        self.processes[process].running.as_ref().map(|running| running.driver.progress())
    }

    /// Executes the first command of a process that does not wait.
    pub(crate) fn execute(&mut self, process: usize) -> Executed {
        if let Some(at) = self.ready(process).first() {
            return self.execute_at(process, *at);
        }
        let commands = &self.processes[process].running.as_ref().unwrap().commands;
        assert!(!commands.is_empty(), "a driver always has something to do");
        let until = commands.iter().filter_map(|command| match command {
            Command::Wait { until, .. } => *until,
            Command::Pause { until } => Some(*until),
            _ => None,
        });
        Executed::Waits { until: until.min() }
    }

    /// Executes one of the commands that are ready.
    pub(crate) fn execute_at(&mut self, process: usize, at: usize) -> Executed {
        let Process { stores, running, .. } = &mut self.processes[process];
        let Running { owned, commands, .. } = running.as_mut().unwrap();
        let command = commands.remove(at).unwrap();
        self.trace.push(command.kind());
        Executed::Answer(match command {
            Command::Claim => {
                *owned = None;
                Input::Claimed(self.log.claim_now(&self.group, &self.raw).map(|(found, claim)| {
                    *owned = Some(claim);
                    found
                }))
            }
            Command::OpenStore => Input::StoreOpened(stores.open(PARTITION)),
            Command::ReadBounds => Input::BoundsRead(self.log.bounds_now(&self.raw)),
            Command::ReadLastOutputs => Input::LastOutputsRead(self.last_outputs()),
            Command::ReadRaw { from, max_records, max_bytes } => {
                Input::RawRead(self.log.read_now(&self.raw, from, max_records, max_bytes))
            }
            Command::LookForNext => Input::NextFound(stores.next_generation(PARTITION)),
            Command::Succeed => {
                let opened = stores.succeed(PARTITION).and_then(|()| stores.open(PARTITION));
                Input::Succeeded(opened)
            }
            Command::StandStill(_) => Input::Released(self.takeover.take().map(Box::new)),
            Command::ListCheckpoints => Input::CheckpointsListed(stores.checkpoints(PARTITION)),
            Command::Reject(reason) => Input::Rejected(stores.reject(PARTITION, reason.as_str())),
            Command::Restore(checkpoint) => Input::Restored(stores.restore(PARTITION, &checkpoint)),
            Command::Commit { outputs, position, .. } => Input::CommitDone(match owned {
                Some(owned) => owned.commit_now(outputs, position),
                None => Err(CommitError::Fenced),
            }),
            Command::WriteStore { mut store, write } => {
                let result = write.apply(&mut *store);
                Input::StoreWritten { store, result }
            }
            Command::Checkpoint { mut store, kept } => {
                let result = take_checkpoint(&mut *store, stores, PARTITION, kept);
                Input::Checkpointed { store, result }
            }
            Command::Wait { .. } => Input::Woken,
            Command::Pause { .. } => Input::Paused,
            Command::Refused(refusal) => return self.end(process, End::Refused(refusal)),
            Command::Lost(lost) => return self.end(process, End::Lost(lost)),
            Command::Stopped => return self.end(process, End::Stopped),
        })
    }

    /// Delivers an answer to the driver.
    pub(crate) fn deliver(&mut self, process: usize, input: Input) {
        let running = self.processes[process].running.as_mut().unwrap();
        if matches!(input, Input::CommitDone(Ok(())) | Input::Claimed(_)) {
            (running.committing, running.two_overlays) = (None, false);
        }
        let commands = running.driver.step(input, self.now_ms);
        for command in &commands {
            if let Command::Commit { position, .. } = command {
                running.committing = Some(position.offset);
            }
        }
        running.commands.extend(commands);
        let outstanding = running.commands.iter().map(Command::kind);
        let outstanding = outstanding.chain(running.held.iter().map(|(kind, _)| *kind));
        // The last one may come beside what it makes void.
        let (raw, batch): (Vec<_>, Vec<_>) = outstanding
            .filter(|kind| KINDS.contains(kind))
            .partition(|kind| matches!(*kind, "read_raw" | "read_bounds" | "wait"));
        assert!(raw.len() <= 1 && batch.len() <= 1, "outstanding at once: {raw:?} {batch:?}");
        // It asks for what comes after the commit, or for nothing since the batch is full.
        let next = running.commands.iter().find_map(|command| match command {
            Command::ReadRaw { from: next, .. } | Command::Wait { past: Some(next), .. } => {
                Some(*next)
            }
            Command::Wait { past: None, .. } => Some(0),
            _ => None,
        });
        let asks = running.held.iter().any(|(kind, _)| matches!(*kind, "read_raw" | "wait"));
        if let Some(position) = running.committing
            && next.map_or(!asks, |next| next > position)
        {
            self.overlaps += u64::from(!running.two_overlays);
            running.two_overlays = true;
        }
    }

    /// Kinds of the commands that are not answered.
    pub(crate) fn outstanding(&self, process: usize) -> Vec<&'static str> {
        let commands = self.processes[process].running.iter().flat_map(|of| &of.commands);
        commands.map(Command::kind).collect()
    }

    /// Gives the driver something that it may not have asked for.
    pub(crate) fn feed(&mut self, process: usize, input: Input) -> Vec<Command> {
        self.processes[process].running.as_mut().unwrap().driver.step(input, self.now_ms)
    }

    /// Keeps an answer back.
    pub(crate) fn hold(&mut self, process: usize, kind: &'static str, input: Input) {
        self.processes[process].running.as_mut().unwrap().held.push((kind, input));
    }

    /// How many answers are kept back.
    pub(crate) fn held(&self, process: usize) -> usize {
        self.processes[process].running.as_ref().map_or(0, |running| running.held.len())
    }

    /// Gives out an answer that was kept back, to be delivered.
    pub(crate) fn release(&mut self, process: usize, at: usize) -> (&'static str, Input) {
        self.processes[process].running.as_mut().unwrap().held.remove(at)
    }

    /// Tells the driver to stop.
    pub(crate) fn stop(&mut self, process: usize) {
        self.tell(process, Input::Stop);
    }

    /// Tells the driver that the partition is taken away.
    pub(crate) fn take_away(&mut self, process: usize) {
        self.tell(process, Input::TakenAway);
    }

    fn tell(&mut self, process: usize, input: Input) {
        let running = self.processes[process].running.as_mut().unwrap();
        let stopped = running.driver.step(input, self.now_ms);
        if !stopped.is_empty() {
            // What was outstanding is void.
            running.commands.clear();
            running.held.clear();
            running.commands.extend(stopped);
        }
    }

    /// Lets a process run until it waits or ends, without faults.
    pub(crate) fn settle(&mut self, process: usize) -> Rest {
        for _ in 0..20_000 {
            match self.execute(process) {
                Executed::Answer(input) => self.deliver(process, input),
                Executed::Waits { until } => return Rest::Idle { until },
                Executed::End(end) => return Rest::Ended(end),
            }
            self.state_is_not_ahead().unwrap();
        }
        panic!("process {process} does not come to rest");
    }

    /// Starts a process and lets it run until it waits or ends.
    pub(crate) fn start_and_settle(&mut self, process: usize) -> Rest {
        self.start(process);
        self.settle(process)
    }

    /// Runs until the next command of the process is of this kind.
    pub(crate) fn run_to(&mut self, process: usize, kind: &str) {
        for _ in 0..20_000 {
            if self.next_kind(process) == Some(kind) {
                return;
            }
            match self.execute(process) {
                Executed::Answer(input) => self.deliver(process, input),
                other => panic!("{other:?} before {kind}"),
            }
        }
        panic!("no {kind}");
    }

    /// The committed position; 0 if there is none.
    pub(crate) fn emitted(&self) -> u64 {
        self.log.committed(&self.group, &self.raw).map_or(0, |committed| committed.offset)
    }

    /// Text of the token at the committed position.
    pub(crate) fn token(&self) -> String {
        self.log.committed(&self.group, &self.raw).expect("a position").metadata
    }

    /// Puts the committed position elsewhere.
    pub(crate) fn set_committed(&self, to: Option<(u64, String)>) {
        let to = to.map(|(offset, metadata)| tickfold_log::Committed { offset, metadata });
        self.log.set_committed(&self.group, &self.raw, to);
    }

    /// Cursor of a process's store; 0 if there is none.
    pub(crate) fn cursor(&self, process: usize) -> u64 {
        let view = self.processes[process].stores.view(PARTITION);
        let snapshot = view.snapshot().ok().flatten();
        snapshot.map_or(0, |snapshot| snapshot.store_head().cursor)
    }

    /// state ≤ emitted, for every process. To be called after every command.
    pub(crate) fn state_is_not_ahead(&self) -> Result<(), String> {
        let emitted = self.emitted_max.get().max(self.emitted());
        self.emitted_max.set(emitted);
        for process in 0..self.processes.len() {
            let cursor = self.cursor(process);
            if cursor > emitted {
                return Err(format!("store of process {process} at {cursor}, log at {emitted}"));
            }
        }
        Ok(())
    }

    /// From here on a store may stand up to there: it came from elsewhere.
    pub(crate) fn tolerate_store_at(&self, at: u64) {
        self.emitted_max.set(at);
    }

    /// Outputs, position and the store of the process equal the golden fold.
    pub(crate) fn equals_golden(&self, process: usize) -> Result<(), String> {
        self.equals(&Golden::of(&self.log), process)
    }

    /// The same, with the golden fold at hand.
    pub(crate) fn equals(&self, golden: &Golden, process: usize) -> Result<(), String> {
        if let Err((difference, text)) = golden.compare_outputs(&self.log) {
            return Err(format!("outputs differ: {difference:?}, {text}"));
        }
        if self.emitted() != golden.head.cursor {
            return Err(format!("log at {}, golden at {}", self.emitted(), golden.head.cursor));
        }
        let stores = &self.processes[process].stores;
        let snapshot = stores.view(PARTITION).snapshot().map_err(|error| error.to_string())?;
        let snapshot = snapshot.ok_or("no store")?;
        let head = snapshot.store_head();
        if head != golden.head {
            return Err(format!(
                "store of process {process} at {head:?}, golden {:?}",
                golden.head
            ));
        }
        if stores.dump(PARTITION) != golden.dump {
            return Err(format!("rows of the store of process {process} differ"));
        }
        Ok(())
    }

    /// Looks at the partition from a process.
    pub(crate) fn look(&self, process: usize) -> Look {
        let stores = &self.processes[process].stores;
        let mut looking = Looking::new(HERE, self.log.committed(&self.group, &self.raw));
        loop {
            let question = match looking.next() {
                Ok(look) => return look,
                Err(question) => question,
            };
            let answer = match question {
                Command::LookForNext => Input::NextFound(stores.next_generation(PARTITION)),
                Command::OpenStore => Input::StoreOpened(stores.open(PARTITION)),
                Command::ReadBounds => Input::BoundsRead(self.log.bounds_now(&self.raw)),
                Command::ReadLastOutputs => Input::LastOutputsRead(self.last_outputs()),
                Command::ReadRaw { from, max_records, max_bytes } => {
                    Input::RawRead(self.log.read_now(&self.raw, from, max_records, max_bytes))
                }
                Command::ListCheckpoints => Input::CheckpointsListed(stores.checkpoints(PARTITION)),
                other => panic!("a look asks no {}", other.kind()),
            };
            looking.answer(answer).unwrap();
        }
    }

    fn end(&mut self, process: usize, end: End) -> Executed {
        self.processes[process].running = None;
        Executed::End(end)
    }

    fn last_outputs(&self) -> Result<Derived, LogError> {
        let mut derived = Derived::default();
        for place in self.derived.places() {
            derived.had_records |= self.log.bounds_now(place)?.end > 0;
            let last = self.log.last_record_now(place)?;
            let source = last.as_ref().and_then(source_offset);
            derived.highest_source = derived.highest_source.max(source);
        }
        Ok(derived)
    }
}
