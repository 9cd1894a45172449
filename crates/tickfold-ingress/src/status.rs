//! What the admin listener shows of ingress: readiness with its reason, and counters per app and
//! secret. A cheap handle, shared between the binary and the running ingress.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tickfold_core::time::Timestamp;

use crate::apps::Apps;

/// Clones share one status.
#[derive(Debug, Clone, Default)]
pub struct IngressStatus(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    log_failing: bool,
    apps: BTreeMap<String, AppState>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Serving,
    Draining,
}

#[derive(Debug, Default)]
struct AppState {
    signature_failures: u64,
    /// In the order in which the secrets are tried.
    secrets: Vec<SecretStatus>,
}

/// What `/readyz` needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether to send webhooks here.
    pub ready: bool,
    /// Why not: `starting`, `draining` or `log_unavailable` (the last append failed or missed its
    /// deadline, and none succeeded since; ticks try again without any request).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// What `/statusz` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IngressSnapshot {
    /// As for `/readyz`.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// By name.
    pub apps: Vec<AppStatus>,
}

/// Counters of an app since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// Requests refused because of their signature.
    pub signature_failures: u64,
    /// There were failures and no match yet: probably a wrong secret. It does not make ingress
    /// unready by itself, since anyone can send a wrong signature.
    pub no_signature_matched: bool,
    /// In the order in which they are tried.
    pub secrets: Vec<SecretStatus>,
}

/// Counters of a secret since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretStatus {
    /// Its id.
    pub id: String,
    /// Signatures it verified.
    pub matches: u64,
    /// When it last verified one; a secret long without a match is safe to retire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_match_time: Option<Timestamp>,
}

impl IngressStatus {
    /// A status that says `starting` until ingress runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to send webhooks here, and why not.
    pub fn readiness(&self) -> Readiness {
        self.state().readiness()
    }

    /// Names of the apps that had signature failures and no match yet.
    pub fn no_signature_matched(&self) -> Vec<String> {
        let state = self.state();
        let unmatched = state.apps.iter().filter(|(_, app)| app.no_signature_matched());
        unmatched.map(|(name, _)| name.clone()).collect()
    }

    /// Everything, for `/statusz`.
    pub fn snapshot(&self) -> IngressSnapshot {
        let state = self.state();
        let app = |(name, app): (&String, &AppState)| AppStatus {
            name: name.clone(),
            signature_failures: app.signature_failures,
            no_signature_matched: app.no_signature_matched(),
            secrets: app.secrets.clone(),
        };
        IngressSnapshot { readiness: state.readiness(), apps: state.apps.iter().map(app).collect() }
    }

    pub(crate) fn set_serving(&self, apps: &Apps) {
        let mut state = self.state();
        state.phase = Phase::Serving;
        for app in apps.iter() {
            let secret =
                |id: &String| SecretStatus { id: id.clone(), matches: 0, last_match_time: None };
            let secrets = app.secrets.iter().map(|s| secret(&s.id)).collect();
            state.apps.insert(app.name.clone(), AppState { signature_failures: 0, secrets });
        }
    }

    pub(crate) fn set_draining(&self) {
        self.state().phase = Phase::Draining;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state().phase == Phase::Draining
    }

    pub(crate) fn set_log_failing(&self, failing: bool) {
        self.state().log_failing = failing;
    }

    pub(crate) fn count_match(&self, app: &str, secret_id: &str, now: Timestamp) {
        let mut state = self.state();
        let Some(app) = state.apps.get_mut(app) else { return };
        if let Some(secret) = app.secrets.iter_mut().find(|secret| secret.id == secret_id) {
            secret.matches += 1;
            secret.last_match_time = secret.last_match_time.max(Some(now));
        }
    }

    pub(crate) fn count_failure(&self, app: &str) {
        if let Some(app) = self.state().apps.get_mut(app) {
            app.signature_failures += 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method leaves the state half changed, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn readiness(&self) -> Readiness {
        let reason = match self.phase {
            Phase::Starting => Some("starting"),
            Phase::Draining => Some("draining"),
            Phase::Serving => self.log_failing.then_some("log_unavailable"),
        };
        Readiness { ready: reason.is_none(), reason }
    }
}

impl AppState {
    fn no_signature_matched(&self) -> bool {
        self.signature_failures > 0 && self.secrets.iter().all(|secret| secret.matches == 0)
    }
}
