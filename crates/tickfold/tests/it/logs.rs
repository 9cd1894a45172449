//! What log lines and the pages of the admin listener tell of people and businesses: nothing, however
//! much is logged and whatever was posted.
//!
//! Every identifier, name, number and text of the corpus is looked for in all that a node writes about
//! it. The same search over the raw topic finds them, so it can find them.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::corpus::{Sample, corpus};
use crate::support::{Node, WEBHOOK, assert_golden, signature, status_body, up};

#[test]
fn nothing_that_is_written_about_the_corpus_names_anybody_in_it() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    command.env("TICKFOLD_TELEMETRY_LOG", "trace").env("TICKFOLD_TELEMETRY_LOG_FORMAT", "json");
    command.env("TICKFOLD_INGRESS_QUARANTINE_BYTES_MAX", "8MiB");
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    let (samples, mut http) = (corpus(), node.webhooks());
    let forged = signature(b"another body");
    for Sample { name, body, .. } in &samples {
        assert_eq!(http.post_signed(body).unwrap().status, 200, "{name}");
        let headers = [("x-hub-signature-256", forged.as_str())];
        assert_eq!(http.send("POST", WEBHOOK, &headers, body).unwrap().status, 401, "{name}");
    }
    assert_golden(&node);
    let wanted = personal(&samples);
    // Questions have identifiers in them too.
    let wamids: Vec<_> = wanted.iter().filter(|text| text.starts_with("wamid.")).collect();
    assert!(wamids.len() > 50, "{} wamids", wamids.len());
    for wamid in wamids.iter().take(3) {
        node.cli(&["get", "message", wamid]);
        node.cli(&["explain", wamid]);
    }
    node.cli(&["get", "message", "wamid.of-nobody-12345678"]);

    let raw = node.raw_webhooks().iter().filter_map(|record| record.bytes()).collect::<Vec<_>>();
    let raw = raw.iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
    let seen_in_raw = told(&wanted, raw);
    assert!(seen_in_raw.len() * 10 > wanted.len() * 9, "{} of {}", seen_in_raw.len(), wanted.len());

    let pages = ["/statusz", "/configz", "/readyz", "/metrics"];
    let pages = pages.map(|path| node.admin(path).text());
    let log = node.log();
    let lines: Vec<_> = log.lines().filter(|line| *line != "--- start").collect();
    for line in &lines {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    let answered = lines.iter().filter(|line| line.contains("webhook answered")).count();
    assert!(answered >= 2 * samples.len(), "{answered} answers are logged: is all of it logged?");
    let found = told(
        &wanted,
        lines
            .into_iter()
            .chain(pages.iter().flat_map(|page| page.lines()))
            .map(str::to_owned)
            .collect(),
    );
    assert!(found.is_empty(), "{found:#?}");
    node.stop();
}

/// The disk that takes the log lines may be full, and that is no reason to stop.
#[test]
fn log_lines_that_cannot_be_written_are_lost_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let plain = up(dir.path());
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>/dev/full"]).arg(plain.get_program());
    command.args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    assert_eq!(
        node.webhooks()
            .post_signed(status_body("wamid.lost-line", "sent", 1).as_bytes())
            .unwrap()
            .status,
        200
    );
    assert_eq!(node.raw_webhooks().len(), 1);
    assert_eq!(node.log().trim(), "--- start", "the lines went elsewhere");
    node.stop();
}

/// Texts of the corpus that say who somebody is or what was written: all that have many digits or
/// several words, and all wamids. Dates and Meta's own words are not among them.
fn personal(samples: &[Sample]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for sample in samples {
        if let Ok(body) = serde_json::from_slice::<Value>(&sample.body) {
            collect(&body, &mut found);
        }
    }
    assert!(found.len() > 500, "{} texts", found.len());
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(name, _)| !name.contains("time"));
            members.for_each(|(_, value)| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Number(number) => collect(&Value::String(number.to_string()), found),
        Value::String(text) => {
            let digits = text.chars().filter(char::is_ascii_digit).count();
            let words = text.split_whitespace().count();
            if text.starts_with("wamid.") || digits >= 8 || (words > 1 && text.len() >= 8) {
                found.insert(text.clone());
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Which of them stand in these lines, each with the first.
fn told(wanted: &BTreeSet<String>, lines: Vec<String>) -> Vec<(String, String)> {
    let text = lines.join("\n");
    // As they are, and as JSON has them.
    let stands = |wanted: &String| {
        let quoted = Value::String(wanted.clone()).to_string();
        let quoted = quoted.trim_matches('"').to_owned();
        let at = text.find(wanted.as_str()).or_else(|| text.find(&quoted))?;
        let line = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
        Some((wanted.clone(), text.get(line..)?.lines().next()?.to_owned()))
    };
    wanted.iter().filter_map(stands).collect()
}
