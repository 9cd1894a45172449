//! One partition of raw, from one offset to another: every record by itself, redrives beside what they
//! repeat, and the sum of all between places where it was written down.

use std::collections::BTreeSet;

use serde::Serialize;
use tickfold_core::raw::redrive_headers;
use tickfold_log::{Error as LogError, Log, Offset, Record, RecordDigest, TopicPartition};
use tickfold_processor::raw_record;

use super::records::{Checks, Fault, Kind, Part};

/// Records and bytes read at a time.
const READ_RECORDS: usize = 1_000;
const READ_BYTES: usize = 8 << 20;

/// Damage that is kept to be told; further one is counted.
const DAMAGE_MAX: usize = 1_000;

/// Records in a row that the log cannot give before this gives up on the partition.
pub(super) const UNREADABLE_MAX: u64 = 10_000;

/// A place at which the digest of everything below is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub at: Offset,
    pub sum: u128,
    /// Who says so.
    pub by: String,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Damage {
    pub topic: String,
    pub partition: u32,
    /// The record, or the first of the range.
    pub offset: Offset,
    /// The offset after the range, where the damage is somewhere in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Offset>,
    pub part: Part,
    pub why: String,
}

/// What was found of a partition.
#[derive(Debug, Default, Serialize)]
pub(super) struct Found {
    pub partition: u32,
    pub from: Offset,
    pub to: Offset,
    pub records: u64,
    pub bytes: u64,
    pub webhooks: u64,
    pub redrives: u64,
    pub ticks: u64,
    pub rules: u64,
    /// Webhooks and redrives whose secret is gone, as was said.
    pub unverified: u64,
    /// The range in which nothing can have changed, been added or gone without the digest: between
    /// the first and the last place at which it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_from: Option<Offset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_to: Option<Offset>,
    pub damaged: u64,
    #[serde(skip)]
    pub damage: Vec<Damage>,
    /// Why the log could not be asked any more. Then everything here is of what lies below `to`.
    #[serde(skip)]
    pub broken_off: Option<LogError>,
}

/// What a partition is read from and checked against.
pub(super) struct Reading<'a> {
    pub log: &'a dyn Log,
    pub at: TopicPartition,
    pub checks: &'a Checks<'a>,
    /// Sorted by offset.
    pub known: Vec<Known>,
}

impl Reading<'_> {
    /// Reads `from` to `to`, or as far as the log can be asked; what it cannot give is damage.
    pub(super) async fn run(&self, from: Offset, to: Offset) -> Found {
        let partition = self.at.partition;
        let mut found = Found { partition, from, to, ..Found::default() };
        let mut segments = Segments::new(&self.known, from, to);
        let mut next = from;
        if let Err(error) = self.read(&mut next, to, &mut found, &mut segments).await {
            found.to = next;
            found.broken_off = Some(error);
        }
        segments.reached(found.to);
        (found.digest_from, found.digest_to) = segments.covered();
        for (known, fault) in segments.differences {
            self.tell(&mut found, known.start, Some(known.end), fault);
        }
        found.damage.sort_by_key(|damage| (damage.offset, damage.part));
        found
    }

    /// Reads on from `next`, which moves along.
    async fn read(
        &self,
        next: &mut Offset,
        to: Offset,
        found: &mut Found,
        segments: &mut Segments<'_>,
    ) -> Result<(), LogError> {
        let (mut unreadable, mut read_max) = (0_u64, READ_RECORDS);
        while *next < to {
            let read = self.log.read(&self.at, *next, read_max, READ_BYTES).await;
            let records = match read {
                Ok(records) => records,
                Err(LogError::Damaged { reason, first_lost }) if read_max == 1 => {
                    let offset = first_lost.map_or(*next, |(_, offset)| offset.max(*next));
                    self.tell(found, offset, None, Fault { part: Part::Log, why: reason });
                    segments.spoil();
                    (*next, unreadable) = (offset.saturating_add(1), unreadable.saturating_add(1));
                    if unreadable == UNREADABLE_MAX {
                        let why =
                            "nothing more was readable; the rest was not looked at".to_owned();
                        self.tell(found, *next, Some(to), Fault { part: Part::Log, why });
                        return Ok(());
                    }
                    continue;
                }
                // One by one, so that nothing readable before and behind it is left out.
                Err(LogError::Damaged { .. }) => {
                    read_max = 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if records.is_empty() {
                return Ok(());
            }
            unreadable = 0;
            for record in records {
                if record.offset >= to {
                    *next = to;
                    return Ok(());
                }
                *next = record.offset.saturating_add(1);
                self.record(found, segments, &record).await?;
            }
        }
        Ok(())
    }

    async fn record(
        &self,
        found: &mut Found,
        segments: &mut Segments<'_>,
        record: &Record,
    ) -> Result<(), LogError> {
        segments.add(record);
        found.records += 1;
        found.bytes += u64::try_from(record.size_bytes()).unwrap_or_default();
        let fault = match self.checks.check(self.at.partition, record) {
            Ok(Kind::Webhook) => {
                found.webhooks += 1;
                return Ok(());
            }
            Ok(Kind::Unverified) => {
                found.unverified += 1;
                return Ok(());
            }
            Ok(Kind::Tick) => {
                found.ticks += 1;
                return Ok(());
            }
            Ok(Kind::Rules) => {
                found.rules += 1;
                return Ok(());
            }
            Ok(kind @ (Kind::Redrive(of) | Kind::UnverifiedRedrive(of))) => {
                found.redrives += 1;
                found.unverified += u64::from(kind == Kind::UnverifiedRedrive(of));
                match self.redrive(record, of).await? {
                    None => return Ok(()),
                    Some(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        self.tell(found, record.offset, None, fault);
        Ok(())
    }

    /// What of a redrive is not as it is in the webhook that it repeats. One that was trimmed cannot
    /// be compared.
    async fn redrive(&self, record: &Record, of: Offset) -> Result<Option<Fault>, LogError> {
        let read = match self.log.read(&self.at, of, 1, 0).await {
            // Told where it stands.
            Err(LogError::Damaged { .. }) => return Ok(None),
            read => read?,
        };
        let Some(original) = read.first().filter(|original| original.offset == of) else {
            let trimmed = self.log.bounds(&self.at).await?.start > of;
            let why = format!("there is no record {of}, which it says it repeats");
            return Ok((!trimmed).then_some(Fault { part: Part::Header, why }));
        };
        let headers = redrive_headers(self.at.partition, &raw_record(original));
        let headers = headers.unwrap_or_default();
        let names = headers.iter().zip(&record.headers);
        let odd = names.into_iter().find(|((_, value), found)| found.value != *value);
        let (part, what) = match odd {
            Some((_, found)) => (Part::Header, found.name.to_string()),
            None if original.value != record.value => (Part::Body, "the body".to_owned()),
            None if original.key != record.key => (Part::Key, "the key".to_owned()),
            None => return Ok(None),
        };
        Ok(Some(Fault { part, why: format!("{what} is not that of record {of}") }))
    }

    fn tell(&self, found: &mut Found, offset: Offset, before: Option<Offset>, fault: Fault) {
        found.damaged += 1;
        if found.damage.len() < DAMAGE_MAX {
            let (topic, partition) = (self.at.topic.to_string(), self.at.partition);
            let Fault { part, why } = fault;
            found.damage.push(Damage { topic, partition, offset, before, part, why });
        }
    }
}

/// The sum over what was read, compared wherever it is known.
struct Segments<'a> {
    known: std::iter::Peekable<std::slice::Iter<'a, Known>>,
    /// Where the last comparison was, with the sum over what was read until then.
    last: Option<(&'a Known, u128)>,
    first: Option<Offset>,
    digest: RecordDigest,
    /// Something since the last place could not be read, so there is nothing to compare.
    spoiled: bool,
    differences: Vec<(std::ops::Range<Offset>, Fault)>,
    seen: BTreeSet<Offset>,
}

impl<'a> Segments<'a> {
    fn new(known: &'a [Known], from: Offset, to: Offset) -> Self {
        let begin = known.partition_point(|known| known.at < from);
        let end = known.partition_point(|known| known.at <= to);
        let within = known.get(begin..end).unwrap_or_default();
        Self {
            known: within.iter().peekable(),
            last: None,
            first: None,
            digest: RecordDigest::default(),
            spoiled: false,
            differences: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn add(&mut self, record: &Record) {
        self.reached(record.offset);
        self.digest.add(record);
    }

    fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// Everything below was read.
    fn reached(&mut self, offset: Offset) {
        while let Some(known) = self.known.next_if(|known| known.at <= offset) {
            let sum = self.digest.sum();
            if let Some((last, before)) = self.last {
                let (found, told) = (sum.wrapping_sub(before), known.sum.wrapping_sub(last.sum));
                if found != told && !self.spoiled {
                    let why = format!(
                        "the records are not those between {} and {}: altered, missing or added",
                        last.by, known.by
                    );
                    self.differences.push((last.at..known.at, Fault { part: Part::Digest, why }));
                }
            }
            if !self.spoiled {
                self.seen.insert(known.at);
            }
            self.first.get_or_insert(known.at);
            self.last = Some((known, sum));
            self.spoiled = false;
        }
    }

    fn covered(&self) -> (Option<Offset>, Option<Offset>) {
        let last = self.seen.last().copied();
        (
            self.first.filter(|first| Some(*first) != last),
            last.filter(|last| Some(*last) != self.first),
        )
    }
}
