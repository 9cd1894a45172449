//! Pages of a conversation: the partitions' lists merged, newest first, cut by number and by bytes.

use prost::Message as _;
use tickfold_core::ids::{ConversationKey, Wamid};
use tickfold_proto::query::v1 as pb;
use tickfold_store::MessageListItem;

use super::arguments::View;
use super::joined::join_messages;
use super::page::Page;
use super::partitions::Snapshots;
use crate::convert;
use crate::reasons::Failure;

/// Room for `as_of`, the token and framing beside the messages.
const REPLY_EXTRA_BYTES: usize = 16 * 1024;

/// Reads one page of at most `size` messages and, unless it is a single message, `bytes_max` bytes.
pub(super) fn page(
    snapshots: &Snapshots,
    key: &ConversationKey,
    view: View,
    page: &Page,
    size: usize,
    bytes_max: usize,
) -> Result<pb::ListMessagesResponse, Failure> {
    let mut reply =
        pb::ListMessagesResponse { as_of: Some(snapshots.as_of()), ..Default::default() };
    let mut bytes = REPLY_EXTRA_BYTES;
    let mut last: Option<MessageListItem> = None;
    // One more than the page, to know whether another page follows.
    for (index, item) in merged(snapshots, key, page, size + 1)?.into_iter().enumerate() {
        let message = message(snapshots, key, view, &item)?;
        let more = message.as_ref().map_or(0, pb::Message::encoded_len);
        let full = bytes + more > bytes_max && !reply.messages.is_empty();
        if (index >= size || full)
            && let Some(last) = &last
        {
            reply.next_page_token = page.token_after(last);
            break;
        }
        bytes += more;
        reply.messages.extend(message);
        last = Some(item);
    }
    Ok(reply)
}

/// The lines of all partitions after the page's place, newest first, at most `limit`.
fn merged(
    snapshots: &Snapshots,
    key: &ConversationKey,
    page: &Page,
    limit: usize,
) -> Result<Vec<MessageListItem>, Failure> {
    let lists = snapshots.find(|s| s.messages_of(key, page.before.as_ref(), limit).map(Some))?;
    let mut items: Vec<_> = lists.into_iter().flat_map(|(_, items)| items).collect();
    items.sort_by(|a, b| b.cmp(a));
    items.dedup();
    items.truncate(limit);
    Ok(items)
}

/// The message of a line. `None` if it is listed at another line: in two partitions it may stand at
/// two times, and belongs to the older.
fn message(
    snapshots: &Snapshots,
    key: &ConversationKey,
    view: View,
    item: &MessageListItem,
) -> Result<Option<pb::Message>, Failure> {
    let wamid: &Wamid = &item.wamid;
    let found = snapshots.find(|snapshot| snapshot.message(wamid))?;
    let listed = found.iter().filter(|(_, m)| m.facts.conversation().as_ref() == Some(key));
    if listed.map(|(_, message)| message.list_time).min() != Some(item.list_time) {
        return Ok(None);
    }
    Ok(join_messages(found).map(|joined| convert::message(wamid, &joined, view)))
}
