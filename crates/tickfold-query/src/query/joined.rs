//! One entity from several partitions: facts are joined, which is what makes them facts.
//!
//! Everything of one account is in one partition, so this is rare: a number that moved to another
//! account leaves its messages where they were.

use tickfold_core::ids::{ConversationKey, PhoneNumberId, Wamid};
use tickfold_core::state::{Conversation, HistoryEntry, Journal, Message, MessageFacts, Number};
use tickfold_core::time::Timestamp;

use super::partitions::{Found, Snapshots};
use crate::reasons::Failure;

/// A message as all partitions together know it.
#[derive(Debug)]
pub(crate) struct JoinedMessage {
    /// Joined facts.
    pub(crate) facts: MessageFacts,
    /// Joined journal; the revision is that of the last change.
    pub(crate) journal: Journal,
    /// The histories in order of log time, each line with its partition.
    pub(crate) history: Vec<(u32, HistoryEntry)>,
}

/// The message in all partitions, joined; none while only edits, revocations or reactions told of
/// it.
pub(super) fn message(
    snapshots: &Snapshots,
    wamid: &Wamid,
) -> Result<Option<JoinedMessage>, Failure> {
    let joined = join_messages(snapshots.find(|snapshot| snapshot.message(wamid))?);
    Ok(joined.filter(|message| message.facts.has_appeared()))
}

/// Joins what the partitions have of one message.
pub(super) fn join_messages(found: Vec<(Found, Message)>) -> Option<JoinedMessage> {
    let mut joined: Option<JoinedMessage> = None;
    for (Found { partition, .. }, message) in found {
        let history = message.history.into_iter().map(|entry| (partition, entry));
        match &mut joined {
            None => {
                let history = history.collect();
                let Message { facts, journal, .. } = message;
                joined = Some(JoinedMessage { facts, journal, history });
            }
            Some(joined) => {
                joined.facts.join(message.facts);
                joined.journal = join_journals(joined.journal, message.journal);
                joined.history.extend(history);
                joined.history.sort_by_key(|(partition, entry)| {
                    (entry.log_time, *partition, entry.offset, entry.ordinal)
                });
            }
        }
    }
    joined
}

/// The conversation in all partitions, joined, and the log time at which to judge its window: the
/// latest of the partitions that hold it.
pub(super) fn conversation(
    snapshots: &Snapshots,
    key: &ConversationKey,
) -> Result<Option<(Conversation, Timestamp)>, Failure> {
    let found = snapshots.find(|snapshot| snapshot.conversation(key))?;
    let log_time = found.iter().map(|(found, _)| found.log_time).max();
    let joined = found.into_iter().map(|(_, conversation)| conversation).reduce(|mut a, b| {
        a.facts.join(b.facts);
        a.inbound_count = a.inbound_count.saturating_add(b.inbound_count);
        a.outbound_count = a.outbound_count.saturating_add(b.outbound_count);
        a.journal = join_journals(a.journal, b.journal);
        a
    });
    Ok(joined.zip(log_time))
}

/// The number in all partitions, joined.
pub(super) fn number(
    snapshots: &Snapshots,
    key: &PhoneNumberId,
) -> Result<Option<Number>, Failure> {
    let found = snapshots.find(|snapshot| snapshot.number(key))?;
    Ok(found.into_iter().map(|(_, number)| number).reduce(|mut a, b| {
        a.facts.join(b.facts);
        a.journal = join_journals(a.journal, b.journal);
        a
    }))
}

fn join_journals(a: Journal, b: Journal) -> Journal {
    let last = if b.changed > a.changed { b } else { a };
    Journal { created: a.created.min(b.created), ..last }
}
