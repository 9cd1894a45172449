//! The fold beside parsing the same bodies into `serde_json::Value`, which is the least that any
//! handler does, and what its own time goes into. One body is one record.

use std::time::Instant;

use tickfold_benches::{compare, median};
use tickfold_core::fold::Partition;
use tickfold_core::overlay::Nothing;
use tickfold_core::raw::{RawRecord, WebhookHeaders};
use tickfold_core::time::Timestamp;
use tickfold_core::{Overlay, count_items, fold};

const BODIES: u32 = 500;

/// How often each part of the profile is measured.
const ROUNDS: usize = 15;

/// When all bodies were appended.
const APPENDED: Timestamp = Timestamp::from_millis(1_795_132_900_000);

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
        compare(&name, BODIES, parse, || fold_all(&mut Overlay::default(), 0, &bodies));
    }
    let single: Vec<Vec<u8>> = (0..BODIES * 4).map(|n| body(n, 1)).collect();
    profile("single statuses", &single);
    let mixed: Vec<Vec<u8>> = (0..BODIES * 4).map(mixed).collect();
    profile("mixed traffic", &mixed);
}

/// Prints how many events one core folds in a second, and where the time goes: reading the bodies,
/// finding and comparing what is known, and what new facts cost (state, outputs and rows). The
/// second is what a fold of the same bodies costs that teaches nothing, less the first.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
fn profile(name: &str, bodies: &[Vec<u8>]) {
    let events: usize = bodies.iter().map(|body| count_items(body, APPENDED)).sum();
    let (mut reads, mut firsts, mut agains) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for body in bodies {
            std::hint::black_box(count_items(body, APPENDED));
        }
        reads.push(begin.elapsed().as_secs_f64());
        let mut overlay = Overlay::default();
        let begin = Instant::now();
        fold_all(&mut overlay, 0, bodies);
        firsts.push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        fold_all(&mut overlay, bodies.len() as u64, bodies);
        agains.push(begin.elapsed().as_secs_f64());
    }
    let (read, first, again) = (median(&mut reads), median(&mut firsts), median(&mut agains));
    let share = |seconds: f64| 100.0 * seconds / first;
    println!(
        "{name:18} {:9.0} events/s per core ({events} events); decode {:2.0} %, look up and compare \
         {:2.0} %, new facts and outputs {:2.0} %; repeated: {:9.0} events/s",
        events as f64 / first,
        share(read),
        share(again - read),
        share(first - again),
        events as f64 / again,
    );
}

/// Folds the bodies on top of an overlay, in memory.
fn fold_all(overlay: &mut Overlay, from: u64, bodies: &[Vec<u8>]) {
    let headers = WebhookHeaders {
        signature: format!("sha256={}", "0".repeat(64)),
        received_time: APPENDED,
        app: "main".to_owned(),
        secret_id: "primary".to_owned(),
        request_id: "0".repeat(32),
        partition_count: 1,
    };
    let headers = headers.encode();
    for (offset, body) in (from..).zip(bodies) {
        let record = RawRecord {
            offset,
            appended: APPENDED,
            headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
            value: Some(body),
        };
        let outputs = fold(overlay, &Nothing, Partition { id: 0, count: 1 }, &record);
        std::hint::black_box(outputs.is_ok());
    }
}

const PRICE: &str =
    r#""pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}"#;

fn body(n: u32, statuses: u32) -> Vec<u8> {
    let status = |m: u32| {
        format!(
            r#"{{"id":"wamid.{n}.{m}","status":"delivered","timestamp":"1795132800","recipient_id":"447700900123",{PRICE}}}"#
        )
    };
    let statuses: Vec<_> = (0..statuses).map(status).collect();
    messages(&format!(r#""statuses":[{}]"#, statuses.join(",")))
}

/// Of ten bodies: two messages of ours from `sent` to `read`, one that fails, two of customers, and
/// one word on a template.
fn mixed(n: u32) -> Vec<u8> {
    let (round, user) = (n / 10, 447_700_900_000_u64 + u64::from(n / 10 % 997));
    let status = |m: u32, word: &str, rest: &str| {
        messages(&format!(
            r#""statuses":[{{"id":"wamid.{round}.{m}","status":"{word}","timestamp":"1795132800","recipient_id":"{user}","biz_opaque_callback_data":"campaign=autumn;intent={round}"{rest}}}]"#
        ))
    };
    let inbound = |m: u32, content: &str| {
        messages(&format!(
            r#""contacts":[{{"wa_id":"{user}","profile":{{"name":"Imo"}}}}],"messages":[{{"id":"wamid.in.{round}.{m}","from":"{user}","timestamp":"1795132800",{content}}}]"#
        ))
    };
    let price = format!(",{PRICE}");
    match n % 10 {
        0 => status(0, "sent", &price),
        1 => status(0, "delivered", &price),
        2 => status(0, "read", ""),
        3 => status(1, "sent", &price),
        4 => status(1, "delivered", &price),
        5 => status(1, "read", ""),
        6 => status(
            2,
            "failed",
            r#","errors":[{"code":131026,"title":"Message undeliverable","error_data":{"details":"Message undeliverable."}}]"#,
        ),
        7 => inbound(0, r#""type":"text","text":{"body":"When will it arrive?"}"#),
        8 => inbound(
            1,
            r#""type":"image","image":{"id":"77","mime_type":"image/jpeg","sha256":"abc","caption":"broken"}"#,
        ),
        _ => format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","time":{},"changes":[{{"field":"message_template_quality_update","value":{{"previous_quality_score":"YELLOW","new_quality_score":"GREEN","message_template_id":{},"message_template_name":"order","message_template_language":"en_US"}}}}]}}]}}"#,
            1_795_132_800 + n,
            round % 50
        )
        .into_bytes(),
    }
}

fn messages(value: &str) -> Vec<u8> {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550100001","phone_number_id":"318840000000202"}},{value}}}}}]}}]}}"#
    )
    .into_bytes()
}
