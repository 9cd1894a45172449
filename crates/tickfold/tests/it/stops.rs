//! A stop ends, whatever hangs: by itself after a while, at once by a second signal, and at once before the node
//! runs, in a container too.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Node, assert_golden, eventually, say, status_body, up};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// A node of which each partition that folds a webhook hangs before its commit. One does.
fn hanging(root: &TempDir) -> Node {
    let mut command = up(root.path());
    let proof = root.path().join("hangs");
    command.env("TICKFOLD_FAIL_POINT", "before_commit:1").env("TICKFOLD_FAIL_POINT_HANGS", "1");
    command.env("TICKFOLD_FAIL_POINT_FILE", &proof);
    command.env("TICKFOLD_INGRESS_DRAIN_LIMIT", "1s").env("TICKFOLD_QUERY_DRAIN_LIMIT", "1s");
    let node = Node::spawn(root.path(), command).unwrap_or_else(|ended| panic!("ended: {ended:?}"));
    node.post(status_body("wamid.stop", "sent", 1));
    eventually("a partition hangs", || proof.exists().then_some(()));
    node
}

/// It went as in a crash, and its next start has what was acknowledged.
fn ended(mut node: Node, root: &TempDir, why: &str) {
    let status = eventually("the node ends", || node.child.try_wait().unwrap());
    assert_eq!(status.signal(), Some(SIGKILL), "{}", node.log());
    let log = node.log();
    assert!(log.lines().next_back().unwrap_or_default().contains(why), "{log}");
    drop(node);
    let node = Node::start(root.path());
    assert_golden(&node);
    node.stop();
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn a_stop_that_hangs_ends_by_itself() {
    let root = TempDir::new().unwrap();
    let mut node = hanging(&root);
    let begin = Instant::now();
    node.signal(Signal::TERM);
    // Both drains and the rest.
    while begin.elapsed() < Duration::from_secs(31) {
        assert!(!node.has_ended(), "{:?}: {}", begin.elapsed(), node.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    ended(node, &root, "the stop takes longer than 32s");
    say(&format!("a stop that hangs ended after {:.1?}", begin.elapsed()));
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn a_second_signal_ends_a_stop_that_hangs() {
    let root = TempDir::new().unwrap();
    let mut node = hanging(&root);
    node.signal(Signal::TERM);
    eventually("it stops", || node.log().contains("stopping: no new webhooks").then_some(()));
    assert!(!node.has_ended());
    node.signal(Signal::INT);
    ended(node, &root, "told once more to stop");
}

#[test]
fn a_signal_before_a_node_runs_ends_it() {
    let ended = told_before_it_runs(|root| up(root.path()), |child| child.id());
    assert_eq!(ended.signal(), Some(SIGKILL));
}

/// The kernel does not let the first process of a container kill itself.
#[test]
fn a_signal_ends_the_first_process_of_a_container_too() {
    let contained = |root: &TempDir| {
        let node = up(root.path());
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
        command.arg(node.get_program()).args(node.get_args());
        node.get_envs().for_each(|(name, value)| _ = command.env(name, value.unwrap_or_default()));
        command
    };
    let node_in = |child: &Child| {
        let path = format!("/proc/{0}/task/{0}/children", child.id());
        let children = std::fs::read_to_string(path).unwrap();
        children
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("unshare has {children:?}; is it permitted?"))
    };
    // unshare ends as what it ran.
    let ended = told_before_it_runs(contained, node_in);
    assert!(ended.signal().is_some_and(|signal| signal != SIGTERM), "{ended:?}");
}

/// A node that waits for its brokers, of which nobody answers, is told to stop.
fn told_before_it_runs(
    command: impl Fn(&TempDir) -> Command,
    node_in: impl Fn(&Child) -> u32,
) -> ExitStatus {
    let root = TempDir::new().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = command(&root);
    command.args(["--kafka", &nobody.local_addr().unwrap().to_string()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    nobody.accept().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(node_in(&child)).unwrap()).unwrap();
    let begin = Instant::now();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let ended = eventually("it ends", || child.try_wait().unwrap());
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    ended
}
