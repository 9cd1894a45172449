//! The filter language of lists: comparisons joined by AND. `docs/api.md` has the grammar.
//!
//! It is read by hand from left to right into a list of comparisons: there is nothing to nest, so
//! nothing recurses, and both the text and the list have a bound. A list says which fields there are,
//! what their values are and which operators it answers. Everything else is refused with its place in
//! the text and what could stand there; the text itself may be personal and is never repeated.
//!
//! A filter opens no scan that a list does not have: `messages` and `entities` say how its comparisons
//! become the arguments of one, or are looked at in what the scan gives.

mod entities;
mod messages;
mod reader;

use std::fmt;

use tickfold_core::time::Timestamp;

use crate::reasons::{Failure, Reason};
use reader::Reader;

pub(super) use entities::entities;
pub(super) use messages::{Conditions, FoundBy, Opening, found_by, in_conversation, in_list};

/// Longer texts are refused before they are read.
const BYTES_MAX: usize = 4 * 1024;
/// Each is looked at in each message of a scan.
const COMPARISONS_MAX: usize = 32;

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a field is compared with.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One of these words, in either case, also with the prefix of its enum.
    Word { prefix: &'static str, words: &'static [&'static str] },
    /// Any text but the empty one, compared byte for byte.
    Text,
    /// A whole number.
    Number,
    /// A time in RFC 3339, to the millisecond.
    Time,
}

/// A field of a list, by which `F` its list knows it.
#[derive(Debug, Clone, Copy)]
struct Field<F> {
    of: F,
    name: &'static str,
    kind: Kind,
    operators: &'static [Operator],
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Word(&'static str),
    Text(String),
    Number(i64),
    Time(Timestamp),
}

/// A comparison that was read. [`Display`](fmt::Display) writes it so that it is read again as the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison<F> {
    of: F,
    name: &'static str,
    operator: Operator,
    value: Value,
    /// At which character it begins, from 1.
    at: usize,
}

/// Reads a filter over these fields; the empty one has no comparisons.
fn parse<F: Copy>(text: &str, fields: &[Field<F>]) -> Result<Vec<Comparison<F>>, Failure> {
    if text.len() > BYTES_MAX {
        return Err(refused(1, "begins a text of more than 4096 bytes", "a shorter one"));
    }
    let mut reader = Reader::new(text);
    let mut comparisons = Vec::new();
    if reader.is_end() {
        return Ok(comparisons);
    }
    loop {
        if comparisons.len() >= COMPARISONS_MAX {
            let what = "begins one comparison more than 32";
            return Err(refused(reader.at(), what, "the end"));
        }
        comparisons.push(comparison(&mut reader, fields)?);
        if reader.is_end() {
            return Ok(comparisons);
        }
        let at = reader.at();
        if reader.word() != "AND" {
            return Err(refused(at, "is neither AND nor the end", "AND"));
        }
    }
}

fn comparison<F: Copy>(
    reader: &mut Reader<'_>,
    fields: &[Field<F>],
) -> Result<Comparison<F>, Failure> {
    let (at, name) = (reader.at(), reader.word());
    let field = fields.iter().find(|field| field.name == name);
    let unknown = || refused(at, "is no field of this list", &names(fields));
    let Field { of, name, kind, operators } = *field.ok_or_else(unknown)?;
    let (sign_at, operator) = (reader.at(), reader.operator());
    let Some(operator) = operator.filter(|operator| operators.contains(operator)) else {
        let signs: Vec<_> = operators.iter().map(|operator| operator.sign()).collect();
        return Err(refused(sign_at, "is no operator of this field", &signs.join(", ")));
    };
    let value_at = reader.at();
    let value = kind.read(&reader.value()?);
    let odd = || refused(value_at, "is no value of this field", &kind.to_string());
    let value = value.ok_or_else(odd)?;
    Ok(Comparison { of, name, operator, value, at })
}

/// The names of fields, as a person reads them.
fn names<F>(fields: &[Field<F>]) -> String {
    fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
}

/// A filter that is refused at a character, counted from 1, and what could stand there.
fn refused(at: usize, what: &str, allowed: &str) -> Failure {
    let what = format!("character {at} {what}; allowed: {allowed}");
    let failure = Failure::field(Reason::FilterInvalid, "filter", what);
    failure.with("position", at).with("allowed", allowed)
}

impl Operator {
    const ALL: [Self; 6] = [
        // The longer first: it begins with a shorter one.
        Self::NotEqual,
        Self::LessOrEqual,
        Self::GreaterOrEqual,
        Self::Equal,
        Self::Less,
        Self::Greater,
    ];

    fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Kind {
    fn read(self, text: &str) -> Option<Value> {
        match self {
            Self::Word { prefix, words } => {
                let bare = text.get(..prefix.len()).filter(|p| p.eq_ignore_ascii_case(prefix));
                let text = bare.and_then(|_| text.get(prefix.len()..)).unwrap_or(text);
                words.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|w| Value::Word(w))
            }
            Self::Text => (!text.is_empty()).then(|| Value::Text(text.to_owned())),
            Self::Number => text.parse().ok().map(Value::Number),
            Self::Time => Timestamp::parse_rfc3339(text).map(Value::Time),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word { words, .. } => f.write_str(&words.join(", ")),
            Self::Text => f.write_str("a text that is not empty, such as \"a b\""),
            Self::Number => f.write_str("a whole number, such as 131026"),
            Self::Time => f.write_str("a time, such as \"2026-11-20T00:00:00Z\""),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Text(text) => {
                write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Self::Number(number) => write!(f, "{number}"),
            Self::Time(time) => write!(f, "\"{time}\""),
        }
    }
}

impl<F> fmt::Display for Comparison<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.operator.sign(), self.value)
    }
}

impl<F> Comparison<F> {
    /// Comparisons as one filter, in the form that page tokens are bound to.
    fn join(all: &[Self]) -> String {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" AND ")
    }

    /// A comparison that cannot stand beside another one or an argument.
    fn refused(&self, what: &str, allowed: &str) -> Failure {
        refused(self.at, what, allowed)
    }
}

#[cfg(test)]
mod tests;
