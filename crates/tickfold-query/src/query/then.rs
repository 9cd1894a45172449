//! Lookups in the state of then: which partitions are folded again, and up to where.
//!
//! The fold itself is done by whoever has log, checkpoints and a disk ([`History`]); what comes back
//! is read by the code that reads the live state.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;
use tickfold_store::Snapshot;
use tokio::time::Instant;

use super::Query;
use super::find::bound;
use super::partitions::{Asked, Snapshots};
use crate::call::Call;
use crate::metrics;
use crate::reasons::{Failure, Reason};

/// Makes states of then.
pub trait History: std::fmt::Debug + Send + Sync {
    /// The state of a partition at a moment, before the deadline or not at all. Dropping the future
    /// ends the work.
    fn at(
        &self,
        partition: u32,
        moment: Moment,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Box<dyn Snapshot>, NotThen>>;
}

/// A moment of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Everything below this offset.
    Offset(u64),
    /// Everything appended up to this time.
    Time(Timestamp),
}

/// Why there is no state of then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotThen {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// What is asked, of which state.
#[derive(Debug)]
pub(super) struct Lookup {
    /// `None`: the live one.
    then: Option<(Option<u32>, Moment)>,
    min_position: Vec<pb::Position>,
    asked: Asked,
    /// It reads a few rows.
    is_short: bool,
}

impl Lookup {
    pub(super) fn of(
        at: Option<pb::Moment>,
        min_position: Vec<pb::Position>,
        asked: Asked,
    ) -> Result<Self, Failure> {
        use pb::moment::Moment as Told;
        let then = at.map(|at| match at.moment {
            Some(Told::Offset(offset)) => Ok((None, Moment::Offset(offset))),
            Some(Told::Position(at)) => Ok((Some(at.partition), Moment::Offset(at.offset))),
            Some(Told::Time(time)) => {
                let time = bound("at.time", Some(&time))?;
                Ok((None, Moment::Time(time.unwrap_or(Timestamp::from_millis(0)))))
            }
            None => Err(Failure::argument("at", "is empty")),
        });
        Ok(Self { then: then.transpose()?, min_position, asked, is_short: false })
    }

    /// The same, of something so small that reading it from memory holds up no other call.
    pub(super) fn short(self) -> Self {
        Self { is_short: true, ..self }
    }
}

/// Refuses an offset without its partition where several nodes have what it is about.
pub(super) fn one_has(at: Option<&pb::Moment>, nodes: usize) -> Result<(), Failure> {
    let moment = at.and_then(|at| at.moment.as_ref());
    if nodes > 1 && matches!(moment, Some(pb::moment::Moment::Offset(_))) {
        return Err(ambiguous("several nodes"));
    }
    Ok(())
}

fn ambiguous(who: &str) -> Failure {
    let what = format!(
        "{who} have it, and an offset is one of a partition: name it by partition and offset, or a \
         time"
    );
    Failure::argument("at.offset", what)
}

impl Query {
    /// Reads the live state, or that of then. `holds` tells of a live partition whether it knows what
    /// is looked for. `read` may run twice: what is not in memory is read again from the disk.
    pub(super) async fn look_up<R: Send + 'static>(
        &self,
        call: Call,
        lookup: Lookup,
        holds: impl Fn(&dyn Snapshot) -> Result<bool, tickfold_store::Error> + Send + 'static,
        read: impl Fn(Snapshots) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let read = move |snapshots: Snapshots| {
            let as_of = snapshots.as_of();
            read(snapshots).map_err(|failure| failure.reflecting(Some(as_of)))
        };
        if lookup.then.is_none() && lookup.is_short {
            self.reached(&call, &lookup.min_position).await?;
            let snapshots = self.partitions.snapshots_in_memory(&lookup.asked, &call);
            match snapshots.and_then(&read) {
                Err(failure) if failure.is_not_in_memory() => metrics::lookup("disk"),
                answered => {
                    metrics::lookup("memory");
                    return answered;
                }
            }
        }
        self.look_up_at(&call, lookup, holds, read).await
    }

    pub(super) async fn look_up_at<R: Send + 'static>(
        &self,
        call: &Call,
        lookup: Lookup,
        holds: impl Fn(&dyn Snapshot) -> Result<bool, tickfold_store::Error> + Send + 'static,
        read: impl FnOnce(Snapshots) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let Lookup { then, min_position, asked, is_short: _ } = lookup;
        let Some((partition, moment)) = then else {
            return self.read_at(call, min_position, asked, read).await;
        };
        let mut partitions = self.partitions.of(&asked);
        match partition {
            Some(named) if !self.partitions.of(&Asked::All).contains(&named) => {
                return Err(Failure::argument("at.position.partition", "is no partition"));
            }
            Some(named) => partitions.retain(|partition| *partition == named),
            None => {}
        }
        let only = call.only.as_ref();
        partitions.retain(|partition| only.is_none_or(|only| only.contains(partition)));
        if partition.is_none() {
            let held = move |snapshots: Snapshots| {
                let mut held = BTreeSet::new();
                for (partition, snapshot) in snapshots.each() {
                    if holds(snapshot)? {
                        held.insert(partition);
                    }
                }
                Ok(held)
            };
            let part = call.part(&partitions);
            partitions = self.read_at(&part, min_position, asked, held).await?;
        }
        if let (None, Moment::Offset(_), true) = (partition, moment, partitions.len() > 1) {
            return Err(ambiguous(&format!("partitions {partitions:?}")));
        }
        let mut snapshots = Vec::new();
        for partition in partitions {
            let made = self.history.at(partition, moment, call.deadline);
            let Some(made) = call.shutdown.run_until_cancelled(made).await else {
                return Err(Failure::new(Reason::ShuttingDown, "the server is stopping"));
            };
            let made = made.map_err(|NotThen { reason, message }| {
                Failure::new(reason, message).with("partition", partition)
            });
            snapshots.push((partition, made?));
        }
        let (partitions, call) = (Arc::clone(&self.partitions), call.clone());
        let task = tokio::task::spawn_blocking(move || {
            read(Snapshots::of_then(snapshots, &partitions, &call))
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a read panicked");
            Err(Failure::new(Reason::Defect, "the read failed"))
        })
    }
}
