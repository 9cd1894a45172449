//! The replay service of this process: one replay at a time, of partitions that are here.

mod diff;
mod plan;
mod rollback;
mod rpc;
mod shadow;
mod spec;
mod swap;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tickfold_processor::driver::Refusal;
use tickfold_processor::{PartitionStatus, Swaps};
use tickfold_proto::admin::v1 as pb;
use tickfold_query::Reason;
use tickfold_store::StoreGenerations;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch};
use tonic::Status;
use tracing::{info, warn};

use super::Ground;
use super::then::Then;
use crate::node::now;
use rollback::Rollback;
use shadow::{Shadow, State};
use spec::Spec;
use swap::By;

pub(super) use swap::{BYTES_MAX_EMBEDDED, BYTES_MAX_KAFKA};

/// How long a partition that starts is waited for before it is swapped.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Parts of a comparison or a swap that wait for the caller.
const PARTS_QUEUE: usize = 16;

/// The service. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Replays(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    ground: Ground,
    then: Arc<Then>,
    statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
    swaps: Swaps,
    /// Kept states that are made live again.
    kept: Mutex<Option<Arc<Shadow>>>,
    /// Held while a replay is begun, gone on with or discarded.
    current: Mutex<Option<Arc<Shadow>>>,
    /// A replay that was discarded, until its caller has heard of it.
    unheard: std::sync::Mutex<Option<u64>>,
    /// The greatest number that a replay of this directory has had.
    generation: std::sync::atomic::AtomicU64,
}

impl Replays {
    /// Finds the replay that an earlier process left; it does not go on by itself.
    pub(crate) fn open(
        ground: Ground,
        then: Arc<Then>,
        statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
        swaps: Swaps,
    ) -> Self {
        // A replay must not keep a node from starting.
        let (greatest, found) = Shadow::find(&ground).unwrap_or_else(|failure| {
            warn!(failure = format!("{failure:#}"), "replays are not looked for");
            (0, None)
        });
        if let Some(shadow) = &found {
            let (generation, state) = (shadow.spec.generation, shadow.progress().state);
            match &shadow.unusable {
                None => info!(generation, ?state, "found a replay"),
                Some(failure) => warn!(generation, failure, "found a replay that is not usable"),
            }
        }
        // Numbers of states are not given twice, also where a replay is long gone.
        let of_states = statuses.keys().map(|partition| {
            let of = ground.live.generations(*partition).unwrap_or_else(|error| {
                warn!(partition, ?error, "generations are not read");
                StoreGenerations::default()
            });
            let StoreGenerations { live, kept, next, .. } = of;
            live.max(kept.unwrap_or(0)).max(next.unwrap_or(0))
        });
        let generation = of_states.max().unwrap_or(0).max(greatest);
        Self(Arc::new(Parts {
            ground,
            then,
            statuses,
            swaps,
            kept: Mutex::default(),
            current: Mutex::new(found.map(Arc::new)),
            unheard: std::sync::Mutex::default(),
            generation: generation.into(),
        }))
    }

    /// Lets a replay that runs end, before its log is closed.
    pub(crate) async fn stop(&self) {
        let shadows = [self.0.current.lock().await.clone(), self.0.kept.lock().await.clone()];
        for shadow in shadows.into_iter().flatten() {
            drop(shadow.stop().await);
        }
    }
}

impl Parts {
    /// Partitions whose owner this process is.
    fn here(&self) -> Vec<u32> {
        let is_here = |status: &watch::Receiver<PartitionStatus>| match *status.borrow() {
            PartitionStatus::Starting
            | PartitionStatus::Restoring { .. }
            | PartitionStatus::Live { .. }
            | PartitionStatus::Refused(_) => true,
            PartitionStatus::Elsewhere
            | PartitionStatus::Following { .. }
            | PartitionStatus::Stopped => false,
        };
        let here = self.statuses.iter().filter(|(_, status)| is_here(status));
        here.map(|(partition, _)| *partition).collect()
    }

    async fn resolve(&self, scope: pb::ReplayScope) -> Result<Spec, Status> {
        let is_refused = |status: &watch::Receiver<PartitionStatus>| {
            matches!(*status.borrow(), PartitionStatus::Refused(_))
        };
        let refused = self.statuses.iter().filter(|(_, status)| is_refused(status));
        let refused: Vec<_> = refused.map(|(partition, _)| *partition).collect();
        let now_ms = now().as_millis();
        Spec::resolve(&self.ground, scope, &self.here(), &refused, now_ms).await
    }

    /// Whether it is refused since another fold version wrote its state.
    fn is_of_other_version(&self, partition: u32) -> bool {
        let status = self.statuses.get(&partition);
        status.is_some_and(|status| is_of_other_version(&status.borrow()))
    }

    /// Whether it was taken away, so that what is kept of it here stands still.
    fn is_gone(&self, partition: u32) -> bool {
        self.statuses.get(&partition).is_none_or(|status| {
            matches!(*status.borrow(), PartitionStatus::Elsewhere | PartitionStatus::Stopped)
        })
    }

    /// Whether its start has seen which state is the live one.
    fn is_started(&self, partition: u32) -> bool {
        let status = self.statuses.get(&partition).map(|status| status.borrow().clone());
        matches!(status, Some(PartitionStatus::Live { .. } | PartitionStatus::Refused(_)))
    }

    /// Whether it is live, or soon is; or refused as its state is of another fold version, which a swap
    /// helps.
    async fn is_swappable(&self, partition: u32) -> bool {
        let Some(status) = self.statuses.get(&partition) else { return false };
        let mut status = status.clone();
        let is_said = |status: &PartitionStatus| {
            !matches!(status, PartitionStatus::Starting | PartitionStatus::Restoring { .. })
        };
        let said = tokio::time::timeout(START_PATIENCE, status.wait_for(is_said)).await;
        matches!(said, Ok(Ok(status)) if status.is_live() || is_of_other_version(&status))
    }

    /// The replay, if there is one. One whose partitions are all live by now is none any more.
    async fn found(&self) -> Result<Option<Arc<Shadow>>, Status> {
        let mut current = self.current.lock().await;
        let Some(shadow) = current.clone() else { return Ok(None) };
        // Who works on it sees to that.
        if shadow.unusable.is_none()
            && let Ok(_work) = shadow.work.try_lock()
        {
            shadow.settle(|partition| self.is_started(partition)).map_err(failed)?;
            if shadow.are_all_swapped().map_err(failed)? {
                shadow.leave().map_err(failed)?;
                *current = None;
                return Ok(None);
            }
        }
        Ok(Some(shadow))
    }

    async fn current(&self) -> Result<Arc<Shadow>, Status> {
        let absent = || Reason::ReplayNotFound.status("there is no replay on this node");
        self.found().await?.ok_or_else(absent)
    }

    /// Which states there are of the partitions here, where there was ever a swap.
    fn generations(&self) -> Result<Vec<pb::ReplayGenerations>, Status> {
        let mut found = Vec::new();
        for partition in self.here() {
            let of = self.ground.live.generations(partition);
            let of = of.map_err(|error| failed(error.into()))?;
            if of != StoreGenerations::default() {
                let StoreGenerations { live, kept, .. } = of;
                found.push(pb::ReplayGenerations { partition, live, kept });
            }
        }
        Ok(found)
    }

    /// Which way a rollback goes, and what is left of it to be done: that which ended half-way, or else one of
    /// the partitions here that are swapped, or else of all that have a kept state.
    fn rollback(&self) -> Result<(Rollback, BTreeMap<u32, u64>), Status> {
        let states = |partition| self.ground.live.generations(partition);
        let lists = |error: tickfold_store::Error| failed(error.into());
        if let Some(begun) = Rollback::read(&self.ground.state_dir).map_err(failed)?
            && let Some(left) = begun.left(states).map_err(lists)?
        {
            return Ok((begun, left));
        }
        let here: Result<Vec<_>, _> =
            self.here().into_iter().map(|partition| Ok((partition, states(partition)?))).collect();
        let here = here.map_err(lists)?;
        let is_swapped = |of: &StoreGenerations| of.kept.is_some_and(|kept| kept < of.live);
        let any_is = here.iter().any(|(_, of)| is_swapped(of));
        let new = Rollback::of(here.into_iter().filter(|(_, of)| !any_is || is_swapped(of)));
        let left = new.left(states).map_err(lists)?.unwrap_or_default();
        if left.is_empty() { Err(swap::nothing_kept()) } else { Ok((new, left)) }
    }

    /// Begins to swap, and tells of each partition.
    async fn swap(
        self: &Arc<Self>,
        by: By,
        rows_max: usize,
    ) -> Result<mpsc::Receiver<Result<pb::ReplaySwapped, Status>>, Status> {
        let replay = self.found().await?;
        let busy = |shadow: &Arc<Shadow>| {
            let work = Arc::clone(&shadow.work).try_lock_owned();
            work.map_err(|_| busy(shadow.spec.generation))
        };
        let work = replay.as_ref().map(busy).transpose()?;
        let absent = || Reason::ReplayNotFound.status("there is no replay on this node");
        let (replay, mut of, rollback) = match by {
            By::Replay => {
                let shadow = replay.ok_or_else(absent)?;
                swappable(&shadow)?;
                let partitions =
                    shadow.spec.partitions.keys().map(|of| (*of, shadow.spec.generation));
                let of = partitions.collect();
                (Some(shadow), of, Rollback::default())
            }
            By::Kept => {
                let (rollback, left) = self.rollback()?;
                (replay, left, rollback)
            }
        };
        let (told, received) = mpsc::channel(PARTS_QUEUE);
        if of.is_empty() {
            // It came to its end, and its process did just then.
            Rollback::remove(&self.ground.state_dir).map_err(failed)?;
            return Ok(received);
        }
        let mut elsewhere = BTreeSet::new();
        for &partition in of.keys() {
            if !self.is_swappable(partition).await {
                elsewhere.insert(partition);
            }
        }
        of.retain(|partition, _| !elsewhere.contains(partition));
        if of.is_empty() {
            return Err(not_here(&elsewhere));
        }
        if let Some(shadow) = &replay {
            // What an earlier swap left may be known by now. The work is ours.
            shadow.settle(|partition| self.is_started(partition)).map_err(failed)?;
        }
        let mut kept = self.kept.lock().await;
        if kept.is_some() {
            return Err(Reason::ReplayBusy.status("kept states are being made live"));
        }
        let shadow = match (by, replay) {
            (By::Replay, Some(shadow)) => shadow,
            (By::Replay, None) => return Err(absent()),
            (By::Kept, _) => {
                let ground = self.ground.clone();
                let begin = move || {
                    let shadow = Shadow::kept(&ground, &of)?;
                    rollback.write(&ground.state_dir)?;
                    Ok(Arc::new(shadow))
                };
                let shadow = blocking(begin).await?.map_err(failed)?;
                // From here on nothing is waited for until it is in the hands of the task below.
                *kept = Some(Arc::clone(&shadow));
                shadow
            }
        };
        drop(kept);
        let own = match by {
            By::Replay => None,
            By::Kept => Arc::clone(&shadow.work).try_lock_owned().ok(),
        };
        let refused = self.statuses.iter().filter(|(_, of)| is_of_other_version(&of.borrow()));
        let refused: BTreeSet<_> = refused.map(|(partition, _)| *partition).collect();
        let (parts, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
        // Comes to its end also when nobody listens any more.
        tokio::task::spawn_blocking(move || {
            let swapped = runtime.block_on(swap::swap_all(
                &parts.ground,
                &parts.swaps,
                (&refused, &elsewhere),
                &shadow,
                (by, rows_max),
                &told,
            ));
            let swapped = swapped.and_then(|()| match by {
                By::Replay => Ok(()),
                By::Kept => Rollback::remove(&parts.ground.state_dir).map_err(failed),
            });
            // What works on it is given up last: whoever waits for that may want it for himself.
            drop((shadow, work, own));
            let left = runtime.block_on(async {
                parts.kept.lock().await.take();
                parts.found().await
            });
            let ended = swapped.and_then(|()| left.map(drop));
            if let Err(status) = ended {
                warn!(status = status.message(), "swap ended");
                let _ = told.blocking_send(Err(status));
            }
        });
        Ok(received)
    }

    async fn run(&self, request: pb::RunReplayRequest) -> Result<pb::RunReplayResponse, Status> {
        self.found().await?;
        let mut current = self.current.lock().await;
        let rate = request.records_per_second_max;
        if let Some(shadow) = &*current {
            let generation = shadow.spec.generation;
            if let Some(why) = &shadow.unusable {
                let what = format!("replay {generation} cannot be opened: {why}: discard it first");
                return Err(Reason::ReplayExists.status(what));
            }
            if let Some(scope) = request.scope
                && !self.resolve(scope).await?.is_same(&shadow.spec)
            {
                let what = format!(
                    "replay {generation} is of something else: discard it first, or go on with it \
                     without naming anything"
                );
                return Err(Reason::ReplayExists.status(what));
            }
            let work = Arc::clone(&shadow.work).try_lock_owned().map_err(|_| busy(generation))?;
            shadow.run(rate, work).map_err(defect)?;
            info!(generation, "replay goes on");
            return Ok(pb::RunReplayResponse { generation, goes_on: true });
        }
        let mut spec = self.resolve(request.scope.unwrap_or_default()).await?;
        let order = std::sync::atomic::Ordering::SeqCst;
        spec.generation = self.generation.fetch_add(1, order).saturating_add(1);
        let generation = spec.generation;
        let ground = self.ground.clone();
        let created = blocking(move || Shadow::create(&ground, spec)).await?;
        let shadow = Arc::new(created.map_err(failed)?);
        let work = Arc::clone(&shadow.work).try_lock_owned().map_err(|_| busy(generation))?;
        shadow.run(rate, work).map_err(defect)?;
        *current = Some(shadow);
        self.hear();
        info!(generation, "replay begins");
        Ok(pb::RunReplayResponse { generation, goes_on: false })
    }

    /// Discards the replay; where there is none, the kept states.
    async fn discard(self: &Arc<Self>) -> Result<pb::DiscardReplayResponse, Status> {
        let found = self.current.lock().await.clone();
        let found = match found {
            // Nothing is touched before nobody works on it: a caller whose time is up by then may ask again.
            Some(shadow) => Some((shadow.spec.generation, shadow.stop().await)),
            None => None,
        };
        let parts = Arc::clone(self);
        let discarded = to_its_end(async move { parts.discard_found(found).await }).await;
        self.hear();
        discarded
    }

    /// Discards the replay that was found, which nobody works on but the caller.
    async fn discard_found(
        &self,
        found: Option<(u64, OwnedMutexGuard<()>)>,
    ) -> Result<pb::DiscardReplayResponse, Status> {
        let mut current = self.current.lock().await;
        // Who asks once more, as he did not hear of it, must not be taken for one who means the kept states.
        if let Some(generation) = self.hear() {
            return Ok(pb::DiscardReplayResponse { generation, kept_partitions: Vec::new() });
        }
        let (generation, _work) = match (found, &*current) {
            (Some(found), _) => found,
            (None, None) => return self.forget_kept().await,
            (None, Some(shadow)) => return Err(busy(shadow.spec.generation)),
        };
        let Some(shadow) = current.as_ref().filter(|of| of.spec.generation == generation) else {
            let what = format!("replay {generation} is gone: its states became live meanwhile");
            return Err(Reason::ReplayNotFound.status(what));
        };
        // A partition that was to become live, and did not, is removed with the others.
        shadow.settle(|partition| self.is_started(partition)).map_err(failed)?;
        let shadow = match current.take().map(Arc::try_unwrap) {
            Some(Ok(shadow)) => shadow,
            looked_at => {
                *current = looked_at.and_then(Result::err);
                return Err(busy(generation));
            }
        };
        let removed = blocking(move || shadow.discard()).await?;
        if let Err(failure) = removed {
            let why = format!("{failure:#}");
            *current = Some(Arc::new(Shadow::unusable(&self.ground, generation, why)));
            return Err(failed(failure));
        }
        *self.unheard.lock().unwrap_or_else(PoisonError::into_inner) = Some(generation);
        info!(generation, "replay discarded");
        Ok(pb::DiscardReplayResponse { generation, kept_partitions: Vec::new() })
    }

    /// What was discarded and nobody has heard of yet; from now on it is heard of.
    fn hear(&self) -> Option<u64> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn forget_kept(&self) -> Result<pb::DiscardReplayResponse, Status> {
        let kept = self.kept.lock().await;
        if kept.is_some() {
            return Err(Reason::ReplayBusy.status("kept states are being made live"));
        }
        let (generations, live) = (self.generations()?, Arc::clone(&self.ground.live));
        if generations.iter().all(|of| of.kept.is_none()) {
            return Err(Reason::ReplayNotFound.status("there is no replay on this node"));
        }
        // The log may name a kept state as the live one, where a rollback was committed and its process ended
        // before more came of it. The start that goes on from there needs it.
        let starting: BTreeSet<_> = generations
            .iter()
            .filter(|of| of.kept.is_some() && !self.is_started(of.partition))
            .map(|of| of.partition)
            .collect();
        if !starting.is_empty() {
            return Err(Reason::ReplayBusy.status(format!(
                "not started yet, and may turn to their kept states: {}",
                named(&starting)
            )));
        }
        let forget = move || {
            let partitions = generations.into_iter().map(|of| of.partition);
            partitions
                .filter_map(|partition| match live.forget_kept(partition, true) {
                    Ok(was_kept) => was_kept.then_some(Ok(partition)),
                    Err(error) => Some(Err(error)),
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let forgotten = blocking(forget).await?;
        let kept_partitions = forgotten.map_err(|error| failed(error.into()))?;
        info!(?kept_partitions, "kept states discarded");
        Ok(pb::DiscardReplayResponse { generation: 0, kept_partitions })
    }
}

/// Whether a partition is refused since another fold version wrote its state.
fn is_of_other_version(status: &PartitionStatus) -> bool {
    matches!(status, PartitionStatus::Refused(Refusal::FoldVersion { .. }))
}

/// Only what gives the state of the log may become the live state.
fn swappable(shadow: &Shadow) -> Result<(), Status> {
    let Spec { generation, partitions, .. } = &shadow.spec;
    let why = if shadow.spec.rules.is_some() {
        "is by other rules than those in the log"
    } else if shadow.spec.is_part() {
        "is of a part of the history"
    } else if partitions.values().any(|range| !range.is_open) {
        "ends before the log does"
    } else if shadow.progress().state != State::Done {
        let what = format!("replay {generation} is not at its end: run it on first");
        return Err(Reason::ReplayUnfinished.status(what));
    } else {
        return Ok(());
    };
    let what =
        format!("replay {generation} {why}: it can be compared and never becomes the live state");
    Err(Reason::ReplayIsPart.status(what))
}

/// Of partitions that are left as they are.
fn not_here(partitions: &BTreeSet<u32>) -> Status {
    Reason::PartitionElsewhere
        .status(format!("not live on this node, and left as they are: {}", named(partitions)))
}

fn named(partitions: &BTreeSet<u32>) -> String {
    let list: Vec<_> = partitions.iter().map(u32::to_string).collect();
    format!("partitions {}", list.join(", "))
}

fn busy(generation: u64) -> Status {
    Reason::ReplayBusy.status(format!("replay {generation} is running, or is being compared"))
}

fn failed(failure: anyhow::Error) -> Status {
    Reason::StoreReadFailed.status(format!("{failure:#}"))
}

fn defect(failure: anyhow::Error) -> Status {
    Reason::Defect.status(format!("{failure:#}"))
}

/// Does what must not end half-way, also where the caller's time is up or he goes away.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Reason::Defect.status("the work panicked")))
}

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Reason::Defect.status("the work panicked"))
}
