//! Who is assigned what in one consumer group of a [`MemLog`](super::MemLog): balanced, sticky and
//! cooperative, and the same each time the same things happen in the same order.
//!
//! It has no clock: a member's session ends when a test says so ([`Coordinator::expire`]), whether
//! or not the member looks. A partition that is to move is revoked first and assigned anew only
//! once it is released.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Change, Departure, Error, PartitionId, TopicPartition};

/// A membership as its holder knows it, by a number that is never given twice.
pub(super) type HandleId = u64;

/// One group.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) topic: String,
    partitions: PartitionId,
    /// Members by instance name: the handle through which each is present, `None` while it is away
    /// and its session lasts.
    seats: BTreeMap<String, Option<HandleId>>,
    handles: BTreeMap<HandleId, Handle>,
    assigned: BTreeMap<PartitionId, Assignment>,
    /// Counts handles and assignments.
    count: u64,
}

#[derive(Debug)]
struct Assignment {
    instance: String,
    /// Commits of an earlier one are fenced.
    number: u64,
    is_revoked: bool,
}

#[derive(Debug)]
struct Handle {
    instance: String,
    standing: Standing,
    /// What its holder was told it has.
    has: BTreeSet<PartitionId>,
    /// What its holder was told to give back.
    asked: BTreeSet<PartitionId>,
    /// What it has yet to be told.
    news: VecDeque<Change>,
    is_paused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A member.
    Seated,
    /// Its session ended. It joins anew when it has learned of that.
    #[cfg_attr(not(feature = "test-util"), expect(dead_code, reason = "set by test-util only"))]
    Expired,
    /// Another goes by the same instance name.
    Replaced,
    /// It went, or was dropped.
    Gone,
}

impl Coordinator {
    pub(super) fn new(topic: &str, partitions: PartitionId) -> Self {
        Self {
            topic: topic.to_owned(),
            partitions,
            seats: BTreeMap::new(),
            handles: BTreeMap::new(),
            assigned: BTreeMap::new(),
            count: 0,
        }
    }

    /// A new membership. One that goes by the same name is replaced, and its partitions stay with
    /// the name.
    pub(super) fn join(&mut self, instance: &str) -> HandleId {
        let id = self.next_number();
        let handle = Handle {
            instance: instance.to_owned(),
            standing: Standing::Seated,
            has: BTreeSet::new(),
            asked: BTreeSet::new(),
            news: VecDeque::new(),
            is_paused: false,
        };
        self.handles.insert(id, handle);
        let before = self.seats.get(instance).copied().flatten();
        if let Some(handle) = before.and_then(|id| self.handles.get_mut(&id)) {
            handle.standing = Standing::Replaced;
        }
        self.sit(id, instance);
        id
    }

    /// The next change for a holder, if there is one.
    pub(super) fn next(&mut self, id: HandleId) -> Option<Result<Change, Error>> {
        let handle = self.handles.get_mut(&id)?;
        if handle.is_paused && handle.standing != Standing::Gone {
            return None;
        }
        match handle.standing {
            Standing::Seated => {}
            Standing::Gone => return Some(Err(Error::Closed)),
            Standing::Replaced => {
                let reason = format!("another goes by the instance name {}", handle.instance);
                return Some(Err(Error::MemberRefused { reason }));
            }
            Standing::Expired => {
                handle.news.clear();
                handle.asked.clear();
                let lost = std::mem::take(&mut handle.has);
                if !lost.is_empty() {
                    return Some(Ok(Change::Lost(lost)));
                }
                let instance = handle.instance.clone();
                let other = self.seats.get(&instance).copied().flatten();
                handle.standing =
                    if other.is_some() { Standing::Replaced } else { Standing::Seated };
                if other.is_some() {
                    return self.next(id);
                }
                self.sit(id, &instance);
            }
        }
        let handle = self.handles.get_mut(&id)?;
        let change = handle.news.pop_front()?;
        match &change {
            Change::Assigned(partitions) => handle.has.extend(partitions),
            Change::Revoked(partitions) => handle.asked.extend(partitions),
            Change::Lost(partitions) => handle.has.retain(|p| !partitions.contains(p)),
        }
        Some(Ok(change))
    }

    /// The number of the assignment under which this member may claim the partition.
    pub(super) fn assignment(&self, id: HandleId, partition: PartitionId) -> Result<u64, Error> {
        let seated = self.handles.get(&id).filter(|handle| handle.standing == Standing::Seated);
        let assigned = self.assigned.get(&partition);
        let own = seated.zip(assigned).filter(|(handle, own)| own.instance == handle.instance);
        own.map(|(_, own)| own.number)
            .ok_or_else(|| Error::NotAssigned(TopicPartition::new(self.topic.as_str(), partition)))
    }

    /// True while the partition is assigned as it was under this number.
    pub(super) fn is_current(&self, partition: PartitionId, number: u64) -> bool {
        self.assigned.get(&partition).is_some_and(|assigned| assigned.number == number)
    }

    /// Takes back what the member was asked for.
    pub(super) fn release(&mut self, id: HandleId, partitions: &BTreeSet<PartitionId>) {
        let Some(handle) = self.handles.get_mut(&id) else { return };
        if handle.standing != Standing::Seated {
            return;
        }
        for partition in partitions {
            if handle.asked.remove(partition) {
                handle.has.remove(partition);
                self.assigned.remove(partition);
            }
        }
        self.balance();
    }

    /// The member goes. One that will be back keeps what it was not asked to give back.
    pub(super) fn go(&mut self, id: HandleId, how: Departure) {
        let Some(handle) = self.handles.get_mut(&id) else { return };
        let was_seated = handle.standing == Standing::Seated;
        handle.standing = Standing::Gone;
        if !was_seated {
            return;
        }
        let instance = handle.instance.clone();
        match how {
            Departure::Restart => {
                self.assigned.retain(|_, a| a.instance != instance || !a.is_revoked);
                self.seats.insert(instance, None);
            }
            Departure::Leave => self.vacate(&instance),
        }
        self.balance();
    }

    /// Gives the holder its seat, and what belongs to the seat, under new numbers.
    fn sit(&mut self, id: HandleId, instance: &str) {
        self.seats.insert(instance.to_owned(), Some(id));
        self.assigned.retain(|_, a| a.instance != instance || !a.is_revoked);
        let kept = self.of(instance);
        for partition in &kept {
            let number = self.next_number();
            let kept = self.assigned.get_mut(partition);
            if let Some(assignment) = kept {
                assignment.number = number;
            }
        }
        self.tell(instance, Change::Assigned(kept));
        self.balance();
    }

    fn vacate(&mut self, instance: &str) {
        self.seats.remove(instance);
        self.assigned.retain(|_, assignment| assignment.instance != instance);
    }

    /// Revokes what a member has too much, and hands out what nobody has. Members that are away
    /// keep what they have, and get nothing.
    fn balance(&mut self) {
        let present = self.seats.iter().filter(|(_, handle)| handle.is_some());
        let mut present: Vec<(String, usize)> =
            present.map(|(name, _)| (name.clone(), self.of(name).len())).collect();
        let away = self.seats.iter().filter(|(_, handle)| handle.is_none());
        let away: usize = away.map(|(name, _)| self.of(name).len()).sum();
        let total = usize::try_from(self.partitions).unwrap_or(usize::MAX).saturating_sub(away);
        let (Some(each), Some(over)) =
            (total.checked_div(present.len()), total.checked_rem(present.len()))
        else {
            return;
        };
        // Those that have most may have one more, so that little moves.
        present.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
        for (at, (name, count)) in present.iter().enumerate() {
            let quota = each + usize::from(at < over);
            let surplus: BTreeSet<_> =
                self.of(name).into_iter().rev().take(count.saturating_sub(quota)).collect();
            for partition in &surplus {
                if let Some(assignment) = self.assigned.get_mut(partition) {
                    assignment.is_revoked = true;
                }
            }
            self.tell(name, Change::Revoked(surplus));
        }
        for (at, (name, count)) in present.iter().enumerate() {
            let quota = each + usize::from(at < over);
            let free = (0..self.partitions).filter(|p| !self.assigned.contains_key(p));
            let new: BTreeSet<_> = free.take(quota.saturating_sub(*count)).collect();
            for partition in &new {
                let (instance, number) = (name.clone(), self.next_number());
                let assignment = Assignment { instance, number, is_revoked: false };
                self.assigned.insert(*partition, assignment);
            }
            self.tell(name, Change::Assigned(new));
        }
    }

    /// What a member has and was not asked to give back.
    fn of(&self, instance: &str) -> BTreeSet<PartitionId> {
        let own = self.assigned.iter().filter(|(_, a)| a.instance == instance && !a.is_revoked);
        own.map(|(partition, _)| *partition).collect()
    }

    fn tell(&mut self, instance: &str, change: Change) {
        let (Change::Assigned(partitions) | Change::Revoked(partitions) | Change::Lost(partitions)) =
            &change;
        let seat = self.seats.get(instance).copied().flatten();
        if let Some(handle) = seat.and_then(|id| self.handles.get_mut(&id))
            && !partitions.is_empty()
        {
            handle.news.push_back(change);
        }
    }

    fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

/// What only a test does.
#[cfg(feature = "test-util")]
impl Coordinator {
    /// The session of a member ends. True if there was one.
    pub(super) fn expire(&mut self, instance: &str) -> bool {
        let Some(seat) = self.seats.get(instance) else { return false };
        if let Some(handle) = seat.and_then(|id| self.handles.get_mut(&id)) {
            handle.standing = Standing::Expired;
        }
        self.vacate(instance);
        self.balance();
        true
    }

    /// Whether the member learns of nothing for now.
    pub(super) fn pause(&mut self, instance: &str, is_paused: bool) {
        let handles = self.handles.values_mut();
        handles.filter(|handle| handle.instance == instance).for_each(|h| h.is_paused = is_paused);
    }

    /// Who has a partition.
    pub(super) fn owner(&self, partition: PartitionId) -> Option<&str> {
        self.assigned.get(&partition).map(|assigned| assigned.instance.as_str())
    }
}
