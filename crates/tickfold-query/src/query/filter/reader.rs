//! The words, signs and quoted texts of a filter, one after the other, and where they stand.

use std::borrow::Cow;

use super::{Operator, refused};
use crate::reasons::Failure;

/// A filter, read up to some place. White space never counts: it is skipped before everything.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, rest: text.trim_start() }
    }

    pub(super) fn is_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The character that is read next, from 1.
    pub(super) fn at(&self) -> usize {
        let read = self.text.len() - self.rest.len();
        self.text.char_indices().take_while(|(byte, _)| *byte < read).count() + 1
    }

    /// The characters of a word that come next; empty if none do.
    pub(super) fn word(&mut self) -> &'a str {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || "_-.:+".contains(c);
        let end = self.rest.find(|c| !is_of_word(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// The sign that comes next, if one does.
    pub(super) fn operator(&mut self) -> Option<Operator> {
        let next = |operator: &Operator| self.rest.starts_with(operator.sign());
        let operator = Operator::ALL.into_iter().find(next)?;
        self.take(operator.sign().len());
        Some(operator)
    }

    /// The word or quoted text that comes next.
    pub(super) fn value(&mut self) -> Result<Cow<'a, str>, Failure> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return Ok(Cow::Borrowed(self.word()));
        };
        let (mut value, mut chars) = (String::new(), quoted.char_indices());
        while let Some((at, c)) = chars.next() {
            let escaped = if c == '\\' { chars.next().map(|(_, c)| c) } else { None };
            match (c, escaped) {
                ('"', _) => {
                    self.take('"'.len_utf8() + at + c.len_utf8());
                    return Ok(Cow::Owned(value));
                }
                ('\\', Some(c @ ('"' | '\\'))) => value.push(c),
                ('\\', _) => {
                    let at =
                        self.at() + 1 + quoted.get(..at).map_or(0, |text| text.chars().count());
                    return Err(refused(at, "is a \\ before nothing it is for", "\\\" and \\\\"));
                }
                (c, _) => value.push(c),
            }
        }
        Err(refused(self.at(), "opens a quotation that has no end", "a \" at its end"))
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        // Every end that is asked for was found in this text.
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest.trim_start();
        taken
    }
}
