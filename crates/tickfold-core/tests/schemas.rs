//! Every record of the corpus fits the schema of its topic, and is flat: scalars only, what is
//! absent left out. And records that are broken do not fit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use support::Folded;
use support::schemas::{invalid, schema};
use tickfold_core::records::Topic;

/// A record of each topic that the corpus leads to.
fn samples() -> BTreeMap<Topic, Value> {
    let mut folded = Folded::default();
    for body in corpus() {
        folded.webhook(&body);
    }
    let values = folded.outputs.iter().filter_map(|output| {
        Some((output.topic, serde_json::from_slice(output.value.as_ref()?).unwrap()))
    });
    values.collect()
}

/// Bodies of the corpus, in order of name.
fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus");
    let mut bodies: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    bodies.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    bodies.sort();
    bodies.iter().map(|body| std::fs::read(body).unwrap()).collect()
}

/// The null control of every test that folds: records that are broken in one way are refused.
#[test]
fn a_record_that_is_broken_in_any_way_does_not_fit() {
    let samples = samples();
    let wrong = |topic: Topic, change: &dyn Fn(&mut Value)| {
        let mut value = samples[&topic].clone();
        change(&mut value);
        invalid(topic, value.to_string().as_bytes()).unwrap_or_default()
    };
    for topic in Topic::ALL {
        assert_eq!(wrong(topic, &|_| ()), "", "{}", topic.name());
        for (what, change) in BROKEN {
            let told = wrong(topic, &change);
            assert!(told.contains(what), "{} {what}: {told:?}", topic.name());
        }
        assert!(invalid(topic, b"{").unwrap().contains("no JSON"));
    }
}

/// A way to break a record, and the word by which it is told.
type Broken = (&'static str, fn(&mut Value));

const BROKEN: [Broken; 8] = [
    ("\"event_id\" is a required property", |value| {
        _ = value.as_object_mut().unwrap().remove("event_id")
    }),
    ("at \"/event_id\"", |value| value["event_id"] = json!(7)),
    ("at \"/revision\"", |value| value["revision"] = json!("7")),
    ("at \"/revision\"", |value| value["revision"] = json!(-1)),
    ("is not a \"date-time\"", |value| value["event_time"] = json!("2026-11-20 00:00:00")),
    ("at \"/received_time\"", |value| value["received_time"] = Value::Null),
    ("'added' was unexpected", |value| value["added"] = json!(1)),
    ("at \"\"", |value| *value = json!([])),
];

#[test]
fn every_record_of_the_corpus_fits_its_schema() {
    let schemas: BTreeMap<Topic, Value> =
        Topic::ALL.into_iter().map(|topic| (topic, schema(topic))).collect();
    // All in one partition, so that what one body does to the rows of another is seen too; each
    // output is compared with its schema where it is folded.
    let mut folded = Folded::default();
    for body in corpus() {
        folded.webhook(&body);
    }
    let mut seen: BTreeMap<Topic, BTreeSet<String>> = BTreeMap::new();
    for output in folded.outputs.iter().filter(|output| output.value.is_some()) {
        let value: Value = serde_json::from_slice(output.value.as_ref().unwrap()).unwrap();
        for (name, member) in value.as_object().unwrap() {
            // No schema could say so of members that are added later.
            let is_scalar = member.is_string() || member.is_number() || member.is_boolean();
            assert!(is_scalar, "{} {name} is {member}", output.topic.name());
            seen.entry(output.topic).or_default().insert(name.clone());
        }
    }
    // A member that no body of the corpus fills is tested nowhere: name it here or fill it.
    for topic in Topic::ALL {
        let all: BTreeSet<_> =
            schemas[&topic]["properties"].as_object().unwrap().keys().cloned().collect();
        let never: Vec<_> = all.difference(&seen[&topic]).collect();
        println!(
            "{}: {} of {} members seen, never {never:?}",
            topic.name(),
            seen[&topic].len(),
            all.len()
        );
    }
    let members: usize = seen.values().map(BTreeSet::len).sum();
    assert!(members > 150, "{members}");
}
