//! Pages of a list of messages: the partitions' lists merged, newest first, cut by number and by
//! bytes.

use std::collections::BTreeSet;

use prost::Message as _;
use tickfold_core::ids::{ConversationKey, PartyId, PhoneNumberId, Wamid};
use tickfold_core::state::{Message, MessageFacts};
use tickfold_proto::query::v1 as pb;
use tickfold_store::MessageListItem;

use super::arguments::View;
use super::filter::Conditions;
use super::joined::join_messages;
use super::page::Page;
use super::partitions::{Found, Snapshots};
use crate::convert;
use crate::reasons::Failure;

/// Room for `as_of`, the token and framing beside the messages.
pub(super) const REPLY_EXTRA_BYTES: usize = 16 * 1024;

/// Lines looked at for one page, in number. Where few of a list match, a page ends here, shorter
/// than asked for or empty, and the next one goes on.
const LINES_MAX: usize = 10_000;

/// Lines read at once, after the first ones.
const LINES_AT_ONCE: usize = 256;

/// A list of messages, in every partition.
#[derive(Debug)]
pub(super) enum List {
    /// Of one user with one number: a conversation for each identifier of the user.
    Conversations(Vec<ConversationKey>),
    /// Of all messages to and from a number.
    Number(PhoneNumberId),
    /// Of the messages with all of these labels, of which the first is read and the others are
    /// looked at.
    Labels(Vec<(&'static str, String)>),
}

/// How the messages of a list follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By their place in the list, newest first.
    Newest,
    /// By wamid; the time of a place says nothing.
    Wamid,
}

/// What a page holds at most.
#[derive(Debug)]
pub(super) struct Cut<'a> {
    /// Where it begins.
    pub(super) page: &'a Page,
    /// Where the list ends, and what is told of it.
    pub(super) conditions: &'a Conditions,
    pub(super) view: View,
    pub(super) size: usize,
    /// Unless it is a single message.
    pub(super) bytes_max: usize,
}

/// A page, and the token of the next one; empty at the end of the list.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) messages: Vec<pb::Message>,
    pub(super) next_page_token: String,
}

impl List {
    /// The conversations of a user with a number.
    pub(super) fn of_user(key: &ConversationKey, parties: &BTreeSet<PartyId>) -> Self {
        let of = |party: &PartyId| ConversationKey { party: party.clone(), ..key.clone() };
        Self::Conversations(parties.iter().map(of).collect())
    }

    /// The lines of all partitions strictly below `before`, newest first, at most `limit`.
    fn lines(
        &self,
        snapshots: &Snapshots,
        before: Option<&MessageListItem>,
        limit: usize,
    ) -> Result<Vec<MessageListItem>, Failure> {
        let mut lines = Vec::new();
        for (_, snapshot) in snapshots.each() {
            match self {
                Self::Conversations(keys) => {
                    for key in keys {
                        lines.extend(snapshot.messages_of(key, before, limit)?);
                    }
                }
                Self::Number(number) => {
                    lines.extend(snapshot.messages_of_number(number, before, limit)?);
                }
                Self::Labels(labels) => {
                    if let Some((name, value)) = labels.first() {
                        lines.extend(snapshot.messages_of_label(name, value, before, limit)?);
                    }
                }
            }
        }
        lines.sort_by(|a: &MessageListItem, b| b.cmp(a));
        lines.dedup();
        lines.truncate(limit);
        Ok(lines)
    }

    /// The message belongs to the list.
    fn has(&self, facts: &MessageFacts) -> bool {
        match self {
            Self::Conversations(keys) => facts.conversation().is_some_and(|of| keys.contains(&of)),
            Self::Number(number) => facts.phone_number_id.as_ref() == Some(number),
            Self::Labels(wanted) => {
                let labels = facts.labels();
                wanted.iter().all(|(name, value)| labels.iter().any(|is| is == (name, value)))
            }
        }
    }
}

/// Reads one page of a list. Lines of messages that the caller does not see are looked at like others, and
/// counted, but never named: a page that ends among them goes on from a time.
pub(super) fn page(snapshots: &Snapshots, list: &List, cut: &Cut<'_>) -> Result<Messages, Failure> {
    let mut told = Messages::default();
    let (mut bytes, mut looked_at) = (REPLY_EXTRA_BYTES, 0);
    let mut last: Option<MessageListItem> = cut.page.last.clone();
    // The line looked at last, if its message is not the caller's.
    let mut passed: Option<MessageListItem> = None;
    // One more than the page, to know whether another page follows.
    let mut limit = cut.size + 1;
    loop {
        let lines = list.lines(snapshots, passed.as_ref().or(last.as_ref()), limit)?;
        let is_end = lines.len() < limit;
        // Whoever looks further looks at many.
        limit = limit.max(LINES_AT_ONCE);
        for line in lines {
            if cut.conditions.from.is_some_and(|from| line.list_time < from) {
                return Ok(told);
            }
            if looked_at >= LINES_MAX {
                let end = match &passed {
                    None => last.clone(),
                    // Below all of the time of the others, once all of it were looked at.
                    Some(passed) if line.list_time < passed.list_time => Some(MessageListItem {
                        list_time: passed.list_time,
                        wamid: Wamid::from(""),
                    }),
                    Some(_) => None,
                };
                if let Some(end) = end {
                    told.next_page_token = cut.page.token_after(&end);
                    return Ok(told);
                }
            }
            looked_at += 1;
            let found = snapshots.find(|snapshot| snapshot.message(&line.wamid))?;
            if found.is_empty() {
                passed = Some(line);
                continue;
            }
            let (mut message, mut full) = (None, told.messages.len() >= cut.size);
            if !full {
                message = read(snapshots, list, cut.view, &line, found)?;
                message = message.filter(|message| cut.conditions.are_met(message));
                let more = message.as_ref().map_or(0, pb::Message::encoded_len);
                full = bytes + more > cut.bytes_max && !told.messages.is_empty();
                bytes += more;
            }
            if full && let Some(last) = &last {
                told.next_page_token = cut.page.token_after(last);
                return Ok(told);
            }
            told.messages.extend(message);
            (last, passed) = (Some(line), None);
        }
        if is_end {
            return Ok(told);
        }
    }
}

/// The message of a line, of what was found of it. `None` if it is listed at another line: in two
/// partitions it may stand at two times, and belongs to the older.
fn read(
    snapshots: &Snapshots,
    list: &List,
    view: View,
    line: &MessageListItem,
    found: Vec<(Found, Message)>,
) -> Result<Option<pb::Message>, Failure> {
    let wamid: &Wamid = &line.wamid;
    let listed = found.iter().filter(|(_, message)| list.has(&message.facts));
    if listed.map(|(_, message)| message.list_time).min() != Some(line.list_time) {
        return Ok(None);
    }
    let joined = join_messages(snapshots, wamid, found)?;
    Ok(joined.map(|joined| convert::message(&joined, view)))
}
