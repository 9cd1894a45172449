//! Decoding a slot of a body into items, one by one: a bad item becomes one [`Item::Broken`] and
//! its siblings go on. What is not known is kept as [`Item::Other`] with its raw text.
//!
//! One module per family of items. They read what section after section of Meta's documentation
//! promises and a little less: any member may be missing, `null`, a number where text is promised
//! or the reverse, and every word may be new.

mod account;
mod business;
mod calls;
mod content;
mod errors;
mod events;
mod groups;
mod identity;
mod messages;
mod number;
mod payments;
mod statuses;
mod template;
mod traces;
mod users;
mod values;

use std::borrow::Cow;
use std::ops::ControlFlow;

pub(crate) use self::calls::CallItem;
pub(crate) use self::content::Target;
pub(crate) use self::errors::VALUE_ERROR;
pub(crate) use self::groups::GroupItem;
pub(crate) use self::identity::{ContactItem, Link};
pub(crate) use self::messages::MessageItem;
pub(crate) use self::payments::PaymentItem;
pub(crate) use self::statuses::StatusItem;
pub(crate) use self::traces::least_trace;
pub(crate) use self::users::{PreferenceItem, UserIdItem};
use crate::ids::{ID_BYTES_MAX, NaturalKey, PartyId, PhoneNumberId, TemplateKey, WabaId, Wamid};
use crate::json::{Json, Path, without_whitespace};
use crate::route::{Content, RawText, Slot, visit_slots};
use crate::state::{AccountFacts, Standing, TemplateFacts};
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
    /// Where it stands in the body.
    pub path: Path<'a>,
    /// Account, `None` only for items that are broken.
    pub waba_id: Option<WabaId>,
    /// Webhook field, where there is one.
    pub field: Option<&'a str>,
    /// What stands at the path.
    pub raw: RawText<'a>,
}

/// What an item means.
#[derive(Debug)]
pub(crate) enum Item {
    Status(StatusItem),
    Message(MessageItem),
    /// An entry of `contacts[]`, with the newest time of the items beside it.
    Contact(ContactItem, Option<Timestamp>),
    Call(CallItem),
    Payment(PaymentItem),
    Group(GroupItem),
    Preference(PreferenceItem),
    UserId(UserIdItem),
    Template(Box<TemplateItem>),
    Account(Box<AccountItem>),
    Number(Box<NumberItem>),
    Other(OtherItem),
    /// A member of a value that nobody has told us of, beside items that we know: its name.
    NewMember(String),
    Broken {
        scope: String,
        reason: &'static str,
    },
}

impl Item {
    /// When it happened, as far as Meta said.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Status(item) => item.time,
            Self::Message(item) => item.time,
            Self::Contact(_, time) => *time,
            Self::Call(item) => item.time,
            Self::Payment(item) => item.time,
            Self::Group(item) => item.time,
            Self::Preference(item) => item.preference.time,
            Self::UserId(item) => item.time,
            Self::Template(item) => item.time,
            Self::Account(item) => item.time,
            Self::Number(item) => item.time,
            Self::Other(item) => item.time,
            Self::NewMember(_) | Self::Broken { .. } => None,
        }
    }
}

/// How an item of a message came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// As it happened, to us.
    Live,
    /// As it happened, to another owner of the thread, and we only watched.
    Standby,
    /// Told of the past when the number was connected. Nothing may act on it.
    History,
}

impl Origin {
    /// The word of the topics; none for the usual case.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::Live => None,
            Self::Standby => Some("standby"),
            Self::History => Some("history"),
        }
    }
}

/// Which members of a message or call name the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageSide {
    From,
    To,
}

/// One of our numbers, from `metadata`.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    pub phone_number_id: PhoneNumberId,
    pub display_phone_number: Option<String>,
}

impl Metadata {
    /// The number as keys have it.
    fn word(metadata: Option<&Self>) -> &str {
        metadata.map_or("-", |metadata| metadata.phone_number_id.as_str())
    }

    /// The number that the dashboard's test button names.
    fn is_of_test(&self) -> bool {
        self.phone_number_id.as_str() == TEST_PHONE_NUMBER_ID
    }
}

/// Something of a template.
#[derive(Debug)]
pub(crate) struct TemplateItem {
    pub key: TemplateKey,
    pub event: String,
    pub time: Option<Timestamp>,
    pub facts: TemplateFacts,
    pub details: Details,
    pub natural_key: NaturalKey,
}

/// Something of an account, or of one of its numbers that only an account event names.
#[derive(Debug)]
pub(crate) struct AccountItem {
    pub waba_id: WabaId,
    pub event: String,
    pub time: Option<Timestamp>,
    pub facts: AccountFacts,
    pub details: Details,
    pub natural_key: NaturalKey,
}

/// Something of a number that is named by how it is displayed.
#[derive(Debug)]
pub(crate) struct NumberItem {
    pub waba_id: WabaId,
    /// Digits of the display number.
    pub digits: String,
    pub event: String,
    pub time: Option<Timestamp>,
    pub standing: Standing,
    pub details: Details,
    pub natural_key: NaturalKey,
}

/// What a management event says, for its record.
#[derive(Debug, Default)]
pub(crate) struct Details {
    /// What it is about, where that is neither the account nor a number or template.
    pub subject: Option<String>,
    pub display_phone_number: Option<String>,
    pub old_value: Option<String>,
    pub new_value: Option<String>,
    pub reason: Option<String>,
    pub severity: Option<String>,
    pub requester: Option<String>,
    pub description: Option<String>,
    pub effective_time: Option<Timestamp>,
}

/// Anything else, kept with its raw text.
#[derive(Debug)]
pub(crate) struct OtherItem {
    pub kind: String,
    pub time: Option<Timestamp>,
    pub key: OtherKey,
    pub metadata: Option<Metadata>,
    pub party: Option<PartyId>,
    pub wamid: Option<Wamid>,
    pub error_code: Option<i64>,
    pub details: Details,
    /// It is of the account or what belongs to it, and not of a message.
    pub management: bool,
    /// Nothing more is known of it than its text: see `Change::other`.
    pub unknown: bool,
}

impl OtherItem {
    /// An event of which nothing more is known.
    fn new(kind: &str, key: OtherKey) -> Self {
        Self {
            kind: kind.to_owned(),
            time: None,
            key,
            metadata: None,
            party: None,
            wamid: None,
            error_code: None,
            details: Details::default(),
            management: false,
            unknown: false,
        }
    }
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
    path: Path<'a>,
    waba_id: &'a WabaId,
    entry_id: &'a str,
    /// `entry.time`, as far as it makes sense.
    entry_time: Option<Timestamp>,
    field: &'a str,
    appended: Timestamp,
}

/// What is done with an item; breaking ends the decoding.
pub(crate) type Visit<'v> = dyn for<'a> FnMut(Decoded<'a>) -> ControlFlow<()> + 'v;

/// Decodes a slot, item by item: a slot can hold millions of them. `appended` is the append time of
/// the record, against which event times are judged.
pub(crate) fn decode(
    slot: &Slot<'_>,
    appended: Timestamp,
    visit: &mut Visit<'_>,
) -> ControlFlow<()> {
    let broken = |scope: &str, reason, field, raw| Decoded {
        site: Site { path: slot.path, waba_id: slot.waba_id.clone(), field, raw },
        item: Item::Broken { scope: scope.to_owned(), reason },
    };
    let (entry_id, entry_time, field, value) = match slot.content {
        Content::Broken { scope, reason, raw } => return visit(broken(scope, reason, None, raw)),
        Content::Change { entry_id, entry_time, field, value } => {
            (entry_id, entry_time, field, value)
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
        path: slot.path,
        waba_id,
        entry_id: entry_id.unwrap_or_default(),
        entry_time: Timestamp::of_event(entry_time, appended),
        field,
        appended,
    };
    if waba_id.as_str() == TEST_WABA_ID {
        return visit(change.item(value, change.test(value)));
    }
    let item = match field {
        field if VALUE_FIELDS.contains(&field) => return values::decode(&change, value, visit),
        field if TEMPLATE_FIELDS.contains(&field) => template::decode(&change, value),
        field if NUMBER_FIELDS.contains(&field) => number::decode(&change, value),
        field if BUSINESS_FIELDS.contains(&field) => business::decode(&change, value),
        "account_update" => account::update(&change, value),
        "account_review_update" => account::review(&change, value),
        "business_capability_update" => account::capability(&change, value),
        "messaging_handovers" => events::handover(&change, value),
        _ => change.other(value),
    };
    visit(change.item(value, item))
}

/// Fields whose values are about one template.
const TEMPLATE_FIELDS: [&str; 5] = [
    "message_template_status_update",
    "message_template_quality_update",
    "message_template_components_update",
    "template_category_update",
    "template_correct_category_detection",
];

/// Fields whose values are about one number, as it is displayed.
const NUMBER_FIELDS: [&str; 5] = [
    "phone_number_quality_update",
    "phone_number_name_update",
    "security",
    "business_username_update",
    "business_username_updates",
];

/// Fields whose values are events and nothing else.
const BUSINESS_FIELDS: [&str; 6] = [
    "flows",
    "payment_configuration_update",
    "partner_solutions",
    "account_alerts",
    "account_settings_update",
    "business_status_update",
];

/// True for a field that we know how to read. Any other is told once.
pub(crate) fn is_known_field(field: &str) -> bool {
    let fields = VALUE_FIELDS.iter().chain(&TEMPLATE_FIELDS).chain(&NUMBER_FIELDS);
    let others = [
        "account_update",
        "account_review_update",
        "business_capability_update",
        "messaging_handovers",
        // Sent until 2024, and of no use since.
        "template_performance_metrics",
    ];
    fields.chain(&BUSINESS_FIELDS).chain(&others).any(|known| *known == field)
}

/// How many items a body has, read as the fold reads them and thrown away: what a fold costs before
/// it looks at any state. For benchmarks.
pub fn count_items(body: &[u8], appended: Timestamp) -> usize {
    let mut items = 0;
    let _ = visit_slots(body, &mut |slot| {
        decode(&slot, appended, &mut |_| {
            items += 1;
            ControlFlow::Continue(())
        })
    });
    items
}

/// Fields whose values are arrays of items.
const VALUE_FIELDS: [&str; 16] = [
    "messages",
    "standby",
    "smb_message_echoes",
    "message_echoes",
    "history",
    "calls",
    "user_preferences",
    "user_id_update",
    "automatic_events",
    "tracking_events",
    "smb_app_state_sync",
    "group_lifecycle_update",
    "group_participants_update",
    "group_participant_update",
    "group_settings_update",
    "group_status_update",
];

/// The account id and the number's id that the dashboard's test button sends.
const TEST_WABA_ID: &str = "0";
const TEST_PHONE_NUMBER_ID: &str = "123456123";

/// Kind of what the test button sends.
pub(crate) const TEST_EVENT: &str = "test";

impl Change<'_> {
    /// The whole change as one item.
    fn item<'a>(&'a self, value: Json<'a>, item: Item) -> Decoded<'a> {
        self.at(Path::Member(&self.path, "value"), value, item)
    }

    /// A part of the change as an item.
    fn at<'a>(&'a self, path: Path<'a>, raw: Json<'a>, item: Item) -> Decoded<'a> {
        Decoded {
            site: Site {
                path,
                waba_id: Some(self.waba_id.clone()),
                field: Some(self.field),
                raw: RawText::Json(raw.raw()),
            },
            item,
        }
    }

    /// What the dashboard's test button sent, told by the account or the number: shown as an event,
    /// kept out of the state of real accounts and numbers.
    fn test(&self, value: Json<'_>) -> Item {
        let key = format!(
            "raw:{}:{}@{}:{}",
            self.field,
            self.entry_id,
            self.entry_seconds(),
            digest(value)
        );
        Item::Other(OtherItem {
            time: self.entry_time,
            ..OtherItem::new(TEST_EVENT, OtherKey::Once(NaturalKey::new(key)))
        })
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
        let digest = digest(value);
        // The time is part of it: the same content at another time is another event.
        let at = self.entry_seconds();
        let key = format!("raw:{}:{}@{at}:{digest}", self.field, self.entry_id);
        let key = OtherKey::Once(NaturalKey::new(key));
        Item::Other(OtherItem { time, metadata, unknown: true, ..OtherItem::new(&kind, key) })
    }

    /// `entry.time` in seconds, or `-`.
    fn entry_seconds(&self) -> String {
        let seconds = |time: Timestamp| (time.as_millis() / 1_000).to_string();
        self.entry_time.map_or_else(|| "-".to_owned(), seconds)
    }

    /// The key of a management event. Coarse keys can meet in one second, so identity is the key
    /// and the digest of the content.
    fn management_key(
        &self,
        field: &str,
        subject: &str,
        event: &str,
        value: Json<'_>,
    ) -> NaturalKey {
        let time = self.entry_seconds();
        let subject = if subject.is_empty() { "-" } else { subject };
        let digest = digest(value);
        let digest = digest.get(..32).unwrap_or(&digest);
        NaturalKey::new(format!("mgmt:{field}:{}:{subject}:{event}@{time}#{digest}", self.entry_id))
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

/// What tells a value apart from others of its kind, whatever white space a sender puts in.
fn digest(value: Json<'_>) -> String {
    crate::hash::sha256_hex(without_whitespace(value.raw()).as_bytes())
}

/// A part of a natural key; what is missing is a hyphen.
fn key_part(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A time that may lie in the future, such as the end of a window: seconds or milliseconds, and not
/// judged as an event time is.
fn future_time(json: Json<'_>) -> Option<Timestamp> {
    let number = json.integer().filter(|number| *number > 0)?;
    let is_ms = number >= 1_000_000_000_000;
    Some(Timestamp::from_millis(if is_ms { number } else { number.checked_mul(1_000)? }))
}

/// An id short enough to be a key.
fn short_id<'a>(json: Option<Json<'a>>) -> Option<Cow<'a, str>> {
    json?.id().filter(|id| id.len() <= ID_BYTES_MAX)
}

/// Such an id as text of its own.
fn id_text(json: Option<Json<'_>>) -> Option<String> {
    short_id(json).map(Cow::into_owned)
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
