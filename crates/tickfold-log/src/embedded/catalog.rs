//! What the embedded log knows of itself: topics, partition bounds, group positions.
//!
//! Loaded from RocksDB on open, then kept by the writer. Loading checks the first and the last
//! record of each partition; the ones between are checked when they are read.

use std::collections::BTreeMap;

use rocksdb::{DB, Direction, IteratorMode};

use super::{
    layout::{self, TopicId, Unreadable},
    mark::MarkedTopic,
};
use crate::{Bounds, Committed, Error, Offset, PartitionId, TopicInfo, TopicPartition, TopicSpec};

/// Topics by name, group positions by group and input.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: BTreeMap<(String, TopicPartition), Committed>,
}

#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) spec: TopicSpec,
    pub(super) partitions: Vec<Partition>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Partition {
    pub(super) bounds: Bounds,
    /// The last append time the log itself gave; 0 if the last record has another or was trimmed
    /// before this log was opened. Later ones do not fall below it.
    pub(super) log_time_ms: i64,
}

impl Topic {
    pub(super) fn new(id: TopicId, spec: &TopicSpec) -> Self {
        let partitions = (0..spec.partitions).map(|_| Partition::default()).collect();
        Self { id, spec: spec.clone(), partitions }
    }

    pub(super) fn info(&self) -> TopicInfo {
        let bounds = self.partitions.iter().map(|p| p.bounds).collect();
        TopicInfo { spec: self.spec.clone(), bounds }
    }
}

impl Catalog {
    pub(super) fn load(db: &DB) -> Result<Self, Error> {
        let mut catalog = Self::default();
        let mut names = BTreeMap::new();
        for entry in scan(db, layout::TOPIC) {
            let (key, value) = entry.map_err(|error| read_failed("the topic table", &error))?;
            let id = layout::parse_topic_key(&key).ok_or(Unreadable("key of a topic"));
            let topic = id.and_then(|id| Ok((id, layout::decode_topic(&key, &value)?)));
            let (id, spec) = topic.map_err(|why| damaged("the topic table", why, None))?;
            let mut topic = Topic::new(id, &spec);
            for (partition, state) in (0..).zip(&mut topic.partitions) {
                *state = load_partition(db, id, &TopicPartition::new(&*spec.name, partition))?;
            }
            names.insert(id, spec.name.clone());
            catalog.topics.insert(spec.name, topic);
        }
        for entry in scan(db, layout::GROUP) {
            let (key, value) = entry.map_err(|error| read_failed("group positions", &error))?;
            let group = layout::parse_group_key(&key).and_then(|(id, partition, group)| {
                Some((group, TopicPartition::new(names.get(&id)?.as_str(), partition)))
            });
            let group = group.ok_or(Unreadable("key of a group position"));
            let group = group.and_then(|g| Ok((g, layout::decode_committed(&key, &value)?)));
            let (group, committed) = group.map_err(|why| damaged("group positions", why, None))?;
            catalog.groups.insert(group, committed);
        }
        Ok(catalog)
    }

    pub(super) fn marked(&self) -> BTreeMap<TopicId, MarkedTopic> {
        marked(self.topics.values())
    }

    pub(super) fn end_of(&self, partition: &TopicPartition) -> Offset {
        let topic = self.topics.get(&*partition.topic);
        let partition = topic.and_then(|t| t.partitions.get(partition.partition as usize));
        partition.map_or(0, |p| p.bounds.end)
    }
}

/// What the mark keeps of the topics.
pub(super) fn marked<'a>(
    topics: impl Iterator<Item = &'a Topic>,
) -> BTreeMap<TopicId, MarkedTopic> {
    let marked = |topic: &Topic| {
        let ends = topic.partitions.iter().map(|p| p.bounds.end).collect();
        (topic.id, MarkedTopic { name: topic.spec.name.clone(), ends })
    };
    topics.map(marked).collect()
}

type KeyValue = (Box<[u8]>, Box<[u8]>);

/// All entries under a prefix.
fn scan(db: &DB, prefix: u8) -> impl Iterator<Item = Result<KeyValue, rocksdb::Error>> {
    let from = [prefix];
    let entries = db.iterator(IteratorMode::From(&from, Direction::Forward));
    entries.take_while(move |entry| {
        entry.as_ref().map_or(true, |(key, _)| key.first() == Some(&prefix))
    })
}

/// The start of a partition as the database has it, which is where the first record is.
pub(super) fn load_start(db: &DB, id: TopicId, partition: PartitionId) -> Result<Offset, Error> {
    let key = layout::start_key(id, partition);
    let start = db.get(&key).map_err(|error| read_failed("a start offset", &error))?;
    let start = start.map(|value| layout::decode_start(&key, &value)).transpose();
    Ok(start.map_err(|why| damaged("a start offset", why, None))?.unwrap_or(0))
}

fn load_partition(db: &DB, id: TopicId, of: &TopicPartition) -> Result<Partition, Error> {
    let number: PartitionId = of.partition;
    let start = load_start(db, id, number)?;
    let bounds = Bounds { start, end: start };
    let mut partition = Partition { bounds, log_time_ms: 0 };
    let highest = layout::record_key(id, number, Offset::MAX);
    let mut entries = db.raw_iterator();
    entries.seek_for_prev(&highest);
    entries.status().map_err(|error| with_position(of, start, &error))?;
    let Some((key, value)) = entries.item() else { return Ok(partition) };
    let Some(last) = layout::parse_record_key(key, id, number) else { return Ok(partition) };
    let (record, set_by_log) = layout::decode_record(key, last, value)
        .map_err(|why| damaged("the last record", why, Some((of.clone(), last))))?;
    partition.bounds.end = start.max(last.saturating_add(1));
    partition.log_time_ms = if set_by_log { record.timestamp_ms } else { 0 };

    let first = layout::record_key(id, number, start);
    entries.seek(&first);
    entries.status().map_err(|error| with_position(of, start, &error))?;
    let found = entries.key().and_then(|key| layout::parse_record_key(key, id, number));
    if start < partition.bounds.end && found != Some(start) {
        let why = Unreadable("it is missing");
        return Err(damaged("the first record", why, Some((of.clone(), start))));
    }
    Ok(partition)
}

pub(super) fn damaged(
    what: &str,
    why: Unreadable,
    first_lost: Option<(TopicPartition, Offset)>,
) -> Error {
    Error::Damaged { reason: format!("cannot read {what}: {}", why.0), first_lost }
}

/// Damage if RocksDB says so; otherwise a failure that may pass.
pub(super) fn read_failed(what: &str, error: &rocksdb::Error) -> Error {
    let reason = format!("cannot read {what}: {error}");
    if error.kind() == rocksdb::ErrorKind::Corruption {
        return Error::Damaged { reason, first_lost: None };
    }
    Error::Unavailable { reason }
}

/// The same with the position at which reading stopped.
pub(super) fn with_position(at: &TopicPartition, offset: Offset, error: &rocksdb::Error) -> Error {
    match read_failed("records", error) {
        Error::Damaged { reason, .. } => {
            Error::Damaged { reason, first_lost: Some((at.clone(), offset)) }
        }
        other => other,
    }
}
