//! The port: what every store promises.

use std::collections::BTreeMap;

use tickfold_core::action::ActionId;
use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{
    CallId, ConversationKey, GroupKey, PaymentKey, PhoneNumberId, TemplateKey, UserKey, WabaId,
    Wamid,
};
use tickfold_core::overlay::{Head, Overlay, Source};
use tickfold_core::state::{
    Account, Call, Conversation, Decided, Group, ListedBy, Message, Number, Payment, Regime,
    Template, User,
};
use tickfold_core::time::Timestamp;
use tokio::sync::watch;

use crate::Error;

/// Where a store stands. Written in the same atomic batch as the state it describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreHead {
    /// Next raw offset: every record below it is folded in, none at or above it is.
    pub cursor: u64,
    /// Fold version that wrote it ([`tickfold_core::FOLD_VERSION`]).
    pub fold_version: u32,
    /// Log time and rules version at the cursor.
    pub head: Head,
    /// Σ hash128(family, key, value) mod 2^128 over all entities, natural keys and timers. Not
    /// over indexes, which follow from them.
    pub digest: u128,
    /// Digest of the raw records that are folded in, as the log sums it. Kept for whoever folds.
    pub raw_digest: u128,
}

impl StoreHead {
    /// An empty store at offset 0.
    pub const EMPTY: Self = Self {
        cursor: 0,
        fold_version: tickfold_core::FOLD_VERSION,
        head: Head { log_time: None, rules_version: tickfold_core::overlay::BUILT_IN_RULES },
        digest: 0,
        raw_digest: 0,
    };
}

/// A store that was prepared to take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextStore {
    /// How often one was prepared in the partition, with this one.
    pub turn: u64,
    /// Where it stands.
    pub head: StoreHead,
}

/// A checkpoint: a copy of a partition's store outside its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name by which to restore it.
    pub id: String,
    /// Where it stands, from its manifest.
    pub head: StoreHead,
}

/// The stores of all partitions of one process, on one data directory or in one memory.
pub trait Stores: std::fmt::Debug + Send + Sync + 'static {
    /// Opens the store of a partition for its one writer, creating an empty one if there is none.
    /// [`Error::Unreadable`] if there is one that cannot be understood (format version, damage), also where
    /// only a read since it was opened last showed that; then until it is rejected. One of an earlier format
    /// is completed first; if that ends early, the next `open` goes on with it.
    /// While a [`PartitionStore`] of the partition lives, another `open` is [`Error::Io`].
    fn open(&self, partition: u32) -> Result<Box<dyn PartitionStore>, Error>;

    /// Sets a store aside under another name, so that the next `open` finds none; does nothing if there is
    /// none. One that was never written is deleted. Of those that were set aside for one reason the first and
    /// the newest stay. `reason` becomes part of the name: lower case with hyphens. The partition's
    /// [`PartitionStore`] must have been dropped. Views have nothing to show until the next `open`.
    fn reject(&self, partition: u32, reason: &str) -> Result<(), Error>;

    /// Checkpoints of a partition that can be read, newest cursor first.
    fn checkpoints(&self, partition: u32) -> Result<Vec<Checkpoint>, Error>;

    /// Removes a checkpoint; does nothing if there is none of that id. It is out of the list at
    /// once and for good, even if the process dies before all of its space comes back. A store that
    /// was restored from it is not touched.
    fn remove_checkpoint(&self, partition: u32, checkpoint: &Checkpoint) -> Result<(), Error>;

    /// Makes a checkpoint the store of the partition, to be opened then. There must be no store:
    /// `reject` it first, else [`Error::Io`].
    fn restore(&self, partition: u32, checkpoint: &Checkpoint) -> Result<(), Error>;

    /// The store that was prepared to take the place of the one that [`Self::open`] gives, if there is
    /// one.
    fn next_generation(&self, _partition: u32) -> Result<Option<NextStore>, Error> {
        Ok(None)
    }

    /// Makes it the store of the partition, to be opened then; the one that was is kept. The
    /// partition's [`PartitionStore`] must have been dropped; views show the old store until the next
    /// `open`. [`Error::Io`] if none was prepared.
    fn succeed(&self, partition: u32) -> Result<(), Error> {
        let attempted = format!("open the next store of partition {partition}");
        Err(Error::Io { attempted, source: "there is none".into() })
    }

    /// The read view of a partition. It may be taken before the store is open and follows it from
    /// then on; after the writer is dropped it keeps serving what is there, and follows the next
    /// writer.
    fn view(&self, partition: u32) -> std::sync::Arc<dyn ReadView>;
}

/// The state of one partition, in the hands of its one writer. As a [`Source`] it reads its own
/// latest batch.
pub trait PartitionStore: Source + std::fmt::Debug + Send {
    /// Where the store stands; [`StoreHead::EMPTY`] for a new one.
    fn store_head(&self) -> StoreHead;

    /// What [`Self::write`] would make the digest, given the overlay: h(new) − h(old) per change.
    /// The overlay must lie on this store's latest batch, not on another overlay.
    ///
    /// Fails if the store cannot be read, as timers are compared with what is stored.
    fn digest_after(&self, overlay: &Overlay) -> Result<u128, Error>;

    /// Writes the overlay's changes, the index rows that follow from them, and the new head
    /// as one atomic batch. After a crash the store has all of a batch or nothing of it,
    /// and batches are there up to some point without gaps; the last ones may be lost.
    ///
    /// `from` must equal the cursor, and `to.cursor` must not be below it, else
    /// [`Error::NotContinuous`] and nothing has happened. After any other error the store refuses
    /// further writes until it is opened anew, since whether the batch is there is not known.
    /// Readers of the view see the batch as a whole, and waiters for its cursor wake after that.
    fn write(&mut self, from: u64, overlay: &Overlay, to: StoreHead) -> Result<(), Error>;

    /// Writes to files whatever is only in memory, so that no crash loses it.
    fn flush(&mut self) -> Result<(), Error>;

    /// Makes a checkpoint of the latest batch and returns it once it is complete and durable. One
    /// that is there already is returned as it is.
    fn checkpoint(&mut self) -> Result<Checkpoint, Error>;

    /// Recomputes the digest from all entries: slow, for tests and verification.
    fn recompute_digest(&self) -> Result<u128, Error>;

    /// Counts all rows by what they are: slow, for tests and comparisons.
    fn census(&self) -> Result<Census, Error>;
}

/// How many there are of each kind, of those of which there are any. A message counts under
/// `messages`, its lines of history under `history`, the participants it was charged for under
/// `charged`; a timer under what it does.
pub type Census = BTreeMap<&'static str, u64>;

/// Reads of one partition by others than its writer. Never sees half a batch.
pub trait ReadView: std::fmt::Debug + Send + Sync {
    /// The state now; `None` while no store was opened yet.
    fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>, Error>;

    /// The same state for threads that must not wait for the disk: a read that would have to fails
    /// with [`Error::NotInMemory`], and so does this one.
    fn snapshot_in_memory(&self) -> Result<Option<Box<dyn Snapshot>>, Error> {
        self.snapshot()
    }

    /// The cursor as it moves, for waiting until a position is applied: 0 before the first open.
    fn cursor(&self) -> watch::Receiver<u64>;
}

/// A state that does not move, with the head it belongs to.
pub trait Snapshot: std::fmt::Debug + Send + Sync {
    /// Where this state stands.
    fn store_head(&self) -> StoreHead;
    /// A message by its id.
    fn message(&self, key: &Wamid) -> Result<Option<Message>, Error>;
    /// A conversation by number and party.
    fn conversation(&self, key: &ConversationKey) -> Result<Option<Conversation>, Error>;
    /// A template by account, id and language.
    fn template(&self, key: &TemplateKey) -> Result<Option<Template>, Error>;
    /// An account by its id.
    fn account(&self, key: &WabaId) -> Result<Option<Account>, Error>;
    /// A number by its id.
    fn number(&self, key: &PhoneNumberId) -> Result<Option<Number>, Error>;
    /// A user by account and identifier.
    fn user(&self, key: &UserKey) -> Result<Option<User>, Error>;
    /// A call by its id.
    fn call(&self, key: &CallId) -> Result<Option<Call>, Error>;
    /// A group by number and id.
    fn group(&self, key: &GroupKey) -> Result<Option<Group>, Error>;
    /// A payment by message, order and transaction.
    fn payment(&self, key: &PaymentKey) -> Result<Option<Payment>, Error>;
    /// What the partition goes by; `None` before anything of it changed.
    fn regime(&self) -> Result<Option<Regime>, Error>;
    /// Messages of a conversation, newest `list_time` first (ties by wamid, descending), strictly
    /// below `before` if given, at most `limit`.
    fn messages_of(
        &self,
        conversation: &ConversationKey,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error>;
    /// Messages to and from a number, in the order and within the bounds of [`Self::messages_of`].
    fn messages_of_number(
        &self,
        number: &PhoneNumberId,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error>;
    /// Messages with a label of that name and value ([`tickfold_core::state::Labels`]), in the order
    /// and within the bounds of [`Self::messages_of`].
    fn messages_of_label(
        &self,
        name: &str,
        value: &str,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Error>;
    /// Messages that a trace id of Meta's came with, by wamid, strictly above `after` if given, at
    /// most `limit`.
    fn messages_of_trace(
        &self,
        trace: &str,
        after: Option<&Wamid>,
        limit: usize,
    ) -> Result<Vec<Wamid>, Error>;
    /// Templates that are listed under a word at some time, of one account if given, in the order of
    /// their keys, strictly above `after` if given, at most `limit`. Which of them are so now, their
    /// facts say ([`tickfold_core::state::TemplateFacts::is_listed`]).
    fn templates_listed(
        &self,
        listed: (ListedBy, &str),
        waba_id: Option<&WabaId>,
        after: Option<&TemplateKey>,
        limit: usize,
    ) -> Result<Vec<TemplateKey>, Error>;
    /// Likewise accounts.
    fn accounts_listed(
        &self,
        listed: (ListedBy, &str),
        after: Option<&WabaId>,
        limit: usize,
    ) -> Result<Vec<WabaId>, Error>;
    /// Likewise numbers.
    fn numbers_listed(
        &self,
        listed: (ListedBy, &str),
        after: Option<&PhoneNumberId>,
        limit: usize,
    ) -> Result<Vec<PhoneNumberId>, Error>;
    /// What is remembered of an action or alert that was decided.
    fn decided(&self, key: &ActionId) -> Result<Option<Decided>, Error>;
    /// The same of several, in their order.
    fn decided_each(&self, keys: &[ActionId]) -> Result<Vec<Option<Decided>>, Error>;
    /// Totals of charges of an account, in the order of their keys, at most `limit`; of one month
    /// if given.
    fn totals_of(
        &self,
        waba_id: &WabaId,
        month: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(TotalKey, Total)>, Error>;
    /// Rows of one kind of state in the order of their keys, strictly above `after` if given, at most
    /// `limit`: all of it that the digest is taken over, for comparisons.
    fn state_rows(
        &self,
        kind: RowKind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<StateRow>, Error>;
}

/// What rows of state are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// Messages.
    Message,
    /// Conversations.
    Conversation,
    /// Templates.
    Template,
    /// Accounts.
    Account,
    /// Numbers.
    Number,
    /// Users.
    User,
    /// Calls.
    Call,
    /// Groups.
    Group,
    /// Payments.
    Payment,
    /// Actions and alerts that were decided.
    Decided,
    /// Totals of charges.
    ChargeTotal,
    /// Natural keys that were seen.
    Natural,
    /// Timers that are armed.
    Timer,
    /// What the partition itself goes by: its rules among it.
    Regime,
}

impl RowKind {
    /// All of them, those that a person asks for first.
    pub const ALL: [Self; 14] = [
        Self::Message,
        Self::Conversation,
        Self::Template,
        Self::Account,
        Self::Number,
        Self::User,
        Self::Call,
        Self::Group,
        Self::Payment,
        Self::Decided,
        Self::ChargeTotal,
        Self::Natural,
        Self::Timer,
        Self::Regime,
    ];

    /// A fixed word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Conversation => "conversation",
            Self::Template => "template",
            Self::Account => "account",
            Self::Number => "number",
            Self::User => "user",
            Self::Call => "call",
            Self::Group => "group",
            Self::Payment => "payment",
            Self::Decided => "decided",
            Self::ChargeTotal => "charge_total",
            Self::Natural => "natural_key",
            Self::Timer => "timer",
            Self::Regime => "regime",
        }
    }
}

/// A row of state, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// Its key, which begins with its family.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A line of a list of messages by time: of a conversation, of a number, or of a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageListItem {
    /// [`Message::list_time`].
    pub list_time: Timestamp,
    /// The message.
    pub wamid: Wamid,
}
