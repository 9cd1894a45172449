//! What the records of the derived topics look like: `schemas/<topic>.json`, the JSON Schema
//! (2020-12) of each value; `schemas/asyncapi.json`, an AsyncAPI 3 document over all topics; and
//! `docs/topics/`, a page per topic. All of it from the Rust types that write the records, and from
//! [`about`], which says of a topic what no field can.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value, json};
use tickfold_core::fold::{Output, Partition};
use tickfold_core::overlay::Nothing;
use tickfold_core::raw::{RawRecord, WebhookHeaders};
use tickfold_core::records::{Topic, schemas};
use tickfold_core::time::Timestamp;
use tickfold_core::{Overlay, fold};

use crate::generated::Generated;

const COMMAND: &str = "cargo run -p xtask -- schemas";
const SCHEMAS_DIR: &str = "schemas";
const PAGES_DIR: &str = "docs/topics";
const CORPUS_DIR: &str = "crates/tickfold-core/testdata/corpus";

/// The prefix of topic names as it is when nobody configures another.
const PREFIX: &str = "wa";

/// A minute after the events of the corpus: 2026-11-20T00:01:00Z.
const APPENDED_MS: i64 = 1_795_132_860_000;

/// What a page says of its topic besides the fields.
struct About {
    /// What the key of a record is.
    key: &'static str,
    /// What a record means and when there is one.
    meaning: &'static str,
    /// The body of the corpus whose first record of this topic is the example.
    example: &'static str,
}

/// Schemas and pages.
pub(crate) fn generate(root: &Path) -> anyhow::Result<Vec<Generated>> {
    let mut topics = Vec::new();
    for (name, schema) in schemas() {
        let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name);
        let topic = topic.with_context(|| format!("no topic is called {name}"))?;
        topics.push((topic, strict(schema.to_value())));
    }
    let mut files = BTreeMap::new();
    for (topic, schema) in &topics {
        files.insert(schema_path(*topic), pretty(schema)?);
    }
    files.insert(Path::new(SCHEMAS_DIR).join("asyncapi.json"), pretty(&asyncapi(&topics))?);
    let schema_files = Generated { command: COMMAND, out_dir: SCHEMAS_DIR, files };

    let mut files = BTreeMap::new();
    for (topic, schema) in &topics {
        let page = page(*topic, schema, &example(root, *topic)?);
        files.insert(page_path(*topic), page.into_bytes());
    }
    files.insert(Path::new(PAGES_DIR).join("README.md"), index(&topics).into_bytes());
    Ok(vec![schema_files, Generated { command: COMMAND, out_dir: PAGES_DIR, files }])
}

fn about(topic: Topic) -> About {
    let about = |key, meaning, example| About { key, meaning, example };
    match topic {
        Topic::MessageState => about(
            "`wamid`, or `wamid/participant` for a participant of a group message",
            "The state of a message, inbound or outbound. A row is written when a fact of the message is new or \
             better known: a status, an error code, pricing, an earlier time. Repetitions write nothing.",
            "status.delivered.pmp_v24",
        ),
        Topic::ConversationState => about(
            "phone number id `/` party",
            "The conversation of one of your numbers with one customer: when who wrote last, whether the customer \
             service window is open, how many messages there were.",
            "messages.text",
        ),
        Topic::TemplateState => about(
            "account `/` template id `/` language",
            "Where one language of a template stands: status, quality, category, the end of a pause, and what is \
             announced. The latest event of each kind counts; a pause that ends by itself writes a row too.",
            "template.status.approved",
        ),
        Topic::NumberState => about(
            "phone number id; `/restriction/type` behind it for a restriction of this number",
            "One of your numbers: state, quality, limit, name, username, security. Meta says these of the number as it is \
             displayed; the row is written once a webhook of a message links its id.",
            "messages.text",
        ),
        Topic::AccountState => about(
            "account; `/restriction/type` behind it for a restriction, `/tier/month/region/category/tier` for a volume tier, \
             `/charges/month/category/type` for a total of charges",
            "A WhatsApp Business account: restrictions, bans, limits, reviews, whether it is still with you. And how many \
             charges it has had in a month, by category and type.",
            "account_update.disabled",
        ),
        Topic::Transition => about(
            "key of the entity, as in its table",
            "One record per new fact of any entity, in the order in which tickfold learned of them: from which shown \
             state, by which fact, to which. `late` marks facts that came behind a later one; they are history, and no \
             reason to act. This is the topic to count from: each fact is in it once.",
            "status.delivered.pmp_v24",
        ),
        Topic::Event => about(
            "key of the entity that the event is about: a wamid, a template, a number, an account",
            "Everything that is not a status: inbound messages, calls, groups, management events, and whatever is not \
             known yet, with the JSON as Meta sent it. Each once, by its natural key.",
            "messages.text",
        ),
        Topic::UserState => about(
            "account `/` identifier; `/preference/category` or `/alias/identifier/relation` behind it",
            "A user under one of its identifiers: name, preferences, and which other identifiers are the same user. \
             Messages keep the identifier they came with; join them through the aliases.",
            "messages.text.2026_with_bsuid",
        ),
        Topic::Charge => about(
            "`wamid`, or `wamid/participant` for a participant of a group message",
            "What Meta bills for a message, once it was delivered: category, type, country of the recipient. A better \
             known price replaces what was told before: of one `charge_id` the highest `sequence` counts. A price on \
             `sent` or `failed` is no charge.",
            "status.delivered.pmp_v24",
        ),
        Topic::Action => about(
            "`action_id`",
            "Something to be done, by the rules in force at that place of the log: another channel, an opt-out, a halt, \
             a retry. Each is told once, whatever is repeated or replayed, and not after its `not_after`. Carry it out \
             once per `action_id`; a `fallback_superseded` or a `resume_` takes back the one it names in `supersedes`.",
            "status.failed.131026",
        ),
        Topic::Alert => about(
            "what it is about: an account, a number, a template, a message",
            "Something a human should look at, told once, with a severity and the next step: error codes that the rules name \
             or do not know; templates, numbers and accounts that may not send; quality and limits that fell; security; \
             lost content; words that nobody has seen; silence; fallbacks that came too late; prices that contradict each \
             other.",
            "status.failed.131042",
        ),
        Topic::DeadLetter => about(
            "raw partition `-` raw offset of the webhook",
            "What could not be folded, item by item: the rest of its body was folded. It names the raw record, which \
             is still there. A redrive folds that record once more: what it left has the same key and a \
             `redrive_position`, and if it left nothing, one record with the reason `redriven` says so. Of one key the \
             records with the highest `source_offset` count.",
            "bad.status_without_id",
        ),
    }
}

/// The record stays as strict as what writes it: what is absent is left out, never `null`, though
/// the type in Rust is an `Option`.
fn strict(mut schema: Value) -> Value {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (_, property) in properties.into_iter().flatten() {
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|one| one != "null");
            if let [one] = types.as_slice() {
                property["type"] = one.clone();
            }
        }
        if let Some(Value::Array(options)) = property.get_mut("anyOf") {
            options.retain(|one| one.get("type") != Some(&json!("null")));
        }
    }
    // Another crate of the workspace may switch on serde_json's `preserve_order`, and the bytes must
    // not depend on which crates are built together.
    schema.sort_all_objects();
    schema
}

/// AsyncAPI 3: a channel per topic, of which applications receive.
fn asyncapi(topics: &[(Topic, Value)]) -> Value {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for (topic, schema) in topics {
        let name = topic.name();
        let id = name.replace(['.', '-'], "_");
        let About { key, meaning, .. } = about(*topic);
        let message = json!({
            "name": name,
            "title": schema.get("title"),
            "contentType": "application/json",
            "headers": headers(),
            "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": { "$ref": format!("./{name}.json") } },
            "bindings": { "kafka": { "key": { "type": "string", "description": key } } },
        });
        channels.insert(
            id.clone(),
            json!({
                "address": format!("{PREFIX}.{name}"),
                "description": meaning,
                "messages": { "record": message },
                "bindings": { "kafka": { "topic": format!("{PREFIX}.{name}"), "topicConfiguration": {
                    "cleanup.policy": [if topic.is_table() { "compact" } else { "delete" }],
                } } },
            }),
        );
        operations.insert(
            format!("receive_{id}"),
            json!({
                "action": "receive",
                "channel": { "$ref": format!("#/channels/{id}") },
                "messages": [{ "$ref": format!("#/channels/{id}/messages/record") }],
            }),
        );
    }
    let mut document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "tickfold: derived topics",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "State and events of WhatsApp Business, derived exactly once from the raw topic. Read with \
                            isolation.level=read_committed. The prefix of the names is configurable.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    });
    document.sort_all_objects();
    document
}

/// The headers of every record.
fn headers() -> Value {
    json!({ "type": "object", "required": ["ce_id", "ce_source", "ce_specversion", "ce_time", "ce_type"], "properties": {
        "ce_id": { "type": "string", "description": "The record's event_id." },
        "ce_source": { "type": "string", "description": "The raw partition it comes from." },
        "ce_specversion": { "const": "1.0" },
        "ce_time": { "type": "string", "format": "date-time", "description": "Log time." },
        "ce_type": { "type": "string" },
        "content-type": { "const": "application/json", "description": "Absent on tombstones." },
    } })
}

/// The page of a topic.
fn page(topic: Topic, schema: &Value, example: &str) -> String {
    let About { key, meaning, .. } = about(topic);
    let name = topic.name();
    let kind = if topic.is_table() {
        "Table: compacted, only the last record of a key counts; a record without a value deletes the row."
    } else {
        "Stream: every record counts."
    };
    let mut page = format!(
        "<!-- Written by `{COMMAND}`. -->\n# `{PREFIX}.{name}`\n\n{meaning}\n\n- {kind}\n- Key: {key}.\n\
         - Partition: that of the raw record, so by account, not by key. A keyed join with another topic of yours \
         repartitions first; all topics of tickfold join as they are.\n\
         - JSON Schema: [`{SCHEMAS_DIR}/{name}.json`](../../{SCHEMAS_DIR}/{name}.json).\n\n## Fields\n\n\
         | field | type | |\n|---|---|---|\n"
    );
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, property) in schema["properties"].as_object().into_iter().flatten() {
        let description = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let presence = if required.contains(&field.as_str()) { "" } else { " May be absent." };
        let _ = writeln!(page, "| `{field}` | {} | {description}{presence} |", type_of(property));
    }
    let _ = write!(page, "\n## Example\n\n```json\n{example}\n```\n");
    page
}

/// The type of a field in words: a format says more than the type it refines.
fn type_of(property: &Value) -> String {
    let format = property["format"].as_str().unwrap_or_default();
    match (property["type"].as_str().unwrap_or("any"), format) {
        (_, "date-time") => "RFC 3339 time, UTC".to_owned(),
        (kind, _) => kind.to_owned(),
    }
}

fn index(topics: &[(Topic, Value)]) -> String {
    let mut page = format!(
        "<!-- Written by `{COMMAND}`. -->\n# Derived topics\n\nWritten exactly once; read them with \
         `isolation.level=read_committed`. Values are flat JSON: scalars only, ids as strings, times in RFC 3339 UTC, \
         Meta's own words, absent fields left out. `{PREFIX}` is the configurable prefix. All of them together as \
         AsyncAPI 3: [`{SCHEMAS_DIR}/asyncapi.json`](../../{SCHEMAS_DIR}/asyncapi.json).\n\n| topic | kind | key |\n|---|---|---|\n"
    );
    for (topic, _) in topics {
        let (name, kind) = (topic.name(), if topic.is_table() { "table" } else { "stream" });
        let key = about(*topic).key;
        let _ = writeln!(page, "| [`{PREFIX}.{name}`]({name}.md) | {kind} | {key} |");
    }
    let _ = write!(page, "{}", reading());
    page
}

/// How to read the topics with what an analyst has at hand; a test runs each line.
fn reading() -> String {
    let kcat = "kcat -C -b 127.0.0.1:9092 -t";
    let (stream, table) = (Topic::Transition.name(), Topic::MessageState.name());
    format!(
        "\n## Reading them\n\nOn one machine `tickfold tail` prints any of them. With the log on Kafka every client will do. \
         kcat and others on librdkafka read committed records only; Java's client, and what is built on it, does so \
         with `isolation.level=read_committed`, and without it also hands out what a processor wrote that died before \
         its commit: records that come once more. The partition is that of the account: a record that you write with \
         an account as its key, by Java's default partitioner or `partitioner=murmur2_random` elsewhere, lies beside \
         them.\n\n```\n\
         {kcat} {PREFIX}.{stream} -o beginning -e -q               # a stream, up to its end\n\
         {kcat} {PREFIX}.{stream} -o -5 -e -q -J                   # the last five of each partition, with key, place and headers\n\
         {kcat} {PREFIX}.{stream} -o s@1790000000000 -e -q         # those since a time, in milliseconds\n\
         {kcat} {PREFIX}.{table} -o beginning -e -q -f '%k\\t%s\\n' | awk -F '\\t' '{{ row[$1] = $2 }} END {{ for (key in row) if (row[key] != \"\") print row[key] }}'  # a table: the last row of each key\n\
         ```\n"
    )
}

/// The value of a real record, as the fold writes it.
fn example(root: &Path, topic: Topic) -> anyhow::Result<String> {
    let path = root.join(CORPUS_DIR).join(format!("{}.json", about(topic).example));
    let body = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let outputs = folded(&body)?;
    let of_topic = outputs.into_iter().find(|output| output.topic == topic);
    let value = of_topic.and_then(|output| output.value);
    let value =
        value.with_context(|| format!("{} gives no record of {topic:?}", path.display()))?;
    let value: Value = serde_json::from_slice(&value)?;
    Ok(serde_json::to_string_pretty(&value)?)
}

fn folded(body: &[u8]) -> anyhow::Result<Vec<Output>> {
    let appended = Timestamp::from_millis(APPENDED_MS);
    let headers = WebhookHeaders {
        signature: String::new(),
        received_time: appended,
        app: "main".to_owned(),
        secret_id: "1".to_owned(),
        request_id: String::new(),
        partition_count: 1,
    };
    let headers = headers.encode();
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let record = RawRecord { offset: 0, appended, headers, value: Some(body) };
    let partition = Partition { id: 0, count: 1 };
    Ok(fold(&mut Overlay::default(), &Nothing, partition, &record)?)
}

fn schema_path(topic: Topic) -> PathBuf {
    Path::new(SCHEMAS_DIR).join(format!("{}.json", topic.name()))
}

fn page_path(topic: Topic) -> PathBuf {
    Path::new(PAGES_DIR).join(format!("{}.md", topic.name()))
}

fn pretty(value: &Value) -> anyhow::Result<Vec<u8>> {
    let mut json = serde_json::to_string_pretty(value)?;
    json.push('\n');
    Ok(json.into_bytes())
}
