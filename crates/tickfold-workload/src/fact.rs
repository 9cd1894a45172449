//! What a body asserts, apart from how it is written.

use std::sync::Arc;

use tickfold_core::ids::{PartyId, PhoneNumberId, TemplateKey, WabaId, Wamid};
use tickfold_core::state::Status;
use tickfold_core::time::Timestamp;

/// A business phone number and its account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    /// The number's id.
    pub phone_number_id: PhoneNumberId,
    /// The account it belongs to.
    pub waba_id: WabaId,
    /// The number as Meta displays it.
    pub display: String,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the customer.
    Inbound,
    /// To the customer.
    Outbound,
}

/// A message, as every webhook about it names it. Ordered by wamid, which alone tells two apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// Its id, unique within a seed.
    pub wamid: Wamid,
    /// Who wrote it.
    pub direction: Direction,
    /// Our side.
    pub number: Arc<Number>,
    /// The customer.
    pub party: PartyId,
}

/// One thing that a body asserts. Equal facts are the same fact, in whichever body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A status of one of our messages, or, as [`Status::Received`], an inbound message.
    Message {
        /// The message.
        message: Arc<Message>,
        /// What is said of it.
        status: Status,
        /// Event time, in whole seconds.
        time: Timestamp,
    },
    /// An event of a template.
    Template {
        /// The template.
        key: Arc<TemplateKey>,
        /// Meta's word, upper case.
        event: &'static str,
        /// Event time (`entry.time`), in whole seconds; never twice the same for one template.
        time: Timestamp,
    },
}

impl Fact {
    /// The account it belongs to.
    pub fn waba_id(&self) -> &WabaId {
        match self {
            Self::Message { message, .. } => &message.number.waba_id,
            Self::Template { key, .. } => &key.waba_id,
        }
    }
}
