//! A replay with its shadow: a store per partition, folded by threads that take one partition after
//! the other and give way to everything else on the machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tickfold_core::FOLD_VERSION;
use tickfold_log::Offset;
use tickfold_store::{Checkpoint, PartitionStore, RocksStores, Stores};
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::spec::{Range, Spec};
use crate::fail_points;
use crate::history::{Ground, check_disk, remove_dir};

/// The file that says what a replay is of, within its directory.
const FILE: &str = "replay.json";

/// Rows that its threads together gather before they write them to files: the more, the less often one
/// that changes is written.
const GATHERED_BYTES: usize = 192 * 1024 * 1024;

/// How often who works on a replay is told to end.
const CANCEL: Duration = Duration::from_millis(50);

/// By how much its threads are nicer than others.
const NICE: i32 = 10;

/// A replay. See the module's description.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) spec: Spec,
    pub(super) stores: RocksStores,
    dir: PathBuf,
    ground: Ground,
    progress: Mutex<Progress>,
    /// Held by whoever folds the shadow on: the thread, or a comparison.
    pub(super) work: Arc<tokio::sync::Mutex<()>>,
    /// What its file says: the spec, but for checkpoints that another one took the place of.
    filed: Mutex<Spec>,
    /// Why it is good for nothing but to be discarded, where it could not be opened.
    pub(super) unusable: Option<String>,
}

/// What a replay does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Stopped,
    Done,
    Failed(String),
}

/// How far it is.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) state: State,
    /// The next offset of each partition.
    pub(super) positions: BTreeMap<u32, Offset>,
    /// Since it was begun or gone on with.
    pub(super) records: u64,
    pub(super) selected: u64,
    pub(super) elapsed: Duration,
    stop: CancellationToken,
}

impl Progress {
    fn at(state: State, positions: BTreeMap<u32, Offset>) -> Self {
        Self {
            state,
            positions,
            records: 0,
            selected: 0,
            elapsed: Duration::ZERO,
            stop: CancellationToken::new(),
        }
    }
}

impl Shadow {
    /// The directory of a replay.
    pub(super) fn dir(ground: &Ground, generation: u64) -> PathBuf {
        ground.state_dir.join(format!("replay-{generation}"))
    }

    /// Begins one: once this returns it survives the process.
    pub(super) fn create(ground: &Ground, spec: Spec) -> Result<Self> {
        let dir = Self::dir(ground, spec.generation);
        // What is there already is another one's.
        std::fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let created =
            spec.write(&dir.join(FILE)).and_then(|()| Self::open(ground, spec, dir.clone()));
        if created.is_err() {
            // Else the next start finds it.
            let _ = remove_dir(&dir);
        }
        created
    }

    /// The greatest number of a replay on the disk, and the replay that an earlier process left, if there is
    /// one. What a crash left of one that was being discarded is removed.
    pub(super) fn find(ground: &Ground) -> Result<(u64, Option<Self>)> {
        let (mut greatest, mut found) = (0, None);
        let listed = std::fs::read_dir(&ground.state_dir);
        let listed = listed.with_context(|| format!("list {}", ground.state_dir.display()))?;
        for entry in listed {
            let path = entry.context("list the state directory")?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix("replay-").and_then(|number| number.parse::<u64>().ok());
            let Some(generation) = number else { continue };
            greatest = greatest.max(generation);
            // Only what certainly has no file: one that cannot be looked at now may be there.
            if matches!(path.join(FILE).try_exists(), Ok(false)) {
                if let Err(failure) = remove_dir(&path) {
                    warn!(generation, failure = format!("{failure:#}"), "a discarded replay stays");
                }
                continue;
            }
            found = found.max(Some((generation, path)));
        }
        let Some((generation, dir)) = found else { return Ok((greatest, None)) };
        let opened = Spec::read(&dir.join(FILE)).and_then(|spec| Self::open(ground, spec, dir));
        let shadow = opened
            .unwrap_or_else(|failure| Self::unusable(ground, generation, format!("{failure:#}")));
        Ok((greatest, Some(shadow)))
    }

    /// One that is on the disk and cannot be opened: it is shown, and can be discarded.
    pub(super) fn unusable(ground: &Ground, generation: u64, why: String) -> Self {
        let spec = Spec { generation, ..Spec::whole(BTreeMap::new()) };
        let stores = RocksStores::at(BTreeMap::new(), ground.store_options.clone());
        let progress = Progress::at(State::Failed(why.clone()), BTreeMap::new());
        let dir = Self::dir(ground, generation);
        Self { unusable: Some(why), ..Self::new(ground, spec, stores, dir, progress) }
    }

    fn new(
        ground: &Ground,
        spec: Spec,
        stores: RocksStores,
        dir: PathBuf,
        progress: Progress,
    ) -> Self {
        let (ground, progress) = (ground.clone(), Mutex::new(progress));
        let (filed, work) = (Mutex::new(spec.clone()), Arc::default());
        Self { spec, stores, dir, ground, progress, work, filed, unusable: None }
    }

    fn open(ground: &Ground, spec: Spec, dir: PathBuf) -> Result<Self> {
        let stores = RocksStores::open(&dir, ground.store_options.clone());
        let stores = stores.context("open the shadow")?;
        let (mut positions, mut is_done) = (BTreeMap::new(), true);
        for (&partition, range) in &spec.partitions {
            let is_elsewhere =
                is_swapped(ground, &spec, partition)? || is_prepared(ground, &spec, partition)?;
            let is_begun = is_elsewhere || dir.join(partition.to_string()).exists();
            let position = if is_elsewhere {
                range.to
            } else if is_begun {
                let store = stores.open(partition).context("open the shadow")?;
                store.store_head().cursor.max(range.from)
            } else {
                range.from
            };
            // Where nothing is to be folded, there is a store all the same once that is done.
            is_done &= position >= range.to && (is_begun || range.from < range.to);
            positions.insert(partition, position);
        }
        let state = if is_done { State::Done } else { State::Stopped };
        Ok(Self::new(ground, spec, stores, dir, Progress::at(state, positions)))
    }

    /// The kept generations of these partitions, as a shadow that is at its end.
    pub(super) fn kept(ground: &Ground, kept: &BTreeMap<u32, u64>) -> Result<Self> {
        let paths = kept.iter().map(|(&partition, &generation)| {
            (partition, ground.live.generation_dir(partition, generation))
        });
        let stores = RocksStores::at(paths.collect(), ground.store_options.clone());
        let mut partitions = BTreeMap::new();
        for &partition in kept.keys() {
            let store = stores.open(partition).context("open the kept state")?;
            let to = store.store_head().cursor;
            let range = Range { from: 0, checkpoint: None, to, is_open: true };
            partitions.insert(partition, range);
        }
        let positions = partitions.iter().map(|(partition, range)| (*partition, range.to));
        let progress = Progress::at(State::Done, positions.collect());
        let (spec, dir) = (Spec::whole(partitions), ground.state_dir.clone());
        Ok(Self::new(ground, spec, stores, dir, progress))
    }

    /// Whether the state of a partition is the live one by now.
    pub(super) fn is_swapped(&self, partition: u32) -> Result<bool> {
        is_swapped(&self.ground, &self.spec, partition)
    }

    /// Whether it is a replay no more: its states are the live ones.
    pub(super) fn are_all_swapped(&self) -> Result<bool> {
        for partition in self.spec.partitions.keys() {
            if !self.is_swapped(*partition)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes partitions back that were prepared to become live and did not, which is known once they are
    /// started.
    pub(super) fn settle(&self, is_started: impl Fn(u32) -> bool) -> Result<()> {
        for &partition in self.spec.partitions.keys() {
            if is_prepared(&self.ground, &self.spec, partition)? && is_started(partition) {
                let back = self.ground.live.withdraw(partition, &self.path(partition));
                back.with_context(|| format!("take the shadow of partition {partition} back"))?;
            }
        }
        Ok(())
    }

    pub(super) fn progress(&self) -> Progress {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // Whole at any moment, so a panic elsewhere does not spoil it.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds up to the end on threads of its own, which hold `work` meanwhile.
    pub(super) fn run(self: &Arc<Self>, rate_max: u32, work: OwnedMutexGuard<()>) -> Result<()> {
        let stop = self.begin();
        {
            let mut progress = self.lock();
            progress.state = State::Running;
            (progress.records, progress.selected) = (0, 0);
            progress.elapsed = Duration::ZERO;
        }
        let (shadow, runtime) = (Arc::clone(self), Handle::current());
        let run = move || {
            // What the shadow holds is given up before the next one may work on it.
            let (_work, shadow) = (work, shadow);
            let ended = shadow.fold_all(&runtime, rate_max, &stop);
            let generation = shadow.spec.generation;
            let state = match ended {
                Ok(()) if stop.is_cancelled() => State::Stopped,
                Ok(()) => State::Done,
                Err(failure) => {
                    let failure = format!("{failure:#}");
                    error!(generation, failure, "replay failed");
                    State::Failed(failure)
                }
            };
            info!(generation, ?state, "replay ended");
            shadow.lock().state = state;
        };
        let thread = std::thread::Builder::new().name("replay".to_owned()).spawn(run);
        thread.map(drop).context("start the thread of the replay")
    }

    /// What ends the work that is begun now, when the replay is stopped. For the holder of `work`.
    pub(super) fn begin(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        self.lock().stop = stop.clone();
        stop
    }

    /// Lets whoever works on it end, and waits until nobody does. Nobody can as long as the caller has what
    /// this returns.
    pub(super) async fn stop(&self) -> OwnedMutexGuard<()> {
        let mut work = pin!(Arc::clone(&self.work).lock_owned());
        loop {
            // Again and again, as who has just taken the work has not begun yet.
            self.lock().stop.cancel();
            if let Ok(work) = tokio::time::timeout(CANCEL, &mut work).await {
                return work;
            }
        }
    }

    /// Folds all partitions, some at a time. The first failure ends the others.
    fn fold_all(&self, runtime: &Handle, rate_max: u32, stop: &CancellationToken) -> Result<()> {
        let begun = Instant::now();
        let left = Mutex::new(self.spec.partitions.iter());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let ended = CancellationToken::new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(self.spec.partitions.len()).max(1);
        let gathered = GATHERED_BYTES / threads;
        let work = || {
            give_way();
            while let Some((&partition, range)) = next()
                && !stop.is_cancelled()
                && !ended.is_cancelled()
            {
                let rate = (rate_max, begun);
                let folded = self.fold_one(runtime, partition, range, gathered, rate, stop);
                if folded.is_err() {
                    ended.cancel();
                    return folded;
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut ended = Ok(());
            // All are waited for, whichever failed.
            for thread in threads {
                let one = thread.join();
                let one = one.unwrap_or_else(|_| bail!("the fold of a partition panicked"));
                ended = ended.and(one);
            }
            ended
        })
    }

    fn fold_one(
        &self,
        runtime: &Handle,
        partition: u32,
        range: &Range,
        gathered: usize,
        (rate_max, begun): (u32, Instant),
        stop: &CancellationToken,
    ) -> Result<()> {
        if self.is_swapped(partition)? {
            return Ok(());
        }
        runtime.block_on(self.restore(partition, range.to))?;
        let bulk = |partition| self.stores.open_bulk(partition, gathered);
        let mut store = self.open_with(partition, bulk)?;
        let each = |records: u64, selected: u64, position: Offset| {
            fail_points::replayed();
            let mut progress = self.lock();
            progress.records += records;
            progress.selected += selected;
            progress.elapsed = begun.elapsed();
            progress.positions.insert(partition, position);
            due(progress.records, rate_max).saturating_sub(progress.elapsed)
        };
        // Not more than a second's worth, so that the pauses behind batches are short.
        let batch = if rate_max == 0 { u32::MAX } else { rate_max };
        let to = range.to;
        runtime.block_on(self.fold_partition(partition, &mut *store, to, batch, stop, each))?;
        store.flush().context("flush the shadow")
    }

    /// The store of a partition, at the beginning of its range or further on.
    pub(super) fn open_partition(&self, partition: u32) -> Result<Box<dyn PartitionStore>> {
        self.open_with(partition, |partition| self.stores.open(partition))
    }

    fn open_with(
        &self,
        partition: u32,
        open: impl FnOnce(u32) -> Result<Box<dyn PartitionStore>, tickfold_store::Error>,
    ) -> Result<Box<dyn PartitionStore>> {
        // Its store is where the next live one waits. A new one here would be another, and stand in its way.
        if is_prepared(&self.ground, &self.spec, partition)? {
            bail!(
                "an earlier swap of partition {partition} is not settled: ask again once it is live"
            );
        }
        let (from, checkpoint) = self.begin_of(partition);
        if let Some(id) = checkpoint
            && !self.path(partition).exists()
        {
            bail!("the shadow of partition {partition}, which began on checkpoint {id}, is gone");
        }
        let mut store = open(partition).context("open the shadow")?;
        let head = store.store_head();
        if head.fold_version != FOLD_VERSION && self.spec.generation == 0 {
            bail!(
                "the kept state was folded by fold version {}, this program folds version \
                 {FOLD_VERSION}: the program that wrote it can roll back",
                head.fold_version
            );
        }
        if head.fold_version != FOLD_VERSION {
            bail!(
                "the shadow was folded by fold version {}, this program folds version {FOLD_VERSION}: \
                 discard it and replay again",
                head.fold_version
            );
        }
        // Nothing is folded yet, and doing it twice is doing it once.
        if head.cursor <= from {
            let fold = self.spec.fold(&self.ground, partition)?;
            fold.begin(&mut *store, from).context("begin the shadow")?;
        }
        Ok(store)
    }

    /// Where a partition begins, and on which checkpoint.
    pub(super) fn begin_of(&self, partition: u32) -> (Offset, Option<String>) {
        let filed = self.filed.lock().unwrap_or_else(PoisonError::into_inner);
        let range = filed.partitions.get(&partition);
        range.map_or((0, None), |range| (range.from, range.checkpoint.clone()))
    }

    /// Restores the checkpoint that a partition begins on, if that is not done yet. It was the oldest one
    /// when the replay was begun, so it is the first that the live node removes: then the one that is the
    /// oldest by now takes its place.
    async fn restore(&self, partition: u32, to: Offset) -> Result<()> {
        if self.path(partition).exists() || is_prepared(&self.ground, &self.spec, partition)? {
            return Ok(());
        }
        while let (_, Some(id)) = self.begin_of(partition) {
            let list = || self.ground.live.checkpoints(partition).context("list checkpoints");
            let found = match list()?.into_iter().find(|checkpoint| checkpoint.id == id) {
                Some(found) => found,
                None => self.begin_on_another(partition, &id, to).await?,
            };
            match self.stores.restore(partition, &found) {
                Ok(()) => break,
                // It was removed just now.
                Err(_) if !list()?.contains(&found) => {}
                Err(error) => return Err(error).context("restore the checkpoint"),
            }
        }
        Ok(())
    }

    /// Has a partition of which nothing is folded yet begin on the oldest checkpoint. The file says so before
    /// that is restored.
    async fn begin_on_another(&self, partition: u32, gone: &str, to: Offset) -> Result<Checkpoint> {
        let bounds = self.ground.log.bounds(&self.ground.place(partition)).await;
        let start = bounds.context("look at raw")?.start;
        let found = self.ground.checkpoints(partition, start, to).context("list checkpoints")?;
        let oldest = found.into_iter().min_by_key(|checkpoint| checkpoint.head.cursor);
        let oldest = oldest.with_context(|| {
            format!(
                "checkpoint {gone}, on which partition {partition} was to begin, is gone, and so is each \
                 other one that would do: discard the replay, and begin it again"
            )
        })?;
        let from = oldest.head.cursor;
        let mut filed = self.filed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spec = filed.clone();
        if let Some(range) = spec.partitions.get_mut(&partition) {
            (range.from, range.checkpoint) = (from, Some(oldest.id.clone()));
        }
        spec.write(&self.dir.join(FILE))?;
        *filed = spec;
        self.lock().positions.insert(partition, from);
        info!(partition, gone, from, "replay begins on another checkpoint");
        Ok(oldest)
    }

    /// Folds a partition up to an offset, at most `batch` records at a time. `each` is told of each batch, and says for how long to
    /// pause after it.
    pub(super) async fn fold_partition(
        &self,
        partition: u32,
        store: &mut dyn PartitionStore,
        until: Offset,
        batch: u32,
        stop: &CancellationToken,
        each: impl Fn(u64, u64, Offset) -> Duration,
    ) -> Result<()> {
        let (fold, place) =
            (self.spec.fold(&self.ground, partition)?, self.ground.place(partition));
        let fold = fold.in_batches_of(usize::try_from(batch).unwrap_or(usize::MAX));
        while !stop.is_cancelled() {
            check_disk(&self.dir)?;
            let step = fold.step(self.ground.log.as_ref(), &place, store, until).await;
            let step = step.with_context(|| format!("fold partition {partition}"))?;
            let Some(folded) = step else { break };
            let pause = each(folded.records, folded.selected, store.store_head().cursor);
            if !pause.is_zero() {
                let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
        }
        Ok(())
    }

    /// Removes it: once the file is gone it is none any more.
    pub(super) fn discard(self) -> Result<()> {
        let Self { stores, dir, .. } = self;
        drop(stores);
        Self::remove(&dir)
    }

    /// Removes what is left of one whose partitions are all live.
    pub(super) fn leave(&self) -> Result<()> {
        Self::remove(&self.dir)
    }

    fn remove(dir: &Path) -> Result<()> {
        let file = dir.join(FILE);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.with_context(|| format!("remove {}", file.display()))?,
        }
        remove_dir(dir)
    }

    /// Where the store of a partition is.
    pub(super) fn path(&self, partition: u32) -> PathBuf {
        Path::join(&self.dir, partition.to_string())
    }
}

fn is_swapped(ground: &Ground, spec: &Spec, partition: u32) -> Result<bool> {
    Ok(spec.generation > 0 && ground.live.generations(partition)?.live == spec.generation)
}

/// Whether it was to become the live one, and it is not said yet whether it did.
fn is_prepared(ground: &Ground, spec: &Spec, partition: u32) -> Result<bool> {
    Ok(spec.generation > 0 && ground.live.generations(partition)?.next == Some(spec.generation))
}

/// Lowers the priority of this thread: a replay gets what is left over.
fn give_way() {
    // It goes on without, where the system does not let it.
    let _ = rustix::process::nice(NICE);
}

/// When so many records may have been folded.
fn due(records: u64, rate_max: u32) -> Duration {
    if rate_max == 0 {
        return Duration::ZERO;
    }
    let micros = u128::from(records) * 1_000_000 / u128::from(rate_max);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_when_records_are_due() {
        assert_eq!(due(1_000_000, 0), Duration::ZERO);
        assert_eq!(due(500, 1_000), Duration::from_millis(500));
    }
}
