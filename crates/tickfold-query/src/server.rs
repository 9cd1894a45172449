//! The server: its parts, its start, its end.
//!
//! On tonic's own server, since merged into another router gRPC deadlines are silently dropped.
//! tonic's graceful stop can wait for ever on a client that is silent, so the drain has a limit of
//! its own, after which connections are cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tickfold_core::records::RAW_TOPIC;
use tickfold_log::Log;
use tickfold_proto::admin::v1::admin_service_server::AdminServiceServer;
use tickfold_proto::query::v1::query_service_server::QueryServiceServer;
use tickfold_proto::query::v1::watch_service_server::WatchServiceServer;
use tickfold_store::{ReadView, Stores};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::codegen::http::HeaderMap;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthReporter;
use tonic_web::GrpcWebLayer;
use tower::Layer;

use crate::access::{Guard, GuardLayer, Scope, Tokens};
use crate::admin::Admin;
use crate::call::Limits;
use crate::query::{History, Partitions, Query, Raw, RoleOf};
use crate::refusals::RefusalLayer;
use crate::served::Served as _;
use crate::tls::Versions;
use crate::watch::{Hub, Watches};
use crate::web::{OriginLayer, cors};
use crate::{Clock, Door, Error, Peers, QueryOptions, QueryStatus, ServerTls, health, incoming};

/// Time that connections on which no call is running get to close by themselves at shutdown, and
/// the last replies to reach their callers. A client that does not react to the goodbye, suspended
/// for instance, would otherwise delay every restart by the whole drain limit.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// Headers of a request, in bytes.
const HEADERS_BYTES_MAX: u32 = 64 * 1024;

/// Time that cut connections get to be dropped.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// What the server is made of.
#[derive(Debug)]
pub struct Parts {
    /// Bound.
    pub listener: TcpListener,
    /// Who is let in. On an address that others reach it must not be empty.
    pub auth: Auth,
    /// The log, for the admin service.
    pub log: Arc<dyn Log>,
    /// Prefix of our topics, e.g. `wa`.
    pub topic_prefix: String,
    /// Limits and deadlines.
    pub options: QueryOptions,
    /// The other nodes.
    pub peers: Peers,
    /// What the query service reads; without it there is none.
    pub reads: Option<Reads>,
    /// Further services of the process on the same listener. Their calls do not hold up a drain.
    pub services: Routes,
    /// Opened for callers inside the process while the server runs.
    pub door: Door,
}

/// Who is let in.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// The callers that are known; `None`: nobody is authenticated, and everybody may everything.
    pub tokens: Option<Tokens>,
    /// The listener's certificate; `None`: it speaks in plain text.
    pub tls: Option<ServerTls>,
    /// Whether something before the listener ends TLS, so that plain text is no risk.
    pub behind_proxy: bool,
}

impl Auth {
    /// What is missing for an address that other machines reach.
    pub fn missing(&self) -> Option<&'static str> {
        if self.tokens.is_none() {
            return Some("auth.tokens_file");
        }
        let is_plain = self.tls.is_none() && !self.behind_proxy;
        is_plain.then_some("auth.tls_cert_file, or auth.behind_proxy where a proxy ends TLS")
    }

    /// Whether a request over HTTP, with these headers, may do something: for other listeners of the
    /// process. It leaves a line in the log, with its name.
    ///
    /// # Errors
    /// UNAUTHENTICATED or PERMISSION_DENIED, as over gRPC.
    pub fn permit(
        &self,
        headers: &HeaderMap,
        scope: Scope,
        name: &str,
        address: SocketAddr,
    ) -> Result<(), Status> {
        let guard = Guard::new(self.tokens.clone(), Clock::system());
        guard.permit(headers, scope, name, Some(address))
    }
}

/// What the query service is made of.
#[derive(Debug)]
pub struct Reads {
    /// Stores of all partitions; only their views are used.
    pub stores: Arc<dyn Stores>,
    /// Partition count P of the raw topic.
    pub partition_count: u32,
    /// How this node stands to each partition.
    pub role: RoleOf,
    /// Where states of then come from.
    pub history: Arc<dyn History>,
    /// Wall clock.
    pub clock: Clock,
    /// Told what the server is doing.
    pub status: QueryStatus,
}

/// Refuses what must not be served, before anything is bound or opened.
pub fn validate(address: SocketAddr, options: &QueryOptions, auth: &Auth) -> Result<(), Error> {
    if let Some(missing) = auth.missing().filter(|_| !address.ip().is_loopback()) {
        return Err(Error::NotLoopback { address, missing });
    }
    options.check()
}

/// Serves until `shutdown`, then lets calls finish within the drain limit. When it returns, no
/// connection is open any more.
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<(), Error> {
    let Parts { listener, auth, log, topic_prefix, options, peers, reads, services, door } = parts;
    validate(listener.local_addr().map_err(Error::Listener)?, &options, &auth)?;

    // Whichever way this returns, what it started ends with it.
    let stop = shutdown.child_token();
    let _stopped = stop.clone().drop_guard();
    let cut = CancellationToken::new();
    let _cut = cut.clone().drop_guard();

    let limits = Limits::new(options.concurrent_requests_max, &options, stop.clone());
    let tails = Limits::new(options.tail_streams_max, &options, stop.clone());
    let watches = Limits::new(options.watch_streams_max, &options, stop.clone());
    let raw = Raw { log: Arc::clone(&log), topic: format!("{topic_prefix}.{RAW_TOPIC}") };
    let admin = Admin::new(Arc::clone(&log), topic_prefix.clone(), limits.clone(), tails.clone());
    let reporter = HealthReporter::new();
    health::not_yet(&reporter).await;
    let (services, background) = match reads {
        Some(reads) => {
            let (feeds, hub) = Hub::new(&log, &topic_prefix, reads.partition_count);
            let (partition_count, clock) = (reads.partition_count, reads.clock.clone());
            let health = (reporter.clone(), stop.clone());
            let (query, report) = reads.serve(&peers, raw, &options, [&limits, &tails], health);
            let settings = (options.clone(), clock);
            let watch =
                Watches::new(Arc::clone(&query), feeds, watches.clone(), settings, partition_count);
            let services = services
                .add_service(QueryServiceServer::from_arc(query).served(&options))
                .add_service(WatchServiceServer::new(watch).served(&options));
            let followed = stop.clone();
            let hub = async move { followed.run_until_cancelled(hub.run()).await };
            (services, futures_util::future::join(report, hub).map(drop).boxed())
        }
        None => (services, health::report_admin(reporter.clone(), stop.clone()).boxed()),
    };
    let idle = async move {
        limits.idle().await;
        tails.idle().await;
        watches.idle().await;
    };
    let health_service =
        tonic_health::server::HealthService::from_health_reporter(reporter.clone());

    let routes = services
        .add_service(AdminServiceServer::new(admin).served(&options))
        .add_service(HealthServer::new(health_service).served(&options))
        .add_service(reflection().build_v1().map_err(|error| Error::Reflection(error.into()))?)
        .add_service(
            reflection().build_v1alpha().map_err(|error| Error::Reflection(error.into()))?,
        );

    let refusals = RefusalLayer { limit: options.request_timeout_max };
    let guard = GuardLayer(Guard::new(auth.tokens, Clock::system()));
    let _open = door.open(guard.layer(routes.clone()), options.request_timeout_max);
    let server = Server::builder()
        // gRPC-web comes by either version. What else comes by HTTP/1.1 is refused.
        .accept_http1(true)
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        // No grace: with one, tonic skips the polite GOAWAY and cuts calls that are under way.
        .max_connection_age(options.connection_age_max)
        .max_concurrent_streams(options.concurrent_streams_max)
        // Room for the accounts of a caller on whose behalf a node asks.
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .layer(cors(&options.web_origins))
        .layer(GrpcWebLayer::new())
        .layer(OriginLayer::new(&options.web_origins))
        .layer(guard)
        .layer(refusals)
        .add_routes(routes);
    let versions = if options.web_origins.is_empty() { Versions::Two } else { Versions::OneAndTwo };
    let tls = auth.tls.map(|tls| (tls, versions));
    let connections = incoming::incoming(listener, tls, options.connections_max, cut.clone());
    let stopping = stop.clone();
    let serve = server.serve_with_incoming_shutdown(connections, async move {
        stopping.cancelled().await;
    });

    let (served, (), _) = tokio::join!(
        async {
            let served = drain(serve, &stop, &cut, options.drain_limit, idle).await;
            stop.cancel();
            served
        },
        background,
        stop.run_until_cancelled(peers.keep_up()),
    );
    served
}

impl Reads {
    /// The query service, and what tells of its health while it is polled.
    fn serve(
        self,
        peers: &Peers,
        raw: Raw,
        options: &QueryOptions,
        [limits, streams]: [&Limits; 2],
        (reporter, stop): (HealthReporter, CancellationToken),
    ) -> (Arc<Query>, BoxFuture<'static, ()>) {
        let Self { stores, partition_count, role, history, clock, status } = self;
        let views: Arc<[Arc<dyn ReadView>]> =
            (0..partition_count).map(|partition| stores.view(partition)).collect();
        let partitions = Partitions::new(views, clock, role);
        let limits = [limits.clone(), streams.clone()];
        let states = (partitions.clone(), history);
        let query = Query::new(states, peers.clone(), raw, limits, options.clone());
        let report = health::report(partitions, peers.clone(), status, reporter, stop);
        (Arc::new(query), report.boxed())
    }
}

/// Drives the server; from shutdown on with a limit.
async fn drain(
    serve: impl Future<Output = Result<(), tonic::transport::Error>>,
    stop: &CancellationToken,
    cut: &CancellationToken,
    limit: Duration,
    idle: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut serve = Box::pin(serve);
    let ended = |result: Result<(), tonic::transport::Error>| {
        result.map_err(|error| Error::Serve(error.into()))
    };
    tokio::select! {
        result = &mut serve => return ended(result),
        () = stop.cancelled() => {}
    }
    let goodbye = async {
        idle.await;
        tokio::time::sleep(GOODBYE_LIMIT).await;
    };
    tokio::select! {
        result = &mut serve => return ended(result),
        () = goodbye => tracing::info!("connections without calls are cut"),
        () = tokio::time::sleep(limit) => {
            tracing::warn!(limit_ms = limit.as_millis(), "drain limit reached, connections are cut");
        }
    }
    cut.cancel();
    match tokio::time::timeout(CUT_LIMIT, serve).await {
        Ok(result) => ended(result),
        Err(_) => Ok(()),
    }
}

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        // The details of errors: without them a command line shows reasons as bytes.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tickfold_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tokens_only_loopback_is_served() {
        let options = QueryOptions::default();
        for address in ["127.0.0.1:50051", "127.9.9.9:1", "[::1]:50051"] {
            validate(address.parse().unwrap(), &options, &Auth::default()).unwrap();
        }
        for address in ["0.0.0.0:50051", "192.168.0.1:50051", "[::]:50051", "[2001:db8::1]:1"] {
            let refused = validate(address.parse().unwrap(), &options, &Auth::default());
            assert!(matches!(refused, Err(Error::NotLoopback { .. })), "{address}");
        }
    }

    #[test]
    fn tokens_are_not_enough_where_they_could_be_read_on_the_way() {
        let address = "0.0.0.0:50051".parse().unwrap();
        let tokens = Some(Tokens::new(Vec::new()).unwrap());
        let plain = Auth { tokens, ..Auth::default() };
        let refused = validate(address, &QueryOptions::default(), &plain).unwrap_err();
        assert!(refused.to_string().contains("auth.tls_cert_file"), "{refused}");
        let proxied = Auth { behind_proxy: true, ..plain };
        validate(address, &QueryOptions::default(), &proxied).unwrap();
    }
}
