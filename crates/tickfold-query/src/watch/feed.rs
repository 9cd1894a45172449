//! One derived topic as it grows, and those who wait for what comes.
//!
//! Each partition is followed once, however many watch it: its lane knows the next offset, the raw
//! offset that the last record came from, and the newest records that somebody watches. Who watches a
//! thing gets a note in its [`Mailbox`] when a row of it comes; who watches an account is woken when a
//! record of it comes, and takes it from the lane. All of that is under one lock, so that whoever
//! comes gets a place and everything behind it.
//!
//! It leaves to others: reading (`hub`), and what to make of a note or a record.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tickfold_core::records::Topic;
use tickfold_log::{Log, Offset, Record, TopicPartition};
use tokio::sync::{Notify, mpsc, watch};

use super::mailbox::Mailbox;
use super::records::{self, Item};
use super::token::Offsets;
use crate::reasons::{Failure, Reason};

/// Records that a lane keeps for those who watch it, and their bytes. Whoever is further behind reads
/// the log.
const KEPT_RECORDS: usize = 2_048;
const KEPT_BYTES: usize = 1024 * 1024;

/// Whose records are watched: the account, or the empty text for all.
pub(super) type Interest = Arc<str>;
const ALL: &str = "";

/// A topic. Shared by all who watch it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) topic: Topic,
    pub(super) log: Arc<dyn Log>,
    name: Arc<str>,
    inner: Mutex<Inner>,
    /// Whether each partition is followed.
    phases: Vec<watch::Sender<Phase>>,
    /// Tells the hub that a partition is to be followed.
    wanted: mpsc::UnboundedSender<Follow>,
}

/// A partition that is to be followed.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) feed: Arc<Feed>,
    pub(super) partition: u32,
}

/// Whether a partition is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Closed,
    Opening,
    Open,
    Failed(Reason, String),
}

#[derive(Debug)]
struct Inner {
    lanes: Vec<Lane>,
    /// Watchers of things, by what the rows of a thing name.
    named: HashMap<Arc<str>, Vec<Arc<Mailbox>>>,
    /// Watchers of accounts.
    interests: HashMap<Interest, Watched>,
    /// All of them.
    watchers: usize,
}

/// A partition.
#[derive(Debug, Default)]
struct Lane {
    /// It was followed before.
    has_begun: bool,
    next: Offset,
    /// Raw offset that the last record came from.
    revision: Option<u64>,
    kept: VecDeque<Arc<Item>>,
    kept_bytes: usize,
}

/// Those who watch the records of one account.
#[derive(Debug)]
struct Watched {
    watchers: usize,
    bell: Arc<Notify>,
    /// All of its records from here on are kept in the lanes.
    kept_from: Offsets,
}

/// What there is for a watcher of records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Records, or the news that there are none up to a later place.
    Moved,
    /// Nothing since.
    Nothing,
    /// He is behind what is kept of this partition: up to `until` only the log has the records.
    Behind { partition: u32, until: Offset },
}

impl Feed {
    pub(super) fn new(
        log: Arc<dyn Log>,
        prefix: &str,
        topic: Topic,
        partition_count: u32,
        wanted: mpsc::UnboundedSender<Follow>,
    ) -> Self {
        let lanes = (0..partition_count).map(|_| Lane::default()).collect();
        let (named, interests) = (HashMap::new(), HashMap::new());
        Self {
            topic,
            log,
            name: format!("{prefix}.{}", topic.name()).into(),
            inner: Mutex::new(Inner { lanes, named, interests, watchers: 0 }),
            phases: (0..partition_count).map(|_| watch::Sender::new(Phase::Closed)).collect(),
            wanted,
        }
    }

    pub(super) fn partition(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.name), partition)
    }

    /// What this guards is whole at any moment, so a panic elsewhere does not spoil it.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a watcher, and waits until these partitions are followed.
    pub(super) async fn enter(self: &Arc<Self>, partitions: &[u32]) -> Result<Seat, Failure> {
        self.inner().watchers += 1;
        let seat =
            Seat { feed: Arc::clone(self), names: Vec::new(), interest: None, mailbox: None };
        for partition in partitions {
            let Some(sender) = self.phases.get(*partition as usize) else { continue };
            let mut phase = sender.subscribe();
            let closed = |phase: &Phase| matches!(phase, Phase::Closed | Phase::Failed(..));
            let begun = sender.send_if_modified(|phase| {
                let begin = closed(phase);
                if begin {
                    *phase = Phase::Opening;
                }
                begin
            });
            if begun {
                // Without a hub the server is at its end, and the stream with it.
                let follow = Follow { feed: Arc::clone(self), partition: *partition };
                self.wanted.send(follow).map_err(|_| stopping())?;
            }
            let settled = phase.wait_for(|phase| matches!(phase, Phase::Open | Phase::Failed(..)));
            let settled = settled.await.map_err(|_| stopping())?;
            if let Phase::Failed(reason, message) = &*settled {
                return Err(Failure::new(*reason, message.clone()));
            }
        }
        Ok(seat)
    }

    /// Why a partition is not followed any more, if it is not.
    pub(super) fn check(&self, partition: u32) -> Result<(), Failure> {
        let Some(phase) = self.phases.get(partition as usize) else { return Ok(()) };
        match &*phase.borrow() {
            Phase::Failed(reason, message) => Err(Failure::new(*reason, message.clone())),
            Phase::Closed | Phase::Opening | Phase::Open => Ok(()),
        }
    }

    // --- what the hub tells -------------------------------------------------------------------------

    /// A partition is followed from here on.
    pub(super) fn opened(&self, partition: u32, next: Offset, revision: Option<u64>) {
        self.inner().begin(partition, next, revision);
        self.enter_phase(partition, Phase::Open);
    }

    /// A partition is not followed any more, and those who watch it are told why.
    pub(super) fn failed(&self, partition: u32, failure: &Failure) {
        let reason = Phase::Failed(failure.reason(), failure.message().to_owned());
        self.enter_phase(partition, reason);
        let inner = self.inner();
        inner.interests.values().for_each(|watched| watched.bell.notify_waiters());
        inner.named.values().flatten().for_each(|mailbox| mailbox.bell.notify_one());
    }

    /// Lets a partition go if nobody watches the topic.
    pub(super) fn let_go(&self, partition: u32) -> bool {
        let inner = self.inner();
        let unwatched = inner.watchers == 0;
        if unwatched {
            // Under the lock: whoever comes now finds it closed.
            self.enter_phase(partition, Phase::Closed);
        }
        unwatched
    }

    fn enter_phase(&self, partition: u32, phase: Phase) {
        if let Some(sender) = self.phases.get(partition as usize) {
            sender.send_replace(phase);
        }
    }

    /// Records that came to a partition, and the next offset behind them.
    pub(super) fn came(&self, partition: u32, records: &[Record], next: Offset) {
        let mut inner = self.inner();
        let mut woken = false;
        for record in records {
            inner.note(self.topic, partition, record);
            woken |= inner.keep(partition, record);
        }
        let Some(lane) = inner.lanes.get_mut(partition as usize) else { return };
        lane.next = next;
        let revision = records.last().and_then(records::revision);
        lane.revision = revision.max(lane.revision);
        if woken {
            inner.ring(partition, records);
        }
    }

    // --- what watchers ask --------------------------------------------------------------------------

    /// The next offset of a partition, and the raw offset that the last record came from.
    pub(super) fn standing(&self, partition: u32) -> (Offset, Option<u64>) {
        let inner = self.inner();
        let lane = inner.lanes.get(partition as usize);
        lane.map_or((0, None), |lane| (lane.next, lane.revision))
    }

    /// Takes up to `max` records of an interest from the places on, which move past them; past
    /// everything that there is, where it is all.
    pub(super) fn take(
        &self,
        interest: &Interest,
        places: &mut Offsets,
        max: usize,
        into: &mut VecDeque<Arc<Item>>,
    ) -> Taken {
        let inner = self.inner();
        let Some(watched) = inner.interests.get(interest) else { return Taken::Nothing };
        let mut moved = false;
        for (partition, place) in places {
            let Some(lane) = inner.lanes.get(*partition as usize) else { continue };
            let kept_from = watched.kept_from.get(partition).copied().unwrap_or(lane.next);
            if *place < kept_from {
                return Taken::Behind { partition: *partition, until: kept_from };
            }
            let first = lane.kept.partition_point(|item| item.offset < *place);
            let ours = |item: &&Arc<Item>| interest.is_empty() || **interest == *item.waba_id();
            for item in lane.kept.range(first..).filter(ours) {
                if into.len() >= max {
                    return Taken::Moved;
                }
                into.push_back(Arc::clone(item));
                *place = item.offset.saturating_add(1);
                moved = true;
            }
            // Who read the log himself may be ahead of the lane.
            *place = lane.next.max(*place);
        }
        if moved { Taken::Moved } else { Taken::Nothing }
    }
}

impl Inner {
    /// Begins a lane, for the first time or anew. Who watched it before, and has not found out yet that it
    /// failed, may have missed what lies in between: the log has it, or says why not.
    fn begin(&mut self, partition: u32, next: Offset, revision: Option<u64>) {
        let Some(lane) = self.lanes.get_mut(partition as usize) else { return };
        let again = lane.has_begun;
        *lane = Lane { has_begun: true, next, revision, ..Lane::default() };
        if !again {
            return;
        }
        for watched in self.interests.values_mut() {
            if let Some(kept_from) = watched.kept_from.get_mut(&partition) {
                *kept_from = next;
                watched.bell.notify_waiters();
            }
        }
        for (name, mailboxes) in &self.named {
            let revision = revision.unwrap_or_default();
            mailboxes.iter().for_each(|mailbox| mailbox.note(partition, name, revision));
        }
    }

    /// Tells those who watch what a record is about.
    fn note(&mut self, topic: Topic, partition: u32, record: &Record) {
        if self.named.is_empty() {
            return;
        }
        let Some(subject) = records::subject(topic, record) else { return };
        let Some((name, mailboxes)) = self.named.get_key_value(&*subject) else { return };
        let Some(revision) = records::revision(record) else { return };
        mailboxes.iter().for_each(|mailbox| mailbox.note(partition, name, revision));
    }

    /// Keeps a record if somebody watches it.
    fn keep(&mut self, partition: u32, record: &Record) -> bool {
        if self.interests.is_empty() {
            return false;
        }
        let is_watched = |waba_id: &str| self.interests.contains_key(waba_id);
        if !is_watched(ALL) && !records::account(record).is_some_and(|waba_id| is_watched(&waba_id))
        {
            return false;
        }
        let Some(item) = Item::read(partition, record) else { return false };
        let Some(lane) = self.lanes.get_mut(partition as usize) else { return false };
        lane.kept_bytes = lane.kept_bytes.saturating_add(item.bytes);
        lane.kept.push_back(Arc::new(item));
        while lane.kept.len() > KEPT_RECORDS || lane.kept_bytes > KEPT_BYTES {
            let Some(gone) = lane.kept.pop_front() else { break };
            lane.kept_bytes = lane.kept_bytes.saturating_sub(gone.bytes);
            for interest in [ALL, gone.waba_id()] {
                let watched = self.interests.get_mut(interest);
                if let Some(kept_from) = watched.and_then(|it| it.kept_from.get_mut(&partition)) {
                    // It may have been kept for others, before this interest began.
                    *kept_from = gone.offset.saturating_add(1).max(*kept_from);
                }
            }
        }
        true
    }

    /// Wakes those who watch any of these records.
    fn ring(&self, partition: u32, records: &[Record]) {
        let Some(lane) = self.lanes.get(partition as usize) else { return };
        let Some(first) = records.first() else { return };
        let wake = |interest: &str| {
            if let Some(watched) = self.interests.get(interest) {
                watched.bell.notify_waiters();
            }
        };
        wake(ALL);
        let mut rung = ALL;
        let newest = lane.kept.iter().rev().take_while(|item| item.offset >= first.offset);
        for item in newest {
            // Records of one webhook stand together.
            if rung != item.waba_id() {
                rung = item.waba_id();
                wake(rung);
            }
        }
    }
}

fn stopping() -> Failure {
    Failure::new(Reason::ShuttingDown, "the server is stopping")
}

/// A watcher's place in a feed. Leaves when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) feed: Arc<Feed>,
    names: Vec<Arc<str>>,
    mailbox: Option<Arc<Mailbox>>,
    interest: Option<Interest>,
}

impl Seat {
    /// Notes every change of these things in the mailbox from now on. True if one of them is new.
    pub(super) fn watch_names(&mut self, names: &[Arc<str>], mailbox: &Arc<Mailbox>) -> bool {
        let new: Vec<_> = names.iter().filter(|name| !self.names.contains(name)).cloned().collect();
        let mut inner = self.feed.inner();
        for name in &new {
            inner.named.entry(Arc::clone(name)).or_default().push(Arc::clone(mailbox));
        }
        drop(inner);
        self.mailbox = Some(Arc::clone(mailbox));
        let is_new = !new.is_empty();
        self.names.extend(new);
        is_new
    }

    /// Keeps the records of an account, or of all, from now on. Returns what is rung when one comes,
    /// and the places of now.
    pub(super) fn watch_records(
        &mut self,
        interest: &Interest,
        partitions: &[u32],
    ) -> (Arc<Notify>, Offsets) {
        let mut guard = self.feed.inner();
        let inner = &mut *guard;
        let next = |partition: u32| inner.lanes.get(partition as usize).map_or(0, |lane| lane.next);
        let now: Offsets = partitions.iter().map(|p| (*p, next(*p))).collect();
        let watched = inner.interests.entry(interest.clone()).or_insert_with(|| Watched {
            watchers: 0,
            bell: Arc::default(),
            kept_from: BTreeMap::new(),
        });
        watched.watchers += 1;
        for (partition, next) in &now {
            watched.kept_from.entry(*partition).or_insert(*next);
        }
        let bell = Arc::clone(&watched.bell);
        drop(guard);
        self.interest = Some(interest.clone());
        (bell, now)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.feed.inner();
        inner.watchers = inner.watchers.saturating_sub(1);
        if let Some(mailbox) = &self.mailbox {
            for name in &self.names {
                let Some(mailboxes) = inner.named.get_mut(name) else { continue };
                mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
                if mailboxes.is_empty() {
                    inner.named.remove(name);
                }
            }
        }
        if let Some(interest) = &self.interest
            && let Some(watched) = inner.interests.get_mut(interest)
        {
            watched.watchers = watched.watchers.saturating_sub(1);
            if watched.watchers == 0 {
                inner.interests.remove(interest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tickfold_log::{Header, MemLog};

    use super::*;

    fn feed() -> Arc<Feed> {
        let (wanted, _) = mpsc::unbounded_channel();
        let log = Arc::new(MemLog::new(0));
        Arc::new(Feed::new(log, "wa", Topic::Transition, 1, wanted))
    }

    fn record(offset: Offset) -> Record {
        let event_id = format!("0-{offset}-0");
        Record {
            offset,
            timestamp_ms: 1,
            key: Some("k".into()),
            value: Some(format!(r#"{{"event_id":"{event_id}","waba_id":"5"}}"#).into()),
            headers: vec![Header { name: "ce_id".into(), value: event_id.into() }],
        }
    }

    #[tokio::test]
    async fn who_did_not_see_that_a_lane_failed_reads_the_log_when_it_is_followed_anew() {
        let feed = feed();
        feed.opened(0, 3, Some(2));
        let mut seat = feed.enter(&[0]).await.unwrap();
        let interest = Interest::from("5");
        let (_, mut places) = seat.watch_records(&interest, &[0]);
        let mut taken = VecDeque::new();
        feed.came(0, &[record(3)], 4);
        assert_eq!(feed.take(&interest, &mut places, 9, &mut taken), Taken::Moved);
        assert_eq!((taken.len(), places[&0]), (1, 4));

        feed.failed(0, &Failure::new(Reason::LogDamaged, "at 5"));
        feed.opened(0, 9, Some(8));
        assert!(feed.check(0).is_ok(), "it is followed again");
        let behind = Taken::Behind { partition: 0, until: 9 };
        assert_eq!(feed.take(&interest, &mut places, 9, &mut taken), behind);
        assert_eq!(places[&0], 4, "what lies in between was not told");
        places.insert(0, 9);
        feed.came(0, &[record(9)], 10);
        assert_eq!(feed.take(&interest, &mut places, 9, &mut taken), Taken::Moved);
        assert_eq!((taken.len(), places[&0]), (2, 10));
    }

    #[tokio::test]
    async fn what_is_watched_is_looked_up_when_a_lane_is_followed_anew() {
        let feed = feed();
        let mailbox = Arc::<Mailbox>::default();
        feed.opened(0, 3, Some(2));
        let mut seat = feed.enter(&[0]).await.unwrap();
        seat.watch_names(&[Arc::from("a"), Arc::from("b")], &mailbox);
        assert!(mailbox.is_empty());
        feed.failed(0, &Failure::new(Reason::LogDamaged, "at 5"));
        feed.opened(0, 9, Some(8));
        let (partition, notes) = mailbox.take(9, &BTreeMap::new()).unwrap();
        let names: Vec<_> = notes.keys().map(|name| &**name).collect();
        assert_eq!((partition, names), (0, vec!["a", "b"]));
        assert!(notes.values().all(|change| change.revision == 8));
    }
}
