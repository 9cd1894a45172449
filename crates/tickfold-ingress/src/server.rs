//! Composition and life of the public listener: start, serve, drain.

use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;

use axum_server::Handle;
use tickfold_log::Log;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::append::RawTopic;
use crate::budget::Budget;
use crate::connection::Admission;
use crate::handler::{Ingress, router};
use crate::status::IngressStatus;
use crate::throttle::Throttle;
use crate::ticks::{self, Activity};
use crate::{Apps, Clock, Error, IngressOptions, metrics};

/// Buffer of a connection, which also bounds the headers of a request.
const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;

/// What ingress is made of. The binary binds and builds, [`run`] serves.
#[derive(Debug)]
pub struct Parts {
    /// Bound; put into non-blocking mode here.
    pub listener: TcpListener,
    /// Where webhooks and ticks go. Closed by its owner, after [`run`] returned.
    pub log: Arc<dyn Log>,
    /// Limits and deadlines.
    pub options: IngressOptions,
    /// Apps whose webhooks are accepted; the handle with which the binary replaces them.
    pub apps: Apps,
    /// Full name of the raw topic, which exists.
    pub raw_topic: String,
    /// Partition count of the raw topic, fixed at its creation.
    pub partition_count: u32,
    /// For `wa-received-time` and the times in the status.
    pub clock: Clock,
    /// The handle that the admin listener keeps a clone of.
    pub status: IngressStatus,
}

/// Serves until `shutdown`, then drains: no new connections, requests under way get their answer,
/// appends under way finish, all within the drain limit. Must run within a tokio runtime with its
/// timer and IO. Returns early only if it cannot start or the listener breaks.
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<(), Error> {
    metrics::describe();
    let (listener, ingress) = build(parts)?;
    let options = &ingress.options;
    let address = listener.local_addr().map_err(Error::Listener)?;

    let handle = Handle::new();
    let admission = Admission::new(options.connections_max, options.header_deadline);
    let mut server = axum_server::from_tcp(listener)
        .map_err(Error::Listener)?
        .http1_only()
        .handle(handle.clone())
        .first_request_timeout(options.header_deadline)
        .acceptor(admission)
        .accept_error_handler(|_, error| debug!(%error, "connection not accepted"));
    server
        .http_builder()
        .http1()
        // It starts with the wait for a request, so it is the idle deadline; the one for the
        // headers themselves is in `connection`.
        .header_read_timeout(options.idle_deadline)
        .max_buf_size(CONNECTION_BUFFER_BYTES);

    let stop_ticks = shutdown.child_token();
    let ticks = tokio::spawn(ticks::run(
        Arc::clone(&ingress.raw),
        options.tick_interval,
        options.answer_deadline,
        stop_ticks.clone(),
    ));
    ingress.status.set_serving();
    info!(%address, "ingress serves");

    let mut serve = pin!(server.serve(router(Arc::clone(&ingress)).into_make_service()));
    let (served, drain_until) = tokio::select! {
        served = &mut serve => (served, Instant::now()),
        () = shutdown.cancelled() => {
            let drain_until = Instant::now() + options.drain_limit;
            // First the flag: requests that still arrive on open connections are answered 503.
            ingress.status.set_draining();
            info!(connections = handle.connection_count(), "ingress drains");
            handle.graceful_shutdown(Some(options.drain_limit));
            (serve.await, drain_until)
        }
    };
    ingress.status.set_draining();
    stop_ticks.cancel();
    if ticks.await.is_err() {
        error!("the task of the ticks panicked, log time stood still on idle partitions");
    }
    drain_appends(&ingress.raw.appends, drain_until).await;
    served.map_err(Error::Listener)
}

/// Waits for appends whose requests were answered 503 already. Those that a hanging log keeps are
/// left to it: nobody was told that they are durable.
async fn drain_appends(appends: &TaskTracker, until: Instant) {
    appends.close();
    if timeout_at(until, appends.wait()).await.is_err() {
        warn!(appends = appends.len(), "ingress stops while appends are under way");
    }
}

/// Checks everything before anything is served.
pub(crate) fn build(parts: Parts) -> Result<(TcpListener, Arc<Ingress>), Error> {
    let Parts { listener, log, options, apps, raw_topic, partition_count, clock, status } = parts;
    options.check()?;
    if partition_count == 0 {
        return Err(Error::Options("the raw topic has no partitions".to_owned()));
    }
    let raw = RawTopic {
        log,
        name: raw_topic,
        partition_count,
        activity: Arc::new(Activity::new(partition_count)),
        status: status.clone(),
        appends: TaskTracker::new(),
        failures: Throttle::default(),
    };
    let ingress = Ingress {
        apps,
        clock,
        budget: Budget::new(options.inflight_bytes_max),
        options,
        raw: Arc::new(raw),
        status,
        refusals: Throttle::default(),
    };
    Ok((listener, Arc::new(ingress)))
}
