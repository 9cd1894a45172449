//! A digest of records that were read: Σ hash128(offset, time, key, headers, value) mod 2^128.
//!
//! A sum with the offset in it, so that the digest of a range is the difference of two, wherever the log
//! begins by now, and still a record that is altered, missing, added or elsewhere changes it. It finds
//! defects and damage, not forgery.

use xxhash_rust::xxh3::xxh3_128;

use crate::Record;

/// A sum over records. Reuses one buffer, since records are many.
#[derive(Debug, Clone, Default)]
pub struct RecordDigest {
    sum: u128,
    buffer: Vec<u8>,
}

impl RecordDigest {
    /// The sum so far; 0 over nothing.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        self.sum = self.sum.wrapping_add(self.hash(record));
    }

    /// Each part with its length, and absent told from empty. The value, which is long, is hashed by
    /// itself and not copied.
    fn hash(&mut self, record: &Record) -> u128 {
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.extend_from_slice(&record.offset.to_be_bytes());
        buffer.extend_from_slice(&record.timestamp_ms.to_be_bytes());
        part(buffer, record.key.as_deref());
        part(
            buffer,
            record
                .value
                .as_deref()
                .map(|value| xxh3_128(value).to_be_bytes())
                .as_ref()
                .map(|hash| &hash[..]),
        );
        for header in &record.headers {
            part(buffer, Some(header.name.as_bytes()));
            part(buffer, Some(&header.value));
        }
        xxh3_128(buffer)
    }
}

fn part(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    // No part is that long; the cut would only weaken the hash.
    let length = bytes.map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    buffer.push(u8::from(bytes.is_some()));
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(bytes.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Header;

    fn record() -> Record {
        Record {
            offset: 7,
            timestamp_ms: 9,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::from_static(b"value")),
            headers: vec![Header { name: "name".into(), value: Bytes::from_static(b"header") }],
        }
    }

    fn of(records: &[Record]) -> u128 {
        let mut digest = RecordDigest::default();
        records.iter().for_each(|record| digest.add(record));
        digest.sum()
    }

    #[test]
    fn every_part_counts_and_absent_is_not_empty() {
        let with = |change: fn(&mut Record)| {
            let mut record = record();
            change(&mut record);
            of(&[record])
        };
        let all = [
            with(|_| ()),
            with(|r| r.offset = 8),
            with(|r| r.timestamp_ms = 10),
            with(|r| r.key = Some(Bytes::from_static(b"kez"))),
            with(|r| r.key = Some(Bytes::new())),
            with(|r| r.key = None),
            with(|r| r.value = Some(Bytes::from_static(b"valuf"))),
            with(|r| r.value = Some(Bytes::new())),
            with(|r| r.value = None),
            with(|r| r.headers.clear()),
            with(|r| r.headers[0].name = "namf".into()),
            with(|r| r.headers[0].value = Bytes::from_static(b"headerx")),
            with(|r| r.headers.push(r.headers[0].clone())),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn the_digest_of_a_range_is_a_difference() {
        let records: Vec<_> = (0..4).map(|offset| Record { offset, ..record() }).collect();
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&records[2..]), of(&records).wrapping_sub(of(&records[..2])));
    }
}
