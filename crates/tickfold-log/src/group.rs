//! Consumer groups: who processes which partitions of a topic.
//!
//! A member is told what it is assigned and what it must give back. Exactly-once does not rest on
//! it: a claim fences whoever had the partition before, and a claim of a member commits only while
//! the group still assigns the partition to this member. So a member that missed everything does
//! no harm.

use std::{collections::BTreeSet, sync::Arc};

use crate::{Claim, Error, Log, LogFuture, PartitionId, TopicPartition};

/// As what a process joins a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSpec {
    /// Name of the group.
    pub group: String,
    /// The topic whose partitions its members share.
    pub topic: String,
    /// Name of this member, the same after each restart and no other's: a member that comes back
    /// within the group's session timeout finds its partitions.
    pub instance: String,
}

/// A change of what a member is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These are this member's now, beside those it has.
    Assigned(BTreeSet<PartitionId>),
    /// These are to be given back: finish what is under way, then call [`Member::release`].
    /// Commits go through until then, for as long as the group waits.
    Revoked(BTreeSet<PartitionId>),
    /// The group took these away, and another may have them already: no commit takes effect any
    /// more. Nothing is to be released.
    Lost(BTreeSet<PartitionId>),
}

/// How a member goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It will be back: others take over only when the session timeout has passed.
    Restart,
    /// For good, or for long: others take over at once.
    Leave,
}

/// A member of a group. It stays one until it goes, is dropped, or the log closes.
pub trait Member: std::fmt::Debug + Send + Sync + 'static {
    /// The next change; may wait for ever. One caller at a time; dropping the future loses nothing.
    ///
    /// A partition is assigned at most once between two revocations or losses of it.
    /// [`Error::Closed`] after [`Member::go`] and once the log closes. Other errors are for a
    /// person: the group refuses this member, for instance since another process goes by the same
    /// instance name.
    fn next(&self) -> LogFuture<'_, Result<Change, Error>>;

    /// Claims a partition that is assigned to this member; otherwise as [`Log::claim`]. Once it is
    /// no longer assigned, commits of the claim are [`CommitError::Fenced`](crate::CommitError)
    /// and claims [`Error::NotAssigned`]. A commit that meets a change of the group which leaves
    /// the partition here is `Aborted` and may be sent again.
    fn claim(&self, partition: PartitionId) -> LogFuture<'_, Result<Claim, Error>>;

    /// Gives revoked partitions back, so that others can have them. Others it ignores.
    fn release(&self, partitions: &BTreeSet<PartitionId>);

    /// Ends the membership; to be called when no claim is in use. Returns when the group knows, or
    /// cannot be told: then its session timeout tells it. Going again is fine.
    fn go(&self, how: Departure) -> LogFuture<'_, ()>;
}

/// The member of a group that nobody else can join: all partitions are assigned to it, for as long
/// as it stays.
#[derive(Debug)]
pub(crate) struct SoleMember {
    log: Arc<dyn Log>,
    spec: GroupSpec,
    partitions: PartitionId,
    told: std::sync::atomic::AtomicBool,
    gone: tokio::sync::watch::Sender<bool>,
}

#[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "for logs of one process"))]
impl SoleMember {
    /// Joins. [`Error::UnknownPartition`] without the topic.
    pub(crate) async fn join(log: Arc<dyn Log>, spec: GroupSpec) -> Result<Arc<Self>, Error> {
        let topics = log.topics().await?;
        let topic = topics.iter().find(|topic| topic.spec.name == spec.topic);
        let unknown = || Error::UnknownPartition(TopicPartition::new(spec.topic.as_str(), 0));
        let partitions = topic.ok_or_else(unknown)?.spec.partitions;
        let (told, gone) = (false.into(), tokio::sync::watch::Sender::new(false));
        Ok(Arc::new(Self { log, spec, partitions, told, gone }))
    }
}

impl Member for SoleMember {
    fn next(&self) -> LogFuture<'_, Result<Change, Error>> {
        Box::pin(async move {
            if !self.told.swap(true, std::sync::atomic::Ordering::AcqRel) {
                return Ok(Change::Assigned((0..self.partitions).collect()));
            }
            // The sender is ours, so waiting only ends by going.
            let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
            Err(Error::Closed)
        })
    }

    fn claim(&self, partition: PartitionId) -> LogFuture<'_, Result<Claim, Error>> {
        Box::pin(async move {
            let input = TopicPartition::new(self.spec.topic.as_str(), partition);
            if *self.gone.borrow() {
                return Err(Error::NotAssigned(input));
            }
            self.log.claim(&self.spec.group, &input).await
        })
    }

    fn release(&self, _: &BTreeSet<PartitionId>) {}

    fn go(&self, _: Departure) -> LogFuture<'_, ()> {
        self.gone.send_replace(true);
        Box::pin(std::future::ready(()))
    }
}
