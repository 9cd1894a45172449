//! Statuses of our messages.

use super::Run;
use super::messages::Learned;
use crate::decode::{Origin, Site, StatusItem};
use crate::ids::{PartyId, WabaId};
use crate::overlay::{Source, SourceError};
use crate::state::{ConversationFacts, MessageFacts, Preference, Receipt, Status, UserFacts};

/// The user stopped marketing messages of this business: an error that teaches a preference.
const STOPPED_MARKETING: i64 = 131_050;

/// The category that [`STOPPED_MARKETING`] is about.
const MARKETING: &str = "marketing_messages";

/// `conversation.origin.type` of a free entry point.
const FREE_ENTRY_ORIGIN: &str = "referral_conversion";

/// `pricing.type` of everything that is sent in one.
const FREE_ENTRY_PRICE: &str = "free_entry_point";

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn status(&mut self, item: StatusItem, site: &Site<'_>) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref();
        if let Some(metadata) = &item.metadata {
            self.number(metadata, waba_id, item.time)?;
        }
        self.link(waba_id, &item.links, item.time)?;
        let stopped = item.errors.contains_key(&STOPPED_MARKETING);
        let kind = item.pricing.as_ref().and_then(|pricing| pricing.kind.as_deref());
        let is_free = kind == Some(FREE_ENTRY_PRICE);
        let receipt = Receipt {
            statuses: [(item.status.clone(), item.time)].into_iter().collect(),
            failures: item.errors,
            pricing: item.pricing,
            pricing_disputed: false,
        };
        let free_entry_expires = item
            .billing
            .as_ref()
            .filter(|billing| is_free || billing.origin.as_deref() == Some(FREE_ENTRY_ORIGIN))
            .and_then(|billing| billing.expires);
        let phone_number_id = item.metadata.map(|metadata| metadata.phone_number_id);
        let facts = MessageFacts {
            waba_id: waba_id.cloned(),
            phone_number_id: phone_number_id.clone(),
            parties: item.parties.iter().cloned().collect(),
            group: item.group,
            standby: item.origin == Origin::Standby,
            receipts: [(item.participant.clone(), receipt)].into_iter().collect(),
            callback_data: item.callback_data,
            template_id: item.template_id,
            billing: item.billing.map(Box::new),
            traces: item.traces.into_iter().collect(),
            ..MessageFacts::default()
        };
        let last_outbound = if item.status == Status::Sent { item.time } else { None };
        let party = item.parties.into_iter().next();
        // In a group it is one of those who are in it that stopped, and not the group.
        let stopper = match item.participant.is_whole() {
            true => party.clone(),
            false => Some(PartyId::new(item.participant.to_string())),
        };
        if item.status.is_unknown() {
            self.unknown_status(&item.wamid, &item.status, &item.participant, item.time, site)?;
        }
        let learned = Learned {
            facts,
            status: item.status,
            participant: item.participant,
            time: item.time,
            origin: item.origin,
        };
        self.message(&item.wamid, learned)?;
        if last_outbound.is_some() || free_entry_expires.is_some() {
            let facts = ConversationFacts {
                waba_id: waba_id.cloned(),
                last_outbound,
                free_entry_expires,
                ..ConversationFacts::default()
            };
            self.learn_conversation(phone_number_id, party, item.time, facts)?;
        }
        if let (true, Some(party), Some(waba_id)) = (stopped, stopper, waba_id) {
            self.teach_stop(waba_id, party, item.time)?;
        }
        Ok(())
    }

    /// A failure that says what `user_preferences` would have said.
    fn teach_stop(
        &mut self,
        waba_id: &WabaId,
        party: PartyId,
        time: Option<crate::time::Timestamp>,
    ) -> Result<(), SourceError> {
        let stop = Preference { time, stop: true, value: "stop".to_owned() };
        let facts = UserFacts {
            preferences: [(MARKETING.to_owned(), stop)].into(),
            ..UserFacts::default()
        };
        self.user_preference(waba_id, party, MARKETING, facts, None)
    }
}
