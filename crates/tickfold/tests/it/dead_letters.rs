//! Dead letters through the command line: listed, shown, redriven, with a kill -9 between the append of
//! a redrive and its answer, on the embedded log and on Kafka.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::records::Topic;

use crate::callers::{create, guarded};
use crate::kafka_run::Run;
use crate::support::{
    Ended, Node, PARTY, Record, WABA, assert_golden, base, eventually, messages_of, run, status,
    status_body, tickfold, up,
};

/// Statuses of a body that give more outputs than one record may: the last ones are one dead letter.
const MANY: usize = 4_900;

/// A body of which one fold takes the larger part, and another one the rest.
fn many() -> String {
    let pricing = r#","pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}"#;
    let one = |n: usize| {
        let json = status(&format!("wamid.MANY.{n}"), "delivered", 1);
        format!("{}{pricing}}}", json.strip_suffix('}').unwrap())
    };
    let statuses: Vec<_> = (0..MANY).map(one).collect();
    messages_of(WABA, &format!(r#""statuses":[{}]"#, statuses.join(",")))
}

/// A body with two broken statuses beside a good one.
fn broken() -> String {
    let (good, time) = (status("wamid.GOOD", "sent", 1), base());
    let nameless = format!(r#"{{"status":"sent","timestamp":"{time}","recipient_id":"{PARTY}"}}"#);
    messages_of(WABA, &format!(r#""statuses":[{good},{nameless},17]"#))
}

/// Where a webhook stands, as the command line says it.
fn place(record: &Record) -> String {
    format!("{}@{}", record.partition, record.offset)
}

fn listed(node: &Node, args: &[&str]) -> Vec<Value> {
    let mut page = node.cli_json(&[&["dlq", "ls"], args].concat());
    serde_json::from_value(page["dead_letters"].take()).unwrap()
}

/// Of each the member of this name.
fn each<'a>(letters: &'a [Value], name: &str) -> Vec<&'a str> {
    letters.iter().map(|letter| letter[name].as_str().unwrap()).collect()
}

fn redrive(node: &Node, args: &[&str]) -> (Ended, Value) {
    let ended = node.cli(&[&["dlq", "redrive", "-o", "json"], args].concat());
    let value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    (ended, value)
}

/// Redrives in raw.
fn redrives(node: &Node) -> Vec<Record> {
    let mut records = node.tail(crate::support::RAW);
    records.retain(|record| record.headers.get("wa-control").is_some_and(|is| is == "redrive"));
    records
}

#[test]
fn dead_letters_are_listed_by_what_is_asked_and_shown_without_personal_data() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    node.post(broken());
    node.post("{");
    node.post(status_body("wamid.LATER", "read", 5));
    assert_golden(&node);
    let raw = node.raw_webhooks();
    let position = |body: &str| {
        place(raw.iter().find(|record| record.bytes().unwrap() == body.as_bytes()).unwrap())
    };
    let (broken_at, cut_at) = (position(&broken()), position("{"));

    let all = listed(&node, &[]);
    assert_eq!(each(&all, "state"), ["open"; 3]);
    let mut oldest_first = listed(&node, &["--oldest-first"]);
    oldest_first.reverse();
    assert_eq!(all, oldest_first);
    for (args, reasons) in [
        (&["--reason", "not_json"][..], &["not_json"][..]),
        (&["--field", "messages"], &["not_an_object", "id_missing_or_too_long"]),
        (&["--waba", WABA, "--reason", "not_an_object"], &["not_an_object"]),
        (&["--waba", "1"], &[]),
        (&["--since", "2199-01-01T00:00:00Z"], &[]),
        (&["--from-offset", "999"], &[]),
        (&["--partition", &cut_at[..1], "--reason", "not_json"], &["not_json"]),
    ] {
        assert_eq!(each(&listed(&node, args), "reason"), reasons, "{args:?}");
    }
    let page = node.cli_json(&["dlq", "ls", "--limit", "2"]);
    assert_eq!((page["dead_letters"].as_array().unwrap().len(), &page["more"]), (2, &json!(true)));
    let refused = node.cli(&["dlq", "ls", "--partition", "8"]);
    assert!(refused.stderr.contains("PARTITION_NOT_FOUND"), "{refused:?}");

    let shown = node.cli(&["dlq", "show", &broken_at]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let table = node.cli(&["dlq", "ls"]).stdout;
    assert!(!shown.stdout.contains(PARTY) && !table.contains(PARTY), "personal data");
    let shown = node.cli_json(&["dlq", "show", &broken_at, "--raw"]);
    assert_eq!(shown["body"], broken());
    assert_eq!(shown["webhook"]["secret_id"], "primary");
    assert_eq!(shown["webhook"]["position"], broken_at);
    let letters = shown["dead_letters"].as_array().unwrap();
    assert_eq!(each(letters, "reason"), ["id_missing_or_too_long", "not_an_object"]);
    assert!(letters[0]["raw"].as_str().unwrap().contains(PARTY) && letters[1]["raw"] == "17");
    let whole = position(&status_body("wamid.LATER", "read", 5));
    let none = node.cli(&["dlq", "show", &whole]);
    assert!(none.code == Some(3) && none.stderr.contains("has no dead letter"), "{none:?}");
    node.stop();
}

#[test]
fn the_body_of_a_dead_letter_is_for_whoever_may_see_persons() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    create(dir, "operator", &["--scope", "admin", "--all-wabas"]);
    create(dir, "trusted", &["--scope", "admin,pii.read", "--all-wabas"]);
    let node = Node::spawn(dir, guarded(dir)).unwrap_or_else(|ended| panic!("{ended:?}"));
    node.post(broken());
    let ask = |name: &str, args: &[&str]| {
        let mut command = tickfold();
        command.args(args).args(["--grpc-addr", &node.grpc, "-o", "json"]);
        command.arg("--token-file").arg(dir.join(name));
        run(command, b"")
    };
    let position = eventually("there is a dead letter", || {
        let listed: Value = serde_json::from_str(&ask("operator", &["dlq", "ls"]).stdout).ok()?;
        Some(listed["dead_letters"][0]["position"].as_str()?.to_owned())
    });
    for (name, may) in [("operator", false), ("trusted", true)] {
        let shown = ask(name, &["dlq", "show", &position]);
        assert_eq!(shown.code, Some(0), "{name}: {shown:?}");
        assert!(!shown.stdout.contains(PARTY), "{name}: {shown:?}");
        let raw = ask(name, &["dlq", "show", &position, "--raw"]);
        assert_eq!(
            (raw.code == Some(0), raw.stdout.contains(PARTY)),
            (may, may),
            "{name}: {raw:?}"
        );
        assert_eq!(raw.stderr.contains("SCOPE_MISSING"), !may, "{name}: {raw:?}");
    }
    node.stop();
}

#[test]
fn what_is_still_broken_fails_again_visibly_and_what_may_not_be_redriven_is_refused() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    node.post(broken());
    node.post("{");
    node.post(status_body("wamid.GOOD", "read", 5));
    assert_golden(&node);
    let raw = node.raw_webhooks();
    let at = |body: String| {
        place(raw.iter().find(|record| record.bytes().unwrap() == body.as_bytes()).unwrap())
    };
    let (of, whole) = (at(broken()), at(status_body("wamid.GOOD", "read", 5)));

    // Without --yes nothing is done.
    let (ended, said) = redrive(&node, &[&of]);
    assert_eq!((ended.code, &said["results"][0]["outcome"]), (Some(0), &json!("possible")));
    assert!(redrives(&node).is_empty());

    let (ended, said) = redrive(&node, &[&of, "--yes"]);
    let result = &said["results"][0];
    assert_eq!((ended.code, &result["outcome"]), (Some(2), &json!("failed_again")), "{said}");
    assert_eq!((&result["position"], &result["left"]), (&json!(of), &json!(2)));
    let [record] = redrives(&node).try_into().unwrap();
    let original = raw.iter().find(|record| place(record) == of).unwrap();
    assert_eq!((record.bytes(), &record.key), (original.bytes(), &original.key));
    assert_eq!(record.headers["wa-redrive-of"], of.replace('@', "-"));
    for name in ["wa-signature", "wa-received-time", "wa-request-id", "wa-secret-id", "wa-app"] {
        assert_eq!(record.headers[name], original.headers[name], "{name}");
    }
    // A redrive of the redrive is one of the webhook.
    let (_, said) = redrive(&node, &[&place(&record), "--yes"]);
    assert_eq!(said["results"][0]["position"], json!(of), "{said}");
    assert_eq!(redrives(&node)[1].headers["wa-redrive-of"], of.replace('@', "-"));
    let letters = listed(&node, &["--field", "messages"]);
    assert_eq!(each(&letters, "state"), ["failed_again"; 2]);
    assert!(letters.iter().all(|letter| letter["redrives"] == 2 && letter["position"] == of));
    let all = listed(&node, &["--field", "messages", "--all"]);
    assert_eq!(all.len(), 6, "two of each attempt");
    assert_eq!(each(&all, "state").iter().filter(|state| **state == "superseded").count(), 4);
    let shown = node.cli_json(&["dlq", "show", &of]);
    assert_eq!(shown["redrives"].as_array().unwrap().len(), 2);

    // What failed again is not tried for ever.
    let by_reason = ["--reason", "not_json", "--yes"];
    let (_, said) = redrive(&node, &by_reason);
    assert_eq!(said["results"][0]["outcome"], "failed_again", "{said}");
    assert_eq!(redrive(&node, &by_reason).1["results"], json!([]));
    let (_, said) = redrive(&node, &["--reason", "not_json", "--again"]);
    assert_eq!(said["results"].as_array().unwrap().len(), 1, "{said}");

    let count = redrives(&node).len();
    for (position, word) in [(whole.as_str(), "no_dead_letter"), ("0@999", "no_dead_letter")] {
        let (ended, said) = redrive(&node, &[position, "--yes"]);
        assert_eq!((ended.code, &said["results"][0]["refused"]), (Some(1), &json!(word)), "{said}");
    }
    for (args, by) in [
        (&["dlq", "redrive"][..], "<POSITION>"),
        (&["dlq", "redrive", "3"], "PARTITION@OFFSET"),
        (&["dlq", "redrive", "8@0"], "PARTITION_NOT_FOUND"),
    ] {
        let ended = node.cli(args);
        assert!(ended.code != Some(0) && ended.stderr.contains(by), "{ended:?}");
    }
    assert_eq!(redrives(&node).len(), count);
    assert_golden(&node);
    let log = node.log();
    let lines = log.lines().filter(|line| line.contains("dead letter redriven")).count();
    assert_eq!(lines, count, "{log}");
    assert!(!log.contains(PARTY));
    node.stop();

    // The secret is gone: whoever redrives has to say so.
    let mut command = up(dir.path());
    command.env("TICKFOLD_APP_SECRET", "another-app-secret");
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    for args in [&[of.as_str(), "--yes"][..], &[&of, "--yes", "--retired-secret", "other"]] {
        let (ended, said) = redrive(&node, args);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(said["results"][0]["refused"], "signature_not_verified", "{said}");
    }
    let (_, said) = redrive(&node, &[&of, "--yes", "--retired-secret", "primary"]);
    assert_eq!(said["results"][0]["outcome"], "failed_again", "{said}");
    assert_golden(&node);
    node.stop();
}

/// A body that one fold did not take to its end; the node is killed once the log holds its redrive.
/// After it nothing is left, nothing was told twice, and the redrive is not needed again.
fn redriven_across_a_kill(root: &Path, command: impl Fn() -> Command) {
    let start = |command: Command| {
        Node::spawn(root, command).unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
    };
    let node = start(command());
    node.post(many());
    // What comes later of a message that was left out is not held up.
    let (last, next) = (format!("wamid.MANY.{}", MANY - 1), format!("wamid.MANY.{}", MANY - 2));
    node.post(status_body(&last, "read", 30));
    assert_golden(&node);
    let [letter] = listed(&node, &[]).try_into().unwrap();
    assert_eq!((&letter["reason"], &letter["scope"]), (&json!("too_many_items"), &json!("body")));
    let of = letter["position"].as_str().unwrap().to_owned();
    assert!(node.rpc().message(&next).is_none());
    let told = node.values(Topic::Transition).len();
    assert!(told < MANY, "{told} transitions");
    node.stop();

    let proof = root.join("fail-point");
    let mut armed = command();
    armed.env("TICKFOLD_FAIL_POINT", "after_append:1").env("TICKFOLD_FAIL_POINT_FILE", &proof);
    let mut node = start(armed);
    let ended = node.cli(&["dlq", "redrive", &of, "--yes"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(node.wait().code, None, "it was not killed");
    assert_eq!(std::fs::read_to_string(&proof).unwrap(), "after_append");
    drop(node);

    let node = start(command());
    eventually("the redrive is folded", || listed(&node, &[]).is_empty().then_some(()));
    let all = listed(&node, &["--all"]);
    assert_eq!((each(&all, "state"), &all[0]["redrives"]), (vec!["redriven"], &json!(1)));
    assert_golden(&node);
    let transitions = node.values(Topic::Transition);
    assert_eq!(transitions.len(), MANY + 1, "each status once");
    assert_eq!(node.values(Topic::Charge).len(), MANY, "each charge once");
    let mut rpc = node.rpc();
    let message = rpc.message(&last).unwrap();
    assert_eq!((message.state_text.as_str(), message.delivered_time.is_some()), ("read", true));
    assert_eq!(rpc.message(&next).unwrap().state_text, "delivered");

    // It came to the log, so it is not needed again; who wants it gets nothing new.
    let (ended, said) = redrive(&node, &[&of, "--yes"]);
    assert_eq!((ended.code, &said["results"][0]["refused"]), (Some(1), &json!("redriven_already")));
    let (ended, said) = redrive(&node, &[&of, "--yes", "--again"]);
    assert_eq!(ended.code, Some(0), "{said}");
    // The answer may have been too early for it.
    eventually("the second redrive is folded", || {
        let shown = node.cli_json(&["dlq", "show", &of]);
        let redrives = shown["redrives"].as_array().unwrap().clone();
        (redrives.len() == 2 && redrives.iter().all(|one| one["left"] == 0)).then_some(())
    });
    assert_eq!(node.values(Topic::Transition).len(), MANY + 1);
    let explained = node.cli_json(&["explain", &next]);
    let records = explained["records"].as_array().unwrap();
    assert_eq!(each(records, "kind"), ["redrive"; 2]);
    assert_eq!(each(records, "outcome"), ["new_fact", "repeated"]);
    let of_parts =
        format!("{}@{}", records[0]["redrive_of"]["partition"], records[0]["redrive_of"]["offset"]);
    assert_eq!(of_parts, of);
    let metrics = node.admin("/metrics").text();
    for line in ["tickfold_processor_redriven_total 2", "tickfold_redrives_appended_total 1"] {
        assert!(metrics.lines().any(|found| found == line), "no {line}");
    }
    assert_golden(&node);
    node.stop();
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn a_redrive_that_is_killed_is_folded_once() {
    let dir = TempDir::new().unwrap();
    redriven_across_a_kill(dir.path(), || up(dir.path()));
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_a_redrive_that_is_killed_is_folded_once() {
    let run = Run::new(91);
    // No broker stops here, and a transaction of 10,000 outputs may take its time on a busy machine.
    redriven_across_a_kill(run.root.path(), || {
        let mut command = run.command();
        command.env_remove("TICKFOLD_KAFKA_PATIENCE_MS");
        command
    });
}
