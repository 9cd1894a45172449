//! Where each partition stands, for the pages.
//!
//! What is borrowed of a status holds off its writer, the thread that folds the partition; whoever then asks
//! the same status once more, as [`Peers::is_here`] does, waits behind that writer, and both for ever. So a status is
//! copied before anything else is asked.

use std::collections::BTreeMap;

use serde::Serialize;
use tickfold_processor::{Lags, PartitionStatus};
use tickfold_query::Peers;
use tokio::sync::watch;

/// The partitions of this node, and who has the others.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    pub statuses: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
    pub lags: BTreeMap<u32, Lags>,
    pub peers: Peers,
}

/// A partition as `/statusz` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Partition {
    partition: u32,
    state: &'static str,
    /// Committed position, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// Raw offsets not committed, where it is assigned to this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_records: Option<u64>,
    /// How old its state is while records wait; 0 if none do.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_age_seconds: Option<f64>,
    /// Address of the node that owns it, where one is known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    detail: String,
}

impl Partitions {
    /// Each partition with a copy of its status.
    fn each(&self) -> impl Iterator<Item = (u32, PartitionStatus)> {
        self.statuses.iter().map(|(partition, status)| (*partition, status.borrow().clone()))
    }

    /// Whether each of them is live here or at a node that was reached, or waits for a person.
    pub(super) fn have_settled(&self) -> bool {
        self.each().all(|(partition, status)| {
            matches!(status, PartitionStatus::Refused(_)) || self.is_served(partition, &status)
        })
    }

    /// Those that nobody answers for, with why.
    pub(super) fn unready(&self) -> impl Iterator<Item = String> {
        let unready = self.each().filter(|(partition, status)| !self.is_served(*partition, status));
        unready.map(|(partition, status)| format!("partition {partition}: {status}"))
    }

    /// Whether it is live here, or at a node that was reached.
    fn is_served(&self, partition: u32, status: &PartitionStatus) -> bool {
        status.is_live() || self.peers.is_reached(partition)
    }

    /// All of them, as they are shown by the node at this address.
    pub(super) fn show(&self, own_address: &str) -> Vec<Partition> {
        let shown = |(partition, status): (u32, PartitionStatus)| {
            let position = match status {
                PartitionStatus::Live { position } => Some(position),
                _ => None,
            };
            let owner = match self.peers.is_here(partition) {
                true => Some(own_address.to_owned()),
                false => self.peers.owner(partition),
            };
            let lag = self.lags.get(&partition).and_then(|lag| *lag.borrow());
            Partition {
                partition,
                state: status.word(),
                position,
                lag_records: lag.map(|lag| lag.records),
                state_age_seconds: lag.map(|lag| lag.age().as_secs_f64()),
                owner,
                detail: status.to_string(),
            }
        };
        self.each().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tickfold_query::Owners;

    use super::*;

    #[test]
    fn a_status_may_change_at_any_moment_of_a_look() {
        let (sender, status) = watch::channel(PartitionStatus::Elsewhere);
        let seen = status.clone();
        let is_here = move |_| {
            // Long enough for the writer to stand in line, if the look holds it off.
            thread::sleep(Duration::from_millis(2));
            !matches!(*seen.borrow(), PartitionStatus::Elsewhere)
        };
        let nobody = Owners::new(|| Box::pin(std::future::ready(None)));
        let peers = Peers::new("me:1", 1, is_here, nobody);
        let statuses = BTreeMap::from([(0, status)]);
        let partitions = Partitions { statuses, lags: BTreeMap::new(), peers };

        thread::spawn(move || {
            while !sender.is_closed() {
                sender.send_replace(PartitionStatus::Elsewhere);
            }
        });
        // Nobody waits for the threads themselves: they may wait for each other.
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            for _ in 0..50 {
                assert!(!partitions.have_settled());
                assert_eq!(partitions.unready().count(), 1);
                assert_eq!(partitions.show("me:1").len(), 1);
            }
            done.send(())
        });
        ended
            .recv_timeout(Duration::from_secs(30))
            .expect("the look and the writer wait for each other");
    }
}
