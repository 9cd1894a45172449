//! Seeded, signed webhook traffic as Meta would send it, and what must be true once it was
//! answered.
//!
//! Pure: no IO, no clock, no thread. The same seed gives the same bytes, so a run that failed can
//! be sent again. Time enters as data, the base time of [`Traffic`].
//!
//! Start with [`Spec`] (what traffic is made of), then [`Traffic`] (the webhooks, each with the
//! facts it asserts), then [`Expectation`] (what has to be visible of them). [`Bodies`] are for
//! benchmarks.

mod body;
mod error;
mod expectation;
mod fact;
mod fixed;
mod forgery;
mod ids;
mod rng;
mod spec;
mod traffic;

pub use error::Error;
pub use expectation::{
    Count, Expectation, ExpectedConversation, ExpectedMessage, ExpectedTemplate, Findings, Taken,
};
pub use fact::{Direction, Fact, Message, Number};
pub use fixed::Bodies;
pub use forgery::Forgery;
pub use spec::{BATCH_MAX, Spec};
pub use traffic::{Traffic, Webhook};
