//! `tickfold recover`: what a start finds of each partition, which ways on there are where it refuses,
//! and what each loses or repeats; and one start of the partitions that are named, as was accepted.
//!
//! It judges nothing by itself: where a partition may go on is for a person to say. Each sentence about
//! what is lost or repeated follows from two positions, the one accepted and the one up to which
//! outputs are known to be emitted.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tickfold_core::fold::Partition;
use tickfold_processor::driver::{Acceptance, Look, Refusal};
use tickfold_processor::{PartitionStatus, Recovery};
use tickfold_store::{Checkpoint, Stores};
use tokio::sync::watch;

use crate::at_rest::AtRest;
use crate::cli::Recover;
use crate::client::{listing, report};
use crate::options;

/// Exit code of a look that finds refused partitions.
const REFUSED: u8 = 2;

/// Between two words on how far a state is folded.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);

/// A partition, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    partition: u32,
    /// `ok`, or the word of the refusal.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_position: Option<u64>,
    /// What stands beside the position.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emitted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_cursor: Option<u64>,
    raw_start: u64,
    raw_end: u64,
    /// Whether the record below the position is the one that was folded.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_record_is_the_folded_one: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ways: Vec<Way>,
}

/// A way on.
#[derive(Debug, Serialize)]
struct Way {
    offset: u64,
    fold_anew: bool,
    command: String,
    consequence: String,
}

/// Looks, and recovers if that is asked for.
pub(crate) async fn run(command: &Recover) -> Result<ExitCode> {
    let at = AtRest::open(&command.at).await?;
    let done = Box::pin(looked(&at, command)).await;
    at.log.close().await.context("close the log")?;
    done
}

async fn looked(at: &AtRest, command: &Recover) -> Result<ExitCode> {
    let count = at.raw.partitions;
    let partitions: Vec<u32> = match &command.partitions[..] {
        [] => (0..count).collect(),
        named => named.to_vec(),
    };
    if let Some(unknown) = partitions.iter().find(|id| **id >= count) {
        bail!("there is no partition {unknown}: {} has {count}", at.raw.name);
    }
    let options = options::processor_options(&at.config, "")?;
    let recovery = Recovery::new(at.log.clone(), at.stores.clone(), options);
    let mut looks = Vec::new();
    for id in partitions {
        let partition = Partition { id, count };
        let look = recovery.look(partition).await;
        looks.push((partition, look.with_context(|| format!("look at partition {id}"))?));
    }
    let Some(wanted) = command.accept_offset else {
        let shown: Vec<_> = looks.iter().map(|(at, look)| shown(*at, look)).collect();
        let refused = shown.iter().any(|shown| shown.refused.is_some());
        listing(command.at.output, &shown, table)?;
        return Ok(if refused { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS });
    };
    let mut accepted = Vec::new();
    for (partition, look) in looks {
        let acceptance = acceptance(&look, wanted, command.fold_anew)
            .with_context(|| format!("partition {}", partition.id))?;
        let consequence = consequence(&look, acceptance.offset, acceptance.anew);
        report(&format!("partition {} from {}: {consequence}", partition.id, acceptance.offset));
        accepted.push((partition, acceptance));
    }
    if !command.yes {
        report("nothing was done; --yes does it");
        return Ok(ExitCode::SUCCESS);
    }
    at.refuse_members().await?;
    for (partition, acceptance) in accepted {
        let anew = acceptance.anew;
        recover(&recovery, partition, acceptance).await?;
        if anew && at.config.store.checkpoint_dir.is_some() {
            renew_checkpoints(&*at.stores, partition.id);
        }
    }
    report("start the node: it goes on from there");
    Ok(ExitCode::SUCCESS)
}

/// What is accepted, if it can be at all.
fn acceptance(look: &Look, wanted: Option<u64>, anew: bool) -> Result<Acceptance> {
    let found = look.committed.clone();
    let offset = wanted.or_else(|| found.as_ref().map(|found| found.offset));
    let offset = offset.context("the group has no position: give --accept-offset an offset")?;
    let bounds = look.bounds();
    if !(bounds.start..=bounds.end).contains(&offset) {
        let (start, end) = (bounds.start, bounds.end);
        bail!("offset {offset} is outside of raw, which has {start} to {end}");
    }
    match &look.refusal {
        Some(refusal @ (Refusal::FoldVersion { .. } | Refusal::PartitionCount { .. })) => {
            bail!("no offset makes this right: {refusal}")
        }
        Some(Refusal::RawGap { .. }) if !anew => bail!(
            "raw lacks what the state has to be folded from: give back a checkpoint, or go on \
             without with --fold-anew"
        ),
        Some(Refusal::RawDamaged(_)) if !anew => bail!(
            "raw is not what the state was folded from: it has to be folded again, with --fold-anew"
        ),
        _ => Ok(Acceptance { found, offset, anew }),
    }
}

async fn recover(recovery: &Recovery, partition: Partition, accepted: Acceptance) -> Result<()> {
    let (status, follow) = watch::channel(PartitionStatus::Starting);
    let progress = async {
        loop {
            tokio::time::sleep(PROGRESS_PAUSE).await;
            let now = follow.borrow().clone();
            if let PartitionStatus::Restoring { .. } = now {
                report(&format!("partition {}: {now}", partition.id));
            }
        }
    };
    let recovered = tokio::select! {
        recovered = recovery.recover(partition, accepted, &status) => recovered,
        never = progress => never,
    };
    let id = partition.id;
    let position = recovered.with_context(|| format!("recover partition {id}"))?;
    let position = position.context("the position is gone again")?.offset;
    report(&format!("partition {id} stands at {position}, with a token of ours"));
    Ok(())
}

/// Leaves a checkpoint of the state that was folded anew in the place of those of before, from which it is
/// not reached. They go once it is complete. Without it the partition starts all the same.
fn renew_checkpoints(stores: &dyn Stores, id: u32) {
    let renew = || {
        let made = stores.open(id)?.checkpoint()?;
        let is_old =
            |old: &Checkpoint| old.head.fold_version == made.head.fold_version && old.id != made.id;
        for old in stores.checkpoints(id)?.iter().filter(|old| is_old(old)) {
            stores.remove_checkpoint(id, old)?;
        }
        Ok(())
    };
    let renewed: Result<(), tickfold_store::Error> = renew();
    if let Err(error) = renewed.map_err(anyhow::Error::from) {
        report(&format!(
            "partition {id}: its checkpoints are of the state of before and could not be replaced: {error:#}"
        ));
    }
}

fn shown(partition: Partition, look: &Look) -> Shown {
    let bounds = look.bounds();
    Shown {
        partition: partition.id,
        verdict: look.refusal.as_ref().map_or("ok", Refusal::code),
        refused: look.refusal.as_ref().map(ToString::to_string),
        group_position: look.committed.as_ref().map(|found| found.offset),
        token: look.committed.as_ref().map(|found| found.metadata.clone()),
        emitted: look.emitted(),
        state_cursor: look.cursor(),
        raw_start: bounds.start,
        raw_end: bounds.end,
        last_record_is_the_folded_one: look.is_last_folded(),
        ways: ways(partition, look),
    }
}

/// The ways on, the one that loses least first. A partition that starts needs none.
fn ways(partition: Partition, look: &Look) -> Vec<Way> {
    let (bounds, emitted) = (look.bounds(), look.emitted());
    let group = look.committed.as_ref().map(|found| found.offset);
    let (offsets, anew) = match &look.refusal {
        Some(Refusal::OffsetMoved { .. }) => (vec![emitted, group], false),
        Some(Refusal::NothingReadable) => (vec![Some(bounds.end), Some(bounds.start)], false),
        Some(Refusal::RawDamaged(_)) => {
            (vec![emitted, group, Some(bounds.end), Some(bounds.start)], true)
        }
        Some(Refusal::RawGap { .. }) => (vec![group, emitted, Some(bounds.start)], true),
        // Each says by itself what is to be done.
        None | Some(_) => (Vec::new(), false),
    };
    let mut ways: Vec<Way> = Vec::new();
    for offset in offsets.into_iter().flatten() {
        let fits = (bounds.start..=bounds.end).contains(&offset);
        if !fits || ways.iter().any(|way| way.offset == offset) {
            continue;
        }
        let fold_anew = if anew { " --fold-anew" } else { "" };
        let command = format!(
            "tickfold recover --partition {} --accept-offset {offset}{fold_anew} --yes",
            partition.id
        );
        let consequence = consequence(look, offset, anew);
        ways.push(Way { offset, fold_anew: anew, command, consequence });
    }
    ways
}

/// What going on from there loses or repeats.
fn consequence(look: &Look, offset: u64, anew: bool) -> String {
    let bounds = look.bounds();
    let mut sentences = Vec::new();
    sentences.push(match look.emitted() {
        Some(emitted) if emitted == offset => "no output is lost or repeated".to_owned(),
        Some(emitted) if emitted > offset => format!(
            "outputs of the records {offset} to {} are emitted a second time",
            emitted.min(bounds.end).saturating_sub(1)
        ),
        Some(emitted) => format!(
            "the records {emitted} to {} are folded without outputs: what they had to tell is never told",
            offset.saturating_sub(1)
        ),
        None => format!(
            "how far outputs were emitted is not known: what was not emitted below {offset} never is, \
             what was emitted from there on is emitted a second time"
        ),
    });
    if let Some(Refusal::RawDamaged(_)) = &look.refusal {
        sentences.push(
            "the derived topics keep what was told of the raw records that are gone, and event ids and \
             revisions that were given for them are given again"
                .to_owned(),
        );
    }
    if anew && bounds.start > 0 {
        sentences.push(format!(
            "the state knows nothing of records below {}: messages, windows, totals and decisions of \
             before are gone, so an action may be decided again",
            bounds.start
        ));
    }
    sentences.join("; ")
}

/// A line per partition, then what is refused and which ways on there are.
fn table(all: &[Shown]) -> String {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut text = format!(
        "{:>9}  {:16}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  LAST RECORD\n",
        "PARTITION", "VERDICT", "GROUP", "EMITTED", "STATE", "RAW START", "RAW END"
    );
    for shown in all {
        let last = match shown.last_record_is_the_folded_one {
            Some(true) => "as folded",
            Some(false) => "another",
            None => "-",
        };
        text.push_str(&format!(
            "{:>9}  {:16}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {last}\n",
            shown.partition,
            shown.verdict,
            number(shown.group_position),
            number(shown.emitted),
            number(shown.state_cursor),
            shown.raw_start,
            shown.raw_end,
        ));
    }
    for shown in all {
        let Some(refused) = &shown.refused else { continue };
        text.push_str(&format!("\npartition {}: {refused}\n", shown.partition));
        for Way { command, consequence, .. } in &shown.ways {
            text.push_str(&format!("  {command}\n      {consequence}\n"));
        }
    }
    text
}
