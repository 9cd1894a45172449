//! Whether the state is what raw gives: the rows of each checkpoint beside the digest that goes with it,
//! and a fold of raw, in a directory of its own, beside every digest that a checkpoint or a commit has.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use tempfile::TempDir;
use tickfold_core::FOLD_VERSION;
use tickfold_core::fold::Partition;
use tickfold_log::{Bounds, Log, Offset};
use tickfold_processor::{Recovery, Token};
use tickfold_store::{Checkpoint, RocksOptions, RocksStores, Stores};

use super::partition::Damage;
use super::records::Part;
use crate::config::Config;
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
}

/// What states are compared with.
pub(super) struct States<'a> {
    pub config: &'a Config,
    pub log: &'a Arc<dyn Log>,
    pub topic: &'a str,
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
    pub(super) async fn run(mut self) -> Result<Compared> {
        // Beside what it is compared with, so that tables may be linked.
        let dir = match self.config.data_dir.is_dir() {
            true => TempDir::with_prefix_in("verify-", &self.config.data_dir),
            false => TempDir::with_prefix("tickfold-verify-"),
        };
        let dir = dir.context("make a directory to fold in")?;
        let mut found = Compared { partition: self.partition.id, ..Compared::default() };
        // Another fold gives another state.
        self.checkpoints.retain(|checkpoint| checkpoint.head.fold_version == FOLD_VERSION);
        self.checkpoints.sort_by_key(|checkpoint| checkpoint.head.cursor);
        for checkpoint in &self.checkpoints {
            self.rows(&dir.path().join(&checkpoint.id), checkpoint, &mut found)?;
        }
        self.fold(&dir.path().join("folded"), &mut found).await?;
        Ok(found)
    }

    /// The rows of a checkpoint beside its digest.
    fn rows(&self, dir: &Path, checkpoint: &Checkpoint, found: &mut Compared) -> Result<()> {
        let id = self.partition.id;
        let context = || format!("read checkpoint {id}/{}", checkpoint.id);
        let stores = self.stores(dir, true)?;
        stores.restore(id, checkpoint).with_context(context)?;
        let store = stores.open(id).with_context(context)?;
        let digest = store.recompute_digest().with_context(context)?;
        found.checkpoints += 1;
        if digest != checkpoint.head.digest {
            let why = format!(
                "the rows of checkpoint {} have digest {digest:032x}, it says {:032x}",
                checkpoint.id, checkpoint.head.digest
            );
            self.tell(found, checkpoint.head.cursor, why);
        }
        drop(store);
        drop(stores);
        std::fs::remove_dir_all(dir).with_context(context)
    }

    /// Raw, folded, beside every digest on the way.
    async fn fold(&self, dir: &Path, found: &mut Compared) -> Result<()> {
        let id = self.partition.id;
        if self.bounds.start > 0 {
            // The oldest that raw continues is the ground.
            let fits = |one: &&Checkpoint| one.head.cursor >= self.bounds.start;
            let Some(oldest) = self.checkpoints.iter().find(fits) else { return Ok(()) };
            let stores = self.stores(dir, true)?;
            let restored = stores.restore(id, oldest);
            restored.with_context(|| format!("restore checkpoint {id}/{}", oldest.id))?;
            found.folded_from = oldest.head.cursor;
        }
        // Without checkpoints: the fold must not begin at what it is compared with.
        let stores = self.stores(dir, false)?;
        let options = options::processor_options(self.config, "")?;
        let recovery = Recovery::new(Arc::clone(self.log), Arc::clone(&stores), options);
        for Told { at, digest, by } in self.told(found.folded_from) {
            let head = recovery.fold_to(self.partition, at).await;
            let head = head.with_context(|| format!("fold partition {id} to {at}"))?;
            found.folded_to = Some(at);
            if head.digest != digest {
                let why = format!(
                    "folding raw to {at} gives digest {:032x}, {by} says {digest:032x}",
                    head.digest
                );
                self.tell(found, at, why);
            }
        }
        Ok(())
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

    fn tell(&self, found: &mut Compared, offset: Offset, why: String) {
        found.damaged += 1;
        let (topic, partition) = (self.topic.to_owned(), self.partition.id);
        let part = Part::State;
        found.damage.push(Damage { topic, partition, offset, before: None, part, why });
    }
}
