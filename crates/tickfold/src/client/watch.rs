//! `tickfold watch`: prints what changes, and comes again by itself when the node is gone for a while.
//!
//! The place is written to a file behind what was printed. So a watch that is killed goes on there,
//! and prints at most its last line a second time.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use tickfold_proto::query::v1 as query;
use tickfold_proto::query::v1::watch_service_client::WatchServiceClient;
use tickfold_query::Reason;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::show::{self, Show as _};
use crate::cli::{Following, Output, Records, Watch};

/// Pauses before a node that is gone is tried again, the first and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A response as it is printed.
struct Event {
    what: What,
    skipped_revisions: u64,
    resume_token: String,
}

enum What {
    /// A state or record: its word, its JSON, its text for people.
    Item(&'static str, Box<RawValue>, String),
    Missing(String),
    Mark(query::WatchMark),
}

/// A line of JSON. Members stand in this order.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    what: &'a What,
    #[serde(skip_serializing_if = "is_zero")]
    skipped_revisions: u64,
    resume_token: &'a str,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Serialize for What {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Item(word, json, _) => map.serialize_entry(word, json)?,
            Self::Missing(name) => map.serialize_entry("missing", name)?,
            Self::Mark(mark) => map.serialize_entry("mark", word(*mark))?,
        }
        map.end()
    }
}

fn word(mark: query::WatchMark) -> &'static str {
    match mark {
        query::WatchMark::CaughtUp => "caught_up",
        query::WatchMark::Bookmark => "bookmark",
        query::WatchMark::Unspecified => "unspecified",
    }
}

type Events = BoxStream<'static, Result<Event, Status>>;

/// Prints until it is stopped, or has what it was asked for.
pub(crate) async fn watch(watch: Watch) -> Result<ExitCode> {
    let following = watch.following();
    let file = following.resume_token_file.as_deref();
    let mut token = file.map(read_token).transpose()?.unwrap_or_default();
    let mut left = following.limit.unwrap_or(u64::MAX);
    let (mut pause, mut was_connected) = (PAUSE_MIN, false);
    loop {
        let ended = match open(&watch, token.clone()).await {
            Ok(mut events) => loop {
                was_connected = true;
                match events.next().await {
                    Some(Ok(event)) => {
                        pause = PAUSE_MIN;
                        print(following, &event)?;
                        token.clone_from(&event.resume_token);
                        if let Some(file) = file {
                            write_token(file, &token)?;
                        }
                        left = left.saturating_sub(u64::from(event.is_item()));
                        if left == 0 || (following.until_caught_up && event.is_caught_up()) {
                            return Ok(ExitCode::SUCCESS);
                        }
                    }
                    Some(Err(status)) => break status,
                    None => break Status::unavailable("the stream ended"),
                }
            },
            Err(Failed::Status(status)) => status,
            // A wrong address is not worth a wait; a node that was there is.
            Err(Failed::Connect(error)) if !was_connected => return Err(error),
            Err(Failed::Connect(error)) => Status::unavailable(format!("{error:#}")),
        };
        let reason = ended.get_details_error_info().map(|info| info.reason);
        if reason.as_deref() == Some("RESUME_TOKEN_EXPIRED")
            && let Some(file) = file
        {
            let file = file.display();
            bail!("{} (RESUME_TOKEN_EXPIRED): remove {file} to begin anew", ended.message());
        }
        if !is_worth_another_try(&ended) {
            return Err(super::failed(&ended));
        }
        super::report(&format!("{}; trying again", ended.message()));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether the same watch may go on a little later. Of what is exhausted only a full node is so: a state that is too
/// large stays too large.
fn is_worth_another_try(ended: &Status) -> bool {
    let reason = ended.get_details_error_info().map(|info| info.reason);
    let Some(reason) = reason else { return true };
    ended.code() == Code::Unavailable || reason == Reason::Overloaded.as_str()
}

enum Failed {
    Connect(anyhow::Error),
    Status(Status),
}

/// Opens the stream.
async fn open(watch: &Watch, resume_token: String) -> Result<Events, Failed> {
    let client = &watch.following().client;
    let channel = super::connect(client).await.map_err(Failed::Connect)?;
    let mut service = WatchServiceClient::new(channel);
    let opened = match watch {
        Watch::Message { wamids, view, .. } => {
            let (wamids, view) = (wamids.clone(), super::view_of(*view).into());
            let request = query::WatchMessagesRequest { wamids, view, resume_token };
            service.watch_messages(request).await.map(|told| events(told.into_inner(), of_message))
        }
        Watch::Conversation { phone_number_id, party, .. } => {
            let request = query::WatchConversationRequest {
                phone_number_id: phone_number_id.clone(),
                party: party.clone(),
                resume_token,
            };
            let opened = service.watch_conversation(request).await;
            opened.map(|told| events(told.into_inner(), of_conversation))
        }
        Watch::Number { phone_number_id, .. } => {
            let phone_number_id = phone_number_id.clone();
            let request = query::WatchNumberRequest { phone_number_id, resume_token };
            service.watch_number(request).await.map(|told| events(told.into_inner(), of_number))
        }
        Watch::Account { waba_id, .. } => {
            let waba_id = waba_id.clone();
            let request = query::WatchAccountRequest { waba_id, resume_token };
            service.watch_account(request).await.map(|told| events(told.into_inner(), of_account))
        }
        Watch::Transitions(records) => {
            let (waba_id, view, from_beginning) = asked(records);
            let request =
                query::WatchTransitionsRequest { waba_id, view, resume_token, from_beginning };
            let opened = service.watch_transitions(request).await;
            opened.map(|told| events(told.into_inner(), of_transition))
        }
        Watch::Actions(records) => {
            let (waba_id, view, from_beginning) = asked(records);
            let request =
                query::WatchActionsRequest { waba_id, view, resume_token, from_beginning };
            service.watch_actions(request).await.map(|told| events(told.into_inner(), of_action))
        }
        Watch::Alerts(records) => {
            let (waba_id, view, from_beginning) = asked(records);
            let request = query::WatchAlertsRequest { waba_id, view, resume_token, from_beginning };
            service.watch_alerts(request).await.map(|told| events(told.into_inner(), of_alert))
        }
    };
    opened.map_err(Failed::Status)
}

fn asked(records: &Records) -> (String, i32, bool) {
    let waba_id = records.waba.clone().unwrap_or_default();
    (waba_id, super::view_of(records.view).into(), records.from_beginning)
}

fn events<R: Send + 'static>(stream: Streaming<R>, of: fn(R) -> Result<Event>) -> Events {
    let odd = |error: anyhow::Error| Status::internal(format!("{error:#}"));
    stream.map(move |told| told.and_then(|told| of(told).map_err(odd))).boxed()
}

impl Event {
    fn is_item(&self) -> bool {
        !matches!(self.what, What::Mark(_))
    }

    fn is_caught_up(&self) -> bool {
        matches!(self.what, What::Mark(query::WatchMark::CaughtUp))
    }
}

/// A state, or what is said where there is none.
fn state(word: &'static str, shown: &impl Serialize) -> Result<What> {
    Ok(What::Item(word, to_raw_value(shown)?, shown.table()))
}

fn mark(mark: i32) -> What {
    What::Mark(query::WatchMark::try_from(mark).unwrap_or_default())
}

fn of_message(told: query::WatchMessagesResponse) -> Result<Event> {
    use query::watch_messages_response::Item;
    let what = match told.item {
        Some(Item::Message(message)) => state("message", &show::message(message, None))?,
        Some(Item::Missing(wamid)) => What::Missing(wamid),
        Some(Item::Mark(of)) => mark(of),
        None => mark(0),
    };
    let query::WatchMessagesResponse { skipped_revisions, resume_token, .. } = told;
    Ok(Event { what, skipped_revisions, resume_token })
}

fn of_conversation(told: query::WatchConversationResponse) -> Result<Event> {
    use query::watch_conversation_response::Item;
    let what = match told.item {
        Some(Item::Conversation(conversation)) => {
            let conversation = Some(conversation);
            let reply = query::GetConversationResponse { conversation, ..Default::default() };
            let shown = show::conversation(reply).context("the node sent an empty state")?;
            state("conversation", &shown)?
        }
        Some(Item::Missing(_)) => What::Missing("conversation".to_owned()),
        Some(Item::Mark(of)) => mark(of),
        None => mark(0),
    };
    let query::WatchConversationResponse { skipped_revisions, resume_token, .. } = told;
    Ok(Event { what, skipped_revisions, resume_token })
}

fn of_number(told: query::WatchNumberResponse) -> Result<Event> {
    use query::watch_number_response::Item;
    let what = match told.item {
        Some(Item::Number(number)) => state("number", &show::number(number, None))?,
        Some(Item::Missing(_)) => What::Missing("number".to_owned()),
        Some(Item::Mark(of)) => mark(of),
        None => mark(0),
    };
    let query::WatchNumberResponse { skipped_revisions, resume_token, .. } = told;
    Ok(Event { what, skipped_revisions, resume_token })
}

fn of_account(told: query::WatchAccountResponse) -> Result<Event> {
    use query::watch_account_response::Item;
    let what = match told.item {
        Some(Item::Account(account)) => state("account", &show::account(account, None))?,
        Some(Item::Missing(_)) => What::Missing("account".to_owned()),
        Some(Item::Mark(of)) => mark(of),
        None => mark(0),
    };
    let query::WatchAccountResponse { skipped_revisions, resume_token, .. } = told;
    Ok(Event { what, skipped_revisions, resume_token })
}

fn of_transition(told: query::WatchTransitionsResponse) -> Result<Event> {
    use query::watch_transitions_response::Item;
    let what = match told.item {
        Some(Item::Transition(record)) => {
            let shown = show::TransitionRecord::from(record);
            What::Item("transition", to_raw_value(&shown)?, shown.line() + "\n")
        }
        Some(Item::Mark(of)) => mark(of),
        None => mark(0),
    };
    Ok(Event { what, skipped_revisions: 0, resume_token: told.resume_token })
}

fn of_action(told: query::WatchActionsResponse) -> Result<Event> {
    use query::watch_actions_response::Item;
    let what = match told.item {
        Some(Item::Action(record)) => {
            let shown = show::ActionRecord::from(record);
            What::Item("action", to_raw_value(&shown)?, shown.line() + "\n")
        }
        Some(Item::Mark(of)) => mark(of),
        None => mark(0),
    };
    Ok(Event { what, skipped_revisions: 0, resume_token: told.resume_token })
}

fn of_alert(told: query::WatchAlertsResponse) -> Result<Event> {
    use query::watch_alerts_response::Item;
    let what = match told.item {
        Some(Item::Alert(record)) => {
            let shown = show::AlertRecord::from(record);
            What::Item("alert", to_raw_value(&shown)?, shown.line() + "\n")
        }
        Some(Item::Mark(of)) => mark(of),
        None => mark(0),
    };
    Ok(Event { what, skipped_revisions: 0, resume_token: told.resume_token })
}

/// Prints what a reader wants to see, and returns once it is out: the place is written next. Bookmarks are for the
/// file of the token.
fn print(following: &Following, event: &Event) -> Result<()> {
    if matches!(event.what, What::Mark(query::WatchMark::Bookmark)) {
        return Ok(());
    }
    let line = Line {
        what: &event.what,
        skipped_revisions: event.skipped_revisions,
        resume_token: &event.resume_token,
    };
    match following.client.output {
        Output::Jsonl => super::print_part(&(serde_json::to_string(&line)? + "\n")),
        Output::Json => super::print_part(&(serde_json::to_string_pretty(&line)? + "\n")),
        Output::Table => match &event.what {
            What::Item(_, _, text) => {
                super::print_part(text);
                if event.skipped_revisions > 0 {
                    super::print_part(&format!(
                        "({} changes before it)\n",
                        event.skipped_revisions
                    ));
                }
            }
            What::Missing(name) => super::print_part(&format!("{name}: not known\n")),
            What::Mark(_) => super::report("caught up"),
        },
    }
    Ok(())
}

/// The token of a file; none if there is no file yet.
fn read_token(path: &Path) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Replaces the file as a whole: a half-written token would be refused.
fn write_token(path: &Path, token: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, format!("{token}\n"))
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_try_is_made_of_the_ends_that_the_page_says() {
        let page = include_str!("../../../../docs/watch.md");
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert!(rows.len() > 8, "{rows:#?}");
        for (row, line) in rows.iter().enumerate() {
            let cell = line.split(" | ").next().unwrap();
            for name in cell.split('`').skip(1).step_by(2) {
                let reason = Reason::ALL.iter().copied().find(|reason| reason.as_str() == name);
                let ended = reason.unwrap_or_else(|| panic!("no reason {name}")).status("over");
                assert_eq!(is_worth_another_try(&ended), row < 3, "{name}");
            }
        }
        // A connection that broke has no reason.
        assert!(is_worth_another_try(&Status::internal("broken pipe")));
    }
}
