//! One entity from several partitions: facts are joined, which is what makes them facts.
//!
//! Everything of one account is in one partition, so this is rare: a number that moved to another
//! account leaves its messages where they were.

use std::collections::{BTreeMap, BTreeSet};

use tickfold_core::ids::{ConversationKey, Participant, PartyId, PhoneNumberId, Wamid};
use tickfold_core::state::{Conversation, HistoryEntry, Journal, Message, MessageFacts, Number};
use tickfold_core::time::Timestamp;

use super::decisions::{Charged, DecidedFor, charges, decisions};
use super::partitions::{Found, Snapshots};
use super::users::user;
use crate::reasons::Failure;

/// A message as all partitions together know it.
#[derive(Debug)]
pub(crate) struct JoinedMessage {
    pub(crate) wamid: Wamid,
    /// Joined facts.
    pub(crate) facts: MessageFacts,
    /// Where it is listed: the earliest of the partitions.
    pub(crate) list_time: Timestamp,
    /// Joined journal; the revision is that of the last change.
    pub(crate) journal: Journal,
    /// The histories in order of log time, each line with its partition.
    pub(crate) history: Vec<(u32, HistoryEntry)>,
    /// Charges that were told, by participant; of two the one of the later partition to change.
    pub(crate) charges: BTreeMap<Participant, Charged>,
    /// What was decided for it.
    pub(crate) decisions: Vec<DecidedFor>,
    /// How long media can be fetched, by the rules of the partition, in milliseconds.
    pub(crate) media_valid_ms: i64,
}

/// A conversation with one user, under whichever of the user's identifiers.
#[derive(Debug)]
pub(crate) struct JoinedConversation {
    pub(crate) asked: ConversationKey,
    /// Identifiers of the user, the one asked for among them.
    pub(crate) parties: BTreeSet<PartyId>,
    pub(crate) conversation: Conversation,
    /// At which to judge its windows: the latest of the partitions that hold it.
    pub(crate) log_time: Timestamp,
}

/// The message in all partitions, joined; none while only edits, revocations or reactions told of
/// it.
pub(super) fn message(
    snapshots: &Snapshots,
    wamid: &Wamid,
) -> Result<Option<JoinedMessage>, Failure> {
    let found = snapshots.find(|snapshot| snapshot.message(wamid))?;
    let joined = join_messages(snapshots, wamid, found)?;
    Ok(joined.filter(|message| message.facts.has_appeared()))
}

/// Joins what the partitions have of one message.
pub(super) fn join_messages(
    snapshots: &Snapshots,
    wamid: &Wamid,
    found: Vec<(Found, Message)>,
) -> Result<Option<JoinedMessage>, Failure> {
    let mut joined: Option<JoinedMessage> = None;
    for (Found { partition, .. }, message) in found {
        let (mut told, mut decided, mut media_valid_ms) = (charges(&message), Vec::new(), 0);
        if let Some(snapshot) = snapshots.of(partition) {
            decided = decisions(snapshot, partition, wamid, &message)?;
        }
        if message.facts.content().is_some_and(|content| content.media.is_some()) {
            media_valid_ms = snapshots.media_valid_ms(partition)?;
        }
        let history = message.history.into_iter().map(|entry| (partition, entry));
        match &mut joined {
            None => {
                joined = Some(JoinedMessage {
                    wamid: wamid.clone(),
                    facts: message.facts,
                    list_time: message.list_time,
                    journal: message.journal,
                    history: history.collect(),
                    charges: told,
                    decisions: decided,
                    media_valid_ms,
                });
            }
            Some(joined) => {
                if message.journal.changed < joined.journal.changed {
                    std::mem::swap(&mut joined.charges, &mut told);
                }
                joined.charges.append(&mut told);
                joined.decisions.append(&mut decided);
                joined.media_valid_ms = joined.media_valid_ms.max(media_valid_ms);
                joined.list_time = joined.list_time.min(message.list_time);
                joined.facts.join(message.facts);
                joined.journal = join_journals(joined.journal, message.journal);
                joined.history.extend(history);
                joined.history.sort_by_key(|(partition, entry)| {
                    (entry.log_time, *partition, entry.offset, entry.ordinal)
                });
            }
        }
    }
    Ok(joined)
}

/// The identifiers of the user that a conversation is with: the one asked for, and those linked to
/// it in the account that the number belongs to.
pub(super) fn parties(
    snapshots: &Snapshots,
    asked: &ConversationKey,
) -> Result<BTreeSet<PartyId>, Failure> {
    let mut parties = BTreeSet::from([asked.party.clone()]);
    for (_, snapshot) in snapshots.each() {
        let number = snapshot.number(&asked.phone_number_id)?;
        if let Some(waba_id) = number.and_then(|number| number.facts.waba_id) {
            parties.append(&mut user(snapshot, &waba_id, &asked.party)?.parties);
        }
    }
    Ok(parties)
}

/// The conversation in all partitions and under all identifiers of the user, joined.
pub(super) fn conversation(
    snapshots: &Snapshots,
    asked: &ConversationKey,
    parties: BTreeSet<PartyId>,
) -> Result<Option<JoinedConversation>, Failure> {
    let mut joined: Option<(Conversation, Timestamp)> = None;
    for party in &parties {
        let key = ConversationKey { party: party.clone(), ..asked.clone() };
        for (Found { log_time, .. }, found) in snapshots.find(|s| s.conversation(&key))? {
            joined = Some(match joined {
                None => (found, log_time),
                Some((mut a, at)) => {
                    a.facts.join(found.facts);
                    a.inbound_count = a.inbound_count.saturating_add(found.inbound_count);
                    a.outbound_count = a.outbound_count.saturating_add(found.outbound_count);
                    a.journal = join_journals(a.journal, found.journal);
                    (a, at.max(log_time))
                }
            });
        }
    }
    Ok(joined.map(|(conversation, log_time)| {
        let asked = asked.clone();
        JoinedConversation { asked, parties, conversation, log_time }
    }))
}

/// The number in all partitions, joined, and the log time at which to judge it: the latest of the
/// partitions that hold it.
pub(super) fn number(
    snapshots: &Snapshots,
    key: &PhoneNumberId,
) -> Result<Option<(Number, Timestamp)>, Failure> {
    let found = snapshots.find(|snapshot| snapshot.number(key))?;
    let found = found.into_iter().map(|(Found { log_time, .. }, number)| (number, log_time));
    Ok(found.reduce(|(mut a, at), (b, log_time)| {
        a.facts.join(b.facts);
        a.active_hour = a.active_hour.max(b.active_hour);
        a.journal = join_journals(a.journal, b.journal);
        (a, at.max(log_time))
    }))
}

fn join_journals(a: Journal, b: Journal) -> Journal {
    let last = if b.changed > a.changed { b } else { a };
    Journal { created: a.created.min(b.created), ..last }
}
