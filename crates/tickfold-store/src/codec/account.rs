//! Accounts: the latest event per kind, restrictions, limits, prices, display numbers, journal.

use tickfold_core::state::{
    Account, AccountEventFact, AccountFacts, Capability, Country, RateEligibility, Review, Seen,
    Tier, TierKey,
};
use tickfold_proto::store::v1 as proto;

use super::content::{from_times, to_times};
use super::standing::{from_line, from_restrictions, from_told, to_line, to_restrictions, to_told};
use super::{Damage, Persist, from_journal, from_ms, rising_map, to_journal, to_ms};

impl Persist for Account {
    type Record = proto::Account;

    fn to_record(&self) -> proto::Account {
        let facts = &self.facts;
        let lines_told = self.lines_told.iter();
        proto::Account {
            events: facts.events.iter().map(to_event).collect(),
            journal: to_journal(self.journal),
            restrictions: to_restrictions(&facts.restrictions),
            review: facts.review.as_ref().map(|review| proto::AccountReview {
                time_ms: to_ms(review.time),
                refused: review.refused,
                decision: review.decision.clone(),
            }),
            capability: facts.capability.as_ref().map(|capability| proto::AccountCapability {
                time_ms: to_ms(capability.time),
                daily_limit: capability.daily_limit.clone(),
                numbers_per_business: capability.numbers_per_business,
                numbers_per_account: capability.numbers_per_account,
            }),
            tiers: facts.tiers.iter().map(to_tier).collect(),
            rates: facts.rates.as_ref().map(|rates| proto::RateEligibility {
                time_ms: to_ms(rates.time),
                start_ms: to_ms(rates.start),
                exceptions: to_times(&rates.exceptions, String::as_str),
            }),
            country: facts.country.as_ref().map(|country| proto::AccountCountry {
                time_ms: to_ms(country.time),
                country: country.country.clone(),
            }),
            lines: facts.lines.iter().map(to_line).collect(),
            told: to_told(&self.told),
            lines_told: lines_told
                .map(|(digits, told)| proto::LineTold {
                    digits: digits.clone(),
                    told: to_told(told),
                })
                .collect(),
            messages_seen: self.seen.messages,
            management_seen: self.seen.management,
            seen_hour: self.seen.hour,
        }
    }

    fn from_record(record: proto::Account) -> Result<Self, Damage> {
        let facts = AccountFacts {
            events: rising_map(record.events.into_iter().map(from_event), "account events")?,
            restrictions: from_restrictions(record.restrictions)?,
            review: record.review.map(|review| Review {
                time: from_ms(review.time_ms),
                refused: review.refused,
                decision: review.decision,
            }),
            capability: record.capability.map(|capability| Capability {
                time: from_ms(capability.time_ms),
                daily_limit: capability.daily_limit,
                numbers_per_business: capability.numbers_per_business,
                numbers_per_account: capability.numbers_per_account,
            }),
            tiers: rising_map(record.tiers.into_iter().map(from_tier), "volume tiers")?,
            rates: record.rates.map(from_rates).transpose()?,
            country: record.country.map(|country| Country {
                time: from_ms(country.time_ms),
                country: country.country,
            }),
            lines: rising_map(record.lines.into_iter().map(from_line), "lines")?,
        };
        let lines_told = record.lines_told.into_iter();
        let lines_told = lines_told.map(|line| Ok((line.digits, from_told(line.told)?)));
        Ok(Self {
            facts,
            told: from_told(record.told)?,
            lines_told: rising_map(lines_told, "told lines")?,
            seen: Seen {
                messages: record.messages_seen,
                management: record.management_seen,
                hour: record.seen_hour,
            },
            journal: from_journal(record.journal)?,
        })
    }
}

fn to_tier((key, tier): (&TierKey, &Tier)) -> proto::VolumeTier {
    proto::VolumeTier {
        month: key.month.clone(),
        region: key.region.clone(),
        category: key.category.clone(),
        tier: key.tier.clone(),
        updated_ms: to_ms(tier.updated),
    }
}

fn from_tier(tier: proto::VolumeTier) -> Result<(TierKey, Tier), Damage> {
    let proto::VolumeTier { month, region, category, tier, updated_ms } = tier;
    Ok((TierKey { month, region, category, tier }, Tier { updated: from_ms(updated_ms) }))
}

fn from_rates(rates: proto::RateEligibility) -> Result<RateEligibility, Damage> {
    Ok(RateEligibility {
        time: from_ms(rates.time_ms),
        start: from_ms(rates.start_ms),
        exceptions: from_times(rates.exceptions, String::from, "exception countries")?,
    })
}

fn to_event(
    ((event, phone_number), fact): (&(String, String), &AccountEventFact),
) -> proto::AccountEvent {
    let restrictions = fact.restrictions.iter();
    proto::AccountEvent {
        event: event.clone(),
        phone_number: phone_number.clone(),
        time_ms: to_ms(fact.time),
        restrictive: fact.restrictive,
        ban_state: fact.ban_state.clone(),
        violation_type: fact.violation_type.clone(),
        // Their order is part of the value: two accounts that differ in it are not equal.
        restrictions: restrictions
            .map(|(kind, expires)| proto::Restriction {
                restriction_type: kind.clone(),
                expires_ms: to_ms(*expires),
            })
            .collect(),
        ban_date_ms: to_ms(fact.ban_date),
        remediation: fact.remediation.clone(),
        disconnection_reason: fact.disconnection_reason.clone(),
    }
}

fn from_event(event: proto::AccountEvent) -> Result<((String, String), AccountEventFact), Damage> {
    let restrictions = event.restrictions.into_iter();
    let fact = AccountEventFact {
        time: from_ms(event.time_ms),
        restrictive: event.restrictive,
        ban_state: event.ban_state,
        ban_date: from_ms(event.ban_date_ms),
        violation_type: event.violation_type,
        remediation: event.remediation,
        disconnection_reason: event.disconnection_reason,
        restrictions: restrictions
            .map(|restriction| (restriction.restriction_type, from_ms(restriction.expires_ms)))
            .collect(),
    };
    Ok(((event.event, event.phone_number), fact))
}
