//! Figures of the adapter on the test broker, printed. They hold for that broker on that machine:
//! one node, without replication. What is asserted is only that nothing waits in slices.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use tickfold_log::{Append, Log};

use crate::{
    bench::{Bench, append, position},
    broker,
};

/// The `share` quantile of times.
fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index within a few hundred"
    )]
    let index = ((times.len() - 1) as f64 * share).round() as usize;
    times[index]
}

fn print(what: &str, times: &mut [Duration]) -> Duration {
    let (p50, p99) = (quantile(times, 0.5), quantile(times, 0.99));
    println!("{what}: p50 {p50:.1?}, p99 {p99:.1?} of {}", times.len());
    p50
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times() {
    let bench = Bench::new(broker::shared(), "figures").await;
    let (log, raw, out) = (&bench.log, bench.at(0), bench.at(1));

    let mut appends = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        log.append(vec![append(&raw, "x")]).await.unwrap();
        appends.push(begun.elapsed());
    }
    print("append of one record", &mut appends);

    let mut claims = Vec::new();
    for group in ["a", "b", "c", "d", "e"] {
        let begun = Instant::now();
        log.claim(group, &raw).await.unwrap();
        claims.push(begun.elapsed());
    }
    print("claim", &mut claims);

    let mut owned = log.claim("g", &raw).await.unwrap().partition;
    let (mut commits, mut visible, mut next) = (Vec::new(), Vec::new(), 0);
    for n in 0..200_u64 {
        let mut waiting = log.wait_past(&out, next);
        assert!((&mut waiting).now_or_never().is_none());
        let begun = Instant::now();
        let outputs = (0..3).map(|_| append(&out, "x")).collect();
        owned.commit(outputs, position(n, "token")).await.unwrap();
        commits.push(begun.elapsed());
        waiting.await.unwrap();
        let read = log.read(&out, next, 3, usize::MAX).await.unwrap();
        visible.push(begun.elapsed());
        assert_eq!(read.len(), 3);
        next = read[2].offset + 1;
    }
    let commit = print("commit of three outputs", &mut commits);
    print("commit until read by who waits for it", &mut visible);
    assert!(commit < Duration::from_millis(100), "a commit waits for the binding's flush");

    let mut looks = Vec::new();
    for offset in 0..50 {
        let begun = Instant::now();
        assert_eq!(log.read(&raw, offset * 2, 1, 1).await.unwrap().len(), 1);
        looks.push(begun.elapsed());
    }
    print("read of one record anywhere", &mut looks);

    let value = Bytes::from(vec![b'x'; 500]);
    let record = || Append { value: Some(value.clone()), ..append(&raw, "") };
    let (calls, each) = (200_u32, 100_u32);
    let begun = Instant::now();
    let batches = (0..calls).map(|_| log.append((0..each).map(|_| record()).collect()));
    for appended in join_all(batches).await {
        appended.unwrap();
    }
    let (took, records) = (begun.elapsed(), calls * each);
    let rate = f64::from(records) / took.as_secs_f64();
    println!("append of {records} records of 500 bytes, {each} per call: {rate:.0} per second");

    let end = log.bounds(&raw).await.unwrap().end;
    let (begun, mut next, mut read) = (Instant::now(), 0, 0_u32);
    while next < end {
        let records = log.read(&raw, next, 2_000, 8 << 20).await.unwrap();
        read += u32::try_from(records.len()).unwrap();
        next = records.last().unwrap().offset + 1;
    }
    let rate = f64::from(read) / begun.elapsed().as_secs_f64();
    println!("read of {read} records: {rate:.0} per second");
}
