//! A node with its log on a broker of its own, over many lives and faults, and what it owes.
//!
//! After each fault, once the node is there again, everything is compared by the oracle of the
//! crash tests: each body answered 200 is in raw, the committed outputs are the golden fold of raw,
//! byte for byte and in order, the state is that fold's, and no store was set aside.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tickfold_log::{KafkaLog, KafkaOptions};

use crate::kafka::broker::Broker;
use crate::kafka::with_one_replica;
use crate::support::{
    Ended, Node, PARTITIONS, RAW, Rng, assert_golden, eventually, role_args, say, soak_row,
    tickfold, with_secrets,
};
use crate::support_crash::{Clients, Load, Oracle, Posted, Verdict, set_aside};

/// What the node waits for at the brokers, instead of a minute.
pub(crate) const KAFKA_PATIENCE: Duration = Duration::from_secs(5);

/// A line of the table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) attempted: u64,
    pub(crate) landed: u64,
    pub(crate) lost: u64,
    pub(crate) twice: u64,
}

/// A node, its broker and its oracle.
pub(crate) struct Run {
    pub(crate) root: TempDir,
    pub(crate) broker: Broker,
    pub(crate) seed: u64,
    pub(crate) rng: Rng,
    pub(crate) load: Load,
    pub(crate) rows: BTreeMap<String, Row>,
    oracle: Oracle,
    /// The fault before the present look: what is found wrong goes to its account.
    last: String,
    begun: Instant,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            root: TempDir::new().unwrap(),
            broker: Broker::start(),
            seed,
            rng: Rng(seed),
            load: Load::new(seed),
            rows: BTreeMap::new(),
            oracle: Oracle::new(),
            last: "no fault".to_owned(),
            begun: Instant::now(),
        }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// `up` on the broker.
    pub(crate) fn command(&self) -> Command {
        command_on(self.root.path(), &self.broker.plain)
    }

    /// A node that has to come up.
    pub(crate) fn node(&self) -> Node {
        self.spawn(self.command()).unwrap_or_else(|ended| panic!("{}: up ended: {ended:?}", self))
    }

    pub(crate) fn spawn(&self, command: Command) -> Result<Node, Ended> {
        Node::spawn(self.root.path(), command)
    }

    /// A fault is about to be tried: what is found wrong from now on goes to its account.
    pub(crate) fn strikes(&mut self, fault: &str) {
        self.rows.entry(fault.to_owned()).or_default().attempted += 1;
        self.last = fault.to_owned();
    }

    /// Whether it landed.
    pub(crate) fn struck(&mut self, landed: bool) {
        self.rows.entry(self.last.clone()).or_default().landed += u64::from(landed);
    }

    pub(crate) fn acknowledge(&mut self, posted: &Posted) {
        posted.acknowledged.iter().for_each(|body| self.oracle.acknowledged(body));
    }

    /// Looks at what the last fault left; a log that is not there again yet is asked again. False if
    /// the node is gone meanwhile, which only one with an armed fail point may be: then the next
    /// look sees it.
    pub(crate) fn look(&mut self, node: &mut Node) -> bool {
        let looked = eventually(&format!("{self}: it can be looked at"), || {
            let verdict = self.verdict(node).ok();
            if verdict.is_none() && !node.has_ended() { None } else { Some(verdict) }
        });
        looked.inspect(|verdict| self.judge(verdict)).is_some()
    }

    /// Looks once. False if it could not be looked at in time, and nothing is said then.
    pub(crate) fn try_look(&mut self, node: &Node) -> bool {
        self.verdict(node).inspect(|verdict| self.judge(verdict)).is_ok()
    }

    /// What the oracle says, without a judgement: for runs that have to fail.
    pub(crate) fn verdict(&mut self, node: &Node) -> Result<Verdict, tonic::Status> {
        Clients::connect(&node.grpc).and_then(|mut clients| self.oracle.look(&mut clients))
    }

    fn judge(&mut self, verdict: &Verdict) {
        let row = self.rows.entry(self.last.clone()).or_default();
        row.lost += u64::try_from(verdict.lost).unwrap();
        row.twice += u64::try_from(verdict.twice).unwrap();
        assert!(verdict.is_right(), "{self}: {}", verdict.first);
        assert_eq!(set_aside(&self.data_dir()), [""; 0], "{self}: a store was set aside");
    }

    /// The last life: everything once more, by an oracle that knows nothing yet, by the golden fold
    /// of the other tests, and the digests on disk. Prints the table.
    pub(crate) fn finish(&mut self) -> BTreeMap<String, Row> {
        let mut node = self.node();
        assert!(self.look(&mut node));
        let posted = self.load.run(&node.http, 10, |_| ());
        assert_eq!(posted.refused, 0, "{self}");
        self.acknowledge(&posted);
        assert!(self.look(&mut node));
        let mut afresh = Oracle::new();
        let looked = Clients::connect(&node.grpc).and_then(|mut clients| afresh.look(&mut clients));
        self.judge(&looked.unwrap());
        assert_golden(&node);
        assert_eq!(afresh.webhooks(), self.oracle.webhooks(), "{self}");
        node.stop();
        let looked = afresh.look_at_stores(&self.data_dir(), self.log());
        looked.unwrap_or_else(|wrong| panic!("{self}: {wrong}"));
        let (webhooks, took) = (self.oracle.webhooks(), self.begun.elapsed());
        say(&format!("{webhooks} webhooks, {} records of outputs, {took:?}", afresh.outputs()));
        say("| fault | attempted | landed | lost | twice |");
        let tried = self.rows.iter().filter(|(_, row)| row.attempted > 0);
        for (fault, Row { attempted, landed, lost, twice }) in tried {
            say(&format!("| {fault} | {attempted} | {landed} | {lost} | {twice} |"));
            soak_row(fault, *attempted, *landed, *lost, *twice);
        }
        self.rows.clone()
    }

    /// The log, for whoever reads it beside the node or after it.
    pub(crate) fn log(&self) -> Arc<KafkaLog> {
        KafkaLog::connect(KafkaOptions::new(&self.broker.plain)).unwrap()
    }

    /// Compares the digests on disk with those of the golden fold. No node may run.
    pub(crate) fn look_at_stores(&self) {
        let looked = self.oracle.look_at_stores(&self.data_dir(), self.log());
        looked.unwrap_or_else(|wrong| panic!("{self}: {wrong}"));
    }

    /// How many partitions have a transaction that the brokers know of and that is not over.
    pub(crate) fn open_transactions(&self) -> usize {
        self.open_transactions_of(0..PARTITIONS)
    }

    /// The same of some partitions.
    pub(crate) fn open_transactions_of(&self, partitions: impl Iterator<Item = u32>) -> usize {
        let ids = partitions.map(|partition| format!("tickfold/{RAW}/{partition}"));
        let mut stream = TcpStream::connect(&self.broker.plain).unwrap();
        let states = ids.map(|id| transaction_state(&mut stream, &id));
        states.filter(|state| ["Ongoing", "PrepareCommit"].contains(&state.as_str())).count()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, after {}", self.seed, self.last)
    }
}

/// `up` in this directory, with its log on these brokers.
pub(crate) fn command_on(root: &Path, brokers: &str) -> Command {
    role_on("up", root, brokers)
}

/// The same of any role.
pub(crate) fn role_on(role: &str, root: &Path, brokers: &str) -> Command {
    let mut command = tickfold();
    command.args(role_args(role, root));
    with_secrets(&mut command);
    command.args(["--kafka", brokers]);
    with_one_replica(&mut command);
    let patience = KAFKA_PATIENCE.as_millis().to_string();
    command.env("TICKFOLD_KAFKA_PATIENCE_MS", &patience);
    command.env("TICKFOLD_KAFKA_APPEND_TIMEOUT", format!("{patience}ms"));
    command
}

/// A command for a stopped node, with the settings that its `up` has in the environment.
pub(crate) fn at_rest_on(root: &Path, brokers: &str) -> Command {
    let mut command = tickfold();
    for (name, value) in role_on("up", root, brokers).get_envs() {
        value.map(|value| command.env(name, value));
    }
    command.env("TICKFOLD_KAFKA_BROKERS", brokers);
    command
}

/// What the coordinator says of a transactional id: `DescribeTransactions`, version 0, by hand, so
/// that what is asked is the broker and not a client of ours. Empty for an id it does not know.
fn transaction_state(stream: &mut TcpStream, id: &str) -> String {
    const DESCRIBE_TRANSACTIONS: i16 = 65;
    let length = |text: &str| u8::try_from(text.len() + 1).unwrap();
    let mut request = Vec::new();
    request.extend(DESCRIBE_TRANSACTIONS.to_be_bytes());
    // Version, correlation id, no client id, no tags; one id of so many bytes; no tags.
    request.extend([0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 2, length(id)]);
    request.extend(id.as_bytes());
    request.push(0);
    stream.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    // Correlation id, no tags, throttle time, one state; error code, then the id again.
    let (header, rest) = answer.split_at(10);
    assert_eq!(header, [0, 0, 0, 1, 0, 0, 0, 0, 0, 2], "{answer:?}");
    let (error, rest) = rest.split_at(2);
    let (_, rest) = rest.split_at(id.len() + 1);
    const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;
    match i16::from_be_bytes([error[0], error[1]]) {
        0 => String::from_utf8(rest[1..usize::from(rest[0])].to_vec()).unwrap(),
        TRANSACTIONAL_ID_NOT_FOUND => String::new(),
        code => panic!("describe transaction {id}: error {code}"),
    }
}
