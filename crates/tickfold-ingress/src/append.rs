//! The way into the raw topic: builds the records of a webhook and appends them under a deadline.
//!
//! An append runs in a task of its own, so neither the deadline nor a client that went away cuts
//! it half-way. After the deadline it may still succeed; the webhook was answered 503 then, Meta
//! sends it again, and the duplicate folds to nothing. The port would also allow dropping the
//! future, but then the budget would forget bytes that the log still holds.

use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::raw::WebhookHeaders;
use tickfold_core::route::route;
use tickfold_log::{Append, Header, Headers, Log, TopicPartition};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::answer::Cause;
use crate::budget::Reservation;
use crate::metrics;
use crate::status::IngressStatus;
use crate::throttle::Throttle;
use crate::ticks::Activity;

/// The raw topic, and how appends to it went.
#[derive(Debug)]
pub(crate) struct RawTopic {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) name: String,
    pub(crate) partition_count: u32,
    pub(crate) activity: Arc<Activity>,
    pub(crate) status: IngressStatus,
    /// Appends under way, also those whose request was answered.
    pub(crate) appends: TaskTracker,
    pub(crate) failures: Throttle,
}

impl RawTopic {
    /// Appends a body once to each partition it names. `Ok` only when all of them are durable.
    pub(crate) async fn append(
        &self,
        headers: &WebhookHeaders,
        body: Bytes,
        reservation: Reservation,
        deadline: Instant,
    ) -> Result<(), Cause> {
        let records = records(&self.name, headers, &body);
        let partitions: Vec<u32> = records.iter().map(|record| record.to.partition).collect();
        let (log, activity) = (Arc::clone(&self.log), Arc::clone(&self.activity));
        let append = self.appends.spawn(async move {
            let started = Instant::now();
            let appended = log.append(records).await;
            metrics::append(started.elapsed());
            if appended.is_ok() {
                partitions.iter().for_each(|&partition| activity.written(partition));
            }
            drop(reservation);
            appended
        });
        let (cause, reason) = match timeout_at(deadline, append).await {
            Ok(Ok(Ok(_))) => {
                self.status.set_log_failing(false);
                return Ok(());
            }
            Ok(Ok(Err(error))) => (Cause::LogFailed, error.to_string()),
            Ok(Err(_)) => (Cause::LogFailed, "the append panicked".to_owned()),
            Err(_) => (Cause::LogSlow, "no answer before the deadline".to_owned()),
        };
        self.status.set_log_failing(true);
        if let Some(count) = self.failures.pass() {
            let request_id = headers.request_id.as_str();
            warn!(request_id, count, reason, "append of a webhook failed, answered 503");
        }
        Err(cause)
    }
}

/// The raw records of a webhook whose signature was verified: one for each partition it names.
pub(crate) fn records(raw_topic: &str, headers: &WebhookHeaders, body: &Bytes) -> Vec<Append> {
    let destinations = route(body, headers.partition_count);
    let headers = encode(headers.encode());
    let record = |to, key| Append {
        to: TopicPartition::new(raw_topic, to),
        key: Some(Bytes::from(key)),
        value: Some(body.clone()),
        headers: headers.clone(),
        // The raw topic keeps the log's own append time: log time is made of it.
        timestamp_ms: None,
    };
    destinations.into_iter().map(|to| record(to.partition, to.key)).collect()
}

/// Headers of a raw record as the log takes them.
pub(crate) fn encode(headers: Vec<(&'static str, String)>) -> Headers {
    let header =
        |(name, value): (&str, String)| Header { name: name.to_owned(), value: Bytes::from(value) };
    headers.into_iter().map(header).collect()
}
