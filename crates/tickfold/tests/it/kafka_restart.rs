//! From kill -9 of a node on Kafka to its first new committed output, on the same disk: the same
//! with a small store and with a large one, since nothing is folded again but what is missing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tickfold_core::raw::WebhookHeaders;
use tickfold_core::records::Topic;
use tickfold_core::time::Timestamp;
use tickfold_log::{Append, Header, KafkaLog, KafkaOptions, Log, TopicPartition};
use tokio::runtime::Runtime;

use crate::kafka_run::{Run, command_on};
use crate::support::{
    Node, PARTITIONS, RAW, base, eventually, is_soak, messages_of, say, signature, status,
    status_body_of,
};

const KILLS: usize = 5;
const STATUSES_PER_BODY: usize = 100;
/// More than there are partitions, so that all are about as busy.
const ACCOUNTS: usize = 24;
const FIRST_ACCOUNT: u64 = 215_589_900_001_000;
/// What is promised of a restart.
const LIMIT: Duration = Duration::from_secs(3);
/// By how much two medians of the same work may differ on a machine with other work.
const NOISE: Duration = Duration::from_millis(150);

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_restart_takes_the_same_time_with_a_large_store() {
    let (small, large) = if is_soak() { (10_000, 1_000_000) } else { (10_000, 100_000) };
    let mut run = Run::new(61);
    let options = KafkaOptions {
        replication_factor: 1,
        min_insync_replicas: 1,
        ..KafkaOptions::new(&run.broker.plain)
    };
    let (runtime, log) = (Runtime::new().unwrap(), KafkaLog::connect(options).unwrap());
    let small_root = TempDir::new().unwrap();
    let site = |prefix, root| Site { prefix, root, run: &run, runtime: &runtime, log: &log };
    let sites = [(site("small", small_root.path()), small), (site("wa", run.root.path()), large)];
    let mut nodes = sites.each_ref().map(|(site, messages)| Some(site.filled(*messages)));
    let mut times = [Vec::new(), Vec::new()];
    // In turns, so that whatever else the machine does meets both.
    for kill in 0..KILLS {
        for (((site, _), node), times) in sites.iter().zip(&mut nodes).zip(&mut times) {
            let (again, took) = site.kill(node.take().unwrap(), kill);
            *node = Some(again);
            times.push(took);
        }
    }
    nodes.into_iter().flatten().for_each(Node::stop);
    let medians = times.each_mut().map(|times| {
        times.sort_unstable();
        times[KILLS / 2]
    });
    for ((_, messages), times) in sites.iter().zip(&times) {
        say(&format!("{messages} messages: first new output after kill -9: {times:.2?}"));
    }
    let ratio = medians[1].as_secs_f64() / medians[0].as_secs_f64();
    say(&format!("restart with {large} messages takes {ratio:.2} times that with {small}"));
    assert!(medians.iter().all(|median| *median <= LIMIT), "{medians:?}");
    assert!(medians[1] <= medians[0].mul_f64(1.2) + NOISE, "{medians:?}");
    let mut node = run.node();
    assert!(run.look(&mut node));
    node.stop();
    run.look_at_stores();
}

/// A node with topics, group and directory of its own.
struct Site<'a> {
    prefix: &'static str,
    root: &'a Path,
    run: &'a Run,
    runtime: &'a Runtime,
    log: &'a Arc<KafkaLog>,
}

impl Site<'_> {
    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn raw(&self) -> String {
        self.topic(RAW.strip_prefix("wa.").unwrap())
    }

    fn start(&self) -> Node {
        let mut command = command_on(self.root, &self.run.broker.plain);
        command.env("TICKFOLD_TOPIC_PREFIX", self.prefix);
        if self.prefix != "wa" {
            command.env("TICKFOLD_GROUP", self.prefix);
        }
        Node::spawn(self.root, command).unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
    }

    /// A node that has folded so many messages.
    fn filled(&self, messages: usize) -> Node {
        let node = self.start();
        let begun = Instant::now();
        self.runtime.block_on(self.fill(messages));
        self.wait_until_folded(&node);
        let took = begun.elapsed();
        say(&format!("{messages} messages appended, folded and committed in {took:.1?}"));
        node
    }

    /// Appends bodies as ingress would.
    async fn fill(&self, messages: usize) {
        let bodies = (0..messages).step_by(STATUSES_PER_BODY).map(|first| {
            let numbers = first..(first + STATUSES_PER_BODY).min(messages);
            let statuses = numbers.map(|n| status(&format!("wamid.FILL.{n}"), "sent", 1));
            let statuses = statuses.collect::<Vec<_>>().join(",");
            let account = (first / STATUSES_PER_BODY % ACCOUNTS) as u64;
            let waba = (FIRST_ACCOUNT + account).to_string();
            self.raw_record(&messages_of(&waba, &format!(r#""statuses":[{statuses}]"#)))
        });
        let mut bodies = bodies.peekable();
        while bodies.peek().is_some() {
            self.log.append(bodies.by_ref().take(50).collect()).await.unwrap();
        }
    }

    /// The raw record of a body that names one account.
    fn raw_record(&self, body: &str) -> Append {
        let [to] = tickfold_core::route(body.as_bytes(), PARTITIONS).try_into().unwrap();
        let headers = WebhookHeaders {
            signature: signature(body.as_bytes()),
            received_time: Timestamp::from_millis(base() * 1_000),
            app: "main".to_owned(),
            secret_id: "main".to_owned(),
            request_id: "0".to_owned(),
            partition_count: PARTITIONS,
        };
        let header = |(name, value): (&'static str, String)| Header {
            name: name.into(),
            value: value.into(),
        };
        Append {
            to: TopicPartition::new(self.raw(), to.partition),
            key: Some(Bytes::from(to.key)),
            value: Some(Bytes::copy_from_slice(body.as_bytes())),
            headers: headers.encode().into_iter().map(header).collect(),
            timestamp_ms: None,
        }
    }

    fn wait_until_folded(&self, node: &Node) {
        let raw = self.raw();
        let topics = self.runtime.block_on(self.log.topics()).unwrap();
        let raw = topics.iter().find(|topic| topic.spec.name == raw).unwrap();
        let ends: Vec<u64> = raw.bounds.iter().map(|bounds| bounds.end).collect();
        // As often as it takes: each wait is for progress.
        let mut left = u64::MAX;
        while left > 0 {
            left = eventually("the fold goes on", || {
                let page = node.admin("/statusz").text();
                let page: serde_json::Value = serde_json::from_str(&page).unwrap();
                let at = |p: usize| page["partitions"][p]["position"].as_u64().unwrap_or(0);
                let to_go = |(p, end): (usize, &u64)| end.saturating_sub(at(p));
                let now: u64 = ends.iter().enumerate().map(to_go).sum();
                (now < left).then_some(now)
            });
        }
    }

    /// Kills the node, starts it again, posts, and waits for the output to be readable by others.
    fn kill(&self, node: Node, kill: usize) -> (Node, Duration) {
        let wamid = format!("wamid.AGAIN.{kill}");
        let body = status_body_of(&FIRST_ACCOUNT.to_string(), &wamid, "sent", 1);
        let [to] = tickfold_core::route(body.as_bytes(), PARTITIONS).try_into().unwrap();
        let out = self.topic(Topic::MessageState.name());
        let out = TopicPartition::new(out, to.partition);
        let end = self.runtime.block_on(self.log.bounds(&out)).unwrap().end;
        let begun = Instant::now();
        node.kill9();
        let node = self.start();
        node.post(&body);
        self.runtime.block_on(self.log.wait_past(&out, end)).unwrap();
        let took = begun.elapsed();
        let message = eventually("it is that output", || node.rpc().message(&wamid));
        assert_eq!(message.state_text, "sent");
        (node, took)
    }
}
