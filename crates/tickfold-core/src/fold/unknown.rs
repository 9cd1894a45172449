//! Words that nobody has told us of: kept and folded like any other, and told once, since they are
//! how Meta's additions show.

use super::Run;
use super::management::Cause;
use super::reactions::About;
use crate::action::AlertKind;
use crate::charge::Charge;
use crate::decode::{MessageItem, Origin, OtherItem, Site, is_known_field};
use crate::ids::WabaId;
use crate::overlay::{Source, SourceError};
use crate::records::AboutFields;
use crate::state::{
    ACCOUNT_EVENTS, AccountFacts, TEMPLATE_EVENTS, TemplateFacts, is_known_restriction,
};

/// Types of messages; `unknown` is our word for one without, and the old one of `unsupported`.
const MESSAGE_TYPES: [&str; 21] = [
    "text",
    "image",
    "video",
    "document",
    "audio",
    "voice",
    "sticker",
    "location",
    "contacts",
    "reaction",
    "button",
    "interactive",
    "order",
    "system",
    "unsupported",
    "unknown",
    "edit",
    "revoke",
    "request_welcome",
    "media_placeholder",
    "template",
];

/// Pricing categories, in the spelling of totals.
const PRICING_CATEGORIES: [&str; 15] = [
    "authentication",
    "authentication_international",
    "marketing",
    "marketing_lite",
    "utility",
    "service",
    "referral_conversion",
    "group_marketing",
    "group_utility",
    "group_service",
    "general_purpose_ai",
    "user_initiated",
    "business_initiated",
    "unknown",
    "",
];

/// Pricing types and, for what came before them, models.
const PRICING_TYPES: [&str; 8] = [
    "regular",
    "free_customer_service",
    "free_entry_point",
    "free_group_customer_service",
    "nbp",
    "cbp",
    "pmp",
    "unknown",
];

/// A field that comes where an app has values switched off: it names what changed, without content.
const NO_VALUES: &str = "changed_fields";

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn notice_message(
        &mut self,
        item: &MessageItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        if item.origin == Origin::History || MESSAGE_TYPES.contains(&item.message_type.as_str()) {
            return Ok(());
        }
        self.new_word("message_type", &item.message_type, site.waba_id.as_ref())
    }

    pub(super) fn notice_other(
        &mut self,
        item: &OtherItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let Some(field) = site.field.filter(|_| item.unknown) else { return Ok(()) };
        let waba_id = site.waba_id.as_ref();
        if field == NO_VALUES {
            let (subject, about) = of_account(waba_id);
            let cause = Cause { key: NO_VALUES, event_time: None };
            return self.warn(AlertKind::ContentLost, subject, NO_VALUES, cause, &about);
        }
        let what = if is_known_field(field) { "shape_of" } else { "field" };
        self.new_word(what, field, waba_id)
    }

    /// A member of a value that nobody has told us of. Its content stays in raw.
    pub(super) fn new_member(&mut self, name: &str, site: &Site<'_>) -> Result<(), SourceError> {
        let word = format!("{}.{name}", site.field.unwrap_or_default());
        self.new_word("member", &word, site.waba_id.as_ref())
    }

    pub(super) fn notice_template_event(
        &mut self,
        facts: &TemplateFacts,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        for event in facts.events.keys() {
            if !TEMPLATE_EVENTS.contains(&event.as_str()) {
                self.new_word("template_event", event, site.waba_id.as_ref())?;
            }
        }
        Ok(())
    }

    pub(super) fn notice_account_event(
        &mut self,
        facts: &AccountFacts,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        for ((event, _), fact) in &facts.events {
            if !ACCOUNT_EVENTS.contains(&event.as_str()) {
                self.new_word("account_event", event, site.waba_id.as_ref())?;
            }
            for (kind, _) in &fact.restrictions {
                if !is_known_restriction(kind) {
                    self.new_word("restriction_type", kind, site.waba_id.as_ref())?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn notice_price(&mut self, charge: &Charge) -> Result<(), SourceError> {
        let total = &charge.total;
        if !PRICING_CATEGORIES.contains(&total.category.as_str()) {
            self.new_word("pricing_category", &total.category, Some(&total.waba_id))?;
        }
        if !PRICING_TYPES.contains(&total.kind.as_str()) {
            self.new_word("pricing_type", &total.kind, Some(&total.waba_id))?;
        }
        Ok(())
    }

    /// Tells of a word, once per partition: what is new to one account is new to all.
    pub(super) fn new_word(
        &mut self,
        what: &str,
        word: &str,
        waba_id: Option<&WabaId>,
    ) -> Result<(), SourceError> {
        let (_, about) = of_account(waba_id);
        let subject = format!("{what}/{word}");
        let cause = Cause { key: "first_seen", event_time: None };
        self.warn(AlertKind::UnknownWord, subject, word, cause, &about)
    }
}

fn of_account(waba_id: Option<&WabaId>) -> (String, About) {
    let waba_id = waba_id.map(ToString::to_string);
    let subject = waba_id.clone().unwrap_or_else(|| "-".to_owned());
    let fields = AboutFields { waba_id, ..AboutFields::default() };
    (subject, About { fields, event_time: None })
}
