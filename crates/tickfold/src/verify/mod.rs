//! `tickfold verify`: raw is what was taken in, checkpoints are what was made, and the state is what raw
//! gives. Reads, and changes no record.
//!
//! Three things vouch for a record of raw: Meta's signature for its body, by the secret that it names;
//! what ingress writes around a body, which follows from it; and the digest of all records that were
//! folded, which is written down with every commit and every checkpoint, for the rest. The first two
//! tell the record, the third the range between two places.

mod partition;
mod records;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tickfold_core::fold::Partition;
use tickfold_core::time::Timestamp;
use tickfold_log::{Bounds, Error as LogError, Log, Offset, TopicPartition};
use tickfold_processor::Token;
use tickfold_store::{Checkpoint, CheckpointDir, CheckpointFound, CheckpointState};

use crate::at_rest::{layers, open_log, take};
use crate::cli::Verify;
use crate::client::{listing, print};
use crate::config::Config;
use crate::raw_topic::RawTopic;
use crate::{apps, environment};
use partition::{Damage, Found, Known, Reading};
use records::{Checks, Part};
use state::{Compared, States};

/// Exit code where something is not as it was written.
const DAMAGED: u8 = 2;

/// A line of the output: a partition, or what is damaged in it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Partition(Found),
    State(Compared),
    Damage(Damage),
}

/// Verifies, and says what it found.
pub(crate) async fn run(command: &Verify) -> Result<ExitCode> {
    let config = layers(&command.at)?.read()?;
    let apps = apps::read_secrets(config.ingress.apps_file.as_deref(), environment)?;
    // The embedded log has one process.
    let _dir = match config.kafka.brokers {
        None => Some(take(&config)?),
        Some(_) => None,
    };
    let log = match open_log(&config).await {
        Ok(log) => log,
        Err(error) => return not_opened(command, error),
    };
    let verified = Box::pin(read(&log, &config, &apps, command)).await;
    log.close().await.context("close the log")?;
    report(command, verified?)
}

/// A log that lacks what it had does not open: that is what was looked for.
fn not_opened(command: &Verify, error: anyhow::Error) -> Result<ExitCode> {
    let Some(LogError::Damaged { reason, first_lost }) = error.downcast_ref::<LogError>() else {
        return Err(error);
    };
    let nowhere = || (TopicPartition::new("", 0), 0);
    let (TopicPartition { topic, partition }, offset) = first_lost.clone().unwrap_or_else(nowhere);
    let (topic, part, why) = (topic.to_string(), Part::Log, reason.clone());
    let damage = Damage { topic, partition, offset, before: None, part, why };
    report(command, vec![Line::Damage(damage)])
}

async fn read(
    shared: &Arc<dyn Log>,
    config: &Config,
    apps: &[tickfold_ingress::App],
    command: &Verify,
) -> Result<Vec<Line>> {
    let log = &**shared;
    let raw = RawTopic::find(config, log).await?;
    let count = raw.partitions;
    if let Some(unknown) = command.partitions.iter().find(|id| **id >= count) {
        bail!("there is no partition {unknown}: {} has {count}", raw.name);
    }
    let positions = log.positions(&config.group, &raw.name).await;
    let positions = positions.context("read the group's positions")?;
    let mut lines = Vec::new();
    let mut checkpoints = checkpoints(config, &raw.name, command, &mut lines)?;
    let retired = &command.retired_secret_ids;
    let checks = Checks { apps, partition_count: count, retired };
    let all = 0..count;
    for partition in
        all.filter(|id| command.partitions.is_empty() || command.partitions.contains(id))
    {
        let at = TopicPartition::new(raw.name.as_str(), partition);
        let context = || format!("read {at}");
        let bounds = log.bounds(&at).await.with_context(context)?;
        let from = place(log, &at, command.from.as_deref(), bounds.start, bounds).await?;
        let to = place(log, &at, command.to.as_deref(), bounds.end, bounds).await?;
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let position = positions.get(index).and_then(Option::as_ref).and_then(|found| {
            let token = Token::parse(&found.metadata).ok()?;
            Some((found.offset, token))
        });
        let checkpoints = checkpoints.remove(&partition).unwrap_or_default();
        let known = known(&checkpoints, position.as_ref());
        let reading = Reading { log, at: at.clone(), checks: &checks, known };
        let found = reading.run(from, to).await.with_context(context)?;
        let damage = found.damage.clone();
        lines.push(Line::Partition(found));
        let is_readable = !damage.iter().any(|damage| damage.part == Part::Log);
        lines.extend(damage.into_iter().map(Line::Damage));
        // What cannot be read cannot be folded either.
        if command.state && is_readable {
            let (topic, partition) = (&*raw.name, Partition { id: partition, count });
            let states =
                States { config, log: shared, topic, partition, bounds, checkpoints, position };
            let compared = states.run().await?;
            let damage = compared.damage.clone();
            lines.push(Line::State(compared));
            lines.extend(damage.into_iter().map(Line::Damage));
        }
    }
    Ok(lines)
}

/// Where to begin or to end: an offset, or the first record from a time on.
async fn place(
    log: &dyn Log,
    at: &TopicPartition,
    wanted: Option<&str>,
    otherwise: Offset,
    bounds: Bounds,
) -> Result<Offset> {
    let Some(text) = wanted else { return Ok(otherwise) };
    let offset = match text.parse::<Offset>() {
        Ok(offset) => offset,
        Err(_) => {
            let time = Timestamp::parse_rfc3339(text);
            let time = time.with_context(|| {
                format!("{text:?} is no offset and no time such as 2026-11-20T00:00:00Z")
            })?;
            let found = log.offset_at(at, time.as_millis()).await;
            found.with_context(|| format!("look for {text} in {at}"))?
        }
    };
    Ok(offset.clamp(bounds.start, bounds.end))
}

/// Where the digest of raw is written down, in order.
fn known(checkpoints: &[Checkpoint], position: Option<&(Offset, Token)>) -> Vec<Known> {
    let mut known = vec![Known { at: 0, sum: 0, by: "the beginning".to_owned() }];
    known.extend(checkpoints.iter().map(|Checkpoint { id, head }| Known {
        at: head.cursor,
        sum: head.raw_digest,
        by: format!("checkpoint {id}"),
    }));
    known.extend(position.map(|(at, token)| Known {
        at: *at,
        sum: token.raw_digest,
        by: format!("the position {at}"),
    }));
    known.sort_by_key(|known| known.at);
    known
}

/// The checkpoints, by partition. Those that are damaged are told, and not believed.
fn checkpoints(
    config: &Config,
    topic: &str,
    command: &Verify,
    lines: &mut Vec<Line>,
) -> Result<BTreeMap<u32, Vec<Checkpoint>>> {
    let mut whole: BTreeMap<u32, Vec<Checkpoint>> = BTreeMap::new();
    let Some(dir) = config.store.checkpoint_dir.as_ref() else { return Ok(whole) };
    let dir = CheckpointDir::new(dir);
    for CheckpointFound { partition, cursor, state, .. } in
        dir.list().context("list checkpoints")?
    {
        let wanted = command.partitions.is_empty() || command.partitions.contains(&partition);
        if !wanted || state == CheckpointState::Unfinished {
            continue;
        }
        let damage = dir.verify(partition, cursor);
        let damage = damage.with_context(|| format!("verify checkpoint {partition}/{cursor}"))?;
        let Some(damage) = damage else { continue };
        if let (true, CheckpointState::Finished(head)) = (damage.is_empty(), state) {
            whole.entry(partition).or_default().push(Checkpoint { id: cursor.to_string(), head });
        }
        let (topic, part) = (topic.to_owned(), Part::State);
        lines.extend(damage.into_iter().map(|damage| {
            let why = format!("checkpoint {cursor}: {damage}");
            let topic = topic.clone();
            Line::Damage(Damage { topic, partition, offset: cursor, before: None, part, why })
        }));
    }
    Ok(whole)
}

fn report(command: &Verify, lines: Vec<Line>) -> Result<ExitCode> {
    let damaged = lines.iter().any(|line| match line {
        Line::Partition(found) => found.damaged > 0,
        Line::State(compared) => compared.damaged > 0,
        Line::Damage(_) => true,
    });
    listing(command.at.output, &lines, table)?;
    if command.at.output == crate::cli::Output::Table {
        print(if damaged { "\ndamaged\n" } else { "\nas it was written\n" });
    }
    Ok(if damaged { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS })
}

fn table(lines: &[Line]) -> String {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut text = format!(
        "{:>9}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>21}  {:>7}\n",
        "PARTITION", "FROM", "TO", "RECORDS", "WEBHOOKS", "UNVERIFIED", "DIGEST KNOWN", "DAMAGED"
    );
    let (mut damage, mut states) = (String::new(), String::new());
    for line in lines {
        match line {
            Line::Partition(found) => text.push_str(&format!(
                "{:>9}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10} {:>10}  {:>7}\n",
                found.partition,
                found.from,
                found.to,
                found.records,
                found.webhooks,
                found.unverified,
                number(found.digest_from),
                number(found.digest_to),
                found.damaged
            )),
            Line::State(compared) => states.push_str(&format!(
                "partition {}: rows of {} checkpoints summed, raw folded from {} to {}\n",
                compared.partition,
                compared.checkpoints,
                compared.folded_from,
                number(compared.folded_to)
            )),
            Line::Damage(Damage { topic, partition, offset, before, part, why }) => {
                let until = before.map(|before| format!(" to {}", before.saturating_sub(1)));
                damage.push_str(&format!(
                    "{topic}/{partition}@{offset}{}  {}: {why}\n",
                    until.unwrap_or_default(),
                    part.word()
                ));
            }
        }
    }
    for part in [states, damage].iter().filter(|part| !part.is_empty()) {
        text.push('\n');
        text.push_str(part);
    }
    text
}
