//! Templates and accounts: events with a time, of which the latest per kind counts.

use super::{Event, Run};
use crate::decode::{AccountItem, Site, TemplateItem};
use crate::ids::{TemplateKey, WabaId};
use crate::overlay::{Source, SourceError};
use crate::records::{Topic, TransitionRecord};
use crate::state::{Account, AccountFacts, Template, TemplateFacts};

/// What the transitions of management entities differ in.
struct Change<'a> {
    entity: &'static str,
    key: String,
    waba_id: &'a WabaId,
    from: Option<String>,
    to: String,
    state: String,
    late: bool,
    time: Option<crate::time::Timestamp>,
    reason: Option<String>,
}

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn template(
        &mut self,
        item: TemplateItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let key = item.key;
        let (time, reason) = (item.fact.time, item.fact.reason.clone());
        let new = self.first_time(&item.natural_key)?;
        if new {
            self.event(
                site,
                Event {
                    key: template_key_text(&key),
                    kind: item.event.clone(),
                    natural_key: item.natural_key.as_str(),
                    time,
                    ..Event::default()
                },
            );
        }
        let before = self.overlay.templates.entry(&key, |key| self.below.template(key))?.clone();
        let mut facts = before.as_ref().map(|template| template.facts.clone()).unwrap_or_default();
        let superseded = facts.events.get(&item.event).is_some_and(|known| *known > item.fact);
        facts.join(TemplateFacts { events: [(item.event.clone(), item.fact)].into() });
        let shown = |facts: &TemplateFacts| facts.status().map(|(status, _)| status.to_owned());
        let (from, state) = (before.as_ref().and_then(|t| shown(&t.facts)), shown(&facts));
        if new {
            let state = state.unwrap_or_else(|| item.event.clone());
            if from.as_ref() != Some(&state) {
                self.template_follows(&key, &state, time, &item.natural_key)?;
            }
            self.management_transition(Change {
                entity: "template",
                key: template_key_text(&key),
                waba_id: &key.waba_id,
                late: superseded,
                from,
                to: item.event,
                state,
                time,
                reason,
            });
        }
        if before.as_ref().is_some_and(|template| template.facts == facts) {
            return Ok(());
        }
        let journal = self.journal(before.map(|template| template.journal));
        *self.overlay.templates.entry(&key, |key| self.below.template(key))? =
            Some(Template { facts, journal });
        self.dirty.templates.insert(key);
        Ok(())
    }

    pub(super) fn account(
        &mut self,
        item: AccountItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let key = item.waba_id;
        let (time, reason) = (item.fact.time, item.fact.violation_type.clone());
        let new = self.first_time(&item.natural_key)?;
        if new {
            self.event(
                site,
                Event {
                    key: key.to_string(),
                    kind: item.event.clone(),
                    natural_key: item.natural_key.as_str(),
                    time,
                    ..Event::default()
                },
            );
        }
        let before = self.overlay.accounts.entry(&key, |key| self.below.account(key))?.clone();
        let mut facts = before.as_ref().map(|account| account.facts.clone()).unwrap_or_default();
        let kind = (item.event.clone(), item.subject);
        let superseded = facts.events.get(&kind).is_some_and(|known| *known > item.fact);
        facts.join(AccountFacts { events: [(kind, item.fact)].into() });
        let log_time = self.place.log_time;
        if new {
            let from = before.as_ref().map(|account| account.facts.state(log_time));
            if from != Some(facts.state(log_time)) {
                self.account_follows(&key, &facts, time, &item.natural_key)?;
            }
            let from = from.map(|state| state.as_str().to_owned());
            self.management_transition(Change {
                entity: "account",
                key: key.to_string(),
                waba_id: &key,
                from,
                to: item.event,
                state: facts.state(log_time).as_str().to_owned(),
                late: superseded,
                time,
                reason,
            });
        }
        if before.as_ref().is_some_and(|account| account.facts == facts) {
            return Ok(());
        }
        let journal = self.journal(before.map(|account| account.journal));
        *self.overlay.accounts.entry(&key, |key| self.below.account(key))? =
            Some(Account { facts, journal });
        self.dirty.accounts.insert(key);
        Ok(())
    }

    fn management_transition(&mut self, change: Change<'_>) {
        let record = TransitionRecord {
            key: change.key.clone(),
            waba_id: Some(change.waba_id.to_string()),
            from: change.from,
            state: change.state,
            late: change.late,
            reason: change.reason,
            ..self.new_transition(change.entity, &change.to, change.time)
        };
        self.emit.record(Topic::Transition, change.key, &record);
    }
}

/// Key of the template table.
pub(super) fn template_key_text(key: &TemplateKey) -> String {
    format!("{}/{}/{}", key.waba_id, key.template_id, key.language)
}
