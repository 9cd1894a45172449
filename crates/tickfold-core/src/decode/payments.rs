//! Statuses of `type` `payment`: an attempt to pay an order.

use super::identity::{Identity, Link};
use super::{Change, Item, Metadata, bounded, errors, id_text, key_part, short_text};
use crate::ids::{NaturalKey, PaymentKey, Wamid};
use crate::json::{Json, Object};
use crate::state::{Amount, PaymentFacts, Refund};
use crate::time::Timestamp;

/// A status of a payment.
#[derive(Debug)]
pub(crate) struct PaymentItem {
    pub key: PaymentKey,
    /// Meta's word, in lower case.
    pub status: String,
    pub time: Option<Timestamp>,
    pub metadata: Option<Metadata>,
    pub facts: PaymentFacts,
    /// What the identifiers say of each other.
    pub links: Vec<Link>,
    pub natural_key: NaturalKey,
}

/// Decodes such a status, its object opened already.
pub(super) fn payment(
    change: &Change<'_>,
    members: &Object<'_>,
    metadata: Option<&Metadata>,
) -> Item {
    let Some(wamid) = id_text(members.get("id")) else {
        return Change::broken("status", "id_missing_or_too_long");
    };
    let Some(status) = members.text("status").filter(|word| word.len() <= 64) else {
        return Change::broken("status", "status_missing_or_not_a_word");
    };
    let status = bounded(&status).to_ascii_lowercase();
    let payment = members.object("payment");
    let payment = payment.as_ref();
    let transaction = payment.and_then(|payment| payment.object("transaction"));
    let id = |object: Option<&Object<'_>>, name: &str| id_text(object?.get(name));
    let key = PaymentKey {
        wamid: Wamid::new(wamid),
        reference_id: id(payment, "reference_id").unwrap_or_default(),
        transaction_id: id(transaction.as_ref(), "id").unwrap_or_default(),
    };
    let natural_key = NaturalKey::new(format!(
        "pay:{}:{}:{}:{status}",
        key.wamid,
        key_part(&key.reference_id),
        key_part(&key.transaction_id)
    ));
    let time = Timestamp::of_event(members.get("timestamp"), change.appended);
    let recipient = Identity::read(
        members,
        ["recipient_id", "recipient_user_id"],
        ["recipient_parent_user_id", "parent_recipient_user_id"],
    );
    let refunds = payment.and_then(|payment| payment.get("refunds")?.array()).unwrap_or_default();
    let facts = PaymentFacts {
        waba_id: Some(change.waba_id.clone()),
        phone_number_id: metadata.map(|metadata| metadata.phone_number_id.clone()),
        party: recipient.party().cloned(),
        statuses: [(status.clone(), time)].into(),
        amount: payment.and_then(amount),
        refunds: refunds.filter_map(|json| refund(change, json)).collect(),
        errors: errors::errors(members, time),
    };
    Item::Payment(PaymentItem {
        key,
        status,
        time,
        metadata: metadata.cloned(),
        facts,
        links: recipient.links(),
        natural_key,
    })
}

/// `amount` and `currency` beside it.
fn amount(members: &Object<'_>) -> Option<Amount> {
    let amount = members.object("amount")?;
    Some(Amount {
        value: amount.get("value")?.integer()?,
        offset: amount.get("offset").and_then(Json::integer),
        currency: members.get("currency").and_then(short_text),
    })
}

fn refund(change: &Change<'_>, json: Json<'_>) -> Option<(String, Refund)> {
    let members = json.object()?;
    let refund = Refund {
        time: Timestamp::of_event(members.get("updated_timestamp"), change.appended),
        status: members.get("status").and_then(short_text),
        amount: amount(&members),
    };
    Some((id_text(members.get("id"))?, refund))
}
