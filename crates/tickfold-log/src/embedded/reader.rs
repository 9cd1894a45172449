//! Reading records, with every promise about them checked on the way.

use rocksdb::{DB, ReadOptions};

use super::{
    catalog::{damaged, with_position},
    layout::{self, TopicId, Unreadable},
};
use crate::{Bounds, Error, Offset, Record, TopicPartition};

/// Records from `offset` on, within the readable bounds and both limits. The offsets of this log
/// are dense, so one that is missing is damage, not a gap.
pub(super) fn read(
    db: &DB,
    (id, bounds): (TopicId, Bounds),
    from: &TopicPartition,
    offset: Offset,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<Record>, Error> {
    let mut next = offset.max(bounds.start);
    let mut read = Vec::new();
    if next >= bounds.end || max_records == 0 {
        return Ok(read);
    }
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(layout::record_key(id, from.partition, bounds.end));
    let mut entries = db.raw_iterator_opt(options);
    entries.seek(layout::record_key(id, from.partition, next));
    let mut bytes = 0_usize;
    while next < bounds.end && read.len() < max_records {
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
