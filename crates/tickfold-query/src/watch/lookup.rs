//! Looking up the state of what is watched, as any call does it: from here, or from the node that owns
//! the partition.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::query_service_server::QueryService;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use super::states::Subject;
use crate::access::Access;
use crate::metrics;
use crate::query::{Query, View};
use crate::reasons::{Failure, Reason};

/// How long a lookup may wait for its position before others get their turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the states of a watch are looked up.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) query: Arc<Query>,
    /// Lookups of watches running at once.
    pub(super) reads: Arc<Semaphore>,
    /// What the caller may: each lookup is the caller's.
    pub(super) access: Access,
}

/// A state, or that there is none.
#[derive(Debug)]
pub(super) enum Found {
    Message(Box<pb::Message>),
    /// The wamid.
    NoMessage(String),
    Conversation(Box<pb::Conversation>),
    Number(Box<pb::Number>),
    Account(Box<pb::Account>),
    /// Neither conversation, number nor account.
    Nothing,
}

/// What a lookup gave.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) found: Vec<Found>,
    /// What it reflects.
    pub(super) positions: Vec<pb::Position>,
}

impl Lookup {
    /// Looks up the messages of these names, or the one thing that is watched.
    pub(super) async fn read(
        &self,
        subject: &Subject,
        names: &[Arc<str>],
        min_position: Vec<pb::Position>,
    ) -> Result<Looked, Failure> {
        // Whoever waits for a position here, or for an owner, takes no place from the others.
        self.query.ready(&min_position, Instant::now() + PATIENCE).await?;
        // The semaphore is never closed.
        let _permit = self.reads.acquire().await;
        let _running = metrics::watch_lookup();
        match subject {
            Subject::Messages { view, .. } => {
                let request = pb::LookupMessagesRequest {
                    wamids: names.iter().map(ToString::to_string).collect(),
                    view: view.to_proto().into(),
                    min_position,
                };
                let reply = self.query.lookup_messages(self.request(request)).await;
                let pb::LookupMessagesResponse { found, missing, as_of } = answered(reply)?;
                let found = found.into_iter().map(|message| Found::Message(Box::new(message)));
                let found = found.chain(missing.into_iter().map(Found::NoMessage)).collect();
                Ok(Looked { found, positions: positions(as_of) })
            }
            Subject::Conversation(key) => {
                let request = pb::GetConversationRequest {
                    phone_number_id: key.phone_number_id.to_string(),
                    party: key.party.to_string(),
                    min_position,
                    message_count: 0,
                    message_view: View::Basic.to_proto().into(),
                    at: None,
                };
                let reply = self.query.get_conversation(self.request(request)).await;
                one(reply, |reply| {
                    (reply.conversation.map(|found| Found::Conversation(found.into())), reply.as_of)
                })
            }
            Subject::Number(id) => {
                let phone_number_id = id.clone();
                let request = pb::GetNumberRequest { phone_number_id, min_position, at: None };
                let reply = self.query.get_number(self.request(request)).await;
                one(reply, |reply| {
                    (reply.number.map(|found| Found::Number(found.into())), reply.as_of)
                })
            }
            Subject::Account(waba_id) => {
                let request = pb::GetAccountRequest {
                    waba_id: waba_id.to_string(),
                    min_position,
                    month: String::new(),
                    at: None,
                };
                let reply = self.query.get_account(self.request(request)).await;
                one(reply, |reply| {
                    (reply.account.map(|found| Found::Account(found.into())), reply.as_of)
                })
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.access.clone());
        request.set_timeout(PATIENCE);
        request
    }
}

impl Found {
    /// The name under which changes of it are noted.
    pub(super) fn name(&self, subject: &Subject) -> Arc<str> {
        match self {
            Self::Message(message) => Arc::from(message.wamid.as_str()),
            Self::NoMessage(wamid) => Arc::from(wamid.as_str()),
            Self::Conversation(_) | Self::Number(_) | Self::Account(_) | Self::Nothing => {
                subject.name()
            }
        }
    }

    /// Tells one content from another, to leave out what was told already. Only within this process.
    pub(super) fn content(&self) -> u64 {
        let bytes = match self {
            Self::Message(message) => message.encode_to_vec(),
            Self::Conversation(conversation) => conversation.encode_to_vec(),
            Self::Number(number) => number.encode_to_vec(),
            Self::Account(account) => account.encode_to_vec(),
            Self::NoMessage(_) | Self::Nothing => Vec::new(),
        };
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    }
}

fn answered<R>(reply: Result<Response<R>, Status>) -> Result<R, Failure> {
    reply.map(Response::into_inner).map_err(|status| {
        let odd = || Failure::new(Reason::Defect, "the state could not be looked up");
        Failure::of_peer(&status).unwrap_or_else(odd)
    })
}

/// The one thing that was looked up. That it is not there is an answer.
fn one<R>(
    reply: Result<Response<R>, Status>,
    found: impl FnOnce(R) -> (Option<Found>, Option<pb::AsOf>),
) -> Result<Looked, Failure> {
    let (found, as_of) = match answered(reply) {
        Ok(reply) => found(reply),
        Err(failure) if failure.reason().code() == Code::NotFound => {
            (None, failure.as_of.map(|as_of| *as_of))
        }
        Err(failure) => return Err(failure),
    };
    Ok(Looked { found: vec![found.unwrap_or(Found::Nothing)], positions: positions(as_of) })
}

fn positions(as_of: Option<pb::AsOf>) -> Vec<pb::Position> {
    as_of.map(|as_of| as_of.positions).unwrap_or_default()
}
