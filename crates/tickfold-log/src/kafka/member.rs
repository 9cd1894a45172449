//! A member of a consumer group: what it is assigned, and the right of its claims to commit.
//!
//! The group protocol runs on a thread (`rebalance`), which tells changes and never waits for
//! anybody. Claims look at what it wrote down here:
//!
//! - A partition taken away is struck off before librdkafka is told to go on, so a generation it
//!   enters later never comes with a partition of an earlier one.
//! - A claim belongs to one assignment of its partition. If the partition goes and comes back, the
//!   claim stays dead.
//! - A commit carries member id and generation, read while the partition is assigned and found the
//!   same before and after. The brokers refuse it once the group has moved on.

mod rebalance;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc as std_mpsc},
    time::{Duration, Instant},
};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use self::rebalance::{Command, Rebalances};
use super::{Inner, calls::spawn, convert::unavailable, native::Stamp, owned};
use crate::{
    Change, Claim, Departure, Error, GroupSpec, LogFuture, Member, PartitionId, TopicPartition,
};

/// The pause before a member without a generation looks for one again.
const PAUSE: Duration = Duration::from_millis(5);

/// A member of a group on Kafka.
#[derive(Debug)]
pub(super) struct KafkaMember {
    inner: Arc<Inner>,
    spec: GroupSpec,
    seat: Arc<Seat>,
    changes: AsyncMutex<mpsc::UnboundedReceiver<Result<Change, Error>>>,
    commands: std_mpsc::Sender<Command>,
}

/// What the thread of a member and its claims share.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// The consumer, while the membership lasts. The thread owns it, since it must know when it is
    /// gone.
    consumer: Mutex<Weak<BaseConsumer<Rebalances>>>,
    assigned: Mutex<Assigned>,
}

/// Assigned partitions, each with the number of its assignment.
#[derive(Debug, Default)]
struct Assigned {
    partitions: BTreeMap<PartitionId, u64>,
    assignments: u64,
}

/// The right to commit for a partition that comes with an assignment.
#[derive(Debug, Clone)]
pub(super) struct Tenure {
    seat: Arc<Seat>,
    partition: PartitionId,
    assignment: u64,
}

/// Why a tenure cannot speak for its group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Speechless {
    /// The group is between two generations, and the partition stays meanwhile.
    Now,
    /// The partition was taken away.
    ForGood,
}

impl KafkaMember {
    /// Joins; what is assigned comes later.
    pub(super) fn join(inner: &Arc<Inner>, spec: GroupSpec) -> Result<Arc<Self>, Error> {
        let consumer = inner.options.member(&spec.group, &spec.instance);
        let consumer = consumer.create_with_context(Rebalances::default());
        let failed = |error| unavailable(format!("join group {}", spec.group), &error);
        let consumer: BaseConsumer<Rebalances> = consumer.map_err(failed)?;
        consumer.subscribe(&[&spec.topic]).map_err(failed)?;
        let consumer = Arc::new(consumer);
        inner.keeper.keep("member", &consumer);
        let seat = Arc::new(Seat::default());
        *lock(&seat.consumer) = Arc::downgrade(&consumer);
        let (tell, changes) = mpsc::unbounded_channel();
        let (commands, commanded) = std_mpsc::channel();
        let thread = rebalance::Thread::new(inner, &spec, consumer, Arc::clone(&seat), tell);
        spawn("tickfold-kafka-member", move || thread.run(&commanded))?;
        let inner = Arc::clone(inner);
        Ok(Arc::new(Self { inner, spec, seat, changes: AsyncMutex::new(changes), commands }))
    }

    fn input(&self, partition: PartitionId) -> TopicPartition {
        TopicPartition::new(self.spec.topic.as_str(), partition)
    }

    /// The present assignment of the partition, once the member has a generation.
    async fn tenure(&self, partition: PartitionId) -> Result<Tenure, Error> {
        let not_assigned = || Error::NotAssigned(self.input(partition));
        let tenure = self.seat.tenure(partition).ok_or_else(not_assigned)?;
        let deadline = Instant::now() + self.inner.options.claim_timeout;
        loop {
            match tenure.metadata() {
                Ok(_) => return Ok(tenure),
                Err(Speechless::ForGood) => return Err(not_assigned()),
                Err(Speechless::Now) if Instant::now() < deadline => {}
                Err(Speechless::Now) => {
                    let reason = format!("group {} is between generations", self.spec.group);
                    return Err(Error::Unavailable { reason });
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Member for KafkaMember {
    fn next(&self) -> LogFuture<'_, Result<Change, Error>> {
        Box::pin(
            async move { self.changes.lock().await.recv().await.unwrap_or(Err(Error::Closed)) },
        )
    }

    fn claim(&self, partition: PartitionId) -> LogFuture<'_, Result<Claim, Error>> {
        Box::pin(async move {
            let input = self.input(partition);
            self.inner.find(&input).await?;
            let tenure = self.tenure(partition).await?;
            let claim = owned::claim(&self.inner, &self.spec.group, &input, Some(tenure.clone()));
            let claim = claim.await?;
            // What the claim fenced may belong to a successor; it claims again.
            if tenure.is_over() { Err(Error::NotAssigned(input)) } else { Ok(claim) }
        })
    }

    fn release(&self, partitions: &BTreeSet<PartitionId>) {
        // Without the thread there is nothing left to release.
        let _ = self.commands.send(Command::Release(partitions.clone()));
    }

    fn go(&self, how: Departure) -> LogFuture<'_, ()> {
        Box::pin(async move {
            let (done, gone) = oneshot::channel();
            if self.commands.send(Command::Go(how, done)).is_ok() {
                // An error says that the thread has ended, which is what is awaited.
                let _ = tokio::time::timeout(self.inner.options.call_timeout, gone).await;
            }
        })
    }
}

impl Seat {
    fn grant(&self, partitions: &BTreeSet<PartitionId>) {
        let mut assigned = lock(&self.assigned);
        assigned.assignments += 1;
        let assignment = assigned.assignments;
        assigned.partitions.extend(partitions.iter().map(|partition| (*partition, assignment)));
    }

    fn strike(&self, partitions: &BTreeSet<PartitionId>) {
        lock(&self.assigned).partitions.retain(|partition, _| !partitions.contains(partition));
    }

    /// Strikes everything off and says what it was.
    fn strike_all(&self) -> BTreeSet<PartitionId> {
        std::mem::take(&mut lock(&self.assigned).partitions).into_keys().collect()
    }

    fn tenure(self: &Arc<Self>, partition: PartitionId) -> Option<Tenure> {
        let assignment = *lock(&self.assigned).partitions.get(&partition)?;
        Some(Tenure { seat: Arc::clone(self), partition, assignment })
    }
}

impl Tenure {
    /// True once the partition was taken away, also if it came back.
    pub(super) fn is_over(&self) -> bool {
        let assigned = lock(&self.seat.assigned);
        assigned.partitions.get(&self.partition) != Some(&self.assignment)
    }

    /// In whose name to commit.
    pub(super) fn metadata(&self) -> Result<ConsumerGroupMetadata, Speechless> {
        let consumer = lock(&self.seat.consumer).upgrade();
        let metadata = consumer.as_deref().and_then(|consumer| {
            let before = Stamp::of(consumer)?;
            let metadata = consumer.group_metadata()?;
            // Read a third time by the binding in between, it can only be this one.
            (Stamp::of(consumer)? == before).then_some(metadata)
        });
        // Looked at last: a generation that came after the loss would otherwise pass.
        if self.is_over() { Err(Speechless::ForGood) } else { metadata.ok_or(Speechless::Now) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
