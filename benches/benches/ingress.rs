//! Ingress on the embedded log beside two servers that do less: one that verifies the signature and
//! answers 200 at once (the floor of HTTP), and one that also appends each body by itself, as a
//! straightforward service would. Each server is a process of its own, so that its CPU time is its
//! own; the senders share the machine with it.
//!
//! Per kind of body: as many as 64 connections can get accepted in a closed loop, then an open loop
//! at a fixed rate with latencies from the intended time.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tickfold_core::route::route;
use tickfold_core::signature::{SIGNATURE_HEADER, Signature, sign, verify};
use tickfold_core::time::Timestamp;
use tickfold_ingress::{App, Apps, IngressOptions, IngressStatus, Parts, Secret};
use tickfold_log::{Append, EmbeddedLog, EmbeddedOptions, Log, TopicPartition, TopicSpec};
use tickfold_workload::Bodies;
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SERVER: &str = "TICKFOLD_BENCH_SERVER";
const SECRET: &[u8] = b"bench-secret";
const RAW: &str = "bench.webhook.raw.v1";
const PARTITIONS: u32 = 8;
const CONNECTIONS: usize = 64;
const CLOSED_FOR: Duration = Duration::from_secs(3);
const OPEN_FOR: Duration = Duration::from_secs(4);
/// Bodies of 3 MB come at a rate that one machine can carry: at 2,000/s they would be 6 GB/s.
const LARGE_RATE: u32 = 10;
/// Bytes of requests made beforehand; the senders begin again with the first after the last.
const POOL_BYTES: usize = 96 * 1024 * 1024;
/// The kernel's unit of CPU time.
const TICKS_PER_SECOND: f64 = 100.0;
const BASE: Timestamp = Timestamp::from_millis(1_795_132_800_000);

struct Kind {
    name: &'static str,
    rate: u32,
    connections: usize,
    body: fn(&mut Bodies) -> Vec<u8>,
}

const KINDS: [Kind; 4] = [
    Kind { name: "0.5 KB", rate: 2_000, connections: CONNECTIONS, body: |b| b.sized(512) },
    Kind { name: "4 KB", rate: 2_000, connections: CONNECTIONS, body: |b| b.sized(4 * 1024) },
    Kind { name: "100 statuses", rate: 2_000, connections: CONNECTIONS, body: |b| b.batch(100) },
    Kind { name: "3 MB", rate: LARGE_RATE, connections: 8, body: |b| b.sized(3 * 1024 * 1024) },
];

#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn main() -> Outcome<()> {
    if let Ok(server) = std::env::var(SERVER) {
        return serve(&server);
    }
    println!(
        "{:14} {:9} {:>11} {:>9} {:>7} {:>19} {:>9} {:>9} {:>7}",
        "body", "server", "accepted/s", "CPU µs", "ratio", "open loop", "p50 ms", "p99 ms", "ratio"
    );
    for kind in &KINDS {
        let requests = requests(kind);
        let mut floor: Option<Measured> = None;
        for server in ["floor", "direct", "ingress"] {
            let measured = measure(server, kind, &requests)?;
            let first = floor.get_or_insert(measured);
            println!(
                "{:14} {server:9} {:11.0} {:9.1} {:7.2} {:>9.0} of {:>5}/s {:9.2} {:9.2} {:7.2}",
                kind.name,
                measured.per_second,
                measured.cpu_us,
                measured.cpu_us / first.cpu_us,
                measured.open_per_second,
                kind.rate,
                measured.p50_ms,
                measured.p99_ms,
                measured.p99_ms / first.p99_ms,
            );
        }
    }
    println!("ratio: CPU and p99 of the same kind of body, beside the floor");
    Ok(())
}

// --- senders ------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy)]
struct Measured {
    per_second: f64,
    cpu_us: f64,
    open_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Whole requests, each with a body of its own.
fn requests(kind: &Kind) -> Vec<Vec<u8>> {
    let mut bodies = Bodies::new(1, BASE);
    let mut requests = Vec::new();
    let mut bytes = 0;
    while bytes < POOL_BYTES && requests.len() < 40_000 {
        let body = (kind.body)(&mut bodies);
        let (signature, length) = (sign(SECRET, &body), body.len());
        let head = format!(
            "POST /webhook/main HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
             {SIGNATURE_HEADER}: {signature}\r\ncontent-length: {length}\r\n\r\n"
        );
        let request = [head.into_bytes(), body].concat();
        bytes += request.len();
        requests.push(request);
    }
    requests
}

fn measure(server: &str, kind: &Kind, requests: &[Vec<u8>]) -> Outcome<Measured> {
    let server = Server::start(server)?;
    let address = server.address;
    // Caches, the connection pool of the kernel, the first tables of the log.
    send(address, kind.connections, requests, Duration::from_millis(500), None)?;

    let before = server.cpu_seconds()?;
    let closed = send(address, kind.connections, requests, CLOSED_FOR, None)?;
    let cpu = server.cpu_seconds()? - before;
    let accepted = closed.len() as f64;

    let mut open = send(address, kind.connections, requests, OPEN_FOR, Some(kind.rate))?;
    open.sort_unstable();
    let at = |per_mille: usize| {
        open.get(open.len() * per_mille / 1_000).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    Ok(Measured {
        per_second: accepted / CLOSED_FOR.as_secs_f64(),
        cpu_us: cpu * 1e6 / accepted,
        open_per_second: open.len() as f64 / OPEN_FOR.as_secs_f64(),
        p50_ms: at(500),
        p99_ms: at(990),
    })
}

/// Latencies of accepted requests. With a rate, request `n` is due at `n / rate`, and its latency
/// counts from then, whoever was busy; without one each connection sends as soon as it may.
fn send(
    address: SocketAddr,
    connections: usize,
    requests: &[Vec<u8>],
    duration: Duration,
    rate: Option<u32>,
) -> Outcome<Vec<Duration>> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let connection = || -> Outcome<Vec<Duration>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut latencies = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let due = match rate {
                Some(rate) => begin + Duration::from_secs_f64(number as f64 / f64::from(rate)),
                None => Instant::now(),
            };
            if due.saturating_duration_since(begin) >= duration {
                return Ok(latencies);
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let request = requests.get(number % requests.len()).ok_or("no requests")?;
            stream.write_all(request)?;
            let status = answer(&mut stream)?;
            if status != 200 {
                return Err(format!("answered {status}").into());
            }
            latencies.push(due.elapsed());
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(connection)).collect();
        let mut latencies = Vec::new();
        for thread in threads {
            latencies.extend(thread.join().map_err(|_| "a sender panicked")??);
        }
        Ok(latencies)
    })
}

/// The status of an answer without a body.
fn answer(stream: &mut TcpStream) -> Outcome<u16> {
    let mut head = Vec::with_capacity(256);
    let mut chunk = [0; 512];
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err("the connection ended before an answer".into());
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    let status = head.get(9..12).and_then(|text| std::str::from_utf8(text).ok());
    Ok(status.ok_or("no status")?.parse()?)
}

// --- servers ------------------------------------------------------------------------------------

/// A server process; ends when its standard input does.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(SERVER, name).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { address: line.trim().parse()?, child })
    }

    /// User and system time of all its threads.
    fn cpu_seconds(&self) -> Outcome<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("odd stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks =
            |index: usize| -> Outcome<f64> { Ok(fields.get(index).ok_or("short stat")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "the address, for the senders")]
fn serve(server: &str) -> Outcome<()> {
    // What the binary does too: counting costs.
    metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let dir = tempfile::tempdir()?;
    let log: Arc<dyn Log> = EmbeddedLog::open(dir.path().join("log"), EmbeddedOptions::default())?;
    let spec = TopicSpec { name: RAW.to_owned(), partitions: PARTITIONS, compacted: false };
    runtime.block_on(log.ensure_topics(&[spec]))?;
    let stop = CancellationToken::new();
    println!("{address}");
    let until_stdin_ends = {
        let stop = stop.clone();
        thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            stop.cancel();
        })
    };
    runtime.block_on(async {
        match server {
            "ingress" => {
                let app = App {
                    name: "main".to_owned(),
                    secrets: vec![Secret::new("bench", SECRET)],
                    verify_tokens: Vec::new(),
                };
                let parts = Parts {
                    listener,
                    log: Arc::clone(&log),
                    options: IngressOptions::default(),
                    tls: None,
                    apps: Apps::new(vec![app], BASE)?,
                    quarantine: None,
                    raw_topic: RAW.to_owned(),
                    partition_count: PARTITIONS,
                    clock: now,
                    status: IngressStatus::new(),
                };
                tickfold_ingress::run(parts, stop).await?;
            }
            plain => {
                let log = (plain == "direct").then(|| Arc::clone(&log));
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let router = axum::Router::new()
                    .route("/webhook/main", post(accept))
                    .layer(axum::extract::DefaultBodyLimit::max(4 * 1024 * 1024))
                    .with_state(log);
                let serve = axum::serve(listener, router);
                tokio::select! {
                    served = serve => served?,
                    () = stop.cancelled() => {}
                }
            }
        }
        log.close().await?;
        Outcome::Ok(())
    })?;
    until_stdin_ends.join().map_err(|_| "the thread of standard input panicked")?;
    Ok(())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What a straightforward service does: verify, append each body by itself if there is a log.
async fn accept(
    State(log): State<Option<Arc<dyn Log>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let signature =
        headers.get(SIGNATURE_HEADER).and_then(|value| Signature::parse(value.as_bytes()));
    if !signature.is_some_and(|signature| verify(SECRET, &body, &signature)) {
        return StatusCode::UNAUTHORIZED;
    }
    let Some(log) = log else { return StatusCode::OK };
    let records = route(&body, PARTITIONS).into_iter().map(|to| Append {
        to: TopicPartition::new(RAW, to.partition),
        key: Some(Bytes::from(to.key)),
        value: Some(body.clone()),
        headers: Vec::new(),
        timestamp_ms: None,
    });
    match log.append(records.collect()).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
