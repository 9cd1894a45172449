//! What every sample body becomes, kept as text: a change of the fold shows as a change of these files, to be
//! looked at and kept with `UPDATE_EXPECT=1`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::fmt::Debug;
use std::hash::Hash;
use std::path::Path;

use serde_json::Value;
use support::{Folded, corpus};
use tickfold_core::fold::Output;
use tickfold_core::overlay::Table;
use tickfold_core::time::{DAY_MS, HOUR_MS, SECOND_MS};

const MINUTE_MS: i64 = 60 * SECOND_MS;

/// Outputs of one body that are kept as text. The biggest batches have hundreds alike.
const OUTPUTS_MAX: usize = 30;

/// What is the same of every output, or follows from where it stands, or is the item once more.
const LEFT_OUT: [&str; 7] = [
    "event_id",
    "revision",
    "received_time",
    "source_partition",
    "source_offset",
    "schema_version",
    "raw",
];

/// Compares with a file line by line, so that a failure names the first line that differs.
fn compare(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    for (at, (found, kept)) in found.lines().zip(kept.lines()).enumerate() {
        assert_eq!(found, kept, "{name}, line {}", at + 1);
    }
    assert_eq!(found.lines().count(), kept.lines().count(), "{name}");
}

/// One line: topic, key, and what of the value is not left out.
fn line(output: &Output) -> String {
    let value = output.value.as_deref().map_or(Value::Null, |value| {
        let mut value: Value = serde_json::from_slice(value).unwrap();
        LEFT_OUT.iter().for_each(|name| drop(value.as_object_mut().unwrap().remove(*name)));
        value
    });
    format!("{} {} {value}\n", output.topic.name(), output.key)
}

fn digest(text: &str) -> String {
    tickfold_core::hash::sha256_hex(text.as_bytes())[..16].to_owned()
}

#[test]
fn each_body_becomes_what_is_kept() {
    let mut text = String::new();
    for (name, body) in corpus() {
        let outputs = Folded::default().webhook(&body);
        text += &format!("# {name}\n");
        outputs.iter().take(OUTPUTS_MAX).for_each(|output| text += &line(output));
        if let Some(rest) = outputs.get(OUTPUTS_MAX..) {
            let lines: String = rest.iter().map(line).collect();
            text += &format!("and {} more: {}\n", rest.len(), digest(&lines));
        }
    }
    compare("corpus.txt", &text);
}

/// Every entity of a kind as it is in the end.
fn state<K, V>(name: &str, table: &Table<K, V>) -> String
where
    K: Debug + Eq + Hash + Clone,
    V: Debug + Clone + PartialEq,
{
    let mut lines: Vec<_> =
        table.changes().map(|(key, change)| format!("{key:?} {:?}\n", change.after)).collect();
    lines.sort();
    format!("{name} {} {}\n", lines.len(), digest(&lines.concat()))
}

fn states(folded: &Folded) -> String {
    let overlay = &folded.overlay;
    [
        state("messages", &overlay.messages),
        state("conversations", &overlay.conversations),
        state("templates", &overlay.templates),
        state("accounts", &overlay.accounts),
        state("numbers", &overlay.numbers),
        state("users", &overlay.users),
        state("calls", &overlay.calls),
        state("groups", &overlay.groups),
        state("payments", &overlay.payments),
        state("decided", &overlay.decided),
        state("totals", &overlay.totals),
        state("natural keys", &overlay.naturals),
    ]
    .concat()
}

fn told(what: &str, outputs: &[Output]) -> String {
    let lines: String = outputs.iter().map(line).collect();
    format!("{what} {} {}\n", outputs.len(), digest(&lines))
}

/// All bodies one after the other, a minute apart, and all of them again; then a year passes.
fn life(bodies: &[(String, Vec<u8>)]) -> String {
    let mut folded = Folded::default();
    let mut text = String::new();
    for round in ["first", "again"] {
        for (name, body) in bodies {
            let outputs = folded.advance(MINUTE_MS).webhook(body);
            text += &told(&format!("{round} {name}"), &outputs);
        }
        text += &states(&folded);
    }
    for later in [MINUTE_MS, HOUR_MS, DAY_MS, 8 * DAY_MS, 31 * DAY_MS, 91 * DAY_MS, 365 * DAY_MS] {
        let outputs = folded.advance(later).tick();
        text += &told(&format!("tick {later}"), &outputs);
        // What waits for the one before it.
        text += &told("tick", &folded.advance(MINUTE_MS).tick());
    }
    text += &states(&folded);
    text
}

#[test]
fn one_life_with_all_of_them_forwards_and_one_backwards_become_what_is_kept() {
    let mut bodies = corpus();
    let forwards = life(&bodies);
    // What Meta says in order of time comes late now.
    bodies.reverse();
    compare("life.txt", &(forwards + "# backwards\n" + &life(&bodies)));
}
