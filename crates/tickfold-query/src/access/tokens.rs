//! The tokens that are known: who has which, and what each may.
//!
//! A token is 256 random bits, so its plain SHA-256 can stand in a file without being of use to whoever
//! reads that. What a caller sends is hashed and compared with every entry, in time that does not
//! depend on how much of it is right. Entries are replaced while calls are under way: one that is gone
//! or changed ends every call and stream that came by it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use subtle::{Choice, ConstantTimeEq};
use tickfold_core::hash::sha256;
use tickfold_core::ids::WabaId;
use tickfold_core::time::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Access, Accounts, Scope};
use crate::{Clock, Error};

/// What each token begins with, so that whoever finds one knows what it is.
pub const TOKEN_PREFIX: &str = "tickfold_";

/// Accounts of one entry: they have to fit into the metadata of a call between nodes.
const ACCOUNTS_MAX: usize = 1_000;
const ACCOUNT_BYTES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 64;

/// An entry of the tokens file.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// Names the caller in logs; each name once.
    pub name: String,
    /// By what the caller is known.
    pub proof: Proof,
    /// What it may.
    pub scopes: BTreeSet<Scope>,
    /// Of which accounts.
    pub accounts: Accounts,
    /// From when on it may nothing more; `None`: it does not end by itself.
    pub expires: Option<Timestamp>,
    /// Calls and streams that it may have open at once on a node, in number; `None`: as many as anybody.
    pub calls_max: Option<usize>,
}

/// By what a caller is known.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// The SHA-256 of its token.
    TokenHash([u8; 32]),
    /// A DNS name of its client certificate.
    CertificateName(String),
}

impl fmt::Debug for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

impl TokenEntry {
    /// Refuses a list of entries that does not say who is who, or says too much.
    pub fn check_all(entries: &[Self]) -> Result<(), Error> {
        let (mut names, mut proofs) = (BTreeSet::new(), Vec::new());
        for entry in entries {
            entry.check()?;
            if !names.insert(&entry.name) {
                return Err(Error::Tokens(format!("there are two tokens {}", entry.name)));
            }
            if proofs.contains(&&entry.proof) {
                let what = format!("token {} is the token of another entry too", entry.name);
                return Err(Error::Tokens(what));
            }
            proofs.push(&entry.proof);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        let refused = |what: &str| Err(Error::Tokens(format!("token {}: {what}", self.name)));
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !self.name.chars().all(is_word) {
            let what = format!("{:?} is no name: 1 to 64 letters, digits, . - _", self.name);
            return Err(Error::Tokens(what));
        }
        if self.scopes.is_empty() {
            return refused("it has no scope");
        }
        if self.calls_max == Some(0) {
            return refused("calls_max is 0");
        }
        let is_wide = self.accounts == Accounts::All;
        if self.scopes.contains(&Scope::Node) && (self.scopes.len() > 1 || !is_wide) {
            return refused("a node has the scope node alone, and every account");
        }
        if self.scopes.contains(&Scope::Admin) && !is_wide {
            return refused(
                "what the scope admin shows is of every account: it needs wabas = [\"*\"]",
            );
        }
        let Accounts::Only(accounts) = &self.accounts else { return Ok(()) };
        if !(1..=ACCOUNTS_MAX).contains(&accounts.len()) {
            return refused("it has to name 1 to 1000 accounts, or \"*\"");
        }
        let is_id = |id: &WabaId| {
            (1..=ACCOUNT_BYTES_MAX).contains(&id.as_str().len()) && id.as_str().chars().all(is_word)
        };
        if accounts.iter().all(is_id) { Ok(()) } else { refused("a waba is no id of an account") }
    }
}

/// What a replacement changed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokensReplaced {
    /// Known from now on.
    pub added: Vec<String>,
    /// Taken back.
    pub removed: Vec<String>,
    /// Other than before: calls that came by them ended.
    pub changed: Vec<String>,
    /// The same as before.
    pub kept: Vec<String>,
}

/// The entries in force. Clones are the same.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<RwLock<Vec<Arc<Known>>>>);

/// An entry in force.
#[derive(Debug)]
pub(crate) struct Known {
    entry: TokenEntry,
    access: Access,
    /// Ends the access.
    ended: CancellationToken,
    slots: Option<Arc<Semaphore>>,
}

impl Tokens {
    /// The entries, checked.
    pub fn new(entries: Vec<TokenEntry>) -> Result<Self, Error> {
        let tokens = Self(Arc::default());
        tokens.replace(entries)?;
        Ok(tokens)
    }

    /// Puts others in their place. What is the same stays as it is, with its calls.
    pub fn replace(&self, entries: Vec<TokenEntry>) -> Result<TokensReplaced, Error> {
        TokenEntry::check_all(&entries)?;
        let mut told = TokensReplaced::default();
        // What this guards is whole at any moment, so a panic elsewhere does not spoil it.
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *known);
        for entry in entries {
            let before = old.iter().position(|known| known.entry.name == entry.name);
            match before.map(|at| old.swap_remove(at)) {
                Some(same) if same.entry == entry => {
                    told.kept.push(entry.name);
                    known.push(same);
                    continue;
                }
                Some(other) => {
                    other.ended.cancel();
                    told.changed.push(entry.name.clone());
                }
                None => told.added.push(entry.name.clone()),
            }
            known.push(Arc::new(Known::new(entry)));
        }
        for gone in old {
            gone.ended.cancel();
            told.removed.push(gone.entry.name.clone());
        }
        Ok(told)
    }

    /// The entry of a token.
    pub(crate) fn of_token(&self, token: &str) -> Option<Arc<Known>> {
        let hash = sha256(token.as_bytes());
        let mut found = None;
        for known in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let Proof::TokenHash(expected) = &known.entry.proof else { continue };
            let is_it: Choice = hash.ct_eq(expected);
            // All are looked at, whichever it is.
            if bool::from(is_it) {
                found = Some(Arc::clone(known));
            }
        }
        found
    }

    /// The entry of a client certificate that has these names: the first in the order of the file.
    pub(crate) fn of_certificate(&self, names: &[String]) -> Option<Arc<Known>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &&Arc<Known>| match &known.entry.proof {
            Proof::CertificateName(name) => names.iter().any(|of| of.eq_ignore_ascii_case(name)),
            Proof::TokenHash(_) => false,
        };
        known.iter().find(is_it).map(Arc::clone)
    }
}

impl Known {
    fn new(entry: TokenEntry) -> Self {
        let ended = CancellationToken::new();
        let TokenEntry { name, scopes, accounts, calls_max, .. } = entry.clone();
        let access = Access::new(name, scopes, accounts, ended.clone());
        let slots = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { entry, access, ended, slots: calls_max.map(slots) }
    }

    /// What the caller may, and how long it may still; `None` if its time is over.
    pub(crate) fn access(&self, clock: &Clock) -> Option<(Access, Option<Duration>)> {
        let left = match self.entry.expires {
            None => None,
            Some(expires) => {
                let ms = expires.as_millis().saturating_sub(clock.now().as_millis());
                Some(Duration::from_millis(u64::try_from(ms).ok().filter(|ms| *ms > 0)?))
            }
        };
        Some((self.access.clone(), left))
    }

    /// A slot of the entry's own, if its calls are counted; an error if all are taken.
    pub(crate) fn slot(&self) -> Result<Option<OwnedSemaphorePermit>, ()> {
        let Some(slots) = &self.slots else { return Ok(None) };
        Arc::clone(slots).try_acquire_owned().map(Some).map_err(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, token: &str) -> TokenEntry {
        TokenEntry {
            name: name.to_owned(),
            proof: Proof::TokenHash(sha256(token.as_bytes())),
            scopes: BTreeSet::from([Scope::Query]),
            accounts: Accounts::All,
            expires: None,
            calls_max: None,
        }
    }

    #[test]
    fn a_replacement_ends_what_is_gone_or_changed_and_nothing_else() {
        let tokens = Tokens::new(vec![entry("a", "1"), entry("b", "2"), entry("c", "3")]).unwrap();
        let [a, b, c] = ["1", "2", "3"].map(|token| tokens.of_token(token).unwrap());
        let wider =
            TokenEntry { scopes: Scope::ALL[..2].iter().copied().collect(), ..entry("b", "2") };
        let told = tokens.replace(vec![entry("d", "4"), wider, entry("a", "1")]).unwrap();
        assert_eq!(told.added, ["d"]);
        assert_eq!(told.changed, ["b"]);
        assert_eq!(told.removed, ["c"]);
        assert_eq!(told.kept, ["a"]);
        assert!(!a.ended.is_cancelled() && b.ended.is_cancelled() && c.ended.is_cancelled());
        assert!(Arc::ptr_eq(&a, &tokens.of_token("1").unwrap()));
        assert!(tokens.of_token("3").is_none() && tokens.of_token("4").is_some());
        // What is refused changes nothing.
        assert!(tokens.replace(vec![entry("a", "1"), entry("a", "2")]).is_err());
        assert!(tokens.of_token("4").is_some());
    }

    #[test]
    fn entries_that_say_too_little_or_too_much_are_refused() {
        let one = |change: &dyn Fn(&mut TokenEntry)| {
            let mut entry = entry("a", "1");
            change(&mut entry);
            TokenEntry::check_all(&[entry]).map_err(|error| error.to_string())
        };
        let own = || Accounts::Only(BTreeSet::from([WabaId::from("1")]));
        assert_eq!(one(&|entry| entry.accounts = own()), Ok(()));
        assert_eq!(one(&|entry| entry.scopes = [Scope::Node].into()), Ok(()));
        let refused = |change: &dyn Fn(&mut TokenEntry)| one(change).unwrap_err();
        assert!(refused(&|entry| entry.name.clear()).contains("no name"));
        assert!(refused(&|entry| entry.name = "a b".into()).contains("no name"));
        assert!(refused(&|entry| entry.scopes.clear()).contains("no scope"));
        assert!(refused(&|entry| entry.calls_max = Some(0)).contains("calls_max"));
        let both = |entry: &mut TokenEntry| {
            entry.scopes = [Scope::Node, Scope::Query].into();
        };
        assert!(refused(&both).contains("the scope node alone"));
        let narrow = |entry: &mut TokenEntry| {
            entry.scopes = [Scope::Admin].into();
            entry.accounts = own();
        };
        assert!(refused(&narrow).contains("every account"));
        let none = |entry: &mut TokenEntry| entry.accounts = Accounts::Only(BTreeSet::new());
        assert!(refused(&none).contains("1 to 1000"));
        let odd = |entry: &mut TokenEntry| {
            entry.accounts = Accounts::Only(BTreeSet::from([WabaId::from("1,2")]));
        };
        assert!(refused(&odd).contains("no id of an account"));
        let twice = [entry("a", "1"), entry("b", "1")];
        assert!(TokenEntry::check_all(&twice).is_err(), "one token for two");
    }

    #[test]
    fn a_token_that_is_over_may_nothing() {
        let clock = Clock::new(|| Timestamp::from_millis(5_000));
        let known = |expires| {
            let expires = Some(Timestamp::from_millis(expires));
            let entry = TokenEntry { expires, ..entry("a", "1") };
            Tokens::new(vec![entry]).unwrap().of_token("1").unwrap()
        };
        assert!(known(5_000).access(&clock).is_none());
        let (_, left) = known(5_001).access(&clock).unwrap();
        assert_eq!(left, Some(Duration::from_millis(1)));
    }

    #[test]
    fn nothing_shows_a_token() {
        let shown = format!("{:?}", entry("a", "secret"));
        assert_eq!(shown, "TokenEntry { name: \"a\", .. }");
    }
}
