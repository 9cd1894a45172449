//! A watch of records: transitions, actions or alerts of an account, or of all, each once and in the
//! order of its partition.
//!
//! It is nothing but a place in the topic. What is kept in the lane is taken from there; what is not,
//! since the watcher comes from far or does not read, is read from the log. So it needs no buffer,
//! and whoever goes on by a token does what one who was slow does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use tickfold_core::ids::WabaId;
use tickfold_core::raw::partition_of;
use tokio::sync::{Notify, Semaphore};

use super::feed::{Feed, Interest, Seat, Taken};
use super::records::Item;
use super::token::{Bound, Offsets};
use super::{Next, Watch};
use crate::access::{Access, Accounts};
use crate::metrics;
use crate::reasons::{Failure, Reason};

/// Records taken at once.
const TAKEN_MAX: usize = 64;

/// Records read from the log at once, and their bytes.
const BATCH_RECORDS: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;

/// Pause before the log is read again that could not be read a moment ago.
const PAUSE: Duration = Duration::from_millis(200);

/// What is asked of a topic.
#[derive(Debug)]
pub(super) struct Asked {
    /// The account. Empty: all.
    pub(super) waba_id: String,
    pub(super) token: String,
    pub(super) from_beginning: bool,
    pub(super) bound: Bound,
    pub(super) partition_count: u32,
    pub(super) access: Access,
}

/// A place in a topic, with what was taken from there and not told yet.
#[derive(Debug)]
pub(super) struct Records {
    feed: Arc<Feed>,
    interest: Interest,
    bound: Bound,
    bell: Arc<Notify>,
    /// Everything below was taken.
    taken: Offsets,
    /// Everything below was told.
    told: Offsets,
    ready: VecDeque<Arc<Item>>,
    /// Where the stream has caught up; `None` once it has.
    goal: Option<Offsets>,
    /// Few read the log at once.
    reads: Arc<Semaphore>,
    access: Access,
    _seat: Seat,
}

impl Records {
    /// Finds the place to begin at. A token of a place that is gone is refused.
    pub(super) async fn open(
        feed: &Arc<Feed>,
        asked: Asked,
        reads: &Arc<Semaphore>,
    ) -> Result<Self, Failure> {
        let Asked { waba_id, token, from_beginning, bound, partition_count, access } = asked;
        let resumed: Option<Offsets> = bound.place(&token)?;
        let partitions: Vec<u32> = if waba_id.is_empty() {
            (0..partition_count).collect()
        } else {
            vec![partition_of(&WabaId::from(waba_id.as_str()), partition_count)]
        };
        if resumed.as_ref().is_some_and(|offsets| !offsets.keys().eq(&partitions)) {
            let what = "names other partitions than this watch has";
            return Err(Failure::field(Reason::ResumeTokenInvalid, "resume_token", what));
        }
        let mut seat = feed.enter(&partitions).await?;
        let interest = Interest::from(waba_id);
        let (bell, now) = seat.watch_records(&interest, &partitions);
        let taken = match resumed {
            Some(offsets) => checked(feed, offsets).await?,
            None if from_beginning => beginning(feed, &partitions).await?,
            None => now.clone(),
        };
        Ok(Self {
            feed: Arc::clone(feed),
            interest,
            bound,
            bell,
            told: taken.clone(),
            taken,
            ready: VecDeque::new(),
            goal: Some(now),
            reads: Arc::clone(reads),
            access,
            _seat: seat,
        })
    }

    /// Whether the caller may be told of it. What names no account is for those who see all.
    fn is_for_caller(&self, item: &Item) -> bool {
        match self.access.accounts() {
            Accounts::All => true,
            Accounts::Only(_) => self.access.sees(&WabaId::from(item.waba_id())),
        }
    }

    fn has_caught_up(&self) -> bool {
        let goal = self.goal.iter().flatten();
        goal.into_iter().all(|(partition, end)| self.taken.get(partition) >= Some(end))
    }

    /// Reads what is not kept any more, up to where it is.
    async fn read_log(&mut self, partition: u32, until: u64) -> Result<(), Failure> {
        let from = self.taken.get(&partition).copied().unwrap_or_default();
        // The semaphore is never closed.
        let permit = self.reads.acquire().await;
        let reading = metrics::watch_reader();
        let of = self.feed.partition(partition);
        let read = self.feed.log.read(&of, from, BATCH_RECORDS, BATCH_BYTES).await;
        let records = match read.map_err(Failure::from) {
            Err(failure) if failure.reason() == Reason::LogUnavailable => {
                drop((reading, permit));
                tokio::time::sleep(PAUSE).await;
                return Ok(());
            }
            read => read?,
        };
        if records.first().is_none_or(|first| first.offset > from) {
            // Markers, or records that were there.
            let start = self.feed.log.bounds(&of).await?.start;
            if start > from {
                return Err(expired(partition, from, start));
            }
        }
        drop((reading, permit));
        let to = records.last().map_or(until, |last| last.offset.saturating_add(1));
        // Most records of a partition are of other accounts; those need not be read.
        let names = |value: &[u8]| find(value, self.interest.as_bytes());
        let ours = records.iter().filter(|record| record.value.as_deref().is_some_and(names));
        let items = ours.filter_map(|record| Item::read(partition, record));
        let items = items
            .filter(|item| self.interest.is_empty() || *self.interest == *item.waba_id())
            .map(Arc::new);
        self.ready.extend(items);
        self.taken.insert(partition, to);
        Ok(())
    }
}

impl Watch for Records {
    type Item = Arc<Item>;

    async fn next(&mut self) -> Result<Next<Self::Item>, Failure> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.told.insert(item.partition, item.offset.saturating_add(1));
                if self.is_for_caller(&item) {
                    return Ok(Next::Item(item));
                }
                continue;
            }
            self.told.clone_from(&self.taken);
            if self.goal.is_some() && self.has_caught_up() {
                self.goal = None;
                return Ok(Next::CaughtUp);
            }
            let bell = Arc::clone(&self.bell);
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();
            let taken = self.feed.take(&self.interest, &mut self.taken, TAKEN_MAX, &mut self.ready);
            match taken {
                Taken::Moved => {}
                Taken::Behind { partition, until } => {
                    Box::pin(self.read_log(partition, until)).await?;
                }
                Taken::Nothing if self.goal.is_some() && self.has_caught_up() => {}
                Taken::Nothing => {
                    self.told.clone_from(&self.taken);
                    self.taken.keys().try_for_each(|partition| self.feed.check(*partition))?;
                    rung.await;
                }
            }
        }
    }

    fn token(&mut self) -> String {
        if self.ready.is_empty() {
            // Nothing of ours up to wherever the lane is by now.
            let taken = &mut self.taken;
            if self.feed.take(&self.interest, taken, TAKEN_MAX, &mut self.ready) == Taken::Nothing {
                self.told.clone_from(&self.taken);
            }
        }
        self.bound.token(&self.told)
    }
}

/// The places of a token, if all that was not told is still there.
async fn checked(feed: &Feed, offsets: Offsets) -> Result<Offsets, Failure> {
    let bounds = offsets.keys().map(|partition| {
        let of = feed.partition(*partition);
        async move { feed.log.bounds(&of).await }
    });
    let bounds = future::try_join_all(bounds).await?;
    for ((partition, offset), bounds) in offsets.iter().zip(bounds) {
        if *offset < bounds.start {
            return Err(expired(*partition, *offset, bounds.start));
        }
        if *offset > bounds.end {
            let what = format!("names an offset above the end of partition {partition}");
            return Err(Failure::field(Reason::ResumeTokenInvalid, "resume_token", what));
        }
    }
    Ok(offsets)
}

async fn beginning(feed: &Feed, partitions: &[u32]) -> Result<Offsets, Failure> {
    let starts = partitions.iter().map(|partition| {
        let of = feed.partition(*partition);
        async move { feed.log.bounds(&of).await.map(|bounds| (of.partition, bounds.start)) }
    });
    Ok(future::try_join_all(starts).await?.into_iter().collect())
}

fn expired(partition: u32, offset: u64, start: u64) -> Failure {
    let what =
        format!("partition {partition} begins at {start} now, and the watch was at {offset}");
    Failure::new(Reason::ResumeTokenExpired, what)
        .with("partition", partition)
        .with("offset", offset)
        .with("start", start)
}

/// Whether the text stands anywhere in it.
fn find(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tickfold_core::records::Topic;
    use tickfold_log::{Append, Header, Log, MemLog, TopicPartition, TopicSpec};
    use tokio_util::sync::CancellationToken;

    use super::super::hub::Hub;
    use super::*;
    use crate::access::Scope;

    const TOPIC: &str = "wa.transition.v1";

    fn record(event_id: &str, waba_id: &str) -> Append {
        let value = format!(r#"{{"event_id":"{event_id}","waba_id":"{waba_id}","to":"sent"}}"#);
        Append {
            to: TopicPartition::new(TOPIC, 0),
            key: Some("k".into()),
            value: Some(value.into()),
            headers: vec![Header { name: "ce_id".into(), value: event_id.to_owned().into() }],
            timestamp_ms: Some(1),
        }
    }

    fn access(accounts: Accounts) -> Access {
        let scopes = BTreeSet::from([Scope::Query]);
        Access::new("test".to_owned(), scopes, accounts, CancellationToken::new())
    }

    #[tokio::test]
    async fn a_caller_is_told_of_its_own_accounts_alone_live_and_from_the_log() {
        let log = MemLog::new(0);
        let spec = TopicSpec { name: TOPIC.to_owned(), partitions: 1, compacted: false };
        log.ensure_topics(&[spec]).await.unwrap();
        let all = [("0-0-0", "5"), ("0-1-0", "6"), ("0-2-0", ""), ("0-3-0", "5")];
        let append = || log.append(all.map(|(event_id, waba_id)| record(event_id, waba_id)).into());
        append().await.unwrap();
        let shared: Arc<dyn Log> = Arc::new(log.clone());
        let (feeds, hub) = Hub::new(&shared, "wa", 1);
        let running = tokio::spawn(hub.run());
        let feed = feeds.of(Topic::Transition).unwrap();
        let (log_reads, mut opened) = (Arc::new(Semaphore::new(1)), Vec::new());
        let own = || Accounts::Only(BTreeSet::from([WabaId::from("5")]));
        for (waba_id, accounts) in
            [("", own()), ("5", own()), ("6", own()), ("", Accounts::All), ("6", Accounts::All)]
        {
            let asked = Asked {
                waba_id: waba_id.to_owned(),
                token: String::new(),
                from_beginning: true,
                bound: Bound::to(&["test"], 1),
                partition_count: 1,
                access: access(accounts),
            };
            opened.push(Records::open(feed, asked, &log_reads).await.unwrap());
        }
        // The first half comes from the log, the second as it is appended.
        let mut told = Vec::new();
        for watch in &mut opened {
            let mut ids = String::new();
            while let Next::Item(item) = watch.next().await.unwrap() {
                ids.push_str(item.waba_id());
            }
            told.push(ids);
        }
        assert_eq!(told, ["55", "55", "", "565", "6"]);
        append().await.unwrap();
        for (watch, ids) in opened.iter_mut().zip(&mut told) {
            let until_idle = async {
                while let Next::Item(item) = watch.next().await.unwrap() {
                    ids.push_str(item.waba_id());
                }
            };
            let idle = tokio::time::timeout(Duration::from_millis(300), until_idle).await;
            assert!(idle.is_err(), "it has caught up before");
        }
        assert_eq!(told, ["5555", "5555", "", "565565", "66"]);
        running.abort();
    }

    #[tokio::test]
    async fn what_was_kept_for_others_before_a_watch_began_makes_it_skip_nothing() {
        let log = MemLog::new(0);
        let spec = TopicSpec { name: TOPIC.to_owned(), partitions: 1, compacted: false };
        log.ensure_topics(&[spec]).await.unwrap();
        let mut next = 0_u64;
        let mut append = |count: u64, waba_id: &str| {
            let records = (next..next + count).map(|n| record(&format!("0-{n}-0"), waba_id));
            next += count;
            log.append(records.collect())
        };
        let shared: Arc<dyn Log> = Arc::new(log.clone());
        let (feeds, hub) = Hub::new(&shared, "wa", 1);
        let running = tokio::spawn(hub.run());
        let feed = feeds.of(Topic::Transition).unwrap();
        let log_reads = Arc::new(Semaphore::new(1));
        let open = async |waba_id: &str, from_beginning: bool| {
            let asked = Asked {
                waba_id: waba_id.to_owned(),
                token: String::new(),
                from_beginning,
                bound: Bound::to(&["test"], 1),
                partition_count: 1,
                access: access(Accounts::All),
            };
            Records::open(feed, asked, &log_reads).await.unwrap()
        };
        let take = async |watch: &mut Records, count: usize| {
            let mut offsets = Vec::new();
            while offsets.len() < count {
                let next = tokio::time::timeout(Duration::from_secs(10), watch.next());
                if let Next::Item(item) = next.await.unwrap().unwrap() {
                    offsets.push(item.offset);
                }
            }
            offsets
        };
        // The lane is full of what one account is told, and other records lie between that nobody watches.
        let mut one = open("7", false).await;
        for _ in 0..30 {
            append(20, "6").await.unwrap();
            append(100, "7").await.unwrap();
        }
        take(&mut one, 3_000).await;
        let mut all = open("", true).await;
        // What goes for these now was kept for the one account, before all were watched.
        append(10, "7").await.unwrap();
        take(&mut one, 10).await;
        assert_eq!(take(&mut all, 3_610).await, (0..3_610).collect::<Vec<_>>());
        running.abort();
    }
}
