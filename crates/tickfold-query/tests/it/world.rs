//! A server on a port of its own, and a hand to fill its stores: bodies are routed and folded as
//! the processor does it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tickfold_core::fold::Partition;
use tickfold_core::ids::WabaId;
use tickfold_core::raw::{self, RawRecord, WebhookHeaders, partition_of};
use tickfold_core::records::Topic;
use tickfold_core::time::Timestamp;
use tickfold_core::{Overlay, fold, route};
use tickfold_log::{Append, Header, Log, MemLog, TopicPartition, TopicSpec};
use tickfold_proto::admin::v1::admin_service_client::AdminServiceClient;
use tickfold_proto::query::v1::query_service_client::QueryServiceClient;
use tickfold_proto::query::v1::watch_service_client::WatchServiceClient;
use tickfold_query::{
    Auth, Clock, Door, Error, History, Moment, NotThen, Parts, Peers, QueryOptions, QueryState,
    QueryStatus, Reads, Reason, Role, RoleOf, run,
};
use tickfold_store::{MemStores, PartitionStore, Snapshot, StoreHead, Stores};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

/// Partitions of the raw topic.
pub(crate) const P: u32 = 2;
/// 2026-11-20T00:00:00Z in seconds.
pub(crate) const T0: i64 = 1_795_132_800;

/// The raw topic.
pub(crate) const RAW: &str = "wa.webhook.raw.v1";

/// A running server.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) stores: MemStores,
    pub(crate) log: MemLog,
    pub(crate) status: QueryStatus,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: JoinHandle<Result<(), Error>>,
    pub(crate) channel: Channel,
    pub(crate) peers: Peers,
    pub(crate) door: Door,
    /// Of partitions that do not stand as the world has it: 0 is owned and the others are followed.
    roles: Arc<Mutex<BTreeMap<u32, Role>>>,
}

impl World {
    /// A server whose stores are not open, without other nodes.
    pub(crate) async fn closed(options: QueryOptions) -> Self {
        Self::among(|_| Peers::alone(), options).await
    }

    /// A server whose stores are not open, among the nodes that it is given once it has an address.
    pub(crate) async fn among(
        peers: impl FnOnce(SocketAddr) -> Peers,
        options: QueryOptions,
    ) -> Self {
        Self::build(peers, options, Auth::default()).await
    }

    /// One that knows its callers, without other nodes.
    pub(crate) async fn guarded(auth: Auth, options: QueryOptions) -> Self {
        Self::build(|_| Peers::alone(), options, auth).await
    }

    /// One that knows its callers, among others.
    pub(crate) async fn among_guarded(peers: impl FnOnce(SocketAddr) -> Peers, auth: Auth) -> Self {
        Self::build(peers, QueryOptions::default(), auth).await
    }

    async fn build(
        peers: impl FnOnce(SocketAddr) -> Peers,
        options: QueryOptions,
        auth: Auth,
    ) -> Self {
        let is_plain = auth.tls.is_none();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stores, log) = (MemStores::default(), MemLog::new(T0 * 1_000));
        let status = QueryStatus::new(P);
        let shutdown = CancellationToken::new();
        let (peers, door) = (peers(address), Door::default());
        let roles = Arc::new(Mutex::new(BTreeMap::new()));
        let told = Arc::clone(&roles);
        let parts = Parts {
            listener,
            auth,
            log: Arc::new(log.clone()),
            topic_prefix: "wa".to_owned(),
            options,
            peers: peers.clone(),
            reads: Some(Reads {
                stores: Arc::new(stores.clone()),
                partition_count: P,
                role: RoleOf::new(move |partition| {
                    let usual = if partition == 0 { Role::Owner } else { Role::Follower };
                    told.lock().unwrap().get(&partition).copied().unwrap_or(usual)
                }),
                history: Arc::new(NoHistory),
                clock: Clock::new(|| Timestamp::from_millis((T0 + 100) * 1_000 + 250)),
                status: status.clone(),
            }),
            services: tonic::service::Routes::default(),
            door: door.clone(),
        };
        let server = tokio::spawn(run(parts, shutdown.clone()));
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel =
            if is_plain { endpoint.connect().await.unwrap() } else { endpoint.connect_lazy() };
        Self { address, stores, log, status, shutdown, server, channel, peers, door, roles }
    }

    /// A server with open, empty stores and their writers.
    pub(crate) async fn open() -> (Self, Writers) {
        Self::open_with(QueryOptions::default()).await
    }

    pub(crate) async fn open_with(options: QueryOptions) -> (Self, Writers) {
        let world = Self::closed(options).await;
        let writers = Writers::open(&world.stores);
        world.state(&QueryState::Serving).await;
        (world, writers)
    }

    /// How the node stands to a partition from now on; `None`: as usual.
    pub(crate) fn stands(&self, partition: u32, role: Option<Role>) {
        let mut roles = self.roles.lock().unwrap();
        match role {
            Some(role) => roles.insert(partition, role),
            None => roles.remove(&partition),
        };
    }

    /// Waits for a state of the server.
    pub(crate) async fn state(&self, wanted: &QueryState) {
        let mut states = self.status.subscribe();
        let reached = states.wait_for(|state| state == wanted);
        tokio::time::timeout(Duration::from_secs(5), reached).await.unwrap().unwrap();
    }

    /// Puts what the writers folded into the raw topic, at the offsets they folded it at.
    pub(crate) async fn append(&self, writers: &mut Writers) {
        let name = RAW.to_owned();
        let spec = TopicSpec { name, partitions: P, compacted: false };
        self.log.ensure_topics(&[spec]).await.unwrap();
        self.log.append(std::mem::take(&mut writers.folded)).await.unwrap();
    }

    /// Creates the derived topics.
    pub(crate) async fn topics(&self) {
        let spec = |topic: Topic| TopicSpec {
            name: format!("wa.{}", topic.name()),
            partitions: P,
            compacted: topic.is_table(),
        };
        self.log.ensure_topics(&Topic::ALL.map(spec)).await.unwrap();
    }

    /// Puts what the fold told into the derived topics.
    pub(crate) async fn publish(&self, writers: &mut Writers) {
        self.topics().await;
        self.log.append(std::mem::take(&mut writers.derived)).await.unwrap();
    }

    pub(crate) fn watch(&self) -> WatchServiceClient<Channel> {
        WatchServiceClient::new(self.channel.clone())
    }

    pub(crate) fn query(&self) -> QueryServiceClient<Channel> {
        QueryServiceClient::new(self.channel.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }
}

/// The writers of all partitions.
pub(crate) struct Writers {
    stores: BTreeMap<u32, Box<dyn PartitionStore>>,
    /// What was folded and is not in the log.
    folded: Vec<Append>,
    /// What the fold told and is not in the log.
    derived: Vec<Append>,
    pub(crate) now_ms: i64,
}

impl Writers {
    pub(crate) fn open(stores: &MemStores) -> Self {
        let stores = (0..P).map(|partition| (partition, stores.open(partition).unwrap())).collect();
        Self::of(stores)
    }

    fn of(stores: BTreeMap<u32, Box<dyn PartitionStore>>) -> Self {
        Self { stores, folded: Vec::new(), derived: Vec::new(), now_ms: (T0 + 60) * 1_000 }
    }

    /// The writer of one partition alone.
    pub(crate) fn open_only(stores: &MemStores, partition: u32) -> Self {
        let stores = BTreeMap::from([(partition, stores.open(partition).unwrap())]);
        Self::of(stores)
    }

    /// Routes and folds a webhook, and returns the partitions and offsets it went to.
    pub(crate) fn post(&mut self, body: &str) -> Vec<(u32, u64)> {
        let headers = WebhookHeaders {
            signature: format!("sha256={}", "0".repeat(64)),
            received_time: Timestamp::from_millis(self.now_ms - 5),
            app: "main".into(),
            secret_id: "s1".into(),
            request_id: "r".into(),
            partition_count: P,
        };
        let places = route(body.as_bytes(), P);
        let fold = |place: route::Destination| {
            let offset = self.fold(place.partition, &headers.encode(), body.as_bytes());
            (place.partition, offset)
        };
        places.into_iter().map(fold).collect()
    }

    /// Folds a tick.
    pub(crate) fn tick(&mut self, partition: u32) -> u64 {
        self.fold(partition, &raw::tick_headers(P), b"")
    }

    fn fold(&mut self, partition: u32, headers: &[(&str, String)], value: &[u8]) -> u64 {
        let header = |(name, value): &(&str, String)| Header {
            name: (*name).to_owned().into(),
            value: value.clone().into(),
        };
        self.folded.push(Append {
            to: TopicPartition::new(RAW, partition),
            key: None,
            value: Some(value.to_vec().into()),
            headers: headers.iter().map(header).collect(),
            timestamp_ms: Some(self.now_ms),
        });
        let store = self.stores.get_mut(&partition).unwrap();
        let head = store.store_head();
        let record = RawRecord {
            offset: head.cursor,
            appended: Timestamp::from_millis(self.now_ms),
            headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
            value: Some(value),
        };
        let mut overlay = Overlay::default();
        let told =
            fold(&mut overlay, &**store, Partition { id: partition, count: P }, &record).unwrap();
        self.derived.extend(told.into_iter().map(|output| {
            Append {
                to: TopicPartition::new(format!("wa.{}", output.topic.name()), partition),
                key: Some(output.key.into()),
                value: output.value,
                headers: output
                    .headers
                    .into_iter()
                    .map(|(name, value)| Header { name: name.into(), value })
                    .collect(),
                timestamp_ms: Some(output.timestamp.as_millis()),
            }
        }));
        let to = StoreHead {
            cursor: head.cursor + 1,
            head: overlay.head.unwrap(),
            digest: store.digest_after(&overlay).unwrap(),
            ..head
        };
        store.write(head.cursor, &overlay, to).unwrap();
        head.cursor
    }
}

/// An account that lives in the partition.
pub(crate) fn waba(partition: u32) -> String {
    let mut ids = (100..).map(|n: u64| n.to_string());
    ids.find(|id| partition_of(&WabaId::from(id.as_str()), P) == partition).unwrap()
}

/// A webhook with one change.
pub(crate) fn change(waba: &str, field: &str, value: &str) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{waba}","time":{T0},
        "changes":[{{"field":"{field}","value":{value}}}]}}]}}"#
    )
}

/// A webhook with one status from number 1 to party 49170, its time in seconds after [`T0`].
pub(crate) fn status(waba: &str, wamid: &str, word: &str, after: i64, more: &str) -> String {
    let time = T0 + after;
    change(
        waba,
        "messages",
        &format!(
            r#"{{"messaging_product":"whatsapp",
            "metadata":{{"display_phone_number":"15550001111","phone_number_id":"1"}},
            "statuses":[{{"id":"{wamid}","status":"{word}","timestamp":"{time}",
            "recipient_id":"49170"{more}}}]}}"#
        ),
    )
}

/// A webhook with one inbound text from party 49170 to number 1.
pub(crate) fn inbound(waba: &str, wamid: &str, after: i64) -> String {
    let time = T0 + after;
    change(
        waba,
        "messages",
        &format!(
            r#"{{"messaging_product":"whatsapp",
            "metadata":{{"display_phone_number":"15550001111","phone_number_id":"1"}},
            "messages":[{{"id":"{wamid}","from":"49170","timestamp":"{time}","type":"text",
            "text":{{"body":"hi"}}}}]}}"#
        ),
    )
}

/// A webhook with one message to number 1, its sender and content in `rest`.
pub(crate) fn message(waba: &str, wamid: &str, after: i64, rest: &str) -> String {
    let time = T0 + after;
    change(
        waba,
        "messages",
        &format!(
            r#"{{"messaging_product":"whatsapp",
            "metadata":{{"display_phone_number":"15550001111","phone_number_id":"1"}},
            "messages":[{{"id":"{wamid}","timestamp":"{time}",{rest}}}]}}"#
        ),
    )
}

/// Members of a status with a price.
pub(crate) fn price(category: &str, kind: &str) -> String {
    format!(r#","pricing":{{"pricing_model":"PMP","type":"{kind}","category":"{category}"}}"#)
}

/// So many errors of a failed status, with 4,000 bytes of text each: facts that fill a reply.
pub(crate) fn long_errors(count: i64) -> String {
    let text = "x".repeat(4_000);
    let errors: Vec<_> =
        (0..count).map(|code| format!(r#"{{"code":{code},"title":"{text}"}}"#)).collect();
    format!(r#","errors":[{}]"#, errors.join(","))
}

/// Reason of an error, and its metadata.
pub(crate) fn reason(status: &Status) -> (String, Vec<(String, String)>) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "tickfold");
    let mut metadata: Vec<_> = info.metadata.clone().into_iter().collect();
    metadata.sort();
    (info.reason.clone(), metadata)
}

/// Fields that the error blames.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

/// Seconds after [`T0`].
pub(crate) fn after(time: Option<&prost_types::Timestamp>) -> Option<i64> {
    time.map(|time| time.seconds - T0)
}

/// No state of then: making one takes more than this crate has. At offsets that are numbers of reasons it
/// fails for that reason, and at the last one it never ends.
#[derive(Debug)]
struct NoHistory;

impl History for NoHistory {
    fn at(
        &self,
        partition: u32,
        moment: Moment,
        _: tokio::time::Instant,
    ) -> futures_util::future::BoxFuture<'_, Result<Box<dyn Snapshot>, NotThen>> {
        let message = format!("{partition} at {moment:?}");
        let number = match moment {
            Moment::Offset(u64::MAX) => return Box::pin(std::future::pending()),
            Moment::Offset(number) => usize::try_from(number).unwrap_or(usize::MAX),
            Moment::Time(_) => usize::MAX,
        };
        let reason = Reason::ALL.get(number).copied().unwrap_or(Reason::RawTrimmed);
        Box::pin(async move { Err(NotThen { reason, message }) })
    }
}
