//! Timers: what happens because log time passed.

use super::Run;
use crate::ids::{ConversationKey, NaturalKey, Participant, Wamid};
use crate::overlay::{Layered, Source, SourceError};
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
        }
    }

    /// Expiry is armed once, when the entity appears, and looks again at the last change when it
    /// fires: a change costs no timer write.
    fn expired(&self, changed: Timestamp) -> bool {
        changed.plus(super::RETENTION_MS) <= self.place.log_time
    }

    fn expire_message(&mut self, wamid: Wamid) -> Result<(), SourceError> {
        let entry = self.overlay.messages.entry(&wamid, |key| self.below.message(key))?;
        let Some(message) = entry.clone() else { return Ok(()) };
        if !self.expired(message.journal.changed) {
            self.arm(message.journal.changed, TimerKind::ExpireMessage(wamid));
            return Ok(());
        }
        self.dirty.messages.insert((wamid.clone(), Participant::whole()));
        for participant in message.facts.receipts.into_keys() {
            self.dirty.messages.insert((wamid.clone(), participant));
        }
        *self.overlay.messages.entry(&wamid, |key| self.below.message(key))? = None;
        Ok(())
    }

    fn expire_conversation(&mut self, key: ConversationKey) -> Result<(), SourceError> {
        let entry = self.overlay.conversations.entry(&key, |key| self.below.conversation(key))?;
        let Some(conversation) = entry.clone() else { return Ok(()) };
        if !self.expired(conversation.journal.changed) {
            self.arm(conversation.journal.changed, TimerKind::ExpireConversation(key));
            return Ok(());
        }
        *self.overlay.conversations.entry(&key, |key| self.below.conversation(key))? = None;
        self.dirty.conversations.insert(key);
        Ok(())
    }

    fn expire_natural(&mut self, key: NaturalKey) -> Result<(), SourceError> {
        *self.overlay.naturals.entry(&key, |key| self.below.natural(key))? = None;
        Ok(())
    }
}
