//! Arguments, checked: what is malformed is INVALID_ARGUMENT and names its field.

use std::collections::BTreeSet;

use tickfold_core::ids::{ConversationKey, ID_BYTES_MAX, PartyId, PhoneNumberId, Wamid};
use tickfold_proto::query::v1::MessageView;

use crate::QueryOptions;
use crate::access::{Access, Scope};
use crate::reasons::Failure;

/// How much of a message is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    /// No personal data but the wamid.
    Basic,
    /// All facts.
    Full,
    /// And the history.
    History,
}

impl View {
    /// The view as requests have it.
    pub(crate) fn to_proto(self) -> MessageView {
        match self {
            Self::Basic => MessageView::Basic,
            Self::Full => MessageView::Full,
            Self::History => MessageView::History,
        }
    }

    /// Its word, for what is bound to it.
    pub(crate) fn word(self) -> &'static str {
        self.to_proto().as_str_name()
    }

    /// A view of a newer API is refused: answering with less would look like absence.
    pub(crate) fn of(view: i32) -> Result<Self, Failure> {
        match MessageView::try_from(view) {
            Ok(MessageView::Unspecified | MessageView::Basic) => Ok(Self::Basic),
            Ok(MessageView::Full) => Ok(Self::Full),
            Ok(MessageView::History) => Ok(Self::History),
            Err(_) => Err(Failure::argument("view", format!("{view} is not a view"))),
        }
    }

    /// Refuses a caller who may not see as much.
    pub(crate) fn check(self, access: &Access) -> Result<(), Failure> {
        match self {
            Self::Basic => Ok(()),
            Self::Full | Self::History => access.check(Scope::PersonalData),
        }
    }
}

/// An id that may be left out: it is empty then.
pub(crate) fn optional_id(field: &str, text: String) -> Result<String, Failure> {
    if text.is_empty() { Ok(text) } else { id(field, text) }
}

/// An id: required, and no longer than any id that is folded.
pub(crate) fn id(field: &str, text: String) -> Result<String, Failure> {
    if text.is_empty() {
        return Err(Failure::argument(field, "is required"));
    }
    if text.len() > ID_BYTES_MAX {
        return Err(Failure::argument(field, format!("is longer than {ID_BYTES_MAX} bytes")));
    }
    Ok(text)
}

pub(crate) fn conversation_key(number: String, party: String) -> Result<ConversationKey, Failure> {
    Ok(ConversationKey {
        phone_number_id: PhoneNumberId::new(id("phone_number_id", number)?),
        party: PartyId::new(id("party", party)?),
    })
}

/// Wamids in the order of the request, each once.
pub(crate) fn wamids(texts: Vec<String>, max: usize) -> Result<Vec<Wamid>, Failure> {
    if texts.is_empty() || texts.len() > max {
        let found = texts.len();
        return Err(Failure::argument("wamids", format!("has {found} entries, not 1 to {max}")));
    }
    let mut seen = BTreeSet::new();
    let mut wamids = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        let wamid = Wamid::new(id(&format!("wamids[{index}]"), text)?);
        if seen.insert(wamid.clone()) {
            wamids.push(wamid);
        }
    }
    Ok(wamids)
}

/// Messages of a page: 0 is the default, too many are cut down.
pub(super) fn page_size(asked: i32, options: &QueryOptions) -> Result<usize, Failure> {
    match usize::try_from(asked) {
        Ok(0) => Ok(options.page_size_default.min(options.page_size_max)),
        Ok(size) => Ok(size.min(options.page_size_max)),
        Err(_) => Err(Failure::argument("page_size", "is negative")),
    }
}

/// Messages beside a conversation: 0 is none, too many are cut down.
pub(super) fn message_count(asked: i32, options: &QueryOptions) -> Result<usize, Failure> {
    match usize::try_from(asked) {
        Ok(count) => Ok(count.min(options.page_size_max)),
        Err(_) => Err(Failure::argument("message_count", "is negative")),
    }
}

/// A month such as 2026-11; `None` is any.
pub(super) fn month(text: String) -> Result<Option<String>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        Some((year, month))
            if year.len() == 4 && month.len() == 2 && digits(year) && digits(month) =>
        {
            Ok(Some(text))
        }
        _ => Err(Failure::argument("month", "is not a month such as 2026-11")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wamids_are_one_to_max_and_each_once() {
        let of = |texts: &[&str]| wamids(texts.iter().map(ToString::to_string).collect(), 3);
        let found = of(&["b", "a", "b"]).unwrap();
        assert_eq!(found, [Wamid::from("b"), Wamid::from("a")]);
        for bad in [&[][..], &["a", "b", "c", "d"], &["a", ""]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        assert!(of(&[&"x".repeat(ID_BYTES_MAX + 1)]).is_err());
    }

    #[test]
    fn page_sizes_are_coerced_down_and_never_negative() {
        let size = |asked| page_size(asked, &QueryOptions::default()).ok();
        assert_eq!(
            (size(0), size(7), size(9_999), size(-1)),
            (Some(100), Some(7), Some(1000), None)
        );
    }

    #[test]
    fn months_are_four_digits_and_two() {
        let of = |text: &str| month(text.to_owned());
        assert_eq!(of("").unwrap(), None);
        assert_eq!(of("2026-11").unwrap().as_deref(), Some("2026-11"));
        for bad in ["2026", "2026-1", "26-11", "2026-11-01", "2026-1x", "-"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_view_is_refused() {
        assert_eq!(View::of(0).unwrap(), View::Basic);
        assert!(View::of(9).is_err());
    }
}
