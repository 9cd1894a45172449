//! On real sockets: what only a connection can show. Deadlines are short, and each wait is for an
//! event (an answer, an end), never for a time.

use std::net::SocketAddr;
use std::time::Duration;

use tickfold_log::MemLog;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::support::{BODY, KEY, NOW, TOPIC, parts, short};
use crate::{Apps, Error, IngressOptions, IngressStatus, run};
use tickfold_core::signature::sign;

struct Running {
    address: SocketAddr,
    log: MemLog,
    status: IngressStatus,
    apps: Apps,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

fn start(options: IngressOptions) -> Running {
    let (parts, log) = parts(options);
    let address = parts.listener.local_addr().unwrap();
    let (status, apps) = (parts.status.clone(), parts.apps.clone());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run(parts, shutdown.clone()));
    Running { address, log, status, apps, shutdown, task }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap().unwrap();
    }
}

fn post(body: &str) -> String {
    let signature = sign(KEY, body.as_bytes());
    let length = body.len();
    format!(
        "POST /webhook/main HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {signature}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Reads one answer without a body; empty if the connection ended.
async fn answer(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let read = async {
        while !seen.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => seen.push(byte),
                Err(_) => break,
            }
        }
    };
    timeout(Duration::from_secs(5), read).await.expect("an answer or an end");
    String::from_utf8(seen).unwrap()
}

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(stream).await
}

/// Sends a byte every 20 ms until the connection ends; the time that took.
async fn drip(stream: TcpStream, bytes: &str) -> Duration {
    let started = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let send = async {
        for byte in bytes.bytes().cycle() {
            if write.write_u8(byte).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut rest = Vec::new();
    let end = read.read_to_end(&mut rest);
    let ended = async {
        tokio::select! {
            () = send => (),
            _ = end => (),
        }
    };
    timeout(Duration::from_secs(5), ended).await.expect("the connection is cut");
    started.elapsed()
}

fn between(elapsed: Duration, at_least_ms: u64, at_most_ms: u64) {
    let range = Duration::from_millis(at_least_ms)..Duration::from_millis(at_most_ms);
    assert!(range.contains(&elapsed), "{elapsed:?} is not within {range:?}");
}

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
    let raw: usize = (0..8).map(|p| running.log.records(TOPIC, p).len()).sum();
    assert_eq!(raw, 4);
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
    tokio::time::sleep(Duration::from_millis(700)).await;
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

#[tokio::test]
async fn broken_http_is_400() {
    let running = start(short());
    for broken in ["nonsense\r\n\r\n", "POST /webhook/main HTTP/1.1\r\ncontent-length: -1\r\n\r\n"]
    {
        let mut stream = running.connect().await;
        let answer = exchange(&mut stream, broken).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{broken:?}: {answer}");
    }
    running.stop().await;
}

#[tokio::test]
async fn above_the_connection_cap_it_is_503_and_places_come_back() {
    let running = start(IngressOptions { connections_max: 2, ..short() });
    let mut first = running.connect().await;
    assert!(exchange(&mut first, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    let mut second = running.connect().await;
    assert!(exchange(&mut second, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    let mut third = running.connect().await;
    let refused = answer(&mut third).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    drop(first);
    // The place is free once the server has seen the end; until then connections are refused.
    let served = async {
        loop {
            let mut fourth = running.connect().await;
            if fourth.write_all(post(BODY).as_bytes()).await.is_ok()
                && answer(&mut fourth).await.starts_with("HTTP/1.1 200")
            {
                return;
            }
        }
    };
    timeout(Duration::from_secs(5), served).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn draining_answers_what_is_under_way_and_takes_no_new_connections() {
    let running = start(IngressOptions { answer_deadline: Duration::from_secs(3), ..short() });
    running.log.hold_appends(true);
    let mut busy = running.connect().await;
    busy.write_all(post(BODY).as_bytes()).await.unwrap();
    let idle = running.connect().await;
    // The match is counted just before the append, so the request is under way from here on.
    let matched = |apps: &Apps| apps.snapshot(NOW)[0].secrets[0].matches == 1;
    while !matched(&running.apps) {
        tokio::task::yield_now().await;
    }
    running.shutdown.cancel();
    let refused = async {
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(2), refused).await.expect("new connections are refused");
    assert_eq!(running.status.readiness().reason, Some("draining"));
    assert!(!running.task.is_finished());
    running.log.hold_appends(false);
    let answered = answer(&mut busy).await;
    assert!(answered.starts_with("HTTP/1.1 200 OK\r\n"), "{answered}");
    drop(idle);
    running.stop().await;
}

#[tokio::test]
async fn draining_ends_at_its_limit_also_when_the_log_hangs() {
    let running = start(IngressOptions { drain_limit: Duration::from_millis(800), ..short() });
    running.log.hold_appends(true);
    let mut busy = running.connect().await;
    let answered = exchange(&mut busy, &post(BODY)).await;
    assert!(answered.starts_with("HTTP/1.1 503"), "{answered}");
    assert!(answered.contains("retry-after: 1\r\n"), "{answered}");
    let started = Instant::now();
    running.stop().await;
    between(started.elapsed(), 700, 2_500);
}
