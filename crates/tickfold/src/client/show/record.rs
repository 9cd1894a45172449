//! Records of the transition, action and alert topics, as a watch tells them.

use serde::Serialize;
use tickfold_proto::query::v1 as query;

use super::message::{Source, source};
use super::{text, time};

#[derive(Serialize)]
struct Origin {
    event_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_time: Option<String>,
}

#[derive(Serialize)]
pub(in crate::client) struct TransitionRecord {
    #[serde(flatten)]
    origin: Origin,
    entity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waba_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wamid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    to: String,
    state: String,
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause_wamid: Option<String>,
}

#[derive(Serialize)]
struct Subject {
    #[serde(skip_serializing_if = "Option::is_none")]
    waba_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wamid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_phone_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_data: Option<String>,
    rules_version: u32,
}

#[derive(Serialize)]
pub(in crate::client) struct ActionRecord {
    #[serde(flatten)]
    origin: Origin,
    action_id: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supersedes: Option<String>,
    #[serde(flatten)]
    about: Subject,
}

#[derive(Serialize)]
pub(in crate::client) struct AlertRecord {
    #[serde(flatten)]
    origin: Origin,
    alert_id: String,
    kind: String,
    severity: String,
    next_step: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_id: Option<String>,
    #[serde(flatten)]
    about: Subject,
}

impl From<query::TransitionRecord> for TransitionRecord {
    fn from(told: query::TransitionRecord) -> Self {
        Self {
            origin: origin(told.origin),
            entity: told.entity,
            key: text(told.key),
            waba_id: text(told.waba_id),
            phone_number_id: text(told.phone_number_id),
            wamid: text(told.wamid),
            participant: text(told.participant),
            from: text(told.from),
            to: told.to,
            state: told.state,
            late: told.late,
            error_code: told.error_code,
            reason: text(told.reason),
            party: text(told.party),
            via: text(told.via),
            cause_wamid: text(told.cause_wamid),
        }
    }
}

impl From<query::ActionRecord> for ActionRecord {
    fn from(told: query::ActionRecord) -> Self {
        Self {
            origin: origin(told.origin),
            action_id: told.action_id,
            kind: told.kind,
            subject: text(told.subject),
            cause: text(told.cause),
            not_before: time(told.not_before),
            not_after: time(told.not_after),
            scope: text(told.scope),
            category: text(told.category),
            queue: text(told.queue),
            attempt: told.attempt,
            attempts_max: told.attempts_max,
            supersedes: text(told.supersedes),
            about: about(told.about),
        }
    }
}

impl From<query::AlertRecord> for AlertRecord {
    fn from(told: query::AlertRecord) -> Self {
        Self {
            origin: origin(told.origin),
            alert_id: told.alert_id,
            kind: told.kind,
            severity: told.severity,
            next_step: told.next_step,
            subject: text(told.subject),
            cause: text(told.cause),
            reason: text(told.reason),
            action_id: text(told.action_id),
            about: about(told.about),
        }
    }
}

impl TransitionRecord {
    /// For people.
    pub(in crate::client) fn line(&self) -> String {
        let time = self.origin.log_time.as_deref().unwrap_or("-");
        let key = self.key.as_deref().unwrap_or("-");
        let from = self.from.as_deref().unwrap_or("new");
        let Self { entity, to, state, .. } = self;
        let late = if self.late { "  late" } else { "" };
        format!("{time}  {entity} {key}  {from} > {to}  state {state}{late}")
    }
}

impl ActionRecord {
    /// For people.
    pub(in crate::client) fn line(&self) -> String {
        let time = self.origin.log_time.as_deref().unwrap_or("-");
        let about = super::inline(&self.about);
        format!("{time}  {} {}  {about}", self.kind, self.action_id)
    }
}

impl AlertRecord {
    /// For people.
    pub(in crate::client) fn line(&self) -> String {
        let time = self.origin.log_time.as_deref().unwrap_or("-");
        let about = super::inline(&self.about);
        format!("{time}  {} {}: {}  {about}", self.severity, self.kind, self.next_step)
    }
}

fn origin(told: Option<query::RecordOrigin>) -> Origin {
    let told = told.unwrap_or_default();
    Origin {
        event_id: told.event_id,
        source: told.source.map(source),
        event_time: time(told.event_time),
        received_time: time(told.received_time),
        log_time: time(told.log_time),
    }
}

fn about(told: Option<query::RecordSubject>) -> Subject {
    let told = told.unwrap_or_default();
    Subject {
        waba_id: text(told.waba_id),
        phone_number_id: text(told.phone_number_id),
        wamid: text(told.wamid),
        participant: text(told.participant),
        party: text(told.party),
        template: text(told.template),
        template_name: text(told.template_name),
        template_language: text(told.template_language),
        display_phone_number: text(told.display_phone_number),
        error_code: told.error_code,
        callback_data: text(told.callback_data),
        rules_version: told.rules_version,
    }
}
