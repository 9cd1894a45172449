//! Actions: what somebody outside is to do because of what was folded, each at most once.
//!
//! An action is named by what it does, to what, and why, and by nothing else: not by the version of
//! the rules or the position in the log. So a replay, a repetition of a webhook and a new version
//! of the rules all find the action that was decided before. What is decided is remembered by the
//! fold; here is only what follows from one failure, one deadline, one message.

mod alert;
mod asked;
mod react;
mod urgency;

use std::fmt;

use crate::hash::id_of;
use crate::rules::{BackOffScope, HaltScope};
use crate::time::{HOUR_MS, Timestamp};

pub use alert::{AlertKind, Severity};
pub use asked::{Asked, Decision, asked_for};
pub(crate) use react::reached_id;
pub use react::{
    AlertCause, Failed, Reaction, Sender, fallback, fallback_id, on_failure, on_inbound, superseded,
};
pub use urgency::{Moment, Urgency};

/// What is to be done. Words are appended, never reused: they are part of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    /// Reach the customer by another channel.
    SmsFallback,
    /// The message was delivered after a fallback was asked for.
    FallbackSuperseded,
    /// A fallback would have been due, but too late to make sense.
    FallbackExpired,
    /// Send a template: the customer service window is closed.
    SendTemplate,
    /// Send this customer nothing more of a category.
    SuppressRecipient,
    /// Stop using a template.
    HaltTemplate,
    /// Stop sending from a number.
    HaltNumber,
    /// Stop sending from an account.
    HaltAccount,
    /// Stop sending to a country from an account.
    HaltCountry,
    /// Wait within a scope, then send the message again.
    BackOff,
    /// Send the message again, as a new one.
    Resend,
    /// Offer the customer another code.
    OfferResend,
    /// Verify the customer before sending again.
    ReverifyRecipient,
    /// Hand a conversation to a queue.
    Route,
    /// A template that was halted may be used again.
    ResumeTemplate,
    /// A number that was halted may send again.
    ResumeNumber,
    /// An account that was halted may send again.
    ResumeAccount,
}

impl ActionKind {
    /// The word of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SmsFallback => "sms_fallback",
            Self::FallbackSuperseded => "fallback_superseded",
            Self::FallbackExpired => "fallback_expired",
            Self::SendTemplate => "send_template",
            Self::SuppressRecipient => "suppress_recipient",
            Self::HaltTemplate => "halt_template",
            Self::HaltNumber => "halt_number",
            Self::HaltAccount => "halt_account",
            Self::HaltCountry => "halt_country",
            Self::BackOff => "back_off",
            Self::Resend => "resend",
            Self::OfferResend => "offer_resend",
            Self::ReverifyRecipient => "reverify_recipient",
            Self::Route => "route",
            Self::ResumeTemplate => "resume_template",
            Self::ResumeNumber => "resume_number",
            Self::ResumeAccount => "resume_account",
        }
    }

    /// It would reach the customer again: not to be done once the message was delivered.
    pub(crate) fn reaches_customer(self) -> bool {
        match self {
            Self::SmsFallback
            | Self::SendTemplate
            | Self::BackOff
            | Self::Resend
            | Self::ReverifyRecipient => true,
            Self::FallbackSuperseded
            | Self::FallbackExpired
            | Self::SuppressRecipient
            | Self::HaltTemplate
            | Self::HaltNumber
            | Self::HaltAccount
            | Self::HaltCountry
            | Self::OfferResend
            | Self::Route
            | Self::ResumeTemplate
            | Self::ResumeNumber
            | Self::ResumeAccount => false,
        }
    }

    /// Why somebody is told that actions of this kind came too late: once an hour.
    pub(crate) fn expired(self, time: Timestamp) -> String {
        let hour = time.as_millis().div_euclid(HOUR_MS) * HOUR_MS / 1_000;
        format!("{}@{hour}", self.as_str())
    }

    pub(crate) fn of_halt(scope: HaltScope) -> Self {
        match scope {
            HaltScope::Template => Self::HaltTemplate,
            HaltScope::Number => Self::HaltNumber,
            HaltScope::Account => Self::HaltAccount,
            HaltScope::Country => Self::HaltCountry,
        }
    }
}

/// Names an action or an alert for ever. 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(String);

impl ActionId {
    /// The id of what is done (`kind`), to what (`subject`), why (`cause`, a natural key).
    pub fn new(kind: &str, subject: &str, cause: &str) -> Self {
        Self(id_of(&[kind, subject, cause]))
    }

    /// The id of an alert, likewise.
    pub fn of_alert(kind: AlertKind, subject: &str, cause: &str) -> Self {
        Self::new(&format!("alert:{}", kind.as_str()), subject, cause)
    }

    /// Takes the digits as the store kept them.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What.
    pub kind: ActionKind,
    /// To what: a message (`wamid` or `wamid/participant`), an intent, an account, a number …
    pub subject: String,
    /// Why, as a natural key: the same cause, the same action.
    pub cause: String,
    /// What it needs beyond its subject.
    pub terms: Terms,
}

impl Action {
    /// Its name.
    pub fn id(&self) -> ActionId {
        ActionId::new(self.kind.as_str(), &self.subject, &self.cause)
    }
}

/// What an action needs beyond its subject; most need little of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Not to be done before.
    pub not_before: Option<Timestamp>,
    /// Not to be done after: it would do harm or make no sense. `None` holds until it is lifted.
    pub not_after: Option<Timestamp>,
    /// What a back-off is about.
    pub scope: Option<BackOffScope>,
    /// What a suppression is about.
    pub category: Option<String>,
    /// Where a conversation goes.
    pub queue: Option<String>,
    /// Which attempt this is, from 1; `None` if the sender has to know.
    pub attempt: Option<u8>,
    /// How many attempts there may be in all.
    pub attempts_max: Option<u8>,
    /// The action that this one takes back.
    pub supersedes: Option<ActionId>,
}

/// The scope as the topic and the document of rules write it.
impl BackOffScope {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Recipient => "recipient",
            Self::Number => "number",
            Self::Account => "account",
            Self::App => "app",
        }
    }
}
