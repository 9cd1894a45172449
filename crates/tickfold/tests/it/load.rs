//! `tickfold load` against a real node: what it reports, that its verification can fail, what it
//! does when the node dies, over TLS, and on Ctrl-C.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Ended, Http, Node, Quiet, SECRET, eventually, run, say, signature, tickfold, with_secrets,
};

/// `tickfold load` with JSON output against a webhook listener and a node's gRPC.
fn load(url: &str, grpc: &str, args: &[&str]) -> Command {
    let mut command = tickfold();
    command.args(["load", "--url", url, "--grpc-addr", grpc, "-o", "json"]).args(args);
    with_secrets(&mut command);
    command
}

fn url(node: &Node) -> String {
    format!("http://{}/webhook/main", node.http)
}

fn report(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// A report that passes; beside nodes of other tests it may fail for its latencies, and for nothing
/// else.
fn passed(ended: &Ended, quiet: bool) -> Value {
    let code = ended.code.filter(|code| *code == 0 || !quiet).unwrap_or(0);
    let report = report(ended, code);
    let reasons = report["reasons"].as_array().cloned().unwrap_or_default();
    let of_time = |reason: &Value| {
        let reason = reason.as_str().unwrap();
        reason.starts_with("median ") || reason.ends_with("within 1 s, not below 1 %")
    };
    assert!(reasons.iter().all(of_time), "{report:#}");
    assert_eq!(report["verdict"], if code == 0 { "pass" } else { "fail" });
    assert_eq!(code == 0, reasons.is_empty(), "{report:#}");
    report
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no number {name} in {report:#}"))
}

#[test]
fn everything_good_is_accepted_everything_forged_refused_and_the_state_is_what_was_accepted() {
    // The verdict is about latencies, so other tests should not run nodes of their own.
    let quiet = Quiet::within(Duration::from_secs(15));
    let dir = TempDir::new().unwrap();
    let node = match &quiet {
        Some(quiet) => Node::start_in_quiet(dir.path(), quiet),
        None => Node::start(dir.path()),
    };
    let args = ["--rate", "200", "--duration", "3s", "--bad-signatures", "0.05"];
    let args =
        [&args, ["--duplicates", "0.2", "--templates", "0.05", "--verify"].as_slice()].concat();
    let report = passed(&run(load(&url(&node), &node.grpc, &args), b""), quiet.is_some());
    drop(quiet);
    say(&format!("load: {}", report["latency_ms"]));

    assert_eq!((count(&report, "intended"), count(&report, "sent")), (600, 600));
    let (good, bad) = (count(&report, "good"), count(&report, "bad_signatures"));
    assert_eq!(good + bad, 600);
    assert!((5..80).contains(&bad), "{bad}");
    assert_eq!(count(&report, "accepted"), good);
    assert_eq!(count(&report, "bad_signatures_refused"), bad);
    for name in ["refused", "unexpected", "errors"] {
        assert_eq!(report[name], serde_json::json!({}), "{name}");
    }
    let verify = &report["verify"];
    assert_eq!(verify["ok"], true, "{verify}");
    for name in ["messages", "conversations", "templates", "facts"] {
        assert!(count(verify, name) > 0, "{name} were compared: {verify}");
    }
    // Each accepted body is in raw once for each of its accounts' partitions, and nothing else is.
    assert!(node.raw_webhooks().len() as u64 >= good);
    node.stop();
}

#[test]
fn verification_finds_what_was_acknowledged_and_lost_and_what_nobody_sent() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let liar = Liar::before(&node);
    // One connection: the liar counts requests in their order.
    let args = ["--rate", "50", "--duration", "2s", "--verify", "--connections", "1"];
    let only_statuses =
        ["--inbound", "0", "--templates", "0", "--batches", "0", "--duplicates", "0"];
    let args = [args.as_slice(), &only_statuses].concat();
    let report = report(&run(load(&liar.url, &node.grpc, &args), b""), 1);
    assert_eq!(count(&report, "accepted"), 100, "every answer was a 200");
    let verify = &report["verify"];
    assert_eq!(verify["ok"], false, "{report:#}");
    assert_eq!(count(verify, "unexplained"), 1, "{report:#}");
    // The status, and its conversation if it was the only one of its message.
    assert!((1..=2).contains(&count(verify, "missing")), "{report:#}");
    let findings = report["findings"].to_string();
    assert!(findings.contains("unexplained played"), "{findings}");
    assert_eq!(report["verdict"], "fail");
    node.stop();
}

#[test]
fn a_node_that_dies_shows_as_connection_errors_and_fails_the_run() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let (url, grpc) = (url(&node), node.grpc.clone());
    let args = ["--rate", "100", "--duration", "4s", "--request-timeout", "2s"];
    let child = spawn(load(&url, &grpc, &args));
    eventually("some were accepted", || (node.raw_webhooks().len() > 50).then_some(()));
    node.kill9();
    let report = report(&ended(child), 1);
    assert_eq!(count(&report, "sent"), 400, "the schedule goes on without the node");
    let errors = report["errors"].as_object().unwrap();
    let lost: u64 = errors.values().map(|count| count.as_u64().unwrap()).sum();
    assert!(errors.contains_key("connection_failed"), "{errors:?}");
    assert_eq!(count(&report, "accepted") + lost, 400, "{report:#}");
    assert_eq!(count(&report, "over_1s"), lost);
    assert!(report["longest_refusal_seconds"].as_f64().unwrap() > 0.5, "{report:#}");
    assert_eq!(report["verdict"], "fail");
}

#[test]
fn ctrl_c_stops_sending_and_reports_what_was_done() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let child =
        spawn(load(&url(&node), &node.grpc, &["--rate", "100", "--duration", "10m", "--verify"]));
    eventually("some were accepted", || (node.raw_webhooks().len() > 20).then_some(()));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let report = passed(&ended(child), false);
    assert_eq!((count(&report, "intended"), &report["interrupted"]), (60_000, &Value::Bool(true)));
    let sent = count(&report, "sent");
    assert!((1..60_000).contains(&sent), "{sent}");
    assert_eq!((count(&report, "accepted"), &report["verify"]["ok"]), (sent, &Value::Bool(true)));
    node.stop();
}

#[test]
fn https_is_sent_to_a_server_that_the_given_authority_vouches_for_and_to_no_other() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let (trusted, other) = (dir.path().join("ca.pem"), dir.path().join("other.pem"));
    let port = tls_proxy(&node.http, &trusted);
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&other, stranger.cert.pem()).unwrap();
    let url = format!("https://localhost:{port}/webhook/main");
    let args = |ca: &Path| {
        let args = ["--rate", "20", "--duration", "1s", "--batches", "0", "--duplicates", "0"];
        let ca = ["--tls-ca", ca.to_str().unwrap()];
        args.into_iter().chain(ca).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut command = load(&url, &node.grpc, &[]);
    command.args(args(&trusted));
    assert_eq!(count(&passed(&run(command, b""), false), "accepted"), 20);
    let mut command = load(&url, &node.grpc, &[]);
    command.args(args(&other));
    let refused = report(&run(command, b""), 1);
    assert_eq!(refused["errors"], serde_json::json!({"connection_failed": 20}));
    assert_eq!(node.raw_webhooks().len(), 20, "each body of one account, so in one partition");
    node.stop();
}

#[test]
fn mistakes_are_named_before_anything_is_sent() {
    for (args, word) in [
        (["--url", "ftp://host/"].as_slice(), "neither http nor https"),
        (&["--url", "https://localhost/"], "--tls-ca"),
        (&["--burst", "0"], "--burst"),
        (&["--duplicates", "1.5"], "duplicates"),
        // Nobody listens there.
        (&["--verify", "--grpc-addr", "127.0.0.1:1"], "tickfold up"),
    ] {
        let mut command = tickfold();
        command.arg("load").args(args);
        with_secrets(&mut command);
        let ended = run(command, b"");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(word), "{args:?}: {ended:?}");
    }
    let mut command = tickfold();
    command.args(["load", "--rate", "1", "--duration", "1s"]);
    let ended = run(command, b"");
    assert!(ended.stderr.contains("TICKFOLD_APP_SECRET"), "{ended:?}");
    for odd in ["--rate=0", "--duration=soon", "--connections=0"] {
        assert_eq!(crate::support::cli(&["load", odd]).code, Some(2), "{odd}");
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A server before a node that loses one webhook it has acknowledged, and makes one up.
struct Liar {
    url: String,
}

impl Liar {
    /// The request it answers 200 and drops.
    const LOST: usize = 40;
    /// The request it follows with a `played` of the same message.
    const INVENTED: usize = 60;

    fn before(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/webhook/main", listener.local_addr().unwrap());
        let (to, requests) = (node.http.clone(), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (to, requests) = (to.clone(), Arc::clone(&requests));
                thread::spawn(move || Self::serve(stream.unwrap(), &to, &requests));
            }
        });
        Self { url }
    }

    fn serve(stream: TcpStream, to: &str, requests: &AtomicUsize) {
        let mut node = Http::new(to);
        let mut stream = BufReader::new(stream);
        while let Some(body) = read_body(&mut stream) {
            let index = requests.fetch_add(1, Ordering::SeqCst);
            if index != Self::LOST {
                assert_eq!(node.post_signed(&body).unwrap().status, 200);
            }
            if index == Self::INVENTED {
                let text = String::from_utf8(body).unwrap();
                let word = text.split(r#""status":""#).nth(1).unwrap().split('"').next().unwrap();
                let invented =
                    text.replace(&format!(r#""status":"{word}""#), r#""status":"played""#);
                assert_eq!(node.post_signed(invented.as_bytes()).unwrap().status, 200);
            }
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    }
}

/// The body of the next request on a connection, whose signature must be right; `None` at its end.
fn read_body(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let (mut length, mut signed) = (0, String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("x-hub-signature-256", value)) => value.clone_into(&mut signed),
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => assert_eq!(line.trim_end(), "POST /webhook/main HTTP/1.1"),
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(signed, signature(&body), "signed with {SECRET}");
    Some(body)
}

/// Ends TLS before a server, with a certificate for localhost that it writes to a file. Serves
/// until the test process ends.
fn tls_proxy(to: &str, certificate: &Path) -> u16 {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(certificate, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (sender, port) = std::sync::mpsc::channel();
    let to = to.to_owned();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap().port()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the handshake.
                    let Ok(mut inner) = acceptor.accept(stream).await else { return };
                    let mut outer = tokio::net::TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
                });
            }
        });
    });
    port.recv().unwrap()
}
