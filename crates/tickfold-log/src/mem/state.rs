//! What a [`MemLog`](super::MemLog) holds, and its rules as plain functions over it.
//!
//! No waiting and no waking here: the handle in `mem` does both.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{
    MemOwned,
    coordinator::{Coordinator, HandleId},
};
use crate::{
    Append, Bounds, Change, CommitError, Committed, Error, GroupSpec, Offset, PartitionId, Record,
    TopicInfo, TopicPartition, TopicSpec, record,
};

/// Topics, groups, and the faults that wait to happen.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) now_ms: i64,
    pub(super) closed: bool,
    pub(super) hold_appends: bool,
    /// Appends to this partition of any topic are held.
    pub(super) held_partition: Option<PartitionId>,
    /// Partitions fail apart.
    pub(super) apart: bool,
    pub(super) append_fault: Option<FailAppends>,
    /// Appends that were failed, held or delayed on request.
    pub(super) append_faults_met: u64,
    #[cfg(feature = "test-util")]
    pub(super) append_delay: Option<std::time::Duration>,
    #[cfg(feature = "test-util")]
    pub(super) read_fault: Option<super::ReadFault>,
    pub(super) fail_trims: bool,
    pub(super) commit_faults: VecDeque<Fault>,
    topics: BTreeMap<String, Topic>,
    pub(super) groups: BTreeMap<(String, TopicPartition), Group>,
    pub(super) coordinators: BTreeMap<String, Coordinator>,
    pub(super) hold_commits: bool,
    pub(super) hold_reads: bool,
    /// Commits that met the end of the assignment they were claimed under.
    pub(super) commits_fenced_by_group: u64,
    /// Commits of a group with members that none of them claimed.
    pub(super) commits_unasked: u64,
}

/// How appends fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "test-util"), expect(dead_code, reason = "set by test-util only"))]
pub(super) enum FailAppends {
    Unavailable,
    Full,
    Poisoned,
    HalfWay,
}

/// What shall become of a coming commit instead of success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "test-util"), expect(dead_code, reason = "set by test-util only"))]
pub(super) enum Fault {
    Aborted,
    UnclearApplied,
    UnclearNotApplied,
    UnclearAppliedLate,
}

#[derive(Debug)]
struct Topic {
    spec: TopicSpec,
    partitions: BTreeMap<PartitionId, Partition>,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) records: BTreeMap<Offset, Record>,
}

/// A group's place in one input partition.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) epoch: u64,
    pub(super) committed: Option<Committed>,
    /// A commit whose answer got lost and that takes effect just before the next claim.
    pub(super) late: Option<(Arc<[Append]>, Committed)>,
}

impl State {
    pub(super) fn new(now_ms: i64) -> Self {
        Self { now_ms, ..Self::default() }
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.closed { Err(Error::Closed) } else { Ok(()) }
    }

    fn check_readable(&self) -> Result<(), Error> {
        self.check_open()?;
        #[cfg(feature = "test-util")]
        if let Some(fault) = self.read_fault {
            return Err(fault.error());
        }
        Ok(())
    }

    pub(super) fn ensure_topics(&mut self, specs: &[TopicSpec]) -> Result<Vec<TopicInfo>, Error> {
        self.check_open()?;
        // All checks come before the first creation, so a refused call changes nothing.
        for (at, spec) in specs.iter().enumerate() {
            spec.check()?;
            if let Some(topic) = self.topics.get(&spec.name) {
                spec.check_existing(&topic.spec)?;
            }
            let earlier = specs.iter().take(at).find(|earlier| earlier.name == spec.name);
            earlier.map_or(Ok(()), |earlier| spec.check_existing(earlier))?;
        }
        for spec in specs {
            self.topics.entry(spec.name.clone()).or_insert_with(|| Topic::new(spec));
        }
        Ok(specs.iter().filter_map(|spec| self.topics.get(&spec.name)).map(Topic::info).collect())
    }

    pub(super) fn topic_infos(&self) -> Result<Vec<TopicInfo>, Error> {
        self.check_readable()?;
        Ok(self.topics.values().map(Topic::info).collect())
    }

    /// Whether an append of these hangs now.
    pub(super) fn holds(&self, records: &[Append]) -> bool {
        let to_held = |record: &Append| self.held_partition == Some(record.to.partition);
        !self.closed && (self.hold_appends || records.iter().any(to_held))
    }

    pub(super) fn append(&mut self, records: Vec<Append>) -> Result<Vec<Offset>, Error> {
        self.check_open()?;
        let Some(fault) = self.append_fault else {
            self.check_appends(&records)?;
            return Ok(self.write(records));
        };
        self.append_faults_met += 1;
        let unavailable = |reason: &str| Error::Unavailable { reason: reason.to_owned() };
        Err(match fault {
            FailAppends::Unavailable => unavailable("appends fail on request"),
            FailAppends::Full => unavailable("the queue is full, on request"),
            FailAppends::Poisoned => Error::Poisoned { reason: "on request".to_owned() },
            FailAppends::HalfWay => {
                self.check_appends(&records)?;
                let half = records.len().div_ceil(2);
                self.write(records.into_iter().take(half));
                unavailable("appends fail half-way, on request")
            }
        })
    }

    pub(super) fn read(
        &self,
        from: &TopicPartition,
        offset: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, Error> {
        self.check_readable()?;
        let mut bytes = 0_usize;
        let mut read = Vec::new();
        for record in self.partition(from)?.records.range(offset..).map(|(_, r)| r) {
            bytes = bytes.saturating_add(record.size_bytes());
            if read.len() >= max_records || (bytes > max_bytes && !read.is_empty()) {
                break;
            }
            read.push(record.clone());
        }
        Ok(read)
    }

    pub(super) fn last_record(&self, from: &TopicPartition) -> Result<Option<Record>, Error> {
        self.check_open()?;
        Ok(self.partition(from)?.records.values().next_back().cloned())
    }

    pub(super) fn bounds(&self, of: &TopicPartition) -> Result<Bounds, Error> {
        self.check_readable()?;
        Ok(self.partition(of)?.bounds())
    }

    pub(super) fn trim(&mut self, of: &TopicPartition, before: Offset) -> Result<Bounds, Error> {
        self.check_open()?;
        self.partition(of)?;
        if self.fail_trims {
            return Err(Error::Unavailable { reason: "trims fail on request".to_owned() });
        }
        let partition = self.partition_mut(of);
        let partition = partition.ok_or_else(|| Error::UnknownPartition(of.clone()))?;
        partition.start = before.clamp(partition.start, partition.end);
        partition.records = partition.records.split_off(&partition.start);
        Ok(partition.bounds())
    }

    /// Settles what is unfinished, fences earlier owners, and returns the position, the epoch, and
    /// the assignment if a member claims.
    pub(super) fn claim(
        &mut self,
        group: &str,
        input: &TopicPartition,
        member: Option<HandleId>,
    ) -> Result<(Option<Committed>, u64, Option<u64>), Error> {
        self.check_open()?;
        self.partition(input)?;
        let not_assigned = || Error::NotAssigned(input.clone());
        let coordinator = || self.coordinators.get(group).ok_or_else(not_assigned);
        let assignment = member.map(|id| coordinator()?.assignment(id, input.partition));
        let assignment = assignment.transpose()?;
        let key = (group.to_owned(), input.clone());
        let late = self.groups.entry(key.clone()).or_default().late.take();
        if let Some((outputs, position)) = late {
            self.apply(&key, &outputs, position);
        }
        let group = self.groups.entry(key).or_default();
        group.epoch += 1;
        Ok((group.committed.clone(), group.epoch, assignment))
    }

    pub(super) fn join(&mut self, spec: &GroupSpec) -> Result<HandleId, Error> {
        self.check_open()?;
        let unknown = || Error::UnknownPartition(TopicPartition::new(spec.topic.as_str(), 0));
        let partitions = self.topics.get(&spec.topic).ok_or_else(unknown)?.spec.partitions;
        let new = || Coordinator::new(&spec.topic, partitions);
        let coordinator = self.coordinators.entry(spec.group.clone()).or_insert_with(new);
        if coordinator.topic != spec.topic {
            let reason = format!("the group {} shares {}", spec.group, coordinator.topic);
            return Err(Error::MemberRefused { reason });
        }
        Ok(coordinator.join(&spec.instance))
    }

    pub(super) fn next_change(
        &mut self,
        group: &str,
        member: HandleId,
    ) -> Option<Result<Change, Error>> {
        if self.closed {
            return Some(Err(Error::Closed));
        }
        self.coordinators.get_mut(group)?.next(member)
    }

    pub(super) fn positions(
        &self,
        group: &str,
        topic: &str,
    ) -> Result<Vec<Option<Committed>>, Error> {
        self.check_open()?;
        let unknown = || Error::UnknownPartition(TopicPartition::new(topic, 0));
        let found = self.topics.get(topic).ok_or_else(unknown)?;
        let position = |partition: &PartitionId| {
            let key = (group.to_owned(), TopicPartition::new(topic, *partition));
            self.groups.get(&key)?.committed.clone()
        };
        Ok(found.partitions.keys().map(position).collect())
    }

    pub(super) fn commit(
        &mut self,
        claim: &MemOwned,
        outputs: Arc<[Append]>,
        position: Committed,
    ) -> Result<(), CommitError> {
        let MemOwned { group, input, epoch, assignment, log: _ } = claim;
        let key = (group.clone(), input.clone());
        match (assignment, self.coordinators.get(group)) {
            (Some(number), Some(group)) if !group.is_current(input.partition, *number) => {
                self.commits_fenced_by_group += 1;
                return Err(CommitError::Fenced);
            }
            (None, Some(_)) => self.commits_unasked += 1,
            (Some(_) | None, _) => {}
        }
        if self.groups.get(&key).is_none_or(|group| group.epoch != *epoch) {
            return Err(CommitError::Fenced);
        }
        let checked = self.check_open().and_then(|()| self.check_appends(&outputs));
        checked.map_err(|error| CommitError::Aborted { reason: error.to_string() })?;
        position.check()?;

        let unclear = || CommitError::Unclear { reason: "answer lost on request".to_owned() };
        match self.commit_faults.pop_front() {
            None => self.apply(&key, &outputs, position),
            Some(Fault::Aborted) => {
                return Err(CommitError::Aborted { reason: "aborted on request".to_owned() });
            }
            Some(Fault::UnclearApplied) => {
                self.apply(&key, &outputs, position);
                self.spend(&key);
                return Err(unclear());
            }
            Some(Fault::UnclearNotApplied) => {
                self.spend(&key);
                return Err(unclear());
            }
            Some(Fault::UnclearAppliedLate) => {
                self.spend(&key);
                self.groups.entry(key).or_default().late = Some((outputs, position));
                return Err(unclear());
            }
        }
        Ok(())
    }

    /// Makes the present claim unusable, as after an unclear commit.
    fn spend(&mut self, key: &(String, TopicPartition)) {
        self.groups.entry(key.clone()).or_default().epoch += 1;
    }

    /// Writes a checked commit.
    fn apply(&mut self, key: &(String, TopicPartition), outputs: &[Append], position: Committed) {
        self.write(outputs.iter().cloned());
        self.groups.entry(key.clone()).or_default().committed = Some(position);
    }

    fn check_appends(&self, records: &[Append]) -> Result<(), Error> {
        for append in records {
            self.partition(&append.to)?;
            record::check_size(append)?;
        }
        Ok(())
    }

    /// Writes checked records. One to a partition that is gone meanwhile is dropped, as its topic
    /// was.
    fn write(&mut self, records: impl IntoIterator<Item = Append>) -> Vec<Offset> {
        let now_ms = self.now_ms;
        let mut offsets = Vec::new();
        for append in records {
            let Some(partition) = self.partition_mut(&append.to) else { continue };
            let offset = partition.end;
            partition.end += 1;
            let Append { to: _, key, value, headers, timestamp_ms } = append;
            let timestamp_ms = timestamp_ms.unwrap_or(now_ms);
            partition.records.insert(offset, Record { offset, timestamp_ms, key, value, headers });
            offsets.push(offset);
        }
        offsets
    }

    pub(super) fn partition(&self, of: &TopicPartition) -> Result<&Partition, Error> {
        let partition = self.topics.get(&*of.topic).and_then(|t| t.partitions.get(&of.partition));
        partition.ok_or_else(|| Error::UnknownPartition(of.clone()))
    }

    pub(super) fn partition_mut(&mut self, of: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&*of.topic)?.partitions.get_mut(&of.partition)
    }
}

impl Topic {
    fn new(spec: &TopicSpec) -> Self {
        let partitions = (0..spec.partitions).map(|p| (p, Partition::default())).collect();
        Self { spec: spec.clone(), partitions }
    }

    fn info(&self) -> TopicInfo {
        let bounds = self.partitions.values().map(Partition::bounds).collect();
        TopicInfo { spec: self.spec.clone(), bounds }
    }
}

impl Partition {
    fn bounds(&self) -> Bounds {
        Bounds { start: self.start, end: self.end }
    }
}
