//! Templates, accounts and the standing of numbers: what is learned of them, and its transitions.
//! What follows is in [`super::halts`], what does not come in [`super::watch`].

use super::{Event, Run};
use crate::decode::{AccountItem, Details, NumberItem, Site, TemplateItem};
use crate::ids::{NaturalKey, PhoneNumberId, TemplateKey, WabaId};
use crate::overlay::{Source, SourceError};
use crate::records::{EventDetails, Topic, TransitionRecord};
use crate::state::{
    Account, AccountFacts, Line, Seen, Template, TemplateFacts, TierKey, TimerKind, Told,
};
use crate::time::Timestamp;

/// One row of the account table, by what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AccountPart {
    Itself,
    Restriction(String),
    Tier(TierKey),
}

/// One row of the number table, likewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NumberPart {
    Itself,
    Restriction(String),
}

/// Why something changed, as what follows from it needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause<'a> {
    /// Natural key of the event, or the name of the timer.
    pub key: &'a str,
    pub event_time: Option<Timestamp>,
}

/// What the transitions of management entities differ in.
pub(super) struct Change<'a> {
    pub entity: &'static str,
    pub key: String,
    pub waba_id: &'a WabaId,
    pub phone_number_id: Option<String>,
    pub from: Option<String>,
    pub to: String,
    pub state: String,
    pub late: bool,
    pub time: Option<Timestamp>,
    pub reason: Option<String>,
}

/// The shown state where none is known.
pub(super) const UNKNOWN: &str = "unknown";

impl<S: Source + ?Sized> Run<'_, S> {
    pub(super) fn template(
        &mut self,
        item: TemplateItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let TemplateItem { key, event, time, facts, details, natural_key } = item;
        self.management_came(&key.waba_id)?;
        let first = self.first_time(&natural_key)?;
        let reason = details.reason.clone();
        if first {
            let row_key = template_key_text(&key);
            self.management_event(site, row_key, &event, &natural_key, time, None, details);
            self.notice_template_event(&facts, site)?;
        }
        let before = self.overlay.templates.take(&key, |key| self.below.template(key))?;
        let is_new = before.is_none();
        let mut template = before.unwrap_or_else(|| Template {
            facts: TemplateFacts::default(),
            told: Told::default(),
            journal: self.journal(None),
        });
        let told_quality = facts.quality.clone();
        let known_quality = template.facts.quality.clone();
        let told_categories = facts.announcement.is_some()
            || facts.detection.is_some()
            || facts.category_change.is_some();
        let learned = template.facts.join(facts);
        let log_time = self.place.log_time;
        if first {
            let state = template.facts.status(log_time).unwrap_or(UNKNOWN).to_owned();
            self.management_transition(Change {
                entity: "template",
                key: template_key_text(&key),
                waba_id: &key.waba_id,
                phone_number_id: None,
                from: template.told.state.clone(),
                to: event.clone(),
                state,
                late: !learned,
                time,
                reason,
            });
        }
        if learned {
            template.journal = self.journal((!is_new).then_some(template.journal));
            if let Some(due) = template.facts.next_change(log_time) {
                self.arm_at(due, TimerKind::TemplateDue(key.clone()));
            }
            self.dirty.templates.insert(key.clone());
        }
        let cause = Cause { key: natural_key.as_str(), event_time: time };
        self.template_follows(&key, &mut template, cause)?;
        if first && learned {
            // Only the newest word on quality is a fall; a late one was long overtaken.
            if let Some(quality) = told_quality
                && template.facts.quality.as_ref() == Some(&quality)
            {
                self.quality_follows(&key, &template.facts, known_quality.as_ref(), cause)?;
            }
            if told_categories {
                self.category_follows(&key, &template.facts, &event, cause)?;
            }
        }
        self.overlay.templates.put(&key, (!is_new || learned).then_some(template));
        Ok(())
    }

    pub(super) fn account(
        &mut self,
        item: AccountItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let AccountItem { waba_id: key, event, time, facts, details, natural_key } = item;
        self.management_came(&key)?;
        let first = self.first_time(&natural_key)?;
        let (reason, new_value) = (details.reason.clone(), details.new_value.clone());
        if first {
            self.management_event(site, key.to_string(), &event, &natural_key, time, None, details);
            self.notice_account_event(&facts, site)?;
        }
        let mut account = self.take_account(&key)?;
        let known_limit = account.facts.capability.clone();
        let told_limit = facts.capability.clone();
        let touched = Touched::of(&facts);
        let learned = account.facts.join(facts);
        let log_time = self.place.log_time;
        if first {
            self.management_transition(Change {
                entity: "account",
                key: key.to_string(),
                waba_id: &key,
                phone_number_id: None,
                from: account.told.state.clone(),
                to: event.clone(),
                state: account.facts.state(log_time).as_str().to_owned(),
                late: !learned,
                time,
                reason: reason.clone(),
            });
        }
        if learned {
            self.account_changed(&key, &mut account, &touched);
        }
        let cause = Cause { key: natural_key.as_str(), event_time: time };
        for digits in &touched.lines {
            self.spread_line(&account.facts, digits)?;
            self.line_follows(&key, &mut account, digits, cause)?;
        }
        self.account_follows(&key, &mut account, cause)?;
        if first && learned {
            let said = super::halts::Said { event: &event, new_value, reason };
            self.account_event_follows(&key, said, cause)?;
            if let Some(told) = told_limit
                && account.facts.capability.as_ref() == Some(&told)
            {
                let (old, new) =
                    (known_limit.and_then(|known| known.daily_limit), told.daily_limit);
                self.limit_follows(&key, None, old, new, cause)?;
            }
        }
        self.overlay.accounts.put(&key, Some(account));
        Ok(())
    }

    /// Something of a number that is named by how it is displayed: it waits in its account until
    /// `metadata` links a number's id to it.
    pub(super) fn standing(
        &mut self,
        item: NumberItem,
        site: &Site<'_>,
    ) -> Result<(), SourceError> {
        let NumberItem { waba_id: key, digits, event, time, standing, details, natural_key } = item;
        self.management_came(&key)?;
        let first = self.first_time(&natural_key)?;
        let mut account = self.take_account(&key)?;
        let line = account.facts.lines.get(&digits);
        let number_id = line.and_then(|line| line.number_ids.first()).cloned();
        let entity_key = line_key(&key, &digits, number_id.as_ref());
        let (reason, security) = (details.reason.clone(), !standing.security.is_empty());
        let (old, new) = (details.old_value.clone(), details.new_value.clone());
        let known_limit = line.and_then(|line| line.standing.limit()).map(str::to_owned).or(old);
        let refused = standing.name.as_ref().is_some_and(|name| name.refused)
            || standing.username.as_ref().is_some_and(|name| name.status == "deleted");
        let limit_told = standing.quality.values().any(|fact| fact.limit.is_some());
        if first {
            self.management_event(
                site,
                entity_key.clone(),
                &event,
                &natural_key,
                time,
                number_id.as_ref(),
                details,
            );
        }
        let from = account.lines_told.get(&digits).and_then(|told| told.state.clone());
        let lines = [(digits.clone(), Line { standing, ..Line::default() })].into();
        let touched = Touched { lines: vec![digits.clone()], ..Touched::default() };
        let learned = account.facts.join(AccountFacts { lines, ..AccountFacts::default() });
        let log_time = self.place.log_time;
        if first && let Some(line) = account.facts.lines.get(&digits) {
            self.management_transition(Change {
                entity: "number",
                key: entity_key,
                waba_id: &key,
                phone_number_id: number_id.as_ref().map(ToString::to_string),
                from,
                to: event.clone(),
                state: line.standing.state(log_time).as_str().to_owned(),
                late: !learned,
                time,
                reason,
            });
        }
        if learned {
            self.account_changed(&key, &mut account, &touched);
        }
        let cause = Cause { key: natural_key.as_str(), event_time: time };
        self.spread_line(&account.facts, &digits)?;
        self.line_follows(&key, &mut account, &digits, cause)?;
        if first {
            if security {
                self.security_follows(&key, &digits, number_id.as_ref(), &event, cause)?;
            }
            if refused {
                self.name_follows(&key, &digits, number_id.as_ref(), &event, cause)?;
            }
            if limit_told && learned {
                let number = (digits.as_str(), number_id.as_ref());
                self.limit_follows(&key, Some(number), known_limit, new, cause)?;
            }
        }
        self.overlay.accounts.put(&key, Some(account));
        Ok(())
    }

    /// Takes an account out of the overlay, where it must be put back; one that was never heard of
    /// appears.
    pub(super) fn take_account(&mut self, key: &WabaId) -> Result<Account, SourceError> {
        let known = self.overlay.accounts.take(key, |key| self.below.account(key))?;
        if let Some(account) = known {
            return Ok(account);
        }
        self.watch_subscriptions(key);
        self.dirty.accounts.insert((key.clone(), AccountPart::Itself));
        Ok(Account {
            facts: AccountFacts::default(),
            told: Told::default(),
            lines_told: std::collections::BTreeMap::new(),
            seen: Seen::default(),
            journal: self.journal(None),
        })
    }

    /// Something changed of an account: its journal, its rows, and when it has to be looked at
    /// again.
    fn account_changed(&mut self, key: &WabaId, account: &mut Account, touched: &Touched) {
        account.journal = self.journal(Some(account.journal));
        if let Some(due) = account.facts.next_change(self.place.log_time) {
            self.arm_at(due, TimerKind::AccountDue(key.clone()));
        }
        let mut part = |part| self.dirty.accounts.insert((key.clone(), part));
        part(AccountPart::Itself);
        // What lifts one restriction may lift others.
        if touched.restrictions {
            for kind in account.facts.restrictions.imposed.keys() {
                part(AccountPart::Restriction(kind.clone()));
            }
        }
        for tier in &touched.tiers {
            part(AccountPart::Tier(tier.clone()));
        }
    }

    /// Tells the numbers that are displayed so what is known of the display number.
    pub(super) fn spread_line(
        &mut self,
        facts: &AccountFacts,
        digits: &str,
    ) -> Result<(), SourceError> {
        let Some(line) = facts.lines.get(digits) else { return Ok(()) };
        for id in &line.number_ids {
            let known = self.overlay.numbers.take(id, |key| self.below.number(key))?;
            let Some(mut number) = known else {
                self.overlay.numbers.put(id, None);
                continue;
            };
            if number.facts.standing.join(line.standing.clone()) {
                number.journal = self.journal(Some(number.journal));
                self.number_rows(id, &number.facts.standing);
            }
            self.overlay.numbers.put(id, Some(number));
        }
        Ok(())
    }

    /// The rows of a number are to be written.
    pub(super) fn number_rows(&mut self, id: &PhoneNumberId, standing: &crate::state::Standing) {
        self.dirty.numbers.insert((id.clone(), NumberPart::Itself));
        for kind in standing.restrictions.imposed.keys() {
            self.dirty.numbers.insert((id.clone(), NumberPart::Restriction(kind.clone())));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one of each, and all of them differ")]
    fn management_event(
        &mut self,
        site: &Site<'_>,
        key: String,
        kind: &str,
        natural_key: &NaturalKey,
        time: Option<Timestamp>,
        phone_number_id: Option<&PhoneNumberId>,
        details: Details,
    ) {
        let event = Event {
            key,
            kind: kind.to_owned(),
            natural_key: natural_key.as_str(),
            time,
            phone_number_id,
            details: details.into_record(),
            ..Event::default()
        };
        self.event(site, event);
    }

    pub(super) fn management_transition(&mut self, change: Change<'_>) {
        let record = TransitionRecord {
            key: change.key.clone(),
            waba_id: Some(change.waba_id.to_string()),
            phone_number_id: change.phone_number_id,
            from: change.from,
            state: change.state,
            late: change.late,
            reason: change.reason,
            ..self.new_transition(change.entity, &change.to, change.time)
        };
        self.emit.record(Topic::Transition, change.key, &record);
    }
}

/// What an item is about, as far as rows and numbers need to know.
#[derive(Default)]
struct Touched {
    restrictions: bool,
    tiers: Vec<TierKey>,
    lines: Vec<String>,
}

impl Touched {
    fn of(facts: &AccountFacts) -> Self {
        let restrictions = &facts.restrictions;
        Self {
            restrictions: !restrictions.imposed.is_empty() || !restrictions.lifted.is_empty(),
            tiers: facts.tiers.keys().cloned().collect(),
            lines: facts.lines.keys().cloned().collect(),
        }
    }
}

impl Details {
    /// As the record of an event has it.
    pub(super) fn into_record(self) -> EventDetails {
        let Self {
            subject,
            display_phone_number,
            old_value,
            new_value,
            reason,
            severity,
            requester,
            description,
            effective_time,
        } = self;
        EventDetails {
            subject,
            display_phone_number,
            old_value,
            new_value,
            reason,
            severity,
            requester,
            description,
            effective_time,
            ..EventDetails::default()
        }
    }
}

/// Key of the template table.
pub(super) fn template_key_text(key: &TemplateKey) -> String {
    format!("{}/{}/{}", key.waba_id, key.template_id, key.language)
}

/// What a number is named by: its id, or account and digits while none is known.
pub(super) fn line_key(waba_id: &WabaId, digits: &str, id: Option<&PhoneNumberId>) -> String {
    id.map_or_else(|| format!("{waba_id}/{digits}"), ToString::to_string)
}
