//! On real sockets: what only a connection can show about deadlines and answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::running::{answer, between, drip, exchange, post, start};
use super::support::{BODY, short};

#[tokio::test]
async fn several_requests_on_one_connection() {
    let running = start(short());
    let mut stream = running.connect().await;
    for _ in 0..3 {
        let answer = exchange(&mut stream, &post(BODY)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    let chunked = post(BODY).replace(
        &format!("content-length: {}\r\n\r\n{BODY}", BODY.len()),
        &format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len()),
    );
    let answer = exchange(&mut stream, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("connection: close\r\n"),
        "behind chunks no head is looked for: {answer}"
    );
    assert_eq!(running.raw_count(), 4);
    assert!(running.status.readiness().ready);
    running.stop().await;
}

#[tokio::test]
async fn headers_that_drip_are_cut_in_time() {
    let running = start(short());
    let drips = "x-slow: drip\r\n";
    let elapsed = drip(running.connect().await, &format!("GET / HTTP/1.1\r\n{drips}")).await;
    between(elapsed, 250, 1_200);

    // On a connection that has served a request before, the idle time is not the limit either.
    let mut used = running.connect().await;
    assert!(exchange(&mut used, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    let elapsed = drip(used, &format!("GET / HTTP/1.1\r\n{drips}")).await;
    between(elapsed, 250, 1_200);
    running.stop().await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_deadline_and_is_closed_at_its_own() {
    let running = start(short());
    let mut stream = running.connect().await;
    assert!(exchange(&mut stream, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    sleep(Duration::from_millis(700)).await;
    let again = exchange(&mut stream, &post(BODY)).await;
    assert!(again.starts_with("HTTP/1.1 200"), "still open after two header deadlines: {again}");
    let started = Instant::now();
    assert_eq!(answer(&mut stream).await, "");
    between(started.elapsed(), 1_300, 3_000);
    running.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let running = start(short());
    let mut stream = running.connect().await;
    let started = Instant::now();
    assert_eq!(answer(&mut stream).await, "");
    between(started.elapsed(), 250, 1_200);
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_stops_is_400_and_its_connection_closed() {
    let running = start(short());
    let mut stream = running.connect().await;
    let request = post(BODY);
    let started = Instant::now();
    let answer = exchange(&mut stream, &request[..request.len() - 5]).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    between(started.elapsed(), 350, 1_500);
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    running.stop().await;
}

#[tokio::test]
async fn oversize_is_413_before_the_body_is_sent() {
    let running = start(short());
    let mut stream = running.connect().await;
    let request = post("").replace("content-length: 0", "content-length: 4194305");
    let answer = exchange(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    running.stop().await;
}

/// A client that was not told otherwise sends its next request on the same connection.
#[tokio::test]
async fn a_refusal_before_the_body_keeps_the_connection_or_says_that_it_ends() {
    let running = start(short());
    let unsigned = |bytes: usize| post(&" ".repeat(bytes)).replace("sha256=", "sha1=");
    let closes = |answer: &str| answer.contains("connection: close\r\n");

    // More than hyper reads at once, the end of it later than the head.
    let mut stream = running.connect().await;
    for bytes in [0, 1, 60_000] {
        let request = unsigned(bytes);
        let (first, last) = request.split_at(request.len() - bytes / 2);
        stream.write_all(first.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        let refusal = exchange(&mut stream, last).await;
        assert!(refusal.starts_with("HTTP/1.1 401"), "{bytes}: {refusal}");
        assert!(!closes(&refusal), "{bytes}: {refusal}");
        let taken = exchange(&mut stream, &post(BODY)).await;
        assert!(taken.starts_with("HTTP/1.1 200"), "{bytes}: {taken}");
    }

    let (too_much, too_late, expected) = (unsigned(70_000), unsigned(2), unsigned(1));
    for (case, sent) in [
        ("more than is read for that", too_much.as_str()),
        ("a byte that does not come", &too_late[..too_late.len() - 1]),
        ("a body that waits to be asked for", &expected.replace("host: x", "expect: 100-continue")),
    ] {
        let mut stream = running.connect().await;
        let refusal = exchange(&mut stream, sent).await;
        assert!(refusal.starts_with("HTTP/1.1 401"), "{case}: {refusal}");
        assert!(closes(&refusal), "{case}: {refusal}");
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "{case}");
    }
    running.stop().await;
}

/// Many clients look for the answer only after they sent everything. If the rest of such a body
/// met a closed socket, the reset would destroy the answer.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_its_whole_body_first() {
    let running = start(short());
    let body = " ".repeat(6 * 1024 * 1024);
    let unsigned = post(&body).replace("sha256=", "sha1=");
    for (request, status) in [(post(&body), "413"), (unsigned, "401")] {
        for _ in 0..5 {
            let mut stream = running.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = answer(&mut stream).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
    }
    running.stop().await;
}

/// Until then it keeps its place, which is why there is an end to it.
#[tokio::test]
async fn after_our_end_so_much_is_still_read_and_for_so_long() {
    let running = start(short());
    let refused = post("").replace("content-length: 0", "content-length: 999999999");

    // As fast as it can. What the socket's buffers hold comes on top of the 16 MiB.
    let mut stream = running.connect().await;
    assert!(exchange(&mut stream, &refused).await.starts_with("HTTP/1.1 413"));
    let (started, piece, mut sent) = (Instant::now(), vec![b' '; 64 * 1024], 0);
    while let Ok(bytes) = stream.write(&piece).await {
        sent += bytes;
        assert!(sent < 48 << 20, "it reads on and on");
    }
    // On a machine that is slow enough, the time ends first.
    let by_bytes = started.elapsed() < Duration::from_millis(900);
    assert!(sent >= 16 << 20 || !by_bytes, "{sent} bytes in {:?}", started.elapsed());

    // A byte now and then.
    let mut stream = running.connect().await;
    assert!(exchange(&mut stream, &refused).await.starts_with("HTTP/1.1 413"));
    let started = Instant::now();
    while stream.write_u8(b' ').await.is_ok() {
        sleep(Duration::from_millis(20)).await;
        assert!(started.elapsed() < Duration::from_secs(5), "it reads on and on");
    }
    between(started.elapsed(), 700, 3_000);
    running.stop().await;
}
