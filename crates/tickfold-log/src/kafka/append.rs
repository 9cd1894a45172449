//! Appends: one idempotent producer for all of them, never in a transaction.
//!
//! A transactional producer would hold back every reader of raw for as long as its transaction is
//! open, and would answer in the rhythm of its commits. This one's batches are acknowledged one by
//! one, by all replicas in sync. A call is answered once, when the last of its records is: the
//! delivery reports arrive on a thread of librdkafka's binding and count down.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::{Producer, ProducerContext, ThreadedProducer},
};
use tokio::sync::oneshot;

use super::{
    context,
    convert::{offset as known_offset, to_kafka, unavailable},
    keeper::Keeper,
    options::KafkaOptions,
    places::{Checked, Place},
};
use crate::{Error, Offset, RECORD_BYTES_MAX, TopicPartition};

/// The producer of appends.
pub(super) struct Appender {
    options: KafkaOptions,
    keeper: Arc<Keeper>,
    producer: Mutex<Arc<ThreadedProducer<Reports>>>,
    /// Bytes on their way.
    bytes: Arc<AtomicUsize>,
}

/// One call.
struct Batch {
    state: Mutex<BatchState>,
    bytes: usize,
    in_flight: Arc<AtomicUsize>,
}

struct BatchState {
    offsets: Vec<Offset>,
    left: usize,
    failed: Option<Error>,
    answer: Option<oneshot::Sender<Result<Vec<Offset>, Error>>>,
}

/// What comes back with the delivery report of a record.
pub(super) struct Sent {
    batch: Arc<Batch>,
    index: usize,
    to: TopicPartition,
    size_bytes: usize,
    place: Arc<Place>,
}

/// The context of the producer.
pub(super) struct Reports;

impl Appender {
    pub(super) fn start(options: &KafkaOptions, keeper: &Arc<Keeper>) -> Result<Self, Error> {
        let (producer, bytes) = (Mutex::new(producer(options, keeper)?), Arc::default());
        Ok(Self { options: options.clone(), keeper: Arc::clone(keeper), producer, bytes })
    }

    /// Hands records to the producer, in order, and gives the answer to wait for. Does not wait.
    pub(super) fn send(
        &self,
        records: &Checked,
    ) -> Result<oneshot::Receiver<Result<Vec<Offset>, Error>>, Error> {
        let bytes = records.iter().map(|(append, _)| append.size_bytes()).sum();
        let waiting = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        // A call that is larger than the bound goes alone.
        if waiting > 0 && waiting.saturating_add(bytes) > self.options.append_bytes_max {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            metrics::counter!(crate::metrics::APPENDS_REFUSED).increment(1);
            let reason = format!("append: {waiting} bytes are waiting for the brokers");
            return Err(Error::Unavailable { reason });
        }
        metrics::gauge!(crate::metrics::QUEUE_BYTES).increment(as_f64(bytes));
        let (answer, answered) = oneshot::channel();
        let state = BatchState {
            offsets: vec![0; records.len()],
            left: records.len(),
            failed: None,
            answer: Some(answer),
        };
        let in_flight = Arc::clone(&self.bytes);
        let batch = Arc::new(Batch { state: Mutex::new(state), bytes, in_flight });
        let producer = self.producer();
        for (index, (append, place)) in records.iter().enumerate() {
            let (batch, place) = (Arc::clone(&batch), Arc::clone(place));
            let (to, size_bytes) = (append.to.clone(), append.size_bytes());
            let sent = Box::new(Sent { batch, index, to, size_bytes, place });
            if let Err((error, record)) = producer.send(to_kafka(append, sent)) {
                record.delivery_opaque.failed(&error);
                self.replace_if_fatal(&producer, &error);
            }
        }
        Ok(answered)
    }

    /// Blocks until everything that was sent is answered, or fails after `timeout`.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), Error> {
        self.producer().flush(timeout).map_err(|error| unavailable("finish appends", &error))
    }

    /// A producer that found its sequence broken takes nothing any more. What it had is answered
    /// as failed; a new one begins a new sequence.
    fn replace_if_fatal(&self, failed: &Arc<ThreadedProducer<Reports>>, error: &KafkaError) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::Fatal) {
            return;
        }
        let mut current = self.lock();
        if !Arc::ptr_eq(&current, failed) {
            return;
        }
        let cause = failed.client().fatal_error().map(|(_, text)| text);
        tracing::warn!(cause, "producer of appends failed for good, starting another");
        match producer(&self.options, &self.keeper) {
            Ok(new) => *current = new,
            Err(error) => tracing::warn!(%error, "no new producer of appends"),
        }
    }

    fn producer(&self) -> Arc<ThreadedProducer<Reports>> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ThreadedProducer<Reports>>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Appender").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

fn producer(
    options: &KafkaOptions,
    keeper: &Keeper,
) -> Result<Arc<ThreadedProducer<Reports>>, Error> {
    let producer = options.appender().create_with_context(Reports);
    let producer =
        Arc::new(producer.map_err(|error| unavailable("start the producer of appends", &error))?);
    keeper.keep("append", &producer);
    Ok(producer)
}

impl Sent {
    fn failed(&self, error: &KafkaError) {
        use RDKafkaErrorCode as Code;
        let error = match error.rdkafka_error_code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Error::UnknownPartition(self.to.clone())
            }
            Some(Code::MessageSizeTooLarge) => Error::TooLarge {
                to: self.to.clone(),
                size_bytes: self.size_bytes,
                limit_bytes: RECORD_BYTES_MAX,
            },
            _ => unavailable(format!("append to {}", self.to), error),
        };
        self.batch.done(self.index, Err(error));
    }
}

impl Batch {
    fn done(&self, index: usize, result: Result<Offset, Error>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(offset) => {
                if let Some(slot) = state.offsets.get_mut(index) {
                    *slot = offset;
                }
            }
            Err(error) => _ = state.failed.get_or_insert(error),
        }
        state.left = state.left.saturating_sub(1);
        if state.left > 0 {
            return;
        }
        self.in_flight.fetch_sub(self.bytes, Ordering::AcqRel);
        metrics::gauge!(crate::metrics::QUEUE_BYTES).decrement(as_f64(self.bytes));
        let offsets = std::mem::take(&mut state.offsets);
        let result = state.failed.take().map_or(Ok(offsets), Err);
        if let Some(answer) = state.answer.take() {
            // Whoever asked may be gone.
            let _ = answer.send(result);
        }
    }
}

/// Metrics take floats; sizes in memory are far below the 2^52 they hold exactly.
#[expect(clippy::cast_precision_loss, reason = "a metric may be rounded")]
fn as_f64(bytes: usize) -> f64 {
    bytes as f64
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::trouble(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, report: &DeliveryResult<'_>, sent: Box<Sent>) {
        match report {
            Ok(message) => match known_offset(message.offset()) {
                Some(offset) => {
                    sent.place.has(offset);
                    sent.batch.done(sent.index, Ok(offset));
                }
                None => sent.failed(&KafkaError::NoMessageReceived),
            },
            Err((error, _)) => sent.failed(error),
        }
    }
}
