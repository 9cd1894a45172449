//! Page tokens: where the next page begins, bound to the request they came from.
//!
//! A token names a place in the list, not a snapshot or a process, so it survives restarts. It is
//! not secret and not signed: whoever makes one up can read only what a request without it gives.
//! The checksum catches damage; the digest of the arguments catches a client that changes them
//! halfway, which would silently skip messages.
//!
//! Layout before base64url: version (1) · digest of the arguments (8) · list time (8, big endian) ·
//! wamid · checksum over all before (8).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tickfold_core::hash::sha256;
use tickfold_core::ids::{ConversationKey, ID_BYTES_MAX, Wamid};
use tickfold_core::time::Timestamp;
use tickfold_store::MessageListItem;

use super::arguments::View;
use crate::reasons::{Failure, Reason};

const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 8;
/// Version, digest, time, wamid, checksum; in base64 four characters for three bytes.
const TOKEN_CHARS_MAX: usize = (1 + 8 + 8 + ID_BYTES_MAX + 8).div_ceil(3) * 4;

/// The place of a page, and the arguments the next token is bound to.
#[derive(Debug)]
pub(super) struct Page {
    /// The last message of the page before; `None` for the first page.
    pub(super) before: Option<MessageListItem>,
    arguments: [u8; DIGEST_BYTES],
}

impl Page {
    /// Reads the token of a request for a conversation; the empty one is the first page.
    pub(super) fn new(key: &ConversationKey, view: View, token: &str) -> Result<Self, Failure> {
        Self::of(arguments(view, &[key.phone_number_id.as_str(), key.party.as_str()]), token)
    }

    /// Reads the token of a search, which is named by all its other arguments.
    pub(super) fn of_search(view: View, search: &[&str], token: &str) -> Result<Self, Failure> {
        let parts: Vec<_> = std::iter::once("search").chain(search.iter().copied()).collect();
        Self::of(arguments(view, &parts), token)
    }

    /// The place that a token of the same request names.
    pub(super) fn place(&self, token: &str) -> Result<Option<MessageListItem>, Failure> {
        Ok(Self::of(self.arguments, token)?.before)
    }

    fn of(arguments: [u8; DIGEST_BYTES], token: &str) -> Result<Self, Failure> {
        if token.is_empty() {
            return Ok(Self { before: None, arguments });
        }
        let Some((theirs, before)) = decode(token) else {
            let what = "is not a token of this server";
            return Err(Failure::field(Reason::PageTokenInvalid, "page_token", what));
        };
        if theirs != arguments {
            let what = "belongs to a request with other arguments";
            return Err(Failure::field(Reason::PageTokenMismatch, "page_token", what));
        }
        Ok(Self { before: Some(before), arguments })
    }

    /// The same, but nothing at or above a time: pages fall from newest to oldest.
    pub(super) fn not_above(self, time: Option<Timestamp>) -> Self {
        // Below every message of that time, since no wamid is less than the empty one.
        let bound = time.map(|list_time| MessageListItem { list_time, wamid: Wamid::from("") });
        let before = match (self.before, bound) {
            (Some(before), Some(bound)) => Some(before.min(bound)),
            (one, other) => one.or(other),
        };
        Self { before, ..self }
    }

    /// The token of the page that begins after `last`.
    pub(super) fn token_after(&self, last: &MessageListItem) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.arguments);
        bytes.extend(last.list_time.as_millis().to_be_bytes());
        bytes.extend(last.wamid.as_str().as_bytes());
        bytes.extend(digest(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn decode(token: &str) -> Option<([u8; DIGEST_BYTES], MessageListItem)> {
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (payload, checksum) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    if digest(payload) != *checksum {
        return None;
    }
    let (&VERSION, rest) = payload.split_first()? else { return None };
    let (arguments, rest) = rest.split_first_chunk()?;
    let (time, wamid) = rest.split_first_chunk()?;
    let list_time = Timestamp::from_millis(i64::from_be_bytes(*time));
    let wamid = Wamid::from(std::str::from_utf8(wamid).ok()?);
    Some((*arguments, MessageListItem { list_time, wamid }))
}

fn arguments(view: View, parts: &[&str]) -> [u8; DIGEST_BYTES] {
    let view: u8 = match view {
        View::Basic => 1,
        View::Full => 2,
        View::History => 3,
    };
    // Lengths first, so that no two lists of parts run together.
    let mut bytes = vec![view];
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    digest(&bytes)
}

fn digest(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let hash = sha256(bytes);
    let mut short = [0; DIGEST_BYTES];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    short
}

#[cfg(test)]
mod tests {
    use tickfold_core::ids::{PartyId, PhoneNumberId};

    use super::*;

    fn key(number: &str, party: &str) -> ConversationKey {
        ConversationKey {
            phone_number_id: PhoneNumberId::from(number),
            party: PartyId::from(party),
        }
    }

    fn reason(failure: Result<Page, Failure>) -> Reason {
        failure.unwrap_err().reason()
    }

    fn token() -> (MessageListItem, String) {
        let last = MessageListItem {
            list_time: Timestamp::from_millis(-7),
            wamid: Wamid::from("wamid.A+/="),
        };
        let page = Page::new(&key("1", "23"), View::Full, "").unwrap();
        let token = page.token_after(&last);
        (last, token)
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        let (last, token) = token();
        let page = Page::new(&key("1", "23"), View::Full, &token).unwrap();
        assert_eq!(page.before, Some(last));
        // Tokens live as long as clients keep them: the layout is fixed.
        assert_eq!(token, "ASLZTmB9jPPt__________l3YW1pZC5BKy89PCG3PK5VTsQ");
    }

    #[test]
    fn changed_arguments_are_refused() {
        let (_, token) = token();
        for (number, party, view) in
            [("1", "24", View::Full), ("12", "3", View::Full), ("1", "23", View::Basic)]
        {
            let page = Page::new(&key(number, party), view, &token);
            assert_eq!(reason(page), Reason::PageTokenMismatch, "{number} {party} {view:?}");
        }
    }

    #[test]
    fn a_search_takes_only_its_own_token() {
        let (last, of_conversation) = token();
        let search = |parts: &[&str], token: &str| Page::of_search(View::Full, parts, token);
        let token = search(&["a", "b"], "").unwrap().token_after(&last);
        assert_eq!(search(&["a", "b"], &token).unwrap().before, Some(last));
        for (parts, token) in [(&["ab"], &token), (&["1"], &of_conversation)] {
            assert_eq!(reason(search(parts, token)), Reason::PageTokenMismatch, "{parts:?}");
        }
    }

    #[test]
    fn every_damaged_token_is_refused() {
        let (_, token) = token();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(bytes).unwrap();
            let page = Page::new(&key("1", "23"), View::Full, &damaged);
            assert_eq!(reason(page), Reason::PageTokenInvalid, "byte {at}");
        }
        for bad in ["x", "%%%", &token[1..], &"A".repeat(100_000)] {
            assert_eq!(
                reason(Page::new(&key("1", "23"), View::Full, bad)),
                Reason::PageTokenInvalid
            );
        }
    }
}
