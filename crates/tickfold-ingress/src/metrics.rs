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
/// Connections open.
pub const CONNECTIONS: &str = "tickfold_ingress_connections";
/// Connections closed at once because of the cap.
pub const CONNECTIONS_REFUSED: &str = "tickfold_ingress_connections_refused_total";
/// Connections that ended otherwise than after an answer, by `reason`.
pub const CONNECTIONS_CUT: &str = "tickfold_ingress_connections_cut_total";
/// Failures to accept a connection.
pub const ACCEPT_FAILURES: &str = "tickfold_ingress_accept_failures_total";
/// Failed TLS handshakes, by `reason`.
pub const TLS_HANDSHAKE_FAILURES: &str = "tickfold_ingress_tls_handshake_failures_total";
/// Webhooks of unknown signature that were kept.
pub const QUARANTINED: &str = "tickfold_ingress_quarantined_total";
/// Webhooks of unknown signature that were not kept, by `reason`.
pub const QUARANTINE_DROPPED: &str = "tickfold_ingress_quarantine_dropped_total";
/// Webhooks moved from the quarantine into the raw topic.
pub const QUARANTINE_ACCEPTED: &str = "tickfold_ingress_quarantine_accepted_total";
/// Webhooks deleted from the quarantine.
pub const QUARANTINE_DISCARDED: &str = "tickfold_ingress_quarantine_discarded_total";
/// Bytes in the quarantine.
pub const QUARANTINE_BYTES: &str = "tickfold_ingress_quarantine_bytes";

/// Registers the descriptions with the installed recorder.
pub fn describe() {
    describe_counter!(
        REQUESTS,
        Unit::Count,
        "Requests answered by the public listener, by outcome; broken_http is what was no request."
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
    describe_gauge!(
        CONNECTIONS,
        Unit::Count,
        "Connections that hold a place under the connection cap."
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
        "Connections closed at once because the cap was reached and none could make room."
    );
    describe_counter!(
        CONNECTIONS_CUT,
        Unit::Count,
        "Connections that ended otherwise than after an answer, by reason."
    );
    describe_counter!(
        ACCEPT_FAILURES,
        Unit::Count,
        "Connections that the system did not hand over, for want of descriptors most often."
    );
    describe_counter!(
        TLS_HANDSHAKE_FAILURES,
        Unit::Count,
        "TLS handshakes that failed, by reason."
    );
    describe_counter!(
        QUARANTINED,
        Unit::Count,
        "Webhooks of unknown signature kept in the quarantine, repeats included."
    );
    describe_counter!(
        QUARANTINE_DROPPED,
        Unit::Count,
        "Webhooks of unknown signature not kept, by reason: full, busy, or log_failed."
    );
    describe_counter!(
        QUARANTINE_ACCEPTED,
        Unit::Count,
        "Webhooks moved from the quarantine into the raw topic, their signature being verified."
    );
    describe_counter!(QUARANTINE_DISCARDED, Unit::Count, "Webhooks deleted from the quarantine.");
    describe_gauge!(
        QUARANTINE_BYTES,
        Unit::Bytes,
        "Records in the quarantine or on their way there; it is full at quarantine_bytes_max."
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

/// Adds to the number of open connections.
pub(crate) fn connections(change: f64) {
    gauge!(CONNECTIONS).increment(change);
}

pub(crate) fn connection_cut(reason: &'static str) {
    counter!(CONNECTIONS_CUT, "reason" => reason).increment(1);
}

pub(crate) fn accept_failure() {
    counter!(ACCEPT_FAILURES).increment(1);
}

pub(crate) fn handshake_failure(reason: &'static str) {
    counter!(TLS_HANDSHAKE_FAILURES, "reason" => reason).increment(1);
}

pub(crate) fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

pub(crate) fn quarantined() {
    counter!(QUARANTINED).increment(1);
}

pub(crate) fn quarantine_dropped(reason: &'static str) {
    counter!(QUARANTINE_DROPPED, "reason" => reason).increment(1);
}

pub(crate) fn quarantine_accepted(webhooks: u64) {
    counter!(QUARANTINE_ACCEPTED).increment(webhooks);
}

pub(crate) fn quarantine_discarded(webhooks: u64) {
    counter!(QUARANTINE_DISCARDED).increment(webhooks);
}

pub(crate) fn quarantine_bytes(bytes: usize) {
    gauge!(QUARANTINE_BYTES).set(exact(bytes));
}

/// Sizes stay far below 2^53, so f64 holds them exactly.
fn exact(bytes: usize) -> f64 {
    bytes as f64
}
