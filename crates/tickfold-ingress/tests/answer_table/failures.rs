//! Rows of the table in which nothing is wrong with the request: the log fails in every way it can,
//! or ingress has too much to do, ends, or does not talk to the sender.

use std::time::Duration;

use futures_util::future::FutureExt;
use tickfold_core::signature::sign;
use tickfold_ingress::IngressOptions;
use tickfold_log::mem::AppendFault;

use crate::server::{KEY, Server, body, head, post};
use crate::table::{Case, row, sent};

pub(crate) fn cases() -> Vec<Case> {
    [log_cases(), load_cases()].into_iter().flatten().collect()
}

fn log_cases() -> Vec<Case> {
    let fails = |fault| move |server: &Server| server.log.fail_appends_with(Some(fault));
    let slow =
        |ms| move |server: &Server| server.log.delay_appends(Some(Duration::from_millis(ms)));
    let closed = async {
        let server = Server::start(IngressOptions::default());
        server.log.close_now();
        let answer = server.connect().await.exchange(&post(body("x").as_bytes())).await;
        row("log closed", 503, (0, 0), server, answer, "closed before".to_owned()).await
    };
    let closing = async {
        let server = Server::start(IngressOptions::default());
        server.log.hold_appends(true);
        let mut wire = server.connect().await;
        wire.send(&post(body("x").as_bytes())).await;
        server.until_faults(1).await;
        server.log.close_now();
        let answer = wire.answer().await;
        row("log closes meanwhile", 503, (0, 0), server, answer, "1 append held".to_owned()).await
    };
    vec![
        sent("signature right", 200, post(body("x").as_bytes())),
        faulty("log takes 1 s", 200, (2, 2), slow(1_000)),
        faulty("log takes 4 s", 503, (0, 2), slow(4_000)),
        faulty("log hangs", 503, (0, 2), |server| server.log.hold_appends(true)),
        faulty("log unavailable", 503, (0, 0), fails(AppendFault::Unavailable)),
        faulty("log full", 503, (0, 0), fails(AppendFault::Full)),
        faulty("log lost a sync", 503, (0, 0), fails(AppendFault::Poisoned)),
        faulty("log fails half-way", 503, (1, 1), fails(AppendFault::HalfWay)),
        closed.boxed_local(),
        closing.boxed_local(),
    ]
}

/// A POST whose body is promised and not sent: whoever answers has not waited for it.
fn promise(length: usize) -> Vec<u8> {
    let signature = sign(KEY, b"never sent");
    head(&[("x-hub-signature-256", &signature), ("content-length", &length.to_string())])
}

fn load_cases() -> Vec<Case> {
    let over_budget = async {
        let inflight_bytes_max = 300_000;
        let options = IngressOptions {
            inflight_bytes_max,
            body_bytes_max: 200_000,
            ..IngressOptions::default()
        };
        let server = Server::start(options);
        server.log.hold_appends(true);
        let mut first = server.connect().await;
        first.send(&post(&vec![b' '; 190_000])).await;
        server.until_faults(1).await;
        let answer = server.connect().await.exchange(&promise(150_000)).await;
        let proof = "190000 of 300000 bytes held by the log".to_owned();
        row("over budget, body not sent", 503, (0, 1), server, answer, proof).await
    };
    let over_latency = async {
        let server = Server::start(IngressOptions::default());
        server.log.hold_appends(true);
        let mut first = server.connect().await;
        first.send(&post(body("x").as_bytes())).await;
        server.until_faults(1).await;
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        let answer = server.connect().await.exchange(&promise(100)).await;
        let proof = "an append under way for 2.1 s".to_owned();
        row("log behind, body not sent", 503, (0, 1), server, answer, proof).await
    };
    let draining = async {
        let server = Server::start(IngressOptions::default());
        server.log.hold_appends(true);
        let mut busy = server.connect().await;
        busy.send(&post(body("x").as_bytes())).await;
        server.until_faults(1).await;
        server.shut_down();
        while server.try_connect().await.is_some() {}
        server.log.hold_appends(false);
        let answer = busy.answer().await;
        let proof = "new connections refused meanwhile".to_owned();
        row("draining, request under way", 200, (1, 1), server, answer, proof).await
    };
    let stopping = async {
        // A head whose first half was not seen before the stop only finds the connection closed.
        loop {
            let server = Server::start(IngressOptions::default());
            let mut wire = server.connect().await;
            let request = post(body("x").as_bytes());
            let (first, second) = request.split_at(40);
            wire.send(first).await;
            let other = server.connect().await.exchange(&post(body("y").as_bytes())).await;
            assert_eq!(other.map(|answer| answer.status), Some(200));
            server.shut_down();
            while server.try_connect().await.is_some() {}
            let sent = wire.try_send(second).await;
            if let (Ok(()), Some(answer)) = (sent, wire.answer().await) {
                let proof = "the head was half there".to_owned();
                break row("draining, request completed", 503, (1, 1), server, Some(answer), proof)
                    .await;
            }
        }
    };
    let one_place = || IngressOptions { connections_max: 1, ..IngressOptions::default() };
    let capped = async move {
        let server = Server::start(one_place());
        server.log.hold_appends(true);
        let mut first = server.connect().await;
        first.send(&post(body("x").as_bytes())).await;
        server.until_faults(1).await;
        let answer = server.connect().await.answer().await;
        let proof = "the one place has a request under way".to_owned();
        row("above the connection cap", 503, (0, 1), server, answer, proof).await
    };
    let made_room = async move {
        let server = Server::start(one_place());
        let mut first = server.connect().await;
        let taken = first.exchange(&post(body("x").as_bytes())).await;
        assert_eq!(taken.map(|answer| answer.status), Some(200));
        let answer = server.connect().await.exchange(&post(body("y").as_bytes())).await;
        assert_eq!(first.answer().await, None, "closed for the new one");
        let proof = "the idle one closed".to_owned();
        row("cap reached, one is idle", 200, (2, 2), server, answer, proof).await
    };
    let stranger = async {
        let allow = vec!["203.0.113.0/24".parse().unwrap()];
        let server = Server::start(IngressOptions { allow, ..IngressOptions::default() });
        let answer = server.connect().await.exchange(&post(body("x").as_bytes())).await;
        let proof = "only 203.0.113.0/24 allowed".to_owned();
        row("peer not allowed", 403, (0, 0), server, answer, proof).await
    };
    vec![
        over_budget.boxed_local(),
        over_latency.boxed_local(),
        draining.boxed_local(),
        stopping.boxed_local(),
        capped.boxed_local(),
        made_room.boxed_local(),
        stranger.boxed_local(),
    ]
}

/// A webhook to a log at which something is wrong.
fn faulty(
    cause: &'static str,
    expected: u16,
    expected_raw: (usize, usize),
    inject: impl FnOnce(&Server) + 'static,
) -> Case {
    async move {
        let server = Server::start(IngressOptions::default());
        inject(&server);
        let two_accounts = body("x").replace(
            r#""entry":["#,
            r#""entry":[{"id":"215589900000999","changes":[{"field":"messages","value":{}}]},"#,
        );
        let answer = server.connect().await.exchange(&post(two_accounts.as_bytes())).await;
        let proof = format!("{} faulty append", server.log.append_faults_met());
        assert!(proof.starts_with('1'), "{cause}: {proof}");
        row(cause, expected, expected_raw, server, answer, proof).await
    }
    .boxed_local()
}
