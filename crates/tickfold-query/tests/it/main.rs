//! The server over real sockets with the generated clients, on stores and a log in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod admin;
mod callers;
mod explain;
mod find;
mod limits;
mod lookups;
mod mirror;
mod mirror_watch;
mod paging;
mod peers;
mod personal;
mod positions;
mod reasons;
mod serving;
mod standing;
mod tenants;
mod told;
mod users;
mod watch;
mod web;
mod world;
