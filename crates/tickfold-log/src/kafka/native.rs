//! What librdkafka is asked directly, since the binding does not have it. This is the one place of the
//! workspace that calls it.
//!
//! - **Under which member id and generation a consumer would speak for its group now.** A commit that
//!   carries an empty member id or a negative generation is taken by the brokers without any check:
//!   they hold it for one of a consumer outside of the group. librdkafka has exactly these values while
//!   it is between two memberships, and the binding shows neither.
//! - **Whether a client finds a broker that knows of brokers**, and the addresses to begin with again
//!   (`keeper` says what for).
#![allow(unsafe_code, reason = "functions of librdkafka that the binding does not have")]

use std::{
    ffi::{CStr, CString, c_int},
    ptr,
    time::Duration,
};

use rdkafka::{
    ClientContext,
    admin::AdminClient,
    bindings as native,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    producer::{Producer, ProducerContext, ThreadedProducer},
    types::{RDKafka, RDKafkaRespErr},
};

use super::context::{Quiet, trouble};

/// A client of librdkafka of any kind, as librdkafka knows it: the pointer is good for as long as the
/// client is borrowed.
pub(super) trait Native: Send + Sync {
    fn native(&self) -> *mut RDKafka;

    /// Takes what the client has told, where nobody else may be there to do it.
    fn hear(&self) {}

    /// False if nothing happened since the last call for which the client could have lost its brokers.
    fn may_be_lost(&self) -> bool {
        true
    }
}

/// Events heard at a time of a consumer that nobody may be polling: more than one has to tell between two
/// rounds.
const HEARD: usize = 100;

impl Native for BaseConsumer<Quiet> {
    fn native(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }

    fn hear(&self) {
        for _ in 0..HEARD {
            if let Some(Err(error)) = self.poll(Duration::ZERO) {
                trouble(&error, "consumer");
            }
        }
    }
}

impl<C: ProducerContext> Native for ThreadedProducer<C> {
    fn native(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }
}

impl<C: ClientContext> Native for AdminClient<C> {
    fn native(&self) -> *mut RDKafka {
        self.inner().native_ptr()
    }
}

/// What becomes of a question of a client that any broker can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// A broker answered, and named at least one.
    Brokers,
    /// There was none to ask.
    Nobody,
    /// None answered in time, or in vain.
    Silence,
}

/// Has the client ask a broker for brokers. Blocks.
pub(super) fn reach(client: &dyn Native, timeout: Duration) -> Reach {
    let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let mut metadata = ptr::null();
    // SAFETY: the client is borrowed until the end. Without an error `metadata` points to an answer
    // that is ours, of which a number is read before it is destroyed, which happens once. A null topic
    // stands for all that the client knows of.
    unsafe {
        let topics = ptr::null_mut();
        let code =
            native::rd_kafka_metadata(client.native(), 0, topics, &raw mut metadata, timeout_ms);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT {
            return Reach::Nobody;
        }
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || metadata.is_null() {
            return Reach::Silence;
        }
        let brokers = (*metadata).broker_cnt;
        native::rd_kafka_metadata_destroy(metadata);
        if brokers > 0 { Reach::Brokers } else { Reach::Silence }
    }
}

/// Gives the client addresses to find brokers at, besides those it knows.
pub(super) fn add_brokers(client: &dyn Native, brokers: &CString) {
    // SAFETY: the client and the text are borrowed until the end; librdkafka copies the text. What it
    // returns, how many addresses it took, it said when the client was made.
    unsafe { native::rd_kafka_brokers_add(client.native(), brokers.as_ptr()) };
}

/// As whom, and as of when, a member speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    member: String,
    generation: i32,
}

impl Stamp {
    /// That of the consumer; `None` while it is no member.
    pub(super) fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<Self> {
        // SAFETY: the client lives as long as the consumer, which is borrowed until the end. What
        // is returned is ours, and null for a consumer without a group. The member id lives as long
        // as it does and is copied before it is destroyed, which happens once.
        let stamp = unsafe {
            let metadata = native::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
            if metadata.is_null() {
                return None;
            }
            let member = native::rd_kafka_consumer_group_metadata_member_id(metadata);
            let member = if member.is_null() {
                String::new()
            } else {
                CStr::from_ptr(member).to_string_lossy().into_owned()
            };
            let generation = native::rd_kafka_consumer_group_metadata_generation_id(metadata);
            native::rd_kafka_consumer_group_metadata_destroy(metadata);
            Self { member, generation }
        };
        stamp.is_valid().then_some(stamp)
    }

    /// Whether the brokers would check it.
    fn is_valid(&self) -> bool {
        !self.member.is_empty() && self.generation >= 0
    }
}
