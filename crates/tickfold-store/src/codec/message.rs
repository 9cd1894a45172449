//! Messages: facts, journal, place in the list, history.

use tickfold_core::ids::{Participant, PartyId, PhoneNumberId, WabaId};
use tickfold_core::state::{HistoryEntry, Message, MessageFacts, Pricing, Receipt};
use tickfold_core::time::Timestamp;
use tickfold_proto::store::v1 as proto;

use super::content::{
    from_annotations, from_billing, from_content, from_failures, to_annotations, to_billing,
    to_content, to_failures,
};
use super::{
    Damage, Persist, from_journal, from_ms, from_status, rising, rising_map, to_journal, to_ms,
    to_status,
};

impl Persist for Message {
    type Record = proto::Message;

    fn to_record(&self) -> proto::Message {
        proto::Message {
            facts: Some(to_facts(&self.facts)),
            journal: to_journal(self.journal),
            list_time_ms: self.list_time.as_millis(),
            history: self.history.iter().map(to_history).collect(),
            charged: self.charged.iter().map(to_charged).collect(),
        }
    }

    fn from_record(record: proto::Message) -> Result<Self, Damage> {
        Ok(Self {
            facts: from_facts(record.facts.ok_or_else(|| Damage::missing("facts"))?)?,
            journal: from_journal(record.journal)?,
            list_time: Timestamp::from_millis(record.list_time_ms),
            history: record.history.into_iter().map(from_history).collect::<Result<_, _>>()?,
            charged: rising_map(record.charged.into_iter().map(from_charged), "charges")?,
        })
    }
}

fn to_charged((participant, offset): (&Participant, &u64)) -> proto::Charged {
    proto::Charged { participant: participant.as_str().to_owned(), offset: *offset }
}

fn from_charged(charged: proto::Charged) -> Result<(Participant, u64), Damage> {
    Ok((Participant::new(charged.participant), charged.offset))
}

fn to_facts(facts: &MessageFacts) -> proto::MessageFacts {
    proto::MessageFacts {
        waba_id: facts.waba_id.as_ref().map(|id| id.as_str().to_owned()),
        phone_number_id: facts.phone_number_id.as_ref().map(|id| id.as_str().to_owned()),
        parties: facts.parties.iter().map(|party| party.as_str().to_owned()).collect(),
        group: facts.group,
        inbound: facts.inbound.as_deref().map(to_content),
        receipts: facts.receipts.iter().map(to_receipt).collect(),
        callback_data: facts.callback_data.clone(),
        standby: facts.standby,
        echo: facts.echo.as_deref().map(to_content),
        template_id: facts.template_id.clone(),
        billing: facts.billing.as_deref().map(to_billing),
        traces: facts.traces.iter().cloned().collect(),
        annotations: facts.annotations.as_deref().map(to_annotations),
    }
}

fn from_facts(facts: proto::MessageFacts) -> Result<MessageFacts, Damage> {
    let parties = facts.parties.into_iter().map(|party| Ok(PartyId::new(party)));
    Ok(MessageFacts {
        waba_id: facts.waba_id.map(WabaId::new),
        phone_number_id: facts.phone_number_id.map(PhoneNumberId::new),
        parties: rising(parties, PartyId::cmp, "parties")?,
        group: facts.group,
        inbound: facts.inbound.map(from_content).transpose()?.map(Box::new),
        receipts: rising_map(facts.receipts.into_iter().map(from_receipt), "receipts")?,
        callback_data: facts.callback_data,
        standby: facts.standby,
        echo: facts.echo.map(from_content).transpose()?.map(Box::new),
        template_id: facts.template_id,
        billing: facts.billing.map(from_billing).map(Box::new),
        traces: rising(facts.traces.into_iter().map(Ok), String::cmp, "traces")?,
        annotations: facts.annotations.map(from_annotations).transpose()?.map(Box::new),
    })
}

fn to_receipt((participant, receipt): (&Participant, &Receipt)) -> proto::Receipt {
    let statuses = receipt.statuses.iter();
    proto::Receipt {
        participant: participant.as_str().to_owned(),
        statuses: statuses
            .map(|(status, time)| proto::StatusFact {
                status: Some(to_status(status)),
                time_ms: to_ms(*time),
            })
            .collect(),
        failures: to_failures(&receipt.failures),
        pricing: receipt.pricing.as_ref().map(|pricing| proto::Pricing {
            evidence: pricing.evidence.into(),
            billable: pricing.billable,
            model: pricing.model.clone(),
            kind: pricing.kind.clone(),
            category: pricing.category.clone(),
        }),
        pricing_disputed: receipt.pricing_disputed,
    }
}

fn from_receipt(receipt: proto::Receipt) -> Result<(Participant, Receipt), Damage> {
    let statuses = receipt.statuses.into_iter();
    let statuses = statuses.map(|fact| Ok((from_status(fact.status)?, from_ms(fact.time_ms))));
    let facts = Receipt {
        statuses: rising_map(statuses, "statuses")?,
        failures: from_failures(receipt.failures)?,
        pricing: receipt.pricing.map(from_pricing).transpose()?,
        pricing_disputed: receipt.pricing_disputed,
    };
    Ok((Participant::new(receipt.participant), facts))
}

fn from_pricing(pricing: proto::Pricing) -> Result<Pricing, Damage> {
    let evidence = u8::try_from(pricing.evidence);
    Ok(Pricing {
        evidence: evidence.map_err(|_| Damage("evidence is above 255".to_owned()))?,
        billable: pricing.billable,
        model: pricing.model,
        kind: pricing.kind,
        category: pricing.category,
    })
}

fn to_history(entry: &HistoryEntry) -> proto::HistoryEntry {
    proto::HistoryEntry {
        to: Some(to_status(&entry.to)),
        from: entry.from.as_ref().map(to_status),
        state: Some(to_status(&entry.state)),
        participant: entry.participant.as_str().to_owned(),
        late: entry.late,
        event_time_ms: to_ms(entry.event_time),
        log_time_ms: entry.log_time.as_millis(),
        received_time_ms: to_ms(entry.received_time),
        error_code: entry.error_code,
        offset: entry.offset,
        ordinal: entry.ordinal,
    }
}

fn from_history(entry: proto::HistoryEntry) -> Result<HistoryEntry, Damage> {
    Ok(HistoryEntry {
        to: from_status(entry.to)?,
        from: entry.from.map(|status| from_status(Some(status))).transpose()?,
        state: from_status(entry.state)?,
        participant: Participant::new(entry.participant),
        late: entry.late,
        event_time: from_ms(entry.event_time_ms),
        log_time: Timestamp::from_millis(entry.log_time_ms),
        received_time: from_ms(entry.received_time_ms),
        error_code: entry.error_code,
        offset: entry.offset,
        ordinal: entry.ordinal,
    })
}
