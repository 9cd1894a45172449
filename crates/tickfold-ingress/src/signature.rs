//! The signature of a request, read from its headers.

use axum::http::HeaderMap;
use tickfold_core::signature::{SIGNATURE_HEADER, Signature};

/// Why a request carries no signature that could be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    /// No signature header.
    Missing,
    /// Not exactly one header of exactly the form above.
    Malformed,
    /// Well-formed, and no active secret gives it.
    Wrong,
}

impl SignatureFault {
    /// For logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
        }
    }
}

/// The one signature of a request. Several headers are refused: whoever sits between Meta and us
/// might have checked another one.
pub(crate) fn of_request(headers: &HeaderMap) -> Result<Signature, SignatureFault> {
    let mut values = headers.get_all(SIGNATURE_HEADER).iter();
    let first = values.next().ok_or(SignatureFault::Missing)?;
    if values.next().is_some() {
        return Err(SignatureFault::Malformed);
    }
    Signature::parse(first.as_bytes()).ok_or(SignatureFault::Malformed)
}
