//! What is appended: places, keys, headers, bytes; and ticks.

use std::time::Duration;

use bytes::Bytes;
use tickfold_core::hash::sha256;
use tickfold_core::ids::WabaId;
use tickfold_core::raw::partition_of;
use tickfold_core::route::Placement;
use tickfold_log::Record;
use tokio_util::sync::CancellationToken;

use super::support::{BODY, KEY, PARTITIONS, rig};
use crate::IngressOptions;
use crate::ticks;
use tickfold_core::signature::sign;

fn headers(record: &Record) -> Vec<(&str, &str)> {
    let text = |value| std::str::from_utf8(value).unwrap();
    record.headers.iter().map(|h| (&*h.name, text(&h.value))).collect()
}

fn waba(partition: u32, skip: usize) -> String {
    let of = |id: &String| partition_of(&WabaId::new(id.as_str()), PARTITIONS) == partition;
    (0_u32..).map(|n| format!("2155899{n:08}")).filter(of).nth(skip).unwrap()
}

#[tokio::test]
async fn a_body_of_several_accounts_is_appended_once_to_each_partition() {
    let rig = rig(IngressOptions::default());
    // Two accounts of partition 3, and one of partition 6 that comes first.
    let ids = [waba(6, 0), waba(3, 0), waba(3, 1)];
    let entry = |id: &String| {
        // Escapes and spaces as no serialiser would write them again.
        format!(
            r#"{{"id" : "{id}","changes":[{{"field":"messages","value":{{"x":"\u00e9\/ é"}}}}]}}"#
        )
    };
    let entries: Vec<String> = ids.iter().map(entry).collect();
    let body = format!(
        "{{\"object\":\"whatsapp_business_account\",\n\"entry\":[{}]}} ",
        entries.join(",")
    );
    let told =
        |answer: &super::support::Answered| answer.header("tickfold-positions").map(str::to_owned);
    let answer = rig.post(body.as_str()).await;
    assert_eq!((answer.status.as_u16(), told(&answer).as_deref()), (200, Some("3:1,6:1")));

    let raw = rig.raw();
    let places: Vec<(u32, &[u8])> =
        raw.iter().map(|(p, r)| (*p, r.key.as_deref().unwrap())).collect();
    assert_eq!(places, [(3, ids[1].as_bytes()), (6, ids[0].as_bytes())]);
    for (_, record) in &raw {
        assert_eq!(record.value.as_deref(), Some(body.as_bytes()), "exact bytes");
        let headers = headers(record);
        let request_id = headers.iter().find(|(name, _)| *name == "wa-request-id").unwrap().1;
        assert_eq!(request_id.len(), 32);
        assert!(request_id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
        let expected = [
            ("wa-kind", "webhook"),
            ("wa-signature", &sign(KEY, body.as_bytes())),
            ("wa-received-time", "2026-11-20T00:00:00.123Z"),
            ("wa-app", "main"),
            ("wa-secret-id", "new"),
            ("wa-request-id", request_id),
            ("wa-route-version", "1"),
            ("wa-partition-count", "8"),
        ];
        assert_eq!(headers, expected);
    }
    let first = headers(&raw[0].1)[5];
    assert_eq!(first, headers(&raw[1].1)[5], "one id for all records of a request");
    rig.post(BODY).await;
    let ids: Vec<_> = rig.raw().iter().map(|(_, r)| headers(r)[5].1.to_owned()).collect();
    assert_ne!(ids.last(), ids.first(), "another id for another request");
}

#[tokio::test]
async fn a_body_that_names_no_account_has_one_place_by_its_digest() {
    let rig = rig(IngressOptions::default());
    let body = b"{\"object\":";
    rig.post(body.as_slice()).await;
    rig.post(body.as_slice()).await;
    let raw = rig.raw();
    assert_eq!(raw.len(), 2, "the retry meets its twin");
    for (partition, record) in raw {
        assert_eq!(partition, Placement::new(body, PARTITIONS).partition(None));
        assert_eq!(record.key, Some(Bytes::copy_from_slice(&sha256(body))));
        assert_eq!(record.value.as_deref(), Some(body.as_slice()));
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_come_on_idle_partitions_only() {
    let rig = rig(IngressOptions::default());
    let interval = Duration::from_secs(5);
    let stop = CancellationToken::new();
    let raw = std::sync::Arc::clone(&rig.ingress.raw);
    let ticks = tokio::spawn(ticks::run(raw, interval, Duration::from_secs(3), stop.clone()));
    let busy = partition_of(&WabaId::new("215589900000101"), PARTITIONS);
    let counts = |rig: &super::support::Rig| -> Vec<usize> {
        (0..PARTITIONS).map(|p| rig.log.records(super::support::TOPIC, p).len()).collect()
    };

    tokio::time::sleep(Duration::from_millis(4_900)).await;
    assert_eq!(counts(&rig), [0; PARTITIONS as usize], "none before the interval is over");
    // Every 2 s from now a webhook for one partition, until 14.9 s: ticks at 5 s and 10 s.
    for _ in 0..5 {
        assert_eq!(rig.post(BODY).await.status, 200);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    for (partition, count) in (0..).zip(counts(&rig)) {
        let records = rig.log.records(super::support::TOPIC, partition);
        if partition == busy {
            assert_eq!(count, 5);
            assert!(records.iter().all(|r| headers(r)[0] == ("wa-kind", "webhook")));
        } else {
            assert_eq!(count, 2, "partition {partition}");
            for tick in records {
                assert_eq!((tick.key.as_deref(), tick.value.as_deref()), (None, Some(&b""[..])));
                let expected =
                    [("wa-kind", "control"), ("wa-control", "tick"), ("wa-partition-count", "8")];
                assert_eq!(headers(&tick), expected);
            }
        }
    }
    stop.cancel();
    ticks.await.unwrap();
    tokio::time::sleep(interval * 3).await;
    assert_eq!(rig.raw().len(), 5 + 7 * 2, "none after the stop");
}

#[tokio::test(start_paused = true)]
async fn failing_ticks_are_tried_at_the_next_interval_and_tell_readiness() {
    let rig = rig(IngressOptions::default());
    let stop = CancellationToken::new();
    let raw = std::sync::Arc::clone(&rig.ingress.raw);
    let interval = Duration::from_secs(5);
    let ticks = tokio::spawn(ticks::run(raw, interval, Duration::from_secs(3), stop.clone()));
    rig.log.fail_appends(true);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    assert_eq!(rig.ingress.status.readiness().reason, Some("log_unavailable"));
    rig.log.fail_appends(false);
    tokio::time::sleep(Duration::from_millis(4_800)).await;
    assert_eq!(rig.raw().len(), 0, "not sooner than the next interval");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.raw().len(), PARTITIONS as usize);
    assert!(rig.ingress.status.readiness().ready);
    // A hanging log does not keep the task from its stop.
    rig.log.hold_appends(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.cancel();
    ticks.await.unwrap();
}
