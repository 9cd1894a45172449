//! What comes of each way to write a request, or something like one, on the wire. Behind every
//! refused one stands a good request: it must be neither answered nor taken, or a request could be
//! smuggled past a proxy that reads the first one otherwise.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::counted::Counted;
use super::running::{Running, answer, exchange, post, start};
use super::support::{BODY, short};
use crate::head::{HEAD_BYTES_MAX, HEADERS_MAX};

/// Everything that comes until the connection ends.
async fn all(running: &Running, sent: &[u8]) -> String {
    let stream = running.connect().await;
    let (mut read, mut write) = stream.into_split();
    let mut seen = Vec::new();
    let exchange = async {
        // The other side may refuse before all is sent.
        let (_, _) = tokio::join!(write.write_all(sent), read.read_to_end(&mut seen));
    };
    timeout(Duration::from_secs(5), exchange).await.expect("the connection ends");
    String::from_utf8(seen).unwrap()
}

/// The codes of the answers in `seen`.
fn codes(seen: &str) -> Vec<&str> {
    let starts = seen.split("HTTP/1.").skip(1);
    starts.map(|answer| answer.get(2..5).unwrap_or(answer)).collect()
}

fn with_headers(headers: &str) -> String {
    post(BODY).replace("host: x\r\n", &format!("host: x\r\n{headers}"))
}

fn chunked(headers: &str, chunks: &str) -> String {
    let (head, _) =
        post(BODY).split_once("content-length").map(|(h, _)| (h.to_owned(), ())).unwrap();
    format!("{head}{headers}transfer-encoding: chunked\r\n\r\n{chunks}")
}

#[tokio::test]
async fn what_is_broken_or_can_be_read_in_two_ways_is_400_and_the_end() {
    let length = format!("content-length: {}\r\n", BODY.len());
    let chunks = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let long = |bytes: usize| "a".repeat(bytes);
    let headers = |count: usize| "a: b\r\n".repeat(count);
    let line = |line: &str| format!("{line}\r\nhost: x\r\n\r\n");
    let table: Vec<(&str, String)> = vec![
        ("length, then chunked", with_headers("transfer-encoding: chunked\r\n")),
        ("chunked, then length", chunked(&length, &chunks)),
        ("the length twice", with_headers(&length)),
        ("two lengths", with_headers("content-length: 3\r\n")),
        ("a list of lengths", post("").replace("length: 0", "length: 0, 0")),
        ("negative length", post("").replace("length: 0", "length: -1")),
        ("length with a sign", post("").replace("length: 0", "length: +0")),
        ("length in hex", post("").replace("length: 0", "length: 0x0")),
        ("length above 64 bits", post("").replace("length: 0", "length: 99999999999999999999")),
        ("the greatest length", post("").replace("length: 0", "length: 18446744073709551615")),
        ("chunked twice", chunked("transfer-encoding: chunked\r\n", &chunks)),
        ("gzip, chunked", chunked("", &chunks).replace(": chunked", ": gzip, chunked")),
        ("identity", chunked("", &chunks).replace(": chunked", ": identity")),
        ("chunked in HTTP/1.0", chunked("", &chunks).replace("HTTP/1.1", "HTTP/1.0")),
        ("space before the colon", post(BODY).replace("content-length:", "content-length :")),
        ("folded header", with_headers("a: b\r\n transfer-encoding: chunked\r\n")),
        ("bare LF within", with_headers("a: b\nc: d\r\n")),
        ("bare LF throughout", post(BODY).replace("\r\n", "\n")),
        ("bare CR within", with_headers("a: b\rc: d\r\n")),
        ("CR CR LF", with_headers("a: b\r\r\n")),
        ("NUL in a header", with_headers("a: \0\r\n")),
        ("no colon", with_headers("nonsense\r\n")),
        ("no name", with_headers(": b\r\n")),
        ("non-ASCII name", with_headers("\u{e9}: b\r\n")),
        ("nonsense", "nonsense\r\n\r\n".to_owned()),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}".to_owned()),
        ("HTTP/0.9", "GET /webhook/main\r\n\r\n".to_owned()),
        ("HTTP/1.2", line("GET / HTTP/1.2")),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("lower-case version", line("GET / http/1.1")),
        ("two spaces", line("GET  / HTTP/1.1")),
        ("method with a slash", line("G/T / HTTP/1.1")),
        ("URI above all limits", line(&format!("GET /{} HTTP/1.1", long(70_000)))),
        ("URI at the limit of the head", line(&format!("GET /{} HTTP/1.1", long(HEAD_BYTES_MAX)))),
        ("one header too large", with_headers(&format!("a: {}\r\n", long(HEAD_BYTES_MAX)))),
        ("a head without end", format!("GET / HTTP/1.1\r\na: {}", long(1_000_000))),
        ("too many headers", with_headers(&headers(HEADERS_MAX))),
        ("headers without end", format!("GET / HTTP/1.1\r\n{}", headers(100_000))),
    ];
    let counted = Counted::start();
    let running = start(short());
    for (count, (case, request)) in (1..).zip(table) {
        let seen = all(&running, format!("{request}{}", post(BODY)).as_bytes()).await;
        println!("400 {case}");
        assert_eq!(codes(&seen), ["400"], "{case}: {seen}");
        counted.reaches("tickfold_ingress_requests_total broken_http", count).await;
        assert_eq!(running.raw_count(), 0, "{case}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_body_whose_framing_breaks_is_400_and_the_end() {
    let whole = format!("{:x}\r\n{BODY}\r\n", BODY.len());
    let running = start(short());
    for (case, chunks) in [
        ("no size", "\r\n".to_owned()),
        ("size is no number", "zz\r\n".to_owned()),
        ("negative size", "-1\r\n".to_owned()),
        ("size above 64 bits", "10000000000000000\r\n".to_owned()),
        ("bare LF behind a size", format!("{:x}\n{BODY}\r\n0\r\n\r\n", BODY.len())),
        ("chunk longer than its size", format!("1\r\n{BODY}\r\n0\r\n\r\n")),
        ("bare LF in an extension", format!("{:x};a\nb\r\n{BODY}\r\n0\r\n\r\n", BODY.len())),
        ("extensions without end", format!("1;{}\r\n", "a".repeat(100_000))),
        ("trailers without end", format!("{whole}0\r\n{}", "a: b\r\n".repeat(10_000))),
    ] {
        let seen =
            all(&running, format!("{}{}", chunked("", &chunks), post(BODY)).as_bytes()).await;
        println!("400 {case}");
        assert_eq!(codes(&seen), ["400"], "{case}: {seen}");
        assert!(seen.contains("connection: close\r\n"), "{case}: {seen}");
        assert_eq!(running.raw_count(), 0, "{case}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_is_unusual_but_plain_is_answered() {
    let target = |target: &str| post(BODY).replace("/webhook/main", target);
    let method = |line: &str| post("").replace("POST /webhook/main HTTP/1.1", line);
    let at_limit = {
        let rest = with_headers("a: \r\n").len() - BODY.len();
        with_headers(&format!("a: {}\r\n", "x".repeat(HEAD_BYTES_MAX - rest)))
    };
    let present = post(BODY).split("\r\n\r\n").next().unwrap().lines().count() - 1;
    let table: Vec<(&str, u16, String)> = vec![
        ("absolute form", 200, target("http://example.com/webhook/main")),
        ("no host", 200, post(BODY).replace("host: x\r\n", "")),
        ("empty lines first", 200, format!("\r\n\r\n{}", post(BODY))),
        ("tab before a value", 200, post(BODY).replace("length: ", "length:\t")),
        ("upper-case header", 200, post(BODY).replace("content-length", "CONTENT-LENGTH")),
        ("websocket upgrade", 200, with_headers("connection: upgrade\r\nupgrade: websocket\r\n")),
        ("HTTP/2 upgrade", 200, with_headers("connection: upgrade\r\nupgrade: h2c\r\n")),
        ("unknown expectation", 200, with_headers("expect: miracles\r\n")),
        ("HTTP/1.0 with keep-alive", 200, {
            with_headers("connection: keep-alive\r\n").replace("HTTP/1.1", "HTTP/1.0")
        }),
        ("a head of exactly 16 KiB", 200, at_limit),
        ("exactly 100 headers", 200, with_headers(&"a: b\r\n".repeat(HEADERS_MAX - present))),
        ("asterisk form", 404, method("OPTIONS * HTTP/1.1")),
        ("CONNECT", 404, method("CONNECT example.com:443 HTTP/1.1")),
        ("no path", 404, method("POST http://example.com HTTP/1.1")),
        ("path with dots", 404, target("/webhook/../webhook/main")),
        ("fragment", 200, target("/webhook/main#x")),
        ("unknown method", 405, method("PURGE /webhook/main HTTP/1.1")),
        ("HEAD", 405, method("HEAD /webhook/main HTTP/1.1")),
    ];
    let running = start(short());
    let mut taken = 0;
    for (case, code, request) in table {
        let mut stream = running.connect().await;
        let seen = exchange(&mut stream, &request).await;
        println!("{code} {case}");
        assert_eq!(codes(&seen), [code.to_string()], "{case}: {seen}");
        // The connection is where it should be: behind that request and nowhere else.
        let seen = exchange(&mut stream, &post(BODY)).await;
        assert_eq!(codes(&seen), ["200"], "{case}: {seen}");
        taken += if code == 200 { 2 } else { 1 };
        assert_eq!(running.raw_count(), taken, "{case}");
    }
    running.stop().await;
}

#[tokio::test]
async fn http_1_0_and_connection_close_end_after_their_answer() {
    let running = start(short());
    for (case, request) in [
        ("HTTP/1.0", post(BODY).replace("HTTP/1.1", "HTTP/1.0")),
        ("connection: close", with_headers("connection: close\r\n")),
        ("chunked", chunked("", &format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len()))),
    ] {
        let seen = all(&running, format!("{request}{}", post(BODY)).as_bytes()).await;
        assert_eq!(codes(&seen), ["200"], "{case}: {seen}");
    }
    assert_eq!(running.raw_count(), 3);
    running.stop().await;
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    let running = start(short());
    let unsigned = post(BODY).replace("sha256", "sha1");
    let seen = all(&running, format!("{0}{unsigned}{0}\r\n\0", post(BODY)).as_bytes()).await;
    assert_eq!(codes(&seen), ["200", "401", "200", "400"], "{seen}");
    assert_eq!(running.raw_count(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_length_below_the_body_leaves_nothing_but_a_refusal() {
    let running = start(short());
    let length = format!("content-length: {}", BODY.len());
    let request = post(BODY).replace(&length, "content-length: 5");
    let seen = all(&running, format!("{request}{}", post(BODY)).as_bytes()).await;
    // The signature is not over those 5 bytes, and what is behind them begins no request.
    assert_eq!(codes(&seen), ["401", "400"], "{seen}");
    assert_eq!(running.raw_count(), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_waits_for_it_is_asked_for() {
    let running = start(short());
    let request = with_headers("expect: 100-continue\r\n");
    let (head, body) = request.split_at(request.len() - BODY.len());
    let mut stream = running.connect().await;
    assert_eq!(exchange(&mut stream, head).await, "HTTP/1.1 100 Continue\r\n\r\n");
    let seen = exchange(&mut stream, body).await;
    assert_eq!(codes(&seen), ["200"], "{seen}");
    // What its headers already decide is answered without asking.
    let refused = head.replace("sha256", "sha1");
    stream.write_all(refused.as_bytes()).await.unwrap();
    let seen = answer(&mut stream).await;
    assert_eq!(codes(&seen), ["401"], "{seen}");
    running.stop().await;
}
