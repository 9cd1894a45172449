//! `tickfold doctor`: what a node needs, looked at without one. Each finding names its fix.
//!
//! What can only be known by trying is tried, and leaves nothing that anybody would act on: a file
//! that is deleted, a tick in the raw topic such as every ingress writes, a transaction that is
//! aborted.

mod alerts;
mod cluster;
mod handshake;
mod local;
mod protocol;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::cli::{Doctor, Output};
use crate::client::print;
use crate::config::{Config, Layers};
use crate::node::Role;

/// What is known of one thing.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    name: &'static str,
    status: Status,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Ok,
    /// It serves, and should not stay so.
    Warn,
    /// A node would not start with it, or would lose by it.
    Fail,
    /// Nothing was looked at; why, is what was found.
    Skipped,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), fix: None }
    }

    fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, status: Status::Skipped, found: why.into(), fix: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, found: found.into(), fix: Some(fix.into()) }
    }
}

/// What is looked at, and as whom.
struct Patient<'a> {
    config: &'a Config,
    role: Role,
    /// Of each question to somebody else.
    timeout: Duration,
    read_only: bool,
}

/// Looks at everything that the role needs.
pub(crate) async fn run(layers: &Layers, command: &Doctor) -> Result<ExitCode> {
    let config = &layers.read()?;
    let Doctor { role, timeout, read_only, .. } = *command;
    let patient = Patient { config, role, timeout: Duration::from_secs(timeout), read_only };
    let mut findings = Vec::new();
    if role.takes_webhooks() {
        findings.extend(local::secrets(config));
    }
    findings.extend(local::tokens(config));
    findings.extend(local::certificates(&patient));
    findings.extend(local::address(&patient));
    if role.folds() || config.kafka.brokers.is_none() {
        findings.extend(local::data_dir(&patient));
        findings.push(local::checkpoints(&patient));
    }
    let partitions = cluster::look(&patient, &mut findings).await;
    findings.push(local::memory(&patient, partitions));
    if role.takes_webhooks() {
        findings.push(handshake::look(&patient, command).await);
    }
    if role.folds() {
        findings.push(alerts::subscriptions(&patient).await);
    }
    let output = if command.json { Output::Json } else { command.output };
    match output {
        Output::Table => print(&table(&findings)),
        Output::Json => print(&(serde_json::to_string_pretty(&findings)? + "\n")),
        Output::Jsonl => {
            for finding in &findings {
                print(&(serde_json::to_string(finding)? + "\n"));
            }
        }
    }
    let failed = findings.iter().any(|finding| finding.status == Status::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A line per finding, its fix below it, and how many there are of each kind.
fn table(findings: &[Finding]) -> String {
    let name_width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { name, status, found, fix } in findings {
        text.push_str(&format!("{:7}  {name:name_width$}  {found}\n", status.word()));
        if let Some(fix) = fix {
            text.push_str(&format!("{:7}  {:name_width$}  fix: {fix}\n", "", ""));
        }
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let counts = [Status::Ok, Status::Warn, Status::Fail, Status::Skipped]
        .map(|status| format!("{} {}", count(status), status.word()));
    text + "\n" + &counts.join(", ") + "\n"
}
