//! `schemas/<topic>.json`: the JSON Schema (2020-12) of each derived topic's value, from the Rust
//! types that write it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::generated::Generated;

const OUT_DIR: &str = "schemas";

/// Generates one file per topic.
pub(crate) fn generate() -> anyhow::Result<Generated> {
    let mut files = BTreeMap::new();
    for (topic, schema) in tickfold_core::records::schemas() {
        let mut value = schema.to_value();
        // Another crate of the workspace may switch on serde_json's `preserve_order`, and the bytes
        // must not depend on which crates are built together.
        value.sort_all_objects();
        let mut json = serde_json::to_string_pretty(&value)?;
        json.push('\n');
        files.insert(Path::new(OUT_DIR).join(format!("{topic}.json")), json.into_bytes());
    }
    Ok(Generated { command: "cargo run -p xtask -- schemas", out_dir: OUT_DIR, files })
}
