//! Seeded raw records: statuses of few messages with duplicates and disorder, inbound messages,
//! templates, account events, broken items, several accounts, ticks, redrives.

use bytes::Bytes;
use tickfold_core::ids::WabaId;
use tickfold_core::raw::{self, RawRecord, WebhookHeaders};
use tickfold_core::time::Timestamp;
use tickfold_log::{Append, Header, MemLog, TopicPartition};
use tickfold_processor::raw_topic;

use crate::rng::Rng;

/// Partitions of the raw topic.
pub(crate) const PARTITIONS: u32 = 2;
/// The one that is looked at.
pub(crate) const PARTITION: u32 = 1;
/// 2026-11-20.
pub(crate) const NOON_MS: i64 = 1_795_132_800_000;

/// Appends a webhook body to the partitions it is routed to.
pub(crate) fn append_webhook(log: &MemLog, body: &[u8]) {
    let headers = WebhookHeaders {
        signature: "sha256=00".to_owned(),
        received_time: Timestamp::from_millis(log.now_ms()),
        app: "main".to_owned(),
        secret_id: "s1".to_owned(),
        request_id: "r".to_owned(),
        partition_count: PARTITIONS,
    };
    let destinations = tickfold_core::route(body, PARTITIONS);
    let appends = destinations.into_iter().map(|to| {
        let value = Bytes::copy_from_slice(body);
        append(to.partition, Some(Bytes::from(to.key)), value, headers.encode())
    });
    log.append_now(appends.collect()).unwrap();
}

/// Appends a tick to the partition that is looked at.
pub(crate) fn append_tick(log: &MemLog) {
    let tick = append(PARTITION, None, Bytes::new(), raw::tick_headers(PARTITIONS));
    log.append_now(vec![tick]).unwrap();
}

fn append(
    partition: u32,
    key: Option<Bytes>,
    value: Bytes,
    headers: Vec<(&'static str, String)>,
) -> Append {
    let headers = headers
        .into_iter()
        .map(|(name, value)| Header { name: name.into(), value: Bytes::from(value) });
    Append {
        to: TopicPartition::new(raw_topic("wa"), partition),
        key,
        value: Some(value),
        headers: headers.collect(),
        timestamp_ms: None,
    }
}

/// Accounts whose partition is the one that is looked at, and one of another partition last.
pub(crate) fn accounts() -> Vec<String> {
    let all = || (0..).map(|n| (215_589_900_000_100_u64 + n).to_string());
    let mine = |id: &String| raw::partition_of(&WabaId::from(id.as_str()), PARTITIONS) == PARTITION;
    let mut accounts: Vec<String> = all().filter(mine).take(3).collect();
    accounts.extend(all().find(|id| !mine(id)));
    accounts
}

/// Appends a record of rules to the partition that is looked at.
pub(crate) fn append_rules(log: &MemLog, json: &str) {
    let value = Bytes::copy_from_slice(json.as_bytes());
    let rules = append(PARTITION, None, value, raw::rules_headers(PARTITIONS));
    log.append_now(vec![rules]).unwrap();
}

/// Appends a redrive of some record of the partition that is looked at, of a webhook or of another
/// redrive.
fn append_redrive(log: &MemLog, rng: &mut Rng) {
    let mut records = log.records(&raw_topic("wa"), PARTITION);
    records.retain(|record| record.key.is_some());
    if records.is_empty() {
        return;
    }
    let record = records.swap_remove(rng.below(records.len() as u64) as usize);
    let raw = RawRecord {
        offset: record.offset,
        appended: Timestamp::from_millis(record.timestamp_ms),
        headers: record.headers.iter().map(|h| (&*h.name, &*h.value)).collect(),
        value: record.value.as_deref(),
    };
    let headers = raw::redrive_headers(PARTITION, &raw).unwrap().into_iter();
    let headers = headers.map(|(name, value)| (name, String::from_utf8(value).unwrap()));
    let (key, value) = (record.key.clone(), record.value.clone().unwrap());
    log.append_now(vec![append(PARTITION, key, value, headers.collect())]).unwrap();
}

/// What a seeded run appends, and how time passes in it.
pub(crate) trait Traffic {
    /// Appends one more record.
    fn append_one(&mut self, log: &MemLog, rng: &mut Rng);

    /// How long it is until something else happens.
    fn pause_ms(&mut self, rng: &mut Rng) -> u64;
}

/// One status of a message of the first account.
pub(crate) fn status(message: u64, word: &str, time: i64) -> Vec<u8> {
    body(&[change(&accounts()[0], &status_value(message, word, time))])
}

/// A body that cannot be decoded, found in the partition that is looked at.
pub(crate) fn broken() -> Vec<u8> {
    let bodies = (0..).map(|n| format!("{{\"broken\":{n}").into_bytes());
    let mut mine = bodies.filter(|body| {
        tickfold_core::route(body, PARTITIONS).iter().any(|to| to.partition == PARTITION)
    });
    mine.next().unwrap()
}

/// The seeded source of records.
#[derive(Debug)]
pub(crate) struct Workload {
    accounts: Vec<String>,
    /// Bodies sent before, to be sent again.
    sent: Vec<Vec<u8>>,
}

impl Workload {
    pub(crate) fn new() -> Self {
        Self { accounts: accounts(), sent: Vec::new() }
    }
}

impl Traffic for Workload {
    fn append_one(&mut self, log: &MemLog, rng: &mut Rng) {
        match rng.below(12) {
            0 | 1 if rng.one_in(4) => append_redrive(log, rng),
            0 | 1 => append_tick(log),
            2 if !self.sent.is_empty() => {
                let at = usize::try_from(rng.below(self.sent.len() as u64)).unwrap();
                append_webhook(log, &self.sent[at].clone());
            }
            3 if rng.one_in(3) => append_webhook(log, &broken()),
            _ => {
                let changes = 1 + rng.below(2);
                let changes: Vec<String> = (0..changes).map(|_| self.change(rng)).collect();
                let body = body(&changes);
                append_webhook(log, &body);
                self.sent.push(body);
            }
        }
    }

    /// Now and then long enough for everything to expire.
    fn pause_ms(&mut self, rng: &mut Rng) -> u64 {
        let days = if rng.one_in(12) { 91 } else { 0 };
        days * 24 * 3_600_000 + rng.below(700)
    }
}

impl Workload {
    fn change(&self, rng: &mut Rng) -> String {
        let at = rng.below(self.accounts.len() as u64 * 2) as usize / 2;
        let account = &self.accounts[at];
        let time = NOON_MS / 1_000 + i64::try_from(rng.below(600)).unwrap();
        let value = match rng.below(10) {
            0 => inbound_value(rng.below(4), time),
            1 => {
                let event = rng.pick(&["APPROVED", "REJECTED", "PAUSED", "DISABLED"]);
                return template(account, event, time);
            }
            2 => {
                let event = rng.pick(&["DISABLED_UPDATE", "ACCOUNT_RESTRICTION", "SOMETHING_NEW"]);
                return account_event(account, event, time);
            }
            3 => status_value(rng.below(6), "warning", time).replace("recipient_id", "x"),
            4 => r#"{"messaging_product":"whatsapp","statuses":[7,{"status":"sent"}]}"#.to_owned(),
            _ => {
                let word = rng.pick(&["sent", "delivered", "read", "failed"]);
                status_value(at as u64 * 10 + rng.below(6), word, time)
            }
        };
        change(account, &value)
    }
}

pub(crate) fn body(changes: &[String]) -> Vec<u8> {
    format!(r#"{{"object":"whatsapp_business_account","entry":[{}]}}"#, changes.join(","))
        .into_bytes()
}

pub(crate) fn change(account: &str, value: &str) -> String {
    format!(r#"{{"id":"{account}","changes":[{{"field":"messages","value":{value}}}]}}"#)
}

fn status_value(message: u64, word: &str, time: i64) -> String {
    let errors = match word {
        "failed" => r#","errors":[{"code":131026,"title":"Message undeliverable"}]"#,
        _ => "",
    };
    format!(
        r#"{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550001","phone_number_id":"106540352242922"}},"statuses":[{{"id":"wamid.{message}","status":"{word}","timestamp":"{time}","recipient_id":"4915{message}"{errors}}}]}}"#
    )
}

fn inbound_value(message: u64, time: i64) -> String {
    format!(
        r#"{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550001","phone_number_id":"106540352242922"}},"messages":[{{"from":"4915{message}","id":"wamid.in{message}","timestamp":"{time}","type":"text","text":{{"body":"hi"}}}}]}}"#
    )
}

fn template(account: &str, event: &str, time: i64) -> String {
    format!(
        r#"{{"id":"{account}","time":{time},"changes":[{{"field":"message_template_status_update","value":{{"event":"{event}","message_template_id":9,"message_template_name":"otp","message_template_language":"en-US"}}}}]}}"#
    )
}

fn account_event(account: &str, event: &str, time: i64) -> String {
    format!(
        r#"{{"id":"{account}","time":{time},"changes":[{{"field":"account_update","value":{{"event":"{event}"}}}}]}}"#
    )
}
