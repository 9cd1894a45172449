//! The bounded queue between callers and the writer thread.
//!
//! Appends are refused when it is full of appends, which slows the world outside down. Commits,
//! claims, trims and the creation of topics are always admitted: they are bounded by the number of
//! owners, each of which has at most one under way, and refusing them would punish the side that drains
//! the log. They take no room from appends: owners that catch up commit as much as they can, and
//! webhooks would be turned away for as long.
//!
//! For the same reason appends do not wait behind them. Each owner that catches up has megabytes in
//! here, and whoever waits for an append has a deadline. A quarter of a group is the others', and one of
//! them at least, so that appends do not keep them away either.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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
    pub(super) outputs: Arc<[Append]>,
    pub(super) position: Committed,
}

/// What the writer gets when it asks for work.
#[derive(Debug)]
pub(super) enum Next {
    /// Appends in the order they came, then the others in theirs, and their bytes, to be released once
    /// answered.
    Group(Vec<Request>, Held),
    /// Nothing came for as long as the writer wanted to wait.
    Idle,
    /// Closed and empty.
    Closed,
}

/// What requests hold of the queue.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    /// All of them.
    pub(super) bytes: usize,
    /// The appends, whose room is limited.
    append_bytes: usize,
    appends: usize,
}

impl Held {
    fn by(request: &Request) -> Self {
        let bytes = request.bytes();
        match request {
            Request::Append { .. } => Self { bytes, append_bytes: bytes, appends: 1 },
            _ => Self { bytes, ..Self::default() },
        }
    }

    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.append_bytes = self.append_bytes.saturating_add(other.append_bytes);
        self.appends = self.appends.saturating_add(other.appends);
    }

    fn subtract(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.append_bytes = self.append_bytes.saturating_sub(other.append_bytes);
        self.appends = self.appends.saturating_sub(other.appends);
    }
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
    appends: VecDeque<(Request, Held)>,
    others: VecDeque<(Request, Held)>,
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
        let wanted = Held::by(&request);
        let mut inner = self.inner();
        if inner.closed {
            return Err(Refused::Closed);
        }
        let over = inner.held.append_bytes.saturating_add(wanted.append_bytes) > self.bytes_max
            || inner.held.appends >= self.requests_max;
        // A single append larger than the whole queue is still taken by an empty one.
        if wanted.appends > 0 && over && inner.held.appends > 0 {
            return Err(Refused::Full);
        }
        inner.held.add(wanted);
        let waiting = match wanted.appends {
            0 => &mut inner.others,
            _ => &mut inner.appends,
        };
        waiting.push_back((request, wanted));
        drop(inner);
        self.filled.notify_one();
        Ok(())
    }

    /// What waits, appends first, up to `bytes_max`; of the others a quarter of that in any case, and of
    /// each kind at least one request.
    pub(super) fn next(&self, bytes_max: usize, patience: Option<Duration>) -> Next {
        let mut inner = self.inner();
        while inner.is_empty() {
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
            if timeout.timed_out() && inner.is_empty() {
                return Next::Idle;
            }
        }
        let (mut group, mut held) = (Vec::new(), Held::default());
        let mut take = |waiting: &mut VecDeque<(Request, Held)>, bytes_max: usize| {
            while let Some((request, of)) = waiting.pop_front() {
                held.add(of);
                group.push(request);
                let next = waiting.front().map_or(0, |(_, of)| of.bytes);
                if held.bytes.saturating_add(next) > bytes_max {
                    break;
                }
            }
            held.bytes
        };
        let appended = take(&mut inner.appends, bytes_max);
        take(&mut inner.others, bytes_max.max(appended.saturating_add(bytes_max / 4)));
        Next::Group(group, held)
    }

    /// Gives back the room of answered requests; returns the bytes still held.
    pub(super) fn release(&self, held: Held) -> usize {
        let mut inner = self.inner();
        inner.held.subtract(held);
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
        let mut inner = self.inner();
        let waiting = (std::mem::take(&mut inner.appends), std::mem::take(&mut inner.others));
        drop(inner);
        drop(waiting);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.others.is_empty()
    }
}

impl Request {
    /// What it holds of the queue's room: the records, and something for each one.
    fn bytes(&self) -> usize {
        const EACH: usize = 128;
        let records = match self {
            Self::Append { records, .. } => records.as_slice(),
            Self::Commit { commit, .. } => &commit.outputs,
            Self::Claim { .. } | Self::Topics { .. } | Self::Trim { .. } => &[],
        };
        EACH + records.iter().map(|r| EACH + r.size_bytes()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: usize) -> Vec<Append> {
        let to = TopicPartition::new("t", 0);
        let value = Some(bytes::Bytes::from(vec![0; bytes]));
        vec![Append { to, key: None, value, headers: Vec::new(), timestamp_ms: None }]
    }

    fn append(bytes: usize) -> Request {
        Request::Append { records: records(bytes), answer: oneshot::channel().0 }
    }

    #[test]
    fn a_group_ends_before_its_bytes_exceed_the_bound_and_has_one_request_at_least() {
        let queue = Queue::new(usize::MAX, usize::MAX);
        let one = append(1_000).bytes();
        for bytes in [1_000, 1_000, 1_000, 9_000, 1_000] {
            queue.push(append(bytes)).unwrap();
        }
        let sizes: Vec<_> =
            std::iter::from_fn(|| match queue.next(2 * one, Some(Duration::ZERO)) {
                Next::Group(group, held) => Some((group.len(), held.bytes > 2 * one)),
                Next::Idle | Next::Closed => None,
            })
            .collect();
        assert_eq!(sizes, [(2, false), (1, false), (1, true), (1, false)]);
    }

    fn commit(bytes: usize) -> Request {
        let commit = Commit {
            group: String::new(),
            input: TopicPartition::new("t", 0),
            epoch: 0,
            outputs: records(bytes).into(),
            position: Committed { offset: 0, metadata: String::new() },
        };
        Request::Commit { commit, answer: oneshot::channel().0 }
    }

    /// Groups as words: `a` is an append, `c` a commit.
    fn groups(queue: &Queue, bytes_max: usize) -> Vec<String> {
        let groups = std::iter::from_fn(|| match queue.next(bytes_max, Some(Duration::ZERO)) {
            Next::Group(group, _) => Some(group),
            Next::Idle | Next::Closed => None,
        });
        let word = |request: &Request| match request {
            Request::Append { .. } => 'a',
            _ => 'c',
        };
        groups.map(|group| group.iter().map(word).collect()).collect()
    }

    #[test]
    fn appends_do_not_wait_behind_commits_and_keep_none_away() {
        let (queue, one) = (Queue::new(usize::MAX, usize::MAX), append(1_000).bytes());
        for _ in 0..4 {
            queue.push(commit(9_000)).unwrap();
        }
        queue.push(append(1_000)).unwrap();
        queue.push(append(1_000)).unwrap();
        assert_eq!(groups(&queue, 4 * one), ["aac", "c", "c", "c"]);
        for _ in 0..12 {
            queue.push(append(1_000)).unwrap();
            queue.push(commit(1_000)).unwrap();
        }
        // The others' quarter is two of eight.
        assert_eq!(groups(&queue, 8 * one)[0], "aaaaaaaacc");
        groups(&queue, usize::MAX);
        for _ in 0..6 {
            queue.push(append(1_000)).unwrap();
            queue.push(commit(1_000)).unwrap();
        }
        assert_eq!(groups(&queue, 4 * one), ["aaaac", "aacc", "ccc"]);
    }
}
