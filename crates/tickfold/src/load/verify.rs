//! `--verify`: whether the state holds every accepted fact exactly once, and nothing that nobody
//! sent.
//!
//! Asks for the ends of the raw log after the last answer, then reads only state that reflects
//! them, so one reading is final. If the node does not get there in time, what is there is judged
//! all the same: facts that are not yet folded are then missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost_types::Timestamp as WireTime;
use serde::Serialize;
use tickfold_core::ids::{ConversationKey, TemplateKey};
use tickfold_core::raw::partition_of;
use tickfold_core::records::RAW_TOPIC;
use tickfold_core::state::Status;
use tickfold_core::time::Timestamp;
use tickfold_proto::admin::v1::ListTopicsRequest;
use tickfold_proto::admin::v1::admin_service_client::AdminServiceClient;
use tickfold_proto::query::v1 as query;
use tickfold_proto::query::v1::query_service_client::QueryServiceClient;
use tickfold_workload::{
    Expectation, ExpectedConversation, ExpectedMessage, ExpectedTemplate, Findings, Message,
};
use tonic::{Code, Response};

use crate::cli::Client;
use crate::client;

/// Messages asked for in one call; with their histories far below the largest reply.
const LOOKUP: usize = 200;
/// Calls open at once.
const CALLS: usize = 16;
/// Pause before a call that was turned away is made again.
const PAUSE: Duration = Duration::from_millis(50);
/// Findings that are printed.
const EXAMPLES: usize = 10;

/// What was compared and what was wrong.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verification {
    pub(super) ok: bool,
    messages: usize,
    conversations: usize,
    templates: usize,
    /// Statuses and inbound messages that had to be there.
    facts: usize,
    /// Accepted and not there.
    missing: usize,
    /// There more than once.
    twice: usize,
    /// There although nobody sent it, or although it was refused.
    unexplained: usize,
    /// From the last answer until everything was folded.
    waited_seconds: f64,
    /// The node had not folded everything in time.
    timed_out: bool,
    /// The first findings, for the report to print by themselves.
    #[serde(skip)]
    pub(super) examples: Vec<String>,
    /// Why it could not be finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Compares the state of a node with the expectation.
pub(super) async fn verify(
    client: &Client,
    expectation: &Expectation,
    timeout: Duration,
) -> Verification {
    let mut verification = Verification::default();
    let outcome = compare(client, expectation, timeout, &mut verification).await;
    verification.error = outcome.err().map(|error| format!("{error:#}"));
    verification.ok = verification.error.is_none()
        && !verification.timed_out
        && verification.missing + verification.twice + verification.unexplained == 0;
    verification
}

async fn compare(
    client: &Client,
    expectation: &Expectation,
    timeout: Duration,
    verification: &mut Verification,
) -> Result<()> {
    let begin = Instant::now();
    let deadline = begin + timeout;
    let channel = client::connect(client).await?;
    let node = Node { client, queries: QueryServiceClient::new(channel.clone()), deadline };
    let ends = node.ends_of_raw(channel).await?;
    verification.timed_out = !node.reached(of_traffic(ends, expectation)).await?;
    verification.waited_seconds = (begin.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0;

    let messages: Vec<_> = expectation.messages().collect();
    let calls = stream::iter(messages.chunks(LOOKUP)).map(|chunk| node.messages(chunk));
    let mut found = calls.buffered(CALLS);
    while let Some(findings) = found.try_next().await? {
        for (message, expected, findings) in findings {
            verification.messages += 1;
            verification.facts += expected.must().count();
            verification.note(&format!("message {}", message.wamid), findings);
        }
    }
    let conversations = expectation.conversations();
    let calls =
        stream::iter(&conversations).map(|(key, expected)| node.conversation(key, expected));
    let mut found = calls.buffered(CALLS);
    while let Some((key, findings)) = found.try_next().await? {
        verification.conversations += 1;
        verification.note(&format!("conversation {} {}", key.phone_number_id, key.party), findings);
    }
    for (key, expected) in expectation.templates() {
        verification.templates += 1;
        let findings = node.template(key, expected).await?;
        let name = format!("template {} {} {}", key.waba_id, key.template_id, key.language);
        verification.note(&name, findings);
    }
    Ok(())
}

impl Verification {
    /// One that was not finished.
    pub(super) fn interrupted() -> Self {
        Self { error: Some("interrupted".to_owned()), ..Self::default() }
    }

    fn note(&mut self, of: &str, findings: Findings) {
        let Findings { missing, twice, unexplained } = findings;
        let kinds = [
            ("missing", &mut self.missing, missing),
            ("twice", &mut self.twice, twice),
            ("unexplained", &mut self.unexplained, unexplained),
        ];
        for (kind, count, words) in kinds {
            *count += words.len();
            for word in words {
                if self.examples.len() < EXAMPLES {
                    self.examples.push(format!("{of}: {kind} {word}"));
                }
            }
        }
    }
}

/// The node that is asked.
struct Node<'a> {
    client: &'a Client,
    queries: QueryServiceClient<client::Connection>,
    /// Until when calls that were turned away are made again.
    deadline: Instant,
}

/// A message with what is wrong with it.
type Judged<'e> = (&'e Message, &'e ExpectedMessage, Findings);

impl Node<'_> {
    async fn ends_of_raw(&self, channel: client::Connection) -> Result<Vec<query::Position>> {
        let request = client::timed(self.client, ListTopicsRequest {});
        let reply = AdminServiceClient::new(channel).list_topics(request).await;
        let topics = reply.map_err(|status| client::failed(&status))?.into_inner().topics;
        // Another installation on the cluster may have a prefix that begins with the node's.
        let raw = topics.into_iter().filter(|topic| topic.name.ends_with(RAW_TOPIC));
        let raw = raw.min_by_key(|topic| topic.name.len());
        let raw = raw.context("find the raw topic: the node lists none")?;
        let end = |p: tickfold_proto::admin::v1::TopicPartition| query::Position {
            partition: p.partition,
            offset: p.end_offset,
        };
        Ok(raw.partitions.into_iter().map(end).collect())
    }

    /// Waits until the state reflects these positions; false if it does not in time.
    async fn reached(&self, ends: Vec<query::Position>) -> Result<bool> {
        // Any message does: an unknown one is asked of every partition.
        let request = query::LookupMessagesRequest {
            wamids: vec!["wamid.none".to_owned()],
            view: query::MessageView::Basic.into(),
            min_position: ends,
        };
        let reply = self.ask(&request, |mut queries, request| async move {
            queries.lookup_messages(request).await
        });
        match reply.await {
            Ok(_) => Ok(true),
            Err(status) if again(status.code()) => Ok(false),
            Err(status) => Err(client::failed(&status)),
        }
    }

    async fn messages<'e>(
        &self,
        chunk: &[(&'e Message, &'e ExpectedMessage)],
    ) -> Result<Vec<Judged<'e>>> {
        let request = query::LookupMessagesRequest {
            wamids: chunk.iter().map(|(message, _)| message.wamid.to_string()).collect(),
            view: query::MessageView::History.into(),
            min_position: Vec::new(),
        };
        let reply = self.ask(&request, |mut queries, request| async move {
            queries.lookup_messages(request).await
        });
        let found = reply.await.map_err(|status| client::failed(&status))?.found;
        let found: BTreeMap<_, _> =
            found.into_iter().map(|message| (message.wamid, message.history)).collect();
        let judged = chunk.iter().map(|&(message, expected)| {
            let history = found.get(message.wamid.as_str()).map(Vec::as_slice).unwrap_or_default();
            let history: Vec<_> = history
                .iter()
                .map(|one| (Status::parse(&one.to_text), time(one.event_time.as_ref())))
                .collect();
            (message, expected, expected.judge(&history))
        });
        Ok(judged.collect())
    }

    async fn conversation<'e>(
        &self,
        key: &'e ConversationKey,
        expected: &ExpectedConversation,
    ) -> Result<(&'e ConversationKey, Findings)> {
        let request = query::GetConversationRequest {
            phone_number_id: key.phone_number_id.to_string(),
            party: key.party.to_string(),
            ..Default::default()
        };
        let reply = self.ask(&request, |mut queries, request| async move {
            queries.get_conversation(request).await
        });
        let found = known(reply.await)?.and_then(|reply| reply.conversation).unwrap_or_default();
        Ok((key, expected.judge(found.inbound_count, found.outbound_count)))
    }

    async fn template(&self, key: &TemplateKey, expected: &ExpectedTemplate) -> Result<Findings> {
        let request = query::GetTemplateRequest {
            waba_id: key.waba_id.to_string(),
            template_id: key.template_id.to_string(),
            language: key.language.clone(),
            ..Default::default()
        };
        let reply = self.ask(&request, |mut queries, request| async move {
            queries.get_template(request).await
        });
        let found = known(reply.await)?.and_then(|reply| reply.template);
        let events = found.as_ref().map(|found| found.events.as_slice()).unwrap_or_default();
        let events: Vec<_> =
            events.iter().map(|one| (one.event.as_str(), time(one.event_time.as_ref()))).collect();
        Ok(expected.judge(found.as_ref().map(|found| found.status.as_str()), &events))
    }

    /// Makes a call, again and again while the node only says that it cannot answer yet.
    async fn ask<Q: Clone, R, F>(
        &self,
        request: &Q,
        call: impl Fn(QueryServiceClient<client::Connection>, tonic::Request<Q>) -> F,
    ) -> Result<R, tonic::Status>
    where
        F: Future<Output = Result<Response<R>, tonic::Status>>,
    {
        loop {
            let request = client::timed(self.client, request.clone());
            match call(self.queries.clone(), request).await {
                Err(status) if again(status.code()) && Instant::now() < self.deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                reply => return reply.map(Response::into_inner),
            }
        }
    }
}

/// Of all partitions those that the traffic goes to. Others hold ticks at their end, which a node
/// takes its time to commit.
fn of_traffic(ends: Vec<query::Position>, expectation: &Expectation) -> Vec<query::Position> {
    let count = u32::try_from(ends.len()).unwrap_or(u32::MAX);
    let messages = expectation.messages().map(|(message, _)| &message.number.waba_id);
    let templates = expectation.templates().map(|(key, _)| &key.waba_id);
    let wabas: BTreeSet<_> = messages.chain(templates).collect();
    let partitions: BTreeSet<_> =
        wabas.into_iter().map(|waba_id| partition_of(waba_id, count)).collect();
    ends.into_iter().filter(|end| partitions.contains(&end.partition)).collect()
}

/// Whether the node may answer later: not there yet, starting, or busy.
fn again(code: Code) -> bool {
    matches!(code, Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted)
}

/// A reply, or `None` for a thing that is not there.
fn known<R>(reply: Result<R, tonic::Status>) -> Result<Option<R>> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(client::failed(&status)),
    }
}

fn time(time: Option<&WireTime>) -> Option<Timestamp> {
    let time = time?;
    let ms = time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000);
    Some(Timestamp::from_millis(ms))
}
