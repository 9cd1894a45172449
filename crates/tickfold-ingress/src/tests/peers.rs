//! Peers on real sockets: what a refused one learns, and when it is refused.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::counted::Counted;
use super::running::{exchange, post, start};
use super::support::{BODY, short};
use crate::{Error, IngressOptions};

const REFUSED: &str = "tickfold_ingress_requests_total peer_refused";
const SIGNED: &str = "tickfold_ingress_signed_requests_refused_total peer_refused";

fn behind_proxy() -> IngressOptions {
    let allow = vec!["203.0.113.0/24".parse().unwrap()];
    IngressOptions { behind_proxy: true, allow, ..short() }
}

fn from(peer: &str) -> String {
    post(BODY).replace("host: x\r\n", &format!("host: x\r\nx-forwarded-for: {peer}\r\n"))
}

#[tokio::test]
async fn only_allowed_peers_get_through_and_others_learn_nothing() {
    let counted = Counted::start();
    let running = start(behind_proxy());
    // One connection for all of them, as a proxy has: each request is judged for itself.
    let mut proxy = running.connect().await;
    let allowed = exchange(&mut proxy, &from("192.0.2.1, 203.0.113.7")).await;
    assert!(allowed.starts_with("HTTP/1.1 200"), "{allowed}");
    let stranger = from("203.0.113.7, 192.0.2.1");
    let refused = [
        stranger.clone(),
        stranger.replace("/webhook/main", "/webhook/nobody"),
        stranger.replace("/webhook/main", "/"),
        stranger.replace("POST", "PUT"),
        stranger.replace("sha256", "sha1"),
        stranger.replace("x-forwarded-for", "x-forwarded"),
    ];
    for (count, request) in (1..).zip(refused) {
        let answer = exchange(&mut proxy, &request).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert_eq!(counted.of(REFUSED), count, "{request}");
        // A list that Meta's addresses are no longer in loses webhooks.
        assert_eq!(counted.of(SIGNED), count, "{request}");
    }
    let unsigned = stranger.replace("x-hub-signature-256", "x-signature");
    let answer = exchange(&mut proxy, &unsigned).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!((counted.of(REFUSED), counted.of(SIGNED)), (7, 6));
    assert_eq!(running.raw_count(), 1);
    let allowed = exchange(&mut proxy, &from("203.0.113.8")).await;
    assert!(allowed.starts_with("HTTP/1.1 200"), "{allowed}");
    running.stop().await;
}

#[tokio::test]
async fn a_refused_peer_is_not_asked_for_its_body() {
    let running = start(behind_proxy());
    let request = from("192.0.2.1").replace("host: x", "expect: 100-continue");
    let (head, _) = request.split_at(request.len() - BODY.len());
    let mut stream = running.connect().await;
    let answer = exchange(&mut stream, head).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn without_a_proxy_the_connection_is_the_peer() {
    let elsewhere = vec!["203.0.113.0/24".parse().unwrap()];
    let here = vec!["127.0.0.0/8".parse().unwrap()];
    for (allow, expected) in [(elsewhere, "HTTP/1.1 403"), (here, "HTTP/1.1 200")] {
        let running = start(IngressOptions { allow, ..short() });
        let mut stream = running.connect().await;
        stream.write_all(from("203.0.113.7").as_bytes()).await.unwrap();
        let mut seen = [0; 12];
        stream.read_exact(&mut seen).await.unwrap();
        assert_eq!(std::str::from_utf8(&seen), Ok(expected));
        running.stop().await;
    }
}

#[tokio::test]
async fn a_plain_listener_that_others_reach_does_not_start_without_a_proxy() {
    let (mut parts, _) = super::support::parts(short());
    parts.listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let ended = crate::run(parts, tokio_util::sync::CancellationToken::new()).await;
    assert!(matches!(ended, Err(Error::Options(_))), "{ended:?}");
}
