//! A claim as its holder sees it, and the thread behind it.
//!
//! A claim is one transactional producer (`committer`) on a thread of its own, since every step of a
//! transaction blocks. The handle sends it one commit at a time. A commit whose future was dropped
//! goes on; since nobody saw its outcome, the handle takes no further one.
//!
//! librdkafka 2.12 does not bound every step. While it adds a position it looks for the group's
//! coordinator, and where the broker it asks is let go of meanwhile, nothing may ever wake it again
//! (its issue 5511, open in November 2026). The end of a transaction, whichever, it tries for as long as the
//! brokers are away. So these steps have limits here. A commit that passes one is
//! in doubt like any other; its thread stays behind, fenced by the next claim, until a connection
//! changes and librdkafka goes on.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use tokio::sync::{oneshot, watch};

use super::{
    Inner,
    calls::spawn,
    committer::{Committer, Speaker},
    context::Quiet,
    convert::unavailable,
    keeper::Keeper,
    member::Tenure,
    places::Checked,
};
use crate::{
    Append, Claim, CommitError, Committed, Error, LogFuture, OwnedPartition, TopicPartition,
};

/// A commit on its way to the thread.
pub(super) struct Request {
    pub(super) outputs: Checked,
    pub(super) position: Committed,
    pub(super) answer: oneshot::Sender<Result<(), CommitError>>,
    /// Held until it is answered: closing the log waits for it.
    pub(super) open: Arc<Open>,
}

/// Counts commits under way.
#[derive(Debug)]
pub(super) struct Open {
    count: Arc<watch::Sender<usize>>,
    counts: AtomicBool,
}

impl Open {
    pub(super) fn new(count: &Arc<watch::Sender<usize>>) -> Arc<Self> {
        count.send_modify(|count| *count += 1);
        Arc::new(Self { count: Arc::clone(count), counts: AtomicBool::new(true) })
    }

    /// Counts no longer, whoever holds it.
    fn give_up(&self) {
        if self.counts.swap(false, Ordering::AcqRel) {
            self.count.send_modify(|count| *count = count.saturating_sub(1));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Until when a step that nothing else bounds may take.
#[derive(Debug, Default)]
pub(super) struct Unbounded(Mutex<Option<Instant>>);

impl Unbounded {
    /// Does the step, within a limit that others look after.
    pub(super) fn run<T>(&self, limit: Duration, step: impl FnOnce() -> T) -> T {
        *self.until() = Some(Instant::now() + limit);
        let outcome = step();
        *self.until() = None;
        outcome
    }

    fn is_over(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() > until)
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claimed partition.
pub(super) struct Owned {
    inner: Arc<Inner>,
    requests: mpsc::Sender<Request>,
    /// Set while a commit is under way: a future that was dropped leaves it set.
    in_doubt: Arc<AtomicBool>,
    unbounded: Arc<Unbounded>,
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owned").finish_non_exhaustive()
    }
}

impl OwnedPartition for Owned {
    fn commit(
        &mut self,
        outputs: Arc<[Append]>,
        position: Committed,
    ) -> LogFuture<'_, Result<(), CommitError>> {
        Box::pin(async move {
            let aborted = |error: Error| CommitError::Aborted { reason: error.to_string() };
            let unclear = |reason: &str| CommitError::Unclear { reason: reason.to_owned() };
            if self.in_doubt.load(Ordering::Acquire) {
                return Err(unclear("an earlier commit of this claim was not waited for"));
            }
            position.check()?;
            let outputs = self.inner.check_appends(outputs).await.map_err(aborted)?;
            let open = Open::new(&self.inner.commits);
            // Behind the count, so that a close that did not see it is seen here.
            self.inner.check_open().map_err(aborted)?;
            self.in_doubt.store(true, Ordering::Release);
            let (answer, mut answered) = oneshot::channel();
            let request = Request { outputs, position, answer, open: Arc::clone(&open) };
            self.requests.send(request).map_err(|_| unclear("the claim has ended"))?;
            let look = self.inner.options.call_timeout / 4;
            let outcome = loop {
                match tokio::time::timeout(look, &mut answered).await {
                    Ok(outcome) => break outcome,
                    Err(_) if self.unbounded.is_over() => {
                        metrics::counter!(crate::metrics::COMMITS_ABANDONED).increment(1);
                        open.give_up();
                        return Err(unclear("the client does not come back from it"));
                    }
                    Err(_) => {}
                }
            };
            self.in_doubt.store(false, Ordering::Release);
            outcome.unwrap_or_else(|_| Err(unclear("the claim has ended")))
        })
    }
}

/// Claims `input` for `group`, as one of its members or from outside.
pub(super) async fn claim(
    inner: &Arc<Inner>,
    group: &str,
    input: &TopicPartition,
    tenure: Option<Tenure>,
) -> Result<Claim, Error> {
    let (options, group, input) = (inner.options.clone(), group.to_owned(), input.clone());
    let speaker = Speaker { group: inner.group(&group)?, tenure };
    let keeper = Arc::clone(&inner.keeper);
    let (requests, waiting) = mpsc::channel();
    let unbounded = Arc::<Unbounded>::default();
    let marks = Arc::clone(&unbounded);
    let (answer, answered) = oneshot::channel();
    spawn("tickfold-kafka-commit", move || {
        match Committer::claim(&options, &keeper, speaker, &group, input, marks) {
            Ok((committed, committer)) => {
                if answer.send(Ok(committed)).is_ok() {
                    committer.run(&waiting);
                }
            }
            // Whoever asked may be gone.
            Err(error) => _ = answer.send(Err(error)),
        }
    })?;
    let committed = answered.await.map_err(|_| Error::Closed)??;
    let in_doubt = Arc::default();
    let owned = Owned { inner: Arc::clone(inner), requests, in_doubt, unbounded };
    Ok(Claim { committed, partition: Box::new(owned) })
}

/// Consumers that speak for groups, one per group, made when first needed.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<String, Arc<BaseConsumer<Quiet>>>>);

impl Groups {
    /// That of a group, made with this configuration if there is none yet.
    pub(super) fn get(
        &self,
        group: &str,
        keeper: &Keeper,
        config: impl FnOnce() -> ClientConfig,
    ) -> Result<Arc<BaseConsumer<Quiet>>, Error> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = groups.get(group) {
            return Ok(Arc::clone(consumer));
        }
        let consumer = config().create_with_context(Quiet);
        let consumer: BaseConsumer<Quiet> =
            consumer.map_err(|error| unavailable(format!("start for group {group}"), &error))?;
        let consumer = Arc::new(consumer);
        keeper.keep("group", &consumer);
        groups.insert(group.to_owned(), Arc::clone(&consumer));
        Ok(consumer)
    }

    /// Lets go of all of them.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}
