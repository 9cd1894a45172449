//! A panic anywhere ends the process at once, in a node and in any other command. Its last line says where, and
//! quotes nothing.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Node, assert_golden, eventually, status_body, tickfold, up, with_secrets};

const SIGABRT: i32 = 6;

/// A command that panics the first time it is at a place.
fn panics_at(mut command: Command, place: &str) -> Command {
    command.env("TICKFOLD_FAIL_POINT", format!("{place}:1"));
    command.env("TICKFOLD_FAIL_POINT_PANICS", "1").env("RUST_BACKTRACE", "0");
    command
}

fn start(root: &Path, command: Command) -> Node {
    Node::spawn(root, command).unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
}

/// The last line of a node that ends by a panic.
fn last_line(node: &mut Node) -> String {
    let ended = eventually("the node ends", || node.child.try_wait().unwrap());
    assert_eq!(ended.signal(), Some(SIGABRT), "{}", node.log());
    node.log().lines().next_back().unwrap_or_default().to_owned()
}

fn post(node: &Node) {
    // The answer may or may not be there before the end.
    let _ = node.webhooks().post_signed(status_body("wamid.panic", "sent", 1).as_bytes());
}

#[test]
fn a_panic_aborts_the_process_and_the_last_line_says_where() {
    let root = tempfile::tempdir().unwrap();
    // On the thread of a partition.
    let mut node = start(root.path(), panics_at(up(root.path()), "before_commit"));
    post(&node);
    let last = last_line(&mut node);
    for part in ["ERROR", "panicked, the process aborts", "fail_points.rs:", "thread="] {
        assert!(last.contains(part), "{part:?} in the last line: {last}");
    }
    assert!(!last.contains("reached"), "the text of the panic is shown: {last}");
    drop(node);

    // It is a crash like any other.
    let node = Node::start(root.path());
    assert_golden(&node);
    node.stop();
}

#[test]
fn a_task_that_panics_is_the_end_too_and_stays_the_last_line_of_much_json() {
    let root = tempfile::tempdir().unwrap();
    let mut command = panics_at(up(root.path()), "after_append");
    // All other threads go on writing lines while it ends.
    command.env("TICKFOLD_TELEMETRY_LOG", "trace").env("TICKFOLD_TELEMETRY_LOG_FORMAT", "json");
    let mut node = start(root.path(), command);
    post(&node);
    let last = last_line(&mut node);
    let line: Value = serde_json::from_str(&last).unwrap_or_else(|error| panic!("{error}: {last}"));
    assert_eq!(line["level"], "ERROR", "{last}");
    assert_eq!(line["message"], "panicked, the process aborts", "{last}");
    assert!(line["place"].as_str().unwrap().contains("fail_points.rs:"), "{last}");
    assert_eq!(line["thread"], "tokio-rt-worker", "{last}");
    assert!(!last.contains("reached"), "the text of the panic is shown: {last}");
}

#[test]
fn work_on_the_blocking_pool_that_panics_is_the_end_too() {
    let root = tempfile::tempdir().unwrap();
    let mut node = start(root.path(), panics_at(up(root.path()), "after_prepare"));
    node.post(status_body("wamid.panic", "sent", 1));
    assert_golden(&node);
    assert_eq!(node.cli(&["replay", "run"]).code, Some(0));
    assert_ne!(node.cli(&["replay", "swap"]).code, Some(0), "{}", node.log());
    let last = last_line(&mut node);
    assert!(last.contains("panicked, the process aborts"), "{last}");
}

#[test]
fn a_command_that_panics_aborts_as_a_node_does() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path());
    let url = format!("http://{}/webhook/main", node.http);
    let mut command = panics_at(tickfold(), "after_post");
    command.args(["load", "--url", &url, "--rate", "20", "--duration", "2s"]);
    with_secrets(&mut command);
    // In a task that nobody asks how it ended.
    let ended = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.signal(), Some(SIGABRT), "{ended:?}");
    let last = stderr.lines().next_back().unwrap_or_default();
    assert!(
        last.starts_with("tickfold: panicked at ") && last.contains("fail_points.rs:"),
        "{last}"
    );
    assert!(!stderr.contains("reached"), "the text of the panic is shown: {stderr}");
    node.stop();
}
