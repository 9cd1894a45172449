//! Tail: the records of a topic as a stream.
//!
//! The stream pulls: a batch is read when the connection has room for it, and none before. So a
//! slow client holds at most one batch, needs no task or channel of its own, and one that goes away
//! ends the tail by dropping it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, future, stream};
use tickfold_log::{Bounds, Log, Record, TopicPartition};
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::tail_request::Start;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::call::Call;
use crate::convert;
use crate::metrics::{self, Counted};
use crate::reasons::{Failure, Reason};

/// Records read at once, and their bytes.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// Pause after a read that found nothing although the end is further on: the log was trimmed
/// meanwhile, or ends in records that readers never see.
const GAP_PAUSE: Duration = Duration::from_millis(100);

/// A tail between two records.
#[derive(Debug)]
pub(super) struct Tail {
    log: Arc<dyn Log>,
    /// Partitions still read.
    cursors: Vec<Cursor>,
    /// Whose turn it is.
    turn: usize,
    /// Read and not sent yet.
    batch: VecDeque<(u32, Record)>,
    /// Records that may still be sent.
    left: Option<u32>,
    shutdown: CancellationToken,
    ended: bool,
    _slot: Arc<OwnedSemaphorePermit>,
    _open: Counted,
}

/// The place in one partition.
#[derive(Debug)]
struct Cursor {
    from: TopicPartition,
    next: u64,
    /// Where to stop, with `until_end`.
    stop: Option<u64>,
}

impl Tail {
    /// Finds the topic, and where to begin and end in each partition, as the log is now.
    pub(super) async fn open(
        log: Arc<dyn Log>,
        request: pb::TailRequest,
        call: Call,
    ) -> Result<Self, Failure> {
        if request.topic.is_empty() {
            return Err(Failure::argument("topic", "is required"));
        }
        let topics = log.topics().await?;
        let Some(topic) = topics.into_iter().find(|topic| topic.spec.name == request.topic) else {
            let what = format!("no topic {}", request.topic);
            return Err(Failure::new(Reason::TopicNotFound, what));
        };
        let mut partitions: Vec<(u32, Bounds)> = (0..).zip(topic.bounds).collect();
        if !request.partitions.is_empty() {
            for partition in &request.partitions {
                known(*partition, &partitions)?;
            }
            partitions.retain(|(partition, _)| request.partitions.contains(partition));
        }
        if let Some(Start::FromPositions(start)) = &request.start {
            for (index, position) in start.positions.iter().enumerate() {
                let field = format!("from_positions.positions[{index}].partition");
                let mut before = start.positions.iter().take(index);
                if before.any(|other| other.partition == position.partition) {
                    return Err(Failure::argument(field, "is named twice"));
                }
                known(position.partition, &partitions)?;
            }
        }
        let cursor = |(partition, bounds): (u32, Bounds)| Cursor {
            from: TopicPartition::new(request.topic.as_str(), partition),
            next: start(request.start.as_ref(), partition, bounds),
            stop: request.until_end.then_some(bounds.end),
        };
        let Call { slot, shutdown, .. } = call;
        Ok(Self {
            cursors: partitions.into_iter().map(cursor).collect(),
            turn: 0,
            batch: VecDeque::new(),
            left: (request.limit > 0).then_some(request.limit),
            log,
            shutdown,
            ended: false,
            _slot: slot,
            _open: metrics::tail(),
        })
    }

    /// The records as they come.
    pub(super) fn stream(self) -> impl Stream<Item = Result<pb::TailResponse, Status>> {
        stream::unfold(self, |mut tail| async move {
            if tail.ended {
                return None;
            }
            let shutdown = tail.shutdown.clone();
            let next = shutdown.run_until_cancelled(tail.next()).await;
            // A stream that just ended would look complete.
            let stopping = || Err(Failure::new(Reason::ShuttingDown, "the server is stopping"));
            let item = next.unwrap_or_else(stopping);
            tail.ended = item.is_err();
            let record = item.map_err(Status::from).transpose()?;
            Some((record.map(|record| pb::TailResponse { record: Some(record) }), tail))
        })
    }

    /// The next record; `None` at the end.
    async fn next(&mut self) -> Result<Option<pb::Record>, Failure> {
        if self.left == Some(0) {
            return Ok(None);
        }
        while self.batch.is_empty() {
            if self.cursors.is_empty() {
                return Ok(None);
            }
            self.fill().await?;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        Ok(self.batch.pop_front().map(|(partition, record)| told(partition, record)))
    }

    /// Reads a batch, each partition in its turn; waits where no partition has anything.
    async fn fill(&mut self) -> Result<(), Failure> {
        let mut gap = false;
        for _ in 0..self.cursors.len() {
            self.turn = (self.turn + 1) % self.cursors.len().max(1);
            let Some(cursor) = self.cursors.get_mut(self.turn) else { break };
            let read = self.log.read(&cursor.from, cursor.next, BATCH_RECORDS, BATCH_BYTES);
            let records = read.await?;
            let stop = cursor.stop.unwrap_or(u64::MAX);
            // The stop was the end when the call came, so all of it is readable; what lies before it and is not
            // read may be records that readers never see.
            let done = cursor.stop.is_some_and(|stop| {
                records.last().is_none_or(|last| last.offset.saturating_add(1) >= stop)
            });
            if let Some(last) = records.last() {
                cursor.next = last.offset.saturating_add(1);
            } else {
                let bounds = self.log.bounds(&cursor.from).await?;
                gap |= bounds.end > cursor.next;
                cursor.next = cursor.next.max(bounds.start);
            }
            let partition = cursor.from.partition;
            let records = records.into_iter().filter(|record| record.offset < stop);
            self.batch.extend(records.map(|record| (partition, record)));
            if done {
                self.cursors.remove(self.turn);
                return Ok(());
            }
            if !self.batch.is_empty() {
                return Ok(());
            }
        }
        if gap {
            tokio::time::sleep(GAP_PAUSE).await;
            return Ok(());
        }
        let waits = self.cursors.iter().map(|cursor| self.log.wait_past(&cursor.from, cursor.next));
        let (woken, _, _) = future::select_all(waits).await;
        Ok(woken?)
    }
}

fn known(partition: u32, partitions: &[(u32, Bounds)]) -> Result<(), Failure> {
    if partitions.iter().any(|(known, _)| *known == partition) {
        return Ok(());
    }
    let what = format!("no partition {partition} is read in this topic");
    Err(Failure::new(Reason::PartitionNotFound, what).with("partition", partition))
}

fn start(start: Option<&Start>, partition: u32, bounds: Bounds) -> u64 {
    match start {
        None | Some(Start::FromEnd(())) => bounds.end,
        Some(Start::FromBeginning(())) => bounds.start,
        Some(Start::FromPositions(start)) => {
            let named = start.positions.iter().find(|position| position.partition == partition);
            named.map_or(bounds.start, |position| position.offset.max(bounds.start))
        }
    }
}

fn told(partition: u32, record: Record) -> pb::Record {
    let header = |header: tickfold_log::Header| pb::Header {
        name: header.name.into_owned(),
        value: header.value,
    };
    pb::Record {
        partition,
        offset: record.offset,
        timestamp: Some(convert::time(tickfold_core::time::Timestamp::from_millis(
            record.timestamp_ms,
        ))),
        key: record.key,
        headers: record.headers.into_iter().map(header).collect(),
        value: record.value,
    }
}
