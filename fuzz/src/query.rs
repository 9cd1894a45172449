//! The filters of lists and the tokens of their pages.
//!
//! A filter that is taken can be written, from what was read, and is taken as the same. One that is refused is
//! refused at a character of it, and not repeated: it may be personal. A page token that is taken is the one
//! that would be given for its place, and no other arguments take it.

mod arguments;
#[path = "../../crates/tickfold-query/src/query/filter/mod.rs"]
#[allow(dead_code, reason = "of the crate it is from")]
mod filter;
#[path = "../../crates/tickfold-query/src/query/page.rs"]
#[allow(dead_code, reason = "of the crate it is from")]
mod page;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use filter::{Conditions, FoundBy, Opening};
use page::{Page, Parts};
use tickfold_core::hash::sha256;
use tickfold_core::ids::{ConversationKey, PartyId, PhoneNumberId, Wamid};
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1::find_messages_request::What;
use tickfold_store::MessageListItem;

use crate::reasons::{Failure, Reason};
use arguments::View;

/// What is longer might have more comparisons than there may be, when bounds of time are written apart.
const READ_AGAIN_MAX: usize = 400;
/// Bytes of a digest in a token.
const DIGEST: usize = 8;

/// See the module's description.
pub fn check_filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let search = |text: &str| filter::found_by(None, text);
    let list = |text: &str| filter::in_list("", text);
    let readers: [&dyn Fn(&str) -> Result<FoundBy, Failure>; 2] = [&search, &list];
    for read in readers {
        match read(text) {
            Err(failure) => refused(text, &failure),
            Ok(FoundBy { opening, conditions }) if text.len() <= READ_AGAIN_MAX => {
                let written = written(Some(&opening), &conditions);
                let again = read(&written);
                let again = again.unwrap_or_else(|failure| panic!("{failure:?}\n{written}"));
                assert_eq!(format!("{:?}", again.opening), format!("{opening:?}"), "{written}");
                same(&again.conditions, &conditions);
            }
            Ok(_) => {}
        }
    }
    match filter::in_conversation(text) {
        Err(failure) => refused(text, &failure),
        Ok(conditions) if text.len() <= READ_AGAIN_MAX => {
            let written = written(None, &conditions);
            let again = filter::in_conversation(&written);
            same(&again.unwrap_or_else(|failure| panic!("{failure:?}\n{written}")), &conditions);
        }
        Ok(_) => {}
    }
    let of_entity = |text: &str| {
        let (mut status, mut account) = (String::new(), String::new());
        let arguments = &mut [("status", &mut status), ("waba_id", &mut account)];
        filter::entities(text, arguments).map(|()| [("status", status), ("waba_id", account)])
    };
    match of_entity(text) {
        Err(failure) => refused(text, &failure),
        Ok(arguments) => {
            let said = arguments.iter().filter(|(_, value)| !value.is_empty());
            let written: Vec<_> = said.map(|(name, value)| equal(name, value)).collect();
            // Escapes make it no longer than it was.
            assert_eq!(of_entity(&written.join(" AND ")).expect("what is written"), arguments);
        }
    }
}

/// A filter that says this, by the grammar of `docs/api.md`.
fn written(opening: Option<&Opening>, conditions: &Conditions) -> String {
    let mut all = Vec::new();
    match opening {
        Some(Opening::Number(number)) => all.push(equal("phone_number_id", number)),
        Some(Opening::What(What::FbtraceId(trace))) => all.push(equal("fbtrace_id", trace)),
        Some(Opening::What(What::Labels(labels))) => {
            let names = ["intent", "campaign", "template", "language"];
            let texts = [&labels.intent, &labels.campaign, &labels.template, &labels.language];
            let said = names.into_iter().zip(texts).filter(|(_, text)| !text.is_empty());
            all.extend(said.map(|(name, text)| equal(&format!("labels.{name}"), text)));
        }
        None => {}
    }
    all.extend(Some(conditions.looked_at()).filter(|text| !text.is_empty()));
    for (sign, bound) in [">=", "<"].into_iter().zip(conditions.bounds()) {
        if !bound.is_empty() {
            all.push(format!("list_time {sign} \"{bound}\""));
        }
    }
    all.join(" AND ")
}

fn equal(name: &str, text: &str) -> String {
    let mut comparison = format!("{name}=\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            comparison.push('\\');
        }
        comparison.push(c);
    }
    comparison + "\""
}

/// Compared as page tokens are bound to them.
fn same(one: &Conditions, other: &Conditions) {
    assert_eq!(one.looked_at(), other.looked_at());
    assert_eq!(one.bounds(), other.bounds());
}

fn refused(text: &str, failure: &Failure) {
    let message = failure.message();
    match failure.reason() {
        Reason::FilterInvalid => {
            let at = message.strip_prefix("filter: character ").expect("a place");
            let at = at.split(' ').next().and_then(|at| at.parse().ok()).expect("a number");
            assert!((1..=text.chars().count() + 1).contains(&at), "{message}");
        }
        Reason::FilterNotIndexed => {}
        Reason::InvalidArgument => assert!(text.trim().is_empty(), "{message}"),
        reason => panic!("{reason:?}: {message}"),
    }
    assert!(message.is_ascii() && message.len() < 500, "it repeats the filter: {message}");
}

/// See the module's description.
pub fn check_page(bytes: &[u8]) {
    let key = |party: &str| ConversationKey {
        phone_number_id: PhoneNumberId::from("1"),
        party: PartyId::from(party),
    };
    let messages = |party, token: &str| Page::new(&key(party), View::Full, token);
    let list = |name, token: &str| Page::of_list(&[name], token);
    if let Ok(text) = std::str::from_utf8(bytes).map(str::trim_end) {
        let page = messages("2", text);
        assert!(text.is_empty() || page.is_err(), "nobody guesses a sum");
    }
    // Whoever makes one up knows the sum, which is no secret.
    let first = messages("2", "").expect("the first page");
    let empty = MessageListItem { list_time: Timestamp::from_millis(0), wamid: Wamid::from("") };
    let token = behind_a_right_sum(&first.token_after(&empty), bytes);
    if let Ok(page) = messages("2", &token) {
        let last = page.last.as_ref().expect("a token has a place");
        assert_eq!(page.token_after(last), token);
        let other = messages("3", &token).expect_err("another conversation");
        assert_eq!(other.reason(), Reason::PageTokenMismatch);
        assert!(list("templates", &token).is_err(), "a list takes the token of messages");
    }
    let first = list("templates", "").expect("the first page");
    let token = behind_a_right_sum(&first.token_after(&Parts::new()), bytes);
    if let Ok(page) = list("templates", &token) {
        let last = page.last.as_ref().expect("a token has a place");
        assert_eq!(page.token_after(last), token);
        assert_eq!(page.place(&token).expect("it is its own").as_ref(), Some(last));
        let other = list("numbers", &token).expect_err("another list");
        assert_eq!(other.reason(), Reason::PageTokenMismatch);
    }
}

/// The token with this place in it: the first byte may change its version.
fn behind_a_right_sum(token: &str, place: &[u8]) -> String {
    let mut content = URL_SAFE_NO_PAD.decode(token).expect("what was given");
    content.truncate(1 + DIGEST);
    if let Some((version, place)) = place.split_first() {
        if let Some(of_token) = content.first_mut().filter(|_| *version > 0xf0) {
            *of_token = version - 0xf0;
        }
        content.extend(place);
    }
    let sum = sha256(&content);
    content.extend(sum.iter().take(DIGEST));
    URL_SAFE_NO_PAD.encode(content)
}
