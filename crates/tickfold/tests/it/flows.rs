//! The workflows that businesses run on tickfold, end to end: webhooks in over HTTP, what a service
//! of theirs would read out of the derived topics, on the embedded log and on Kafka.
//!
//! All of them run side by side in one node, each for accounts and customers of its own, and the
//! node is killed with SIGKILL in the middle. So what takes a minute of log time is waited for once.
//! The rules are a document of ours, put into force by `tickfold rules apply`.
//!
//! Time: timers follow log time, and a delivery deadline is never judged within 60 s after the first
//! sight of its message. On Kafka log time is the broker's clock, so that minute is waited for. The
//! embedded log's clock runs 20 times as fast (`TICKFOLD_LOG_CLOCK`, compiled with the fail points),
//! with ticks that come more often likewise. Event times are those of the log's clock in both.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::records::Topic;
use tickfold_core::rules::Rules;

use crate::kafka::{broker, with_one_replica};
use crate::support::{Node, PATIENCE, assert_golden, messages_of, say, up};
use crate::{flows_charges, flows_conversations, flows_messages};

/// A workflow: what is posted before the node is killed, and what must follow after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) name: &'static str,
    pub(crate) begins: fn(&Stage),
    pub(crate) ends: fn(&Stage),
}

/// The longest wait first: what others do meanwhile costs no time.
fn flows() -> Vec<Flow> {
    [flows_messages::FLOWS, flows_conversations::FLOWS, flows_charges::FLOWS].concat()
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn flows_hold_on_the_embedded_log() {
    let dir = TempDir::new().unwrap();
    run(Stage::start(dir.path(), Log::Embedded(LogClock::new(20))));
}

#[test]
fn flows_hold_on_kafka() {
    let dir = TempDir::new().unwrap();
    run(Stage::start(dir.path(), Log::on_kafka("flows")));
}

fn run(mut stage: Stage) {
    stage.apply(rules);
    for flow in flows() {
        say(&format!("{}: {} begins", stage.log.name(), flow.name));
        (flow.begins)(&stage);
    }
    stage.kill_and_restart();
    for flow in flows() {
        let begun = Instant::now();
        (flow.ends)(&stage);
        say(&format!("{}: {} ended in {:.1?}", stage.log.name(), flow.name, begun.elapsed()));
    }
    assert_golden(&stage.node);
    assert_eq!(stage.values(Topic::DeadLetter), [Value::Null; 0]);
    let actions = stage.values(Topic::Action);
    let mut ids: Vec<_> = actions.iter().map(|action| action["action_id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), actions.len(), "no action is told twice");
    stage.node.stop();
}

/// What a business sets: fallbacks that make sense for hours, so that no slow machine makes one too
/// late, and where its customers' choices go.
fn rules(document: &mut Value) {
    document["fallbacks"] = json!([
        {"category": "authentication", "valid_for": "12h"},
        {"category": "utility", "valid_for": "24h"},
        {"category": "unknown", "valid_for": "12h"},
    ]);
    document["offer_resend"]["valid_for"] = json!("12h");
    let route =
        |when: Value, queue: &str| json!({"when": when, "then": {"do": "route", "queue": queue}});
    document["inbound"] = json!([
        route(json!({"button_payload": "LEAD_BUY"}), "sales"),
        route(json!({"button_payload": "LEAD_RENT"}), "rentals"),
        route(json!({"button_payload": "LEAD_OTHER"}), "front-desk"),
        route(json!({"keyword": "agent"}), "agents"),
    ]);
}

/// Where a node has its log.
#[derive(Debug, Clone)]
pub(crate) enum Log {
    /// In its data directory, with a clock of the test's.
    Embedded(LogClock),
    /// On the broker that all tests share, with topics and a group of these names.
    Kafka(String),
}

impl Log {
    /// Beside the topics of other tests, and of earlier runs on a broker that stays.
    pub(crate) fn on_kafka(test: &str) -> Self {
        Self::Kafka(format!("{test}-{}", std::process::id()))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Kafka(_) => "kafka",
        }
    }

    /// `up` with its log there, and ticks that are as far apart in log time as they always are.
    pub(crate) fn command(&self, root: &Path) -> Command {
        let mut command = up(root);
        match self {
            Self::Embedded(clock) => {
                let LogClock { origin_ms, speed } = clock;
                command.env("TICKFOLD_LOG_CLOCK", format!("{origin_ms}:{speed}"));
                let tick_ms = (10_000 / speed).clamp(200, 5_000);
                command.env("TICKFOLD_INGRESS_TICK_INTERVAL", format!("{tick_ms}ms"));
            }
            Self::Kafka(name) => {
                command.args(["--kafka", &broker::shared()]);
                with_one_replica(&mut command);
                command.env("TICKFOLD_TOPIC_PREFIX", name).env("TICKFOLD_GROUP", name);
                command.env("TICKFOLD_INGRESS_TICK_INTERVAL", "2s");
            }
        }
        // What waits for its position in the state is compared at once.
        command.env("TICKFOLD_PROCESSOR_TICK_COMMIT_INTERVAL", "1s");
        command
    }

    /// What the log's clock shows, in milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        match self {
            Self::Embedded(clock) => clock.now_ms(),
            Self::Kafka(_) => real_ms(),
        }
    }
}

/// A clock that runs so many times as fast as the real one since a moment.
#[derive(Debug, Clone)]
pub(crate) struct LogClock {
    origin_ms: i64,
    speed: i64,
}

impl LogClock {
    pub(crate) fn new(speed: i64) -> Self {
        Self { origin_ms: real_ms(), speed }
    }

    fn now_ms(&self) -> i64 {
        self.origin_ms + (real_ms() - self.origin_ms) * self.speed
    }

    /// Puts it ahead. A node has it so from its next start on.
    pub(crate) fn skip(&mut self, ms: i64) {
        self.origin_ms -= ms / (self.speed - 1);
    }
}

fn real_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A node with its log, and what tests ask of it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) log: Log,
    pub(crate) node: Node,
}

impl Stage {
    pub(crate) fn start(root: &Path, log: Log) -> Self {
        let node = Node::spawn(root, log.command(root));
        let node = node.unwrap_or_else(|ended| panic!("{}: ended: {ended:?}", log.name()));
        Self { log, node }
    }

    /// kill -9, and the next life.
    pub(crate) fn kill_and_restart(&mut self) {
        let root = self.node.root.clone();
        self.node.child.kill().unwrap();
        self.node.child.wait().unwrap();
        let node = Node::spawn(&root, self.log.command(&root));
        self.node = node.unwrap_or_else(|ended| panic!("{}: {ended:?}", self.log.name()));
    }

    /// Puts the built-in rules into force with a change and the next version, as a user does.
    pub(crate) fn apply(&self, change: impl FnOnce(&mut Value)) {
        let mut document: Value = serde_json::from_slice(&Rules::built_in().canonical()).unwrap();
        let version = self.rules_version() + 1;
        document["version"] = json!(version);
        change(&mut document);
        let file = self.node.root.join("rules.json");
        std::fs::write(&file, document.to_string()).unwrap();
        let ended = self.node.cli(&["rules", "apply", file.to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        self.eventually("the rules are in force", |stage| {
            (stage.rules_version() == version).then_some(())
        });
    }

    /// The lowest that any partition has.
    fn rules_version(&self) -> u64 {
        let shown = self.node.cli_json(&["rules", "show"]);
        let partitions = shown["partitions"].as_array().unwrap().iter();
        partitions.map(|one| one["version"].as_u64().unwrap()).min().unwrap()
    }

    /// Seconds of Meta's clock, so many before now.
    pub(crate) fn ago(&self, seconds: i64) -> i64 {
        self.log.now_ms() / 1_000 - seconds
    }

    /// Posts one `messages` change of an account.
    pub(crate) fn post(&self, waba: &str, members: &str) {
        self.node.post(messages_of(waba, members));
    }

    /// Posts one status of an account: its members in JSON, without the braces.
    pub(crate) fn status(&self, waba: &str, wamid: &str, word: &str, time: i64, members: &str) {
        self.post(
            waba,
            &format!(
                r#""statuses":[{{"id":"{wamid}","status":"{word}","timestamp":"{time}"{members}}}]"#
            ),
        );
    }

    /// Posts one message of a customer, likewise.
    pub(crate) fn inbound(&self, waba: &str, wamid: &str, time: i64, members: &str) {
        self.post(
            waba,
            &format!(r#""messages":[{{"id":"{wamid}","timestamp":"{time}"{members}}}]"#),
        );
    }

    /// Values of a topic, without tombstones.
    pub(crate) fn values(&self, of: Topic) -> Vec<Value> {
        let mut values = self.node.values(of);
        values.retain(|value| !value.is_null());
        values
    }

    /// Values of a topic about an account, by partition and offset. Each account is in one
    /// partition, so this is the order in which they were committed.
    pub(crate) fn of(&self, waba: &str, topic: Topic) -> Vec<Value> {
        let mut values = self.values(topic);
        values.retain(|value| value["waba_id"] == waba);
        values
    }

    /// Kinds of the actions about an account, in order.
    pub(crate) fn actions(&self, waba: &str) -> Vec<Value> {
        self.of(waba, Topic::Action)
    }

    /// The newest row of a key of a table.
    pub(crate) fn row(&self, of: Topic, key: &str) -> Option<Value> {
        let rows = self.node.tail(&crate::support::topic(of));
        let row = rows.iter().rfind(|record| record.key.as_deref() == Some(key));
        row.map(|record| record.json()).filter(|value| !value.is_null())
    }

    /// What a command shows, once it shows this: the store follows the topics.
    pub(crate) fn shown(&self, args: &[&str], name: &str, value: Value) -> Value {
        self.eventually(&format!("{args:?} shows {name} {value}"), |stage| {
            let shown = stage.node.cli_json(args);
            (shown[name] == value).then_some(shown)
        })
    }

    /// Polls for something that takes log time: up to some minutes of it.
    pub(crate) fn eventually<T>(&self, what: &str, poll: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE + Duration::from_secs(90);
        loop {
            if let Some(value) = poll(self) {
                return value;
            }
            assert!(Instant::now() < deadline, "{}: not in time: {what}", self.log.name());
            // Each poll starts a process: more of them would slow down what is waited for.
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until what was posted is folded and its outputs are committed.
    pub(crate) fn settled(&self) {
        let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
        for record in self.node.raw_webhooks() {
            ends.insert(record.partition, record.offset + 1);
        }
        self.eventually("what was posted is folded", |stage| {
            let page: Value = serde_json::from_str(&stage.node.admin("/statusz").text()).unwrap();
            let at = |partition: &u32| page["partitions"][*partition as usize]["position"].as_u64();
            ends.iter().all(|(partition, end)| at(partition) >= Some(*end)).then_some(())
        });
    }
}

/// `kind` of each.
pub(crate) fn kinds(values: &[Value]) -> Vec<&str> {
    values.iter().map(|value| value["kind"].as_str().unwrap()).collect()
}

/// A price, as a member of a status.
pub(crate) fn price(category: &str, kind: &str) -> String {
    let billable = kind == "regular";
    format!(
        r#","pricing":{{"billable":{billable},"pricing_model":"PMP","type":"{kind}","category":"{category}"}}"#
    )
}

/// The customer of a status, as a member of it.
pub(crate) fn to(party: &str) -> String {
    format!(r#","recipient_id":"{party}""#)
}
