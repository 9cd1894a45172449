//! Table rows, at the end of a record: each key once, in order, from the state as it is then. What
//! is gone by then gets a tombstone.

use super::Run;
use super::management::template_key_text;
use crate::ids::{ConversationKey, Participant, Wamid};
use crate::overlay::Source;
use crate::records::{AccountRow, ConversationRow, MessageRow, NumberRow, TemplateRow, Topic};
use crate::state::{Direction, Message, Receipt, Status};
use crate::time::Timestamp;

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn write_rows(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for (wamid, participant) in dirty.messages {
            let key = match participant.is_whole() {
                true => wamid.to_string(),
                false => format!("{wamid}/{participant}"),
            };
            if let Some(Some(message)) = self.overlay.messages.get(&wamid) {
                let row = message_row(self, &wamid, &participant, message);
                self.emit.record(Topic::MessageState, key, &row);
            } else {
                self.emit.tombstone(Topic::MessageState, key);
            }
        }
        for key in dirty.conversations {
            if let Some(Some(conversation)) = self.overlay.conversations.get(&key) {
                let facts = &conversation.facts;
                let row = ConversationRow {
                    source: self.emit.source(facts.last_inbound.max(facts.last_outbound)),
                    phone_number_id: key.phone_number_id.to_string(),
                    party: key.party.to_string(),
                    waba_id: facts.waba_id.as_ref().map(ToString::to_string),
                    first_inbound_time: facts.first_inbound,
                    last_inbound_time: facts.last_inbound,
                    last_outbound_time: facts.last_outbound,
                    window_expire_time: facts.window_expires(),
                    inbound_count: conversation.inbound_count,
                    outbound_count: conversation.outbound_count,
                };
                self.emit.record(Topic::ConversationState, conversation_key_text(&key), &row);
            } else {
                self.emit.tombstone(Topic::ConversationState, conversation_key_text(&key));
            }
        }
        for key in dirty.templates {
            if let Some(Some(template)) = self.overlay.templates.get(&key)
                && let Some((status, fact)) = template.facts.status()
            {
                let row = TemplateRow {
                    source: self.emit.source(fact.time),
                    waba_id: key.waba_id.to_string(),
                    template_id: key.template_id.to_string(),
                    language: key.language.clone(),
                    name: template.facts.name().map(str::to_owned),
                    status: status.to_owned(),
                    status_time: fact.time,
                    reason: fact.reason.clone(),
                    category: template.facts.category().map(str::to_owned),
                    title: fact.title.clone(),
                };
                self.emit.record(Topic::TemplateState, template_key_text(&key), &row);
            }
        }
        for key in dirty.numbers {
            if let Some(Some(number)) = self.overlay.numbers.get(&key) {
                let display = number.facts.display_phone_number();
                let since = display
                    .and_then(|display| number.facts.displays.get(display).copied().flatten());
                let row = NumberRow {
                    source: self.emit.source(since),
                    phone_number_id: key.to_string(),
                    waba_id: number.facts.waba_id.as_ref().map(ToString::to_string),
                    display_phone_number: display.map(str::to_owned),
                };
                self.emit.record(Topic::NumberState, key.to_string(), &row);
            }
        }
        for key in dirty.accounts {
            if let Some(Some(account)) = self.overlay.accounts.get(&key) {
                let newest =
                    account.facts.events.iter().max_by_key(|(kind, fact)| (fact.time, *kind));
                let ban = account.facts.events.get(&("DISABLED_UPDATE".to_owned(), String::new()));
                let row = AccountRow {
                    source: self.emit.source(newest.and_then(|(_, fact)| fact.time)),
                    waba_id: key.to_string(),
                    state: account.facts.state(self.place.log_time).as_str().to_owned(),
                    last_event: newest.map(|((event, _), _)| event.clone()),
                    ban_state: ban.and_then(|fact| fact.ban_state.clone()),
                };
                self.emit.record(Topic::AccountState, key.to_string(), &row);
            }
        }
    }
}

fn message_row<S: Source + ?Sized>(
    run: &Run<'_, S>,
    wamid: &Wamid,
    participant: &Participant,
    message: &Message,
) -> MessageRow {
    let facts = &message.facts;
    let nothing = Receipt::default();
    let receipt = facts.receipts.get(participant).unwrap_or(&nothing);
    // The row of the message itself shows the state over all participants, and what is known of
    // the message; the row of a participant only what is the participant's own.
    let state = facts.shown(participant);
    let of_message = participant.is_whole().then_some(facts);
    let latest: Option<Timestamp> = receipt.statuses.values().copied().max().flatten();
    let error = receipt.error_code().and_then(|code| Some((code, receipt.failures.get(&code)?)));
    let pricing = receipt.pricing.clone().unwrap_or_default();
    MessageRow {
        source: run.emit.source(latest),
        wamid: wamid.to_string(),
        participant: (!participant.is_whole()).then(|| participant.to_string()),
        waba_id: of_message.and_then(|facts| facts.waba_id.as_ref().map(ToString::to_string)),
        phone_number_id: of_message
            .and_then(|facts| facts.phone_number_id.as_ref().map(ToString::to_string)),
        party: of_message.and_then(|facts| facts.parties.first().map(ToString::to_string)),
        direction: of_message.map(|facts| match facts.direction() {
            Direction::Inbound => "inbound".to_owned(),
            Direction::Outbound => "outbound".to_owned(),
        }),
        state: state.map_or_else(|| "unknown".to_owned(), |status| status.as_str().to_owned()),
        pending_time: receipt.time_of(&Status::Pending),
        sent_time: receipt.time_of(&Status::Sent),
        delivered_time: receipt.time_of(&Status::Delivered),
        read_time: receipt.time_of(&Status::Read),
        played_time: receipt.time_of(&Status::Played),
        failed_time: receipt.time_of(&Status::Failed),
        inbound_time: receipt.time_of(&Status::Received),
        error_code: error.map(|(code, _)| code),
        error_details: error
            .and_then(|(_, failure)| failure.details.clone().or_else(|| failure.title.clone())),
        pricing_model: pricing.model,
        pricing_type: pricing.kind,
        pricing_category: pricing.category,
        billable: pricing.billable,
        callback_data: of_message.and_then(|facts| facts.callback_data.clone()),
        message_type: of_message.and_then(|facts| facts.inbound.as_ref()?.message_type.clone()),
    }
}

/// Key of the conversation table.
fn conversation_key_text(key: &ConversationKey) -> String {
    format!("{}/{}", key.phone_number_id, key.party)
}
