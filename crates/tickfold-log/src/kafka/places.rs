//! What this process knows of partitions: how many a topic has, and up to where they are certain
//! to have records.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{Append, Offset, PartitionId, TopicPartition};

/// Known topics.
#[derive(Debug, Default)]
pub(super) struct Places {
    topics: RwLock<HashMap<String, Vec<Arc<Place>>>>,
}

/// A partition.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// One above the highest offset at which a record was acknowledged to this process, or read by
    /// it. Answers are never behind it: whoever was told that a record is in the log finds it
    /// there. It does not count markers, which nobody reads.
    end: AtomicU64,
    /// The highest end that this process was told, markers and all.
    told: AtomicU64,
    /// What lies below was trimmed by this process.
    start: AtomicU64,
    /// Records arrived, the end rose, or time passed.
    pub(super) changed: Notify,
    /// A cursor was put back.
    pub(super) released: Notify,
}

/// Records that may be sent, and where each goes.
pub(super) struct Checked {
    pub(super) records: Arc<[Append]>,
    pub(super) places: Vec<Arc<Place>>,
}

impl Checked {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&Append, &Arc<Place>)> + ExactSizeIterator {
        self.records.iter().zip(&self.places)
    }
}

impl Place {
    /// There is a record at `offset`.
    pub(super) fn has(&self, offset: Offset) {
        let end = offset.saturating_add(1);
        if self.end.fetch_max(end, Ordering::AcqRel) < end {
            self.changed.notify_waiters();
        }
    }

    /// The partition ends at `end`, as somebody is told.
    pub(super) fn ends(&self, end: Offset) {
        self.told.fetch_max(end, Ordering::AcqRel);
    }

    /// The highest end that this process was told.
    pub(super) fn told(&self) -> Offset {
        self.told.load(Ordering::Acquire)
    }

    /// Records below `start` are trimmed.
    pub(super) fn trimmed(&self, start: Offset) {
        self.start.fetch_max(start, Ordering::AcqRel);
    }

    /// True if `offset` lies below what this process trimmed: what a cursor read ahead is gone.
    pub(super) fn is_trimmed(&self, offset: Offset) -> bool {
        offset < self.start.load(Ordering::Acquire)
    }

    /// One above the highest offset known to have a record.
    pub(super) fn end(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }
}

impl Places {
    /// The partition, if its topic is known to have it.
    pub(super) fn find(&self, of: &TopicPartition) -> Option<Arc<Place>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(of.partition).ok()?;
        topics.get(&*of.topic)?.get(index).cloned()
    }

    /// How many partitions the topic is known to have.
    pub(super) fn partitions(&self, topic: &str) -> PartitionId {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic).map_or(0, |places| PartitionId::try_from(places.len()).unwrap_or(0))
    }

    /// The topic has at least so many partitions: topics grow and do not shrink.
    pub(super) fn learn(&self, topic: &str, partitions: PartitionId) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let places = topics.entry(topic.to_owned()).or_default();
        let place = || Arc::new(Place::default());
        let missing = usize::try_from(partitions).unwrap_or(0).saturating_sub(places.len());
        places.extend(std::iter::repeat_with(place).take(missing));
    }

    /// Wakes whoever waits for a partition, so that it looks at the clock or sees the log closed.
    pub(super) fn wake_all(&self) {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        for place in topics.values().flatten() {
            place.changed.notify_waiters();
        }
    }
}
