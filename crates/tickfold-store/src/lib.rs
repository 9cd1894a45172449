//! The Store port: the folded state of one partition, with the cursor up to which it is folded.
//!
//! A store is derived from the raw log and may be lost; it must never be wrong. So it is written in
//! atomic batches that carry their cursor and a digest of the whole state, and only after the log
//! has committed the same records (`state ≤ emitted`).
//!
//! Every adapter passes the whole conformance suite (`conformance`, behind `test-util`). Adapters:
//! `mem`, and `rocks` (feature `rocks`, one RocksDB per partition).

mod batch;
mod census;
mod codec;
mod compare;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod differing;
mod digest;
mod error;
mod fields;
mod key;
pub mod mem;
#[cfg(feature = "rocks")]
pub mod metrics;
mod port;
#[cfg(feature = "rocks")]
pub mod rocks;
mod store;
mod tables;
mod upgrade;

pub use compare::{Compare, Compared, Difference, Sample, compare};
pub use differing::differing;
pub use error::Error;
pub use mem::MemStores;
pub use port::{
    Census, Checkpoint, MessageListItem, NextStore, PartitionStore, ReadView, RowKind, Snapshot,
    StateRow, StoreHead, Stores,
};
#[cfg(feature = "rocks")]
pub use rocks::{
    CheckpointDamage, CheckpointDir, CheckpointFound, CheckpointState, DamagedPart, RocksOptions,
    RocksStores, StoreGenerations, free_bytes,
};
