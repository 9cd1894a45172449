//! The damage mark: a side file that says how far the log was synced.
//!
//! RocksDB's WAL cannot tell damage from a torn tail: where a record of it is unreadable, recovery
//! stops, and acknowledged records behind it are gone without a word. So after each group's sync
//! the writer notes here the sequence number RocksDB had reached and the end of every partition.
//! If the next open recovers less, it is refused.
//!
//! There are two slots. One is written until the file is synced, then the other: so whatever a crash
//! tears, the other slot holds a whole mark, and a durable one. A slot is magic u32, format
//! version u16, counter u64, sequence u64, length u32 and content (per topic: id u16, name,
//! number of partitions u32, end u64 each), and CRC-32C u32 over all before it.
//!
//! The slot is written (`pwrite`) after each sync, but the file itself is synced at most once a
//! second and on close: a second sync per group would halve the throughput. A killed process loses
//! nothing by that, since the page cache survives it. After a power loss the mark may be up to a
//! second old: it may under-report, so damage to the last second's records could pass; it never
//! over-reports, since it is written only after the sync it speaks of, so a sound log is never
//! refused.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};

use super::layout::{TopicId, Unreadable, get_sized, put_len, put_sized, text};
use crate::{Offset, TopicPartition};

pub(super) const FILE: &str = "mark";
const FRESH: &str = "mark.new";
const SLOT_BYTES: usize = 64 * 1024;
const MAGIC: u32 = 0x7466_6d6b;
const VERSION: u16 = 1;
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What was synced: RocksDB's sequence number and every partition's end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// Counts marks: the newer one counts.
    counter: u64,
    /// The slot it was read from.
    slot: u64,
    pub(super) sequence: u64,
    pub(super) topics: BTreeMap<TopicId, MarkedTopic>,
}

/// A topic's part of the mark. The name is there for the error message when nothing else opens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MarkedTopic {
    pub(super) name: String,
    pub(super) ends: Vec<Offset>,
}

/// Why a mark cannot be used.
#[derive(Debug)]
pub(super) enum MarkError {
    /// Neither slot holds a mark.
    Unreadable,
    /// Written by a later version.
    UnknownVersion(u16),
    Io(io::Error),
}

/// The open file, written by the writer thread only.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    counter: u64,
    /// The slot that is written, and not the one that the last sync made durable.
    slot: u64,
    synced: Instant,
    dirty: bool,
}

impl Mark {
    /// What these topics would be marked as, to talk about their positions.
    pub(super) fn of(topics: BTreeMap<TopicId, MarkedTopic>) -> Self {
        Self { counter: 0, slot: 0, sequence: 0, topics }
    }

    /// Whether a mark of these topics fits into a slot, which bounds how many partitions a log
    /// can have: some thousands.
    pub(super) fn fits(topics: &BTreeMap<TopicId, MarkedTopic>) -> bool {
        encode(0, 0, topics).len() <= SLOT_BYTES
    }

    /// The first position there was: what is lost when nothing can be read.
    pub(super) fn first_position(&self) -> Option<(TopicPartition, Offset)> {
        self.positions().find(|(_, end)| *end > 0).map(|(partition, _)| (partition, 0))
    }

    /// Every partition with its end.
    pub(super) fn positions(&self) -> impl Iterator<Item = (TopicPartition, Offset)> {
        self.topics.values().flat_map(|topic| {
            let partition = |p| TopicPartition::new(topic.name.as_str(), p);
            (0..).zip(&topic.ends).map(move |(p, end)| (partition(p), *end))
        })
    }

    /// Reads the newer of the two slots; `None` if there is no file.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, MarkError> {
        let bytes = match fs::read(dir.join(FILE)) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MarkError::Io(error)),
        };
        let content =
            |at: usize| bytes.slice(bytes.len().min(at)..bytes.len().min(at + SLOT_BYTES));
        let mut newest: Option<Self> = None;
        for (slot, content) in [(0, content(0)), (1, content(SLOT_BYTES))] {
            match decode(content) {
                Ok(mark) if newest.as_ref().is_none_or(|n| n.counter < mark.counter) => {
                    newest = Some(Self { slot, ..mark });
                }
                Ok(_) | Err(MarkError::Unreadable) => {}
                Err(error) => return Err(error),
            }
        }
        newest.map(Some).ok_or(MarkError::Unreadable)
    }
}

impl MarkFile {
    /// Creates the file with an empty mark in both slots. It appears under its name only when it
    /// is whole, so an unreadable mark is damage and never a crash at this moment.
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).open(dir.join(FRESH))?;
        let none = BTreeMap::new();
        for slot in [0, 1] {
            let mut content = encode(slot, 0, &none);
            content.resize(SLOT_BYTES, 0);
            file.write_all_at(&content, position(slot))?;
        }
        file.sync_all()?;
        fs::rename(dir.join(FRESH), dir.join(FILE))?;
        File::open(dir)?.sync_all()?;
        Ok(Self { file, counter: 1, slot: 0, synced: Instant::now(), dirty: false })
    }

    /// Opens the file to go on after `mark`.
    pub(super) fn open(dir: &Path, mark: &Mark) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(dir.join(FILE))?;
        // What was read may be in the page cache only, of a process that was killed.
        file.sync_data()?;
        let Mark { counter, slot, .. } = *mark;
        Ok(Self { file, counter, slot: other(slot), synced: Instant::now(), dirty: false })
    }

    /// Notes what has just been synced.
    pub(super) fn write(
        &mut self,
        sequence: u64,
        topics: &BTreeMap<TopicId, MarkedTopic>,
    ) -> io::Result<()> {
        let counter = self.counter + 1;
        self.file.write_all_at(&encode(counter, sequence, topics), position(self.slot))?;
        self.counter = counter;
        self.dirty = true;
        Ok(())
    }

    /// How long until the file wants to be synced; `None`: not before it is written again.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.dirty.then(|| SYNC_EVERY.saturating_sub(self.synced.elapsed()))
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        // Where it fails the log takes nothing more, and there is nothing to be tried again.
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data()?;
            self.slot = other(self.slot);
            self.synced = Instant::now();
        }
        Ok(())
    }
}

fn position(slot: u64) -> u64 {
    slot * SLOT_BYTES as u64
}

fn other(slot: u64) -> u64 {
    1 - slot
}

pub(super) fn encode(
    counter: u64,
    sequence: u64,
    topics: &BTreeMap<TopicId, MarkedTopic>,
) -> Vec<u8> {
    let mut content = Vec::new();
    for (id, topic) in topics {
        content.extend_from_slice(&id.to_be_bytes());
        put_sized(&mut content, topic.name.as_bytes());
        put_len(&mut content, topic.ends.len());
        topic.ends.iter().for_each(|end| content.extend_from_slice(&end.to_be_bytes()));
    }
    let mut slot = Vec::with_capacity(content.len() + 32);
    slot.extend_from_slice(&MAGIC.to_be_bytes());
    slot.extend_from_slice(&VERSION.to_be_bytes());
    slot.extend_from_slice(&counter.to_be_bytes());
    slot.extend_from_slice(&sequence.to_be_bytes());
    put_sized(&mut slot, &content);
    slot.extend_from_slice(&crc32c::crc32c(&slot).to_be_bytes());
    slot
}

pub(super) fn decode(slot: Bytes) -> Result<Mark, MarkError> {
    // The CRC is checked before anything is believed but the length, which must lie in the slot.
    let mut rest = slot.clone();
    let header = (|| {
        let magic = rest.try_get_u32().ok()?;
        let version = rest.try_get_u16().ok()?;
        let counter = rest.try_get_u64().ok()?;
        let sequence = rest.try_get_u64().ok()?;
        let content = get_sized(&mut rest).ok()?;
        let covered = slot.get(..slot.len() - rest.len())?;
        let crc = rest.try_get_u32().ok()?;
        (magic == MAGIC && crc32c::crc32c(covered) == crc)
            .then_some((version, counter, sequence, content))
    })();
    let (version, counter, sequence, content) = header.ok_or(MarkError::Unreadable)?;
    if version != VERSION {
        return Err(MarkError::UnknownVersion(version));
    }
    let topics = decode_topics(content).map_err(|_| MarkError::Unreadable)?;
    Ok(Mark { counter, slot: 0, sequence, topics })
}

fn decode_topics(mut content: Bytes) -> Result<BTreeMap<TopicId, MarkedTopic>, Unreadable> {
    const SHORT: Unreadable = Unreadable("mark is too short");
    let mut topics = BTreeMap::new();
    while content.has_remaining() {
        let id = content.try_get_u16().map_err(|_| SHORT)?;
        let name = text(&get_sized(&mut content)?)?;
        let count = content.try_get_u32().map_err(|_| SHORT)?;
        let mut ends = Vec::new();
        for _ in 0..count {
            ends.push(content.try_get_u64().map_err(|_| SHORT)?);
        }
        topics.insert(id, MarkedTopic { name, ends });
    }
    Ok(topics)
}
