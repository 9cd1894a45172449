//! Start, health, reflection, and the end within its limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::watch_transitions_response::Item;
use tickfold_query::{Auth, Error, QueryOptions, QueryState, ServerPem, ServerTls};
use tickfold_store::Stores;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::callers::{Ca, auth};
use crate::world::{World, Writers, status, waba};

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
    // The answer begins with the settings of the server.
    let mut second = TcpStream::connect(world.address).await.unwrap();
    second.write_all(PREFACE).await.unwrap();
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

/// The preface of HTTP/2 and its empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Kinds of frames.
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// The kind of the next frame.
async fn next_frame(from: &mut TcpStream) -> u8 {
    frame(from).await.expect("a frame").0
}

/// The next frame, its kind and what is in it, or how the connection ended.
async fn frame(from: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let read = async {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let mut rest = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        from.read_exact(&mut rest).await?;
        Ok((head[3], rest))
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("a frame or an end")
}

/// What kinds of frames came until the connection ended.
async fn until_the_end(mut of: TcpStream, answers_pings: bool) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Ok((kind, content)) = frame(&mut of).await {
        kinds.push(kind);
        if kind == PING && answers_pings {
            let answer = [b"\0\0\x08\x06\x01\0\0\0\0".as_slice(), &content].concat();
            of.write_all(&answer).await.unwrap();
        }
    }
    kinds
}

#[tokio::test]
async fn who_answers_pings_is_kept_and_who_does_not_is_cut() {
    let options = QueryOptions {
        keepalive_interval: Duration::from_millis(200),
        keepalive_timeout: Duration::from_secs(1),
        ..QueryOptions::default()
    };
    let (world, _writers) = World::open_with(options).await;
    let (mut answers, mut silent) = (
        TcpStream::connect(world.address).await.unwrap(),
        TcpStream::connect(world.address).await.unwrap(),
    );
    for stream in [&mut answers, &mut silent] {
        stream.write_all(PREFACE).await.unwrap();
    }
    let pings = |kinds: &[u8]| kinds.iter().filter(|kind| **kind == PING).count();
    let answered = tokio::spawn(until_the_end(answers, true));
    let begun = Instant::now();
    let told = until_the_end(silent, false).await;
    let cut = begun.elapsed();
    assert_eq!(pings(&told), 1, "{told:?} in {cut:?}");
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&cut), "{cut:?}");
    // Longer than the other one had.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!answered.is_finished(), "it was cut too");
    world.shutdown.cancel();
    let told = answered.await.unwrap();
    assert!(pings(&told) > 3, "{told:?}");
}

#[tokio::test]
async fn a_connection_of_age_is_asked_to_go_and_its_calls_are_finished() {
    let options =
        QueryOptions { connection_age_max: Duration::from_millis(500), ..QueryOptions::default() };
    let (world, mut writers) = World::open_with(options).await;
    writers.post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    world.publish(&mut writers).await;
    let mut idle = TcpStream::connect(world.address).await.unwrap();
    idle.write_all(PREFACE).await.unwrap();
    let request = pb::WatchTransitionsRequest { from_beginning: true, ..Default::default() };
    let mut watch = world.watch().watch_transitions(request).await.unwrap().into_inner();
    let told = until_the_end(idle, true).await;
    assert!(told.contains(&GOAWAY), "{told:?}");
    // The other connection is as old, and its stream goes on; a new call gets a new connection.
    writers.post(&status(&waba(0), "wamid.B", "sent", 2, ""));
    world.publish(&mut writers).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let response = tokio::time::timeout(Duration::from_secs(30), watch.message()).await;
        if let Some(Item::Transition(transition)) = response.unwrap().unwrap().unwrap().item {
            told.push(transition.wamid);
        }
    }
    assert_eq!(told, ["wamid.A", "wamid.B"]);
    // This client fails one call of those that it takes for a connection that is closing.
    let _may_fail =
        HealthClient::new(world.channel.clone()).check(HealthCheckRequest::default()).await;
    assert_eq!(health(&world, "").await, ServingStatus::Serving);
}

#[tokio::test]
async fn a_client_that_does_not_begin_to_speak_gives_its_place_away() {
    let ca = Ca::new();
    let (certificate, key) = ca.issue("node.internal");
    let (certificates, key) = (certificate.into_bytes(), key.into_bytes());
    let tls = ServerTls::new(&ServerPem { certificates, key, client_ca: None }).unwrap();
    let (auth, _) = auth(Vec::new());
    let over_tls = World::guarded(Auth { tls: Some(tls), ..auth }, QueryOptions::default()).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(over_tls.address).await.unwrap();
    // Its handshake is all that it says.
    let mut shaken = connector.connect("node.internal".try_into().unwrap(), stream).await.unwrap();

    let options = QueryOptions { connections_max: 3, ..QueryOptions::default() };
    let world = World::closed(options).await;
    assert_eq!(health(&world, ADMIN).await, ServingStatus::Serving);
    let mut spoken = TcpStream::connect(world.address).await.unwrap();
    spoken.write_all(PREFACE).await.unwrap();
    assert_eq!(next_frame(&mut spoken).await, SETTINGS);
    // Half a preface is not a beginning. It takes the last place.
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    silent.write_all(&PREFACE[..10]).await.unwrap();
    let mut next = TcpStream::connect(world.address).await.unwrap();
    next.write_all(PREFACE).await.unwrap();
    assert_eq!(next_frame(&mut next).await, SETTINGS);
    for cut in [&mut silent as &mut (dyn AsyncRead + Unpin), &mut shaken] {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(30), cut.read_to_end(&mut rest));
        let _ = closed.await.expect("the connection is closed");
    }
    // Who has spoken is still there.
    spoken.write_all(b"\0\0\x08\x06\0\0\0\0\0pingpong").await.unwrap();
    while next_frame(&mut spoken).await != PING {}
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
