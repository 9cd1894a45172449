//! The admin listener: `/livez`, `/readyz`, `/metrics`, `/statusz`. Never on a listener that faces
//! the internet.

use std::collections::BTreeMap;
use std::net::TcpListener;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tickfold_ingress::{AppStatus, Apps, IngressStatus};
use tickfold_processor::PartitionStatus;
use tickfold_query::{QueryState, QueryStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::up::now;

/// What the listener shows.
#[derive(Clone)]
pub(crate) struct Admin {
    pub metrics: PrometheusHandle,
    pub apps: Apps,
    pub ingress: IngressStatus,
    pub query: QueryStatus,
    pub partitions: BTreeMap<u32, watch::Receiver<PartitionStatus>>,
}

/// Serves until `stop`. Probes are short, so a stop waits for none of them.
pub(crate) async fn run(
    listener: TcpListener,
    admin: Admin,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/statusz", get(statusz))
        .with_state(admin);
    let server = axum_server::from_tcp(listener)?.serve(router.into_make_service());
    tokio::select! {
        served = server => served,
        () = stop.cancelled() => Ok(()),
    }
}

/// The reasons for which a node is not ready; empty is ready. Warnings are for a person and do not
/// make it unready: for wrong signatures anyone can send, and a node taken out of service because
/// of them could never see a right one.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
    warnings: Vec<String>,
}

impl Admin {
    /// Waits until queries are answered and webhooks are taken.
    pub(crate) async fn until_serving(&self) {
        let mut query = self.query.subscribe();
        // An error means that the server is gone; then something else ends the process.
        let _ = query.wait_for(|state| *state == QueryState::Serving).await;
        while !self.ingress.readiness().ready {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for status in self.partitions.values() {
            let settled = |status: &PartitionStatus| {
                status.is_live() || matches!(status, PartitionStatus::Refused(_))
            };
            let _ = status.clone().wait_for(settled).await;
        }
    }

    fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let ingress = self.ingress.readiness();
        if !ingress.ready {
            let reason = serde_json::to_value(ingress).unwrap_or_default();
            let reason = reason
                .get("reason")
                .and_then(|reason| reason.as_str())
                .unwrap_or("not ready")
                .to_owned();
            reasons.push(format!("ingress: {reason}"));
        }
        if let QueryState::Opening(partitions) = self.query.get() {
            reasons.push(format!("query: state of partitions {partitions:?} is not open"));
        }
        for (partition, status) in &self.partitions {
            let status = status.borrow();
            if !status.is_live() {
                reasons.push(format!("partition {partition}: {}", *status));
            }
        }
        let unmatched = self.apps.no_signature_matched();
        let warning = |app: &String| format!("ingress: no_signature_matched by app {app}");
        let warnings = unmatched.iter().map(warning).collect();
        Readiness { ready: reasons.is_empty(), reasons, warnings }
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let readiness = admin.readiness();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics.render()).into_response()
}

#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    readiness: Readiness,
    apps: Vec<AppStatus>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: u32,
    state: &'static str,
    /// Committed position, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    detail: String,
}

async fn statusz(State(admin): State<Admin>) -> Json<Status> {
    let partitions = admin.partitions.iter().map(|(partition, status)| {
        let status = status.borrow();
        let position = match *status {
            PartitionStatus::Live { position } => Some(position),
            _ => None,
        };
        Partition {
            partition: *partition,
            state: status.word(),
            position,
            detail: status.to_string(),
        }
    });
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        readiness: admin.readiness(),
        apps: admin.apps.snapshot(now()),
        partitions: partitions.collect(),
    })
}
