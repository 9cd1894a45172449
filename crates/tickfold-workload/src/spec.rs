//! What traffic is made of: counts, shares, sizes.

use crate::Error;

/// The most statuses that Meta aggregates in one POST.
pub const BATCH_MAX: usize = 1_000;

/// The traffic wanted. Shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Everything is drawn from it; ids contain it, so that traffic of two seeds does not meet in
    /// one entity. Default: 1.
    pub seed: u64,
    /// Accounts, in number. Default: 10.
    pub wabas: u32,
    /// Business phone numbers of each account, in number. Default: 2.
    pub numbers_per_waba: u32,
    /// Customers of each business number, in number: how many conversations there are. Default:
    /// 10,000.
    pub parties_per_number: u32,
    /// Templates of each account, in number. Default: 5.
    pub templates_per_waba: u32,
    /// Webhooks per second of event time: how fast the time in the bodies goes on, not how fast
    /// anybody sends them. Default: 100.
    pub webhooks_per_second: u32,
    /// Share of fresh POSTs that carry one inbound message. Default: 0.2.
    pub inbound: f64,
    /// Share of fresh POSTs that carry one template event. What is neither carries statuses.
    /// Default: 0.01.
    pub templates: f64,
    /// Share of POSTs with statuses that carry many of them. Default: 0.05.
    pub batches: f64,
    /// Statuses in such a POST, in number, drawn from 2 to this. Default: 100.
    pub batch_statuses_max: usize,
    /// Share of good POSTs that say nothing new: half of them the whole body again, half of them
    /// the same facts in another body. Default: 0.02.
    pub duplicates: f64,
    /// Share of messages whose statuses come in any order. Default: 0.3.
    pub disorder: f64,
    /// How far apart the statuses of one message come, in statuses of all messages. Default: 200.
    pub disorder_window: u32,
    /// Share of POSTs with a signature that must be refused, equally of every
    /// [`Forgery`](crate::Forgery). Default: 0.
    pub bad_signatures: f64,
    /// Smallest body, in bytes: smaller ones are filled up with a member that nobody knows.
    /// Default: 0.
    pub body_bytes_min: usize,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            seed: 1,
            wabas: 10,
            numbers_per_waba: 2,
            parties_per_number: 10_000,
            templates_per_waba: 5,
            webhooks_per_second: 100,
            inbound: 0.2,
            templates: 0.01,
            batches: 0.05,
            batch_statuses_max: 100,
            duplicates: 0.02,
            disorder: 0.3,
            disorder_window: 200,
            bad_signatures: 0.0,
            body_bytes_min: 0,
        }
    }
}

impl Spec {
    /// Refuses what no traffic can be made of.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let shares = [
            ("inbound", self.inbound),
            ("templates", self.templates),
            ("inbound + templates", self.inbound + self.templates),
            ("batches", self.batches),
            ("duplicates", self.duplicates),
            ("disorder", self.disorder),
            ("bad_signatures", self.bad_signatures),
        ];
        for (name, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::Share { name, value });
            }
        }
        let counts = [
            ("wabas", self.wabas),
            ("numbers_per_waba", self.numbers_per_waba),
            ("parties_per_number", self.parties_per_number),
            ("templates_per_waba", self.templates_per_waba),
            ("webhooks_per_second", self.webhooks_per_second),
            ("disorder_window", self.disorder_window),
        ];
        for (name, value) in counts {
            if value == 0 {
                return Err(Error::Zero { name });
            }
        }
        if !(2..=BATCH_MAX).contains(&self.batch_statuses_max) {
            return Err(Error::Batch { value: self.batch_statuses_max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_traffic_is_refused() {
        let default = Spec::default();
        default.check().unwrap();
        let bad = [
            Spec { duplicates: 1.1, ..default.clone() },
            Spec { disorder: -0.1, ..default.clone() },
            Spec { bad_signatures: f64::NAN, ..default.clone() },
            Spec { inbound: 0.6, templates: 0.6, ..default.clone() },
            Spec { wabas: 0, ..default.clone() },
            Spec { webhooks_per_second: 0, ..default.clone() },
            Spec { batch_statuses_max: 1, ..default.clone() },
            Spec { batch_statuses_max: 1_001, ..default },
        ];
        for spec in bad {
            assert!(spec.check().is_err(), "{spec:?}");
        }
    }
}
