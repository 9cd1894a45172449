//! The plainest store there could be, to compare with: maps of domain values.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use tickfold_core::action::ActionId;
use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{
    CallId, ConversationKey, GroupKey, NaturalKey, PaymentKey, PhoneNumberId, TemplateKey, UserKey,
    WabaId, Wamid,
};
use tickfold_core::overlay::{Overlay, Source, Table};
use tickfold_core::state::{
    Account, Call, Conversation, Decided, Group, ListedBy, Message, Natural, Number, Payment,
    Regime, Template, TimerKey, User,
};

use super::random::Random;
use super::rare::LABELS;
use crate::{Census, MessageListItem, PartitionStore, Snapshot};

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    messages: BTreeMap<Wamid, Message>,
    conversations: BTreeMap<ConversationKey, Conversation>,
    templates: BTreeMap<TemplateKey, Template>,
    accounts: BTreeMap<WabaId, Account>,
    numbers: BTreeMap<PhoneNumberId, Number>,
    users: BTreeMap<UserKey, User>,
    calls: BTreeMap<CallId, Call>,
    groups: BTreeMap<GroupKey, Group>,
    payments: BTreeMap<PaymentKey, Payment>,
    naturals: BTreeMap<NaturalKey, Natural>,
    regime: BTreeMap<(), Regime>,
    decided: BTreeMap<ActionId, Decided>,
    totals: BTreeMap<TotalKey, Total>,
    timers: BTreeSet<TimerKey>,
}

fn apply<K: Ord + Hash + Clone, V: Clone + PartialEq>(
    map: &mut BTreeMap<K, V>,
    table: &Table<K, V>,
) {
    for (key, change) in table.changes() {
        match &change.after {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

impl Model {
    pub(super) fn apply(&mut self, overlay: &Overlay) {
        apply(&mut self.messages, &overlay.messages);
        apply(&mut self.conversations, &overlay.conversations);
        apply(&mut self.templates, &overlay.templates);
        apply(&mut self.accounts, &overlay.accounts);
        apply(&mut self.numbers, &overlay.numbers);
        apply(&mut self.users, &overlay.users);
        apply(&mut self.calls, &overlay.calls);
        apply(&mut self.groups, &overlay.groups);
        apply(&mut self.payments, &overlay.payments);
        apply(&mut self.naturals, &overlay.naturals);
        apply(&mut self.regime, &overlay.regime);
        apply(&mut self.decided, &overlay.decided);
        apply(&mut self.totals, &overlay.totals);
        for (timer, armed) in &overlay.timers {
            if *armed {
                self.timers.insert(timer.clone());
            } else {
                self.timers.remove(timer);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.timers.is_empty()
    }

    /// Lines of a conversation, the newest first.
    pub(super) fn list(&self, conversation: &ConversationKey) -> Vec<MessageListItem> {
        self.list_where(|message| message.facts.conversation().as_ref() == Some(conversation))
    }

    fn list_where(&self, of: impl Fn(&Message) -> bool) -> Vec<MessageListItem> {
        let listed = self.messages.iter().filter(|(_, message)| of(message));
        let mut items: Vec<_> = listed
            .map(|(wamid, message)| MessageListItem {
                list_time: message.list_time,
                wamid: wamid.clone(),
            })
            .collect();
        items.sort_by(|a, b| b.cmp(a));
        items
    }

    /// Compares everything the writer reads.
    pub(super) fn check_store(&self, store: &dyn PartitionStore, context: &str) {
        let mut random = Random::new(0);
        for _ in 0..40 {
            let (wamid, key) = (random.wamid(), random.conversation_key());
            let natural = random.natural_key();
            assert_eq!(
                store.message(&wamid).unwrap().as_ref(),
                self.messages.get(&wamid),
                "{context}"
            );
            assert_eq!(store.conversation(&key).unwrap().as_ref(), self.conversations.get(&key));
            assert_eq!(store.natural(&natural).unwrap().as_ref(), self.naturals.get(&natural));
            let (id, total) = (random.action_id(), random.total_key());
            assert_eq!(store.decided(&id).unwrap().as_ref(), self.decided.get(&id));
            assert_eq!(store.total(&total).unwrap().as_ref(), self.totals.get(&total));
            let (user, call) = (random.user_key(), random.call_id());
            assert_eq!(store.user(&user).unwrap().as_ref(), self.users.get(&user));
            assert_eq!(store.call(&call).unwrap().as_ref(), self.calls.get(&call));
            let (group, payment) = (random.group_key(), random.payment_key());
            assert_eq!(store.group(&group).unwrap().as_ref(), self.groups.get(&group));
            assert_eq!(store.payment(&payment).unwrap().as_ref(), self.payments.get(&payment));
        }
        assert_eq!(store.regime().unwrap().as_ref(), self.regime.get(&()), "{context}");
        let mut timers = Vec::new();
        while let Some(timer) = store.next_timer(timers.last()).unwrap() {
            timers.push(timer);
        }
        assert!(timers.iter().eq(&self.timers), "{context}: {timers:?} {:?}", self.timers);
        assert_eq!(store.store_head().digest, store.recompute_digest().unwrap(), "{context}");
        self.check_census(&store.census().unwrap(), context);
    }

    fn check_census(&self, census: &Census, context: &str) {
        let messages = || self.messages.values();
        let listed = messages().filter(|message| message.facts.conversation().is_some());
        let with_number = messages().filter(|message| message.facts.phone_number_id.is_some());
        let expected = [
            ("messages", self.messages.len()),
            ("history", messages().map(|message| message.history.len()).sum()),
            ("charged", messages().map(|message| message.charged.len()).sum()),
            ("conversations", self.conversations.len()),
            ("templates", self.templates.len()),
            ("accounts", self.accounts.len()),
            ("numbers", self.numbers.len()),
            ("users", self.users.len()),
            ("calls", self.calls.len()),
            ("groups", self.groups.len()),
            ("payments", self.payments.len()),
            ("naturals", self.naturals.len()),
            ("regime", self.regime.len()),
            ("decided", self.decided.len()),
            ("totals", self.totals.len()),
            ("lists.messages_of_conversation", listed.count()),
            ("lists.messages_of_number", with_number.count()),
        ];
        for (kind, count) in expected {
            let counted = census.get(kind).copied().unwrap_or(0);
            assert_eq!(usize::try_from(counted).unwrap(), count, "{context}: {kind}");
        }
        let timers = census.iter().filter(|(kind, _)| kind.starts_with("timers."));
        let timers: u64 = timers.map(|(_, count)| count).sum();
        assert_eq!(usize::try_from(timers).unwrap(), self.timers.len(), "{context}");
    }

    /// Compares everything readers read.
    pub(super) fn check_snapshot(&self, snapshot: &dyn Snapshot, context: &str) {
        for (key, value) in &self.messages {
            assert_eq!(snapshot.message(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for (key, value) in &self.conversations {
            assert_eq!(snapshot.conversation(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for (key, value) in &self.templates {
            assert_eq!(snapshot.template(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for (key, value) in &self.accounts {
            assert_eq!(snapshot.account(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for (key, value) in &self.numbers {
            assert_eq!(snapshot.number(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for (key, value) in &self.users {
            assert_eq!(snapshot.user(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for (key, value) in &self.calls {
            assert_eq!(snapshot.call(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for (key, value) in &self.groups {
            assert_eq!(snapshot.group(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for (key, value) in &self.payments {
            assert_eq!(snapshot.payment(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for label in LABELS {
            let has = |message: &Message| message.facts.labels().iter().any(|is| is == label);
            let (name, value) = label;
            let items = snapshot.messages_of_label(name, value, None, usize::MAX).unwrap();
            assert_eq!(items, self.list_where(has), "{context}: {label:?}");
        }
        for trace in super::samples::IDS {
            let with = |message: &&Message| message.facts.traces.contains(trace);
            let found = snapshot.messages_of_trace(trace, None, usize::MAX).unwrap();
            let messages = self.messages.iter().filter(|(_, message)| with(message));
            assert!(messages.map(|(wamid, _)| wamid).eq(&found), "{context}: {trace:?}");
        }
        self.check_lists(snapshot, context);
        for (key, value) in &self.decided {
            assert_eq!(snapshot.decided(key).unwrap().as_ref(), Some(value), "{context}");
        }
        for waba_id in super::samples::IDS.map(WabaId::from) {
            let found = snapshot.totals_of(&waba_id, None, usize::MAX).unwrap();
            let totals = self.totals.iter().filter(|(key, _)| key.waba_id == waba_id);
            let totals = totals.map(|(key, total)| (key.clone(), *total));
            assert!(totals.eq(found), "{context}: {waba_id:?}");
        }
        let mut random = Random::new(0);
        for _ in 0..40 {
            let key = random.conversation_key();
            let items = snapshot.messages_of(&key, None, usize::MAX).unwrap();
            assert_eq!(items, self.list(&key), "{context}");
            let number = &key.phone_number_id;
            let items = snapshot.messages_of_number(number, None, usize::MAX).unwrap();
            let of = |message: &Message| message.facts.phone_number_id.as_ref() == Some(number);
            assert_eq!(items, self.list_where(of), "{context}: {number:?}");
        }
    }

    /// Compares the lists of what Meta manages: of every word that occurs, whole, and of templates
    /// also those of one account and what follows a line.
    fn check_lists(&self, snapshot: &dyn Snapshot, context: &str) {
        let mut words = BTreeSet::new();
        let mut add = |listed: Vec<(ListedBy, &str)>| {
            words.extend(listed.into_iter().map(|(by, word)| (by, word.to_owned())));
        };
        self.templates.values().for_each(|template| add(template.facts.listed()));
        self.accounts.values().for_each(|account| add(account.facts.listed()));
        self.numbers.values().for_each(|number| add(number.facts.listed()));
        for (by, word) in &words {
            let listed = (*by, word.as_str());
            let templates = self
                .templates
                .iter()
                .filter(|(_, template)| template.facts.listed().contains(&listed));
            let templates: Vec<_> = templates.map(|(key, _)| key.clone()).collect();
            let found = snapshot.templates_listed(listed, None, None, usize::MAX).unwrap();
            assert_eq!(found, templates, "{context}: {listed:?}");
            for (index, first) in templates.iter().enumerate() {
                let account = Some(&first.waba_id);
                let found = snapshot.templates_listed(listed, account, Some(first), 1).unwrap();
                let next = templates.get(index + 1).filter(|next| next.waba_id == first.waba_id);
                assert_eq!(found.first(), next, "{context}: {listed:?} after {first:?}");
            }
            let accounts = self.accounts.iter();
            let accounts = accounts.filter(|(_, account)| account.facts.listed().contains(&listed));
            let found = snapshot.accounts_listed(listed, None, usize::MAX).unwrap();
            assert!(accounts.map(|(key, _)| key).eq(&found), "{context}: {listed:?}");
            let numbers = self.numbers.iter();
            let numbers = numbers.filter(|(_, number)| number.facts.listed().contains(&listed));
            let found = snapshot.numbers_listed(listed, None, usize::MAX).unwrap();
            assert!(numbers.map(|(key, _)| key).eq(&found), "{context}: {listed:?}");
        }
    }
}

/// A batch of random changes to a few keys, so that most keys are written and deleted often.
pub(super) fn random_batch(random: &mut Random, store: &dyn PartitionStore) -> Overlay {
    let mut overlay = super::at(1_000);
    let source: &dyn Source = store;
    for _ in 0..random.below(12) {
        match random.below(15) {
            0 | 1 => {
                let key = random.wamid();
                let entry = overlay.messages.entry(&key, |key| source.message(key)).unwrap();
                *entry = random.maybe(Random::message);
            }
            2 => {
                let key = random.conversation_key();
                let entry = overlay.conversations.entry(&key, |key| source.conversation(key));
                *entry.unwrap() = random.maybe(Random::conversation);
            }
            3 => {
                let key = random.template_key();
                let entry = overlay.templates.entry(&key, |key| source.template(key)).unwrap();
                *entry = random.maybe(Random::template);
            }
            4 => {
                let key = WabaId::new(random.wamid().to_string());
                let entry = overlay.accounts.entry(&key, |key| source.account(key)).unwrap();
                *entry = random.maybe(Random::account);
            }
            5 => {
                let key = PhoneNumberId::new(random.wamid().to_string());
                let entry = overlay.numbers.entry(&key, |key| source.number(key)).unwrap();
                *entry = random.maybe(Random::number);
            }
            6 => {
                let key = random.natural_key();
                let entry = overlay.naturals.entry(&key, |key| source.natural(key)).unwrap();
                *entry = random.maybe(Random::natural);
            }
            7 => {
                let key = random.user_key();
                let entry = overlay.users.entry(&key, |key| source.user(key)).unwrap();
                *entry = random.maybe(Random::user);
            }
            8 => {
                let key = random.call_id();
                let entry = overlay.calls.entry(&key, |key| source.call(key)).unwrap();
                *entry = random.maybe(Random::call);
            }
            9 => {
                let key = random.group_key();
                let entry = overlay.groups.entry(&key, |key| source.group(key)).unwrap();
                *entry = random.maybe(Random::group);
            }
            10 => {
                let key = random.payment_key();
                let entry = overlay.payments.entry(&key, |key| source.payment(key)).unwrap();
                *entry = random.maybe(Random::payment);
            }
            11 => {
                let entry = overlay.regime.entry(&(), |()| source.regime()).unwrap();
                *entry = random.maybe(Random::regime);
            }
            12 => {
                let key = random.action_id();
                let entry = overlay.decided.entry(&key, |key| source.decided(key)).unwrap();
                *entry = random.maybe(Random::decided);
            }
            13 => {
                let key = random.total_key();
                let entry = overlay.totals.entry(&key, |key| source.total(key)).unwrap();
                *entry = random.maybe(Random::total);
            }
            // Armed or gone without asking whether it is: neither may move the digest twice.
            _ => {
                for _ in 0..4 {
                    overlay.timers.insert(random.timer_key(), random.one_in(2));
                }
            }
        }
    }
    overlay
}
