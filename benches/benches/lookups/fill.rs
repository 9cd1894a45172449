//! Raw, filled through the log port with messages whose wamids are known: each sent, delivered and read,
//! many statuses to a webhook.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tickfold_core::raw::WebhookHeaders;
use tickfold_core::signature::sign;
use tickfold_core::time::Timestamp;
use tickfold_log::{Append, Header, Log, TopicPartition};
use tickfold_processor::{raw_topic, topic_specs};

use crate::{Outcome, PARTITIONS};

pub(crate) const PREFIX: &str = "wa";
const SECRET: &[u8] = b"bench-secret";
/// Many small accounts, so that the partitions are of one size.
const ACCOUNTS: usize = 500;
/// Messages in one webhook.
const TOGETHER: usize = 50;
/// Webhooks appended at once.
const CHUNK: usize = 100;

/// As Meta makes them: the number of the user, then something of its own.
pub(crate) fn wamid(n: usize) -> String {
    format!("wamid.HBgNNDkxNzAxMTAwMDExFQIAERgS{:08X}QUJDREVGR0hJSg==", n.wrapping_mul(0x9e37_79b1))
}

pub(crate) fn waba(n: usize) -> String {
    format!("2155{:011}", n % ACCOUNTS)
}

/// Seconds since 1970.
pub(crate) fn now() -> Outcome<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// A webhook of one account: what became of these messages.
pub(crate) fn body(account: usize, wamids: &[String], word: &str, time: u64) -> String {
    let status = |wamid: &String| {
        format!(
            r#"{{"id":"{wamid}","status":"{word}","timestamp":"{time}","recipient_id":"491701100011","biz_opaque_callback_data":"campaign=c{account};intent=otp","conversation":{{"id":"6ceb9d929c9bdc4f90e967a32f8639b4","origin":{{"type":"utility"}}}},"pricing":{{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}}}}"#
        )
    };
    let statuses = wamids.iter().map(status).collect::<Vec<_>>().join(",");
    let (waba, number) = (waba(account), 300_000_000_000_000 + account % ACCOUNTS);
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{waba}","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550000001","phone_number_id":"{number}"}},"statuses":[{statuses}]}}}}]}}]}}"#
    )
}

/// Appends so many messages and closes the log. Returns how many records they became.
pub(crate) fn fill(log: Arc<dyn Log>, messages: usize) -> Outcome<u64> {
    let (raw, time) = (raw_topic(PREFIX), now()?.saturating_sub(3_600));
    let mut bodies = (0..messages.div_ceil(TOGETHER)).flat_map(|webhook| {
        let begin = webhook * TOGETHER;
        let wamids: Vec<_> = (begin..(begin + TOGETHER).min(messages)).map(wamid).collect();
        let words = [("sent", 0), ("delivered", 2), ("read", 30)];
        words.map(|(word, after)| body(webhook, &wamids, word, time + after))
    });
    tokio::runtime::Runtime::new()?.block_on(async {
        log.ensure_topics(&topic_specs(PREFIX, PARTITIONS)).await?;
        let mut records = 0;
        loop {
            let chunk: Vec<_> =
                bodies.by_ref().take(CHUNK).flat_map(|body| appends(&raw, body)).collect();
            if chunk.is_empty() {
                log.close().await?;
                return Ok(records);
            }
            records += u64::try_from(log.append(chunk).await?.len())?;
        }
    })
}

fn appends(raw: &str, body: String) -> Vec<Append> {
    let headers = WebhookHeaders {
        signature: sign(SECRET, body.as_bytes()),
        received_time: Timestamp::from_millis(1_786_000_000_000),
        app: "main".to_owned(),
        secret_id: "primary".to_owned(),
        request_id: "0".repeat(32),
        partition_count: PARTITIONS,
    };
    let header = |(name, value): (&'static str, String)| Header {
        name: name.into(),
        value: Bytes::from(value),
    };
    let headers: Vec<_> = headers.encode().into_iter().map(header).collect();
    let body = Bytes::from(body);
    let places = tickfold_core::route(&body, PARTITIONS).into_iter();
    let appends = places.map(|place| Append {
        to: TopicPartition::new(raw, place.partition),
        key: Some(Bytes::from(place.key)),
        value: Some(body.clone()),
        headers: headers.clone(),
        timestamp_ms: None,
    });
    appends.collect()
}
