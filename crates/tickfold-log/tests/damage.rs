//! Damage to the embedded log's files: every acknowledged record is there, or the log says that it
//! is not, and from where on. Never silently fewer.
//!
//! One directory with known acknowledged records is built; each case damages a copy and opens it.
//! `TICKFOLD_SOAK=1` cuts at every byte of the last 64 KiB instead of 500 sampled ones, and flips
//! ten times as many bits.

#![cfg(feature = "embedded")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test: whatever is unexpected fails it"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tempfile::TempDir;
use tickfold_log::{
    Append, Clock, Committed, EmbeddedLog, EmbeddedOptions, Error, Log, Offset, Record,
    TopicPartition, TopicSpec,
};
use tokio::runtime::Runtime;

const TAIL: u64 = 64 * 1024;

/// What was acknowledged.
#[derive(Debug, Clone, Default)]
struct Acknowledged {
    records: BTreeMap<TopicPartition, Vec<Record>>,
    /// Where partitions were trimmed to.
    starts: BTreeMap<TopicPartition, Offset>,
    committed: Option<Committed>,
}

/// A closed log and what it must hold.
struct Scene {
    dir: TempDir,
    acknowledged: Acknowledged,
    /// The same before the last group: what it must hold if that group had not been answered.
    before: Acknowledged,
    /// The mark then, and how long the newest WAL was.
    mark_before: Vec<u8>,
    wal_before: u64,
    /// Where groups ended: the newest WAL and its length after each answer.
    ends: BTreeSet<(PathBuf, u64)>,
    delay_flush: bool,
}

#[derive(Debug)]
enum Outcome {
    Intact,
    /// At opening or at reading, with the first lost position.
    Refused(&'static str, Option<(TopicPartition, Offset)>, String),
    Lost(String),
}

#[derive(Debug, Default)]
struct Counts {
    attempted: usize,
    refused_at_open: usize,
    refused_at_read: usize,
    intact: usize,
    lost: usize,
}

#[test]
fn cuts_of_the_tail_are_noticed() {
    let scene = Scene::build(false);
    let wal = scene.newest_wal();
    let len = fs::metadata(scene.dir.path().join(&wal)).unwrap().len();
    let cuts: Vec<u64> = match soak() {
        true => (len - TAIL..len).collect(),
        false => sampled(len - TAIL, len, 500),
    };
    let mut counts = Counts::default();
    for cut in &cuts {
        let outcome = scene.case(|dir| truncate(&dir.join(&wal), *cut), &scene.acknowledged, false);
        counts.count(&format!("cut at {cut} of {len}"), &outcome);
    }
    println!("cuts of the tail: {counts:?}");
    counts.append_to_soak_table("embedded log: newest WAL cut");
    assert_eq!(counts.refused_at_open, cuts.len(), "every cut takes acknowledged bytes away");

    // The null control: without the mark the same cuts lose records without a word.
    let mut control = Counts::default();
    for cut in sampled(len - TAIL, len, 100) {
        let outcome = scene.case(|dir| truncate(&dir.join(&wal), cut), &scene.acknowledged, true);
        control.add(&outcome);
    }
    println!("cuts of the tail, mark not checked: {control:?}");
    assert!(control.lost > 0, "the control shows that the cuts are harmful");
}

/// A WAL that is not the newest, cut at the end of a record, looks whole, and what follows in the
/// next one hides the hole: the latest sequence is as high as the mark.
#[test]
fn cuts_of_an_older_wal_are_noticed() {
    let scene = Scene::build(true);
    let newest = scene.newest_wal();
    let mut counts = Counts::default();
    let older: BTreeSet<_> =
        scene.ends.iter().map(|(wal, _)| wal).filter(|w| **w != newest).collect();
    assert!(older.len() >= 2, "{:?}", scene.ends);
    for wal in older {
        let len = fs::metadata(scene.dir.path().join(wal)).unwrap().len();
        let at_ends = scene.ends.iter().filter(|(of, end)| of == wal && *end < len);
        let cuts = at_ends.map(|(_, end)| *end).chain(sampled(0, len, 50));
        for cut in cuts.collect::<BTreeSet<_>>() {
            let damage = |dir: &Path| truncate(&dir.join(wal), cut);
            let outcome = scene.case(damage, &scene.acknowledged, false);
            let case = format!("cut of {} at {cut} of {len}", wal.display());
            counts.count(&case, &outcome);
            assert!(matches!(outcome, Outcome::Refused("open", ..)), "{case}: {outcome:?}");
        }
        for _ in 0..20 {
            let flip = |dir: &Path| {
                let mut bytes = fs::read(dir.join(wal)).unwrap();
                let at = Random(len + counts.attempted as u64).below(len) as usize;
                bytes[at] ^= 16;
                fs::write(dir.join(wal), bytes).unwrap();
            };
            let outcome = scene.case(flip, &scene.acknowledged, false);
            counts.count(&format!("flipped bit in {}", wal.display()), &outcome);
        }
    }
    println!("cuts of older WALs: {counts:?}");
    counts.append_to_soak_table("embedded log: older WAL cut or flipped");
}

#[test]
fn a_torn_group_that_was_not_answered_opens() {
    let scene = Scene::build(false);
    let wal = scene.newest_wal();
    let len = fs::metadata(scene.dir.path().join(&wal)).unwrap().len();
    let mut counts = Counts::default();
    for cut in sampled(scene.wal_before, len, 60) {
        let torn = |dir: &Path| {
            fs::write(dir.join("mark"), &scene.mark_before).unwrap();
            truncate(&dir.join(&wal), cut);
        };
        let outcome = scene.torn_case(torn);
        counts.count(&format!("torn at {cut} of {len}"), &outcome);
    }
    println!("torn groups: {counts:?}");
    counts.append_to_soak_table("embedded log: group torn before its answer");
    assert_eq!(counts.intact, counts.attempted, "a crash during a write must not refuse the log");
}

/// What the other tests rest on: only what was acknowledged is intact, and nothing beside it.
#[test]
fn what_is_not_as_it_was_acknowledged_is_seen() {
    let scene = Scene::build(false);
    let looked = |must: &Acknowledged| scene.case(|_| (), must, false);
    assert!(matches!(looked(&scene.acknowledged), Outcome::Intact), "the null control");
    let Committed { offset, metadata } = scene.acknowledged.committed.clone().unwrap();
    let lower = Committed { offset: offset - 1, metadata: metadata.clone() };
    let other_token = Committed { offset, metadata: format!("{metadata}0") };
    for committed in [None, Some(lower), Some(other_token)] {
        let seen = looked(&Acknowledged { committed, ..scene.acknowledged.clone() });
        assert!(matches!(seen, Outcome::Lost(_)), "{seen:?}");
    }
    for partition in scene.acknowledged.records.keys() {
        let mut one_more = scene.acknowledged.clone();
        one_more.records.get_mut(partition).unwrap().pop();
        let seen = looked(&one_more);
        assert!(matches!(seen, Outcome::Lost(_)), "{partition}: {seen:?}");
    }
}

#[test]
fn flipped_bits_are_noticed() {
    let scene = Scene::build(false);
    let files = files(scene.dir.path());
    let files: Vec<_> = files.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    let mut random = Random(0x5eed);
    let mut by_file: BTreeMap<String, Counts> = BTreeMap::new();
    let mut all = Counts::default();
    for round in 0..if soak() { 2_000 } else { 200 } {
        let (file, bytes) = &files[round % files.len()];
        // Most of the mark is room for more; its used part gets every second flip.
        let used = if file.ends_with("mark") && random.below(2) == 0 { 200 } else { bytes.len() };
        let at = random.below(used as u64) as usize;
        let bit = random.below(8);
        let flip = |dir: &Path| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            fs::write(dir.join(file), bytes).unwrap();
        };
        let outcome = scene.case(flip, &scene.acknowledged, false);
        all.count(&format!("bit {bit} of byte {at} of {}", file.display()), &outcome);
        by_file.entry(file.display().to_string()).or_default().add(&outcome);
    }
    for (file, counts) in by_file {
        println!("flipped bits in {file}: {counts:?}");
    }
    println!("flipped bits: {all:?}");
    all.append_to_soak_table("embedded log: one bit flipped");
    assert!(all.refused_at_open > 0 && all.intact > 0);
}

/// Some of these bits make RocksDB read the same record for ever instead of refusing it: the case
/// that was found by flipping 2,000 bits. Every bit of the manifest's types, and every type of the
/// WAL.
#[test]
fn flipped_record_types_are_noticed() {
    let scene = Scene::build(false);
    let is_manifest = |file: &&PathBuf| file.to_string_lossy().contains("MANIFEST");
    let manifest = files(scene.dir.path()).keys().find(is_manifest).unwrap().clone();
    let mut counts = Counts::default();
    for file in [manifest, scene.newest_wal()] {
        let bytes = fs::read(scene.dir.path().join(&file)).unwrap();
        let types = type_bytes(&bytes);
        let all = types.len() < 20;
        for (n, at) in types.into_iter().enumerate() {
            for bit in if all { 0..8 } else { 2..3 } {
                if !all && n % 5 != 0 && !soak() {
                    continue;
                }
                let flip = |dir: &Path| {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= 1 << bit;
                    fs::write(dir.join(&file), bytes).unwrap();
                };
                let outcome = scene.case(flip, &scene.acknowledged, false);
                let case = format!("bit {bit} of type byte {at} of {}", file.display());
                counts.count(&case, &outcome);
                assert!(matches!(outcome, Outcome::Refused("open", ..)), "{case}: {outcome:?}");
            }
        }
    }
    println!("flipped record types: {counts:?}");
}

/// Where the types of the records are in a WAL or manifest: blocks of 32 KiB, and in them records
/// of CRC u32, length u16, type u8 and content.
fn type_bytes(bytes: &[u8]) -> Vec<usize> {
    let mut types = Vec::new();
    let mut at = 0;
    while at + 7 <= bytes.len() {
        let left = 32 * 1024 - at % (32 * 1024);
        if left < 7 {
            at += left;
            continue;
        }
        types.push(at + 6);
        at += 7 + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
    }
    types
}

#[test]
fn missing_files_are_noticed() {
    let scene = Scene::build(false);
    let mut counts = Counts::default();
    for (file, _) in files(scene.dir.path()) {
        let remove = |dir: &Path| fs::remove_file(dir.join(&file)).unwrap();
        let outcome = scene.case(remove, &scene.acknowledged, false);
        println!("without {}: {outcome:?}", file.display());
        counts.count(&format!("without {}", file.display()), &outcome);
    }
    let nothing =
        scene.case(|dir| fs::remove_dir_all(dir.join("db")).unwrap(), &scene.acknowledged, false);
    counts.count("without the database", &nothing);
    assert!(matches!(nothing, Outcome::Refused("open", Some(_), _)), "{nothing:?}");
    println!("missing files: {counts:?}");
}

/// What the whole check rests on: a read-only open changes no file, and recovers what the real
/// open recovers, also from a torn and from a damaged WAL.
#[test]
fn a_read_only_open_changes_nothing_and_recovers_alike() {
    let scene = Scene::build(false);
    let wal = scene.newest_wal();
    let whole = fs::read(scene.dir.path().join(&wal)).unwrap();
    for damage in 0..3 {
        let copy = scene.copy();
        let mut bytes = whole.clone();
        match damage {
            0 => {}
            1 => bytes.truncate(whole.len() - 1_000),
            _ => bytes[whole.len() - 30_000] ^= 1,
        }
        fs::write(copy.path().join(&wal), bytes).unwrap();
        let mut options = rocksdb::Options::default();
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
        // As it was written: where a manifest names a WAL and this is off, RocksDB 11.8 wants to write that
        // down, and a read-only open has no place for it and dies.
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_paranoid_checks(true);
        let entries = |db: &rocksdb::DB| {
            let entries: Vec<_> =
                db.iterator(rocksdb::IteratorMode::Start).map(Result::unwrap).collect();
            (db.latest_sequence_number(), entries)
        };
        let before = files(copy.path());
        let db = copy.path().join("db");
        let looked = rocksdb::DB::open_cf_for_read_only(&options, &db, ["default"], false).unwrap();
        let seen = entries(&looked);
        drop(looked);
        assert!(files(copy.path()) == before, "a read-only open changed a file");
        let opened = entries(&rocksdb::DB::open(&options, &db).unwrap());
        assert!(seen == opened, "damage {damage}: {} then {}", seen.0, opened.0);
        println!("damage {damage}: sequence {} and {} entries both times", seen.0, seen.1.len());
    }
}

impl Scene {
    /// Writes groups until there are table files and a WAL with a long tail.
    fn build(delay_flush: bool) -> Self {
        let dir = TempDir::new_in(scratch()).unwrap();
        let runtime = runtime();
        let log = EmbeddedLog::open(dir.path(), options(delay_flush)).unwrap();
        let spec =
            |name: &str| TopicSpec { name: name.to_owned(), partitions: 2, compacted: false };
        runtime.block_on(log.ensure_topics(&[spec("in"), spec("out")])).unwrap();
        let mut owned = runtime.block_on(log.claim("g", &at("in", 0))).unwrap().partition;
        let mut acknowledged = Acknowledged::default();
        let mut random = Random(7);
        let mut group = |acknowledged: &mut Acknowledged, size: u64| {
            let mut appends = Vec::new();
            let mut outputs = Vec::new();
            for partition in 0..2 {
                appends.push(random.append(at("in", partition), size));
                outputs.push(random.append(at("out", partition), size / 2));
            }
            let next = acknowledged.records.values().next().map_or(0, Vec::len) as u64 + 1;
            let position = Committed { offset: next, metadata: format!("token {next}") };
            // On one thread both are queued before the writer answers either: mostly one group.
            let both = async {
                tokio::join!(
                    log.append(appends.clone()),
                    owned.commit(outputs.clone().into(), position.clone())
                )
            };
            let (appended, committed) = runtime.block_on(both);
            appended.unwrap();
            committed.unwrap();
            acknowledged.committed = Some(position);
            for append in appends.into_iter().chain(outputs) {
                acknowledged.add(append);
            }
            // Now and then, so that starts and range tombstones are in every file.
            if next.is_multiple_of(8) {
                let of = at("out", 1);
                runtime.block_on(log.trim(&of, next - 3)).unwrap();
                acknowledged.starts.insert(of, next - 3);
            }
        };
        let newest = || newest_wal(dir.path());
        let len = |file: PathBuf| fs::metadata(dir.path().join(file)).unwrap().len();
        let count = |kind| files(dir.path()).keys().filter(|f| extension(f) == kind).count();
        // Table files and a long newest WAL; or several WALs.
        let ready = || match delay_flush {
            false => count("sst") > 0 && len(newest()) >= TAIL + 4_096,
            true => count("log") >= 3 && len(newest()) >= 4_096,
        };
        let mut ends = BTreeSet::new();
        while !ready() {
            group(&mut acknowledged, 600);
            ends.insert((newest(), len(newest())));
        }
        let before = acknowledged.clone();
        let mark_before = fs::read(dir.path().join("mark")).unwrap();
        let (wal, wal_before) = (newest(), len(newest()));
        group(&mut acknowledged, 6_000);
        assert_eq!(newest(), wal, "the last group went to the same WAL");
        runtime.block_on(log.close()).unwrap();
        let scene = Self { dir, acknowledged, before, mark_before, wal_before, ends, delay_flush };
        let outcome = scene.case(|_| (), &scene.acknowledged, false);
        assert!(matches!(outcome, Outcome::Intact), "undamaged: {outcome:?}");
        scene
    }

    fn newest_wal(&self) -> PathBuf {
        newest_wal(self.dir.path())
    }

    fn copy(&self) -> TempDir {
        let copy = TempDir::new_in(scratch()).unwrap();
        fs::create_dir(copy.path().join("db")).unwrap();
        for (file, bytes) in files(self.dir.path()) {
            fs::write(copy.path().join(file), bytes).unwrap();
        }
        copy
    }

    /// Damages a copy, opens it, and compares what it holds with what it must hold.
    fn case(&self, damage: impl FnOnce(&Path), must: &Acknowledged, unchecked: bool) -> Outcome {
        self.case_of(damage, must, None, unchecked)
    }

    /// The same with the last group written, in part or as a whole, and not answered.
    fn torn_case(&self, damage: impl FnOnce(&Path)) -> Outcome {
        self.case_of(damage, &self.before, Some(&self.acknowledged), false)
    }

    fn case_of(
        &self,
        damage: impl FnOnce(&Path),
        must: &Acknowledged,
        may: Option<&Acknowledged>,
        unchecked: bool,
    ) -> Outcome {
        let copy = self.copy();
        damage(copy.path());
        let before = files(copy.path());
        let options = EmbeddedOptions { skip_mark_check: unchecked, ..options(self.delay_flush) };
        match EmbeddedLog::open(copy.path(), options) {
            Ok(log) => runtime().block_on(compare(&log, must, may.unwrap_or(must))),
            Err(Error::Damaged { reason, first_lost }) => {
                let mut after = files(copy.path());
                after.entry("lock".into()).or_default();
                let mut before = before;
                before.entry("lock".into()).or_default();
                assert!(after == before, "a refused open changed a file: {reason}");
                Outcome::Refused("open", first_lost, reason)
            }
            Err(other) => Outcome::Lost(format!("opening failed otherwise: {other}")),
        }
    }
}

/// Reads everything and compares: what must be there, and nothing but what may be.
async fn compare(log: &EmbeddedLog, must: &Acknowledged, may: &Acknowledged) -> Outcome {
    for (partition, records) in &must.records {
        let bounds = match log.bounds(partition).await {
            Ok(bounds) => bounds,
            Err(error) => return Outcome::Lost(format!("{partition}: {error}")),
        };
        let start = must.starts.get(partition).copied().unwrap_or(0);
        if bounds.start != start {
            return Outcome::Lost(format!("{partition}: begins at {}, not {start}", bounds.start));
        }
        let (records, most) = (&records[start as usize..], &may.records[partition]);
        let mut found = Vec::new();
        while let Some(next) = Some(start + found.len() as u64).filter(|next| *next < bounds.end) {
            match log.read(partition, next, 100, usize::MAX).await {
                Ok(read) => found.extend(read),
                Err(Error::Damaged { reason, first_lost }) => {
                    return Outcome::Refused("read", first_lost, reason);
                }
                Err(error) => return Outcome::Lost(format!("{partition}: {error}")),
            }
        }
        if !found.starts_with(records) {
            let (found, wanted) = (found.len(), records.len());
            return Outcome::Lost(format!("{partition}: {found} records instead of {wanted}"));
        }
        if !most[start as usize..].starts_with(&found) {
            return Outcome::Lost(format!("{partition}: other than what was written"));
        }
    }
    match log.claim("g", &at("in", 0)).await {
        Ok(claim) if [&must.committed, &may.committed].contains(&&claim.committed) => {
            Outcome::Intact
        }
        Ok(claim) => Outcome::Lost(format!("position {:?}", claim.committed)),
        Err(error) => Outcome::Lost(format!("claim: {error}")),
    }
}

impl Acknowledged {
    fn add(&mut self, append: Append) {
        let Append { to, key, value, headers, timestamp_ms } = append;
        let records = self.records.entry(to).or_default();
        let (offset, timestamp_ms) = (records.len() as u64, timestamp_ms.unwrap());
        records.push(Record { offset, timestamp_ms, key, value, headers });
    }
}

impl Counts {
    /// Counts a case that must not lose anything.
    #[track_caller]
    fn count(&mut self, case: &str, outcome: &Outcome) {
        self.add(outcome);
        match outcome {
            Outcome::Lost(what) => panic!("{case}: silently fewer: {what}"),
            Outcome::Refused(_, None, reason) => panic!("{case}: no first position: {reason}"),
            Outcome::Refused(_, Some(_), _) | Outcome::Intact => {}
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.attempted += 1;
        match outcome {
            Outcome::Intact => self.intact += 1,
            Outcome::Refused("open", ..) => self.refused_at_open += 1,
            Outcome::Refused(..) => self.refused_at_read += 1,
            Outcome::Lost(_) => self.lost += 1,
        }
    }
}

fn options(delay_flush: bool) -> EmbeddedOptions {
    let clock = Clock::new(|| 1_760_000_000_000);
    let write_buffer_bytes = 256 << 10;
    EmbeddedOptions { write_buffer_bytes, clock, delay_flush, ..EmbeddedOptions::default() }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

impl Counts {
    /// Adds a row to the table of a soak, if this is one. Every damage lands; lost are records that
    /// were missing without a refusal.
    fn append_to_soak_table(&self, name: &str) {
        use std::io::Write as _;
        let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") else { return };
        let mut table = fs::File::options().append(true).create(true).open(path).unwrap();
        writeln!(table, "| {name} | {} | {} | {} | 0 |", self.attempted, self.attempted, self.lost)
            .unwrap();
    }
}

fn soak() -> bool {
    std::env::var("TICKFOLD_SOAK").is_ok_and(|soak| soak == "1")
}

/// Memory where there is some: a case copies and opens a whole log.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn extension(file: &Path) -> &str {
    file.extension().and_then(|e| e.to_str()).unwrap_or_default()
}

/// All files with their bytes, by path below the directory. One that RocksDB removes meanwhile is
/// left out.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let below = [dir.to_owned(), dir.join("db")].into_iter().filter(|dir| dir.is_dir());
    let entries = below.flat_map(|dir| fs::read_dir(dir).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let named =
        |path: PathBuf| Some((path.strip_prefix(dir).unwrap().to_owned(), fs::read(path).ok()?));
    paths.filter_map(named).collect()
}

fn newest_wal(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir.join("db")).unwrap();
    let names = entries.map(|entry| PathBuf::from("db").join(entry.unwrap().file_name()));
    names.filter(|name| extension(name) == "log").max().unwrap()
}

fn truncate(file: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(len).unwrap();
}

/// `count` different numbers of `from..to`, spread with a seed.
fn sampled(from: u64, to: u64, count: usize) -> Vec<u64> {
    let mut random = Random(0xcafe);
    let mut all: Vec<u64> = (from..to).collect();
    for n in 0..all.len().min(count) {
        let other = n + random.below((all.len() - n) as u64) as usize;
        all.swap(n, other);
    }
    all.truncate(count);
    all
}

/// SplitMix64, so that every run damages the same bits.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn append(&mut self, to: TopicPartition, size: u64) -> Append {
        let len = size / 2 + self.below(size);
        let value: Vec<u8> = (0..len).map(|_| self.next() as u8).collect();
        let key = Some(Bytes::from(self.next().to_string()));
        let timestamp_ms = Some((self.next() >> 20) as i64);
        Append { to, key, value: Some(value.into()), headers: vec![], timestamp_ms }
    }
}
