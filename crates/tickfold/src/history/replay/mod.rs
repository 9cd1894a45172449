//! The replay service of this process: one replay at a time, of partitions that are here.

mod diff;
mod plan;
mod shadow;
mod spec;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use futures_util::Stream;
use tickfold_processor::PartitionStatus;
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::replay_service_server::ReplayService;
use tickfold_query::Reason;
use tickfold_store::Stores as _;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::Ground;
use super::then::Then;
use crate::node::now;
use shadow::{Progress, Shadow, State};
use spec::Spec;

/// Parts of a comparison that wait for the caller.
const DIFF_QUEUE: usize = 16;

/// The service. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Replays(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    ground: Ground,
    then: Arc<Then>,
    statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
    /// Held while a replay is begun, gone on with or discarded.
    current: Mutex<Option<Arc<Shadow>>>,
    /// The greatest number that a replay of this directory has had.
    generation: std::sync::atomic::AtomicU64,
}

impl Replays {
    /// Finds the replay that an earlier process left; it does not go on by itself.
    pub(crate) fn open(
        ground: Ground,
        then: Arc<Then>,
        statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
    ) -> Self {
        // A replay must not keep a node from starting.
        let found = Shadow::find(&ground).unwrap_or_else(|failure| {
            warn!(
                failure = format!("{failure:#}"),
                "the replay of an earlier process is not usable"
            );
            None
        });
        let generation = found.as_ref().map_or(0, |shadow| shadow.spec.generation);
        if let Some(shadow) = &found {
            info!(generation, state = ?shadow.progress().state, "found a replay");
        }
        Self(Arc::new(Parts {
            ground,
            then,
            statuses,
            current: Mutex::new(found.map(Arc::new)),
            generation: generation.into(),
        }))
    }

    /// Lets a replay that runs end, before its log is closed.
    pub(crate) async fn stop(&self) {
        let current = self.0.current.lock().await.clone();
        if let Some(shadow) = current {
            shadow.stop().await;
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
        Spec::resolve(&self.ground, scope, &self.here(), now().as_millis()).await
    }

    async fn current(&self) -> Result<Arc<Shadow>, Status> {
        let current = self.current.lock().await.clone();
        current.ok_or_else(|| Reason::ReplayNotFound.status("there is no replay on this node"))
    }

    async fn run(&self, request: pb::RunReplayRequest) -> Result<pb::RunReplayResponse, Status> {
        let mut current = self.current.lock().await;
        let rate = request.records_per_second_max;
        if let Some(shadow) = &*current {
            let generation = shadow.spec.generation;
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
        info!(generation, "replay begins");
        Ok(pb::RunReplayResponse { generation, goes_on: false })
    }

    async fn discard(&self) -> Result<pb::DiscardReplayResponse, Status> {
        let mut current = self.current.lock().await;
        let absent = || Reason::ReplayNotFound.status("there is no replay on this node");
        let shadow = current.take().ok_or_else(absent)?;
        let generation = shadow.spec.generation;
        shadow.stop().await;
        let shadow = match Arc::try_unwrap(shadow) {
            Ok(shadow) => shadow,
            Err(shadow) => {
                *current = Some(shadow);
                return Err(busy(generation));
            }
        };
        blocking(move || shadow.discard()).await?.map_err(failed)?;
        info!(generation, "replay discarded");
        Ok(pb::DiscardReplayResponse { generation })
    }
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

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Reason::Defect.status("the work panicked"))
}

#[tonic::async_trait]
impl ReplayService for Replays {
    type DiffReplayStream =
        Pin<Box<dyn Stream<Item = Result<pb::DiffReplayResponse, Status>> + Send>>;

    async fn plan_replay(
        &self,
        request: Request<pb::PlanReplayRequest>,
    ) -> Result<Response<pb::PlanReplayResponse>, Status> {
        let spec = self.0.resolve(request.into_inner().scope.unwrap_or_default()).await?;
        Ok(Response::new(plan::plan(&self.0.ground, &spec).await?))
    }

    async fn run_replay(
        &self,
        request: Request<pb::RunReplayRequest>,
    ) -> Result<Response<pb::RunReplayResponse>, Status> {
        Ok(Response::new(self.0.run(request.into_inner()).await?))
    }

    async fn get_replay(
        &self,
        _: Request<pb::GetReplayRequest>,
    ) -> Result<Response<pb::GetReplayResponse>, Status> {
        let shadow = self.0.current().await?;
        let told = blocking(move || told(&shadow)).await?;
        told.map(Response::new).map_err(failed)
    }

    async fn stop_replay(
        &self,
        _: Request<pb::StopReplayRequest>,
    ) -> Result<Response<pb::StopReplayResponse>, Status> {
        self.0.current().await?.stop().await;
        Ok(Response::new(pb::StopReplayResponse {}))
    }

    async fn diff_replay(
        &self,
        request: Request<pb::DiffReplayRequest>,
    ) -> Result<Response<Self::DiffReplayStream>, Status> {
        let samples = diff::samples(request.into_inner().samples)?;
        let shadow = self.0.current().await?;
        let generation = shadow.spec.generation;
        let work = Arc::clone(&shadow.work).try_lock_owned().map_err(|_| busy(generation))?;
        if shadow.progress().state != State::Done {
            let what = format!("replay {generation} is not at its end: run it on first");
            return Err(Reason::ReplayUnfinished.status(what));
        }
        let (parts, received) = mpsc::channel(DIFF_QUEUE);
        let (ground, then) = (self.0.ground.clone(), Arc::clone(&self.0.then));
        let runtime = tokio::runtime::Handle::current();
        // Ends by itself when nobody listens any more.
        tokio::task::spawn_blocking(move || {
            let (_work, shadow) = (work, shadow);
            let compared =
                runtime.block_on(diff::compare_all(&ground, &then, &shadow, samples, &parts));
            if let Err(status) = compared {
                let _ = parts.blocking_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(received))))
    }

    async fn discard_replay(
        &self,
        _: Request<pb::DiscardReplayRequest>,
    ) -> Result<Response<pb::DiscardReplayResponse>, Status> {
        Ok(Response::new(self.0.discard().await?))
    }
}

/// How far a replay is.
fn told(shadow: &Shadow) -> Result<pb::GetReplayResponse> {
    let Progress { state, positions, records, selected, elapsed, .. } = shadow.progress();
    let (told, error) = match state {
        State::Running => (pb::ReplayState::Running, String::new()),
        State::Stopped => (pb::ReplayState::Stopped, String::new()),
        State::Done => (pb::ReplayState::Done, String::new()),
        State::Failed(error) => (pb::ReplayState::Failed, error),
    };
    let (mut partitions, mut left) = (Vec::new(), 0);
    for (&partition, range) in &shadow.spec.partitions {
        let position = positions.get(&partition).copied().unwrap_or(range.from);
        left += range.to.saturating_sub(position);
        let snapshot = shadow.stores.view(partition).snapshot()?;
        let digest = snapshot.map(|snapshot| format!("{:032x}", snapshot.store_head().digest));
        partitions.push(pb::ReplayProgress {
            partition,
            from_offset: range.from,
            position,
            to_offset: range.to,
            digest: digest.unwrap_or_default(),
        });
    }
    let rate = plan::rate(records, elapsed);
    Ok(pb::GetReplayResponse {
        generation: shadow.spec.generation,
        state: told.into(),
        create_time: Some(spec::time(shadow.spec.created_ms)),
        partitions,
        records_per_second: rate,
        remaining: plan::time_for(left, rate),
        error,
        is_part: shadow.spec.is_part(),
        records,
        selected,
    })
}
