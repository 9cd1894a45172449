//! Conversations: facts, totals, journal.

use tickfold_core::ids::WabaId;
use tickfold_core::state::{CallPermission, Conversation, ConversationFacts, Referral};
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist, from_journal, from_ms, to_journal, to_ms};

impl Persist for Conversation {
    type Record = proto::Conversation;

    fn to_record(&self) -> proto::Conversation {
        proto::Conversation {
            waba_id: self.facts.waba_id.as_ref().map(|id| id.as_str().to_owned()),
            first_inbound_ms: to_ms(self.facts.first_inbound),
            last_inbound_ms: to_ms(self.facts.last_inbound),
            last_outbound_ms: to_ms(self.facts.last_outbound),
            inbound_count: self.inbound_count,
            outbound_count: self.outbound_count,
            journal: to_journal(self.journal),
            contacted: self.facts.contacted,
            free_entry_expires_ms: to_ms(self.facts.free_entry_expires),
            referral: self.facts.referral.as_ref().map(to_referral),
            call_permission: self.facts.call_permission.as_ref().map(to_permission),
            window_told_open: self.window_told_open,
            free_entry_told_open: self.free_entry_told_open,
        }
    }

    fn from_record(record: proto::Conversation) -> Result<Self, Damage> {
        Ok(Self {
            facts: ConversationFacts {
                waba_id: record.waba_id.map(WabaId::new),
                first_inbound: from_ms(record.first_inbound_ms),
                last_inbound: from_ms(record.last_inbound_ms),
                last_outbound: from_ms(record.last_outbound_ms),
                contacted: record.contacted,
                free_entry_expires: from_ms(record.free_entry_expires_ms),
                referral: record.referral.map(from_referral),
                call_permission: record.call_permission.map(from_permission),
            },
            inbound_count: record.inbound_count,
            outbound_count: record.outbound_count,
            window_told_open: record.window_told_open,
            free_entry_told_open: record.free_entry_told_open,
            journal: from_journal(record.journal)?,
        })
    }
}

fn to_referral(referral: &Referral) -> proto::Referral {
    proto::Referral {
        time_ms: to_ms(referral.time),
        source_type: referral.source_type.clone(),
        source_id: referral.source_id.clone(),
        ctwa_clid: referral.ctwa_clid.clone(),
    }
}

fn from_referral(referral: proto::Referral) -> Referral {
    let proto::Referral { time_ms, source_type, source_id, ctwa_clid } = referral;
    Referral { time: from_ms(time_ms), source_type, source_id, ctwa_clid }
}

fn to_permission(permission: &CallPermission) -> proto::CallPermission {
    proto::CallPermission {
        time_ms: to_ms(permission.time),
        refused: permission.refused,
        expires_ms: to_ms(permission.expires),
    }
}

fn from_permission(permission: proto::CallPermission) -> CallPermission {
    CallPermission {
        time: from_ms(permission.time_ms),
        refused: permission.refused,
        expires: from_ms(permission.expires_ms),
    }
}
