//! The log on a Kafka cluster, by librdkafka.
//!
//! - **Appends** go through one idempotent producer, acknowledged by all replicas in sync, never in
//!   a transaction (`append`).
//! - **Reads** are of committed records only, by consumers that belong to no group (`reader`,
//!   `cursor`). Offsets have gaps: a transaction's marker takes one, an aborted record keeps its.
//! - **Claims and commits** are transactions of a producer per partition, with the group's position
//!   inside (`owned`, `committer`, which says what fences whom).
//! - **Groups** are joined by a consumer that reads nothing (`member`); the brokers check each commit
//!   of a member against the group as it is then.
//! - **Topics** are created with the settings these promises rest on, and refused without (`settings`,
//!   `topics`); `survey` looks at them without a log, and `probe` at what holds readers up and what is
//!   allowed.
//!
//! Durability is that of the cluster: a record is acknowledged once `min.insync.replicas` brokers
//! have it, in their memory at least; replication, not a disk's sync, is what survives a crash.
//! The same goes for a trim: brokers write down where a partition begins once a minute, so a crash
//! of all replicas within it can bring trimmed records back.
//!
//! A timestamp below 1 is stored as 1: librdkafka takes 0 for "none given".
//!
//! Everything that blocks runs on threads of this module (`calls`, `reader`, `owned`), and bounds
//! its time by [`KafkaOptions`]. A cluster that does not answer makes calls `Unavailable` and commits
//! `Unclear`; the log itself stays usable and recovers with it. librdkafka's clients do not always do
//! so by themselves: `keeper` looks after them.

mod append;
mod calls;
mod committer;
mod context;
mod convert;
mod cursor;
pub mod fail_point;
mod keeper;
mod member;
mod members;
mod native;
mod options;
mod owned;
mod places;
mod probe;
mod reader;
mod settings;
mod survey;
mod topics;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{admin::AdminClient, consumer::BaseConsumer};
use tokio::sync::watch;

use self::{
    append::Appender,
    calls::{Calls, apart, spawn},
    context::Quiet,
    convert::{check_size, unavailable},
    keeper::Keeper,
    member::KafkaMember,
    owned::Groups,
    places::{Checked, Place, Places},
    reader::{Limits, Reader},
};
use crate::{
    Append, Bounds, Claim, Committed, Error, GroupSpec, Log, LogFuture, Member, Offset, Record,
    TopicInfo, TopicPartition, TopicSpec,
};

pub use convert::panic_is_caught;
pub use members::GroupMember;
pub use options::{Compression, KafkaOptions, Password, Sasl, SaslMechanism, Security, Tls};
pub use probe::{Ends, KafkaProbe};
pub use settings::Weight;
pub use survey::{Found, KafkaTopics, Setting, Survey};

/// Threads for calls that block for a broker's answer.
const CALL_THREADS: usize = 4;

/// How long positions are waited for that no open transaction may change.
const STABLE_PATIENCE: Duration = Duration::from_millis(500);

/// What closing waits for appends beyond their own timeout.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// A log on a Kafka cluster.
#[derive(Debug)]
pub struct KafkaLog {
    inner: Arc<Inner>,
}

/// What the log and its claims share.
struct Inner {
    options: KafkaOptions,
    closed: Arc<AtomicBool>,
    /// Commits under way.
    commits: Arc<watch::Sender<usize>>,
    places: Arc<Places>,
    calls: Arc<Calls>,
    keeper: Arc<Keeper>,
    admin: Arc<AdminClient<Quiet>>,
    appender: Appender,
    reader: Reader,
    groups: Groups,
    onlookers: Groups,
}

impl KafkaLog {
    /// Connects to the cluster: returns once a broker has answered, or [`Error::Unavailable`] after
    /// [`KafkaOptions::call_timeout`]. Blocks meanwhile.
    pub fn connect(options: KafkaOptions) -> Result<Arc<Self>, Error> {
        crate::metrics::describe();
        let calls = Arc::new(Calls::start(CALL_THREADS)?);
        let (closed, places) = (Arc::<AtomicBool>::default(), Arc::<Places>::default());
        let admin = options.admin().create_with_context(Quiet);
        let admin: AdminClient<Quiet> =
            admin.map_err(|error| unavailable("start the admin client", &error))?;
        let admin = Arc::new(admin);
        let keeper = Keeper::start(&options, &closed)?;
        keeper.keep("admin", &admin);
        let stop = |_: &Error| closed.store(true, Ordering::Release);
        let appender = Appender::start(&options, &keeper).inspect_err(stop)?;
        let reader =
            Reader::start(&options, &places, &calls, &keeper, &closed).inspect_err(stop)?;
        let commits = Arc::new(watch::Sender::new(0));
        let (groups, onlookers) = (Groups::default(), Groups::default());
        let inner = Inner {
            options,
            closed,
            commits,
            places,
            calls,
            keeper,
            admin,
            appender,
            reader,
            groups,
            onlookers,
        };
        let log = Self { inner: Arc::new(inner) };
        let consumer = log.inner.reader.consumer()?;
        for (topic, partitions) in topics::existing(&consumer, log.inner.options.call_timeout)? {
            log.inner.places.learn(&topic, partitions);
        }
        Ok(Arc::new(log))
    }
}

impl Drop for KafkaLog {
    /// Stops without waiting for anything; [`Log::close`] waits.
    fn drop(&mut self) {
        self.inner.closed.store(true, Ordering::Release);
        let inner = Arc::clone(&self.inner);
        // Taking clients down takes time, which is not the dropping thread's to spend.
        let stopped = spawn("tickfold-kafka-stop", move || inner.stop());
        if let Err(error) = stopped {
            tracing::debug!(%error, "kafka clients stop where they are");
        }
    }
}

impl Inner {
    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The partition, asking the cluster if it is not known here yet.
    async fn find(&self, of: &TopicPartition) -> Result<Arc<Place>, Error> {
        self.check_open()?;
        if let Some(place) = self.places.find(of) {
            return Ok(place);
        }
        let (topic, timeout) = (of.topic.clone(), self.options.call_timeout);
        let consumer = self.reader.consumer()?;
        let ask = move || topics::partitions(&consumer, &topic, timeout);
        let partitions = self.calls.run(ask).await??;
        self.places.learn(&of.topic, partitions);
        self.places.find(of).ok_or_else(|| Error::UnknownPartition(of.clone()))
    }

    /// Refuses records that can never be accepted, before any of them is sent.
    async fn check_appends(&self, records: Arc<[Append]>) -> Result<Checked, Error> {
        let mut places = Vec::with_capacity(records.len());
        for append in &*records {
            check_size(append)?;
            places.push(self.find(&append.to).await?);
        }
        Ok(Checked { records, places })
    }

    fn group(&self, group: &str) -> Result<Arc<BaseConsumer<Quiet>>, Error> {
        self.groups.get(group, &self.keeper, || self.options.group(group))
    }

    /// Lets go of the clients that read and speak for groups. Blocks.
    fn stop(&self) {
        self.reader.close();
        self.groups.clear();
        self.onlookers.clear();
    }

    async fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<Vec<TopicInfo>, Error> {
        let timeout = self.options.call_timeout;
        // All checks come before the first creation, so a refused call changes nothing.
        for (at, spec) in specs.iter().enumerate() {
            spec.check()?;
            let earlier = specs.iter().take(at).find(|earlier| earlier.name == spec.name);
            earlier.map_or(Ok(()), |earlier| spec.check_existing(earlier))?;
        }
        let consumer = self.reader.consumer()?;
        let existing = self.calls.run(move || topics::existing(&consumer, timeout)).await??;
        let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let known: Vec<_> = names.iter().filter(|n| existing.contains_key(*n)).cloned().collect();
        let settings = topics::settings(&self.admin, &known, timeout).await?;
        let mut missing: Vec<&TopicSpec> = Vec::new();
        for spec in specs {
            match (existing.get(&spec.name), settings.get(&spec.name)) {
                (Some(&partitions), Some(found)) => {
                    let (name, compacted) = (spec.name.clone(), is_table(found));
                    spec.check_existing(&TopicSpec { name, partitions, compacted })?;
                    settings::check(&self.options, spec, found)?;
                }
                _ if missing.iter().any(|other| other.name == spec.name) => {}
                _ => missing.push(spec),
            }
        }
        topics::create(&self.admin, &self.options, &missing).await?;
        let consumer = self.reader.consumer()?;
        let ready = move || topics::await_ready(&consumer, &names, timeout);
        let infos = self.infos(self.calls.run(ready).await??).await?;
        let info = |spec: &TopicSpec| {
            let mut info = infos.iter().find(|info| info.spec.name == spec.name).cloned();
            if let Some(info) = &mut info {
                info.spec.compacted = spec.compacted;
            }
            info.ok_or_else(|| Error::Unavailable {
                reason: format!("topic {} is gone again", spec.name),
            })
        };
        specs.iter().map(info).collect()
    }

    /// What there is to say of topics, in the order given. Those that are gone are left out.
    async fn infos(&self, topics: Vec<(String, u32)>) -> Result<Vec<TopicInfo>, Error> {
        let timeout = self.options.call_timeout;
        for (topic, partitions) in &topics {
            self.places.learn(topic, *partitions);
        }
        let names: Vec<_> = topics.iter().map(|(name, _)| name.clone()).collect();
        let settings = topics::settings(&self.admin, &names, timeout).await?;
        let consumer = self.reader.consumer()?;
        let asked = topics.clone();
        let ask = move || topics::bounds(&consumer, &asked, timeout);
        let mut bounds: HashMap<_, _> = self.calls.run(ask).await??;
        let info = |(name, partitions): (String, u32)| {
            let mut bounds = bounds.remove(&name)?;
            // What this process was told to be there counts, also where the broker is a moment late.
            for (partition, bounds) in (0..).zip(&mut bounds) {
                let of = TopicPartition::new(name.as_str(), partition);
                if let Some(place) = self.places.find(&of) {
                    bounds.end = bounds.end.max(place.end());
                    place.ends(bounds.end);
                }
            }
            let compacted = settings.get(&name).is_some_and(is_table);
            Some(TopicInfo { spec: TopicSpec { name, partitions, compacted }, bounds })
        };
        Ok(topics.into_iter().filter_map(info).collect())
    }

    async fn trim(
        &self,
        of: &TopicPartition,
        place: &Arc<Place>,
        before: Offset,
    ) -> Result<Bounds, Error> {
        let Bounds { start, end } = self.reader.bounds(of, place).await?;
        let before = before.min(end);
        if before > start {
            topics::trim(&self.admin, of, before, self.options.call_timeout).await?;
            place.trimmed(before);
        }
        self.reader.bounds(of, place).await
    }

    async fn last_record(
        &self,
        of: &TopicPartition,
        place: &Arc<Place>,
    ) -> Result<Option<Record>, Error> {
        let Bounds { start, end } = self.reader.bounds(of, place).await?;
        // What lies before the end may be markers and aborted records, as many as one likes.
        let mut back = 2;
        let mut from = end;
        while from > start {
            from = end.saturating_sub(back).max(start);
            back = back.saturating_mul(8);
            let (mut last, mut next) = (None, from);
            loop {
                let limits = Limits { records: 1_000, bytes: 8 << 20 };
                let read = self.reader.read(of, place, next, limits).await?;
                let Some(record) = read.into_iter().next_back() else { break };
                next = record.offset.saturating_add(1);
                last = Some(record);
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }
}

/// True if only the last record per key is kept.
fn is_table(settings: &settings::Settings) -> bool {
    settings.get("cleanup.policy").is_some_and(|policy| policy.contains("compact"))
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Log for KafkaLog {
    fn partitions_fail_apart(&self) -> bool {
        true
    }

    fn ensure_topics<'a>(
        &'a self,
        specs: &'a [TopicSpec],
    ) -> LogFuture<'a, Result<Vec<TopicInfo>, Error>> {
        Box::pin(async move {
            self.inner.check_open()?;
            self.inner.ensure_topics(specs).await
        })
    }

    fn topics(&self) -> LogFuture<'_, Result<Vec<TopicInfo>, Error>> {
        Box::pin(async move {
            self.inner.check_open()?;
            let timeout = self.inner.options.call_timeout;
            let consumer = self.inner.reader.consumer()?;
            let ask = move || topics::existing(&consumer, timeout);
            let existing = self.inner.calls.run(ask).await??;
            self.inner.infos(existing.into_iter().collect()).await
        })
    }

    fn append(&self, records: Vec<Append>) -> LogFuture<'_, Result<Vec<Offset>, Error>> {
        Box::pin(async move {
            self.inner.check_open()?;
            if records.is_empty() {
                return Ok(Vec::new());
            }
            let records = self.inner.check_appends(records.into()).await?;
            let answered = self.inner.appender.send(&records)?;
            drop(records);
            answered.await.map_err(|_| Error::Closed)?
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
            let place = self.inner.find(from).await?;
            let limits = Limits { records: max_records, bytes: max_bytes };
            self.inner.reader.read(from, &place, offset, limits).await
        })
    }

    fn last_record<'a>(
        &'a self,
        from: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Option<Record>, Error>> {
        Box::pin(async move {
            let place = self.inner.find(from).await?;
            self.inner.last_record(from, &place).await
        })
    }

    fn bounds<'a>(&'a self, of: &'a TopicPartition) -> LogFuture<'a, Result<Bounds, Error>> {
        Box::pin(async move {
            let place = self.inner.find(of).await?;
            self.inner.reader.bounds(of, &place).await
        })
    }

    fn trim<'a>(
        &'a self,
        of: &'a TopicPartition,
        before: Offset,
    ) -> LogFuture<'a, Result<Bounds, Error>> {
        Box::pin(async move {
            let place = self.inner.find(of).await?;
            self.inner.trim(of, &place, before).await
        })
    }

    fn wait_past<'a>(
        &'a self,
        of: &'a TopicPartition,
        offset: Offset,
    ) -> LogFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let place = self.inner.find(of).await?;
            self.inner.reader.wait_past(of, &place, offset).await
        })
    }

    fn claim<'a>(
        &'a self,
        group: &'a str,
        input: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Claim, Error>> {
        Box::pin(async move {
            self.inner.find(input).await?;
            owned::claim(&self.inner, group, input, None).await
        })
    }

    fn join(
        self: Arc<Self>,
        spec: GroupSpec,
    ) -> LogFuture<'static, Result<Arc<dyn Member>, Error>> {
        Box::pin(async move {
            self.inner.find(&TopicPartition::new(spec.topic.as_str(), 0)).await?;
            Ok(KafkaMember::join(&self.inner, spec)? as Arc<dyn Member>)
        })
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> LogFuture<'a, Result<Vec<Option<Committed>>, Error>> {
        Box::pin(async move {
            self.inner.find(&TopicPartition::new(topic, 0)).await?;
            let (inner, timeout) = (&self.inner, self.inner.options.call_timeout);
            let partitions = inner.places.partitions(topic);
            let ask = |consumer: Arc<BaseConsumer<Quiet>>, timeout| {
                let topic = topic.to_owned();
                move || committer::positions(&consumer, &topic, partitions, timeout)
            };
            // A commit that was answered is told. But where an owner died inside of one, that waits
            // until its successor ends it.
            let stable = ask(inner.group(group)?, STABLE_PATIENCE.min(timeout));
            if let Ok(told) = inner.calls.run(stable).await? {
                return Ok(told);
            }
            let config = || inner.options.onlooker(group);
            let onlooker = inner.onlookers.get(group, &inner.keeper, config)?;
            let asked = inner.calls.run(ask(onlooker, timeout)).await?;
            asked.map_err(|error| unavailable(format!("read the positions of {group}"), &error))
        })
    }

    fn offset_at<'a>(
        &'a self,
        of: &'a TopicPartition,
        time_ms: i64,
    ) -> LogFuture<'a, Result<Offset, Error>> {
        Box::pin(async move {
            let place = self.inner.find(of).await?;
            let end = self.inner.reader.bounds(of, &place).await?.end;
            let (consumer, timeout) =
                (self.inner.reader.consumer()?, self.inner.options.call_timeout);
            let asked = of.clone();
            let ask = move || topics::offset_at(&consumer, &asked, time_ms, timeout);
            let mut from = self.inner.calls.run(ask).await??.unwrap_or(end);
            // Brokers count a transaction's marker as a record of its own time, so what they found
            // may lie before earlier records.
            loop {
                let limits = Limits { records: 1_000, bytes: 8 << 20 };
                let read = self.inner.reader.read(of, &place, from, limits).await?;
                let reached = read.iter().find(|record| record.timestamp_ms >= time_ms);
                match (reached, read.last()) {
                    (Some(record), _) => return Ok(record.offset),
                    (None, Some(last)) => from = last.offset.saturating_add(1),
                    (None, None) => return Ok(from.max(end)),
                }
            }
        })
    }

    fn close(&self) -> LogFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.inner.closed.store(true, Ordering::Release);
            let inner = Arc::clone(&self.inner);
            // By then every append is answered, if only by its own timeout.
            let timeout = self.inner.options.append_timeout + CLOSE_GRACE;
            let flush = move || {
                let flushed = inner.appender.flush(timeout);
                inner.stop();
                flushed
            };
            let flushed = apart("tickfold-kafka-close", flush).await?;
            let mut commits = self.inner.commits.subscribe();
            // The sender lives as long as this log. A commit that nobody waits for any more is bounded by nothing
            // else; whatever becomes of it, the next claim finds out.
            let ended = commits.wait_for(|count| *count == 0);
            if tokio::time::timeout(self.inner.options.call_timeout, ended).await.is_err() {
                tracing::warn!("closed with commits in doubt, as the brokers do not answer");
            }
            flushed
        })
    }
}
