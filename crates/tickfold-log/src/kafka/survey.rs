//! Topics of a cluster, looked at and created without a log: what the owner of a cluster runs before
//! the first start, or to see why a start was refused.
//!
//! It judges by the same settings as [`KafkaLog`](super::KafkaLog), and never changes a topic that
//! exists.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    admin::AdminClient,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    calls::apart,
    context::Quiet,
    convert::unavailable,
    options::KafkaOptions,
    settings::{self, Settings, Wanted, Weight},
    topics,
};
use crate::{Error, PartitionId, TopicSpec};

/// What this consumer's fetches would wait; it makes none.
const FETCH_WAIT: Duration = Duration::from_millis(100);

/// A connection to a cluster that looks at topics and creates them.
pub struct KafkaTopics {
    options: KafkaOptions,
    admin: AdminClient<Quiet>,
    /// A consumer, since a producer's questions create topics where the brokers allow it.
    consumer: Arc<BaseConsumer<Quiet>>,
}

/// A topic as it is to be, and as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// As it is to be.
    pub spec: TopicSpec,
    /// What exists; `None` if there is no such topic.
    pub found: Option<Found>,
    /// Its settings, those that promises rest on first.
    pub settings: Vec<Setting>,
}

/// A topic that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Number of partitions. More than wanted serve as well; the further ones are not used.
    pub partitions: PartitionId,
    /// Replicas of the partition that has the fewest.
    pub replicas: usize,
}

/// A setting of a topic, wanted and found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Name of the setting in Kafka.
    pub name: &'static str,
    /// The value it is to have.
    pub wanted: String,
    /// How much hangs on it.
    pub weight: Weight,
    /// The value it has; `None` if the topic does not exist, or the brokers know no such setting.
    pub found: Option<String>,
    /// Whether the value it has is as good as the one wanted.
    pub fits: bool,
}

impl KafkaTopics {
    /// Prepares the connection; the first question makes it.
    pub fn new(options: KafkaOptions) -> Result<Self, Error> {
        let admin = options.admin().create_with_context(Quiet);
        let admin = admin.map_err(|error| unavailable("start the admin client", &error))?;
        let consumer = options.reader(FETCH_WAIT).create_with_context(Quiet);
        let consumer = consumer.map_err(|error| unavailable("start a consumer", &error))?;
        Ok(Self { options, admin, consumer: Arc::new(consumer) })
    }

    pub(super) fn options(&self) -> &KafkaOptions {
        &self.options
    }

    pub(super) fn consumer(&self) -> Arc<BaseConsumer<Quiet>> {
        Arc::clone(&self.consumer)
    }

    /// Looks at the topics, in the order of `specs`. [`Error::Unavailable`] if the cluster does not
    /// answer within [`KafkaOptions::call_timeout`], or does not let us look.
    pub async fn look(&self, specs: &[TopicSpec]) -> Result<Vec<Survey>, Error> {
        let timeout = self.options.call_timeout;
        let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let consumer = Arc::clone(&self.consumer);
        let ask = move || {
            let found = |name: &String| found(&consumer, name, timeout);
            names.iter().map(found).collect::<Result<Vec<_>, _>>()
        };
        let found = apart("tickfold-kafka-topics", ask).await??;
        let existing = specs.iter().zip(&found).filter(|(_, found)| found.is_some());
        let existing: Vec<_> = existing.map(|(spec, _)| spec.name.clone()).collect();
        let settings = topics::settings(&self.admin, &existing, timeout).await?;
        let none = Settings::new();
        let survey = |(spec, found): (&TopicSpec, Option<Found>)| {
            let has = settings.get(&spec.name).unwrap_or(&none);
            let wanted = settings::wanted(&self.options, spec).into_iter();
            let mut settings: Vec<_> = wanted.map(|wanted| compare(wanted, has)).collect();
            settings.sort_by_key(|setting| setting.weight == Weight::Advised);
            Survey { spec: spec.clone(), found, settings }
        };
        Ok(specs.iter().zip(found).map(survey).collect())
    }

    /// Creates the topics that do not exist and returns their names once all of them answer. Topics
    /// that exist stay as they are, whatever their settings.
    pub async fn create_missing(&self, specs: &[TopicSpec]) -> Result<Vec<String>, Error> {
        for spec in specs {
            spec.check()?;
        }
        let surveys = self.look(specs).await?;
        let missing = surveys.iter().filter(|survey| survey.found.is_none());
        let missing: Vec<_> = missing.map(|survey| &survey.spec).collect();
        topics::create(&self.admin, &self.options, &missing).await?;
        let names: Vec<_> = missing.iter().map(|spec| spec.name.clone()).collect();
        let (consumer, timeout) = (Arc::clone(&self.consumer), self.options.call_timeout);
        let created = names.clone();
        let ready = move || topics::await_ready(&consumer, &created, timeout);
        apart("tickfold-kafka-topics", ready).await??;
        Ok(names)
    }
}

/// The topic, `None` if there is none; an error if the brokers do not let us see. Blocks.
fn found(
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<Found>, Error> {
    let what = || format!("look at topic {topic}");
    let metadata = consumer.fetch_metadata(Some(topic), timeout);
    let metadata = metadata.map_err(|error| unavailable(what(), &error))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            return Ok(None);
        }
        Some(code) => return Err(unavailable(what(), &KafkaError::MetadataFetch(code))),
    }
    let partitions = found.partitions();
    let replicas = partitions.iter().map(|partition| partition.replicas().len()).min();
    Ok(Some(Found {
        partitions: PartitionId::try_from(partitions.len()).unwrap_or(PartitionId::MAX),
        replicas: replicas.unwrap_or_default(),
    }))
}

fn compare(wanted: Wanted, has: &Settings) -> Setting {
    let found = has.get(wanted.name).cloned();
    let fits = wanted.fits(found.as_deref());
    let Wanted { name, value, weight } = wanted;
    Setting { name, wanted: value, weight, found, fits }
}

impl std::fmt::Debug for KafkaTopics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaTopics").field("options", &self.options).finish_non_exhaustive()
    }
}
