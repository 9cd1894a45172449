//! The table of answers: every way a request can end, with its status, headers and metric label.
//!
//! Beside it stands what is no request: for something that is not HTTP, or that could be read in two
//! ways, hyper answers 400 and closes (outcome [`BROKEN_HTTP`]); its 414 and 431 cannot be reached
//! behind the limits of `head`. A body announced by `Expect: 100-continue` is asked for by 100.
//! Above the connection cap a plain listener answers 503 with Retry-After (`listener`).
//!
//! Meta retries everything that is not 200, for up to 7 days, so a code is chosen by what a retry
//! would mean: 503 asks for one, 4xx says that the request itself has to change.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::positions::{self, Positions};

/// Seconds in `Retry-After`: soon, since Meta gives up one day and the pause is its choice anyway.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// Outcome of what hyper refused, counted from the error with which its connection ended.
pub(crate) const BROKEN_HTTP: &str = "broken_http";

/// The methods of a webhook path.
const ALLOWED: &str = "GET, POST";

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not through a trusted proxy, or not from an allowed peer.
    PeerRefused,
    /// The log holds the body, at these places.
    Accepted(Positions),
    /// The handshake's bare challenge.
    Challenge(String),
    /// Handshake without the right mode, token or challenge.
    HandshakeRefused,
    /// Signature missing, malformed or wrong.
    SignatureRefused,
    /// Body above the limit.
    TooLarge,
    /// The body was cut, broken, or did not arrive in time.
    BodyIncomplete,
    /// No such path or app.
    NotFound,
    /// Neither GET nor POST.
    MethodNotAllowed,
    /// A Content-Encoding: the signature is over the bytes as sent, and nothing here inflates.
    EncodingRefused,
    /// To be sent again later.
    Unavailable(Cause),
}

/// Why a webhook has to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The log refused the append.
    LogFailed,
    /// The log did not answer before the deadline; it may still hold the body later, and then the
    /// retry is a duplicate, which folds to nothing.
    LogSlow,
    /// Shutting down.
    Draining,
    /// Bytes in flight are above the budget.
    Overloaded,
    /// The log takes too long at present: refused before the body is read.
    LogBehind,
}

impl Answer {
    /// Label of the request counter.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::PeerRefused => "peer_refused",
            Self::Accepted(_) => "accepted",
            Self::Challenge(_) => "handshake",
            Self::HandshakeRefused => "handshake_refused",
            Self::SignatureRefused => "signature_refused",
            Self::TooLarge => "too_large",
            Self::BodyIncomplete => "body_incomplete",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::EncodingRefused => "encoding_refused",
            Self::Unavailable(Cause::LogFailed) => "log_failed",
            Self::Unavailable(Cause::LogSlow) => "log_slow",
            Self::Unavailable(Cause::Draining) => "draining",
            Self::Unavailable(Cause::Overloaded) => "overloaded",
            Self::Unavailable(Cause::LogBehind) => "log_behind",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Accepted(_) | Self::Challenge(_) => StatusCode::OK,
            Self::PeerRefused | Self::HandshakeRefused => StatusCode::FORBIDDEN,
            Self::SignatureRefused => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyIncomplete => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::EncodingRefused => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether it says that the request, or who sends it, has to change: 4xx but 401, which is how
    /// forgers are answered, and the 403 of a handshake. Meta's own webhooks should never get one.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::PeerRefused
            | Self::TooLarge
            | Self::BodyIncomplete
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::EncodingRefused => true,
            Self::Accepted(_)
            | Self::Challenge(_)
            | Self::HandshakeRefused
            | Self::SignatureRefused
            | Self::Unavailable(_) => false,
        }
    }

    /// The header that the status calls for.
    fn header(&self) -> Option<(HeaderName, &'static str)> {
        match self {
            Self::Challenge(_) => Some((header::CONTENT_TYPE, "text/plain; charset=utf-8")),
            // What is left of such a body is not read, so the connection has no further use.
            Self::TooLarge | Self::BodyIncomplete => Some((header::CONNECTION, "close")),
            Self::MethodNotAllowed => Some((header::ALLOW, ALLOWED)),
            Self::Unavailable(_) => Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS)),
            Self::PeerRefused
            | Self::Accepted(_)
            | Self::HandshakeRefused
            | Self::SignatureRefused
            | Self::NotFound
            | Self::EncodingRefused => None,
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = self.header() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Self::Accepted(positions) = &self
            && let Some(value) = positions.header()
        {
            headers.insert(positions::HEADER, value);
        }
        let status = self.status();
        let body = match self {
            Self::Challenge(challenge) => {
                // The challenge is the caller's text: a browser must not take it for a page.
                let nosniff = HeaderValue::from_static("nosniff");
                headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
                Body::from(challenge)
            }
            _ => Body::empty(),
        };
        (status, headers, body).into_response()
    }
}
