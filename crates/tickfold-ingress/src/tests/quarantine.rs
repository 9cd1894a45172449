//! The quarantine: what is kept of wrong signatures, and that nothing unverified leaves it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use tickfold_core::signature::sign;
use tickfold_log::{Error as LogError, Log, MemLog, Record, TopicPartition};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::counted::Counted;
use super::running::answer;
use super::support::{
    BODY, KEY, NOW, OTHER_KEY, PARTITIONS, Rig, TOPIC, parts, request, rig, rig_of, short,
};
use crate::{
    Accepted, Discarded, Error, IngressOptions, Parts, Quarantine, QuarantineParts, Secret, run,
};

/// The secret that Meta signs with and nobody has configured yet.
const NEXT_KEY: &[u8] = b"main-secret-next";
const ROOM: usize = 64 * 1024 * 1024;
const PREFIX: &str = "wa";

async fn open(log: &MemLog, bytes_max: usize) -> Quarantine {
    let topic = Quarantine::topic(PREFIX);
    log.ensure_topics_now(std::slice::from_ref(&topic)).unwrap();
    let parts = QuarantineParts {
        log: Arc::new(log.clone()),
        topic: topic.name,
        raw_topic: TOPIC.to_owned(),
        partition_count: PARTITIONS,
        bytes_max,
    };
    Quarantine::open(parts).await.unwrap()
}

async fn parts_with(options: IngressOptions, bytes_max: usize) -> (Parts, MemLog, Quarantine) {
    let (mut parts, log) = parts(IngressOptions { quarantine_bytes_max: bytes_max, ..options });
    let quarantine = open(&log, bytes_max).await;
    parts.quarantine = Some(quarantine.clone());
    (parts, log, quarantine)
}

async fn rig_with(bytes_max: usize) -> (Rig, Quarantine) {
    // The bound of the test, which is below the smallest one that a configuration may have.
    let (mut parts, log, quarantine) = parts_with(IngressOptions::default(), bytes_max).await;
    parts.options.quarantine_bytes_max = ROOM;
    (rig_of(parts, log), quarantine)
}

fn next() -> Secret {
    Secret::new("next", NEXT_KEY)
}

/// Different bodies of one account.
fn body(n: usize) -> String {
    BODY.replace("\"value\":{}", &format!("\"value\":{{\"n\":{n}}}"))
}

async fn post(rig: &Rig, key: &[u8], body: &str) {
    let signature = sign(key, body.as_bytes());
    let headers = [("x-hub-signature-256", signature.as_str())];
    let answer = rig.send(request(Method::POST, "/webhook/main", &headers, body.to_owned())).await;
    assert_eq!(answer.status, 401);
}

/// Posts with a wrong signature and waits until what was kept is in the log.
async fn post_and_settle(rig: &Rig, quarantine: &Quarantine, key: &[u8], body: &str) {
    post(rig, key, body).await;
    settle(quarantine).await;
}

async fn settle(quarantine: &Quarantine) {
    quarantine.tasks().close();
    quarantine.tasks().wait().await;
}

fn kept(log: &MemLog) -> Vec<Record> {
    log.records(&Quarantine::topic(PREFIX).name, 0)
}

fn bodies(records: &[Record]) -> Vec<&str> {
    records.iter().map(|r| std::str::from_utf8(r.value.as_deref().unwrap()).unwrap()).collect()
}

fn header<'a>(record: &'a Record, name: &str) -> &'a str {
    std::str::from_utf8(record.header(name).unwrap()).unwrap()
}

fn bytes(records: &[Record]) -> usize {
    records.iter().map(Record::size_bytes).sum()
}

#[tokio::test]
async fn it_is_off_unless_it_has_room() {
    let rig = rig(IngressOptions::default());
    post(&rig, NEXT_KEY, BODY).await;
    assert_eq!(rig.raw().len(), 0);
    assert_eq!(rig.log.topics().await.unwrap().len(), 1, "no topic but raw");

    let (mut parts, _, _) = parts_with(IngressOptions::default(), ROOM).await;
    parts.options.quarantine_bytes_max = 0;
    assert!(matches!(crate::server::build(parts), Err(Error::Options(_))), "kept in silence");
    let (mut parts, _) = super::support::parts(IngressOptions::default());
    parts.options.quarantine_bytes_max = ROOM;
    assert!(matches!(crate::server::build(parts), Err(Error::Options(_))), "dropped in silence");
}

#[tokio::test]
async fn only_well_formed_wrong_signatures_are_kept() {
    let (rig, quarantine) = rig_with(ROOM).await;
    let wrong = sign(NEXT_KEY, BODY.as_bytes());
    let right = sign(KEY, BODY.as_bytes());
    let cases: [(&str, u16, &[&str]); 5] = [
        ("/webhook/main", 401, &[]),
        ("/webhook/main", 401, &[&wrong[1..]]),
        ("/webhook/main", 401, &[&wrong, &wrong]),
        ("/webhook/unknown", 404, &[&wrong]),
        ("/webhook/main", 200, &[&right]),
    ];
    for (path, status, signatures) in cases {
        let headers: Vec<_> = signatures.iter().map(|s| ("x-hub-signature-256", *s)).collect();
        let answer = rig.send(request(Method::POST, path, &headers, BODY)).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {signatures:?}");
        settle(&quarantine).await;
        assert_eq!(kept(&rig.log), [], "{path} {signatures:?}");
    }
    let odd = "{\"no\": JSON \u{e9}\\/ ";
    post_and_settle(&rig, &quarantine, NEXT_KEY, odd).await;
    let kept = kept(&rig.log);
    assert_eq!(bodies(&kept), [odd], "exact bytes");
    let names: Vec<_> = kept[0].headers.iter().map(|h| &*h.name).collect();
    assert_eq!(names, ["wa-kind", "wa-signature", "wa-received-time", "wa-app", "wa-request-id"]);
    assert_eq!(header(&kept[0], "wa-kind"), "quarantined");
    assert_eq!(header(&kept[0], "wa-signature"), sign(NEXT_KEY, odd.as_bytes()));
    assert_eq!(header(&kept[0], "wa-received-time"), NOW.to_string());
    assert_eq!(header(&kept[0], "wa-app"), "main");
    assert_eq!(header(&kept[0], "wa-request-id").len(), 32);
    assert_eq!(quarantine.bytes(), bytes(&kept));
    assert_eq!(rig.ingress.budget.used(), 0, "every request gave its bytes back");
    assert_eq!(rig.raw().len(), 1, "the one with the right signature");
}

/// Accepted webhooks look as if they had been taken when they came, in every partition they name.
#[tokio::test]
async fn accepted_webhooks_are_what_they_would_have_been() {
    let entry = |id: &str| format!(r#"{{"id":"{id}","changes":[{{"field":"messages"}}]}}"#);
    let two = format!(
        "{{\"object\":\"whatsapp_business_account\", \"entry\":[{},{}]}} ",
        entry("215589900000101"),
        entry("215589900000102")
    );
    let all = [body(1), "no JSON".to_owned(), two, body(2)];
    let (late, quarantine) = rig_with(ROOM).await;
    for body in &all {
        post_and_settle(&late, &quarantine, NEXT_KEY, body).await;
    }
    let ids: Vec<_> = kept(&late.log);
    let ids: Vec<_> = ids.iter().map(|r| header(r, "wa-request-id").to_owned()).collect();
    assert_eq!(late.raw().len(), 0);
    late.log.set_now_ms(NOW.as_millis() + 60_000);
    let accepted = quarantine.accept("main", &next()).await.unwrap();
    assert_eq!(accepted, Accepted { scanned: 4, accepted: 4, kept: 0 });
    assert_eq!((kept(&late.log), quarantine.bytes()), (vec![], 0));

    // The same bodies, had the secret been known.
    let (mut parts, log) = parts(IngressOptions::default());
    let app = crate::App { name: "main".to_owned(), secrets: vec![next()], verify_tokens: vec![] };
    parts.apps = crate::Apps::new(vec![app], NOW).unwrap();
    let known = rig_of(parts, log);
    for body in &all {
        let signature = sign(NEXT_KEY, body.as_bytes());
        let headers = [("x-hub-signature-256", signature.as_str())];
        let request = request(Method::POST, "/webhook/main", &headers, body.clone());
        assert_eq!(known.send(request).await.status, 200);
    }
    let (late, known) = (late.raw(), known.raw());
    assert_eq!(late.len(), 5);
    assert_eq!(late.len(), known.len());
    for ((partition, late), (expected, known)) in late.iter().zip(&known) {
        assert_eq!((partition, &late.key, &late.value), (expected, &known.key, &known.value));
        for (late, known) in late.headers.iter().zip(&known.headers) {
            assert_eq!(late.name, known.name);
            match &*late.name {
                "wa-request-id" => assert!(ids.iter().any(|id| *id == late.value)),
                _ => assert_eq!(late.value, known.value, "{}", late.name),
            }
        }
        assert_eq!(late.headers.len(), known.headers.len());
        assert_eq!(late.timestamp_ms, NOW.as_millis() + 60_000, "the log's own time of append");
    }
}

#[tokio::test]
async fn what_does_not_verify_never_reaches_raw_and_is_never_lost() {
    let (rig, quarantine) = rig_with(ROOM).await;
    for n in 0..6 {
        // By a stranger, and by another app's secret to this app's path.
        let key = if n % 2 == 0 { b"guess".as_slice() } else { OTHER_KEY };
        post_and_settle(&rig, &quarantine, key, &body(n)).await;
    }
    let before = kept(&rig.log);
    let attempts = [
        ("main", next()),
        ("main", Secret::new("new", KEY)),
        ("main", Secret::new("empty", "")),
        // The secret that signed some, but they came to another app.
        ("other", Secret::new("1", OTHER_KEY)),
        ("unknown", Secret::new("1", OTHER_KEY)),
    ];
    for (app, secret) in attempts {
        let accepted = quarantine.accept(app, &secret).await.unwrap();
        assert_eq!(accepted, Accepted { scanned: 6, accepted: 0, kept: 6 }, "{app} {secret:?}");
        assert_eq!(kept(&rig.log), before, "where nothing matches nothing is written");
    }
    assert_eq!(rig.raw().len(), 0);

    // Between those that verify they stay, with all their parts, and the ones behind do not move.
    post_and_settle(&rig, &quarantine, NEXT_KEY, &body(6)).await;
    post_and_settle(&rig, &quarantine, b"guess", &body(7)).await;
    rig.log.set_now_ms(NOW.as_millis() + 60_000);
    let accepted = quarantine.accept("main", &next()).await.unwrap();
    assert_eq!(accepted, Accepted { scanned: 8, accepted: 1, kept: 7 });
    assert_eq!(bodies(&rig.raw().iter().map(|(_, r)| r.clone()).collect::<Vec<_>>()), [body(6)]);
    let mut after = kept(&rig.log);
    assert_eq!(quarantine.bytes(), bytes(&after));
    assert_eq!(after[0].offset, 7, "the last one is where it was");
    after.rotate_left(1);
    let parts =
        |record: &Record| (record.timestamp_ms, record.value.clone(), record.headers.clone());
    assert_eq!(
        after[..6].iter().map(parts).collect::<Vec<_>>(),
        before.iter().map(parts).collect::<Vec<_>>()
    );
}

/// Some megabytes, in many chunks.
#[tokio::test]
async fn a_large_quarantine_is_gone_through_in_chunks() {
    let (rig, quarantine) = rig_with(ROOM).await;
    let large = |n: usize| format!("{n} {}", "x".repeat(150_000));
    for n in 0..40 {
        let key = if n % 3 == 0 { NEXT_KEY } else { b"guess" };
        post_and_settle(&rig, &quarantine, key, &large(n)).await;
    }
    let accepted = quarantine.accept("main", &next()).await.unwrap();
    assert_eq!(accepted, Accepted { scanned: 40, accepted: 14, kept: 26 });
    let all = |records: &[Record]| {
        let mut bodies: Vec<_> = bodies(records).into_iter().map(str::to_owned).collect();
        bodies.sort();
        bodies
    };
    let expected = |verified: bool| {
        let mut bodies: Vec<_> = (0..40).filter(|n| (n % 3 == 0) == verified).map(large).collect();
        bodies.sort();
        bodies
    };
    let raw: Vec<_> = rig.raw().into_iter().map(|(_, record)| record).collect();
    assert_eq!(all(&raw), expected(true));
    assert_eq!(all(&kept(&rig.log)), expected(false));
    assert_eq!(quarantine.bytes(), bytes(&kept(&rig.log)));
}

#[tokio::test(start_paused = true)]
async fn processes_that_share_a_topic_know_of_each_other_after_a_minute() {
    let (first, quarantine) = rig_with(ROOM).await;
    post_and_settle(&first, &quarantine, NEXT_KEY, &body(100)).await;
    let one = quarantine.bytes();
    let bound = one * 3;
    let log = first.log.clone();
    quarantine.discard().await.unwrap();
    let node = async || {
        let quarantine = open(&log, bound).await;
        let (mut parts, _) =
            parts(IngressOptions { quarantine_bytes_max: ROOM, ..IngressOptions::default() });
        parts.quarantine = Some(quarantine.clone());
        (rig_of(parts, log.clone()), quarantine)
    };
    let ((a, of_a), (b, of_b)) = (node().await, node().await);
    for n in 200..202 {
        post_and_settle(&a, &of_a, NEXT_KEY, &body(n)).await;
    }
    post_and_settle(&b, &of_b, NEXT_KEY, &body(300)).await;
    assert_eq!((of_a.bytes(), of_b.bytes()), (2 * one, one), "each knows its own");

    // What fits by what it knows is kept, and counts what is there.
    tokio::time::advance(Duration::from_secs(61)).await;
    post_and_settle(&b, &of_b, NEXT_KEY, &body(301)).await;
    assert_eq!(of_b.bytes(), 4 * one);
    post_and_settle(&b, &of_b, NEXT_KEY, &body(302)).await;
    assert_eq!(kept(&log).len(), 4, "it is full");

    // An operator empties it through the other.
    of_a.discard().await.unwrap();
    post_and_settle(&b, &of_b, NEXT_KEY, &body(303)).await;
    assert_eq!((kept(&log).len(), of_b.bytes()), (0, 4 * one));
    tokio::time::advance(Duration::from_secs(2)).await;
    post_and_settle(&b, &of_b, NEXT_KEY, &body(304)).await;
    assert_eq!(of_b.bytes(), 0, "it looked, since there was no room");
    post_and_settle(&b, &of_b, NEXT_KEY, &body(305)).await;
    assert_eq!((bodies(&kept(&log)), of_b.bytes()), (vec![body(305).as_str()], one));
}

#[tokio::test]
async fn the_bound_holds_whatever_is_offered() {
    let counts = Counted::start();
    let one = {
        let (rig, quarantine) = rig_with(ROOM).await;
        post_and_settle(&rig, &quarantine, NEXT_KEY, &body(100)).await;
        quarantine.bytes()
    };
    let counted = counts.of("tickfold_ingress_quarantined_total");
    // Room for ten and most of an eleventh; a hundred come.
    let bound = one * 11 - 1;
    let (rig, quarantine) = rig_with(bound).await;
    for n in 100..200 {
        post_and_settle(&rig, &quarantine, NEXT_KEY, &body(n)).await;
        assert!(bytes(&kept(&rig.log)) <= bound);
    }
    assert_eq!(kept(&rig.log).len(), 10, "the oldest stay");
    assert_eq!(header(&kept(&rig.log)[0], "wa-signature"), sign(NEXT_KEY, body(100).as_bytes()));
    assert_eq!(counts.of("tickfold_ingress_quarantined_total") - counted, 10);
    assert_eq!(counts.of("tickfold_ingress_quarantine_dropped_total full"), 90);

    // A start counts what is there; only then is it known that there is room for nothing.
    let again = open(&rig.log, bound).await;
    assert_eq!(again.bytes(), bytes(&kept(&rig.log)));
    quarantine.accept("main", &next()).await.unwrap();
    assert_eq!(counts.of("tickfold_ingress_quarantine_accepted_total"), 10);
    post_and_settle(&rig, &quarantine, NEXT_KEY, &body(300)).await;
    assert_eq!(kept(&rig.log).len(), 1, "there is room again");
}

/// A log that hangs: the answers come at once, few bodies wait, and they are in the budget.
#[tokio::test]
async fn a_hanging_or_failing_log_delays_no_answer() {
    let counts = Counted::start();
    let (rig, quarantine) = rig_with(ROOM).await;
    rig.log.hold_appends(true);
    for n in 0..10 {
        post(&rig, NEXT_KEY, &body(n)).await;
    }
    assert_eq!(quarantine.tasks().len(), 4);
    assert!(rig.ingress.budget.used() > 4 * BODY.len(), "the log still holds the bytes");
    assert_eq!(counts.of("tickfold_ingress_quarantine_dropped_total busy"), 6);
    rig.log.hold_appends(false);
    settle(&quarantine).await;
    assert_eq!(kept(&rig.log).len(), 4);
    assert_eq!(rig.ingress.budget.used(), 0);

    rig.log.fail_appends(true);
    let before = quarantine.bytes();
    post_and_settle(&rig, &quarantine, NEXT_KEY, &body(10)).await;
    assert_eq!(counts.of("tickfold_ingress_quarantine_dropped_total log_failed"), 1);
    assert_eq!(quarantine.bytes(), before);
    assert!(rig.ingress.status.readiness().ready, "wrong signatures make no node unready");
}

/// The log fails at each write of an acceptance, as a crash there would look afterwards.
#[tokio::test]
async fn an_acceptance_that_breaks_off_loses_nothing() {
    let (rig, quarantine) = rig_with(ROOM).await;
    for n in 0..4 {
        let key = if n % 2 == 1 { NEXT_KEY } else { b"guess" };
        post_and_settle(&rig, &quarantine, key, &body(n)).await;
    }
    let before = kept(&rig.log);
    rig.log.fail_appends(true);
    let failed = quarantine.accept("main", &next()).await;
    let source = |error: &Error| {
        matches!(error, Error::Quarantine { source: LogError::Unavailable { .. }, .. })
    };
    assert!(failed.as_ref().is_err_and(source), "{failed:?}");
    assert_eq!((kept(&rig.log), rig.raw().len()), (before.clone(), 0));
    rig.log.fail_appends(false);

    // Everything appended again, and then no trim.
    rig.log.fail_trims(true);
    let failed = quarantine.accept("main", &next()).await;
    assert!(failed.as_ref().is_err_and(source), "{failed:?}");
    let after = kept(&rig.log);
    assert_eq!(after[..4], before, "nothing is gone");
    assert_eq!(bodies(&after[4..]), [body(0), body(2)]);
    assert_eq!(rig.raw().len(), 2);
    assert_eq!(quarantine.bytes(), bytes(&after));
    let reopened = open(&rig.log, ROOM).await;
    assert_eq!(reopened.bytes(), bytes(&after));

    // Again, with the process that came after: repeats, and nothing else.
    rig.log.fail_trims(false);
    let accepted = reopened.accept("main", &next()).await.unwrap();
    assert_eq!(accepted, Accepted { scanned: 6, accepted: 2, kept: 4 });
    let raw: Vec<_> = rig.raw().into_iter().map(|(_, record)| record).collect();
    assert_eq!(bodies(&raw), [body(1), body(3), body(1), body(3)]);
    assert_eq!(bodies(&kept(&rig.log)), [body(0), body(2), body(0), body(2)]);
    assert_eq!(reopened.bytes(), bytes(&kept(&rig.log)));
}

#[tokio::test]
async fn operators_take_turns_and_may_go_away() {
    let (rig, quarantine) = rig_with(ROOM).await;
    for n in 0..5 {
        post_and_settle(&rig, &quarantine, NEXT_KEY, &body(n)).await;
    }
    // The caller goes away while the log hangs; the work does not.
    rig.log.hold_appends(true);
    let secret = next();
    let gone = quarantine.accept("main", &secret);
    assert!(tokio::time::timeout(Duration::from_millis(1), gone).await.is_err());
    let second = quarantine.accept("main", &secret);
    let release = async { rig.log.hold_appends(false) };
    let (second, discarded, ()) = tokio::join!(second, quarantine.discard(), release);
    assert_eq!(second.unwrap(), Accepted::default(), "the first one had moved them all");
    assert_eq!(discarded.unwrap(), Discarded::default());
    assert_eq!(rig.raw().len(), 5);
}

#[tokio::test]
async fn discarding_deletes_what_is_there() {
    let counts = Counted::start();
    let (rig, quarantine) = rig_with(ROOM).await;
    for n in 0..3 {
        post_and_settle(&rig, &quarantine, NEXT_KEY, &body(n)).await;
    }
    let size = bytes(&kept(&rig.log));
    let discarded = quarantine.discard().await.unwrap();
    assert_eq!(discarded, Discarded { records: 3, bytes: size });
    assert_eq!((kept(&rig.log), quarantine.bytes()), (vec![], 0));
    assert_eq!(counts.of("tickfold_ingress_quarantine_discarded_total"), 3);
    assert_eq!(quarantine.discard().await.unwrap(), Discarded::default());
    post_and_settle(&rig, &quarantine, NEXT_KEY, &body(3)).await;
    assert_eq!(bodies(&kept(&rig.log)), [body(3)]);
    let at = TopicPartition::new(Quarantine::topic(PREFIX).name, 0);
    assert_eq!(rig.log.bounds_now(&at).unwrap().start, 3, "no offset twice");
    assert_eq!(rig.raw().len(), 0);
}

/// On a real socket: what was answered 401 just before the stop is kept when `run` returns.
#[tokio::test]
async fn the_drain_waits_for_what_is_on_its_way() {
    let (parts, log, quarantine) = parts_with(short(), ROOM).await;
    let address = parts.listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let mut running = tokio::spawn(run(parts, shutdown.clone()));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    log.hold_appends(true);
    let signature = sign(NEXT_KEY, BODY.as_bytes());
    let length = BODY.len();
    let request = format!(
        "POST /webhook/main HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         x-hub-signature-256: {signature}\r\ncontent-length: {length}\r\n\r\n{BODY}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!((kept(&log).len(), quarantine.tasks().len()), (0, 1), "answered before it is kept");
    shutdown.cancel();
    // With nothing under way a stop takes much less.
    let early = tokio::time::timeout(Duration::from_millis(1_500), &mut running).await;
    assert!(early.is_err(), "the drain waits for the task, which waits for the log");
    log.hold_appends(false);
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap().unwrap();
    assert_eq!(bodies(&kept(&log)), [BODY]);
}
