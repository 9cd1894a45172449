//! History as a tool: raw folded once more, muted, beside what is live. `then` makes states of then for
//! lookups, `replay` shadows that are compared with the live state, and may take its place.

pub(crate) mod replay;
pub(crate) mod then;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tickfold_core::FOLD_VERSION;
use tickfold_core::fold::Partition;
use tickfold_log::{Committed, Log, Offset, TopicPartition};
use tickfold_processor::{MutedFold, Options};
use tickfold_store::{Checkpoint, RocksOptions, RocksStores, Stores as _, free_bytes};

use crate::config::Config;
use crate::options;
use crate::raw_topic::RawTopic;

/// Memory of states beside the live one at most: block cache, and write buffers. The greater the
/// buffers, the less often a row that changes is written to a file.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
const BUFFER_BYTES: usize = 128 * 1024 * 1024;

/// Bounds of a batch, which waits for no commit and nobody waits for: a row that changes often is
/// written once.
const BATCH_RECORDS_MAX: usize = 20_000;
const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
const BATCH_OUTPUTS_MAX: usize = 100_000;

/// What has to stay free of the disk: 1 GiB.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// What history is folded from, and where.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub log: Arc<dyn Log>,
    pub raw: RawTopic,
    /// The consumer group whose positions count.
    pub group: String,
    /// The live stores: but for a swap only views and checkpoints are used.
    pub live: Arc<RocksStores>,
    /// Directory of the live state, beside which everything else is put.
    pub state_dir: PathBuf,
    /// Of a store beside the live ones.
    pub store_options: RocksOptions,
    /// Bounds of a batch.
    pub fold_options: Arc<Options>,
    /// Bytes of the rows of one swap.
    pub swap_bytes_max: usize,
}

impl Ground {
    pub(crate) fn new(
        config: &Config,
        log: &Arc<dyn Log>,
        raw: &RawTopic,
        live: &Arc<RocksStores>,
        state_dir: PathBuf,
    ) -> Self {
        let store_options = RocksOptions {
            block_cache_bytes: CACHE_BYTES,
            write_buffer_bytes_total: BUFFER_BYTES,
            // After a crash it is folded on from wherever it is found.
            without_log: true,
            ..options::store_options(config)
        };
        let fold_options = Options {
            batch_records_max: BATCH_RECORDS_MAX,
            batch_bytes_max: BATCH_BYTES_MAX,
            batch_outputs_max: BATCH_OUTPUTS_MAX,
            ..Options::default()
        };
        Self {
            log: Arc::clone(log),
            raw: raw.clone(),
            group: config.group.clone(),
            live: Arc::clone(live),
            state_dir,
            store_options,
            fold_options: Arc::new(fold_options),
            swap_bytes_max: match config.kafka.brokers {
                Some(_) => replay::BYTES_MAX_KAFKA,
                None => replay::BYTES_MAX_EMBEDDED,
            },
        }
    }

    /// Where the group stands in a partition.
    pub(crate) async fn committed(
        &self,
        partition: u32,
    ) -> Result<Option<Committed>, tickfold_log::Error> {
        let positions = self.log.positions(&self.group, &self.raw.name).await?;
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        Ok(positions.into_iter().nth(index).flatten())
    }

    /// The raw partition.
    pub(crate) fn place(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(&*self.raw.name, partition)
    }

    /// The whole fold of a partition.
    pub(crate) fn fold(&self, partition: u32) -> MutedFold {
        let of = Partition { id: partition, count: self.raw.partitions };
        MutedFold::new(of, Arc::clone(&self.fold_options))
    }

    /// Checkpoints that this program can fold on and the log continues, up to an offset.
    fn checkpoints(
        &self,
        partition: u32,
        start: Offset,
        until: Offset,
    ) -> Result<Vec<Checkpoint>, tickfold_store::Error> {
        let mut checkpoints = self.live.checkpoints(partition)?;
        checkpoints.retain(|Checkpoint { head, .. }| {
            head.fold_version == FOLD_VERSION && (start..=until).contains(&head.cursor)
        });
        Ok(checkpoints)
    }
}

/// Refuses to go on where the disk is nearly full: the live state lies on it too, and comes first.
pub(crate) fn check_disk(dir: &std::path::Path) -> Result<()> {
    let free = free_bytes(dir).with_context(|| format!("look at {}", dir.display()))?;
    if free < FREE_BYTES_MIN {
        bail!("{free} bytes are free on the disk of {}: the live state needs them", dir.display());
    }
    Ok(())
}

/// Deletes a directory, if it is there.
pub(crate) fn remove_dir(dir: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.with_context(|| format!("remove {}", dir.display())),
    }
}
