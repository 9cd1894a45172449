//! What people ask of a running node, by the commands they ask it with: why a message is as it is,
//! what it cost, what was done about it, who the other side is, which messages share a label, and what
//! failed on a number.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    NUMBER, Node, PARTY, WABA, assert_golden, base, cli, messages_of, status, status_body,
};

const WAMID: &str = "wamid.HBgMNDQ3/zEyMw==";

/// A body with one status that has further members.
fn status_with(wamid: &str, word: &str, after_s: i64, rest: &str) -> String {
    let json = status(wamid, word, after_s);
    let json = json.strip_suffix('}').unwrap().to_owned();
    messages_of(WABA, &format!(r#""statuses":[{json}{rest}}}]"#))
}

const PRICE: &str =
    r#","pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}"#;
const LABELS: &str = r#","biz_opaque_callback_data":"campaign=spring;language=en_GB""#;

/// A message that failed, got a fallback, and was delivered after all.
fn node_with_a_story(dir: &TempDir) -> Node {
    let node = Node::start(dir.path());
    node.post(status_with(WAMID, "sent", 1, &format!("{PRICE}{LABELS}")));
    node.post(status_body(WAMID, "failed", 2));
    node.post(status_body("wamid.OTHER", "sent", 2));
    let delivered = status_with(WAMID, "delivered", 3, PRICE);
    node.post(&delivered);
    node.post(delivered.replace('/', "\\/"));
    let (time, user) = (base() + 4, "GB.48");
    node.post(messages_of(
        WABA,
        &format!(r#""messages":[{{"id":"wamid.IN","from":"{PARTY}","from_user_id":"{user}","timestamp":"{time}","type":"image","context":{{"id":"{WAMID}"}},"image":{{"id":"77","mime_type":"image/png","sha256":"aGk="}}}}]"#),
    ));
    node.post(messages_of(
        WABA,
        &format!(r#""messages":[{{"id":"wamid.IN2","from_user_id":"{user}","timestamp":"{}","type":"text","text":{{"body":"agent"}}}}]"#, time + 1),
    ));
    assert_golden(&node);
    node
}

fn kinds(decisions: &Value) -> Vec<&str> {
    decisions.as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect()
}

#[test]
fn a_message_is_shown_with_its_charge_its_actions_and_its_labels() {
    let dir = TempDir::new().unwrap();
    let node = node_with_a_story(&dir);
    let message = node.cli_json(&["get", "message", WAMID]);
    assert_eq!(message["labels"], json!({"campaign": "spring", "language": "en_GB"}));
    let charge = &message["charge"];
    assert_eq!(
        (&charge["category"], &charge["type"], &charge["billable"], &charge["country"]),
        (&json!("utility"), &json!("regular"), &json!(true), &json!("GB"))
    );
    assert_eq!(kinds(&message["actions"]), ["sms_fallback", "fallback_superseded"]);
    assert_eq!(message["actions"][0]["superseded"], true);
    // The same as in the topics.
    let told: Vec<_> = node.values(tickfold_core::records::Topic::Charge);
    assert_eq!(told.last().unwrap()["charge_id"], charge["charge_id"]);
    assert_eq!(told.last().unwrap()["sequence"], charge["sequence"]);
    let told: Vec<_> = node.values(tickfold_core::records::Topic::Action);
    let ids = |actions: &[Value], name: &str| {
        actions.iter().map(|one| one[name].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&told, "action_id"), ids(message["actions"].as_array().unwrap(), "id"));

    let account = node.cli_json(&["get", "account", WABA]);
    let total = &account["totals"][0];
    assert_eq!(
        (&total["category"], &total["charges"], &total["billable"]),
        (&json!("utility"), &json!(1), &json!(1))
    );
    let month = charge["month"].as_str().unwrap();
    let of_month = node.cli_json(&["get", "account", WABA, "--month", month]);
    assert_eq!(of_month["totals"], account["totals"]);
    let media = &node.cli_json(&["get", "message", "wamid.IN"])["media"];
    assert_eq!((&media["id"], &media["sha256"]), (&json!("77"), &json!("aGk=")));
    assert!(media["expire_time"].is_string(), "{media}");
    node.stop();
}

#[test]
fn a_user_is_one_by_phone_number_and_by_user_id() {
    let dir = TempDir::new().unwrap();
    let node = node_with_a_story(&dir);
    let conversation = |party: &str| {
        let mut told = node.cli_json(&["get", "conversation", NUMBER, party, "--messages", "2"]);
        told.as_object_mut().unwrap().remove("as_of");
        told.as_object_mut().unwrap().remove("party").unwrap();
        // A token is of the identifier that was asked for.
        told.as_object_mut().unwrap().remove("next_page_token").unwrap();
        told
    };
    let told = conversation(PARTY);
    assert_eq!(told, conversation("GB.48"));
    assert_eq!(told["parties"], json!([PARTY, "GB.48"]));
    assert_eq!((&told["inbound_count"], &told["window_state"]), (&json!(2), &json!("open")));
    let wamids: Vec<_> = told["messages"].as_array().unwrap().iter().map(|m| &m["wamid"]).collect();
    assert_eq!(wamids, ["wamid.IN2", "wamid.IN"]);

    let user = node.cli_json(&["get", "user", WABA, "GB.48"]);
    assert_eq!(user["parties"], json!([PARTY, "GB.48"]));
    assert_eq!(user["links"][0]["relation"], "same");
    let table = node.cli(&["get", "user", WABA, PARTY]);
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.stdout.contains("relation=same"), "{}", table.stdout);
    assert_eq!(node.cli(&["get", "user", WABA, "GB.0"]).code, Some(3));
    node.stop();
}

#[test]
fn explain_tells_each_record_that_touched_a_message() {
    let dir = TempDir::new().unwrap();
    let node = node_with_a_story(&dir);
    let told = node.cli_json(&["explain", WAMID]);
    assert_eq!(told["complete"], true, "{told}");
    let records = told["records"].as_array().unwrap();
    let outcomes: Vec<_> = records.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["new_fact", "new_fact", "new_fact", "repeated", "mentioned"]);
    assert_eq!(kinds(&records[1]["actions"]), ["sms_fallback"]);
    assert_eq!(kinds(&records[2]["actions"]), ["fallback_superseded"]);
    assert_eq!(records[2]["transitions"][0]["to"], "delivered");
    // Positions are those of the raw topic, and the request's id that of its record.
    let raw = node.raw_webhooks();
    for record in records {
        let source = &record["source"];
        let of = raw
            .iter()
            .find(|of| source["partition"] == of.partition && source["offset"] == json!(of.offset));
        let of = of.unwrap_or_else(|| panic!("no raw record at {source}"));
        assert_eq!(record["request_id"], of.headers["wa-request-id"].as_str());
    }

    let lines = node.cli(&["explain", WAMID, "-o", "jsonl"]);
    assert_eq!((lines.code, lines.stdout.lines().count()), (Some(0), 6), "{lines:?}");
    let table = node.cli(&["explain", WAMID]);
    assert_eq!(table.code, Some(0), "{table:?}");
    for text in ["  repeated\n", "learned     status delivered", "complete: "] {
        assert!(table.stdout.contains(text), "no {text:?} in\n{}", table.stdout);
    }
    let few = node.cli(&["explain", WAMID, "--limit", "1", "-o", "jsonl"]);
    assert_eq!((few.code, few.stdout.lines().count()), (Some(0), 2), "{few:?}");
    assert!(few.stdout.contains("\"complete\":false"), "{}", few.stdout);
    assert_eq!(node.cli(&["explain", "wamid.NOBODY"]).code, Some(3));
    node.stop();
}

#[test]
fn find_lists_messages_by_label_and_by_trace_id() {
    let dir = TempDir::new().unwrap();
    let node = node_with_a_story(&dir);
    for n in 0..3 {
        let rest = format!(r#"{LABELS},"fbtrace_id":"TrAcE""#);
        node.post(status_with(&format!("wamid.F{n}"), "sent", 10 + n, &rest));
    }
    assert_golden(&node);
    let wamids = |args: &[&str]| -> Vec<String> {
        let found = node.cli_json(args);
        let messages = found["messages"].as_array().unwrap();
        messages.iter().map(|one| one["wamid"].as_str().unwrap().to_owned()).collect()
    };
    let spring = ["find", "label", "campaign=spring", "language=en_GB"];
    assert_eq!(wamids(&spring), ["wamid.F2", "wamid.F1", "wamid.F0", WAMID]);
    let from = tickfold_core::time::Timestamp::from_millis((base() + 11) * 1_000).to_string();
    assert_eq!(wamids(&[&spring, ["--from", &from].as_slice()].concat()), ["wamid.F2", "wamid.F1"]);
    assert_eq!(wamids(&[&spring, ["--to", &from].as_slice()].concat()), ["wamid.F0", WAMID]);
    assert_eq!(wamids(&["find", "label", "campaign=autumn"]), [""; 0]);
    assert_eq!(wamids(&["find", "fbtrace", "TrAcE"]), ["wamid.F0", "wamid.F1", "wamid.F2"]);

    let first = node.cli(&["find", "label", "campaign=spring", "--limit", "3", "-o", "jsonl"]);
    assert_eq!((first.code, first.stdout.lines().count()), (Some(0), 3), "{first:?}");
    let token = first.stderr.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(wamids(&["find", "label", "campaign=spring", "--page-token", &token]), [WAMID]);
    let table = node.cli(&["find", "fbtrace", "TrAcE"]);
    assert_eq!((table.code, table.stdout.lines().count()), (Some(0), 3), "{table:?}");

    for (args, word) in [
        (&["find", "label", "colour=red"][..], "colour"),
        (&["find", "label", "campaign"], "NAME=VALUE"),
        (&["find", "label", "campaign=a", "campaign=b"], "campaign=b"),
        (&["find", "fbtrace", "x", "--from", "yesterday"], "yesterday"),
        (&["find", "label", "campaign=autumn", "--page-token", &token], "PAGE_TOKEN_MISMATCH"),
    ] {
        let ended = node.cli(args);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
    assert_eq!(cli(&["find", "label"]).code, Some(2));
    node.stop();
}

#[test]
fn list_messages_tells_what_failed_on_a_number_since_a_time() {
    let dir = TempDir::new().unwrap();
    let node = node_with_a_story(&dir);
    for n in 0..4_i64 {
        let code = [131_026, 131_047][usize::try_from(n % 2).unwrap()];
        let rest = format!(r#","errors":[{{"code":{code}}}]"#);
        node.post(status_with(&format!("wamid.F{n}"), "failed", 10 + n, &rest));
    }
    let elsewhere = status_with("wamid.ELSE", "failed", 20, r#","errors":[{"code":131026}]"#);
    node.post(elsewhere.replace(NUMBER, "999"));
    let time = |after: i64| {
        tickfold_core::time::Timestamp::from_millis((base() + after) * 1_000).to_string()
    };
    let (mid, end) = (time(11), time(12));
    let list = ["list", "messages", "--number", NUMBER];
    fn of<'a>(list: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [list, more].concat()
    }
    let wamids = |more: &[&str]| -> Vec<String> {
        let found = node.cli_json(&of(&list, more));
        let messages = found["messages"].as_array().unwrap();
        messages.iter().map(|one| one["wamid"].as_str().unwrap().to_owned()).collect()
    };
    let failed = "state = FAILED AND error_code = 131026";
    assert_eq!(wamids(&["--filter", failed]), ["wamid.F2", "wamid.F0"]);
    assert_eq!(wamids(&["--filter", failed, "--from", &mid]), ["wamid.F2"]);
    assert_eq!(wamids(&["--from", &mid, "--to", &end]), ["wamid.F1"]);
    let all = ["F3", "F2", "F1", "F0", "IN2", "IN", "OTHER"].map(|name| format!("wamid.{name}"));
    assert_eq!(wamids(&[]), [&all[..], &[WAMID.to_owned()]].concat());
    assert_eq!(wamids(&["--party", "GB.48", "--limit", "2"]), all[..2]);
    let elsewhere = node.cli_json(&["list", "messages", "--number", "999"]);
    assert_eq!(elsewhere["messages"][0]["wamid"], "wamid.ELSE");

    let first =
        node.cli(&of(&list, &["--filter", "state = FAILED", "--limit", "3", "-o", "jsonl"]));
    assert_eq!((first.code, first.stdout.lines().count()), (Some(0), 3), "{first:?}");
    let token = first.stderr.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(wamids(&["--filter", "state = FAILED", "--page-token", &token]), ["wamid.F0"]);
    let table = node.cli(&list);
    assert_eq!((table.code, table.stdout.lines().count()), (Some(0), 8), "{table:?}");
    for (more, word) in [
        (&["--from", "yesterday"][..], "yesterday"),
        (&["--filter", "fbtrace_id = x"], "FILTER_INVALID"),
        (&["--page-token", &token], "PAGE_TOKEN_MISMATCH"),
    ] {
        let ended = node.cli(&of(&list, more));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
    assert_eq!(cli(&["list", "messages"]).code, Some(2));
    node.stop();
}
