//! What all watches together may have under way, seen by the gauges that show it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tickfold_proto::query::v1 as pb;
use tokio::sync::watch;
use tonic::Streaming;

use crate::peers::{Pair, pair};
use crate::watch::{PATIENCE, messages, next, transitions};
use crate::world::{World, Writers, status, waba};

/// More than there are places.
const WATCHES: usize = 100;

const LOOKUPS: &str = "tickfold_query_watch_lookups";

/// Gauges by name: what each is, and the most that it was. Of everything that runs on the test's thread.
#[derive(Debug, Default)]
struct Gauges(Arc<watch::Sender<BTreeMap<String, Level>>>);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Level {
    now: f64,
    most: f64,
}

#[derive(Debug)]
struct One(Arc<watch::Sender<BTreeMap<String, Level>>>, String);

impl Gauges {
    async fn reaches(&self, name: &str, now: f64) {
        let mut levels = self.0.subscribe();
        let reached = levels.wait_for(|levels| levels.get(name).is_some_and(|it| it.now == now));
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{name} is {:?} and not {now}", self.of(name));
    }

    fn of(&self, name: &str) -> Level {
        self.0.borrow().get(name).copied().unwrap_or_default()
    }
}

impl GaugeFn for One {
    fn increment(&self, more: f64) {
        self.0.send_modify(|levels| {
            let level = levels.entry(self.1.clone()).or_default();
            level.now += more;
            level.most = level.most.max(level.now);
        });
    }

    fn decrement(&self, less: f64) {
        self.increment(-less);
    }

    fn set(&self, _: f64) {}
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(One(Arc::clone(&self.0), key.name().to_owned())))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Watches of messages that nobody knows, each at the end of what there is.
async fn watch_each(world: &World) -> Vec<Streaming<pb::WatchMessagesResponse>> {
    let mut streams = Vec::new();
    for index in 0..WATCHES {
        let watch = messages(&[&format!("m{index}")], "");
        let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
        // That there is none, and that this is all.
        next(&mut stream).await.unwrap();
        next(&mut stream).await.unwrap();
        streams.push(stream);
    }
    streams
}

fn post_each(writers: &mut Writers, partition: u32) {
    for index in 0..WATCHES {
        writers.post(&status(&waba(partition), &format!("m{index}"), "sent", 1, ""));
    }
}

async fn each_is_told(streams: &mut [Streaming<pb::WatchMessagesResponse>]) {
    for (index, stream) in streams.iter_mut().enumerate() {
        use pb::watch_messages_response::Item;
        let Some(Item::Message(message)) = next(stream).await.unwrap().item else {
            panic!("no message")
        };
        assert_eq!((message.wamid, message.state_text), (format!("m{index}"), "sent".to_owned()));
    }
}

#[tokio::test]
async fn lookups_of_all_watches_wait_for_one_of_64_places() {
    let gauges = Gauges::default();
    let _recorder = metrics::set_default_local_recorder(&gauges);
    let Pair { nodes: [world, _owner], mut writers, .. } = pair().await;
    world.topics().await;
    let mut streams = watch_each(&world).await;
    // The topic has what the store of the other node has not, so each watch has a lookup that waits there.
    let mut elsewhere = Writers::open(&tickfold_store::MemStores::default());
    post_each(&mut elsewhere, 1);
    world.publish(&mut elsewhere).await;
    gauges.reaches(LOOKUPS, 64.0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(gauges.of(LOOKUPS), Level { now: 64.0, most: 64.0 });

    post_each(&mut writers[1], 1);
    each_is_told(&mut streams).await;
    gauges.reaches(LOOKUPS, 0.0).await;
    assert_eq!(gauges.of(LOOKUPS).most, 64.0);
}

#[tokio::test]
async fn watches_that_wait_for_the_store_of_this_node_take_no_place_from_others() {
    let gauges = Gauges::default();
    let _recorder = metrics::set_default_local_recorder(&gauges);
    let (world, mut writers) = World::open().await;
    world.topics().await;
    let mut streams = watch_each(&world).await;
    let watch = messages(&["other"], "");
    let mut other = world.watch().watch_messages(watch).await.unwrap().into_inner();
    next(&mut other).await.unwrap();
    next(&mut other).await.unwrap();
    let mut elsewhere = Writers::open(&tickfold_store::MemStores::default());
    post_each(&mut elsewhere, 0);
    world.publish(&mut elsewhere).await;
    // Who watches what is in the other partition is told of it meanwhile.
    for after in 1..20 {
        writers.post(&status(&waba(1), "other", "sent", 20 - after, ""));
        world.publish(&mut writers).await;
        next(&mut other).await.unwrap();
    }
    let most = gauges.of(LOOKUPS).most;
    assert!(most < 10.0, "{most} lookups at once");
    post_each(&mut writers, 0);
    each_is_told(&mut streams).await;
}

#[tokio::test]
async fn watches_of_a_partition_that_nobody_has_take_no_place_from_others() {
    let gauges = Gauges::default();
    let _recorder = metrics::set_default_local_recorder(&gauges);
    let Pair { nodes: [world, owner], mut writers, cluster } = pair().await;
    world.topics().await;
    writers[0].post(&status(&waba(0), "other", "sent", 1, ""));
    writers[1].post(&status(&waba(1), "m0", "sent", 1, ""));
    for writers in &mut writers {
        world.append(writers).await;
    }
    let mut watches = world.watch();
    let mut first = watches.watch_messages(messages(&["m0"], "")).await.unwrap().into_inner();
    next(&mut first).await.unwrap();
    let token = next(&mut first).await.unwrap().resume_token;

    cluster.take(1);
    let taken = async {
        while world.peers.owner(1).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..WATCHES {
        waiting.push(watches.watch_messages(messages(&["m0"], &token)).await.unwrap());
    }
    for _ in 0..20 {
        let watch = messages(&["other"], "");
        let mut other = watches.watch_messages(watch).await.unwrap().into_inner();
        next(&mut other).await.unwrap();
    }
    let most = gauges.of(LOOKUPS).most;
    assert!(most < 10.0, "{most} lookups at once");

    cluster.give(1, owner.address);
    for stream in waiting {
        next(&mut stream.into_inner()).await.unwrap();
    }
}

#[tokio::test]
async fn watches_that_are_behind_wait_for_one_of_8_places_to_read_the_log() {
    const READING: &str = "tickfold_query_watch_log_readers";
    let gauges = Gauges::default();
    let _recorder = metrics::set_default_local_recorder(&gauges);
    let (world, mut writers) = World::open().await;
    for index in 0..WATCHES {
        writers.post(&status(&waba(0), &format!("m{index}"), "sent", 1, ""));
    }
    world.publish(&mut writers).await;
    world.log.hold_reads(true);
    let mut streams = Vec::new();
    for _ in 0..WATCHES {
        let beginning = transitions(&waba(0), "");
        let watch = pb::WatchTransitionsRequest { from_beginning: true, ..beginning };
        streams.push(world.watch().watch_transitions(watch).await.unwrap().into_inner());
    }
    gauges.reaches(READING, 8.0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(gauges.of(READING), Level { now: 8.0, most: 8.0 });

    world.log.hold_reads(false);
    for stream in &mut streams {
        use pb::watch_transitions_response::Item;
        let mut told = 0;
        while let Some(Item::Transition(transition)) = next(stream).await.unwrap().item {
            told += usize::from(transition.entity == "message");
        }
        assert_eq!(told, WATCHES);
    }
    gauges.reaches(READING, 0.0).await;
    assert_eq!(gauges.of(READING).most, 8.0);
}
