//! States compared beside nodes that go on: what of it is gone or cannot be read, and what is told of
//! the rest.

use std::path::Path;

use tempfile::TempDir;
use tickfold_ingress::tick;
use tickfold_log::mem::ReadFault;
use tickfold_log::{MemLog, TopicSpec};

use super::*;
use crate::config::Layers;
use crate::verify::records::Checks;
use crate::verify::{Line, Verifying};

const TOPIC: &str = "wa.webhook.raw.v1";
const NOON_MS: i64 = 1_795_132_800_000;
const HERE: Partition = Partition { id: 0, count: 1 };

/// A log of ticks, and checkpoints of what it gives.
struct World {
    mem: MemLog,
    log: Arc<dyn Log>,
    config: Config,
    checkpoints: Vec<Checkpoint>,
    _dir: TempDir,
}

async fn world(ticks: usize, cursors: &[Offset]) -> World {
    let dir = TempDir::new().unwrap();
    let mem = MemLog::new(NOON_MS);
    let name = TOPIC.to_owned();
    mem.ensure_topics_now(&[TopicSpec { name, partitions: 1, compacted: false }]).unwrap();
    let tick = tick(TopicPartition::new(TOPIC, 0), 1);
    mem.append_now(vec![tick; ticks]).unwrap();
    let mut config = Layers::defaults().unwrap().read().unwrap();
    config.data_dir = dir.path().join("data");
    config.store.checkpoint_dir = Some(dir.path().join("checkpoints"));
    std::fs::create_dir(&config.data_dir).unwrap();
    let log: Arc<dyn Log> = Arc::new(mem.clone());
    let mut world = World { mem, log, config, checkpoints: Vec::new(), _dir: dir };
    let stores = world.stores();
    let mut store = stores.open(0).unwrap();
    let options = options::processor_options(&world.config, "").unwrap();
    let fold = MutedFold::new(HERE, Arc::new(options));
    let raw = TopicPartition::new(TOPIC, 0);
    for cursor in cursors {
        while store.store_head().cursor < *cursor {
            fold.step(&world.mem, &raw, &mut *store, *cursor).await.unwrap();
        }
        world.checkpoints.push(store.checkpoint().unwrap());
    }
    world
}

impl World {
    fn stores(&self) -> RocksStores {
        let dir = self.config.data_dir.join("state");
        RocksStores::open(dir, options::store_options(&self.config)).unwrap()
    }

    /// As a node removes one.
    fn remove(&self, at: usize) {
        self.stores().remove_checkpoint(0, &self.checkpoints[at]).unwrap();
    }

    fn checkpoint_dir(&self, at: usize) -> std::path::PathBuf {
        let dir = self.config.store.checkpoint_dir.as_ref().unwrap();
        dir.join("0").join(&self.checkpoints[at].id)
    }

    async fn compare(&self) -> Compared {
        let bounds = self.log.bounds(&TopicPartition::new(TOPIC, 0)).await.unwrap();
        self.compare_within(bounds).await
    }

    async fn compare_within(&self, bounds: Bounds) -> Compared {
        let (config, log, checkpoints) = (&self.config, &self.log, self.checkpoints.clone());
        let (topic, partition, position) = (TOPIC, HERE, None);
        let workplace = &Workplace::take(&config.data_dir).unwrap();
        let states =
            States { config, log, topic, workplace, partition, bounds, checkpoints, position };
        states.run().await
    }

    async fn verify(&self) -> Vec<Line> {
        let checks = Checks { apps: &[], partition_count: 1, retired: &[] };
        let (log, config, topic) = (&self.log, &self.config, TOPIC);
        let (from, to) = (None, None);
        let workplace = Workplace::take(&config.data_dir).unwrap();
        let workplace = Some(&workplace);
        let verifying = Verifying { log, config, topic, checks, from, to, workplace };
        let mut lines = Vec::new();
        verifying.partition(0, None, &mut lines).await;
        lines
    }
}

fn damage_a_file(checkpoint: &Path) {
    let files = std::fs::read_dir(checkpoint).unwrap().map(|entry| entry.unwrap().path());
    let table = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "sst"));
    let table = table.unwrap();
    // Checkpoints share their tables.
    std::fs::remove_file(&table).unwrap();
    std::fs::write(table, b"another").unwrap();
}

#[tokio::test]
async fn a_checkpoint_that_is_removed_meanwhile_is_none() {
    let world = world(30, &[10, 20, 30]).await;
    world.remove(0);
    let compared = world.compare().await;
    assert!(compared.not_verified.is_empty(), "{compared:?}");
    assert_eq!((compared.checkpoints, compared.damaged), (2, 0), "{compared:?}");
    assert_eq!((compared.folded_from, compared.folded_to), (0, Some(30)));

    // The next one is the ground where raw lacks its beginning.
    world.mem.trim_now(&TopicPartition::new(TOPIC, 0), 5).unwrap();
    let compared = world.compare().await;
    assert!(compared.not_verified.is_empty(), "{compared:?}");
    assert_eq!((compared.folded_from, compared.folded_to), (20, Some(30)));
}

#[tokio::test]
async fn a_log_that_does_not_answer_leaves_what_was_found_and_is_told() {
    let world = world(30, &[10, 20]).await;
    damage_a_file(&world.checkpoint_dir(1));
    world.mem.fail_reads_with(Some(ReadFault::Unavailable));
    let lines = world.verify().await;
    let is_damage = |line: &&Line| matches!(line, Line::Damage(damage) if damage.offset == 20);
    assert!(lines.iter().any(|line| is_damage(&line)), "{lines:?}");
    let open: Vec<_> = lines.iter().filter(|line| matches!(line, Line::NotVerified(_))).collect();
    assert_eq!(open.len(), 1, "{lines:?}");

    // The rows of the other one are summed all the same.
    world.mem.fail_reads_with(None);
    let bounds = world.log.bounds(&TopicPartition::new(TOPIC, 0)).await.unwrap();
    world.mem.fail_reads_with(Some(ReadFault::Unavailable));
    let compared = world.compare_within(bounds).await;
    assert_eq!((compared.checkpoints, compared.not_verified.len()), (1, 2), "{compared:?}");
    assert_eq!(compared.damaged, 0, "{compared:?}");
}

#[tokio::test]
async fn a_record_that_cannot_be_given_to_the_fold_is_damage_of_the_log() {
    let world = world(30, &[10, 20]).await;
    let bounds = world.log.bounds(&TopicPartition::new(TOPIC, 0)).await.unwrap();
    world.mem.fail_reads_with(Some(ReadFault::Damaged));
    let compared = world.compare_within(bounds).await;
    let parts: Vec<_> = compared.damage.iter().map(|damage| damage.part).collect();
    assert_eq!((compared.checkpoints, parts), (2, vec![Part::Log]), "{compared:?}");
    assert!(compared.not_verified.is_empty(), "{compared:?}");
}

#[tokio::test]
async fn a_state_that_raw_does_not_give_is_told_at_each_place_where_it_is_known() {
    let mut world = world(30, &[10, 20]).await;
    world.checkpoints[1].head.digest ^= 1;
    let compared = world.compare().await;
    let offsets: Vec<_> = compared.damage.iter().map(|damage| damage.offset).collect();
    // What was listed is another one than what lies there, so its rows are not looked at.
    assert_eq!((offsets, compared.not_verified.len()), (vec![20], 1), "{compared:?}");
}
