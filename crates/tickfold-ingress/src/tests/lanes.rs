//! Partitions that fail apart: one without a leader holds up its own accounts and nobody else.

use std::time::Duration;

use futures_util::future::join_all;
use tickfold_core::ids::WabaId;
use tickfold_core::raw::partition_of;
use tokio::time::{Instant, sleep};

use super::support::{PARTITIONS, Rig, TOPIC, parts, rig, rig_of};
use crate::IngressOptions;

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

/// An ingress on a log whose partitions fail apart.
fn rig_apart() -> Rig {
    let (parts, log) = parts(IngressOptions::default());
    log.hold_partition(None);
    rig_of(parts, log)
}
