//! The comparison of a shadow with the live state, or with the log's own state where the replay ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::diff_replay_response::Part;
use tickfold_query::{History as _, Moment, NotThen, Reason};
use tickfold_store::{
    Compare, Compared, Difference, RowKind, Sample, Snapshot, Stores as _, compare,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::shadow::Shadow;
use super::spec::Range;
use super::swap::check_refused;
use super::{failed, not_here};
use crate::history::Ground;
use crate::history::then::Then;

/// Differences told of each kind and partition.
const SAMPLES: u32 = 10;
const SAMPLES_MAX: u32 = 1_000;

/// How long the live state gets to come to where the shadow is already.
const LIVE_PATIENCE: Duration = Duration::from_secs(30);

/// How long one step of the log's own state may take; what is folded then is folded on.
const STEP: Duration = Duration::from_secs(5);

type Parts = mpsc::Sender<Result<pb::DiffReplayResponse, Status>>;

/// How many samples are told.
pub(super) fn samples(asked: u32) -> Result<usize, Status> {
    let samples = if asked == 0 { SAMPLES } else { asked };
    if samples > SAMPLES_MAX {
        let what = format!("samples: {asked} is above {SAMPLES_MAX}");
        return Err(Reason::InvalidArgument.status(what));
    }
    Ok(usize::try_from(samples).unwrap_or(usize::MAX))
}

/// Compares all partitions and tells what is found; those that were taken away from this node end it.
/// Ends early, without a word, where nobody listens. Blocks its thread.
pub(super) async fn compare_all(
    node: &super::Parts,
    shadow: &Shadow,
    samples_max: usize,
    parts: &Parts,
) -> Result<(), Status> {
    let spec = &shadow.spec;
    let how =
        Compare { samples_max, is_part: spec.lacks_history(), other_rules: spec.rules.is_some() };
    let stop = shadow.begin();
    let mut elsewhere = BTreeSet::new();
    let mut end = pb::ReplayDiffEnd { is_part: spec.is_part(), ..Default::default() };
    for (&partition, range) in &spec.partitions {
        // It is the live state already.
        if shadow.is_swapped(partition).map_err(failed)? {
            continue;
        }
        // What is kept of it here shows nothing of now.
        if range.is_open && node.is_gone(partition) {
            elsewhere.insert(partition);
            continue;
        }
        let both = states(node, shadow, partition, range, parts, &stop).await?;
        let Some((live, folded)) = both else { return ended(&stop) };
        let position = live.store_head().cursor;
        for kind in RowKind::ALL {
            let go_on = || !parts.is_closed() && !stop.is_cancelled();
            let compared = compare(&*live, &*folded, kind, how, &go_on);
            let compared = compared.map_err(|error| failed(error.into()))?;
            let Some(found) = compared else { return ended(&stop) };
            end.same += found.same;
            end.differences += found.changed + found.added + found.gone;
            tell(parts, &stop, Part::Difference(difference(partition, position, found))).await;
        }
    }
    if !elsewhere.is_empty() {
        return Err(not_here(&elsewhere));
    }
    tell(parts, &stop, Part::End(end)).await;
    ended(&stop)
}

/// Ended before its end: told to whoever still listens.
fn ended(stop: &CancellationToken) -> Result<(), Status> {
    match stop.is_cancelled() {
        true => Err(Reason::ShuttingDown.status("the comparison was stopped")),
        false => Ok(()),
    }
}

/// Both states of a partition, at one cursor; `None` if it was stopped or nobody listens any more.
async fn states(
    node: &super::Parts,
    shadow: &Shadow,
    partition: u32,
    range: &Range,
    parts: &Parts,
    stop: &CancellationToken,
) -> Result<Option<(Box<dyn Snapshot>, Box<dyn Snapshot>)>, Status> {
    let mut store = shadow.open_partition(partition).map_err(failed)?;
    let at = store.store_head().cursor;
    let before = if range.is_open {
        if node.is_of_other_version(partition) {
            check_refused(&node.ground, partition).await?;
        }
        let live = stop.run_until_cancelled(live(&node.ground, partition, at)).await;
        let Some(live) = live else { return Ok(None) };
        live?
    } else {
        let Some(state) = log_state(&node.then, partition, range.to, parts, stop).await? else {
            return Ok(None);
        };
        state
    };
    let to_offset = before.store_head().cursor;
    let end = stop.child_token();
    let each = |_, _, position| {
        let progress = pb::ReplayDiffProgress { partition, position, to_offset };
        // Progress may be left out where the caller is slow.
        let _ = parts.try_send(Ok(part(Part::Progress(progress))));
        if parts.is_closed() {
            end.cancel();
        }
        Duration::ZERO
    };
    let folded =
        shadow.fold_partition(partition, &mut *store, to_offset, u32::MAX, &end, each).await;
    folded.map_err(failed)?;
    drop(store);
    if end.is_cancelled() {
        return Ok(None);
    }
    let after = shadow.stores.view(partition).snapshot().map_err(|error| failed(error.into()))?;
    let after = after.ok_or_else(|| Reason::Defect.status("the shadow is not open"))?;
    let reached = after.store_head().cursor;
    if reached != to_offset {
        let what = format!("partition {partition}: the shadow is at {reached}, not at {to_offset}");
        return Err(Reason::ReplayUnfinished.status(what));
    }
    Ok(Some((before, after)))
}

/// The live state, at or above an offset.
pub(super) async fn live(
    ground: &Ground,
    partition: u32,
    at: u64,
) -> Result<Box<dyn Snapshot>, Status> {
    let view = ground.live.view(partition);
    let mut cursor = view.cursor();
    let reached =
        tokio::time::timeout(LIVE_PATIENCE, cursor.wait_for(|cursor| *cursor >= at)).await;
    if !matches!(reached, Ok(Ok(_))) {
        let what = format!(
            "the live state of partition {partition} does not come to {at}, where the replay is: see \
             why it lags"
        );
        return Err(Reason::ReplayUnfinished.status(what));
    }
    let snapshot = view.snapshot().map_err(|error| failed(error.into()))?;
    snapshot.ok_or_else(|| {
        Reason::StoreNotOpen.status(format!("the state of partition {partition} is not open"))
    })
}

/// What the log gives at an offset.
async fn log_state(
    then: &Arc<Then>,
    partition: u32,
    to_offset: u64,
    parts: &Parts,
    stop: &CancellationToken,
) -> Result<Option<Box<dyn Snapshot>>, Status> {
    loop {
        if parts.is_closed() || stop.is_cancelled() {
            return Ok(None);
        }
        match then.at(partition, Moment::Offset(to_offset), Instant::now() + STEP).await {
            Ok(state) => return Ok(Some(state)),
            // It goes on where it stopped.
            Err(NotThen { reason: Reason::DeadlineExceeded, message: _ }) => {}
            Err(NotThen { reason, message }) => return Err(reason.status(message)),
        }
    }
}

async fn tell(parts: &Parts, stop: &CancellationToken, told: Part) {
    // Nobody listens, or nobody reads when it is stopped: the next look at it ends the comparison.
    let _ = stop.run_until_cancelled(parts.send(Ok(part(told)))).await;
}

fn part(told: Part) -> pb::DiffReplayResponse {
    pb::DiffReplayResponse { part: Some(told) }
}

fn difference(partition: u32, position: u64, found: Compared) -> pb::ReplayDifference {
    let sample = |sample: Sample| {
        let change = match sample.difference {
            Difference::Changed => pb::ReplayChange::Changed,
            Difference::Added => pb::ReplayChange::Added,
            Difference::Gone => pb::ReplayChange::Gone,
        };
        pb::ReplaySample { key: sample.key, change: change.into(), fields: sample.fields }
    };
    pb::ReplayDifference {
        partition,
        position,
        kind: found.kind.word().to_owned(),
        same: found.same,
        changed: found.changed,
        added: found.added,
        gone: found.gone,
        fields: found.fields.into_iter().collect(),
        samples: found.samples.into_iter().map(sample).collect(),
    }
}
