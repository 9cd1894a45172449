//! Values of the fields that tell of messages, users, calls and groups: arrays of items beside
//! `metadata` and `contacts`. The arrays are told by their names wherever they stand, since `field`
//! may lie.

use std::ops::ControlFlow;

use super::identity::{Identity, contact};
use super::messages::{Reading, Thread, message};
use super::{
    Change, Item, Metadata, Origin, Visit, calls, cut, errors, events, groups, metadata, statuses,
    users,
};
use crate::json::{Json, Object, Path};
use crate::state::{Direction, Failures};
use crate::time::Timestamp;

/// Arrays of items in a value, in the order in which they are folded.
const ITEM_ARRAYS: [&str; 13] = [
    "messages",
    "message_echoes",
    "statuses",
    "calls",
    "groups",
    "user_preferences",
    "user_id_update",
    "history",
    "errors",
    "user_actions",
    "automatic_events",
    "events",
    "state_sync",
];

/// Members that say nothing by themselves.
const BESIDE_ITEMS: [&str; 5] =
    ["messaging_product", "metadata", "contacts", "conversation_context", "initiated_by"];

/// How many members of a value that are new are told, and how much of their names.
const NEW_MEMBERS_MAX: usize = 16;
const NEW_MEMBER_BYTES_MAX: usize = 64;

/// Decodes a value, array by array and item by item. A value with something else in it and no item,
/// such as one that belongs to another field, is kept as an event.
pub(super) fn decode(
    change: &Change<'_>,
    value: Json<'_>,
    visit: &mut Visit<'_>,
) -> ControlFlow<()> {
    let Some(members) = value.object() else {
        let broken = Change::broken(change.field, "value_is_not_an_object");
        return visit(change.item(value, broken));
    };
    let metadata = metadata(members.get("metadata"));
    if metadata.as_ref().is_some_and(Metadata::is_of_test) && has_number_as_text(&members) {
        return visit(change.item(value, change.test(value)));
    }
    let origin = match change.field {
        "history" => Origin::History,
        "standby" => Origin::Standby,
        _ => Origin::Live,
    };
    // What another owner of the thread received stands one level deeper.
    let inner = members.object("standby").filter(|_| origin == Origin::Standby);
    let path = Path::Member(&change.path, "value");
    let (members, path) = match inner {
        Some(inner) => (inner, Path::Member(&path, "standby")),
        None => (members, path),
    };
    let mut arrays = Arrays {
        change,
        metadata: metadata.as_ref(),
        origin,
        errors_of_call: Failures::new(),
        newest: None,
        visit,
    };
    arrays.decode(&members, &path)?;
    let known = |name: &str| ITEM_ARRAYS.contains(&name) || BESIDE_ITEMS.contains(&name);
    let unknown = members.names().filter(|name| !known(name));
    let mut unknown =
        unknown.filter_map(|name| members.get(&name).map(|json| (name, json))).peekable();
    let has_items = || ITEM_ARRAYS.iter().any(|name| members.get(name).is_some());
    if unknown.peek().is_some() && !has_items() {
        return visit(change.item(value, change.other(value)));
    }
    // Beside items a new one may be what Meta adds next.
    for (name, json) in unknown.take(NEW_MEMBERS_MAX) {
        let item = Item::NewMember(cut(&name, NEW_MEMBER_BYTES_MAX).to_owned());
        visit(change.at(Path::Member(&path, &name), json, item))?;
    }
    ControlFlow::Continue(())
}

/// The arrays of one value on their way.
struct Arrays<'c, 'v, 'w> {
    change: &'c Change<'c>,
    metadata: Option<&'c Metadata>,
    origin: Origin,
    /// Errors of a value with one call.
    errors_of_call: Failures,
    /// The newest time of an item so far: contacts have none of their own.
    newest: Option<Timestamp>,
    visit: &'w mut Visit<'v>,
}

impl Arrays<'_, '_, '_> {
    fn decode(&mut self, members: &Object<'_>, path: &Path<'_>) -> ControlFlow<()> {
        let calls = members.get("calls").and_then(Json::array).map_or(0, Iterator::count);
        if calls == 1 {
            self.errors_of_call = errors::errors(members, None);
        }
        for name in ITEM_ARRAYS {
            let Some(array) = members.get(name) else { continue };
            if name == "errors" && calls == 1 {
                continue;
            }
            let path = Path::Member(path, name);
            let Some(elements) = array.array() else {
                (self.visit)(self.change.at(path, array, Change::broken(name, "not_an_array")))?;
                continue;
            };
            for (index, json) in elements.enumerate() {
                self.element(name, json, Path::Element(&path, index))?;
            }
        }
        let contacts = members.get("contacts").and_then(Json::array).unwrap_or_default();
        let path = Path::Member(path, "contacts");
        for (index, json) in contacts.enumerate() {
            if let Some(contact) = contact(json) {
                let item = Item::Contact(contact, self.newest);
                self.visit(json, Path::Element(&path, index), item)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn element(&mut self, name: &str, json: Json<'_>, path: Path<'_>) -> ControlFlow<()> {
        let (change, metadata) = (self.change, self.metadata);
        let item = match name {
            // The media of the history come as `messages` too, and among them are ours.
            "messages" if self.origin == Origin::History => self.message(json, None, None),
            "messages" => self.message(json, Some(Direction::Inbound), None),
            "message_echoes" => self.message(json, Some(Direction::Outbound), None),
            "statuses" => statuses::status(change, json, metadata, self.origin),
            "calls" => {
                let errors = std::mem::take(&mut self.errors_of_call);
                calls::call(change, json, metadata, errors)
            }
            "groups" => groups::group(change, json, metadata),
            "user_preferences" => users::preference(change, json, metadata),
            "user_id_update" => users::user_id(change, json, metadata),
            "history" => return self.history(json, &path),
            "errors" => errors::of_value(change, json, metadata),
            "user_actions" => events::user_action(change, json, metadata),
            "automatic_events" => events::automatic(change, json, metadata),
            "events" => events::tracking(change, json, metadata),
            _ => events::contact_sync(change, json, metadata),
        };
        self.visit(json, path, item)
    }

    /// An element of `history[]`: a chunk with threads, or why there is none.
    fn history(&mut self, json: Json<'_>, path: &Path<'_>) -> ControlFlow<()> {
        let Some(members) = json.object() else {
            let broken = Change::broken("history", "not_an_object");
            return self.visit(json, *path, broken);
        };
        if let Some(chunk) = members.get("metadata") {
            let item = events::history_chunk(chunk, self.metadata);
            self.visit(chunk, Path::Member(path, "metadata"), item)?;
        }
        let (errors, threads) = (Path::Member(path, "errors"), Path::Member(path, "threads"));
        let array = |name: &str| members.get(name).and_then(Json::array).unwrap_or_default();
        for (index, error) in array("errors").enumerate() {
            let item = events::history_error(error, self.metadata);
            self.visit(error, Path::Element(&errors, index), item)?;
        }
        for (index, thread) in array("threads").enumerate() {
            let path = Path::Element(&threads, index);
            let Some(members) = thread.object() else {
                self.visit(thread, path, Change::broken("thread", "not_an_object"))?;
                continue;
            };
            let path = Path::Member(&path, "messages");
            let thread = Thread { user: thread_user(&members) };
            let messages = members.get("messages").and_then(Json::array).unwrap_or_default();
            for (index, json) in messages.enumerate() {
                let item = self.message(json, None, Some(&thread));
                self.visit(json, Path::Element(&path, index), item)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn message(
        &self,
        json: Json<'_>,
        direction: Option<Direction>,
        thread: Option<&Thread>,
    ) -> Item {
        let Self { metadata, origin, .. } = *self;
        message(self.change, json, Reading { metadata, origin, direction, thread })
    }

    fn visit(&mut self, raw: Json<'_>, path: Path<'_>, item: Item) -> ControlFlow<()> {
        self.newest = self.newest.max(item.time());
        (self.visit)(self.change.at(path, raw, item))
    }
}

/// True if the number is written as the dashboard writes it, and not as digits.
fn has_number_as_text(members: &Object<'_>) -> bool {
    let number = || members.object("metadata")?.get("phone_number_id");
    number().is_some_and(|number| number.text().is_some())
}

/// Whose a thread of the history is: its id, and since 2026 a context that names the user.
fn thread_user(members: &Object<'_>) -> Identity {
    let context = members.object("context");
    let mut user = context.as_ref().map(Identity::of_contact).unwrap_or_default();
    let id = super::short_id(members.get("id")).map(crate::ids::PartyId::new);
    if user.party().is_none() {
        user.phone = id;
    }
    user
}
