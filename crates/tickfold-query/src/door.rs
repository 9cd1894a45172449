//! The way in for callers inside the process, such as the mirror on the admin listener: the services of
//! the gRPC listener behind the same guard, without a socket between.
//!
//! Whoever comes by it is a caller as any other: it shows a token, is let in by scope and account, counts
//! among the calls that are limited, and leaves a line where a call over the socket does.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tower::Service;

use crate::access::Guarded;
use crate::reasons::{Failure, Reason};

/// Open while a server runs. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Door(Arc<ArcSwapOption<Behind>>);

/// What is behind it.
#[derive(Debug)]
struct Behind {
    services: Guarded<Routes>,
    /// Longest time that a call gets, by a layer that is not on this way in.
    limit: Duration,
}

impl Door {
    /// Opens it until what this returns is dropped.
    pub(crate) fn open(&self, services: Guarded<Routes>, limit: Duration) -> impl Drop + use<> {
        self.0.store(Some(Arc::new(Behind { services, limit })));
        Closing(self.clone())
    }

    /// Longest time that a call gets; none while the door is closed.
    pub(crate) fn limit(&self) -> Duration {
        self.0.load().as_ref().map(|behind| behind.limit).unwrap_or_default()
    }
}

/// Closes the door.
struct Closing(Door);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.0.store(None);
    }
}

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The services behind it always are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.0.load().as_ref() {
            Some(behind) => behind.services.clone().call(request),
            None => {
                let failure = Failure::new(Reason::ShuttingDown, "the server does not run");
                Box::pin(ready(Ok(Status::from(failure).into_http())))
            }
        }
    }
}
