//! The writer thread: everything that waits becomes one batch, one sync, one round of answers.
//!
//! The order within a group is the safety of this log: write the batch, sync the WAL, note it in
//! the damage mark, make it readable, answer. Offsets, epochs and positions move in this thread's
//! memory while the batch is built; if the write fails they are wrong, which does not matter,
//! because then nothing is written any more.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use rocksdb::WriteBatch;
use tokio::sync::oneshot;

use super::{
    Clock,
    catalog::{self, Catalog, Topic},
    layout::{self, TopicId},
    mark::{Mark, MarkFile},
    options::Memory,
    queue::{Answer, Commit, Held, Next, Request},
    shared::Shared,
    trim::Trimmed,
};
use crate::{
    Append, Bounds, CommitError, Committed, Error, Offset, TopicInfo, TopicPartition, TopicSpec,
};

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    topics: BTreeMap<String, Topic>,
    groups: BTreeMap<(String, TopicPartition), Group>,
    mark: MarkFile,
    clock: Clock,
    group_bytes_max: usize,
}

/// A group's place in an input partition. Epochs count claims of this process; earlier processes
/// cannot write any more.
#[derive(Debug, Default)]
struct Group {
    epoch: u64,
    committed: Option<Committed>,
}

/// An answer that waits for the sync.
#[derive(Debug)]
enum Pending {
    Append(Answer<Vec<Offset>>, Vec<Offset>),
    Commit(oneshot::Sender<Result<(), CommitError>>),
    Claim(Answer<(Option<Committed>, u64)>, Option<Committed>, u64),
    Topics(Answer<Vec<TopicInfo>>, Vec<String>),
    Trim(Answer<Bounds>, Bounds),
}

/// A group on its way to the disk.
#[derive(Default)]
struct Building {
    batch: WriteBatch,
    records: usize,
    trimmed: Vec<Trimmed>,
    pending: Vec<Pending>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        catalog: Catalog,
        mark: MarkFile,
        clock: Clock,
        group_bytes_max: usize,
    ) -> Self {
        let group = |committed| Group { epoch: 0, committed: Some(committed) };
        let groups = catalog.groups.into_iter().map(|(key, c)| (key, group(c))).collect();
        let writer = Self { shared, topics: catalog.topics, groups, mark, clock, group_bytes_max };
        writer.shared.publish(writer.topics.values());
        writer
    }

    /// Works until the queue is closed and empty, then syncs the mark.
    pub(super) fn run(mut self) {
        loop {
            match self.shared.queue.next(self.group_bytes_max, self.mark.due_in()) {
                Next::Group(requests, held) => {
                    self.group(requests, held);
                    // After the answers: nobody waits for the mark's own sync.
                    if self.mark.due_in().is_some_and(|due| due.is_zero()) {
                        self.sync_mark();
                    }
                }
                Next::Idle => self.sync_mark(),
                Next::Closed => break,
            }
        }
        self.sync_mark();
    }

    fn sync_mark(&mut self) {
        if let Err(error) = self.mark.sync() {
            self.shared.poison(&format!("sync the damage mark: {error}"));
        }
    }

    fn group(&mut self, requests: Vec<Request>, held: Held) {
        let mut building = Building::default();
        // Read once per group: records that share a sync share their append time.
        let now_ms = self.clock.now_ms();
        for request in requests {
            self.join(request, now_ms, &mut building);
        }
        let Building { batch, records, trimmed, pending } = building;
        let written =
            self.shared.check_poison().and_then(|()| self.write(batch, records, held.bytes));
        if written.is_ok() {
            self.shared.publish(self.topics.values());
        }
        // Before the answers, so that whoever gets one finds the room it gave back.
        let queued = self.shared.queue.release(held);
        metrics::gauge!(crate::metrics::QUEUE_BYTES).set(as_f64(queued));
        for pending in pending {
            self.answer(pending, written.is_ok());
        }
        // After the answers: nobody waits for the space.
        if let (Ok(()), Some(db)) = (written, self.shared.db().as_ref()) {
            for trimmed in trimmed {
                metrics::counter!(crate::metrics::RECORDS_TRIMMED).increment(trimmed.records);
                trimmed.drop_files(db);
            }
        }
    }

    /// Adds a request to the group, or answers it at once where it cannot join.
    fn join(&mut self, request: Request, now_ms: i64, building: &mut Building) {
        match request {
            Request::Append { records, answer } => {
                match self.put_records(&records, now_ms, building) {
                    Ok(offsets) => building.pending.push(Pending::Append(answer, offsets)),
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            Request::Commit { commit, answer } => match self.put_commit(commit, now_ms, building) {
                Ok(()) => building.pending.push(Pending::Commit(answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Request::Claim { group, input, answer } => {
                // Commits that joined before this moment are in the position it returns; the
                // answer waits for their sync. Those that come later are fenced.
                let group = self.groups.entry((group, input)).or_default();
                group.epoch += 1;
                let (committed, epoch) = (group.committed.clone(), group.epoch);
                building.pending.push(Pending::Claim(answer, committed, epoch));
            }
            Request::Topics { specs, answer } => match self.put_topics(&specs, building) {
                Ok(names) => building.pending.push(Pending::Topics(answer, names)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Request::Trim { of, before, answer } => match self.put_trim(&of, before, building) {
                Ok(bounds) => building.pending.push(Pending::Trim(answer, bounds)),
                Err(error) => drop(answer.send(Err(error))),
            },
        }
    }

    fn put_commit(
        &mut self,
        commit: Commit,
        now_ms: i64,
        building: &mut Building,
    ) -> Result<(), CommitError> {
        let Commit { group, input, epoch, outputs, position } = commit;
        let aborted = |error: Error| CommitError::Aborted { reason: error.to_string() };
        let key = (group, input);
        if self.groups.get(&key).is_none_or(|group| group.epoch != epoch) {
            metrics::counter!(crate::metrics::FENCED).increment(1);
            return Err(CommitError::Fenced);
        }
        let id = self.topic(&key.1).map_err(aborted)?.id;
        self.put_records(&outputs, now_ms, building).map_err(aborted)?;
        let place = layout::group_key(id, key.1.partition, &key.0);
        building.batch.put(&place, layout::encode_committed(&place, &position));
        self.groups.entry(key).or_default().committed = Some(position);
        Ok(())
    }

    /// Puts all records or none.
    fn put_records(
        &mut self,
        records: &[Append],
        now_ms: i64,
        building: &mut Building,
    ) -> Result<Vec<Offset>, Error> {
        // Callers checked the same; a partition never disappears, so this is a second look.
        for append in records {
            self.topic(&append.to)?;
        }
        let mut offsets = Vec::with_capacity(records.len());
        for append in records {
            let topic = self.topics.get_mut(&*append.to.topic);
            let place = topic.and_then(|topic| {
                let partition = topic.partitions.get_mut(append.to.partition as usize)?;
                Some((topic.id, partition))
            });
            let Some((id, partition)) = place else { continue };
            let offset = partition.bounds.end;
            partition.bounds.end += 1;
            if append.timestamp_ms.is_none() {
                partition.log_time_ms = partition.log_time_ms.max(now_ms);
            }
            let key = layout::record_key(id, append.to.partition, offset);
            let value = layout::encode_record(&key, append, partition.log_time_ms);
            building.batch.put(&key, value);
            offsets.push(offset);
        }
        building.records += records.len();
        Ok(offsets)
    }

    /// Creates what does not exist, or nothing if anything does not match.
    fn put_topics(
        &mut self,
        specs: &[TopicSpec],
        building: &mut Building,
    ) -> Result<Vec<String>, Error> {
        let mut wanted: BTreeMap<String, Topic> = BTreeMap::new();
        let mut next = self.topics.values().map(|t| t.id).max().map_or(Some(0), next_id);
        for spec in specs {
            spec.check()?;
            let existing = self.topics.get(&spec.name).or_else(|| wanted.get(&spec.name));
            if let Some(existing) = existing {
                spec.check_existing(&existing.spec)?;
                continue;
            }
            let id = next.ok_or_else(|| too_many(spec))?;
            next = next_id(id);
            wanted.insert(spec.name.clone(), Topic::new(id, spec));
            let topics = self.topics.values().chain(wanted.values());
            if !Mark::fits(&catalog::marked(topics)) {
                return Err(too_many(spec));
            }
        }
        for topic in wanted.values() {
            let key = layout::topic_key(topic.id);
            building.batch.put(&key, layout::encode_topic(&key, &topic.spec));
        }
        self.topics.append(&mut wanted);
        Ok(specs.iter().map(|spec| spec.name.clone()).collect())
    }

    /// Moves the start of a partition. Also where it is there already the answer waits for the
    /// group, since an earlier trim may be in it.
    fn put_trim(
        &mut self,
        of: &TopicPartition,
        before: Offset,
        building: &mut Building,
    ) -> Result<Bounds, Error> {
        let place = self.topics.get_mut(&*of.topic).and_then(|topic| {
            let partition = topic.partitions.get_mut(of.partition as usize)?;
            Some((topic.id, &mut partition.bounds))
        });
        let (id, bounds) = place.ok_or_else(|| Error::UnknownPartition(of.clone()))?;
        let start = before.min(bounds.end);
        if start > bounds.start {
            let records = start - bounds.start;
            bounds.start = start;
            let trimmed = Trimmed { topic: id, partition: of.partition, start, records };
            trimmed.put(&mut building.batch);
            building.trimmed.push(trimmed);
        }
        Ok(*bounds)
    }

    fn topic(&self, of: &TopicPartition) -> Result<&Topic, Error> {
        let topic = self.topics.get(&*of.topic);
        let topic = topic.filter(|topic| of.partition < topic.spec.partitions);
        topic.ok_or_else(|| Error::UnknownPartition(of.clone()))
    }

    /// Writes and syncs a group, and notes it in the mark. Any failure is the last.
    fn write(&mut self, batch: WriteBatch, records: usize, bytes: usize) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let written = self.write_and_sync(batch, records, bytes);
        if let Err(reason) = &written {
            self.shared.poison(reason);
        }
        written.map_err(|_| self.shared.unanswered())
    }

    fn write_and_sync(
        &mut self,
        batch: WriteBatch,
        records: usize,
        bytes: usize,
    ) -> Result<(), String> {
        let db = self.shared.db();
        let db = db.as_ref().ok_or("the database is closed")?;
        db.write(batch).map_err(|error| format!("write a group: {error}"))?;
        #[cfg(any(test, feature = "test-util"))]
        if self.shared.fail_next_sync.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Err("sync a group: failed on request".to_owned());
        }
        let began = Instant::now();
        db.flush_wal(true).map_err(|error| format!("sync a group: {error}"))?;
        metrics::histogram!(crate::metrics::SYNC_SECONDS).record(began.elapsed());
        metrics::histogram!(crate::metrics::GROUP_RECORDS).record(as_f64(records));
        metrics::histogram!(crate::metrics::GROUP_BYTES).record(as_f64(bytes));
        let Memory { write_buffers, block_cache } = Memory::of(db);
        metrics::gauge!(crate::metrics::WRITE_BUFFER_BYTES).set(as_f64(write_buffers));
        metrics::gauge!(crate::metrics::BLOCK_CACHE_BYTES).set(as_f64(block_cache));
        // Only this thread writes, so the latest sequence is the one just synced.
        let marked = catalog::marked(self.topics.values());
        let noted = self.mark.write(db.latest_sequence_number(), &marked);
        noted.map_err(|error| format!("write the damage mark: {error}"))
    }

    /// A caller that went away is nobody to answer.
    fn answer(&self, pending: Pending, written: bool) {
        if !written {
            return match pending {
                Pending::Append(answer, _) => drop(answer.send(Err(self.shared.unanswered()))),
                Pending::Claim(answer, ..) => drop(answer.send(Err(self.shared.unanswered()))),
                Pending::Topics(answer, _) => drop(answer.send(Err(self.shared.unanswered()))),
                Pending::Trim(answer, _) => drop(answer.send(Err(self.shared.unanswered()))),
                Pending::Commit(answer) => {
                    let reason = self.shared.unanswered().to_string();
                    drop(answer.send(Err(CommitError::Unclear { reason })));
                }
            };
        }
        match pending {
            Pending::Append(answer, offsets) => drop(answer.send(Ok(offsets))),
            Pending::Claim(answer, committed, epoch) => drop(answer.send(Ok((committed, epoch)))),
            Pending::Commit(answer) => drop(answer.send(Ok(()))),
            Pending::Trim(answer, bounds) => drop(answer.send(Ok(bounds))),
            Pending::Topics(answer, names) => {
                let infos = names.iter().filter_map(|name| self.topics.get(name));
                drop(answer.send(Ok(infos.map(Topic::info).collect())));
            }
        }
    }
}

impl Drop for Writer {
    /// Runs also when the thread panics: no caller waits for an answer that cannot come.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.poison("the writer thread panicked");
        }
        self.shared.finish();
    }
}

fn next_id(id: TopicId) -> Option<TopicId> {
    id.checked_add(1)
}

fn too_many(spec: &TopicSpec) -> Error {
    let reason = "the log cannot hold so many partitions".to_owned();
    Error::TopicMismatch { topic: spec.name.clone(), reason }
}

/// Metrics take floats; sizes of a group are far below the 2^52 they hold exactly.
#[expect(clippy::cast_precision_loss, reason = "a metric may be rounded")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
