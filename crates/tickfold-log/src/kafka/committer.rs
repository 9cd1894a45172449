//! The transactional producer of one claimed partition.
//!
//! What fences whom:
//!
//! - **The transactional id**, `GROUP/TOPIC/PARTITION`: a claim initialises it, upon which the
//!   coordinator aborts what an earlier producer of this id left open, finishes what it had decided
//!   to commit, and refuses every later request of it. So whoever claimed last is the only one who
//!   can commit, and the position read after the claim is stable. This protects the log from an
//!   owner that lives on after it was replaced.
//! - **The group's generation**: a member's commit carries its member id and generation, so the
//!   brokers refuse it once the group has given the partition to somebody else, also before that
//!   one has claimed (`member`). A claim from outside of the group carries none.
//!
//! What an outcome means: until the end of the transaction is asked for, nothing can have taken
//! effect, so a failure the brokers stated is an abort or a fence. From then on only success is
//! certain. After anything uncertain the producer is given up: librdkafka speaks the older
//! transaction protocol, in which a late request can end up in the next transaction of the same
//! producer, and only a new claim's epoch keeps it out.
//!
//! That includes commits which succeeded after a connection failed under them. librdkafka repeats
//! the request on another connection without a word, while the first one may still be on its way:
//! an end of the transaction would then end the next one in its middle, and a position would
//! replace the next one. So the commit counts, and its producer commits nothing more.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::{BaseProducer, Producer, ProducerContext},
    topic_partition_list::{Offset as KafkaOffset, TopicPartitionList},
    types::RDKafka,
    util::Timeout,
};

use super::{
    context::{self, Quiet},
    convert::{offset as known_offset, partition_id, to_kafka, unavailable},
    fail_point,
    keeper::Keeper,
    member::{Speechless, Tenure},
    native::Native,
    options::KafkaOptions,
    owned::{Request, Unbounded},
    places::Checked,
};
use crate::{CommitError, Committed, Error, PartitionId, TopicPartition};

/// The bounds of the pause between two looks for delivery reports, when none was there. Between them
/// it is an eighth of the time waited so far, so that looking costs next to nothing where a batch
/// takes long, and waiting next to nothing where it does not.
const PAUSE_MIN: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// How many events are heard at a time beside a commit.
const HEARD_MAX: usize = 10_000;

/// How librdkafka's log names the loss of a connection, whatever the cause. Other ways to learn of
/// it leave some out; the tests cut connections under commits and so notice another name.
const CONNECTION_FAILED: &str = "FAIL";

/// In whose name positions are committed.
pub(super) struct Speaker {
    /// Reads positions of the group, without being a member.
    pub(super) group: Arc<BaseConsumer<Quiet>>,
    /// The right of a member; `None` speaks from outside.
    pub(super) tenure: Option<Tenure>,
}

/// One claim's producer.
pub(super) struct Committer {
    input: TopicPartition,
    speaker: Speaker,
    limits: Limits,
    fail_point: fn(&'static str),
    #[cfg(feature = "test-util")]
    trust_repeated: bool,
    state: State,
    /// Tells of the steps that librdkafka does not bound.
    unbounded: Arc<Unbounded>,
    /// Given up and not taken down yet.
    retired: Option<Arc<BaseProducer<Reports>>>,
}

/// How long the steps of a commit may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    call: Duration,
    transaction: Duration,
}

impl Limits {
    /// The end of a transaction: when the brokers abort it by themselves, and have said so.
    fn end(self) -> Duration {
        self.transaction + self.call
    }
}

enum State {
    Ready(Arc<BaseProducer<Reports>>),
    /// Another owner has the partition.
    Fenced,
    /// A request of it may still be under way; the producer is gone.
    Spent,
}

/// How a commit failed.
enum Failure {
    /// The brokers stated that this transaction cannot go on; it may be aborted and sent again.
    Abortable(String),
    Fenced,
    /// The group took the partition away; nobody else has claimed it yet.
    TakenAway,
    Unclear(String),
}

impl Speaker {
    /// What a commit says of the group.
    fn metadata(&self) -> Result<ConsumerGroupMetadata, Failure> {
        match &self.tenure {
            None => self.group.group_metadata().ok_or(Speechless::Now),
            Some(tenure) => tenure.metadata(),
        }
        .map_err(|speechless| match speechless {
            Speechless::Now => Failure::Abortable("the group is between generations".to_owned()),
            Speechless::ForGood => Failure::TakenAway,
        })
    }

    /// What it means that the group did not take the position.
    fn refused(&self, error: &KafkaError) -> Failure {
        use RDKafkaErrorCode as Code;
        let of_the_group = matches!(
            error.rdkafka_error_code(),
            Some(
                Code::IllegalGeneration
                    | Code::UnknownMemberId
                    | Code::FencedInstanceId
                    | Code::RebalanceInProgress
            )
        );
        match &self.tenure {
            Some(tenure) if of_the_group && tenure.is_over() => Failure::TakenAway,
            Some(_) if of_the_group => Failure::Abortable(format!("add the position: {error}")),
            Some(_) | None => failure("add the position", error),
        }
    }
}

impl Committer {
    /// Blocks until this producer is the only one that can commit, and reads the position.
    pub(super) fn claim(
        options: &KafkaOptions,
        keeper: &Keeper,
        speaker: Speaker,
        group_name: &str,
        input: TopicPartition,
        unbounded: Arc<Unbounded>,
    ) -> Result<(Option<Committed>, Self), Error> {
        let id = format!("{group_name}/{}/{}", input.topic, input.partition);
        let failed =
            |error: KafkaError| unavailable(format!("claim {input} for {group_name}"), &error);
        let producer: BaseProducer<Reports> =
            options.committer(&id).create_with_context(Reports::default()).map_err(failed)?;
        let begun = Instant::now();
        // Connects first: without a connection librdkafka's next attempt is half a second away.
        let known = producer.client().fetch_metadata(Some(&input.topic), options.call_timeout);
        known.map_err(failed)?;
        producer.init_transactions(options.claim_timeout).map_err(failed)?;
        (options.fail_point)(fail_point::CLAIMED);
        let left = options.claim_timeout.saturating_sub(begun.elapsed());
        let committed =
            committed(&speaker.group, &input, left.max(options.call_timeout)).map_err(failed)?;
        let producer = Arc::new(producer);
        keeper.keep("commit", &producer);
        let committer = Self {
            input,
            speaker,
            limits: Limits { call: options.call_timeout, transaction: options.transaction_timeout },
            fail_point: options.fail_point,
            #[cfg(feature = "test-util")]
            trust_repeated: options.trust_repeated,
            state: State::Ready(producer),
            unbounded,
            retired: None,
        };
        Ok((committed, committer))
    }

    /// Commits until the handle is dropped.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        while let Ok(Request { outputs, position, answer, open }) = requests.recv() {
            let outcome = match &self.state {
                State::Fenced => Err(CommitError::Fenced),
                State::Spent => Err(CommitError::Unclear {
                    reason: "a request of an earlier commit may still be under way".to_owned(),
                }),
                State::Ready(producer) => {
                    // What an idle connection's end told is none of this commit's.
                    drain(producer);
                    producer.context().cut.store(false, Ordering::Release);
                    let outcome = self.commit(producer, &outputs, &position);
                    outcome.map_err(|failure| self.fail(failure))
                }
            };
            self.retire_if_repeated();
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
            drop(open);
            // Taking a producer down takes time that nobody has to wait for.
            self.retired = None;
        }
    }

    /// One transaction.
    fn commit(
        &self,
        producer: &BaseProducer<Reports>,
        outputs: &Checked,
        position: &Committed,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + self.limits.transaction;
        producer.begin_transaction().map_err(|error| failure("begin", &error))?;
        (self.fail_point)(fail_point::BEGUN);
        self.produce(producer, outputs, deadline)?;
        let mut offsets = TopicPartitionList::with_capacity(1);
        let offset = KafkaOffset::Offset(i64::try_from(position.offset).unwrap_or(i64::MAX));
        offsets
            .add_partition_offset(&self.input.topic, partition_id(self.input.partition), offset)
            .map_err(|error| failure("name the position", &error))?;
        for mut place in offsets.elements() {
            place.set_metadata(&position.metadata);
        }
        let member = self.speaker.metadata()?;
        let add = || {
            (self.fail_point)(fail_point::ADDING_POSITION);
            producer.send_offsets_to_transaction(&offsets, &member, Timeout::Never)
        };
        let added = self.unbounded.run(self.limits.call, add);
        added.map_err(|error| self.speaker.refused(&error))?;
        (self.fail_point)(fail_point::POSITION_ADDED);
        // With a limit librdkafka would want to be asked again; with `Never` it tries for as long as
        // the brokers are away.
        let end = || producer.commit_transaction(Timeout::Never);
        self.unbounded
            .run(self.limits.end(), end)
            .map_err(|error| Failure::Unclear(format!("end the transaction: {error}")))?;
        (self.fail_point)(fail_point::ENDED);
        // From the last one back: an end that does not rise wakes nobody.
        for ((_, place), offset) in outputs.iter().zip(producer.context().take().offsets).rev() {
            place.has(offset);
        }
        Ok(())
    }

    /// Produces the outputs and waits until each is answered for. Waiting here, with the reports
    /// served, spares the flush inside of the binding's commit: that one sleeps in slices of 100 ms.
    /// After a failure too, nothing is under way any more: an abort would wait for it, and a
    /// request that came late could end up in the next transaction.
    fn produce(
        &self,
        producer: &BaseProducer<Reports>,
        outputs: &Checked,
        deadline: Instant,
    ) -> Result<(), Failure> {
        producer.context().begin(outputs.len());
        let sent = send(producer, outputs, deadline);
        (self.fail_point)(fail_point::PRODUCING);
        let mut waited = Duration::ZERO;
        while producer.in_flight_count() > 0 {
            in_time(deadline)?;
            serve(producer, &mut waited);
        }
        if let Some((code, text)) = producer.client().fatal_error() {
            let fenced = code == RDKafkaErrorCode::Fenced;
            return Err(if fenced { Failure::Fenced } else { Failure::Unclear(text) });
        }
        sent?;
        let failed = producer.context().lock().failed.take();
        failed.map_or(Ok(()), |error| Err(failure("produce", &error)))
    }

    /// Cleans up after a failed commit, and says what it came to.
    fn fail(&mut self, failure: Failure) -> CommitError {
        match failure {
            Failure::Abortable(reason) => {
                let State::Ready(producer) = &self.state else {
                    return CommitError::Unclear { reason };
                };
                match self.abort(producer) {
                    Ok(()) => CommitError::Aborted { reason },
                    Err(Failure::Fenced | Failure::TakenAway) => self.fail(Failure::Fenced),
                    Err(Failure::Abortable(why) | Failure::Unclear(why)) => {
                        self.fail(Failure::Unclear(format!("{reason}; then abort: {why}")))
                    }
                }
            }
            Failure::Fenced => {
                metrics::counter!(crate::metrics::FENCED).increment(1);
                self.retire(State::Fenced);
                CommitError::Fenced
            }
            Failure::TakenAway => {
                // Readers would wait for the end of the transaction until somebody claims.
                if let State::Ready(producer) = &self.state
                    && self.abort(producer).is_err()
                {
                    tracing::debug!(input = %self.input, "left to the next claim to abort");
                }
                self.fail(Failure::Fenced)
            }
            Failure::Unclear(reason) => {
                self.retire(State::Spent);
                CommitError::Unclear { reason }
            }
        }
    }

    /// Aborts the open transaction. Nothing may be under way then: librdkafka's abort waits for reports
    /// that nobody but this thread serves.
    fn abort(&self, producer: &BaseProducer<Reports>) -> Result<(), Failure> {
        let abort = || producer.abort_transaction(Timeout::Never);
        self.unbounded.run(self.limits.end(), abort).map_err(|error| failure("abort", &error))
    }

    /// Gives the producer up if a connection failed since the last commit began.
    fn retire_if_repeated(&mut self) {
        let State::Ready(producer) = &self.state else { return };
        // What librdkafka told meanwhile; it tells before it repeats.
        drain(producer);
        if !producer.context().cut.load(Ordering::Acquire) {
            return;
        }
        #[cfg(feature = "test-util")]
        if self.trust_repeated {
            return;
        }
        tracing::debug!(input = %self.input, "a connection failed in a commit, producer given up");
        self.retire(State::Spent);
    }

    /// Gives the producer up.
    fn retire(&mut self, now: State) {
        if let State::Ready(producer) = std::mem::replace(&mut self.state, now) {
            self.retired = Some(producer);
        }
    }
}

/// Hands the outputs to the producer, serving reports while its queue is full.
fn send(
    producer: &BaseProducer<Reports>,
    outputs: &Checked,
    deadline: Instant,
) -> Result<(), Failure> {
    let mut waited = Duration::ZERO;
    for (index, (append, _)) in outputs.iter().enumerate() {
        let mut record = to_kafka(append, index);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(failure("produce", &error));
            }
            in_time(deadline)?;
            serve(producer, &mut waited);
            record = back;
        }
    }
    Ok(())
}

/// Takes what librdkafka has told while nothing is under way: one poll is one event, and there may be many.
/// Whoever took one before has made use of it by then.
fn drain(producer: &BaseProducer<Reports>) {
    let _alone = producer.context().hear();
    (0..=producer.in_flight_count()).for_each(|_| producer.poll(Duration::ZERO));
}

/// Serves delivery reports, or pauses if there are none. The binding's own wait is no pause: it counts
/// whole milliseconds, and spends what is left of its last one asking again and again, at the cost of
/// everybody who has work to do.
fn serve(producer: &BaseProducer<Reports>, waited: &mut Duration) {
    let before = producer.in_flight_count();
    producer.poll(Duration::ZERO);
    if producer.in_flight_count() == before {
        let pause = (*waited / 8).clamp(PAUSE_MIN, PAUSE_MAX);
        std::thread::sleep(pause);
        *waited += pause;
    }
}

fn in_time(deadline: Instant) -> Result<(), Failure> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(Failure::Unclear("the brokers did not answer in the transaction's time".to_owned()))
}

/// What a failure before the end of the transaction means.
fn failure(doing: &str, error: &KafkaError) -> Failure {
    use RDKafkaErrorCode as Code;
    let reason = format!("{doing}: {error}");
    match (error, error.rdkafka_error_code()) {
        (_, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)) => {
            Failure::Fenced
        }
        (_, Some(code)) if is_late(code) => Failure::Unclear(reason),
        (KafkaError::Transaction(error), _) if error.txn_requires_abort() => {
            Failure::Abortable(reason)
        }
        (KafkaError::MessageProduction(_), Some(code)) if code != Code::Fatal => {
            Failure::Abortable(reason)
        }
        _ => Failure::Unclear(reason),
    }
}

/// True if a request may still be under way.
fn is_late(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::PurgeInflight
            | Code::BrokerTransportFailure
    )
}

/// The group's stable position. "Stable" is what a consumer with `read_committed` asks for: the
/// brokers then answer only when no transaction on it is open.
fn committed(
    group: &BaseConsumer<Quiet>,
    input: &TopicPartition,
    timeout: Duration,
) -> Result<Option<Committed>, KafkaError> {
    let mut asked = TopicPartitionList::with_capacity(1);
    asked.add_partition(&input.topic, partition_id(input.partition));
    let answer = group.committed_offsets(asked, timeout)?;
    position(&answer, &input.topic, input.partition)
}

/// The group's positions in all partitions of a topic.
pub(super) fn positions(
    group: &BaseConsumer<Quiet>,
    topic: &str,
    partitions: PartitionId,
    timeout: Duration,
) -> Result<Vec<Option<Committed>>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    (0..partitions).for_each(|partition| _ = asked.add_partition(topic, partition_id(partition)));
    let answer = group.committed_offsets(asked, timeout)?;
    (0..partitions).map(|partition| position(&answer, topic, partition)).collect()
}

fn position(
    answer: &TopicPartitionList,
    topic: &str,
    partition: PartitionId,
) -> Result<Option<Committed>, KafkaError> {
    let Some(place) = answer.find_partition(topic, partition_id(partition)) else {
        return Ok(None);
    };
    place.error()?;
    let KafkaOffset::Offset(offset) = place.offset() else { return Ok(None) };
    let metadata = place.metadata().to_owned();
    Ok(known_offset(offset).map(|offset| Committed { offset, metadata }))
}

/// Whether requests may have been under way on a connection that failed: it was up, and not one to a
/// broker that librdkafka only knew by the address it was given and lets go of once it has met it. One
/// that it knew by its number it lets go of where the cluster no longer names it, in the middle of anything.
/// What says nothing about it counts.
fn was_in_use(failure: &str) -> bool {
    let let_go = failure.contains("(_DESTROY_BROKER)") && failure.contains("/bootstrap");
    let up = [" in state UP", " in state REAUTH"].iter().any(|state| failure.contains(state));
    !let_go && (up || !failure.contains(" in state "))
}

/// The context of a committer: delivery reports of the commit under way, whether a connection failed
/// under it, and whether all brokers were away.
#[derive(Default)]
struct Reports {
    delivered: Mutex<Delivered>,
    /// Held from taking an event to having made use of it.
    hearing: Mutex<()>,
    cut: AtomicBool,
    away: AtomicBool,
}

/// There are as many as partitions, so the keeper asks those only that had reason to tell.
impl Native for BaseProducer<Reports> {
    fn native(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }

    fn hear(&self) {
        let _alone = self.context().hear();
        for _ in 0..HEARD_MAX {
            let before = self.in_flight_count();
            self.poll(Duration::ZERO);
            if self.in_flight_count() >= before {
                break;
            }
        }
    }

    fn may_be_lost(&self) -> bool {
        self.context().away.swap(false, Ordering::AcqRel)
    }
}

#[derive(Default)]
struct Delivered {
    offsets: Vec<u64>,
    failed: Option<KafkaError>,
}

impl Reports {
    fn begin(&self, outputs: usize) {
        *self.lock() = Delivered { offsets: vec![0; outputs], failed: None };
    }

    fn take(&self) -> Delivered {
        std::mem::take(&mut *self.lock())
    }

    /// Alone from now on in hearing what librdkafka tells, but for reports that a commit waits for.
    fn hear(&self) -> MutexGuard<'_, ()> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Delivered> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {
    /// Called by a poll.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == CONNECTION_FAILED && was_in_use(message) {
            self.cut.store(true, Ordering::Release);
        }
        if !matches!(level, RDKafkaLogLevel::Debug) {
            context::log(level, facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.away.store(true, Ordering::Release);
        }
        context::trouble(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, index: usize) {
        let mut delivered = self.lock();
        match report {
            Ok(message) => {
                let offset = known_offset(message.offset());
                if let (Some(slot), Some(offset)) = (delivered.offsets.get_mut(index), offset) {
                    *slot = offset;
                }
            }
            // One that may still arrive says more than those that certainly will not.
            Err((error, _)) => {
                let late = error.rdkafka_error_code().is_some_and(is_late);
                if late || delivered.failed.is_none() {
                    delivered.failed = Some(error.clone());
                }
            }
        }
    }
}
