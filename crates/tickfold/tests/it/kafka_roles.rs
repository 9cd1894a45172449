//! Two processors and an ingress on one broker: they share the partitions, either answers for all of
//! them, and what one gives up, in order or not, the other has within a bounded time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::ids::WabaId;
use tickfold_core::raw::partition_of;
use tickfold_proto::query::v1 as pb;
use tonic::Code;

use crate::kafka::broker::Broker;
use crate::kafka_run::role_on;
use crate::support::{
    Node, PARTITIONS, RAW, eventually, run, say, status_body_of, tickfold, with_secrets,
};
use crate::support_crash::{Clients, Load, Oracle, Posted, set_aside};

/// After this time without a sign of life the group gives a member's partitions to others.
const SESSION: Duration = Duration::from_secs(10);

/// A broker, and a directory for each of its nodes.
pub(crate) struct Cluster {
    pub(crate) root: TempDir,
    pub(crate) broker: Broker,
    pub(crate) load: Load,
    pub(crate) oracle: Oracle,
    /// Settings of all nodes, beside the usual ones.
    pub(crate) settings: Vec<(&'static str, String)>,
}

impl Cluster {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            root: TempDir::new().unwrap(),
            broker: Broker::start(),
            load: Load::new(seed),
            oracle: Oracle::new(),
            settings: Vec::new(),
        }
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.root.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A node of this role and name, new or left by an earlier one.
    pub(crate) fn node(&self, role: &str, name: &str) -> Node {
        let dir = self.dir(name);
        let mut command = role_on(role, &dir, &self.broker.plain);
        // No broker is stopped here, so the time for an answer is the usual one.
        command.env_remove("TICKFOLD_KAFKA_PATIENCE_MS");
        command.envs(self.settings.iter().map(|(name, value)| (*name, value.as_str())));
        Node::spawn(&dir, command).unwrap_or_else(|ended| panic!("{role} ended: {ended:?}"))
    }

    pub(crate) fn post(&mut self, ingress: &Node, posts: usize) {
        let posted = self.load.run(&ingress.http, posts, |_| ());
        self.acknowledge(&posted);
    }

    pub(crate) fn acknowledge(&mut self, posted: &Posted) {
        posted.acknowledged.iter().for_each(|body| self.oracle.acknowledged(body));
    }

    /// Everything that is new is as it has to be, as this node tells it.
    pub(crate) fn look(&mut self, node: &Node) {
        let looked =
            Clients::connect(&node.grpc).and_then(|mut clients| self.oracle.look(&mut clients));
        let verdict = looked.unwrap();
        assert!(
            verdict.is_right(),
            "{} lost, {} twice: {}",
            verdict.lost,
            verdict.twice,
            verdict.first
        );
    }

    /// The same of everything from the beginning, by an oracle that knows nothing yet.
    pub(crate) fn look_afresh(&mut self, node: &Node) {
        let known = std::mem::replace(&mut self.oracle, Oracle::new());
        self.look(node);
        assert_eq!(self.oracle.webhooks(), known.webhooks());
        self.oracle = known;
    }

    pub(crate) fn nothing_set_aside(&self, names: &[&str]) {
        for name in names {
            assert_eq!(set_aside(&self.dir(name).join("data")), [""; 0], "{name}");
        }
    }
}

/// The partitions that are live on a node.
pub(crate) fn live(node: &Node) -> BTreeSet<u32> {
    let page: Value = serde_json::from_str(&node.admin("/statusz").text()).unwrap();
    let partitions = page["partitions"].as_array().unwrap().iter();
    let live = partitions.filter(|partition| partition["state"] == "live");
    live.map(|partition| u32::try_from(partition["partition"].as_u64().unwrap()).unwrap()).collect()
}

/// Waits until these nodes have all partitions between them, and as many each.
pub(crate) fn share(nodes: &[&Node]) -> Vec<BTreeSet<u32>> {
    let each = PARTITIONS as usize / nodes.len();
    eventually("the partitions are shared", || {
        let shares: Vec<_> = nodes.iter().map(|node| live(node)).collect();
        let all: BTreeSet<_> = shares.iter().flatten().copied().collect();
        let fair = shares.iter().all(|share| share.len() == each);
        (fair && all.len() == PARTITIONS as usize).then_some(shares)
    })
}

/// An account of a partition.
pub(crate) fn account_in(partition: u32) -> String {
    let mut accounts = (215_589_900_002_000_u64..).map(|account| account.to_string());
    let of = |account: &String| partition_of(&WabaId::from(account.as_str()), PARTITIONS);
    accounts.find(|account| of(account) == partition).unwrap()
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_roles_share_partitions_and_take_them_over() {
    let mut cluster = Cluster::new(71);
    let ingress = cluster.node("ingress", "ingress");
    let first = cluster.node("processor", "first");
    assert_eq!(live(&first).len(), PARTITIONS as usize, "alone it has all of them");
    let takes_webhooks = [&ingress, &first].map(|node| node.admin("/readyz/ingress").status);
    assert_eq!(takes_webhooks, [200, 503]);
    // Its address is that of every machine. Nobody asks an ingress.
    let warns = [&ingress, &first].map(|node| node.log().contains("grpc_advertised_addr"));
    assert_eq!(warns, [false, true]);
    for partition in 0..PARTITIONS {
        ingress.post(status_body_of(&account_in(partition), &old_message(partition), "sent", 1));
    }
    cluster.look(&first);
    let second = cluster.node("processor", "second");
    let shares = share(&[&first, &second]);
    for (node, share) in [&first, &second].into_iter().zip(&shares) {
        let wanted = format!("tickfold_processor_assigned_partitions {}", share.len());
        let page = node.admin("/metrics").text();
        assert!(page.lines().any(|line| line == wanted), "{wanted}: {page}");
    }

    cluster.post(&ingress, 20);
    cluster.look(&first);
    cluster.post(&ingress, 20);
    cluster.look(&second);
    cluster.look_afresh(&second);
    rules_are_one(&cluster, &ingress, &[&first, &second]);
    a_plain_client_sees_the_group(&cluster, &[&first, &second]);

    let second = killed(&mut cluster, &ingress, &first, second, &shares[1]);
    share(&[&first, &second]);
    cluster.look(&second);
    left(&first, second);
    cluster.post(&ingress, 20);
    cluster.look(&first);
    cluster.look_afresh(&first);
    // Last, since the deadlines of its messages pass while others look.
    let second = cluster.node("processor", "second");
    share(&[&first, &second]);
    verified_load(&ingress, &[&first, &second]);
    cluster.nothing_set_aside(&["first", "second"]);
    second.stop();
    assert_eq!(ingress.cli(&["stop"]).code, Some(0));
    first.stop();
}

/// `tickfold load --verify` with either processor to ask.
fn verified_load(ingress: &Node, processors: &[&Node]) {
    for (seed, node) in ["1", "2"].iter().zip(processors) {
        let mut command = tickfold();
        let url = format!("http://{}/webhook/main", ingress.http);
        command.args(["load", "--url", &url, "--grpc-addr", &node.grpc, "-o", "json", "--verify"]);
        command.args(["--rate", "150", "--duration", "2s", "--duplicates", "0.2", "--seed", seed]);
        with_secrets(&mut command);
        let ended = run(command, b"");
        let report: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        assert_eq!(report["verify"]["ok"], true, "{report:#}");
        assert_eq!(report["accepted"], report["good"], "{report:#}");
    }
    let page = processors[0].admin("/metrics").text();
    let forwarded = page.lines().filter(|line| line.starts_with("tickfold_query_forwards_total{"));
    assert!(forwarded.count() > 0, "nothing was forwarded");
}

/// Rules that are applied through one node are those of all, whoever is asked.
fn rules_are_one(cluster: &Cluster, ingress: &Node, processors: &[&Node]) {
    let file = cluster.root.path().join("rules.json");
    let all: Vec<&Node> = processors.iter().copied().chain([ingress]).collect();
    let shown = |node: &Node| node.cli_json(&["rules", "show"]);
    let mut document = shown(processors[0])["documents"][0].clone();
    document["version"] = 2.into();
    std::fs::write(&file, document.to_string()).unwrap();
    let path = file.to_str().unwrap();
    let applied = ingress.cli_json(&["rules", "apply", path]);
    assert_eq!(applied["appended"].as_array().unwrap().len(), PARTITIONS as usize, "{applied}");
    for node in all {
        eventually("every partition has the new rules", || {
            let shown = shown(node);
            let partitions = shown["partitions"].as_array().unwrap().iter();
            let digest = &applied["digest"];
            let new = partitions.filter(|of| of["version"] == 2 && of["digest"] == *digest);
            (new.count() == PARTITIONS as usize).then_some(())
        });
    }
    let again = processors[1].cli_json(&["rules", "apply", path]);
    assert_eq!(again["current"].as_array().unwrap().len(), PARTITIONS as usize, "{again}");
}

/// As `kafka-consumer-groups` would tell it: members under lasting names, positions, lag.
fn a_plain_client_sees_the_group(cluster: &Cluster, processors: &[&Node]) {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.broker.plain)
        .set("group.id", "tickfold")
        .create()
        .unwrap();
    let timeout = Duration::from_secs(10);
    let groups = client.fetch_group_list(Some("tickfold"), timeout).unwrap();
    let group = &groups.groups()[0];
    assert_eq!((group.state(), group.members().len()), ("Stable", processors.len()));
    for (name, member) in ["first", "second"].iter().zip(group.members()) {
        let instance = cluster.dir(name).join("data/instance");
        let instance = std::fs::read_to_string(instance).unwrap();
        let known = group.members().iter().any(|member| member.id().starts_with(instance.trim()));
        assert!(known, "no member of {} in {:?}", instance.trim(), member.id());
    }
    let mut asked = TopicPartitionList::new();
    (0..PARTITIONS).for_each(|p| _ = asked.add_partition(RAW, i32::try_from(p).unwrap()));
    let found = client.committed_offsets(asked, timeout).unwrap();
    let mut lag = 0;
    let mut owners = BTreeSet::new();
    for place in found.elements() {
        let Offset::Offset(offset) = place.offset() else { panic!("{place:?}") };
        let (_, end) = client.fetch_watermarks(RAW, place.partition(), timeout).unwrap();
        lag += end - offset;
        owners.insert(place.metadata().rsplit(";a=").next().unwrap().to_owned());
    }
    say(&format!("a plain client sees 2 members and a lag of {lag} records"));
    // Ticks may wait for ten seconds.
    assert!(lag <= i64::from(PARTITIONS) * 4, "{lag}");
    assert_eq!(owners, processors.iter().map(|node| node.grpc.clone()).collect());
}

/// A message of each partition, which all stores of this time have.
fn old_message(partition: u32) -> String {
    format!("wamid.OLD.{partition}")
}

/// kill -9 of one processor: until the other has its partitions, that one answers from the stores it
/// has of an earlier time, and says how old they are.
fn killed(
    cluster: &mut Cluster,
    ingress: &Node,
    first: &Node,
    second: Node,
    share_of_second: &BTreeSet<u32>,
) -> Node {
    let partition = *share_of_second.first().unwrap();
    let wamid = old_message(partition);
    let mut rpc = first.rpc();
    second.kill9();
    let begun = Instant::now();
    ingress.post(status_body_of(&account_in(partition), &wamid, "read", 3));
    let (mut asked, mut frozen, mut refused) = (0, 0, 0);
    let (mut slowest, mut oldest) = (Duration::ZERO, 0);
    let takeover = loop {
        let asking = Instant::now();
        asked += 1;
        match rpc.try_message(&wamid, &[]) {
            Ok(reply) => {
                let pb::GetMessageResponse { message, as_of } = reply.expect("it was told before");
                if message.unwrap().state_text == "read" {
                    break begun.elapsed();
                }
                let as_of = as_of.unwrap();
                assert_eq!(as_of.positions.len(), PARTITIONS as usize);
                frozen += usize::from(as_of.role() == pb::Role::Frozen);
                oldest = oldest.max(as_of.age.map_or(0, |age| age.seconds));
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                refused += 1;
            }
        }
        slowest = slowest.max(asking.elapsed());
        assert!(begun.elapsed() < SESSION * 3, "nobody took over");
        // Not a wait for anything: how often it is asked.
        thread::sleep(Duration::from_millis(50));
    };
    say(&format!(
        "kill -9 of a processor: its partitions are folded on after {takeover:.1?}; meanwhile {asked} \
         questions to the other: {frozen} answered from its own store of up to {oldest} s, {refused} \
         refused, the slowest in {slowest:.1?}"
    ));
    assert!(takeover <= SESSION + Duration::from_secs(3), "{takeover:?}");
    assert!(frozen > 0 && refused == 0, "the survivor has a store of these partitions");
    eventually("the other has the rest of them too", || {
        (live(first).len() == PARTITIONS as usize).then_some(())
    });
    cluster.look(first);
    cluster.node("processor", "second")
}

/// `tickfold stop --leave`: the others need not wait for the session timeout.
fn left(first: &Node, mut second: Node) {
    let begun = Instant::now();
    let stopping = {
        let grpc = second.grpc.clone();
        thread::spawn(move || {
            let mut command = tickfold();
            command.args(["stop", "--leave", "--grpc-addr", &grpc]);
            run(command, b"")
        })
    };
    eventually("the other has all partitions", || {
        (live(first).len() == PARTITIONS as usize).then_some(())
    });
    let moved = begun.elapsed();
    let ended = stopping.join().unwrap();
    let stopped = begun.elapsed();
    say(&format!(
        "stop --leave: partitions live elsewhere after {moved:.2?}, ended after {stopped:.2?}"
    ));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(second.wait().code, Some(0));
    assert!(moved < Duration::from_secs(3), "{moved:?}");
}

#[test]
fn roles_without_kafka_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    for role in ["ingress", "processor"] {
        let mut command: Command = tickfold();
        command.args(crate::support::role_args(role, dir.path()));
        with_secrets(&mut command);
        let ended = Node::spawn(dir.path(), command).expect_err("it has no log to share");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for word in [role, "--kafka", "tickfold up"] {
            assert!(ended.stderr.contains(word), "{word}: {ended:?}");
        }
        assert!(!dir.path().join("data").exists());
    }
}

/// A state has up to 256 files open, and a usual soft limit is 1,024. That no broker answers changes nothing.
#[test]
fn every_role_takes_the_open_files_that_the_system_allows() {
    for role in ["ingress", "processor"] {
        let dir = TempDir::new().unwrap();
        let node = role_on(role, dir.path(), "127.0.0.1:1");
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -Sn 256 && exec \"$0\" \"$@\""]).arg(node.get_program());
        command.args(node.get_args());
        for (name, value) in node.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id()));
        eventually("the soft limit is the hard one", || {
            // Before that it is the shell, with the limit of this process.
            of("comm").unwrap().starts_with("tickfold").then_some(())?;
            let limits = of("limits").unwrap();
            let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
            let mut values = line.split_whitespace().skip(3);
            (values.next() == values.next()).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
