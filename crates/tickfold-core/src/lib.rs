//! The heart of tickfold: routing, tolerant decoding, and the pure fold.
//!
//! No IO, no clock, no randomness, no async, no logging: time enters as data, effects leave as
//! data. The same raw records give the same bytes, on any machine and in any batching.
//!
//! Start with [`route()`] (where a body goes), then [`fold()`] (what a record does), then [`state`]
//! (what is kept), then [`rules`] (what is to be done about it).

#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
pub mod charge;
mod decode;
pub mod event_time;
pub mod fold;
pub mod hash;
pub mod ids;
pub mod json;
pub mod mention;
pub mod overlay;
#[cfg(feature = "planted-bugs")]
pub mod planted;
#[cfg(not(feature = "planted-bugs"))]
mod planted;
pub mod raw;
pub mod records;
pub mod route;
pub mod rules;
pub mod signature;
pub mod state;
pub mod time;

pub use decode::count_items;
pub use fold::{FOLD_VERSION, Partition, fold, fold_muted};
pub use overlay::{Overlay, Source};
pub use route::route;
