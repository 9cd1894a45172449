//! What Meta sends: webhooks of a few businesses whose messages are sent, delivered, read and fail in
//! any order, beside customers who write, templates, accounts and words that nobody knows; and the
//! records that ingress appends on its own.

use bytes::Bytes;
use serde_json::{Value, json};
use tickfold_core::raw::{self, RawRecord, WebhookHeaders};
use tickfold_core::rules::Rules;
use tickfold_core::time::Timestamp;
use tickfold_log::{Append, Header, Record, TopicPartition};
use tickfold_processor::{raw_record, raw_topic};

use crate::plan::{Fault, Faults};
use crate::rng::Dice;

/// A status that a body tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stated {
    pub(crate) wamid: String,
    pub(crate) word: &'static str,
}

/// A webhook and what it tells.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) body: Bytes,
    pub(crate) stated: Vec<Stated>,
    /// What is wrong with it, until raw has it.
    pub(crate) faults: Faults,
}

/// The source of it all.
#[derive(Debug)]
pub(crate) struct Traffic {
    dice: Dice,
    faults: Faults,
    accounts: Vec<String>,
    rules: Value,
    /// Changes that were sent, to be regrouped.
    sent: Vec<(String, Vec<Stated>)>,
    /// What is wrong with the webhook that is being made.
    wrong: Faults,
}

/// One day, in seconds.
const DAY_S: i64 = 86_400;

impl Traffic {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let accounts = (0..5).map(|n| (215_589_900_000_100_u64 + n).to_string()).collect();
        let rules = serde_json::from_slice(&Rules::built_in().canonical()).expect("it is JSON");
        let (dice, wrong) = (Dice::of(seed, "traffic"), Faults::default());
        Self { dice, faults, accounts, rules, sent: Vec::new(), wrong }
    }

    /// The next webhook, at that time of the log's clock.
    pub(crate) fn webhook(&mut self, now_ms: i64) -> Webhook {
        if self.faults.has(Fault::Broken) && self.dice.one_in(15) {
            let body = format!("{{\"broken\":{}", self.dice.below(9));
            let faults = Faults::default().with(Fault::Broken);
            return Webhook { body: body.into(), stated: Vec::new(), faults };
        }
        self.wrong = Faults::default();
        let count = self.dice.pick(&[1, 1, 1, 2, 4]);
        let (mut entries, mut stated) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (entry, states) = self.entry(now_ms / 1_000);
            entries.push(entry);
            stated.extend(states);
        }
        let entries = entries.join(",");
        let body = format!(r#"{{"object":"whatsapp_business_account","entry":[{entries}]}}"#);
        Webhook { body: body.into(), stated, faults: self.wrong }
    }

    fn entry(&mut self, now_s: i64) -> (String, Vec<Stated>) {
        if self.faults.has(Fault::Duplicates) && !self.sent.is_empty() && self.dice.one_in(6) {
            self.wrong = self.wrong.with(Fault::Duplicates);
            return self.dice.pick(&self.sent);
        }
        let account = self.dice.pick(&self.accounts);
        let time = self.time(now_s);
        let (entry, stated) = match self.dice.below(16) {
            0 | 1 => (self.inbound(&account, time), Vec::new()),
            2 => {
                let word = self.dice.pick(&["APPROVED", "REJECTED", "PAUSED", "DISABLED", "NEW"]);
                let value = format!(
                    r#""event":"{word}","message_template_id":9,"message_template_name":"otp","message_template_language":"en_US""#
                );
                (managed(&account, "message_template_status_update", time, &value), Vec::new())
            }
            3 => {
                let word = self.dice.pick(&["DISABLED_UPDATE", "ACCOUNT_RESTRICTION", "NEW"]);
                let value = format!(r#""event":"{word}""#);
                (managed(&account, "account_update", time, &value), Vec::new())
            }
            4 => {
                // Of a partner: the entry names a portfolio, the value the account.
                let portfolio = self.dice.pick(&self.accounts);
                let value = format!(
                    r#""event":"PARTNER_ADDED","waba_info":{{"waba_id":"{account}","owner_business_id":"1"}}"#
                );
                (managed(&portfolio, "account_update", time, &value), Vec::new())
            }
            5 => (managed(&account, "nobody_knows", time, r#""x":[1,{"y":null}]"#), Vec::new()),
            6 if self.faults.has(Fault::Broken) => {
                self.wrong = self.wrong.with(Fault::Broken);
                let statuses = r#"7,{"status":"sent"},{"id":5}"#;
                (messages(&account, &account, &format!(r#""statuses":[{statuses}]"#)), Vec::new())
            }
            _ => self.statuses(&account, now_s),
        };
        self.sent.push((entry.clone(), stated.clone()));
        (entry, stated)
    }

    fn statuses(&mut self, account: &str, now_s: i64) -> (String, Vec<Stated>) {
        let count = self.dice.pick(&[1, 1, 2, 3]);
        let (mut statuses, mut stated) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let time = self.time(now_s);
            // Without disorder none is as late as that.
            if now_s - time >= DAY_S {
                self.wrong = self.wrong.with(Fault::Disorder);
            }
            let words = ["sent", "sent", "delivered", "read", "failed", "failed", "mystery"];
            let word = self.dice.pick(&words);
            let message = self.dice.below(7);
            let wamid = format!("wamid.{account}.{message}");
            let code = self.dice.pick(&[131_026, 131_000, 131_056, 131_036, 131_042, 131_050, 7]);
            let mut rest = match word {
                "failed" => format!(r#","errors":[{{"code":{code}}}]"#),
                _ => String::new(),
            };
            let category = match message % 3 {
                0 => "authentication",
                1 => "utility",
                _ => "marketing",
            };
            if !self.dice.one_in(4) {
                rest += &format!(
                    r#","pricing":{{"billable":true,"pricing_model":"PMP","type":"regular","category":"{category}"}}"#
                );
            }
            if self.dice.one_in(4) {
                rest += &format!(r#","recipient_user_id":"US.{message}""#);
            }
            if self.dice.one_in(5) {
                rest += r#","biz_opaque_callback_data":"intent=7""#;
            }
            statuses.push(format!(
                r#"{{"id":"{wamid}","status":"{word}","timestamp":"{time}","recipient_id":"44770090012{message}"{rest}}}"#
            ));
            stated.push(Stated { wamid, word });
        }
        let statuses = format!(r#""statuses":[{}]"#, statuses.join(","));
        // A moved number: the entry names another account than the value.
        if self.dice.one_in(8) {
            let other = self.dice.pick(&self.accounts);
            return (messages(&other, account, &statuses), stated);
        }
        (messages(account, account, &statuses), stated)
    }

    fn inbound(&mut self, account: &str, time: i64) -> String {
        let (n, message) = (self.dice.below(5), self.dice.below(40));
        let text = self.dice.pick(&["agent", "stop", "hi"]);
        messages(
            account,
            account,
            &format!(
                r#""messages":[{{"id":"wamid.in.{account}.{message}","from":"44770090012{n}","timestamp":"{time}","type":"text","text":{{"body":"{text}"}}}}]"#
            ),
        )
    }

    fn time(&mut self, now_s: i64) -> i64 {
        let mut late = self.dice.pick(&[0, 0, 1, 5, 60, 300, 660]);
        if self.faults.has(Fault::Disorder) && self.dice.one_in(8) {
            late = self.dice.pick(&[DAY_S, 3 * DAY_S, 9 * DAY_S, 95 * DAY_S]);
        }
        now_s - late
    }

    /// Rules with other deadlines, actions and routes; now and then some that are refused.
    pub(crate) fn rules(&mut self) -> Vec<u8> {
        let dice = &mut self.dice;
        let rules = &mut self.rules;
        if !dice.one_in(4) {
            rules["version"] = json!(rules["version"].as_u64().expect("a number") + 1);
            rules["deadlines"][0]["ttl"] = json!(dice.pick(&["30s", "1m", "10m"]));
            rules["deadlines"][0]["buffer"] = json!(dice.pick(&["0s", "60s"]));
            rules["fallbacks"][0]["valid_for"] = json!(dice.pick(&["1m", "10m"]));
            let undeliverable = dice.pick(&["sms_fallback", "await_deadline", "alert"]);
            rules["codes"][0]["actions"] = json!([{ "do": undeliverable }]);
            let queue = dice.pick(&["sales", "support"]);
            rules["inbound"] =
                json!([{"when": {"keyword": "agent"}, "then": {"do": "route", "queue": queue}}]);
        }
        rules.to_string().into_bytes()
    }
}

fn managed(entry: &str, field: &str, time: i64, value: &str) -> String {
    format!(
        r#"{{"id":"{entry}","time":{time},"changes":[{{"field":"{field}","value":{{{value}}}}}]}}"#
    )
}

fn messages(entry: &str, account: &str, members: &str) -> String {
    let info = match entry == account {
        true => String::new(),
        false => format!(r#""waba_info":{{"waba_id":"{account}"}},"#),
    };
    format!(
        r#"{{"id":"{entry}","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp",{info}"metadata":{{"display_phone_number":"15550001","phone_number_id":"3188{account}"}},{members}}}}}]}}"#
    )
}

/// A webhook as ingress appends it, to each partition that it names.
pub(crate) fn webhook_appends(body: &Bytes, partitions: u32, now_ms: i64) -> Vec<Append> {
    let headers = WebhookHeaders {
        signature: "sha256=00".to_owned(),
        received_time: Timestamp::from_millis(now_ms),
        app: "main".to_owned(),
        secret_id: "s1".to_owned(),
        request_id: "r".to_owned(),
        partition_count: partitions,
    };
    let destinations = tickfold_core::route(body, partitions).into_iter();
    let appends = destinations
        .map(|to| append(to.partition, Some(to.key.into()), body.clone(), headers.encode()));
    appends.collect()
}

/// A tick.
pub(crate) fn tick(partition: u32, partitions: u32) -> Append {
    append(partition, None, Bytes::new(), raw::tick_headers(partitions))
}

/// Rules.
pub(crate) fn rules(partition: u32, partitions: u32, json: &[u8]) -> Append {
    append(partition, None, Bytes::copy_from_slice(json), raw::rules_headers(partitions))
}

/// A redrive of a record; `None` if it carries no webhook.
pub(crate) fn redrive(partition: u32, record: &Record) -> Option<Append> {
    let raw: RawRecord<'_> = raw_record(record);
    let headers = raw::redrive_headers(partition, &raw)?.into_iter();
    let headers = headers.map(|(name, value)| Header { name: name.into(), value: value.into() });
    let to = TopicPartition::new(raw_topic("wa"), partition);
    let (key, value) = (record.key.clone(), record.value.clone());
    Some(Append { to, key, value, headers: headers.collect(), timestamp_ms: None })
}

fn append(
    partition: u32,
    key: Option<Bytes>,
    value: Bytes,
    headers: Vec<(&'static str, String)>,
) -> Append {
    let headers = headers.into_iter();
    let headers = headers.map(|(name, value)| Header { name: name.into(), value: value.into() });
    let to = TopicPartition::new(raw_topic("wa"), partition);
    Append { to, key, value: Some(value), headers: headers.collect(), timestamp_ms: None }
}
