//! What the consumer group says, passed on to the partitions, and what it is given back.
//!
//! Revoked partitions finish side by side and each is released as soon as it has let go, so a slow
//! one holds up nobody but itself. After [`Options::release_ms_max`](crate::Options) it is dropped
//! as if it was lost, and released all the same: that is safe, since the next claim fences whatever
//! it left unfinished.
//!
//! It leaves to others: to run a partition (`keep`), and to be a member (the log).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tickfold_log::{Change, Error as LogError, Member, PartitionId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::metrics;
use crate::options::Options;
use crate::status::PartitionStatus;
use crate::tenure::{Ends, Tenure};

/// How the group's side reaches each partition.
pub(crate) type Reaches = BTreeMap<PartitionId, Reach>;

/// How the group's side reaches a partition.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// Where it learns of its tenures.
    pub(crate) tenure: watch::Sender<Option<Tenure>>,
    /// How others are told that it stands. The thread of the partition tells all but its loss: it may be at
    /// its store for minutes.
    pub(crate) status: watch::Sender<PartitionStatus>,
}

impl Reach {
    /// Takes the partition away. From here on nobody is told that its owner is here.
    fn lose(&self, tenure: &Tenure) {
        tenure.lose();
        self.status.send_replace(PartitionStatus::Elsewhere);
    }
}

/// Listens to the group until the stop, and until what was revoked before it is given back. An
/// error of the group is returned at once, with all partitions lost.
pub(crate) async fn follow_group(
    member: Arc<dyn Member>,
    options: Arc<Options>,
    reaches: Reaches,
    ends: Ends,
) -> Result<(), LogError> {
    let mut group = Group { member, options, reaches, ends, releases: JoinSet::new() };
    let ended = group.listen().await;
    if ended.is_err() {
        group.ends.abandon.cancel();
    }
    while group.releases.join_next().await.is_some() {}
    ended
}

struct Group {
    member: Arc<dyn Member>,
    options: Arc<Options>,
    reaches: Reaches,
    ends: Ends,
    releases: JoinSet<()>,
}

impl Group {
    async fn listen(&mut self) -> Result<(), LogError> {
        metrics::assigned(0);
        loop {
            let change = tokio::select! {
                change = self.member.next() => change,
                () = self.ends.stop.cancelled() => return Ok(()),
            };
            match change {
                Ok(Change::Assigned(partitions)) => self.assigned(&partitions),
                Ok(Change::Revoked(partitions)) => self.revoked(&partitions),
                Ok(Change::Lost(partitions)) => self.lost(&partitions),
                // The log is closed under it, or somebody made the member go: the partitions find
                // out by themselves.
                Err(LogError::Closed) => {
                    self.ends.stop.cancelled().await;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            let held = self.reaches.values().filter(|to| is_held(&to.tenure.borrow())).count();
            metrics::assigned(held);
            // Only those under way are kept.
            while self.releases.try_join_next().is_some() {}
        }
    }

    fn assigned(&self, partitions: &BTreeSet<PartitionId>) {
        info!(?partitions, "partitions assigned");
        for partition in partitions {
            match self.reaches.get(partition) {
                Some(to) => _ = to.tenure.send_replace(Some(Tenure::begin(&self.ends))),
                None => warn!(partition, "assigned partition is not of this topic's, ignored"),
            }
        }
    }

    fn revoked(&mut self, partitions: &BTreeSet<PartitionId>) {
        info!(?partitions, "partitions revoked");
        for &partition in partitions {
            let (member, options) = (Arc::clone(&self.member), Arc::clone(&self.options));
            let held = self.held(partition);
            if let Some((_, tenure)) = &held {
                tenure.revoke();
            }
            self.releases.spawn(give_back(member, options, partition, held));
        }
    }

    fn lost(&self, partitions: &BTreeSet<PartitionId>) {
        warn!(?partitions, "partitions lost");
        for &partition in partitions {
            metrics::given_up("lost");
            if let Some((to, tenure)) = self.held(partition) {
                to.lose(&tenure);
            }
        }
    }

    fn held(&self, partition: PartitionId) -> Option<(Reach, Tenure)> {
        let to = self.reaches.get(&partition)?;
        let tenure = to.tenure.borrow().clone()?;
        Some((to.clone(), tenure))
    }
}

/// Waits for a partition that was revoked to finish within its time, then gives it back.
async fn give_back(
    member: Arc<dyn Member>,
    options: Arc<Options>,
    partition: PartitionId,
    held: Option<(Reach, Tenure)>,
) {
    let partitions = BTreeSet::from([partition]);
    if let Some((to, tenure)) = held {
        let patience = Duration::from_millis(options.release_ms_max);
        match tokio::time::timeout(patience, tenure.ended()).await {
            // Taken away meanwhile: there is nothing to give back.
            Ok(()) if tenure.is_lost() => return,
            Ok(()) => metrics::given_up("released"),
            Err(_) => {
                warn!(partition, "revoked partition did not finish in time, dropped");
                metrics::given_up("dropped");
                to.lose(&tenure);
            }
        }
    }
    member.release(&partitions);
}

fn is_held(tenure: &Option<Tenure>) -> bool {
    tenure.as_ref().is_some_and(|tenure| !tenure.is_over())
}
