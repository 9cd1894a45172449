//! The data directory: one process at a time, under one name for ever.
//!
//! The name is what a consumer group knows this member by: one that comes back under it within the
//! group's session timeout finds its partitions. It lies beside the state that it stands for, so
//! whoever takes the directory along keeps both; a copy must not be used beside the original, and the
//! group refuses the second.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long to wait for a process that is about to end to let go of the directory.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

const INSTANCE_BYTES: usize = 16;

/// The directory, in this process's hands until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub path: PathBuf,
    /// A UUID.
    pub instance: String,
    _lock: File,
}

impl DataDir {
    /// Takes the directory, which is created if it is not there. Waits a moment for a process that
    /// has it.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("create data directory {shown}"))?;
        let lock = File::options().create(true).append(true).open(path.join("lock"));
        let lock = lock.with_context(|| format!("open the lock of data directory {shown}"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    bail!("data directory {shown} is in use by another process")
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("lock data directory {shown}"));
                }
            }
        }
        let instance = instance(&path.join("instance"))?;
        Ok(Self { path: path.to_owned(), instance, _lock: lock })
    }
}

/// The name in the file, which is made up and written if there is none.
fn instance(path: &Path) -> Result<String> {
    let shown = path.display();
    match fs::read_to_string(path) {
        Ok(text) if is_uuid(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => bail!(
            "{shown} does not hold the UUID of this instance; delete it to become a new member of the group"
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {shown}")),
    }
    let name = uuid()?;
    let write = || {
        // Whole or not at all: half a name would be another one, or none.
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(format!("{name}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("write {shown}"))?;
    Ok(name)
}

/// A random one, version 4.
fn uuid() -> Result<String> {
    let mut bytes = [0_u8; INSTANCE_BYTES];
    getrandom::fill(&mut bytes).context("make up the name of this instance")?;
    let mut number = u128::from_be_bytes(bytes);
    number = number & !(0xf << 76) | 4 << 76;
    number = number & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{number:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default());
    Ok(parts.join("-"))
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name_and_has_one_process() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let taken = DataDir::take(&path).unwrap();
        assert!(is_uuid(&taken.instance), "{}", taken.instance);
        let refused = format!("{:#}", DataDir::take(&path).unwrap_err());
        assert!(refused.contains("in use by another process"), "{refused}");
        let name = taken.instance.clone();
        drop(taken);
        assert_eq!(DataDir::take(&path).unwrap().instance, name);
        let other = DataDir::take(&root.path().join("other")).unwrap();
        assert_ne!(other.instance, name);
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("instance"), "node-1\n").unwrap();
        let refused = format!("{:#}", DataDir::take(root.path()).unwrap_err());
        assert!(refused.contains("instance") && refused.contains("UUID"), "{refused}");
    }

    #[test]
    fn made_up_names_are_of_version_4() {
        let name = uuid().unwrap();
        assert!(is_uuid(&name), "{name}");
        let at = |index: usize| name.as_bytes()[index];
        assert_eq!(at(14), b'4', "{name}");
        assert!(b"89ab".contains(&at(19)), "{name}");
    }
}
