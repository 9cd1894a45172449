//! The admin listener: `/livez`, `/readyz`, `/readyz/ingress`, `/metrics`, `/statusz`, `/configz`, the
//! mirror of the gRPC services under `/v1`, and the console. Never on a listener that faces the internet. Where callers are authenticated
//! `/statusz` and `/configz` need a token of scope `admin`, and the mirror what gRPC needs; probes and
//! scrapes have none, and what they see names nobody.

mod partitions;
mod places;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tickfold_core::FOLD_VERSION;
use tickfold_core::time::Timestamp;
use tickfold_ingress::{AppStatus, Apps, IngressStatus};
use tickfold_query::{Auth, Door, QueryState, QueryStatus, Scope, mirror};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::config::Layers;
use crate::console;
use crate::metrics::Observed;
use crate::node::{Role, now};
use partitions::Partition;
pub(crate) use partitions::Partitions;
use places::Limits;

/// Until the head of a connection's first request is there, and of each later one.
const FIRST_HEAD: Duration = Duration::from_secs(5);
const NEXT_HEAD: Duration = Duration::from_secs(60);

/// For a client to read something of what it is answered.
const UNREAD: Duration = Duration::from_secs(60);

/// What the listener shows: of each part that the node has.
#[derive(Clone)]
pub(crate) struct Admin {
    pub identity: Identity,
    pub auth: Auth,
    pub observed: Observed,
    pub metrics: PrometheusHandle,
    pub front: Option<(Apps, IngressStatus)>,
    pub query: Option<QueryStatus>,
    pub partitions: Partitions,
    /// To the services that the mirror shows.
    pub door: Door,
}

/// What the process is, from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    role: Role,
    address: String,
    started: Timestamp,
    config_digest: String,
    /// The settings as `tickfold config` prints them: none of them is a secret.
    config: String,
}

impl Identity {
    /// A process that starts now.
    pub(crate) fn new(role: Role, address: &str, layers: &Layers) -> Self {
        Self {
            role,
            address: address.to_owned(),
            started: now(),
            config_digest: layers.digest(),
            config: layers.print(),
        }
    }
}

/// Serves until `stop`. Probes are short, so a stop waits for none of them.
pub(crate) async fn run(
    listener: TcpListener,
    connections: usize,
    admin: Admin,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let shown = shown(&listener, &admin)?;
    let router = Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .route("/readyz/ingress", get(readyz_ingress))
        .route("/metrics", get(metrics))
        .route("/statusz", get(statusz))
        .route("/configz", get(configz))
        .with_state(admin)
        .merge(shown);
    let limits =
        Limits { connections, first_head: FIRST_HEAD, next_head: NEXT_HEAD, unread: UNREAD };
    tokio::select! {
        served = places::serve(listener, router, limits) => Ok(served?),
        () = stop.cancelled() => Ok(()),
    }
}

/// The mirror and the console. Tokens and personal data go through them, so on an address that others reach
/// they are served only where a proxy ends TLS, as gRPC is.
fn shown(listener: &TcpListener, admin: &Admin) -> anyhow::Result<Router> {
    if listener.local_addr()?.ip().is_loopback() || admin.auth.behind_proxy {
        return Ok(mirror(&admin.door, &admin.auth)?.merge(console::router()));
    }
    tracing::warn!(
        "no /v1 and no console: admin_addr is not loopback, and auth.behind_proxy does not say that a proxy \
         ends TLS before it"
    );
    Ok(Router::new())
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

impl Readiness {
    fn of(reasons: Vec<String>, warnings: Vec<String>) -> Self {
        Self { ready: reasons.is_empty(), reasons, warnings }
    }
}

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let code = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, Json(self)).into_response()
    }
}

impl Admin {
    /// Waits until queries are answered and webhooks are taken, as far as the node does either.
    pub(crate) async fn until_serving(&self) {
        if let Some(query) = &self.query {
            // An error means that the server is gone; then something else ends the process.
            let _ = query.subscribe().wait_for(|state| *state == QueryState::Serving).await;
        }
        while !self.has_settled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn has_settled(&self) -> bool {
        let takes = |(_, ingress): &(Apps, IngressStatus)| ingress.readiness().ready;
        self.front.as_ref().is_none_or(takes) && self.partitions.have_settled()
    }

    /// Whether webhooks are taken. Partitions have no part in it: one that moves is away from all nodes for as
    /// long as it is folded up, and whoever sends webhooks by this must not find all of them unready.
    fn ingress_readiness(&self) -> Readiness {
        self.front_readiness().unwrap_or_else(|| {
            Readiness::of(vec!["ingress: this node takes no webhooks".to_owned()], Vec::new())
        })
    }

    /// `None` where the node takes no webhooks.
    fn front_readiness(&self) -> Option<Readiness> {
        let (apps, ingress) = self.front.as_ref()?;
        let ingress = ingress.readiness();
        let mut reasons = Vec::new();
        if !ingress.ready {
            let reason = serde_json::to_value(ingress).unwrap_or_default();
            let reason = reason
                .get("reason")
                .and_then(|reason| reason.as_str())
                .unwrap_or("not ready")
                .to_owned();
            reasons.push(format!("ingress: {reason}"));
        }
        let unmatched = apps.no_signature_matched();
        let warning = |app: &String| format!("ingress: no_signature_matched by app {app}");
        Some(Readiness::of(reasons, unmatched.iter().map(warning).collect()))
    }

    fn readiness(&self) -> Readiness {
        let front = self.front_readiness();
        let (mut reasons, warnings) =
            front.map(|front| (front.reasons, front.warnings)).unwrap_or_default();
        if let Some(QueryState::Opening(partitions)) = self.query.as_ref().map(QueryStatus::get) {
            reasons.push(format!("query: state of partitions {partitions:?} is not open"));
        }
        reasons.extend(self.partitions.unready());
        Readiness::of(reasons, warnings)
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    admin.readiness().into_response()
}

async fn readyz_ingress(State(admin): State<Admin>) -> Response {
    admin.ingress_readiness().into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    // Gauges that are read now wait for the file system, and so must not hold up what answers webhooks.
    let rendered = tokio::task::spawn_blocking(move || {
        admin.observed.set();
        admin.metrics.render()
    });
    match rendered.await {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    fold_version: u32,
    role: &'static str,
    /// Where other nodes ask this one.
    address: String,
    start_time: Timestamp,
    uptime_seconds: u64,
    /// The same on all nodes of a system.
    config_digest: String,
    readiness: Readiness,
    apps: Vec<AppStatus>,
    partitions: Vec<Partition>,
}

async fn statusz(
    State(admin): State<Admin>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refusal(&admin, &headers, "/statusz", address) {
        return refused;
    }
    let Identity { role, address, started, config_digest, config: _ } = admin.identity.clone();
    let uptime_ms = now().as_millis().saturating_sub(started.as_millis());
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        fold_version: FOLD_VERSION,
        role: role.word(),
        address: address.clone(),
        start_time: started,
        uptime_seconds: u64::try_from(uptime_ms / 1_000).unwrap_or_default(),
        config_digest,
        readiness: admin.readiness(),
        apps: admin.front.as_ref().map(|(apps, _)| apps.snapshot(now())).unwrap_or_default(),
        partitions: admin.partitions.show(&address),
    })
    .into_response()
}

/// The answer to whoever may not see a page, if it is one that not everybody may.
fn refusal(
    admin: &Admin,
    headers: &HeaderMap,
    page: &str,
    address: SocketAddr,
) -> Option<Response> {
    let refused = admin.auth.permit(headers, Scope::Admin, page, address).err()?;
    let code = match refused.code() {
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::UNAUTHORIZED,
    };
    let said = [(WWW_AUTHENTICATE, "Bearer")];
    Some((code, said, format!("{}\n", refused.message())).into_response())
}

async fn configz(
    State(admin): State<Admin>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refusal(&admin, &headers, "/configz", address) {
        return refused;
    }
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], admin.identity.config).into_response()
}
