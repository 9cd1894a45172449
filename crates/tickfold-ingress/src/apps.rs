//! The apps whose webhooks are accepted: each with its path, its active secrets and its verify
//! tokens. `Debug` shows names and ids, never a secret or a token.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tickfold_core::signature::{Signature, verify};

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
    /// Active app secrets, tried in this order; at least one.
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
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
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

    /// The first secret that gives this signature for this body.
    pub(crate) fn matching_secret(&self, body: &[u8], signature: &Signature) -> Option<&Secret> {
        self.secrets.iter().find(|secret| verify(&secret.key, body, signature))
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

/// All apps, checked.
#[derive(Debug, Clone)]
pub(crate) struct Apps(Vec<App>);

impl Apps {
    pub(crate) fn new(apps: Vec<App>) -> Result<Self, Error> {
        App::check_all(&apps)?;
        Ok(Self(apps))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&App> {
        self.0.iter().find(|app| app.name == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &App> {
        self.0.iter()
    }
}

fn is_name(name: &str, allowed: impl Fn(char) -> bool) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, secrets: &[(&str, &str)], tokens: &[&str]) -> App {
        let secret = |(id, key): &(&str, &str)| Secret {
            id: (*id).to_owned(),
            key: key.as_bytes().to_vec(),
        };
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
        assert!(Apps::new(vec![good()]).is_ok());
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
            vec![app("main", &[("1", "k")], &[""])],
        ];
        for apps in bad {
            let shown = format!("{apps:?}");
            assert!(matches!(Apps::new(apps), Err(Error::Apps(_))), "{shown}");
        }
    }
}
