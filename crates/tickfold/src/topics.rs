//! `tickfold topics --check` and `--create`: the topics on a Kafka cluster as the configuration wants
//! them, beside what is there. No node needs to run.
//!
//! A topic that exists is never changed; what would change it is printed, since only the owner of
//! the cluster knows what else hangs on it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tickfold_ingress::Quarantine;
use tickfold_log::{KafkaOptions, KafkaTopics, Survey, TopicSpec, Weight};

use crate::cli::{Output, Topics};
use crate::client::print;
use crate::config::{Config, Layers};
use crate::log::kafka_options;
use crate::raw_topic::partitions_of_new;

/// Exit code when a topic is missing or would be refused.
const DIFFERENCES: u8 = 2;

/// Looks, after creating what is missing if that was asked for.
pub(crate) async fn run(layers: &Layers, command: &Topics) -> Result<ExitCode> {
    let config = layers.read()?;
    let brokers = config.kafka.brokers.as_deref().context(
        "topics are checked and created on Kafka: name it with --kafka or kafka.brokers",
    )?;
    let call_timeout = Duration::from_secs(command.client.timeout);
    let options = KafkaOptions { call_timeout, ..kafka_options(&config, brokers)? };
    let cluster = KafkaTopics::new(options).context("make a Kafka client")?;
    let partitions = partitions(&config, &cluster).await?;
    let specs = specs(&config, partitions);
    let created = match command.create {
        true => cluster.create_missing(&specs).await.context("create the missing topics")?,
        false => Vec::new(),
    };
    let reports = reports(&config, &cluster, brokers, &specs, &created).await?;
    match command.client.output {
        Output::Table => print(&table(&reports)),
        Output::Json => print(&(serde_json::to_string_pretty(&reports)? + "\n")),
        Output::Jsonl => {
            for report in &reports {
                print(&(serde_json::to_string(report)? + "\n"));
            }
        }
    }
    let right = reports.iter().all(|report| report.verdict == Verdict::Ok);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCES) })
}

/// The topics of a configuration as they are.
pub(crate) async fn survey(
    config: &Config,
    cluster: &KafkaTopics,
    brokers: &str,
) -> Result<Vec<Report>> {
    let specs = specs(config, partitions(config, cluster).await?);
    reports(config, cluster, brokers, &specs, &[]).await
}

async fn reports(
    config: &Config,
    cluster: &KafkaTopics,
    brokers: &str,
    specs: &[TopicSpec],
    created: &[String],
) -> Result<Vec<Report>> {
    let surveys = cluster.look(specs).await.context("look at the topics")?;
    let replicas = usize::from(config.kafka.replication_factor);
    let judge = |survey| {
        let report = judge(survey, replicas, brokers);
        Report { created: created.contains(&report.topic), ..report }
    };
    Ok(surveys.into_iter().map(judge).collect())
}

/// Partitions of the raw topic: those that it has, where the configuration does not say.
async fn partitions(config: &Config, cluster: &KafkaTopics) -> Result<u32> {
    let wanted = partitions_of_new(config);
    if config.partitions > 0 {
        return Ok(wanted);
    }
    let raw = tickfold_processor::raw_topic(&config.topic_prefix);
    let specs = specs(config, wanted);
    let raw: Vec<_> = specs.into_iter().filter(|spec| spec.name == raw).collect();
    let looked = cluster.look(&raw).await.context("look at the raw topic")?;
    let found = looked.into_iter().find_map(|survey| survey.found);
    Ok(found.map_or(wanted, |found| found.partitions))
}

/// Every topic a node with this configuration uses.
fn specs(config: &Config, partitions: u32) -> Vec<TopicSpec> {
    let mut specs = tickfold_processor::topic_specs(&config.topic_prefix, partitions);
    if config.ingress.quarantine_bytes_max > 0 {
        specs.push(Quarantine::topic(&config.topic_prefix));
    }
    specs
}

/// A topic and what is to be said of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub topic: String,
    pub verdict: Verdict,
    /// Whether this command created it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    created: bool,
    /// Partitions and replicas, then settings.
    settings: Vec<Row>,
    /// Commands, or words where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_do: Vec<String>,
}

impl Report {
    /// Those that the topic has; `None` if there is no such topic.
    pub(crate) fn partitions(&self) -> Option<u32> {
        let row = self.settings.iter().find(|row| row.name == "partitions")?;
        row.found.as_deref()?.parse().ok()
    }
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    wanted: String,
    rule: Rule,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    Exactly,
    AtLeast,
    Advised,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Serves.
    Ok,
    /// Serves, although another value is advised.
    Differs,
    /// A node would refuse it, or would lose by it.
    Wrong,
    /// Is not there.
    Missing,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Differs => "differs",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
        }
    }
}

fn judge(survey: Survey, replicas: usize, brokers: &str) -> Report {
    let Survey { spec, found, settings } = survey;
    let partitions = found.map(|found| u64::from(found.partitions));
    let in_replicas = found.and_then(|found| u64::try_from(found.replicas).ok());
    let mut rows = vec![
        count("partitions", u64::from(spec.partitions), partitions),
        count("replicas", u64::try_from(replicas).unwrap_or(u64::MAX), in_replicas),
    ];
    rows.extend(settings.into_iter().map(|setting| {
        let rule = match setting.weight {
            Weight::Exactly => Rule::Exactly,
            Weight::AtLeast => Rule::AtLeast,
            Weight::Advised => Rule::Advised,
        };
        let verdict = match (found, setting.fits, rule) {
            (None, _, _) => Verdict::Missing,
            (Some(_), true, _) => Verdict::Ok,
            (Some(_), false, Rule::Advised) => Verdict::Differs,
            (Some(_), false, Rule::Exactly | Rule::AtLeast) => Verdict::Wrong,
        };
        Row { name: setting.name, wanted: setting.wanted, rule, found: setting.found, verdict }
    }));
    let verdict = match (found, rows.iter().any(|row| row.verdict == Verdict::Wrong)) {
        (None, _) => Verdict::Missing,
        (Some(_), true) => Verdict::Wrong,
        (Some(_), false) => Verdict::Ok,
    };
    let to_do = to_do(&spec, verdict, &rows, brokers);
    Report { topic: spec.name, verdict, created: false, settings: rows, to_do }
}

/// A count, of which more is fine.
fn count(name: &'static str, wanted: u64, found: Option<u64>) -> Row {
    let verdict = match found {
        None => Verdict::Missing,
        Some(found) if found < wanted => Verdict::Wrong,
        Some(_) => Verdict::Ok,
    };
    let (wanted, found) = (wanted.to_string(), found.map(|found| found.to_string()));
    Row { name, wanted, rule: Rule::AtLeast, found, verdict }
}

fn to_do(spec: &TopicSpec, verdict: Verdict, rows: &[Row], brokers: &str) -> Vec<String> {
    if verdict == Verdict::Missing {
        return vec!["tickfold topics --create".to_owned()];
    }
    let TopicSpec { name: topic, partitions, compacted: _ } = spec;
    let mut to_do = Vec::new();
    let mut changes = Vec::new();
    for row in rows {
        let found = row.found.as_deref().unwrap_or("nothing");
        match (row.name, row.verdict) {
            ("partitions", Verdict::Wrong) => to_do.push(format!(
                "while raw is empty, kafka-topics.sh --bootstrap-server {brokers} --alter --topic {topic} \
                 --partitions {partitions}; else partitions = {found} in the configuration, by which raw was routed"
            )),
            ("partitions", Verdict::Ok) if found != row.wanted => {
                to_do.push(format!("nothing: partitions from {partitions} on are not used"));
            }
            ("replicas", Verdict::Wrong) => to_do.push(format!(
                "kafka-reassign-partitions.sh, to give each partition {} replicas",
                row.wanted
            )),
            (name, Verdict::Wrong) => changes.push(format!("{name}={}", row.wanted)),
            (_, Verdict::Ok | Verdict::Differs | Verdict::Missing) => {}
        }
    }
    if !changes.is_empty() {
        to_do.push(format!(
            "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} \
             --add-config {}",
            changes.join(",")
        ));
    }
    to_do
}

/// A line per setting, then what to do.
fn table(reports: &[Report]) -> String {
    let rows = reports.iter().flat_map(|report| report.settings.iter());
    let wanted = |row: &Row| match row.rule {
        Rule::Exactly => row.wanted.clone(),
        Rule::AtLeast => format!(">= {}", row.wanted),
        Rule::Advised => format!("{} (advised)", row.wanted),
    };
    let widest = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or_default().max(7);
    let topic_width = widest(&mut reports.iter().map(|report| report.topic.len()));
    let name_width = widest(&mut rows.clone().map(|row| row.name.len()));
    let wanted_width = widest(&mut rows.clone().map(|row| wanted(row).len()));
    let found_width = widest(&mut rows.map(|row| row.found.as_ref().map_or(1, String::len)));
    let mut text = format!(
        "{:topic_width$}  {:name_width$}  {:wanted_width$}  {:found_width$}  VERDICT\n",
        "TOPIC", "SETTING", "WANTED", "FOUND"
    );
    for report in reports {
        for row in &report.settings {
            let found = row.found.as_deref().unwrap_or("-");
            text.push_str(&format!(
                "{:topic_width$}  {:name_width$}  {:wanted_width$}  {found:found_width$}  {}\n",
                report.topic,
                row.name,
                wanted(row),
                row.verdict.word()
            ));
        }
    }
    text.push('\n');
    for report in reports {
        let created = if report.created { ", created now" } else { "" };
        text.push_str(&format!("{}: {}{created}\n", report.topic, report.verdict.word()));
        for to_do in &report.to_do {
            text.push_str(&format!("    {to_do}\n"));
        }
    }
    text
}
