//! Raw, filled through the log port as ingress fills it, without its HTTP.

use std::sync::Arc;

use bytes::Bytes;
use tickfold_core::raw::WebhookHeaders;
use tickfold_core::time::Timestamp;
use tickfold_log::{Append, Header, Log, TopicPartition};
use tickfold_processor::{raw_topic, topic_specs};
use tickfold_workload::{Spec, Traffic, Webhook};

use crate::{Outcome, PARTITIONS};

pub(crate) const PREFIX: &str = "wa";
const SECRET: &[u8] = b"bench-secret";
/// Many small accounts, so that the partitions are of one size; 200,000 conversations in all.
const ACCOUNTS: u32 = 1_000;
const PARTIES_PER_NUMBER: u32 = 200;
/// Records appended at once.
const CHUNK: usize = 1_000;
/// When everything happens: a day of August 2026.
const BASE: Timestamp = Timestamp::from_millis(1_786_000_000_000);

/// Appends so many webhooks and closes the log. Returns how many records they became.
pub(crate) fn fill(log: Arc<dyn Log>, round: usize, webhooks: usize) -> Outcome<u64> {
    let spec = Spec {
        seed: u64::try_from(round)? + 1,
        wabas: ACCOUNTS,
        numbers_per_waba: 1,
        parties_per_number: PARTIES_PER_NUMBER,
        webhooks_per_second: 1_000,
        batches: 0.0,
        ..Spec::default()
    };
    let mut traffic = Traffic::new(&spec, SECRET, BASE)?;
    let raw = raw_topic(PREFIX);
    tokio::runtime::Runtime::new()?.block_on(async {
        log.ensure_topics(&topic_specs(PREFIX, PARTITIONS)).await?;
        let (mut left, mut records) = (webhooks, 0);
        while left > 0 {
            let count = left.min(CHUNK);
            let mut chunk = Vec::new();
            for webhook in traffic.by_ref().take(count) {
                chunk.extend(appends(&raw, webhook)?);
            }
            records += u64::try_from(log.append(chunk).await?.len())?;
            left -= count;
        }
        log.close().await?;
        Ok(records)
    })
}

fn appends(raw: &str, webhook: Webhook) -> Outcome<Vec<Append>> {
    let headers = WebhookHeaders {
        signature: webhook.signature.ok_or("not signed")?,
        received_time: BASE,
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
    let places = tickfold_core::route(&webhook.body, PARTITIONS).into_iter();
    let appends = places.map(|place| Append {
        to: TopicPartition::new(raw, place.partition),
        key: Some(Bytes::from(place.key)),
        value: Some(webhook.body.clone()),
        headers: headers.clone(),
        timestamp_ms: None,
    });
    Ok(appends.collect())
}
