//! Decoding a slot of a body into items, one by one: a bad item becomes one [`Item::Broken`] and
//! its siblings go on. What is not known is kept as [`Item::Other`] with its raw text.

mod account;
mod messages;
mod template;

use std::ops::ControlFlow;

use crate::ids::{
    ID_BYTES_MAX, NaturalKey, Participant, PartyId, PhoneNumberId, TemplateKey, WabaId, Wamid,
};
use crate::json::{Json, without_whitespace};
use crate::route::{Content, RawText, Slot};
use crate::state::{AccountEventFact, Pricing, Status, TemplateEventFact};
use crate::time::Timestamp;

/// An item with where it stands.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    pub site: Site<'a>,
    pub item: Item,
}

/// Where an item stands.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// JSON path within the body.
    pub path: String,
    /// Account, `None` only for items that are broken.
    pub waba_id: Option<WabaId>,
    /// Webhook field, where there is one.
    pub field: Option<String>,
    /// What stands at the path.
    pub raw: RawText<'a>,
}

/// What an item means.
#[derive(Debug)]
pub(crate) enum Item {
    Status(StatusItem),
    Inbound(InboundItem),
    Template(TemplateItem),
    Account(AccountItem),
    Other(OtherItem),
    Broken { scope: String, reason: &'static str },
}

/// One of our numbers, from `metadata`.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    pub phone_number_id: PhoneNumberId,
    pub display_phone_number: Option<String>,
}

/// A status of a message.
#[derive(Debug)]
pub(crate) struct StatusItem {
    pub wamid: Wamid,
    pub status: Status,
    pub time: Option<Timestamp>,
    pub participant: Participant,
    pub group: bool,
    /// Identifiers of the other side: the group for group messages.
    pub parties: Vec<PartyId>,
    pub metadata: Option<Metadata>,
    pub errors: Vec<StatusError>,
    pub pricing: Option<Pricing>,
    pub callback_data: Option<String>,
}

/// An entry of `errors[]`.
#[derive(Debug)]
pub(crate) struct StatusError {
    pub code: i64,
    pub title: Option<String>,
    pub message: Option<String>,
    pub details: Option<String>,
}

/// A message of a customer.
#[derive(Debug)]
pub(crate) struct InboundItem {
    pub wamid: Wamid,
    pub time: Option<Timestamp>,
    pub group: bool,
    pub parties: Vec<PartyId>,
    pub metadata: Option<Metadata>,
    pub message_type: String,
    pub reply_to: Option<String>,
    pub text: Option<String>,
}

/// A `message_template_status_update`.
#[derive(Debug)]
pub(crate) struct TemplateItem {
    pub key: TemplateKey,
    pub event: String,
    pub fact: TemplateEventFact,
    pub natural_key: NaturalKey,
}

/// An `account_update`.
#[derive(Debug)]
pub(crate) struct AccountItem {
    pub waba_id: WabaId,
    pub event: String,
    /// The number it is about, or empty.
    pub subject: String,
    pub fact: AccountEventFact,
    pub natural_key: NaturalKey,
}

/// Anything else, kept with its raw text.
#[derive(Debug)]
pub(crate) struct OtherItem {
    pub kind: String,
    pub time: Option<Timestamp>,
    pub key: OtherKey,
    pub metadata: Option<Metadata>,
}

/// How an event is told from another.
#[derive(Debug)]
pub(crate) enum OtherKey {
    /// The same key is the same event: emitted once.
    Once(NaturalKey),
    /// A name, not an identity: each occurrence counts.
    Each(NaturalKey),
}

/// A change on its way through the decoder of its field.
struct Change<'a> {
    path: &'a str,
    waba_id: &'a WabaId,
    entry_id: &'a str,
    /// `entry.time`, as far as it makes sense.
    entry_time: Option<Timestamp>,
    field: &'a str,
    appended: Timestamp,
}

/// What is done with an item; breaking ends the decoding.
pub(crate) type Visit<'v, 'a> = dyn FnMut(Decoded<'a>) -> ControlFlow<()> + 'v;

/// Decodes a slot, item by item: a slot can hold millions of them. `appended` is the append time of
/// the record, against which event times are judged.
pub(crate) fn decode<'a>(
    slot: &Slot<'a>,
    appended: Timestamp,
    visit: &mut Visit<'_, 'a>,
) -> ControlFlow<()> {
    let broken = |scope: &str, reason, field: Option<&str>, raw| Decoded {
        site: Site {
            path: slot.path.clone(),
            waba_id: slot.waba_id.clone(),
            field: field.map(str::to_owned),
            raw,
        },
        item: Item::Broken { scope: scope.to_owned(), reason },
    };
    let (entry_id, entry_time, field, value) = match &slot.content {
        Content::Broken { scope, reason, raw } => return visit(broken(scope, reason, None, *raw)),
        Content::Change { entry_id, entry_time, field, value } => {
            (entry_id, entry_time, field, *value)
        }
    };
    let raw = RawText::Json(value.raw());
    if field.len() > ID_BYTES_MAX {
        return visit(broken("change", "field_too_long", None, raw));
    }
    let Some(waba_id) = &slot.waba_id else {
        return visit(broken("entry", "no_account", Some(field), raw));
    };
    let change = Change {
        path: &slot.path,
        waba_id,
        entry_id: entry_id.as_deref().unwrap_or_default(),
        entry_time: Timestamp::of_event(*entry_time, appended),
        field,
        appended,
    };
    // The dashboard's test button: shown as an event, kept out of the state of real accounts.
    if waba_id.as_str() == TEST_WABA_ID {
        return visit(change.item(value, change.other(value)));
    }
    match field.as_str() {
        "messages" => messages::decode(&change, value, visit),
        "message_template_status_update" => {
            visit(change.item(value, template::decode(&change, value)))
        }
        "account_update" => visit(change.item(value, account::decode(&change, value))),
        _ => visit(change.item(value, change.other(value))),
    }
}

/// The account id that the dashboard's test button sends.
const TEST_WABA_ID: &str = "0";

impl Change<'_> {
    /// The whole change as one item.
    fn item<'a>(&self, value: Json<'a>, item: Item) -> Decoded<'a> {
        self.at(format!("{}.value", self.path), value, item)
    }

    /// A part of the change as an item.
    fn at<'a>(&self, path: String, raw: Json<'a>, item: Item) -> Decoded<'a> {
        Decoded {
            site: Site {
                path,
                waba_id: Some(self.waba_id.clone()),
                field: Some(self.field.to_owned()),
                raw: RawText::Json(raw.raw()),
            },
            item,
        }
    }

    fn broken(scope: &str, reason: &'static str) -> Item {
        Item::Broken { scope: scope.to_owned(), reason }
    }

    /// A change of a field that is not decoded, or not of the shape its field promises.
    fn other(&self, value: Json<'_>) -> Item {
        let members = value.object();
        let member = |name: &str| members.as_ref().and_then(|members| members.get(name));
        let kind = ["event", "type"].into_iter().find_map(|name| member(name)?.text());
        let kind = kind.map_or_else(|| "unknown".to_owned(), |kind| bounded(&kind));
        let time =
            self.entry_time.or_else(|| Timestamp::of_event(member("timestamp"), self.appended));
        let metadata = members.as_ref().and_then(|members| metadata(members.get("metadata")));
        let digest = crate::hash::sha256_hex(without_whitespace(value.raw()).as_bytes());
        // The time is part of it: the same content at another time is another event.
        let at = self.entry_seconds();
        let key = format!("raw:{}:{}@{at}:{digest}", self.field, self.entry_id);
        Item::Other(OtherItem { kind, time, key: OtherKey::Once(NaturalKey::new(key)), metadata })
    }

    /// `entry.time` in seconds, or `-`.
    fn entry_seconds(&self) -> String {
        let seconds = |time: Timestamp| (time.as_millis() / 1_000).to_string();
        self.entry_time.map_or_else(|| "-".to_owned(), seconds)
    }

    /// The key of a management event. Coarse keys can meet in one second, so identity is the key
    /// and the digest of the content.
    fn management_key(&self, subject: &str, event: &str, value: Json<'_>) -> NaturalKey {
        let time = self.entry_seconds();
        let subject = if subject.is_empty() { "-" } else { subject };
        let digest = crate::hash::sha256_hex(without_whitespace(value.raw()).as_bytes());
        let digest = digest.get(..32).unwrap_or(&digest);
        NaturalKey::new(format!(
            "mgmt:{}:{}:{subject}:{event}@{time}#{digest}",
            self.field, self.entry_id
        ))
    }
}

/// `metadata` of a value.
fn metadata(json: Option<Json<'_>>) -> Option<Metadata> {
    let members = json?.object()?;
    Some(Metadata {
        phone_number_id: PhoneNumberId::new(short_id(members.get("phone_number_id"))?),
        display_phone_number: members.get("display_phone_number").and_then(short_text),
    })
}

/// An id short enough to be a key.
fn short_id(json: Option<Json<'_>>) -> Option<String> {
    let id = json?.id()?;
    (id.len() <= ID_BYTES_MAX).then(|| id.into_owned())
}

fn short_text(json: Json<'_>) -> Option<String> {
    json.scalar_text().map(|text| bounded(&text))
}

/// The longest text that is taken out of an item into state, in bytes. Meta's own limits are far
/// below (a callback data has 512 characters), so a longer one is not Meta's, and its whole text
/// stays in raw.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Text cut at [`TEXT_BYTES_MAX`], at a character.
fn bounded(text: &str) -> String {
    cut(text, TEXT_BYTES_MAX).to_owned()
}

/// The longest prefix of at most so many bytes that ends at a character.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
