//! Resume tokens of watches: a place comes back as it was, and any places behind a right sum are refused or
//! read as what would be written again.

#[path = "../../crates/tickfold-query/src/watch/token.rs"]
#[allow(dead_code, reason = "of the crate it is from")]
mod token;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tickfold_core::hash::sha256;
use token::{Bound, Offsets, Place, Told};

use crate::reasons::Reason;

/// Bytes of a digest in a token.
const DIGEST: usize = 8;
const PARTITIONS: u32 = 3;

/// See the module's description.
pub fn check(bytes: &[u8]) {
    let bound = Bound::to(&["Watch", "1"], PARTITIONS);
    let numbers: Vec<_> = bytes.chunks(8).map(number).collect();
    let told = |at: usize| {
        let of = |part| numbers.get(3 * at + part).copied().unwrap_or_default();
        Told { below: of(0), decided_below: of(1), position: of(2) }
    };
    comes_back::<Offsets>(&bound, (0..PARTITIONS).zip(numbers.iter().copied()).collect());
    comes_back::<Vec<Told>>(&bound, (0..PARTITIONS as usize).map(told).collect());

    // Whoever makes one up knows the sum, which is no secret.
    let Some((kind, places)) = bytes.split_first() else { return };
    let kind = 0x10 | kind & 3;
    let mut content = URL_SAFE_NO_PAD.decode(bound.token(&Offsets::new())).expect("a token");
    content.truncate(1 + DIGEST);
    content[0] = kind;
    content.extend(places);
    let sum = sha256(&content);
    content.extend(sum.iter().take(DIGEST));
    let token = URL_SAFE_NO_PAD.encode(content);
    if let Ok(Some(offsets)) = bound.place::<Offsets>(&token) {
        assert_eq!(kind, Offsets::KIND);
        assert!(offsets.keys().all(|partition| *partition < PARTITIONS));
        comes_back(&bound, offsets);
    }
    if let Ok(Some(told)) = bound.place::<Vec<Told>>(&token) {
        assert_eq!((kind, told.len()), (Vec::<Told>::KIND, PARTITIONS as usize));
        comes_back(&bound, told);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let place = bound.place::<Offsets>(text);
        assert!(text.is_empty() || place.is_err(), "nobody guesses a sum");
    }
}

fn comes_back<P: Place + PartialEq + std::fmt::Debug>(bound: &Bound, place: P) {
    let token = bound.token(&place);
    let other = Bound::to(&["Watch", "2"], PARTITIONS).place::<P>(&token);
    let other = other.expect_err("the token of another watch");
    assert_eq!(other.reason(), Reason::ResumeTokenMismatch);
    assert_eq!(bound.place(&token).expect("our own"), Some(place));
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
