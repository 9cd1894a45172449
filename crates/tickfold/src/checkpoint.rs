//! `tickfold checkpoint ls`, `verify` and `restore`: checkpoints as they lie in their directory. Only
//! `restore` needs the node to be stopped.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tickfold_core::time::Timestamp;
use tickfold_store::{CheckpointDir, CheckpointFound, CheckpointState, Stores as _};

use crate::at_rest::{layers, stores, take};
use crate::cli::{AtRest, Checkpoint};
use crate::client::{self, listing, print};
use crate::config::Config;

/// Exit code where a checkpoint is not what was made.
const DAMAGED: u8 = 2;

/// A checkpoint. Members stand in this order.
#[derive(Serialize)]
struct Listed {
    partition: u32,
    cursor: u64,
    state: &'static str,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fold_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// What was found of a checkpoint whose every byte was read.
#[derive(Serialize)]
struct Verified {
    partition: u32,
    cursor: u64,
    /// `whole`, `damaged` or `unfinished`.
    state: &'static str,
    bytes: u64,
    damage: Vec<String>,
}

pub(crate) async fn run(what: Checkpoint) -> Result<ExitCode> {
    match what {
        Checkpoint::Ls { partitions, at } => ls(&partitions, &at),
        Checkpoint::Create { partitions, client } => {
            client::create_checkpoints(partitions, &client).await
        }
        Checkpoint::Verify { partitions, at } => verify(&partitions, &at),
        Checkpoint::Restore { partition, cursor, discard, at } => {
            restore(partition, cursor, discard, &at)
        }
    }
}

fn ls(partitions: &[u32], at: &AtRest) -> Result<ExitCode> {
    let (_, found) = found(partitions, at)?;
    let listed: Vec<_> = found.into_iter().map(listed).collect();
    let heading = format!(
        "{:>9}  {:>12}  {:10}  {:>12}  {:24}  {:24}  FOLD\n",
        "PARTITION", "CURSOR", "STATE", "BYTES", "MADE", "LOG TIME"
    );
    let absent = || "-".to_owned();
    let line = |one: &Listed| {
        format!(
            "{:>9}  {:>12}  {:10}  {:>12}  {:24}  {:24}  {}\n",
            one.partition,
            one.cursor,
            one.state,
            one.bytes,
            one.made.clone().unwrap_or_else(absent),
            one.log_time.clone().unwrap_or_else(absent),
            one.fold_version.map_or_else(absent, |version| version.to_string())
        )
    };
    listing(at.output, &listed, |all| heading + &all.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn verify(partitions: &[u32], at: &AtRest) -> Result<ExitCode> {
    let (dir, found) = found(partitions, at)?;
    let mut verified = Vec::new();
    for CheckpointFound { partition, cursor, bytes, state, .. } in found {
        if state == CheckpointState::Unfinished {
            let (state, damage) = ("unfinished", Vec::new());
            verified.push(Verified { partition, cursor, state, bytes, damage });
            continue;
        }
        let damage = dir.verify(partition, cursor);
        let damage = damage.with_context(|| format!("verify checkpoint {partition}/{cursor}"))?;
        let Some(damage) = damage else { continue };
        let damage: Vec<_> = damage.iter().map(ToString::to_string).collect();
        let state = if damage.is_empty() { "whole" } else { "damaged" };
        verified.push(Verified { partition, cursor, state, bytes, damage });
    }
    let heading =
        format!("{:>9}  {:>12}  {:10}  {:>12}  DAMAGE\n", "PARTITION", "CURSOR", "STATE", "BYTES");
    let line = |one: &Verified| {
        let mut text = format!(
            "{:>9}  {:>12}  {:10}  {:>12}  {}\n",
            one.partition,
            one.cursor,
            one.state,
            one.bytes,
            one.damage.first().map_or("-", String::as_str)
        );
        one.damage.iter().skip(1).for_each(|more| text.push_str(&format!("{:53}{more}\n", "")));
        text
    };
    listing(at.output, &verified, |all| heading + &all.iter().map(line).collect::<String>())?;
    let damaged = verified.iter().any(|one| one.state == "damaged");
    Ok(if damaged { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS })
}

fn restore(partition: u32, cursor: Option<u64>, discard: bool, at: &AtRest) -> Result<ExitCode> {
    let config = layers(at)?.read()?;
    checkpoint_dir(&config)?;
    let _dir = take(&config)?;
    let stores = stores(&config)?;
    let listed = stores.checkpoints(partition).context("list the checkpoints")?;
    let chosen = match cursor {
        None => listed.first(),
        Some(cursor) => listed.iter().find(|found| found.head.cursor == cursor),
    };
    let Some(chosen) = chosen else {
        bail!("partition {partition} has no such checkpoint: see `tickfold checkpoint ls`");
    };
    let there = stores.path(partition).context("find the state")?;
    let is_there = there.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if is_there && !discard {
        bail!("there is state in {}: --discard sets it aside", there.display());
    }
    if there.exists() {
        // What is there may be all that there is: it stays until the other is known to be whole.
        let dir = CheckpointDir::new(checkpoint_dir(&config)?);
        let damage = dir.verify(partition, chosen.head.cursor).context("verify the checkpoint")?;
        let Some(damage) = damage else { bail!("checkpoint {partition}/{} is gone", chosen.id) };
        if let Some(first) = damage.first() {
            bail!("checkpoint {partition}/{}: {first}; the state is as it was", chosen.id);
        }
        stores.reject(partition, "discarded").context("set the state aside")?;
    }
    let restored = stores.restore(partition, chosen);
    let aside = || match is_there {
        true => format!("; the state is aside in {}.rejected-discarded-*", there.display()),
        false => String::new(),
    };
    restored.with_context(|| format!("restore checkpoint {partition}/{}{}", chosen.id, aside()))?;
    print(&format!(
        "partition {partition} has the state of position {}; the node folds on from there\n",
        chosen.head.cursor
    ));
    Ok(ExitCode::SUCCESS)
}

/// Checkpoints of these partitions; of all if none is named.
fn found(partitions: &[u32], at: &AtRest) -> Result<(CheckpointDir, Vec<CheckpointFound>)> {
    let config = layers(at)?.read()?;
    let dir = CheckpointDir::new(checkpoint_dir(&config)?);
    let mut found = dir.list().context("look for checkpoints")?;
    found.retain(|found| partitions.is_empty() || partitions.contains(&found.partition));
    Ok((dir, found))
}

pub(crate) fn checkpoint_dir(config: &Config) -> Result<&std::path::Path> {
    let dir = config.store.checkpoint_dir.as_deref();
    dir.context("there is no place for checkpoints: store.checkpoint_dir is not set")
}

fn listed(found: CheckpointFound) -> Listed {
    let CheckpointFound { partition, cursor, bytes, made, state } = found;
    let made = made.and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok());
    let made = made.and_then(|made| i64::try_from(made.as_millis()).ok());
    let (word, head, unreadable) = match state {
        CheckpointState::Finished(head) => ("finished", Some(head), None),
        CheckpointState::Unfinished => ("unfinished", None, None),
        CheckpointState::Unreadable(why) => ("unreadable", None, Some(why)),
    };
    Listed {
        partition,
        cursor,
        state: word,
        bytes,
        made: made.map(|ms| Timestamp::from_millis(ms).to_string()),
        log_time: head.and_then(|head| head.head.log_time).map(|time| time.to_string()),
        fold_version: head.map(|head| head.fold_version),
        digest: head.map(|head| format!("{:032x}", head.digest)),
        unreadable,
    }
}
