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
use crate::tenure::{Ends, Tenure};

/// Where each partition learns of its tenures.
pub(crate) type Tenures = BTreeMap<PartitionId, watch::Sender<Option<Tenure>>>;

/// Listens to the group until the stop, and until what was revoked before it is given back. An
/// error of the group is returned at once, with all partitions lost.
pub(crate) async fn follow_group(
    member: Arc<dyn Member>,
    options: Arc<Options>,
    tenures: Tenures,
    ends: Ends,
) -> Result<(), LogError> {
    let mut group = Group { member, options, tenures, ends, releases: JoinSet::new() };
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
    tenures: Tenures,
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
            let held = self.tenures.values().filter(|tenure| is_held(&tenure.borrow())).count();
            metrics::assigned(held);
            // Only those under way are kept.
            while self.releases.try_join_next().is_some() {}
        }
    }

    fn assigned(&self, partitions: &BTreeSet<PartitionId>) {
        info!(?partitions, "partitions assigned");
        for partition in partitions {
            match self.tenures.get(partition) {
                Some(tenure) => _ = tenure.send_replace(Some(Tenure::begin(&self.ends))),
                None => warn!(partition, "assigned partition is not of this topic's, ignored"),
            }
        }
    }

    fn revoked(&mut self, partitions: &BTreeSet<PartitionId>) {
        info!(?partitions, "partitions revoked");
        for &partition in partitions {
            let (member, options) = (Arc::clone(&self.member), Arc::clone(&self.options));
            let tenure = self.tenure(partition);
            if let Some(tenure) = &tenure {
                tenure.revoke();
            }
            self.releases.spawn(give_back(member, options, partition, tenure));
        }
    }

    fn lost(&self, partitions: &BTreeSet<PartitionId>) {
        warn!(?partitions, "partitions lost");
        for &partition in partitions {
            metrics::given_up("lost");
            if let Some(tenure) = self.tenure(partition) {
                tenure.lose();
            }
        }
    }

    fn tenure(&self, partition: PartitionId) -> Option<Tenure> {
        self.tenures.get(&partition)?.borrow().clone()
    }
}

/// Waits for a partition that was revoked to finish within its time, then gives it back.
async fn give_back(
    member: Arc<dyn Member>,
    options: Arc<Options>,
    partition: PartitionId,
    tenure: Option<Tenure>,
) {
    let partitions = BTreeSet::from([partition]);
    if let Some(tenure) = tenure {
        let patience = Duration::from_millis(options.release_ms_max);
        match tokio::time::timeout(patience, tenure.ended()).await {
            // Taken away meanwhile: there is nothing to give back.
            Ok(()) if tenure.is_lost() => return,
            Ok(()) => metrics::given_up("released"),
            Err(_) => {
                warn!(partition, "revoked partition did not finish in time, dropped");
                metrics::given_up("dropped");
                tenure.lose();
            }
        }
    }
    member.release(&partitions);
}

fn is_held(tenure: &Option<Tenure>) -> bool {
    tenure.as_ref().is_some_and(|tenure| !tenure.is_over())
}
