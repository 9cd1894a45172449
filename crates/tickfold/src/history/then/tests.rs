//! What is kept of a state of then, for how long, and what it begins on.

use tempfile::TempDir;
use tickfold_ingress::tick;
use tickfold_log::{Log, MemLog, TopicPartition, TopicSpec};
use tickfold_processor::raw_topic;

use super::*;
use crate::config::Layers;
use crate::raw_topic::RawTopic;

const NOON_MS: i64 = 1_795_132_800_000;
const STEP: u64 = STEP_RECORDS as u64;

struct World {
    log: MemLog,
    then: Then,
    dir: TempDir,
}

impl World {
    /// A log of ticks, and a node with a checkpoint at each of these.
    async fn new(ticks: usize, checkpoints: &[Offset]) -> Self {
        let dir = TempDir::new().unwrap();
        let log = MemLog::new(NOON_MS);
        let name = raw_topic("wa");
        let spec = TopicSpec { name: name.clone(), partitions: 1, compacted: false };
        log.ensure_topics_now(&[spec]).unwrap();
        let tick = tick(TopicPartition::new(&*name, 0), 1);
        log.append_now(vec![tick; ticks]).unwrap();
        let mut config = Layers::defaults().unwrap().read().unwrap();
        config.store.checkpoint_dir = Some(dir.path().join("checkpoints"));
        let state_dir = dir.path().join("state");
        let options = crate::options::store_options(&config);
        let live = Arc::new(RocksStores::open(&state_dir, options).unwrap());
        let shared: Arc<dyn Log> = Arc::new(log.clone());
        let raw = RawTopic { name, partitions: 1 };
        let ground = Ground::new(&config, &shared, &raw, &live, state_dir);
        let mut store = live.open(0).unwrap();
        for cursor in checkpoints {
            let (fold, place) = (ground.fold(0), ground.place(0));
            while fold.step(&log, &place, &mut *store, *cursor).await.unwrap().is_some() {}
            store.checkpoint().unwrap();
        }
        Self { log, then: Then::new(ground).unwrap(), dir }
    }

    async fn at(&self, offset: Offset) -> Result<Offset, NotThen> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let made = self.then.at(0, Moment::Offset(offset), deadline).await?;
        Ok(made.store_head().cursor)
    }

    /// Where the store stands that is kept.
    async fn kept(&self) -> Option<Offset> {
        self.then.kept.lock().await.get(&0).map(Private::cursor)
    }

    fn dirs(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("state/then")).unwrap().count()
    }
}

#[tokio::test]
async fn what_is_folded_stays_where_a_call_goes_away() {
    let world = World::new(3 * STEP_RECORDS, &[]).await;
    assert_eq!(world.at(STEP).await, Ok(STEP));
    world.log.hold_reads(true);
    let gone = tokio::time::timeout(Duration::from_millis(50), world.at(3 * STEP)).await;
    assert!(gone.is_err(), "{gone:?}");
    // The log does not answer, and holds nobody up.
    let kept = tokio::time::timeout(Duration::from_secs(20), world.kept()).await;
    assert_eq!(kept, Ok(Some(STEP)));
    world.log.hold_reads(false);
    assert_eq!(world.at(3 * STEP).await, Ok(3 * STEP));
    assert_eq!(world.dirs(), 1, "it was folded on");
}

#[tokio::test]
async fn a_call_without_time_leaves_what_it_began_for_the_next_one() {
    let world = World::new(STEP_RECORDS, &[]).await;
    let soon = Instant::now() + MARGIN / 2;
    let made = world.then.at(0, Moment::Offset(STEP), soon).await;
    let reason = made.err().map(|why| why.reason);
    assert_eq!(reason, Some(Reason::DeadlineExceeded));
    assert_eq!(world.at(STEP).await, Ok(STEP));
}

#[tokio::test]
async fn a_checkpoint_that_is_damaged_is_left_out_for_an_older_one() {
    let world = World::new(50, &[10, 20, 30]).await;
    let newest = world.dir.path().join("checkpoints/0/30");
    let files = std::fs::read_dir(newest).unwrap().map(|entry| entry.unwrap().path());
    let table = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "sst"));
    let table = table.unwrap();
    // Checkpoints share their tables.
    std::fs::remove_file(&table).unwrap();
    std::fs::write(table, b"another").unwrap();
    world.log.trim_now(&world.then.ground.place(0), 15).unwrap();
    assert_eq!(world.at(40).await, Ok(40));
    assert_eq!(world.dirs(), 1, "of the other one nothing is left");
    // Without one that reaches back it says what is wrong with it.
    world.log.trim_now(&world.then.ground.place(0), 25).unwrap();
    let refused = world.at(35).await.err();
    assert!(refused.is_some_and(|why| why.message.contains("checkpoint 30")));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_nobody_asks_for_is_gone_after_a_while() {
    let world = World::new(10, &[]).await;
    assert_eq!(world.at(10).await, Ok(10));
    tokio::time::sleep(KEPT - PRUNE_PAUSE).await;
    assert_eq!((world.kept().await, world.dirs()), (Some(10), 1));
    tokio::time::sleep(3 * PRUNE_PAUSE).await;
    assert_eq!((world.kept().await, world.dirs()), (None, 0));
}
