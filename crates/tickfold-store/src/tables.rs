//! Typed reads over rows of bytes: the same for the writer, for snapshots and for all adapters.

use tickfold_core::action::ActionId;
use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{
    CallId, ConversationKey, GroupKey, PaymentKey, PhoneNumberId, TemplateKey, UserKey, WabaId,
    Wamid,
};
use tickfold_core::state::{
    Account, Call, Conversation, Decided, Group, ListedBy, Message, Number, Payment, Regime,
    Template, TimerKey, User,
};

use crate::codec::{Damage, FORMAT_VERSION, FORMAT_VERSION_MIN, Persist};
use crate::key::{self, Family};
use crate::{Error, MessageListItem, RowKind, Snapshot, StateRow, StoreHead};

/// Key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// Ordered rows of bytes, in one consistent state.
pub(crate) trait Rows: std::fmt::Debug {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// The values of several keys, in their order.
    fn get_each(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Rows with `from` ≤ key < `until`, rising, at most `limit`.
    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, Error>;
}

/// The rows of one partition, as domain types.
#[derive(Debug)]
pub(crate) struct Tables<'a, R: ?Sized> {
    pub(crate) rows: &'a R,
    /// For errors.
    pub(crate) partition: u32,
}

impl<R: ?Sized> Clone for Tables<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ?Sized> Copy for Tables<'_, R> {}

impl<R: Rows + ?Sized> Tables<'_, R> {
    /// Refuses a store of a format that is not known. A store without any format is new, and must be
    /// empty.
    pub(crate) fn check_format(self) -> Result<Format, Error> {
        let Some(found) = self.rows.get(&key::FORMAT)? else {
            return match self.rows.scan(&[], &[0xff], 1)?.is_empty() {
                true => Ok(Format::None),
                false => Err(self.unreadable("rows without a format version".to_owned())),
            };
        };
        match <[u8; 4]>::try_from(found.as_slice()).map(u32::from_be_bytes) {
            Ok(FORMAT_VERSION) => Ok(Format::Current),
            Ok(FORMAT_VERSION_MIN..FORMAT_VERSION) => Ok(Format::Earlier),
            Ok(other) => Err(self
                .unreadable(format!("format version {other}, this binary reads {FORMAT_VERSION}"))),
            Err(_) => Err(self.unreadable("format version is not 4 bytes".to_owned())),
        }
    }

    /// Where the rows stand.
    pub(crate) fn head(self) -> Result<StoreHead, Error> {
        Ok(self.value(&key::HEAD)?.unwrap_or(StoreHead::EMPTY))
    }

    pub(crate) fn message(self, key: &Wamid) -> Result<Option<Message>, Error> {
        self.value(&key::message(key))
    }

    pub(crate) fn conversation(self, key: &ConversationKey) -> Result<Option<Conversation>, Error> {
        self.value(&key::conversation(key))
    }

    pub(crate) fn template(self, key: &TemplateKey) -> Result<Option<Template>, Error> {
        self.value(&key::template(key))
    }

    pub(crate) fn account(self, key: &WabaId) -> Result<Option<Account>, Error> {
        self.value(&key::account(key))
    }

    pub(crate) fn number(self, key: &PhoneNumberId) -> Result<Option<Number>, Error> {
        self.value(&key::number(key))
    }

    pub(crate) fn user(self, key: &UserKey) -> Result<Option<User>, Error> {
        self.value(&key::user(key))
    }

    pub(crate) fn call(self, key: &CallId) -> Result<Option<Call>, Error> {
        self.value(&key::call(key))
    }

    pub(crate) fn group(self, key: &GroupKey) -> Result<Option<Group>, Error> {
        self.value(&key::group(key))
    }

    pub(crate) fn payment(self, key: &PaymentKey) -> Result<Option<Payment>, Error> {
        self.value(&key::payment(key))
    }

    pub(crate) fn regime(self) -> Result<Option<Regime>, Error> {
        self.value(&key::regime())
    }

    pub(crate) fn decided(self, key: &ActionId) -> Result<Option<Decided>, Error> {
        self.value(&key::decided(key))
    }

    fn decided_each(self, keys: &[ActionId]) -> Result<Vec<Option<Decided>>, Error> {
        let keys: Vec<_> = keys.iter().map(key::decided).collect();
        let rows = self.rows.get_each(&keys)?.into_iter();
        rows.map(|bytes| bytes.map(|bytes| self.read(Decided::decode(&bytes))).transpose())
            .collect()
    }

    /// The first timer at or above a key of the timer family.
    pub(crate) fn timer_from(self, from: &[u8]) -> Result<Option<TimerKey>, Error> {
        let (_, until) = Family::Timer.bounds();
        let first = self.rows.scan(from, &until, 1)?.into_iter().next();
        first.map(|(key, _)| self.read(key::parse_timer(&key))).transpose()
    }

    /// Lines of a list, given by its prefix, strictly below `before`.
    fn listed(
        self,
        prefix: Vec<u8>,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error> {
        let from = before.map_or_else(
            || prefix.clone(),
            |before| key::after(key::listed(prefix.clone(), before)),
        );
        let rows = self.rows.scan(&from, &key::after_prefix(prefix.clone()), limit)?;
        let items = rows.into_iter().map(|(key, _)| {
            let rest = key.strip_prefix(prefix.as_slice()).unwrap_or_default();
            self.read(key::parse_listed(rest))
        });
        items.collect()
    }

    fn messages_of_trace(
        self,
        trace: &str,
        after: Option<&Wamid>,
        limit: usize,
    ) -> Result<Vec<Wamid>, Error> {
        let prefix = key::messages_of_trace(trace);
        let after = after.map(|after| key::message_of_trace(trace, after));
        self.lines(&prefix, &prefix, after, limit, key::parse_message_of_trace)
    }

    fn templates_listed(
        self,
        (by, word): (ListedBy, &str),
        waba_id: Option<&WabaId>,
        after: Option<&TemplateKey>,
        limit: usize,
    ) -> Result<Vec<TemplateKey>, Error> {
        let list = key::templates_listed(by, word, None);
        let part = key::templates_listed(by, word, waba_id);
        let after = after.map(|after| key::template_listed(by, word, after));
        self.lines(&list, &part, after, limit, key::parse_template)
    }

    fn accounts_listed(
        self,
        (by, word): (ListedBy, &str),
        after: Option<&WabaId>,
        limit: usize,
    ) -> Result<Vec<WabaId>, Error> {
        let list = key::accounts_listed(by, word);
        let after = after.map(|after| key::account_listed(by, word, after));
        self.lines(&list, &list, after, limit, key::parse_account)
    }

    fn numbers_listed(
        self,
        (by, word): (ListedBy, &str),
        after: Option<&PhoneNumberId>,
        limit: usize,
    ) -> Result<Vec<PhoneNumberId>, Error> {
        let list = key::numbers_listed(by, word);
        let after = after.map(|after| key::number_listed(by, word, after));
        self.lines(&list, &list, after, limit, key::parse_number)
    }

    /// Lines of the `part` of a list, both given by their prefixes, strictly above `after`; `parse`
    /// reads what follows the prefix of the list.
    fn lines<T>(
        self,
        list: &[u8],
        part: &[u8],
        after: Option<Vec<u8>>,
        limit: usize,
        parse: impl Fn(&[u8]) -> Result<T, Damage>,
    ) -> Result<Vec<T>, Error> {
        let from = after.map_or_else(|| part.to_owned(), key::after).max(part.to_owned());
        let until = key::after_prefix(part.to_owned());
        if until <= from {
            return Ok(Vec::new());
        }
        let rows = self.rows.scan(&from, &until, limit)?;
        let lines = rows
            .into_iter()
            .map(|(key, _)| self.read(parse(key.strip_prefix(list).unwrap_or_default())));
        lines.collect()
    }

    fn totals_of(
        self,
        waba_id: &WabaId,
        month: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(TotalKey, Total)>, Error> {
        let prefix = key::totals_of(waba_id, month);
        let rows = self.rows.scan(&prefix, &key::after_prefix(prefix.clone()), limit)?;
        let totals = rows.into_iter().map(|(key, value)| {
            Ok((self.read(key::parse_total(&key))?, self.read(Total::decode(&value))?))
        });
        totals.collect()
    }

    fn value<V: Persist>(self, key: &[u8]) -> Result<Option<V>, Error> {
        let bytes = self.rows.get(key)?;
        bytes.map(|bytes| self.read(V::decode(&bytes))).transpose()
    }

    pub(crate) fn read<T>(self, decoded: Result<T, Damage>) -> Result<T, Error> {
        decoded.map_err(|Damage(reason)| self.unreadable(reason))
    }

    fn unreadable(self, reason: String) -> Error {
        Error::Unreadable { partition: self.partition, reason }
    }
}

/// The format of a store that can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Nothing was ever written to it.
    None,
    /// It lacks what later formats have.
    Earlier,
    /// That of this version.
    Current,
}

/// [`Snapshot`] over rows that do not move.
#[derive(Debug)]
pub(crate) struct RowsSnapshot<R> {
    rows: R,
    partition: u32,
    head: StoreHead,
}

impl<R: Rows> RowsSnapshot<R> {
    pub(crate) fn new(rows: R, partition: u32) -> Result<Self, Error> {
        let head = Tables { rows: &rows, partition }.head()?;
        Ok(Self { rows, partition, head })
    }

    /// `head` is that of the rows.
    #[cfg(feature = "rocks")]
    pub(crate) fn with_head(rows: R, partition: u32, head: StoreHead) -> Self {
        Self { rows, partition, head }
    }

    fn tables(&self) -> Tables<'_, R> {
        Tables { rows: &self.rows, partition: self.partition }
    }
}

impl<R: Rows + Send + Sync> Snapshot for RowsSnapshot<R> {
    fn store_head(&self) -> StoreHead {
        self.head
    }

    fn message(&self, key: &Wamid) -> Result<Option<Message>, Error> {
        self.tables().message(key)
    }

    fn conversation(&self, key: &ConversationKey) -> Result<Option<Conversation>, Error> {
        self.tables().conversation(key)
    }

    fn template(&self, key: &TemplateKey) -> Result<Option<Template>, Error> {
        self.tables().template(key)
    }

    fn account(&self, key: &WabaId) -> Result<Option<Account>, Error> {
        self.tables().account(key)
    }

    fn number(&self, key: &PhoneNumberId) -> Result<Option<Number>, Error> {
        self.tables().number(key)
    }

    fn user(&self, key: &UserKey) -> Result<Option<User>, Error> {
        self.tables().user(key)
    }

    fn call(&self, key: &CallId) -> Result<Option<Call>, Error> {
        self.tables().call(key)
    }

    fn group(&self, key: &GroupKey) -> Result<Option<Group>, Error> {
        self.tables().group(key)
    }

    fn payment(&self, key: &PaymentKey) -> Result<Option<Payment>, Error> {
        self.tables().payment(key)
    }

    fn regime(&self) -> Result<Option<Regime>, Error> {
        self.tables().regime()
    }

    fn messages_of(
        &self,
        conversation: &ConversationKey,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error> {
        self.tables().listed(key::messages_of(conversation), before, limit)
    }

    fn messages_of_number(
        &self,
        number: &PhoneNumberId,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error> {
        self.tables().listed(key::messages_of_number(number), before, limit)
    }

    fn messages_of_label(
        &self,
        name: &str,
        value: &str,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error> {
        self.tables().listed(key::messages_of_label(name, value), before, limit)
    }

    fn messages_of_trace(
        &self,
        trace: &str,
        after: Option<&Wamid>,
        limit: usize,
    ) -> Result<Vec<Wamid>, Error> {
        self.tables().messages_of_trace(trace, after, limit)
    }

    fn templates_listed(
        &self,
        listed: (ListedBy, &str),
        waba_id: Option<&WabaId>,
        after: Option<&TemplateKey>,
        limit: usize,
    ) -> Result<Vec<TemplateKey>, Error> {
        self.tables().templates_listed(listed, waba_id, after, limit)
    }

    fn accounts_listed(
        &self,
        listed: (ListedBy, &str),
        after: Option<&WabaId>,
        limit: usize,
    ) -> Result<Vec<WabaId>, Error> {
        self.tables().accounts_listed(listed, after, limit)
    }

    fn numbers_listed(
        &self,
        listed: (ListedBy, &str),
        after: Option<&PhoneNumberId>,
        limit: usize,
    ) -> Result<Vec<PhoneNumberId>, Error> {
        self.tables().numbers_listed(listed, after, limit)
    }

    fn decided(&self, key: &ActionId) -> Result<Option<Decided>, Error> {
        self.tables().decided(key)
    }

    fn decided_each(&self, keys: &[ActionId]) -> Result<Vec<Option<Decided>>, Error> {
        self.tables().decided_each(keys)
    }

    fn totals_of(
        &self,
        waba_id: &WabaId,
        month: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(TotalKey, Total)>, Error> {
        self.tables().totals_of(waba_id, month, limit)
    }

    fn state_rows(
        &self,
        kind: RowKind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<StateRow>, Error> {
        let (first, until) = Family::of(kind).bounds();
        let from = after.map_or_else(|| first.to_vec(), |after| key::after(after.to_vec()));
        let rows = self.rows.scan(&from, &until, limit)?;
        Ok(rows.into_iter().map(|(key, value)| StateRow { key, value }).collect())
    }
}
