//! What the rules say, as they are written: the shape of the document. What it has to keep to
//! beyond its shape is checked by [`check`](super::check).
//!
//! Field order is part of the canonical form. A new field is appended, has a default that means
//! what its absence meant, and is left out of the text when it has that default: documents in old
//! logs stay good and keep their digest.

use serde::{Deserialize, Serialize};

use super::Span;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub version: u32,
    pub retention: Span,
    pub media_valid_for: Span,
    pub actions_valid_for: Span,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_resend: Option<OfferResend>,
    pub codes: Vec<CodeRule>,
    pub unknown_code: Vec<Directive>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deadlines: Vec<Deadline>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound: Vec<InboundRule>,
    /// How long before its end a customer service window is told to be closing; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_closing_before: Option<Span>,
}

/// When to offer another code: an authentication message was read and the customer did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferResend {
    /// How long after it was read.
    pub after: Span,
    /// How long after that the offer still makes sense.
    pub valid_for: Span,
}

/// What to do on some error codes. The first rule that names the code and fits the category
/// counts; one without actions means that nothing is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeRule {
    pub codes: Vec<Codes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    pub actions: Vec<Directive>,
}

/// A code, or all codes from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Codes {
    One(i64),
    Range(CodeRange),
}

/// Both ends are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeRange {
    pub from: i64,
    pub to: i64,
}

/// One thing to do on an error code. Variants without fields are written with braces so that a
/// field too much is refused in them too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Directive {
    /// Reach the customer by another channel, if `fallbacks` lists the category.
    SmsFallback {},
    /// Nothing now: the failure does not end the wait for a delivery, its deadline does.
    AwaitDeadline {},
    /// The customer service window is closed: send a template instead.
    SendTemplate {},
    /// Send this customer nothing more of a category.
    SuppressRecipient {
        /// Pricing category, such as `marketing`.
        category: String,
    },
    /// Stop sending within a scope until somebody looked.
    Halt {
        /// What is to stop.
        scope: HaltScope,
    },
    /// Send nothing within a scope for a while, then send this message again.
    BackOff {
        /// What is to wait.
        scope: BackOffScope,
        /// For how long, from the failure.
        delay: Span,
    },
    /// Send this message again, as a new one.
    Resend {
        /// When, from the failure.
        delay: Span,
        /// How often in all. Counted by the label `intent` of the callback data; without one each
        /// message is for itself, and the sender counts.
        attempts_max: u8,
    },
    /// The customer's identity key changed: verify them before sending again.
    ReverifyRecipient {},
    /// Tell a human.
    Alert {},
}

/// What a halt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltScope {
    /// The template that was sent.
    Template,
    /// The business phone number.
    Number,
    /// The account.
    Account,
    /// The recipient's country, for this account.
    Country,
}

/// What a back-off is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackOffScope {
    /// This message only.
    Message,
    /// Everything to this customer.
    Recipient,
    /// The business phone number.
    Number,
    /// The account.
    Account,
    /// Every account of the app.
    App,
}

/// How long the delivery of a message of a category may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadline {
    /// Pricing category, such as `authentication`.
    pub category: String,
    /// The account it is for; absent for all that have no entry of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<String>,
    /// How long Meta tries: the template's time to live.
    pub ttl: Span,
    /// How much later a webhook may tell of a delivery within it.
    pub buffer: Span,
}

/// That a category may fall back to another channel, and for how long that makes sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fallback {
    pub category: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<String>,
    pub valid_for: Span,
}

/// What to do on something a customer wrote or chose. The first rule that fits counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InboundRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_id: Option<String>,
    pub when: Choice,
    pub then: InboundDirective,
}

/// What a customer wrote or chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// A button with this payload (of a template) or id (of a reply button), byte by byte.
    ButtonPayload(String),
    /// A button with this text, in any case.
    ButtonText(String),
    /// A list row with this id, byte by byte.
    ListId(String),
    /// A text that is this and nothing else, in any case and without the space around it.
    Keyword(String),
}

/// What a customer's message asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum InboundDirective {
    /// Hand the conversation to a queue.
    Route {
        /// Name of the queue.
        queue: String,
    },
    /// Send this customer nothing more of a category.
    SuppressRecipient {
        /// Pricing category, such as `marketing`.
        category: String,
    },
}
