//! The other side as people and scripts see it: conversations and users.

use serde::Serialize;
use tickfold_proto::query::v1 as query;

use super::message::{Message, message};
use super::{AsOf, position, text, time};

#[derive(Serialize)]
pub(in crate::client) struct Conversation {
    phone_number_id: String,
    party: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waba_id: Option<String>,
    window_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_expire_time: Option<String>,
    free_entry_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_entry_expire_time: Option<String>,
    contacted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_inbound_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_inbound_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_outbound_time: Option<String>,
    inbound_count: u64,
    outbound_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referral: Option<Referral>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_permission: Option<CallPermission>,
    revision: u64,
    parties: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

#[derive(Serialize)]
struct Referral {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctwa_clid: Option<String>,
}

#[derive(Serialize)]
struct CallPermission {
    permitted: bool,
    refused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
}

pub(in crate::client) fn conversation(
    reply: query::GetConversationResponse,
) -> Option<Conversation> {
    let c = reply.conversation?;
    Some(Conversation {
        window_state: window(c.window_state()),
        free_entry_state: window(c.free_entry_state()),
        phone_number_id: c.phone_number_id,
        party: c.party,
        waba_id: text(c.waba_id),
        window_expire_time: time(c.window_expire_time),
        free_entry_expire_time: time(c.free_entry_expire_time),
        contacted: c.contacted,
        first_inbound_time: time(c.first_inbound_time),
        last_inbound_time: time(c.last_inbound_time),
        last_outbound_time: time(c.last_outbound_time),
        inbound_count: c.inbound_count,
        outbound_count: c.outbound_count,
        referral: c.referral.map(|referral| Referral {
            event_time: time(referral.event_time),
            source_type: text(referral.source_type),
            source_id: text(referral.source_id),
            ctwa_clid: text(referral.ctwa_clid),
        }),
        call_permission: c.call_permission.map(|permission| CallPermission {
            permitted: permission.permitted,
            refused: permission.refused,
            event_time: time(permission.event_time),
            expire_time: time(permission.expire_time),
        }),
        revision: c.revision,
        parties: c.parties,
        messages: reply.messages.into_iter().map(|one| message(one, None)).collect(),
        next_page_token: text(reply.next_page_token),
        as_of: reply.as_of.map(position),
    })
}

fn window(state: query::WindowState) -> &'static str {
    match state {
        query::WindowState::Open => "open",
        query::WindowState::Closed => "closed",
        query::WindowState::Unspecified => "unspecified",
    }
}

#[derive(Serialize)]
pub(in crate::client) struct User {
    waba_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    revision: u64,
    parties: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preferences: Vec<Preference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

#[derive(Serialize)]
struct Link {
    from: String,
    relation: &'static str,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
}

#[derive(Serialize)]
struct Preference {
    category: String,
    value: String,
    stopped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    party: String,
}

pub(in crate::client) fn user(user: query::User, as_of: Option<query::AsOf>) -> User {
    let link = |link: query::IdentifierLink| Link {
        relation: match link.relation() {
            query::IdentifierRelation::Same => "same",
            query::IdentifierRelation::Parent => "parent",
            query::IdentifierRelation::Became => "became",
            query::IdentifierRelation::Unspecified => "unspecified",
        },
        from: link.from,
        to: link.to,
        event_time: time(link.event_time),
    };
    let preference = |preference: query::UserPreference| Preference {
        category: preference.category,
        value: preference.value,
        stopped: preference.stopped,
        event_time: time(preference.event_time),
        party: preference.party,
    };
    User {
        waba_id: user.waba_id,
        name: text(user.name),
        username: text(user.username),
        revision: user.revision,
        parties: user.parties,
        truncated: user.truncated,
        links: user.links.into_iter().map(link).collect(),
        preferences: user.preferences.into_iter().map(preference).collect(),
        as_of: as_of.map(position),
    }
}
