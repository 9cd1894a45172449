//! Fuzz targets for whatever comes from network, log and disk: no bytes may panic, and what each target
//! says has to hold. libFuzzer makes the bytes and keeps those that reach new code.
//!
//! `scripts/fuzz.sh` builds and runs them; `TICKFOLD_FUZZ` names the one of a process. Targets are in one
//! program, since building and linking takes longer than most runs.
//!
//! What is private in its crate is compiled here a second time, from the same file: no crate opens a door for
//! it, and neither the query server nor RocksDB is built. A file that comes to need more of its crate breaks
//! this build.

#![no_main]

mod config;
mod embedded;
mod headers;
mod json;
mod planted;
mod query;
#[path = "../../crates/tickfold-query/src/reasons.rs"]
#[allow(dead_code, reason = "of the crate it is from")]
mod reasons;
mod rules;
mod texts;
mod watch;
mod webhook;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
// As the sources of tickfold-log name them.
use tickfold_log::{
    Append, Committed, Header, Offset, PartitionId, Record, TopicPartition, TopicSpec,
};

/// Takes bytes, and panics if something does not hold.
type Target = fn(&[u8]);

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("TICKFOLD_FUZZ").unwrap_or_default();
    match name.as_str() {
        "webhook" => webhook::check,
        "headers" => headers::check,
        "json" => json::check,
        "rules" => rules::check,
        "texts" => texts::check,
        "filter" => query::check_filter,
        "pages" => query::check_page,
        "watch" => watch::check,
        "config" => config::check,
        "embedded" => embedded::check,
        "planted" => planted::check,
        _ => panic!("TICKFOLD_FUZZ = {name:?} is no target"),
    }
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
