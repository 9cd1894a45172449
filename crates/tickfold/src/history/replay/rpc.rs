//! The calls of the replay service.

use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use futures_util::{Stream, TryStreamExt as _};
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::replay_service_server::ReplayService;
use tickfold_query::Reason;
use tickfold_store::Stores as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::shadow::{Progress, Shadow, State};
use super::swap::{By, rows_max};
use super::{PARTS_QUEUE, Replays, blocking, busy, diff, failed, plan, spec, to_its_end};

#[tonic::async_trait]
impl ReplayService for Replays {
    type DiffReplayStream =
        Pin<Box<dyn Stream<Item = Result<pb::DiffReplayResponse, Status>> + Send>>;

    type SwapReplayStream =
        Pin<Box<dyn Stream<Item = Result<pb::SwapReplayResponse, Status>> + Send>>;
    type RollbackReplayStream =
        Pin<Box<dyn Stream<Item = Result<pb::RollbackReplayResponse, Status>> + Send>>;

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
        let (parts, request) = (Arc::clone(&self.0), request.into_inner());
        // A replay that is on the disk is known here, whether or not the caller hears of it.
        let run = to_its_end(async move { parts.run(request).await });
        Ok(Response::new(run.await?))
    }

    async fn get_replay(
        &self,
        _: Request<pb::GetReplayRequest>,
    ) -> Result<Response<pb::GetReplayResponse>, Status> {
        let generations = self.0.generations()?;
        let Some(shadow) = self.0.found().await? else {
            if generations.iter().all(|of| of.kept.is_none()) {
                return Err(Reason::ReplayNotFound.status("there is no replay on this node"));
            }
            let state = pb::ReplayState::Swapped.into();
            return Ok(Response::new(pb::GetReplayResponse {
                state,
                generations,
                ..Default::default()
            }));
        };
        let told = blocking(move || told(&shadow, generations)).await?;
        told.map(Response::new).map_err(failed)
    }

    async fn stop_replay(
        &self,
        _: Request<pb::StopReplayRequest>,
    ) -> Result<Response<pb::StopReplayResponse>, Status> {
        drop(self.0.current().await?.stop().await);
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
        let (parts, received) = mpsc::channel(PARTS_QUEUE);
        let (node, runtime) = (Arc::clone(&self.0), tokio::runtime::Handle::current());
        // Ends by itself when nobody listens any more.
        tokio::task::spawn_blocking(move || {
            let compared = runtime.block_on(diff::compare_all(&node, &shadow, samples, &parts));
            // Given up before the end is told, which waits for a caller who does not read.
            drop(shadow);
            drop(work);
            if let Err(status) = compared {
                let _ = parts.blocking_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(received))))
    }

    async fn swap_replay(
        &self,
        request: Request<pb::SwapReplayRequest>,
    ) -> Result<Response<Self::SwapReplayStream>, Status> {
        let rows_max = rows_max(request.into_inner().rows_max)?;
        let swapped = ReceiverStream::new(self.0.swap(By::Replay, rows_max).await?);
        let swapped = swapped.map_ok(|swapped| pb::SwapReplayResponse { swapped: Some(swapped) });
        Ok(Response::new(Box::pin(swapped)))
    }

    async fn rollback_replay(
        &self,
        request: Request<pb::RollbackReplayRequest>,
    ) -> Result<Response<Self::RollbackReplayStream>, Status> {
        let rows_max = rows_max(request.into_inner().rows_max)?;
        let swapped = ReceiverStream::new(self.0.swap(By::Kept, rows_max).await?);
        let swapped =
            swapped.map_ok(|swapped| pb::RollbackReplayResponse { swapped: Some(swapped) });
        Ok(Response::new(Box::pin(swapped)))
    }

    async fn discard_replay(
        &self,
        _: Request<pb::DiscardReplayRequest>,
    ) -> Result<Response<pb::DiscardReplayResponse>, Status> {
        Ok(Response::new(self.0.discard().await?))
    }
}

/// How far a replay is.
fn told(shadow: &Shadow, generations: Vec<pb::ReplayGenerations>) -> Result<pb::GetReplayResponse> {
    let Progress { state, positions, records, selected, elapsed, .. } = shadow.progress();
    let (told, error) = match state {
        State::Running => (pb::ReplayState::Running, String::new()),
        State::Stopped => (pb::ReplayState::Stopped, String::new()),
        State::Done => (pb::ReplayState::Done, String::new()),
        State::Failed(error) => (pb::ReplayState::Failed, error),
    };
    let (mut partitions, mut left) = (Vec::new(), 0);
    for (&partition, range) in &shadow.spec.partitions {
        let (from_offset, _) = shadow.begin_of(partition);
        let position = positions.get(&partition).copied().unwrap_or(from_offset);
        left += range.to.saturating_sub(position);
        let snapshot = shadow.stores.view(partition).snapshot()?;
        let digest = snapshot.map(|snapshot| format!("{:032x}", snapshot.store_head().digest));
        partitions.push(pb::ReplayProgress {
            partition,
            from_offset,
            position,
            to_offset: range.to,
            digest: digest.unwrap_or_default(),
        });
    }
    let rate = plan::rate(records, elapsed);
    Ok(pb::GetReplayResponse {
        generation: shadow.spec.generation,
        state: told.into(),
        create_time: shadow.unusable.is_none().then(|| spec::time(shadow.spec.created_ms)),
        partitions,
        records_per_second: rate,
        remaining: plan::time_for(left, rate),
        error,
        is_part: shadow.spec.is_part(),
        records,
        selected,
        generations,
    })
}
