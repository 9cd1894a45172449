//! The example of a consumer, end to end: webhooks into tickfold, actions out of Kafka into the
//! worker, which is killed with SIGKILL between the gateway's acceptance and its own commit. The
//! gateway's log counts: each SMS once.
//!
//! The worker and the stub gateway are programs of another package of the workspace, which cargo
//! builds beside tickfold when the tests of the workspace are built.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::records::Topic;

use crate::flows::{Log, LogClock, Stage, price, to};
use crate::kafka::broker;
use crate::support::{clean, eventually, run, say, tickfold};

const WABAS: [&str; 2] = ["300000000000051", "300000000000052"];
/// Messages that fail, of each account.
const MESSAGES: usize = 6;
const KILLS: usize = 3;

fn example(name: &str) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_tickfold")).with_file_name(name);
    assert!(
        path.exists(),
        "no {name}: run cargo test --workspace, or cargo build -p fallback-worker"
    );
    let mut command = Command::new(path);
    clean(&mut command);
    command
}

/// The stub gateway, which answers some time after it took a request. Killed when dropped.
struct Gateway {
    child: Child,
    addr: String,
    log: PathBuf,
}

impl Gateway {
    fn start(dir: &Path, delay_ms: u64) -> Self {
        let log = dir.join("gateway.jsonl");
        let mut command = example("stub-gateway");
        command.args(["--addr", "127.0.0.1:0", "--delay-ms", &delay_ms.to_string(), "--log"]);
        let mut child = command.arg(&log).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("stub gateway: ").unwrap().to_owned();
        Self { child, addr, log }
    }

    /// How often it took each key, as `sent` and as `repeated`.
    fn log(&self) -> BTreeMap<String, (usize, usize)> {
        let mut keys: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for line in std::fs::read_to_string(&self.log).unwrap().lines() {
            // The last one may be half written.
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let (sent, repeated) =
                keys.entry(line["key"].as_str().unwrap().to_owned()).or_default();
            match line["what"].as_str() {
                Some("sent") => *sent += 1,
                _ => *repeated += 1,
            }
        }
        keys
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker. Killed when dropped.
struct Worker(Child);

impl Worker {
    fn start(dir: &Path, topic: &str, gateway: &Gateway) -> Self {
        let mut command = example("fallback-worker");
        command.args(["--kafka", &broker::shared(), "--topic", topic, "--group", topic]);
        command.args(["--instance", "one", "--gateway", &gateway.addr]);
        let out = File::options().create(true).append(true).open(dir.join("worker.jsonl")).unwrap();
        Self(command.stdin(Stdio::null()).stdout(out).spawn().unwrap())
    }

    /// SIGTERM, and the orderly end.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = eventually("the worker ends", || self.0.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keys that the worker said it had sent.
fn said_sent(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("worker.jsonl")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let sent = lines.filter(|line| line["done"] == "sent");
    sent.map(|line| line["action_id"].as_str().unwrap().to_owned()).collect()
}

fn fail(stage: &Stage, waba: &str, wamid: &str, customer: &str) {
    let errors = r#","errors":[{"code":131026,"title":"Message undeliverable"}]"#;
    let members = customer.to_owned() + &price("utility", "regular") + errors;
    stage.status(waba, wamid, "failed", stage.ago(5), &members);
}

/// Fallbacks of both accounts; one is taken back at once, one is for who has no phone number.
fn post(stage: &Stage) {
    for waba in WABAS {
        for n in 0..MESSAGES {
            fail(stage, waba, &format!("wamid.{waba}.{n}"), &to(&format!("44770090080{n}")));
        }
    }
    fail(stage, WABAS[0], "wamid.LATE", &to("447700900888"));
    stage.status(WABAS[0], "wamid.LATE", "delivered", stage.ago(4), &to("447700900888"));
    fail(stage, WABAS[1], "wamid.BSUID", r#","recipient_user_id":"GB.48210093377120064511""#);
    stage.settled();
}

/// Ids of the fallbacks that are to be carried out.
fn owed(stage: &Stage) -> Vec<String> {
    let actions = stage.values(Topic::Action);
    let superseded: Vec<_> = actions.iter().map(|action| action["supersedes"].clone()).collect();
    let owed = actions.iter().filter(|action| {
        action["kind"] == "sms_fallback"
            && !superseded.contains(&action["action_id"])
            && action["wamid"] != "wamid.BSUID"
    });
    owed.map(|action| action["action_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn fallback_worker_may_be_killed_and_sends_each_sms_once() {
    let dir = TempDir::new().unwrap();
    let log = Log::on_kafka("worker");
    let Log::Kafka(prefix) = &log else { unreachable!("it is on Kafka") };
    let topic = format!("{prefix}.action.v1");
    let stage = Stage::start(dir.path(), log);
    post(&stage);
    let mut owed = owed(&stage);
    assert_eq!(owed.len(), 2 * MESSAGES);

    let gateway = Gateway::start(dir.path(), 400);
    let mut landed = 0;
    for _ in 0..KILLS {
        let before = gateway.log();
        let worker = Worker::start(dir.path(), &topic, &gateway);
        // It took one more; its answer is on the way for as long as the gateway waits.
        eventually("the gateway takes an SMS", || {
            (gateway.log().values().map(|(sent, _)| sent).sum::<usize>()
                > before.values().map(|(sent, _)| sent).sum())
            .then_some(())
        });
        drop(worker);
        let taken = gateway.log();
        let said = said_sent(dir.path());
        landed += usize::from(taken.keys().any(|key| !said.contains(key)));
    }
    assert_eq!(landed, KILLS, "killed between the call and its answer");

    let worker = Worker::start(dir.path(), &topic, &gateway);
    eventually("all of them are sent", || {
        let sent = gateway.log();
        owed.iter().all(|id| sent.contains_key(id)).then_some(())
    });
    worker.stop();
    let taken = gateway.log();
    let mut keys: Vec<_> = taken.keys().cloned().collect();
    keys.sort();
    owed.sort();
    assert_eq!(keys, owed, "neither what was taken back nor who has no phone number");
    assert!(taken.values().all(|(sent, _)| *sent == 1), "{taken:?}");
    let repeated: usize = taken.values().map(|(_, repeated)| repeated).sum();
    assert!(repeated >= KILLS, "what was killed was asked for again: {taken:?}");
    say(&format!("{} SMS, {KILLS} kills, {repeated} repetitions", keys.len()));

    // All was committed at its end: the next one goes on behind it.
    let worker = Worker::start(dir.path(), &topic, &gateway);
    fail(&stage, WABAS[0], "wamid.NEXT", &to("447700900899"));
    eventually("the next one is sent", || (gateway.log().len() > keys.len()).then_some(()));
    worker.stop();
    let again: usize = gateway.log().values().map(|(_, repeated)| repeated).sum();
    assert_eq!(again, repeated, "nothing was asked for again");
    stage.node.stop();
}

/// Where there is no Kafka: what `tail` prints is piped into it, as its page says.
#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn fallback_worker_reads_what_tail_prints() {
    let dir = TempDir::new().unwrap();
    let stage = Stage::start(dir.path(), Log::Embedded(LogClock::new(2)));
    post(&stage);
    let owed = owed(&stage);
    let gateway = Gateway::start(dir.path(), 0);
    for round in 0..2 {
        let mut tail = tickfold();
        tail.args(["tail", "wa.action.v1", "--from-beginning", "--until-end", "-o", "jsonl"]);
        tail.args(["--grpc-addr", &stage.node.grpc]);
        let lines = run(tail, b"").stdout;
        let mut worker = example("fallback-worker");
        worker.args(["--stdin", "--gateway", &gateway.addr]);
        let ended = run(worker, lines.as_bytes());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let taken = gateway.log();
        assert_eq!(taken.len(), owed.len());
        assert!(owed.iter().all(|id| taken[id] == (1, round)), "{taken:?}");
    }
    stage.node.stop();
}
