//! The state service of this process: checkpoints of the partitions that are live here, and what of raw
//! they stand in for.

use std::sync::Arc;

use tickfold_core::FOLD_VERSION;
use tickfold_log::{Bounds, Log, TopicPartition};
use tickfold_processor::{CheckpointError, Checkpoints};
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::state_service_server::StateService;
use tickfold_query::Reason;
use tickfold_store::{StoreHead, Stores};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

use crate::dead_letters::told_time;
use crate::node::now;
use crate::raw_topic::RawTopic;

/// The service.
#[derive(Debug)]
pub(crate) struct StateAdmin {
    pub log: Arc<dyn Log>,
    pub stores: Arc<dyn Stores>,
    pub raw: RawTopic,
    pub group: String,
    /// `None`: no directory is set for them.
    pub checkpoints: Option<Checkpoints>,
}

#[tonic::async_trait]
impl StateService for StateAdmin {
    async fn create_checkpoints(
        &self,
        request: Request<pb::CreateCheckpointsRequest>,
    ) -> Result<Response<pb::CreateCheckpointsResponse>, Status> {
        let checkpoints = self.checkpoints.as_ref().ok_or_else(|| {
            Reason::CheckpointsOff
                .status("there is no place for checkpoints: set store.checkpoint_dir")
        })?;
        let mut partitions = request.into_inner().partitions;
        if let Some(unknown) = partitions.iter().find(|id| **id >= self.raw.partitions) {
            let message = format!("there is no partition {unknown}");
            return Err(Reason::PartitionNotFound.status(message));
        }
        if partitions.is_empty() {
            partitions = checkpoints.live();
        }
        let mut making = JoinSet::new();
        for partition in partitions {
            let checkpoints = checkpoints.clone();
            making.spawn(async move { (partition, checkpoints.make(partition).await) });
        }
        let mut made: Vec<_> = making.join_all().await;
        made.sort_by_key(|(partition, _)| *partition);
        let told = |(partition, made): (u32, Result<_, CheckpointError>)| match made {
            Ok(tickfold_store::Checkpoint { head, .. }) => pb::CreatedCheckpoint {
                partition,
                cursor: Some(head.cursor),
                failure: String::new(),
            },
            Err(error) => {
                pb::CreatedCheckpoint { partition, cursor: None, failure: error.to_string() }
            }
        };
        let checkpoints = made.into_iter().map(told).collect();
        Ok(Response::new(pb::CreateCheckpointsResponse { checkpoints }))
    }

    async fn plan_trim(
        &self,
        request: Request<pb::PlanTrimRequest>,
    ) -> Result<Response<pb::PlanTrimResponse>, Status> {
        let keep_ms = request.into_inner().keep_ms;
        let positions = self.log.positions(&self.group, &self.raw.name).await.map_err(failed)?;
        let mut partitions = Vec::new();
        for partition in 0..self.raw.partitions {
            let index = usize::try_from(partition).unwrap_or(usize::MAX);
            let position = positions.get(index).cloned().flatten().map(|found| found.offset);
            partitions.push(self.partition(partition, position, keep_ms).await?);
        }
        Ok(Response::new(pb::PlanTrimResponse { partitions }))
    }
}

impl StateAdmin {
    async fn partition(
        &self,
        partition: u32,
        position: Option<u64>,
        keep_ms: u64,
    ) -> Result<pb::PartitionTrim, Status> {
        let at = TopicPartition::new(self.raw.name.as_str(), partition);
        let bounds = self.log.bounds(&at).await.map_err(failed)?;
        let first = self.log.read(&at, bounds.start, 1, 0).await.map_err(failed)?;
        let start_time = first.first().map(|record| told_time(record.timestamp_ms));
        let age_limit = match i64::try_from(keep_ms) {
            Ok(0) => None,
            // Longer than the clock is: everything is young.
            Err(_) => Some(bounds.start),
            Ok(keep_ms) => {
                let oldest = now().as_millis().saturating_sub(keep_ms);
                let found = self.log.offset_at(&at, oldest).await.map_err(failed)?;
                Some(found.clamp(bounds.start, bounds.end))
            }
        };
        let (stores, id) = (Arc::clone(&self.stores), partition);
        let listed = tokio::task::spawn_blocking(move || stores.checkpoints(id)).await;
        let listed =
            listed.map_err(|_| Reason::Defect.status("the list of checkpoints panicked"))?;
        let listed = listed.map_err(|error| Reason::StoreReadFailed.status(error.to_string()))?;
        let usable = listed.into_iter().filter(|listed| is_usable(&listed.head, position));
        let checkpoints: Vec<_> = usable.map(|listed| listed.head.cursor).collect();
        let (trim_to, held_by) = trim_to(bounds, position, &checkpoints, age_limit);
        Ok(pb::PartitionTrim {
            partition,
            start: bounds.start,
            end: bounds.end,
            start_time,
            position,
            checkpoints,
            age_limit,
            trim_to,
            held_by: held_by.to_owned(),
        })
    }
}

/// Whether a start may restore a checkpoint: one of another fold, or of a state further on than what is
/// committed, stands in for nothing.
fn is_usable(head: &StoreHead, position: Option<u64>) -> bool {
    head.fold_version == FOLD_VERSION && position.is_none_or(|position| head.cursor <= position)
}

/// Up to where raw could be deleted, and what holds it there. Two checkpoints have to stand above what
/// is deleted: then the newest may turn out to be damaged.
fn trim_to(
    bounds: Bounds,
    position: Option<u64>,
    checkpoints: &[u64],
    age_limit: Option<u64>,
) -> (u64, &'static str) {
    let start = bounds.start;
    let held = [
        (checkpoints.get(1).copied().unwrap_or(start), "checkpoints"),
        (position.unwrap_or(start), "position"),
        (age_limit.unwrap_or(u64::MAX), "age"),
    ];
    let least = held.into_iter().min_by_key(|(offset, _)| *offset);
    least.map_or((start, "checkpoints"), |(offset, by)| (offset.max(start), by))
}

fn failed(error: tickfold_log::Error) -> Status {
    Reason::LogUnavailable.status(format!("{:#}", anyhow::Error::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_of_another_fold_or_above_the_position_hold_nothing() {
        let head = |cursor, fold_version| StoreHead { cursor, fold_version, ..StoreHead::EMPTY };
        assert!(is_usable(&head(80, FOLD_VERSION), Some(80)));
        assert!(is_usable(&head(80, FOLD_VERSION), None), "then the position holds raw");
        assert!(!is_usable(&head(81, FOLD_VERSION), Some(80)));
        assert!(!is_usable(&head(80, FOLD_VERSION - 1), Some(80)));
    }

    #[test]
    fn the_nearest_of_checkpoints_position_and_age_holds_raw() {
        let bounds = Bounds { start: 10, end: 100 };
        let plan = |position, checkpoints: &[u64], age| trim_to(bounds, position, checkpoints, age);
        assert_eq!(plan(Some(90), &[80, 60, 40], None), (60, "checkpoints"));
        assert_eq!(plan(Some(90), &[80, 60, 40], Some(30)), (30, "age"));
        assert_eq!(plan(Some(50), &[80, 60], Some(70)), (50, "position"));
        // One checkpoint is none, and without a position nothing is known to be folded.
        assert_eq!(plan(Some(90), &[80], None), (10, "checkpoints"));
        assert_eq!(plan(Some(90), &[], None), (10, "checkpoints"));
        assert_eq!(plan(None, &[80, 60], None), (10, "position"));
        // Never below what is gone already.
        assert_eq!(plan(Some(90), &[80, 5], None), (10, "checkpoints"));
    }
}
