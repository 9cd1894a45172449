//! A partition folded in memory: raw bodies in, outputs and state out. Every output is compared
//! with the schema of its topic.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![cfg_attr(feature = "mutants", allow(clippy::print_stderr, reason = "what ended the process"))]

pub(crate) mod schemas;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tickfold_core::action::{ActionId, asked_for};
use tickfold_core::fold::{Output, Partition};
use tickfold_core::ids::{Participant, Wamid};
use tickfold_core::overlay::Nothing;
use tickfold_core::raw::{self, RawRecord, WebhookHeaders};
use tickfold_core::records::Topic;
use tickfold_core::state::Told;
use tickfold_core::time::Timestamp;
use tickfold_core::{Overlay, fold};

/// 2026-11-20T00:00:00Z, the time in the corpus.
pub(crate) const NOON: i64 = 1_795_132_800;

/// One partition, folded in memory from offset 0.
pub(crate) struct Folded {
    pub(crate) overlay: Overlay,
    pub(crate) outputs: Vec<Output>,
    /// The raw records so far, by offset.
    pub(crate) kept: Vec<Kept>,
    partition: Partition,
    next: u64,
    now_ms: i64,
}

/// A raw record as it was folded.
#[derive(Clone)]
pub(crate) struct Kept {
    appended: Timestamp,
    headers: Vec<(String, String)>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Default for Folded {
    fn default() -> Self {
        Self::new(Partition { id: 0, count: 1 })
    }
}

impl Folded {
    pub(crate) fn new(partition: Partition) -> Self {
        end_at_first_failure();
        let overlay = Overlay::default();
        let (outputs, kept) = (Vec::new(), Vec::new());
        Self { overlay, outputs, kept, partition, next: 0, now_ms: (NOON + 60) * 1_000 }
    }

    /// Lets log time pass.
    pub(crate) fn advance(&mut self, ms: i64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    /// Folds a webhook and returns its outputs.
    pub(crate) fn webhook(&mut self, body: &[u8]) -> Vec<Output> {
        let headers = WebhookHeaders {
            signature: format!("sha256={}", "0".repeat(64)),
            received_time: Timestamp::from_millis(self.now_ms - 5),
            app: "main".into(),
            secret_id: "s1".into(),
            request_id: "r".into(),
            partition_count: self.partition.count,
        };
        self.record(&headers.encode(), Some(body))
    }

    pub(crate) fn tick(&mut self) -> Vec<Output> {
        self.record(&raw::tick_headers(self.partition.count), Some(b""))
    }

    /// Folds a redrive of what stands at an offset.
    pub(crate) fn redrive(&mut self, offset: u64) -> Vec<Output> {
        let headers = self.redrive_headers(offset);
        let value = self.kept[usize::try_from(offset).unwrap()].value.clone();
        self.record(&headers, value.as_deref())
    }

    /// The headers of that redrive.
    pub(crate) fn redrive_headers(&self, offset: u64) -> Vec<(&'static str, String)> {
        let Kept { appended, headers, value } = &self.kept[usize::try_from(offset).unwrap()];
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let (headers, value) = (headers.collect(), value.as_deref());
        let record = RawRecord { offset, appended: *appended, headers, value };
        let text = |(name, value)| (name, String::from_utf8(value).unwrap());
        let headers = raw::redrive_headers(self.partition.id, &record).unwrap();
        headers.into_iter().map(text).collect()
    }

    pub(crate) fn record(
        &mut self,
        headers: &[(&str, String)],
        value: Option<&[u8]>,
    ) -> Vec<Output> {
        let record = RawRecord {
            offset: self.next,
            appended: Timestamp::from_millis(self.now_ms),
            headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
            value,
        };
        self.next += 1;
        self.kept.push(Kept {
            appended: record.appended,
            headers: headers.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
            value: value.map(<[u8]>::to_vec),
        });
        let outputs = fold(&mut self.overlay, &Nothing, self.partition, &record).unwrap();
        for output in &outputs {
            schemas::assert_valid(output.topic, output.value.as_deref());
        }
        self.outputs.extend(outputs.iter().cloned());
        outputs.iter().for_each(|output| self.check_is_known_of_its_message(output));
        outputs.iter().for_each(|output| self.check_is_in_the_history(output));
        outputs
    }

    /// A transition of what Meta manages is a line of its history, with the same words, long ones
    /// cut.
    fn check_is_in_the_history(&self, output: &Output) {
        if output.topic != Topic::Transition {
            return;
        }
        let value = &values(std::slice::from_ref(output), output.topic)[0];
        let after = |key: &str| value["entity"] == key;
        if !["template", "account", "number"].into_iter().any(after) {
            return;
        }
        let templates = self.overlay.templates.changes();
        let templates = templates.filter_map(|(_, change)| change.after.as_ref());
        let accounts = || {
            let changes = self.overlay.accounts.changes();
            changes.filter_map(|(_, change)| change.after.as_ref())
        };
        let told: Vec<&Told> = match value["entity"].as_str() {
            Some("template") => templates.map(|template| &template.told).collect(),
            Some("account") => accounts().map(|account| &account.told).collect(),
            _ => accounts().flat_map(|account| account.lines_told.values()).collect(),
        };
        let place = (output.offset, output.ordinal);
        let mut lines = told.iter().flat_map(|told| &told.history);
        let line = lines.find(|line| (line.offset, line.ordinal) == place);
        assert!(line.is_some(), "not in the history: {value}");
        let line = line.unwrap();
        let cut = |text: &'_ str| text[..text.floor_char_boundary(256)].to_owned();
        let text = |name: &str| value[name].as_str().map(cut);
        assert_eq!(Some(&line.to), text("to").as_ref(), "{value}");
        assert_eq!(Some(&line.state), text("state").as_ref(), "{value}");
        assert_eq!(line.from, text("from"), "{value}");
        assert_eq!((line.late, line.log_time), (value["late"] == true, output.timestamp));
    }

    /// What a message asked for is found by its names, and the charge told last by its sequence.
    fn check_is_known_of_its_message(&self, output: &Output) {
        let id = match output.topic {
            Topic::Action => "action_id",
            Topic::Alert => "alert_id",
            Topic::Charge => "charge_id",
            _ => return,
        };
        let value = &values(std::slice::from_ref(output), output.topic)[0];
        let Some(wamid) = value["wamid"].as_str().map(Wamid::from) else { return };
        let message = self.overlay.messages.get(&wamid).unwrap().clone().unwrap();
        if output.topic == Topic::Charge {
            let participant = Participant::new(value["participant"].as_str().unwrap_or_default());
            let sequence = value["sequence"].as_u64();
            assert_eq!(message.charged.get(&participant).copied(), sequence, "{value}");
            return;
        }
        let names: Vec<_> = asked_for(&wamid, &message).into_iter().map(|one| one.id).collect();
        // It is remembered as the fallback that it stands for.
        if value["kind"] != "fallback_expired" || output.topic == Topic::Alert {
            let id = ActionId::from_text(value[id].as_str().unwrap().to_owned());
            assert!(names.contains(&id), "{value}");
            assert!(self.overlay.decided.get(&id).is_some_and(Option::is_some), "{value}");
        }
    }

    /// Facts of all entities, counts included, as lines in order.
    pub(crate) fn facts(&self) -> String {
        let overlay = &self.overlay;
        let mut lines = Vec::new();
        let mut line = |key: &dyn std::fmt::Debug, facts: &dyn std::fmt::Debug| {
            lines.push(format!("{key:?} {facts:?}\n"));
        };
        for (key, change) in overlay.messages.changes() {
            line(key, &change.after.as_ref().map(|message| &message.facts));
        }
        for (key, change) in overlay.conversations.changes() {
            let after = change.after.as_ref();
            line(key, &after.map(|c| (&c.facts, c.inbound_count, c.outbound_count)));
        }
        for (key, change) in overlay.numbers.changes() {
            line(key, &change.after.as_ref().map(|number| &number.facts));
        }
        for (key, change) in overlay.users.changes() {
            line(key, &change.after.as_ref().map(|user| &user.facts));
        }
        for (key, change) in overlay.calls.changes() {
            line(key, &change.after.as_ref().map(|call| &call.facts));
        }
        for (key, change) in overlay.groups.changes() {
            line(key, &change.after.as_ref().map(|group| &group.facts));
        }
        for (key, change) in overlay.payments.changes() {
            line(key, &change.after.as_ref().map(|payment| &payment.facts));
        }
        for (key, change) in overlay.templates.changes() {
            line(key, &change.after.as_ref().map(|template| &template.facts));
        }
        for (key, change) in overlay.accounts.changes() {
            line(key, &change.after.as_ref().map(|account| &account.facts));
        }
        lines.sort_unstable();
        lines.concat()
    }

    /// The last row of every key of every table, as `topic key`, without where it came from.
    pub(crate) fn rows(&self) -> BTreeMap<String, Value> {
        let mut rows = BTreeMap::new();
        for output in self.outputs.iter().filter(|output| output.topic.is_table()) {
            let key = format!("{} {}", output.topic.name(), output.key);
            let Some(value) = &output.value else {
                rows.remove(&key);
                continue;
            };
            let mut row: Value = serde_json::from_slice(value).unwrap();
            for name in ["event_id", "revision", "received_time", "source_offset"] {
                row.as_object_mut().unwrap().remove(name);
            }
            rows.insert(key, row);
        }
        rows
    }

    /// Values of the outputs to a topic so far.
    pub(crate) fn values(&self, topic: Topic) -> Vec<Value> {
        values(&self.outputs, topic)
    }
}

/// One failure is all that a mutant needs, so the first ends the process.
fn end_at_first_failure() {
    #[cfg(feature = "mutants")]
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(101);
    }));
}

/// Name and text of each sample body, in the order of the index.
pub(crate) fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus");
    let index = std::fs::read_to_string(dir.join("index.tsv")).unwrap();
    let names = index.lines().skip(1).map(|line| line.split('\t').next().unwrap().to_owned());
    let bodies: Vec<_> =
        names.map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap())).collect();
    assert_eq!(bodies.len(), 398, "the whole corpus is there");
    bodies
}

/// Values of outputs to a topic.
pub(crate) fn values(outputs: &[Output], topic: Topic) -> Vec<Value> {
    let of_topic = outputs.iter().filter(|output| output.topic == topic);
    of_topic
        .filter_map(|output| Some(serde_json::from_slice(output.value.as_ref()?).unwrap()))
        .collect()
}

/// A body with one `messages` change.
pub(crate) fn messages(value: &str) -> Vec<u8> {
    change("messages", value)
}

/// A body with one change of a field.
pub(crate) fn change(field: &str, value: &str) -> Vec<u8> {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"215589900000101","changes":[{{"field":"{field}","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550100001","phone_number_id":"318840000000202"}},{value}}}}}]}}]}}"#
    )
    .into_bytes()
}

/// A status as JSON, at so many seconds after [`NOON`].
pub(crate) fn status(wamid: &str, status: &str, after_s: i64) -> String {
    let errors = match status {
        "failed" => {
            r#","errors":[{"code":131026,"title":"Message undeliverable","error_data":{"details":"no WhatsApp"}}]"#
        }
        _ => "",
    };
    format!(
        r#"{{"id":"{wamid}","status":"{status}","timestamp":"{}","recipient_id":"447700900123"{errors}}}"#,
        NOON + after_s
    )
}

/// A body with one status.
pub(crate) fn status_body(wamid: &str, word: &str, after_s: i64) -> Vec<u8> {
    messages(&format!(r#""statuses":[{}]"#, status(wamid, word, after_s)))
}

/// All orders of the items.
pub(crate) fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for index in 0..items.len() {
        let mut rest = items.to_vec();
        let first = rest.remove(index);
        for mut order in permutations(&rest) {
            order.insert(0, first.clone());
            all.push(order);
        }
    }
    all
}
