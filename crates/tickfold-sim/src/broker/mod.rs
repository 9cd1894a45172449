//! The simulated log: Kafka's brokers as far as transactions, groups and offsets go, or the embedded
//! log. Written from the protocol, not from the adapter, so that an adapter's belief can be wrong.
//!
//! What it models of Kafka: producer ids with epochs, of which only the latest may write; a
//! transaction that ends in two steps, the decision and then a marker per partition, each of which
//! takes an offset; readers that see nothing above the first open transaction, and nothing that was
//! aborted; positions that are pending until their marker; transactions that expire; a group whose
//! generations fence commits, with static members whose sessions end; requests that arrive late.
//!
//! What it leaves out: replication. What is acknowledged is kept.

mod embedded;
mod group;
mod partition;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;

use tickfold_core::records::Topic;
use tickfold_log::{Append, Bounds, Committed, Record, TopicPartition};
use tickfold_processor::{derived_topic, raw_topic};

use crate::plan::Fault;
pub(crate) use group::{Group, MemberId};
pub(crate) use partition::Part;
use transaction::Transaction;
pub(crate) use transaction::{Decision, Reply, Request, Speaker};

/// Index of raw among the topics.
pub(crate) const RAW: usize = 0;

/// After so long an open transaction is aborted.
pub(crate) const TRANSACTION_MS: u64 = 60_000;

/// Who asks: a process, and the how many-th claim of the run.
pub(crate) type Claimant = (usize, u64);

/// A request that is on its way for long.
#[derive(Debug)]
pub(crate) struct Late {
    /// When it arrives.
    pub(crate) due_ms: u64,
    /// What keeps it.
    pub(crate) fault: Fault,
    pub(crate) partition: u32,
    pub(crate) epoch: u32,
    pub(crate) by: Claimant,
    pub(crate) request: Request,
}

/// The brokers, or the embedded log.
#[derive(Debug)]
pub(crate) struct Broker {
    /// The clock, from the beginning of the run.
    pub(crate) now_ms: u64,
    /// What the clock shows to records.
    pub(crate) base_ms: i64,
    pub(crate) group: Group,
    /// Requests that are under way, in no order.
    pub(crate) limbo: Vec<Late>,
    /// Transactions that were decided to commit, for whoever looks at them.
    pub(crate) decisions: Vec<Decision>,
    topics: BTreeMap<Arc<str>, usize>,
    parts: Vec<Vec<Part>>,
    transactions: Vec<Transaction>,
    positions: Vec<Option<Committed>>,
    /// Of the embedded log: what a power loss takes back.
    unsynced: Vec<embedded::Unsynced>,
    /// The embedded log failed to sync and takes nothing more.
    pub(crate) poisoned: bool,
}

impl Broker {
    /// With all topics, empty.
    pub(crate) fn new(partitions: u32, base_ms: i64) -> Self {
        let names = std::iter::once(raw_topic("wa"));
        let names = names.chain(Topic::ALL.into_iter().map(|topic| derived_topic("wa", topic)));
        let topics: BTreeMap<Arc<str>, usize> =
            names.enumerate().map(|(index, name)| (name.into(), index)).collect();
        let part = || (0..partitions).map(|_| Part::default()).collect::<Vec<_>>();
        Self {
            now_ms: 0,
            base_ms,
            group: Group::new(partitions),
            limbo: Vec::new(),
            decisions: Vec::new(),
            parts: (0..topics.len()).map(|_| part()).collect(),
            topics,
            transactions: (0..partitions).map(|_| Transaction::default()).collect(),
            positions: vec![None; partitions as usize],
            unsynced: Vec::new(),
            poisoned: false,
        }
    }

    /// Partitions of each topic.
    pub(crate) fn partitions(&self) -> u32 {
        u32::try_from(self.positions.len()).expect("few")
    }

    /// Index of a derived topic.
    pub(crate) fn topic(topic: Topic) -> usize {
        1 + Topic::ALL.iter().position(|one| *one == topic).expect("it is one of all")
    }

    fn topic_of(&self, place: &TopicPartition) -> usize {
        self.topics[&place.topic]
    }

    /// A partition.
    pub(crate) fn part(&self, topic: usize, partition: u32) -> &Part {
        &self.parts[topic][partition as usize]
    }

    fn part_mut(&mut self, topic: usize, partition: u32) -> &mut Part {
        &mut self.parts[topic][partition as usize]
    }

    /// The log's clock now.
    pub(crate) fn log_time_ms(&self) -> i64 {
        self.base_ms + i64::try_from(self.now_ms).expect("a run is short")
    }

    /// Appends to raw outside of transactions.
    pub(crate) fn append_raw(&mut self, append: &Append) {
        let now_ms = self.log_time_ms();
        let partition = append.to.partition;
        self.part_mut(RAW, partition).push(append, now_ms, None);
    }

    /// What readers of committed records are given.
    pub(crate) fn read(
        &self,
        topic: usize,
        partition: u32,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Vec<Record> {
        let mut bytes = 0;
        let mut read = Vec::new();
        for record in self.part(topic, partition).visible(from) {
            bytes += record.size_bytes();
            if read.len() >= max_records || (bytes > max_bytes && !read.is_empty()) {
                break;
            }
            read.push(record.clone());
        }
        read
    }

    /// The bounds that readers of committed records are given.
    pub(crate) fn bounds(&self, topic: usize, partition: u32) -> Bounds {
        Bounds { start: 0, end: self.part(topic, partition).stable_end() }
    }

    /// The position after the last readable record of raw.
    pub(crate) fn raw_end(&self, partition: u32) -> u64 {
        self.part(RAW, partition).visible(0).last().map_or(0, |record| record.offset + 1)
    }

    /// The group's position, pending or not looked at.
    pub(crate) fn position(&self, partition: u32) -> Option<&Committed> {
        self.positions[partition as usize].as_ref()
    }

    /// An operator puts the position elsewhere.
    pub(crate) fn set_position(&mut self, partition: u32, to: Option<Committed>) {
        self.positions[partition as usize] = to;
    }

    /// The position as a reader of stable positions is given it; `Err` while it is pending.
    pub(crate) fn stable_position(&self, partition: u32) -> Result<Option<Committed>, ()> {
        if self.transactions[partition as usize].has_pending() {
            return Err(());
        }
        Ok(self.position(partition).cloned())
    }
}
