//! Deterministic simulation: the production driver on a simulated Kafka, stores, clock and traffic.
//!
//! One [`Plan`] is one [`run`]: everything that happens follows from it, so it can be run again, made
//! smaller, and kept. A run has trouble for a while, then heals and has to come to rest within a
//! bounded time; meanwhile and afterwards it is audited. What is real: the driver with its options,
//! the fold, the store's port and its tables. What stands for something else: brokers and their
//! client, disks, ingress, Meta, the group's listener.
//!
//! Start with [`Plan`] (what a run is made of), `world` (who does what), `audit` (what must hold).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation that is wrong about its world should fail"
)]

mod audit;
mod broker;
mod bug;
mod client;
mod counts;
mod facts;
mod golden;
mod minimise;
mod plan;
mod rng;
mod traffic;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

pub use bug::{Planted, PortBug};
pub use minimise::minimise;
pub use plan::{Fault, Faults, Plan};

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What broke; `None` is a good run.
    pub broke: Option<String>,
    /// How often the dice fell for each fault, by its word.
    pub attempted: BTreeMap<&'static str, u64>,
    /// How often each fault had an effect, by its word, and whatever else need not happen happened.
    pub landed: BTreeMap<&'static str, u64>,
    /// Over everything that happened, in order.
    pub hash: u64,
    /// Steps taken.
    pub steps: u64,
    /// Outputs that were due.
    pub outputs: usize,
}

/// Runs a plan, and tells everything that happens when it does, so that also a run without an end can
/// be looked at. A panic of what is under test is a failure like any other.
pub fn run(plan: &Plan, bug: Option<Planted>, tell: Option<fn(&str)>) -> Outcome {
    let mut world = World::new(plan, bug, tell);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let broke = match ran {
        Ok(Ok(())) => None,
        Ok(Err(text)) => Some(text),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Some(format!("panicked: {}", text.unwrap_or("?")))
        }
    };
    Outcome {
        broke,
        attempted: world.counts().attempted.clone(),
        landed: world.counts().landed.clone(),
        hash: world.hash(),
        steps: world.steps(),
        outputs: world.outputs(),
    }
}
