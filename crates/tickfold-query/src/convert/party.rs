//! The other side: conversations with their windows, and users with their identifiers.

use tickfold_core::state::{CallPermission, Referral, Relation, WindowState};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;

use super::{maybe, text, word};
use crate::query::{JoinedConversation, JoinedUser};

/// A conversation, its windows judged at the log time that it was found at. Without personal data it
/// names no identifier but the one that was asked by, and not where the user came from.
pub(crate) fn conversation(joined: &JoinedConversation, personal: bool) -> pb::Conversation {
    let JoinedConversation { asked, parties, conversation, log_time } = joined;
    let facts = &conversation.facts;
    let parties = parties.iter().filter(|party| personal || **party == asked.party);
    pb::Conversation {
        phone_number_id: asked.phone_number_id.to_string(),
        party: asked.party.to_string(),
        waba_id: text(facts.waba_id.as_ref()),
        window_state: window(facts.window_expires(), facts.window(*log_time)).into(),
        window_expire_time: maybe(facts.window_expires()),
        first_inbound_time: maybe(facts.first_inbound),
        last_inbound_time: maybe(facts.last_inbound),
        last_outbound_time: maybe(facts.last_outbound),
        inbound_count: conversation.inbound_count,
        outbound_count: conversation.outbound_count,
        revision: conversation.journal.revision,
        parties: parties.map(ToString::to_string).collect(),
        free_entry_state: window(facts.free_entry_expires, facts.free_entry(*log_time)).into(),
        free_entry_expire_time: maybe(facts.free_entry_expires),
        contacted: facts.contacted,
        referral: facts.referral.as_ref().filter(|_| personal).map(referral),
        call_permission: facts.call_permission.as_ref().map(|word| permission(word, *log_time)),
    }
}

/// Without an end there never was a window that we know of.
fn window(expires: Option<Timestamp>, state: WindowState) -> pb::WindowState {
    match (expires, state) {
        (None, _) => pb::WindowState::Unspecified,
        (Some(_), WindowState::Open) => pb::WindowState::Open,
        (Some(_), WindowState::Closed) => pb::WindowState::Closed,
    }
}

fn referral(referral: &Referral) -> pb::Referral {
    pb::Referral {
        event_time: maybe(referral.time),
        source_type: word(referral.source_type.as_ref()),
        source_id: word(referral.source_id.as_ref()),
        ctwa_clid: word(referral.ctwa_clid.as_ref()),
    }
}

fn permission(permission: &CallPermission, log_time: Timestamp) -> pb::CallPermission {
    let ended = permission.expires.is_some_and(|expires| expires <= log_time);
    pb::CallPermission {
        permitted: !permission.refused && !ended,
        refused: permission.refused,
        event_time: maybe(permission.time),
        expire_time: maybe(permission.expires),
    }
}

/// A user.
pub(crate) fn user(user: &JoinedUser) -> pb::User {
    let links = user.links.iter().map(|((from, to, relation), time)| pb::IdentifierLink {
        from: from.to_string(),
        to: to.to_string(),
        relation: match relation {
            Relation::Same => pb::IdentifierRelation::Same,
            Relation::Parent | Relation::Child => pb::IdentifierRelation::Parent,
            Relation::Became | Relation::Was => pb::IdentifierRelation::Became,
        }
        .into(),
        event_time: maybe(*time),
    });
    let preferences =
        user.preferences.iter().map(|(category, (preference, party))| pb::UserPreference {
            category: category.clone(),
            value: preference.value.clone(),
            stopped: preference.stop,
            event_time: maybe(preference.time),
            party: party.to_string(),
        });
    let profile = user.profile.as_ref();
    pb::User {
        waba_id: user.waba_id.to_string(),
        parties: user.parties.iter().map(ToString::to_string).collect(),
        links: links.collect(),
        truncated: user.truncated,
        preferences: preferences.collect(),
        name: word(profile.and_then(|profile| profile.name.as_ref())),
        username: word(profile.and_then(|profile| profile.username.as_ref())),
        revision: user.revision,
    }
}
