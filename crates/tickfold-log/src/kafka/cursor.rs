//! A place in a partition from which records are read on, and the table of all of them.
//!
//! librdkafka reads ahead by itself: a partition that is assigned to a consumer is fetched into a
//! queue until that is full. So a reader that goes on where it stopped finds its records there,
//! and only one that jumps costs a question to the broker. A consumer has one place per partition,
//! and one fetch under way per broker; so there are two consumers. [`WATCH`] waits at the ends: the
//! broker holds its fetches until records arrive. [`LOOK`] reads whatever is there: it has short
//! fetches, so that a new place is read at once, and its cursors end soon after they are used.
//!
//! A cursor is either in the table, where anybody may take it, or held by one call. A hold that is
//! dropped, with its future or otherwise, puts its cursor back or ends it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    context::Quiet,
    convert::{from_kafka, partition_id, unavailable},
    places::Place,
};
use crate::{Error, Offset, Record, TopicPartition};
use rdkafka::{
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::{Offset as KafkaOffset, TopicPartitionList},
};

/// The consumer that waits for what is to come.
pub(super) const WATCH: usize = 0;
/// The consumer that reads what is there.
pub(super) const LOOK: usize = 1;
/// The consumers of a log.
pub(super) const LANES: [usize; 2] = [WATCH, LOOK];
/// A cursor nobody used for so long is ended, with what it read ahead.
const IDLE_MAX: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(1)];
/// The same of one that has not come to the end yet: whoever reads on may have a large batch to work on,
/// and what was read ahead would have to be fetched once more.
const READING_IDLE_MAX: Duration = Duration::from_secs(10);

/// Both lanes and their cursors.
#[derive(Debug)]
pub(super) struct Cursors {
    slots: Mutex<Slots>,
}

type Slots = [HashMap<TopicPartition, Slot>; 2];

#[derive(Debug)]
enum Slot {
    Held,
    /// With whom to tell when it changes hands.
    Free(Box<Cursor>, Arc<Place>),
}

/// The right to one lane's place in a partition.
#[derive(Debug)]
pub(super) struct Hold {
    cursors: Arc<Cursors>,
    lane: usize,
    pub(super) of: TopicPartition,
    place: Arc<Place>,
    pub(super) cursor: Option<Box<Cursor>>,
}

/// A place in a partition.
pub(super) struct Cursor {
    consumer: Arc<BaseConsumer<Quiet>>,
    queue: PartitionQueue<Quiet>,
    of: TopicPartition,
    /// The next offset to be given.
    pub(super) next: Offset,
    /// The end of the partition when this was opened.
    end: Offset,
    /// True once it came to the end, as it was then.
    is_through: bool,
    /// Taken from the queue and not given yet.
    ahead: Option<Record>,
    used: Instant,
}

/// What a cursor finds without waiting.
#[derive(Debug)]
pub(super) enum Found {
    /// The next record.
    Record(Record),
    /// Everything up to the end, as it was when this was found, has been given.
    End,
    /// Nothing has arrived yet.
    Nothing,
    /// The place lies outside of the partition, or what led up to it is gone. The cursor is of no more use.
    Outside,
    /// Reading failed. The cursor is of no more use.
    Failed(Error),
}

impl Cursors {
    pub(super) fn new() -> Arc<Self> {
        let slots = Mutex::new(std::array::from_fn(|_| HashMap::new()));
        Arc::new(Self { slots })
    }

    /// A cursor of that lane that `fits`, if it is there and not held.
    pub(super) fn standing(
        self: &Arc<Self>,
        lane: usize,
        of: &TopicPartition,
        place: &Arc<Place>,
        fits: impl Fn(&Cursor) -> bool,
    ) -> Option<Hold> {
        match self.slots().get_mut(lane)?.get_mut(of)? {
            slot @ Slot::Free(..) => match std::mem::replace(slot, Slot::Held) {
                Slot::Free(cursor, _) if fits(&cursor) => {
                    Some(self.hold(lane, of, place, Some(cursor)))
                }
                other => {
                    *slot = other;
                    None
                }
            },
            Slot::Held => None,
        }
    }

    /// The right to open a cursor there, with the one that may be in its place, unless it is held.
    pub(super) fn lane(
        self: &Arc<Self>,
        lane: usize,
        of: &TopicPartition,
        place: &Arc<Place>,
    ) -> Option<Hold> {
        let mut all = self.slots();
        let slots = all.get_mut(lane)?;
        match slots.insert(of.clone(), Slot::Held) {
            Some(Slot::Held) => None,
            Some(Slot::Free(cursor, _)) => Some(self.hold(lane, of, place, Some(cursor))),
            None => Some(self.hold(lane, of, place, None)),
        }
    }

    fn hold(
        self: &Arc<Self>,
        lane: usize,
        of: &TopicPartition,
        place: &Arc<Place>,
        cursor: Option<Box<Cursor>>,
    ) -> Hold {
        let (cursors, place) = (Arc::clone(self), Arc::clone(place));
        Hold { cursors, lane, of: of.clone(), place, cursor }
    }

    /// Ends cursors that nobody used for long.
    pub(super) fn end_idle(self: &Arc<Self>) {
        self.end(|lane, cursor| {
            let is_reading = cursor.next < cursor.expected();
            IDLE_MAX.get(lane).is_some_and(|&max| {
                let max = if is_reading { max.max(READING_IDLE_MAX) } else { max };
                cursor.used.elapsed() > max
            })
        });
    }

    /// Ends all cursors that are not held.
    pub(super) fn end_all(self: &Arc<Self>) {
        self.end(|_, _| true);
    }

    fn end(self: &Arc<Self>, which: impl Fn(usize, &Cursor) -> bool) {
        let mut ended = Vec::new();
        for (lane, slots) in self.slots().iter_mut().enumerate() {
            for (of, slot) in slots.iter_mut() {
                if !matches!(slot, Slot::Free(cursor, _) if which(lane, cursor)) {
                    continue;
                }
                if let Slot::Free(cursor, place) = std::mem::replace(slot, Slot::Held) {
                    ended.push(self.hold(lane, of, &place, Some(cursor)));
                }
            }
        }
        // Ending one asks its consumer, which is nothing to do under the lock. It is held until then: its
        // partition cannot be assigned again before.
        ended.into_iter().for_each(Hold::end);
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Opens a cursor at `next` in place of whatever is there; `end` is the partition's now. Blocks for the time it takes
    /// librdkafka's own thread to answer, never for a broker.
    pub(super) fn open(
        &mut self,
        consumer: &Arc<BaseConsumer<Quiet>>,
        next: Offset,
        end: Offset,
    ) -> Result<(), Error> {
        // First the old one: a partition can be assigned once.
        self.cursor = None;
        let place = Arc::clone(&self.place);
        let cursor =
            Cursor::open(consumer, &self.of, next, end, move || place.changed.notify_waiters());
        self.cursor = Some(Box::new(cursor?));
        Ok(())
    }
}

impl Hold {
    /// Ends the cursor, and then lets the place go.
    fn end(mut self) {
        self.cursor = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let cursor = self.cursor.take();
        let mut lanes = self.cursors.slots();
        if let Some(slots) = lanes.get_mut(self.lane) {
            match cursor {
                Some(mut cursor) => {
                    cursor.used = Instant::now();
                    slots.insert(self.of.clone(), Slot::Free(cursor, Arc::clone(&self.place)));
                }
                None => _ = slots.remove(&self.of),
            }
        }
        drop(lanes);
        self.place.released.notify_waiters();
    }
}

impl Cursor {
    fn open(
        consumer: &Arc<BaseConsumer<Quiet>>,
        of: &TopicPartition,
        next: Offset,
        end: Offset,
        arrived: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let refused = |error: &KafkaError| unavailable(format!("read {of} from {next}"), error);
        let place = place(of, KafkaOffset::Offset(i64::try_from(next).unwrap_or(i64::MAX)))
            .map_err(|error| refused(&error))?;
        // The queue is split off first, so that no record goes to the consumer's common queue.
        let queue = consumer.split_partition_queue(&of.topic, partition_id(of.partition));
        let mut queue = queue.ok_or_else(|| Error::UnknownPartition(of.clone()))?;
        // Called under the queue's lock: it must not touch the queue.
        queue.set_nonempty_callback(arrived);
        consumer.incremental_assign(&place).map_err(|error| refused(&error))?;
        let (consumer, of) = (Arc::clone(consumer), of.clone());
        let (ahead, used) = (None, Instant::now());
        Ok(Self { consumer, queue, of, next, end, is_through: false, ahead, used })
    }

    /// What lies below was there when this was opened, and is yet to be found.
    pub(super) fn expected(&self) -> Offset {
        if self.is_through { 0 } else { self.end }
    }

    /// Everything below was found, or is nothing that readers see.
    pub(super) fn reached(&self) -> Offset {
        if self.is_through { self.next.max(self.end) } else { self.next }
    }

    /// What is next, without waiting.
    pub(super) fn find(&mut self) -> Found {
        if let Some(record) = self.ahead.take() {
            return Found::Record(record);
        }
        loop {
            return match self.queue.poll(Duration::ZERO) {
                None => Found::Nothing,
                Some(Ok(message)) => match from_kafka(&message) {
                    // An assignment that was just replaced may leave one behind.
                    Ok(record) if record.offset < self.next => continue,
                    Ok(record) => Found::Record(record),
                    Err(why) => Found::Failed(Error::Damaged {
                        reason: format!("a record of {} cannot be read: {why}", self.of),
                        first_lost: Some((self.of.clone(), self.next)),
                    }),
                },
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.is_through = true;
                    Found::End
                }
                Some(Err(error)) => self.failed(&error),
            };
        }
    }

    /// Gives a record back that was found and not given.
    pub(super) fn put_back(&mut self, record: Record) {
        self.ahead = Some(record);
    }

    /// True if it reads on from `offset` or will see whatever arrives there.
    pub(super) fn watches(&self, offset: Offset) -> bool {
        self.next == offset || (self.next < offset && self.ahead.is_none())
    }

    /// That there is no such topic is no more certain than any other trouble: what is read was there, and a
    /// broker that just started may not know of it yet.
    fn failed(&self, error: &KafkaError) -> Found {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Found::Outside,
            _ => Found::Failed(unavailable(format!("read {} at {}", self.of, self.next), error)),
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let ended = place(&self.of, KafkaOffset::Invalid)
            .and_then(|place| self.consumer.incremental_unassign(&place));
        if let Err(error) = ended {
            tracing::debug!(partition = %self.of, %error, "cursor not ended");
        }
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("of", &self.of).field("next", &self.next).finish()
    }
}

/// A list of one partition.
fn place(of: &TopicPartition, offset: KafkaOffset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&of.topic, partition_id(of.partition), offset)?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::kafka::KafkaOptions;

    fn consumer() -> Arc<BaseConsumer<Quiet>> {
        // No broker is asked for any of this.
        let options = KafkaOptions::new("127.0.0.1:1");
        let consumer = options.reader(Duration::from_millis(10)).create_with_context(Quiet);
        Arc::new(consumer.unwrap())
    }

    #[test]
    fn a_cursor_at_its_end_is_ended_soon_and_one_on_its_way_later() {
        let (consumer, cursors, place) = (consumer(), Cursors::new(), Arc::new(Place::default()));
        let of = TopicPartition::new("t", 0);
        for (next, end, idle_s, is_kept) in
            [(10, 10, 0, true), (10, 10, 2, false), (9, 10, 2, true), (9, 10, 11, false)]
        {
            let mut hold = cursors.lane(LOOK, &of, &place).unwrap();
            hold.open(&consumer, next, end).unwrap();
            drop(hold);
            if let Some(Slot::Free(cursor, _)) = cursors.slots()[LOOK].get_mut(&of) {
                cursor.used = Instant::now().checked_sub(Duration::from_secs(idle_s)).unwrap();
            }
            cursors.end_idle();
            let is_there = cursors.slots()[LOOK].contains_key(&of);
            assert_eq!(is_there, is_kept, "at {next} of {end} for {idle_s} s");
            cursors.end_all();
        }
    }

    #[test]
    fn a_partition_whose_cursor_is_being_ended_is_not_opened_again_meanwhile() {
        let (consumer, cursors, place) = (consumer(), Cursors::new(), Arc::new(Place::default()));
        let of = TopicPartition::new("t", 0);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    cursors.end_all();
                }
            });
            let mut opened = 0;
            while opened < 2_000 {
                let Some(mut hold) = cursors.lane(LOOK, &of, &place) else { continue };
                let done = hold.open(&consumer, 0, 0);
                over.store(done.is_err(), Ordering::Release);
                done.unwrap();
                opened += 1;
            }
            over.store(true, Ordering::Release);
        });
    }
}
