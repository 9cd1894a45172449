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
mod workplace;

pub(crate) use workplace::remove_left;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tickfold_core::fold::Partition;
use tickfold_core::time::Timestamp;
use tickfold_log::{Bounds, Committed, Error as LogError, Log, Offset, TopicPartition};
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
use workplace::Workplace;

/// Exit code where something is not as it was written.
const DAMAGED: u8 = 2;

/// A line of the output: a partition, what is damaged in it, or what of it could not be looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Partition(Found),
    State(Compared),
    Damage(Damage),
    NotVerified(NotVerified),
}

/// Something that may be as it was written or not.
#[derive(Debug, Serialize)]
struct NotVerified {
    partition: u32,
    why: String,
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
    let closed = log.close().await;
    let code = report(command, &verified?)?;
    closed.context("close the log")?;
    Ok(code)
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
    report(command, &[Line::Damage(damage)])
}

async fn read(
    log: &Arc<dyn Log>,
    config: &Config,
    apps: &[tickfold_ingress::App],
    command: &Verify,
) -> Result<Vec<Line>> {
    let (from, to) = (Place::parse(command.from.as_deref())?, Place::parse(command.to.as_deref())?);
    let raw = RawTopic::find(config, &**log).await?;
    let count = raw.partitions;
    if let Some(unknown) = command.partitions.iter().find(|id| **id >= count) {
        bail!("there is no partition {unknown}: {} has {count}", raw.name);
    }
    let positions = log.positions(&config.group, &raw.name).await;
    let positions = positions.context("read the group's positions")?;
    let checks = Checks { apps, partition_count: count, retired: &command.retired_secret_ids };
    let workplace = command.state.then(|| Workplace::take(&config.data_dir)).transpose()?;
    let (topic, workplace) = (&*raw.name, workplace.as_ref());
    let verifying = Verifying { log, config, topic, checks, from, to, workplace };
    let mut lines = Vec::new();
    for (id, position) in (0..count).zip(positions.into_iter().chain(std::iter::repeat(None))) {
        if command.partitions.is_empty() || command.partitions.contains(&id) {
            verifying.partition(id, position, &mut lines).await;
        }
    }
    Ok(lines)
}

/// What partitions are verified with.
struct Verifying<'a> {
    log: &'a Arc<dyn Log>,
    config: &'a Config,
    topic: &'a str,
    checks: Checks<'a>,
    from: Option<Place>,
    to: Option<Place>,
    /// Where states are folded, if they are to be.
    workplace: Option<&'a Workplace>,
}

impl Verifying<'_> {
    /// Verifies a partition. What cannot be looked at is a line too: it says nothing of what else there
    /// is, here and in the others.
    async fn partition(&self, id: u32, position: Option<Committed>, lines: &mut Vec<Line>) {
        if let Err(error) = self.looked(id, position, lines).await {
            lines.push(not_verified(id, &error));
        }
    }

    async fn looked(
        &self,
        partition: u32,
        position: Option<Committed>,
        lines: &mut Vec<Line>,
    ) -> Result<()> {
        let log = &**self.log;
        let checkpoints = self.checkpoints(partition, lines);
        let at = TopicPartition::new(self.topic, partition);
        let bounds = log.bounds(&at).await.with_context(|| format!("read {at}"))?;
        let from = place(log, &at, self.from, bounds.start, bounds).await?;
        let to = place(log, &at, self.to, bounds.end, bounds).await?;
        let position = position.and_then(|found| {
            let token = Token::parse(&found.metadata).ok()?;
            Some((found.offset, token))
        });
        let known = known(&checkpoints, position.as_ref());
        let reading = Reading { log, at: at.clone(), checks: &self.checks, known };
        let mut found = reading.run(from, to).await;
        let (reached, broken_off) = (found.to, found.broken_off.take());
        let damage = found.damage.clone();
        lines.push(Line::Partition(found));
        if let Some(error) = broken_off {
            let what = format!("read {at} from {reached} on");
            lines.push(not_verified(partition, &anyhow::Error::from(error).context(what)));
        }
        let is_readable = !damage.iter().any(|damage| damage.part == Part::Log);
        lines.extend(damage.into_iter().map(Line::Damage));
        // What cannot be read cannot be folded either.
        if let Some(workplace) = self.workplace.filter(|_| is_readable) {
            let partition = Partition { id: partition, count: self.checks.partition_count };
            let (config, log, topic) = (self.config, self.log, self.topic);
            let states =
                States { config, log, topic, workplace, partition, bounds, checkpoints, position };
            let mut compared = states.run().await;
            let damage = std::mem::take(&mut compared.damage);
            let open = std::mem::take(&mut compared.not_verified);
            lines.push(Line::State(compared));
            lines.extend(damage.into_iter().map(Line::Damage));
            lines.extend(open.iter().map(|error| not_verified(partition.id, error)));
        }
        Ok(())
    }

    /// The checkpoints of a partition as they are now: nodes make and remove them meanwhile. Those that
    /// are damaged are told, and not believed.
    fn checkpoints(&self, partition: u32, lines: &mut Vec<Line>) -> Vec<Checkpoint> {
        let mut whole = Vec::new();
        let Some(dir) = self.config.store.checkpoint_dir.as_ref() else { return whole };
        let dir = CheckpointDir::new(dir);
        let found = dir.list_of(partition).context("list checkpoints").unwrap_or_else(|error| {
            lines.push(not_verified(partition, &error));
            Vec::new()
        });
        for CheckpointFound { cursor, state, .. } in found {
            if state == CheckpointState::Unfinished {
                continue;
            }
            let damage = dir.verify(partition, cursor);
            let damage = damage.with_context(|| format!("verify checkpoint {partition}/{cursor}"));
            let damage = match damage {
                Ok(Some(damage)) => damage,
                // Removed meanwhile.
                Ok(None) => continue,
                Err(error) => {
                    lines.push(not_verified(partition, &error));
                    continue;
                }
            };
            if let (true, CheckpointState::Finished(head)) = (damage.is_empty(), state) {
                whole.push(Checkpoint { id: cursor.to_string(), head });
            }
            lines.extend(damage.into_iter().map(|damage| {
                let (topic, part) = (self.topic.to_owned(), Part::State);
                let why = format!("checkpoint {cursor}: {damage}");
                Line::Damage(Damage { topic, partition, offset: cursor, before: None, part, why })
            }));
        }
        whole
    }
}

fn not_verified(partition: u32, error: &anyhow::Error) -> Line {
    Line::NotVerified(NotVerified { partition, why: format!("{error:#}") })
}

/// Where to begin or to end: an offset, or the first record from a time on.
#[derive(Debug, Clone, Copy)]
enum Place {
    Offset(Offset),
    Time(Timestamp),
}

impl Place {
    fn parse(text: Option<&str>) -> Result<Option<Self>> {
        let Some(text) = text else { return Ok(None) };
        if let Ok(offset) = text.parse() {
            return Ok(Some(Self::Offset(offset)));
        }
        let time = Timestamp::parse_rfc3339(text).with_context(|| {
            format!("{text:?} is no offset and no time such as 2026-11-20T00:00:00Z")
        })?;
        Ok(Some(Self::Time(time)))
    }
}

async fn place(
    log: &dyn Log,
    at: &TopicPartition,
    wanted: Option<Place>,
    otherwise: Offset,
    bounds: Bounds,
) -> Result<Offset> {
    let offset = match wanted {
        None => return Ok(otherwise),
        Some(Place::Offset(offset)) => offset,
        Some(Place::Time(time)) => {
            let found = log.offset_at(at, time.as_millis()).await;
            found.with_context(|| format!("look for {time} in {at}"))?
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

fn report(command: &Verify, lines: &[Line]) -> Result<ExitCode> {
    let damaged = lines.iter().any(|line| match line {
        Line::Partition(found) => found.damaged > 0,
        Line::State(compared) => compared.damaged > 0,
        Line::Damage(_) => true,
        Line::NotVerified(_) => false,
    });
    let open = lines.iter().any(|line| matches!(line, Line::NotVerified(_)));
    let (word, code) = match (damaged, open) {
        (true, _) => ("damaged", ExitCode::from(DAMAGED)),
        (false, true) => ("not all of it was verified", ExitCode::FAILURE),
        (false, false) => ("as it was written", ExitCode::SUCCESS),
    };
    listing(command.at.output, lines, table)?;
    if command.at.output == crate::cli::Output::Table {
        print(&format!("\n{word}\n"));
    }
    Ok(code)
}

fn table(lines: &[Line]) -> String {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut text = format!(
        "{:>9}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}  {:>21}  {:>7}\n",
        "PARTITION", "FROM", "TO", "RECORDS", "WEBHOOKS", "UNVERIFIED", "DIGEST KNOWN", "DAMAGED"
    );
    let (mut damage, mut states, mut open) = (String::new(), String::new(), String::new());
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
            Line::NotVerified(NotVerified { partition, why }) => {
                open.push_str(&format!("partition {partition} not verified: {why}\n"));
            }
        }
    }
    for part in [states, damage, open].iter().filter(|part| !part.is_empty()) {
        text.push('\n');
        text.push_str(part);
    }
    text
}
