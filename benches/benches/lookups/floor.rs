//! The floor: a bare tonic server that answers each call with an empty message, as a process of its own.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};

use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::query_service_server::SERVICE_NAME;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

use crate::Outcome;
use crate::cpu::{self, Cpu};

/// Set in the environment of the process that is the floor.
pub(crate) const SERVE: &str = "TICKFOLD_BENCH_FLOOR";

/// The running server; it ends with this value.
pub(crate) struct Floor {
    child: Child,
    pub(crate) grpc: String,
}

impl Floor {
    pub(crate) fn start() -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.env(SERVE, "1").stdout(Stdio::piped()).spawn()?;
        let mut grpc = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut grpc)?;
        Ok(Self { child, grpc: grpc.trim_end().to_owned() })
    }

    pub(crate) fn cpu(&self) -> Outcome<Cpu> {
        cpu::of(self.child.id())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until it is killed.
#[expect(clippy::print_stdout, reason = "tells the other process its address")]
pub(crate) fn serve() -> Outcome<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse()?)?;
        println!("{}", incoming.local_addr()?);
        let server = tonic::transport::Server::builder().add_service(Empty);
        Ok(server.serve_with_incoming(incoming.with_nodelay(Some(true))).await?)
    })
}

#[derive(Debug, Clone)]
struct Empty;

impl NamedService for Empty {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<tonic::body::Body>> for Empty {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(tonic_prost::ProstCodec::default());
            Ok(grpc.unary(Nothing, request).await)
        })
    }
}

struct Nothing;

impl UnaryService<pb::GetMessageRequest> for Nothing {
    type Response = pb::GetMessageResponse;
    type Future = Ready<Result<Response<Self::Response>, Status>>;

    fn call(&mut self, _: Request<pb::GetMessageRequest>) -> Self::Future {
        ready(Ok(Response::new(pb::GetMessageResponse::default())))
    }
}
