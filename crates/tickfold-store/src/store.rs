//! The writer of a partition over any [`Backend`]: continuity, digest, atomic batch, waking waiters.
//! Adapters only keep rows, so they cannot differ in what they keep.

use std::cell::RefCell;

use tickfold_core::action::ActionId;
use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{
    CallId, ConversationKey, GroupKey, NaturalKey, PaymentKey, PhoneNumberId, TemplateKey, UserKey,
    WabaId, Wamid,
};
use tickfold_core::overlay::{Head, Overlay, Source, SourceError};
use tickfold_core::state::{
    Account, Call, Conversation, Decided, Group, Message, Natural, Number, Payment, Regime,
    Template, TimerKey, User,
};
use tokio::sync::watch;

use crate::batch::{self, Batch};
use crate::census;
use crate::codec::Persist;
use crate::digest::{self, Changed, Known};
use crate::key::{self, Family};
use crate::tables::{Format, Rows, Tables};
use crate::{Census, Checkpoint, Error, PartitionStore, StoreHead, upgrade};

/// What an adapter gives the writer: its latest rows, and the two ways to change or copy them.
pub(crate) trait Backend: Rows + Send {
    /// Applies the batch as a whole or not at all, visible to new snapshots on return.
    fn apply(&mut self, batch: Batch) -> Result<(), Error>;

    /// See [`PartitionStore::flush`].
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// A row cannot be what was written: [`Stores::open`](crate::Stores::open) is to say so.
    fn found_damaged(&self);

    /// See [`PartitionStore::checkpoint`]; `head` is that of the latest batch.
    fn checkpoint(&mut self, head: StoreHead) -> Result<Checkpoint, Error>;
}

/// [`PartitionStore`] over a backend.
#[derive(Debug)]
pub(crate) struct Store<B> {
    partition: u32,
    backend: B,
    head: StoreHead,
    cursor: watch::Sender<u64>,
    /// A write failed: what is stored is not known.
    poisoned: bool,
    /// No armed timer has a key below this one. The fold asks for the first timer at each record,
    /// and without the floor each answer would wade through the timers already gone.
    timer_floor: RefCell<Vec<u8>>,
    /// The last answer about timers, with what was asked. The fold asks the same at each record of a
    /// batch, and only a write changes the answer.
    timer_told: RefCell<Option<(Option<TimerKey>, Option<TimerKey>)>>,
    /// The rows of the last digest that was asked for, which are likely to be written next.
    changed: RefCell<Option<Changed>>,
    known: RefCell<Known>,
}

impl<B: Backend> Store<B> {
    /// Takes over what is there, or makes a new store of it. Waiters learn the cursor.
    pub(crate) fn open(
        partition: u32,
        mut backend: B,
        cursor: watch::Sender<u64>,
    ) -> Result<Self, Error> {
        match (Tables { rows: &backend, partition }).check_format()? {
            Format::None => backend.apply(batch::of_new_store())?,
            Format::Earlier => upgrade::begin(&mut backend)?,
            Format::Current => {}
        }
        upgrade::go_on(&mut backend, partition)?;
        upgrade::forget_transitions(&mut backend, partition)?;
        let tables = Tables { rows: &backend, partition };
        let head = tables.head()?;
        cursor.send_replace(head.cursor);
        let (floor, _) = Family::Timer.bounds();
        Ok(Self {
            partition,
            backend,
            head,
            cursor,
            poisoned: false,
            timer_floor: RefCell::new(floor.to_vec()),
            timer_told: RefCell::default(),
            changed: RefCell::default(),
            known: RefCell::default(),
        })
    }

    fn tables(&self) -> Tables<'_, B> {
        Tables { rows: &self.backend, partition: self.partition }
    }

    /// A row that the fold asks for, and is likely to change.
    fn row<V: Persist>(&self, key: Vec<u8>) -> Result<Option<V>, SourceError> {
        let found = self.backend.get(&key).map_err(to_source)?;
        let Some(bytes) = found else { return Ok(None) };
        let value = self.noting(self.tables().read(V::decode(&bytes))).map_err(to_source)?;
        self.known.borrow_mut().read(key, &bytes);
        Ok(Some(value))
    }

    /// The rows that an overlay changes, and the digest with them.
    fn changed_by(&self, overlay: &Overlay) -> Result<Changed, Error> {
        let known = self.known.borrow();
        self.noting(digest::after(self.head.digest, overlay, self.tables(), &known))
    }

    fn timer_from(&self, from: &[u8]) -> Result<Option<TimerKey>, SourceError> {
        self.noting(self.tables().timer_from(from)).map_err(to_source)
    }

    /// Notes where what was read cannot be what was written.
    fn noting<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        if matches!(read, Err(Error::Unreadable { .. })) {
            self.backend.found_damaged();
        }
        read
    }

    /// Refuses what would build on a write that failed.
    fn check(&self) -> Result<(), Error> {
        if !self.poisoned {
            return Ok(());
        }
        Err(Error::Io {
            attempted: format!("write to store of partition {}", self.partition),
            source: "an earlier write failed".into(),
        })
    }
}

impl<B: Backend> PartitionStore for Store<B> {
    fn store_head(&self) -> StoreHead {
        self.head
    }

    fn digest_after(&self, overlay: &Overlay) -> Result<u128, Error> {
        let changed = self.changed_by(overlay)?;
        let digest = changed.digest;
        self.changed.replace(Some(changed));
        Ok(digest)
    }

    fn write(&mut self, from: u64, overlay: &Overlay, to: StoreHead) -> Result<(), Error> {
        self.check()?;
        self.timer_told.take();
        if from != self.head.cursor || to.cursor < from {
            return Err(Error::NotContinuous { cursor: self.head.cursor, batch_from: from });
        }
        // What the head's digest was taken over. Whoever took none, or of another overlay, has the
        // rows encoded now.
        let changed = match self.changed.take().filter(|changed| changed.digest == to.digest) {
            Some(changed) => changed,
            None => self.changed_by(overlay)?,
        };
        self.known.get_mut().written(&changed);
        let written = self.backend.apply(batch::of_write(changed.entries, overlay, to));
        // After a failure it is not known what the disk has, so nothing may build on it.
        self.poisoned = written.is_err();
        written?;
        self.head = to;
        if let Some((first, _)) = overlay.timers.iter().find(|(_, armed)| **armed) {
            let first = key::timer(first);
            let floor = self.timer_floor.get_mut();
            if first < *floor {
                *floor = first;
            }
        }
        // A waiter that wakes finds the batch in the next snapshot.
        self.cursor.send_replace(to.cursor);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.check()?;
        let flushed = self.backend.flush();
        self.poisoned = flushed.is_err();
        flushed
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, Error> {
        self.check()?;
        self.backend.checkpoint(self.head)
    }

    fn recompute_digest(&self) -> Result<u128, Error> {
        digest::recompute(&self.backend)
    }

    fn census(&self) -> Result<Census, Error> {
        census::of(self.tables())
    }
}

/// Says of a read that the fold asked for that it failed.
fn to_source(error: Error) -> SourceError {
    SourceError(Box::new(error))
}

impl<B: Backend> Source for Store<B> {
    fn head(&self) -> Result<Head, SourceError> {
        Ok(self.head.head)
    }

    fn message(&self, key: &Wamid) -> Result<Option<Message>, SourceError> {
        self.row(key::message(key))
    }

    fn conversation(&self, key: &ConversationKey) -> Result<Option<Conversation>, SourceError> {
        self.row(key::conversation(key))
    }

    fn template(&self, key: &TemplateKey) -> Result<Option<Template>, SourceError> {
        self.row(key::template(key))
    }

    fn account(&self, key: &WabaId) -> Result<Option<Account>, SourceError> {
        self.row(key::account(key))
    }

    fn number(&self, key: &PhoneNumberId) -> Result<Option<Number>, SourceError> {
        self.row(key::number(key))
    }

    fn user(&self, key: &UserKey) -> Result<Option<User>, SourceError> {
        self.row(key::user(key))
    }

    fn call(&self, key: &CallId) -> Result<Option<Call>, SourceError> {
        self.row(key::call(key))
    }

    fn group(&self, key: &GroupKey) -> Result<Option<Group>, SourceError> {
        self.row(key::group(key))
    }

    fn payment(&self, key: &PaymentKey) -> Result<Option<Payment>, SourceError> {
        self.row(key::payment(key))
    }

    fn regime(&self) -> Result<Option<Regime>, SourceError> {
        self.row(key::regime())
    }

    fn decided(&self, key: &ActionId) -> Result<Option<Decided>, SourceError> {
        self.row(key::decided(key))
    }

    fn total(&self, key: &TotalKey) -> Result<Option<Total>, SourceError> {
        self.row(key::total(key))
    }

    fn natural(&self, key: &NaturalKey) -> Result<Option<Natural>, SourceError> {
        self.row(key::natural(key))
    }

    fn next_timer(&self, after: Option<&TimerKey>) -> Result<Option<TimerKey>, SourceError> {
        if let Some((asked, told)) = &*self.timer_told.borrow()
            && asked.as_ref() == after
        {
            return Ok(told.clone());
        }
        let told = self.find_timer(after)?;
        self.timer_told.replace(Some((after.cloned(), told.clone())));
        Ok(told)
    }
}

impl<B: Backend> Store<B> {
    fn find_timer(&self, after: Option<&TimerKey>) -> Result<Option<TimerKey>, SourceError> {
        let mut floor = self.timer_floor.borrow_mut();
        let Some(after) = after else {
            let first = self.timer_from(&floor)?;
            *floor = first.as_ref().map_or_else(|| Family::Timer.bounds().1.to_vec(), key::timer);
            return Ok(first);
        };
        let from = key::after(key::timer(after)).max(floor.clone());
        self.timer_from(&from)
    }
}
