//! `tickfold verify` on the binary and on both logs: what a node took in and folded passes; another
//! secret, a forged record, and bytes flipped on the disk are found, with their place.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tickfold_log::{
    Append, Committed, EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, Log, TopicPartition,
};

use crate::kafka::broker;
use crate::kafka_run::command_on;
use crate::support::{
    Ended, NUMBER, Node, PARTITIONS, RAW, Rng, SECRET, WABA, assert_golden, is_soak, run, say,
    soak_row, status_body, tickfold, up,
};

const FLIPPED: &str = "embedded: byte of the log flipped, as verify sees it";

/// `tickfold verify` on the data of a node that has stopped.
fn verify(root: &Path, secret: &str, args: &[&str]) -> Ended {
    let mut command: Command = tickfold();
    let output = if args.contains(&"-o") { &[][..] } else { &["-o", "jsonl"] };
    command.arg("verify").args(output).args(args).env("TICKFOLD_APP_SECRET", secret);
    command.env("TICKFOLD_DATA_DIR", root.join("data"));
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", root.join("checkpoints"));
    run(command, b"")
}

fn lines(ended: &Ended, kind: &str) -> Vec<Value> {
    let lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get(kind).cloned()).collect()
}

/// A node with webhooks of several accounts, rules, a dead letter that was redriven, checkpoints.
fn filled(root: &Path) -> Vec<Value> {
    let mut command = up(root);
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", root.join("checkpoints"));
    command.env("TICKFOLD_PROCESSOR_CHECKPOINT_INTERVAL", "1h");
    let node = Node::spawn(root, command).unwrap_or_else(|ended| panic!("{ended:?}"));
    for n in 0..60 {
        node.post(status_body(&format!("wamid.VERIFY-{n}"), "sent", n));
    }
    node.post("not json");
    assert_golden(&node);
    assert_eq!(node.cli(&["checkpoint", "create"]).code, Some(0));
    let redriven = node.cli(&["dlq", "redrive", "--reason", "not_json", "--yes"]);
    assert_eq!(redriven.code, Some(2), "it is broken still: {redriven:?}");
    for n in 0..20 {
        node.post(status_body(&format!("wamid.VERIFY-{n}"), "delivered", 100 + n));
    }
    assert_golden(&node);
    let raw = node.tail(RAW);
    node.stop();
    let records: Vec<_> = raw
        .iter()
        .map(|record| serde_json::json!({"partition": record.partition, "offset": record.offset}))
        .collect();
    records
}

#[test]
fn what_was_taken_in_passes_and_another_secret_vouches_for_nothing() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    let records = filled(root);
    let verified = verify(root, SECRET, &[]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let partitions = lines(&verified, "partition");
    assert_eq!(partitions.len(), PARTITIONS as usize);
    let sum = |name: &str| partitions.iter().filter_map(|one| one[name].as_u64()).sum::<u64>();
    // Ticks may have come after the last look.
    assert!(sum("records") >= records.len() as u64, "{partitions:?}");
    assert_eq!((sum("webhooks"), sum("redrives")), (81, 1));
    // The digest is known up to where everything was folded.
    let busiest = partitions.iter().max_by_key(|one| one["webhooks"].as_u64()).unwrap();
    assert_eq!(busiest["digest_from"], 0, "{busiest}");
    assert!(busiest["digest_to"].as_u64() >= Some(80), "{busiest}");

    let wrong = verify(root, "another secret", &[]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let damage = lines(&wrong, "damage");
    assert_eq!(damage.len(), 82, "each webhook and the redrive: {damage:?}");
    assert!(damage.iter().all(|one| one["part"] == "signature" && one["topic"] == RAW));

    // A part of it, and in the form for people.
    let partition = busiest["partition"].to_string();
    let part = verify(root, SECRET, &["--partitions", &partition, "--from", "10", "--to", "20"]);
    let part = lines(&part, "partition");
    assert_eq!((part.len(), &part[0]["records"]), (1, &10.into()), "{part:?}");
    let times = ["--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z"];
    let none = lines(&verify(root, SECRET, &times), "partition");
    assert!(none.iter().all(|one| one["records"] == 0), "{none:?}");
    let odd = verify(root, SECRET, &["--from", "yesterday"]);
    assert!(odd.code == Some(1) && odd.stderr.contains("is no offset and no time"), "{odd:?}");
    let table = verify(root, SECRET, &["-o", "table"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.stdout.ends_with("\nas it was written\n"), "{table:?}");

    // Not beside a node, which removes what a killed one left.
    let left = root.join("data/verify-left");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("000001.sst"), b"rows").unwrap();
    let node = Node::start(root);
    assert!(!left.exists());
    let refused = verify(root, SECRET, &[]);
    assert!(refused.code == Some(1) && refused.stderr.contains("in use"), "{refused:?}");
    node.stop();
}

/// Puts another token beside the position of the busiest partition, which is returned with it.
fn spoil_token(root: &Path, spoil: impl Fn(&str) -> String) -> (u64, u64) {
    let dir = root.join("data/log");
    let log = EmbeddedLog::open(&dir, EmbeddedOptions::default()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let positions = log.positions("tickfold", RAW).await.unwrap();
        let positions = positions.into_iter().enumerate();
        let found = positions.filter_map(|(partition, found)| Some((partition, found?)));
        let (partition, found) = found.max_by_key(|(_, found)| found.offset).unwrap();
        let place = TopicPartition::new(RAW, u32::try_from(partition).unwrap());
        let spoiled = Committed { metadata: spoil(&found.metadata), ..found.clone() };
        assert_ne!(spoiled, found, "the fault landed");
        let mut claim = log.claim("tickfold", &place).await.unwrap();
        claim.partition.commit([].into(), spoiled).await.unwrap();
        log.close().await.unwrap();
        (partition as u64, found.offset)
    })
}

/// Another last digit in a field of a token.
fn other(token: &str, field: &str) -> String {
    let begin = token.find(field).unwrap();
    let at = begin + token[begin + 1..].find(';').unwrap();
    let digit = if token.as_bytes()[at] == b'0' { "1" } else { "0" };
    format!("{}{digit}{}", &token[..at], &token[at + 1..])
}

#[test]
fn a_state_or_a_digest_that_raw_does_not_give_is_found() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    filled(root);
    let whole = verify(root, SECRET, &["--state"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let states = lines(&whole, "state");
    assert_eq!(states.len(), PARTITIONS as usize);
    assert!(states.iter().all(|one| one["checkpoints"] == 1 && one["folded_from"] == 0));
    let left = std::fs::read_dir(root.join("data")).unwrap();
    let left = left.filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("verify-")
    });
    assert_eq!(left.count(), 0, "nothing is left behind");

    let (partition, offset) = spoil_token(root, |token| other(token, ";d="));
    assert_eq!(verify(root, SECRET, &[]).code, Some(0), "raw is as it was");
    let found = verify(root, SECRET, &["--state"]);
    assert_eq!(found.code, Some(2), "{found:?}");
    let damage = lines(&found, "damage");
    assert_eq!(damage.len(), 1, "{damage:?}");
    let place = (damage[0]["partition"].as_u64(), damage[0]["offset"].as_u64());
    assert_eq!((place, &damage[0]["part"]), ((Some(partition), Some(offset)), &"state".into()));

    spoil_token(root, |token| other(&other(token, ";d="), ";w="));
    let found = verify(root, SECRET, &["--partitions", &partition.to_string()]);
    assert_eq!(found.code, Some(2), "{found:?}");
    let damage = lines(&found, "damage");
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!((&damage[0]["part"], &damage[0]["before"]), (&"digest".into(), &offset.into()));
}

/// Files of the log with their sizes.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let is_data = path.extension().is_some_and(|e| e == "log" || e == "sst");
        is_data && std::fs::metadata(path).unwrap().len() > 0
    });
    files.sort();
    files
}

/// Bytes flipped where bodies and headers of raw lie on the disk: none is read as anything else than it
/// was.
#[test]
fn each_byte_flipped_in_a_body_or_a_header_on_the_disk_is_found() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    filled(root);
    let db = root.join("data/log/db");
    // Where they are in the clear: in the log that was not compacted into compressed tables yet.
    let needles = ["\"messaging_product\"", "wa-signature", "sha256=", "wa-received-time"];
    let mut places = Vec::new();
    for needle in needles {
        let before = places.len();
        for path in files(&db) {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(needle.len()).enumerate();
            let found = found.filter(|(_, window)| *window == needle.as_bytes());
            places.extend(found.map(|(at, _)| (path.clone(), at, needle.len())));
        }
        let count = places.len() - before;
        assert!(count > 60, "{needle}: {count} in {:?}", files(&db));
    }
    // Of a copy too: opening the log moves what is in the clear into compressed tables.
    let control = TempDir::new().unwrap();
    copy_dir(root, control.path());
    assert_eq!(verify(control.path(), SECRET, &[]).code, Some(0), "the null control");
    let (flips, mut found, mut rng) = (if is_soak() { 1_000 } else { 100 }, 0, Rng(17));
    for _ in 0..flips {
        let copy = TempDir::new().unwrap();
        copy_dir(root, copy.path());
        let (path, at, length) = &places[rng.below(places.len())];
        let path = copy.path().join(path.strip_prefix(root).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at + rng.below(*length);
        let good = bytes[at];
        bytes[at] ^= 1 << rng.below(8);
        assert_ne!(bytes[at], good);
        std::fs::write(&path, &bytes).unwrap();
        let verified = verify(copy.path(), SECRET, &[]);
        assert_eq!(verified.code, Some(2), "{}, byte {at}: {verified:?}", path.display());
        let damage = lines(&verified, "damage");
        assert!(damage.iter().any(|one| one["part"] == "log"), "{damage:?}");
        let placed = |one: &Value| one["topic"] != "" && one["offset"].is_u64();
        assert!(damage.iter().all(placed), "{damage:?}");
        found += 1;
    }
    say(&format!("{found} of {flips} flipped bytes found"));
    soak_row(FLIPPED, flips, found, flips - found, 0);
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        match path.is_dir() {
            true => copy_dir(&path, &to),
            false => _ = std::fs::copy(&path, &to).unwrap(),
        }
    }
}

#[test]
fn a_record_that_somebody_else_wrote_is_found_on_kafka_beside_the_node() {
    let dir = TempDir::new().unwrap();
    let brokers = broker::shared();
    let prefix = format!("verify-{}", std::process::id());
    let with_names = |command: &mut Command| {
        command.env("TICKFOLD_TOPIC_PREFIX", &prefix).env("TICKFOLD_GROUP", &prefix);
    };
    let mut command = command_on(dir.path(), &brokers);
    with_names(&mut command);
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    for n in 0..30 {
        node.post(status_body(&format!("wamid.FORGED-{n}"), "sent", n));
    }
    assert_golden(&node);
    let verify = || {
        let mut command = tickfold();
        command.args(["verify", "-o", "jsonl"]).env("TICKFOLD_APP_SECRET", SECRET);
        command.env("TICKFOLD_KAFKA_BROKERS", &brokers).env("TICKFOLD_DATA_DIR", dir.path());
        with_names(&mut command);
        run(command, b"")
    };
    let whole = verify();
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let partitions = lines(&whole, "partition");
    let busiest = partitions.iter().max_by_key(|one| one["webhooks"].as_u64()).unwrap().clone();
    assert_eq!(busiest["webhooks"], 30, "{WABA} {NUMBER}: {busiest}");

    // Whoever may write to the topic takes a record of it and changes one word.
    let place = TopicPartition::new(
        format!("{prefix}.webhook.raw.v1"),
        u32::try_from(busiest["partition"].as_u64().unwrap()).unwrap(),
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let log: Arc<dyn Log> = KafkaLog::connect(KafkaOptions::new(&brokers)).unwrap();
    let forged = runtime.block_on(async {
        let record = log.read(&place, 0, 1, 0).await.unwrap().remove(0);
        let body = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let forged = Append {
            to: place.clone(),
            key: record.key,
            value: Some(body.replace("\"sent\"", "\"read\"").into()),
            headers: record.headers,
            timestamp_ms: None,
        };
        let offsets = log.append(vec![forged]).await.unwrap();
        log.close().await.unwrap();
        offsets[0]
    });
    let verified = verify();
    assert_eq!(verified.code, Some(2), "{verified:?}");
    let damage = lines(&verified, "damage");
    assert_eq!(damage.len(), 1, "{damage:?}");
    let place = (damage[0]["topic"].as_str(), damage[0]["offset"].as_u64());
    assert_eq!(place, (Some(&*format!("{prefix}.webhook.raw.v1")), Some(forged)));
    assert_eq!(damage[0]["part"], "signature");
    node.stop();
}
