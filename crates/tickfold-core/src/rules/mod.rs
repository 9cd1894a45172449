//! The rules: what to do about error codes, deadlines and a customer's choices, and how long state
//! is kept.
//!
//! They are in the log, as control records of kind `rules` with a rising version, and hold from
//! their position on: the same raw records give the same actions, whatever a configuration file
//! says today. Before the first record the [built-in table](Rules::built_in) holds.
//!
//! A [`Rules`] is always valid: it comes from the built-in table or through [`Rules::parse`], which
//! names the path of what is wrong. Its [canonical form](Rules::canonical) is one text for one
//! meaning, and what the store keeps.

mod built_in;
mod check;
mod document;
mod span;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

pub use built_in::{BUILT_IN_RULES, UNKNOWN_CATEGORY};
pub use document::{
    BackOffScope, Choice, Deadline, Directive, HaltScope, InboundDirective, OfferResend,
};
pub use span::Span;

use document::{Codes, Document};

/// The longest document, in bytes. It is read with every batch that is folded.
pub const RULES_BYTES_MAX: usize = 256 * 1024;

/// How many entries each list of a document has at most.
pub(crate) const RULES_ENTRIES_MAX: usize = 1_000;

/// The rules of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Document);

/// Why a text is no valid document of rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Invalid {
    /// Where in the document, such as `codes[3].codes[0]`; `.` is the document itself.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

impl Invalid {
    pub(crate) fn new(path: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { path: path.to_string(), reason: reason.into() }
    }
}

/// A customer's message, as far as inbound rules look at it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inbound<'a> {
    /// Payload of a template's button, or id of a reply button.
    pub button_payload: Option<&'a str>,
    /// What was written on the button.
    pub button_text: Option<&'a str>,
    /// Id of the list row.
    pub list_id: Option<&'a str>,
    /// The text, of a message that is one.
    pub text: Option<&'a str>,
}

static BUILT_IN: LazyLock<Arc<Rules>> = LazyLock::new(|| Arc::new(Rules(built_in::document())));

impl Rules {
    /// Table 1. It is valid too, which a test checks.
    pub fn built_in() -> Arc<Self> {
        Arc::clone(&BUILT_IN)
    }

    /// Reads a document in JSON. Unknown fields, missing ones and values out of their bounds are
    /// refused.
    pub fn parse(json: &[u8]) -> Result<Self, Invalid> {
        if json.len() > RULES_BYTES_MAX {
            return Err(Invalid::new(".", format!("is longer than {RULES_BYTES_MAX} bytes")));
        }
        let document = read(json)?;
        check::check(&document)?;
        Ok(Self(document))
    }

    /// Rises with every change; [`BUILT_IN_RULES`] is the built-in table.
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The canonical form: compact JSON, fields in a fixed order, what has its default left out,
    /// lengths of time in their longest unit.
    pub fn canonical(&self) -> Vec<u8> {
        // A struct of texts, numbers and lists with text keys, which always encodes.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// The canonical form in lines, for people and for a comparison line by line.
    pub fn pretty(&self) -> String {
        serde_json::to_string_pretty(&self.0).unwrap_or_default()
    }

    /// SHA-256 of the canonical form, in lower-case hex: the same rules, the same digest.
    pub fn digest(&self) -> String {
        crate::hash::sha256_hex(&self.canonical())
    }

    /// How long a message, a conversation, a natural key or a decided action is kept after its
    /// last change, in milliseconds of log time.
    pub fn retention_ms(&self) -> i64 {
        self.0.retention.as_millis()
    }

    /// How long after its message Meta keeps a medium, in milliseconds.
    pub fn media_valid_ms(&self) -> i64 {
        self.0.media_valid_for.as_millis()
    }

    /// For how many milliseconds an action makes sense where nothing shorter is said: to send a
    /// message again, to answer a customer.
    pub fn actions_valid_ms(&self) -> i64 {
        self.0.actions_valid_for.as_millis()
    }

    /// When another code is offered; `None`: never.
    pub fn offer_resend(&self) -> Option<OfferResend> {
        self.0.offer_resend
    }

    /// For how many milliseconds a customer service window is told to be closing; `None`: it is not.
    pub fn window_closing_ms(&self) -> Option<i64> {
        self.0.window_closing_before.map(Span::as_millis)
    }

    /// What to do on an error code of a message of a pricing category, in order. A failure without
    /// a code is one that nobody knows.
    pub fn on_code(&self, code: Option<i64>, category: Option<&str>) -> &[Directive] {
        let category = category.map_or(Cow::Borrowed(UNKNOWN_CATEGORY), normal_category);
        let fits = |rule: &&document::CodeRule| {
            code.is_some_and(|code| rule.codes.iter().any(|codes| codes.contains(code)))
                && (rule.categories.is_empty() || rule.categories.iter().any(|c| *c == category))
        };
        let rule = self.0.codes.iter().find(fits);
        rule.map_or(&self.0.unknown_code, |rule| &rule.actions)
    }

    /// How long the delivery of a message may take; `None`: nobody waits for it.
    pub fn deadline(&self, waba_id: Option<&str>, category: Option<&str>) -> Option<&Deadline> {
        let category = normal_category(category?);
        most_specific(&self.0.deadlines, waba_id, |deadline| {
            (deadline.category == category).then_some(deadline.waba_id.as_deref())
        })
    }

    /// For how many milliseconds another channel makes sense for a category; `None`: it may not
    /// take another.
    pub fn fallback_valid_ms(&self, waba_id: Option<&str>, category: Option<&str>) -> Option<i64> {
        let category = category.map_or(Cow::Borrowed(UNKNOWN_CATEGORY), normal_category);
        let fallback = most_specific(&self.0.fallbacks, waba_id, |fallback| {
            (fallback.category == category).then_some(fallback.waba_id.as_deref())
        });
        fallback.map(|fallback| fallback.valid_for.as_millis())
    }

    /// What a customer's message to an account asks for.
    pub fn on_inbound(
        &self,
        waba_id: Option<&str>,
        inbound: &Inbound<'_>,
    ) -> Option<&InboundDirective> {
        let of_account = |rule: &&document::InboundRule| {
            rule.waba_id.as_deref().is_none_or(|of| Some(of) == waba_id)
        };
        let mut rules = self.0.inbound.iter().filter(of_account);
        rules.find(|rule| rule.when.fits(inbound)).map(|rule| &rule.then)
    }
}

/// The document of a text. Where something is wrong is looked for only once something is: to know it
/// all the time takes longer than to read, and rules are read at every fold of their record.
fn read(json: &[u8]) -> Result<Document, Invalid> {
    if let Ok(document) = serde_json::from_slice(json) {
        return Ok(document);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let document = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| Invalid::new(error.path(), error.inner().to_string()))?;
    deserializer.end().map_err(|error| Invalid::new(".", error.to_string()))?;
    Ok(document)
}

impl Choice {
    fn fits(&self, inbound: &Inbound<'_>) -> bool {
        let same = |theirs: Option<&str>, ours: &str| {
            theirs.is_some_and(|theirs| theirs.trim().to_lowercase() == ours.to_lowercase())
        };
        match self {
            Self::ButtonPayload(payload) => inbound.button_payload == Some(payload),
            Self::ButtonText(text) => same(inbound.button_text, text),
            Self::ListId(id) => inbound.list_id == Some(id),
            Self::Keyword(text) => same(inbound.text, text),
        }
    }
}

impl Codes {
    fn bounds(&self) -> (i64, i64) {
        match self {
            Self::One(code) => (*code, *code),
            Self::Range(range) => (range.from, range.to),
        }
    }

    fn contains(&self, code: i64) -> bool {
        let (from, to) = self.bounds();
        (from..=to).contains(&code)
    }
}

/// The entry of the account itself, else the one of all accounts.
fn most_specific<'a, T>(
    entries: &'a [T],
    waba_id: Option<&str>,
    account_of: impl Fn(&'a T) -> Option<Option<&'a str>>,
) -> Option<&'a T> {
    let find =
        |wanted: Option<&str>| entries.iter().find(|entry| account_of(entry) == Some(wanted));
    waba_id.and_then(|id| find(Some(id))).or_else(|| find(None))
}

/// A pricing category in one spelling: Meta writes both `authentication-international` and
/// `authentication_international`.
pub fn normal_category(category: &str) -> Cow<'_, str> {
    let is_normal = |byte: u8| byte != b'-' && !byte.is_ascii_uppercase();
    match category.bytes().all(is_normal) {
        true => Cow::Borrowed(category),
        false => Cow::Owned(category.to_ascii_lowercase().replace('-', "_")),
    }
}
