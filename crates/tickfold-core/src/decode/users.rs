//! `user_preferences[]` and `user_id_update[]`.

use super::identity::{Identity, Link, became};
use super::{Change, Item, Metadata, bounded, key_part, short_id};
use crate::ids::{NaturalKey, PartyId};
use crate::json::{Json, Object};
use crate::state::Preference;
use crate::time::Timestamp;

/// What a user wants.
#[derive(Debug)]
pub(crate) struct PreferenceItem {
    pub party: PartyId,
    pub links: Vec<Link>,
    pub category: String,
    pub preference: Preference,
    pub metadata: Option<Metadata>,
    pub natural_key: NaturalKey,
}

/// A user got another identifier.
#[derive(Debug)]
pub(crate) struct UserIdItem {
    /// Whom it is about: the current identifier.
    pub party: PartyId,
    pub links: Vec<Link>,
    pub time: Option<Timestamp>,
    pub metadata: Option<Metadata>,
    pub natural_key: NaturalKey,
}

/// Decodes an element of `user_preferences[]`.
pub(super) fn preference(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("user_preference", "not_an_object");
    };
    let identity = Identity::of_contact(&members);
    let Some(party) = identity.party().cloned() else {
        return Change::broken("user_preference", "user_missing");
    };
    let Some(value) = members.text("value").map(|value| bounded(&value)) else {
        return Change::broken("user_preference", "value_missing_or_not_a_word");
    };
    let category = members.text("category").unwrap_or_else(|| "marketing_messages".to_owned());
    let category = bounded(&category);
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let natural_key = NaturalKey::new(format!(
        "pref:{}:{party}:{category}:{value}@{}",
        change.waba_id,
        seconds(time)
    ));
    let stop = value.eq_ignore_ascii_case("stop");
    Item::Preference(PreferenceItem {
        party,
        links: identity.links(),
        category,
        preference: Preference { time, stop, value },
        metadata: metadata.cloned(),
        natural_key,
    })
}

/// Decodes an element of `user_id_update[]`.
pub(super) fn user_id(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("user_id_update", "not_an_object");
    };
    let ends = |name: &str| {
        let object = members.object(name);
        let end = |object: &Option<Object<'_>>, name: &str| {
            short_id(object.as_ref()?.get(name)).map(PartyId::new)
        };
        (end(&object, "previous"), end(&object, "current"))
    };
    let (previous, current) = ends("user_id");
    let (previous_parent, current_parent) = ends("parent_user_id");
    let phone = short_id(members.get("wa_id")).map(PartyId::new);
    let Some(party) = current.clone().or_else(|| phone.clone()) else {
        return Change::broken("user_id_update", "user_missing");
    };
    let word = |id: &Option<PartyId>| {
        key_part(id.as_ref().map(PartyId::as_str).unwrap_or_default()).to_owned()
    };
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let natural_key = NaturalKey::new(format!(
        "uid:{}:{}>{}@{}",
        change.waba_id,
        word(&previous),
        word(&current),
        seconds(time)
    ));
    let now = Identity { phone, user: current.clone(), parent: current_parent.clone() };
    let mut links = now.links();
    links.extend(became(previous, current));
    links.extend(became(previous_parent, current_parent));
    Item::UserId(UserIdItem { party, links, time, metadata: metadata.cloned(), natural_key })
}

/// A time as keys have it: seconds, or `-`.
pub(super) fn seconds(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| (time.as_millis() / 1_000).to_string())
}
