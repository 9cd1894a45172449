//! Clients that lose all brokers they know, as a broker that is alone makes them when it comes back:
//! for a moment its metadata names nobody (the proxy says it instead of the broker). librdkafka may
//! then ask nobody for good; whether it does hangs on the order of its threads, so it is told so again
//! until it does. With nobody looking after the clients that is the end of the log, which is the proof
//! that the fault lands.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tickfold_log::{Error, KafkaLog, KafkaOptions, Log};

use crate::{
    bench::{Bench, append, options, position},
    broker, proxy,
};

/// Within it everything works again, or it does not by itself.
const RECOVERY: Duration = Duration::from_secs(20);
/// What the log waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// What all questions together may take.
const WORKS: Duration = Duration::from_secs(10);
/// Tries until a client is lost, which happens in one of a few.
const TRIES: usize = 25;
const TRIES_LEAST: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_brokers_find_them_again() {
    let bench = Bench::new(broker::own().plain.clone(), "lost").await;
    let (_alone, _) = (proxy::PRESENT.write().await, proxy::shared());

    // The null control: sooner or later one is lost, and stays so.
    let log = connect(true);
    let mut tried = 0;
    loop {
        strike(&bench, &log, tried).await;
        tried += 1;
        if recovers(&bench, &log).await.is_none() {
            break;
        }
        assert!(tried < TRIES, "no client was lost in {tried} tries");
    }
    println!("left alone: lost at try {tried}, not found again within {RECOVERY:?}");
    assert_eq!(recovers(&bench, &log).await, None, "it would have been a matter of time");
    log.close().await.expect("nothing was accepted that is not answered");

    let log = connect(false);
    let before = rescued();
    let mut tried = 0;
    while rescued() == before || tried < TRIES_LEAST {
        assert!(tried < TRIES, "no client was lost in {tried} tries");
        strike(&bench, &log, tried).await;
        tried += 1;
        let recovered = recovers(&bench, &log).await.expect("all clients work again");
        println!("looked after: works after {recovered:.1?}, {} rescued", rescued() - before);
    }
    log.close().await.unwrap();
}

/// A log behind the proxy that waits for nothing for long.
fn connect(leave_lost: bool) -> Arc<KafkaLog> {
    recorder();
    let mut options = KafkaOptions { leave_lost, ..options(&broker::own().proxy) };
    options.call_timeout = PATIENCE;
    options.append_timeout = PATIENCE;
    options.claim_timeout = PATIENCE;
    KafkaLog::connect(options).unwrap()
}

/// Has the broker of a log that works go away and come back, for times that differ.
async fn strike(bench: &Bench, log: &KafkaLog, round: usize) {
    assert!(works(bench, log).await, "before {round}");
    let denied = Duration::from_millis([400, 1_000][round % 2]);
    let told = proxy::shared().comes_back(Duration::from_millis(1_500), denied).await;
    println!("{round}: denied {told} times in {denied:?}");
}

/// How long it takes until everything works; `None` if it does not.
async fn recovers(bench: &Bench, log: &KafkaLog) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < RECOVERY {
        if works(bench, log).await {
            return Some(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

/// Asks everything of the log: to wait for a record of somebody else, to append one and read it, to
/// claim, to commit, and where the group stands.
async fn works(bench: &Bench, log: &KafkaLog) -> bool {
    let at = &bench.at(0);
    let all = async {
        let end = log.bounds(at).await?.end;
        let other = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            bench.log.append(vec![append(at, "of another")]).await.unwrap();
        };
        tokio::join!(log.wait_past(at, end), other).0?;
        let appended = log.append(vec![append(at, "own")]).await?[0];
        let read = log.read(at, appended, 1, 1 << 20).await?;
        assert_eq!(read[0].offset, appended);
        let mut claim = log.claim("g", at).await?;
        let next = position(appended + 1, "x");
        let committed = claim.partition.commit([].into(), next.clone()).await;
        let found = log.positions("g", &bench.topic).await?;
        Ok::<_, Error>(committed.is_ok() && found[0] == Some(next))
    };
    matches!(tokio::time::timeout(WORKS, all).await, Ok(Ok(true)))
}

/// How many clients got their addresses again in this process.
fn rescued() -> u64 {
    let page = recorder().render();
    let counts = page.lines().filter(|l| l.starts_with("tickfold_log_clients_rescued_total{"));
    counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}
