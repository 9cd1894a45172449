//! The end of a run: nothing goes wrong any more, everything has to come to rest within a bounded
//! time, and what is there then is compared with all that should be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tickfold_core::fold::Partition;
use tickfold_core::records::Topic;
use tickfold_log::Record;
use tickfold_store::Stores;

use super::World;
use super::process::{Owes, Work};
use super::replay::is_of_a_swap;
use crate::broker::{Broker, RAW};
use crate::facts;
use crate::golden::{in_one_go, is_of};

/// Within so long everything is done once nothing hinders it: sessions and transactions end, and
/// the longest pauses are over.
const REST_MS: u64 = 300_000;

/// And within so many steps.
const STEPS_MAX: u64 = 60_000;

/// For how long an action is remembered, by the built-in rules.
const RETENTION_MS: i64 = 90 * 86_400_000;

impl World {
    /// Everything heals, and is compared.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.is_healing = true;
        self.event("healing", 0, 0, 0);
        self.end_foreign();
        self.drain();
        self.relieve();
        self.come_to_rest()?;
        // It goes on: with nothing but time, and with what is new.
        self.tick_all();
        self.come_to_rest()?;
        self.send_new();
        self.come_to_rest()?;
        self.compare()?;
        // Whoever comes after, with nothing at all, comes to the same.
        for id in 0..self.processes.len() {
            self.kill(id, false);
            self.processes[id].lose_everything();
            self.processes[id].starts_ms = self.broker.now_ms;
        }
        self.come_to_rest()?;
        self.stores_equal()?;
        self.everything_is_told()
    }

    fn come_to_rest(&mut self) -> Result<(), String> {
        let (until_ms, until_step) = (self.broker.now_ms + REST_MS, self.steps + STEPS_MAX);
        loop {
            self.steps += 1;
            let mut idle = true;
            for id in 0..self.processes.len() {
                idle &= !self.process_step(id)?;
            }
            self.mark();
            self.settle_decisions()?;
            if idle {
                let unrest = self.unrest();
                if unrest.is_none() {
                    return Ok(());
                }
                if self.broker.now_ms >= until_ms || self.steps >= until_step {
                    return Err(format!("does not come to rest: {}", unrest.unwrap_or_default()));
                }
                if self.broker.poisoned {
                    // Whoever runs it starts it anew.
                    self.kill(0, false);
                    self.processes[0].starts_ms = self.broker.now_ms;
                }
                let ms = self.until_due();
                self.pass(ms)?;
            } else if self.steps >= until_step {
                return Err("does not come to rest: always something to do".to_owned());
            }
        }
    }

    /// How long until time alone makes something ready.
    fn until_due(&self) -> u64 {
        let running = self.processes.iter().flat_map(|process| process.slots.values());
        let running = running.filter_map(|slot| slot.running.as_ref());
        let due = running.flat_map(|running| &running.works).filter_map(Work::due_ms).min();
        let now_ms = self.broker.now_ms;
        due.map_or(1_000, |due| due.saturating_sub(now_ms)).clamp(1, 1_000)
    }

    /// What is not at rest.
    fn unrest(&self) -> Option<String> {
        if !self.broker.is_settled() {
            return Some("a transaction is open".to_owned());
        }
        if !self.moved.is_empty() {
            return Some("a moved position is not refused".to_owned());
        }
        for partition in 0..self.broker.partitions() {
            let end = self.broker.raw_end(partition);
            let position = self.broker.position(partition).map(|position| position.offset);
            if position != Some(end) {
                return Some(format!("partition {partition} stands at {position:?} of {end}"));
            }
            let is_live = |process: &super::Process| {
                let slot = process.slots.get(&partition);
                let running = slot.and_then(|slot| slot.running.as_ref());
                running.is_some_and(|r| r.is_live()) && process.cursor(partition) == end
            };
            if !self.processes.iter().any(is_live) {
                return Some(format!("nobody has partition {partition} at {end}"));
            }
            let slots = self.processes.iter().filter_map(|process| process.slots.get(&partition));
            let owes = slots.filter_map(|slot| slot.running.as_ref()).map(|running| running.owes);
            if let Some(owes) = owes.into_iter().find(|owes| *owes != Owes::default()) {
                return Some(format!("partition {partition} was asked for something: {owes:?}"));
            }
        }
        None
    }

    /// Outputs and stores are those of one fold of everything, on nothing, in one go.
    fn compare(&mut self) -> Result<(), String> {
        self.ambient(None);
        let count = self.broker.partitions();
        for id in 0..count {
            let partition = Partition { id, count };
            let raw: Vec<Record> = self.broker.part(RAW, id).visible(0).cloned().collect();
            let end = self.broker.raw_end(id);
            self.audits[id as usize].golden.advance(&self.broker, end)?;
            let (outputs, dump) = in_one_go(partition, &raw);
            for (topic, due) in outputs.iter().enumerate().skip(1) {
                let found = self.broker.part(topic, id).visible(0);
                let mut found = found.filter(|record| !is_of_a_swap(record));
                let are_due = due.iter().all(|due| found.next().is_some_and(|it| is_of(it, due)));
                if !are_due || found.next().is_some() {
                    return Err(format!("partition {id}, topic {topic} is not that of one fold"));
                }
            }
            if self.audits[id as usize].golden.dump() != dump {
                return Err(format!("partition {id}: rows differ from those of one fold"));
            }
            if self.plan.seed % u64::from(count) == u64::from(id) {
                facts::are_the_same_in_any_order(partition, &raw, self.plan.seed)?;
            }
            if self.broker.part(RAW, id).gaps() > 0 {
                self.land("gaps in raw");
            }
        }
        self.stores_equal()?;
        self.rows_are_of_records()
    }

    /// The store of each owner is the golden one.
    fn stores_equal(&mut self) -> Result<(), String> {
        for partition in 0..self.broker.partitions() {
            let golden = &self.audits[partition as usize].golden;
            let (end, head) = (self.broker.raw_end(partition), golden.head());
            let rows = golden.dump();
            for process in &self.processes {
                let slot = process.slots.get(&partition);
                let is_live = slot.and_then(|s| s.running.as_ref()).is_some_and(|r| r.is_live());
                if !is_live || process.cursor(partition) != end {
                    continue;
                }
                let snapshot = process.stores.view(partition).snapshot();
                let snapshot = snapshot.ok().flatten().ok_or("no store")?;
                if snapshot.store_head() != head {
                    return Err(format!(
                        "partition {partition}: a store is not at the golden head"
                    ));
                }
                if process.stores.dump(partition) != rows {
                    return Err(format!("partition {partition}: rows of a store differ"));
                }
                self.audits[partition as usize].watch_to_the_end(&self.broker)?;
            }
            for _ in 0..40 {
                let process = self.dice.index(self.processes.len());
                let process = &self.processes[process];
                if !process.rotten.contains_key(&partition) {
                    self.audits[partition as usize].shown(&process.stores)?;
                }
            }
        }
        Ok(())
    }

    /// What ingress answered for is in raw. What raw has of statuses is told, in one partition.
    /// Actions are told once, and none of a message that had arrived.
    fn everything_is_told(&mut self) -> Result<(), String> {
        let mut raw: BTreeSet<(u32, Vec<u8>)> = BTreeSet::new();
        let mut arrivals: BTreeMap<(u32, String), Vec<(u64, i64)>> = BTreeMap::new();
        let by_body: BTreeMap<_, _> =
            self.meta.webhooks.iter().map(|webhook| (&webhook.body[..], &webhook.stated)).collect();
        for partition in 0..self.broker.partitions() {
            for record in self.broker.part(RAW, partition).visible(0) {
                let value = record.value.as_deref().unwrap_or_default();
                raw.insert((partition, value.to_vec()));
                let stated = by_body.get(value).into_iter().flat_map(|stated| stated.iter());
                for stated in stated.filter(|stated| matches!(stated.word, "delivered" | "read")) {
                    let key = (partition, stated.wamid.clone());
                    let at = (record.offset, record.timestamp_ms);
                    arrivals.entry(key).or_default().push(at);
                }
            }
        }
        let mut told: BTreeMap<(String, String), BTreeSet<u32>> = BTreeMap::new();
        let mut actions: BTreeMap<String, i64> = BTreeMap::new();
        for partition in 0..self.broker.partitions() {
            let told_actions: Vec<_> = values(&self.broker, partition, Topic::Action).collect();
            for (_, value) in values(&self.broker, partition, Topic::Transition) {
                if let (Some(wamid), Some(to)) = (value["wamid"].as_str(), value["to"].as_str()) {
                    let key = (wamid.to_owned(), to.to_owned());
                    told.entry(key).or_default().insert(partition);
                }
            }
            for (timestamp_ms, value) in told_actions {
                let id = value["action_id"].as_str().unwrap_or_default().to_owned();
                // What is older than the retention is forgotten.
                let before = actions.insert(id, timestamp_ms);
                if before.is_some_and(|before| timestamp_ms - before < RETENTION_MS) {
                    return Err(format!("an action twice: {value}"));
                }
                let wamid = value["wamid"].as_str().unwrap_or_default();
                let is_fallback = value["kind"] == "sms_fallback" && value["error_code"].is_null();
                let (true, Some(source)) = (is_fallback, value["source_offset"].as_u64()) else {
                    continue;
                };
                self.land("fallback by deadline");
                let arrived = arrivals.get(&(partition, wamid.to_owned()));
                let mut arrived = arrived.into_iter().flatten();
                let is_known =
                    |(at, time): &(u64, i64)| *at <= source && timestamp_ms - time < RETENTION_MS;
                if let Some((at, _)) = arrived.find(|at| is_known(at)) {
                    return Err(format!("a fallback for what had arrived at {at}: {value}"));
                }
            }
        }
        for at in &self.meta.acked {
            let webhook = &self.meta.webhooks[*at];
            for to in tickfold_core::route(&webhook.body, self.broker.partitions()) {
                if !raw.contains(&(to.partition, webhook.body.to_vec())) {
                    return Err(format!("a webhook that is not in raw: {at}, answered with 200"));
                }
            }
            for stated in webhook.stated.iter().filter(|stated| stated.word != "mystery") {
                let key = (stated.wamid.clone(), stated.word.to_owned());
                let places = told.get(&key).map_or(0, BTreeSet::len);
                match places {
                    0 => return Err(format!("a status told nowhere: {key:?}")),
                    1 => {}
                    _ => return Err(format!("a status in {places} partitions: {key:?}")),
                }
            }
        }
        Ok(())
    }

    /// One raw record writes a row of a table once.
    fn rows_are_of_records(&self) -> Result<(), String> {
        for partition in 0..self.broker.partitions() {
            for topic in Topic::ALL.into_iter().filter(|topic| topic.is_table()) {
                let mut rows = BTreeSet::new();
                let all = self.broker.part(Broker::topic(topic), partition).visible(0);
                for record in all.filter(|record| !is_of_a_swap(record)) {
                    let source = tickfold_processor::source_offset(record);
                    if !rows.insert((record.key.clone(), source)) {
                        let key = record.key.as_deref().unwrap_or_default();
                        let key = String::from_utf8_lossy(key);
                        return Err(format!("a row twice of one raw record: {key} of {source:?}"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Values of a derived topic, each with its record's time.
fn values(broker: &Broker, partition: u32, topic: Topic) -> impl Iterator<Item = (i64, Value)> {
    let records = broker.part(Broker::topic(topic), partition).visible(0);
    records.filter_map(|record| {
        let value = serde_json::from_slice(record.value.as_ref()?).ok()?;
        Some((record.timestamp_ms, value))
    })
}
