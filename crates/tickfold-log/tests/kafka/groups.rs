//! Groups of several members on a broker: who has what, what a change does to commits under way,
//! and that nobody commits for a partition that the group gave to somebody else.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    producer::{BaseProducer, Producer},
    topic_partition_list::{Offset, TopicPartitionList},
    util::Timeout,
};
use tickfold_log::{
    Change, CommitError, Departure, Error, GroupSpec, KafkaLog, KafkaOptions, Log, Member,
    TopicPartition,
};
use tokio::time::timeout;

use crate::{
    bench::{all, append, options, position, stream, unique, values},
    broker,
};

const SESSION: Duration = Duration::from_secs(3);
const PARTITIONS: u32 = 8;

/// A topic and a group of its own.
struct Scene {
    topic: String,
}

/// A process: a log of its own and a member.
struct Process {
    log: Arc<KafkaLog>,
    member: Arc<dyn Member>,
    has: BTreeSet<u32>,
    changes: u32,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let topic = unique(name);
        let log = KafkaLog::connect(options(broker::shared())).unwrap();
        log.ensure_topics(&[stream(&topic, PARTITIONS)]).await.unwrap();
        log.close().await.unwrap();
        Self { topic }
    }

    fn at(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), partition)
    }

    fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    async fn join(&self, instance: &str) -> Process {
        let options = KafkaOptions { session_timeout: SESSION, ..options(broker::shared()) };
        let log = KafkaLog::connect(options).unwrap();
        let (group, topic, instance) = (self.group(), self.topic.clone(), instance.to_owned());
        let spec = GroupSpec { group, topic, instance };
        let member = Arc::clone(&log).join(spec).await.unwrap();
        Process { log, member, has: BTreeSet::new(), changes: 0 }
    }
}

impl Process {
    /// Takes the next change; what is revoked is released at once.
    async fn change(&mut self) -> Change {
        let change = self.member.next().await.unwrap();
        self.changes += 1;
        match &change {
            Change::Assigned(some) => {
                assert!(some.is_disjoint(&self.has), "{some:?} again, with {:?}", self.has);
                self.has.extend(some);
            }
            Change::Revoked(some) => {
                assert!(some.is_subset(&self.has), "{some:?} revoked of {:?}", self.has);
                self.has.retain(|partition| !some.contains(partition));
                self.member.release(some);
            }
            Change::Lost(some) => self.has.retain(|partition| !some.contains(partition)),
        }
        change
    }

    /// Takes changes until it has so many partitions.
    async fn until(&mut self, count: usize) {
        while self.has.len() != count {
            let change = timeout(Duration::from_secs(30), self.change()).await;
            change.unwrap_or_else(|_| panic!("has {:?}, not {count}", self.has));
        }
    }

    async fn is_quiet(&mut self, wait: Duration) {
        let change = timeout(wait, self.change()).await;
        assert!(change.is_err(), "{change:?}");
    }
}

/// Both processes' changes until each has its share.
async fn share(one: &mut Process, two: &mut Process) {
    while one.has.len() != 4 || two.has.len() != 4 {
        let step = async {
            tokio::select! {
                change = one.change() => drop(change),
                change = two.change() => drop(change),
            }
        };
        timeout(Duration::from_secs(30), step).await.expect("the group settles");
    }
    assert!(one.has.is_disjoint(&two.has), "{:?} and {:?}", one.has, two.has);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_partitions_and_take_over_from_each_other() {
    let scene = Scene::new("share").await;
    let mut one = scene.join("one").await;
    one.until(8).await;
    let mut claim = one.member.claim(0).await.unwrap();
    claim.partition.commit([].into(), position(1, "one")).await.unwrap();
    let mut two = scene.join("two").await;
    share(&mut one, &mut two).await;

    // A generation later, the partitions that stayed are committed for as before.
    for &partition in &one.has {
        let mut owned = one.member.claim(partition).await.unwrap().partition;
        let out = append(&scene.at(partition), "one");
        owned.commit([out].into(), position(10, "one")).await.unwrap();
    }
    let elsewhere = *two.has.first().unwrap();
    let claim = one.member.claim(elsewhere).await;
    assert!(matches!(claim, Err(Error::NotAssigned(_))), "{claim:?}");
    shows_in_kafkas_own_tool(&scene, &["one", "two"]);

    // A restart within the session timeout is nobody's business.
    two.is_quiet(Duration::from_millis(200)).await;
    let (had, changes) = (one.has.clone(), two.changes);
    one.member.go(Departure::Restart).await;
    one.log.close().await.unwrap();
    let begun = Instant::now();
    let mut one = scene.join("one").await;
    one.until(4).await;
    println!("restarted member has its partitions again after {:?}", begun.elapsed());
    assert_eq!(one.has, had);
    two.is_quiet(SESSION + Duration::from_secs(1)).await;
    assert_eq!(two.changes, changes);

    // Who leaves for good is not waited for.
    let begun = Instant::now();
    one.member.go(Departure::Leave).await;
    two.until(8).await;
    let taken_over = begun.elapsed();
    println!("left: the other has all after {taken_over:?}");
    assert!(taken_over < Duration::from_secs(2), "{taken_over:?}");
    for partition in had {
        let claim = two.member.claim(partition).await.unwrap();
        assert_eq!(claim.committed, Some(position(10, "one")));
    }
}

/// One that leaves in the middle of the change that another's leaving has begun is gone as quickly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_leave_together_are_gone_together() {
    let scene = Scene::new("together").await;
    // Around when the one that stays learns of it, by a heartbeat.
    for round in 3..6 {
        let name = |of: &str| format!("{of}-{round}");
        let mut one = scene.join(&name("one")).await;
        one.until(8).await;
        let mut two = scene.join(&name("two")).await;
        share(&mut one, &mut two).await;
        let begun = Instant::now();
        let later = async {
            tokio::time::sleep(Duration::from_millis(250) * round).await;
            let leaving = Instant::now();
            two.member.go(Departure::Leave).await;
            leaving.elapsed()
        };
        let ((), took) = tokio::join!(one.member.go(Departure::Leave), later);
        println!("round {round}: the second has left after {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        let mut next = scene.join(&name("next")).await;
        next.until(8).await;
        next.member.go(Departure::Leave).await;
        assert!(begun.elapsed() < SESSION, "{:?}: somebody was waited for", begun.elapsed());
    }
}

/// A commit under way when its partition is revoked goes through, and is what the next owner finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_partition_is_kept_until_it_is_released() {
    let scene = Scene::new("revoke").await;
    let mut one = scene.join("one").await;
    one.until(8).await;
    let mut claims = Vec::new();
    for partition in 0..PARTITIONS {
        claims.push(one.member.claim(partition).await.unwrap().partition);
    }
    let mut two = scene.join("two").await;
    let revoked = match one.member.next().await.unwrap() {
        Change::Revoked(partitions) => partitions,
        other => panic!("{other:?}"),
    };
    // Longer than the session, with heartbeats going on.
    let waited = timeout(SESSION + Duration::from_secs(1), two.until(1)).await;
    assert!(waited.is_err(), "{:?} before they were released", two.has);
    for &partition in &revoked {
        let out = append(&scene.at(partition), "last words");
        let owned = &mut claims[partition as usize];
        owned.commit([out].into(), position(3, "one")).await.unwrap();
        one.member.release(&BTreeSet::from([partition]));
    }
    two.until(revoked.len()).await;
    assert_eq!(two.has, revoked);
    for &partition in &revoked {
        let late = append(&scene.at(partition), "too late");
        let fenced = claims[partition as usize].commit([late].into(), position(4, "one")).await;
        assert!(matches!(fenced, Err(CommitError::Fenced)), "{fenced:?}");
        let claim = two.member.claim(partition).await.unwrap();
        assert_eq!(claim.committed, Some(position(3, "one")));
        assert_eq!(values(&all(&*two.log, &scene.at(partition)).await), ["last words"]);
    }
}

/// A member that nobody hears of any more loses its partitions within the session timeout, and what
/// it commits afterwards takes no effect, whether or not the next owner has claimed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_commits_nothing() {
    let scene = Scene::new("zombie").await;
    let child = scene.child("zombie");
    let mut two = scene.join("two").await;
    // The child has committed for its share: both are settled.
    two.until(4).await;
    let of_child: Vec<u32> = (0..PARTITIONS).filter(|p| !two.has.contains(p)).collect();
    child.wait_for("committing");
    child.signal("STOP");
    let begun = Instant::now();
    two.until(8).await;
    let taken_over = begun.elapsed();
    println!("silent member: the other has all after {taken_over:?}, session {SESSION:?}");
    assert!(taken_over <= SESSION + Duration::from_secs(3), "{taken_over:?}");
    // Half of them are claimed anew before the zombie wakes.
    for &partition in &of_child[..2] {
        two.member.claim(partition).await.unwrap();
    }
    let before = scene.outputs(&two.log, &of_child).await;
    child.signal("CONT");
    let refused = child.wait_for("over");
    let after = scene.outputs(&two.log, &of_child).await;
    // The commit that was under way may have been stopped when nothing but its end was missing: what the
    // brokers had taken in time. Where somebody has claimed since, it is in doubt; else it ends, as a whole
    // and before the next claim.
    let mut late = 0;
    for (index, &partition) in of_child.iter().enumerate() {
        let line = format!("lost {partition} by ");
        let by: Vec<_> = refused.iter().filter_map(|said| said.strip_prefix(&line)).collect();
        match by[..] {
            ["Fenced"] => {}
            [unclear] if index < 2 && unclear.starts_with("Unclear") => late += 1,
            _ => panic!("partition {partition} is lost by {by:?}"),
        }
        if before[index] != after[index] {
            assert!(index >= 2, "outputs where the next owner had claimed");
            assert_eq!(before[index][..], after[index][..before[index].len()]);
            late += after[index].len() - before[index].len();
        }
        let committed = two.member.claim(partition).await.unwrap().committed;
        let last = after[index].last().unwrap().parse().unwrap();
        assert_eq!(committed, Some(position(last, "child")), "outputs and position together");
    }
    assert!(late <= 1, "{late} commits of the zombie");
}

/// Two processes under one name: the later one is the member, the older one learns it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_name_twice_is_told_to_the_older() {
    let scene = Scene::new("twice").await;
    let mut older = scene.join("same").await;
    older.until(8).await;
    let mut claim = older.member.claim(0).await.unwrap().partition;
    let mut newer = scene.join("same").await;
    newer.until(8).await;
    let told = timeout(SESSION * 2, older.member.next()).await.expect("told in time");
    assert!(matches!(told, Err(Error::MemberRefused { .. })), "{told:?}");
    println!("{}", told.unwrap_err());
    let fenced = claim.commit([].into(), position(1, "older")).await;
    assert!(matches!(fenced, Err(CommitError::Fenced)), "{fenced:?}");
    newer.member.claim(0).await.unwrap();
}

/// Why the member id is looked at before each commit: brokers check what they are given, and take a
/// position for which they are given nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_do_not_check_a_commit_without_a_member() {
    let scene = Scene::new("unchecked").await;
    let mut one = scene.join("one").await;
    one.until(8).await;
    let consumer = || -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker::shared()).set("group.id", scene.group());
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.create().unwrap()
    };
    let commit = |metadata: ConsumerGroupMetadata, offset: i64| {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker::shared())
            .set("transactional.id", unique("outsider"))
            .create()
            .unwrap();
        producer.init_transactions(Timeout::Never).unwrap();
        producer.begin_transaction().unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&scene.topic, 0, Offset::Offset(offset)).unwrap();
        producer.send_offsets_to_transaction(&offsets, &metadata, Timeout::Never)?;
        producer.commit_transaction(Timeout::Never)
    };
    // Not a member, and says so: member id "", generation -1.
    commit(consumer().group_metadata().unwrap(), 77).expect("taken without a check");
    let committed = one.member.claim(0).await.unwrap().committed;
    assert_eq!(committed.map(|committed| committed.offset), Some(77), "against its owner's will");

    // A member of an earlier generation is refused by the brokers themselves.
    let stale = consumer();
    stale.subscribe(&[&scene.topic]).unwrap();
    let joined = Instant::now();
    while stale.assignment().unwrap().count() == 0 {
        assert!(joined.elapsed() < Duration::from_secs(20), "not assigned");
        let _ = timeout(Duration::from_millis(50), one.change()).await;
        stale.poll(Duration::from_millis(50));
    }
    let metadata = stale.group_metadata().unwrap();
    stale.unsubscribe();
    let left = Instant::now();
    while one.has.len() != 8 {
        assert!(left.elapsed() < Duration::from_secs(20), "not given back");
        let _ = timeout(Duration::from_millis(50), one.change()).await;
        stale.poll(Duration::from_millis(50));
    }
    println!("stale member: {}", commit(metadata, 88).unwrap_err());
    let committed = one.member.claim(0).await.unwrap().committed;
    assert_eq!(committed.map(|committed| committed.offset), Some(77));
}

impl Scene {
    /// What readers see of these partitions.
    async fn outputs(&self, log: &KafkaLog, partitions: &[u32]) -> Vec<Vec<String>> {
        let mut outputs = Vec::new();
        for &partition in partitions {
            outputs.push(values(&all(log, &self.at(partition)).await));
        }
        outputs
    }

    /// A member in a process of its own, which can be stopped: it commits for each of its
    /// partitions over and over, and says so.
    fn child(&self, instance: &str) -> Child {
        Child::start(&[("TICKFOLD_TEST_TOPIC", &self.topic), ("TICKFOLD_TEST_INSTANCE", instance)])
    }
}

/// What the child process runs; without its variables there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_member() {
    let Ok(topic) = std::env::var("TICKFOLD_TEST_TOPIC") else { return };
    let scene = Scene { topic };
    let mut process = scene.join(&std::env::var("TICKFOLD_TEST_INSTANCE").unwrap()).await;
    // Also if it was alone before, and had all of them.
    while process.has.len() != 4 {
        process.change().await;
    }
    let mut claims = Vec::new();
    for &partition in &process.has {
        claims.push((partition, process.member.claim(partition).await.unwrap().partition));
    }
    let mut lost = BTreeSet::new();
    for round in 1.. {
        for (partition, owned) in &mut claims {
            if lost.contains(partition) {
                continue;
            }
            let out = append(&scene.at(*partition), &round.to_string());
            match owned.commit([out].into(), position(round, "child")).await {
                Ok(()) | Err(CommitError::Aborted { .. }) => {}
                Err(error) => {
                    println!("== lost {partition} by {error:?}");
                    lost.insert(*partition);
                }
            }
        }
        if round == 3 {
            println!("== committing");
        }
        if lost.len() == claims.len() {
            break;
        }
    }
    println!("== over");
    // Until its end, so that nothing is ended for other reasons.
    std::future::pending::<()>().await;
}

struct Child {
    process: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Child {
    fn start(variables: &[(&str, &str)]) -> Self {
        use std::io::{BufRead, BufReader};
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "groups::child_member", "--nocapture"]);
        command.envs(variables.iter().copied()).env("TICKFOLD_TEST_KAFKA", broker::shared());
        let mut process = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap()).lines();
        let (tell, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            out.map_while(Result::ok).for_each(|line| _ = tell.send(line));
        });
        Self { process, lines }
    }

    /// Waits until it says this word; what it said before.
    fn wait_for(&self, word: &str) -> Vec<String> {
        let mut before = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("never {word:?}"));
            let Some(said) = line.strip_prefix("== ") else { continue };
            println!("child: {said}");
            if said.starts_with(word) {
                return before;
            }
            before.push(said.to_owned());
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Operators see members and lag where they look for them.
fn shows_in_kafkas_own_tool(scene: &Scene, members: &[&str]) {
    let shown = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"])
        .args(["-cp", &format!("{}/*", broker::jars().display())])
        .arg("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand")
        .args(["--bootstrap-server", &broker::shared(), "--describe", "--group", &scene.group()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    println!("{text}{}", String::from_utf8_lossy(&shown.stderr));
    for member in members {
        assert_eq!(text.lines().filter(|line| line.contains(member)).count(), 4, "{member}");
    }
    assert!(text.contains("LAG"));
}
