//! Clients of other makes on the topics that the binary wrote: Java's own (`tests/clients/JavaClient.java`),
//! confluent-kafka for Python (`tests/clients/python_client.py`), and the lines for kcat in the
//! documentation, as they stand there.
//!
//! They have to see what we say: every derived record of the golden fold, beside its raw record;
//! keys in the partitions where Java's producer puts them; the same table; the same lag. And they
//! show what `read_committed` is for: after a kill inside a transaction Java's default hands out
//! what was never committed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use tickfold_core::records::Topic;

use crate::docs::{commands, pages};
use crate::kafka::broker;
use crate::kafka_run::Run;
use crate::support::{Golden, Node, PARTITIONS, RAW, Record, SIGKILL, eventually, run, say, topic};

/// A topic that only Java's producer writes.
const SCRATCH: &str = "scratch";
/// Attempts at a kill inside a transaction with outputs before the test gives up.
const TRIES: usize = 8;

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_clients_of_other_makes_see_what_we_say() {
    let begun = Instant::now();
    let mut run = Run::new(61);
    let mut command = run.command();
    // Nothing is taken from this broker, so nothing has to be found out quickly.
    command.env("TICKFOLD_KAFKA_PATIENCE_MS", "20000");
    // Ticks are folded and not committed, so that there is a lag that stands still between them.
    command.env("TICKFOLD_INGRESS_TICK_INTERVAL", "3s");
    command.env("TICKFOLD_PROCESSOR_TICK_COMMIT_INTERVAL", "1h");
    command.env("TICKFOLD_PROCESSOR_STUCK_AFTER", "2h");
    let mut node = run.spawn(command).unwrap_or_else(|ended| panic!("up ended: {ended:?}"));
    let posted = run.load.run(&node.http, 60, |_| ());
    run.acknowledge(&posted);
    assert!(run.look(&mut node));
    lag_is_that_of_the_group(&run, &node);
    node.stop();

    // The null control: nobody died, so nothing was aborted.
    let [committed, all] = counts(&run);
    assert!(committed > 0);
    assert_eq!(committed, all, "records that nobody aborted");
    dies_in_a_transaction(&mut run);

    let mut node = run.node();
    let posted = run.load.run(&node.http, 20, |_| ());
    run.acknowledge(&posted);
    assert!(run.look(&mut node));
    // All of it is committed: the look has compared it.
    let raw = node.tail(RAW);
    let golden = Golden::of(&raw);
    node.stop();
    let java = Java::look(&run);
    java.sees_raw(&raw);
    java.sees_each_output_beside_its_raw_record(&golden);
    java.needs_read_committed();
    let rows = rows_of(&golden);
    assert_eq!(python_table(&run), rows, "the table as confluent-kafka reads it");
    kcat_lines_of_the_documentation(&run, &rows);
    say(&format!("{} rows, seen by all, in {:.1?}", rows.len(), begun.elapsed()));
}

/// Rows of the message table: the last record of each key.
fn rows_of(golden: &Golden) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for plain in golden.outputs.get(&(Topic::MessageState, partition)).into_iter().flatten() {
            match plain.value.clone() {
                Some(value) => _ = rows.insert(plain.key.clone(), value),
                None => _ = rows.remove(&plain.key),
            }
        }
    }
    rows
}

/// kill -9 while the brokers hold outputs and the transaction is open, and a new life, which has it
/// aborted.
fn dies_in_a_transaction(run: &mut Run) {
    let proof = run.root.path().join("fail-point");
    for _ in 0..TRIES {
        let _ = std::fs::remove_file(&proof);
        let mut command = run.command();
        // Each of the 8 partitions commits once when it starts.
        command.env("TICKFOLD_FAIL_POINT", "position_added:14");
        command.env("TICKFOLD_FAIL_POINT_FILE", &proof);
        if let Ok(mut node) = run.spawn(command) {
            let posted = run.load.run(&node.http, 60, |_| ());
            run.acknowledge(&posted);
            let status = eventually("it dies", || node.child.try_wait().unwrap());
            assert_eq!(status.signal(), Some(SIGKILL), "{}", node.log());
        }
        assert!(proof.exists(), "it died of something else");
        let mut node = run.node();
        assert!(run.look(&mut node));
        node.stop();
        let [committed, all] = counts(run);
        if all > committed {
            return;
        }
    }
    panic!("{TRIES} kills, and none with outputs on the brokers");
}

// --- Java -------------------------------------------------------------------------------------

/// A record as Java sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    key: Option<Vec<u8>>,
    value: Option<String>,
}

/// Records of a topic by partition and offset.
type Places = BTreeMap<(u32, u64), Seen>;

/// What `JavaClient.java` printed.
#[derive(Debug, Default)]
struct Java {
    /// By topic, under `read_committed`.
    committed: BTreeMap<String, Places>,
    /// By topic, with Java's defaults; without the raw topic.
    default: BTreeMap<String, Places>,
    /// Where its producer put a record with this key.
    placed: BTreeMap<Vec<u8>, u32>,
}

impl Java {
    fn look(run: &Run) -> Self {
        let mut command = Command::new("java");
        command.args(["-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
        command.args(["-cp", &format!("{}/*", broker::jars().display())]);
        command.arg(client("JavaClient.java"));
        command.args([&run.broker.plain, SCRATCH, RAW]).args(Topic::ALL.map(topic));
        let mut java = Self::default();
        for line in succeeds(command).lines() {
            java.read(line).unwrap_or_else(|| panic!("odd line {line:?}"));
        }
        java
    }

    fn read(&mut self, line: &str) -> Option<()> {
        let fields: Vec<_> = line.split('\t').collect();
        let bytes = |text: &str| (text != "-").then(|| STANDARD.decode(text).unwrap());
        match fields[..] {
            ["placed", key, partition] => {
                self.placed.insert(bytes(key)?, partition.parse().ok()?);
            }
            [isolation, topic, partition, offset, key, value] => {
                let side = match isolation {
                    "read_committed" => &mut self.committed,
                    "default" => &mut self.default,
                    _ => return None,
                };
                let value = bytes(value).map(|bytes| String::from_utf8(bytes).unwrap());
                let place = (partition.parse().ok()?, offset.parse().ok()?);
                let seen = Seen { key: bytes(key), value };
                side.entry(topic.to_owned()).or_default().insert(place, seen);
            }
            _ => return None,
        }
        Some(())
    }

    /// Every raw record is where its key belongs, by Java's own account of it.
    fn sees_raw(&self, raw: &[Record]) {
        let seen = &self.committed[RAW];
        let mut busy = BTreeSet::new();
        for record in raw {
            let key = match (&record.key, &record.key_base64) {
                (Some(text), _) => Some(text.clone().into_bytes()),
                (None, Some(base64)) => Some(STANDARD.decode(base64).unwrap()),
                (None, None) => None,
            };
            let place = (record.partition, record.offset);
            assert_eq!(seen[&place].key, key, "{place:?}");
            let Some(key) = key else { continue };
            assert_eq!(self.placed[&key], record.partition, "where Java puts {key:?}");
            busy.insert(record.partition);
        }
        let (keys, partitions) = (self.placed.len(), busy.len());
        say(&format!("Java puts {keys} keys where we did, in {partitions} partitions"));
        assert!(keys > 10 && partitions > 4, "too little was posted to prove anything");
    }

    /// Each committed record is one of the golden fold, in its order, in the partition of the raw
    /// record that it names; what is about an account is where Java puts that account.
    fn sees_each_output_beside_its_raw_record(&self, golden: &Golden) {
        let raw = &self.committed[RAW];
        let mut accounts = 0;
        for of in Topic::ALL {
            let nothing = Places::new();
            let seen = self.committed.get(&topic(of)).unwrap_or(&nothing);
            for partition in 0..PARTITIONS {
                let seen = seen.range((partition, 0)..(partition + 1, 0)).map(|(_, seen)| seen);
                let golden = golden.outputs.get(&(of, partition)).into_iter().flatten();
                let golden = golden.map(|plain| Seen {
                    key: Some(plain.key.clone().into_bytes()),
                    value: plain.value.clone(),
                });
                assert!(seen.cloned().eq(golden), "{} {partition}", topic(of));
            }
            for (&(partition, _), seen) in seen {
                let value = json(seen);
                let source = value["source_offset"].as_u64().unwrap();
                assert_eq!(value["source_partition"], partition, "{value}");
                assert!(raw.contains_key(&(partition, source)), "{value}");
                let account = value["waba_id"].as_str().unwrap_or_default().as_bytes();
                if let Some(&placed) = self.placed.get(account) {
                    assert_eq!(placed, partition, "{value}");
                    accounts += 1;
                }
            }
        }
        say(&format!("{accounts} derived records name an account that Java puts there too"));
        assert!(accounts > 100);
    }

    /// With its defaults Java hands out records that were never committed, each of which comes once
    /// more: what counts `event_id`s counts those twice.
    fn needs_read_committed(&self) {
        let mut aborted = 0;
        for (topic, all) in &self.default {
            let committed = &self.committed[topic];
            assert!(committed.iter().all(|(place, seen)| all.get(place) == Some(seen)), "{topic}");
            let again: BTreeSet<_> = committed.values().collect();
            assert_eq!(again.len(), committed.len(), "{topic}: committed once each");
            let extra = all.iter().filter(|(place, _)| !committed.contains_key(place));
            for (place, seen) in extra {
                assert!(again.contains(seen), "{topic} {place:?}: {seen:?}");
                aborted += 1;
            }
        }
        say(&format!(
            "{aborted} aborted records, seen by Java's default and not by read_committed"
        ));
        assert!(aborted > 0, "nothing was aborted, so nothing is shown");
    }
}

fn json(seen: &Seen) -> Value {
    serde_json::from_str(seen.value.as_deref().expect("no row was deleted")).unwrap()
}

// --- Python -----------------------------------------------------------------------------------

/// confluent-kafka, as `scripts/setup.sh` installs it.
fn python(run: &Run, what: &str, arguments: &[&str]) -> String {
    let python = std::env::var_os("TICKFOLD_CLIENTS_PYTHON").expect(
        "TICKFOLD_CLIENTS_PYTHON is not set: run scripts/setup.sh, then `. scripts/env.sh`",
    );
    let mut command = Command::new(python);
    command.arg(client("python_client.py")).args([what, &run.broker.plain]).args(arguments);
    succeeds(command)
}

fn python_table(run: &Run) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Row {
        key: String,
        value: String,
    }
    let rows = python(run, "table", &[&topic(Topic::MessageState)]);
    let rows = rows.lines().map(|line| serde_json::from_str(line).unwrap());
    rows.map(|Row { key, value }| (key, value)).collect()
}

/// Ends less committed positions, as confluent-kafka asks the brokers for them, are the lag that
/// `/metrics` tells.
fn lag_is_that_of_the_group(run: &Run, node: &Node) {
    #[derive(Deserialize)]
    struct Line {
        partition: u32,
        committed: i64,
        end: i64,
    }
    let theirs = || -> BTreeMap<u32, i64> {
        let lines = python(run, "lag", &["tickfold", RAW]);
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.map(|Line { partition, committed, end }| (partition, end - committed)).collect()
    };
    let lag = eventually("both tell the same lag", || {
        let ours = lag_of(node);
        let there_is_some = ours.values().all(|lag| *lag > 0);
        (there_is_some && theirs() == ours && lag_of(node) == ours).then_some(ours)
    });
    assert_eq!(lag.len(), PARTITIONS as usize);
    say(&format!("lag, by /metrics and by the group: {lag:?}"));
}

fn lag_of(node: &Node) -> BTreeMap<u32, i64> {
    let page = node.admin("/metrics").text();
    let lags = page.lines().filter_map(|line| {
        let (_, rest) = line.split_once("tickfold_processor_lag_records{partition=\"")?;
        let (partition, lag) = rest.split_once("\"} ")?;
        Some((partition.parse().unwrap(), lag.parse().unwrap()))
    });
    lags.collect()
}

// --- kcat -------------------------------------------------------------------------------------

/// How many transitions kcat reads that are committed, and how many it reads otherwise.
fn counts(run: &Run) -> [usize; 2] {
    ["read_committed", "read_uncommitted"].map(|isolation| {
        let mut command = Command::new("kcat");
        command.args(["-C", "-b", &run.broker.plain, "-t", &topic(Topic::Transition)]);
        command.args(["-o", "beginning", "-e", "-q", "-f", "%o\n"]);
        command.args(["-X", &format!("isolation.level={isolation}")]);
        succeeds(command).lines().count()
    })
}

/// Each prints something, and the one that says it prints a table prints the golden one.
fn kcat_lines_of_the_documentation(run: &Run, rows: &BTreeMap<String, String>) {
    let mut tables = 0;
    let mut lines = 0;
    for page in pages() {
        for line in commands(&std::fs::read_to_string(&page).unwrap(), "kcat") {
            let place = format!("{}: {line}", page.display());
            assert!(line.contains("-b 127.0.0.1:9092 "), "{place}: where is the broker?");
            let mut command = Command::new("sh");
            command.args(["-c", &line.replace("127.0.0.1:9092", &run.broker.plain)]);
            let printed = succeeds(command);
            assert!(!printed.is_empty(), "{place}: prints nothing");
            if line.contains("| awk ") {
                let printed: BTreeSet<_> = printed.lines().collect();
                let rows: BTreeSet<_> = rows.values().map(String::as_str).collect();
                assert_eq!(printed, rows, "{place}");
                tables += 1;
            }
            lines += 1;
        }
    }
    say(&format!("{lines} lines for kcat do what they say"));
    assert!(lines > 3 && tables > 0, "{lines} lines: are the pages still where they were?");
}

fn client(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// What a command prints that has to end well.
fn succeeds(command: Command) -> String {
    let what = format!("{command:?}");
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
    ended.stdout
}
