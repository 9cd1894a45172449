//! Rows of a state that takes the place of another: of the whole corpus, what is republished over a state
//! of its first part is exactly what the tables show differently, and over nothing it is the tables.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::corpus;
use tickfold_core::fold;
use tickfold_core::fold::{AsOf, Output, Partition, differing_rows};
use tickfold_core::overlay::{Nothing, Overlay};
use tickfold_core::raw::{RawRecord, WebhookHeaders};
use tickfold_core::records::Topic;
use tickfold_core::rules::Rules;
use tickfold_core::time::Timestamp;

const PARTITIONS: u32 = 4;
/// All of it comes at one moment, so that no row shows an earlier one.
const NOON: Timestamp = Timestamp::from_millis(1_795_132_800_000);
const FIRST: u32 = 1 << 31;

/// The last row of each key, without what says where it came from. A tombstone is none.
type Tables = BTreeMap<(Topic, String), Value>;

fn shown(row: &Output) -> Value {
    let Some(value) = &row.value else { return Value::Null };
    let mut value: Value = serde_json::from_slice(value).unwrap();
    for field in ["event_id", "revision", "source_offset", "received_time"] {
        value.as_object_mut().unwrap().remove(field);
    }
    value
}

fn show(tables: &mut Tables, row: &Output) {
    let place = (row.topic, row.key.clone());
    match &row.value {
        Some(_) => _ = tables.insert(place, shown(row)),
        None => _ = tables.remove(&place),
    }
}

/// Folds bodies, and keeps what the tables show.
fn folded(state: &mut Overlay, tables: &mut Tables, of: (Partition, u64), bodies: &[Vec<u8>]) {
    let (partition, first) = of;
    let headers = WebhookHeaders {
        signature: String::new(),
        received_time: NOON,
        app: "main".to_owned(),
        secret_id: "primary".to_owned(),
        request_id: "r".to_owned(),
        partition_count: PARTITIONS,
    }
    .encode();
    for (offset, body) in (first..).zip(bodies) {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let record = RawRecord { offset, appended: NOON, headers, value: Some(body.as_slice()) };
        let outputs = fold(state, &Nothing, partition, &record).unwrap();
        outputs.iter().filter(|row| row.topic.is_table()).for_each(|row| show(tables, row));
    }
}

/// Changes one state into the other, as tables would have it.
fn republished(
    partition: Partition,
    before: &Overlay,
    after: &Overlay,
    tables: &mut Tables,
) -> usize {
    let rules = Rules::built_in();
    let as_of = AsOf { partition, offset: 400, log_time: NOON, rules, first_ordinal: FIRST };
    let rows = differing_rows(&as_of, &mut before.clone(), &mut after.clone());
    for (ordinal, row) in (FIRST..).zip(&rows) {
        assert_eq!((row.offset, row.ordinal), (400, ordinal));
        let place = (row.topic, row.key.clone());
        let unchanged = tables.get(&place).unwrap_or(&Value::Null) == &shown(row);
        assert!(!unchanged, "{place:?} is published as it was");
        show(tables, row);
    }
    rows.len()
}

#[test]
fn what_is_republished_is_what_the_tables_show_differently() {
    let bodies: Vec<_> = corpus().into_iter().map(|(_, body)| body).collect();
    let (mut of_nothing, mut of_parts, mut topics) = (0, 0, std::collections::BTreeSet::new());
    for id in 0..PARTITIONS {
        let partition = Partition { id, count: PARTITIONS };
        let (mut state, mut tables) = (Overlay::default(), Tables::new());
        let mut parts = Vec::new();
        for (part, bodies) in bodies.chunks(100).enumerate() {
            folded(&mut state, &mut tables, (partition, part as u64 * 100), bodies);
            parts.push((state.clone(), tables.clone()));
        }
        topics.extend(tables.keys().map(|(topic, _)| *topic));
        let mut made = Tables::new();
        of_nothing += republished(partition, &Overlay::default(), &state, &mut made);
        assert_eq!(made, tables, "partition {id}, over nothing");
        assert_eq!(republished(partition, &state, &state, &mut made), 0);
        for (earlier, of_earlier) in &parts {
            let mut made = of_earlier.clone();
            of_parts += republished(partition, earlier, &state, &mut made);
            assert_eq!(made, tables, "partition {id}, forward");
            let mut made = tables.clone();
            republished(partition, &state, earlier, &mut made);
            assert_eq!(&made, of_earlier, "partition {id}, back");
        }
    }
    assert!(of_nothing > 150 && of_parts > 150, "{of_nothing}, {of_parts}: too thin");
    let tables = Topic::ALL.into_iter().filter(|topic| topic.is_table());
    assert_eq!(topics, tables.collect(), "every table has rows");
}
