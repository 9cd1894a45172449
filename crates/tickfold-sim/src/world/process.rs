//! A process: its disk, its place in the group, and a driver per partition with the shell's duties
//! around it. What is under way is done in any order, each step of it by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickfold_core::fold::Partition;
use tickfold_log::{CommitError, Error as LogError};
use tickfold_processor::driver::{Command, Derived, Driver, Input, Lost, Progress, Refusal};
use tickfold_processor::{Options, source_offset, take_checkpoint};
use tickfold_store::{MemStores, Stores};

use crate::broker::{Broker, RAW};
use crate::bug::{Planted, PortBug};
use crate::client::{Claiming, Committing, Producer, View, Writing};

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) options: Arc<Options>,
    pub(crate) stores: MemStores,
    pub(crate) is_alive: bool,
    /// It stands still until then.
    pub(crate) paused_until_ms: u64,
    /// It reaches no broker until then.
    pub(crate) cut_until_ms: u64,
    /// Its disk takes no writes until then.
    pub(crate) full_until_ms: u64,
    /// It says that it lives then.
    pub(crate) beats_ms: u64,
    /// It is started then.
    pub(crate) starts_ms: u64,
    /// It is on its way out: what it does then.
    pub(crate) leaving: Option<Leaving>,
    pub(crate) view: View,
    pub(crate) slots: BTreeMap<u32, Slot>,
    /// Commits whose driver is gone: the client gets on with them all the same.
    pub(crate) orphans: Vec<(u32, Committing)>,
    /// Store batches that a power loss would take, by partition.
    pub(crate) unsynced: BTreeMap<u32, usize>,
    /// The digest of the store was changed by the disk.
    pub(crate) rotten: BTreeMap<u32, bool>,
    /// Partitions that are folded once more beside their stores.
    pub(crate) shadows: BTreeMap<u32, MemStores>,
    /// How many of them were prepared to take the place of the store, by partition.
    pub(crate) turns: BTreeMap<u32, u64>,
    /// How far its clock is off, in milliseconds.
    pub(crate) skew_ms: i64,
}

/// What a process does once all its drivers stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It tells the group that it is gone.
    Leave,
    /// It comes back under its name.
    Restart,
}

/// A partition that is assigned to a process.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) running: Option<Running>,
    /// When a lost one is started anew.
    pub(crate) restarts_ms: u64,
    pub(crate) failures: u32,
    pub(crate) refused: Option<Refusal>,
    /// It is to be given back by then.
    pub(crate) revoked_until_ms: Option<u64>,
}

/// A driver and what it has outstanding.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) driver: Driver,
    pub(crate) producer: Option<Producer>,
    pub(crate) works: Vec<Work>,
    /// Its claim found a position that an operator had moved. By now it may be put back.
    pub(crate) found_moved: bool,
    pub(crate) owes: Owes,
}

/// What a driver was asked for and has not done. It may end before, and owes nothing then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owes {
    /// To stand still.
    pub(crate) stand: bool,
    /// To take the store that it was given.
    pub(crate) swap: bool,
    /// A checkpoint.
    pub(crate) checkpoint: bool,
}

/// A command on its way to its answer.
#[derive(Debug)]
pub(crate) enum Work {
    Todo(Command),
    Claim(Claiming),
    Commit(Committing),
    Write(Writing),
    /// Answered; the driver does not know yet.
    Done(&'static str, Input),
}

/// How a driver ended.
#[derive(Debug)]
pub(crate) enum End {
    Refused(Refusal),
    Lost(Lost),
    Stopped,
}

impl Work {
    fn kind(&self) -> &'static str {
        match self {
            Self::Todo(command) => command.kind(),
            Self::Claim(_) => "claim",
            Self::Commit(_) | Self::Write(_) => "commit",
            Self::Done(kind, _) => kind,
        }
    }

    /// It can go on now.
    pub(crate) fn is_ready(&self, broker: &Broker, partition: u32) -> bool {
        match self {
            Self::Todo(Command::Wait { past, until }) => {
                let more = |past: &u64| broker.part(RAW, partition).visible(*past).next().is_some();
                past.as_ref().is_some_and(more) || until.is_some_and(|until| broker.now_ms >= until)
            }
            Self::Todo(Command::Pause { until }) => broker.now_ms >= *until,
            Self::Claim(claiming) => broker.now_ms >= claiming.again_ms(),
            Self::Commit(committing) => broker.now_ms >= committing.again_ms(),
            _ => true,
        }
    }

    /// When time alone makes it ready.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        match self {
            Self::Todo(Command::Wait { until, .. }) => *until,
            Self::Todo(Command::Pause { until }) => Some(*until),
            Self::Claim(claiming) => Some(claiming.again_ms()),
            Self::Commit(committing) => Some(committing.again_ms()),
            _ => None,
        }
    }
}

impl Running {
    pub(crate) fn start(options: &Arc<Options>, partition: Partition, now_ms: u64) -> Self {
        let mut driver = Driver::new(Arc::clone(options), partition);
        let works = driver.step(Input::Start, now_ms).into_iter().map(Work::Todo).collect();
        Self { driver, producer: None, works, found_moved: false, owes: Owes::default() }
    }

    /// Tells the driver something and takes its commands.
    pub(crate) fn tell(&mut self, input: Input, now_ms: u64) -> Result<(), String> {
        let is_end = matches!(input, Input::Stop | Input::TakenAway);
        let commands = self.driver.step(input, now_ms);
        if is_end && !commands.is_empty() {
            // What was outstanding is void.
            self.works.clear();
        }
        self.works.extend(commands.into_iter().map(Work::Todo));
        let ends = |kind: &str| matches!(kind, "refused" | "lost" | "stopped");
        let kinds = self.works.iter().map(Work::kind).filter(|kind| !ends(kind));
        let (raw, batch): (Vec<_>, Vec<_>) =
            kinds.partition(|kind| matches!(*kind, "read_raw" | "read_bounds" | "wait"));
        if raw.len() > 1 || batch.len() > 1 {
            return Err(format!("outstanding at once: {raw:?} {batch:?}"));
        }
        if self.works.is_empty() && self.driver.progress() != Progress::Over {
            return Err("a driver has nothing to do and is not over".to_owned());
        }
        Ok(())
    }

    /// The driver folds and commits new records.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.driver.progress(), Progress::Live { .. })
    }

    /// The driver ended, since its store failed.
    pub(crate) fn lost_its_store(&self) -> bool {
        let is_lost = |work: &Work| matches!(work, Work::Todo(Command::Lost(Lost::Store(_))));
        self.works.iter().any(is_lost)
    }

    /// An operator has the partition in hand.
    pub(crate) fn stands(&self) -> bool {
        self.works.iter().any(|work| work.kind() == "stand_still")
    }

    /// The commit that is under way, if there is one.
    pub(crate) fn into_orphan(self) -> Option<Committing> {
        self.works.into_iter().find_map(|work| match work {
            Work::Commit(committing) => Some(committing),
            _ => None,
        })
    }

    /// A commit is under way.
    pub(crate) fn is_committing(&self) -> bool {
        self.works.iter().any(|work| matches!(work, Work::Commit(_) | Work::Write(_)))
    }

    /// A live driver claims anew, to find out about a commit.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let is_claim = |work: &Work| matches!(work, Work::Claim(_) | Work::Todo(Command::Claim));
        self.is_live() && self.works.iter().any(is_claim)
    }

    /// Records were read and perhaps folded on top of a commit that is under way.
    pub(crate) fn overlaps(&self) -> bool {
        let is_wait = |work: &Work| matches!(work, Work::Todo(Command::Wait { .. }));
        self.is_committing() && self.works.iter().any(is_wait)
    }
}

impl Process {
    pub(crate) fn new(id: usize, options: Options) -> Self {
        let skew_ms = i64::try_from(id).expect("few") * 3_600_000;
        Self {
            options: Arc::new(options),
            stores: MemStores::new(),
            is_alive: false,
            paused_until_ms: 0,
            cut_until_ms: 0,
            full_until_ms: 0,
            beats_ms: 0,
            starts_ms: 0,
            leaving: None,
            view: View::default(),
            slots: BTreeMap::new(),
            orphans: Vec::new(),
            unsynced: BTreeMap::new(),
            rotten: BTreeMap::new(),
            shadows: BTreeMap::new(),
            turns: BTreeMap::new(),
            skew_ms,
        }
    }

    /// It runs and reaches the brokers.
    pub(crate) fn is_healthy(&self, now_ms: u64) -> bool {
        self.is_running(now_ms) && now_ms >= self.cut_until_ms
    }

    /// It runs.
    pub(crate) fn is_running(&self, now_ms: u64) -> bool {
        self.is_alive && now_ms >= self.paused_until_ms
    }

    /// Its disk is empty, checkpoints and all.
    pub(crate) fn lose_everything(&mut self) {
        self.stores = MemStores::new();
        self.rotten.clear();
        self.unsynced.clear();
        self.shadows.clear();
    }

    /// It dies where it stands; its disk stays.
    pub(crate) fn die(&mut self) {
        self.slots.clear();
        self.orphans.clear();
        self.view = View::default();
        (self.is_alive, self.leaving) = (false, None);
    }

    /// The cursor of a store; 0 if there is none.
    pub(crate) fn cursor(&self, partition: u32) -> u64 {
        let snapshot = self.stores.view(partition).snapshot().ok().flatten();
        snapshot.map_or(0, |snapshot| snapshot.store_head().cursor)
    }

    /// Does a command that needs no step of a client.
    pub(crate) fn execute(
        &mut self,
        broker: &Broker,
        partition: u32,
        command: Command,
        bug: Option<Planted>,
    ) -> Result<Input, End> {
        let stores = &self.stores;
        stores.fail_writes(broker.now_ms < self.full_until_ms);
        let away = || LogError::Unavailable { reason: "cut off".to_owned() };
        let is_cut = broker.now_ms < self.cut_until_ms;
        let reached = |()| if is_cut { Err(away()) } else { Ok(()) };
        let done = match command {
            Command::OpenStore => Input::StoreOpened(stores.open(partition)),
            Command::ReadBounds => {
                Input::BoundsRead(reached(()).map(|()| broker.bounds(RAW, partition)))
            }
            Command::ReadLastOutputs => {
                Input::LastOutputsRead(reached(()).map(|()| last_outputs(broker, partition)))
            }
            Command::ReadRaw { from, max_records, max_bytes } => {
                let all = bug == Some(Planted::Port(PortBug::ReadsUncommitted));
                Input::RawRead(reached(()).map(|()| match all {
                    true => {
                        let records = broker.part(RAW, partition).uncommitted(from);
                        records.take(max_records).cloned().collect()
                    }
                    false => broker.read(RAW, partition, from, max_records, max_bytes),
                }))
            }
            Command::LookForNext => Input::NextFound(stores.next_generation(partition)),
            Command::Succeed => {
                let succeeded = stores.succeed(partition);
                if succeeded.is_ok() {
                    self.rotten.remove(&partition);
                    self.unsynced.remove(&partition);
                }
                Input::Succeeded(succeeded.and_then(|()| stores.open(partition)))
            }
            Command::ListCheckpoints => Input::CheckpointsListed(stores.checkpoints(partition)),
            Command::Reject(reason) => {
                let rejected = stores.reject(partition, reason.as_str());
                if rejected.is_ok() {
                    self.rotten.remove(&partition);
                    self.unsynced.remove(&partition);
                }
                Input::Rejected(rejected)
            }
            Command::Restore(checkpoint) => Input::Restored(stores.restore(partition, &checkpoint)),
            Command::WriteStore { mut store, write } => {
                let result = write.apply(&mut *store);
                *self.unsynced.entry(partition).or_default() += usize::from(result.is_ok());
                Input::StoreWritten { store, result }
            }
            Command::Checkpoint { mut store, kept } => {
                let result = take_checkpoint(&mut *store, stores, partition, kept);
                if result.is_ok() {
                    self.unsynced.remove(&partition);
                }
                Input::Checkpointed { store, result }
            }
            Command::Wait { .. } => Input::Woken,
            Command::Pause { .. } => Input::Paused,
            // Those of a client come here only without a claim, and of an operator not at all.
            Command::StandStill(_) => Input::Released(None),
            Command::Claim => Input::Claimed(Err(away())),
            Command::Commit { .. } => Input::CommitDone(Err(CommitError::Fenced)),
            Command::Refused(refusal) => return Err(End::Refused(refusal)),
            Command::Lost(lost) => return Err(End::Lost(lost)),
            Command::Stopped => return Err(End::Stopped),
        };
        Ok(done)
    }
}

fn last_outputs(broker: &Broker, partition: u32) -> Derived {
    let mut derived = Derived::default();
    for topic in tickfold_core::records::Topic::ALL.map(Broker::topic) {
        derived.had_records |= broker.bounds(topic, partition).end > 0;
        let last = broker.part(topic, partition).visible(0).next_back();
        derived.highest_source = derived.highest_source.max(last.and_then(source_offset));
    }
    derived
}
