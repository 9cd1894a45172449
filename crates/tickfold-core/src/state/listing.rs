//! By what templates, accounts and numbers are listed: the words under which each may be shown.
//!
//! What is shown changes by itself when log time passes, but at most once: a pause ends, all of what
//! is restricted expires, the day of a ban comes. So what is shown at the beginning and at the end of
//! time is all that is ever shown under these facts, and an index of both needs no timer. Whoever
//! reads it asks the facts which of the two holds.

use super::{AccountFacts, NumberFacts, Restrictions, TemplateFacts};
use crate::ids::WabaId;
use crate::time::Timestamp;

/// What a list is about. The numbers are those of the store: append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ListedBy {
    /// Nothing: all there are. The word is empty.
    All = 1,
    /// The account that a number belongs to.
    Account = 2,
    /// The shown status of a template, the shown state of an account or number.
    State = 3,
    /// The quality of a template, the newest quality event of a number.
    Quality = 4,
    /// A restriction in force on an account or number.
    Restriction = 5,
}

/// The longest word that is listed. Meta's have a few dozen characters, and what is longer is shown
/// where it belongs.
pub const LISTED_BYTES_MAX: usize = 256;

const EVER: [Timestamp; 2] = [Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX)];

/// What there is at any time, once.
fn words<'a>(all: impl IntoIterator<Item = (ListedBy, &'a str)>) -> Vec<(ListedBy, &'a str)> {
    let mut words: Vec<_> =
        all.into_iter().filter(|(_, word)| word.len() <= LISTED_BYTES_MAX).collect();
    words.push((ListedBy::All, ""));
    words.sort_unstable();
    words.dedup();
    words
}

fn ever_in_force(restrictions: &Restrictions) -> impl Iterator<Item = (ListedBy, &str)> {
    let [begin, _] = EVER;
    restrictions.in_force(begin).map(|(kind, _)| (ListedBy::Restriction, kind))
}

impl TemplateFacts {
    /// Every word under which it is listed at some time.
    pub fn listed(&self) -> Vec<(ListedBy, &str)> {
        let shown = EVER.into_iter().filter_map(|at| self.status(at));
        let quality = self.quality.iter().map(|fact| (ListedBy::Quality, fact.score.as_str()));
        words(shown.map(|status| (ListedBy::State, status)).chain(quality))
    }

    /// True if it is listed under the word at a log time.
    pub fn is_listed(&self, by: ListedBy, word: &str, log_time: Timestamp) -> bool {
        match by {
            ListedBy::All => true,
            ListedBy::State => self.status(log_time) == Some(word),
            ListedBy::Quality => self.quality.as_ref().is_some_and(|fact| fact.score == word),
            ListedBy::Account | ListedBy::Restriction => false,
        }
    }
}

impl AccountFacts {
    /// Every word under which it is listed at some time.
    pub fn listed(&self) -> Vec<(ListedBy, &str)> {
        let shown = EVER.into_iter().map(|at| (ListedBy::State, self.state(at).as_str()));
        words(shown.chain(ever_in_force(&self.restrictions)))
    }

    /// True if it is listed under the word at a log time.
    pub fn is_listed(&self, by: ListedBy, word: &str, log_time: Timestamp) -> bool {
        match by {
            ListedBy::All => true,
            ListedBy::State => self.state(log_time).as_str() == word,
            ListedBy::Restriction => {
                self.restrictions.in_force(log_time).any(|(kind, _)| kind == word)
            }
            ListedBy::Account | ListedBy::Quality => false,
        }
    }
}

impl NumberFacts {
    /// Every word under which it is listed at some time.
    pub fn listed(&self) -> Vec<(ListedBy, &str)> {
        let standing = &self.standing;
        let shown = EVER.into_iter().map(|at| (ListedBy::State, standing.state(at).as_str()));
        let quality = standing.newest_quality().map(|(event, _)| (ListedBy::Quality, event));
        let account = self.waba_id.as_ref().map(|id| (ListedBy::Account, id.as_str()));
        let restrictions = ever_in_force(&standing.restrictions);
        words(shown.chain(quality).chain(account).chain(restrictions))
    }

    /// True if it is listed under the word at a log time.
    pub fn is_listed(&self, by: ListedBy, word: &str, log_time: Timestamp) -> bool {
        let standing = &self.standing;
        match by {
            ListedBy::All => true,
            ListedBy::Account => self.waba_id.as_ref().map(WabaId::as_str) == Some(word),
            ListedBy::State => standing.state(log_time).as_str() == word,
            ListedBy::Quality => standing.newest_quality().is_some_and(|(event, _)| event == word),
            ListedBy::Restriction => {
                standing.restrictions.in_force(log_time).any(|(kind, _)| kind == word)
            }
        }
    }
}
