//! Making checkpoints and removing old ones, and asking a running partition for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tickfold_store::{Checkpoint, Error, PartitionStore, Stores};
use tokio::sync::{Notify, oneshot, watch};

use crate::driver::error_chain;
use crate::status::PartitionStatus;

/// Makes a checkpoint of the store and removes all but the newest `kept` ones, at least one.
///
/// Only those count that a store at this position, of this fold version, could have made: a start
/// picks the newest at or below its position, so one above it must not push out one that will do.
/// An error may mean that the checkpoint is made and an old one is still there.
pub fn take_checkpoint(
    store: &mut dyn PartitionStore,
    stores: &dyn Stores,
    partition: u32,
    kept: usize,
) -> Result<Checkpoint, Error> {
    let made = store.checkpoint()?;
    let counts = |checkpoint: &Checkpoint| {
        checkpoint.head.cursor <= made.head.cursor
            && checkpoint.head.fold_version == made.head.fold_version
    };
    let newest_first = stores.checkpoints(partition)?.into_iter().filter(counts);
    for old in newest_first.skip(kept.max(1)) {
        stores.remove_checkpoint(partition, &old)?;
    }
    Ok(made)
}

/// Why there is no checkpoint that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is not live here, so there is nobody to make one.
    #[error("partition {0} is not live here")]
    NotLive(u32),
    /// The partition stopped or was lost meanwhile.
    #[error("partition {0} stopped before it was made")]
    Stopped(u32),
    /// It could not be made; the partition goes on.
    #[error("make a checkpoint of partition {partition}: {reason}")]
    Failed {
        /// Partition.
        partition: u32,
        /// The store's error with its causes.
        reason: String,
    },
}

/// Asks the partitions of a processor for checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    asks: BTreeMap<u32, Arc<Asks>>,
    statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
}

impl Checkpoints {
    pub(crate) fn new(
        asks: BTreeMap<u32, Arc<Asks>>,
        statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
    ) -> Self {
        Self { asks, statuses }
    }

    /// Partitions that are live.
    pub fn live(&self) -> Vec<u32> {
        let live = self.statuses.iter().filter(|(_, status)| status.borrow().is_live());
        live.map(|(partition, _)| *partition).collect()
    }

    /// Has a partition make a checkpoint between two of its batches, and waits for it.
    pub async fn make(&self, partition: u32) -> Result<Checkpoint, CheckpointError> {
        let is_live = self.statuses.get(&partition).is_some_and(|s| s.borrow().is_live());
        let asks = self.asks.get(&partition).filter(|_| is_live);
        let asks = asks.ok_or(CheckpointError::NotLive(partition))?;
        let made = asks.ask().await.map_err(|_| CheckpointError::Stopped(partition))?;
        made.map_err(|reason| CheckpointError::Failed { partition, reason })
    }
}

type Made = Result<Checkpoint, String>;

/// Who waits for a checkpoint of one partition.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    waiting: Mutex<Vec<oneshot::Sender<Made>>>,
    asked: Notify,
}

/// Those who waited when a checkpoint was begun.
#[derive(Debug)]
pub(crate) struct Waiting(Vec<oneshot::Sender<Made>>);

/// Sends everybody away when it is dropped.
#[derive(Debug)]
pub(crate) struct OfThisLife<'a>(&'a Asks);

impl Asks {
    fn ask(&self) -> oneshot::Receiver<Made> {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        self.asked.notify_one();
        answered
    }

    /// Waits until somebody asks; also for who asked before this call.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    pub(crate) fn take(&self) -> Waiting {
        Waiting(std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) fn of_this_life(&self) -> OfThisLife<'_> {
        OfThisLife(self)
    }
}

impl Drop for OfThisLife<'_> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

impl Waiting {
    pub(crate) fn answer(self, result: &Result<Checkpoint, Error>) {
        for answer in self.0 {
            let made = match result {
                Ok(made) => Ok(made.clone()),
                Err(error) => Err(error_chain(error)),
            };
            // Whoever asked may be gone.
            let _ = answer.send(made);
        }
    }
}
