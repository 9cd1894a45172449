//! `groups[]` of the four group fields.

use super::identity::{Identity, Link};
use super::{Change, Item, Metadata, bounded, errors, id_text, key_part, short_id, short_text};
use crate::ids::{GroupKey, NaturalKey, PartyId};
use crate::json::{Json, Object};
use crate::state::{GroupFacts, JoinRequest, Membership, Setting, first_code};
use crate::time::Timestamp;

/// Something that happened to a group.
#[derive(Debug)]
pub(crate) struct GroupItem {
    /// `None` for a group that was not created.
    pub key: Option<GroupKey>,
    /// `type`, in Meta's word.
    pub kind: String,
    pub time: Option<Timestamp>,
    pub metadata: Option<Metadata>,
    pub facts: GroupFacts,
    /// What the identifiers of participants say of each other.
    pub links: Vec<Link>,
    /// Who is added, removed or asks, if it is one.
    pub party: Option<PartyId>,
    pub error_code: Option<i64>,
    pub natural_key: NaturalKey,
}

/// Decodes an element of `groups[]`. The documented examples are partly broken, so everything but
/// the object itself may be missing.
pub(super) fn group(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let Some(members) = json.object() else {
        return Change::broken("group", "not_an_object");
    };
    let id = id_text(members.get("group_id"));
    let kind = members.text("type").map_or_else(|| "unknown".to_owned(), |word| bounded(&word));
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let asking = Identity::of_contact(&members);
    let mut links = asking.links();
    let mut of = |name: &str| participants(&members, name, &mut links);
    let added = of("added_participants");
    let removed = of("removed_participants");
    let failed = of("failed_participants");
    let asks = asking.party().cloned();
    let request = id_text(members.get("request_id"));
    let join_request = id_text(members.get("join_request_id"));
    let subject = request.or_else(|| join_request.clone()).unwrap_or_else(|| {
        let mut named: Vec<_> =
            added.iter().chain(&removed).chain(&failed).map(PartyId::as_str).collect();
        named.sort_unstable();
        named.join("+")
    });
    let at = time.map_or_else(|| "-".to_owned(), |time| (time.as_millis() / 1_000).to_string());
    let natural_key = NaturalKey::new(format!(
        "grp:{}:{kind}:{}@{at}",
        id.as_deref().unwrap_or("-"),
        key_part(&subject)
    ));
    let mut facts = GroupFacts {
        waba_id: Some(change.waba_id.clone()),
        events: [(kind.clone(), time)].into(),
        settings: settings(&members, time),
        ..GroupFacts::default()
    };
    for (parties, left) in [(&added, false), (&removed, true)] {
        let members = parties.iter().map(|party| (party.clone(), Membership { time, left }));
        facts.participants.extend(members);
    }
    if let Some(id) = join_request {
        let revoked = kind == "group_join_request_revoked";
        let created = time.filter(|_| !revoked);
        facts.join_requests.insert(id, JoinRequest { party: asks.clone(), created, revoked });
    }
    let key = id.zip(metadata).map(|(id, metadata)| GroupKey {
        phone_number_id: metadata.phone_number_id.clone(),
        group: PartyId::new(id),
    });
    let one = match (added.as_slice(), removed.as_slice()) {
        ([one], []) | ([], [one]) => Some(one.clone()),
        _ => None,
    };
    Item::Group(GroupItem {
        key,
        kind,
        time,
        metadata: metadata.cloned(),
        facts,
        links,
        party: one.or(asks),
        error_code: first_code(&errors::errors(&members, time)),
        natural_key,
    })
}

/// The participants of a list, each by what names it best.
fn participants(members: &Object<'_>, name: &str, links: &mut Vec<Link>) -> Vec<PartyId> {
    let entries = members.get(name).and_then(Json::array).unwrap_or_default();
    let party = |entry: Json<'_>| {
        let entry = entry.object()?;
        let identity = Identity::of_contact(&entry);
        links.extend(identity.links());
        identity.party().cloned().or_else(|| short_id(entry.get("input")).map(PartyId::new))
    };
    entries.filter_map(party).collect()
}

/// What a creation or an update that succeeded says of the settings.
fn settings(
    members: &Object<'_>,
    time: Option<Timestamp>,
) -> std::collections::BTreeMap<String, Setting> {
    let plain = ["subject", "description", "invite_link", "join_approval_mode"].into_iter();
    let plain = plain.filter_map(|name| Some((name, members.get(name).and_then(short_text)?)));
    let updates = [("subject", "group_subject"), ("description", "group_description")].into_iter();
    let updates = updates.filter_map(|(name, update)| {
        let update = members.object(update)?;
        let succeeded = update.get("update_successful").and_then(Json::boolean) == Some(true);
        Some((name, update.get("text").and_then(short_text).filter(|_| succeeded)?))
    });
    let setting = |(name, value): (&str, String)| (name.to_owned(), Setting { time, value });
    plain.chain(updates).map(setting).collect()
}
