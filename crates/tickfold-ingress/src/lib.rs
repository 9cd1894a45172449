//! The public HTTP listener: verification handshake, signature, durable append, ticks.
//!
//! It answers 200 to a webhook only after the log holds its exact bytes, and never refuses a body
//! whose signature is right for what it contains. Of the body it knows only what
//! [`tickfold_core::route()`] reads, after the signature held. It keeps no state but what its metrics
//! need, and it answers within its deadline whatever the log does.
//!
//! Start with [`run`]; the table of answers is in `answer`, the order of checks in `handler`.
//! A connection passes `listener` (accept), `places` (cap), `tls`, `gate` (heads) and `connection`
//! (deadlines, end).

mod answer;
mod append;
mod appender;
mod apps;
mod body;
mod budget;
mod client_name;
mod connection;
mod course;
mod error;
mod gate;
mod handler;
mod head;
mod lanes;
mod listener;
pub mod metrics;
mod options;
mod peers;
mod places;
mod positions;
mod quarantine;
mod redelivery;
mod rest;
mod served;
mod server;
mod signature;
mod status;
#[cfg(test)]
mod tests;
mod throttle;
mod ticks;
mod tls;

pub use apps::{App, DEFAULT_APP, Secret, VerifyToken};
pub use error::Error;
pub use options::IngressOptions;
pub use quarantine::{Accepted, Discarded, Quarantine, QuarantineParts};
pub use served::{AppStatus, Apps, Replaced, SecretStatus};
pub use server::{Parts, run};
pub use status::{IngressStatus, Readiness};
pub use ticks::tick;
pub use tls::{Tls, TlsPem};

/// Where ingress takes the time of day from.
pub type Clock = fn() -> tickfold_core::time::Timestamp;
