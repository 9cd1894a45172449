//! Groups: facts, journal.

use tickfold_core::ids::{PartyId, WabaId};
use tickfold_core::state::{Group, GroupFacts, JoinRequest, Membership, Setting};
use tickfold_proto::store::v1 as proto;

use super::content::{from_times, to_times};
use super::{Damage, Persist, from_journal, from_ms, rising_map, to_journal, to_ms};

impl Persist for Group {
    type Record = proto::Group;

    fn to_record(&self) -> proto::Group {
        let facts = &self.facts;
        let settings = facts.settings.iter();
        let participants = facts.participants.iter();
        let requests = facts.join_requests.iter();
        proto::Group {
            waba_id: facts.waba_id.as_ref().map(|id| id.as_str().to_owned()),
            events: to_times(&facts.events, String::as_str),
            settings: settings
                .map(|(name, setting)| proto::GroupSetting {
                    name: name.clone(),
                    time_ms: to_ms(setting.time),
                    value: setting.value.clone(),
                })
                .collect(),
            participants: participants
                .map(|(party, membership)| proto::GroupMember {
                    party: party.as_str().to_owned(),
                    time_ms: to_ms(membership.time),
                    left: membership.left,
                })
                .collect(),
            join_requests: requests
                .map(|(id, request)| proto::JoinRequest {
                    id: id.clone(),
                    party: request.party.as_ref().map(|party| party.as_str().to_owned()),
                    created_ms: to_ms(request.created),
                    revoked: request.revoked,
                })
                .collect(),
            journal: to_journal(self.journal),
        }
    }

    fn from_record(record: proto::Group) -> Result<Self, Damage> {
        let settings = record.settings.into_iter().map(|setting| {
            let proto::GroupSetting { name, time_ms, value } = setting;
            Ok((name, Setting { time: from_ms(time_ms), value }))
        });
        let participants = record.participants.into_iter().map(|member| {
            let membership = Membership { time: from_ms(member.time_ms), left: member.left };
            Ok((PartyId::new(member.party), membership))
        });
        let requests = record.join_requests.into_iter().map(|request| {
            let kept = JoinRequest {
                party: request.party.map(PartyId::new),
                created: from_ms(request.created_ms),
                revoked: request.revoked,
            };
            Ok((request.id, kept))
        });
        Ok(Self {
            facts: GroupFacts {
                waba_id: record.waba_id.map(WabaId::new),
                events: from_times(record.events, String::from, "events")?,
                settings: rising_map(settings, "settings")?,
                participants: rising_map(participants, "participants")?,
                join_requests: rising_map(requests, "join requests")?,
            },
            journal: from_journal(record.journal)?,
        })
    }
}
