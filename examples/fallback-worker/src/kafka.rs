//! The topic on Kafka: read committed, offsets committed once everything gathered was carried out.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;

use crate::{Action, GATHERED_MAX, Source, say};

/// How long it is waited for a first record, and for more of them behind it.
const FIRST: Duration = Duration::from_millis(500);
const MORE: Duration = Duration::from_millis(50);

/// A member of the group.
pub(crate) struct Topic {
    consumer: BaseConsumer,
    /// Something was gathered that is not committed.
    gathered: bool,
}

impl Topic {
    pub(crate) fn subscribe(
        brokers: &str,
        group: &str,
        instance: Option<&str>,
        topic: &str,
    ) -> Result<Self> {
        let mut config = ClientConfig::new();
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        let consumer: BaseConsumer = config
            .set("bootstrap.servers", brokers)
            .set("group.id", group)
            // An SMS for an output of a transaction that is aborted later could not be taken back.
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "10000")
            // Only this program knows what was carried out.
            .set("enable.auto.commit", "false")
            .create()
            .context("make a consumer")?;
        consumer.subscribe(&[topic]).with_context(|| format!("subscribe to {topic}"))?;
        Ok(Self { consumer, gathered: false })
    }
}

impl Source for Topic {
    fn gather(&mut self) -> Result<Option<Vec<Action>>> {
        let mut actions = Vec::new();
        let until = Instant::now() + FIRST;
        let mut wait = FIRST;
        while actions.len() < GATHERED_MAX {
            match self.consumer.poll(wait) {
                None if actions.is_empty() && Instant::now() < until => {}
                None => break,
                Some(Ok(record)) => {
                    self.gathered = true;
                    wait = MORE;
                    // What is no action of ours must not stop the rest for ever.
                    match serde_json::from_slice(record.payload().unwrap_or_default()) {
                        Ok(action) => actions.push(action),
                        Err(error) => say(&serde_json::json!({
                            "partition": record.partition(),
                            "offset": record.offset(),
                            "error": format!("not an action: {error}"),
                        })),
                    }
                }
                // librdkafka goes on trying by itself; whoever waits sees why nothing comes.
                Some(Err(error)) => {
                    say(&serde_json::json!({"error": format!("read: {error}")}));
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                        return Err(error).context("read");
                    }
                }
            }
        }
        Ok(Some(actions))
    }

    fn done(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.gathered) {
            return Ok(());
        }
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) => Ok(()),
            // A partition went to another member meanwhile, which carries out the same again: the
            // gateway knows the keys.
            Err(KafkaError::ConsumerCommit(code)) => {
                say(&serde_json::json!({"error": format!("commit: {code}")}));
                Ok(())
            }
            Err(error) => Err(error).context("commit"),
        }
    }
}
