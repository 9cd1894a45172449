//! Each example for a client of another make runs as it stands in the documentation: on a node that
//! authenticates nobody, and those with a token on one that knows its callers, over TLS.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::callers::{certificates, create, guarded};
use crate::docs::{commands, default_setting, pages};
use crate::grpc_clients::{Clients, succeeds};
use crate::support::{Http, NUMBER, Node, PARTY, WABA, eventually, run, status_body};

/// The name that the documentation gives to a node which others reach.
const NAMED: &str = "tickfold.example:50051";
const WAMID: &str = "wamid.A";

/// Where the examples are run.
struct Place<'a> {
    clients: &'a Clients,
    /// Of gRPC, by whichever name the examples have for it.
    grpc: String,
    admin: &'a str,
    /// Where the files lie that they name.
    dir: &'a Path,
    token: &'a str,
}

impl Place<'_> {
    /// An example with the words of the documentation replaced.
    fn filled(&self, example: &str) -> String {
        [
            (NAMED, self.grpc.as_str()),
            (&default_setting("grpc_addr"), &self.grpc),
            (&default_setting("admin_addr"), self.admin),
            ("PHONE_NUMBER_ID", NUMBER),
            ("PARTY", PARTY),
            ("WABA_ID", WABA),
            ("WAMID", WAMID),
        ]
        .iter()
        .fold(example.to_owned(), |text, (word, value)| text.replace(word, value))
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {line}")]);
        self.here(&mut command);
        command
    }

    fn here(&self, command: &mut Command) {
        let path = self.clients.path();
        command.env("PATH", path).env("TICKFOLD_TOKEN", self.token).current_dir(self.dir);
    }

    /// What a command answers, and that it is no failure.
    fn answer(&self, line: &str) -> Value {
        let printed = succeeds(self.shell(line));
        let answer: Value = serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{line}: {error}: {printed}"));
        assert!(answer["code"].is_null(), "{line}: {answer}");
        answer
    }

    /// What a stream told until it had caught up: the resume token of its first response.
    fn until_caught_up(&self, line: &str) -> String {
        let mut child = self.shell(line).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        for printed in BufReader::new(child.stdout.take().unwrap()).lines() {
            told += &printed.unwrap();
            if told.contains("WATCH_MARK_CAUGHT_UP") && told.contains("resumeToken") {
                break;
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        assert!(told.contains("WATCH_MARK_CAUGHT_UP"), "{line}: {told}");
        let (_, behind) = told.split_once("\"resumeToken\"").unwrap();
        behind.split('"').nth(1).unwrap().to_owned()
    }

    /// A command of the documentation, whichever it is.
    fn command(&self, line: &str, resume_token: &mut String) {
        let line = self.filled(line).replace("RESUME_TOKEN", resume_token);
        if line.contains("WatchService/") || line.contains("/watch/") {
            *resume_token = self.until_caught_up(&line);
        } else if line.ends_with(" list") {
            let printed = succeeds(self.shell(&line));
            assert!(printed.contains("tickfold.query.v1.WatchService"), "{line}: {printed}");
        } else {
            let answer = self.answer(&line);
            if line.contains(WAMID) {
                assert_eq!(answer["message"]["stateText"], "delivered", "{line}: {answer}");
            }
        }
    }
}

/// The examples without a token. How many there were.
pub(crate) fn plain(clients: &Clients, node: &Node) -> usize {
    let dir = TempDir::new().unwrap();
    let place =
        Place { clients, grpc: node.grpc.clone(), admin: &node.admin, dir: dir.path(), token: "" };
    let (mut ran, mut resume_token) = (0, String::new());
    for line in lines().iter().filter(|line| !has_token(line)) {
        place.command(line, &mut resume_token);
        ran += 1;
    }
    assert!(ran >= 10, "{ran} lines: are the pages still where they were?");
    ran
}

/// The examples with a token, and those in Python and TypeScript.
pub(crate) fn guarded_over_tls(clients: &Clients) {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let token = create(dir, "service", &["--scope", "query", "--waba", WABA]);
    std::fs::write(dir.join("header"), format!("authorization: Bearer {token}\n")).unwrap();
    certificates(dir, &[("node", "localhost")]);
    let mut command = guarded(dir);
    command.env("TICKFOLD_AUTH_TLS_CERT_FILE", dir.join("node.pem"));
    command.env("TICKFOLD_AUTH_TLS_KEY_FILE", dir.join("node.key"));
    let node = Node::spawn(dir, command).unwrap_or_else(|ended| panic!("{ended:?}"));
    node.post(status_body(WAMID, "delivered", 1));
    let bearer = format!("Bearer {token}");
    eventually("the message is there", || {
        let headers = [("authorization", bearer.as_str())];
        let path = format!("/v1/messages/{WAMID}");
        let answer = Http::new(&node.admin).send("GET", &path, &headers, b"").unwrap();
        (answer.status == 200).then_some(())
    });

    let (_, port) = node.grpc.rsplit_once(':').unwrap();
    let grpc = format!("localhost:{port}");
    let place = Place { clients, grpc, admin: &node.admin, dir, token: &token };
    let (mut ran, mut resume_token) = (0, String::new());
    for line in lines().iter().filter(|line| has_token(line)) {
        place.command(line, &mut resume_token);
        // And it is the token that lets it in.
        let nobody = Place { token: "nobody", grpc: place.grpc.clone(), ..place };
        let line = nobody.filled(line).replace("@header", "'authorization: Bearer nobody'");
        let refused = run(nobody.shell(&line), b"");
        assert!(!refused.stdout.contains("stateText"), "{line}: {refused:?}");
        // buf tells only of the reflection that it was refused before.
        let is_told = refused.stdout.contains("UNAUTHENTICATED")
            || refused.stderr.contains("Unauthenticated")
            || line.starts_with("buf ") && refused.code == Some(1);
        assert!(is_told, "{line}: {refused:?}");
        ran += 1;
    }
    assert!(ran >= 3, "{ran} lines: are the pages still where they were?");

    for (wamid, printed) in [(WAMID, "delivered"), ("wamid.NOBODY", "MESSAGE_NOT_FOUND")] {
        let filled = |text: &str| place.filled(&text.replace("WAMID", wamid));
        let mut python = clients.python();
        python.args(["-c", &filled(&block("python"))]);
        let (script, compiled) = clients.documented();
        std::fs::write(&script, filled(&compiled)).unwrap();
        let mut node = Command::new("node");
        node.arg(script);
        for mut program in [python, node] {
            place.here(&mut program);
            let told = succeeds(program);
            assert!(told.contains(printed), "{wamid}: {told}");
        }
    }
    node.stop();
}

/// Commands for grpcurl, buf and curl that ask a node.
fn lines() -> Vec<String> {
    let admin = default_setting("admin_addr");
    let mut lines = Vec::new();
    for page in pages() {
        let page = std::fs::read_to_string(&page).unwrap();
        for program in ["grpcurl", "buf", "curl"] {
            let of = commands(&page, program).into_iter();
            lines.extend(of.filter(|line| program != "curl" || line.contains(&admin)));
        }
    }
    let grpc = default_setting("grpc_addr");
    for line in &lines {
        let names_a_node = [&*grpc, &*admin, NAMED].iter().any(|node| line.contains(node));
        assert!(names_a_node, "{line}: where is the node?");
    }
    lines
}

fn has_token(line: &str) -> bool {
    line.contains("@header") || line.contains("TICKFOLD_TOKEN")
}

/// The example of a language on the page of clients.
pub(crate) fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/clients.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, behind) = page.split_once(&format!("```{language}\n")).expect("an example");
    behind.split_once("```").unwrap().0.to_owned()
}
