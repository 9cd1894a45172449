//! States of then: a private store per partition, folded up to where it is asked for.
//!
//! It is kept for a while and folded on when a later moment is asked, also after a call that ran into
//! its deadline or went away; an earlier moment begins anew. One partition is folded at a time, on a thread
//! of the blocking pool, which has all private stores in its hands until it has put its own back. All
//! stores share one budget of memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::future::BoxFuture;
use tickfold_log::Offset;
use tickfold_processor::{MutedError, Options};
use tickfold_query::{History, Moment, NotThen, Reason};
use tickfold_store::{Checkpoint, PartitionStore, RocksStores, Snapshot, Stores};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Ground, check_disk, remove_dir};

/// How long a private store is kept after it was last asked.
const KEPT: Duration = Duration::from_secs(600);

/// How often those are looked for that were not asked for so long.
const PRUNE_PAUSE: Duration = Duration::from_secs(30);

/// How long before the deadline an answer of our own is given.
const MARGIN: Duration = Duration::from_millis(500);

/// Bounds of a step, so that one takes a small part of the margin.
const STEP_RECORDS: usize = 2_000;
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// Private stores by partition.
type Kept = Arc<Mutex<BTreeMap<u32, Private>>>;

/// Makes states of then. See the module's description.
#[derive(Debug)]
pub(crate) struct Then {
    ground: Ground,
    dir: PathBuf,
    /// No store is open in it: its memory is that of all private ones.
    memory: Arc<RocksStores>,
    next: Arc<AtomicU64>,
    kept: Kept,
    pruning: JoinHandle<()>,
}

impl Drop for Then {
    fn drop(&mut self) {
        self.pruning.abort();
    }
}

/// A store that nobody else has. Gone with it when dropped.
#[derive(Debug)]
struct Private {
    stores: RocksStores,
    store: Box<dyn PartitionStore>,
    dir: PathBuf,
    used: Instant,
}

impl Drop for Private {
    fn drop(&mut self) {
        // RocksDB may still have it open; what is left is removed at the next start.
        let _ = remove_dir(&self.dir);
    }
}

impl Then {
    /// Removes what an earlier process left.
    pub(crate) fn new(ground: Ground) -> Result<Self> {
        let dir = ground.state_dir.join("then");
        remove_dir(&dir)?;
        let fold_options = Options {
            batch_records_max: STEP_RECORDS,
            batch_bytes_max: STEP_BYTES,
            ..(*ground.fold_options).clone()
        };
        let ground = Ground { fold_options: Arc::new(fold_options), ..ground };
        let memory = Arc::new(RocksStores::at(BTreeMap::new(), ground.store_options.clone()));
        let kept = Kept::default();
        let pruning = tokio::spawn(prune(Arc::clone(&kept)));
        Ok(Self { ground, dir, memory, next: Arc::default(), kept, pruning })
    }

    async fn make(
        &self,
        partition: u32,
        moment: Moment,
        deadline: Instant,
    ) -> Result<Box<dyn Snapshot>, NotThen> {
        let place = self.ground.place(partition);
        let log_failed = |error: tickfold_log::Error| not(Reason::LogUnavailable, error);
        let bounds = self.ground.log.bounds(&place).await.map_err(log_failed)?;
        let until = match moment {
            Moment::Offset(offset) => offset,
            Moment::Time(time) => {
                let after = time.as_millis().saturating_add(1);
                self.ground.log.offset_at(&place, after).await.map_err(log_failed)?
            }
        };
        if until > bounds.end {
            let what = format!(
                "at: raw of partition {partition} ends at {}, {until} is not there yet",
                bounds.end
            );
            return Err(NotThen { reason: Reason::InvalidArgument, message: what });
        }
        let patience = deadline.checked_sub(MARGIN).unwrap_or(deadline);
        let kept = tokio::time::timeout_at(patience, Arc::clone(&self.kept).lock_owned()).await;
        let mut kept = kept.map_err(|_| {
            let what = "another state of then is being folded: the same call again waits on";
            not_now(Reason::DeadlineExceeded, what)
        })?;
        let cancel = CancellationToken::new();
        let _cancel = cancel.clone().drop_guard();
        let making = Making {
            ground: self.ground.clone(),
            memory: Arc::clone(&self.memory),
            dir: self.dir.clone(),
            next: Arc::clone(&self.next),
            partition,
            start: bounds.start,
            until,
        };
        let runtime = Handle::current();
        // The task puts the store back by itself: whoever waits for it here may go away.
        let work = move || {
            let mut private = making.nearest(kept.remove(&partition))?;
            let folded = runtime.block_on(making.fold(&mut private, deadline, &cancel));
            private.used = Instant::now();
            let snapshot = private.stores.view(partition).snapshot();
            if folded.as_ref().err().is_none_or(is_passing) {
                kept.insert(partition, private);
            }
            folded?;
            let snapshot = snapshot.map_err(|error| not(Reason::StoreReadFailed, error))?;
            snapshot.ok_or_else(|| not_now(Reason::Defect, "the private store is not open"))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| Err(not_now(Reason::Defect, "folding panicked")))
    }
}

/// Removes the stores that were not asked for a while.
async fn prune(kept: Kept) {
    loop {
        tokio::time::sleep(PRUNE_PAUSE).await;
        let mut kept = Arc::clone(&kept).lock_owned().await;
        // It closes databases and removes files.
        let prune = move || kept.retain(|_, private| private.used.elapsed() < KEPT);
        // A panic there is told by its hook, and the next time tries again.
        let _ = tokio::task::spawn_blocking(prune).await;
    }
}

/// Whether what is folded so far is to be folded on. A full disk is none of that: the live state needs the
/// room.
fn is_passing(why: &NotThen) -> bool {
    matches!(why.reason, Reason::DeadlineExceeded | Reason::LogUnavailable)
}

impl History for Then {
    fn at(
        &self,
        partition: u32,
        moment: Moment,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Box<dyn Snapshot>, NotThen>> {
        Box::pin(self.make(partition, moment, deadline))
    }
}

impl Private {
    /// On a checkpoint, or on nothing.
    fn open(
        memory: &RocksStores,
        dir: PathBuf,
        partition: u32,
        on: Option<&Checkpoint>,
    ) -> Result<Self, tickfold_store::Error> {
        let open = || {
            let stores = memory.beside(&dir)?;
            if let Some(checkpoint) = on {
                stores.restore(partition, checkpoint)?;
            }
            let store = stores.open(partition)?;
            Ok((stores, store))
        };
        match open() {
            Ok((stores, store)) => Ok(Self { stores, store, dir, used: Instant::now() }),
            Err(error) => {
                // What is left is removed at the next start.
                let _ = remove_dir(&dir);
                Err(error)
            }
        }
    }

    fn cursor(&self) -> Offset {
        self.store.store_head().cursor
    }
}

/// A state of then that is made.
struct Making {
    ground: Ground,
    memory: Arc<RocksStores>,
    dir: PathBuf,
    next: Arc<AtomicU64>,
    partition: u32,
    /// First record of raw.
    start: Offset,
    until: Offset,
}

impl Making {
    /// What is nearest to where it is to end: the store that is kept, or the newest checkpoint that can be
    /// read, or nothing.
    fn nearest(&self, kept: Option<Private>) -> Result<Private, NotThen> {
        self.check_disk()?;
        let Self { partition, start, until, .. } = *self;
        let failed = |error: tickfold_store::Error| not(Reason::StoreReadFailed, error);
        let kept = kept.filter(|private| (start..=until).contains(&private.cursor()));
        let at = kept.as_ref().map(Private::cursor);
        let mut checkpoints = self.ground.checkpoints(partition, start, until).map_err(failed)?;
        checkpoints.retain(|one| at.is_none_or(|at| one.head.cursor > at));
        checkpoints.sort_by_key(|one| Reverse(one.head.cursor));
        let mut unread = None;
        for checkpoint in &checkpoints {
            match self.open(Some(checkpoint)) {
                Ok(private) => return Ok(private),
                // Damaged, or removed meanwhile: an older one may do.
                Err(error) => {
                    let id = &checkpoint.id;
                    warn!(partition, checkpoint = id, %error, "checkpoint left out, going on");
                    unread = Some(error);
                }
            }
        }
        match (kept, unread) {
            (Some(kept), _) => Ok(kept),
            (None, Some(error)) if start > 0 => Err(failed(error)),
            (None, None) if start > 0 => Err(trimmed(partition, start, until)),
            (None, _) => self.open(None).map_err(failed),
        }
    }

    fn open(&self, on: Option<&Checkpoint>) -> Result<Private, tickfold_store::Error> {
        let dir = self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let private = Private::open(&self.memory, dir, self.partition, on)?;
        let (partition, until, from) = (self.partition, self.until, private.cursor());
        info!(partition, until, from, "state of then begins");
        Ok(private)
    }

    /// Folds up to the offset, or as far as the time allows.
    async fn fold(
        &self,
        private: &mut Private,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Result<(), NotThen> {
        let Self { ground, partition, until, .. } = self;
        let (fold, place) = (ground.fold(*partition), ground.place(*partition));
        loop {
            let cursor = private.cursor();
            if cursor >= *until {
                return Ok(());
            }
            if cancel.is_cancelled() || Instant::now() + MARGIN >= deadline {
                let what = format!(
                    "the state of partition {partition} at {until} is folded up to {cursor}: the same \
                     call again goes on there, and a longer --timeout goes further"
                );
                return Err(not_now(Reason::DeadlineExceeded, &what));
            }
            self.check_disk()?;
            let step = fold.step(ground.log.as_ref(), &place, &mut *private.store, *until);
            // A log that does not answer holds nobody up who does not wait for it any more.
            let Some(step) = cancel.run_until_cancelled(step).await else { continue };
            step.map_err(|error| match error {
                MutedError::Trimmed { .. } => not(Reason::RawTrimmed, error),
                MutedError::Log(_) => not(Reason::LogUnavailable, error),
                _ => not(Reason::StoreReadFailed, error),
            })?;
        }
    }

    fn check_disk(&self) -> Result<(), NotThen> {
        check_disk(&self.ground.state_dir).map_err(|error| {
            not_now(Reason::StoreReadFailed, &format!("make the state of then: {error:#}"))
        })
    }
}

/// The log does not reach back to its first record.
fn trimmed(partition: u32, start: Offset, until: Offset) -> NotThen {
    let message = format!(
        "the raw log of partition {partition} begins at {start}, and no checkpoint stands between it and \
         {until}: the state of then cannot be made"
    );
    NotThen { reason: Reason::RawTrimmed, message }
}

fn not(reason: Reason, error: impl std::error::Error + Send + Sync + 'static) -> NotThen {
    let message = format!("{:#}", anyhow::Error::from(error).context("make the state of then"));
    NotThen { reason, message }
}

fn not_now(reason: Reason, message: &str) -> NotThen {
    NotThen { reason, message: message.to_owned() }
}

#[cfg(test)]
mod tests;
