//! The fold beside parsing the same bodies into `serde_json::Value`, which is the least that any
//! handler does. One body is one record.

use tickfold_benches::compare;
use tickfold_core::fold::Partition;
use tickfold_core::overlay::Nothing;
use tickfold_core::raw::{RawRecord, WebhookHeaders};
use tickfold_core::time::Timestamp;
use tickfold_core::{Overlay, fold};

const BODIES: u32 = 500;

fn main() {
    for statuses in [1, 10, 100] {
        let bodies: Vec<Vec<u8>> = (0..BODIES).map(|n| body(n, statuses)).collect();
        let name =
            format!("fold of {statuses} statuses, {} bytes", bodies.first().map_or(0, Vec::len));
        let parse = || {
            for body in &bodies {
                std::hint::black_box(serde_json::from_slice::<serde_json::Value>(body).is_ok());
            }
        };
        compare(&name, BODIES, parse, || fold_all(&bodies));
    }
}

/// Folds the bodies as a log from its beginning, on an empty state in memory.
fn fold_all(bodies: &[Vec<u8>]) {
    let mut overlay = Overlay::default();
    let appended = Timestamp::from_millis(1_795_132_900_000);
    let headers = WebhookHeaders {
        signature: format!("sha256={}", "0".repeat(64)),
        received_time: appended,
        app: "main".to_owned(),
        secret_id: "primary".to_owned(),
        request_id: "0".repeat(32),
        partition_count: 1,
    };
    let headers = headers.encode();
    for (offset, body) in (0..).zip(bodies) {
        let record = RawRecord {
            offset,
            appended,
            headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
            value: Some(body),
        };
        let outputs = fold(&mut overlay, &Nothing, Partition { id: 0, count: 1 }, &record);
        std::hint::black_box(outputs.is_ok());
    }
}

fn body(n: u32, statuses: u32) -> Vec<u8> {
    let status = |m: u32| {
        format!(
            r#"{{"id":"wamid.{n}.{m}","status":"delivered","timestamp":"1795132800","recipient_id":"447700900123","pricing":{{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}}}}"#
        )
    };
    let statuses: Vec<_> = (0..statuses).map(status).collect();
    let statuses = statuses.join(",");
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550100001","phone_number_id":"318840000000202"}},"statuses":[{statuses}]}}}}]}}]}}"#
    )
    .into_bytes()
}
