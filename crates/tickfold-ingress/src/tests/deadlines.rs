//! A log that fails, hangs or is closed, a body that does not come, a budget that is used up:
//! the answer comes in time and is never 200. Time is paused, so deadlines are exact.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::support::{Answered, BODY, KEY, Rig, request, rig, signed};
use crate::IngressOptions;
use crate::budget::{GRACE, REQUEST_OVERHEAD_BYTES};
use tickfold_core::signature::sign;

fn assert_503(answer: &Answered) {
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.body.is_empty());
}

fn arrived(piece: &'static str) -> Result<Bytes, std::io::Error> {
    Ok(Bytes::from_static(piece.as_bytes()))
}

fn post_stream(body: Body) -> axum::extract::Request {
    let signature = sign(KEY, BODY.as_bytes());
    request(Method::POST, "/webhook/main", &[("x-hub-signature-256", &signature)], body)
}

#[tokio::test(start_paused = true)]
async fn a_failing_log_is_503_at_once_and_unready_until_it_works() {
    let rig = rig(IngressOptions::default());
    rig.log.fail_appends(true);
    let started = Instant::now();
    assert_503(&rig.post(BODY).await);
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(rig.ingress.status.readiness().reason, Some("log_unavailable"));
    rig.log.fail_appends(false);
    assert_eq!(rig.post(BODY).await.status, 200);
    assert!(rig.ingress.status.readiness().ready);
    assert_eq!(rig.raw().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_log_is_503() {
    let rig = rig(IngressOptions::default());
    rig.log.close_now();
    assert_503(&rig.post(BODY).await);
}

#[tokio::test(start_paused = true)]
async fn a_raw_topic_that_is_not_there_is_503() {
    let (mut parts, _) = super::support::parts(IngressOptions::default());
    parts.raw_topic = "wa.other".to_owned();
    let (_, ingress) = crate::server::build(parts).unwrap();
    let router = crate::handler::router(ingress);
    let answer = tower::ServiceExt::oneshot(router, signed(BODY)).await.unwrap();
    assert_eq!(answer.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_log_is_503_after_3_seconds_and_the_late_append_is_kept() {
    let rig = rig(IngressOptions::default());
    rig.log.hold_appends(true);
    let started = Instant::now();
    assert_503(&rig.post(BODY).await);
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    assert!(rig.ingress.budget.used() > 0, "the log still holds the bytes");
    assert_eq!(rig.raw().len(), 0);

    rig.log.hold_appends(false);
    rig.drain().await;
    assert_eq!(rig.raw().len(), 1, "not cut half-way");
    assert_eq!(rig.ingress.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_last_byte_of_the_body() {
    let rig = rig(IngressOptions::default());
    rig.log.hold_appends(true);
    let (first, rest) = BODY.split_at(10);
    let late = stream::once(async move {
        tokio::time::sleep(Duration::from_secs(9)).await;
        arrived(rest)
    });
    let body = Body::from_stream(stream::iter([arrived(first)]).chain(late));
    let started = Instant::now();
    assert_503(&rig.send(post_stream(body)).await);
    assert_eq!(started.elapsed(), Duration::from_secs(9 + 3));
}

#[tokio::test(start_paused = true)]
async fn a_slow_log_within_the_deadline_is_200() {
    let rig = rig(IngressOptions::default());
    rig.log.hold_appends(true);
    let release = async {
        tokio::time::sleep(Duration::from_millis(2_900)).await;
        rig.log.hold_appends(false);
    };
    let (answer, ()) = tokio::join!(rig.post(BODY), release);
    assert_eq!(answer.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_does_not_cut_its_append() {
    let rig = rig(IngressOptions::default());
    rig.log.hold_appends(true);
    let gone = tokio::time::timeout(Duration::from_secs(1), rig.post(BODY)).await;
    assert!(gone.is_err());
    rig.log.hold_appends(false);
    rig.drain().await;
    assert_eq!(rig.raw().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_in_time_is_400() {
    let rig = rig(IngressOptions::default());
    // A piece every second: the deadline is for the whole, not for the next piece.
    let drip = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((arrived(" "), ()))
    });
    let started = Instant::now();
    let answer = rig.send(post_stream(Body::from_stream(drip))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    assert_eq!(rig.ingress.budget.used(), 0);
}

fn tight() -> Rig {
    let body_bytes_max = 100_000;
    rig(IngressOptions {
        body_bytes_max,
        inflight_bytes_max: body_bytes_max + 2 * REQUEST_OVERHEAD_BYTES,
        ..IngressOptions::default()
    })
}

#[tokio::test(start_paused = true)]
async fn above_the_budget_it_is_503_before_the_body_is_read() {
    let rig = tight();
    rig.log.hold_appends(true);
    assert_503(&rig.post(vec![b' '; 90_000]).await);
    // The hanging log keeps those bytes, so the next body would not fit.
    let asked = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let pieces = stream::once(async move {
        seen.store(true, std::sync::atomic::Ordering::Relaxed);
        arrived(" ")
    });
    let started = Instant::now();
    assert_503(&rig.post(vec![b' '; 20_000]).await);
    assert_503(&rig.post(vec![b' '; 8_000]).await);
    assert_503(&rig.send(post_stream(Body::from_stream(pieces))).await);
    assert!(!asked.load(std::sync::atomic::Ordering::Relaxed), "the body was not asked for");
    assert!(started.elapsed() <= Duration::from_secs(3));

    rig.log.hold_appends(false);
    tokio::task::yield_now().await;
    assert_eq!(rig.post(vec![b' '; 20_000]).await.status, 200, "recovered");
}

#[tokio::test(start_paused = true)]
async fn a_chunked_body_that_outgrows_the_budget_is_503() {
    let rig = tight();
    rig.log.hold_appends(true);
    assert_503(&rig.post(vec![b' '; 90_000]).await);
    let rest =
        stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1_000]))));
    assert_503(&rig.send(post_stream(Body::from_stream(rest))).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_gives_its_room_to_a_good_one() {
    let rig = tight();
    let stalls = async || {
        let piece = Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 100_000]));
        let body = Body::from_stream(stream::iter([piece]).chain(stream::pending()));
        let began = Instant::now();
        (rig.send(post_stream(body)).await, began.elapsed())
    };
    let good = async {
        tokio::task::yield_now().await;
        let began = Instant::now();
        (rig.post(vec![b' '; 90_000]).await.status, began.elapsed())
    };
    let ((cut, after), (status, waited)) = tokio::join!(stalls(), good);
    assert_503(&cut);
    assert_eq!((after, waited), (GRACE, GRACE), "it had its time, and no more");
    assert_eq!(status, 200);
    assert_eq!(rig.ingress.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_is_a_part_of_the_time_to_the_answer() {
    let rig = tight();
    let piece = Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 100_000]));
    let stalls = Body::from_stream(stream::iter([piece]).chain(stream::pending()));
    rig.log.hold_appends(true);
    let good = async {
        tokio::task::yield_now().await;
        let began = Instant::now();
        (rig.post(vec![b' '; 10_000]).await, began.elapsed())
    };
    let (_, (late, took)) = tokio::join!(rig.send(post_stream(stalls)), good);
    assert_503(&late);
    assert_eq!(took, Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_while_draining_is_503() {
    let rig = rig(IngressOptions::default());
    rig.ingress.status.set_draining();
    assert_503(&rig.post(BODY).await);
    assert_eq!(rig.ingress.status.readiness().reason, Some("draining"));
    assert_eq!(rig.raw().len(), 0);
}
