//! Actions and alerts: each is decided once, and not when it is too late.
//!
//! What follows from a fact is in [`crate::action`]; here it is compared with what was decided
//! before, judged by log time, and told.

use std::collections::BTreeSet;

use super::Run;
use crate::action::{
    Action, ActionId, ActionKind, AlertKind, Failed, Moment, Reaction, Sender, Urgency, fallback,
    fallback_id, on_failure, reached_id,
};
use crate::decode::{OtherItem, Site};
use crate::ids::{PartyId, UserKey, WabaId};
use crate::overlay::{Source, SourceError};
use crate::planted::planted;
use crate::records::{AboutFields, ActionRecord, AlertRecord, Topic};
use crate::state::{Decided, TimerKey, TimerKind};
use crate::time::Timestamp;

/// What something is about, and when it happened.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub fields: AboutFields,
    /// `None` where Meta gave no time: log time counts then.
    pub event_time: Option<Timestamp>,
}

/// An alert to be told.
#[derive(Debug)]
pub(super) struct Alert {
    pub kind: AlertKind,
    pub subject: String,
    pub cause: String,
    pub reason: Option<String>,
    pub action_id: Option<ActionId>,
}

impl<S: Source + ?Sized> Run<'_, S> {
    /// What is judged by.
    pub(super) fn moment(&self) -> Moment {
        Moment { log_time: self.place.log_time, retention_ms: self.rules.retention_ms() }
    }

    /// What follows from an error code. A message with evidence of delivery is never sent again.
    pub(super) fn failure(
        &mut self,
        sender: &Sender<'_>,
        code: Option<i64>,
        delivered: bool,
        about: &About,
    ) -> Result<(), SourceError> {
        let time = about.event_time.unwrap_or(self.place.log_time);
        let rules = self.rules.clone();
        for reaction in on_failure(&rules, &Failed { sender: *sender, code, time }) {
            match reaction {
                Reaction::Action(action) if delivered && action.kind.reaches_customer() => {}
                Reaction::Action(action)
                    if action.kind == ActionKind::SuppressRecipient
                        && self.resumed_since(sender, &action, about.event_time)? => {}
                Reaction::Action(action) if action.kind == ActionKind::Resend => {
                    self.resend(action, sender, about)?;
                }
                Reaction::Action(action) if action.kind == ActionKind::SmsFallback => {
                    self.fall_back(action, sender, about)?;
                }
                Reaction::Action(action) => drop(self.act(action, about)?),
                Reaction::Alert(cause) => self.alert(
                    Alert {
                        kind: AlertKind::of_code(code),
                        subject: cause.subject,
                        cause: cause.cause,
                        reason: None,
                        action_id: None,
                    },
                    about,
                )?,
            }
        }
        Ok(())
    }

    /// What follows from an error of a webhook's value. It names no message, so only what is wider
    /// can act.
    pub(super) fn value_error(
        &mut self,
        item: &OtherItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let waba_id = site.waba_id.as_ref().map(ToString::to_string);
        let number = item.metadata.as_ref().map(|metadata| metadata.phone_number_id.to_string());
        let sender = Sender {
            waba_id: waba_id.as_deref(),
            phone_number_id: number.as_deref(),
            ..Sender::default()
        };
        let fields = AboutFields {
            waba_id: waba_id.clone(),
            phone_number_id: number.clone(),
            error_code: item.error_code,
            ..AboutFields::default()
        };
        let about = About { fields, event_time: item.time };
        self.failure(&sender, item.error_code, false, &about)
    }

    /// A retry takes one of the attempts of its intent; when none is left, the message takes
    /// another channel, if it may. Without an intent the sender counts.
    fn resend(
        &mut self,
        mut action: Action,
        sender: &Sender<'_>,
        about: &About,
    ) -> Result<(), SourceError> {
        let (Some(attempts_max), Some(_)) = (action.terms.attempts_max, sender.intent) else {
            return self.act(action, about).map(drop);
        };
        if self.is_reached(sender)? {
            return Ok(());
        }
        let time = about.event_time.unwrap_or(self.place.log_time);
        if self.decided(&action.id())?.is_some() || !self.moment().remembers(time) {
            return Ok(());
        }
        for attempt in 1..=attempts_max {
            let place = ActionId::new("attempt", &action.subject, &attempt.to_string());
            if self.decided(&place)?.is_none() {
                self.remember(place, false)?;
                action.terms.attempt = Some(attempt);
                return self.act(action, about).map(drop);
            }
        }
        match fallback(&self.rules, sender, time) {
            Some(fallback) => self.fall_back(fallback, sender, about),
            None => Ok(()),
        }
    }

    /// The customer said after that time that messages of the category are welcome, under any identifier
    /// known to be theirs.
    fn resumed_since(
        &mut self,
        sender: &Sender<'_>,
        suppression: &Action,
        time: Option<Timestamp>,
    ) -> Result<bool, SourceError> {
        let category = suppression.terms.category.as_deref();
        let (Some(waba_id), Some(recipient)) = (sender.waba_id, sender.recipient) else {
            return Ok(false);
        };
        let waba_id = WabaId::from(waba_id);
        let mut parties = BTreeSet::from([PartyId::new(recipient)]);
        parties.extend(self.aliases_of(&waba_id, &parties)?);
        for party in parties {
            let key = UserKey { waba_id: waba_id.clone(), party };
            let user = self.overlay.users.entry(&key, |key| self.below.user(key))?;
            let resumed =
                user.iter().flat_map(|user| &user.facts.preferences).any(|(of, preference)| {
                    // Meta's `marketing_messages` is the rules' `marketing`.
                    category == Some(of.strip_suffix("_messages").unwrap_or(of))
                        && !preference.stop
                        && preference.time > time
                });
            if resumed {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks for a fallback, unless another message of the intent was delivered, or this one asked before
    /// its intent was known.
    pub(super) fn fall_back(
        &mut self,
        fallback: Action,
        sender: &Sender<'_>,
        about: &About,
    ) -> Result<(), SourceError> {
        if self.is_reached(sender)? {
            return Ok(());
        }
        let alone = fallback_id(&Sender { intent: None, ..*sender });
        if let (Some(_), Some(id)) = (sender.intent, alone)
            && self.decided(&id)?.is_some()
        {
            return Ok(());
        }
        self.act(fallback, about).map(drop)
    }

    /// A message of the intent was delivered.
    pub(super) fn is_reached(&mut self, sender: &Sender<'_>) -> Result<bool, SourceError> {
        let Some(place) = reached_id(sender) else { return Ok(false) };
        Ok(self.decided(&place)?.is_some())
    }

    /// A message was delivered, so its intent is reached, if it has one.
    pub(super) fn reach(&mut self, sender: &Sender<'_>) -> Result<(), SourceError> {
        match reached_id(sender) {
            Some(place) if self.decided(&place)?.is_none() => self.remember(place, false),
            Some(_) | None => Ok(()),
        }
    }

    /// Asks for an action, unless it was decided before or it is too late; true if it was asked for.
    pub(super) fn act(&mut self, action: Action, about: &About) -> Result<bool, SourceError> {
        let time = about.event_time.unwrap_or(self.place.log_time);
        let urgency = self.moment().judge(time, action.terms.not_after);
        let id = action.id();
        if urgency == Urgency::Forgotten || self.decided(&id)?.is_some() {
            return Ok(false);
        }
        self.remember(id.clone(), urgency == Urgency::Expired)?;
        if urgency == Urgency::Act {
            self.tell_action(&id, &action, about);
            return Ok(true);
        }
        if action.kind == ActionKind::SmsFallback {
            let expired = Action { kind: ActionKind::FallbackExpired, ..action };
            self.tell_action(&expired.id(), &expired, about);
            let (subject, cause) = (expired.subject, expired.cause);
            let kind = AlertKind::FallbackExpired;
            let alert = Alert { kind, subject, cause, reason: None, action_id: Some(id) };
            self.alert(alert, about)?;
            return Ok(false);
        }
        // Once an hour and account: after an outage many are too late at once.
        let account = about.fields.waba_id.clone().unwrap_or_else(|| "-".to_owned());
        let alert = Alert {
            kind: AlertKind::ActionExpired,
            subject: account,
            cause: action.kind.expired(time),
            reason: Some(action.kind.as_str().to_owned()),
            action_id: Some(id),
        };
        self.alert(alert, about)?;
        Ok(false)
    }

    /// Tells a human, unless one was told before or it is an old story.
    pub(super) fn alert(&mut self, alert: Alert, about: &About) -> Result<(), SourceError> {
        let time = about.event_time.unwrap_or(self.place.log_time);
        let Alert { kind, subject, cause, reason, action_id } = alert;
        let id = ActionId::of_alert(kind, &subject, &cause);
        if !self.moment().remembers(time) || self.decided(&id)?.is_some() {
            return Ok(());
        }
        self.remember(id.clone(), false)?;
        let Some(source) = self.emit.begin(about.event_time) else { return Ok(()) };
        let record = AlertRecord {
            source,
            alert_id: id.to_string(),
            kind: kind.as_str().to_owned(),
            severity: kind.severity(reason.as_deref()).as_str().to_owned(),
            next_step: kind.next_step().to_owned(),
            subject: subject.clone(),
            cause,
            reason,
            action_id: action_id.map(|id| id.to_string()),
            about: self.about_fields(about),
        };
        self.emit.record(Topic::Alert, subject, &record);
        Ok(())
    }

    /// What is remembered of an action or alert.
    pub(super) fn decided(&mut self, id: &ActionId) -> Result<Option<Decided>, SourceError> {
        Ok(*self.overlay.decided.entry(id, |id| self.below.decided(id))?)
    }

    fn remember(&mut self, id: ActionId, expired: bool) -> Result<(), SourceError> {
        if planted!(DecidedForgotten) {
            return Ok(());
        }
        let decided = self.place.log_time;
        let entry = self.overlay.decided.entry(&id, |id| self.below.decided(id))?;
        *entry = Some(Decided { offset: self.place.offset, decided, expired });
        let due = decided.plus(self.rules.retention_ms());
        self.overlay.timers.insert(TimerKey { due, kind: TimerKind::ForgetDecided(id) }, true);
        Ok(())
    }

    /// The retention is over since it was decided, by the rules of then.
    pub(super) fn forget_decided(&mut self, id: ActionId) -> Result<(), SourceError> {
        *self.overlay.decided.entry(&id, |id| self.below.decided(id))? = None;
        Ok(())
    }

    fn tell_action(&mut self, id: &ActionId, action: &Action, about: &About) {
        let Some(source) = self.emit.begin(about.event_time) else { return };
        let terms = &action.terms;
        let record = ActionRecord {
            source,
            action_id: id.to_string(),
            kind: action.kind.as_str().to_owned(),
            subject: action.subject.clone(),
            cause: action.cause.clone(),
            not_before: terms.not_before,
            not_after: terms.not_after,
            scope: terms.scope.map(|scope| scope.as_str().to_owned()),
            category: terms.category.clone(),
            queue: terms.queue.clone(),
            attempt: terms.attempt.map(u32::from),
            attempts_max: terms.attempts_max.map(u32::from),
            supersedes: terms.supersedes.as_ref().map(ToString::to_string),
            about: self.about_fields(about),
        };
        self.emit.record(Topic::Action, id.to_string(), &record);
    }

    fn about_fields(&self, about: &About) -> AboutFields {
        AboutFields { rules_version: self.rules.version(), ..about.fields.clone() }
    }
}
