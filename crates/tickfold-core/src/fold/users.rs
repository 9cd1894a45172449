//! Users: preferences, profiles, and the edges between the identifiers of one user.

use std::collections::BTreeSet;

use super::{Event, Run};
use crate::decode::{ContactItem, Link, PreferenceItem, Site, UserIdItem};
use crate::ids::{PartyId, UserKey, WabaId};
use crate::overlay::{Source, SourceError};
use crate::planted::planted;
use crate::records::TransitionRecord;
use crate::state::{Alias, Preference, Profile, Relation, User, UserFacts};
use crate::time::Timestamp;

/// One row of the user table, by what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UserPart {
    Profile,
    Preference(String),
    Alias(Alias),
}

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn preference(
        &mut self,
        item: PreferenceItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let Some(waba_id) = site.waba_id.as_ref() else { return Ok(()) };
        let PreferenceItem { party, links, category, preference, metadata, natural_key } = item;
        let time = preference.time;
        if let Some(metadata) = &metadata {
            self.number(metadata, Some(waba_id), time)?;
        }
        self.link(Some(waba_id), &links, time)?;
        let first = self.first_time(&natural_key)?;
        if first {
            self.event(site, time, || Event {
                key: format!("{waba_id}/{party}"),
                kind: preference.value.clone(),
                natural_key: natural_key.into_text(),
                phone_number_id: metadata.as_ref().map(|metadata| &metadata.phone_number_id),
                party: Some(party.to_string()),
                ..Event::default()
            });
        }
        let preferences = [(category.clone(), preference)].into();
        let facts = UserFacts { preferences, ..UserFacts::default() };
        self.user_preference(waba_id, party, &category, facts, Some(first))
    }

    /// Joins a preference and tells of it. `first` says whether what told it is new; where nothing
    /// else can tell, that is whether it taught anything.
    pub(super) fn user_preference(
        &mut self,
        waba_id: &WabaId,
        party: PartyId,
        category: &str,
        facts: UserFacts,
        first: Option<bool>,
    ) -> Result<(), SourceError> {
        let key = UserKey { waba_id: waba_id.clone(), party };
        let told = facts.preferences.get(category).cloned().unwrap_or_default();
        let known = self.overlay.users.entry(&key, |key| self.below.user(key))?;
        let shown = |user: Option<&User>| -> Option<Preference> {
            user?.facts.preferences.get(category).cloned()
        };
        let from = shown(known.as_ref());
        let learned = self.user(&key, facts)?;
        if first.unwrap_or(learned)
            && let Some(source) = self.emit.begin(told.time)
        {
            let after = self.overlay.users.get(&key).and_then(Option::as_ref);
            let state = shown(after).map(|preference| preference.value);
            let text = key.text();
            let record = TransitionRecord {
                key: text.clone(),
                waba_id: Some(waba_id.to_string()),
                party: Some(key.party.to_string()),
                from: from.map(|preference| preference.value),
                state: state.unwrap_or_else(|| told.value.clone()),
                late: !learned,
                reason: Some(category.to_owned()),
                ..TransitionRecord::new(source, "user", &told.value)
            };
            self.emit.transition(text, &record);
        }
        Ok(())
    }

    pub(super) fn user_id(&mut self, item: UserIdItem, site: &Site<'_>) -> Result<(), SourceError> {
        let Some(waba_id) = site.waba_id.as_ref() else { return Ok(()) };
        if let Some(metadata) = &item.metadata {
            self.number(metadata, Some(waba_id), item.time)?;
        }
        if self.first_time(&item.natural_key)? {
            let number = item.metadata.as_ref().map(|metadata| &metadata.phone_number_id);
            self.event(site, item.time, || Event {
                key: format!("{waba_id}/{}", item.party),
                kind: "user_id_update".to_owned(),
                natural_key: item.natural_key.into_text(),
                phone_number_id: number,
                party: Some(item.party.to_string()),
                ..Event::default()
            });
        }
        self.link(Some(waba_id), &item.links, item.time)
    }

    /// What else is known to be an identifier of the users of these.
    pub(super) fn aliases_of(
        &mut self,
        waba_id: &WabaId,
        parties: &BTreeSet<PartyId>,
    ) -> Result<BTreeSet<PartyId>, SourceError> {
        let mut known = BTreeSet::new();
        for party in parties {
            let key = UserKey { waba_id: waba_id.clone(), party: party.clone() };
            let user = self.overlay.users.entry(&key, |key| self.below.user(key))?;
            let aliases = user.iter().flat_map(|user| user.facts.aliases.keys());
            known.extend(aliases.map(|alias| alias.party.clone()));
        }
        Ok(known)
    }

    /// An entry of `contacts[]`: who somebody is, and no event.
    pub(super) fn contact(
        &mut self,
        item: ContactItem,
        time: Option<Timestamp>,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref();
        self.link(waba_id, &item.links, time)?;
        let (Some(waba_id), Some(time), Some(party)) = (waba_id, time, item.parties.first()) else {
            return Ok(());
        };
        if item.name.is_none() && item.username.is_none() {
            return Ok(());
        }
        let key = UserKey { waba_id: waba_id.clone(), party: party.clone() };
        let profile = Some(Profile::seen(time, item.name, item.username));
        self.user(&key, UserFacts { profile, ..UserFacts::default() }).map(drop)
    }

    /// Learns edges between identifiers, at both ends. Each edge is told once, from the end that it
    /// starts at.
    pub(super) fn link(
        &mut self,
        waba_id: Option<&WabaId>,
        links: &[Link],
        time: Option<Timestamp>,
    ) -> Result<(), SourceError> {
        let Some(waba_id) = waba_id else { return Ok(()) };
        for Link { from, to, relation } in links {
            // Of two that are the same neither comes first, so the lesser does.
            let swap = *relation == Relation::Same && to < from;
            let (from, to) = if swap { (to, from) } else { (from, to) };
            let is_new = self.edge(waba_id, from, to, *relation, time)?;
            self.edge(waba_id, to, from, relation.reversed(), time)?;
            if is_new && let Some(source) = self.emit.begin(time) {
                let key = UserKey { waba_id: waba_id.clone(), party: from.clone() }.text();
                let record = TransitionRecord {
                    key: key.clone(),
                    waba_id: Some(waba_id.to_string()),
                    party: Some(from.to_string()),
                    state: relation.as_str().to_owned(),
                    reason: Some(to.to_string()),
                    ..TransitionRecord::new(source, "user", "alias")
                };
                self.emit.transition(key, &record);
            }
        }
        Ok(())
    }

    /// Learns one end of an edge; true if the edge is new.
    fn edge(
        &mut self,
        waba_id: &WabaId,
        from: &PartyId,
        to: &PartyId,
        relation: Relation,
        time: Option<Timestamp>,
    ) -> Result<bool, SourceError> {
        let key = UserKey { waba_id: waba_id.clone(), party: from.clone() };
        let alias = Alias { party: to.clone(), relation };
        let time = if planted!(AliasByArrival) { Some(self.place.log_time) } else { time };
        let known = self.overlay.users.entry(&key, |key| self.below.user(key))?;
        let is_new = !known.as_ref().is_some_and(|user| user.facts.aliases.contains_key(&alias));
        let learned =
            self.user(&key, UserFacts { aliases: [(alias, time)].into(), ..UserFacts::default() })?;
        // What a bound left out is not a fact.
        Ok(is_new && learned)
    }

    /// Joins facts into a user, who appears with them; true if they taught anything.
    fn user(&mut self, key: &UserKey, facts: UserFacts) -> Result<bool, SourceError> {
        let before = self.overlay.users.take(key, |key| self.below.user(key))?;
        let is_new = before.is_none();
        let mut user = before
            .unwrap_or_else(|| User { facts: UserFacts::default(), journal: self.journal(None) });
        let parts = facts.parts();
        let learned = user.facts.join(facts);
        if !learned {
            self.overlay.users.put(key, (!is_new).then_some(user));
            return Ok(false);
        }
        user.journal = self.journal((!is_new).then_some(user.journal));
        self.dirty.users.extend(parts.into_iter().map(|part| (key.clone(), part)));
        self.overlay.users.put(key, Some(user));
        Ok(true)
    }
}

impl UserFacts {
    /// The rows that these facts are about.
    pub(super) fn parts(&self) -> Vec<UserPart> {
        let profile = self.profile.iter().map(|_| UserPart::Profile);
        let preferences = self.preferences.keys().cloned().map(UserPart::Preference);
        profile
            .chain(preferences)
            .chain(self.aliases.keys().cloned().map(UserPart::Alias))
            .collect()
    }
}
