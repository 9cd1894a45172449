//! The admin service: reads of the log itself. The embedded log is locked by the running process,
//! so the command line comes through here.

mod tail;
mod topics;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tickfold_log::{Log, RECORD_BYTES_MAX};
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use crate::call::{Limits, within};
use crate::metrics;
use crate::reasons::Failure;
use tail::Tail;

/// The largest message of a Tail stream, in bytes: a record of the log and its framing. Clients
/// accept 4 MiB by default; those that tail the raw topic raise their limit to this.
pub const TAIL_MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + 64 * 1024;

/// The service.
#[derive(Debug)]
pub(crate) struct Admin {
    log: Arc<dyn Log>,
    topic_prefix: String,
    limits: Limits,
    tails: Limits,
}

impl Admin {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        topic_prefix: String,
        limits: Limits,
        tails: Limits,
    ) -> Self {
        Self { log, topic_prefix, limits, tails }
    }

    async fn open_tail(&self, request: Request<pb::TailRequest>) -> Result<Tail, Failure> {
        let call = self.tails.enter(&request)?;
        let deadline = call.deadline;
        let opened = Tail::open(Arc::clone(&self.log), request.into_inner(), call);
        within(deadline, opened).await
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    type TailStream = Pin<Box<dyn Stream<Item = Result<pb::TailResponse, Status>> + Send>>;

    async fn tail(
        &self,
        request: Request<pb::TailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        let opened = self.open_tail(request).await.map_err(Status::from);
        // Counted when it opens: a stream that is followed has no end to wait for.
        let code = opened.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok);
        metrics::request("Tail", code, None);
        Ok(Response::new(Box::pin(opened?.stream())))
    }

    async fn list_topics(
        &self,
        request: Request<pb::ListTopicsRequest>,
    ) -> Result<Response<pb::ListTopicsResponse>, Status> {
        let list = self.limits.unary("ListTopics", request, |_, _call| async {
            Ok(topics::list(self.log.topics().await?, &self.topic_prefix))
        });
        list.await
    }
}
