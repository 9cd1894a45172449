//! What a slow commit costs: records folded, committed and stored per second. To be run in release:
//! `cargo test --release -p tickfold-processor --test it pace -- --ignored --nocapture`.

#![expect(clippy::disallowed_methods, reason = "it measures time, and lets commits take some")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tickfold_log::{
    Append, Bounds, Claim, CommitError, Committed, Departure, Error, GroupSpec, Log, LogFuture,
    MemLog, Member, Offset, OwnedPartition, Record, TopicInfo, TopicPartition, TopicSpec,
};
use tickfold_processor::{Options, PartitionStatus, Processor, ensure_topics};
use tickfold_store::{MemStores, Stores};
use tokio::runtime::Handle;

use crate::oracle::Golden;
use crate::task::join;
use crate::workload::{NOON_MS, PARTITION, PARTITIONS, append_webhook, status};

const RECORDS: u64 = 40_000;

/// A log whose commits take so long, as a transaction of a remote log does.
#[derive(Debug)]
struct SlowCommits(MemLog, Duration);

#[derive(Debug)]
struct SlowOwned(Box<dyn OwnedPartition>, Duration);

impl OwnedPartition for SlowOwned {
    fn commit(
        &mut self,
        outputs: Arc<[Append]>,
        position: Committed,
    ) -> LogFuture<'_, Result<(), CommitError>> {
        Box::pin(async move {
            if !self.1.is_zero() {
                tokio::time::sleep(self.1).await;
            }
            self.0.commit(outputs, position).await
        })
    }
}

impl Log for SlowCommits {
    fn ensure_topics<'a>(
        &'a self,
        specs: &'a [TopicSpec],
    ) -> LogFuture<'a, Result<Vec<TopicInfo>, Error>> {
        self.0.ensure_topics(specs)
    }
    fn topics(&self) -> LogFuture<'_, Result<Vec<TopicInfo>, Error>> {
        self.0.topics()
    }
    fn append(&self, records: Vec<Append>) -> LogFuture<'_, Result<Vec<Offset>, Error>> {
        self.0.append(records)
    }
    fn read<'a>(
        &'a self,
        from: &'a TopicPartition,
        offset: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> LogFuture<'a, Result<Vec<Record>, Error>> {
        self.0.read(from, offset, max_records, max_bytes)
    }
    fn last_record<'a>(
        &'a self,
        from: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Option<Record>, Error>> {
        self.0.last_record(from)
    }
    fn bounds<'a>(&'a self, of: &'a TopicPartition) -> LogFuture<'a, Result<Bounds, Error>> {
        self.0.bounds(of)
    }
    fn trim<'a>(
        &'a self,
        of: &'a TopicPartition,
        before: Offset,
    ) -> LogFuture<'a, Result<Bounds, Error>> {
        self.0.trim(of, before)
    }
    fn wait_past<'a>(
        &'a self,
        of: &'a TopicPartition,
        offset: Offset,
    ) -> LogFuture<'a, Result<(), Error>> {
        self.0.wait_past(of, offset)
    }
    fn claim<'a>(
        &'a self,
        group: &'a str,
        input: &'a TopicPartition,
    ) -> LogFuture<'a, Result<Claim, Error>> {
        Box::pin(async move {
            let Claim { committed, partition } = self.0.claim(group, input).await?;
            Ok(Claim { committed, partition: Box::new(SlowOwned(partition, self.1)) })
        })
    }
    fn join(
        self: Arc<Self>,
        spec: GroupSpec,
    ) -> LogFuture<'static, Result<Arc<dyn Member>, Error>> {
        Arc::new(self.0.clone()).join(spec)
    }
    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> LogFuture<'a, Result<Vec<Option<Committed>>, Error>> {
        self.0.positions(group, topic)
    }
    fn offset_at<'a>(
        &'a self,
        of: &'a TopicPartition,
        time_ms: i64,
    ) -> LogFuture<'a, Result<Offset, Error>> {
        self.0.offset_at(of, time_ms)
    }
    fn close(&self) -> LogFuture<'_, Result<(), Error>> {
        self.0.close()
    }
}

/// Seconds from the start of a processor until everything is committed and stored.
async fn seconds(log: &MemLog, batch_records_max: usize, commit: Duration) -> f64 {
    // A group of its own begins at 0, on derived topics of its own.
    let log = {
        let fresh = MemLog::new(NOON_MS);
        let options = Options::default();
        ensure_topics(&fresh, &options, PARTITIONS).await.unwrap();
        let raw = log.records("wa.webhook.raw.v1", PARTITION).into_iter().map(|record| Append {
            to: TopicPartition::new("wa.webhook.raw.v1", PARTITION),
            key: record.key,
            value: record.value,
            headers: record.headers,
            timestamp_ms: Some(record.timestamp_ms),
        });
        fresh.append_now(raw.collect()).unwrap();
        fresh
    };
    let stores = MemStores::new();
    let (port, disk): (Arc<dyn Log>, Arc<dyn Stores>) =
        (Arc::new(SlowCommits(log.clone(), commit)), Arc::new(stores.clone()));
    let begun = Instant::now();
    let options = Options { batch_records_max, ..Options::default() };
    let member = join(&port, &options).await;
    let processor =
        Processor::spawn(&port, &disk, member, options, PARTITIONS, &Handle::current()).unwrap();
    let mut status = processor.statuses()[&PARTITION].clone();
    let end = PartitionStatus::Live { position: RECORDS };
    status.wait_for(|status| *status == end).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    processor.stop(Departure::Leave).await.unwrap();
    let golden = Golden::of(&log);
    golden.compare_outputs(&log).unwrap();
    assert_eq!(stores.dump(PARTITION), golden.dump);
    seconds
}

/// Prints figures; what it checks is that all of it equals the golden fold.
#[tokio::test]
#[ignore = "a measurement: minutes in a debug build"]
async fn records_per_second_with_slow_commits() {
    let log = MemLog::new(NOON_MS);
    ensure_topics(&log, &Options::default(), PARTITIONS).await.unwrap();
    for n in 0..RECORDS {
        let word = ["sent", "delivered", "read"][usize::try_from(n % 3).unwrap()];
        append_webhook(&log, &status(n / 3, word, NOON_MS / 1_000));
    }
    println!("{RECORDS} records of one status each, on one partition, the best of 3");
    println!("{:>8} {:>10} {:>12}", "batch", "commit ms", "records/s");
    for batch in [100, 500, 2_000] {
        for commit_ms in [0, 5, 10] {
            let mut best = f64::MAX;
            for _ in 0..3 {
                best = best.min(seconds(&log, batch, Duration::from_millis(commit_ms)).await);
            }
            println!("{batch:>8} {commit_ms:>10} {:>12.0}", RECORDS as f64 / best);
        }
    }
}
