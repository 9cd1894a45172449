//! `tickfold doctor`: a healthy node has nothing that fails, and each check fails by what it is for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _};
use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::time::Timestamp;

use crate::kafka::{broker, with_one_replica};
use crate::support::{Node, eventually, run, tickfold, up, with_secrets};

const CALL: Duration = Duration::from_secs(20);

/// The findings, and whether the exit code said that something failed.
struct Examined {
    findings: Vec<Value>,
    failed: bool,
}

impl Examined {
    fn by(mut command: Command, args: &[&str]) -> Self {
        command.arg("doctor").args(args).arg("--json");
        let ended = run(command, b"");
        assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
        let findings = serde_json::from_str(&ended.stdout);
        let findings = findings.unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        Self { findings, failed: ended.code == Some(1) }
    }

    fn of(&self, name: &str) -> &Value {
        let found = self.findings.iter().find(|finding| finding["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#?}", self.findings))
    }

    #[track_caller]
    fn says(&self, name: &str, status: &str, found: &str) {
        let finding = self.of(name);
        let text = finding["found"].as_str().unwrap();
        assert!(finding["status"] == status && text.contains(found), "{finding:#}");
        let has_fix = finding.get("fix").is_some_and(|fix| !fix.as_str().unwrap().is_empty());
        assert_eq!(has_fix, ["warn", "fail"].contains(&status), "{finding:#}");
    }

    fn fix(&self, name: &str) -> &str {
        self.of(name)["fix"].as_str().unwrap()
    }

    #[track_caller]
    fn nothing_fails(&self) {
        assert!(
            !self.failed && self.findings.iter().all(|of| of["status"] != "fail"),
            "{:#?}",
            self.findings
        );
    }
}

/// With the secrets of the tests and a data directory that is not there.
fn embedded(dir: &Path) -> Command {
    let mut command = tickfold();
    with_secrets(&mut command);
    command.env("TICKFOLD_DATA_DIR", dir.join("absent"));
    // Nobody listens there.
    command.env("TICKFOLD_GRPC_ADDR", "127.0.0.1:1");
    command
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_healthy_node_has_nothing_that_fails() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let before = names(&dir.path().join("data"));
    let checkpoints = TempDir::new().unwrap();
    let mut command = tickfold();
    with_secrets(&mut command);
    command.env("TICKFOLD_GRPC_ADDR", &node.grpc).env("TICKFOLD_DATA_DIR", dir.path().join("data"));
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", checkpoints.path());
    let url = format!("http://{}/webhook/main", node.http);
    let examined = Examined::by(command, &["--url", &url]);
    examined.nothing_fails();
    examined.says("secrets", "ok", "primary active");
    examined.says("data_dir", "ok", "can be written");
    examined.says("memory", "ok", "by the settings");
    examined.says("handshake", "ok", "echoes the challenge");
    examined.says("subscriptions", "ok", "no account");
    examined.says("clock", "skipped", "embedded");
    // The data directory of the tests is on the same volume.
    examined.says("checkpoints", "warn", "on the volume of the data directory");
    assert_eq!(names(&dir.path().join("data")), before, "a doctor leaves nothing behind");
    assert!(names(checkpoints.path()).is_empty());
    node.stop();
}

#[test]
fn what_is_wrong_with_secrets_is_found() {
    let dir = TempDir::new().unwrap();
    let mut without = embedded(dir.path());
    without.env_remove("TICKFOLD_APP_SECRET");
    let examined = Examined::by(without, &[]);
    examined.says("secrets", "fail", "TICKFOLD_APP_SECRET is not set");
    assert!(examined.failed);

    let file = dir.path().join("key");
    fs::write(&file, "a-key").unwrap();
    let apps = dir.path().join("apps.toml");
    let with = |until: Option<i64>, mode: u32| {
        let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis());
        let until = until.map(|ms| Timestamp::from_millis(now.unwrap() + ms));
        let until = until.map(|time| format!("active_until = \"{time}\"\n")).unwrap_or_default();
        let text = format!(
            "[[app]]\nname = \"main\"\nverify_tokens = [{{ env = \"TOKEN\" }}]\n\
             [[app.secret]]\nid = \"1\"\nfile = \"key\"\n{until}"
        );
        fs::write(&apps, text).unwrap();
        for path in [&apps, &file] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = embedded(dir.path());
        command.env("TICKFOLD_INGRESS_APPS_FILE", &apps).env("TOKEN", "t");
        Examined::by(command, &[])
    };
    let examined = with(None, 0o640);
    examined.nothing_fails();
    examined.says("secrets", "ok", "app main: 1 active");
    examined.says("secret_files", "ok", "2 files");
    with(Some(60_000), 0o640).says("secrets", "warn", "the last until");
    with(Some(-60_000), 0o640).says("secrets", "fail", "no secret that is active");
    let examined = with(None, 0o644);
    examined.says("secret_files", "warn", "every user of this machine");
    assert!(examined.fix("secret_files").starts_with("chmod o-rwx "));
    assert!(examined.fix("secret_files").ends_with(file.to_str().unwrap()));
}

#[test]
fn what_is_wrong_with_certificates_is_found() {
    let dir = TempDir::new().unwrap();
    let look = |ca: &str| {
        let mut command = embedded(dir.path());
        fs::write(dir.path().join("ca.pem"), ca).unwrap();
        command.env("TICKFOLD_AUTH_PEER_CA_FILE", dir.path().join("ca.pem"));
        Examined::by(command, &[])
    };
    let ca = rcgen::generate_simple_self_signed(["node.internal".to_owned()]).unwrap().cert.pem();
    look(&ca).says("certificates", "ok", "can be read");
    let half = look(&ca[..ca.len() / 2]);
    half.says("certificates", "fail", "auth.peer_ca_file: no certificate in");
    assert!(half.failed);
}

#[test]
fn what_is_wrong_with_directories_and_memory_is_found() {
    let dir = TempDir::new().unwrap();
    let examined = Examined::by(embedded(dir.path()), &[]);
    examined.nothing_fails();
    examined.says("checkpoints", "warn", "none are made");
    examined.says("subscriptions", "skipped", "no node answers");
    assert!(names(dir.path()).is_empty(), "no directory is left where there was none");

    let mut command = embedded(dir.path());
    // Nobody may make one there, not even root.
    command.env("TICKFOLD_DATA_DIR", "/proc/tickfold");
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", "/proc/checkpoints");
    let examined = Examined::by(command, &[]);
    examined.says("data_dir", "fail", "create /proc/tickfold");
    examined.says("checkpoints", "fail", "create /proc/checkpoints");
    assert!(examined.failed);

    let mut command = embedded(dir.path());
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", dir.path().join("absent/checkpoints"));
    command.env("TICKFOLD_STORE_BLOCK_CACHE_BYTES", "100000GiB");
    let examined = Examined::by(command, &[]);
    examined.says("checkpoints", "fail", "in the data directory");
    examined.says("memory", "fail", "by the settings");

    let examined = Examined::by(embedded(dir.path()), &["--role", "processor"]);
    examined.says("brokers", "fail", "needs a log on Kafka");
    assert!(examined.findings.iter().all(|finding| finding["name"] != "secrets"));
}

#[test]
fn a_handshake_that_fails_is_found() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let at = |url: &str, token: &str| {
        let mut command = embedded(dir.path());
        command.env("TICKFOLD_VERIFY_TOKEN", token);
        Examined::by(command, &["--url", url, "--timeout", "5"])
    };
    let url = format!("http://{}/webhook/main", node.http);
    let wrong = at(&url, "another-token");
    wrong.says("handshake", "fail", "answered with 403");
    assert!(wrong.failed);
    let other = format!("http://{}/webhook/other", node.http);
    at(&other, "t").says("handshake", "fail", "there is no app other");
    at("http://127.0.0.1:1/webhook/main", "t").says("handshake", "fail", "connect to 127.0.0.1:1");
    // The admin listener answers 200 to anything about its life.
    let livez = format!("http://{}/livez", node.admin);
    at(&livez, "t").says("handshake", "fail", "not the challenge");
    node.stop();
}

/// With the settings of a node on the broker of the tests.
fn on_kafka(dir: &Path, prefix: &str) -> Command {
    let mut command = embedded(dir);
    with_one_replica(&mut command);
    command.env("TICKFOLD_KAFKA_BROKERS", broker::shared());
    command.env("TICKFOLD_TOPIC_PREFIX", prefix).env("TICKFOLD_GROUP", prefix);
    command
}

fn create_topics(dir: &Path, prefix: &str) {
    let mut command = on_kafka(dir, prefix);
    command.args(["topics", "--create"]);
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker::shared());
    client
}

/// Ends of partition 0 of a topic.
fn end(topic: &str) -> i64 {
    let consumer: BaseConsumer = client()
        .set("group.id", "doctor-test")
        .set("isolation.level", "read_uncommitted")
        .create()
        .unwrap();
    consumer.fetch_watermarks(topic, 0, CALL).unwrap().1
}

#[test]
fn topics_and_rights_on_kafka_are_found_right_once_they_are() {
    let (dir, prefix) = (TempDir::new().unwrap(), "doctor-right");
    let missing = Examined::by(on_kafka(dir.path(), prefix), &[]);
    missing.says("brokers", "ok", "answer");
    missing.says("broker_version", "ok", "4.1 or newer");
    missing.says("topics", "fail", "missing: doctor-right.webhook.raw.v1");
    assert_eq!(missing.fix("topics"), "tickfold topics --create");
    missing.says("rights", "skipped", "no raw topic");
    assert!(missing.failed);

    create_topics(dir.path(), prefix);
    let raw = format!("{prefix}.webhook.raw.v1");
    let read_only = Examined::by(on_kafka(dir.path(), prefix), &["--read-only"]);
    read_only.nothing_fails();
    read_only.says("rights", "skipped", "--read-only");
    assert_eq!(end(&raw), 0, "nothing was written");
    let examined = Examined::by(on_kafka(dir.path(), prefix), &[]);
    examined.nothing_fails();
    examined.says("topics", "ok", "as the configuration wants them");
    examined.says("partitions", "ok", "8: as many processors");
    examined.says("rights", "ok", "commit outputs and positions, append to raw");
    examined.says("clock", "ok", "the brokers' clock is");
    // It is the same clock, told in whole milliseconds, which may be cut to one before or after.
    let clock = examined.of("clock")["found"].as_str().unwrap();
    let skew_ms = clock.split(' ').find_map(|word| word.parse::<u32>().ok()).unwrap();
    assert!(skew_ms <= 1, "{clock}");
    examined.says("transactions", "ok", "none");
    assert_eq!(end(&raw), 2, "two ticks");
    // As those of ingress: empty, and no tombstones.
    assert_eq!(values(&raw, "read_uncommitted"), [Some(0), Some(0)]);
    // Of what a commit would have written, its end is there, and nothing to read.
    assert!(end(&format!("{prefix}.transition.v1")) > 0);
    let read = values(&format!("{prefix}.transition.v1"), "read_committed");
    assert!(read.is_empty(), "an aborted record was read");

    let mut command = on_kafka(dir.path(), prefix);
    command.env("TICKFOLD_PARTITIONS", "4");
    Examined::by(command, &["--read-only"]).says("partitions", "fail", "says 4, raw has 8");
    let mut command = on_kafka(dir.path(), prefix);
    command.env("TICKFOLD_KAFKA_BROKERS", "127.0.0.1:1");
    let examined = Examined::by(command, &["--timeout", "2"]);
    examined.says("brokers", "fail", "");
    assert!(examined.failed);
}

#[test]
fn an_address_that_is_every_machines_own_is_found() {
    let dir = TempDir::new().unwrap();
    let examined = |grpc: &str, advertised: &str, role: &str| {
        let mut command = embedded(dir.path());
        command.env("TICKFOLD_KAFKA_BROKERS", "127.0.0.1:1");
        command.env("TICKFOLD_GRPC_ADDR", grpc).env("TICKFOLD_GRPC_ADVERTISED_ADDR", advertised);
        Examined::by(command, &["--timeout", "1", "--read-only", "--role", role])
    };
    for grpc in ["127.0.0.1:50051", "0.0.0.0:50051", "[::]:50051"] {
        let found = examined(grpc, "", "processor");
        found.says("address", "warn", grpc);
        assert!(found.fix("address").contains("grpc_advertised_addr"));
    }
    examined("0.0.0.0:50051", "node-1:50051", "up").says("address", "ok", "node-1:50051");
    examined("10.0.0.1:50051", "", "up").says("address", "ok", "10.0.0.1:50051");
    let ingress = examined("0.0.0.0:50051", "", "ingress");
    assert!(ingress.findings.iter().all(|finding| finding["name"] != "address"), "nobody asks it");
}

/// How many transitions a reader of committed records finds.
/// The lengths of the values of partition 0.
fn values(topic: &str, isolation: &str) -> Vec<Option<usize>> {
    let consumer: BaseConsumer = client()
        .set("group.id", "doctor-test")
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut place = rdkafka::TopicPartitionList::new();
    place.add_partition_offset(topic, 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&place).unwrap();
    let mut read = Vec::new();
    loop {
        match consumer.poll(CALL).expect("an end of the partition") {
            Ok(record) => read.push(record.payload().map(<[u8]>::len)),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => return read,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_wrong_setting_of_a_topic_is_found() {
    let (dir, prefix) = (TempDir::new().unwrap(), "doctor-setting");
    create_topics(dir.path(), prefix);
    let raw = format!("{prefix}.webhook.raw.v1");
    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let change = AlterConfig::new(ResourceSpecifier::Topic(&raw)).set("retention.ms", "604800000");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let changed = runtime.block_on(admin.alter_configs(&[change], &AdminOptions::new())).unwrap();
    assert!(changed.iter().all(Result::is_ok), "{changed:?}");
    // A broker answers a change a moment before it shows it.
    let examined = eventually("the setting is shown", || {
        let examined = Examined::by(on_kafka(dir.path(), prefix), &["--read-only"]);
        (examined.of("topics")["status"] != "ok").then_some(examined)
    });
    examined.says("topics", "fail", &format!("wrong: {raw}"));
    assert!(examined.fix("topics").contains("retention.ms=-1"), "{}", examined.fix("topics"));
    assert!(examined.failed);
}

#[test]
fn an_open_transaction_is_found_while_it_is_open() {
    let (dir, prefix) = (TempDir::new().unwrap(), "doctor-open");
    create_topics(dir.path(), prefix);
    let look = || Examined::by(on_kafka(dir.path(), prefix), &["--read-only"]);
    look().says("transactions", "ok", "none");
    for (topic, status) in [("transition.v1", "warn"), ("webhook.raw.v1", "fail")] {
        let topic = format!("{prefix}.{topic}");
        let producer: BaseProducer =
            client().set("transactional.id", format!("{prefix}/planted")).create().unwrap();
        producer.init_transactions(CALL).unwrap();
        producer.begin_transaction().unwrap();
        let record = BaseRecord::to(&topic).partition(0).key("k").payload("v");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(CALL).unwrap();
        let examined = look();
        examined.says("transactions", status, &format!("{topic}/0 from 0 on (1 records)"));
        assert_eq!(examined.failed, status == "fail");
        producer.abort_transaction(CALL).unwrap();
        look().says("transactions", "ok", "none");
    }
}

#[test]
fn an_account_that_never_told_of_messages_is_found() {
    let (dir, prefix) = (TempDir::new().unwrap(), "doctor-alert");
    let mut command = up(dir.path());
    with_one_replica(&mut command);
    command.env("TICKFOLD_KAFKA_BROKERS", broker::shared());
    command.env("TICKFOLD_TOPIC_PREFIX", prefix).env("TICKFOLD_GROUP", prefix);
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    let look = || {
        let mut command = on_kafka(dir.path(), prefix);
        command.env("TICKFOLD_GRPC_ADDR", &node.grpc);
        Examined::by(command, &["--read-only"])
    };
    look().says("subscriptions", "ok", "no account");
    // It takes a week until a node says so, so it is said for it.
    let producer: BaseProducer = client().create().unwrap();
    let topic = format!("{prefix}.alert.v1");
    let alert =
        r#"{"kind":"subscription_missing","subject":"102290129340398","reason":"messages"}"#;
    for alert in [alert, r#"{"kind":"unknown_code","subject":"1"}"#] {
        let record = BaseRecord::to(&topic).partition(3).key("102290129340398").payload(alert);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(CALL).unwrap();
    let examined = look();
    examined.says("subscriptions", "warn", "never told of: 102290129340398 (messages)");
    examined.nothing_fails();
    node.stop();
}

#[test]
fn rights_that_are_missing_are_found_by_trying() {
    let (dir, prefix) = (TempDir::new().unwrap(), "doctor-rights");
    create_topics(dir.path(), prefix);
    let limited = |role: &str| {
        let own = broker::own();
        let mut command = on_kafka(dir.path(), prefix);
        command.env("TICKFOLD_KAFKA_BROKERS", &own.secure).env("TICKFOLD_KAFKA_TLS", "true");
        command.env("TICKFOLD_KAFKA_CA_FILE", &own.ca_file);
        command.env("TICKFOLD_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512");
        command.env("TICKFOLD_KAFKA_SASL_USERNAME", broker::LIMITED[0]);
        command.env("TICKFOLD_KAFKA_PASSWORD", broker::PASSWORD);
        Examined::by(command, &["--role", role, "--timeout", "20"])
    };
    let none = limited("ingress");
    none.says("brokers", "fail", "authorization");
    assert!(none.failed);
    let topics = ["--topic", "doctor-rights.", "--resource-pattern-type", "prefixed"];
    let read = ["--operation", "Describe", "--operation", "DescribeConfigs", "--operation", "Read"];
    allow(&[&read[..], &topics].concat());
    allow(&["--operation", "Read", "--group", "tickfold-reader"]);
    let reads = limited("ingress");
    reads.says("broker_version", "ok", "4.1 or newer");
    reads.says("topics", "ok", "");
    reads.says("rights", "fail", "append to raw");
    reads.says("clock", "skipped", "nothing could be appended");
    allow(&["--operation", "Write", "--topic", "doctor-rights.webhook.raw.v1"]);
    limited("ingress").says("rights", "fail", "look at the group's positions");
    allow(&["--operation", "Describe", "--group", prefix]);
    let ingress = limited("ingress");
    ingress.says("rights", "ok", "may append to raw");
    limited("processor").says("rights", "fail", "try a commit: ");
    let ids = ["--transactional-id", "doctor-rights/", "--resource-pattern-type", "prefixed"];
    allow(&[&["--operation", "Describe", "--operation", "Write"], &ids[..]].concat());
    limited("processor").says("rights", "fail", "write to doctor-rights.");
    allow(&[&["--operation", "Write"], &topics[..]].concat());
    limited("processor").says("rights", "fail", "group doctor-rights");
    allow(&["--operation", "Read", "--group", prefix]);
    limited("processor").nothing_fails();
}

/// Gives the user who may nothing a right, as an operator would.
fn allow(what: &[&str]) {
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
    command.args(["-cp", &format!("{}/*", broker::jars().display())]);
    command.args(["org.apache.kafka.tools.AclCommand", "--bootstrap-server"]);
    command.args([&broker::own().plain, "--add", "--allow-principal"]);
    command.arg(format!("User:{}", broker::LIMITED[0])).args(what);
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(0), "{what:?}: {ended:?}");
}
