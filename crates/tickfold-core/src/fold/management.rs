//! Templates, accounts and the standing of numbers: what is learned of them, and its transitions.
//! What follows is in [`super::halts`], what does not come in [`super::watch`].

use super::{Event, Run};
use crate::action::AlertKind;
use crate::decode::{AccountItem, Details, NumberItem, Site, TemplateItem};
use crate::ids::{NaturalKey, PhoneNumberId, TemplateKey, WabaId};
use crate::overlay::{Source, SourceError};
use crate::records::{EventDetails, TransitionRecord};
use crate::state::{
    Account, AccountFacts, Line, Seen, Template, TemplateFacts, TierKey, TimerKind, Told, ToldEntry,
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

/// What the transitions of management entities differ in. What it was before is in [`Told`].
pub(super) struct Change<'a> {
    pub entity: &'static str,
    pub key: String,
    pub waba_id: &'a WabaId,
    pub phone_number_id: Option<String>,
    pub to: String,
    pub state: String,
    pub late: bool,
    pub time: Option<Timestamp>,
    pub said: Said,
}

/// What a webhook said beside its event.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub reason: Option<String>,
    pub old_value: Option<String>,
    pub new_value: Option<String>,
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
        let said = Said::of(&details);
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
        self.template_overdue(&key, &mut template)?;
        let told_quality = facts.quality.clone();
        let known_quality = template.facts.quality.clone();
        let told_categories = facts.announcement.is_some()
            || facts.detection.is_some()
            || facts.category_change.is_some();
        let log_time = self.place.log_time;
        let was_stopped = template.facts.stop(log_time).is_some();
        let learned = template.facts.join(facts);
        if first {
            let state = template.facts.status(log_time).unwrap_or(UNKNOWN);
            let change = Change::of_template(&key, &event, state);
            self.management_transition(
                Change { late: !learned, time, said, ..change },
                &mut template.told,
            );
        }
        if learned {
            template.journal = self.journal((!is_new).then_some(template.journal));
            if let Some(due) = template.facts.next_change(log_time) {
                self.arm_at(due, TimerKind::TemplateDue(key.clone()));
            }
            self.dirty.templates.insert(key.clone());
        }
        let cause = Cause { key: natural_key.as_str(), event_time: time };
        self.template_follows(&key, &mut template, was_stopped, cause)?;
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
        let said = Said::of(&details);
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
            let state = account.facts.state(log_time).as_str();
            let change = Change::of_account(&key, &event, state);
            let change = Change { late: !learned, time, said: said.clone(), ..change };
            self.management_transition(change, &mut account.told);
            for digits in &touched.lines {
                let Some(line) = account.facts.lines.get(digits) else { continue };
                let change = Change::of_line(&key, digits, line, &event, log_time);
                let told = account.lines_told.entry(digits.clone()).or_default();
                let change = Change { late: !learned, time, said: said.clone(), ..change };
                self.management_transition(change, told);
            }
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
            self.account_event_follows(&key, &event, said, cause)?;
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
        let (said, security) = (Said::of(&details), !standing.security.is_empty());
        let known_limit = line.and_then(|line| line.standing.limit()).map(str::to_owned);
        let known_limit = known_limit.or_else(|| said.old_value.clone());
        let new_limit = said.new_value.clone();
        let refused = standing.name.as_ref().is_some_and(|name| name.refused)
            || standing.username.as_ref().is_some_and(|name| name.status == "deleted");
        let limit_told = standing.quality.values().any(|fact| fact.limit.is_some());
        if first {
            self.management_event(
                site,
                entity_key,
                &event,
                &natural_key,
                time,
                number_id.as_ref(),
                details,
            );
        }
        let lines = [(digits.clone(), Line { standing, ..Line::default() })].into();
        let touched = Touched { lines: vec![digits.clone()], ..Touched::default() };
        let learned = account.facts.join(AccountFacts { lines, ..AccountFacts::default() });
        let log_time = self.place.log_time;
        if first && let Some(line) = account.facts.lines.get(&digits) {
            let change = Change::of_line(&key, &digits, line, &event, log_time);
            let told = account.lines_told.entry(digits.clone()).or_default();
            self.management_transition(Change { late: !learned, time, said, ..change }, told);
        }
        if learned {
            self.account_changed(&key, &mut account, &touched);
        }
        let cause = Cause { key: natural_key.as_str(), event_time: time };
        self.spread_line(&account.facts, &digits)?;
        self.line_follows(&key, &mut account, &digits, cause)?;
        let number = (digits.as_str(), number_id.as_ref());
        if first {
            if security {
                self.number_follows(AlertKind::Security, &key, number, &event, cause)?;
            }
            if refused && learned {
                self.number_follows(AlertKind::NumberName, &key, number, &event, cause)?;
            }
            // Only the newest word on the limit is a fall; a late one was long overtaken.
            let limit = account.facts.lines.get(&digits).and_then(|line| line.standing.limit());
            if limit_told && learned && limit == new_limit.as_deref() {
                self.limit_follows(&key, Some(number), known_limit, new_limit, cause)?;
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
        self.event(site, time, || Event {
            key,
            kind: kind.to_owned(),
            natural_key: natural_key.as_str().to_owned(),
            phone_number_id,
            details: details.into_record(),
            ..Event::default()
        });
    }

    /// Tells a transition, and keeps it as a line of history.
    pub(super) fn management_transition(&mut self, change: Change<'_>, told: &mut Told) {
        let Change { entity, key, waba_id, phone_number_id, to, state, late, time, said } = change;
        let from = told.state.clone();
        let ordinal = self.emit.ordinal();
        if let Some(source) = self.emit.begin(time) {
            let record = TransitionRecord {
                key: key.clone(),
                waba_id: Some(waba_id.to_string()),
                phone_number_id,
                from: from.clone(),
                state: state.clone(),
                late,
                reason: said.reason.clone(),
                ..TransitionRecord::new(source, entity, &to)
            };
            self.emit.transition(key, &record);
        }
        told.add(ToldEntry {
            from,
            to,
            state,
            late,
            event_time: time,
            log_time: self.place.log_time,
            received_time: self.place.received,
            reason: said.reason,
            old_value: said.old_value,
            new_value: said.new_value,
            offset: self.place.offset,
            ordinal,
        });
    }
}

impl<'a> Change<'a> {
    pub(super) fn of_template(key: &'a TemplateKey, to: &str, state: &str) -> Self {
        Self::of("template", template_key_text(key), &key.waba_id, to, state)
    }

    pub(super) fn of_account(key: &'a WabaId, to: &str, state: &str) -> Self {
        Self::of("account", key.to_string(), key, to, state)
    }

    /// Of a number, by how it is displayed.
    pub(super) fn of_line(
        key: &'a WabaId,
        digits: &str,
        line: &Line,
        to: &str,
        log_time: Timestamp,
    ) -> Self {
        let (id, state) = (line.number_ids.first(), line.standing.state(log_time).as_str());
        let phone_number_id = id.map(ToString::to_string);
        Self { phone_number_id, ..Self::of("number", line_key(key, digits, id), key, to, state) }
    }

    fn of(entity: &'static str, key: String, waba_id: &'a WabaId, to: &str, state: &str) -> Self {
        Self {
            entity,
            key,
            waba_id,
            phone_number_id: None,
            to: to.to_owned(),
            state: state.to_owned(),
            late: false,
            time: None,
            said: Said::default(),
        }
    }
}

impl Said {
    fn of(details: &Details) -> Self {
        Self {
            reason: details.reason.clone(),
            old_value: details.old_value.clone(),
            new_value: details.new_value.clone(),
        }
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
