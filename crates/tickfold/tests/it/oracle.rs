//! A second oracle, which shares nothing with the fold: `tests/oracle/oracle.py` reads the raw topic
//! and has to come to what the message table says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::records::Topic;
use tickfold_core::time::Timestamp;

use crate::support::{Node, RAW, Rng, assert_golden, messages_of, run, status, topic};

const SEED: u64 = 20_261_124;
const POSTS: usize = 300;
const ACCOUNTS: usize = 5;
const WORDS: [&str; 4] = ["sent", "delivered", "read", "failed"];

/// What both sides say of a message: shown state, and seconds of each status.
type Row = (String, BTreeMap<String, i64>);

fn entries(body: &str) -> &str {
    let begin = body.find("\"entry\":[").unwrap() + "\"entry\":[".len();
    &body[begin..body.rfind("]}").unwrap()]
}

/// Bodies of one to four entries of one to four statuses, messages colliding, some statuses
/// broken, some bodies repeated later.
fn history(rng: &mut Rng) -> Vec<String> {
    let mut bodies: Vec<String> = Vec::new();
    while bodies.len() < POSTS {
        if !bodies.is_empty() && rng.below(4) == 0 {
            let again = rng.below(bodies.len());
            bodies.push(bodies[again].clone());
            continue;
        }
        let entry = |rng: &mut Rng| {
            let account = rng.below(ACCOUNTS);
            let statuses: Vec<_> = (0..=rng.below(4))
                .map(|_| {
                    let wamid = format!("wamid.P{account}.{}", rng.below(25));
                    let after_s = i64::try_from(rng.below(3_000)).unwrap();
                    let json = status(&wamid, WORDS[rng.below(WORDS.len())], after_s);
                    match rng.below(12) {
                        0 => json.replace("\"id\"", "\"no_id\""),
                        1 => "null".to_owned(),
                        _ => json,
                    }
                })
                .collect();
            let value = format!(r#""statuses":[{}]"#, statuses.join(","));
            entries(&messages_of(&format!("3355889900000{account}"), &value)).to_owned()
        };
        let list: Vec<_> = (0..=rng.below(4)).map(|_| entry(rng)).collect();
        let list = list.join(",");
        bodies.push(format!(r#"{{"object":"whatsapp_business_account","entry":[{list}]}}"#));
    }
    bodies
}

#[test]
fn an_oracle_written_independently_agrees_with_the_message_table() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut http = node.webhooks();
    for body in history(&mut Rng(SEED)) {
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200, "seed {SEED}");
    }
    assert_golden(&node);

    let mut table: BTreeMap<String, Row> = BTreeMap::new();
    for record in node.tail(&topic(Topic::MessageState)) {
        let row = record.json();
        let seconds = |word: &&str| {
            let time = Timestamp::parse_rfc3339(row[format!("{word}_time")].as_str()?).unwrap();
            Some(((*word).to_owned(), time.as_millis() / 1_000))
        };
        let times = WORDS.iter().filter_map(seconds).collect();
        let state = row["state"].as_str().unwrap().to_owned();
        table.insert(record.key.unwrap(), (state, times));
    }

    let raw = node.cli(&["tail", RAW, "--from-beginning", "--until-end", "-o", "jsonl"]);
    assert_eq!(raw.code, Some(0), "{}", raw.stderr);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/oracle.py");
    let mut python = Command::new("python3");
    python.arg(script);
    let ended = run(python, raw.stdout.as_bytes());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut second: BTreeMap<String, Row> = BTreeMap::new();
    for line in ended.stdout.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let seconds =
            |word: &&str| Some(((*word).to_owned(), row[format!("{word}_time")].as_i64()?));
        let times = WORDS.iter().filter_map(seconds).collect();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        second.insert(text("wamid"), (text("state"), times));
    }

    for (wamid, row) in &second {
        assert_eq!(table.get(wamid), Some(row), "{wamid}, seed {SEED}");
    }
    assert_eq!(table.len(), second.len(), "the table has messages that nobody posted, seed {SEED}");
    let statuses: usize = second.values().map(|(_, times)| times.len()).sum();
    println!("{} messages, {statuses} statuses, from {POSTS} posts", second.len());
    assert!(second.len() > 80, "the history is too thin to prove anything");
    node.stop();
}
