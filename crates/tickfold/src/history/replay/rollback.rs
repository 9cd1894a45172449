//! Which way a rollback goes. It is written down when it begins, so that one that ended half-way goes on in
//! the same direction: the states of a partition do not tell, as one that went back looks like one that is to
//! go forth again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tickfold_store::StoreGenerations;

use super::spec::write_json;

/// The file, within the state directory, for as long as there is one that is not at its end.
const FILE: &str = "rollback.json";

/// What is to be done with each partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Rollback {
    partitions: BTreeMap<u32, Way>,
}

/// Numbers of the state that was live and of the one that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    from: u64,
    to: u64,
}

impl Rollback {
    /// One of these partitions, those of which a swap has kept a state.
    pub(super) fn of(states: impl Iterator<Item = (u32, StoreGenerations)>) -> Self {
        let way = |of: StoreGenerations| Some(Way { from: of.live, to: of.kept? });
        Self { partitions: states.filter_map(|(id, of)| Some((id, way(of)?))).collect() }
    }

    /// The one that was begun and is not at its end.
    pub(super) fn read(state_dir: &Path) -> Result<Option<Self>> {
        let path = path(state_dir);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("read {}", path.display()))?,
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).with_context(|| format!("read {}", path.display()))
    }

    pub(super) fn write(&self, state_dir: &Path) -> Result<()> {
        write_json(&path(state_dir), self)
    }

    /// Forgets it, where there is one.
    pub(super) fn remove(state_dir: &Path) -> Result<()> {
        let path = path(state_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("remove {}", path.display())),
        }
    }

    /// What is left to be done: which state of a partition is to be the live one. `None` if something else was
    /// done with a partition since, so that it is not to be gone on with.
    pub(super) fn left<E>(
        &self,
        states: impl Fn(u32) -> Result<StoreGenerations, E>,
    ) -> Result<Option<BTreeMap<u32, u64>>, E> {
        let mut left = BTreeMap::new();
        for (&partition, &Way { from, to }) in &self.partitions {
            let StoreGenerations { live, kept, .. } = states(partition)?;
            if (live, kept) == (from, Some(to)) {
                left.insert(partition, to);
            } else if (live, kept) != (to, Some(from)) {
                return Ok(None);
            }
        }
        Ok(Some(left))
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(of: &[(u64, Option<u64>)]) -> impl Fn(u32) -> Result<StoreGenerations> {
        let all: Vec<_> = of
            .iter()
            .map(|&(live, kept)| StoreGenerations { live, kept, ..StoreGenerations::default() })
            .collect();
        move |partition| Ok(all[partition as usize])
    }

    #[test]
    fn it_goes_on_in_its_direction_until_something_else_is_done() {
        // From 0 to 1 again.
        let forth = states(&[(0, Some(1)), (0, Some(1)), (2, None)]);
        let rollback = Rollback::of((0..3).map(|partition| (partition, forth(partition).unwrap())));
        let left = |of: &[(u64, Option<u64>)]| rollback.left(states(of)).unwrap();
        let cases = [
            ([(0, Some(1)), (0, Some(1))], Some(vec![0, 1])),
            ([(1, Some(0)), (0, Some(1))], Some(vec![1])),
            ([(1, Some(0)), (1, Some(0))], Some(vec![])),
            // Another replay became live, or the kept state is gone.
            ([(3, Some(1)), (0, Some(1))], None),
            ([(1, Some(0)), (0, None)], None),
        ];
        for (now, expected) in cases {
            let left = left(&now);
            assert!(left.iter().flat_map(BTreeMap::values).all(|to| *to == 1));
            assert_eq!(left.map(|left| left.into_keys().collect()), expected, "{now:?}");
        }
    }

    #[test]
    fn it_comes_back_from_its_file_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Rollback::read(dir.path()).unwrap(), None);
        let way = Way { from: 4, to: 0 };
        let rollback = Rollback { partitions: BTreeMap::from([(7, way)]) };
        rollback.write(dir.path()).unwrap();
        assert_eq!(Rollback::read(dir.path()).unwrap(), Some(rollback));
        std::fs::write(path(dir.path()), "{").unwrap();
        assert!(Rollback::read(dir.path()).is_err());
        for _ in 0..2 {
            Rollback::remove(dir.path()).unwrap();
            assert_eq!(Rollback::read(dir.path()).unwrap(), None);
        }
    }
}
