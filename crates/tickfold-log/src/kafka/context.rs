//! What librdkafka's clients tell besides answers: their log lines and troubles.
//!
//! They retry by themselves, and a call that does not get through says so to its caller, who logs
//! it; so nothing here is an error a person must act on.

use rdkafka::{
    ClientContext, config::RDKafkaLogLevel, consumer::ConsumerContext, error::KafkaError,
};

/// The context of every client that needs no delivery reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        trouble(&error, reason);
    }
}

impl ConsumerContext for Quiet {}

/// A log line of librdkafka.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "kafka client"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(facility, message, "kafka client");
        }
    }
}

/// A trouble of a client as a whole: a broker that is away, a name that is refused. The log line of
/// the same cause says it once; this says it again and again.
pub(super) fn trouble(error: &KafkaError, reason: &str) {
    tracing::debug!(%error, reason, "kafka client in trouble");
}
