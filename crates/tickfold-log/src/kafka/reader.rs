//! Reading, waiting and bounds.
//!
//! The end of a partition is its last stable offset: nothing beyond it is certain yet. What this
//! process was told to be in the log is never missing from an answer: a commit is acknowledged
//! when its outcome is certain, and readers see it a moment later, so an answer waits for that
//! moment ([`Place::end`]). A cursor that stands at the end hears a moment late of what other processes
//! append, so one that finds nothing is not believed where an end further on was told
//! ([`Place::told`]).
//!
//! Waiting means to wait for a record, not for the end to move: after a transaction the end lies
//! behind its marker, where there is nothing to read.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{
    calls::{Calls, spawn},
    context::Quiet,
    convert::{offset as known_offset, partition_id, unavailable},
    cursor::{Cursor, Cursors, Found, Hold, LANES, LOOK, WATCH},
    keeper::Keeper,
    options::KafkaOptions,
    places::{Place, Places},
    topics,
};
use crate::{Bounds, Error, Offset, Record, TopicPartition};

/// The pause after which waiting calls look at the clock, and a consumer's own events are served.
const TICK: Duration = Duration::from_millis(100);
/// For how long a broker holds a fetch of the consumer that reads what is there.
const LOOK_WAIT: Duration = Duration::from_millis(5);
/// For how long an answer waits until what was acknowledged is readable. Only an open transaction
/// of another program on the same partition can take longer, and then its records wait too.
const VISIBLE_WAIT: Duration = Duration::from_secs(1);
const VISIBLE_PAUSE: Duration = Duration::from_millis(2);
/// For how long what others appended may take to a cursor that stands at the end, before it is looked for
/// by a new one. It takes a few milliseconds, but for transactions whose markers lie there, unseen.
const LATE: Duration = Duration::from_millis(20);
/// For how long a record that must be there may take to arrive before it is looked for afresh; twice as long
/// each further time, as what was on its way by then is dropped and sent again.
const STALLED: Duration = Duration::from_secs(2);

/// The consumers that read, and where each of them is.
pub(super) struct Reader {
    lanes: Mutex<Vec<Arc<BaseConsumer<Quiet>>>>,
    cursors: Arc<Cursors>,
    places: Arc<Places>,
    calls: Arc<Calls>,
    closed: Arc<AtomicBool>,
    call_timeout: Duration,
}

/// Limits of a read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Reader {
    /// Starts the consumers. Nothing is asked of a broker.
    pub(super) fn start(
        options: &KafkaOptions,
        places: &Arc<Places>,
        calls: &Arc<Calls>,
        keeper: &Keeper,
        closed: &Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let cursors = Cursors::new();
        let mut lanes = Vec::new();
        for lane in LANES {
            let wait = if lane == WATCH { options.fetch_wait } else { LOOK_WAIT };
            let consumer = options.reader(wait).create_with_context(Quiet);
            let consumer: BaseConsumer<Quiet> =
                consumer.map_err(|error| unavailable("start a consumer", &error))?;
            let consumer = Arc::new(consumer);
            keeper.keep(if lane == WATCH { "watch" } else { "look" }, &consumer);
            lanes.push(Arc::clone(&consumer));
            let (cursors, places, closed) =
                (Arc::clone(&cursors), Arc::clone(places), Arc::clone(closed));
            spawn("tickfold-kafka-reader", move || serve(&consumer, &cursors, &places, &closed))?;
        }
        Ok(Self {
            lanes: Mutex::new(lanes),
            cursors,
            places: Arc::clone(places),
            calls: Arc::clone(calls),
            closed: Arc::clone(closed),
            call_timeout: options.call_timeout,
        })
    }

    /// A consumer to ask about topics.
    pub(super) fn consumer(&self) -> Result<Arc<BaseConsumer<Quiet>>, Error> {
        self.lane(LOOK)
    }

    fn lane(&self, lane: usize) -> Result<Arc<BaseConsumer<Quiet>>, Error> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(lane).cloned().ok_or(Error::Closed)
    }

    /// Ends reading; `closed` was set before. The threads let go of the consumers.
    pub(super) fn close(&self) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.places.wake_all();
        self.cursors.end_all();
    }

    pub(super) async fn bounds(
        &self,
        of: &TopicPartition,
        place: &Arc<Place>,
    ) -> Result<Bounds, Error> {
        let ask = self.ask(LOOK, of, place)?;
        self.calls.run(ask).await?
    }

    pub(super) async fn read(
        &self,
        of: &TopicPartition,
        place: &Arc<Place>,
        offset: Offset,
        limits: Limits,
    ) -> Result<Vec<Record>, Error> {
        if limits.records == 0 {
            return Ok(Vec::new());
        }
        let (begun, mut patience, mut waited) = (Instant::now(), STALLED, false);
        let told = place.told();
        loop {
            self.check_open()?;
            let mut released = std::pin::pin!(place.released.notified());
            released.as_mut().enable();
            let there = |cursor: &Cursor| cursor.next == offset && !place.is_trimmed(offset);
            let standing = |lane| self.cursors.standing(lane, of, place, there);
            // What this process knows to be there must be among what is found.
            let (mut hold, known, told) =
                if let Some(hold) = standing(WATCH).or_else(|| standing(LOOK)) {
                    (hold, place.end(), told)
                } else if let Some(hold) = self.cursors.lane(LOOK, of, place) {
                    match self.open(hold, of, place, offset).await? {
                        // It comes to the end as it is now.
                        Some((hold, end)) => (hold, place.end().min(end), 0),
                        None => return Ok(Vec::new()),
                    }
                } else {
                    released.await;
                    continue;
                };
            if let Some(records) = self.collect(&mut hold, place, known, limits, patience).await? {
                let reached = hold.cursor.as_ref().map_or(Offset::MAX, |cursor| cursor.reached());
                if !records.is_empty() || told <= reached {
                    return Ok(records);
                }
                if waited {
                    hold.cursor = None;
                } else {
                    let _ = tokio::time::timeout(LATE, place.changed.notified()).await;
                    waited = true;
                }
                continue;
            }
            patience *= 2;
            if begun.elapsed() > self.call_timeout {
                let reason = format!("read {of} from {offset}: nothing came in time");
                return Err(Error::Unavailable { reason });
            }
        }
    }

    /// Opens a cursor at `offset`, or says that there is nothing at or above it. The offset that
    /// comes with it is the end.
    async fn open(
        &self,
        mut hold: Hold,
        of: &TopicPartition,
        place: &Arc<Place>,
        offset: Offset,
    ) -> Result<Option<(Hold, Offset)>, Error> {
        // Asked through the same lane, which so learns who leads the partition; by itself it
        // would look once a second.
        let (ask, consumer) = (self.ask(LOOK, of, place)?, self.lane(LOOK)?);
        let open = move || {
            let Bounds { start, end } = ask()?;
            if offset >= end {
                return Ok(None);
            }
            hold.open(&consumer, offset.max(start), end)?;
            Ok(Some((hold, end)))
        };
        self.calls.run(open).await?
    }

    /// Takes what is there, up to the limits: everything below `known`, and below the end as it was
    /// when the cursor was opened. `None`: the cursor was of no use, and is gone.
    async fn collect(
        &self,
        hold: &mut Hold,
        place: &Arc<Place>,
        known: Offset,
        limits: Limits,
        patience: Duration,
    ) -> Result<Option<Vec<Record>>, Error> {
        let (mut records, mut bytes) = (Vec::new(), 0_usize);
        let mut moved = Instant::now();
        loop {
            let mut changed = std::pin::pin!(place.changed.notified());
            changed.as_mut().enable();
            let Some(cursor) = &mut hold.cursor else { return Ok(None) };
            match cursor.find() {
                Found::Record(record) => {
                    bytes = bytes.saturating_add(record.size_bytes());
                    if bytes > limits.bytes && !records.is_empty() {
                        cursor.put_back(record);
                        return Ok(Some(records));
                    }
                    cursor.next = record.offset.saturating_add(1);
                    place.has(record.offset);
                    records.push(record);
                    if records.len() >= limits.records {
                        return Ok(Some(records));
                    }
                    moved = Instant::now();
                }
                // It may be older than what is known since.
                Found::End if cursor.next < known => {}
                Found::End => return Ok(Some(records)),
                Found::Nothing if cursor.next >= known.max(cursor.expected()) => {
                    return Ok(Some(records));
                }
                Found::Nothing => {
                    self.check_open()?;
                    if moved.elapsed() > patience {
                        hold.cursor = None;
                        return Ok((!records.is_empty()).then_some(records));
                    }
                    changed.await;
                }
                Found::Outside => {
                    let next = cursor.next;
                    hold.cursor = None;
                    self.check_trimmed(&hold.of, place, next).await?;
                    return Ok((!records.is_empty()).then_some(records));
                }
                Found::Failed(error) => {
                    hold.cursor = None;
                    // What was read is as good as ever; the next read meets the failure.
                    return if records.is_empty() { Err(error) } else { Ok(Some(records)) };
                }
            }
        }
    }

    /// Waits until there is a record at or above `offset`.
    pub(super) async fn wait_past(
        &self,
        of: &TopicPartition,
        place: &Arc<Place>,
        offset: Offset,
    ) -> Result<(), Error> {
        loop {
            let mut changed = std::pin::pin!(place.changed.notified());
            changed.as_mut().enable();
            self.check_open()?;
            if place.end() > offset {
                return Ok(());
            }
            let watches = |cursor: &Cursor| cursor.watches(offset);
            if let Some(mut hold) = self.cursors.standing(WATCH, of, place, watches) {
                let Some(cursor) = &mut hold.cursor else { continue };
                match cursor.find() {
                    Found::Record(record) => {
                        place.has(record.offset);
                        cursor.put_back(record);
                        continue;
                    }
                    Found::End => continue,
                    Found::Nothing => {}
                    Found::Outside => {
                        let next = cursor.next;
                        hold.cursor = None;
                        self.check_trimmed(of, place, next).await?;
                        continue;
                    }
                    Found::Failed(error) => {
                        hold.cursor = None;
                        return Err(error);
                    }
                }
            } else if let Some(hold) = self.cursors.lane(WATCH, of, place) {
                self.open_to_watch(hold, of, place, offset).await?;
                continue;
            }
            // Else somebody reads there, and tells the place what is found.
            changed.await;
        }
    }

    /// Opens a cursor that sees what arrives at `offset`.
    async fn open_to_watch(
        &self,
        mut hold: Hold,
        of: &TopicPartition,
        place: &Arc<Place>,
        offset: Offset,
    ) -> Result<(), Error> {
        let (ask, consumer) = (self.ask(WATCH, of, place)?, self.lane(WATCH)?);
        let open = move || {
            let Bounds { start, end } = ask()?;
            // Beyond the end there is no place to read from.
            hold.open(&consumer, offset.clamp(start, end.max(start)), end)
        };
        self.calls.run(open).await?
    }

    /// A cursor that came to `next` is told that it has no place there. Where the partition begins above, it
    /// was trimmed, and reading goes on at its start. Else records that were read are gone, as when all replicas
    /// lose power or the topic is made anew; whoever went on there would miss what takes their places.
    /// That is told once, and to whoever reads: only he knows what he built on them.
    async fn check_trimmed(
        &self,
        of: &TopicPartition,
        place: &Arc<Place>,
        next: Offset,
    ) -> Result<(), Error> {
        let Bounds { start, end } = self.bounds(of, place).await?;
        if start > next {
            return Ok(());
        }
        let reason = format!(
            "read {of} from {next}: records below it are gone, it now has {start} to {end}"
        );
        Err(Error::Unavailable { reason })
    }

    /// The question for the bounds, to be asked where blocking is fine. Who opens a cursor asks
    /// through the same consumer, which so learns who leads the partition; by itself it would find
    /// out once a second.
    fn ask(
        &self,
        lane: usize,
        of: &TopicPartition,
        place: &Arc<Place>,
    ) -> Result<impl Fn() -> Result<Bounds, Error> + use<>, Error> {
        let consumer = self.lane(lane)?;
        let (of, place, timeout) = (of.clone(), Arc::clone(place), self.call_timeout);
        Ok(move || {
            let begun = Instant::now();
            loop {
                let bounds = watermarks(&consumer, &of, timeout)?;
                if bounds.end >= place.end() || begun.elapsed() > VISIBLE_WAIT {
                    place.ends(bounds.end);
                    return Ok(bounds);
                }
                std::thread::sleep(VISIBLE_PAUSE);
            }
        })
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("cursors", &self.cursors).finish_non_exhaustive()
    }
}

/// A consumer's own thread: serves its events, and is the tick of everybody who waits. The queues
/// of the partitions are served by those who read.
fn serve(
    consumer: &BaseConsumer<Quiet>,
    cursors: &Arc<Cursors>,
    places: &Places,
    closed: &AtomicBool,
) {
    while !closed.load(Ordering::Acquire) {
        if let Some(Err(error)) = consumer.poll(TICK) {
            tracing::debug!(%error, "kafka consumer");
        }
        places.wake_all();
        cursors.end_idle();
    }
    places.wake_all();
    cursors.end_all();
}

fn watermarks(
    consumer: &BaseConsumer<Quiet>,
    of: &TopicPartition,
    timeout: Duration,
) -> Result<Bounds, Error> {
    let ask = || consumer.fetch_watermarks(&of.topic, partition_id(of.partition), timeout);
    let asked = topics::settled(consumer, timeout, ask);
    let (low, high) =
        asked.map_err(|error| unavailable(format!("ask for the bounds of {of}"), &error))?;
    let (Some(start), Some(end)) = (known_offset(low), known_offset(high)) else {
        let reason = format!("ask for the bounds of {of}: unknown to the broker");
        return Err(Error::Unavailable { reason });
    };
    Ok(Bounds { start, end })
}
