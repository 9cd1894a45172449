//! What each call asks, and how the replies of several nodes to it become one.
//!
//! Everything of one account is in one partition, so it is rare that two nodes know the same thing: a
//! number that moved to another account leaves its messages where they were. Then what both tell is
//! put together as `joined` does it with the facts themselves, as far as a reply tells of them: by
//! the earliest time of each fact, by the code of each error, of two texts the greater one, and what
//! cannot be both is as the later change has it.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use tickfold_core::ids::{WabaId, Wamid};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;
use tickfold_store::MessageListItem;

use super::arguments::{View, conversation_key};
use super::filter;
use super::find::Search;
use super::list::{Messages, Order, REPLY_EXTRA_BYTES};
use super::page::Page;
use super::partitions::Asked;
use super::spread::instant;
use crate::reasons::Failure;
use crate::{QueryOptions, convert};

/// A request that can be spread over nodes.
pub(super) trait Spread: prost::Message + Clone + Send + Sync + 'static {
    /// Its reply.
    type Reply: prost::Message + Default + Send + Sync + 'static;

    /// Which partitions it asks.
    fn asked(&self) -> Asked {
        Asked::All
    }

    /// How much it asks to be told of persons: BASIC where the reply has nothing of any.
    fn view(&self) -> Result<View, Failure>;

    /// The positions that it waits for.
    fn min_position(&mut self) -> &mut Vec<pb::Position>;

    /// The moment that it asks of, if it is not now.
    fn at(&self) -> Option<&pb::Moment> {
        None
    }

    /// What a reply reflects.
    fn as_of(reply: &mut Self::Reply) -> &mut Option<pb::AsOf>;

    /// One reply from several, but for what it reflects.
    fn merge(
        &self,
        replies: Vec<Self::Reply>,
        options: &QueryOptions,
    ) -> Result<Self::Reply, Failure>;

    /// True if the reply says of something that it is not there, which is only right of all
    /// partitions together.
    fn tells_absence(&self, _: &Self::Reply) -> bool {
        false
    }
}

/// A request for one thing, of which two replies become one by `$join`.
macro_rules! one_thing {
    ($request:ident, $reply:ident, $thing:ident, $view:expr, $join:expr $(, $waba_id:ident)?) => {
        impl Spread for pb::$request {
            type Reply = pb::$reply;

            fn view(&self) -> Result<View, Failure> {
                $view(self)
            }

            $(fn asked(&self) -> Asked {
                Asked::AccountOf(WabaId::new(self.$waba_id.clone()))
            })?

            fn min_position(&mut self) -> &mut Vec<pb::Position> {
                &mut self.min_position
            }

            fn at(&self) -> Option<&pb::Moment> {
                self.at.as_ref()
            }

            fn as_of(reply: &mut pb::$reply) -> &mut Option<pb::AsOf> {
                &mut reply.as_of
            }

            fn merge(&self, replies: Vec<pb::$reply>, _: &QueryOptions) -> Result<pb::$reply, Failure> {
                let things = replies.into_iter().filter_map(|reply| reply.$thing);
                Ok(pb::$reply { $thing: things.reduce($join), as_of: None })
            }
        }
    };
}

one_thing!(
    GetMessageRequest,
    GetMessageResponse,
    message,
    |asked: &Self| View::of(asked.view),
    messages
);
one_thing!(GetNumberRequest, GetNumberResponse, number, |_| Ok(View::Basic), numbers);
// These are asked of one partition.
one_thing!(
    GetTemplateRequest,
    GetTemplateResponse,
    template,
    |_| Ok(View::Basic),
    |first, _| first,
    waba_id
);
one_thing!(
    GetAccountRequest,
    GetAccountResponse,
    account,
    |_| Ok(View::Basic),
    |first, _| first,
    waba_id
);
// All that a user is, is personal.
one_thing!(GetUserRequest, GetUserResponse, user, |_| Ok(View::Full), |first, _| first, waba_id);

impl Spread for pb::LookupMessagesRequest {
    type Reply = pb::LookupMessagesResponse;

    fn view(&self) -> Result<View, Failure> {
        View::of(self.view)
    }

    fn min_position(&mut self) -> &mut Vec<pb::Position> {
        &mut self.min_position
    }

    fn as_of(reply: &mut pb::LookupMessagesResponse) -> &mut Option<pb::AsOf> {
        &mut reply.as_of
    }

    fn merge(
        &self,
        replies: Vec<pb::LookupMessagesResponse>,
        _: &QueryOptions,
    ) -> Result<pb::LookupMessagesResponse, Failure> {
        let mut by_wamid = BTreeMap::new();
        replies.into_iter().flat_map(|reply| reply.found).for_each(|m| put(&mut by_wamid, m));
        let mut reply = pb::LookupMessagesResponse::default();
        let mut seen = BTreeSet::new();
        for wamid in self.wamids.iter().filter(|wamid| seen.insert(*wamid)) {
            match by_wamid.remove(wamid) {
                Some(message) => reply.found.push(message),
                None => reply.missing.push(wamid.clone()),
            }
        }
        Ok(reply)
    }

    fn tells_absence(&self, reply: &pb::LookupMessagesResponse) -> bool {
        !reply.missing.is_empty()
    }
}

impl Spread for pb::ListMessagesRequest {
    type Reply = pb::ListMessagesResponse;

    fn view(&self) -> Result<View, Failure> {
        View::of(self.view)
    }

    fn min_position(&mut self) -> &mut Vec<pb::Position> {
        &mut self.min_position
    }

    fn as_of(reply: &mut pb::ListMessagesResponse) -> &mut Option<pb::AsOf> {
        &mut reply.as_of
    }

    fn merge(
        &self,
        replies: Vec<pb::ListMessagesResponse>,
        options: &QueryOptions,
    ) -> Result<pb::ListMessagesResponse, Failure> {
        let (page, conditions) = if self.party.is_empty() {
            Search::of_list(self)?.into_page()
        } else {
            let key = conversation_key(self.phone_number_id.clone(), self.party.clone())?;
            let (view, conditions) = (View::of(self.view)?, filter::in_conversation(&self.filter)?);
            (Page::of_conversation(&key, view, &conditions, &self.page_token)?, conditions)
        };
        let size = super::arguments::page_size(self.page_size, options)?;
        let of = |reply: pb::ListMessagesResponse| Messages {
            messages: reply.messages,
            next_page_token: reply.next_page_token,
        };
        let replies = replies.into_iter().map(of).collect();
        let Messages { mut messages, next_page_token } =
            pages(replies, (&page, Order::Newest), size, options.response_bytes_max)?;
        // What two nodes know of a message may meet by halves what it does not as a whole.
        messages.retain(|message| conditions.are_met(message));
        Ok(pb::ListMessagesResponse { messages, next_page_token, as_of: None })
    }

    /// What is found of a conversation is all of it, unless its number moved. Of a number or a label
    /// whoever cannot be asked may have more.
    fn tells_absence(&self, reply: &pb::ListMessagesResponse) -> bool {
        self.party.is_empty() || reply.messages.is_empty()
    }
}

impl Spread for pb::FindMessagesRequest {
    type Reply = pb::FindMessagesResponse;

    fn view(&self) -> Result<View, Failure> {
        View::of(self.view)
    }

    fn min_position(&mut self) -> &mut Vec<pb::Position> {
        &mut self.min_position
    }

    fn as_of(reply: &mut pb::FindMessagesResponse) -> &mut Option<pb::AsOf> {
        &mut reply.as_of
    }

    fn merge(
        &self,
        replies: Vec<pb::FindMessagesResponse>,
        options: &QueryOptions,
    ) -> Result<pb::FindMessagesResponse, Failure> {
        let search = Search::of(self)?;
        let size = super::arguments::page_size(self.page_size, options)?;
        let of = |reply: pb::FindMessagesResponse| Messages {
            messages: reply.messages,
            next_page_token: reply.next_page_token,
        };
        let replies = replies.into_iter().map(of).collect();
        let Messages { mut messages, next_page_token } =
            pages(replies, search.order(), size, options.response_bytes_max)?;
        messages.retain(|message| search.conditions.are_met(message));
        Ok(pb::FindMessagesResponse { messages, next_page_token, as_of: None })
    }

    /// Whoever cannot be asked may have found more.
    fn tells_absence(&self, _: &pb::FindMessagesResponse) -> bool {
        true
    }
}

impl Spread for pb::GetConversationRequest {
    type Reply = pb::GetConversationResponse;

    fn view(&self) -> Result<View, Failure> {
        View::of(self.message_view)
    }

    fn min_position(&mut self) -> &mut Vec<pb::Position> {
        &mut self.min_position
    }

    fn at(&self) -> Option<&pb::Moment> {
        self.at.as_ref()
    }

    fn as_of(reply: &mut pb::GetConversationResponse) -> &mut Option<pb::AsOf> {
        &mut reply.as_of
    }

    /// Its newest messages are the first page of their list.
    fn merge(
        &self,
        replies: Vec<pb::GetConversationResponse>,
        options: &QueryOptions,
    ) -> Result<pb::GetConversationResponse, Failure> {
        let (mut found, mut lists) = (Vec::new(), Vec::new());
        for reply in replies {
            let (messages, next_page_token) = (reply.messages, reply.next_page_token);
            found.extend(reply.conversation);
            lists.push(pb::ListMessagesResponse { messages, next_page_token, as_of: None });
        }
        let conversation = found.into_iter().reduce(conversations);
        let mut reply = pb::GetConversationResponse { conversation, ..Default::default() };
        // None are asked for with 0, which in a list means the usual number.
        if self.message_count > 0 {
            let list = pb::ListMessagesRequest {
                phone_number_id: self.phone_number_id.clone(),
                party: self.party.clone(),
                page_size: self.message_count,
                view: self.message_view,
                ..Default::default()
            };
            let newest = list.merge(lists, options)?;
            (reply.messages, reply.next_page_token) = (newest.messages, newest.next_page_token);
        }
        Ok(reply)
    }
}

/// The nodes' pages of one list as one. It ends where the first of them ends that has more than it
/// told, so the next page begins there for all of them. A message that stands at two places, of
/// two nodes, is told at the older one, if that is on the same page.
fn pages(
    replies: Vec<Messages>,
    (page, order): (&Page, Order),
    size: usize,
    bytes_max: usize,
) -> Result<Messages, Failure> {
    let compare = |a: &MessageListItem, b: &MessageListItem| match order {
        Order::Newest => b.cmp(a),
        Order::Wamid => a.wamid.cmp(&b.wamid),
    };
    let mut end: Option<MessageListItem> = None;
    let mut by_wamid = BTreeMap::new();
    for reply in replies {
        let place = page.place(&reply.next_page_token)?;
        end = end.into_iter().chain(place).min_by(compare);
        reply.messages.into_iter().for_each(|message| put(&mut by_wamid, message));
    }
    let mut all: Vec<_> =
        by_wamid.into_values().map(|message| (item(&message, order), message)).collect();
    all.sort_by(|(a, _), (b, _)| compare(a, b));
    let (mut told, mut bytes) = (Messages::default(), REPLY_EXTRA_BYTES);
    let mut last: Option<MessageListItem> = None;
    for (place, message) in all {
        if end.as_ref().is_some_and(|end| compare(&place, end).is_gt()) {
            break;
        }
        bytes += message.encoded_len();
        let full = bytes > bytes_max && !told.messages.is_empty();
        if told.messages.len() >= size || full {
            told.next_page_token = last.map(|last| page.token_after(&last)).unwrap_or_default();
            return Ok(told);
        }
        told.messages.push(message);
        last = Some(place);
    }
    told.next_page_token = end.map(|end| page.token_after(&end)).unwrap_or_default();
    Ok(told)
}

/// The place of a message in a list.
fn item(message: &pb::Message, order: Order) -> MessageListItem {
    let time = match order {
        Order::Newest => message.list_time.unwrap_or_default(),
        Order::Wamid => prost_types::Timestamp::default(),
    };
    let ms = time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000);
    MessageListItem { list_time: Timestamp::from_millis(ms), wamid: Wamid::from(&*message.wamid) }
}

type Time = Option<prost_types::Timestamp>;

fn earlier(a: Time, b: Time) -> Time {
    a.into_iter().chain(b).min_by_key(instant)
}

fn later(a: Time, b: Time) -> Time {
    a.into_iter().chain(b).max_by_key(instant)
}

fn since(time: &Time) -> Option<(i64, i32)> {
    time.as_ref().map(instant)
}

/// How high a state ranks, where several are known: a failure outranks `sent`, and every proof of a
/// delivery outranks a failure.
fn rank(state: pb::MessageState) -> u8 {
    use pb::MessageState as S;
    match state {
        S::Unspecified => 0,
        S::Unknown => 1,
        S::Pending => 2,
        S::Sent => 3,
        S::Failed => 4,
        S::Delivered => 5,
        S::Read => 6,
        S::Played => 7,
        S::Received => 8,
    }
}

/// Adds a message to those of its wamid.
fn put(by_wamid: &mut BTreeMap<String, pb::Message>, message: pb::Message) {
    let joined = match by_wamid.remove(&message.wamid) {
        Some(other) => messages(other, message),
        None => message,
    };
    by_wamid.insert(joined.wamid.clone(), joined);
}

fn messages(a: pb::Message, b: pb::Message) -> pb::Message {
    let (older, newer) =
        if since(&a.last_log_time) <= since(&b.last_log_time) { (a, b) } else { (b, a) };
    let shown = |one: &pb::Message| (rank(one.state()), one.state_text.clone());
    let shown = if shown(&older) > shown(&newer) { &older } else { &newer };
    let (state, state_text) = (shown.state, shown.state_text.clone());
    let is_inbound = [&older, &newer].map(|one| one.direction() == pb::MessageDirection::Inbound);
    let direction = if is_inbound[0] { older.direction } else { newer.direction };
    // Of a message that came in that is its content, whatever an echo of it says.
    let content = match is_inbound {
        [true, false] => Content::of(&older),
        [false, true] => Content::of(&newer),
        [true, true] | [false, false] => Content::of(&older).join(Content::of(&newer)),
    };
    let facts = join_facts(older.facts.clone(), newer.facts.clone());
    let media = content.media.map(|media| {
        let expire_time = media_expires([&older, &newer], &facts);
        pb::Media { expire_time, ..media }
    });
    let errors = join_errors(older.errors, newer.errors);
    let earliest = errors
        .iter()
        .min_by_key(|error| (error.first_time.is_none(), since(&error.first_time), error.code));
    let mut history = older.history;
    history.extend(newer.history);
    let place = |line: &pb::Transition| {
        let source = line.source.unwrap_or_default();
        (since(&line.log_time), source.partition, source.offset, line.ordinal)
    };
    history.sort_by_key(place);
    let parties = union(older.parties, newer.parties);
    let party = parties.first().cloned().unwrap_or_else(|| least(older.party, newer.party));
    let (callback_data, labels) = if older.callback_data > newer.callback_data {
        (older.callback_data, older.labels)
    } else {
        (newer.callback_data, newer.labels)
    };
    // Without a rest: of a field that is added somebody has to say how it is joined.
    pb::Message {
        wamid: newer.wamid,
        direction,
        state,
        state_text,
        waba_id: least(older.waba_id, newer.waba_id),
        phone_number_id: least(older.phone_number_id, newer.phone_number_id),
        party,
        parties,
        list_time: earlier(older.list_time, newer.list_time),
        pending_time: earlier(older.pending_time, newer.pending_time),
        sent_time: earlier(older.sent_time, newer.sent_time),
        delivered_time: earlier(older.delivered_time, newer.delivered_time),
        read_time: earlier(older.read_time, newer.read_time),
        played_time: earlier(older.played_time, newer.played_time),
        failed_time: earlier(older.failed_time, newer.failed_time),
        inbound_time: earlier(older.inbound_time, newer.inbound_time),
        facts,
        error_code: earliest.map(|error| error.code),
        errors,
        pricing: price((older.pricing, &older.charge), (newer.pricing, &newer.charge)),
        participants: join_participants(older.participants, newer.participants),
        callback_data,
        message_type: content.message_type,
        revision: newer.revision,
        first_log_time: earlier(older.first_log_time, newer.first_log_time),
        last_log_time: later(older.last_log_time, newer.last_log_time),
        history,
        charge: newer.charge.or(older.charge),
        actions: join_decisions(older.actions, newer.actions),
        alerts: join_decisions(older.alerts, newer.alerts),
        labels,
        template_id: older.template_id.max(newer.template_id),
        media,
        sender: content.sender,
        reply_to: content.reply_to,
        target_wamid: content.target_wamid,
        forwarded: content.forwarded,
        echo: older.echo || newer.echo,
        standby: older.standby || newer.standby,
        group: older.group || newer.group,
        content_errors: content.errors,
        edits: join_changes(older.edits, newer.edits),
        revokes: join_changes(older.revokes, newer.revokes),
        reactions: join_reactions(older.reactions, newer.reactions),
        fbtrace_ids: union(older.fbtrace_ids, newer.fbtrace_ids),
        billing_conversation: match (older.billing_conversation, newer.billing_conversation) {
            (Some(a), Some(b)) => Some(pb::BillingConversation {
                id: a.id.max(b.id),
                origin: a.origin.max(b.origin),
                expire_time: later(a.expire_time, b.expire_time),
            }),
            (a, b) => b.or(a),
        },
    }
}

/// What a message is, as far as it is told.
struct Content {
    message_type: String,
    reply_to: String,
    target_wamid: String,
    sender: String,
    forwarded: bool,
    media: Option<pb::Media>,
    errors: Vec<pb::MessageError>,
}

impl Content {
    fn of(message: &pb::Message) -> Self {
        Self {
            message_type: message.message_type.clone(),
            reply_to: message.reply_to.clone(),
            target_wamid: message.target_wamid.clone(),
            sender: message.sender.clone(),
            forwarded: message.forwarded,
            media: message.media.clone(),
            errors: message.content_errors.clone(),
        }
    }

    fn join(self, other: Self) -> Self {
        let order = |media: &pb::Media| {
            let pb::Media { id, mime_type, sha256, filename, voice, animated, expire_time: _ } =
                media.clone();
            (id, mime_type, sha256, filename, voice, animated)
        };
        Self {
            message_type: self.message_type.max(other.message_type),
            reply_to: self.reply_to.max(other.reply_to),
            target_wamid: self.target_wamid.max(other.target_wamid),
            sender: self.sender.max(other.sender),
            forwarded: self.forwarded || other.forwarded,
            media: self.media.into_iter().chain(other.media).max_by_key(order),
            errors: join_errors(self.errors, other.errors),
        }
    }
}

/// When media can no longer be fetched: as long after the earliest fact of all as a node says that it is
/// after the earliest that it knows.
fn media_expires(messages: [&pb::Message; 2], facts: &[pb::StatusFact]) -> Time {
    let first = |facts: &[pb::StatusFact]| {
        facts.iter().filter_map(|fact| fact.event_time).min_by_key(instant)
    };
    let ms = |time: prost_types::Timestamp| {
        time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000)
    };
    let valid = messages.into_iter().filter_map(|message| {
        let expires = message.media.as_ref()?.expire_time?;
        Some(ms(expires).saturating_sub(ms(first(&message.facts)?)))
    });
    let told = Timestamp::from_millis(ms(first(facts)?));
    Some(convert::time(told.plus(valid.max()?)))
}

/// Of two prices that of a delivery, which is the one that is charged; else the greater one.
fn price(
    a: (Option<pb::Pricing>, &Option<pb::Charge>),
    b: (Option<pb::Pricing>, &Option<pb::Charge>),
) -> Option<pb::Pricing> {
    let order = |(pricing, charge): &(Option<pb::Pricing>, &Option<pb::Charge>)| {
        let pb::Pricing { billable, model, r#type, category } = pricing.clone()?;
        Some((charge.is_some(), billable, model, r#type, category))
    };
    [a, b].into_iter().max_by_key(order)?.0
}

/// Both, each once, in order.
fn union(mut a: Vec<String>, b: Vec<String>) -> Vec<String> {
    a.extend(b);
    a.sort();
    a.dedup();
    a
}

/// By partition, which each has its own of.
fn join_decisions(mut a: Vec<pb::Decision>, b: Vec<pb::Decision>) -> Vec<pb::Decision> {
    a.extend(b);
    a.sort_by_key(|decision| decision.source.unwrap_or_default().partition);
    a
}

/// By wamid. Where the view hides it, those of the later change are told.
fn join_changes(
    older: Vec<pb::MessageChange>,
    newer: Vec<pb::MessageChange>,
) -> Vec<pb::MessageChange> {
    if older.iter().chain(&newer).any(|change| change.wamid.is_empty()) {
        return if newer.is_empty() { older } else { newer };
    }
    let mut joined: BTreeMap<String, Time> = BTreeMap::new();
    for pb::MessageChange { wamid, event_time } in older.into_iter().chain(newer) {
        let known = joined.entry(wamid).or_default();
        *known = earlier(*known, event_time);
    }
    let change = |(wamid, event_time)| pb::MessageChange { wamid, event_time };
    joined.into_iter().map(change).collect()
}

/// By user, of each the latest. Where the view hides who they are, those of the later change are told.
fn join_reactions(
    older: Vec<pb::MessageReaction>,
    newer: Vec<pb::MessageReaction>,
) -> Vec<pb::MessageReaction> {
    if older.iter().chain(&newer).any(|reaction| reaction.party.is_empty()) {
        return if newer.is_empty() { older } else { newer };
    }
    let order =
        |one: &pb::MessageReaction| (since(&one.event_time), one.wamid.clone(), one.emoji.clone());
    let mut joined: BTreeMap<String, pb::MessageReaction> = BTreeMap::new();
    for one in older.into_iter().chain(newer) {
        let known = joined.remove(&one.party);
        let latest = known.into_iter().chain([one]).max_by_key(order);
        joined.extend(latest.map(|one| (one.party.clone(), one)));
    }
    joined.into_values().collect()
}

/// The text, or the other one where it is empty.
fn first(text: String, other: String) -> String {
    if text.is_empty() { other } else { text }
}

/// The lesser of two texts that are not empty.
fn least(a: String, b: String) -> String {
    if b.is_empty() || (!a.is_empty() && a < b) { a } else { b }
}

fn join_facts(a: Vec<pb::StatusFact>, b: Vec<pb::StatusFact>) -> Vec<pb::StatusFact> {
    let mut facts = a;
    for fact in b {
        match facts.iter_mut().find(|known| known.state_text == fact.state_text) {
            Some(known) => known.event_time = earlier(known.event_time, fact.event_time),
            None => facts.push(fact),
        }
    }
    facts.sort_by(|a, b| (a.state, &a.state_text).cmp(&(b.state, &b.state_text)));
    facts
}

fn join_errors(a: Vec<pb::MessageError>, b: Vec<pb::MessageError>) -> Vec<pb::MessageError> {
    let mut errors: BTreeMap<i64, pb::MessageError> = BTreeMap::new();
    for error in a.into_iter().chain(b) {
        let pb::MessageError { code, first_time, title, message, details } = error;
        let known = errors.entry(code).or_default();
        known.code = code;
        known.first_time = earlier(known.first_time, first_time);
        let texts = [(&mut known.title, title), (&mut known.message, message)];
        for (known, text) in texts.into_iter().chain([(&mut known.details, details)]) {
            if text > *known {
                *known = text;
            }
        }
    }
    errors.into_values().collect()
}

/// By participant. Where the view hides who they are, those of the later change are told.
fn join_participants(
    older: Vec<pb::Participant>,
    newer: Vec<pb::Participant>,
) -> Vec<pb::Participant> {
    if older.iter().chain(&newer).any(|participant| participant.participant.is_empty()) {
        return if newer.is_empty() { older } else { newer };
    }
    let mut joined: BTreeMap<String, pb::Participant> = BTreeMap::new();
    for one in older.into_iter().chain(newer) {
        let one = match joined.remove(&one.participant) {
            None => one,
            Some(known) => pb::Participant {
                state: if rank(known.state()) > rank(one.state()) {
                    known.state
                } else {
                    one.state
                },
                facts: join_facts(known.facts, one.facts),
                errors: join_errors(known.errors, one.errors),
                pricing: price((known.pricing, &known.charge), (one.pricing, &one.charge)),
                charge: one.charge.or(known.charge),
                participant: one.participant,
            },
        };
        joined.insert(one.participant.clone(), one);
    }
    joined.into_values().collect()
}

fn conversations(a: pb::Conversation, b: pb::Conversation) -> pb::Conversation {
    let (older, newer) =
        if since(&a.last_inbound_time) <= since(&b.last_inbound_time) { (a, b) } else { (b, a) };
    // A window that closes last is the one that is open longest.
    let (free_entry_state, free_entry_expire_time) =
        if since(&older.free_entry_expire_time) > since(&newer.free_entry_expire_time) {
            (older.free_entry_state, older.free_entry_expire_time)
        } else {
            (newer.free_entry_state, newer.free_entry_expire_time)
        };
    let referral = |one: &pb::Referral| {
        let pb::Referral { event_time, source_type, source_id, ctwa_clid } = one.clone();
        (since(&event_time), source_type, source_id, ctwa_clid)
    };
    let permission = |one: &pb::CallPermission| {
        let pb::CallPermission { permitted: _, refused, event_time, expire_time } = *one;
        (since(&event_time), refused, since(&expire_time))
    };
    // Without a rest: of a field that is added somebody has to say how it is joined.
    pb::Conversation {
        phone_number_id: newer.phone_number_id,
        party: newer.party,
        waba_id: least(older.waba_id, newer.waba_id),
        // It hangs on the latest inbound message.
        window_state: newer.window_state,
        window_expire_time: newer.window_expire_time,
        first_inbound_time: earlier(older.first_inbound_time, newer.first_inbound_time),
        last_inbound_time: newer.last_inbound_time,
        last_outbound_time: later(older.last_outbound_time, newer.last_outbound_time),
        inbound_count: older.inbound_count.saturating_add(newer.inbound_count),
        outbound_count: older.outbound_count.saturating_add(newer.outbound_count),
        revision: newer.revision,
        parties: union(older.parties, newer.parties),
        free_entry_state,
        free_entry_expire_time,
        contacted: older.contacted || newer.contacted,
        referral: older.referral.into_iter().chain(newer.referral).max_by_key(referral),
        call_permission: older
            .call_permission
            .into_iter()
            .chain(newer.call_permission)
            .max_by_key(permission),
    }
}

pub(super) fn numbers(a: pb::Number, b: pb::Number) -> pb::Number {
    // The account that it was seen with later is the one it moved to.
    let (older, newer) =
        if since(&a.first_seen_time) <= since(&b.first_seen_time) { (a, b) } else { (b, a) };
    let (mut halts, mut history) = (older.halts, older.history);
    halts.extend(newer.halts);
    history.extend(newer.history);
    history.sort_by_key(|line| {
        let source = line.source.unwrap_or_default();
        std::cmp::Reverse((since(&line.log_time), source.partition, source.offset, line.ordinal))
    });
    pb::Number {
        waba_id: first(newer.waba_id, older.waba_id),
        display_phone_number: first(newer.display_phone_number, older.display_phone_number),
        first_seen_time: older.first_seen_time.or(newer.first_seen_time),
        active_time: later(older.active_time, newer.active_time),
        halts,
        history,
        ..newer
    }
}

#[cfg(test)]
mod beside;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn message(wamid: &str, listed: i64) -> pb::Message {
        pb::Message { wamid: wamid.to_owned(), list_time: at(listed), ..Default::default() }
    }

    fn list(size: i32) -> pb::ListMessagesRequest {
        pb::ListMessagesRequest {
            phone_number_id: "1".to_owned(),
            party: "2".to_owned(),
            page_size: size,
            ..Default::default()
        }
    }

    fn page(messages: &[(&str, i64)], more: bool) -> pb::ListMessagesResponse {
        let messages = messages.iter().map(|(wamid, listed)| message(wamid, *listed)).collect();
        let mut reply = pb::ListMessagesResponse { messages, ..Default::default() };
        if let Some(last) = reply.messages.last().filter(|_| more) {
            let key = conversation_key("1".to_owned(), "2".to_owned()).unwrap();
            let first = Page::new(&key, View::Basic, "").unwrap();
            reply.next_page_token = first.token_after(&item(last, Order::Newest));
        }
        reply
    }

    fn wamids(reply: &pb::ListMessagesResponse) -> Vec<&str> {
        reply.messages.iter().map(|message| message.wamid.as_str()).collect()
    }

    #[test]
    fn a_page_ends_where_a_node_did_not_tell_all() {
        let options = QueryOptions::default();
        let merge = |size, pages| list(size).merge(pages, &options).unwrap();
        let whole = merge(10, vec![page(&[("a", 9), ("b", 5)], false), page(&[("c", 7)], false)]);
        assert_eq!((wamids(&whole), whole.next_page_token.as_str()), (vec!["a", "c", "b"], ""));
        // The first node has more below 5, which belongs before what the second has at 3.
        let cut =
            merge(10, vec![page(&[("a", 9), ("b", 5)], true), page(&[("c", 7), ("d", 3)], false)]);
        assert_eq!(wamids(&cut), ["a", "c", "b"]);
        let short = merge(2, vec![page(&[("a", 9), ("b", 5)], false), page(&[("c", 7)], false)]);
        assert_eq!(wamids(&short), ["a", "c"]);
        // The tokens say where: after the last that was told.
        for (reply, time, wamid) in [(cut, 5, "b"), (short, 7, "c")] {
            let key = conversation_key("1".to_owned(), "2".to_owned()).unwrap();
            let next = Page::new(&key, View::Basic, &reply.next_page_token).unwrap();
            let list_time = Timestamp::from_millis(time * 1_000);
            let last = MessageListItem { list_time, wamid: Wamid::from(wamid) };
            assert_eq!(next.last, Some(last));
        }
    }

    #[test]
    fn a_message_of_two_nodes_is_one_with_the_facts_of_both() {
        let fact = |word: &str, state: pb::MessageState, time| pb::StatusFact {
            state: state.into(),
            state_text: word.to_owned(),
            event_time: time,
        };
        let error = |code, time| pb::MessageError { code, first_time: time, ..Default::default() };
        let before = pb::Message {
            state: pb::MessageState::Read.into(),
            state_text: "read".to_owned(),
            facts: vec![
                fact("sent", pb::MessageState::Sent, at(4)),
                fact("read", pb::MessageState::Read, at(8)),
            ],
            sent_time: at(4),
            read_time: at(8),
            errors: vec![error(7, at(9))],
            error_code: Some(7),
            waba_id: "old".to_owned(),
            last_log_time: at(20),
            revision: 50,
            ..message("w", 4)
        };
        let after = pb::Message {
            state: pb::MessageState::Failed.into(),
            state_text: "failed".to_owned(),
            facts: vec![
                fact("sent", pb::MessageState::Sent, at(3)),
                fact("failed", pb::MessageState::Failed, None),
            ],
            sent_time: at(3),
            errors: vec![error(5, None)],
            error_code: Some(5),
            waba_id: "new".to_owned(),
            last_log_time: at(30),
            revision: 2,
            ..message("w", 3)
        };
        let joined = messages(before.clone(), after.clone());
        assert_eq!(joined, messages(after, before), "in either order");
        assert_eq!((joined.state_text.as_str(), joined.sent_time), ("read", at(3)));
        assert_eq!((joined.waba_id.as_str(), joined.revision, joined.list_time), ("new", 2, at(3)));
        let words: Vec<_> = joined.facts.iter().map(|fact| fact.state_text.as_str()).collect();
        assert_eq!(words, ["sent", "read", "failed"]);
        let codes: Vec<_> = joined.errors.iter().map(|error| error.code).collect();
        assert_eq!((codes, joined.error_code), (vec![5, 7], Some(7)));
    }

    #[test]
    fn found_and_missing_follow_the_request() {
        let request = pb::LookupMessagesRequest {
            wamids: ["c", "x", "a", "c"].map(str::to_owned).to_vec(),
            ..Default::default()
        };
        let reply = |found: &str, missing: &[&str]| pb::LookupMessagesResponse {
            found: vec![message(found, 1)],
            missing: missing.iter().map(ToString::to_string).collect(),
            as_of: None,
        };
        let replies = vec![reply("a", &["c", "x"]), reply("c", &["x", "a"])];
        let merged = request.merge(replies, &QueryOptions::default()).unwrap();
        let found: Vec<_> = merged.found.iter().map(|message| message.wamid.as_str()).collect();
        assert_eq!((found, merged.missing), (vec!["c", "a"], vec!["x".to_owned()]));
    }
}
