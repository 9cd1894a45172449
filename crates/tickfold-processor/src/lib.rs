//! One task per raw partition: fold, exactly-once commit, restore.
//!
//! [`driver`] is the heart: a deterministic state machine that says what to do. `task` is the thin
//! shell that does it on the ports, and [`Processor`] runs one for each partition that the consumer
//! group assigns to this process, each on its own thread, since folding blocks. `group` passes on
//! what the group says, `keep` is a partition between two assignments. `monitor` looks at each from
//! outside: how far it lags, and whether it is stuck; `busy` how much of its time a partition works.
//! `swap` has one stand still, to take another store in the place of its own.
//! `recover` starts one partition once on a person's word, where an ordinary start is refused.
//!
//! It leaves to others: what a record does (`tickfold-core`), what is durable (`tickfold-log`), how
//! state is kept (`tickfold-store`).

mod bugs;
mod busy;
mod checkpoint;
mod clock;
pub mod driver;
mod group;
mod keep;
mod lag;
pub mod metrics;
mod monitor;
mod options;
mod outputs;
mod processor;
mod pulse;
mod recover;
mod selection;
mod status;
mod swap;
mod task;
mod tenure;
mod token;
mod watchdog;

#[cfg(feature = "planted-bugs")]
pub use bugs::Bug;
pub use checkpoint::{CheckpointError, Checkpoints, take_checkpoint};
pub use driver::{Driver, Folded, MutedError, MutedFold, raw_record};
pub use lag::{Lag, Lags};
pub use options::{Options, fail_point};
pub use outputs::{DerivedTopics, derived_topic, raw_topic, source_offset, topic_specs};
pub use processor::{Error, Processor, ensure_topics};
pub use recover::{Recovery, RecoveryError};
pub use selection::Selection;
pub use status::PartitionStatus;
pub use swap::{Standing, SwapError, Swaps, Takeover};
pub use token::{Address, AddressError, NotOurs, Token};
