//! `errors[]` in its three places and its shapes.

use super::{Change, Item, Metadata, OtherItem, OtherKey, short_text};
use crate::ids::NaturalKey;
use crate::json::{Json, Object};
use crate::state::{Failure, Failures};
use crate::time::Timestamp;

/// The entries of `errors[]` by code: code as number or text, details inside `error_data`, as
/// `error_data` itself, or beside the code. Entries without a code are left to raw.
pub(super) fn errors(members: &Object<'_>, time: Option<Timestamp>) -> Failures {
    let Some(entries) = members.get("errors").and_then(Json::array) else {
        return Failures::new();
    };
    let mut failures = Failures::new();
    for (code, failure) in entries.filter_map(|entry| error(entry, time)) {
        crate::state::join_failures(&mut failures, [(code, failure)].into());
    }
    failures
}

/// One entry.
pub(super) fn error(entry: Json<'_>, time: Option<Timestamp>) -> Option<(i64, Failure)> {
    let entry = entry.object()?;
    let data = entry.get("error_data");
    let inner = data.and_then(Json::object).and_then(|data| data.get("details"));
    let details = inner.or_else(|| entry.get("details")).or(data);
    let failure = Failure {
        time,
        title: entry.get("title").and_then(short_text),
        message: entry.get("message").and_then(short_text),
        details: details.and_then(short_text),
    };
    Some((entry.get("code")?.integer()?, failure))
}

/// Kind of an error of the value as a whole.
pub(crate) const VALUE_ERROR: &str = "error";

/// An error of the value as a whole. It names no message and has no time, so two that look alike
/// are two: 131035, content lost, may come again.
pub(super) fn of_value(change: &Change<'_>, json: Json<'_>, metadata: Option<&Metadata>) -> Item {
    let code = error(json, None).map(|(code, _)| code);
    let word = code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    let number = Metadata::word(metadata);
    let time = json.object().and_then(|members| members.get("timestamp"));
    Item::Other(OtherItem {
        error_code: code,
        time: Timestamp::of_event(time, change.appended),
        metadata: metadata.cloned(),
        ..OtherItem::new(
            VALUE_ERROR,
            OtherKey::Each(NaturalKey::new(format!("verr:{number}:{word}"))),
        )
    })
}
