//! Table rows of templates, numbers and accounts.

use super::Run;
use super::management::{AccountPart, NumberPart, UNKNOWN, template_key_text};
use crate::charge::TotalKey;
use crate::ids::{PhoneNumberId, TemplateKey, WabaId};
use crate::overlay::Source;
use crate::records::{
    AccountRow, NumberRow, RestrictionFields, Source as RowSource, TemplateRow, Topic,
};
use crate::state::{Account, Number, Restrictions};
use crate::time::Timestamp;

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn template_row(&mut self, key: &TemplateKey) {
        let Some(Some(template)) = self.overlay.templates.get(key) else { return };
        let facts = &template.facts;
        let log_time = self.place.log_time;
        let fact = facts.status_fact(log_time);
        let quality = facts.quality.as_ref();
        let of_quality = || quality.and_then(|told| told.time);
        let shown_time = fact.and_then(|fact| fact.time).or_else(of_quality);
        let Some(source) = self.emit.begin(shown_time) else { return };
        let (status, coming) = (facts.status(log_time), facts.coming_category());
        let row = TemplateRow {
            source,
            waba_id: key.waba_id.to_string(),
            template_id: key.template_id.to_string(),
            language: key.language.clone(),
            name: facts.name().map(str::to_owned),
            status: status.unwrap_or(UNKNOWN).to_owned(),
            status_time: fact.and_then(|fact| fact.time),
            reason: fact.and_then(|fact| fact.reason.clone()),
            category: facts.category().map(str::to_owned),
            title: fact.and_then(|fact| fact.title.clone()),
            quality: quality.map(|quality| quality.score.clone()),
            previous_quality: quality.and_then(|quality| quality.previous.clone()),
            quality_time: quality.and_then(|quality| quality.time),
            pause_end_time: facts.pause_ends().filter(|_| status == Some("PAUSED")),
            coming_category: coming.map(|coming| coming.coming.clone()),
            coming_category_time: coming.and_then(|coming| coming.effective),
            detected_category: facts.detection.as_ref().map(|found| found.correct.clone()),
            components_time: facts.components.as_ref().and_then(|edit| edit.time),
            description: fact.and_then(|fact| fact.description.clone()),
            disable_date: fact.and_then(|fact| fact.disable_date.clone()),
        };
        self.emit.record(Topic::TemplateState, template_key_text(key), &row);
    }

    pub(super) fn number_row(&mut self, key: &PhoneNumberId, part: &NumberPart) {
        let Some(Some(number)) = self.overlay.numbers.get(key) else { return };
        let log_time = self.place.log_time;
        let (text, row) = match part {
            NumberPart::Itself => {
                let Some(source) = self.emit.begin(newest_of_number(number)) else { return };
                (key.to_string(), number_row(source, key, number, log_time))
            }
            NumberPart::Restriction(kind) => {
                let restrictions = &number.facts.standing.restrictions;
                let Some(restriction) = restriction(restrictions, kind, log_time) else { return };
                let begun = self.emit.begin(restriction.restriction_time);
                let Some(source) = begun else { return };
                let row = NumberRow { restriction, ..bare_number_row(source, key, number) };
                (format!("{key}/restriction/{kind}"), row)
            }
        };
        self.emit.record(Topic::NumberState, text, &row);
    }

    pub(super) fn total_row(&mut self, key: &TotalKey) {
        let Some(Some(total)) = self.overlay.totals.get(key).copied() else { return };
        let Some(source) = self.emit.begin(None) else { return };
        let TotalKey { waba_id, month, category, kind } = key;
        let row = AccountRow {
            month: Some(month.clone()),
            pricing_category: Some(category.clone()),
            pricing_type: Some(kind.clone()),
            charge_count: Some(total.charges),
            billable_count: Some(total.billable),
            ..bare_account_row(source, waba_id)
        };
        let key = format!("{waba_id}/charges/{month}/{category}/{kind}");
        self.emit.record(Topic::AccountState, key, &row);
    }

    pub(super) fn account_row(&mut self, key: &WabaId, part: &AccountPart) {
        let Some(Some(account)) = self.overlay.accounts.get(key) else { return };
        let log_time = self.place.log_time;
        let (text, row) = match part {
            AccountPart::Itself => {
                let newest = account.facts.newest_event();
                let begun = self.emit.begin(newest.and_then(|(_, fact)| fact.time));
                let Some(source) = begun else { return };
                (key.to_string(), account_row(source, key, account, log_time))
            }
            AccountPart::Restriction(kind) => {
                let restrictions = &account.facts.restrictions;
                let Some(restriction) = restriction(restrictions, kind, log_time) else { return };
                let begun = self.emit.begin(restriction.restriction_time);
                let Some(source) = begun else { return };
                let row = AccountRow { restriction, ..bare_account_row(source, key) };
                (format!("{key}/restriction/{kind}"), row)
            }
            AccountPart::Tier(of) => {
                let Some(tier) = account.facts.tiers.get(of) else { return };
                let Some(source) = self.emit.begin(tier.updated) else { return };
                let row = AccountRow {
                    month: Some(of.month.clone()).filter(|month| !month.is_empty()),
                    pricing_category: Some(of.category.clone()).filter(|word| !word.is_empty()),
                    tier_region: Some(of.region.clone()).filter(|region| !region.is_empty()),
                    tier: Some(of.tier.clone()).filter(|tier| !tier.is_empty()),
                    tier_time: tier.updated,
                    ..bare_account_row(source, key)
                };
                let key =
                    format!("{key}/tier/{}/{}/{}/{}", of.month, of.region, of.category, of.tier);
                (key, row)
            }
        };
        self.emit.record(Topic::AccountState, text, &row);
    }
}

/// Meta's latest time of anything about a number.
fn newest_of_number(number: &Number) -> Option<Timestamp> {
    let facts = &number.facts;
    let display = facts.display_phone_number();
    let since = display.and_then(|display| facts.displays.get(display).copied().flatten());
    let quality = facts.standing.newest_quality().and_then(|(_, fact)| fact.time);
    let security = facts.standing.newest_security().and_then(|(_, fact)| fact.time);
    since.max(quality).max(security)
}

fn number_row(
    source: RowSource,
    key: &PhoneNumberId,
    number: &Number,
    log_time: Timestamp,
) -> NumberRow {
    let standing = &number.facts.standing;
    let (quality, security) = (standing.newest_quality(), standing.newest_security());
    let (name, username) = (standing.name.as_ref(), standing.username.as_ref());
    NumberRow {
        state: Some(standing.state(log_time).as_str().to_owned()),
        quality_event: quality.map(|(event, _)| event.to_owned()),
        quality_event_time: quality.and_then(|(_, fact)| fact.time),
        messaging_limit: standing.limit().map(str::to_owned),
        requested_name: name.and_then(|name| name.requested_name.clone()),
        name_decision: name.map(|name| name.decision.clone()),
        name_rejection_reason: name.and_then(|name| name.rejection_reason.clone()),
        username: username.and_then(|name| name.username.clone()),
        username_status: username.map(|name| name.status.clone()),
        security_event: security.map(|(event, _)| event.to_owned()),
        security_event_time: security.and_then(|(_, fact)| fact.time),
        ..bare_number_row(source, key, number)
    }
}

/// A row that says which number it is of.
fn bare_number_row(source: RowSource, key: &PhoneNumberId, number: &Number) -> NumberRow {
    NumberRow {
        source,
        phone_number_id: key.to_string(),
        waba_id: number.facts.waba_id.as_ref().map(ToString::to_string),
        display_phone_number: number.facts.display_phone_number().map(str::to_owned),
        state: None,
        quality_event: None,
        quality_event_time: None,
        messaging_limit: None,
        requested_name: None,
        name_decision: None,
        name_rejection_reason: None,
        username: None,
        username_status: None,
        security_event: None,
        security_event_time: None,
        restriction: RestrictionFields::default(),
    }
}

fn account_row(
    source: RowSource,
    key: &WabaId,
    account: &Account,
    log_time: Timestamp,
) -> AccountRow {
    let facts = &account.facts;
    let event = |name: &str| facts.events.get(&(name.to_owned(), String::new()));
    let ban = event("DISABLED_UPDATE");
    let capability = facts.capability.as_ref();
    AccountRow {
        state: Some(facts.state(log_time).as_str().to_owned()),
        last_event: facts.newest_event().map(|(event, _)| event.to_owned()),
        ban_state: ban.and_then(|fact| fact.ban_state.clone()),
        ban_time: ban.and_then(|fact| fact.ban_date),
        review_decision: facts.review.as_ref().map(|review| review.decision.clone()),
        messaging_limit: capability.and_then(|of| of.daily_limit.clone()),
        numbers_per_business_max: capability.and_then(|of| of.numbers_per_business),
        numbers_per_account_max: capability.and_then(|of| of.numbers_per_account),
        country: facts.country.as_ref().map(|of| of.country.clone()),
        auth_international_rate_time: facts.rates.as_ref().and_then(|rates| rates.start),
        violation_type: event("ACCOUNT_VIOLATION").and_then(|fact| fact.violation_type.clone()),
        disconnection_reason: event("PARTNER_REMOVED")
            .and_then(|fact| fact.disconnection_reason.clone()),
        ..bare_account_row(source, key)
    }
}

/// A row that says which account it is of.
fn bare_account_row(source: RowSource, key: &WabaId) -> AccountRow {
    AccountRow {
        source,
        waba_id: key.to_string(),
        state: None,
        last_event: None,
        ban_state: None,
        month: None,
        pricing_category: None,
        pricing_type: None,
        charge_count: None,
        billable_count: None,
        ban_time: None,
        review_decision: None,
        messaging_limit: None,
        numbers_per_business_max: None,
        numbers_per_account_max: None,
        country: None,
        auth_international_rate_time: None,
        violation_type: None,
        disconnection_reason: None,
        tier_region: None,
        tier: None,
        tier_time: None,
        restriction: RestrictionFields::default(),
    }
}

fn restriction(
    restrictions: &Restrictions,
    kind: &str,
    log_time: Timestamp,
) -> Option<RestrictionFields> {
    let imposed = restrictions.imposed.get(kind)?;
    let in_force = restrictions.in_force(log_time).any(|(other, _)| other == kind);
    Some(RestrictionFields {
        restriction_type: Some(kind.to_owned()),
        restriction_time: imposed.time,
        restriction_expire_time: imposed.expires,
        restriction_state: Some(if in_force { "in_force" } else { "ended" }.to_owned()),
    })
}
