//! A panic anywhere ends the process at once. Its last line says where, and quotes nothing.

use std::os::unix::process::ExitStatusExt;

use crate::support::{Node, assert_golden, eventually, status_body, up};

const SIGABRT: i32 = 6;

#[test]
fn a_panic_aborts_the_process_and_the_last_line_says_where() {
    let root = tempfile::tempdir().unwrap();
    let mut command = up(root.path());
    command.env("TICKFOLD_FAIL_POINT", "before_commit:1").env("TICKFOLD_FAIL_POINT_PANICS", "1");
    command.env("RUST_BACKTRACE", "0");
    let mut node = Node::spawn(root.path(), command).unwrap();
    // The answer may or may not be there before the end.
    let _ = node.webhooks().post_signed(status_body("wamid.panic", "sent", 1).as_bytes());
    let ended = eventually("the node ends", || node.child.try_wait().unwrap());
    assert_eq!(ended.signal(), Some(SIGABRT), "{}", node.log());
    let log = node.log();
    let last = log.lines().next_back().unwrap_or_default();
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
