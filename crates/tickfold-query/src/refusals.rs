//! Reasons for what no handler sees: a request that is too large or cannot be read, one that does not come
//! to its end, a method that there is not.
//!
//! tonic refuses these with a bare status. Here, next to the services, it gets a reason like any other, so
//! that a client has one way to read failures. What fails before it is a request (headers above their bytes,
//! more calls than a connection may have) is refused by HTTP itself.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::reasons::{Failure, Reason};

/// Of a status: its details. Of one for an encoding that is not known: those that are.
const DETAILS: &str = "grpc-status-details-bin";
const ACCEPTED: &str = "grpc-accept-encoding";

/// Puts a reason on each status that has none.
#[derive(Debug, Clone)]
pub(crate) struct RefusalLayer {
    /// Longest time until the first byte of a response. Our own deadlines begin once the request is read;
    /// this one covers a body that never comes. Streams are not cut by it.
    pub(crate) limit: Duration,
}

impl<S> Layer<S> for RefusalLayer {
    type Service = Refusing<S>;

    fn layer(&self, inner: S) -> Refusing<S> {
        Refusing { limit: self.limit, inner }
    }
}

/// Services whose failures all have reasons.
#[derive(Debug, Clone)]
pub(crate) struct Refusing<S> {
    limit: Duration,
    inner: S,
}

impl<S> Service<Request<Body>> for Refusing<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = tokio::time::timeout(self.limit, self.inner.call(request));
        Box::pin(async move {
            let Ok(answered) = answer.await else {
                let what = "the request did not come to its end in time";
                return Ok(Status::from(Failure::new(Reason::DeadlineExceeded, what)).into_http());
            };
            let response = answered?;
            let Some(failure) = refusal(response.headers()) else { return Ok(response) };
            let mut refused = Status::from(failure).into_http();
            if let Some(accepted) = response.headers().get(ACCEPTED) {
                refused.headers_mut().insert(ACCEPTED, accepted.clone());
            }
            Ok(refused)
        })
    }
}

/// The failure that a bare status stands for. A handler gives its own a reason, so what has none is tonic's.
fn refusal(headers: &HeaderMap) -> Option<Failure> {
    let status = Status::from_header_map(headers).filter(|_| !headers.contains_key(DETAILS))?;
    let reason = match status.code() {
        Code::Ok => return None,
        // Of the message as it came, and of what it was before it was compressed.
        Code::OutOfRange | Code::ResourceExhausted => Reason::RequestTooLarge,
        Code::Unimplemented if headers.contains_key(ACCEPTED) => Reason::EncodingUnsupported,
        Code::Unimplemented => {
            return Some(Failure::new(Reason::MethodUnknown, "there is no such method"));
        }
        Code::Internal | Code::InvalidArgument => Reason::RequestUnreadable,
        // Of health: a service that it does not know. It says so by itself.
        _ => return None,
    };
    Some(Failure::new(reason, status.message()))
}
