//! Opening the embedded log: lock, look, compare with the damage mark, and only then open.
//!
//! The order matters. RocksDB's ordinary open rewrites what it recovered and deletes the WAL, so
//! whatever it could not read is gone afterwards. Hence a read-only open with the same recovery
//! comes first, and a refusal leaves every file as it was found.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use rocksdb::{DB, WriteBatch};

use super::{
    EmbeddedOptions,
    catalog::{Catalog, damaged, read_failed},
    framing,
    layout::{self, FORMAT_KEY, FORMAT_VERSION},
    mark::{Mark, MarkError, MarkFile},
};
use crate::{Error, Offset, TopicPartition};

/// Everything the writer starts with.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) db: DB,
    pub(super) mark: MarkFile,
    pub(super) catalog: Catalog,
    /// Held while the log is open. RocksDB has a lock of its own, but takes it only after the
    /// read-only look, which must not look at a log that somebody writes.
    pub(super) lock: File,
}

pub(super) fn recover(dir: &Path, options: &EmbeddedOptions) -> Result<Recovered, Error> {
    let unavailable = |what: &str, error: &dyn std::fmt::Display| Error::Unavailable {
        reason: format!("{what} {}: {error}", dir.display()),
    };
    let db_dir = dir.join("db");
    fs::create_dir_all(dir).map_err(|e| unavailable("create the log directory", &e))?;
    let lock = lock(dir)?;

    let exists = db_dir.join("CURRENT").exists();
    let mark = if options.skip_mark_check() {
        Mark::read(dir).unwrap_or_default()
    } else {
        readable_mark(dir, exists)?
    };
    if let Some(mark) = mark.as_ref().filter(|_| !options.skip_mark_check()) {
        check(&db_dir, exists, mark, options)?;
    }

    let file = match &mark {
        Some(mark) => MarkFile::open(dir, mark),
        // Before RocksDB's first file, so that a log without a mark is never a young log.
        None => MarkFile::create(dir),
    };
    let file = file.map_err(|e| unavailable("open the damage mark in", &e))?;
    let db = DB::open(&options.rocksdb(), &db_dir).map_err(|e| unavailable("open the log", &e))?;
    let floor = mark.as_ref().map_or(0, |mark| mark.sequence);
    if db.latest_sequence_number() < floor && !options.skip_mark_check() {
        let reason = "the second recovery gave less than the first".to_owned();
        return Err(Error::Damaged { reason, first_lost: None });
    }
    ensure_format(&db)?;
    if !exists {
        // The names of what was just made, so that no crash leaves the mark without its log.
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        for dir in [Some(dir), parent].into_iter().flatten() {
            let synced = File::open(dir).and_then(|dir| dir.sync_all());
            synced.map_err(|e| unavailable("sync the directory of", &e))?;
        }
    }
    let catalog = Catalog::load(&db)?;
    Ok(Recovered { db, mark: file, catalog, lock })
}

fn lock(dir: &Path) -> Result<File, Error> {
    let unavailable = |reason: String| Error::Unavailable { reason };
    let path = dir.join("lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(|e| unavailable(format!("open {}: {e}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(unavailable(format!("{} is in use by another owner", dir.display())))
        }
        Err(TryLockError::Error(e)) => Err(unavailable(format!("lock {}: {e}", path.display()))),
    }
}

/// The mark; `None` only for a log that is being created.
fn readable_mark(dir: &Path, exists: bool) -> Result<Option<Mark>, Error> {
    let why = match Mark::read(dir) {
        Ok(Some(mark)) => return Ok(Some(mark)),
        Ok(None) if !exists => return Ok(None),
        Ok(None) => "the damage mark is missing".to_owned(),
        Err(MarkError::Unreadable) => "the damage mark is unreadable".to_owned(),
        Err(MarkError::UnknownVersion(version)) => {
            let reason = format!("the damage mark has unknown version {version}");
            return Err(Error::Incompatible { reason });
        }
        Err(MarkError::Io(error)) => {
            let reason = format!("read the damage mark in {}: {error}", dir.display());
            return Err(Error::Unavailable { reason });
        }
    };
    // What is there is found by looking; whether it is all there, nobody can say any more. The
    // first position that cannot be vouched for is the end of what is there.
    let options = EmbeddedOptions::default().rocksdb();
    let db_dir = dir.join("db");
    let found = match framing::first_trap(&db_dir) {
        Ok(None) => DB::open_cf_for_read_only(&options, db_dir, ["default"], false).ok(),
        Ok(Some(_)) | Err(_) => None,
    };
    let found = found.and_then(|db| Catalog::load(&db).ok()).unwrap_or_default();
    let ends = Mark::of(found.marked());
    let first_lost = ends.positions().find(|(_, end)| *end > 0);
    Err(Error::Damaged { reason: why, first_lost })
}

/// Compares what RocksDB would recover with the mark, changing nothing.
fn check(dir: &Path, exists: bool, mark: &Mark, options: &EmbeddedOptions) -> Result<(), Error> {
    if !exists {
        // A crash at creation, after the mark and before RocksDB's first file; or all is lost.
        let empty = mark.sequence == 0;
        let reason = || "all of it is missing".to_owned();
        let lost = || Error::Damaged { reason: reason(), first_lost: mark.first_position() };
        return if empty { Ok(()) } else { Err(lost()) };
    }
    let trap = framing::first_trap(dir).map_err(|error| Error::Unavailable {
        reason: format!("read the framing of {}: {error}", dir.display()),
    })?;
    if let Some((file, place)) = trap {
        let reason = format!("record at byte {place} of {} has an impossible type", file.display());
        return Err(Error::Damaged { reason, first_lost: mark.first_position() });
    }
    let opened = DB::open_cf_for_read_only(&options.rocksdb(), dir, ["default"], false);
    let db = opened.map_err(|error| open_failed(dir, mark, &error))?;
    let loaded = check_format(&db).and_then(|_| Catalog::load(&db));
    let catalog = loaded.map_err(|error| match error {
        // Where it is not known what an unreadable block held, nothing can be vouched for.
        Error::Damaged { reason, first_lost: None } => {
            Error::Damaged { reason, first_lost: mark.first_position() }
        }
        other => other,
    })?;
    compare(mark, db.latest_sequence_number(), &catalog)
}

fn compare(mark: &Mark, recovered: u64, catalog: &Catalog) -> Result<(), Error> {
    let lost: Vec<(TopicPartition, Offset, Offset)> = mark
        .positions()
        .map(|(partition, end)| (catalog.end_of(&partition), end, partition))
        .filter(|(found, end, _)| found < end)
        .map(|(found, end, partition)| (partition, found, end))
        .collect();
    if lost.is_empty() && recovered >= mark.sequence {
        return Ok(());
    }
    let records: u64 = lost.iter().map(|(_, found, end)| end - found).sum();
    let partitions = lost.len();
    let reason = format!(
        "sequence {recovered} recovered, {} was synced; {records} acknowledged records in \
         {partitions} partitions and maybe group positions are lost",
        mark.sequence
    );
    let first_lost = lost.into_iter().next().map(|(partition, found, _)| (partition, found));
    Err(Error::Damaged { reason, first_lost })
}

/// RocksDB refuses even to look. That is damage, unless the machine is to blame.
fn open_failed(dir: &Path, mark: &Mark, error: &rocksdb::Error) -> Error {
    let reason = format!("open {} read-only: {error}", dir.display());
    let text = error.to_string();
    let passing = ["Permission denied", "Too many open files", "No space left", "Cannot allocate"];
    if passing.iter().any(|cause| text.contains(cause)) {
        return Error::Unavailable { reason };
    }
    Error::Damaged { reason, first_lost: mark.first_position() }
}

/// Writes the format version into a new log.
fn ensure_format(db: &DB) -> Result<(), Error> {
    if check_format(db)? {
        return Ok(());
    }
    let mut batch = WriteBatch::default();
    batch.put(FORMAT_KEY, layout::encode_format());
    let written = db.write(batch).and_then(|()| db.flush_wal(true));
    let reason = |error| format!("write the format version: {error}");
    written.map_err(|error| Error::Unavailable { reason: reason(error) })
}

/// Whether the log has a format version; one that is unknown here is refused before anything else
/// is read.
fn check_format(db: &DB) -> Result<bool, Error> {
    let found = db.get(FORMAT_KEY).map_err(|e| read_failed("the format version", &e))?;
    let Some(found) = found else { return Ok(false) };
    match layout::decode_format(&found).map_err(|why| damaged("the format version", why, None))? {
        FORMAT_VERSION => Ok(true),
        other => {
            let reason = format!("format version {other}, this version knows {FORMAT_VERSION}");
            Err(Error::Incompatible { reason })
        }
    }
}
