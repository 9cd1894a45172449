//! Meta, which repeats a webhook until it is answered with 200; ingress, which answers so once the
//! log holds it; and the tools that write to raw.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tickfold_log::Append;

use super::World;
use crate::broker::RAW;
use crate::bug::PortBug;
use crate::plan::{Fault, Swarm};
use crate::rng::Dice;
use crate::traffic::{self, Webhook};

/// Ingress appends a tick to a partition that it has not written for so long.
const TICK_MS: u64 = 5_000;

/// Webhooks that come once the world is healed.
const NEW: u64 = 3;

/// Meta and ingress.
#[derive(Debug)]
pub(super) struct Meta {
    dice: Dice,
    /// Webhooks still to be sent at first hand.
    left: u64,
    made: u64,
    skip: BTreeSet<u64>,
    /// All that were sent.
    pub(super) webhooks: Vec<Webhook>,
    /// Not answered with 200 yet: when each is sent again.
    pub(super) pending: BTreeMap<usize, u64>,
    /// Answered with 200.
    pub(super) acked: BTreeSet<usize>,
    down_until_ms: u64,
    /// When each partition was last written.
    written_ms: Vec<u64>,
}

impl Meta {
    pub(super) fn new(seed: u64, swarm: &Swarm, skip: BTreeSet<u64>) -> Self {
        Self {
            dice: Dice::of(seed, "meta"),
            left: swarm.webhooks,
            made: 0,
            skip,
            webhooks: Vec::new(),
            pending: BTreeMap::new(),
            acked: BTreeSet::new(),
            down_until_ms: 0,
            written_ms: vec![0; swarm.partitions as usize],
        }
    }
}

impl World {
    /// A webhook arrives, or something else is appended to raw.
    pub(super) fn meta_step(&mut self) {
        let now_ms = self.broker.now_ms;
        if self.strikes(Fault::IngressDown, 10) {
            self.meta.down_until_ms = now_ms + self.dice.pick(&[2_000, 20_000, 100_000]);
            self.counts.begin(Fault::IngressDown, 0);
        }
        match self.meta.dice.below(20) {
            0 if self.swarm.faults.has(Fault::Rules) => self.change_rules(),
            1 if self.swarm.faults.has(Fault::Redrives) => self.redrive(),
            2 => self.foreign(),
            3..=5 => self.send_again(),
            _ => self.send_first(),
        }
    }

    fn send_first(&mut self) {
        if self.meta.left == 0 {
            return self.send_again();
        }
        self.meta.left -= 1;
        self.meta.made += 1;
        let webhook = self.traffic.webhook(self.broker.log_time_ms());
        if self.meta.skip.contains(&self.meta.made) {
            return;
        }
        webhook.faults.iter().for_each(|fault| self.counts.attempt(fault));
        let at = self.meta.webhooks.len();
        self.meta.webhooks.push(webhook);
        self.post(at);
    }

    /// Time passes on every partition.
    pub(super) fn tick_all(&mut self) {
        for partition in 0..self.broker.partitions() {
            self.append(&[traffic::tick(partition, self.broker.partitions())]);
            self.event("tick", 0, partition, 0);
        }
    }

    /// Webhooks that nobody has seen.
    pub(super) fn send_new(&mut self) {
        self.meta.left = NEW;
        (0..NEW).for_each(|_| self.send_first());
    }

    fn send_again(&mut self) {
        let now_ms = self.broker.now_ms;
        let due = self.meta.pending.iter().find(|(_, due)| **due <= now_ms).map(|(at, _)| *at);
        if let Some(at) = due {
            self.post(at);
        } else if self.swarm.faults.has(Fault::Duplicates) && !self.meta.webhooks.is_empty() {
            let at = self.meta.dice.index(self.meta.webhooks.len());
            self.counts.attempt(Fault::Duplicates);
            // One that was not answered yet is no repeat.
            let was_acked = self.meta.acked.contains(&at);
            if self.post(at) && was_acked {
                self.land(Fault::Duplicates.word());
            }
        }
    }

    /// Meta posts a webhook, and again unless it hears 200; true if raw has something of it now.
    fn post(&mut self, at: usize) -> bool {
        let now_ms = self.broker.now_ms;
        let body = self.meta.webhooks[at].body.clone();
        let appends =
            traffic::webhook_appends(&body, self.broker.partitions(), self.broker.log_time_ms());
        let (done, is_acked) = if now_ms < self.meta.down_until_ms && !self.is_healing {
            self.counts.hinder(Fault::IngressDown, 0);
            (0, false)
        } else if self.strikes(Fault::IngressUnsure, 10) {
            self.land(Fault::IngressUnsure.word());
            // Over several partitions an append is not atomic.
            (self.meta.dice.index(appends.len() + 1), self.has(PortBug::AckedEarly))
        } else {
            (appends.len(), true)
        };
        self.append(&appends[..done]);
        if done > 0 {
            let faults = std::mem::take(&mut self.meta.webhooks[at].faults);
            faults.iter().for_each(|fault| self.land(fault.word()));
        }
        self.event("webhook", at, 0, u64::from(is_acked));
        if is_acked {
            self.meta.pending.remove(&at);
            self.meta.acked.insert(at);
        } else if !self.meta.acked.contains(&at) {
            let again_ms = self.meta.dice.pick(&[500, 5_000, 60_000]);
            self.meta.pending.insert(at, now_ms + again_ms);
        }
        done > 0
    }

    fn append(&mut self, appends: &[Append]) {
        for append in appends {
            self.broker.append_raw(append);
            self.meta.written_ms[append.to.partition as usize] = self.broker.now_ms;
        }
    }

    /// Time passes on partitions that nothing is written to, while somebody listens.
    pub(super) fn tick(&mut self) {
        let now_ms = self.broker.now_ms;
        // Now and then what comes after a while is a webhook, and no tick came before.
        let is_late = self.meta.dice.one_in(2);
        if self.is_healing || is_late || now_ms < self.meta.down_until_ms {
            return;
        }
        for partition in 0..self.broker.partitions() {
            if now_ms - self.meta.written_ms[partition as usize] >= TICK_MS {
                self.append(&[traffic::tick(partition, self.broker.partitions())]);
                self.event("tick", 0, partition, 0);
            }
        }
    }

    fn change_rules(&mut self) {
        self.counts.attempt(Fault::Rules);
        let rules = self.traffic.rules();
        let partitions = self.broker.partitions();
        for partition in 0..partitions {
            self.append(&[traffic::rules(partition, partitions, &rules)]);
        }
        self.event("rules", 0, 0, 0);
        self.land(Fault::Rules.word());
    }

    fn redrive(&mut self) {
        self.counts.attempt(Fault::Redrives);
        let partition = u32::try_from(self.meta.dice.index(self.audits.len())).expect("few");
        let records: Vec<_> = self.broker.part(RAW, partition).visible(0).collect();
        if records.is_empty() {
            return;
        }
        let record = records[self.meta.dice.index(records.len())];
        if let Some(redrive) = traffic::redrive(partition, record) {
            self.append(&[redrive]);
            self.event("redrive", 0, partition, 0);
            self.land(Fault::Redrives.word());
        }
    }

    /// A tool copies a webhook into raw in a transaction of its own, or ends what it has open.
    fn foreign(&mut self) {
        let partition = u32::try_from(self.meta.dice.index(self.audits.len())).expect("few");
        if self.broker.has_foreign(partition) {
            let commit = self.meta.dice.one_in(2);
            self.broker.end_foreign(partition, commit);
            self.event("foreign transaction ends", 0, partition, u64::from(commit));
        } else if !self.swarm.embedded && self.strikes(Fault::ForeignTxn, 3) {
            let known: Vec<Bytes> =
                self.meta.webhooks.iter().map(|webhook| webhook.body.clone()).collect();
            for body in known.iter().rev().take(2) {
                let now_ms = self.broker.log_time_ms();
                let appends = traffic::webhook_appends(body, self.broker.partitions(), now_ms);
                let here = appends.iter().filter(|append| append.to.partition == partition);
                here.for_each(|append| self.broker.append_foreign(append));
            }
            // Of no webhook, or of another partition's alone, nothing is copied.
            if self.broker.has_foreign(partition) {
                self.land(Fault::ForeignTxn.word());
            }
            self.event("foreign transaction", 0, partition, 0);
        }
    }

    /// What the tools have open is aborted.
    pub(super) fn end_foreign(&mut self) {
        for partition in 0..self.broker.partitions() {
            if self.broker.has_foreign(partition) {
                self.broker.end_foreign(partition, false);
            }
        }
    }

    /// Meta sends again whatever was not answered.
    pub(super) fn drain(&mut self) {
        let pending: Vec<usize> = self.meta.pending.keys().copied().collect();
        for at in pending {
            self.post(at);
        }
    }
}
