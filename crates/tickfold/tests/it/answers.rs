//! The answers of the public port over real sockets. Refused requests leave nothing in the log.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Http, Node, VERIFY_TOKEN, WABA, WEBHOOK, eventually, signature, status_body, status_body_of,
};

const SIGNATURE: &str = "x-hub-signature-256";

#[test]
fn refused_requests_are_answered_by_the_table_and_append_nothing() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let body = status_body("wamid.REFUSED", "sent", 1);
    let body = body.as_bytes();
    let right = signature(body);
    let hex = right.strip_prefix("sha256=").unwrap();
    let upper = format!("sha256={}", hex.to_ascii_uppercase());
    let other = signature(b"another body");
    let mut http = node.webhooks();
    let mut post = |path: &str, headers: &[(&str, &str)]| {
        http.send("POST", path, headers, body).unwrap().status
    };

    assert_eq!(post(WEBHOOK, &[]), 401, "no signature");
    for wrong in ["", "sha256=", hex, upper.as_str(), other.as_str(), &right[..70], "sha1=00"] {
        assert_eq!(post(WEBHOOK, &[(SIGNATURE, wrong)]), 401, "{wrong}");
    }
    assert_eq!(post(WEBHOOK, &[("x-hub-signature", &right)]), 401, "the older header");
    assert_eq!(post(WEBHOOK, &[(SIGNATURE, &right), (SIGNATURE, &right)]), 401, "two signatures");
    for path in ["/", "/webhook", "/webhook/", "/webhook/other", "/webhook/main/x", "/metrics"] {
        assert_eq!(post(path, &[(SIGNATURE, &right)]), 404, "{path}");
    }
    let zipped = [(SIGNATURE, right.as_str()), ("content-encoding", "gzip")];
    assert_eq!(post(WEBHOOK, &zipped), 415);

    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = node.webhooks().send(method, WEBHOOK, &[(SIGNATURE, &right)], body).unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")), "{method}");
    }

    // The signature is right, so it is the size that decides. A fresh connection each: the server
    // does not read the rest of such a body.
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    assert_eq!(node.webhooks().post_signed(&large).unwrap().status, 413);
    assert_eq!(node.webhooks().post_signed(&large[1..]).unwrap().status, 200, "4 MiB are taken");

    assert_eq!(node.raw_webhooks().len(), 1, "only the one that was taken");
    assert_eq!(node.webhooks().post_signed(body).unwrap().status, 200);
    assert_eq!(node.raw_webhooks().len(), 2);
    let mut rpc = node.rpc();
    eventually("the accepted one is folded", || rpc.message("wamid.REFUSED"));
    node.stop();
}

#[test]
fn the_handshake_gives_back_the_bare_challenge_to_who_knows_the_token() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let get =
        |query: &str| node.webhooks().send("GET", &format!("{WEBHOOK}?{query}"), &[], b"").unwrap();
    let right =
        format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={VERIFY_TOKEN}");
    let answer = get(&right);
    assert_eq!((answer.status, answer.text().as_str()), (200, "1158201444"));
    for wrong in [
        "",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=guess",
        "hub.mode=subscribe&hub.challenge=1",
        &right.replace("subscribe", "unsubscribe"),
        &right.replace("hub.challenge=1158201444&", ""),
    ] {
        let answer = get(wrong);
        assert_eq!((answer.status, answer.text().as_str()), (403, ""), "{wrong}");
    }
    assert!(node.raw_webhooks().is_empty());
    node.stop();
}

#[test]
fn a_raw_record_holds_the_body_and_what_ingress_knew() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let body = status_body("wamid.RAW", "sent", 1).replace(':', " :\t");
    node.post(&body);
    let [raw] = node.raw_webhooks().try_into().unwrap();
    assert_eq!(raw.bytes().unwrap(), body.as_bytes(), "not re-serialised");
    assert_eq!(raw.key.as_deref(), Some(WABA));
    let header = |name: &str| raw.headers.get(name).map(String::as_str);
    assert_eq!(header("wa-signature"), Some(signature(body.as_bytes()).as_str()));
    assert_eq!(header("wa-app"), Some("main"));
    assert_eq!(header("wa-route-version"), Some("1"));
    assert_eq!(header("wa-partition-count"), Some("8"));
    for name in ["wa-received-time", "wa-secret-id", "wa-request-id"] {
        assert!(header(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
    node.stop();
}

#[test]
fn what_was_posted_is_read_at_the_places_that_its_answer_names() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut rpc = node.rpc();
    // One body of accounts that live in several partitions.
    let of = |n: usize| -> Value {
        let body = status_body_of(&format!("21558990000020{n}"), &format!("wamid.P{n}"), "sent", 1);
        serde_json::from_str(&body).unwrap()
    };
    let mut body = of(0);
    let entries = body["entry"].as_array_mut().unwrap();
    entries.extend((1..6).map(|n| of(n)["entry"][0].take()));
    let answer = node.webhooks().post_signed(body.to_string().as_bytes()).unwrap();
    let positions = answer.positions();
    for n in 0..6 {
        let read = rpc.try_message(&format!("wamid.P{n}"), &positions).unwrap();
        assert!(read.is_some(), "wamid.P{n} at {positions:?}");
    }
    let raw = node.raw_webhooks();
    let behind = raw.iter().map(|record| (record.partition, record.offset + 1));
    let told = positions.iter().map(|position| (position.partition, position.offset));
    assert_eq!(behind.collect::<Vec<_>>(), told.collect::<Vec<_>>());
    assert!(positions.len() > 1, "{positions:?}");
    // The command takes the header as it is.
    let header = answer.header("tickfold-positions").unwrap();
    let get = node.cli(&["get", "message", "wamid.P5", "--min-position", header]);
    assert_eq!(get.code, Some(0), "{get:?}");
    let odd = node.cli(&["get", "message", "wamid.P5", "--min-position", "3@1"]);
    assert!(odd.code == Some(2) && odd.stderr.contains("PARTITION:OFFSET"), "{odd:?}");
    // Whoever does not wait may come too early; whoever does, never.
    for n in 0..50 {
        let wamid = format!("wamid.OWN{n}");
        let positions = node.post(status_body(&wamid, "sent", n));
        assert!(rpc.try_message(&wamid, &positions).unwrap().is_some(), "{wamid} {positions:?}");
    }
    node.stop();
}

#[test]
fn one_connection_carries_many_requests_also_after_a_refusal() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut http = Http::new(&node.http);
    for round in 0..5 {
        let body = status_body("wamid.KEPT", "sent", round);
        let answer = http.post_signed(body.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert!(http.is_open(), "the connection stays after a 200");
        assert_eq!(http.send("POST", WEBHOOK, &[], body.as_bytes()).unwrap().status, 401);
        assert!(http.is_open(), "and after a 401 whose body was small");
    }
    node.stop();
}
