//! Replays: the shadow of everything is the live state, that of a part is the golden fold of the part,
//! other rules show what they change and nothing else, and a killed replay goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::fold::Partition;
use tickfold_core::overlay::{Nothing, Overlay};
use tickfold_core::raw::RawRecord;
use tickfold_core::rules::Rules;
use tickfold_core::state::Regime;
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::diff_replay_response::Part;
use tickfold_proto::admin::v1::replay_service_client::ReplayServiceClient;
use tickfold_store::{MemStores, Stores};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::kafka::{broker, with_one_replica};
use crate::support::{
    Ended, NUMBER, Node, PARTITIONS, RAW, Record, Rng, assert_golden, base, cli, eventually,
    messages_of, status, up,
};

const SEED: u64 = 20_261_128;
const ACCOUNTS: usize = 6;
/// For how long a comparison is left unread.
const HELD: Duration = Duration::from_secs(2);
const WORDS: [&str; 4] = ["sent", "delivered", "read", "failed"];

fn waba(account: usize) -> String {
    format!("3355889900000{account}")
}

/// Each account has its own number, so no conversation is one of two accounts.
fn number(account: usize) -> String {
    format!("{NUMBER}{account}")
}

/// Statuses of a few messages of some accounts, and messages of customers; many come twice.
fn post_history(node: &Node, rng: &mut Rng, posts: usize) {
    let mut http = node.webhooks();
    for _ in 0..posts {
        let account = rng.below(ACCOUNTS);
        let value = match rng.below(6) {
            0 => {
                let (id, time) = (rng.below(40), base() + 3_000);
                format!(
                    r#""messages":[{{"from":"4477009001{id:02}","id":"wamid.I{account}.{id}","timestamp":"{time}","type":"text","text":{{"body":"hello"}}}}]"#
                )
            }
            _ => {
                let statuses: Vec<_> = (0..=rng.below(3))
                    .map(|_| {
                        let wamid = format!("wamid.S{account}.{}", rng.below(25));
                        let after_s = 2_900 + i64::try_from(rng.below(600)).unwrap();
                        status(&wamid, WORDS[rng.below(WORDS.len())], after_s)
                    })
                    .collect();
                format!(r#""statuses":[{}]"#, statuses.join(","))
            }
        };
        let body = messages_of(&waba(account), &value).replace(NUMBER, &number(account));
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200, "seed {SEED}");
    }
}

/// Small batches, so that a replay has some.
fn small_batches(root: &Path) -> Command {
    let mut command = up(root);
    command.env("TICKFOLD_PROCESSOR_BATCH_RECORDS_MAX", "20");
    command
}

fn start(command: Command, root: &Path) -> Node {
    Node::spawn(root, command).unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
}

/// Records folded on nothing, by partition, in one thread; by other rules if there are any.
fn golden(raw: &[Record], rules: Option<&Arc<Rules>>) -> BTreeMap<u32, Overlay> {
    let mut states: BTreeMap<u32, Overlay> = BTreeMap::new();
    for record in raw {
        let state = states.entry(record.partition).or_insert_with(|| {
            let mut overlay = Overlay::default();
            if let Some(rules) = rules {
                let regime = Regime { rules: Arc::clone(rules), deadlines_wait_until: None };
                *overlay.regime.entry(&(), |()| Ok(None)).unwrap() = Some(regime);
            }
            overlay
        });
        let value = record.bytes();
        let headers = record.headers.iter();
        let raw = RawRecord {
            offset: record.offset,
            appended: record.timestamp(),
            headers: headers.map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
            value: value.as_deref(),
        };
        let partition = Partition { id: record.partition, count: PARTITIONS };
        tickfold_core::fold(state, &Nothing, partition, &raw).unwrap();
    }
    states
}

fn digest(state: &Overlay) -> String {
    let store = MemStores::new().open(0).unwrap();
    format!("{:032x}", store.digest_after(state).unwrap())
}

/// Ends of a replay by partition, as it tells them.
fn ends(status: &Value) -> BTreeMap<u32, (u64, u64, String)> {
    let of = status["partitions"].as_array().unwrap().iter();
    let number = |value: &Value| value.as_u64().unwrap();
    of.map(|of| {
        let partition = u32::try_from(number(&of["partition"])).unwrap();
        assert_eq!(of["position"], of["to_offset"], "{of}");
        let digest = of["digest"].as_str().unwrap().to_owned();
        (partition, (number(&of["from_offset"]), number(&of["to_offset"]), digest))
    })
    .collect()
}

/// Runs a replay to its end.
fn run(node: &Node, args: &[&str]) -> Value {
    let status = node.cli_json(&[&["replay", "run"], args].concat());
    assert_eq!(status["state"], "done", "{args:?}: {status}");
    status
}

fn discard(node: &Node) {
    assert_eq!(node.cli(&["replay", "discard"]).code, Some(0));
}

fn refused(ended: &Ended, by: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(by), "{by}: {ended:?}");
}

fn diff(node: &Node, code: i32) -> Value {
    let ended = node.cli(&["replay", "diff", "--samples", "1000", "-o", "json"]);
    assert_eq!(ended.code, Some(code), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Samples of a comparison: (kind, key) and how.
fn samples(diff: &Value) -> BTreeMap<(String, String), String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = BTreeMap::new();
    for kind in diff["kinds"].as_array().unwrap() {
        let samples = kind["samples"].as_array().cloned().unwrap_or_default();
        let counted = ["changed", "added", "gone"].map(|word| kind[word].as_u64().unwrap());
        assert_eq!(samples.len() as u64, counted.iter().sum::<u64>(), "{kind}");
        for sample in samples {
            let key = (text(&kind["kind"]), text(&sample["key"]));
            found.insert(key, text(&sample["change"]));
        }
    }
    found
}

#[test]
fn a_replay_of_everything_is_the_live_state() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    check_whole(&node);
    node.stop();
}

#[test]
fn a_replay_of_everything_is_the_live_state_on_kafka() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    command.args(["--kafka", &broker::shared()]);
    with_one_replica(&mut command);
    command.env("TICKFOLD_TOPIC_PREFIX", "replayed").env("TICKFOLD_GROUP", "replayed");
    let node = start(command, dir.path());
    check_whole(&node);
    node.stop();
}

fn check_whole(node: &Node) {
    assert_eq!(node.cli(&["replay", "status"]).code, Some(3));
    assert_eq!(node.cli(&["replay", "diff"]).code, Some(3));
    post_history(node, &mut Rng(SEED), 250);
    assert_golden(node);
    let outputs = crate::support::derived(node);

    let plan = node.cli_json(&["replay"]);
    let records = plan["records"].as_u64().unwrap();
    assert!(records >= 250 && plan["bytes"].as_u64().unwrap() > 250 * 300, "{plan}");
    assert!(plan["records_per_second"].as_u64().unwrap() > 0 && plan["is_part"] == false, "{plan}");
    assert_eq!(node.cli(&["replay", "status"]).code, Some(3), "a plan leaves nothing behind");

    let status = run(node, &[]);
    let raw = node.tail(RAW);
    for (partition, (from, to, found)) in ends(&status) {
        let until: Vec<_> =
            raw.iter().filter(|r| r.partition == partition && r.offset < to).cloned().collect();
        let state = golden(&until, None);
        let expected = digest(&state.get(&partition).cloned().unwrap_or_default());
        assert_eq!((from, found), (0, expected), "partition {partition}");
    }
    // What comes meanwhile is folded by both.
    post_history(node, &mut Rng(SEED + 1), 60);
    let found = diff(node, 0);
    assert_eq!((&found["differences"], &found["is_part"]), (&json!(0), &json!(false)));
    assert!(found["same"].as_u64().unwrap() > 200, "{found}");
    let table = node.cli(&["replay", "diff"]);
    assert!(table.stdout.contains("no difference"), "{table:?}");

    // The same is gone on with, which is to do nothing; something else is refused.
    run(node, &["--from-offset", "0"]);
    refused(&node.cli(&["replay", "run", "--waba", &waba(1)]), "REPLAY_EXISTS");
    discard(node);
    assert_eq!(node.cli(&["replay", "discard"]).code, Some(3));

    // Nothing was told by any of it, but of what came meanwhile.
    let golden = assert_golden(node);
    let before: usize = outputs.values().map(Vec::len).sum();
    assert!(golden.count() > before);
}

#[test]
fn other_rules_show_what_they_change_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    post_history(&node, &mut Rng(SEED), 250);
    assert_golden(&node);
    let file = dir.path().join("rules.json");
    let shown = cli(&["rules", "show", "--built-in"]).stdout;

    // Rules that say the same change nothing: the null control.
    std::fs::write(&file, &shown).unwrap();
    run(&node, &["--rules", file.to_str().unwrap()]);
    assert_eq!(diff(&node, 0)["differences"], 0);
    discard(&node);

    // 131026 asks for nothing any more.
    let mut document: Value = serde_json::from_str(&shown).unwrap();
    let code = |rule: &Value| rule["codes"].to_string().contains("131026");
    let at = document["codes"].as_array().unwrap().iter().position(code).unwrap();
    document["codes"][at]["actions"] = json!([]);
    document["version"] = json!(2);
    std::fs::write(&file, document.to_string()).unwrap();
    let status = run(&node, &["--rules", file.to_str().unwrap()]);
    assert_eq!(status["is_part"], true);
    let found = diff(&node, 2);

    let rules = Arc::new(Rules::parse(document.to_string().as_bytes()).unwrap());
    let raw = node.tail(RAW);
    let (old, new) = (golden(&raw, None), golden(&raw, Some(&rules)));
    let (mut expected, mut timers) = (BTreeMap::new(), 0);
    for (partition, old) in &old {
        let new = &new[partition];
        let mut add = |kind: &str, key: String, old: bool, new: bool, same: bool| {
            let change = match (old, new) {
                (true, true) if same => return,
                (true, true) => "changed",
                (false, true) => "added",
                (true, false) => "gone",
                (false, false) => return,
            };
            expected.insert((kind.to_owned(), key), change.to_owned());
        };
        macro_rules! table {
            ($kind:literal, $table:ident, $name:expr) => {
                let [before, after] = [old, new].map(|state| {
                    let rows = state.$table.changes();
                    rows.filter_map(|(k, v)| Some((k.clone(), v.after.clone()?)))
                        .collect::<BTreeMap<_, _>>()
                });
                for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
                    let (a, b) = (before.get(key), after.get(key));
                    add($kind, $name(key), a.is_some(), b.is_some(), a == b);
                }
            };
        }
        table!("message", messages, |key: &tickfold_core::ids::Wamid| key.to_string());
        table!("conversation", conversations, |key: &tickfold_core::ids::ConversationKey| key
            .text());
        table!("account", accounts, |key: &tickfold_core::ids::WabaId| key.to_string());
        table!("number", numbers, |key: &tickfold_core::ids::PhoneNumberId| key.to_string());
        table!("decided", decided, |key: &tickfold_core::action::ActionId| key.to_string());
        table!("user", users, |key: &tickfold_core::ids::UserKey| format!(
            "{}/{}",
            key.waba_id, key.party
        ));
        let armed = |state: &Overlay| -> BTreeSet<String> {
            let armed = state.timers.iter().filter(|(_, armed)| **armed);
            armed.map(|(key, _)| format!("{key:?}")).collect()
        };
        timers += armed(old).symmetric_difference(&armed(new)).count();
    }
    let mut shown = samples(&found);
    let shown_timers = shown.keys().filter(|(kind, _)| kind == "timer").count();
    shown.retain(|(kind, _), _| kind != "timer");
    assert_eq!(shown, expected);
    assert_eq!(shown_timers, timers);
    assert!(
        shown.keys().any(|(kind, _)| kind == "decided"),
        "nothing was decided otherwise: {found}"
    );
    assert!(found["same"].as_u64().unwrap() > 100, "{found}");
    discard(&node);
    assert_golden(&node);
    node.stop();
}

#[test]
fn a_part_gives_the_golden_fold_of_the_part() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut rng = Rng(SEED);
    post_history(&node, &mut rng, 120);
    eventually("time has passed by a second", {
        let begun = Instant::now();
        move || (begun.elapsed() > Duration::from_secs(1)).then_some(())
    });
    post_history(&node, &mut rng, 120);
    assert_golden(&node);
    let raw = node.tail(RAW);
    let webhooks: Vec<_> = raw.iter().filter(|record| record.is_webhook()).collect();
    let middle = webhooks[webhooks.len() / 2].clone();
    let (time, offset) = (middle.timestamp().to_string(), middle.offset.to_string());
    let busiest = middle.partition.to_string();

    let body = |record: &Record| -> Value {
        record.bytes().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    };
    let names_waba = |record: &Record, id: &str| body(record)["entry"][0]["id"] == id;
    let names_message = |record: &Record, id: &str| {
        let value = &body(record)["entry"][0]["changes"][0]["value"];
        let named =
            |list: &Value| list.as_array().is_some_and(|of| of.iter().any(|one| one["id"] == id));
        named(&value["statuses"]) || named(&value["messages"])
    };
    let from = |record: &Record, from: u64| record.offset >= from;
    let always = |_: &Record| true;

    // What of the range is folded, what is a tick, and what is not there at all.
    let check = |args: &[&str],
                 takes: &dyn Fn(&Record) -> bool,
                 is_there: &dyn Fn(&Record) -> bool,
                 is_part| {
        let status = run(&node, args);
        assert_eq!(status["is_part"], is_part, "{args:?}");
        let mut taken = 0;
        let raw = node.tail(RAW);
        for (partition, (_, to, found)) in ends(&status) {
            let of = |r: &&Record| r.partition == partition && r.offset < to && is_there(r);
            let of: Vec<_> = raw
                .iter()
                .filter(of)
                .map(|record| {
                    let is_control = !record.is_webhook();
                    taken += u64::from(is_control || takes(record));
                    if is_control || takes(record) { record.clone() } else { record.as_tick() }
                })
                .collect();
            let state = golden(&of, None);
            let expected = digest(&state.get(&partition).cloned().unwrap_or_default());
            assert_eq!(found, expected, "{args:?}, partition {partition}, seed {SEED}");
        }
        assert_eq!(status["selected"].as_u64(), Some(taken), "{args:?}");
        let ended = node.cli(&["replay", "diff"]);
        assert!(matches!(ended.code, Some(0 | 2)), "{args:?}: {ended:?}");
        discard(&node);
        ended.code
    };
    let wamid = "wamid.S3.7";
    let one = format!("{busiest},{offset}\n");
    let file = dir.path().join("ranges.csv");
    std::fs::write(&file, format!("# from here\n{one}")).unwrap();
    let (first, second) = (waba(1), waba(2));
    check(&["--from-offset", "5"], &always, &|r| from(r, 5), true);
    check(&["--to-datetime", &time], &always, &|r| r.timestamp() < middle.timestamp(), false);
    check(&["--from-datetime", &time], &always, &|r| r.timestamp() >= middle.timestamp(), true);
    check(
        &["--partitions", &busiest, "--to-offset", &offset],
        &always,
        &|r| r.offset < middle.offset,
        false,
    );
    check(&["--from-file", file.to_str().unwrap()], &always, &|r| from(r, middle.offset), true);
    check(&["--by-duration", "2h"], &always, &always, false);
    let takes = |r: &Record| names_waba(r, &first) || names_waba(r, &second);
    let code = check(&["--waba", &first, "--waba", &second], &takes, &always, true);
    assert_eq!(code, Some(0), "an account's own records give its own state");
    check(&["--wamid", wamid], &|r| names_message(r, wamid), &always, true);
    let (of_four, four) = (number(4), waba(4));
    check(&["--number", &of_four], &|r| names_waba(r, &four), &always, true);
    check(&["--number", "1"], &|_| false, &always, true);
    let takes = |r: &Record| names_waba(r, &waba(3)) && names_message(r, wamid);
    check(
        &["--waba", &waba(3), "--wamid", wamid, "--from-offset", "2"],
        &takes,
        &|r| from(r, 2),
        true,
    );

    refused(&node.cli(&["replay", "run", "--partitions", "99"]), "PARTITION_ELSEWHERE");
    refused(&node.cli(&["replay", "--from-datetime", "yesterday"]), "no time such as");
    assert_eq!(node.cli(&["replay", "--from-offset", "1", "--by-duration", "1h"]).code, Some(2));
    node.stop();
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn a_killed_replay_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let node = start(small_batches(dir.path()), dir.path());
    post_history(&node, &mut Rng(SEED), 400);
    assert_golden(&node);
    node.stop();

    let landed = dir.path().join("landed");
    let mut command = small_batches(dir.path());
    // Two threads fold, so one of them is at its second partition and has flushed the first.
    command
        .env("TICKFOLD_FAIL_POINT", "after_replay_batch:3")
        .env("TICKFOLD_FAIL_POINT_FILE", &landed);
    let mut node = start(command, dir.path());
    let ended = node.cli(&["replay", "run"]);
    assert_eq!(ended.code, Some(1), "the node was killed under it: {ended:?}");
    node.wait();
    assert_eq!(std::fs::read_to_string(&landed).unwrap(), "after_replay_batch");

    let node = start(small_batches(dir.path()), dir.path());
    let status = node.cli_json(&["replay", "status"]);
    let positions = |status: &Value| -> u64 {
        let of = status["partitions"].as_array().unwrap().iter();
        of.map(|of| of["position"].as_u64().unwrap()).sum()
    };
    let before = positions(&status);
    assert_eq!(status["state"], "stopped", "{status}");
    assert!(before > 0, "nothing was kept: {status}");
    refused(&node.cli(&["replay", "diff"]), "REPLAY_UNFINISHED");
    let status = run(&node, &[]);
    let records = status["records"].as_u64().unwrap();
    assert!(records > 0 && records <= positions(&status) - before, "{before}: {status}");
    assert_eq!(diff(&node, 0)["differences"], 0);

    // A throttled one can be stopped, and goes on.
    discard(&node);
    let begun = node.cli_json(&["replay", "run", "--rate", "50", "--detach"]);
    assert_eq!(begun["state"], "running");
    refused(&node.cli(&["replay", "run"]), "REPLAY_BUSY");
    let stopped = node.cli_json(&["replay", "stop"]);
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    run(&node, &[]);
    assert_eq!(diff(&node, 0)["differences"], 0);
    assert_golden(&node);
    node.stop();
}

/// A caller whose connection takes little at a time, and who may not read at all.
async fn slow_caller(node: &Node) -> ReplayServiceClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", node.grpc)).unwrap();
    let channel = channel.initial_stream_window_size(1_024).connect().await.unwrap();
    ReplayServiceClient::new(channel)
}

async fn compare(
    caller: &mut ReplayServiceClient<Channel>,
) -> Result<Streaming<pb::DiffReplayResponse>, Status> {
    let request = pb::DiffReplayRequest { samples: 1_000 };
    Ok(caller.diff_replay(request).await?.into_inner())
}

/// What is found of each kind in each partition, wherever the live state is by then. How far the
/// comparison is may be left out, and is.
async fn found_by(mut parts: Streaming<pb::DiffReplayResponse>) -> Vec<Part> {
    let mut found = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        match part.part.unwrap() {
            Part::Progress(_) => (),
            Part::Difference(of) => {
                found.push(Part::Difference(pb::ReplayDifference { position: 0, ..of }))
            }
            end @ Part::End(_) => found.push(end),
        }
    }
    assert!(matches!(found.last(), Some(Part::End(_))), "{:?}", found.last());
    found
}

#[test]
fn a_comparison_that_nobody_reads_waits_and_goes_on_when_it_is_read() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut http = node.webhooks();
    let mut post = |word: &str, after_s: i64| {
        for account in 0..12 {
            for body in 0..6 {
                let id = |id: usize| format!("wamid.W{account}.{body}.{id}");
                let statuses: Vec<_> = (0..50).map(|n| status(&id(n), word, after_s)).collect();
                let value = format!(r#""statuses":[{}]"#, statuses.join(","));
                let body = messages_of(&format!("33558899{account:08}"), &value);
                let body = body.replace(NUMBER, &format!("{NUMBER}{account}"));
                assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
            }
        }
    };
    post("sent", 2_900);
    let between = Timestamp::now();
    std::thread::sleep(Duration::from_millis(10));
    post("delivered", 3_000);
    assert_golden(&node);
    // Of each message the replay knows the later status only.
    run(&node, &["--from-datetime", &between.to_string()]);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (mut caller, mut other) = (slow_caller(&node).await, slow_caller(&node).await);
        let begun = Instant::now();
        let all = found_by(compare(&mut caller).await.unwrap()).await;
        // Far longer than a comparison that is read takes here.
        let held = HELD.max(2 * begun.elapsed());

        let waiting = compare(&mut caller).await.unwrap();
        tokio::time::sleep(held).await;
        let busy = compare(&mut other).await.expect_err("the comparison is at its end, unread");
        assert!(busy.message().contains("is being compared"), "{busy:?}");
        assert_eq!(found_by(waiting).await, all);
        assert_eq!(found_by(compare(&mut other).await.unwrap()).await, all);
    });
    discard(&node);
    node.stop();
}
