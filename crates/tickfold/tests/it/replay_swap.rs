//! Swaps and rollbacks: a live store whose rows were damaged under it gives way to the replay, and comes
//! back; exactly the rows that differ are published, nothing else is told, queries are answered, and a kill
//! at each step leaves the one state or the other.
//!
//! The damage is planted where a test can know of each row: one is changed, one is gone, one is there that
//! no webhook ever made. The digest in the store's head stays as it was, so no start notices.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::FOLD_VERSION;
use tickfold_core::ids::Wamid;
use tickfold_core::overlay::Overlay;
use tickfold_core::records::Topic;
use tickfold_log::{EmbeddedLog, EmbeddedOptions, Log, TopicPartition};
use tickfold_store::{RocksOptions, RocksStores, RowKind, StoreHead, Stores};

use crate::kafka::{broker, with_one_replica};
use crate::support::{
    Ended, Golden, NUMBER, Node, PARTITIONS, PATIENCE, Plain, RAW, Rng, WABA, assert_golden, base,
    derived, difference, eventually, is_soak, messages_of, say, soak_row, status, topic, up,
};
use crate::support_crash::set_aside;

const SEED: u64 = 20_261_129;
/// Accounts under load; the one behind them is damaged, and left alone.
const ACCOUNTS: usize = 6;
const DAMAGED: usize = ACCOUNTS;
const WORDS: [&str; 4] = ["sent", "delivered", "read", "failed"];
/// A message that no webhook made.
const ADDED: &str = "wamid.planted";
/// Ordinals of rows that a swap publishes.
const SWAPPED: u64 = 1 << 31;

/// One body of an account.
fn body(account: usize, rng: &mut Rng) -> String {
    let value = if rng.below(4) == 0 {
        let (id, time) = (rng.below(40), base() + 3_000);
        format!(
            r#""messages":[{{"from":"4477009001{id:02}","id":"wamid.I{account}.{id}","timestamp":"{time}","type":"text","text":{{"body":"hello"}}}}]"#
        )
    } else {
        let wamid = format!("wamid.S{account}.{}", rng.below(25));
        let after_s = 2_900 + i64::try_from(rng.below(600)).unwrap();
        format!(r#""statuses":[{}]"#, status(&wamid, WORDS[rng.below(WORDS.len())], after_s))
    };
    messages_of(&format!("3355889900001{account}"), &value)
        .replace(NUMBER, &format!("{NUMBER}{account}"))
}

/// A history of all accounts, in a node that is stopped then; and the damage.
fn damaged(root: &Path, command: &dyn Fn() -> Command) -> Planted {
    let node = start(command(), root);
    let (mut rng, mut http) = (Rng(SEED), node.webhooks());
    for post in 0..280 {
        let body = body(post % (ACCOUNTS + 1), &mut rng);
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200, "seed {SEED}");
    }
    assert_golden(&node);
    node.stop();
    plant(root)
}

fn start(command: Command, root: &Path) -> Node {
    Node::spawn(root, command).unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
}

/// What was done to a store.
#[derive(Debug)]
struct Planted {
    partition: u32,
    /// A message that is otherwise now.
    changed: String,
    /// A conversation that is gone.
    gone: String,
}

/// Damages three rows of the store that has them, under its head.
fn plant(root: &Path) -> Planted {
    let stores = RocksStores::open(root.join("data/state"), RocksOptions::default()).unwrap();
    for partition in 0..PARTITIONS {
        let mut store = stores.open(partition).unwrap();
        let state = stores.view(partition).snapshot().unwrap().unwrap();
        let rows = state.state_rows(RowKind::Message, None, 10_000).unwrap();
        let ids = rows.iter().map(|row| Wamid::new(std::str::from_utf8(&row.key[1..]).unwrap()));
        let of = |kind: &str| {
            let prefix = format!("wamid.{kind}{DAMAGED}.");
            ids.clone().find(|id| id.as_str().starts_with(&prefix))
        };
        let (Some(changed), Some(inbound)) = (of("S"), of("I")) else { continue };
        let message = state.message(&changed).unwrap().unwrap();
        let gone = state.message(&inbound).unwrap().unwrap().facts.conversation().unwrap();
        let conversation = state.conversation(&gone).unwrap();
        assert!(conversation.is_some());
        let mut other = message.clone();
        other.facts.callback_data = Some("planted".to_owned());
        let mut damage = Overlay::default();
        let messages = &mut damage.messages;
        *messages.entry(&changed, |_| Ok(Some(message.clone()))).unwrap() = Some(other);
        *messages.entry(&ADDED.into(), |_| Ok(None)).unwrap() = Some(message);
        *damage.conversations.entry(&gone, |_| Ok(conversation)).unwrap() = None;
        let before = store.store_head();
        store.write(before.cursor, &damage, before).unwrap();
        assert_ne!(store.recompute_digest().unwrap(), before.digest);
        return Planted { partition, changed: changed.to_string(), gone: gone.text() };
    }
    panic!("no partition has the account");
}

fn run(node: &Node) {
    assert_eq!(node.cli_json(&["replay", "run"])["state"], "done");
}

/// Samples of a comparison: how each key differs.
fn diff(node: &Node) -> BTreeMap<String, String> {
    let ended = node.cli(&["replay", "diff", "-o", "json"]);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let samples = found["kinds"].as_array().unwrap().iter();
    let samples = samples.flat_map(|kind| kind["samples"].as_array().cloned().unwrap_or_default());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found: BTreeMap<_, _> =
        samples.map(|sample| (text(&sample["key"]), text(&sample["change"]))).collect();
    assert_eq!(ended.code, Some(if found.is_empty() { 0 } else { 2 }), "{ended:?}");
    found
}

/// What a comparison with the damaged state shows.
fn damage_of(planted: &Planted) -> BTreeMap<String, String> {
    let of = |key: &str, change: &str| (key.to_owned(), change.to_owned());
    let (changed, gone) = (&planted.changed, &planted.gone);
    BTreeMap::from([of(changed, "changed"), of(gone, "added"), of(ADDED, "gone")])
}

/// Runs `swap` or `rollback` while webhooks come and queries are asked. Returns what it printed by
/// partition, and how often each was done.
fn under_load(node: &Node, word: &str, options: &[&str], seed: u64) -> BTreeMap<u32, Value> {
    let ended = AtomicBool::new(false);
    let (posts, answers) = (AtomicU64::new(0), AtomicU64::new(0));
    let printed = thread::scope(|scope| {
        scope.spawn(|| {
            let (mut rng, mut http) = (Rng(seed), node.webhooks());
            while !ended.load(Ordering::SeqCst) {
                let body = body(rng.below(ACCOUNTS), &mut rng);
                assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200, "seed {seed}");
                posts.fetch_add(1, Ordering::SeqCst);
            }
        });
        for client in 0..2 {
            let (ended, answers) = (&ended, &answers);
            scope.spawn(move || {
                let (mut rng, mut rpc) = (Rng(seed ^ client), node.rpc());
                while !ended.load(Ordering::SeqCst) {
                    let wamid = format!("wamid.S{}.{}", rng.below(ACCOUNTS + 1), rng.below(3));
                    let answer = rpc.try_message(&wamid, &[]);
                    assert!(answer.is_ok(), "{wamid}: {answer:?}");
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // Both have begun, and have their connections.
        eventually("there is load", || {
            let (posts, answers) = (posts.load(Ordering::SeqCst), answers.load(Ordering::SeqCst));
            (posts > 20 && answers > 20).then_some(())
        });
        let before = (posts.load(Ordering::SeqCst), answers.load(Ordering::SeqCst));
        let printed = node.cli(&[&["replay", word, "-o", "json"], options].concat());
        let after = (posts.load(Ordering::SeqCst), answers.load(Ordering::SeqCst));
        ended.store(true, Ordering::SeqCst);
        let (posts, answers) = (after.0 - before.0, after.1 - before.1);
        say(&format!(
            "{word}: {posts} webhooks and {answers} queries answered meanwhile, none failed"
        ));
        assert!(posts > 0 && answers > 0);
        printed
    });
    swapped(&printed)
}

fn swapped(printed: &Ended) -> BTreeMap<u32, Value> {
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let all: Vec<Value> = serde_json::from_str(&printed.stdout).unwrap();
    let partition = |one: &Value| u32::try_from(one["partition"].as_u64().unwrap()).unwrap();
    all.into_iter().map(|one| (partition(&one), one)).collect()
}

/// Rows that swaps have published, by topic and in order; all else is the golden fold, once each.
fn published(node: &Node) -> (Golden, Vec<(Topic, u32, Plain)>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let golden = Golden::of(&node.tail(RAW));
        let mut found = derived(node);
        let mut rows = Vec::new();
        for ((of, partition), records) in &mut found {
            rows.extend(
                records
                    .extract_if(.., |plain| plain.ordinal() >= SWAPPED)
                    .map(|plain| (*of, *partition, plain)),
            );
        }
        let Some(wrong) = difference(&golden.outputs, &found) else { return (golden, rows) };
        assert!(Instant::now() < deadline, "{wrong:?}");
    }
}

/// A row without what says when it was published.
fn shown(value: Option<&str>) -> Value {
    let mut row: Value = value.map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
    if let Some(row) = row.as_object_mut() {
        for field in ["event_id", "revision", "source_offset", "received_time"] {
            row.remove(field);
        }
    }
    row
}

/// The row of a key that the golden fold wrote last.
fn golden_row(golden: &Golden, of: Topic, partition: u32, key: &str) -> Value {
    let rows = golden.outputs[&(of, partition)].iter().rev();
    shown(rows.clone().find(|row| row.key == key).unwrap().value.as_deref())
}

/// The three rows by which both states differ, in the order in which they are published.
fn check_rows(golden: &Golden, planted: &Planted, rows: &[(Topic, u32, Plain)], heals: bool) {
    let Planted { partition, changed, gone } = planted;
    let mut expected: Vec<(Topic, &str, Value)> = Vec::new();
    let message = golden_row(golden, Topic::MessageState, *partition, changed);
    let conversation = golden_row(golden, Topic::ConversationState, *partition, gone);
    let mut other = message.clone();
    other["callback_data"] = json!("planted");
    let mut added = message.clone();
    added["wamid"] = json!(ADDED);
    let or_gone = |is: bool, row: Value| if is { row } else { Value::Null };
    expected.push((Topic::MessageState, changed, if heals { message } else { other }));
    expected.push((Topic::MessageState, ADDED, or_gone(!heals, added)));
    expected.push((Topic::ConversationState, gone, or_gone(heals, conversation)));
    let found: Vec<_> = rows
        .iter()
        .map(|(of, at, row)| {
            assert_eq!(at, partition);
            (*of, row.key.as_str(), shown(row.value.as_deref()))
        })
        .collect();
    let sorted = |mut rows: Vec<(Topic, &str, Value)>| {
        rows.sort_by_key(|(of, key, _)| (*of, (*key).to_owned()));
        rows.into_iter().map(|(of, key, row)| format!("{of:?} {key} {row}")).collect::<Vec<_>>()
    };
    assert_eq!(sorted(found), sorted(expected));
}

/// Rows of a swap by what it printed.
fn rows_of(swapped: &BTreeMap<u32, Value>) -> BTreeMap<u32, u64> {
    let rows = swapped.iter().map(|(partition, one)| (*partition, one["rows"].as_u64().unwrap()));
    rows.filter(|(_, rows)| *rows > 0).collect()
}

#[test]
fn a_swap_and_a_rollback_under_load_publish_what_differs_and_fail_no_query() {
    let dir = TempDir::new().unwrap();
    check_under_load(dir.path(), &|| up(dir.path()));
}

#[test]
fn a_swap_and_a_rollback_under_load_publish_what_differs_and_fail_no_query_on_kafka() {
    let dir = TempDir::new().unwrap();
    check_under_load(dir.path(), &|| on_kafka(dir.path(), "swapped"));
}

/// [`up`] on the shared broker, with topics and a group of this name.
fn on_kafka(root: &Path, name: &str) -> Command {
    let mut command = up(root);
    command.args(["--kafka", &broker::shared()]);
    with_one_replica(&mut command);
    command.env("TICKFOLD_TOPIC_PREFIX", name).env("TICKFOLD_GROUP", name);
    command
}

fn check_under_load(root: &Path, command: &dyn Fn() -> Command) {
    let planted = damaged(root, command);
    let node = start(command(), root);
    run(&node);
    assert_eq!(diff(&node), damage_of(&planted));

    let swap = under_load(&node, "swap", &[], SEED + 1);
    assert_eq!(swap.keys().copied().collect::<Vec<_>>(), (0..PARTITIONS).collect::<Vec<_>>());
    assert_eq!(rows_of(&swap), BTreeMap::from([(planted.partition, 3)]));
    let (golden, first) = published(&node);
    check_rows(&golden, &planted, &first, true);
    let status = node.cli_json(&["replay", "status"]);
    assert_eq!(
        (&status["state"], &status["generations"][0]["live"]),
        (&json!("swapped"), &json!(1))
    );
    assert_eq!(status["generations"][0]["kept"], 0);
    run(&node);
    assert_eq!(diff(&node), BTreeMap::new(), "the live state is the fold of the log");
    assert_eq!(node.cli(&["replay", "discard"]).code, Some(0));

    let rollback = under_load(&node, "rollback", &[], SEED + 2);
    assert_eq!(rows_of(&rollback), BTreeMap::from([(planted.partition, 3)]));
    let (golden, rows) = published(&node);
    check_rows(&golden, &planted, &second(&first, &rows), false);
    run(&node);
    assert_eq!(diff(&node), damage_of(&planted), "the old state has all that came meanwhile");

    // And once more, over a restart.
    node.stop();
    let node = start(command(), root);
    // A row too many for one commit: the partition goes on as it was.
    refused(&node.cli(&["replay", "swap", "--rows-max", "2"]), "SWAP_REFUSED");
    let swap = under_load(&node, "swap", &[], SEED + 3);
    assert_eq!(rows_of(&swap), BTreeMap::from([(planted.partition, 3)]));
    let (golden, all) = published(&node);
    check_rows(&golden, &planted, &second(&rows, &all), true);
    let ids: std::collections::BTreeSet<_> =
        all.iter().map(|(_, _, row)| &row.headers["ce_id"]).collect();
    assert_eq!(ids.len(), 9, "no two rows have one id");

    let discarded = node.cli(&["replay", "discard", "-o", "json"]);
    assert!(discarded.stderr.contains("no way back"), "{discarded:?}");
    assert_eq!(node.cli(&["replay", "rollback"]).code, Some(3));
    assert_eq!(node.cli(&["replay", "status"]).code, Some(3));
    let left = std::fs::read_dir(root.join("data/state")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let states = left.filter(|name| !name.contains(".generations") && name != "then").count();
    assert_eq!(states, usize::try_from(PARTITIONS).unwrap(), "one state of each partition is left");

    node.stop();
    assert_eq!(set_aside(&root.join("data")), Vec::<String>::new());
}

/// What of these rows was not among the first ones.
fn second(first: &[(Topic, u32, Plain)], all: &[(Topic, u32, Plain)]) -> Vec<(Topic, u32, Plain)> {
    all.iter().filter(|row| !first.contains(row)).cloned().collect()
}

#[test]
fn a_swap_of_many_rows() {
    let dir = TempDir::new().unwrap();
    // More than a swap takes unless it is told to.
    let many = if is_soak() { 300_000 } else { 1_500 };
    check_many_rows("embedded", many, dir.path(), &|| up(dir.path()));
}

#[test]
fn a_swap_of_many_rows_on_kafka() {
    let dir = TempDir::new().unwrap();
    let many = if is_soak() { 150_000 } else { 1_500 };
    check_many_rows("kafka", many, dir.path(), &|| on_kafka(dir.path(), "many-rows"));
}

/// All messages of an account are gone from the store under its head: a swap brings them back, once it may
/// have so many rows.
fn check_many_rows(log: &str, many: usize, root: &Path, command: &dyn Fn() -> Command) {
    let node = start(command(), root);
    let (mut http, mut rpc) = (node.webhooks(), node.rpc());
    let wamid = |n: usize| format!("wamid.M{n}");
    for first in (0..many).step_by(500) {
        let statuses: Vec<_> =
            (first..first + 500).map(|n| status(&wamid(n), "sent", 2_900)).collect();
        let body = messages_of(WABA, &format!(r#""statuses":[{}]"#, statuses.join(",")));
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
        let last = wamid(first + 499);
        eventually("it is folded", || rpc.try_message(&last, &[]).unwrap());
    }
    node.stop();
    let partition = forget_messages(root, many);

    let node = start(command(), root);
    run(&node);
    let too_few = (many - 1).to_string();
    refused(&node.cli(&["replay", "swap", "--rows-max", &too_few]), "SWAP_REFUSED");
    let first = || node.rpc().try_message(&wamid(0), &[]).unwrap();
    assert!(first().is_none(), "what was refused changed nothing");
    let begin = Instant::now();
    let swap = under_load(&node, "swap", &["--rows-max", &many.to_string()], SEED + 4);
    say(&format!("{log}: swap of {many} rows of a partition in {:.1?}", begin.elapsed()));
    assert_eq!(rows_of(&swap), BTreeMap::from([(partition, many as u64)]));
    assert!(first().is_some());

    // By the topic: each row once, beside that which the fold wrote.
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for record in node.tail(&topic(Topic::MessageState)) {
        let row = record.plain();
        if row.ordinal() >= SWAPPED {
            assert!(row.value.is_some());
            *told.entry(row.key).or_default() += 1;
        }
    }
    let lost = (0..many).filter(|n| !told.contains_key(&wamid(*n))).count();
    let twice = told.values().filter(|count| **count > 1).count();
    let landed = told.len();
    let [attempted, found, gone, again] = [many, landed, lost, twice].map(|count| count as u64);
    soak_row(&format!("{log}: rows of one swap"), attempted, found, gone, again);
    assert_eq!((landed, lost, twice), (many, 0, 0));
    run(&node);
    assert_eq!(diff(&node), BTreeMap::new(), "the live state is the fold of the log");
    node.stop();
}

/// Removes the messages of the store that has so many, under its head.
fn forget_messages(root: &Path, many: usize) -> u32 {
    let stores = RocksStores::open(root.join("data/state"), RocksOptions::default()).unwrap();
    for partition in 0..PARTITIONS {
        let mut store = stores.open(partition).unwrap();
        let state = stores.view(partition).snapshot().unwrap().unwrap();
        let rows = state.state_rows(RowKind::Message, None, many + 1).unwrap();
        if rows.is_empty() {
            continue;
        }
        assert_eq!(rows.len(), many);
        let mut damage = Overlay::default();
        for row in rows {
            let wamid = Wamid::new(std::str::from_utf8(&row.key[1..]).unwrap());
            let message = damage.messages.entry(&wamid, |key| Ok(state.message(key).unwrap()));
            *message.unwrap() = None;
        }
        let before = store.store_head();
        store.write(before.cursor, &damage, before).unwrap();
        return partition;
    }
    panic!("no partition has them");
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn a_swap_that_is_killed_leaves_the_one_state_or_the_other() {
    // Whether the swap of the partition was committed.
    for (place, committed) in [
        ("none", true),
        ("after_prepare", false),
        ("before_swap", false),
        ("after_swap_commit", true),
        ("after_swap", true),
    ] {
        kill_at(place, "swap", committed);
    }
    for (place, committed) in
        [("none", true), ("after_prepare", false), ("after_swap_commit", true)]
    {
        kill_at(place, "rollback", committed);
    }
}

fn kill_at(place: &str, word: &str, committed: bool) {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    let planted = damaged(root, &|| up(root));
    let what = format!("{word}, {place}, {planted:?}");
    let heals = word == "swap";
    if !heals {
        let node = start(up(root), root);
        run(&node);
        swapped(&node.cli(&["replay", "swap", "-o", "json"]));
        node.stop();
    }
    let before = if heals { 0 } else { 3 };

    let landed = root.join("landed");
    let mut command = up(root);
    // Partitions come one after the other, each once at the place.
    let count = planted.partition + 1;
    if place != "none" {
        command.env("TICKFOLD_FAIL_POINT", format!("{place}:{count}"));
        command.env("TICKFOLD_FAIL_POINT_FILE", &landed);
    }
    let mut node = start(command, root);
    if heals {
        run(&node);
    }
    let ended = node.cli(&["replay", word, "-o", "json"]);
    if place == "none" {
        assert_eq!(rows_of(&swapped(&ended)), BTreeMap::from([(planted.partition, 3)]), "{what}");
        assert!(!landed.exists());
        node.stop();
    } else {
        assert_eq!(ended.code, Some(1), "{what}: {ended:?}");
        node.wait();
        assert_eq!(std::fs::read_to_string(&landed).unwrap(), place, "{what}");
    }

    let node = start(up(root), root);
    let (golden, rows) = published(&node);
    assert_eq!(rows.len(), before + if committed { 3 } else { 0 }, "{what}: {rows:?}");
    assert_eq!(set_aside(&root.join("data")), Vec::<String>::new(), "{what}");
    if committed && heals {
        check_rows(&golden, &planted, &rows, true);
    }
    // The state is the one or the other, whatever is published.
    let is_damaged = committed != heals;
    let expected = if is_damaged { damage_of(&planted) } else { BTreeMap::new() };
    let goes_on = node.cli_json(&["replay", "status"])["state"] == "done";
    if !goes_on {
        run(&node);
    }
    assert_eq!(diff(&node), expected, "{what}");
    if !goes_on {
        assert_eq!(node.cli(&["replay", "discard"]).code, Some(0), "{what}");
    }
    // The same again does the rest of it, and no row twice.
    if place != "none" && heals {
        let rest = swapped(&node.cli(&["replay", word, "-o", "json"]));
        let expected =
            if committed { BTreeMap::new() } else { BTreeMap::from([(planted.partition, 3)]) };
        assert_eq!(rows_of(&rest), expected, "{what}");
        let (golden, rows) = published(&node);
        check_rows(&golden, &planted, &rows, true);
        run(&node);
        assert_eq!(diff(&node), BTreeMap::new(), "{what}");
    }
    // So does a way back: who went back stays there.
    let first = if committed { count } else { planted.partition };
    if place != "none" && !heals && first < PARTITIONS {
        let rest = swapped(&node.cli(&["replay", word, "-o", "json"]));
        assert_eq!(rest.keys().copied().collect::<Vec<_>>(), Vec::from_iter(first..PARTITIONS));
        let status = node.cli_json(&["replay", "status"]);
        let back = |one: &Value| one["live"].as_u64() < one["kept"].as_u64();
        let all = status["generations"].as_array().unwrap();
        assert!(all.len() == PARTITIONS as usize && all.iter().all(back), "{what}: {status}");
    }
    node.stop();
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn a_rollback_that_is_killed_goes_on_in_its_direction_whichever_it_is() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    let node = start(up(root), root);
    let mut rng = Rng(SEED);
    for _ in 0..40 {
        node.post(body(rng.below(ACCOUNTS), &mut rng));
    }
    assert_golden(&node);
    run(&node);
    swapped(&node.cli(&["replay", "swap", "-o", "json"]));
    node.stop();

    let live = |node: &Node| -> Vec<u64> {
        let status = node.cli_json(&["replay", "status"]);
        let all = status["generations"].as_array().unwrap();
        all.iter().map(|one| one["live"].as_u64().unwrap()).collect()
    };
    // Back, forth, and back and forth once more, which end with the last partition.
    let all = PARTITIONS as usize;
    for (way, count) in [(0, 2), (1, 2), (0, all), (1, all)] {
        let landed = root.join("landed");
        let mut command = up(root);
        command.env("TICKFOLD_FAIL_POINT", format!("after_swap:{count}"));
        command.env("TICKFOLD_FAIL_POINT_FILE", &landed);
        let mut node = start(command, root);
        let ended = node.cli(&["replay", "rollback"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        node.wait();
        assert_eq!(std::fs::read_to_string(&landed).unwrap(), "after_swap");
        std::fs::remove_file(&landed).unwrap();

        let node = start(up(root), root);
        let half = [vec![way; count], vec![1 - way; all - count]].concat();
        assert_eq!(live(&node), half, "to {way}, killed after {count}");
        let rest = swapped(&node.cli(&["replay", "rollback", "-o", "json"]));
        let expected: Vec<_> = (0..PARTITIONS).skip(count).collect();
        assert_eq!(rest.into_keys().collect::<Vec<_>>(), expected, "to {way}");
        assert_eq!(live(&node), vec![way; all], "all went to {way}");
        node.stop();
    }
    assert!(!root.join("data/state/rollback.json").exists());
}

/// Writes a store and its token as an earlier fold version would have.
fn age(root: &Path, partition: u32) {
    age_store(root, partition);
    age_token(root, partition);
}

fn age_store(root: &Path, partition: u32) {
    let stores = RocksStores::open(root.join("data/state"), RocksOptions::default()).unwrap();
    let mut store = stores.open(partition).unwrap();
    let head = store.store_head();
    let older = StoreHead { fold_version: FOLD_VERSION - 1, ..head };
    store.write(head.cursor, &Overlay::default(), older).unwrap();
}

fn age_token(root: &Path, partition: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (dir, options) = (root.join("data/log"), EmbeddedOptions::default());
    let log = EmbeddedLog::open(&dir, options).unwrap();
    runtime.block_on(async {
        let mut claim = log.claim("tickfold", &TopicPartition::new(RAW, partition)).await.unwrap();
        let mut position = claim.committed.unwrap();
        let (new, old) = (format!(";f={FOLD_VERSION};"), format!(";f={};", FOLD_VERSION - 1));
        assert!(position.metadata.contains(&new));
        position.metadata = position.metadata.replace(&new, &old);
        claim.partition.commit([].into(), position).await.unwrap();
        log.close().await.unwrap();
    });
}

#[test]
fn a_state_of_another_fold_version_is_swapped() {
    let dir = TempDir::new().unwrap();
    other_version(dir.path(), "none");
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn a_swap_to_another_fold_version_that_is_killed_leaves_the_one_or_the_other() {
    for place in ["after_prepare", "before_swap", "after_swap_commit", "after_swap"] {
        let dir = TempDir::new().unwrap();
        other_version(dir.path(), place);
    }
}

fn other_version(root: &Path, place: &str) {
    let planted = damaged(root, &|| up(root));
    age(root, planted.partition);
    let is_refused = |node: &Node| {
        let text = node.admin("/readyz").text();
        text.contains("fold_version")
    };
    let landed = root.join("landed");
    let mut command = up(root);
    command.env("TICKFOLD_FAIL_POINT_FILE", &landed);
    if place != "none" {
        command.env("TICKFOLD_FAIL_POINT", format!("{place}:{}", planted.partition + 1));
    }
    let mut node = start(command, root);
    eventually("the partition is refused", || is_refused(&node).then_some(()));
    // It takes webhooks all the same, and answers with the state that it has.
    let mut rng = Rng(SEED + 9);
    for _ in 0..20 {
        node.post(body(DAMAGED, &mut rng));
    }
    run(&node);
    assert_eq!(diff(&node), damage_of(&planted), "{place}");
    let swap = node.cli(&["replay", "swap", "-o", "json"]);
    if place == "none" {
        assert!(!landed.exists());
        assert_eq!(rows_of(&swapped(&swap)), BTreeMap::from([(planted.partition, 3)]));
        assert!(!is_refused(&node));
        let (golden, rows) = published(&node);
        // What came while it was refused is folded behind the swap, onto the rows that it published.
        let at = rows[0].2.source();
        let mut then = golden;
        for ((_, partition), of) in &mut then.outputs {
            of.retain(|row| *partition != planted.partition || row.source() <= at);
        }
        check_rows(&then, &planted, &rows, true);
    } else {
        assert_eq!(swap.code, Some(1), "{place}: {swap:?}");
        node.wait();
        assert_eq!(std::fs::read_to_string(&landed).unwrap(), place);
        node = start(up(root), root);
        if !place.starts_with("after_swap") {
            eventually("it is refused again", || is_refused(&node).then_some(()));
            let rest = swapped(&node.cli(&["replay", "swap", "-o", "json"]));
            assert_eq!(rows_of(&rest), BTreeMap::from([(planted.partition, 3)]), "{place}");
        }
    }
    let (_, rows) = published(&node);
    assert_eq!(rows.len(), 3, "{place}");
    node.stop();
    let node = start(up(root), root);
    let (_, rows) = published(&node);
    assert_eq!(rows.len(), 3, "{place}");
    assert_eq!(set_aside(&root.join("data")), Vec::<String>::new());
    node.stop();
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_state_of_another_fold_version_that_does_not_stand_at_its_position_is_not_swapped() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    let planted = damaged(root, &|| up(root));
    let partition = planted.partition;
    // What this node would have of an earlier time, had the partition been elsewhere since.
    let place = root.join("data/state").join(partition.to_string());
    let (behind, there) = (root.join("behind"), root.join("there"));
    age_store(root, partition);
    copy_dir(&place, &behind);
    std::fs::rename(&place, &there).unwrap();
    let node = start(up(root), root);
    let mut rng = Rng(SEED + 9);
    for _ in 0..20 {
        node.post(body(DAMAGED, &mut rng));
    }
    assert_golden(&node);
    node.stop();
    std::fs::remove_dir_all(&there).unwrap();
    std::fs::rename(&place, &there).unwrap();
    std::fs::rename(&behind, &place).unwrap();
    age_token(root, partition);

    let node = start(up(root), root);
    let is_refused = |node: &Node| node.admin("/readyz").text().contains("fold_version");
    eventually("the partition is refused", || is_refused(&node).then_some(()));
    run(&node);
    let begun = Instant::now();
    for word in ["diff", "swap"] {
        let ended = node.cli(&["replay", word]);
        refused(&ended, "SWAP_REFUSED");
        assert!(ended.stderr.contains("stands at"), "{ended:?}");
    }
    assert!(begun.elapsed() < PATIENCE / 2, "at once");
    node.stop();

    // The state that does is swapped.
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::rename(&there, &place).unwrap();
    age_store(root, partition);
    let node = start(up(root), root);
    eventually("the partition is refused", || is_refused(&node).then_some(()));
    assert_eq!(diff(&node), BTreeMap::new());
    let swap = swapped(&node.cli(&["replay", "swap", "-o", "json"]));
    assert_eq!(swap[&partition]["rows"], 0);
    assert!(!is_refused(&node));
    assert_eq!(published(&node).1, []);
    node.stop();
}

fn refused(ended: &Ended, by: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(by), "{by}: {ended:?}");
}

#[test]
fn what_is_not_the_state_of_the_log_is_not_swapped() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    let planted = damaged(root, &|| up(root));
    let node = start(up(root), root);
    assert_eq!(node.cli(&["replay", "swap"]).code, Some(3));
    assert_eq!(node.cli(&["replay", "rollback"]).code, Some(3));
    let rules = root.join("rules.json");
    std::fs::write(&rules, crate::support::cli(&["rules", "show", "--built-in"]).stdout).unwrap();
    for of in [
        &["--waba", "33558899000011"][..],
        &["--from-offset", "3"],
        &["--to-offset", "9"],
        &["--rules", rules.to_str().unwrap()],
    ] {
        assert_eq!(node.cli_json(&[&["replay", "run"], of].concat())["state"], "done");
        refused(&node.cli(&["replay", "swap"]), "REPLAY_IS_PART");
        assert_eq!(node.cli(&["replay", "discard"]).code, Some(0));
    }
    node.cli_json(&["replay", "run", "--rate", "20", "--detach"]);
    refused(&node.cli(&["replay", "swap"]), "REPLAY_BUSY");
    node.cli_json(&["replay", "stop"]);
    refused(&node.cli(&["replay", "swap"]), "REPLAY_UNFINISHED");
    run(&node);
    node.stop();

    // A state that was folded from other raw than there is.
    let stores = RocksStores::open(root.join("data/state"), RocksOptions::default()).unwrap();
    let mut store = stores.open(planted.partition).unwrap();
    let head = store.store_head();
    let other = StoreHead { raw_digest: head.raw_digest ^ 1, ..head };
    store.write(head.cursor, &Overlay::default(), other).unwrap();
    drop((store, stores));
    let node = start(up(root), root);
    let ended = node.cli(&["replay", "swap", "-o", "json"]);
    refused(&ended, "SWAP_REFUSED");
    // Those before it are swapped, and it goes on as it was.
    let done: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(done.len(), usize::try_from(planted.partition).unwrap());
    assert_golden(&node);
    node.stop();
}
