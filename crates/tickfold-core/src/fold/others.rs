//! Calls, groups, payments, and events that are nothing else.

use super::management::Cause;
use super::reactions::About;
use super::{Event, Run};
use crate::action::AlertKind;
use crate::decode::VALUE_ERROR;
use crate::decode::{CallItem, GroupItem, OtherItem, OtherKey, PaymentItem, Site};
use crate::ids::{NaturalKey, PartyId};
use crate::overlay::{Source, SourceError};
use crate::records::{AboutFields, EventDetails, TransitionRecord};
use crate::state::{
    Call, CallFacts, ConversationFacts, Group, GroupFacts, Natural, Payment, PaymentFacts,
    TimerKind, first_code,
};

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn call(&mut self, item: CallItem, site: &Site<'_>) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref();
        if let Some(metadata) = &item.metadata {
            self.number(metadata, waba_id, item.time)?;
        }
        self.link(waba_id, &item.links, item.time)?;
        let before = self.overlay.calls.take(&item.id, |key| self.below.call(key))?;
        let is_new = before.is_none();
        let mut call = before
            .unwrap_or_else(|| Call { facts: CallFacts::default(), journal: self.journal(None) });
        let known = |facts: &CallFacts| match item.is_status {
            true => facts.statuses.contains_key(&item.word.to_ascii_uppercase()),
            false => facts.events.contains_key(&item.word),
        };
        let was_known = known(&call.facts);
        let from = (!is_new).then(|| call.facts.state().to_owned());
        let first_error = first_code(&item.facts.errors);
        let party = item.facts.parties.first().cloned();
        if call.facts.join(item.facts) {
            call.journal = self.journal((!is_new).then_some(call.journal));
            if is_new {
                self.arm(call.journal.changed, TimerKind::ExpireCall(item.id.clone()));
            }
        }
        // What a bound left out is not a fact.
        if !was_known && known(&call.facts) {
            let phone_number_id = call.facts.phone_number_id.clone();
            let shown = || call.facts.parties.first().map(ToString::to_string);
            self.event(site, item.time, || Event {
                key: item.id.to_string(),
                kind: item.word.clone(),
                natural_key: item.natural_key.into_text(),
                phone_number_id: phone_number_id.as_ref(),
                party: shown(),
                details: EventDetails {
                    call_id: Some(item.id.to_string()),
                    error_code: first_error,
                    payload: item.payload,
                    ..EventDetails::default()
                },
                ..Event::default()
            });
            if let Some(source) = self.emit.begin(item.time) {
                let state = call.facts.state().to_owned();
                let record = TransitionRecord {
                    key: item.id.to_string(),
                    waba_id: waba_id.map(ToString::to_string),
                    phone_number_id: phone_number_id.as_ref().map(ToString::to_string),
                    late: from.as_ref() == Some(&state),
                    from,
                    state,
                    party: shown(),
                    error_code: first_error,
                    ..TransitionRecord::new(source, "call", &item.word)
                };
                self.emit.transition(item.id.to_string(), &record);
            }
        }
        self.overlay.calls.put(&item.id, Some(call));
        // A user's call opens the window as a message does.
        let Some(called) = item.user_called else { return Ok(()) };
        let facts = ConversationFacts {
            waba_id: waba_id.cloned(),
            contacted: true,
            first_inbound: called,
            last_inbound: called,
            ..ConversationFacts::default()
        };
        let phone_number_id = item.metadata.map(|metadata| metadata.phone_number_id);
        self.learn_conversation(phone_number_id, party, called, facts)
    }

    pub(super) fn payment(
        &mut self,
        item: PaymentItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref();
        if let Some(metadata) = &item.metadata {
            self.number(metadata, waba_id, item.time)?;
        }
        self.link(waba_id, &item.links, item.time)?;
        let before = self.overlay.payments.take(&item.key, |key| self.below.payment(key))?;
        let is_new = before.is_none();
        let mut payment = before.unwrap_or_else(|| Payment {
            facts: PaymentFacts::default(),
            journal: self.journal(None),
        });
        let was_known = payment.facts.statuses.contains_key(&item.status);
        let from = payment.facts.state().map(str::to_owned);
        let first_error = first_code(&item.facts.errors);
        if payment.facts.join(item.facts) {
            payment.journal = self.journal((!is_new).then_some(payment.journal));
            if is_new {
                self.arm(payment.journal.changed, TimerKind::ExpirePayment(item.key.clone()));
            }
        }
        if !was_known && payment.facts.statuses.contains_key(&item.status) {
            let phone_number_id = payment.facts.phone_number_id.clone();
            let party = || payment.facts.party.as_ref().map(ToString::to_string);
            self.event(site, item.time, || Event {
                key: item.key.text(),
                kind: "payment".to_owned(),
                natural_key: item.natural_key.into_text(),
                phone_number_id: phone_number_id.as_ref(),
                party: party(),
                wamid: Some(&item.key.wamid),
                details: EventDetails {
                    subtype: Some(item.status.clone()),
                    reference_id: Some(item.key.reference_id.clone()).filter(|id| !id.is_empty()),
                    error_code: first_error,
                    ..EventDetails::default()
                },
                ..Event::default()
            });
            if let Some(source) = self.emit.begin(item.time) {
                let key = item.key.text();
                let state = payment.facts.state().unwrap_or(&item.status).to_owned();
                let record = TransitionRecord {
                    key: key.clone(),
                    waba_id: waba_id.map(ToString::to_string),
                    phone_number_id: phone_number_id.as_ref().map(ToString::to_string),
                    wamid: Some(item.key.wamid.to_string()),
                    late: from.as_ref() == Some(&state),
                    from,
                    state,
                    party: party(),
                    error_code: first_error,
                    ..TransitionRecord::new(source, "payment", &item.status)
                };
                self.emit.transition(key, &record);
            }
        }
        self.overlay.payments.put(&item.key, Some(payment));
        Ok(())
    }

    pub(super) fn group(&mut self, item: GroupItem, site: &Site<'_>) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref();
        if let Some(metadata) = &item.metadata {
            self.number(metadata, waba_id, item.time)?;
        }
        self.link(waba_id, &item.links, item.time)?;
        let first = self.first_time(&item.natural_key)?;
        let number = item.metadata.as_ref().map(|metadata| &metadata.phone_number_id);
        if first {
            let number_text = || number.map_or_else(|| "-".to_owned(), ToString::to_string);
            self.event(site, item.time, || Event {
                key: item.key.as_ref().map_or_else(number_text, |key| key.text()),
                kind: item.kind.clone(),
                natural_key: item.natural_key.into_text(),
                phone_number_id: number,
                party: item.party.as_ref().map(ToString::to_string),
                details: EventDetails { error_code: item.error_code, ..EventDetails::default() },
                ..Event::default()
            });
        }
        // A group that was not created has no state.
        let Some(key) = item.key else { return Ok(()) };
        let before = self.overlay.groups.take(&key, |key| self.below.group(key))?;
        let is_new = before.is_none();
        let mut group = before
            .unwrap_or_else(|| Group { facts: GroupFacts::default(), journal: self.journal(None) });
        let from = (!is_new).then(|| group.facts.state().as_str().to_owned());
        let learned = group.facts.join(item.facts);
        if learned {
            group.journal = self.journal((!is_new).then_some(group.journal));
        }
        if first && let Some(source) = self.emit.begin(item.time) {
            let record = TransitionRecord {
                key: key.text(),
                waba_id: waba_id.map(ToString::to_string),
                phone_number_id: Some(key.phone_number_id.to_string()),
                from,
                state: group.facts.state().as_str().to_owned(),
                late: !learned,
                error_code: item.error_code,
                party: item.party.as_ref().map(ToString::to_string),
                ..TransitionRecord::new(source, "group", &item.kind)
            };
            self.emit.transition(key.text(), &record);
        }
        self.overlay.groups.put(&key, Some(group));
        Ok(())
    }

    /// An event that is nothing else: emitted once per natural key, or each time where the key is
    /// only a name.
    pub(super) fn other(&mut self, item: OtherItem, site: &Site<'_>) -> Result<(), SourceError> {
        if let Some(metadata) = &item.metadata {
            self.number(metadata, site.waba_id.as_ref(), item.time)?;
        }
        if item.management
            && let Some(waba_id) = &site.waba_id
        {
            self.management_came(waba_id)?;
        }
        let (first, natural_key) = match &item.key {
            OtherKey::Once(key) => (self.first_time(key)?, key),
            OtherKey::Each(key) => (true, key),
        };
        if !first {
            return Ok(());
        }
        if item.kind == VALUE_ERROR {
            self.value_error(&item, site)?;
        }
        self.notice_other(&item, site)?;
        self.business_follows(&item, site, natural_key)?;
        let number = item.metadata.as_ref().map(|metadata| &metadata.phone_number_id);
        let account = || site.waba_id.as_ref().map(ToString::to_string).unwrap_or_default();
        self.event(site, item.time, || Event {
            key: number.map_or_else(account, ToString::to_string),
            kind: item.kind,
            natural_key: natural_key.as_str().to_owned(),
            phone_number_id: number,
            party: item.party.as_ref().map(PartyId::to_string),
            wamid: item.wamid.as_ref(),
            details: EventDetails { error_code: item.error_code, ..item.details.into_record() },
            ..Event::default()
        });
        Ok(())
    }

    /// What follows from an event of a business: a flow, a payment configuration, or what Meta itself
    /// calls an alert.
    fn business_follows(
        &mut self,
        item: &OtherItem,
        site: &Site<'_>,
        natural_key: &NaturalKey,
    ) -> Result<(), SourceError> {
        if !item.management {
            return Ok(());
        }
        let details = &item.details;
        let said = details.new_value.as_deref().unwrap_or_default();
        let (kind, reason) = match site.field {
            Some("flows") if said == "ACTIVATED" || item.kind == "FLOW_VERSION_EXPIRY_WARNING" => {
                (AlertKind::Flow, item.kind.as_str())
            }
            Some("flows") if ["BLOCKED", "THROTTLED"].contains(&said) => (AlertKind::Flow, said),
            Some("payment_configuration_update") if !said.eq_ignore_ascii_case("active") => {
                (AlertKind::PaymentConfiguration, said)
            }
            Some("account_alerts") => {
                (AlertKind::AccountAlert, details.severity.as_deref().unwrap_or_default())
            }
            Some(_) | None => return Ok(()),
        };
        let waba_id = site.waba_id.as_ref().map(ToString::to_string);
        let subject = details.subject.clone().or_else(|| waba_id.clone()).unwrap_or_default();
        let fields = AboutFields { waba_id, ..AboutFields::default() };
        let about = About { fields, event_time: item.time };
        let cause = Cause { key: natural_key.as_str(), event_time: item.time };
        self.warn(kind, subject, reason, cause, &about)
    }

    /// True the first time a natural key is met within the retention.
    pub(super) fn first_time(&mut self, key: &NaturalKey) -> Result<bool, SourceError> {
        let known = self.overlay.naturals.entry(key, |key| self.below.natural(key))?;
        if known.is_some() {
            return Ok(false);
        }
        *known = Some(Natural { offset: self.place.offset, changed: self.place.log_time });
        self.arm(self.place.log_time, TimerKind::ExpireNatural(key.clone()));
        Ok(true)
    }
}
