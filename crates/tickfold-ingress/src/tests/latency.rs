//! Group commit and the estimate of the log's latency, with time paused: what shares an append, what
//! is refused before its body is read, and that the door opens again.

use std::time::Duration;

use futures_util::future::join_all;
use tickfold_log::mem::AppendFault;
use tokio::time::{Instant, sleep};

use super::support::{BODY, Rig, rig};
use crate::IngressOptions;
use crate::appender::APPENDS_IN_FLIGHT_MAX as PLACES;

/// Status and time to the answer of a webhook sent now.
async fn timed(rig: &Rig, body: String) -> (u16, Duration) {
    let began = Instant::now();
    let answer = rig.post(body).await;
    let retry = (answer.status == 503).then_some("1");
    assert_eq!(answer.header("retry-after"), retry);
    (answer.status.as_u16(), began.elapsed())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn after(rig: &Rig, wait_ms: u64) -> (u16, Duration) {
    sleep(ms(wait_ms)).await;
    timed(rig, format!("{BODY} {wait_ms}")).await
}

#[tokio::test(start_paused = true)]
async fn a_hanging_log_is_noticed_and_tried_again_by_itself() {
    let rig = rig(IngressOptions::default());
    rig.log.hold_appends(true);
    let release = async {
        sleep(ms(10_000)).await;
        rig.log.hold_appends(false);
    };
    let early = join_all((0..PLACES as u64).map(|n| after(&rig, n)));
    let (early, third, fourth, late, ()) =
        tokio::join!(early, after(&rig, 1_500), after(&rig, 2_001), after(&rig, 9_999), release);
    assert_eq!(early, [(503, ms(3_000)); PLACES], "before 2 s nothing tells that it hangs");
    assert_eq!(third, (503, ms(3_000)));
    assert_eq!([fourth, late], [(503, ms(0)); 2], "refused before the body is read");
    assert_eq!(rig.log.append_faults_met(), PLACES as u64, "handed over while there were places");
    tokio::task::yield_now().await;
    rig.drain().await;
    assert_eq!(rig.raw().len(), PLACES, "one was given up before the log was ready for it");
    assert_eq!(rig.ingress.budget.used(), 0);
    assert_eq!(rig.ingress.raw.lanes.expected_latency(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_log_at_two_and_a_half_seconds_gets_one_webhook_at_a_time_until_it_is_quick() {
    let rig = rig(IngressOptions::default());
    rig.log.delay_appends(Some(ms(2_500)));
    assert_eq!(after(&rig, 0).await, (200, ms(2_500)));
    for _ in 0..3 {
        let (probe, second, third) =
            tokio::join!(after(&rig, 0), after(&rig, 1), after(&rig, 2_400));
        assert_eq!(probe, (200, ms(2_500)), "nothing was under way");
        assert_eq!((second, third), ((503, ms(0)), (503, ms(0))));
    }
    rig.log.delay_appends(Some(ms(5)));
    assert_eq!(after(&rig, 0).await, (200, ms(5)));
    let burst = join_all((0..100).map(|_| after(&rig, 0))).await;
    assert!(burst.iter().all(|(status, _)| *status == 200), "{burst:?}");
}

/// A new webhook every 10 ms. Below the limit the log is used, and whoever was let in is answered
/// 200 in time: the estimate counts the append that has to end first.
#[tokio::test(start_paused = true)]
async fn what_a_slow_log_lets_in_is_answered_in_time() {
    let rig = rig(IngressOptions::default());
    rig.log.delay_appends(Some(ms(1_500)));
    let answers = join_all((0..1_000).map(|n| after(&rig, n * 10))).await;
    for (n, (status, took)) in answers.iter().enumerate() {
        match status {
            200 => assert!(*took <= ms(3_000), "{n}: {took:?}"),
            503 => assert_eq!(*took, ms(0), "{n}: refused at once or not at all"),
            other => panic!("{n}: {other}"),
        }
    }
    let accepted = answers.iter().filter(|(status, _)| *status == 200).count();
    assert!(accepted > 300, "{accepted} of 1000");
    assert!(accepted < 1_000, "the limit was met");
}

#[tokio::test(start_paused = true)]
async fn a_burst_shares_appends_and_is_not_refused() {
    let rig = rig(IngressOptions::default());
    rig.log.delay_appends(Some(ms(20)));
    timed(&rig, BODY.to_owned()).await;
    let began = Instant::now();
    let answers = join_all((0..5_000).map(|n| timed(&rig, format!("{BODY}{n}")))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    assert_eq!(rig.raw().len(), 5_001);
    let appends = rig.log.append_faults_met() - 1;
    assert!(appends <= 6, "{appends} appends for 5000 webhooks, 1024 in each at most");
    assert!(began.elapsed() <= ms(60), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_by_its_bytes() {
    let rig = rig(IngressOptions::default());
    rig.log.delay_appends(Some(ms(20)));
    let body = " ".repeat(3 * 1024 * 1024);
    let answers = join_all((0..9).map(|n| timed(&rig, format!("{body}{n}")))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    assert!(rig.log.append_faults_met() >= 5, "two of 3 MiB in a batch of 8 MiB");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_fails_all_of_it_and_only_that() {
    for fault in [AppendFault::Poisoned, AppendFault::HalfWay] {
        let rig = rig(IngressOptions::default());
        rig.log.delay_appends(Some(ms(100)));
        rig.log.fail_appends_with(Some(fault));
        let answers = join_all((0..10).map(|n| after(&rig, n % 2))).await;
        assert!(answers.iter().all(|(status, took)| *status == 503 && *took <= ms(200)));
        assert!(rig.log.append_faults_met() > 0);
        let readable = rig.raw().len();
        assert_eq!(readable > 0, fault == AppendFault::HalfWay, "not atomic: {readable} of 10");
        rig.log.fail_appends_with(None);
        assert_eq!(after(&rig, 0).await.0, 200);
        assert_eq!(rig.raw().len(), readable + 1);
        assert!(rig.ingress.status.readiness().ready);
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_whose_client_left_before_the_log_got_it_is_dropped() {
    let rig = rig(IngressOptions::default());
    rig.log.hold_appends(true);
    // All places are taken, then one waits and goes.
    let left = async { tokio::time::timeout(ms(900), after(&rig, 100)).await.is_err() };
    let release = async {
        sleep(ms(1_500)).await;
        rig.log.hold_appends(false);
    };
    let others = join_all((0..PLACES as u64).map(|n| after(&rig, n)));
    let (others, left, ()) = tokio::join!(others, left, release);
    assert!(others.iter().all(|(status, _)| *status == 200) && left);
    rig.drain().await;
    assert_eq!(rig.raw().len(), PLACES);
    assert_eq!(rig.ingress.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_success_after_the_deadline_is_no_sign_of_health() {
    let rig = rig(IngressOptions::default());
    rig.log.delay_appends(Some(ms(3_500)));
    assert_eq!(after(&rig, 0).await, (503, ms(3_000)));
    rig.drain().await;
    assert_eq!(rig.raw().len(), 1);
    assert_eq!(rig.ingress.status.readiness().reason, Some("log_unavailable"));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_outstanding_until_meta_sent_them_again() {
    let rig = rig(IngressOptions::default());
    let oldest = || rig.ingress.redelivery.report();
    rig.log.fail_appends(true);
    assert_eq!(after(&rig, 0).await.0, 503);
    sleep(ms(60_000)).await;
    rig.ingress.status.set_draining();
    assert_eq!(after(&rig, 1).await.0, 503, "before the body: the signature is not verified");
    rig.ingress.status.set_serving();
    assert_eq!((oldest().refusals, oldest().oldest_refusal), (2, ms(60_001)));
    rig.log.fail_appends(false);
    assert_eq!(timed(&rig, format!("{BODY} 0")).await.0, 200);
    assert_eq!((oldest().refusals, oldest().oldest_refusal), (1, ms(0)));
    assert_eq!(timed(&rig, format!("{BODY} 1")).await.0, 200);
    assert_eq!(oldest().refusals, 0);
    // The last minute saw the two repetitions and nothing else.
    assert!((oldest().redelivered_ratio - 1.0).abs() < 1e-9, "{:?}", oldest());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_does_not_pile_up_while_the_log_hangs() {
    let rig = rig(IngressOptions::default());
    rig.log.hold_appends(true);
    let appender = rig.ingress.raw.lanes.lane(0);
    let record = || tickfold_log::Append {
        to: tickfold_log::TopicPartition::new(super::support::TOPIC, 0),
        key: None,
        value: Some(bytes::Bytes::new()),
        headers: Vec::new(),
        timestamp_ms: None,
    };
    for _ in 0..1_000 {
        // Given up at once, as a tick is at its deadline.
        drop(appender.append(vec![record()], None));
        sleep(ms(1)).await;
    }
    assert!(appender.waiting() <= 1, "{} entries wait", appender.waiting());
    rig.log.hold_appends(false);
    rig.drain().await;
}
