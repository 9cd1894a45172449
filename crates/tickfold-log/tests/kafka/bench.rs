//! A log on a test broker, a topic of its own, and Kafka's own clients beside it.

use std::{
    fs::File,
    io::Write,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig,
    admin::AdminClient,
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer},
    util::Timeout,
};
use tickfold_log::{
    Append, Committed, KafkaLog, KafkaOptions, Log, Offset, Record, TopicPartition, TopicSpec,
};

use crate::broker;

/// Options for a test broker, which is alone.
pub(crate) fn options(brokers: impl Into<String>) -> KafkaOptions {
    KafkaOptions { replication_factor: 1, min_insync_replicas: 1, ..KafkaOptions::new(brokers) }
}

/// A name no other run uses on the same broker.
pub(crate) fn unique(name: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{name}-{:x}", since.as_nanos())
}

/// Appends a row to the table of a soak, if this is one.
pub(crate) fn soak_row(what: &str, attempted: u64, landed: u64, lost: u64, twice: u64) {
    println!("| {what} | {attempted} | {landed} | {lost} | {twice} |");
    let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") else { return };
    let mut table = File::options().append(true).create(true).open(path).unwrap();
    writeln!(table, "| {what} | {attempted} | {landed} | {lost} | {twice} |").unwrap();
}

pub(crate) fn stream(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, compacted: false }
}

pub(crate) fn position(offset: Offset, metadata: &str) -> Committed {
    Committed { offset, metadata: metadata.to_owned() }
}

pub(crate) fn append(to: &TopicPartition, value: &str) -> Append {
    let value = Some(Bytes::from(value.to_owned()));
    Append { to: to.clone(), key: None, value, headers: vec![], timestamp_ms: None }
}

/// Kafka's own administration, for topics as others make them.
pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker::shared()).create().unwrap()
}

/// A log with a topic of two partitions.
pub(crate) struct Bench {
    pub(crate) log: Arc<KafkaLog>,
    pub(crate) brokers: String,
    pub(crate) topic: String,
}

impl Bench {
    pub(crate) async fn new(brokers: String, name: &str) -> Self {
        let topic = unique(name);
        let log = KafkaLog::connect(options(&brokers)).unwrap();
        log.ensure_topics(&[stream(&topic, 2)]).await.unwrap();
        Self { log, brokers, topic }
    }

    pub(crate) fn at(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), partition)
    }

    pub(crate) async fn all(&self, partition: u32) -> Vec<Record> {
        all(&*self.log, &self.at(partition)).await
    }

    pub(crate) async fn values(&self, partition: u32) -> Vec<String> {
        values(&self.all(partition).await)
    }

    /// Kafka's own producer, with the transactional id an owner of this partition has.
    pub(crate) fn foreign_owner(&self, group: &str, partition: u32) -> BaseProducer {
        let id = format!("{group}/{}/{partition}", self.topic);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("transactional.id", id)
            .create()
            .unwrap();
        producer.init_transactions(Timeout::Never).unwrap();
        producer
    }

    /// Opens a transaction and has the broker acknowledge the values in it.
    pub(crate) fn begin(&self, producer: &BaseProducer, partition: u32, values: &[&str]) {
        producer.begin_transaction().unwrap();
        let partition = i32::try_from(partition).unwrap();
        for value in values {
            let record = BaseRecord::<(), str>::to(&self.topic).partition(partition);
            producer.send(record.payload(value)).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Timeout::Never).unwrap();
    }
}

pub(crate) async fn all(log: &dyn Log, at: &TopicPartition) -> Vec<Record> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let read = log.read(at, next, 1_000, 1 << 20).await.unwrap();
        let Some(last) = read.last() else { return all };
        next = last.offset + 1;
        all.extend(read);
    }
}

pub(crate) fn values(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
    records.iter().map(text).collect()
}
