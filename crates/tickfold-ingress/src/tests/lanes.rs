//! Partitions that fail apart: one without a leader holds up its own accounts and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tickfold_core::ids::WabaId;
use tickfold_core::raw::partition_of;
use tickfold_log::{
    Append, Bounds, Claim, Committed, Error, GroupSpec, Log, LogFuture, MemLog, Member, Record,
    TopicInfo, TopicPartition, TopicSpec,
};
use tokio::time::{Instant, sleep};

use super::support::{PARTITIONS, Rig, TOPIC, parts, rig, rig_of};
use crate::IngressOptions;
use crate::appender::UNDER_WAY_BYTES_MAX;

const AWAY: u32 = 3;

/// A webhook of accounts that live in these partitions.
fn body_for(partitions: &[u32], nonce: u32) -> String {
    let account = |partition: &u32| {
        let mut ids = (1_u64..).map(|n| WabaId::new(n.to_string()));
        let found = ids.find(|id| partition_of(id, PARTITIONS) == *partition).unwrap();
        format!(r#"{{"id":"{found}","changes":[{{"field":"messages","value":{{}}}}]}}"#)
    };
    let entries: Vec<_> = partitions.iter().map(account).collect();
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{}],"nonce":{nonce}}}"#,
        entries.join(",")
    )
}

async fn post<const N: usize>(rig: &Rig, partitions: [u32; N], nonce: u32) -> (u16, Duration) {
    let began = Instant::now();
    let answer = rig.post(body_for(&partitions, nonce)).await;
    (answer.status.as_u16(), began.elapsed())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_away_holds_up_its_own_accounts_only() {
    let rig = rig_apart();
    rig.log.hold_partition(Some(AWAY));
    let first = tokio::join!(post(&rig, [AWAY], 0), post(&rig, [4], 1), async {
        sleep(ms(2_500)).await;
        // Its own are refused at once now, those of others and of both are not known before.
        let own = post(&rig, [AWAY], 2).await;
        (own, post(&rig, [5], 3).await, post(&rig, [5, AWAY], 4).await)
    });
    let (away, other, (own, third, both)) = first;
    assert_eq!((away, other), ((503, ms(3_000)), (200, ms(0))));
    assert_eq!((own, third, both), ((503, ms(0)), (200, ms(0)), (503, ms(0))));
    let burst = join_all((0..500).map(|n| post(&rig, [n % AWAY], 10 + n))).await;
    assert!(burst.iter().all(|(status, took)| (*status, *took) == (200, ms(0))));
    assert!(rig.ingress.status.readiness().ready, "the node takes webhooks");
    rig.log.hold_partition(None);
    rig.drain().await;
    assert_eq!(rig.ingress.budget.used(), 0);
    assert_eq!(rig.raw().len(), 503, "the one that was handed over, and what was answered 200");
}

#[tokio::test(start_paused = true)]
async fn a_body_for_two_partitions_is_durable_once_both_have_it() {
    let rig = rig_apart();
    rig.log.hold_partition(Some(AWAY));
    let release = async {
        sleep(ms(700)).await;
        rig.log.hold_partition(None);
    };
    let (answer, ()) = tokio::join!(post(&rig, [1, AWAY, 6], 0), release);
    assert_eq!(answer, (200, ms(700)));
    let partitions: Vec<_> = rig.raw().into_iter().map(|(partition, _)| partition).collect();
    assert_eq!(partitions, [1, AWAY, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_large_body_for_very_many_partitions_goes_in_turns() {
    let all: Vec<u32> = (0..PARTITIONS).collect();
    let large = |bytes: usize| {
        let body = body_for(&all, 0);
        let padded = |pad: &str| body.replace(r#""nonce""#, &format!(r#""pad":"{pad}","nonce""#));
        padded(&"x".repeat(bytes - padded("").len()))
    };
    // The last partition's record is handed over while the first is held, or is not.
    for (bytes, appended) in [(100_000, PARTITIONS - 1), (4 << 20, PARTITIONS - 2)] {
        let rig = rig_apart();
        rig.log.hold_partition(Some(0));
        let body = large(bytes);
        let release = async {
            sleep(ms(700)).await;
            let there = rig.raw().len();
            rig.log.hold_partition(None);
            there
        };
        let (answer, there) = tokio::join!(rig.post(body.as_str()), release);
        assert_eq!((answer.status.as_u16(), there), (200, appended as usize), "{bytes}");
        assert_eq!(rig.raw().len(), all.len());
        assert_eq!(rig.ingress.budget.used(), 0);
    }

    // What failed is the last: nothing more is asked of a log that has trouble already.
    let rig = rig_apart();
    rig.log.hold_partition(Some(0));
    let answer = rig.post(large(4 << 20)).await;
    assert_eq!(answer.status, 503);
    rig.log.hold_partition(None);
    rig.drain().await;
    assert_eq!(rig.raw().len(), all.len() - 1, "all but the last");
}

#[tokio::test(start_paused = true)]
async fn each_answer_names_the_places_of_its_own_records() {
    // All in one batch, and in one of each partition.
    for rig in [rig(IngressOptions::default()), rig_apart()] {
        let (rig, mut places) = (&rig, 0);
        let post = async |n: u32| {
            let partitions = [n % PARTITIONS, (n + 3) % PARTITIONS];
            let body = body_for(&partitions[..1 + n as usize % 2], n);
            let answer = rig.post(body.as_str()).await;
            (body, answer.header("tickfold-positions").map(str::to_owned))
        };
        for (body, told) in join_all((0..300).map(post)).await {
            for place in told.unwrap().split(',') {
                let (partition, next) = place.split_once(':').unwrap();
                let (partition, next): (u32, usize) =
                    (partition.parse().unwrap(), next.parse().unwrap());
                let records = rig.log.records(TOPIC, partition);
                assert_eq!(records[next - 1].value.as_deref(), Some(body.as_bytes()), "{place}");
                places += 1;
            }
        }
        assert_eq!(places, rig.raw().len(), "and of all of them");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_of_which_every_partition_is_away_is_refused_from_headers() {
    let rig = rig_apart();
    rig.log.hold_appends(true);
    let all: Vec<u32> = (0..PARTITIONS).collect();
    let tried = join_all(all.iter().map(|p| post(&rig, [*p], 0)));
    let late = async {
        sleep(ms(2_001)).await;
        let ready = rig.ingress.raw.lanes.expected_latency() > ms(2_000);
        (ready, post(&rig, [1], 1).await)
    };
    let (tried, (known, refused)) = tokio::join!(tried, late);
    assert!(tried.iter().all(|answer| *answer == (503, ms(3_000))), "{tried:?}");
    assert!(known, "every lane has an append that is late");
    assert_eq!(refused, (503, ms(0)));
    assert_eq!(rig.ingress.status.readiness().reason, Some("log_unavailable"));
    rig.log.hold_appends(false);
    rig.drain().await;
    assert!(rig.ingress.status.readiness().reason.is_some(), "late answers are no sign of health");
}

#[tokio::test(start_paused = true)]
async fn partitions_that_are_away_leave_bytes_of_the_log_to_others() {
    let (mut parts, log) = parts(IngressOptions::default());
    let queue = Queue { log: log.clone(), away: [AWAY, 4], bytes: AtomicUsize::new(0) };
    let queue = Arc::new(queue);
    parts.log = Arc::clone(&queue) as Arc<dyn Log>;
    let rig = rig_of(parts, log);
    let padded = |partition: u32, nonce: u32, bytes: usize| {
        let pad = format!(r#""pad":"{}","nonce""#, "x".repeat(bytes));
        rig.post(body_for(&[partition], nonce).replace(r#""nonce""#, &pad))
    };
    let burst = join_all((0..24).map(|n| padded(queue.away[n as usize % 2], n, 3_000_000)));
    let others = async {
        // Large bodies are looked into on other threads.
        while queue.bytes.load(Ordering::Relaxed) < 30_000_000 {
            tokio::task::yield_now().await;
        }
        sleep(ms(100)).await;
        let under_way = queue.bytes.load(Ordering::Relaxed);
        assert!(under_way <= UNDER_WAY_BYTES_MAX + 3_100_000, "{under_way}");
        let began = Instant::now();
        let (large, small) = tokio::join!(padded(5, 24, 3_000_000), post(&rig, [6], 25));
        (large.status.as_u16(), small, began.elapsed())
    };
    let (burst, (large, small, took)) = tokio::join!(burst, others);
    assert!(burst.iter().all(|answer| answer.status == 503), "their partitions are away");
    assert_eq!((large, small.0), (200, 200));
    assert!(took < ms(1_000), "{took:?}");
}

/// An ingress on a log whose partitions fail apart.
fn rig_apart() -> Rig {
    let (parts, log) = parts(IngressOptions::default());
    log.hold_partition(None);
    rig_of(parts, log)
}

/// A log with one queue for all partitions, as Kafka's producer has, in which appends to those that are
/// away stay.
#[derive(Debug)]
struct Queue {
    log: MemLog,
    away: [u32; 2],
    bytes: AtomicUsize,
}

const QUEUE_BYTES_MAX: usize = 64 << 20;

impl Log for Queue {
    fn partitions_fail_apart(&self) -> bool {
        true
    }
    fn append(&self, records: Vec<Append>) -> LogFuture<'_, Result<Vec<u64>, Error>> {
        let bytes: usize = records.iter().map(Append::size_bytes).sum();
        let is_away = records.iter().any(|record| self.away.contains(&record.to.partition));
        Box::pin(async move {
            let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
            if waiting > 0 && waiting + bytes > QUEUE_BYTES_MAX {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                return Err(Error::Unavailable { reason: format!("{waiting} bytes wait") });
            }
            if is_away {
                std::future::pending::<()>().await;
            }
            let appended = self.log.append(records).await;
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            appended
        })
    }
    fn ensure_topics<'a>(
        &'a self,
        specs: &'a [TopicSpec],
    ) -> LogFuture<'a, Result<Vec<TopicInfo>, Error>> {
        self.log.ensure_topics(specs)
    }
    fn topics(&self) -> LogFuture<'_, Result<Vec<TopicInfo>, Error>> {
        self.log.topics()
    }
    fn read<'a>(
        &'a self,
        from: &'a TopicPartition,
        offset: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> LogFuture<'a, Result<Vec<Record>, Error>> {
        self.log.read(from, offset, max_records, max_bytes)
    }
    fn last_record<'a>(
        &'a self,
        from: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Option<Record>, Error>> {
        self.log.last_record(from)
    }
    fn bounds<'a>(&'a self, of: &'a TopicPartition) -> LogFuture<'a, Result<Bounds, Error>> {
        self.log.bounds(of)
    }
    fn trim<'a>(
        &'a self,
        of: &'a TopicPartition,
        before: u64,
    ) -> LogFuture<'a, Result<Bounds, Error>> {
        self.log.trim(of, before)
    }
    fn wait_past<'a>(
        &'a self,
        of: &'a TopicPartition,
        offset: u64,
    ) -> LogFuture<'a, Result<(), Error>> {
        self.log.wait_past(of, offset)
    }
    fn claim<'a>(
        &'a self,
        group: &'a str,
        input: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Claim, Error>> {
        self.log.claim(group, input)
    }
    fn join(
        self: Arc<Self>,
        spec: GroupSpec,
    ) -> LogFuture<'static, Result<Arc<dyn Member>, Error>> {
        Arc::new(self.log.clone()).join(spec)
    }
    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> LogFuture<'a, Result<Vec<Option<Committed>>, Error>> {
        self.log.positions(group, topic)
    }
    fn offset_at<'a>(
        &'a self,
        of: &'a TopicPartition,
        time_ms: i64,
    ) -> LogFuture<'a, Result<u64, Error>> {
        self.log.offset_at(of, time_ms)
    }
    fn close(&self) -> LogFuture<'_, Result<(), Error>> {
        self.log.close()
    }
}
