//! The fields of an account: `account_update` with every event, review and limits.

use std::collections::BTreeMap;

use super::{AccountItem, Change, Details, Item, bounded, future_time, id_text, short_text};
use crate::json::{Json, Object};
use crate::state::{
    AccountEventFact, AccountFacts, Capability, Country, Imposed, Line, RateEligibility,
    Restrictions, Review, Standing, Tier, TierKey, digits_of,
};
use crate::time::Timestamp;

/// How a violation that lifts is named.
const LIFTS: &str = "_UNBAN";

/// Decodes a value of `account_update`; one without an event is kept as an event of its own, and so
/// is one whose entry is a portfolio and that names no account.
pub(super) fn update(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let Some(event) = members.text("event") else {
        return change.other(value);
    };
    let event = bounded(&event).to_ascii_uppercase();
    let inner = |object: &str, name: &str| members.object(object)?.get(name);
    let phone_number = id_text(members.get("phone_number")).unwrap_or_default();
    let account = id_text(inner("waba_info", "waba_id"));
    let natural_key = {
        let subject = account.as_deref().unwrap_or(&phone_number);
        change.management_key(change.field, subject, &event, value)
    };
    let mut details = details(&members, &event);
    if event.starts_with("PARTNER_CLIENT_CERTIFICATION") {
        let subject = inner("partner_client_certification_info", "client_business_id");
        details.subject = id_text(subject);
        return change.told(&event, natural_key, details);
    }
    let fact = fact(change, &members, &event);
    let restrictions = restrictions(change, &event, &fact);
    let mut facts = AccountFacts {
        country: (event == "BUSINESS_PRIMARY_LOCATION_COUNTRY_UPDATE")
            .then(|| members.get("country").and_then(short_text))
            .flatten()
            .map(|country| Country { time: change.entry_time, country }),
        rates: rates(change, &members),
        tiers: tier(change, &members).into_iter().collect(),
        ..AccountFacts::default()
    };
    let digits = digits_of(&phone_number);
    if digits.is_empty() {
        facts.restrictions = restrictions;
    } else {
        let standing = Standing { restrictions, ..Standing::default() };
        facts.lines = [(digits, Line { standing, ..Line::default() })].into();
        details.display_phone_number = Some(phone_number.clone());
    }
    facts.events = [((event.clone(), phone_number), fact)].into();
    Item::Account(Box::new(AccountItem {
        waba_id: change.waba_id.clone(),
        event,
        time: change.entry_time,
        facts,
        details,
        natural_key,
    }))
}

/// The fact that an event is.
fn fact(change: &Change<'_>, members: &Object<'_>, event: &str) -> AccountEventFact {
    let inner = |object: &str, name: &str| members.object(object)?.get(name);
    // The state is shown once as an array.
    let first =
        |json: Json<'_>| json.array().and_then(|mut states| states.next()).and_then(short_text);
    let ban_state = inner("ban_info", "waba_ban_state")
        .and_then(|json| short_text(json).or_else(|| first(json)));
    let restrictions = restriction_info(members);
    let of_restrictions = members.get("restriction_info").and_then(Json::array);
    let of_restrictions = of_restrictions.into_iter().flatten().filter_map(Json::object);
    let mut remediations =
        of_restrictions.filter_map(|entry| entry.get("remediation").and_then(short_text));
    AccountEventFact {
        time: change.entry_time,
        restrictive: match event {
            "ACCOUNT_RESTRICTION" => !restrictions.is_empty(),
            "DISABLED_UPDATE" => ban_state.as_deref() != Some("REINSTATE"),
            _ => false,
        },
        ban_state,
        ban_date: inner("ban_info", "waba_ban_date")
            .and_then(short_text)
            .and_then(|date| Timestamp::parse_english_date(&date)),
        violation_type: inner("violation_info", "violation_type").and_then(short_text),
        remediation: inner("violation_info", "remediation")
            .and_then(short_text)
            .or_else(|| remediations.next()),
        disconnection_reason: inner("disconnection_info", "reason").and_then(short_text),
        restrictions,
    }
}

/// What the event says, for its record.
fn details(members: &Object<'_>, event: &str) -> Details {
    let inner = |object: &str, name: &str| members.object(object)?.get(name).and_then(short_text);
    let first = |object: &str, name: &str| {
        members.object(object)?.get(name)?.array()?.next().and_then(short_text)
    };
    let new_value = match event {
        "DISABLED_UPDATE" => {
            inner("ban_info", "waba_ban_state").or_else(|| first("ban_info", "waba_ban_state"))
        }
        "VOLUME_BASED_PRICING_TIER_UPDATE" => inner("volume_tier_info", "tier"),
        "BUSINESS_PRIMARY_LOCATION_COUNTRY_UPDATE" => members.get("country").and_then(short_text),
        _ => inner("partner_client_certification_info", "status"),
    };
    let effective = members.object("auth_international_rate_eligibility");
    Details {
        new_value,
        reason: inner("violation_info", "violation_type")
            .or_else(|| inner("disconnection_info", "reason"))
            .or_else(|| first("partner_client_certification_info", "rejection_reasons")),
        description: inner("violation_info", "remediation"),
        effective_time: effective
            .and_then(|rates| rates.get("start_time").and_then(future_time))
            .or_else(|| {
                inner("ban_info", "waba_ban_date")
                    .and_then(|date| Timestamp::parse_english_date(&date))
            }),
        ..Details::default()
    }
}

/// `restriction_info[]`, in order of type. Its expiry lies in the future, so it is not judged as an
/// event time is; one that cannot be read is no expiry, which is the safe reading.
fn restriction_info(members: &Object<'_>) -> Vec<(String, Option<Timestamp>)> {
    let entries = members.get("restriction_info").and_then(Json::array).unwrap_or_default();
    let restriction = |entry: Json<'_>| {
        let entry = entry.object()?;
        let expires = entry.get("expiration").and_then(future_time);
        let kind = entry.get("restriction_type").and_then(short_text)?;
        Some((kind.to_ascii_uppercase(), expires))
    };
    let mut restrictions: Vec<_> = entries.filter_map(restriction).collect();
    restrictions.sort();
    restrictions.dedup();
    restrictions
}

/// What the event imposes or lifts. An event without either, which nobody has seen, lifts nothing.
fn restrictions(change: &Change<'_>, event: &str, fact: &AccountEventFact) -> Restrictions {
    let mut restrictions = Restrictions::default();
    if event != "ACCOUNT_RESTRICTION" {
        return restrictions;
    }
    for (kind, expires) in &fact.restrictions {
        let imposed = Imposed::new(change.entry_time, *expires);
        let known = restrictions.imposed.entry(kind.clone()).or_default();
        *known = imposed.max(*known);
    }
    let violation = fact.violation_type.as_deref().map(str::to_ascii_uppercase);
    let lifted = violation.as_deref().and_then(|violation| violation.strip_suffix(LIFTS));
    if let (Some(lifted), true) = (lifted, fact.restrictions.is_empty()) {
        restrictions.lifted.insert(lifted.to_owned(), change.entry_time);
    }
    restrictions
}

/// `auth_international_rate_eligibility`.
fn rates(change: &Change<'_>, members: &Object<'_>) -> Option<RateEligibility> {
    let rates = members.object("auth_international_rate_eligibility")?;
    let entries = rates.get("exception_countries").and_then(Json::array).unwrap_or_default();
    let exception = |entry: Json<'_>| {
        let entry = entry.object()?;
        let country = entry.get("country_code").and_then(short_text)?;
        Some((country, entry.get("start_time").and_then(future_time)))
    };
    Some(RateEligibility {
        time: change.entry_time,
        start: rates.get("start_time").and_then(future_time),
        exceptions: entries.filter_map(exception).collect::<BTreeMap<_, _>>(),
    })
}

/// `volume_tier_info`.
fn tier(change: &Change<'_>, members: &Object<'_>) -> Option<(TierKey, Tier)> {
    let info = members.object("volume_tier_info")?;
    let text = |name: &str| info.get(name).and_then(short_text).unwrap_or_default();
    let key = TierKey {
        month: text("effective_month"),
        region: text("region"),
        category: text("pricing_category"),
        tier: text("tier"),
    };
    let updated = info.get("tier_update_time").and_then(future_time);
    Some((key, Tier { updated: updated.or(change.entry_time) }))
}

/// Decodes a value of `account_review_update`.
pub(super) fn review(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let Some(decision) = members.text("decision") else { return change.other(value) };
    let decision = bounded(&decision).to_ascii_uppercase();
    let natural_key = change.management_key(change.field, "", &decision, value);
    let review = Review {
        time: change.entry_time,
        refused: decision != "APPROVED",
        decision: decision.clone(),
    };
    Item::Account(Box::new(AccountItem {
        waba_id: change.waba_id.clone(),
        event: "review".to_owned(),
        time: change.entry_time,
        facts: AccountFacts { review: Some(review), ..AccountFacts::default() },
        details: Details { new_value: Some(decision), ..Details::default() },
        natural_key,
    }))
}

/// Decodes a value of `business_capability_update`, in either of its shapes.
pub(super) fn capability(change: &Change<'_>, value: Json<'_>) -> Item {
    let Some(members) = value.object() else {
        return Change::broken(change.field, "value_is_not_an_object");
    };
    let daily = ["max_daily_conversations_per_business", "max_daily_conversation_per_phone"];
    let daily_limit = daily.into_iter().find_map(|name| members.get(name).and_then(short_text));
    let number = |name: &str| members.get(name).and_then(Json::integer);
    let capability = Capability {
        time: change.entry_time,
        daily_limit: daily_limit.clone(),
        numbers_per_business: number("max_phone_numbers_per_business"),
        numbers_per_account: number("max_phone_numbers_per_waba"),
    };
    if capability == (Capability { time: change.entry_time, ..Capability::default() }) {
        return change.other(value);
    }
    let natural_key = change.management_key(change.field, "", change.field, value);
    Item::Account(Box::new(AccountItem {
        waba_id: change.waba_id.clone(),
        event: "capability".to_owned(),
        time: change.entry_time,
        facts: AccountFacts { capability: Some(capability), ..AccountFacts::default() },
        details: Details { new_value: daily_limit, ..Details::default() },
        natural_key,
    }))
}
