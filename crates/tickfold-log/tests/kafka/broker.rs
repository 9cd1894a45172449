//! A real Kafka broker for tests: one node (KRaft), loopback only, in a directory of its own.
//!
//! `scripts/setup.sh` puts the jars into the cache directory; without them [`Broker::start`] fails
//! with the command to run. `TICKFOLD_TEST_KAFKA=HOST:PORT` names a running broker for the tests
//! that need no more than an address. A broker dies with the test process, however that ends:
//! `guard.sh` waits for the end of its standard input.
//!
//! It listens in plain, with TLS and SASL (SCRAM and PLAIN) under a certificate of a self-made
//! authority, and in plain for a proxy, whose address it then tells its clients. Everybody may do
//! everything but those of [`LIMITED`]. Settings are those of production but for the number of replicas,
//! small internal topics, no retention, and a short session, which a restarted broker waits out;
//! topics are created on demand, as many clusters do. The binary's tests include this file too.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// User and password of the secure listener, good for nothing but these tests.
pub(crate) const USER: &str = "tickfold";
pub(crate) const PASSWORD: &str = "known-to-everybody";
/// Users of the secure listener, with the same password, who may do nothing but what an ACL allows.
pub(crate) const LIMITED: [&str; 2] = ["limited", "limited-ingress"];

const POM: &str = include_str!("../../../../scripts/kafka/pom.xml");
const CLUSTER_ID: &str = "dGlja2ZvbGQtdGVzdGluZw";
/// Logged once the broker takes requests.
const STARTED: &str = "Kafka Server started";
const KILLED: &str = "== killed";
const PAUSED: &str = "== paused";
const RESUMED: &str = "== resumed";

/// A broker of this test process.
pub(crate) struct Broker {
    /// `HOST:PORT` of the plain listener.
    pub(crate) plain: String,
    /// `HOST:PORT` of the listener with TLS and SASL.
    pub(crate) secure: String,
    /// Where a proxy finds the broker, and where clients find the proxy, if there is one.
    pub(crate) behind_proxy: String,
    pub(crate) proxy: String,
    /// The authority of the secure listener's certificate, PEM.
    pub(crate) ca_file: PathBuf,
    guard: Mutex<Guard>,
    output: Arc<Output>,
}

struct Guard {
    process: Child,
    /// Taken when dropped: its end is the guard's end.
    words: Option<ChildStdin>,
}

/// What the broker printed.
#[derive(Default)]
struct Output {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    /// Lines before this one belong to an earlier life.
    life: usize,
    over: bool,
}

/// The address of the broker all tests of this process share, started at the first call.
pub(crate) fn shared() -> String {
    std::env::var("TICKFOLD_TEST_KAFKA").unwrap_or_else(|_| own().plain.clone())
}

/// The broker all tests of this process share, for those that need its secure listener too.
pub(crate) fn own() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(Broker::start)
}

impl Broker {
    /// Starts a broker and waits until it takes requests. It lives for seconds, so it spares the
    /// time to compile itself well.
    pub(crate) fn start() -> Self {
        Self::start_with(&["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
    }

    /// The same with arguments for Java.
    pub(crate) fn start_with(java: &[&str]) -> Self {
        let jars = jars();
        let owned = tempfile::Builder::new().prefix("tickfold-kafka-").tempdir().unwrap();
        let dir = owned.path();
        let [plain, secure, behind_proxy, proxy, controller] = free_ports();
        let ca_file = dir.join("ca.pem");
        certificates(&ca_file, &dir.join("server.pem"));
        let properties = dir.join("server.properties");
        let ports = Ports { plain, secure, behind_proxy, proxy, controller };
        fs::write(&properties, server_properties(dir, &ports)).unwrap();
        format_storage(&jars, &properties);

        let classpath = format!("{}/*", jars.display());
        let mut process = Command::new("sh")
            .args(["-c", include_str!("guard.sh"), "guard.sh"])
            .arg(dir)
            .args(java)
            .args([
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-Dorg.slf4j.simpleLogger.log.kafka.server=info",
            ])
            .args(["-cp", &classpath, "kafka.Kafka"])
            .arg(&properties)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start sh");
        // The guard removes it.
        let _ = owned.keep();
        let output = Arc::new(Output::default());
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        std::thread::spawn({
            let output = Arc::clone(&output);
            move || output.collect(lines.map_while(Result::ok))
        });
        let words = process.stdin.take();
        let broker = Self {
            plain: format!("127.0.0.1:{plain}"),
            secure: format!("localhost:{secure}"),
            behind_proxy: format!("127.0.0.1:{behind_proxy}"),
            proxy: format!("127.0.0.1:{proxy}"),
            ca_file,
            guard: Mutex::new(Guard { process, words }),
            output,
        };
        broker.restart();
        broker
    }

    /// Ends the broker with SIGKILL and returns once it is gone. Its files stay.
    pub(crate) fn kill(&self) {
        self.say("kill");
        self.output.wait_for(KILLED);
    }

    /// Starts the broker again on its files and waits until it takes requests.
    pub(crate) fn restart(&self) {
        self.output.new_life();
        self.say("start");
        self.output.wait_for(STARTED);
    }

    /// Stops the broker with SIGSTOP: it answers nothing, and its connections stay.
    pub(crate) fn pause(&self) {
        self.output.new_life();
        self.say("pause");
        self.output.wait_for(PAUSED);
    }

    /// Lets a paused broker go on.
    pub(crate) fn resume(&self) {
        self.say("resume");
        self.output.wait_for(RESUMED);
    }

    fn say(&self, word: &str) {
        let mut guard = self.guard.lock().unwrap();
        writeln!(guard.words.as_mut().unwrap(), "{word}").expect("the broker's guard is gone");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let mut guard = self.guard.lock().unwrap();
        guard.words = None;
        guard.process.wait().unwrap();
    }
}

impl Output {
    fn collect(&self, lines: impl Iterator<Item = String>) {
        for line in lines {
            self.seen.lock().unwrap().lines.push(line);
            self.changed.notify_all();
        }
        self.seen.lock().unwrap().over = true;
        self.changed.notify_all();
    }

    fn new_life(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.life = seen.lines.len();
    }

    /// Panics with what the broker printed if it does not come to say so.
    fn wait_for(&self, text: &str) {
        let said = |seen: &Seen| seen.lines[seen.life..].iter().any(|line| line.contains(text));
        let seen = self.seen.lock().unwrap();
        let (seen, waited) = self
            .changed
            .wait_timeout_while(seen, Duration::from_secs(120), |seen| !said(seen) && !seen.over)
            .unwrap();
        if !said(&seen) {
            let why = if waited.timed_out() { "in two minutes" } else { "and ended" };
            panic!("the broker did not say {text:?} {why}:\n{}", seen.lines.join("\n"));
        }
    }
}

/// Where `scripts/setup.sh` puts the jars; the rule is that of `scripts/env.sh`.
pub(crate) fn jars() -> PathBuf {
    let (_, version) = POM.split_once("<kafka.version>").unwrap();
    let (version, _) = version.split_once("</kafka.version>").unwrap();
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = var("TICKFOLD_CACHE_DIR")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("tickfold")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache/tickfold")))
        .expect("no HOME");
    let jars = cache.join(format!("kafka-{version}"));
    assert!(
        jars.is_dir(),
        "no Kafka {version} in {}: run scripts/setup.sh, or name a running broker with \
         TICKFOLD_TEST_KAFKA=HOST:PORT",
        cache.display()
    );
    jars
}

/// Ports nobody listens on, below those the system gives to outgoing connections: nothing takes
/// them between this check and the broker's bind but another broker of these tests, whose ports
/// begin elsewhere.
fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: OnceLock<Mutex<u16>> = OnceLock::new();
    let begin = 20_000 + u16::try_from(std::process::id() % 120).unwrap() * 100;
    let mut next = NEXT.get_or_init(|| Mutex::new(begin)).lock().unwrap();
    std::array::from_fn(|_| {
        loop {
            let port = *next;
            *next = if port < 31_999 { port + 1 } else { 20_000 };
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}

/// An authority, and a certificate and key for this machine under it.
fn certificates(ca_file: &Path, server_file: &Path) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another name than that of the certificate below, which would else look self-signed.
    ca.distinguished_name.push(DnType::CommonName, "tickfold test authority");
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    fs::write(ca_file, &ca_pem).unwrap();
    fs::write(server_file, server.pem() + &ca_pem + &key.serialize_pem()).unwrap();
}

struct Ports {
    plain: u16,
    secure: u16,
    behind_proxy: u16,
    proxy: u16,
    controller: u16,
}

fn server_properties(dir: &Path, ports: &Ports) -> String {
    let Ports { plain, secure, behind_proxy, proxy, controller } = ports;
    let dir = dir.display();
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required";
    let plain_login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    format!(
        r#"process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listeners=PLAIN://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},PROXIED://127.0.0.1:{behind_proxy},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},SECURE://localhost:{secure},PROXIED://127.0.0.1:{proxy}
listener.security.protocol.map=PLAIN:PLAINTEXT,SECURE:SASL_SSL,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.secure.scram-sha-256.sasl.jaas.config={scram};
listener.name.secure.scram-sha-512.sasl.jaas.config={scram};
listener.name.secure.plain.sasl.jaas.config={plain_login} user_{USER}="{PASSWORD}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{USER}
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={dir}/server.pem
log.dirs={dir}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=4194304
"#
    )
}

fn format_storage(jars: &Path, properties: &Path) {
    let user =
        |mechanism: &str, name: &str| format!("{mechanism}=[name={name},password={PASSWORD}]");
    let formatted = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
        .args(["-cp", &format!("{}/*", jars.display()), "kafka.tools.StorageTool", "format"])
        .args(["--cluster-id", CLUSTER_ID, "--config"])
        .arg(properties)
        .args(["--add-scram", &user("SCRAM-SHA-256", USER)])
        .args(["--add-scram", &user("SCRAM-SHA-512", USER)])
        .args(
            LIMITED.iter().flat_map(|name| ["--add-scram".to_owned(), user("SCRAM-SHA-512", name)]),
        )
        .stdin(Stdio::null())
        .output()
        .expect("start java: run scripts/setup.sh");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        formatted.status.success(),
        "format the broker's storage:\n{}{}",
        text(&formatted.stdout),
        text(&formatted.stderr)
    );
}
