//! The other nodes: which of them owns which partition, and how they are asked.
//!
//! The owner of a partition writes its address beside every position that it commits, so the log is
//! the registry: it is read at intervals while any partition is elsewhere, and at once when somebody
//! turns out not to be the owner any more. A node that does not answer is not asked again for a
//! moment, so that its absence costs the first caller a share of its deadline and the next nothing. Only
//! a caller who had time for it says so: one in a hurry learns nothing of the node.
//!
//! It leaves to others: what to make of the answers (`query::spread`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

use crate::access::{Access, behalf};
use crate::metrics;
use crate::reasons::Failure;

/// Metadata of calls between nodes and of their answers: partitions, with commas. A call that has it
/// comes from another node: it is answered from those of these partitions that this node has, or had
/// last, and nobody else is asked.
const PARTITIONS: &str = "tickfold-partitions";

/// How often the owners are read while a partition is elsewhere.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// How old the owners may be for one who met a wrong one. Also the pause between two reads, so that
/// a wave of such calls shares one.
const FRESH: Duration = Duration::from_millis(100);

/// How long a node that did not answer is not asked again.
const AWAY: Duration = Duration::from_secs(1);

/// How long a node may be silent before it is asked whether it lives, and then until it says so, at
/// most; and the share of the time that is left, if that is less.
const PATIENCE_MAX: Duration = Duration::from_millis(500);
const PATIENCE_SHARE: u32 = 8;

/// How long nothing may come on a connection before it is asked for a sign of life, and then until one
/// comes. What is silent for longer is replaced: TCP alone would hold on to it for a quarter of an hour, while
/// the node at its other end lives, or another one has its address.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// The address of the owner of each partition, if it has one; `None` if they cannot be read now.
type Addresses = Option<Vec<Option<String>>>;

/// Reads the address of the owner of each partition, as the owners wrote it last. Clones read the
/// same.
#[derive(Clone)]
pub struct Owners(Arc<dyn Fn() -> BoxFuture<'static, Addresses> + Send + Sync>);

impl Owners {
    /// Asks the function each time.
    pub fn new(read: impl Fn() -> BoxFuture<'static, Addresses> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owners")
    }
}

/// Says whether this node has a partition: whether the group assigned it, live or not.
#[derive(Clone)]
struct IsHere(Arc<dyn Fn(u32) -> bool + Send + Sync>);

impl fmt::Debug for IsHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IsHere")
    }
}

/// The nodes beside this one. Clones are the same.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    own_address: String,
    partition_count: u32,
    is_here: IsHere,
    owners: Option<Owners>,
    map: watch::Sender<Map>,
    /// Somebody wants the owners read now.
    wanted: Notify,
    nodes: Mutex<BTreeMap<String, Node>>,
    credentials: Mutex<Credentials>,
}

/// How this node shows the others who it is, and knows them.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A token of scope `node`.
    pub token: Option<String>,
    /// How to speak TLS with them; `None`: plain text.
    pub tls: Option<ClientTlsConfig>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// The owners as they were read last.
#[derive(Debug, Default)]
struct Map {
    addresses: Vec<Option<String>>,
    read: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Node {
    channel: Channel,
    /// A connection of its own for the question whether it lives: the other one has as many calls at a
    /// time as the node allows, and all of them may be waiting for a position.
    pulse: Channel,
    /// Whether it ever answered: an address that nobody is at yet, or any more, is no owner.
    reached: bool,
    away_until: Option<Instant>,
}

/// A question to a node, ready to be sent.
struct Asking<Q> {
    request: Request<Q>,
    path: PathAndQuery,
    channel: Channel,
    pulse: Channel,
    /// Time until its deadline.
    left: Duration,
}

/// Partitions by who can be asked of them.
#[derive(Debug, Default)]
pub struct Split {
    /// This node has them.
    pub here: BTreeSet<u32>,
    /// Another node owns them, by its address.
    pub at: BTreeMap<String, BTreeSet<u32>>,
    /// Nobody is known to own them.
    pub nowhere: BTreeSet<u32>,
}

impl Peers {
    /// No other node: every partition is here.
    pub fn alone() -> Self {
        Self::build(String::new(), 0, |_| true, None)
    }

    /// The nodes that `owners` names, without this one, which is known by `own_address`. `is_here`
    /// says which of the partitions this node has.
    pub fn new(
        own_address: impl Into<String>,
        partition_count: u32,
        is_here: impl Fn(u32) -> bool + Send + Sync + 'static,
        owners: Owners,
    ) -> Self {
        Self::build(own_address.into(), partition_count, is_here, Some(owners))
    }

    fn build(
        own_address: String,
        partition_count: u32,
        is_here: impl Fn(u32) -> bool + Send + Sync + 'static,
        owners: Option<Owners>,
    ) -> Self {
        Self(Arc::new(Inner {
            own_address,
            partition_count,
            is_here: IsHere(Arc::new(is_here)),
            owners,
            map: watch::Sender::default(),
            wanted: Notify::new(),
            nodes: Mutex::default(),
            credentials: Mutex::default(),
        }))
    }

    /// What this node shows of itself from now on, on new connections.
    pub fn identify(&self, credentials: Credentials) {
        let tls = credentials.tls.clone();
        *self.credentials() = credentials;
        for (address, node) in self.nodes().iter_mut() {
            if let Ok(endpoint) = endpoint(address, tls.clone()) {
                (node.channel, node.pulse) = (endpoint.connect_lazy(), endpoint.connect_lazy());
            }
        }
    }

    /// True if this node has the partition.
    pub fn is_here(&self, partition: u32) -> bool {
        (self.0.is_here.0)(partition)
    }

    /// Who can be asked of these partitions.
    pub fn split(&self, partitions: impl IntoIterator<Item = u32>) -> Split {
        let mut split = Split::default();
        for partition in partitions {
            if self.is_here(partition) {
                split.here.insert(partition);
            } else if let Some(address) = self.owner(partition) {
                split.at.entry(address).or_default().insert(partition);
            } else {
                split.nowhere.insert(partition);
            }
        }
        split
    }

    /// The address of the other node that owns a partition, if one is known to.
    pub fn owner(&self, partition: u32) -> Option<String> {
        let map = self.0.map.borrow();
        let address = map.addresses.get(partition as usize)?.clone()?;
        (!address.is_empty() && address != self.0.own_address).then_some(address)
    }

    /// True if the log names this node as the owner, whoever has the partition by now.
    pub(crate) fn is_named(&self, partition: u32) -> bool {
        let map = self.0.map.borrow();
        map.addresses
            .get(partition as usize)
            .is_some_and(|address| address.as_ref() == Some(&self.0.own_address))
    }

    /// True if another node is known to own the partition, and was not silent a moment ago.
    pub(crate) fn can_be_asked(&self, partition: u32) -> bool {
        let Some(owner) = self.owner(partition) else { return false };
        let away_until = self.nodes().get(&owner).and_then(|node| node.away_until);
        away_until.is_none_or(|until| Instant::now() >= until)
    }

    /// True if the partition is elsewhere and its owner was reached.
    pub fn is_reached(&self, partition: u32) -> bool {
        let elsewhere = !self.is_here(partition);
        let Some(owner) = self.owner(partition).filter(|_| elsewhere) else { return false };
        self.nodes().get(&owner).is_some_and(|node| node.reached)
    }

    /// Asks a node of these partitions, which it is told in the metadata; [`named_partitions`] reads
    /// them there. `path` is that of the method. A status with one of our reasons is the node's;
    /// any other says that it could not be reached before `deadline`, or within a share of the time
    /// until then. The node is told what the caller may, and answers accordingly.
    pub async fn ask<Q, R>(
        &self,
        address: &str,
        path: String,
        request: Q,
        partitions: &BTreeSet<u32>,
        deadline: Instant,
        access: &Access,
    ) -> Result<Response<R>, Status>
    where
        Q: prost::Message + Clone + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let asking = || self.asking(address, &path, request.clone(), partitions, deadline, access);
        let call = async |mut client: Grpc<Channel>, request, path| {
            client.unary(request, path, ProstCodec::default()).await
        };
        self.sent(address, asking, call).await
    }

    /// The same of a method that answers with a stream. The node's patience ends when it opens: how long
    /// its parts may take is up to the deadline.
    pub(crate) async fn ask_stream<Q, R>(
        &self,
        address: &str,
        path: String,
        request: Q,
        partitions: &BTreeSet<u32>,
        deadline: Instant,
        access: &Access,
    ) -> Result<Response<Streaming<R>>, Status>
    where
        Q: prost::Message + Clone + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let asking = || self.asking(address, &path, request.clone(), partitions, deadline, access);
        let call = async |mut client: Grpc<Channel>, request, path| {
            client.server_streaming(request, path, ProstCodec::default()).await
        };
        self.sent(address, asking, call).await
    }

    /// Has a call made, once more if its connection was closing.
    async fn sent<Q, A>(
        &self,
        address: &str,
        asking: impl Fn() -> Result<Asking<Q>, Status>,
        call: impl AsyncFn(Grpc<Channel>, Request<Q>, PathAndQuery) -> Result<Response<A>, Status>,
    ) -> Result<Response<A>, Status> {
        match self.sent_once(address, asking()?, &call).await {
            Err(status) if is_of_a_closing_connection(&status) => {
                self.sent_once(address, asking()?, &call).await
            }
            answered => answered,
        }
    }

    /// Has a call made as soon as the node can be reached, and notes whether it answered.
    async fn sent_once<Q, A>(
        &self,
        address: &str,
        asking: Asking<Q>,
        call: &impl AsyncFn(Grpc<Channel>, Request<Q>, PathAndQuery) -> Result<Response<A>, Status>,
    ) -> Result<Response<A>, Status> {
        let Asking { request, path, channel, pulse, left } = asking;
        let mut client = Grpc::new(channel);
        let answer = async {
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            call(client, request, path).await
        };
        let answered = while_alive(answer, &pulse, left).await;
        self.heard(address, answered.as_ref().err());
        answered
    }

    /// What a node is asked, unless it did not answer a moment ago.
    fn asking<Q>(
        &self,
        address: &str,
        path: &str,
        request: Q,
        partitions: &BTreeSet<u32>,
        deadline: Instant,
        access: &Access,
    ) -> Result<Asking<Q>, Status> {
        let node = self.node(address)?;
        if node.away_until.is_some_and(|until| Instant::now() < until) {
            return Err(Status::unavailable("the node did not answer a moment ago"));
        }
        let path = PathAndQuery::try_from(path).map_err(|_| Status::internal("odd path"))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = Request::new(request);
        request.set_timeout(left);
        name_partitions(request.metadata_mut(), partitions);
        behalf::write(request.metadata_mut(), access);
        self.credentials().sign(request.metadata_mut());
        Ok(Asking { request, path, channel: node.channel, pulse: node.pulse, left })
    }

    /// Waits until the owners are as they were written a moment ago, and no longer than `patience`. Without
    /// an answer the old map has to do.
    pub(crate) async fn refreshed(&self, patience: Duration) {
        self.read_within(FRESH, patience).await;
    }

    /// Whether the owners were read anew, within `patience`.
    pub(crate) async fn read_anew(&self, patience: Duration) -> bool {
        self.read_within(Duration::ZERO, patience).await
    }

    async fn read_within(&self, age: Duration, patience: Duration) -> bool {
        let now = Instant::now();
        let fresh = |map: &Map| map.read.is_some_and(|read| read + age > now);
        self.0.wanted.notify_one();
        let mut map = self.0.map.subscribe();
        // The sender lives as long as this.
        tokio::time::timeout(patience, map.wait_for(fresh)).await.is_ok()
    }

    /// Keeps the owners up to date, for as long as it is polled.
    pub(crate) async fn keep_up(&self) {
        let Some(owners) = &self.0.owners else { return std::future::pending().await };
        let partition_count = self.0.partition_count;
        loop {
            if (0..partition_count).any(|partition| !self.is_here(partition)) {
                if let Some(addresses) = (owners.0)().await {
                    self.0.map.send_replace(Map { addresses, read: Some(Instant::now()) });
                }
                self.reach().await;
                tokio::time::sleep(FRESH).await;
            }
            tokio::select! {
                () = tokio::time::sleep(READ_INTERVAL) => {}
                () = self.0.wanted.notified() => {}
            }
        }
    }

    /// Greets owners that were not reached yet, and forgets nodes that own nothing any more.
    async fn reach(&self) {
        let partitions = 0..self.0.partition_count;
        let owners: BTreeSet<_> =
            partitions.filter_map(|partition| self.owner(partition)).collect();
        self.nodes().retain(|address, _| owners.contains(address));
        for address in owners {
            if self.nodes().get(&address).is_some_and(|node| node.reached) {
                continue;
            }
            let Ok(node) = self.node(&address) else { continue };
            let mut health = HealthClient::new(node.pulse);
            let answers = health.check(HealthCheckRequest::default());
            let Ok(Ok(_)) = tokio::time::timeout(PATIENCE_MAX, answers).await else { continue };
            tracing::info!(address, "node reached");
            if let Some(node) = self.nodes().get_mut(&address) {
                node.reached = true;
            }
        }
    }

    fn node(&self, address: &str) -> Result<Node, Status> {
        if let Some(node) = self.nodes().get(address) {
            return Ok(node.clone());
        }
        let invalid = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        let tls = self.credentials().tls.clone();
        let endpoint = endpoint(address, tls).map_err(invalid)?;
        let (channel, pulse) = (endpoint.connect_lazy(), endpoint.connect_lazy());
        let node = Node { channel, pulse, reached: false, away_until: None };
        Ok(self.nodes().entry(address.to_owned()).or_insert(node).clone())
    }

    /// Notes what came of a question.
    fn heard(&self, address: &str, failed: Option<&Status>) {
        // Our own deadline says nothing of the node.
        let silent = failed.is_some_and(|status| {
            Failure::of_peer(status).is_none()
                && !matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled)
        });
        if let Some(node) = self.nodes().get_mut(address) {
            node.reached |= failed.is_none();
            if silent {
                node.away_until = Some(Instant::now() + AWAY);
            } else if failed.is_none_or(|status| Failure::of_peer(status).is_some()) {
                node.away_until = None;
            }
        }
        if silent {
            metrics::unreachable();
            let status = failed.map(Status::message).unwrap_or_default();
            tracing::debug!(address, status, "node not reached");
            self.0.wanted.notify_one();
        }
    }

    /// What these two guard is whole at any moment, so a panic elsewhere does not spoil it.
    fn credentials(&self) -> MutexGuard<'_, Credentials> {
        self.0.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call was not made because the node said goodbye to its connection, as it does to old ones. While another
/// call is open on such a connection, hyper takes one more for it and fails that one; the next one has a new connection.
fn is_of_a_closing_connection(status: &Status) -> bool {
    status.code() == Code::Cancelled && Failure::of_peer(status).is_none()
}

/// The partitions that another node asks of, or answered of; `None` if the metadata names none, so
/// that the caller is a client.
pub fn named_partitions(metadata: &MetadataMap) -> Option<BTreeSet<u32>> {
    let named = metadata.get(PARTITIONS)?.to_str().unwrap_or_default();
    Some(named.split(',').filter_map(|number| number.parse().ok()).collect())
}

pub(crate) fn name_partitions(metadata: &mut MetadataMap, partitions: &BTreeSet<u32>) {
    if let Ok(value) = partitions_text(partitions).parse() {
        metadata.insert(PARTITIONS, value);
    }
}

pub(crate) fn partitions_text(partitions: &BTreeSet<u32>) -> String {
    partitions.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

impl Credentials {
    fn sign(&self, metadata: &mut MetadataMap) {
        let value = self.token.as_ref().and_then(|token| format!("Bearer {token}").parse().ok());
        let Some(mut value): Option<AsciiMetadataValue> = value else { return };
        value.set_sensitive(true);
        metadata.insert("authorization", value);
    }
}

fn endpoint(
    address: &str,
    tls: Option<ClientTlsConfig>,
) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = match tls {
        None => Endpoint::from_shared(format!("http://{address}"))?,
        Some(tls) => Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?,
    };
    Ok(endpoint
        .connect_timeout(PATIENCE_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true))
}

/// Waits for an answer for as long as the node says that it lives: a slow one is not gone, and one that
/// may wait for a position is asked to.
async fn while_alive<T>(
    answer: impl Future<Output = Result<T, Status>>,
    pulse: &Channel,
    left: Duration,
) -> Result<T, Status> {
    let patience = PATIENCE_MAX.min(left / PATIENCE_SHARE);
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            answered = &mut answer => return answered,
            () = tokio::time::sleep(patience) => {}
        }
        let mut health = HealthClient::new(pulse.clone());
        let alive = tokio::time::timeout(patience, health.check(HealthCheckRequest::default()));
        tokio::select! {
            answered = &mut answer => return answered,
            alive = alive => match alive {
                Ok(Ok(_)) => {}
                Ok(Err(status)) if is_of_a_closing_connection(&status) => {}
                Ok(Err(status)) => return Err(Status::unavailable(status.message().to_owned())),
                Err(_) if patience < PATIENCE_MAX => {
                    return Err(Status::deadline_exceeded("no sign of the node in the time there was"));
                }
                Err(_) => return Err(Status::unavailable("the node is silent")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_in_metadata_and_nonsense_names_none() {
        let mut metadata = MetadataMap::new();
        assert_eq!(named_partitions(&metadata), None);
        name_partitions(&mut metadata, &BTreeSet::from([7, 0, 31]));
        assert_eq!(metadata.get(PARTITIONS).unwrap(), "0,7,31");
        assert_eq!(named_partitions(&metadata), Some(BTreeSet::from([0, 7, 31])));
        for nonsense in ["", ",", "-1", "all", "4294967296"] {
            metadata.insert(PARTITIONS, nonsense.parse().unwrap());
            assert_eq!(named_partitions(&metadata), Some(BTreeSet::new()), "{nonsense}");
        }
    }

    #[tokio::test]
    async fn a_caller_in_a_hurry_does_not_call_a_node_silent_for_all() {
        // It is connected to, and says nothing for now.
        let node = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = node.local_addr().unwrap().to_string();
        let owners = Owners::new(|| Box::pin(std::future::ready(None)));
        let peers = Peers::new("me:1", 1, |_| false, owners);
        let map = Map { addresses: vec![Some(address.clone())], read: None };
        peers.0.map.send_replace(map);
        let asked = async |left: Duration| {
            let deadline = Instant::now() + left;
            let path = "/tickfold/Any".to_owned();
            let (partitions, access) = (BTreeSet::from([0]), Access::unchecked());
            peers
                .ask::<(), ()>(&address, path, (), &partitions, deadline, &access)
                .await
                .unwrap_err()
        };
        let full = PATIENCE_MAX * PATIENCE_SHARE;
        let begun = Instant::now();
        assert_eq!(asked(full / 2).await.code(), Code::DeadlineExceeded);
        assert!(begun.elapsed() < full / 2, "a share of the time: {:?}", begun.elapsed());
        assert!(peers.can_be_asked(0));
        assert_eq!(asked(full * 2).await.code(), Code::Unavailable);
        assert!(!peers.can_be_asked(0));
    }

    #[test]
    fn partitions_are_split_by_who_has_them() {
        let owners = Owners::new(|| Box::pin(std::future::ready(None)));
        let peers = Peers::new("me:1", 6, |partition| partition < 2, owners);
        let owner = |address: &str| Some(address.to_owned());
        let addresses = vec![owner("b:1"), None, owner("b:1"), owner("me:1"), None, owner("")];
        peers.0.map.send_replace(Map { addresses, read: None });
        let Split { here, at, nowhere } = peers.split(0..7);
        assert_eq!(here, BTreeSet::from([0, 1]), "whatever the owners wrote last");
        assert_eq!(at, BTreeMap::from([("b:1".to_owned(), BTreeSet::from([2]))]));
        // What this node owned last is nobody's until the next owner writes.
        assert_eq!(nowhere, BTreeSet::from([3, 4, 5, 6]));
    }
}
