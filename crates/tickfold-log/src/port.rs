//! The port: what every log promises.

use std::{pin::Pin, sync::Arc};

use crate::{
    Append, CommitError, Error, GroupSpec, Member, Offset, PartitionId, Record, TopicPartition,
};

/// A boxed future, so that the port can be used as `Arc<dyn Log>`.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A topic as its creator wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Full name, prefix included: dots, digits and lower-case letters with hyphens.
    pub name: String,
    /// Number of partitions, fixed at creation.
    pub partitions: PartitionId,
    /// True: a table, only the last record per key matters. False: a stream.
    pub compacted: bool,
}

impl TopicSpec {
    /// Refuses what no adapter can create.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-');
        if self.name.is_empty() || self.name.len() > 200 || !self.name.chars().all(allowed) {
            return Err(self.mismatch("its name has other characters than a-z, 0-9, dot, hyphen"));
        }
        if self.partitions == 0 || self.partitions > 65_536 {
            return Err(self.mismatch("it must have 1 to 65536 partitions"));
        }
        Ok(())
    }

    /// Refuses a topic that exists with settings which cannot serve this wish.
    pub(crate) fn check_existing(&self, existing: &Self) -> Result<(), Error> {
        if existing.partitions < self.partitions {
            let (wanted, found) = (self.partitions, existing.partitions);
            return Err(self.mismatch(format!("partitions: wanted {wanted}, found {found}")));
        }
        if existing.compacted != self.compacted {
            let (wanted, found) = (self.compacted, existing.compacted);
            return Err(self.mismatch(format!("compacted: wanted {wanted}, found {found}")));
        }
        Ok(())
    }

    fn mismatch(&self, reason: impl Into<String>) -> Error {
        Error::TopicMismatch { topic: self.name.clone(), reason: reason.into() }
    }
}

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// As it was created.
    pub spec: TopicSpec,
    /// Bounds of each partition, by partition index.
    pub bounds: Vec<Bounds>,
}

/// The readable range of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The first offset that may still be read; above 0 after trimming.
    pub start: Offset,
    /// The offset after the last readable record.
    pub end: Offset,
}

/// A consumer group's position in a partition: the next offset to process, and the text that was
/// committed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Next input offset.
    pub offset: Offset,
    /// ASCII metadata, at most 300 bytes; the empty string when a foreign tool moved the offset.
    pub metadata: String,
}

impl Committed {
    /// Bytes that [`Committed::metadata`] may have.
    pub const METADATA_BYTES_MAX: usize = 300;

    /// Refuses metadata that no adapter keeps.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        if self.metadata.len() <= Self::METADATA_BYTES_MAX && self.metadata.is_ascii() {
            return Ok(());
        }
        let reason = "metadata is not ASCII of at most 300 bytes".to_owned();
        Err(CommitError::Aborted { reason })
    }
}

/// Topics, appends and reads. All methods may be called from any thread at once.
pub trait Log: std::fmt::Debug + Send + Sync + 'static {
    /// True if an append to one partition can wait or fail for long while others go on, as where
    /// they have different leaders. An append that mixes partitions then waits for the worst.
    fn partitions_fail_apart(&self) -> bool {
        false
    }

    /// Creates the topics that do not exist and checks those that do.
    ///
    /// A topic with fewer partitions than wanted or another kind is [`Error::TopicMismatch`]; more
    /// partitions are reported by the returned [`TopicInfo`] and otherwise ignored. The infos come
    /// in the order of `specs`. After a mismatch nothing was created.
    fn ensure_topics<'a>(
        &'a self,
        specs: &'a [TopicSpec],
    ) -> LogFuture<'a, Result<Vec<TopicInfo>, Error>>;

    /// All topics, sorted by name.
    fn topics(&self) -> LogFuture<'_, Result<Vec<TopicInfo>, Error>>;

    /// Appends records, each to its own partition, and returns their offsets in the same order.
    ///
    /// When it returns `Ok`, every record is durable: it survives a crash of process and machine,
    /// and is readable. Records of one call to one partition keep their order. Concurrent calls
    /// share one sync. It is not atomic over partitions: after an error some may be readable, so a
    /// caller that appends again creates duplicates, never losses. Dropping the future leaves it
    /// open whether the records are appended. A record becomes readable only once it is durable.
    ///
    /// A call with a record above [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX) or for an unknown
    /// partition is refused whole: nothing of it was or will be appended. Append times set by the
    /// log follow its clock; an adapter may keep them from falling within a partition, but callers
    /// must not rely on it.
    fn append(&self, records: Vec<Append>) -> LogFuture<'_, Result<Vec<Offset>, Error>>;

    /// Reads committed records with offset ≥ `from` in offset order: at most `max_records`, and at
    /// most `max_bytes` (by [`Record::size_bytes`]) but always one record if there is one and
    /// `max_records` is not 0. Returns at once; empty at and past the end.
    /// Records of open or aborted transactions are never returned. `from` below the start is
    /// [`Error::Damaged`] only if those records were not trimmed on purpose; otherwise reading
    /// begins at the start of the bounds.
    fn read<'a>(
        &'a self,
        from: &'a TopicPartition,
        offset: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> LogFuture<'a, Result<Vec<Record>, Error>>;

    /// The last readable record of a partition; `None` if it never had one or all were trimmed.
    fn last_record<'a>(
        &'a self,
        from: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Option<Record>, Error>>;

    /// The readable range. A read that begins after the answer finds every record in it, whoever appended
    /// it.
    fn bounds<'a>(&'a self, of: &'a TopicPartition) -> LogFuture<'a, Result<Bounds, Error>>;

    /// Deletes the records below `before` on purpose and returns the bounds after it: the start is
    /// now `max(start, min(before, end))`, and the end is what it was, so no offset is ever given
    /// twice. `before` above the end deletes everything there is; one at or below the start
    /// changes nothing.
    ///
    /// When it returns `Ok` it is durable: the start never moves back. Readers may meet it a moment
    /// before. After an error it may have taken effect or not, as a whole. A reader that was still below goes on at the start without
    /// a word, and positions of groups stay where they are, so it is for the caller to know that
    /// everybody is past `before`. When the space comes back is up to the adapter.
    fn trim<'a>(
        &'a self,
        of: &'a TopicPartition,
        before: Offset,
    ) -> LogFuture<'a, Result<Bounds, Error>>;

    /// Waits until the partition has a readable record at or above `offset`. Where offsets are
    /// dense that is to say, until its end is above `offset`; a marker that only moves the end, as
    /// Kafka's do, wakes nobody, so reading and waiting in turn never spins. Returns [`Error::Closed`] when the log
    /// closes. May wait for ever: callers bring their own deadline, and may drop the future.
    fn wait_past<'a>(
        &'a self,
        of: &'a TopicPartition,
        offset: Offset,
    ) -> LogFuture<'a, Result<(), Error>>;

    /// Claims the input partition for a consumer group.
    ///
    /// From the moment it returns, no commit of an earlier owner can take effect any more, and
    /// whatever an earlier owner left unfinished is aborted: the committed position in the
    /// returned [`Claim`] is stable.
    fn claim<'a>(
        &'a self,
        group: &'a str,
        input: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Claim, Error>>;

    /// Joins a consumer group, which shares the partitions of a topic among its members. Returns
    /// before anything is assigned; [`Member::next`] tells. A log of one process has one member,
    /// which is assigned everything.
    fn join(self: Arc<Self>, spec: GroupSpec)
    -> LogFuture<'static, Result<Arc<dyn Member>, Error>>;

    /// Where a group stands, by partition of the topic: what [`Log::claim`] would find, but without
    /// claiming, so a commit that is under way may be in it or not. For looking, not for deciding.
    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> LogFuture<'a, Result<Vec<Option<Committed>>, Error>>;

    /// From where to read what was appended at or after a time, in milliseconds since 1970: reading
    /// begins with the first such record, or finds none if there is none.
    fn offset_at<'a>(
        &'a self,
        of: &'a TopicPartition,
        time_ms: i64,
    ) -> LogFuture<'a, Result<Offset, Error>>;

    /// Stops accepting work and waits until accepted work is durable and answered. Calls made from
    /// its beginning on get [`Error::Closed`], commits [`CommitError::Aborted`]. Closing again is
    /// fine. An error means that accepted work could not be made durable; the log is closed then
    /// too.
    fn close(&self) -> LogFuture<'_, Result<(), Error>>;
}

/// What a claim gives: the stable committed position and the right to commit.
#[derive(Debug)]
pub struct Claim {
    /// Position of the group, `None` if it never committed or its offset expired.
    pub committed: Option<Committed>,
    /// The handle through which to commit.
    pub partition: Box<dyn OwnedPartition>,
}

/// The right to commit for one input partition of one group, until somebody else claims it.
pub trait OwnedPartition: std::fmt::Debug + Send {
    /// Appends `outputs` and moves the group's position to `position`, as one unit: readers see
    /// all of it or nothing, and after `Ok` it is durable. Outputs to one partition keep their
    /// order. One commit at a time. `outputs` may be empty. Once polled, the log gets on with it
    /// whether or not it is polled again. The log does not judge the position:
    /// it may stay or go back.
    ///
    /// Outputs are shared, since a caller keeps them until the outcome is certain: only the same bytes may be
    /// sent again.
    ///
    /// An output above [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX) or for an unknown partition,
    /// and metadata that is not ASCII of at most [`Committed::METADATA_BYTES_MAX`] bytes, are
    /// [`CommitError::Aborted`] each time: the caller checks them before. Dropping the future
    /// leaves the outcome open, as [`CommitError::Unclear`] does.
    fn commit(
        &mut self,
        outputs: Arc<[Append]>,
        position: Committed,
    ) -> LogFuture<'_, Result<(), CommitError>>;
}
