//! Conversations: windows, first contact, counts.

use super::Run;
use crate::ids::{ConversationKey, PartyId, PhoneNumberId, WabaId};
use crate::overlay::{Source, SourceError};
use crate::records::TransitionRecord;
use crate::state::{Conversation, ConversationFacts, Direction, TimerKey, TimerKind, WindowState};
use crate::time::Timestamp;

/// Where a message counts.
pub(super) type Place = Option<(ConversationKey, Direction)>;

impl<S: Source + ?Sized> Run<'_, S> {
    /// Counts are Σ g(facts) over messages, moved by g(new) − g(old): a message counts once in the
    /// conversation and direction that its facts show, and moves when they do.
    pub(super) fn move_counts(
        &mut self,
        old: Place,
        new: Place,
        waba_id: &Option<WabaId>,
    ) -> Result<(), SourceError> {
        if old == new {
            return Ok(());
        }
        if let Some((key, direction)) = old {
            self.conversation(key, None, |conversation| {
                let count = conversation.count_mut(direction);
                *count = count.saturating_sub(1);
                true
            })?;
        }
        if let Some((key, direction)) = new {
            let facts = ConversationFacts { waba_id: waba_id.clone(), ..Default::default() };
            self.conversation(key, None, |conversation| {
                conversation.facts.join(facts);
                let count = conversation.count_mut(direction);
                *count = count.saturating_add(1);
                true
            })?;
        }
        Ok(())
    }

    /// Joins facts into the conversation that an item itself names, if it does.
    pub(super) fn learn_conversation(
        &mut self,
        phone_number_id: Option<PhoneNumberId>,
        party: Option<PartyId>,
        time: Option<Timestamp>,
        facts: ConversationFacts,
    ) -> Result<(), SourceError> {
        let (Some(phone_number_id), Some(party)) = (phone_number_id, party) else {
            return Ok(());
        };
        let key = ConversationKey { phone_number_id, party };
        self.conversation(key, time, |conversation| conversation.facts.join(facts))
    }

    /// Changes a conversation, which appears if it is not there, and tells what follows: first
    /// contact, a window that opens. `change` says whether it changed anything.
    fn conversation(
        &mut self,
        key: ConversationKey,
        time: Option<Timestamp>,
        change: impl FnOnce(&mut Conversation) -> bool,
    ) -> Result<(), SourceError> {
        let before = self.overlay.conversations.take(&key, |key| self.below.conversation(key))?;
        let is_new = before.is_none();
        let mut conversation = before.unwrap_or_else(|| Conversation {
            facts: ConversationFacts::default(),
            inbound_count: 0,
            outbound_count: 0,
            window_told_open: false,
            free_entry_told_open: false,
            journal: self.journal(None),
        });
        let contacted = conversation.facts.contacted;
        let changed = change(&mut conversation);
        // A conversation whose last message moved away was never one: the identifiers came late.
        let is_gone = conversation.is_empty();
        if !changed || (is_new && is_gone) {
            self.overlay.conversations.put(&key, (!is_new).then_some(conversation));
            return Ok(());
        }
        conversation.journal = self.journal((!is_new).then_some(conversation.journal));
        if !contacted && conversation.facts.contacted {
            self.conversation_transition(&key, &conversation, None, "first_contact", time);
        }
        self.open_windows(&key, &mut conversation, time);
        if is_new {
            self.arm(conversation.journal.changed, TimerKind::ExpireConversation(key.clone()));
        }
        self.overlay.conversations.put(&key, (!is_gone).then_some(conversation));
        self.dirty.conversations.insert(key);
        Ok(())
    }

    /// Tells of a window that is open now and was not told to be, and arms the timer that tells of
    /// its end. A renewal moves the end and tells nothing.
    fn open_windows(
        &mut self,
        key: &ConversationKey,
        conversation: &mut Conversation,
        time: Option<Timestamp>,
    ) {
        let log_time = self.place.log_time;
        if !conversation.window_told_open
            && conversation.facts.window(log_time) == WindowState::Open
            && let Some(due) = conversation.facts.window_expires()
        {
            conversation.window_told_open = true;
            self.arm_close(key, due);
            self.conversation_transition(key, conversation, Some("closed"), "window_opened", time);
        }
        if !conversation.free_entry_told_open
            && conversation.facts.free_entry(log_time) == WindowState::Open
            && let Some(due) = conversation.facts.free_entry_expires
        {
            conversation.free_entry_told_open = true;
            self.arm_at(due, TimerKind::EndFreeEntry(key.clone()));
            let word = "free_entry_opened";
            self.conversation_transition(key, conversation, Some("closed"), word, time);
        }
    }

    /// From when on a window with such an end is told to be closing, if it is.
    fn closes_from(&self, due: Timestamp) -> Option<Timestamp> {
        self.rules.window_closing_ms().map(|before_ms| due.plus(-before_ms))
    }

    /// Arms the timer of a window: for when it begins to close, else for its end.
    fn arm_close(&mut self, key: &ConversationKey, due: Timestamp) {
        let next = self.place.log_time.plus(1);
        let at = self.closes_from(due).map_or(due, |from| from.max(next).min(due));
        self.arm_at(at, TimerKind::CloseWindow(key.clone()));
    }

    /// The customer service window is about to close, or has closed: if it was renewed meanwhile,
    /// the timer waits for the new end.
    pub(super) fn close_window(&mut self, key: ConversationKey) -> Result<(), SourceError> {
        let told = self.overlay.conversations.take(&key, |key| self.below.conversation(key))?;
        let Some(mut conversation) = told else { return Ok(()) };
        match conversation.facts.window_expires() {
            Some(due) if due > self.place.log_time => {
                match self.closes_from(due).filter(|from| *from <= self.place.log_time) {
                    // The same timer comes once more, at the end itself.
                    Some(from) => {
                        let (word, from) = ("window_closing", Some(from));
                        self.conversation_transition(&key, &conversation, Some("open"), word, from);
                        self.arm_at(due, TimerKind::CloseWindow(key.clone()));
                    }
                    None => self.arm_close(&key, due),
                }
            }
            expired => {
                conversation.window_told_open = false;
                let word = "window_closed";
                self.conversation_transition(&key, &conversation, Some("open"), word, expired);
                self.changed_by_timer(&key, &mut conversation);
            }
        }
        self.overlay.conversations.put(&key, Some(conversation));
        Ok(())
    }

    /// The free entry point may have ended, likewise.
    pub(super) fn end_free_entry(&mut self, key: ConversationKey) -> Result<(), SourceError> {
        let told = self.overlay.conversations.take(&key, |key| self.below.conversation(key))?;
        let Some(mut conversation) = told else { return Ok(()) };
        match conversation.facts.free_entry_expires {
            Some(due) if due > self.place.log_time => {
                self.arm_at(due, TimerKind::EndFreeEntry(key.clone()));
            }
            expired => {
                conversation.free_entry_told_open = false;
                let word = "free_entry_ended";
                self.conversation_transition(&key, &conversation, Some("open"), word, expired);
                self.changed_by_timer(&key, &mut conversation);
            }
        }
        self.overlay.conversations.put(&key, Some(conversation));
        Ok(())
    }

    /// A window that ends is a new row. It is no change that would keep the conversation from
    /// expiring.
    fn changed_by_timer(&mut self, key: &ConversationKey, conversation: &mut Conversation) {
        conversation.journal.revision = self.place.offset;
        self.dirty.conversations.insert(key.clone());
    }

    fn conversation_transition(
        &mut self,
        key: &ConversationKey,
        conversation: &Conversation,
        from: Option<&str>,
        to: &str,
        time: Option<Timestamp>,
    ) {
        let Some(source) = self.emit.begin(time) else { return };
        let open = conversation.facts.window(self.place.log_time) == WindowState::Open;
        let text = key.text();
        let record = TransitionRecord {
            key: text.clone(),
            waba_id: conversation.facts.waba_id.as_ref().map(ToString::to_string),
            phone_number_id: Some(key.phone_number_id.to_string()),
            party: Some(key.party.to_string()),
            from: from.map(str::to_owned),
            state: if open { "open" } else { "closed" }.to_owned(),
            ..TransitionRecord::new(source, "conversation", to)
        };
        self.emit.transition(text, &record);
    }

    /// Arms the expiry timer of something that changed at `changed`.
    pub(super) fn arm(&mut self, changed: Timestamp, kind: TimerKind) {
        self.arm_at(changed.plus(self.rules.retention_ms()), kind);
    }

    /// Arms a timer, which is due later than log time.
    pub(super) fn arm_at(&mut self, due: Timestamp, kind: TimerKind) {
        self.overlay.timers.insert(TimerKey { due, kind }, true);
    }
}

impl Conversation {
    fn is_empty(&self) -> bool {
        self.inbound_count == 0 && self.outbound_count == 0 && self.facts.is_empty()
    }

    fn count_mut(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::Inbound => &mut self.inbound_count,
            Direction::Outbound => &mut self.outbound_count,
        }
    }
}
