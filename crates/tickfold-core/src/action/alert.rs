//! Alerts: what a human should look at, how urgent it is, and what to do next.

/// What an alert is about. Words are appended, never reused: they are part of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertKind {
    /// An error code that a human is to look at, by the rules.
    ErrorCode,
    /// A fallback would have been due, but too late.
    FallbackExpired,
    /// Actions of a kind came too late, such as after an outage.
    ActionExpired,
    /// A template may no longer be sent, or not for now.
    TemplateStatus,
    /// An account may no longer send, or not everything.
    AccountState,
    /// Statuses of equal evidence named different prices.
    PricingConflict,
    /// The quality of a template fell.
    TemplateQuality,
    /// The category of a template changes, and with it its price.
    TemplateCategory,
    /// A number may no longer send, or not everything, or its quality is low.
    NumberState,
    /// The limit of a number or of an account fell.
    LimitFell,
    /// A name or a username was refused or taken away.
    NumberName,
    /// Somebody changed the PIN of a number, or asked to.
    Security,
    /// Meta found a violation of its policy.
    AccountViolation,
    /// Meta's review of an account did not approve it.
    AccountReview,
    /// What Meta itself calls an alert.
    AccountAlert,
    /// Meta lost the content of a webhook, or does not send it.
    ContentLost,
    /// A field, type or word that nobody has told us of came for the first time.
    UnknownWord,
    /// A number is silent while others of its account are not.
    NumberSilent,
    /// Fields of an account never came: they may not be subscribed.
    SubscriptionMissing,
    /// A flow is blocked, throttled, slow, failing or about to expire.
    Flow,
    /// A payment configuration does not work.
    PaymentConfiguration,
    /// Rates of international authentication begin.
    RateBegins,
}

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    Warning,
    /// Messages are lost or refused, or somebody may be breaking in: now.
    Critical,
}

impl Severity {
    /// The word of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The code of content that Meta could not keep for us: what was in it will not come again.
const CONTENT_LOST: i64 = 131_035;

impl AlertKind {
    /// What an error code is told as.
    pub(crate) fn of_code(code: Option<i64>) -> Self {
        if code == Some(CONTENT_LOST) { Self::ContentLost } else { Self::ErrorCode }
    }

    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::ErrorCode,
        Self::FallbackExpired,
        Self::ActionExpired,
        Self::TemplateStatus,
        Self::AccountState,
        Self::PricingConflict,
        Self::TemplateQuality,
        Self::TemplateCategory,
        Self::NumberState,
        Self::LimitFell,
        Self::NumberName,
        Self::Security,
        Self::AccountViolation,
        Self::AccountReview,
        Self::AccountAlert,
        Self::ContentLost,
        Self::UnknownWord,
        Self::NumberSilent,
        Self::SubscriptionMissing,
        Self::Flow,
        Self::PaymentConfiguration,
        Self::RateBegins,
    ];

    /// The word of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrorCode => "error_code",
            Self::FallbackExpired => "fallback_expired",
            Self::ActionExpired => "action_expired",
            Self::TemplateStatus => "template_status",
            Self::AccountState => "account_state",
            Self::PricingConflict => "pricing_conflict",
            Self::TemplateQuality => "template_quality",
            Self::TemplateCategory => "template_category",
            Self::NumberState => "number_state",
            Self::LimitFell => "limit_fell",
            Self::NumberName => "number_name",
            Self::Security => "security",
            Self::AccountViolation => "account_violation",
            Self::AccountReview => "account_review",
            Self::AccountAlert => "account_alert",
            Self::ContentLost => "content_lost",
            Self::UnknownWord => "unknown_word",
            Self::NumberSilent => "number_silent",
            Self::SubscriptionMissing => "subscription_missing",
            Self::Flow => "flow",
            Self::PaymentConfiguration => "payment_configuration",
            Self::RateBegins => "rate_begins",
        }
    }

    /// How urgent it is, given Meta's word or ours for what happened.
    pub fn severity(self, reason: Option<&str>) -> Severity {
        match self {
            Self::Security | Self::ContentLost => Severity::Critical,
            Self::TemplateStatus | Self::AccountState | Self::NumberState => match reason {
                Some("DISABLED" | "disabled" | "offboarded" | "deleted" | "disconnected") => {
                    Severity::Critical
                }
                Some("PAUSED" | "restricted") => Severity::Critical,
                Some(_) | None => Severity::Warning,
            },
            Self::TemplateQuality => match reason {
                Some("RED") => Severity::Critical,
                Some(_) | None => Severity::Warning,
            },
            Self::AccountAlert => match reason {
                Some("critical") => Severity::Critical,
                Some("warning") => Severity::Warning,
                Some(_) | None => Severity::Info,
            },
            Self::ErrorCode
            | Self::FallbackExpired
            | Self::ActionExpired
            | Self::PricingConflict
            | Self::TemplateCategory
            | Self::LimitFell
            | Self::NumberName
            | Self::AccountViolation
            | Self::AccountReview
            | Self::NumberSilent
            | Self::Flow
            | Self::PaymentConfiguration => Severity::Warning,
            Self::UnknownWord | Self::SubscriptionMissing | Self::RateBegins => Severity::Info,
        }
    }

    /// What to do next.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::ErrorCode => "look the code up and decide; the rules say what happens to it",
            Self::FallbackExpired => "reach the customer another way, if it still matters",
            Self::ActionExpired => {
                "find out why webhooks came so late; what was due then is not done"
            }
            Self::TemplateStatus => {
                "stop campaigns that use the template; correct it or appeal in WhatsApp Manager"
            }
            Self::AccountState => {
                "stop sending from the account; see its status in WhatsApp Manager and appeal"
            }
            Self::PricingConflict => "compare both statuses of the message before you pay for it",
            Self::TemplateQuality => {
                "send it to fewer customers or change it: a pause follows low quality"
            }
            Self::TemplateCategory => "ask for a review within the time given, or expect its price",
            Self::NumberState => "slow down or stop sending from the number, and see its quality",
            Self::LimitFell => "fit campaigns to the new limit: what exceeds it is refused",
            Self::NumberName => "ask for a name that Meta approves",
            Self::Security => "if nobody of yours did it, secure the account now",
            Self::AccountViolation => "read the policy that is named, and stop what violates it",
            Self::AccountReview => "see what Meta asks for in Business Manager",
            Self::AccountAlert => "read Meta's text and do what it asks for",
            Self::ContentLost => {
                "ask the customers again: what they wrote will not come a second time"
            }
            Self::UnknownWord => "read the event: Meta added something that is not folded yet",
            Self::NumberSilent => "send a message to the number and see whether it arrives",
            Self::SubscriptionMissing => {
                "subscribe the app to the fields of the account that never came"
            }
            Self::Flow => "open the flow in WhatsApp Manager; see your endpoint if it is named",
            Self::PaymentConfiguration => "connect the payment provider again",
            Self::RateBegins => "reckon with the rates of international authentication from now on",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_every_kind_says_what_to_do() {
        let mut words: Vec<_> = AlertKind::ALL.iter().map(|kind| kind.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), AlertKind::ALL.len());
        assert!(AlertKind::ALL.iter().all(|kind| kind.next_step().len() > 20));
    }

    #[test]
    fn the_reason_decides_how_urgent_it_is() {
        let severity = |kind: AlertKind, reason| kind.severity(Some(reason));
        assert_eq!(severity(AlertKind::TemplateStatus, "PAUSED"), Severity::Critical);
        assert_eq!(severity(AlertKind::TemplateStatus, "REJECTED"), Severity::Warning);
        assert_eq!(severity(AlertKind::TemplateQuality, "RED"), Severity::Critical);
        assert_eq!(severity(AlertKind::TemplateQuality, "YELLOW"), Severity::Warning);
        assert_eq!(severity(AlertKind::AccountAlert, "informational"), Severity::Info);
    }
}
