//! What a customer's message asks for by the rules: a queue, or no more messages of a category.

use super::Run;
use super::reactions::About;
use crate::action::{Sender, on_inbound};
use crate::decode::{MessageItem, Origin};
use crate::ids::WabaId;
use crate::overlay::{Source, SourceError};
use crate::records::AboutFields;
use crate::rules::Inbound;
use crate::state::Direction;

impl<S: Source + ?Sized> Run<'_, S> {
    /// Acts on what the customer wrote or chose. Not on what is told of the past, nor while another
    /// owner has the thread: that one answers.
    pub(super) fn choice(
        &mut self,
        item: &MessageItem,
        waba_id: Option<&WabaId>,
    ) -> Result<(), SourceError> {
        if item.origin != Origin::Live || item.direction != Direction::Inbound {
            return Ok(());
        }
        let phone_number_id = item.metadata.as_ref().map(|metadata| &metadata.phone_number_id);
        let party = item.parties.first();
        let sender = Sender {
            waba_id: waba_id.map(WabaId::as_str),
            phone_number_id: phone_number_id.map(|id| id.as_str()),
            wamid: Some(item.wamid.as_str()),
            recipient: party.map(|party| party.as_str()),
            ..Sender::default()
        };
        let time = item.time.unwrap_or(self.place.log_time);
        let Some(action) = on_inbound(&self.rules, &sender, &chosen(item), time) else {
            return Ok(());
        };
        let fields = AboutFields {
            waba_id: waba_id.map(ToString::to_string),
            phone_number_id: phone_number_id.map(ToString::to_string),
            wamid: Some(item.wamid.to_string()),
            party: party.map(ToString::to_string),
            ..AboutFields::default()
        };
        self.act(action, &About { fields, event_time: item.time }).map(drop)
    }
}

/// What inbound rules look at.
fn chosen(item: &MessageItem) -> Inbound<'_> {
    let said = &item.said;
    let (text, payload) = (said.text.as_deref(), said.payload.as_deref());
    match (item.message_type.as_str(), said.subtype.as_deref()) {
        ("text", _) => Inbound { text, ..Inbound::default() },
        ("button", _) | ("interactive", Some("button_reply")) => {
            Inbound { button_payload: payload, button_text: text, ..Inbound::default() }
        }
        ("interactive", Some("list_reply")) => Inbound { list_id: payload, ..Inbound::default() },
        _ => Inbound::default(),
    }
}
