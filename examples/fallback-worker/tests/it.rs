//! The worker on standard input, with the stub gateway: what is sent, once, and what is left. On a
//! broker, killed in between, it is tested with tickfold itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A gateway on a free port. Killed when dropped.
struct Gateway {
    child: Child,
    addr: String,
    log: PathBuf,
}

impl Gateway {
    fn start(dir: &Path) -> Self {
        let log = dir.join("gateway.jsonl");
        let mut child = Command::new(env!("CARGO_BIN_EXE_stub-gateway"))
            .args(["--addr", "127.0.0.1:0", "--log"])
            .arg(&log)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("stub gateway: ").unwrap().to_owned();
        Self { child, addr, log }
    }

    /// What it did, and for which key, in order.
    fn log(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        let of = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line.get(name).unwrap().as_str().unwrap().to_owned();
            (text("what"), text("key"))
        };
        text.lines().map(of).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn worker(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fallback-worker"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refused its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// A record as `tickfold tail -o jsonl` prints it.
fn line(id: &str, kind: &str, rest: &str) -> String {
    format!(
        "{}\n",
        format_args!(
            r#"{{"partition":1,"offset":2,"timestamp":"2026-11-20T00:00:00.000Z","key":"{id}","headers":{{}},"value":{{"action_id":"{id}","kind":"{kind}"{rest}}}}}"#
        )
    )
}

#[test]
fn each_fallback_is_sent_once_and_only_while_it_makes_sense() {
    let dir = TempDir::new().unwrap();
    let gateway = Gateway::start(dir.path());
    let to = r#","party":"447700900123","not_after":"2999-01-01T00:00:00Z""#;
    let late = r#","party":"447700900123","not_after":"2026-01-01T00:00:00Z""#;
    let actions = [
        line("plain", "sms_fallback", to),
        line("delivered", "sms_fallback", to),
        line("late", "sms_fallback", late),
        line("username", "sms_fallback", r#","party":"GB.48210093377120064511""#),
        line("halt", "halt_template", ""),
        "not json\n".to_owned(),
        line("back", "fallback_superseded", r#","supersedes":"delivered""#),
        line("last", "sms_fallback", to),
    ]
    .concat();
    let told = |output: &Output| {
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let of = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.get("done").map(|done| done.as_str().unwrap().to_owned())
        };
        text.lines().filter_map(of).collect::<Vec<_>>()
    };
    let args = ["--stdin", "--gateway", &gateway.addr];
    let output = worker(&args, &actions);
    let done = ["sent", "superseded", "expired", "no phone number", "not ours", "noted", "sent"];
    assert_eq!(told(&output), done);
    let sent = |key: &str| ("sent".to_owned(), key.to_owned());
    assert_eq!(gateway.log(), [sent("plain"), sent("last")]);

    // From the beginning once more, and after a restart of the gateway: nothing is sent again.
    drop(gateway);
    let gateway = Gateway::start(dir.path());
    let args = ["--stdin", "--gateway", &gateway.addr];
    assert_eq!(told(&worker(&args, &actions)), done);
    let repeated = |key: &str| ("repeated".to_owned(), key.to_owned());
    assert_eq!(gateway.log(), [sent("plain"), sent("last"), repeated("plain"), repeated("last")]);
}

#[test]
fn a_source_and_a_gateway_have_to_be_named() {
    for args in [&["--stdin"][..], &["--gateway", "127.0.0.1:1"], &["--kafka", "h:1"]] {
        let output = worker(args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let help = worker(&["--help"], "");
    assert!(String::from_utf8(help.stdout).unwrap().contains("sms_fallback"));
}
