//! Making checkpoints and removing old ones.

use tickfold_store::{Checkpoint, Error, PartitionStore, Stores};

/// Makes a checkpoint of the store and removes all but the newest `kept` ones, at least one.
///
/// Only those count that a store at this position, of this fold version, could have made: a start
/// picks the newest at or below its position, so one above it must not push out one that will do.
/// An error may mean that the checkpoint is made and an old one is still there.
pub fn take_checkpoint(
    store: &mut dyn PartitionStore,
    stores: &dyn Stores,
    partition: u32,
    kept: usize,
) -> Result<Checkpoint, Error> {
    let made = store.checkpoint()?;
    let counts = |checkpoint: &Checkpoint| {
        checkpoint.head.cursor <= made.head.cursor
            && checkpoint.head.fold_version == made.head.fold_version
    };
    let newest_first = stores.checkpoints(partition)?.into_iter().filter(counts);
    for old in newest_first.skip(kept.max(1)) {
        stores.remove_checkpoint(partition, &old)?;
    }
    Ok(made)
}
