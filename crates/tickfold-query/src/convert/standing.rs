//! Templates, accounts and numbers: where they stand, and what was told of them.

use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{PhoneNumberId, TemplateKey, WabaId};
use tickfold_core::state::{
    Account, AccountEventFact, AccountFacts, Line, Number, Restrictions, Standing, Template,
    TemplateFacts, ToldEntry,
};
use tickfold_core::time::{HOUR_MS, Timestamp};
use tickfold_proto::query::v1 as pb;

use super::{maybe, text, time, word};
use crate::query::{Halted, Story};

/// A template, its status judged at a log time.
pub(crate) fn template(
    key: &TemplateKey,
    template: &Template,
    told: Story,
    log_time: Timestamp,
) -> pb::Template {
    let facts = &template.facts;
    let status = facts.status(log_time);
    let shown = facts.status_fact(log_time);
    let quality = facts.quality.as_ref();
    let coming = facts.coming_category();
    let Story { halts, history } = told;
    pb::Template {
        waba_id: key.waba_id.to_string(),
        template_id: key.template_id.to_string(),
        language: key.language.clone(),
        name: facts.name().unwrap_or_default().to_owned(),
        status: status.unwrap_or_default().to_owned(),
        reason: word(shown.and_then(|fact| fact.reason.as_ref())),
        category: facts.category().unwrap_or_default().to_owned(),
        event_time: maybe(shown.and_then(|fact| fact.time)),
        events: template_events(facts),
        revision: template.journal.revision,
        pause_end_time: maybe(facts.pause_ends().filter(|_| status == Some("PAUSED"))),
        quality: quality.map(|fact| fact.score.clone()).unwrap_or_default(),
        previous_quality: word(quality.and_then(|fact| fact.previous.as_ref())),
        quality_time: maybe(quality.and_then(|fact| fact.time)),
        coming_category: coming.map(|fact| fact.coming.clone()).unwrap_or_default(),
        coming_category_time: maybe(coming.and_then(|fact| fact.effective)),
        detected_category: facts.detection.as_ref().map(|f| f.correct.clone()).unwrap_or_default(),
        components_time: maybe(facts.components.as_ref().and_then(|edit| edit.time)),
        halt: halts.first().map(halt),
        history: history.iter().map(transition).collect(),
    }
}

fn template_events(facts: &TemplateFacts) -> Vec<pb::TemplateEvent> {
    let events = facts.events.iter().map(|(event, fact)| pb::TemplateEvent {
        event: event.clone(),
        event_time: maybe(fact.time),
        reason: word(fact.reason.as_ref()),
        category: word(fact.category.as_ref()),
        title: word(fact.title.as_ref()),
        description: word(fact.description.as_ref()),
        disable_date: word(fact.disable_date.as_ref()),
    });
    events.collect()
}

/// How accounts and numbers are told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// At which their states are judged.
    pub(crate) log_time: Timestamp,
    /// With what is personal data.
    pub(crate) persons: bool,
}

/// An account. One that no event has named has nothing against it.
pub(crate) fn account(
    waba_id: &WabaId,
    account: Option<&Account>,
    told: Story,
    shown: Shown,
) -> pb::Account {
    let log_time = shown.log_time;
    let nothing = AccountFacts::default();
    let facts = account.map_or(&nothing, |account| &account.facts);
    let ban = facts.events.get(&("DISABLED_UPDATE".to_owned(), String::new()));
    let (review, capability) = (facts.review.as_ref(), facts.capability.as_ref());
    let Story { halts, history } = told;
    pb::Account {
        waba_id: waba_id.to_string(),
        state: facts.state(log_time).as_str().to_owned(),
        events: facts.events.iter().map(account_event).collect(),
        revision: account.map(|account| account.journal.revision).unwrap_or_default(),
        totals: Vec::new(),
        restrictions: restrictions(&facts.restrictions, log_time),
        ban_state: word(ban.and_then(|fact| fact.ban_state.as_ref())),
        ban_time: maybe(ban.and_then(|fact| fact.ban_date)),
        review_decision: review.map(|review| review.decision.clone()).unwrap_or_default(),
        review_time: maybe(review.and_then(|review| review.time)),
        messaging_limit: word(capability.and_then(|of| of.daily_limit.as_ref())),
        numbers_per_business_max: capability.and_then(|of| of.numbers_per_business),
        numbers_per_account_max: capability.and_then(|of| of.numbers_per_account),
        country: facts.country.as_ref().map(|of| of.country.clone()).unwrap_or_default(),
        auth_international_rate_time: maybe(facts.rates.as_ref().and_then(|rates| rates.start)),
        tiers: tiers(facts),
        display_numbers: facts.lines.iter().map(|line| display_number(line, shown)).collect(),
        halt: halts.first().map(halt),
        history: history.iter().map(transition).collect(),
    }
}

fn account_event(
    ((event, subject), fact): (&(String, String), &AccountEventFact),
) -> pb::AccountEvent {
    let restriction = |(kind, expires): &(String, Option<Timestamp>)| pb::AccountRestriction {
        r#type: kind.clone(),
        expire_time: maybe(*expires),
        ..pb::AccountRestriction::default()
    };
    pb::AccountEvent {
        event: event.clone(),
        subject: subject.clone(),
        event_time: maybe(fact.time),
        restrictive: fact.restrictive,
        ban_state: word(fact.ban_state.as_ref()),
        violation_type: word(fact.violation_type.as_ref()),
        restrictions: fact.restrictions.iter().map(restriction).collect(),
    }
}

fn tiers(facts: &AccountFacts) -> Vec<pb::VolumeTier> {
    let tiers = facts.tiers.iter().map(|(key, tier)| pb::VolumeTier {
        month: key.month.clone(),
        region: key.region.clone(),
        category: key.category.clone(),
        tier: key.tier.clone(),
        update_time: maybe(tier.updated),
    });
    tiers.collect()
}

fn display_number((digits, line): (&String, &Line), shown: Shown) -> pb::DisplayNumber {
    pb::DisplayNumber {
        digits: digits.clone(),
        phone_number_ids: line.number_ids.iter().map(ToString::to_string).collect(),
        standing: Some(standing(&line.standing, shown)),
    }
}

/// A total of charges.
pub(crate) fn total((key, total): (TotalKey, Total)) -> pb::ChargeTotal {
    pb::ChargeTotal {
        month: key.month,
        category: key.category,
        r#type: key.kind,
        charges: total.charges,
        billable: total.billable,
    }
}

/// A number.
pub(crate) fn number(
    key: &PhoneNumberId,
    number: &Number,
    told: Story,
    shown: Shown,
) -> pb::Number {
    let facts = &number.facts;
    let active = Timestamp::from_millis(number.active_hour.saturating_mul(HOUR_MS));
    let Story { halts, history } = told;
    pb::Number {
        phone_number_id: key.to_string(),
        waba_id: text(facts.waba_id.as_ref()),
        display_phone_number: facts.display_phone_number().unwrap_or_default().to_owned(),
        first_seen_time: Some(time(number.journal.created)),
        revision: number.journal.revision,
        standing: Some(standing(&facts.standing, shown)),
        active_time: Some(time(active)),
        halts: halts.iter().map(halt).collect(),
        history: history.iter().map(transition).collect(),
    }
}

fn standing(of: &Standing, shown: Shown) -> pb::NumberStanding {
    let Shown { log_time, persons } = shown;
    let (quality, security) = (of.newest_quality(), of.newest_security());
    let (name, username) = (of.name.as_ref(), of.username.as_ref());
    pb::NumberStanding {
        state: of.state(log_time).as_str().to_owned(),
        quality_event: quality.map(|(event, _)| event.to_owned()).unwrap_or_default(),
        quality_event_time: maybe(quality.and_then(|(_, fact)| fact.time)),
        messaging_limit: of.limit().unwrap_or_default().to_owned(),
        requested_name: word(name.and_then(|name| name.requested_name.as_ref())),
        name_decision: name.map(|name| name.decision.clone()).unwrap_or_default(),
        name_rejection_reason: word(name.and_then(|name| name.rejection_reason.as_ref())),
        username: word(username.and_then(|name| name.username.as_ref())),
        username_status: username.map(|name| name.status.clone()).unwrap_or_default(),
        security_event: security.map(|(event, _)| event.to_owned()).unwrap_or_default(),
        security_event_time: maybe(security.and_then(|(_, fact)| fact.time)),
        security_requester: word(
            security.filter(|_| persons).and_then(|(_, fact)| fact.requester.as_ref()),
        ),
        restrictions: restrictions(&of.restrictions, log_time),
    }
}

fn restrictions(of: &Restrictions, log_time: Timestamp) -> Vec<pb::AccountRestriction> {
    let in_force = |kind: &str| of.in_force(log_time).any(|(other, _)| other == kind);
    let told = of.imposed.iter().map(|(kind, imposed)| pb::AccountRestriction {
        r#type: kind.clone(),
        expire_time: maybe(imposed.expires),
        event_time: maybe(imposed.time),
        in_force: in_force(kind),
    });
    told.collect()
}

fn halt(halted: &Halted) -> pb::Decision {
    let Halted { id, kind, partition, decided } = halted;
    let source = |offset| pb::SourcePosition { partition: *partition, offset };
    pb::Decision {
        kind: kind.as_str().to_owned(),
        id: id.to_string(),
        decided_time: maybe(decided.map(|decided| decided.decided)),
        source: decided.map(|decided| source(decided.offset)),
        ..pb::Decision::default()
    }
}

fn transition((partition, entry): &(u32, ToldEntry)) -> pb::StandingTransition {
    pb::StandingTransition {
        from: word(entry.from.as_ref()),
        to: entry.to.clone(),
        state: entry.state.clone(),
        late: entry.late,
        reason: word(entry.reason.as_ref()),
        old_value: word(entry.old_value.as_ref()),
        new_value: word(entry.new_value.as_ref()),
        event_time: maybe(entry.event_time),
        received_time: maybe(entry.received_time),
        log_time: Some(time(entry.log_time)),
        source: Some(pb::SourcePosition { partition: *partition, offset: entry.offset }),
        ordinal: entry.ordinal,
    }
}
