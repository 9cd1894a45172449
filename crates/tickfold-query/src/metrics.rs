//! Names and descriptions of this crate's metrics, and the functions that record them.

use std::time::Duration;

use ::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
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
/// Reads of the log by watches that are behind.
pub const WATCH_LOG_READS: &str = "tickfold_query_watch_log_reads_total";
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
    describe_counter!(
        WATCH_LOG_READS,
        Unit::Count,
        "Reads of the log by watches that are behind what is kept in memory."
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

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(());

/// Counts a tail stream as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenTail(());

impl OpenConnection {
    pub(crate) fn new() -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}

impl OpenTail {
    pub(crate) fn new() -> Self {
        gauge!(TAIL_STREAMS).increment(1.0);
        Self(())
    }
}

impl Drop for OpenTail {
    fn drop(&mut self) {
        gauge!(TAIL_STREAMS).decrement(1.0);
    }
}

/// Counts a watch as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenWatch(&'static str);

impl OpenWatch {
    pub(crate) fn new(method: &'static str) -> Self {
        gauge!(WATCHES, "method" => method).increment(1.0);
        Self(method)
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        gauge!(WATCHES, "method" => self.0).decrement(1.0);
    }
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

pub(crate) fn watch_log_read() {
    counter!(WATCH_LOG_READS).increment(1);
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
