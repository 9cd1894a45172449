//! The one way in: every request of the listener, of whatever service, passes here before any handler
//! sees it, and every response on its way out.
//!
//! In: the caller is found by its token or its client certificate, and what the method needs is
//! compared with what the caller may; then the [`Access`] goes on with the request. Out: a response,
//! streams among them, ends with UNAUTHENTICATED the moment its caller's token is taken back, and each
//! admin call leaves a line in the log.
//!
//! A handler that forgets about callers still has one who was let in; a service that is added is
//! closed to all but admins until `methods` says otherwise.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, header};
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::methods::{Need, is_audited, is_forwarded, need};
use super::tokens::Known;
use super::{Access, Scope, Tokens, behalf};
use crate::reasons::{Failure, Reason};
use crate::{Clock, metrics};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) local_address: Option<SocketAddr>,
    /// DNS names of its certificate, which a client CA signed.
    pub(crate) names: Arc<[String]>,
}

/// Decides who is let in.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// `None`: nobody is authenticated, as only this machine reaches the listener.
    tokens: Option<Tokens>,
    clock: Clock,
    /// Of everybody, where nobody is authenticated.
    unchecked: Access,
}

/// A call that was let in.
struct Admitted {
    access: Access,
    /// How long the caller's token still lasts.
    left: Option<Duration>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Guard {
    pub(crate) fn new(tokens: Option<Tokens>, clock: Clock) -> Self {
        Self { tokens, clock, unchecked: Access::unchecked() }
    }

    /// Lets a call in; `caller` is told who it is as soon as that is known.
    fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        peer: &Peer,
        caller: &mut String,
    ) -> Result<Admitted, Failure> {
        let needed = need(path);
        let Some(tokens) = &self.tokens else {
            return Ok(Admitted { access: self.unchecked.clone(), left: None, slot: None });
        };
        if needed == Need::Nothing {
            let nobody =
                Access::new(String::new(), [].into(), super::Accounts::All, <_>::default());
            return Ok(Admitted { access: nobody, left: None, slot: None });
        }
        let known = known(tokens, headers, peer)?;
        let Some((access, left)) = known.access(&self.clock) else {
            return Err(unauthenticated("the token is over"));
        };
        access.name().clone_into(caller);
        let access = match behalf::read(headers)? {
            Some(told) if access.has(Scope::Node) && is_forwarded(path) => told.by(&access),
            Some(_) => {
                access.check(Scope::Node)?;
                let what = "a node does not ask this on behalf of others";
                return Err(Failure::new(Reason::ScopeMissing, what));
            }
            None => access,
        };
        if access.name() != caller.as_str() {
            *caller = format!("{caller} for {}", access.name());
        }
        if let Need::Scopes(scopes) = needed {
            scopes.iter().try_for_each(|scope| access.check(*scope))?;
        }
        let too_many = |()| {
            let what = format!("{} has as many calls open as it may", access.name());
            Failure::new(Reason::Overloaded, what)
        };
        let slot = known.slot().map_err(too_many)?;
        Ok(Admitted { access, left, slot })
    }
}

impl Guard {
    /// Whether a request that is no call of ours may do something. Like an admin call it leaves a line in the log, by
    /// the name of what was asked for.
    pub(crate) fn permit(
        &self,
        headers: &HeaderMap,
        scope: Scope,
        name: &str,
        address: Option<SocketAddr>,
    ) -> Result<(), Status> {
        let mut audit = Audit::begin(name, address);
        let permitted = self.permitted(headers, scope, &mut audit.caller).map_err(|failure| {
            metrics::refused(failure.reason());
            Status::from(failure)
        });
        audit.code = Some(permitted.as_ref().map_or_else(Status::code, |()| Code::Ok));
        permitted
    }

    fn permitted(
        &self,
        headers: &HeaderMap,
        scope: Scope,
        caller: &mut String,
    ) -> Result<(), Failure> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let known = known(tokens, headers, &Peer::default())?;
        let over = || unauthenticated("the token is over");
        let (access, _) = known.access(&self.clock).ok_or_else(over)?;
        access.name().clone_into(caller);
        access.check(scope)
    }
}

/// The entry that the caller is known by. A token counts before a certificate: whoever sends one wants
/// to be known by it.
fn known(tokens: &Tokens, headers: &HeaderMap, peer: &Peer) -> Result<Arc<Known>, Failure> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else {
        let named = tokens.of_certificate(&peer.names);
        return named.ok_or_else(|| {
            unauthenticated(match peer.names.is_empty() {
                true => "a token is required: authorization: Bearer TOKEN",
                false => "no entry of the tokens has a name of the client certificate",
            })
        });
    };
    if given.next().is_some() {
        return Err(unauthenticated("there is more than one authorization"));
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unzip();
    match token {
        Some(token) if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) => {
            let known = tokens.of_token(token.trim());
            known.ok_or_else(|| unauthenticated("the token is not known"))
        }
        _ => Err(unauthenticated("authorization is not of the form: Bearer TOKEN")),
    }
}

fn unauthenticated(what: &str) -> Failure {
    Failure::new(Reason::Unauthenticated, what)
}

/// Puts the guard before all services.
#[derive(Debug, Clone)]
pub(crate) struct GuardLayer(pub(crate) Guard);

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.0.clone(), inner }
    }
}

/// Services behind the guard.
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        // Where tonic's `Request::remote_addr` looks.
        let (local_addr, remote_addr) = (peer.local_address, peer.address);
        request.extensions_mut().insert(TcpConnectInfo { local_addr, remote_addr });
        let path = request.uri().path();
        let mut audit = is_audited(path).then(|| Audit::begin(path, peer.address));
        let mut caller = String::new();
        let admitted = self.guard.admit(path, request.headers(), &peer, &mut caller);
        if let Some(audit) = &mut audit {
            audit.caller = caller;
        }
        let Admitted { access, left, slot } = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => {
                metrics::refused(failure.reason());
                let status = Status::from(failure);
                if let Some(audit) = &mut audit {
                    audit.code = Some(status.code());
                }
                return Box::pin(std::future::ready(Ok(status.into_http())));
            }
        };
        request.extensions_mut().insert(access.clone());
        let mut ended: Option<BoxFuture<'static, ()>> = None;
        if self.guard.tokens.is_some() {
            ended = Some(Box::pin(over(access, left)));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = match &mut ended {
                None => answer.await?,
                Some(ended) => tokio::select! {
                    biased;
                    () = ended => {
                        let status = taken_back();
                        if let Some(audit) = &mut audit {
                            audit.code = Some(status.code());
                        }
                        return Ok(status.into_http());
                    }
                    response = answer => response?,
                },
            };
            if let Some(audit) = &mut audit {
                audit.code = code(response.headers());
            }
            if ended.is_none() && audit.is_none() {
                return Ok(response);
            }
            let watched =
                |inner| Body::new(Watched { inner, ended, audit, done: false, _slot: slot });
            Ok(response.map(watched))
        })
    }
}

/// Waits until a caller may no longer.
async fn over(access: Access, left: Option<Duration>) {
    match left {
        None => access.ended().await,
        Some(left) => {
            let _ = tokio::time::timeout(left, access.ended()).await;
        }
    }
}

fn taken_back() -> Status {
    metrics::refused(Reason::Unauthenticated);
    unauthenticated("the token was taken back, changed, or is over").into()
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The body of a response, for as long as its caller may have it.
struct Watched {
    inner: Body,
    ended: Option<BoxFuture<'static, ()>>,
    audit: Option<Audit>,
    done: bool,
    /// Of the caller's own; free once the stream is over.
    _slot: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        // Looked at first, so that nothing more goes to a caller who may no longer.
        if this.ended.as_mut().is_some_and(|ended| ended.as_mut().poll(cx).is_ready()) {
            this.done = true;
            // What the stream holds goes with it.
            this.inner = Body::empty();
            let (status, mut trailers) = (taken_back(), HeaderMap::new());
            if let Some(audit) = &mut this.audit {
                audit.code = Some(status.code());
            }
            return Poll::Ready(Some(
                status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)),
            ));
        }
        let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let (Some(trailers), Some(audit)) = (frame.trailers_ref(), &mut this.audit)
        {
            audit.code = code(trailers).or(audit.code);
        }
        this.done = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// One admin call: it becomes a line of the log when it is over. What it was about is not told, since
/// arguments may be personal data. A call of nobody that is known is only counted, or anybody could fill
/// the log.
struct Audit {
    caller: String,
    method: String,
    address: Option<SocketAddr>,
    since: Instant,
    code: Option<Code>,
}

impl Audit {
    fn begin(path: &str, address: Option<SocketAddr>) -> Self {
        // Anybody can write anything into a path; methods are short.
        let method = path.trim_start_matches('/').chars().take(128).collect();
        Self { caller: String::new(), method, address, since: Instant::now(), code: None }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // A caller who hung up has no answer.
        let code = metrics::code_word(self.code.unwrap_or(Code::Cancelled));
        let caller = if self.caller.is_empty() { "-" } else { self.caller.as_str() };
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        let elapsed_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let method = self.method.as_str();
        if self.caller.is_empty() && self.code == Some(Code::Unauthenticated) {
            tracing::debug!(target: "tickfold::audit", method, address, code, "admin call of nobody");
            return;
        }
        tracing::info!(
            target: "tickfold::audit", caller, method, address, code, elapsed_ms, "admin call"
        );
    }
}
