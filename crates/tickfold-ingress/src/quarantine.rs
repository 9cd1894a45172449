//! The quarantine: webhooks with a well-formed signature that no active secret gives, kept so that
//! they can be accepted once the right secret is known.
//!
//! Whoever changes an app secret at Meta before it is configured here loses webhooks otherwise: they
//! are answered 401, and Meta repeats them for a while only. They are answered 401 here too; Meta's
//! repeats are the better way, and this is for what they do not bring. Off by default, since anyone
//! can send a wrong signature: what is kept is unverified, bounded in bytes, and never read but by
//! [`Quarantine::accept`], which verifies it. Nothing gets from here into the raw topic otherwise.
//!
//! Keeping is best effort. It never delays or changes an answer; what finds the quarantine full, too
//! many appends under way or a failing log is dropped and counted. When it is full the oldest stay,
//! so that a flood cannot push out what came before it. Repeats are kept each; they fold to nothing.
//!
//! On a cluster several processes keep in one topic, an operator empties it through one of them, and
//! brokers delete what is old. So each counts anew what is there: a minute after the last time, and a
//! second after it where there is no room. Until then it knows of its own only, and the bound is
//! passed by what the others kept meanwhile.
//!
//! A record has the body as its value and headers with the names of raw records, `wa-kind` being
//! `quarantined`. Accepting and discarding are in `review`.

mod review;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tickfold_core::raw::header;
use tickfold_core::records::QUARANTINE_TOPIC;
use tickfold_core::signature::Signature;
use tickfold_core::time::Timestamp;
use tickfold_log::{Append, Bounds, Log, Offset, Record, TopicPartition, TopicSpec};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::append::encode;
use crate::budget::Reservation;
use crate::throttle::Throttle;
use crate::{Error, metrics};

pub use review::{Accepted, Discarded};

/// Value of `wa-kind`; never that of a raw record, so that neither can be taken for the other.
const KIND: &str = "quarantined";
/// Appends under way at once: as much memory as so many bodies, however many wrong signatures come.
const APPENDS_MAX: usize = 4;
/// How long a count of what is there holds, while there is room and where there is none.
const COUNT_HOLDS: Duration = Duration::from_secs(60);
const FULL_HOLDS: Duration = Duration::from_secs(1);
/// What is read at once when the topic is gone through.
const CHUNK_BYTES: usize = 1024 * 1024;
const CHUNK_RECORDS: usize = 1_000;

/// Handle of the quarantine: ingress puts in, an operator accepts or discards. Clones share it.
#[derive(Debug, Clone)]
pub struct Quarantine {
    shared: Arc<Shared>,
}

/// What a quarantine is made of.
#[derive(Debug)]
pub struct QuarantineParts {
    /// The log of both topics. Closed by its owner, after [`run`](crate::run) returned.
    pub log: Arc<dyn Log>,
    /// Full name of the quarantine's topic, which exists; see [`Quarantine::topic`].
    pub topic: String,
    /// Full name of the raw topic, into which accepted webhooks go.
    pub raw_topic: String,
    /// Partition count of the raw topic.
    pub partition_count: u32,
    /// Bytes of records kept, at most; [`IngressOptions`](crate::IngressOptions) says more.
    pub bytes_max: usize,
}

/// A webhook whose signature is well-formed, and that of no active secret of its app.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) app: String,
    pub(crate) signature: Signature,
    pub(crate) received_time: Timestamp,
    pub(crate) request_id: String,
    pub(crate) body: Bytes,
    /// Given back when the log has let go of the body.
    pub(crate) reservation: Reservation,
}

#[derive(Debug)]
struct Shared {
    log: Arc<dyn Log>,
    at: TopicPartition,
    raw_topic: String,
    partition_count: u32,
    bytes_max: usize,
    /// Bytes of records in the topic or on their way there.
    bytes: AtomicUsize,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Held while records are moved: one operator at a time.
    turn: Mutex<()>,
    counted: std::sync::Mutex<Counted>,
    drops: Throttle,
}

/// What was in the topic when it was counted last.
#[derive(Debug, Clone, Copy)]
struct Counted {
    time: Instant,
    within: Bounds,
    bytes: usize,
}

/// Why a webhook was not kept.
#[derive(Debug, Clone, Copy)]
enum Dropped {
    /// No room for it.
    Full,
    /// Too many appends under way.
    Busy,
    /// The log did not take it, or did not say so.
    LogFailed,
}

impl Quarantine {
    /// The topic, as it is to be created before [`Quarantine::open`].
    pub fn topic(prefix: &str) -> TopicSpec {
        let name = format!("{prefix}.{QUARANTINE_TOPIC}");
        TopicSpec { name, partitions: 1, compacted: false }
    }

    /// Opens it, reading the topic once to count what is there: `bytes_max` counts across starts.
    pub async fn open(parts: QuarantineParts) -> Result<Self, Error> {
        let QuarantineParts { log, topic, raw_topic, partition_count, bytes_max } = parts;
        if bytes_max == 0 || partition_count == 0 {
            let reason = "a quarantine needs room, and a raw topic with partitions";
            return Err(Error::Options(reason.to_owned()));
        }
        let counted = Counted { time: Instant::now(), within: Bounds::default(), bytes: 0 };
        let shared = Shared {
            log,
            at: TopicPartition::new(topic, 0),
            raw_topic,
            partition_count,
            bytes_max,
            bytes: AtomicUsize::new(0),
            permits: Arc::new(Semaphore::new(APPENDS_MAX)),
            tasks: TaskTracker::new(),
            turn: Mutex::default(),
            counted: std::sync::Mutex::new(counted),
            drops: Throttle::default(),
        };
        shared.count_anew().await?;
        let bytes = shared.bytes.load(Ordering::Relaxed);
        info!(bytes, bytes_max, "quarantine opened");
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Bytes of records kept or being put in: bodies with their headers.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Keeps a webhook if there is room, in a task of its own: nobody waits for it.
    pub(crate) fn offer(&self, refused: Refused) {
        let Ok(permit) = Arc::clone(&self.shared.permits).try_acquire_owned() else {
            return self.shared.drop_one(Dropped::Busy);
        };
        let append = refused.append(&self.shared.at);
        let bytes = append.size_bytes();
        let fits = self.shared.admit(bytes);
        if self.shared.is_count_due(fits) {
            let shared = Arc::clone(&self.shared);
            self.shared.tasks.spawn(async move {
                if let Err(error) = shared.count_anew().await {
                    debug!(?error, "quarantine not counted");
                }
            });
        }
        if !fits {
            return self.shared.drop_one(Dropped::Full);
        }
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            match shared.log.append(vec![append]).await {
                Ok(_) => metrics::quarantined(),
                // An append that failed may be there all the same. The next start counts it.
                Err(_) => {
                    shared.give_back(bytes);
                    shared.drop_one(Dropped::LogFailed);
                }
            }
            drop((permit, refused.reservation));
        });
    }

    /// What is under way: appends, and work of an operator.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.shared.tasks
    }
}

impl Refused {
    fn append(&self, to: &TopicPartition) -> Append {
        let headers = vec![
            (header::KIND, KIND.to_owned()),
            (header::SIGNATURE, self.signature.as_str().to_owned()),
            (header::RECEIVED_TIME, self.received_time.to_string()),
            (header::APP, self.app.clone()),
            (header::REQUEST_ID, self.request_id.clone()),
        ];
        let (key, value) = (None, Some(self.body.clone()));
        Append { to: to.clone(), key, value, headers: encode(headers), timestamp_ms: None }
    }
}

impl Shared {
    /// Takes room for a new record; false if it would not fit, and then nothing is taken.
    fn admit(&self, bytes: usize) -> bool {
        let more = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let before = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        before.map(|before| metrics::quarantine_bytes(before.saturating_add(bytes))).is_ok()
    }

    /// Takes room for what is there or has to be put in anyway.
    fn add(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::quarantine_bytes(before.saturating_add(bytes));
    }

    fn give_back(&self, bytes: usize) {
        let less = |now: usize| Some(now.saturating_sub(bytes));
        let before = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        metrics::quarantine_bytes(before.unwrap_or_default().saturating_sub(bytes));
    }

    fn drop_one(&self, dropped: Dropped) {
        metrics::quarantine_dropped(dropped.as_str());
        if let Some(count) = self.drops.pass() {
            warn!(reason = dropped.as_str(), count, "webhook of unknown signature not kept");
        }
    }

    async fn bounds(&self) -> Result<Bounds, Error> {
        self.log.bounds(&self.at).await.map_err(failed("look at the quarantine"))
    }

    /// Whether what is there is to be counted now; true once for each time.
    fn is_count_due(&self, has_room: bool) -> bool {
        let mut counted = self.counted();
        let holds = if has_room { COUNT_HOLDS } else { FULL_HOLDS };
        let is_due = counted.time.elapsed() >= holds;
        if is_due {
            counted.time = Instant::now();
        }
        is_due
    }

    /// Counts what is there, whoever put it there or took it away. What comes meanwhile is dropped.
    async fn count_anew(&self) -> Result<(), Error> {
        // Neither an operator nor an append has anything under way then.
        let _turn = self.turn.lock().await;
        let all = u32::try_from(APPENDS_MAX).unwrap_or(u32::MAX);
        let Ok(_permits) = self.permits.acquire_many(all).await else { return Ok(()) };
        let (within, known) = (self.bounds().await?, *self.counted());
        // Where nothing was taken away only what came is looked at.
        let is_longer = within.start == known.within.start && within.end >= known.within.end;
        let (start, before) =
            if is_longer { (known.within.end, known.bytes) } else { (within.start, 0) };
        let (_, more) = self.count(Bounds { start, ..within }).await?;
        let bytes = before.saturating_add(more);
        {
            let mut counted = self.counted();
            (counted.within, counted.bytes) = (within, bytes);
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        metrics::quarantine_bytes(bytes);
        Ok(())
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        // Whole at any moment, so a panic elsewhere does not spoil it.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number and bytes of the records in these bounds.
    async fn count(&self, within: Bounds) -> Result<(u64, usize), Error> {
        let (mut records, mut bytes) = (0, 0_usize);
        let mut next = within.start;
        loop {
            let chunk = self.read(next, within.end).await?;
            let Some(last) = chunk.last() else { return Ok((records, bytes)) };
            next = last.offset.saturating_add(1);
            records += chunk.len() as u64;
            bytes = bytes.saturating_add(size_bytes(&chunk));
        }
    }

    /// Some records from `next` on and below `end`; none if there are no more.
    async fn read(&self, next: Offset, end: Offset) -> Result<Vec<Record>, Error> {
        // A log may read without ever waiting, and a chunk takes milliseconds to verify.
        tokio::task::yield_now().await;
        let read = self.log.read(&self.at, next, CHUNK_RECORDS, CHUNK_BYTES).await;
        let mut read = read.map_err(failed("read the quarantine"))?;
        read.retain(|record| record.offset < end);
        Ok(read)
    }
}

impl Dropped {
    /// For logs and metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Busy => "busy",
            Self::LogFailed => "log_failed",
        }
    }
}

fn size_bytes(records: &[Record]) -> usize {
    records.iter().map(Record::size_bytes).sum()
}

fn failed(attempt: &'static str) -> impl Fn(tickfold_log::Error) -> Error {
    move |source| Error::Quarantine { attempt, source }
}
