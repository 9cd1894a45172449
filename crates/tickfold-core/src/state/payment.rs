//! An attempt to pay an order, as statuses of `type` `payment` tell of it. It never touches the
//! state of the message that asked for it: a failed payment is no failed message.

use std::collections::BTreeMap;

use super::receipt::{Failures, join_failures, learn_time};
use super::{Journal, learn_max, learn_min};
use crate::ids::{PartyId, PhoneNumberId, WabaId};
use crate::time::Timestamp;

/// A payment: facts and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// What is known, in whatever order it came.
    pub facts: PaymentFacts,
    /// When and where it changed.
    pub journal: Journal,
}

/// The facts of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PaymentFacts {
    /// Account; the least, should two ever claim it.
    pub waba_id: Option<WabaId>,
    /// Our number; the least, should two ever claim it.
    pub phone_number_id: Option<PhoneNumberId>,
    /// Who pays; the least, should two be named.
    pub party: Option<PartyId>,
    /// Statuses (`pending`, `captured`, `failed`) in lower case, each with its earliest time.
    pub statuses: BTreeMap<String, Option<Timestamp>>,
    /// What is paid.
    pub amount: Option<Amount>,
    /// Refunds by id, each in its greatest state.
    pub refunds: BTreeMap<String, Refund>,
    /// Errors by code.
    pub errors: Failures,
}

/// An amount of money, as Meta writes it: `value` / `offset` in `currency`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount {
    /// `value`, in the smallest unit that `offset` says.
    pub value: i64,
    /// `offset`: 100 for two decimals.
    pub offset: Option<i64>,
    /// `currency`.
    pub currency: Option<String>,
}

/// A refund. Ordered by time, then by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Refund {
    /// `updated_timestamp`.
    pub time: Option<Timestamp>,
    /// `status`.
    pub status: Option<String>,
    /// `amount`.
    pub amount: Option<Amount>,
}

/// Words kept of a payment. Meta has three.
const WORDS_MAX: usize = 32;

/// Refunds kept of a payment.
const REFUNDS_MAX: usize = 64;

impl PaymentFacts {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let mut learned = learn_min(&mut self.waba_id, other.waba_id)
            | learn_min(&mut self.phone_number_id, other.phone_number_id)
            | learn_min(&mut self.party, other.party)
            | learn_max(&mut self.amount, other.amount)
            | join_failures(&mut self.errors, other.errors);
        for (status, time) in other.statuses {
            learned |= learn_time(&mut self.statuses, status, time, WORDS_MAX);
        }
        for (id, refund) in other.refunds {
            let known = self.refunds.get(&id);
            if known.is_some_and(|known| *known >= refund) {
                continue;
            }
            if known.is_none() && self.refunds.len() >= REFUNDS_MAX {
                if self.refunds.keys().next_back().is_none_or(|last| *last < id) {
                    continue;
                }
                self.refunds.pop_last();
            }
            self.refunds.insert(id, refund);
            learned = true;
        }
        learned
    }

    /// The shown state: captured money is captured, whatever else was said; a word that is new to
    /// us stands only where no other does.
    pub fn state(&self) -> Option<&str> {
        let rank = |word: &str| match word {
            "captured" => 3,
            "failed" => 2,
            "pending" => 1,
            _ => 0,
        };
        self.statuses.keys().map(String::as_str).max_by_key(|word| (rank(word), *word))
    }
}
