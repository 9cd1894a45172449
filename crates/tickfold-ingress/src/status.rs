//! What the admin listener shows of ingress: readiness with its reason. A cheap handle, shared
//! between the binary and the running ingress; counters per app and secret are in [`Apps`](crate::Apps).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use serde::Serialize;

/// Clones share one status.
#[derive(Debug, Clone, Default)]
pub struct IngressStatus(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// A [`Phase`] as its number.
    phase: AtomicU8,
    log_failing: AtomicBool,
}

/// In the order in which they follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Draining,
}

/// What `/readyz` needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether to send webhooks here.
    pub ready: bool,
    /// Why not: `starting`, `draining` or `log_unavailable` (the last append failed or missed its
    /// deadline, and none succeeded in time since; ticks try again without any request).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl IngressStatus {
    /// A status that says `starting` until ingress runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to send webhooks here, and why not.
    pub fn readiness(&self) -> Readiness {
        let reason = match self.phase() {
            Phase::Starting => Some("starting"),
            Phase::Draining => Some("draining"),
            Phase::Serving => {
                self.0.log_failing.load(Ordering::Relaxed).then_some("log_unavailable")
            }
        };
        Readiness { ready: reason.is_none(), reason }
    }

    pub(crate) fn set_serving(&self) {
        self.set(Phase::Serving);
    }

    pub(crate) fn set_draining(&self) {
        self.set(Phase::Draining);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.phase() == Phase::Draining
    }

    pub(crate) fn set_log_failing(&self, failing: bool) {
        self.0.log_failing.store(failing, Ordering::Relaxed);
    }

    fn set(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Release);
    }

    fn phase(&self) -> Phase {
        let phase = self.0.phase.load(Ordering::Acquire);
        let all = [Phase::Starting, Phase::Serving, Phase::Draining];
        all.into_iter().find(|known| *known as u8 == phase).unwrap_or(Phase::Draining)
    }
}
