//! Start, health, reflection, and the end within its limit.

use std::time::{Duration, Instant};

use tickfold_query::{Error, QueryOptions, QueryState};
use tickfold_store::Stores;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::world::{World, Writers};

const QUERY: &str = "tickfold.query.v1.QueryService";
const ADMIN: &str = "tickfold.admin.v1.AdminService";

async fn health(world: &World, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut client = HealthClient::new(world.channel.clone());
    client.check(request).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn health_serves_once_every_store_is_open_and_not_after_shutdown() {
    let world = World::closed(QueryOptions::default()).await;
    for service in ["", QUERY] {
        assert_eq!(health(&world, service).await, ServingStatus::NotServing, "{service}");
    }
    assert_eq!(health(&world, ADMIN).await, ServingStatus::Serving);
    let one = world.stores.open(0).unwrap();
    world.state(&QueryState::Opening(vec![1])).await;
    assert!(!world.status.is_serving());
    drop(one);

    let mut client = HealthClient::new(world.channel.clone());
    let request = HealthCheckRequest { service: QUERY.to_owned() };
    let mut watch = client.watch(request).await.unwrap().into_inner();
    let mut next = async || watch.next().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::NotServing);
    let _writers = Writers::open(&world.stores);
    assert_eq!(next().await, ServingStatus::Serving);
    world.state(&QueryState::Serving).await;
    assert!(world.status.is_serving());
    assert_eq!(health(&world, "").await, ServingStatus::Serving);
    world.shutdown.cancel();
    assert_eq!(next().await, ServingStatus::NotServing);
    drop(watch);
    world.server.await.unwrap().unwrap();
    assert_eq!(world.status.get(), QueryState::Stopped);
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let world = World::closed(QueryOptions::default()).await;
    macro_rules! services {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            let request = tonic_reflection::pb::$version::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut client = ServerReflectionClient::new(world.channel.clone());
            let requests = tokio_stream::iter([request]);
            let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
            let reply = replies.next().await.unwrap().unwrap().message_response;
            let Some(MessageResponse::ListServicesResponse(list)) = reply else {
                panic!("{reply:?}")
            };
            list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
        }};
    }
    for services in [services!(v1), services!(v1alpha)] {
        for service in [QUERY, ADMIN, "grpc.health.v1.Health"] {
            assert!(services.iter().any(|name| name == service), "{service} in {services:?}");
        }
    }
}

#[tokio::test]
async fn an_idle_client_does_not_hold_the_server_up() {
    let (world, _writers) = World::open().await;
    assert_eq!(health(&world, "").await, ServingStatus::Serving);
    let since = Instant::now();
    world.shutdown.cancel();
    world.server.await.unwrap().unwrap();
    // Well below the drain limit: the connection closed when it was asked to.
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_client_that_never_speaks_is_cut_at_the_drain_limit() {
    let options =
        QueryOptions { drain_limit: Duration::from_millis(300), ..QueryOptions::default() };
    let (world, _writers) = World::open_with(options).await;
    // It connects and says nothing, not even the preface: tonic alone would wait for ever.
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(health(&world, "").await, ServingStatus::Serving);
    let since = Instant::now();
    world.shutdown.cancel();
    world.server.await.unwrap().unwrap();
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    // Not only does the server return: the connection is gone.
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(2), silent.read_to_end(&mut rest));
    let _ = closed.await.expect("the connection is closed");
}

#[tokio::test]
async fn a_client_without_calls_that_ignores_the_goodbye_is_cut_long_before_the_drain_limit() {
    let (world, _writers) = World::open().await;
    let _silent = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(health(&world, "").await, ServingStatus::Serving);
    let since = Instant::now();
    world.shutdown.cancel();
    world.server.await.unwrap().unwrap();
    assert!(since.elapsed() < QueryOptions::default().drain_limit / 3, "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_connection_above_the_cap_waits_for_a_place() {
    let options = QueryOptions { connections_max: 1, ..QueryOptions::default() };
    let (world, _writers) = World::open_with(options).await;
    assert_eq!(health(&world, "").await, ServingStatus::Serving);
    // The preface of HTTP/2 and its empty settings; the answer begins with those of the server.
    let mut second = TcpStream::connect(world.address).await.unwrap();
    second.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    let early = tokio::time::timeout(Duration::from_millis(300), second.read_exact(&mut frame));
    assert!(early.await.is_err(), "served above the cap: {frame:?}");
    // The first one goes.
    drop(world.channel);
    let served = tokio::time::timeout(Duration::from_secs(30), second.read_exact(&mut frame));
    served.await.expect("it has the place").unwrap();
    assert_eq!(frame[3], 4, "settings");
    world.shutdown.cancel();
    drop(second);
    world.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused() {
    use std::sync::Arc;
    use tickfold_query::{Auth, Door, Parts, Peers, run};
    let parts = Parts {
        listener: tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap(),
        auth: Auth::default(),
        log: Arc::new(tickfold_log::MemLog::default()),
        topic_prefix: "wa".into(),
        options: QueryOptions::default(),
        peers: Peers::alone(),
        reads: None,
        services: tonic::service::Routes::default(),
        door: Door::default(),
    };
    let refused = Box::pin(run(parts, tokio_util::sync::CancellationToken::new())).await;
    assert!(matches!(refused, Err(Error::NotLoopback { .. })), "{refused:?}");
}
