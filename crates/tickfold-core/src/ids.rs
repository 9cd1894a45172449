//! Identifiers as newtypes. All of Meta's ids are opaque strings, compared byte by byte and never
//! normalised: a phone normaliser would mangle business-scoped user ids.
//!
//! They are shared and not copied: the id of a message stands in its key, its timers, its rows and
//! its conversation's lists.

use std::fmt;
use std::sync::Arc;

/// The longest id that is folded, in bytes. Ids become keys of topics and of the state store, so
/// they need a bound; the longest real ones (group wamids) stay below 200.
pub const ID_BYTES_MAX: usize = 512;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text as Meta wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    };
}

id!(
    /// A WhatsApp message id. It contains the customer's phone number in clear, so it is personal
    /// data wherever it goes.
    Wamid
);
id!(
    /// A WhatsApp Business Account id: what everything is partitioned by.
    WabaId
);
id!(
    /// The id of a business phone number (not the number itself).
    PhoneNumberId
);
id!(
    /// The other side of a conversation as a webhook named it: a phone number, a business-scoped
    /// user id, or a group id. Two identifiers of one person stay two parties; queries join them.
    PartyId
);
/// One recipient within a group message, or the message itself, whose text is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Participant(Option<Arc<str>>);

id!(
    /// The id of a call (`wacid.…`).
    CallId
);
id!(
    /// A message template id: a JSON number in webhooks, kept as its digits.
    TemplateId
);

impl Wamid {
    /// Key of the message table: of a message, or of one participant's part of it.
    pub fn row_key(&self, participant: &Participant) -> String {
        match participant.is_whole() {
            true => self.as_str().to_owned(),
            false => format!("{self}/{participant}"),
        }
    }
}

impl Participant {
    /// Takes the text as it is; the empty one is the message itself.
    pub fn new(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        Self((!text.is_empty()).then(|| text.into()))
    }

    /// The message itself, not a participant of a group.
    pub const fn whole() -> Self {
        Self(None)
    }

    /// True for the message itself.
    pub fn is_whole(&self) -> bool {
        self.0.is_none()
    }

    /// The text as Meta wrote it.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A template is one translation: names and ids repeat over languages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateKey {
    /// Account that owns the template.
    pub waba_id: WabaId,
    /// Template id.
    pub template_id: TemplateId,
    /// Language with `_`: `en-US` and `en_US` are the same translation.
    pub language: String,
}

impl TemplateKey {
    /// Makes the key, with the language's `-` written as `_`.
    pub fn new(waba_id: WabaId, template_id: TemplateId, language: &str) -> Self {
        Self { waba_id, template_id, language: language.replace('-', "_") }
    }
}

/// A conversation: one of our numbers and one party.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationKey {
    /// Our side.
    pub phone_number_id: PhoneNumberId,
    /// Their side.
    pub party: PartyId,
}

impl ConversationKey {
    /// Key of the conversation table.
    pub fn text(&self) -> String {
        format!("{}/{}", self.phone_number_id, self.party)
    }
}

/// A user: the other side as one of its identifiers, within one account. Business-scoped ids of a
/// user differ per business, so a user of two accounts is two users.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    /// Account.
    pub waba_id: WabaId,
    /// One identifier of the user.
    pub party: PartyId,
}

/// A group of one of our numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// Our side.
    pub phone_number_id: PhoneNumberId,
    /// The group, which is the party of its conversation.
    pub group: PartyId,
}

/// One attempt to pay an order that a message of ours asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentKey {
    /// The message with the order.
    pub wamid: Wamid,
    /// `reference_id`: the order, as the business names it. Empty if Meta left it out.
    pub reference_id: String,
    /// `transaction.id`, likewise.
    pub transaction_id: String,
}

impl UserKey {
    /// Key of the user table.
    pub fn text(&self) -> String {
        format!("{}/{}", self.waba_id, self.party)
    }
}

impl GroupKey {
    /// Key of the group in transitions: that of its conversation.
    pub fn text(&self) -> String {
        format!("{}/{}", self.phone_number_id, self.group)
    }
}

impl PaymentKey {
    /// Key of the payment in transitions.
    pub fn text(&self) -> String {
        format!("{}/{}/{}", self.wamid, self.reference_id, self.transaction_id)
    }
}

/// The natural key of an event: two events with the same key are the same fact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NaturalKey(String);

impl NaturalKey {
    /// Takes the text; one that is too long for a key is replaced by its digest, which is as
    /// unique.
    pub fn new(text: String) -> Self {
        if text.len() <= ID_BYTES_MAX {
            Self(text)
        } else {
            Self(format!("sha256:{}", crate::hash::sha256_hex(text.as_bytes())))
        }
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Likewise, for good.
    pub fn into_text(self) -> String {
        self.0
    }
}
