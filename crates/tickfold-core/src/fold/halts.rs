//! What follows when a template, a number or an account may no longer send, or may again: somebody is
//! told, and what would only be refused is to stop, until it is taken back.
//!
//! A state is compared with the one that was told last, so what changes by itself (a pause that
//! ends, a restriction that expires) follows as what a webhook changed.

use super::Run;
use super::management::{Cause, Change, Said, UNKNOWN, line_key, template_key_text};
use super::reactions::{About, Alert};
use crate::action::{Action, ActionId, ActionKind, AlertKind, Terms};
use crate::ids::{PhoneNumberId, TemplateKey, WabaId};
use crate::overlay::{Source, SourceError};
use crate::records::AboutFields;
use crate::state::{
    Account, AccountState, NumberState, QualityFact, Standing, Template, TemplateFacts, TimerKind,
    Told, limit_size, quality_rank,
};
use crate::time::Timestamp;

/// A change of a shown state, and whether something is to stop under the new one.
struct Turn<'a> {
    halts: bool,
    /// What was halted may go on. Under some words neither holds: nothing new stops, nothing goes on.
    resumes: bool,
    halt: ActionKind,
    resume: ActionKind,
    subject: String,
    /// When the halt ends by itself.
    ends: Option<Timestamp>,
    cause: Cause<'a>,
    about: About,
}

impl<S: Source + ?Sized> Run<'_, S> {
    /// What follows from the shown status of a template, if it was not told yet, and from what stops it
    /// now and did not before.
    pub(super) fn template_follows(
        &mut self,
        key: &TemplateKey,
        template: &mut Template,
        was_stopped: bool,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let facts = &template.facts;
        let Some(status) = facts.status(self.place.log_time) else { return Ok(()) };
        let stop = facts.stop(self.place.log_time).filter(|_| status != "DELETED");
        let ends = facts.pause_ends().filter(|_| stop == Some("PAUSED"));
        let is_new = template.told.state.as_deref() != Some(status);
        // What stops it comes behind a later word, and the shown status stays.
        let is_late = stop.is_some() && !was_stopped && !is_new;
        let is_other = stop.is_some() && template.told.halts_until_other_than(ends);
        if !is_new && !is_late && !is_other && !self.may_go_on(template) {
            return Ok(());
        }
        let status = status.to_owned();
        let about = template_about(key, facts, cause.event_time);
        let word = stop.filter(|_| is_late).unwrap_or(&status).to_owned();
        let alerts = match word.as_str() {
            "PAUSED" | "DISABLED" | "REJECTED" | "FLAGGED" | "LIMIT_EXCEEDED" | "LOCKED" => true,
            // Nothing is wrong, or somebody of the business did it, or the word is new: then the
            // transition tells.
            _ => false,
        };
        let subject = template_subject(key);
        let turn = Turn {
            // A later word that lifts nothing asks for no second halt.
            halts: is_late || is_other || stop == Some(status.as_str()),
            resumes: facts.allows_sending(self.place.log_time),
            halt: ActionKind::HaltTemplate,
            resume: ActionKind::ResumeTemplate,
            subject: subject.clone(),
            ends,
            cause,
            about: about.clone(),
        };
        self.turn(&mut template.told, &status, turn)?;
        if alerts && (is_new || is_late) {
            self.warn(AlertKind::TemplateStatus, subject, &word, cause, &about)?;
        }
        Ok(())
    }

    /// The quality of a template fell.
    pub(super) fn quality_follows(
        &mut self,
        key: &TemplateKey,
        facts: &TemplateFacts,
        known: Option<&QualityFact>,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let Some(quality) = &facts.quality else { return Ok(()) };
        let previous = quality.previous.as_deref().map(quality_rank);
        let previous = previous.or_else(|| known.map(|known| known.rank)).unwrap_or(0);
        // A word that we do not know has rank 0 and is no fall.
        if quality.rank < 2 || quality.rank <= previous {
            return Ok(());
        }
        let (score, about) = (quality.score.clone(), template_about(key, facts, cause.event_time));
        self.warn(AlertKind::TemplateQuality, template_subject(key), &score, cause, &about)
    }

    /// The category of a template changes, or should.
    pub(super) fn category_follows(
        &mut self,
        key: &TemplateKey,
        facts: &TemplateFacts,
        event: &str,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let about = template_about(key, facts, cause.event_time);
        self.warn(AlertKind::TemplateCategory, template_subject(key), event, cause, &about)
    }

    /// What follows from the shown state of an account, if it was not told yet.
    pub(super) fn account_follows(
        &mut self,
        key: &WabaId,
        account: &mut Account,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let log_time = self.place.log_time;
        let state = account.facts.state(log_time);
        let halts = account.facts.forbids_sending(log_time);
        let ends = match state {
            AccountState::Active | AccountState::Restricted | AccountState::ScheduledForDisable => {
                account.facts.restrictions.messages_end(log_time)
            }
            AccountState::Disconnected
            | AccountState::Disabled
            | AccountState::Offboarded
            | AccountState::Deleted => None,
        };
        // Of one state more or less may be forbidden, and for longer or shorter.
        if account.told.state.as_deref() == Some(state.as_str())
            && account.told.halt.is_some() == halts
            && !account.told.halts_until_other_than(ends)
        {
            return Ok(());
        }
        let was = account.told.state.clone();
        let fields = AboutFields { waba_id: Some(key.to_string()), ..AboutFields::default() };
        let about = About { fields, event_time: cause.event_time };
        let turn = Turn {
            halts,
            resumes: !halts,
            halt: ActionKind::HaltAccount,
            resume: ActionKind::ResumeAccount,
            subject: key.to_string(),
            ends,
            cause,
            about: about.clone(),
        };
        self.turn(&mut account.told, state.as_str(), turn)?;
        if state == AccountState::Active || was.as_deref() == Some(state.as_str()) {
            return Ok(());
        }
        self.warn(AlertKind::AccountState, key.to_string(), state.as_str(), cause, &about)
    }

    /// What follows from the shown state of a number, by how it is displayed.
    pub(super) fn line_follows(
        &mut self,
        key: &WabaId,
        account: &mut Account,
        digits: &str,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let log_time = self.place.log_time;
        let Some(line) = account.facts.lines.get(digits) else { return Ok(()) };
        let state = line.standing.state(log_time);
        let halts = line.standing.restrictions.forbid_messages(log_time);
        let told = account.lines_told.get(digits);
        let was = told.and_then(|told| told.state.clone());
        let halted = told.is_some_and(|told| told.halt.is_some());
        let ends = line.standing.restrictions.messages_end(log_time);
        let is_other = told.is_some_and(|told| told.halts_until_other_than(ends));
        let is_new = was.as_deref() != Some(state.as_str());
        if !is_new && halted == halts && !is_other {
            return Ok(());
        }
        if is_new {
            // It may be new by itself, and what came now has taught nothing.
            self.line_rows(&line.number_ids, &line.standing)?;
        }
        let id = line.number_ids.first();
        let about = number_about(key, digits, id, cause.event_time);
        let subject = line_key(key, digits, id);
        let turn = Turn {
            halts,
            resumes: !halts,
            halt: ActionKind::HaltNumber,
            resume: ActionKind::ResumeNumber,
            subject: subject.clone(),
            ends,
            cause,
            about: about.clone(),
        };
        self.turn(account.lines_told.entry(digits.to_owned()).or_default(), state.as_str(), turn)?;
        if state == NumberState::Active || !is_new {
            return Ok(());
        }
        self.warn(AlertKind::NumberState, subject, state.as_str(), cause, &about)
    }

    /// What follows from an account event for what it is, whatever the state.
    pub(super) fn account_event_follows(
        &mut self,
        key: &WabaId,
        event: &str,
        said: Said,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let (kind, reason) = match event {
            "ACCOUNT_VIOLATION" => (AlertKind::AccountViolation, said.reason),
            "review"
                if said.new_value.as_deref().is_some_and(|decision| decision != "APPROVED") =>
            {
                (AlertKind::AccountReview, said.new_value)
            }
            _ => return Ok(()),
        };
        let fields = AboutFields { waba_id: Some(key.to_string()), ..AboutFields::default() };
        let about = About { fields, event_time: cause.event_time };
        let reason = reason.unwrap_or_else(|| UNKNOWN.to_owned());
        self.warn(kind, key.to_string(), &reason, cause, &about)
    }

    /// A limit, of a number or of the account, that is less than before.
    pub(super) fn limit_follows(
        &mut self,
        key: &WabaId,
        number: Option<(&str, Option<&PhoneNumberId>)>,
        old: Option<String>,
        new: Option<String>,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
        let sizes = limit_size(&old).zip(limit_size(&new));
        if sizes.is_none_or(|(old, new)| new >= old) {
            return Ok(());
        }
        let (subject, about) = match number {
            Some((digits, id)) => {
                (line_key(key, digits, id), number_about(key, digits, id, cause.event_time))
            }
            None => {
                let waba_id = Some(key.to_string());
                let fields = AboutFields { waba_id, ..AboutFields::default() };
                (key.to_string(), About { fields, event_time: cause.event_time })
            }
        };
        self.warn(AlertKind::LimitFell, subject, &new, cause, &about)
    }

    /// An event of a number that deserves a human for what it is: somebody did something to its PIN,
    /// a name was refused or a username taken away.
    pub(super) fn number_follows(
        &mut self,
        kind: AlertKind,
        key: &WabaId,
        (digits, id): (&str, Option<&PhoneNumberId>),
        event: &str,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let about = number_about(key, digits, id, cause.event_time);
        self.warn(kind, line_key(key, digits, id), event, cause, &about)
    }

    /// The pause of a template ended, if nothing changed it meanwhile.
    pub(super) fn template_due(
        &mut self,
        key: TemplateKey,
        due: Timestamp,
    ) -> Result<(), SourceError> {
        let known = self.overlay.templates.take(&key, |key| self.below.template(key))?;
        let Some(mut template) = known else { return Ok(()) };
        self.pause_ended(&key, &mut template, due)?;
        self.overlay.templates.put(&key, Some(template));
        Ok(())
    }

    /// It is halted, and what is shown of it allows sending by now: a flag does once the pause is over.
    fn may_go_on(&self, template: &Template) -> bool {
        template.told.halt.is_some() && template.facts.allows_sending(self.place.log_time)
    }

    /// Tells that a pause ended, if that was not told.
    fn pause_ended(
        &mut self,
        key: &TemplateKey,
        template: &mut Template,
        due: Timestamp,
    ) -> Result<(), SourceError> {
        let status = template.facts.status(self.place.log_time).unwrap_or(UNKNOWN).to_owned();
        if template.told.state.as_ref() != Some(&status) {
            let change = Change::of_template(key, "pause_ended", &status);
            self.management_transition(Change { time: Some(due), ..change }, &mut template.told);
        } else if !self.may_go_on(template) {
            return Ok(());
        }
        template.journal = self.journal(Some(template.journal));
        self.dirty.templates.insert(key.clone());
        let cause = format!("pause_ended:{}@{}", template_key_text(key), seconds(due));
        let cause = Cause { key: &cause, event_time: Some(due) };
        self.template_follows(key, template, true, cause)
    }

    /// Before something is learned of a template: its pause may be over, and the timer that says so comes
    /// behind what this record brings.
    pub(super) fn template_overdue(
        &mut self,
        key: &TemplateKey,
        template: &mut Template,
    ) -> Result<(), SourceError> {
        let ended = template.facts.pause_ends().filter(|end| *end <= self.place.log_time);
        ended.map_or(Ok(()), |due| self.pause_ended(key, template, due))
    }

    /// Something of an account may have changed by itself.
    pub(super) fn account_due(&mut self, key: WabaId, due: Timestamp) -> Result<(), SourceError> {
        let known = self.overlay.accounts.take(&key, |key| self.below.account(key))?;
        let Some(mut account) = known else { return Ok(()) };
        let log_time = self.place.log_time;
        let cause = format!("due:{key}@{}", seconds(due));
        let cause = Cause { key: &cause, event_time: Some(due) };
        let state = account.facts.state(log_time);
        if account.told.state.as_deref().is_some_and(|told| told != state.as_str()) {
            let word = by_itself(state == AccountState::Disabled);
            let change = Change::of_account(&key, word, state.as_str());
            self.management_transition(Change { time: Some(due), ..change }, &mut account.told);
        }
        if account.told.state.is_some() {
            self.account_follows(&key, &mut account, cause)?;
        }
        let lines: Vec<String> = account.lines_told.keys().cloned().collect();
        for digits in lines {
            self.line_due(&key, &mut account, &digits, cause)?;
        }
        self.rate_due(&key, &account, due)?;
        self.missing_fields(&key, &account)?;
        if let Some(next) = account.facts.next_change(log_time) {
            self.arm_at(next, TimerKind::AccountDue(key.clone()));
        }
        self.account_looked_at(&key, &mut account);
        self.overlay.accounts.put(&key, Some(account));
        Ok(())
    }

    /// What ended by itself is new rows.
    fn account_looked_at(&mut self, key: &WabaId, account: &mut Account) {
        use super::management::AccountPart;
        let ended = account
            .facts
            .restrictions
            .imposed
            .iter()
            .filter(|(_, imposed)| imposed.expires.is_some_and(|at| at <= self.place.log_time));
        let mut parts: Vec<_> =
            ended.map(|(kind, _)| AccountPart::Restriction(kind.clone())).collect();
        parts.push(AccountPart::Itself);
        account.journal.revision = self.place.offset;
        self.dirty.accounts.extend(parts.into_iter().map(|part| (key.clone(), part)));
    }

    fn line_due(
        &mut self,
        key: &WabaId,
        account: &mut Account,
        digits: &str,
        cause: Cause<'_>,
    ) -> Result<(), SourceError> {
        let Some(line) = account.facts.lines.get(digits) else { return Ok(()) };
        let log_time = self.place.log_time;
        let state = line.standing.state(log_time);
        let told = account.lines_told.entry(digits.to_owned()).or_default();
        if told.state.as_deref() != Some(state.as_str()) {
            let change = Change::of_line(key, digits, line, by_itself(false), log_time);
            self.management_transition(Change { time: cause.event_time, ..change }, told);
        }
        // Each restriction has a row, whatever the others leave of the state.
        let is_over = |at: Timestamp| cause.event_time <= Some(at) && at <= log_time;
        let mut imposed = line.standing.restrictions.imposed.values();
        if imposed.any(|imposed| imposed.expires.is_some_and(is_over)) {
            self.line_rows(&line.number_ids, &line.standing)?;
        }
        self.line_follows(key, account, digits, cause)
    }

    /// The rows of the numbers that are displayed so are to be written.
    fn line_rows<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a PhoneNumberId>,
        standing: &Standing,
    ) -> Result<(), SourceError> {
        for id in ids {
            self.overlay.numbers.entry(id, |key| self.below.number(key))?;
            self.number_rows(id, standing);
        }
        Ok(())
    }

    /// Rates of international authentication begin. The timer may have waited for something that was
    /// due before, and the next one is armed for what is due after this record.
    fn rate_due(
        &mut self,
        key: &WabaId,
        account: &Account,
        due: Timestamp,
    ) -> Result<(), SourceError> {
        let start = account.facts.rates.as_ref().and_then(|rates| rates.start);
        let is_due = |start: &Timestamp| due <= *start && *start <= self.place.log_time;
        let Some(start) = start.filter(is_due) else { return Ok(()) };
        let fields = AboutFields { waba_id: Some(key.to_string()), ..AboutFields::default() };
        let about = About { fields, event_time: Some(start) };
        let cause = format!("rate:{key}@{}", seconds(start));
        let cause = Cause { key: &cause, event_time: Some(start) };
        let word = "authentication_international";
        self.warn(AlertKind::RateBegins, key.to_string(), word, cause, &about)
    }

    /// Notes the new state, and asks for a halt or takes one back.
    fn turn(&mut self, told: &mut Told, state: &str, turn: Turn<'_>) -> Result<(), SourceError> {
        told.state = Some(state.to_owned());
        let Turn { halts, resumes, halt, resume, subject, ends, cause, about } = turn;
        let cause = cause.key.to_owned();
        if halts {
            let terms = Terms { not_after: ends, ..Terms::default() };
            let action = Action { kind: halt, subject, cause, terms };
            let id = action.id();
            if self.act(action, &about)? {
                (told.halt, told.halt_ends) = (Some(id), ends);
            }
        } else if resumes && let Some(halt) = told.halt.take() {
            told.halt_ends = None;
            let terms = Terms { supersedes: Some(halt), ..Terms::default() };
            self.act(Action { kind: resume, subject, cause, terms }, &about)?;
        }
        Ok(())
    }

    pub(super) fn warn(
        &mut self,
        kind: AlertKind,
        subject: String,
        reason: &str,
        cause: Cause<'_>,
        about: &About,
    ) -> Result<(), SourceError> {
        let (cause, reason) = (cause.key.to_owned(), Some(reason.to_owned()));
        let action_id: Option<ActionId> = None;
        self.alert(Alert { kind, subject, cause, reason, action_id }, about)
    }
}

/// The word of a transition that no webhook made.
fn by_itself(banned: bool) -> &'static str {
    if banned { "ban_date_reached" } else { "restriction_ended" }
}

fn template_subject(key: &TemplateKey) -> String {
    format!("{}/{}", key.waba_id, key.template_id)
}

fn template_about(
    key: &TemplateKey,
    facts: &TemplateFacts,
    event_time: Option<Timestamp>,
) -> About {
    let fields = AboutFields {
        waba_id: Some(key.waba_id.to_string()),
        template: Some(key.template_id.to_string()),
        template_name: facts.name().map(str::to_owned),
        template_language: Some(key.language.clone()).filter(|language| !language.is_empty()),
        ..AboutFields::default()
    };
    About { fields, event_time }
}

fn number_about(
    key: &WabaId,
    digits: &str,
    id: Option<&PhoneNumberId>,
    event_time: Option<Timestamp>,
) -> About {
    let fields = AboutFields {
        waba_id: Some(key.to_string()),
        phone_number_id: id.map(ToString::to_string),
        display_phone_number: Some(digits.to_owned()),
        ..AboutFields::default()
    };
    About { fields, event_time }
}

fn seconds(time: Timestamp) -> i64 {
    time.as_millis() / 1_000
}
