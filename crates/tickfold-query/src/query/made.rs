//! Stores in memory that tests fill by hand, and a query service over them. What a webhook makes of a
//! state is the fold's to say; this is for states as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tickfold_core::Overlay;
use tickfold_core::time::Timestamp;
use tickfold_log::MemLog;
use tickfold_store::{MemStores, PartitionStore, Snapshot, StoreHead, Stores as _};
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::partitions::{Asked, Partitions, Snapshots};
use super::{History, Moment, NotThen, Query, Raw, Role, RoleOf};
use crate::access::Access;
use crate::call::{Call, Limits};
use crate::peers::Peers;
use crate::reasons::Reason;
use crate::{Clock, QueryOptions};

/// The raw topic.
pub(crate) const RAW: &str = "wa.webhook.raw.v1";

/// Stores and their writers.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) log: MemLog,
    pub(crate) partition_count: u32,
    stores: MemStores,
    writers: BTreeMap<u32, Box<dyn PartitionStore>>,
}

impl Made {
    pub(crate) fn new(partition_count: u32) -> Self {
        let stores = MemStores::default();
        let open = |partition| (partition, stores.open(partition).unwrap());
        let writers = (0..partition_count).map(open).collect();
        Self { log: MemLog::new(0), partition_count, stores, writers }
    }

    /// Writes what `change` makes of a partition, which is then at the cursor and the log time.
    pub(crate) fn write(
        &mut self,
        partition: u32,
        cursor: u64,
        log_time: Timestamp,
        change: impl FnOnce(&mut Overlay),
    ) {
        let store = self.writers.get_mut(&partition).unwrap();
        let before = store.store_head();
        let mut overlay = Overlay::default();
        let mut head = before.head;
        head.log_time = Some(log_time);
        overlay.head = Some(head);
        change(&mut overlay);
        let digest = store.digest_after(&overlay).unwrap();
        let to = StoreHead { cursor, head, digest, ..before };
        store.write(before.cursor, &overlay, to).unwrap();
    }

    fn partitions(&self) -> Partitions {
        let views = (0..self.partition_count).map(|partition| self.stores.view(partition));
        let clock = Clock::new(|| Timestamp::from_millis(0));
        Partitions::new(views.collect(), clock, RoleOf::new(|_| Role::Owner))
    }

    /// What is in these partitions.
    pub(super) fn snapshots(&self, partitions: &[u32]) -> Snapshots {
        let call = call().part(&partitions.iter().copied().collect());
        self.partitions().snapshots(&Asked::All, &call).unwrap()
    }

    /// A query service, without other nodes.
    pub(crate) fn query(&self) -> Query {
        let raw = Raw { log: Arc::new(self.log.clone()), topic: RAW.to_owned() };
        let states: (Partitions, Arc<dyn History>) = (self.partitions(), Arc::new(NoHistory));
        let limits = [limits(), limits()];
        Query::new(states, Peers::alone(), raw, limits, QueryOptions::default())
    }
}

/// Room for all calls of a test.
pub(crate) fn limits() -> Limits {
    Limits::new(1_000, &QueryOptions::default(), CancellationToken::new())
}

/// A request of one who may everything.
pub(crate) fn admitted<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Access::unchecked());
    request
}

fn call() -> Call {
    limits().enter(&admitted(())).unwrap()
}

/// No state of then.
#[derive(Debug)]
struct NoHistory;

impl History for NoHistory {
    fn at(
        &self,
        _: u32,
        _: Moment,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<Box<dyn Snapshot>, NotThen>> {
        let none = NotThen { reason: Reason::RawTrimmed, message: "there is none".to_owned() };
        Box::pin(std::future::ready(Err(none)))
    }
}
