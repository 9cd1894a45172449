//! Seeded runs: two processes fight over one partition, crash after any command, lose newest
//! store batches or whole stores, and meet every outcome of a commit. Whatever happened, the
//! outputs equal the golden fold byte for byte, and so do the stores.
//!
//! `TICKFOLD_SEED=n` runs one seed, `TICKFOLD_SEEDS=n` the first n instead of the usual number.

use std::collections::BTreeMap;

use tickfold_log::mem::CommitFault;
use tickfold_log::{CommitError, Error as LogError};
use tickfold_processor::Options;
use tickfold_processor::driver::{Input, Lost};
use tickfold_store::Stores;

use crate::oracle::{Difference, Golden};
use crate::rng::Rng;
use crate::workload::{PARTITION, Workload};
use crate::world::{End, Executed, KINDS, World};

/// Faults that a run met, by name: attempted and landed.
pub(crate) type Faults = BTreeMap<String, (u64, u64)>;

/// A run that came to its end.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Faults,
    pub(crate) outputs: usize,
    pub(crate) commands: usize,
}

/// A run that broke a promise.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) difference: Difference,
    pub(crate) faults: Faults,
}

const COMMIT_FAULTS: [(&str, CommitFault); 4] = [
    ("commit aborted", CommitFault::Aborted),
    ("commit unclear, applied", CommitFault::UnclearApplied),
    ("commit unclear, not applied", CommitFault::UnclearNotApplied),
    ("commit unclear, applied late", CommitFault::UnclearAppliedLate),
];

const OTHER_FAULTS: [&str; 8] = [
    "fenced by the other owner",
    "newest store batches lost",
    "store wiped",
    "store write fails",
    "store read fails",
    "group offset expired",
    "checkpoint taken",
    "stopped in order",
];

struct Run {
    world: World,
    rng: Rng,
    workload: Workload,
    chaos: bool,
    faults: Faults,
}

/// Runs a seed; `chaos` off is the null control.
pub(crate) fn run(seed: u64, options: &Options, chaos: bool) -> Result<Report, Failure> {
    let mut rng = Rng::new(seed);
    let options = Options {
        batch_records_max: usize::try_from(rng.pick(&[1, 2, 5, 100_u64])).unwrap(),
        batch_outputs_max: usize::try_from(rng.pick(&[4, 12, 20_000_u64])).unwrap(),
        tick_commit_interval_ms: 1_000,
        ..options.clone()
    };
    let world = World::new(2, &options);
    let mut run = Run { world, rng, workload: Workload::new(), chaos, faults: Faults::new() };
    let fought = run.fight();
    // Nothing is appended any more.
    let golden = Golden::of(&run.world.log);
    let result = fought.and_then(|()| run.heal(&golden));
    match result {
        Ok(()) => {
            let (outputs, commands) = (golden.outputs(), run.world.trace.len());
            Ok(Report { faults: run.faults, outputs, commands })
        }
        Err(text) => {
            let difference = golden.compare_outputs(&run.world.log).err().unwrap_or_default().0;
            Err(Failure { text, difference, faults: run.faults })
        }
    }
}

impl Run {
    fn fight(&mut self) -> Result<(), String> {
        for _ in 0..90 + self.rng.below(110) {
            match self.rng.below(14) {
                0 => {
                    for _ in 0..=self.rng.below(3) {
                        self.workload.append_one(&self.world.log, &mut self.rng);
                    }
                }
                1 => {
                    let ms = self.rng.below(700);
                    self.world.pass(ms);
                }
                2 | 3 if self.chaos => _ = self.turn(1)?,
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
                if turns > 5_000 {
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

    /// One command of a process, and perhaps a fault; true if it waits.
    fn turn(&mut self, process: usize) -> Result<bool, String> {
        if !self.world.is_running(process) {
            if process == 0 || !self.chaos || self.rng.one_in(12) {
                self.world.start(process);
            }
            return Ok(false);
        }
        let kind = self.world.next_kind(process).expect("a command");
        let fault = self.before(process, kind);
        let executed = self.world.execute(process);
        self.world.log.forget_commit_faults();
        self.world.processes[process].stores.fail_writes(false);
        let input = match executed {
            Executed::Answer(input) => input,
            Executed::Waits { .. } => {
                // A crash while waiting, or being told to stop, changes nothing either.
                if self.chaos && self.rng.one_in(8) {
                    self.crash(process, kind);
                } else if self.chaos && self.rng.one_in(12) {
                    self.note("stopped in order", true);
                    self.world.stop(process);
                }
                return Ok(true);
            }
            Executed::End(end) => {
                return self.ended(&end).map(|()| false);
            }
        };
        self.world.state_is_not_ahead()?;
        if let Some(fault) = fault {
            let landed = matches!(
                &input,
                Input::CommitDone(Err(CommitError::Aborted { .. } | CommitError::Unclear { .. }))
                    | Input::StoreWritten { result: Err(_), .. }
            );
            self.note(fault, landed);
        }
        if matches!(input, Input::CommitDone(Err(CommitError::Fenced))) {
            self.note("fenced by the other owner", true);
        }
        if self.chaos && self.rng.one_in(12) {
            drop(input);
            self.crash(process, kind);
            return Ok(false);
        }
        let read_fails = self.chaos && matches!(input, Input::RawRead(_)) && self.rng.one_in(30);
        self.world.processes[process].stores.fail_reads(read_fails);
        self.world.deliver(process, input);
        self.world.processes[process].stores.fail_reads(false);
        if read_fails {
            let landed = self.world.next_kind(process) == Some("lost");
            self.note("store read fails", landed);
        }
        Ok(false)
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
            _ => None,
        }
    }

    /// The process dies after the command was executed and before it saw the answer; sometimes the
    /// disk loses something too.
    fn crash(&mut self, process: usize, kind: &'static str) {
        self.note(&format!("crash after {kind}"), true);
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
    for &seed in &seeds {
        let (faults, difference) = match run(seed, &Options::default(), true) {
            Ok(report) => {
                outputs += report.outputs;
                commands += report.commands;
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
    println!("{:32} {:>9} {:>7} {:>5} {:>5}", "fault", "attempted", "landed", "lost", "twice");
    for (fault, Line { attempted, landed, lost, twice }) in &table {
        println!("{fault:32} {attempted:>9} {landed:>7} {lost:>5} {twice:>5}");
    }
    append_to_soak_table(&table);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    if seeds.len() > 1 {
        let missed: Vec<_> = table.iter().filter(|(_, line)| line.landed == 0).collect();
        assert!(missed.is_empty(), "never landed: {missed:?}");
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
