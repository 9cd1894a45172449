//! States of then: a private store per partition, folded up to where it is asked for.
//!
//! It is kept for a while and folded on when a later moment is asked, also after a call that ran into
//! its deadline; an earlier moment begins anew. One partition is folded at a time, on a thread of the
//! blocking pool. All stores share one budget of memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::future::BoxFuture;
use tickfold_core::FOLD_VERSION;
use tickfold_log::Offset;
use tickfold_processor::MutedError;
use tickfold_query::{History, Moment, NotThen, Reason};
use tickfold_store::{Checkpoint, PartitionStore, RocksStores, Snapshot, Stores};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Ground, check_disk, remove_dir};

/// How long a private store is kept after it was last asked.
const KEPT: Duration = Duration::from_secs(600);

/// How long before the deadline an answer of our own is given.
const MARGIN: Duration = Duration::from_millis(500);

/// Makes states of then. See the module's description.
#[derive(Debug)]
pub(crate) struct Then {
    ground: Ground,
    dir: PathBuf,
    /// No store is open in it: its memory is that of all private ones.
    memory: Arc<RocksStores>,
    next: AtomicU64,
    kept: Mutex<BTreeMap<u32, Private>>,
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
        let memory = Arc::new(RocksStores::at(BTreeMap::new(), ground.store_options.clone()));
        Ok(Self { ground, dir, memory, next: AtomicU64::new(0), kept: Mutex::default() })
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
        let mut kept = self.kept.lock().await;
        kept.retain(|_, private| private.used.elapsed() < KEPT);
        let found = kept.remove(&partition);
        let cancel = CancellationToken::new();
        let _cancel = cancel.clone().drop_guard();
        let (ground, dir) = (self.ground.clone(), self.fresh_dir());
        let memory = Arc::clone(&self.memory);
        let runtime = Handle::current();
        let work = move || {
            let found = found.filter(|private| private.store.store_head().cursor <= until);
            let nearest = nearest(&ground, partition, bounds.start, until)?;
            let cursor_of = |one: &Checkpoint| one.head.cursor;
            let best = nearest.as_ref().map_or(0, cursor_of);
            let mut private = match found {
                Some(private) if private.store.store_head().cursor >= best => private,
                _ => {
                    if nearest.is_none() && bounds.start > 0 {
                        return Err(trimmed(partition, bounds.start, until));
                    }
                    Private::open(&memory, dir, partition, nearest, until)?
                }
            };
            let folded =
                runtime.block_on(fold(&ground, partition, &mut private, until, deadline, &cancel));
            Ok((private, folded))
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|_| Err(not_now(Reason::Defect, "folding panicked")));
        let (mut private, folded) = done?;
        private.used = Instant::now();
        let snapshot = private.stores.view(partition).snapshot();
        kept.insert(partition, private);
        folded?;
        let snapshot = snapshot.map_err(|error| not(Reason::StoreReadFailed, error))?;
        snapshot.ok_or_else(|| not_now(Reason::Defect, "the private store is not open"))
    }

    fn fresh_dir(&self) -> PathBuf {
        self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
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
        nearest: Option<Checkpoint>,
        until: Offset,
    ) -> Result<Self, NotThen> {
        let failed = |error: tickfold_store::Error| not(Reason::StoreReadFailed, error);
        let stores = memory.beside(&dir).map_err(failed)?;
        if let Some(checkpoint) = nearest {
            stores.restore(partition, &checkpoint).map_err(failed)?;
        }
        let store = stores.open(partition).map_err(failed)?;
        info!(partition, until, from = store.store_head().cursor, "state of then begins");
        Ok(Self { stores, store, dir, used: Instant::now() })
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

fn nearest(
    ground: &Ground,
    partition: u32,
    start: Offset,
    until: Offset,
) -> Result<Option<Checkpoint>, NotThen> {
    let found = ground.checkpoints(partition, start, until);
    let found = found.map_err(|error| not(Reason::StoreReadFailed, error))?;
    debug_assert!(found.iter().all(|one| one.head.fold_version == FOLD_VERSION));
    Ok(found.into_iter().max_by_key(|checkpoint| checkpoint.head.cursor))
}

/// Folds up to the offset, or as far as the time allows.
async fn fold(
    ground: &Ground,
    partition: u32,
    private: &mut Private,
    until: Offset,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<(), NotThen> {
    let (fold, place) = (ground.fold(partition), ground.place(partition));
    loop {
        let cursor = private.store.store_head().cursor;
        if cursor >= until {
            return Ok(());
        }
        if cancel.is_cancelled() || Instant::now() + MARGIN >= deadline {
            let what = format!(
                "the state of partition {partition} at {until} is folded up to {cursor}: the same call \
                 again goes on there, and a longer --timeout goes further"
            );
            return Err(not_now(Reason::DeadlineExceeded, &what));
        }
        check_disk(&ground.state_dir).map_err(|error| {
            not_now(Reason::StoreReadFailed, &format!("make the state of then: {error:#}"))
        })?;
        let step = fold.step(ground.log.as_ref(), &place, &mut *private.store, until).await;
        step.map_err(|error| match error {
            MutedError::Trimmed { .. } => not(Reason::RawTrimmed, error),
            MutedError::Log(_) => not(Reason::LogUnavailable, error),
            _ => not(Reason::StoreReadFailed, error),
        })?;
    }
}

fn not(reason: Reason, error: impl std::error::Error + Send + Sync + 'static) -> NotThen {
    let message = format!("{:#}", anyhow::Error::from(error).context("make the state of then"));
    NotThen { reason, message }
}

fn not_now(reason: Reason, message: &str) -> NotThen {
    NotThen { reason, message: message.to_owned() }
}
