//! Generations of a partition's store: `<partition>` and `<partition>.g<N>` in the data directory, and
//! the file `<partition>.generations` that names them, replaced by a rename.
//!
//! A next one becomes the live one only when it is told to ([`Stores::succeed`](crate::Stores)): whether
//! it may, the log knows. A file that is damaged names the first store, and whoever opens that compares
//! its digest with the log's; but nothing is prepared, tidied or forgotten by it. One that the disk does not
//! give names none: another try may read it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::checkpoints::{io_error, sync_dir};
use super::{RocksStores, lock, refused};
use crate::codec::{Damage, Generations, Next};
use crate::{Error, NextStore, StoreHead};

/// The stores of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreGenerations {
    /// Number of the live one; the first one is 0.
    pub live: u64,
    /// The one before it, if it is kept.
    pub kept: Option<u64>,
    /// The one that takes its place once the log says so.
    pub next: Option<u64>,
    /// How often one was prepared.
    pub turns: u64,
}

impl RocksStores {
    /// What stores of a partition there are.
    pub fn generations(&self, partition: u32) -> Result<StoreGenerations, Error> {
        let Generations { live, kept, next, turns } = self.listed_or_first(partition)?;
        Ok(StoreGenerations { live, kept, next: next.map(|next| next.generation), turns })
    }

    /// Where a generation is, whether or not it is there.
    pub fn generation_dir(&self, partition: u32, generation: u64) -> PathBuf {
        self.data_dir.join(match generation {
            0 => partition.to_string(),
            later => format!("{partition}.g{later}"),
        })
    }

    /// Makes a store that nobody has open the next generation: one that lies in a directory elsewhere on
    /// this disk, which is moved, or the kept one. What was the next before and never became live is
    /// removed.
    pub fn prepare(
        &self,
        partition: u32,
        generation: u64,
        from: Option<&Path>,
        head: StoreHead,
    ) -> Result<(), Error> {
        let slot = self.slot(partition);
        let _lifecycle = lock(&slot.lifecycle);
        let before = self.listed(partition)?;
        if before.live == generation || from.is_some() == (before.kept == Some(generation)) {
            return Err(refused("prepare the next store", partition, "it is there already"));
        }
        self.tidy_of(partition, &Generations { next: None, ..before })?;
        let turns = before.turns.saturating_add(1);
        let next = Some(Next { generation, head });
        // One that lies here and is not named would be removed. One that is named and not here was not
        // moved yet: `withdraw` finds nothing to give back, as it is where it was.
        self.list(partition, &Generations { next, turns, ..before })?;
        if let Some(from) = from {
            let target = self.generation_dir(partition, generation);
            let moved = fs::rename(from, &target)
                .and_then(|()| sync_dir(&self.data_dir))
                .and_then(|()| from.parent().map_or(Ok(()), sync_dir));
            moved.map_err(|error| io_error(format!("move {}", from.display()), error))?;
        }
        Ok(())
    }

    /// Gives the next generation of a partition, which never became live, back to where it is from.
    pub fn withdraw(&self, partition: u32, to: &Path) -> Result<(), Error> {
        let slot = self.slot(partition);
        let _lifecycle = lock(&slot.lifecycle);
        let before = self.listed(partition)?;
        let Some(next) = before.next else { return Ok(()) };
        let dir = self.generation_dir(partition, next.generation);
        if before.kept != Some(next.generation) && dir.exists() {
            fs::rename(&dir, to)
                .and_then(|()| to.parent().map_or(Ok(()), sync_dir))
                .and_then(|()| sync_dir(&self.data_dir))
                .map_err(|error| io_error(format!("move {}", dir.display()), error))?;
        }
        self.list(partition, &Generations { next: None, ..before })
    }

    /// Removes the kept generation of a partition; false if there is none. One that is the next one too may
    /// be what the log names: it goes only where `is_settled`, as a start has seen that it is not.
    pub fn forget_kept(&self, partition: u32, is_settled: bool) -> Result<bool, Error> {
        let slot = self.slot(partition);
        let _lifecycle = lock(&slot.lifecycle);
        let before = self.listed(partition)?;
        let Some(kept) = before.kept else { return Ok(false) };
        let next = before.next.filter(|next| next.generation != kept);
        if next != before.next && !is_settled {
            let why = "it is not known whether it has become the live one";
            return Err(refused("forget the kept store", partition, why));
        }
        // Once it is not named it is gone, however far the removal comes.
        let after = Generations { kept: None, next, ..before };
        self.list(partition, &after)?;
        self.tidy_of(partition, &after)?;
        Ok(true)
    }

    /// Removes generations that are not named any more.
    pub fn tidy(&self, partition: u32) -> Result<(), Error> {
        let slot = self.slot(partition);
        let _lifecycle = lock(&slot.lifecycle);
        self.tidy_of(partition, &self.listed(partition)?)
    }

    /// The next generation.
    pub(super) fn next(&self, partition: u32) -> Result<Option<NextStore>, Error> {
        let Generations { next, turns, .. } = self.listed_or_first(partition)?;
        Ok(next.map(|next| NextStore { turn: turns, head: next.head }))
    }

    /// Makes the next generation the live one, and the live one the kept one.
    pub(super) fn advance(&self, partition: u32) -> Result<(), Error> {
        let before = self.listed(partition)?;
        let Some(next) = before.next else {
            return Err(refused("open the next store", partition, "there is none"));
        };
        let (live, kept) = (next.generation, Some(before.live));
        self.list(partition, &Generations { live, kept, next: None, turns: before.turns })
    }

    /// The live generation's directory.
    pub(super) fn live_dir(&self, partition: u32) -> Result<PathBuf, Error> {
        Ok(self.generation_dir(partition, self.listed_or_first(partition)?.live))
    }

    fn tidy_of(&self, partition: u32, named: &Generations) -> Result<(), Error> {
        let failed =
            |error| io_error(format!("tidy the generations of partition {partition}"), error);
        let prefix = format!("{partition}.g");
        for entry in fs::read_dir(&self.data_dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_str().unwrap_or_default();
            let generation = match name.strip_prefix(&prefix) {
                Some(number) => number.parse().ok(),
                None => (name == partition.to_string()).then_some(0),
            };
            let next = named.next.map(|next| next.generation);
            let is_left =
                |one: &u64| *one != named.live && Some(*one) != named.kept && Some(*one) != next;
            if let Some(generation) = generation.filter(is_left) {
                let dir = self.generation_dir(partition, generation);
                fs::remove_dir_all(dir).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn listed_or_first(&self, partition: u32) -> Result<Generations, Error> {
        let listed = self.read_list(partition)?;
        Ok(listed.unwrap_or_else(|damage| {
            tracing::error!(partition, damage = damage.0, "list of generations is damaged");
            Generations::default()
        }))
    }

    fn listed(&self, partition: u32) -> Result<Generations, Error> {
        self.read_list(partition)?.map_err(|damage| {
            let what = format!("{} is damaged: {}", self.list_path(partition).display(), damage.0);
            refused("read the list of stores", partition, &what)
        })
    }

    fn read_list(&self, partition: u32) -> Result<Result<Generations, Damage>, Error> {
        let path = self.list_path(partition);
        match fs::read(&path) {
            Ok(bytes) => Ok(Generations::from_file(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(Generations::default())),
            Err(error) => Err(io_error(format!("read {}", path.display()), error)),
        }
    }

    fn list(&self, partition: u32, generations: &Generations) -> Result<(), Error> {
        let path = self.list_path(partition);
        let unfinished = path.with_extension("generations.tmp");
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(&generations.to_file())?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            sync_dir(&self.data_dir)
        };
        write().map_err(|error| io_error(format!("write {}", path.display()), error))
    }

    fn list_path(&self, partition: u32) -> PathBuf {
        self.data_dir.join(format!("{partition}.generations"))
    }
}
