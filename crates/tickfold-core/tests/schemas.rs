//! Every record of the corpus fits the schema of its topic, and is flat: scalars only, what is
//! absent left out.

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

use serde_json::Value;
use support::Folded;
use tickfold_core::records::Topic;

fn schema(topic: Topic) -> Value {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let text = std::fs::read_to_string(dir.join(format!("{}.json", topic.name()))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The JSON types that a member may have, by the schema.
fn types(member: &Value) -> Vec<&str> {
    match &member["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap()).collect(),
        _ => panic!("a member without a type: {member}"),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[test]
fn every_record_of_the_corpus_fits_its_schema() {
    let schemas: BTreeMap<Topic, Value> =
        Topic::ALL.into_iter().map(|topic| (topic, schema(topic))).collect();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus");
    let mut bodies: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    bodies.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    bodies.sort();
    // All in one partition, so that what one body does to the rows of another is seen too.
    let mut folded = Folded::default();
    for body in &bodies {
        folded.webhook(&std::fs::read(body).unwrap());
    }
    let mut seen: BTreeMap<Topic, BTreeSet<String>> = BTreeMap::new();
    for output in folded.outputs.iter().filter(|output| output.value.is_some()) {
        let value: Value = serde_json::from_slice(output.value.as_ref().unwrap()).unwrap();
        let schema = &schemas[&output.topic];
        for name in schema["required"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            assert!(value.get(name).is_some(), "{} lacks {name}: {value}", output.topic.name());
        }
        for (name, member) in value.as_object().unwrap() {
            let allowed = &schema["properties"][name];
            let (of, topic) = (type_of(member), output.topic.name());
            assert!(!allowed.is_null(), "{topic} has an unknown member {name}");
            assert!(!["null", "array", "object"].contains(&of), "{topic} {name} is {of}");
            let fits =
                types(allowed).iter().any(|one| *one == of || (*one, of) == ("number", "integer"));
            assert!(fits, "{topic} {name} is {of}");
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
