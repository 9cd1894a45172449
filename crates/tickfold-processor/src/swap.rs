//! Having a partition stand still between two commits, and take another store in the place of its own.
//!
//! Whoever asks gets the partition in its hands: it stands still until it is given what to take, or is
//! let go. What is published of it, and which store it is, the asker says; that it becomes the state with
//! one commit, and only then, is seen to by the driver. A partition that is refused, as its state is of
//! another fold version, stands still anyhow: it is started with what it is to take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tickfold_core::fold::Output;
use tickfold_log::Committed;
use tickfold_store::StoreHead;
use tokio::sync::{Notify, oneshot, watch};

use crate::status::PartitionStatus;

/// How long a live partition may take to come between two commits.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a start may take from its claim to the end of the swap's commit.
const START_PATIENCE: Duration = Duration::from_secs(180);

/// What a partition that stands still is given: the store that was prepared beside its own.
#[derive(Debug)]
pub struct Takeover {
    /// Rows of the tables in which it differs from the live store.
    pub rows: Vec<Output>,
    /// Where it stands: at the cursor of the live store.
    pub head: StoreHead,
    /// Which turn of the partition's generations it is.
    pub turn: u64,
}

/// With what a partition is started that is refused.
#[derive(Debug)]
pub(crate) struct StartWith {
    /// The group's position that it was prepared for. Another one by then is another case.
    pub(crate) found: Committed,
    pub(crate) takeover: Takeover,
}

/// Why a partition did not take another store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError {
    /// It is not live here, or not refused where that is asked for.
    #[error("partition {0} is not live here")]
    NotLive(u32),
    /// It stopped or was lost meanwhile. Its next start finds out whether the other store was taken.
    #[error(
        "partition {0} stopped or was lost meanwhile: its next start has the one store or the other"
    )]
    Stopped(u32),
}

/// Asks the partitions of a processor.
#[derive(Debug, Clone)]
pub struct Swaps {
    asks: BTreeMap<u32, Arc<SwapAsks>>,
    statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
}

/// A partition that stands still for as long as this is there.
#[derive(Debug)]
pub struct Standing {
    partition: u32,
    head: StoreHead,
    takeover: oneshot::Sender<Box<Takeover>>,
    done: oneshot::Receiver<()>,
}

impl Swaps {
    pub(crate) fn new(
        asks: BTreeMap<u32, Arc<SwapAsks>>,
        statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
    ) -> Self {
        Self { asks, statuses }
    }

    /// Has a live partition stand still at its committed position. To be asked by one at a time.
    pub async fn stand_still(&self, partition: u32) -> Result<Standing, SwapError> {
        let is_live = self.statuses.get(&partition).is_some_and(|s| s.borrow().is_live());
        let asks = self.asks.get(&partition).filter(|_| is_live);
        let asks = asks.ok_or(SwapError::NotLive(partition))?;
        let standing = tokio::time::timeout(PATIENCE, asks.ask(partition)).await;
        match standing {
            Ok(Ok(standing)) => Ok(standing),
            Ok(Err(_)) | Err(_) => Err(SwapError::Stopped(partition)),
        }
    }

    /// Starts a refused partition with another store than it has, and waits until it goes on with it.
    /// The group must stand where it was found to.
    pub async fn start_with(
        &self,
        partition: u32,
        found: Committed,
        takeover: Takeover,
    ) -> Result<(), SwapError> {
        let is_refused = |status: &PartitionStatus| matches!(status, PartitionStatus::Refused(_));
        let is_refused = self.statuses.get(&partition).is_some_and(|s| is_refused(&s.borrow()));
        let asks = self.asks.get(&partition).filter(|_| is_refused);
        let asks = asks.ok_or(SwapError::NotLive(partition))?;
        let done = asks.start_with(StartWith { found, takeover });
        let done = tokio::time::timeout(START_PATIENCE, done).await;
        done.ok().and_then(Result::ok).ok_or(SwapError::Stopped(partition))
    }
}

impl Standing {
    /// Where the live store stands.
    pub fn head(&self) -> StoreHead {
        self.head
    }

    /// Gives it what to take, and waits until it goes on with it.
    pub async fn take(self, takeover: Takeover) -> Result<(), SwapError> {
        let Self { partition, takeover: to, done, .. } = self;
        let stopped = SwapError::Stopped(partition);
        if to.send(Box::new(takeover)).is_err() {
            return Err(stopped);
        }
        done.await.map_err(|_| stopped)
    }
}

/// Who waits for one partition.
#[derive(Debug, Default)]
pub(crate) struct SwapAsks {
    waiting: Mutex<Option<(u32, oneshot::Sender<Standing>)>>,
    done: Mutex<Option<oneshot::Sender<()>>>,
    asked: Notify,
    start: Mutex<Option<StartWith>>,
    start_asked: Notify,
}

/// Sends everybody away when it is dropped.
#[derive(Debug)]
pub(crate) struct OfThisLife<'a>(&'a SwapAsks);

impl SwapAsks {
    async fn ask(&self, partition: u32) -> Result<Standing, oneshot::error::RecvError> {
        let (answer, answered) = oneshot::channel();
        *lock(&self.waiting) = Some((partition, answer));
        self.asked.notify_one();
        answered.await
    }

    /// Waits until somebody asks; also for who asked before this call.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    fn start_with(&self, with: StartWith) -> oneshot::Receiver<()> {
        let (done, when_done) = oneshot::channel();
        *lock(&self.start) = Some(with);
        *lock(&self.done) = Some(done);
        self.start_asked.notify_one();
        when_done
    }

    /// Waits until a refused partition is to start with another store.
    pub(crate) async fn to_start_with(&self) -> StartWith {
        loop {
            self.start_asked.notified().await;
            if let Some(with) = lock(&self.start).take() {
                return with;
            }
        }
    }

    /// Hands the partition to who waits for it, until it is given something to take or let go.
    pub(crate) async fn stand(&self, head: StoreHead) -> Option<Box<Takeover>> {
        let (partition, waiting) = lock(&self.waiting).take()?;
        let (takeover, taken) = oneshot::channel();
        let (done, when_done) = oneshot::channel();
        *lock(&self.done) = Some(done);
        // Whoever asked may be gone: then nothing is given.
        let _ = waiting.send(Standing { partition, head, takeover, done: when_done });
        taken.await.ok()
    }

    /// The other store is open.
    pub(crate) fn done(&self) {
        if let Some(done) = lock(&self.done).take() {
            let _ = done.send(());
        }
    }

    pub(crate) fn of_this_life(&self) -> OfThisLife<'_> {
        OfThisLife(self)
    }
}

impl Drop for OfThisLife<'_> {
    fn drop(&mut self) {
        drop((lock(&self.0.waiting).take(), lock(&self.0.done).take()));
        drop(lock(&self.0.start).take());
    }
}

/// What these mutexes guard is whole at any moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
