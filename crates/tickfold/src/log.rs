//! The log of this process: embedded in the data directory, or on Kafka.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tickfold_log::{
    EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, Log, Password, Sasl, SaslMechanism,
    Security, Tls,
};

use crate::config::Config;
use crate::{environment, fail_points, secrets};

/// Opens it off the async threads: recovery reads the whole WAL, a cluster may be slow to answer.
pub(crate) async fn open(config: &Config) -> Result<Arc<dyn Log>> {
    if let Some(brokers) = &config.kafka.brokers {
        let options = kafka_options(config, brokers)?;
        let connected = tokio::task::spawn_blocking(move || KafkaLog::connect(options)).await;
        let context = || format!("connect to Kafka at {brokers}");
        return Ok(connected.with_context(context)?.with_context(context)?);
    }
    let (dir, mut options) = (config.data_dir.join("log"), embedded_options(config));
    fail_points::arm_embedded(&mut options)?;
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let context = format!("open the log in {}", dir.display());
    let opened = tokio::task::spawn_blocking(move || EmbeddedLog::open(dir, options));
    Ok(opened.await.context("open the log")?.context(context)?)
}

pub(crate) fn embedded_options(config: &Config) -> EmbeddedOptions {
    let c = &config.log;
    EmbeddedOptions {
        queue_bytes_max: c.queue_bytes_max,
        group_bytes_max: c.group_bytes_max,
        write_buffer_bytes: c.write_buffer_bytes,
        block_cache_bytes: c.block_cache_bytes,
        ..EmbeddedOptions::default()
    }
}

/// Also refuses what would show a password to the network.
pub(crate) fn kafka_options(config: &Config, brokers: &str) -> Result<KafkaOptions> {
    let c = &config.kafka;
    let tls = c.tls.then(|| Tls { ca_file: c.ca_file.clone() });
    if tls.is_none() && c.ca_file.is_some() {
        bail!("kafka.ca_file needs kafka.tls = true");
    }
    let sasl = match (c.sasl_mechanism.as_deref(), c.sasl_username.clone()) {
        (None, None) => None,
        (Some(mechanism), Some(username)) => {
            let mechanism = match mechanism {
                "PLAIN" if tls.is_none() => bail!("kafka.sasl_mechanism PLAIN needs kafka.tls"),
                "PLAIN" => SaslMechanism::Plain,
                "SCRAM-SHA-256" => SaslMechanism::ScramSha256,
                "SCRAM-SHA-512" => SaslMechanism::ScramSha512,
                other => bail!(
                    "kafka.sasl_mechanism = {other:?} is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"
                ),
            };
            let what = "the password of kafka.sasl_username";
            let password = secrets::require("TICKFOLD_KAFKA_PASSWORD", what, environment)?;
            Some(Sasl { mechanism, username, password: Password::new(password) })
        }
        _ => bail!("kafka.sasl_mechanism and kafka.sasl_username belong together"),
    };
    let mut options = KafkaOptions {
        security: Security { tls, sasl },
        append_time_topics: vec![tickfold_processor::raw_topic(&config.topic_prefix)],
        replication_factor: c.replication_factor,
        min_insync_replicas: c.min_insync_replicas,
        append_timeout: c.append_timeout,
        append_bytes_max: c.append_bytes_max,
        ..KafkaOptions::new(brokers)
    };
    fail_points::arm_kafka(&mut options)?;
    Ok(options)
}
