//! The query service: arguments checked, positions waited for, one snapshot per partition read,
//! domain turned into proto. Each call is first spread over the nodes that own the partitions it asks
//! (`spread`), unless they are all here.
//!
//! Reads run on the blocking pool: a store may wait for the disk, and the runtime must not. Lookups of
//! one thing are tried in memory first, on the thread of the call, which most of them find there.
//! Explaining a message also reads the raw log, as a stream.

pub(crate) mod arguments;
mod decisions;
mod explain;
mod explain_spread;
mod filter;
mod find;
mod joined;
mod learned;
mod list;
mod listing;
#[cfg(test)]
pub(crate) mod made;
mod merge;
mod merge_lists;
mod page;
mod partitions;
mod spread;
mod standing;
mod then;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;
use tickfold_core::ids::{PartyId, WabaId, Wamid};
use tickfold_log::{Log, TopicPartition};
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::query_service_server::QueryService;
use tickfold_store::Snapshot;
use tonic::{Request, Response, Status};

use crate::access::Scope;
use crate::call::{Call, Limits};
use crate::convert;
use crate::peers::Peers;
use crate::reasons::{Failure, Reason};
use crate::{QueryOptions, metrics};
use arguments::{conversation_key, id};
use explain_spread::Explained;
use filter::Conditions;
use find::Search;
use list::{Cut, List, Messages};
use partitions::Snapshots;
use then::Lookup;

pub(crate) use arguments::View;
pub(crate) use decisions::{Charged, DecidedFor};
pub(crate) use joined::{JoinedConversation, JoinedMessage};
pub(crate) use partitions::{Asked, Partitions};
pub use partitions::{Role, RoleOf};
pub(crate) use standing::{Halted, Story};
pub use then::{History, Moment, NotThen};
pub(crate) use users::JoinedUser;

/// Totals of charges read of an account: so many do not fit into a reply.
const TOTALS_MAX: usize = 100_000;

/// The service.
#[derive(Debug)]
pub(crate) struct Query {
    partitions: Arc<Partitions>,
    history: Arc<dyn History>,
    raw: Raw,
    peers: Peers,
    limits: Limits,
    streams: Limits,
    options: Arc<QueryOptions>,
}

/// The raw log, of which explanations are made.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) log: Arc<dyn Log>,
    /// Full name of the raw topic.
    pub(crate) topic: String,
}

impl Query {
    pub(crate) fn new(
        (partitions, history): (Partitions, Arc<dyn History>),
        peers: Peers,
        raw: Raw,
        [limits, streams]: [Limits; 2],
        options: QueryOptions,
    ) -> Self {
        let (partitions, options) = (Arc::new(partitions), Arc::new(options));
        Self { partitions, history, peers, raw, limits, streams, options }
    }

    /// Waits for the positions, then reads on the blocking pool.
    async fn read<R: Send + 'static>(
        &self,
        call: Call,
        min_position: Vec<pb::Position>,
        asked: Asked,
        read: impl FnOnce(Snapshots) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let read = |snapshots: Snapshots| {
            let as_of = snapshots.as_of();
            // That something is not there is an answer too.
            read(snapshots).map_err(|failure| failure.reflecting(Some(as_of)))
        };
        self.read_at(&call, min_position, asked, read).await
    }

    async fn read_at<R: Send + 'static>(
        &self,
        call: &Call,
        min_position: Vec<pb::Position>,
        asked: Asked,
        read: impl FnOnce(Snapshots) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        self.reached(call, &min_position).await?;
        let (partitions, call) = (Arc::clone(&self.partitions), call.clone());
        // The read goes on when the caller hangs up, and so does its slot, which is in the call.
        let task = tokio::task::spawn_blocking(move || read(partitions.snapshots(&asked, &call)?));
        task.await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a read panicked");
            Err(Failure::new(Reason::Defect, "the read failed"))
        })
    }

    /// Waits until the positions are applied.
    async fn reached(&self, call: &Call, min_position: &[pb::Position]) -> Result<(), Failure> {
        let wanted = self.partitions.wanted(min_position)?;
        let reached = self.partitions.reached(&wanted, call.deadline);
        let Some(reached) = call.shutdown.run_until_cancelled(reached).await else {
            return Err(Failure::new(Reason::ShuttingDown, "the server is stopping"));
        };
        reached
    }

    /// How far a partition of raw reaches at least; less than `place` only if that was never reached.
    pub(crate) async fn raw_reaches(&self, partition: u32, place: u64) -> Result<u64, Failure> {
        let (wanted, only) = (BTreeMap::from([(partition, place)]), BTreeSet::from([partition]));
        if self.partitions.have(&wanted, &only) {
            return Ok(place);
        }
        let of = TopicPartition::new(self.raw.topic.as_str(), partition);
        Ok(self.raw.log.bounds(&of).await?.end)
    }

    /// Refuses a reply that clients would refuse.
    fn fits<R: prost::Message>(&self, reply: R) -> Result<R, Failure> {
        let bytes = reply.encoded_len();
        let limit = self.options.response_bytes_max;
        if bytes <= limit {
            return Ok(reply);
        }
        Err(too_large(bytes, limit))
    }

    async fn message(
        &self,
        request: pb::GetMessageRequest,
        call: Call,
    ) -> Result<pb::GetMessageResponse, Failure> {
        let wamid = Wamid::new(id("wamid", request.wamid)?);
        let view = View::of(request.view)?;
        let asked = Lookup::of(request.at, request.min_position, Asked::All)?.short();
        let key = wamid.clone();
        let holds = move |snapshot: &dyn Snapshot| Ok(snapshot.message(&key)?.is_some());
        let reply = self.look_up(call, asked, holds, move |snapshots| {
            let Some(found) = joined::message(&snapshots, &wamid)? else {
                return Err(Failure::new(Reason::MessageNotFound, "no such message"));
            };
            let message = Some(convert::message(&found, view));
            Ok(pb::GetMessageResponse { message, as_of: Some(snapshots.as_of()) })
        });
        self.fits(reply.await?)
    }

    async fn lookup(
        &self,
        request: pb::LookupMessagesRequest,
        call: Call,
    ) -> Result<pb::LookupMessagesResponse, Failure> {
        let wamids = arguments::wamids(request.wamids, self.options.lookup_max)?;
        let view = View::of(request.view)?;
        let limit = self.options.response_bytes_max;
        let reply = self.read(call, request.min_position, Asked::All, move |snapshots| {
            let as_of = Some(snapshots.as_of());
            let mut reply = pb::LookupMessagesResponse { as_of, ..Default::default() };
            let mut bytes = 0;
            for wamid in wamids {
                let Some(found) = joined::message(&snapshots, &wamid)? else {
                    reply.missing.push(wamid.to_string());
                    continue;
                };
                let message = convert::message(&found, view);
                bytes += message.encoded_len();
                if bytes > limit {
                    // Read no further for a reply that is refused anyway.
                    return Err(too_large(bytes, limit));
                }
                reply.found.push(message);
            }
            Ok(reply)
        });
        self.fits(reply.await?)
    }

    async fn list(
        &self,
        request: pb::ListMessagesRequest,
        call: Call,
    ) -> Result<pb::ListMessagesResponse, Failure> {
        if request.party.is_empty() {
            let search = Search::of_list(&request)?;
            let found = self.search(search, request.page_size, request.min_position, call);
            let (Messages { messages, next_page_token }, as_of) = found.await?;
            return self.fits(pb::ListMessagesResponse { messages, next_page_token, as_of });
        }
        let key = conversation_key(request.phone_number_id, request.party)?;
        let view = View::of(request.view)?;
        let options = &self.options;
        let bytes_max = options.response_bytes_max;
        let size = arguments::page_size(request.page_size, options)?;
        let conditions = filter::in_conversation(&request.filter)?;
        let page = page::Page::of_conversation(&key, view, &conditions, &request.page_token)?;
        let page = page.not_above(conditions.to);
        let reply = self.read(call, request.min_position, Asked::All, move |snapshots| {
            let list = List::of_user(&key, &joined::parties(&snapshots, &key)?);
            let cut = Cut { page: &page, conditions: &conditions, view, size, bytes_max };
            let Messages { messages, next_page_token } = list::page(&snapshots, &list, &cut)?;
            let as_of = Some(snapshots.as_of());
            Ok(pb::ListMessagesResponse { messages, next_page_token, as_of })
        });
        self.fits(reply.await?)
    }

    async fn conversation(
        &self,
        request: pb::GetConversationRequest,
        call: Call,
    ) -> Result<pb::GetConversationResponse, Failure> {
        let key = conversation_key(request.phone_number_id, request.party)?;
        let view = View::of(request.message_view)?;
        let personal = call.access.has(Scope::PersonalData);
        let options = &self.options;
        let count = arguments::message_count(request.message_count, options)?;
        let page = page::Page::new(&key, view, "")?;
        let bytes_max = options.response_bytes_max;
        let asked = Lookup::of(request.at, request.min_position, Asked::All)?;
        let held = key.clone();
        let holds = move |snapshot: &dyn Snapshot| Ok(snapshot.conversation(&held)?.is_some());
        let reply = self.look_up(call, asked, holds, move |snapshots| {
            let parties = joined::parties(&snapshots, &key)?;
            let list = List::of_user(&key, &parties);
            let Some(found) = joined::conversation(&snapshots, &key, parties)? else {
                return Err(Failure::new(Reason::ConversationNotFound, "no such conversation"));
            };
            let conversation = Some(convert::conversation(&found, personal));
            let mut reply = pb::GetConversationResponse { conversation, ..Default::default() };
            if count > 0 {
                let conditions = &Conditions::default();
                let cut = Cut { page: &page, conditions, view, size: count, bytes_max };
                let newest = list::page(&snapshots, &list, &cut)?;
                (reply.messages, reply.next_page_token) = (newest.messages, newest.next_page_token);
            }
            reply.as_of = Some(snapshots.as_of());
            Ok(reply)
        });
        self.fits(reply.await?)
    }

    async fn user(
        &self,
        request: pb::GetUserRequest,
        call: Call,
    ) -> Result<pb::GetUserResponse, Failure> {
        let waba_id = WabaId::new(id("waba_id", request.waba_id)?);
        let party = PartyId::new(id("party", request.party)?);
        let asked = Asked::AccountOf(waba_id.clone());
        let asked = Lookup::of(request.at, request.min_position, asked)?.short();
        let reply = self.look_up(
            call,
            asked,
            |_| Ok(true),
            move |snapshots| {
                for (_, snapshot) in snapshots.each() {
                    let found = users::user(snapshot, &waba_id, &party)?;
                    if found.is_known {
                        let user = Some(convert::user(&found));
                        return Ok(pb::GetUserResponse { user, as_of: Some(snapshots.as_of()) });
                    }
                }
                Err(Failure::new(Reason::UserNotFound, "no such user"))
            },
        );
        self.fits(reply.await?)
    }
}

impl Query {
    async fn find(
        &self,
        request: pb::FindMessagesRequest,
        call: Call,
    ) -> Result<pb::FindMessagesResponse, Failure> {
        let search = Search::of(&request)?;
        let found = self.search(search, request.page_size, request.min_position, call);
        let (Messages { messages, next_page_token }, as_of) = found.await?;
        self.fits(pb::FindMessagesResponse { messages, next_page_token, as_of })
    }

    /// One page of a search, and what it reflects.
    async fn search(
        &self,
        search: Search,
        page_size: i32,
        min_position: Vec<pb::Position>,
        call: Call,
    ) -> Result<(Messages, Option<pb::AsOf>), Failure> {
        let size = arguments::page_size(page_size, &self.options)?;
        let bytes_max = self.options.response_bytes_max;
        let found = self.read(call, min_position, Asked::All, move |snapshots| {
            let messages = search.page(&snapshots, size, bytes_max)?;
            Ok((messages, Some(snapshots.as_of())))
        });
        found.await
    }
}

fn too_large(bytes: usize, limit: usize) -> Failure {
    let what = format!("the reply has {bytes} bytes or more, of {limit} at most");
    Failure::new(Reason::ResponseTooLarge, what).with("bytes", bytes).with("bytes_max", limit)
}

#[tonic::async_trait]
impl QueryService for Query {
    type ExplainMessageStream = Explained;

    async fn get_message(
        &self,
        request: Request<pb::GetMessageRequest>,
    ) -> Result<Response<pb::GetMessageResponse>, Status> {
        self.everywhere("GetMessage", request, |q, call| self.message(q, call)).await
    }

    async fn lookup_messages(
        &self,
        request: Request<pb::LookupMessagesRequest>,
    ) -> Result<Response<pb::LookupMessagesResponse>, Status> {
        self.everywhere("LookupMessages", request, |q, call| self.lookup(q, call)).await
    }

    async fn list_messages(
        &self,
        request: Request<pb::ListMessagesRequest>,
    ) -> Result<Response<pb::ListMessagesResponse>, Status> {
        self.everywhere("ListMessages", request, |q, call| self.list(q, call)).await
    }

    async fn get_conversation(
        &self,
        request: Request<pb::GetConversationRequest>,
    ) -> Result<Response<pb::GetConversationResponse>, Status> {
        self.everywhere("GetConversation", request, |q, call| self.conversation(q, call)).await
    }

    async fn get_template(
        &self,
        request: Request<pb::GetTemplateRequest>,
    ) -> Result<Response<pb::GetTemplateResponse>, Status> {
        self.everywhere("GetTemplate", request, |q, call| self.template(q, call)).await
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::GetAccountResponse>, Status> {
        self.everywhere("GetAccount", request, |q, call| self.account(q, call)).await
    }

    async fn get_number(
        &self,
        request: Request<pb::GetNumberRequest>,
    ) -> Result<Response<pb::GetNumberResponse>, Status> {
        self.everywhere("GetNumber", request, |q, call| self.number(q, call)).await
    }

    async fn list_templates(
        &self,
        request: Request<pb::ListTemplatesRequest>,
    ) -> Result<Response<pb::ListTemplatesResponse>, Status> {
        self.everywhere("ListTemplates", request, |q, call| self.list_of_templates(q, call)).await
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        self.everywhere("ListAccounts", request, |q, call| self.list_of_accounts(q, call)).await
    }

    async fn list_numbers(
        &self,
        request: Request<pb::ListNumbersRequest>,
    ) -> Result<Response<pb::ListNumbersResponse>, Status> {
        self.everywhere("ListNumbers", request, |q, call| self.list_of_numbers(q, call)).await
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::GetUserResponse>, Status> {
        self.everywhere("GetUser", request, |q, call| self.user(q, call)).await
    }

    async fn find_messages(
        &self,
        request: Request<pb::FindMessagesRequest>,
    ) -> Result<Response<pb::FindMessagesResponse>, Status> {
        self.everywhere("FindMessages", request, |q, call| self.find(q, call)).await
    }

    async fn explain_message(
        &self,
        request: Request<pb::ExplainMessageRequest>,
    ) -> Result<Response<Self::ExplainMessageStream>, Status> {
        let opened = self.explain(request).await;
        let code = opened.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok);
        // Counted when it opens: how long it goes on is up to the caller.
        metrics::request("ExplainMessage", code, None);
        opened
    }
}
