//! Ingress is down for 20 minutes, in which deadlines pass: nothing fires meanwhile, and what Meta
//! sends again afterwards, in the wrong order, finds no fallback asked for.
//!
//! The embedded log's clock is the test's: it is put ahead while the node is down. Every order of
//! the retries, and what an outage really lost, are in the processor's tests.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::records::Topic;

use crate::flows::{Log, LogClock, Stage, price, to};
use crate::support::{PARTITIONS, RAW, assert_golden, say};

const MINUTE_MS: i64 = 60_000;
const WABA: &str = "300000000000031";

fn code(stage: &Stage, wamid: &str, word: &str, time: i64) {
    let members = to("447700900601") + &price("authentication", "regular");
    stage.status(WABA, wamid, word, time, &members);
}

/// Log time of the partition in which least of it has passed.
fn log_time_ms(stage: &Stage) -> i64 {
    let mut newest: BTreeMap<u32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    for record in stage.node.tail(RAW) {
        let known = newest.entry(record.partition).or_default();
        *known = (*known).max(record.timestamp().as_millis());
    }
    newest.into_values().min().unwrap()
}

/// Ingress listens for so long, by ticks.
fn listen(stage: &Stage, ms: i64) {
    let until = log_time_ms(stage) + ms;
    stage.eventually("log time passes", |stage| (log_time_ms(stage) >= until).then_some(()));
    assert_golden(&stage.node);
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn an_outage_of_ingress_fires_no_false_fallback() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::start(dir.path(), Log::Embedded(LogClock::new(30)));
    // So that no slow machine makes the control too late.
    stage.apply(|document| document["fallbacks"][0]["valid_for"] = json!("12h"));
    let sent = stage.ago(0);
    code(&stage, "wamid.BEFORE", "sent", sent);
    assert_golden(&stage.node);
    let before = stage.node.tail(RAW).len();

    // Down. The log is what it was, so nothing was decided by anybody.
    stage.node.child.kill().unwrap();
    stage.node.child.wait().unwrap();
    let Log::Embedded(clock) = &mut stage.log else { unreachable!("it was started so") };
    clock.skip(20 * MINUTE_MS);
    stage.kill_and_restart();
    listen(&stage, 30_000);
    let raw = stage.node.tail(RAW);
    let last = raw.iter().map(|record| record.timestamp().as_millis()).max().unwrap();
    say(&format!("{before} raw records before the outage, {} after it", raw.len()));
    assert!(last - sent * 1_000 > 20 * MINUTE_MS, "the outage landed");
    assert_eq!(stage.actions(WABA), [Value::Null; 0]);

    // A code that was sent meanwhile, told backwards, and the one from before.
    for (wamid, word, after_s) in [
        ("wamid.DURING", "read", 303),
        ("wamid.DURING", "sent", 300),
        ("wamid.BEFORE", "delivered", 2),
        ("wamid.DURING", "delivered", 301),
    ] {
        code(&stage, wamid, word, sent + after_s);
    }
    listen(&stage, 5 * MINUTE_MS);
    assert_eq!(stage.actions(WABA), [Value::Null; 0]);
    assert_eq!(stage.of(WABA, Topic::Alert), [Value::Null; 0]);
    let mut states: Vec<_> = ["wamid.BEFORE", "wamid.DURING"]
        .map(|wamid| stage.row(Topic::MessageState, wamid).unwrap()["state"].clone())
        .into();
    assert_eq!(states.pop().unwrap(), "read");
    assert_eq!(states.pop().unwrap(), "delivered");

    // The null control: in the same node a code that nobody delivers does fall back.
    code(&stage, "wamid.AFTER", "sent", stage.ago(600));
    let action = stage
        .eventually("the fallback is asked for", |stage| stage.actions(WABA).into_iter().next());
    assert_eq!(
        (&action["kind"], &action["wamid"]),
        (&json!("sms_fallback"), &json!("wamid.AFTER"))
    );
    stage.node.stop();
}
