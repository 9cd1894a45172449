//! Timers: what happens because log time passed.

use super::Run;
use crate::ids::{CallId, ConversationKey, NaturalKey, Participant, PaymentKey, Wamid};
use crate::overlay::{Layered, Source, SourceError};
#[cfg(feature = "planted-bugs")]
use crate::planted::planted;
use crate::state::{TimerKey, TimerKind};
use crate::time::Timestamp;

/// How many timers fire in one record; the rest fire in the next one, so that a long silence cannot
/// make one record's commit arbitrarily large.
const TIMERS_MAX: usize = 1_000;

impl<S: Source + ?Sized> Run<'_, S> {
    /// Fires timers due at or before log time, in their order.
    pub(super) fn fire_timers(&mut self) -> Result<(), SourceError> {
        for _ in 0..TIMERS_MAX {
            let layered = Layered { upper: &*self.overlay, lower: self.below };
            let Some(timer) = layered.next_timer(None)? else { break };
            if timer.due > self.place.log_time || self.is_full() {
                break;
            }
            self.overlay.fired = Some(timer.clone());
            self.overlay.timers.insert(timer.clone(), false);
            self.fire(timer)?;
        }
        Ok(())
    }

    fn fire(&mut self, timer: TimerKey) -> Result<(), SourceError> {
        match timer.kind {
            TimerKind::ExpireMessage(wamid) => self.expire_message(wamid),
            TimerKind::ExpireConversation(key) => self.expire_conversation(key),
            TimerKind::ExpireNatural(key) => self.expire_natural(key),
            TimerKind::DeliveryDeadline(wamid) => self.miss_deadline(wamid),
            TimerKind::OfferResend(wamid) => self.offer_resend(wamid),
            TimerKind::ForgetDecided(id) => self.forget_decided(id),
            TimerKind::CloseWindow(key) => self.close_window(key),
            TimerKind::EndFreeEntry(key) => self.end_free_entry(key),
            TimerKind::ExpireCall(id) => self.expire_call(id),
            TimerKind::ExpirePayment(key) => self.expire_payment(key),
            TimerKind::TemplateDue(key) => self.template_due(key, timer.due),
            TimerKind::AccountDue(key) => self.account_due(key, timer.due),
            TimerKind::SilenceDue(key) => self.silence_due(key),
        }
    }

    /// Expiry is armed once, when the entity appears, and looks again at the last change when it
    /// fires: a change costs no timer write.
    fn expired(&self, changed: Timestamp) -> bool {
        let expires = changed.plus(self.rules.retention_ms());
        #[cfg(feature = "planted-bugs")]
        if planted!(ExpiryByWallClock) {
            return expires.as_millis() <= crate::planted::ambient().wall_ms;
        }
        expires <= self.place.log_time
    }

    fn expire_message(&mut self, wamid: Wamid) -> Result<(), SourceError> {
        let entry = self.overlay.messages.take(&wamid, |key| self.below.message(key))?;
        let Some(message) = entry else { return Ok(()) };
        if !self.expired(message.journal.changed) {
            self.arm(message.journal.changed, TimerKind::ExpireMessage(wamid.clone()));
            self.overlay.messages.put(&wamid, Some(message));
            return Ok(());
        }
        // What was only done to a message that never came has no row to take back.
        if message.facts.has_appeared() {
            self.dirty.messages.insert((wamid.clone(), Participant::whole()));
        }
        for participant in message.facts.receipts.into_iter().map(|(participant, _)| participant) {
            self.dirty.messages.insert((wamid.clone(), participant));
        }
        Ok(())
    }

    fn expire_conversation(&mut self, key: ConversationKey) -> Result<(), SourceError> {
        let entry = self.overlay.conversations.entry(&key, |key| self.below.conversation(key))?;
        let changed = entry.as_ref().map(|conversation| conversation.journal.changed);
        let Some(changed) = changed else { return Ok(()) };
        if !self.expired(changed) {
            self.arm(changed, TimerKind::ExpireConversation(key));
            return Ok(());
        }
        self.overlay.conversations.put(&key, None);
        self.dirty.conversations.insert(key);
        Ok(())
    }

    fn expire_call(&mut self, id: CallId) -> Result<(), SourceError> {
        let entry = self.overlay.calls.entry(&id, |key| self.below.call(key))?;
        let Some(changed) = entry.as_ref().map(|call| call.journal.changed) else { return Ok(()) };
        if self.expired(changed) {
            self.overlay.calls.put(&id, None);
        } else {
            self.arm(changed, TimerKind::ExpireCall(id));
        }
        Ok(())
    }

    fn expire_payment(&mut self, key: PaymentKey) -> Result<(), SourceError> {
        let entry = self.overlay.payments.entry(&key, |key| self.below.payment(key))?;
        let changed = entry.as_ref().map(|payment| payment.journal.changed);
        let Some(changed) = changed else { return Ok(()) };
        if self.expired(changed) {
            self.overlay.payments.put(&key, None);
        } else {
            self.arm(changed, TimerKind::ExpirePayment(key));
        }
        Ok(())
    }

    fn expire_natural(&mut self, key: NaturalKey) -> Result<(), SourceError> {
        *self.overlay.naturals.entry(&key, |key| self.below.natural(key))? = None;
        Ok(())
    }
}
