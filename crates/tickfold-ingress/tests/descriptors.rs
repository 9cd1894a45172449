//! A process without free file descriptors: the listener neither spins nor ends, what waits gives
//! way, and a good request is answered. In a process of its own, since the limit is the process's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking and print what they measured"
)]

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tickfold_core::signature::sign;
use tickfold_core::time::Timestamp;
use tickfold_ingress::metrics::ACCEPT_FAILURES;
use tickfold_ingress::{App, Apps, IngressOptions, IngressStatus, Parts, Secret};
use tickfold_log::{MemLog, TopicSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "wa.webhook.raw.v1";
const KEY: &[u8] = b"secret";
const NOW: Timestamp = Timestamp::from_millis(1_795_132_800_123);
/// Both ends are in this process. The clients have their descriptors before the limit is set; for
/// their other ends that many are left.
const CLIENTS: usize = 40;
const LEFT: usize = 10;

static FAILURES: LazyLock<Arc<AtomicU64>> = LazyLock::new(Arc::default);

#[tokio::test]
async fn without_descriptors_what_waits_gives_way_and_nothing_spins() {
    metrics::set_global_recorder(CountFailures).unwrap();
    let log = MemLog::new(NOW.as_millis());
    let raw = TopicSpec { name: TOPIC.to_owned(), partitions: 1, compacted: false };
    log.ensure_topics_now(&[raw]).unwrap();
    let app = App {
        name: "main".to_owned(),
        secrets: vec![Secret::new("1", KEY)],
        verify_tokens: Vec::new(),
    };
    let header_deadline = Duration::from_secs(600);
    let parts = Parts {
        listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        log: Arc::new(log.clone()),
        options: IngressOptions { header_deadline, ..IngressOptions::default() },
        tls: None,
        apps: Apps::new(vec![app], NOW).unwrap(),
        raw_topic: TOPIC.to_owned(),
        partition_count: 1,
        clock: || NOW,
        status: IngressStatus::new(),
        quarantine: None,
    };
    let address = parts.listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(tickfold_ingress::run(parts, stop.clone()));

    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpSocket::new_v4().unwrap()).collect();
    let before = getrlimit(Resource::Nofile);
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let enough = Rlimit { current: Some((open + LEFT) as u64), ..before };
    setrlimit(Resource::Nofile, enough).unwrap();
    let last = clients.pop().unwrap();
    let mut silent = Vec::new();
    for client in clients {
        silent.push(client.connect(address).await.unwrap());
    }
    // Behind all of those, so it is accepted only if they give way.
    let mut good = last.connect(address).await.unwrap();
    let request = format!(
        "POST /webhook/main HTTP/1.1\r\nx-hub-signature-256: {}\r\ncontent-length: 2\r\n\r\n{{}}",
        sign(KEY, b"{}")
    );
    good.write_all(request.as_bytes()).await.unwrap();
    let mut seen = [0; 12];
    let answered = timeout(Duration::from_secs(10), good.read_exact(&mut seen)).await;
    answered.expect("an answer while descriptors are short").unwrap();
    assert_eq!(&seen, b"HTTP/1.1 200");
    assert_eq!(log.records(TOPIC, 0).len(), 1);

    let failures = FAILURES.load(Ordering::Relaxed);
    println!("{failures} failures to accept");
    assert!(failures > 0, "descriptors never were short, this test shows nothing");
    assert!(failures < 10 * CLIENTS as u64, "one pause for each failure");
    let was_closed = timeout(Duration::from_secs(5), silent[0].read(&mut seen)).await.unwrap();
    assert!(matches!(was_closed, Ok(0) | Err(_)), "the first has waited longest");

    setrlimit(Resource::Nofile, before).unwrap();
    drop(silent);
    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(request.as_bytes()).await.unwrap();
    timeout(Duration::from_secs(5), next.read_exact(&mut seen)).await.unwrap().unwrap();
    assert_eq!(&seen, b"HTTP/1.1 200");
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// Counts failures to accept and nothing else.
struct CountFailures;

impl Recorder for CountFailures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match key.name() == ACCEPT_FAILURES {
            true => Counter::from_arc(Arc::clone(&*FAILURES)),
            false => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
