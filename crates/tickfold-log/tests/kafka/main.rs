//! The kafka adapter on a real broker: the conformance suite, in plain and over TLS with SCRAM, and
//! what is particular to Kafka.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test: whatever is unexpected fails it"
)]

mod bench;
mod broker;
mod conformance;
mod crash;
mod figures;
mod groups;
mod in_doubt;
mod lost;
mod proxy;
mod read_ahead;
mod security;
mod topics;
mod transactions;
