//! Commands that ask a running node over gRPC.

mod dlq;
mod explain;
mod find;
mod ingress;
mod list;
mod node;
mod pages;
mod replay;
mod rules;
mod show;
mod signed;
mod state;
mod tail;
mod watch;

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::admin::v1::admin_service_client::AdminServiceClient;
use tickfold_proto::query::v1 as query;
use tickfold_proto::query::v1::query_service_client::QueryServiceClient;
use tonic_types::StatusExt as _;

use crate::cli::{At, Client, Get, Moment, Output, Position, View};
use show::Show;

pub(crate) use dlq::dlq;
pub(crate) use explain::explain;
pub(crate) use find::find;
pub(crate) use ingress::{quarantine, reload};
pub(crate) use list::list;
pub(crate) use node::stop;
pub(crate) use replay::replay;
pub(crate) use rules::rules;
pub(crate) use signed::{Connection, connect_to};
pub(crate) use state::{create_checkpoints, plan_trim};
pub(crate) use tail::tail;
pub(crate) use watch::watch;

/// Exit code of a lookup whose thing is not there.
const NOT_FOUND: u8 = 3;

/// `tickfold get`.
pub(crate) async fn get(what: Get) -> Result<ExitCode> {
    match what {
        Get::Message { wamid, view, at, client } => {
            let view = view_of(view).into();
            let (min_position, at) = place(at);
            let request = query::GetMessageRequest { wamid, view, min_position, at };
            let reply = queries(&client).await?.get_message(timed(&client, request)).await;
            answer(&client, reply, |reply| Some(show::message(reply.message?, reply.as_of)))
        }
        Get::Conversation { phone_number_id, party, messages, view, at, client } => {
            let (min_position, at) = place(at);
            let request = query::GetConversationRequest {
                phone_number_id,
                party,
                min_position,
                message_count: messages,
                message_view: view_of(view).into(),
                at,
            };
            let reply = queries(&client).await?.get_conversation(timed(&client, request)).await;
            answer(&client, reply, show::conversation)
        }
        Get::User { waba_id, party, at, client } => {
            let (min_position, at) = place(at);
            let request = query::GetUserRequest { waba_id, party, min_position, at };
            let reply = queries(&client).await?.get_user(timed(&client, request)).await;
            answer(&client, reply, |reply| Some(show::user(reply.user?, reply.as_of)))
        }
        Get::Template { waba_id, template_id, language, at, client } => {
            let (min_position, at) = place(at);
            let request =
                query::GetTemplateRequest { waba_id, template_id, language, min_position, at };
            let reply = queries(&client).await?.get_template(timed(&client, request)).await;
            answer(&client, reply, |reply| Some(show::template(reply.template?, reply.as_of)))
        }
        Get::Account { waba_id, month, at, client } => {
            let month = month.unwrap_or_default();
            let (min_position, at) = place(at);
            let request = query::GetAccountRequest { waba_id, month, min_position, at };
            let reply = queries(&client).await?.get_account(timed(&client, request)).await;
            answer(&client, reply, |reply| Some(show::account(reply.account?, reply.as_of)))
        }
        Get::Number { phone_number_id, at, client } => {
            let (min_position, at) = place(at);
            let request = query::GetNumberRequest { phone_number_id, min_position, at };
            let reply = queries(&client).await?.get_number(timed(&client, request)).await;
            answer(&client, reply, |reply| Some(show::number(reply.number?, reply.as_of)))
        }
    }
}

/// The places to wait for, and the moment to ask of.
fn place(At { at, min_position }: At) -> (Vec<query::Position>, Option<query::Moment>) {
    let position = |Position { partition, offset }| query::Position { partition, offset };
    (min_position.into_iter().map(position).collect(), at.map(moment))
}

fn moment(at: Moment) -> query::Moment {
    use query::moment::Moment as Told;
    let moment = match at {
        Moment::Offset(offset) => Told::Offset(offset),
        Moment::Position { partition, offset } => {
            Told::Position(query::Position { partition, offset })
        }
        Moment::Time(time) => {
            let ms = time.as_millis();
            let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
            Told::Time(prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos })
        }
    };
    query::Moment { moment: Some(moment) }
}

fn view_of(view: View) -> query::MessageView {
    match view {
        View::Basic => query::MessageView::Basic,
        View::Full => query::MessageView::Full,
        View::History => query::MessageView::History,
    }
}

/// `tickfold topics`.
pub(crate) async fn topics(client: Client) -> Result<ExitCode> {
    let request = timed(&client, admin::ListTopicsRequest {});
    let reply = AdminServiceClient::new(connect(&client).await?).list_topics(request).await;
    let topics: Vec<_> = reply.map_err(|status| failed(&status))?.into_inner().topics;
    let topics: Vec<_> = topics.into_iter().map(show::Topic::from).collect();
    match client.output {
        Output::Table => print(&show::topics_table(&topics)),
        Output::Json => print(&(serde_json::to_string_pretty(&topics)? + "\n")),
        Output::Jsonl => {
            for topic in &topics {
                print(&(serde_json::to_string(topic)? + "\n"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the reply, or that there is no such thing.
fn answer<R, S: Serialize>(
    client: &Client,
    reply: Result<tonic::Response<R>, tonic::Status>,
    shown: impl FnOnce(R) -> Option<S>,
) -> Result<ExitCode> {
    let Some(reply) = found(reply)? else { return Ok(ExitCode::from(NOT_FOUND)) };
    document(client.output, &shown(reply).context("the node sent an empty reply")?)?;
    Ok(ExitCode::SUCCESS)
}

/// The reply, or `None` once it is said that there is no such thing.
fn found<R>(reply: Result<tonic::Response<R>, tonic::Status>) -> Result<Option<R>> {
    match reply {
        Ok(reply) => Ok(Some(reply.into_inner())),
        Err(status) if status.code() == tonic::Code::NotFound => {
            report(status.message());
            Ok(None)
        }
        Err(status) => Err(failed(&status)),
    }
}

/// Prints one document in the form that was asked for.
pub(crate) fn document(output: Output, shown: &impl Serialize) -> Result<()> {
    match output {
        Output::Table => print(&shown.table()),
        Output::Json => print(&(serde_json::to_string_pretty(shown)? + "\n")),
        Output::Jsonl => print(&(serde_json::to_string(shown)? + "\n")),
    }
    Ok(())
}

/// Prints a list in the form that was asked for; as a table, what `table` makes of it.
pub(crate) fn listing<T: Serialize>(
    output: Output,
    all: &[T],
    table: impl FnOnce(&[T]) -> String,
) -> Result<()> {
    match output {
        Output::Table => print(&table(all)),
        Output::Json => print(&(serde_json::to_string_pretty(all)? + "\n")),
        Output::Jsonl => {
            for one in all {
                print(&(serde_json::to_string(one)? + "\n"));
            }
        }
    }
    Ok(())
}

pub(crate) async fn queries(client: &Client) -> Result<QueryServiceClient<Connection>> {
    // Replies of the service stay below the limit that clients have by default.
    Ok(QueryServiceClient::new(connect(client).await?))
}

pub(crate) async fn connect(client: &Client) -> Result<Connection> {
    let limit = Duration::from_secs(client.timeout);
    connect_to(client.grpc_addr, &client.credentials, limit).await
}

/// A request with the deadline of the command.
pub(crate) fn timed<R>(client: &Client, request: R) -> tonic::Request<R> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(client.timeout));
    request
}

/// What the node said, with its stable reason where there is one.
pub(crate) fn failed(status: &tonic::Status) -> anyhow::Error {
    let info = status.get_details_error_info();
    let lacks = info.as_ref().and_then(|info| info.metadata.get("scope")).map(String::as_str);
    let hint = if lacks == Some("pii.read") { ", which `--view basic` does not need" } else { "" };
    let reason = info.map_or_else(|| format!("{:?}", status.code()), |info| info.reason);
    anyhow::anyhow!("{}{hint} ({reason})", status.message())
}

/// What a command says beside its output; nobody may hear it.
pub(crate) fn report(text: &str) {
    let _ = writeln!(std::io::stderr(), "tickfold: {text}");
}

/// Prints an answer. A reader that has seen enough closes the pipe: what the command found out is its exit
/// code all the same.
pub(crate) fn print(text: &str) {
    let _ = write_out(text);
}

/// Prints a part of an answer that goes on, until its reader closes the pipe; that is no failure.
pub(crate) fn print_part(text: &str) {
    if write_out(text).is_break() {
        std::process::exit(0);
    }
}

/// Breaks where nobody reads any more. Ends the command where something else is in the way, such as a full
/// disk: half an answer must not look like one.
fn write_out(text: &str) -> ControlFlow<()> {
    let mut out = std::io::stdout();
    let text = if out.is_terminal() { printable(text) } else { Cow::Borrowed(text) };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ControlFlow::Break(()),
        Err(error) => {
            report(&format!("print: {error}"));
            std::process::exit(1);
        }
    }
}

/// Customers write some of what is shown, and a terminal would obey the control characters in it.
fn printable(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_obeyed(c) {
            // As JSON has it.
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}
