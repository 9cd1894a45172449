//! Everything that may change while webhooks come in, over TLS: secrets, the certificate, the
//! process itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::secrets::write_apps;
use crate::support::{
    Node, PATIENCE, SECRET, eventually, say, signature_with, soak_row, status_body, tickfold,
    up_args,
};

const ROUNDS: usize = 10;

/// A self-signed certificate for this machine.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        Self { certificate, pem: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn write(&self, root: &Path) {
        std::fs::write(root.join("cert.pem"), &self.pem).unwrap();
        std::fs::write(root.join("key.pem"), &self.key).unwrap();
    }
}

/// Addresses that nobody listens on, so that a node can come back where it was.
fn free_addresses() -> [SocketAddr; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

fn start(root: &Path, addresses: &[SocketAddr; 3]) -> Node {
    let mut command = tickfold();
    let mut free = addresses.iter().map(ToString::to_string);
    let addressed = |arg: String| match arg.as_str() {
        "127.0.0.1:0" => free.next().unwrap(),
        _ => arg,
    };
    command.args(up_args(root).into_iter().map(addressed)).env("TOKEN", "a-token");
    for (name, file) in
        [("APPS_FILE", "apps.toml"), ("TLS_CERT_FILE", "cert.pem"), ("TLS_KEY_FILE", "key.pem")]
    {
        command.env(format!("TICKFOLD_INGRESS_{name}"), root.join(file));
    }
    Node::spawn(root, command).unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
}

/// A sender over TLS that trusts both certificates.
struct Sender {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    sent: usize,
}

impl Sender {
    fn new(address: SocketAddr, trusted: &[Identity]) -> Self {
        let mut roots = RootCertStore::empty();
        for identity in trusted {
            roots.add(identity.certificate.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, config: Arc::new(config), sent: 0 }
    }

    /// Posts a new status on a connection of its own: the answer's code and the server's certificate.
    fn post(&mut self, secret: &[u8]) -> (u16, CertificateDer<'static>) {
        self.sent += 1;
        let body = status_body(&format!("wamid.RELOAD{}", self.sent), "sent", 1);
        let signature = signature_with(secret, body.as_bytes());
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::IpAddress(self.address.ip().into());
        let client = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut stream = StreamOwned::new(client, socket);
        let length = body.len();
        let request = format!(
            "POST /webhook/main HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             x-hub-signature-256: {signature}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (code, stream.conn.peer_certificates().unwrap()[0].clone().into_owned())
    }
}

/// A reload by call or by signal, in turn.
fn reload(node: &Node, round: usize) {
    if round.is_multiple_of(2) {
        node.cli_json(&["reload"]);
    } else {
        node.signal(Signal::HUP);
    }
}

fn load(address: SocketAddr, grpc: SocketAddr, trusted: &Path, duration: &str) -> Value {
    let mut command: Command = tickfold();
    let url = format!("https://{address}/webhook/main");
    command.args(["load", "--url", &url, "--tls-ca", trusted.to_str().unwrap()]);
    command.args(["--grpc-addr", &grpc.to_string(), "-o", "json", "--verify"]);
    command.args(["--rate", "200", "--duration", duration]).stdin(Stdio::null());
    command.env("TICKFOLD_APP_SECRET", SECRET);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

/// No other answer than 200 and 503, no other error than these, and what was accepted is in the state,
/// once. How much is lost and twice.
fn judge(what: &str, report: &Value, errors: &[&str]) -> (u64, u64) {
    say(&format!(
        "{what} under load: {} sent, {} accepted, 503: {}, errors: {}",
        report["sent"], report["accepted"], report["refused"]["503"], report["errors"],
    ));
    assert_eq!(report["unexpected"], json!({}), "{report:#}");
    let refused = report["refused"].as_object().unwrap();
    assert!(refused.keys().all(|code| code == "503"), "{report:#}");
    assert_eq!(report["refused_without_retry_after"], 0, "{report:#}");
    let mut met = report["errors"].as_object().unwrap().keys();
    assert!(met.all(|error| errors.contains(&error.as_str())), "{report:#}");
    assert_eq!(report["verify"]["ok"], true, "{report:#}");
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap();
    assert!(count(report, "accepted") * 2 > count(report, "sent"), "{report:#}");
    (count(&report["verify"], "missing"), count(&report["verify"], "twice"))
}

#[test]
fn ten_reloads_a_new_certificate_and_a_stop_under_load_lose_nothing() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    let identities = [Identity::new(), Identity::new()];
    let trusted = root.join("trusted.pem");
    std::fs::write(&trusted, [&*identities[0].pem, &*identities[1].pem].concat()).unwrap();
    identities[0].write(root);
    let always = ("always", SECRET.as_bytes());
    write_apps(root, &[always]);
    let addresses = free_addresses();
    let node = start(root, &addresses);
    let mut sender = Sender::new(addresses[0], &identities);
    let webhooks = |node: &Node| node.raw_webhooks().len();
    let mut landed = 0;

    let (report, slowest) = thread::scope(|scope| {
        let loading = scope.spawn(|| load(addresses[0], addresses[1], &trusted, "15s"));
        eventually("the load has begun", || (webhooks(&node) > 0).then_some(()));
        let mut slowest = Duration::ZERO;
        for round in 0..ROUNDS {
            let (id, secret) = (format!("round-{round}"), format!("the-secret-of-round-{round}"));
            write_apps(root, &[always, (&id, secret.as_bytes())]);
            reload(&node, round);
            eventually("the added secret verifies", || {
                (sender.post(secret.as_bytes()).0 == 200).then_some(())
            });
            landed += 1;
            write_apps(root, &[always]);
            let removed = Instant::now();
            reload(&node, round + 1);
            eventually("the removed secret is dead", || {
                (sender.post(secret.as_bytes()).0 == 401).then_some(())
            });
            landed += 1;
            slowest = slowest.max(removed.elapsed());
        }
        assert_eq!(sender.post(SECRET.as_bytes()).1, identities[0].certificate);
        identities[1].write(root);
        assert_eq!(node.cli_json(&["reload"])["certificates_reloaded"], true);
        assert_eq!(sender.post(SECRET.as_bytes()).1, identities[1].certificate);
        landed += 1;
        assert!(!loading.is_finished(), "the load is over before the reloads");
        (loading.join().unwrap(), slowest)
    });
    // No reload breaks a connection.
    let of_reloads = judge("reloads and a certificate", &report, &[]);
    say(&format!("a removed secret was dead after at most {slowest:?}"));
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");

    let before = webhooks(&node);
    let (report, node) = thread::scope(|scope| {
        let loading = scope.spawn(|| load(addresses[0], addresses[1], &trusted, "8s"));
        eventually("the load has begun", || (webhooks(&node) > before).then_some(()));
        node.stop();
        assert!(!loading.is_finished(), "the load is over before the stop");
        landed += 1;
        let node = start(root, &addresses);
        (loading.join().unwrap(), node)
    });
    // While the node is away there is none to connect to, and what it closes may be in use just then.
    let of_stop = judge("a stop", &report, &["connection_failed", "connection_lost"]);
    let (lost, twice) = (of_reloads.0 + of_stop.0, of_reloads.1 + of_stop.1);
    soak_row("reloads and a stop under load", 2 * ROUNDS as u64 + 2, landed, lost, twice);
    assert_eq!(landed, 2 * ROUNDS as u64 + 2);
    node.stop();
}
