//! Clients of other languages and makes: grpcio, @grpc/grpc-js, grpcurl and buf's curl ask the binary what
//! a service asks, Connect's client what a page asks by gRPC-web, Python's the mirror beside gRPC, on the embedded log and on Kafka with two processors, and get one answer. The
//! examples of `clients/` take the ways that they show.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::docs::{commands, pages};
use crate::kafka_roles::{Cluster, share};
use crate::support::{NUMBER, Node, PARTY, WABA, assert_golden, eventually, run, say, status_body};

/// Where the documentation has a node.
const DOCUMENTED: &str = "127.0.0.1:8081";
/// How long the examples wait for a delivery that comes, and for one that does not.
const LONG: &str = "60";
const SHORT: &str = "1";

/// The clients that `scripts/setup.sh` installs, and the sources of `clients/`, compiled.
struct Clients {
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
        let mut tsc = Command::new("node");
        tsc.arg(modules.join("typescript/bin/tsc")).arg("-p").arg(compiled.path());
        succeeds(tsc);
        Self { installed, sources, compiled }
    }

    /// A program of `clients/` in each of the languages.
    fn programs(&self, name: &str) -> [(&'static str, Command); 2] {
        let python = self.sources.join("python");
        let mut by_python = Command::new(self.installed.join("python/bin/python"));
        by_python.env("PYTHONPATH", &python).env("PYTHONDONTWRITEBYTECODE", "1");
        by_python.arg(python.join(format!("{name}.py")));
        let mut by_node = Command::new("node");
        by_node.arg(self.compiled.path().join(format!("dist/{name}.js")));
        [("grpcio", by_python), ("grpc-js", by_node)]
    }

    /// A line of the documentation, asked of a node.
    fn documented(&self, line: &str, node: &Node) -> String {
        let line = line.replace(DOCUMENTED, &node.grpc).replace("WAMID", "wamid.A");
        let line = line.replace("WABA_ID", WABA);
        let mut command = Command::new("sh");
        command.args(["-c", &line]);
        let ours = [self.installed.join("bin"), self.installed.join("python/bin")];
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(ours.into_iter().chain(std::env::split_paths(&path)));
        command.env("PATH", path.unwrap());
        succeeds(command)
    }
}

fn succeeds(command: Command) -> String {
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

/// Both scenarios say the same, line by line, and what they have to say.
fn scenario(clients: &Clients, node: &Node) {
    let said = clients.programs("tests/scenario").map(|(name, mut command)| {
        command.args([&node.grpc, WABA, NUMBER, PARTY, "wamid.A", "wamid.B", "wamid.C"]);
        let printed = succeeds(command);
        let lines: Vec<Value> =
            printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for expected in told() {
            assert!(lines.contains(&expected), "{name}: no {expected} in {lines:#?}");
        }
        let states: Vec<_> =
            lines.iter().filter(|line| line[0] == "message").map(|line| &line[1]).collect();
        assert_eq!(states, ["delivered", "read", "sent"], "{name}");
        lines
    });
    assert_eq!(said[0], said[1]);
}

/// By gRPC-web: the same lines as of the scenario.
fn web(clients: &Clients, node: &Node) {
    let descriptors =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tickfold-proto/src/gen/descriptor.bin");
    let mut command = Command::new("node");
    command.arg(clients.compiled.path().join("dist/tests/web.js"));
    command.arg(format!("http://{}", node.grpc)).arg(descriptors).arg(WABA);
    command.args(["wamid.A", "wamid.B", "wamid.C"]);
    let printed = succeeds(command);
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for expected in told().iter().filter(|line| line[0] != "list") {
        assert!(lines.contains(expected), "no {expected} in {lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line[0] == "message").count(), 3, "{lines:#?}");
}

/// The mirror says what gRPC says, by another library's reading of it.
fn mirrored(clients: &Clients, node: &Node) {
    let [(_, mut command), _] = clients.programs("tests/mirror");
    command.args([&node.grpc, &node.admin, WABA, NUMBER, PARTY, "wamid.A", "wamid.B", "wamid.C"]);
    let equal: Vec<u32> = serde_json::from_str(&succeeds(command)).unwrap();
    assert!(equal[0] > 30 && equal[1] > 5, "{equal:?}");
}

/// Each line for grpcurl and buf in the documentation, as it stands there.
fn documented(clients: &Clients, node: &Node) {
    let mut ran = 0;
    for page in pages() {
        let page = std::fs::read_to_string(&page).unwrap();
        for program in ["grpcurl", "buf"] {
            for line in commands(&page, program) {
                assert!(line.contains(DOCUMENTED), "{line}: where is the node?");
                let printed = clients.documented(&line, node);
                if line.ends_with(" list") {
                    assert!(
                        printed.contains("tickfold.query.v1.WatchService"),
                        "{line}: {printed}"
                    );
                } else {
                    let answer: Value = serde_json::from_str(&printed).unwrap();
                    let is_told = answer["message"]["stateText"] == "delivered"
                        || answer["account"]["wabaId"] == WABA;
                    assert!(is_told, "{line}: {answer}");
                }
                ran += 1;
            }
        }
    }
    assert!(ran >= 4, "{ran} lines: are the pages still where they were?");
}

/// Sends, watches, and is told in time, or falls back.
fn examples(clients: &Clients, ingress: &Node, node: &Node) {
    for (name, word, answer) in
        [("D", "delivered", "delivered"), ("F", "failed", "fallback"), ("S", "sent", "fallback")]
    {
        let seconds = if word == "sent" { SHORT } else { LONG };
        let before = watches(node);
        let mut waiting = Vec::new();
        for (client, mut command) in clients.programs("examples/otp") {
            let wamid = format!("wamid.OTP.{name}.{client}.{}", node.grpc);
            command.args([&node.grpc, &wamid, seconds]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            waiting.push((client, wamid, command.spawn().unwrap()));
        }
        if word != "sent" {
            // They wait before anything is said, as one does who has just sent.
            let open = || (watches(node) >= before + waiting.len()).then_some(());
            eventually("the examples watch", open);
        }
        for (_, wamid, _) in &waiting {
            ingress.post(status_body(wamid, "sent", 30));
            if word != "sent" {
                ingress.post(status_body(wamid, word, 31));
            }
        }
        for (client, _, child) in waiting {
            assert_eq!(ended(child), format!("{answer}\n"), "{client}: {word}");
        }
    }
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
    scenario(&clients, &node);
    web(&clients, &node);
    mirrored(&clients, &node);
    documented(&clients, &node);
    examples(&clients, &node, &node);
    node.stop();
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
        scenario(&clients, node);
        documented(&clients, node);
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
