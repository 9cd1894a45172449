//! gRPC-web as browsers speak it: over HTTP/1.1, asked first, from pages that may and pages that may not.

use prost::Message as _;
use tickfold_proto::query::v1 as pb;
use tickfold_query::{Accounts, QueryOptions, QueryState, Scope};
use tonic::{Code, Status};

use crate::callers::{auth, entry};
use crate::mirror::{Answer, http};
use crate::world::{World, Writers, reason, status, waba};

const GET: &str = "/tickfold.query.v1.QueryService/GetMessage";
const OURS: &str = "https://crm.example";

/// A call as a page makes it, and what comes back: replies, then the status.
async fn call(
    world: &World,
    headers: &[(&str, &str)],
    wamid: &str,
) -> (Answer, Vec<pb::GetMessageResponse>, Option<Status>) {
    let request = pb::GetMessageRequest { wamid: wamid.to_owned(), ..Default::default() };
    let message = request.encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    let mut all = vec![("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    all.extend(headers);
    let answer = http(world.address, "POST", GET, &all, &body).await;
    let (mut replies, mut trailers) = (Vec::new(), answer.headers.clone());
    let mut rest = answer.body.as_slice();
    while let [kind, a, b, c, d, more @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, after) = more.split_at(length);
        rest = after;
        match kind {
            0 => replies.push(pb::GetMessageResponse::decode(frame).unwrap()),
            0x80 => {
                let text = std::str::from_utf8(frame).unwrap();
                let lines = text.lines().filter_map(|line| line.split_once(':'));
                trailers
                    .extend(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())));
            }
            kind => panic!("a frame of kind {kind}"),
        }
    }
    let mut map = tonic::codegen::http::HeaderMap::new();
    for (name, value) in trailers {
        let name: tonic::codegen::http::HeaderName = name.parse().unwrap();
        map.insert(name, value.parse().unwrap());
    }
    let status = Status::from_header_map(&map);
    (answer, replies, status)
}

#[tokio::test]
async fn a_page_may_call_if_its_origin_is_named() {
    let (auth, _) = auth(vec![
        entry("crm", &[Scope::Query], Accounts::All),
        entry("admin", &[Scope::Admin], Accounts::All),
    ]);
    let options = QueryOptions { web_origins: vec![OURS.to_owned()], ..QueryOptions::default() };
    let world = World::guarded(auth, options).await;
    let mut writers = Writers::open(&world.stores);
    world.state(&QueryState::Serving).await;
    writers.post(&status(&waba(0), "wamid.A", "sent", 1, ""));

    let crm = ("authorization", "Bearer crm");
    let (answer, replies, status) = call(&world, &[crm, ("origin", OURS)], "wamid.A").await;
    assert_eq!((answer.code, replies.len()), (200, 1), "{answer:?}");
    assert_eq!(replies[0].message.as_ref().unwrap().wamid, "wamid.A");
    assert_eq!(status.unwrap().code(), Code::Ok);
    assert_eq!(answer.header("access-control-allow-origin"), Some(OURS));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("grpc-status"));
    assert_eq!(answer.header("content-type"), Some("application/grpc-web+proto"));

    // As for any caller: a reason, a token, a scope.
    for (headers, wamid, told) in [
        (&[crm, ("origin", OURS)][..], "wamid.B", "MESSAGE_NOT_FOUND"),
        (&[crm, ("origin", OURS)], "", "INVALID_ARGUMENT"),
        (&[("origin", OURS)], "wamid.A", "UNAUTHENTICATED"),
        (&[("origin", OURS), ("authorization", "Bearer admin")], "wamid.A", "SCOPE_MISSING"),
        (&[crm, ("origin", "https://evil.example")], "wamid.A", "ORIGIN_NOT_ALLOWED"),
        (&[crm, ("origin", "null")], "wamid.A", "ORIGIN_NOT_ALLOWED"),
        // A page that gave its own name our address.
        (
            &[crm, ("host", "evil.example"), ("origin", "http://evil.example")],
            "wamid.A",
            "ORIGIN_NOT_ALLOWED",
        ),
    ] {
        let (answer, replies, status) = call(&world, headers, wamid).await;
        assert!(replies.is_empty());
        assert_eq!(reason(&status.unwrap()).0, told, "{headers:?}");
        let may_read = answer.header("access-control-allow-origin").is_some();
        assert_eq!(may_read, told != "ORIGIN_NOT_ALLOWED", "{headers:?}");
    }
    // Whoever is no browser names no origin.
    let (_, replies, _) = call(&world, &[crm], "wamid.A").await;
    assert_eq!(replies.len(), 1);

    // A browser asks before it calls.
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,x-grpc-web"),
        ];
        http(world.address, "OPTIONS", GET, &headers, b"").await
    };
    let ours = preflight(OURS).await;
    assert_eq!((ours.code, ours.header("access-control-allow-origin")), (200, Some(OURS)));
    assert!(ours.header("access-control-allow-headers").unwrap().contains("authorization"));
    assert_eq!(preflight("https://evil.example").await.header("access-control-allow-origin"), None);

    // Nothing else is served over HTTP/1.1.
    for (method, content) in [("GET", "text/plain"), ("POST", "application/grpc")] {
        let answer = http(world.address, method, GET, &[("content-type", content), crm], b"").await;
        assert_eq!(answer.code, 400, "{method}");
    }
}

#[tokio::test]
async fn without_origins_no_page_may_call() {
    let (world, mut writers) = World::open().await;
    writers.post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    let own = format!("http://{}", world.address);
    for origin in [OURS, own.as_str(), "http://localhost:3000"] {
        let (_, replies, status) = call(&world, &[("origin", origin)], "wamid.A").await;
        assert!(replies.is_empty());
        assert_eq!(reason(&status.unwrap()).0, "ORIGIN_NOT_ALLOWED", "{origin}");
    }
    let (_, replies, _) = call(&world, &[], "wamid.A").await;
    assert_eq!(replies.len(), 1);
}
