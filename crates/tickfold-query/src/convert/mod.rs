//! Domain to proto, in one place: what is told of an entity, and what a view leaves out.

mod message;
mod party;
mod standing;

use tickfold_core::time::Timestamp;

pub(crate) use message::{actions, alerts, charge, mention, message, transition};
pub(crate) use party::{conversation, user};
pub(crate) use standing::{Shown, account, number, template, total};

/// A time, to the millisecond.
pub(crate) fn time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = split_ms(time.as_millis());
    prost_types::Timestamp { seconds, nanos }
}

/// A duration that is not negative.
pub(crate) fn duration_ms(ms: i64) -> prost_types::Duration {
    let (seconds, nanos) = split_ms(ms);
    prost_types::Duration { seconds, nanos }
}

fn split_ms(ms: i64) -> (i64, i32) {
    let nanos = ms.rem_euclid(1_000) * 1_000_000;
    (ms.div_euclid(1_000), i32::try_from(nanos).unwrap_or(0))
}

fn maybe(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(time)
}

fn text<T: ToString>(id: Option<&T>) -> String {
    id.map(ToString::to_string).unwrap_or_default()
}

fn word(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}
