//! The answers of ingress, proven from outside: `run` on a real socket, raw bytes in, and a log in
//! memory that fails as it is told. `table` walks every cause of an answer (`failures`, `requests`),
//! `fuzz` sends mutated requests (`mutations`), `forgeries` sends forged signatures.
//!
//! `TICKFOLD_SOAK=1` sends ten times as many; `TICKFOLD_SEED=n` sends what that seed makes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test: whatever is unexpected fails it"
)]

mod failures;
mod forgeries;
mod fuzz;
mod mutations;
mod random;
mod requests;
mod server;
mod table;
mod wire;

/// Every status that ever leaves ingress. The table shows each, the other tests see no other.
const STATUSES: [u16; 9] = [200, 400, 401, 403, 404, 405, 413, 415, 503];

fn soak() -> bool {
    std::env::var("TICKFOLD_SOAK").is_ok_and(|soak| soak == "1")
}

/// Adds a row to the table of a soak, if this is one.
fn append_to_soak_table(name: &str, attempted: usize, landed: usize, lost: usize, twice: usize) {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") else { return };
    let mut table = std::fs::File::options().append(true).create(true).open(path).unwrap();
    writeln!(table, "| {name} | {attempted} | {landed} | {lost} | {twice} |").unwrap();
}
