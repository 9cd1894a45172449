//! What Meta manages, as people and scripts see it: templates, accounts and numbers, with their
//! history.

use serde::Serialize;
use tickfold_proto::query::v1 as query;

use super::message::{Decision, Source, decision, source};
use super::{AsOf, position, text, time};

#[derive(Serialize)]
pub(in crate::client) struct Template {
    waba_id: String,
    template_id: String,
    language: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_end_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_quality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coming_category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coming_category_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detected_category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    components_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    halt: Option<Decision>,
    revision: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<TemplateEvent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

#[derive(Serialize)]
struct TemplateEvent {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_date: Option<String>,
}

/// A transition.
#[derive(Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    to: String,
    state: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

pub(in crate::client) fn template(
    template: query::Template,
    as_of: Option<query::AsOf>,
) -> Template {
    let event = |event: query::TemplateEvent| TemplateEvent {
        event: event.event,
        event_time: time(event.event_time),
        reason: text(event.reason),
        category: text(event.category),
        title: text(event.title),
        description: text(event.description),
        disable_date: text(event.disable_date),
    };
    Template {
        waba_id: template.waba_id,
        template_id: template.template_id,
        language: template.language,
        name: text(template.name),
        status: text(template.status),
        event_time: time(template.event_time),
        reason: text(template.reason),
        pause_end_time: time(template.pause_end_time),
        quality: text(template.quality),
        previous_quality: text(template.previous_quality),
        quality_time: time(template.quality_time),
        category: text(template.category),
        coming_category: text(template.coming_category),
        coming_category_time: time(template.coming_category_time),
        detected_category: text(template.detected_category),
        components_time: time(template.components_time),
        halt: template.halt.map(decision),
        revision: template.revision,
        events: template.events.into_iter().map(event).collect(),
        history: template.history.into_iter().map(line).collect(),
        as_of: as_of.map(position),
    }
}

fn line(line: query::StandingTransition) -> Line {
    Line {
        event_time: time(line.event_time),
        from: text(line.from),
        to: line.to,
        state: line.state,
        late: line.late,
        reason: text(line.reason),
        old_value: text(line.old_value),
        new_value: text(line.new_value),
        received_time: time(line.received_time),
        log_time: time(line.log_time),
        source: line.source.map(source),
    }
}

#[derive(Serialize)]
pub(in crate::client) struct Account {
    waba_id: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    halt: Option<Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ban_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ban_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    review_decision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    review_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messaging_limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numbers_per_business_max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numbers_per_account_max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_international_rate_time: Option<String>,
    revision: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restrictions: Vec<Restriction>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    display_numbers: Vec<DisplayNumber>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<AccountEvent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tiers: Vec<VolumeTier>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    totals: Vec<ChargeTotal>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

#[derive(Serialize)]
struct Restriction {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
}

#[derive(Serialize)]
struct DisplayNumber {
    digits: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    phone_number_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messaging_limit: Option<String>,
}

#[derive(Serialize)]
struct AccountEvent {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ban_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    violation_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restrictions: Vec<Restriction>,
}

#[derive(Serialize)]
struct VolumeTier {
    #[serde(skip_serializing_if = "Option::is_none")]
    month: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_time: Option<String>,
}

#[derive(Serialize)]
struct ChargeTotal {
    month: String,
    category: String,
    #[serde(rename = "type")]
    kind: String,
    charges: u64,
    billable: u64,
}

pub(in crate::client) fn account(account: query::Account, as_of: Option<query::AsOf>) -> Account {
    let tier = |tier: query::VolumeTier| VolumeTier {
        month: text(tier.month),
        region: text(tier.region),
        category: text(tier.category),
        tier: text(tier.tier),
        update_time: time(tier.update_time),
    };
    let total = |total: query::ChargeTotal| ChargeTotal {
        month: total.month,
        category: total.category,
        kind: total.r#type,
        charges: total.charges,
        billable: total.billable,
    };
    Account {
        waba_id: account.waba_id,
        state: account.state,
        halt: account.halt.map(decision),
        ban_state: text(account.ban_state),
        ban_time: time(account.ban_time),
        review_decision: text(account.review_decision),
        review_time: time(account.review_time),
        messaging_limit: text(account.messaging_limit),
        numbers_per_business_max: account.numbers_per_business_max,
        numbers_per_account_max: account.numbers_per_account_max,
        country: text(account.country),
        auth_international_rate_time: time(account.auth_international_rate_time),
        revision: account.revision,
        restrictions: restrictions(account.restrictions),
        display_numbers: account.display_numbers.into_iter().map(display_number).collect(),
        events: account.events.into_iter().map(account_event).collect(),
        tiers: account.tiers.into_iter().map(tier).collect(),
        totals: account.totals.into_iter().map(total).collect(),
        history: account.history.into_iter().map(line).collect(),
        as_of: as_of.map(position),
    }
}

fn restrictions(told: Vec<query::AccountRestriction>) -> Vec<Restriction> {
    let restriction = |one: query::AccountRestriction| Restriction {
        kind: one.r#type,
        in_force: Some(one.in_force),
        event_time: time(one.event_time),
        expire_time: time(one.expire_time),
    };
    told.into_iter().map(restriction).collect()
}

fn display_number(number: query::DisplayNumber) -> DisplayNumber {
    let standing = number.standing.unwrap_or_default();
    DisplayNumber {
        digits: number.digits,
        phone_number_ids: number.phone_number_ids,
        state: text(standing.state),
        quality_event: text(standing.quality_event),
        messaging_limit: text(standing.messaging_limit),
    }
}

fn account_event(event: query::AccountEvent) -> AccountEvent {
    // What an event said; whether it still holds is told of the account.
    let restriction = |one: Restriction| Restriction { in_force: None, event_time: None, ..one };
    AccountEvent {
        event: event.event,
        event_time: time(event.event_time),
        phone_number: text(event.subject),
        ban_state: text(event.ban_state),
        violation_type: text(event.violation_type),
        restrictions: restrictions(event.restrictions).into_iter().map(restriction).collect(),
    }
}

#[derive(Serialize)]
pub(in crate::client) struct Number {
    phone_number_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waba_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messaging_limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_decision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_rejection_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_requester: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_time: Option<String>,
    revision: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    halts: Vec<Decision>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restrictions: Vec<Restriction>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

pub(in crate::client) fn number(number: query::Number, as_of: Option<query::AsOf>) -> Number {
    let standing = number.standing.unwrap_or_default();
    Number {
        phone_number_id: number.phone_number_id,
        waba_id: text(number.waba_id),
        display_phone_number: text(number.display_phone_number),
        state: text(standing.state),
        quality_event: text(standing.quality_event),
        quality_event_time: time(standing.quality_event_time),
        messaging_limit: text(standing.messaging_limit),
        requested_name: text(standing.requested_name),
        name_decision: text(standing.name_decision),
        name_rejection_reason: text(standing.name_rejection_reason),
        username: text(standing.username),
        username_status: text(standing.username_status),
        security_event: text(standing.security_event),
        security_event_time: time(standing.security_event_time),
        security_requester: text(standing.security_requester),
        first_seen_time: time(number.first_seen_time),
        active_time: time(number.active_time),
        revision: number.revision,
        halts: number.halts.into_iter().map(decision).collect(),
        restrictions: restrictions(standing.restrictions),
        history: number.history.into_iter().map(line).collect(),
        as_of: as_of.map(position),
    }
}

impl Template {
    /// One line: which it is, and where it stands.
    pub(in crate::client) fn line(&self) -> String {
        let key = format!("{}/{}/{}", self.waba_id, self.template_id, self.language);
        let name = self.name.as_deref().unwrap_or("-");
        let words = [&self.status, &self.quality, &self.category];
        let [status, quality, category] = words.map(|word| word.as_deref().unwrap_or("-"));
        format!("{key}  {name}  {status}  {quality}  {category}\n")
    }
}

impl Account {
    /// Likewise.
    pub(in crate::client) fn line(&self) -> String {
        let Self { waba_id, state, .. } = self;
        format!("{waba_id}  {state}  {}\n", in_force(&self.restrictions))
    }
}

impl Number {
    /// Likewise.
    pub(in crate::client) fn line(&self) -> String {
        let words = [&self.waba_id, &self.display_phone_number, &self.state, &self.quality_event];
        let [waba_id, display, state, quality] = words.map(|word| word.as_deref().unwrap_or("-"));
        let (id, restrictions) = (&self.phone_number_id, in_force(&self.restrictions));
        format!("{id}  {waba_id}  {display}  {state}  {quality}  {restrictions}\n")
    }
}

fn in_force(restrictions: &[Restriction]) -> String {
    let in_force = restrictions.iter().filter(|one| one.in_force == Some(true));
    let kinds: Vec<_> = in_force.map(|one| one.kind.as_str()).collect();
    if kinds.is_empty() { "-".to_owned() } else { kinds.join(",") }
}
