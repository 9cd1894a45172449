//! Page tokens: where the next page begins, bound to the request they came from.
//!
//! A token names a place in the list, not a snapshot or a process, so it survives restarts. It is
//! not secret and not signed: whoever makes one up can read only what a request without it gives.
//! The checksum catches damage; the digest of the arguments catches a client that changes them
//! halfway, which would silently skip messages.
//!
//! Layout before base64url: version (1), which says what kind of place it is · digest of the
//! arguments (8) · place · checksum over all before (8). The place of a message is its list time (8,
//! big endian) and wamid; that of anything else the parts of its key, each behind its length (2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tickfold_core::hash::sha256;
use tickfold_core::ids::{ConversationKey, ID_BYTES_MAX, Wamid};
use tickfold_core::time::Timestamp;
use tickfold_store::MessageListItem;

use super::arguments::View;
use super::filter::Conditions;
use crate::reasons::{Failure, Reason};

const DIGEST_BYTES: usize = 8;
/// Parts that a key has at most.
const PARTS_MAX: usize = 3;
/// Version, digest, place, checksum; in base64 four characters for three bytes.
const TOKEN_CHARS_MAX: usize = (1 + 8 + PARTS_MAX * (2 + ID_BYTES_MAX) + 8).div_ceil(3) * 4;

/// The place of a page, and the arguments the next token is bound to.
#[derive(Debug)]
pub(super) struct Page<P = MessageListItem> {
    /// The last one of the page before; `None` for the first page.
    pub(super) last: Option<P>,
    arguments: [u8; DIGEST_BYTES],
}

/// A place in a list.
pub(super) trait Place: Sized {
    /// Tells one kind of place from another.
    const VERSION: u8;

    fn write(&self, bytes: &mut Vec<u8>);

    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Place for MessageListItem {
    const VERSION: u8 = 1;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.list_time.as_millis().to_be_bytes());
        bytes.extend(self.wamid.as_str().as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (time, wamid) = bytes.split_first_chunk()?;
        let list_time = Timestamp::from_millis(i64::from_be_bytes(*time));
        let wamid = Wamid::from(std::str::from_utf8(wamid).ok()?);
        Some(Self { list_time, wamid })
    }
}

/// The key of an entity, by its parts.
pub(super) type Parts = Vec<String>;

impl Place for Parts {
    const VERSION: u8 = 2;

    fn write(&self, bytes: &mut Vec<u8>) {
        for part in self {
            // Ids are far shorter than that.
            bytes.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut parts = Self::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk()?;
            let (part, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            parts.push(std::str::from_utf8(part).ok()?.to_owned());
            bytes = rest;
        }
        Some(parts)
    }
}

impl Page {
    /// Reads the token of a request for a conversation; the empty one is the first page.
    pub(super) fn new(key: &ConversationKey, view: View, token: &str) -> Result<Self, Failure> {
        Self::of(arguments(view, &[key.phone_number_id.as_str(), key.party.as_str()]), token)
    }

    /// The same of a list that is filtered; without conditions it is the same list.
    pub(super) fn of_conversation(
        key: &ConversationKey,
        view: View,
        conditions: &Conditions,
        token: &str,
    ) -> Result<Self, Failure> {
        let (looked_at, [from, to]) = (conditions.looked_at(), conditions.bounds());
        let filter = [looked_at.as_str(), from.as_str(), to.as_str()];
        if filter.iter().all(|part| part.is_empty()) {
            return Self::new(key, view, token);
        }
        let parts = ["filtered", key.phone_number_id.as_str(), key.party.as_str()];
        Self::of(arguments(view, &[parts, filter].concat()), token)
    }

    /// Reads the token of a search, which is named by all its other arguments.
    pub(super) fn of_search(view: View, search: &[&str], token: &str) -> Result<Self, Failure> {
        let parts: Vec<_> = std::iter::once("search").chain(search.iter().copied()).collect();
        Self::of(arguments(view, &parts), token)
    }

    /// The same, but nothing at or above a time: pages fall from newest to oldest.
    pub(super) fn not_above(self, time: Option<Timestamp>) -> Self {
        // Below every message of that time, since no wamid is less than the empty one.
        let bound = time.map(|list_time| MessageListItem { list_time, wamid: Wamid::from("") });
        let last = match (self.last, bound) {
            (Some(last), Some(bound)) => Some(last.min(bound)),
            (one, other) => one.or(other),
        };
        Self { last, ..self }
    }
}

impl Page<Parts> {
    /// Reads the token of a list of entities, which is named by all its other arguments.
    pub(super) fn of_list(list: &[&str], token: &str) -> Result<Self, Failure> {
        let parts: Vec<_> = std::iter::once("list").chain(list.iter().copied()).collect();
        Self::of(arguments(View::Basic, &parts), token)
    }
}

impl<P: Place> Page<P> {
    /// The place that a token of the same request names.
    pub(super) fn place(&self, token: &str) -> Result<Option<P>, Failure> {
        Ok(Self::of(self.arguments, token)?.last)
    }

    fn of(arguments: [u8; DIGEST_BYTES], token: &str) -> Result<Self, Failure> {
        if token.is_empty() {
            return Ok(Self { last: None, arguments });
        }
        let Some((theirs, last)) = decode(token) else {
            let what = "is not a token of this server";
            return Err(Failure::field(Reason::PageTokenInvalid, "page_token", what));
        };
        if theirs != arguments {
            let what = "belongs to a request with other arguments";
            return Err(Failure::field(Reason::PageTokenMismatch, "page_token", what));
        }
        Ok(Self { last: Some(last), arguments })
    }

    /// The token of the page that begins after `last`.
    pub(super) fn token_after(&self, last: &P) -> String {
        let mut bytes = vec![P::VERSION];
        bytes.extend(self.arguments);
        last.write(&mut bytes);
        bytes.extend(digest(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn decode<P: Place>(token: &str) -> Option<([u8; DIGEST_BYTES], P)> {
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (payload, checksum) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    if digest(payload) != *checksum {
        return None;
    }
    let (version, rest) = payload.split_first()?;
    let (arguments, place) = rest.split_first_chunk()?;
    (*version == P::VERSION).then_some((*arguments, P::read(place)?))
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
    use proptest::prelude::*;
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
        assert_eq!(page.last, Some(last));
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
        assert_eq!(search(&["a", "b"], &token).unwrap().last, Some(last));
        for (parts, token) in [(&["ab"], &token), (&["1"], &of_conversation)] {
            assert_eq!(reason(search(parts, token)), Reason::PageTokenMismatch, "{parts:?}");
        }
    }

    #[test]
    fn the_place_of_an_entity_comes_back_and_belongs_to_its_list() {
        let longest = vec!["x".repeat(ID_BYTES_MAX); PARTS_MAX];
        for last in [vec!["1".to_owned(), "2\0".to_owned(), String::new()], longest] {
            let page = Page::of_list(&["templates", "PAUSED"], "").unwrap();
            let token = page.token_after(&last);
            assert_eq!(page.place(&token).unwrap(), Some(last));
            let other = Page::of_list(&["templates", "REJECTED"], &token).unwrap_err();
            assert_eq!(other.reason(), Reason::PageTokenMismatch);
        }
        let (_, of_messages) = token();
        let foreign = Page::of_list(&["templates", "PAUSED"], &of_messages).unwrap_err();
        assert_eq!(foreign.reason(), Reason::PageTokenInvalid);
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Whoever makes one up knows the sum, which is no secret.
        #[test]
        fn any_place_behind_a_right_sum_is_read_or_refused(
            version in 0..4_u8, place in prop::collection::vec(any::<u8>(), 0..60)
        ) {
            let list = Page::of_list(&["templates"], "").unwrap();
            let mut bytes = vec![version];
            bytes.extend(list.arguments);
            bytes.extend(place);
            bytes.extend(digest(&bytes));
            let token = URL_SAFE_NO_PAD.encode(bytes);
            if let Some(parts) = list.place(&token).ok().flatten() {
                prop_assert_eq!(list.place(&list.token_after(&parts)).unwrap(), Some(parts));
            }
            let messages = Page::<MessageListItem> { last: None, arguments: list.arguments };
            if let Some(last) = messages.place(&token).ok().flatten() {
                prop_assert_eq!(messages.place(&messages.token_after(&last)).unwrap(), Some(last));
            }
        }
    }
}
