//! Group commit: whatever waits becomes one append of the log, and its answer wakes one task, which
//! answers everybody of the batch. Webhooks and ticks go this way alike.
//!
//! - Nothing waits for company: a batch is what is ready in the same round of the scheduler, and what
//!   came while all places were taken. An idle log takes a single webhook at once; the answers of one
//!   sync bring many new webhooks at once, and they go together.
//! - A batch fails as a whole. After an error some of it may be readable; all of it was answered 503,
//!   Meta sends it again, and duplicates fold to nothing. What could make one webhook fail alone is
//!   checked before it joins.
//! - An append that was handed to the log is not cut: not by a deadline, not by a client that went
//!   away, and its bytes count as in flight until the log lets go of them.
//! - A webhook whose request ended before the log got it is dropped. Nobody was told that it is
//!   durable, and to a log that is already late it would only be more load.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tickfold_log::{Append, Log, Offset, RECORD_BYTES_MAX};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::budget::Reservation;
use crate::lanes::Health;
use crate::metrics;
use crate::positions::Positions;
use crate::ticks::Activity;

/// Appends under way at once. The log groups what it is given, so it should have the next group at
/// hand when a sync ends: with one or two places, a webhook that came during a sync would miss the
/// next one too. The bound is for a log that hangs, and for what a broker is asked at once.
pub(crate) const APPENDS_IN_FLIGHT_MAX: usize = 16;

/// Bytes of records in one batch, and webhooks or ticks in it; a single larger one goes alone.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
const BATCH_ENTRIES_MAX: usize = 1024;

/// Bytes of records under way at once of all lanes together, and of a webhook that goes on several
/// lanes, but always one lane's. Half of what the log's own queue holds by default, which is one for all
/// partitions: what it refuses for want of room would be answered 503, what waits here is not.
pub(crate) const UNDER_WAY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A lane with nothing under way may always have so much, or one larger webhook. So the lanes of
/// partitions that are away, which have had theirs, leave room to those of all others.
const FIRST_BYTES_MAX: usize = 1024 * 1024;

/// Why an append failed, shared by all of its batch.
pub(crate) type Failure = Arc<str>;

/// How the append of one request or of the ticks ended: where its records are.
pub(crate) type Appended = Result<Positions, Failure>;

/// Appends for all requests of a lane; shared.
#[derive(Debug)]
pub(crate) struct Appender {
    log: Arc<dyn Log>,
    activity: Arc<Activity>,
    health: Arc<Health>,
    lane: usize,
    state: Mutex<State>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct State {
    /// Bytes under way of all lanes. Two that hand over at the same moment may pass the bound by a batch.
    all_bytes: Arc<AtomicUsize>,
    waiting: VecDeque<Entry>,
    waiting_bytes: usize,
    /// A task was started that has not taken its first batch yet: it will take what comes now.
    starting: bool,
    /// Appends under way; oldest first.
    under_way: VecDeque<UnderWay>,
    appends: u64,
    /// How long the append took that ended last.
    latest: Duration,
}

/// An append that the log has.
#[derive(Debug)]
struct UnderWay {
    number: u64,
    began: Instant,
    bytes: usize,
}

/// What one request or the ticks want appended.
#[derive(Debug)]
struct Entry {
    records: Vec<Append>,
    /// As many as there were, when a batch has taken them.
    count: usize,
    bytes: usize,
    since: Instant,
    /// The bytes of a webhook, which may be on several lanes; ticks have none.
    reservation: Option<Arc<Reservation>>,
    answer: oneshot::Sender<Appended>,
}

/// Entries that go into one append.
#[derive(Debug, Default)]
struct Batch {
    number: u64,
    records: Vec<Append>,
    entries: Vec<Entry>,
}

impl Appender {
    /// A lane by its number, whose tasks are among `tasks` and bytes among `all_bytes`.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        activity: Arc<Activity>,
        health: Arc<Health>,
        lane: usize,
        tasks: TaskTracker,
        all_bytes: Arc<AtomicUsize>,
    ) -> Self {
        let state = Mutex::new(State {
            all_bytes,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            starting: false,
            under_way: VecDeque::new(),
            appends: 0,
            latest: Duration::ZERO,
        });
        Self { log, activity, health, lane, state, tasks }
    }

    /// Hands records over. The answer is `Ok` once all of them are durable; it is dropped if the
    /// log panicked. Dropping the receiver takes the records back if the log has not got them yet.
    pub(crate) fn append(
        self: &Arc<Self>,
        records: Vec<Append>,
        reservation: Option<Arc<Reservation>>,
    ) -> oneshot::Receiver<Appended> {
        let (answer, answered) = oneshot::channel();
        let mut bytes = 0;
        for record in &records {
            let size = record.size_bytes();
            if size > RECORD_BYTES_MAX {
                let _ = answer.send(Err("a record is above the limit of the log".into()));
                return answered;
            }
            bytes += size;
        }
        let mut state = self.state();
        state.forget_abandoned();
        state.waiting_bytes += bytes;
        state.waiting.push_back(Entry {
            count: records.len(),
            records,
            bytes,
            since: Instant::now(),
            reservation,
            answer,
        });
        self.start(state);
        answered
    }

    /// Starts a task if there is work and a place for it.
    fn start(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if !state.starting && state.has_place() {
            state.starting = true;
            drop(state);
            self.tasks.spawn(Arc::clone(self).work());
        }
    }

    /// How long a webhook that came now would take to be durable, by what is seen of the log.
    ///
    /// With nothing under way it is zero, whatever was seen before: so a log that was slow is tried
    /// with what comes until an append is under way, and the first quick answer opens the door again. Otherwise an
    /// append takes as long as the last one took, or as the oldest under way takes already; and
    /// where all places are taken, one has to become free first. Bytes per second are not
    /// extrapolated: a log that shares its syncs takes a thousand webhooks in the time of one.
    pub(crate) fn expected_latency(&self) -> Duration {
        let state = self.state();
        let Some(oldest) = state.under_way.front() else { return Duration::ZERO };
        let age = oldest.began.elapsed();
        let append = state.latest.max(age);
        let all_taken = !state.waiting.is_empty() && !state.has_place();
        let until_free = if all_taken { append - age } else { Duration::ZERO };
        let batches_ahead = (state.waiting_bytes / BATCH_BYTES_MAX)
            .max(state.waiting.len() / BATCH_ENTRIES_MAX)
            .div_ceil(APPENDS_IN_FLIGHT_MAX);
        let ahead = append.saturating_mul(u32::try_from(batches_ahead).unwrap_or(u32::MAX));
        until_free.saturating_add(ahead).saturating_add(append)
    }

    /// Ended when nothing is under way or waits.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Takes and appends batches until nothing waits.
    async fn work(self: Arc<Self>) {
        // Requests that are ready to run come first and join the batch.
        tokio::task::yield_now().await;
        self.state().starting = false;
        while let Some(Batch { number, records, entries }) = self.take() {
            let partitions: Vec<u32> = records.iter().map(|record| record.to.partition).collect();
            let began = Instant::now();
            let appended = {
                let _place = Place { appender: &self, number };
                self.log.append(records).await
            };
            self.state().latest = began.elapsed();
            metrics::appended(entries.len());
            let appended = match appended {
                Ok(offsets) if offsets.len() == partitions.len() => {
                    partitions.iter().for_each(|&partition| self.activity.written(partition));
                    Ok(partitions.into_iter().zip(offsets).collect())
                }
                // Where they are is a part of the answer.
                Ok(_) => Err("the log did not say where the records are".into()),
                Err(error) => Err(error.to_string().into()),
            };
            self.answer(entries, appended);
        }
    }

    fn take(self: &Arc<Self>) -> Option<Batch> {
        let mut state = self.state();
        let batch = state.take();
        // What did not fit goes at the same time, if there is a place.
        self.start(state);
        batch
    }

    fn answer(&self, entries: Vec<Entry>, appended: Result<Vec<(u32, Offset)>, Failure>) {
        let mut in_time = false;
        let failed = appended.is_err();
        // In the order of the records: first those of the first entry.
        let mut places = appended.map(Vec::into_iter);
        for Entry { count, since, reservation, answer, .. } in entries {
            if let Some(reservation) = reservation {
                metrics::append(since.elapsed());
                drop(reservation);
            }
            let told = match &mut places {
                Ok(places) => {
                    let mut positions = Positions::default();
                    let own = places.by_ref().take(count);
                    own.for_each(|(partition, offset)| positions.add(partition, offset));
                    Ok(positions)
                }
                Err(failure) => Err(Arc::clone(failure)),
            };
            in_time |= answer.send(told).is_ok();
        }
        // A success that came after everybody's deadline is no sign of health.
        if failed || in_time {
            self.health.set(self.lane, failed);
        }
    }

    /// Entries that no append has taken.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step leaves the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next batch, which counts as under way from here on. None if nothing waits, or if others
    /// have all places: they take it when they are done.
    fn take(&mut self) -> Option<Batch> {
        self.forget_abandoned();
        if !self.has_place() {
            return None;
        }
        let bytes_max = self.room().min(BATCH_BYTES_MAX);
        let mut batch = Batch::default();
        let mut bytes = 0;
        while let Some(entry) = self.waiting.front() {
            let full = batch.entries.len() >= BATCH_ENTRIES_MAX
                || (bytes + entry.bytes > bytes_max && !batch.entries.is_empty());
            if full {
                break;
            }
            let Some(mut entry) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= entry.bytes;
            if entry.answer.is_closed() {
                metrics::abandoned();
                continue;
            }
            bytes += entry.bytes;
            batch.records.append(&mut entry.records);
            batch.entries.push(entry);
        }
        if batch.entries.is_empty() {
            return None;
        }
        self.appends += 1;
        batch.number = self.appends;
        self.all_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.under_way.push_back(UnderWay { number: batch.number, began: Instant::now(), bytes });
        Some(batch)
    }

    /// Whether something waits that may go to the log now.
    fn has_place(&self) -> bool {
        let Some(first) = self.waiting.front() else { return false };
        self.under_way.is_empty()
            || (self.under_way.len() < APPENDS_IN_FLIGHT_MAX && first.bytes <= self.room())
    }

    /// Bytes that may be handed over now. A lane that has to wait has an append of its own under way,
    /// and looks again when that ends.
    fn room(&self) -> usize {
        let all_bytes = self.all_bytes.load(Ordering::Relaxed);
        let room = UNDER_WAY_BYTES_MAX.saturating_sub(all_bytes);
        if self.under_way.is_empty() { room.max(FIRST_BYTES_MAX) } else { room }
    }

    /// An append ended.
    fn ended(&mut self, number: u64) {
        let Some(at) = self.under_way.iter().position(|one| one.number == number) else { return };
        let bytes = self.under_way.remove(at).map_or(0, |one| one.bytes);
        self.all_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Drops what waits in front and nobody waits for any more. Ticks come for as long as a log
    /// hangs, and no budget bounds them.
    fn forget_abandoned(&mut self) {
        while self.waiting.front().is_some_and(|entry| entry.answer.is_closed()) {
            self.waiting_bytes -= self.waiting.pop_front().map_or(0, |entry| entry.bytes);
            metrics::abandoned();
        }
    }
}

/// The place of an append under way, given back also when the log panics.
struct Place<'a> {
    appender: &'a Appender,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.appender.state().ended(self.number);
    }
}
