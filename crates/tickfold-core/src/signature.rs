//! Meta's signature of a webhook: `sha256=` and the HMAC-SHA256 of the raw body, keyed with the
//! app secret, in lower-case hex.
//!
//! Pure functions, used by ingress to verify, by the CLI to sign and to verify again what the log
//! holds, and by generated traffic. Nothing here returns or prints the value that would have been
//! right.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The header that carries the signature. An older `X-Hub-Signature` (SHA-1) may ride along and is
/// ignored.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

const PREFIX: &str = "sha256=";
const DIGEST_BYTES: usize = 32;

/// A well-formed signature, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    text: String,
    digest: [u8; DIGEST_BYTES],
}

impl Signature {
    /// Reads the value of [`SIGNATURE_HEADER`]. Meta writes lower-case hex only; anything else is
    /// refused, so that the text in the log has one form.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let hex = text.strip_prefix(PREFIX)?.as_bytes();
        if hex.len() != 2 * DIGEST_BYTES {
            return None;
        }
        let mut digest = [0; DIGEST_BYTES];
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = pair.iter().try_fold(0, |byte, &hex| Some(byte << 4 | nibble(hex)?))?;
        }
        Some(Self { text: text.to_owned(), digest })
    }

    /// As it was received.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its bytes. Once verified they name the body: other bodies have other ones.
    pub fn digest(&self) -> &[u8; DIGEST_BYTES] {
        &self.digest
    }
}

/// The signature Meta would send for this body with this app secret.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    let digest = mac(secret, body).finalize().into_bytes();
    digest.iter().fold(PREFIX.to_owned(), |mut text, byte| {
        text.push(hex_digit(byte >> 4));
        text.push(hex_digit(byte & 0x0f));
        text
    })
}

/// Whether the signature is that of this body with this app secret, in constant time.
pub fn verify(secret: &[u8], body: &[u8], signature: &Signature) -> bool {
    mac(secret, body).verify_slice(&signature.digest).is_ok()
}

fn mac(secret: &[u8], body: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC hashes long keys and pads short ones")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(body);
    mac
}

fn nibble(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        _ => None,
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 cases 1, 2 and 6, and bodies in Meta's encoding; computed with Python's `hmac`.
    const VECTORS: [(&[u8], &[u8], &str); 6] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            b"demo-app-secret",
            br#"{"object":"whatsapp_business_account","entry":[]}"#,
            "d6003bedf605fdf46943662e7d2065e132f4b26764d6ec946ba3fae527acafc2",
        ),
        (
            b"demo-app-secret",
            br#"{"text":"caf\u00e9 \/ \ud83d\ude00"}"#,
            "09ba9ed33cc215ea3776151fb8ac6bd6754690dae4ae4581ce71c8417ea83cc2",
        ),
        (
            b"demo-app-secret",
            b"",
            "d5953ed7ce2adb844b913e78801e1230dc0922a625b62b444716ca7825957e0f",
        ),
    ];

    #[test]
    fn known_answers() {
        for (secret, body, hex) in VECTORS {
            let text = format!("sha256={hex}");
            assert_eq!(sign(secret, body), text);
            let signature = Signature::parse(text.as_bytes()).unwrap();
            assert_eq!(signature.as_str(), text);
            let digest = signature.digest().iter().map(|byte| format!("{byte:02x}"));
            assert_eq!(digest.collect::<String>(), hex);
            assert!(verify(secret, body, &signature));
        }
    }

    #[test]
    fn another_secret_body_or_digest_does_not_verify() {
        let signature = Signature::parse(sign(b"one", b"body").as_bytes()).unwrap();
        assert!(verify(b"one", b"body", &signature));
        assert!(!verify(b"two", b"body", &signature));
        assert!(!verify(b"one", b"body ", &signature));
        for bit in 0..8 * DIGEST_BYTES {
            let mut flipped = signature.clone();
            flipped.digest[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(b"one", b"body", &flipped), "bit {bit}");
        }
    }

    #[test]
    fn only_the_one_form_is_well_formed() {
        let good = sign(b"one", b"body");
        assert!(Signature::parse(good.as_bytes()).is_some());
        let hex = good.strip_prefix(PREFIX).unwrap();
        let bad = [
            String::new(),
            "sha256=".to_owned(),
            hex.to_owned(),
            good.to_uppercase(),
            format!("sha256={}", hex.to_uppercase()),
            format!("SHA256={hex}"),
            format!("sha1={hex}"),
            format!("sha256={hex}0"),
            format!("sha256={hex}00"),
            good[..good.len() - 1].to_owned(),
            format!(" {good}"),
            format!("{good} "),
            format!("{good},{good}"),
            format!("sha256={}g", &hex[..63]),
            format!("sha256={}é", &hex[..62]),
        ];
        for text in bad {
            assert_eq!(Signature::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Signature::parse(b"sha256=\xff"), None);
    }
}
