//! What a message is, beside its receipts: its type, media and errors, and what later messages did
//! to it. Text is not kept in state: it is in the event.

use std::collections::BTreeMap;

use super::receipt::{Failures, join_failures, learn_time};
use super::{learn_max, learn_true};
use crate::ids::{PartyId, Wamid};
use crate::time::Timestamp;

/// Facts of a message that itself came in or was echoed to us.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// `type`, as Meta wrote it. `media_placeholder` of the history is none: the type comes later.
    pub message_type: Option<String>,
    /// `context.id`: the message it answers.
    pub reply_to: Option<String>,
    /// The message that it edits, revokes or reacts to.
    pub target: Option<Wamid>,
    /// Who wrote it, in a group.
    pub sender: Option<PartyId>,
    /// It was forwarded.
    pub forwarded: bool,
    /// Its picture, video, recording, document or sticker.
    pub media: Option<Media>,
    /// Its errors: what could not be delivered to us, and why.
    pub errors: Failures,
}

/// A media object. Ordered by content, so that the greater of two that differ is a fixed choice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Media {
    /// `id`.
    pub id: String,
    /// `mime_type`.
    pub mime_type: Option<String>,
    /// `sha256`, in base 64 as Meta writes it.
    pub sha256: Option<String>,
    /// `filename`, of a document.
    pub filename: Option<String>,
    /// `voice`: recorded in the app, of an audio.
    pub voice: Option<bool>,
    /// `animated`, of a sticker.
    pub animated: Option<bool>,
}

/// What later messages did to a message. They can come before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    /// Edits by their own message id, with their times.
    pub edits: BTreeMap<Wamid, Option<Timestamp>>,
    /// Revocations likewise.
    pub revokes: BTreeMap<Wamid, Option<Timestamp>>,
    /// The latest reaction per user.
    pub reactions: BTreeMap<PartyId, Reaction>,
}

/// A reaction or its removal. Ordered by time, then by content: the greatest is the latest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reaction {
    /// When; unknown is before every known time.
    pub time: Option<Timestamp>,
    /// The message that carried it.
    pub wamid: Wamid,
    /// The reaction; `None` removes it.
    pub emoji: Option<String>,
}

/// Edits kept of a message, and revocations. Meta allows 15 minutes for edits.
const EDITS_MAX: usize = 32;

/// Users whose reaction is kept.
const REACTIONS_MAX: usize = 256;

impl Content {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { message_type, reply_to, target, sender, forwarded, media, errors } = other;
        learn_max(&mut self.message_type, message_type)
            | learn_max(&mut self.reply_to, reply_to)
            | learn_max(&mut self.target, target)
            | learn_max(&mut self.sender, sender)
            | learn_true(&mut self.forwarded, forwarded)
            | learn_max(&mut self.media, media)
            | join_failures(&mut self.errors, errors)
    }
}

impl Annotations {
    /// Learns everything the other knows; true if that was anything new.
    pub fn join(&mut self, other: Self) -> bool {
        let Self { edits, revokes, reactions } = other;
        let mut learned = false;
        for (wamid, time) in edits {
            learned |= learn_time(&mut self.edits, wamid, time, EDITS_MAX);
        }
        for (wamid, time) in revokes {
            learned |= learn_time(&mut self.revokes, wamid, time, EDITS_MAX);
        }
        for (party, reaction) in reactions {
            learned |= self.react(party, reaction);
        }
        learned
    }

    fn react(&mut self, party: PartyId, reaction: Reaction) -> bool {
        if let Some(mine) = self.reactions.get_mut(&party) {
            let newer = reaction > *mine;
            if newer {
                *mine = reaction;
            }
            return newer;
        }
        let full = self.reactions.len() >= REACTIONS_MAX;
        if full && self.reactions.keys().next_back().is_none_or(|last| *last < party) {
            return false;
        }
        self.reactions.insert(party, reaction);
        if full {
            self.reactions.pop_last();
        }
        true
    }

    /// The time of the latest edit.
    pub fn edited(&self) -> Option<Timestamp> {
        self.edits.values().copied().max().flatten()
    }

    /// The time of the first revocation, as far as known.
    pub fn revoked(&self) -> Option<Timestamp> {
        self.revokes.values().copied().flatten().min()
    }

    /// How many users have a reaction on it now.
    pub fn reaction_count(&self) -> usize {
        self.reactions.values().filter(|reaction| reaction.emoji.is_some()).count()
    }
}
