//! Why the server could not start or stopped. Errors of single calls are in `reasons`.

use std::net::SocketAddr;

/// Why [`crate::run`] returned early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Answers are personal data: where callers are not authenticated, or their tokens could be read on
    /// the way, only this machine may ask.
    #[error(
        "grpc address {address} is not loopback: it needs {missing}, so that only known callers are answered"
    )]
    NotLoopback {
        /// Where it was to listen.
        address: SocketAddr,
        /// What is not configured.
        missing: &'static str,
    },
    /// The entries of the tokens file cannot be used.
    #[error("tokens: {0}")]
    Tokens(String),
    /// A certificate or key of the listener cannot be used.
    #[error("grpc tls: {0}")]
    Tls(String),
    /// An option has a value that cannot work.
    #[error("query options: {0}")]
    Options(String),
    /// The listener does not tell its address.
    #[error("read the address of the grpc listener")]
    Listener(#[source] std::io::Error),
    /// The descriptors of the services cannot be read: a defect of the build.
    #[error("build the reflection service")]
    Reflection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The gRPC server ended by itself.
    #[error("serve grpc")]
    Serve(#[source] Box<dyn std::error::Error + Send + Sync>),
}
