//! `tickfold checkpoint` and `tickfold trim --plan` on the binary: a checkpoint is made while the node
//! runs, is verified byte by byte, and is restored; whatever byte of it is flipped is found with its
//! place, and is not restored.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Ended, Node, PARTITIONS, Rng, WABA, assert_golden, is_soak, run, say, soak_row, status_body,
    tickfold, up,
};
use crate::support_crash::set_aside;

const FLIPPED: &str = "checkpoint: byte flipped";

fn node(root: &Path) -> Node {
    let mut command = up(root);
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", root.join("checkpoints"));
    // None but those that are asked for.
    command.env("TICKFOLD_PROCESSOR_CHECKPOINT_INTERVAL", "1h");
    Node::spawn(root, command).unwrap_or_else(|ended| panic!("{ended:?}"))
}

/// A command on the data of a node that has stopped.
fn at_rest(root: &Path, args: &[&str]) -> Ended {
    let mut command: Command = tickfold();
    command.args(args).env("TICKFOLD_DATA_DIR", root.join("data"));
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", root.join("checkpoints"));
    run(command, b"")
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Files of a checkpoint with their sizes, without those that are empty.
fn files(checkpoint: &Path) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(checkpoint).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.path(), entry.metadata().unwrap().len())).collect();
    files.retain(|(_, size)| *size > 0);
    files.sort();
    files
}

#[test]
fn a_checkpoint_is_made_verified_and_restored() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    let running = node(root);
    for n in 0..50 {
        running.post(status_body(&format!("wamid.CHECKPOINT-{n}"), "sent", n));
    }
    assert_golden(&running);
    let made = running.cli(&["checkpoint", "create", "-o", "jsonl"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let made = lines(&made);
    assert_eq!(made.len(), PARTITIONS as usize);
    // It stands where the partition stood, and the node goes on.
    let busiest = made.iter().max_by_key(|one| one["cursor"].as_u64()).unwrap();
    let (partition, cursor) =
        (busiest["partition"].as_u64().unwrap(), busiest["cursor"].as_u64().unwrap());
    assert!(cursor >= 50, "{busiest}");
    running.post(status_body("wamid.CHECKPOINT-0", "delivered", 60));
    assert_golden(&running);
    let again = running.cli(&["checkpoint", "create", "--partition", &partition.to_string()]);
    assert_eq!(again.code, Some(0), "{again:?}");
    let unknown = running.cli(&["checkpoint", "create", "--partition", "99"]);
    assert!(
        unknown.code == Some(1) && unknown.stderr.contains("PARTITION_NOT_FOUND"),
        "{unknown:?}"
    );

    // Two stand for what is below the older one.
    let plan = running.cli(&["trim", "--plan", "-o", "jsonl"]);
    let held = lines(&plan).into_iter().find(|held| held["partition"] == partition).unwrap();
    assert_eq!((&held["trim_to"], &held["held_by"]), (&cursor.into(), &"checkpoints".into()));
    let aged = running.cli(&["trim", "--plan", "--keep", "1h", "-o", "jsonl"]);
    let held = lines(&aged).into_iter().find(|held| held["partition"] == partition).unwrap();
    assert_eq!((&held["trim_to"], &held["held_by"]), (&0.into(), &"age".into()));
    assert_eq!(running.cli(&["trim"]).code, Some(2), "only the plan");

    // Listing and verifying run beside the node, restoring does not.
    let listed = lines(&at_rest(root, &["checkpoint", "ls", "-o", "jsonl"]));
    assert_eq!(listed.len(), PARTITIONS as usize + 1);
    assert!(listed.iter().all(|one| one["state"] == "finished" && one["made"].is_string()));
    assert_eq!(at_rest(root, &["checkpoint", "verify"]).code, Some(0));
    let number = partition.to_string();
    let restore = ["checkpoint", "restore", "--partition", &number];
    let refused = at_rest(root, &restore);
    assert!(refused.code == Some(1) && refused.stderr.contains("in use"), "{refused:?}");
    running.stop();

    let refused = at_rest(root, &restore);
    assert!(refused.code == Some(1) && refused.stderr.contains("--discard"), "{refused:?}");
    let cursor = cursor.to_string();
    let older = [&restore[..], &["--cursor", &cursor, "--discard"]].concat();
    let restored = at_rest(root, &older);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(set_aside(&root.join("data")), [format!("{partition}.rejected-discarded-1")]);
    let running = node(root);
    let message = running.rpc().message("wamid.CHECKPOINT-0").unwrap();
    assert_eq!(message.state_text, "delivered", "{WABA}: folded on from there");
    assert_golden(&running);
    running.stop();
}

#[test]
fn each_flipped_byte_of_a_checkpoint_is_found_with_its_place() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    // Two lives, so that there are several table files.
    for life in 0..2 {
        let running = node(root);
        for n in 0..200 {
            running.post(status_body(&format!("wamid.FLIP-{life}-{n}"), "sent", n));
        }
        assert_golden(&running);
        if life == 1 {
            assert_eq!(running.cli(&["checkpoint", "create"]).code, Some(0));
        }
        running.stop();
    }
    let verify = || at_rest(root, &["checkpoint", "verify", "-o", "jsonl"]);
    let listed = lines(&at_rest(root, &["checkpoint", "ls", "-o", "jsonl"]));
    let busiest = listed.iter().max_by_key(|one| one["cursor"].as_u64()).unwrap();
    let (partition, cursor) = (busiest["partition"].to_string(), busiest["cursor"].to_string());
    let checkpoint = root.join("checkpoints").join(&partition).join(&cursor);
    let files = files(&checkpoint);
    for kind in ["sst", "manifest"] {
        let has = files.iter().any(|(path, _)| path.extension().is_some_and(|e| e == kind));
        assert!(has, "no {kind} among {files:?}");
    }
    // The null control.
    let whole = verify();
    assert_eq!(whole.code, Some(0), "{whole:?}");

    let (flips, mut found, mut rng) = (if is_soak() { 1_000 } else { 100 }, 0, Rng(81));
    for flip in 0..flips {
        // Every file has its turn, whatever its size.
        let (path, size) = &files[flip % files.len()];
        let good = std::fs::read(path).unwrap();
        let at = rng.below(usize::try_from(*size).unwrap());
        let mut bad = good.clone();
        bad[at] ^= 1 << rng.below(8);
        std::fs::write(path, &bad).unwrap();
        assert_ne!(std::fs::read(path).unwrap(), good, "the flip landed");
        let verified = verify();
        assert_eq!(verified.code, Some(2), "{} byte {at}: {verified:?}", path.display());
        let damaged: Vec<_> =
            lines(&verified).into_iter().filter(|one| one["state"] == "damaged").collect();
        assert_eq!(damaged.len(), 1, "{damaged:?}");
        let name = path.file_name().unwrap().to_str().unwrap();
        let told = damaged[0]["damage"][0].as_str().unwrap();
        let piece = at / 65_536 * 65_536;
        let bytes = format!("{name} differs in bytes {piece} to {}", bad.len().min(piece + 65_536));
        let of_manifest = name == "tickfold.manifest" && told.starts_with(name);
        assert!(told == bytes || of_manifest, "{told}, flipped {name} at {at}");
        found += 1;
        if flip < files.len() {
            // Damage is never made the state.
            let restore = ["checkpoint", "restore", "--partition", &partition, "--discard"];
            let refused = at_rest(root, &restore);
            assert_eq!(refused.code, Some(1), "{name}: {refused:?}");
            assert!(set_aside(&root.join("data")).is_empty(), "{name}: what is whole stays");
        }
        std::fs::write(path, &good).unwrap();
    }
    assert_eq!(verify().code, Some(0), "and put back");
    say(&format!("{found} of {flips} flipped bytes in {} files found", files.len()));
    soak_row(FLIPPED, flips as u64, found, flips as u64 - found, 0);
}
