//! Whether the state is what raw gives: the rows of each checkpoint beside the digest that goes with it,
//! and a fold of raw, in a directory of its own, beside every digest that a checkpoint or a commit has.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use tickfold_core::FOLD_VERSION;
use tickfold_core::fold::Partition;
use tickfold_log::{Bounds, Error as LogError, Log, Offset, TopicPartition};
use tickfold_processor::{MutedError, MutedFold, Token};
use tickfold_store::{Checkpoint, CheckpointDir, RocksOptions, RocksStores, Stores};

use super::partition::Damage;
use super::records::Part;
use super::workplace::Workplace;
use crate::config::Config;
use crate::history::remove_dir;
use crate::options;

/// What was compared of a partition.
#[derive(Debug, Default, Serialize)]
pub(super) struct Compared {
    pub partition: u32,
    /// Checkpoints whose rows were summed.
    pub checkpoints: u64,
    /// Where the fold began: at nothing, or at the oldest checkpoint.
    pub folded_from: Offset,
    /// Where it was compared last; absent if there was nothing to compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folded_to: Option<Offset>,
    pub damaged: u64,
    #[serde(skip)]
    pub damage: Vec<Damage>,
    /// Why something could not be compared.
    #[serde(skip)]
    pub not_verified: Vec<anyhow::Error>,
}

/// What states are compared with.
pub(super) struct States<'a> {
    pub config: &'a Config,
    pub log: &'a Arc<dyn Log>,
    pub topic: &'a str,
    pub workplace: &'a Workplace,
    pub partition: Partition,
    /// First and last offset of raw.
    pub bounds: Bounds,
    /// Checkpoints that are whole.
    pub checkpoints: Vec<Checkpoint>,
    /// The commit.
    pub position: Option<(Offset, Token)>,
}

/// A state's digest that is written down.
struct Told {
    at: Offset,
    digest: u128,
    by: String,
}

impl States<'_> {
    /// Compares everything there is to compare.
    pub(super) async fn run(mut self) -> Compared {
        let mut found = Compared { partition: self.partition.id, ..Compared::default() };
        // Another fold gives another state.
        self.checkpoints.retain(|checkpoint| checkpoint.head.fold_version == FOLD_VERSION);
        self.checkpoints.sort_by_key(|checkpoint| checkpoint.head.cursor);
        if let Err(error) = self.compare(&mut found).await {
            found.not_verified.push(error);
        }
        found
    }

    async fn compare(&self, found: &mut Compared) -> Result<()> {
        let dir = self.workplace.dir()?;
        for checkpoint in &self.checkpoints {
            let dir = dir.path().join(&checkpoint.id);
            if let Err(error) = self.rows(&dir, checkpoint, found) {
                found.not_verified.push(error);
            }
            remove_dir(&dir)?;
        }
        self.fold(&dir.path().join("folded"), found).await
    }

    /// The rows of a checkpoint beside its digest.
    fn rows(&self, dir: &Path, checkpoint: &Checkpoint, found: &mut Compared) -> Result<()> {
        let id = self.partition.id;
        let context = || format!("read checkpoint {id}/{}", checkpoint.id);
        let stores = self.stores(dir, true)?;
        if !self.restored(&*stores, checkpoint)? {
            return Ok(());
        }
        let store = stores.open(id).with_context(context)?;
        let digest = store.recompute_digest().with_context(context)?;
        found.checkpoints += 1;
        if digest != checkpoint.head.digest {
            let why = format!(
                "the rows of checkpoint {} have digest {digest:032x}, it says {:032x}",
                checkpoint.id, checkpoint.head.digest
            );
            self.tell(found, checkpoint.head.cursor, Part::State, why);
        }
        Ok(())
    }

    /// Puts a checkpoint into the stores; false if it is gone: nodes remove old ones meanwhile.
    fn restored(&self, stores: &dyn Stores, checkpoint: &Checkpoint) -> Result<bool> {
        let id = self.partition.id;
        self.check_disk(|| format!("restore checkpoint {id}/{}", checkpoint.id))?;
        let Err(error) = stores.restore(id, checkpoint) else { return Ok(true) };
        let dir = self.config.store.checkpoint_dir.as_ref().map(CheckpointDir::new);
        let there = dir.map(|dir| dir.verify(id, checkpoint.head.cursor));
        if matches!(there, Some(Ok(None))) {
            return Ok(false);
        }
        Err(error).with_context(|| format!("restore checkpoint {id}/{}", checkpoint.id))
    }

    /// Raw, folded, beside every digest on the way.
    async fn fold(&self, dir: &Path, found: &mut Compared) -> Result<()> {
        let id = self.partition.id;
        if self.bounds.start > 0 {
            // The oldest that raw continues is the ground.
            let stores = self.stores(dir, true)?;
            let mut ground = None;
            for one in self.checkpoints.iter().filter(|one| one.head.cursor >= self.bounds.start) {
                if self.restored(&*stores, one)? {
                    ground = Some(one.head.cursor);
                    break;
                }
            }
            let Some(ground) = ground else { return Ok(()) };
            found.folded_from = ground;
        }
        // Without checkpoints: the fold must not begin at what it is compared with.
        let stores = self.stores(dir, false)?;
        let mut store = stores.open(id).context("open a state to compare with")?;
        let options = options::processor_options(self.config, "")?;
        let fold = MutedFold::new(self.partition, Arc::new(options));
        let raw = TopicPartition::new(self.topic, id);
        for Told { at, digest, by } in self.told(found.folded_from) {
            while store.store_head().cursor < at {
                self.check_disk(|| format!("fold partition {id} to {at}"))?;
                let step = fold.step(&**self.log, &raw, &mut *store, at).await;
                // Somewhere outside of what was read before.
                if let Err(MutedError::Log(LogError::Damaged { reason, first_lost })) = step {
                    let cursor = store.store_head().cursor;
                    let offset = first_lost.map_or(cursor, |(_, lost)| lost);
                    self.tell(found, offset, Part::Log, reason);
                    return Ok(());
                }
                step.with_context(|| format!("fold partition {id} to {at}"))?;
            }
            found.folded_to = Some(at);
            let folded = store.store_head().digest;
            if folded != digest {
                let why = format!(
                    "folding raw to {at} gives digest {folded:032x}, {by} says {digest:032x}"
                );
                self.tell(found, at, Part::State, why);
            }
        }
        Ok(())
    }

    /// Before each piece of work that takes room.
    fn check_disk(&self, attempted: impl Fn() -> String) -> Result<()> {
        self.workplace.check_disk().with_context(attempted)
    }

    /// Digests above where the fold begins, in order.
    fn told(&self, from: Offset) -> Vec<Told> {
        let checkpoints = self.checkpoints.iter().map(|checkpoint| Told {
            at: checkpoint.head.cursor,
            digest: checkpoint.head.digest,
            by: format!("checkpoint {}", checkpoint.id),
        });
        let position = self.position.iter().filter(|(_, token)| token.fold_version == FOLD_VERSION);
        let position = position.map(|(at, token)| Told {
            at: *at,
            digest: token.digest,
            by: format!("the position {at}"),
        });
        let mut told: Vec<_> = checkpoints.chain(position).collect();
        told.retain(|told| told.at > from && told.at <= self.bounds.end);
        told.sort_by_key(|told| told.at);
        told
    }

    fn stores(&self, dir: &Path, with_checkpoints: bool) -> Result<Arc<dyn Stores>> {
        let options = options::store_options(self.config);
        let checkpoint_dir = options.checkpoint_dir.filter(|_| with_checkpoints);
        let stores = RocksStores::open(dir, RocksOptions { checkpoint_dir, ..options });
        Ok(Arc::new(stores.context("open a state to compare with")?))
    }

    fn tell(&self, found: &mut Compared, offset: Offset, part: Part, why: String) {
        found.damaged += 1;
        let (topic, partition) = (self.topic.to_owned(), self.partition.id);
        found.damage.push(Damage { topic, partition, offset, before: None, part, why });
    }
}

#[cfg(test)]
mod tests;
