//! Apps as they are configured: each with its path, its secrets and its verify tokens, and the check
//! that refuses what could verify nothing. `Debug` shows names and ids, never a secret or a token.
//!
//! What is served of them, and its counters, is in `served`.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tickfold_core::signature::{Signature, verify};
use tickfold_core::time::Timestamp;

use crate::Error;

/// Name of the app when only one is configured.
pub const DEFAULT_APP: &str = "main";

/// Names and ids are header values in the log, label values and path segments.
const NAME_BYTES_MAX: usize = 64;

/// A Meta app that sends webhooks to `/webhook/{name}`.
#[derive(Debug, Clone)]
pub struct App {
    /// Lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// App secrets, tried in this order; at least one. While a secret is exchanged, both are here.
    pub secrets: Vec<Secret>,
    /// Tokens the verification handshake accepts; none refuses every handshake.
    pub verify_tokens: Vec<VerifyToken>,
}

/// An app secret with the id by which logs, metrics and raw records name it.
#[derive(Clone)]
pub struct Secret {
    /// Letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The bytes of the secret.
    pub key: Vec<u8>,
    /// It verifies from this time on; `None`: from ever.
    pub active_from: Option<Timestamp>,
    /// It verifies before this time; `None`: for ever.
    pub active_until: Option<Timestamp>,
}

impl Secret {
    /// A secret that is always active.
    pub fn new(id: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        Self { id: id.into(), key: key.into(), active_from: None, active_until: None }
    }

    /// Whether it may verify at this time.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.active_from.is_none_or(|from| from <= now)
            && self.active_until.is_none_or(|until| now < until)
    }

    /// Whether the signature is that of this body with this secret, active or not.
    pub(crate) fn verifies(&self, body: &[u8], signature: &Signature) -> bool {
        verify(&self.key, body, signature)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut secret = f.debug_struct("Secret");
        secret.field("id", &self.id).field("active_from", &self.active_from);
        secret.field("active_until", &self.active_until).finish_non_exhaustive()
    }
}

/// A verify token, kept as its SHA-256: digests have one length, so that comparing them in
/// constant time does not even tell the length of the token.
#[derive(Clone)]
pub struct VerifyToken([u8; 32]);

impl VerifyToken {
    /// Takes the token as configured at Meta.
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for VerifyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyToken(..)")
    }
}

impl App {
    /// Refuses apps that could verify nothing or be mixed up; the same check that
    /// [`run`](crate::run) makes, for a binary that validates before it binds.
    pub fn check_all(apps: &[Self]) -> Result<(), Error> {
        if apps.is_empty() {
            return Err(Error::Apps("there is none".to_owned()));
        }
        for (position, app) in apps.iter().enumerate() {
            app.check()?;
            if apps.iter().take(position).any(|earlier| earlier.name == app.name) {
                return Err(app.refuse("its name occurs twice"));
            }
        }
        Ok(())
    }

    /// Whether the token is one of this app's. All tokens are compared, found or not.
    pub(crate) fn accepts_token(&self, token: &str) -> bool {
        let given = VerifyToken::new(token);
        let none = subtle::Choice::from(0);
        let found = self.verify_tokens.iter().fold(none, |found, VerifyToken(digest)| {
            found | digest.as_slice().ct_eq(given.0.as_slice())
        });
        found.into()
    }

    fn check(&self) -> Result<(), Error> {
        let lower = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
        if !is_name(&self.name, lower) {
            let reason = "has other characters than a-z, 0-9, - and _, or not 1 to 64 of them";
            return Err(self.refuse(&format!("its name {reason}")));
        }
        if self.secrets.is_empty() {
            return Err(self.refuse("it has no secret, so nothing could be verified"));
        }
        for (position, secret) in self.secrets.iter().enumerate() {
            let any = |c: char| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.');
            if !is_name(&secret.id, any) {
                return Err(self.refuse("the id of a secret is empty, long, or has odd characters"));
            }
            if secret.key.is_empty() {
                return Err(self.refuse(&format!("secret {} is empty", secret.id)));
            }
            if let (Some(from), Some(until)) = (secret.active_from, secret.active_until)
                && until <= from
            {
                let reason = format!("secret {} ends before it begins", secret.id);
                return Err(self.refuse(&reason));
            }
            if self.secrets.iter().take(position).any(|earlier| earlier.id == secret.id) {
                return Err(self.refuse(&format!("secret id {} occurs twice", secret.id)));
            }
        }
        let empty = VerifyToken::new("");
        if self.verify_tokens.iter().any(|token| token.0 == empty.0) {
            return Err(self.refuse("a verify token is empty"));
        }
        Ok(())
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::Apps(format!("app {:?}: {reason}", self.name))
    }
}

fn is_name(name: &str, allowed: impl Fn(char) -> bool) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, secrets: &[(&str, &str)], tokens: &[&str]) -> App {
        let secret = |(id, key): &(&str, &str)| Secret::new(*id, *key);
        App {
            name: name.to_owned(),
            secrets: secrets.iter().map(secret).collect(),
            verify_tokens: tokens.iter().map(|token| VerifyToken::new(token)).collect(),
        }
    }

    #[test]
    fn debug_shows_no_secret_and_no_token() {
        let shown = format!("{:?}", app("main", &[("2026-11", "hush-hush")], &["open sesame"]));
        assert!(shown.contains("2026-11"), "{shown}");
        let bytes = format!("{:?}", b"hush-hush");
        for hidden in ["hush", "sesame", bytes.trim_matches(['[', ']'])] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }

    #[test]
    fn any_of_several_tokens_is_accepted_and_nothing_else() {
        let app = app("main", &[("1", "k")], &["one", "two"]);
        assert!(app.accepts_token("one") && app.accepts_token("two"));
        for token in ["", "on", "onee", "One", "three"] {
            assert!(!app.accepts_token(token), "{token}");
        }
    }

    #[test]
    fn apps_that_could_verify_nothing_or_be_mixed_up_are_refused() {
        let good = || app("main", &[("1", "k")], &["t"]);
        assert!(App::check_all(&[good()]).is_ok());
        let mut ends_before_it_begins = good();
        if let [secret] = ends_before_it_begins.secrets.as_mut_slice() {
            let at = Timestamp::from_millis(1_000);
            (secret.active_from, secret.active_until) = (Some(at), Some(at));
        }
        let bad = [
            vec![],
            vec![good(), good()],
            vec![app("Main", &[("1", "k")], &[])],
            vec![app("a/b", &[("1", "k")], &[])],
            vec![app("", &[("1", "k")], &[])],
            vec![app("main", &[], &[])],
            vec![app("main", &[("1", "")], &[])],
            vec![app("main", &[("1\n", "k")], &[])],
            vec![app("main", &[("1", "k"), ("1", "l")], &[])],
            vec![ends_before_it_begins],
            vec![app("main", &[("1", "k")], &[""])],
        ];
        for apps in bad {
            let shown = format!("{apps:?}");
            assert!(matches!(App::check_all(&apps), Err(Error::Apps(_))), "{shown}");
        }
    }

    #[test]
    fn a_secret_is_active_from_its_begin_until_just_before_its_end() {
        let at = Timestamp::from_millis;
        let secret = |from: Option<i64>, until: Option<i64>| Secret {
            active_from: from.map(at),
            active_until: until.map(at),
            ..Secret::new("1", "k")
        };
        for (secret, active) in [
            (secret(None, None), [true, true, true]),
            (secret(Some(10), None), [false, true, true]),
            (secret(None, Some(10)), [true, false, false]),
            (secret(Some(10), Some(11)), [false, true, false]),
        ] {
            assert_eq!([9, 10, 11].map(|ms| secret.is_active(at(ms))), active, "{secret:?}");
        }
    }
}
