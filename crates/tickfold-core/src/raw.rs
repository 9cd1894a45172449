//! The raw record: what ingress appends and what the fold reads. The format is fixed for ever;
//! every log already written has it.
//!
//! The value of a webhook is the body exactly as Meta sent it. Everything else is in headers, as
//! ASCII text, so that any Kafka tool can read it.

use crate::hash::murmur2;
use crate::ids::WabaId;
use crate::time::Timestamp;

/// Names of the headers of raw records.
pub mod header {
    /// `webhook` or `control`.
    pub const KIND: &str = "wa-kind";
    /// Of a control record: `tick`, `rules`, later also `erase`, `redrive`.
    pub const CONTROL: &str = "wa-control";
    /// `X-Hub-Signature-256` as received, `sha256=` and 64 lower-case hex digits.
    pub const SIGNATURE: &str = "wa-signature";
    /// When ingress had read the body, RFC 3339 in UTC with milliseconds.
    pub const RECEIVED_TIME: &str = "wa-received-time";
    /// Name of the app whose path was called.
    pub const APP: &str = "wa-app";
    /// Id of the secret that matched. Never the secret.
    pub const SECRET_ID: &str = "wa-secret-id";
    /// Id of the request, the same in logs of ingress.
    pub const REQUEST_ID: &str = "wa-request-id";
    /// Version of the routing function that chose the partitions.
    pub const ROUTE_VERSION: &str = "wa-route-version";
    /// Partition count of the raw topic that the routing function was given.
    pub const PARTITION_COUNT: &str = "wa-partition-count";
}

/// Value of [`header::KIND`] for webhooks.
pub const KIND_WEBHOOK: &str = "webhook";
/// Value of [`header::KIND`] for control records.
pub const KIND_CONTROL: &str = "control";
/// Value of [`header::CONTROL`] for an empty record that only carries time.
pub const CONTROL_TICK: &str = "tick";
/// Value of [`header::CONTROL`] for a record whose value is a document of rules, in force from its
/// position on.
pub const CONTROL_RULES: &str = "rules";

/// What ingress knows of a webhook beside its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookHeaders {
    /// See [`header::SIGNATURE`].
    pub signature: String,
    /// See [`header::RECEIVED_TIME`].
    pub received_time: Timestamp,
    /// See [`header::APP`].
    pub app: String,
    /// See [`header::SECRET_ID`].
    pub secret_id: String,
    /// See [`header::REQUEST_ID`].
    pub request_id: String,
    /// See [`header::PARTITION_COUNT`].
    pub partition_count: u32,
}

impl WebhookHeaders {
    /// The headers in the order in which they are appended.
    pub fn encode(&self) -> Vec<(&'static str, String)> {
        vec![
            (header::KIND, KIND_WEBHOOK.to_owned()),
            (header::SIGNATURE, self.signature.clone()),
            (header::RECEIVED_TIME, self.received_time.to_string()),
            (header::APP, self.app.clone()),
            (header::SECRET_ID, self.secret_id.clone()),
            (header::REQUEST_ID, self.request_id.clone()),
            (header::ROUTE_VERSION, crate::route::ROUTE_VERSION.to_string()),
            (header::PARTITION_COUNT, self.partition_count.to_string()),
        ]
    }
}

/// The headers of a tick: an empty control record that lets log time pass on an idle partition.
pub fn tick_headers(partition_count: u32) -> Vec<(&'static str, String)> {
    control_headers(CONTROL_TICK, partition_count)
}

/// The headers of a record of rules.
pub fn rules_headers(partition_count: u32) -> Vec<(&'static str, String)> {
    control_headers(CONTROL_RULES, partition_count)
}

fn control_headers(control: &str, partition_count: u32) -> Vec<(&'static str, String)> {
    vec![
        (header::KIND, KIND_CONTROL.to_owned()),
        (header::CONTROL, control.to_owned()),
        (header::PARTITION_COUNT, partition_count.to_string()),
    ]
}

/// A raw record as the fold sees it. Borrowed: the shell owns the bytes.
#[derive(Debug, Clone)]
pub struct RawRecord<'a> {
    /// Offset in its partition.
    pub offset: u64,
    /// The log's append time.
    pub appended: Timestamp,
    /// Headers in order, values as bytes since nothing from the log is trusted to be text.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// Value; a raw record without one is a broken record.
    pub value: Option<&'a [u8]>,
}

impl RawRecord<'_> {
    /// The text of the first header of that name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| *key == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// The partition of an account.
pub fn partition_of(waba_id: &WabaId, partition_count: u32) -> u32 {
    partition_of_key(waba_id.as_str().as_bytes(), partition_count)
}

/// The Java producer's rule for records with a key.
pub fn partition_of_key(key: &[u8], partition_count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partition_count.max(1)
}
