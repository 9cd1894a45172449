//! An ingress that listens, and clients that speak to it byte by byte. Deadlines are short, and
//! each wait is for an event (an answer, an end), never for a time.

use std::net::SocketAddr;
use std::time::Duration;

use tickfold_core::signature::sign;
use tickfold_log::MemLog;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::support::{KEY, PARTITIONS, TOPIC, parts};
use crate::{Apps, Error, IngressOptions, IngressStatus, Parts, Tls, run};

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) log: MemLog,
    pub(super) status: IngressStatus,
    pub(super) apps: Apps,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<Result<(), Error>>,
}

pub(super) fn start(options: IngressOptions) -> Running {
    start_with(options, None)
}

pub(super) fn start_with(options: IngressOptions, tls: Option<Tls>) -> Running {
    let (parts, log) = parts(options);
    let parts = Parts { tls, ..parts };
    let address = parts.listener.local_addr().unwrap();
    let (status, apps) = (parts.status.clone(), parts.apps.clone());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run(parts, shutdown.clone()));
    Running { address, log, status, apps, shutdown, task }
}

impl Running {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// How many records the raw topic has.
    pub(super) fn raw_count(&self) -> usize {
        (0..PARTITIONS).map(|p| self.log.records(TOPIC, p).len()).sum()
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap().unwrap();
    }
}

pub(super) fn post(body: &str) -> String {
    let signature = sign(KEY, body.as_bytes());
    let length = body.len();
    format!(
        "POST /webhook/main HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {signature}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Reads one answer without a body; empty if the connection ended.
pub(super) async fn answer<I: AsyncRead + Unpin>(stream: &mut I) -> String {
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

pub(super) async fn exchange<I: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut I,
    request: &str,
) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(stream).await
}

/// Sends a byte every 20 ms until the connection ends; the time that took.
pub(super) async fn drip(stream: TcpStream, bytes: &str) -> Duration {
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

pub(super) fn between(elapsed: Duration, at_least_ms: u64, at_most_ms: u64) {
    let range = Duration::from_millis(at_least_ms)..Duration::from_millis(at_most_ms);
    assert!(range.contains(&elapsed), "{elapsed:?} is not within {range:?}");
}
