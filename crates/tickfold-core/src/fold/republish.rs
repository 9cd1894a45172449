//! Table rows of two states in which they differ, for the one moment at which a state takes the place of
//! another without a record that says so.
//!
//! Both are rendered as of the same record and compared as bytes, so that what does not show in a row is
//! no difference of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::charges::Charges;
use super::emit::Emitter;
use super::management::{AccountPart, NumberPart};
use super::{Dirty, Output, Partition, Place, Run};
use crate::ids::{Participant, PhoneNumberId, WabaId};
use crate::overlay::{Nothing, Overlay};
use crate::rules::Rules;
use crate::time::Timestamp;

/// As of when rows are rendered.
#[derive(Debug, Clone)]
pub struct AsOf {
    /// Partition.
    pub partition: Partition,
    /// The last record that is folded in.
    pub offset: u64,
    /// Log time after it.
    pub log_time: Timestamp,
    /// Rules in force after it.
    pub rules: Arc<Rules>,
    /// Ordinal of the first row: above those of the record's own outputs.
    pub first_ordinal: u32,
}

/// Rows of `after` that are not those of `before`, and tombstones for those that only `before` has. Both
/// overlays lie on nothing and have the entities to be compared; the totals, numbers and so on of one
/// that has none of a key are taken for absent.
pub fn differing_rows(as_of: &AsOf, before: &mut Overlay, after: &mut Overlay) -> Vec<Output> {
    let mut dirty = Dirty::of(before);
    let (old, new) = (dirty.clone(), Dirty::of(after));
    dirty.extend(&new);
    let mut rows = Vec::new();
    for one in dirty.each() {
        let ordinal = usize::try_from(as_of.first_ordinal).unwrap_or(usize::MAX);
        let ordinal = ordinal.saturating_add(rows.len());
        let was = old.has(&one).then(|| render(as_of, ordinal, before, one.clone())).flatten();
        let is = new.has(&one).then(|| render(as_of, ordinal, after, one)).flatten();
        match (was, is) {
            (Some(was), Some(is)) if was.value == is.value => {}
            (_, Some(is)) => rows.push(is),
            (Some(was), None) => rows.push(was.into_tombstone()),
            (None, None) => {}
        }
    }
    rows
}

/// The row of one thing, if it has one.
fn render(as_of: &AsOf, ordinal: usize, state: &mut Overlay, one: Dirty) -> Option<Output> {
    let AsOf { partition, offset, log_time, rules, .. } = as_of;
    let place =
        Place { partition: *partition, offset: *offset, log_time: *log_time, received: None };
    let mut run = Run {
        overlay: state,
        below: &Nothing,
        place,
        emit: Emitter::new(place, None, false).at_ordinal(ordinal),
        dirty: one,
        charges: Charges::default(),
        rules: Arc::clone(rules),
        deadlines_wait_until: None,
    };
    run.write_rows();
    let row = run.emit.into_outputs().into_iter().next();
    // One that is too large is a dead letter in its place, and no row.
    row.filter(|row| row.topic.is_table() && row.value.is_some())
}

impl Output {
    fn into_tombstone(mut self) -> Self {
        self.value = None;
        self.headers.retain(|(name, _)| *name != "content-type");
        self
    }
}

impl Dirty {
    /// All rows that entities of an overlay may have.
    fn of(state: &Overlay) -> Self {
        let mut dirty = Self::default();
        for (wamid, change) in state.messages.changes() {
            let Some(message) = &change.after else { continue };
            dirty.messages.insert((wamid.clone(), Participant::whole()));
            let participants = message.facts.receipts.iter().map(|(participant, _)| participant);
            dirty.messages.extend(participants.map(|of| (wamid.clone(), of.clone())));
        }
        let conversations = state.conversations.changes().filter(|(_, of)| of.after.is_some());
        dirty.conversations.extend(conversations.map(|(key, _)| key.clone()));
        let templates = state.templates.changes().filter(|(_, of)| of.after.is_some());
        dirty.templates.extend(templates.map(|(key, _)| key.clone()));
        for (id, change) in state.numbers.changes() {
            let Some(number) = &change.after else { continue };
            let kinds = number.facts.standing.restrictions.imposed.keys();
            dirty.numbers.extend(number_parts(id, kinds));
        }
        for (id, change) in state.accounts.changes() {
            let Some(account) = &change.after else { continue };
            let facts = &account.facts;
            dirty.accounts.extend(account_parts(id, facts.restrictions.imposed.keys()));
            let tiers = facts.tiers.keys().cloned().map(AccountPart::Tier);
            dirty.accounts.extend(tiers.map(|part| (id.clone(), part)));
        }
        let totals = state.totals.changes().filter(|(_, of)| of.after.is_some());
        dirty.totals.extend(totals.map(|(key, _)| key.clone()));
        for (key, change) in state.users.changes() {
            let Some(user) = &change.after else { continue };
            dirty.users.extend(user.facts.parts().into_iter().map(|part| (key.clone(), part)));
        }
        dirty
    }

    fn extend(&mut self, other: &Self) {
        self.messages.extend(other.messages.iter().cloned());
        self.conversations.extend(other.conversations.iter().cloned());
        self.templates.extend(other.templates.iter().cloned());
        self.numbers.extend(other.numbers.iter().cloned());
        self.accounts.extend(other.accounts.iter().cloned());
        self.totals.extend(other.totals.iter().cloned());
        self.users.extend(other.users.iter().cloned());
    }

    /// Each by itself, in the order in which rows are written.
    fn each(self) -> impl Iterator<Item = Self> {
        macro_rules! each {
            ($($table:ident),*) => {{
                let Self { $($table),* } = self;
                let all = std::iter::empty();
                $(let all = all.chain($table.into_iter().map(|of| Self {
                    $table: BTreeSet::from([of]),
                    ..Self::default()
                }));)*
                all
            }};
        }
        each!(messages, conversations, templates, numbers, totals, accounts, users)
    }

    /// Whether it has all of another.
    fn has(&self, other: &Self) -> bool {
        other.messages.is_subset(&self.messages)
            && other.conversations.is_subset(&self.conversations)
            && other.templates.is_subset(&self.templates)
            && other.numbers.is_subset(&self.numbers)
            && other.accounts.is_subset(&self.accounts)
            && other.totals.is_subset(&self.totals)
            && other.users.is_subset(&self.users)
    }
}

fn number_parts<'a>(
    id: &PhoneNumberId,
    kinds: impl Iterator<Item = &'a String>,
) -> impl Iterator<Item = (PhoneNumberId, NumberPart)> {
    let restrictions = kinds.cloned().map(NumberPart::Restriction);
    std::iter::once(NumberPart::Itself).chain(restrictions).map(move |part| (id.clone(), part))
}

fn account_parts<'a>(
    id: &WabaId,
    kinds: impl Iterator<Item = &'a String>,
) -> impl Iterator<Item = (WabaId, AccountPart)> {
    let restrictions = kinds.cloned().map(AccountPart::Restriction);
    std::iter::once(AccountPart::Itself).chain(restrictions).map(move |part| (id.clone(), part))
}
