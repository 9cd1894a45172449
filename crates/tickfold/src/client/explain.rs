//! `tickfold explain`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tickfold_proto::query::v1 as query;
use tickfold_proto::query::v1::explain_message_response::Part;

use super::show::{self, Charge, Decision, Source, Transition};
use crate::cli::{Explain, Output};

/// A raw record that touched the message. Members stand in this order.
#[derive(Serialize)]
struct Record {
    source: Option<Source>,
    kind: String,
    /// Of a redrive: the webhook that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    redrive_of: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    outcome: String,
    too_old: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learned: Vec<Fact>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transitions: Vec<Transition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    charges: Vec<Charge>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Decision>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alerts: Vec<Decision>,
}

#[derive(Serialize)]
struct Item {
    path: String,
    word: String,
    naming: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
}

#[derive(Serialize)]
struct Fact {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
}

/// How far the explanation went.
#[derive(Serialize)]
struct End {
    complete: bool,
    ranges: Vec<Range>,
}

#[derive(Serialize)]
struct Range {
    partition: u32,
    from_offset: u64,
    until_offset: u64,
    records: u64,
}

/// The whole, as one JSON document.
#[derive(Serialize)]
struct Document {
    records: Vec<Record>,
    #[serde(flatten)]
    end: End,
}

/// Prints records as they come. Exit code 1 if the explanation stops before its end.
pub(crate) async fn explain(command: Explain) -> Result<ExitCode> {
    let Explain { wamid, view, limit, at, client } = command;
    let (min_position, at) = super::place(at);
    let request = query::ExplainMessageRequest {
        wamid,
        view: super::view_of(view).into(),
        limit: limit.unwrap_or_default(),
        min_position,
        at,
    };
    let reply =
        super::queries(&client).await?.explain_message(super::timed(&client, request)).await;
    let Some(mut parts) = super::found(reply)? else {
        return Ok(ExitCode::from(super::NOT_FOUND));
    };
    let mut records = Vec::new();
    let end = loop {
        let part = parts.message().await.map_err(|status| super::failed(&status))?;
        let part = part.and_then(|response| response.part);
        match part.context("the node ended before it said how far it went")? {
            Part::Record(record) => {
                let record = Record::from(record);
                match client.output {
                    Output::Table => super::print_part(&record.block()),
                    Output::Jsonl => super::print_part(&(serde_json::to_string(&record)? + "\n")),
                    Output::Json => records.push(record),
                }
            }
            Part::End(end) => break End::from(end),
        }
    };
    let complete = end.complete;
    match client.output {
        Output::Table => super::print(&end.lines()),
        Output::Jsonl => super::print(&(serde_json::to_string(&end)? + "\n")),
        Output::Json => {
            let document = Document { records, end };
            super::print(&(serde_json::to_string_pretty(&document)? + "\n"));
        }
    }
    if complete || limit.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    super::report("the time was over before all records were read: --timeout gives more");
    Ok(ExitCode::FAILURE)
}

impl Record {
    /// A line of its own, and one for each thing that it says or did.
    fn block(&self) -> String {
        let place = self.source.as_ref().map(Source::place).unwrap_or_default();
        let time = self.log_time.as_deref().unwrap_or("-");
        let old = if self.too_old { "  too_old" } else { "" };
        let of = self.redrive_of.as_ref().map(|of| format!(" of {}", of.place()));
        let of = of.unwrap_or_default();
        let mut text = format!("{place}  {time}  {}{of}  {}{old}\n", self.kind, self.outcome);
        let mut line = |name: &str, what: String| text.push_str(&format!("  {name:10}  {what}\n"));
        for item in &self.items {
            let of = item.participant.as_deref().map(|of| format!(" of {of}")).unwrap_or_default();
            line("item", format!("{} {}{of} at {}", item.naming, item.word, item.path));
        }
        for fact in &self.learned {
            let of = fact.participant.as_deref().map(|of| format!(" of {of}")).unwrap_or_default();
            let value = fact.value.as_deref().map(|value| format!(": {value}")).unwrap_or_default();
            line("learned", format!("{}{of}{value}", fact.name));
        }
        self.transitions.iter().for_each(|one| line("transition", show::inline(one)));
        self.charges.iter().for_each(|one| line("charge", show::inline(one)));
        self.actions.iter().for_each(|one| line("action", show::inline(one)));
        self.alerts.iter().for_each(|one| line("alert", show::inline(one)));
        text
    }
}

impl End {
    fn lines(&self) -> String {
        let word = if self.complete { "complete" } else { "incomplete" };
        let range = |range: &Range| {
            let Range { partition, from_offset, until_offset, records } = range;
            format!(
                "{word}: {records} records of partition {partition}, offsets {from_offset} to {until_offset}\n"
            )
        };
        self.ranges.iter().map(range).collect()
    }
}

impl From<query::ExplainedRecord> for Record {
    fn from(record: query::ExplainedRecord) -> Self {
        let outcome = record.outcome().as_str_name().trim_start_matches("RECORD_OUTCOME_");
        let item = |item: query::ExplainedItem| Item {
            path: item.path,
            word: item.word,
            naming: item.naming,
            participant: show::text(item.participant),
            event_time: show::time(item.event_time),
        };
        let fact = |fact: query::LearnedFact| Fact {
            name: fact.name,
            value: show::text(fact.value),
            participant: show::text(fact.participant),
        };
        Self {
            outcome: outcome.to_ascii_lowercase(),
            source: record.source.map(show::source),
            kind: record.kind,
            redrive_of: record.redrive_of.map(show::source),
            log_time: show::time(record.log_time),
            received_time: show::time(record.received_time),
            request_id: show::text(record.request_id),
            too_old: record.too_old,
            items: record.items.into_iter().map(item).collect(),
            learned: record.learned.into_iter().map(fact).collect(),
            transitions: record.transitions.into_iter().map(show::transition).collect(),
            charges: record.charges.into_iter().map(show::charge).collect(),
            actions: record.actions.into_iter().map(show::decision).collect(),
            alerts: record.alerts.into_iter().map(show::decision).collect(),
        }
    }
}

impl From<query::Explanation> for End {
    fn from(end: query::Explanation) -> Self {
        let range = |range: query::ExplainedRange| Range {
            partition: range.partition,
            from_offset: range.from_offset,
            until_offset: range.until_offset,
            records: range.records,
        };
        Self { complete: end.complete, ranges: end.ranges.into_iter().map(range).collect() }
    }
}
