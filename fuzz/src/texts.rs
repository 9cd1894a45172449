//! Short texts out of headers, positions and requests: what is read is what would be written.

use tickfold_core::raw::parse_position;
use tickfold_core::signature::Signature;
use tickfold_core::time::Timestamp;
use tickfold_processor::{Address, Token};

/// See the module's description.
pub fn check(bytes: &[u8]) {
    if let Some(signature) = Signature::parse(bytes) {
        assert_eq!(signature.as_str().as_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = Token::parse(text) {
        assert_eq!(token.to_string(), text);
    }
    if let Ok(address) = Address::parse(text) {
        assert_eq!(address.as_str(), text);
    }
    let _ = parse_position(text);
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        let written = time.to_string();
        assert_eq!(Timestamp::parse_rfc3339(&written), Some(time), "{written}");
    }
}
