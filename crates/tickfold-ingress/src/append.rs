//! The way into the raw topic: builds the records of a webhook and waits, under a deadline, until
//! they are durable.
//!
//! Where a webhook goes ([`destinations`](RawTopic::destinations)) is found apart from appending
//! it, since for large bodies that is work for another thread. After the deadline an append may
//! still succeed; the webhook was answered 503 then, Meta sends it again, and the duplicate folds
//! to nothing.

use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::raw::WebhookHeaders;
use tickfold_core::route::{Destination, route};
use tickfold_log::{Append, Header, Headers, TopicPartition};
use tokio::time::Instant;
use tracing::warn;

use crate::answer::Cause;
use crate::budget::Reservation;
use crate::lanes::{Lanes, NotAppended};
use crate::positions::Positions;
use crate::throttle::Throttle;
use crate::ticks::Activity;

/// The raw topic, and how appends to it went.
#[derive(Debug)]
pub(crate) struct RawTopic {
    pub(crate) name: String,
    pub(crate) partition_count: u32,
    pub(crate) lanes: Lanes,
    pub(crate) activity: Arc<Activity>,
    pub(crate) failures: Throttle,
}

impl RawTopic {
    /// The partitions that a body names, each once. Reads the whole body.
    pub(crate) fn destinations(&self, body: &[u8]) -> Vec<Destination> {
        route(body, self.partition_count)
    }

    /// Appends a body once to each destination. `Ok` only when all of them are durable, with where they
    /// are.
    pub(crate) async fn append(
        &self,
        headers: &WebhookHeaders,
        destinations: Vec<Destination>,
        body: &Bytes,
        reservation: Reservation,
        deadline: Instant,
    ) -> Result<Positions, Cause> {
        let records = records(&self.name, headers, destinations, body);
        let appended = self.lanes.append(records, Some(reservation), deadline).await;
        let NotAppended { late, reason } = match appended {
            Ok(positions) => return Ok(positions),
            Err(not) => not,
        };
        let cause = if late { Cause::LogSlow } else { Cause::LogFailed };
        if let Some(count) = self.failures.pass() {
            let (request_id, reason) = (headers.request_id.as_str(), &*reason);
            warn!(request_id, count, reason, "append of a webhook failed, answered 503");
        }
        Err(cause)
    }
}

/// The raw records of a webhook whose signature was verified: one for each destination.
pub(crate) fn records(
    raw_topic: &str,
    headers: &WebhookHeaders,
    destinations: Vec<Destination>,
    body: &Bytes,
) -> Vec<Append> {
    let headers = encode(headers.encode());
    let record = |to: Destination| Append {
        to: TopicPartition::new(raw_topic, to.partition),
        key: Some(Bytes::from(to.key)),
        value: Some(body.clone()),
        headers: headers.clone(),
        // The raw topic keeps the log's own append time: log time is made of it.
        timestamp_ms: None,
    };
    destinations.into_iter().map(record).collect()
}

/// Headers of a raw record as the log takes them.
pub(crate) fn encode(headers: Vec<(&'static str, String)>) -> Headers {
    let header = |(name, value): (&'static str, String)| Header {
        name: name.into(),
        value: Bytes::from(value),
    };
    headers.into_iter().map(header).collect()
}
