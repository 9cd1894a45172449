//! Faults and operator acts on a [`MemLog`], for tests and the simulation (`test-util`).
//!
//! Faults are what a log may do by its contract; operator acts are what people, other tools and
//! broken disks do to it behind its back.

use std::time::Duration;

use bytes::Bytes;

use super::{
    MemLog,
    state::{FailAppends, Fault, Group, State},
};
use crate::{Committed, Error, Offset, PartitionId, Record, TopicPartition};

/// What becomes of a commit instead of success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// Nothing takes effect; the claim still holds.
    Aborted,
    /// The commit took effect, the answer got lost.
    UnclearApplied,
    /// The commit did not and will not take effect, and no answer says so.
    UnclearNotApplied,
    /// The answer got lost and the commit is still under way: readers do not see it yet; it takes
    /// effect just before the next claim of the same group and partition returns.
    UnclearAppliedLate,
}

/// How appends fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFault {
    /// [`Error::Unavailable`], as of a log that is not there; nothing is written.
    Unavailable,
    /// The same, as of a log whose queue or disk is full.
    Full,
    /// [`Error::Poisoned`], as after a failed sync; nothing is written.
    Poisoned,
    /// [`Error::Unavailable`] after the first half of the records was written, one at least: an
    /// append is not atomic.
    HalfWay,
}

/// How reads fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFault {
    /// [`Error::Unavailable`], as of a log that is not there.
    Unavailable,
    /// [`Error::Damaged`], as of records that are not what was appended.
    Damaged,
}

impl ReadFault {
    pub(super) fn error(self) -> Error {
        let reason = "reads fail on request".to_owned();
        match self {
            Self::Unavailable => Error::Unavailable { reason },
            Self::Damaged => Error::Damaged { reason, first_lost: None },
        }
    }
}

impl MemLog {
    /// Until it is taken back with `None`, records, bounds and topics are read like this. Appends and
    /// commits go on.
    pub fn fail_reads_with(&self, fault: Option<ReadFault>) {
        self.change(|state| state.read_fault = fault);
    }

    /// The next commit that is not fenced ends like this. Called several times, the faults queue
    /// up, one for each coming commit.
    pub fn fail_next_commit(&self, fault: CommitFault) {
        let fault = match fault {
            CommitFault::Aborted => Fault::Aborted,
            CommitFault::UnclearApplied => Fault::UnclearApplied,
            CommitFault::UnclearNotApplied => Fault::UnclearNotApplied,
            CommitFault::UnclearAppliedLate => Fault::UnclearAppliedLate,
        };
        self.state().commit_faults.push_back(fault);
    }

    /// Takes back faults that no commit has met yet; true if there were any, which is how a run
    /// proves that its faults landed.
    pub fn forget_commit_faults(&self) -> bool {
        let mut state = self.state();
        let any = !state.commit_faults.is_empty();
        state.commit_faults.clear();
        any
    }

    /// While true, appends are [`Error::Unavailable`] and write nothing. Commits go on.
    pub fn fail_appends(&self, fail: bool) {
        self.fail_appends_with(fail.then_some(AppendFault::Unavailable));
    }

    /// Until it is taken back with `None`, appends fail like this. Commits go on.
    pub fn fail_appends_with(&self, fault: Option<AppendFault>) {
        let fault = fault.map(|fault| match fault {
            AppendFault::Unavailable => FailAppends::Unavailable,
            AppendFault::Full => FailAppends::Full,
            AppendFault::Poisoned => FailAppends::Poisoned,
            AppendFault::HalfWay => FailAppends::HalfWay,
        });
        self.change(|state| state.append_fault = fault);
    }

    /// Each coming append takes this much longer, on its own and in tokio's time; nothing of it is
    /// readable before.
    pub fn delay_appends(&self, delay: Option<Duration>) {
        self.state().append_delay = delay;
    }

    /// How many appends were failed, held or delayed on request: the proof that a fault landed.
    pub fn append_faults_met(&self) -> u64 {
        self.state().append_faults_met
    }

    pub(super) async fn delay_append(&self) {
        let delay = {
            let mut state = self.state();
            let met = state.hold_appends || state.append_delay.is_some();
            state.append_faults_met += u64::from(met);
            state.append_delay
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
    }

    /// While true, trims are [`Error::Unavailable`] and delete nothing.
    pub fn fail_trims(&self, fail: bool) {
        self.change(|state| state.fail_trims = fail);
    }

    /// While true, appends hang: they finish when released, or with [`Error::Closed`] when the log
    /// closes. Nothing of them is readable meanwhile.
    pub fn hold_appends(&self, hold: bool) {
        self.change(|state| state.hold_appends = hold);
    }

    /// The partition without a leader: appends to it, in any topic, hang as
    /// [`MemLog::hold_appends`] says, and partitions fail apart from now on.
    pub fn hold_partition(&self, partition: Option<PartitionId>) {
        self.change(|state| {
            state.apart = true;
            state.held_partition = partition;
        });
    }

    /// While true, reads of records hang, by the trait's method only.
    pub fn hold_reads(&self, hold: bool) {
        self.change(|state| state.hold_reads = hold);
    }

    /// While true, commits hang before anything of them is done, by the trait's method only.
    pub fn hold_commits(&self, hold: bool) {
        self.change(|state| state.hold_commits = hold);
    }

    /// The session of a member ends: others get its partitions, and it learns of its loss when it
    /// looks, after which it joins anew. False if there is no such member.
    pub fn expire_member(&self, group: &str, instance: &str) -> bool {
        let of = |state: &mut State| Some(state.coordinators.get_mut(group)?.expire(instance));
        self.change(of).unwrap_or(false)
    }

    /// While true, a member learns of no change. Its claims and commits go on.
    pub fn pause_member(&self, group: &str, instance: &str, pause: bool) {
        self.change(|state| {
            if let Some(coordinator) = state.coordinators.get_mut(group) {
                coordinator.pause(instance, pause);
            }
        });
    }

    /// The instance to which the group assigns a partition.
    pub fn owner(&self, group: &str, partition: PartitionId) -> Option<String> {
        let state = self.state();
        state.coordinators.get(group)?.owner(partition).map(str::to_owned)
    }

    /// Commits that were fenced since their partition was no longer assigned as it had been when it
    /// was claimed.
    pub fn commits_fenced_by_group(&self) -> u64 {
        self.state().commits_fenced_by_group
    }

    /// Commits tried under claims that no member of the group made, though the group has members.
    pub fn commits_unasked(&self) -> u64 {
        self.state().commits_unasked
    }

    /// An operator moved a group's offset with a foreign tool, or it expired (`None`). An owner's
    /// claim is not touched by it.
    pub fn set_committed(&self, group: &str, input: &TopicPartition, to: Option<Committed>) {
        let key = (group.to_owned(), input.clone());
        self.change(|state| state.groups.entry(key).or_default().committed = to);
    }

    /// The position of a group, without claiming; a late commit is not in it yet.
    pub fn committed(&self, group: &str, input: &TopicPartition) -> Option<Committed> {
        let key = (group.to_owned(), input.clone());
        self.state().groups.get(&key).and_then(|group: &Group| group.committed.clone())
    }

    /// Damage: the record at `offset` now has another value. False if there is no such record.
    pub fn replace_record(
        &self,
        of: &TopicPartition,
        offset: Offset,
        value: Option<Bytes>,
    ) -> bool {
        self.change(|state| {
            let partition = state.partition_mut(of);
            let record = partition.and_then(|partition| partition.records.get_mut(&offset));
            record.map(|record| record.value = value).is_some()
        })
    }

    /// The topic was deleted and made anew: the partition is empty and begins at 0 again. Group
    /// positions stay, as they do in Kafka.
    pub fn clear_partition(&self, of: &TopicPartition) -> Result<(), Error> {
        self.change(|state| {
            let partition =
                state.partition_mut(of).ok_or_else(|| Error::UnknownPartition(of.clone()))?;
            *partition = super::state::Partition::default();
            Ok(())
        })
    }

    /// The newest records are gone, as when all replicas lose power before they sync: the partition ends at
    /// `end` again, and what is appended next gets offsets that were given before.
    pub fn lose_tail(&self, of: &TopicPartition, end: Offset) -> Result<(), Error> {
        self.change(|state| {
            let partition =
                state.partition_mut(of).ok_or_else(|| Error::UnknownPartition(of.clone()))?;
            partition.end = partition.end.min(end);
            drop(partition.records.split_off(&end));
            Ok(())
        })
    }

    /// All readable records of a partition; empty if there is no such partition. Works also after
    /// the log was closed, to look at what is left.
    pub fn records(&self, topic: &str, partition: PartitionId) -> Vec<Record> {
        let of = TopicPartition::new(topic, partition);
        let state = self.state();
        state.partition(&of).map_or_else(|_| Vec::new(), |p| p.records.values().cloned().collect())
    }
}
