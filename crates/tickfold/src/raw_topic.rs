//! The raw topic and the number of its partitions, which everything is routed by.
//!
//! The number is fixed when the topic is created. Where the configuration does not name it, it is
//! what it was then: what the group's positions were committed with, since a topic on Kafka can be
//! given more partitions by anyone, and what was routed by the old number must not be looked for by
//! the new one.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tickfold_log::{Error, Log, TopicInfo};
use tickfold_processor::{raw_topic, topic_specs};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::config::Config;
use crate::owners;

/// How long topics are asked for again, and the pause between two times.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// Partitions of a raw topic that is created without a number in the configuration.
const EMBEDDED: u32 = 8;
const KAFKA: u32 = 32;

/// The raw topic, as it is there.
#[derive(Debug, Clone)]
pub(crate) struct RawTopic {
    pub name: String,
    pub partitions: u32,
}

/// The number of partitions for a topic that is not there yet.
pub(crate) fn partitions_of_new(config: &Config) -> u32 {
    match (config.partitions, &config.kafka.brokers) {
        (0, None) => EMBEDDED,
        (0, Some(_)) => KAFKA,
        (partitions, _) => partitions,
    }
}

impl RawTopic {
    /// Creates the topics that are not there and checks the others: the raw one, and with `derived`
    /// those that a processor writes.
    pub(crate) async fn ensure(config: &Config, log: &dyn Log, derived: bool) -> Result<Self> {
        let name = raw_topic(&config.topic_prefix);
        let topics = patiently(async || log.topics().await).await;
        let topics = topics.context("look for the topics")?;
        let found = topics.iter().find(|topic| topic.spec.name == name);
        let committed = match found {
            Some(_) => committed_partitions(config, log, &name).await?,
            None => None,
        };
        let partitions = match (config.partitions, committed, found) {
            (0, Some(committed), _) => committed,
            (0, None, Some(found)) => found.spec.partitions,
            (_, _, _) => partitions_of_new(config),
        };
        if let Some(committed) = committed.filter(|committed| *committed != partitions) {
            // Also where the topic has that many by now: what is there was routed by the other count.
            bail!(
                "partitions = {partitions}, but what is in {name} was folded with {committed}: the count \
                 is fixed when the data directory or the topic is created"
            );
        }
        let mut specs = topic_specs(&config.topic_prefix, partitions);
        specs.retain(|spec| derived || spec.name == name);
        let topics = patiently(async || log.ensure_topics(&specs).await).await;
        let topics = topics.context("check the topics")?;
        for TopicInfo { spec, .. } in topics.iter().filter(|t| t.spec.partitions != partitions) {
            let (topic, found) = (&spec.name, spec.partitions);
            if *topic == name && committed.is_none() {
                // Ingress would route by one count what was routed by another.
                bail!(
                    "partitions = {partitions}, but {topic} was created with {found}: the count is \
                     fixed when the data directory or the topic is created"
                );
            }
            warn!(topic, found, partitions, "further partitions of the topic are not used");
        }
        Ok(Self { name, partitions })
    }
}

impl RawTopic {
    /// The raw topic that is there; creates and checks nothing.
    pub(crate) async fn find(config: &Config, log: &dyn Log) -> Result<Self> {
        let name = raw_topic(&config.topic_prefix);
        let topics = patiently(async || log.topics().await).await;
        let topics = topics.context("look for the topics")?;
        let Some(found) = topics.iter().find(|topic| topic.spec.name == name) else {
            bail!("there is no topic {name}: nothing was ever taken in under this prefix");
        };
        let committed = committed_partitions(config, log, &name).await?;
        let partitions = match (config.partitions, committed) {
            (0, Some(committed)) => committed,
            (0, None) => found.spec.partitions,
            (partitions, _) => partitions,
        };
        Ok(Self { name, partitions: partitions.min(found.spec.partitions) })
    }
}

/// Asks again for a while: topics that were just made have no leader for a moment.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(Error::Unavailable { reason }) if Instant::now() < deadline => {
                debug!(reason, "topics are not to be seen yet");
                tokio::time::sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}

/// What the group's positions were committed with, if there are any.
async fn committed_partitions(config: &Config, log: &dyn Log, raw: &str) -> Result<Option<u32>> {
    let tokens = owners::tokens(log, &config.group, raw).await;
    let tokens = tokens.context("look at the group's positions, which takes Describe on it")?;
    Ok(tokens.into_iter().flatten().map(|token| token.partition_count).next())
}
