//! Seeded runs: two processes fight over one partition, crash after any command and before any
//! answer, lose newest store batches or whole stores, and meet every outcome of a commit. Commands
//! are executed and answered in any order, so that folding and commits overlap in every way.
//! Whatever happened, the outputs equal the golden fold byte for byte, and so do the stores.
//!
//! `TICKFOLD_SEED=n` runs one seed, `TICKFOLD_SEEDS=n` the first n instead of the usual number.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tickfold_core::records::Topic;
use tickfold_log::mem::CommitFault;
use tickfold_log::{CommitError, Error as LogError, MemLog};
use tickfold_processor::driver::{Input, Lost};
use tickfold_processor::{Options, derived_topic};
use tickfold_store::Stores;

use crate::oracle::{Difference, Golden};
use crate::rng::Rng;
use crate::workload::{PARTITION, Traffic, Workload};
use crate::world::{End, Executed, KINDS, World};

/// Faults that a run met, by name: attempted and landed.
pub(crate) type Faults = BTreeMap<String, (u64, u64)>;

/// A run that came to its end.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Faults,
    pub(crate) outputs: usize,
    pub(crate) commands: usize,
    /// See [`World::overlaps`].
    pub(crate) overlaps: u64,
    /// What was told, as [`reactions`] counts it.
    pub(crate) told: BTreeMap<String, u64>,
    /// Actions told more than once. After a forgotten message there may be some.
    pub(crate) repeated: usize,
}

/// A run that broke a promise.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) difference: Difference,
    pub(crate) faults: Faults,
    /// As in [`Report`].
    pub(crate) repeated: usize,
}

const COMMIT_FAULTS: [(&str, CommitFault); 4] = [
    ("commit aborted", CommitFault::Aborted),
    ("commit unclear, applied", CommitFault::UnclearApplied),
    ("commit unclear, not applied", CommitFault::UnclearNotApplied),
    ("commit unclear, applied late", CommitFault::UnclearAppliedLate),
];

const OTHER_FAULTS: [&str; 14] = [
    "crash with two overlays",
    "stopped with two overlays",
    "fenced by the other owner",
    "overtaken while in doubt",
    "newest store batches lost",
    "store wiped",
    "store write fails",
    "store read fails",
    "group offset expired",
    "checkpoint taken",
    "checkpoint fails",
    "stopped while waiting",
    "stopped while committing",
    "taken away while committing",
];

struct Run {
    world: World,
    rng: Rng,
    traffic: Box<dyn Traffic>,
    chaos: bool,
    faults: Faults,
}

/// Runs a seed; `chaos` off is the null control.
pub(crate) fn run(seed: u64, options: &Options, chaos: bool) -> Result<Report, Failure> {
    run_with(Box::new(Workload::new()), seed, options, chaos)
}

/// The same with other traffic.
pub(crate) fn run_with(
    traffic: Box<dyn Traffic>,
    seed: u64,
    options: &Options,
    chaos: bool,
) -> Result<Report, Failure> {
    let mut rng = Rng::new(seed);
    let options = Options {
        batch_records_max: usize::try_from(rng.pick(&[1, 2, 5, 100_u64])).unwrap(),
        batch_outputs_max: usize::try_from(rng.pick(&[4, 12, 20_000_u64])).unwrap(),
        tick_commit_interval_ms: 1_000,
        checkpoint_interval_ms: rng.pick(&[None, Some(300), Some(2_000)]),
        checkpoints_kept: usize::try_from(rng.pick(&[1, 3_u64])).unwrap(),
        ..options.clone()
    };
    let world = World::new(2, &options);
    let mut run = Run { world, rng, traffic, chaos, faults: Faults::new() };
    let fought = run.fight();
    // Nothing is appended any more.
    let golden = Golden::of(&run.world.log);
    let result = fought.and_then(|()| run.heal(&golden));
    let (told, repeated) = reactions(&run.world.log);
    match result {
        Ok(()) => Ok(Report {
            faults: run.faults,
            outputs: golden.outputs(),
            commands: run.world.trace.len(),
            overlaps: run.world.overlaps,
            told,
            repeated,
        }),
        Err(text) => {
            let difference = golden.compare_outputs(&run.world.log).err().unwrap_or_default().0;
            Err(Failure { text, difference, faults: run.faults, repeated })
        }
    }
}

/// What was told: kinds of actions and alerts and reasons of dead letters, with their number; and
/// how many actions there are more than ids.
fn reactions(log: &MemLog) -> (BTreeMap<String, u64>, usize) {
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    let (mut ids, mut actions) = (BTreeSet::new(), 0);
    for topic in [Topic::Action, Topic::Alert, Topic::DeadLetter] {
        let word = if topic == Topic::DeadLetter { "reason" } else { "kind" };
        for record in log.records(&derived_topic("wa", topic), PARTITION) {
            let value: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
            *told.entry(value[word].as_str().unwrap().to_owned()).or_default() += 1;
            if topic == Topic::Action {
                actions += 1;
                ids.insert(value["action_id"].as_str().unwrap().to_owned());
                let later = value["rules_version"].as_u64() > Some(1);
                *told.entry("by later rules".to_owned()).or_default() += u64::from(later);
            }
        }
    }
    told.retain(|_, count| *count > 0);
    (told, actions - ids.len())
}

impl Run {
    fn fight(&mut self) -> Result<(), String> {
        for _ in 0..180 + self.rng.below(220) {
            match self.rng.below(20) {
                0 => {
                    for _ in 0..=self.rng.below(3) {
                        self.traffic.append_one(&self.world.log, &mut self.rng);
                    }
                }
                1 => {
                    let ms = self.traffic.pause_ms(&mut self.rng);
                    self.world.pass(ms);
                }
                2..=4 if self.chaos => {
                    // While one is in doubt the other gets time to overtake it.
                    let in_doubt = self.world.next_kind(0) == Some("claim");
                    let turns = if in_doubt && self.rng.one_in(3) { 60 } else { 1 };
                    for _ in 0..turns {
                        self.turn(1)?;
                    }
                }
                _ => _ = self.turn(0)?,
            }
        }
        Ok(())
    }

    /// No more faults: one process gets everything done, then the other takes over.
    fn heal(&mut self, golden: &Golden) -> Result<(), String> {
        self.chaos = false;
        self.world.crash(1);
        for process in [0, 1] {
            let mut turns = 0;
            loop {
                turns += 1;
                if turns > 10_000 {
                    return Err("the healed world does not come to rest".to_owned());
                }
                let idle = self.turn(process)?;
                let end = self.world.log.bounds_now(&self.world.raw).unwrap().end;
                match idle {
                    true if self.world.emitted() == end && self.world.cursor(process) == end => {
                        break;
                    }
                    true => self.world.pass(1_000),
                    false => {}
                }
            }
            self.world.equals(golden, process)?;
        }
        Ok(())
    }

    /// One command of a process or one answer, and perhaps a fault; true if it waits.
    fn turn(&mut self, process: usize) -> Result<bool, String> {
        if !self.world.is_running(process) {
            if process == 0 || !self.chaos || self.rng.one_in(12) {
                self.world.start(process);
            }
            return Ok(false);
        }
        if self.chaos && self.world.is_committing(process) && self.rng.one_in(60) {
            self.note("stopped while committing", true);
            if self.world.has_two_overlays(process) {
                self.note("stopped with two overlays", true);
            }
            self.world.stop(process);
            return Ok(false);
        }
        if self.chaos && self.world.is_committing(process) && self.rng.one_in(80) {
            self.note("taken away while committing", true);
            self.world.take_away(process);
            return Ok(false);
        }
        let (ready, held) = (self.world.ready(process), self.world.held(process));
        if held > 0 && (ready.is_empty() || self.rng.one_in(2)) {
            let at = usize::try_from(self.rng.below(held as u64)).unwrap();
            self.answer(process, at);
            return Ok(false);
        }
        if ready.is_empty() {
            // A crash while waiting, or being told to stop, changes nothing either.
            if self.chaos && self.rng.one_in(8) {
                let kind = self.world.next_kind(process).expect("it waits");
                self.crash(process, kind);
            } else if self.chaos && self.rng.one_in(12) {
                self.note("stopped while waiting", true);
                self.world.stop(process);
            }
            return Ok(true);
        }
        let at = self.rng.pick(&ready);
        self.execute(process, at)?;
        Ok(false)
    }

    /// Executes a command, and keeps its answer back.
    fn execute(&mut self, process: usize, at: usize) -> Result<(), String> {
        let kind = self.world.kind_of(process, at);
        let fault = self.before(process, kind);
        let executed = self.world.execute_at(process, at);
        self.world.log.forget_commit_faults();
        self.world.processes[process].stores.fail_writes(false);
        let input = match executed {
            Executed::Answer(input) => input,
            Executed::Waits { .. } => return Err(format!("{kind} was ready and waits")),
            Executed::End(end) => return self.ended(&end),
        };
        self.world.state_is_not_ahead()?;
        if let Some(fault) = fault {
            let landed = matches!(
                &input,
                Input::CommitDone(Err(CommitError::Aborted { .. } | CommitError::Unclear { .. }))
                    | Input::StoreWritten { result: Err(_), .. }
                    | Input::Checkpointed { result: Err(_), .. }
            );
            self.note(fault, landed);
        }
        if matches!(input, Input::CommitDone(Err(CommitError::Fenced))) {
            self.note("fenced by the other owner", true);
        }
        if self.chaos && self.rng.one_in(16) {
            drop(input);
            self.crash(process, kind);
        } else {
            self.world.hold(process, kind, input);
        }
        Ok(())
    }

    /// Delivers an answer.
    fn answer(&mut self, process: usize, at: usize) {
        let (kind, input) = self.world.release(process, at);
        if self.chaos && self.rng.one_in(40) {
            drop(input);
            self.crash(process, kind);
            return;
        }
        let read_fails = self.chaos && matches!(input, Input::RawRead(_)) && self.rng.one_in(30);
        self.world.processes[process].stores.fail_reads(read_fails);
        self.world.deliver(process, input);
        self.world.processes[process].stores.fail_reads(false);
        if read_fails {
            let landed = self.world.next_kind(process) == Some("lost");
            self.note("store read fails", landed);
        }
    }

    /// A fault for the command that comes, if the dice say so.
    fn before(&mut self, process: usize, kind: &str) -> Option<&'static str> {
        if !self.chaos {
            return None;
        }
        match kind {
            "commit" if self.rng.one_in(5) => {
                let (name, fault) = self.rng.pick(&COMMIT_FAULTS);
                self.world.log.fail_next_commit(fault);
                Some(name)
            }
            "write_store" if self.rng.one_in(15) => {
                self.world.processes[process].stores.fail_writes(true);
                Some("store write fails")
            }
            "checkpoint" if self.rng.one_in(4) => {
                self.world.processes[process].stores.fail_writes(true);
                Some("checkpoint fails")
            }
            _ => None,
        }
    }

    /// The process dies after a command was executed and before it saw the answer; sometimes the
    /// disk loses something too.
    fn crash(&mut self, process: usize, kind: &'static str) {
        self.note(&format!("crash after {kind}"), true);
        if self.world.has_two_overlays(process) {
            self.note("crash with two overlays", true);
        }
        self.world.crash(process);
        let stores = self.world.processes[process].stores.clone();
        let before = self.world.cursor(process);
        match self.rng.below(10) {
            0 | 1 => {
                let batches = 1 + usize::try_from(self.rng.below(4)).unwrap();
                stores.lose_last_batches(PARTITION, batches);
                let landed = self.world.cursor(process) < before;
                self.note("newest store batches lost", landed);
            }
            2 => {
                stores.wipe(PARTITION);
                self.note("store wiped", before > 0);
            }
            3 => {
                let checkpoint = stores.open(PARTITION).and_then(|mut store| store.checkpoint());
                self.note("checkpoint taken", checkpoint.is_ok());
            }
            4 if self.rng.one_in(3) => {
                // While another owner may be at work: it is fenced or overwrites it.
                let landed = self.world.emitted() > 0;
                let other = self.world.is_running(1 - process);
                if landed && !other && self.rng.one_in(2) {
                    self.world.set_committed(None);
                    self.note("group offset expired", true);
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, end: &End) -> Result<(), String> {
        match end {
            End::Refused(refusal) => Err(format!("refused: {refusal}")),
            End::Lost(Lost::Defect(what)) => Err(format!("defect: {what}")),
            End::Lost(Lost::NotOwner { .. }) => {
                self.note("overtaken while in doubt", true);
                Ok(())
            }
            End::Lost(_) | End::Stopped => Ok(()),
        }
    }

    fn note(&mut self, fault: &str, landed: bool) {
        let (attempted, hits) = self.faults.entry(fault.to_owned()).or_default();
        *attempted += 1;
        *hits += u64::from(landed);
    }
}

/// The seeds to run: 0.. so many, unless the environment says otherwise.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("TICKFOLD_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("TICKFOLD_SEEDS").unwrap_or(count)).collect(),
    }
}

/// Adds the rows to the table of a soak, if this is one.
fn append_to_soak_table(table: &BTreeMap<String, Line>) {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") else { return };
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    for (fault, Line { attempted, landed, lost, twice }) in table {
        writeln!(file, "| driver: {fault} | {attempted} | {landed} | {lost} | {twice} |").unwrap();
    }
}

#[derive(Debug, Default)]
struct Line {
    attempted: u64,
    landed: u64,
    lost: usize,
    twice: usize,
}

#[test]
fn seeded_runs_equal_the_golden_fold() {
    let seeds = seeds(500);
    let mut table: BTreeMap<String, Line> = BTreeMap::new();
    let crashes = KINDS.iter().map(|kind| format!("crash after {kind}"));
    let names = COMMIT_FAULTS.iter().map(|(name, _)| *name).chain(OTHER_FAULTS);
    for name in crashes.chain(names.map(str::to_owned)) {
        table.insert(name, Line::default());
    }
    let (mut outputs, mut commands, mut failures) = (0, 0, Vec::new());
    let (mut overlaps, mut overlapped) = (0, 0);
    for &seed in &seeds {
        let (faults, difference) = match run(seed, &Options::default(), true) {
            Ok(report) => {
                outputs += report.outputs;
                commands += report.commands;
                overlaps += report.overlaps;
                overlapped += usize::from(report.overlaps > 0);
                (report.faults, Difference::default())
            }
            Err(failure) => {
                failures.push(format!("TICKFOLD_SEED={seed}: {}", failure.text));
                (failure.faults, failure.difference)
            }
        };
        for (fault, (attempted, landed)) in faults {
            let line = table.entry(fault).or_default();
            line.attempted += attempted;
            line.landed += landed;
            if landed > 0 {
                line.lost += difference.lost;
                line.twice += difference.twice;
            }
        }
    }
    println!("{} seeds, {commands} commands, {outputs} outputs", seeds.len());
    println!("folded on top of a commit in flight: {overlaps} times, in {overlapped} seeds");
    println!("{:32} {:>9} {:>7} {:>5} {:>5}", "fault", "attempted", "landed", "lost", "twice");
    for (fault, Line { attempted, landed, lost, twice }) in &table {
        println!("{fault:32} {attempted:>9} {landed:>7} {lost:>5} {twice:>5}");
    }
    append_to_soak_table(&table);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    if seeds.len() > 1 {
        let missed: Vec<_> = table.iter().filter(|(_, line)| line.landed == 0).collect();
        assert!(missed.is_empty(), "never landed: {missed:?}");
        assert!(overlapped * 10 > seeds.len() * 9, "only {overlapped} seeds overlap");
    }
}

#[test]
fn without_faults_runs_equal_the_golden_fold_and_count_no_fault() {
    let (seeds, mut outputs) = (seeds(50), 0);
    for &seed in &seeds {
        let report = run(seed, &Options::default(), false);
        let report = report.unwrap_or_else(|f| panic!("TICKFOLD_SEED={seed}: {}", f.text));
        assert_eq!(report.faults, Faults::new(), "TICKFOLD_SEED={seed}");
        outputs += report.outputs;
    }
    // A seed may happen to write nothing to the partition; all of them together may not.
    assert!(outputs > 0 || seeds.len() == 1);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in seeds(5) {
        let debug = |_| format!("{:?}", run(seed, &Options::default(), true));
        assert_eq!(debug(0), debug(1), "TICKFOLD_SEED={seed}");
    }
}

/// A log that is closed under a driver loses the partition and nothing else.
#[test]
fn a_closed_log_loses_the_partition() {
    let mut world = World::single();
    world.start(0);
    world.log.close_now();
    match world.settle(0) {
        crate::world::Rest::Ended(End::Lost(Lost::Log(reason))) => {
            assert_eq!(reason, LogError::Closed.to_string());
        }
        other => panic!("{other:?}"),
    }
}
