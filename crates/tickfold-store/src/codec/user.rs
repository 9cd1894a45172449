//! Users: preferences, edges to other identifiers, profile, journal.

use tickfold_core::ids::PartyId;
use tickfold_core::state::{Alias, Preference, Profile, Relation, User, UserFacts};
use tickfold_proto::store::v1 as proto;

use super::{Damage, Persist, from_journal, from_ms, rising_map, to_journal, to_ms};

impl Persist for User {
    type Record = proto::User;

    fn to_record(&self) -> proto::User {
        let preferences = self.facts.preferences.iter();
        let aliases = self.facts.aliases.iter();
        proto::User {
            preferences: preferences
                .map(|(category, preference)| proto::Preference {
                    category: category.clone(),
                    time_ms: to_ms(preference.time),
                    stop: preference.stop,
                    value: preference.value.clone(),
                })
                .collect(),
            aliases: aliases
                .map(|(alias, time)| proto::Alias {
                    party: alias.party.as_str().to_owned(),
                    relation: to_relation(alias.relation).into(),
                    time_ms: to_ms(*time),
                })
                .collect(),
            profile: self.facts.profile.as_ref().map(|profile| proto::Profile {
                day: profile.day,
                username: profile.username.clone(),
                name: profile.name.clone(),
            }),
            journal: to_journal(self.journal),
        }
    }

    fn from_record(record: proto::User) -> Result<Self, Damage> {
        let preferences = record.preferences.into_iter().map(|preference| {
            let proto::Preference { category, time_ms, stop, value } = preference;
            Ok((category, Preference { time: from_ms(time_ms), stop, value }))
        });
        let aliases = record.aliases.into_iter().map(|alias| {
            let relation = from_relation(alias.relation)?;
            Ok((Alias { party: PartyId::new(alias.party), relation }, from_ms(alias.time_ms)))
        });
        Ok(Self {
            facts: UserFacts {
                preferences: rising_map(preferences, "preferences")?,
                aliases: rising_map(aliases, "aliases")?,
                profile: record.profile.map(|profile| Profile {
                    day: profile.day,
                    username: profile.username,
                    name: profile.name,
                }),
            },
            journal: from_journal(record.journal)?,
        })
    }
}

fn to_relation(relation: Relation) -> proto::Relation {
    match relation {
        Relation::Same => proto::Relation::Same,
        Relation::Parent => proto::Relation::Parent,
        Relation::Child => proto::Relation::Child,
        Relation::Became => proto::Relation::Became,
        Relation::Was => proto::Relation::Was,
    }
}

fn from_relation(number: i32) -> Result<Relation, Damage> {
    Ok(match proto::Relation::try_from(number) {
        Ok(proto::Relation::Same) => Relation::Same,
        Ok(proto::Relation::Parent) => Relation::Parent,
        Ok(proto::Relation::Child) => Relation::Child,
        Ok(proto::Relation::Became) => Relation::Became,
        Ok(proto::Relation::Was) => Relation::Was,
        Ok(proto::Relation::Unspecified) | Err(_) => {
            return Err(Damage(format!("no relation has number {number}")));
        }
    })
}
