//! Several apps with several secrets, exchanged while the node serves.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Node, WEBHOOK, assert_golden, eventually, signature_with, status_body, tickfold, up_args,
};

const OLD: &[u8] = b"the-old-secret";
const NEW: &[u8] = b"the-new-secret";
const OTHER: &[u8] = b"the-secret-of-the-other-app";

/// An apps file with `main` (the secrets given by id) and `other`, beside its secret files.
pub(crate) fn write_apps(root: &Path, main: &[(&str, &[u8])]) {
    let mut text =
        String::from("[[app]]\nname = \"main\"\nverify_tokens = [{ env = \"TOKEN\" }]\n");
    for (id, secret) in main.iter().chain([&("other-1", OTHER)]) {
        if *id == "other-1" {
            text.push_str("[[app]]\nname = \"other\"\n");
        }
        std::fs::write(root.join(id), secret).unwrap();
        text.push_str(&format!("[[app.secret]]\nid = \"{id}\"\nfile = \"{id}\"\n"));
    }
    std::fs::write(root.join("apps.toml"), text).unwrap();
}

/// `tickfold up` with that apps file.
fn up(root: &Path) -> Command {
    let mut command = tickfold();
    command.args(up_args(root)).env("TOKEN", "a-token");
    command.env("TICKFOLD_INGRESS_APPS_FILE", root.join("apps.toml"));
    command
}

/// The status of a POST of a body that nobody posted before.
fn post(node: &Node, app: &str, secret: &[u8]) -> u16 {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let body = status_body(&format!("wamid.SECRETS{number}"), "sent", 1);
    let signature = signature_with(secret, body.as_bytes());
    let headers = [("x-hub-signature-256", signature.as_str())];
    let path = format!("/webhook/{app}");
    node.webhooks().send("POST", &path, &headers, body.as_bytes()).unwrap().status
}

fn status(node: &Node) -> Value {
    serde_json::from_str(&node.admin("/statusz").text()).unwrap()
}

#[test]
fn apps_have_their_own_paths_and_secrets_and_counters() {
    let dir = TempDir::new().unwrap();
    write_apps(dir.path(), &[("new", NEW), ("old", OLD)]);
    let node = Node::spawn(dir.path(), up(dir.path())).unwrap();
    let ready =
        |node: &Node| -> Value { serde_json::from_str(&node.admin("/readyz").text()).unwrap() };

    assert_eq!((post(&node, "main", OTHER), post(&node, "other", OLD)), (401, 401));
    let warned = ready(&node);
    assert_eq!((&warned["ready"], warned["warnings"].as_array().unwrap().len()), (&true.into(), 2));
    for (app, secret) in [("main", NEW), ("main", OLD), ("main", OLD), ("other", OTHER)] {
        assert_eq!(post(&node, app, secret), 200);
    }
    assert_eq!(ready(&node)["warnings"], Value::Array(vec![]));

    let apps = status(&node)["apps"].clone();
    let matches = |app: usize, secret: usize| {
        let secret = &apps[app]["secrets"][secret];
        assert!(secret["last_match_time"].is_string() && secret["safe_to_retire"] == false);
        (secret["id"].as_str().unwrap().to_owned(), secret["matches"].as_u64().unwrap())
    };
    assert_eq!([matches(0, 0), matches(0, 1)], [("new".into(), 1), ("old".into(), 2)]);
    assert_eq!(matches(1, 0), ("other-1".into(), 1));
    let raw = node.raw_webhooks();
    let ids = |app: &str| -> Vec<&str> {
        let of_app = raw.iter().filter(|record| record.headers["wa-app"] == app);
        of_app.map(|record| record.headers["wa-secret-id"].as_str()).collect()
    };
    assert_eq!((ids("main"), ids("other")), (vec!["new", "old", "old"], vec!["other-1"]));
    node.stop();
}

#[test]
fn a_signal_and_a_call_reload_secrets_and_a_bad_file_changes_nothing() {
    let dir = TempDir::new().unwrap();
    write_apps(dir.path(), &[("old", OLD)]);
    let node = Node::spawn(dir.path(), up(dir.path())).unwrap();
    assert_eq!((post(&node, "main", OLD), post(&node, "main", NEW)), (200, 401));

    write_apps(dir.path(), &[("new", NEW), ("old", OLD)]);
    node.signal(Signal::HUP);
    eventually("the new secret verifies", || (post(&node, "main", NEW) == 200).then_some(()));
    assert_eq!(post(&node, "main", OLD), 200);

    write_apps(dir.path(), &[("new", NEW)]);
    let removed = Instant::now();
    let reloaded = node.cli_json(&["reload"]);
    assert_eq!((post(&node, "main", OLD), post(&node, "main", NEW)), (401, 200));
    assert!(removed.elapsed() < Duration::from_secs(1), "{:?}", removed.elapsed());
    assert_eq!(reloaded["secrets_removed"], Value::from(vec!["main/old"]));
    assert_eq!(reloaded["secrets_kept"], Value::from(vec!["main/new", "other/other-1"]));

    for bad in ["", "[[app]]\nname = \"main\"", "not toml"] {
        std::fs::write(dir.path().join("apps.toml"), bad).unwrap();
        let refused = node.cli(&["reload"]);
        assert_eq!(refused.code, Some(1), "{bad:?}: {refused:?}");
        assert!(refused.stderr.contains("RELOAD_REFUSED"), "{}", refused.stderr);
        let refusals = || node.log().matches("reload refused").count();
        let before = refusals();
        node.signal(Signal::HUP);
        eventually("the refusal is logged", || (refusals() > before).then_some(()));
        assert_eq!(post(&node, "main", NEW), 200, "{bad:?}");
    }
    for secret in [OLD, NEW, OTHER] {
        let secret = std::str::from_utf8(secret).unwrap();
        assert!(!node.log().contains(secret), "{secret} is in the log");
    }
    node.stop();
}

#[test]
fn what_a_secret_signed_before_it_was_known_is_taken_from_the_quarantine() {
    const QUARANTINE: &str = "wa.webhook.quarantine.v1";
    let dir = TempDir::new().unwrap();
    write_apps(dir.path(), &[("old", OLD)]);
    let mut command = up(dir.path());
    command.env("TICKFOLD_INGRESS_QUARANTINE_BYTES_MAX", "8MiB");
    let node = Node::spawn(dir.path(), command).unwrap();
    let body = status_body("wamid.QUARANTINED", "sent", 1);
    for secret in [NEW, b"of an attacker"] {
        let signature = signature_with(secret, body.as_bytes());
        let headers = [("x-hub-signature-256", signature.as_str())];
        let answer = node.webhooks().send("POST", WEBHOOK, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 401);
    }
    let kept = || node.tail(QUARANTINE);
    eventually("both are kept", || (kept().len() == 2).then_some(()));
    assert!(node.raw_webhooks().is_empty());

    let accept = ["quarantine", "accept", "--secret-id", "new"];
    let unknown = node.cli(&accept);
    assert!(unknown.code == Some(3) && unknown.stderr.contains("new"), "{unknown:?}");
    write_apps(dir.path(), &[("new", NEW), ("old", OLD)]);
    node.cli_json(&["reload"]);
    let accepted = node.cli_json(&accept);
    assert_eq!(accepted, serde_json::json!({ "scanned": 2, "accepted": 1, "kept": 1 }));
    let [raw] = node.raw_webhooks().try_into().unwrap();
    assert_eq!((raw.bytes().unwrap(), &*raw.headers["wa-secret-id"]), (body.into_bytes(), "new"));
    eventually("it is folded", || node.rpc().message("wamid.QUARANTINED"));
    assert_eq!(node.cli_json(&accept)["accepted"], 0, "once");

    assert_eq!(kept().len(), 1);
    assert_eq!(node.cli_json(&["quarantine", "discard"])["discarded"], 1);
    assert!(kept().is_empty());
    assert_golden(&node);
    node.stop();
}
