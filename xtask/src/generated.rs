//! A set of generated files: written to the repository, or compared with what is there.
//!
//! A file in the output directory that the generator no longer makes counts as a difference, so that
//! a renamed proto package or topic leaves nothing stale behind. Files with an extension that the
//! generator does not make, such as a README, are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// What one generator makes.
#[derive(Debug)]
pub(crate) struct Generated {
    /// The command that rewrites the files, named in failures.
    pub(crate) command: &'static str,
    /// Output directory, relative to the repository. All files in it that have the extension of a
    /// generated one belong to this generator.
    pub(crate) out_dir: &'static str,
    /// Contents by path relative to the repository.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Generated {
    /// Writes the files that differ and removes the stale ones.
    pub(crate) fn write(&self, root: &Path) -> anyhow::Result<()> {
        for path in self.differing(root)? {
            let target = root.join(&path);
            match self.files.get(&path) {
                Some(bytes) => {
                    if let Some(dir) = target.parent() {
                        fs::create_dir_all(dir)
                            .with_context(|| format!("create {}", dir.display()))?;
                    }
                    fs::write(&target, bytes)
                }
                None => fs::remove_file(&target),
            }
            .with_context(|| format!("update {}", path.display()))?;
        }
        Ok(())
    }

    /// Fails, naming the files that differ and the command that fixes them.
    pub(crate) fn check(&self, root: &Path) -> anyhow::Result<()> {
        let differing = self.differing(root)?;
        if differing.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = differing.iter().map(|path| path.display().to_string()).collect();
        bail!("out of date: {}; run `{}` and commit the result", names.join(", "), self.command)
    }

    /// Paths whose content on disk is not what the generator makes, stale files included.
    fn differing(&self, root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
        let mut differing = BTreeSet::new();
        for (path, wanted) in &self.files {
            match fs::read(root.join(path)) {
                Ok(found) if found == *wanted => {}
                Ok(_) => _ = differing.insert(path.clone()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    differing.insert(path.clone());
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("read {}", path.display()));
                }
            }
        }
        let entries = match fs::read_dir(root.join(self.out_dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(differing),
            Err(error) => return Err(error).with_context(|| format!("list {}", self.out_dir)),
        };
        for entry in entries {
            let path = Path::new(self.out_dir).join(entry?.file_name());
            let ours = self.files.keys().any(|made| made.extension() == path.extension());
            if ours && !self.files.contains_key(&path) {
                differing.insert(path);
            }
        }
        Ok(differing)
    }
}
