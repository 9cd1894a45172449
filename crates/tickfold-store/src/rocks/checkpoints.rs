//! Checkpoints as directories: `<checkpoint_dir>/<partition>/<cursor>/`.
//!
//! The manifest is written last and durably, so a directory without a readable one is a checkpoint
//! that was never finished, and is not listed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rocksdb::DB;

use crate::codec::Manifest;
use crate::{Checkpoint, Error, StoreHead};

const MANIFEST: &str = "tickfold.manifest";

/// Makes a checkpoint of the database, which must stand at `head` and not be written meanwhile.
pub(super) fn create(
    db: &DB,
    checkpoint_dir: &Path,
    partition: u32,
    head: StoreHead,
) -> Result<Checkpoint, Error> {
    let parent = checkpoint_dir.join(partition.to_string());
    let target = parent.join(head.cursor.to_string());
    let checkpoint = Checkpoint { id: head.cursor.to_string(), head };
    let manifest = Manifest { partition, head };
    if read_manifest(&target).is_ok_and(|found| found == manifest) {
        return Ok(checkpoint);
    }
    let create = || {
        fs::create_dir_all(&parent)?;
        // One without a manifest, or of another fold version at the same cursor: nobody can want
        // both, and the latter could not be folded on.
        remove_if_there(&target)?;
        let maker = rocksdb::checkpoint::Checkpoint::new(db).map_err(io::Error::other)?;
        maker.create_checkpoint(&target).map_err(io::Error::other)?;
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
            Ok(Manifest { partition: of, head }) if of == partition && head.cursor == cursor => {
                found.push(Checkpoint { id: cursor.to_string(), head });
            }
            Ok(_) => tracing::warn!(partition, cursor, "checkpoint of another place ignored"),
            Err(error) => tracing::warn!(partition, cursor, %error, "checkpoint ignored"),
        }
    }
    found.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.head.cursor));
    Ok(found)
}

/// Puts a copy of the checkpoint at `target`, where nothing must be.
pub(super) fn restore(
    checkpoint_dir: &Path,
    partition: u32,
    checkpoint: &Checkpoint,
    target: &Path,
) -> Result<(), Error> {
    // The id becomes part of a path, and only a number is one of ours.
    let id: u64 = checkpoint.id.parse().map_err(|_| Error::Unreadable {
        partition,
        reason: format!("checkpoint id {:?} is not a cursor", checkpoint.id),
    })?;
    let source = checkpoint_dir.join(partition.to_string()).join(id.to_string());
    let attempted = format!("restore {} from {}", target.display(), source.display());
    let manifest = read_manifest(&source).map_err(|error| io_error(attempted.clone(), error))?;
    if manifest != (Manifest { partition, head: checkpoint.head }) {
        let reason = format!("checkpoint {id} is not the one that was listed");
        return Err(Error::Unreadable { partition, reason });
    }
    let copy = || {
        let mut unfinished = target.as_os_str().to_owned();
        unfinished.push(".restoring");
        let unfinished = PathBuf::from(unfinished);
        remove_if_there(&unfinished)?;
        fs::create_dir_all(&unfinished)?;
        for entry in fs::read_dir(&source)? {
            let entry = entry?;
            if entry.file_name() != MANIFEST {
                link_or_copy(&entry.path(), &unfinished.join(entry.file_name()))?;
            }
        }
        sync_dir(&unfinished)?;
        fs::rename(&unfinished, target)?;
        target.parent().map_or(Ok(()), sync_dir)
    };
    copy().map_err(|error| io_error(attempted, error))
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
    let listed = Manifest { partition, head: checkpoint.head };
    if !read_manifest(&target).is_ok_and(|found| found == listed) {
        return Ok(());
    }
    let remove = || {
        fs::remove_file(target.join(MANIFEST))?;
        sync_dir(&target)?;
        remove_if_there(&target)
    };
    remove().map_err(|source| io_error(format!("remove checkpoint {}", target.display()), source))
}

/// Table files are never changed, so both may share them where they lie on one file system; all
/// others are changed in place and must be copied.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    let is_table = from.extension().is_some_and(|extension| extension == "sst");
    if is_table && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

fn read_manifest(checkpoint: &Path) -> io::Result<Manifest> {
    let bytes = fs::read(checkpoint.join(MANIFEST))?;
    Manifest::from_file(&bytes)
        .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage.0))
}

fn remove_if_there(dir: &Path) -> io::Result<()> {
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
