//! The connection cap, who gives way at it, and how connections end when the listener stops.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::counted::Counted;
use super::running::{Running, answer, between, exchange, post, start};
use super::support::{BODY, NOW, short};
use crate::{Apps, IngressOptions};

/// Waits until so many webhooks had a right signature: the last of them is under way from here on.
async fn matched(apps: &Apps, count: u64) {
    while apps.snapshot(NOW)[0].secrets[0].matches != count {
        tokio::task::yield_now().await;
    }
}

/// A connection whose request waits for the log.
async fn busy(running: &Running, count: u64) -> TcpStream {
    let mut stream = running.connect().await;
    stream.write_all(post(BODY).as_bytes()).await.unwrap();
    matched(&running.apps, count).await;
    stream
}

async fn ended(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let end = stream.read(&mut byte);
    matches!(timeout(Duration::from_secs(5), end).await.expect("an end"), Ok(0) | Err(_))
}

#[tokio::test]
async fn at_the_cap_the_connection_that_waited_longest_makes_room() {
    let counted = Counted::start();
    let running = start(IngressOptions { connections_max: 3, ..short() });
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut stream = running.connect().await;
        assert!(exchange(&mut stream, &post(BODY)).await.starts_with("HTTP/1.1 200"));
        connections.push(stream);
    }
    // Now the second has waited longest.
    let [first, second, third] = connections.as_mut_slice() else { unreachable!() };
    assert!(exchange(first, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    let mut fourth = running.connect().await;
    assert!(exchange(&mut fourth, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    assert!(ended(second).await);
    assert!(exchange(first, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(third, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    assert_eq!(counted.of("tickfold_ingress_connections_cut_total made_room"), 1);
    assert_eq!(counted.of("tickfold_ingress_connections_refused_total"), 0);
    running.stop().await;
}

#[tokio::test]
async fn silence_and_half_a_head_do_not_keep_a_place() {
    let counted = Counted::start();
    // Their deadlines are far away, so it is not those that make room.
    let far = Duration::from_secs(600);
    let options = IngressOptions { connections_max: 2, header_deadline: far, ..short() };
    let running = start(options);
    let mut silent = running.connect().await;
    let mut half = running.connect().await;
    half.write_all(b"POST /webh").await.unwrap();
    let mut good = running.connect().await;
    assert!(exchange(&mut good, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    assert!(ended(&mut silent).await);
    let mut good = running.connect().await;
    assert!(exchange(&mut good, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    assert!(ended(&mut half).await);
    assert_eq!(counted.of("tickfold_ingress_connections_cut_total made_room"), 2);
    running.stop().await;
}

#[tokio::test]
async fn requests_under_way_keep_their_places_and_the_next_connection_gets_503() {
    let counted = Counted::start();
    let answer_deadline = Duration::from_secs(600);
    let options = IngressOptions { connections_max: 2, answer_deadline, ..short() };
    let running = start(options);
    running.log.hold_appends(true);
    let mut first = busy(&running, 1).await;
    let mut second = busy(&running, 2).await;
    let mut third = running.connect().await;
    let refused = answer(&mut third).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(ended(&mut third).await);
    assert_eq!(counted.of("tickfold_ingress_connections_refused_total"), 1);
    running.log.hold_appends(false);
    for stream in [&mut first, &mut second] {
        assert!(answer(stream).await.starts_with("HTTP/1.1 200"));
    }
    running.stop().await;
}

#[tokio::test]
async fn draining_answers_what_is_under_way_and_takes_no_new_connections() {
    let running = start(IngressOptions { answer_deadline: Duration::from_secs(3), ..short() });
    running.log.hold_appends(true);
    let mut busy = busy(&running, 1).await;
    let idle = running.connect().await;
    running.shutdown.cancel();
    let refused = async {
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(2), refused).await.expect("new connections are refused");
    assert_eq!(running.status.readiness().reason, Some("draining"));
    assert!(!running.task.is_finished());
    running.log.hold_appends(false);
    let answered = answer(&mut busy).await;
    assert!(answered.starts_with("HTTP/1.1 200 OK\r\n"), "{answered}");
    drop(idle);
    running.stop().await;
}

#[tokio::test]
async fn draining_ends_at_its_limit_also_when_the_log_hangs() {
    let running = start(IngressOptions { drain_limit: Duration::from_millis(800), ..short() });
    running.log.hold_appends(true);
    let mut busy = running.connect().await;
    let answered = exchange(&mut busy, &post(BODY)).await;
    assert!(answered.starts_with("HTTP/1.1 503"), "{answered}");
    assert!(answered.contains("retry-after: 1\r\n"), "{answered}");
    let started = Instant::now();
    running.stop().await;
    between(started.elapsed(), 700, 2_500);
}

#[tokio::test]
async fn while_draining_a_request_that_has_begun_is_answered_503() {
    let running = start(IngressOptions { header_deadline: Duration::from_secs(5), ..short() });
    running.log.hold_appends(true);
    let mut busy = busy(&running, 1).await;
    let request = post(BODY);
    let (begin, rest) = request.split_at(20);
    let mut begun = running.connect().await;
    assert!(exchange(&mut begun, &post("").replace("sha256", "sha1")).await.contains(" 401 "));
    begun.write_all(begin.as_bytes()).await.unwrap();
    let mut idle = running.connect().await;
    // Its answer shows that what was sent before on other connections has been read, too.
    assert!(exchange(&mut idle, &post("").replace("sha256", "sha1")).await.contains(" 401 "));
    running.shutdown.cancel();
    assert!(ended(&mut idle).await);
    begun.write_all(rest.as_bytes()).await.unwrap();
    let refused = answer(&mut begun).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("connection: close\r\n"), "{refused}");
    assert!(ended(&mut begun).await);
    running.log.hold_appends(false);
    let answered = answer(&mut busy).await;
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    assert!(answered.contains("connection: close\r\n"), "{answered}");
    running.stop().await;
}
