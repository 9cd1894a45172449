//! Composition and life of the public listener: start, serve, drain.

use std::net::TcpListener;
use std::sync::Arc;

use tickfold_log::Log;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::append::RawTopic;
use crate::budget::Budget;
use crate::connection::Front;
use crate::handler::{Ingress, router};
use crate::lanes::Lanes;
use crate::listener::Listener;
use crate::redelivery;
use crate::status::IngressStatus;
use crate::throttle::Throttle;
use crate::ticks::{self, Activity};
use crate::{Apps, Clock, Error, IngressOptions, Quarantine, Tls};

/// What ingress is made of. The binary binds and builds, [`run`] serves.
#[derive(Debug)]
pub struct Parts {
    /// Bound; put into non-blocking mode here.
    pub listener: TcpListener,
    /// Where webhooks and ticks go. Closed by its owner, after [`run`] returned.
    pub log: Arc<dyn Log>,
    /// Limits, deadlines, and whom to talk to.
    pub options: IngressOptions,
    /// Without it requests come in plain text, and
    /// [`check_listener`](IngressOptions::check_listener) says where they may.
    pub tls: Option<Tls>,
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
    /// Opened if [`IngressOptions::quarantine_bytes_max`] is not 0, and only then.
    pub quarantine: Option<Quarantine>,
}

/// Serves until `shutdown`, then drains: no new connections, requests under way get their answer,
/// appends under way finish, all within the drain limit. Must run within a tokio runtime with its
/// timer and IO. Returns early only if it cannot start.
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<(), Error> {
    let tls = parts.tls.clone();
    let (listener, ingress) = build(parts)?;
    let options = &ingress.options;
    let address = listener.local_addr().map_err(Error::Listener)?;
    options.check_listener(address, tls.is_some())?;
    let front = Front::new(router(Arc::clone(&ingress)), options.clone(), tls);
    let mut listener =
        Listener::new(listener, front, options.connections_max).map_err(Error::Listener)?;

    let stop_ticks = shutdown.child_token();
    let ticks = tokio::spawn(ticks::run(
        Arc::clone(&ingress.raw),
        options.tick_interval,
        options.answer_deadline,
        stop_ticks.clone(),
    ));
    let reports =
        tokio::spawn(redelivery::run(Arc::clone(&ingress.redelivery), stop_ticks.clone()));
    ingress.status.set_serving();
    info!(%address, "ingress serves");

    listener.accept_until(&shutdown).await;
    let drain_until = Instant::now() + options.drain_limit;
    // First the flag: requests that still arrive on open connections are answered 503.
    ingress.status.set_draining();
    listener.drain(drain_until).await;
    stop_ticks.cancel();
    if ticks.await.is_err() {
        error!("the task of the ticks panicked, log time stood still on idle partitions");
    }
    if reports.await.is_err() {
        error!("the task of the redelivery gauges panicked, they stood still");
    }
    if let Some(appends) = ingress.raw.lanes.tasks() {
        drain_appends(appends, drain_until).await;
    }
    if let Some(quarantine) = &ingress.quarantine {
        drain_appends(quarantine.tasks(), drain_until).await;
    }
    Ok(())
}

/// Waits for appends whose requests were answered already. Those that a hanging log keeps are left
/// to it: nobody was told that they are durable.
async fn drain_appends(appends: &TaskTracker, until: Instant) {
    appends.close();
    if timeout_at(until, appends.wait()).await.is_err() {
        warn!("ingress stops while appends are under way");
    }
}

/// Checks everything before anything is served.
pub(crate) fn build(parts: Parts) -> Result<(TcpListener, Arc<Ingress>), Error> {
    let Parts { listener, log, options, apps, raw_topic, partition_count, .. } = parts;
    let Parts { clock, status, quarantine, .. } = parts;
    options.check()?;
    if quarantine.is_some() != (options.quarantine_bytes_max > 0) {
        let reason = "quarantine_bytes_max is not 0 exactly if there is a quarantine";
        return Err(Error::Options(reason.to_owned()));
    }
    if partition_count == 0 {
        return Err(Error::Options("the raw topic has no partitions".to_owned()));
    }
    let activity = Arc::new(Activity::new(partition_count));
    let lanes = Lanes::new(&log, &activity, status.clone());
    let raw = RawTopic {
        name: raw_topic,
        partition_count,
        lanes,
        activity,
        failures: Throttle::default(),
    };
    let ingress = Ingress {
        apps,
        clock,
        budget: Budget::new(options.inflight_bytes_max),
        options,
        raw: Arc::new(raw),
        status,
        redelivery: Arc::default(),
        refusals: Throttle::default(),
        peer_refusals: Throttle::default(),
        overloads: Throttle::default(),
        quarantine,
    };
    Ok((listener, Arc::new(ingress)))
}
