//! Records of the derived topics: one type per topic, which yields its bytes, its JSON Schema and
//! its page. Flat, scalars only, snake_case, Meta's own words; what is absent is left out.
//!
//! Field order is part of the golden bytes; new fields are appended before `raw`.

pub(crate) mod flat;
mod reaction;

use serde::Serialize;

pub use reaction::{AboutFields, ActionRecord, AlertRecord, ChargeRecord};

use crate::time::Timestamp;

/// Version of these schemas, in every record.
pub const SCHEMA_VERSION: u32 = 1;

/// The derived topics. The shell puts the configured prefix before the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Table of messages by wamid, or wamid/participant.
    MessageState,
    /// Table of conversations by phone number id/party.
    ConversationState,
    /// Table of templates by account/template/language.
    TemplateState,
    /// Table of numbers by phone number id.
    NumberState,
    /// Table of accounts by id.
    AccountState,
    /// Table of users by account/identifier, with rows of their own for preferences and aliases.
    UserState,
    /// Stream of new facts of any entity.
    Transition,
    /// Stream of everything that is not a status.
    Event,
    /// Stream of charges.
    Charge,
    /// Stream of what is to be done.
    Action,
    /// Stream of what a human is to look at.
    Alert,
    /// Stream of what could not be decoded.
    DeadLetter,
}

impl Topic {
    /// All derived topics.
    pub const ALL: [Self; 12] = [
        Self::MessageState,
        Self::ConversationState,
        Self::TemplateState,
        Self::NumberState,
        Self::AccountState,
        Self::UserState,
        Self::Transition,
        Self::Event,
        Self::Charge,
        Self::Action,
        Self::Alert,
        Self::DeadLetter,
    ];

    /// Name without prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::MessageState => "message.state.v1",
            Self::ConversationState => "conversation.state.v1",
            Self::TemplateState => "template.state.v1",
            Self::NumberState => "number.state.v1",
            Self::AccountState => "account.state.v1",
            Self::UserState => "user.state.v1",
            Self::Transition => "transition.v1",
            Self::Event => "event.v1",
            Self::Charge => "charge.v1",
            Self::Action => "action.v1",
            Self::Alert => "alert.v1",
            Self::DeadLetter => "dead-letter.v1",
        }
    }

    /// True for tables: only the last record of a key counts.
    pub fn is_table(self) -> bool {
        match self {
            Self::MessageState
            | Self::ConversationState
            | Self::TemplateState
            | Self::NumberState
            | Self::AccountState
            | Self::UserState => true,
            Self::Transition
            | Self::Event
            | Self::Charge
            | Self::Action
            | Self::Alert
            | Self::DeadLetter => false,
        }
    }

    /// `ce_type` of its records.
    pub(crate) fn event_type(self) -> &'static str {
        match self {
            Self::MessageState => "tickfold.message.state",
            Self::ConversationState => "tickfold.conversation.state",
            Self::TemplateState => "tickfold.template.state",
            Self::NumberState => "tickfold.number.state",
            Self::AccountState => "tickfold.account.state",
            Self::UserState => "tickfold.user.state",
            Self::Transition => "tickfold.transition",
            Self::Event => "tickfold.event",
            Self::Charge => "tickfold.charge",
            Self::Action => "tickfold.action",
            Self::Alert => "tickfold.alert",
            Self::DeadLetter => "tickfold.dead-letter",
        }
    }
}

/// Name of the raw topic, without prefix.
pub const RAW_TOPIC: &str = "webhook.raw.v1";

/// Name of the topic of webhooks whose signature no secret gave, without prefix. Ingress alone reads
/// and writes it; nothing is derived from it.
pub const QUARANTINE_TOPIC: &str = "webhook.quarantine.v1";

/// What every derived record has: where it came from and when.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Source {
    /// Partition, raw offset and ordinal among all outputs of that raw record, joined by `-`. Rows that a
    /// swap published have an ordinal from 2147483648 on.
    pub event_id: String,
    /// Raw offset: rises per key; the greatest is the newest row.
    pub revision: u64,
    /// When it happened: Meta's time, or log time if Meta gave none that makes sense.
    pub event_time: Timestamp,
    /// True if `event_time` is log time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub event_time_estimated: bool,
    /// When ingress received the webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_time: Option<Timestamp>,
    /// Partition of the raw topic, and of every derived topic.
    pub source_partition: u32,
    /// Offset in the raw topic.
    pub source_offset: u64,
    /// Version of the schema.
    pub schema_version: u32,
}

/// A row of the message table. The row of a participant has only what is the participant's own;
/// what is known of the message stands in the row of the message.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageRow<'a> {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Message id. Contains the customer's phone number: personal data.
    pub wamid: &'a str,
    /// Participant of a group message; absent on the row of the message itself.
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
    /// `inbound` or `outbound`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'a str>,
    /// Shown state: `pending`, `sent`, `failed`, `delivered`, `read`, `played`, `received`, or a
    /// word of Meta's that is new to us.
    pub state: &'a str,
    /// Earliest time of `pending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_time: Option<Timestamp>,
    /// Earliest time of `sent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_time: Option<Timestamp>,
    /// Earliest time of `delivered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_time: Option<Timestamp>,
    /// Earliest time of `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_time: Option<Timestamp>,
    /// Earliest time of `played`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub played_time: Option<Timestamp>,
    /// Earliest time of `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_time: Option<Timestamp>,
    /// Time of an inbound message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_time: Option<Timestamp>,
    /// Code of the earliest failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<i64>,
    /// Its details, or its title where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_details: Option<&'a str>,
    /// `pricing_model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing_model: Option<&'a str>,
    /// Pricing `type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing_type: Option<&'a str>,
    /// Pricing `category`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing_category: Option<&'a str>,
    /// `billable`, where Meta still sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billable: Option<bool>,
    /// `biz_opaque_callback_data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_data: Option<&'a str>,
    /// `type` of the message, where the message itself was told to us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_type: Option<&'a str>,
    /// Label `template`, which the sender wrote into `callback_data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_template: Option<&'a str>,
    /// Label `language`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_language: Option<&'a str>,
    /// Label `campaign`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_campaign: Option<&'a str>,
    /// Label `intent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_intent: Option<&'a str>,
    /// `template_id`, of a direct send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<&'a str>,
    /// `conversation.id`: since July 2025 one per message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<&'a str>,
    /// `conversation.origin.type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_origin: Option<&'a str>,
    /// `conversation.expiration_timestamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_expire_time: Option<Timestamp>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<&'a str>,
    /// The message it edits, revokes or reacts to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_wamid: Option<&'a str>,
    /// Who wrote it, in a group. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<&'a str>,
    /// It was forwarded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub forwarded: bool,
    /// Id of its media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_id: Option<&'a str>,
    /// `mime_type` of its media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_mime_type: Option<&'a str>,
    /// `sha256` of its media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_sha256: Option<&'a str>,
    /// When its media can no longer be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_expire_time: Option<Timestamp>,
    /// When it was edited last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_time: Option<Timestamp>,
    /// It was revoked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub revoked: bool,
    /// When it was revoked, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_time: Option<Timestamp>,
    /// Users who have a reaction on it; absent if nobody ever reacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaction_count: Option<u64>,
    /// The least `fbtrace_id` that came with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fbtrace_id: Option<&'a str>,
    /// Something of it came by `standby`: another owner held the thread.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub standby: bool,
}

/// A row of the conversation table.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConversationRow<'a> {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Our number's id.
    pub phone_number_id: &'a str,
    /// The other side. Personal data.
    pub party: &'a str,
    /// Account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<&'a str>,
    /// The customer's first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_inbound_time: Option<Timestamp>,
    /// The customer's latest message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_inbound_time: Option<Timestamp>,
    /// Our latest `sent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_outbound_time: Option<Timestamp>,
    /// When the 24-hour customer service window closes or closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_expire_time: Option<Timestamp>,
    /// Distinct inbound messages.
    pub inbound_count: u64,
    /// Distinct outbound messages.
    pub outbound_count: u64,
    /// `open` or `closed` at the log time of this record; absent while the customer never wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_state: Option<&'a str>,
    /// `open` or `closed` likewise: while it is open every message is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_entry_state: Option<&'a str>,
    /// When the free entry point ends or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_entry_expire_time: Option<Timestamp>,
    /// When the customer came from an advert or post last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referral_time: Option<Timestamp>,
    /// `source_type` of that advert or post.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referral_source_type: Option<&'a str>,
    /// `source_id` of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referral_source_id: Option<&'a str>,
    /// `ctwa_clid` of the click.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referral_ctwa_clid: Option<&'a str>,
    /// `accept` or `reject`: the customer's latest word on being called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_permission: Option<&'a str>,
    /// When the permission to call ends; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_permission_expire_time: Option<Timestamp>,
}

/// A row of the template table.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateRow {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Account.
    pub waba_id: String,
    /// Template id.
    pub template_id: String,
    /// Language, with `_`.
    pub language: String,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Shown status, Meta's word; `unknown` before the first.
    pub status: String,
    /// When that status began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_time: Option<Timestamp>,
    /// Reason given with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Category, if a status event named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Title given with it, such as `FIRST_PAUSE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `new_quality_score`: `GREEN`, `YELLOW`, `RED` or `UNKNOWN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
    /// `previous_quality_score`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_quality: Option<String>,
    /// When the quality was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_time: Option<Timestamp>,
    /// When its pause ends by itself; absent if it is not paused, or has to be resumed by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_end_time: Option<Timestamp>,
    /// The category that Meta announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coming_category: Option<String>,
    /// From when on it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coming_category_time: Option<Timestamp>,
    /// The category that Meta finds right, of a template of a direct send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_category: Option<String>,
    /// When its components were edited last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components_time: Option<Timestamp>,
    /// `other_info.description`, or what is recommended after a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `disable_info.disable_date`, as Meta wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_date: Option<String>,
}

/// A row of the number table: of the number, or of one restriction of it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NumberRow {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Number id.
    pub phone_number_id: String,
    /// Account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<String>,
    /// The number as Meta displays it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_phone_number: Option<String>,
    /// `active`, `flagged` or `restricted`, at the log time of this record; absent on the row of a
    /// restriction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The newest event of `phone_number_quality_update`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_event: Option<String>,
    /// When it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_event_time: Option<Timestamp>,
    /// Users per day: the newest limit that an event named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messaging_limit: Option<String>,
    /// `requested_verified_name` of the newest decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_name: Option<String>,
    /// That decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_decision: Option<String>,
    /// `rejection_reason` of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_rejection_reason: Option<String>,
    /// `username`; absent once it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// `approved`, `reserved` or `deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_status: Option<String>,
    /// The newest event of `security`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_event: Option<String>,
    /// When it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_event_time: Option<Timestamp>,
    /// What is restricted, and until when.
    #[serde(flatten)]
    pub restriction: RestrictionFields,
}

/// A restriction, on the row of one, whose key continues with `/restriction/type`.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RestrictionFields {
    /// `restriction_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction_type: Option<String>,
    /// When it was imposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction_time: Option<Timestamp>,
    /// When it ends by itself; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction_expire_time: Option<Timestamp>,
    /// `in_force` or `ended`, at the log time of this record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction_state: Option<String>,
}

/// A row of the account table: of the account, of a total of charges, of one restriction, or of one
/// volume tier.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccountRow {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Account.
    pub waba_id: String,
    /// `active`, `restricted`, `scheduled_for_disable`, `disconnected`, `disabled`, `offboarded` or
    /// `deleted`, at the log time of this record; absent on any other row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The newest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event: Option<String>,
    /// `ban_info.waba_ban_state`, of the newest event that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ban_state: Option<String>,
    /// Month of a total of charges, such as `2026-11`; on the row of one, whose key continues with
    /// `/charges/month/category/type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
    /// Pricing category of that total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing_category: Option<String>,
    /// Pricing type of that total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing_type: Option<String>,
    /// Charges of that total, free ones too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge_count: Option<u64>,
    /// Those of them that cost something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billable_count: Option<u64>,
    /// When the account is or was disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ban_time: Option<Timestamp>,
    /// `decision` of the newest review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_decision: Option<String>,
    /// Users per day: a number or a tier, as Meta wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messaging_limit: Option<String>,
    /// `max_phone_numbers_per_business`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers_per_business_max: Option<i64>,
    /// `max_phone_numbers_per_waba`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers_per_account_max: Option<i64>,
    /// Where the business is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// From when on international authentication has a rate of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_international_rate_time: Option<Timestamp>,
    /// `violation_type` of the newest violation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violation_type: Option<String>,
    /// Why the account was taken away from the partner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnection_reason: Option<String>,
    /// Region of a volume tier, on the row of one, whose key continues with
    /// `/tier/month/region/category/tier`. `month` and `pricing_category` are there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier_region: Option<String>,
    /// The bounds of the tier, `100001:500000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The earliest time at which it was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier_time: Option<Timestamp>,
    /// What is restricted, and until when.
    #[serde(flatten)]
    pub restriction: RestrictionFields,
}

/// A row of the user table: of the user, of one of its preferences, or of one edge to another
/// identifier of it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserRow {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Account: business-scoped ids differ per business.
    pub waba_id: String,
    /// One identifier of the user. Personal data.
    pub party: String,
    /// `profile.name`, of the day it was seen last. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `profile.username`, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Category of a preference, on the row of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The preference: `stop`, `resume` or another word of Meta's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference: Option<String>,
    /// When it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference_time: Option<Timestamp>,
    /// The other identifier, on the row of an edge. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// How the two belong together: `same`, `parent`, `child`, `became` or `was`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// The earliest time at which that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_time: Option<Timestamp>,
}

/// A new fact of an entity.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "TransitionRecord"))]
pub struct TransitionRecord<T = String> {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// `message`, `conversation`, `template`, `account`, `number`, `user`, `group`, `call` or
    /// `payment`.
    pub entity: T,
    /// Key of the entity, as in its table.
    pub key: T,
    /// Account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<T>,
    /// Our number's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_id: Option<T>,
    /// Message id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wamid: Option<T>,
    /// Participant of a group message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant: Option<T>,
    /// Shown state before the fact; absent on the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<T>,
    /// The fact, Meta's word.
    pub to: T,
    /// Shown state after the fact; not `to` when the fact came late.
    pub state: T,
    /// The fact came too late to raise the shown state; of a template, number or account: a later one
    /// of its kind was known.
    pub late: bool,
    /// Error code, where the fact is a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<i64>,
    /// Reason given by Meta; of the alias of a user the other identifier, which is personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<T>,
    /// The other side, where the entity is not a message. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<T>,
    /// `standby` or `history`: it did not come as a live event of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<T>,
    /// The message that edited, revoked or reacted to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause_wamid: Option<T>,
}

impl TransitionRecord {
    /// A transition with nothing but what every one has.
    pub(crate) fn new(source: Source, entity: &str, to: &str) -> Self {
        Self {
            source,
            entity: entity.to_owned(),
            key: String::new(),
            waba_id: None,
            phone_number_id: None,
            wamid: None,
            participant: None,
            from: None,
            to: to.to_owned(),
            state: to.to_owned(),
            late: false,
            error_code: None,
            reason: None,
            party: None,
            origin: None,
            cause_wamid: None,
        }
    }
}

/// What an event says, where it is known how to read it.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventDetails {
    /// `standby` or `history`: it did not come as a live event of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Who wrote it, in a group. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// `interactive.type`, `system.type`, `unsupported.type`, or the type inside an edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtype: Option<String>,
    /// Payload of a button (of a call too), id of a chosen reply, `accept` or `reject` of a request to
    /// call, chosen way to pay, or `response_json` of a flow. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The message it edits, revokes or reacts to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_wamid: Option<String>,
    /// It was forwarded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub forwarded: bool,
    /// Id of its media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_id: Option<String>,
    /// `mime_type` of its media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_mime_type: Option<String>,
    /// `sha256` of its media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_sha256: Option<String>,
    /// `filename` of its media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_filename: Option<String>,
    /// When its media can no longer be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_expire_time: Option<Timestamp>,
    /// `location.latitude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// `location.longitude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// `location.address`. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `catalog_id` of an order or of a product asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_id: Option<String>,
    /// `product_retailer_id` of a product asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    /// Items of an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_count: Option<u64>,
    /// Quantities times prices of an order, in `currency`, if every item says both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_price: Option<f64>,
    /// `currency` of `total_price`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Cards of shared contacts; `text` is the name on the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_count: Option<u64>,
    /// `nfm_reply.name`: `flow` or `address_message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_name: Option<String>,
    /// `referral.source_type`: `ad` or `post`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referral_source_type: Option<String>,
    /// `referral.source_id`: the advert or post the customer came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referral_source_id: Option<String>,
    /// `referral.ctwa_clid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctwa_clid: Option<String>,
    /// Call, where the event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// Order, of a payment or of a chosen way to pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_id: Option<String>,
    /// Error code, where the event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<i64>,
    /// `fbtrace_id`, where the event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fbtrace_id: Option<String>,
    /// What a management event is about, where that is neither the account nor a number or template:
    /// a flow, a payment configuration, a solution, an entity of Meta's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The number as Meta displays it, where an event names it only so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_phone_number: Option<String>,
    /// What it was before: quality, category, limit, status of a flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_value: Option<String>,
    /// What it is now; of a system message the customer's new number, user id or identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_value: Option<String>,
    /// The reason that Meta gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `alert_severity`, lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// Meta's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// From when on it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_time: Option<Timestamp>,
}

/// Anything that is not a status.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventRecord {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Webhook field.
    pub field: String,
    /// What it is: type of the message, event of the field, or `unknown`.
    pub kind: String,
    /// Same key, same fact.
    pub natural_key: String,
    /// JSON path within the webhook's body.
    pub path: String,
    /// Account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<String>,
    /// Our number's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_id: Option<String>,
    /// The other side. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
    /// Message id, where the event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wamid: Option<String>,
    /// Text a customer wrote, where the event has one. Personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it says.
    #[serde(flatten)]
    pub details: EventDetails,
    /// True if `raw` was cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub raw_truncated: bool,
    /// The JSON text of the item as it was sent.
    pub raw: String,
}

/// Scope of a record that says that a redrive left no dead letter.
pub const REDRIVE_SCOPE: &str = "redrive";
/// Reason of the same.
pub const REDRIVEN: &str = "redriven";

/// Something that could not be folded; or, with the reason `redriven`, that now all of it could.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeadLetterRecord {
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Partition and offset of the raw record that came from Meta, joined by `-`.
    pub position: String,
    /// Of a redrive: partition and offset of the raw record that repeated it, joined by `-`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive_position: Option<String>,
    /// JSON path within the body.
    pub path: String,
    /// Which part is broken: `record`, `body`, `envelope`, `entry`, `changes`, `change`,
    /// `statuses`, `status`, `messages`, `message`, a field name, `output`, or `redrive`.
    pub scope: String,
    /// What is wrong, in snake case. `redriven`: nothing any more.
    pub reason: String,
    /// Webhook field, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Account, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<String>,
    /// True if `raw` was cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub raw_truncated: bool,
    /// The text that stands there; bytes that are not UTF-8 are replaced.
    pub raw: String,
}

/// JSON Schemas (2020-12) of all derived topics, by topic name without prefix.
#[cfg(feature = "schema")]
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    Topic::ALL
        .into_iter()
        .map(|topic| {
            let schema = match topic {
                Topic::MessageState => schemars::schema_for!(MessageRow<'_>),
                Topic::ConversationState => schemars::schema_for!(ConversationRow<'_>),
                Topic::TemplateState => schemars::schema_for!(TemplateRow),
                Topic::NumberState => schemars::schema_for!(NumberRow),
                Topic::AccountState => schemars::schema_for!(AccountRow),
                Topic::UserState => schemars::schema_for!(UserRow),
                Topic::Transition => schemars::schema_for!(TransitionRecord<String>),
                Topic::Event => schemars::schema_for!(EventRecord),
                Topic::Charge => schemars::schema_for!(ChargeRecord<'_>),
                Topic::Action => schemars::schema_for!(ActionRecord),
                Topic::Alert => schemars::schema_for!(AlertRecord),
                Topic::DeadLetter => schemars::schema_for!(DeadLetterRecord),
            };
            (topic.name(), schema)
        })
        .collect()
}
