//! gRPC-web as browsers speak it: over HTTP/1.1, asked first, from pages that may and pages that may not.

use std::sync::Arc;

use prost::Message as _;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tickfold_proto::query::v1 as pb;
use tickfold_query::{Accounts, Auth, QueryOptions, QueryState, Scope, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{Code, Status};

use crate::callers::{Ca, auth, entry};
use crate::mirror::{Answer, http};
use crate::world::{World, Writers, reason, status, waba};

const GET: &str = "/tickfold.query.v1.QueryService/GetMessage";
const OURS: &str = "https://crm.example";

/// The body of a call for a message.
fn body_of(wamid: &str) -> Vec<u8> {
    let request = pb::GetMessageRequest { wamid: wamid.to_owned(), ..Default::default() };
    let message = request.encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    body
}

/// A call as a page makes it, and what comes back: replies, then the status.
async fn call(
    world: &World,
    headers: &[(&str, &str)],
    wamid: &str,
) -> (Answer, Vec<pb::GetMessageResponse>, Option<Status>) {
    let body = body_of(wamid);
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
async fn over_tls_a_page_may_call_by_either_version_of_http() {
    let ca = Ca::new();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let connect = async |world: &World, versions: &[&str]| {
        let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = versions.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(world.address).await.unwrap();
        let name = "node.internal".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    for web_origins in [vec![OURS.to_owned()], Vec::new()] {
        let is_web = !web_origins.is_empty();
        let (auth, _) = auth(vec![entry("crm", &[Scope::Query], Accounts::All)]);
        let auth = Auth { tls: Some(ServerTls::new(&ca.node()).unwrap()), ..auth };
        let options = QueryOptions { web_origins, ..QueryOptions::default() };
        let world = World::guarded(auth, options).await;
        let mut writers = Writers::open(&world.stores);
        world.state(&QueryState::Serving).await;
        writers.post(&status(&waba(0), "wamid.A", "sent", 1, ""));

        // Whoever has both speaks HTTP/2, with or without pages.
        let both = connect(&world, &["http/1.1", "h2"]).await.unwrap();
        assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let old = connect(&world, &["http/1.1"]).await;
        if !is_web {
            assert!(old.is_err(), "gRPC needs HTTP/2");
            continue;
        }
        let mut old = old.unwrap();
        assert_eq!(old.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let body = body_of("wamid.A");
        let head = format!(
            "POST {GET} HTTP/1.0\r\nhost: node.internal\r\norigin: {OURS}\r\n\
             authorization: Bearer crm\r\ncontent-type: application/grpc-web+proto\r\n\
             x-grpc-web: 1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        old.write_all(head.as_bytes()).await.unwrap();
        old.write_all(&body).await.unwrap();
        let mut answer = Vec::new();
        old.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.0 200 OK"), "{text}");
        assert!(text.contains("wamid.A") && text.contains("grpc-status:0"), "{text}");
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
