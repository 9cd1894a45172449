//! What does not come, judged by log time: numbers that fall silent while others of their account do
//! not, and fields of which an account never told anything.
//!
//! Journal only: it depends on when things came, so the facts know nothing of it.

use super::Run;
use super::management::Cause;
use super::reactions::About;
use crate::action::AlertKind;
use crate::decode::Metadata;
use crate::ids::{PhoneNumberId, WabaId};
use crate::overlay::{Source, SourceError};
use crate::records::AboutFields;
use crate::state::{Account, AccountFacts, Line, Number, NumberFacts, TimerKind, digits_of};
use crate::time::{DAY_MS, HOUR_MS, Timestamp};

/// How long a number may be silent.
const SILENT_MS: i64 = DAY_MS;

/// After how long nobody asks any more: the number is given up, or was a test.
const GIVEN_UP_MS: i64 = 7 * DAY_MS;

/// How often a silent number is looked at again.
const LOOK_MS: i64 = 6 * HOUR_MS;

/// Within how many hours something must have come of the account, for the silence of one number to
/// mean anything.
const OTHERS_HOURS: i64 = 2;

/// When an account should have told of a message, and when of anything else: the latter is rare.
const MESSAGES_AFTER_MS: i64 = 7 * DAY_MS;
const MANAGEMENT_AFTER_MS: i64 = 30 * DAY_MS;

impl<S: Source + ?Sized> Run<'_, S> {
    /// Learns of a number from `metadata`. Every item carries it, so what is known must cost
    /// nothing.
    pub(super) fn number(
        &mut self,
        metadata: &Metadata,
        waba_id: Option<&WabaId>,
        time: Option<Timestamp>,
    ) -> Result<(), SourceError> {
        let key = &metadata.phone_number_id;
        let hour = self.hour();
        let known = self.overlay.numbers.entry(key, |key| self.below.number(key))?;
        if let Some(number) = known
            && number.active_hour == hour
            && number.facts.knows(metadata, waba_id, time)
        {
            return Ok(());
        }
        let before = known.take();
        let is_new = before.is_none();
        let mut number = before.unwrap_or_else(|| Number {
            facts: NumberFacts::default(),
            active_hour: hour,
            journal: self.journal(None),
        });
        let silent_ms = hour.saturating_sub(number.active_hour).saturating_mul(HOUR_MS);
        if is_new || silent_ms >= GIVEN_UP_MS {
            self.arm_at(self.place.log_time.plus(SILENT_MS), TimerKind::SilenceDue(key.clone()));
        }
        number.active_hour = hour;
        let display = metadata.display_phone_number.as_ref();
        let digits = display.map(|display| digits_of(display)).unwrap_or_default();
        let line = waba_id.map(|waba_id| (waba_id.clone(), digits));
        let mut told = NumberFacts {
            waba_id: waba_id.cloned(),
            displays: display.map(|display| (display.clone(), time)).into_iter().collect(),
            lines: line.clone().into_iter().collect(),
            ..NumberFacts::default()
        };
        if let Some((waba_id, digits)) = line {
            told.standing = self.link_line(&waba_id, &digits, key)?;
        }
        if number.facts.join(told) || is_new {
            number.journal = self.journal((!is_new).then_some(number.journal));
            self.number_rows(key, &number.facts.standing);
        }
        self.overlay.numbers.put(key, Some(number));
        Ok(())
    }

    /// Links a number to its line of an account, and returns what is known of the line.
    fn link_line(
        &mut self,
        waba_id: &WabaId,
        digits: &str,
        id: &PhoneNumberId,
    ) -> Result<crate::state::Standing, SourceError> {
        let mut account = self.take_account(waba_id)?;
        let linked = Line { number_ids: [id.clone()].into(), ..Line::default() };
        // Without a display number there is nothing that could wait for the id.
        let lines = (!digits.is_empty()).then(|| (digits.to_owned(), linked)).into_iter().collect();
        if account.facts.join(AccountFacts { lines, ..AccountFacts::default() }) {
            account.journal = self.journal(Some(account.journal));
        }
        let line = account.facts.lines.get(digits);
        let standing = line.map(|line| line.standing.clone()).unwrap_or_default();
        account.seen.messages = true;
        account.seen.hour = self.hour();
        self.overlay.accounts.put(waba_id, Some(account));
        Ok(standing)
    }

    /// Something of an account came that is not of a message.
    pub(super) fn management_came(&mut self, waba_id: &WabaId) -> Result<(), SourceError> {
        let known = self.overlay.accounts.entry(waba_id, |key| self.below.account(key))?;
        if known.as_ref().is_some_and(|account| account.seen.management) {
            return Ok(());
        }
        let mut account = self.take_account(waba_id)?;
        account.seen.management = true;
        self.overlay.accounts.put(waba_id, Some(account));
        Ok(())
    }

    /// An account appears: it is asked later whether it told of everything.
    pub(super) fn watch_subscriptions(&mut self, waba_id: &WabaId) {
        for after in [MESSAGES_AFTER_MS, MANAGEMENT_AFTER_MS] {
            let due = self.place.log_time.plus(after);
            self.arm_at(due, TimerKind::AccountDue(waba_id.clone()));
        }
    }

    /// Fields that an account should have told something of by now.
    pub(super) fn missing_fields(
        &mut self,
        key: &WabaId,
        account: &Account,
    ) -> Result<(), SourceError> {
        let known_ms = self.place.log_time.as_millis() - account.journal.created.as_millis();
        let missing = [
            ("messages", account.seen.messages, MESSAGES_AFTER_MS),
            ("management", account.seen.management, MANAGEMENT_AFTER_MS),
        ];
        for (word, seen, after) in missing {
            if seen || known_ms < after {
                continue;
            }
            let fields = AboutFields { waba_id: Some(key.to_string()), ..AboutFields::default() };
            let about = About { fields, event_time: None };
            let cause = format!("never:{word}");
            let cause = Cause { key: &cause, event_time: None };
            self.warn(AlertKind::SubscriptionMissing, key.to_string(), word, cause, &about)?;
        }
        Ok(())
    }

    /// A number may have fallen silent.
    pub(super) fn silence_due(&mut self, key: PhoneNumberId) -> Result<(), SourceError> {
        let known = self.overlay.numbers.entry(&key, |key| self.below.number(key))?;
        let Some(number) = known else { return Ok(()) };
        let (active_hour, waba_id) = (number.active_hour, number.facts.waba_id.clone());
        let display = number.facts.display_phone_number().map(str::to_owned);
        let log_time = self.place.log_time;
        // Counted from the end of the hour.
        let since = Timestamp::from_millis(active_hour.saturating_add(1).saturating_mul(HOUR_MS));
        let silent = TimerKind::SilenceDue(key.clone());
        if log_time < since.plus(SILENT_MS) {
            self.arm_at(since.plus(SILENT_MS), silent);
            return Ok(());
        }
        if since.plus(GIVEN_UP_MS) <= log_time {
            return Ok(());
        }
        self.arm_at(log_time.plus(LOOK_MS), silent);
        let Some(waba_id) = waba_id else { return Ok(()) };
        let account = self.overlay.accounts.entry(&waba_id, |key| self.below.account(key))?;
        let others = account.as_ref().map(|account| account.seen.hour);
        if others.is_none_or(|others| others < self.hour().saturating_sub(OTHERS_HOURS)) {
            return Ok(());
        }
        let fields = AboutFields {
            waba_id: Some(waba_id.to_string()),
            phone_number_id: Some(key.to_string()),
            display_phone_number: display,
            ..AboutFields::default()
        };
        let about = About { fields, event_time: None };
        let cause = format!("silent:{key}@{}", since.as_millis() / 1_000);
        let cause = Cause { key: &cause, event_time: None };
        self.warn(AlertKind::NumberSilent, key.to_string(), "silent", cause, &about)
    }

    fn hour(&self) -> i64 {
        self.place.log_time.as_millis().div_euclid(HOUR_MS)
    }
}

impl NumberFacts {
    /// True if `metadata` teaches nothing.
    fn knows(
        &self,
        metadata: &Metadata,
        waba_id: Option<&WabaId>,
        time: Option<Timestamp>,
    ) -> bool {
        let knows_account = match (waba_id, &self.waba_id) {
            (None, _) => true,
            (Some(told), Some(mine)) => told >= mine,
            (Some(_), None) => false,
        };
        let display = metadata.display_phone_number.as_ref();
        let knows_display = display.is_none_or(|display| {
            self.displays.get(display).is_some_and(|mine| match (time, mine) {
                (None, _) => true,
                (Some(told), Some(mine)) => told >= *mine,
                (Some(_), None) => false,
            })
        });
        let digits =
            || display.into_iter().flat_map(|text| text.bytes()).filter(u8::is_ascii_digit);
        let knows_line = waba_id.is_none_or(|waba_id| {
            self.lines.iter().any(|(mine, of)| mine == waba_id && digits().eq(of.bytes()))
        });
        knows_account && knows_display && knows_line
    }
}
