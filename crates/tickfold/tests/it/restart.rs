//! Stop and start: nothing changes, nothing is emitted again; and starts that must be refused.

use std::net::TcpListener;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Ended, NUMBER, Node, PARTY, Rng, assert_golden, derived, eventually, run, status_body_of,
    tickfold, up, with_secrets,
};

/// Messages of an account: more than stand in the block that opening a store reads.
const MESSAGES: usize = 40;
const WORDS: [&str; 5] = ["sent", "delivered", "read", "failed", "played"];

/// Posts some statuses of messages of several accounts, some of them twice.
fn post_some(node: &Node, seed: u64, posts: usize) {
    let mut rng = Rng(seed);
    let mut http = node.webhooks();
    for _ in 0..posts {
        let (account, message) = (rng.below(6), rng.below(MESSAGES));
        let waba = format!("21558990000{account}");
        let wamid = format!("wamid.R{account}.{message}");
        let after_s = i64::try_from(rng.below(500)).unwrap();
        let body = status_body_of(&waba, &wamid, WORDS[rng.below(WORDS.len())], after_s);
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
    }
}

/// Everything the query service says of what was posted, without what the clock moves.
fn replies(node: &Node) -> Vec<Value> {
    let mut all: Vec<_> = (0..6)
        .flat_map(|account| (0..MESSAGES).map(move |message| format!("wamid.R{account}.{message}")))
        .filter_map(|wamid| node.rpc().message(&wamid))
        .map(|message| format!("{message:?}").into())
        .collect();
    for args in [["get", "number", NUMBER].as_slice(), &["get", "conversation", NUMBER, PARTY]] {
        let mut reply = node.cli_json(args);
        reply.as_object_mut().unwrap().remove("as_of");
        all.push(reply);
    }
    all
}

#[test]
fn a_restart_changes_nothing_and_emits_nothing_again() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    post_some(&node, 1, 400);
    let golden = assert_golden(&node);
    let before = (derived(&node), replies(&node), node.raw_webhooks().len());
    assert!(before.1.len() > 20 && golden.count() > 100);
    node.stop();

    for round in 0..2 {
        let node = Node::start(dir.path());
        assert_golden(&node);
        let after = (derived(&node), replies(&node), node.raw_webhooks().len());
        assert!(after == before, "round {round}: something changed over the restart");
        // The first to ask for a row that nobody read since the start waits for the disk.
        let page = node.admin("/metrics").text();
        for from in ["memory", "disk"] {
            let told = format!("tickfold_query_lookups_total{{outcome=\"{from}\"}}");
            assert!(page.contains(&told), "none from {from}: {page}");
        }
        node.stop();
    }

    let node = Node::start(dir.path());
    post_some(&node, 2, 50);
    let later = assert_golden(&node);
    assert!(later.count() > golden.count(), "it goes on");
    node.stop();
}

#[test]
fn a_page_token_goes_on_where_it_was_over_a_kill_and_a_stop() {
    let dir = TempDir::new().unwrap();
    let mut node = Node::start(dir.path());
    for n in 0..6 {
        node.post(status_body_of("215589900000", &format!("wamid.P{n}"), "sent", n));
    }
    assert_golden(&node);
    let page = |node: &Node, token: &str| -> (Vec<String>, String) {
        let path =
            format!("/v1/conversations/{NUMBER}/{PARTY}/messages?pageSize=2&pageToken={token}");
        let answer = node.admin(&path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        let wamid = |message: &Value| message["wamid"].as_str().unwrap().to_owned();
        let wamids = page["messages"].as_array().unwrap().iter().map(wamid).collect();
        (wamids, page["nextPageToken"].as_str().unwrap_or_default().to_owned())
    };
    let (mut listed, mut token) = page(&node, "");
    for kill in [true, false] {
        if kill {
            node.kill9();
        } else {
            node.stop();
        }
        node = Node::start(dir.path());
        // What came since stands before the first page, not on one of these.
        node.post(status_body_of("215589900000", &format!("wamid.NEW.{kill}"), "sent", 100));
        assert_golden(&node);
        let (more, next) = page(&node, &token);
        listed.extend(more);
        token = next;
    }
    assert_eq!(listed, ["P5", "P4", "P3", "P2", "P1", "P0"].map(|of| format!("wamid.{of}")));
    assert_eq!(token, "");
    let refused = node
        .admin(&format!("/v1/conversations/{NUMBER}/1/messages?pageToken={}", page(&node, "").1));
    assert!(refused.text().contains("PAGE_TOKEN_MISMATCH"), "{}", refused.text());
    node.stop();
}

#[test]
fn sigint_ends_in_order_too_and_standard_output_has_the_one_line() {
    let dir = TempDir::new().unwrap();
    let mut node = Node::start(dir.path());
    post_some(&node, 3, 20);
    node.signal(rustix::process::Signal::INT);
    let Ended { code, stdout, stderr } = node.wait();
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
}

#[test]
fn what_was_acknowledged_just_before_kill_9_is_there_afterwards() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    post_some(&node, 4, 60);
    node.kill9();
    let node = Node::start(dir.path());
    assert_eq!(node.raw_webhooks().len(), 60);
    assert_golden(&node);
    node.stop();
}

/// A start that must fail with exit code 1 and a message with all of these words.
fn refused(ended: Result<Node, Ended>, words: &[&str]) -> Ended {
    let ended = ended.expect_err("the start had to be refused");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stdout, "");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in:\n{}", ended.stderr);
    }
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("tickfold: "), "the last line says why: {last}");
    ended
}

#[test]
fn a_second_node_on_the_same_data_directory_is_refused_and_the_first_goes_on() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    refused(Node::spawn(dir.path(), up(dir.path())), &["in use", "data"]);
    node.post(status_body_of("1", "wamid.STILL", "sent", 1));
    let mut rpc = node.rpc();
    eventually("the first node still folds", || rpc.message("wamid.STILL"));
    node.stop();
}

#[test]
fn a_start_without_secrets_or_with_a_bad_address_is_refused_before_anything_is_written() {
    for (missing, what) in
        [("TICKFOLD_APP_SECRET", "app secret"), ("TICKFOLD_VERIFY_TOKEN", "verify token")]
    {
        let dir = TempDir::new().unwrap();
        let mut command = up(dir.path());
        command.env_remove(missing);
        refused(Node::spawn(dir.path(), command), &[missing, &format!("{missing}_FILE"), what]);
        assert!(!dir.path().join("data").exists(), "{missing}: nothing was created");
    }
    for flag in ["--http-addr", "--grpc-addr", "--admin-addr"] {
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        let mut command = tickfold();
        command.arg("up").arg("--data-dir").arg(&data);
        for each in ["--http-addr", "--grpc-addr", "--admin-addr"] {
            command.args([each, if each == flag { "0.0.0.0:0" } else { "127.0.0.1:0" }]);
        }
        with_secrets(&mut command);
        refused(Node::spawn(dir.path(), command), &["loopback"]);
        assert!(!data.exists(), "{flag}: nothing was created");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let mut command = tickfold();
    command.arg("up").arg("--data-dir").arg(dir.path().join("data"));
    command.args(["--http-addr", &address]);
    command.args(["--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]);
    with_secrets(&mut command);
    refused(Node::spawn(dir.path(), command), &["http", address.as_str()]);
}

#[test]
fn secrets_may_come_from_files() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    for (name, secret) in [
        ("TICKFOLD_APP_SECRET", crate::support::SECRET),
        ("TICKFOLD_VERIFY_TOKEN", crate::support::VERIFY_TOKEN),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("{secret}\n")).unwrap();
        command.env_remove(name).env(format!("{name}_FILE"), path);
    }
    let node = Node::spawn(dir.path(), command).unwrap();
    node.post(status_body_of("1", "wamid.FILE", "sent", 1));
    node.stop();

    let mut command = up(dir.path());
    command.env_remove("TICKFOLD_APP_SECRET").env("TICKFOLD_APP_SECRET_FILE", "/nowhere/at/all");
    refused(Node::spawn(dir.path(), command), &["TICKFOLD_APP_SECRET_FILE", "/nowhere/at/all"]);
}

#[test]
fn unknown_flags_are_a_usage_error() {
    let mut command = tickfold();
    command.args(["up", "--no-such-flag"]);
    with_secrets(&mut command);
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--no-such-flag"));
}
