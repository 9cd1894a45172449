//! Explain: each raw record that touched a message, and what it did, or why nothing.
//!
//! What is told comes from two places. Transitions, charges' sequences and decisions are read from
//! the state, by the offsets that it keeps. What a record taught beyond that is found by folding the
//! records that name the message once more, onto nothing: the facts of a message follow from those
//! records alone. The raw log is read from the record that the message began with up to the cursor
//! of the snapshot, one batch at a time and only as fast as the caller takes what is found.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::{Stream, stream};
use tickfold_core::action::Moment;
use tickfold_core::fold::{Partition, fold};
use tickfold_core::ids::Wamid;
use tickfold_core::mention::{Mention, Naming, Needle, mentions};
use tickfold_core::overlay::{Head, Nothing, Overlay};
use tickfold_core::raw::{RawRecord, header};
use tickfold_core::state::{HistoryEntry, Message, Regime};
use tickfold_core::time::Timestamp;
use tickfold_log::{Log, Record, TopicPartition};
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::explain_message_response::Part as Told;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Raw;
use super::arguments::View;
use super::decisions::DecidedFor;
use super::joined::{JoinedMessage, message};
use super::learned::{charged, learned};
use super::partitions::Snapshots;
use crate::access::{Access, Accounts};
use crate::convert;
use crate::reasons::{Failure, Reason};

/// Records read at once, and their bytes.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// The raw records of a message, between two of them.
#[derive(Debug)]
pub(super) struct Explanation {
    log: Arc<dyn Log>,
    needle: Needle,
    message: JoinedMessage,
    asker: Asker,
    /// Partitions that hold the message, those read to their end first.
    parts: Vec<Part>,
    /// Found and not told yet.
    found: VecDeque<pb::ExplainedRecord>,
    /// Records that may still be told.
    left: Option<u32>,
    as_of: pb::AsOf,
    ended: bool,
}

/// Who is told, and how much of persons.
#[derive(Debug)]
struct Asker {
    access: Access,
    view: View,
}

/// One partition that holds the message.
#[derive(Debug)]
struct Part {
    from: TopicPartition,
    partition: Partition,
    /// Where the scan begins, goes on, and ends.
    first: u64,
    next: u64,
    until: u64,
    records: u64,
    /// Log time, as the fold counts it.
    log_time: Timestamp,
    retention_ms: i64,
    regime: Regime,
    /// The message as the records so far make it.
    scratch: Option<Message>,
    history: BTreeMap<u64, Vec<HistoryEntry>>,
    decisions: BTreeMap<u64, Vec<DecidedFor>>,
}

impl Explanation {
    /// Reads from the state what it knows of the message, in every partition that holds it.
    pub(super) fn of(
        snapshots: &Snapshots,
        raw: Raw,
        wamid: &Wamid,
        access: Access,
        view: View,
        limit: u32,
    ) -> Result<Self, Failure> {
        let Some(joined) = message(snapshots, wamid)? else {
            return Err(Failure::new(Reason::MessageNotFound, "no such message"));
        };
        let mut parts = Vec::new();
        for (partition, snapshot) in snapshots.each() {
            let Some(message) = snapshot.message(wamid)? else { continue };
            let began = message.history.first();
            let first = began.map_or(message.journal.revision, |entry| entry.offset);
            let regime = snapshot.regime()?.unwrap_or_default();
            let mut history: BTreeMap<u64, Vec<HistoryEntry>> = BTreeMap::new();
            for entry in message.history {
                history.entry(entry.offset).or_default().push(entry);
            }
            let mut decisions: BTreeMap<u64, Vec<DecidedFor>> = BTreeMap::new();
            for one in joined.decisions.iter().filter(|one| one.partition == partition) {
                decisions.entry(one.decided.offset).or_default().push(one.clone());
            }
            parts.push(Part {
                from: TopicPartition::new(raw.topic.as_str(), partition),
                partition: Partition { id: partition, count: snapshots.count() },
                first,
                next: first,
                until: snapshot.store_head().cursor,
                records: 0,
                log_time: message.journal.created,
                retention_ms: regime.rules.retention_ms(),
                regime,
                scratch: None,
                history,
                decisions,
            });
        }
        Ok(Self {
            log: raw.log,
            needle: Needle::new(wamid),
            message: joined,
            asker: Asker { access, view },
            parts,
            found: VecDeque::new(),
            left: (limit > 0).then_some(limit),
            as_of: snapshots.as_of(),
            ended: false,
        })
    }

    /// Refuses what can no longer be explained: without the first record the others would be
    /// misread.
    pub(super) async fn check_raw(&self) -> Result<(), Failure> {
        for part in &self.parts {
            let start = self.log.bounds(&part.from).await?.start;
            if start > part.first {
                let (partition, first) = (part.partition.id, part.first);
                let what = format!(
                    "the raw log of partition {partition} begins at {start}, the message at {first}"
                );
                let failure = Failure::new(Reason::RawTrimmed, what);
                return Err(failure.with("partition", partition).with("start", start));
            }
        }
        Ok(())
    }

    /// The records as they are found, then how far that went. `slot` is held as long.
    pub(super) fn stream<T: Send + 'static>(
        self,
        deadline: Instant,
        shutdown: CancellationToken,
        slot: T,
    ) -> impl Stream<Item = Result<pb::ExplainMessageResponse, Status>> {
        stream::unfold((self, slot), move |(mut explanation, slot)| {
            let shutdown = shutdown.clone();
            async move {
                if explanation.ended {
                    return None;
                }
                let next = tokio::time::timeout_at(deadline, explanation.next());
                let told = match shutdown.run_until_cancelled(next).await {
                    None => Err(Failure::new(Reason::ShuttingDown, "the server is stopping")),
                    Some(Ok(Ok(Some(record)))) => Ok(Told::Record(record)),
                    Some(Ok(Err(failure))) => Err(failure),
                    // The end, or as far as the time allowed: both are told as they are.
                    Some(Ok(Ok(None)) | Err(_)) => Ok(Told::End(explanation.end())),
                };
                explanation.ended = !matches!(told, Ok(Told::Record(_)));
                let response = told.map(|part| pb::ExplainMessageResponse { part: Some(part) });
                Some((response.map_err(Status::from), (explanation, slot)))
            }
        })
    }

    /// The next record that touched the message; `None` at the end, or of the limit.
    async fn next(&mut self) -> Result<Option<pb::ExplainedRecord>, Failure> {
        if self.left == Some(0) {
            return Ok(None);
        }
        while self.found.is_empty() {
            let Some(at) = self.parts.iter().position(|part| part.next < part.until) else {
                return Ok(None);
            };
            self.read(at).await?;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        Ok(self.found.pop_front())
    }

    /// Reads one batch of a partition.
    async fn read(&mut self, at: usize) -> Result<(), Failure> {
        let Some(part) = self.parts.get_mut(at) else { return Ok(()) };
        let records = self.log.read(&part.from, part.next, BATCH_RECORDS, BATCH_BYTES).await?;
        // Nothing is readable below the cursor any more: what follows are marks of the log.
        let Some(last) = records.last() else {
            part.next = part.until;
            return Ok(());
        };
        part.next = last.offset.saturating_add(1).min(part.until);
        let until = part.until;
        for record in records.iter().filter(|record| record.offset < until) {
            let told = part.explain(record, &self.needle, &self.message, &self.asker)?;
            self.found.extend(told);
        }
        Ok(())
    }

    fn end(&self) -> pb::Explanation {
        let range = |part: &Part| pb::ExplainedRange {
            partition: part.partition.id,
            from_offset: part.first,
            // What is found and not told was not explained.
            until_offset: self
                .found
                .iter()
                .filter_map(|record| record.source)
                .find(|source| source.partition == part.partition.id)
                .map_or(part.next, |source| source.offset),
            records: part.records,
        };
        let read = self.parts.iter().all(|part| part.next >= part.until);
        pb::Explanation {
            ranges: self.parts.iter().map(range).collect(),
            complete: read && self.found.is_empty(),
            as_of: Some(self.as_of.clone()),
        }
    }
}

impl Part {
    /// What a record did, if it touched the message. Items of accounts that are not the caller's are left
    /// out, and so is a record that names the message in no others.
    fn explain(
        &mut self,
        record: &Record,
        needle: &Needle,
        message: &JoinedMessage,
        asker: &Asker,
    ) -> Result<Option<pb::ExplainedRecord>, Failure> {
        self.records += 1;
        let appended = Timestamp::from_millis(record.timestamp_ms);
        let before = self.log_time;
        self.log_time = before.max(appended);
        let raw = raw_record(record);
        let decided = self.decisions.remove(&record.offset).unwrap_or_default();
        let history = self.history.remove(&record.offset).unwrap_or_default();
        let webhook = raw.webhook(self.partition.id);
        let redrive_of = webhook.and_then(|webhook| webhook.redrive_of);
        let mut named = webhook
            .filter(|webhook| needle.may_be_in(webhook.body))
            .map(|webhook| mentions(webhook.body, webhook.appended, self.partition, &message.wamid))
            .unwrap_or_default();
        if named.is_empty() && decided.is_empty() && history.is_empty() {
            return Ok(None);
        }
        let known = self.scratch.take();
        let now = self.refold(&raw, before, known.clone(), &message.wamid)?;
        let learned = learned(known.as_ref(), now.as_ref());
        let charged = charged(record.offset, now.as_ref());
        self.scratch = now;
        let is_named = !named.is_empty();
        named.retain(|one| asker.access.sees_of(one.waba_id.as_ref()));
        if is_named && named.is_empty() {
            // It is folded all the same: what later records change follows from it.
            return Ok(None);
        }
        // A record that names it nowhere may be of anybody: whoever does not see all accounts is told
        // what was decided with it, and not how it came.
        let shows_request = is_named || *asker.access.accounts() == Accounts::All;
        let view = asker.view;
        let changed =
            self.scratch.as_ref().is_some_and(|message| message.journal.revision == record.offset);
        let outcome = match () {
            () if !history.is_empty() => pb::RecordOutcome::NewFact,
            () if changed => pb::RecordOutcome::Amended,
            () => of_names(&named),
        };
        let moment = Moment { log_time: self.log_time, retention_ms: self.retention_ms };
        let too_old = named.iter().any(|one| {
            one.naming == Naming::Itself && one.time.is_some_and(|time| !moment.remembers(time))
        });
        let partition = self.partition.id;
        let text = |name| raw.header(name).map(str::to_owned).unwrap_or_default();
        let received = raw.header(header::RECEIVED_TIME).and_then(Timestamp::parse_rfc3339);
        let request_id = text(header::REQUEST_ID);
        Ok(Some(pb::ExplainedRecord {
            source: Some(pb::SourcePosition { partition, offset: record.offset }),
            kind: match raw.header(header::CONTROL) {
                Some(control) => control.to_owned(),
                None => text(header::KIND),
            },
            redrive_of: redrive_of.map(|offset| pb::SourcePosition { partition, offset }),
            request_id: if shows_request { request_id } else { String::new() },
            log_time: Some(convert::time(self.log_time)),
            received_time: received.filter(|_| shows_request).map(convert::time),
            outcome: outcome.into(),
            items: named.iter().map(|one| convert::mention(one, view)).collect(),
            learned: learned.into_iter().map(|fact| fact.told(view)).collect(),
            transitions: history
                .iter()
                .map(|entry| convert::transition(partition, entry, view))
                .collect(),
            charges: charged
                .iter()
                .map(|(participant, charged)| {
                    convert::charge(&message.wamid, participant, charged, view)
                })
                .collect(),
            actions: convert::actions(&decided, message, view),
            alerts: convert::alerts(&decided, message, view),
            too_old,
        }))
    }

    /// Folds the record onto the message as it was, with nothing beside it. What else the record
    /// holds is folded and dropped: no fact of a message depends on it.
    fn refold(
        &self,
        record: &RawRecord<'_>,
        log_time: Timestamp,
        known: Option<Message>,
        wamid: &Wamid,
    ) -> Result<Option<Message>, Failure> {
        let mut overlay = Overlay::default();
        let rules_version = self.regime.rules.version();
        overlay.head = Some(Head { log_time: Some(log_time), rules_version });
        let folded = (|| {
            *overlay.messages.entry(wamid, |_| Ok(None))? = known;
            *overlay.regime.entry(&(), |()| Ok(None))? = Some(self.regime.clone());
            fold(&mut overlay, &Nothing, self.partition, record)
        })();
        folded.map_err(|error| Failure::new(Reason::Defect, error.to_string()))?;
        Ok(overlay.messages.get(wamid).cloned().flatten())
    }
}

/// Why a record changed nothing, by the best of its items.
fn of_names(named: &[Mention]) -> pb::RecordOutcome {
    match named.iter().map(|one| one.naming).min() {
        Some(Naming::Itself | Naming::Changes) => pb::RecordOutcome::Repeated,
        Some(Naming::Answers | Naming::Beside) => pb::RecordOutcome::Mentioned,
        Some(Naming::Broken) => pb::RecordOutcome::Broken,
        Some(Naming::Elsewhere) => pb::RecordOutcome::Elsewhere,
        None => pb::RecordOutcome::Decided,
    }
}

fn raw_record(record: &Record) -> RawRecord<'_> {
    RawRecord {
        offset: record.offset,
        appended: Timestamp::from_millis(record.timestamp_ms),
        headers: record.headers.iter().map(|h| (&*h.name, &*h.value)).collect(),
        value: record.value.as_deref(),
    }
}
