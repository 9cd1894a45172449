//! Resume tokens: how far a watch is, bound to the arguments it was opened with.
//!
//! A token names places in the log, not a process, so it is good on any node and after any restart.
//! It is not secret and not signed: it only says where to go on, and what a caller may see is decided
//! by the call. The checksum catches damage; the digest of the arguments catches a client that
//! changes them, who would otherwise miss what the token says he was told.
//!
//! Layout before base64url: kind (1) · digest of the arguments (8) · places, as varints · checksum
//! over all before (8). Page tokens have other kinds.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tickfold_core::hash::{id_of, sha256};

use crate::reasons::{Failure, Reason};

const DIGEST_BYTES: usize = 8;
/// Longer than the token of the largest partition count.
const TOKEN_CHARS_MAX: usize = 64 * 1024;
/// A varint has at most so many bytes.
const VARINT_BYTES_MAX: usize = 10;

/// The arguments that tokens of a watch belong to, and how many partitions there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    digest: [u8; DIGEST_BYTES],
    pub(super) partition_count: u32,
}

/// A place in a topic: the next offset of each partition that is read.
pub(super) type Offsets = BTreeMap<u32, u64>;

/// How far states of a partition were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Told {
    /// What raw records below this one changed was told.
    pub(super) below: u64,
    /// What was decided by raw records below this one was told.
    pub(super) decided_below: u64,
    /// The raw position of the newest state that was told: no later one may be older.
    pub(super) position: u64,
}

/// What a token says.
pub(super) trait Place: Sized {
    /// Tells one kind of place from another.
    const KIND: u8;

    fn write(&self, bytes: &mut Vec<u8>);

    fn read(varints: Varints<'_>, partition_count: u32) -> Option<Self>;
}

impl Place for Offsets {
    const KIND: u8 = 0x11;

    fn write(&self, bytes: &mut Vec<u8>) {
        for (partition, offset) in self {
            write_varint(bytes, u64::from(*partition));
            write_varint(bytes, *offset);
        }
    }

    fn read(mut varints: Varints<'_>, partition_count: u32) -> Option<Self> {
        let mut offsets = Self::new();
        while !varints.is_empty() {
            let partition = u32::try_from(varints.next()?).ok().filter(|p| *p < partition_count)?;
            if offsets.insert(partition, varints.next()?).is_some() {
                return None;
            }
        }
        Some(offsets)
    }
}

impl Place for Vec<Told> {
    const KIND: u8 = 0x12;

    fn write(&self, bytes: &mut Vec<u8>) {
        for told in self {
            write_varint(bytes, told.below);
            write_varint(bytes, told.decided_below);
            write_varint(bytes, told.position);
        }
    }

    fn read(mut varints: Varints<'_>, partition_count: u32) -> Option<Self> {
        let mut all = Self::new();
        while !varints.is_empty() {
            let (below, decided_below) = (varints.next()?, varints.next()?);
            all.push(Told { below, decided_below, position: varints.next()? });
        }
        (all.len() == partition_count as usize).then_some(all)
    }
}

impl Bound {
    /// The arguments by their texts, which begin with the name of the method.
    pub(super) fn to(arguments: &[&str], partition_count: u32) -> Self {
        Self { digest: short(id_of(arguments).as_bytes()), partition_count }
    }

    /// The token of a place.
    pub(super) fn token<P: Place>(&self, place: &P) -> String {
        let mut bytes = vec![P::KIND];
        bytes.extend(self.digest);
        place.write(&mut bytes);
        bytes.extend(short(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a token names; `None` for the empty one, which is the beginning.
    pub(super) fn place<P: Place>(&self, token: &str) -> Result<Option<P>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let invalid = || {
            let what = "is not a token of this service";
            Failure::field(Reason::ResumeTokenInvalid, "resume_token", what)
        };
        let bytes = decode(token).ok_or_else(invalid)?;
        let (kind, rest) = bytes.split_first().ok_or_else(invalid)?;
        let (digest, places) = rest.split_first_chunk::<DIGEST_BYTES>().ok_or_else(invalid)?;
        if *digest != self.digest {
            let what = "belongs to a watch with other arguments";
            return Err(Failure::field(Reason::ResumeTokenMismatch, "resume_token", what));
        }
        if *kind != P::KIND {
            return Err(invalid());
        }
        P::read(Varints(places), self.partition_count).map(Some).ok_or_else(invalid)
    }
}

/// The bytes of a token without the checksum, if that is right.
fn decode(token: &str) -> Option<Vec<u8>> {
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (payload, checksum) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    if short(payload) != *checksum {
        return None;
    }
    bytes.truncate(bytes.len() - DIGEST_BYTES);
    Some(bytes)
}

fn short(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut short = [0; DIGEST_BYTES];
    short.iter_mut().zip(sha256(bytes)).for_each(|(to, from)| *to = from);
    short
}

/// Numbers of seven bits per byte, the lowest first; all but the last byte have the highest bit.
pub(super) struct Varints<'a>(&'a [u8]);

impl Varints<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn next(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for index in 0..VARINT_BYTES_MAX {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            number |= bits.checked_shl(u32::try_from(7 * index).ok()?)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(0x80 | u8::try_from(number & 0x7f).unwrap_or(0));
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(account: &str) -> Bound {
        Bound::to(&["WatchTransitions", account, "1"], 8)
    }

    fn reason<P: Place + std::fmt::Debug>(bound: Bound, token: &str) -> Reason {
        bound.place::<P>(token).unwrap_err().reason()
    }

    #[test]
    fn places_come_back_as_they_were() {
        let bound = bound("1");
        assert_eq!(bound.place::<Offsets>("").unwrap(), None);
        for offsets in [vec![], vec![(0, 0)], vec![(3, 127), (4, 128), (7, u64::MAX)]] {
            let offsets: Offsets = offsets.into_iter().collect();
            let token = bound.token(&offsets);
            assert_eq!(bound.place(&token).unwrap(), Some(offsets));
        }
        let told = |n| Told { below: n << 40, decided_below: n << 9, position: n };
        let told: Vec<_> = (0..8).map(told).collect();
        assert_eq!(bound.place(&bound.token(&told)).unwrap(), Some(told));
        // Tokens live as long as clients keep them: the layout is fixed.
        let token = bound.token(&Offsets::from([(3, 300)]));
        assert_eq!(token, "ESGilMlWTqffA6wC4PtCS4ZEt6A");
    }

    #[test]
    fn a_token_belongs_to_its_arguments_and_its_kind_of_watch() {
        let offsets = bound("1").token(&Offsets::from([(3, 300)]));
        assert_eq!(reason::<Offsets>(bound("2"), &offsets), Reason::ResumeTokenMismatch);
        assert_eq!(reason::<Vec<Told>>(bound("1"), &offsets), Reason::ResumeTokenInvalid);
        let fewer = Bound { partition_count: 3, ..bound("1") };
        assert_eq!(reason::<Offsets>(fewer, &offsets), Reason::ResumeTokenInvalid);
    }

    #[test]
    fn every_damaged_token_is_refused() {
        let token = bound("1").token(&Offsets::from([(3, 300), (4, 7)]));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(bytes).unwrap();
            assert_eq!(reason::<Offsets>(bound("1"), &damaged), Reason::ResumeTokenInvalid, "{at}");
        }
        for bad in ["x", "%%%", &token[1..], &"A".repeat(100_000)] {
            assert_eq!(reason::<Offsets>(bound("1"), bad), Reason::ResumeTokenInvalid);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Whoever makes one up knows the sum, which is no secret.
        #[test]
        fn any_places_behind_a_right_sum_are_read_or_refused(
            kind in 0x10..0x14_u8, places in prop::collection::vec(any::<u8>(), 0..60)
        ) {
            let bound = bound("1");
            let mut bytes = vec![kind];
            bytes.extend(bound.digest);
            bytes.extend(places);
            bytes.extend(short(&bytes));
            let token = URL_SAFE_NO_PAD.encode(bytes);
            if let Ok(Some(offsets)) = bound.place::<Offsets>(&token) {
                prop_assert!(offsets.keys().all(|partition| *partition < 8));
                prop_assert_eq!(bound.place(&bound.token(&offsets)).unwrap(), Some(offsets));
            }
            if let Ok(Some(told)) = bound.place::<Vec<Told>>(&token) {
                prop_assert_eq!(told.len(), 8);
                prop_assert_eq!(bound.place(&bound.token(&told)).unwrap(), Some(told));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(token in "\\PC{0,40}|[A-Za-z0-9_-]{0,60}") {
            let _ = bound("1").place::<Offsets>(&token);
            let _ = bound("1").place::<Vec<Told>>(&token);
        }
    }
}
