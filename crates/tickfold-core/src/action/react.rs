//! What follows from a failure, a missed deadline, a late delivery and a customer's message, by
//! the rules. Pure: whether it was decided before, and whether it is still time, is the caller's.

use super::{Action, ActionId, ActionKind, Terms};
use crate::rules::{BackOffScope, Directive, HaltScope, Inbound, InboundDirective, Rules};
use crate::time::{HOUR_MS, Timestamp};

/// Who sent what to whom, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sender<'a> {
    /// Account.
    pub waba_id: Option<&'a str>,
    /// Our number's id.
    pub phone_number_id: Option<&'a str>,
    /// The message; `None` for an error of a webhook's value, which names none.
    pub wamid: Option<&'a str>,
    /// Participant of a group message; `None` is the message itself.
    pub participant: Option<&'a str>,
    /// The other side.
    pub recipient: Option<&'a str>,
    /// ISO 3166 code of the other side's country.
    pub country: Option<&'a str>,
    /// Pricing category.
    pub category: Option<&'a str>,
    /// The template: its id where the status named it, else the name that the sender gave as a
    /// label.
    pub template: Option<&'a str>,
    /// The business intent, which the sender gave as a label. Retries and fallbacks of one intent
    /// are counted together; without it each message is an intent of its own.
    pub intent: Option<&'a str>,
}

/// One error code of a failure.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// Of what.
    pub sender: Sender<'a>,
    /// Error code; `None` for a failure without one.
    pub code: Option<i64>,
    /// When it failed; log time where Meta gave no time.
    pub time: Timestamp,
}

/// What follows from something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// To be decided, unless it was.
    Action(Action),
    /// A human is to look at it, unless one was told.
    Alert(AlertCause),
}

/// What an alert is about: the same cause, one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCause {
    /// Account, number or message, the widest that is known.
    pub subject: String,
    /// Natural key.
    pub cause: String,
}

/// What follows from an error code, in the order of the rule.
pub fn on_failure(rules: &Rules, failed: &Failed<'_>) -> Vec<Reaction> {
    let directives = rules.on_code(failed.code, failed.sender.category);
    directives.iter().filter_map(|directive| failed.react(rules, directive)).collect()
}

/// The fallback of a message that failed or missed its deadline at a time, if its category may have
/// one. One and the same however it came to it: a failure and a deadline ask for one fallback.
pub fn fallback(rules: &Rules, sender: &Sender<'_>, since: Timestamp) -> Option<Action> {
    let valid_ms = rules.fallback_valid_ms(sender.waba_id, sender.category)?;
    let (subject, cause) = fallback_key(sender)?;
    let not_after = Some(since.plus(valid_ms));
    let terms = Terms { not_after, ..Terms::default() };
    Some(Action { kind: ActionKind::SmsFallback, subject, cause, terms })
}

/// The id that [`fallback`] has or would have.
pub fn fallback_id(sender: &Sender<'_>) -> Option<ActionId> {
    let (subject, cause) = fallback_key(sender)?;
    Some(ActionId::new(ActionKind::SmsFallback.as_str(), &subject, &cause))
}

pub(super) fn fallback_key(sender: &Sender<'_>) -> Option<(String, String)> {
    let subject = sender.subject()?;
    let cause = format!("undelivered:{subject}");
    Some((subject, cause))
}

/// Remembered as a decision: a message of the intent was delivered, so nothing is asked for any more
/// to reach the customer. `None` without an intent: each message knows of itself.
pub(crate) fn reached_id(sender: &Sender<'_>) -> Option<ActionId> {
    sender.intent?;
    Some(ActionId::new("reached", &sender.subject()?, ""))
}

/// Takes the fallback of the sender's subject back: the message was delivered after all. One of the
/// message alone and one of its intent are two.
pub fn superseded(fallback: &ActionId, sender: &Sender<'_>) -> Option<Action> {
    let message = sender.message()?;
    let cause = match sender.intent {
        Some(_) => format!("delivered:{message}/{}", sender.subject()?),
        None => format!("delivered:{message}"),
    };
    Some(Action {
        kind: ActionKind::FallbackSuperseded,
        cause,
        subject: message,
        terms: Terms { supersedes: Some(fallback.clone()), ..Terms::default() },
    })
}

/// What a customer's message asks for.
pub fn on_inbound(
    rules: &Rules,
    sender: &Sender<'_>,
    inbound: &Inbound<'_>,
    time: Timestamp,
) -> Option<Action> {
    let directive = rules.on_inbound(sender.waba_id, inbound)?;
    let cause = format!("msg:{}", sender.wamid?);
    let action = match directive {
        InboundDirective::Route { queue } => Action {
            kind: ActionKind::Route,
            subject: format!("{}/{}", sender.phone_number_id?, sender.recipient?),
            cause,
            terms: Terms {
                queue: Some(queue.clone()),
                not_after: Some(time.plus(rules.actions_valid_ms())),
                ..Terms::default()
            },
        },
        InboundDirective::SuppressRecipient { category } => {
            suppression(sender, cause, category.clone())?
        }
    };
    Some(action)
}

pub(super) fn suppression(sender: &Sender<'_>, cause: String, category: String) -> Option<Action> {
    Some(Action {
        kind: ActionKind::SuppressRecipient,
        subject: format!("{}/{}", sender.waba_id.unwrap_or("-"), sender.recipient?),
        cause,
        terms: Terms { category: Some(category), ..Terms::default() },
    })
}

impl<'a> Sender<'a> {
    /// The message alone, and with its intent if it has one: which may have come after the first
    /// decision.
    pub(crate) fn with_and_without_intent(self) -> impl Iterator<Item = Sender<'a>> {
        let alone = Sender { intent: None, ..self };
        std::iter::once(alone).chain(self.intent.map(|_| self))
    }

    /// The key of the message in its table.
    pub(super) fn message(&self) -> Option<String> {
        let wamid = self.wamid?;
        Some(match self.participant {
            Some(participant) => format!("{wamid}/{participant}"),
            None => wamid.to_owned(),
        })
    }

    /// What retries and fallbacks are counted by. Of a group each member is one to be reached.
    pub(super) fn subject(&self) -> Option<String> {
        let message = self.message()?;
        let account = self.waba_id.unwrap_or("-");
        Some(match (self.intent, self.participant) {
            (Some(intent), Some(participant)) => format!("intent:{account}/{intent}/{participant}"),
            (Some(intent), None) => format!("intent:{account}/{intent}"),
            (None, _) => message,
        })
    }
}

impl Failed<'_> {
    fn react(&self, rules: &Rules, directive: &Directive) -> Option<Reaction> {
        let sender = &self.sender;
        let action = match directive {
            Directive::AwaitDeadline {} => return None,
            Directive::Alert {} => {
                let (subject, cause) = (self.widest(), self.hourly());
                return Some(Reaction::Alert(AlertCause { subject, cause }));
            }
            Directive::SmsFallback {} => fallback(rules, sender, self.time)?,
            Directive::SendTemplate {} => self.of_message(
                ActionKind::SendTemplate,
                Terms {
                    not_after: Some(self.time.plus(rules.actions_valid_ms())),
                    ..Terms::default()
                },
            )?,
            Directive::ReverifyRecipient {} => {
                self.of_message(ActionKind::ReverifyRecipient, Terms::default())?
            }
            Directive::SuppressRecipient { category } => {
                suppression(sender, self.cause()?, category.clone())?
            }
            Directive::Halt { scope } => self.halt(*scope)?,
            Directive::BackOff { scope, delay } => {
                self.back_off(rules, *scope, delay.as_millis())?
            }
            Directive::Resend { delay, attempts_max } => Action {
                kind: ActionKind::Resend,
                subject: sender.subject()?,
                cause: self.cause()?,
                terms: Terms {
                    attempts_max: Some(*attempts_max),
                    ..self.after(rules, delay.as_millis())
                },
            },
        };
        Some(Reaction::Action(action))
    }

    /// A back-off of one message: others that fail alike have to be sent again as well. Of an
    /// error that names no message, once for as long as it lasts.
    fn back_off(&self, rules: &Rules, scope: BackOffScope, delay_ms: i64) -> Option<Action> {
        let terms = Terms { scope: Some(scope), ..self.after(rules, delay_ms) };
        if self.sender.wamid.is_some() {
            return self.of_message(ActionKind::BackOff, terms);
        }
        let of_number = self.sender.phone_number_id.filter(|_| scope == BackOffScope::Number);
        let subject = of_number.map_or_else(|| self.widest(), str::to_owned);
        Some(Action { kind: ActionKind::BackOff, subject, cause: self.per(delay_ms), terms })
    }

    /// A halt concerns more than the message that met its cause. One is enough for an hour: a
    /// campaign that is refused as a whole asks once, and one that goes on asks again.
    pub(super) fn halt(&self, scope: HaltScope) -> Option<Action> {
        let sender = &self.sender;
        let account = sender.waba_id.unwrap_or("-");
        let subject = match scope {
            HaltScope::Template => match sender.template {
                Some(template) => format!("{account}/{template}"),
                // The sender knows which one this message used.
                None => sender.message()?,
            },
            HaltScope::Number => sender.phone_number_id?.to_owned(),
            HaltScope::Account => sender.waba_id?.to_owned(),
            HaltScope::Country => format!("{account}/{}", sender.country?),
        };
        let kind = ActionKind::of_halt(scope);
        Some(Action { kind, subject, cause: self.hourly(), terms: Terms::default() })
    }

    pub(super) fn of_message(&self, kind: ActionKind, terms: Terms) -> Option<Action> {
        let subject = self.sender.message()?;
        Some(Action { kind, subject, cause: self.cause()?, terms })
    }

    fn after(&self, rules: &Rules, delay_ms: i64) -> Terms {
        let not_before = self.time.plus(delay_ms);
        Terms {
            not_before: Some(not_before),
            not_after: Some(not_before.plus(rules.actions_valid_ms())),
            ..Terms::default()
        }
    }

    /// The failure of the message, whatever its codes: a second code asks for nothing new.
    pub(super) fn cause(&self) -> Option<String> {
        let wamid = self.sender.wamid?;
        Some(match self.sender.participant {
            Some(participant) => format!("st:{wamid}:failed:{participant}"),
            None => format!("st:{wamid}:failed"),
        })
    }

    pub(super) fn hourly(&self) -> String {
        self.per(HOUR_MS)
    }

    /// The code within a stretch of time.
    fn per(&self, ms: i64) -> String {
        let ms = ms.max(1);
        let start = self.time.as_millis().div_euclid(ms) * ms / 1_000;
        let code = self.code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        format!("err:{code}@{start}")
    }

    pub(super) fn widest(&self) -> String {
        let of_message = || self.sender.message();
        let known = self.sender.waba_id.or(self.sender.phone_number_id).map(str::to_owned);
        known.or_else(of_message).unwrap_or_else(|| "-".to_owned())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
