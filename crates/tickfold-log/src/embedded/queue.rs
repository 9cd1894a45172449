//! The bounded queue between callers and the writer thread.
//!
//! Appends are refused when it is full, which slows the world outside down. Commits, claims, trims
//! and the creation of topics are always admitted: they are bounded by the number of owners, each
//! of which has at most one under way, and refusing them would punish the side that drains the log.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    Append, Bounds, CommitError, Committed, Error, Offset, TopicInfo, TopicPartition, TopicSpec,
};

/// What callers ask of the writer thread, and where it answers.
#[derive(Debug)]
pub(super) enum Request {
    Append { records: Vec<Append>, answer: Answer<Vec<Offset>> },
    Commit { commit: Commit, answer: oneshot::Sender<Result<(), CommitError>> },
    Claim { group: String, input: TopicPartition, answer: Answer<(Option<Committed>, u64)> },
    Topics { specs: Vec<TopicSpec>, answer: Answer<Vec<TopicInfo>> },
    Trim { of: TopicPartition, before: Offset, answer: Answer<Bounds> },
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// A commit and the claim it is made under.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) group: String,
    pub(super) input: TopicPartition,
    pub(super) epoch: u64,
    pub(super) outputs: Vec<Append>,
    pub(super) position: Committed,
}

/// What the writer gets when it asks for work.
#[derive(Debug)]
pub(super) enum Next {
    /// Requests in the order they came, and their bytes, to be released once answered.
    Group(Vec<Request>, Held),
    /// Nothing came for as long as the writer wanted to wait.
    Idle,
    /// Closed and empty.
    Closed,
}

/// Room of the queue held by requests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) bytes: usize,
    requests: usize,
}

#[derive(Debug)]
pub(super) struct Queue {
    bytes_max: usize,
    requests_max: usize,
    inner: Mutex<Inner>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<(Request, usize)>,
    held: Held,
    closed: bool,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, requests_max: usize) -> Self {
        Self { bytes_max, requests_max, inner: Mutex::default(), filled: Condvar::new() }
    }

    pub(super) fn push(&self, request: Request) -> Result<(), Refused> {
        let bytes = request.bytes();
        let mut inner = self.inner();
        if inner.closed {
            return Err(Refused::Closed);
        }
        let bounded = matches!(request, Request::Append { .. });
        let over = inner.held.bytes.saturating_add(bytes) > self.bytes_max
            || inner.held.requests >= self.requests_max;
        // A single append larger than the whole queue is still taken by an empty one.
        if bounded && over && inner.held.requests > 0 {
            return Err(Refused::Full);
        }
        inner.held.bytes = inner.held.bytes.saturating_add(bytes);
        inner.held.requests += 1;
        inner.waiting.push_back((request, bytes));
        drop(inner);
        self.filled.notify_one();
        Ok(())
    }

    /// Everything that waits, up to `bytes_max` but at least one request.
    pub(super) fn next(&self, bytes_max: usize, patience: Option<Duration>) -> Next {
        let mut inner = self.inner();
        while inner.waiting.is_empty() {
            if inner.closed {
                return Next::Closed;
            }
            let Some(patience) = patience else {
                inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.filled.wait_timeout(inner, patience);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            inner = guard;
            if timeout.timed_out() && inner.waiting.is_empty() {
                return Next::Idle;
            }
        }
        let mut group = Vec::new();
        let mut held = Held::default();
        while let Some((request, bytes)) = inner.waiting.pop_front() {
            held.bytes = held.bytes.saturating_add(bytes);
            held.requests += 1;
            group.push(request);
            let next = inner.waiting.front().map_or(0, |(_, bytes)| *bytes);
            if held.bytes.saturating_add(next) > bytes_max {
                break;
            }
        }
        Next::Group(group, held)
    }

    /// Gives back the room of answered requests; returns the bytes still held.
    pub(super) fn release(&self, held: Held) -> usize {
        let mut inner = self.inner();
        inner.held.bytes = inner.held.bytes.saturating_sub(held.bytes);
        inner.held.requests = inner.held.requests.saturating_sub(held.requests);
        inner.held.bytes
    }

    /// Takes no more requests; those that wait are still given out.
    pub(super) fn close(&self) {
        self.inner().closed = true;
        self.filled.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner().closed
    }

    /// Drops what waits: the writer is gone, and dropping the answers tells the callers.
    pub(super) fn abandon(&self) {
        self.close();
        let waiting = std::mem::take(&mut self.inner().waiting);
        drop(waiting);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    /// What it holds of the queue's room: the records, and something for each one.
    fn bytes(&self) -> usize {
        const EACH: usize = 128;
        let records = match self {
            Self::Append { records, .. } => records.as_slice(),
            Self::Commit { commit, .. } => commit.outputs.as_slice(),
            Self::Claim { .. } | Self::Topics { .. } | Self::Trim { .. } => &[],
        };
        EACH + records.iter().map(|r| EACH + r.size_bytes()).sum::<usize>()
    }
}
