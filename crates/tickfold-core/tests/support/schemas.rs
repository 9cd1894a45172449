//! Every record that is meant for a derived topic against the JSON Schema of that topic, by a
//! validator of somebody else's. Tests of other crates include this file too.
//!
//! Stricter than the committed schemas in one thing: a member they do not name is refused here.
//! Consumers must let it pass, since fields are added; the schemas of this commit know them all.

#![allow(clippy::panic, reason = "a record that does not fit fails the test that made it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};
use tickfold_core::records::Topic;

static VALIDATORS: LazyLock<BTreeMap<Topic, Validator>> =
    LazyLock::new(|| Topic::ALL.into_iter().map(|topic| (topic, validator(topic))).collect());

/// The committed schema of a topic.
pub(crate) fn schema(topic: Topic) -> Value {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let text = std::fs::read_to_string(dir.join(format!("{}.json", topic.name()))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What is wrong with the value of a record; a tombstone has none.
pub(crate) fn invalid(topic: Topic, value: &[u8]) -> Option<String> {
    let value: Value = match serde_json::from_slice(value) {
        Ok(value) => value,
        Err(error) => return Some(format!("{} is no JSON: {error}", topic.name())),
    };
    let errors = VALIDATORS[&topic].iter_errors(&value);
    let errors: Vec<_> =
        errors.map(|error| format!("{} at {:?}", error, error.instance_path().as_str())).collect();
    (!errors.is_empty()).then(|| format!("{}: {}: {value}", topic.name(), errors.join("; ")))
}

/// Panics with what is wrong with it.
pub(crate) fn assert_valid(topic: Topic, value: Option<&[u8]>) {
    if let Some(wrong) = value.and_then(|value| invalid(topic, value)) {
        panic!("a record that does not fit its schema: {wrong}");
    }
}

fn validator(topic: Topic) -> Validator {
    let mut schema = schema(topic);
    schema["additionalProperties"] = json!(false);
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    options.build(&schema).unwrap_or_else(|error| panic!("{}: {error}", topic.name()))
}
