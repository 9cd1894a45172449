//! A state as one caller sees it: what belongs to the accounts of others is not there.
//!
//! It stands between every read of a call and the store, so an answer is made of the caller's own
//! objects alone, whatever was asked, and the places in page tokens are theirs too.

use tickfold_core::action::ActionId;
use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{
    CallId, ConversationKey, GroupKey, PaymentKey, PhoneNumberId, TemplateKey, UserKey, WabaId,
    Wamid,
};
use tickfold_core::state::{
    Account, Call, Conversation, Decided, Group, ListedBy, Message, Number, Payment, Regime,
    Template, User,
};
use tickfold_store::{Error, MessageListItem, RowKind, Snapshot, StateRow, StoreHead};

use super::{Access, Accounts};

/// Keys read at once where others' stand between.
const CHUNK: usize = 256;

/// A snapshot without what is not the caller's.
#[derive(Debug)]
pub(crate) struct Scoped {
    all: Box<dyn Snapshot>,
    access: Access,
}

impl Scoped {
    /// The snapshot as the caller sees it.
    pub(crate) fn of(all: Box<dyn Snapshot>, access: &Access) -> Box<dyn Snapshot> {
        match access.accounts() {
            Accounts::All => all,
            Accounts::Only(_) => Box::new(Self { all, access: access.clone() }),
        }
    }

    /// What names no account is nobody's.
    fn is_own(&self, waba_id: Option<&WabaId>) -> bool {
        self.access.sees_of(waba_id)
    }

    /// A number that moved from one account to another is one row if both are in this partition. It
    /// tells of both, and is shown to who sees both.
    fn is_own_number(&self, number: &Number) -> bool {
        let mut lines = number.facts.lines.iter();
        self.is_own(number.facts.waba_id.as_ref())
            && lines.all(|(waba_id, _)| self.access.sees(waba_id))
    }

    /// Reads on until there are as many of the caller's own as were asked for, or no more at all. For lists
    /// that are short as a whole: of accounts, of numbers, of what one request to Meta led to.
    fn own<T: Clone>(
        &self,
        after: Option<&T>,
        limit: usize,
        read: impl Fn(Option<&T>, usize) -> Result<Vec<T>, Error>,
        is_own: impl Fn(&T) -> Result<bool, Error>,
    ) -> Result<Vec<T>, Error> {
        let (mut own, mut last) = (Vec::new(), after.cloned());
        let chunk = limit.max(CHUNK);
        loop {
            let all = read(last.as_ref(), chunk)?;
            let is_end = all.len() < chunk;
            last = all.last().cloned().or(last);
            for one in all {
                if is_own(&one)? {
                    own.push(one);
                }
                if own.len() >= limit {
                    return Ok(own);
                }
            }
            if is_end {
                return Ok(own);
            }
        }
    }
}

impl Snapshot for Scoped {
    fn store_head(&self) -> StoreHead {
        self.all.store_head()
    }

    fn message(&self, key: &Wamid) -> Result<Option<Message>, Error> {
        let found = self.all.message(key)?;
        Ok(found.filter(|message| self.is_own(message.facts.waba_id.as_ref())))
    }

    fn conversation(&self, key: &ConversationKey) -> Result<Option<Conversation>, Error> {
        let found = self.all.conversation(key)?;
        let Some(found) = found.filter(|found| self.is_own(found.facts.waba_id.as_ref())) else {
            return Ok(None);
        };
        let number = self.all.number(&key.phone_number_id)?;
        Ok(number.is_none_or(|number| self.is_own_number(&number)).then_some(found))
    }

    fn template(&self, key: &TemplateKey) -> Result<Option<Template>, Error> {
        if self.access.sees(&key.waba_id) { self.all.template(key) } else { Ok(None) }
    }

    fn account(&self, key: &WabaId) -> Result<Option<Account>, Error> {
        if self.access.sees(key) { self.all.account(key) } else { Ok(None) }
    }

    fn number(&self, key: &PhoneNumberId) -> Result<Option<Number>, Error> {
        Ok(self.all.number(key)?.filter(|number| self.is_own_number(number)))
    }

    fn user(&self, key: &UserKey) -> Result<Option<User>, Error> {
        if self.access.sees(&key.waba_id) { self.all.user(key) } else { Ok(None) }
    }

    // No answer is made of these three, and they do not say whose they are.
    fn call(&self, _: &CallId) -> Result<Option<Call>, Error> {
        Ok(None)
    }

    fn group(&self, _: &GroupKey) -> Result<Option<Group>, Error> {
        Ok(None)
    }

    fn payment(&self, _: &PaymentKey) -> Result<Option<Payment>, Error> {
        Ok(None)
    }

    fn regime(&self) -> Result<Option<Regime>, Error> {
        self.all.regime()
    }

    /// Lines of others stay, as those of labels do: there may be very many, so whoever reads the list counts
    /// them, and tells of none.
    fn messages_of(
        &self,
        conversation: &ConversationKey,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error> {
        self.all.messages_of(conversation, before, limit)
    }

    fn messages_of_number(
        &self,
        number: &PhoneNumberId,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error> {
        self.all.messages_of_number(number, before, limit)
    }

    fn messages_of_label(
        &self,
        name: &str,
        value: &str,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error> {
        self.all.messages_of_label(name, value, before, limit)
    }

    fn messages_of_trace(
        &self,
        trace: &str,
        after: Option<&Wamid>,
        limit: usize,
    ) -> Result<Vec<Wamid>, Error> {
        let read = |after: Option<&Wamid>, limit| self.all.messages_of_trace(trace, after, limit);
        self.own(after, limit, read, |wamid| Ok(self.message(wamid)?.is_some()))
    }

    /// Read account by account, so that none of another one is passed.
    fn templates_listed(
        &self,
        listed: (ListedBy, &str),
        waba_id: Option<&WabaId>,
        after: Option<&TemplateKey>,
        limit: usize,
    ) -> Result<Vec<TemplateKey>, Error> {
        let Accounts::Only(accounts) = self.access.accounts() else {
            return self.all.templates_listed(listed, waba_id, after, limit);
        };
        let mut own = Vec::new();
        for account in accounts {
            let is_behind = after.is_some_and(|after| *account < after.waba_id);
            if is_behind || waba_id.is_some_and(|waba_id| waba_id != account) {
                continue;
            }
            let after = after.filter(|after| after.waba_id == *account);
            let left = limit.saturating_sub(own.len());
            own.extend(self.all.templates_listed(listed, Some(account), after, left)?);
            if own.len() >= limit {
                break;
            }
        }
        Ok(own)
    }

    fn accounts_listed(
        &self,
        listed: (ListedBy, &str),
        after: Option<&WabaId>,
        limit: usize,
    ) -> Result<Vec<WabaId>, Error> {
        let read = |after: Option<&WabaId>, limit| self.all.accounts_listed(listed, after, limit);
        self.own(after, limit, read, |key| Ok(self.access.sees(key)))
    }

    fn numbers_listed(
        &self,
        listed: (ListedBy, &str),
        after: Option<&PhoneNumberId>,
        limit: usize,
    ) -> Result<Vec<PhoneNumberId>, Error> {
        let read =
            |after: Option<&PhoneNumberId>, limit| self.all.numbers_listed(listed, after, limit);
        self.own(after, limit, read, |key| Ok(self.number(key)?.is_some()))
    }

    /// Whoever knows its id knows what it was decided for, which is the caller's own.
    fn decided(&self, key: &ActionId) -> Result<Option<Decided>, Error> {
        self.all.decided(key)
    }

    fn decided_each(&self, keys: &[ActionId]) -> Result<Vec<Option<Decided>>, Error> {
        self.all.decided_each(keys)
    }

    fn totals_of(
        &self,
        waba_id: &WabaId,
        month: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(TotalKey, Total)>, Error> {
        let own = self.access.sees(waba_id);
        if own { self.all.totals_of(waba_id, month, limit) } else { Ok(Vec::new()) }
    }

    /// None: nothing of the API is made of bare rows.
    fn state_rows(&self, _: RowKind, _: Option<&[u8]>, _: usize) -> Result<Vec<StateRow>, Error> {
        Ok(Vec::new())
    }
}
