//! kill -9 of `up` under load, at fail points, at random moments and while it starts: nothing
//! acknowledged is lost, nothing is emitted twice, the store equals the golden fold.
//!
//! Every kill proves that it landed: by the file that the fail point writes, and by the process
//! ending by SIGKILL. CI runs 40 kills, `TICKFOLD_SOAK=1` ten times as many. The same run without
//! kills is the null control; with the cursor written before the commit it must fail.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{Node, Rng, SIGKILL, assert_golden, eventually, is_soak, say, soak_row, up};
use crate::support_crash::{
    Clients, Load, Oracle, Posted, Spoil, Verdict, embedded_log, set_aside,
};

/// Attempts at one kill before the test gives up.
const TRIES: usize = 8;

/// Where a kill strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kill {
    /// The log holds the append, the answer is not sent.
    AfterAppend,
    /// The log holds the outputs, the store does not.
    AfterCommitBeforeStore,
    /// Folded, nothing committed.
    BeforeCommit,
    /// Log and store have the batch.
    AfterStore,
    /// Any moment under load.
    Random,
    /// Any moment between the start of the process and its readiness.
    Recovery,
}

impl Kill {
    /// The fail point, if it is one.
    fn point(self) -> Option<&'static str> {
        match self {
            Self::AfterAppend => Some("after_append"),
            Self::AfterCommitBeforeStore => Some("after_commit_before_store"),
            Self::BeforeCommit => Some("before_commit"),
            Self::AfterStore => Some("after_store"),
            Self::Random | Self::Recovery => None,
        }
    }

    /// Kills of this kind among 40.
    fn share(self) -> usize {
        match self {
            Self::AfterAppend | Self::AfterCommitBeforeStore | Self::Random => 10,
            Self::BeforeCommit | Self::AfterStore => 3,
            Self::Recovery => 4,
        }
    }

    const ALL: [Self; 6] = [
        Self::AfterAppend,
        Self::AfterCommitBeforeStore,
        Self::BeforeCommit,
        Self::AfterStore,
        Self::Random,
        Self::Recovery,
    ];
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.point()) {
            (_, Some(point)) => write!(f, "kill -9 at {point}"),
            (Self::Recovery, _) => write!(f, "kill -9 during start"),
            _ => write!(f, "kill -9 at random"),
        }
    }
}

/// A line of the table.
#[derive(Debug, Default)]
struct Row {
    attempted: usize,
    landed: usize,
    lost: usize,
    twice: usize,
}

/// What a run found.
#[derive(Debug, Default)]
struct Report {
    rows: BTreeMap<Kill, Row>,
    webhooks: usize,
    outputs: u64,
    /// What was wrong, in the order of finding.
    wrong: Vec<String>,
}

impl Report {
    fn landed(&self) -> usize {
        self.rows.values().map(|row| row.landed).sum()
    }

    fn print(&self, what: &str) {
        say(&format!("{what}: {} webhooks, {} outputs", self.webhooks, self.outputs));
        say("| command | attempted | landed | lost | twice |");
        let tried = self.rows.iter().filter(|(_, row)| row.attempted > 0);
        for (kill, Row { attempted, landed, lost, twice }) in tried {
            say(&format!("| {kill} | {attempted} | {landed} | {lost} | {twice} |"));
        }
        self.wrong.iter().for_each(|wrong| say(&format!("wrong: {wrong}")));
    }

    /// Appends the rows to the table of a soak, if this is one.
    fn append(&self) {
        for (kill, row) in &self.rows {
            let [attempted, landed, lost, twice] =
                [row.attempted, row.landed, row.lost, row.twice].map(|n| n.try_into().unwrap());
            soak_row(&kill.to_string(), attempted, landed, lost, twice);
        }
    }
}

/// One node over its many lives, and what it owes.
struct Run {
    root: TempDir,
    seed: u64,
    rng: Rng,
    load: Load,
    oracle: Oracle,
    report: Report,
    /// `TICKFOLD_BUG` of every start.
    bug: Option<&'static str>,
    /// The kill before the present life: what is found wrong goes to its account.
    last: Kill,
    /// How long the fastest start took.
    start: Duration,
}

/// A kill either struck or has to be tried again.
#[derive(Debug, PartialEq, Eq)]
enum Struck {
    Landed,
    Missed,
}

impl Run {
    fn new(seed: u64, bug: Option<&'static str>) -> Self {
        Self {
            root: TempDir::new().unwrap(),
            seed,
            rng: Rng(seed),
            load: Load::new(seed),
            oracle: Oracle::new(),
            report: Report::default(),
            bug,
            last: Kill::Random,
            start: Duration::from_millis(300),
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn command(&self) -> Command {
        let mut command = up(self.root.path());
        if let Some(bug) = self.bug {
            command.env("TICKFOLD_BUG", bug);
        }
        command
    }

    /// Starts a node that has to come up.
    fn node(&mut self) -> Node {
        let begin = Instant::now();
        let node = Node::spawn(self.root.path(), self.command());
        self.start = self.start.min(begin.elapsed());
        node.unwrap_or_else(|ended| panic!("seed {}: up ended: {ended:?}", self.seed))
    }

    /// Kills one node, then tries again until it was hit. False once something was found wrong.
    fn kill(&mut self, kill: Kill) -> bool {
        for _ in 0..TRIES {
            self.report.rows.entry(kill).or_default().attempted += 1;
            let struck = match kill {
                Kill::Recovery => self.kill_start(),
                Kill::Random => self.kill_at_random(),
                point => self.kill_at(point.point().unwrap()),
            };
            if !self.report.wrong.is_empty() {
                return false;
            }
            if struck == Struck::Landed {
                self.report.rows.entry(kill).or_default().landed += 1;
                self.last = kill;
                return true;
            }
        }
        panic!("seed {}: {kill} missed {TRIES} times", self.seed);
    }

    /// The node kills itself when it reaches the point for the n-th time, at the latest under
    /// load, sometimes already while it folds what the last life left.
    fn kill_at(&mut self, point: &str) -> Struck {
        let proof = self.root.path().join("fail-point");
        let _ = std::fs::remove_file(&proof);
        let reached = 1 + self.rng.below(40);
        let mut command = self.command();
        command.env("TICKFOLD_FAIL_POINT", format!("{point}:{reached}"));
        command.env("TICKFOLD_FAIL_POINT_FILE", &proof);
        let begin = Instant::now();
        match Node::spawn(self.root.path(), command) {
            Err(ended) => assert_eq!(ended.code, None, "seed {}: {}", self.seed, ended.stderr),
            Ok(mut node) => {
                self.start = self.start.min(begin.elapsed());
                if self.look(&mut node) {
                    let posted = self.load.run(&node.http, 40, |_| ());
                    self.acknowledge(posted);
                }
                // Where the load was too short to reach the point. One that is about to kill
                // itself is left alone.
                if !node.has_ended() && !proof.exists() {
                    node.child.kill().unwrap();
                }
                let status = node.child.wait().unwrap();
                assert_eq!(status.signal(), Some(SIGKILL), "seed {}: {}", self.seed, node.log());
            }
        }
        let named = std::fs::read_to_string(&proof).unwrap_or_default();
        if named == point { Struck::Landed } else { Struck::Missed }
    }

    /// SIGKILL from outside, after a seeded number of answers and a seeded moment more.
    fn kill_at_random(&mut self) -> Struck {
        let mut node = self.node();
        if !self.look(&mut node) {
            return Struck::Missed;
        }
        let answers = self.rng.next() % 120;
        let moment = Duration::from_micros(self.rng.next() % 4_000);
        let child = &mut node.child;
        let posted = self.load.run(&node.http, 60, |progress| {
            progress.wait_for(answers);
            // Not a wait for anything: the moment is what is random.
            thread::sleep(moment);
            child.kill().unwrap();
        });
        self.acknowledge(posted);
        let status = node.child.wait().unwrap();
        if status.signal() == Some(SIGKILL) { Struck::Landed } else { Struck::Missed }
    }

    /// SIGKILL at a seeded moment between spawn and readiness, with what the last life left.
    fn kill_start(&mut self) -> Struck {
        let mut command = self.command();
        let log = std::fs::File::create(self.root.path().join("stderr-of-start")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let micros = u64::try_from(self.start.as_micros()).unwrap();
        // Not a wait for anything: the moment is what is random.
        thread::sleep(Duration::from_micros(self.rng.next() % micros.max(1)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let mut printed = String::new();
        child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let starting = printed.is_empty();
        let killed = status.signal() == Some(SIGKILL);
        if killed && starting {
            return Struck::Landed;
        }
        // It was up already: starts are faster than those seen.
        self.start = self.start * 3 / 4;
        Struck::Missed
    }

    fn acknowledge(&mut self, posted: Posted) {
        posted.acknowledged.iter().for_each(|body| self.oracle.acknowledged(body));
    }

    /// Looks at what the last life left, as soon as the next one has begun. False if something is
    /// wrong, or if the node is gone: then the life after it is looked at.
    fn look(&mut self, node: &mut Node) -> bool {
        let verdict =
            Clients::connect(&node.grpc).and_then(|mut clients| self.oracle.look(&mut clients));
        match verdict {
            Ok(verdict) => self.judge(&verdict),
            Err(status) => {
                // What was read is folded; what was not compared is left to the next look.
                eventually(&format!("seed {}: a node ends after {status:?}", self.seed), || {
                    node.has_ended().then_some(())
                });
                false
            }
        }
    }

    fn judge(&mut self, verdict: &Verdict) -> bool {
        let row = self.report.rows.entry(self.last).or_default();
        row.lost += verdict.lost;
        row.twice += verdict.twice;
        if !verdict.is_right() {
            let (seed, last, first) = (self.seed, self.last, &verdict.first);
            self.report.wrong.push(format!("seed {seed}, after {last}: {first}"));
        }
        // A store that ran ahead of the log cannot be used: no kill may ever lead to one.
        for name in set_aside(&self.data_dir()) {
            let (seed, last) = (self.seed, self.last);
            self.report.wrong.push(format!("seed {seed}, after {last}: a store became {name}"));
        }
        self.report.wrong.is_empty()
    }

    /// The last life: everything once more, by an oracle that knows nothing yet, by the golden
    /// fold of the other tests, and on disk.
    fn finish(mut self) -> Report {
        if self.report.wrong.is_empty() {
            self.last_life();
        }
        self.report.webhooks = self.oracle.webhooks();
        self.report.outputs = self.oracle.outputs();
        self.report
    }

    fn last_life(&mut self) {
        let mut node = self.node();
        if !self.look(&mut node) {
            return;
        }
        let posted = self.load.run(&node.http, 10, |_| ());
        assert_eq!(posted.refused, 0, "seed {}", self.seed);
        self.acknowledge(posted);
        if !self.look(&mut node) {
            return;
        }
        let mut afresh = Oracle::new();
        let verdict =
            Clients::connect(&node.grpc).and_then(|mut clients| afresh.look(&mut clients));
        self.judge(&verdict.unwrap());
        assert_golden(&node);
        assert_eq!(afresh.webhooks(), self.oracle.webhooks(), "seed {}", self.seed);
        node.stop();
        let log = embedded_log(&self.data_dir());
        if let Err(wrong) = afresh.look_at_stores(&self.data_dir(), log) {
            self.report.wrong.push(format!("seed {}: {wrong}", self.seed));
        }
    }
}

/// The seed of this run: fixed in CI, or the one a failure printed.
fn seed(default: u64) -> u64 {
    std::env::var("TICKFOLD_SEED").map_or(default, |seed| seed.parse().unwrap())
}

/// As many kills of each kind as its share, in a seeded order.
fn plan(times: usize, seed: u64) -> Vec<Kill> {
    let mut plan: Vec<Kill> = Kill::ALL
        .into_iter()
        .flat_map(|kill| std::iter::repeat_n(kill, kill.share() * times))
        .collect();
    let mut rng = Rng(seed ^ 0x6b69_6c6c);
    for last in (1..plan.len()).rev() {
        plan.swap(last, rng.below(last + 1));
    }
    plan
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn crash_kills_lose_nothing_and_repeat_nothing() {
    let times = if is_soak() { 10 } else { 1 };
    let seed = seed(1);
    let plan = plan(times, seed);
    let begin = Instant::now();
    let mut run = Run::new(seed, None);
    let whole = plan.iter().all(|&kill| run.kill(kill));
    let report = run.finish();
    report.print(&format!("{} kills in {:?}, seed {seed}", plan.len(), begin.elapsed()));
    assert!(whole && report.wrong.is_empty(), "seed {seed}: {:?}", report.wrong);
    assert_eq!(report.landed(), 40 * times);
    for (kill, row) in &report.rows {
        assert_eq!((row.lost, row.twice), (0, 0), "{kill}, seed {seed}");
        assert!(row.landed >= kill.share() * times, "{kill} landed {} times", row.landed);
        assert!(row.attempted >= row.landed);
    }
    let fifth = |kill: &Kill| report.rows[kill].landed * 5 >= report.landed();
    assert!([Kill::AfterAppend, Kill::AfterCommitBeforeStore, Kill::Random].iter().all(fifth));
    report.append();
}

/// The null control: the same run without a kill passes and counts none; and the oracle is not
/// blind, since each way of spoiling what it knows makes it speak.
#[test]
fn crash_run_without_kills_lands_none_and_the_oracle_sees_what_is_spoilt() {
    let seed = seed(2);
    let mut run = Run::new(seed, None);
    for _ in 0..3 {
        let mut node = run.node();
        assert!(run.look(&mut node), "{:?}", run.report.wrong);
        let posted = run.load.run(&node.http, 30, |_| ());
        assert_eq!((posted.acknowledged.len(), posted.refused), (120, 0), "seed {seed}");
        run.acknowledge(posted);
        node.stop();
    }
    let mut node = run.node();
    assert!(run.look(&mut node), "{:?}", run.report.wrong);
    let spoilt =
        [(Spoil::Acknowledged, (1, 0)), (Spoil::OutputMissing, (1, 0)), (Spoil::ReadAgain, (0, 3))];
    for (spoil, (lost, twice)) in spoilt {
        let mut oracle = Oracle::new();
        let mut clients = Clients::connect(&node.grpc).unwrap();
        assert!(oracle.look(&mut clients).unwrap().is_right());
        oracle.spoil(spoil);
        let verdict = oracle.look(&mut clients).unwrap();
        assert_eq!((verdict.lost, verdict.twice), (lost, twice), "{spoil:?}: {}", verdict.first);
    }
    let mut oracle = Oracle::new();
    let clients = || Clients::connect(&node.grpc).unwrap();
    let all = Oracle::new().look(&mut clients()).unwrap().messages;
    assert!(all > 0);
    // One that breaks off leaves the messages to the next.
    assert!(oracle.look(&mut clients().without_queries()).is_err());
    assert_eq!(oracle.look(&mut clients()).unwrap().messages, all);
    assert_eq!(oracle.look(&mut clients()).unwrap().messages, 0);
    node.stop();
    let on_disk = |data_dir: &Path| oracle.look_at_stores(data_dir, embedded_log(&run.data_dir()));
    assert_eq!(on_disk(&run.data_dir()), Ok(()));
    for head_follows in [false, true] {
        let spoilt = TempDir::new().unwrap();
        let state = run.data_dir().join("state");
        assert!(
            Command::new("cp").arg("-r").arg(state).arg(spoilt.path()).status().unwrap().success()
        );
        oracle.spoil_store(spoilt.path(), head_follows);
        let wrong = on_disk(spoilt.path()).unwrap_err();
        assert!(wrong.contains("digest"), "{head_follows}: {wrong}");
    }
    let report = run.finish();
    report.print("no kills");
    assert_eq!(report.landed(), 0);
    assert!(report.webhooks >= 360 && report.outputs > 360, "{report:?}");
    assert_eq!(report.wrong, Vec::<String>::new(), "seed {seed}");
}

/// With the cursor written before the commit the same run fails: a kill between the two leaves a
/// store that is ahead of the log. The start table notices and folds another from the beginning of
/// raw, so no output is lost here; where raw was trimmed the partition would be refused.
#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn crash_run_fails_with_the_cursor_written_before_the_commit() {
    let seed = seed(1);
    let plan = plan(1, seed);
    let mut run = Run::new(seed, Some("store_before_commit"));
    let whole = plan.iter().all(|&kill| run.kill(kill));
    let report = run.finish();
    report.print(&format!("the cursor before the commit: failed after {} kills", report.landed()));
    assert!(!whole || !report.wrong.is_empty(), "seed {seed}: the bug is not found");
    let ahead = |wrong: &String| wrong.contains("rejected-ahead-of-log");
    assert!(report.wrong.iter().any(ahead), "seed {seed}: {:?}", report.wrong);
}

/// What the start table guards against: a store that ran ahead of the log and is trusted loses
/// outputs for good.
#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn crash_run_loses_outputs_where_a_store_ahead_of_the_log_is_trusted() {
    let seed = seed(4);
    let mut run = Run::new(seed, Some("store_before_commit"));
    for _ in 0..10 {
        run.bug = Some("store_before_commit");
        // Each life ends before a commit, with the store written; the next one believes it.
        assert!(run.kill(Kill::BeforeCommit), "seed {seed}: {:?}", run.report.wrong);
        run.bug = Some("store_ahead_accepted");
        let mut node = run.node();
        let right = run.look(&mut node);
        node.kill9();
        if !right {
            break;
        }
    }
    let report = run.finish();
    report.print("store before commit, and trusted");
    assert!(report.rows[&Kill::BeforeCommit].lost > 0, "seed {seed}: {report:?}");
}

/// A name that is nowhere in the code would kill nothing, and look like luck.
#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn crash_unknown_fail_points_and_bugs_are_refused() {
    for (variable, value) in [("TICKFOLD_FAIL_POINT", "nowhere:1"), ("TICKFOLD_BUG", "none")] {
        let root = TempDir::new().unwrap();
        let mut command = up(root.path());
        command.env(variable, value);
        let ended = Node::spawn(root.path(), command).expect_err("it runs");
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("no such"), "{}", ended.stderr);
    }
}
