//! The embedded log: durable on one machine, on a RocksDB of its own.
//!
//! One writer thread takes everything that waits, writes it as one batch, syncs it, and answers
//! everybody (`writer`). A record is readable only once it is synced. The directory holds `db`
//! (RocksDB), `mark` (the damage mark, which tells lost records from a torn tail) and `lock`: a
//! directory has one owner at a time.
//!
//! Reads run where they are called. They end in RocksDB's write buffer, its block cache or the
//! page cache nearly always, and are bounded by the caller's limits, so handing them to another
//! thread would cost more than it spares; the processor reads from a thread of its own anyway.
//! A caller on a shared runtime keeps `max_bytes` small.
//!
//! Tables (`compacted`) are kept whole: nothing is compacted here yet.
//!
//! After a failed write or sync the log is poisoned: what the disk holds is not known, so writes
//! are refused until it is opened anew, while reads of what was synced go on. A commit on a
//! poisoned log is `Unclear`, also when it was never tried, so that the owner claims anew and
//! meets [`Error::Poisoned`].

mod catalog;
mod framing;
mod layout;
mod mark;
mod options;
mod queue;
mod reader;
mod recover;
mod shared;
#[cfg(test)]
mod tests;
mod trim;
mod writer;

use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::oneshot;

pub use options::{Clock, EmbeddedOptions};
use queue::{Commit, Queue, Request};
use recover::{Recovered, recover};
use shared::Shared;
use writer::Writer;

use crate::{
    Append, Bounds, Claim, CommitError, Committed, Error, GroupSpec, Log, LogFuture, Member,
    Offset, OwnedPartition, Record, TopicInfo, TopicPartition, TopicSpec, group::SoleMember,
    record, search,
};

/// The log in a directory, opened by this process.
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, or creates it. Blocks while RocksDB recovers.
    ///
    /// [`Error::Damaged`] if acknowledged records are missing; nothing on disk was changed then.
    /// [`Error::Incompatible`] if a later version wrote it. [`Error::Unavailable`] if another owner has the directory, or it cannot be opened for a
    /// reason outside of it.
    pub fn open(dir: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Arc<Self>, Error> {
        crate::metrics::describe();
        let Recovered { db, mark, catalog, lock } = recover(dir.as_ref(), &options)?;
        let queue = Queue::new(options.queue_bytes_max, options.queue_requests_max);
        let shared = Arc::new(Shared::new(db, queue));
        let EmbeddedOptions { clock, group_bytes_max, .. } = options;
        let writer = Writer::new(Arc::clone(&shared), catalog, mark, clock, group_bytes_max);
        let thread = std::thread::Builder::new().name("tickfold-log".to_owned());
        let thread = thread.spawn(move || write_until_closed(writer, lock));
        let thread = thread.map_err(|error| Error::Unavailable {
            reason: format!("start the writer thread: {error}"),
        })?;
        Ok(Arc::new(Self { shared, writer: Mutex::new(Some(thread)) }))
    }

    /// The next group is written but its sync reports failure.
    #[cfg(any(test, feature = "test-util"))]
    pub fn fail_next_sync(&self) {
        self.shared.fail_next_sync.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    fn join_writer(&self) {
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer thread of the log panicked");
        }
    }
}

impl Drop for EmbeddedLog {
    /// Closes like [`Log::close`], blocking until what was accepted is durable.
    fn drop(&mut self) {
        self.shared.queue.close();
        self.join_writer();
    }
}

/// The writer's thread. The lock goes last, when RocksDB has let go of the directory.
fn write_until_closed(writer: Writer, lock: File) {
    writer.run();
    drop(lock);
}

impl Log for EmbeddedLog {
    fn ensure_topics<'a>(
        &'a self,
        specs: &'a [TopicSpec],
    ) -> LogFuture<'a, Result<Vec<TopicInfo>, Error>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.shared.push(Request::Topics { specs: specs.to_vec(), answer })?;
            answered.await.unwrap_or_else(|_| Err(self.shared.unanswered()))
        })
    }

    fn topics(&self) -> LogFuture<'_, Result<Vec<TopicInfo>, Error>> {
        Box::pin(async move {
            self.shared.check_open()?;
            Ok(self.shared.topics())
        })
    }

    fn append(&self, records: Vec<Append>) -> LogFuture<'_, Result<Vec<Offset>, Error>> {
        Box::pin(async move {
            self.shared.check_poison()?;
            check(&self.shared, &records)?;
            let (answer, answered) = oneshot::channel();
            let pushed = self.shared.push(Request::Append { records, answer });
            if matches!(pushed, Err(Error::Unavailable { .. })) {
                metrics::counter!(crate::metrics::APPENDS_REFUSED).increment(1);
            }
            pushed?;
            answered.await.unwrap_or_else(|_| Err(self.shared.unanswered()))
        })
    }

    fn read<'a>(
        &'a self,
        from: &'a TopicPartition,
        offset: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> LogFuture<'a, Result<Vec<Record>, Error>> {
        Box::pin(async move {
            let found = self.shared.find(from)?;
            let db = self.shared.db();
            let db = db.as_ref().ok_or(Error::Closed)?;
            reader::read(db, found, from, offset, max_records, max_bytes)
        })
    }

    fn last_record<'a>(
        &'a self,
        from: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Option<Record>, Error>> {
        Box::pin(async move {
            let end = self.shared.find(from)?.1.end;
            let last = self.read(from, end.saturating_sub(1), 1, usize::MAX).await?;
            Ok(last.into_iter().next())
        })
    }

    fn bounds<'a>(&'a self, of: &'a TopicPartition) -> LogFuture<'a, Result<Bounds, Error>> {
        Box::pin(async move { Ok(self.shared.find(of)?.1) })
    }

    fn trim<'a>(
        &'a self,
        of: &'a TopicPartition,
        before: Offset,
    ) -> LogFuture<'a, Result<Bounds, Error>> {
        Box::pin(async move {
            self.shared.check_poison()?;
            self.shared.find(of)?;
            let (answer, answered) = oneshot::channel();
            self.shared.push(Request::Trim { of: of.clone(), before, answer })?;
            answered.await.unwrap_or_else(|_| Err(self.shared.unanswered()))
        })
    }

    fn wait_past<'a>(
        &'a self,
        of: &'a TopicPartition,
        offset: Offset,
    ) -> LogFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut end = self.shared.watch(of)?;
            match end.wait_for(|end| *end > offset).await {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::Closed),
            }
        })
    }

    fn claim<'a>(
        &'a self,
        group: &'a str,
        input: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Claim, Error>> {
        Box::pin(async move {
            self.shared.check_poison()?;
            self.shared.find(input)?;
            let (answer, answered) = oneshot::channel();
            let (group, input) = (group.to_owned(), input.clone());
            let request = Request::Claim { group: group.clone(), input: input.clone(), answer };
            self.shared.push(request)?;
            let answered = answered.await.unwrap_or_else(|_| Err(self.shared.unanswered()));
            let (committed, epoch) = answered?;
            let owned = Owned { shared: Arc::clone(&self.shared), group, input, epoch };
            Ok(Claim { committed, partition: Box::new(owned) })
        })
    }

    fn join(
        self: Arc<Self>,
        spec: GroupSpec,
    ) -> LogFuture<'static, Result<Arc<dyn Member>, Error>> {
        Box::pin(async move { Ok(SoleMember::join(self, spec).await? as Arc<dyn Member>) })
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> LogFuture<'a, Result<Vec<Option<Committed>>, Error>> {
        Box::pin(async move {
            let partitions = self.shared.partitions(topic)?;
            let db = self.shared.db();
            let db = db.as_ref().ok_or(Error::Closed)?;
            let position = |partition| {
                let (id, _) = self.shared.find(&TopicPartition::new(topic, partition))?;
                reader::position(db, id, partition, group)
            };
            (0..partitions).map(position).collect()
        })
    }

    fn offset_at<'a>(
        &'a self,
        of: &'a TopicPartition,
        time_ms: i64,
    ) -> LogFuture<'a, Result<Offset, Error>> {
        Box::pin(search::offset_at(self, of, time_ms))
    }

    fn close(&self) -> LogFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.shared.queue.close();
            self.shared.finished().await;
            // The thread has only to let go of the lock file, so this does not block.
            self.join_writer();
            self.shared.check_poison()
        })
    }
}

/// A claimed partition. It outlives the log, but then commits nothing.
#[derive(Debug)]
struct Owned {
    shared: Arc<Shared>,
    group: String,
    input: TopicPartition,
    epoch: u64,
}

impl OwnedPartition for Owned {
    fn commit(
        &mut self,
        outputs: Arc<[Append]>,
        position: Committed,
    ) -> LogFuture<'_, Result<(), CommitError>> {
        Box::pin(async move {
            let unclear = |error: Error| CommitError::Unclear { reason: error.to_string() };
            let aborted = |error: Error| CommitError::Aborted { reason: error.to_string() };
            self.shared.check_poison().map_err(unclear)?;
            position.check()?;
            check(&self.shared, &outputs).map_err(aborted)?;
            let (answer, answered) = oneshot::channel();
            let (group, input) = (self.group.clone(), self.input.clone());
            let commit = Commit { group, input, epoch: self.epoch, outputs, position };
            self.shared.push(Request::Commit { commit, answer }).map_err(|error| match error {
                poisoned @ Error::Poisoned { .. } => unclear(poisoned),
                other => aborted(other),
            })?;
            answered.await.unwrap_or_else(|_| Err(unclear(self.shared.unanswered())))
        })
    }
}

/// What can be refused before the queue: a record that is too large, or a partition that is not
/// there.
fn check(shared: &Shared, records: &[Append]) -> Result<(), Error> {
    for append in records {
        shared.find(&append.to)?;
        record::check_size(append)?;
    }
    Ok(())
}
