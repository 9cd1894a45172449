//! Replies as people and scripts see them: flat JSON without what is absent, and a table.

mod message;
mod party;
mod record;
mod standing;

use std::borrow::Cow;

use prost_types::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::query::v1 as query;

pub(super) use message::{Charge, Decision, Source, Transition};
pub(super) use message::{charge, decision, message, source, transition};
pub(super) use party::{conversation, user};
pub(super) use record::{ActionRecord, AlertRecord, TransitionRecord};
pub(super) use standing::{account, number, template};

/// Something with a table of its own.
pub(super) trait Show {
    /// Lines of name and value.
    fn table(&self) -> String;
}

/// Anything serialisable, as a table: scalars first, one line each, then one line per element of
/// each list.
impl<T: Serialize> Show for T {
    fn table(&self) -> String {
        let mut text = String::new();
        if let Ok(Value::Object(members)) = serde_json::to_value(self) {
            let width = members.keys().map(String::len).max().unwrap_or_default();
            // The JSON object is sorted by name; the struct's own order reads better.
            for name in field_order(self) {
                match members.get(&name) {
                    Some(Value::Array(items)) => {
                        text.push_str(&format!("{name}\n"));
                        items
                            .iter()
                            .for_each(|item| text.push_str(&format!("  {}\n", one_line(item))));
                    }
                    Some(value) => text.push_str(&format!("{name:width$}  {}\n", one_line(value))),
                    None => {}
                }
            }
        }
        text
    }
}

/// Names of the members in the order in which they are written.
fn field_order(value: &impl Serialize) -> Vec<String> {
    let text = serde_json::to_string(value).unwrap_or_default();
    let document = tickfold_core::json::Document::parse(text.as_bytes()).ok();
    let object = document.as_ref().and_then(|document| document.root().object());
    object.map(|object| object.names().map(Cow::into_owned).collect()).unwrap_or_default()
}

fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('\n', "\\n"),
        Value::Object(members) => {
            let parts = members.iter().map(|(name, value)| format!("{name}={}", one_line(value)));
            parts.collect::<Vec<_>>().join(" ")
        }
        Value::Array(items) => items.iter().map(one_line).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[derive(Serialize)]
pub(in crate::client) struct AsOf {
    positions: Vec<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<i64>,
    role: String,
}

#[derive(Serialize)]
struct Position {
    partition: u32,
    offset: u64,
}

/// A topic and the records in it.
#[derive(Serialize)]
pub(super) struct Topic {
    name: String,
    kind: &'static str,
    records: u64,
    partitions: Vec<TopicPartition>,
    description: String,
}

#[derive(Serialize)]
struct TopicPartition {
    partition: u32,
    start_offset: u64,
    end_offset: u64,
}

impl From<admin::Topic> for Topic {
    fn from(topic: admin::Topic) -> Self {
        let kind = match topic.kind() {
            admin::TopicKind::Stream => "stream",
            admin::TopicKind::Table => "table",
            admin::TopicKind::Unspecified => "unknown",
        };
        let partition = |p: admin::TopicPartition| TopicPartition {
            partition: p.partition,
            start_offset: p.start_offset,
            end_offset: p.end_offset,
        };
        let partitions: Vec<_> = topic.partitions.into_iter().map(partition).collect();
        let records = partitions.iter().map(|p| p.end_offset.saturating_sub(p.start_offset)).sum();
        Self { name: topic.name, kind, records, partitions, description: topic.description }
    }
}

pub(super) fn topics_table(topics: &[Topic]) -> String {
    let width = topics.iter().map(|topic| topic.name.len()).max().unwrap_or_default().max(5);
    let mut text = format!(
        "{:width$}  {:6}  {:>10}  {:>10}  DESCRIPTION\n",
        "TOPIC", "KIND", "PARTITIONS", "RECORDS"
    );
    for topic in topics {
        let Topic { name, kind, records, partitions, description } = topic;
        let partitions = partitions.len();
        text.push_str(&format!(
            "{name:width$}  {kind:6}  {partitions:>10}  {records:>10}  {description}\n"
        ));
    }
    text
}

fn position(as_of: query::AsOf) -> AsOf {
    let role = as_of.role().as_str_name().trim_start_matches("ROLE_").to_ascii_lowercase();
    let age_ms = as_of.age.map(|age| {
        age.seconds.saturating_mul(1_000).saturating_add(i64::from(age.nanos) / 1_000_000)
    });
    let positions =
        as_of.positions.into_iter().map(|p| Position { partition: p.partition, offset: p.offset });
    AsOf { positions: positions.collect(), event_time: time(as_of.event_time), age_ms, role }
}

/// Anything serialisable on one line.
pub(super) fn inline(value: &impl Serialize) -> String {
    serde_json::to_value(value).map(|value| one_line(&value)).unwrap_or_default()
}

/// Absent text is empty on the wire.
pub(super) fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// RFC 3339 with milliseconds.
pub(super) fn time(time: Option<Timestamp>) -> Option<String> {
    let time = time?;
    let ms = time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000);
    Some(tickfold_core::time::Timestamp::from_millis(ms).to_string())
}
