//! The member id and generation under which a consumer would speak for its group now.
//!
//! A commit that carries an empty member id or a negative generation is taken by the brokers without
//! any check: they hold it for one of a consumer outside of the group. librdkafka has exactly these
//! values while it is between two memberships, and the binding shows neither. So this is the one
//! place of the workspace that calls librdkafka itself.
#![allow(unsafe_code, reason = "two getters of librdkafka that the binding does not have")]

use std::ffi::CStr;

use rdkafka::{
    bindings as native,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
};

/// As whom, and as of when, a member speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    member: String,
    generation: i32,
}

impl Stamp {
    /// That of the consumer; `None` while it is no member.
    pub(super) fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<Self> {
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives as long as the consumer, which is borrowed until the end. What
        // is returned is ours, and null for a consumer without a group. The member id lives as long
        // as it does and is copied before it is destroyed, which happens once.
        let stamp = unsafe {
            let metadata = native::rd_kafka_consumer_group_metadata(client);
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
