//! `tickfold tail`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tickfold_proto::admin::v1::admin_service_client::AdminServiceClient;
use tickfold_proto::admin::v1::{self as admin, tail_request::Start};

use crate::cli::{Output, Tail};

/// A record as it is printed. Members stand in this order.
#[derive(Serialize)]
struct Line {
    partition: u32,
    offset: u64,
    timestamp: Option<String>,
    /// Text; a key that is not UTF-8 is in `key_base64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    headers: BTreeMap<String, String>,
    #[serde(flatten)]
    value: Body,
}

/// The value in the form that fits.
enum Body {
    /// JSON of ours, byte for byte.
    Json(Box<RawValue>),
    /// Anything else.
    Bytes(String),
    /// A tombstone.
    Tombstone,
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Json(json) => map.serialize_entry("value", json)?,
            Self::Bytes(base64) => map.serialize_entry("value_base64", base64)?,
            Self::Tombstone => map.serialize_entry("value", &())?,
        }
        map.end()
    }
}

/// Prints records as they come.
pub(crate) async fn tail(tail: Tail) -> Result<ExitCode> {
    let start = if tail.from_beginning { Start::FromBeginning(()) } else { Start::FromEnd(()) };
    let request = admin::TailRequest {
        topic: tail.topic,
        partitions: tail.partitions,
        until_end: tail.until_end,
        limit: tail.limit.unwrap_or_default(),
        start: Some(start),
    };
    let channel = super::connect(&tail.client).await?;
    let mut service = AdminServiceClient::new(channel)
        .max_decoding_message_size(tickfold_query::TAIL_MESSAGE_BYTES_MAX);
    let mut records =
        service.tail(request).await.map_err(|status| super::failed(&status))?.into_inner();
    loop {
        let next = records.message().await.map_err(|status| super::failed(&status))?;
        let Some(reply) = next else { return Ok(ExitCode::SUCCESS) };
        let record = reply.record.ok_or_else(|| anyhow!("the node sent an empty record"))?;
        let line = Line::from(record);
        match tail.client.output {
            Output::Jsonl => super::print_part(&(serde_json::to_string(&line)? + "\n")),
            Output::Json => super::print_part(&(serde_json::to_string_pretty(&line)? + "\n")),
            Output::Table => super::print_part(&line.row()),
        }
    }
}

impl Line {
    fn row(&self) -> String {
        let key = self.key.as_deref().or(self.key_base64.as_deref()).unwrap_or("-");
        let value = match &self.value {
            Body::Json(json) => json.get(),
            Body::Bytes(base64) => base64,
            Body::Tombstone => "(tombstone)",
        };
        let time = self.timestamp.as_deref().unwrap_or("-");
        format!("{}@{}  {time}  {key}  {value}\n", self.partition, self.offset)
    }
}

impl From<admin::Record> for Line {
    fn from(record: admin::Record) -> Self {
        let text =
            record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).map(str::to_owned);
        let key_base64 = match text {
            Some(_) => None,
            None => record.key.as_ref().map(|key| STANDARD.encode(key)),
        };
        // Derived records say what they are; a webhook's body is bytes, whatever it looks like.
        let ours = record.headers.iter().any(|header| header.name == "ce_id");
        let value = match record.value {
            None => Body::Tombstone,
            Some(value) if ours => match serde_json::from_slice::<Box<RawValue>>(&value) {
                Ok(json) => Body::Json(json),
                Err(_) => Body::Bytes(STANDARD.encode(&value)),
            },
            Some(value) => Body::Bytes(STANDARD.encode(&value)),
        };
        let header = |header: admin::Header| {
            (header.name, String::from_utf8_lossy(&header.value).into_owned())
        };
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp: super::show::time(record.timestamp),
            key: text,
            key_base64,
            headers: record.headers.into_iter().map(header).collect(),
            value,
        }
    }
}
