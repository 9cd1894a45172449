//! What the fold reads and writes: a [`Source`] below, an [`Overlay`] of changes on top.
//!
//! The overlay is itself a source for a newer overlay, so that a batch can be folded on top of one
//! that is still being committed. An overlay on [`Nothing`] is the golden fold.

use std::collections::BTreeMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use indexmap::map::raw_entry_v1::{RawEntryApiV1 as _, RawEntryMut};

use crate::action::ActionId;
use crate::charge::{Total, TotalKey};
use crate::ids::{
    CallId, ConversationKey, GroupKey, NaturalKey, PaymentKey, PhoneNumberId, TemplateKey, UserKey,
    WabaId, Wamid,
};
use crate::state::{
    Account, Call, Conversation, Decided, Group, Message, Natural, Number, Payment, Regime,
    Template, TimerKey, User,
};
use crate::time::Timestamp;

/// A source could not read. The only way in which folding fails; what was folded of the record
/// must be dropped, overlay and all.
#[derive(Debug, thiserror::Error)]
#[error("read state")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// State of one partition, as it was when the overlay on top began.
pub trait Source {
    /// The partition's own state.
    fn head(&self) -> Result<Head, SourceError>;
    /// A message by its id.
    fn message(&self, key: &Wamid) -> Result<Option<Message>, SourceError>;
    /// A conversation by number and party.
    fn conversation(&self, key: &ConversationKey) -> Result<Option<Conversation>, SourceError>;
    /// A template by account, id and language.
    fn template(&self, key: &TemplateKey) -> Result<Option<Template>, SourceError>;
    /// An account by its id.
    fn account(&self, key: &WabaId) -> Result<Option<Account>, SourceError>;
    /// A number by its id.
    fn number(&self, key: &PhoneNumberId) -> Result<Option<Number>, SourceError>;
    /// A user by account and identifier.
    fn user(&self, key: &UserKey) -> Result<Option<User>, SourceError>;
    /// A call by its id.
    fn call(&self, key: &CallId) -> Result<Option<Call>, SourceError>;
    /// A group by number and id.
    fn group(&self, key: &GroupKey) -> Result<Option<Group>, SourceError>;
    /// A payment by message, order and transaction.
    fn payment(&self, key: &PaymentKey) -> Result<Option<Payment>, SourceError>;
    /// What the partition goes by; `None` before anything of it changed.
    fn regime(&self) -> Result<Option<Regime>, SourceError>;
    /// What is remembered of an action or alert that was decided.
    fn decided(&self, key: &ActionId) -> Result<Option<Decided>, SourceError>;
    /// How many charges there are of an account, month, category and type.
    fn total(&self, key: &TotalKey) -> Result<Option<Total>, SourceError>;
    /// What is remembered of an event.
    fn natural(&self, key: &NaturalKey) -> Result<Option<Natural>, SourceError>;
    /// The first armed timer strictly after `after`, or the very first.
    fn next_timer(&self, after: Option<&TimerKey>) -> Result<Option<TimerKey>, SourceError>;
}

/// The state of the partition itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Log time: the greatest append time of the records folded so far. `None` before the first.
    pub log_time: Option<Timestamp>,
    /// Version of the rules in force; 1 is the built-in table.
    pub rules_version: u32,
}

/// A source that knows nothing: below the first record of a log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

pub use crate::rules::BUILT_IN_RULES;

impl Source for Nothing {
    fn head(&self) -> Result<Head, SourceError> {
        Ok(Head { log_time: None, rules_version: BUILT_IN_RULES })
    }
    fn message(&self, _: &Wamid) -> Result<Option<Message>, SourceError> {
        Ok(None)
    }
    fn conversation(&self, _: &ConversationKey) -> Result<Option<Conversation>, SourceError> {
        Ok(None)
    }
    fn template(&self, _: &TemplateKey) -> Result<Option<Template>, SourceError> {
        Ok(None)
    }
    fn account(&self, _: &WabaId) -> Result<Option<Account>, SourceError> {
        Ok(None)
    }
    fn number(&self, _: &PhoneNumberId) -> Result<Option<Number>, SourceError> {
        Ok(None)
    }
    fn user(&self, _: &UserKey) -> Result<Option<User>, SourceError> {
        Ok(None)
    }
    fn call(&self, _: &CallId) -> Result<Option<Call>, SourceError> {
        Ok(None)
    }
    fn group(&self, _: &GroupKey) -> Result<Option<Group>, SourceError> {
        Ok(None)
    }
    fn payment(&self, _: &PaymentKey) -> Result<Option<Payment>, SourceError> {
        Ok(None)
    }
    fn regime(&self) -> Result<Option<Regime>, SourceError> {
        Ok(None)
    }
    fn decided(&self, _: &ActionId) -> Result<Option<Decided>, SourceError> {
        Ok(None)
    }
    fn total(&self, _: &TotalKey) -> Result<Option<Total>, SourceError> {
        Ok(None)
    }
    fn natural(&self, _: &NaturalKey) -> Result<Option<Natural>, SourceError> {
        Ok(None)
    }
    fn next_timer(&self, _: Option<&TimerKey>) -> Result<Option<TimerKey>, SourceError> {
        Ok(None)
    }
}

/// A value before and after the overlay's changes.
#[derive(Debug, Clone)]
pub struct Change<V> {
    /// As the source had it.
    pub before: Option<V>,
    /// As it is now; `None` is deleted or never there.
    pub after: Option<V>,
}

/// Entries of one kind that the overlay has read or changed, in the order in which it met them,
/// which is the same whatever the hasher's seed. They are large, and a table that grows moves its
/// entries about, so they stand apart.
#[derive(Debug, Clone)]
pub struct Table<K, V>(IndexMap<K, Box<Change<V>>, RandomState>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(IndexMap::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone + PartialEq> Table<K, V> {
    /// The entry, loaded through `load` when the overlay has not met it yet.
    pub fn entry(
        &mut self,
        key: &K,
        load: impl FnOnce(&K) -> Result<Option<V>, SourceError>,
    ) -> Result<&mut Option<V>, SourceError> {
        let change = match self.0.raw_entry_mut_v1().from_key(key) {
            RawEntryMut::Occupied(met) => met.into_mut(),
            RawEntryMut::Vacant(new) => {
                let value = load(key)?;
                let change = Box::new(Change { before: value.clone(), after: value });
                new.insert(key.clone(), change).1
            }
        };
        Ok(&mut change.after)
    }

    /// Takes the value out of its entry, loaded as [`Self::entry`] does. It must be put back.
    pub fn take(
        &mut self,
        key: &K,
        load: impl FnOnce(&K) -> Result<Option<V>, SourceError>,
    ) -> Result<Option<V>, SourceError> {
        match self.0.raw_entry_mut_v1().from_key(key) {
            RawEntryMut::Occupied(mut met) => Ok(met.get_mut().after.take()),
            RawEntryMut::Vacant(new) => {
                let before = load(key)?;
                let value = before.clone();
                new.insert(key.clone(), Box::new(Change { before, after: None }));
                Ok(value)
            }
        }
    }

    /// Sets the value of a key that [`Self::entry`] has loaded: a value is taken out of its entry,
    /// changed, and put back, so that none is ever copied.
    pub fn put(&mut self, key: &K, value: Option<V>) {
        debug_assert!(self.0.contains_key(key), "a value is put back where it was taken");
        if let Some(change) = self.0.get_mut(key) {
            change.after = value;
        }
    }

    /// The value now, if the overlay has met the key.
    pub fn get(&self, key: &K) -> Option<&Option<V>> {
        self.0.get(key).map(|change| &change.after)
    }

    /// Entries whose value differs from what the source had, in the order in which they were met.
    pub fn changes(&self) -> impl Iterator<Item = (&K, &Change<V>)> {
        let entries = self.0.iter().map(|(key, change)| (key, &**change));
        entries.filter(|(_, change)| change.before != change.after)
    }
}

/// Changes on top of a source, not yet committed.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// `None` until the first record is folded.
    pub head: Option<Head>,
    /// Messages.
    pub messages: Table<Wamid, Message>,
    /// Conversations.
    pub conversations: Table<ConversationKey, Conversation>,
    /// Templates.
    pub templates: Table<TemplateKey, Template>,
    /// Accounts.
    pub accounts: Table<WabaId, Account>,
    /// Numbers.
    pub numbers: Table<PhoneNumberId, Number>,
    /// Users.
    pub users: Table<UserKey, User>,
    /// Calls.
    pub calls: Table<CallId, Call>,
    /// Groups.
    pub groups: Table<GroupKey, Group>,
    /// Payments.
    pub payments: Table<PaymentKey, Payment>,
    /// What the partition goes by: one entry at most.
    pub regime: Table<(), Regime>,
    /// Decided actions and alerts.
    pub decided: Table<ActionId, Decided>,
    /// Totals of charges.
    pub totals: Table<TotalKey, Total>,
    /// Natural keys.
    pub naturals: Table<NaturalKey, Natural>,
    /// Timers armed (true) or gone (false) relative to the source.
    pub timers: BTreeMap<TimerKey, bool>,
    /// The last timer that fired: every one up to it is gone.
    pub fired: Option<TimerKey>,
    /// What was folded into it; no part of the state.
    pub tally: Tally,
}

/// What became of the items of webhooks, counted where outputs are not muted. Contacts, which come along
/// with messages, and what became a dead letter are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Told an event or a transition that was not late.
    pub applied: u64,
    /// Told transitions only that came behind a later one.
    pub stale: u64,
    /// Told neither: all of it was known.
    pub duplicate: u64,
    /// An event of a field or a shape that is not known.
    pub unknown: u64,
}

impl Overlay {
    /// True if nothing differs from the source but the head.
    pub fn is_unchanged(&self) -> bool {
        self.messages.changes().next().is_none()
            && self.conversations.changes().next().is_none()
            && self.templates.changes().next().is_none()
            && self.accounts.changes().next().is_none()
            && self.numbers.changes().next().is_none()
            && self.users.changes().next().is_none()
            && self.calls.changes().next().is_none()
            && self.groups.changes().next().is_none()
            && self.payments.changes().next().is_none()
            && self.regime.changes().next().is_none()
            && self.decided.changes().next().is_none()
            && self.totals.changes().next().is_none()
            && self.naturals.changes().next().is_none()
            && self.timers.is_empty()
    }
}

/// An overlay over a source, as a source.
#[derive(Debug)]
pub struct Layered<'a, S: ?Sized> {
    /// Changes on top.
    pub upper: &'a Overlay,
    /// What they are changes of.
    pub lower: &'a S,
}

impl<S: Source + ?Sized> Source for Layered<'_, S> {
    fn head(&self) -> Result<Head, SourceError> {
        self.upper.head.map_or_else(|| self.lower.head(), Ok)
    }
    fn message(&self, key: &Wamid) -> Result<Option<Message>, SourceError> {
        self.upper.messages.get(key).map_or_else(|| self.lower.message(key), |v| Ok(v.clone()))
    }
    fn conversation(&self, key: &ConversationKey) -> Result<Option<Conversation>, SourceError> {
        let known = self.upper.conversations.get(key);
        known.map_or_else(|| self.lower.conversation(key), |v| Ok(v.clone()))
    }
    fn template(&self, key: &TemplateKey) -> Result<Option<Template>, SourceError> {
        self.upper.templates.get(key).map_or_else(|| self.lower.template(key), |v| Ok(v.clone()))
    }
    fn account(&self, key: &WabaId) -> Result<Option<Account>, SourceError> {
        self.upper.accounts.get(key).map_or_else(|| self.lower.account(key), |v| Ok(v.clone()))
    }
    fn number(&self, key: &PhoneNumberId) -> Result<Option<Number>, SourceError> {
        self.upper.numbers.get(key).map_or_else(|| self.lower.number(key), |v| Ok(v.clone()))
    }
    fn user(&self, key: &UserKey) -> Result<Option<User>, SourceError> {
        self.upper.users.get(key).map_or_else(|| self.lower.user(key), |v| Ok(v.clone()))
    }
    fn call(&self, key: &CallId) -> Result<Option<Call>, SourceError> {
        self.upper.calls.get(key).map_or_else(|| self.lower.call(key), |v| Ok(v.clone()))
    }
    fn group(&self, key: &GroupKey) -> Result<Option<Group>, SourceError> {
        self.upper.groups.get(key).map_or_else(|| self.lower.group(key), |v| Ok(v.clone()))
    }
    fn payment(&self, key: &PaymentKey) -> Result<Option<Payment>, SourceError> {
        self.upper.payments.get(key).map_or_else(|| self.lower.payment(key), |v| Ok(v.clone()))
    }
    fn regime(&self) -> Result<Option<Regime>, SourceError> {
        self.upper.regime.get(&()).map_or_else(|| self.lower.regime(), |v| Ok(v.clone()))
    }
    fn decided(&self, key: &ActionId) -> Result<Option<Decided>, SourceError> {
        self.upper.decided.get(key).map_or_else(|| self.lower.decided(key), |v| Ok(*v))
    }
    fn total(&self, key: &TotalKey) -> Result<Option<Total>, SourceError> {
        self.upper.totals.get(key).map_or_else(|| self.lower.total(key), |v| Ok(*v))
    }
    fn natural(&self, key: &NaturalKey) -> Result<Option<Natural>, SourceError> {
        self.upper.naturals.get(key).map_or_else(|| self.lower.natural(key), |v| Ok(*v))
    }
    fn next_timer(&self, after: Option<&TimerKey>) -> Result<Option<TimerKey>, SourceError> {
        use std::ops::Bound::{Excluded, Unbounded};
        // Timers are armed for later than log time and fire up to it, so none is left up to the
        // last that fired. The search must not wade through them: the source still has them all.
        let after = after.max(self.upper.fired.as_ref());
        let from = after.map_or(Unbounded, Excluded);
        let armed = self.upper.timers.range((from, Unbounded)).find(|(_, armed)| **armed);
        let armed = armed.map(|(key, _)| key.clone());
        let mut below = self.lower.next_timer(after)?;
        while let Some(key) = &below
            && self.upper.timers.get(key) == Some(&false)
        {
            below = self.lower.next_timer(Some(key))?;
        }
        Ok(match (armed, below) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        })
    }
}
