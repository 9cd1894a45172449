//! Charges: told at the end of a record, each that changed once, with the totals that they move.

use std::collections::BTreeMap;

use super::Run;
use super::reactions::{About, Alert};
use crate::action::AlertKind;
use crate::charge::{Charge, ChargeId, Delivery, Move, Price, TotalKey, charge_of, moves};
use crate::ids::{Participant, PartyId, PhoneNumberId, WabaId, Wamid};
use crate::overlay::{Source, SourceError};
use crate::records::{AboutFields, ChargeRecord, Topic};
use crate::state::{Message, MessageFacts, Pricing, Receipt, Status};

/// Charges that may change in this record, as they were before it.
#[derive(Default)]
pub(super) struct Charges(BTreeMap<(Wamid, Participant), Option<Bill>>);

/// A charge with what is told beside it: whoever sums by label or customer wants those too, although
/// a receipt that came first may not have had them.
#[derive(PartialEq)]
pub(super) struct Bill {
    charge: Charge,
    phone_number_id: Option<PhoneNumberId>,
    party: Option<PartyId>,
    callback_data: Option<String>,
}

impl Charges {
    /// How many may be told.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<S: Source + ?Sized> Run<'_, S> {
    /// Notes what the charge of a message or participant was before its first change in this record,
    /// if there is one now. There is no way back from a charge to none.
    pub(super) fn note_charge(
        &mut self,
        wamid: &Wamid,
        message: &Message,
        participant: &Participant,
        before: Option<Bill>,
    ) {
        if price_of_delivery(message, participant).is_some() {
            let key = (wamid.clone(), participant.clone());
            self.charges.0.entry(key).or_insert(before);
        }
    }

    /// Tells the charges that are others now, and moves the totals.
    pub(super) fn write_charges(&mut self) -> Result<(), SourceError> {
        let noted = std::mem::take(&mut self.charges).0;
        let mut moved = BTreeMap::<TotalKey, Move>::new();
        for ((wamid, participant), before) in noted {
            let taken = self.overlay.messages.take(&wamid, |key| self.below.message(key))?;
            let Some(mut message) = taken else { continue };
            if let Some(bill) = self.changed_bill(before.as_ref(), &message, &participant) {
                let (before, charge) = (before.map(|before| before.charge), &bill.charge);
                for (key, by) in moves(before.as_ref(), Some(charge)) {
                    let sum = moved.entry(key).or_default();
                    sum.charges += by.charges;
                    sum.billable += by.billable;
                }
                let disputed = charge.conflicting && !before.is_some_and(|was| was.conflicting);
                self.tell_charge(&wamid, &participant, &message.facts, &bill);
                message.charged.insert(participant.clone(), self.place.offset);
                self.notice_price(charge)?;
                if disputed {
                    self.dispute(&wamid, &participant, &message, charge)?;
                }
            }
            self.overlay.messages.put(&wamid, Some(message));
        }
        moved.retain(|_, by| *by != Move::default());
        for (key, by) in moved {
            let total = self.overlay.totals.entry(&key, |key| self.below.total(key))?;
            *total = Some(total.unwrap_or_default().moved(by));
            self.dirty.totals.insert(key);
        }
        Ok(())
    }

    /// What is charged, if it is another now and not too old to be told.
    fn changed_bill(
        &self,
        before: Option<&Bill>,
        message: &Message,
        participant: &Participant,
    ) -> Option<Bill> {
        let bill = bill_of(message, participant)?;
        (before != Some(&bill) && self.moment().remembers(bill.charge.time)).then_some(bill)
    }

    fn tell_charge(
        &mut self,
        wamid: &Wamid,
        participant: &Participant,
        facts: &MessageFacts,
        bill: &Bill,
    ) {
        let charge = &bill.charge;
        let Some(source) = self.emit.begin(Some(charge.time)) else { return };
        let charge_id = ChargeId::new(wamid, participant);
        let record = ChargeRecord {
            source,
            charge_id: charge_id.as_str(),
            // Of one record only the last state is told, so the offset rises with each.
            sequence: self.place.offset,
            wamid: wamid.as_str(),
            participant: (!participant.is_whole()).then(|| participant.as_str()),
            waba_id: facts.waba_id.as_ref().map(WabaId::as_str),
            phone_number_id: bill.phone_number_id.as_ref().map(PhoneNumberId::as_str),
            party: bill.party.as_ref().map(PartyId::as_str),
            month: &charge.total.month,
            category: &charge.total.category,
            pricing_type: &charge.total.kind,
            pricing_model: charge.model.as_deref(),
            billable: charge.billable,
            country: charge.country,
            conflicting: charge.conflicting,
            callback_data: bill.callback_data.as_deref(),
        };
        self.emit.record(Topic::Charge, wamid.row_key(participant), &record);
    }

    fn dispute(
        &mut self,
        wamid: &Wamid,
        participant: &Participant,
        message: &Message,
        charge: &Charge,
    ) -> Result<(), SourceError> {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let facts = &message.facts;
        let fields = AboutFields {
            waba_id: facts.waba_id.as_ref().map(ToString::to_string),
            phone_number_id: facts.phone_number_id.as_ref().map(ToString::to_string),
            wamid: Some(wamid.to_string()),
            participant: text(Some(participant.to_string())),
            ..AboutFields::default()
        };
        let id = ChargeId::new(wamid, participant).to_string();
        let alert = Alert {
            kind: AlertKind::PricingConflict,
            subject: wamid.to_string(),
            cause: format!("charge:{id}"),
            reason: None,
            action_id: None,
        };
        self.alert(alert, &About { fields, event_time: Some(charge.time) })
    }
}

/// The charge of a message or participant as it is told.
pub(super) fn bill_of(message: &Message, participant: &Participant) -> Option<Bill> {
    let facts = &message.facts;
    Some(Bill {
        charge: charge_of_message(message, participant)?,
        phone_number_id: facts.phone_number_id.clone(),
        party: facts.parties.first().cloned(),
        callback_data: facts.callback_data.clone(),
    })
}

/// The charge of a message or participant, as a function of what is known. Whether it was told is in
/// [`Message::charged`].
pub fn charge_of_message(message: &Message, participant: &Participant) -> Option<Charge> {
    let facts = &message.facts;
    let (receipt, pricing) = price_of_delivery(message, participant)?;
    let times = [Status::Delivered, Status::Read, Status::Played].map(|of| receipt.time_of(&of));
    let recipients: Vec<&str> = match participant.is_whole() {
        true => facts.parties.iter().map(|party| party.as_str()).collect(),
        false => vec![participant.as_str()],
    };
    charge_of(&Delivery {
        waba_id: facts.waba_id.as_ref(),
        time: times.into_iter().flatten().min().unwrap_or(message.journal.created),
        price: Price {
            delivered: pricing.is_of_delivery(),
            model: pricing.model.as_deref(),
            kind: pricing.kind.as_deref(),
            category: pricing.category.as_deref(),
            billable: pricing.billable,
        },
        conflicting: receipt.pricing_disputed,
        recipients: &recipients,
    })
}

fn price_of_delivery<'a>(
    message: &'a Message,
    participant: &Participant,
) -> Option<(&'a Receipt, &'a Pricing)> {
    let receipt = message.facts.receipts.get(participant)?;
    let pricing = receipt.pricing.as_ref().filter(|pricing| pricing.is_of_delivery())?;
    Some((receipt, pricing))
}
