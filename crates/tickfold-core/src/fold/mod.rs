//! The fold: one raw record in, changed state and outputs out.
//!
//! In one record: log time advances, the items of this partition are folded in body order, timers
//! that are due fire, and the table rows that changed are written, each key once.

mod charges;
mod choices;
mod control;
mod conversations;
mod emit;
mod halts;
mod management;
mod messages;
mod others;
mod outbound;
mod reactions;
mod republish;
mod rows;
mod standing_rows;
mod statuses;
mod timers;
mod unknown;
mod users;
mod watch;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::charge::TotalKey;
use crate::decode::{Decoded, Item, Site, decode, least_trace};
use crate::ids::{
    ConversationKey, Participant, PhoneNumberId, TemplateKey, UserKey, WabaId, Wamid,
};
use crate::json::Path;
use crate::overlay::{Head, Overlay, Source, SourceError};
use crate::planted::planted;
use crate::raw::{self, RawRecord, header};
use crate::records::{EventDetails, EventRecord, Topic};
use crate::route::{Content, Placement, ROUTE_VERSION, RawText, visit_slots};
use crate::rules::Rules;
use crate::state::Journal;
use crate::time::Timestamp;

pub use charges::charge_of_message;
pub use republish::{AsOf, differing_rows};

use charges::Charges;
use emit::{Emitter, Fragment};
use management::{AccountPart, NumberPart};
use users::UserPart;

/// Version of decoder and fold logic together. A store is folded on only by the version that wrote
/// it; any change of what a record does, or of output bytes, is a new version.
pub const FOLD_VERSION: u32 = 8;

/// How many items of one record a partition folds. Meta documents at most 1,000 updates in a body;
/// the bound keeps one record within one commit whatever the body holds. Items beyond it become
/// one dead letter that names the first of them.
pub const ITEMS_MAX: usize = 5_000;

/// How many outputs one record may have before no further item or timer is taken; what the last
/// one adds comes on top. A commit holds at least one record whole.
const OUTPUTS_MAX: usize = 18_000;

/// Which partition is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Index of the raw partition.
    pub id: u32,
    /// Partition count of the raw topic.
    pub count: u32,
}

/// A record for a derived topic: an effect, written by the shell with the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Derived topic; the partition is the raw partition.
    pub topic: Topic,
    /// Key.
    pub key: String,
    /// Headers in order of name.
    pub headers: Vec<(&'static str, Bytes)>,
    /// JSON; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Log time.
    pub timestamp: Timestamp,
    /// Raw offset of the record it comes from.
    pub offset: u64,
    /// Ordinal among all outputs of that raw record, from 0.
    pub ordinal: u32,
}

/// Folds one raw record into the overlay and returns its effects in order.
///
/// Total and deterministic: any record in any state gives a state and effects. The only error is
/// that the source could not be read; then overlay and outputs of the batch are to be dropped.
pub fn fold<S: Source + ?Sized>(
    overlay: &mut Overlay,
    below: &S,
    partition: Partition,
    record: &RawRecord<'_>,
) -> Result<Vec<Output>, SourceError> {
    run(overlay, below, partition, record, false)
}

/// The same, for the state alone: no effect is made.
pub fn fold_muted<S: Source + ?Sized>(
    overlay: &mut Overlay,
    below: &S,
    partition: Partition,
    record: &RawRecord<'_>,
) -> Result<(), SourceError> {
    run(overlay, below, partition, record, true).map(drop)
}

fn run<S: Source + ?Sized>(
    overlay: &mut Overlay,
    below: &S,
    partition: Partition,
    record: &RawRecord<'_>,
    is_muted: bool,
) -> Result<Vec<Output>, SourceError> {
    let mut head = overlay.head.map_or_else(|| below.head(), Ok)?;
    let before = head.log_time;
    let log_time = head.log_time.map_or(record.appended, |before| before.max(record.appended));
    #[cfg(feature = "planted-bugs")]
    let log_time = match record.header(header::CONTROL) {
        Some(raw::CONTROL_TICK) if planted!(TickIsWallClock) => {
            Timestamp::from_millis(crate::planted::ambient().wall_ms).max(log_time)
        }
        Some(_) | None => log_time,
    };
    head.log_time = Some(log_time);
    overlay.head = Some(head);

    let received = record.header(header::RECEIVED_TIME).and_then(Timestamp::parse_rfc3339);
    let place = Place { partition, offset: record.offset, log_time, received };
    let webhook = record.webhook(partition.id);
    let regime = overlay.regime.entry(&(), |()| below.regime())?.clone().unwrap_or_default();
    let mut run = Run {
        overlay,
        below,
        place,
        emit: Emitter::new(place, webhook.and_then(|webhook| webhook.redrive_of), is_muted),
        dirty: Dirty::default(),
        charges: Charges::default(),
        rules: regime.rules,
        deadlines_wait_until: regime.deadlines_wait_until,
    };
    run.notice_gap(before)?;
    if planted!(FireBeforeFold) {
        run.fire_timers()?;
    }
    match (webhook, record.header(header::KIND)) {
        (Some(webhook), _) if routed_as_here(partition, record) => {
            run.webhook(webhook.body, webhook.appended)?;
        }
        // Its items may be in other partitions by our rule, so none of them can be told to be ours.
        (Some(_), _) => run.broken_record("routed_otherwise", record.value),
        (None, Some(raw::KIND_CONTROL)) => {
            run.control(record.header(header::CONTROL), record.value)?;
        }
        (None, _) => run.broken_record("unknown_kind_or_no_value", record.value),
    }
    run.fire_timers()?;
    run.write_charges()?;
    run.write_rows();
    Ok(run.emit.into_outputs())
}

/// True if ingress chose the partitions of the record by the rule that chooses its items here.
fn routed_as_here(partition: Partition, record: &RawRecord<'_>) -> bool {
    let number = |name| record.header(name).and_then(|text| text.parse::<u32>().ok());
    number(header::ROUTE_VERSION) == Some(ROUTE_VERSION)
        && number(header::PARTITION_COUNT) == Some(partition.count)
}

/// Where and when a record is folded.
#[derive(Debug, Clone, Copy)]
struct Place {
    partition: Partition,
    offset: u64,
    log_time: Timestamp,
    received: Option<Timestamp>,
}

/// The folding of one record.
struct Run<'a, S: ?Sized> {
    overlay: &'a mut Overlay,
    below: &'a S,
    place: Place,
    emit: Emitter,
    dirty: Dirty,
    charges: Charges,
    rules: Arc<Rules>,
    deadlines_wait_until: Option<Timestamp>,
}

/// How an item counts.
#[derive(Clone, Copy)]
enum Kind {
    Known,
    Unknown,
    /// It comes along with others, or is a dead letter.
    Aside,
}

impl Kind {
    fn of(item: &Item) -> Self {
        match item {
            Item::Broken { .. } | Item::Contact(..) | Item::NewMember(_) => Self::Aside,
            Item::Other(other) if other.unknown => Self::Unknown,
            Item::Status(_)
            | Item::Message(_)
            | Item::Call(_)
            | Item::Payment(_)
            | Item::Group(_)
            | Item::Preference(_)
            | Item::UserId(_)
            | Item::Template(_)
            | Item::Account(_)
            | Item::Number(_)
            | Item::Other(_) => Self::Known,
        }
    }
}

/// Entities whose table rows are to be written at the end of the record, in order.
#[derive(Default, Clone)]
struct Dirty {
    messages: BTreeSet<(Wamid, Participant)>,
    conversations: BTreeSet<ConversationKey>,
    templates: BTreeSet<TemplateKey>,
    numbers: BTreeSet<(PhoneNumberId, NumberPart)>,
    accounts: BTreeSet<(WabaId, AccountPart)>,
    totals: BTreeSet<TotalKey>,
    users: BTreeSet<(UserKey, UserPart)>,
}

impl<S: Source + ?Sized> Run<'_, S> {
    fn webhook(&mut self, body: &[u8], appended: Timestamp) -> Result<(), SourceError> {
        let Partition { id, count } = self.place.partition;
        let placement = Placement::new(body, count);
        let (mut items, mut result) = (0, Ok(()));
        let _ = visit_slots(body, &mut |slot| {
            let stands_in = match &slot.content {
                Content::Change { entry_id: Some(entry), .. } if planted!(RoutedByEntry) => {
                    Some(WabaId::from(*entry))
                }
                Content::Change { .. } | Content::Broken { .. } => None,
            };
            let account = stands_in.as_ref().or(slot.waba_id.as_ref());
            if placement.partition(account) != id && !planted!(FoldsForeignItems) {
                return ControlFlow::Continue(());
            }
            decode(&slot, appended, &mut |decoded| {
                if items == ITEMS_MAX || self.is_full() {
                    self.emit.dead_letter("body", "too_many_items", &decoded.site);
                    return ControlFlow::Break(());
                }
                items += 1;
                result = self.item(decoded);
                if planted!(RowPerItem) {
                    self.write_rows();
                }
                if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        });
        result
    }

    /// No more may be folded of this record: its outputs have to fit into one commit.
    fn is_full(&self) -> bool {
        let rows = self.dirty.messages.len() + self.dirty.conversations.len();
        let rows = rows + self.dirty.templates.len() + self.dirty.numbers.len();
        let rows = rows + self.dirty.accounts.len() + self.dirty.users.len();
        // A charge, and at worst two rows of totals that it moves between.
        self.emit.len() + rows + 3 * self.charges.len() >= OUTPUTS_MAX
    }

    fn item(&mut self, Decoded { site, item }: Decoded<'_>) -> Result<(), SourceError> {
        let (before, kind) = (self.emit.news(), Kind::of(&item));
        match item {
            Item::Broken { scope, reason } => self.emit.dead_letter(&scope, reason, &site),
            Item::Status(status) => self.status(status, &site)?,
            Item::Message(message) => self.message_item(message, &site)?,
            Item::Contact(contact, time) => self.contact(contact, time, &site)?,
            Item::Call(call) => self.call(call, &site)?,
            Item::Payment(payment) => self.payment(payment, &site)?,
            Item::Group(group) => self.group(group, &site)?,
            Item::Preference(preference) => self.preference(preference, &site)?,
            Item::UserId(user_id) => self.user_id(user_id, &site)?,
            Item::Template(template) => self.template(*template, &site)?,
            Item::Account(account) => self.account(*account, &site)?,
            Item::Number(number) => self.standing(*number, &site)?,
            Item::Other(other) => self.other(other, &site)?,
            Item::NewMember(name) => self.new_member(&name, &site)?,
        }
        let (after, tally) = (self.emit.news(), &mut self.overlay.tally);
        match kind {
            _ if self.emit.is_muted() => {}
            Kind::Aside => {}
            Kind::Known | Kind::Unknown if after == before => tally.duplicate += 1,
            Kind::Unknown => tally.unknown += 1,
            Kind::Known if after.late - before.late == after.all - before.all => tally.stale += 1,
            Kind::Known => tally.applied += 1,
        }
        Ok(())
    }

    fn control(&mut self, control: Option<&str>, value: Option<&[u8]>) -> Result<(), SourceError> {
        match control {
            Some(raw::CONTROL_TICK) => {}
            Some(raw::CONTROL_RULES) => self.apply_rules(value)?,
            // One that is whole carries a webhook, and does not come here.
            Some(raw::CONTROL_REDRIVE) => self.broken_record("redrive_invalid", value),
            Some(_) | None => self.broken_record("unknown_control", value),
        }
        Ok(())
    }

    fn broken_record(&mut self, reason: &'static str, value: Option<&[u8]>) {
        self.broken_at(Path::Root, reason, value);
    }

    fn broken_at(&mut self, path: Path<'_>, reason: &'static str, value: Option<&[u8]>) {
        let raw = RawText::Bytes(value.unwrap_or_default());
        let site = Site { path, waba_id: None, field: None, raw };
        self.emit.dead_letter("record", reason, &site);
    }

    fn event<'e>(
        &mut self,
        site: &Site<'_>,
        time: Option<Timestamp>,
        event: impl FnOnce() -> Event<'e>,
    ) {
        let Some(source) = self.emit.begin(time) else { return };
        let event = event();
        let fbtrace_id = least_trace(site.raw);
        let Fragment { raw, truncated } = Fragment::of(site.raw);
        let record = EventRecord {
            source,
            field: site.field.unwrap_or_default().to_owned(),
            kind: event.kind,
            natural_key: event.natural_key,
            path: site.path.to_string(),
            waba_id: site.waba_id.as_ref().map(ToString::to_string),
            phone_number_id: event.phone_number_id.map(ToString::to_string),
            party: event.party,
            wamid: event.wamid.map(ToString::to_string),
            text: event.text,
            details: EventDetails { fbtrace_id, ..event.details },
            raw_truncated: truncated,
            raw,
        };
        self.emit.event(event.key, &record);
    }

    /// The journal of an entity that changes now.
    fn journal(&self, before: Option<Journal>) -> Journal {
        Journal {
            revision: self.place.offset,
            created: before.map_or(self.place.log_time, |journal| journal.created),
            changed: self.place.log_time,
        }
    }
}

/// What differs between events.
#[derive(Default)]
struct Event<'a> {
    key: String,
    kind: String,
    natural_key: String,
    phone_number_id: Option<&'a PhoneNumberId>,
    party: Option<String>,
    wamid: Option<&'a Wamid>,
    text: Option<String>,
    details: EventDetails,
}

impl Head {
    /// Log time, or the epoch before the first record.
    pub fn log_time_or_epoch(&self) -> Timestamp {
        self.log_time.unwrap_or(Timestamp::from_millis(0))
    }
}
