//! The processor on the mem adapters: the start table row by row, the driver with the clock moved
//! by hand, seeded runs with crashes and faults, planted bugs of the start table, and the shell.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test that is wrong about its world should fail"
)]

mod bugs;
mod muted;
mod oracle;
mod pace;
mod reactions;
mod recover;
mod rng;
#[path = "../../../tickfold-core/tests/support/schemas.rs"]
mod schemas;
mod seeds;
mod start_table;
mod swap;
mod task;
mod topology;
mod unasked;
mod workload;
mod world;
