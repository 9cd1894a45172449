//! Table rows, at the end of a record: each key once, in order, from the state as it is then. What
//! is gone by then gets a tombstone.

use super::Run;
use super::emit::Emitter;
use super::users::UserPart;
use crate::ids::{ConversationKey, Participant, PartyId, PhoneNumberId, UserKey, WabaId, Wamid};
use crate::overlay::Source;
use crate::records::{ConversationRow, MessageRow, Source as RowSource, Topic, UserRow};
use crate::state::{
    Annotations, Conversation, Direction, Labels, Message, MessageFacts, Status, User, WindowState,
};
use crate::time::Timestamp;

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn write_rows(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for (wamid, participant) in dirty.messages {
            let Some(Some(message)) = self.overlay.messages.get(&wamid) else {
                self.emit.tombstone(Topic::MessageState, wamid.row_key(&participant));
                continue;
            };
            // What was done to a message that has not come yet waits for it.
            if message.facts.has_appeared()
                && let Some(source) = self.emit.begin(newest_status(message, &participant))
            {
                let labels = match participant.is_whole() {
                    true => message.facts.labels(),
                    false => Labels::default(),
                };
                let media_valid_ms = self.rules.media_valid_ms();
                let row =
                    message_row(source, &wamid, &participant, message, &labels, media_valid_ms);
                self.emit.record(Topic::MessageState, wamid.row_key(&participant), &row);
            }
        }
        for key in dirty.conversations {
            let Some(Some(conversation)) = self.overlay.conversations.get(&key) else {
                self.emit.tombstone(Topic::ConversationState, key.text());
                continue;
            };
            let facts = &conversation.facts;
            if let Some(source) = self.emit.begin(facts.last_inbound.max(facts.last_outbound)) {
                let row = conversation_row(source, &key, conversation, self.place.log_time);
                self.emit.record(Topic::ConversationState, key.text(), &row);
            }
        }
        for key in dirty.templates {
            self.template_row(&key);
        }
        for (key, part) in dirty.numbers {
            self.number_row(&key, &part);
        }
        for key in dirty.totals {
            self.total_row(&key);
        }
        for (key, part) in dirty.accounts {
            self.account_row(&key, &part);
        }
        for (key, part) in dirty.users {
            if let Some(Some(user)) = self.overlay.users.get(&key)
                && let Some((text, row)) = user_row(&mut self.emit, &key, &part, user)
            {
                self.emit.record(Topic::UserState, text, &row);
            }
        }
    }
}

/// The latest time of a status of the participant, or of the message itself.
fn newest_status(message: &Message, participant: &Participant) -> Option<Timestamp> {
    let receipt = message.facts.receipts.get(participant)?;
    receipt.statuses.values().copied().max().flatten()
}

fn message_row<'a>(
    source: RowSource,
    wamid: &'a Wamid,
    participant: &'a Participant,
    message: &'a Message,
    labels: &'a Labels,
    media_valid_ms: i64,
) -> MessageRow<'a> {
    let facts = &message.facts;
    let receipt = facts.receipts.get(participant);
    let time_of = |status| receipt.and_then(|receipt| receipt.time_of(&status));
    // The row of the message itself shows the state over all participants, and what is known of
    // the message; the row of a participant only what is the participant's own.
    let state = facts.shown(participant);
    let of_message = participant.is_whole().then_some(facts);
    let error = receipt.and_then(|receipt| {
        let code = receipt.error_code()?;
        Some((code, receipt.failures.get(&code)?))
    });
    let pricing = receipt.and_then(|receipt| receipt.pricing.as_ref());
    let billing = of_message.and_then(|facts| facts.billing.as_deref());
    let content = of_message.and_then(MessageFacts::content);
    let media = content.and_then(|content| content.media.as_ref());
    let done = of_message.and_then(|facts| facts.annotations.as_deref());
    MessageRow {
        source,
        wamid: wamid.as_str(),
        participant: (!participant.is_whole()).then(|| participant.as_str()),
        waba_id: of_message.and_then(|facts| facts.waba_id.as_ref().map(WabaId::as_str)),
        phone_number_id: of_message
            .and_then(|facts| facts.phone_number_id.as_ref().map(PhoneNumberId::as_str)),
        party: of_message.and_then(|facts| facts.parties.first().map(PartyId::as_str)),
        direction: of_message.map(|facts| match facts.direction() {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }),
        state: state.map_or("unknown", Status::as_str),
        pending_time: time_of(Status::Pending),
        sent_time: time_of(Status::Sent),
        delivered_time: time_of(Status::Delivered),
        read_time: time_of(Status::Read),
        played_time: time_of(Status::Played),
        failed_time: time_of(Status::Failed),
        inbound_time: time_of(Status::Received),
        error_code: error.map(|(code, _)| code),
        error_details: error
            .and_then(|(_, failure)| failure.details.as_deref().or(failure.title.as_deref())),
        pricing_model: pricing.and_then(|pricing| pricing.model.as_deref()),
        pricing_type: pricing.and_then(|pricing| pricing.kind.as_deref()),
        pricing_category: pricing.and_then(|pricing| pricing.category.as_deref()),
        billable: pricing.and_then(|pricing| pricing.billable),
        callback_data: of_message.and_then(|facts| facts.callback_data.as_deref()),
        message_type: content.and_then(|content| content.message_type.as_deref()),
        label_template: labels.template.as_deref(),
        label_language: labels.language.as_deref(),
        label_campaign: labels.campaign.as_deref(),
        label_intent: labels.intent.as_deref(),
        template_id: of_message.and_then(|facts| facts.template_id.as_deref()),
        conversation_id: billing.and_then(|billing| billing.id.as_deref()),
        conversation_origin: billing.and_then(|billing| billing.origin.as_deref()),
        conversation_expire_time: billing.and_then(|billing| billing.expires),
        reply_to: content.and_then(|content| content.reply_to.as_deref()),
        target_wamid: content.and_then(|content| content.target.as_ref().map(Wamid::as_str)),
        sender: content.and_then(|content| content.sender.as_ref().map(PartyId::as_str)),
        forwarded: content.is_some_and(|content| content.forwarded),
        media_id: media.map(|media| media.id.as_str()),
        media_mime_type: media.and_then(|media| media.mime_type.as_deref()),
        media_sha256: media.and_then(|media| media.sha256.as_deref()),
        media_expire_time: of_message.and_then(|facts| facts.media_expires(media_valid_ms)),
        edited_time: done.and_then(Annotations::edited),
        revoked: done.is_some_and(|done| !done.revokes.is_empty()),
        revoked_time: done.and_then(Annotations::revoked),
        reaction_count: done
            .filter(|done| !done.reactions.is_empty())
            .map(|done| u64::try_from(done.reaction_count()).unwrap_or(u64::MAX)),
        fbtrace_id: of_message.and_then(|facts| facts.traces.first().map(String::as_str)),
        standby: of_message.is_some_and(|facts| facts.standby),
    }
}

fn conversation_row<'a>(
    source: RowSource,
    key: &'a ConversationKey,
    conversation: &'a Conversation,
    log_time: Timestamp,
) -> ConversationRow<'a> {
    let facts = &conversation.facts;
    let word = |state: WindowState| match state {
        WindowState::Open => "open",
        WindowState::Closed => "closed",
    };
    let referral = facts.referral.as_ref();
    let permission = facts.call_permission.as_ref();
    ConversationRow {
        source,
        phone_number_id: key.phone_number_id.as_str(),
        party: key.party.as_str(),
        waba_id: facts.waba_id.as_ref().map(WabaId::as_str),
        first_inbound_time: facts.first_inbound,
        last_inbound_time: facts.last_inbound,
        last_outbound_time: facts.last_outbound,
        window_expire_time: facts.window_expires(),
        inbound_count: conversation.inbound_count,
        outbound_count: conversation.outbound_count,
        window_state: facts.window_expires().map(|_| word(facts.window(log_time))),
        free_entry_state: facts.free_entry_expires.map(|_| word(facts.free_entry(log_time))),
        free_entry_expire_time: facts.free_entry_expires,
        referral_time: referral.and_then(|referral| referral.time),
        referral_source_type: referral.and_then(|referral| referral.source_type.as_deref()),
        referral_source_id: referral.and_then(|referral| referral.source_id.as_deref()),
        referral_ctwa_clid: referral.and_then(|referral| referral.ctwa_clid.as_deref()),
        call_permission: permission
            .map(|permission| if permission.refused { "reject" } else { "accept" }),
        call_permission_expire_time: permission.and_then(|permission| permission.expires),
    }
}

/// Key and row of a part of a user; none for what a bound has left out meanwhile, and where no row is
/// made.
fn user_row(
    emit: &mut Emitter,
    key: &UserKey,
    part: &UserPart,
    user: &User,
) -> Option<(String, UserRow)> {
    let facts = &user.facts;
    let row = |source| UserRow {
        source,
        waba_id: key.waba_id.to_string(),
        party: key.party.to_string(),
        name: None,
        username: None,
        category: None,
        preference: None,
        preference_time: None,
        alias: None,
        relation: None,
        alias_time: None,
    };
    let text = key.text();
    Some(match part {
        UserPart::Profile => {
            let profile = facts.profile.as_ref()?;
            let (name, username) = (profile.name.clone(), profile.username.clone());
            (text, UserRow { name, username, ..row(emit.begin(None)?) })
        }
        UserPart::Preference(category) => {
            let preference = facts.preferences.get(category)?;
            let row = UserRow {
                category: Some(category.clone()),
                preference: Some(preference.value.clone()),
                preference_time: preference.time,
                ..row(emit.begin(preference.time)?)
            };
            (format!("{text}/preference/{category}"), row)
        }
        UserPart::Alias(alias) => {
            let time = *facts.aliases.get(alias)?;
            let relation = alias.relation.as_str();
            let row = UserRow {
                alias: Some(alias.party.to_string()),
                relation: Some(relation.to_owned()),
                alias_time: time,
                ..row(emit.begin(time)?)
            };
            (format!("{text}/alias/{}/{relation}", alias.party), row)
        }
    })
}
