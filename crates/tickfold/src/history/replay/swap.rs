//! The swap: the shadow of a partition, or the state that an earlier swap has kept, in the place of the
//! live one. What makes it one step is said in decision 0016.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use tickfold_core::fold::{AsOf, Output, Partition, differing_rows};
use tickfold_log::Committed;
use tickfold_processor::{Standing, SwapError, Swaps, Takeover, Token};
use tickfold_proto::admin::v1 as pb;
use tickfold_query::Reason;
use tickfold_store::{PartitionStore, Snapshot, Stores as _, differing};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::info;

use super::shadow::Shadow;
use super::{diff, failed, not_here};
use crate::fail_points;
use crate::history::{Ground, check_disk};

/// Offsets that may be left to fold when a partition is made to stand still.
const NEAR: u64 = 1_000;

/// How often the shadow is folded after the live state before it has to do.
const ROUNDS: usize = 10;

/// How long a partition stands still for what is left to fold.
const FOLD_PATIENCE: Duration = Duration::from_secs(60);

/// Rows of one commit where the caller says nothing, and the most that may be asked for.
const ROWS_DEFAULT: u32 = 100_000;
const ROWS_MAX: u32 = 1 << ORDINAL_BITS;
/// Bytes of their values: 256 MiB of 100,000, and no more than fit into a commit's time.
const ROW_BYTES: usize = 2_684;
pub(in crate::history) const BYTES_MAX_KAFKA: usize = 1 << 30;
/// Its write has them in memory three times, and so has each start that finds it half done.
pub(in crate::history) const BYTES_MAX_EMBEDDED: usize = 1 << 28;

/// Ordinals of rows that a swap publishes begin here, above those of all other outputs; then comes the
/// number of the swap.
const ORDINALS: u32 = 1 << 31;
const ORDINAL_BITS: u32 = 20;
const TURNS: u64 = 1 << (31 - ORDINAL_BITS);

/// What takes the place of the live states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The replay.
    Replay,
    /// What a swap has kept.
    Kept,
}

pub(super) type Swapped = mpsc::Sender<Result<pb::ReplaySwapped, Status>>;

/// How many rows of a partition may differ.
pub(super) fn rows_max(asked: u32) -> Result<usize, Status> {
    let rows_max = if asked == 0 { ROWS_DEFAULT } else { asked };
    if rows_max > ROWS_MAX {
        let what = format!("rows_max: {asked} is above {ROWS_MAX}, the most of one commit");
        return Err(Reason::InvalidArgument.status(what));
    }
    Ok(usize::try_from(rows_max).unwrap_or(usize::MAX))
}

/// Swaps one partition after the other and tells of each. The first failure ends it. Those that are elsewhere
/// are the last one. Blocks its thread.
pub(super) async fn swap_all(
    ground: &Ground,
    swaps: &Swaps,
    (refused, elsewhere): (&BTreeSet<u32>, &BTreeSet<u32>),
    shadow: &Shadow,
    (by, rows_max): (By, usize),
    told: &Swapped,
) -> Result<(), Status> {
    let (stop, mut left) = (shadow.begin(), BTreeSet::new());
    for &partition in shadow.spec.partitions.keys() {
        if stop.is_cancelled() {
            return Err(stopped());
        }
        if by == By::Replay && shadow.is_swapped(partition).map_err(failed)? {
            continue;
        }
        if elsewhere.contains(&partition) {
            left.insert(partition);
            continue;
        }
        let is_refused = refused.contains(&partition);
        let done = one(ground, swaps, is_refused, shadow, (by, rows_max), partition, &stop);
        let done = done.await?;
        // Done all the same if nobody listens any more, or nobody reads when it is stopped.
        let _ = stop.run_until_cancelled(told.send(Ok(done))).await;
    }
    if left.is_empty() { Ok(()) } else { Err(not_here(&left)) }
}

fn stopped() -> Status {
    Reason::ShuttingDown.status("the swap was stopped; the same again goes on")
}

async fn one(
    ground: &Ground,
    swaps: &Swaps,
    is_refused: bool,
    shadow: &Shadow,
    (by, rows_max): (By, usize),
    partition: u32,
    stop: &CancellationToken,
) -> Result<pb::ReplaySwapped, Status> {
    check_disk(&ground.state_dir).map_err(failed)?;
    // As after a swap and a rollback.
    let generations = || ground.live.generations(partition).map_err(|error| failed(error.into()));
    if by == By::Replay && generations()?.kept == Some(shadow.spec.generation) {
        return Err(Reason::SwapRefused.status(format!(
            "partition {partition}: the replay was live and is kept: `tickfold replay rollback` makes it \
             live again"
        )));
    }
    let mut store = shadow.open_partition(partition).map_err(failed)?;
    let stand = if is_refused {
        refused(ground, partition).await?
    } else {
        near(ground, shadow, partition, &mut *store, stop).await?;
        Stand::Live(swaps.stand_still(partition).await.map_err(interrupted)?)
    };
    let since = Instant::now();
    let (to, raw_digest) = stand.at();
    let folded = fold(shadow, partition, &mut *store, to, stop);
    let folded = tokio::time::timeout(FOLD_PATIENCE, folded).await;
    folded.map_err(|_| {
        Reason::ReplayUnfinished.status(format!(
            "partition {partition}: the shadow does not come to {to}, where the live state stands"
        ))
    })??;
    let generations = generations()?;
    let turn = generations.turns.saturating_add(1);
    let at = (to, raw_digest, turn);
    let rows = rows(ground, shadow, &*store, partition, at, rows_max, stop)?;
    let head = store.store_head();
    drop(store);
    let (generation, path) = match (by, generations.kept) {
        (By::Replay, _) => (shadow.spec.generation, Some(shadow.path(partition))),
        (By::Kept, Some(kept)) => (kept, None),
        (By::Kept, None) => return Err(nothing_kept()),
    };
    prepare(ground, shadow, partition, (generation, path.as_deref()), head)?;
    // One of the old state at this very position would be taken for one of the new state.
    forget_checkpoint(ground, partition, to)?;
    fail_points::prepared();
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let takeover = Takeover { rows, head, turn };
    let taken = match stand {
        Stand::Live(standing) => standing.take(takeover).await,
        Stand::Refused { found, .. } => swaps.start_with(partition, found, takeover).await,
    };
    taken.map_err(interrupted)?;
    let stood_still = since.elapsed();
    info!(partition, position = to, generation, rows = count, ?stood_still, "partition swapped");
    // What was kept before makes room; it is not named any more, so a crash leaves it to the next swap.
    ground.live.tidy(partition).map_err(|error| failed(error.into()))?;
    Ok(pb::ReplaySwapped {
        partition,
        position: to,
        live: generation,
        kept: generations.live,
        rows: count,
        stood_still: prost_types::Duration::try_from(stood_still).ok(),
    })
}

/// A partition on which nobody works meanwhile.
enum Stand {
    /// It is live, and held.
    Live(Standing),
    /// It is refused: its state is of another fold version.
    Refused { found: Committed, raw_digest: u128 },
}

impl Stand {
    /// Where it stands, and the digest of raw up to there.
    fn at(&self) -> (u64, u128) {
        match self {
            Self::Live(standing) => (standing.head().cursor, standing.head().raw_digest),
            Self::Refused { found, raw_digest } => (found.offset, *raw_digest),
        }
    }
}

/// Where a refused partition stands, by its token. The rows that were published are those of the state
/// there, so the store that says which of them differ has to stand there too.
async fn refused(ground: &Ground, partition: u32) -> Result<Stand, Status> {
    let found = ground.committed(partition).await.map_err(|error| {
        let error = anyhow::Error::from(error);
        Reason::LogUnavailable
            .status(format!("read the position of partition {partition}: {error:#}"))
    })?;
    let token = found.as_ref().and_then(|found| Token::parse(&found.metadata).ok());
    let (Some(found), Some(token)) = (found, token) else {
        return Err(Reason::SwapRefused.status(format!(
            "partition {partition} has no position with a token: see `tickfold recover`"
        )));
    };
    let at = snapshot(&*ground.live.view(partition), partition)?.store_head().cursor;
    if at != found.offset {
        return Err(Reason::SwapRefused.status(format!(
            "partition {partition}: its position is {}, and the state on this node, which another fold version \
             wrote, stands at {at}: have the program of that version fold it up to there, or swap on the \
             node whose state stands there",
            found.offset
        )));
    }
    Ok(Stand::Refused { found, raw_digest: token.raw_digest })
}

/// Whether a refused partition can be compared and swapped here.
pub(super) async fn check_refused(ground: &Ground, partition: u32) -> Result<(), Status> {
    refused(ground, partition).await.map(drop)
}

/// Folds the shadow until it is near a live state that goes on.
async fn near(
    ground: &Ground,
    shadow: &Shadow,
    partition: u32,
    store: &mut dyn PartitionStore,
    stop: &CancellationToken,
) -> Result<(), Status> {
    for _ in 0..ROUNDS {
        let at = store.store_head().cursor;
        let to = diff::live(ground, partition, at).await?.store_head().cursor;
        if to - at <= NEAR {
            break;
        }
        fold(shadow, partition, store, to, stop).await?;
    }
    Ok(())
}

fn prepare(
    ground: &Ground,
    shadow: &Shadow,
    partition: u32,
    (generation, path): (u64, Option<&Path>),
    head: tickfold_store::StoreHead,
) -> Result<(), Status> {
    let prepared = shadow
        .stores
        .close(partition)
        .and_then(|()| ground.live.prepare(partition, generation, path, head));
    prepared.map_err(|error| failed(error.into()))
}

fn forget_checkpoint(ground: &Ground, partition: u32, at: u64) -> Result<(), Status> {
    let forget = || {
        for checkpoint in ground.live.checkpoints(partition)? {
            if checkpoint.head.cursor == at {
                ground.live.remove_checkpoint(partition, &checkpoint)?;
            }
        }
        Ok(())
    };
    forget().map_err(|error: tickfold_store::Error| failed(error.into()))
}

async fn fold(
    shadow: &Shadow,
    partition: u32,
    store: &mut dyn PartitionStore,
    to: u64,
    stop: &CancellationToken,
) -> Result<(), Status> {
    let each = |_, _, _| Duration::ZERO;
    shadow.fold_partition(partition, store, to, u32::MAX, stop, each).await.map_err(failed)?;
    if stop.is_cancelled() { Err(stopped()) } else { Ok(()) }
}

/// The rows in which both differ.
fn rows(
    ground: &Ground,
    shadow: &Shadow,
    store: &dyn PartitionStore,
    partition: u32,
    (to, raw_digest, turn): (u64, u128, u64),
    rows_max: usize,
    stop: &CancellationToken,
) -> Result<Vec<Output>, Status> {
    let head = store.store_head();
    if head.cursor > to {
        return Err(Reason::SwapRefused.status(format!(
            "partition {partition}: the shadow is at {}, beyond {to}, where the state stands that it is \
             to replace: discard it, and replay again",
            head.cursor
        )));
    }
    if (head.cursor, head.raw_digest) != (to, raw_digest) {
        return Err(Reason::SwapRefused.status(format!(
            "partition {partition}: the live state is not folded from the raw that is in the log: see \
             `tickfold verify`"
        )));
    }
    let before = snapshot(&*ground.live.view(partition), partition)?;
    debug_assert_eq!(before.store_head().cursor, to, "its rows are those that were published");
    let after = snapshot(&*shadow.stores.view(partition), partition)?;
    let rules = after.regime().map_err(|error| failed(error.into()))?.unwrap_or_default().rules;
    let turn = u32::try_from(turn % TURNS).unwrap_or_default();
    let first = ORDINALS | (turn << ORDINAL_BITS);
    let as_of = |rows: usize| AsOf {
        partition: Partition { id: partition, count: ground.raw.partitions },
        offset: head.cursor.saturating_sub(1),
        log_time: head.head.log_time_or_epoch(),
        rules: std::sync::Arc::clone(&rules),
        first_ordinal: first.saturating_add(u32::try_from(rows).unwrap_or(u32::MAX)),
    };
    let mut rows = Rows::of_at_most(rows_max, ground.swap_bytes_max);
    let compared = differing(partition, &*before, &*after, &mut |mut was, mut is| {
        rows.take(differing_rows(&as_of(rows.rows.len()), &mut was, &mut is));
        match rows.are_too_many() || stop.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    compared.map_err(|error| failed(error.into()))?;
    if stop.is_cancelled() {
        return Err(stopped());
    }
    if rows.are_too_many() {
        return Err(Reason::SwapRefused.status(format!(
            "partition {partition}: {} rows of its tables differ, or more, and one commit may have {} \
             (--rows-max), of {} bytes in all",
            rows.rows.len(),
            rows.max,
            rows.bytes_max
        )));
    }
    Ok(rows.rows)
}

/// The rows of a swap. All of them are in memory, and in one commit.
#[derive(Debug)]
struct Rows {
    rows: Vec<Output>,
    bytes: usize,
    max: usize,
    bytes_max: usize,
}

impl Rows {
    fn of_at_most(max: usize, bytes_max: usize) -> Self {
        let bytes_max = max.saturating_mul(ROW_BYTES).min(bytes_max);
        Self { rows: Vec::new(), bytes: 0, max, bytes_max }
    }

    fn take(&mut self, more: Vec<Output>) {
        let values = more.iter().filter_map(|row| row.value.as_ref());
        self.bytes += values.map(bytes::Bytes::len).sum::<usize>();
        self.rows.extend(more);
    }

    fn are_too_many(&self) -> bool {
        self.rows.len() > self.max || self.bytes > self.bytes_max
    }
}

fn snapshot(
    view: &dyn tickfold_store::ReadView,
    partition: u32,
) -> Result<Box<dyn Snapshot>, Status> {
    let snapshot = view.snapshot().map_err(|error| failed(error.into()))?;
    snapshot.ok_or_else(|| {
        Reason::StoreNotOpen.status(format!("the state of partition {partition} is not open"))
    })
}

/// There is nothing to go back to.
pub(super) fn nothing_kept() -> Status {
    Reason::ReplayNotFound.status("no swap has kept a state on this node")
}

fn interrupted(error: SwapError) -> Status {
    let reason = match error {
        SwapError::NotLive(_) => Reason::PartitionElsewhere,
        _ => Reason::SwapInterrupted,
    };
    reason.status(error.to_string())
}

#[cfg(test)]
mod tests {
    use tickfold_core::records::Topic;
    use tickfold_core::time::Timestamp;

    use super::*;

    #[test]
    fn a_swap_has_so_many_rows_and_bytes_of_them() {
        let value = bytes::Bytes::from(vec![b' '; 1 << 20]);
        let of = |count: usize, value: Option<&bytes::Bytes>| -> Vec<_> {
            let row = || Output {
                topic: Topic::MessageState,
                key: String::new(),
                headers: Vec::new(),
                value: value.cloned(),
                timestamp: Timestamp::from_millis(0),
                offset: 0,
                ordinal: 0,
            };
            std::iter::repeat_with(row).take(count).collect()
        };
        let (max, more) = (rows_max(0).unwrap(), rows_max(1 << 20).unwrap());
        assert_eq!((max, more), (100_000, 1_048_576));
        assert!(rows_max(1_048_577).is_err());
        let cases = [
            (max, BYTES_MAX_KAFKA, max, None),
            (max, BYTES_MAX_KAFKA, 255, Some(&value)),
            (more, BYTES_MAX_KAFKA, more, None),
            (more, BYTES_MAX_KAFKA, 1_024, Some(&value)),
            (more, BYTES_MAX_EMBEDDED, more, None),
            (more, BYTES_MAX_EMBEDDED, 256, Some(&value)),
        ];
        for (max, bytes_max, most, value) in cases {
            let mut rows = Rows::of_at_most(max, bytes_max);
            rows.take(of(most - 1, value));
            rows.take(of(1, value));
            assert!(!rows.are_too_many(), "{most}");
            rows.take(of(1, value));
            assert!(rows.are_too_many(), "{most}");
        }
    }
}
