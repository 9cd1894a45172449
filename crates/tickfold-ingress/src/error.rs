//! Why ingress does not start or stops.

use std::io;

/// All kinds are for a person: ingress itself retries everything that passes by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option, or two that do not fit together.
    #[error("check ingress options: {0}")]
    Options(String),
    /// An app, a secret or a token that cannot be used. Never contains key bytes.
    #[error("check ingress apps: {0}")]
    Apps(String),
    /// A certificate, a key or a client name that cannot be used. Never contains key bytes.
    #[error("check ingress TLS: {0}")]
    Tls(String),
    /// The log failed under the quarantine. What was done before stays done; try again.
    #[error("{attempt}")]
    Quarantine {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        source: tickfold_log::Error,
    },
    /// Work on the quarantine panicked or ended with its runtime.
    #[error("finish the work on the quarantine")]
    QuarantineStopped(#[source] tokio::task::JoinError),
    /// The listener cannot be used.
    #[error("serve the ingress listener")]
    Listener(#[source] io::Error),
}
