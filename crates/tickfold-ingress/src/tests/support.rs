//! An ingress on a log in memory, and requests to it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use tickfold_core::time::Timestamp;
use tickfold_log::{MemLog, Record, TopicSpec};
use tower::ServiceExt;

use crate::handler::{Ingress, router};
use crate::server::build;
use crate::{App, Apps, IngressOptions, IngressStatus, Parts, Secret, VerifyToken};
use tickfold_core::signature::sign;

pub(super) const TOPIC: &str = "wa.webhook.raw.v1";
pub(super) const PARTITIONS: u32 = 8;
pub(super) const KEY: &[u8] = b"main-secret-new";
pub(super) const OLD_KEY: &[u8] = b"main-secret-old";
pub(super) const OTHER_KEY: &[u8] = b"other-app-secret";
pub(super) const TOKEN: &str = "main-token";
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_132_800_123);
pub(super) const BODY: &str = r#"{"object":"whatsapp_business_account","entry":[{"id":"215589900000101","changes":[{"field":"messages","value":{}}]}]}"#;

/// An ingress without a socket.
pub(super) struct Rig {
    pub(super) log: MemLog,
    pub(super) ingress: Arc<Ingress>,
    router: Router,
}

/// An answer that has arrived.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    response: Response<()>,
}

impl Answered {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

pub(super) fn rig(options: IngressOptions) -> Rig {
    let (parts, log) = parts(options);
    rig_of(parts, log)
}

pub(super) fn rig_of(parts: Parts, log: MemLog) -> Rig {
    let (_, ingress) = build(parts).unwrap();
    ingress.status.set_serving();
    let router = router(Arc::clone(&ingress));
    Rig { log, ingress, router }
}

pub(super) fn parts(options: IngressOptions) -> (Parts, MemLog) {
    let log = MemLog::new(NOW.as_millis());
    let raw = TopicSpec { name: TOPIC.to_owned(), partitions: PARTITIONS, compacted: false };
    log.ensure_topics_now(&[raw]).unwrap();
    let secret = |id: &str, key: &[u8]| Secret::new(id, key);
    let main = App {
        name: "main".to_owned(),
        secrets: vec![secret("new", KEY), secret("old", OLD_KEY)],
        verify_tokens: vec![VerifyToken::new(TOKEN)],
    };
    let other = App {
        name: "other".to_owned(),
        secrets: vec![secret("1", OTHER_KEY)],
        verify_tokens: vec![VerifyToken::new("other-token")],
    };
    let parts = Parts {
        listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        log: Arc::new(log.clone()),
        options,
        apps: Apps::new(vec![main, other], NOW).unwrap(),
        raw_topic: TOPIC.to_owned(),
        partition_count: PARTITIONS,
        clock: || NOW,
        status: IngressStatus::new(),
        tls: None,
        quarantine: None,
    };
    (parts, log)
}

impl Rig {
    pub(super) async fn send(&self, request: Request) -> Answered {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answered { status: head.status, body, response: Response::from_parts(head, ()) }
    }

    /// A good webhook to the app `main`.
    pub(super) async fn post(&self, body: impl Into<Vec<u8>>) -> Answered {
        self.send(signed(body)).await
    }

    /// Waits for all appends that were handed over.
    pub(super) async fn drain(&self) {
        let appends = self.ingress.raw.lanes.tasks().unwrap();
        appends.close();
        appends.wait().await;
    }

    /// All raw records with their partitions.
    pub(super) fn raw(&self) -> Vec<(u32, Record)> {
        let of = |p| self.log.records(TOPIC, p).into_iter().map(move |record| (p, record));
        (0..PARTITIONS).flat_map(of).collect()
    }
}

/// A POST to the app `main` with the right signature.
pub(super) fn signed(body: impl Into<Vec<u8>>) -> Request {
    let body = body.into();
    let signature = sign(KEY, &body);
    request(Method::POST, "/webhook/main", &[("x-hub-signature-256", &signature)], body)
}

pub(super) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

/// Options whose deadlines a test on a real socket can wait for.
pub(super) fn short() -> IngressOptions {
    IngressOptions {
        header_deadline: Duration::from_millis(300),
        body_deadline: Duration::from_millis(400),
        idle_deadline: Duration::from_millis(1_500),
        answer_deadline: Duration::from_millis(500),
        append_latency_max: Duration::from_millis(400),
        drain_limit: Duration::from_secs(3),
        ..IngressOptions::default()
    }
}
