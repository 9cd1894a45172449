//! Our reader of JSON beside serde_json's: both take the same texts, and read the same in them.

use serde::de::IgnoredAny;
use serde_json::Value;
use tickfold_core::json::{Document, Json, without_whitespace};

/// See the module's description.
pub fn check(bytes: &[u8]) {
    let document = Document::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(document.is_err(), "what is not UTF-8 is taken");
        return;
    };
    let grammar = serde_json::from_str::<IgnoredAny>(text);
    assert_eq!(document.is_ok(), grammar.is_ok(), "{grammar:?}");
    let Ok(document) = document else { return };
    let root = document.root();
    let dense = without_whitespace(root.raw());
    assert!(Document::parse(dense.as_bytes()).is_ok(), "without white space it is JSON no more");
    // It refuses deep nesting and lone surrogates, which are read all the same here.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        same(root, &value);
    }
}

fn same(json: Json<'_>, value: &Value) {
    match value {
        Value::Object(members) => {
            let object = json.object().expect("an object");
            for (name, value) in members {
                same(object.raw_member(name).expect("a member"), value);
            }
            assert!(object.names().all(|name| members.contains_key(&*name)), "a name too many");
        }
        Value::Array(elements) => {
            let found: Vec<_> = json.array().expect("an array").collect();
            assert_eq!(found.len(), elements.len());
            found.into_iter().zip(elements).for_each(|(json, value)| same(json, value));
        }
        Value::String(text) => {
            assert_eq!(json.text().unwrap_or_default(), text.as_str());
            assert_eq!(json.is_absent(), text.is_empty());
        }
        Value::Bool(value) => assert_eq!(json.boolean(), Some(*value)),
        Value::Null => assert!(json.is_absent()),
        Value::Number(_) => {
            assert_eq!(json.scalar_text().as_deref(), Some(json.raw()));
            assert_eq!(json.integer(), json.raw().parse().ok());
            let _ = (json.number(), json.id());
        }
    }
}
