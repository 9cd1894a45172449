//! JSON and server-sent events over HTTP, for scripts and browsers: the reads of the gRPC services, each by
//! a path. It asks them through the [`Door`], so callers, scopes, accounts, limits and reasons are those of
//! gRPC, and it only asks: nothing here changes anything.
//!
//! A reply is the reply of the method in protobuf's JSON, a failure its `google.rpc.Status`. A stream is told
//! as events whose ids are resume tokens, so a browser that comes again goes on where it was.

mod json;
mod openapi;
mod routes;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::extract::rejection::{QueryRejection, RawPathParamsRejection};
use axum::extract::{ConnectInfo, Query, RawPathParams};
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::stream;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::access::Peer;
use crate::reasons::{AS_OF, Failure, Reason};
use crate::{Auth, Door, Error, TAIL_MESSAGE_BYTES_MAX};
use json::ByDescriptor;
use routes::{ROUTES, Route};

pub use openapi::document as openapi;

/// What of a request's headers goes on to the service. Not what nodes tell each other.
const PASSED_ON: [&str; 2] = ["authorization", "grpc-timeout"];

/// By which field a watch goes on, and the header with which browsers say it.
const RESUME_TOKEN: &str = "resume_token";
const LAST_EVENT_ID: &str = "last-event-id";

/// What a failed stream says last. Not `error`, which browsers say themselves when a connection breaks.
const STATUS_EVENT: &str = "status";

type Reply = Response<axum::body::Body>;

/// Paths under `/v1`, and `/openapi.json` that describes them.
///
/// # Errors
/// If the descriptors of the build are broken.
pub fn router(door: &Door, auth: &Auth) -> Result<Router, Error> {
    let document = openapi()?.to_string();
    let described = move || std::future::ready(as_json(StatusCode::OK, document.clone()));
    let mut router = Router::new().route("/openapi.json", get(described));
    for route in ROUTES {
        let method = json::method(route)
            .ok_or_else(|| Error::Reflection(format!("{} is not described", route.rpc()).into()))?;
        let is_guarded = auth.tokens.is_some();
        let mirrored = Arc::new(Mirrored { door: door.clone(), is_guarded, route, method });
        let answer =
            async move |path: Result<RawPathParams, RawPathParamsRejection>,
                        query: Result<Query<Vec<(String, String)>>, QueryRejection>,
                        headers: HeaderMap,
                        peer: Option<Extension<ConnectInfo<SocketAddr>>>| {
                let asked = mirrored.asked(path, query, &headers, peer);
                match asked {
                    Ok(request) if mirrored.method.is_server_streaming() => {
                        mirrored.events(request).await
                    }
                    Ok(request) => mirrored.reply(request).await,
                    Err(failure) => failed(&failure.into()),
                }
            };
        router = router.route(route.path, get(answer).fallback(not_a_read));
    }
    Ok(router.route("/v1/{*path}", any(no_such_path)))
}

/// These two are told with the code that HTTP has for them.
async fn no_such_path() -> Reply {
    let mut reply = failed(&Reason::MethodUnknown.status("there is no such path"));
    *reply.status_mut() = StatusCode::NOT_FOUND;
    reply
}

async fn not_a_read() -> Reply {
    let mut reply = failed(&Reason::MethodUnknown.status("paths are read, with GET"));
    *reply.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
    reply
}

/// A method behind its path.
struct Mirrored {
    door: Door,
    /// Whether callers are authenticated.
    is_guarded: bool,
    route: &'static Route,
    method: MethodDescriptor,
}

impl Mirrored {
    /// The call that a request stands for.
    fn asked(
        &self,
        path: Result<RawPathParams, RawPathParamsRejection>,
        query: Result<Query<Vec<(String, String)>>, QueryRejection>,
        headers: &HeaderMap,
        peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    ) -> Result<Request<DynamicMessage>, Failure> {
        if !self.is_guarded && !names_this_machine(headers) {
            let what =
                "nobody is authenticated here, so only this machine may ask, by a name of its own";
            return Err(Failure::new(Reason::OriginNotAllowed, what));
        }
        let path = path.map_err(|error| Failure::argument("path", error.body_text()))?;
        let Query(query) = query.map_err(|error| Failure::argument("query", error.body_text()))?;
        let bound = path.iter().map(|(name, value)| (self.route.field(name), value));
        let asked = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut message = json::request(&self.method.input(), bound.chain(asked))?;
        let resumed = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        if let Some(token) = resumed.filter(|token| !token.is_empty())
            && let Some(field) = self.method.input().get_field_by_name(RESUME_TOKEN)
        {
            // A browser repeats the address that it began with, so what it has seen since counts.
            message.set_field(&field, Value::String(token.to_owned()));
        }
        let mut request = Request::new(message);
        for name in PASSED_ON {
            for value in headers.get_all(name) {
                let unreadable = || Failure::argument(name, "is no text");
                let value = value.as_bytes().try_into().map_err(|_| unreadable())?;
                request.metadata_mut().append(name, value);
            }
        }
        let address = peer.map(|Extension(ConnectInfo(address))| address);
        request.extensions_mut().insert(Peer { address, ..Peer::default() });
        Ok(request)
    }

    fn client(&self) -> (Grpc<Door>, PathAndQuery, ByDescriptor) {
        let inside = Uri::from_static("http://in-process");
        let client = Grpc::with_origin(self.door.clone(), inside)
            .max_decoding_message_size(TAIL_MESSAGE_BYTES_MAX);
        let path = PathAndQuery::try_from(self.route.rpc());
        let path = path.unwrap_or_else(|_| PathAndQuery::from_static("/"));
        (client, path, ByDescriptor(self.method.output()))
    }

    async fn reply(&self, request: Request<DynamicMessage>) -> Reply {
        let (mut client, path, codec) = self.client();
        let answered = self.in_time(client.unary(request, path, codec));
        match answered.await.map(|reply| json::of(reply.get_ref())) {
            Ok(Ok(json)) => as_json(StatusCode::OK, json),
            Ok(Err(error)) => failed(&Reason::Defect.status(error.to_string())),
            Err(status) => failed(&status),
        }
    }

    /// What the service answers within the limit, that of a stream being that it opens.
    async fn in_time<R>(
        &self,
        answer: impl Future<Output = Result<R, Status>>,
    ) -> Result<R, Status> {
        let limit = self.door.limit();
        // A closed door has no limit to keep, and refuses at once.
        match tokio::time::timeout(limit, answer).await {
            Ok(answered) => answered,
            Err(_) if limit.is_zero() => Err(closed()),
            Err(_) => Err(Reason::DeadlineExceeded.status("the deadline came first")),
        }
    }

    async fn events(&self, request: Request<DynamicMessage>) -> Reply {
        let (mut client, path, codec) = self.client();
        match self.in_time(client.server_streaming(request, path, codec)).await {
            Ok(replies) => {
                let told = told(replies.into_inner());
                let body = axum::body::Body::from_stream(told);
                with(StatusCode::OK, "text/event-stream", body)
            }
            Err(status) => failed(&status),
        }
    }
}

fn closed() -> Status {
    Reason::ShuttingDown.status("the server does not run")
}

/// The events of a stream, and its status if it fails. It is read as fast as its caller reads, no faster.
fn told(replies: Streaming<DynamicMessage>) -> impl stream::Stream<Item = Result<Bytes, Status>> {
    stream::unfold(Some(replies), |replies| async move {
        let mut replies = replies?;
        let failure = match replies.message().await {
            Ok(None) => return None,
            Ok(Some(reply)) => match event(&reply) {
                Ok(event) => return Some((Ok(event), Some(replies))),
                Err(error) => Reason::Defect.status(error.to_string()),
            },
            Err(status) => status,
        };
        let mut last = format!("event: {STATUS_EVENT}\ndata: {}\n", json::of_status(&failure));
        if let Some(pause) = pause(&failure) {
            last += &format!("retry: {}\n", pause.as_millis());
        }
        Some((Ok(Bytes::from(last + "\n")), None))
    })
}

/// An event has no line breaks inside: JSON escapes them, and a token has none.
fn event(reply: &DynamicMessage) -> Result<Bytes, serde_json::Error> {
    let token = reply.get_field_by_name(RESUME_TOKEN);
    let token = token.as_deref().and_then(Value::as_str).unwrap_or_default();
    let id = match token.is_empty() {
        true => String::new(),
        false => format!("id: {token}\n"),
    };
    Ok(Bytes::from(format!("{id}data: {}\n\n", json::of(reply)?)))
}

fn pause(status: &Status) -> Option<std::time::Duration> {
    status.get_error_details().retry_info().and_then(|info| info.retry_delay)
}

fn failed(status: &Status) -> Reply {
    let mut reply = as_json(http_code(status.code()), json::of_status(status));
    let headers = reply.headers_mut();
    if status.code() == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(pause) = pause(status) {
        // Whole seconds, and the client must not come too early.
        let seconds = pause.as_millis().div_ceil(1_000);
        headers
            .extend(HeaderValue::from_str(&seconds.to_string()).map(|s| (header::RETRY_AFTER, s)));
    }
    if let Some(as_of) = status.metadata().get_bin(AS_OF) {
        let encoded = HeaderValue::from_bytes(as_of.as_encoded_bytes());
        headers.extend(encoded.map(|value| (header::HeaderName::from_static(AS_OF), value)));
    }
    reply
}

/// The table of `google.rpc.Code`.
pub(crate) fn http_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // The caller hung up; it has no number of its own here.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn as_json(code: StatusCode, json: String) -> Reply {
    with(code, "application/json", json.into())
}

/// Personal data stays in no cache, and is read as nothing but what it says it is.
fn with(code: StatusCode, content: &'static str, body: axum::body::Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = code;
    for (name, value) in [
        (header::CONTENT_TYPE, content),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// Whether the host that was asked for can only be this machine. A foreign page can give a name of its own
/// our address, and a browser would then let it read the reply.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // Who sends none is no browser.
    let Some(host) = host else { return true };
    let Ok(authority) = host.parse::<tonic::codegen::http::uri::Authority>() else { return false };
    let name: Cow<'_, str> = authority.host().trim_matches(['[', ']']).into();
    let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_loopback || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_machine_by_its_own_names_only() {
        let is_here = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            names_this_machine(&headers)
        };
        for here in ["127.0.0.1:9464", "127.9.9.9", "localhost:9464", "LOCALHOST", "[::1]:9464"] {
            assert!(is_here(here), "{here}");
        }
        for there in ["evil.example", "localhost.evil.example:9464", "10.0.0.1", "[::2]", "a b", ""]
        {
            assert!(!is_here(there), "{there}");
        }
        assert!(names_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn each_route_is_a_method_that_only_reads() {
        for route in ROUTES {
            let method = json::method(route).unwrap_or_else(|| panic!("{route:?}"));
            let reads = ["Get", "List", "Lookup", "Find", "Explain", "Watch", "Tail"];
            assert!(reads.iter().any(|verb| route.method.starts_with(verb)), "{route:?}");
            assert!(!method.is_client_streaming());
            for (name, field) in route.bound() {
                let request = json::request(&method.input(), [(field, "1")].into_iter());
                request.unwrap_or_else(|failure| panic!("{name} of {route:?}: {failure:?}"));
            }
        }
    }

    #[test]
    fn parameters_are_fields_and_each_odd_one_is_named() {
        let of = |method: &str| {
            let route = ROUTES.iter().find(|route| route.method == method).unwrap();
            json::method(route).unwrap().input()
        };
        let asked = |method: &str, query: &[(&str, &str)]| {
            let request = json::request(&of(method), query.iter().copied());
            request.map(|request| json::of(&request).unwrap())
        };
        let good = [
            (
                "GetMessage",
                &[("wamid", "a/b=="), ("view", "MESSAGE_VIEW_FULL")][..],
                r#"{"wamid":"a/b==","view":"MESSAGE_VIEW_FULL"}"#,
            ),
            (
                "GetMessage",
                &[("minPosition", "3:1042"), ("min_position", "4:1")],
                r#"{"minPosition":[{"partition":3,"offset":"1042"},{"partition":4,"offset":"1"}]}"#,
            ),
            (
                "GetMessage",
                &[("at.time", "2026-11-20T00:00:00Z")],
                r#"{"at":{"time":"2026-11-20T00:00:00Z"}}"#,
            ),
            (
                "GetMessage",
                &[("at.position", "3:7")],
                r#"{"at":{"position":{"partition":3,"offset":"7"}}}"#,
            ),
            ("ListMessages", &[("pageSize", "-1")], r#"{"pageSize":-1}"#),
            (
                "FindMessages",
                &[("labels.campaign", "spring"), ("labels.language", "de")],
                r#"{"labels":{"language":"de","campaign":"spring"}}"#,
            ),
            (
                "Tail",
                &[("fromPositions.positions", "3:0"), ("partitions", "3"), ("untilEnd", "true")],
                r#"{"partitions":[3],"fromPositions":{"positions":[{"partition":3}]},"untilEnd":true}"#,
            ),
            ("Tail", &[("fromBeginning", "true")], r#"{"fromBeginning":{}}"#),
        ];
        for (method, query, expected) in good {
            assert_eq!(asked(method, query).unwrap(), expected, "{query:?}");
        }
        let bad = [
            ("GetMessage", &[("wamids", "a")][..], "no such parameter"),
            ("GetMessage", &[("at.at.at.at.at", "a")], "no such parameter"),
            ("GetMessage", &[("wamid.x", "a")], "no such parameter"),
            ("GetMessage", &[("wamid", "a"), ("wamid", "b")], "more than once"),
            ("GetMessage", &[("view", "FULL")], "view"),
            ("GetMessage", &[("minPosition", "3")], "PARTITION:OFFSET"),
            ("GetMessage", &[("minPosition", "3:x")], "minPosition"),
            ("GetMessage", &[("at", "a")], "name one, with a dot"),
            ("GetMessage", &[("at.time", "yesterday")], "at.time"),
            ("GetMessage", &[("at.offset", "1"), ("at.time", "2026-11-20T00:00:00Z")], "excludes"),
            ("ListMessages", &[("pageSize", "many")], "pageSize"),
            ("Tail", &[("untilEnd", "1")], "neither true nor false"),
            ("Tail", &[("fromEnd", "false")], "can only be true"),
        ];
        for (method, query, said) in bad {
            let failure = asked(method, query).unwrap_err();
            assert_eq!(failure.reason(), Reason::InvalidArgument);
            assert!(failure.message().contains(said), "{query:?}: {}", failure.message());
        }
    }
}
