//! Counts of rows, for comparisons: with another store, or with another program that should keep as
//! much.

use tickfold_core::state::{Message, TimerKind};

use crate::codec::Persist as _;
use crate::key::{self, Family};
use crate::tables::{Rows, Tables};
use crate::{Census, Error};

/// Rows read at a time.
const SCAN_ROWS: usize = 1_000;

/// Families whose rows are one kind each. Messages and timers are looked into.
const COUNTED: [(Family, &str); 19] = [
    (Family::Conversation, "conversations"),
    (Family::Template, "templates"),
    (Family::Account, "accounts"),
    (Family::Number, "numbers"),
    (Family::User, "users"),
    (Family::Call, "calls"),
    (Family::Group, "groups"),
    (Family::Payment, "payments"),
    (Family::Natural, "naturals"),
    (Family::Decided, "decided"),
    (Family::Regime, "regime"),
    (Family::ChargeTotal, "totals"),
    (Family::MessageOfConversation, "lists.messages_of_conversation"),
    (Family::MessageOfNumber, "lists.messages_of_number"),
    (Family::MessageOfTrace, "lists.messages_of_trace"),
    (Family::MessageOfLabel, "lists.messages_of_label"),
    (Family::TemplateListed, "lists.templates"),
    (Family::AccountListed, "lists.accounts"),
    (Family::NumberListed, "lists.numbers"),
];

/// Everything but what a store says of itself.
pub(crate) fn of<R: Rows + ?Sized>(tables: Tables<'_, R>) -> Result<Census, Error> {
    let mut census = Census::new();
    let mut add = |kind, more: usize| {
        if more > 0 {
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            let count: &mut u64 = census.entry(kind).or_default();
            *count = count.saturating_add(more);
        }
    };
    for (family, kind) in COUNTED {
        each(tables, family, |_, _| {
            add(kind, 1);
            Ok(())
        })?;
    }
    each(tables, Family::Message, |_, value| {
        let message = tables.read(Message::decode(value))?;
        add("messages", 1);
        add("history", message.history.len());
        add("charged", message.charged.len());
        Ok(())
    })?;
    each(tables, Family::Timer, |key, _| {
        add(timer(&tables.read(key::parse_timer(key))?.kind), 1);
        Ok(())
    })?;
    Ok(census)
}

fn each<R: Rows + ?Sized>(
    tables: Tables<'_, R>,
    family: Family,
    mut row: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let (from, until) = family.bounds();
    let mut from = from.to_vec();
    loop {
        let found = tables.rows.scan(&from, &until, SCAN_ROWS)?;
        for (key, value) in &found {
            row(key, value)?;
        }
        let Some((last, _)) = found.into_iter().last() else { return Ok(()) };
        from = key::after(last);
    }
}

fn timer(kind: &TimerKind) -> &'static str {
    match kind {
        TimerKind::ExpireMessage(_) => "timers.expire_message",
        TimerKind::ExpireConversation(_) => "timers.expire_conversation",
        TimerKind::ExpireNatural(_) => "timers.expire_natural",
        TimerKind::CloseWindow(_) => "timers.close_window",
        TimerKind::EndFreeEntry(_) => "timers.end_free_entry",
        TimerKind::ExpireCall(_) => "timers.expire_call",
        TimerKind::ExpirePayment(_) => "timers.expire_payment",
        TimerKind::DeliveryDeadline(_) => "timers.delivery_deadline",
        TimerKind::OfferResend(_) => "timers.offer_resend",
        TimerKind::ForgetDecided(_) => "timers.forget_decided",
        TimerKind::TemplateDue(_) => "timers.template_due",
        TimerKind::AccountDue(_) => "timers.account_due",
        TimerKind::SilenceDue(_) => "timers.silence_due",
    }
}
