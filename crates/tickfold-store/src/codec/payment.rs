//! Payments: facts, journal.

use tickfold_core::ids::{PartyId, PhoneNumberId, WabaId};
use tickfold_core::state::{Amount, Payment, PaymentFacts, Refund};
use tickfold_proto::store::v1 as proto;

use super::content::{from_failures, from_times, to_failures, to_times};
use super::{Damage, Persist, from_journal, from_ms, rising_map, to_journal, to_ms};

impl Persist for Payment {
    type Record = proto::Payment;

    fn to_record(&self) -> proto::Payment {
        let facts = &self.facts;
        let refunds = facts.refunds.iter();
        proto::Payment {
            waba_id: facts.waba_id.as_ref().map(|id| id.as_str().to_owned()),
            phone_number_id: facts.phone_number_id.as_ref().map(|id| id.as_str().to_owned()),
            party: facts.party.as_ref().map(|id| id.as_str().to_owned()),
            statuses: to_times(&facts.statuses, String::as_str),
            amount: facts.amount.as_ref().map(to_amount),
            refunds: refunds
                .map(|(id, refund)| proto::Refund {
                    id: id.clone(),
                    time_ms: to_ms(refund.time),
                    status: refund.status.clone(),
                    amount: refund.amount.as_ref().map(to_amount),
                })
                .collect(),
            errors: to_failures(&facts.errors),
            journal: to_journal(self.journal),
        }
    }

    fn from_record(record: proto::Payment) -> Result<Self, Damage> {
        let refunds = record.refunds.into_iter().map(|refund| {
            let kept = Refund {
                time: from_ms(refund.time_ms),
                status: refund.status,
                amount: refund.amount.map(from_amount),
            };
            Ok((refund.id, kept))
        });
        Ok(Self {
            facts: PaymentFacts {
                waba_id: record.waba_id.map(WabaId::new),
                phone_number_id: record.phone_number_id.map(PhoneNumberId::new),
                party: record.party.map(PartyId::new),
                statuses: from_times(record.statuses, String::from, "statuses")?,
                amount: record.amount.map(from_amount),
                refunds: rising_map(refunds, "refunds")?,
                errors: from_failures(record.errors)?,
            },
            journal: from_journal(record.journal)?,
        })
    }
}

fn to_amount(amount: &Amount) -> proto::Amount {
    proto::Amount { value: amount.value, offset: amount.offset, currency: amount.currency.clone() }
}

fn from_amount(amount: proto::Amount) -> Amount {
    Amount { value: amount.value, offset: amount.offset, currency: amount.currency }
}
