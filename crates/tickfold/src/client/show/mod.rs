//! Replies as people and scripts see them: flat JSON without what is absent, and a table.

mod message;
mod party;

use prost_types::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::query::v1 as query;

pub(super) use message::{Charge, Decision, Message, Source, Transition};
pub(super) use message::{charge, decision, message, source, transition};
pub(super) use party::{conversation, user};

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
    let object =
        tickfold_core::json::Json::parse(text.as_bytes()).ok().and_then(|json| json.object());
    object.map(|object| object.names().map(str::to_owned).collect()).unwrap_or_default()
}

fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
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

#[derive(Serialize)]
pub(super) struct Template {
    waba_id: String,
    template_id: String,
    language: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    revision: u64,
    events: Vec<TemplateEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

#[derive(Serialize)]
struct TemplateEvent {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

pub(super) fn template(template: query::Template, as_of: Option<query::AsOf>) -> Template {
    let event = |event: query::TemplateEvent| TemplateEvent {
        event: event.event,
        event_time: time(event.event_time),
        reason: text(event.reason),
        title: text(event.title),
        description: text(event.description),
    };
    Template {
        waba_id: template.waba_id,
        template_id: template.template_id,
        language: template.language,
        name: text(template.name),
        status: template.status,
        event_time: time(template.event_time),
        reason: text(template.reason),
        category: text(template.category),
        revision: template.revision,
        events: template.events.into_iter().map(event).collect(),
        as_of: as_of.map(position),
    }
}

#[derive(Serialize)]
pub(super) struct Account {
    waba_id: String,
    state: String,
    revision: u64,
    events: Vec<AccountEvent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    totals: Vec<ChargeTotal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

#[derive(Serialize)]
struct AccountEvent {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ban_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    violation_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restrictions: Vec<Restriction>,
}

#[derive(Serialize)]
struct Restriction {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
}

#[derive(Serialize)]
struct ChargeTotal {
    month: String,
    category: String,
    #[serde(rename = "type")]
    kind: String,
    charges: u64,
    billable: u64,
}

pub(super) fn account(account: query::Account, as_of: Option<query::AsOf>) -> Account {
    let restriction = |restriction: query::AccountRestriction| Restriction {
        kind: restriction.r#type,
        expire_time: time(restriction.expire_time),
    };
    let event = |event: query::AccountEvent| AccountEvent {
        event: event.event,
        event_time: time(event.event_time),
        phone_number: text(event.subject),
        ban_state: text(event.ban_state),
        violation_type: text(event.violation_type),
        restrictions: event.restrictions.into_iter().map(restriction).collect(),
    };
    let total = |total: query::ChargeTotal| ChargeTotal {
        month: total.month,
        category: total.category,
        kind: total.r#type,
        charges: total.charges,
        billable: total.billable,
    };
    Account {
        waba_id: account.waba_id,
        state: account.state,
        revision: account.revision,
        events: account.events.into_iter().map(event).collect(),
        totals: account.totals.into_iter().map(total).collect(),
        as_of: as_of.map(position),
    }
}

#[derive(Serialize)]
pub(super) struct Number {
    phone_number_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waba_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen_time: Option<String>,
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

pub(super) fn number(number: query::Number, as_of: Option<query::AsOf>) -> Number {
    Number {
        phone_number_id: number.phone_number_id,
        waba_id: text(number.waba_id),
        display_phone_number: text(number.display_phone_number),
        first_seen_time: time(number.first_seen_time),
        revision: number.revision,
        as_of: as_of.map(position),
    }
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
