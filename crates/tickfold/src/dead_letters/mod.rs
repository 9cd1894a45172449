//! The dead-letter service of this process: lists, shows, redrives.
//!
//! It asks no store. What stands in the dead-letter topic says all of it: the dead letters of a webhook
//! and of each of its redrives have one position, and a redrive that left none leaves a record that
//! says so. So any node answers, and one that takes webhooks, which has the secrets, also redrives.

mod letter;
mod list;
mod redrive;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::records::Topic;
use tickfold_ingress::Apps;
use tickfold_log::{Error, Log, Offset, Record, TopicPartition};
use tickfold_processor::derived_topic;
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::dead_letter_service_server::DeadLetterService;
use tickfold_query::{Access, Reason, Scope};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use crate::raw_topic::RawTopic;
use letter::{Attempts, Letter};

/// Records read at once, and their bytes.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// The service. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetters(Arc<Parts>);

/// What it is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub log: Arc<dyn Log>,
    pub raw: RawTopic,
    pub topic_prefix: String,
    /// Who verifies what is redriven; `None` on a node that takes no webhooks.
    pub apps: Option<Apps>,
    /// One call at a time: a second one sees what the first one did.
    pub redriving: Mutex<()>,
}

/// A place in the raw topic: partition and offset.
type Position = (u32, Offset);

impl DeadLetters {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

#[tonic::async_trait]
impl DeadLetterService for DeadLetters {
    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        Ok(Response::new(self.0.list(request.into_inner()).await?))
    }

    async fn get_dead_letter(
        &self,
        request: Request<pb::GetDeadLetterRequest>,
    ) -> Result<Response<pb::GetDeadLetterResponse>, Status> {
        let access = Access::of(&request)?;
        let pb::GetDeadLetterRequest { position, raw } = request.into_inner();
        if raw {
            access.require(Scope::PersonalData)?;
        }
        let position = position.ok_or_else(|| {
            Reason::InvalidArgument.status("position: is required: partition and offset")
        })?;
        Ok(Response::new(self.0.show((position.partition, position.offset), raw).await?))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<pb::RedriveDeadLettersRequest>,
    ) -> Result<Response<pb::RedriveDeadLettersResponse>, Status> {
        let caller = request.remote_addr();
        let (parts, request) = (Arc::clone(&self.0), request.into_inner());
        // In a task, so that a caller who goes away does not end it between an append and its line in
        // the log.
        let work = tokio::spawn(async move { parts.redrive(request, caller).await });
        let done = work.await.unwrap_or_else(|_| Err(Reason::Defect.status("redriving panicked")));
        done.map(Response::new)
    }
}

impl Parts {
    fn letters_of(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(derived_topic(&self.topic_prefix, Topic::DeadLetter), partition)
    }

    fn raw_of(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(&*self.raw.name, partition)
    }

    /// Hands the dead letters of a partition from an offset of their topic on to `each`, in their
    /// order, and returns where it ended. What is no dead letter of ours is left out.
    async fn scan(
        &self,
        partition: u32,
        from: Offset,
        each: &mut (dyn FnMut(Letter) + Send),
    ) -> Result<Offset, Status> {
        let at = self.letters_of(partition);
        let mut next = from;
        loop {
            let read = self.log.read(&at, next, BATCH_RECORDS, BATCH_BYTES).await;
            let records = read.map_err(failed)?;
            let Some(last) = records.last() else { return Ok(next) };
            next = last.offset.saturating_add(1);
            records.iter().filter_map(Letter::read).for_each(&mut *each);
            // A log may read without ever waiting.
            tokio::task::yield_now().await;
        }
    }

    /// From where on in their topic the dead letters of what was appended at this time stand: they have
    /// log time, which is not before it.
    async fn letters_since(&self, partition: u32, time_ms: i64) -> Result<Offset, Status> {
        self.log.offset_at(&self.letters_of(partition), time_ms).await.map_err(failed)
    }

    /// How often, and with what outcome, the positions of a partition were redriven.
    async fn attempts(
        &self,
        partition: u32,
        from: Offset,
    ) -> Result<BTreeMap<Position, Attempts>, Status> {
        let mut attempts: BTreeMap<Position, Attempts> = BTreeMap::new();
        let mut count = |letter: Letter| {
            if letter.redrive.is_some() {
                attempts.entry(letter.position).or_default().add(&letter);
            }
        };
        self.scan(partition, from, &mut count).await?;
        Ok(attempts)
    }

    /// The raw record that stands exactly here.
    async fn raw_record(&self, (partition, offset): Position) -> Result<Option<Record>, Status> {
        self.check_partition(partition)?;
        let read = self.log.read(&self.raw_of(partition), offset, 1, 1).await.map_err(failed)?;
        Ok(read.into_iter().next().filter(|record| record.offset == offset))
    }

    fn check_partition(&self, partition: u32) -> Result<(), Status> {
        let partitions = self.raw.partitions;
        if partition < partitions {
            return Ok(());
        }
        let message = format!("no partition {partition}: the raw topic has {partitions}");
        Err(Reason::PartitionNotFound.status(message))
    }
}

/// A header of a raw record as text; empty if there is none.
fn header_text(record: &Record, name: &str) -> String {
    let value = record.header(name).map(Bytes::as_ref).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn told((partition, offset): Position) -> pb::RawPosition {
    pb::RawPosition { partition, offset }
}

pub(crate) fn told_time(time_ms: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(time_ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    prost_types::Timestamp { seconds: time_ms.div_euclid(1_000), nanos }
}

fn failed(error: Error) -> Status {
    let reason = match &error {
        Error::Damaged { .. } => Reason::LogDamaged,
        Error::Closed => Reason::ShuttingDown,
        _ => Reason::LogUnavailable,
    };
    reason.status(format!("{:#}", anyhow::Error::from(error)))
}
