//! Waiting for positions, deadlines, overload, and stores that are not open.

use std::time::Duration;

use tickfold_proto::query::v1 as pb;
use tickfold_query::{QueryOptions, QueryState, Role};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::world::{World, Writers, reason, status, waba};

fn at(partition: u32, offset: u64) -> pb::GetMessageRequest {
    pb::GetMessageRequest {
        wamid: "wamid.A".into(),
        min_position: vec![pb::Position { partition, offset }],
        ..Default::default()
    }
}

#[tokio::test]
async fn a_read_waits_until_its_position_is_applied() {
    let (world, mut writers) = World::open().await;
    let mut client = world.query();
    let waiting = tokio::spawn(async move { client.get_message(at(1, 2)).await });
    // A read that does not wait passes the waiting one and finds nothing.
    let now = world.query().get_message(at(1, 0)).await.unwrap_err();
    assert_eq!(reason(&now).0, "MESSAGE_NOT_FOUND");
    writers.post(&status(&waba(1), "wamid.A", "sent", 0, ""));
    let (partition, offset) = writers.post(&status(&waba(1), "wamid.A", "read", 1, ""))[0];
    assert_eq!((partition, offset + 1), (1, 2));
    let reply = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(reply.message.unwrap().state(), pb::MessageState::Read);
    assert!(reply.as_of.unwrap().positions[1].offset >= 2);
}

#[tokio::test]
async fn a_position_that_does_not_come_is_told_before_the_callers_deadline() {
    let (world, mut writers) = World::open().await;
    writers.tick(1);
    let mut request = Request::new(at(1, 9));
    request.set_timeout(Duration::from_millis(300));
    let error = world.query().get_message(request).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let (word, metadata) = reason(&error);
    assert_eq!(word, "POSITION_NOT_REACHED");
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(metadata, [("applied", "1"), ("offset", "9"), ("partition", "1")]);
}

#[tokio::test]
async fn without_a_deadline_the_servers_own_counts() {
    let options =
        QueryOptions { request_timeout: Duration::from_millis(100), ..QueryOptions::default() };
    let (world, _writers) = World::open_with(options).await;
    let error = world.query().get_message(at(0, 1)).await.unwrap_err();
    assert_eq!(reason(&error).0, "POSITION_NOT_REACHED");
}

#[tokio::test]
async fn a_store_that_is_not_open_is_unavailable_and_worth_a_retry() {
    let world = World::closed(QueryOptions::default()).await;
    let error = world.query().get_message(at(0, 0)).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).0.as_str()), (Code::Unavailable, "STORE_NOT_OPEN"));
    let retry = error.get_error_details().retry_info().unwrap().retry_delay;
    assert_eq!(retry, Some(Duration::from_secs(1)));
    // Whoever waits for a position waits for the store too.
    let mut client = world.query();
    let waiting = tokio::spawn(async move { client.get_message(at(1, 1)).await });
    let mut writers = Writers::open(&world.stores);
    writers.post(&status(&waba(1), "wamid.A", "sent", 0, ""));
    waiting.await.unwrap().unwrap();
}

/// An empty store is open before the first record is folded: it would say of everything that it is not there.
#[tokio::test]
async fn what_is_folded_from_nothing_is_not_open() {
    let world = World::closed(QueryOptions::default()).await;
    world.stands(1, Some(Role::NoState));
    let mut writers = Writers::open(&world.stores);
    world.state(&QueryState::Opening(vec![1])).await;
    for _ in 0..2 {
        let error = world.query().get_message(at(0, 0)).await.unwrap_err();
        assert_eq!(
            (error.code(), reason(&error).0.as_str()),
            (Code::Unavailable, "STORE_NOT_OPEN")
        );
        // Nor does a part of it do.
        writers.post(&status(&waba(1), "wamid.A", "sent", 0, ""));
    }
    world.stands(1, None);
    world.state(&QueryState::Serving).await;
    assert!(world.query().get_message(at(1, 2)).await.unwrap().into_inner().message.is_some());
}

#[tokio::test]
async fn requests_above_their_bytes_are_refused_and_the_connection_goes_on() {
    let (world, _writers) = World::open().await;
    let message =
        |bytes: usize| pb::GetMessageRequest { wamid: "w".repeat(bytes), ..Default::default() };
    let error = world.query().get_message(message(4 * 1024 * 1024)).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error:?}");
    let headers = |bytes: usize| {
        let mut request = Request::new(at(0, 0));
        request.metadata_mut().insert("x-note", "n".repeat(bytes).parse().unwrap());
        request
    };
    let error = world.query().get_message(headers(64 * 1024)).await.unwrap_err();
    assert_ne!(error.code(), Code::NotFound, "{error:?}");
    for request in [Request::new(message(500)), headers(60 * 1024)] {
        let error = world.query().get_message(request).await.unwrap_err();
        assert_eq!(reason(&error).0, "MESSAGE_NOT_FOUND", "{error:?}");
    }
}

#[tokio::test]
async fn a_call_too_many_is_shed_and_the_waiting_one_is_ended_by_shutdown() {
    let options = QueryOptions { concurrent_requests_max: 1, ..QueryOptions::default() };
    let (world, _writers) = World::open_with(options).await;
    let mut client = world.query();
    let mut waiting = tokio::spawn(async move { client.get_message(at(0, 1)).await });
    // The first call is in once a second one is refused.
    let shed = loop {
        let error = world.query().get_message(at(1, 0)).await.unwrap_err();
        if reason(&error).0 != "MESSAGE_NOT_FOUND" {
            break error;
        }
        // Should the probe have taken the only slot, the first call was the one refused.
        if waiting.is_finished() {
            let mut client = world.query();
            waiting = tokio::spawn(async move { client.get_message(at(0, 1)).await });
        }
    };
    assert_eq!((shed.code(), reason(&shed).0.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(shed.get_error_details().retry_info().is_some());

    world.shutdown.cancel();
    let ended = waiting.await.unwrap().unwrap_err();
    assert_eq!((ended.code(), reason(&ended).0.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    world.server.await.unwrap().unwrap();
}
