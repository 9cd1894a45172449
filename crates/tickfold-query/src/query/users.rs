//! Users: the identifiers that Meta linked, followed at read time, and what all of them tell.
//!
//! Rows keep the identifier they came with. A phone number is left out once a user has a username,
//! and a business-scoped id is made anew with a number, so one user leaves rows under several;
//! whoever asks by one of them means all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tickfold_core::ids::{PartyId, UserKey, WabaId};
use tickfold_core::state::{Preference, Profile, Relation, User};
use tickfold_core::time::Timestamp;
use tickfold_store::Snapshot;

use crate::reasons::Failure;

/// Identifiers followed from one, in number. A user has two or three; one that hundreds are linked
/// to is no user, and must not make a lookup expensive.
const PARTIES_MAX: usize = 64;

/// An edge, from its one end.
pub(crate) type Link = (PartyId, PartyId, Relation);

/// A user as all of its identifiers together tell.
#[derive(Debug)]
pub(crate) struct JoinedUser {
    pub(crate) waba_id: WabaId,
    pub(crate) parties: BTreeSet<PartyId>,
    /// Each edge once, with its earliest time.
    pub(crate) links: BTreeMap<Link, Option<Timestamp>>,
    /// There are more identifiers than were followed.
    pub(crate) truncated: bool,
    /// The latest of each category, and the identifier it came with.
    pub(crate) preferences: BTreeMap<String, (Preference, PartyId)>,
    pub(crate) profile: Option<Profile>,
    pub(crate) revision: u64,
    /// Something is known of an identifier, besides that it was asked for.
    pub(crate) is_known: bool,
}

/// The user that has the identifier, as one partition knows it: everything of an account is in one.
pub(super) fn user(
    snapshot: &dyn Snapshot,
    waba_id: &WabaId,
    party: &PartyId,
) -> Result<JoinedUser, Failure> {
    let mut user = JoinedUser {
        waba_id: waba_id.clone(),
        parties: [party.clone()].into(),
        links: BTreeMap::new(),
        truncated: false,
        preferences: BTreeMap::new(),
        profile: None,
        revision: 0,
        is_known: false,
    };
    let mut next = VecDeque::from([party.clone()]);
    while let Some(party) = next.pop_front() {
        let key = UserKey { waba_id: waba_id.clone(), party };
        let Some(found) = snapshot.user(&key)? else { continue };
        for alias in found.facts.aliases.keys() {
            if user.parties.contains(&alias.party) {
                continue;
            }
            if user.parties.len() >= PARTIES_MAX {
                user.truncated = true;
                continue;
            }
            user.parties.insert(alias.party.clone());
            next.push_back(alias.party.clone());
        }
        user.learn(&key.party, found);
    }
    Ok(user)
}

impl JoinedUser {
    fn learn(&mut self, party: &PartyId, user: User) {
        self.is_known = true;
        self.revision = self.revision.max(user.journal.revision);
        self.profile = self.profile.take().max(user.facts.profile);
        for (category, preference) in user.facts.preferences {
            let theirs = (preference, party.clone());
            let mine = self.preferences.entry(category).or_insert_with(|| theirs.clone());
            if theirs > *mine {
                *mine = theirs;
            }
        }
        for (alias, time) in user.facts.aliases {
            let mine = self.links.entry(link(party, alias.party, alias.relation)).or_insert(time);
            *mine = match (*mine, time) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (one, other) => one.or(other),
            };
        }
    }
}

/// The edge as it is told: both ends keep it, each from its own side.
fn link(from: &PartyId, to: PartyId, relation: Relation) -> Link {
    let turned = match relation {
        Relation::Same => to < *from,
        Relation::Child | Relation::Was => true,
        Relation::Parent | Relation::Became => false,
    };
    match turned {
        true => (to, from.clone(), relation.reversed()),
        false => (from.clone(), to, relation),
    }
}
