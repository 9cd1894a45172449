//! Names, units and descriptions of the metrics of ingress, and the functions that record them.

use std::time::Duration;

use ::metrics::{
    Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Requests answered, by `outcome`.
pub const REQUESTS: &str = "tickfold_ingress_requests_total";
/// Time of an append.
pub const APPEND_SECONDS: &str = "tickfold_ingress_append_seconds";
/// Size of a body.
pub const BODY_BYTES: &str = "tickfold_ingress_body_bytes";
/// Bytes in flight.
pub const INFLIGHT_BYTES: &str = "tickfold_ingress_inflight_bytes";
/// Ticks appended.
pub const TICKS: &str = "tickfold_ingress_ticks_total";
/// Ticks that the log did not take.
pub const TICK_FAILURES: &str = "tickfold_ingress_tick_failures_total";
/// Refused signatures, by `app`.
pub const SIGNATURE_FAILURES: &str = "tickfold_ingress_signature_failures_total";
/// Verified signatures, by `app` and `secret_id`.
pub const SIGNATURE_MATCHES: &str = "tickfold_ingress_signature_matches_total";
/// Connections closed at once because of the cap.
pub const CONNECTIONS_REFUSED: &str = "tickfold_ingress_connections_refused_total";

/// Registers the descriptions with the installed recorder.
pub fn describe() {
    describe_counter!(
        REQUESTS,
        Unit::Count,
        "Requests answered by the public listener, by outcome. Broken HTTP is not among them."
    );
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time the log took to append one webhook to all its partitions, also after its 503."
    );
    describe_histogram!(BODY_BYTES, Unit::Bytes, "Size of bodies whose signature was right.");
    describe_gauge!(
        INFLIGHT_BYTES,
        Unit::Bytes,
        "Bodies in memory: being read, or on their way into the log."
    );
    describe_counter!(TICKS, Unit::Count, "Ticks appended to idle raw partitions.");
    describe_counter!(TICK_FAILURES, Unit::Count, "Ticks that the log did not take in time.");
    describe_counter!(
        SIGNATURE_FAILURES,
        Unit::Count,
        "Requests refused because their signature was missing, malformed or wrong, by app."
    );
    describe_counter!(
        SIGNATURE_MATCHES,
        Unit::Count,
        "Webhooks whose signature was right, by app and secret id. A secret whose count stands \
         still while another's rises is no longer in use."
    );
    describe_counter!(
        CONNECTIONS_REFUSED,
        Unit::Count,
        "Connections closed at once because the connection cap was reached."
    );
}

pub(crate) fn request(outcome: &'static str) {
    counter!(REQUESTS, "outcome" => outcome).increment(1);
}

pub(crate) fn append(elapsed: Duration) {
    histogram!(APPEND_SECONDS).record(elapsed.as_secs_f64());
}

pub(crate) fn body_bytes(bytes: usize) {
    histogram!(BODY_BYTES).record(exact(bytes));
}

pub(crate) fn inflight_bytes(bytes: usize) {
    gauge!(INFLIGHT_BYTES).set(exact(bytes));
}

pub(crate) fn ticks(appended: usize) {
    counter!(TICKS).increment(appended as u64);
}

pub(crate) fn tick_failures(missed: usize) {
    counter!(TICK_FAILURES).increment(missed as u64);
}

pub(crate) fn signature_failure(app: &str) {
    counter!(SIGNATURE_FAILURES, "app" => app.to_owned()).increment(1);
}

/// The counter of a secret, looked up once: it is counted for every webhook.
pub(crate) fn signature_matches(app: &str, secret_id: &str) -> Counter {
    let (app, secret_id) = (app.to_owned(), secret_id.to_owned());
    counter!(SIGNATURE_MATCHES, "app" => app, "secret_id" => secret_id)
}

pub(crate) fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

/// Sizes stay far below 2^53, so f64 holds them exactly.
fn exact(bytes: usize) -> f64 {
    bytes as f64
}
