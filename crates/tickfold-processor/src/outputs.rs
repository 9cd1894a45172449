//! From effects of the fold to records for the derived topics, and back from a derived record to
//! the raw offset it came from.

use std::collections::BTreeMap;

use bytes::Bytes;
use tickfold_core::fold::Output;
use tickfold_core::records::{RAW_TOPIC, Topic};
use tickfold_log::{Append, Header, Offset, PartitionId, Record, TopicPartition, TopicSpec};

/// Header that names the raw record of an output: `partition-offset-ordinal`.
const EVENT_ID: &str = "ce_id";

/// The derived topics of one raw partition under their full names. A derived partition has the
/// index of the raw partition, so all topics of one account join without repartitioning.
#[derive(Debug, Clone)]
pub struct DerivedTopics {
    places: BTreeMap<Topic, TopicPartition>,
}

/// Full name of the raw topic.
pub fn raw_topic(prefix: &str) -> String {
    format!("{prefix}.{RAW_TOPIC}")
}

/// Full name of a derived topic.
pub fn derived_topic(prefix: &str, topic: Topic) -> String {
    format!("{prefix}.{}", topic.name())
}

/// All topics, raw first, as they are to be created.
pub fn topic_specs(prefix: &str, partitions: PartitionId) -> Vec<TopicSpec> {
    let raw = TopicSpec { name: raw_topic(prefix), partitions, compacted: false };
    let derived = Topic::ALL.into_iter().map(|topic| TopicSpec {
        name: derived_topic(prefix, topic),
        partitions,
        compacted: topic.is_table(),
    });
    std::iter::once(raw).chain(derived).collect()
}

impl DerivedTopics {
    /// The derived topics of a raw partition.
    pub fn new(prefix: &str, partition: PartitionId) -> Self {
        let place = |topic| TopicPartition::new(derived_topic(prefix, topic), partition);
        Self { places: Topic::ALL.into_iter().map(|topic| (topic, place(topic))).collect() }
    }

    /// Every derived partition.
    pub fn places(&self) -> impl Iterator<Item = &TopicPartition> {
        self.places.values()
    }

    /// An output as a record for its topic, with the log time it was folded at.
    pub(crate) fn append(&self, output: Output) -> Option<Append> {
        let Output { topic, key, headers, value, timestamp, offset: _, ordinal: _ } = output;
        let headers = headers.into_iter().map(|(name, value)| Header { name: name.into(), value });
        Some(Append {
            to: self.places.get(&topic)?.clone(),
            key: Some(Bytes::from(key)),
            value,
            headers: headers.collect(),
            timestamp_ms: Some(timestamp.as_millis()),
        })
    }
}

/// The raw offset from which a derived record comes; `None` if it is not one of ours.
pub fn source_offset(record: &Record) -> Option<Offset> {
    let id = std::str::from_utf8(record.header(EVENT_ID)?).ok()?;
    let mut parts = id.split('-');
    let _partition: PartitionId = parts.next()?.parse().ok()?;
    let offset = parts.next()?.parse().ok()?;
    let _ordinal: u32 = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(offset)
}

#[cfg(test)]
mod tests {
    use tickfold_core::time::Timestamp;

    use super::*;

    fn output(topic: Topic) -> Output {
        Output {
            topic,
            key: "k".to_owned(),
            headers: vec![("ce_id", "3-41-2".into())],
            value: Some(Bytes::from_static(b"{}")),
            timestamp: Timestamp::from_millis(5),
            offset: 41,
            ordinal: 2,
        }
    }

    #[test]
    fn an_output_goes_to_its_topic_in_the_raw_partition_and_names_its_source() {
        let append = DerivedTopics::new("wa", 3).append(output(Topic::MessageState)).unwrap();
        assert_eq!(append.to, TopicPartition::new("wa.message.state.v1", 3));
        assert_eq!(append.timestamp_ms, Some(5));
        let Append { to: _, key, value, headers, timestamp_ms: _ } = append;
        let record = Record { offset: 0, timestamp_ms: 5, key, value, headers };
        assert_eq!(source_offset(&record), Some(41));
    }

    #[test]
    fn every_derived_topic_has_a_place_in_the_partition() {
        let topics = DerivedTopics::new("wa", 3);
        let places: Vec<_> = topics.places().collect();
        assert_eq!(places.len(), Topic::ALL.len());
        for topic in Topic::ALL {
            assert!(places.contains(&&TopicPartition::new(derived_topic("wa", topic), 3)));
        }
    }

    #[test]
    fn foreign_records_name_no_source() {
        for id in ["", "3", "3-41", "3-41-2-1", "a-b-c", "3--2", "3-41-"] {
            let headers = vec![Header { name: "ce_id".into(), value: Bytes::from(id) }];
            let record = Record { offset: 0, timestamp_ms: 0, key: None, value: None, headers };
            assert_eq!(source_offset(&record), None, "{id:?}");
        }
    }

    #[test]
    fn every_topic_has_a_spec_under_the_prefix() {
        let specs = topic_specs("wa", 8);
        assert_eq!(specs.len(), Topic::ALL.len() + 1);
        assert_eq!(specs[0].name, "wa.webhook.raw.v1");
        assert!(specs.iter().all(|spec| spec.partitions == 8 && spec.name.starts_with("wa.")));
    }
}
