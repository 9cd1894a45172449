//! What a diagnosis asks of a cluster: whether an open transaction holds readers up, and whether a
//! commit is allowed, which is found out by making one that is aborted.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    topic_partition_list::{Offset as KafkaOffset, TopicPartitionList},
};

use super::{
    calls::apart,
    context::{self, Quiet},
    convert::{partition_id, unavailable},
    options::KafkaOptions,
    topics,
};
use crate::{Error, Offset, PartitionId, TopicPartition};

const THREAD: &str = "tickfold-kafka-probe";

/// A connection to a cluster that asks such questions.
pub struct KafkaProbe {
    options: KafkaOptions,
    /// Is told of stable ends.
    committed: Arc<BaseConsumer<Quiet>>,
    /// Is told of the ends behind everything.
    anything: Arc<BaseConsumer<Quiet>>,
}

/// The ends of a partition. Where they differ, a transaction is open, or was a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// The partition.
    pub of: TopicPartition,
    /// The offset up to which readers of committed records may read.
    pub stable: Offset,
    /// The offset behind the last record.
    pub end: Offset,
}

impl KafkaProbe {
    /// Prepares the connection; the first question makes it.
    pub fn new(options: KafkaOptions) -> Result<Self, Error> {
        let group = format!("{}-reader", options.client_id);
        let consumer = |config: rdkafka::ClientConfig| -> Result<BaseConsumer<Quiet>, Error> {
            let consumer = config.create_with_context(Quiet);
            consumer.map_err(|error| unavailable("start a consumer", &error))
        };
        let committed = Arc::new(consumer(options.group(&group))?);
        let anything = Arc::new(consumer(options.onlooker(&group))?);
        Ok(Self { options, committed, anything })
    }

    /// The ends of all partitions of the topics that exist. The stable ones are asked for first, so
    /// that records which come meanwhile seem open; whoever wants to be sure asks twice.
    pub async fn ends(&self, of: &[(String, PartitionId)]) -> Result<Vec<Ends>, Error> {
        let (committed, anything) = (Arc::clone(&self.committed), Arc::clone(&self.anything));
        let (of, timeout) = (of.to_vec(), self.options.call_timeout);
        let ask = move || {
            let stable = topics::bounds(&committed, &of, timeout)?;
            let all = topics::bounds(&anything, &of, timeout)?;
            let mut ends = Vec::new();
            for (topic, bounds) in &all {
                let stable = stable.get(topic).into_iter().flatten();
                for ((partition, stable), all) in (0..).zip(stable).zip(bounds) {
                    let of = TopicPartition::new(topic.clone(), partition);
                    ends.push(Ends { of, stable: stable.end, end: all.end });
                }
            }
            ends.sort_by(|a, b| a.of.cmp(&b.of));
            Ok(ends)
        };
        apart(THREAD, ask).await?
    }

    /// Does what a commit does, and aborts it: a tombstone into each of `outputs`, and the group's
    /// position on `input` as it is. Readers of committed records see none of it. The transactional
    /// id is `GROUP/doctor`, so no claim is fenced.
    pub async fn try_commit(
        &self,
        group: &str,
        input: &TopicPartition,
        outputs: &[TopicPartition],
    ) -> Result<(), Error> {
        let (options, group, input) = (self.options.clone(), group.to_owned(), input.clone());
        let outputs = outputs.to_vec();
        apart(THREAD, move || try_commit(&options, &group, &input, &outputs)).await?
    }
}

fn try_commit(
    options: &KafkaOptions,
    group: &str,
    input: &TopicPartition,
    outputs: &[TopicPartition],
) -> Result<(), Error> {
    let timeout = options.call_timeout;
    let options = KafkaOptions { transaction_timeout: timeout, ..options.clone() };
    let id = format!("{group}/doctor");
    let producer = options.committer(&id).create_with_context(Refusals::default());
    let producer: BaseProducer<Refusals> =
        producer.map_err(|error| unavailable("start a producer", &error))?;
    let failed = |what: &str, error: &KafkaError| unavailable(what, error);
    producer
        .init_transactions(timeout)
        .map_err(|error| failed(&format!("use transactional id {id}"), &error))?;
    producer.begin_transaction().map_err(|error| failed("begin a transaction", &error))?;
    let tried = commit(&producer, &options, group, input, outputs);
    let aborted = producer.abort_transaction(timeout);
    tried?;
    aborted.map_err(|error| failed("abort a transaction", &error))
}

fn commit(
    producer: &BaseProducer<Refusals>,
    options: &KafkaOptions,
    group: &str,
    input: &TopicPartition,
    outputs: &[TopicPartition],
) -> Result<(), Error> {
    let timeout = options.call_timeout;
    for output in outputs {
        let record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&output.topic)
            .partition(partition_id(output.partition))
            .key("tickfold-doctor");
        let sent = producer.send(record);
        sent.map_err(|(error, _)| unavailable(format!("write to {output}"), &error))?;
        // One at a time: what comes behind a refusal is given up with it, and would be blamed too.
        let flushed = producer.flush(timeout);
        if let Some(error) = producer.context().take() {
            return Err(unavailable(format!("write to {output}"), &error));
        }
        flushed.map_err(|error| unavailable(format!("write to {output}"), &error))?;
    }
    let failed = |error: KafkaError| unavailable(format!("commit for group {group}"), &error);
    let consumer: BaseConsumer<Quiet> =
        options.onlooker(group).create_with_context(Quiet).map_err(failed)?;
    let mut place = TopicPartitionList::with_capacity(1);
    place.add_partition(&input.topic, partition_id(input.partition));
    let position = consumer.committed_offsets(place, timeout).map_err(failed)?;
    for mut place in position.elements() {
        place.error().map_err(failed)?;
        if place.offset() == KafkaOffset::Invalid {
            place.set_offset(KafkaOffset::Offset(0)).map_err(failed)?;
        }
    }
    let member = consumer.group_metadata().ok_or(Error::Closed)?;
    producer.send_offsets_to_transaction(&position, &member, timeout).map_err(failed)
}

/// Keeps the first delivery that was refused.
#[derive(Debug, Default)]
struct Refusals(Mutex<Option<KafkaError>>);

impl Refusals {
    fn take(&self) -> Option<KafkaError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Refusals {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::trouble(&error, reason);
    }
}

impl ProducerContext for Refusals {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.clone());
        }
    }
}

impl std::fmt::Debug for KafkaProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaProbe").field("options", &self.options).finish_non_exhaustive()
    }
}
