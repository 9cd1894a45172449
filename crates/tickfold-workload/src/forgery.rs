//! Signatures that must be refused.

use tickfold_core::signature::sign;

/// How a signature is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forgery {
    /// No header at all.
    Missing,
    /// The right digest, one digit short.
    Malformed,
    /// The right digest in upper-case hex, which Meta never writes.
    UpperCase,
    /// Well formed, of another secret.
    WrongSecret,
    /// The right signature of another body.
    ChangedBody,
}

impl Forgery {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Missing, Self::Malformed, Self::UpperCase, Self::WrongSecret, Self::ChangedBody];

    /// The header's value for `body`, where `signed` is what was signed before somebody changed it.
    pub(crate) fn signature(self, secret: &[u8], body: &[u8], signed: &[u8]) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Malformed => {
                let mut value = sign(secret, body);
                value.pop();
                Some(value)
            }
            Self::UpperCase => {
                let value = sign(secret, body);
                let hex = value.trim_start_matches("sha256=");
                Some(format!("sha256={}", hex.to_ascii_uppercase()))
            }
            Self::WrongSecret => Some(sign(&[secret, b"?"].concat(), body)),
            Self::ChangedBody => Some(sign(secret, signed)),
        }
    }
}
