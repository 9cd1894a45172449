//! More traffic than usual and a log that is away: what is refused is refused by the table, what was
//! acknowledged is there, and it passes.
//!
//! `tickfold load` makes the traffic and verifies the state afterwards; a probe beside it sees what
//! one sender sees. That the verification can fail is shown in `load.rs`.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::faults::attach;
use crate::support::{Node, is_soak, say, soak_row, status_body, tickfold, up, with_secrets};

/// The answer deadline of ingress, and what client and scheduler may add on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_millis(3_000 + 700);
/// Meta's bound for the median, here for each of several answers in a row.
const QUICK: Duration = Duration::from_millis(250);
/// So many quick 200s in a row are a recovery.
const RECOVERED_AFTER: usize = 5;
const RECOVERY_LIMIT: Duration = Duration::from_secs(10);

/// One POST of the probe.
struct Probed {
    begun: Instant,
    took: Duration,
    status: u16,
    retry_after: bool,
}

impl Probed {
    fn ended(&self) -> Instant {
        self.begun + self.took
    }
}

/// Posts about ten statuses a second on one connection, until told to stop.
fn probe(node: &Node, stop: &AtomicBool) -> Vec<Probed> {
    let mut http = node.webhooks();
    let mut probed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let body = status_body(&format!("wamid.PROBE{}", probed.len()), "sent", 1);
        let begun = Instant::now();
        let answer = http.post_signed(body.as_bytes()).unwrap();
        let took = begun.elapsed();
        let retry_after = answer.header("retry-after").is_some();
        probed.push(Probed { begun, took, status: answer.status, retry_after });
        thread::sleep(Duration::from_millis(100).saturating_sub(took));
    }
    probed
}

/// How long after `since` the first of several quick 200s in a row was asked for.
fn recovery(probed: &[Probed], since: Instant) -> Duration {
    let after: Vec<&Probed> = probed.iter().filter(|one| one.begun >= since).collect();
    let good = |one: &&Probed| one.status == 200 && one.took <= QUICK;
    let first = after.windows(RECOVERED_AFTER).find(|window| window.iter().all(good));
    let first = first.unwrap_or_else(|| panic!("no recovery in {} probes", after.len()));
    first[0].begun - since
}

/// `tickfold load` with these arguments; its report, whatever the verdict on latency is.
fn load(node: &Node, args: &[&str]) -> Value {
    let mut command: Command = tickfold();
    let url = format!("http://{}/webhook/main", node.http);
    command.args(["load", "--url", &url, "--grpc-addr", &node.grpc, "-o", "json", "--verify"]);
    command.args(args).stdin(Stdio::null());
    with_secrets(&mut command);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

fn count(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("no number {name} in {of:#}"))
}

/// 503 with Retry-After is the only refusal, and what was accepted is in the state, once.
fn assert_only_503_and_nothing_lost(report: &Value) {
    let refused = report["refused"].as_object().unwrap();
    assert!(refused.keys().all(|code| code == "503"), "{report:#}");
    assert_eq!(count(report, "refused_without_retry_after"), 0, "{report:#}");
    assert_eq!(report["unexpected"], serde_json::json!({}), "{report:#}");
    assert_eq!(report["errors"], serde_json::json!({}), "{report:#}");
    assert_eq!(report["verify"]["ok"], true, "{report:#}");
}

/// One fault, and whether it struck.
fn append_row(what: &str, landed: bool, report: &Value) {
    let verify = &report["verify"];
    let (lost, twice) = (count(verify, "missing"), count(verify, "twice"));
    soak_row(what, 1, u64::from(landed), lost, twice);
}

/// Fifty times the traffic for so long: whatever is answered is answered in time, and it passes.
fn burst(node: &Node, burst_s: u64) -> Value {
    let (duration, burst_for) = (format!("{}s", 5 + burst_s + 12), format!("{burst_s}s"));
    let args = ["--rate", "40", "--burst", "50", "--burst-after", "5s", "--duration", &duration];
    let args = [&args, ["--burst-for", &burst_for, "--connections", "1024"].as_slice()].concat();
    let stop = AtomicBool::new(false);
    let (report, probed, begun) = thread::scope(|scope| {
        let probing = scope.spawn(|| probe(node, &stop));
        let begun = Instant::now();
        let report = load(node, &args);
        stop.store(true, Ordering::Relaxed);
        (report, probing.join().unwrap(), begun)
    });
    let burst_sent = 40 * 50 * burst_s;
    assert!(count(&report, "sent") >= burst_sent, "the burst was sent: {report:#}");
    assert_only_503_and_nothing_lost(&report);
    assert!(probed.iter().all(|one| one.status == 200 || (one.status == 503 && one.retry_after)));
    let slowest = probed.iter().map(|one| one.took).max().unwrap();
    let recovery = recovery(&probed, begun + Duration::from_secs(5 + burst_s));
    say(&format!(
        "burst: {} sent, {} accepted, {} refused, p99 {} ms, the slowest of {} probes {slowest:?}, \
         recovered {recovery:?} after its end",
        count(&report, "sent"),
        count(&report, "accepted"),
        refused(&report),
        report["latency_ms"]["p99"],
        probed.len(),
    ));
    assert!(slowest <= ANSWER_LIMIT, "{slowest:?}");
    assert!(recovery <= RECOVERY_LIMIT, "{recovery:?}");
    report
}

/// How many were answered 503.
fn refused(report: &Value) -> u64 {
    report["refused"]["503"].as_u64().unwrap_or_default()
}

#[test]
fn a_burst_of_fifty_times_the_traffic_loses_nothing_and_passes() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let report = burst(&node, if is_soak() { 60 } else { 10 });
    append_row("burst of fifty times the traffic", true, &report);
    node.stop();
}

/// The same on a node that may have a few bodies at once in memory: it has to refuse.
#[test]
fn a_burst_beyond_what_is_taken_at_once_is_answered_503_in_time_and_passes() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    command.env("TICKFOLD_INGRESS_BODY_BYTES_MAX", "32KiB");
    command.env("TICKFOLD_INGRESS_INFLIGHT_BYTES_MAX", "36KiB");
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("ended: {ended:?}"));
    let report = burst(&node, 5);
    assert!(refused(&report) > 0, "{report:#}");
    append_row("burst beyond what is taken at once", refused(&report) > 0, &report);
    node.stop();
}

#[test]
fn a_log_that_is_away_is_answered_503_in_time_and_comes_back() {
    const AWAY: Duration = Duration::from_secs(30);
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let injected = dir.path().join("injected");
    let stop = AtomicBool::new(false);
    let (report, probed, away, back) = thread::scope(|scope| {
        let probing = scope.spawn(|| probe(&node, &stop));
        let loading = scope.spawn(|| load(&node, &["--rate", "50", "--duration", "50s"]));
        thread::sleep(Duration::from_secs(5));
        // Longer than the outage: strace is what ends it.
        let tracer = attach(&node, &injected, "delay_enter=60000000");
        let away = Instant::now();
        thread::sleep(AWAY);
        drop(tracer);
        let back = Instant::now();
        let report = loading.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        (report, probing.join().unwrap(), away, back)
    });
    let delayed = fs::read_to_string(&injected).unwrap().matches("fdatasync(").count();
    assert!(delayed > 0, "no sync was delayed");

    // Asked after the log was away and answered before it was back.
    let during: Vec<&Probed> =
        probed.iter().filter(|one| one.begun > away && one.ended() < back).collect();
    assert!(during.len() >= 10, "{} probes during the outage", during.len());
    assert!(during.iter().all(|one| one.status == 503 && one.retry_after));
    let slowest = probed.iter().map(|one| one.took).max().unwrap();
    assert!(slowest <= ANSWER_LIMIT, "{slowest:?}");
    let quick = during.iter().filter(|one| one.took < Duration::from_secs(1)).count();
    assert!(quick * 2 > during.len(), "most were refused before their body was read: {quick}");
    assert!(refused(&report) > 0, "{report:#}");
    assert_only_503_and_nothing_lost(&report);
    let recovery = recovery(&probed, back);
    say(&format!(
        "log away for {:?}: {} probes answered 503, {quick} of them at once, the slowest after \
         {slowest:?}; recovered {recovery:?} after its return; {} accepted, none missing",
        back - away,
        during.len(),
        count(&report, "accepted"),
    ));
    assert!(recovery <= RECOVERY_LIMIT, "{recovery:?}");
    append_row("log away for 30 s", delayed > 0, &report);
    node.stop();
}
