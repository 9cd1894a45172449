//! End-to-end tests: the real binary on port 0, over real sockets, against the golden fold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod admin;
mod answers;
mod browser;
mod callers;
mod checkpoints;
mod cli;
mod console;
mod corpus;
mod crash;
mod dead_letters;
mod demo;
mod docs;
mod doctor;
mod documented_clients;
mod fallback_worker;
mod faults;
mod flows;
mod flows_charges;
mod flows_conversations;
mod flows_crash;
mod flows_messages;
mod flows_outage;
mod grpc_clients;
mod grpcurl;
mod kafka;
mod kafka_broker;
mod kafka_clients;
mod kafka_crash;
mod kafka_operations;
mod kafka_restart;
mod kafka_roles;
mod kafka_run;
mod kafka_state;
mod kafka_zombie;
mod latency;
mod load;
mod log_scan;
mod logs;
mod metrics;
mod oracle;
mod orders;
mod overload;
mod panics;
mod poison;
mod questions;
mod reasons;
mod recover;
mod reload_under_load;
mod replay;
mod replay_rate;
mod replay_swap;
mod replay_then;
mod restart;
mod rules;
mod run_script;
#[path = "../../../tickfold-core/tests/support/schemas.rs"]
mod schemas;
mod secrets;
mod standing;
mod stops;
mod support;
mod support_crash;
mod topics;
mod verify;
mod watch;
mod watch_kafka;
mod watch_states;
mod watch_support;
