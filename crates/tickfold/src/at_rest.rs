//! What a node works on, while none does: data directory, log, state. For commands that look at it or
//! repair it. Nothing is created that is not there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tickfold_log::{GroupMember, KafkaOptions, KafkaTopics, Log};
use tickfold_store::{RocksStores, Stores};
use tokio::time::Instant;

use crate::cli::AtRest as Flags;
use crate::client::report;
use crate::config::{Config, Layers};
use crate::data_dir::DataDir;
use crate::log::kafka_options;
use crate::raw_topic::RawTopic;
use crate::{log, options};

/// How long members of the group are waited for that have stopped and are still listed: somewhat more
/// than their session.
const MEMBERS_PATIENCE: Duration = Duration::from_secs(15);
const MEMBERS_PAUSE: Duration = Duration::from_millis(500);

/// The data directory, in this process's hands, and what is in it.
pub(crate) struct AtRest {
    pub config: Config,
    pub log: Arc<dyn Log>,
    pub stores: Arc<dyn Stores>,
    pub raw: RawTopic,
    _dir: DataDir,
}

/// Defaults, file, environment, and the flags of such a command.
pub(crate) fn layers(flags: &Flags) -> Result<Layers> {
    let (config, data_dir, kafka) =
        (flags.config.clone(), flags.data_dir.clone(), flags.kafka.clone());
    crate::layers(&crate::Settings { config, data_dir, kafka, ..crate::Settings::default() })
}

/// The directory's lock. A node that runs has it, and then this waits a moment and fails.
pub(crate) fn take(config: &Config) -> Result<DataDir> {
    let dir = &config.data_dir;
    if !dir.is_dir() {
        bail!("there is no data directory {}: name it with --data-dir or data_dir", dir.display());
    }
    DataDir::take(dir).context("the node has to be stopped first: `tickfold stop`")
}

impl AtRest {
    /// Takes the directory and opens everything.
    pub(crate) async fn open(flags: &Flags) -> Result<Self> {
        let config = layers(flags)?.read()?;
        let dir = take(&config)?;
        let log = open_log(&config).await?;
        let raw = RawTopic::find(&config, log.as_ref()).await?;
        let stores = stores(&config)?;
        Ok(Self { config, log, stores, raw, _dir: dir })
    }

    /// Refuses if the group has members. Those that stopped a moment ago are waited for.
    pub(crate) async fn refuse_members(&self) -> Result<()> {
        let Some(brokers) = self.config.kafka.brokers.as_deref() else { return Ok(()) };
        let options = kafka_options(&self.config, brokers)?;
        let timeout = Duration::from_secs(10);
        let cluster = KafkaTopics::new(KafkaOptions { call_timeout: timeout, ..options })?;
        let (group, deadline) = (&self.config.group, Instant::now() + MEMBERS_PATIENCE);
        let mut told = false;
        loop {
            let members = cluster.members(group).await.context("look at the group")?;
            if members.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let named: Vec<_> = members
                    .iter()
                    .map(|GroupMember { id, host }| format!("{id} at {host}"))
                    .collect();
                bail!("group {group} has members, stop them first: {}", named.join(", "));
            }
            if !std::mem::replace(&mut told, true) {
                report(&format!(
                    "waiting for {} members of group {group} to be gone",
                    members.len()
                ));
            }
            tokio::time::sleep(MEMBERS_PAUSE).await;
        }
    }
}

/// The log, unless it would be a new one.
pub(crate) async fn open_log(config: &Config) -> Result<Arc<dyn Log>> {
    let dir: PathBuf = config.data_dir.join("log");
    if config.kafka.brokers.is_none() && !dir.is_dir() {
        bail!("there is no log in {}: is it on Kafka? Then name it with --kafka", dir.display());
    }
    log::open(config).await
}

/// The state in the data directory.
pub(crate) fn stores(config: &Config) -> Result<Arc<RocksStores>> {
    let stores = RocksStores::open(config.data_dir.join("state"), options::store_options(config));
    Ok(Arc::new(stores.context("open state")?))
}
