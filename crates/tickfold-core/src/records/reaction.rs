//! Records of what follows from the facts: charges, actions, alerts.

use serde::Serialize;

use super::Source;
use crate::time::Timestamp;

/// What Meta bills for a message or one participant's part of it. Of two records with one
/// `charge_id` the one with the higher `sequence` replaces the other.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChargeRecord<'a> {
    /// Where it came from. `event_time` is that of the delivery.
    #[serde(flatten)]
    pub source: Source,
    /// Names the charge for ever: the same message and participant, the same id.
    pub charge_id: &'a str,
    /// Rises with every correction. The first record of a charge does not have to have 0.
    pub sequence: u64,
    /// Message id. Contains the customer's phone number: personal data.
    pub wamid: &'a str,
    /// Participant of a group message. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant: Option<&'a str>,
    /// Account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<&'a str>,
    /// Our number's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_id: Option<&'a str>,
    /// The other side, as the webhook named it. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<&'a str>,
    /// Month of the delivery in UTC, such as `2026-11`.
    pub month: &'a str,
    /// Pricing category in lower case with `_`, or `unknown`.
    pub category: &'a str,
    /// Pricing `type`; where none was sent, the model in lower case, or `unknown`.
    pub pricing_type: &'a str,
    /// `pricing_model`. Until July 2025 (`CBP`) conversations were billed, not messages: of those
    /// with one `conversation_id` one counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing_model: Option<&'a str>,
    /// It costs something.
    pub billable: bool,
    /// ISO 3166 code of the recipient's country, from its calling code; absent if no phone number
    /// is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<&'a str>,
    /// Two statuses of equal evidence named different prices: look at both before you pay.
    pub conflicting: bool,
    /// `biz_opaque_callback_data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_data: Option<&'a str>,
}

/// Something to be done, once. Who carries it out keeps the ids that it has done.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ActionRecord {
    /// Where it came from. `event_time` is that of its cause.
    #[serde(flatten)]
    pub source: Source,
    /// Names it for ever: what is done, to what, and why.
    pub action_id: String,
    /// `sms_fallback`, `fallback_superseded`, `fallback_expired`, `send_template`,
    /// `suppress_recipient`, `halt_template`, `halt_number`, `halt_account`, `halt_country`,
    /// `back_off`, `resend`, `offer_resend`, `reverify_recipient`, `route`, `resume_template`,
    /// `resume_number` or `resume_account`.
    pub kind: String,
    /// To what: a message, an intent, an account, a number, a customer of an account … May contain
    /// personal data.
    pub subject: String,
    /// Why, as a natural key. May contain personal data.
    pub cause: String,
    /// Not to be done before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Not to be done after; absent holds until somebody lifts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// What a back-off is about: `message`, `recipient`, `number`, `account` or `app`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Pricing category that is suppressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Queue that a conversation goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Which attempt this is, from 1; absent if only the sender can know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How many attempts there may be in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// Id of the action that this one takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
    /// What it is about.
    #[serde(flatten)]
    pub about: AboutFields,
}

/// Something a human should look at, told once.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AlertRecord {
    /// Where it came from. `event_time` is that of its cause.
    #[serde(flatten)]
    pub source: Source,
    /// Names it for ever.
    pub alert_id: String,
    /// `error_code`, `fallback_expired`, `action_expired`, `template_status`, `account_state`,
    /// `pricing_conflict`, `template_quality`, `template_category`, `number_state`, `limit_fell`,
    /// `number_name`, `security`, `account_violation`, `account_review`, `account_alert`,
    /// `content_lost`, `unknown_word`, `number_silent`, `subscription_missing`, `flow`,
    /// `payment_configuration` or `rate_begins`.
    pub kind: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What to do next, in a sentence for people.
    pub next_step: String,
    /// What it is about: an account, a number, a template, a message. May contain personal data.
    pub subject: String,
    /// Why, as a natural key. May contain personal data.
    pub cause: String,
    /// Meta's word or ours for what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Id of the action that is too late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action_id: Option<String>,
    /// What it is about.
    #[serde(flatten)]
    pub about: AboutFields,
}

/// What an action or alert is about, as far as it is known.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AboutFields {
    /// Account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<String>,
    /// Our number's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_id: Option<String>,
    /// Message id. Contains the customer's phone number: personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wamid: Option<String>,
    /// Participant of a group message. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// The other side. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
    /// Template: its id or its name, whichever is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<i64>,
    /// `biz_opaque_callback_data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_data: Option<String>,
    /// Name of the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_name: Option<String>,
    /// Language of the template, with `_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_language: Option<String>,
    /// Our number as Meta displays it, or its digits, where that is how it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_phone_number: Option<String>,
    /// Version of the rules that asked for it; it is no part of the id.
    pub rules_version: u32,
}
