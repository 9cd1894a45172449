//! The outputs of tickfold and a peer, side by side: as many records in each topic, and the same.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tickfold_core::records::Topic;

use crate::programs::Program;
use crate::raw::Raw;
use crate::{Outcome, PARTITIONS};

const CALL: Duration = Duration::from_secs(10);

/// The raw record of an output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Origin {
    /// By the header `ce_id`, which both programs write.
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Outcome<Self> {
        let id = message.headers().and_then(|headers| headers.iter().find(|h| h.key == "ce_id"));
        let id = std::str::from_utf8(id.and_then(|id| id.value).ok_or("an output without ce_id")?)?;
        let mut parts = id.split('-');
        let mut next = || parts.next().ok_or("a ce_id of another form");
        Ok(Self { partition: next()?.parse()?, offset: next()?.parse()? })
    }
}

/// A consumer that is told what to read and sees only what is committed.
pub(crate) fn reader(brokers: &str) -> Outcome<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "bench-reader");
    config.set("isolation.level", "read_committed").set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "error").set("enable.partition.eof", "true");
    Ok(config.create()?)
}

/// What a topic holds that follows from the records the raw topic was filled with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Content {
    records: u64,
    bytes: u64,
    /// A sum of hashes of partition, key, value and headers.
    sum: u64,
}

/// Prints both, and fails if a topic of one has other records than that of the other.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
pub(crate) fn compare(brokers: &str, raw: &Raw, peer: Program) -> Outcome<()> {
    let of = |program: Program| contents(brokers, raw, &program.prefix(raw));
    let (ours, theirs) = (of(Program::Tickfold)?, of(peer)?);
    println!("      outputs: tickfold, {}, the same", peer.name());
    for (topic, mine) in &ours {
        let other = theirs.get(topic).copied().unwrap_or_default();
        if mine.records + other.records > 0 {
            let same = if *mine == other { "byte for byte" } else { "no" };
            let (records, others) = (mine.records, other.records);
            println!(
                "      {topic:22} {records:9} {others:9} records {:11} {:11} bytes  {same}",
                mine.bytes, other.bytes
            );
        }
    }
    if ours == theirs { Ok(()) } else { Err("the outputs differ".into()) }
}

fn contents(brokers: &str, raw: &Raw, prefix: &str) -> Outcome<BTreeMap<&'static str, Content>> {
    let mut contents = BTreeMap::new();
    for topic in Topic::ALL.map(Topic::name) {
        contents.insert(topic, content(brokers, raw, &format!("{prefix}.{topic}"))?);
    }
    Ok(contents)
}

fn content(brokers: &str, raw: &Raw, topic: &str) -> Outcome<Content> {
    let consumer = reader(brokers)?;
    let mut places = TopicPartitionList::new();
    for partition in 0..i32::try_from(PARTITIONS)? {
        places.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let (mut content, mut open) = (Content::default(), PARTITIONS);
    while open > 0 {
        let message = match consumer.poll(CALL) {
            Some(Ok(message)) => message,
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => {
                open -= 1;
                continue;
            }
            Some(Err(error)) => return Err(error.into()),
            None => return Err(format!("{topic} cannot be read").into()),
        };
        let origin = Origin::of(&message)?;
        let end = usize::try_from(origin.partition).ok().and_then(|at| raw.ends.get(at));
        if end.is_some_and(|end| origin.offset < *end) {
            content.add(&message);
        }
    }
    Ok(content)
}

impl Content {
    fn add(&mut self, message: &BorrowedMessage<'_>) {
        let mut hasher = DefaultHasher::new();
        (message.partition(), message.key(), message.payload()).hash(&mut hasher);
        message.timestamp().to_millis().hash(&mut hasher);
        for header in message.headers().iter().flat_map(|headers| headers.iter()) {
            (header.key, header.value).hash(&mut hasher);
        }
        self.records += 1;
        let length = message.payload_len() + message.key_len();
        self.bytes += u64::try_from(length).unwrap_or(u64::MAX);
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}
