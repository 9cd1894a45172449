//! kill -9 of `up` with its log on Kafka: at each place of a commit, at random under load, and
//! while it starts, with and without its state.
//!
//! A kill landed if the fail point wrote its file and the process ended by SIGKILL. Whether it
//! struck inside a transaction is asked from the broker, or follows from the place. CI runs 30 kills
//! and 10 during starts, `TICKFOLD_SOAK=1` ten times as many; the same run without one lands none.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::kafka_run::Run;
use crate::support::{Node, Rng, SIGKILL, is_soak, say};

/// Attempts at one kill before the test gives up.
const TRIES: usize = 8;

/// Where a kill strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// At a fail point, or a moment of so many microseconds at most after it, before the commit is
    /// answered.
    At { place: &'static str, within_us: u64 },
    /// Any moment under load.
    Random,
    /// At a fail point before the node serves.
    Starting { place: &'static str },
    /// Any moment before the node serves.
    StartingAtRandom,
}

impl Kill {
    const fn at(place: &'static str, within_us: u64) -> Self {
        Self::At { place, within_us }
    }

    /// Kills of each kind of which CI runs so many.
    const UNDER_LOAD: [(Self, usize); 6] = [
        (Self::at("begun", 0), 3),
        (Self::at("producing", 4_000), 6),
        (Self::at("position_added", 0), 7),
        // The end of the transaction is asked for, its answer not read.
        (Self::at("position_added", 3_000), 6),
        (Self::at("after_commit_before_store", 0), 3),
        (Self::Random, 5),
    ];
    const WHILE_STARTING: [(Self, usize); 3] = [
        (Self::Starting { place: "claimed" }, 3),
        (Self::Starting { place: "position_added" }, 3),
        (Self::StartingAtRandom, 4),
    ];

    fn name(self) -> String {
        match self {
            Self::At { place, within_us: 0 } => format!("kafka: kill -9 at {place}"),
            Self::At { place, .. } => format!("kafka: kill -9 shortly after {place}"),
            Self::Random => "kafka: kill -9 at random".to_owned(),
            Self::Starting { place } => format!("kafka: kill -9 during start at {place}"),
            Self::StartingAtRandom => "kafka: kill -9 during start".to_owned(),
        }
    }
}

/// A kill that struck, or `None` if it has to be tried again; whether it was in a transaction.
type Struck = Option<bool>;

struct Kills {
    run: Run,
    inside: usize,
    /// How long the fastest start took.
    start: Duration,
}

impl Kills {
    fn kill(&mut self, kill: Kill) {
        for _ in 0..TRIES {
            let struck = match kill {
                Kill::At { place, within_us } => self.kill_at(place, within_us),
                Kill::Random => self.kill_at_random(),
                Kill::Starting { place } => self.kill_start_at(place),
                Kill::StartingAtRandom => self.kill_start(),
            };
            self.run.strikes(&kill.name());
            self.run.struck(struck.is_some());
            if let Some(inside) = struck {
                self.inside += usize::from(inside);
                return;
            }
        }
        panic!("{}: {kill:?} missed {TRIES} times", self.run);
    }

    fn node(&mut self) -> Node {
        let begin = Instant::now();
        let node = self.run.node();
        self.start = self.start.min(begin.elapsed());
        node
    }

    fn kill_at(&mut self, place: &str, within_us: u64) -> Struck {
        let proof = self.run.root.path().join("fail-point");
        let _ = std::fs::remove_file(&proof);
        // Each of the 8 partitions commits once when it starts.
        let reached = 9 + self.run.rng.below(40);
        let mut command = self.run.command();
        command.env("TICKFOLD_FAIL_POINT", format!("{place}:{reached}"));
        command.env("TICKFOLD_FAIL_POINT_FILE", &proof);
        if within_us > 0 {
            let delay = 1 + self.run.rng.next() % within_us;
            command.env("TICKFOLD_FAIL_POINT_DELAY_US", delay.to_string());
        }
        match self.run.spawn(command) {
            Err(ended) => assert_eq!(ended.code, None, "{}: {}", self.run, ended.stderr),
            Ok(mut node) => {
                if self.run.look(&mut node) {
                    let posted = self.run.load.run(&node.http, 60, |_| ());
                    self.run.acknowledge(&posted);
                }
                // Where the load was too short to reach the place. One that is about to kill
                // itself is left alone.
                if !node.has_ended() && !proof.exists() {
                    node.child.kill().unwrap();
                }
                let status = node.child.wait().unwrap();
                assert_eq!(status.signal(), Some(SIGKILL), "{}: {}", self.run, node.log());
            }
        }
        let named = std::fs::read_to_string(&proof).unwrap_or_default();
        // "begun" is a transaction that no broker knows of, and so is one whose end is answered
        // when it is looked for: there the place says it.
        let by_place = place == "begun" || (place == "position_added" && within_us > 0);
        (named == place).then(|| self.run.open_transactions() > 0 || by_place)
    }

    fn kill_at_random(&mut self) -> Struck {
        let mut node = self.node();
        assert!(self.run.look(&mut node));
        let answers = self.run.rng.next() % 120;
        let moment = Duration::from_micros(self.run.rng.next() % 20_000);
        let child = &mut node.child;
        let posted = self.run.load.run(&node.http, 60, |progress| {
            progress.wait_for(answers);
            // Not a wait for anything: the moment is what is random.
            thread::sleep(moment);
            child.kill().unwrap();
        });
        let status = node.child.wait().unwrap();
        let inside = self.run.open_transactions() > 0;
        self.run.acknowledge(&posted);
        (status.signal() == Some(SIGKILL)).then_some(inside)
    }

    /// What the last life left is claimed, folded and committed again; a life that has no state
    /// folds everything.
    fn kill_start_at(&mut self, place: &str) -> Struck {
        self.forget_sometimes();
        let proof = self.run.root.path().join("fail-point");
        let _ = std::fs::remove_file(&proof);
        let mut command = self.run.command();
        let reached = 1 + self.run.rng.below(8);
        command.env("TICKFOLD_FAIL_POINT", format!("{place}:{reached}"));
        command.env("TICKFOLD_FAIL_POINT_FILE", &proof);
        match self.run.spawn(command) {
            Err(ended) => {
                assert_eq!(ended.code, None, "{}: {}", self.run, ended.stderr);
                let named = std::fs::read_to_string(&proof).unwrap_or_default();
                (named == place).then(|| self.run.open_transactions() > 0)
            }
            // It served before it died.
            Ok(node) => {
                node.kill9();
                None
            }
        }
    }

    fn kill_start(&mut self) -> Struck {
        self.forget_sometimes();
        let mut command = self.run.command();
        let log = std::fs::File::create(self.run.root.path().join("stderr-of-start")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let micros = u64::try_from(self.start.as_micros()).unwrap();
        // Not a wait for anything: the moment is what is random.
        thread::sleep(Duration::from_micros(self.run.rng.next() % micros.max(1)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let inside = self.run.open_transactions() > 0;
        let mut printed = String::new();
        child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        (status.signal() == Some(SIGKILL) && printed.is_empty()).then_some(inside)
    }

    /// Takes the state away before every other start.
    fn forget_sometimes(&mut self) {
        if self.run.rng.below(2) == 0 {
            let _ = std::fs::remove_dir_all(self.run.data_dir().join("state"));
        }
    }
}

fn kills(seed: u64) -> Kills {
    Kills { run: Run::new(seed), inside: 0, start: Duration::from_secs(2) }
}

/// As many kills of each kind as its share, in a seeded order.
fn plan(shares: &[(Kill, usize)], times: usize, rng: &mut Rng) -> Vec<Kill> {
    let kills = shares.iter().flat_map(|&(kill, share)| std::iter::repeat_n(kill, share * times));
    let mut plan: Vec<Kill> = kills.collect();
    for last in (1..plan.len()).rev() {
        plan.swap(last, rng.below(last + 1));
    }
    plan
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_crash_kills_lose_nothing_and_repeat_nothing() {
    let seed = std::env::var("TICKFOLD_SEED").map_or(31, |seed| seed.parse().unwrap());
    let times = if is_soak() { 10 } else { 1 };
    let mut kills = kills(seed);
    // The null control: the same load, no kill, nothing lands.
    let mut node = kills.node();
    let posted = kills.run.load.run(&node.http, 30, |_| ());
    assert_eq!((posted.acknowledged.len(), posted.refused), (120, 0), "{}", kills.run);
    kills.run.acknowledge(&posted);
    assert!(kills.run.look(&mut node));
    node.stop();
    assert_eq!(kills.run.open_transactions(), 0, "after an orderly end");
    assert!(kills.run.rows.values().all(|row| row.landed == 0));

    let begin = Instant::now();
    let under_load = plan(&Kill::UNDER_LOAD, times, &mut kills.run.rng);
    under_load.iter().for_each(|&kill| kills.kill(kill));
    let (inside, of, took) = (kills.inside, under_load.len(), begin.elapsed());
    say(&format!("{of} kills in {took:?}, {inside} of them inside a transaction, seed {seed}"));
    assert_eq!(of, 30 * times);
    assert!(inside * 10 >= of * 6, "{inside} of {of}");
    let starting = plan(&Kill::WHILE_STARTING, times, &mut kills.run.rng);
    starting.iter().for_each(|&kill| kills.kill(kill));
    let (all, took) = (of + starting.len(), begin.elapsed());
    say(&format!("{all} kills in {took:?}, {} inside a transaction", kills.inside));
    let rows = kills.run.finish();
    let landed: u64 = rows.values().map(|row| row.landed).sum();
    assert_eq!(landed, u64::try_from(all).unwrap());
    assert!(rows.values().all(|row| (row.lost, row.twice) == (0, 0)), "{rows:?}");
}
