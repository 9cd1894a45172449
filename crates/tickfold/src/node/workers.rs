//! The part that folds: stores, the member of the consumer group, the processor; and how queries see
//! its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use tickfold_log::{Departure, GroupSpec};
use tickfold_processor::{Checkpoints, Lags, PartitionStatus, Processor};
use tickfold_query::{Peers, Role, RoleOf};
use tickfold_store::{RocksStores, Stores};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::warn;

use super::SharedLog;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::history::Ground;
use crate::history::replay::Replays;
use crate::history::then::Then;
use crate::options;
use crate::owners::owners;
use crate::raw_topic::RawTopic;
use crate::verify;

/// Where each partition stands.
pub(super) type Statuses = BTreeMap<u32, watch::Receiver<PartitionStatus>>;

/// What folds.
#[derive(Debug)]
pub(super) struct Workers {
    pub(super) stores: Arc<dyn Stores>,
    rocks: Arc<RocksStores>,
    /// `None` once it was stopped.
    processor: Option<Processor>,
    statuses: Statuses,
    lags: BTreeMap<u32, Lags>,
    /// States of then, for queries.
    pub(super) then: Arc<Then>,
    pub(super) replays: Replays,
    _data_dir: DataDir,
}

impl Workers {
    /// Opens the stores and joins the group, under the name of the data directory.
    pub(super) async fn join(
        config: &Config,
        data_dir: DataDir,
        log: &SharedLog,
        raw: &RawTopic,
        own_address: &str,
    ) -> Result<Self> {
        if let Err(failure) = verify::remove_left(&data_dir.path) {
            let failure = format!("{failure:#}");
            warn!(failure, "what a killed verify left stays in the data directory");
        }
        let state_dir = data_dir.path.join("state");
        let stores = RocksStores::open(&state_dir, options::store_options(config));
        let rocks = Arc::new(stores.context("open state")?);
        let stores: Arc<dyn Stores> = Arc::clone(&rocks) as Arc<dyn Stores>;
        let options = options::processor_options(config, own_address)?;
        let spec = GroupSpec {
            group: config.group.clone(),
            topic: raw.name.clone(),
            instance: data_dir.instance.clone(),
        };
        let member = Arc::clone(log).join(spec).await.context("join the consumer group")?;
        let runtime = Handle::current();
        let processor = Processor::spawn(log, &stores, member, options, raw.partitions, &runtime)?;
        let (statuses, lags) = (processor.statuses().clone(), processor.lags().clone());
        let swaps = processor.swaps();
        let ground = Ground::new(config, log, raw, &rocks, state_dir);
        let then = Arc::new(Then::new(ground.clone())?);
        let replays = Replays::open(ground, Arc::clone(&then), statuses.clone(), swaps);
        let processor = Some(processor);
        let _data_dir = data_dir;
        Ok(Self { stores, rocks, processor, statuses, lags, then, replays, _data_dir })
    }

    pub(super) fn statuses(&self) -> Statuses {
        self.statuses.clone()
    }

    pub(super) fn lags(&self) -> BTreeMap<u32, Lags> {
        self.lags.clone()
    }

    /// Through which checkpoints are asked for; `None` where there is no place for them.
    pub(super) fn checkpoints(&self, config: &Config) -> Option<Checkpoints> {
        config.store.checkpoint_dir.as_ref()?;
        self.processor.as_ref().map(Processor::checkpoints)
    }

    /// The stores, for what RocksDB tells of itself.
    pub(super) fn rocks(&self) -> Arc<RocksStores> {
        Arc::clone(&self.rocks)
    }

    /// How this node stands to each partition.
    pub(super) fn role(&self) -> RoleOf {
        let statuses = self.statuses();
        let cursor = |partition: &u32| (*partition, self.stores.view(*partition).cursor());
        let cursors: BTreeMap<_, _> = statuses.keys().map(cursor).collect();
        RoleOf::new(move |partition| {
            // Before the status, which says that it restores before the first record moves the cursor.
            let is_empty = cursors.get(&partition).is_none_or(|cursor| *cursor.borrow() == 0);
            role(&status(&statuses, partition), is_empty)
        })
    }

    /// Lets it finish what is under way, and leaves the group as told.
    pub(super) async fn stop(&mut self, departure: Departure, failures: &mut Vec<anyhow::Error>) {
        let processor = self.processor.take();
        // Beside each other: a swap waits for its partition, which its end sets free.
        let stop = async {
            match processor {
                Some(processor) => processor.stop(departure).await,
                None => Ok(()),
            }
        };
        let ((), stopped) = tokio::join!(self.replays.stop(), stop);
        failures.extend(stopped.err().map(anyhow::Error::from));
    }
}

/// Waits for an end of the processor that nobody asked for; for ever where there is none.
pub(super) async fn ended(workers: Option<&mut Workers>) -> anyhow::Error {
    match workers.and_then(|workers| workers.processor.as_mut()) {
        Some(processor) => processor.ended().await.into(),
        None => std::future::pending().await,
    }
}

/// The nodes beside this one. The embedded log belongs to one process.
pub(super) fn peers(
    config: &Config,
    workers: Option<&Workers>,
    log: &SharedLog,
    raw: &RawTopic,
    own_address: String,
) -> Peers {
    if config.kafka.brokers.is_none() {
        return Peers::alone();
    }
    let statuses = workers.map(Workers::statuses).unwrap_or_default();
    let is_here = move |partition| match status(&statuses, partition) {
        PartitionStatus::Elsewhere | PartitionStatus::Following { .. } => false,
        PartitionStatus::Starting
        | PartitionStatus::Restoring { .. }
        | PartitionStatus::Live { .. }
        | PartitionStatus::Refused(_)
        | PartitionStatus::Stopped => true,
    };
    Peers::new(own_address, raw.partitions, is_here, owners(log, &config.group, raw))
}

fn status(statuses: &Statuses, partition: u32) -> PartitionStatus {
    let status = statuses.get(&partition).map(|status| status.borrow().clone());
    status.unwrap_or(PartitionStatus::Elsewhere)
}

/// How a node stands to a partition whose store is empty, or not. Whoever takes a partition over opens an
/// empty store before it folds the first record: only one that is live may say that nothing is there.
fn role(status: &PartitionStatus, is_empty: bool) -> Role {
    match status {
        PartitionStatus::Live { .. } => Role::Owner,
        PartitionStatus::Following { .. } => Role::Follower,
        PartitionStatus::Restoring { from_empty: true, .. } => Role::NoState,
        PartitionStatus::Starting | PartitionStatus::Elsewhere if is_empty => Role::NoState,
        // Of an earlier time, and told with its age.
        PartitionStatus::Starting
        | PartitionStatus::Restoring { .. }
        | PartitionStatus::Refused(_)
        | PartitionStatus::Elsewhere
        | PartitionStatus::Stopped => Role::Frozen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_folded_from_nothing_has_no_state_until_it_is_live() {
        let restoring = |from_empty| PartitionStatus::Restoring { remaining: 9, from_empty };
        for (status, is_empty, wanted) in [
            (PartitionStatus::Elsewhere, true, Role::NoState),
            (PartitionStatus::Starting, true, Role::NoState),
            (restoring(true), true, Role::NoState),
            (restoring(true), false, Role::NoState),
            // Its state is complete, and its commit under way.
            (PartitionStatus::Starting, false, Role::Frozen),
            (PartitionStatus::Live { position: 9 }, false, Role::Owner),
            (PartitionStatus::Elsewhere, false, Role::Frozen),
            (restoring(false), false, Role::Frozen),
            // Nothing was ever folded, and nobody else knows more.
            (PartitionStatus::Live { position: 0 }, true, Role::Owner),
        ] {
            assert_eq!(role(&status, is_empty), wanted, "{status}, empty: {is_empty}");
        }
    }
}
