//! Who a webhook speaks of: phone number, business-scoped user id and the id at the business's
//! parent, any of which may be left out, empty, or hold one of the others.

use super::{MessageSide, short_id, short_text};
use crate::ids::PartyId;
use crate::json::{Json, Object};
use crate::state::Relation;

/// The identifiers of one user in one item.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Phone number, or whatever stands in its place.
    pub phone: Option<PartyId>,
    /// Business-scoped user id.
    pub user: Option<PartyId>,
    /// User id at the business's parent.
    pub parent: Option<PartyId>,
}

/// Two identifiers that the same item gives to one user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub from: PartyId,
    pub to: PartyId,
    pub relation: Relation,
}

/// An entry of `contacts[]` beside the items.
#[derive(Debug)]
pub(crate) struct ContactItem {
    pub parties: Vec<PartyId>,
    pub links: Vec<Link>,
    pub name: Option<String>,
    pub username: Option<String>,
}

impl Identity {
    /// Reads the identifiers from their members. The parent's name changed in May 2026, so there
    /// are two.
    pub(super) fn read(members: &Object<'_>, [phone, user]: [&str; 2], parents: [&str; 2]) -> Self {
        let id = |name: &str| short_id(members.get(name)).map(PartyId::new);
        let mut identity =
            Self { phone: id(phone), user: id(user), parent: parents.into_iter().find_map(id) };
        // Seen where the phone number was withheld: the user id in its place.
        if identity.phone == identity.user {
            identity.phone = None;
        }
        identity
    }

    /// Of an inbound message or of one of ours.
    pub(super) fn of_message(members: &Object<'_>, side: MessageSide) -> Self {
        match side {
            MessageSide::From => {
                Self::read(members, ["from", "from_user_id"], ["from_parent_user_id"; 2])
            }
            MessageSide::To => Self::read(members, ["to", "to_user_id"], ["to_parent_user_id"; 2]),
        }
    }

    /// Members named as in `contacts[]`.
    pub(super) fn of_contact(members: &Object<'_>) -> Self {
        Self::read(members, ["wa_id", "user_id"], ["parent_user_id"; 2])
    }

    /// The identifiers that make a party, the phone number first.
    pub(super) fn parties(&self) -> Vec<PartyId> {
        self.phone.iter().chain(&self.user).cloned().collect()
    }

    /// The identifier to name the user by.
    pub(super) fn party(&self) -> Option<&PartyId> {
        self.phone.as_ref().or(self.user.as_ref())
    }

    /// What the identifiers say of each other.
    pub(super) fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        if let (Some(phone), Some(user)) = (&self.phone, &self.user) {
            let (from, to) = (phone.clone(), user.clone());
            links.push(Link { from, to, relation: Relation::Same });
        }
        if let (Some(user), Some(parent)) = (&self.user, &self.parent) {
            let (from, to) = (user.clone(), parent.clone());
            links.push(Link { from, to, relation: Relation::Parent });
        }
        links
    }
}

/// The edge from a previous identifier to the current one, if they differ.
pub(super) fn became(previous: Option<PartyId>, current: Option<PartyId>) -> Option<Link> {
    let (from, to) = (previous?, current?);
    (from != to).then_some(Link { from, to, relation: Relation::Became })
}

/// Decodes an entry of `contacts[]`. It says nothing by itself, so one that cannot be read is none.
pub(super) fn contact(json: Json<'_>) -> Option<ContactItem> {
    let members = json.object()?;
    let identity = Identity::of_contact(&members);
    let profile = members.object("profile");
    let text = |name: &str| profile.as_ref()?.get(name).and_then(short_text);
    let item = ContactItem {
        parties: identity.parties(),
        links: identity.links(),
        name: text("name"),
        username: text("username"),
    };
    (!item.parties.is_empty()).then_some(item)
}
