//! What callers, readers and the writer thread share: the queue, the database, the readable ends.
//!
//! Ends are published under one lock, so that readers see all outputs of a commit or none; the
//! waiters of each partition are woken after it.

use std::{
    collections::BTreeMap,
    sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard},
};

use rocksdb::DB;
use tokio::sync::watch;

use super::{
    catalog::Topic,
    layout::TopicId,
    queue::{Queue, Refused, Request},
};
use crate::{Bounds, Error, Offset, PartitionId, TopicInfo, TopicPartition, TopicSpec};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    /// Taken out on close, so that RocksDB lets go of the directory.
    db: RwLock<Option<DB>>,
    directory: RwLock<BTreeMap<String, Entry>>,
    poison: OnceLock<String>,
    /// True once the writer is done and the database is closed.
    finished: watch::Sender<bool>,
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fail_next_sync: std::sync::atomic::AtomicBool,
}

/// A readable topic.
#[derive(Debug)]
struct Entry {
    id: TopicId,
    spec: TopicSpec,
    partitions: Vec<Readable>,
}

#[derive(Debug)]
struct Readable {
    bounds: Bounds,
    end: watch::Sender<Offset>,
}

impl Shared {
    pub(super) fn new(db: DB, queue: Queue) -> Self {
        Self {
            queue,
            db: RwLock::new(Some(db)),
            directory: RwLock::default(),
            poison: OnceLock::new(),
            finished: watch::Sender::new(false),
            #[cfg(any(test, feature = "test-util"))]
            fail_next_sync: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// The open database. The guard delays closing, so it is never kept over an await.
    pub(super) fn db(&self) -> RwLockReadGuard<'_, Option<DB>> {
        self.db.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self) -> RwLockReadGuard<'_, BTreeMap<String, Entry>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request to the writer.
    pub(super) fn push(&self, request: Request) -> Result<(), Error> {
        self.check_poison()?;
        self.queue.push(request).map_err(|refused| match refused {
            Refused::Closed => Error::Closed,
            Refused::Full => {
                let reason = "append: the queue of the log is full".to_owned();
                Error::Unavailable { reason }
            }
        })
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.queue.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Refuses all further writes, for the reason of the first call.
    pub(super) fn poison(&self, reason: &str) {
        if self.poison.set(reason.to_owned()).is_ok() {
            metrics::gauge!(crate::metrics::POISONED).set(1.0);
            tracing::error!(reason, "log write failed, refusing writes until it is opened anew");
        }
    }

    pub(super) fn poisoned(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    pub(super) fn check_poison(&self) -> Result<(), Error> {
        match self.poisoned() {
            Some(reason) => Err(Error::Poisoned { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }

    /// Why an answer never came: the writer ended without giving it.
    pub(super) fn unanswered(&self) -> Error {
        let reason = self.poisoned().unwrap_or("the writer ended").to_owned();
        Error::Poisoned { reason }
    }

    /// Makes what was synced readable, then wakes whoever waited for it.
    pub(super) fn publish<'a>(&self, topics: impl Iterator<Item = &'a Topic>) {
        let mut moved = Vec::new();
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        for topic in topics {
            if !directory.contains_key(&topic.spec.name) {
                directory.insert(topic.spec.name.clone(), Entry::new(topic));
                continue;
            }
            let Some(entry) = directory.get_mut(&topic.spec.name) else { continue };
            for (readable, partition) in entry.partitions.iter_mut().zip(&topic.partitions) {
                if readable.bounds != partition.bounds {
                    readable.bounds = partition.bounds;
                    moved.push((readable.end.clone(), partition.bounds.end));
                }
            }
        }
        drop(directory);
        for (sender, end) in moved {
            sender.send_replace(end);
        }
    }

    pub(super) fn topics(&self) -> Vec<TopicInfo> {
        let info = |entry: &Entry| TopicInfo {
            spec: entry.spec.clone(),
            bounds: entry.partitions.iter().map(|p| p.bounds).collect(),
        };
        self.directory().values().map(info).collect()
    }

    /// Number and readable bounds of a partition.
    pub(super) fn find(&self, of: &TopicPartition) -> Result<(TopicId, Bounds), Error> {
        self.with(of, |id, readable| (id, readable.bounds))
    }

    /// Sees the end of a partition move.
    pub(super) fn watch(&self, of: &TopicPartition) -> Result<watch::Receiver<Offset>, Error> {
        self.with(of, |_, readable| readable.end.subscribe())
    }

    /// Number of partitions of a topic.
    pub(super) fn partitions(&self, topic: &str) -> Result<PartitionId, Error> {
        self.check_open()?;
        let partitions = self.directory().get(topic).map(|entry| entry.spec.partitions);
        partitions.ok_or_else(|| self.unknown(&TopicPartition::new(topic, 0)))
    }

    fn with<T>(
        &self,
        of: &TopicPartition,
        get: impl FnOnce(TopicId, &Readable) -> T,
    ) -> Result<T, Error> {
        self.check_open()?;
        let directory = self.directory();
        let entry = directory.get(&*of.topic);
        let found = entry.and_then(|e| Some((e.id, e.partitions.get(of.partition as usize)?)));
        let (id, readable) = found.ok_or_else(|| self.unknown(of))?;
        Ok(get(id, readable))
    }

    /// There is no such partition, or none any more since the log was closed meanwhile.
    fn unknown(&self, of: &TopicPartition) -> Error {
        self.check_open().err().unwrap_or_else(|| Error::UnknownPartition(of.clone()))
    }

    /// The end of the writer, however it comes: nothing is accepted any more, whoever still waits
    /// learns it, and the directory is free.
    pub(super) fn finish(&self) {
        self.queue.abandon();
        self.directory.write().unwrap_or_else(PoisonError::into_inner).clear();
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(db);
        self.finished.send_replace(true);
    }

    pub(super) async fn finished(&self) {
        // An error would mean that the sender is gone, which `self` holds.
        let _ = self.finished.subscribe().wait_for(|finished| *finished).await;
    }
}

impl Entry {
    fn new(topic: &Topic) -> Self {
        let readable = |bounds: Bounds| Readable { bounds, end: watch::Sender::new(bounds.end) };
        let partitions = topic.partitions.iter().map(|p| readable(p.bounds)).collect();
        Self { id: topic.id, spec: topic.spec.clone(), partitions }
    }
}
