//! `tickfold dlq`: dead letters are listed, shown, redriven.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::admin::v1::dead_letter_service_client::DeadLetterServiceClient;

use super::show;
use crate::cli::{Client, DeadLetterFilter, Dlq, Output, Position};

/// Dead letters asked for at once.
const PAGE_SIZE: u32 = 500;

/// A body and the parts of it that are broken, quoted.
const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Exit code where some of what was redriven left dead letters again.
const FAILED_AGAIN: u8 = 2;

/// A dead letter. Members stand in this order.
#[derive(Serialize)]
struct DeadLetter {
    position: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    redrive: Option<String>,
    redrives: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_time: Option<String>,
    reason: String,
    scope: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waba_id: Option<String>,
    raw_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

/// What is listed, as one JSON document.
#[derive(Serialize)]
struct Listed {
    dead_letters: Vec<DeadLetter>,
    more: bool,
}

/// A position.
#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<Webhook>,
    dead_letters: Vec<DeadLetter>,
    redrives: Vec<Redrive>,
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

#[derive(Serialize)]
struct Webhook {
    position: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    append_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_time: Option<String>,
    app: String,
    secret_id: String,
    request_id: String,
    signature: String,
    route_version: String,
    partition_count: String,
    body_bytes: u64,
}

#[derive(Serialize)]
struct Redrive {
    position: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_time: Option<String>,
    left: u32,
}

/// What came of a call.
#[derive(Serialize)]
struct Redriven {
    results: Vec<Outcome>,
    more: bool,
}

#[derive(Serialize)]
struct Outcome {
    position: String,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    redrive: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// `tickfold dlq`.
pub(crate) async fn dlq(what: Dlq) -> Result<ExitCode> {
    match what {
        Dlq::Ls { filter, all, oldest_first, limit, client } => {
            let filter = Some(filter_of(filter)?);
            let request = admin::ListDeadLettersRequest {
                filter,
                all,
                oldest_first,
                page_size: 0,
                page_token: String::new(),
            };
            list(request, limit, &client).await
        }
        Dlq::Show { position, raw, client } => {
            let request = admin::GetDeadLetterRequest { position: Some(raw_of(position)), raw };
            let request = super::timed(&client, request);
            let reply = service(&client).await?.get_dead_letter(request).await;
            super::answer(&client, reply, |reply| Some(shown(reply)))
        }
        Dlq::Redrive { positions, filter, limit, again, retired_secret_ids, yes, client } => {
            let by_filter = positions.is_empty();
            let filter = filter_of(filter)?;
            let request = admin::RedriveDeadLettersRequest {
                positions: positions.into_iter().map(raw_of).collect(),
                filter: by_filter.then_some(filter),
                limit: if by_filter { limit } else { 0 },
                again,
                retired_secret_ids,
                validate_only: !yes,
            };
            redrive(request, &client).await
        }
    }
}

async fn list(
    mut request: admin::ListDeadLettersRequest,
    limit: u32,
    client: &Client,
) -> Result<ExitCode> {
    let mut service = service(client).await?;
    let (mut listed, mut left) = (Vec::new(), limit);
    loop {
        request.page_size = left.min(PAGE_SIZE);
        let reply = service.list_dead_letters(super::timed(client, request.clone())).await;
        let page = reply.map_err(|status| super::failed(&status))?.into_inner();
        left = left.saturating_sub(u32::try_from(page.dead_letters.len()).unwrap_or(u32::MAX));
        for letter in page.dead_letters.into_iter().map(DeadLetter::from) {
            match client.output {
                Output::Table => super::print_part(&letter.line()),
                Output::Jsonl => super::print_part(&(serde_json::to_string(&letter)? + "\n")),
                Output::Json => listed.push(letter),
            }
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || left == 0 {
            break;
        }
    }
    let more = !request.page_token.is_empty();
    if client.output == Output::Json {
        let document = Listed { dead_letters: listed, more };
        super::print(&(serde_json::to_string_pretty(&document)? + "\n"));
    } else if more {
        super::report("there are more: --limit gives more");
    }
    Ok(ExitCode::SUCCESS)
}

async fn redrive(request: admin::RedriveDeadLettersRequest, client: &Client) -> Result<ExitCode> {
    let only_said = request.validate_only;
    let reply = service(client).await?.redrive_dead_letters(super::timed(client, request)).await;
    let reply = reply.map_err(|status| super::failed(&status))?.into_inner();
    let outcomes: Vec<_> = reply.results.iter().map(admin::RedriveResult::outcome).collect();
    let results: Vec<_> = reply.results.into_iter().map(Outcome::from).collect();
    match client.output {
        Output::Table => results.iter().for_each(|one| super::print(&(show::inline(one) + "\n"))),
        Output::Jsonl => {
            for one in &results {
                super::print(&(serde_json::to_string(one)? + "\n"));
            }
        }
        Output::Json => super::document(client.output, &Redriven { results, more: reply.more })?,
    }
    if only_said {
        super::report("nothing was redriven: --yes does it");
    } else if reply.more {
        super::report("there are more: the same command again goes on");
    }
    if outcomes.contains(&admin::RedriveOutcome::Refused) {
        return Ok(ExitCode::FAILURE);
    }
    if outcomes.contains(&admin::RedriveOutcome::FailedAgain) {
        return Ok(ExitCode::from(FAILED_AGAIN));
    }
    Ok(ExitCode::SUCCESS)
}

async fn service(client: &Client) -> Result<DeadLetterServiceClient<super::Connection>> {
    let service = DeadLetterServiceClient::new(super::connect(client).await?);
    Ok(service.max_decoding_message_size(REPLY_BYTES_MAX))
}

fn filter_of(filter: DeadLetterFilter) -> Result<admin::DeadLetterFilter> {
    let DeadLetterFilter { since, from_offset, partitions, reason, field, waba } = filter;
    Ok(admin::DeadLetterFilter {
        partitions,
        since: super::find::time(since.as_deref())?,
        from_offset: from_offset.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        field: field.unwrap_or_default(),
        waba_id: waba.unwrap_or_default(),
    })
}

fn raw_of(position: Position) -> admin::RawPosition {
    admin::RawPosition { partition: position.partition, offset: position.offset }
}

fn place(position: Option<admin::RawPosition>) -> Option<String> {
    position.map(|position| format!("{}@{}", position.partition, position.offset))
}

fn shown(reply: admin::GetDeadLetterResponse) -> Shown {
    let redrive = |redrive: admin::Redrive| Redrive {
        position: place(redrive.position).unwrap_or_default(),
        log_time: show::time(redrive.log_time),
        left: redrive.left,
    };
    let body = reply.webhook.as_ref().and_then(|webhook| webhook.body.as_ref());
    let body = body.map(|body| String::from_utf8_lossy(body).into_owned());
    let webhook = reply.webhook.map(|webhook| Webhook {
        position: place(webhook.position).unwrap_or_default(),
        append_time: show::time(webhook.append_time),
        received_time: show::time(webhook.received_time),
        app: webhook.app,
        secret_id: webhook.secret_id,
        request_id: webhook.request_id,
        signature: webhook.signature,
        route_version: webhook.route_version,
        partition_count: webhook.partition_count,
        body_bytes: webhook.body_bytes,
    });
    Shown {
        webhook,
        dead_letters: reply.dead_letters.into_iter().map(DeadLetter::from).collect(),
        redrives: reply.redrives.into_iter().map(redrive).collect(),
        more: reply.more,
        body,
    }
}

impl DeadLetter {
    fn line(&self) -> String {
        let Self { position, state, redrives, reason, scope, path, .. } = self;
        let time = self.log_time.as_deref().unwrap_or("-");
        let [field, waba_id] = [&self.field, &self.waba_id].map(|of| of.as_deref().unwrap_or("-"));
        format!(
            "{position}  {time}  {state}  redrives={redrives}  {reason}  {scope}  {field}  {waba_id}  {path}\n"
        )
    }
}

impl From<admin::DeadLetter> for DeadLetter {
    fn from(letter: admin::DeadLetter) -> Self {
        let state = letter.state().as_str_name().trim_start_matches("DEAD_LETTER_STATE_");
        Self {
            state: state.to_ascii_lowercase(),
            position: place(letter.position).unwrap_or_default(),
            redrive: place(letter.redrive),
            redrives: letter.redrives,
            log_time: show::time(letter.log_time),
            received_time: show::time(letter.received_time),
            reason: letter.reason,
            scope: letter.scope,
            path: letter.path,
            field: show::text(letter.field),
            waba_id: show::text(letter.waba_id),
            raw_truncated: letter.raw_truncated,
            raw: show::text(letter.raw),
        }
    }
}

impl From<admin::RedriveResult> for Outcome {
    fn from(result: admin::RedriveResult) -> Self {
        let outcome = result.outcome().as_str_name().trim_start_matches("REDRIVE_OUTCOME_");
        Self {
            outcome: outcome.to_ascii_lowercase(),
            position: place(result.position).unwrap_or_default(),
            left: (result.left > 0).then_some(result.left),
            redrive: place(result.redrive),
            refused: show::text(result.refused),
            message: show::text(result.message),
        }
    }
}
