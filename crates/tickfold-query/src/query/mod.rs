//! The query service: arguments checked, positions waited for, one snapshot per partition read,
//! domain turned into proto.
//!
//! Reads run on the blocking pool: a store may wait for the disk, and the runtime must not.

mod arguments;
mod joined;
mod list;
mod page;
mod partitions;

use std::sync::Arc;

use prost::Message as _;
use tickfold_core::ids::{PhoneNumberId, TemplateId, TemplateKey, WabaId, Wamid};
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::query_service_server::QueryService;
use tonic::{Request, Response, Status};

use crate::QueryOptions;
use crate::call::{Call, Limits};
use crate::convert;
use crate::reasons::{Failure, Reason};
use arguments::{conversation_key, id};
use partitions::{Asked, Snapshots};

pub(crate) use arguments::View;
pub(crate) use joined::JoinedMessage;
pub(crate) use partitions::Partitions;
pub use partitions::{Role, RoleOf};

/// The service.
#[derive(Debug)]
pub(crate) struct Query {
    partitions: Arc<Partitions>,
    limits: Limits,
    options: Arc<QueryOptions>,
}

impl Query {
    pub(crate) fn new(partitions: Partitions, limits: Limits, options: QueryOptions) -> Self {
        Self { partitions: Arc::new(partitions), limits, options: Arc::new(options) }
    }

    /// Waits for the positions, then reads on the blocking pool.
    async fn read<R: Send + 'static>(
        &self,
        call: Call,
        min_position: Vec<pb::Position>,
        asked: Asked,
        read: impl FnOnce(Snapshots) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let wanted = self.partitions.wanted(&min_position)?;
        let Call { deadline, slot, shutdown } = call;
        let reached = self.partitions.reached(&wanted, deadline);
        let Some(reached) = shutdown.run_until_cancelled(reached).await else {
            return Err(Failure::new(Reason::ShuttingDown, "the server is stopping"));
        };
        reached?;
        let partitions = Arc::clone(&self.partitions);
        let task = tokio::task::spawn_blocking(move || {
            // The read goes on when the caller hangs up, and so does its slot.
            let _slot = slot;
            read(partitions.snapshots(asked)?)
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a read panicked");
            Err(Failure::new(Reason::Defect, "the read failed"))
        })
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
        let reply = self.read(call, request.min_position, Asked::All, move |snapshots| {
            let Some(found) = joined::message(&snapshots, &wamid)? else {
                return Err(Failure::new(Reason::MessageNotFound, "no such message"));
            };
            let message = Some(convert::message(&wamid, &found, view));
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
                    reply.missing.push(wamid.into_string());
                    continue;
                };
                let message = convert::message(&wamid, &found, view);
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
        let key = conversation_key(request.phone_number_id, request.party)?;
        let view = View::of(request.view)?;
        let options = &self.options;
        let size = arguments::page_size(request.page_size, options)?;
        let page = page::Page::new(&key, view, &request.page_token)?;
        let bytes_max = options.response_bytes_max;
        let reply = self.read(call, request.min_position, Asked::All, move |snapshots| {
            list::page(&snapshots, &key, view, &page, size, bytes_max)
        });
        self.fits(reply.await?)
    }

    async fn conversation(
        &self,
        request: pb::GetConversationRequest,
        call: Call,
    ) -> Result<pb::GetConversationResponse, Failure> {
        let key = conversation_key(request.phone_number_id, request.party)?;
        let reply = self.read(call, request.min_position, Asked::All, move |snapshots| {
            let Some((found, log_time)) = joined::conversation(&snapshots, &key)? else {
                return Err(Failure::new(Reason::ConversationNotFound, "no such conversation"));
            };
            let conversation = Some(convert::conversation(&key, &found, log_time));
            Ok(pb::GetConversationResponse { conversation, as_of: Some(snapshots.as_of()) })
        });
        self.fits(reply.await?)
    }

    async fn template(
        &self,
        request: pb::GetTemplateRequest,
        call: Call,
    ) -> Result<pb::GetTemplateResponse, Failure> {
        let waba_id = WabaId::new(id("waba_id", request.waba_id)?);
        let template_id = TemplateId::new(id("template_id", request.template_id)?);
        let language = id("language", request.language)?;
        let asked = Asked::AccountOf(waba_id.clone());
        let key = TemplateKey::new(waba_id, template_id, &language);
        let reply = self.read(call, request.min_position, asked, move |snapshots| {
            let found = snapshots.find(|snapshot| snapshot.template(&key))?.pop();
            let Some((source, found)) = found else {
                return Err(Failure::new(Reason::TemplateNotFound, "no such template"));
            };
            let template = Some(convert::template(&key, &found, source.log_time));
            Ok(pb::GetTemplateResponse { template, as_of: Some(snapshots.as_of()) })
        });
        self.fits(reply.await?)
    }

    async fn account(
        &self,
        request: pb::GetAccountRequest,
        call: Call,
    ) -> Result<pb::GetAccountResponse, Failure> {
        let waba_id = WabaId::new(id("waba_id", request.waba_id)?);
        let asked = Asked::AccountOf(waba_id.clone());
        let reply = self.read(call, request.min_position, asked, move |snapshots| {
            let found = snapshots.find(|snapshot| snapshot.account(&waba_id))?.pop();
            let Some((source, found)) = found else {
                return Err(Failure::new(Reason::AccountNotFound, "no such account"));
            };
            let account = Some(convert::account(&waba_id, &found, source.log_time));
            Ok(pb::GetAccountResponse { account, as_of: Some(snapshots.as_of()) })
        });
        self.fits(reply.await?)
    }

    async fn number(
        &self,
        request: pb::GetNumberRequest,
        call: Call,
    ) -> Result<pb::GetNumberResponse, Failure> {
        let key = PhoneNumberId::new(id("phone_number_id", request.phone_number_id)?);
        let reply = self.read(call, request.min_position, Asked::All, move |snapshots| {
            let Some(found) = joined::number(&snapshots, &key)? else {
                return Err(Failure::new(Reason::NumberNotFound, "no such number"));
            };
            let number = Some(convert::number(&key, &found));
            Ok(pb::GetNumberResponse { number, as_of: Some(snapshots.as_of()) })
        });
        self.fits(reply.await?)
    }
}

fn too_large(bytes: usize, limit: usize) -> Failure {
    let what = format!("the reply has {bytes} bytes or more, of {limit} at most");
    Failure::new(Reason::ResponseTooLarge, what).with("bytes", bytes).with("bytes_max", limit)
}

#[tonic::async_trait]
impl QueryService for Query {
    async fn get_message(
        &self,
        request: Request<pb::GetMessageRequest>,
    ) -> Result<Response<pb::GetMessageResponse>, Status> {
        self.limits.unary("GetMessage", request, |q, call| self.message(q, call)).await
    }

    async fn lookup_messages(
        &self,
        request: Request<pb::LookupMessagesRequest>,
    ) -> Result<Response<pb::LookupMessagesResponse>, Status> {
        self.limits.unary("LookupMessages", request, |q, call| self.lookup(q, call)).await
    }

    async fn list_messages(
        &self,
        request: Request<pb::ListMessagesRequest>,
    ) -> Result<Response<pb::ListMessagesResponse>, Status> {
        self.limits.unary("ListMessages", request, |q, call| self.list(q, call)).await
    }

    async fn get_conversation(
        &self,
        request: Request<pb::GetConversationRequest>,
    ) -> Result<Response<pb::GetConversationResponse>, Status> {
        self.limits.unary("GetConversation", request, |q, call| self.conversation(q, call)).await
    }

    async fn get_template(
        &self,
        request: Request<pb::GetTemplateRequest>,
    ) -> Result<Response<pb::GetTemplateResponse>, Status> {
        self.limits.unary("GetTemplate", request, |q, call| self.template(q, call)).await
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::GetAccountResponse>, Status> {
        self.limits.unary("GetAccount", request, |q, call| self.account(q, call)).await
    }

    async fn get_number(
        &self,
        request: Request<pb::GetNumberRequest>,
    ) -> Result<Response<pb::GetNumberResponse>, Status> {
        self.limits.unary("GetNumber", request, |q, call| self.number(q, call)).await
    }
}
