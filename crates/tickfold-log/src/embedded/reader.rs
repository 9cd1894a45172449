//! Reading records, with every promise about them checked on the way.

use rocksdb::{DB, ReadOptions};

use super::{
    catalog::{damaged, load_start, with_position},
    layout::{self, TopicId, Unreadable},
};
use crate::{Bounds, Committed, Error, Offset, PartitionId, Record, TopicPartition};

/// Records from `offset` on, within the readable bounds and both limits.
///
/// A trim may land between the look at the bounds and the look at the records. The database then
/// has the later start as well, so whoever misses a record reads the start again before calling it
/// damage. Starts only rise, so this ends.
pub(super) fn read(
    db: &DB,
    (id, mut bounds): (TopicId, Bounds),
    from: &TopicPartition,
    offset: Offset,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<Record>, Error> {
    loop {
        let next = offset.max(bounds.start);
        let damage = match read_dense(db, (id, bounds.end), from, next, max_records, max_bytes) {
            Err(error @ Error::Damaged { .. }) => error,
            read => return read,
        };
        bounds.start = load_start(db, id, from.partition)?;
        if bounds.start <= next {
            return Err(damage);
        }
    }
}

/// Records from `next` on. The offsets of this log are dense, so one that is missing is damage, not
/// a gap.
fn read_dense(
    db: &DB,
    (id, end): (TopicId, Offset),
    from: &TopicPartition,
    mut next: Offset,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<Record>, Error> {
    let mut read = Vec::new();
    if next >= end || max_records == 0 {
        return Ok(read);
    }
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(layout::record_key(id, from.partition, end));
    let mut entries = db.raw_iterator_opt(options);
    entries.seek(layout::record_key(id, from.partition, next));
    let mut bytes = 0_usize;
    while next < end && read.len() < max_records {
        entries.status().map_err(|error| with_position(from, next, &error))?;
        let lost = |why| damaged("a record", why, Some((from.clone(), next)));
        let (key, value) = entries.item().ok_or_else(|| lost(Unreadable("it is missing")))?;
        if layout::parse_record_key(key, id, from.partition) != Some(next) {
            return Err(lost(Unreadable("it is missing")));
        }
        let (record, _) = layout::decode_record(key, next, value).map_err(lost)?;
        bytes = bytes.saturating_add(record.size_bytes());
        if bytes > max_bytes && !read.is_empty() {
            break;
        }
        read.push(record);
        next += 1;
        entries.next();
    }
    Ok(read)
}

/// Where a group stands in a partition.
pub(super) fn position(
    db: &DB,
    id: TopicId,
    partition: PartitionId,
    group: &str,
) -> Result<Option<Committed>, Error> {
    let key = layout::group_key(id, partition, group);
    let unavailable = |error: rocksdb::Error| Error::Unavailable {
        reason: format!("read the position of group {group}: {error}"),
    };
    let Some(value) = db.get(&key).map_err(unavailable)? else { return Ok(None) };
    let committed = layout::decode_committed(&key, &value);
    committed.map(Some).map_err(|why| damaged("a position", why, None))
}
