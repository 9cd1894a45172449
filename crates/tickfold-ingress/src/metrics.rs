//! Names, units and descriptions of the metrics of ingress, and the functions that record them.

use std::time::Duration;

use ::metrics::{
    Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tickfold_core::time::Timestamp;

use crate::redelivery::{HORIZON, Report};

/// Lanes whose last append failed.
pub(crate) const LANES_FAILING: &str = "tickfold_ingress_failing_lanes";
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
/// Requests with a signature that were answered so that Meta does not repeat them, by `outcome`.
pub const SIGNED_REFUSED: &str = "tickfold_ingress_signed_requests_refused_total";
/// Verified signatures, by `app` and `secret_id`.
pub const SIGNATURE_MATCHES: &str = "tickfold_ingress_signature_matches_total";
/// Connections open.
pub const CONNECTIONS: &str = "tickfold_ingress_connections";
/// Appends of the log, of all webhooks and ticks of a batch at once.
pub const APPENDS: &str = "tickfold_ingress_appends_total";
/// Webhooks and ticks in these appends.
pub const APPENDED: &str = "tickfold_ingress_append_entries_total";
/// Webhooks and ticks whose request ended before the log got them.
pub const ABANDONED: &str = "tickfold_ingress_append_entries_abandoned_total";
/// Age of the newest event of a body at its arrival.
pub const EVENT_AGE_SECONDS: &str = "tickfold_ingress_event_age_seconds";
const CLOCK_BEHIND_SECONDS: &str = "tickfold_ingress_clock_behind_seconds";
/// Bodies that were here before, by how they were answered `before`.
pub const REDELIVERED: &str = "tickfold_ingress_redelivered_bodies_total";
/// Share of bodies of the last minute that were here before.
pub const REDELIVERED_RATIO: &str = "tickfold_ingress_redelivered_ratio";
/// Refused webhooks that were not accepted yet.
pub const REFUSALS: &str = "tickfold_ingress_outstanding_refusals";
/// Age of the oldest refusal of a webhook that was not accepted yet.
pub const OLDEST_REFUSAL_SECONDS: &str = "tickfold_ingress_oldest_refusal_seconds";
/// Time until Meta gives it up.
pub const OLDEST_REFUSAL_REMAINING_SECONDS: &str =
    "tickfold_ingress_oldest_refusal_remaining_seconds";
/// Refused webhooks that Meta gave up.
pub const REFUSALS_EXPIRED: &str = "tickfold_ingress_refusals_expired_total";
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
        "Time from the handing over of a webhook until the log had appended it to all its partitions \
         or failed to, waiting for its batch included; counted also after a 503."
    );
    describe_histogram!(BODY_BYTES, Unit::Bytes, "Size of bodies whose signature was right.");
    describe_gauge!(
        INFLIGHT_BYTES,
        Unit::Bytes,
        "Bodies in memory: being read, or on their way into the log."
    );
    describe_counter!(
        APPENDS,
        Unit::Count,
        "Appends of the log, each of a whole batch, also failed ones. Entries by appends is the mean \
         size of a batch."
    );
    describe_counter!(APPENDED, Unit::Count, "Webhooks and rounds of ticks in these appends.");
    describe_counter!(
        ABANDONED,
        Unit::Count,
        "Webhooks and rounds of ticks dropped because their request ended, by its deadline or its \
         client, before the log was ready for them. Meta sends such a webhook again."
    );
    describe_histogram!(
        EVENT_AGE_SECONDS,
        Unit::Seconds,
        "Time from the newest of Meta's timestamps in a body until it was received, for bodies whose \
         signature was right and that have one. Rises when Meta delivers late or again."
    );
    describe_gauge!(
        CLOCK_BEHIND_SECONDS,
        Unit::Seconds,
        "How far the newest of Meta's timestamps in the last such body was ahead of this machine's clock; 0 \
         if it was not. Beyond a second or two this clock is wrong."
    );
    describe_counter!(
        REDELIVERED,
        Unit::Count,
        "Bodies whose signature was right and that were here before, by how they were answered \
         before: accepted (of the last 65536; Meta did not get or not take the 200) or refused (503; \
         this is the retry one hopes for)."
    );
    describe_gauge!(
        REDELIVERED_RATIO,
        "Share of the well-signed bodies of the last minute that were here before, 0 to 1. Normal is \
         below 0.01. Above 0.1 for five minutes without an outage before it is a retry storm: answers \
         do not reach Meta in time."
    );
    describe_gauge!(
        REFUSALS,
        Unit::Count,
        "Webhooks answered 503 and not accepted since, at most 65536. Those refused before their body \
         was read have unverified signatures, so anybody can add to them."
    );
    describe_gauge!(
        OLDEST_REFUSAL_SECONDS,
        Unit::Seconds,
        "Age of the first 503 to the oldest of them, 0 if there is none. Known to this process only."
    );
    describe_gauge!(
        OLDEST_REFUSAL_REMAINING_SECONDS,
        Unit::Seconds,
        "Time until Meta gives that one up, by the shortest horizon that Meta documents, 36 hours; \
         all of it if there is none. Other pages of Meta say 7 days."
    );
    describe_counter!(
        REFUSALS_EXPIRED,
        Unit::Count,
        "Webhooks answered 503 and not accepted within 36 hours: given up by Meta, or never its own."
    );
    describe_counter!(TICKS, Unit::Count, "Ticks appended to idle raw partitions.");
    describe_counter!(TICK_FAILURES, Unit::Count, "Ticks that the log did not take in time.");
    describe_counter!(
        SIGNATURE_FAILURES,
        Unit::Count,
        "Requests refused because their signature was missing, malformed or wrong, by app."
    );
    describe_counter!(
        SIGNED_REFUSED,
        Unit::Count,
        "Requests that carried a signature header, as Meta's do, and were answered 4xx other than 401, by \
         outcome: a peer that may not, a wrong path or method, a Content-Encoding, a body too large or \
         cut. What was in them is lost if the cause stays."
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
        LANES_FAILING,
        Unit::Count,
        "Ways into the raw topic whose last append failed or missed its deadline: one per partition on \
         Kafka, one in all on the embedded log."
    );
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

pub(crate) fn appended(entries: usize) {
    counter!(APPENDS).increment(1);
    counter!(APPENDED).increment(entries as u64);
}

pub(crate) fn abandoned() {
    counter!(ABANDONED).increment(1);
}

pub(crate) fn body_bytes(bytes: usize) {
    histogram!(BODY_BYTES).record(exact(bytes as u64));
}

/// Clocks differ a little, so an event may seem to come before it happened; its age is 0 then.
pub(crate) fn event_age(received: Timestamp, event: Timestamp) {
    let between = |earlier: Timestamp, later: Timestamp| {
        let ms = later.as_millis().saturating_sub(earlier.as_millis());
        Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
    };
    histogram!(EVENT_AGE_SECONDS).record(between(event, received));
    gauge!(CLOCK_BEHIND_SECONDS).set(between(received, event));
}

pub(crate) fn redelivered(before: &'static str) {
    counter!(REDELIVERED, "before" => before).increment(1);
}

pub(crate) fn redelivery(report: Report) {
    gauge!(REDELIVERED_RATIO).set(report.redelivered_ratio);
    gauge!(REFUSALS).set(exact(report.refusals as u64));
    gauge!(OLDEST_REFUSAL_SECONDS).set(report.oldest_refusal.as_secs_f64());
    let remaining = HORIZON.saturating_sub(report.oldest_refusal);
    gauge!(OLDEST_REFUSAL_REMAINING_SECONDS).set(remaining.as_secs_f64());
}

pub(crate) fn refusals_expired(count: u64) {
    counter!(REFUSALS_EXPIRED).increment(count);
}

pub(crate) fn inflight_bytes(bytes: usize) {
    gauge!(INFLIGHT_BYTES).set(exact(bytes as u64));
}

pub(crate) fn lanes_failing(lanes: usize) {
    gauge!(LANES_FAILING).set(exact(lanes as u64));
}

pub(crate) fn ticks(appended: usize) {
    counter!(TICKS).increment(appended as u64);
}

pub(crate) fn tick_failures(missed: usize) {
    counter!(TICK_FAILURES).increment(missed as u64);
}

/// The counter of an app, which is there from the start: that it is 0 says something too.
pub(crate) fn signature_failures(app: &str) -> Counter {
    counter!(SIGNATURE_FAILURES, "app" => app.to_owned())
}

pub(crate) fn signed_refused(outcome: &'static str) {
    counter!(SIGNED_REFUSED, "outcome" => outcome).increment(1);
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
    gauge!(QUARANTINE_BYTES).set(exact(bytes as u64));
}

/// Sizes and counts stay far below 2^53, so f64 holds them exactly.
pub(crate) fn exact(count: u64) -> f64 {
    count as f64
}
