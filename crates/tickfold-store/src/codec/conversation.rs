//! Conversations: facts, totals, journal.

use tickfold_core::ids::WabaId;
use tickfold_core::state::{Conversation, ConversationFacts};
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
        }
    }

    fn from_record(record: proto::Conversation) -> Result<Self, Damage> {
        Ok(Self {
            facts: ConversationFacts {
                waba_id: record.waba_id.map(WabaId::new),
                first_inbound: from_ms(record.first_inbound_ms),
                last_inbound: from_ms(record.last_inbound_ms),
                last_outbound: from_ms(record.last_outbound_ms),
            },
            inbound_count: record.inbound_count,
            outbound_count: record.outbound_count,
            journal: from_journal(record.journal)?,
        })
    }
}
