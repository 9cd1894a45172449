//! Checkpoints as directories: `<checkpoint_dir>/<partition>/<cursor>/`.
//!
//! The manifest is written last and durably, so a directory without a readable one is a checkpoint
//! that was never finished, and is not listed. It has sums over every other file (`sums`): a
//! checkpoint is restored only if it is, byte for byte, what was made.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocksdb::DB;

use super::inspect::{CheckpointDamage, DamagedPart};
use super::sums::{self, Differs};
use crate::codec::{FileSums, Manifest};
use crate::{Checkpoint, Error, StoreHead};

pub(super) const MANIFEST: &str = "tickfold.manifest";

/// The number by which the system says that a device could not read.
const EIO: i32 = 5;

/// What stays free of the disk beside a restore, if that copies as much: 1 GiB. What is folded on needs
/// room, and a log that lies beside it.
const RESERVE_BYTES: u64 = 1 << 30;

/// What a copy is called before it is complete, behind the name of the store.
const RESTORING: &str = ".restoring";

/// What is not finished and was not touched for so long is left over.
const LEFT_OVER: Duration = Duration::from_secs(3_600);

/// Sums of the table files of the last checkpoint. A table file is never changed, and as long as a
/// database is open its name is given to no other, so it is read for one checkpoint only.
pub(super) type TableSums = BTreeMap<String, FileSums>;

/// Makes a checkpoint of the database, which must stand at `head` and not be written meanwhile.
pub(super) fn create(
    db: &DB,
    checkpoint_dir: &Path,
    partition: u32,
    head: StoreHead,
    tables: &mut TableSums,
) -> Result<Checkpoint, Error> {
    let parent = checkpoint_dir.join(partition.to_string());
    let target = parent.join(head.cursor.to_string());
    let checkpoint = Checkpoint { id: head.cursor.to_string(), head };
    if read_manifest(&target).is_ok_and(|found| found.is_of(partition, head)) {
        return Ok(checkpoint);
    }
    let mut create = || {
        fs::create_dir_all(&parent)?;
        sweep(&parent);
        // One without a manifest, or of another fold version at the same cursor: nobody can want
        // both, and the latter could not be folded on.
        remove_if_there(&target)?;
        let maker = rocksdb::checkpoint::Checkpoint::new(db).map_err(io::Error::other)?;
        maker.create_checkpoint(&target).map_err(io::Error::other)?;
        let files = sum_up(&target, tables)?;
        let manifest = Manifest { partition, head, files };
        let unfinished = target.join(format!("{MANIFEST}.tmp"));
        let mut file = File::create(&unfinished)?;
        file.write_all(&manifest.to_file())?;
        file.sync_all()?;
        fs::rename(&unfinished, target.join(MANIFEST))?;
        sync_dir(&target)?;
        sync_dir(&parent)?;
        sync_dir(checkpoint_dir)
    };
    create().map_err(|source| io_error(format!("make checkpoint {}", target.display()), source))?;
    Ok(checkpoint)
}

/// Finished checkpoints of a partition, newest cursor first.
pub(super) fn list(checkpoint_dir: &Path, partition: u32) -> Result<Vec<Checkpoint>, Error> {
    let parent = checkpoint_dir.join(partition.to_string());
    let failed = |source| io_error(format!("list checkpoints in {}", parent.display()), source);
    let entries = match fs::read_dir(&parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(cursor) = name.to_str().and_then(|name| name.parse::<u64>().ok()) else {
            continue;
        };
        match read_manifest(&entry.path()) {
            Ok(Manifest { partition: of, head, .. })
                if of == partition && head.cursor == cursor =>
            {
                found.push(Checkpoint { id: cursor.to_string(), head });
            }
            Ok(_) => tracing::warn!(partition, cursor, "checkpoint of another place ignored"),
            Err(error) => tracing::warn!(partition, cursor, %error, "checkpoint ignored"),
        }
    }
    found.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.head.cursor));
    Ok(found)
}

/// Puts a copy of the checkpoint at `target`, where nothing must be. `free` says how many bytes there are on
/// the disk of a directory.
pub(super) fn restore(
    checkpoint_dir: &Path,
    partition: u32,
    checkpoint: &Checkpoint,
    target: &Path,
    free: impl Fn(&Path) -> io::Result<u64>,
) -> Result<(), Error> {
    // The id becomes part of a path, and only a number is one of ours.
    let id: u64 = checkpoint.id.parse().map_err(|_| Error::Unreadable {
        partition,
        reason: format!("checkpoint id {:?} is not a cursor", checkpoint.id),
    })?;
    let source = checkpoint_dir.join(partition.to_string()).join(id.to_string());
    let attempted = format!("restore {} from {}", target.display(), source.display());
    // What the disk cannot give is like what it gave and is damaged: another checkpoint may do. Other
    // troubles pass, and another checkpoint would have them too.
    let not_read = |error: io::Error| {
        let is_of_the_disk =
            error.raw_os_error() == Some(EIO) || error.kind() == io::ErrorKind::IsADirectory;
        match is_of_the_disk {
            true => Error::Unreadable { partition, reason: format!("checkpoint {id}: {error}") },
            false => io_error(attempted.clone(), error),
        }
    };
    let manifest = read_manifest(&source).map_err(not_read)?;
    if !manifest.is_of(partition, checkpoint.head) {
        let reason = format!("checkpoint {id} is not the one that was listed");
        return Err(Error::Unreadable { partition, reason });
    }
    let damage = damage(&source, &manifest).map_err(not_read)?;
    if let Some(damage) = damage.first() {
        return Err(Error::Unreadable { partition, reason: format!("checkpoint {id}: {damage}") });
    }
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(RESTORING);
    let unfinished = PathBuf::from(unfinished);
    let copy = || {
        remove_if_there(&unfinished)?;
        fs::create_dir_all(&unfinished)?;
        let (mut copied, mut bytes) = (Vec::new(), 0_u64);
        for FileSums { name, size_bytes, .. } in &manifest.files {
            let (from, to) = (source.join(name), unfinished.join(name));
            // Table files are never changed, so both may share them where they lie on one file system; all
            // others are changed in place and must be copied.
            if !is_table(&from) || fs::hard_link(&from, &to).is_err() {
                copied.push((from, to));
                bytes = bytes.saturating_add(*size_bytes);
            }
        }
        check_room(free(&unfinished)?, bytes)?;
        for (from, to) in copied {
            fs::copy(from, &to)?;
            File::open(to)?.sync_all()?;
        }
        sync_dir(&unfinished)?;
        fs::rename(&unfinished, target)?;
        target.parent().map_or(Ok(()), sync_dir)
    };
    copy().map_err(|error| {
        // A part of it is good for nothing, and its room is wanted.
        remove_unfinished(&unfinished);
        io_error(attempted, error)
    })
}

/// Refuses to fill a disk.
fn check_room(free: u64, bytes: u64) -> io::Result<()> {
    if free >= bytes.saturating_add(bytes.min(RESERVE_BYTES)) {
        return Ok(());
    }
    let what = format!("{bytes} bytes are to be copied, and {free} are free");
    Err(io::Error::new(io::ErrorKind::StorageFull, what))
}

/// Bytes that are free on the disk of a directory.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Removes what is left in a directory of stores of restores whose process ended meanwhile. Each may be a
/// whole copy, and the partition may be elsewhere by now.
pub(super) fn sweep_restores(data_dir: &Path) {
    let Ok(entries) = fs::read_dir(data_dir) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().ends_with(RESTORING) {
            remove_unfinished(&entry.path());
        }
    }
}

/// Removes a copy that is not complete, if the disk lets it: the next restore tries again.
fn remove_unfinished(dir: &Path) {
    if let Err(error) = remove_if_there(dir) {
        tracing::warn!(path = %dir.display(), %error, "unfinished restore stays");
    }
}

/// Removes a checkpoint if it is the one that was listed. Without its manifest it is none any more,
/// so that goes first, durably: half a checkpoint is never restored.
pub(super) fn remove(
    checkpoint_dir: &Path,
    partition: u32,
    checkpoint: &Checkpoint,
) -> Result<(), Error> {
    let Ok(cursor) = checkpoint.id.parse::<u64>() else { return Ok(()) };
    let target = checkpoint_dir.join(partition.to_string()).join(cursor.to_string());
    let is_listed = |found: Manifest| found.is_of(partition, checkpoint.head);
    if !read_manifest(&target).is_ok_and(is_listed) {
        return Ok(());
    }
    let remove = || {
        fs::remove_file(target.join(MANIFEST))?;
        sync_dir(&target)?;
        remove_if_there(&target)
    };
    remove().map_err(|source| io_error(format!("remove checkpoint {}", target.display()), source))
}

/// Removes what is left of checkpoints that were never finished, or were being removed: nobody lists them,
/// and on another file system each may be a whole copy. What is young may be of another process that has
/// lost the partition and does not know it yet.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_ours = name.strip_suffix(".tmp").unwrap_or(&name).parse::<u64>().is_ok();
        let age = entry.metadata().and_then(|found| found.modified()).ok();
        let is_old = age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFT_OVER);
        // Only what certainly has no manifest: one that cannot be looked at now may be there.
        let is_left =
            name.ends_with(".tmp") || matches!(path.join(MANIFEST).try_exists(), Ok(false));
        if !is_ours || !is_old || !is_left {
            continue;
        }
        match fs::remove_dir_all(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "unfinished checkpoint removed"),
            // It takes room and does no other harm.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "unfinished checkpoint stays")
            }
        }
    }
}

/// Sums of every file of a checkpoint that has no manifest yet.
fn sum_up(target: &Path, tables: &mut TableSums) -> io::Result<Vec<FileSums>> {
    let mut files = Vec::new();
    let mut of_tables = TableSums::new();
    for name in names(target)? {
        let path = target.join(&name);
        let known = match tables.remove(&name) {
            Some(known) if fs::metadata(&path)?.len() == known.size_bytes => Some(known),
            Some(_) | None => None,
        };
        let sums = known.map_or_else(|| sums::of_file(&path, &name), Ok)?;
        if is_table(&path) {
            of_tables.insert(name, sums.clone());
        }
        files.push(sums);
    }
    *tables = of_tables;
    Ok(files)
}

/// What of a checkpoint is not what was made, in the order of the names of its files.
pub(super) fn damage(checkpoint: &Path, manifest: &Manifest) -> io::Result<Vec<CheckpointDamage>> {
    let mut damage = Vec::new();
    for file in &manifest.files {
        // A name is part of a path only if it is one.
        let is_plain = Path::new(&file.name).file_name().is_some_and(|name| *name == *file.name);
        let differs = match is_plain {
            true => sums::compare(&checkpoint.join(&file.name), file)?,
            false => Some(Differs::Missing),
        };
        let what = match differs {
            None => continue,
            Some(Differs::Missing) => DamagedPart::Missing,
            Some(Differs::Size(found)) => DamagedPart::Size { found, made: file.size_bytes },
            Some(Differs::Piece(bytes)) => DamagedPart::Bytes(bytes),
        };
        damage.push(CheckpointDamage { file: file.name.clone(), what });
    }
    for name in names(checkpoint)? {
        if name != MANIFEST && !manifest.files.iter().any(|file| file.name == name) {
            damage.push(CheckpointDamage { file: name, what: DamagedPart::Unknown });
        }
    }
    Ok(damage)
}

/// Names of the files in a directory, sorted.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sst")
}

pub(super) fn read_manifest(checkpoint: &Path) -> io::Result<Manifest> {
    let bytes = fs::read(checkpoint.join(MANIFEST))?;
    Manifest::from_file(&bytes)
        .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage.0))
}

pub(super) fn remove_if_there(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Makes what was created or renamed in the directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn io_error(attempted: String, source: io::Error) -> Error {
    Error::Io { attempted, source: Box::new(source) }
}
