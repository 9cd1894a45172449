//! The raw topic, filled as ingress fills it, and its producer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, ClientContext};
use tickfold_core::raw::WebhookHeaders;
use tickfold_core::route;
use tickfold_core::time::{HOUR_MS, Timestamp};
use tickfold_workload::{Spec, Traffic, Webhook};

use crate::{Outcome, PARTITIONS, programs};

const SECRET: &[u8] = b"bench-secret";
/// Many small accounts, so that the partitions are of one size; 200,000 conversations in all.
const ACCOUNTS: u32 = 1_000;
const PARTIES_PER_NUMBER: u32 = 200;
/// Events have times hours ahead of the log: none of the timers that they arm is due while it is
/// measured, since the other programs tell nothing of one.
const AHEAD_MS: i64 = 6 * HOUR_MS;

/// When each record that was answered for was handed to the producer, by partition and offset.
pub(crate) type Sent = HashMap<(i32, i64), Instant>;

/// The topic and what comes into it.
pub(crate) struct Raw {
    pub(crate) prefix: String,
    pub(crate) topic: String,
    /// Statuses it was filled with.
    pub(crate) events: usize,
    /// Records of each partition then.
    pub(crate) ends: Vec<i64>,
    traffic: Traffic,
    producer: ThreadedProducer<Reports>,
}

impl Raw {
    /// A new topic with so many statuses: 2 % of the bodies say nothing new, and a third of the
    /// messages have their statuses in any order.
    pub(crate) fn fill(brokers: &str, prefix: &str, round: usize, events: usize) -> Outcome<Self> {
        programs::create_topics(brokers, prefix)?;
        let spec = Spec {
            seed: u64::try_from(round)? + 1,
            wabas: ACCOUNTS,
            numbers_per_waba: 1,
            parties_per_number: PARTIES_PER_NUMBER,
            // Event time goes on as fast as the programs may fold.
            webhooks_per_second: 50_000,
            inbound: 0.0,
            templates: 0.0,
            batches: 0.0,
            ..Spec::default()
        };
        let traffic = Traffic::new(&spec, SECRET, now()?.plus(AHEAD_MS))?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("acks", "all").set("linger.ms", "0");
        config.set("enable.idempotence", "true").set("compression.type", "lz4");
        config.set("queue.buffering.max.messages", "100000");
        let producer = config.create_with_context(Reports::default())?;
        let topic = format!("{prefix}.webhook.raw.v1");
        let prefix = prefix.to_owned();
        let mut raw = Self { prefix, topic, events: 0, ends: Vec::new(), traffic, producer };
        while raw.events < events {
            raw.events += raw.send_next()?;
        }
        let sent = raw.sent()?;
        let end = |partition| sent.keys().filter(|(of, _)| *of == partition).count();
        for partition in 0..i32::try_from(PARTITIONS)? {
            raw.ends.push(i64::try_from(end(partition))?);
        }
        Ok(raw)
    }

    /// Hands the next body to the producer, for each partition that it names, and says how many
    /// statuses it has.
    pub(crate) fn send_next(&mut self) -> Outcome<usize> {
        let webhook = self.traffic.next().ok_or("the traffic has ended")?;
        self.send(&webhook)?;
        Ok(webhook.facts.len())
    }

    fn send(&self, webhook: &Webhook) -> Outcome<()> {
        let headers = WebhookHeaders {
            signature: webhook.signature.clone().ok_or("not signed")?,
            received_time: now()?,
            app: "main".to_owned(),
            secret_id: "primary".to_owned(),
            request_id: "0".repeat(32),
            partition_count: PARTITIONS,
        };
        let headers =
            headers.encode().into_iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value.as_bytes()) })
            });
        for to in route(&webhook.body, PARTITIONS) {
            let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(Instant::now()))
                .partition(i32::try_from(to.partition)?)
                .headers(headers.clone())
                .key(to.key.as_slice())
                .payload(&webhook.body[..]);
            while let Err((error, back)) = self.producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                thread::sleep(Duration::from_millis(1));
                record = back;
            }
        }
        Ok(())
    }

    /// Waits until everything is in the topic, and says where since the last call.
    pub(crate) fn sent(&self) -> Outcome<Sent> {
        self.producer.flush(Timeout::Never)?;
        let mut reports = self.producer.context().lock();
        match reports.failed.take() {
            Some(error) => Err(error.into()),
            None => Ok(std::mem::take(&mut reports.sent)),
        }
    }
}

/// Takes what the broker says of each record.
#[derive(Debug, Clone, Default)]
struct Reports(Arc<Mutex<Reported>>);

#[derive(Debug, Default)]
struct Reported {
    sent: Sent,
    failed: Option<KafkaError>,
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Reported> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Instant>) {
        let mut reported = self.lock();
        match result {
            Ok(message) => _ = reported.sent.insert((message.partition(), message.offset()), *sent),
            Err((error, _)) => reported.failed = Some(error.clone()),
        }
    }
}

fn now() -> Outcome<Timestamp> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Timestamp::from_millis(i64::try_from(since.as_millis())?))
}
