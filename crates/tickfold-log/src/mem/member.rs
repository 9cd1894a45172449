//! Members of the groups of a [`MemLog`].

use std::collections::BTreeSet;

use super::{MemLog, MemOwned};
use crate::{
    Change, Claim, Committed, Departure, Error, LogFuture, Member, PartitionId, TopicPartition,
    mem::coordinator::HandleId,
};

/// A member of a group of a [`MemLog`]. Dropped without [`Member::go`] it is as if its process
/// died: others take over only when its session expires.
#[derive(Debug)]
pub struct MemMember {
    log: MemLog,
    group: String,
    topic: String,
    id: HandleId,
}

impl MemMember {
    pub(super) fn new(log: MemLog, group: String, topic: String, id: HandleId) -> Self {
        Self { log, group, topic, id }
    }

    /// [`Member::next`], at once: `None` if it would wait.
    pub fn next_now(&self) -> Option<Result<Change, Error>> {
        self.log.change(|state| state.next_change(&self.group, self.id))
    }

    /// [`Member::claim`], at once.
    pub fn claim_now(
        &self,
        partition: PartitionId,
    ) -> Result<(Option<Committed>, MemOwned), Error> {
        let input = TopicPartition::new(self.topic.as_str(), partition);
        self.log.claim_as(&self.group, &input, Some(self.id))
    }

    /// [`Member::go`], at once.
    pub fn go_now(&self, how: Departure) {
        self.log.change(|state| {
            if let Some(coordinator) = state.coordinators.get_mut(&self.group) {
                coordinator.go(self.id, how);
            }
        });
    }
}

impl Member for MemMember {
    fn next(&self) -> LogFuture<'_, Result<Change, Error>> {
        Box::pin(async {
            let change = self.log.when(|state| state.next_change(&self.group, self.id)).await;
            // Looking may have moved others: one whose session had expired joined anew.
            self.log.change(|_| ());
            change
        })
    }

    fn claim(&self, partition: PartitionId) -> LogFuture<'_, Result<Claim, Error>> {
        Box::pin(async move {
            let (committed, owned) = self.claim_now(partition)?;
            Ok(Claim { committed, partition: Box::new(owned) })
        })
    }

    fn release(&self, partitions: &BTreeSet<PartitionId>) {
        self.log.change(|state| {
            if let Some(coordinator) = state.coordinators.get_mut(&self.group) {
                coordinator.release(self.id, partitions);
            }
        });
    }

    fn go(&self, how: Departure) -> LogFuture<'_, ()> {
        self.go_now(how);
        Box::pin(std::future::ready(()))
    }
}

impl Drop for MemMember {
    fn drop(&mut self) {
        self.go_now(Departure::Restart);
    }
}
