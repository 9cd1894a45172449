//! The in-memory log: deterministic, without threads and without a clock, for tests and the
//! simulation.
//!
//! It keeps every promise of the port except surviving the process. Handles are cheap clones of
//! one shared log, so that two owners and a harness look at the same records. Each trait method
//! wraps a synchronous method of the same meaning (`…_now`), so a single-threaded harness needs no
//! runtime. Append times come from [`MemLog::set_now_ms`] and are stored as they are, also when
//! the harness moves them back. Its groups have as many members as join, and a session lasts until
//! a test ends it. Faults and operator acts live in `mem::faults` (`test-util`).

mod coordinator;
#[cfg(feature = "test-util")]
mod faults;
mod member;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

#[cfg(feature = "test-util")]
pub use faults::{AppendFault, CommitFault, ReadFault};
pub use member::MemMember;
use state::State;

use crate::{
    Append, Bounds, Claim, CommitError, Committed, Error, GroupSpec, Log, LogFuture, Member,
    Offset, OwnedPartition, Record, TopicInfo, TopicPartition, TopicSpec, search,
};
use coordinator::HandleId;

/// A log in memory. Clones share the same records.
#[derive(Debug, Clone)]
pub struct MemLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts changes; whoever waits subscribes, looks at the state, and waits for the next one.
    changes: watch::Sender<u64>,
}

/// The claim of a [`MemLog`] partition for a group.
#[derive(Debug)]
pub struct MemOwned {
    log: MemLog,
    group: String,
    input: TopicPartition,
    epoch: u64,
    /// Of a member: the assignment under which it claimed.
    assignment: Option<u64>,
}

impl Default for MemLog {
    fn default() -> Self {
        Self::new(0)
    }
}

impl MemLog {
    /// An empty log whose append time is `now_ms` until it is set anew.
    pub fn new(now_ms: i64) -> Self {
        let state = Mutex::new(State::new(now_ms));
        Self { shared: Arc::new(Shared { state, changes: watch::Sender::new(0) }) }
    }

    /// Sets the time given to records appended without a timestamp.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.state().now_ms = now_ms;
    }

    /// The time given to records appended without a timestamp.
    pub fn now_ms(&self) -> i64 {
        self.state().now_ms
    }

    /// [`Log::ensure_topics`], at once.
    pub fn ensure_topics_now(&self, specs: &[TopicSpec]) -> Result<Vec<TopicInfo>, Error> {
        self.change(|state| state.ensure_topics(specs))
    }

    /// [`Log::topics`], at once.
    pub fn topics_now(&self) -> Result<Vec<TopicInfo>, Error> {
        self.state().topic_infos()
    }

    /// [`Log::append`], at once. While appends are held (`hold_appends`) it is `Unavailable`, since
    /// it cannot wait.
    pub fn append_now(&self, records: Vec<Append>) -> Result<Vec<Offset>, Error> {
        self.change(|state| {
            if state.holds(&records) {
                state.check_open()?;
                return Err(Error::Unavailable { reason: "appends are held".to_owned() });
            }
            state.append(records)
        })
    }

    /// [`Log::read`], at once.
    pub fn read_now(
        &self,
        from: &TopicPartition,
        offset: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, Error> {
        self.state().read(from, offset, max_records, max_bytes)
    }

    /// [`Log::last_record`], at once.
    pub fn last_record_now(&self, from: &TopicPartition) -> Result<Option<Record>, Error> {
        self.state().last_record(from)
    }

    /// [`Log::bounds`], at once.
    pub fn bounds_now(&self, of: &TopicPartition) -> Result<Bounds, Error> {
        self.state().bounds(of)
    }

    /// [`Log::trim`], at once.
    pub fn trim_now(&self, of: &TopicPartition, before: Offset) -> Result<Bounds, Error> {
        self.change(|state| state.trim(of, before))
    }

    /// [`Log::claim`], at once.
    pub fn claim_now(
        &self,
        group: &str,
        input: &TopicPartition,
    ) -> Result<(Option<Committed>, MemOwned), Error> {
        self.claim_as(group, input, None)
    }

    /// Claims as a member, or as whoever calls.
    fn claim_as(
        &self,
        group: &str,
        input: &TopicPartition,
        member: Option<HandleId>,
    ) -> Result<(Option<Committed>, MemOwned), Error> {
        let (committed, epoch, assignment) =
            self.change(|state| state.claim(group, input, member))?;
        let (log, group, input) = (self.clone(), group.to_owned(), input.clone());
        Ok((committed, MemOwned { log, group, input, epoch, assignment }))
    }

    /// [`Log::join`], at once.
    pub fn join_now(&self, spec: &GroupSpec) -> Result<MemMember, Error> {
        let id = self.change(|state| state.join(spec))?;
        Ok(MemMember::new(self.clone(), spec.group.clone(), spec.topic.clone(), id))
    }

    /// [`Log::positions`], at once.
    pub fn positions_now(&self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>, Error> {
        self.state().positions(group, topic)
    }

    /// [`Log::close`], at once, for all clones. Held appends get [`Error::Closed`].
    pub fn close_now(&self) {
        self.change(|state| state.closed = true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method leaves the state half changed, so a panic elsewhere does not spoil it.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes whoever waits for a change.
    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let done = act(&mut self.state());
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
        done
    }

    /// Looks at the state again after each change, until `ready` has an answer.
    async fn when<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changes = self.shared.changes.subscribe();
        loop {
            if let Some(answer) = ready(&mut self.state()) {
                return answer;
            }
            if changes.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl MemOwned {
    /// [`OwnedPartition::commit`], at once. After [`CommitError::Unclear`] this claim is spent: a
    /// further commit is [`CommitError::Fenced`].
    pub fn commit_now(
        &mut self,
        outputs: Arc<[Append]>,
        position: Committed,
    ) -> Result<(), CommitError> {
        self.log.change(|state| state.commit(self, outputs, position))
    }
}

impl Log for MemLog {
    fn partitions_fail_apart(&self) -> bool {
        self.state().apart
    }

    fn ensure_topics<'a>(
        &'a self,
        specs: &'a [TopicSpec],
    ) -> LogFuture<'a, Result<Vec<TopicInfo>, Error>> {
        Box::pin(async move { self.ensure_topics_now(specs) })
    }

    fn topics(&self) -> LogFuture<'_, Result<Vec<TopicInfo>, Error>> {
        Box::pin(async move { self.topics_now() })
    }

    fn append(&self, records: Vec<Append>) -> LogFuture<'_, Result<Vec<Offset>, Error>> {
        Box::pin(async move {
            #[cfg(feature = "test-util")]
            self.delay_append().await;
            let mut records = Some(records);
            let appended = self.when(|state| {
                if records.as_deref().is_some_and(|records| state.holds(records)) {
                    return None;
                }
                records.take().map(|records| state.append(records))
            });
            let offsets = appended.await?;
            self.change(|_| ());
            Ok(offsets)
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
            self.when(|state| (!state.hold_reads || state.closed).then_some(())).await;
            self.read_now(from, offset, max_records, max_bytes)
        })
    }

    fn last_record<'a>(
        &'a self,
        from: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Option<Record>, Error>> {
        Box::pin(async move { self.last_record_now(from) })
    }

    fn bounds<'a>(&'a self, of: &'a TopicPartition) -> LogFuture<'a, Result<Bounds, Error>> {
        Box::pin(async move { self.bounds_now(of) })
    }

    fn trim<'a>(
        &'a self,
        of: &'a TopicPartition,
        before: Offset,
    ) -> LogFuture<'a, Result<Bounds, Error>> {
        Box::pin(async move { self.trim_now(of, before) })
    }

    fn wait_past<'a>(
        &'a self,
        of: &'a TopicPartition,
        offset: Offset,
    ) -> LogFuture<'a, Result<(), Error>> {
        Box::pin(self.when(move |state| match state.bounds(of) {
            Ok(bounds) if bounds.end <= offset => None,
            Ok(_) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        }))
    }

    fn claim<'a>(
        &'a self,
        group: &'a str,
        input: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Claim, Error>> {
        Box::pin(async move {
            let (committed, owned) = self.claim_now(group, input)?;
            Ok(Claim { committed, partition: Box::new(owned) })
        })
    }

    fn join(
        self: Arc<Self>,
        spec: GroupSpec,
    ) -> LogFuture<'static, Result<Arc<dyn Member>, Error>> {
        Box::pin(async move { Ok(Arc::new(self.join_now(&spec)?) as Arc<dyn Member>) })
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> LogFuture<'a, Result<Vec<Option<Committed>>, Error>> {
        Box::pin(async move { self.positions_now(group, topic) })
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
            self.close_now();
            Ok(())
        })
    }
}

impl OwnedPartition for MemOwned {
    fn commit(
        &mut self,
        outputs: Arc<[Append]>,
        position: Committed,
    ) -> LogFuture<'_, Result<(), CommitError>> {
        Box::pin(async move {
            self.log.when(|state| (!state.hold_commits || state.closed).then_some(())).await;
            self.commit_now(outputs, position)
        })
    }
}
