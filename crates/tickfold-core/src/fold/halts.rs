//! What follows when a template or an account may no longer send: somebody is told, and what would
//! only be refused is to stop.

use super::Run;
use super::reactions::{About, Alert};
use crate::action::{Action, ActionKind, AlertKind, Terms};
use crate::ids::{NaturalKey, TemplateKey, WabaId};
use crate::overlay::{Source, SourceError};
use crate::records::AboutFields;
use crate::state::{AccountFacts, AccountState};
use crate::time::Timestamp;

/// The restriction under which an account cannot begin a conversation.
const NO_MESSAGES: &str = "RESTRICTED_BIZ_INITIATED_MESSAGING";

impl<S: Source + ?Sized> Run<'_, S> {
    /// What follows from a new shown status of a template.
    pub(super) fn template_follows(
        &mut self,
        key: &TemplateKey,
        status: &str,
        event_time: Option<Timestamp>,
        natural_key: &NaturalKey,
    ) -> Result<(), SourceError> {
        let (halts, alerts) = match status {
            "PAUSED" | "DISABLED" => (true, true),
            "REJECTED" | "FLAGGED" | "LIMIT_EXCEEDED" | "LOCKED" => (false, true),
            // Nothing is wrong, or somebody of the business did it, or the word is new: then the
            // transition tells.
            _ => (false, false),
        };
        let subject = format!("{}/{}", key.waba_id, key.template_id);
        let fields = AboutFields {
            waba_id: Some(key.waba_id.to_string()),
            template: Some(key.template_id.to_string()),
            ..AboutFields::default()
        };
        let about = About { fields, event_time };
        if halts {
            self.halt(ActionKind::HaltTemplate, &subject, natural_key, &about)?;
        }
        if alerts {
            self.warn(AlertKind::TemplateStatus, subject, status, natural_key, &about)?;
        }
        Ok(())
    }

    /// What follows from a new shown state of an account.
    pub(super) fn account_follows(
        &mut self,
        key: &WabaId,
        facts: &AccountFacts,
        event_time: Option<Timestamp>,
        natural_key: &NaturalKey,
    ) -> Result<(), SourceError> {
        let state = facts.state(self.place.log_time);
        let halts = match state {
            AccountState::Active => return Ok(()),
            AccountState::Disabled | AccountState::Offboarded | AccountState::Deleted => true,
            AccountState::ScheduledForDisable => false,
            AccountState::Restricted => {
                let event = ("ACCOUNT_RESTRICTION".to_owned(), String::new());
                let fact = facts.events.get(&event);
                fact.is_some_and(|fact| {
                    fact.restrictions.iter().any(|(kind, _)| kind == NO_MESSAGES)
                })
            }
        };
        let fields = AboutFields { waba_id: Some(key.to_string()), ..AboutFields::default() };
        let about = About { fields, event_time };
        if halts {
            self.halt(ActionKind::HaltAccount, key.as_str(), natural_key, &about)?;
        }
        self.warn(AlertKind::AccountState, key.to_string(), state.as_str(), natural_key, &about)
    }

    fn halt(
        &mut self,
        kind: ActionKind,
        subject: &str,
        natural_key: &NaturalKey,
        about: &About,
    ) -> Result<(), SourceError> {
        let (subject, cause) = (subject.to_owned(), natural_key.as_str().to_owned());
        self.act(Action { kind, subject, cause, terms: Terms::default() }, about)
    }

    fn warn(
        &mut self,
        kind: AlertKind,
        subject: String,
        reason: &str,
        natural_key: &NaturalKey,
        about: &About,
    ) -> Result<(), SourceError> {
        let (cause, reason) = (natural_key.as_str().to_owned(), Some(reason.to_owned()));
        self.alert(Alert { kind, subject, cause, reason, action_id: None }, about)
    }
}
