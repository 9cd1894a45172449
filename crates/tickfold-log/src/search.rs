//! Finding a record by its append time, in logs whose append times do not fall.

use crate::{Error, Log, Offset, TopicPartition};

/// The offset of the first readable record appended at or after `time_ms`, else the end: a binary
/// search that reads one record per step. Where append times fall after all, it finds one of the
/// places at which they cross `time_ms`.
pub(crate) async fn offset_at(
    log: &dyn Log,
    of: &TopicPartition,
    time_ms: i64,
) -> Result<Offset, Error> {
    let bounds = log.bounds(of).await?;
    let (mut low, mut high) = (bounds.start, bounds.end);
    while low < high {
        let middle = low + (high - low) / 2;
        let read = log.read(of, middle, 1, usize::MAX).await?;
        match read.first() {
            // The record found may lie behind a gap.
            Some(record) if record.timestamp_ms < time_ms => low = record.offset.saturating_add(1),
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}
