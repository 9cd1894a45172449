//! `tickfold replay`: plans, runs, compares and swaps a replay that the node does.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tickfold_core::time::Timestamp;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::admin::v1::diff_replay_response::Part;
use tickfold_proto::admin::v1::replay_scope::{From as Begin, To as End};
use tickfold_proto::admin::v1::replay_service_client::ReplayServiceClient;

use super::{connect, document, failed, find, found, print, report, rules, show, timed};
use crate::cli::{Client, Output, Replay, ReplayCommand, ReplayPlan, ReplayScope};
use crate::node::now;

/// Exit code of a comparison that found differences.
const DIFFERS: u8 = 2;

/// Pause before a replay that runs is looked at again: the first, which doubles, and the longest.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(2);

/// A plan. Members stand in this order.
#[derive(Serialize)]
struct Plan {
    partitions: Vec<PartitionPlan>,
    records: u64,
    bytes: u64,
    records_per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate_seconds: Option<u64>,
    is_part: bool,
}

#[derive(Serialize)]
struct PartitionPlan {
    partition: u32,
    from_offset: u64,
    to_offset: u64,
    from_checkpoint: bool,
    records: u64,
    bytes: u64,
}

/// A replay.
#[derive(Serialize)]
struct Progress {
    generation: u64,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_time: Option<String>,
    records: u64,
    selected: u64,
    records_per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<u64>,
    is_part: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    partitions: Vec<PartitionProgress>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    generations: Vec<Generations>,
}

/// Which states there are of a partition.
#[derive(Serialize)]
struct Generations {
    partition: u32,
    live: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<u64>,
}

/// A partition that was swapped.
#[derive(Serialize)]
struct Swapped {
    partition: u32,
    position: u64,
    live: u64,
    kept: u64,
    rows: u64,
    stood_still_ms: u64,
}

#[derive(Serialize)]
struct PartitionProgress {
    partition: u32,
    from_offset: u64,
    position: u64,
    to_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// A comparison.
#[derive(Serialize)]
struct Comparison {
    differences: u64,
    same: u64,
    is_part: bool,
    kinds: Vec<Kind>,
}

#[derive(Serialize, Default)]
struct Kind {
    kind: String,
    same: u64,
    changed: u64,
    added: u64,
    gone: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    samples: Vec<Sample>,
}

#[derive(Serialize)]
struct Sample {
    partition: u32,
    key: String,
    change: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
}

#[derive(Serialize)]
struct Discarded {
    generation: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept_partitions: Vec<u32>,
}

/// `tickfold replay`.
pub(crate) async fn replay(Replay { what, plan }: Replay) -> Result<ExitCode> {
    match what.unwrap_or(ReplayCommand::Plan(plan)) {
        ReplayCommand::Plan(ReplayPlan { scope, client }) => {
            let scope = Some(scope_of(scope)?);
            let request = timed(&client, admin::PlanReplayRequest { scope });
            let reply = service(&client).await?.plan_replay(request).await;
            let plan = Plan::from(reply.map_err(|status| failed(&status))?.into_inner());
            match client.output {
                Output::Table => print(&plan.table()),
                Output::Json | Output::Jsonl => document(client.output, &plan)?,
            }
            report("nothing was folded: `tickfold replay run` with the same arguments does it");
            Ok(ExitCode::SUCCESS)
        }
        ReplayCommand::Run { scope, rate, detach, client } => {
            let is_all = scope.is_empty();
            let scope = if is_all { None } else { Some(scope_of(scope)?) };
            let records_per_second_max = rate.unwrap_or_default();
            let request = admin::RunReplayRequest { scope, records_per_second_max };
            let mut service = service(&client).await?;
            let reply = service.run_replay(timed(&client, request)).await;
            let reply = reply.map_err(|status| failed(&status))?.into_inner();
            let word = if reply.goes_on { "goes on" } else { "begins" };
            report(&format!("replay {} {word}", reply.generation));
            if detach {
                return status(&client).await;
            }
            tokio::select! {
                followed = follow(&client) => followed,
                _ = tokio::signal::ctrl_c() => {
                    report("the replay goes on in the node; `tickfold replay stop` stops it");
                    Ok(ExitCode::FAILURE)
                }
            }
        }
        ReplayCommand::Status { client } => status(&client).await,
        ReplayCommand::Stop { client } => {
            let request = timed(&client, admin::StopReplayRequest {});
            let reply = service(&client).await?.stop_replay(request).await;
            match found(reply)? {
                Some(admin::StopReplayResponse {}) => status(&client).await,
                None => Ok(ExitCode::from(super::NOT_FOUND)),
            }
        }
        ReplayCommand::Diff { samples, client } => diff(samples, &client).await,
        ReplayCommand::Swap { rows_max, client } => {
            // Without a deadline: it takes as long as there are rows to be compared.
            let request = tonic::Request::new(admin::SwapReplayRequest { rows_max });
            let parts = found(service(&client).await?.swap_replay(request).await)?;
            let parts = parts.map(|parts| parts.map_ok(|part| part.swapped).boxed());
            swapped(parts, &client).await
        }
        ReplayCommand::Rollback { rows_max, client } => {
            let request = tonic::Request::new(admin::RollbackReplayRequest { rows_max });
            let parts = found(service(&client).await?.rollback_replay(request).await)?;
            let parts = parts.map(|parts| parts.map_ok(|part| part.swapped).boxed());
            swapped(parts, &client).await
        }
        ReplayCommand::Discard { client } => {
            let request = timed(&client, admin::DiscardReplayRequest {});
            let reply = service(&client).await?.discard_replay(request).await;
            super::answer(&client, reply, |reply| {
                let admin::DiscardReplayResponse { generation, kept_partitions } = reply;
                if !kept_partitions.is_empty() {
                    report(
                        "the states that a swap had kept are deleted: there is no way back to them",
                    );
                }
                Some(Discarded { generation, kept_partitions })
            })
        }
    }
}

async fn service(client: &Client) -> Result<ReplayServiceClient<super::Connection>> {
    Ok(ReplayServiceClient::new(connect(client).await?))
}

type SwappedParts = BoxStream<'static, Result<Option<admin::ReplaySwapped>, tonic::Status>>;

/// Prints what was done with each partition, also where it ended before all were done.
async fn swapped(parts: Option<SwappedParts>, client: &Client) -> Result<ExitCode> {
    let Some(mut parts) = parts else { return Ok(ExitCode::from(super::NOT_FOUND)) };
    let (mut done, mut ended) = (Vec::new(), Ok(ExitCode::SUCCESS));
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => done.extend(part.map(Swapped::from)),
            Err(status) => ended = Err(failed(&status)),
        }
    }
    if done.is_empty() && ended.is_ok() {
        report("nothing was left to be done");
    }
    let table = |all: &[Swapped]| all.iter().map(Swapped::line).collect::<String>();
    super::listing(client.output, &done, table)?;
    ended
}

async fn look(client: &Client) -> Result<Option<admin::GetReplayResponse>> {
    let request = timed(client, admin::GetReplayRequest {});
    found(service(client).await?.get_replay(request).await)
}

async fn status(client: &Client) -> Result<ExitCode> {
    let Some(reply) = look(client).await? else { return Ok(ExitCode::from(super::NOT_FOUND)) };
    document(client.output, &Progress::from(reply))?;
    Ok(ExitCode::SUCCESS)
}

/// Tells how a replay gets on until it is at its end.
async fn follow(client: &Client) -> Result<ExitCode> {
    let mut pause = LOOK;
    loop {
        let Some(reply) = look(client).await? else { bail!("the replay was discarded") };
        let state = reply.state();
        if state != admin::ReplayState::Running {
            let progress = Progress::from(reply);
            document(client.output, &progress)?;
            return match (state, progress.error) {
                (admin::ReplayState::Done, _) => Ok(ExitCode::SUCCESS),
                (_, Some(error)) => bail!("the replay failed: {error}"),
                (_, None) => bail!("the replay was stopped: `tickfold replay run` goes on"),
            };
        }
        report(&Progress::from(reply).line());
        tokio::time::sleep(pause).await;
        pause = LOOK_MAX.min(pause * 2);
    }
}

async fn diff(samples: u32, client: &Client) -> Result<ExitCode> {
    // Without a deadline: it takes as long as there are rows, and tells how it gets on.
    let request = tonic::Request::new(admin::DiffReplayRequest { samples });
    let Some(mut parts) = found(service(client).await?.diff_replay(request).await)? else {
        return Ok(ExitCode::from(super::NOT_FOUND));
    };
    let mut kinds: Vec<Kind> = Vec::new();
    let ended = loop {
        let part = match parts.message().await {
            Ok(part) => part.and_then(|response| response.part),
            Err(status) => break Err(failed(&status)),
        };
        match part {
            Some(Part::Progress(admin::ReplayDiffProgress { partition, position, to_offset })) => {
                report(&format!("partition {partition}: folded on to {position} of {to_offset}"));
            }
            Some(Part::Difference(found)) => add(&mut kinds, found),
            Some(Part::End(end)) => break Ok(end),
            None => break Err(anyhow!("the node ended before it had compared everything")),
        }
    };
    let is_whole = ended.is_ok();
    let (differences, same, is_part) = match &ended {
        Ok(admin::ReplayDiffEnd { differences, same, is_part }) => (*differences, *same, *is_part),
        Err(_) => {
            let sum = |of: fn(&Kind) -> u64| kinds.iter().map(of).sum();
            (sum(|kind| kind.changed + kind.added + kind.gone), sum(|kind| kind.same), false)
        }
    };
    // What was compared is shown also where it ended before all was.
    if is_whole || !kinds.is_empty() {
        let comparison = Comparison { differences, same, is_part, kinds };
        match client.output {
            Output::Table => print(&comparison.table(is_whole)),
            Output::Json | Output::Jsonl => document(client.output, &comparison)?,
        }
    }
    ended?;
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

/// Adds what was found in one partition to its kind.
fn add(kinds: &mut Vec<Kind>, found: admin::ReplayDifference) {
    let index = kinds.iter().position(|kind| kind.kind == found.kind).unwrap_or(kinds.len());
    if index == kinds.len() {
        kinds.push(Kind { kind: found.kind.clone(), ..Kind::default() });
    }
    let Some(kind) = kinds.get_mut(index) else { return };
    kind.same += found.same;
    kind.changed += found.changed;
    kind.added += found.added;
    kind.gone += found.gone;
    for (field, count) in found.fields {
        *kind.fields.entry(field).or_default() += count;
    }
    let partition = found.partition;
    kind.samples.extend(found.samples.into_iter().map(|sample| {
        let change = sample.change().as_str_name().trim_start_matches("REPLAY_CHANGE_");
        let change = change.to_ascii_lowercase();
        Sample { partition, key: sample.key, change, fields: sample.fields }
    }));
}

fn scope_of(scope: ReplayScope) -> Result<admin::ReplayScope> {
    let from_time = match scope.by_duration {
        Some(duration) => Some(before_now(duration)),
        None => find::time(scope.from_datetime.as_deref())?,
    };
    let rules_json = match &scope.rules {
        Some(file) => String::from_utf8(rules::read(file)?.canonical()).context("write rules")?,
        None => String::new(),
    };
    let ranges = scope.from_file.as_deref().map(ranges).transpose()?.unwrap_or_default();
    let from = from_time.map(Begin::FromTime);
    let from = scope.from_offset.map_or(from, |offset| Some(Begin::FromOffset(offset)));
    let to_time = find::time(scope.to_datetime.as_deref())?;
    let to = to_time.map(End::ToTime);
    let to = scope.to_offset.map_or(to, |offset| Some(End::ToOffset(offset)));
    Ok(admin::ReplayScope {
        partitions: scope.partitions,
        from,
        to,
        ranges,
        waba_ids: scope.wabas,
        phone_number_ids: scope.numbers,
        wamids: scope.wamids,
        rules_json,
    })
}

fn before_now(duration: Duration) -> prost_types::Timestamp {
    let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let then = Timestamp::from_millis(now().as_millis().saturating_sub(ms)).as_millis();
    let nanos = i32::try_from(then.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    prost_types::Timestamp { seconds: then.div_euclid(1_000), nanos }
}

/// Reads `partition,from[,to]` per line, or `topic,partition,from` as kafka-consumer-groups exports.
fn ranges(file: &Path) -> Result<Vec<admin::ReplayRange>> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("read {name}"))?;
    let mut ranges = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let range = range(line);
        let number = index + 1;
        ranges.push(
            range.with_context(|| format!("{name}, line {number}: is not PARTITION,FROM[,TO]"))?,
        );
    }
    if ranges.is_empty() {
        bail!("{name} names no partition");
    }
    Ok(ranges)
}

fn range(line: &str) -> Option<admin::ReplayRange> {
    let mut fields: Vec<&str> =
        line.split(',').map(|field| field.trim().trim_matches('"')).collect();
    let is_number = |field: &&str| field.parse::<u64>().is_ok();
    if fields.len() == 3 && !fields.first().is_some_and(is_number) {
        fields.remove(0);
    }
    let (partition, offsets) = fields.split_first()?;
    let offset = |index: usize| offsets.get(index).map(|text| text.parse::<u64>()).transpose();
    if offsets.is_empty() || offsets.len() > 2 {
        return None;
    }
    Some(admin::ReplayRange {
        partition: partition.parse().ok()?,
        from_offset: offset(0).ok()?,
        to_offset: offset(1).ok()?,
    })
}

impl Plan {
    fn table(&self) -> String {
        let mut text = String::new();
        for of in &self.partitions {
            let PartitionPlan { partition, from_offset, to_offset, records, .. } = of;
            let bytes = size(of.bytes);
            let on = if of.from_checkpoint { "  on a checkpoint" } else { "" };
            text += &format!(
                "partition {partition:<4}  {from_offset} to {to_offset}  {records} records  {bytes}{on}\n"
            );
        }
        let (records, bytes) = (self.records, size(self.bytes));
        text += &format!("together        {records} records  {bytes}");
        if let Some(seconds) = self.estimate_seconds {
            let rate = self.records_per_second;
            text += &format!("  about {}, at {rate} records/s", span(seconds));
        }
        if self.is_part {
            text +=
                "\na part of the history, or other rules: to be compared, not the state of the log";
        }
        text + "\n"
    }
}

impl Progress {
    fn line(&self) -> String {
        let (mut done, mut all) = (0, 0);
        for of in &self.partitions {
            all += of.to_offset.saturating_sub(of.from_offset);
            done += of.position.min(of.to_offset).saturating_sub(of.from_offset);
        }
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        let rate = self.records_per_second;
        let left = self.remaining_seconds.map(|left| format!(", {} left", span(left)));
        let left = left.unwrap_or_default();
        format!("{percent} %, {done} of {all} records, {rate} records/s{left}")
    }
}

impl Comparison {
    fn table(&self, is_whole: bool) -> String {
        let mut text = String::new();
        for of in &self.kinds {
            let Kind { kind, same, changed, added, gone, fields, samples } = of;
            if *same + *changed + *added + *gone == 0 {
                continue;
            }
            text += &format!(
                "{kind:<12}  {same} same  {changed} changed  {added} added  {gone} gone\n"
            );
            for (field, count) in fields {
                text += &format!("  {field} in {count}\n");
            }
            for Sample { partition, key, change, fields } in samples {
                let fields = fields.join(" ");
                text += format!("  {change} in {partition}: {key}  {fields}").trim_end();
                text += "\n";
            }
        }
        text += &match self.differences {
            0 => "no difference".to_owned(),
            differences => format!("{differences} differences"),
        };
        text += if is_whole { "\n" } else { " in what was compared\n" };
        if self.is_part {
            text += "a part of the history, or other rules: what only the live state has is not told of a part\n";
        }
        text
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut scaled, mut unit) = (bytes, "bytes");
    for next in UNITS {
        if scaled < 10 * 1_024 {
            break;
        }
        (scaled, unit) = (scaled / 1_024, next);
    }
    format!("{scaled} {unit}")
}

fn span(seconds: u64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Option<prost_types::Duration>) -> Option<u64> {
    let duration = duration?;
    u64::try_from(duration.seconds + i64::from(duration.nanos > 0)).ok()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate that is not negative, for people"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

impl Swapped {
    fn line(&self) -> String {
        let Self { partition, position, live, kept, rows, stood_still_ms } = self;
        format!(
            "partition {partition:<4}  at {position}  state {live} is live, {kept} is kept  {rows} rows \
             published  stood still for {stood_still_ms} ms\n"
        )
    }
}

impl From<admin::ReplaySwapped> for Swapped {
    fn from(swapped: admin::ReplaySwapped) -> Self {
        let admin::ReplaySwapped { partition, position, live, kept, rows, stood_still } = swapped;
        let stood_still = stood_still.and_then(|time| Duration::try_from(time).ok());
        let ms = stood_still.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let stood_still_ms = ms.unwrap_or_default();
        Self { partition, position, live, kept, rows, stood_still_ms }
    }
}

impl From<admin::PlanReplayResponse> for Plan {
    fn from(plan: admin::PlanReplayResponse) -> Self {
        let of = |of: admin::ReplayPlan| PartitionPlan {
            partition: of.partition,
            from_offset: of.from_offset,
            to_offset: of.to_offset,
            from_checkpoint: of.from_checkpoint,
            records: of.records,
            bytes: of.bytes,
        };
        Self {
            records: plan.partitions.iter().map(|of| of.records).sum(),
            bytes: plan.partitions.iter().map(|of| of.bytes).sum(),
            partitions: plan.partitions.into_iter().map(of).collect(),
            records_per_second: whole(plan.records_per_second),
            estimate_seconds: seconds(plan.estimate),
            is_part: plan.is_part,
        }
    }
}

impl From<admin::GetReplayResponse> for Progress {
    fn from(reply: admin::GetReplayResponse) -> Self {
        let state = reply.state().as_str_name().trim_start_matches("REPLAY_STATE_");
        let of = |of: admin::ReplayProgress| PartitionProgress {
            partition: of.partition,
            from_offset: of.from_offset,
            position: of.position,
            to_offset: of.to_offset,
            digest: show::text(of.digest),
        };
        let states = |of: admin::ReplayGenerations| Generations {
            partition: of.partition,
            live: of.live,
            kept: of.kept,
        };
        Self {
            state: state.to_ascii_lowercase(),
            generation: reply.generation,
            create_time: show::time(reply.create_time),
            records: reply.records,
            selected: reply.selected,
            records_per_second: whole(reply.records_per_second),
            remaining_seconds: seconds(reply.remaining),
            is_part: reply.is_part,
            error: show::text(reply.error),
            partitions: reply.partitions.into_iter().map(of).collect(),
            generations: reply.generations.into_iter().map(states).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_we_and_as_kafka_write_them() {
        let read = |line| range(line).map(|of| (of.partition, of.from_offset, of.to_offset));
        assert_eq!(read("3,42"), Some((3, Some(42), None)));
        assert_eq!(read("3, 42, 50"), Some((3, Some(42), Some(50))));
        assert_eq!(read("wa.webhook.raw.v1,3,42"), Some((3, Some(42), None)));
        assert_eq!(read("\"wa.webhook.raw.v1\",3,42"), Some((3, Some(42), None)));
        for bad in ["", "3", "3,x", "topic,3", "3,1,2,3", "-1,3"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_and_spans_are_short() {
        assert_eq!([size(0), size(10_239), size(10_240)], ["0 bytes", "10239 bytes", "10 KiB"]);
        assert_eq!([span(59), span(61), span(7_260)], ["59s", "1m 1s", "2h 1m"]);
    }
}
