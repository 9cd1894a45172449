//! Names and descriptions of this crate's metrics, and the functions that record them.

use std::time::Duration;

use ::metrics::{
    Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tonic::Code;

use crate::Reason;

/// Calls answered, by `method` and `code`.
pub const REQUESTS: &str = "tickfold_query_requests_total";
/// Time of a unary call, by `method`.
pub const REQUEST_SECONDS: &str = "tickfold_query_request_seconds";
/// Lookups of one thing by where they were answered from, `outcome`: `memory` or `disk`.
pub const LOOKUPS: &str = "tickfold_query_lookups_total";
/// Connections open.
pub const CONNECTIONS: &str = "tickfold_query_connections";
/// Lookups running.
pub const RUNNING: &str = "tickfold_query_running_requests";
/// Tail streams open.
pub const TAIL_STREAMS: &str = "tickfold_query_tail_streams";
/// Watches open, by `method`.
pub const WATCHES: &str = "tickfold_query_watch_streams";
/// Responses of watches but marks, by `method`.
pub const WATCH_ITEMS: &str = "tickfold_query_watch_items_total";
/// Time from an append to the record in a watch.
pub const WATCH_DELAY_SECONDS: &str = "tickfold_query_watch_delay_seconds";
/// Changes that watches of states did not tell by themselves.
pub const WATCH_CONFLATED: &str = "tickfold_query_watch_conflated_total";
/// Lookups of watches running.
pub const WATCH_LOOKUPS: &str = "tickfold_query_watch_lookups";
/// Reads of the log by watches that are behind.
pub const WATCH_LOG_READS: &str = "tickfold_query_watch_log_reads_total";
/// Watches that read the log at this moment.
pub const WATCH_LOG_READERS: &str = "tickfold_query_watch_log_readers";
/// Calls that other nodes answered for this one, by `method` and `code`.
pub const FORWARDS: &str = "tickfold_query_forwards_total";
/// Times that another node was not reached.
pub const UNREACHABLE: &str = "tickfold_query_unreachable_total";
/// Calls refused, and streams ended, for who the caller is, by `reason`.
pub const REFUSALS: &str = "tickfold_query_refusals_total";
/// Connections that failed or left out the handshake in TLS.
pub const HANDSHAKES_FAILED: &str = "tickfold_query_handshakes_failed_total";
/// Connections that said nothing in time.
pub const CONNECTIONS_CUT: &str = "tickfold_query_connections_cut_total";
/// Calls answered in part from a store that this node has of an earlier time.
pub const FALLBACKS: &str = "tickfold_query_fallbacks_total";

/// Registers the descriptions with the installed recorder.
pub fn describe() {
    describe_counter!(
        REQUESTS,
        Unit::Count,
        "Calls ended, by method and gRPC code. Broken HTTP and undecodable requests are not counted."
    );
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time from the decoded request to the reply, waiting for min_position included, by method."
    );
    describe_counter!(
        LOOKUPS,
        Unit::Count,
        "Lookups of one thing, by where they were answered from: memory, or the threads that may wait for the disk. Many from the disk ask for a greater store.block_cache_bytes."
    );
    describe_gauge!(
        CONNECTIONS,
        Unit::Count,
        "Connections that hold a place under query.connections_max."
    );
    describe_gauge!(RUNNING, Unit::Count, "Calls running that are no streams.");
    describe_gauge!(TAIL_STREAMS, Unit::Count, "Tail streams open.");
    describe_gauge!(WATCHES, Unit::Count, "Watches open, by method.");
    describe_counter!(
        WATCH_ITEMS,
        Unit::Count,
        "States and records that watches told, by method. Marks are not counted."
    );
    describe_histogram!(
        WATCH_DELAY_SECONDS,
        Unit::Seconds,
        "Time from the append of a webhook to its transition, action or alert in a watch. Of one that comes from far it is how far that is."
    );
    describe_counter!(
        WATCH_CONFLATED,
        Unit::Count,
        "Changes that a watch of states did not tell by themselves, since a newer one was there when it could."
    );
    describe_gauge!(
        WATCH_LOOKUPS,
        Unit::Count,
        "Lookups running for watches. At 64 further ones wait for their turn."
    );
    describe_counter!(
        WATCH_LOG_READS,
        Unit::Count,
        "Reads of the log by watches that are behind what is kept in memory."
    );
    describe_gauge!(
        WATCH_LOG_READERS,
        Unit::Count,
        "Watches that read the log at this moment, being behind what is kept in memory. At 8 further ones wait for their turn."
    );
    describe_counter!(
        FORWARDS,
        Unit::Count,
        "Calls that other nodes answered for this one, by method and gRPC code."
    );
    describe_counter!(
        UNREACHABLE,
        Unit::Count,
        "Times that the owner of a partition was not reached."
    );
    describe_counter!(
        REFUSALS,
        Unit::Count,
        "Calls refused before a service saw them, and streams ended, for who their caller is, by reason."
    );
    describe_counter!(
        HANDSHAKES_FAILED,
        Unit::Count,
        "Connections to the gRPC listener whose handshake in TLS failed, or did not end in time."
    );
    describe_counter!(
        CONNECTIONS_CUT,
        Unit::Count,
        "Connections to the gRPC listener that were cut since their client did not begin to speak."
    );
    describe_counter!(
        FALLBACKS,
        Unit::Count,
        "Calls answered in part from a store of a partition that this node does not have any more."
    );
}

pub(crate) fn request(method: &'static str, code: Code, elapsed: Option<Duration>) {
    counter!(REQUESTS, "method" => method, "code" => code_word(code)).increment(1);
    if let Some(elapsed) = elapsed {
        histogram!(REQUEST_SECONDS, "method" => method).record(elapsed.as_secs_f64());
    }
}

pub(crate) fn lookup(outcome: &'static str) {
    counter!(LOOKUPS, "outcome" => outcome).increment(1);
}

pub(crate) fn forward(method: &'static str, code: Code) {
    counter!(FORWARDS, "method" => method, "code" => code_word(code)).increment(1);
}

pub(crate) fn unreachable() {
    counter!(UNREACHABLE).increment(1);
}

pub(crate) fn refused(reason: Reason) {
    counter!(REFUSALS, "reason" => reason.as_str()).increment(1);
}

pub(crate) fn handshake_failed() {
    counter!(HANDSHAKES_FAILED).increment(1);
}

pub(crate) fn connection_cut() {
    counter!(CONNECTIONS_CUT).increment(1);
}

pub(crate) fn fallback() {
    counter!(FALLBACKS).increment(1);
}

/// One more in a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    fn more(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A connection that is open.
pub(crate) fn connection() -> Counted {
    Counted::more(gauge!(CONNECTIONS))
}

/// A tail stream that is open.
pub(crate) fn tail() -> Counted {
    Counted::more(gauge!(TAIL_STREAMS))
}

/// A watch that is open.
pub(crate) fn watch(method: &'static str) -> Counted {
    Counted::more(gauge!(WATCHES, "method" => method))
}

/// A lookup of a watch that is running.
pub(crate) fn watch_lookup() -> Counted {
    Counted::more(gauge!(WATCH_LOOKUPS))
}

/// A watch that reads the log.
pub(crate) fn watch_reader() -> Counted {
    counter!(WATCH_LOG_READS).increment(1);
    Counted::more(gauge!(WATCH_LOG_READERS))
}

/// So many more calls are running.
pub(crate) fn running(more: f64) {
    gauge!(RUNNING).increment(more);
}

pub(crate) fn watch_item(method: &'static str, delay_ms: Option<i64>) {
    counter!(WATCH_ITEMS, "method" => method).increment(1);
    if let Some(delay_ms) = delay_ms {
        let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
        histogram!(WATCH_DELAY_SECONDS).record(delay.as_secs_f64());
    }
}

pub(crate) fn watch_conflated(changes: u64) {
    counter!(WATCH_CONFLATED).increment(changes);
}

pub(crate) fn code_word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
