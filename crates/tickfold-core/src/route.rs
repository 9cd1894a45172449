//! Routing: which accounts a body names, so where it is appended, and which of its changes a
//! partition folds. One pure function for ingress and for tasks, or an item would be lost between
//! them.
//!
//! Law: each slot of a body belongs to exactly one partition, and [`route`] names that partition.

use crate::ids::{ID_BYTES_MAX, WabaId};
use crate::json::{Json, Object};
use crate::raw::{partition_of, partition_of_unrouted};

/// Version of this function, kept in every raw record. A change of the rules below is a new
/// version, and the old one stays for the records it placed.
pub const ROUTE_VERSION: u32 = 1;

/// Where a body is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Partition of the raw topic.
    pub partition: u32,
    /// Key of the raw record: the first account of the body that belongs to the partition, or the
    /// SHA-256 of the body where no account is named. The Java partitioner puts the key into the
    /// same partition.
    pub key: Vec<u8>,
}

/// The partitions a body is appended to, each once, in the order in which the body names them.
/// Never empty: a body that names no account, or is no JSON at all, has one place too.
pub fn route(body: &[u8], partition_count: u32) -> Vec<Destination> {
    let mut destinations: Vec<Destination> = Vec::new();
    let mut push = |waba_id: Option<&WabaId>| {
        let destination = match waba_id {
            Some(id) => Destination {
                partition: partition_of(id, partition_count),
                key: id.as_str().as_bytes().to_vec(),
            },
            None => Destination {
                partition: partition_of_unrouted(body, partition_count),
                key: crate::hash::sha256(body).to_vec(),
            },
        };
        if destinations.iter().all(|d| d.partition != destination.partition) {
            destinations.push(destination);
        }
    };
    let slots = slots(body);
    slots.iter().for_each(|slot| push(slot.waba_id.as_ref()));
    if slots.is_empty() {
        push(None);
    }
    destinations
}

/// A part of a body that is routed as a whole: a change, or a place where the envelope is broken.
#[derive(Debug)]
pub struct Slot<'a> {
    /// JSON path within the body.
    pub path: String,
    /// The account it belongs to; `None` is unrouted.
    pub waba_id: Option<WabaId>,
    /// What stands there.
    pub content: Content<'a>,
}

impl Slot<'_> {
    /// The partition that folds this slot.
    pub fn partition(&self, body: &[u8], partition_count: u32) -> u32 {
        match &self.waba_id {
            Some(waba_id) => partition_of(waba_id, partition_count),
            None => partition_of_unrouted(body, partition_count),
        }
    }
}

/// What a [`Slot`] holds.
#[derive(Debug)]
pub enum Content<'a> {
    /// A change with a field name and a value.
    Change {
        /// `entry[].id`: an account for most fields, a business portfolio for partner events.
        entry_id: Option<String>,
        /// `entry[].time`, on management fields only.
        entry_time: Option<Json<'a>>,
        /// `field`, dispatching is by it.
        field: String,
        /// `value`.
        value: Json<'a>,
    },
    /// The envelope is broken here.
    Broken {
        /// Which part: `body`, `envelope`, `entry`, `changes` or `change`.
        scope: &'static str,
        /// What is wrong, in snake case.
        reason: &'static str,
        /// The text that stands there.
        raw: RawText<'a>,
    },
}

/// Raw text that may not even be UTF-8.
#[derive(Debug, Clone, Copy)]
pub enum RawText<'a> {
    /// JSON text.
    Json(&'a str),
    /// Bytes that are not JSON.
    Bytes(&'a [u8]),
}

/// All slots of a body in its order. Total: any bytes give slots.
pub fn slots(body: &[u8]) -> Vec<Slot<'_>> {
    let broken = |path: &str, waba_id, scope, reason, raw| Slot {
        path: path.to_owned(),
        waba_id,
        content: Content::Broken { scope, reason, raw },
    };
    let Ok(root) = Json::parse(body) else {
        return vec![broken("$", None, "body", "not_json", RawText::Bytes(body))];
    };
    let envelope = |reason| vec![broken("$", None, "envelope", reason, RawText::Json(root.raw()))];
    let Some(object) = root.object() else { return envelope("not_an_object") };
    let product = object.text("object");
    if product.as_deref() != Some("whatsapp_business_account") {
        return envelope("object_is_not_whatsapp_business_account");
    }
    let Some(entries) = object.raw_member("entry").and_then(Json::array) else {
        return envelope("entry_is_not_an_array");
    };
    let mut slots = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let path = format!("$.entry[{index}]");
        match entry.object() {
            Some(object) => entry_slots(&path, &object, &mut slots),
            None => slots.push(broken(
                &path,
                None,
                "entry",
                "not_an_object",
                RawText::Json(entry.raw()),
            )),
        }
    }
    slots
}

fn entry_slots<'a>(path: &str, entry: &Object<'a>, slots: &mut Vec<Slot<'a>>) {
    let entry_id = entry.get("id").and_then(Json::id).map(String::from);
    let entry_waba = entry_id.as_deref().and_then(waba_id);
    let entry_time = entry.get("time");
    let broken = |path: String, scope, reason, raw: Json<'a>| Slot {
        path,
        waba_id: entry_waba.clone(),
        content: Content::Broken { scope, reason, raw: RawText::Json(raw.raw()) },
    };
    // Webhooks with values switched off name the fields that changed and carry no data.
    if let Some(fields) = entry.get("changed_fields") {
        slots.push(Slot {
            path: format!("{path}.changed_fields"),
            waba_id: entry_waba.clone(),
            content: Content::Change {
                entry_id: entry_id.clone(),
                entry_time,
                field: "changed_fields".to_owned(),
                value: fields,
            },
        });
    }
    let Some(changes) = entry.get("changes") else { return };
    let Some(changes) = changes.array() else {
        slots.push(broken(format!("{path}.changes"), "changes", "not_an_array", changes));
        return;
    };
    for (index, change) in changes.into_iter().enumerate() {
        let path = format!("{path}.changes[{index}]");
        let Some(object) = change.object() else {
            slots.push(broken(path, "change", "not_an_object", change));
            continue;
        };
        let (Some(field), Some(value)) = (object.text("field"), object.raw_member("value")) else {
            slots.push(broken(path, "change", "field_or_value_missing", change));
            continue;
        };
        // For partner events the entry is a business portfolio and the account stands inside.
        let inner = value.object().and_then(|value| value.object("waba_info"));
        let inner = inner.and_then(|info| waba_id(&info.get("waba_id")?.id()?));
        slots.push(Slot {
            path,
            waba_id: inner.or_else(|| entry_waba.clone()),
            content: Content::Change { entry_id: entry_id.clone(), entry_time, field, value },
        });
    }
}

fn waba_id(text: &str) -> Option<WabaId> {
    (text.len() <= ID_BYTES_MAX).then(|| WabaId::new(text))
}
