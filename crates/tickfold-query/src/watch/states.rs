//! A watch of states: of messages, a conversation, a number or an account, each as it is now.
//!
//! Rows of the table topics say that something changed; the state is then looked up as any call does
//! it, wherever its partition is, at or above the revision that was noted. First the place in the
//! topics is taken, then the states are looked up, then what was noted since: nothing falls in
//! between. What looks as it did when it was told last is not told again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tickfold_core::ids::{ConversationKey, WabaId, Wamid};
use tickfold_core::raw::partition_of;
use tickfold_proto::query::v1 as pb;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::feed::Seat;
use super::lookup::{Found, Looked, Lookup};
use super::mailbox::{Mailbox, Notes};
use super::token::{Bound, Told};
use super::{Next, Watch};
use crate::metrics;
use crate::query::View;
use crate::reasons::{Failure, Reason};

/// Things looked up at once.
const CHUNK: usize = 100;

/// Pause before something is looked up again that could not be told just now: it doubles each time, so
/// that those who wait for a partition that is away leave the places to the others.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Identifiers of one user that are followed.
const PARTIES_MAX: usize = 64;

/// What is watched.
#[derive(Debug)]
pub(super) enum Subject {
    Messages { wamids: Vec<Wamid>, view: View },
    Conversation(ConversationKey),
    Number(String),
    Account(WabaId),
}

/// The state of one thing, as it is told.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) found: Found,
    /// Changes since the one before that were not told by themselves.
    pub(super) skipped: u64,
}

/// A watch between two states.
#[derive(Debug)]
pub(super) struct States {
    subject: Subject,
    lookup: Lookup,
    bound: Bound,
    mailbox: Arc<Mailbox>,
    /// Places in the topics that tell of changes: the table of the thing first.
    seats: Vec<Seat>,
    /// Names not looked up for the first time yet, the next one last.
    unread: Vec<Arc<str>>,
    /// What was told last of each, and how much was noted of it since.
    last: HashMap<Arc<str>, Last>,
    told: Vec<Told>,
    /// What `told` is moved to once `ready` is empty.
    told_then: Vec<(u32, Standing)>,
    /// Where the topics were when the watch began, by partition.
    began: Vec<Standing>,
    /// The position of each partition that all states were first read at or above.
    first_read: Vec<u64>,
    /// What is looked up once more before the watch has caught up, by partition.
    beginning: BTreeMap<u32, BTreeSet<Arc<str>>>,
    is_resumed: bool,
    ready: VecDeque<(Found, u64)>,
    /// Noted and being looked up.
    noted: Option<(u32, Notes)>,
    /// Partitions that could not be asked just now, and until when they are left alone.
    held: BTreeMap<u32, Instant>,
    /// How long they were left alone last; of the first reads likewise.
    pauses: BTreeMap<u32, Pause>,
    first_pause: Pause,
    chunk: usize,
    has_caught_up: bool,
    /// Its share of the messages that all watches together name.
    _named: OwnedSemaphorePermit,
}

/// How far the topics of a partition are: the raw offsets that their last records came from.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    rows: u64,
    /// The least of the other topics.
    others: u64,
    /// The greatest of all; `None` if nothing ever came.
    newest: Option<u64>,
}

/// What was told of a thing.
#[derive(Debug, Clone, Copy)]
struct Last {
    content: u64,
    unshown: u64,
}

/// The pause to make next.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE)
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let longer = (self.0 * 2).min(PAUSE_MAX);
        std::mem::replace(&mut self.0, longer)
    }
}

impl States {
    pub(super) fn open(
        subject: Subject,
        lookup: Lookup,
        mut seats: Vec<Seat>,
        (bound, resumed): (Bound, Option<Vec<Told>>),
        named: OwnedSemaphorePermit,
    ) -> Self {
        let mailbox = Arc::<Mailbox>::default();
        let names = subject.names();
        // Of messages every topic names the wamid; of a conversation the other one names users.
        let own = if matches!(subject, Subject::Messages { .. }) { seats.len() } else { 1 };
        for seat in seats.iter_mut().take(own) {
            seat.watch_names(&names, &mailbox);
        }
        // A conversation that is not known under this identifier may be found by a link to another one.
        if let (Subject::Conversation(key), [_, users, ..]) = (&subject, &mut seats[..]) {
            users.watch_names(&[Arc::from(key.party.as_str())], &mailbox);
        }
        let partition_count = bound.partition_count;
        let began = (0..partition_count).map(|partition| Standing::of(&seats, partition)).collect();
        let is_resumed = resumed.is_some();
        let nothing = || vec![Told::default(); partition_count as usize];
        Self {
            unread: names.into_iter().rev().collect(),
            subject,
            lookup,
            bound,
            mailbox,
            seats,
            last: HashMap::new(),
            told: resumed.unwrap_or_else(nothing),
            told_then: Vec::new(),
            began,
            first_read: vec![u64::MAX; partition_count as usize],
            beginning: BTreeMap::new(),
            is_resumed,
            ready: VecDeque::new(),
            noted: None,
            held: BTreeMap::new(),
            pauses: BTreeMap::new(),
            first_pause: Pause::default(),
            chunk: CHUNK,
            has_caught_up: false,
            _named: named,
        }
    }

    /// Looks up what was not looked up yet: states of now, or of a resumed watch at least as new as
    /// what it was told.
    async fn read_first(&mut self) -> Result<(), Failure> {
        let from = self.unread.len().saturating_sub(self.chunk);
        let names: Vec<_> = self.unread.iter().skip(from).rev().cloned().collect();
        let told = self.told.iter().map(|told| told.position);
        let position = |(partition, offset): (u32, u64)| pb::Position { partition, offset };
        let wanted = (0..).zip(told).filter(|(_, offset)| *offset > 0).map(position).collect();
        let looked = match self.lookup.read(&self.subject, &names, wanted).await {
            Ok(looked) => looked,
            Err(failure) => {
                if self.waits_after(failure, names.len())? {
                    tokio::time::sleep(self.first_pause.next()).await;
                }
                return Ok(());
            }
        };
        self.first_pause = Pause::default();
        if self.follow_parties(&looked) {
            // Changes under the new identifiers are noted from now on only: once more.
            return Ok(());
        }
        self.unread.truncate(from);
        self.rise(&looked);
        for (partition, least) in (0..).zip(&mut self.first_read) {
            // Of a partition that nobody could be asked of it has nothing.
            let read = looked.positions.iter().find(|position| position.partition == partition);
            *least = read.map_or(0, |position| position.offset).min(*least);
        }
        for found in looked.found {
            let name = found.name(&self.subject);
            let content = found.content();
            self.last.insert(name, Last { content, unshown: 0 });
            if !self.is_resumed || self.is_new(&found) {
                self.ready.push_back((found, 0));
            }
        }
        if self.unread.is_empty() {
            self.begin_to_follow();
        }
        Ok(())
    }

    /// What a resumed watch was not told. Of one thing it is told again: not all that is told of it
    /// shows in its revision.
    fn is_new(&self, found: &Found) -> bool {
        let Found::Message(message) = found else { return true };
        let partition_count = u32::try_from(self.told.len()).unwrap_or(u32::MAX);
        let waba_id = WabaId::from(message.waba_id.as_str());
        let partition = partition_of(&waba_id, partition_count);
        let told = self.told.get(partition as usize).copied().unwrap_or_default();
        let decided = message.actions.iter().chain(&message.alerts);
        let decided = decided.filter_map(|decision| decision.source).map(|source| source.offset);
        message.waba_id.is_empty()
            || message.revision >= told.below
            || decided.max() >= Some(told.decided_below)
    }

    /// All states were looked up. The topic may be ahead of the store that was asked, for any of them:
    /// then they are looked up once more, when it has what was in the topic.
    fn begin_to_follow(&mut self) {
        let began = std::mem::take(&mut self.began);
        let only = match &self.subject {
            Subject::Account(waba_id) => {
                Some(partition_of(waba_id, u32::try_from(began.len()).unwrap_or(u32::MAX)))
            }
            Subject::Messages { .. } | Subject::Conversation(_) | Subject::Number(_) => None,
        };
        for ((partition, began), read) in (0..).zip(began).zip(std::mem::take(&mut self.first_read))
        {
            let Some(revision) = began.newest else { continue };
            // What only one partition has was not read from the others, and need not be.
            if read > revision || only.is_some_and(|only| only != partition) {
                self.told_then.push((partition, began));
                continue;
            }
            for name in self.last.keys() {
                self.mailbox.note(partition, name, revision);
            }
            self.beginning.insert(partition, self.last.keys().cloned().collect());
        }
    }

    /// Looks up what was noted of one partition, once it has what was noted.
    async fn read_noted(&mut self) -> Result<(), Failure> {
        let Some((partition, notes)) = &self.noted else { return Ok(()) };
        let partition = *partition;
        let names: Vec<_> = notes.keys().cloned().collect();
        let noted = notes.values().map(|change| change.revision.saturating_add(1)).max();
        let told = self.told.get(partition as usize).map_or(0, |told| told.position);
        let offset = noted.unwrap_or_default().max(told);
        // Whatever was noted below this is in the mailbox, or among these.
        let standing = Standing::of(&self.seats, partition);
        let wanted = vec![pb::Position { partition, offset }];
        let read = self.lookup.read(&self.subject, &names, wanted).await;
        let Some((_, notes)) = self.noted.take() else { return Ok(()) };
        let looked = match read {
            Ok(looked) => looked,
            Err(failure) => {
                self.mailbox.put_back(partition, notes);
                if self.waits_after(failure, names.len())? {
                    let pause = self.pauses.entry(partition).or_default().next();
                    self.held.insert(partition, Instant::now() + pause);
                }
                return Ok(());
            }
        };
        self.pauses.remove(&partition);
        if let Some(beginning) = self.beginning.get_mut(&partition) {
            beginning.retain(|name| !notes.contains_key(name));
            if beginning.is_empty() {
                self.beginning.remove(&partition);
            }
        }
        if self.follow_parties(&looked) {
            // Changes under the new identifiers were not noted until now.
            for (name, change) in &notes {
                self.mailbox.note(partition, name, change.revision);
            }
        }
        self.rise(&looked);
        for found in looked.found {
            let name = found.name(&self.subject);
            let content = found.content();
            let count = match &self.subject {
                Subject::Messages { .. } => notes.get(&name).map_or(0, |change| change.count),
                // Its rows have several names.
                _ => notes.values().map(|change| change.count).max().unwrap_or_default(),
            };
            let unshown = match self.last.get(&name) {
                Some(last) if last.content == content => {
                    let unshown = last.unshown.saturating_add(count);
                    self.last.insert(name, Last { content, unshown });
                    continue;
                }
                last => last.map_or(0, |last| last.unshown),
            };
            self.last.insert(name, Last { content, unshown: 0 });
            let skipped = unshown.saturating_add(count).saturating_sub(1);
            metrics::watch_conflated(skipped);
            self.ready.push_back((found, skipped));
        }
        if self.mailbox.is_empty_of(partition) {
            self.told_then.push((partition, standing));
        }
        Ok(())
    }

    /// What to do about a failed lookup: a smaller one at once, another one in a moment (true), or the
    /// end.
    fn waits_after(&mut self, failure: Failure, asked: usize) -> Result<bool, Failure> {
        match failure.reason() {
            Reason::ResponseTooLarge if asked > 1 => {
                self.chunk = (asked / 2).max(1);
                Ok(false)
            }
            Reason::StoreNotOpen
            | Reason::PartitionUnreachable
            | Reason::PartitionElsewhere
            | Reason::PositionNotReached
            | Reason::DeadlineExceeded
            | Reason::Overloaded
            | Reason::ShuttingDown => Ok(true),
            _ => Err(failure),
        }
    }

    /// No later state may come from a store below those that these were read from.
    fn rise(&mut self, looked: &Looked) {
        for position in &looked.positions {
            if let Some(told) = self.told.get_mut(position.partition as usize) {
                told.position = told.position.max(position.offset);
            }
        }
    }

    /// A conversation is told of all identifiers of its user: rows of each are watched. True if there
    /// are new ones.
    fn follow_parties(&mut self, looked: &Looked) -> bool {
        let Subject::Conversation(key) = &self.subject else { return false };
        let Some(Found::Conversation(conversation)) = looked.found.first() else { return false };
        let parties = conversation.parties.iter().take(PARTIES_MAX);
        let rows: Vec<Arc<str>> =
            parties.clone().map(|party| conversation_row(key, party)).collect();
        let users: Vec<Arc<str>> = parties.map(|party| Arc::from(party.as_str())).collect();
        let mut new = false;
        for (seat, names) in self.seats.iter_mut().zip([rows, users]) {
            new |= seat.watch_names(&names, &self.mailbox);
        }
        new
    }

    fn settle(&mut self) {
        for (partition, standing) in self.told_then.drain(..) {
            if let Some(told) = self.told.get_mut(partition as usize) {
                told.below = told.below.max(standing.rows);
                told.decided_below = told.decided_below.max(standing.others);
            }
        }
    }
}

impl Subject {
    /// The name of the one thing.
    pub(super) fn name(&self) -> Arc<str> {
        self.names().into_iter().next().unwrap_or_else(|| Arc::from(""))
    }

    /// The names under which changes are noted.
    fn names(&self) -> Vec<Arc<str>> {
        match self {
            Self::Messages { wamids, .. } => {
                wamids.iter().map(|wamid| Arc::from(wamid.as_str())).collect()
            }
            Self::Conversation(key) => vec![conversation_row(key, key.party.as_str())],
            Self::Number(id) => vec![Arc::from(id.as_str())],
            Self::Account(waba_id) => vec![Arc::from(waba_id.as_str())],
        }
    }
}

/// Key of the row of a conversation.
fn conversation_row(key: &ConversationKey, party: &str) -> Arc<str> {
    format!("{}/{party}", key.phone_number_id.as_str()).into()
}

impl Standing {
    /// What every record below has come from was noted.
    fn of(seats: &[Seat], partition: u32) -> Self {
        let mut revisions = seats.iter().map(|seat| seat.feed.standing(partition).1);
        let rows = revisions.next().flatten();
        let others: Vec<_> = revisions.collect();
        let newest = others.iter().copied().chain([rows]).max().flatten();
        let others = others.into_iter().map(Option::unwrap_or_default).min().unwrap_or_default();
        Self { rows: rows.unwrap_or_default(), others, newest }
    }
}

impl Watch for States {
    type Item = Update;

    async fn next(&mut self) -> Result<Next<Update>, Failure> {
        loop {
            if let Some((found, skipped)) = self.ready.pop_front() {
                if self.ready.is_empty() {
                    self.settle();
                }
                return Ok(Next::Item(Update { found, skipped }));
            }
            self.settle();
            if !self.unread.is_empty() {
                Box::pin(self.read_first()).await?;
                continue;
            }
            if !self.has_caught_up && self.beginning.is_empty() {
                self.has_caught_up = true;
                return Ok(Next::CaughtUp);
            }
            if self.noted.is_none() {
                let now = Instant::now();
                self.held.retain(|_, until| *until > now);
                self.noted = self.mailbox.take(self.chunk, &self.held);
            }
            if self.noted.is_some() {
                Box::pin(self.read_noted()).await?;
                continue;
            }
            for seat in &self.seats {
                (0..).zip(&self.told).try_for_each(|(partition, _)| seat.feed.check(partition))?;
            }
            if self.mailbox.is_empty() {
                self.mailbox.bell.notified().await;
            } else {
                let held = self.held.values().min().copied();
                let until = held.unwrap_or_else(|| Instant::now() + PAUSE);
                tokio::select! {
                    () = self.mailbox.bell.notified() => {}
                    () = tokio::time::sleep_until(until) => {}
                }
            }
        }
    }

    fn token(&mut self) -> String {
        let is_idle = self.has_caught_up && self.ready.is_empty() && self.noted.is_none();
        if is_idle {
            let partitions = 0..u32::try_from(self.told.len()).unwrap_or(u32::MAX);
            let standing = |partition| (partition, Standing::of(&self.seats, partition));
            let standings: Vec<_> = partitions.map(standing).collect();
            // Asked after: what is noted below them is in the mailbox, which is empty.
            if self.mailbox.is_empty() {
                self.told_then.extend(standings);
                self.settle();
            }
        }
        self.bound.token(&self.told)
    }
}

#[cfg(test)]
mod tests;
