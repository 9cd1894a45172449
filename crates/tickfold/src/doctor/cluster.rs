//! The cluster: brokers, topics, what may be done with them, its clock, and transactions that hold
//! readers up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use tickfold_ingress::tick;
use tickfold_log::{Ends, KafkaLog, KafkaOptions, KafkaProbe, KafkaTopics, Log, TopicPartition};
use tickfold_processor::{DerivedTopics, raw_topic};
use tokio::time::timeout;

use super::{Finding, Patient, protocol};
use crate::log::kafka_options;
use crate::raw_topic::partitions_of_new;
use crate::topics::{self, Report, Verdict};

/// Between two looks at the ends of partitions. A commit takes far less.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// How far clocks may be apart, in milliseconds, before it is said, and before deadlines and windows
/// are off by more than anyone expects.
const CLOCK_MS_ADVISED: i64 = 2_000;
const CLOCK_MS_MAX: i64 = 30_000;
/// Beyond this the way there and back says nothing about clocks.
const ROUND_TRIP_MS_MAX: i64 = 10_000;

const BROKERS_FIX: &str = "compare kafka.brokers and the settings kafka.tls, kafka.ca_file and kafka.sasl_* with \
                           the cluster's, and the principal's rights with docs/operations.md, section Access";

/// Looks at the cluster, if the log is on one, and says how many partitions there are.
pub(super) async fn look(patient: &Patient<'_>, findings: &mut Vec<Finding>) -> u32 {
    let config = patient.config;
    let new = partitions_of_new(config);
    let Some(brokers) = config.kafka.brokers.as_deref() else {
        if patient.role != crate::node::Role::Up {
            let found = format!("`tickfold {}` needs a log on Kafka", patient.role.word());
            findings.push(Finding::fail("brokers", found, "name it with --kafka or kafka.brokers"));
        }
        let why = "the log is embedded: its time is this machine's";
        findings.push(Finding::skipped("clock", why));
        return new;
    };
    let options = match kafka_options(config, brokers) {
        Ok(options) => KafkaOptions { call_timeout: patient.timeout, ..options },
        Err(error) => {
            findings.push(Finding::fail("brokers", format!("{error:#}"), BROKERS_FIX));
            return new;
        }
    };
    let reports = match survey(patient, &options, brokers).await {
        Ok(reports) => reports,
        Err(error) => {
            findings.push(Finding::fail("brokers", format!("{error:#}"), BROKERS_FIX));
            return new;
        }
    };
    findings.push(Finding::ok("brokers", format!("{brokers} answer")));
    findings.push(version(patient, brokers).await);
    findings.push(of_topics(&reports));
    let raw = raw_topic(&config.topic_prefix);
    let raw = reports.iter().find(|report| report.topic == raw);
    let Some(partitions) = raw.and_then(Report::partitions) else {
        for name in ["partitions", "rights", "clock", "transactions"] {
            findings.push(Finding::skipped(name, "there is no raw topic yet"));
        }
        return new;
    };
    findings.push(of_partitions(patient, partitions));
    // Before anything is tried: a trial is a transaction too.
    findings.push(transactions(patient, &options, &reports).await);
    let complete = reports.iter().all(|report| report.verdict != Verdict::Missing);
    match (patient.read_only, complete) {
        (true, _) => {
            for name in ["rights", "clock"] {
                findings.push(Finding::skipped(name, "nothing is tried with --read-only"));
            }
        }
        // A write would have brokers create it, as they see fit.
        (false, false) => {
            for name in ["rights", "clock"] {
                findings.push(Finding::skipped(name, "topics are missing"));
            }
        }
        (false, true) => findings.extend(rights(patient, options, partitions).await),
    }
    partitions
}

async fn survey(
    patient: &Patient<'_>,
    options: &KafkaOptions,
    brokers: &str,
) -> Result<Vec<Report>> {
    let cluster = KafkaTopics::new(options.clone()).context("make a Kafka client")?;
    topics::survey(patient.config, &cluster, brokers).await
}

async fn version(patient: &Patient<'_>, brokers: &str) -> Finding {
    const NAME: &str = "broker_version";
    let asked = timeout(patient.timeout, protocol::fetch_version(patient.config, brokers)).await;
    match asked {
        Ok(Ok(version)) => {
            let (release, enough) = protocol::release(version);
            let found = format!("speaks the protocol of Kafka {release}");
            match enough {
                true => Finding::ok(NAME, found),
                false => Finding::fail(NAME, found, "upgrade the brokers to Kafka 3.7 or newer"),
            }
        }
        Ok(Err(error)) => Finding::skipped(NAME, format!("{error:#}")),
        Err(_) => Finding::skipped(NAME, "the broker did not tell in time"),
    }
}

fn of_topics(reports: &[Report]) -> Finding {
    const NAME: &str = "topics";
    let of = |verdict| -> Vec<&Report> {
        reports.iter().filter(|report| report.verdict == verdict).collect()
    };
    let names = |reports: &[&Report]| {
        reports.iter().map(|report| report.topic.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (wrong, missing) = (of(Verdict::Wrong), of(Verdict::Missing));
    if !wrong.is_empty() {
        let to_do: Vec<_> = wrong.iter().flat_map(|report| report.to_do.clone()).collect();
        return Finding::fail(NAME, format!("wrong: {}", names(&wrong)), to_do.join("; "));
    }
    if !missing.is_empty() {
        return Finding::fail(
            NAME,
            format!("missing: {}", names(&missing)),
            "tickfold topics --create",
        );
    }
    Finding::ok(NAME, format!("{}, as the configuration wants them", reports.len()))
}

fn of_partitions(patient: &Patient<'_>, found: u32) -> Finding {
    const NAME: &str = "partitions";
    let wanted = patient.config.partitions;
    if wanted > 0 && wanted != found {
        let said = format!("the configuration says {wanted}, raw has {found}");
        // What was routed by one number is not found by another.
        let fix = format!("partitions = {found}, unless raw was given more than it began with");
        return Finding::fail(NAME, said, fix);
    }
    Finding::ok(NAME, format!("{found}: as many processors share them at most"))
}

async fn transactions(
    patient: &Patient<'_>,
    options: &KafkaOptions,
    reports: &[Report],
) -> Finding {
    const NAME: &str = "transactions";
    let topics: Vec<_> = reports
        .iter()
        .filter_map(|report| Some((report.topic.clone(), report.partitions()?)))
        .collect();
    let held = match held(options, &topics).await {
        Ok(held) => held,
        Err(error) => return Finding::fail(NAME, format!("{error:#}"), BROKERS_FIX),
    };
    if held.is_empty() {
        return Finding::ok(NAME, "none holds readers up");
    }
    let shown: Vec<_> = held
        .iter()
        .map(|Ends { of, stable, end }| {
            format!("{of} from {stable} on ({} records)", end.saturating_sub(*stable))
        })
        .collect();
    let found = format!("open, and readers wait for it: {}", shown.join(", "));
    let raw = raw_topic(&patient.config.topic_prefix);
    if held.iter().any(|ends| *ends.of.topic == *raw) {
        let fix = "find who writes to raw besides tickfold (kafka-transactions.sh find-hanging), end \
                   the transaction (abort), and take that right away";
        return Finding::fail(NAME, found, fix);
    }
    let fix = "a dead owner's ends when its successor claims the partition, or within a minute; one \
               that stays is found by kafka-transactions.sh find-hanging";
    Finding::warn(NAME, found, fix)
}

/// Partitions whose stable end stays behind, and does not move between two looks.
async fn held(options: &KafkaOptions, topics: &[(String, u32)]) -> Result<Vec<Ends>> {
    let probe = KafkaProbe::new(options.clone())?;
    let look = || async {
        let ends = probe.ends(topics).await.context("look at the ends of partitions")?;
        let open = ends.into_iter().filter(|ends| ends.stable < ends.end);
        anyhow::Ok(open.map(|ends| (ends.of.clone(), ends)).collect::<BTreeMap<_, _>>())
    };
    let first = look().await?;
    if first.is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(LOOK_AGAIN).await;
    let held = look().await?.into_values();
    Ok(held
        .filter(|now| first.get(&now.of).is_some_and(|then| then.stable == now.stable))
        .collect())
}

/// What the role does on the cluster, done once. A tick says what the brokers' clock shows.
async fn rights(patient: &Patient<'_>, options: KafkaOptions, partitions: u32) -> Vec<Finding> {
    const NAME: &str = "rights";
    let fix = "give the principal what docs/operations.md, section Access, lists for its role";
    let of_role = if patient.role.folds() { "commit outputs and positions, " } else { "" };
    let tried = try_rights(patient, options, partitions).await;
    match tried {
        Ok((skew_ms, round_trip_ms)) => {
            let found = format!("may {of_role}append to raw and read it");
            vec![Finding::ok(NAME, found), clock(skew_ms, round_trip_ms)]
        }
        Err(error) => vec![
            Finding::fail(NAME, format!("{error:#}"), fix),
            Finding::skipped("clock", "nothing could be appended"),
        ],
    }
}

/// How far the brokers' clock is ahead, and how long the question took.
async fn try_rights(
    patient: &Patient<'_>,
    options: KafkaOptions,
    partitions: u32,
) -> Result<(i64, i64)> {
    let config = patient.config;
    let input = TopicPartition::new(raw_topic(&config.topic_prefix), 0);
    if patient.role.folds() {
        let probe = KafkaProbe::new(options.clone())?;
        let outputs: Vec<_> =
            DerivedTopics::new(&config.topic_prefix, 0).places().cloned().collect();
        probe.try_commit(&config.group, &input, &outputs).await.context("try a commit")?;
    }
    let log = tokio::task::spawn_blocking(move || KafkaLog::connect(options)).await?;
    let log: Arc<dyn Log> = log.context("connect")?;
    let tick = tick(input.clone(), partitions);
    // The first append makes connections, which takes time of its own.
    log.append(vec![tick.clone()]).await.context("append to raw")?;
    let (begun, before) = (Instant::now(), now_ms());
    let offsets = log.append(vec![tick]).await.context("append to raw")?;
    let round_trip_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    let offset = offsets.first().copied().context("the append has no offset")?;
    let wait = log.wait_past(&input, offset);
    timeout(patient.timeout, wait).await.context("read raw: what was appended did not come")??;
    let records = log.read(&input, offset, 1, 1 << 20).await.context("read raw")?;
    let record = records.first().context("read raw: what was appended is not there")?;
    let positions = log.positions(&config.group, &input.topic).await;
    positions.context("look at the group's positions, which takes Describe on it")?;
    Ok((skew_ms(record.timestamp_ms, before, round_trip_ms), round_trip_ms))
}

/// By how much a time lies outside of the question that it answers.
fn skew_ms(theirs: i64, before: i64, round_trip_ms: i64) -> i64 {
    let after = before.saturating_add(round_trip_ms);
    match theirs {
        theirs if theirs < before => theirs.saturating_sub(before),
        theirs if theirs > after => theirs.saturating_sub(after),
        _ => 0,
    }
}

fn clock(skew_ms: i64, round_trip_ms: i64) -> Finding {
    const NAME: &str = "clock";
    if round_trip_ms > ROUND_TRIP_MS_MAX {
        return Finding::skipped(NAME, format!("an append took {round_trip_ms} ms"));
    }
    let way = if skew_ms < 0 { "behind" } else { "ahead of" };
    let found = format!(
        "the brokers' clock is {} ms {way} this machine's, measured within {round_trip_ms} ms",
        skew_ms.abs()
    );
    let fix = "let NTP set the clocks of the brokers and of this machine: deadlines and windows go by the \
               brokers'";
    match skew_ms.abs() {
        apart if apart > CLOCK_MS_MAX => Finding::fail(NAME, found, fix),
        apart if apart > CLOCK_MS_ADVISED => Finding::warn(NAME, found, fix),
        _ => Finding::ok(NAME, found),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn clocks_are_compared_within_what_the_question_took() {
        let judged = |theirs| {
            let skew = skew_ms(theirs, 1_000_000, 50);
            (skew, clock(skew, 50).status)
        };
        assert_eq!(judged(1_000_000), (0, Status::Ok));
        assert_eq!(judged(1_000_050), (0, Status::Ok));
        assert_eq!(judged(1_002_050), (2_000, Status::Ok));
        assert_eq!(judged(997_999), (-2_001, Status::Warn));
        assert_eq!(judged(1_030_051), (30_001, Status::Fail));
        assert_eq!(clock(0, ROUND_TRIP_MS_MAX + 1).status, Status::Skipped);
    }
}
