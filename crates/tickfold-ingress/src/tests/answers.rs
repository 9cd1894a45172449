//! The table of answers, printed and asserted, at the router.

use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use bytes::Bytes;
use futures_util::stream;

use super::support::{BODY, KEY, OLD_KEY, OTHER_KEY, request, rig, signed};
use crate::IngressOptions;
use tickfold_core::signature::sign;

const MAIN: &str = "/webhook/main";
const LIMIT: usize = 4 * 1024 * 1024;

fn post(headers: &[(&str, &str)]) -> Request {
    request(Method::POST, MAIN, headers, BODY)
}

fn post_signature(signature: &str) -> Request {
    post(&[("x-hub-signature-256", signature)])
}

/// A body that comes in pieces and promises no length.
fn chunked(body: Vec<u8>) -> Request {
    let signature = sign(KEY, &body);
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        body.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let body = Body::from_stream(stream::iter(pieces));
    request(Method::POST, MAIN, &[("x-hub-signature-256", &signature)], body)
}

fn get(path_and_query: &str) -> Request {
    request(Method::GET, path_and_query, &[], Body::empty())
}

#[tokio::test]
async fn the_table_of_answers() {
    let good = sign(KEY, BODY.as_bytes());
    let good = good.as_str();
    let old = sign(OLD_KEY, BODY.as_bytes());
    let other = sign(OTHER_KEY, BODY.as_bytes());
    let upper = format!("sha256={}", good.strip_prefix("sha256=").unwrap().to_uppercase());
    let signature = "x-hub-signature-256";
    let handshake = "/webhook/main?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token";
    let truncated = &BODY[..BODY.len() - 9];
    let to = |path: &str| request(Method::POST, path, &[(signature, good)], BODY);
    let cut: Vec<Result<Bytes, std::io::Error>> =
        vec![Ok(Bytes::from_static(b"{")), Err(std::io::ErrorKind::UnexpectedEof.into())];
    let cut = Body::from_stream(stream::iter(cut));

    let table: Vec<(&str, u16, Request)> = vec![
        ("signature right", 200, post_signature(good)),
        ("signature by the older secret", 200, post_signature(&old)),
        ("SHA-1 rides along", 200, post(&[(signature, good), ("x-hub-signature", "sha1=00")])),
        ("identity encoding", 200, post(&[(signature, good), ("content-encoding", "Identity")])),
        ("app name percent-encoded", 200, to("/webhook/%6dain")),
        ("truncated JSON", 200, signed(truncated)),
        ("no JSON", 200, signed(vec![0xff, 0x00, 0xfe])),
        ("empty body", 200, signed("")),
        ("4 MiB", 200, signed(vec![b' '; LIMIT])),
        ("4 MiB chunked", 200, chunked(vec![b' '; LIMIT])),
        ("signature missing", 401, post(&[])),
        ("SHA-1 only", 401, post(&[("x-hub-signature", "sha1=00")])),
        ("signature empty", 401, post_signature("")),
        ("signature without prefix", 401, post_signature(good.strip_prefix("sha256=").unwrap())),
        ("signature too short", 401, post_signature(&good[..70])),
        ("signature too long", 401, post_signature(&format!("{good}0"))),
        ("signature in upper case", 401, post_signature(&upper)),
        ("signature wrong", 401, post_signature(&sign(b"guess", BODY.as_bytes()))),
        ("signature of another body", 401, post_signature(&sign(KEY, b"{}"))),
        ("signature of the other app", 401, post_signature(&other)),
        ("signature twice", 401, post(&[(signature, good), (signature, good)])),
        ("right and wrong signature", 401, post(&[(signature, good), (signature, &other)])),
        ("4 MiB and a byte", 413, signed(vec![b' '; LIMIT + 1])),
        ("4 MiB and a byte, chunked", 413, chunked(vec![b' '; LIMIT + 1])),
        ("body cut", 400, request(Method::POST, MAIN, &[(signature, good)], cut)),
        ("gzip", 415, post(&[(signature, good), ("content-encoding", "gzip")])),
        (
            "identity and gzip",
            415,
            post(&[(signature, good), ("content-encoding", "identity, gzip")]),
        ),
        ("unknown app", 404, to("/webhook/nobody")),
        ("app in upper case", 404, to("/webhook/Main")),
        ("no app", 404, to("/webhook/")),
        ("slash at the end", 404, to("/webhook/main/")),
        ("path below", 404, to("/webhook/main/x")),
        ("app is not UTF-8", 404, to("/webhook/%ff")),
        ("root", 404, get("/")),
        ("metrics", 404, get("/metrics")),
        ("PUT", 405, request(Method::PUT, MAIN, &[(signature, good)], BODY)),
        ("HEAD", 405, request(Method::HEAD, MAIN, &[], Body::empty())),
        ("OPTIONS", 405, request(Method::OPTIONS, MAIN, &[], Body::empty())),
        ("PUT to an unknown app", 404, request(Method::PUT, "/webhook/x", &[], BODY)),
        ("handshake right", 200, get(&format!("{handshake}=main-token"))),
        ("handshake: wrong token", 403, get(&format!("{handshake}=main-tokem"))),
        ("handshake: prefix of the token", 403, get(&format!("{handshake}=main"))),
        ("handshake: the other app's token", 403, get(&format!("{handshake}=other-token"))),
        ("handshake: token empty", 403, get(&format!("{handshake}="))),
        ("handshake: nothing", 403, get(MAIN)),
        (
            "handshake: no challenge",
            403,
            get("/webhook/main?hub.mode=subscribe&hub.verify_token=main-token"),
        ),
        (
            "handshake: other mode",
            403,
            get("/webhook/main?hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=main-token"),
        ),
        ("handshake: token twice", 403, get(&format!("{handshake}=main-token&hub.verify_token=x"))),
        (
            "handshake: unknown app",
            404,
            get("/webhook/x?hub.mode=subscribe&hub.challenge=1&hub.verify_token=main-token"),
        ),
    ];

    let rig = rig(IngressOptions::default());
    let mut accepted = 0;
    for (case, expected, request) in table {
        let is_post = request.method() == Method::POST;
        let answer = rig.send(request).await;
        println!("{expected} {case}");
        assert_eq!(answer.status.as_u16(), expected, "{case}");
        if answer.status == 200 && is_post {
            accepted += 1;
        }
        let challenge: &[u8] = if case == "handshake right" { b"1158201444" } else { b"" };
        assert_eq!(answer.body, challenge, "{case}");
        let allow = (expected == 405).then_some("GET, POST");
        assert_eq!(answer.header("allow"), allow, "{case}");
        let close = matches!(expected, 400 | 413).then_some("close");
        assert_eq!(answer.header("connection"), close, "{case}");
        assert_eq!(rig.raw().len(), accepted, "{case}: appended only with 200");
    }
    assert_eq!(rig.ingress.budget.used(), 0, "every request gave its bytes back");
}

#[tokio::test]
async fn the_challenge_is_plain_text_and_decoded() {
    let rig = rig(IngressOptions::default());
    let query = "hub.mode=subscribe&hub.challenge=%3Cb%3E+1&hub.verify_token=main-token";
    let answer = rig.send(get(&format!("/webhook/main?{query}"))).await;
    assert_eq!(answer.body, b"<b> 1");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn matches_and_failures_are_counted_by_app_and_secret() {
    let rig = rig(IngressOptions::default());
    let apps = &rig.ingress.apps;
    assert!(apps.no_signature_matched().is_empty());
    rig.send(post(&[])).await;
    assert_eq!(apps.no_signature_matched(), ["main"]);
    rig.send(post_signature(&sign(OLD_KEY, BODY.as_bytes()))).await;
    assert!(apps.no_signature_matched().is_empty());
    rig.post(BODY).await;
    rig.post(BODY).await;
    let shown = apps.snapshot(super::support::NOW);
    let main = &shown[0];
    assert_eq!((main.name.as_str(), main.signature_failures), ("main", 1));
    let secrets: Vec<_> = main.secrets.iter().map(|s| (s.id.as_str(), s.matches)).collect();
    assert_eq!(secrets, [("new", 2), ("old", 1)]);
    assert_eq!(main.secrets[0].last_match_time, Some(super::support::NOW));
    assert_eq!(shown[1].secrets[0].last_match_time, None);
}
