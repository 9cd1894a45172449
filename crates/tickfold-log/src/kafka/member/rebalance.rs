//! The thread that speaks the group protocol: librdkafka's events in, changes out.
//!
//! librdkafka asks for each change by an event and waits until the assignment is changed as it asks;
//! heartbeats go on meanwhile, and how long it waits is bounded by `max.poll.interval.ms` only where
//! nobody polls. So a revocation is told at once and carried out when all of it was released, and
//! this thread polls on. What was lost is struck off first, carried out, and then told.
//!
//! Records are never read here: partitions are paused as soon as they are assigned.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::{Offset as KafkaOffset, TopicPartitionList},
    types::{RDKafka, RDKafkaRespErr},
};
use tokio::sync::{mpsc, oneshot};

use super::{Seat, lock};
use crate::{
    Change, Departure, Error, GroupSpec, PartitionId,
    kafka::{
        Inner,
        context::{log, trouble},
        convert::partition_id,
        native::{Native, Stamp},
    },
};

/// How long a poll waits for events: what a release or a departure may have to wait.
const POLL: Duration = Duration::from_millis(20);

/// The pause between two looks whether nobody else holds the consumer any more.
const SHARED_PAUSE: Duration = Duration::from_millis(1);

/// How long a departure waits until the group was told, before the client is closed all the same.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What others ask of the thread.
#[derive(Debug)]
pub(super) enum Command {
    /// These were let go of.
    Release(BTreeSet<PartitionId>),
    /// End the membership, and answer when it has ended.
    Go(Departure, oneshot::Sender<()>),
}

/// The context of the consumer: puts events aside, since the callback must return at once.
#[derive(Debug, Default)]
pub(super) struct Rebalances {
    events: Mutex<VecDeque<Event>>,
    /// On the way out, events are carried out in the callback: nobody handles them any more, and
    /// closing waits for them.
    leaving: AtomicBool,
}

#[derive(Debug)]
enum Event {
    Assign(BTreeSet<PartitionId>),
    Revoke { partitions: BTreeSet<PartitionId>, lost: bool },
}

/// The thread of a member.
pub(super) struct Thread {
    inner: Arc<Inner>,
    spec: GroupSpec,
    consumer: Arc<BaseConsumer<Rebalances>>,
    seat: Arc<Seat>,
    tell: mpsc::UnboundedSender<Result<Change, Error>>,
    /// What librdkafka waits for.
    revoking: Option<Revoking>,
}

/// A revocation that was told and is not carried out yet.
struct Revoking {
    all: BTreeSet<PartitionId>,
    unreleased: BTreeSet<PartitionId>,
}

/// How the membership ended.
enum End {
    /// As told, or since nobody holds it any more.
    Gone(Departure, Option<oneshot::Sender<()>>),
    /// The group does not go on with it.
    Refused(String),
}

impl Thread {
    pub(super) fn new(
        inner: &Arc<Inner>,
        spec: &GroupSpec,
        consumer: Arc<BaseConsumer<Rebalances>>,
        seat: Arc<Seat>,
        tell: mpsc::UnboundedSender<Result<Change, Error>>,
    ) -> Self {
        let (inner, spec) = (Arc::clone(inner), spec.clone());
        Self { inner, spec, consumer, seat, tell, revoking: None }
    }

    /// Runs until the end of the membership.
    pub(super) fn run(mut self, commands: &std_mpsc::Receiver<Command>) {
        let end = self.follow(commands);
        // No commit may begin in its name from here on.
        self.seat.strike_all();
        let departure = match &end {
            End::Gone(departure, _) => *departure,
            End::Refused(reason) => {
                let reason = format!("group {}: {reason}", self.spec.group);
                self.tell(Err(Error::MemberRefused { reason }));
                Departure::Restart
            }
        };
        self.close(departure);
        if let End::Gone(_, Some(done)) = end {
            // Whoever asked may be gone.
            let _ = done.send(());
        }
    }

    fn follow(&mut self, commands: &std_mpsc::Receiver<Command>) -> End {
        loop {
            if let Some(refused) = self.poll() {
                return End::Refused(refused);
            }
            let events = std::mem::take(&mut *lock(&self.consumer.context().events));
            for event in events {
                if let Err(error) = self.handle(event) {
                    return End::Refused(format!("change the assignment: {error}"));
                }
            }
            loop {
                match commands.try_recv() {
                    Ok(Command::Release(partitions)) => self.released(&partitions),
                    Ok(Command::Go(how, done)) => return End::Gone(how, Some(done)),
                    Err(std_mpsc::TryRecvError::Empty) => break,
                    Err(std_mpsc::TryRecvError::Disconnected) => {
                        return End::Gone(Departure::Restart, None);
                    }
                }
            }
            if self.inner.check_open().is_err() {
                return End::Gone(Departure::Restart, None);
            }
            if let Err(error) = self.carry_out() {
                return End::Refused(format!("give partitions back: {error}"));
            }
        }
    }

    /// Serves librdkafka; a reason if the group refuses this member.
    fn poll(&self) -> Option<String> {
        use RDKafkaErrorCode as Code;
        // A record would be of a partition that was not paused yet: it is dropped.
        let Err(error) = self.consumer.poll(POLL)? else { return None };
        if let Some((_, text)) = self.consumer.client().fatal_error() {
            return Some(text);
        }
        match error.rdkafka_error_code() {
            Some(
                Code::GroupAuthorizationFailed
                | Code::TopicAuthorizationFailed
                | Code::FencedInstanceId
                | Code::InconsistentGroupProtocol
                | Code::InvalidSessionTimeout
                | Code::GroupMaxSizeReached,
            ) => Some(error.to_string()),
            _ => {
                trouble(&error, "consumer group");
                None
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), KafkaError> {
        match event {
            Event::Assign(partitions) => {
                let list = self.list(&partitions)?;
                self.consumer.incremental_assign(&list)?;
                self.pause(&list)?;
                self.seat.grant(&partitions);
                if !partitions.is_empty() {
                    self.tell(Ok(Change::Assigned(partitions)));
                }
            }
            Event::Revoke { partitions, lost: true } => {
                self.seat.strike(&partitions);
                self.consumer.incremental_unassign(&self.list(&partitions)?)?;
                if !partitions.is_empty() {
                    self.tell(Ok(Change::Lost(partitions)));
                }
            }
            Event::Revoke { partitions, lost: false } => {
                if !partitions.is_empty() {
                    self.tell(Ok(Change::Revoked(partitions.clone())));
                }
                self.revoking = Some(Revoking { unreleased: partitions.clone(), all: partitions });
            }
        }
        Ok(())
    }

    /// librdkafka knows a partition only once it was assigned, and what it could not pause it tells nowhere
    /// but in the list.
    fn pause(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        self.consumer.pause(list)?;
        list.elements().iter().try_for_each(|place| place.error())
    }

    fn released(&mut self, partitions: &BTreeSet<PartitionId>) {
        let Some(revoking) = &mut self.revoking else { return };
        let released = revoking.unreleased.intersection(partitions).copied().collect();
        self.seat.strike(&released);
        revoking.unreleased.retain(|partition| !released.contains(partition));
    }

    /// Carries a revocation out once all of it was released, or at once if the group stopped
    /// waiting.
    fn carry_out(&mut self) -> Result<(), KafkaError> {
        let Some(revoking) = &self.revoking else { return Ok(()) };
        let lost = self.consumer.assignment_lost();
        if !lost && !revoking.unreleased.is_empty() {
            return Ok(());
        }
        let Some(Revoking { all, unreleased }) = self.revoking.take() else { return Ok(()) };
        self.seat.strike(&all);
        self.consumer.incremental_unassign(&self.list(&all)?)?;
        if !unreleased.is_empty() {
            self.tell(Ok(Change::Lost(unreleased)));
        }
        Ok(())
    }

    /// The partitions as librdkafka takes them, at a place that needs no question to a broker: they
    /// are paused.
    fn list(&self, partitions: &BTreeSet<PartitionId>) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for &partition in partitions {
            let (topic, partition) = (&self.spec.topic, partition_id(partition));
            list.add_partition_offset(topic, partition, KafkaOffset::Offset(0))?;
        }
        Ok(list)
    }

    fn tell(&self, change: Result<Change, Error>) {
        // Nobody listens once the member is dropped.
        let _ = self.tell.send(change);
    }

    /// Closes the consumer. librdkafka tells the group only of members without a lasting name, so
    /// whoever leaves for good gives up the subscription first, and waits until it has no member id
    /// any more: then the request is on its way, and closing waits for its answer.
    fn close(self, departure: Departure) {
        let Self { consumer, revoking, spec, .. } = self;
        consumer.context().leaving.store(true, Ordering::Release);
        if revoking.is_some() {
            // librdkafka is waiting for it, and would wait on.
            carry_out_all(&consumer);
        }
        if departure == Departure::Leave {
            consumer.unsubscribe();
            let deadline = Instant::now() + LEAVE_TIMEOUT;
            while Stamp::of(&consumer).is_some() && Instant::now() < deadline {
                consumer.poll(POLL);
            }
        }
        // A claim may be reading its metadata, or the keeper be waiting for an answer: they hold the
        // consumer for microseconds and for half a second.
        let mut consumer = consumer;
        while let Err(shared) = Arc::try_unwrap(consumer) {
            consumer = shared;
            std::thread::sleep(SHARED_PAUSE);
        }
        tracing::debug!(group = spec.group, ?departure, "membership ended");
    }
}

/// Gives back everything at once.
fn carry_out_all(consumer: &BaseConsumer<Rebalances>) {
    let unassigned = consumer.assignment().and_then(|all| consumer.incremental_unassign(&all));
    if let Err(error) = unassigned {
        trouble(&error, "give partitions back");
    }
}

/// Its own thread hears what it tells.
impl Native for BaseConsumer<Rebalances> {
    fn native(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assign = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.leaving.load(Ordering::Acquire) {
            if !assign {
                // All that is held, not what is asked for: librdkafka counts what was not taken below
                // as taken, and waits for ever where it cannot be given back.
                return carry_out_all(consumer);
            }
            // An empty change: nothing more is taken.
            if let Err(error) = consumer.incremental_assign(&TopicPartitionList::new()) {
                trouble(&error, "a change of the group on the way out");
            }
            return;
        }
        let ids = partitions.elements();
        let ids = ids.iter().filter_map(|place| PartitionId::try_from(place.partition()).ok());
        let partitions = ids.collect();
        let event = if assign {
            Event::Assign(partitions)
        } else {
            Event::Revoke { partitions, lost: consumer.assignment_lost() }
        };
        lock(&self.events).push_back(event);
    }
}

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        trouble(&error, reason);
    }
}
