//! What a replay would cost: offsets, bytes by a sample, and time by folding that sample in memory.

use std::time::Duration;

use tickfold_proto::admin::v1 as pb;
use tickfold_query::Reason;
use tickfold_store::{MemStores, Stores as _};
use tokio::time::Instant;
use tonic::Status;

use super::spec::Spec;
use super::{blocking, failed};
use crate::history::Ground;

/// Records read of each partition, and bytes of them.
const SAMPLE_RECORDS: usize = 1_000;
const SAMPLE_BYTES: usize = 4 * 1024 * 1024;

/// The plan of a replay that is not begun.
pub(super) async fn plan(ground: &Ground, spec: &Spec) -> Result<pb::PlanReplayResponse, Status> {
    let (mut partitions, mut records) = (Vec::new(), 0);
    let (mut sampled, mut took) = (0, Duration::ZERO);
    for (&partition, range) in &spec.partitions {
        let offsets = range.to.saturating_sub(range.from);
        // From the middle: the first records of a log are rarely like the others. All, if they are few.
        let place = ground.place(partition);
        let middle = range.from + offsets.saturating_sub(SAMPLE_RECORDS as u64) / 2;
        let sample = ground.log.read(&place, middle, SAMPLE_RECORDS, SAMPLE_BYTES).await;
        let mut sample = sample.map_err(|error| {
            let error = anyhow::Error::from(error);
            Reason::LogUnavailable.status(format!("read raw of partition {partition}: {error:#}"))
        })?;
        sample.retain(|record| record.offset < range.to);
        let count = u64::try_from(sample.len()).unwrap_or(u64::MAX);
        let bytes: u64 =
            sample.iter().map(|record| u64::try_from(record.size_bytes()).unwrap_or(0)).sum();
        partitions.push(pb::ReplayPlan {
            partition,
            from_offset: range.from,
            to_offset: range.to,
            from_checkpoint: range.checkpoint.is_some(),
            records: offsets,
            bytes: (bytes.saturating_mul(offsets)).checked_div(count).unwrap_or(0),
        });
        records += offsets;
        if let Some(last) = sample.last() {
            let until = last.offset.saturating_add(1);
            let fold = spec.fold(ground, partition).map_err(failed)?;
            let folded = blocking(move || {
                let stores = MemStores::new();
                let begun = Instant::now();
                let mut store = stores.open(partition)?;
                fold.begin(&mut *store, middle)?;
                fold.fold(&mut *store, sample, until)?;
                anyhow::Ok(begun.elapsed())
            });
            took += folded.await?.map_err(failed)?;
            sampled += count;
        }
    }
    let records_per_second = rate(sampled, took);
    Ok(pb::PlanReplayResponse {
        partitions,
        records_per_second,
        estimate: time_for(records, records_per_second),
        is_part: spec.is_part(),
    })
}

/// Records a second; 0 if there were none.
pub(super) fn rate(records: u64, took: Duration) -> f64 {
    // Below 2^53 records, beyond which a rate does not care.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let records = records as f64;
    if took.is_zero() { 0.0 } else { records / took.as_secs_f64() }
}

/// How long so many records take; `None` without a rate.
pub(super) fn time_for(records: u64, rate: f64) -> Option<prost_types::Duration> {
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    let seconds = records as f64 / rate;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    Some(prost_types::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_gives_a_time_and_none_gives_none() {
        assert_eq!(
            time_for(500, rate(1_000, Duration::from_secs(4))).map(|time| time.seconds),
            Some(2)
        );
        assert_eq!(time_for(500, rate(0, Duration::ZERO)), None);
    }
}
