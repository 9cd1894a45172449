//! Watches of states, polled by hand: nothing is looked up before its turn.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tickfold_core::ids::{Participant, WabaId, Wamid};
use tickfold_core::records::Topic;
use tickfold_core::state::{Few, Journal, Message, MessageFacts, Receipt, Status};
use tickfold_core::time::Timestamp;
use tickfold_log::{Append, Header, Log, TopicPartition, TopicSpec};
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::watch_service_server::WatchService as _;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::super::{Hub, Watches};
use crate::query::made::{Made, RAW, admitted, limits};
use crate::reasons::{Failure, Reason};
use crate::{Clock, QueryOptions};

const PATIENCE: Duration = Duration::from_secs(10);

const CAUGHT_UP: &str = "WATCH_MARK_CAUGHT_UP";

type Responses = BoxStream<'static, Result<pb::WatchMessagesResponse, tonic::Status>>;

/// A service over stores that are filled by hand.
struct World {
    made: Made,
    watches: Watches,
    hub: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.hub.abort();
    }
}

async fn world(partition_count: u32) -> World {
    let made = Made::new(partition_count);
    let log: Arc<dyn Log> = Arc::new(made.log.clone());
    let topics = Topic::ALL.map(|topic| format!("wa.{}", topic.name()));
    let spec = |name| TopicSpec { name, partitions: partition_count, compacted: false };
    let specs: Vec<_> = topics.into_iter().chain([RAW.to_owned()]).map(spec).collect();
    log.ensure_topics(&specs).await.unwrap();
    let (feeds, hub) = Hub::new(&log, "wa", partition_count);
    let settings = (QueryOptions::default(), Clock::system());
    let query = Arc::new(made.query());
    let watches = Watches::new(query, feeds, limits(), settings, partition_count);
    World { made, watches, hub: tokio::spawn(hub.run()) }
}

impl World {
    /// The topic tells of a change of the message.
    async fn publish(&self, partition: u32, wamid: &str, revision: u64) {
        let row = Append {
            to: TopicPartition::new(format!("wa.{}", Topic::MessageState.name()), partition),
            key: Some(wamid.to_owned().into()),
            value: Some(format!(r#"{{"wamid":"{wamid}"}}"#).into()),
            headers: vec![Header {
                name: "ce_id".into(),
                value: format!("{partition}-{revision}-0").into(),
            }],
            timestamp_ms: Some(1),
        };
        self.made.log.append(vec![row]).await.unwrap();
    }

    /// The store has the message as this record changed it, and nothing behind that.
    fn write(&mut self, partition: u32, wamid: &str, revision: u64) {
        let time = Timestamp::from_millis(i64::try_from(revision).unwrap());
        self.made.write(partition, revision + 1, time, |overlay| {
            let message = overlay.messages.entry(&Wamid::from(wamid), |_| Ok(None)).unwrap();
            *message = Some(sent(revision, time));
        });
    }

    async fn open(&self, wamids: &[&str], token: &str) -> Result<Responses, tonic::Status> {
        let request = pb::WatchMessagesRequest {
            wamids: wamids.iter().map(ToString::to_string).collect(),
            view: 0,
            resume_token: token.to_owned(),
        };
        Ok(self.watches.watch_messages(admitted(request)).await?.into_inner())
    }
}

fn sent(revision: u64, time: Timestamp) -> Message {
    let mut receipts = Few::new();
    let mut receipt = Receipt::default();
    receipt.statuses.insert(Status::Sent, Some(time));
    receipts.insert(Participant::whole(), receipt);
    Message {
        facts: MessageFacts {
            waba_id: Some(WabaId::from("5")),
            receipts,
            ..MessageFacts::default()
        },
        journal: Journal { revision, created: time, changed: time },
        list_time: time,
        history: Vec::new(),
        charged: Few::new(),
    }
}

/// The next response as `wamid=state`, `wamid?` or the mark.
async fn next(responses: &mut Responses) -> (String, String) {
    use pb::watch_messages_response::Item;
    let response = tokio::time::timeout(PATIENCE, responses.next()).await.expect("a response");
    let response = response.unwrap().unwrap();
    let text = match response.item.unwrap() {
        Item::Message(message) => format!("{}={}", message.wamid, message.state_text),
        Item::Missing(wamid) => format!("{wamid}?"),
        Item::Mark(mark) => pb::WatchMark::try_from(mark).unwrap().as_str_name().to_owned(),
    };
    (text, response.resume_token)
}

fn reason(status: &tonic::Status) -> Reason {
    Failure::of_peer(status).unwrap().reason()
}

#[tokio::test]
async fn what_was_looked_up_before_the_store_had_it_is_looked_up_again_though_the_rest_came_later()
{
    let mut world = world(1).await;
    let names: Vec<_> = (0..150).map(|index| format!("m{index:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.write(0, "other", 2);
    world.publish(0, "m000", 5).await;
    let mut responses = world.open(&names, "").await.unwrap();
    for name in &names[..100] {
        assert_eq!(next(&mut responses).await.0, format!("{name}?"));
    }
    // The other third of them is read from a store that has what the topic told before.
    world.write(0, "m000", 5);
    for name in &names[100..] {
        assert_eq!(next(&mut responses).await.0, format!("{name}?"));
    }
    assert_eq!(next(&mut responses).await.0, "m000=sent");
    assert_eq!(next(&mut responses).await.0, CAUGHT_UP);
}

#[tokio::test]
async fn a_watch_has_caught_up_once_it_told_what_the_topic_had_and_not_what_came_then() {
    let mut world = world(2).await;
    world.publish(0, "a", 5).await;
    let mut responses = world.open(&["a", "b"], "").await.unwrap();
    assert_eq!(next(&mut responses).await.0, "a?");
    assert_eq!(next(&mut responses).await.0, "b?");
    let early = tokio::time::timeout(Duration::from_millis(300), responses.next()).await;
    assert!(early.is_err(), "{early:?}");
    // This one never comes to the store.
    world.publish(1, "b", 99).await;
    world.write(0, "a", 5);
    assert_eq!(next(&mut responses).await.0, "a=sent");
    assert_eq!(next(&mut responses).await.0, CAUGHT_UP);
}

#[tokio::test]
async fn a_token_that_is_above_the_end_of_raw_is_of_another_log() {
    let [mut world, mut other] = [world(2).await, world(2).await];
    other.write(1, "a", 5);
    let mut responses = other.open(&["a"], "").await.unwrap();
    assert_eq!(next(&mut responses).await.0, "a=sent");
    let (text, token) = next(&mut responses).await;
    assert_eq!(text, CAUGHT_UP);

    let refused = world.open(&["a"], &token).await.err().unwrap();
    assert_eq!(reason(&refused), Reason::ResumeTokenInvalid);
    // Where raw has it, it is waited for; and where the store has it nobody asks the log.
    let raw = Append {
        to: TopicPartition::new(RAW, 1),
        key: None,
        value: Some("{}".into()),
        headers: Vec::new(),
        timestamp_ms: Some(1),
    };
    world.made.log.append(vec![raw.clone(); 5]).await.unwrap();
    assert_eq!(
        reason(&world.open(&["a"], &token).await.err().unwrap()),
        Reason::ResumeTokenInvalid
    );
    world.made.log.append(vec![raw]).await.unwrap();
    let mut responses = world.open(&["a"], &token).await.unwrap();
    world.write(1, "a", 5);
    assert_eq!(next(&mut responses).await.0, "a=sent");
    assert!(other.open(&["a"], &token).await.is_ok());
}

#[tokio::test]
async fn all_watches_together_name_so_many_messages() {
    let mut world = world(1).await;
    world.watches.names = Arc::new(Semaphore::new(3));
    let first = world.open(&["a", "b"], "").await.unwrap();
    let refused = world.open(&["a", "b"], "").await.err().unwrap();
    assert_eq!(reason(&refused), Reason::Overloaded);
    let _second = world.open(&["a"], "").await.unwrap();
    drop(first);
    assert!(world.open(&["a", "b"], "").await.is_ok());
}
