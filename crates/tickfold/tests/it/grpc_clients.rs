//! Clients of other languages and makes: grpcio, @grpc/grpc-js and grpcurl ask the binary what
//! a service asks, Connect's client what a page asks by gRPC-web, Python's the mirror beside gRPC, on the embedded log and on Kafka with two processors, and get one answer. The
//! examples of `clients/` take the ways that they show, and outlive their node.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::documented_clients::{block, guarded_over_tls, plain};
use crate::grpcurl;
use crate::kafka_roles::{Cluster, share};
use crate::support::{
    NUMBER, Node, PARTY, WABA, assert_golden, eventually, run, say, status_body, status_body_of,
    tickfold, up_args, with_secrets,
};

/// How long the examples wait for a delivery that comes, and for one that does not.
const LONG: &str = "60";
const SHORT: &str = "1";
const WAMIDS: [&str; 3] = ["wamid.A", "wamid.B", "wamid.C"];

/// The clients that `scripts/setup.sh` installs, and the sources of `clients/`, compiled.
pub(crate) struct Clients {
    installed: PathBuf,
    sources: PathBuf,
    compiled: TempDir,
}

impl Clients {
    fn new() -> Self {
        let installed = std::env::var_os("TICKFOLD_GRPC_CLIENTS").expect(
            "TICKFOLD_GRPC_CLIENTS is not set: run scripts/setup.sh, then `. scripts/env.sh`",
        );
        let installed = PathBuf::from(installed);
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients");
        let compiled = TempDir::new().unwrap();
        // Beside the modules, where both the compiler and node look for them.
        let modules = installed.join("node/node_modules");
        std::os::unix::fs::symlink(&modules, compiled.path().join("node_modules")).unwrap();
        for name in ["package.json", "tsconfig.json", "src", "examples", "tests"] {
            let mut copy = Command::new("cp");
            copy.arg("-r").arg(sources.join("typescript").join(name)).arg(compiled.path());
            succeeds(copy);
        }
        std::fs::write(compiled.path().join("examples/documented.ts"), block("ts")).unwrap();
        let mut tsc = Command::new("node");
        tsc.arg(modules.join("typescript/bin/tsc")).arg("-p").arg(compiled.path());
        succeeds(tsc);
        Self { installed, sources, compiled }
    }

    pub(crate) fn python(&self) -> Command {
        let mut command = Command::new(self.installed.join("python/bin/python"));
        command.env("PYTHONPATH", self.sources.join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// A program of `clients/` in each of the languages.
    fn programs(&self, name: &str) -> [(&'static str, Command); 2] {
        let mut by_python = self.python();
        by_python.arg(self.sources.join("python").join(format!("{name}.py")));
        let mut by_node = Command::new("node");
        by_node.arg(self.compiled.path().join(format!("dist/{name}.js")));
        [("grpcio", by_python), ("grpc-js", by_node)]
    }

    /// The documentation's example in TypeScript, compiled, and a file beside it.
    pub(crate) fn documented(&self) -> (PathBuf, String) {
        let compiled = self.compiled.path().join("dist/examples/documented.js");
        (compiled.with_file_name("filled.js"), std::fs::read_to_string(compiled).unwrap())
    }

    /// Where programs are looked for, with grpcurl and buf.
    pub(crate) fn path(&self) -> OsString {
        let ours = [self.installed.join("bin"), self.installed.join("python/bin")];
        let path = std::env::var_os("PATH").unwrap();
        std::env::join_paths(ours.into_iter().chain(std::env::split_paths(&path))).unwrap()
    }
}

pub(crate) fn succeeds(command: Command) -> String {
    let what = format!("{command:?}");
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(0), "{what}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// What the scenario has to say of the messages that [`tell`] posts.
fn told() -> Vec<Value> {
    vec![
        json!(["lookup", ["wamid.A", "wamid.B", "wamid.C"], ["wamid.NOBODY"]]),
        json!(["list", [["wamid.C", "wamid.B"], ["wamid.A"]]]),
        json!(["unknown", 5, ["MESSAGE_NOT_FOUND"]]),
        json!(["empty", 3, ["INVALID_ARGUMENT"]]),
        json!([
            "transitions",
            [
                ["wamid.A", "sent", "sent"],
                ["wamid.A", "delivered", "delivered"],
                ["wamid.B", "read", "read"],
                ["wamid.B", "sent", "read"],
                ["wamid.C", "sent", "sent"],
            ]
        ]),
        json!(["watch", ["delivered", "missing"], "WATCH_MARK_CAUGHT_UP"]),
        json!(["delta", "sent"]),
        json!(["resumed", ["sent"], "WATCH_MARK_CAUGHT_UP"]),
    ]
}

fn tell(ingress: &Node) {
    let facts = [
        ("wamid.A", "sent", 1),
        ("wamid.A", "delivered", 2),
        ("wamid.B", "read", 12),
        ("wamid.B", "sent", 11),
        ("wamid.C", "sent", 21),
    ];
    for (wamid, word, after_s) in facts {
        ingress.post(status_body(wamid, word, after_s));
    }
}

/// A body that says of a message what no other message of the scenario has a part in: of an account, a number and a
/// party of its own.
fn sent_elsewhere(wamid: &str) -> String {
    let body = status_body_of("215589900000909", wamid, "sent", 40);
    let number = body.replace(NUMBER, "318840000000909").replace("15550100001", "15550100909");
    number.replace(PARTY, "447700900909")
}

/// All scenarios say the same, line by line, and what they have to say.
fn scenario(clients: &Clients, ingress: &Node, node: &Node) {
    let untold = |client: &str| format!("wamid.UNTOLD.{client}.{}", node.grpc);
    let mut said: Vec<(&str, Vec<Value>)> = Vec::new();
    for (name, mut command) in clients.programs("tests/scenario") {
        let untold = untold(name);
        command.args([&node.grpc, WABA, NUMBER, PARTY, &untold]).args(WAMIDS);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line[0] == "watch" {
                ingress.post(sent_elsewhere(&untold));
            }
            lines.push(line);
        }
        let mut failure = String::new();
        child.stderr.take().unwrap().read_to_string(&mut failure).unwrap();
        assert!(child.wait().unwrap().success(), "{name}: {failure}");
        said.push((name, lines));
    }
    let (program, untold) = (clients.installed.join("bin/grpcurl"), untold("grpcurl"));
    let sent = || drop(ingress.post(sent_elsewhere(&untold)));
    said.push(("grpcurl", grpcurl::scenario(&program, &node.grpc, &untold, &WAMIDS, sent)));
    for (name, lines) in &said {
        for expected in told() {
            assert!(lines.contains(&expected), "{name}: no {expected} in {lines:#?}");
        }
        let states: Vec<_> =
            lines.iter().filter(|line| line[0] == "message").map(|line| &line[1]).collect();
        assert_eq!(states, ["delivered", "read", "sent"], "{name}");
        assert_eq!(*lines, said[0].1, "{name}, and {}", said[0].0);
    }
}

/// By gRPC-web: lines of the scenario, those that it prints.
fn web(clients: &Clients, node: &Node) {
    let descriptors =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tickfold-proto/src/gen/descriptor.bin");
    let mut command = Command::new("node");
    command.arg(clients.compiled.path().join("dist/tests/web.js"));
    command.arg(format!("http://{}", node.grpc)).arg(descriptors).arg(WABA);
    command.args(WAMIDS);
    let printed = succeeds(command);
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for what in ["lookup", "unknown", "empty", "transitions"] {
        let expected = told().into_iter().find(|line| line[0] == what).unwrap();
        assert!(lines.contains(&expected), "no {expected} in {lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line[0] == "message").count(), 3, "{lines:#?}");
}

/// The mirror says what gRPC says, by another library's reading of it.
fn mirrored(clients: &Clients, node: &Node) {
    let [(_, mut command), _] = clients.programs("tests/mirror");
    command.args([&node.grpc, &node.admin, WABA, NUMBER, PARTY]).args(WAMIDS);
    let equal: Vec<u32> = serde_json::from_str(&succeeds(command)).unwrap();
    assert!(equal[0] > 30 && equal[1] > 5, "{equal:?}");
}

/// The examples in both languages, as they wait for the message of that name; nobody else does.
fn waiting(clients: &Clients, node: &Node, name: &str, seconds: &str) -> Vec<Waiting> {
    eventually("earlier watches are over", || (watches(node) == 0).then_some(()));
    let of = |(client, mut command): (&'static str, Command)| {
        let wamid = format!("wamid.OTP.{name}.{client}.{}", node.grpc);
        // Sending is their caller's.
        command.args([&node.grpc, seconds, "echo", &wamid]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Waiting { client, wamid, child: command.spawn().unwrap() }
    };
    clients.programs("examples/otp").map(of).into()
}

struct Waiting {
    client: &'static str,
    wamid: String,
    child: Child,
}

/// Waits until so many watches of messages are open.
fn until_watched(node: &Node, count: usize) {
    eventually("the examples watch", || (watches(node) >= count).then_some(()));
}

/// Sends, watches, and is told in time, or falls back.
fn examples(clients: &Clients, ingress: &Node, node: &Node) {
    for (name, word, answer) in
        [("D", "delivered", "delivered"), ("F", "failed", "fallback"), ("S", "sent", "fallback")]
    {
        let seconds = if word == "sent" { SHORT } else { LONG };
        let waiting = waiting(clients, node, name, seconds);
        if word != "sent" {
            // They wait before anything is said, as one does who has just sent.
            until_watched(node, waiting.len());
        }
        for one in &waiting {
            ingress.post(status_body(&one.wamid, "sent", 30));
            if word != "sent" {
                ingress.post(status_body(&one.wamid, word, 31));
            }
        }
        for one in waiting {
            assert_eq!(ended(one.child), format!("{answer}\n"), "{}: {word}", one.client);
        }
    }
}

/// The examples go on behind what they were told when their node dies or stops, and comes again.
fn examples_outlive_a_node(clients: &Clients, dir: &Path, mut node: Node) -> Node {
    for (signal, name) in [(Signal::KILL, "K"), (Signal::TERM, "T")] {
        let waiting = waiting(clients, &node, name, LONG);
        until_watched(&node, waiting.len());
        waiting.iter().for_each(|one| drop(node.post(status_body(&one.wamid, "sent", 30))));
        let address = node.grpc.clone();
        node.signal(signal);
        node.wait();
        drop(node);
        node = up_at(dir, &address);
        until_watched(&node, waiting.len());
        waiting.iter().for_each(|one| drop(node.post(status_body(&one.wamid, "delivered", 31))));
        for one in waiting {
            assert_eq!(ended(one.child), "delivered\n", "{} after {name}", one.client);
        }
    }
    node
}

/// A node whose gRPC listener is where an earlier one's was.
fn up_at(dir: &Path, grpc: &str) -> Node {
    let mut args = up_args(dir);
    let at = args.iter().position(|arg| arg == "--grpc-addr").unwrap();
    args[at + 1] = grpc.to_owned();
    let mut command = tickfold();
    command.args(args);
    with_secrets(&mut command);
    Node::spawn(dir, command).unwrap_or_else(|ended| panic!("{ended:?}"))
}

fn ended(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Open watches of messages on a node.
fn watches(node: &Node) -> usize {
    let page = node.admin("/metrics").text();
    let of = page.lines().filter_map(|line| line.strip_prefix("tickfold_query_watch_streams{"));
    let of = of.filter(|line| line.contains("\"WatchMessages\""));
    of.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

#[test]
fn grpc_clients_of_other_makes_are_answered_alike() {
    let clients = Clients::new();
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    tell(&node);
    assert_golden(&node);
    scenario(&clients, &node, &node);
    web(&clients, &node);
    mirrored(&clients, &node);
    plain(&clients, &node);
    guarded_over_tls(&clients);
    examples(&clients, &node, &node);
    examples_outlive_a_node(&clients, dir.path(), node).stop();
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_grpc_clients_of_other_makes_are_answered_by_either_processor() {
    let clients = Clients::new();
    let cluster = Cluster::new(93);
    let ingress = cluster.node("ingress", "ingress");
    let nodes = ["first", "second"].map(|name| cluster.node("processor", name));
    share(&[&nodes[0], &nodes[1]]);
    tell(&ingress);
    assert_golden(&nodes[0]);
    for node in &nodes {
        scenario(&clients, &ingress, node);
    }
    for node in &nodes {
        examples(&clients, &ingress, node);
    }
    say("both processors answer all clients alike");
    for node in nodes {
        node.stop();
    }
    ingress.stop();
}
