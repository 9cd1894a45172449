//! Routing: which accounts a body names, so where it is appended, and which of its changes a
//! partition folds. One pure function for ingress and for tasks, or an item would be lost between
//! them.
//!
//! Law: each slot of a body belongs to exactly one partition, and [`route`] names that partition.

use std::cell::OnceCell;
use std::ops::ControlFlow;

use crate::hash::sha256;
use crate::ids::{ID_BYTES_MAX, WabaId};
use crate::json::{Document, Json, Object, Path};
use crate::raw::{partition_of, partition_of_key};

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
    let placement = Placement::new(body, partition_count);
    let mut destinations: Vec<Destination> = Vec::new();
    let mut push = |waba_id: Option<&WabaId>| {
        let partition = placement.partition(waba_id);
        if destinations.iter().all(|d| d.partition != partition) {
            let key = match waba_id {
                Some(id) => id.as_str().as_bytes().to_vec(),
                None => placement.unrouted().1.to_vec(),
            };
            destinations.push(Destination { partition, key });
        }
    };
    let mut empty = true;
    let _ = visit_slots(body, &mut |slot| {
        empty = false;
        push(slot.waba_id.as_ref());
        ControlFlow::Continue(())
    });
    if empty {
        push(None);
    }
    destinations
}

/// Where the slots of one body belong. The digest of the body is taken at most once: a body can
/// have millions of slots without an account.
#[derive(Debug)]
pub struct Placement<'a> {
    body: &'a [u8],
    partition_count: u32,
    unrouted: OnceCell<(u32, [u8; 32])>,
}

impl<'a> Placement<'a> {
    /// For a body and the partition count of the raw topic.
    pub fn new(body: &'a [u8], partition_count: u32) -> Self {
        Self { body, partition_count, unrouted: OnceCell::new() }
    }

    /// The partition of an account, or of what names none.
    pub fn partition(&self, waba_id: Option<&WabaId>) -> u32 {
        waba_id.map_or_else(|| self.unrouted().0, |id| partition_of(id, self.partition_count))
    }

    /// Partition and key of what names no account: by the digest of the body, so that a retry of
    /// the same bytes meets its twin.
    fn unrouted(&self) -> &(u32, [u8; 32]) {
        self.unrouted.get_or_init(|| {
            let digest = sha256(self.body);
            (partition_of_key(&digest, self.partition_count), digest)
        })
    }
}

/// A part of a body that is routed as a whole: a change, or a place where the envelope is broken.
#[derive(Debug)]
pub struct Slot<'a> {
    /// Where it stands in the body.
    pub path: Path<'a>,
    /// The account it belongs to; `None` is unrouted.
    pub waba_id: Option<WabaId>,
    /// What stands there.
    pub content: Content<'a>,
}

/// What a [`Slot`] holds.
#[derive(Debug)]
pub enum Content<'a> {
    /// A change with a field name and a value.
    Change {
        /// `entry[].id`: an account for most fields, a business portfolio for partner events.
        entry_id: Option<&'a str>,
        /// `entry[].time`, on management fields only.
        entry_time: Option<Json<'a>>,
        /// `field`, dispatching is by it.
        field: &'a str,
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

/// Path and account of all slots of a body, for tools and tests.
pub fn slots(body: &[u8]) -> Vec<(String, Option<WabaId>)> {
    let mut slots = Vec::new();
    let _ = visit_slots(body, &mut |slot| {
        slots.push((slot.path.to_string(), slot.waba_id));
        ControlFlow::Continue(())
    });
    slots
}

/// What is done with a slot; breaking ends the visit.
type Visit<'v> = dyn for<'a> FnMut(Slot<'a>) -> ControlFlow<()> + 'v;

/// Visits all slots of a body in its order. Total: any bytes give slots. One at a time, since a
/// body can have millions of them.
pub fn visit_slots(body: &[u8], visit: &mut Visit<'_>) -> ControlFlow<()> {
    let Ok(document) = Document::parse(body) else {
        return visit(broken(Path::Root, "body", "not_json", RawText::Bytes(body)));
    };
    let root = document.root();
    let envelope = |reason| broken(Path::Root, "envelope", reason, RawText::Json(root.raw()));
    let Some(object) = root.object() else { return visit(envelope("not_an_object")) };
    let product = object.get("object").and_then(Json::text);
    if product.as_deref() != Some("whatsapp_business_account") {
        return visit(envelope("object_is_not_whatsapp_business_account"));
    }
    let Some(entries) = object.raw_member("entry").and_then(Json::array) else {
        return visit(envelope("entry_is_not_an_array"));
    };
    let path = Path::Member(&Path::Root, "entry");
    for (index, entry) in entries.enumerate() {
        let path = Path::Element(&path, index);
        match entry.object() {
            Some(object) => visit_entry(&path, &object, visit)?,
            None => visit(broken(path, "entry", "not_an_object", RawText::Json(entry.raw())))?,
        }
    }
    ControlFlow::Continue(())
}

fn broken<'a>(
    path: Path<'a>,
    scope: &'static str,
    reason: &'static str,
    raw: RawText<'a>,
) -> Slot<'a> {
    Slot { path, waba_id: None, content: Content::Broken { scope, reason, raw } }
}

fn visit_entry(path: &Path<'_>, entry: &Object<'_>, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let entry_id = entry.get("id").and_then(Json::id);
    let entry_waba = entry_id.as_deref().and_then(waba_id);
    let entry_time = entry.get("time");
    // Webhooks with values switched off name the fields that changed and carry no data.
    if let Some(fields) = entry.get("changed_fields") {
        visit(Slot {
            path: Path::Member(path, "changed_fields"),
            waba_id: entry_waba.clone(),
            content: Content::Change {
                entry_id: entry_id.as_deref(),
                entry_time,
                field: "changed_fields",
                value: fields,
            },
        })?;
    }
    let Some(changes) = entry.get("changes") else { return ControlFlow::Continue(()) };
    let path = Path::Member(path, "changes");
    let Some(changes) = changes.array() else {
        let broken = broken(path, "changes", "not_an_array", RawText::Json(changes.raw()));
        return visit(Slot { waba_id: entry_waba, ..broken });
    };
    for (index, change) in changes.enumerate() {
        let path = Path::Element(&path, index);
        let broken = |reason| Slot {
            waba_id: entry_waba.clone(),
            ..broken(path, "change", reason, RawText::Json(change.raw()))
        };
        let Some(object) = change.object() else {
            visit(broken("not_an_object"))?;
            continue;
        };
        let field = object.get("field").and_then(Json::text);
        let (Some(field), Some(value)) = (&field, object.raw_member("value")) else {
            visit(broken("field_or_value_missing"))?;
            continue;
        };
        // For partner events the entry is a business portfolio and the account stands inside.
        let inner = may_have_waba_info(value.raw()).then(|| value.object()).flatten();
        let inner = inner.and_then(|value| value.object("waba_info"));
        let inner = inner.and_then(|info| waba_id(&info.get("waba_id")?.id()?));
        visit(Slot {
            path,
            waba_id: inner.or_else(|| entry_waba.clone()),
            content: Content::Change { entry_id: entry_id.as_deref(), entry_time, field, value },
        })?;
    }
    ControlFlow::Continue(())
}

/// False only if no member of this text is called `waba_info`, which spares opening most values
/// twice. A name may be written with escapes.
fn may_have_waba_info(text: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), b"waba_info").is_some()
        || memchr::memmem::find(text.as_bytes(), b"\\u").is_some()
}

fn waba_id(text: &str) -> Option<WabaId> {
    (text.len() <= ID_BYTES_MAX).then(|| WabaId::new(text))
}
