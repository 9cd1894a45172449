//! Whether queries can be answered: told to gRPC clients by the health service, and to the admin
//! listener by [`QueryStatus`].
//!
//! The query and the watch service, and the server as a whole (the empty name), serve once every partition has an
//! open store here or an owner elsewhere that was reached. Without a query service there is nothing
//! to wait for. The admin service needs only the log and serves from the start.

use std::time::Duration;

use tickfold_proto::admin::v1::admin_service_server::SERVICE_NAME as ADMIN;
use tickfold_proto::query::v1::query_service_server::SERVICE_NAME as QUERY;
use tickfold_proto::query::v1::watch_service_server::SERVICE_NAME as WATCH;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::Peers;
use crate::query::{Asked, Partitions};

/// How often a partition that is not open is looked at: an empty store opens without moving the
/// cursor, so there is nothing to wait for.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What [`crate::run`] is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryState {
    /// Not answering queries yet: these partitions have no open store, and no owner that was reached.
    Opening(Vec<u32>),
    /// Answering.
    Serving,
    /// Finishing calls, or done.
    Stopped,
}

/// A view on [`QueryState`] that outlives the server. Clones look at the same one.
#[derive(Debug, Clone)]
pub struct QueryStatus(watch::Sender<QueryState>);

impl QueryStatus {
    /// Before the server runs: nothing is open.
    pub fn new(partition_count: u32) -> Self {
        Self(watch::Sender::new(QueryState::Opening((0..partition_count).collect())))
    }

    /// The state now.
    pub fn get(&self) -> QueryState {
        self.0.borrow().clone()
    }

    /// True while queries are answered.
    pub fn is_serving(&self) -> bool {
        *self.0.borrow() == QueryState::Serving
    }

    /// Follows the state.
    pub fn subscribe(&self) -> watch::Receiver<QueryState> {
        self.0.subscribe()
    }

    fn set(&self, state: QueryState) {
        self.0.send_if_modified(|now| {
            let changed = *now != state;
            *now = state;
            changed
        });
    }
}

/// Keeps the health service and the status up to date, until shutdown.
pub(crate) async fn report(
    partitions: Partitions,
    peers: Peers,
    status: QueryStatus,
    reporter: HealthReporter,
    shutdown: CancellationToken,
) {
    let opened = async {
        loop {
            let missing = missing(&partitions, &peers);
            if missing.is_empty() {
                return;
            }
            status.set(QueryState::Opening(missing));
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    if shutdown.run_until_cancelled(opened).await.is_some() {
        set(&reporter, &["", QUERY, WATCH], ServingStatus::Serving).await;
        status.set(QueryState::Serving);
        tracing::info!(partitions = partitions.count(), "queries are served");
        shutdown.cancelled().await;
    }
    set(&reporter, &["", QUERY, WATCH, ADMIN], ServingStatus::NotServing).await;
    status.set(QueryState::Stopped);
}

/// What clients of a server without a query service see.
pub(crate) async fn report_admin(reporter: HealthReporter, shutdown: CancellationToken) {
    set(&reporter, &["", ADMIN], ServingStatus::Serving).await;
    shutdown.cancelled().await;
    set(&reporter, &["", ADMIN], ServingStatus::NotServing).await;
}

/// What clients see before [`report`] has looked at anything.
pub(crate) async fn not_yet(reporter: &HealthReporter) {
    set(reporter, &["", QUERY, WATCH], ServingStatus::NotServing).await;
    set(reporter, &[ADMIN], ServingStatus::Serving).await;
}

async fn set(reporter: &HealthReporter, services: &[&str], status: ServingStatus) {
    for service in services {
        reporter.set_service_status(service, status).await;
    }
}

/// Partitions that nobody can be asked of.
fn missing(partitions: &Partitions, peers: &Peers) -> Vec<u32> {
    let all = partitions.of(&Asked::All);
    let open = partitions.open(&all);
    all.difference(&open).copied().filter(|partition| !peers.is_reached(*partition)).collect()
}
