//! Topics: creating them, asking for their settings, and for the bounds of many partitions at once.
//! What the settings are to be, `settings` says.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier,
        ResourceSpecifier, TopicReplication,
    },
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::{Offset as KafkaOffset, TopicPartitionList},
};

use super::{
    context::Quiet,
    convert::{offset as known_offset, partition_id, unavailable},
    options::KafkaOptions,
    settings::{Settings, wanted},
};
use crate::{Bounds, Error, Offset, PartitionId, TopicPartition, TopicSpec};

/// The pause between two looks at topics that are being created.
const PAUSE: Duration = Duration::from_millis(5);

/// Partition counts of all topics but Kafka's own. Blocks.
pub(super) fn existing(
    consumer: &BaseConsumer<Quiet>,
    timeout: Duration,
) -> Result<BTreeMap<String, PartitionId>, Error> {
    let metadata = consumer.fetch_metadata(None, timeout);
    let metadata = metadata.map_err(|error| unavailable("list the topics", &error))?;
    let ours = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
    let counted = |partitions: usize| PartitionId::try_from(partitions).unwrap_or(PartitionId::MAX);
    Ok(ours.map(|topic| (topic.name().to_owned(), counted(topic.partitions().len()))).collect())
}

/// The partition count of one topic, 0 if it does not exist. Blocks, and creates nothing.
pub(super) fn partitions(
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    timeout: Duration,
) -> Result<PartitionId, Error> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout);
    let metadata =
        metadata.map_err(|error| unavailable(format!("ask for topic {topic}"), &error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let count = found.map_or(0, |found| found.partitions().len());
    Ok(PartitionId::try_from(count).unwrap_or(PartitionId::MAX))
}

/// The offset of the first record at or after a time; `None` if there is none. Blocks.
pub(super) fn offset_at(
    consumer: &BaseConsumer<Quiet>,
    of: &TopicPartition,
    time_ms: i64,
    timeout: Duration,
) -> Result<Option<Offset>, Error> {
    let failed = |error: KafkaError| unavailable(format!("search {of} by time"), &error);
    let mut asked = TopicPartitionList::with_capacity(1);
    // Negative times have other meanings there.
    let time = KafkaOffset::Offset(time_ms.max(0));
    asked.add_partition_offset(&of.topic, partition_id(of.partition), time).map_err(failed)?;
    let answer = consumer.offsets_for_times(asked, timeout).map_err(failed)?;
    let Some(found) = answer.find_partition(&of.topic, partition_id(of.partition)) else {
        return Ok(None);
    };
    found.error().map_err(failed)?;
    let KafkaOffset::Offset(offset) = found.offset() else { return Ok(None) };
    Ok(known_offset(offset))
}

/// Settings of topics.
pub(super) async fn settings(
    admin: &AdminClient<Quiet>,
    topics: &[String],
    timeout: Duration,
) -> Result<HashMap<String, Settings>, Error> {
    if topics.is_empty() {
        return Ok(HashMap::new());
    }
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let asked = admin.describe_configs(&resources, &admin_options(timeout)).await;
    let asked = asked.map_err(|error| unavailable("ask for topic settings", &error))?;
    let mut found = HashMap::new();
    for answer in asked {
        match answer {
            Ok(ConfigResource { specifier: OwnedResourceSpecifier::Topic(name), entries }) => {
                let entries = entries.into_iter().filter_map(|e| Some((e.name, e.value?)));
                found.insert(name, entries.collect());
            }
            Ok(_) => {}
            Err(error) => {
                let error = KafkaError::AdminOp(error);
                return Err(unavailable("ask for topic settings", &error));
            }
        }
    }
    Ok(found)
}

/// Creates topics. One that somebody else created meanwhile is fine.
pub(super) async fn create(
    admin: &AdminClient<Quiet>,
    options: &KafkaOptions,
    specs: &[&TopicSpec],
) -> Result<(), Error> {
    if specs.is_empty() {
        return Ok(());
    }
    let settings: Vec<_> = specs.iter().map(|spec| wanted(options, spec)).collect();
    let topics: Vec<_> = specs
        .iter()
        .zip(&settings)
        .map(|(spec, settings)| {
            let replication = TopicReplication::Fixed(i32::from(options.replication_factor));
            let topic = NewTopic::new(&spec.name, partition_id(spec.partitions), replication);
            settings.iter().fold(topic, |topic, wanted| topic.set(wanted.name, &wanted.value))
        })
        .collect();
    let created = admin.create_topics(&topics, &admin_options(options.call_timeout)).await;
    for created in created.map_err(|error| unavailable("create topics", &error))? {
        match created {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, error)) => {
                let error = KafkaError::AdminOp(error);
                return Err(unavailable(format!("create topic {name}"), &error));
            }
        }
    }
    Ok(())
}

/// Deletes the records of a partition below `before`, which lies within its bounds.
pub(super) async fn trim(
    admin: &AdminClient<Quiet>,
    of: &TopicPartition,
    before: Offset,
    timeout: Duration,
) -> Result<(), Error> {
    let failed = |error: KafkaError| unavailable(format!("trim {of} before {before}"), &error);
    let offset = KafkaOffset::Offset(i64::try_from(before).unwrap_or(i64::MAX));
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(&of.topic, partition_id(of.partition), offset).map_err(failed)?;
    let answer = admin.delete_records(&asked, &admin_options(timeout)).await.map_err(failed)?;
    let place = answer.find_partition(&of.topic, partition_id(of.partition));
    place.map_or(Ok(()), |place| place.error()).map_err(failed)
}

fn admin_options(timeout: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}

/// Waits until every partition of the topics answers, which takes a moment after their creation,
/// and says how many there are. Blocks.
pub(super) fn await_ready(
    consumer: &BaseConsumer<Quiet>,
    topics: &[String],
    timeout: Duration,
) -> Result<Vec<(String, PartitionId)>, Error> {
    let begun = Instant::now();
    loop {
        let existing = existing(consumer, timeout)?;
        let named = |name: &String| Some((name.clone(), *existing.get(name)?));
        let found: Vec<_> = topics.iter().filter_map(named).collect();
        let ready = bounds(consumer, &found, timeout)?;
        let missing = topics.iter().find(|name| ready.get(*name).is_none_or(Vec::is_empty));
        let Some(missing) = missing else { return Ok(found) };
        if begun.elapsed() > timeout {
            let reason = format!("create topic {missing}: not there in time");
            return Err(Error::Unavailable { reason });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Bounds of all partitions of the topics, by topic. A topic that is gone meanwhile is left out.
/// Blocks.
pub(super) fn bounds(
    consumer: &BaseConsumer<Quiet>,
    topics: &[(String, PartitionId)],
    timeout: Duration,
) -> Result<HashMap<String, Vec<Bounds>>, Error> {
    // The brokers take these two for times, as Kafka's own tools use them.
    let starts = ends(consumer, topics, KafkaOffset::Beginning, timeout)?;
    let stable_ends = ends(consumer, topics, KafkaOffset::End, timeout)?;
    let mut all = HashMap::new();
    for (topic, partitions) in topics {
        let at = |of: &HashMap<(String, i32), u64>, partition: PartitionId| {
            of.get(&(topic.clone(), partition_id(partition))).copied()
        };
        let bounds: Option<Vec<_>> = (0..*partitions)
            .map(|p| Some(Bounds { start: at(&starts, p)?, end: at(&stable_ends, p)? }))
            .collect();
        if let Some(bounds) = bounds {
            all.insert(topic.clone(), bounds);
        }
    }
    Ok(all)
}

/// One end of each partition.
fn ends(
    consumer: &BaseConsumer<Quiet>,
    topics: &[(String, PartitionId)],
    which: KafkaOffset,
    timeout: Duration,
) -> Result<HashMap<(String, i32), u64>, Error> {
    let mut asked = TopicPartitionList::new();
    let all = topics.iter().flat_map(|(topic, count)| (0..*count).map(move |p| (topic, p)));
    for (topic, partition) in all {
        asked
            .add_partition_offset(topic, partition_id(partition), which)
            .map_err(|error| unavailable("ask for the bounds of topics", &error))?;
    }
    if asked.count() == 0 {
        return Ok(HashMap::new());
    }
    let answer = settled(consumer, timeout, || {
        let answer = consumer.offsets_for_times(asked.clone(), timeout)?;
        let unsettled =
            answer.elements().into_iter().find_map(|place| place.error().err().filter(is_passing));
        unsettled.map_or(Ok(answer), Err)
    });
    let answer = answer.map_err(|error| unavailable("ask for the bounds of topics", &error))?;
    let known = answer.elements().into_iter().filter(|place| place.error().is_ok());
    let known = known.filter_map(|place| {
        let KafkaOffset::Offset(offset) = place.offset() else { return None };
        Some(((place.topic().to_owned(), place.partition()), known_offset(offset)?))
    });
    Ok(known.collect())
}

/// Asks again while a partition is between two leaders. Blocks.
///
/// Where a broker that comes back named no leader, librdkafka 2.12 says that it knows no such partition,
/// and may not look again before `topic.metadata.refresh.interval.ms`: then it is made to.
pub(super) fn settled<T>(
    consumer: &BaseConsumer<Quiet>,
    timeout: Duration,
    ask: impl Fn() -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(error) if is_passing(&error) && begun.elapsed() < timeout => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) {
                    // If that fails too, the next attempt tells.
                    let _ = consumer.fetch_metadata(None, timeout);
                }
                std::thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}

fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    let passing = [Code::NotLeaderForPartition, Code::LeaderNotAvailable, Code::UnknownPartition];
    code.is_some_and(|code| passing.contains(&code))
}
