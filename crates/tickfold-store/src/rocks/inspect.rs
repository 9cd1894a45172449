//! Checkpoints as an operator looks at them: which there are, what each is of, whether each is what was
//! made. Reads files and nothing else, so it may run beside nodes that make and remove them.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::checkpoints::{self, MANIFEST, io_error, read_manifest};
use crate::{Error, StoreHead};

/// The directory of the checkpoints of all partitions.
#[derive(Debug, Clone)]
pub struct CheckpointDir {
    path: PathBuf,
}

/// A directory that is or was to be a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFound {
    /// Partition.
    pub partition: u32,
    /// Cursor, by its name.
    pub cursor: u64,
    /// Bytes of its files, some of which it may share with others.
    pub bytes: u64,
    /// When its manifest was written, or its directory made where there is none.
    pub made: Option<SystemTime>,
    /// What its manifest says.
    pub state: CheckpointState,
}

/// What a manifest says of its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointState {
    /// It is finished and stands there. Whether its files are what was made, this does not say.
    Finished(StoreHead),
    /// It has no manifest: it was not finished, or is being made or removed.
    Unfinished,
    /// Its manifest is damaged or of another place.
    Unreadable(String),
}

/// Something in a checkpoint that is not as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointDamage {
    /// Name of the file.
    pub file: String,
    /// What of it.
    pub what: DamagedPart,
}

/// What of a file is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DamagedPart {
    /// It is not there.
    Missing,
    /// It has another size.
    Size {
        /// Bytes it has.
        found: u64,
        /// Bytes it was made with.
        made: u64,
    },
    /// These bytes are not those that were written; the first such piece of the file.
    Bytes(Range<u64>),
    /// It was not made with the checkpoint.
    Unknown,
    /// It is the manifest, and does not say what it said.
    Manifest(String),
}

impl fmt::Display for CheckpointDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match &self.what {
            DamagedPart::Missing => write!(f, "{file} is missing"),
            DamagedPart::Size { found, made } => {
                write!(f, "{file} has {found} bytes, it was made with {made}")
            }
            DamagedPart::Bytes(bytes) => {
                write!(f, "{file} differs in bytes {} to {}", bytes.start, bytes.end)
            }
            DamagedPart::Unknown => write!(f, "{file} was not made with it"),
            DamagedPart::Manifest(what) => write!(f, "{file}: {what}"),
        }
    }
}

impl CheckpointDir {
    /// That directory. It need not be there: then there are no checkpoints.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// All there are, by partition, the newest first.
    pub fn list(&self) -> Result<Vec<CheckpointFound>, Error> {
        let mut found = Vec::new();
        for (partition, _) in numbered(&self.path).map_err(|source| self.not_listed(source))? {
            let Ok(partition) = u32::try_from(partition) else { continue };
            found.extend(self.list_of(partition)?);
        }
        found.sort_by_key(|found| (found.partition, std::cmp::Reverse(found.cursor)));
        Ok(found)
    }

    /// Those of one partition, the newest first.
    pub fn list_of(&self, partition: u32) -> Result<Vec<CheckpointFound>, Error> {
        let mut found = Vec::new();
        let path = self.path.join(partition.to_string());
        for (cursor, path) in numbered(&path).map_err(|source| self.not_listed(source))? {
            match looked(partition, cursor, &path) {
                Ok(checkpoint) => found.push(checkpoint),
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.not_listed(error)),
            }
        }
        found.sort_by_key(|found| std::cmp::Reverse(found.cursor));
        Ok(found)
    }

    fn not_listed(&self, source: io::Error) -> Error {
        io_error(format!("list checkpoints in {}", self.path.display()), source)
    }

    /// Reads every byte of a checkpoint and tells what is not as it was made; of each file the first
    /// difference. An empty list: it is as it was made. `None`: it is not there, or was removed
    /// meanwhile, as nodes do with old ones.
    pub fn verify(
        &self,
        partition: u32,
        cursor: u64,
    ) -> Result<Option<Vec<CheckpointDamage>>, Error> {
        let path = self.path.join(partition.to_string()).join(cursor.to_string());
        let failed = |source| io_error(format!("read checkpoint {}", path.display()), source);
        let of_manifest = |what: String| {
            let file = MANIFEST.to_owned();
            vec![CheckpointDamage { file, what: DamagedPart::Manifest(what) }]
        };
        let damage = match read_manifest(&path) {
            Ok(manifest) if manifest.partition != partition || manifest.head.cursor != cursor => {
                let (partition, cursor) = (manifest.partition, manifest.head.cursor);
                Ok(of_manifest(format!("it is that of partition {partition} at {cursor}")))
            }
            Ok(manifest) => checkpoints::damage(&path, &manifest),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(of_manifest(error.to_string()))
            }
            Err(error) => Err(error),
        };
        // The manifest is what is removed first.
        let is_gone = || !path.join(MANIFEST).exists();
        match damage {
            Ok(damage) if damage.is_empty() || !is_gone() => Ok(Some(damage)),
            Err(error) if !is_gone() => Err(failed(error)),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

fn looked(partition: u32, cursor: u64, path: &Path) -> io::Result<CheckpointFound> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += entry?.metadata()?.len();
    }
    let (state, dated) = match read_manifest(path) {
        Ok(manifest) if manifest.partition == partition && manifest.head.cursor == cursor => {
            (CheckpointState::Finished(manifest.head), path.join(MANIFEST))
        }
        Ok(_) => {
            let of_another = "it is of another place".to_owned();
            (CheckpointState::Unreadable(of_another), path.join(MANIFEST))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (CheckpointState::Unfinished, path.to_owned())
        }
        Err(error) => (CheckpointState::Unreadable(error.to_string()), path.join(MANIFEST)),
    };
    let made = fs::metadata(dated)?.modified().ok();
    Ok(CheckpointFound { partition, cursor, bytes, made, state })
}

/// Directories whose names are numbers.
fn numbered(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number.filter(|_| entry.path().is_dir()) {
            found.push((number, entry.path()));
        }
    }
    Ok(found)
}
