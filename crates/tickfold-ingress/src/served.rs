//! The apps that are served now, with their counters: looked up by every request, replaced whole by
//! a reload.
//!
//! A reload is one swap. A request that is being read when it happens verifies with what is served
//! once its last byte is there, so a removed secret is dead from the swap on. Counters of a secret
//! survive as long as its id and its key do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ::metrics::Counter;
use arc_swap::ArcSwap;
use serde::Serialize;
use tickfold_core::signature::Signature;
use tickfold_core::time::Timestamp;

use crate::apps::{App, Secret};
use crate::{Error, metrics};

/// For how long Meta may repeat a webhook that an old secret signed. Two of Meta's pages say 7 days,
/// a third 36 hours; here the longer one is the safe one.
const RETRIES_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Handle of the apps; clones share them.
#[derive(Debug, Clone)]
pub struct Apps(Arc<ArcSwap<Vec<Arc<Served>>>>);

/// An app with its counters.
#[derive(Debug)]
pub(crate) struct Served {
    app: App,
    signature_failures: Arc<AtomicU64>,
    failures: Counter,
    /// As many as the app has secrets, in their order.
    matches: Vec<Arc<Matches>>,
}

/// What a secret has verified.
#[derive(Debug)]
struct Matches {
    count: AtomicU64,
    /// Milliseconds; 0 is none yet.
    last_ms: AtomicI64,
    since: Timestamp,
    counter: Counter,
}

/// What a reload changed. Secrets are named `app/id`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Replaced {
    /// Served from now on; also those whose key changed under the same id.
    pub added: Vec<String>,
    /// Dead from now on.
    pub removed: Vec<String>,
    /// Served before and after.
    pub kept: Vec<String>,
}

/// Counters of an app since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// Requests refused because of their signature.
    pub signature_failures: u64,
    /// There were failures and no match yet: probably a wrong secret. It does not make ingress
    /// unready: anyone can send a wrong signature, and a node taken out of service for it could
    /// never see a right one.
    pub no_signature_matched: bool,
    /// In the order in which they are tried.
    pub secrets: Vec<SecretStatus>,
}

/// Counters of a secret since the process began to serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretStatus {
    /// Its id.
    pub id: String,
    /// Whether it verifies now.
    pub active: bool,
    /// Signatures it verified.
    pub matches: u64,
    /// When it last verified one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_match_time: Option<Timestamp>,
    /// Since when it is watched: the start of the process or the reload that brought it.
    pub watched_since: Timestamp,
    /// For 7 days, the longest that Meta repeats a webhook, it verified nothing although another
    /// secret of the app did: nothing will be lost by removing it.
    pub safe_to_retire: bool,
}

impl Apps {
    /// Serves these apps, refusing what [`App::check_all`] refuses.
    pub fn new(apps: Vec<App>, now: Timestamp) -> Result<Self, Error> {
        App::check_all(&apps)?;
        let served = apps.into_iter().map(|app| Arc::new(Served::new(app, None, now))).collect();
        Ok(Self(Arc::new(ArcSwap::from_pointee(served))))
    }

    /// Serves these apps instead, from the return of this call on; on an error the old ones go on.
    pub fn replace(&self, apps: Vec<App>, now: Timestamp) -> Result<Replaced, Error> {
        App::check_all(&apps)?;
        let old = self.0.load_full();
        let before =
            |name: &str| old.iter().find(|served| served.app.name == name).map(Arc::as_ref);
        let served: Vec<_> = apps
            .into_iter()
            .map(|app| {
                let before = before(&app.name);
                Arc::new(Served::new(app, before, now))
            })
            .collect();
        let replaced = Replaced::between(&old, &served);
        self.0.store(Arc::new(served));
        Ok(replaced)
    }

    /// Everything that is counted, by app.
    pub fn snapshot(&self, now: Timestamp) -> Vec<AppStatus> {
        self.0.load().iter().map(|served| served.status(now)).collect()
    }

    /// Names of the apps that had signature failures and no match yet.
    pub fn no_signature_matched(&self) -> Vec<String> {
        let apps = self.0.load();
        let unmatched = apps.iter().filter(|served| served.no_signature_matched());
        unmatched.map(|served| served.app.name.clone()).collect()
    }

    /// A secret that is served now, active or not.
    pub fn secret(&self, app: &str, id: &str) -> Option<Secret> {
        let served = self.get(app)?;
        served.app.secrets.iter().find(|secret| secret.id == id).cloned()
    }

    /// The id of a secret of the app that gives this signature for this body, active or not: for what
    /// was verified once already. Not counted.
    pub fn verifying_secret(
        &self,
        app: &str,
        body: &[u8],
        signature: &Signature,
    ) -> Option<String> {
        let served = self.get(app)?;
        let mut secrets = served.app.secrets.iter();
        secrets.find(|secret| secret.verifies(body, signature)).map(|secret| secret.id.clone())
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Served>> {
        self.0.load().iter().find(|served| served.app.name == name).map(Arc::clone)
    }
}

impl Served {
    fn new(app: App, before: Option<&Self>, now: Timestamp) -> Self {
        let matches = |secret: &Secret| {
            let kept = before.and_then(|before| before.matches_of(secret));
            kept.map_or_else(|| Arc::new(Matches::new(&app.name, secret, now)), Arc::clone)
        };
        let matches = app.secrets.iter().map(matches).collect();
        let signature_failures =
            before.map(|before| Arc::clone(&before.signature_failures)).unwrap_or_default();
        let failures = metrics::signature_failures(&app.name);
        Self { app, signature_failures, failures, matches }
    }

    /// The id of the first active secret that gives this signature for this body; counted.
    pub(crate) fn verify(
        &self,
        body: &[u8],
        signature: &Signature,
        now: Timestamp,
    ) -> Option<String> {
        let mut secrets = self.app.secrets.iter().zip(&self.matches);
        let (secret, matches) = secrets
            .find(|(secret, _)| secret.is_active(now) && secret.verifies(body, signature))?;
        matches.count.fetch_add(1, Ordering::Relaxed);
        matches.last_ms.fetch_max(now.as_millis(), Ordering::Relaxed);
        matches.counter.increment(1);
        Some(secret.id.clone())
    }

    pub(crate) fn accepts_token(&self, token: &str) -> bool {
        self.app.accepts_token(token)
    }

    pub(crate) fn count_failure(&self) {
        self.signature_failures.fetch_add(1, Ordering::Relaxed);
        self.failures.increment(1);
    }

    fn matches_of(&self, secret: &Secret) -> Option<&Arc<Matches>> {
        let same = |of: &Secret| of.id == secret.id && of.key == secret.key;
        let mut secrets = self.app.secrets.iter().zip(&self.matches);
        secrets.find(|(of, _)| same(of)).map(|(_, matches)| matches)
    }

    fn no_signature_matched(&self) -> bool {
        let none = |matches: &Arc<Matches>| matches.count.load(Ordering::Relaxed) == 0;
        self.signature_failures.load(Ordering::Relaxed) > 0 && self.matches.iter().all(none)
    }

    fn status(&self, now: Timestamp) -> AppStatus {
        let secrets = self.app.secrets.iter().zip(&self.matches);
        AppStatus {
            name: self.app.name.clone(),
            signature_failures: self.signature_failures.load(Ordering::Relaxed),
            no_signature_matched: self.no_signature_matched(),
            secrets: secrets
                .map(|(secret, matches)| SecretStatus {
                    id: secret.id.clone(),
                    active: secret.is_active(now),
                    matches: matches.count.load(Ordering::Relaxed),
                    last_match_time: matches.last(),
                    watched_since: matches.since,
                    safe_to_retire: self.safe_to_retire(matches, now),
                })
                .collect(),
        }
    }

    fn safe_to_retire(&self, of: &Arc<Matches>, now: Timestamp) -> bool {
        let quiet = |since: Timestamp| {
            let passed = now.as_millis().saturating_sub(since.as_millis());
            u64::try_from(passed).is_ok_and(|ms| u128::from(ms) >= RETRIES_MAX.as_millis())
        };
        let another = |other: &Arc<Matches>| {
            !Arc::ptr_eq(other, of) && other.last().is_some_and(|last| !quiet(last))
        };
        quiet(of.last().unwrap_or(of.since).max(of.since)) && self.matches.iter().any(another)
    }
}

impl Matches {
    fn new(app: &str, secret: &Secret, now: Timestamp) -> Self {
        let counter = metrics::signature_matches(app, &secret.id);
        Self { count: AtomicU64::new(0), last_ms: AtomicI64::new(0), since: now, counter }
    }

    fn last(&self) -> Option<Timestamp> {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        (last_ms > 0).then(|| Timestamp::from_millis(last_ms))
    }
}

impl Replaced {
    fn between(old: &[Arc<Served>], new: &[Arc<Served>]) -> Self {
        let names = |apps: &[Arc<Served>], others: &[Arc<Served>], in_both: bool| {
            let mut names = Vec::new();
            for served in apps {
                let other = others.iter().find(|other| other.app.name == served.app.name);
                for secret in &served.app.secrets {
                    let both = other.is_some_and(|other| other.matches_of(secret).is_some());
                    if both == in_both {
                        names.push(format!("{}/{}", served.app.name, secret.id));
                    }
                }
            }
            names
        };
        Self {
            added: names(new, old, false),
            removed: names(old, new, false),
            kept: names(new, old, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use tickfold_core::signature::sign;

    use super::*;
    use crate::VerifyToken;

    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn app(name: &str, secrets: &[(&str, &str)]) -> App {
        App {
            name: name.to_owned(),
            secrets: secrets.iter().map(|(id, key)| Secret::new(*id, *key)).collect(),
            verify_tokens: vec![VerifyToken::new("t")],
        }
    }

    fn verify(apps: &Apps, app: &str, key: &str, now: Timestamp) -> Option<String> {
        let signature = Signature::parse(sign(key.as_bytes(), b"body").as_bytes()).unwrap();
        apps.get(app)?.verify(b"body", &signature, now)
    }

    #[test]
    fn a_reload_kills_what_it_removes_and_keeps_the_counters_of_the_rest() {
        let apps = Apps::new(vec![app("a", &[("1", "k1"), ("2", "k2")])], at(1)).unwrap();
        assert_eq!(verify(&apps, "a", "k1", at(5)).as_deref(), Some("1"));
        assert_eq!(verify(&apps, "a", "k2", at(6)).as_deref(), Some("2"));
        apps.get("a").unwrap().count_failure();

        let new = vec![app("a", &[("3", "k3"), ("2", "k2")]), app("b", &[("1", "k1")])];
        let replaced = apps.replace(new, at(10)).unwrap();
        assert_eq!(replaced.added, ["a/3", "b/1"]);
        assert_eq!(
            (replaced.removed, replaced.kept),
            (vec!["a/1".to_owned()], vec!["a/2".to_owned()])
        );
        assert_eq!(verify(&apps, "a", "k1", at(11)), None);
        assert_eq!(verify(&apps, "b", "k1", at(11)).as_deref(), Some("1"));
        let [a, b] = apps.snapshot(at(12)).try_into().unwrap();
        assert_eq!((a.signature_failures, a.secrets[0].matches, a.secrets[1].matches), (1, 0, 1));
        assert_eq!(a.secrets[1].last_match_time, Some(at(6)));
        assert_eq!((b.signature_failures, b.secrets[0].matches), (0, 1));
    }

    #[test]
    fn a_reload_that_is_refused_changes_nothing() {
        let apps = Apps::new(vec![app("a", &[("1", "k1")])], at(1)).unwrap();
        assert!(apps.replace(vec![], at(2)).is_err());
        assert!(apps.replace(vec![app("a", &[("1", "")])], at(2)).is_err());
        assert_eq!(verify(&apps, "a", "k1", at(3)).as_deref(), Some("1"));
    }

    #[test]
    fn the_same_id_with_another_key_is_another_secret() {
        let apps = Apps::new(vec![app("a", &[("1", "old")])], at(1)).unwrap();
        verify(&apps, "a", "old", at(2));
        let replaced = apps.replace(vec![app("a", &[("1", "new")])], at(3)).unwrap();
        assert_eq!((replaced.added, replaced.removed.len()), (vec!["a/1".to_owned()], 1));
        assert_eq!(apps.snapshot(at(4))[0].secrets[0].matches, 0);
        assert_eq!(verify(&apps, "a", "old", at(5)), None);
    }

    #[test]
    fn a_secret_out_of_its_time_verifies_nothing() {
        let mut one = app("a", &[("1", "k1")]);
        one.secrets[0].active_from = Some(at(10));
        let apps = Apps::new(vec![one], at(1)).unwrap();
        assert_eq!(verify(&apps, "a", "k1", at(9)), None);
        assert!(!apps.snapshot(at(9))[0].secrets[0].active);
        assert_eq!(verify(&apps, "a", "k1", at(10)).as_deref(), Some("1"));
    }

    #[test]
    fn a_secret_is_safe_to_retire_after_seven_quiet_days_in_which_another_matched() {
        let apps = Apps::new(vec![app("a", &[("new", "n"), ("old", "o")])], at(1)).unwrap();
        let safe = |now| apps.snapshot(now)[0].secrets[1].safe_to_retire;
        verify(&apps, "a", "o", at(DAY_MS));
        assert!(!safe(at(9 * DAY_MS)), "no other secret matched either: nothing is known");
        verify(&apps, "a", "n", at(7 * DAY_MS));
        assert!(!safe(at(8 * DAY_MS - 1)), "Meta may still repeat what it signed");
        assert!(safe(at(8 * DAY_MS)));
        verify(&apps, "a", "o", at(8 * DAY_MS));
        assert!(!safe(at(8 * DAY_MS)), "a late repeat");
    }

    #[test]
    fn failures_without_a_match_are_told_until_the_first_match() {
        let apps =
            Apps::new(vec![app("a", &[("1", "k1")]), app("b", &[("1", "k")])], at(1)).unwrap();
        assert!(apps.no_signature_matched().is_empty());
        apps.get("a").unwrap().count_failure();
        assert_eq!(apps.no_signature_matched(), ["a"]);
        verify(&apps, "a", "k1", at(2));
        assert!(apps.no_signature_matched().is_empty());
    }
}
