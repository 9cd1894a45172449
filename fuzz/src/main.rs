//! Fuzz targets for whatever comes from network, log and disk: no bytes may panic, and what each target
//! says has to hold. libFuzzer makes the bytes and keeps those that reach new code.
//!
//! `scripts/fuzz.sh` builds and runs them; `TICKFOLD_FUZZ` names the one of a process. Targets are in one
//! program, since building and linking takes longer than most runs.

#![no_main]

mod headers;
mod json;
mod planted;
mod rules;
mod texts;
mod webhook;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

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
        "planted" => planted::check,
        _ => panic!("TICKFOLD_FUZZ = {name:?} is no target"),
    }
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
