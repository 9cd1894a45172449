//! The suite on rocks, and what a disk can do to it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tickfold_core::ids::Wamid;
use tickfold_core::overlay::Overlay;

use super::*;
use crate::conformance::random::Random;
use crate::conformance::{CASES_OF_THE_WRITER, Disk, run, run_all, write};
use crate::key;

#[derive(Debug)]
struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.path().join("checkpoints")
    }

    fn open(&self) -> RocksStores {
        let options = RocksOptions {
            checkpoint_dir: Some(self.checkpoints()),
            block_cache_bytes: 1 << 20,
            write_buffer_bytes_total: 4 << 20,
            ..RocksOptions::default()
        };
        RocksStores::open(self.data(), options).unwrap()
    }

    /// A checkpoint of partition 0 with so many batches, of stores that are closed again.
    fn checkpoint_of(&self, batches: u64) -> Checkpoint {
        let stores = self.open();
        let mut store = stores.open(0).unwrap();
        fill(&mut *store, batches);
        store.checkpoint().unwrap()
    }
}

impl Disk for Dir {
    fn stores(&self) -> Arc<dyn Stores> {
        Arc::new(self.open())
    }
}

#[test]
fn passes_the_suite() {
    run_all(&|| Box::new(Dir::new()));
}

/// Stores whose writers gather so many bytes.
#[derive(Debug)]
struct Bulk<T>(T, usize);

impl Disk for Bulk<Dir> {
    fn stores(&self) -> Arc<dyn Stores> {
        Arc::new(Bulk(self.0.open(), self.1))
    }
}

impl Stores for Bulk<RocksStores> {
    fn open(&self, partition: u32) -> Result<Box<dyn PartitionStore>, Error> {
        self.0.open_bulk(partition, self.1)
    }

    fn reject(&self, partition: u32, reason: &str) -> Result<(), Error> {
        self.0.reject(partition, reason)
    }

    fn checkpoints(&self, partition: u32) -> Result<Vec<Checkpoint>, Error> {
        self.0.checkpoints(partition)
    }

    fn remove_checkpoint(&self, partition: u32, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.0.remove_checkpoint(partition, checkpoint)
    }

    fn restore(&self, partition: u32, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.0.restore(partition, checkpoint)
    }

    fn view(&self, partition: u32) -> Arc<dyn ReadView> {
        self.0.view(partition)
    }
}

#[test]
fn a_writer_that_gathers_passes_what_concerns_it_of_the_suite() {
    // Each batch a file, some batches, and all of them.
    for bytes_max in [0, 20_000, usize::MAX] {
        run(CASES_OF_THE_WRITER, &|| Box::new(Bulk(Dir::new(), bytes_max)));
    }
}

#[test]
fn what_is_gathered_is_lost_as_a_whole_and_readers_see_an_earlier_batch() {
    let mut lost = Vec::new();
    for bytes_max in [0, 2_000, 20_000, usize::MAX] {
        let dir = Dir::new();
        let stores = dir.open();
        let mut store = stores.open_bulk(0, bytes_max).unwrap();
        let heads = fill(&mut *store, 40);
        let seen = stores.view(0).snapshot().unwrap().unwrap().store_head();
        let mut left: Vec<_> =
            fs::read_dir(dir.data()).unwrap().map(|e| e.unwrap().path()).collect();
        left.retain(|path| path.is_file());
        assert_eq!(left, [""; 0].map(PathBuf::from), "a file was moved to where it belongs");
        drop(store);
        drop(stores);
        let stores = dir.open();
        let mut store = stores.open(0).unwrap();
        let head = store.store_head();
        assert_eq!(head, seen, "{bytes_max}");
        assert_eq!(head, heads[usize::try_from(head.cursor).unwrap()], "{bytes_max}");
        assert_eq!(store.recompute_digest().unwrap(), head.digest, "{bytes_max}");
        lost.push(40 - head.cursor);
        write(&mut *store, 1, &message("next", 1));
        assert_eq!(store.recompute_digest().unwrap(), store.store_head().digest);
    }
    assert!(lost.is_sorted() && lost.first() == Some(&0) && lost.last() == Some(&40), "{lost:?}");
    assert!(lost.iter().any(|lost| (1..40).contains(lost)), "{lost:?}");
}

#[test]
fn what_is_gathered_outlives_a_checkpoint_that_fails() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open_bulk(0, usize::MAX).unwrap();
    fill(&mut *store, 5);
    // A directory in the place of the file.
    let place = dir.data().join("0.gathered");
    fs::create_dir(&place).unwrap();
    assert!(store.checkpoint().is_err());
    assert!(store.message(&"3".into()).unwrap().is_some());
    fs::remove_dir(&place).unwrap();
    let head = write(&mut *store, 1, &message("next", 1));
    store.flush().unwrap();
    assert_eq!(store.recompute_digest().unwrap(), head.digest);
    drop(store);
    let store = stores.open(0).unwrap();
    assert_eq!((store.store_head(), store.recompute_digest().unwrap()), (head, head.digest));
}

/// A file is in the database before its other name is gone.
#[test]
fn a_file_that_a_crash_left_beside_the_database_is_not_written_to() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open_bulk(0, 0).unwrap();
    fill(&mut *store, 1);
    let files = fs::read_dir(dir.data().join("0")).unwrap().map(|entry| entry.unwrap().path());
    let table = files.filter(|path| path.extension().is_some_and(|e| e == "sst")).max().unwrap();
    // The database may compact it away.
    let (left, kept) = (dir.data().join("0.gathered"), dir.data().join("kept"));
    let before = fs::read(&table).unwrap();
    fs::hard_link(&table, &left).unwrap();
    fs::hard_link(&table, &kept).unwrap();
    for batch in 1..8 {
        write(&mut *store, 1, &message(&batch.to_string(), batch));
    }
    assert!(fs::read(&kept).unwrap() == before && !left.exists());
    assert_eq!(store.recompute_digest().unwrap(), store.store_head().digest);
}

#[test]
fn stores_beside_each_other_share_their_memory() {
    let dir = Dir::new();
    let first = dir.open();
    let empty = first.shared.block_cache_usage();
    let beside: Vec<_> =
        (0..2).map(|at| first.beside(dir.0.path().join(at.to_string())).unwrap()).collect();
    for (stores, seed) in beside.iter().zip(1..) {
        let mut store = stores.open(7).unwrap();
        fill(&mut *store, 20);
        store.flush().unwrap();
        let before = first.shared.block_cache_usage();
        let snapshot = stores.view(7).snapshot().unwrap().unwrap();
        assert!(snapshot.message(&Wamid::from("3")).unwrap().is_some(), "{seed}");
        // None is open in the first: what was read counts there all the same.
        assert!(first.shared.block_cache_usage() > before, "{seed}");
    }
    assert!(!first.path(7).unwrap().exists(), "they are in directories of their own");
    assert_eq!(Dir::new().open().shared.block_cache_usage(), empty, "others have their own");
}

#[test]
fn budgets_hold_over_all_partitions_while_far_more_is_written_and_read() {
    let dir = Dir::new();
    let (cache_max, buffers_max) = (1 << 20, 2 << 20);
    let options = RocksOptions {
        block_cache_bytes: cache_max,
        write_buffer_bytes_total: buffers_max,
        ..RocksOptions::default()
    };
    let stores = RocksStores::open(dir.data(), options).unwrap();
    let [cache_max, buffers_max] = [cache_max, buffers_max].map(|max| u64::try_from(max).unwrap());
    let mut open: Vec<_> = (0..4).map(|id| stores.open(id).unwrap()).collect();
    let databases: Vec<_> = (0..4).map(|id| stores.slot(id).database().unwrap()).collect();
    let buffers = || databases.iter().map(|database| database.sizes().buffer_bytes).sum::<u64>();
    let (mut cache_most, mut buffers_most) = (0, 0);
    let mut random = Random::new(1);
    for round in 0..200 {
        for store in &mut open {
            let mut overlay = Overlay::default();
            for id in 0..50 {
                let wamid = Wamid::from(format!("{round}.{id}").as_str());
                let message = overlay.messages.entry(&wamid, |_| Ok(None)).unwrap();
                *message = Some(random.message());
            }
            write(&mut **store, 1, &overlay);
        }
        buffers_most = buffers_most.max(buffers());
    }
    open.iter_mut().for_each(|store| store.flush().unwrap());
    let written: u64 = databases.iter().map(|database| database.sizes().disk_bytes).sum();
    for (id, store) in (0..).zip(&open) {
        assert_eq!(store.recompute_digest().unwrap(), store.store_head().digest);
        let snapshot = stores.view(id).snapshot().unwrap().unwrap();
        for round in 0..200 {
            let wamid = Wamid::from(format!("{round}.7").as_str());
            assert!(snapshot.message(&wamid).unwrap().is_some());
            cache_most = cache_most.max(stores.shared.block_cache_usage());
        }
    }
    // Compressed.
    assert!(written > 3 * buffers_max, "{written}");
    // One that is flushed is still there until it is.
    assert!((buffers_max / 2..2 * buffers_max).contains(&buffers_most), "{buffers_most}");
    assert!((cache_max / 2..=cache_max).contains(&cache_most), "{cache_most}");
}

#[test]
fn many_partitions_that_write_in_turn_gather_their_rows_in_memory() {
    let dir = Dir::new();
    let stores = dir.open();
    // The buffers of so many begin with more than the budget, if each begins with a sixteenth.
    let mut open: Vec<_> = (0..40).map(|id| stores.open(id).unwrap()).collect();
    let databases: Vec<_> = (0..40).map(|id| stores.slot(id).database().unwrap()).collect();
    let flushed = || databases.iter().filter(|of| of.sizes().disk_bytes > 0).count();
    for round in 0..10 {
        for store in &mut open {
            write(&mut **store, 1, &message(&round.to_string(), round));
        }
    }
    assert_eq!(flushed(), 0);
    // And the budget is one all the same.
    for round in 10..800 {
        for store in &mut open {
            write(&mut **store, 1, &message(&round.to_string(), round));
        }
    }
    assert!(flushed() > 0);
}

#[test]
fn a_partition_that_has_no_writer_any_more_gives_its_part_of_the_budget_back() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open(0).unwrap();
    fill(&mut *store, 200);
    let database = stores.slot(0).database().unwrap();
    let buffer = || database.sizes().buffer_bytes;
    let before = buffer();
    drop(store);
    let begun = Instant::now();
    while buffer() > before / 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} of {before}", buffer());
        std::thread::yield_now();
    }
    assert!(stores.view(0).snapshot().unwrap().unwrap().message(&"7".into()).unwrap().is_some());
}

fn message(id: &str, seed: u64) -> Overlay {
    let mut overlay = Overlay::default();
    *overlay.messages.entry(&id.into(), |_| Ok(None)).unwrap() = Some(Random::new(seed).message());
    overlay
}

/// Heads after 0, 1, 2 … batches.
fn fill(store: &mut dyn PartitionStore, batches: u64) -> Vec<StoreHead> {
    let mut heads = vec![store.store_head()];
    for batch in 0..batches {
        heads.push(write(store, 1, &message(&batch.to_string(), batch)));
    }
    heads
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The newest log file of RocksDB.
fn wal(store: &Path) -> PathBuf {
    let files = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap()
}

#[test]
fn a_cut_log_opens_to_some_first_batches() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open(0).unwrap();
    let heads = fill(&mut *store, 40);
    // As a killed process leaves it: nothing flushed, nothing closed.
    let killed = dir.0.path().join("killed");
    copy(&dir.data().join("0"), &killed);
    let length = fs::metadata(wal(&killed)).unwrap().len();
    let mut cursors = BTreeSet::new();
    let mut random = Random::new(1);
    for cut in 0..40 {
        let length = match cut {
            0 => length,
            1 => 0,
            _ => random.number64() % length,
        };
        let crashed = Dir::new();
        let store = crashed.data().join("0");
        copy(&killed, &store);
        fs::OpenOptions::new().write(true).open(wal(&store)).unwrap().set_len(length).unwrap();
        let stores = crashed.open();
        let mut store = stores.open(0).unwrap();
        let head = store.store_head();
        assert_eq!(head, heads[usize::try_from(head.cursor).unwrap()], "cut at {length}");
        assert_eq!(store.recompute_digest().unwrap(), head.digest, "cut at {length}");
        if cut == 0 {
            assert_eq!(head.cursor, 40, "a killed process loses nothing");
        }
        // It goes on from there.
        write(&mut *store, 1, &message("next", 1));
        assert_eq!(store.recompute_digest().unwrap(), store.store_head().digest);
        cursors.insert(head.cursor);
    }
    assert!(cursors.len() > 10, "the cuts hardly differ: {cursors:?}");
}

#[test]
fn what_is_left_of_checkpoints_goes_once_it_is_old() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open(0).unwrap();
    fill(&mut *store, 1);
    let first = store.checkpoint().unwrap();
    let parent = dir.checkpoints().join("0");
    let old = SystemTime::now() - Duration::from_secs(7_200);
    let place = |name: &str, time: Option<SystemTime>| {
        let path = parent.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("000001.sst"), b"rest").unwrap();
        if let Some(time) = time {
            File::open(&path).unwrap().set_modified(time).unwrap();
        }
    };
    for (name, time) in [
        ("700.tmp", Some(old)),
        ("701", Some(old)),
        ("702.tmp", None),
        ("703", None),
        ("other", Some(old)),
    ] {
        place(name, time);
    }
    File::open(parent.join(&first.id)).unwrap().set_modified(old).unwrap();
    write(&mut *store, 1, &message("more", 1));
    let second = store.checkpoint().unwrap();
    let names = fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
    let left = [first.id.as_str(), &second.id, "702.tmp", "703", "other"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(left));
}

#[test]
fn a_restore_that_does_not_fit_is_not_begun_and_what_one_left_is_removed() {
    let dir = Dir::new();
    let made = dir.checkpoint_of(3);
    fs::remove_dir_all(dir.data().join("0")).unwrap();
    let target = dir.data().join("0");
    let restore =
        |free: u64| checkpoints::restore(&dir.checkpoints(), 0, &made, &target, |_| Ok(free));
    let left = || fs::read_dir(dir.data()).unwrap().count();
    let refused = restore(1).unwrap_err();
    let Error::Io { source, .. } = &refused else {
        panic!("another one would not fit either: {refused:?}")
    };
    assert!(source.to_string().ends_with("and 1 are free"), "{source}");
    assert_eq!(left(), 0);

    // A process that ends in the middle of it.
    let unfinished = dir.data().join("0.restoring");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("000009.sst"), b"part").unwrap();
    fs::create_dir(dir.data().join("0.rejected-any-1")).unwrap();
    let stores = dir.open();
    assert_eq!(left(), 1, "what was set aside stays");
    stores.restore(0, &made).unwrap();
    assert_eq!(stores.open(0).unwrap().store_head(), made.head);
}

/// A checkpoint that cannot be read is one that will not do, and not trouble of the store.
#[test]
fn a_checkpoint_that_cannot_be_read_is_unreadable() {
    let dir = Dir::new();
    let made = dir.checkpoint_of(1);
    let path = dir.checkpoints().join("0").join(&made.id);
    let table = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let table =
        table.into_iter().find(|path| path.extension().is_some_and(|of| of == "sst")).unwrap();
    // A directory in its place: to read it is an error of the file system.
    fs::remove_file(&table).unwrap();
    fs::create_dir(&table).unwrap();
    fs::remove_dir_all(dir.data().join("0")).unwrap();
    let refused = dir.open().restore(0, &made).unwrap_err();
    assert!(matches!(refused, Error::Unreadable { partition: 0, .. }), "{refused:?}");
}

#[test]
fn an_unknown_format_is_refused_and_can_be_set_aside() {
    let dir = Dir::new();
    fill(&mut *dir.open().open(0).unwrap(), 1);
    let path = dir.data().join("0");
    let raw = |format: Option<&[u8]>| {
        let db = rocksdb::DB::open(&rocksdb::Options::default(), &path).unwrap();
        match format {
            Some(format) => db.put(key::FORMAT, format).unwrap(),
            None => db.delete(key::FORMAT).unwrap(),
        }
    };
    let stores = dir.open();
    for format in [Some(&[0, 0, 0, 99_u8][..]), Some(b"1"), None] {
        raw(format);
        let refused = stores.open(0).unwrap_err();
        assert!(matches!(refused, Error::Unreadable { partition: 0, .. }), "{refused}");
    }
    stores.reject(0, "Format/Version").unwrap();
    assert!(dir.data().join("0.rejected--ormat--ersion-1").is_dir());
    assert_eq!(stores.open(0).unwrap().store_head(), StoreHead::EMPTY);
}

#[test]
fn a_store_of_the_first_format_gets_the_list_of_messages_by_number() {
    let dir = Dir::new();
    let stores = dir.open();
    let head = *fill(&mut *stores.open(0).unwrap(), 40).last().unwrap();
    let numbers = || (0..40).filter_map(|n| Random::new(n).message().facts.phone_number_id);
    let lists = |stores: &RocksStores| -> Vec<_> {
        let snapshot = stores.view(0).snapshot().unwrap().unwrap();
        numbers().map(|number| snapshot.messages_of_number(&number, None, 99).unwrap()).collect()
    };
    let wanted = lists(&stores);
    assert!(wanted.len() > 10 && wanted.iter().all(|list| !list.is_empty()));
    stores.close(0).unwrap();
    let path = dir.data().join("0");
    {
        let db = rocksdb::DB::open(&rocksdb::Options::default(), &path).unwrap();
        let lines = db.iterator(rocksdb::IteratorMode::Start).map(|row| row.unwrap().0);
        let of_numbers = |key: &[u8]| key.first() == Some(&(key::Family::MessageOfNumber as u8));
        let lines: Vec<_> = lines.filter(|key| of_numbers(key)).collect();
        assert_eq!(lines.len(), numbers().count());
        lines.iter().for_each(|line| db.delete(line).unwrap());
        db.put(key::FORMAT, 1_u32.to_be_bytes()).unwrap();
    }
    let mut store = stores.open(0).unwrap();
    assert_eq!((store.store_head(), store.recompute_digest().unwrap()), (head, head.digest));
    assert_eq!(lists(&stores), wanted);
    // Nothing is left to do, and it goes on as any other.
    write(&mut *store, 1, &message("next", 1));
    drop(store);
    stores.close(0).unwrap();
    let db = rocksdb::DB::open(&rocksdb::Options::default(), &path).unwrap();
    assert_eq!(db.get(key::FORMAT).unwrap().unwrap(), [0, 0, 0, 2]);
    assert_eq!(db.get(key::UNINDEXED).unwrap(), None);
}

#[test]
fn damaged_files_are_unreadable_not_io() {
    let dir = Dir::new();
    let stores = dir.open();
    fill(&mut *stores.open(0).unwrap(), 3);
    drop(stores);
    let path = dir.data().join("0");
    let current = fs::read_to_string(path.join("CURRENT")).unwrap();
    for damage in ["MANIFEST-999999\n", "nonsense"] {
        fs::write(path.join("CURRENT"), damage).unwrap();
        let refused = dir.open().open(0).unwrap_err();
        assert!(matches!(refused, Error::Unreadable { .. }), "{damage:?}: {refused:?}");
    }
    fs::write(path.join("CURRENT"), current).unwrap();
    assert_eq!(dir.open().open(0).unwrap().store_head().cursor, 3);
}

/// The first message that the writer cannot read, of those that [`fill`] wrote.
fn first_unreadable(store: &dyn PartitionStore, batches: u64) -> Option<u64> {
    (0..batches).find(|id| store.message(&id.to_string().as_str().into()).is_err())
}

fn is_unreadable<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unreadable { partition: 0, .. }))
}

#[test]
fn a_damaged_block_is_found_by_a_read_and_the_store_is_unreadable_until_it_is_replaced() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open(0).unwrap();
    let head = *fill(&mut *store, 400).last().unwrap();
    drop(store);
    stores.close(0).unwrap();
    let files = fs::read_dir(dir.data().join("0")).unwrap().map(|entry| entry.unwrap().path());
    let table = files.filter(|path| path.extension().is_some_and(|e| e == "sst")).max().unwrap();
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&table, bytes).unwrap();

    let mut store = stores.open(0).expect("what a start reads of it is whole");
    assert_eq!(store.store_head(), head);
    let view = stores.view(0);
    assert!(view.snapshot().unwrap().is_some());
    let damaged = (0..400).any(|id| {
        let found = view.snapshot().unwrap().unwrap().message(&id.to_string().as_str().into());
        is_unreadable(found)
    });
    assert!(damaged, "no message lies in the middle of the file");
    assert!(is_unreadable(store.checkpoint()), "those that there are may be whole");
    drop(store);
    assert!(is_unreadable(stores.open(0)));
    assert!(is_unreadable(stores.open(0)), "until it is set aside");
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), head, "readers go on");
    stores.reject(0, "unreadable").unwrap();
    let mut store = stores.open(0).expect("the new one is another");
    fill(&mut *store, 400);
    assert_eq!(first_unreadable(&*store, 400), None);
}

#[test]
fn a_checkpoint_that_was_made_with_the_damage_is_passed_over_once_it_showed() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open(0).unwrap();
    let good = *fill(&mut *store, 3).last().unwrap();
    let whole = store.checkpoint().unwrap();
    drop(store);
    stores.close(0).unwrap();
    let path = dir.data().join("0");
    let db = rocksdb::DB::open(&rocksdb::Options::default(), &path).unwrap();
    db.put(key::message(&"1".into()), b"no message").unwrap();
    drop(db);
    let mut store = stores.open(0).unwrap();
    write(&mut *store, 1, &message("next", 9));
    let with_damage = store.checkpoint().unwrap();
    assert_eq!(first_unreadable(&*store, 3), Some(1));
    drop(store);
    assert!(is_unreadable(stores.open(0)));

    // It is as it was made, so it is restored; once.
    stores.reject(0, "unreadable").unwrap();
    stores.restore(0, &with_damage).unwrap();
    let store = stores.open(0).unwrap();
    assert_eq!(first_unreadable(&*store, 3), Some(1));
    drop(store);
    assert!(is_unreadable(stores.open(0)));
    stores.reject(0, "unreadable").unwrap();
    assert!(is_unreadable(stores.restore(0, &with_damage)));
    stores.restore(0, &whole).unwrap();
    let store = stores.open(0).unwrap();
    assert_eq!((store.store_head(), first_unreadable(&*store, 3)), (good, None));
}

#[test]
fn stores_that_are_set_aside_again_and_again_stay_a_few() {
    let dir = Dir::new();
    let stores = dir.open();
    let rejected = |reason: &str, batches: u64| {
        fill(&mut *stores.open(3).unwrap(), batches);
        stores.reject(3, reason).unwrap();
    };
    // Each start makes one where there is none, and a restore wants the place.
    rejected("missing", 0);
    rejected("missing", 0);
    assert_eq!(names(&dir), [""; 0]);
    (1..=5).for_each(|batches| rejected("digest-differs", batches));
    rejected("unreadable", 1);
    let aside = |n: u64| format!("3.rejected-digest-differs-{n}");
    let last = "3.rejected-unreadable-1".to_owned();
    assert_eq!(names(&dir), [aside(1), aside(2), aside(3), last]);
    // What it began with, and the newest.
    for (n, batches) in [(1, 1), (2, 2), (3, 5)] {
        let place = BTreeMap::from([(3, dir.data().join(aside(n)))]);
        let stores = RocksStores::at(place, RocksOptions::default());
        assert_eq!(stores.open(3).unwrap().store_head().cursor, batches);
    }
    // One that took over is not taken for the empty one that readers still have.
    drop(stores.open(3).unwrap());
    let (from, head) = beside(&dir, 5);
    stores.prepare(3, 7, Some(&from), head).unwrap();
    stores.succeed(3).unwrap();
    stores.reject(3, "any").unwrap();
    assert!(dir.data().join("3.rejected-any-1").exists());
}

#[test]
fn a_second_process_is_kept_out() {
    let dir = Dir::new();
    let (one, other) = (dir.open(), dir.open());
    let _store = one.open(0).unwrap();
    assert!(matches!(other.open(0), Err(Error::Io { .. })));
}

#[test]
fn an_unfinished_checkpoint_is_not_listed_and_made_anew() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open(0).unwrap();
    fill(&mut *store, 2);
    let made = store.checkpoint().unwrap();
    let path = dir.0.path().join("checkpoints/0/2");
    let manifest = path.join("tickfold.manifest");
    let good = fs::read(&manifest).unwrap();
    fs::write(&manifest, &good[1..]).unwrap();
    assert_eq!(stores.checkpoints(0).unwrap(), []);
    fs::remove_file(&manifest).unwrap();
    assert_eq!(stores.checkpoints(0).unwrap(), []);
    assert_eq!(store.checkpoint().unwrap(), made);
    assert_eq!(stores.checkpoints(0).unwrap(), [made]);
    // Sums that were kept of the table files are those of the files.
    let whole = CheckpointDir::new(dir.0.path().join("checkpoints")).verify(0, 2);
    assert_eq!(whole.unwrap(), Some(Vec::new()));
    fs::create_dir(path.with_file_name("3")).unwrap();
    fs::create_dir(path.with_file_name("notes")).unwrap();
    assert_eq!(stores.checkpoints(0).unwrap().len(), 1);
}

#[test]
fn without_a_place_there_are_no_checkpoints() {
    let dir = Dir::new();
    let stores = RocksStores::open(dir.data(), RocksOptions::default()).unwrap();
    assert!(stores.open(0).unwrap().checkpoint().is_err());
    assert_eq!(stores.checkpoints(0).unwrap(), []);
}

#[test]
fn a_store_is_not_moved_under_its_readers() {
    let dir = Dir::new();
    let stores = Arc::new(dir.open());
    fill(&mut *stores.open(0).unwrap(), 5);
    let snapshot = stores.view(0).snapshot().unwrap().unwrap();
    let rejecting = {
        let stores = Arc::clone(&stores);
        std::thread::spawn(move || stores.reject(0, "test"))
    };
    // Until the store is taken from readers, then a little of the wait for this one.
    while stores.view(0).snapshot().unwrap().is_some() {
        std::thread::yield_now();
    }
    assert!(dir.data().join("0").exists());
    assert_eq!(snapshot.store_head().cursor, 5);
    assert!(snapshot.message(&"4".into()).unwrap().is_some());
    drop(snapshot);
    rejecting.join().unwrap().unwrap();
    assert!(dir.data().join("0.rejected-test-1").exists());
}

/// A store of so many batches in a directory of its own, closed.
fn beside(dir: &Dir, batches: u64) -> (PathBuf, StoreHead) {
    let place = dir.0.path().join(format!("beside-{batches}"));
    let stores = RocksStores::open(&place, RocksOptions::default()).unwrap();
    let head = *fill(&mut *stores.open(3).unwrap(), batches).last().unwrap();
    stores.close(3).unwrap();
    (place.join("3"), head)
}

/// Names of what is there of partition 3.
fn names(dir: &Dir) -> Vec<String> {
    let names = fs::read_dir(dir.data()).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with('3'));
    names.sort();
    names
}

#[test]
fn a_next_generation_takes_over_and_readers_finish_on_the_old_one() {
    let dir = Dir::new();
    let stores = dir.open();
    let old = *fill(&mut *stores.open(3).unwrap(), 2).last().unwrap();
    let view = stores.view(3);
    let (from, head) = beside(&dir, 5);
    assert_eq!(stores.next_generation(3).unwrap(), None);
    assert!(stores.succeed(3).is_err(), "none is prepared");
    stores.prepare(3, 7, Some(&from), head).unwrap();
    assert_eq!(stores.next_generation(3).unwrap(), Some(NextStore { turn: 1, head }));
    assert!(!from.exists());
    // It is the same over a restart, and the live one is still the live one.
    assert_eq!(dir.open().generations(3).unwrap().next, Some(7));
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), old);

    let reading = view.snapshot().unwrap().unwrap();
    stores.succeed(3).unwrap();
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), old, "until it is opened");
    let store = stores.open(3).unwrap();
    assert_eq!(store.store_head(), head);
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), head);
    assert!(reading.message(&"1".into()).unwrap().is_some());
    assert!(reading.message(&"4".into()).unwrap().is_none());
    let expected = StoreGenerations { live: 7, kept: Some(0), next: None, turns: 1 };
    assert_eq!(stores.generations(3).unwrap(), expected);
    drop((store, reading, view));

    // Back to the kept one, which does not move; and on to a third one, for which the oldest makes room.
    stores.prepare(3, 0, None, old).unwrap();
    stores.succeed(3).unwrap();
    assert_eq!(stores.open(3).unwrap().store_head(), old);
    let (from, head) = beside(&dir, 4);
    stores.prepare(3, 8, Some(&from), head).unwrap();
    stores.succeed(3).unwrap();
    assert_eq!(stores.open(3).unwrap().store_head(), head);
    stores.tidy(3).unwrap();
    assert_eq!(names(&dir), ["3", "3.g8", "3.generations"]);
    // One that is to take over again is not forgotten before it is known that it did not.
    stores.prepare(3, 0, None, old).unwrap();
    assert!(stores.forget_kept(3, false).is_err());
    assert_eq!(names(&dir), ["3", "3.g8", "3.generations"]);
    assert!(stores.forget_kept(3, true).unwrap() && !stores.forget_kept(3, false).unwrap());
    assert_eq!(stores.next_generation(3).unwrap(), None);
    assert_eq!(names(&dir), ["3.g8", "3.generations"]);
    // What is set aside and restored is the live one, wherever that is.
    stores.open(3).unwrap().checkpoint().unwrap();
    stores.reject(3, "any").unwrap();
    let made = stores.checkpoints(3).unwrap();
    stores.restore(3, &made[0]).unwrap();
    assert_eq!(stores.open(3).unwrap().store_head(), head);
    assert_eq!(names(&dir), ["3.g8", "3.generations", "3.rejected-any-1"]);
}

#[test]
fn one_that_never_became_live_goes_back_or_makes_room() {
    let dir = Dir::new();
    let stores = dir.open();
    fill(&mut *stores.open(3).unwrap(), 1);
    let (from, head) = beside(&dir, 2);
    stores.prepare(3, 7, Some(&from), head).unwrap();
    stores.withdraw(3, &from).unwrap();
    assert!(from.exists());
    assert_eq!((stores.generations(3).unwrap().next, names(&dir).len()), (None, 2));
    stores.prepare(3, 7, Some(&from), head).unwrap();
    let (other, head) = beside(&dir, 3);
    stores.prepare(3, 9, Some(&other), head).unwrap();
    assert_eq!(names(&dir), ["3", "3.g9", "3.generations"]);
    assert_eq!(stores.generations(3).unwrap().turns, 3);

    // A list that is damaged names the first store.
    let list = dir.data().join("3.generations");
    let mut bytes = fs::read(&list).unwrap();
    bytes[0] ^= 1;
    fs::write(&list, bytes).unwrap();
    assert_eq!(stores.generations(3).unwrap(), StoreGenerations::default());
    // But nothing is moved or removed by it: the live one may be among those that it does not name.
    let (left, (from, head)) = (names(&dir), beside(&dir, 4));
    assert!(stores.tidy(3).is_err() && stores.forget_kept(3, true).is_err());
    assert!(stores.prepare(3, 11, Some(&from), head).is_err() && stores.succeed(3).is_err());
    assert_eq!(names(&dir), left);
}

#[test]
fn one_that_is_prepared_is_listed_before_it_is_moved() {
    let dir = Dir::new();
    let stores = dir.open();
    fill(&mut *stores.open(3).unwrap(), 1);
    let (from, head) = beside(&dir, 2);
    // A list that cannot be written, and a process that ends there: nothing was moved.
    let unfinished = dir.data().join("3.generations.tmp");
    fs::create_dir(&unfinished).unwrap();
    assert!(stores.prepare(3, 7, Some(&from), head).is_err());
    fs::remove_dir(&unfinished).unwrap();
    stores.tidy(3).unwrap();
    assert!(from.exists());
    // One that ends between the two.
    stores.prepare(3, 7, Some(&from), head).unwrap();
    fs::rename(dir.data().join("3.g7"), &from).unwrap();
    let stores = dir.open();
    stores.tidy(3).unwrap();
    stores.withdraw(3, &from).unwrap();
    assert_eq!(stores.next_generation(3).unwrap(), None);
    stores.prepare(3, 7, Some(&from), head).unwrap();
    stores.succeed(3).unwrap();
    assert_eq!(stores.open(3).unwrap().store_head(), head);
}

#[test]
fn a_list_that_the_disk_does_not_give_names_no_store() {
    let dir = Dir::new();
    let stores = dir.open();
    let old = *fill(&mut *stores.open(3).unwrap(), 2).last().unwrap();
    let (from, head) = beside(&dir, 5);
    stores.prepare(3, 7, Some(&from), head).unwrap();
    stores.succeed(3).unwrap();
    // A directory in its place is there and cannot be read.
    let (list, away) = (dir.data().join("3.generations"), dir.data().join("away"));
    fs::rename(&list, &away).unwrap();
    fs::create_dir(&list).unwrap();
    let left = names(&dir);
    let refused = stores.open(3).map(|_| ());
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    let refused = stores.reject(3, "any");
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    let refused = stores.next_generation(3);
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    let refused = stores.generations(3);
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert_eq!(
        names(&dir),
        left,
        "the store of before is no empty place, and nothing was set aside"
    );
    fs::remove_dir(&list).unwrap();
    fs::rename(&away, &list).unwrap();
    assert_eq!(stores.open(3).unwrap().store_head(), head);
    assert_ne!(head, old);
}

#[test]
fn a_moment_that_a_write_ended_while_it_was_looked_at_is_not_shared() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open(0).unwrap();
    fill(&mut *store, 1);
    let (slot, view) = (stores.slot(0), stores.view(0));
    let looked = || {
        let served = lock(&slot.served);
        let served = served.as_ref().unwrap();
        let rows = SnapshotRows::new(Arc::clone(&served.database));
        let head = RowsSnapshot::new(rows.clone(), 0).unwrap().store_head();
        (Arc::clone(&served.database), served.writes, (rows, head))
    };
    let share = |(database, writes, latest): (_, _, _)| {
        lock(&slot.served).as_mut().unwrap().share(&database, writes, latest);
    };
    let before = looked();
    let head = write(&mut *store, 1, &message("new", 9));
    share(before);
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), head);
    // Nor one of a database that is another by now.
    let (database, _, latest) = looked();
    drop(stores.open(1).unwrap());
    *lock(&slot.served) = stores.slot(1).database().map(Served::of);
    share((database, 0, latest));
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), StoreHead::EMPTY);
}

#[test]
fn what_is_only_on_the_disk_is_not_in_memory_until_it_was_read() {
    let dir = Dir::new();
    let stores = dir.open();
    let mut store = stores.open(0).unwrap();
    let view = stores.view(0);
    let (key, wanted) = (Wamid::from("7"), Random::new(7).message());
    // More than the block that the head is in.
    fill(&mut *store, 400);
    let in_memory = || view.snapshot_in_memory().unwrap().unwrap();
    assert_eq!(in_memory().message(&key).unwrap(), Some(wanted.clone()), "in the buffer");

    drop(store);
    stores.close(0).unwrap();
    let mut store = stores.open(0).unwrap();
    // Opening reads the head, and nothing of the family of messages.
    assert!(matches!(in_memory().message(&key), Err(Error::NotInMemory)));
    let from_disk = view.snapshot().unwrap().unwrap();
    assert_eq!(from_disk.message(&key).unwrap(), Some(wanted.clone()));
    assert_eq!(in_memory().message(&key).unwrap(), Some(wanted), "read before");

    // Those who ask between two writes share a moment; a write ends it, and no one waits for them.
    let before = in_memory();
    let head = write(&mut *store, 1, &message("new", 9));
    assert_eq!(in_memory().store_head(), head);
    assert!(in_memory().message(&"new".into()).unwrap().is_some());
    assert_ne!(before.store_head(), head);
    assert_eq!(before.message(&"new".into()).unwrap(), None);
    drop((before, from_disk, store));
    stores.close(0).unwrap();
    assert!(view.snapshot_in_memory().unwrap().is_none(), "closed");
}
