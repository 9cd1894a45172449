//! `/metrics` of a running node: what Prometheus' own checker says of the page, the names, and values
//! that must equal what was sent.
//!
//! A missing promtool fails the test with what to do: nothing is skipped silently.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tickfold_core::overlay::Tally;
use tickfold_core::records::Topic;

use crate::support::{
    Ended, Golden, Node, PARTITIONS, VERIFY_TOKEN, WEBHOOK, assert_golden, eventually, run,
    signature, status_body, topic, up,
};

const SIGNATURE: &str = "x-hub-signature-256";

/// Described, but first seen after a fault, a refusal, a watch or an act of an operator, which this test
/// does not cause.
const AFTER_FAULTS: &[&str] = &[
    "tickfold_ingress_accept_failures_total",
    "tickfold_ingress_append_entries_abandoned_total",
    "tickfold_ingress_connections_cut_total",
    "tickfold_ingress_failing_lanes",
    "tickfold_ingress_connections_refused_total",
    "tickfold_ingress_quarantine_accepted_total",
    "tickfold_ingress_quarantine_bytes",
    "tickfold_ingress_quarantine_discarded_total",
    "tickfold_ingress_quarantine_dropped_total",
    "tickfold_ingress_quarantined_total",
    "tickfold_ingress_tick_failures_total",
    "tickfold_ingress_tls_handshake_failures_total",
    "tickfold_log_appends_refused_total",
    "tickfold_log_clients_rescued_total",
    "tickfold_log_commits_abandoned_total",
    "tickfold_log_commits_fenced_total",
    "tickfold_log_poisoned",
    "tickfold_log_records_trimmed_total",
    "tickfold_processor_actions_total",
    "tickfold_processor_alerts_total",
    "tickfold_processor_checkpoints_total",
    "tickfold_processor_given_up_total",
    "tickfold_processor_lost_total",
    "tickfold_processor_redriven_total",
    "tickfold_processor_refused_partition",
    "tickfold_query_connections_cut_total",
    "tickfold_query_fallbacks_total",
    "tickfold_query_forwards_total",
    "tickfold_query_handshakes_failed_total",
    "tickfold_query_refusals_total",
    "tickfold_query_unreachable_total",
    "tickfold_query_watch_conflated_total",
    "tickfold_query_watch_delay_seconds",
    "tickfold_query_watch_items_total",
    "tickfold_query_watch_log_readers",
    "tickfold_query_watch_log_reads_total",
    "tickfold_query_watch_lookups",
    "tickfold_query_watch_streams",
    "tickfold_redrives_appended_total",
];

/// Last words of gauges and histograms: units, things counted, and the flags that are 0 or 1. A new
/// word here is a decision about how a metric reads on a dashboard.
const LAST_WORDS: &[&str] = &[
    "lanes",
    "lookups",
    "readers",
    "bytes",
    "seconds",
    "records",
    "streams",
    "connections",
    "partition",
    "partitions",
    "poisoned",
    "info",
    "ratio",
    "refusals",
    "requests",
    "keys",
    "stopped",
];

/// Labels, all of them: each has few values, and none is an identifier of anybody. A new one is a
/// decision about how many series there are.
pub(crate) const LABELS: &[&str] = &[
    "app",
    "before",
    "client",
    "code",
    "dir",
    "fold_version",
    "kind",
    "le",
    "method",
    "outcome",
    "partition",
    "reason",
    "role",
    "secret_id",
    "severity",
    "topic",
    "version",
];

/// What became of the items of all webhooks.
fn items(golden: &Golden) -> BTreeMap<String, f64> {
    let mut items = BTreeMap::new();
    for Tally { applied, stale, duplicate, unknown } in golden.state.values().map(|it| it.tally) {
        let outcomes = [
            ("applied", applied),
            ("stale", stale),
            ("duplicate", duplicate),
            ("unknown", unknown),
        ];
        for (outcome, count) in outcomes {
            *items.entry(outcome.to_owned()).or_insert(0.0) += count as f64;
        }
    }
    items
}

#[test]
fn the_metrics_page_passes_promtool_and_counts_what_was_sent() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    command.env("TICKFOLD_INGRESS_TICK_INTERVAL", "200ms");
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    let sent = traffic(&node);
    let golden = assert_golden(&node);
    let items = items(&golden);
    assert!(items["applied"] > 0.0 && items["duplicate"] > 0.0, "{items:?}");
    let mut rpc = node.rpc();
    let mut unknown = 0.0;
    eventually("the message is folded", || {
        let found = rpc.message("wamid.METRICS");
        unknown += if found.is_none() { 1.0 } else { 0.0 };
        found
    });

    // What comes after the answers: outputs are counted, streams end, bodies are let go, ticks.
    let text = eventually("the node is at rest and has ticked", || {
        let text = node.admin("/metrics").text();
        let page = Page::parse(&text);
        let busy =
            page.sum("tickfold_query_tail_streams") + page.sum("tickfold_ingress_inflight_bytes");
        let counted = page.sum("tickfold_processor_outputs_total") >= golden.count() as f64
            && page.sum("tickfold_processor_fold_total") >= items.values().sum::<f64>();
        let ticked = page.families.contains_key("tickfold_ingress_ticks_total");
        let live = page.sum("tickfold_processor_live_partition") == f64::from(PARTITIONS);
        (busy == 0.0 && counted && ticked && live).then_some(text)
    });
    let checked = promtool(&text);
    assert!(
        checked.code == Some(0) && checked.stdout.is_empty() && checked.stderr.is_empty(),
        "{checked:?}\n{text}"
    );
    let page = Page::parse(&text);

    assert_eq!(page.by("tickfold_ingress_requests_total", "outcome"), sent.outcomes);
    assert_eq!(
        page.by("tickfold_ingress_signed_requests_refused_total", "outcome"),
        sent.signed_refused
    );
    let refused = BTreeMap::from([("main".to_owned(), sent.outcomes["signature_refused"])]);
    assert_eq!(page.by("tickfold_ingress_signature_failures_total", "app"), refused);
    let accepted = sent.outcomes["accepted"];
    assert_eq!(page.value("tickfold_ingress_signature_matches_total"), accepted);
    assert_eq!(page.value("tickfold_ingress_append_seconds_count"), accepted);
    assert_eq!(page.value("tickfold_ingress_body_bytes_count"), accepted);
    assert_eq!(page.value("tickfold_ingress_body_bytes_sum"), sent.accepted_bytes);

    let mut outputs = BTreeMap::new();
    for of in Topic::ALL {
        let count = node.values(of).len();
        if count > 0 {
            outputs.insert(topic(of), count as f64);
        }
    }
    assert_eq!(page.by("tickfold_processor_outputs_total", "topic"), outputs);
    let mut reasons = BTreeMap::new();
    for letter in node.values(Topic::DeadLetter) {
        *reasons.entry(letter["reason"].as_str().unwrap().to_owned()).or_insert(0.0) += 1.0;
    }
    assert!(!reasons.is_empty());
    assert_eq!(page.by("tickfold_processor_dead_letters_total", "reason"), reasons);
    assert_eq!(page.by("tickfold_processor_fold_total", "outcome"), items);
    let committed = page.by("tickfold_processor_commits_total", "outcome");
    assert_eq!(committed.keys().collect::<Vec<_>>(), ["committed"]);
    let lag = page.by("tickfold_processor_lag_records", "partition");
    // Measured from the start, whether or not anything was committed.
    assert_eq!(lag.keys().cloned().collect::<BTreeSet<_>>(), partitions());
    let restored = page.by("tickfold_processor_restore_remaining_records", "partition");
    let each = |value: f64| -> BTreeMap<_, _> {
        partitions().into_iter().map(|partition| (partition, value)).collect()
    };
    assert_eq!(restored, each(0.0));
    assert_eq!(page.by("tickfold_processor_live_partition", "partition"), each(1.0));
    let ages = page.by("tickfold_processor_state_age_seconds", "partition");
    assert!(ages.values().all(|age| *age < 30.0) && ages.len() == each(0.0).len(), "{ages:?}");
    // Ticks are raw records too.
    assert!(page.value("tickfold_processor_records_total") >= accepted);
    assert!(page.value("tickfold_store_keys") >= 1.0);
    let (free, size) =
        (page.value("tickfold_disk_free_bytes"), page.value("tickfold_disk_size_bytes"));
    assert!(0.0 < free && free < size, "{free} of {size}");

    let calls = page.families["tickfold_query_requests_total"].samples.iter();
    let calls = calls.filter(|sample| sample.labels["method"] == "GetMessage");
    let calls: BTreeMap<_, _> =
        calls.map(|call| (call.labels["code"].as_str(), call.value)).collect();
    assert_eq!(calls.get("OK"), Some(&1.0));
    assert_eq!(calls.get("NOT_FOUND").copied().unwrap_or_default(), unknown);
    assert_eq!(page.value("tickfold_query_request_seconds_count"), 1.0 + unknown);

    let records = accepted + outputs.values().sum::<f64>();
    assert!(page.value("tickfold_log_group_records_sum") >= records, "{records}\n{text}");
    assert!(page.value("tickfold_log_group_bytes_sum") >= sent.accepted_bytes);
    assert!(page.value("tickfold_log_sync_seconds_count") >= 1.0);
    let build = &page.families["tickfold_build_info"].samples[0];
    assert_eq!((build.labels["version"].as_str(), build.value), (env!("CARGO_PKG_VERSION"), 1.0));
    assert_eq!(build.labels["fold_version"], tickfold_core::FOLD_VERSION.to_string());
    assert_eq!(build.labels["role"], "up");

    names_and_kinds(&page);
    node.stop();
}

/// Every name is one that a crate describes, the other way round too, and says what it measures.
fn names_and_kinds(page: &Page) {
    let described = described();
    let expected: BTreeSet<_> =
        described.iter().map(String::as_str).filter(|name| !AFTER_FAULTS.contains(name)).collect();
    let found: BTreeSet<_> = page.families.keys().map(String::as_str).collect();
    assert_eq!(found, expected, "left: on the page; right: described, and not after faults only");
    for &name in AFTER_FAULTS {
        assert!(described.contains(name), "{name} is described nowhere");
    }
    for (name, family) in &page.families {
        assert!(!family.help.is_empty(), "{name} has no help");
        let last = name.rsplit('_').next().unwrap();
        match family.kind.as_str() {
            "counter" => assert_eq!(last, "total", "{name}"),
            "gauge" => assert!(LAST_WORDS.contains(&last), "gauge {name}"),
            // Summaries cannot be added up over processes: a histogram without buckets is one.
            "histogram" => assert!(LAST_WORDS.contains(&last), "histogram {name}"),
            kind => panic!("{name} is a {kind}"),
        }
        for (label, value) in family.samples.iter().flat_map(|sample| &sample.labels) {
            assert!(LABELS.contains(&label.as_str()), "{name} has the label {label}");
            let digits = value.chars().filter(char::is_ascii_digit).count();
            let is_id = label != "le" && (digits > 5 || value.contains("wamid"));
            assert!(!is_id, "{name}: {label} = {value}");
        }
    }
}

/// Names in the crates' `metrics.rs`, each with the prefix of its crate.
fn described() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        let Ok(source) = std::fs::read_to_string(path.join("src/metrics.rs")) else { continue };
        let prefix = path.file_name().unwrap().to_str().unwrap().replace('-', "_") + "_";
        for literal in source.split('"').skip(1).step_by(2) {
            if literal.starts_with("tickfold_") {
                assert!(literal.starts_with(&prefix), "{literal} in {}", path.display());
                names.insert(literal.to_owned());
            }
        }
    }
    assert!(names.len() > AFTER_FAULTS.len() + 10, "{names:?}");
    names
}

fn partitions() -> BTreeSet<String> {
    (0..PARTITIONS).map(|partition| partition.to_string()).collect()
}

// --- traffic ------------------------------------------------------------------------------------

/// What was sent, by the answer it must have got.
struct Sent {
    outcomes: BTreeMap<String, f64>,
    /// Those answered 4xx but 401 although they had a signature.
    signed_refused: BTreeMap<String, f64>,
    accepted_bytes: f64,
}

/// Requests of every outcome but those of a failing or full node.
fn traffic(node: &Node) -> Sent {
    let body = status_body("wamid.METRICS", "sent", 1);
    let good = signature(body.as_bytes());
    let signed = [(SIGNATURE, good.as_str())];
    let zipped = [(SIGNATURE, good.as_str()), ("content-encoding", "gzip")];
    let wrong = signature(b"another body");
    let forged = [(SIGNATURE, wrong.as_str())];
    let handshake = |token: &str| {
        format!("{WEBHOOK}?hub.mode=subscribe&hub.challenge=7&hub.verify_token={token}")
    };
    let (known, guessed) = (handshake(VERIFY_TOKEN), handshake("guess"));
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    let broken = b"{".as_slice();
    let broken_signature = signature(broken);
    let broken_signed = [(SIGNATURE, broken_signature.as_str())];

    type Request<'a> = (&'a str, u16, usize, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8]);
    let requests: [Request<'_>; 12] = [
        ("accepted", 200, 3, "POST", WEBHOOK, &signed, body.as_bytes()),
        ("accepted", 200, 1, "POST", WEBHOOK, &broken_signed, broken),
        ("handshake", 200, 2, "GET", &known, &[], b""),
        ("handshake_refused", 403, 3, "GET", &guessed, &[], b""),
        ("signature_refused", 401, 2, "POST", WEBHOOK, &[], body.as_bytes()),
        ("signature_refused", 401, 2, "POST", WEBHOOK, &forged, body.as_bytes()),
        ("not_found", 404, 5, "POST", "/webhook/other", &signed, body.as_bytes()),
        ("not_found", 404, 3, "GET", "/admin", &[], b""),
        ("method_not_allowed", 405, 6, "PUT", WEBHOOK, &signed, body.as_bytes()),
        ("method_not_allowed", 405, 2, "DELETE", WEBHOOK, &[], b""),
        ("encoding_refused", 415, 7, "POST", WEBHOOK, &zipped, body.as_bytes()),
        ("too_large", 413, 1, "POST", WEBHOOK, &signed, &large),
    ];
    let mut sent =
        Sent { outcomes: BTreeMap::new(), signed_refused: BTreeMap::new(), accepted_bytes: 0.0 };
    for (outcome, status, times, method, path, headers, body) in requests {
        for _ in 0..times {
            let answer = node.webhooks().send(method, path, headers, body).unwrap();
            assert_eq!(answer.status, status, "{outcome}");
            sent.accepted_bytes += if outcome == "accepted" { body.len() as f64 } else { 0.0 };
        }
        *sent.outcomes.entry(outcome.to_owned()).or_default() += times as f64;
        if !headers.is_empty() && (404..=415).contains(&status) {
            *sent.signed_refused.entry(outcome.to_owned()).or_default() += times as f64;
        }
    }
    cut_off(node, &good);
    for counts in [&mut sent.outcomes, &mut sent.signed_refused] {
        counts.insert("body_incomplete".to_owned(), 1.0);
    }
    sent
}

/// A body that ends before its promised length.
fn cut_off(node: &Node, signature: &str) {
    let mut stream = TcpStream::connect(&node.http).unwrap();
    let head = format!(
        "POST {WEBHOOK} HTTP/1.1\r\nhost: {}\r\n{SIGNATURE}: {signature}\r\ncontent-length: 100\r\n\r\n{{",
        node.http
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
}

// --- the page -----------------------------------------------------------------------------------

/// Runs `promtool check metrics` on a page.
fn promtool(text: &str) -> Ended {
    let promtool = std::env::var_os("TICKFOLD_PROMTOOL")
        .expect("TICKFOLD_PROMTOOL is not set: run scripts/setup.sh, then `. scripts/env.sh`");
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]);
    run(command, text.as_bytes())
}

#[test]
fn promtool_refuses_a_page_with_a_counter_named_like_a_gauge() {
    let checked = promtool("# HELP tickfold_a Help.\n# TYPE tickfold_a counter\ntickfold_a 1\n");
    assert_eq!(checked.code, Some(3), "{checked:?}");
    assert!(checked.stderr.contains("_total"), "{checked:?}");
}

/// The text format, as far as the exporter uses it; promtool has looked at the rest.
#[derive(Debug, Default)]
pub(crate) struct Page {
    families: BTreeMap<String, Family>,
}

#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    /// With the suffix of a histogram's part.
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Page {
    /// Reads a page on which HELP and TYPE of a family stand before its samples.
    pub(crate) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
                page.families.entry(name.to_owned()).or_default().help = help.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                page.families.entry(name.to_owned()).or_default().kind = kind.to_owned();
                current = name.to_owned();
            } else {
                let sample = Sample::parse(line);
                let suffix = sample.name.strip_prefix(&current);
                let suffix = suffix.unwrap_or_else(|| panic!("{line} under {current}"));
                assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
                page.families.get_mut(&current).unwrap().samples.push(sample);
            }
        }
        page
    }

    /// All samples of this name.
    fn samples(&self, name: &str) -> impl Iterator<Item = &Sample> {
        let all = self.families.values().flat_map(|family| &family.samples);
        all.filter(move |sample| sample.name == name)
    }

    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.samples(name).map(|sample| sample.value).sum()
    }

    /// The sum, of a name that must be there.
    fn value(&self, name: &str) -> f64 {
        assert!(self.samples(name).next().is_some(), "no {name}");
        self.sum(name)
    }

    /// Values by the only label of a family.
    pub(crate) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let one = |sample: &Sample| {
            assert_eq!(sample.labels.len(), 1, "{sample:?}");
            (sample.labels[label].clone(), sample.value)
        };
        self.samples(name).map(one).collect()
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let label = |pair: &str| {
            let (name, value) = pair.split_once("=\"").unwrap();
            (name.to_owned(), value.strip_suffix('"').unwrap().to_owned())
        };
        let labels = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
        Self {
            name: name.to_owned(),
            labels: labels.map(label).collect(),
            value: value.parse().unwrap(),
        }
    }
}
