//! The golden fold: all raw records into one overlay on nothing, in one go. What is committed and
//! what is stored must equal it, byte for byte; every record of it fits the schema of its topic.

use std::collections::BTreeMap;

use tickfold_core::FOLD_VERSION;
use tickfold_core::fold::{Output, Partition};
use tickfold_core::overlay::{Nothing, Overlay};
use tickfold_core::raw::RawRecord;
use tickfold_core::records::Topic;
use tickfold_core::time::Timestamp;
use tickfold_log::{MemLog, Record, RecordDigest};
use tickfold_processor::{derived_topic, raw_topic};
use tickfold_store::{MemStores, StoreHead, Stores};

use crate::schemas::assert_valid;
use crate::workload::{PARTITION, PARTITIONS};

/// The partition that is looked at.
pub(crate) const HERE: Partition = Partition { id: PARTITION, count: PARTITIONS };

/// A derived record without its offset: key, value, headers, timestamp.
type Plain = (Vec<u8>, Option<Vec<u8>>, Vec<(String, Vec<u8>)>, i64);

/// What is wrong with the committed outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Difference {
    /// Golden outputs that are not there.
    pub(crate) lost: usize,
    /// Outputs that are there more often than they should.
    pub(crate) twice: usize,
}

/// What should be there.
#[derive(Debug)]
pub(crate) struct Golden {
    by_topic: BTreeMap<Topic, Vec<Plain>>,
    /// State, as rows.
    pub(crate) dump: Vec<(Vec<u8>, Vec<u8>)>,
    /// Head of the store.
    pub(crate) head: StoreHead,
}

impl Golden {
    /// Folds the raw records of the log.
    pub(crate) fn of(log: &MemLog) -> Self {
        let mut overlay = Overlay::default();
        let mut by_topic: BTreeMap<Topic, Vec<Plain>> = BTreeMap::new();
        let (mut cursor, mut raw_digest) = (0, RecordDigest::default());
        for record in log.records(&raw_topic("wa"), PARTITION) {
            let raw = RawRecord {
                offset: record.offset,
                appended: Timestamp::from_millis(record.timestamp_ms),
                headers: record.headers.iter().map(|h| (&*h.name, &*h.value)).collect(),
                value: record.value.as_deref(),
            };
            for output in tickfold_core::fold(&mut overlay, &Nothing, HERE, &raw).unwrap() {
                assert_valid(output.topic, output.value.as_deref());
                by_topic.entry(output.topic).or_default().push(plain_output(output));
            }
            cursor = record.offset + 1;
            raw_digest.add(&record);
        }
        let stores = MemStores::new();
        let mut store = stores.open(PARTITION).unwrap();
        let head = StoreHead {
            cursor,
            fold_version: FOLD_VERSION,
            head: overlay.head.unwrap_or(StoreHead::EMPTY.head),
            digest: store.digest_after(&overlay).unwrap(),
            raw_digest: raw_digest.sum(),
        };
        store.write(0, &overlay, head).unwrap();
        Self { by_topic, dump: stores.dump(PARTITION), head }
    }

    /// Golden outputs in all topics.
    pub(crate) fn outputs(&self) -> usize {
        self.by_topic.values().map(Vec::len).sum()
    }

    /// Compares the derived topics: which outputs are lost or there twice, and whether all bytes
    /// and the order are right.
    pub(crate) fn compare_outputs(&self, log: &MemLog) -> Result<(), (Difference, String)> {
        let mut difference = Difference::default();
        let mut first = None;
        for topic in Topic::ALL {
            let golden = self.by_topic.get(&topic).map_or(&[][..], Vec::as_slice);
            let found = log.records(&derived_topic("wa", topic), PARTITION);
            let found: Vec<Plain> = found.into_iter().map(plain_record).collect();
            if found == golden {
                continue;
            }
            let mut counts: BTreeMap<&Plain, i64> = BTreeMap::new();
            golden.iter().for_each(|plain| *counts.entry(plain).or_default() -= 1);
            found.iter().for_each(|plain| *counts.entry(plain).or_default() += 1);
            let of = |sign: i64| {
                let counts = counts.values().map(|count| count * sign).filter(|count| *count > 0);
                usize::try_from(counts.sum::<i64>()).unwrap()
            };
            difference.lost += of(-1);
            difference.twice += of(1);
            first.get_or_insert_with(|| {
                format!("{}: {} records, golden {}", topic.name(), found.len(), golden.len())
            });
        }
        first.map_or(Ok(()), |text| Err((difference, text)))
    }
}

fn plain_output(output: Output) -> Plain {
    let headers = output.headers.into_iter();
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    (output.key.into_bytes(), output.value.map(Vec::from), headers, output.timestamp.as_millis())
}

fn plain_record(record: Record) -> Plain {
    let headers =
        record.headers.into_iter().map(|h| (h.name.into_owned(), h.value.to_vec())).collect();
    let key = record.key.unwrap_or_default().to_vec();
    (key, record.value.map(|value| value.to_vec()), headers, record.timestamp_ms)
}
