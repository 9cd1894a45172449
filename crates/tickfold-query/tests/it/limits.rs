//! What all watches together may have under way, seen by the gauges that show it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tickfold_proto::query::v1 as pb;
use tokio::sync::watch;

use crate::watch::{PATIENCE, messages, next, transitions};
use crate::world::{World, Writers, status, waba};

/// More than there are places.
const WATCHES: usize = 100;

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

#[tokio::test]
async fn lookups_of_all_watches_wait_for_one_of_64_places() {
    const RUNNING: &str = "tickfold_query_watch_lookups";
    let gauges = Gauges::default();
    let _recorder = metrics::set_default_local_recorder(&gauges);
    let (world, mut writers) = World::open().await;
    world.topics().await;
    let mut streams = Vec::new();
    for index in 0..WATCHES {
        let watch = messages(&[&format!("m{index}")], "");
        let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
        // That there is none, and that this is all.
        next(&mut stream).await.unwrap();
        next(&mut stream).await.unwrap();
        streams.push(stream);
    }
    // The topic has what the store of this node has not, so each watch has a lookup that waits.
    let post_all = |writers: &mut Writers| {
        for index in 0..WATCHES {
            writers.post(&status(&waba(0), &format!("m{index}"), "sent", 1, ""));
        }
    };
    let mut elsewhere = Writers::open(&tickfold_store::MemStores::default());
    post_all(&mut elsewhere);
    world.publish(&mut elsewhere).await;
    gauges.reaches(RUNNING, 64.0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(gauges.of(RUNNING), Level { now: 64.0, most: 64.0 });

    post_all(&mut writers);
    for (index, stream) in streams.iter_mut().enumerate() {
        use pb::watch_messages_response::Item;
        let Some(Item::Message(message)) = next(stream).await.unwrap().item else {
            panic!("no message")
        };
        assert_eq!((message.wamid, message.state_text), (format!("m{index}"), "sent".to_owned()));
    }
    gauges.reaches(RUNNING, 0.0).await;
    assert_eq!(gauges.of(RUNNING).most, 64.0);
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
