//! Timers on log time, and the memory of natural keys.

use crate::action::ActionId;
use crate::ids::{
    CallId, ConversationKey, NaturalKey, PaymentKey, PhoneNumberId, TemplateKey, WabaId, Wamid,
};
use crate::time::Timestamp;

/// A timer: due when log time reaches `due`. Timers fire in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    /// Log time from which on it fires.
    pub due: Timestamp,
    /// What it does, and to what.
    pub kind: TimerKind,
}

/// What a timer does. Variants are appended, never reordered: their order is that of firing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// The message expires if it has not changed for the retention.
    ExpireMessage(Wamid),
    /// The conversation expires likewise.
    ExpireConversation(ConversationKey),
    /// The natural key is forgotten.
    ExpireNatural(NaturalKey),
    /// The customer service window closes, if nothing renewed it.
    CloseWindow(ConversationKey),
    /// The free entry point ends, if nothing renewed it.
    EndFreeEntry(ConversationKey),
    /// The call expires if it has not changed for the retention.
    ExpireCall(CallId),
    /// The payment expires likewise.
    ExpirePayment(PaymentKey),
    /// A delivery should have been told by now.
    DeliveryDeadline(Wamid),
    /// A login code was read, and the customer should have come back.
    OfferResend(Wamid),
    /// The decided action or alert is forgotten.
    ForgetDecided(ActionId),
    /// The pause of a template ends.
    TemplateDue(TemplateKey),
    /// A restriction of an account or of one of its numbers ends, a ban or a rate begins, or the
    /// account should have told of more by now.
    AccountDue(WabaId),
    /// A number should have told of something by now.
    SilenceDue(PhoneNumberId),
}

/// What is kept of an event that was folded: where it came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Natural {
    /// Raw offset of the first record that carried it.
    pub offset: u64,
    /// Log time of that record: expiry counts from here.
    pub changed: Timestamp,
}
