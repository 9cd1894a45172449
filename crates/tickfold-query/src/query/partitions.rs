//! The partitions as readers see them: waiting for positions, snapshots, and what a reply reflects.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tickfold_core::ids::WabaId;
use tickfold_core::raw::partition_of;
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;
use tickfold_store::{ReadView, Snapshot};
use tokio::time::Instant;

use crate::access::{Scope, Scoped};
use crate::call::Call;
use crate::reasons::{Failure, Reason};
use crate::{Clock, convert};

/// Pause before a position is looked at again that the cursor has and the snapshot has not: the
/// store was set back, and the cursor follows when it opens.
const SET_BACK_PAUSE: Duration = Duration::from_millis(20);

/// How a node stands to a partition. Ordered from the strongest to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It owns the partition: nobody has newer state.
    Owner,
    /// It folds beside the owner and may lag.
    Follower,
    /// Its state no longer advances: the partition was lost, or its start refused.
    Frozen,
    /// There is nothing to answer from: no state, or part of one that is being folded from nothing. Read
    /// all the same, it would tell of most things that they are not there.
    NoState,
}

/// Tells the role of this node in a partition. Clones tell the same.
#[derive(Clone)]
pub struct RoleOf(Arc<dyn Fn(u32) -> Role + Send + Sync>);

impl RoleOf {
    /// Asks the function at each reply.
    pub fn new(role: impl Fn(u32) -> Role + Send + Sync + 'static) -> Self {
        Self(Arc::new(role))
    }
}

impl fmt::Debug for RoleOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoleOf")
    }
}

/// All partitions of this node.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    views: Arc<[Arc<dyn ReadView>]>,
    clock: Clock,
    role: RoleOf,
}

/// Which partitions a call asks.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// All: what is asked for may be anywhere.
    All,
    /// The one that an account's records go to.
    AccountOf(WabaId),
}

/// Where an entity was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Raw partition.
    pub(crate) partition: u32,
    /// Log time of its snapshot.
    pub(crate) log_time: Timestamp,
}

/// One snapshot of each partition asked, by rising partition.
#[derive(Debug)]
pub(super) struct Snapshots {
    snapshots: Vec<(u32, Box<dyn Snapshot>)>,
    /// Read once for a page of messages, since rules are a document.
    media_valid_ms: RefCell<BTreeMap<u32, i64>>,
    count: u32,
    now: Timestamp,
    role: Option<Role>,
    tells_persons: bool,
}

impl Partitions {
    pub(crate) fn new(views: Arc<[Arc<dyn ReadView>]>, clock: Clock, role: RoleOf) -> Self {
        Self { views, clock, role }
    }

    /// Partition count of the raw topic.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.views.len()).unwrap_or(u32::MAX)
    }

    /// Reads `min_position`: offsets by partition.
    pub(crate) fn wanted(&self, positions: &[pb::Position]) -> Result<BTreeMap<u32, u64>, Failure> {
        let mut wanted = BTreeMap::new();
        for (index, position) in positions.iter().enumerate() {
            let field = format!("min_position[{index}].partition");
            if position.partition >= self.count() {
                let what = format!("is not one of {} partitions", self.count());
                return Err(Failure::argument(field, what));
            }
            if wanted.insert(position.partition, position.offset).is_some() {
                return Err(Failure::argument(field, "is named twice"));
            }
        }
        Ok(wanted)
    }

    /// Waits until each wanted position is applied, or fails at the deadline.
    pub(super) async fn reached(
        &self,
        wanted: &BTreeMap<u32, u64>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        for (&partition, &offset) in wanted {
            let Some(view) = self.views.get(partition as usize) else { continue };
            let waited = tokio::time::timeout_at(deadline, applied(&**view, offset)).await;
            if let Ok(result) = waited {
                result?;
                continue;
            }
            let applied = *view.cursor().borrow();
            let what = format!("partition {partition} has applied {applied}, not {offset}");
            return Err(Failure::new(Reason::PositionNotReached, what)
                .with("partition", partition)
                .with("offset", offset)
                .with("applied", applied));
        }
        Ok(())
    }

    /// The partitions that a call asks.
    pub(crate) fn of(&self, asked: &Asked) -> BTreeSet<u32> {
        match asked {
            Asked::All => (0..self.count()).collect(),
            Asked::AccountOf(waba_id) => BTreeSet::from([partition_of(waba_id, self.count())]),
        }
    }

    /// Those of the partitions whose store can be read here, whatever its age. One that cannot be read is
    /// open: calls say what is wrong.
    pub(crate) fn open(&self, partitions: &BTreeSet<u32>) -> BTreeSet<u32> {
        let open = |partition: &u32| {
            let view = self.views.get(*partition as usize);
            let view = view.filter(|_| (self.role.0)(*partition) != Role::NoState);
            view.is_some_and(|view| !matches!(view.snapshot(), Ok(None)))
        };
        partitions.iter().copied().filter(open).collect()
    }

    /// True if what is here of these partitions has the wanted positions, as far as any are wanted.
    pub(crate) fn have(&self, wanted: &BTreeMap<u32, u64>, partitions: &BTreeSet<u32>) -> bool {
        let wanted = wanted.iter().filter(|(partition, _)| partitions.contains(partition));
        wanted.into_iter().all(|(&partition, &offset)| {
            let view = self.views.get(partition as usize);
            view.is_some_and(|view| *view.cursor().borrow() >= offset)
        })
    }

    /// Takes the snapshots for a call, as its caller sees them. All must be open: an answer from some
    /// would pass for the answer.
    pub(super) fn snapshots(&self, asked: &Asked, call: &Call) -> Result<Snapshots, Failure> {
        self.take(asked, call, |view| view.snapshot())
    }

    /// The same, for a thread that must not wait for the disk: reads may fail for what is not in
    /// memory.
    pub(super) fn snapshots_in_memory(
        &self,
        asked: &Asked,
        call: &Call,
    ) -> Result<Snapshots, Failure> {
        self.take(asked, call, |view| view.snapshot_in_memory())
    }

    fn take(
        &self,
        asked: &Asked,
        call: &Call,
        of: impl Fn(&dyn ReadView) -> Result<Option<Box<dyn Snapshot>>, tickfold_store::Error>,
    ) -> Result<Snapshots, Failure> {
        let (mut range, only) = (self.of(asked), call.only.as_ref());
        range.retain(|partition| only.is_none_or(|only| only.contains(partition)));
        let (mut snapshots, mut weakest) = (Vec::new(), None);
        for (partition, view) in
            range.into_iter().filter_map(|p| Some((p, self.views.get(p as usize)?)))
        {
            // Before the snapshot: what gets its state in between is read with all of it.
            let role = (self.role.0)(partition);
            weakest = weakest.max(Some(role));
            let snapshot = if role == Role::NoState { None } else { of(&**view)? };
            let Some(snapshot) = snapshot else {
                let what = format!("the store of partition {partition} is not open yet");
                let failure = Failure::new(Reason::StoreNotOpen, what);
                return Err(failure.with("partition", partition));
            };
            snapshots.push((partition, Scoped::of(snapshot, &call.access)));
        }
        let media_valid_ms = RefCell::default();
        let (count, now) = (self.count(), self.clock.now());
        let tells_persons = call.access.has(Scope::PersonalData);
        Ok(Snapshots { snapshots, media_valid_ms, count, now, role: weakest, tells_persons })
    }
}

impl Snapshots {
    /// Of states that stand still, made for one question.
    pub(super) fn of_then(
        snapshots: Vec<(u32, Box<dyn Snapshot>)>,
        partitions: &Partitions,
        call: &Call,
    ) -> Self {
        let scoped = |(partition, all)| (partition, Scoped::of(all, &call.access));
        Self {
            snapshots: snapshots.into_iter().map(scoped).collect(),
            media_valid_ms: RefCell::default(),
            count: partitions.count(),
            now: partitions.clock.now(),
            role: Some(Role::Frozen),
            tells_persons: call.access.has(Scope::PersonalData),
        }
    }
}

/// Waits until snapshots of the view have everything below the offset.
async fn applied(view: &dyn ReadView, offset: u64) -> Result<(), Failure> {
    let mut cursor = view.cursor();
    loop {
        if cursor.wait_for(|cursor| *cursor >= offset).await.is_err() {
            return Err(Failure::new(Reason::ShuttingDown, "the store is gone"));
        }
        let reached = view.snapshot()?.is_some_and(|s| s.store_head().cursor >= offset);
        // Offset 0 asks for nothing; a store that is not open is told by the read.
        if reached || offset == 0 {
            return Ok(());
        }
        tokio::time::sleep(SET_BACK_PAUSE).await;
    }
}

impl Snapshots {
    /// True if the caller may be told personal data, where no view says how much it asks for.
    pub(super) fn tells_persons(&self) -> bool {
        self.tells_persons
    }

    /// Partition count of the raw topic.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Each, with its partition.
    pub(super) fn each(&self) -> impl Iterator<Item = (u32, &dyn Snapshot)> {
        self.snapshots.iter().map(|(partition, snapshot)| (*partition, &**snapshot))
    }

    /// That of a partition, if it was asked.
    pub(super) fn of(&self, partition: u32) -> Option<&dyn Snapshot> {
        self.each().find(|(of, _)| *of == partition).map(|(_, snapshot)| snapshot)
    }

    /// How long media can be fetched, by the rules in force in a partition, in milliseconds.
    pub(super) fn media_valid_ms(&self, partition: u32) -> Result<i64, Failure> {
        if let Some(known) = self.media_valid_ms.borrow().get(&partition) {
            return Ok(*known);
        }
        let regime = self.of(partition).map(|snapshot| snapshot.regime()).transpose()?.flatten();
        let valid_ms = regime.unwrap_or_default().rules.media_valid_ms();
        self.media_valid_ms.borrow_mut().insert(partition, valid_ms);
        Ok(valid_ms)
    }

    /// What `get` finds, by rising partition.
    pub(super) fn find<T>(
        &self,
        get: impl Fn(&dyn Snapshot) -> Result<Option<T>, tickfold_store::Error>,
    ) -> Result<Vec<(Found, T)>, Failure> {
        let mut found = Vec::new();
        for (partition, snapshot) in &self.snapshots {
            if let Some(value) = get(&**snapshot)? {
                let log_time = snapshot.store_head().head.log_time_or_epoch();
                found.push((Found { partition: *partition, log_time }, value));
            }
        }
        Ok(found)
    }

    /// What a reply from these snapshots reflects.
    pub(super) fn as_of(&self) -> pb::AsOf {
        let heads = || self.snapshots.iter().map(|(p, snapshot)| (*p, snapshot.store_head()));
        let event_time = heads().filter_map(|(_, head)| head.head.log_time).min();
        let role = match self.role {
            Some(Role::Owner) => pb::Role::Owner,
            Some(Role::Follower) => pb::Role::Follower,
            Some(Role::Frozen) => pb::Role::Frozen,
            // Nothing is answered from it.
            Some(Role::NoState) | None => pb::Role::Unspecified,
        };
        pb::AsOf {
            positions: heads()
                .map(|(partition, head)| pb::Position { partition, offset: head.cursor })
                .collect(),
            event_time: event_time.map(convert::time),
            age: event_time.map(|time| {
                convert::duration_ms(self.now.as_millis().saturating_sub(time.as_millis()).max(0))
            }),
            role: role.into(),
        }
    }
}
