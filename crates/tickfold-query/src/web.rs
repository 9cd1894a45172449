//! Browsers on the listener: gRPC-web, and whose pages may speak it.
//!
//! The translation is tonic-web's, and a call goes on to the guard as any other does. A browser says with
//! each of its calls which origin's page makes it. One that is not named in the options is refused here,
//! also where it claims to be this very host: a foreign page can give its own name our address.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header,
};
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::metrics;
use crate::reasons::{Failure, Reason};

/// How long a browser keeps the answer to its question whether it may call. Longer is not believed.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// What a call of a page carries.
const REQUEST_HEADERS: [&str; 5] =
    ["authorization", "content-type", "grpc-timeout", "x-grpc-web", "x-user-agent"];

/// What a page may read of a reply.
const REPLY_HEADERS: [&str; 4] =
    ["grpc-status", "grpc-message", "grpc-status-details-bin", "tickfold-as-of-bin"];

/// Refuses what no browser would send as its origin.
pub(crate) fn check_origin(origin: &str) -> Result<(), String> {
    let uri = origin.parse::<Uri>().ok();
    let is_origin = uri.as_ref().is_some_and(|uri| {
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        // What is parsed has a path; an origin is written without one, and in lower case.
        matches!(scheme, "http" | "https")
            && origin == format!("{scheme}://{authority}").to_ascii_lowercase()
            && !authority.contains('@')
    });
    match is_origin {
        true => Ok(()),
        false => Err(format!(
            "web_origins: {origin:?} is no origin as a browser sends it: https://NAME, or with :PORT"
        )),
    }
}

/// Answers browsers that ask before they call, and lets them read the replies.
pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    let known = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(known))
        .allow_methods([Method::POST])
        .allow_headers(REQUEST_HEADERS.map(HeaderName::from_static))
        .expose_headers(REPLY_HEADERS.map(HeaderName::from_static))
        .max_age(PREFLIGHT_AGE)
}

/// Refuses calls of pages that are not named.
#[derive(Debug, Clone)]
pub(crate) struct OriginLayer(Arc<BTreeSet<String>>);

impl OriginLayer {
    pub(crate) fn new(origins: &[String]) -> Self {
        Self(Arc::new(origins.iter().cloned().collect()))
    }
}

impl<S> Layer<S> for OriginLayer {
    type Service = Named<S>;

    fn layer(&self, inner: S) -> Named<S> {
        Named { origins: Arc::clone(&self.0), inner }
    }
}

/// Services for named origins, and for whoever is no browser.
#[derive(Debug, Clone)]
pub(crate) struct Named<S> {
    origins: Arc<BTreeSet<String>>,
    inner: S,
}

impl<S> Named<S> {
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        origins.all(|origin| origin.to_str().is_ok_and(|origin| self.origins.contains(origin)))
    }
}

impl<S> Service<Request<Body>> for Named<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.lets_in(request.headers()) {
            return Either::Right(self.inner.call(request));
        }
        metrics::refused(Reason::OriginNotAllowed);
        let failure = Failure::new(Reason::OriginNotAllowed, "pages of this origin may not call");
        Either::Left(ready(Ok(Status::from(failure).into_http())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_as_a_browser_writes_them() {
        for good in ["https://crm.example", "http://localhost:5173", "http://[::1]:8080"] {
            assert_eq!(check_origin(good), Ok(()));
        }
        let bad = [
            "*",
            "null",
            "",
            "crm.example",
            "https://crm.example/",
            "https://crm.example/app",
            "https://CRM.example",
            "https://a@crm.example",
            "ftp://crm.example",
            "https://crm.example, https://b.example",
        ];
        for bad in bad {
            assert!(check_origin(bad).unwrap_err().contains("is no origin"), "{bad}");
        }
    }
}
