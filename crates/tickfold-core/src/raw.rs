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
    /// Of a control record: `tick`, `rules`, `redrive`, later also `erase`.
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
    /// Of a redrive: partition and offset of the record that it repeats, joined by `-`. Of a
    /// redrive of a redrive, those of the webhook that was the first.
    pub const REDRIVE_OF: &str = "wa-redrive-of";
    /// Of a redrive: the log's append time of the record that it repeats, RFC 3339 in UTC with
    /// milliseconds. The times in a body are judged against it.
    pub const REDRIVE_APPENDED: &str = "wa-redrive-appended";
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
/// Value of [`header::CONTROL`] for a record that repeats a webhook of the same partition, which is
/// folded as if it came again: body and headers are those of the webhook.
pub const CONTROL_REDRIVE: &str = "redrive";

/// Headers that a redrive has from the webhook.
const REPEATED: [&str; 7] = [
    header::SIGNATURE,
    header::RECEIVED_TIME,
    header::APP,
    header::SECRET_ID,
    header::REQUEST_ID,
    header::ROUTE_VERSION,
    header::PARTITION_COUNT,
];

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

/// The headers of a redrive of a webhook that this partition holds, or of what a redrive repeated.
/// `None` if the record carries no webhook.
pub fn redrive_headers(
    partition: u32,
    record: &RawRecord<'_>,
) -> Option<Vec<(&'static str, Vec<u8>)>> {
    let Webhook { appended, redrive_of, .. } = record.webhook(partition)?;
    let of = format!("{partition}-{}", redrive_of.unwrap_or(record.offset));
    let mut headers = vec![
        (header::KIND, KIND_CONTROL.into()),
        (header::CONTROL, CONTROL_REDRIVE.into()),
        (header::REDRIVE_OF, of.into_bytes()),
        (header::REDRIVE_APPENDED, appended.to_string().into_bytes()),
    ];
    // As they are, whatever they are: the fold judges them as it judged those of the webhook.
    let repeated = |name| {
        let (_, value) = record.headers.iter().find(|(key, _)| *key == name)?;
        Some((name, value.to_vec()))
    };
    headers.extend(REPEATED.into_iter().filter_map(repeated));
    Some(headers)
}

/// A webhook as a raw record carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Webhook<'a> {
    /// The body, exactly as Meta sent it.
    pub body: &'a [u8],
    /// The log's append time of the webhook: the times in the body are judged against it.
    pub appended: Timestamp,
    /// Of a redrive: the offset of the webhook that it repeats.
    pub redrive_of: Option<u64>,
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

impl<'a> RawRecord<'a> {
    /// The webhook that the record carries, be it as it came or repeated by a redrive. `None` for
    /// what carries none, and for a redrive that names no earlier record of its own partition.
    pub fn webhook(&self, partition: u32) -> Option<Webhook<'a>> {
        let body = self.value?;
        let (appended, redrive_of) = match self.header(header::KIND)? {
            KIND_WEBHOOK => (self.appended, None),
            KIND_CONTROL if self.header(header::CONTROL)? == CONTROL_REDRIVE => {
                let of = self.header(header::REDRIVE_OF).and_then(parse_position);
                let (_, of) = of.filter(|&(at, of)| at == partition && of < self.offset)?;
                let appended = self.header(header::REDRIVE_APPENDED)?;
                (Timestamp::parse_rfc3339(appended)?, Some(of))
            }
            _ => return None,
        };
        Some(Webhook { body, appended, redrive_of })
    }

    /// The text of the first header of that name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| *key == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// Reads a position as dead letters name it: partition and offset, joined by `-`.
pub fn parse_position(text: &str) -> Option<(u32, u64)> {
    let (partition, offset) = text.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(partition) || !digits(offset) {
        return None;
    }
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

/// The partition of an account.
pub fn partition_of(waba_id: &WabaId, partition_count: u32) -> u32 {
    partition_of_key(waba_id.as_str().as_bytes(), partition_count)
}

/// The Java producer's rule for records with a key.
pub fn partition_of_key(key: &[u8], partition_count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partition_count.max(1)
}
