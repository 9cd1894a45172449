//! Filters of messages: what finds them, and what is looked at in those that were found.
//!
//! Messages are listed by conversation, by number, by each label and by trace id, in the order of time. So
//! one of these opens a scan, the time bounds it, and everything else is looked at in the messages of the
//! scan, as they are told. A label finds fewer than a number, so beside one the number is looked at.

use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::find_messages_request::What;

use super::{Comparison, Field, Kind, Operator, Value, names, parse};
use crate::reasons::{Failure, Reason};

/// What of a message is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    State,
    Direction,
    ErrorCode,
    MessageType,
    TemplateId,
    WabaId,
    PhoneNumberId,
    ListTime,
    Template,
    Language,
    Campaign,
    Intent,
    Trace,
}

const EQUAL: &[Operator] = &[Operator::Equal];
const EQUAL_OR_NOT: &[Operator] = &[Operator::Equal, Operator::NotEqual];
const ORDERED: &[Operator] = &[
    Operator::Equal,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Greater,
    Operator::GreaterOrEqual,
];

const STATES: Kind = Kind::Word {
    prefix: "MESSAGE_STATE_",
    words: &["PENDING", "SENT", "DELIVERED", "READ", "PLAYED", "FAILED", "RECEIVED", "UNKNOWN"],
};
const DIRECTIONS: Kind =
    Kind::Word { prefix: "MESSAGE_DIRECTION_", words: &["INBOUND", "OUTBOUND"] };

const STATE: Field<Of> = field(Of::State, "state", STATES, EQUAL_OR_NOT);
const DIRECTION: Field<Of> = field(Of::Direction, "direction", DIRECTIONS, EQUAL_OR_NOT);
const ERROR_CODE: Field<Of> = field(Of::ErrorCode, "error_code", Kind::Number, EQUAL_OR_NOT);
const MESSAGE_TYPE: Field<Of> = field(Of::MessageType, "message_type", Kind::Text, EQUAL_OR_NOT);
const TEMPLATE_ID: Field<Of> = field(Of::TemplateId, "template_id", Kind::Text, EQUAL_OR_NOT);
const WABA_ID: Field<Of> = field(Of::WabaId, "waba_id", Kind::Text, EQUAL_OR_NOT);
const NUMBER_ID: Field<Of> = field(Of::PhoneNumberId, "phone_number_id", Kind::Text, EQUAL_OR_NOT);
const LIST_TIME: Field<Of> = field(Of::ListTime, "list_time", Kind::Time, ORDERED);
const INTENT: Field<Of> = field(Of::Intent, "labels.intent", Kind::Text, EQUAL);
const CAMPAIGN: Field<Of> = field(Of::Campaign, "labels.campaign", Kind::Text, EQUAL);
const TEMPLATE: Field<Of> = field(Of::Template, "labels.template", Kind::Text, EQUAL);
const LANGUAGE: Field<Of> = field(Of::Language, "labels.language", Kind::Text, EQUAL);
const TRACE: Field<Of> = field(Of::Trace, "fbtrace_id", Kind::Text, EQUAL);

const fn field(
    of: Of,
    name: &'static str,
    kind: Kind,
    operators: &'static [Operator],
) -> Field<Of> {
    Field { of, name, kind, operators }
}

/// Of a conversation, which is an argument.
const OF_CONVERSATION: &[Field<Of>] =
    &[STATE, DIRECTION, ERROR_CODE, MESSAGE_TYPE, TEMPLATE_ID, LIST_TIME];

/// Those that are arguments of a search.
const OPENING: &[Field<Of>] = &[INTENT, CAMPAIGN, TEMPLATE, LANGUAGE, TRACE];

/// Of a list without a conversation. It is in the order of time, which messages of a trace id are not.
const OF_LIST: &[Field<Of>] = OF_SEARCH.split_at(OF_SEARCH.len() - 1).0;

/// Of a search. The last is what a list does not have.
pub(super) const OF_SEARCH: &[Field<Of>] = &[
    STATE,
    DIRECTION,
    ERROR_CODE,
    MESSAGE_TYPE,
    TEMPLATE_ID,
    WABA_ID,
    NUMBER_ID,
    LIST_TIME,
    INTENT,
    CAMPAIGN,
    TEMPLATE,
    LANGUAGE,
    TRACE,
];

/// What messages of a scan must meet to be told.
#[derive(Debug, Default)]
pub(in crate::query) struct Conditions {
    looked_at: Vec<Comparison<Of>>,
    /// The oldest time of the scan.
    pub(in crate::query) from: Option<Timestamp>,
    /// Where it begins, which is left out.
    pub(in crate::query) to: Option<Timestamp>,
}

/// What opens the scan of a search, and the conditions.
#[derive(Debug)]
pub(in crate::query) struct FoundBy {
    pub(in crate::query) opening: Opening,
    pub(in crate::query) conditions: Conditions,
}

/// What opens a scan.
#[derive(Debug)]
pub(in crate::query) enum Opening {
    /// An argument of a search.
    What(What),
    /// A number, by its id.
    Number(String),
}

/// The conditions of a list of a conversation.
pub(in crate::query) fn in_conversation(filter: &str) -> Result<Conditions, Failure> {
    let mut conditions = Conditions::default();
    parse(filter, OF_CONVERSATION)?.into_iter().for_each(|one| conditions.add(one));
    Ok(conditions)
}

/// What finds the messages of a list without a conversation: its number, which may be empty, or its
/// filter, or both together.
pub(in crate::query) fn in_list(number: &str, filter: &str) -> Result<FoundBy, Failure> {
    let mut comparisons = parse(filter, OF_LIST)?;
    if !number.is_empty() {
        let (Field { of, name, .. }, value) = (NUMBER_ID, Value::Text(number.to_owned()));
        comparisons.insert(0, Comparison { of, name, operator: Operator::Equal, value, at: 1 });
    }
    if comparisons.is_empty() {
        return Err(Failure::argument("phone_number_id", "is required"));
    }
    opened(None, comparisons, OF_LIST)
}

/// What finds the messages of a search: its argument, or its filter, or of labels both together.
pub(in crate::query) fn found_by(what: Option<&What>, filter: &str) -> Result<FoundBy, Failure> {
    let comparisons = parse(filter, OF_SEARCH)?;
    if what.is_none() && comparisons.is_empty() {
        return Err(Failure::argument("what", "is required"));
    }
    opened(what, comparisons, OF_SEARCH)
}

fn opened(
    what: Option<&What>,
    comparisons: Vec<Comparison<Of>>,
    fields: &[Field<Of>],
) -> Result<FoundBy, Failure> {
    let (mut what, mut conditions) = (what.cloned(), Conditions::default());
    for comparison in comparisons {
        if !OPENING.iter().any(|field| field.of == comparison.of) {
            conditions.add(comparison);
            continue;
        }
        let what = what.get_or_insert_with(|| match comparison.of {
            Of::Trace => What::FbtraceId(String::new()),
            _ => What::Labels(pb::Labels::default()),
        });
        let place = match (comparison.of, what) {
            (Of::Trace, What::FbtraceId(trace)) => Some(trace),
            (Of::Intent, What::Labels(labels)) => Some(&mut labels.intent),
            (Of::Campaign, What::Labels(labels)) => Some(&mut labels.campaign),
            (Of::Template, What::Labels(labels)) => Some(&mut labels.template),
            (Of::Language, What::Labels(labels)) => Some(&mut labels.language),
            _ => None,
        };
        match (place, &comparison.value) {
            (Some(place), Value::Text(text)) if place.is_empty() => place.clone_from(text),
            _ => {
                let what = "is a second thing to find messages by";
                return Err(comparison.refused(what, "labels, each once, or one trace id"));
            }
        }
    }
    let opening = what.map(Opening::What).or_else(|| conditions.take_number().map(Opening::Number));
    if let Some(opening) = opening {
        return Ok(FoundBy { opening, conditions });
    }
    let opens = |of| of == Of::PhoneNumberId || OPENING.iter().any(|field| field.of == of);
    let opening: Vec<_> = fields.iter().filter(|field| opens(field.of)).copied().collect();
    let allowed = names(&opening);
    let text = format!("names nothing by which messages are listed: with =, one of {allowed}");
    let failure = Failure::field(Reason::FilterNotIndexed, "filter", text);
    Err(failure.with("allowed", allowed))
}

impl Conditions {
    fn add(&mut self, comparison: Comparison<Of>) {
        let Value::Time(time) = comparison.value else {
            self.looked_at.push(comparison);
            return;
        };
        let after = Timestamp::from_millis(time.as_millis().saturating_add(1));
        match comparison.operator {
            Operator::Equal => {
                self.not_before(time);
                self.before(after);
            }
            Operator::Greater => self.not_before(after),
            Operator::GreaterOrEqual => self.not_before(time),
            Operator::Less => self.before(time),
            Operator::LessOrEqual => self.before(after),
            // A time has no such operator: no scan would be shorter for it.
            Operator::NotEqual => {}
        }
    }

    /// The number that all messages have to have, which opens a scan and is met by all of it.
    fn take_number(&mut self) -> Option<String> {
        let is_number =
            |one: &Comparison<Of>| one.of == Of::PhoneNumberId && one.operator == Operator::Equal;
        let at = self.looked_at.iter().position(is_number)?;
        match self.looked_at.remove(at).value {
            Value::Text(number) => Some(number),
            Value::Word(_) | Value::Number(_) | Value::Time(_) => None,
        }
    }

    /// Nothing that is older.
    pub(in crate::query) fn not_before(&mut self, time: Timestamp) {
        self.from = self.from.max(Some(time));
    }

    /// Nothing of that time or newer.
    pub(in crate::query) fn before(&mut self, time: Timestamp) {
        self.to = Some(self.to.map_or(time, |to| to.min(time)));
    }

    /// What is looked at, as page tokens are bound to it; empty if nothing is.
    pub(in crate::query) fn looked_at(&self) -> String {
        Comparison::join(&self.looked_at)
    }

    /// The bounds as page tokens are bound to them; empty where there is none.
    pub(in crate::query) fn bounds(&self) -> [String; 2] {
        [self.from, self.to].map(|time| time.map(|time| time.to_string()).unwrap_or_default())
    }

    /// Whether a message of the scan is told.
    pub(in crate::query) fn are_met(&self, message: &pb::Message) -> bool {
        let equal = |comparison: &Comparison<Of>| match (comparison.of, &comparison.value) {
            (Of::State, Value::Word(word)) => {
                message.state().as_str_name().strip_prefix("MESSAGE_STATE_") == Some(*word)
            }
            (Of::Direction, Value::Word(word)) => {
                message.direction().as_str_name().strip_prefix("MESSAGE_DIRECTION_") == Some(*word)
            }
            (Of::ErrorCode, Value::Number(code)) => {
                let of_participants = message.participants.iter().flat_map(|one| &one.errors);
                message.errors.iter().chain(of_participants).any(|error| error.code == *code)
            }
            (Of::MessageType, Value::Text(text)) => message.message_type == *text,
            (Of::TemplateId, Value::Text(text)) => message.template_id == *text,
            (Of::WabaId, Value::Text(text)) => message.waba_id == *text,
            (Of::PhoneNumberId, Value::Text(text)) => message.phone_number_id == *text,
            // What opens or bounds the scan is met by all of it.
            _ => comparison.operator == Operator::Equal,
        };
        self.looked_at.iter().all(|one| equal(one) == (one.operator == Operator::Equal))
    }
}
