//! An ingress on a real socket, over a log in memory.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tickfold_core::signature::sign;
use tickfold_core::time::Timestamp;
use tickfold_ingress::{
    App, Apps, Error, IngressOptions, IngressStatus, Parts, Secret, VerifyToken, run,
};
use tickfold_log::{MemLog, Record, TopicSpec};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::wire::Wire;

pub(crate) const KEY: &[u8] = b"table-secret";
pub(crate) const OTHER_KEY: &[u8] = b"secret-of-the-other-app";
const TOPIC: &str = "wa.webhook.raw.v1";
const PARTITIONS: u32 = 8;
const NOW: Timestamp = Timestamp::from_millis(1_795_132_800_000);

/// A running ingress.
pub(crate) struct Server {
    address: SocketAddr,
    pub(crate) log: MemLog,
    pub(crate) apps: Apps,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Server {
    pub(crate) fn start(options: IngressOptions) -> Self {
        let log = MemLog::new(NOW.as_millis());
        let raw = TopicSpec { name: TOPIC.to_owned(), partitions: PARTITIONS, compacted: false };
        log.ensure_topics_now(&[raw]).unwrap();
        let app = |name: &str, key: &[u8]| App {
            name: name.to_owned(),
            secrets: vec![Secret::new("1", key)],
            verify_tokens: vec![VerifyToken::new("token")],
        };
        let apps = vec![app("main", KEY), app("other", OTHER_KEY)];
        let apps = Apps::new(apps, NOW).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let parts = Parts {
            listener,
            log: Arc::new(log.clone()),
            // Ticks would be records that no request made.
            options: IngressOptions { tick_interval: Duration::from_secs(3_600), ..options },
            tls: None,
            quarantine: None,
            apps: apps.clone(),
            raw_topic: TOPIC.to_owned(),
            partition_count: PARTITIONS,
            clock: || NOW,
            status: IngressStatus::new(),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(parts, shutdown.clone()));
        Self { address, log, apps, shutdown, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn connect(&self) -> Wire {
        self.try_connect().await.expect("the listener takes connections")
    }

    pub(crate) async fn try_connect(&self) -> Option<Wire> {
        Wire::connect(self.address).await.ok()
    }

    pub(crate) fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Ends it in order: it is alive until now, and nothing is under way any more afterwards.
    pub(crate) async fn stop(self) -> Vec<Record> {
        let Self { log, shutdown, task, .. } = self;
        shutdown.cancel();
        timeout(Duration::from_secs(15), task).await.unwrap().unwrap().unwrap();
        records(&log)
    }

    pub(crate) fn raw(&self) -> Vec<Record> {
        records(&self.log)
    }

    /// Requests refused because of their signature.
    pub(crate) fn signature_failures(&self) -> u64 {
        self.apps.snapshot(NOW).iter().map(|app| app.signature_failures).sum()
    }

    /// Waits until so many appends met a fault.
    pub(crate) async fn until_faults(&self, count: u64) {
        let met = async {
            while self.log.append_faults_met() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), met).await.expect("the fault is met");
    }
}

fn records(log: &MemLog) -> Vec<Record> {
    (0..PARTITIONS).flat_map(|partition| log.records(TOPIC, partition)).collect()
}

/// A webhook that names an account and is unlike any other.
pub(crate) fn body(unlike: impl std::fmt::Display) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","changes":[{{"field":"messages","value":{{"n":"{unlike}"}}}}]}}]}}"#
    )
}

/// The head of a POST to the app `main` with these headers.
pub(crate) fn head(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = b"POST /webhook/main HTTP/1.1\r\nhost: x\r\n".to_vec();
    for (name, value) in headers {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// A POST with this value of the signature header.
pub(crate) fn post_with(signature: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let mut request = head(&[("x-hub-signature-256", signature), ("content-length", &length)]);
    request.extend_from_slice(body);
    request
}

/// A POST that is right in everything.
pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    post_with(&sign(KEY, body), body)
}
