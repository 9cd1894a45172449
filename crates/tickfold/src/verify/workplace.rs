//! Where states are folded to be compared: directories beside the live state, which are gone in the end.
//!
//! A process that is killed leaves its own behind. Everybody who folds holds a lock together with the
//! others, and who finds that nobody does removes what is left: who folds next, or a node that starts.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::client::report;
use crate::history;

const PREFIX: &str = "verify-";
const LOCK: &str = "verify.lock";

/// A place to fold in, for as long as this is there.
#[derive(Debug)]
pub(super) struct Workplace {
    dir: PathBuf,
    prefix: &'static str,
    _lock: Option<File>,
}

impl Workplace {
    /// Beside the live state, so that tables may be linked; where there is none, among temporary files.
    pub(super) fn take(data_dir: &Path) -> Result<Self> {
        if !data_dir.is_dir() {
            let (dir, prefix) = (std::env::temp_dir(), "tickfold-verify-");
            return Ok(Self { dir, prefix, _lock: None });
        }
        if let Err(error) = remove_left(data_dir) {
            report(&format!("remove what an earlier verify left: {error:#}"));
        }
        let lock = lock_file(data_dir)?;
        let context = || format!("lock {LOCK} in {}", data_dir.display());
        lock.lock_shared().with_context(context)?;
        Ok(Self { dir: data_dir.to_owned(), prefix: PREFIX, _lock: Some(lock) })
    }

    /// A directory of its own.
    pub(super) fn dir(&self) -> Result<TempDir> {
        let dir = TempDir::with_prefix_in(self.prefix, &self.dir);
        dir.with_context(|| format!("make a directory to fold in, in {}", self.dir.display()))
    }

    /// Refuses to go on where the disk is nearly full, beside nodes that need it.
    pub(super) fn check_disk(&self) -> Result<()> {
        history::check_disk(&self.dir)
    }
}

/// Removes what killed processes left, if nobody folds. The lock goes with the file that is closed.
pub(crate) fn remove_left(data_dir: &Path) -> Result<()> {
    let lock = lock_file(data_dir)?;
    if lock.try_lock().is_err() {
        return Ok(());
    }
    let context = || format!("look into {}", data_dir.display());
    for entry in std::fs::read_dir(data_dir).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.path().is_dir() {
            history::remove_dir(&entry.path())?;
        }
    }
    Ok(())
}

fn lock_file(data_dir: &Path) -> Result<File> {
    let path = data_dir.join(LOCK);
    let file = File::options().create(true).append(true).open(&path);
    file.with_context(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_uses_is_not() {
        let data_dir = TempDir::new().unwrap();
        let killed = Workplace::take(data_dir.path()).unwrap();
        let left = killed.dir().unwrap().keep();
        std::fs::write(left.join("000001.sst"), b"rows").unwrap();
        let beside = Workplace::take(data_dir.path()).unwrap();
        assert!(left.exists(), "it may be in use");
        drop(killed);
        let used = beside.dir().unwrap();
        let third = Workplace::take(data_dir.path()).unwrap();
        assert!(left.exists() && used.path().exists(), "somebody folds");
        drop((third, beside));
        remove_left(data_dir.path()).unwrap();
        assert!(!left.exists());
    }
}
