//! Getting on with a partition that is refused, on a person's word: to look at it, and to start it
//! once at the position that was accepted.
//!
//! Meant for a process that does nothing else, while no member of the group runs. That is for
//! courtesy: a claim fences whoever had the partition, so two that commit are never both believed.

use std::collections::BTreeSet;
use std::sync::Arc;

use tickfold_core::fold::Partition;
use tickfold_log::{
    Change, Claim, Committed, Departure, Error as LogError, Log, LogFuture, Member, PartitionId,
    TopicPartition,
};
use tickfold_store::Stores;
use tokio::sync::watch;

use crate::checkpoint::Asks;
use crate::driver::{Acceptance, Driver, Look, Looking, Lost, Refusal};
use crate::options::Options;
use crate::outputs::raw_topic;
use crate::pulse::Pulse;
use crate::status::PartitionStatus;
use crate::task::{End, Parts, Ports, run_driver};
use crate::tenure::{Ends, Tenure};

/// What a partition is looked at and recovered on.
#[derive(Debug, Clone)]
pub struct Recovery {
    log: Arc<dyn Log>,
    stores: Arc<dyn Stores>,
    options: Arc<Options>,
}

/// Why it did not come to that.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// It is refused all the same.
    #[error(transparent)]
    Refused(Refusal),
    /// Log or store failed, or somebody else has the partition. It may be tried again.
    #[error(transparent)]
    Lost(Lost),
    /// The log cannot say where the group stands.
    #[error("read the group's position")]
    Position(#[source] LogError),
}

impl From<End> for RecoveryError {
    fn from(end: End) -> Self {
        match end {
            End::Refused(refusal) => Self::Refused(refusal),
            End::Lost(lost) => Self::Lost(lost),
            End::Stopped => Self::Lost(Lost::Defect("stopped")),
        }
    }
}

impl Recovery {
    /// With these options; nobody will answer queries at their address.
    pub fn new(log: Arc<dyn Log>, stores: Arc<dyn Stores>, options: Options) -> Self {
        Self { log, stores, options: Arc::new(options) }
    }

    /// Looks at a partition. Opens its store as a start does, and changes nothing else.
    pub async fn look(&self, partition: Partition) -> Result<Look, RecoveryError> {
        let parts = self.parts(partition);
        let committed = self.position(partition).await?;
        let ports = Ports::new(&parts);
        let mut looking = Looking::new(partition, committed);
        loop {
            let question = match looking.next() {
                Ok(look) => return Ok(look),
                Err(question) => question,
            };
            let input = ports.ask(question).await?;
            if let Err(end) = looking.answer(input) {
                return Err(ports.ask(end).await.err().unwrap_or(End::Stopped).into());
            }
        }
    }

    /// Starts a partition once as was accepted, until the start's commit is done, and returns where
    /// the group stands then. The status follows meanwhile.
    pub async fn recover(
        &self,
        partition: Partition,
        accepted: Acceptance,
        status: &watch::Sender<PartitionStatus>,
    ) -> Result<Option<Committed>, RecoveryError> {
        let parts = self.parts(partition);
        let driver = Driver::recovering(Arc::clone(&self.options), partition, accepted);
        let tenure = Tenure::begin(&Ends::default());
        match run_driver(&parts, driver, status, &tenure).await {
            End::Stopped => self.position(partition).await,
            end => Err(end.into()),
        }
    }

    async fn position(&self, partition: Partition) -> Result<Option<Committed>, RecoveryError> {
        let topic = raw_topic(&self.options.topic_prefix);
        let positions = self.log.positions(&self.options.group, &topic).await;
        let positions = positions.map_err(RecoveryError::Position)?;
        let index = usize::try_from(partition.id).unwrap_or(usize::MAX);
        Ok(positions.into_iter().nth(index).flatten())
    }

    fn parts(&self, partition: Partition) -> Parts {
        let (log, options) = (Arc::clone(&self.log), Arc::clone(&self.options));
        let topic = raw_topic(&options.topic_prefix);
        let outsider = Outsider { log: Arc::clone(&log), group: options.group.clone(), topic };
        let (stores, member) = (Arc::clone(&self.stores), Arc::new(outsider));
        let (pulse, asks) = (Arc::<Pulse>::default(), Arc::<Asks>::default());
        let swaps = Arc::default();
        Parts { log, member, stores, options, partition, pulse, asks, swaps }
    }
}

/// Claims for the group without being one of its members.
#[derive(Debug)]
struct Outsider {
    log: Arc<dyn Log>,
    group: String,
    topic: String,
}

impl Member for Outsider {
    fn next(&self) -> LogFuture<'_, Result<Change, LogError>> {
        Box::pin(std::future::pending())
    }

    fn claim(&self, partition: PartitionId) -> LogFuture<'_, Result<Claim, LogError>> {
        Box::pin(async move {
            let input = TopicPartition::new(self.topic.as_str(), partition);
            self.log.claim(&self.group, &input).await
        })
    }

    fn release(&self, _: &BTreeSet<PartitionId>) {}

    fn go(&self, _: Departure) -> LogFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
